"""One picture of a case: every slice that has something, outlined in the class colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .labels import CLASSES, LESION
from .slicestack import SliceStack

if TYPE_CHECKING:
    from .segmentation import Segmentation
    from .volume import Volume

FOOTER = "Research use only - not a medical device"
#: Longer side of a tile in pixels, by the number of tiles that it is meant for.
TILE_PX = ((12, 320), (30, 256), (60, 192), (120, 144), (10**9, 104))
#: Shape that the sheet of tiles aims at (width / height).
SHEET_ASPECT = 1.5
#: Tissue brighter than this many times the brain's median is shown white; lesions are about 1.5.
WHITE_LEVEL = 2.0
#: Free border around the head, mm.
BORDER_MM = 4.0
_BACKGROUND, _TEXT, _DIM, _WARNING = (14, 15, 18), (236, 238, 242), (150, 154, 162), (255, 190, 70)
_GAP, _PAD = 4, 16
#: Letters at the left and right edge of a tile, and the RAS letters of the slice position, by plane.
EDGES = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}
_POSITION = {"axial": (2, "IS"), "coronal": (1, "PA"), "sagittal": (0, "LR")}


@dataclass(frozen=True)
class _Layout:
    """Sizes of the sheet, pixels."""

    columns: int
    rows: int
    tile: tuple[int, int]
    long_side: int


def render_overview(segmentation: Segmentation) -> Image.Image:
    """Contact sheet of a case in radiological display (the patient's right on the left), square pixels.

    Shown are the slices that hold a label, or the middle one if none does; the grey levels run from air to twice the
    brain's median.

    Parameters
    ----------
    segmentation : Segmentation

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    plane = segmentation.card.pipeline.plane
    stack = SliceStack.from_volume(segmentation.volume, plane)
    labels = SliceStack.from_volume(segmentation.volume.with_array(segmentation.labels), plane).array
    shown = [int(k) for k in np.flatnonzero(labels.any(axis=(1, 2)))] or [len(labels) // 2]
    box = head_box(stack, labels)
    height_mm, width_mm = ((s.stop - s.start) * mm for s, mm in zip(box, stack.spacing[1:], strict=True))
    if stack.plane == "sagittal":
        height_mm, width_mm = width_mm, height_mm
    layout = _layout(len(shown), height_mm, width_mm)
    low, high = gray_window(stack.array)
    header, footer = _header_lines(segmentation, bool(labels.any())), _footer_line(segmentation)
    width = layout.columns * (layout.tile[1] + _GAP) - _GAP + 2 * _PAD
    header_height = 64 + 20 * len(header)
    height = header_height + layout.rows * (layout.tile[0] + _GAP) - _GAP + 44
    sheet = Image.new("RGB", (max(width, 900), height), _BACKGROUND)
    left = (sheet.width - (width - 2 * _PAD)) // 2
    for n, k in enumerate(shown):
        row, column = divmod(n, layout.columns)
        tile = draw_slice(stack.array[k][box], labels[k][box], stack.plane, layout.tile, (low, high))
        _annotate(tile, segmentation, stack, k, layout)
        sheet.paste(tile, (left + column * (layout.tile[1] + _GAP), header_height + row * (layout.tile[0] + _GAP)))
    _draw_header(sheet, segmentation, header)
    draw_text(sheet, (_PAD, sheet.height - 30), FOOTER, 15, _WARNING)
    draw_text(sheet, (sheet.width - _PAD, sheet.height - 28), footer, 13, _DIM, anchor="ra")
    return sheet


def head_box(stack: SliceStack, labels: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold the head in any slice, with a border."""
    brightest = stack.array.max(axis=0)
    threshold = 0.15 * float(np.percentile(brightest, 98)) + 0.85 * float(brightest.min())
    inside = (brightest > threshold) | labels.any(axis=0)
    box = []
    for axis, mm in enumerate(stack.spacing[1:]):
        # A line of the head holds more than a few hot pixels.
        profile = inside.sum(axis=1 - axis)
        found = np.flatnonzero(profile > 0.03 * inside.shape[1 - axis])
        held = np.flatnonzero(labels.any(axis=(0, 2 - axis)))
        found = np.concatenate([found, held])
        border = math.ceil(BORDER_MM / mm)
        if found.size == 0:
            box.append(slice(0, inside.shape[axis]))
        else:
            box.append(slice(max(int(found.min()) - border, 0), min(int(found.max()) + border + 1, inside.shape[axis])))
    return box[0], box[1]


def _layout(count: int, height_mm: float, width_mm: float) -> _Layout:
    long_side = next(px for limit, px in TILE_PX if count <= limit)
    scale = long_side / max(height_mm, width_mm)
    tile = (max(8, round(height_mm * scale)), max(8, round(width_mm * scale)))
    columns = max(1, min(count, round(math.sqrt(count * SHEET_ASPECT * tile[0] / tile[1]))))
    rows = math.ceil(count / columns)
    return _Layout(math.ceil(count / rows), rows, tile, long_side)


def gray_window(array: np.ndarray) -> tuple[float, float]:
    """Grey window: from air to :data:`WHITE_LEVEL` times the median of the tissue in the middle of the slices."""
    low = min(0.0, float(np.percentile(array[:, ::4, ::4], 1)))
    middle = array[tuple(slice(n // 4, max(n - n // 4, n // 4 + 1)) for n in array.shape)]
    tissue = middle[middle > 0.5 * float(np.percentile(middle, 90))]
    median = float(np.median(tissue)) if tissue.size else float(array.max())
    high = low + WHITE_LEVEL * (median - low)
    return (low, high) if high > low else (float(array.min()), float(array.max()))


def draw_slice(
    image: np.ndarray, labels: np.ndarray, plane: str, tile: tuple[int, int], window: tuple[float, float]
) -> Image.Image:
    """One slice at the size of its tile, with the outlines of the classes.

    Parameters
    ----------
    image, labels : ndarray, shape (rows, columns)
        Part of a slice in canonical orientation.
    plane : str
        ``axial``, ``sagittal`` or ``coronal``; sagittal slices are turned upright.
    tile : tuple of int
        (height, width), pixels.
    window : tuple of float
        Gray values that are shown black and white.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    if plane == "sagittal":
        image, labels = image.T, labels.T
    size, (low, high) = (tile[1], tile[0]), window
    gray = np.clip((image - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    pixels = np.array(Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BICUBIC).convert("RGB"))
    for label_class in CLASSES:
        mask = labels == label_class.value
        if mask.any():
            pixels[_outline(mask, size)] = label_class.rgb
    return Image.fromarray(pixels)


def _outline(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Outline, one pixel wide, of a mask brought to ``size`` (width, height); never empty for a mask that is not."""
    resized = np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR))
    inside = resized >= min(128, int(resized.max()))
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def _annotate(tile: Image.Image, segmentation: Segmentation, stack: SliceStack, k: int, layout: _Layout) -> None:
    """Slice number (counted from 1 in the file's own order), its position, and the edges' letters."""
    axis, index = stack.source_index(k)
    size = 13 if layout.long_side >= 192 else 11
    text = str(index + 1)
    if layout.long_side >= 192:
        letter, mm = slice_position(segmentation.volume, stack.plane, axis, index)
        text += f"   {letter} {mm:.0f} mm"
    draw_text(tile, (5, 3), text, size, _TEXT, shadow=True)
    if layout.long_side >= 144:
        left, right = EDGES[stack.plane]
        middle = tile.height // 2
        draw_text(tile, (4, middle), left, size, _DIM, anchor="lm", shadow=True)
        draw_text(tile, (tile.width - 4, middle), right, size, _DIM, anchor="rm", shadow=True)


def slice_position(volume: Volume, plane: str, axis: int, index: int) -> tuple[str, float]:
    """Where the middle of a slice lies in RAS: letter of the direction and distance in mm, for instance ``S``, 34.

    Parameters
    ----------
    volume : Volume
    plane : str
        ``axial``, ``sagittal`` or ``coronal``.
    axis, index : int
        Array axis (0 K, 1 J, 2 I) through the slices, and the slice along it, from 0.
    """
    centre = (np.asarray(volume.array.shape) - 1) / 2.0
    centre[axis] = index
    ras = volume.ijk_to_ras @ [*centre[::-1], 1.0]
    ras_axis, letters = _POSITION[plane]
    return letters[int(ras[ras_axis] >= 0)], abs(float(ras[ras_axis]))


def _header_lines(segmentation: Segmentation, found: bool) -> list[str]:
    """What stands under the legend: that nothing was found, and the warnings."""
    lines = [] if found else ["Nothing was found in this image; one slice of it is shown."]
    lines += segmentation.warnings[:4]
    if len(segmentation.warnings) > 4:
        lines.append(f"... and {len(segmentation.warnings) - 4} more warnings: see the summary.")
    return lines


def _footer_line(segmentation: Segmentation) -> str:
    from . import __version__

    made = f"FlairSeg {__version__} · {segmentation.card.id} · {segmentation.created[:10]}"
    return f"{made} · outlines: automatic, unreviewed"


def _draw_header(sheet: Image.Image, segmentation: Segmentation, lines: list[str]) -> None:
    """Case name, legend with volumes, warnings."""
    volumes = segmentation.known_volumes_ml()
    draw_text(sheet, (_PAD, 9), fitted_text(segmentation.volume.name, 18, sheet.width - 2 * _PAD), 18, _TEXT)
    x = _PAD
    draw = ImageDraw.Draw(sheet)
    for label_class in CLASSES:
        volume = volumes[label_class.value]
        if volume is None:
            continue
        text = f"{label_class.name}  {volume:.2f} ml"
        if label_class.value == LESION:
            count = segmentation.lesion_count
            text += f"  ({count} lesion{'' if count == 1 else 's'})"
        draw.rounded_rectangle((x, 39, x + 12, 51), radius=3, fill=label_class.rgb)
        draw_text(sheet, (x + 19, 45), text, 14, _TEXT, anchor="lm")
        x += 19 + int(_font(14).getlength(text)) + 28
    for n, line in enumerate(lines):
        draw_text(sheet, (_PAD, 62 + 20 * n), fitted_text(line, 13, sheet.width - 2 * _PAD), 13, _WARNING)


def fitted_text(text: str, size: int, width: int) -> str:
    """Text cut so that it fits into ``width`` pixels."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


_fonts: dict[int, ImageFont.FreeTypeFont] = {}


def _font(size: int) -> ImageFont.FreeTypeFont:
    if size not in _fonts:
        _fonts[size] = ImageFont.load_default(size)
    return _fonts[size]


def draw_text(
    image: Image.Image,
    xy: tuple[int, int],
    text: str,
    size: int,
    fill: tuple[int, int, int],
    anchor: str = "la",
    shadow: bool = False,
) -> None:
    """Draw one line of text; a shadow keeps it legible on bright tissue."""
    stroke = {"stroke_width": 1, "stroke_fill": (0, 0, 0)} if shadow else {}
    ImageDraw.Draw(image).text(xy, text, font=_font(size), fill=fill, anchor=anchor, **stroke)
