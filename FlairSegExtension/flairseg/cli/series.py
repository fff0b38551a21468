"""``flairseg series``: list the series of a DICOM folder, and which would be segmented, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import CaseWarning, FlairSegError
from .console import REFUSED, WRITTEN, command, show_error, show_warning

if TYPE_CHECKING:
    from ..dicom.find import Listed


@command("Interrupted.")
def show_series(messages: Console, results: Console, folder: Path) -> int:
    """List the series of a folder; the exit code of the command."""
    from .._optional import require
    from ..dicom import find_flair, list_series
    from ..dicom.find import directory_of, listed

    failure: FlairSegError | None = None
    with messages.status("reading the headers ..."):
        try:
            found = find_flair(folder)
            listing, scan, reason = found.listing, found.scan, found.reason
        except FlairSegError as error:
            failure = error
            require(("pydicom",), "Reading the headers of DICOM series", "dicom")
            series, scan = list_series(directory_of(folder))
            listing, reason = tuple(listed(s, stack) for s in series for stack in s.stacks), ""
    if listing:
        results.print(_table(listing))
    if reason:
        results.print(Text(reason), soft_wrap=True)
    if scan.damaged:
        names = ", ".join(path.name for path in scan.damaged[:5])
        text = f"{len(scan.damaged)} DICOM files cannot be read ({names})."
        show_warning(messages, CaseWarning(text, "damaged-files"))
    if failure is not None:
        show_error(messages, failure)
        return REFUSED
    return WRITTEN


def _table(listing: Sequence[Listed]) -> Table:
    table = Table(box=box.ROUNDED, header_style="bold")
    table.add_column("Series", justify="right")
    table.add_column("Description", overflow="fold")
    table.add_column("Plane")
    table.add_column("Slices", justify="right")
    table.add_column("Voxel\nmm", no_wrap=True)
    table.add_column("Content", overflow="fold")
    for entry in listing:
        stack = entry.stack
        k, j, i = stack.spacing
        what = f"{entry.series.description or '-'}{f' ({stack.what})' if stack.what else ''}"
        style = "bold green" if entry.taken else "dim" if entry.verdict.score < 0 or stack.problem else ""
        table.add_row(
            Text("-" if entry.series.number is None else str(entry.series.number), style=style),
            Text(what, style=style),
            Text(stack.plane, style=style),
            Text(str(len(stack.frames)), style=style),
            Text(f"{i:.3g} x {j:.3g} x {k:.3g}", style=style),
            Text(("taken: " if entry.taken else "") + entry.remark, style=style),
        )
    return table
