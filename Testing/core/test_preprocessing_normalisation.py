"""Normalisations against closed forms on images whose landmarks are known, and their invariances."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.preprocessing.normalisation import (
    NORMALISATIONS,
    normalise_brain_median,
    normalise_minmax,
    normalise_periphery,
    normalise_zscore,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import exposure

from Testing.core.analytic_head import head_stack

SMALL = {"shape": (4, 64, 56), "spacing_mm": (16.0, 3.6, 3.6)}


@pytest.fixture(scope="module")
def noisy_head():
    return head_stack(**SMALL, noise=0.03)


def test_brain_median_is_its_formula(noisy_head):
    image, brain = noisy_head
    median = np.median(image[brain].astype(np.float64))
    expected = np.clip((image / median - 1) / 0.2, -6, 8)
    assert np.allclose(normalise_brain_median(image, brain), expected, atol=1e-4)


def test_brain_median_without_a_mask_takes_the_foreground():
    image = np.zeros((1, 20, 20), np.float32)
    image[0, 5:15, 5:15] = 700
    out = normalise_brain_median(image, np.zeros(image.shape, bool))
    assert np.allclose(out[0, 5:15, 5:15], 0, atol=1e-5)
    assert np.allclose(out[0, 0], -5)


def test_zscore_has_zero_mean_and_unit_deviation_in_the_brain(noisy_head):
    image, brain = noisy_head
    out = normalise_zscore(image, brain)
    assert abs(out[brain].astype(np.float64).mean()) < 1e-4
    assert abs(out[brain].astype(np.float64).std() - 1) < 1e-4
    values = image[brain].astype(np.float64)
    assert np.allclose(out, (image - values.mean()) / values.std(), atol=1e-3)


def test_zscore_without_a_mask_takes_everything(noisy_head):
    image, brain = noisy_head
    assert np.allclose(normalise_zscore(image, np.zeros_like(brain)), normalise_zscore(image, np.ones_like(brain)))


def test_minmax_is_scikit_images_rescaling(noisy_head):
    image, brain = noisy_head
    low, high = np.percentile(image, [0.1, 99.9])
    theirs = exposure.rescale_intensity(image.astype(np.float64), (low, high), (0.0, 1.0))
    assert np.allclose(normalise_minmax(image, brain), theirs, atol=1e-5)


def two_landmarks(air=40.0, scalp=900.0, brain=600.0, bone=120.0):
    """Three slices with one value per tissue: air outside, a ring of scalp, a ring of bone, a disc of brain."""
    rows, columns = np.ogrid[-40:41, -40:41]
    radius = np.hypot(rows, columns)
    image = np.full((3, 81, 81), air, np.float32)
    image[:, radius < 36] = scalp
    image[:, radius < 30] = bone
    image[:, radius < 27] = brain
    return image, np.broadcast_to(radius < 27, image.shape)


def test_periphery_puts_air_at_zero_and_scalp_at_one():
    image, mask = two_landmarks()
    image[1] *= 1.3  # a brighter slice has its own landmarks
    out = normalise_periphery(image, mask)
    for k in range(3):
        assert np.allclose(out[k][0, 0], 0, atol=1e-6)
        assert np.isclose(out[k][40, 6], 1, atol=1e-6)  # scalp
        assert np.isclose(out[k][40, 40], (600 - 40) / (900 - 40), atol=1e-5)
        assert np.isclose(out[k][40, 12], (120 - 40) / (900 - 40), atol=1e-5)  # bone


def test_periphery_looks_at_the_slice_outside_the_brain_only():
    image, mask = two_landmarks()
    lesion = image.copy()
    lesion[:, 36:44, 36:44] = 800  # anything in the brain
    a, b = normalise_periphery(image, mask), normalise_periphery(lesion, mask)
    assert np.allclose(a[~mask], b[~mask], atol=1e-6)
    assert np.isclose(b[0, 40, 40], (800 - 40) / (900 - 40), atol=1e-5)


def test_periphery_uses_the_mean_of_the_air_and_ignores_hot_pixels():
    rng = np.random.default_rng(0)
    image, mask = two_landmarks()
    air = image == 40
    image[air] = rng.uniform(20, 60, int(air.sum()))
    for k in range(3):
        image[k, 38:42, 5:7] = 9000  # a vessel in the scalp
    out = normalise_periphery(image, mask)
    expected = (600 - image[0][air[0]].mean()) / (900 - image[0][air[0]].mean())
    assert np.isclose(out[0, 40, 40], expected, atol=2e-3)
    assert out.max() == 1


def test_periphery_of_a_skull_stripped_slice_uses_its_own_brightest():
    image, mask = two_landmarks(air=0, scalp=0, bone=0)
    image[:, 36:44, 36:44] = 700
    out = normalise_periphery(image, mask)
    assert np.isclose(out[0, 40, 20], 600 / np.percentile(image[0], 99.5), atol=1e-5)
    assert out[0, 0, 0] == 0


@pytest.mark.parametrize("name", sorted(NORMALISATIONS))
@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.01, 1000))
def test_gain_never_matters(name, gain):
    image, brain = head_stack(**SMALL, noise=0.03)
    scaled = NORMALISATIONS[name](image * np.float32(gain), brain)
    # Rounding to whole gray levels may go the other way at a half.
    allowed = 1.01 / 255 if name == "divide-255" else 2e-3
    assert np.abs(scaled - NORMALISATIONS[name](image, brain)).max() < allowed


@pytest.mark.parametrize("name", ["periphery", "zscore", "minmax"])
@settings(max_examples=15, deadline=None)
@given(offset=st.floats(-3000, 3000))
def test_offset_does_not_matter_where_landmarks_are_differences(name, offset):
    image, brain = head_stack(**SMALL, noise=0.03)
    shifted = NORMALISATIONS[name](image + np.float32(offset), brain)
    assert np.abs(shifted - NORMALISATIONS[name](image, brain)).max() < 5e-3


def test_offset_matters_for_the_brain_median_because_air_is_zero():
    image, brain = head_stack(**SMALL)
    difference = normalise_brain_median(image + 500, brain) - normalise_brain_median(image, brain)
    assert np.abs(difference[brain]).max() > 0.5


@pytest.mark.parametrize("name", sorted(NORMALISATIONS))
@pytest.mark.parametrize("value", [0.0, 1.0, -7.0, 1e-30, 3e4])
@pytest.mark.parametrize("masked", [False, True])
def test_constant_images_stay_finite(name, value, masked):
    image = np.full((2, 16, 16), value, np.float32)
    mask = np.full(image.shape, masked)
    out = NORMALISATIONS[name](image, mask)
    assert out.shape == image.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


@pytest.mark.parametrize("name", sorted(NORMALISATIONS))
def test_the_input_is_left_alone(name, noisy_head):
    image, brain = noisy_head
    before = image.copy()
    NORMALISATIONS[name](image, brain)
    assert (image == before).all()


@pytest.mark.parametrize("name", sorted(NORMALISATIONS))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_intensities_is_kept(name, seed):
    rng = np.random.default_rng(seed)
    image, brain = head_stack(**SMALL, noise=0.05, seed=seed)
    out = NORMALISATIONS[name](image, brain)
    k = int(rng.integers(len(image)))
    order = np.argsort(image[k].ravel(), kind="stable")
    assert (np.diff(out[k].ravel()[order]) >= 0).all()
