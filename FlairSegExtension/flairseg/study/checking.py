"""``flairseg study check``: compare a study with what was locked, and every record with its position.

What is compared with what:

- the protocol with its sha256 in ``study.json`` and in the lock record;
- the key with the commitment (opened for that, and not shown); its codes with the order that follows from the protocol;
- each room with the sha256 in the lock record, and every image and mask with the room;
- the hash chain of every stream, and the anchors that each room keeps of what was acknowledged;
- every rater's record with the protocol, the order and the commitment that it must carry; each answer with the marks
  and the chosen answers that were autosaved before it; that no showing is answered twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import FlairSegError
from ..files.hashing import file_sha256
from .acceptance import acceptance_of
from .errors import BlindedImageError, TamperedError
from .events import Answered, FinalEvent, RaterEvent, ShowingEvent, StudyClosed, StudyEvent, StudyLocked, read_event
from .images import read_arm, read_source, resolve
from .key import KEY_NAME, SealedKey, open_key
from .log import EventLog
from .protocol import Protocol
from .protocol_reading import load_protocol
from .records import answer_event_id, rater_stream, study_stream
from .room import EVENTS, IMAGES, Room
from .schedule import check_feasible, order_sha256, plan
from .state import replay
from .study import Study

E = TypeVar("E", bound=StudyEvent)

#: Subject of a finding.
PROTOCOL = "protocol"
KEY = "key"
ORDER = "order"
IMAGE = "image"
RECORD = "record"
CHAIN = "chain"
SOURCE = "source"
STORE = "store"
#: Where, if it is about the store as a whole.
_EVENTS = "events"


@dataclass(frozen=True)
class Finding:
    """One deviation from the locked state, or from the rules.

    Attributes
    ----------
    about : str
        ``protocol``, ``key``, ``order``, ``image``, ``record``, ``chain``, ``source`` or ``store``.
    where : str
        File, showing or event.
    message : str
        A sentence.
    """

    about: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.about}, {self.where}: {self.message}"


def check_protocol(path: str | Path) -> list[Finding]:
    """Everything that would stop a protocol from being locked, and what would give its sources away; nothing is made.

    Parameters
    ----------
    path : path
        The JSON file.

    Raises
    ------
    ProtocolError
        If the file itself is not valid: nothing else can be checked then.
    """
    path = Path(path)
    protocol = load_protocol(path)
    findings: list[Finding] = []
    try:
        check_feasible(protocol)
        for rater in protocol.raters:
            plan(protocol, rater)
    except FlairSegError as error:
        findings.append(Finding(ORDER, "washout", str(error)))
    findings += _revealing(protocol)
    for case in (*protocol.training_cases, *protocol.cases):
        try:
            image = read_source(resolve(path.absolute().parent, case.flair))
        except BlindedImageError as error:
            findings.append(Finding(SOURCE, case.id, str(error)))
            continue
        for arm in case.arms:
            try:
                read_arm(arm, path.absolute().parent, image)
            except BlindedImageError as error:
                findings.append(Finding(SOURCE, f"{case.id}, {arm.id}", str(error)))
    return findings


def check_study(study: Study) -> list[Finding]:
    """All deviations from the locked state; empty if the study is intact."""
    findings: list[Finding] = []
    protocol = _protocol(study, findings)
    key = _key(study, findings)
    locked = _lock_record(study, findings)
    if protocol is not None and key is not None:
        findings += _orders(protocol, key, study)
    for rater in study.raters:
        room = _room(study, rater, locked, findings)
        if room is not None:
            findings += _images(room)
            if key is not None:
                findings += _codes(room, key)
            findings += _records(study, room)
    findings += _chains(study)
    # Faults of the store as a whole occur once with every stream.
    return list(dict.fromkeys(findings))


# --- what was locked -------------------------------------------------------------------------------------------------


def _protocol(study: Study, findings: list[Finding]) -> Protocol | None:
    try:
        return study.protocol
    except FlairSegError as error:
        findings.append(Finding(PROTOCOL, "protocol.json", str(error)))
        return None


def _key(study: Study, findings: list[Finding]) -> SealedKey | None:
    try:
        key = open_key(study.coordinator / KEY_NAME, study.commitment)
    except FlairSegError as error:
        findings.append(Finding(KEY, KEY_NAME, str(error)))
        return None
    if key.protocol_sha256 != study.protocol_sha256:
        findings.append(Finding(KEY, KEY_NAME, "it belongs to another protocol."))
    return key


def _own(study: Study, cls: type[E]) -> E | None:
    """The coordinator's first event of a class; ``TamperedError`` if it cannot be read."""
    recorded = next((event for event in study.own_events() if event.kind == cls.kind), None)
    event = None if recorded is None else read_event(recorded)
    return event if isinstance(event, cls) else None


def _lock_record(study: Study, findings: list[Finding]) -> StudyLocked | None:
    try:
        locked = _own(study, StudyLocked)
    except FlairSegError as error:
        findings.append(Finding(STORE, _EVENTS, str(error)))
        return None
    if locked is None:
        findings.append(Finding(RECORD, "study.locked", "the lock record is not in the store."))
        return None
    for name, recorded, found in (
        ("protocol_sha256", locked.protocol_sha256, study.protocol_sha256),
        ("key_commitment", locked.key_commitment, study.commitment),
        ("rooms", locked.rooms, study.rooms),
        ("plans", locked.plans, study.plans),
    ):
        if recorded != found:
            findings.append(Finding(PROTOCOL, "study.json", f"its {name} is not the one in the lock record."))
    return locked


def _orders(protocol: Protocol, key: SealedKey, study: Study) -> Iterator[Finding]:
    """The key's order is the one that follows from the protocol's seeds."""
    for rater in study.raters:
        planned = plan(protocol, rater)
        if order_sha256(planned) != study.plans.get(rater):
            yield Finding(ORDER, rater, "the order that follows from the protocol is not the one that was locked.")
        expected = [(s.position, s.case, s.arm, s.repeat, s.mirrored) for s in planned]
        held = [(e.position, e.case, e.arm, e.repeat, e.mirror is not None) for e in key.entries.get(rater, ())]
        if held != expected:
            first = next((n for n, (a, b) in enumerate(zip(held, expected, strict=False)) if a != b), len(held))
            yield Finding(ORDER, rater, f"the key's order departs from the protocol's at position {first + 1}.")


def _room(study: Study, rater: str, locked: StudyLocked | None, findings: list[Finding]) -> Room | None:
    try:
        room = Room.open(study.room_folder(rater))
    except FlairSegError as error:
        findings.append(Finding(ORDER, f"{rater}/room.json", str(error)))
        return None
    expected = study.rooms if locked is None else locked.rooms
    if expected.get(rater) != room.sha256:
        findings.append(Finding(ORDER, f"{rater}/room.json", "its rules or its order are not those that were locked."))
    return room


def _images(room: Room) -> Iterator[Finding]:
    for showing in room.showings:
        for name, expected in (
            (showing.flair_name, showing.flair_sha256),
            (showing.labels_name, showing.labels_sha256),
        ):
            try:
                intact = file_sha256(room.folder / IMAGES / name) == expected
            except OSError as error:
                yield Finding(IMAGE, f"{room.rater}/{name}", f"it cannot be read ({error.strerror or error}).")
                continue
            if not intact:
                yield Finding(IMAGE, f"{room.rater}/{name}", "it is not the file that was locked.")


def _codes(room: Room, key: SealedKey) -> Iterator[Finding]:
    held = [entry.code for entry in key.entries.get(room.rater, ())]
    shown = [showing.code for showing in room.showings]
    if held != shown:
        first = next(
            (n for n, (a, b) in enumerate(zip(held, shown, strict=False)) if a != b), min(len(held), len(shown))
        )
        yield Finding(ORDER, f"{room.rater}/room.json", f"its order departs from the key's at position {first + 1}.")


# --- what was recorded -----------------------------------------------------------------------------------------------


def _records(study: Study, room: Room) -> Iterator[Finding]:
    try:
        events = study.events(room.rater)
    except FlairSegError as error:
        yield Finding(STORE, _EVENTS, str(error))
        return
    readable = []
    for recorded in events:
        where = f"{room.rater}, {recorded.kind} {recorded.event_id}"
        try:
            event = read_event(recorded)
        except TamperedError as error:
            yield Finding(RECORD, where, error.message)
            continue
        if not isinstance(event, RaterEvent):
            yield Finding(RECORD, where, "events of this kind do not belong in a rater's stream.")
            continue
        readable.append(event)
        for problem in _foreign(study, room, event):
            yield Finding(RECORD, where, problem)
    yield from _answers(room, readable)


def _foreign(study: Study, room: Room, event: RaterEvent) -> Iterator[str]:
    """Return the fields of an event that do not belong to this study or room."""
    for name, found, expected in (
        ("study_id", event.study_id, study.id),
        ("rater", event.rater, room.rater),
        ("protocol_sha256", event.protocol_sha256, study.protocol_sha256),
        ("key_commitment", event.key_commitment, study.commitment),
        ("order_sha256", event.order_sha256, room.order_sha256),
    ):
        if found != expected:
            yield f"its {name} is not the study's."
    if isinstance(event, ShowingEvent):
        positions = {showing.code: showing.position for showing in room.showings}
        if positions.get(event.showing) != event.position:
            yield f"the room has no showing {event.showing} at this position."


def _answers(room: Room, events: list[RaterEvent]) -> Iterator[Finding]:
    """Answers are there once, in order, and agree with the marks and choices before them."""
    state = replay(events)
    places = [event.position for event in events if isinstance(event, FinalEvent)]
    if places != sorted(places):
        yield Finding(ORDER, room.rater, "showings were not answered in the order of the room.")
    for showing in state.showings.values():
        where = f"{room.rater}, showing {showing.code}"
        for again in showing.repeated_answers:
            yield Finding(RECORD, where, f"it is answered more than once ({again.event_id}).")
        answer = showing.answer
        if answer is None:
            continue
        if answer.event_id != answer_event_id(answer.study_id, answer.rater, showing.code):
            yield Finding(RECORD, where, "its answer has an invalid id.")
        if {mark.id: mark for mark in answer.marks} != showing.marks:
            yield Finding(RECORD, where, "the marks of its answer are not those that were placed.")
        if not isinstance(answer, Answered):
            continue
        for question, value in answer.answers.items():
            if showing.drafts.get(question) != value:
                yield Finding(RECORD, where, f"its answer to {question!r} is not the one that was chosen.")
        rule, counts = room.rules.acceptability, answer.counts
        proposed = acceptance_of(
            counts.get("delineated", 0), answer.marks, *(() if rule is None else (rule.threshold,))
        )
        if proposed.to_payload() != counts:
            told = counts.get("proposed")
            yield Finding(RECORD, where, f"its counts do not follow from its marks (proposed: {told}).")


def _chains(study: Study) -> Iterator[Finding]:
    """Hash chains and anchors, and the heads that the record of closing holds."""
    streams = {study_stream(study.id): study.folder / EVENTS}
    streams |= {rater_stream(study.id, rater): study.room_folder(rater) / EVENTS for rater in study.raters}
    told: dict[str, list[str]] = {}
    for stream, folder in streams.items():
        try:
            log = EventLog(folder, study.store_address())
            try:
                problems = log.verify(stream)
                if log.pending:
                    yield Finding(STORE, stream, f"{log.pending} events are not yet in the store.")
            finally:
                log.close()
        except FlairSegError as error:
            yield Finding(STORE, _EVENTS, str(error))
            continue
        for problem in problems:
            told.setdefault(problem, []).append(stream)
    for problem, where in told.items():
        # A message names its event, so one that several streams share is about the store as a whole.
        yield Finding(CHAIN, where[0] if len(where) == 1 else _EVENTS, problem)
    yield from _heads(study)


def _heads(study: Study) -> Iterator[Finding]:
    try:
        closed = _own(study, StudyClosed)
        if closed is None:
            return
        with study.log() as log:
            for rater, head in closed.heads.items():
                if log.head(rater_stream(study.id, rater)) != head:
                    yield Finding(CHAIN, rater, "records were added, changed or cut off after the study was closed.")
    except FlairSegError as error:
        yield Finding(STORE, _EVENTS, str(error))


# --- before locking --------------------------------------------------------------------------------------------------


def _revealing(protocol: Protocol) -> Iterator[Finding]:
    """Names of arms, models and readers in what raters get to read."""
    if protocol.blinding == "open":
        return
    names = {
        name
        for case in (*protocol.cases, *protocol.training_cases)
        for arm in case.arms
        for name in (arm.id, arm.model, arm.reader)
        if len(name) >= 3
    }
    texts = {"title": protocol.title, "instructions": protocol.instructions}
    texts |= {f"questions, {q.id}": f"{q.id} {q.text} {' '.join(q.labels)}" for q in protocol.questions}
    texts |= {f"training case {c.id}, feedback": c.feedback for c in protocol.training_cases}
    for place, text in texts.items():
        for name in sorted(names):
            if name.casefold() in text.casefold():
                yield Finding(PROTOCOL, place, f"raters read {name!r} here, which reveals what is compared.")
