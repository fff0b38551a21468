"""Elements of a report: sections of paragraphs, tables and figures, as plain values.

Nothing here is markup: every text is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .drawing import Figure, Picture


@dataclass(frozen=True)
class Cell:
    """Text of a table cell, and the letters of its footnotes."""

    text: str
    marks: str = ""


@dataclass(frozen=True)
class Table:
    """A table; columns from ``numbers_from`` on hold figures and are right-aligned.

    ``folded`` tables are collapsed on screen and expanded in print.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()
    numbers_from: int = 1
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """One section of a report: its paragraphs, tables and figures, in this order."""

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure | Picture, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the section is empty."""
        return not (self.paragraphs or self.tables or self.figures)


@dataclass(frozen=True)
class KeyFigure:
    """One figure of the summary."""

    name: str
    value: str
    detail: str


@dataclass
class Footnotes:
    """Letters for the notes of one table, without duplicates."""

    letters: dict[str, str] = field(default_factory=dict)

    def cell(self, text: str, *notes: str) -> Cell:
        """A cell with its notes; empty ones leave no mark."""
        marks = [self.letters.setdefault(note, _letter(len(self.letters))) for note in notes if note]
        return Cell(text, ",".join(dict.fromkeys(marks)))

    @property
    def listed(self) -> tuple[tuple[str, str], ...]:
        """(letter, note) of all notes, in order of their letters."""
        return tuple((letter, note) for note, letter in self.letters.items())


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26) * (1 + number // 26)


def cells(*texts: str) -> tuple[Cell, ...]:
    """Cells without footnotes."""
    return tuple(Cell(text) for text in texts)


def rest(rows: Sequence[object], longest: int) -> tuple[tuple[str, str], ...]:
    """The note below a truncated list."""
    return (("", f"and {len(rows) - longest} more."),) if len(rows) > longest else ()
