"""The rows of a cohort on disk: one JSON file a session, written whole and last; all tables are made from them.

A row that is there means that all files of its case are there. Rows of different sessions never share a file, so any
number of workers write them without a lock, and what ends a process ends the row that it is at, and no other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..anatomy.lesion_table import LesionRow
from ..files.atomic import write_whole
from .layout import Layout
from .model import ChangeRow, LesionRecord, SessionRow


def write_row(layout: Layout, row: SessionRow, lesions: Sequence[LesionRow] = ()) -> None:
    """Write the row of a session with its lesions.

    Parameters
    ----------
    layout : Layout
    row : SessionRow
    lesions : sequence of LesionRow

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    _write(layout, row, [lesion.as_dict() for lesion in lesions])


def rewrite_row(layout: Layout, row: SessionRow) -> None:
    """Write the row of a session again; its lesions, if any, stay as they are written.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    _write(layout, row, (_content(layout.row(row.case)) or {}).get("lesions", []))


def _write(layout: Layout, row: SessionRow, lesions: list[Any]) -> None:
    content = {**row.to_dict(), "lesions": lesions}
    write_whole(layout.row(row.case), json.dumps(content, ensure_ascii=False) + "\n")


def write_change(layout: Layout, row: ChangeRow) -> None:
    """Write the row of a comparison.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_whole(layout.change_row(row.name), json.dumps(row.to_dict(), ensure_ascii=False) + "\n")


def read_row(layout: Layout, case: str) -> SessionRow | None:
    """The row of a session; None if there is no readable one."""
    content = _content(layout.row(case))
    return None if content is None else _session_row(content)


def read_rows(layout: Layout) -> dict[str, SessionRow]:
    """All rows by case, sorted by name; unreadable files are treated as missing."""
    rows = (_session_row(content) for content in _contents(layout.row("x").parent))
    return {row.case: row for row in rows if row is not None}


def read_changes(layout: Layout) -> dict[str, ChangeRow]:
    """All rows of comparisons by name."""
    rows = (_change_row(content) for content in _contents(layout.change_row("x").parent))
    return {row.name: row for row in rows if row is not None}


def read_lesions(layout: Layout) -> Iterator[LesionRecord]:
    """The lesions of all sessions, case by case: only one case is in memory."""
    for content in _contents(layout.row("x").parent):
        row = _session_row(content)
        if row is None:
            continue
        for lesion in content.get("lesions", ()):
            yield LesionRecord.from_json(row.session, lesion)


def drop_row(layout: Layout, case: str) -> None:
    """Remove the row of a session before its files are replaced."""
    with suppress(FileNotFoundError):
        layout.row(case).unlink()


def _session_row(content: dict[str, Any]) -> SessionRow | None:
    try:
        return SessionRow.from_dict(content)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _change_row(content: dict[str, Any]) -> ChangeRow | None:
    try:
        return ChangeRow.from_dict(content)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _contents(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except OSError:
        return
    for name in names:
        content = _content(folder / name)
        if content is not None:
            yield content


def _content(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
