"""Shared by sections of the report: footnotes, long lists."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ....reporting.layout import Cell, Footnotes, Table, rest
from ....statistics.intervals import FEW_CASES_NOTE

#: Rows of long lists shown in the report; the CSV files have all.
LONGEST_LIST = 60
#: Stated once in the section "Data".
_SAID_ONCE = re.compile(re.escape(FEW_CASES_NOTE).replace(r"\{\}", r"\d+") + r"\s*")


class Notes(Footnotes):
    """Footnotes without those stated once in the section "Data"."""

    def cell(self, text: str, *notes: str) -> Cell:
        """A cell with its notes."""
        return super().cell(text, *(_SAID_ONCE.sub("", note) for note in notes))


def long_list(caption: str, columns: Sequence[str], rows: Sequence[tuple[Cell, ...]], numbers_from: int = 9) -> Table:
    """A table of the first rows, and the number of further ones."""
    return Table(caption, tuple(columns), tuple(rows[:LONGEST_LIST]), rest(rows, LONGEST_LIST), numbers_from)
