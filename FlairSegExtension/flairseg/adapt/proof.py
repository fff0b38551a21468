"""Comparison of an adapted model with its base: figures of left-out cases, paired over patients, and a verdict.

Every case is segmented by the base and by a model that was adapted without any case of its patient. Differences are
averaged within a patient, then over patients; intervals are BCa bootstrap over patients
(:mod:`flairseg.evaluation.resampling`), and p is of a sign-flip test (Fisher 1935; one-sided), so that with
fewer than five patients nothing is ever called better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..evaluation.components import match_lesions
from ..evaluation.overlap import Overlap
from ..evaluation.resampling import mean_over_patients
from ..labels import CLASS_BY_VALUE, LESION
from .record import Comparison, Harm, Judgement, Training
from .terms import BETTER, FEWEST_FOR_PROOF, FIGURES, NO_DIFFERENCE, WORSE

#: One-sided p of a significant gain; smallest relevant gain.
SIGNIFICANT, SMALLEST_GAIN = 0.05, 0.01
#: Other figures may not fall by more than this with an interval below 0.
LARGEST_SIDE_LOSS = 0.02
#: Up to this number of patients each is its own fold; with more, this number of folds is made.
LEAVE_ONE_OUT, FOLDS = 6, 5


def case_figures(
    result: np.ndarray, reference: np.ndarray, reviewed: Sequence[int], voxel_ml: float
) -> dict[str, float]:
    """Figures of one case; NaN where undefined, classes that were not reviewed are left out.

    Parameters
    ----------
    result, reference : ndarray of uint8, shape (K, J, I)
        A model's labels and the reviewed ones, classes 0..3.
    reviewed : sequence of int
        Class values that were reviewed.
    voxel_ml : float

    Returns
    -------
    dict
        Keys of :data:`.terms.FIGURES`. ``edit_voxels``: voxels at which a reviewed class differs, in other words
        what a reader would have to add and remove.
    """
    figures: dict[str, float] = {}
    differs = np.zeros(result.shape, bool)
    for value in reviewed:
        ours, theirs = result == value, reference == value
        differs |= ours != theirs
        figures[f"{CLASS_BY_VALUE[value].id}_dice"] = Overlap.of(ours, theirs).dice
        if value == LESION:
            figures["lesion_f1"] = match_lesions(ours, theirs).f1
            figures["lesion_volume_error_ml"] = abs(float(ours.sum()) - float(theirs.sum())) * voxel_ml
    figures["edit_voxels"] = float(differs.sum())
    return {key: figures.get(key, float("nan")) for key in FIGURES}


def folds_of(patients: Sequence[str], seed: int, most: int = FOLDS) -> list[list[str]]:
    """Patients of each fold: one each up to :data:`LEAVE_ONE_OUT`, else shuffled and dealt out to ``most`` folds."""
    distinct = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(distinct))
    count = len(distinct) if len(distinct) <= LEAVE_ONE_OUT and most >= FOLDS else min(most, len(distinct))
    return [sorted(distinct[i] for i in order[n::count]) for n in range(count)]


def compare(
    base: Sequence[Mapping[str, float]], adapted: Sequence[Mapping[str, float]], patients: Sequence[str], seed: int
) -> list[Comparison]:
    """Paired comparison of all figures that are defined for someone.

    Parameters
    ----------
    base, adapted : sequence of mappings
        Figures of the same cases, see :func:`case_figures`.
    patients : sequence of str
        Patient of each case.
    seed : int
    """
    out = []
    distinct = sorted(set(patients))
    for key, (_, more_is_better) in FIGURES.items():
        pairs = []
        for patient in distinct:
            own = [n for n, one in enumerate(patients) if one == patient]
            both = np.array([(base[n][key], adapted[n][key]) for n in own], float)
            both = both[np.isfinite(both).all(1)]
            if len(both):
                pairs.append(both.mean(0))
        if not pairs:
            continue
        values = np.array(pairs)
        of_base, of_adapted = values.mean(0)
        gains = (values[:, 1] - values[:, 0]) * (1 if more_is_better else -1)
        found = mean_over_patients(gains, f"adaptation {key}", seed)
        low, high = (float("nan") if limit is None else float(limit) for limit in (found.low, found.high))
        out.append(
            Comparison(
                key, float(of_base), float(of_adapted), float(gains.mean()), low, high, sign_flip(gains, seed),
                len(values), int((gains > 0).sum()),
            )
        )  # fmt: skip
    return out


def sign_flip(gains: np.ndarray, seed: int) -> float:
    """One-sided p of a mean gain above 0: all sign flips up to 12 patients, else 9999 random ones.

    Parameters
    ----------
    gains : ndarray of float, shape (patients,)
    seed : int
    """
    gains = np.asarray(gains, float)
    if not gains.any():
        return 1.0
    count = len(gains)
    if count <= 12:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((signs @ gains >= gains.sum() - 1e-12).mean())
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (9999, count))
    return float((1 + (signs @ gains >= gains.sum() - 1e-12).sum()) / 10000)


def verdict(comparisons: Sequence[Comparison], harms: Sequence[Harm], final: Training | None = None) -> Judgement:
    """One of :data:`.terms.WORDS`, and why.

    The primary figure is lesion Dice, or where no lesions were reviewed the first other Dice. Better: its gain is
    :data:`SMALLEST_GAIN` or more with an interval above 0 and p of :data:`SIGNIFICANT` at most, and nothing else lost.
    Worse: its interval is below 0, another figure fell so, or something was forgotten. ``final`` is the training on all
    cases, whose model was not tested itself: where it kept the base's weights, or was cut short by the time, the gain
    of the folds does not apply to it.
    """
    by_key = {one.key: one for one in comparisons}
    primary = by_key.get("lesion_dice") or next((one for one in comparisons if one.key.endswith("_dice")), None)
    if primary is None:
        return Judgement(NO_DIFFERENCE, ("Nothing could be compared.",))
    title = FIGURES[primary.key][0]
    reasons = []
    if primary.high < 0 and primary.gain < -SMALLEST_GAIN / 2:
        reasons.append(f"{title} fell by {-primary.gain:.3f}.")
    for one in comparisons:
        if one is not primary and one.key.endswith(("_dice", "_f1")) and one.high < 0 and one.gain < -LARGEST_SIDE_LOSS:
            reasons.append(f"{FIGURES[one.key][0]} fell by {-one.gain:.3f}.")
    for harm in harms:
        if harm.harmed:
            reasons.append(f"{harm.what} fell from {harm.base:.3f} to {harm.adapted:.3f}.")
    if reasons:
        return Judgement(WORSE, tuple(reasons))
    word, reason = _of_gain(primary, title, final)
    return Judgement(word, (reason,))


def _of_gain(primary: Comparison, title: str, final: Training | None) -> tuple[str, str]:
    """Verdict and reason where nothing was lost."""
    if primary.patients < FEWEST_FOR_PROOF:
        return (
            NO_DIFFERENCE,
            f"{primary.patients} patients cannot show a difference: at least {FEWEST_FOR_PROOF} are needed.",
        )
    if primary.gain < SMALLEST_GAIN:
        return NO_DIFFERENCE, f"{title} changed by {primary.gain:+.3f}, less than {SMALLEST_GAIN}."
    if not primary.low > 0 or primary.p > SIGNIFICANT:
        return NO_DIFFERENCE, (
            f"{title} rose by {primary.gain:.3f}, but chance is not excluded (p {primary.p:.3f}, interval "
            f"{primary.low:.3f} to {primary.high:.3f})."
        )
    if final is not None and final.best_step == 0:
        return (
            NO_DIFFERENCE,
            f"{title} rose by {primary.gain:.3f} without each patient, but the training on all cases kept the base.",
        )
    if final is not None and final.stopped == "time":
        return NO_DIFFERENCE, (
            f"{title} rose by {primary.gain:.3f} without each patient, but the training on all cases was cut short "
            f"after {final.steps} steps. Give it more time."
        )
    return BETTER, f"{title} rose by {primary.gain:.3f} ({primary.low:.3f} to {primary.high:.3f}), p {primary.p:.3f}."
