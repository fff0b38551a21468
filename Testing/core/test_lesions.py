"""Lesions: found, measured, numbered for good, flipped, redrawn from probabilities; edits counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES
from flairseg.lesions import components
from flairseg.lesions.boxes import bounding_box, changed_box, count_voxels, through_plane_axis
from flairseg.lesions.components import find_lesions, numbered_like
from flairseg.lesions.edits import count_edits, other_wmh_class, rethresholded
from flairseg.models.card import PipelineConfig
from flairseg.models.lesion_confidence import LesionConfidence
from flairseg.segmentation.decoding import classify
from flairseg.segmentation.postprocessing import clean_labels
from scipy import ndimage

#: 1 x 2 x 4 mm (I, J, K), slices from the feet up; a left-handed grid, as most clinical files have.
AFFINE = np.array([[-1.0, 0, 0, 30], [0, 2, 0, -40], [0, 0, 4, -10], [0, 0, 0, 1]])
SHAPE = (10, 30, 40)


@pytest.fixture
def labels() -> np.ndarray:
    out = np.zeros(SHAPE, np.uint8)
    out[2:6, 10:14, 10:20] = VENTRICLES
    out[2:6, 14:16, 10:20] = NORMAL_WMH
    out[4:8, 20:24, 25:30] = LESION  # 80 voxels
    out[2, 3, 3:6] = LESION  # 3 voxels
    out[3, 4, 6] = LESION  # touches the one before by a corner: the same lesion
    return out


@pytest.fixture
def probabilities(labels) -> np.ndarray:
    out = np.full((4, *SHAPE), 0.02, np.float32)
    for value in range(4):
        out[value][labels == value] = 0.94
    out[LESION, 4:8, 20:24, 25:30] = 0.70
    out[NORMAL_WMH, 4:8, 20:24, 25:30] = 0.25
    out[BACKGROUND, 4:8, 20:24, 25:30] = 0.05
    return out


def test_each_lesion_has_its_size_place_and_confidence(labels, probabilities):
    found = find_lesions(labels, AFFINE, probabilities)
    large, small = found.lesions
    assert (large.number, large.voxels, large.value) == (1, 80, LESION)
    assert large.volume_mm3 == pytest.approx(80 * 8)
    assert large.volume_ml == pytest.approx(0.64)
    # Middle of K 4..7, J 20..23, I 25..29 through the affine.
    assert large.centre_ras == pytest.approx((30 - 27, -40 + 2 * 21.5, -10 + 4 * 5.5))
    assert large.slices == (4, 7)
    assert large.confidence == pytest.approx(0.70, abs=1e-3)
    assert large.runner_up == NORMAL_WMH
    assert large.margin == pytest.approx(0.45, abs=1e-3)
    assert (small.voxels, small.slices, small.largest_slice) == (4, (2, 3), 2)


def test_the_anchor_lies_inside_even_of_a_ring():
    labels = np.zeros((3, 21, 21), np.uint8)
    rows, columns = np.ogrid[:21, :21]
    radius = np.hypot(rows - 10, columns - 10)
    labels[1][(radius > 6) & (radius < 9)] = LESION
    (ring,) = find_lesions(labels, np.eye(4)).lesions
    i, j, k = (round(x) for x in ring.anchor_ras)
    assert labels[k, j, i] == LESION
    assert labels[tuple(round(x) for x in ring.centre_ras[::-1])] == BACKGROUND
    assert ring.confidence is None
    assert ring.margin is None
    assert ring.runner_up is None


def test_regions_are_26_connected_as_scipy_labels_them(labels):
    rng = np.random.default_rng(3)
    noise = np.where(rng.random((12, 25, 31)) > 0.9, LESION, 0).astype(np.uint8)
    from scipy import ndimage

    reference, count = ndimage.label(noise == LESION, np.ones((3, 3, 3)))
    found = find_lesions(noise, np.eye(4))
    assert len(found.lesions) == count
    assert sorted(x.voxels for x in found.lesions) == sorted(np.bincount(reference.ravel())[1:])
    for lesion in found.lesions[:20]:
        box, mask = found.mask(lesion.number)
        assert mask.sum() == lesion.voxels
        assert len(np.unique(reference[box][mask])) == 1


def test_distance_to_the_ventricles_in_mm(labels):
    found = find_lesions(labels, AFFINE, values=(LESION, NORMAL_WMH))
    large = found.lesions[0]
    # Nearest voxels: I 25 against 19, J 20 against 13, same slice.
    assert large.ventricle_distance_mm == pytest.approx(np.hypot(6 * 1, 7 * 2))
    assert not large.touches_ventricles
    normal = found.lesions[-1]
    assert normal.value == NORMAL_WMH
    assert normal.touches_ventricles
    labels[labels == VENTRICLES] = BACKGROUND
    assert find_lesions(labels, AFFINE).lesions[0].ventricle_distance_mm is None


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1), (1, 0, 2)])
def test_the_slice_number_runs_through_the_thick_slices_however_they_are_stored(labels, order):
    """The same head stored with its axes permuted: the same slices."""
    turned = np.transpose(labels, order)
    # Column of the affine for each array axis, K, J, I.
    columns = AFFINE[:, [2, 1, 0]][:, list(order)]
    affine = np.column_stack([columns[:, ::-1], AFFINE[:, 3]])
    assert through_plane_axis(affine) == order.index(0)
    here, there = find_lesions(labels, AFFINE).lesions[0], find_lesions(turned, affine).lesions[0]
    assert there.slices == here.slices
    assert there.largest_slice == here.largest_slice
    assert there.centre_ras == pytest.approx(here.centre_ras)


def test_nothing_found_is_an_empty_map(labels):
    nothing = find_lesions(np.zeros(SHAPE, np.uint8), AFFINE)
    assert nothing.lesions == ()
    assert nothing.at((1, 1, 1)) is None
    with pytest.raises(KeyError):
        nothing.mask(1)
    found = find_lesions(labels, AFFINE, previous=nothing)
    assert [x.number for x in found.lesions] == [1, 2]
    assert numbered_like(nothing, found).lesions == ()


def test_at_finds_the_lesion_under_a_voxel(labels):
    found = find_lesions(labels, AFFINE)
    assert found.at((5, 21, 27)).number == 1
    assert found.at((2, 3, 4)).number == 2
    assert found.at((5, 12, 15)) is None
    assert found.at((9, 29, 39)) is None


def test_numbers_stay_with_their_lesion(labels):
    before = find_lesions(labels, AFFINE)
    grown = labels.copy()
    grown[2:5, 2:9, 1:16] = LESION  # number 2 outgrows number 1
    grown[9, 0, 39] = LESION
    after = find_lesions(grown, AFFINE, previous=before)
    assert after.at((2, 3, 4)).number == 2
    assert after.at((5, 21, 27)).number == 1
    assert after.at((9, 0, 39)).number == 3
    assert [x.voxels for x in after.lesions] == sorted((x.voxels for x in after.lesions), reverse=True)


def test_a_lesion_cut_in_two_keeps_its_number_in_the_larger_part(labels):
    before = find_lesions(labels, AFFINE)
    cut = labels.copy()
    cut[:, :, 26] = BACKGROUND
    after = find_lesions(cut, AFFINE, previous=before)
    assert after.at((5, 21, 28)).number == 1
    assert after.at((5, 21, 25)).number == 3
    assert len({x.number for x in after.lesions}) == len(after.lesions)


def reclassified(labels, lesion_map, numbers, value):
    """Labels in which whole regions have another class."""
    out = labels.copy()
    for box, mask in map(lesion_map.mask, numbers):
        out[box][mask] = value
    return out


def test_a_lesion_that_comes_back_has_its_number_again(labels):
    before = find_lesions(labels, AFFINE)
    without = find_lesions(reclassified(labels, before, [1], BACKGROUND), AFFINE, previous=before)
    assert [x.number for x in without.lesions] == [2]
    nothing = find_lesions(np.zeros(SHAPE, np.uint8), AFFINE, previous=without)
    assert nothing.lesions == ()
    again = find_lesions(labels, AFFINE, previous=nothing)
    assert again.at((5, 21, 27)).number == 1
    assert again.at((2, 3, 4)).number == 2
    assert again.vanished == ()


def test_flip_and_delete_change_that_region_alone(labels):
    found = find_lesions(labels, AFFINE)
    flipped = reclassified(labels, found, [1], other_wmh_class(LESION))
    assert (flipped[4:8, 20:24, 25:30] == NORMAL_WMH).all()
    assert (flipped != labels).sum() == 80
    back = find_lesions(flipped, AFFINE, values=(LESION, NORMAL_WMH), previous=found)
    assert back.at((5, 21, 27)).number == 1
    assert np.array_equal(reclassified(flipped, back, [1], other_wmh_class(NORMAL_WMH)), labels)
    gone = reclassified(labels, found, [1, 2], BACKGROUND)
    assert not (gone == LESION).any()
    assert (labels == LESION).sum() == 84


def test_rethresholding_grows_from_cores_and_drops_the_unsure(labels, probabilities):
    # A halo around the large lesion, and an unsure speck that nothing certain touches.
    probabilities[LESION, 4:8, 18:26, 23:32] = np.maximum(probabilities[LESION, 4:8, 18:26, 23:32], 0.3)
    probabilities[LESION, 8, 2:6, 30:36] = 0.3
    wide = rethresholded(labels, probabilities, 0.6, 0.25, 8.0)
    assert (wide[4:8, 18:26, 23:32] == LESION).all()
    assert not (wide[8, 2:6, 30:36] == LESION).any()
    assert ((wide == VENTRICLES) == (labels == VENTRICLES)).all()
    strict = rethresholded(labels, probabilities, 0.9, 0.9, 8.0)
    assert (strict[4:8, 20:24, 25:30] == NORMAL_WMH).all(), "more likely normal than background"
    assert (strict[2, 3, 3:6] == LESION).all()
    assert (labels == LESION).sum() == 84, "the labels given stay as they are"


def test_rethresholding_leaves_what_the_reader_edited(labels, probabilities):
    original = labels.copy()
    edited = labels.copy()
    edited[9, 10:14, 30:34] = LESION  # painted where the model saw nothing
    edited[4:8, 20:24, 25:30] = BACKGROUND  # deleted, though the model is sure
    out = rethresholded(edited, probabilities, 0.5, 0.4, 8.0, original)
    assert (out[9, 10:14, 30:34] == LESION).all()
    assert (out[4:8, 20:24, 25:30] == BACKGROUND).all()


def test_confidence_is_the_share_that_readers_drew_where_the_card_tells_it(labels, probabilities):
    calibration = LesionConfidence(-3.0, 1.1, 0.5)
    plain = find_lesions(labels, AFFINE, probabilities, (LESION, NORMAL_WMH))
    found = find_lesions(labels, AFFINE, probabilities, (LESION, NORMAL_WMH), confidence=calibration)
    large, small, normal = found.lesions
    assert large.confidence == calibration.drawn_share(0.70, 640.0) != pytest.approx(0.70, abs=0.05)
    assert small.confidence == calibration.drawn_share(0.94, 32.0)
    assert (large.mean_probability, small.mean_probability) == pytest.approx((0.70, 0.94), abs=1e-3)
    assert (normal.drawn_share, normal.confidence) == (None, normal.mean_probability), "fitted on lesions alone"
    for one, other in zip(found.lesions, plain.lesions, strict=True):
        assert replace(one, drawn_share=None) == other
        assert other.confidence == other.mean_probability
    assert find_lesions(labels, AFFINE, confidence=calibration).lesions[0].confidence is None
    labels[4:8, 20:24, 25:27] = BACKGROUND
    edited = find_lesions(labels, AFFINE, probabilities, previous=found, confidence=calibration).get(large.number)
    assert edited.confidence == calibration.drawn_share(0.70, 384.0) < large.confidence


def test_quantised_probabilities_say_the_same(labels, probabilities):
    quantised = np.rint(probabilities * 255).astype(np.uint8)
    fine, coarse = (find_lesions(labels, AFFINE, p).lesions[0] for p in (probabilities, quantised))
    assert coarse.confidence == pytest.approx(fine.confidence, abs=0.005)
    assert np.array_equal(
        rethresholded(labels, quantised, 0.5, 0.3, 8.0), rethresholded(labels, probabilities, 0.5, 0.3, 8.0)
    )


def test_probabilities_of_another_grid_are_refused(labels, probabilities):
    with pytest.raises(ValueError, match="do not fit"):
        find_lesions(labels, AFFINE, probabilities[:, :-1])


def test_edits_are_counted_by_class(labels):
    edited = labels.copy()
    edited[4, 20:24, 25:30] = NORMAL_WMH  # 20 voxels flipped
    edited[9, 0, :5] = LESION  # 5 added
    edited[2, 10, 10:13] = BACKGROUND  # 3 removed
    values = (VENTRICLES, NORMAL_WMH, LESION)
    assert count_edits(labels, edited, values) == {VENTRICLES: (0, 3), NORMAL_WMH: (20, 0), LESION: (5, 20)}
    assert count_edits(labels, labels, values) == dict.fromkeys(values, (0, 0))
    assert list(count_voxels(edited)) == list(np.bincount(edited.ravel(), minlength=4))


def test_boxes(labels):
    assert bounding_box(labels, (VENTRICLES,)) == (slice(2, 6), slice(10, 14), slice(10, 20))
    assert bounding_box(np.zeros(SHAPE, np.uint8), (1,)) is None
    edited = labels.copy()
    assert changed_box(labels, edited) is None
    edited[1, 2, 3] = edited[5, 6, 7] = LESION
    assert changed_box(labels, edited) == (slice(1, 6), slice(2, 7), slice(3, 8))


# --- limits


def ramp(levels: list[float], shape: tuple[int, int, int] = (3, 8, 40)) -> tuple[np.ndarray, np.ndarray]:
    """Labels without lesions, and a row of lesion probabilities; background where they are below a half."""
    probabilities = np.zeros((4, *shape), np.float32)
    probabilities[LESION, 1, 4, : len(levels)] = levels
    probabilities[BACKGROUND] = 1 - probabilities[LESION]
    return np.zeros(shape, np.uint8), probabilities


def test_rethresholding_takes_what_reaches_both_levels():
    labels, probabilities = ramp([0.25, 0.5, 0.25, 0.24, 0.25, 0.49, 0.25])
    drawn = rethresholded(labels, probabilities, 0.5, 0.25, 100.0)
    assert np.argwhere(drawn).tolist() == [[1, 4, 0], [1, 4, 1], [1, 4, 2]], "0.49 is no core, 0.24 no outline"
    # An outline above the core is the core.
    assert np.array_equal(
        rethresholded(labels, probabilities, 0.3, 0.9, 100.0), rethresholded(labels, probabilities, 0.3, 0.3, 100.0)
    )
    quantised = np.where(probabilities == np.float32(0.25), 64, np.rint(probabilities * 255)).astype(np.uint8)
    quantised[LESION, 1, 4, 1] = 128
    assert np.array_equal(rethresholded(labels, quantised, 0.5, 0.25, 100.0), drawn)


@pytest.mark.parametrize(("voxels", "kept"), [(1, False), (2, False), (3, True)])
def test_new_regions_have_10_7_mm3(voxels, kept):
    labels, probabilities = ramp([0.9] * voxels)
    drawn = rethresholded(labels, probabilities, 0.5, 0.4, 10.7 / 3)
    assert (drawn == LESION).sum() == (voxels if kept else 0)
    assert (rethresholded(labels, probabilities, 0.5, 0.4, 10.7 / 3, smallest_mm3=0.0) == LESION).sum() == voxels
    # What a reader painted stays, however small.
    edited = labels.copy()
    edited[0, 0, 0] = LESION
    assert rethresholded(edited, probabilities, 0.5, 0.4, 1.0, labels)[0, 0, 0] == LESION


def test_what_is_no_lesion_any_more_goes_to_the_most_probable_other_class():
    labels, probabilities = ramp([0.2, 0.2, 0.2])
    labels[1, 4, :3] = LESION
    probabilities[BACKGROUND, 1, 4, :3] = 0.4
    probabilities[NORMAL_WMH, 1, 4, :3] = 0.39, 0.4, 0.41
    drawn = rethresholded(labels, probabilities, 0.5, 0.4, 1.0)
    assert drawn[1, 4, :3].tolist() == [BACKGROUND, BACKGROUND, NORMAL_WMH]
    probabilities[VENTRICLES, 1, 4, :3] = 0.4, 0.3, 0.42
    drawn = rethresholded(labels, probabilities, 0.5, 0.4, 1.0)
    assert drawn[1, 4, :3].tolist() == [BACKGROUND, BACKGROUND, VENTRICLES]


def test_the_outline_stops_at_the_ventricles_but_a_core_does_not():
    labels, probabilities = ramp([0.9, 0.4, 0.4, 0.6])
    labels[1, 4, 2:4] = VENTRICLES
    drawn = rethresholded(labels, probabilities, 0.5, 0.3, 100.0)
    assert drawn[1, 4, :4].tolist() == [LESION, LESION, VENTRICLES, LESION]


@pytest.mark.parametrize("level", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_sliders_at_one_level_find_what_the_threshold_of_a_run_finds(level):
    """The model's result, redrawn in the panel, and a run with that threshold: the same labels."""
    rng = np.random.default_rng(7)
    noise = ndimage.gaussian_filter(rng.standard_normal((4, *SHAPE)), (0, 1, 1.5, 1.5))
    chances = np.exp(noise / noise.std() * 1.5)
    probabilities = (chances / chances.sum(0)).astype(np.float32)
    spacing, voxel_mm3 = (4.0, 2.0, 1.0), 8.0
    others = {"fill_holes": False}
    own = PipelineConfig(min_lesion_mm3=30.0, min_lesion_probability=0.6, **others)
    model = clean_labels(classify(probabilities), probabilities, spacing, own)
    run = PipelineConfig(min_lesion_mm3=30.0, thresholds={LESION: level}, **others)
    expected = clean_labels(classify(probabilities, run.thresholds), probabilities, spacing, run)
    assert 0 < (expected == LESION).sum() != (model == LESION).sum()
    assert np.array_equal(rethresholded(model, probabilities, level, level, voxel_mm3, model, 30.0), expected)


def test_a_lesion_comes_back_with_half_of_its_voxels():
    labels = np.zeros(SHAPE, np.uint8)
    labels[3, 5, 5:11] = LESION
    labels[8, 20, 20] = LESION
    before = find_lesions(labels, AFFINE)
    without = find_lesions(reclassified(labels, before, [1], BACKGROUND), AFFINE, previous=before)
    assert [(number, mask.sum()) for number, _, mask in without.vanished] == [(1, 6)]
    # Beside another lesion and alone: what else there is does not decide.
    for beside in (LESION, BACKGROUND):
        for voxels, number in ((3, 1), (2, 3)):
            part = np.zeros(SHAPE, np.uint8)
            part[3, 5, 5 : 5 + voxels] = LESION
            part[8, 20, 20] = beside
            again = find_lesions(part, AFFINE, previous=without)
            assert again.at((3, 5, 5)).number == number
            assert getattr(again.at((8, 20, 20)), "number", None) == (2 if beside else None)


def test_classes_follow_each_other_and_the_largest_is_first(labels):
    labels[9, 0, 0] = NORMAL_WMH
    found = find_lesions(labels, AFFINE, values=(NORMAL_WMH, LESION))
    assert [(x.number, x.value, x.voxels) for x in found.lesions] == [
        (1, LESION, 80), (2, LESION, 4), (3, NORMAL_WMH, 80), (4, NORMAL_WMH, 1)
    ]  # fmt: skip
    assert bounding_box(labels, (NORMAL_WMH, LESION)) == (slice(2, 10), slice(0, 24), slice(0, 30))
    assert found.box == (slice(2, 10), slice(0, 24), slice(0, 30))
    assert found.lesions[0].largest_slice == 4
    assert found.lesions[2].box == (slice(2, 6), slice(14, 16), slice(10, 20))


@pytest.mark.parametrize(
    ("kji", "touches", "mm"),
    # From the ventricle's corner at K 5, J 13, I 19; steps of 4, 2 and 1 mm.
    [
        ((6, 14, 20), True, 21**0.5),
        ((5, 13, 21), False, 2.0),
        ((7, 13, 19), False, 8.0),
        ((5, 15, 19), False, 4.0),
        # Beside the middle of each of its faces.
        ((4, 12, 22), False, 3.0),
        ((4, 12, 7), False, 3.0),
        ((4, 7, 14), False, 6.0),
        ((4, 16, 14), False, 6.0),
        ((0, 12, 14), False, 8.0),
        ((8, 12, 14), False, 12.0),
    ],
)
def test_contact_with_the_ventricles_is_by_a_corner_at_least(kji, touches, mm):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 10:14, 10:20] = VENTRICLES
    labels[kji] = LESION
    (lesion,) = find_lesions(labels, AFFINE).lesions
    assert (lesion.touches_ventricles, lesion.ventricle_distance_mm) == (touches, pytest.approx(mm))


def test_distances_are_those_of_all_pairs_of_voxels():
    """Ventricles and lesions of any shape; touching is within one voxel along every axis."""
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(8)
    noise = ndimage.gaussian_filter(rng.normal(size=(12, 24, 26)), 2.0)
    labels = np.where(noise > np.quantile(noise, 0.7), VENTRICLES, BACKGROUND).astype(np.uint8)
    labels[noise < np.quantile(noise, 0.04)] = LESION
    free = np.argwhere(labels == BACKGROUND)
    labels[tuple(free[rng.choice(len(free), 25, replace=False)].T)] = LESION
    found = find_lesions(labels, AFFINE)
    ventricles = np.argwhere(labels == VENTRICLES)
    steps = (4, 2, 1)
    assert len(found.lesions) > 10
    assert {lesion.touches_ventricles for lesion in found.lesions} == {True, False}
    for lesion in found.lesions:
        box, mask = found.mask(lesion.number)
        own = np.argwhere(mask) + [s.start for s in box]
        assert lesion.ventricle_distance_mm == pytest.approx(cdist(own * steps, ventricles * steps).min())
        assert lesion.touches_ventricles == (cdist(own, ventricles, "chebyshev").min() <= 1)


def test_the_distance_of_a_large_lesion_is_that_of_its_nearest_voxel():
    """One voxel of 20,000 is nearest: leaving out some of a large lesion's voxels made the distance too large."""
    steps = (1.2, 0.7, 0.5)  # mm, K, J, I
    labels = np.zeros((30, 60, 60), np.uint8)
    labels[2:28, 5:35, 20:50] = LESION
    labels[10:20, 50:55, 5:55] = VENTRICLES
    for spike in ((13, 36, 41), (14, 37, 33), (15, 38, 27), (16, 39, 22)):
        made = labels.copy()
        made[spike[0], 35 : spike[1] + 1, spike[2]] = LESION
        lesion = find_lesions(made, np.diag([*steps[::-1], 1])).lesions[0]
        assert lesion.voxels > 20_000
        assert lesion.ventricle_distance_mm == pytest.approx((50 - spike[1]) * steps[1])


def test_disagreement_is_the_mean_over_the_region(labels):
    disagreement = np.zeros(SHAPE, np.float32)
    disagreement[4:8, 20:24, 25:30] = 0.25
    disagreement[4, 20, 25] = 0.65
    large, small = find_lesions(labels, AFFINE, disagreement=disagreement).lesions
    assert large.disagreement == pytest.approx(0.255)  # 0.25 + 0.4 / 80
    assert small.disagreement == 0.0
    with pytest.raises(ValueError, match="disagreement"):
        find_lesions(labels, AFFINE, disagreement=disagreement[1:])


def test_every_voxel_of_a_lesion_answers_for_it_and_no_other(labels):
    found = find_lesions(labels, AFFINE)
    for kji in np.ndindex(SHAPE):
        lesion = found.at(kji)
        assert (lesion is not None) == (labels[kji] == LESION)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((1.0, 1.0, 3.0), 0), ((3.0, 1.0, 1.0), 2), ((1.0, 4.0, 1.0), 1), ((1.0, 1.2, 1.0), 0), ((1.2, 1.0, 1.0), 0),
    ],
)  # fmt: skip
def test_slices_run_through_the_clearly_largest_spacing_else_foot_to_head(spacing, axis):
    assert through_plane_axis(np.diag([*spacing, 1.0])) == axis


@pytest.mark.parametrize("few", [10, 10_000])
def test_distances_from_the_ventricles_are_those_of_all_pairs(monkeypatch, few):
    """Whether surfaces are small or large, which are compared in another way."""
    monkeypatch.setattr(components, "_FEW_POINTS", few)
    rng = np.random.default_rng(2)
    ventricles, lesion = rng.uniform(0, 60, (700, 3)), rng.uniform(40, 90, (130, 3))
    expected = np.sqrt(np.square(ventricles[:, None] - lesion).sum(2)).min()
    assert components._nearest_to(ventricles)(lesion) == pytest.approx(expected)
    assert components._nearest_to(ventricles)(ventricles[5:6]) == 0
