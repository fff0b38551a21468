"""Executors of tasks: this process, sequentially, or the workers of a Dask cluster, with one interface."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from . import begun, tasks
from .case import Work, prepare
from .model import Answer
from .tasks import Task


@dataclass(frozen=True)
class Outcome:
    """Result of a task.

    Attributes
    ----------
    task : Task
    value : Answer or None
        Result of the task; None: its worker was lost, or did not answer.
    worker : str
        The worker.
    problem : str
        The error, if there is no value.
    """

    task: Task
    value: Answer | None
    worker: str = ""
    problem: str = ""


class Executor(Protocol):
    """Takes tasks and gives outcomes, in any order."""

    #: Mode that is passed to :class:`flairseg.cohort.case.Work`.
    mode: str
    #: Address of the dashboard; empty: none.
    dashboard: str

    def start(self, work: Work) -> None:
        """Make ready; once, before the first task."""

    def capacity(self) -> int:
        """Number of tasks to submit, so that no worker waits and the queue stays short."""

    def workers(self) -> int:
        """Number of concurrent tasks."""

    def submit(self, task: Task) -> None:
        """Take a task."""

    def next(self, timeout: float) -> Outcome | None:
        """The next outcome; None if there is none within ``timeout`` seconds."""

    def close(self) -> None:
        """End; tasks that are not done are given up."""


class InProcess:
    """One task after another in this process, each when its outcome is requested."""

    mode = begun.IN_PROCESS
    dashboard = ""

    def __init__(self, run: str) -> None:
        self._run = run
        self._waiting: deque[Task] = deque()

    def start(self, work: Work) -> None:
        """Keep what the tasks need, and open the model."""
        tasks.remember(self._run, work)
        prepare(work)

    def capacity(self) -> int:
        """One."""
        return 1

    def workers(self) -> int:
        """One."""
        return 1

    def submit(self, task: Task) -> None:
        """Put a task behind the others."""
        self._waiting.append(task)

    def next(self, timeout: float) -> Outcome | None:
        """Do the oldest task."""
        if not self._waiting:
            return None
        task = self._waiting.popleft()
        return Outcome(task, tasks.perform(self._run, task.kind, task.cases), "this process")

    def close(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        tasks.forget(self._run)
