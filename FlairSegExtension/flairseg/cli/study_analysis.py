"""``flairseg study analyse`` and ``flairseg study import``: from ratings to a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ..errors import FlairSegError
from .console import WRITTEN, command, show_warning, stage_bar

if TYPE_CHECKING:
    from ..study.analysis.inputs import AnalysisInputs

#: Label of each stage in the progress bar.
STAGE_NAMES = {
    "read": "reading",
    "table": "checking the ratings",
    "acceptance": "acceptance",
    "agreement": "agreement",
    "numbers": "counts and volumes",
    "time": "time",
    "lesions": "lesions",
    "report": "writing the report",
}


def analyse_study(source: Path, output: Path, seed: int, overwrite: bool, coordinator: Path | None = None) -> int:
    """Analyse a closed study's folder, or a tidy ``ratings.csv``; the exit code of the command."""
    if source.suffix.lower() == ".csv":
        return import_ratings([source], output, (), "", seed, overwrite)

    def read() -> AnalysisInputs:
        from ..study.analysis.from_study import study_inputs
        from ..study.study import Study

        return study_inputs(Study(source, coordinator))

    return _run(read, output, seed, overwrite)


def import_ratings(
    files: Sequence[Path], output: Path, types: Sequence[str], title: str, seed: int, overwrite: bool
) -> int:
    """Analyse ratings collected elsewhere; the exit code of the command.

    Parameters
    ----------
    files : sequence of Path
        CSV files or folders of them.
    output : Path
    types : sequence of str
        ``QUESTION=TYPE``, for questions whose files do not state their type.
    title : str
    seed : int
    overwrite : bool
    """

    def read() -> AnalysisInputs:
        from ..study.analysis.importing import read_ratings

        return read_ratings(files, _types(types), title)

    return _run(read, output, seed, overwrite)


def _types(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        question, sign, kind = text.rpartition("=")
        if not sign or not question.strip() or not kind.strip():
            raise FlairSegError(f"--type {text} cannot be understood.", "Write --type QUESTION=Likert_5, for instance.")
        found[question.strip()] = kind.strip()
    return found


@command()
def _run(
    messages: Console,
    results: Console,
    read: Callable[[], AnalysisInputs],
    output: Path,
    seed: int,
    overwrite: bool,
) -> int:
    from ..study.analysis.dependencies import require_report, require_statistics
    from ..study.analysis.report import REPORT, analyse, check_destination
    from ..study.analysis.tables import TABLES

    require_statistics()
    require_report()
    check_destination(output, overwrite)
    with stage_bar(messages, STAGE_NAMES["read"]) as update:
        inputs = read()

        def progress(fraction: float, stage: str) -> None:
            update(fraction, STAGE_NAMES.get(stage, stage))

        written = analyse(inputs, output, progress, seed=seed, overwrite=overwrite)
    for remark in inputs.study.remarks:
        show_warning(messages, remark)
    results.print(Text.assemble((str(written[REPORT]), "bold"), "  the report"), soft_wrap=True)
    for name, what in TABLES.items():
        results.print(Text.assemble((str(written[name]), "bold"), f"  {what}"), soft_wrap=True)
    results.print("Research use only - not a medical device.", style="dim")
    return WRITTEN
