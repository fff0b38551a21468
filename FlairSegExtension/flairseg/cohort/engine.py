"""The loop of a run: submits tasks, collects rows, and keeps the tables up to date, for 1 or 10,000 sessions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from ..errors import FlairSegError, WorkerError
from . import begun, follow
from .case import Work
from .events import ComparisonFinished, Listener, SessionFinished
from .executors import Executor, Outcome
from .layout import Layout
from .model import DONE, ChangeRow, SessionRow
from .tables import write_tables
from .tasks import FOLLOW, SEGMENT, Task

#: Errors that another computer may not have: the session is tried once more, elsewhere.
ELSEWHERE = frozenset(
    {"not-enough-memory", "device", "network-failed", "worker", "unexpected-error", "input-not-readable"}
)  # fmt: skip
#: Number of resubmissions of a task without an answer.
MOST_LOSSES = 5
#: Tables are rewritten after so many seconds, and not more often than this share of the time allows.
TABLES_S, TABLES_SHARE = 10.0, 1 / 30


class Engine:
    """The state of a run.

    Parameters
    ----------
    work : Work
    executor : Executor
    rows, changes : dict
        Existing rows; both grow.
    listener : callable
        Called with each event.
    following : bool
        Compare the sessions of a subject.
    retry_failed : bool
        Try comparisons again that failed.
    """

    def __init__(
        self,
        work: Work,
        executor: Executor,
        rows: dict[str, SessionRow],
        changes: dict[str, ChangeRow],
        listener: Listener,
        following: bool = True,
        retry_failed: bool = False,
    ) -> None:
        self._work, self._executor, self._listener = work, executor, listener
        self.rows, self.changes = rows, changes
        self._following, self._retry_failed = following, retry_failed
        self._queue: deque[Task] = deque()
        self._in_flight: set[str] = set()
        self._open: dict[str, set[str]] = {}
        self._cases: dict[str, list[str]] = {}
        for case, session in work.shown.items():
            self._cases.setdefault(session.subject, []).append(case)
        self._changes: dict[str, set[str]] = {}
        for name, change in changes.items():
            self._changes.setdefault(change.subject, set()).add(name)
        self._tables_due = time.monotonic() + TABLES_S
        self.finished: list[str] = []

    @property
    def _layout(self) -> Layout:
        return self._work.layout

    def run(self, todo: Mapping[str, str]) -> None:
        """Segment these sessions and compare those of a subject.

        Parameters
        ----------
        todo : dict of str to str
            Case to why.

        Raises
        ------
        FlairSegError
            Errors that every further session would meet: a full disk, a lost scheduler.
        KeyboardInterrupt
            Passed on; what is finished is kept.
        """
        self._queue.extend(Task(SEGMENT, (case,)) for case in todo)
        for case in todo:
            self._open.setdefault(self._work.shown[case].subject, set()).add(case)
        if self._following:
            for subject in self._cases.keys() - self._open.keys():
                self._compare(subject)
        try:
            if self._queue:
                self._executor.start(self._work)
            self._drive()
        finally:
            self._executor.close()
            for case in self._in_flight:
                # Ended with the run, without an error.
                begun.end(self._layout, case)

    def _drive(self) -> None:
        while self._queue or self._in_flight:
            room = self._executor.capacity() - len(self._in_flight)
            while self._queue and room > 0:
                task = self._queue.popleft()
                self._in_flight.add(_name(task))
                self._executor.submit(task)
                room -= 1
            outcome = self._executor.next(timeout=1.0)
            if outcome is not None:
                self._take(outcome)
            self._keep_tables()

    def _take(self, outcome: Outcome) -> None:
        task = outcome.task
        self._in_flight.discard(_name(task))
        if outcome.value is None:
            if task.tries >= MOST_LOSSES:
                raise WorkerError(
                    f"No worker answered a task that was submitted {task.tries + 1} times ({outcome.problem}).",
                    "Check the workers' logs: do they have this version of FlairSeg, and enough memory?",
                    code="workers-lost",
                )
            self._queue.appendleft(replace(task, tries=task.tries + 1))
            return
        if (fatal := outcome.value.fatal) is not None:
            raise FlairSegError(fatal.message, fatal.advice, code=fatal.code)
        if (row := outcome.value.row) is not None:
            self._take_row(row, outcome)
        elif (change := outcome.value.change) is not None:
            self.changes[change.name] = change
            self._changes.setdefault(change.subject, set()).add(change.name)
            self._listener(ComparisonFinished(change))

    def _take_row(self, row: SessionRow, outcome: Outcome) -> None:
        task = outcome.task
        self.rows[row.case] = row
        if row.code in ELSEWHERE and task.tries == 0 and self._executor.workers() > 1:
            self._queue.append(replace(task, tries=1, avoid=outcome.worker))
            return
        self.finished.append(row.case)
        self._listener(SessionFinished(row))
        subject = row.session.subject
        waiting = self._open.get(subject, set())
        waiting.discard(row.case)
        if not waiting and self._following:
            self._compare(subject)

    def _compare(self, subject: str) -> None:
        """Queue the comparisons of a subject that are not current; take those away that are wanted no more."""
        own = [self.rows[case] for case in self._cases[subject] if case in self.rows]
        wanted = {plan.name: plan for plan in (follow.planned(a, b) for a, b in follow.pairs(own))}
        for name in self._changes.get(subject, set()) - wanted.keys():
            follow.remove(self._layout, self.changes.pop(name))
        for name, plan in wanted.items():
            there = self.changes.get(name)
            if there is None or not follow.is_current(self._layout, there, plan, self._retry_failed):
                self._queue.append(Task(FOLLOW, (plan.first, plan.last)))

    def _keep_tables(self) -> None:
        if time.monotonic() < self._tables_due:
            return
        began = time.monotonic()
        write_tables(self._layout, self.rows, self.changes)
        spent = time.monotonic() - began
        self._tables_due = time.monotonic() + max(TABLES_S, spent / TABLES_SHARE)

    def counts(self) -> dict[str, int]:
        """Sessions that this run finished, by status."""
        statuses = [self.rows[case].status for case in self.finished]
        return {status: statuses.count(status) for status in dict.fromkeys(statuses)} or {DONE: 0}


def _name(task: Task) -> str:
    return task.cases[0] if task.kind == SEGMENT else task.key
