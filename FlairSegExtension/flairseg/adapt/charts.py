"""Control charts: exponentially weighted moving averages, with limits for a stated rate of false alarms.

EWMA (Roberts 1959, Technometrics 1:239) of each figure, standardised by a baseline. The limit is one number for all
charts together: the share of simulated runs without any change in which some chart passes it is about the requested
rate, for normal and for heavy-tailed values, the uncertainty of the baseline included (Jones, Champ and Rigdon
2001, Technometrics 43:156, show how much that is). Single values count as :data:`CLIPPED` deviations at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

#: Weight of the newest case.
WEIGHT = 0.2
#: Rate of false alarms over so many cases, all charts together.
FALSE_ALARMS, HORIZON = 0.05, 100
#: A value counts as so many standard deviations at most: one odd case is no drift.
CLIPPED = 3.0
#: Simulated runs.
RUNS = 4000
#: Alarming side of a chart.
BOTH, LOW, HIGH = 0, -1, 1


@dataclass(frozen=True)
class Chart:
    """One figure over the cases after the baseline.

    Attributes
    ----------
    name : str
    mean, sd : float
        Of the baseline.
    values : tuple of float
        Of the cases, in order; NaN where unknown (the average is unchanged).
    averages : tuple of float
        Moving average of the standardised values, in units of its own standard deviation.
    limit : float
        In the same unit.
    side : int
        :data:`BOTH`, :data:`LOW` or :data:`HIGH`.
    """

    name: str
    mean: float
    sd: float
    values: tuple[float, ...]
    averages: tuple[float, ...]
    limit: float
    side: int

    @property
    def alarm(self) -> int | None:
        """Place of the first case (from 0) at which the average passes the limit; None if it never does."""
        passed = np.flatnonzero(sided(np.asarray(self.averages), self.side) > self.limit)
        return int(passed[0]) if passed.size else None


def chart(name: str, baseline: Sequence[float], values: Sequence[float], limit: float, side: int = BOTH) -> Chart:
    """The chart of a figure.

    Parameters
    ----------
    name : str
    baseline : sequence of float
        Its values before; NaN are left out. A spread of 0 counts as a thousandth of the mean.
    values : sequence of float
        Its values since, in order.
    limit : float
        From :func:`limit_for`.
    side : int
    """
    known = np.asarray(baseline, float)
    known = known[np.isfinite(known)]
    mean = float(known.mean()) if known.size else 0.0
    return chart_of(name, mean, float(known.std(ddof=1)) if known.size > 1 else 0.0, values, limit, side)


def chart_of(name: str, mean: float, sd: float, values: Sequence[float], limit: float, side: int = BOTH) -> Chart:
    """As :func:`chart`, from mean and standard deviation of the baseline."""
    sd = sd or max(abs(mean) / 1000, 1e-6)
    averages = averaged((np.asarray(values, float) - mean) / sd)
    return Chart(name, mean, sd, tuple(map(float, values)), tuple(map(float, averages)), limit, side)


def averaged(standardised: np.ndarray) -> np.ndarray:
    """Moving averages along the last axis, in units of their own standard deviation; NaN leave them unchanged."""
    out = np.zeros(standardised.shape)
    average = np.zeros(standardised.shape[:-1])
    seen = np.zeros(standardised.shape[:-1])
    for n in range(standardised.shape[-1]):
        value = np.clip(standardised[..., n], -CLIPPED, CLIPPED)
        known = np.isfinite(value)
        average = np.where(known, WEIGHT * np.where(known, value, 0) + (1 - WEIGHT) * average, average)
        seen = seen + known
        variance = WEIGHT / (2 - WEIGHT) * (1 - (1 - WEIGHT) ** (2 * np.maximum(seen, 1)))
        out[..., n] = average / np.sqrt(variance)
    return out


def sided(averages: np.ndarray, side: int) -> np.ndarray:
    """The statistic compared with the limit."""
    return np.abs(averages) if side == BOTH else averages * side


@lru_cache(maxsize=32)
def limit_for(baseline: int, sides: tuple[int, ...]) -> float:
    """The limit that some chart exceeds within :data:`HORIZON` cases in :data:`FALSE_ALARMS` of runs without change.

    Parameters
    ----------
    baseline : int
        Cases from which mean and standard deviation are estimated.
    sides : tuple of int
        One for each chart.
    """
    drawn = (_largest(baseline, sides, 0, heavy) for heavy in (False, True))
    return max(float(np.quantile(largest, 1 - FALSE_ALARMS)) for largest in drawn)


def false_alarm_rate(limit: float, baseline: int, sides: tuple[int, ...], seed: int = 1, heavy: bool = False) -> float:
    """Share of simulated runs without any change in which some chart alarms.

    Parameters
    ----------
    limit : float
    baseline, sides
        As for :func:`limit_for`.
    seed : int
        0 are the runs from which the limit was derived.
    heavy : bool
        Values with heavy tails (Student's t with 5 degrees of freedom) in place of normal ones.
    """
    return float((_largest(baseline, sides, seed, heavy) > limit).mean())


def _largest(baseline: int, sides: tuple[int, ...], seed: int, heavy: bool) -> np.ndarray:
    """Largest average of any chart in each run, shape (:data:`RUNS`,)."""
    rng = np.random.default_rng(seed)
    largest = np.full(RUNS, -np.inf)
    for side in sides:
        shape = (RUNS, baseline + HORIZON)
        drawn = rng.standard_t(5, shape) if heavy else rng.standard_normal(shape)
        before, after = drawn[:, :baseline], drawn[:, baseline:]
        mean, sd = before.mean(1, keepdims=True), before.std(1, ddof=1, keepdims=True)
        largest = np.maximum(largest, sided(averaged((after - mean) / sd), side).max(1))
    return largest
