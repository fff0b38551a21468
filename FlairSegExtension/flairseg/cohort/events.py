"""Events of a run; :meth:`to_dict` of an event is its line of ``flairseg cohort --json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .model import ChangeRow, SessionRow
from .plan import Plan

if TYPE_CHECKING:
    from .review import Reviewed


@dataclass(frozen=True)
class _Event:
    """Any event; ``name`` is its kind."""

    name: ClassVar[str]

    def content(self) -> Mapping[str, Any]:
        """What its line holds besides the kind."""
        return vars(self)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"event": self.name, **self.content()}


@dataclass(frozen=True)
class Planned(_Event):
    """The plan, and the number of concurrent sessions."""

    name: ClassVar[str] = "plan"
    plan: Plan
    workers: int

    def content(self) -> Mapping[str, Any]:
        """The plan's counts."""
        return self.plan.to_dict(self.workers)


@dataclass(frozen=True)
class Started(_Event):
    """The workers start; ``dashboard`` is their address, empty: none."""

    name: ClassVar[str] = "start"
    workers: int
    dashboard: str


@dataclass(frozen=True)
class SessionFinished(_Event):
    """A session has its row."""

    name: ClassVar[str] = "session"
    row: SessionRow

    def content(self) -> Mapping[str, Any]:
        """Its row in ``cohort.csv``, and the advice."""
        return {**self.row.flat(), "advice": self.row.advice}


@dataclass(frozen=True)
class ComparisonFinished(_Event):
    """A comparison of two sessions has its row."""

    name: ClassVar[str] = "change"
    row: ChangeRow

    def content(self) -> Mapping[str, Any]:
        """Its row in ``changes.csv``."""
        return self.row.flat()


@dataclass(frozen=True)
class ReviewFinished(_Event):
    """Work list, study and verdicts of readers are done."""

    name: ClassVar[str] = "review"
    found: Reviewed

    def content(self) -> Mapping[str, Any]:
        """The counts."""
        return vars(self.found)


@dataclass(frozen=True)
class Ended(_Event):
    """The run is over: sessions by status, and how long it took."""

    name: ClassVar[str] = "end"
    sessions: Mapping[str, int]
    seconds: float


Event = Planned | Started | SessionFinished | ComparisonFinished | ReviewFinished | Ended
Listener = Callable[[Event], None]
