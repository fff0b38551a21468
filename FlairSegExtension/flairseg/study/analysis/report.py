"""One self-contained HTML report and its CSV files, written all or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...files.atomic import all_or_none
from ...files.same_input import check_new_results
from ...progress import CancelToken, ProgressCallback, Reporter
from ...reporting.page import render_page
from .checklists import checklists
from .dependencies import require_report, require_statistics
from .figures import draw_figures
from .inputs import AnalysisInputs
from .methods import REFERENCES, methods_paragraph
from .results import Results, compute
from .sections import key_figures, sections
from .tables import TABLES, csv_tables

REPORT = "report.html"
_TEMPLATES = Path(__file__).with_name("templates")
_RECORDS = {
    True: "hash chain verified; protocol, orders, key and images as locked",
    False: "NOT as locked: see section “Data”",
    None: "",
}
#: Fraction at which the computation ends.
_COMPUTED = 0.8


def analyse(
    inputs: AnalysisInputs,
    output: str | Path,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
    *,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Analyse a rating study and write ``report.html`` and the CSV files of :data:`~.tables.TABLES`.

    Parameters
    ----------
    inputs : AnalysisInputs
    output : path
        Folder; created if need be.
    progress : callable, optional
        ``progress(fraction, stage)``.
    cancel : CancelToken or callable, optional
    seed : int
        Seed of the bootstrap, not negative.
    overwrite : bool
        Replace an earlier analysis in that folder.

    Returns
    -------
    dict of str to Path
        File name -> path.

    Raises
    ------
    InvalidRatingsError
        If there is nothing to analyse, or ratings contradict each other.
    MissingDependencyError
        If a package of the extra ``study`` is not installed.
    OutputError
        If the files exist and may not be replaced, or cannot be written. Nothing is written then.
    Cancelled
        When the user cancelled; nothing is written.
    """
    require_statistics()
    require_report()
    folder = Path(output)
    check_destination(folder, overwrite)

    def scaled(fraction: float, stage: str) -> None:
        if progress is not None:
            progress(_COMPUTED * fraction, stage)

    results = compute(inputs, seed, scaled, cancel)
    reporter = Reporter(progress, cancel)
    with reporter.stage("report", _COMPUTED, 1.0):
        texts = {**csv_tables(results), REPORT: render(results)}
        reporter.update(0.9)
        with all_or_none(folder, texts) as temporary:
            for name, text in texts.items():
                # A byte order mark marks a CSV file as UTF-8 for spreadsheets.
                encoding = "utf-8-sig" if name.endswith(".csv") else "utf-8"
                (temporary / name).write_text(text, encoding=encoding, newline="")
            reporter.check()
    return {name: folder / name for name in texts}


def check_destination(folder: Path, overwrite: bool) -> None:
    """Raise an error, before any work is done, if the output could not be written.

    Raises
    ------
    OutputError
        If an analysis is there and may not be replaced, or the folder cannot be written to.
    """
    check_new_results(folder, (REPORT, *TABLES), "Results of an analysis", overwrite)


def render(results: Results) -> str:
    """The report as HTML text: one file without scripts or external resources; all foreign text is escaped."""
    require_report()
    context = {
        "kind": "Rating study · report of the analysis",
        "title": results.study.title,
        "alerts": (),
        "facts": _facts(results),
        "key": key_figures(results),
        "sections": sections(results, draw_figures(results)),
        "methods": methods_paragraph(results),
        "checklists": checklists(results),
        "references": REFERENCES,
        "files": TABLES,
    }
    return render_page("report.html.j2", _TEMPLATES, context)


def _facts(results: Results) -> list[tuple[str, str]]:
    table, study = results.table, results.study
    size = (
        f"{len(table.cases)} cases, {len(table.arms)} arms, {len(table.raters)} raters, {len(table.showings)} showings"
    )
    models = "; ".join(f"{arm or 'masks'}: {made}" for arm, made in study.models.items() if made)
    known = [
        ("Study", study.study_id),
        ("Size", size),
        ("Masks by", models),
        ("Protocol SHA-256", study.protocol_sha256),
        ("Records", _RECORDS[study.chain_verified]),
        ("Ratings", study.source),
        ("Order seeds", study.order_seed),
        ("Analysis seed", str(results.seed)),
        ("Software", ", ".join(f"{name} {number}" for name, number in results.versions.items())),
    ]
    return [(name, value) for name, value in known if value]
