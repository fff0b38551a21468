"""A locked study for its coordinator: status, exclusions, closing, unsealing. :mod:`.locking` creates it.

::

    <study>/
      study.json              what was locked: hashes, the commitment to the key, the store's address
      coordinator/            protocol and sealed key; keep it inaccessible to raters; may be elsewhere
      rooms/<rater>/          see room.py; may be copied to the rater's computer and back
      events.sqlite           the event store, unless a PostgreSQL address was given
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import StudyStateError, TamperedError
from .events import (
    CaseExcluded,
    LockedStudyEvent,
    Recorded,
    StudyClosed,
    StudyEvent,
    StudyLocked,
    StudyUnsealed,
    read_events,
)
from .key import KEY_NAME, SealedKey, open_key
from .log import EventLog
from .protocol import Protocol
from .protocol_reading import load_protocol
from .records import rater_stream, study_event_id, study_stream
from .room import EVENTS, Room
from .schedule import PlannedShowing, plan
from .software import software
from .state import RaterState, replay
from .timing import timestamp

STUDY_NAME = "study.json"
STUDY_FORMAT = 1
COORDINATOR = "coordinator"
ROOMS = "rooms"
PROTOCOL_NAME = "protocol.json"

#: Added to the reason of a case that was left out when its results could be known.
AFTER_UNSEALING = "decided after the key was opened"


def _no_study(folder: Path, error: OSError) -> StudyStateError:
    """The error for a folder that is not a study, though perhaps inside one."""
    message = f"{folder} is not a locked study: {STUDY_NAME} cannot be read ({error.strerror or error})."
    above = next((p for p in folder.absolute().parents if (p / STUDY_NAME).is_file()), None)
    if above is not None:
        advice = f"It is inside the study {above}: name that folder."
        return StudyStateError(message, advice, code="part-of-a-study", path=above)
    return StudyStateError(message, "Lock a protocol first.", code="no-study", path=folder)


@dataclass(frozen=True)
class RaterStatus:
    """Progress of one rater.

    Attributes
    ----------
    rater : str
    answered, total : int
        Showings that count; training not among them.
    failed : int
        Given up as not ratable, among the answered.
    training_answered, training_total : int
    active_seconds : float
        On all showings.
    last_answered_at : str or None
        ISO 8601, UTC.
    pending : int
        Events in the room's outbox that are not in the store yet.
    """

    rater: str
    answered: int
    total: int
    failed: int
    training_answered: int
    training_total: int
    active_seconds: float
    last_answered_at: str | None
    pending: int

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return self.answered == self.total and self.training_answered == self.training_total


@dataclass(frozen=True)
class StudyStatus:
    """The state of a study.

    Attributes
    ----------
    closed_at, unsealed_at : str or None
        ISO 8601, UTC.
    raters : tuple of RaterStatus
    """

    closed_at: str | None
    unsealed_at: str | None
    raters: tuple[RaterStatus, ...]


class Study:
    """A locked study, for its coordinator.

    Parameters
    ----------
    folder : path
        The study's folder.
    coordinator : path, optional
        The folder with protocol and key, if it was moved; default ``<folder>/coordinator``.

    Raises
    ------
    StudyStateError
        If the folder is no locked study.
    """

    def __init__(self, folder: str | Path, coordinator: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.coordinator = Path(coordinator) if coordinator is not None else self.folder / COORDINATOR
        try:
            content = json.loads((self.folder / STUDY_NAME).read_text(encoding="utf-8"))
            if content["flairseg_study_folder"] != STUDY_FORMAT:
                raise ValueError("another format")
            self.id: str = content["study_id"]
            self.protocol_sha256: str = content["protocol_sha256"]
            self.commitment: str = content["key_commitment"]
            self.store: str = content["store"]
            self.title: str = content["title"]
            self.rooms: dict[str, str] = content["rooms"]
            self.plans: dict[str, str] = content["plans"]
        except OSError as error:
            raise _no_study(self.folder, error) from error
        except (KeyError, TypeError, ValueError) as error:
            raise TamperedError(
                f"{STUDY_NAME} was changed after the study was locked ({error}).", "Restore it from a backup."
            ) from error
        self.raters = tuple(self.rooms)

    @property
    def key_lies_in_study(self) -> bool:
        """Whether the sealed key is inside the study's folder, where raters might have access."""
        key = self.coordinator / KEY_NAME
        return key.is_file() and key.resolve().is_relative_to(self.folder.resolve())

    @cached_property
    def protocol(self) -> Protocol:
        """The locked protocol.

        Raises
        ------
        ProtocolError
            If it cannot be read.
        TamperedError
            If it is not the one that was locked.
        """
        protocol = load_protocol(self.coordinator / PROTOCOL_NAME)
        if protocol.sha256 != self.protocol_sha256:
            raise TamperedError(
                "The protocol was changed after the study was locked: its sha256 is not the one in the records.",
                "Restore the locked protocol, or lock the changed one as a new study.",
            )
        return protocol

    def room_folder(self, rater: str) -> Path:
        """A rater's room."""
        return self.folder / ROOMS / rater

    def store_address(self) -> str:
        """The store as a PostgreSQL address or a path."""
        return self.store if "://" in self.store else str(self.folder / self.store)

    @contextmanager
    def log(self) -> Iterator[EventLog]:
        """The coordinator's event log."""
        log = EventLog(self.folder / EVENTS, self.store_address())
        try:
            yield log
            log.flush()
        finally:
            log.close()

    def plan(self, rater: str) -> tuple[PlannedShowing, ...]:
        """A rater's order, recomputed from the protocol."""
        return plan(self.protocol, rater)

    def events(self, rater: str) -> list[Recorded]:
        """All of a rater's events: the store's, and those pending in the room's outbox (delivered if possible)."""
        folder = self.room_folder(rater)
        if not folder.is_dir():
            with self.log() as log:
                return log.events(rater_stream(self.id, rater), complete=True)
        log = EventLog(folder / EVENTS, self.store_address())
        try:
            log.flush()
            return log.events(rater_stream(self.id, rater), complete=True)
        finally:
            log.close()

    def own_events(self) -> list[Recorded]:
        """The coordinator's events: locked, excluded, closed, unsealed."""
        with self.log() as log:
            log.flush()
            return log.events(study_stream(self.id), complete=True)

    def state(self, rater: str) -> RaterState:
        """Return a rater's progress."""
        return replay(read_events(self.events(rater)))

    def status(self) -> StudyStatus:
        """Return all raters' progress; errors as :class:`~flairseg.study.room.Room` raises them."""
        when = {type(event): event.at for event in self._history()}
        raters = tuple(self._rater_status(rater) for rater in self.raters)
        return StudyStatus(when.get(StudyClosed), when.get(StudyUnsealed), raters)

    def exclude(self, case: str, reason: str) -> None:
        """Exclude a case from the results; answers and reason stay in the records.

        With the key, cases could be chosen by their results, so whether it was open is recorded and reported.

        Raises
        ------
        StudyStateError
            If the protocol has no such case, or no reason is given.
        """
        if case not in {c.id for c in self.protocol.cases}:
            raise StudyStateError(f"The protocol has no case {case!r}.", "Check its spelling.")
        if not reason.strip():
            raise StudyStateError("Excluding a case needs a reason.", "State it; reports list it.")
        opened = self._has(StudyUnsealed)
        with self.log() as log:
            self._record(log, CaseExcluded, case=case, reason=reason, key_was_open=opened)

    def excluded(self) -> dict[str, str]:
        """Cases left out, with the reason, and whether the key was open already."""
        return {
            event.case: event.reason + (f" ({AFTER_UNSEALING})" if event.key_was_open else "")
            for event in self._history()
            if isinstance(event, CaseExcluded)
        }

    def close(self, incomplete: bool = False) -> SealedKey:
        """End the study and open the key. No session can add to it afterwards.

        Parameters
        ----------
        incomplete : bool
            Close although showings are unanswered.

        Returns
        -------
        SealedKey

        Raises
        ------
        StudyStateError
            If showings are unanswered, or a rater has the room open.
        TamperedError
            If the key is not the one that was committed to.
        """
        status = self.status()
        if status.closed_at is None:
            waiting = [f"{r.rater} ({r.total - r.answered} left)" for r in status.raters if not r.finished]
            if waiting and not incomplete:
                raise StudyStateError(
                    f"The study is not finished: {', '.join(waiting)}.",
                    "Wait for them, or close it as incomplete; the report states this.",
                    code="study-unfinished",
                )
            pending = [f"{r.rater} ({r.pending})" for r in status.raters if r.pending]
            if pending:
                raise StudyStateError(
                    f"Answers are not yet in the store: {', '.join(pending)}.",
                    "Restore the event store, then close the study again.",
                )
        # The key is compared before anything is written: a study with a wrong key stays open.
        key = open_key(self.coordinator / KEY_NAME, self.commitment)
        if status.closed_at is None:
            with self.log() as log:
                heads = {rater: log.head(rater_stream(self.id, rater)) for rater in self.raters}
                progress = {r.rater: [r.answered, r.total] for r in status.raters}
                self._record(log, StudyClosed, once=True, heads=heads, answered=progress, incomplete=bool(waiting))
        if status.unsealed_at is None:
            with self.log() as log:
                self._record(log, StudyUnsealed, once=True)
        return key

    def key(self) -> SealedKey:
        """The key of a closed study.

        Raises
        ------
        StudyStateError
            While the study is open.
        TamperedError
            If it is not the key that was committed to.
        """
        if not self._has(StudyClosed):
            raise StudyStateError(
                "The study is still open, so its key remains sealed.",
                "Close it first. No answers are accepted afterwards.",
                code="study-still-open",
            )
        return open_key(self.coordinator / KEY_NAME, self.commitment)

    def record_lock(self) -> None:
        """Write the lock record unless it exists."""
        with self.log() as log:
            self._record(
                log,
                StudyLocked,
                once=True,
                rooms=self.rooms,
                plans=self.plans,
                title=self.title,
                software=software(),
            )

    def _rater_status(self, rater: str) -> RaterStatus:
        room = Room.open(self.room_folder(rater))
        state = self.state(rater)
        counts = [s for s in room.showings if not s.training]
        training = [s for s in room.showings if s.training]
        log = EventLog(room.folder / EVENTS, self.store_address())
        try:
            pending = log.pending
        finally:
            log.close()
        return RaterStatus(
            rater=rater,
            answered=sum(state.is_answered(s.code) for s in counts),
            total=len(counts),
            failed=sum(state.showings[s.code].failed for s in counts if state.is_answered(s.code)),
            training_answered=sum(state.is_answered(s.code) for s in training),
            training_total=len(training),
            active_seconds=sum(s.seconds.active for s in state.showings.values()),
            last_answered_at=state.last_answered_at,
            pending=pending,
        )

    def _history(self) -> list[StudyEvent]:
        return read_events(self.own_events())

    def _has(self, cls: type[StudyEvent]) -> bool:
        return any(event.kind == cls.kind for event in self.own_events())

    def _record(self, log: EventLog, cls: type[LockedStudyEvent], once: bool = False, **content: Any) -> None:
        """Record an event of the coordinator; ``once``: a study has only one of its kind."""
        event = cls(
            at=timestamp(datetime.now(timezone.utc)),
            event_id=study_event_id(self.id, cls.kind) if once else "",
            study_id=self.id,
            protocol_sha256=self.protocol_sha256,
            key_commitment=self.commitment,
            **content,
        )
        log.record(study_stream(self.id), event)
