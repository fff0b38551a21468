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
class Planned:
    """The plan, and the number of concurrent sessions."""

    name: ClassVar[str] = "plan"
    plan: Plan
    workers: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"event": self.name, **self.plan.to_dict(self.workers)}


@dataclass(frozen=True)
class Started:
    """The workers start; ``dashboard`` is their address, empty: none."""

    name: ClassVar[str] = "start"
    workers: int
    dashboard: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"event": self.name, "workers": self.workers, "dashboard": self.dashboard}


@dataclass(frozen=True)
class SessionFinished:
    """A session has its row."""

    name: ClassVar[str] = "session"
    row: SessionRow

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"event": self.name, **self.row.flat(), "advice": self.row.advice}


@dataclass(frozen=True)
class ComparisonFinished:
    """A comparison of two sessions has its row."""

    name: ClassVar[str] = "change"
    row: ChangeRow

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"event": self.name, **self.row.flat()}


@dataclass(frozen=True)
class ReviewFinished:
    """Work list, study and verdicts of readers are done."""

    name: ClassVar[str] = "review"
    found: Reviewed

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"event": self.name, **vars(self.found)}


@dataclass(frozen=True)
class Ended:
    """The run is over: sessions by status, and how long it took."""

    name: ClassVar[str] = "end"
    sessions: Mapping[str, int]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"event": self.name, "sessions": self.sessions, "seconds": self.seconds}


Event = Planned | Started | SessionFinished | ComparisonFinished | ReviewFinished | Ended
Listener = Callable[[Event], None]
