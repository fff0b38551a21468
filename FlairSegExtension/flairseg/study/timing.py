"""Time spent: active, idle and paused seconds of one showing, from a monotonic clock.

Between two activities (a click, a key, a scrolled slice) at most ``idle_after_s`` counts as active, the rest as
idle. Wall-clock time (UTC) is recorded too, but never used for durations: clocks get adjusted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """Source of time; tests use their own."""

    def now(self) -> datetime:
        """The time of day, UTC."""

    def monotonic(self) -> float:
        """Monotonic seconds."""


class SystemClock:
    """The computer's clocks."""

    def now(self) -> datetime:
        """The time of day, UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()


def timestamp(moment: datetime) -> str:
    """ISO 8601, UTC, microseconds, ending in Z."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_timestamp(text: str) -> datetime:
    """The moment that :func:`timestamp` wrote; ``ValueError`` if it is none."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Seconds:
    """Times of a showing so far."""

    active: float = 0.0
    idle: float = 0.0
    paused: float = 0.0

    @property
    def shown(self) -> float:
        """Active and idle: what a time limit counts."""
        return self.active + self.idle


class ActivityTimer:
    """Adds up active, idle and paused seconds.

    Parameters
    ----------
    clock : Clock
    idle_after_s : float
        Longest time without activity that still counts as active.
    before : Seconds
        Times accumulated before (a resumed showing).
    """

    def __init__(self, clock: Clock, idle_after_s: float, before: Seconds = Seconds()) -> None:
        self._clock = clock
        self._idle_after = idle_after_s
        self._done = before
        self._last = clock.monotonic()
        self._paused = False

    @property
    def paused(self) -> bool:
        """Whether the clock is stopped."""
        return self._paused

    def touch(self) -> Seconds:
        """Record activity of the rater; return the times so far."""
        self._done = self.seconds()
        self._last = self._clock.monotonic()
        return self._done

    def seconds(self) -> Seconds:
        """Times accumulated so far, without activity."""
        gap = max(0.0, self._clock.monotonic() - self._last)
        done = self._done
        if self._paused:
            return Seconds(done.active, done.idle, done.paused + gap)
        active = min(gap, self._idle_after)
        return Seconds(done.active + active, done.idle + gap - active, done.paused)

    def pause(self) -> Seconds:
        """Stop; no effect the second time."""
        done = self.touch()
        self._paused = True
        return done

    def resume(self) -> Seconds:
        """Start again; no effect the second time."""
        done = self.touch()
        self._paused = False
        return done
