"""What S2 to S5 ask of preprocessing: stripping, 8-bit gray levels, and frames whose way back is exact."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.image.slice_stack import SliceStack
from flairseg.labels import LESION
from flairseg.models.card import PipelineConfig
from flairseg.preprocessing import preprocess, strip_skull
from flairseg.preprocessing.framing import BORDER_PX, frame_native, frame_resample, frame_resize
from flairseg.preprocessing.normalisation import NORMALISATIONS, normalise_divide_255
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.core.analytic_head import head_stack

S2 = PipelineConfig(skull_strip=True, normalisation="minmax", framing="resize-512", frame_size=(128, 128),
                    input_slices=1, output="softmax", output_classes=(0, LESION))  # fmt: skip
S3 = PipelineConfig(normalisation="divide-255", framing="crop-256", frame_size=(80, 80), input_slices=1,
                    output="sigmoid", output_classes=(LESION,))  # fmt: skip
S4 = PipelineConfig(normalisation="zscore", framing="resample-256", frame_size=(64, 64), input_slices=1,
                    output="sigmoid", output_classes=(LESION,))  # fmt: skip
S5 = PipelineConfig(normalisation="zscore", framing="pad-384", frame_size=(112, 128), input_slices=3,
                    output="sigmoid", output_classes=(LESION,), min_lesion_mm3=10.7)  # fmt: skip


@pytest.fixture(scope="module")
def head():
    image, brain = head_stack((6, 96, 84), (14.0, 2.4, 2.4), noise=0.03)
    return SliceStack(image, (14.0, 2.4, 2.4), "axial", (0, 1, 2), (False, False, False)), brain


def smooth(shape, seed=0):
    """Slices without sharp edges, zero at their border: what resampling twice must give back."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.sin(np.linspace(0, np.pi, n)) ** 2 for n in shape)
    angles = [np.linspace(0, np.pi, n) for n in shape]
    pairs = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3)]
    waves = sum(rng.normal() * np.outer(np.sin(a * angles[0]), np.sin(b * angles[1])) for a, b in pairs)
    return (np.outer(rows, columns) * waves).astype(np.float32)


# --- skull stripping and gray levels --------------------------------------------------------------------------------


def test_stripping_blanks_what_is_outside_the_mask_and_nothing_else(head):
    stack, brain = head
    out = strip_skull(stack.array, brain)
    assert np.array_equal(out[brain], stack.array[brain])
    assert (out[~brain] == stack.array[brain].min()).all()
    assert out.dtype == stack.array.dtype


def test_without_any_brain_nothing_is_stripped(head):
    stack, brain = head
    assert np.array_equal(strip_skull(stack.array, np.zeros_like(brain)), stack.array)


def test_s2_sees_the_brain_alone_between_zero_and_one(head):
    stack, _ = head
    prepared = preprocess(stack, S2)
    seen = prepared.frame.apply(prepared.mask.astype(np.float32))
    assert (prepared.slices[seen == 0] == 0).all()
    assert 0.95 < prepared.slices.max() <= 1
    kept = preprocess(stack, PipelineConfig(**{**vars(S2), "skull_strip": False}))
    assert kept.slices[seen == 0].max() > 0.5  # the scalp


def test_gray_levels_are_whole_and_follow_simpleitk(head):
    stack, brain = head
    out = normalise_divide_255(stack.array, brain)
    levels = out * 255
    assert np.abs(levels - np.round(levels)).max() < 1e-4
    low, high = np.percentile(stack.array, [0.1, 99.9])
    image = sitk.GetImageFromArray(stack.array.astype(np.float64))
    window = sitk.IntensityWindowing(image, float(low), float(high), 0.0, 255.0)
    expected = sitk.GetArrayFromImage(sitk.Cast(sitk.Round(window), sitk.sitkUInt8))
    assert np.abs(levels - expected).max() <= 1
    assert (np.abs(levels - expected) < 0.5).mean() > 0.999
    assert NORMALISATIONS["divide-255"] is normalise_divide_255


def test_an_8_bit_picture_keeps_its_levels():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (3, 64, 64))
    picture[:, :8], picture[:, 8:16] = 0, 255
    assert np.array_equal(np.round(normalise_divide_255(picture) * 255), picture)


# --- frames and the way back ----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(90, 140), st.integers(90, 140), st.integers(0, 10**6))
def test_padding_is_undone_bit_by_bit(rows, columns, high, wide, seed):
    image = np.random.default_rng(seed).random((2, rows, columns), dtype=np.float32)
    frame = frame_native(np.ones(image.shape, bool), (0.9, 0.9), (high, wide))
    framed = frame.apply(image, fill=-1.0)
    assert framed.shape == (2, high, wide)
    assert (framed == -1).sum() == 2 * (high * wide - rows * columns)  # padded, nothing lost
    centre = [(np.flatnonzero((framed[0] != -1).any(axis)) + 0.5).mean() for axis in (1, 0)]
    assert np.abs(np.array(centre) - (high / 2, wide / 2)).max() <= 1
    for k in range(2):
        assert np.array_equal(frame.invert(framed[k], k), image[k])


@settings(max_examples=40, deadline=None)
@given(st.integers(12, 40), st.integers(12, 40), st.integers(60, 100), st.integers(0, 10**6))
def test_a_crop_follows_the_brain_and_is_undone_bit_by_bit(row, column, side, seed):
    image = np.random.default_rng(seed).random((2, side, side), dtype=np.float32)
    mask = np.zeros(image.shape, bool)
    mask[:, row : row + 16, column : column + 20] = True
    frame = frame_native(mask, (0.5, 0.5), (48, 48))
    framed = frame.apply(image)
    assert (frame.scale == 1).all()
    middle = frame.offset[0] + 23.5
    assert np.abs(middle - (row + 7.5, column + 9.5)).max() <= 1
    for k in range(2):
        back = frame.invert(framed[k], k)
        inside = back != 0
        assert np.array_equal(back[inside], image[k][inside])
        assert inside[mask[k]].all()
        first = np.maximum(np.ceil(frame.offset[0]), 0).astype(int)
        last = np.minimum(frame.offset[0].astype(int) + 48, side)
        assert inside[first[0] : last[0], first[1] : last[1]].mean() > 0.999


def test_a_slice_of_the_frames_own_size_is_left_alone():
    image = np.random.default_rng(0).random((2, 64, 64), dtype=np.float32)
    mask = np.zeros(image.shape, bool)
    mask[:, 5:40, 3:30] = True  # off the centre: the whole slice fits, so it stays
    for frame in (
        frame_native(mask, (0.8984, 0.8983999), (64, 64)),
        frame_resample(mask.shape, (0.8984, 0.8983999), (64, 64)),
        frame_resize(mask.shape, (64, 64)),
    ):
        framed = frame.apply(image)
        assert np.array_equal(framed, image)
        assert np.array_equal(frame.invert(framed[1], 1), image[1])


def test_a_brain_larger_than_the_frame_is_shown_whole():
    mask = np.zeros((1, 400, 500), bool)
    mask[:, 60:360, 100:340] = True
    frame = frame_native(mask, (0.4, 0.4), (128, 128))
    framed = frame.apply(mask.astype(np.float32)) > 0.5
    rows, columns = (np.flatnonzero(framed[0].any(axis)) for axis in (1, 0))
    assert rows[0] >= BORDER_PX - 1
    assert columns[0] >= BORDER_PX - 1
    assert rows[-1] <= 128 - BORDER_PX
    back = frame.invert(framed[0].astype(np.float32), 0) > 0.5
    assert 2 * (back & mask[0]).sum() / (back.sum() + mask.sum()) > 0.99


def test_an_empty_mask_shows_the_whole_slice():
    frame = frame_native(np.zeros((2, 100, 90), bool), (1.0, 1.0), (48, 48))
    image = np.ones((2, 100, 90), np.float32)
    back = frame.invert(frame.apply(image)[0], 0)
    assert (back[2:-2, 2:-2] > 0.9).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(60, 140), st.integers(60, 140), st.integers(64, 160), st.integers(64, 160), st.integers(0, 10**6))
def test_resizing_follows_simpleitk_and_comes_back(rows, columns, high, wide, seed):
    image = smooth((rows, columns), seed)
    frame = frame_resize((1, rows, columns), (high, wide))
    framed = frame.apply(image[None])[0]
    if max(rows / high, columns / wide) < 1.25:  # above that the frame also smooths
        source = sitk.GetImageFromArray(image)
        source.SetOrigin((0.5, 0.5))
        grid = sitk.Image(wide, high, sitk.sitkFloat32)
        grid.SetSpacing((columns / wide, rows / high))
        grid.SetOrigin((columns / wide / 2, rows / high / 2))
        expected = sitk.GetArrayFromImage(sitk.Resample(source, grid, sitk.Transform(), sitk.sitkLinear))
        assert np.abs(framed - expected)[2:-2, 2:-2].max() < 2e-3 * np.abs(image).max() + 1e-4
    back = frame.invert(framed, 0)
    assert np.abs(back - image).max() < 0.06 * np.abs(image).max() + 1e-3


@pytest.mark.parametrize(("grid", "mm", "size"), [
    ((90, 70), (1.0, 1.0), (64, 64)), ((60, 60), (0.8, 1.2), (96, 128)), ((120, 200), (0.45, 0.45), (64, 64)),
])  # fmt: skip
def test_resampling_keeps_the_aspect_and_the_whole_slice(grid, mm, size):
    frame = frame_resample((2, *grid), mm, size)
    pixel = frame.scale[0] * np.array(mm)
    assert np.isclose(pixel[0], pixel[1])
    corners = (np.array([[-0.5, -0.5], [grid[0] - 0.5, grid[1] - 0.5]]) - frame.offset[0]) / frame.scale[0]
    assert (corners[0] >= -0.5 - 1e-6).all()
    assert (corners[1] <= np.array(size) - 0.5 + 1e-6).all()
    assert np.isclose(corners[1] - corners[0], size).any()  # one side is filled
    image = smooth(grid)
    back = frame.invert(frame.apply(image[None])[0], 0)
    assert np.abs(back - image).max() < 0.06 * np.abs(image).max() + 1e-3


# --- the systems' pipelines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [S2, S3, S4, S5], ids=["S2", "S3", "S4", "S5"])
def test_what_was_drawn_in_the_frame_comes_back_to_its_place(config, head):
    stack, brain = head
    prepared = preprocess(stack, config)
    assert prepared.slices.shape == (6, *config.frame_size)
    assert prepared.channels(2).shape[0] == config.input_slices
    framed = prepared.frame.apply(brain.astype(np.float32))
    probabilities = np.stack([1 - framed, 0 * framed, 0 * framed, framed], axis=1)
    back = prepared.restore(probabilities)
    assert back.shape == (4, *brain.shape)
    assert np.allclose(back.sum(0), 1, atol=1e-5)
    drawn = back[LESION] > 0.5
    assert 2 * (drawn & brain).sum() / (drawn.sum() + brain.sum()) > 0.985


def test_zscore_is_of_the_brain_and_padding_is_air(head):
    stack, _ = head
    prepared = preprocess(stack, S5)
    brain = prepared.frame.apply(prepared.mask.astype(np.float32)) > 0.5
    assert abs(prepared.slices[brain].mean()) < 0.05
    assert abs(prepared.slices[brain].std() - 1) < 0.05
    assert np.isclose(prepared.slices[0, 0, 0], prepared.slices.min())


def test_no_brain_is_clipped_where_the_scalp_is_darker_than_it():
    image, brain = head_stack((6, 96, 84), (14.0, 2.4, 2.4), noise=0.03)
    suppressed = np.where(brain, image, np.minimum(image, 0.5 * np.median(image[brain])))
    out = NORMALISATIONS["periphery"](suppressed, brain)
    for k in np.flatnonzero(brain.any(axis=(1, 2))):
        assert (out[k][brain[k]] >= 1).mean() < 0.01
    assert 0.4 < np.median(out[brain]) < 0.95
