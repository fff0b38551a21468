"""``flairseg study new``, ``check``, ``lock``, ``status``, ``exclude``, ``close``, ``export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import CaseWarning, FlairSegError
from .console import REFUSED, WRITTEN, command, show_warning, stage_bar
from .label_options import meanings_by_name

_command = command("Interrupted. No partial files are left.")


@_command
def new_protocol(
    messages: Console,
    results: Console,
    path: Path,
    study_id: str,
    images: Path,
    arms: Sequence[str],
    raters: Sequence[str],
    repeats: int,
    binary: bool,
    labels: Sequence[str] = (),
) -> int:
    """Draft a protocol; the exit code of the command."""
    from ..study.drafting import StudyDesign, draft_protocol, write_draft
    from ..study.errors import ProtocolError

    try:
        folders = _arms(arms)
        meanings = meanings_by_name(labels, folders, what="arm", places="folders")
        folder = path.absolute().parent
        draft = draft_protocol(StudyDesign(study_id, tuple(raters), repeats), images, folders, folder, binary, meanings)
    except ProtocolError as error:
        raise ProtocolError(
            error.place, error.problem, "Change --id, --arm, --rater, --repeats or the names of the images."
        ) from error
    for sentence in draft.left_out:
        show_warning(messages, CaseWarning(f"Left out: {sentence}.", "image-left-out"))
    written = write_draft(draft, path)
    _say(results, str(written), f"  {len(draft.content['cases'])} cases. Review it, then check and lock it.")
    return WRITTEN


@_command
def check_path(messages: Console, results: Console, path: Path, coordinator: Path | None) -> int:
    """Check a protocol or a study; the exit code of the command."""
    from ..study.checking import check_protocol, check_study
    from ..study.study import Study

    findings = check_study(Study(path, coordinator)) if path.is_dir() else check_protocol(path)
    for finding in findings:
        _say(messages, f"{finding.about}, {finding.where}: ", finding.message, "bold red")
    if findings:
        return REFUSED
    _say(results, "Nothing was changed." if path.is_dir() else "The protocol can be locked.", "", "bold green")
    return WRITTEN


@_command
def lock_protocol(
    messages: Console, results: Console, protocol: Path, folder: Path, store: str, coordinator: Path | None = None
) -> int:
    """Lock a protocol; the exit code of the command."""
    from ..study.locking import lock

    with stage_bar(messages, "Checking the protocol") as update:
        study = lock(protocol, folder, store, update, coordinator)
    _say(results, str(study.folder), "  locked")
    for rater in study.raters:
        _say(results, str(study.room_folder(rater)), f"  the room of {rater}")
    _say(results, str(study.coordinator), "  protocol and sealed key: keep it away from the raters")
    _say(results, "Protocol sha256  ", study.protocol_sha256)
    if study.key_lies_in_study:
        show_warning(messages, _inside(study.coordinator))
    return WRITTEN


@_command
def show_status(messages: Console, results: Console, folder: Path, coordinator: Path | None) -> int:
    """Print each rater's progress; the exit code of the command."""
    from ..study.study import Study

    study = Study(folder, coordinator)
    status = study.status()
    state = f"closed {_minute(status.closed_at)} UTC" if status.closed_at else "open"
    table = Table(title=f"{study.id}, {state}", title_justify="left", title_style="bold")
    table.add_column("Rater")
    training = any(rater.training_total for rater in status.raters)
    for column in ("Answered", *(("Training",) if training else ()), "Given up", "Active min", "Waiting"):
        table.add_column(column, justify="right")
    table.add_column("Last answer, UTC")
    for rater in status.raters:
        trained = (f"{rater.training_answered} of {rater.training_total}",) if training else ()
        table.add_row(
            Text(rater.rater),
            f"{rater.answered} of {rater.total}",
            *trained,
            str(rater.failed),
            f"{rater.active_seconds / 60:.1f}",
            str(rater.pending),
            Text(_minute(rater.last_answered_at)),
        )
    results.print(table)
    if study.key_lies_in_study and status.closed_at is None:
        show_warning(messages, _inside(study.coordinator))
    return WRITTEN


@_command
def exclude_case(
    messages: Console, results: Console, folder: Path, case: str, reason: str, coordinator: Path | None
) -> int:
    """Leave a case out; the exit code of the command."""
    from ..study.study import AFTER_UNSEALING, Study

    study = Study(folder, coordinator)
    study.exclude(case, reason)
    if AFTER_UNSEALING in study.excluded()[case]:
        text = "The key was already open, so results may have been known when this case was excluded."
        show_warning(messages, CaseWarning(text, "excluded-after-unsealing"))
    _say(results, case, "  excluded from the results; its answers stay in the records.")
    return WRITTEN


@_command
def close_study(messages: Console, results: Console, folder: Path, incomplete: bool, coordinator: Path | None) -> int:
    """Close and unseal; the exit code of the command."""
    from ..study.study import Study

    study = Study(folder, coordinator)
    study.close(incomplete)
    _say(results, study.id, "  closed. The key matches its commitment; results can be analysed now.")
    return WRITTEN


@_command
def export_tables(
    messages: Console, results: Console, folder: Path, output: Path, overwrite: bool, coordinator: Path | None
) -> int:
    """Write the tables; the exit code of the command."""
    from ..study.ratings import tables, write_tables
    from ..study.study import Study

    for path in write_tables(tables(Study(folder, coordinator)), output, overwrite).values():
        _say(results, str(path), "")
    return WRITTEN


def _inside(coordinator: Path) -> CaseWarning:
    return CaseWarning(
        f"Protocol and key are inside the study, in {coordinator}. If raters can open that folder, move it out of "
        "their reach and give its new path with --coordinator from then on.",
        "key-inside-study",
    )


def _minute(moment: str | None) -> str:
    """Format a time of the records to the minute."""
    return "-" if moment is None else moment[:16].replace("T", " ")


def _arms(given: Sequence[str]) -> dict[str, Path]:
    arms: dict[str, Path] = {}
    for text in given:
        name, sign, folder = text.partition("=")
        if not sign or not name.strip() or not folder.strip():
            raise FlairSegError(f"--arm {text} cannot be understood.", "Write --arm NAME=FOLDER.")
        if name.strip() in arms:
            raise FlairSegError(f"The arm {name.strip()} is given twice.", "Give each arm a different name.")
        arms[name.strip()] = Path(folder.strip())
    return arms


def _say(console: Console, bold: str, plain: str, style: str = "bold") -> None:
    console.print(Text.assemble((bold, style), plain), soft_wrap=True)
