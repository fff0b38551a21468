"""Statistics of an evaluation against SciPy, statsmodels and printed figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flairseg.evaluation.agreement import load_agreement, paired_tests
from flairseg.evaluation.conventions import choose_conventions
from flairseg.evaluation.errors import InvalidMappingError
from flairseg.evaluation.resampling import (
    mean_over_patients,
    median_over_slices,
    patient_weights,
    percentile_interval,
    ratio_over_patients,
)
from flairseg.evaluation.slices import (
    VOLUME_GROUPS,
    SliceCounts,
    drawn_negatives,
    group_tests,
    slice_figures,
    slice_level,
    volume_groups,
)
from scipy import stats

EXACT = 1e-9


def counts(reference, prediction, shared, voxel_ml: float = 0.001) -> SliceCounts:
    return SliceCounts(*(np.asarray(x, np.int64) for x in (reference, prediction, shared)), voxel_ml)


# --- slices (S2) ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        # S2: 146 of 218 positive and 217 of 218 negative slices right; external 12 of 23 and 23 of 23.
        ((146, 72, 217, 1), {"sensitivity": 67.0, "specificity": 99.5, "ppv": 99.3, "npv": 75.1, "accuracy": 83.3}),
        ((12, 11, 23, 0), {"sensitivity": 52.2, "specificity": 100.0, "ppv": 100.0, "npv": 67.6, "accuracy": 76.1}),
    ],
)
def test_slice_figures_are_what_their_names_say_on_s2s_counts(cells, expected):
    found = slice_figures(*cells)
    assert {name: round(100 * found[name].value, 1) for name in expected} == expected
    tp, fn = cells[:2]
    interval = stats.binomtest(tp, tp + fn).proportion_ci(method="wilson")
    assert (found["sensitivity"].low, found["sensitivity"].high) == pytest.approx((interval.low, interval.high))


def test_a_slice_is_found_from_a_tenth_of_its_reference_on():
    #                 exactly a tenth, less, one voxel of two, missed; negative: clean, with a voxel
    case = counts([10, 11, 2, 5, 0, 0], [1, 1, 1, 9, 0, 1], [1, 1, 1, 0, 0, 0])
    negatives = np.array([4, 5])
    assert case.counts_at(0.1, negatives) == (2, 2, 1, 1)
    assert case.counts_at(0.0, negatives) == (3, 1, 1, 1)
    assert case.counts_at(0.5, negatives) == (1, 3, 1, 1)
    assert np.allclose(case.covered, [0.1, 1 / 11, 0.5, 0, np.nan, np.nan], equal_nan=True)


def random_cases(seed: int = 0, number: int = 6) -> dict[str, SliceCounts]:
    rng = np.random.default_rng(seed)
    cases = {}
    for n in range(number):
        reference = rng.integers(1, 900, 20) * (rng.random(20) < 0.4)
        shared = (reference * rng.random(20)).astype(int)
        prediction = shared + rng.integers(0, 60, 20) * (rng.random(20) < 0.5)
        cases[f"case {n}"] = counts(reference, prediction, shared, 0.005)
    return cases


def test_as_many_negative_slices_are_drawn_as_there_are_positive_ones():
    cases = random_cases()
    positive = sum(int((c.reference > 0).sum()) for c in cases.values())
    drawn = drawn_negatives(cases, 3, "balanced")
    assert sum(map(len, drawn.values())) == positive
    for case, indices in drawn.items():
        assert (cases[case].reference[indices] == 0).all()
        assert len(set(indices.tolist())) == len(indices)
    again = drawn_negatives(dict(reversed(cases.items())), 3, "balanced")
    assert all(np.array_equal(again[case], drawn[case]) for case in cases)
    other = drawn_negatives(cases, 4, "balanced")
    assert any(not np.array_equal(other[case], drawn[case]) for case in cases)
    everything = drawn_negatives(cases, 3, "all")
    assert sum(map(len, everything.values())) == sum(int((c.reference == 0).sum()) for c in cases.values())


def test_methods_are_judged_on_the_same_negative_slices():
    ours = random_cases()
    theirs = {case: counts(c.reference, 0 * c.prediction, 0 * c.shared) for case, c in ours.items()}
    first, second = (drawn_negatives(cases, 0, "balanced") for cases in (ours, theirs))
    assert all(np.array_equal(first[case], second[case]) for case in ours)


def test_slice_level_counts_figures_and_curve_belong_together():
    cases = random_cases(1)
    level, curve = slice_level("m", "lesion", cases, 0.1, 0, "balanced")
    assert (level.tp + level.fn) == (level.tn + level.fp)
    assert level.figures["sensitivity"].value == level.tp / (level.tp + level.fn)
    assert level.figures["npv"].value == level.tn / (level.tn + level.fn)
    at = int(np.flatnonzero(np.isclose(curve.thresholds, 0.1))[0])
    for name, column in curve.figures.items():
        assert column[at] == pytest.approx(level.figures[name].value), name
        assert level.clustered[name].value == pytest.approx(level.figures[name].value), name
        assert level.clustered[name].n == len(cases)
    assert (np.diff(curve.figures["sensitivity"]) <= 0).all()
    assert np.ptp(curve.figures["specificity"]) == 0


def test_too_few_negative_slices_are_all_counted_and_said():
    case = counts([5, 5, 5, 0], [5, 0, 5, 1], [5, 0, 5, 0])
    level, _ = slice_level("m", "lesion", {"a": case}, 0.1, 0, "balanced")
    assert (level.tp, level.fn, level.tn, level.fp, level.available_negatives) == (2, 1, 0, 1, 1)
    assert "Only 1 negative" in level.note
    nothing, _ = slice_level("m", "lesion", {"a": counts([0, 0], [0, 0], [0, 0])}, 0.1, 0, "balanced")
    assert nothing.figures["sensitivity"].value is None
    assert (nothing.tn, nothing.available_negatives) == (0, 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_counted_along_the_axis_that_runs_through_them(axis):
    rng = np.random.default_rng(0)
    ours, theirs = rng.random((2, 4, 5, 6)) < 0.3
    found = SliceCounts.of(ours, theirs, 0.001, axis)
    for n in range(ours.shape[axis]):
        a, b = ours.take(n, axis), theirs.take(n, axis)
        assert (found.prediction[n], found.reference[n], found.shared[n]) == (a.sum(), b.sum(), (a & b).sum())


# --- volume groups (S4) -----------------------------------------------------------------------------------------------


def test_volume_groups_have_s4s_limits_and_slice_figures():
    volumes = [199, 200, 699, 700, 1999, 2000, 4999, 5000, 9000, 0]
    case = counts(volumes, volumes, [v // 2 for v in volumes])
    groups, _ = volume_groups("m", "lesion", {"a": case, "b": case}, 0)
    assert [(g.name, g.slices, g.cases) for g in groups] == [
        ("G1", 2, 2), ("G2", 4, 2), ("G3", 4, 2), ("G4", 4, 2), ("G5", 4, 2)
    ]  # fmt: skip
    assert groups[0].values["dice"].tolist() == [99 / 199] * 2
    assert groups[4].high_ml == math.inf
    assert [g[1:] for g in VOLUME_GROUPS] == [(0, 0.2), (0.2, 0.7), (0.7, 2), (2, 5), (5, math.inf)]
    missed = counts([100, 300], [0, 20], [0, 0])
    groups, _ = volume_groups("m", "lesion", {"a": missed}, 0)
    assert np.isnan(groups[0].values["precision"][0])
    assert groups[0].values["recall"][0] == groups[1].values["precision"][0] == 0
    assert groups[2].slices == 0
    assert groups[2].medians["dice"].value is None


def test_group_tests_are_scipys_with_bonferroni():
    rng = np.random.default_rng(2)
    values = {f"G{n}": rng.beta(2 + n, 3, 12 + n) for n in range(1, 6)}
    values["G2"][3] = np.nan
    found = group_tests("m", "lesion", "dice", values)
    clean = {name: column[np.isfinite(column)] for name, column in values.items()}
    for name, column in clean.items():
        assert found.shapiro[name] == pytest.approx(tuple(stats.shapiro(column)), abs=EXACT)
    assert found.kruskal == pytest.approx(tuple(stats.kruskal(*clean.values())), abs=EXACT)
    assert len(found.pairs) == 10
    for pair in found.pairs:
        expected = stats.mannwhitneyu(clean[pair.first], clean[pair.second])
        assert (pair.u, pair.p) == pytest.approx((expected.statistic, expected.pvalue), abs=EXACT)
        assert pair.p_bonferroni == pytest.approx(min(1, 10 * expected.pvalue))


def test_kruskal_wallis_gives_a_printed_example():
    """Hollander and Wolfe 1973, page 115 (mucociliary efficiency; R's ``kruskal.test``): H = 0.77143, p = 0.68."""
    values = {
        "normal": np.array([2.9, 3.0, 2.5, 2.6, 3.2]),
        "obstructive": np.array([3.8, 2.7, 4.0, 2.4]),
        "asbestosis": np.array([2.8, 3.4, 3.7, 2.2, 2.0]),
    }
    found = group_tests("m", "lesion", "dice", values)
    assert found.kruskal[0] == pytest.approx(0.77143, abs=5e-6)
    assert found.kruskal[1] == pytest.approx(0.68, abs=5e-3)


def test_groups_without_values_are_not_tested():
    found = group_tests("m", "lesion", "dice", {"G1": np.array([0.5, 0.5, 0.5]), "G2": np.array([])})
    assert np.isnan([*found.shapiro["G1"], *found.shapiro["G2"], *found.kruskal]).all()
    assert found.pairs == ()
    assert "nothing to compare" in found.note
    same = group_tests("m", "lesion", "dice", {"G1": np.ones(4), "G2": np.ones(5)})
    assert math.isnan(same.kruskal[0])
    assert same.pairs[0].p_bonferroni == 1.0


# --- lesion load (S5) -------------------------------------------------------------------------------------------------


def test_lesion_load_is_scipys_regression_and_the_limits_of_bland_and_altman():
    rng = np.random.default_rng(3)
    x = rng.gamma(2, 5, 24)
    y = 0.8 * x + 1 + rng.normal(0, 1, 24)
    found = load_agreement("m", "lesion", [f"c{n}" for n in range(24)], x, y, 0)
    line = stats.linregress(x, y)
    assert found.r2.value == pytest.approx(line.rvalue**2, abs=EXACT)
    assert (found.slope, found.intercept) == pytest.approx((line.slope, line.intercept))
    assert found.r2.low < found.r2.value < found.r2.high
    assert found.limits.bias.value == pytest.approx(np.mean(y - x))
    assert found.limits.upper.value == pytest.approx(np.mean(y - x) + 1.96 * np.std(y - x, ddof=1))
    perfect = load_agreement("m", "lesion", ["a", "b", "c"], [1, 2, 3], [1, 2, 3], 0)
    assert perfect.r2.value == pytest.approx(1.0)
    assert perfect.icc.value == pytest.approx(1.0)


def test_lesion_load_without_spread_has_no_r2():
    found = load_agreement("m", "lesion", ["a", "b", "c"], [2.1, 2.1, 2.1], [1, 2, 3], 0)
    assert found.r2.value is None
    assert math.isnan(found.slope)
    assert "same volume" in found.note
    assert load_agreement("m", "lesion", ["a"], [1.0], [2.0], 0).limits.bias.value is None


# --- methods against each other ---------------------------------------------------------------------------------------


def test_paired_wilcoxon_gives_a_printed_example():
    """Hollander and Wolfe 1973, page 29 (depression scores; R's ``wilcox.test``): V = 40, two-sided p = 0.03906."""
    x = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    y = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    values = {
        ("dice", "lesion"): {name: dict(zip("abcdefghi", column, strict=True)) for name, column in (("y", y), ("x", x))}
    }
    (row,) = paired_tests(values, ["y", "x"], 0)
    # SciPy gives the smaller of both rank sums: 45 - 40.
    assert (row.statistic, round(row.p, 5)) == (5.0, 0.03906)
    assert row.difference.value == pytest.approx(np.mean(np.subtract(x, y)))
    assert row.median_difference == pytest.approx(np.median(np.subtract(x, y)))


def test_p_values_are_adjusted_after_holm_within_a_figure():
    rng = np.random.default_rng(5)
    cases = [f"c{n}" for n in range(15)]
    base = rng.random(15)
    values = {
        (figure, class_id): {
            method: dict(zip(cases, base + shift + rng.normal(0, 0.05, 15), strict=True))
            for method, shift in (("a", 0.0), ("b", 0.05), ("c", 0.03))
        }
        for figure in ("dice", "hd95_mm")
        for class_id in ("lesion", "all_wmh")
    }
    rows = paired_tests(values, ["a", "b", "c"], 0)
    assert len(rows) == 12
    for figure in ("dice", "hd95_mm"):
        of_figure = sorted((row for row in rows if row.figure == figure), key=lambda row: row.p)
        # By hand: the smallest p times six, the next times five, ...; never less than the one before.
        running = 0.0
        for n, row in enumerate(of_figure):
            running = max(running, min(1.0, row.p * (6 - n)))
            assert row.p_holm == pytest.approx(running)
    row = next(r for r in rows if (r.figure, r.class_id, r.first, r.second) == ("dice", "lesion", "a", "b"))
    a, b = (np.array([values["dice", "lesion"][m][c] for c in cases]) for m in "ab")
    assert row.p == pytest.approx(stats.wilcoxon(b, a).pvalue, abs=EXACT)


def test_pairs_need_both_figures_and_a_difference():
    nan = float("nan")
    values = {
        ("dice", "lesion"): {"a": {"1": 0.5, "2": 0.6, "3": nan}, "b": {"1": 0.5, "2": 0.6, "3": 0.7, "4": 0.1}},
        ("dice", "all_wmh"): {"a": {"1": nan}, "b": {"1": 0.2}},
        ("dice", "ventricles"): {"a": {"1": 0.1, "2": 0.2, "3": 0.2}, "b": {"1": 0.2, "2": 0.4, "3": 0.5}},
    }
    same, none, few = paired_tests(values, ["a", "b"], 0)
    assert (same.difference.n, same.p) == (2, 1.0)
    assert "p is 1" in same.note
    assert none.difference.value is None
    assert math.isnan(none.p_holm)
    assert "no p below 0.05" in few.note


# --- resampling -------------------------------------------------------------------------------------------------------


def test_means_leave_undefined_figures_out_and_have_scipys_interval():
    values = np.array([*np.random.default_rng(6).random(30), np.nan, np.nan])
    found = mean_over_patients(values, "x", 0)
    assert found.value == pytest.approx(np.nanmean(values))
    assert found.n == 30
    again = stats.bootstrap((values[:30],), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(1))
    assert (found.low, found.high) == pytest.approx(tuple(again.confidence_interval), abs=0.01)
    assert "patients" in found.interval
    assert mean_over_patients(values, "x", 0) == found
    assert mean_over_patients(np.array([np.nan]), "x", 0).value is None
    assert "One patient" in mean_over_patients(np.array([0.3]), "x", 0).note
    assert ratio_over_patients(np.zeros(3), np.zeros(3), "x", 0).value is None


def test_medians_over_slices_resample_whole_patients():
    rng = np.random.default_rng(7)
    values, patients = rng.random(40), rng.integers(0, 8, 40)
    found = median_over_slices(values, patients, "x", 0)
    assert found.value == np.median(values)
    assert found.n == 40
    drawn = patient_weights(8, "x", 0)
    assert drawn.sum(axis=1).tolist() == [8] * 1000
    medians = [np.median(np.repeat(values, row[patients])) for row in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(medians, (0.025, 0.975))))
    alone = median_over_slices(values[:3], np.zeros(3, int), "x", 0)
    assert alone.low is None
    assert "One patient" in alone.note


def test_intervals_say_what_is_doubtful_about_them():
    assert "Only 4 patients" in percentile_interval(0.5, np.linspace(0, 1, 50), 4).note
    flat = percentile_interval(1.0, np.ones(50), 30)
    assert flat.low is None
    assert "same figure" in flat.note
    holes = percentile_interval(0.5, np.array([np.nan, 0.4, 0.6]), 30)
    assert 0.4 <= holes.low < holes.high <= 0.6


# --- conventions ------------------------------------------------------------------------------------------------------


def test_conventions_are_said_in_words():
    chosen = choose_conventions(2.0, "iou", None, 10.7, 0.2, 5)
    said = " ".join(text for _, text in chosen.sentences)
    for piece in ("within 2 mm", "at least 0.25", "below 10.7 mm", "at least 20 %", "seed 5", "G1 below 0.2 ml",
                  "G5 from 5 ml on", "0/0 is undefined"):  # fmt: skip
        assert piece in said, piece


@pytest.mark.parametrize(
    "arguments",
    [{"nsd_tolerance_mm": -1.0}, {"overlap_rule": "touch"}, {"overlap_minimum": 0.5}, {"minimum_lesion_mm3": -1.0},
     {"slice_overlap": 1.5}, {"seed": -1}, {"nsd_tolerance_mm": float("nan")}],
)  # fmt: skip
def test_conventions_without_sense_are_refused_with_advice(arguments):
    with pytest.raises(InvalidMappingError) as caught:
        choose_conventions(**arguments)
    assert caught.value.advice
