"""Writing of an evaluation, all files or none: tables, JSON and the HTML report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..files.atomic import all_or_none
from ..files.same_input import check_new_results
from ..progress import CancelToken, ProgressCallback, Reporter
from .report import REPORT, render, require_report
from .results import EvaluationResult
from .tables import TABLES, texts

#: File name -> description, the report first.
FILES = {REPORT: "the report", **TABLES}
#: Progress after the tables.
_TABLES_MADE = 0.1


def check_destination(output: str | Path, overwrite: bool = False) -> None:
    """Raise an error, before any work is done, if the output could not be written.

    Raises
    ------
    OutputError
        If the folder contains an evaluation that may not be replaced, or is not writable.
    MissingDependencyError
        If a package for the report is not installed.
    """
    require_report()
    check_new_results(output, FILES, "Results of an evaluation", overwrite)


def write_evaluation(
    result: EvaluationResult,
    output: str | Path,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> dict[str, Path]:
    """Write ``cases.csv``, ``summary.csv``, ``evaluation.json`` and the report; after a failure, none of them.

    Parameters
    ----------
    result : EvaluationResult
    output : path
        Folder; created if it does not exist.
    overwrite : bool
        Replace an earlier evaluation there.
    progress : callable, optional
        ``progress(fraction, stage)``.
    cancel : CancelToken or callable, optional

    Returns
    -------
    dict of str to Path
        Keys of :data:`FILES` -> paths.

    Raises
    ------
    OutputError
        If files exist and may not be replaced, or cannot be written.
    MissingDependencyError
        If a package for the report is not installed.
    Cancelled
        When the user cancelled; nothing is written.
    """
    folder = Path(output)
    check_destination(folder, overwrite)
    reporter = Reporter(progress, cancel)
    with reporter.stage("report", 0.0, 1.0):
        contents = texts(result)
        reporter.update(_TABLES_MADE)
        contents[REPORT] = render(
            result,
            files=TABLES,
            step=lambda fraction: reporter.update(_TABLES_MADE + (1 - _TABLES_MADE) * fraction),
        )
        with all_or_none(folder, contents) as temporary:
            for name, text in contents.items():
                # A byte order mark marks a CSV file as UTF-8 for spreadsheets.
                encoding = "utf-8-sig" if name.endswith(".csv") else "utf-8"
                (temporary / name).write_text(text, encoding=encoding, newline="")
            reporter.check()
    return {name: folder / name for name in FILES}
