"""A rater's session: the next blinded showing, every click recorded, continued after any interruption.

>>> from flairseg.study import StudySession
>>> with StudySession.open("study/rooms/R1") as session:                        # doctest: +SKIP
...     while (showing := session.next()) is not None:
...         view(showing.flair, showing.labels)                 # neutral files, the same names for every case
...         shown = session.shown
...         shown.mark_false_positive((31.0, -12.5, 44.0))      # RAS mm, as clicked
...         shown.answer("acceptable", shown.acceptance.proposed)
...         shown.submit()

Every mark and choice is on the disk before the call returns (the outbox), and in the store as soon as it can be
reached. A program that crashes loses nothing: the next session opens at the same showing, with its marks. An answer is
final: a second :meth:`.OpenShowing.submit` of the same showing is refused and has in any case the
same event id as the first; a change is a new event that names the old one.

Not thread-safe: all calls from one thread.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import FlairSegError
from .blinding import ImageCache
from .corrections import MaskCorrection, correct_answer
from .errors import AnswerRefusedError
from .log import EventLog
from .open_showing import OpenShowing
from .protocol import Rules
from .recording import Recording
from .records import Answer
from .room import EVENTS, Room, RoomShowing
from .roomlock import RoomLock
from .showing import Progress, Showing
from .timing import Clock, SystemClock, from_timestamp


class StudySession:
    """One session of one rater. Open it with :meth:`open`; close it, or use it as a context.

    Attributes
    ----------
    room : Room
    """

    def __init__(self, room: Room, recording: Recording, lock: RoomLock) -> None:
        self.room = room
        self._recording = recording
        self._lock = lock
        self._open: OpenShowing | None = None
        self._cache = ImageCache(room)

    @classmethod
    def open(cls, room: str | Path | Room, clock: Clock | None = None, application: str = "") -> StudySession:
        """Open a room and continue where its rater stopped.

        Parameters
        ----------
        room : path or Room
            ``rooms/<rater>`` of a locked study.
        clock : Clock, optional
            For tests.
        application : str
            Name and version of the host program, recorded.

        Raises
        ------
        StudyStateError
            If the folder is not a room, or the study is closed.
        TamperedError
            If the room is not the one that was locked.
        RoomBusyError
            If it is open elsewhere.
        OutputError
            If the room's folder cannot be written to.
        """
        room = room if isinstance(room, Room) else Room.open(room)
        lock = RoomLock(room.folder)
        log = None
        try:
            log = EventLog(room.folder / EVENTS, room.store_address())
            return cls(room, Recording(room, log, clock or SystemClock(), application), lock)
        except BaseException:
            if log is not None:
                log.close()
            lock.release()
            raise

    def __enter__(self) -> StudySession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- progress ----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Of the session; in every event."""
        return self._recording.id

    @property
    def rules(self) -> Rules:
        """Questions, display, time limit."""
        return self.room.rules

    @property
    def current(self) -> Showing | None:
        """The last result of :meth:`next`."""
        return None if self._open is None else self._open.showing

    @property
    def progress(self) -> Progress:
        """Number of answered showings."""
        done = [s for s in self.room.showings if self._recording.state.is_answered(s.code)]
        training = sum(s.training for s in self.room.showings)
        trained = sum(s.training for s in done)
        return Progress(len(done) - trained, len(self.room.showings) - training, trained, training)

    @property
    def finished(self) -> bool:
        """Whether every showing is answered."""
        return self._next_entry() is None

    @property
    def waiting_until(self) -> datetime | None:
        """End of the washout, UTC, if the next showing has to wait for it; else None."""
        entry, last = self._next_entry(), self._recording.state.last_answered_at
        if entry is None or last is None or self.room.washout_days <= 0 or entry.position not in self.room.rounds[1:]:
            return None
        if entry.code in self._recording.state.showings:  # the round has begun
            return None
        until = from_timestamp(last) + timedelta(days=self.room.washout_days)
        return until if self._recording.clock.now() < until else None

    @property
    def pending(self) -> int:
        """Events that are safe on this computer's disk but not yet in the store."""
        return self._recording.log.pending

    @property
    def problem(self) -> FlairSegError | None:
        """Why the last delivery to the store failed; None if it did not."""
        return self._recording.log.problem

    def deliver(self) -> int:
        """Deliver pending events to the store; how many are still pending. An unreachable store is not an error."""
        return self._recording.log.flush()

    # --- the current showing -----------------------------------------------------------------------------------------

    def next(self) -> Showing | None:
        """The first showing without an answer, its files in the cache; None if all are answered or during a washout.

        The same showing until it is submitted. A showing begun earlier is restored with its marks and choices.

        Raises
        ------
        TamperedError
            If its files are not those that were locked.
        OutputError
            If the cache cannot be written.
        """
        self._recording.check_open()
        entry = self._next_entry()
        if entry is None or self.waiting_until is not None:
            self._leave()
            return None
        if self.current is None or self.current.code != entry.code:
            self._leave()
            self._open = OpenShowing(self._recording, Showing(entry, *self._cache.put(entry)))
        return self.current

    @property
    def shown(self) -> OpenShowing:
        """The current showing, which takes marks and answers.

        Raises
        ------
        AnswerRefusedError
            If there is none: before :meth:`next`, or after all are answered.
        """
        self._recording.check_open()
        if self._open is None:
            raise AnswerRefusedError("No case is shown.", "Go to the next case first.")
        return self._open

    # --- after the answer --------------------------------------------------------------------------------------------

    def correct(self, code: str, question_id: str, value: Answer, reason: str) -> str:
        """Change an answer that was given to the showing ``code``; the id of the new event, which names the old one.

        ``AnswerRefusedError`` if that showing has no answer, the value is not one of the question's answers, or there
        is no reason.
        """
        self._recording.check_open()
        return correct_answer(self._recording, code, question_id, value, reason)

    def begin_correction(self) -> Showing:
        """Open the current, answered showing's mask for editing and start the clock of the edit.

        ``AnswerRefusedError`` if the protocol has no correction, or the showing is not answered yet.
        """
        shown = self.shown
        if not shown.answered:
            raise AnswerRefusedError("This case is not answered yet.", "Answer it first.")
        if not self.rules.correction:
            raise AnswerRefusedError("The protocol has no correction of masks.", "Set `correction` in the protocol.")
        shown.correction = MaskCorrection(self._recording, shown.showing)
        return shown.showing

    def save_correction(self, labels: np.ndarray) -> Path:
        """Save the edited mask, in the frame that was shown; a new version each time.

        Parameters
        ----------
        labels : ndarray of int, shape (K, J, I)
            Class values, on the grid of the showing.

        Returns
        -------
        Path
            The file in the room's folder ``corrections``.

        Raises
        ------
        AnswerRefusedError
            Without :meth:`begin_correction`, or if the grid is another.
        OutputError
            If it cannot be written.
        """
        if self._open is None or self._open.correction is None:
            raise AnswerRefusedError("No correction was begun.", "Begin the correction first.")
        path = self._open.correction.save(labels)
        self._open.correction = None
        return path

    def close(self) -> None:
        """End the session: time is recorded, the cache removed, the room unlocked. No effect when closed."""
        if self._recording.closed:
            return
        try:
            self._leave()
            self._recording.end()
        finally:
            self._cache.clear()
            self._recording.close()
            self._lock.release()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _next_entry(self) -> RoomShowing | None:
        return next((s for s in self.room.showings if not self._recording.state.is_answered(s.code)), None)

    def _leave(self) -> None:
        """Leave the current showing; its marks, choices and time are kept if it has no answer yet."""
        if self._open is not None:
            self._open.leave()
        self._open = None
        self._cache.clear()
