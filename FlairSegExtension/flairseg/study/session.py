"""A rater's sitting: the next blinded showing, every click recorded, taken up again after anything.

>>> from flairseg.study import StudySession
>>> with StudySession.open("study/rooms/R1") as session:                        # doctest: +SKIP
...     while (showing := session.next()) is not None:
...         view(showing.flair, showing.labels)                 # neutral files, the same names for every case
...         session.mark_false_positive((31.0, -12.5, 44.0))    # RAS mm, as clicked
...         session.answer("acceptable", session.acceptance.proposed)
...         session.submit()

Every mark and every choice is on the disk before the call returns (the outbox), and in the store as soon as it can be
reached. A program that dies loses nothing: the next session opens at the same showing, its marks in place. What is
answered is answered: a second :meth:`StudySession.submit` of the same showing is refused here and has, wherever it
comes from, the same event id as the first; a change is a new event that names the old one.

Not thread-safe: all calls from one thread.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import FlairSegError
from ..files.atomic import all_or_none
from ..image.geometry import triple
from ..io.reader import read_volume
from ..labels import CLASSES
from .acceptance import Acceptance, acceptance_of
from .blinding import ImageCache
from .errors import AnswerRefusedError, StudyStateError, TamperedError
from .images import labels_sha256, write_neutral
from .log import EventLog
from .protocol import Rules
from .records import (
    ACTIVE_SECONDS,
    AFTER_SHA256,
    ANSWER_CORRECTED,
    ANSWER_DRAFTED,
    ANSWERED,
    ANSWERED_AT,
    ANSWERS,
    AT,
    BEFORE_SHA256,
    COMMENT,
    COMMENT_QUESTION,
    CONFIDENCE,
    CONFIDENCE_QUESTION,
    CORRECTS,
    COUNTS,
    DELINEATED_ML,
    DISPLAY,
    DISPLAY_CHANGED,
    FAILED,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    FILE,
    FORMAT,
    FORMAT_VERSION,
    IDLE_SECONDS,
    KEY_COMMITMENT,
    MARK,
    MARK_ID,
    MARK_PLACED,
    MARK_REMOVED,
    MARKS,
    MASK_CORRECTED,
    MONOTONIC,
    OLD_VALUE,
    ORDER_SHA256,
    PAUSED_SECONDS,
    POSITION,
    PROTOCOL_SHA256,
    QUESTION,
    RATER,
    REASON,
    ROOM_SHA256,
    SESSION_ENDED,
    SESSION_ID,
    SESSION_PAUSED,
    SESSION_RESUMED,
    SESSION_STARTED,
    SHOWING,
    SHOWN,
    SHOWN_AT,
    SOFTWARE,
    STUDY_CLOSED,
    STUDY_ID,
    STUDY_LOCKED,
    TIME_RECORDED,
    TIMED_OUT,
    TRAINING,
    VALUE,
    VOXELS_ADDED,
    VOXELS_REMOVED,
    Answer,
    Mark,
    answer_event_id,
    rater_stream,
    study_stream,
)
from .room import CORRECTIONS, EVENTS, Room, RoomShowing
from .roomlock import RoomLock
from .showing import Progress, Showing
from .software import software
from .state import RaterState, ShowingState, apply, replay
from .timing import ActivityTimer, Clock, Seconds, SystemClock, from_timestamp, timestamp

#: A click this near to a delineated lesion means the lesion, mm: small lesions are hard to hit.
LESION_TOLERANCE_MM = 2.0
#: A click this near to a false-negative mark means the mark, mm.
MARK_TOLERANCE_MM = 3.0
#: Window and level change many times a second while they are dragged; they are recorded at most this often, seconds.
DISPLAY_INTERVAL_S = 1.0


class StudySession:
    """One sitting of one rater. Open it with :meth:`open`; close it, or use it as a context.

    Attributes
    ----------
    room : Room
    rules : Rules
        Questions, display, time limit.
    id : str
        Of the sitting.
    current : Showing or None
        What :meth:`next` gave last.
    """

    def __init__(self, room: Room, log: EventLog, lock: RoomLock, clock: Clock, application: str) -> None:
        self.room = room
        self.id = uuid.uuid4().hex
        self.current: Showing | None = None
        self._log = log
        self._lock = lock
        self._clock = clock
        self._began = clock.monotonic()
        self._stream = rater_stream(room.study_id, room.rater)
        self._state: RaterState = replay(log.events(self._stream))
        self._timer: ActivityTimer | None = None
        self._paused = False
        self._display_waiting: dict[str, Any] = {}
        self._display_at = float("-inf")
        self._correction: tuple[Showing, ActivityTimer] | None = None
        self._closed = False
        self._cache = ImageCache(room)
        self._software = software(application)
        self._write(SESSION_STARTED, {SOFTWARE: self._software, ROOM_SHA256: room.sha256})

    @classmethod
    def open(cls, room: str | Path | Room, clock: Clock | None = None, application: str = "") -> StudySession:
        """Open a room and go on where its rater stopped.

        Parameters
        ----------
        room : path or Room
            ``rooms/<rater>`` of a locked study.
        clock : Clock, optional
            For tests.
        application : str
            Name and version of the program around, recorded.

        Raises
        ------
        StudyStateError
            If the folder is no room, or the study is closed.
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
            _check_study(room, log)
            return cls(room, log, lock, clock or SystemClock(), application)
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

    # --- where we are ------------------------------------------------------------------------------------------------

    @property
    def rules(self) -> Rules:
        """What is asked, and how it is shown."""
        return self.room.rules

    @property
    def progress(self) -> Progress:
        """How far the rater is."""
        done = [s for s in self.room.showings if self._state.is_answered(s.code)]
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
        entry, last = self._next_entry(), self._state.last_answered_at
        if entry is None or last is None or self.room.washout_days <= 0 or entry.position not in self.room.rounds[1:]:
            return None
        if entry.code in self._state.showings:  # the round has begun
            return None
        until = from_timestamp(last) + timedelta(days=self.room.washout_days)
        return until if self._clock.now() < until else None

    @property
    def pending(self) -> int:
        """Events that are safe on this computer's disk but not yet in the store."""
        return self._log.pending

    @property
    def problem(self) -> FlairSegError | None:
        """Why the last delivery to the store failed; None if it did not."""
        return self._log.problem

    def deliver(self) -> int:
        """Try to bring pending events to the store; how many are still pending. A store that is away is no error."""
        return self._log.flush()

    # --- one showing -------------------------------------------------------------------------------------------------

    def next(self) -> Showing | None:
        """The first showing without an answer, its files in the cache; None if all are answered or a washout lasts.

        The same showing until it is submitted. A showing that was begun before comes back with its marks and choices.

        Raises
        ------
        TamperedError
            If its files are not those that were locked.
        OutputError
            If the cache cannot be written.
        """
        self._check_open()
        entry = self._next_entry()
        if entry is None or self.waiting_until is not None:
            self._leave()
            return None
        if self.current is not None and self.current.code == entry.code:
            return self.current
        self._leave()
        self.current = Showing(entry, *self._cache.put(entry))
        state = self._showing_state()
        self._timer = ActivityTimer(self._clock, self.rules.idle_after_s, state.seconds)
        self._paused = False
        self._write_showing(SHOWN, {"again": state.shown_at is not None})
        return self.current

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks on the current showing, in the order in which they were placed."""
        return tuple(self._showing_state().marks.values())

    @property
    def answers(self) -> dict[str, Answer]:
        """What is chosen so far on the current showing, question id -> value."""
        known = {question.id for question in self.rules.questions}
        return {q: v for q, v in self._showing_state().drafts.items() if q in known and v is not None}

    @property
    def confidence(self) -> int | None:
        """1..5, or None while not chosen."""
        chosen = self._showing_state().drafts.get(CONFIDENCE_QUESTION)
        return chosen if isinstance(chosen, int) else None

    @property
    def comment(self) -> str:
        """The comment so far."""
        return str(self._showing_state().drafts.get(COMMENT_QUESTION) or "")

    @property
    def display(self) -> dict[str, Any]:
        """The display state last recorded for the current showing: how it looked when it was left."""
        return {**self._showing_state().display, **self._display_waiting}

    @property
    def acceptance(self) -> Acceptance:
        """Counts of the current showing and what S5's rule proposes."""
        question = self.rules.acceptability
        number = len(self._shown().lesions.lesions)
        if question is None:
            return acceptance_of(number, self.marks)
        return acceptance_of(number, self.marks, question.threshold)

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of what must still be answered before :meth:`submit`."""
        answers = self.answers
        missing = [q.id for q in self.rules.questions if q.required and answers.get(q.id) in (None, "")]
        if self.rules.confidence and self.confidence is None:
            missing.append(CONFIDENCE_QUESTION)
        return tuple(missing)

    @property
    def seconds(self) -> Seconds:
        """Active, idle and paused seconds of the current showing."""
        return self._timer.seconds() if self._timer is not None else Seconds()

    @property
    def remaining_s(self) -> float | None:
        """Seconds left of the time limit (0: it is over); None without a limit or a showing."""
        limit = self.rules.time_limit_s
        return None if limit is None or self._timer is None else max(0.0, limit - self.seconds.shown)

    @property
    def expired(self) -> bool:
        """Whether the time limit is over: nothing but :meth:`submit` is taken then, with what there is."""
        return self.remaining_s == 0.0

    def touch(self) -> None:
        """A sign of life: mouse, key, another slice."""
        if self._timer is not None and not self._paused:
            self._timer.touch()
        if self._correction is not None:
            self._correction[1].touch()

    def click(self, ras: tuple[float, float, float]) -> Mark | None:
        """One button for everything: on a lesion, call it false or take that back; elsewhere, mark a missed one or,
        on such a mark, take it back.

        Parameters
        ----------
        ras : tuple of 3 float
            RAS mm, in the frame that is shown.

        Returns
        -------
        Mark or None
            The mark placed; None if one was taken back.

        Raises
        ------
        AnswerRefusedError
            If the point is outside of the image, or time is up, or the showing is paused.
        """
        self._check_takes_marks()
        number = self._shown().lesions.number_at(ras)
        near = self._false_negative_near(ras)
        if number is None and near is None:
            number = self._shown().lesions.number_at(ras, LESION_TOLERANCE_MM)
        if number is not None:
            existing = next((m for m in self.marks if m.lesion == number), None)
            if existing is None:
                return self.mark_false_positive(ras)
            self.remove_mark(existing.id)
            return None
        if near is None:
            return self.mark_false_negative(ras)
        self.remove_mark(near.id)
        return None

    def mark_false_positive(self, ras: tuple[float, float, float]) -> Mark:
        """Call the delineated lesion at a point false (the nearest one within 2 mm); marked already: that mark.

        Raises
        ------
        AnswerRefusedError
            If there is no lesion, time is up, or the showing is paused.
        """
        self._check_takes_marks()
        number = self._shown().lesions.number_at(ras, LESION_TOLERANCE_MM)
        if number is None:
            raise AnswerRefusedError(
                "There is no delineated lesion at this place.",
                "Click on a lesion to call it false; mark a missing lesion with the other key.",
            )
        existing = next((m for m in self.marks if m.lesion == number), None)
        return existing if existing is not None else self._place(FALSE_POSITIVE, ras, number)

    def mark_false_negative(self, ras: tuple[float, float, float]) -> Mark:
        """Mark a place where a lesion is missing.

        Raises
        ------
        AnswerRefusedError
            If the place is in a delineated lesion or outside of the image, time is up, or the showing is paused.
        """
        self._check_takes_marks()
        lesions = self._shown().lesions
        if lesions.index_of(ras) is None:
            raise AnswerRefusedError("This place is outside of the image.", "Click inside the image.")
        if lesions.number_at(ras) is not None:
            raise AnswerRefusedError(
                "There is a delineated lesion at this place, so none is missing.",
                "Mark a place outside of the delineated lesions.",
            )
        return self._place(FALSE_NEGATIVE, ras, None)

    def remove_mark(self, mark_id: str) -> None:
        """Take a mark back; ``AnswerRefusedError`` if there is no such mark, time is up, or the showing is paused."""
        self._check_takes_marks()
        if mark_id not in self._showing_state().marks:
            raise AnswerRefusedError("There is no such mark on this showing.", "It was taken back already.")
        self._write_showing(MARK_REMOVED, {MARK_ID: mark_id}, alive=True)

    def undo_mark(self) -> Mark | None:
        """Take the last mark back; the mark, or None if there is none."""
        marks = self.marks
        if not marks:
            return None
        self.remove_mark(marks[-1].id)
        return marks[-1]

    def answer(self, question_id: str, value: Answer) -> None:
        """Choose an answer; it can be changed until :meth:`submit`, and None takes it back.

        Raises
        ------
        AnswerRefusedError
            If there is no such question, the value is none of its answers, time is up, or the showing is paused.
        """
        question = self.rules.question(question_id)
        if question is None:
            raise AnswerRefusedError(
                f"The protocol has no question {question_id!r}.",
                f"Its questions are {', '.join(q.id for q in self.rules.questions)}.",
            )
        self._draft(question_id, value if value is None else _checked(question.text, question.check, value))

    def set_confidence(self, value: int | None) -> None:
        """1 (guessing) to 5 (certain); ``AnswerRefusedError`` as for :meth:`answer`."""
        if not self.rules.confidence:
            raise AnswerRefusedError("The protocol does not ask for confidence.", "Set `confidence` in the protocol.")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 5):
            raise AnswerRefusedError("Confidence is a whole number from 1 to 5.", "Choose one of them.")
        self._draft(CONFIDENCE_QUESTION, value)

    def set_comment(self, text: str) -> None:
        """Free text to the showing; ``AnswerRefusedError`` as for :meth:`answer`."""
        if not self.rules.comment:
            raise AnswerRefusedError("The protocol does not ask for comments.", "Set `comment` in the protocol.")
        self._draft(COMMENT_QUESTION, text)

    def log_display(self, **state: Any) -> None:
        """Note how the showing looks now; only what changed is recorded, dragging at most once a second.

        Parameters
        ----------
        **state
            ``window``, ``level`` (gray values), ``overlay_visible`` (bool), ``overlay_opacity``, ``slice_ras`` ...
        """
        if self.current is None or self._paused:
            return
        known = self.display
        changed = {key: value for key, value in state.items() if key not in known or known[key] != value}
        if not changed:
            return
        self._display_waiting.update(changed)
        at_once = "overlay_visible" in changed
        if at_once or self._clock.monotonic() - self._display_at >= DISPLAY_INTERVAL_S:
            self._write_display()

    def pause(self) -> None:
        """Stop the clock; the caller hides the image. Twice is once."""
        if self._paused or self.current is None:
            return
        self._on_screen()[1].pause()
        self._paused = True
        self._write_showing(SESSION_PAUSED, {})

    def resume(self) -> None:
        """Go on after :meth:`pause`. Twice is once."""
        if not self._paused or self.current is None:
            return
        self._on_screen()[1].resume()
        self._paused = False
        self._write_showing(SESSION_RESUMED, {})

    @property
    def paused(self) -> bool:
        """Whether the showing is paused."""
        return self._paused

    def submit(self) -> str:
        """Give the answer to the current showing. It is final; :meth:`correct` adds to it.

        Returns
        -------
        str
            Id of the answer's event.

        Raises
        ------
        AnswerRefusedError
            If something required is missing (and there is time left), or the showing is paused.
        """
        showing = self._shown()
        if self._paused:
            raise _paused_error()
        missing, expired = self.missing, self.expired
        if missing and not expired:
            raise AnswerRefusedError(
                f"Not answered yet: {', '.join(missing)}.", "Answer it, or give the showing up as not ratable."
            )
        return self._final(
            ANSWERED,
            {
                ANSWERS: self.answers,
                MARKS: [mark.to_payload() for mark in self.marks],
                COUNTS: self.acceptance.to_payload(),
                DELINEATED_ML: showing.delineated_ml,
                CONFIDENCE: self.confidence,
                COMMENT: self.comment,
                TIMED_OUT: expired,
            },
        )

    def give_up(self, reason: str) -> str:
        """Give the current showing up as not ratable (wrong image, artefact); errors as for :meth:`submit`."""
        self._shown()
        if self._paused:
            raise _paused_error()
        if not reason.strip():
            raise AnswerRefusedError("A showing is not given up without a reason.", "Say why it cannot be rated.")
        return self._final(
            FAILED, {REASON: reason, MARKS: [mark.to_payload() for mark in self.marks], COMMENT: self.comment}
        )

    # --- after the answer --------------------------------------------------------------------------------------------

    def correct(self, code: str, question_id: str, value: Answer, reason: str) -> str:
        """Change an answer that was given: a new event that names the old one, which stays.

        Parameters
        ----------
        code : str
            Of a showing of this rater that is answered.
        question_id : str
        value : str, int, float or None
        reason : str
            Not empty.

        Returns
        -------
        str
            Id of the correction's event.

        Raises
        ------
        AnswerRefusedError
            If that showing has no answer, or the value is none of the question's.
        """
        self._check_open()
        state = self._state.showings.get(code)
        if state is None or state.answer is None or state.failed:
            raise AnswerRefusedError(
                f"The showing {code} has no answer that could be corrected.", "Answer it when it is its turn."
            )
        question = self.rules.question(question_id)
        if question is None:
            raise AnswerRefusedError(f"The protocol has no question {question_id!r}.", "Check its spelling.")
        if not reason.strip():
            raise AnswerRefusedError("An answer is not corrected without a reason.", "Say why it is changed.")
        new = _checked(question.text, question.check, value)
        last = next((e for e in reversed(state.corrections) if e.payload[QUESTION] == question_id), state.answer)
        entry = next(s for s in self.room.showings if s.code == code)
        return self._write(
            ANSWER_CORRECTED,
            {
                SHOWING: code,
                POSITION: entry.position,
                TRAINING: entry.training,
                QUESTION: question_id,
                OLD_VALUE: state.answers().get(question_id),
                VALUE: new,
                REASON: reason,
                CORRECTS: last.event_id,
            },
        )

    def begin_correction(self) -> Showing:
        """Open the current, answered showing's mask for editing and start the clock of the edit.

        Raises
        ------
        AnswerRefusedError
            If the protocol has no correction, or the showing is not answered yet.
        """
        showing = self._shown(answered=True)
        if not self.rules.correction:
            raise AnswerRefusedError("The protocol has no correction of masks.", "Set `correction` in the protocol.")
        self._correction = (showing, ActivityTimer(self._clock, self.rules.idle_after_s))
        return showing

    def save_correction(self, labels: np.ndarray) -> Path:
        """Keep the edited mask, in the frame that was shown; a new version each time.

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
        if self._correction is None:
            raise AnswerRefusedError("No correction was begun.", "Begin the correction first.")
        showing, timer = self._correction
        before, after = showing.label_array, np.ascontiguousarray(labels, np.uint8)
        if after.shape != before.shape:
            raise AnswerRefusedError("The corrected mask lies on another grid.", "Edit the mask that was shown.")
        folder = self.room.folder / CORRECTIONS
        version = 1 + len(list(folder.glob(f"{showing.code}_v*.nii.gz"))) if folder.is_dir() else 1
        name = f"{showing.code}_v{version:03d}_labels.nii.gz"
        grid = read_volume(showing.flair)
        with all_or_none(folder, [name]) as drafts:
            write_neutral(drafts / name, after, grid)
        seconds = timer.touch()
        self._write(
            MASK_CORRECTED,
            {
                SHOWING: showing.code,
                POSITION: showing.position,
                TRAINING: showing.training,
                BEFORE_SHA256: labels_sha256(before),
                AFTER_SHA256: labels_sha256(after),
                VOXELS_ADDED: _gained(before, after),
                VOXELS_REMOVED: _gained(after, before),
                "correction_active_seconds": seconds.active,
                "correction_idle_seconds": seconds.idle,
                FILE: f"{CORRECTIONS}/{name}",
            },
        )
        self._correction = None
        return folder / name

    def answered(self) -> tuple[ShowingState, ...]:
        """The rater's own answered showings, in order; for a list of what was done."""
        return tuple(self._state.showings[s.code] for s in self.room.showings if self._state.is_answered(s.code))

    def close(self) -> None:
        """End the sitting: time is recorded, the cache removed, the room free. Twice is once."""
        if self._closed:
            return
        try:
            self._leave()
            self._write(SESSION_ENDED, {})
            self._log.flush()
        finally:
            self._closed = True
            self._cache.clear()
            self._log.close()
            self._lock.release()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _next_entry(self) -> RoomShowing | None:
        return next((s for s in self.room.showings if not self._state.is_answered(s.code)), None)

    def _check_open(self) -> None:
        if self._closed:
            raise StudyStateError("This session is closed.", "Open the room again.")

    def _shown(self, answered: bool = False) -> Showing:
        """The current showing; refuses if there is none, or if it has its answer (has none) already."""
        self._check_open()
        if self.current is None:
            raise AnswerRefusedError("No case is shown.", "Go to the next case first.")
        if self._state.is_answered(self.current.code) != answered:
            raise AnswerRefusedError(
                "This case is not answered yet." if answered else "This case is answered already.",
                "Answer it first." if answered else "Correct the answer, with a reason, or go to the next case.",
            )
        return self.current

    def _showing_state(self) -> ShowingState:
        if self.current is None:
            return ShowingState("")
        return self._state.of(self.current.code)

    def _check_takes_marks(self) -> None:
        self._shown()
        if self._paused:
            raise _paused_error()
        if self.expired:
            raise AnswerRefusedError("The time for this case is over.", "Submit it; what is there counts.")

    def _false_negative_near(self, ras: tuple[float, float, float]) -> Mark | None:
        marks = [m for m in self.marks if m.kind == FALSE_NEGATIVE]
        if not marks:
            return None
        distances = np.linalg.norm(np.array([m.ras for m in marks]) - np.asarray(ras, float), axis=1)
        nearest = int(distances.argmin())
        return marks[nearest] if distances[nearest] <= MARK_TOLERANCE_MM else None

    def _on_screen(self) -> tuple[Showing, ActivityTimer]:
        """The current showing and its clock, answered or not."""
        if self.current is None or self._timer is None:
            raise AnswerRefusedError("No case is shown.", "Go to the next case first.")
        return self.current, self._timer

    def _place(self, kind: str, ras: tuple[float, float, float], lesion: int | None) -> Mark:
        mark = Mark(uuid.uuid4().hex, kind, triple(float(x) for x in ras), lesion)
        self._write_showing(MARK_PLACED, {MARK: mark.to_payload()}, alive=True)
        return mark

    def _draft(self, question_id: str, value: Answer) -> None:
        self._check_takes_marks()
        drafts = self._showing_state().drafts
        if question_id in drafts and drafts[question_id] == value and type(drafts[question_id]) is type(value):
            self.touch()
            return
        self._write_showing(ANSWER_DRAFTED, {QUESTION: question_id, VALUE: value}, alive=True)

    def _final(self, kind: str, content: dict[str, Any]) -> str:
        """Write the event that ends a showing. Its id follows from study, rater and code: it can exist only once."""
        (showing, clock), state = self._on_screen(), self._showing_state()
        self._write_display()
        clock.touch()
        now = timestamp(self._clock.now())
        event_id = self._write_showing(
            kind,
            {**content, SHOWN_AT: state.shown_at, ANSWERED_AT: now, DISPLAY: state.display, SOFTWARE: self._software},
            event_id=answer_event_id(self.room.study_id, self.room.rater, showing.code),
        )
        clock.pause()
        return event_id

    def _leave(self) -> None:
        """Put the current showing away; what it took so far is kept if it has no answer yet."""
        if self.current is not None and not self._state.is_answered(self.current.code):
            self._write_display()
            self._write_showing(TIME_RECORDED, {})
        self._correction = None
        self.current, self._timer, self._paused, self._display_waiting = None, None, False, {}
        self._cache.clear()

    def _write_display(self) -> None:
        if self._display_waiting and self.current is not None:
            waiting, self._display_waiting = self._display_waiting, {}
            self._display_at = self._clock.monotonic()
            self._write_showing(DISPLAY_CHANGED, {DISPLAY: waiting}, alive=True)

    def _write_showing(
        self, kind: str, content: dict[str, Any], event_id: str | None = None, alive: bool = False
    ) -> str:
        """Write an event of the current showing, with the time it took so far."""
        if alive:
            self.touch()
        showing, clock = self._on_screen()
        seconds = clock.seconds()
        return self._write(
            kind,
            {
                SHOWING: showing.code,
                POSITION: showing.position,
                TRAINING: showing.training,
                ACTIVE_SECONDS: round(seconds.active, 3),
                IDLE_SECONDS: round(seconds.idle, 3),
                PAUSED_SECONDS: round(seconds.paused, 3),
                **content,
            },
            event_id,
        )

    def _write(self, kind: str, content: dict[str, Any], event_id: str | None = None) -> str:
        """Write an event: first to the disk, then into this session's state, in the background to the store."""
        self._check_open()
        payload = {
            FORMAT: FORMAT_VERSION,
            STUDY_ID: self.room.study_id,
            PROTOCOL_SHA256: self.room.protocol_sha256,
            ORDER_SHA256: self.room.order_sha256,
            KEY_COMMITMENT: self.room.key_commitment,
            RATER: self.room.rater,
            SESSION_ID: self.id,
            AT: timestamp(self._clock.now()),
            MONOTONIC: round(self._clock.monotonic() - self._began, 6),
            **content,
        }
        event = self._log.record(self._stream, kind, payload, event_id)
        apply(self._state, event)
        return event.event_id


def _check_study(room: Room, log: EventLog) -> None:
    """Refuse a closed study, and a room that is not the one which the lock record names (where it can be reached)."""
    for event in log.events(study_stream(room.study_id)):
        if event.kind == STUDY_CLOSED:
            raise StudyStateError("This study is closed.", "Its answers can be analysed; nothing can be added.")
        if event.kind == STUDY_LOCKED:
            locked = event.payload
            expected = locked.get("rooms", {}).get(room.rater)
            if expected != room.sha256 or locked.get(PROTOCOL_SHA256) != room.protocol_sha256:
                raise TamperedError(
                    "This room is not the one that was locked: its rules, its order or its images were exchanged.",
                    "Stop rating, keep the folder as it is, and ask the coordinator to check the study.",
                    code="room-altered",
                )


def _checked(text: str, check: Any, value: Answer) -> Answer:
    try:
        out: Answer = check(value)
        return out
    except ValueError as error:
        raise AnswerRefusedError(
            f"{value!r} is no answer to \N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}: {error}.",
            "Choose one of its answers.",
        ) from error


def _gained(old: np.ndarray, new: np.ndarray) -> dict[str, int]:
    """Class id -> voxels that have the class in ``new`` and not in ``old``."""
    return {c.id: int(np.count_nonzero((new == c.value) & (old != c.value))) for c in CLASSES}


def _paused_error() -> AnswerRefusedError:
    return AnswerRefusedError("The session is paused.", "Resume it first.")
