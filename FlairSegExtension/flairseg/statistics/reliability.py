"""Reliability and agreement of numbers: intraclass correlations, Bland-Altman limits, repeatability coefficient.

Values are arrays of shape (items, raters), nan where there is none. The intraclass correlations are closed forms on the
mean squares of the two-way table (Shrout and Fleiss 1979, intervals of McGraw and Wong 1996). pingouin would compute
them but is GPL; SciPy gives the distributions, and the tests compare with statsmodels' analysis of variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..reporting.wording import counted
from .intervals import CONFIDENCE, Estimate, estimate

#: Half-width of the limits of agreement in standard deviations (95 % of normal differences).
LIMITS_SD = 1.96
#: Numbers that differ by less than this share of them differ by rounding.
_ROUNDING = 1e-12
_FEW_ITEMS = "At least two items with all values are needed."
_NO_SPREAD = "All values are equal: no variance between items, so the coefficient is 0/0."
_SINGLE, _AGREEMENT, _CONSISTENCY = "ICC(1,1)", "ICC(2,1)", "ICC(3,1)"
_SINGLE_MEAN, _AGREEMENT_MEAN, _CONSISTENCY_MEAN = "ICC(1,k)", "ICC(2,k)", "ICC(3,k)"


def mean_squares(values: np.ndarray) -> tuple[float, float, float, float]:
    """Mean squares of a complete two-way table, shape (items, raters): between items, within, raters, residual."""
    values = np.asarray(values, dtype=float)
    n, k = values.shape
    grand = values.mean()
    items, raters = values.mean(axis=1), values.mean(axis=0)
    between = k * ((items - grand) ** 2).sum() / (n - 1)
    within = ((values - items[:, None]) ** 2).sum() / (n * (k - 1))
    judges = n * ((raters - grand) ** 2).sum() / (k - 1)
    residual = ((values - items[:, None] - raters[None, :] + grand) ** 2).sum() / ((n - 1) * (k - 1))
    return float(between), float(within), float(judges), float(residual)


def intraclass_correlations(values: np.ndarray) -> dict[str, Estimate]:
    """The six intraclass correlations of Shrout and Fleiss, with intervals.

    Parameters
    ----------
    values : ndarray, shape (items, raters)
        Items with a missing value are left out, with a note.

    Returns
    -------
    dict of str to Estimate
        ``ICC(1,1)``, ``ICC(2,1)`` (absolute agreement, raters random), ``ICC(3,1)`` (consistency, raters fixed) and the
        same with ``k`` for the mean over raters. ``n`` counts complete items.

    References
    ----------
    Shrout PE, Fleiss JL. Intraclass correlations: uses in assessing rater reliability. Psychol Bull 1979;86:420-428.
    McGraw KO, Wong SP. Forming inferences about some intraclass correlation coefficients. Psychol Methods 1996;1:30-46.
    """
    values = np.asarray(values, dtype=float)
    names = (_SINGLE, _AGREEMENT, _CONSISTENCY, _SINGLE_MEAN, _AGREEMENT_MEAN, _CONSISTENCY_MEAN)
    complete = values[np.isfinite(values).all(axis=1)] if values.size else values
    n, k = complete.shape if complete.ndim == 2 else (0, 0)
    if n < 2 or k < 2:
        return {name: Estimate(None, n=n, note=_FEW_ITEMS) for name in names}
    between, within, judges, residual = mean_squares(complete)
    scale = max(abs(complete).max(), 1.0) ** 2 * 1e-24
    if max(between, within) <= scale:
        return {name: Estimate(None, n=n, note=_NO_SPREAD) for name in names}
    left_out = len(values) - n
    note = f"Left out: {counted(left_out, 'item')} with missing values." if left_out else ""
    points = {
        _SINGLE: _over(between - within, between + (k - 1) * within, scale),
        _AGREEMENT: _over(between - residual, between + (k - 1) * residual + k * (judges - residual) / n, scale),
        _CONSISTENCY: _over(between - residual, between + (k - 1) * residual, scale),
        _SINGLE_MEAN: _over(between - within, between, scale),
        _AGREEMENT_MEAN: _over(between - residual, between + (judges - residual) / n, scale),
        _CONSISTENCY_MEAN: _over(between - residual, between, scale),
    }
    limits = _icc_limits(n, k, between, within, judges, residual, scale)
    found = {}
    for name in names:
        said = note
        if not math.isfinite(points[name]):
            said = _joined(note, "The items do not differ on average, so the coefficient is not defined.")
        elif points[name] < 0:
            said = _joined(note, "Below zero: the values of one item differ more than items do.")
        found[name] = estimate(points[name], *limits[name], n, "F distribution (McGraw and Wong)", said)
    return found


def _icc_limits(
    n: int, k: int, between: float, within: float, judges: float, residual: float, scale: float
) -> dict[str, tuple[float, float]]:
    """Limits of the six coefficients; without error variance they are 1 to 1."""
    from scipy.stats import f

    upper = 1 - (1 - CONFIDENCE) / 2
    items, errors = n - 1, (n - 1) * (k - 1)

    def single(ratio: float) -> float:
        return (ratio - 1) / (ratio + k - 1) if math.isfinite(ratio) else 1.0

    def of_mean(ratio: float) -> float:
        return 1 - 1 / ratio if ratio > 0 else math.nan

    def f_limits(error: float, error_freedom: int) -> tuple[float, float]:
        if error <= scale:
            return math.inf, math.inf
        ratio = between / error
        return ratio / f.ppf(upper, items, error_freedom), ratio * f.ppf(upper, error_freedom, items)

    one, three = f_limits(within, n * (k - 1)), f_limits(residual, errors)
    limits = {
        _SINGLE: (single(one[0]), single(one[1])),
        _SINGLE_MEAN: (of_mean(one[0]), of_mean(one[1])),
        _CONSISTENCY: (single(three[0]), single(three[1])),
        _CONSISTENCY_MEAN: (of_mean(three[0]), of_mean(three[1])),
    }
    limits[_AGREEMENT], limits[_AGREEMENT_MEAN] = _agreement_limits(n, k, between, judges, residual, scale)
    return limits


def _agreement_limits(
    n: int, k: int, between: float, judges: float, residual: float, scale: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits of ICC(2,1) and ICC(2,k): Satterthwaite's degrees of freedom, Shrout and Fleiss 1979, page 424."""
    from scipy.stats import f

    if max(judges, residual) <= scale:
        return (1.0, 1.0), (1.0, 1.0)
    rho = _over(between - residual, between + (k - 1) * residual + k * (judges - residual) / n, scale)
    if not math.isfinite(rho) or residual <= scale:
        return (math.nan, math.nan), (math.nan, math.nan)
    fj = judges / residual
    numerator = (k - 1) * (n - 1) * (k * rho * fj + n * (1 + (k - 1) * rho) - k * rho) ** 2
    denominator = (n - 1) * k**2 * rho**2 * fj**2 + (n * (1 + (k - 1) * rho) - k * rho) ** 2
    # Both 0 where judges do not differ and the coefficient is far below 0: no degrees of freedom, no limits.
    if not denominator > 0:
        return (math.nan, math.nan), (math.nan, math.nan)
    freedom = numerator / denominator
    upper = 1 - (1 - CONFIDENCE) / 2
    above, below = f.ppf(upper, n - 1, freedom), f.ppf(upper, freedom, n - 1)
    rest = k * judges + (k * n - k - n) * residual
    low = n * (between - above * residual) / (above * rest + n * between)
    high = n * (below * between - residual) / (rest + n * below * between)

    def of_mean(single: float) -> float:
        return single * k / (1 + single * (k - 1))

    return (low, high), (of_mean(low), of_mean(high))


@dataclass(frozen=True)
class LimitsOfAgreement:
    """Bland and Altman's analysis of paired numbers, in their unit.

    ``bias`` is the mean of second minus first; ``lower`` and ``upper`` are the limits of agreement. Each is an
    :class:`~.intervals.Estimate` with a t interval.
    """

    bias: Estimate
    lower: Estimate
    upper: Estimate
    sd: float
    n: int
    #: Spearman's correlation of absolute difference and mean: differences that grow with size.
    trend: float | None
    trend_p: float | None
    note: str = ""


def bland_altman(first: np.ndarray, second: np.ndarray, multiplier: float = LIMITS_SD) -> LimitsOfAgreement:
    """Bias and limits of agreement of paired numbers, with intervals.

    Parameters
    ----------
    first, second : ndarray, shape (items,)
        nan where missing; such pairs are left out.
    multiplier : float
        Standard deviations from the bias to a limit. The paper of 1986 used 2.

    Returns
    -------
    LimitsOfAgreement
        Differences are second minus first; without two pairs every part is undefined, with a note.

    References
    ----------
    Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of clinical measurement.
    Lancet 1986;327:307-310.
    """
    from scipy import stats

    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    n = len(first)
    if n < 2:
        nothing = Estimate(None, n=n, note="At least two pairs are needed.")
        return LimitsOfAgreement(nothing, nothing, nothing, math.nan, n, None, None, nothing.note)
    differences = second - first
    bias = float(differences.mean())
    sd = 0.0 if _are_equal(differences, np.abs([first, second]).max()) else float(differences.std(ddof=1))
    t = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2, n - 1))
    # Variance of a limit about 3 s^2 / n (Bland and Altman 1986).
    half_bias, half_limit = t * sd / math.sqrt(n), t * sd * math.sqrt(3 / n)

    def with_t(value: float, half: float) -> Estimate:
        return estimate(value, value - half, value + half, n, "t distribution")

    notes, trend, trend_p = [], None, None
    if sd == 0:
        notes.append("Every pair differs by the same amount, so the limits fall on the bias.")
    else:
        size = np.abs(differences), first + second
        if np.ptp(size[0]) > 0 and np.ptp(size[1]) > 0:
            result = stats.spearmanr(*size)
            trend, trend_p = float(result.statistic), float(result.pvalue)
            if trend_p < 1 - CONFIDENCE and trend > 0:
                notes.append("Differences grow with size: the limits are too wide for small and too narrow for large.")
    lower, upper = with_t(bias - multiplier * sd, half_limit), with_t(bias + multiplier * sd, half_limit)
    return LimitsOfAgreement(with_t(bias, half_bias), lower, upper, sd, n, trend, trend_p, " ".join(notes))


def repeatability_coefficient(values: np.ndarray) -> Estimate:
    """Repeatability coefficient: bound of 95 % of repeat differences, 1.96 * sqrt(2) * within-item standard deviation.

    Parameters
    ----------
    values : ndarray, shape (items, repeats)
        nan where missing; an item needs two values.

    Returns
    -------
    Estimate
        In the unit of the values, with a chi-squared interval; ``n`` counts items.

    References
    ----------
    Bland JM, Altman DG. Measuring agreement in method comparison studies. Stat Methods Med Res 1999;8:135-160.
    """
    from scipy.stats import chi2

    values = np.asarray(values, dtype=float)
    rows = [row[np.isfinite(row)] for row in values]
    rows = [row for row in rows if len(row) >= 2]
    freedom = sum(len(row) - 1 for row in rows)
    if not rows:
        return Estimate(None, note="No item was rated twice.")
    different = [row for row in rows if not _are_equal(row, np.abs(row).max())]
    squares = float(sum(((row - row.mean()) ** 2).sum() for row in different))
    factor = LIMITS_SD * math.sqrt(2)
    if squares == 0:
        return Estimate(0.0, n=len(rows), note="Every repeat gave the same value; no interval.")
    tail = (1 - CONFIDENCE) / 2
    low, high = (math.sqrt(squares / chi2.ppf(q, freedom)) for q in (1 - tail, tail))
    return estimate(
        factor * math.sqrt(squares / freedom), factor * low, factor * high, len(rows), "chi-squared distribution"
    )


def _are_equal(values: np.ndarray, size: float) -> bool:
    """Whether values differ by rounding alone; ``size`` is that of the numbers they were computed from."""
    return bool(np.ptp(values) <= _ROUNDING * size)


def _over(numerator: float, denominator: float, scale: float) -> float:
    """A share of variance; nan where the estimate of the whole is zero to rounding, or negative."""
    return numerator / denominator if denominator > scale else math.nan


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
