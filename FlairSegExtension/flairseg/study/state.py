"""The state of a rater's showings, replayed from the recorded events, hence independent of crashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .events import (
    AnswerCorrected,
    AnswerDrafted,
    Answered,
    DisplayChanged,
    FinalEvent,
    MarkPlaced,
    MarkRemoved,
    MaskCorrected,
    NotRated,
    Setting,
    ShowingEvent,
    Shown,
    StudyEvent,
    TimedEvent,
)
from .records import Answer, Mark
from .timing import Seconds


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
        Question id -> the last choice, confidence and comment included.
    display : dict
        The last display settings.
    seconds : Seconds
    answer : FinalEvent or None
        The event that ended it (the first, if there are several); None: still open.
    corrections : list of AnswerCorrected
        Later changes of answers, in order.
    mask_corrections : list of MaskCorrected
    repeated_answers : list of FinalEvent
        Answers beyond the first: there should be none.
    """

    code: str
    shown_at: str | None = None
    marks: dict[str, Mark] = field(default_factory=dict)
    drafts: dict[str, Answer] = field(default_factory=dict)
    display: dict[str, Setting] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)
    answer: FinalEvent | None = None
    corrections: list[AnswerCorrected] = field(default_factory=list)
    mask_corrections: list[MaskCorrected] = field(default_factory=list)
    repeated_answers: list[FinalEvent] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether it was given up as not ratable."""
        return isinstance(self.answer, NotRated)

    def answers(self) -> dict[str, Answer]:
        """The valid answers: the first ones, with corrections applied in order."""
        answers = dict(self.answer.answers) if isinstance(self.answer, Answered) else {}
        return answers | {event.question: event.value for event in self.corrections}


@dataclass
class RaterState:
    """One rater so far.

    Attributes
    ----------
    showings : dict of str to ShowingState
        By code; only those that were shown.
    last_answered_at : str or None
    """

    showings: dict[str, ShowingState] = field(default_factory=dict)
    last_answered_at: str | None = None

    def of(self, code: str) -> ShowingState:
        """The state of a showing, created if it is new."""
        return self.showings.setdefault(code, ShowingState(code))

    def is_answered(self, code: str) -> bool:
        """Whether a showing has its answer (or was given up as not ratable)."""
        return code in self.showings and self.showings[code].answer is not None


def replay(events: Iterable[StudyEvent]) -> RaterState:
    """The state after events in their order; an event that comes twice (same id) counts once."""
    state, seen = RaterState(), set()
    for event in events:
        if event.event_id not in seen:
            seen.add(event.event_id)
            apply(state, event)
    return state


def apply(state: RaterState, event: StudyEvent) -> None:
    """Apply an event. After the answer of a showing only corrections change its state."""
    if not isinstance(event, ShowingEvent):
        return
    showing = state.of(event.showing)
    if isinstance(event, AnswerCorrected):
        showing.corrections.append(event)
    elif isinstance(event, MaskCorrected):
        showing.mask_corrections.append(event)
    elif showing.answer is None:
        _before_answer(state, showing, event)
    elif isinstance(event, FinalEvent):
        showing.repeated_answers.append(event)


def _before_answer(state: RaterState, showing: ShowingState, event: ShowingEvent) -> None:
    if isinstance(event, Shown):
        showing.shown_at = showing.shown_at or event.at
    elif isinstance(event, MarkPlaced):
        showing.marks[event.mark.id] = event.mark
    elif isinstance(event, MarkRemoved):
        showing.marks.pop(event.mark_id, None)
    elif isinstance(event, AnswerDrafted):
        showing.drafts[event.question] = event.value
    elif isinstance(event, DisplayChanged):
        showing.display.update(event.display)
    elif isinstance(event, FinalEvent):
        showing.answer = event
        state.last_answered_at = max(filter(None, (state.last_answered_at, event.answered_at)), default=None)
    if isinstance(event, TimedEvent):
        showing.seconds = Seconds(event.active_seconds, event.idle_seconds, event.paused_seconds)
