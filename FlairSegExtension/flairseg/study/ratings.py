"""Tidy tables of a closed study, from its records and key: one row per answer, mark and corrected mask.

>>> from flairseg.study import Study, tables
>>> found = tables(Study("study"))                                               # doctest: +SKIP
>>> found.ratings[0].case, found.ratings[0].arm, found.ratings[0].value         # doctest: +SKIP
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..files.atomic import all_or_none
from ..files.same_input import check_new_results
from .acceptance import DelineatedLesion, delineated_lesions
from .events import Answered, NotRated
from .images import read_neutral_labels
from .key import KeyEntry
from .records import CorrectionRow, Mark, MarkRow, Rating
from .room import Room
from .state import ShowingState
from .study import Study

RATINGS_CSV = "ratings.csv"
MARKS_CSV = "marks.csv"
CORRECTIONS_CSV = "corrections.csv"
FAILURES_CSV = "not_rated.csv"


@dataclass(frozen=True)
class Failure:
    """A showing that was not rated or does not count.

    Attributes
    ----------
    case, arm, rater : str
        Empty: all of them.
    repeat : int or None
    reason : str
    """

    case: str
    arm: str
    rater: str
    repeat: int | None
    reason: str


@dataclass(frozen=True)
class StudyTables:
    """Result of a study.

    Attributes
    ----------
    ratings : tuple of Rating
    marks : tuple of MarkRow
    corrections : tuple of CorrectionRow
    failures : tuple of Failure
        Excluded cases, showings given up, showings not answered when the study was closed.
    """

    ratings: tuple[Rating, ...]
    marks: tuple[MarkRow, ...]
    corrections: tuple[CorrectionRow, ...]
    failures: tuple[Failure, ...]


def tables(study: Study) -> StudyTables:
    """The tables of a closed study; rows in the order of raters and showings, training included (and marked).

    Raises
    ------
    StudyStateError
        While the study is open.
    TamperedError
        If protocol, key, or an image of a room is not what was locked.
    """
    key = study.key()
    excluded = study.excluded()
    ratings: list[Rating] = []
    marks: list[MarkRow] = []
    corrections: list[CorrectionRow] = []
    failures = [Failure(case, "", "", None, reason) for case, reason in excluded.items()]
    for rater in study.raters:
        state = study.state(rater)
        room = Room.open(study.room_folder(rater))
        for entry in key.entries.get(rater, ()):
            if entry.case in excluded:
                continue
            showing = state.of(entry.code)
            if isinstance(showing.answer, Answered):
                ratings += _ratings(study, rater, entry, showing, showing.answer)
                marks += _marks(room, rater, entry, showing.answer.marks)
                corrections += _corrections(rater, entry, showing)
            else:
                reason = showing.answer.reason if isinstance(showing.answer, NotRated) else "not answered"
                failures.append(Failure(entry.case, entry.arm, rater, entry.repeat, reason))
    return StudyTables(tuple(ratings), tuple(marks), tuple(corrections), tuple(failures))


def ratings(study: Study) -> tuple[Rating, ...]:
    """The answers of a closed study, see :func:`tables`."""
    return tables(study).ratings


def write_tables(found: StudyTables, folder: str | Path, replace: bool = False) -> dict[str, Path]:
    """Write the tables as CSV (UTF-8): ``ratings.csv``, ``marks.csv``, ``corrections.csv``, ``not_rated.csv``.

    Raises
    ------
    OutputError
        If files of these names exist and may not be replaced, or the folder cannot be written to.
    """
    folder = Path(folder)
    names = (RATINGS_CSV, MARKS_CSV, CORRECTIONS_CSV, FAILURES_CSV)
    check_new_results(folder, names, "Exported ratings", replace)
    with all_or_none(folder, names) as drafts:
        _write_csv(drafts / RATINGS_CSV, [f.name for f in fields(Rating)], [r.to_row() for r in found.ratings])
        columns = list(MarkRow("", "", "", 0, "", None, (0.0, 0.0, 0.0)).to_row())
        _write_csv(drafts / MARKS_CSV, columns, [m.to_row() for m in found.marks])
        _write_csv(
            drafts / CORRECTIONS_CSV,
            [f.name for f in fields(CorrectionRow)],
            [
                {**vars(c), "voxels_added": _pairs(c.voxels_added), "voxels_removed": _pairs(c.voxels_removed)}
                for c in found.corrections
            ],
        )
        _write_csv(drafts / FAILURES_CSV, [f.name for f in fields(Failure)], [vars(f) for f in found.failures])
    return {name: folder / name for name in names}


def _where(rater: str, entry: KeyEntry) -> tuple[str, str, str, int]:
    """The fields that all rows begin with: case, arm, rater, repeat."""
    return entry.case, entry.arm, rater, entry.repeat


def _ratings(study: Study, rater: str, entry: KeyEntry, showing: ShowingState, answer: Answered) -> list[Rating]:
    answers, counts = showing.answers(), answer.counts
    corrected = {event.question for event in showing.corrections}
    arm = next(a for a in study.protocol.case(entry.case).arms if a.id == entry.arm)
    return [
        Rating(
            *_where(rater, entry),
            question=question.id,
            value=answers.get(question.id),
            response_type=question.type,
            question_text=question.text,
            shown_at=answer.shown_at,
            answered_at=answer.answered_at,
            active_seconds=answer.active_seconds,
            idle_seconds=answer.idle_seconds,
            delineated=counts.get("delineated"),
            false_positives=counts.get("false_positives"),
            false_negatives=counts.get("false_negatives"),
            delineated_ml=answer.delineated_ml,
            proposed=counts.get("proposed") if study.protocol.acceptability is not None else None,
            confidence=answer.confidence,
            comment=answer.comment or "",
            position=answer.position,
            mirrored=entry.mirror is not None,
            training=entry.training,
            timed_out=answer.timed_out,
            corrected=question.id in corrected,
            first_value=answer.answers.get(question.id),
            model=arm.model,
            reader=arm.reader,
            study_id=study.id,
            session_id=answer.session_id,
            event_id=answer.event_id,
            protocol_sha256=answer.protocol_sha256,
        )
        for question in study.protocol.questions
    ]


def _marks(room: Room, rater: str, entry: KeyEntry, marks: Sequence[Mark]) -> list[MarkRow]:
    lesions: dict[int | None, DelineatedLesion] = {}
    if any(mark.lesion is not None for mark in marks):
        shown = next(s for s in room.showings if s.code == entry.code)
        lesions = {lesion.number: lesion for lesion in delineated_lesions(*read_neutral_labels(room.labels(shown)))}
    return [
        MarkRow(
            *_where(rater, entry),
            kind=mark.kind,
            lesion=mark.lesion,
            ras=entry.to_source(mark.ras),
            lesion_centre_ras=None if lesion is None else entry.to_source(lesion.centre_ras),
            lesion_ml=None if lesion is None else lesion.volume_ml,
            training=entry.training,
        )
        for mark, lesion in ((mark, lesions.get(mark.lesion)) for mark in marks)
    ]


def _corrections(rater: str, entry: KeyEntry, showing: ShowingState) -> list[CorrectionRow]:
    return [
        CorrectionRow(
            *_where(rater, entry),
            active_seconds=event.correction_active_seconds,
            voxels_added=event.voxels_added,
            voxels_removed=event.voxels_removed,
            before_sha256=event.before_sha256,
            after_sha256=event.after_sha256,
            file=event.file,
        )
        for event in showing.mask_corrections
    ]


def _pairs(counts: Any) -> str:
    return " ".join(f"{name}={count}" for name, count in counts.items())


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
