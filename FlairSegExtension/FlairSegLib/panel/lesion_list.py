"""The table of lesions as a widget: its columns, its rows, the mark of the column by which it is sorted."""

from __future__ import annotations

from collections.abc import Sequence

import qt

from . import lesion_words

#: Maximum number of rows shown; noise may produce thousands of regions.
MAXIMUM_ROWS = 400
NUMBER, VOLUME, DIAMETER, SLICE, CONFIDENCE, REGION = range(6)


def build(table) -> None:
    """Give a QTableWidget its columns."""
    table.setColumnCount(6)
    table.setHorizontalHeaderLabels(lesion_words.headings())
    for column, tip in enumerate(lesion_words.column_tips()):
        table.horizontalHeaderItem(column).setToolTip(tip)
    table.verticalHeader().setVisible(False)
    header = table.horizontalHeader()
    header.setHighlightSections(False)
    header.setSectionsClickable(True)
    # Qt keeps room for its mark in every column; the region needs it more.
    header.setSortIndicatorShown(False)
    for column in (NUMBER, VOLUME, DIAMETER, SLICE, CONFIDENCE):
        header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(REGION, qt.QHeaderView.Stretch)


def set_row(table, row: int, texts: Sequence[str], tip: str, rgb: tuple[float, float, float]) -> None:
    """Show one lesion: its texts by column, a tooltip, the colour of its class (0..1).

    Items that are there are kept: each new one would have a visible table measure its columns.
    """
    for column, text in enumerate(texts):
        there = table.item(row, column)
        item = qt.QTableWidgetItem() if there is None else there
        item.setText(text)
        item.setToolTip(tip)
        if column == NUMBER:
            item.setData(qt.Qt.DecorationRole, qt.QColor.fromRgbF(*rgb))
        if there is None:
            if column != REGION:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(row, column, item)
    table.setRowHeight(row, 20)


def mark_sorted(table, sorted_by: int, descending: bool) -> None:
    """Mark the column by which the rows are sorted."""
    for column, heading in enumerate(lesion_words.headings()):
        mark = ("▾" if descending else "▴") if column == sorted_by else ""
        table.horizontalHeaderItem(column).setText(f"{heading}{mark}")
