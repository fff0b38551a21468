"""Agreement coefficients against published worked examples, a second implementation, and degenerate tables."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")

from flairseg.study.analysis import agreement
from flairseg.study.analysis.agreement import (
    AC1,
    AC2,
    COHEN,
    FLEISS,
    PERCENT,
    WEIGHTED,
    category_counts,
    coefficients,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac,
    percent_agreement,
    quadratic_weights,
)

#: Cohen J. Educ Psychol Meas 1960;20:37-46, table 2: diagnoses by two judges, frequencies, N = 200.
COHEN_1960 = np.array([[88, 10, 2], [14, 40, 6], [18, 10, 12]])
#: Fleiss JL. Psychol Bull 1971;76:378-382, table 1: 30 patients, six psychiatrists, five diagnoses.
FLEISS_1971 = """
    444444 222555 233335 555555 222444 113333 333355 113334 114444 555555 144444 124444 222333 144444 224445
    333335 111455 111112 224444 133555 555555 244444 224555 114444 144445 222224 111155 224444 133333 555555
"""
#: The example of en.wikipedia.org/wiki/Fleiss'_kappa: ten subjects, 14 raters, five categories.
FOURTEEN_RATERS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
#: Gwet KL. Handbook of Inter-Rater Reliability, 4th ed. 2014, four raters and twelve units; 0: missing.
FOUR_RATERS = [
    [1, 1, 0, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [0, 5, 5, 5], [0, 0, 1, 1], [0, 0, 3, 0],
]  # fmt: skip


def contingency(first: np.ndarray, second: np.ndarray, categories: int) -> np.ndarray:
    """Table of two raters' answers, without the items that either left out."""
    table = np.zeros((categories, categories))
    for a, b in zip(first, second, strict=True):
        if agreement.MISSING not in (a, b):
            table[a, b] += 1
    return table


def expand(table: np.ndarray) -> np.ndarray:
    """Pairs of category indices, shape (items, 2), that make a contingency table."""
    return np.array([(i, j) for (i, j), n in np.ndenumerate(np.asarray(table)) for _ in range(int(n))])


def test_cohen_1960():
    assert round(cohen_kappa(COHEN_1960), 3) == 0.492


def test_cohen_1968_weighted_kappa():
    """Psychol Bull 1968;70:213-220, table 2: the same judges, disagreement weights 0, 1, 3 / 1, 0, 6 / 3, 6, 0."""
    disagreement = np.array([[0, 1, 3], [1, 0, 6], [3, 6, 0]])
    assert round(cohen_kappa(COHEN_1960, 1 - disagreement / 6), 3) == 0.348


def test_fleiss_1971():
    ratings = np.array([[int(c) - 1 for c in word] for word in FLEISS_1971.split()])
    assert ratings.shape == (30, 6)
    assert round(fleiss_kappa(category_counts(ratings, 5)), 3) == 0.430


def test_fleiss_with_fourteen_raters():
    assert round(fleiss_kappa(np.array(FOURTEEN_RATERS)), 3) == 0.210


def test_gwet_four_raters_with_missing_answers():
    """Printed: percent agreement 0.81818, AC1 0.77544; AC2 with quadratic weights 0.914 (irrCAC 0.4.4)."""
    counts = category_counts(np.array(FOUR_RATERS) - 1, 5)
    assert round(percent_agreement(counts), 5) == 0.81818
    assert round(gwet_ac(counts), 5) == 0.77544
    assert round(gwet_ac(counts, quadratic_weights(5)), 3) == 0.914


def test_gwet_abstractors():
    """Gwet 2014: 100 pregnancies classed by two abstractors; kappa 0.79641, AC1 0.84933 (R package irrCAC)."""
    table = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
    assert round(cohen_kappa(table), 5) == 0.79641
    assert round(gwet_ac(category_counts(expand(table), 3)), 5) == 0.84933


def test_the_kappa_paradox():
    """Gwet 2002/2008: 118 of 125 subjects rated positive by both; kappa about zero although 94 % agree."""
    pairs = expand(np.array([[118, 5], [2, 0]]))
    counts = category_counts(pairs, 2)
    assert percent_agreement(counts) == pytest.approx(0.944)
    assert round(cohen_kappa(contingency(*pairs.T, 2)), 4) == -0.0234
    assert round(gwet_ac(counts), 4) == 0.9408


@pytest.mark.parametrize(
    ("ratings", "plain", "quadratic"),
    [
        ([[4, 1, 1], [1, 1, 4], [4, 3, 0], [1, 2, 2], [3, 2, 2], [1, 0, 3], [1, 0, 2], [2, 4, 3]], -0.10472, -0.0206),
        ([[1, 2, 2], [0, 2, 3], [3, 1, 2], [4, 4, 0], [0, 3, 1], [4, 4, 2], [4, 0, 2], [4, 2, 1]], -0.04547, 0.11647),
        ([[3, 4, 2], [4, 4, 0], [3, 2, 1], [1, 2, 1], [3, 0, 3], [0, 2, 1], [1, 2, 0], [2, 2, 4]], 0.11521, 0.5496),
    ],
)
def test_gwet_as_irrcac_computes_it(ratings, plain, quadratic):
    """irrCAC 0.4.4 on random tables with gaps, categories 1 to 4 (0: missing)."""
    counts = category_counts(np.array(ratings) - 1, 4)
    assert gwet_ac(counts) == pytest.approx(plain, abs=6e-6)
    assert gwet_ac(counts, quadratic_weights(4)) == pytest.approx(quadratic, abs=6e-6)


tables = hnp.arrays(int, st.tuples(st.integers(2, 12), st.integers(2, 5)), elements=st.integers(-1, 3))


@settings(max_examples=60, deadline=None)
@given(tables)
def test_gwet_and_percent_agreement_by_counting_pairs(ratings):
    counts = category_counts(ratings, 4)
    agreeing, shares = [], np.zeros(4)
    rated = 0
    for row in ratings:
        given_ = [k for k in row if k >= 0]
        pairs = list(combinations(given_, 2))
        if pairs:
            agreeing.append(sum(a == b for a, b in pairs) / len(pairs))
        if given_:
            rated += 1
            for k in given_:
                shares[k] += 1 / len(given_)
    if not agreeing:
        assert math.isnan(percent_agreement(counts))
        assert math.isnan(gwet_ac(counts))
        return
    observed = float(np.mean(agreeing))
    chance = sum(p * (1 - p) for p in shares / rated) / 3
    assert percent_agreement(counts) == pytest.approx(observed)
    assert gwet_ac(counts) == pytest.approx((observed - chance) / (1 - chance))


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(int, st.tuples(st.integers(2, 30), st.just(2)), elements=st.integers(0, 3)))
def test_what_the_bootstrap_computes_is_what_the_library_computes(pairs):
    """Vectorised forms, used on resamples, against statsmodels; and both against the definition."""
    table = contingency(*pairs.T, 4)
    flat = table.reshape(1, -1)
    weights = quadratic_weights(4)
    for given_weights in (np.eye(4), weights):
        theirs = cohen_kappa(table, None if given_weights[0, 1] == 0 else given_weights)
        ours = float(agreement._kappa(flat, given_weights)[0])
        assert ours == pytest.approx(theirs, nan_ok=True, abs=1e-9)
    counts = category_counts(pairs, 4)
    sums = agreement._count_sums(counts, np.eye(4)).sum(axis=0)
    assert float(agreement._fleiss(sums)) == pytest.approx(fleiss_kappa(counts), nan_ok=True, abs=1e-9)


def found(ratings, categories=2, ordered=False, clusters=None, seed=1) -> dict:
    ratings = np.asarray(ratings)
    clusters = range(len(ratings)) if clusters is None else clusters
    return {c.name: c for c in coefficients(ratings, categories, ordered, clusters, "test", seed)}


def test_all_agree_in_one_category():
    """Kappa is 0/0 there: it has no value, but a reason; AC1 and percent agreement stand."""
    got = found(np.zeros((30, 2), dtype=int))
    assert got[PERCENT].estimate.value == 1.0
    assert 0.88 < got[PERCENT].estimate.low < 0.89
    assert got[AC1].estimate.value == 1.0
    assert got[AC1].estimate.low is None
    assert "of zero width" in got[AC1].estimate.note
    for name in (COHEN, FLEISS):
        assert got[name].estimate.value is None
        assert "one category" in got[name].estimate.note


def test_all_agree_in_two_categories():
    got = found([[0, 0]] * 15 + [[1, 1]] * 15)
    assert got[COHEN].estimate.value == 1.0
    assert got[FLEISS].estimate.value == 1.0


def test_no_pair_at_all():
    got = found([[0, -1], [-1, 1], [1, -1]])
    assert {name: c.estimate.value for name, c in got.items()} == dict.fromkeys(got)
    assert all("two answers" in c.estimate.note for c in got.values())
    assert all(c.items == 0 for c in got.values())


def test_no_items():
    got = found(np.empty((0, 2), dtype=int))
    assert got
    assert all(c.estimate.value is None and c.estimate.note for c in got.values())


def test_missing_answers_are_left_out_and_counted():
    got = found([[0, 0, 0], [1, 1, -1], [0, 1, 0], [1, 1, 1], [-1, -1, 0]])
    assert COHEN not in got
    assert got[PERCENT].items == 4
    assert got[FLEISS].items == 3
    assert "1 item that not all raters answered" in got[FLEISS].estimate.note


def test_ordered_questions_get_weighted_coefficients():
    generator = np.random.default_rng(5)
    first = generator.integers(0, 5, 40)
    pairs = np.column_stack([first, np.clip(first + generator.integers(-1, 2, 40), 0, 4)])
    got = found(pairs, 5, ordered=True)
    assert set(got) == {PERCENT, COHEN, WEIGHTED, FLEISS, AC1, AC2}
    assert got[WEIGHTED].estimate.value > got[COHEN].estimate.value + 0.2
    for c in got.values():
        assert c.estimate.low < c.estimate.value < c.estimate.high


def test_whole_cases_are_drawn():
    """Doubling every case's items leaves the bootstrap interval as it was; drawing items would narrow it."""
    generator = np.random.default_rng(2)
    pairs = generator.integers(0, 2, (40, 2))
    once = found(pairs)[AC1].estimate
    twice = found(np.repeat(pairs, 2, axis=0), clusters=np.repeat(range(40), 2))[AC1].estimate
    assert twice.value == pytest.approx(once.value)
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.02)


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    pairs = np.random.default_rng(3).integers(0, 2, (40, 2))
    assert found(pairs, seed=4)[AC1] == found(pairs, seed=4)[AC1]
    assert found(pairs, seed=4)[AC1].estimate.low != found(pairs, seed=5)[AC1].estimate.low


def test_kappa_that_some_resamples_do_not_have_says_so():
    got = found([[0, 0]] * 29 + [[1, 1]])
    assert got[COHEN].estimate.value == 1.0
    assert "Undefined in" in got[COHEN].estimate.note
