"""Framing against SimpleITK's resampler, and its way back."""

from __future__ import annotations

import platform

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.preprocessing.framing import BORDER_PX, SNAP, Frame, frame_brain_fill, frame_brain_mm
from flairseg.preprocessing.resampling import resample
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from Testing.core.analytic_head import head_stack

sides = st.integers(5, 40)
offsets = st.integers(-30, 30)
scales = st.floats(0.3, 3.0)


def one_frame(scale, offset, size, grid, count=1) -> Frame:
    return Frame(
        np.tile(np.asarray(scale, float), (count, 1)), np.tile(np.asarray(offset, float), (count, 1)), size, grid
    )


def itk_resample(image: np.ndarray, scale, offset, size, fill, interpolator=sitk.sitkLinear) -> np.ndarray:
    """``out[r, c] = image[offset + scale * (r, c)]`` by SimpleITK (whose axes are columns, rows)."""
    transform = sitk.AffineTransform(2)
    transform.SetMatrix((float(scale[1]), 0.0, 0.0, float(scale[0])))
    transform.SetTranslation((float(offset[1]), float(offset[0])))
    source = sitk.GetImageFromArray(image.astype(np.float32))
    grid = (size[1], size[0])
    out = sitk.Resample(
        source, grid, transform, interpolator, (0.0, 0.0), (1.0, 1.0), (1.0, 0.0, 0.0, 1.0), float(fill)
    )
    return sitk.GetArrayFromImage(out)


def within(scale, offset, size, grid, margin=0.0) -> np.ndarray:
    """Where the points ``offset + scale * index`` lie between the centres of the first and last pixel."""
    lines = [offset[a] + scale[a] * np.arange(size[a]) for a in range(2)]
    inside = [(line >= margin) & (line <= grid[a] - 1 - margin) for a, line in enumerate(lines)]
    return inside[0][:, None] & inside[1][None, :]


def hills(shape, period=17.0) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (np.sin(rows / period * 2 * np.pi) + np.cos(columns / period * 2 * np.pi)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.floats(0.3, 1.25), st.floats(0.3, 1.25)), st.tuples(*[st.floats(-20, 20)] * 2),
       st.tuples(sides, sides), st.tuples(sides, sides))  # fmt: skip
def test_apply_is_simpleitks_linear_resampling(scale, offset, size, grid):
    image = np.random.default_rng(0).normal(size=grid).astype(np.float32)
    ours = one_frame(scale, offset, size, grid).apply(image[None], fill=-9.0)[0]
    theirs = itk_resample(image, scale, offset, size, -9.0)
    inside = within(scale, offset, size, grid, 1e-3)
    outside = ~within(scale, offset, size, grid, -0.501)
    assert np.allclose(ours[inside], theirs[inside], atol=1e-3)
    assert (ours[outside] == -9.0).all()
    assert (theirs[outside] == -9.0).all()


def same_as_scipy(ours: np.ndarray, theirs: np.ndarray) -> None:
    """To the last bit, where compilers fuse no multiplication and addition unless they are told to."""
    if platform.machine() in ("x86_64", "AMD64"):
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("seed", range(30))
def test_resampling_is_scipys(seed):
    rng = np.random.default_rng(seed)
    grid, size = (tuple(int(n) for n in rng.integers(1, most, 2)) for most in (90, 200))
    scale = np.ones(2) if seed % 5 == 0 else rng.uniform(0.3, 2.5, 2)
    offset = np.round(rng.uniform(-30, 40, 2), 0 if seed % 3 == 0 else 6)
    image = rng.normal(0, 3, grid).astype(np.float32)
    for fill, mode in ((None, "nearest"), (-1.5, "constant")):
        theirs = ndimage.affine_transform(
            image, scale, offset, output_shape=size, order=1, mode=mode, cval=0.0 if fill is None else fill
        )
        ours = resample(image, scale, offset, size, fill)
        assert ours.dtype == np.float32
        same_as_scipy(ours, theirs)


@pytest.mark.parametrize("seed", range(20))
def test_a_frame_of_a_slice_is_that_of_the_whole_slice_smoothed(seed):
    """Only what the frame shows is smoothed and changed; the frame is the same as if all of it were."""
    rng = np.random.default_rng(seed)
    grid, size = (tuple(int(n) for n in rng.integers(20, most, 2)) for most in (250, 120))
    scale = rng.uniform(0.4, 3.5, 2) if seed % 4 else np.ones(2)
    offset = rng.uniform(-40, 150, 2) if seed % 8 else np.round(rng.uniform(-40, 40, 2))
    slices = rng.integers(-200, 3000, (2, *grid)).astype(np.int16)

    def rule(part):
        return np.clip(part.astype(np.float32) * np.float32(0.01) - np.float32(5), -6, 8)

    ours = one_frame(scale, offset, size, grid, count=2).apply(slices, fill=-6.0, change=rule)
    for image, framed in zip(slices, ours, strict=True):
        smooth = rule(image)
        if scale.max() > 1.25:
            smooth = ndimage.gaussian_filter(smooth, 0.4 * np.sqrt(np.maximum(scale**2 - 1, 0)))
        theirs = ndimage.affine_transform(smooth, scale, offset, output_shape=size, order=1, cval=-6.0)
        same_as_scipy(framed, theirs)


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.0])
def test_coarser_frames_smooth_first(scale):
    rng = np.random.default_rng(1)
    image = rng.normal(100, 20, (120, 110)).astype(np.float32)
    size = (int(118 / scale), int(108 / scale))
    ours = one_frame((scale, scale), (0.5, 0.5), size, image.shape).apply(image[None])[0]
    sigma = 0.4 * np.sqrt(scale**2 - 1)
    smooth = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.GetImageFromArray(image), sigma**2, 32, 1e-3, False))
    theirs = itk_resample(smooth, (scale, scale), (0.5, 0.5), size, 0)
    inner = (slice(4, -4), slice(4, -4))
    # A sampled kernel and ITK's differ where sigma is below one pixel: a few per cent of the noise, not of the image.
    assert np.abs(ours[inner] - theirs[inner]).std() < 0.2 * ours[inner].std()
    assert np.corrcoef(ours[inner].ravel(), theirs[inner].ravel())[0, 1] > 0.98
    assert ours[inner].std() < 0.75 * image.std()


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(scales, scales), st.tuples(*[st.floats(-20, 20)] * 2), st.tuples(sides, sides), st.tuples(sides, sides)
)
def test_label_maps_keep_their_values_and_type(scale, offset, size, grid):
    labels = np.random.default_rng(0).integers(0, 4, grid).astype(np.uint8)
    framed = one_frame(scale, offset, size, grid).apply(labels[None], order=0)
    assert framed.dtype == np.uint8
    assert set(np.unique(framed)) <= {0, 1, 2, 3}
    lines = [offset[a] + scale[a] * np.arange(size[a]) for a in range(2)]
    # Pixel centres half-way between two pixels may go either way, and those on the edge of the slice.
    clear = [np.abs(line % 1 - 0.5) > 1e-3 for line in lines]
    sure = within(scale, offset, size, grid, 1e-9) & clear[0][:, None] & clear[1][None, :]
    nearest = np.ix_(*[np.clip(np.round(line).astype(int), 0, grid[a] - 1) for a, line in enumerate(lines)])
    assert (framed[0][sure] == labels[nearest][sure]).all()


@settings(max_examples=80, deadline=None)
@given(st.tuples(sides, sides), st.tuples(sides, sides), st.tuples(offsets, offsets), st.integers(0, 10**6))
def test_integer_crops_come_back_exactly(grid, size, offset, seed):
    stack = np.random.default_rng(seed).normal(size=(2, *grid)).astype(np.float32)
    frame = one_frame((1, 1), offset, size, grid, count=2)
    framed = frame.apply(stack)
    covered = np.zeros(grid, bool)
    covered[max(offset[0], 0) : max(offset[0] + size[0], 0), max(offset[1], 0) : max(offset[1] + size[1], 0)] = True
    for k in range(2):
        back = frame.invert(framed[k], k)
        assert back.shape == grid
        assert back.dtype == np.float32
        assert (back[covered] == stack[k][covered]).all()
        assert (back[~covered] == 0).all()


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(scales, scales), st.tuples(*[st.floats(-20, 20)] * 2), st.tuples(sides, sides), st.tuples(sides, sides)
)
def test_invert_is_simpleitks_resampling_by_the_inverse_affine(scale, offset, size, grid):
    framed = np.random.default_rng(0).normal(size=size).astype(np.float32)
    ours = one_frame(scale, offset, size, grid).invert(framed, 0)
    inverse = 1 / np.array(scale), -np.array(offset) / np.array(scale)
    theirs = itk_resample(framed, *inverse, grid, 0)
    inside, outside = within(*inverse, grid, size, 1e-3), ~within(*inverse, grid, size, -1e-3)
    assert np.allclose(ours[inside], theirs[inside], atol=2e-3)
    assert (ours[outside] == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.4, 1.6), st.tuples(*[st.floats(-3, 12)] * 2))
def test_smooth_images_come_back_within_a_few_per_cent(scale, offset):
    image = hills((64, 60))
    size = (70, 70)
    frame = one_frame((scale, scale), offset, size, image.shape)
    back = frame.invert(frame.apply(image[None])[0], 0)
    covered = within((1, 1), np.zeros(2), image.shape, image.shape)
    low, high = np.array(offset) + 3 * scale, np.array(offset) + (np.array(size) - 4) * scale
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    covered &= (rows > low[0]) & (rows < high[0]) & (columns > low[1]) & (columns < high[1])
    covered &= (rows > 3) & (rows < 60) & (columns > 3) & (columns < 56)
    assume(covered.any())
    # Error of linear interpolation: at most h^2 / 8 times the curvature, per axis, there and back; of a Gaussian:
    # half its variance times the curvature.
    curvature = 2 * (2 * np.pi / 17) ** 2
    blur = 0.4**2 * (scale**2 - 1) / 2 if scale > 1.25 else 0.0
    assert np.abs(back - image)[covered].max() < 1.05 * curvature * ((1 + scale**2) / 8 + blur)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.4, 2.0), st.tuples(*[st.floats(-30, 30)] * 2), st.floats(0.5, 1.5))
def test_a_brain_in_its_mm_frame_keeps_its_millimetres(spacing, centre, pixel):
    _, brain = head_stack(
        (4, *(np.array([260, 220]) / spacing).astype(int)), (20.0, spacing, spacing), centre_mm=centre
    )
    frame = frame_brain_mm(brain, (spacing, spacing), (224, 192), pixel)
    scale = frame.scale[0]
    assert scale[0] == scale[1]
    assert (frame.scale == scale).all()
    assert (frame.offset == frame.offset[0]).all()
    shown = scale[0] * spacing
    needed = max(164 / (224 - 2 * BORDER_PX), 128 / (192 - 2 * BORDER_PX))
    if pixel > needed:
        assert np.isclose(shown, pixel, rtol=SNAP)
    else:  # coarser, as far as the brain needs it
        assert max(pixel, 0.93 * needed) <= shown * (1 + SNAP) <= needed * (1 + 2 * SNAP)
    framed = frame.apply(brain.astype(np.float32)) > 0.5
    area = framed.sum() * shown**2
    assert np.isclose(area, brain.sum() * spacing**2, rtol=0.03)  # nothing is cut off
    rows, columns = np.flatnonzero(framed.any((0, 2))), np.flatnonzero(framed.any((0, 1)))
    assert abs((rows[0] + rows[-1]) / 2 - 111.5) <= 2
    assert abs((columns[0] + columns[-1]) / 2 - 95.5) <= 2


def test_pixels_close_to_the_frames_are_cropped_not_resampled():
    image, brain = head_stack((4, 240, 200), (20.0, 0.92, 0.92))
    frame = frame_brain_mm(brain, (0.92, 0.92), (224, 192), 0.9)
    assert (frame.scale == 1).all()
    r, c = frame.offset[0].astype(int)
    assert (frame.offset[0] == (r, c)).all()
    assert (frame.apply(image) == image[:, r : r + 224, c : c + 192]).all()


def test_pixels_of_two_sizes_become_square():
    _, brain = head_stack((3, 200, 300), (20.0, 1.2, 0.7))
    frame = frame_brain_mm(brain, (1.2, 0.7), (224, 192), 0.9)
    assert np.allclose(frame.scale[0] * (1.2, 0.7), 0.9)


@pytest.mark.parametrize("spacing", [0.6, 1.0])
def test_brain_fill_makes_each_brain_touch_the_border(spacing):
    shape = (5, *(np.array([250, 200]) / spacing).astype(int))
    _, brain = head_stack(shape, (22.0, spacing, spacing), centre_mm=(9.0, -6.0))
    frame = frame_brain_fill(brain, (spacing, spacing), (256, 256))
    framed = frame.apply(brain.astype(np.float32)) > 0.5
    for k, mask in enumerate(framed):
        (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis))[[0, -1]] for axis in (1, 0))
        assert abs(max(bottom - top, right - left) + 1 - (256 - 2 * BORDER_PX)) <= 3
        assert abs((top + bottom) / 2 - 127.5) <= 2
        assert abs((left + right) / 2 - 127.5) <= 2
        true_rows, true_columns = (np.ptp(np.flatnonzero(brain[k].any(axis))) + 1 for axis in (1, 0))
        assert np.isclose((bottom - top + 1) / (right - left + 1), true_rows / true_columns, rtol=0.03)  # aspect


def test_brain_fill_frames_empty_slices_like_their_nearest_neighbour():
    _, brain = head_stack((5, 100, 90), (22.0, 2.4, 2.4))
    brain = brain.copy()
    brain[[0, 4]] = False
    frame = frame_brain_fill(brain, (2.4, 2.4), (256, 256))
    assert (frame.scale[0] == frame.scale[1]).all()
    assert (frame.offset[4] == frame.offset[3]).all()
    assert not (frame.scale[1] == frame.scale[2]).all()


def test_brain_fill_does_not_blow_specks_up():
    mask = np.zeros((1, 100, 100), bool)
    mask[0, 50:53, 50:53] = True
    assert np.allclose(frame_brain_fill(mask, (1.0, 1.0), (256, 256)).scale, 0.3)


@pytest.mark.parametrize("framing", [
    lambda mask, spacing: frame_brain_mm(mask, spacing, (224, 192), 0.9),
    lambda mask, spacing: frame_brain_fill(mask, spacing, (256, 256)),
])  # fmt: skip
def test_without_a_brain_the_whole_slice_is_framed(framing):
    mask = np.zeros((2, 300, 310), bool)
    image = np.ones(mask.shape, np.float32)
    frame = framing(mask, (0.9, 0.9))
    for k, framed in enumerate(frame.apply(image)):
        back = frame.invert(framed, k)
        assert back.shape == (300, 310)
        assert (back > 0.5).mean() > 0.98


@pytest.mark.parametrize("offset", [(-500, 0), (500, 0), (0, 900), (-900, -900)])
def test_a_frame_that_misses_the_slice_gives_nothing_back(offset):
    frame = one_frame((1.0, 1.0), offset, (32, 32), (40, 40))
    assert (frame.apply(np.ones((1, 40, 40), np.float32), fill=-1)[0] == -1).all()
    assert (frame.invert(np.ones((32, 32), np.float32), 0) == 0).all()
