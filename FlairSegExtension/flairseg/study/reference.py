"""Consensus reference of experts, with its history: S5's two steps, or S4's "until they agree".

**S5, two steps.** Each reader delineates alone. Later (S5: six months) every reader is shown a dot at the centre of
mass of every lesion drawn by any reader or tool, without its source, accepts or rejects it, and
delineates those that he or she accepts. The reference is the readers' second masks, combined.

**S4, until they agree.** Two readers label independently; where the Dice coefficient of their masks is below 0.85, the
case is returned to both, until it no longer is. The reference is their last masks, combined.

How masks are combined is stored in the file and in the record: ``union`` (S5 evaluates against the union of its two
experts), ``intersection`` or ``majority`` (more than half of the readers).

::

    <folder>/
      reference.json                          what was set up
      masks/<case>/<reader>_v<NNN>.nii.gz     every mask of every reader, never replaced
      references/<case>.nii.gz                the agreed reference
      events/                                 outbox; events go to the store as a study's do
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..files.atomic import all_or_none
from ..image.geometry import triple
from ..labels import LESION
from .canonical import content_sha256
from .consensus import combined, dice_of, dots_of
from .errors import ReferenceStepError, StudyError, StudyStateError, TamperedError
from .events import (
    Agreed,
    Compared,
    Delineated,
    DotJudged,
    DotsMade,
    DrawnDot,
    ReferenceCaseEvent,
    ReferenceEvent,
    ReferenceStarted,
    Returned,
    read_events,
)
from .images import labels_sha256, read_neutral_labels, read_source, read_tool, resolve, write_neutral
from .log import SQLITE_NAME, EventLog, create_store
from .records import reference_stream
from .reference_setup import (
    DELINEATE,
    DELINEATE_ACCEPTED,
    DELINEATE_AGAIN,
    JUDGE_DOTS,
    SETUP_NAME,
    TWO_STEPS,
    UNTIL_AGREEMENT,
    WAIT,
    Dot,
    ReferenceSetup,
    Task,
    read_setup,
    setup_from,
    write_setup,
)
from .room import EVENTS
from .software import software
from .timing import Clock, SystemClock, from_timestamp, timestamp

E = TypeVar("E", bound=ReferenceCaseEvent)


@dataclass(frozen=True)
class Reference:
    """The agreed reference of a case.

    Attributes
    ----------
    case : str
    path : Path
    labels : ndarray of uint8, shape (K, J, I)
        ``labels.LESION`` where the readers agree on a lesion.
    agreement : dict of str to float
        ``reader|reader`` -> Dice of their last masks.
    rounds : int
        Number of delineations.
    history : tuple of ReferenceCaseEvent
        All events of the case.
    """

    case: str
    path: Path
    labels: np.ndarray
    agreement: dict[str, float]
    rounds: int
    history: tuple[ReferenceCaseEvent, ...]


class ReferenceSession:
    """Consensus on reference masks. Not thread-safe; close it, or use it as a context.

    Parameters
    ----------
    folder : path
        With ``reference.json``, see :func:`start`.
    clock : Clock, optional
        For tests.

    Raises
    ------
    StudyStateError
        If there is no reference session.
    TamperedError
        If its set-up is not the one that it was started with.
    """

    def __init__(self, folder: str | Path, clock: Clock | None = None) -> None:
        self.folder = Path(folder)
        self._clock = clock or SystemClock()
        raw = read_setup(self.folder)
        self.setup = setup_from(raw)
        store = raw["store"]
        self._stream = reference_stream(self.setup.id)
        self._log = EventLog(self.folder / EVENTS, store if "://" in store else str(self.folder / store))
        try:
            self._events = read_events(self._log.events(self._stream))
            self._check_setup(content_sha256(raw))
        except TamperedError:
            self._log.close()
            raise
        for case in self.setup.flairs:
            self._advance(case)

    def __enter__(self) -> ReferenceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Deliver pending events and close the store."""
        self._log.flush()
        self._log.close()

    # --- tasks -------------------------------------------------------------------------------------------------------

    def tasks(self, reader: str) -> tuple[Task, ...]:
        """Return a reader's tasks by case; agreed cases are not among them."""
        self._check_reader(reader)
        found = (self._task(case, reader) for case in self.setup.flairs)
        return tuple(task for task in found if task is not None)

    def own_mask(self, case: str, reader: str) -> np.ndarray | None:
        """The reader's last mask (K, J, I), to start from when delineating again; other readers' stay hidden.

        Raises
        ------
        TamperedError
            If the file is not what was saved.
        """
        masks = self._masks(case, reader)
        return self._load(masks[-1]) if masks else None

    def dots(self, case: str) -> tuple[Dot, ...]:
        """The dots of a case, in random order of their ids; empty before the second step."""
        made = self._last(case, DotsMade)
        if made is None:
            return ()
        return tuple(Dot(d.id, d.ras) for d in sorted(made.dots, key=lambda d: d.id))

    def judged(self, case: str, reader: str) -> dict[str, bool]:
        """Dot id -> accepted, as the reader judged last."""
        return {event.dot: event.accepted for event in self._of(case, DotJudged) if event.reader == reader}

    def agreement(self, case: str) -> dict[str, float] | None:
        """``reader|reader`` -> Dice of a case's masks when they were compared last; None before that."""
        compared = self._last(case, Compared)
        return None if compared is None else dict(compared.dice)

    # --- what readers do ---------------------------------------------------------------------------------------------

    def save_mask(self, case: str, reader: str, labels: np.ndarray, active_seconds: float = 0.0) -> Path:
        """Save a reader's mask of a case; the last reader's mask starts the next step.

        Parameters
        ----------
        case, reader : str
        labels : ndarray of int, shape (K, J, I)
            Class values on the image's grid; only lesions are kept.
        active_seconds : float
            Time at work.

        Returns
        -------
        Path
            The mask's file.

        Raises
        ------
        ReferenceStepError
            If it is not this reader's turn, or the mask has a different grid.
        OutputError
            If it cannot be written.
        """
        task = self._task(case, reader)
        if task is None or task.what not in (DELINEATE, DELINEATE_ACCEPTED, DELINEATE_AGAIN):
            raise ReferenceStepError(
                f"{reader} has no mask of {case} to draw now.", "The list of tasks shows what is next."
            )
        image = read_source(resolve(self.folder, self.setup.flairs[case]))
        mask = np.where(np.asarray(labels) == LESION, np.uint8(LESION), np.uint8(0))
        if mask.shape != image.array.shape:
            raise ReferenceStepError("The mask has another grid than the image.", "Draw on the image of the case.")
        version = len(self._masks(case, reader)) + 1
        folder, name = self.folder / "masks" / case, f"{reader}_v{version:03d}.nii.gz"
        with all_or_none(folder, [name]) as drafts:
            write_neutral(drafts / name, mask, image)
        self._write(
            Delineated,
            case=case,
            reader=reader,
            round=task.round,
            version=version,
            file=f"masks/{case}/{name}",
            labels_sha256=labels_sha256(mask),
            active_seconds=float(active_seconds),
        )
        self._advance(case)
        return folder / name

    def judge(self, case: str, reader: str, dot: str, accepted: bool) -> None:
        """Accept or reject a dot; a repeated call changes it, and both stay in the history.

        Raises
        ------
        ReferenceStepError
            If there is no such dot, or it cannot be judged now.
        """
        task = self._task(case, reader)
        if task is None or task.what not in (JUDGE_DOTS, DELINEATE_ACCEPTED):
            raise ReferenceStepError(f"{reader} has no dots of {case} to judge now.", "Check the list of tasks.")
        if dot not in {d.id for d in self.dots(case)}:
            raise ReferenceStepError(f"{case} has no dot {dot}.", "Use the dots given by the session.")
        if self.judged(case, reader).get(dot) != accepted:
            self._write(DotJudged, case=case, reader=reader, dot=dot, accepted=bool(accepted))

    # --- what comes of it --------------------------------------------------------------------------------------------

    def reference(self, case: str) -> Reference | None:
        """The agreed reference; None while there is none.

        Raises
        ------
        TamperedError
            If its file is not what was agreed on.
        """
        agreed = self._last(case, Agreed)
        if agreed is None:
            return None
        history = tuple(self._of(case, ReferenceCaseEvent))
        return Reference(case, self.folder / agreed.file, self._load(agreed), dict(agreed.dice), agreed.round, history)

    def problems(self) -> list[str]:
        """Describe masks that changed since they were saved, and records that were tampered with; empty if intact."""
        found = [str(problem) for problem in self._log.verify(self._stream)]
        for event in self._events:
            if isinstance(event, (Delineated, Agreed)):
                try:
                    self._load(event)
                except StudyError as error:
                    found.append(str(error))
        return found

    # --- inside ------------------------------------------------------------------------------------------------------

    def _check_setup(self, sha256: str) -> None:
        started = next((event for event in self._events if isinstance(event, ReferenceStarted)), None)
        if started is None:
            self._write(ReferenceStarted, setup_sha256=sha256, software=software())
        elif started.setup_sha256 != sha256:
            raise TamperedError(
                f"{SETUP_NAME} was changed after the session was started.", "Restore it, or start a new session."
            )

    def _task(self, case: str, reader: str) -> Task | None:
        self._check_reader(reader)
        if case not in self.setup.flairs:
            raise ReferenceStepError(f"There is no case {case!r}.", "Check its spelling.")
        if self._last(case, Agreed) is not None:
            return None
        drawn = len(self._masks(case, reader))
        if self.setup.method == UNTIL_AGREEMENT:
            number = 1 + len(self._of(case, Returned))
            if drawn >= number:
                return Task(case, WAIT, number)
            return Task(case, DELINEATE if number == 1 else DELINEATE_AGAIN, number)
        if drawn == 0:
            return Task(case, DELINEATE, 1)
        made = self._last(case, DotsMade)
        if made is None or drawn >= 2:
            return Task(case, WAIT, min(drawn, 2))
        until = from_timestamp(made.at) + timedelta(days=self.setup.wait_days)
        if self._clock.now() < until:
            return Task(case, WAIT, 2, until)
        if len(self.judged(case, reader)) < len(self.dots(case)):
            return Task(case, JUDGE_DOTS, 2)
        return Task(case, DELINEATE_ACCEPTED, 2)

    def _advance(self, case: str) -> None:
        """Start the next step after a round's last mask; also after a crash between the two."""
        if self._last(case, Agreed) is not None:
            return
        if self.setup.method == UNTIL_AGREEMENT:
            number = 1 + len(self._of(case, Returned))
        else:
            number = 1 if self._last(case, DotsMade) is None else 2
        if any(len(self._masks(case, reader)) < number for reader in self.setup.readers):
            return
        last = {reader: self._masks(case, reader)[-1] for reader in self.setup.readers}
        masks = {reader: self._load(event) == LESION for reader, event in last.items()}
        if self.setup.method == TWO_STEPS and number == 1:
            self._make_dots(case, masks)
            return
        dice = {f"{a}|{b}": dice_of(masks[a], masks[b]) for a, b in combinations(self.setup.readers, 2)}
        self._write(Compared, case=case, round=number, dice=dice, threshold=self.setup.dice)
        if self.setup.method == UNTIL_AGREEMENT and min(dice.values()) < self.setup.dice:
            self._write(Returned, case=case, round=number, to=self.setup.readers, dice=dice)
            return
        self._agree(case, number, list(masks.values()), dice)

    def _make_dots(self, case: str, masks: Mapping[str, np.ndarray]) -> None:
        image = read_source(resolve(self.folder, self.setup.flairs[case]))
        drawn = {f"reader {reader}": np.where(mask, LESION, 0) for reader, mask in masks.items()}
        for n, tool in enumerate(self.setup.tools.get(case, ())):
            drawn[f"tool {n + 1}"] = read_tool(tool, self.folder, image)
        dots = tuple(
            DrawnDot(uuid.uuid4().hex[:12], triple(round(x, 4) for x in ras), tuple(sources))
            for ras, sources in dots_of(drawn, image.ijk_to_ras)
        )
        self._write(DotsMade, case=case, dots=dots)

    def _agree(self, case: str, number: int, masks: Sequence[np.ndarray], dice: dict[str, float]) -> None:
        image = read_source(resolve(self.folder, self.setup.flairs[case]))
        labels = np.where(combined(masks, self.setup.combine), np.uint8(LESION), np.uint8(0))
        name = f"{case}.nii.gz"
        with all_or_none(self.folder / "references", [name]) as drafts:
            write_neutral(drafts / name, labels, image)
        self._write(
            Agreed,
            case=case,
            round=number,
            dice=dice,
            combine=self.setup.combine,
            file=f"references/{name}",
            labels_sha256=labels_sha256(labels),
        )

    def _check_reader(self, reader: str) -> None:
        if reader not in self.setup.readers:
            raise ReferenceStepError(f"There is no reader {reader!r}.", f"Readers are {', '.join(self.setup.readers)}.")

    def _of(self, case: str, cls: type[E]) -> list[E]:
        return [event for event in self._events if isinstance(event, cls) and event.case == case]

    def _last(self, case: str, cls: type[E]) -> E | None:
        return next(reversed(self._of(case, cls)), None)

    def _masks(self, case: str, reader: str) -> list[Delineated]:
        return [event for event in self._of(case, Delineated) if event.reader == reader]

    def _load(self, event: Delineated | Agreed) -> np.ndarray:
        """The mask that an event names, compared with its sha256."""
        path = self.folder / event.file
        labels, _ = read_neutral_labels(path)
        if labels_sha256(labels) != event.labels_sha256:
            raise TamperedError(f"{path.name} is not the mask that was saved.", "Restore it from a backup.")
        return labels

    def _write(self, cls: type[ReferenceEvent], **content: Any) -> None:
        event = cls(reference_id=self.setup.id, at=timestamp(self._clock.now()), **content)
        self._events.append(self._log.record(self._stream, event))


def start(folder: str | Path, setup: ReferenceSetup, store: str = "") -> ReferenceSession:
    """Start a reference session in a new folder.

    Parameters
    ----------
    folder : path
        Made if need be.
    setup : ReferenceSetup
    store : str
        As for :func:`flairseg.study.lock`.

    Raises
    ------
    StudyStateError
        If there is one already.
    OutputError
        If the folder cannot be written to.
    """
    folder = Path(folder)
    if (folder / SETUP_NAME).exists():
        raise StudyStateError(f"{folder} already contains a reference session.", "Name a new folder.")
    write_setup(folder, setup, store)
    create_store(store or str(folder / SQLITE_NAME))
    return ReferenceSession(folder)
