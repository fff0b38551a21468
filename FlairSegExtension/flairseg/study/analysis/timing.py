"""Time per case: distribution, differences between arms, and learning curves."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ...statistics.intervals import CONFIDENCE, Estimate, estimate
from .tidy import RatingTable

if TYPE_CHECKING:
    import pandas as pd

#: Number of showings over which the change of time along the session is given.
SHOWINGS_STEP = 10
#: Name of each test.
PAIRED_TEST = "Wilcoxon signed-rank test on case means"
MIXED_MODEL = "linear mixed model of log time"
CORRELATION = "Spearman correlation"
#: Fewest cases for a mixed model; below, only the paired test is made.
_FEWEST_CASES = 6
_DIFFERENT = "too few showings with different times"


@dataclass(frozen=True)
class TimingRow:
    """Active seconds per showing of one arm and rater."""

    arm: str
    rater: str
    showings: int
    timed: int
    median: float | None
    lower_quartile: float | None
    upper_quartile: float | None
    total_minutes: float | None
    timed_out: int


@dataclass(frozen=True)
class TimingTest:
    """One comparison of times: a ratio with its interval where there is a model, a p value, and the test."""

    what: str
    method: str
    ratio: Estimate
    p: float | None
    n: int
    note: str = ""


def timing_rows(table: RatingTable) -> list[TimingRow]:
    """Median and quartiles of the active seconds per arm and rater."""
    rows = []
    for arm in table.arms:
        for label, _, shown in table.groups(arm):
            seconds = shown["active_seconds"].dropna().to_numpy(dtype=float)
            median, low, high = np.quantile(seconds, (0.5, 0.25, 0.75)).tolist() if seconds.size else [None] * 3
            total = float(seconds.sum()) / 60 if seconds.size else None
            rows.append(
                TimingRow(
                    arm, label, len(shown), int(seconds.size), median, low, high, total, int(shown["timed_out"].sum())
                )
            )
    return rows


def timing_tests(table: RatingTable) -> list[TimingTest]:
    """Arms compared case by case, a mixed model of the logarithm of time, and each rater's learning curve.

    The model has arm, rater and place in the order as fixed effects and a random intercept for each case; effects are
    ratios of (geometric mean) time.

    References
    ----------
    Wilcoxon F. Individual comparisons by ranking methods. Biometrics Bull 1945;1:80-83.
    Laird NM, Ware JH. Random-effects models for longitudinal data. Biometrics 1982;38:963-974.
    """
    timed = table.showings[table.showings["active_seconds"] > 0]
    if timed.empty:
        return []
    return [*_paired_tests(table), *_mixed_model(table), *_learning(table)]


def _paired_tests(table: RatingTable) -> list[TimingTest]:
    """Wilcoxon's signed-rank test on the mean time of each case in two arms."""
    from scipy.stats import wilcoxon

    tests = []
    means = table.showings.groupby(["case", "arm"])["active_seconds"].mean()
    for arm_a, arm_b in combinations(table.arms, 2):
        both = [(means.get((c, arm_a), math.nan), means.get((c, arm_b), math.nan)) for c in table.cases]
        pairs = np.array(both, dtype=float)
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        what, method = f"{arm_a} against {arm_b}", PAIRED_TEST
        differences = pairs[:, 0] - pairs[:, 1]
        if len(pairs) < 2 or not differences.any():
            tests.append(TimingTest(what, method, Estimate(None), None, len(pairs), f"Not tested: {_DIFFERENT}."))
            continue
        p = float(wilcoxon(differences).pvalue)
        tests.append(TimingTest(what, method, Estimate(None), p, len(pairs)))
    return tests


def _mixed_model(table: RatingTable) -> list[TimingTest]:
    """Effects of arm, rater and order on the logarithm of time, with a random intercept for each case."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    method = MIXED_MODEL
    rows = table.showings[table.showings["active_seconds"] > 0].copy()
    rows["order"] = order_of(rows)
    columns = [np.ones(len(rows))]
    told = []
    for arm in table.arms[1:]:
        columns.append((rows["arm"] == arm).to_numpy(float))
        told.append(f"{arm} against {table.arms[0]}")
    for rater in table.raters[1:]:
        columns.append((rows["rater"] == rater).to_numpy(float))
        told.append(f"rater {rater} against rater {table.raters[0]}")
    if rows["order"].notna().all() and rows["order"].nunique() > 1:
        columns.append(rows["order"].to_numpy(float) / SHOWINGS_STEP)
        told.append(f"each further {SHOWINGS_STEP} showings")
    if not told:
        return []
    n = len(rows)

    def refused(why: str) -> list[TimingTest]:
        return [TimingTest("arm, rater and order", method, Estimate(None), None, n, f"No model: {why}.")]

    design = np.column_stack(columns)
    if rows["case"].nunique() < _FEWEST_CASES or n <= len(columns) + _FEWEST_CASES:
        return refused(f"fewer than {_FEWEST_CASES} cases, or too few showings for the effects")
    logs = np.log(rows["active_seconds"].to_numpy(dtype=float))
    if np.linalg.matrix_rank(design) < len(columns):
        return refused("arm, rater and order cannot be separated in this design")
    if np.ptp(logs) == 0:
        return refused("all times are equal")
    with warnings.catch_warnings():
        # Reported in the note: a variance of cases at the boundary is common.
        warnings.simplefilter("ignore")
        try:
            fit = MixedLM(logs, design, groups=rows["case"].to_numpy()).fit(reml=True, method=["powell", "lbfgs"])
        except (np.linalg.LinAlgError, ValueError) as error:
            return refused(f"it cannot be fitted ({error})")
        limits, pvalues = np.asarray(fit.conf_int(alpha=1 - CONFIDENCE)), np.asarray(fit.pvalues)
    note = "" if fit.converged else "The fit did not converge; the result is descriptive only."
    return [
        TimingTest(
            what,
            method,
            _ratio(fit.fe_params[x], limits[x], n),
            _finite(pvalues[x]),
            n,
            note,
        )
        for x, what in enumerate(told, start=1)
    ]


def _ratio(effect: float, limits: np.ndarray, n: int) -> Estimate:
    """A difference of logarithms and its limits as a ratio."""
    value, low, high = (float(v) for v in np.exp([effect, limits[0], limits[1]]))
    return estimate(value, low, high, n, "Wald")


def _learning(table: RatingTable) -> list[TimingTest]:
    """Spearman's correlation of time and place in the order, for each rater."""
    from scipy.stats import spearmanr

    tests = []
    for rater in table.raters:
        rows = table.showings[(table.showings["rater"] == rater) & table.showings["active_seconds"].notna()]
        order, seconds = order_of(rows), rows["active_seconds"].to_numpy(dtype=float)
        known = np.isfinite(order)
        order, seconds = order[known], seconds[known]
        what, method = f"{rater}: time along the order", CORRELATION
        if len(order) < 3 or np.ptp(order) == 0 or np.ptp(seconds) == 0:
            tests.append(TimingTest(what, method, Estimate(None), None, len(order), f"Not tested: {_DIFFERENT}."))
            continue
        result = spearmanr(order, seconds)
        note = f"rho = {result.statistic:.2f}"
        tests.append(TimingTest(what, method, Estimate(None), _finite(result.pvalue), len(order), note))
    return tests


def order_of(rows: pd.DataFrame) -> np.ndarray:
    """Place of each showing in its rater's order: as recorded, else by the time when it was shown; nan if unknown."""
    if rows["position"].notna().all():
        out: np.ndarray = rows["position"].to_numpy(dtype=float)
        return out
    if rows["shown_at"].notna().all():
        out = rows.groupby("rater")["shown_at"].rank(method="first").to_numpy(dtype=float) - 1
        return out
    return np.full(len(rows), math.nan)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
