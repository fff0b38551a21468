"""Set-up of a reference session: tasks and dots of its readers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..files.atomic import all_or_none
from .errors import StudyStateError, TamperedError
from .log import SQLITE_NAME

SETUP_NAME = "reference.json"
SETUP_FORMAT = 1

TWO_STEPS = "S5-two-steps"
UNTIL_AGREEMENT = "S4-until-agreement"
METHODS = (TWO_STEPS, UNTIL_AGREEMENT)

UNION = "union"
INTERSECTION = "intersection"
MAJORITY = "majority"
COMBINATIONS = (UNION, INTERSECTION, MAJORITY)

#: S4: below it a case is returned to its readers.
DICE_THRESHOLD = 0.85
#: Tasks of a reader.
DELINEATE = "delineate"
JUDGE_DOTS = "judge dots"
DELINEATE_ACCEPTED = "delineate accepted"
DELINEATE_AGAIN = "delineate again"
WAIT = "wait"


@dataclass(frozen=True)
class ReferenceSetup:
    """Definition of a reference session.

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
        Case -> masks by tools, whose lesions get dots too (two steps only); ``FILE:MEANING`` gives the meaning of the
        values (:func:`flairseg.io.label_meanings.parse_meaning`).
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
        """Check the values; ``ValueError`` naming the first invalid one."""
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
    """A position to judge, without the source of its lesion.

    Attributes
    ----------
    id : str
    ras : tuple of 3 float
        Centre of mass of a delineated lesion, RAS mm.
    """

    id: str
    ras: tuple[float, float, float]


@dataclass(frozen=True)
class Task:
    """A reader's task for a case.

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


def write_setup(folder: Path, setup: ReferenceSetup, store: str) -> None:
    """Write ``reference.json``; ``OutputError`` if the folder cannot be written to."""
    raw = {"flairseg_reference": SETUP_FORMAT, "store": store or SQLITE_NAME, **asdict(setup)}
    with all_or_none(folder, [SETUP_NAME]) as drafts:
        (drafts / SETUP_NAME).write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_setup(folder: Path) -> dict[str, Any]:
    """Content of ``reference.json``; ``StudyStateError`` if there is none, ``TamperedError`` if it was damaged."""
    path = folder / SETUP_NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyStateError(
            f"{folder} contains no reference session ({error.strerror or error}).", "Start one first."
        ) from error
    except ValueError as error:
        raise TamperedError(f"{path.name} is no longer JSON ({error}).", "Restore it from a backup.") from error
    if not isinstance(raw, dict) or raw.get("flairseg_reference") != SETUP_FORMAT:
        raise StudyStateError(
            f"{path.name} is of another format.", "Open it with the version of FlairSeg that made it."
        )
    return raw


def setup_from(raw: Mapping[str, Any]) -> ReferenceSetup:
    """The set-up in the content of ``reference.json``; ``TamperedError`` if it is not valid."""
    known = {key: value for key, value in raw.items() if key not in ("flairseg_reference", "store")}
    try:
        return ReferenceSetup(**{**known, "readers": tuple(known["readers"])})
    except (KeyError, TypeError, ValueError) as error:
        raise TamperedError(f"{SETUP_NAME} is not valid: {error}.", "Restore it from a backup.") from error
