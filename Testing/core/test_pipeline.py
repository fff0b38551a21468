"""The whole path: the same head in any storage order gives the same labels in world space, on its own grid."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import flairseg
import numpy as np
import pytest
from flairseg import errors
from flairseg.image.checks import check_volume
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.models import load_card
from flairseg.models.card import PipelineConfig
from flairseg.preprocessing import preprocess
from flairseg.progress import CancelToken
from flairseg.segmentation import pipeline
from flairseg.segmentation.decoding import decode
from flairseg.segmentation.inference import Generator
from flairseg.segmentation.pipeline import STAGES, predict, segment
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.core.test_reading import rotation
from Testing.core.tiny import make_head, make_model

REPOSITORY = Path(__file__).resolve().parents[2]


def stored(volume: Volume, order, flips) -> Volume:
    """The same voxels at the same places in space, stored in another axis order and direction."""
    array, matrix = volume.array, volume.ijk_to_ras.copy()
    for axis, flip in enumerate(flips):
        if flip:
            column = 2 - axis
            matrix[:3, 3] += matrix[:3, column] * (array.shape[axis] - 1)
            matrix[:3, column] *= -1
            array = np.flip(array, axis)
    array = np.transpose(array, order)
    columns = [2 - o for o in order][::-1]
    matrix[:3, :3] = matrix[:3, columns]
    return replace(volume, array=np.ascontiguousarray(array), ijk_to_ras=matrix)


def back(array: np.ndarray, order, flips) -> np.ndarray:
    array = np.transpose(array, np.argsort(order))
    return array[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]


@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3), st.tuples(*[st.floats(-25, 25)] * 3))
@settings(max_examples=12, deadline=None)
def test_storage_order_does_not_matter(model, order, flips, angles):
    volume, _ = make_head((12, 44, 40), (4.5, 4.5, 10.0), orientation=rotation(angles) @ np.diag([-1.0, -1.0, 1.0]))
    reference = segment(volume, model, "cpu")
    other = segment(stored(volume, order, flips), model, "cpu")
    assert other.labels.shape == tuple(np.array(volume.array.shape)[list(order)])
    np.testing.assert_array_equal(back(other.labels, order, flips), reference.labels)
    assert other.volumes_ml() == pytest.approx(reference.volumes_ml())


@pytest.mark.parametrize("plane", ["sagittal", "coronal"])
def test_thick_slices_of_other_planes_are_segmented_in_their_plane(model, plane):
    orientation = {
        "sagittal": np.array([[0, 0, -1.0], [-1, 0, 0], [0, -1, 0]]),
        "coronal": np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    }[plane]
    volume, truth = make_head((18, 80, 80), (2.6, 2.6, 8.0), orientation=orientation)
    assert SliceStack.from_volume(volume).plane == plane
    result = segment(volume, model, "cpu")
    found, true = result.labels == 3, truth == 3
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.5
    assert (result.labels[truth == 1] == 1).mean() > 0.6


def test_finer_pixels_give_the_same_head(model):
    coarse, _ = make_head((12, 64, 56), (3.2, 3.2, 10.0))
    fine, _ = make_head((12, 256, 224), (0.8, 0.8, 10.0))
    a, b = segment(coarse, model, "cpu"), segment(fine, model, "cpu")
    # What a resampled grid can change is the outline, not where things are.
    assert b.volumes_ml()[3] == pytest.approx(a.volumes_ml()[3], rel=0.6)
    for result, truth in (
        (a, make_head((12, 64, 56), (3.2, 3.2, 10.0))[1]),
        (b, make_head((12, 256, 224), (0.8, 0.8, 10.0))[1]),
    ):
        found, true = result.labels == 3, truth == 3
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.5


def test_the_result_is_what_the_docstrings_say(segmentation, head):
    assert segmentation.labels.dtype == np.uint8
    assert segmentation.labels.shape == head.array.shape
    assert segmentation.labels.flags.c_contiguous
    assert segmentation.probabilities.dtype == np.float16
    assert segmentation.probabilities.shape == (4, *head.array.shape)
    np.testing.assert_allclose(segmentation.probabilities.astype(np.float32).sum(axis=0), 1, atol=4e-3)
    np.testing.assert_array_equal(segmentation.volume.array, head.array)
    assert segmentation.warnings == []
    assert (segmentation.device_requested, segmentation.device_used) == ("cpu", "cpu")
    assert set(STAGES) - {"regions", "write"} <= set(segmentation.seconds)
    assert segmentation.source == "head"


def test_two_runs_are_equal(segmentation, head, model):
    again = segment(head, model, "cpu")
    np.testing.assert_array_equal(again.labels, segmentation.labels)
    np.testing.assert_array_equal(again.probabilities, segmentation.probabilities)


def test_volumes_and_lesions(segmentation, head):
    voxel = 2.5 * 2.5 * 8 / 1000
    for value, volume in segmentation.volumes_ml().items():
        assert volume == pytest.approx((segmentation.labels == value).sum() * voxel)
    rows = segmentation.lesions()
    assert len(rows) == segmentation.lesion_count == 4
    assert sum(r["volume_ml"] for r in rows) == pytest.approx(segmentation.volumes_ml()[3], abs=1e-3)
    assert [r["volume_ml"] for r in rows] == sorted((r["volume_ml"] for r in rows), reverse=True)
    assert [r["number"] for r in rows] == [1, 2, 3, 4]
    assert all(0.3 <= r["confidence"] <= 1 for r in rows)
    assert all(0 <= r["slices_index"][0] <= r["slices_index"][1] < len(segmentation.labels) for r in rows)
    assert all(r["slices"] == [n + 1 for n in r["slices_index"]] for r in rows)
    from Testing.core.tiny import LESIONS_MM

    for row in rows:
        assert min(np.linalg.norm(np.subtract(row["centre_ras_mm"], lesion[:3])) for lesion in LESIONS_MM) < 6


def test_no_lesions():
    empty = np.zeros((8, 20, 20), np.uint8)
    volume = Volume(empty.astype(np.float32), np.eye(4))
    nothing = pipeline.Segmentation(volume, empty, None, None, "cpu", "cpu", "", "x")
    assert nothing.lesions() == []
    assert nothing.volumes_ml() == {1: 0.0, 2: 0.0, 3: 0.0}


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float64])
def test_any_real_array_can_be_segmented_from_python(segmentation, head, model, kind):
    volume = replace(head, array=np.clip(head.array, 0, 255).astype(kind))
    assert (segment(volume, model, "cpu").labels == segmentation.labels).mean() > 0.99


def test_the_public_names(head, model, head_file):
    assert flairseg.segment is segment
    assert flairseg.Volume is Volume
    assert set(flairseg.__all__) <= set(dir(flairseg))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = flairseg.nonsense
    by_path = flairseg.segment(str(head_file), model=str(model), device="cpu")
    by_volume = flairseg.segment(flairseg.read_volume(head_file), model=load_card(model), device="cpu")
    np.testing.assert_array_equal(by_path.labels, by_volume.labels)
    assert by_path.source == str(head_file)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, flairseg, flairseg.errors, flairseg.labels; print(*sorted(m for m in sys.modules if '.' not in m))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY / "FlairSegExtension"
    )
    assert not {"numpy", "scipy", "skimage", "SimpleITK", "onnxruntime", "PIL"} & set(done.stdout.split())


# --- single slices


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_of_any_plane(model, axis):
    volume, _ = make_head((80, 80, 80), (2.5, 2.5, 2.5))
    middle = [slice(None)] * 3
    middle[axis] = slice(46, 47)
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2 - axis] * 46
    result = segment(Volume(volume.array[tuple(middle)], matrix), model, "cpu")
    assert result.labels.shape.count(1) == 1
    assert any("single slice" in w for w in result.warnings)
    assert {1, 3} & set(np.unique(result.labels))


# --- flip averaging


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("slices", [1, 3])
def test_flip_averaging_makes_the_answer_symmetric(tmp_path, plane, slices):
    """A mirrored head must give the mirrored answer, whatever the network has learnt about sides."""
    card = load_card(make_model(tmp_path, pipeline={"flip_average": True, "input_slices": slices}))
    normal = {"axial": (10.0, 4.5, 4.5), "sagittal": (4.5, 4.5, 10.0), "coronal": (4.5, 10.0, 4.5)}[plane]
    shape = tuple(round(200 / mm) for mm in normal)
    volume = check_volume(make_head(shape, normal[::-1], orientation=np.diag([-1.0, -1.0, 1.0]))[0])
    mirrored = replace(volume, array=np.ascontiguousarray(volume.array[:, :, ::-1]))
    answers = []
    for v in (volume, mirrored):
        stack = SliceStack.from_volume(v)
        assert stack.plane == plane
        prepared = preprocess(stack, card.pipeline)
        prepared = replace(prepared, mask=prepared.mask)
        answers.append(stack.restore(predict(prepared, Generator(card, "cpu"), plane)[1]).astype(np.float32))
    difference = np.abs(answers[0] - answers[1][:, :, :, ::-1])
    # Rounding alone: without the mirror image the largest difference of this head is 0.015.
    assert difference.max() < 1e-3


class _Sided:
    """Stands in for a generator whose answer depends on side and channel: logits grow with the column."""

    batch_size, workers = 2, 1

    def __init__(self, **options: object) -> None:
        self.card = SimpleNamespace(pipeline=PipelineConfig(**options))

    def run(self, batch: np.ndarray) -> np.ndarray:
        column = np.arange(batch.shape[-1], dtype=np.float32)
        weights = np.arange(1, 1 + batch.shape[1], dtype=np.float32).reshape(-1, 1, 1)
        signal = (batch * weights).sum(axis=1)
        return np.stack([c * signal * column / 20 for c in range(4)], axis=1).astype(np.float32)


@pytest.mark.parametrize(("plane", "channels"), [("axial", 1), ("axial", 3), ("coronal", 1), ("sagittal", 3)])
def test_flip_averaging_is_the_mean_of_both_answers(plane, channels):
    """Half from the batch, half from its mirror image, which is mirrored back: to the last bit of float16."""
    rng = np.random.default_rng(8)
    batch = rng.random((2, channels, 5, 6)).astype(np.float32)
    prepared = SimpleNamespace(
        slices=batch,
        frame=SimpleNamespace(grid=(5, 6)),
        batch=lambda start, stop: batch[start:stop],
        restore=lambda answer, start: np.moveaxis(answer, 1, 0).copy(),
    )
    generator = _Sided(flip_average=True, input_slices=channels)
    config = generator.card.pipeline
    sagittal = plane == "sagittal"
    mirrored = batch[:, ::-1] if sagittal else batch[..., ::-1]
    plain, other = decode(generator.run(batch), config), decode(generator.run(mirrored), config)
    expected = np.moveaxis((plain + (other if sagittal else other[..., ::-1])) / 2, 1, 0)
    found = predict(prepared, generator, plane)[1]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.abs(found - np.moveaxis(plain, 1, 0)).max() > 0.01, "the mirror image changes something here"
    once = predict(prepared, _Sided(flip_average=False, input_slices=channels), plane)[1]
    np.testing.assert_allclose(once, np.moveaxis(plain, 1, 0), atol=1e-3)


def test_a_sagittal_2d_network_sees_no_mirror_image():
    batch = np.zeros((2, 1, 4, 4), np.float32)
    assert pipeline._mirror(batch, "sagittal") is None
    three = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    assert pipeline._mirror(three, "sagittal").ravel().tolist() == [2, 1, 0]


# --- progress and cancel


def test_progress_runs_through_all_stages(head, model):
    seen = []
    segment(head, model, "cpu", progress=lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert list(dict.fromkeys(s for _, s in seen)) == ["read", "preprocess", "inference", "postprocess"]
    assert sum(s == "inference" for _, s in seen) >= 4 + 2


@pytest.mark.parametrize("stage", ["read", "preprocess", "inference", "postprocess"])
def test_a_cancel_is_honoured_in_every_stage(head, model, stage):
    token = CancelToken()

    def progress(_fraction, now):
        if now == stage:
            token.cancel()

    with pytest.raises(errors.Cancelled):
        segment(head, model, "cpu", progress=progress, cancel=token)


def test_a_cancel_may_be_a_function(head, model):
    with pytest.raises(errors.Cancelled):
        segment(head, model, "cpu", cancel=lambda: True)


# --- memory


def test_memory_of_a_large_case_stays_near_its_results(tmp_path, model):
    """200 slices of 256 x 256: labels, probabilities and volume are 170 MB; the rest must not multiply them."""
    pytest.importorskip("resource", reason="needs POSIX resource usage")
    code = f"""
import resource, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from Testing.core.tiny import make_head
from flairseg.segmentation.pipeline import segment
import scipy.ndimage, skimage.measure, SimpleITK, onnxruntime
small, _ = make_head()
segment(small, {str(model)!r}, "cpu")
volume, _ = make_head((200, 256, 256), (0.8, 0.8, 0.9))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
segment(volume, {str(model)!r}, "cpu")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY / "FlairSegExtension"
    )
    scale = 1024**2 if sys.platform == "darwin" else 1024
    assert int(done.stdout) / scale < 900
