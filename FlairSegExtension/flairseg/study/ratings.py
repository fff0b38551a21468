"""From a closed study's records and its key to tidy tables: one row per answer, per mark, per corrected mask.

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

from ..files.atomic import all_or_none, results_exist
from .acceptance import DelineatedLesion, delineated_lesions
from .images import read_neutral_labels
from .key import KeyEntry, SealedKey
from .records import (
    ACTIVE_SECONDS,
    AFTER_SHA256,
    ANSWERED_AT,
    BEFORE_SHA256,
    COMMENT,
    CONFIDENCE,
    COUNTS,
    DELINEATED,
    DELINEATED_ML,
    FALSE_NEGATIVES,
    FALSE_POSITIVES,
    FILE,
    IDLE_SECONDS,
    MARKS,
    POSITION,
    PROPOSED,
    PROTOCOL_SHA256,
    QUESTION,
    REASON,
    SESSION_ID,
    SHOWN_AT,
    TIMED_OUT,
    VOXELS_ADDED,
    VOXELS_REMOVED,
    CorrectionRow,
    Mark,
    MarkRow,
    Rating,
)
from .room import Room
from .state import ShowingState
from .study import Study

RATINGS_CSV = "ratings.csv"
MARKS_CSV = "marks.csv"
CORRECTIONS_CSV = "corrections.csv"
FAILURES_CSV = "not_rated.csv"


@dataclass(frozen=True)
class Failure:
    """Something that was to be rated and was not, or does not count.

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
    """What a study gives.

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
        for entry in _entries(key, rater):
            if entry.case in excluded:
                continue
            showing = state.showings.get(entry.code)
            if showing is None or showing.answer is None:
                failures.append(Failure(entry.case, entry.arm, rater, entry.repeat, "not answered"))
            elif showing.failed:
                failures.append(
                    Failure(entry.case, entry.arm, rater, entry.repeat, showing.answer.payload.get(REASON, ""))
                )
            else:
                ratings += _ratings(study, rater, entry, showing)
                marks += _marks(room, rater, entry, showing)
                corrections += _corrections(rater, entry, showing)
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
    there = [name for name in names if (folder / name).exists()]
    if there and not replace:
        raise results_exist("Exported ratings", folder / there[0])
    with all_or_none(folder, names) as drafts:
        _write_csv(drafts / RATINGS_CSV, [f.name for f in fields(Rating)], [r.to_row() for r in found.ratings])
        columns = list(MarkRow("", "", "", 0, "", None, (0.0, 0.0, 0.0)).to_row())
        _write_csv(drafts / MARKS_CSV, columns, [m.to_row() for m in found.marks])
        _write_csv(
            drafts / CORRECTIONS_CSV,
            [f.name for f in fields(CorrectionRow)],
            [
                {**vars(c), **{n: _pairs(getattr(c, n)) for n in (VOXELS_ADDED, VOXELS_REMOVED)}}
                for c in found.corrections
            ],
        )
        _write_csv(drafts / FAILURES_CSV, [f.name for f in fields(Failure)], [vars(f) for f in found.failures])
    return {name: folder / name for name in names}


def _entries(key: SealedKey, rater: str) -> Sequence[KeyEntry]:
    return key.entries.get(rater, ())


def _ratings(study: Study, rater: str, entry: KeyEntry, showing: ShowingState) -> list[Rating]:
    event, answers = showing.answer, showing.answers()
    if event is None:
        return []
    payload = event.payload
    first = payload["answers"]
    counts = payload.get(COUNTS, {})
    corrected = {e.payload[QUESTION] for e in showing.corrections}
    arm = next(a for a in study.protocol.case(entry.case).arms if a.id == entry.arm)
    return [
        Rating(
            case=entry.case,
            arm=entry.arm,
            rater=rater,
            repeat=entry.repeat,
            question=question.id,
            value=answers.get(question.id),
            response_type=question.type,
            question_text=question.text,
            shown_at=payload.get(SHOWN_AT),
            answered_at=payload.get(ANSWERED_AT),
            active_seconds=payload.get(ACTIVE_SECONDS),
            idle_seconds=payload.get(IDLE_SECONDS),
            delineated=counts.get(DELINEATED),
            false_positives=counts.get(FALSE_POSITIVES),
            false_negatives=counts.get(FALSE_NEGATIVES),
            delineated_ml=payload.get(DELINEATED_ML),
            proposed=counts.get(PROPOSED) if study.protocol.acceptability is not None else None,
            confidence=payload.get(CONFIDENCE),
            comment=payload.get(COMMENT) or "",
            position=payload.get(POSITION),
            mirrored=entry.mirror is not None,
            training=entry.training,
            timed_out=bool(payload.get(TIMED_OUT)),
            corrected=question.id in corrected,
            first_value=first.get(question.id),
            model=arm.model,
            reader=arm.reader,
            study_id=study.id,
            session_id=payload.get(SESSION_ID, ""),
            event_id=event.event_id,
            protocol_sha256=payload.get(PROTOCOL_SHA256, ""),
        )
        for question in study.protocol.questions
    ]


def _marks(room: Room, rater: str, entry: KeyEntry, showing: ShowingState) -> list[MarkRow]:
    answer = showing.answer
    found = [] if answer is None else [Mark.from_payload(payload) for payload in answer.payload.get(MARKS, ())]
    lesions: dict[int, DelineatedLesion] = {}
    if any(mark.lesion is not None for mark in found):
        shown = next(s for s in room.showings if s.code == entry.code)
        lesions = {lesion.number: lesion for lesion in delineated_lesions(*read_neutral_labels(room.labels(shown)))}
    return [
        MarkRow(
            case=entry.case,
            arm=entry.arm,
            rater=rater,
            repeat=entry.repeat,
            kind=mark.kind,
            lesion=mark.lesion,
            ras=entry.to_source(mark.ras),
            lesion_centre_ras=entry.to_source(lesions[mark.lesion].centre_ras) if mark.lesion in lesions else None,
            lesion_ml=lesions[mark.lesion].volume_ml if mark.lesion in lesions else None,
            training=entry.training,
        )
        for mark in found
    ]


def _corrections(rater: str, entry: KeyEntry, showing: ShowingState) -> list[CorrectionRow]:
    return [
        CorrectionRow(
            case=entry.case,
            arm=entry.arm,
            rater=rater,
            repeat=entry.repeat,
            active_seconds=event.payload["correction_active_seconds"],
            voxels_added=event.payload[VOXELS_ADDED],
            voxels_removed=event.payload[VOXELS_REMOVED],
            before_sha256=event.payload[BEFORE_SHA256],
            after_sha256=event.payload[AFTER_SHA256],
            file=event.payload[FILE],
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
