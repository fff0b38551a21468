"""A scripted study and two scripted reference sessions in which every kind of event occurs at least once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from flairseg.labels import LESION
from flairseg.study import StudySession, lock
from flairseg.study.log import SQLITE_NAME, EventLog
from flairseg.study.records import reference_stream
from flairseg.study.reference import ReferenceSession, start
from flairseg.study.reference_setup import TWO_STEPS, UNTIL_AGREEMENT, ReferenceSetup
from flairseg.study.room import EVENTS

from Testing.core.study_data import LESIONS, SHAPE_KJI, FakeClock, ras_of, write_case, write_protocol

QUESTIONS = [
    {"id": "acceptable", "text": "Acceptable?", "type": "Acceptability"},
    {"id": "quality", "text": "How good?", "type": "Likert_5", "required": False},
    {"id": "count", "text": "How many?", "type": "Numeric", "required": False, "maximum": 50},
    {"id": "usable", "text": "Usable?", "type": "Yes_No", "required": False},
    {"id": "remark", "text": "Anything?", "type": "Text", "required": False},
]
FREE = ras_of((0, 1, 1))


def run(folder: Path) -> Iterator[tuple[str, str, dict]]:
    """Stream, kind and payload of every event, in the order of each stream."""
    yield from _study(folder / "study-files")
    for method in (TWO_STEPS, UNTIL_AGREEMENT):
        yield from _reference(folder / method, method)


def _study(folder: Path) -> Iterator[tuple[str, str, dict]]:
    training = [{**write_case(folder, "practice", 0, arms=("humanreader",)), "feedback": "Well done."}]
    path = write_protocol(
        folder,
        count=2,
        repeats=1,
        questions=QUESTIONS,
        confidence=True,
        comment=True,
        correction=True,
        time_limit_s=600,
        training_cases=training,
    )
    study = lock(path, folder / "study")
    clock = FakeClock()
    with StudySession.open(study.room_folder("R1"), clock, "Scripted 1.0") as session:
        _answered_with_everything(session, clock)
        session.next()
        clock.go(2.5)
        session.shown.give_up("motion")
        session.next()
        clock.go(3.25)
        session.shown.click(FREE)
    with StudySession.open(study.room_folder("R1"), clock) as session:
        session.next()
        clock.go(700)
        session.shown.submit()
        while session.next() is not None:
            session.shown.answer("acceptable", "acceptable")
            session.shown.set_confidence(3)
            clock.go(4)
            session.shown.submit()
    study.exclude("secretcase1", "wrong patient")
    study.close(incomplete=True)
    study.exclude("secretcase2", "too late")
    for stream, events in (("study", study.own_events()), ("rater", study.events("R1"))):
        yield from ((stream, event.kind, dict(event.payload)) for event in events)


def _answered_with_everything(session: StudySession, clock: FakeClock) -> None:
    showing = session.next()
    clock.go(1.5)
    session.shown.log_display(window=900.0, level=400, overlay_visible=True)
    mark = session.shown.mark_false_positive(ras_of(LESIONS[0]))
    session.shown.mark_false_negative(FREE)
    session.shown.mark_false_negative(ras_of((0, 3, 3)))
    session.shown.undo_mark()
    session.shown.remove_mark(mark.id)
    session.shown.mark_false_positive(ras_of(LESIONS[1]))
    session.shown.pause()
    clock.go(30)
    session.shown.resume()
    for question, value in (
        ("quality", 2),
        ("count", 7),
        ("usable", "no"),
        ("remark", "gliosis, 5 µm"),
        ("quality", None),
    ):
        session.shown.answer(question, value)
    session.shown.answer("acceptable", "unacceptable")
    session.shown.set_confidence(4)
    session.shown.set_comment("choroid plexus")
    clock.go(100)
    session.shown.submit()
    session.correct(showing.code, "acceptable", "acceptable", "slip of the mouse")
    session.correct(showing.code, "count", 8, "counted again")
    begun = session.begin_correction()
    labels = begun.label_array.copy()
    labels[0, 1, 1] = LESION
    clock.go(17)
    session.save_correction(labels)


def _reference(folder: Path, method: str) -> Iterator[tuple[str, str, dict]]:
    case = write_case(folder, "one", 3)
    setup = ReferenceSetup("ref-1", {"one": str(folder / case["flair"])}, ("A", "B"), method)
    clock = FakeClock()
    start(folder / "session", setup).close()
    with ReferenceSession(folder / "session", clock) as session:
        for reader, places in (("A", LESIONS[:2]), ("B", LESIONS[1:3])):
            session.save_mask("one", reader, _mask(places), 12.5)
        for dot in sorted(session.dots("one"), key=lambda dot: dot.ras):  # ids are random
            for reader in ("A", "B"):
                session.judge("one", reader, dot.id, dot.ras[0] > 0)
        for reader in ("A", "B"):
            session.save_mask("one", reader, _mask(LESIONS[:3]), 3.0)
    log = EventLog(folder / "session" / EVENTS, str(folder / "session" / SQLITE_NAME))
    yield from (("reference", event.kind, dict(event.payload)) for event in log.events(reference_stream("ref-1")))
    log.close()


def _mask(places) -> np.ndarray:
    out = np.zeros(SHAPE_KJI, np.uint8)
    for place in places:
        out[place] = LESION
    return out
