"""Estimates with intervals: Wilson for one proportion, bootstrap over cases for everything else.

The case (patient) is the unit: readings of one case by several raters, in several arms or at several times are not
independent, so whole cases are drawn. SciPy draws and corrects (BCa), statsmodels gives Wilson's interval.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Level of every interval in the report.
CONFIDENCE = 0.95
#: Resamples of the bootstrap: enough for limits stable to about 0.01 of an agreement coefficient.
RESAMPLES = 2000
#: Below this number of cases a bootstrap interval is too narrow on average, as the report notes.
FEW_CASES = 20
FEW_CASES_NOTE = "Only {} cases: the interval is rough."
#: Numbers that one block of resamples may hold at a time.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval, and the reason if either is undefined.

    Parameters
    ----------
    value : float or None
        None if the figure is not defined for these data; ``note`` then gives the reason.
    low, high : float or None
        Limits of the interval at :data:`CONFIDENCE`.
    n : int
        Its sample size (cases, readings or pairs: the table that shows it states which).
    interval : str
        Method of the limits, for instance ``Wilson``.
    note : str
        Remark on this figure.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    interval: str = ""
    note: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


def estimate(
    value: float, low: float = math.nan, high: float = math.nan, n: int = 0, interval: str = "", note: str = ""
) -> Estimate:
    """An :class:`Estimate` with None for non-finite numbers."""
    known = float(value) if math.isfinite(value) else None
    if not (math.isfinite(low) and math.isfinite(high)):
        return Estimate(known, n=n, note=note)
    return Estimate(known, float(low), float(high), n, interval, note)


def wilson(successes: int, total: int) -> Estimate:
    """A proportion with Wilson's score interval.

    Parameters
    ----------
    successes, total : int
        ``0 <= successes <= total``; a total of 0 gives an undefined estimate.

    Returns
    -------
    Estimate

    References
    ----------
    Wilson EB. Probable inference, the law of succession, and statistical inference. J Am Stat Assoc 1927;22:209-212.
    """
    from statsmodels.stats.proportion import proportion_confint

    if total == 0:
        return Estimate(None, note="No answers.")
    low, high = proportion_confint(successes, total, alpha=1 - CONFIDENCE, method="wilson")
    return estimate(successes / total, max(float(low), 0.0), min(float(high), 1.0), total, "Wilson")


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, nan where it is 0 / 0, without a warning."""
    with np.errstate(invalid="ignore", divide="ignore"):
        out: np.ndarray = part / whole
        return out


def over_cases(
    sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], name: str, seed: int, value: float | None = None
) -> Estimate:
    """A figure that is a function of sums over cases, with a bootstrap interval over cases.

    BCa limits (bias-corrected and accelerated); where they do not exist, percentile limits of those resamples in which
    the figure is defined.

    Parameters
    ----------
    sums : ndarray, shape (cases, m)
        Contribution of each case to the ``m`` sums of the figure.
    statistic : callable
        Maps summed rows, shape (..., m), to figures, shape (...); nan where the figure is undefined.
    name : str
        Names the stream of random numbers, so that a figure does not depend on which others were computed.
    seed : int
        Seed of the whole analysis.
    value : float, optional
        The figure itself, where a library computed it; without it ``statistic`` of the sums.

    Returns
    -------
    Estimate
        ``n`` is the number of cases.

    References
    ----------
    Efron B. Better bootstrap confidence intervals. J Am Stat Assoc 1987;82:171-185.
    Field CA, Welsh AH. Bootstrapping clustered data. J R Stat Soc B 2007;69:369-390.
    """
    from scipy import stats

    sums = np.asarray(sums, dtype=float)
    cases = len(sums)
    point = float(statistic(sums.sum(axis=0))) if value is None else value
    if cases == 0 or not math.isfinite(point):
        return estimate(point, n=cases)
    if cases < 2:
        return estimate(point, n=cases, note="One case: no interval.")

    def of_resample(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(sums[drawn].sum(axis=-2))

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        # Degenerate resamples are handled below, and noted.
        warnings.simplefilter("ignore")
        result = stats.bootstrap(
            (np.arange(cases),),
            of_resample,
            n_resamples=RESAMPLES,
            batch=max(1, _BLOCK // (cases * sums.shape[1])),
            vectorized=True,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=stream(seed, name),
        )
    notes = [FEW_CASES_NOTE.format(cases)] if cases < FEW_CASES else []
    drawn = result.bootstrap_distribution
    finite = drawn[np.isfinite(drawn)]
    low, high = (float(limit) for limit in result.confidence_interval)
    method = "BCa bootstrap over cases"
    if finite.size < drawn.size or not (math.isfinite(low) and math.isfinite(high)):
        method = "percentile bootstrap over cases"
        tail = (1 - CONFIDENCE) / 2
        low, high = (
            (float(limit) for limit in np.quantile(finite, (tail, 1 - tail))) if finite.size else (math.nan,) * 2
        )
    if finite.size < drawn.size:
        share = 100 * (1 - finite.size / drawn.size)
        told = "less than 1" if share < 1 else f"{share:.0f}"
        notes.append(f"Undefined in {told} % of the resamples; the interval is based on the others.")
    if low == high:
        notes.append("Every resample gave the same figure: an interval of zero width does not reflect precision.")
        low = high = math.nan
    return estimate(point, low, high, cases, method, " ".join(notes))


def stream(seed: int, name: str) -> np.random.Generator:
    """Random numbers that depend on the seed and on the name of the figure alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
