"""Steps of the self-test one after the other: a line each, a time limit for every wait, nothing that hangs."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import slicer

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
#: Longest wait for something that takes a moment in a panel, s.
PANEL_S = 30.0
#: Starting the worker process and one run of a network, on a slow computer, s.
RUN_S = 300.0


class StepSkipped(Exception):
    """A step cannot be done here, and that is no fault of the extension; the reason is its text."""


@dataclass(frozen=True)
class Step:
    """Result of one step.

    Attributes
    ----------
    name : str
    outcome : str
        :data:`OK`, :data:`FAILED` or :data:`SKIPPED`.
    seconds : float
    detail : str
        Reason of failure or skipping; empty otherwise.
    trace : str
        Location of the failure: files, lines and function names, no values.
    """

    name: str
    outcome: str
    seconds: float
    detail: str = ""
    trace: str = ""

    @property
    def line(self) -> str:
        """The step as it is printed."""
        text = f"{self.outcome:<8} {self.seconds:7.1f} s  {self.name}"
        return f"{text}: {self.detail}" if self.detail else text


class Recorder:
    """Runs steps and keeps what became of them.

    Parameters
    ----------
    write : callable, optional
        Called with each line as soon as the step has ended; default: standard output, flushed.
    """

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self.steps: list[Step] = []
        self._write = write if write is not None else _print

    @property
    def failed(self) -> list[Step]:
        """Steps that failed, in order."""
        return [step for step in self.steps if step.outcome == FAILED]

    def run(self, steps: Sequence[tuple[str, Callable[[], None]]]) -> bool:
        """Run steps that build on each other; after one that fails, the rest are skipped.

        Parameters
        ----------
        steps : sequence of (str, callable)
            Name and what is done; an exception that leaves it, or a slot or observer meanwhile, makes it fail.

        Returns
        -------
        bool
            Whether none failed.
        """
        broken = ""
        for name, action in steps:
            if broken:
                self._note(Step(name, SKIPPED, 0.0, f"after '{broken}'"))
                continue
            step = self._step(name, action)
            self._note(step)
            if step.outcome == FAILED:
                broken = name
        return not broken

    def say(self, line: str) -> None:
        """Write a line that is no step."""
        self._write(line)

    def _step(self, name: str, action: Callable[[], None]) -> Step:
        began = time.monotonic()
        try:
            with escaped_exceptions() as escaped:
                action()
                slicer.app.processEvents()
            if escaped:
                raise escaped[0]
        except StepSkipped as reason:
            return Step(name, SKIPPED, time.monotonic() - began, str(reason))
        except Exception as error:  # noqa: BLE001 - every fault is a line of the report, none ends the test
            detail = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
            places = traceback.extract_tb(error.__traceback__)
            trace = "\n".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in places)
            return Step(name, FAILED, time.monotonic() - began, detail, trace)
        return Step(name, OK, time.monotonic() - began)

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        self._write(step.line)


@contextmanager
def escaped_exceptions() -> Iterator[list[BaseException]]:
    """Collect exceptions that leave a slot or an observer in the block: Qt and VTK print these and continue."""
    found: list[BaseException] = []
    before = sys.excepthook

    def hook(kind, value, trace) -> None:
        found.append(value if isinstance(value, BaseException) else kind(value))
        before(kind, value, trace)

    sys.excepthook = hook
    try:
        yield found
    finally:
        sys.excepthook = before


def wait(condition: Callable[[], bool], otherwise: str, seconds: float = PANEL_S, label=None) -> None:
    """Let Slicer handle events until a condition holds.

    Parameters
    ----------
    condition : callable
    otherwise : str
        Error text if it does not hold in time.
    seconds : float
    label : QLabel, optional
        Its text is added to the error.

    Raises
    ------
    AssertionError
        After ``seconds``.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            said = label.text if label is not None else ""
            raise AssertionError(f"{otherwise} within {seconds:.0f} s{': ' if said else ''}{said}")
        slicer.app.processEvents()
        time.sleep(0.005)


def check(holds: bool, otherwise: str) -> None:
    """Raise an ``AssertionError`` with a description."""
    if not holds:
        raise AssertionError(otherwise)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
