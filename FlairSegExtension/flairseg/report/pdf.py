"""The report as PDF, set by ReportLab: the front page is always one page; the details follow.

The fonts (DejaVu Sans: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic) are embedded; letters that they lack
are shown as U+FFFD. The same content gives the same bytes: no date, no random number goes into the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from .._optional import require
from .pdf_drawing import (
    _ACCENT,
    _BOLD,
    _CAPTION_HEIGHT,
    _DIM,
    _GAP,
    _INK,
    _LINE,
    _RED,
    _REGULAR,
    _SOFT,
    _fitting,
    _grid,
    _height,
    _legend,
    _register_fonts,
)
from .rtl import visual

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import BaseDocTemplate, Flowable, Paragraph

    from ..reporting.layout import Table
    from .document import Block, Content, Section

_POINTS_PER_MM = 72 / 25.4
#: Margins, mm: sides, top, bottom (which contains the footer).
_SIDE, _TOP, _BOTTOM = 14.0, 11.0, 17.0
#: Bar and ground of a notice, by level.
_LEVELS = {"calm": ("#2e7d4f", "#edf6f0"), "attention": ("#c98a00", "#fff6e0"), "alarm": ("#b3261e", "#fdecea")}
#: Widths of key images, points: more does not help, less is not legible.
_WIDEST, _NARROWEST = 200.0, 82.0
_GALLERY_COLUMNS = 5
#: Greatest height of a whole picture, points: it fits on a page of either paper, with its caption.
_SHEET_HEIGHT = 620.0
#: Tables of fewer rows are not parted by the end of a page.
_KEPT_ROWS = 15


def render_pdf(content: Content, paper: str = "a4", image_sha256: str = "") -> bytes:
    """The bytes of a PDF file; ``paper`` is ``a4`` or ``letter``, ``image_sha256`` what the report is of.

    Raises
    ------
    MissingDependencyError
        If ReportLab is not installed.
    """
    require(("reportlab",), "The PDF report", "report")
    return _Setter(content, paper, image_sha256).bytes()


class _Setter:
    """Sets one report."""

    def __init__(self, content: Content, paper: str, image_sha256: str) -> None:
        from reportlab.lib.pagesizes import A4, LETTER
        from reportlab.lib.styles import ParagraphStyle

        self._content = content
        self._keywords = [f"flairseg-image {image_sha256}"] if image_sha256 else []
        self._size = {"a4": A4, "letter": LETTER}[paper]
        self._glyphs = _register_fonts()
        mm = _POINTS_PER_MM
        self._width = self._size[0] - 2 * _SIDE * mm
        self._height = self._size[1] - (_TOP + _BOTTOM) * mm
        base = ParagraphStyle(
            "base", fontName=_REGULAR, fontSize=7.6, leading=9.7, textColor=_INK, splitLongWords=1, spaceAfter=1.5
        )
        made = {
            "text": base,
            "value": ParagraphStyle("value", base, fontName=_BOLD),
            "name": ParagraphStyle("name", base, textColor=_DIM),
            "small": ParagraphStyle("small", base, fontSize=6.7, leading=8.5, textColor=_DIM),
            "line": ParagraphStyle("line", base, fontSize=7.3, leading=9.2),
            "title": ParagraphStyle("title", base, fontName=_BOLD, fontSize=13.5, leading=17, textColor=_ACCENT),
            "research": ParagraphStyle("research", base, fontName=_BOLD, fontSize=8, textColor=_RED, alignment=2),
            "h2": ParagraphStyle(
                "h2", base, fontName=_BOLD, fontSize=10.5, leading=14, textColor=_ACCENT, spaceBefore=11, spaceAfter=4
            ),
            "h3": ParagraphStyle("h3", base, fontName=_BOLD, fontSize=8, leading=10.5, textColor=_ACCENT),
            "head": ParagraphStyle("head", base, fontName=_BOLD, fontSize=6.9, leading=8.4, textColor=_DIM),
            "cell": ParagraphStyle("cell", base, fontSize=7.2, leading=8.8, spaceAfter=0),
            "strong": ParagraphStyle("strong", base, fontName=_BOLD, fontSize=7.2, leading=8.8, spaceAfter=0),
            "notice": ParagraphStyle("notice", base, leading=9.6, spaceAfter=0),
            "paragraph": ParagraphStyle("paragraph", base, spaceAfter=4),
        }
        for name in ("head", "cell", "strong"):
            made[f"{name}-right"] = ParagraphStyle(f"{name}-right", made[name], alignment=2)
        self._styles = made

    def bytes(self) -> bytes:
        """Build the document."""
        from reportlab.platypus import BaseDocTemplate, Frame, NextPageTemplate, PageBreak, PageTemplate

        stream = BytesIO()
        mm = _POINTS_PER_MM
        frame = {"leftPadding": 0, "rightPadding": 0, "topPadding": 0, "bottomPadding": 0}
        head = 7 * mm
        first = Frame(_SIDE * mm, _BOTTOM * mm, self._width, self._height, id="first", **frame)
        later = Frame(_SIDE * mm, _BOTTOM * mm, self._width, self._height - head, id="later", **frame)
        document = BaseDocTemplate(
            stream,
            pagesize=self._size,
            title=f"{self._content.title}: {self._content.case}",
            subject=self._content.disclaimer,
            creator=self._content.footer,
            author="",
            keywords=self._keywords,
            lang=self._content.language,
            invariant=1,
            pageCompression=1,
        )
        document.addPageTemplates(
            [PageTemplate("first", [first]), PageTemplate("later", [later], onPage=self._draw_head)]
        )
        story = [*self._page_one(), NextPageTemplate("later"), PageBreak()]
        for section in self._content.sections:
            story += self._section(section)
        document.build(story, canvasmaker=self._canvas)
        return stream.getvalue()

    # --- text

    def _shown(self, text: str) -> str:
        """Text in the order and with the letters that the fonts can set."""
        return "".join(c if ord(c) in self._glyphs else "\ufffd" for c in visual(text))

    def _paragraph(self, text: str, style: str) -> Paragraph:
        from reportlab.platypus import Paragraph

        return Paragraph(escape(self._shown(text), quote=False), self._styles[style])

    # --- page one

    def _page_one(self) -> list[Any]:
        """Flowables that fill one page and never two: the key images take the room that is left."""
        from reportlab.platypus import KeepInFrame, Spacer

        above = [self._title(), self._facts(), *self._notices(), self._legend()]
        below = [self._paragraph(self._content.caption, "small"), Spacer(1, 4), self._columns(), self._foot()]
        used = sum(_height(flowable, self._width, self._height) for flowable in (*above, *below))
        grid = self._key_images(self._height - used - 4)
        # Oversized content is set smaller rather than on a second page.
        return [KeepInFrame(self._width, self._height - 1, [*above, grid, *below], mode="shrink")]

    def _title(self) -> Flowable:
        from reportlab.platypus import Table

        row = [
            self._paragraph(self._content.title, "title"),
            self._paragraph(self._content.disclaimer, "research"),
        ]
        style = [
            *_PADDING,
            ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
            ("LINEBELOW", (0, 0), (-1, -1), 1.3, _ACCENT),
            ("RIGHTPADDING", (0, 0), (-1, -1), 0),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
        ]
        return Table([row], [0.58 * self._width, 0.42 * self._width], style=style)

    def _facts(self) -> Flowable:
        from reportlab.platypus import Table

        cells = [
            cell
            for fact in self._content.facts
            for cell in (self._paragraph(fact.name, "name"), self._paragraph(fact.value, "value"))
        ]
        cells += [""] * (-len(cells) % 4)
        rows = [cells[n : n + 4] for n in range(0, len(cells), 4)]
        names = 0.115 * self._width
        values = 0.5 * self._width - names
        style = [("VALIGN", (0, 0), (-1, -1), "TOP"), *_PADDING, ("TOPPADDING", (0, 0), (-1, 0), 4)]
        return Table(rows, [names, values, names, values], style=style)

    def _notices(self) -> list[Any]:
        from reportlab.platypus import Spacer, Table

        out = []
        for notice in self._content.notices:
            bar, ground = _LEVELS[notice.level]
            style = [
                ("BACKGROUND", (0, 0), (-1, -1), ground),
                ("LINEBEFORE", (0, 0), (0, -1), 3, bar),
                ("LEFTPADDING", (0, 0), (-1, -1), 7),
                ("RIGHTPADDING", (0, 0), (-1, -1), 5),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ]
            out += [Spacer(1, 3), Table([[self._paragraph(notice.text, "notice")]], [self._width], style=style)]
        return out

    def _legend(self) -> Flowable:
        return _legend(
            self._shown(self._content.key_title),
            [(self._shown(name), rgb) for name, rgb in self._content.legend],
            self._width,
        )

    def _key_images(self, room: float) -> Flowable:
        """The key images as large as the room allows, in the arrangement that makes them largest."""
        pictures = self._content.pictures
        view = pictures[0].view
        aspect = view.height_mm / view.width_mm
        best: tuple[float, int] = (0.0, len(pictures))
        # Full rows only: one image alone in the last row looks like a mistake.
        for columns in (n for n in range(1, len(pictures) + 1) if len(pictures) % n in (0, n - 1)):
            rows = -(-len(pictures) // columns)
            by_width = (self._width - (columns - 1) * _GAP) / columns
            by_height = (room / rows - _CAPTION_HEIGHT - _GAP) / aspect
            best = max(best, (min(by_width, by_height, _WIDEST), columns))
        width, columns = best
        if width < _NARROWEST:
            # Fewer images, but legible ones.
            pictures = pictures[:: max(1, -(-len(pictures) // 4))][:4]
            columns = len(pictures)
            width = min((self._width - (columns - 1) * _GAP) / columns, max(room - _CAPTION_HEIGHT - _GAP, 50) / aspect)
        return _grid([(self._shown(p.caption), p) for p in pictures], columns, width, self._width)

    def _columns(self) -> Flowable:
        from reportlab.platypus import Table

        gap = 14.0
        width = (self._width - gap) / 2
        left = [flowable for block in self._content.left for flowable in self._block(block, width)]
        right = [flowable for block in self._content.right for flowable in self._block(block, width)]
        style = [("VALIGN", (0, 0), (-1, -1), "TOP"), *_PADDING]
        return Table([[left, "", right]], [width, gap, width], style=style)

    def _foot(self) -> Flowable:
        from reportlab.platypus import Table

        gap = 14.0
        width = (self._width - gap) / 2
        left, right = (self._block(block, width) for block in self._content.foot)
        style: list[tuple[Any, ...]] = [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LINEABOVE", (0, 0), (-1, 0), 0.5, _LINE),
            *_PADDING,
            ("TOPPADDING", (0, 0), (-1, -1), 3),
        ]
        return Table([[left, "", right]], [width, gap, width], style=style)

    def _block(self, block: Block, width: float) -> list[Any]:
        from reportlab.platypus import Spacer

        out = [self._paragraph(block.title, "h3")]
        if block.table is not None:
            out += [self._table(block.table, width, strong=block.strong_row), Spacer(1, 2.5)]
        out += [self._paragraph(line, "line") for line in block.lines]
        return [*out, Spacer(1, 4)]

    # --- details

    def _section(self, section: Section) -> list[Any]:
        from reportlab.platypus import CondPageBreak, KeepTogether, Spacer

        captioned = section.table is not None or bool(section.pictures)
        lines = [self._paragraph(line, "small" if captioned else "paragraph") for line in section.paragraphs]
        title = self._paragraph(section.title, "h2")
        if section.pictures:
            width = (self._width - (_GALLERY_COLUMNS - 1) * _GAP) / _GALLERY_COLUMNS
            rows = [
                _grid(
                    [(self._shown(p.caption), p) for p in section.pictures[n : n + _GALLERY_COLUMNS]],
                    _GALLERY_COLUMNS,
                    width,
                    self._width,
                    centred=False,
                )
                for n in range(0, len(section.pictures), _GALLERY_COLUMNS)
            ]
            return [KeepTogether([title, *lines, Spacer(1, 3), rows[0]]), *rows[1:]]
        if section.table is not None:
            table = self._table(section.table, self._width, striped=True)
            whole = [title, *lines, Spacer(1, 2), table]
            kept = len(section.table.rows) <= _KEPT_ROWS
            return [*([KeepTogether(whole)] if kept else [CondPageBreak(90), *whole]), *self._sheet(section)]
        first = len(lines) if section.id == "references" else 1
        return [KeepTogether([title, *lines[:first]]), *lines[first:]]

    def _sheet(self, section: Section) -> list[Any]:
        """A whole picture with its caption; it fits on a page."""
        from reportlab.lib.utils import ImageReader
        from reportlab.platypus import Image, KeepTogether, Spacer

        if not section.sheet:
            return []
        width, height = ImageReader(BytesIO(section.sheet)).getSize()
        share = min(self._width / width, _SHEET_HEIGHT / height)
        picture = Image(BytesIO(section.sheet), width * share, height * share)
        return [KeepTogether([Spacer(1, 6), picture, self._paragraph(section.sheet_caption, "small")])]

    def _table(self, table: Table, width: float, strong: int | None = None, striped: bool = False) -> Flowable:
        from reportlab.platypus import LongTable

        def row(texts: Sequence[str], style: str) -> list[Any]:
            return [
                self._paragraph(text, f"{style}-right" if n >= table.numbers_from else style)
                for n, text in enumerate(texts)
            ]

        rows = [row(table.columns, "head")]
        rows += [row([c.text for c in r], "strong" if n == strong else "cell") for n, r in enumerate(table.rows)]
        style: list[tuple[Any, ...]] = [
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("VALIGN", (0, 1), (-1, -1), "TOP"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.7, "#9aa4b0"),
            ("LINEBELOW", (0, 1), (-1, -1), 0.35, _LINE),
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
            ("TOPPADDING", (0, 0), (-1, -1), 1.6),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
        ]
        if striped:
            style.append(("ROWBACKGROUNDS", (0, 1), (-1, -1), ["#ffffff", _SOFT]))
        return LongTable(rows, self._column_widths(table, width), repeatRows=1, style=style)

    def _column_widths(self, table: Table, width: float) -> list[float]:
        """Widths in proportion to what the columns hold, so that no figure breaks and words break where they may."""
        from reportlab.pdfbase.pdfmetrics import stringWidth

        wanted = []
        for n, name in enumerate(table.columns):
            cells = [self._shown(row[n].text) for row in table.rows]
            whole = max((stringWidth(cell, _REGULAR, 7.2) for cell in cells), default=0.0)
            word = max((stringWidth(w, _BOLD, 6.9) for w in self._shown(name).split()), default=0.0)
            wanted.append(max(whole + 2, word, 12) + 7)
        if sum(wanted) <= width:
            # Remaining width goes to text columns: figures are set close together.
            words = max(range(min(max(table.numbers_from, 1), len(wanted))), key=lambda n: wanted[n])
            spare = width - sum(wanted)
            shared = [w + (0.4 * spare / len(wanted)) for w in wanted]
            shared[words] += 0.6 * spare
            return shared
        fixed = [min(w, 0.75 * width / len(wanted)) for w in wanted]
        rest = [w - f for w, f in zip(wanted, fixed, strict=True)]
        return [f + (width - sum(fixed)) * r / sum(rest) for f, r in zip(fixed, rest, strict=True)]

    # --- every page

    def _draw_head(self, canvas: Canvas, document: BaseDocTemplate) -> None:
        """The line at the top of the details."""
        mm = _POINTS_PER_MM
        y = self._size[1] - _TOP * mm - 7
        canvas.saveState()
        canvas.setFont(_BOLD, 7.5)
        canvas.setFillColor(_ACCENT)
        canvas.drawString(_SIDE * mm, y, self._shown(self._content.title))
        canvas.setFont(_REGULAR, 7.5)
        canvas.setFillColor(_DIM)
        name = _fitting(self._shown(self._content.case), 0.55 * self._width, 7.5)
        canvas.drawRightString(self._size[0] - _SIDE * mm, y, name)
        canvas.setStrokeColor(_LINE)
        canvas.setLineWidth(0.6)
        canvas.line(_SIDE * mm, y - 4, self._size[0] - _SIDE * mm, y - 4)
        canvas.restoreState()

    def _canvas(self, *arguments: Any, **options: Any) -> Canvas:
        """A canvas that knows how many pages there are when it draws the foot of each."""
        from reportlab.pdfgen.canvas import Canvas

        setter = self

        class Counted(Canvas):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self._pages: list[dict[str, Any]] = []

            def showPage(self) -> None:
                self._pages.append(dict(self.__dict__))
                self._startPage()

            def save(self) -> None:
                pages = self._pages
                for number, state in enumerate(pages, 1):
                    self.__dict__.update(state)
                    setter._draw_foot(self, number, len(pages))
                    super().showPage()
                super().save()

        return Counted(*arguments, **options)

    def _draw_foot(self, canvas: Canvas, page: int, pages: int) -> None:
        mm = _POINTS_PER_MM
        y = 9.5 * mm
        left, right = _SIDE * mm, self._size[0] - _SIDE * mm
        canvas.saveState()
        canvas.setStrokeColor(_LINE)
        canvas.setLineWidth(0.6)
        canvas.line(left, y + 9, right, y + 9)
        canvas.setFont(_BOLD, 7.4)
        canvas.setFillColor(_RED)
        canvas.drawString(left, y, self._shown(self._content.disclaimer))
        canvas.setFont(_REGULAR, 7.2)
        canvas.setFillColor(_DIM)
        count = self._content.page(page, pages)
        canvas.drawRightString(right, y, self._shown(f"{self._content.footer} · {count}"))
        canvas.restoreState()


#: A table without room around its cells.
_PADDING = (
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 0),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
)
