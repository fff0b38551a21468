"""What has happened so far, read back from a rater's events: the same after a kill -9 as without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .records import (
    ACTIVE_SECONDS,
    ANSWER_CORRECTED,
    ANSWER_DRAFTED,
    ANSWERED,
    ANSWERED_AT,
    ANSWERS,
    AT,
    DISPLAY,
    DISPLAY_CHANGED,
    FAILED,
    IDLE_SECONDS,
    MARK,
    MARK_ID,
    MARK_PLACED,
    MARK_REMOVED,
    MASK_CORRECTED,
    PAUSED_SECONDS,
    QUESTION,
    SESSION_STARTED,
    SHOWING,
    SHOWN,
    VALUE,
    Answer,
    Mark,
)
from .timing import Seconds


class Recorded(Protocol):
    """An event as the store or the outbox gives it."""

    @property
    def event_id(self) -> str:
        """Unique among all events."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """What belongs to it."""


@dataclass
class ShowingState:
    """One showing so far.

    Attributes
    ----------
    code : str
    shown_at : str or None
        When it was first on screen, ISO 8601 UTC.
    marks : dict of str to Mark
        By id, in the order in which they were placed.
    drafts : dict of str to Answer
        Question id -> the last thing chosen; confidence and comment among them.
    display : dict
        The last display state.
    seconds : Seconds
    answer : Recorded or None
        The event that answered it (the first, if there are several); None: still open.
    failed : bool
        It was answered as not ratable.
    corrections : list of Recorded
        Later changes of answers, in order.
    mask_corrections : list of Recorded
    repeated_answers : list of Recorded
        Answer events beyond the first: there should be none.
    """

    code: str
    shown_at: str | None = None
    marks: dict[str, Mark] = field(default_factory=dict)
    drafts: dict[str, Answer] = field(default_factory=dict)
    display: dict[str, Any] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)
    answer: Recorded | None = None
    failed: bool = False
    corrections: list[Recorded] = field(default_factory=list)
    mask_corrections: list[Recorded] = field(default_factory=list)
    repeated_answers: list[Recorded] = field(default_factory=list)

    @property
    def answered_at(self) -> str | None:
        """When it was answered, ISO 8601 UTC."""
        return None if self.answer is None else self.answer.payload.get(ANSWERED_AT)

    def answers(self) -> dict[str, Answer]:
        """The answers that hold: the first ones, with corrections applied in order."""
        if self.answer is None:
            return {}
        answers = dict(self.answer.payload.get(ANSWERS, {}))
        for event in self.corrections:
            answers[event.payload[QUESTION]] = event.payload[VALUE]
        return answers


@dataclass
class RaterState:
    """One rater so far.

    Attributes
    ----------
    showings : dict of str to ShowingState
        By code; only those that were shown.
    sessions : list of Recorded
        Starts of sittings.
    last_answered_at : str or None
    """

    showings: dict[str, ShowingState] = field(default_factory=dict)
    sessions: list[Recorded] = field(default_factory=list)
    last_answered_at: str | None = None

    def of(self, code: str) -> ShowingState:
        """The state of a showing, made if it is new."""
        return self.showings.setdefault(code, ShowingState(code))

    def is_answered(self, code: str) -> bool:
        """Whether a showing has its answer (or was given up as not ratable)."""
        return code in self.showings and self.showings[code].answer is not None


def replay(events: Iterable[Recorded]) -> RaterState:
    """The state after events in their order; an event that comes twice (same id) counts once."""
    state, seen = RaterState(), set()
    for event in events:
        if event.event_id not in seen:
            seen.add(event.event_id)
            apply(state, event)
    return state


def apply(state: RaterState, event: Recorded) -> None:
    """One more event. What comes for a showing after its answer changes nothing but corrections."""
    payload = event.payload
    if event.kind == SESSION_STARTED:
        state.sessions.append(event)
    code = payload.get(SHOWING)
    if code is None:
        return
    showing = state.of(code)
    if event.kind == ANSWER_CORRECTED:
        showing.corrections.append(event)
        return
    if event.kind == MASK_CORRECTED:
        showing.mask_corrections.append(event)
        return
    if showing.answer is not None:
        if event.kind in (ANSWERED, FAILED):
            showing.repeated_answers.append(event)
        return
    if event.kind == SHOWN:
        showing.shown_at = showing.shown_at or payload.get(AT)
    elif event.kind == MARK_PLACED:
        mark = Mark.from_payload(payload[MARK])
        showing.marks[mark.id] = mark
    elif event.kind == MARK_REMOVED:
        showing.marks.pop(payload[MARK_ID], None)
    elif event.kind == ANSWER_DRAFTED:
        showing.drafts[payload[QUESTION]] = payload[VALUE]
    elif event.kind == DISPLAY_CHANGED:
        showing.display.update(payload[DISPLAY])
    elif event.kind in (ANSWERED, FAILED):
        showing.answer = event
        showing.failed = event.kind == FAILED
        state.last_answered_at = max(filter(None, (state.last_answered_at, payload.get(ANSWERED_AT))), default=None)
    if ACTIVE_SECONDS in payload:
        showing.seconds = Seconds(payload[ACTIVE_SECONDS], payload[IDLE_SECONDS], payload[PAUSED_SECONDS])
