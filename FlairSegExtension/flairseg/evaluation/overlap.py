"""Voxel overlap of two masks: counts, and the metrics computed from them.

Undefined metrics (0/0) are NaN, never 0 or 1: precision of an empty prediction, recall for an empty reference, and all
overlap metrics of two empty masks (Maier-Hein et al., Metrics reloaded, Nat Methods 2024;21:195-212). Averages must
exclude them and state their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..labels import NUMBER_OF_CLASSES


def confusion(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Voxels per pair of labels.

    Parameters
    ----------
    reference, prediction : ndarray of uint8, same shape
        Label maps of FlairSeg's classes.

    Returns
    -------
    ndarray of int64, shape (4, 4)
        Rows are the reference, columns the prediction.

    Raises
    ------
    ValueError
        If the shapes differ or a label is too large.

    Examples
    --------
    >>> confusion(np.array([0, 3, 3], np.uint8), np.array([0, 3, 2], np.uint8))[3].tolist()
    [0, 0, 1, 1]
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {prediction.shape}")
    classes = NUMBER_OF_CLASSES
    if max(reference.max(initial=0), prediction.max(initial=0)) >= classes:
        raise ValueError(f"labels must be below {classes}")
    codes = reference.astype(np.uint8) * np.uint8(classes) + prediction.astype(np.uint8)
    return np.bincount(codes.ravel(), minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Overlap:
    """Counts of a binary comparison (voxels, lesions or slices) and the metrics from them; NaN where undefined.

    Attributes
    ----------
    tp, fp, fn, tn : int
        True and false positives and negatives.
    """

    tp: int
    fp: int
    fn: int
    tn: int = 0

    @classmethod
    def of(cls, prediction: np.ndarray, reference: np.ndarray) -> Overlap:
        """Count two masks (bool, same shape)."""
        both = int(np.count_nonzero(prediction & reference))
        ours, theirs = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
        return cls(both, ours - both, theirs - both, prediction.size - ours - theirs + both)

    @classmethod
    def from_confusion(cls, matrix: np.ndarray, values: tuple[int, ...]) -> Overlap:
        """Counts of one class, or the union of several, against all other labels, from :func:`confusion`."""
        inside = np.isin(np.arange(len(matrix)), values)
        tp, fn = matrix[inside][:, inside].sum(), matrix[inside][:, ~inside].sum()
        fp, tn = matrix[~inside][:, inside].sum(), matrix[~inside][:, ~inside].sum()
        return cls(int(tp), int(fp), int(fn), int(tn))

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def dice(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; NaN if both masks are empty (Dice 1945)."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def jaccard(self) -> float:
        """``TP / (TP + FP + FN)``, intersection over union; NaN if both masks are empty (Jaccard 1901)."""
        return ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """``TP / (TP + FP)``, positive predictive value; NaN if nothing was predicted."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """``TP / (TP + FN)``, sensitivity; NaN if the reference is empty."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """``TN / (TN + FP)``; NaN without negatives."""
        return ratio(self.tn, self.tn + self.fp)

    @property
    def negative_predictive_value(self) -> float:
        """``TN / (TN + FN)``; NaN if nothing was predicted negative."""
        return ratio(self.tn, self.tn + self.fn)

    @property
    def accuracy(self) -> float:
        """``(TP + TN) / all``; NaN without counts."""
        return ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)


def ratio(numerator: float, denominator: float) -> float:
    """A quotient; NaN where the denominator is 0."""
    return numerator / denominator if denominator else float("nan")
