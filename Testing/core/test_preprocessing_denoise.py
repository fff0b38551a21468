"""S1's denoising against SimpleITK's median and Gaussian, and against the Gaussian written out."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.preprocessing import denoise_s1
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

stacks = arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(3, 12), st.integers(3, 12)),
                elements=st.floats(-1000, 1000, width=32))  # fmt: skip


def noisy(shape=(3, 40, 33), seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.normal(300, 40, shape)
    image[rng.random(shape) < 0.02] = 4000  # salt
    return image.astype(np.float32)


def test_median_is_simpleitks():
    image = noisy()
    median = sitk.Median(sitk.GetImageFromArray(image), (1, 1, 0))
    assert (denoise_s1(image, gaussian_sigma=0) == sitk.GetArrayFromImage(median)).all()


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0])
def test_gaussian_is_simpleitks(sigma):
    # A linear ramp under smooth hills: ITK's discrete (Bessel) kernel and a sampled one agree on what is resolved.
    rows, columns = np.mgrid[:48, :40]
    image = np.stack([rows * 2 + 50 * np.sin(columns / 5 + phase) for phase in (0, 1)]).astype(np.float32)
    theirs = sitk.GetArrayFromImage(
        sitk.DiscreteGaussian(sitk.GetImageFromArray(image), (sigma**2, sigma**2, 0), 32, 1e-4, False)
    )
    assert np.abs(denoise_s1(image, 1, sigma) - theirs).max() < 0.005 * np.ptp(image)


def test_gaussian_of_an_impulse_is_the_bell_curve():
    image = np.zeros((1, 21, 21), np.float32)
    image[0, 10, 10] = 1.0
    offsets = np.arange(21) - 10.0
    bell = np.exp(-(offsets**2) / 2)
    bell /= bell.sum()
    assert np.abs(denoise_s1(image, median_size=1)[0] - np.outer(bell, bell)).max() < 1e-4


def test_order_is_median_then_gaussian():
    image = noisy()
    median = sitk.GetArrayFromImage(sitk.Median(sitk.GetImageFromArray(image), (1, 1, 0)))
    assert np.allclose(denoise_s1(image), denoise_s1(median, median_size=1), rtol=1e-5)
    assert denoise_s1(image).max() < 1000  # no salt is left


def test_slices_do_not_mix_and_storage_does_not_matter():
    image = noisy()
    whole = denoise_s1(image)
    assert whole.dtype == np.float32
    assert all(np.array_equal(whole[k], denoise_s1(image[k : k + 1])[0]) for k in range(len(image)))
    assert np.array_equal(denoise_s1(np.asfortranarray(image)), whole)
    assert np.allclose(denoise_s1(image.round().astype(np.int16)), denoise_s1(image.round()))


@settings(max_examples=40, deadline=None)
@given(stacks, st.floats(0.1, 50), st.floats(-500, 500))
def test_gain_and_offset_pass_through_and_no_new_extremes_appear(image, gain, offset):
    out = denoise_s1(image)
    tolerance = 1e-4 * (np.abs(image).max() * gain + abs(offset) + 1)
    assert np.abs(denoise_s1(image * np.float32(gain) + np.float32(offset)) - (out * gain + offset)).max() < tolerance
    assert out.min() >= image.min() - 1e-3
    assert out.max() <= image.max() + 1e-3


@settings(max_examples=20, deadline=None)
@given(stacks)
def test_turning_the_slice_turns_the_result(image):
    turned = denoise_s1(np.rot90(image, axes=(1, 2)))
    assert np.allclose(turned, np.rot90(denoise_s1(image), axes=(1, 2)), atol=1e-3)
