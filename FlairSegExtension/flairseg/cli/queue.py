"""``flairseg queue``: the cases of a folder in the order in which to review them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..files.atomic import all_or_none, results_exist
from .console import WRITTEN, command

if TYPE_CHECKING:
    from ..study.queue import QueueItem

#: Maximum number of rows printed; the file has all.
_SHOWN = 30


@command()
def show_queue(
    messages: Console,
    results: Console,
    source: Path,
    cases: Path | None,
    learning: bool,
    output: Path | None,
    overwrite: bool,
) -> int:
    """Print the list, and write it; the exit code of the command."""
    from ..review.cases import CaseArchive
    from ..study.learning_order import learning_order
    from ..study.queue import work_list

    if output is not None and output.exists() and not overwrite:
        raise results_exist("A list", output)
    items = work_list(source, CaseArchive(cases) if cases is not None else None, done=learning)
    items = learning_order(items) if learning else items
    if output is not None:
        _write(output.absolute(), items)
    table = Table(box=box.SIMPLE)
    for column in ("", "Case", "State", "Expected correction, ml", "Lesions, ml"):
        table.add_column(column, justify="left" if column in ("Case", "State") else "right")
    for n, item in enumerate(items[:_SHOWN], 1):
        numbers = ("-" if value is None else f"{value:.2f}" for value in (item.expected_correction_ml, item.lesion_ml))
        table.add_row(str(n), Text(item.case), item.state, *numbers)
    results.print(table)
    if len(items) > _SHOWN:
        results.print(f"and {len(items) - _SHOWN} more.")
    return WRITTEN


def _write(path: Path, items: list[QueueItem]) -> None:
    with all_or_none(path.parent, [path.name], [path.name]) as temporary:
        stream = (temporary / path.name).open("w", encoding="utf-8", newline="")
        with stream:
            writer = csv.writer(stream)
            writer.writerow(["case", "flair", "labels", "probabilities", "state", "expected_correction_ml"])
            for item in items:
                files = (str(file or "") for file in (item.flair, item.labels, item.probabilities))
                writer.writerow([item.case, *files, item.state, item.expected_correction_ml])
