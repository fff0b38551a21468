"""Figures: SVG drawn by matplotlib in one style, each with a caption and a description.

Matplotlib's figure objects are used directly, without pyplot: no window, no global state, and any thread may draw.
Names are external text: never interpreted as mathematics or markup.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

#: Okabe and Ito's colours, distinguishable for colour-blind readers, in the order of use.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GRID, TEXT, FAINT = "#e3e6ea", "#1d2430", "#6b7380"
#: Width of a report's text, inches.
WIDTH = 7.1
#: A label longer than this is cut in a figure; tables have it in full.
LABEL = 34
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial", "sans-serif"],
    "font.size": 8.5,
    "axes.edgecolor": "#8a919c",
    "axes.labelcolor": TEXT,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "text.color": TEXT,
    "text.parse_math": False,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    # Keep text as text: shown in any script that the browser supports, and searchable.
    "svg.fonttype": "none",
    "svg.hashsalt": "flairseg",
}


@dataclass(frozen=True)
class Figure:
    """A finished figure: SVG text, caption, and a description for who cannot see it."""

    name: str
    svg: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Picture:
    """A finished picture of pixels: PNG bytes, caption, and a description for who cannot see it."""

    name: str
    png: bytes
    caption: str
    alt: str


@contextmanager
def style() -> Iterator[None]:
    """The style of the project's figures, for what is drawn inside."""
    import matplotlib as mpl

    settings: Any = _STYLE
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Letters that the measuring font lacks are shown by the browser's own fonts.
        warnings.filterwarnings("ignore", message=".*Glyph.*missing.*")
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied.*")
        yield


def canvas(height: float, width: float = WIDTH) -> Canvas:
    """An empty figure; height and width in inches."""
    from matplotlib.figure import Figure as MatplotlibFigure

    return MatplotlibFigure(figsize=(width, height), layout="constrained")


def finished(drawn: Canvas, name: str, caption: str, alt: str) -> Figure:
    """The figure as SVG. It contains no date: the same data give the same file."""
    stream = io.StringIO()
    drawn.savefig(stream, format="svg", dpi=220, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    return Figure(name, svg[svg.index("<svg") :], caption, alt)


def label(text: str, length: int = LABEL) -> str:
    """A name for figures: shortened, on one line, without control characters."""
    text = "".join(c if c.isprintable() else " " for c in text).strip()
    return text if len(text) <= length else text[: length - 1] + "…"


def cycle(count: int) -> list[str]:
    """``count`` colours, from the first again after the last."""
    return [COLOURS[n % len(COLOURS)] for n in range(count)]
