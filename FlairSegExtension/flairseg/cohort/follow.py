"""Sessions of one subject compared: each with the one before, and the last with the first."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import TypeVar

from ..errors import CaseWarning, FlairSegError, typed
from ..files.same_input import fingerprint
from ..labels import LESION
from ..longitudinal import StudyInput, follow, write_followup
from ..longitudinal.result import FollowUp, rounded, study_volumes_ml
from ..longitudinal.writing import followup_files
from . import begun
from .bids_labels import in_order, rows_in_order
from .case import FATAL, MOST_DEATHS, OUT_OF_MEMORY, Work, learn_names, prepare, quarantined
from .inputs import read_session
from .layout import Layout
from .model import DONE, FAILED, Answer, ChangeRow, Fatal, Session, SessionRow
from .options import FORMAT
from .rows import read_row, write_change

T = TypeVar("T")

#: The files of a comparison that are kept; images and transforms can be made again.
KEPT = ("change", "picture", "table", "summary")


def pairs(rows: Sequence[SessionRow]) -> list[tuple[SessionRow, SessionRow]]:
    """Choose the sessions of one subject to compare: those with results, by date and label.

    Parameters
    ----------
    rows : sequence of SessionRow
        Of one subject.
    """
    return _pairs_of(rows_in_order(row for row in rows if row.status == DONE))


def _pairs_of(ordered: Sequence[T]) -> list[tuple[T, T]]:
    """Each with the one before, and the last with the first."""
    found = list(pairwise(ordered))
    return [*found, (ordered[0], ordered[-1])] if len(ordered) > 2 else found


def change_key(first: SessionRow, last: SessionRow) -> str:
    """Hash of what a comparison is made of."""
    parts = [FORMAT, *(x for row in (first, last) for x in (row.case, row.file_sha256, row.options_sha256))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def planned(first: SessionRow, last: SessionRow) -> ChangeRow:
    """The row of a comparison before it is made."""
    one, other = first.session, last.session
    days = None
    if one.date and other.date:
        days = (date.fromisoformat(other.date) - date.fromisoformat(one.date)).days
    return ChangeRow(
        one.subject, first.case, last.case, FAILED, one.date, other.date, days, key=change_key(first, last)
    )


def is_current(layout: Layout, row: ChangeRow, wanted: ChangeRow, retry_failed: bool) -> bool:
    """Whether a comparison need not be made again."""
    if row.key != wanted.key or (row.status != DONE and retry_failed):
        return False
    if (row.first_date, row.last_date) != (wanted.first_date, wanted.last_date):
        return False
    return row.status != DONE or all((layout.root / name).is_file() for name in row.files.values())


def outstanding(
    layout: Layout,
    shown: Mapping[str, Session],
    todo: Collection[str],
    rows: Mapping[str, SessionRow],
    changes: Mapping[str, ChangeRow],
    retry_failed: bool,
) -> int:
    """Count the missing or outdated comparisons of the sessions that have results, or will have."""
    by_subject: dict[str, list[Session]] = {}
    for case, session in shown.items():
        if case in todo or (case in rows and rows[case].status == DONE):
            by_subject.setdefault(session.subject, []).append(session)
    count = 0
    for first, last in (pair for own in by_subject.values() for pair in _pairs_of(in_order(own))):
        if first.case in todo or last.case in todo:
            count += 1
            continue
        plan = planned(*(replace(rows[session.case], session=session) for session in (first, last)))
        there = changes.get(plan.name)
        count += there is None or not is_current(layout, there, plan, retry_failed)
    return count


def compare(first: str, last: str, work: Work) -> Answer:
    """Compare two sessions that have results.

    Parameters
    ----------
    first, last : str
        Cases.
    work : Work

    Returns
    -------
    Answer
        ``change``, which is on disk by then, or ``fatal``; neither where a session has no result.
    """
    name = ""
    try:
        rows = [found for case in (first, last) if (found := read_row(work.layout, case)) is not None]
        if len(rows) < 2:
            return Answer()
        plan = planned(rows[0], rows[1])
        name = plan.name
        deaths = begun.begin(work.layout, name, work.mode)
        try:
            if deaths >= MOST_DEATHS:
                raise quarantined(deaths)
            row = _compared(plan, rows, work)
        except Exception as error:
            told = typed(error, *OUT_OF_MEMORY)
            if told.code in FATAL:
                raise told from error
            if (pseudonymiser := work.pseudonymiser()) is not None:
                for case in (first, last):
                    learn_names(work.sessions[case], work.shown[case], pseudonymiser)
                told = told.reworded(pseudonymiser.text)
            row = replace(plan, code=told.code, message=told.message, advice=told.advice)
        write_change(work.layout, row)
        return Answer(change=row)
    except FlairSegError as error:
        return Answer(fatal=Fatal.of(error))
    finally:
        if name:
            begun.end(work.layout, name)


def _compared(plan: ChangeRow, rows: Sequence[SessionRow], work: Work) -> ChangeRow:
    layout, pseudonymiser = work.layout, work.pseudonymiser()
    studies: list[StudyInput] = []
    dated = all(row.session.date for row in rows)
    # Else one of the two sessions was unlike those that the model in use was adapted to: its parent segments both.
    one_model = len({row.model.get("sha256") for row in rows}) == 1 or not work.options.parent
    for row in rows:
        session, shown = work.sessions[row.case], work.shown[row.case]
        learn_names(session, shown, pseudonymiser)
        volume = replace(read_session(session), name=row.case)
        # Without a mask it is segmented again.
        mask = layout.root / row.files["dseg"] if one_model else None
        studies.append(StudyInput(volume, mask, date=row.session.date if dated else None))
    result = follow(studies, None if one_model else prepare(work), work.options.device)
    if pseudonymiser is not None:
        cleaned = tuple(
            replace(
                study,
                volume=replace(study.volume, information=pseudonymiser.warnings(study.volume.information)),
                warnings=pseudonymiser.warnings(study.warnings),
                input_sha256=pseudonymiser.content_digest(fingerprint(study.volume)),
            )
            for study in result.studies
        )
        warnings: list[str] = list(pseudonymiser.warnings(result.warnings))
        result = replace(result, studies=cleaned, warnings=warnings, created="")
    folder = layout.change_folder(plan)
    # What is there was made of these sessions as they were before.
    remove(layout, plan)
    write_followup(result, folder, plan.name, overwrite=True, kinds=KEPT)
    names = followup_files(plan.name, 2)
    files = {kind: layout.relative(folder / names[kind]) for kind in KEPT}
    return _row(plan, result, files)


def _row(plan: ChangeRow, result: FollowUp, files: dict[str, str]) -> ChangeRow:
    ventricles = result.ventricles
    before, now = (study_volumes_ml(result.studies[n])[LESION] for n in (0, -1))
    return replace(
        plan,
        status=DONE,
        counts=result.counts,
        lesion_change_ml=None if before is None or now is None else round(now - before, 4),
        ventricles_change_ml=rounded(ventricles.change_ml, 3),
        ventricles_change_percent=rounded(ventricles.change_percent, 2),
        ventricles_beyond_noise=ventricles.beyond_noise,
        correlation=round(result.registrations[-1].correlation, 4),
        warnings=tuple(map(CaseWarning.of, result.warnings)),
        seconds=rounded(result.seconds.get("total"), 2),
        files=files,
        finished=result.created,
    )


def remove(layout: Layout, row: ChangeRow) -> None:
    """Take a comparison away whose sessions are compared no more."""
    shutil.rmtree(layout.change_folder(row), ignore_errors=True)
    layout.change_row(row.name).unlink(missing_ok=True)
