"""Drawing for the PDF report: fonts, legend, grids of pictures, slices with outlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..labels import CLASS_BY_VALUE
from .slices import NUMBER_HEIGHT, scale_bar_mm

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Flowable

    from .document import Picture

FONTS = Path(__file__).with_name("fonts")
_REGULAR, _BOLD = "FlairSegSans", "FlairSegSans-Bold"
_FILES = {_REGULAR: "DejaVuSans.ttf", _BOLD: "DejaVuSans-Bold.ttf"}
_INK, _DIM, _LINE, _SOFT, _ACCENT, _RED = "#1b222c", "#5d6773", "#d5dae1", "#f3f5f8", "#23466e", "#8d2b12"
_GAP = 5.0
_CAPTION_HEIGHT = 9.0


def _register_fonts() -> frozenset[int]:
    """Make the fonts known to ReportLab, once; the code points that both have."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name, file in _FILES.items():
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(FONTS / file)))
    faces = [pdfmetrics.getFont(name).face.charToGlyph for name in _FILES]
    return frozenset(faces[0]) & frozenset(faces[1])


def _height(flowable: Flowable, width: float, height: float) -> float:
    """Height that a flowable takes, with the room before and after it."""
    out: float = flowable.wrap(width, height)[1] + flowable.getSpaceBefore() + flowable.getSpaceAfter()
    return out


def _fitting(text: str, width: float, size: float) -> str:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    if stringWidth(text, _REGULAR, size) <= width:
        return text
    while text and stringWidth(text + "…", _REGULAR, size) > width:
        text = text[:-1]
    return text + "…"


def _legend(title: str, entries: list[tuple[str, tuple[int, int, int]]], width: float) -> Flowable:
    """Title of the key images and the colours of the outlines, on one line."""
    from reportlab.lib.colors import Color
    from reportlab.pdfbase.pdfmetrics import stringWidth
    from reportlab.platypus import Flowable

    class Legend(Flowable):
        def wrap(self, *available: float) -> tuple[float, float]:
            return width, 17

        def draw(self) -> None:
            canvas = self.canv
            canvas.setFont(_BOLD, 8)
            canvas.setFillColor(_ACCENT)
            canvas.drawString(0, 4, title)
            x = stringWidth(title, _BOLD, 8) + 16
            for name, rgb in entries:
                canvas.setStrokeColor(Color(*(v / 255 for v in rgb)))
                canvas.setLineWidth(2)
                canvas.line(x, 6.6, x + 11, 6.6)
                canvas.setFont(_REGULAR, 7.4)
                canvas.setFillColor(_INK)
                canvas.drawString(x + 15, 4, name)
                x += 15 + stringWidth(name, _REGULAR, 7.4) + 16

    return Legend()


def _grid(
    pictures: Sequence[tuple[str, Picture]], columns: int, picture_width: float, width: float, centred: bool = True
) -> Flowable:
    """Pictures in rows, captions below them, as one flowable."""
    from reportlab.platypus import Flowable

    heights = [picture_width * p.view.height_mm / p.view.width_mm for _, p in pictures]
    rows = [range(n, min(n + columns, len(pictures))) for n in range(0, len(pictures), columns)]
    row_heights = [max(heights[n] for n in row) + _CAPTION_HEIGHT + _GAP for row in rows]

    class Grid(Flowable):
        def wrap(self, *available: float) -> tuple[float, float]:
            return width, sum(row_heights)

        def draw(self) -> None:
            used = columns * picture_width + (columns - 1) * _GAP
            left = (width - used) / 2 if centred else 0
            top = sum(row_heights)
            for row, row_height in zip(rows, row_heights, strict=True):
                # An incomplete row is centred.
                indent = (columns - len(row)) * (picture_width + _GAP) / 2 if centred else 0
                for column, n in enumerate(row):
                    caption, picture = pictures[n]
                    x, y = left + indent + column * (picture_width + _GAP), top - heights[n]
                    _draw_picture(self.canv, picture, x, y, picture_width, heights[n])
                    self.canv.setFont(_REGULAR, 6.4)
                    self.canv.setFillColor(_DIM)
                    self.canv.drawCentredString(x + picture_width / 2, y - 7.2, caption)
                top -= row_height

    return Grid()


def _draw_picture(canvas: Canvas, picture: Picture, x: float, y: float, width: float, height: float) -> None:
    """A slice with its lower left corner at x, y (points)."""
    from PIL import Image
    from reportlab.lib.colors import Color
    from reportlab.lib.utils import ImageReader

    view = picture.view
    scale = width / view.width_mm
    canvas.saveState()
    canvas.drawImage(ImageReader(Image.fromarray(view.image)), x, y, width, height)
    clip = canvas.beginPath()
    clip.rect(x, y, width, height)
    canvas.clipPath(clip, stroke=0, fill=0)
    canvas.setLineJoin(1)
    canvas.setLineWidth(min(0.8, max(0.4, width / 240)))
    for value, line in view.outlines:
        canvas.setStrokeColor(Color(*(v / 255 for v in CLASS_BY_VALUE[value].rgb)))
        path = canvas.beginPath()
        for n, (px, py) in enumerate(line):
            (path.lineTo if n else path.moveTo)(x + px * scale, y + height - py * scale)
        path.close()
        canvas.drawPath(path, stroke=1, fill=0)
    size = NUMBER_HEIGHT * width
    for number in view.numbers:
        _haloed(canvas, number.text, x + number.x * scale, y + height - number.y * scale - 0.36 * size, size)
    for letter, px in zip(view.edges, (0.03, 0.97), strict=True):
        _haloed(canvas, letter, x + px * width, y + height / 2, 0.05 * width, gray=0.86)
    bar = scale_bar_mm(view.width_mm)
    right, level = x + 0.97 * width, y + 0.025 * height
    canvas.setStrokeColor(Color(0.92, 0.93, 0.94))
    canvas.setLineWidth(max(0.7, width / 170))
    canvas.line(right - bar * scale, level, right, level)
    _haloed(canvas, f"{bar} mm", right - bar * scale / 2, level + 0.014 * height, 0.034 * width, gray=0.86)
    canvas.restoreState()


def _haloed(canvas: Canvas, text: str, x: float, y: float, size: float, gray: float = 1.0) -> None:
    """Light text with a dark rim, legible on any tissue; x is its middle."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    left = x - stringWidth(text, _REGULAR, size) / 2
    canvas.setStrokeColor("#000000")
    canvas.setLineWidth(0.22 * size)
    for mode, fill in ((2, 0.0), (0, gray)):
        # The mode outlives its text; ReportLab does not set back what it takes for the default.
        canvas.saveState()
        written = canvas.beginText(left, y)
        written.setFont(_REGULAR, size)
        written.setTextRenderMode(mode)
        written.setFillGray(fill)
        written.textOut(text)
        canvas.drawText(written)
        canvas.restoreState()
