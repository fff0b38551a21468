"""The minimum mean probability of a lesion (``min_lesion_probability``) of an adapted model, from left-out cases.

Adapted weights give other probabilities than their parent's, to which the parent's limit was fitted. In the proof every
case is segmented by a model that never saw its patient, so each limit of :data:`LIMITS` can be judged there. The
parent's is kept unless it is clearly behind: of the limits that are within one standard error of the best one
(Breiman et al. 1984, Classification and Regression Trees, section 3.4.3), the one nearest to the parent's is taken. For
the proof the limit of each fold is chosen on the patients of the other folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..models.card import ModelCard
from ..segmentation.postprocessing import lesion_components, remove_unsure_lesions
from .record import Limit
from .terms import FEWEST_FOR_PROOF

if TYPE_CHECKING:
    from ..segmentation.result import Segmentation

#: Limits that are tried besides the parent's; 0 keeps all lesions.
LIMITS = (0.0, 0.5, 0.6, 0.66, 0.72, 0.78, 0.84, 0.9)
#: Lesions that the models found in left-out cases; of fewer the parent's limit is kept.
FEWEST_LESIONS = 50


def limits_of(parent: ModelCard) -> tuple[float, ...]:
    """Limits that are tried, ascending, the parent's among them."""
    return tuple(sorted({*LIMITS, parent.pipeline.min_lesion_probability}))


def keeping_all(card: ModelCard, limit: float = 0.0) -> ModelCard:
    """The card with another minimum mean probability of a lesion; by default none is dropped."""
    return replace(card, pipeline=replace(card.pipeline, min_lesion_probability=limit))


def at_limits(result: Segmentation, limits: Sequence[float]) -> Iterator[Segmentation]:
    """A result at each limit: dropping unsure lesions is the last step of the clean-up.

    Parameters
    ----------
    result : Segmentation
        Of a card :func:`keeping_all` lesions.
    limits : sequence of float
    """
    assert result.probabilities is not None  # noqa: S101 - a model's result has them
    ratio, voxel_mm3 = result.card.pipeline.lesion_probability_ratio, float(np.prod(result.volume.spacing))
    for limit in limits:
        labels = remove_unsure_lesions(result.labels, result.probabilities, limit, ratio, voxel_mm3)
        yield replace(result, labels=labels)


def lesions_in(labels: np.ndarray) -> int:
    """Number of lesions (26-connected) of a label map (K, J, I)."""
    return int(lesion_components(labels)[1])


def score(figures: Mapping[str, float]) -> float:
    """What a limit is worth on a case: the mean of lesion Dice and lesion F1; NaN where lesions were not reviewed."""
    return (figures["lesion_dice"] + figures["lesion_f1"]) / 2


def chosen(scores: np.ndarray, limits: Sequence[float], patients: Sequence[str], parent: float) -> float:
    """The limit by the one-standard-error rule.

    Parameters
    ----------
    scores : ndarray of float, shape (cases, limits)
        NaN where undefined at any limit: the case does not count.
    limits : sequence of float
    patients : sequence of str
        Patient of each case.
    parent : float
        One of ``limits``; returned where fewer than two patients count.
    """
    scores = np.asarray(scores, float).reshape(len(patients), len(limits))
    defined = np.isfinite(scores).all(1)
    names = np.array(patients)[defined]
    if len(set(names)) < 2:
        return parent
    means = np.array([scores[defined][names == name].mean(0) for name in sorted(set(names))])
    best = int(means.mean(0).argmax())
    behind = means[:, [best]] - means
    error = behind.std(0, ddof=1) / np.sqrt(len(means))
    near = [limit for limit, gap, of in zip(limits, behind.mean(0), error, strict=True) if gap <= of]
    return min(near, key=lambda limit: (abs(limit - parent), limit))


@dataclass(frozen=True)
class Judged:
    """Left-out cases at all limits, by the model that never saw their patient.

    Attributes
    ----------
    limits : sequence of float
    figures : sequence of mapping
        Of each case: limit -> figures (:func:`.proof.case_figures`).
    lesions : sequence of int
        Of each case, at limit 0.
    patients : sequence of str
    """

    limits: Sequence[float]
    figures: Sequence[Mapping[float, Mapping[str, float]]]
    lesions: Sequence[int]
    patients: Sequence[str]

    def limit(self, parent: float) -> Limit:
        """The adapted model's limit."""
        counted = [n for n, one in enumerate(self.figures) if np.isfinite(score(one[self.limits[0]]))]
        lesions = sum(self.lesions[n] for n in counted)
        enough = lesions >= FEWEST_LESIONS and len({self.patients[n] for n in counted}) >= FEWEST_FOR_PROOF
        return Limit(self._chosen(parent, ()) if enough else parent, parent, lesions, enough)

    def proof(self, parent: float, folds: Sequence[Sequence[str]]) -> list[dict[str, float]]:
        """Figures of each case at the limit chosen without the patients of its fold."""
        fitted = self.limit(parent).fitted
        found: list[dict[str, float]] = [{}] * len(self.figures)
        for away in folds:
            limit = self._chosen(parent, away) if fitted else parent
            for n, patient in enumerate(self.patients):
                if patient in away:
                    found[n] = dict(self.figures[n][limit])
        return found

    def _chosen(self, parent: float, away: Sequence[str]) -> float:
        kept = [n for n, patient in enumerate(self.patients) if patient not in away]
        scores = np.array([[score(self.figures[n][limit]) for limit in self.limits] for n in kept])
        return chosen(scores, self.limits, [self.patients[n] for n in kept], parent)
