"""The showing on screen: its clock, marks, choices and display, each recorded as it occurs, until the answer."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

import numpy as np

from ..image.geometry import triple
from .acceptance import Acceptance, acceptance_of
from .corrections import MaskCorrection
from .errors import AnswerRefusedError
from .events import (
    AnswerDrafted,
    Answered,
    DisplayChanged,
    FinalEvent,
    MarkPlaced,
    MarkRemoved,
    NotRated,
    SessionPaused,
    SessionResumed,
    Setting,
    Shown,
    TimedEvent,
    TimeRecorded,
)
from .recording import Recording
from .records import (
    COMMENT_QUESTION,
    CONFIDENCE_QUESTION,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    Answer,
    Mark,
    answer_event_id,
)
from .showing import Showing
from .state import ShowingState
from .timing import ActivityTimer, Seconds

#: A click this near to a delineated lesion means the lesion, mm: small lesions are hard to hit.
LESION_TOLERANCE_MM = 2.0
#: A click this near to a false-negative mark means the mark, mm.
MARK_TOLERANCE_MM = 3.0
#: Window and level change many times a second while they are dragged; they are recorded at most this often, seconds.
DISPLAY_INTERVAL_S = 1.0

E = TypeVar("E", bound=TimedEvent)


class OpenShowing:
    """One showing of a rating session, from display to answer.

    A showing begun in an earlier session is restored with its marks, choices and times.

    Parameters
    ----------
    recording : Recording
    showing : Showing

    Attributes
    ----------
    showing : Showing
    paused : bool
    correction : MaskCorrection or None
        The current edit of the mask, after the answer.
    """

    def __init__(self, recording: Recording, showing: Showing) -> None:
        self.showing = showing
        self.paused = False
        self.correction: MaskCorrection | None = None
        self._recording, self._rules = recording, recording.room.rules
        self._timer = ActivityTimer(recording.clock, self._rules.idle_after_s, self._state.seconds)
        self._display_waiting: dict[str, Setting] = {}
        self._display_at = float("-inf")
        self._write(Shown, again=self._state.shown_at is not None)

    @property
    def answered(self) -> bool:
        """Whether it has its answer, or was given up."""
        return self._state.answer is not None

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks, in the order in which they were placed."""
        return tuple(self._state.marks.values())

    @property
    def answers(self) -> dict[str, Answer]:
        """Question id -> value, as chosen so far."""
        known = {question.id for question in self._rules.questions}
        return {q: v for q, v in self._state.drafts.items() if q in known and v is not None}

    @property
    def confidence(self) -> int | None:
        """1..5, or None while not chosen."""
        chosen = self._state.drafts.get(CONFIDENCE_QUESTION)
        return chosen if isinstance(chosen, int) else None

    @property
    def comment(self) -> str:
        """The comment so far."""
        return str(self._state.drafts.get(COMMENT_QUESTION) or "")

    @property
    def display(self) -> dict[str, Setting]:
        """The display settings last reported."""
        return {**self._state.display, **self._display_waiting}

    @property
    def acceptance(self) -> Acceptance:
        """Counts, and the proposal of S5's rule."""
        question = self._rules.acceptability
        threshold = () if question is None else (question.threshold,)
        return acceptance_of(len(self.showing.lesions.lesions), self.marks, *threshold)

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of what must still be answered before :meth:`submit`."""
        answers = self.answers
        missing = [q.id for q in self._rules.questions if q.required and answers.get(q.id) in (None, "")]
        if self._rules.confidence and self.confidence is None:
            missing.append(CONFIDENCE_QUESTION)
        return tuple(missing)

    @property
    def seconds(self) -> Seconds:
        """Active, idle and paused seconds."""
        return self._timer.seconds()

    @property
    def remaining_s(self) -> float | None:
        """Seconds left of the time limit (0: it is over); None without a limit."""
        limit = self._rules.time_limit_s
        return None if limit is None else max(0.0, limit - self.seconds.shown)

    @property
    def expired(self) -> bool:
        """Whether the time limit is over: only :meth:`submit` is accepted then, with the answers so far."""
        return self.remaining_s == 0.0

    def touch(self) -> None:
        """Activity of the rater: mouse, key, another slice."""
        if not self.paused:
            self._timer.touch()
        if self.correction is not None:
            self.correction.touch()

    # --- marks -------------------------------------------------------------------------------------------------------

    def click(self, ras: tuple[float, float, float]) -> Mark | None:
        """Place or remove the mark that a click means: on a lesion, a false positive; elsewhere, a missed lesion.

        Parameters
        ----------
        ras : tuple of 3 float
            RAS mm, in the frame that is shown.

        Returns
        -------
        Mark or None
            The mark placed; None if one was removed.

        Raises
        ------
        AnswerRefusedError
            If the point is outside of the image, the time is over, or the showing is answered or paused.
        """
        self._check_takes_marks()
        lesions = self.showing.lesions
        number, near = lesions.number_at(ras), self._false_negative_near(ras)
        if number is None and near is None:
            number = lesions.number_at(ras, LESION_TOLERANCE_MM)
        if number is not None:
            existing = self._false_positive_on(number)
            if existing is None:
                return self._place(FALSE_POSITIVE, ras, number)
            self.remove_mark(existing.id)
            return None
        if near is None:
            return self.mark_false_negative(ras)
        self.remove_mark(near.id)
        return None

    def mark_false_positive(self, ras: tuple[float, float, float]) -> Mark:
        """Mark the delineated lesion at a point as false (the nearest one within 2 mm); an existing mark is returned.

        ``AnswerRefusedError`` if there is no lesion, and as for :meth:`click`.
        """
        self._check_takes_marks()
        number = self.showing.lesions.number_at(ras, LESION_TOLERANCE_MM)
        if number is None:
            raise AnswerRefusedError(
                "There is no delineated lesion at this position.",
                "Click on a lesion to mark it as false positive; mark a missed lesion with the other key.",
            )
        return self._false_positive_on(number) or self._place(FALSE_POSITIVE, ras, number)

    def mark_false_negative(self, ras: tuple[float, float, float]) -> Mark:
        """Mark a missed lesion; ``AnswerRefusedError`` in a delineated lesion, and as for :meth:`click`."""
        self._check_takes_marks()
        lesions = self.showing.lesions
        if lesions.index_of(ras) is None:
            raise AnswerRefusedError("This position is outside the image.", "Click inside the image.")
        if lesions.number_at(ras) is not None:
            raise AnswerRefusedError(
                "There is a delineated lesion at this position, so none is missed.",
                "Mark a position outside the delineated lesions.",
            )
        return self._place(FALSE_NEGATIVE, ras, None)

    def remove_mark(self, mark_id: str) -> None:
        """Remove a mark; ``AnswerRefusedError`` if there is no such mark, and as for :meth:`click`."""
        self._check_takes_marks()
        if mark_id not in self._state.marks:
            raise AnswerRefusedError("There is no such mark on this showing.", "It was already removed.")
        self._write_active(MarkRemoved, mark_id=mark_id)

    def undo_mark(self) -> Mark | None:
        """Remove the last mark and return it; None if there is none."""
        last = next(reversed(self.marks), None)
        if last is not None:
            self.remove_mark(last.id)
        return last

    def _false_positive_on(self, number: int) -> Mark | None:
        return next((mark for mark in self.marks if mark.lesion == number), None)

    def _false_negative_near(self, ras: tuple[float, float, float]) -> Mark | None:
        marks = [m for m in self.marks if m.kind == FALSE_NEGATIVE]
        if not marks:
            return None
        distances = np.linalg.norm(np.array([m.ras for m in marks]) - np.asarray(ras, float), axis=1)
        nearest = int(distances.argmin())
        return marks[nearest] if distances[nearest] <= MARK_TOLERANCE_MM else None

    def _place(self, kind: str, ras: tuple[float, float, float], lesion: int | None) -> Mark:
        mark = Mark(uuid.uuid4().hex, kind, triple(float(x) for x in ras), lesion)
        self._write_active(MarkPlaced, mark=mark)
        return mark

    # --- choices, display, pauses ------------------------------------------------------------------------------------

    def answer(self, question_id: str, value: Answer) -> None:
        """Choose an answer; it can be changed until :meth:`submit`; None clears it.

        ``AnswerRefusedError`` if there is no such question, the value is not one of its answers, the time is over, or
        the showing is answered or paused.
        """
        question = self._rules.question(question_id)
        if question is None:
            raise AnswerRefusedError(
                f"The protocol has no question {question_id!r}.",
                f"Its questions are {', '.join(q.id for q in self._rules.questions)}.",
            )
        self._draft(question_id, value if value is None else question.accepted(value))

    def set_confidence(self, value: int | None) -> None:
        """1 (guessing) to 5 (certain); ``AnswerRefusedError`` as for :meth:`answer`."""
        if not self._rules.confidence:
            raise AnswerRefusedError("The protocol does not ask for confidence.", "Set `confidence` in the protocol.")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 5):
            raise AnswerRefusedError("Confidence is a whole number from 1 to 5.", "Choose one of them.")
        self._draft(CONFIDENCE_QUESTION, value)

    def set_comment(self, text: str) -> None:
        """Free text; ``AnswerRefusedError`` as for :meth:`answer`."""
        if not self._rules.comment:
            raise AnswerRefusedError("The protocol does not ask for comments.", "Set `comment` in the protocol.")
        self._draft(COMMENT_QUESTION, text)

    def log_display(self, **state: Setting) -> None:
        """Report the display settings; only changes are recorded, at most once a second while dragging.

        Parameters
        ----------
        **state
            ``window``, ``level`` (gray values), ``overlay_visible`` (bool), ``overlay_opacity``, ``slice_ras`` ...
        """
        known = self.display
        changed = {key: value for key, value in state.items() if key not in known or known[key] != value}
        if not changed or self.paused:
            return
        self._display_waiting.update(changed)
        at_once = "overlay_visible" in changed
        if at_once or self._recording.clock.monotonic() - self._display_at >= DISPLAY_INTERVAL_S:
            self._write_display()

    def pause(self) -> None:
        """Stop the clock; the caller hides the image. No effect while paused."""
        if not self.paused:
            self._timer.pause()
            self.paused = True
            self._write(SessionPaused)

    def resume(self) -> None:
        """Continue after :meth:`pause`. No effect while not paused."""
        if self.paused:
            self._timer.resume()
            self.paused = False
            self._write(SessionResumed)

    # --- the answer --------------------------------------------------------------------------------------------------

    def submit(self) -> str:
        """Give the final answer; the id of its event. :meth:`.StudySession.correct` adds to it.

        ``AnswerRefusedError`` if a required answer is missing (and there is time left), or the showing is answered or
        paused.
        """
        self._check_running()
        missing, expired = self.missing, self.expired
        if missing and not expired:
            raise AnswerRefusedError(
                f"Not answered yet: {', '.join(missing)}.", "Answer it, or declare the showing not ratable."
            )
        return self._finish(
            Answered,
            answers=self.answers,
            counts=self.acceptance.to_payload(),
            delineated_ml=self.showing.delineated_ml,
            confidence=self.confidence,
            timed_out=expired,
        )

    def give_up(self, reason: str) -> str:
        """Declare the showing not ratable (wrong image, artefact); errors as for :meth:`submit`."""
        self._check_running()
        if not reason.strip():
            raise AnswerRefusedError("Declaring a showing not ratable needs a reason.", "State why it cannot be rated.")
        return self._finish(NotRated, reason=reason)

    def leave(self) -> None:
        """Record the time spent, if there is no answer yet."""
        if not self.answered:
            self._write_display()
            self._write(TimeRecorded)

    # --- inside ------------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> ShowingState:
        return self._recording.state.of(self.showing.code)

    def _check_running(self) -> None:
        """Refuse if it has its answer already, or is paused."""
        if self.answered:
            raise AnswerRefusedError(
                "This case is already answered.", "Correct the answer, with a reason, or go to the next case."
            )
        if self.paused:
            raise AnswerRefusedError("The session is paused.", "Resume it first.")

    def _check_takes_marks(self) -> None:
        self._check_running()
        if self.expired:
            raise AnswerRefusedError("The time for this case is over.", "Submit it; the answers so far count.")

    def _draft(self, question_id: str, value: Answer) -> None:
        self._check_takes_marks()
        drafts = self._state.drafts
        if question_id in drafts and drafts[question_id] == value and type(drafts[question_id]) is type(value):
            self.touch()
            return
        self._write_active(AnswerDrafted, question=question_id, value=value)

    def _finish(self, cls: type[FinalEvent], **content: Any) -> str:
        """Record the event that ends the showing. Its id is derived from study, rater and code: it exists only once."""
        self._write_display()
        self._timer.touch()
        event = self._write(
            cls,
            event_id=answer_event_id(self._recording.room.study_id, self._recording.room.rater, self.showing.code),
            marks=self.marks,
            comment=self.comment,
            shown_at=self._state.shown_at,
            answered_at=self._recording.now(),
            display=dict(self._state.display),
            software=self._recording.software,
            **content,
        )
        self._timer.pause()
        return event.event_id

    def _write_display(self) -> None:
        if self._display_waiting:
            waiting, self._display_waiting = self._display_waiting, {}
            self._display_at = self._recording.clock.monotonic()
            self._write_active(DisplayChanged, display=waiting)

    def _write_active(self, cls: type[E], **content: Any) -> E:
        """Record an event that is an activity of the rater."""
        self.touch()
        return self._write(cls, **content)

    def _write(self, cls: type[E], event_id: str = "", **content: Any) -> E:
        """Record an event with the time spent so far."""
        seconds = self._timer.seconds()
        return self._recording.write(
            cls,
            event_id,
            showing=self.showing.code,
            position=self.showing.position,
            training=self.showing.training,
            active_seconds=round(seconds.active, 3),
            idle_seconds=round(seconds.idle, 3),
            paused_seconds=round(seconds.paused, 3),
            **content,
        )
