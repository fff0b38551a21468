"""Optimise weights and thresholds of an ensemble for the mean Dice over patients.

Only relevant voxels are used: those where a member gives a foreground class a probability above :data:`LOWEST`, or the
reference has a foreground class. All others are background at every threshold on the grid, so that Dice equals that of
the whole volumes. The vote is that of :mod:`flairseg.segmentation.ensemble`; a test compares the two.

Weights are found by differential evolution (Storn and Price 1997, Journal of Global Optimization 11:341), since Dice is
a step function of them. For each set of weights, Dice at all thresholds of a grid is obtained from one count. A penalty
on unequal weights (:data:`PULL`) requires that a member gain more than chance with ten patients. Lesions are fitted
first, then normal white matter hyperintensity (WMH), then ventricles, in the order of precedence of
:func:`flairseg.segmentation.decoding.classify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from flairseg.labels import LESION, NORMAL_WMH, NUMBER_OF_CLASSES, VENTRICLES
from flairseg.segmentation.ensemble import class_weights, combine
from flairseg.segmentation.postprocessing import grow_lesions, remove_small_components
from scipy.optimize import differential_evolution

#: Foreground probabilities up to this value are negligible.
LOWEST = 0.05
#: Grid of thresholds; the lowest exceeds any vote of voxels excluded by :data:`LOWEST`.
THRESHOLDS = np.round(np.arange(0.10, 0.901, 0.01), 2)
#: Width of the moving mean of Dice over thresholds, to select a plateau rather than a peak.
_PLATEAU = 5
#: Penalty in Dice of a single member with all the weight, compared with equal weights.
PULL = 0.01
#: Hysteresis: increments of the core's threshold over the plain one, and differences between core and outline.
_CORES, _REACH = (0.0, 0.1, 0.2, 0.3), (0.1, 0.2, 0.3)
#: Tolerance for equal Dice.
_TIE = 1e-6
#: Minimum gain in Dice of lesion growth over a plain threshold.
_GROWTH_GAIN = 0.002
_SEED = 0


@dataclass(frozen=True)
class Patient:
    """Predictions of a patient, reduced to the relevant voxels.

    Attributes
    ----------
    name : str
    chances : ndarray of float32, shape (members, 4, voxels)
        Each member's class probabilities.
    truth : ndarray of uint8, shape (voxels,)
        Reference.
    shape : tuple of int
        Bounding box of the voxels, K, J, I.
    where : ndarray of int, shape (voxels,)
        Flat indices in the box.
    voxel_mm3 : float
        Volume of a voxel.
    """

    name: str
    chances: np.ndarray
    truth: np.ndarray
    shape: tuple[int, int, int]
    where: np.ndarray
    voxel_mm3: float

    @classmethod
    def of(cls, name: str, members: Sequence[np.ndarray], truth: np.ndarray, voxel_mm3: float) -> Patient:
        """Select the relevant voxels of whole volumes.

        Parameters
        ----------
        name : str
        members : sequence of ndarray of float, shape (4, K, J, I)
            Class probabilities.
        truth : ndarray of uint8, shape (K, J, I)
        voxel_mm3 : float

        Raises
        ------
        ValueError
            If there are none.
        """
        matters = truth > 0
        for chances in members:
            for value in range(1, NUMBER_OF_CLASSES):
                matters |= chances[value] > LOWEST
        spans = [np.flatnonzero(matters.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        if not spans[0].size:
            raise ValueError(f"{name}: reference and predictions are empty")
        box = tuple(slice(int(s[0]), int(s[-1]) + 1) for s in spans)
        where = np.flatnonzero(matters[box])
        chances = np.stack([m[(slice(None), *box)].reshape(4, -1)[:, where].astype(np.float32) for m in members])
        return cls(name, chances, truth[box].reshape(-1)[where], matters[box].shape, where, voxel_mm3)

    def dense(self, values: np.ndarray) -> np.ndarray:
        """Array (K, J, I) of the box with the values of the voxels, 0 elsewhere."""
        out = np.zeros(int(np.prod(self.shape)), values.dtype)
        out[self.where] = values
        return out.reshape(self.shape)


@dataclass(frozen=True)
class Fitted:
    """Result of the search.

    Attributes
    ----------
    weights : list of dict of int to float
        For each member: class value -> weight; the weights of a class sum to 1.
    thresholds : dict of int to float
        Class value -> probability.
    lesion_growth : float
        See :class:`flairseg.models.card.PipelineConfig`; 0: none.
    dice : dict of int to float
        Class value -> mean Dice over the fitting patients.
    """

    weights: list[dict[int, float]]
    thresholds: dict[int, float]
    lesion_growth: float = 0.0
    dice: dict[int, float] = field(default_factory=dict)


def fit(patients: Sequence[Patient], known: Sequence[Sequence[int]], min_lesion_mm3: float = 0.0) -> Fitted:
    """Fit weights, thresholds and lesion growth.

    Parameters
    ----------
    patients : sequence of Patient
    known : sequence of sequence of int
        Class values that each member segments; at least one must segment lesions.
    min_lesion_mm3 : float
        Minimum lesion volume of the ensemble, applied when growth is evaluated.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        If there is no patient, or no member that segments lesions.
    """
    if not patients or not any(LESION in classes for classes in known):
        raise ValueError("a fit needs patients, and a member that segments lesions")
    chances = np.concatenate([patient.chances for patient in patients], axis=2)
    truth = np.concatenate([patient.truth for patient in patients])
    owner = np.repeat(np.arange(len(patients)), [patient.truth.size for patient in patients])
    weights: list[dict[int, float]] = [{} for _ in known]

    voters = [m for m, classes in enumerate(known) if LESION in classes]
    lesion_chances = np.ascontiguousarray(chances[voters, LESION])
    counts = Counter(owner, truth == LESION)
    best = search(lambda w: counts.profile(w @ lesion_chances), len(voters))
    for voter, weight in zip(voters, best, strict=True):
        weights[voter][LESION] = weight
    lesion = np.asarray(best, np.float32) @ lesion_chances
    threshold, dice = counts.best(lesion)
    thresholds, reached = {LESION: threshold}, {LESION: dice}

    others = [m for m, classes in enumerate(known) if VENTRICLES in classes and NORMAL_WMH in classes]
    if others:
        fitted = _fit_others(chances[others], lesion, lesion < np.float32(thresholds[LESION]), truth, owner)
        for value, (threshold, dice, row) in fitted.items():
            thresholds[value], reached[value] = threshold, dice
            for member, weight in zip(others, row, strict=True):
                weights[member][value] = float(weight)
    growth, core, dice = _fit_growth(patients, weights, thresholds[LESION], min_lesion_mm3)
    if growth > 0:
        thresholds[LESION], reached[LESION] = core, dice
    return Fitted(weights, dict(sorted(thresholds.items())), growth, dict(sorted(reached.items())))


def voted(chances: np.ndarray, weights: Sequence[dict[int, float]]) -> np.ndarray:
    """Vote on a list of voxels: ndarray of float32, shape (4, voxels), from probabilities (members, 4, voxels)."""
    by_member = np.stack([class_weights(one) for one in weights])
    sums = np.einsum("mc,mcn->cn", by_member.astype(np.float32), chances)
    return combine(sums, by_member.sum(axis=0))


class Counter:
    """Dice of a class for each patient at every threshold, from one count of its voxels.

    Parameters
    ----------
    owner : ndarray of int, shape (voxels,)
        Patient of each voxel.
    truth : ndarray of bool, shape (voxels,)
    free : ndarray of bool, shape (voxels,), optional
        Voxels not assigned to a class of higher precedence.
    """

    def __init__(self, owner: np.ndarray, truth: np.ndarray, free: np.ndarray | None = None) -> None:
        self._patients = int(owner.max()) + 1
        self._reference = np.bincount(owner, weights=truth, minlength=self._patients)
        self._free = free
        row = owner * 2 + truth
        self._row = (row if free is None else row[free]) * (THRESHOLDS.size + 1)

    def profile(self, chance: np.ndarray) -> np.ndarray:
        """Mean Dice over patients at each of :data:`THRESHOLDS`; 1 for a patient with both masks empty."""
        if self._free is not None:
            chance = chance[self._free]
        # Bin n counts the voxels that reach thresholds 0 .. n - 1.
        reached = np.searchsorted(THRESHOLDS.astype(np.float32), chance, side="right")
        counts = np.bincount(self._row + reached, minlength=self._patients * 2 * (THRESHOLDS.size + 1))
        counts = counts.reshape(self._patients, 2, THRESHOLDS.size + 1)
        above = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1][..., 1:]
        found, total = above[:, 1], above.sum(axis=1) + self._reference[:, None]
        return np.where(total > 0, 2 * found / np.maximum(total, 1), 1.0).mean(axis=0)

    def best(self, chance: np.ndarray) -> tuple[float, float]:
        """Threshold in the middle of the best plateau, and its Dice."""
        profile = self.profile(chance)
        smooth = plateau(profile)
        best = np.flatnonzero(smooth >= smooth.max() - _TIE)
        place = int(best[best.size // 2])
        return float(THRESHOLDS[place]), float(profile[place])


def plateau(profile: np.ndarray) -> np.ndarray:
    """Moving mean of a profile over adjacent thresholds, with a shorter window at the ends."""
    window = np.ones(_PLATEAU)
    return np.convolve(profile, window, "same") / np.convolve(np.ones_like(profile), window, "same")


def search(profile, count: int) -> list[float]:
    """Non-negative weights of sum 1 with the best plateau of Dice.

    Parameters
    ----------
    profile : callable
        Maps weights (ndarray of float32, shape (count,), sum 1) to mean Dice at each threshold.
    count : int
        Members.

    Returns
    -------
    list of float
    """
    if count == 1:
        return [1.0]

    def loss(raw: np.ndarray) -> float:
        if not raw.sum() > 0:
            return 1.0
        weights = raw / raw.sum()
        return PULL * float(((weights - 1 / count) ** 2).sum()) - float(
            plateau(profile(weights.astype(np.float32))).max()
        )

    alone = np.eye(count)
    rng = np.random.default_rng(_SEED)
    start = np.vstack([np.full((1, count), 0.5), alone, rng.random((5 * count, count))])
    found = differential_evolution(
        loss, [(0.0, 1.0)] * count, init=start, maxiter=40, tol=1e-4, atol=2e-4, rng=_SEED, polish=False
    )
    return (found.x / found.x.sum()).tolist()


def _fit_others(
    chances: np.ndarray, lesion: np.ndarray, free: np.ndarray, truth: np.ndarray, owner: np.ndarray
) -> dict[int, tuple[float, float, np.ndarray]]:
    """Threshold, Dice and weights of ventricles and normal WMH, for the members that segment them.

    Lesions are already fitted: they have probabilities ``lesion`` and leave the voxels ``free``.
    """
    normal_counts = Counter(owner, truth == NORMAL_WMH, free)
    count = len(chances)
    others = np.ascontiguousarray(chances[:, :3])

    def shares(by_class: np.ndarray) -> np.ndarray:
        """Probabilities of ventricles and normal WMH, shape (2, voxels), for weights (2, members)."""
        background = by_class.mean(axis=0)
        sums = [w @ others[:, value] / w.sum() for value, w in enumerate([background, *by_class])]
        total = np.maximum(sum(sums), np.float32(1e-6))
        return (1 - lesion) / total * np.stack(sums[1:])

    def decided(by_class: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
        ventricles, normal = shares(by_class)
        best_normal = normal_counts.best(normal)
        left = free & (normal < np.float32(best_normal[0]))
        return Counter(owner, truth == VENTRICLES, left).best(ventricles), best_normal

    best = np.full((2, count), 1 / count, np.float32)
    if count > 1:
        # The classes share the background, so that their weights are fitted together.
        def loss(raw: np.ndarray) -> float:
            by_class = raw.reshape(2, count).astype(np.float32) + np.float32(1e-6)
            by_class /= by_class.sum(axis=1, keepdims=True)
            found = decided(by_class)
            pull = PULL * float(((by_class - 1 / count) ** 2).sum()) / 2
            return pull - (found[0][1] + found[1][1]) / 2

        rng = np.random.default_rng(_SEED)
        start = np.vstack([np.full((1, 2 * count), 0.5), rng.random((10 * count, 2 * count))])
        found = differential_evolution(
            loss, [(0.0, 1.0)] * (2 * count), init=start, maxiter=25, tol=1e-4, atol=2e-4, rng=_SEED, polish=False
        )
        best = found.x.reshape(2, count) + 1e-6
        best = (best / best.sum(axis=1, keepdims=True)).astype(np.float32)
    found = zip((VENTRICLES, NORMAL_WMH), decided(best), best, strict=True)
    return {value: (threshold, dice, row) for value, (threshold, dice), row in found}


def _fit_growth(
    patients: Sequence[Patient], weights: Sequence[dict[int, float]], threshold: float, min_lesion_mm3: float
) -> tuple[float, float, float]:
    """Lesion growth (0 if it gains less than :data:`_GROWTH_GAIN`), threshold of the core, and Dice."""
    dense = [(p, p.dense(voted(p.chances, weights)[LESION]), p.dense(p.truth) == LESION) for p in patients]

    def dice(core: float, growth: float) -> float:
        values = []
        for patient, chance, truth in dense:
            labels = np.where(chance >= np.float32(core), np.uint8(LESION), np.uint8(0))
            if growth > 0:
                labels = grow_lesions(labels, chance, growth)
            labels = remove_small_components(labels, LESION, min_lesion_mm3, patient.voxel_mm3)
            found = labels == LESION
            total = int(found.sum()) + int(truth.sum())
            values.append(2 * int((found & truth).sum()) / total if total else 1.0)
        return float(np.mean(values))

    best = (0.0, threshold, dice(threshold, 0.0))
    needed = best[2] + _GROWTH_GAIN
    for above in _CORES:
        for reach in _REACH:
            core, growth = round(threshold + above, 2), round(threshold + above - reach, 2)
            if core <= THRESHOLDS[-1] and growth >= THRESHOLDS[0]:
                reached = dice(core, growth)
                if reached >= max(needed, best[2]):
                    best = (growth, core, reached)
    return best
