"""Record the events of one rating session: on the disk first, then in the rater's state."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

from .errors import StudyStateError, TamperedError
from .events import RaterEvent, SessionEnded, SessionStarted, StudyClosed, StudyLocked, read_events
from .log import EventLog
from .records import rater_stream, study_stream
from .room import Room
from .software import software
from .state import RaterState, apply, replay
from .timing import Clock, timestamp

E = TypeVar("E", bound=RaterEvent)


class Recording:
    """Recorder of a rating session, and the rater's state that follows from its events.

    Parameters
    ----------
    room : Room
    log : EventLog
        Closed by :meth:`close`.
    clock : Clock
    application : str
        Name and version of the host program.

    Attributes
    ----------
    id : str
        Of the session.
    software : dict of str to str
        Name -> version.
    state : RaterState

    Raises
    ------
    StudyStateError
        If the study is closed.
    TamperedError
        If the room is not the one that was locked, or a record cannot be read.
    """

    def __init__(self, room: Room, log: EventLog, clock: Clock, application: str) -> None:
        _check_study(room, log)
        self.id = uuid.uuid4().hex
        self.room, self.clock, self.log = room, clock, log
        self.software = software(application)
        self._began = clock.monotonic()
        self._stream = rater_stream(room.study_id, room.rater)
        self.state: RaterState = replay(read_events(log.events(self._stream)))
        self.closed = False
        self.write(SessionStarted, software=self.software, room_sha256=room.sha256)

    def now(self) -> str:
        """The time of day, as events have it."""
        return timestamp(self.clock.now())

    def check_open(self) -> None:
        """Refuse if the session is closed; ``StudyStateError``."""
        if self.closed:
            raise StudyStateError("This session is closed.", "Open the room again.")

    def write(self, cls: type[E], event_id: str = "", **content: Any) -> E:
        """Record an event: on the disk when this returns, delivered to the store in the background.

        Parameters
        ----------
        cls : type of RaterEvent
        event_id : str
            UUID; empty: a new one.
        **content
            The fields of the event beside those of every event of a rater.

        Raises
        ------
        StudyStateError
            If the session is closed.
        OutboxError
            If it could not be written: it is not recorded then.
        """
        self.check_open()
        event = cls(
            study_id=self.room.study_id,
            protocol_sha256=self.room.protocol_sha256,
            order_sha256=self.room.order_sha256,
            key_commitment=self.room.key_commitment,
            rater=self.room.rater,
            session_id=self.id,
            at=self.now(),
            monotonic_s=round(self.clock.monotonic() - self._began, 6),
            event_id=event_id,
            **content,
        )
        event = self.log.record(self._stream, event)
        apply(self.state, event)
        return event

    def end(self) -> None:
        """Record the end of the session and deliver what is pending."""
        self.write(SessionEnded)
        self.log.flush()

    def close(self) -> None:
        """Stop recording."""
        self.closed = True
        self.log.close()


def _check_study(room: Room, log: EventLog) -> None:
    """Refuse a closed study, and a room that differs from the lock record (where that can be reached)."""
    for event in read_events(log.events(study_stream(room.study_id))):
        if isinstance(event, StudyClosed):
            raise StudyStateError("This study is closed.", "Its answers can be analysed; nothing can be added.")
        if isinstance(event, StudyLocked) and (
            event.rooms.get(room.rater) != room.sha256 or event.protocol_sha256 != room.protocol_sha256
        ):
            raise TamperedError(
                "This room is not the one that was locked: its rules, order or images were replaced.",
                "Stop rating, keep the folder as it is, and ask the coordinator to check the study.",
                code="room-altered",
            )
