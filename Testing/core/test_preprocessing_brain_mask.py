"""Brain extraction: each step against SimpleITK, scikit-image or a closed form, the whole against painted heads."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.preprocessing import brain_mask
from flairseg.preprocessing.brain_mask import (
    brain_mask_slice,
    moments_ellipse,
    refine_contour,
    tissue_threshold,
    without_holes,
)
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import draw, filters, measure, transform

from Testing.core.analytic_head import BONE, BRAIN_MM, dice, head_stack
from Testing.core.tiny import make_head

# The package has a function of the module's name.
masks = import_module("flairseg.preprocessing.brain_mask")
SPACING = (8.0, 1.8, 1.8)
#: Whole heads take a while: a failing one is reported as it is, not made simpler.
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)


def painted_ellipse(shape, centre, semi_axes, orientation) -> np.ndarray:
    """A filled ellipse by scikit-image; ``orientation`` from the row axis to the major axis."""
    out = np.zeros(shape, bool)
    out[draw.ellipse(*centre, *semi_axes, shape=shape, rotation=orientation)] = True
    return out


# --- threshold ------------------------------------------------------------------------------------------------------


def test_threshold_lies_half_way_between_air_and_tissue():
    image, _ = head_stack()
    image = image + 40  # air is not zero
    # Otsu by SimpleITK finds the head, half the median of the head above the air is the threshold.
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetInsideValue(0)
    otsu.SetOutsideValue(1)
    head = sitk.GetArrayFromImage(otsu.Execute(sitk.GetImageFromArray(image))) > 0
    expected = 40 + (np.median(image[head]) - 40) / 2
    assert np.isclose(tissue_threshold(image), expected, rtol=0.03)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 50), st.floats(-300, 300))
def test_threshold_follows_gain_and_offset(gain, offset):
    image, _ = head_stack((4, 64, 56), (16.0, 3.6, 3.6), noise=0.03)
    expected = tissue_threshold(image) * gain + offset
    found = tissue_threshold(image * np.float32(gain) + np.float32(offset))
    assert np.isclose(found, expected, atol=0.02 * 1000 * gain)  # a bin of Otsu's histogram may tip over


@pytest.mark.parametrize("value", [0.0, -3.0, 250.0])
def test_threshold_of_a_constant_is_the_constant(value):
    assert tissue_threshold(np.full((2, 8, 8), value)) == value


def test_otsu_s_threshold_is_that_of_scikit_image():
    rng = np.random.default_rng(5)
    for _ in range(20):
        values = np.concatenate([rng.normal(0, 1, 3000), rng.normal(rng.uniform(2, 8), 2, 2000)]).astype(np.float32)
        assert masks.otsu_threshold(values) == filters.threshold_otsu(values, nbins=128)


@pytest.mark.parametrize(("old", "new"), [(256, 128), (230, 127), (512, 101), (64, 64), (33, 8), (100, 128)])
def test_lines_are_resized_as_by_scikit_image(old, new):
    expected = transform.resize(np.eye(old, dtype=np.float32), (new, old), order=1, anti_aliasing=new < old)
    np.testing.assert_array_equal(masks._resizing_matrix(old, new).toarray(), expected)


def test_the_convex_area_is_that_of_scikit_image():
    rng = np.random.default_rng(6)
    for _ in range(40):
        noise = ndimage.gaussian_filter(rng.normal(size=(70, 80)), rng.uniform(0.8, 6))
        mask = noise > np.quantile(noise, rng.uniform(0.4, 0.99))
        assert masks.convex_area(mask) == measure.regionprops(mask.astype(np.uint8))[0].area_convex


# --- moments ellipse ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.floats(14, 40), st.floats(0.35, 0.8), st.floats(-1.5, 1.5), st.tuples(*[st.floats(55, 65)] * 2))
def test_ellipse_of_an_ellipse_is_itself(major, ratio, orientation, centre):
    minor = major * ratio
    ellipse = moments_ellipse(painted_ellipse((120, 120), centre, (major, minor), orientation))
    assert np.allclose(ellipse.centre, centre, atol=0.3)
    assert np.allclose(ellipse.semi_axes, (major, minor), rtol=0.04, atol=0.3)
    turn = (ellipse.orientation - orientation + np.pi / 2) % np.pi - np.pi / 2
    assert abs(turn) < 0.08


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_moments_are_those_of_scikit_image_and_simpleitk(seed):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(50, 60)), 5) > 0.02
    assume(mask.any())
    ellipse = moments_ellipse(mask)
    region = measure.regionprops(mask.astype(np.uint8))[0]
    assert np.allclose(ellipse.centre, region.centroid)
    assert np.allclose(ellipse.semi_axes, (region.axis_major_length / 2, region.axis_minor_length / 2))
    if ellipse.semi_axes[1] < 0.98 * ellipse.semi_axes[0]:
        turn = (ellipse.orientation - region.orientation + np.pi / 2) % np.pi - np.pi / 2
        assert abs(turn) < 1e-6
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.GetImageFromArray(mask.astype(np.uint8)))
    minor, major = 2 * np.sqrt(shape.GetPrincipalMoments(1))
    assert np.allclose(ellipse.semi_axes, (major, minor), rtol=1e-2)  # ITK adds a pixel's own 1/12
    assert np.allclose(ellipse.centre, shape.GetCentroid(1)[::-1])


@settings(max_examples=40, deadline=None)
@given(st.floats(12, 30), st.floats(0.4, 1.0), st.floats(-1.5, 1.5), st.floats(0.8, 1.3))
def test_stretched_ellipse_covers_pi_a_b(major, ratio, orientation, margin):
    mask = painted_ellipse((120, 120), (60, 60), (major, major * ratio), orientation)
    inside = moments_ellipse(mask).contains(mask.shape, margin)
    area = np.pi * major**2 * ratio * margin**2
    assert np.isclose(inside.sum(), area, atol=2 * np.pi * major)  # half a pixel along either outline
    if margin > 1.1:
        assert (inside | ~mask).all()


def test_degenerate_masks_have_ellipses_too():
    assert moments_ellipse(np.zeros((5, 5), bool)) is None
    point = np.zeros((9, 9), bool)
    point[3, 4] = True
    ellipse = moments_ellipse(point)
    assert ellipse.centre == (3.0, 4.0)
    assert (ellipse.contains(point.shape) == point).all()
    line = np.zeros((9, 9), bool)
    line[4, 1:8] = True
    ellipse = moments_ellipse(line)
    assert np.isclose(ellipse.semi_axes[0], 2 * np.sqrt(np.var(np.arange(7))))
    assert np.isclose(ellipse.semi_axes[1], 0, atol=1e-6)
    assert np.isclose(abs(ellipse.orientation), np.pi / 2)


# --- contour --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_contour_without_smoothing_is_simpleitks_largest_filled_component(seed):
    mask = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 50)), 2) > 0.05
    assume(mask.any())
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.BinaryFillhole(image, False)), sortByObjectSize=True)
    parts = sitk.GetArrayFromImage(parts)
    sizes = np.bincount(parts.ravel())[1:]
    assume(len(sizes) == 1 or sizes[0] > sizes[1])
    assert (refine_contour(mask, smoothing_px=0) == (parts == 1)).all()


def test_contour_is_rounded_and_keeps_its_size():
    disc = painted_ellipse((90, 90), (45, 45), (30, 26), 0.4)
    rough = disc ^ (np.random.default_rng(0).random(disc.shape) < 0.1)  # holes inside, specks outside
    out = refine_contour(rough)
    assert dice(out, disc) > 0.98
    assert ndimage.label(out)[1] == 1
    assert ndimage.label(~out)[1] == 1
    hair = disc.copy()
    hair[44:46, :45] = True
    assert dice(refine_contour(hair), disc) > 0.985
    assert measure.perimeter(refine_contour(hair)) < 0.9 * measure.perimeter(hair)


# --- the whole ------------------------------------------------------------------------------------------------------

HEADS = {
    "whole head": {},
    "skull-stripped": {"stripped": True},
    "skull-stripped with noise": {"stripped": True, "noise": 0.05},
    "dim fat": {"fat": 0.5},
    "bright fat": {"fat": 2.0},
    "very bright fat": {"fat": 4.0, "noise": 0.03},
    "noise 5 %": {"noise": 0.05},
    "noise 10 %": {"noise": 0.10},
    "off centre": {"centre_mm": (14.0, -10.0)},
    "0.4 mm": {"shape": (6, 520, 440), "spacing_mm": (16.0, 0.44, 0.44)},
    "1 mm, thick": {"shape": (14, 230, 190), "spacing_mm": (8.0, 1.0, 1.0)},
    "1 mm, thin": {"shape": (100, 110, 92), "spacing_mm": (1.2, 2.1, 2.1)},
    "oblong pixels": {"shape": (10, 200, 112), "spacing_mm": (10.0, 1.1, 1.8)},
    "two slices": {"shape": (2, 128, 112)},
    "one slice": {"shape": (1, 128, 112)},
    "to the vertex": {"shape": (17, 128, 112)},
}


@pytest.mark.parametrize("name", HEADS)
def test_brain_is_found(name):
    image, brain = head_stack(**HEADS[name])
    mask = brain_mask(image, HEADS[name].get("spacing_mm", SPACING))
    assert mask.shape == image.shape
    assert mask.dtype == bool
    assert dice(mask, brain) >= 0.93
    # Slices of a whole brain are found one by one, too; only the ends may be missed.
    for k in np.flatnonzero(brain.sum((1, 2)) > 0.5 * brain.sum((1, 2)).max()):
        assert dice(mask[k], brain[k]) >= 0.93


@pytest.mark.parametrize("slices", [1, 5])
def test_brain_is_found_above_shoulders_larger_than_it(slices):
    """A coronal slice through the forehead: little brain, and bright shoulders that the field of view cuts off."""
    image, brain, shoulders = (np.zeros((160, 160), np.float32) for _ in range(3))
    image[draw.ellipse(45, 80, 38, 34)] = 100  # scalp and face
    image[draw.ellipse(95, 80, 55, 30)] = 100
    image[draw.ellipse(42, 80, 31, 29)] = 60  # bone
    brain[draw.ellipse(40, 80, 23, 25)] = 1
    image[brain > 0] = 800
    shoulders[draw.ellipse(165, 80, 42, 78, shape=image.shape)] = 1
    image[shoulders > 0] = 1400
    mask = brain_mask(np.stack([image] * slices), (5.0, 1.8, 1.8))
    for one in mask:
        assert dice(one, brain > 0) > 0.93
        assert not (one & (shoulders > 0)).any()


@settings(max_examples=15, deadline=None, phases=QUICK)
@given(
    st.integers(0, 10**6), st.floats(0.3, 4.0), st.floats(0.0, 0.1), st.booleans(),
    st.tuples(*[st.floats(-15, 15)] * 2), st.floats(1.2, 2.6), st.floats(3.0, 12.0), st.floats(1e-3, 1e3),
)  # fmt: skip
def test_brain_is_found_whatever_the_scanner(seed, fat, noise, stripped, centre, pixel, thickness, gain):
    shape = (int(100 / thickness), int(230 / pixel), int(200 / pixel))
    image, brain = head_stack(shape, (thickness, pixel, pixel), fat, noise, stripped, centre, seed)
    mask = brain_mask(image * np.float32(gain), (thickness, pixel, pixel))
    assert dice(mask, brain) >= 0.93


@pytest.mark.parametrize("pixel", np.linspace(1.19, 1.21, 5))
def test_a_hairs_breadth_of_spacing_does_not_matter(pixel):
    image, brain = head_stack((12, 190, 170), (8.0, pixel, pixel), fat=3.5, noise=0.02)
    assert dice(brain_mask(image, (8.0, pixel, pixel)), brain) >= 0.97


def test_bridges_between_brain_and_scalp_are_cut():
    image, brain = head_stack(noise=0.03)
    image[:, 62:64, :] = np.where(image[:, 62:64, :] < 2.5 * BONE * 1000, 900, image[:, 62:64, :])  # 3.6 mm of dura
    mask = brain_mask(image, SPACING)
    assert dice(mask, brain) >= 0.93


@pytest.mark.parametrize("width_mm", [4.0, 8.0, 11.0])
def test_a_fissure_does_not_cost_a_hemisphere(width_mm):
    image, brain = head_stack(noise=0.03)
    columns = np.abs((np.arange(112) - 55.5) * 1.8) < width_mm / 2
    image[6:, :, columns] *= 0.15  # from the middle to the vertex
    mask = brain_mask(image, SPACING)
    for k in range(12):
        left, right = mask[k, :, :56].sum(), mask[k, :, 56:].sum()
        assert min(left, right) > 0.85 * max(left, right)
    assert dice(mask, brain) >= 0.93


def test_ventricles_and_lesions_stay_inside():
    image, brain = head_stack(noise=0.03)
    image[:, 50:56, 40:46][brain[:, 50:56, 40:46]] = 1900  # a bright lesion
    mask = brain_mask(image, SPACING)
    dark = (image < 350) & ndimage.binary_erosion(brain, np.ones((1, 9, 9)))
    assert dark.sum() > 1000
    assert mask[dark].all()
    assert mask[:, 50:56, 40:46][brain[:, 50:56, 40:46]].all()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_slices_turns_the_mask(turns):
    image, _ = head_stack(noise=0.05)
    turned = brain_mask(np.rot90(image, turns, (1, 2)), SPACING)
    assert dice(turned, np.rot90(brain_mask(image, SPACING), turns, (1, 2))) > 0.99


@settings(max_examples=8, deadline=None, phases=QUICK)
@given(st.integers(0, 10**6), st.floats(0.005, 0.02))
def test_small_changes_of_the_image_change_the_mask_little(seed, amount):
    image, _ = head_stack(noise=0.03)
    other = image + np.random.default_rng(seed).normal(0, amount * 1000, image.shape)
    assert dice(brain_mask(image, SPACING), brain_mask(other, SPACING)) > 0.98


def test_a_larger_brain_has_a_larger_mask():
    sizes = [brain_mask(head_stack(spacing_mm=SPACING)[0], (8.0, s, s)).sum() * s * s for s in (1.6, 1.8, 2.0)]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float64])
def test_storage_type_and_order_do_not_matter(dtype):
    image, _ = head_stack(noise=0.03)
    image = image.round()
    expected = brain_mask(image, SPACING)
    assert (brain_mask(image.astype(dtype), SPACING) == expected).all()
    assert (brain_mask(np.asfortranarray(image), SPACING) == expected).all()
    assert (brain_mask(image[::-1][::-1], SPACING) == expected).all()


NOTHING = {
    "zeros": np.zeros((6, 64, 64)),
    "constant": np.full((6, 64, 64), 300.0),
    "negative constant": np.full((3, 64, 64), -1.0),
    "one voxel": np.ones((1, 1, 1)),
    "one row": np.arange(64.0).reshape(1, 1, 64),
    "Rician noise": np.hypot(*np.random.default_rng(0).normal(0, 100, (2, 10, 128, 112))),
    "uniform noise": np.random.default_rng(0).random((10, 128, 112)),
    "integer noise": np.random.default_rng(0).integers(0, 100, (10, 128, 112)),
    "salt": np.random.default_rng(0).random((10, 128, 112)) > 0.95,
    "a dot": np.pad(np.ones((4, 5, 5)), ((0, 0), (40, 40), (40, 40))),
}


@pytest.mark.parametrize("name", NOTHING)
def test_no_head_no_brain_no_crash(name):
    mask = brain_mask(NOTHING[name].astype(np.float32), SPACING)
    assert mask.shape == NOTHING[name].shape
    assert not mask.any()


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 5), st.integers(1, 70), st.integers(1, 70)), st.tuples(*[st.floats(0.05, 30)] * 3),
       st.integers(0, 10**6))  # fmt: skip
def test_any_shape_and_spacing_gives_a_mask_of_the_same_shape(shape, spacing, seed):
    image = np.random.default_rng(seed).gamma(2, 100, shape)
    mask = brain_mask(image, spacing)
    assert mask.shape == shape
    assert mask.dtype == bool


def test_slice_mask_respects_ceiling_and_neighbourhood():
    image, brain = head_stack(fat=2.5)
    k = len(image) // 2
    free = brain_mask_slice(image[k], 500.0, 1.8, ceiling=1800.0)
    assert dice(free, brain[k]) > 0.95
    allowed = np.zeros(brain[k].shape, bool)
    allowed[:, :56] = True
    half = brain_mask_slice(image[k], 500.0, 1.8, 1800.0, allowed)
    assert not half[:, 62:].any()
    assert half.any()
    assert not brain_mask_slice(image[k], 5000.0, 1.8).any()
    assert not brain_mask_slice(image[k], 500.0, 0.1).any()  # a head the size of a coin


def test_volume_is_right():
    image, _ = head_stack((17, 128, 112))
    millilitres = brain_mask(image, SPACING).sum() * np.prod(SPACING) / 1000
    assert np.isclose(millilitres, 4 / 3 * np.pi * np.prod(BRAIN_MM) / 1000, rtol=0.04)


def test_a_case_s_mask_is_found_once(monkeypatch):
    """Known again by its voxels, whatever their type and order in memory; other voxels or spacings get another."""
    module = import_module("flairseg.preprocessing.brain_mask")
    image, _ = head_stack(spacing_mm=SPACING)
    image = np.rint(image)
    expected = brain_mask(image, SPACING)
    found = []
    monkeypatch.setattr(module, "brain_mask", lambda *a: found.append(1) or brain_mask(*a))
    module._recent.clear()
    first = module.shared_brain_mask(image, SPACING)
    first[:] = False  # a caller's own array
    for same in (image, np.asfortranarray(image), image.astype(np.int16)):
        np.testing.assert_array_equal(module.shared_brain_mask(same, SPACING), expected)
    assert len(found) == 1
    other = image.copy()
    other[0, 0, 0] += 1
    module.shared_brain_mask(other, SPACING)
    module.shared_brain_mask(image, (SPACING[0] * 2, *SPACING[1:]))
    assert len(found) == 3
    for factor in (3, 4):
        module.shared_brain_mask(image, (SPACING[0] * factor, *SPACING[1:]))
    assert len(module._recent) == module.KEPT_MASKS


def test_segmentation_and_regions_share_the_mask(monkeypatch):
    from flairseg.anatomy import find_regions
    from flairseg.image.slice_stack import SliceStack
    from flairseg.models.card import PipelineConfig
    from flairseg.preprocessing import preprocess

    module = import_module("flairseg.preprocessing.brain_mask")
    head, labels = make_head()
    found = []
    monkeypatch.setattr(module, "brain_mask", lambda *a: found.append(1) or brain_mask(*a))
    module._recent.clear()
    preprocess(SliceStack.from_volume(head), PipelineConfig())
    find_regions(head, labels)
    assert len(found) == 1


def test_holes_are_filled_as_by_scipy():
    rng = np.random.default_rng(9)
    for share in (0.3, 0.5, 0.6, 0.8):
        mask = rng.random((30, 41)) < share
        np.testing.assert_array_equal(without_holes(mask), ndimage.binary_fill_holes(mask))
