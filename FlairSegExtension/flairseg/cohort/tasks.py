"""Tasks run in a worker: a task's name and a case's name are sent, the worker knows the rest."""

from __future__ import annotations

from dataclasses import dataclass

from ..segmentation.memory import release_memory
from .case import Work, work_on
from .model import Answer

#: Kinds of tasks. ``nothing`` measures what scheduling costs.
SEGMENT, FOLLOW, NOTHING = "segment", "follow", "nothing"


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes
    ----------
    kind : str
        :data:`SEGMENT`, :data:`FOLLOW` or :data:`NOTHING`.
    cases : tuple of str
        Its case, or the two that are compared.
    tries : int
        Number of earlier submissions.
    avoid : str
        Worker that failed at it.
    """

    kind: str
    cases: tuple[str, ...]
    tries: int = 0
    avoid: str = ""

    @property
    def key(self) -> str:
        """Its name on a scheduler and its dashboard."""
        return f"{self.kind}-{'_since_'.join(reversed(self.cases))}" + (f"-{self.tries}" if self.tries else "")


_works: dict[str, Work] = {}


def remember(run: str, work: Work) -> None:
    """Configuration of this process for the tasks of a run."""
    _works[run] = work


def forget(run: str) -> None:
    """The run is over."""
    _works.pop(run, None)


def perform(run: str, kind: str, cases: tuple[str, ...]) -> Answer:
    """Do a task of a run.

    Returns
    -------
    Answer
        As :func:`flairseg.cohort.case.work_on` and :func:`flairseg.cohort.follow.compare`; empty for ``nothing``.
    """
    if kind == NOTHING:
        return Answer()
    work = _works[run]
    try:
        if kind == SEGMENT:
            return work_on(cases[0], work)
        from .follow import compare

        return compare(cases[0], cases[1], work)
    finally:
        release_memory()
