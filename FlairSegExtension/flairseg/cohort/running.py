"""A cohort from its source to its tables: search the source, compare with existing results, process what is missing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._optional import REPORT, require
from ..errors import FlairSegError
from ..files.atomic import check_folder, remove_leftovers, write_whole
from ..models.card import ModelCard
from ..models.in_use import chosen_model, resolved
from ..privacy.pseudonyms import Pseudonymiser
from . import begun, case_files, follow
from .bids_dataset import write_dataset, write_participants
from .case import Work, now
from .clusters import ClusterOptions, Share, make_executor, share_of
from .discovery import Source, find_sessions
from .engine import Engine
from .events import Ended, Event, Listener, Planned, ReviewFinished, Started
from .executors import InProcess
from .layout import Layout
from .lock import RunLock
from .methods import methods_paragraph
from .model import BIDS, DONE, NO_FLAIR, ChangeRow, Session, SessionRow
from .options import CaseOptions
from .page import write_page
from .plan import Plan, make_plan
from .pseudonyms import check_kept, cohort_pseudonymiser, shown_sessions
from .review import ReviewOptions, review
from .rows import read_changes, read_rows, rewrite_row, write_row
from .run_record import RunModel, RunRecord, versions
from .table import CohortTable
from .tables import write_lesions, write_tables


@dataclass(frozen=True)
class RunOptions:
    """All options of a run.

    Attributes
    ----------
    model : str, Path or None
        Id or path; None: the default model.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threshold : float or None
        Probability from which on a voxel is lesion; None: the model's own.
    regions, lesion_mask, probabilities, overview : bool
        Results to make for each session.
    follow : bool
        Compare the sessions of a subject.
    covariates : Path or None
        Table with site, age, group, sex, date by subject and session.
    kind : str or None
        Of the source; None: as found.
    retry_failed : bool
        Try again what failed before with the same input and options.
    pseudonymise : bool
    pseudonym_key, pseudonym_map : Path or None
    page : bool
        Write ``cohort.html``.
    review : ReviewOptions
        Output for readers: work list, reader study; and the archive of their verdicts.
    cluster : ClusterOptions
        Executor.
    """

    model: str | Path | None = None
    device: str = "auto"
    threshold: float | None = None
    regions: bool = True
    lesion_mask: bool = True
    probabilities: bool = False
    overview: bool = True
    follow: bool = True
    covariates: Path | None = None
    kind: str | None = None
    retry_failed: bool = False
    pseudonymise: bool = False
    pseudonym_key: Path | None = None
    pseudonym_map: Path | None = None
    page: bool = True
    review: ReviewOptions = field(default_factory=ReviewOptions)
    cluster: ClusterOptions = field(default_factory=ClusterOptions)


@dataclass(frozen=True)
class Prepared:
    """A run before it begins: the sessions found, and the plan."""

    source: Source
    layout: Layout
    card: ModelCard
    case_options: CaseOptions
    options: RunOptions
    pseudonymiser: Pseudonymiser | None
    sessions: Mapping[str, Session]
    plan: Plan
    rows: Mapping[str, SessionRow]
    share: Share

    @property
    def workers(self) -> int:
        """Number of concurrent sessions."""
        cluster = self.options.cluster
        return self.share.workers if cluster.is_local else cluster.jobs or 1


def _ignore(event: Event) -> None:
    """Ignore all events."""


def prepare_run(source: str | Path, output: str | Path, options: RunOptions) -> Prepared:
    """Search the source and plan; only a new key of pseudonyms is written.

    Raises
    ------
    FlairSegError
        Of the parts: source, model, key, output folder.
    """
    require(("pyarrow",), "The tables of a cohort", "cohort")
    options.review.check(options.pseudonymise)
    if options.page:
        require(REPORT, "The page of a cohort", "cohort")
    layout = Layout(Path(output).absolute())
    model = chosen_model(options.model, options.threshold)
    check_folder(layout.root)
    pseudonymiser = cohort_pseudonymiser(
        options.pseudonymise, options.pseudonym_key, options.pseudonym_map, layout.root
    )
    check_kept(layout.run_json, pseudonymiser)
    found = find_sessions(source, options.covariates, options.kind, exclude=layout.root)
    _refuse_output_in_source(layout.root, found)
    shown = shown_sessions(found.sessions, pseudonymiser)
    sessions = dict(zip(shown, found.sessions, strict=True))
    chosen = CaseOptions.of(
        model, device=options.device, threshold=options.threshold, regions=options.regions,
        lesion_mask=options.lesion_mask, probabilities=options.probabilities, overview=options.overview,
    )  # fmt: skip
    rows = read_rows(layout)
    plan = make_plan(layout, shown, sessions, rows, chosen, options.retry_failed, pseudonymiser)
    if options.follow:
        changes = read_changes(layout)
        waiting = follow.outstanding(layout, shown, plan.todo, rows, changes, options.retry_failed)
        spent = [change.seconds for change in changes.values() if change.seconds]
        each = statistics.median(spent) if spent else plan.seconds_comparison
        plan = dataclasses.replace(plan, comparisons=waiting, seconds_comparison=each)
    share = share_of(options.cluster, len(plan.todo) + plan.comparisons)
    return Prepared(found, layout, resolved(model)[0], chosen, options, pseudonymiser, sessions, plan, rows, share)


def _refuse_output_in_source(root: Path, source: Source) -> None:
    """Results among the images of a folder of folders would be found as images by the next run."""
    if source.kind != BIDS and source.path.is_dir() and root == source.path:
        raise FlairSegError(
            f"The output folder is the source itself: {root}.",
            "Choose another output folder.",
            code="output-is-source",
            path=str(root),
        )


def run(
    source: str | Path,
    output: str | Path,
    *,
    listener: Listener | None = None,
    jobs: int | None = None,
    scheduler: str = "",
    **options: Any,
) -> CohortTable:
    """Segment a whole study: one row per session, BIDS derivatives, comparisons, one page.

    Repeated, it does what is missing, what changed (content of the image, model, options) and, if asked, what failed.
    In a script, call it below ``if __name__ == "__main__":``, as everything that starts processes.

    Parameters
    ----------
    source : path
        A BIDS data set, a folder of folders, a table (CSV, TSV) or list of files, or a tree of DICOM studies.
    output : path
        Folder of the results, a BIDS derivative data set.
    listener : callable, optional
        Called with each event, see :mod:`flairseg.cohort.events`.
    jobs : int, optional
        Sessions at once on this machine; default: as many as cores and memory allow.
    scheduler : str, optional
        Address of a running Dask scheduler, ``tcp://host:8786``.
    **options
        Fields of :class:`RunOptions`; ``cluster`` takes the place of ``jobs`` and ``scheduler``.

    Returns
    -------
    CohortTable
        Lazy: rows, changes and data frames are read on demand.

    Raises
    ------
    FlairSegError
        What every session would meet: no such source, model, or folder; a full disk; another run in the same folder.
        A session that fails is a row.

    Examples
    --------
    >>> import flairseg.cohort
    >>> table = flairseg.cohort.run("study", "derivatives/flairseg", jobs=2)   # doctest: +SKIP
    >>> table.to_pandas()[["case", "lesion_ml", "warnings"]]                   # doctest: +SKIP
    """
    options.setdefault("cluster", ClusterOptions(jobs=jobs, scheduler=scheduler))
    return execute(prepare_run(source, output, RunOptions(**options)), _ignore if listener is None else listener)


def execute(prepared: Prepared, listener: Listener) -> CohortTable:
    """Do what was planned.

    Parameters
    ----------
    prepared : Prepared
    listener : callable
        As for :func:`run`.

    Returns
    -------
    CohortTable

    Raises
    ------
    FlairSegError
        As for :func:`run`.
    KeyboardInterrupt
        Passed on; finished sessions are kept, and the tables hold them.
    """
    layout, options, plan = prepared.layout, prepared.options, prepared.plan
    name = hashlib.sha256(f"{layout.root}{time.time_ns()}".encode()).hexdigest()[:8]
    began = time.monotonic()
    with RunLock(layout.lock, {"started": now()}):
        begun.forget_interrupted(layout)
        for folder in (layout.root, layout.work, layout.row("x").parent, layout.change_row("x").parent):
            remove_leftovers(folder)
        source = prepared.source.path if prepared.pseudonymiser is None else None
        write_dataset(layout, source, prepared.source.kind, _models_in_words(prepared))
        listener(Planned(plan, prepared.workers))
        rows, changes = dict(prepared.rows), read_changes(layout)
        _note_missing(layout, plan, rows)
        _note_covariates(layout, plan, rows)
        busy = bool(plan.todo or plan.comparisons)
        executor = make_executor(options.cluster, name, prepared.share, layout.work) if busy else InProcess(name)
        work = Work(
            layout, prepared.case_options, prepared.sessions, plan.shown,
            secret=_secret(prepared), cores=_cores(prepared), mode=executor.mode,
            raw=str(source) if source is not None and prepared.source.kind == BIDS else "",
        )  # fmt: skip
        listener(Started(prepared.workers, executor.dashboard))
        engine = Engine(work, executor, rows, changes, listener, options.follow, options.retry_failed)
        try:
            engine.run(plan.todo)
        finally:
            record = _write_run(prepared, engine.rows, engine.changes, time.monotonic() - began)
        rows = _reviewed(prepared, engine.rows, engine.changes, listener)
        _finish(prepared, rows, engine.changes, record)
        listener(Ended(engine.counts(), round(time.monotonic() - began, 1)))
    return CohortTable(layout)


def _note_missing(layout: Layout, plan: Plan, rows: dict[str, SessionRow]) -> None:
    """Rows of the sessions without a FLAIR; those that had one before lose it."""
    for case in plan.without:
        shown = plan.shown[case]
        row = SessionRow(shown, NO_FLAIR, NO_FLAIR, shown.reason or "No FLAIR was found.", trusted=False)
        if rows.get(case) != row:
            rows[case] = row
            case_files.remove(layout, shown)
            write_row(layout, row)


def _note_covariates(layout: Layout, plan: Plan, rows: dict[str, SessionRow]) -> None:
    """Update session attributes from the source or covariates in rows that are not recomputed."""
    for case in plan.done | plan.failed:
        if rows[case].session != plan.shown[case]:
            rows[case] = dataclasses.replace(rows[case], session=plan.shown[case])
            rewrite_row(layout, rows[case])


def _secret(prepared: Prepared) -> bytes | None:
    return None if prepared.pseudonymiser is None else prepared.pseudonymiser.secret


def _cores(prepared: Prepared) -> int | None:
    cluster = prepared.options.cluster
    if cluster.batch:
        return cluster.cores
    return prepared.share.cores if cluster.is_local else None


def _models_in_words(prepared: Prepared) -> str:
    """The model of the run and, where it was adapted to a site, the one for scans unlike the site's."""
    text = f"model {prepared.card.id} (sha256 {prepared.card.sha256})"
    if not prepared.case_options.parent:
        return text
    parent = prepared.card.raw["adaptation"]["parent"]
    return f"{text}, for scans unlike those that it was adapted to {parent['id']} (sha256 {parent['sha256']})"


def _write_run(
    prepared: Prepared, rows: Mapping[str, SessionRow], changes: Mapping[str, ChangeRow], seconds: float
) -> RunRecord:
    """Tables and ``run.json``, also of a run that was ended."""
    layout = prepared.layout
    write_tables(layout, rows, changes)
    write_lesions(layout)
    record = _record(prepared, rows, changes, seconds)
    write_whole(layout.run_json, json.dumps(record.to_json(), indent=2, ensure_ascii=False) + "\n")
    write_whole(layout.methods, methods_paragraph(record))
    return record


def _reviewed(
    prepared: Prepared, rows: dict[str, SessionRow], changes: Mapping[str, ChangeRow], listener: Listener
) -> dict[str, SessionRow]:
    """The rows with the verdicts of readers; work list and study are written."""
    wanted, layout = prepared.options.review, prepared.layout
    if not wanted.any:
        return rows
    judged, found = review(layout, rows, prepared.sessions, wanted)
    if judged != rows:
        write_tables(layout, judged, changes)
    listener(ReviewFinished(found))
    return judged


def _finish(
    prepared: Prepared,
    rows: Mapping[str, SessionRow],
    changes: Mapping[str, ChangeRow],
    record: RunRecord,
) -> None:
    """Write the outputs made once for the whole cohort."""
    layout = prepared.layout
    write_participants(layout, rows.values())
    # The map first: without it, nobody can be re-identified.
    if prepared.pseudonymiser is not None and prepared.options.pseudonym_map is not None:
        prepared.pseudonymiser.write_map(prepared.options.pseudonym_map)
    if prepared.options.page:
        write_page(layout, list(rows.values()), list(changes.values()), record)


def _record(
    prepared: Prepared, rows: Mapping[str, SessionRow], changes: Mapping[str, ChangeRow], seconds: float
) -> RunRecord:
    hidden = prepared.pseudonymiser is not None
    statuses = [row.status for row in rows.values()]
    done = [row for row in rows.values() if row.status == DONE]
    # Results of sessions that left the source, and those that an interrupted run had not come to, stay in the tables.
    own = {row.case: row for row in done if row.options_sha256 == prepared.case_options.sha256}
    compared = [change for change in changes.values() if change.status == DONE]
    return RunRecord(
        "removed" if hidden else str(prepared.source.path),
        prepared.source.kind,
        RunModel.of(prepared.card),
        prepared.case_options,
        RunModel.used(own.values()),
        prepared.card.pipeline.thresholds,
        prepared.options.follow,
        hidden,
        "" if prepared.pseudonymiser is None else prepared.pseudonymiser.check,
        prepared.options.cluster,
        prepared.workers,
        versions(),
        {status: statuses.count(status) for status in dict.fromkeys(statuses)},
        len(done) - len(own),
        len({row.session.subject for row in own.values()}),
        sum({change.first, change.last} <= own.keys() for change in compared),
        round(seconds, 1),
        "" if hidden else now(),
    )
