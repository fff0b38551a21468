"""Slice-level detection of lesions (source: S2), and accuracy by lesion volume in the slice (source: S4).

In S2, a slice is positive if its reference has any lesion voxel: true positive if at least 10 % of the reference is
covered, else false negative. Negative slices are sampled at random, as many as positive ones; a slice without predicted
voxels is a true negative. In S2's tables, sensitivity and PPV are interchanged with specificity and NPV; here, all have
their usual definitions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..statistics.intervals import Estimate, over_cases, stream, wilson
from .overlap import Overlap
from .resampling import in_patients, median_over_slices
from .rows import GroupPair, GroupTests, SliceCurve, SliceLevel, VolumeGroup

#: Slice-level metrics, in order.
SLICE_FIGURES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
#: Overlap thresholds of the curve.
THRESHOLDS = np.linspace(0, 1, 101)
#: Groups of reference lesion volume in a slice (S4), ml; lower limit included.
VOLUME_GROUPS: tuple[tuple[str, float, float], ...] = (
    ("G1", 0.0, 0.2),
    ("G2", 0.2, 0.7),
    ("G3", 0.7, 2.0),
    ("G4", 2.0, 5.0),
    ("G5", 5.0, math.inf),
)
#: Metrics that are compared between volume groups.
GROUP_FIGURES = ("dice", "recall", "precision")
Negatives = Literal["balanced", "all"]


@dataclass(frozen=True)
class SliceCounts:
    """Voxels of a class in each slice of a case.

    Attributes
    ----------
    reference, prediction, shared : ndarray of int64, shape (slices,)
        Voxels in the reference, in the prediction, in both.
    voxel_ml : float
        Volume of a voxel in ml.
    """

    reference: np.ndarray
    prediction: np.ndarray
    shared: np.ndarray
    voxel_ml: float

    @classmethod
    def of(cls, prediction: np.ndarray, reference: np.ndarray, voxel_ml: float, axis: int = 0) -> SliceCounts:
        """Count two masks (bool, shape (K, J, I)) along the array axis of the slices."""
        others = tuple(n for n in range(3) if n != axis)

        def counted(mask: np.ndarray) -> np.ndarray:
            return np.asarray(np.count_nonzero(mask, axis=others), np.int64)

        return cls(counted(reference), counted(prediction), counted(prediction & reference), voxel_ml)

    @property
    def covered(self) -> np.ndarray:
        """Share of the reference that is covered, per slice; NaN in slices without reference."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.reference > 0, self.shared / self.reference, np.nan)

    def counts_at(self, threshold: float, negatives: np.ndarray) -> tuple[int, int, int, int]:
        """(TP, FN, TN, FP) in slices; ``negatives``: indices of the negative slices that are counted."""
        positive = self.reference > 0
        # At 0, one shared voxel is sufficient; the tolerance is for rounding (0.1 of 10 voxels).
        found = positive & (self.shared > 0) & (self.shared >= threshold * self.reference - 1e-9)
        tp = int(found.sum())
        tn = int(np.count_nonzero(self.prediction[negatives] == 0))
        return tp, int(positive.sum()) - tp, tn, len(negatives) - tn


def slice_figures(tp: int, fn: int, tn: int, fp: int) -> dict[str, Estimate]:
    """:data:`SLICE_FIGURES` of counted slices, with Wilson intervals.

    Examples
    --------
    >>> figures = slice_figures(tp=146, fn=72, tn=217, fp=1)
    >>> [round(100 * figures[name].value, 1) for name in ("sensitivity", "specificity", "ppv", "npv")]
    [67.0, 99.5, 99.3, 75.1]
    """
    parts = {
        "accuracy": (tp + tn, tp + fn + tn + fp),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
    }
    return {name: _without(wilson(*part), "No answers.", "No such slice.") for name, part in parts.items()}


def drawn_negatives(cases: Mapping[str, SliceCounts], seed: int, negatives: Negatives) -> dict[str, np.ndarray]:
    """Negative slices of each case that are counted: all, or a random sample of as many as positive slices in total.

    The sample depends on seed and references alone, so that all methods are evaluated on the same slices.
    """
    available = [(case, k) for case in sorted(cases) for k in np.flatnonzero(cases[case].reference == 0)]
    if negatives == "balanced":
        wanted = sum(int(np.count_nonzero(counts.reference)) for counts in cases.values())
        order = stream(seed, "negative slices").permutation(len(available))
        available = [available[n] for n in sorted(order[:wanted])]
    chosen: dict[str, list[int]] = {case: [] for case in cases}
    for case, k in available:
        chosen[case].append(int(k))
    return {case: np.array(indices, dtype=np.int64) for case, indices in chosen.items()}


def slice_level(
    method: str, class_id: str, cases: Mapping[str, SliceCounts], threshold: float, seed: int, negatives: Negatives
) -> tuple[SliceLevel, SliceCurve]:
    """Slice-level metrics of a method at one overlap threshold, and as functions of the threshold.

    Parameters
    ----------
    method, class_id : str
    cases : mapping of str to SliceCounts
    threshold : float
        Share of the reference that must be covered in a positive slice.
    seed : int
    negatives : {"balanced", "all"}
    """
    chosen = drawn_negatives(cases, seed, negatives)
    rows = np.array([cases[case].counts_at(threshold, chosen[case]) for case in cases], dtype=float).reshape(-1, 4)
    tp, fn, tn, fp = (int(x) for x in rows.sum(axis=0))
    name = f"slices/{class_id}/{method}/{negatives}"
    clustered = {
        figure: in_patients(over_cases(rows, _SLICE_STATISTICS[figure], f"{name}/{figure}", seed))
        for figure in SLICE_FIGURES
    }
    available = sum(int(np.count_nonzero(counts.reference == 0)) for counts in cases.values())
    note = ""
    if negatives == "balanced" and available < tp + fn:
        note = f"Only {available} negative slices for {tp + fn} positive ones: all of them are counted."
    level = SliceLevel(
        method,
        class_id,
        negatives,
        threshold,
        tp,
        fn,
        tn,
        fp,
        available,
        slice_figures(tp, fn, tn, fp),
        clustered,
        note,
    )
    curve: dict[str, list[float]] = {figure: [] for figure in SLICE_FIGURES}
    for moved in THRESHOLDS:
        counts = np.sum([cases[case].counts_at(moved, chosen[case]) for case in cases], axis=0)
        for figure in SLICE_FIGURES:
            curve[figure].append(float(_SLICE_STATISTICS[figure](counts)))
    return level, SliceCurve(
        method, class_id, negatives, THRESHOLDS, {figure: np.array(values) for figure, values in curve.items()}
    )


def volume_groups(
    method: str, class_id: str, cases: Mapping[str, SliceCounts], seed: int
) -> tuple[list[VolumeGroup], list[GroupTests]]:
    """Slices with lesions, grouped by reference volume, and tests between the groups (source: S4).

    Returns
    -------
    tuple of (list of VolumeGroup, list of GroupTests)
        All five groups, including empty ones; tests for each of :data:`GROUP_FIGURES`.
    """
    volumes, whose, values = _slice_values(cases)
    groups = []
    for name, low, high in VOLUME_GROUPS:
        inside = (volumes >= low) & (volumes < high)
        chosen = {figure: column[inside] for figure, column in values.items()}
        medians = {
            figure: median_over_slices(column, whose[inside], f"groups/{class_id}/{method}/{name}/{figure}", seed)
            for figure, column in chosen.items()
        }
        patients = len(np.unique(whose[inside]))
        groups.append(VolumeGroup(method, class_id, name, low, high, int(inside.sum()), patients, chosen, medians))
    tests = [
        group_tests(method, class_id, figure, {g.name: g.values[figure] for g in groups}) for figure in GROUP_FIGURES
    ]
    return groups, tests


def _slice_values(cases: Mapping[str, SliceCounts]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Reference volume (ml), index of the patient, and metrics of every slice with reference lesions."""
    volumes: list[float] = []
    whose: list[int] = []
    values: dict[str, list[float]] = {figure: [] for figure in GROUP_FIGURES}
    for n, counts in enumerate(cases.values()):
        for k in np.flatnonzero(counts.reference):
            shared = int(counts.shared[k])
            overlap = Overlap(shared, int(counts.prediction[k]) - shared, int(counts.reference[k]) - shared)
            # A thousandth of a cubic millimetre: rounding of an oblique header decides about no group.
            volumes.append(round(float(counts.reference[k]) * counts.voxel_ml, 6))
            whose.append(n)
            for figure in GROUP_FIGURES:
                values[figure].append(getattr(overlap, figure))
    arrays = {figure: np.array(column, dtype=float) for figure, column in values.items()}
    return np.array(volumes), np.array(whose, dtype=np.int64), arrays


def group_tests(method: str, class_id: str, figure: str, groups: Mapping[str, np.ndarray]) -> GroupTests:
    """Shapiro-Wilk test in groups, Kruskal-Wallis test over groups, Bonferroni-adjusted Mann-Whitney tests of pairs.

    The procedure of S4; it assumes independent slices, which those of one patient are not, as stated in the note.

    Parameters
    ----------
    method, class_id, figure : str
    groups : mapping of str to ndarray
        Values of each group; NaN is excluded.
    """
    from scipy import stats

    values = {name: np.asarray(column, dtype=float) for name, column in groups.items()}
    values = {name: column[np.isfinite(column)] for name, column in values.items()}
    shapiro = {name: _shapiro(column) for name, column in values.items()}
    there = [name for name, column in values.items() if column.size]
    kruskal = (math.nan, math.nan)
    if len(there) > 1 and np.ptp(np.concatenate([values[name] for name in there])) > 0:
        result = stats.kruskal(*(values[name] for name in there))
        kruskal = (float(result.statistic), float(result.pvalue))
    pairs = []
    count = len(there) * (len(there) - 1) // 2
    for n, first in enumerate(there):
        for second in there[n + 1 :]:
            result = stats.mannwhitneyu(values[first], values[second], alternative="two-sided")
            p = float(result.pvalue)
            sizes = values[first].size, values[second].size
            pairs.append(GroupPair(first, second, *sizes, float(result.statistic), p, min(1.0, p * count)))
    note = "Slices of one patient are not independent of each other, although the tests assume it."
    if len(there) < 2:
        note = "Fewer than two groups have slices: nothing to compare."
    return GroupTests(method, class_id, figure, shapiro, kruskal, tuple(pairs), note)


def _shapiro(values: np.ndarray) -> tuple[float, float]:
    from scipy import stats

    if values.size < 3 or np.ptp(values) == 0:
        return math.nan, math.nan
    with warnings.catch_warnings():
        # Above 5000 values SciPy warns that p is approximate.
        warnings.simplefilter("ignore")
        result = stats.shapiro(values)
    return float(result.statistic), float(result.pvalue)


def _statistic(numerator: Sequence[int], denominator: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Ratio of sums of columns of counts (..., 4) in the order TP, FN, TN, FP."""

    def compute(counts: np.ndarray) -> np.ndarray:
        counts = np.asarray(counts, dtype=float)
        above, below = counts[..., list(numerator)].sum(axis=-1), counts[..., list(denominator)].sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(below > 0, above / below, np.nan)

    return compute


_SLICE_STATISTICS = {
    "accuracy": _statistic((0, 2), (0, 1, 2, 3)),
    "sensitivity": _statistic((0,), (0, 1)),
    "specificity": _statistic((2,), (2, 3)),
    "ppv": _statistic((0,), (0, 3)),
    "npv": _statistic((2,), (1, 2)),
}


def _without(found: Estimate, old: str, new: str) -> Estimate:
    return Estimate(found.value, found.low, found.high, found.n, found.interval, found.note.replace(old, new))
