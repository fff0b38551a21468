"""Effect sizes between groups: median difference, Cliff's delta, eta-squared of ranks, rank correlation.

No distribution of the values is assumed: lesion volumes are skewed and have many ties at zero. Values are 1-D
arrays of finite numbers, one for each subject; groups are independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .intervals import CONFIDENCE, FEW_CASES, FEW_CASES_NOTE, RESAMPLES, Estimate, estimate, stream

#: Fewest values of a group, and of pairs of a correlation, for which a figure is given.
FEWEST, FEWEST_PAIRS = 3, 5
_NO_SPREAD = "All values are equal."
_NO_WIDTH = "Every resample gave the same figure: an interval of zero width does not reflect precision."


def resampled_medians(values: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Medians of bootstrap resamples, shape (:data:`~.intervals.RESAMPLES`,).

    A resample is drawn by the ranks of uniform numbers, so its median is the value at the rank of their median. Order
    statistics of uniform numbers are beta distributed: drawing only the middle ones gives the same distribution
    in a time that does not depend on n.

    Parameters
    ----------
    values : ndarray, shape (n,)
    name : str
        Names the stream of random numbers: groups of other names are resampled independently.
    seed : int
    """
    ordered, rng = np.sort(np.asarray(values, dtype=float)), stream(seed, name)
    n, middle = len(ordered), (len(ordered) + 1) // 2
    lower = rng.beta(middle, n - middle + 1, RESAMPLES)
    drawn: np.ndarray = ordered[np.minimum((lower * n).astype(int), n - 1)]
    if n % 2:
        return drawn
    # The next order statistic is the least of n - middle uniform numbers above the lower one.
    upper = lower + (1 - lower) * rng.beta(1, n - middle, RESAMPLES)
    middles: np.ndarray = (drawn + ordered[np.minimum((upper * n).astype(int), n - 1)]) / 2
    return middles


def median_difference(
    first: np.ndarray, second: np.ndarray, first_medians: np.ndarray, second_medians: np.ndarray
) -> Estimate:
    """Median of the second group minus that of the first, with a percentile bootstrap interval.

    Percentile and not BCa limits: the acceleration of a median does not exist.

    Parameters
    ----------
    first, second : ndarray, shape (n,)
    first_medians, second_medians : ndarray, shape (RESAMPLES,)
        Of :func:`resampled_medians`, so that a group in many comparisons is resampled once.

    Returns
    -------
    Estimate
        ``n`` counts both groups.
    """
    n, tail = len(first) + len(second), (1 - CONFIDENCE) / 2
    point = float(np.median(second) - np.median(first))
    low, high = (float(limit) for limit in np.quantile(second_medians - first_medians, (tail, 1 - tail)))
    notes = [_rough(first, second)]
    if low == high:
        notes.append(_NO_WIDTH)
        low = high = math.nan
    return estimate(point, low, high, n, "percentile bootstrap within groups", " ".join(filter(None, notes)))


def cliffs_delta(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Probability that a value of the second group is the larger one, minus that it is the smaller one.

    Parameters
    ----------
    first, second : ndarray, shape (n,)

    Returns
    -------
    Estimate
        -1 to 1; 0: neither group tends to larger values. Limits by the asymmetric interval with the unbiased variance
        of the dominance; where groups do not overlap, by the smaller group's size.

    References
    ----------
    Cliff N. Dominance statistics: ordinal analyses to answer ordinal questions. Psychol Bull 1993;114:494-509.
    Feng D, Cliff N. Monte Carlo evaluation of ordinal d with improved confidence interval. J Mod Appl Stat Methods
    2004;3:322-332.
    """
    from scipy.stats import norm

    n1, n2 = len(first), len(second)
    if min(n1, n2) < 2:
        return Estimate(None, n=n1 + n2, note="At least two values of each group are needed.")
    a, b = np.sort(first), np.sort(second)
    # Row means of the dominance matrix sign(second - first), by ranks instead of the matrix.
    of_first = (n2 - np.searchsorted(b, a, "right") - np.searchsorted(b, a, "left")) / n2
    of_second = (np.searchsorted(a, b, "left") + np.searchsorted(a, b, "right") - n1) / n1
    delta = float(of_first.mean())
    ties = int((np.searchsorted(a, b, "right") - np.searchsorted(a, b, "left")).sum())
    z, note = float(norm.ppf((1 + CONFIDENCE) / 2)), _rough(first, second)
    method = "Feng and Cliff"
    if abs(delta) == 1:
        smaller = min(n1, n2)
        low, high = sorted((delta * (smaller - z**2) / (smaller + z**2), delta))
        return estimate(delta, low, high, n1 + n2, method, note)
    within = n1 * n2 - ties - n1 * n2 * delta**2
    squares = n2**2 * ((of_first - delta) ** 2).sum() + n1**2 * ((of_second - delta) ** 2).sum() - within
    variance = max(squares / (n1 * n2 * (n1 - 1) * (n2 - 1)), (1 - delta**2) / (n1 * n2 - 1))
    if ties == n1 * n2:
        return estimate(0.0, n=n1 + n2, note=_NO_SPREAD)
    half = z * math.sqrt(variance) * math.sqrt((1 - delta**2) ** 2 + z**2 * variance)
    below = 1 - delta**2 + z**2 * variance
    low, high = (delta - delta**3 - half) / below, (delta - delta**3 + half) / below
    return estimate(delta, max(low, -1.0), min(high, 1.0), n1 + n2, method, note)


def rank_eta_squared(groups: Sequence[np.ndarray]) -> tuple[Estimate, float]:
    """Share of the variance of ranks that is between groups, and the p of Kruskal and Wallis.

    Parameters
    ----------
    groups : sequence of ndarray, shape (n,)
        Two and more.

    Returns
    -------
    effect : Estimate
        (H - k + 1) / (n - k), at least 0; limits by inversion of the noncentral F distribution of the ranks' analysis
        of variance.
    p : float
        nan where all values are equal.

    References
    ----------
    Tomczak M, Tomczak E. The need to report effect size estimates revisited. Trends Sport Sci 2014;21:19-25.
    Steiger JH. Beyond the F test. Psychol Methods 2004;9:164-182.
    """
    from scipy import stats

    n, k = sum(map(len, groups)), len(groups)
    values = np.concatenate(groups)
    if np.ptp(values) == 0 or n <= k:
        return Estimate(None, n=n, note=_NO_SPREAD), math.nan
    h, p = (float(x) for x in stats.kruskal(*groups))
    point = max(0.0, (h - k + 1) / (n - k))
    explained = min(h / (n - 1), 1.0)
    if explained > 1 - 1e-12:
        return estimate(1.0, n=n, note="The groups' ranks do not vary within groups."), p
    f = explained / (1 - explained) * (n - k) / (k - 1)
    tail = (1 - CONFIDENCE) / 2
    low, high = (_noncentral(f, k - 1, n - k, level) for level in (1 - tail, tail))
    if high == 0:
        return estimate(point, n=n, note="The groups are more alike than expected by chance: no interval."), p
    return estimate(point, low / (low + n), max(high / (high + n), point), n, "noncentral F", _rough(*groups)), p


def _noncentral(f: float, between: int, within: int, level: float) -> float:
    """The noncentrality under which ``f`` is the ``level`` quantile; 0 where there is none."""
    from scipy import optimize, stats

    def off(noncentrality: float) -> float:
        if noncentrality == 0:
            return float(stats.f.cdf(f, between, within)) - level
        return float(stats.ncf.cdf(f, between, within, noncentrality)) - level

    if off(0.0) <= 0:
        return 0.0
    upper = max(1.0, f * between)
    while off(upper) > 0:
        upper *= 2
    return float(optimize.brentq(off, 0.0, upper, xtol=1e-6))


def spearman(x: np.ndarray, y: np.ndarray) -> tuple[Estimate, float]:
    """Spearman's rank correlation with its interval, and its p.

    Parameters
    ----------
    x, y : ndarray, shape (n,)

    Returns
    -------
    rho : Estimate
        Limits by Fisher's z with the standard error of Bonett and Wright.
    p : float
        nan where rho is not defined.

    References
    ----------
    Bonett DG, Wright TA. Sample size requirements for estimating Pearson, Kendall and Spearman correlations.
    Psychometrika 2000;65:23-28.
    """
    from scipy import stats

    n = len(x)
    if n < FEWEST_PAIRS:
        return Estimate(None, n=n, note=f"At least {FEWEST_PAIRS} subjects are needed."), math.nan
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(None, n=n, note=_NO_SPREAD), math.nan
    found = stats.spearmanr(x, y)
    rho, p = float(found.statistic), float(found.pvalue)
    if abs(rho) > 1 - 1e-12:
        return estimate(round(rho), n=n, note="Perfectly monotonic: no interval."), p
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
    return estimate(rho, low, high, n, "Fisher z (Bonett and Wright)", _rough(x)), p


def mann_whitney_p(first: np.ndarray, second: np.ndarray) -> float:
    """The two-sided p of Mann and Whitney; nan where all values are equal."""
    from scipy.stats import mannwhitneyu

    if np.ptp(np.concatenate([first, second])) == 0:
        return math.nan
    return float(mannwhitneyu(first, second, alternative="two-sided").pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p values for their number by Holm's method; nan stays nan and does not count.

    References
    ----------
    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.
    """
    p = np.asarray(values, dtype=float)
    adjusted, known = np.full(p.shape, np.nan), np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(one) for one in adjusted]


def _rough(*groups: np.ndarray) -> str:
    fewest = min(map(len, groups))
    return FEW_CASES_NOTE.format(fewest).replace("cases", "subjects") if fewest < FEW_CASES else ""
