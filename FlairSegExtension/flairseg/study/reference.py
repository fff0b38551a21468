"""A reference that experts agree on, with its history: S5's two steps, or S4's "until they agree".

**S5, two steps.** Each reader delineates alone. Later (S5: six months) every reader is shown a dot at the centre of
mass of every lesion that anyone, reader or tool, had drawn, does not learn whose it was, accepts or refuses it, and
delineates those that he or she accepts. The reference is the readers' second masks, combined.

**S4, until they agree.** Two readers label independently; where the Dice coefficient of their masks is below 0.85, the
case goes back to both, until it no longer is. The reference is their last masks, combined.

How masks are combined is said in the file and in the record: ``union`` (S5 evaluates against the union of its two
experts), ``intersection`` or ``majority`` (more than half of the readers).

::

    <folder>/
      reference.json                          what was set up
      masks/<case>/<reader>_v<NNN>.nii.gz     every mask of every reader, none ever replaced
      references/<case>.nii.gz                the agreed reference
      events/                                 outbox; events go to the store as a study's do
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..files.atomic import all_or_none
from ..labels import LESION
from .acceptance import LesionMap
from .canonical import content_sha256
from .errors import StudyError, StudyStateError, TamperedError
from .images import labels_sha256, read_neutral_labels, read_source, read_tool, resolve, write_neutral
from .log import EventLog, create_store
from .records import (
    AT,
    FORMAT,
    FORMAT_VERSION,
    REFERENCE_AGREED,
    REFERENCE_COMPARED,
    REFERENCE_DELINEATED,
    REFERENCE_DOT_JUDGED,
    REFERENCE_DOTS_MADE,
    REFERENCE_RETURNED,
    REFERENCE_STARTED,
    SOFTWARE,
    reference_stream,
)
from .room import EVENTS
from .software import software
from .state import Recorded
from .timing import Clock, SystemClock, from_timestamp, timestamp

SETUP_NAME = "reference.json"
SETUP_FORMAT = 1
SQLITE_NAME = "events.sqlite"

TWO_STEPS = "S5-two-steps"
UNTIL_AGREEMENT = "S4-until-agreement"
METHODS = (TWO_STEPS, UNTIL_AGREEMENT)

UNION = "union"
INTERSECTION = "intersection"
MAJORITY = "majority"
COMBINATIONS = (UNION, INTERSECTION, MAJORITY)

#: S4: below it a case goes back to its readers.
DICE_THRESHOLD = 0.85
#: Dots nearer to each other than this are one, mm: S5's smallest lesion is 3 mm across.
DOT_DISTANCE_MM = 3.0

#: What a reader can have to do.
DELINEATE = "delineate"
JUDGE_DOTS = "judge dots"
DELINEATE_ACCEPTED = "delineate accepted"
DELINEATE_AGAIN = "delineate again"
WAIT = "wait"


class ReferenceStepError(StudyError):
    """A step that a reference session cannot take now (not this reader's turn, no such case or dot)."""


@dataclass(frozen=True)
class ReferenceSetup:
    """What a reference session is about.

    Attributes
    ----------
    id : str
        Of the session; its stream of events carries it.
    flairs : mapping of str to str
        Case -> image, relative to the folder of ``reference.json`` or absolute.
    readers : tuple of str
        Two or more codes.
    method : str
        One of ``METHODS``.
    tools : mapping of str to sequence of str
        Case -> masks by tools, whose lesions get dots too (two steps only); ``FILE:MEANING`` says what the values mean
        (:func:`flairseg.io.label_meanings.parse_meaning`).
    combine : str
        One of ``COMBINATIONS``.
    dice : float
        Threshold of S4's rule.
    wait_days : float
        Between a case's last first-step mask and its dots (S5: about 180).
    """

    id: str
    flairs: Mapping[str, str]
    readers: tuple[str, ...]
    method: str
    tools: Mapping[str, Sequence[str]] = field(default_factory=dict)
    combine: str = UNION
    dice: float = DICE_THRESHOLD
    wait_days: float = 0.0

    def __post_init__(self) -> None:
        """Check the values; ``ValueError`` naming the first that makes no sense."""
        if not self.flairs:
            raise ValueError("there is no case")
        if len(self.readers) < 2 or len(set(self.readers)) != len(self.readers):
            raise ValueError("readers are two or more different codes")
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}, not one of {', '.join(METHODS)}")
        if self.combine not in COMBINATIONS:
            raise ValueError(f"combine is {self.combine!r}, not one of {', '.join(COMBINATIONS)}")
        if not 0 < self.dice <= 1:
            raise ValueError("dice is above 0 and at most 1")
        if not 0 <= self.wait_days <= 3650:
            raise ValueError("wait_days is 0 to 3650")
        if not set(self.tools) <= set(self.flairs):
            raise ValueError("tools names a case that is not there")
        for name in (*self.flairs, *self.readers):
            if not name or name != os.path.basename(name) or name in (".", ".."):
                raise ValueError(f"{name!r} cannot be a name: it names files")


@dataclass(frozen=True)
class Dot:
    """A place to judge; whose lesion it was is not said.

    Attributes
    ----------
    id : str
    ras : tuple of 3 float
        Centre of mass of a lesion that somebody drew, RAS mm.
    """

    id: str
    ras: tuple[float, float, float]


@dataclass(frozen=True)
class Task:
    """What a reader has to do with a case.

    Attributes
    ----------
    case : str
    what : str
        ``DELINEATE``, ``JUDGE_DOTS``, ``DELINEATE_ACCEPTED``, ``DELINEATE_AGAIN`` or ``WAIT``.
    round : int
        1 for the first delineation.
    until : datetime or None
        End of the wait.
    """

    case: str
    what: str
    round: int
    until: datetime | None = None


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
        How often it was delineated.
    history : tuple of Recorded
        All events of the case.
    """

    case: str
    path: Path
    labels: np.ndarray
    agreement: dict[str, float]
    rounds: int
    history: tuple[Recorded, ...]


class ReferenceSession:
    """Readers agreeing on reference masks. Not thread-safe; close it, or use it as a context.

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
        raw = _read_setup(self.folder)
        self.setup = _setup_from(raw)
        store = raw["store"]
        self._stream = reference_stream(self.setup.id)
        self._log = EventLog(self.folder / EVENTS, store if "://" in store else str(self.folder / store))
        self._events: list[Recorded] = list(self._log.events(self._stream))
        started = next((e for e in self._events if e.kind == REFERENCE_STARTED), None)
        sha256 = content_sha256(raw)
        if started is not None and started.payload["setup_sha256"] != sha256:
            self._log.close()
            raise TamperedError(
                f"{SETUP_NAME} was changed after the session was started.", "Put it back, or start a new session."
            )
        if started is None:
            self._write(REFERENCE_STARTED, "", setup_sha256=sha256, **{SOFTWARE: software()})
        for case in self.setup.flairs:
            self._advance(case)

    def __enter__(self) -> ReferenceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Deliver what waits, and let go of the store."""
        self._log.flush()
        self._log.close()

    # --- what is to be done ------------------------------------------------------------------------------------------

    def tasks(self, reader: str) -> tuple[Task, ...]:
        """What a reader has to do, by case; agreed cases are not among them."""
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
        made = self._last(case, REFERENCE_DOTS_MADE)
        if made is None:
            return ()
        return tuple(Dot(d["id"], tuple(d["ras"])) for d in sorted(made.payload["dots"], key=lambda d: d["id"]))

    def judged(self, case: str, reader: str) -> dict[str, bool]:
        """Dot id -> accepted, as the reader judged last."""
        return {
            e.payload["dot"]: e.payload["accepted"]
            for e in self._of(case, REFERENCE_DOT_JUDGED)
            if e.payload["reader"] == reader
        }

    def agreement(self, case: str) -> dict[str, float] | None:
        """``reader|reader`` -> Dice of a case's masks when they were compared last; None before that."""
        compared = self._last(case, REFERENCE_COMPARED)
        return None if compared is None else dict(compared.payload["dice"])

    # --- what readers do ---------------------------------------------------------------------------------------------

    def save_mask(self, case: str, reader: str, labels: np.ndarray, active_seconds: float = 0.0) -> Path:
        """Keep a reader's mask of a case; when the last reader's is there, what follows happens.

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
            If it is not this reader's turn, or the mask lies on another grid.
        OutputError
            If it cannot be written.
        """
        task = self._task(case, reader)
        if task is None or task.what not in (DELINEATE, DELINEATE_ACCEPTED, DELINEATE_AGAIN):
            raise ReferenceStepError(
                f"{reader} has no mask of {case} to draw now.", "Look at the list of tasks: it says what is next."
            )
        image = read_source(resolve(self.folder, self.setup.flairs[case]))
        mask = np.where(np.asarray(labels) == LESION, np.uint8(LESION), np.uint8(0))
        if mask.shape != image.array.shape:
            raise ReferenceStepError("The mask lies on another grid than the image.", "Draw on the image of the case.")
        version = len(self._masks(case, reader)) + 1
        folder, name = self.folder / "masks" / case, f"{reader}_v{version:03d}.nii.gz"
        with all_or_none(folder, [name]) as drafts:
            write_neutral(drafts / name, mask, image)
        self._write(
            REFERENCE_DELINEATED,
            case,
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
        """Accept or refuse a dot; again changes it, and both stay in the history.

        Raises
        ------
        ReferenceStepError
            If there is no such dot, or it is not the time for it.
        """
        task = self._task(case, reader)
        if task is None or task.what not in (JUDGE_DOTS, DELINEATE_ACCEPTED):
            raise ReferenceStepError(f"{reader} has no dots of {case} to judge now.", "Look at the list of tasks.")
        if dot not in {d.id for d in self.dots(case)}:
            raise ReferenceStepError(f"{case} has no dot {dot}.", "Take the dots that the session gives.")
        if self.judged(case, reader).get(dot) != accepted:
            self._write(REFERENCE_DOT_JUDGED, case, reader=reader, dot=dot, accepted=bool(accepted))

    # --- what comes of it --------------------------------------------------------------------------------------------

    def reference(self, case: str) -> Reference | None:
        """The agreed reference; None while there is none.

        Raises
        ------
        TamperedError
            If its file is not what was agreed on.
        """
        agreed = self._last(case, REFERENCE_AGREED)
        if agreed is None:
            return None
        return Reference(
            case,
            self.folder / agreed.payload["file"],
            self._load(agreed),
            dict(agreed.payload["dice"]),
            int(agreed.payload["round"]),
            tuple(e for e in self._events if e.payload.get("case") == case),
        )

    def problems(self) -> list[str]:
        """Masks that are not what was saved, and records that were tampered with, in words; empty if all is intact."""
        found = [str(problem) for problem in self._log.verify(self._stream)]
        for event in self._events:
            if event.kind in (REFERENCE_DELINEATED, REFERENCE_AGREED):
                try:
                    self._load(event)
                except StudyError as error:
                    found.append(str(error))
        return found

    # --- inside ------------------------------------------------------------------------------------------------------

    def _task(self, case: str, reader: str) -> Task | None:
        self._check_reader(reader)
        if case not in self.setup.flairs:
            raise ReferenceStepError(f"There is no case {case!r}.", "Check its spelling.")
        if self._last(case, REFERENCE_AGREED) is not None:
            return None
        drawn = len(self._masks(case, reader))
        if self.setup.method == UNTIL_AGREEMENT:
            number = 1 + len(self._of(case, REFERENCE_RETURNED))
            if drawn >= number:
                return Task(case, WAIT, number)
            return Task(case, DELINEATE if number == 1 else DELINEATE_AGAIN, number)
        if drawn == 0:
            return Task(case, DELINEATE, 1)
        made = self._last(case, REFERENCE_DOTS_MADE)
        if made is None or drawn >= 2:
            return Task(case, WAIT, min(drawn, 2))
        until = from_timestamp(made.payload[AT]) + timedelta(days=self.setup.wait_days)
        if self._clock.now() < until:
            return Task(case, WAIT, 2, until)
        if len(self.judged(case, reader)) < len(self.dots(case)):
            return Task(case, JUDGE_DOTS, 2)
        return Task(case, DELINEATE_ACCEPTED, 2)

    def _advance(self, case: str) -> None:
        """Do what follows from a round's last mask; also for a program that died between the two."""
        if self._last(case, REFERENCE_AGREED) is not None:
            return
        if self.setup.method == UNTIL_AGREEMENT:
            number = 1 + len(self._of(case, REFERENCE_RETURNED))
        else:
            number = 1 if self._last(case, REFERENCE_DOTS_MADE) is None else 2
        if any(len(self._masks(case, reader)) < number for reader in self.setup.readers):
            return
        last = {reader: self._masks(case, reader)[-1] for reader in self.setup.readers}
        masks = {reader: self._load(event) == LESION for reader, event in last.items()}
        if self.setup.method == TWO_STEPS and number == 1:
            self._make_dots(case, masks)
            return
        dice = {f"{a}|{b}": dice_of(masks[a], masks[b]) for a, b in combinations(self.setup.readers, 2)}
        self._write(REFERENCE_COMPARED, case, round=number, dice=dice, threshold=self.setup.dice)
        if self.setup.method == UNTIL_AGREEMENT and min(dice.values()) < self.setup.dice:
            self._write(REFERENCE_RETURNED, case, round=number, to=list(self.setup.readers), dice=dice)
            return
        self._agree(case, number, list(masks.values()), dice)

    def _make_dots(self, case: str, masks: Mapping[str, np.ndarray]) -> None:
        image = read_source(resolve(self.folder, self.setup.flairs[case]))
        drawn = {f"reader {reader}": np.where(mask, LESION, 0) for reader, mask in masks.items()}
        for n, tool in enumerate(self.setup.tools.get(case, ())):
            drawn[f"tool {n + 1}"] = read_tool(tool, self.folder, image)
        dots = [
            {"id": uuid.uuid4().hex[:12], "ras": [round(x, 4) for x in ras], "drawn_by": sources}
            for ras, sources in dots_of(drawn, image.ijk_to_ras)
        ]
        self._write(REFERENCE_DOTS_MADE, case, dots=dots)

    def _agree(self, case: str, number: int, masks: Sequence[np.ndarray], dice: dict[str, float]) -> None:
        image = read_source(resolve(self.folder, self.setup.flairs[case]))
        labels = np.where(combined(masks, self.setup.combine), np.uint8(LESION), np.uint8(0))
        name = f"{case}.nii.gz"
        with all_or_none(self.folder / "references", [name]) as drafts:
            write_neutral(drafts / name, labels, image)
        self._write(
            REFERENCE_AGREED,
            case,
            round=number,
            dice=dice,
            combine=self.setup.combine,
            file=f"references/{name}",
            labels_sha256=labels_sha256(labels),
        )

    def _check_reader(self, reader: str) -> None:
        if reader not in self.setup.readers:
            raise ReferenceStepError(f"There is no reader {reader!r}.", f"Readers are {', '.join(self.setup.readers)}.")

    def _of(self, case: str, kind: str) -> list[Recorded]:
        return [e for e in self._events if e.kind == kind and e.payload.get("case") == case]

    def _last(self, case: str, kind: str) -> Recorded | None:
        return next(iter(reversed(self._of(case, kind))), None)

    def _masks(self, case: str, reader: str) -> list[Recorded]:
        return [e for e in self._of(case, REFERENCE_DELINEATED) if e.payload["reader"] == reader]

    def _load(self, event: Recorded) -> np.ndarray:
        """The mask that an event names, compared with its sha256."""
        path = self.folder / event.payload["file"]
        labels, _ = read_neutral_labels(path)
        if labels_sha256(labels) != event.payload["labels_sha256"]:
            raise TamperedError(f"{path.name} is not the mask that was saved.", "Put it back from a backup.")
        return labels

    def _write(self, kind: str, case: str, **content: Any) -> None:
        payload = {
            FORMAT: FORMAT_VERSION,
            "reference_id": self.setup.id,
            AT: timestamp(self._clock.now()),
            **({"case": case} if case else {}),
            **content,
        }
        self._events.append(self._log.record(self._stream, kind, payload))


def start(folder: str | Path, setup: ReferenceSetup, store: str = "") -> ReferenceSession:
    """Start a reference session in a new folder.

    Parameters
    ----------
    folder : path
        Made if need be.
    setup : ReferenceSetup
    store : str
        As for :func:`flairseg.study.study.lock`.

    Raises
    ------
    StudyStateError
        If there is one already.
    OutputError
        If the folder cannot be written to.
    """
    folder = Path(folder)
    if (folder / SETUP_NAME).exists():
        raise StudyStateError(f"{folder} holds a reference session already.", "Name a new folder.")
    raw = {"flairseg_reference": SETUP_FORMAT, "store": store or SQLITE_NAME, **asdict(setup)}
    with all_or_none(folder, [SETUP_NAME]) as drafts:
        (drafts / SETUP_NAME).write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    create_store(store or str(folder / SQLITE_NAME))
    return ReferenceSession(folder)


def dice_of(one: np.ndarray, other: np.ndarray) -> float:
    """Dice coefficient of two boolean masks of one shape; two empty masks agree: 1."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 1.0 if total == 0 else float(2 * np.count_nonzero(one & other) / total)


def combined(masks: Sequence[np.ndarray], how: str) -> np.ndarray:
    """Boolean masks of one shape made into one: ``union``, ``intersection`` or ``majority`` (more than half)."""
    votes = np.sum([np.asarray(mask, bool) for mask in masks], axis=0)
    needed = {UNION: 1, INTERSECTION: len(masks), MAJORITY: len(masks) // 2 + 1}[how]
    out: np.ndarray = votes >= needed
    return out


def dots_of(
    drawn: Mapping[str, np.ndarray], ijk_to_ras: np.ndarray, distance_mm: float = DOT_DISTANCE_MM
) -> list[tuple[tuple[float, float, float], list[str]]]:
    """Centres of mass of all lesions that anyone drew; those nearer than ``distance_mm`` are one dot.

    The largest lesions come first, and smaller ones that lie near an existing dot join it.

    Parameters
    ----------
    drawn : mapping of str to ndarray, shape (K, J, I)
        Who -> class values.
    ijk_to_ras : ndarray, shape (4, 4)
        mm, RAS.
    distance_mm : float

    Returns
    -------
    list of (tuple of 3 float, list of str)
        RAS mm, and who drew a lesion there.
    """
    lesions: Iterable[tuple[float, tuple[float, float, float], str]] = (
        (lesion.volume_ml, lesion.centre_ras, who)
        for who, labels in drawn.items()
        for lesion in LesionMap(labels, ijk_to_ras).lesions
    )
    dots: list[tuple[tuple[float, float, float], list[str]]] = []
    for _, centre, who in sorted(lesions, key=lambda found: (-found[0], found[1])):
        near = next((dot for dot in dots if np.linalg.norm(np.subtract(dot[0], centre)) < distance_mm), None)
        if near is None:
            dots.append((centre, [who]))
        elif who not in near[1]:
            near[1].append(who)
    return dots


def _read_setup(folder: Path) -> dict[str, Any]:
    path = folder / SETUP_NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyStateError(
            f"{folder} holds no reference session ({error.strerror or error}).", "Start one first."
        ) from error
    except ValueError as error:
        raise TamperedError(f"{path.name} is not JSON any more ({error}).", "Put it back from a backup.") from error
    if not isinstance(raw, dict) or raw.get("flairseg_reference") != SETUP_FORMAT:
        raise StudyStateError(f"{path.name} is of another format.", "Open it with the FlairSeg that made it.")
    return raw


def _setup_from(raw: Mapping[str, Any]) -> ReferenceSetup:
    known = {key: value for key, value in raw.items() if key not in ("flairseg_reference", "store")}
    try:
        return ReferenceSetup(**{**known, "readers": tuple(known["readers"])})
    except (KeyError, TypeError, ValueError) as error:
        raise TamperedError(f"{SETUP_NAME} is not valid: {error}.", "Put it back from a backup.") from error
