"""Several models, one answer: a weighted vote for each class, and how much the voters disagree about lesions.

The vote, voxel by voxel. A member m with weight w(m, c) for class c gives it the probability p(m, c):

- lesion: the weighted mean of the members' lesion probabilities, P(3) = sum w(m, 3) p(m, 3) / sum w(m, 3);
- what is left, 1 - P(3), is shared between background, ventricles and normal white matter hyperintensity (WMH) in the
  proportion given by the members that distinguish these: the weighted mean of p(m, 1), of p(m, 2) and of
  p(m, 0), the last with the mean of the member's weights for the two others. Members that segment only lesions have no
  weight in it.

Disagreement is twice the weighted standard deviation of the members' lesion probabilities: 0 where all say the same, 1
where one half of the weight is sure of a lesion and the other half is sure of none. The spread of an ensemble tells
where a network is not to be trusted (Lakshminarayanan et al. 2017, NeurIPS 30:6402; for MS lesions and their detection,
with dropout samples in place of members, Nair et al. 2020, Medical Image Analysis 59:101557); its mean over a lesion is
the figure that a reader sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..labels import BACKGROUND, LESION, NORMAL_WMH, NUMBER_OF_CLASSES, VENTRICLES
from .decoding import classify

#: Classes that share what the lesion's probability leaves.
_OTHERS = (BACKGROUND, VENTRICLES, NORMAL_WMH)
#: Below this sum the other classes' proportion is not reliable; voxels that a lesion leaves become background.
_SMALLEST_SHARE = np.float32(1e-6)
#: Probabilities below this are kept as zero, as those of a single model are.
_SMALLEST_PROBABILITY = np.float32(1e-4)
#: Below this the spread is rounding.
_SMALLEST_DISAGREEMENT = np.float32(2e-3)


@dataclass(frozen=True)
class Voted:
    """Result of a vote.

    Attributes
    ----------
    labels : ndarray of uint8, shape (K, J, I)
        By the ensemble's thresholds, not yet cleaned.
    probabilities : ndarray of float16, shape (4, K, J, I)
        Classes 0..3, sum 1.
    disagreement : ndarray of float16, shape (K, J, I)
        0..1.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    disagreement: np.ndarray


class Vote:
    """Members' answers, added up one after another: 20 bytes a voxel, however many members there are.

    Parameters
    ----------
    shape : tuple of int
        Of the volume, K, J, I.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._sums = np.zeros((NUMBER_OF_CLASSES, *shape), np.float32)
        self._squares = np.zeros(shape, np.float32)
        self._totals = np.zeros(NUMBER_OF_CLASSES)

    def add(
        self,
        probabilities: np.ndarray,
        weights: Mapping[int, float],
        step: Callable[[float], None] | None = None,
    ) -> None:
        """Add a member's vote.

        Parameters
        ----------
        probabilities : ndarray of float, shape (4, K, J, I)
            Classes 0..3, in any memory order. Not kept.
        weights : mapping of int to float
            Class value 1..3 -> weight; classes without one get no vote.
        step : callable, optional
            Called with the fraction done after each slice; may raise to cancel, which leaves the vote unusable.
        """
        by_class = class_weights(weights)
        for k in range(len(self._squares)):
            for value in np.flatnonzero(by_class):
                chance = probabilities[value, k].astype(np.float32)
                weighted = chance * np.float32(by_class[value])
                self._sums[value, k] += weighted
                if value == LESION:
                    weighted *= chance
                    self._squares[k] += weighted
            if step is not None:
                step((k + 1) / len(self._squares))
        self._totals += by_class

    def result(self, thresholds: Mapping[int, float] | None = None) -> Voted:
        """Probabilities, labels by ``thresholds`` (see :func:`flairseg.segmentation.decoding.classify`) and
        disagreement.

        Raises
        ------
        ValueError
            If no member has voted on lesions.
        """
        shape = self._squares.shape
        out = Voted(
            np.empty(shape, np.uint8), np.empty((NUMBER_OF_CLASSES, *shape), np.float16), np.empty(shape, np.float16)
        )
        for k in range(shape[0]):
            chances = combine(self._sums[:, k], self._totals)
            out.labels[k] = classify(chances, thresholds)
            chances[chances < _SMALLEST_PROBABILITY] = 0
            out.probabilities[:, k] = chances
            out.disagreement[k] = spread(self._sums[LESION, k], self._squares[k], self._totals[LESION])
        return out


def class_weights(weights: Mapping[int, float]) -> np.ndarray:
    """A member's weights for the classes 0..3, float64; background's is the mean of ventricles' and normal WMH's."""
    out = np.zeros(NUMBER_OF_CLASSES)
    for value, weight in weights.items():
        out[value] = weight
    out[BACKGROUND] = (out[VENTRICLES] + out[NORMAL_WMH]) / 2
    return out


def combine(sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Class probabilities of a vote.

    Parameters
    ----------
    sums : ndarray of float32, shape (4, ...)
        Sum over the members of weight x probability, by class.
    totals : ndarray of float, shape (4,)
        Sum over the members of their weights, by class.

    Returns
    -------
    ndarray of float32, shape (4, ...)
        Classes 0..3, sum 1.

    Raises
    ------
    ValueError
        If no member has voted on lesions.
    """
    if not totals[LESION] > 0:
        raise ValueError("no member has a vote for lesions")
    out = np.zeros(sums.shape, np.float32)
    out[LESION] = np.clip(sums[LESION] / np.float32(totals[LESION]), 0, 1)
    left = 1 - out[LESION]
    for value in _OTHERS:
        if totals[value] > 0:
            out[value] = sums[value] / np.float32(totals[value])
    share = out[list(_OTHERS)].sum(axis=0)
    known = share > _SMALLEST_SHARE
    factor = np.divide(left, share, out=np.zeros_like(left), where=known)
    for value in _OTHERS[1:]:
        out[value] *= factor
    out[BACKGROUND] = np.clip(left - out[VENTRICLES] - out[NORMAL_WMH], 0, 1)
    return out


def spread(sums: np.ndarray, squares: np.ndarray, total: float) -> np.ndarray:
    """Disagreement about lesions: twice the weighted standard deviation of the members' probabilities.

    Parameters
    ----------
    sums, squares : ndarray of float32, same shape
        Sum over the members of weight x probability, and of weight x probability squared.
    total : float
        Sum of the weights.

    Returns
    -------
    ndarray of float32, same shape
        0..1.
    """
    mean = sums / np.float32(total)
    variance = squares / np.float32(total) - mean * mean
    out = 2 * np.sqrt(np.clip(variance, 0, 0.25))
    out[out < _SMALLEST_DISAGREEMENT] = 0
    return out
