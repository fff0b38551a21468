"""A reader's view of a reference session: the tasks, one open case, and its answer.

Each call reopens the session, so that it includes other readers' changes, and may run in any thread. Masks
are exchanged on the right-handed grid that 3D Slicer shows, and stored on the image's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .case_files import SceneGrid
from .errors import ReferenceStepError
from .images import read_source, resolve
from .reference import ReferenceSession
from .reference_setup import Dot, ReferenceSetup, Task
from .timing import Clock


@dataclass(frozen=True)
class Row:
    """A case of the session, as one reader sees it.

    Attributes
    ----------
    case : str
    task : Task or None
        The reader's task; None if the case is agreed on.
    dots, judged : int
        Number of dots, and of those the reader has judged.
    dice : float or None
        Smallest agreement of two readers when their masks were compared last.
    reference : Path or None
        The agreed reference.
    """

    case: str
    task: Task | None
    dots: int = 0
    judged: int = 0
    dice: float | None = None
    reference: Path | None = None


@dataclass(frozen=True)
class Overview:
    """A session as one reader sees it; without a reader there are no rows."""

    setup: ReferenceSetup
    reader: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Work:
    """One case that a reader works on.

    Attributes
    ----------
    task : Task
    grid : SceneGrid
        Its image.
    shown : tuple of float
        Gray values shown as black and white.
    mask : ndarray of uint8, shape (K, J, I), or None
        The reader's own last mask in the scene's order; None at the first time. Other readers' are never handed out.
    dots : tuple of Dot
    judged : dict of str to bool
        Dot -> accepted.
    """

    task: Task
    grid: SceneGrid
    shown: tuple[float, float]
    mask: np.ndarray | None
    dots: tuple[Dot, ...]
    judged: dict[str, bool]


def overview(folder: str | Path, reader: str = "", clock: Clock | None = None) -> Overview:
    """Description of a session, and a reader's tasks in it.

    Raises
    ------
    StudyError
        If there is no such session or reader, or a record was tampered with.
    """
    with ReferenceSession(folder, clock) as session:
        if not reader:
            return Overview(session.setup, "", ())
        tasks = {task.case: task for task in session.tasks(reader)}
        rows = []
        for case in session.setup.flairs:
            reference = session.reference(case) if case not in tasks else None
            dice = session.agreement(case)
            rows.append(
                Row(
                    case,
                    tasks.get(case),
                    len(session.dots(case)),
                    len(session.judged(case, reader)),
                    None if dice is None else min(dice.values()),
                    None if reference is None else reference.path,
                )
            )
        return Overview(session.setup, reader, tuple(rows))


def begin(folder: str | Path, case: str, reader: str, clock: Clock | None = None) -> Work:
    """Open a case for a reader.

    Raises
    ------
    ReferenceStepError
        If the reader has no task for it.
    StudyError
        If its image or mask cannot be read.
    """
    with ReferenceSession(folder, clock) as session:
        task = next((task for task in session.tasks(reader) if task.case == case), None)
        if task is None:
            raise ReferenceStepError(f"There is no task for {case} now.", "Check the list of tasks.")
        grid = SceneGrid.of(read_source(resolve(session.folder, session.setup.flairs[case])))
        mask = session.own_mask(case, reader)
        return Work(
            task,
            grid,
            grid.display_range,
            None if mask is None else grid.turn(mask),
            session.dots(case),
            session.judged(case, reader),
        )


def save_mask(
    folder: str | Path,
    work: Work,
    reader: str,
    labels: np.ndarray,
    active_seconds: float = 0.0,
    clock: Clock | None = None,
) -> Row:
    """Save a reader's mask; return the case's new state.

    Parameters
    ----------
    labels : ndarray of int, shape (K, J, I)
        In the scene's order.
    active_seconds : float
        Time at work.

    Raises
    ------
    ReferenceStepError
        If it is not this reader's turn.
    OutputError
        If it cannot be written.
    """
    with ReferenceSession(folder, clock) as session:
        session.save_mask(work.task.case, reader, work.grid.turn(labels), active_seconds)
    seen = overview(folder, reader, clock)
    return next(row for row in seen.rows if row.case == work.task.case)


def judge(
    folder: str | Path, case: str, reader: str, dot: str, accepted: bool, clock: Clock | None = None
) -> dict[str, bool]:
    """Accept or reject a dot; return the reader's judgements of this case so far.

    Raises
    ------
    ReferenceStepError
        If there is no such dot, or it cannot be judged now.
    """
    with ReferenceSession(folder, clock) as session:
        session.judge(case, reader, dot, accepted)
        return session.judged(case, reader)
