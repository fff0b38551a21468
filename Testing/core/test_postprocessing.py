"""Clean-up against SimpleITK and SciPy, and the promises of each stage."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.labels import LESION, VENTRICLES
from flairseg.models.card import PipelineConfig
from flairseg.segmentation import postprocessing
from flairseg.segmentation.postprocessing import (
    clean_labels,
    drop_outside_brain,
    fill_holes,
    grow_lesions,
    lesion_components,
    remove_small_components,
    remove_unsure_lesions,
    smooth_edges,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold

MM = (6.0, 0.9, 0.9)
LABELS = arrays.arrays(np.uint8, (4, 9, 10), elements=st.sampled_from([0, 0, 0, 1, 2, 3, 3]))


def blobs(seed: int = 0, shape=(8, 48, 40)) -> np.ndarray:
    """Labels with blobs, specks and holes."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), (0.7, 1.6, 1.6))
    labels = np.digitize(field, np.quantile(field, [0.75, 0.85, 0.92])).astype(np.uint8)
    labels[rng.random(shape) < 0.004] = 3
    return labels


@given(LABELS)
@settings(max_examples=40, deadline=None)
def test_lesions_are_simpleitks_fully_connected_components(labels):
    components, count = lesion_components(labels)
    reference = sitk.ConnectedComponent(sitk.GetImageFromArray((labels == 3).astype(np.uint8)), True)
    expected = sitk.GetArrayFromImage(reference)
    assert count == expected.max()
    pairs = {(int(a), int(b)) for a, b in zip(components.ravel(), expected.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@given(LABELS, st.sampled_from([1, 2, 3]), st.floats(0, 60))
@settings(max_examples=60, deadline=None)
def test_small_components_are_those_that_simpleitk_measures(labels, value, minimum):
    voxel = float(np.prod(MM))
    out = remove_small_components(labels, value, minimum, voxel)
    image = sitk.GetImageFromArray((labels == value).astype(np.uint8))
    image.SetSpacing(MM[::-1])
    components = sitk.ConnectedComponent(image, True)
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(components)
    expected = labels.copy()
    for number in shapes.GetLabels():
        if shapes.GetPhysicalSize(number) < minimum - 1e-3 * voxel:
            expected[sitk.GetArrayViewFromImage(components) == number] = 0
    np.testing.assert_array_equal(out, expected)


def test_five_millimetre_voxels_and_the_lesion_rule():
    # 0.9 x 0.9 x 6.4 mm: two voxels are 10.37 mm3 and go, three are 15.6 mm3 and stay (S5: 10.7 mm3).
    labels = np.zeros((3, 12, 12), np.uint8)
    labels[1, 2, 2:4] = 3
    labels[1, 8, 2:5] = 3
    out = remove_small_components(labels, 3, 10.7, 0.9 * 0.9 * 6.4)
    assert out[1, 2].sum() == 0
    np.testing.assert_array_equal(out[1, 8], labels[1, 8])


def test_a_component_of_exactly_the_minimum_stays():
    labels = np.zeros((1, 6, 6), np.uint8)
    labels[0, 1, 1:4] = 3
    assert remove_small_components(labels, 3, 3 * 0.1, 0.1)[0, 1, 1] == 3
    assert remove_small_components(labels, 3, 3.1 * 0.1, 0.1)[0, 1, 1] == 0


@given(LABELS, st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_removed_voxels_go_to_the_next_most_probable_class(labels, seed):
    probabilities = np.random.default_rng(seed).random((4, *labels.shape)).astype(np.float16)
    out = remove_small_components(labels, 3, 30.0, float(np.prod(MM)), probabilities)
    removed = (labels == 3) & (out != 3)
    without = probabilities.astype(np.float32)
    without[3] = -1
    np.testing.assert_array_equal(out[removed], without.argmax(axis=0)[removed])
    np.testing.assert_array_equal(out[~removed], labels[~removed])


@given(arrays.arrays(bool, (2, 12, 11)), st.sampled_from([1, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_holes_are_simpleitks(mask, value):
    out = fill_holes(mask.astype(np.uint8) * value, MM, maximum_mm2=1e9)
    for k, plane in enumerate(mask):
        reference = sitk.BinaryFillhole(sitk.GetImageFromArray(plane.astype(np.uint8)), fullyConnected=False)
        np.testing.assert_array_equal(out[k] == value, sitk.GetArrayFromImage(reference) == 1)


def ring(outer: int, inner: int, value: int = 3) -> np.ndarray:
    y, x = np.mgrid[-15:16, -15:16]
    r2 = x * x + y * y
    return ((r2 <= outer**2) & (r2 > inner**2)).astype(np.uint8)[None] * value


def test_large_holes_and_other_classes_stay():
    labels = ring(12, 9)
    assert (fill_holes(labels, MM, 60.0) == labels).all()
    assert (fill_holes(labels, MM, 400.0)[0, 15, 15]) == 3
    assert fill_holes(ring(5, 2), MM)[0, 15, 15] == 3
    inside = ring(8, 4)
    inside[0, 15, 15] = 1
    assert (fill_holes(inside, MM, 1e9) == inside).all()
    # The limit is an area in mm2: the same hole in finer pixels is smaller.
    assert fill_holes(labels, (6.0, 0.3, 0.3), 60.0)[0, 15, 15] == 3


def test_holes_are_looked_for_within_slices():
    labels = np.zeros((3, 31, 31), np.uint8)
    labels[1] = ring(4, 2)
    assert fill_holes(labels, MM)[1, 15, 15] == 3
    assert fill_holes(labels, MM)[[0, 2]].sum() == 0


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_smoothing_keeps_every_component(seed):
    labels = blobs(seed, (4, 24, 20))
    out = smooth_edges(labels, MM)
    for value in (1, 2, 3):
        components, count = ndimage.label(labels == value, structure=np.ones((3, 3, 3)))
        kept = set(np.unique(components[out == value])) - {0}
        assert kept == set(range(1, count + 1))


def test_smoothing_is_gentle_idempotent_on_discs_and_rounds_spikes():
    disc = (ring(9, 0) | ring(1, 0)).astype(np.uint8)
    disc[0, 15, 15] = 3
    out = smooth_edges(disc, MM)
    dice = 2 * ((out == 3) & (disc == 3)).sum() / ((out == 3).sum() + (disc == 3).sum())
    assert dice > 0.97
    spiked = disc.copy()
    spiked[0, 15, 25:29] = 3
    assert smooth_edges(spiked, MM)[0, 15, 28] == 0
    # Finer than the smoothing nothing is rounded off.
    np.testing.assert_array_equal(smooth_edges(spiked, MM, sigma_mm=1e-3), spiked)


def test_smoothing_weighs_classes_as_scipy_does():
    labels = blobs(3)
    weights = np.stack(
        [
            ndimage.gaussian_filter((labels == c).astype(float), (0, 0.7 / 0.9, 0.7 / 0.9), mode="nearest")
            for c in range(4)
        ]
    )
    ordered = np.sort(weights, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    out = smooth_edges(labels, MM)
    changed = out != weights.argmax(axis=0)
    # What differs belongs to components that smoothing would have lost.
    for value in (1, 2, 3):
        components, _ = ndimage.label(labels == value, structure=np.ones((3, 3, 3)))
        lost = set(np.unique(components[labels == value])) - set(np.unique(components[weights.argmax(axis=0) == value]))
        changed &= ~(np.isin(components, list(lost)) & (labels == value))
    assert not (changed & clear).any()


@pytest.mark.parametrize("where", ["anywhere", "at the border"])
def test_working_in_a_box_changes_nothing(where):
    labels = blobs(5)
    if where == "anywhere":
        labels[:, :10] = labels[:, -8:] = labels[:, :, :7] = 0
        labels[0] = 0
    config = PipelineConfig(
        fill_holes=True, smooth_edges=True, min_lesion_mm3=30.0, min_ventricle_mm3=50.0, min_normal_mm3=40.0
    )
    probabilities = np.random.default_rng(0).random((4, *labels.shape)).astype(np.float16)
    voxel = float(np.prod(MM))
    expected = remove_small_components(labels, 1, 50.0, voxel, probabilities)
    expected = remove_small_components(expected, 2, 40.0, voxel, probabilities)
    expected = smooth_edges(fill_holes(expected, MM), MM)
    expected = remove_small_components(expected, 3, 30.0, voxel, probabilities)
    before = labels.copy()
    np.testing.assert_array_equal(clean_labels(labels, probabilities, MM, config), expected)
    np.testing.assert_array_equal(labels, before)


def test_a_card_that_asks_for_nothing_gets_nothing():
    labels = blobs(7)
    config = PipelineConfig(fill_holes=False, smooth_edges=False)
    np.testing.assert_array_equal(clean_labels(labels, None, MM, config), labels)


def test_nothing_stays_nothing():
    empty = np.zeros((3, 20, 20), np.uint8)
    assert not clean_labels(empty, None, MM, PipelineConfig(smooth_edges=True)).any()


def test_what_is_all_near_the_brain_is_not_numbered(monkeypatch):
    """The last rows and columns are no whole steps of the coarse mask."""
    brain, labels = np.zeros((3, 43, 41), bool), np.zeros((3, 43, 41), np.uint8)
    brain[:, 20:, 20:] = True
    labels[1, 12:, 12:] = LESION
    far = labels.copy()
    far[0, 2, 40] = LESION
    without = drop_outside_brain(far, brain, (6.0, 1.0, 1.0), 10.0)
    np.testing.assert_array_equal(without, labels)
    with monkeypatch.context() as patch:
        patch.setattr(postprocessing.ndimage, "label", None)
        np.testing.assert_array_equal(drop_outside_brain(labels, brain, (6.0, 1.0, 1.0), 10.0), labels)
        with pytest.raises(TypeError):
            drop_outside_brain(far, brain, (6.0, 1.0, 1.0), 10.0)


def test_outside_brain_only_components_far_from_the_mask_are_dropped():
    """A lesion that reaches to within the margin stays whole; fat behind the eye goes; all in millimetres."""
    labels = np.zeros((4, 40, 40), np.uint8)
    brain = np.zeros(labels.shape, bool)
    brain[1:3, 10:20, 10:20] = True
    labels[1, 12:30, 12] = LESION  # starts inside, ends 10 voxels outside
    labels[2, 12:14, 25] = VENTRICLES  # 6 voxels away
    labels[1, 35:38, 35:38] = LESION  # far away
    kept = drop_outside_brain(labels, brain, (6.0, 1.0, 1.0), 10.0)
    expected = labels.copy()
    expected[1, 35:38, 35:38] = 0
    np.testing.assert_array_equal(kept, expected)
    at_two_mm = drop_outside_brain(labels, brain, (6.0, 2.0, 2.0), 10.0)
    expected[2, 12:14, 25] = 0
    np.testing.assert_array_equal(at_two_mm, expected)
    np.testing.assert_array_equal(drop_outside_brain(labels, np.zeros_like(brain), (6.0, 1.0, 1.0), 10.0), labels)


def test_outside_brain_is_part_of_the_clean_up_where_the_card_asks_for_it():
    labels = np.zeros((3, 30, 30), np.uint8)
    brain = np.zeros(labels.shape, bool)
    brain[:, 2:8, 2:8] = True
    labels[1, 25, 25] = LESION
    asked = PipelineConfig(brain_margin_mm=10.0)
    assert not clean_labels(labels, None, MM, asked, brain).any()
    np.testing.assert_array_equal(clean_labels(labels, None, MM, PipelineConfig(), brain), labels)


def test_lesions_grow_as_scikit_images_hysteresis_threshold():
    """From cores at 0.5 and more down to 0.35, through corners too; without a core nothing becomes a lesion."""
    rng = np.random.default_rng(3)
    field = ndimage.gaussian_filter(rng.normal(size=(6, 30, 30)), 1.5)
    probability = (field - field.min()) / (field.max() - field.min())
    labels = np.where(probability >= 0.5, LESION, 0).astype(np.uint8)
    labels[0, 0, :5] = VENTRICLES
    regions, _ = ndimage.label(probability >= 0.35, np.ones((3, 3, 3)))
    with_core = np.isin(regions, np.setdiff1d(regions[probability >= 0.5], 0))
    grown = grow_lesions(labels, probability, 0.35)
    np.testing.assert_array_equal(grown == LESION, with_core)
    np.testing.assert_array_equal(grown[~with_core], labels[~with_core])
    np.testing.assert_array_equal(
        with_core | apply_hysteresis_threshold(probability, 0.35, 0.5), with_core
    )  # scikit-image connects by faces only
    assert not grow_lesions(np.zeros_like(labels), probability, 0.35).any()


def test_growth_is_part_of_the_clean_up_where_the_card_asks_for_it():
    probabilities = np.zeros((4, 2, 20, 20), np.float32)
    probabilities[3, 1, 5, 5:9] = [0.9, 0.4, 0.36, 0.2]
    probabilities[3, 1, 15, 15] = 0.4
    probabilities[0] = 1 - probabilities[3]
    labels = probabilities.argmax(0).astype(np.uint8)
    grown = clean_labels(labels, probabilities, MM, PipelineConfig(lesion_growth=0.35))
    assert np.argwhere(grown == LESION).tolist() == [[1, 5, 5], [1, 5, 6], [1, 5, 7]]
    np.testing.assert_array_equal(clean_labels(labels, probabilities, MM, PipelineConfig()), labels)


def test_a_voxel_exactly_at_the_threshold_belongs_to_the_lesion():
    labels = np.zeros((1, 3, 6), np.uint8)
    labels[0, 1, 1] = LESION
    probability = np.zeros(labels.shape)
    probability[0, 1, 1:4] = 0.9, 0.375, np.nextafter(0.375, 0)
    assert np.argwhere(grow_lesions(labels, probability, 0.375) == LESION).tolist() == [[0, 1, 1], [0, 1, 2]]


def test_a_hole_of_exactly_the_limit_is_filled():
    labels = np.ones((1, 6, 8), np.uint8)
    labels[0, 2:4, 2:5] = 0  # six pixels of 10 mm2
    assert (fill_holes(labels, (1.0, 2.0, 5.0), 60.0) == 1).all()
    assert (fill_holes(labels, (1.0, 2.0, 5.0), 59.9) == labels).all()


def test_a_lesion_near_the_surest_of_the_scan_stays_unless_it_is_tiny():
    probabilities = np.zeros((4, 2, 12, 12), np.float32)
    probabilities[3, 0, 2, 2:6] = 0.8  # the surest: below the limit itself
    probabilities[3, 0, 6, 2:6] = 0.72  # nine tenths of it, 20 mm3
    probabilities[3, 1, 9, 2:6] = 0.71
    probabilities[3, 1, 2, 8:11] = 0.79  # 15 mm3
    probabilities[0] = 1 - probabilities[3]
    labels = probabilities.argmax(0).astype(np.uint8)

    def kept(**fields):
        done = clean_labels(labels, probabilities, (5.0, 1.0, 1.0), PipelineConfig(**fields))
        return {round(float(one), 2) for one in probabilities[3][done == LESION]}

    assert kept(min_lesion_probability=0.85, lesion_probability_ratio=0.9) == {0.8, 0.72}
    assert kept(min_lesion_probability=0.75, lesion_probability_ratio=0.9) == {0.8, 0.79, 0.72}
    assert kept(min_lesion_probability=0.75) == {0.8, 0.79}
    assert kept(lesion_probability_ratio=0.9) == {0.8, 0.79, 0.72, 0.71}
    with pytest.raises(ValueError, match="lesion_probability_ratio"):
        PipelineConfig(lesion_probability_ratio=1.1)


def test_lesions_of_a_low_mean_probability_go_and_the_others_keep_their_outline():
    probabilities = np.zeros((4, 2, 12, 12), np.float32)
    probabilities[3, 0, 2, 2:5] = 0.9, 0.75, 0.6  # mean 0.75, the last voxel below it
    probabilities[3, 1, 8, 8:10] = 0.7, 0.6
    probabilities[2, 1, 8, 8] = 0.2
    probabilities[0] = 1 - probabilities[1:].sum(0)
    labels = probabilities.argmax(0).astype(np.uint8)
    kept = clean_labels(labels, probabilities, MM, PipelineConfig(min_lesion_probability=0.75))
    assert np.argwhere(kept == LESION).tolist() == [[0, 2, 2], [0, 2, 3], [0, 2, 4]]
    assert kept[1, 8, 8] == 2
    assert kept[1, 8, 9] == 0
    np.testing.assert_array_equal(clean_labels(labels, probabilities, MM, PipelineConfig()), labels)
    assert not (remove_unsure_lesions(labels, probabilities, 0.76) == LESION).any()
    np.testing.assert_array_equal(remove_unsure_lesions(labels * 0, probabilities, 0.76), labels * 0)
    with pytest.raises(ValueError, match="min_lesion_probability"):
        PipelineConfig(min_lesion_probability=1.0)
