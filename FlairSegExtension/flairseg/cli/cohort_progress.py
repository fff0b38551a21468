"""Progress of a cohort run: a live line on a terminal, plain lines in a log, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from ..errors import FlairSegError
from .advice import advice

if TYPE_CHECKING:
    from ..cohort.events import ComparisonFinished, Ended, Event, Planned, ReviewFinished, SessionFinished, Started
    from ..cohort.model import SessionRow

#: Number of sessions over which the rate is averaged.
_WINDOW = 50
#: Seconds between two plain lines.
_LINE_S = 30.0
#: Width of a terminal from which on a bar has room.
_BAR_WIDTH = 72
DONE = "done"


class Told:
    """Observer of a run that prints its progress.

    Parameters
    ----------
    console : Console
        Of the messages.
    quiet : bool
        Errors of sessions only.
    as_json : bool
        Each event as a line of JSON on standard output.
    """

    def __init__(self, console: Console, quiet: bool = False, as_json: bool = False) -> None:
        self.console, self._quiet, self._json = console, quiet, as_json
        self._todo = self._done = self._failed = self._changes = 0
        self._times: deque[float] = deque(maxlen=_WINDOW)
        self._began = self._last_line = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        if self._json:
            sys.stdout.write(json.dumps(event.to_dict(), ensure_ascii=True) + "\n")
            sys.stdout.flush()
        getattr(self, f"_{event.name}")(event)

    def _plan(self, event: Planned) -> None:
        self._todo = len(event.plan.todo)

    def _start(self, event: Started) -> None:
        self._began = time.monotonic()
        self._times.append(self._began)
        if self._quiet:
            return
        if event.dashboard:
            self._print(f"Dashboard: {event.dashboard}")
        if self.console.is_terminal and self._todo:
            wide = self.console.width >= _BAR_WIDTH
            bar = [BarColumn(bar_width=None)] if wide else []
            self._bar = Progress(*bar, TextColumn("{task.description}"), console=self.console, expand=wide)
            self._task = self._bar.add_task(self._line(), total=self._todo)
            self._bar.start()

    def _session(self, event: SessionFinished) -> None:
        self._times.append(time.monotonic())
        self._done += 1
        if event.row.status != DONE:
            self._failed += 1
            if not self._json:
                self._show_failure(event.row)
        self._tell()

    def _change(self, event: ComparisonFinished) -> None:
        self._changes += 1
        self._tell()

    def _review(self, event: ReviewFinished) -> None:
        if self._quiet or self._json:
            return
        told = (
            ("queued", "sessions in the work list queue.csv"), ("drafted", "sessions in the drafted study"),
            ("left_out", "without a separate image, left out"), ("verdicts", "verdicts in the table"),
            ("outdated", "verdicts on earlier results, not used"), ("damaged", "verdicts that cannot be read"),
        )  # fmt: skip
        parts = [f"{count} {text}" for key, text in told if (count := getattr(event.found, key))]
        self._print(f"For readers: {'; '.join(parts) or 'nothing to review'}.")

    def _end(self, event: Ended) -> None:
        self._last_line = 0.0
        self._tell()

    def _show_failure(self, row: SessionRow) -> None:
        head = (f"Failed ({row.case}): ", "bold red")
        error = FlairSegError(row.message, row.advice, code=row.code)
        self.console.print(Text.assemble(head, error.message, " ", advice(error)), soft_wrap=True)

    def _tell(self) -> None:
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=self._line())
        elif time.monotonic() - self._last_line >= _LINE_S and not self.console.is_terminal:
            self._last_line = time.monotonic()
            self._print(self._line())

    def _line(self) -> str:
        parts = [f"{self._done}/{self._todo} sessions"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._changes:
            parts.append(f"{self._changes} compared")
        if (rate := self.rate()) is not None:
            parts.append(f"{60 * rate:.1f} per minute")
            if self._done < self._todo:
                parts.append(f"{clock((self._todo - self._done) / rate)} left")
        return " · ".join(parts)

    def rate(self) -> float | None:
        """Sessions per second, over the last ones; None before the first."""
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def _print(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)


def clock(seconds: float) -> str:
    """Readable duration: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"
