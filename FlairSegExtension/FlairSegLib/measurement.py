"""What is known about a segmentation node right now: voxels, lesions, edits. Taken in a thread, shown by the panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from flairseg.labels import CLASSES, LESION, NORMAL_WMH
from flairseg.lesions import LesionMap, count_edits, count_voxels, find_lesions

from .segment_voxels import Grid, Snapshot

if TYPE_CHECKING:
    from .scene_bridge import KeptAnswer

#: Classes of which single regions are listed.
LISTED = (LESION, NORMAL_WMH)


@dataclass(frozen=True)
class Measurement:
    """One state of a segmentation.

    Attributes
    ----------
    grid : Grid
    labels : ndarray of uint8, shape (K, J, I)
    voxels : ndarray of int, shape (4,)
        Voxels of each class 0..3.
    regions : LesionMap
        Lesions and regions of normal WMH.
    edits : dict of int to (int, int)
        Class to voxels (added, removed) relative to the model's own answer.
    """

    grid: Grid
    labels: np.ndarray
    voxels: np.ndarray
    regions: LesionMap
    edits: dict[int, tuple[int, int]]

    @property
    def edited(self) -> bool:
        """Whether any voxel differs from the model's answer."""
        return any(added or removed for added, removed in self.edits.values())

    def volume_ml(self, value: int) -> float:
        """Volume of a class in millilitres."""
        return float(self.voxels[value]) * self.grid.voxel_mm3 / 1000

    def count(self, value: int) -> int:
        """Regions of a class."""
        return sum(region.value == value for region in self.regions.lesions)


@dataclass(frozen=True)
class Stored:
    """What the model answered, unpacked.

    Attributes
    ----------
    probabilities : ndarray of float16, shape (4, K, J, I), optional
    original : ndarray of uint8, shape (K, J, I), optional
        Its labels; what was loaded, where nobody kept them.
    """

    probabilities: np.ndarray | None = None
    original: np.ndarray | None = None

    @classmethod
    def of(cls, kept: KeptAnswer | None) -> Stored:
        """Unpack what the scene keeps; takes a second for a large volume."""
        answer = None if kept is None else kept.answer()
        return cls() if answer is None else cls(answer.full_probabilities(), answer.full_labels())


def measure_with(snapshot: Snapshot, stored: Stored, previous: LesionMap | None) -> tuple[Measurement, Stored]:
    """:func:`measure`, and what was stored as it fits the segmentation: what edits are told from then on."""
    probabilities, original = stored.probabilities, stored.original
    shape = snapshot.grid.shape
    if probabilities is not None and probabilities.shape[1:] != shape:
        probabilities = None
    if original is not None and original.shape != shape:
        original = None
    measured = measure(snapshot, probabilities, original, previous)
    return measured, Stored(probabilities, measured.labels if original is None else original)


def measure(
    snapshot: Snapshot,
    probabilities: np.ndarray | None,
    original: np.ndarray | None,
    previous: LesionMap | None = None,
) -> Measurement:
    """Count and measure; numpy alone, so that it may run in a thread.

    Parameters
    ----------
    snapshot : Snapshot
    probabilities : ndarray, shape (4, K, J, I), optional
    original : ndarray of uint8, shape (K, J, I), optional
        The model's answer; without it nothing counts as edited.
    previous : LesionMap, optional
        Of the state before, so that lesions keep their numbers.
    """
    labels = snapshot.labels()
    values = [c.value for c in CLASSES]
    return Measurement(
        snapshot.grid,
        labels,
        count_voxels(labels),
        find_lesions(labels, snapshot.grid.ijk_to_ras, probabilities, LISTED, previous),
        count_edits(original, labels, values) if original is not None else dict.fromkeys(values, (0, 0)),
    )
