"""S5's rule, and the lesions that it counts."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.study.acceptance import (
    Acceptance,
    LesionMap,
    acceptance_of,
    delineated_lesions,
    lesion_numbers,
    without_small_lesions,
)
from flairseg.study.records import ACCEPTABLE, FALSE_NEGATIVE, FALSE_POSITIVE, UNACCEPTABLE, Mark
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from Testing.core.study_data import LESIONS, SHAPE_KJI, affine, ras_of


@pytest.mark.parametrize(
    ("delineated", "false_positives", "false_negatives", "acceptable"),
    [
        (0, 0, 0, True),  # no lesion, none delineated
        (0, 0, 1, False),  # all that is there was missed
        (1, 1, 0, False),  # all that was drawn is wrong
        (1, 0, 0, True),
        (1, 0, 1, False),  # half missed
        (10, 1, 0, False),  # exactly 90 % is not more than 90 %
        (11, 1, 0, True),  # 10 of 11 = 90.9 %
        (9, 0, 1, False),  # 9 of 10 true lesions = 90 %
        (10, 0, 1, True),  # 10 of 11
        (20, 1, 1, True),  # 19 of 20 and 19 of 20
        (20, 2, 0, False),
        (20, 1, 3, False),  # 19 of 20, but 19 of 22
        (100, 9, 0, True),
        (100, 10, 0, False),
        (57, 5, 5, True),  # 52 of 57 = 91.2 %, twice
        (57, 6, 0, False),  # 51 of 57 = 89.5 %
    ],
)
def test_rule(delineated, false_positives, false_negatives, acceptable):
    found = Acceptance(delineated, false_positives, false_negatives)
    assert found.acceptable is acceptable
    assert found.proposed == (ACCEPTABLE if acceptable else UNACCEPTABLE)
    assert found.true_positives == delineated - false_positives
    assert found.true_lesions == found.true_positives + false_negatives


def test_fractions_over_nothing_are_undefined():
    empty = Acceptance(0, 0, 0)
    assert empty.true_of_delineated is None
    assert empty.delineated_of_true is None
    assert Acceptance(2, 2, 0).delineated_of_true is None
    assert Acceptance(0, 0, 3).delineated_of_true == 0.0


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_rule_is_exact(delineated, false_positives, false_negatives):
    """Against whole numbers: 10 * TP > 9 * n, for both halves."""
    false_positives = min(false_positives, delineated)
    true_positives = delineated - false_positives
    true_lesions = true_positives + false_negatives
    halves = [10 * true_positives > 9 * n for n in (delineated, true_lesions) if n]
    assert Acceptance(delineated, false_positives, false_negatives).acceptable is all(halves)


@pytest.mark.parametrize("counts", [(-1, 0, 0), (3, 4, 0), (3, 0, -1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match=r"negative|among"):
        Acceptance(*counts)


def test_threshold_of_the_protocol():
    assert Acceptance(4, 1, 0, 0.7).acceptable
    assert not Acceptance(4, 1, 0, 0.75).acceptable


def test_a_lesion_called_false_twice_counts_once():
    marks = [
        Mark("1", FALSE_POSITIVE, (0, 0, 0), 2),
        Mark("2", FALSE_POSITIVE, (1, 0, 0), 2),
        Mark("3", FALSE_NEGATIVE, (9, 9, 9)),
        Mark("4", FALSE_NEGATIVE, (9, 9, 9)),
    ]
    assert acceptance_of(5, marks) == Acceptance(5, 1, 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.35))
def test_lesions_are_26_connected_and_numbered_in_array_order(seed, density):
    """Against SciPy with a full 3 x 3 x 3 structure."""
    mask = np.random.default_rng(seed).random((5, 9, 8)) < density
    numbers = lesion_numbers(mask)
    reference, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert numbers.max() == count
    pairs = {(int(a), int(b)) for a, b in zip(numbers.ravel(), reference.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    values, first = np.unique(numbers, return_index=True)
    assert list(values[values > 0][np.argsort(first[values > 0])]) == list(range(1, count + 1))


def test_centres_and_volumes_are_in_ras_millimetres():
    labels = np.zeros(SHAPE_KJI, np.uint8)
    labels[2, 6, 5:9] = 3
    labels[4, 15, 14] = 3
    labels[1, 3, 3] = 1  # ventricle: no lesion
    first, second = delineated_lesions(labels, affine())
    expected = np.mean([ras_of((2, 6, i)) for i in range(5, 9)], axis=0)
    assert first.centre_ras == pytest.approx(expected)
    assert (first.voxels, second.voxels) == (4, 1)
    assert first.volume_ml == pytest.approx(4 * 2 * 2 * 5 / 1000)
    assert second.centre_ras == second.anchor_ras == pytest.approx(ras_of((4, 15, 14)))


def test_anchor_lies_in_a_curved_lesion():
    labels = np.zeros(SHAPE_KJI, np.uint8)
    labels[2, 4:15, 4:15] = 3
    labels[2, 5:14, 5:14] = 0
    (ring,) = (found := LesionMap(labels, affine())).lesions
    assert found.number_at(ring.centre_ras) is None
    assert found.number_at(ring.anchor_ras) == 1


def test_which_lesion_is_at_a_point():
    labels = np.zeros(SHAPE_KJI, np.uint8)
    for place in LESIONS:
        labels[place] = 3
    found = LesionMap(labels, affine())
    for number, place in enumerate(LESIONS, 1):
        assert found.number_at(ras_of(place)) == number
    beside = ras_of((2, 6, 6))
    assert found.number_at(beside) is None
    assert found.number_at(beside, 1.9) is None
    assert found.number_at(beside, 2.1) == 1
    assert found.index_of((1e6, 0, 0)) is None
    assert found.index_of((float("nan"), 0, 0)) is None
    assert found.index_of(ras_of((5, 23, 19))) == (5, 23, 19)


def test_small_lesions_are_removed_and_nothing_else():
    labels = np.zeros(SHAPE_KJI, np.uint8)
    labels[2, 6, 5] = 3  # 20 mm3
    labels[4, 10, 10:12] = 3  # 40 mm3
    labels[0, 0, 0] = 1
    kept = without_small_lesions(labels, 20.0, 20.5)
    assert kept[2, 6, 5] == 0
    assert (kept[4, 10, 10:12] == 3).all()
    assert kept[0, 0, 0] == 1
    assert (without_small_lesions(labels, 20.0, 20.0) == labels).all()
    assert labels[2, 6, 5] == 3
