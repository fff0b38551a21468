"""One self-contained HTML report and its CSV files, written all or none."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ... import __version__
from ...atomic import all_or_none, check_folder
from ...errors import OutputError
from ...progress import CancelToken, ProgressCallback, Reporter
from ..records import CorrectionRow, MarkRow, Rating
from .checklists import checklists
from .dependencies import require_report, require_statistics
from .figures import Figure, draw_figures
from .lesions import CaseFrame
from .methods import REFERENCES, methods_paragraph
from .results import Results, StudyDescription, compute
from .sections import key_figures, sections
from .tables import TABLES, csv_tables
from .tidy import Exclusion

REPORT = "report.html"
_TEMPLATES = Path(__file__).with_name("templates")
_RECORDS = {
    True: "hash chain verified; protocol, orders, key and images as they were locked",
    False: "NOT as they were locked: see section “Data”",
    None: "",
}
#: Where in the whole the computation ends.
_COMPUTED = 0.8


def analyse(
    ratings: Iterable[Rating],
    output: str | Path,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
    *,
    study: StudyDescription | None = None,
    marks: Iterable[MarkRow] = (),
    corrections: Iterable[CorrectionRow] = (),
    exclusions: Iterable[Exclusion] = (),
    failures: Iterable[str] = (),
    expected: Iterable[tuple[str, str, str, int]] | None = None,
    frames: Mapping[str, CaseFrame] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Analyse a rating study and write ``report.html`` and the CSV files of :data:`~.tables.TABLES`.

    Parameters
    ----------
    ratings : iterable of Rating
    output : path
        Folder; created if need be.
    progress : callable, optional
        ``progress(fraction, stage)``.
    cancel : CancelToken or callable, optional
    study, marks, corrections, exclusions, failures, expected, frames, seed
        As for :func:`~.results.compute`.
    overwrite : bool
        Replace an earlier analysis in that folder.

    Returns
    -------
    dict of str to Path
        File name -> where it is.

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

    results = compute(ratings, study, marks, corrections, exclusions, failures, expected, frames, seed, scaled, cancel)
    reporter = Reporter(progress, cancel)
    with reporter.stage("report", _COMPUTED, 1.0):
        texts = {**csv_tables(results), REPORT: render(results)}
        reporter.update(0.9)
        with all_or_none(folder, texts) as temporary:
            for name, text in texts.items():
                # A byte order mark tells spreadsheets that a CSV file is UTF-8.
                encoding = "utf-8-sig" if name.endswith(".csv") else "utf-8"
                (temporary / name).write_text(text, encoding=encoding, newline="")
            reporter.check()
    return {name: folder / name for name in texts}


def check_destination(folder: Path, overwrite: bool) -> None:
    """Refuse, before any work is done, what could not be written in the end.

    Raises
    ------
    OutputError
        If an analysis is there and may not be replaced, or the folder cannot be written to.
    """
    there = [] if overwrite else [name for name in (REPORT, *TABLES) if (folder / name).exists()]
    if there:
        raise OutputError(
            f"{folder} holds an analysis already ({there[0]}).",
            "It was kept. Add --overwrite to replace it, or choose another --output folder.",
        )
    check_folder(folder)


def render(results: Results) -> str:
    """The report as HTML text: one file, no script, nothing loaded from anywhere; all foreign text is escaped."""
    require_report()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {"plain": plain, "data_uri": _data_uri}
    figures = draw_figures(results)
    context: dict[str, Any] = {
        "results": results,
        "version": __version__,
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "facts": _facts(results),
        "key": key_figures(results),
        "sections": sections(results, figures),
        "methods": methods_paragraph(results),
        "checklists": checklists(results),
        "references": REFERENCES,
        "files": TABLES,
    }
    return environment.get_template("report.html.j2").render(context)


def plain(value: object) -> str:
    """Text on one line without characters that hide, reorder or break what stands around them.

    Jinja2 escapes the markup; this takes out control and bidirectional formatting characters.
    """
    text = str(value)
    return "".join(
        " " if c in "\n\r\t" else "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text
    )


def _data_uri(figure: Figure) -> str:
    """The figure as an image: an SVG in an image runs no script and shares no name with the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(figure.svg.encode()).decode()


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
