"""Events of reader studies and reference sessions: one frozen dataclass for each kind, and their JSON.

Events go through :class:`flairseg.review.outbox.Outbox` to :class:`flairseg.review.store.ReviewStore`, append-only and
hash-chained. Field names are the keys of the JSON payload. :meth:`StudyEvent.to_payload` and :func:`read_event` are
inverse: an event that is read and written again has the same canonical JSON, and fields that a newer version added
stay in :attr:`StudyEvent.extra`.

A rater's events carry the *code* of a showing, never a case, an arm or a path: only the sealed key maps codes to cases.

Units and frames: times of day are ISO 8601, UTC, with microseconds and a trailing Z; durations are seconds; points are
RAS mm in the frame that was shown (marks of mirrored showings are mapped back on export).

Imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeAlias

from .errors import TamperedError
from .records import Answer, Mark

#: Version of the payloads; raised when a field changes its meaning.
FORMAT_VERSION = 1

#: Fields that are not part of the payload.
_OUTSIDE = ("event_id", "extra")

#: Value of a display setting: ``window``, ``level``, ``overlay_visible``, ``slice_ras``, ...
Setting: TypeAlias = float | bool | str | Sequence[float] | None

_CLASSES: dict[str, type[StudyEvent]] = {}


class Recorded(Protocol):
    """An event as the store or the outbox returns it."""

    @property
    def event_id(self) -> str:
        """Unique among all events."""

    @property
    def kind(self) -> str:
        """Type of the event."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """Its content as JSON has it."""


@dataclass(frozen=True, kw_only=True)
class StudyEvent:
    """Any event; ``kind`` and ``event_id`` (empty until it is recorded) are stored beside the payload.

    ``extra`` has the fields of the payload that this version does not know.
    """

    kind: ClassVar[str] = ""
    at: str
    format: int = FORMAT_VERSION
    event_id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register a kind; base classes have none."""
        cls.kind = kind
        if kind:
            _CLASSES[kind] = cls

    def to_payload(self) -> dict[str, Any]:
        """The payload as JSON has it; a field that older versions lack (its default is None) is left out if None."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _OUTSIDE}
        absent = {f.name for f in fields(self) if f.default is None and content[f.name] is None}
        return {**{name: _plain(value) for name, value in content.items() if name not in absent}, **self.extra}


@dataclass(frozen=True, kw_only=True)
class LockedStudyEvent(StudyEvent):
    """An event of a study, with the hashes that bind it to what was locked."""

    study_id: str
    protocol_sha256: str
    key_commitment: str


@dataclass(frozen=True, kw_only=True)
class RaterEvent(LockedStudyEvent):
    """An event in a rater's stream; ``monotonic_s``: seconds since the session was opened, by a monotonic clock."""

    rater: str
    order_sha256: str
    session_id: str
    monotonic_s: float


@dataclass(frozen=True, kw_only=True)
class ShowingEvent(RaterEvent):
    """An event of one showing, by its code and its position in the rater's order, from 0."""

    showing: str
    position: int
    training: bool


@dataclass(frozen=True, kw_only=True)
class TimedEvent(ShowingEvent):
    """An event of the showing on screen, with the time spent on it so far, seconds."""

    active_seconds: float
    idle_seconds: float
    paused_seconds: float


@dataclass(frozen=True, kw_only=True)
class FinalEvent(TimedEvent):
    """An event that ends a showing; its id is :func:`~flairseg.study.records.answer_event_id`.

    ``display`` has the last ``window``, ``level``, ``overlay_visible``, ``overlay_opacity``, ...; ``software`` maps
    names to versions.
    """

    shown_at: str | None
    answered_at: str
    marks: tuple[Mark, ...] = field(metadata={"read": lambda marks: tuple(Mark.from_payload(mark) for mark in marks)})
    comment: str
    display: Mapping[str, Setting]
    software: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ReferenceEvent(StudyEvent):
    """An event of a reference session."""

    reference_id: str


@dataclass(frozen=True, kw_only=True)
class ReferenceCaseEvent(ReferenceEvent):
    """An event of one case of a reference session."""

    case: str


@dataclass(frozen=True, kw_only=True)
class StudyLocked(LockedStudyEvent, kind="study.locked"):
    """The lock record; ``rooms`` and ``plans`` map each rater to the sha256 of ``room.json`` and of the order."""

    rooms: Mapping[str, str]
    plans: Mapping[str, str]
    title: str
    software: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class CaseExcluded(LockedStudyEvent, kind="study.case_excluded"):
    """A case left out of the results; ``key_was_open``: its results could be known by then."""

    case: str
    reason: str
    key_was_open: bool | None = None


@dataclass(frozen=True)
class StreamHead:
    """Number and hash of the last event of a stream."""

    sequence: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class StudyClosed(LockedStudyEvent, kind="study.closed"):
    """The study ended: rater -> the last event, and rater -> ``[answered, total]``."""

    heads: Mapping[str, StreamHead | None] = field(
        metadata={"read": lambda heads: {r: None if h is None else StreamHead(**h) for r, h in heads.items()}}
    )
    answered: Mapping[str, list[int]]
    incomplete: bool


@dataclass(frozen=True, kw_only=True)
class StudyUnsealed(LockedStudyEvent, kind="study.unsealed"):
    """The key was opened."""


@dataclass(frozen=True, kw_only=True)
class SessionStarted(RaterEvent, kind="session.started"):
    """The reading room was opened."""

    software: Mapping[str, str]
    room_sha256: str


@dataclass(frozen=True, kw_only=True)
class SessionEnded(RaterEvent, kind="session.ended"):
    """The session was closed."""


@dataclass(frozen=True, kw_only=True)
class SessionPaused(TimedEvent, kind="session.paused"):
    """The clock was stopped and the image hidden."""


@dataclass(frozen=True, kw_only=True)
class SessionResumed(TimedEvent, kind="session.resumed"):
    """The clock was resumed."""


@dataclass(frozen=True, kw_only=True)
class Shown(TimedEvent, kind="showing.shown"):
    """The showing was displayed; ``again``: not for the first time."""

    again: bool


@dataclass(frozen=True, kw_only=True)
class MarkPlaced(TimedEvent, kind="showing.mark_placed"):
    """A false-positive or false-negative mark."""

    mark: Mark = field(metadata={"read": Mark.from_payload})


@dataclass(frozen=True, kw_only=True)
class MarkRemoved(TimedEvent, kind="showing.mark_removed"):
    """A mark was removed."""

    mark_id: str


@dataclass(frozen=True, kw_only=True)
class AnswerDrafted(TimedEvent, kind="showing.answer_drafted"):
    """An autosaved choice: not the answer yet; None takes it back."""

    question: str
    value: Answer


@dataclass(frozen=True, kw_only=True)
class DisplayChanged(TimedEvent, kind="showing.display_changed"):
    """Display settings that changed."""

    display: Mapping[str, Setting]


@dataclass(frozen=True, kw_only=True)
class TimeRecorded(TimedEvent, kind="showing.time_recorded"):
    """The showing was left without an answer."""


@dataclass(frozen=True, kw_only=True)
class Answered(FinalEvent, kind="showing.answered"):
    """The answer to a showing: question id -> value.

    ``counts`` is :meth:`flairseg.study.acceptance.Acceptance.to_payload` at the time of the answer, ``delineated_ml``
    the volume of all lesions of the mask, ``confidence`` 1 to 5; ``timed_out``: the time limit ended the showing.
    """

    answers: Mapping[str, Answer]
    counts: Mapping[str, Any]
    delineated_ml: float
    confidence: int | None
    timed_out: bool


@dataclass(frozen=True, kw_only=True)
class NotRated(FinalEvent, kind="showing.failed"):
    """The showing was given up as not ratable."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class AnswerCorrected(ShowingEvent, kind="showing.answer_corrected"):
    """A change of a given answer; ``corrects_event_id`` names the event that it replaces, which stays."""

    question: str
    old_value: Answer
    value: Answer
    reason: str
    corrects_event_id: str


@dataclass(frozen=True, kw_only=True)
class MaskCorrected(ShowingEvent, kind="showing.mask_corrected"):
    """The mask was edited after the answer.

    The sha256 are those of the label arrays (:func:`flairseg.study.images.labels_sha256`), voxels are counted by class
    id, and ``file`` is the edited mask, relative to the rater's room.
    """

    before_sha256: str
    after_sha256: str
    voxels_added: Mapping[str, int]
    voxels_removed: Mapping[str, int]
    correction_active_seconds: float
    correction_idle_seconds: float
    file: str


@dataclass(frozen=True, kw_only=True)
class ReferenceStarted(ReferenceEvent, kind="reference.started"):
    """``setup_sha256``: of the content of ``reference.json``."""

    setup_sha256: str
    software: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Delineated(ReferenceCaseEvent, kind="reference.delineated"):
    """A reader's mask; ``file`` is relative to the session's folder."""

    reader: str
    round: int
    version: int
    file: str
    labels_sha256: str
    active_seconds: float


@dataclass(frozen=True)
class DrawnDot:
    """A dot and the readers who drew a lesion there; ``ras`` is the centre of mass, mm."""

    id: str
    ras: tuple[float, float, float]
    drawn_by: tuple[str, ...]

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> DrawnDot:
        """The dot that a payload holds; unknown keys are ignored."""
        x, y, z = payload["ras"]
        return cls(payload["id"], (x, y, z), tuple(payload["drawn_by"]))


@dataclass(frozen=True, kw_only=True)
class DotsMade(ReferenceCaseEvent, kind="reference.dots_made"):
    """The dots of a case's second step."""

    dots: tuple[DrawnDot, ...] = field(metadata={"read": lambda dots: tuple(map(DrawnDot.from_payload, dots))})


@dataclass(frozen=True, kw_only=True)
class DotJudged(ReferenceCaseEvent, kind="reference.dot_judged"):
    """A reader accepted or rejected a dot."""

    reader: str
    dot: str
    accepted: bool


@dataclass(frozen=True, kw_only=True)
class Compared(ReferenceCaseEvent, kind="reference.compared"):
    """Agreement of the readers' masks: ``reader|reader`` -> Dice."""

    round: int
    dice: Mapping[str, float]
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Returned(ReferenceCaseEvent, kind="reference.returned"):
    """The case is returned to its readers (``to``)."""

    round: int
    to: tuple[str, ...] = field(metadata={"read": tuple})
    dice: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Agreed(ReferenceCaseEvent, kind="reference.agreed"):
    """The reference of a case; ``file`` is relative to the session's folder."""

    round: int
    dice: Mapping[str, float]
    combine: str
    file: str
    labels_sha256: str


# --- JSON ------------------------------------------------------------------------------------------------------------


def read_event(recorded: Recorded) -> StudyEvent | None:
    """The event that a record holds; None if this version does not know its kind.

    Raises
    ------
    TamperedError
        If the payload lacks a field, or a field cannot be what it holds.
    """
    cls, payload = _CLASSES.get(recorded.kind), recorded.payload
    if cls is None:
        return None
    known = {f.name: f for f in fields(cls) if f.name not in _OUTSIDE}
    missing = [name for name, f in known.items() if name not in payload and f.default is MISSING]
    if missing:
        raise _unreadable(recorded, f"it lacks {', '.join(missing)}")
    try:
        values = {name: f.metadata.get("read", _same)(payload[name]) for name, f in known.items() if name in payload}
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(recorded, f"{error} is wrong or missing") from error
    extra = {name: value for name, value in payload.items() if name not in known}
    return cls(**values, event_id=recorded.event_id, extra=extra)


def read_events(recorded: Iterable[Recorded]) -> list[StudyEvent]:
    """The events of records, those of unknown kinds left out; errors as :func:`read_event`."""
    return [event for event in map(read_event, recorded) if event is not None]


def _same(value: Any) -> Any:
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mark):
        return value.to_payload()
    if isinstance(value, (DrawnDot, StreamHead)):
        return _plain(asdict(value))
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def _unreadable(recorded: Recorded, problem: str) -> TamperedError:
    return TamperedError(
        f"The record {recorded.event_id} ({recorded.kind}) cannot be read: {problem}.",
        "Stop rating, keep the folder as it is, and ask the coordinator to check the study.",
        code="record-altered",
    )
