"""Lesion-wise comparison: detected lesions, true lesions, and the type of each error.

A lesion is a 26-connected component. Masks are compared by the overlap of components; the criterion of detection is a
separate rule, since publications differ in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..labels import LESION, NORMAL_WMH
from .overlap import ratio

#: Face, edge and corner neighbours.
CONNECTIVITY_26 = np.ones((3, 3, 3), bool)
RuleKind = Literal["voxels", "fraction", "iou"]


@dataclass(frozen=True)
class OverlapRule:
    """Criterion by which a lesion of one mask counts as detected by the other.

    Attributes
    ----------
    kind : {"voxels", "fraction", "iou"}
        ``voxels``: at least ``minimum`` of its voxels are in the other mask (one voxel: S5). ``fraction``: at least
        this share of its voxels. ``iou``: intersection over union with one lesion of the other mask reaches the
        minimum; above 0.5 such pairs are unique.
    minimum : float
        Number of voxels from 1 on; shares above 0 up to 1.

    Raises
    ------
    ValueError
        For another kind, or a minimum out of range.
    """

    kind: RuleKind = "voxels"
    minimum: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("voxels", "fraction", "iou"):
            raise ValueError(f"unknown overlap rule {self.kind!r}")
        low, high = (1.0, float("inf")) if self.kind == "voxels" else (0.0, 1.0)
        if not low <= self.minimum <= high or self.minimum == 0:
            raise ValueError(f"{self.minimum:g} is not a minimum for the overlap rule {self.kind!r}")

    def __str__(self) -> str:
        if self.kind == "voxels":
            return f"at least {self.minimum:g} voxel{'' if self.minimum == 1 else 's'} shared"
        if self.kind == "fraction":
            return f"at least {100 * self.minimum:g} % of it shared"
        return f"intersection over union with one lesion of the other side at least {self.minimum:g}"


@dataclass(frozen=True)
class LesionMatch:
    """Counts of lesions in both masks and of their overlap; metrics are NaN where undefined.

    Attributes
    ----------
    reference, prediction : int
        Lesions in each mask.
    found : int
        Detected reference lesions.
    right : int
        True positive predicted lesions.
    detection_error_mm3 : float
        Volume of connected regions of the union of both masks that are in one mask only.
    outline_error_mm3 : float
        Volume of disagreement in regions that are in both masks. Both errors together are all voxels of disagreement.
    """

    reference: int
    prediction: int
    found: int
    right: int
    detection_error_mm3: float = 0.0
    outline_error_mm3: float = 0.0

    @property
    def recall(self) -> float:
        """Share of reference lesions that were detected; NaN without any."""
        return ratio(self.found, self.reference)

    @property
    def precision(self) -> float:
        """Share of predicted lesions that are true positive; NaN without any."""
        return ratio(self.right, self.prediction)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision; 0 without overlapping lesions, NaN if neither mask has any."""
        return lesion_f1(self.found, self.reference, self.right, self.prediction)


def lesion_f1(found: float, reference: float, right: float, prediction: float) -> float:
    """Harmonic mean of ``found / reference`` and ``right / prediction``; see :attr:`LesionMatch.f1`."""
    if not reference and not prediction:
        return float("nan")
    if not found or not right:
        return 0.0
    recall, precision = found / reference, right / prediction
    return 2 * recall * precision / (recall + precision)


def match_lesions(
    prediction: np.ndarray,
    reference: np.ndarray,
    voxel_mm3: float = 1.0,
    rule: OverlapRule | None = None,
    minimum_mm3: float = 0.0,
) -> LesionMatch:
    """Compare the lesions of two masks.

    Parameters
    ----------
    prediction, reference : ndarray of bool, shape (K, J, I)
    voxel_mm3 : float
        Volume of a voxel.
    rule : OverlapRule, optional
        Default: one voxel.
    minimum_mm3 : float
        Smaller lesions are removed from both masks (S5: 10.7).

    Returns
    -------
    LesionMatch

    References
    ----------
    Detection by one voxel: S5. Detection and outline error: Wack DS et al. Improved assessment of multiple sclerosis
    lesion segmentation agreement via detection and outline error estimates. BMC Med Imaging 2012;12:17.

    Examples
    --------
    >>> a, b = np.zeros((2, 1, 3, 5), bool)
    >>> a[0, 0, :2] = b[0, 1, 2] = a[0, 2, 4] = True
    >>> match_lesions(a, b), match_lesions(a, b).f1
    (LesionMatch(reference=1, prediction=2, found=0, right=0, detection_error_mm3=1.0, outline_error_mm3=3.0), 0.0)
    """
    from scipy import ndimage

    rule = rule or OverlapRule()
    box = ndimage.find_objects((prediction | reference).astype(np.uint8), 1)[0]
    if box is None:
        return LesionMatch(0, 0, 0, 0)
    ours, our_sizes = _components(prediction[box], voxel_mm3, minimum_mm3)
    theirs, their_sizes = _components(reference[box], voxel_mm3, minimum_mm3)
    shared = (ours > 0) & (theirs > 0)
    pairs = theirs[shared].astype(np.int64) * (len(our_sizes) + 1) + ours[shared]
    codes, voxels = np.unique(pairs, return_counts=True)
    of_reference, of_prediction = np.divmod(codes, len(our_sizes) + 1)
    found = _met(rule, of_reference, of_prediction, voxels, their_sizes, our_sizes)
    right = _met(rule, of_prediction, of_reference, voxels, our_sizes, their_sizes)
    detection, outline = _errors(ours > 0, theirs > 0)
    return LesionMatch(
        len(their_sizes), len(our_sizes), int(found.sum()), int(right.sum()), detection * voxel_mm3, outline * voxel_mm3
    )


def _components(mask: np.ndarray, voxel_mm3: float, minimum_mm3: float) -> tuple[np.ndarray, np.ndarray]:
    """Components of a mask numbered 1..n, without small ones, and their sizes in voxels."""
    from scipy import ndimage

    numbered, count = ndimage.label(mask, CONNECTIVITY_26)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    # Tolerance of a thousandth of a voxel for rounding of the voxel volume.
    keep = sizes * voxel_mm3 >= minimum_mm3 - 1e-3 * voxel_mm3
    keep[0] = False
    if keep[1:].all():
        return numbered, sizes[1:]
    renumbered = np.where(keep, np.cumsum(keep), 0)
    return renumbered[numbered], sizes[keep]


def _met(
    rule: OverlapRule,
    own: np.ndarray,
    other: np.ndarray,
    voxels: np.ndarray,
    own_sizes: np.ndarray,
    other_sizes: np.ndarray,
) -> np.ndarray:
    """Whether each lesion of one mask is detected by the rule; pairs of components share ``voxels``."""
    if rule.kind == "iou":
        union = own_sizes[own - 1] + other_sizes[other - 1] - voxels
        best = np.zeros(len(own_sizes))
        np.maximum.at(best, own - 1, voxels / union)
        return best >= rule.minimum - 1e-12
    covered = np.bincount(own - 1, weights=voxels, minlength=len(own_sizes))
    needed = rule.minimum if rule.kind == "voxels" else rule.minimum * own_sizes - 1e-9
    return covered >= needed


def _errors(prediction: np.ndarray, reference: np.ndarray) -> tuple[int, int]:
    """Voxels of detection and of outline error."""
    from scipy import ndimage

    regions, count = ndimage.label(prediction | reference, CONNECTIVITY_26)
    ours, theirs, both = (
        np.bincount(regions[mask], minlength=count + 1) for mask in (prediction, reference, prediction & reference)
    )
    apart = ours + theirs - 2 * both
    one_sided = (ours == 0) | (theirs == 0)
    return int(apart[one_sided].sum()), int(apart[~one_sided].sum())


def component_confusion(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Outcome of each component of normal WMH and of lesions: missed, normal WMH or lesion.

    A reference component is assigned to the class predicted for most of its voxels that are predicted as either class
    (lesion in a tie), or to "nothing". A predicted component that overlaps neither class of the reference is in the row
    "nothing".

    Parameters
    ----------
    prediction, reference : ndarray of uint8, shape (K, J, I)
        Label maps.

    Returns
    -------
    ndarray of int64, shape (3, 3)
        Rows: reference (nothing, normal WMH, lesions); columns: prediction. Cell (0, 0) is not defined and 0.
    """
    counts = np.zeros((3, 3), np.int64)
    marked = np.isin(reference, (NORMAL_WMH, LESION))
    for row, value in enumerate((NORMAL_WMH, LESION), start=1):
        normal, abnormal = _votes(reference == value, prediction)
        counts[row] = (
            np.count_nonzero((normal == 0) & (abnormal == 0)),
            np.count_nonzero(normal > abnormal),
            np.count_nonzero((abnormal >= normal) & (abnormal > 0)),
        )
        met, _ = _votes(prediction == value, np.where(marked, NORMAL_WMH, 0))
        counts[0, row] = np.count_nonzero(met == 0)
    return counts


def _votes(mask: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels labelled normal WMH and lesion in each component of a mask."""
    from scipy import ndimage

    numbered, count = ndimage.label(mask, CONNECTIVITY_26)
    normal, abnormal = (
        np.bincount(numbered[mask & (labels == value)], minlength=count + 1)[1:] for value in (NORMAL_WMH, LESION)
    )
    return normal, abnormal
