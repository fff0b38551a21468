"""Order of cases for correction (active learning): uncertain and dissimilar cases first.

Correcting ten similar cases adds little over one. Cases are selected one by one; each time the case with the largest
product of uncertainty (rank of its expected correction) and distance to those selected or judged before, in
standardised figures of its result (k-center greedy, Sener and Savarese 2018, ICLR, weighted by uncertainty). No image
is read: the figures are in the cases' summaries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..labels import CLASS_BY_VALUE
from .queue import NOT_SEGMENTED, OPEN, QueueItem, ordered, summary_of

#: Uncertainty of a case without a known one, as a share of the largest.
_UNKNOWN = 0.5


def learning_order(items: Iterable[QueueItem]) -> list[QueueItem]:
    """The same cases, most informative for training first.

    Parameters
    ----------
    items : iterable of QueueItem
        Judged ones stay behind the open ones, and count as known.

    Returns
    -------
    list of QueueItem
        Open cases that are segmented in the order in which to correct them, then the others as
        :func:`~flairseg.study.queue.ordered` has them.
    """
    everything = ordered(items)
    waiting = [item for item in everything if item.state == OPEN and not item.problem]
    rest = [item for item in everything if item not in waiting]
    known = [item for item in rest if item.state not in (OPEN, NOT_SEGMENTED)]
    if len(waiting) < 2:
        return everything
    features = standardised(np.array([features_of(item) for item in [*waiting, *known]]))
    chosen = greedy(uncertainty(waiting), features[: len(waiting)], features[len(waiting) :])
    return [*(waiting[n] for n in chosen), *rest]


def uncertainty(items: list[QueueItem]) -> np.ndarray:
    """Rank of each case's expected correction, from 1 / n to 1; :data:`_UNKNOWN` where it is not known."""
    scores = np.array(
        [math.nan if item.expected_correction_ml is None else item.expected_correction_ml for item in items]
    )
    known = np.isfinite(scores)
    out = np.full(len(items), _UNKNOWN)
    out[known] = (np.searchsorted(np.sort(scores[known]), scores[known], "right")) / max(1, known.sum())
    return out


def greedy(weights: np.ndarray, features: np.ndarray, known: np.ndarray) -> list[int]:
    """Order in which cases are taken: largest weight times distance to the nearest that was taken or is known.

    Parameters
    ----------
    weights : ndarray of float, shape (n,)
    features : ndarray of float, shape (n, figures)
    known : ndarray of float, shape (m, figures)
    """
    count = len(features)
    distance = np.full(count, np.inf)
    for one in known:
        distance = np.minimum(distance, np.linalg.norm(features - one, axis=1))
    left, order = np.ones(count, bool), []
    for _ in range(count):
        reach = np.where(np.isfinite(distance), distance, 1.0)
        # Equal cases stay in the order of their uncertainty.
        score = np.where(left, weights * (reach + 1e-6), -1.0)
        best = int(score.argmax())
        order.append(best)
        left[best] = False
        distance = np.minimum(distance, np.linalg.norm(features - features[best], axis=1))
    return order


def features_of(item: QueueItem) -> list[float]:
    """Figures of a case by its summary: volumes, lesions, model confidence, grid; NaN if unknown."""
    content = summary_of(item)
    volumes: Mapping[str, Any] = content.get("volumes_ml") or {}
    grid: Mapping[str, Any] = content.get("grid") or {}
    lesions = content.get("lesions") or []
    sure = [_number(one.get("confidence")) for one in lesions if isinstance(one, Mapping)]
    sure = [value for value in sure if value == value]
    spacing = [_number(value) for value in grid.get("spacing_mm") or ()]
    count = item.lesion_count
    return [
        # In this order max keeps NaN.
        *(math.log1p(max(_number(volumes.get(one.id)), 0.0)) for one in CLASS_BY_VALUE.values()),
        math.nan if count is None else math.log1p(count),
        float(np.mean(sure)) if sure else math.nan,
        math.log(max(spacing)) if spacing and max(spacing) > 0 else math.nan,
        math.log(min(spacing)) if spacing and min(spacing) > 0 else math.nan,
    ]


def standardised(features: np.ndarray) -> np.ndarray:
    """Figures with mean 0 and deviation 1 over cases, unknown ones 0; constant figures are 0."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(features)
        counts = np.maximum(known.sum(0), 1)
        centred = np.where(known, features, 0) - np.where(known, features, 0).sum(0) / counts
        centred = np.where(known, centred, 0)
        spread = np.sqrt((centred**2).sum(0) / counts)
    return centred / np.where(spread > 1e-9, spread, np.inf)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
