"""Current state of a segmentation node: voxels, lesions, edits. Measured in a thread, shown by the panel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from flairseg.anatomy.lesion_table import LesionRow, Measured, lesion_table, table_csv
from flairseg.anatomy.packing import unpack_regions
from flairseg.image.geometry import VolumeGeometry
from flairseg.labels import CLASSES, LESION, NORMAL_WMH
from flairseg.lesions.boxes import count_voxels
from flairseg.lesions.components import LesionMap, find_lesions
from flairseg.lesions.edits import count_edits

from .segment_voxels import Snapshot

if TYPE_CHECKING:
    from flairseg.anatomy.regions import RegionMap
    from flairseg.models.lesion_confidence import LesionConfidence

    from .kept_answers import KeptAnswer

#: Classes of which single regions are listed.
LISTED = (LESION, NORMAL_WMH)
#: More regions than this are noise.
MOST_MEASURED = 2000


@dataclass(frozen=True)
class Measurement:
    """One state of a segmentation.

    Attributes
    ----------
    grid : VolumeGeometry
    labels : ndarray of uint8, shape (K, J, I)
    voxels : ndarray of int, shape (4,)
        Voxels of each class 0..3.
    regions : LesionMap
        Lesions and regions of normal WMH.
    edits : dict of int to (int, int)
        Class to voxels (added, removed) relative to the model's own answer.
    table : dict of int to LesionRow
        Diameter, parts and region of each lesion and region of normal WMH, by its number; empty where there are more
        than :data:`MOST_MEASURED`, or the packages that measure them are not installed.
    located : bool
        Whether the regions of the brain are known: else each row's is ``unknown``.
    """

    grid: VolumeGeometry
    labels: np.ndarray
    voxels: np.ndarray
    regions: LesionMap
    edits: dict[int, tuple[int, int]]
    table: dict[int, LesionRow] = field(default_factory=dict)
    located: bool = False

    @property
    def lesion_rows(self) -> list[LesionRow]:
        """Rows of the lesions alone, largest first."""
        return [row for row in self.table.values() if row.value == LESION]

    @property
    def edited(self) -> bool:
        """Whether any voxel differs from the model's answer."""
        return any(added or removed for added, removed in self.edits.values())

    @property
    def contents(self) -> str:
        """Fingerprint of what is drawn: voxels of each class, and of each lesion and region of normal WMH.

        The same for a segmentation that was saved, moved or stored in another order of voxels.
        """
        classes = [int(count) for count in self.voxels[1:]]
        regions = sorted((int(region.value), int(region.voxels)) for region in self.regions.lesions)
        return hashlib.sha256(repr((classes, regions)).encode()).hexdigest()[:32]

    def table_text(self, case: str) -> str:
        """The table as CSV text, see :func:`flairseg.anatomy.lesion_table.table_csv`; regions empty where unknown."""
        rows = self.table.values()
        return table_csv(rows if self.located else [replace(row, region="") for row in rows], case)

    def volume_ml(self, value: int) -> float:
        """Volume of a class in millilitres."""
        return float(self.voxels[value]) * self.grid.voxel_volume_ml

    def count(self, value: int) -> int:
        """Regions of a class."""
        return sum(region.value == value for region in self.regions.lesions)


@dataclass(frozen=True)
class Stored:
    """The model's result, unpacked.

    Attributes
    ----------
    probabilities : ndarray of float16, shape (4, K, J, I), optional
    original : ndarray of uint8, shape (K, J, I), optional
        Its labels; those that were loaded, if not stored.
    disagreement : ndarray of float16, shape (K, J, I), optional
        Of an ensemble's members.
    regions : RegionMap, optional
        Of the volume, see :mod:`flairseg.anatomy`.
    confidence : LesionConfidence, optional
        By the model's card: see :attr:`flairseg.lesions.components.Lesion.drawn_share`.
    min_lesion_mm3 : float, optional
        Minimum volume of a lesion, by the model's card.
    beyond : ndarray of bool, shape (K, J, I), optional
        Voxels beyond the margin around the brain, see :attr:`flairseg.image.packed.CompactAnswer.beyond`.
    fill_holes_in : str
        Plane in whose slices the model's clean-up fills holes; empty: in none.
    thresholds : tuple of float, optional
        Probabilities at which a reader had the lesions redrawn; see
        :func:`FlairSegLib.kept_answers.lesion_thresholds_of`.
    """

    probabilities: np.ndarray | None = None
    original: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    regions: RegionMap | None = None
    confidence: LesionConfidence | None = None
    min_lesion_mm3: float | None = None
    thresholds: tuple[float, float] | None = None
    beyond: np.ndarray | None = None
    fill_holes_in: str = ""
    #: Measurements of single lesions: an edit changes few of them.
    figures: Measured = field(default_factory=Measured, repr=False)

    @classmethod
    def of(cls, kept: KeptAnswer | None) -> Stored:
        """Unpack what the scene keeps of a segmentation; takes a second for a large volume."""
        answer = None if kept is None else kept.answer()
        if answer is None:
            return cls()
        return cls(
            answer.full_probabilities(),
            answer.full_labels(),
            answer.full_disagreement(),
            confidence=kept.confidence,
            min_lesion_mm3=kept.min_lesion_mm3,
            beyond=answer.full_beyond(),
            fill_holes_in=kept.fill_holes_in,
        )

    def with_regions(self, kept: KeptAnswer | None) -> Stored:
        """The same with the regions of the volume unpacked, where they were not and are known by now."""
        if self.regions is not None or kept is None:
            return self
        answer = kept.answer()
        if answer is None:
            return self
        return replace(self, regions=unpack_regions(answer.full_labels(), kept.grid.ijk_to_ras))

    def fitting(self, shape: tuple[int, int, int]) -> Stored:
        """Return the parts that are on a grid of that shape (K, J, I); the rest is left out."""
        found = {name: getattr(self, name) for name in ("probabilities", "original", "disagreement", "beyond")}
        kept = {n: a if a is None or a.shape[-3:] == shape else None for n, a in found.items()}
        regions = self.regions if self.regions is None or self.regions.shape == shape else None
        return replace(self, **kept, regions=regions)


def measure_with(snapshot: Snapshot, stored: Stored, previous: LesionMap | None) -> tuple[Measurement, Stored]:
    """:func:`measure`, and the stored result fitted to the segmentation, from which edits are counted."""
    stored = stored.fitting(snapshot.grid.shape)
    measured = measure(snapshot, stored, previous)
    return measured, stored if stored.original is not None else replace(stored, original=measured.labels)


def measure(snapshot: Snapshot, stored: Stored, previous: LesionMap | None = None) -> Measurement:
    """Count and measure; numpy alone, so that it may run in a thread.

    Parameters
    ----------
    snapshot : Snapshot
    stored : Stored
        On the snapshot's grid. Without the model's labels nothing counts as edited.
    previous : LesionMap, optional
        Of the state before, so that lesions keep their numbers.
    """
    labels = snapshot.labels()
    values = [c.value for c in CLASSES]
    grid, original = snapshot.grid, stored.original
    edits = count_edits(original, labels, values) if original is not None else dict.fromkeys(values, (0, 0))
    # Fitted on lesions at the model's own threshold; undone, the lesions are the model's again.
    redrawn = stored.thresholds is not None and any(edits[LESION])
    confidence = None if redrawn else stored.confidence
    found = find_lesions(
        labels, grid.ijk_to_ras, stored.probabilities, LISTED, previous, stored.disagreement, confidence
    )
    return Measurement(
        grid,
        labels,
        count_voxels(labels),
        found,
        edits,
        _table(labels, grid, found, stored),
        stored.regions is not None,
    )


def _table(labels: np.ndarray, grid: VolumeGeometry, found: LesionMap, stored: Stored) -> dict[int, LesionRow]:
    if len(found.lesions) > MOST_MEASURED:
        return {}
    rows = lesion_table(
        labels, grid.ijk_to_ras, regions=stored.regions, values=LISTED, lesions=found, measured=stored.figures
    )
    return {row.number: row for row in rows}
