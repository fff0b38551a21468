"""The document model of a report: facts, notices, pictures, blocks of page one, sections of the details."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..reporting.layout import Table
from .slices import SliceView

#: Blocks of which a row of the table stands out -> which row.
STRONG_ROWS = {"volumes": "first", "regions": "last"}
#: Urgency of a notice.
CALM, ATTENTION, ALARM = "calm", "attention", "alarm"


@dataclass(frozen=True)
class Fact:
    """A name and a value of the head."""

    name: str
    value: str


@dataclass(frozen=True)
class Notice:
    """A sentence in a box."""

    level: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A slice and its caption."""

    view: SliceView
    caption: str
    alt: str


@dataclass(frozen=True)
class Block:
    """A titled piece: a table and lines, either of which may be missing."""

    id: str
    title: str
    table: Table | None = None
    lines: tuple[str, ...] = ()

    @property
    def strong_row(self) -> int | None:
        """Index of the row that stands out, see :data:`STRONG_ROWS`."""
        place = STRONG_ROWS.get(self.id)
        return None if place is None or self.table is None else 0 if place == "first" else len(self.table.rows) - 1


@dataclass(frozen=True)
class Section:
    """A titled piece of the details."""

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()
    caption: str = ""
    sheet: bytes = field(default=b"", repr=False)
    sheet_caption: str = ""


@dataclass(frozen=True)
class Content:
    """A whole report.

    Attributes
    ----------
    title, case, disclaimer, footer : str
    language, direction : str
        ``en``, ``ltr``.
    facts, notices : tuple
        The head: what the report is about; what to know first.
    pictures, legend, caption
        Key images; (name, colour) of each outline; what the images show.
    left, right : tuple of Block
        The two columns of page one.
    foot : tuple of Block
        Content below them.
    sections : tuple of Section
        The details.
    """

    title: str
    case: str
    disclaimer: str
    footer: str
    language: str
    direction: str
    facts: tuple[Fact, ...]
    notices: tuple[Notice, ...]
    pictures: tuple[Picture, ...]
    key_title: str
    legend_title: str
    legend: tuple[tuple[str, tuple[int, int, int]], ...]
    caption: str
    left: tuple[Block, ...]
    right: tuple[Block, ...]
    foot: tuple[Block, ...]
    sections: tuple[Section, ...]
    page_count: str

    def page(self, page: int, pages: int) -> str:
        """``Page 2 of 5``, with ``page`` and ``pages`` as numbers."""
        return self.page_count.replace("{page}", str(page)).replace("{pages}", str(pages))
