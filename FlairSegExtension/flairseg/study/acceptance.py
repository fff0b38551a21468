"""S5's rule of clinical acceptability of a lesion mask, and the lesions that are counted.

A rater marks delineated lesions that are not lesions (false positives) and missed lesions (false
negatives). Then

- true positives = delineated - false positives,
- true lesions = true positives + false negatives,
- acceptable: **more than** 90 % of the delineated lesions are true AND **more than** 90 % of the true lesions are
  delineated.

Edge cases not defined in the paper:

============  ==  ==  ============  =======================================================================
delineated    FP  FN  proposal      why
============  ==  ==  ============  =======================================================================
0             0   0   acceptable    no lesion, none delineated
0             0   n   unacceptable  none of the true lesions is delineated
n             n   0   unacceptable  none of the delineated lesions is true; no true lesion: no second part
10            1   0   unacceptable  exactly 90 % is not more than 90 %
11            1   0   acceptable    90.9 %
============  ==  ==  ============  =======================================================================

A fraction with denominator 0 is undefined, and its half of the rule counts as met. The rule is
computed with integers: 90 % is not subject to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..image.geometry import triple, voxel_volume_of
from ..labels import LESION
from .records import ACCEPTABLE, FALSE_NEGATIVE, FALSE_POSITIVE, UNACCEPTABLE, Mark

THRESHOLD = 0.9


@dataclass(frozen=True)
class Acceptance:
    """Counts of one showing and the proposal of S5's rule.

    Attributes
    ----------
    delineated, false_positives, false_negatives : int
        Lesions in the mask; those called false; missed ones.
    threshold : float
        The fraction that must be exceeded.
    """

    delineated: int
    false_positives: int
    false_negatives: int
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        """Check the counts; ``ValueError`` if they are impossible."""
        if min(self.delineated, self.false_positives, self.false_negatives) < 0:
            raise ValueError("counts are not negative")
        if self.false_positives > self.delineated:
            raise ValueError(f"{self.false_positives} false positives among {self.delineated} delineated lesions")

    @property
    def true_positives(self) -> int:
        """Delineated lesions that are true."""
        return self.delineated - self.false_positives

    @property
    def true_lesions(self) -> int:
        """True lesions, delineated or missed."""
        return self.true_positives + self.false_negatives

    @property
    def true_of_delineated(self) -> float | None:
        """Fraction of the delineated lesions that are true (lesion-wise precision); None if none is delineated."""
        return self.true_positives / self.delineated if self.delineated else None

    @property
    def delineated_of_true(self) -> float | None:
        """Fraction of the true lesions that are delineated (lesion-wise sensitivity); None if there is none."""
        return self.true_positives / self.true_lesions if self.true_lesions else None

    @property
    def acceptable(self) -> bool:
        """Whether both fractions exceed the threshold."""
        limit = Fraction(str(self.threshold))
        return all(self.true_positives > limit * whole for whole in (self.delineated, self.true_lesions) if whole > 0)

    @property
    def proposed(self) -> str:
        """``ACCEPTABLE`` or ``UNACCEPTABLE``: a proposal; the rater decides."""
        return ACCEPTABLE if self.acceptable else UNACCEPTABLE

    def to_payload(self) -> dict[str, Any]:
        """Counts and derived figures as JSON has them."""
        return {
            **asdict(self),
            "true_positives": self.true_positives,
            "true_lesions": self.true_lesions,
            "true_of_delineated": self.true_of_delineated,
            "delineated_of_true": self.delineated_of_true,
            "proposed": self.proposed,
        }


def acceptance_of(delineated: int, marks: Iterable[Mark], threshold: float = THRESHOLD) -> Acceptance:
    """Counts from marks: a lesion called false twice counts once; every false-negative mark is a missed lesion."""
    marks = list(marks)
    false = {m.lesion for m in marks if m.kind == FALSE_POSITIVE}
    missed = sum(m.kind == FALSE_NEGATIVE for m in marks)
    return Acceptance(delineated, len(false), missed, threshold)


@dataclass(frozen=True)
class DelineatedLesion:
    """One lesion of a mask.

    Attributes
    ----------
    number : int
        1, 2, ... in the order of each lesion's first voxel in the array (K, J, I; I fastest).
    centre_ras : tuple of 3 float
        Centre of mass, RAS mm; it can lie outside a curved lesion.
    anchor_ras : tuple of 3 float
        The lesion's voxel nearest to the centre of mass, RAS mm: where to send a viewer.
    voxels : int
    volume_ml : float
    """

    number: int
    centre_ras: tuple[float, float, float]
    anchor_ras: tuple[float, float, float]
    voxels: int
    volume_ml: float


class LesionMap:
    """The lesions of a mask, with look-up by position.

    Parameters
    ----------
    labels : ndarray, shape (K, J, I)
        Class values; lesions are the 26-connected components of ``labels.LESION``.
    ijk_to_ras : ndarray, shape (4, 4)
        mm, RAS.

    Attributes
    ----------
    numbers : ndarray of int32, shape (K, J, I)
        0, or the number of the lesion.
    lesions : tuple of DelineatedLesion
    """

    def __init__(self, labels: np.ndarray, ijk_to_ras: np.ndarray) -> None:
        self._affine = np.asarray(ijk_to_ras, float)
        self._inverse = np.linalg.inv(self._affine)
        self.numbers = lesion_numbers(labels == LESION)
        self._voxels = np.argwhere(self.numbers)  # (N, 3) as K, J, I
        self._number_of = self.numbers[tuple(self._voxels.T)]
        self._ras = _to_ras(self._affine, self._voxels)
        self.lesions = self._table()

    def number_at(self, ras: Iterable[float], tolerance_mm: float = 0.0) -> int | None:
        """Number of the lesion at a point, or of the nearest one within ``tolerance_mm``; None if there is none.

        Distances are to voxel centres.
        """
        index = self.index_of(ras)
        if index is not None and self.numbers[index]:
            return int(self.numbers[index])
        if tolerance_mm <= 0 or not len(self._ras):
            return None
        distance = np.linalg.norm(self._ras - np.asarray(tuple(ras), float), axis=1)
        nearest = int(distance.argmin())
        return int(self._number_of[nearest]) if distance[nearest] <= tolerance_mm else None

    def index_of(self, ras: Iterable[float]) -> tuple[int, int, int] | None:
        """(k, j, i) of the voxel that holds a point, RAS mm; None outside of the image."""
        return voxel_at(self._inverse, self.numbers.shape, ras)

    def _table(self) -> tuple[DelineatedLesion, ...]:
        voxel_ml = voxel_volume_of(self._affine) / 1000.0
        lesions = []
        for number in range(1, int(self.numbers.max(initial=0)) + 1):
            points = self._ras[self._number_of == number]
            centre = points.mean(axis=0)
            anchor = points[np.linalg.norm(points - centre, axis=1).argmin()]
            lesions.append(
                DelineatedLesion(
                    number, triple(map(float, centre)), triple(map(float, anchor)), len(points), len(points) * voxel_ml
                )
            )
        return tuple(lesions)


def delineated_lesions(labels: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[DelineatedLesion, ...]:
    """The lesions of a label map (K, J, I) with their centres in RAS mm, see :class:`LesionMap`."""
    return LesionMap(labels, ijk_to_ras).lesions


def lesion_numbers(mask: np.ndarray) -> np.ndarray:
    """26-connected components of a mask, numbered by their first voxel in the array.

    SimpleITK labels (always in Slicer, unlike SciPy); lesions are numbered here, so that the order cannot change with a
    library's version.

    Parameters
    ----------
    mask : ndarray of bool, shape (K, J, I)

    Returns
    -------
    ndarray of int32, shape (K, J, I)
    """
    import SimpleITK as sitk

    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask, np.uint8))
    found = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True)).astype(np.int32)
    inside = found[mask]  # in the order of the array
    values, first = np.unique(inside, return_index=True)
    order = values[np.argsort(first)]
    table = np.zeros(int(values.max()) + 1, np.int32)
    table[order] = np.arange(1, len(order) + 1)
    return table[found]


def without_small_lesions(labels: np.ndarray, voxel_mm3: float, minimum_mm3: float) -> np.ndarray:
    """Label map (K, J, I) without the lesions below a volume (S5 removes those under 10.7 mm3); a copy."""
    labels = labels.copy()
    if minimum_mm3 > 0:
        numbers = lesion_numbers(labels == LESION)
        sizes = np.bincount(numbers.ravel()) * voxel_mm3
        small = sizes < minimum_mm3
        small[0] = False
        labels[small[numbers]] = 0
    return labels


def voxel_at(ras_to_ijk: np.ndarray, shape: tuple[int, ...], ras: Iterable[float]) -> tuple[int, int, int] | None:
    """(k, j, i) of the voxel of a grid (K, J, I) that holds a point, RAS mm; None outside of the grid."""
    point = np.asarray(tuple(ras), float)
    if point.shape != (3,) or not np.isfinite(point).all():
        return None
    index = np.floor((ras_to_ijk @ np.append(point, 1.0))[:3] + 0.5).astype(np.int64)[::-1]
    if (index < 0).any() or (index >= np.asarray(shape)).any():
        return None
    return triple(int(n) for n in index)


def _to_ras(ijk_to_ras: np.ndarray, kji: np.ndarray) -> np.ndarray:
    """(N, 3) RAS mm of voxel centres given as (N, 3) K, J, I."""
    out: np.ndarray = kji[:, ::-1] @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
    return out
