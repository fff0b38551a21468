"""``flairseg cohort``: a whole study."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import FlairSegError, typed
from ..reporting.wording import counted
from .cohort_progress import Told, clock
from .console import (
    INTERRUPTED,
    REFUSED,
    UNTRUSTED,
    WRITTEN,
    interruptible,
    messages_console,
    results_console,
    show_error,
)

if TYPE_CHECKING:
    from ..cohort.running import Prepared, RunOptions
    from ..cohort.table import CohortTable

#: Maximum number of sessions or failures listed on the screen; the tables have all.
_LISTED = 20


def run_cohort(
    source: Path,
    output: Path,
    options: RunOptions,
    dry_run: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    strict: bool = False,
) -> int:
    """Run a cohort; the exit code of the command."""
    messages, results = messages_console(), results_console()
    try:
        with interruptible():
            try:
                prepared = _prepare(messages, source, output, options, quiet or as_json)
                if dry_run:
                    return _show_plan(results, prepared, as_json)
                _announce(messages, prepared, quiet)
                with Told(messages, quiet, as_json) as told:
                    from ..cohort.running import execute

                    table = execute(prepared, told)
            except Exception as error:  # noqa: BLE001 - a defect is reported as such, without a traceback
                _tell_error(messages, typed(error), as_json)
                return REFUSED
            return _told(messages, results, prepared, table, quiet or as_json, strict)
    except KeyboardInterrupt:
        messages.print("Interrupted. Finished sessions are kept; the same call resumes.", soft_wrap=True)
        return INTERRUPTED


def _prepare(messages: Console, source: Path, output: Path, options: RunOptions, silent: bool) -> Prepared:
    from ..cohort.running import prepare_run

    if silent or not messages.is_terminal:
        return prepare_run(source, output, options)
    with messages.status("scanning the source ..."):
        return prepare_run(source, output, options)


def _tell_error(messages: Console, error: FlairSegError, as_json: bool) -> None:
    if as_json:
        event = {"event": "error", "code": error.code, "message": error.message, "advice": error.advice}
        sys.stdout.write(json.dumps(event) + "\n")
    show_error(messages, error)


def _announce(messages: Console, prepared: Prepared, quiet: bool) -> None:
    """Print one or two lines: what was found, is already done, and remains."""
    if quiet:
        return
    plan = prepared.plan
    parts = [f"{counted(len(plan.shown), 'session')} of {counted(prepared.source.subjects, 'subject')}"]
    if plan.done:
        parts.append(f"{len(plan.done)} already done")
    if plan.failed:
        parts.append(f"{len(plan.failed)} failed before (--retry-failed tries them again)")
    if plan.without:
        parts.append(f"{len(plan.without)} without a FLAIR")
    if plan.gone:
        parts.append(f"{len(plan.gone)} more from earlier runs")
    text = f"{'; '.join(parts)}."
    if plan.todo:
        cluster = prepared.options.cluster
        expected = clock(plan.seconds(prepared.workers))
        pace = f"{prepared.workers} at once: about {expected}"
        if cluster.scheduler and cluster.jobs is None:
            pace = f"{plan.seconds_each:.0f} s each on one worker"
        pairs = f" and {counted(plan.comparisons, 'pair')} to compare" if plan.comparisons else ""
        text += f" {len(plan.todo)} to segment{pairs}, {pace}."
    messages.print(Text(text), soft_wrap=True)


def _show_plan(results: Console, prepared: Prepared, as_json: bool) -> int:
    """Show what a run would do; nothing is written."""
    plan, cluster = prepared.plan, prepared.options.cluster
    script = _job_script(prepared) if cluster.batch else ""
    if as_json:
        lines: list[dict[str, Any]] = [{"event": "plan", **plan.to_dict(prepared.workers), "job_script": script}]
        for case, session in plan.shown.items():
            known = {"case": case, "state": plan.state(case), "source": session.path, "reason": session.reason}
            lines.append({"event": "planned", **known})
        sys.stdout.write("".join(json.dumps(line) + "\n" for line in lines))
        return WRITTEN
    _announce(results, prepared, quiet=False)
    share = prepared.share
    if cluster.is_local:
        results.print(
            f"Workers: {share.workers} of {share.cores} cores and {share.memory_bytes / 1e9:.1f} GB each.",
            soft_wrap=True,
        )
    card = prepared.card
    results.print(Text(f"Model: {card.id}, version {card.version}."), soft_wrap=True)
    basis = "measured on sessions of this cohort" if plan.measured else "a default, no session measured yet"
    results.print(f"Time of a session: {plan.seconds_each:.0f} s ({basis}).", soft_wrap=True)
    results.print(_planned_table(prepared))
    if script:
        results.print(Text(f"Job script:\n{script}"), soft_wrap=True)
    return WRITTEN


def _planned_table(prepared: Prepared) -> Table:
    plan = prepared.plan
    table = Table(box=box.ROUNDED, header_style="bold")
    for column in ("Session", "State", "Image", "Why"):
        table.add_column(column, overflow="fold")
    # Sessions without a FLAIR first: they need attention.
    order = [*plan.without, *plan.todo, *sorted(plan.failed), *sorted(plan.done)]
    for case in order[:_LISTED]:
        session = plan.shown[case]
        table.add_row(
            Text(case), plan.state(case), Text(Path(session.path).name if session.path else "-"), Text(session.reason)
        )
    if len(order) > _LISTED:
        table.add_row(f"... and {len(order) - _LISTED} more", "", "", "--json lists them all")
    return table


def _job_script(prepared: Prepared) -> str:
    from ..cohort.clusters import batch_cluster

    cluster = batch_cluster(prepared.options.cluster, prepared.layout.work)
    try:
        return str(cluster.job_script())
    finally:
        cluster.close()


def _told(
    messages: Console, results: Console, prepared: Prepared, table: CohortTable, quiet: bool, strict: bool
) -> int:
    """Print the end of a run: counts, failures, output folder; return the exit code."""
    from ..cohort.model import DONE, NO_FLAIR
    from ..cohort.same_images import same_images, same_images_text

    rows = [row for row in table.rows() if row.case in prepared.plan.shown]
    failed = [row for row in rows if row.status not in (DONE, NO_FLAIR)]
    doubtful = [row for row in rows if row.status == DONE and not row.trusted]
    code = REFUSED if failed else UNTRUSTED if strict and doubtful else WRITTEN
    if quiet:
        return code
    done = sum(row.status == DONE for row in rows)
    compared = len(table.changes())
    none = sum(row.status == NO_FLAIR for row in rows)
    summary = Table(box=box.ROUNDED, header_style="bold")
    for column in ("Sessions", "Segmented", "Failed", "No FLAIR", "Not to be trusted", "Comparisons"):
        summary.add_column(column, justify="right")
    summary.add_row(*map(str, (len(rows), done, len(failed), none, len(doubtful), compared)))
    results.print(summary)
    if prepared.plan.done and not prepared.plan.todo:
        results.print(f"{len(prepared.plan.done)} already done.", soft_wrap=True)
    if failed:
        messages.print(
            f"{counted(len(failed), 'session')} without a result: codes and advice are in {table.layout.failures_csv}; "
            "--retry-failed tries them again.",
            soft_wrap=True,
        )
    if text := same_images_text(same_images(rows)):
        messages.print(Text(f"Warning: {text}"), soft_wrap=True)
    look = " Look at cohort.html first." if prepared.options.page else ""
    results.print(Text.assemble("Results are in ", (str(prepared.layout.root), "bold"), f".{look}"), soft_wrap=True)
    results.print("Research use only - not a medical device.", style="dim")
    return code
