"""Agreement of volumes with the reference (source: S5), and paired comparison of methods on the same patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from ..statistics.intervals import Estimate, over_cases
from ..statistics.reliability import bland_altman, intraclass_correlations
from .resampling import in_patients, mean_over_patients
from .rows import LoadAgreement, PairedTest

_FEW_PAIRS = "Fewer than {} pairs: no p below 0.05 is possible."
#: Smallest number of non-zero differences whose two-sided exact p can be below 0.05.
_SMALLEST_TESTABLE = 6


def load_agreement(
    method: str,
    class_id: str,
    cases: Sequence[str],
    reference_ml: Sequence[float],
    predicted_ml: Sequence[float],
    seed: int,
) -> LoadAgreement:
    """Bland-Altman limits, R2 and regression line, and ICC(2,1) of volumes in ml.

    Parameters
    ----------
    method, class_id : str
    cases : sequence of str
        Names, in the order of the volumes.
    reference_ml, predicted_ml : sequence of float
        Volumes in ml.
    seed : int
        Seed of the bootstrap.
    """
    x, y = np.asarray(reference_ml, dtype=float), np.asarray(predicted_ml, dtype=float)
    sums = np.column_stack([np.ones_like(x), x, y, x * x, y * y, x * y])
    r2 = in_patients(over_cases(sums, _r_squared, f"R2/{class_id}/{method}", seed))
    slope = intercept = math.nan
    note = ""
    if len(x) >= 2 and np.ptp(x) > 0:
        slope, intercept = (float(v) for v in np.polyfit(x, y, 1))
    else:
        note = "All references have the same volume: no line can be fitted."
    icc = in_patients(intraclass_correlations(np.column_stack([x, y]))["ICC(2,1)"])
    return LoadAgreement(method, class_id, tuple(cases), x, y, bland_altman(x, y), r2, slope, intercept, icc, note)


def _r_squared(sums: np.ndarray) -> np.ndarray:
    """Squared Pearson correlation from sums of 1, x, y, xx, yy and xy; NaN without spread."""
    n, sx, sy, sxx, syy, sxy = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    spread_x, spread_y = n * sxx - sx**2, n * syy - sy**2
    # For equal values, the differences of sums are rounding errors.
    flat = (spread_x <= 1e-10 * n * sxx) | (spread_y <= 1e-10 * n * syy)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, np.nan, np.minimum((n * sxy - sx * sy) ** 2 / (spread_x * spread_y), 1.0))


def paired_tests(
    values: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]], methods: Sequence[str], seed: int
) -> list[PairedTest]:
    """Wilcoxon's signed-rank test for each pair of methods, class and metric; p adjusted per metric (Holm).

    Parameters
    ----------
    values : mapping of (figure, class) to mapping of method to mapping of case to float
        NaN where undefined; such cases are excluded from the pair.
    methods : sequence of str
        Methods, in order.
    seed : int

    Returns
    -------
    list of PairedTest

    References
    ----------
    Wilcoxon F. Individual comparisons by ranking methods. Biometrics Bull 1945;1:80-83. Zero differences are
    excluded (Wilcoxon's procedure). Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat
    1979;6:65-70.
    """
    rows: list[PairedTest] = []
    for (figure, class_id), by_method in values.items():
        known = [m for m in methods if m in by_method]
        for first, second in combinations(known, 2):
            rows.append(_paired(figure, class_id, first, second, by_method[first], by_method[second], seed))
    adjusted = []
    for figure in dict.fromkeys(row.figure for row in rows):
        adjusted += holm([row for row in rows if row.figure == figure])
    return adjusted


def _paired(
    figure: str,
    class_id: str,
    first: str,
    second: str,
    in_first: Mapping[str, float],
    in_second: Mapping[str, float],
    seed: int,
) -> PairedTest:
    from scipy import stats

    cases = [c for c in in_first if c in in_second and np.isfinite(in_first[c]) and np.isfinite(in_second[c])]
    differences = np.array([in_second[c] - in_first[c] for c in cases], dtype=float)
    if not cases:
        nothing = Estimate(None, note="No patient has this metric with both methods.")
        return PairedTest(figure, class_id, first, second, nothing, *(math.nan,) * 4, nothing.note)
    mean = mean_over_patients(differences, f"paired/{figure}/{class_id}/{first}/{second}", seed)
    median = float(np.median(differences))
    # Rounding errors must not be ranked as differences.
    differences[np.abs(differences) < 1e-12] = 0.0
    changed = differences[differences != 0]
    if not changed.size:
        note = "No patient differs between the methods: p is 1 by definition."
        return PairedTest(figure, class_id, first, second, mean, median, 0.0, 1.0, math.nan, note)
    result = stats.wilcoxon(changed, zero_method="wilcox", alternative="two-sided")
    note = _FEW_PAIRS.format(_SMALLEST_TESTABLE) if changed.size < _SMALLEST_TESTABLE else ""
    return PairedTest(
        figure, class_id, first, second, mean, median, float(result.statistic), float(result.pvalue), math.nan, note
    )


def holm(rows: Sequence[PairedTest]) -> list[PairedTest]:
    """The rows with p values adjusted for their number (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    tested = [row.p for row in rows if math.isfinite(row.p)]
    adjusted = iter(multipletests(tested, method="holm")[1] if tested else ())
    return [replace(row, p_holm=float(next(adjusted))) if math.isfinite(row.p) else row for row in rows]
