"""The report as one HTML file: no script, nothing loaded from anywhere, every text escaped."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._optional import require
from ..labels import CLASS_BY_VALUE
from .document import STRONG_ROWS
from .slices import NUMBER_HEIGHT, SliceView, scale_bar_mm

if TYPE_CHECKING:
    from markupsafe import Markup

    from .document import Content, Section

TEMPLATES = Path(__file__).with_name("templates")
#: Paper sizes and what CSS calls them.
PAPERS = {"a4": "A4", "letter": "letter"}


def render_html(content: Content, paper: str = "a4", image_sha256: str = "") -> str:
    """HTML text of a report; ``paper`` (a key of :data:`PAPERS`) is what it prints on, ``image_sha256`` what it is of.

    Raises
    ------
    MissingDependencyError
        If Jinja2 is not installed.
    """
    require(("jinja2",), "The HTML report", "report")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"drawing": drawing, "css": css_string, "sheet": sheet}
    return environment.get_template("report.html.j2").render(
        report=content,
        paper=PAPERS[paper],
        print_share=_print_share(content, paper),
        image=image_sha256,
        strong_rows=STRONG_ROWS,
    )


def _print_share(content: Content, paper: str) -> int:
    """Share of a printed page's width for the key images, per cent: less where there is more text below them."""
    if len(content.pictures) <= 4:
        return 92
    tables = sum(block.table is not None for block in (*content.left, *content.right))
    return 72 - 5 * tables - 4 * len(content.notices) - (6 if paper == "letter" else 0)


def css_string(text: str) -> Markup:
    """A text as a string of CSS: whatever is no plain letter, digit or space is written as its code point."""
    from markupsafe import Markup

    plain = (c if c.isascii() and (c.isalnum() or c == " ") else f"\\{ord(c):x} " for c in text)
    # Nothing is left in it that HTML or CSS would take for markup.
    return Markup('"{}"').format("".join(plain))


def sheet(section: Section) -> Markup:
    """The whole picture of a section as an SVG element; its pixels were encoded here (:mod:`.gathering`)."""
    from markupsafe import Markup

    # Width and height are the first two numbers of a PNG's header chunk.
    width, height = (int.from_bytes(section.sheet[n : n + 4], "big") for n in (16, 20))
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{label}"><image href="data:image/png;base64,{png}" '
        'width="{w}" height="{h}"/></svg>'
    ).format(w=width, h=height, label=section.sheet_caption, png=base64.b64encode(section.sheet).decode())


def drawing(view: SliceView) -> Markup:
    """The inside of an SVG element whose units are mm: image, outlines, numbers, marks.

    Everything in it is made here from numbers and single letters, so it is markup and is not escaped again.
    """
    from markupsafe import Markup

    width, height = view.width_mm, view.height_mm
    size = NUMBER_HEIGHT * width
    parts = [
        Markup('<image href="data:image/png;base64,{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(
            base64.b64encode(view.png()).decode(), _mm(width), _mm(height)
        ),
        Markup('<g class="o">'),
        *(
            Markup('<path d="{}" stroke="rgb({},{},{})"/>').format(_path(line), *CLASS_BY_VALUE[value].rgb)
            for value, line in view.outlines
        ),
        *(
            Markup('<text x="{}" y="{}" font-size="{}">{}</text>').format(
                _mm(n.x), _mm(n.y + 0.36 * size), _mm(size), n.text
            )
            for n in view.numbers
        ),
        Markup("</g>"),
    ]
    mark = Markup('<text class="m" x="{}" y="{}" font-size="{}">{}</text>')
    for letter, x in zip(view.edges, (0.03 * width, 0.97 * width), strict=True):
        parts.append(mark.format(_mm(x), _mm(height / 2), _mm(0.05 * width), letter))
    bar = scale_bar_mm(width)
    right, y = 0.97 * width, 0.975 * height
    parts.append(
        Markup('<path class="s" d="M{} {}h{}"/><text class="m" x="{}" y="{}" font-size="{}">{} mm</text>').format(
            _mm(right - bar), _mm(y), _mm(bar), _mm(right - bar / 2), _mm(y - 0.015 * height), _mm(0.034 * width), bar
        )
    )
    return Markup("").join(parts)


def _path(line: np.ndarray) -> str:
    return "M" + "L".join(f"{_mm(x)} {_mm(y)}" for x, y in line) + "Z"


def _mm(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
