"""Every embedded model: its labels do not depend on how many slices run at once, in how many threads, or where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flairseg.image.checks import check_volume
from flairseg.image.slice_stack import SliceStack
from flairseg.models import load_card
from flairseg.phantom import make_phantom
from flairseg.preprocessing import Prepared, preprocess
from flairseg.segmentation import inference
from flairseg.segmentation.decoding import classify, decode
from flairseg.segmentation.inference import CUDA_PROVIDER, Generator
from flairseg.segmentation.pipeline import predict

MODELS = sorted(path.parent for path in (Path(__file__).resolve().parents[2] / "models").glob("*/model.onnx"))
#: Largest difference of probabilities between two ways to run a network. A voxel whose classes are nearer may flip.
TOLERANCE = {"cpu": 1e-5, "cuda": 2e-3}


@pytest.fixture(scope="module")
def head():
    """The digital phantom, as a user's image is read."""
    return check_volume(make_phantom(0).volume)


@pytest.fixture(scope="module", params=MODELS, ids=lambda path: path.name)
def case(request, head):
    """A model's card and four slices of a head that it has prepared."""
    card = load_card(request.param)
    stack = SliceStack.from_volume(head, card.pipeline.plane)
    prepared = preprocess(stack, card.pipeline)
    middle = len(prepared.slices) // 2
    few = slice(middle - 2, middle + 2)
    frame = replace(prepared.frame, scale=prepared.frame.scale[few], offset=prepared.frame.offset[few])
    yield card, Prepared(prepared.slices[few], prepared.mask[few], frame, prepared.neighbour), stack
    inference.clear_sessions()


def margin(probabilities: np.ndarray, thresholds) -> np.ndarray:
    """How far a voxel (classes first) is from having another label: the least of all the decisions on the way."""
    values = probabilities.astype(np.float64)
    free = np.sort(values[[c for c in range(4) if c not in thresholds]], axis=0)
    apart = [np.abs(values[c] - threshold) for c, threshold in thresholds.items()]
    return np.min([*apart, *([free[-1] - free[-2]] if len(free) > 1 else [])], axis=0)


def assert_same(ours: np.ndarray, theirs: np.ndarray, thresholds, tolerance: float) -> None:
    """Probabilities (N, 4, rows, columns) agree, and with them the labels."""
    assert np.abs(ours - theirs).max() < tolerance
    one, other = (np.moveaxis(p, 1, 0) for p in (ours, theirs))
    differ = classify(one, thresholds) != classify(other, thresholds)
    assert not (differ & (margin(one, thresholds) > 2 * tolerance)).any()
    assert differ.mean() < 1e-4


def test_there_are_models():
    assert MODELS


def test_the_size_of_a_batch_changes_no_label(case):
    card, prepared, _ = case
    generator = Generator(card, "cpu")
    batch = prepared.batch(0, 4)
    together = decode(generator.run(batch), card.pipeline)
    assert (together[:, 1:] > 0.5).any(), "a head in which the model sees nothing tests nothing"
    for size in (1, 3):
        parts = [generator.run(batch[n : n + size]) for n in range(0, 4, size)]
        apart = decode(np.concatenate(parts), card.pipeline)
        assert_same(together, apart, card.pipeline.thresholds, TOLERANCE["cpu"])


def test_threads_change_no_label(case):
    card, prepared, stack = case
    one = predict(prepared, Generator(card, "cpu", threads=1), stack.plane)
    four = predict(prepared, Generator(card, "cpu", threads=4), stack.plane)
    np.testing.assert_array_equal(one[0], four[0])
    np.testing.assert_array_equal(one[1], four[1])


def test_the_gpu_changes_no_label(case):
    import onnxruntime

    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider")
    card, prepared, _ = case
    gpu = Generator(card, "cuda")
    if gpu.used != "cuda":
        pytest.skip(gpu.warnings[0])
    batch = prepared.batch(0, 4)
    ours, theirs = (decode(generator.run(batch), card.pipeline) for generator in (Generator(card, "cpu"), gpu))
    assert_same(ours, theirs, card.pipeline.thresholds, TOLERANCE["cuda"])
