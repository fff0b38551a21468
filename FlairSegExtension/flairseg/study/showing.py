"""The showing on a rater's screen, and the rater's progress."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .acceptance import LesionMap
from .images import read_neutral_labels
from .room import RoomShowing


@dataclass(frozen=True)
class Progress:
    """A rater's progress.

    Attributes
    ----------
    answered, total : int
        Showings that count.
    training_answered, training_total : int
        Training showings.
    """

    answered: int
    total: int
    training_answered: int
    training_total: int

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return self.answered == self.total and self.training_answered == self.training_total


class Showing:
    """The showing on screen: two neutral files and the information that may be displayed.

    Attributes
    ----------
    code, caption : str
        ``caption`` is what the rater may read.
    position : int
        From 0, training included.
    training : bool
    feedback : str
        For after a training case's answer.
    flair, labels : Path
        Image and mask; they are gone when the showing is left.
    """

    def __init__(self, entry: RoomShowing, flair: Path, labels: Path) -> None:
        self.code = entry.code
        self.caption = entry.caption
        self.position = entry.position
        self.training = entry.training
        self.feedback = entry.feedback
        self.flair = flair
        self.labels = labels
        self._array, self._ijk_to_ras = read_neutral_labels(labels)

    @cached_property
    def lesions(self) -> LesionMap:
        """The delineated lesions, numbered, and which one is at a point."""
        return LesionMap(self._array, self._ijk_to_ras)

    @property
    def label_array(self) -> np.ndarray:
        """The mask, (K, J, I) uint8; treat as read-only."""
        return self._array

    @property
    def ijk_to_ras(self) -> np.ndarray:
        """4 x 4, mm, RAS."""
        return self._ijk_to_ras

    @property
    def delineated_ml(self) -> float:
        """Volume of all lesions of the mask, ml."""
        return sum(lesion.volume_ml for lesion in self.lesions.lesions)
