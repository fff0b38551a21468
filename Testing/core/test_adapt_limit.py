"""The minimum mean probability of a lesion of an adapted model: chosen on left-out patients, else the parent's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from flairseg.adapt import lesion_limit
from flairseg.adapt.lesion_limit import FEWEST_LESIONS, Judged, at_limits, chosen, keeping_all, limits_of
from flairseg.adapt.proof import case_figures
from flairseg.adapt.terms import FEWEST_FOR_PROOF
from flairseg.models.store import find_model
from flairseg.segmentation.postprocessing import clean_labels
from flairseg.segmentation.result import Segmentation

from Testing.core.site_cases import site_head

LIMITS = (0.0, 0.6, 0.78, 0.9)
PARENT = 0.78


def test_the_best_limit_is_taken_where_the_parents_is_clearly_behind():
    scores = [[0.5, 0.7, 0.6, 0.4], [0.4, 0.6, 0.5, 0.3], [0.6, 0.82, 0.7, 0.5]]
    assert chosen(np.array(scores), LIMITS, ["a", "b", "c"], PARENT) == 0.6


def test_the_parents_limit_is_kept_where_the_best_one_is_no_more_than_chance():
    # 0.9 is best on average by one patient alone: 0.03 ahead, with a standard error of 0.035.
    scores = [[0.5, 0.6, 0.6, 0.7], [0.5, 0.6, 0.6, 0.6], [0.5, 0.6, 0.6, 0.58]]
    assert chosen(np.array(scores), LIMITS, ["a", "b", "c"], PARENT) == PARENT


def test_of_limits_that_are_as_good_the_nearest_to_the_parents_is_taken():
    scores = np.array([[0.7, 0.7, 0.5, 0.2]] * 4) + np.arange(4)[:, None] / 100
    assert chosen(scores, LIMITS, list("abcd"), PARENT) == 0.6


def test_patients_weigh_the_same_and_undefined_cases_nothing():
    # Patient a has four scans that would have it otherwise; b and c outweigh it.
    scores = [[0.5, 0.5, 0.5, 0.6]] * 4 + [[0.5, 0.9, 0.5, 0.5]] * 2 + [[np.nan] * 4]
    assert chosen(np.array(scores), LIMITS, ["a"] * 4 + ["b", "c", "d"], 0.6) == 0.6
    assert chosen(np.array([[np.nan] * 4] * 3), LIMITS, ["a", "b", "c"], PARENT) == PARENT
    assert chosen(np.array(scores[:4]), LIMITS, ["a"] * 4, PARENT) == PARENT, "one patient has no standard error"


def judged(best, lesions=20):
    """Cases of one patient each, whose score is 1 at ``best`` of LIMITS and falls with the distance in the tuple."""
    figures = [
        {v: {"lesion_dice": 1 - 0.1 * abs(n - b), "lesion_f1": 1 - 0.1 * abs(n - b)} for n, v in enumerate(LIMITS)}
        for b in best
    ]
    return Judged(LIMITS, figures, [lesions] * len(best), [f"p{n}" for n in range(len(best))])


def test_few_patients_or_lesions_keep_the_parents():
    assert judged([1] * FEWEST_FOR_PROOF).limit(PARENT) == lesion_limit.Limit(0.6, PARENT, 100, True)
    assert judged([1] * (FEWEST_FOR_PROOF - 1), 500).limit(PARENT) == lesion_limit.Limit(PARENT, PARENT, 2000, False)
    few = judged([1] * FEWEST_FOR_PROOF, FEWEST_LESIONS // FEWEST_FOR_PROOF - 1)
    assert few.limit(PARENT).value == PARENT
    assert {tuple(one.items()) for one in few.proof(PARENT, [["p0"], ["p1", "p2", "p3", "p4"]])} == {
        (("lesion_dice", 0.9), ("lesion_f1", 0.9))
    }


def test_no_patient_of_the_proof_chooses_its_own_limit():
    # All but p4 are best at 0.6: alone in its fold, p4 is judged at 0.6, where it has lost.
    found = judged([1, 1, 1, 1, 3])
    figures = found.proof(PARENT, [["p0", "p1"], ["p2", "p3"], ["p4"]])
    assert figures[4]["lesion_dice"] == pytest.approx(0.8)
    # Without p0 and p1, one of three is p4: the mean's standard error reaches to the parent's limit.
    assert figures[0]["lesion_dice"] == pytest.approx(0.9)


@pytest.mark.parametrize("ratio", [0.0, 0.95])
def test_lesions_are_dropped_as_the_pipeline_drops_them(ratio):
    """A result at a limit is that of a card with this limit."""
    volume, labels = site_head(1)
    rng = np.random.default_rng(1)
    probabilities = np.zeros((4, *labels.shape), np.float32)
    np.put_along_axis(probabilities, labels[None].astype(int), rng.uniform(0.55, 0.95, (1, *labels.shape)), 0)
    probabilities[:, labels == 3] = 0
    probabilities[3, labels == 3] = np.where(np.arange((labels == 3).sum()) % 2, 0.7, 0.8)
    probabilities[0] += 1 - probabilities.sum(0)
    card = find_model("flairseg2d-light-v1.1")
    assert card.pipeline.min_lesion_probability == PARENT
    assert PARENT in limits_of(card)
    card = dataclasses.replace(card, pipeline=dataclasses.replace(card.pipeline, lesion_probability_ratio=ratio))
    spacing = tuple(reversed(volume.spacing))
    whole = clean_labels(labels, probabilities, spacing, keeping_all(card).pipeline)
    result = Segmentation(volume, whole, probabilities, card, "cpu", "cpu", "", "")
    for limit, one in zip(LIMITS, at_limits(result, LIMITS), strict=True):
        expected = clean_labels(labels, probabilities, spacing, keeping_all(card, limit).pipeline)
        assert np.array_equal(one.labels, expected), limit
    kept = [case_figures(one.labels, labels, (3,), 0.02)["lesion_dice"] for one in at_limits(result, LIMITS)]
    assert kept[0] == kept[1] == 1
    assert (kept[2] == kept[3] == 0) == (ratio == 0)
    assert card.pipeline.min_lesion_probability == PARENT, "cards are not changed"


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (lesion_limit.Limit(0.6, 0.78, 90, True), ("below 0.6 are dropped", "90 lesions", "0.78 in m-v1.0")),
        (lesion_limit.Limit(0.78, 0.78, 9, False), ("below 0.78 are dropped", "As in m-v1.0", "too few")),
        (lesion_limit.Limit(0.0, 0.0, 9, False), ("None is dropped", "too few")),
    ],
)
def test_a_card_says_where_its_limit_comes_from(limit, told):
    text = limit.text("m-v1.0")
    assert all(one in text for one in told)
    assert lesion_limit.Limit(**dataclasses.asdict(limit)) == limit
