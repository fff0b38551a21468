"""Intervals, intraclass correlations and limits of agreement against published figures and second implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")

from flairseg.statistics.intervals import over_cases, wilson
from flairseg.statistics.reliability import (
    bland_altman,
    intraclass_correlations,
    mean_squares,
    repeatability_coefficient,
)
from flairseg.study.analysis.comparison import mcnemar_exact

#: Shrout PE, Fleiss JL. Psychol Bull 1979;86:420-428, table 2: six targets, four judges.
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
#: Bland JM, Altman DG. Lancet 1986;327:307-310, table I: peak expiratory flow rate, l/min, two readings by each meter.
WRIGHT = np.array(
    [[494, 490], [395, 397], [516, 512], [434, 401], [476, 470], [557, 611], [413, 415], [442, 431], [650, 638],
     [433, 429], [417, 420], [656, 633], [267, 275], [478, 492], [178, 165], [423, 372], [427, 421]]
)  # fmt: skip
MINI = np.array(
    [[512, 525], [430, 415], [520, 508], [428, 444], [500, 500], [600, 625], [364, 460], [380, 390], [658, 642],
     [445, 432], [432, 420], [626, 605], [260, 227], [477, 467], [259, 268], [350, 370], [451, 443]]
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("ICC(1,1)", 0.17),
        ("ICC(2,1)", 0.29),
        ("ICC(3,1)", 0.71),
        ("ICC(1,k)", 0.44),
        ("ICC(2,k)", 0.62),
        ("ICC(3,k)", 0.91),
    ],
)
def test_shrout_and_fleiss_1979(name, printed):
    assert round(intraclass_correlations(SHROUT_FLEISS)[name].value, 2) == printed


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("ICC(1,1)", -0.133, 0.723),
        ("ICC(2,1)", 0.019, 0.761),
        ("ICC(3,1)", 0.342, 0.946),
        ("ICC(1,k)", -0.884, 0.912),
        ("ICC(2,k)", 0.071, 0.927),
        ("ICC(3,k)", 0.676, 0.986),
    ],
)
def test_intervals_of_shrout_and_fleiss(name, low, high):
    """As the help page of ICC in the R package psych prints them for these data."""
    found = intraclass_correlations(SHROUT_FLEISS)[name]
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


def test_mean_squares_of_shrout_and_fleiss():
    """Table 3 of the paper: between targets 11.24, within 6.26, judges 32.49, residual 1.02."""
    assert [round(x, 2) for x in mean_squares(SHROUT_FLEISS)] == [11.24, 6.26, 32.49, 1.02]


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(float, st.tuples(st.integers(3, 8), st.integers(2, 4)), elements=st.integers(0, 30)))
def test_mean_squares_against_an_analysis_of_variance(values):
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    between, _, judges, residual = mean_squares(values)
    assume(residual > 1e-6)
    n, k = values.shape
    rows = pd.DataFrame(
        {"value": values.ravel(), "item": np.repeat(np.arange(n), k), "rater": np.tile(np.arange(k), n)}
    )
    table = anova_lm(ols("value ~ C(item) + C(rater)", rows).fit())
    squares = table["sum_sq"] / table["df"]
    assert between == pytest.approx(squares["C(item)"], abs=1e-8)
    assert judges == pytest.approx(squares["C(rater)"], abs=1e-8)
    assert residual == pytest.approx(squares["Residual"], abs=1e-8)


def test_bland_and_altman_1986():
    """Bias -2.1 (-22.0 to 17.8), SD 38.8, limits -79.7 (-114.3 to -45.1) and 75.5 (40.9 to 110.1) l/min.

    The paper computed with the rounded SD (2 x 38.8), hence the tolerance of 0.2.
    """
    found = bland_altman(MINI[:, 0], WRIGHT[:, 0], multiplier=2)
    assert round(found.bias.value, 1) == -2.1
    assert round(found.sd, 1) == 38.8
    printed = [-22.0, 17.8, -79.7, -114.3, -45.1, 75.5, 40.9, 110.1]
    got = [found.bias.low, found.bias.high]
    for part in (found.lower, found.upper):
        got += [part.value, part.low, part.high]
    assert got == pytest.approx(printed, abs=0.2)
    assert found.n == 17


@pytest.mark.parametrize(("readings", "printed"), [(WRIGHT, 21.6), (MINI, 28.2)])
def test_bland_and_altman_1986_repeatability(readings, printed):
    """The paper's SD of repeats is 21.6 (Wright meter) and 28.2 (mini meter); the coefficient is 1.96 SD."""
    found = repeatability_coefficient(readings)
    assert found.value / 1.96 == pytest.approx(printed, abs=0.06)
    assert found.low < found.value < found.high


def test_rounding_is_no_difference_that_grows_with_size():
    """0.4 - 0.3 is not 0.3 - 0.2 in binary: a trend had been tested on that, and limits drawn around it."""
    first = np.arange(1, 13) / 10
    found = bland_altman(first, first + 0.1)
    assert np.ptp(first + 0.1 - first) > 0
    assert (found.sd, found.trend, found.trend_p) == (0.0, None, None)
    assert "Every pair differs by the same amount" in found.note
    assert found.bias.value == pytest.approx(0.1)
    repeats = repeatability_coefficient(np.column_stack([first, 3 * first / 3]))
    assert (repeats.value, repeats.low) == (0.0, None)
    assert bland_altman(first, first + [0.1, 0.1 + 1e-9] * 6).sd > 0


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        # Newcombe RG. Stat Med 1998;17:857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # S5's acceptance study, 95.3 % and 93.4 %; limits by the closed form below.
        (101, 106, 0.8943, 0.9797),
        (99, 106, 0.8699, 0.9676),
    ],
)
def test_wilson(successes, total, low, high):
    found = wilson(successes, total)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    z, p = 1.959964, successes / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    assert (found.low, found.high) == pytest.approx((max(middle - half, 0), middle + half), abs=1e-6)
    assert found.value == p


def test_wilson_of_nothing():
    found = wilson(0, 0)
    assert found.value is None
    assert found.note == "No answers."


def test_mcnemar_exact():
    """Fay MP. R Journal 2010;2(1):53-58, and the help of mcnemar.exact: 9 and 2 discordant pairs, p = 0.06543."""
    assert round(mcnemar_exact(9, 2), 5) == 0.06543
    assert mcnemar_exact(2, 9) == mcnemar_exact(9, 2)
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 5) == 1.0


def test_equal_values_have_no_intraclass_correlation():
    for found in intraclass_correlations(np.full((10, 2), 3.0)).values():
        assert found.value is None
        assert "All values are equal" in found.note


def test_perfect_agreement():
    values = np.repeat(np.arange(12.0)[:, None], 2, axis=1)
    found = intraclass_correlations(values)
    assert found["ICC(2,1)"].value == pytest.approx(1.0)
    assert (found["ICC(3,1)"].low, found["ICC(3,1)"].high) == (1.0, 1.0)
    limits = bland_altman(values[:, 0], values[:, 1])
    assert limits.bias.value == limits.lower.value == limits.upper.value == 0.0
    assert "same amount" in limits.note
    assert repeatability_coefficient(values).value == 0.0


def test_constant_difference_is_perfect_consistency_and_imperfect_agreement():
    first = np.arange(10.0)
    found = intraclass_correlations(np.column_stack([first, first + 4]))
    assert found["ICC(3,1)"].value == pytest.approx(1.0)
    assert found["ICC(2,1)"].value < 0.6
    assert found["ICC(2,1)"].low is None


@pytest.mark.parametrize("values", [np.empty((0, 2)), np.array([[1.0, 2.0]]), np.array([[1.0], [2.0], [4.0]])])
def test_too_few_values(values):
    found = intraclass_correlations(values)["ICC(2,1)"]
    assert found.value is None
    assert "At least two items" in found.note


def test_missing_values():
    values = np.vstack([SHROUT_FLEISS.astype(float), [np.nan, 3, 4, 5]])
    found = intraclass_correlations(values)["ICC(2,1)"]
    assert round(found.value, 2) == 0.29
    assert "1 item with missing values" in found.note
    assert bland_altman([1.0, np.nan], [2.0, 3.0]).bias.value is None
    assert repeatability_coefficient(np.array([[1.0, np.nan]])).value is None
    assert repeatability_coefficient(np.array([[1.0, np.nan, 3.0], [2.0, 2.0, np.nan]])).n == 2


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        float, st.tuples(st.integers(0, 12), st.integers(1, 3)), elements=st.sampled_from([0.0, 1.0, 2.5, np.nan])
    )
)
@example(np.eye(3))
def test_never_nan_without_a_reason(values):
    for found in intraclass_correlations(values).values():
        assert found.value is None or (math.isfinite(found.value) and found.value <= 1 + 1e-9)
        assert found.value is not None or found.note
        assert (found.low is None) == (found.high is None)
    if values.shape[1] > 1:
        limits = bland_altman(values[:, 0], values[:, 1])
        assert limits.bias.value is not None or limits.note


def test_differences_that_grow_are_told():
    first = np.arange(1.0, 40.0)
    found = bland_altman(first, first * (1 + 0.3 * (-1) ** np.arange(39)))
    assert "grow with size" in found.note


def test_coverage_of_the_bootstrap_over_cases():
    """A 95 % interval of a mean of clustered answers holds the truth about 95 times in 100."""
    generator = np.random.default_rng(11)
    held = 0
    for n in range(200):
        rate = generator.beta(8, 2, 40)
        sums = np.column_stack([generator.binomial(4, rate), np.full(40, 4)]).astype(float)
        found = over_cases(sums, lambda s: s[..., 0] / s[..., 1], f"trial {n}", 0)
        held += found.low <= 0.8 <= found.high
    assert 180 <= held <= 198


def test_bootstrap_of_one_case_and_of_none():
    one = over_cases(np.array([[1.0, 2.0]]), lambda s: s[..., 0] / s[..., 1], "x", 0)
    assert (one.value, one.low) == (0.5, None)
    assert "One case" in one.note
    with np.errstate(invalid="ignore"):
        none = over_cases(np.empty((0, 2)), lambda s: s[..., 0] / s[..., 1], "x", 0)
    assert none.value is None


def test_each_figure_has_random_numbers_of_its_own():
    sums = np.column_stack([np.random.default_rng(1).integers(0, 5, 40), np.full(40, 4)]).astype(float)
    one, same, other = (over_cases(sums, lambda s: s[..., 0] / s[..., 1], name, 0) for name in ("a", "a", "b"))
    assert one == same
    assert (one.low, one.high) != (other.low, other.high)


def test_few_cases_are_told():
    sums = np.array([[1.0, 2.0], [2.0, 2.0], [0.0, 2.0]])
    assert "Only 3 cases" in over_cases(sums, lambda s: s[..., 0] / s[..., 1], "x", 0).note
