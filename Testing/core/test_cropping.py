"""Networks that see the brain's part of a frame: which may, what they see, and that the answer stays what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from flairseg.labels import CLASSES
from flairseg.models.card import PipelineConfig
from flairseg.models.store import DEFAULT_MODEL, find_model
from flairseg.phantom import make_phantom
from flairseg.preprocessing.framing import Frame
from flairseg.segmentation.cropping import GRID_PX, Crop, batches, crops
from flairseg.segmentation.inference import Generator
from flairseg.segmentation.local_network import freed
from flairseg.segmentation.pipeline import segment

FRAME = (160, 128)


def network(middle: str = "Relu", value_info: bool = False) -> bytes:
    """A small U of two levels with one operator to choose, input and output of fixed size."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(2)
    weights = {
        "in": rng.normal(0, 0.3, (4, 1, 3, 3)), "low": rng.normal(0, 0.2, (4, 4, 3, 3)),
        "up": rng.normal(0, 0.3, (4, 4, 2, 2)), "out": rng.normal(0, 0.3, (2, 8, 1, 1)),
        "scale": np.ones(4), "shift": np.zeros(4),
    }  # fmt: skip
    chosen = {
        "Relu": helper.make_node("Relu", ["a"], ["b"]),
        "InstanceNormalization": helper.make_node("InstanceNormalization", ["a", "scale", "shift"], ["b"]),
    }[middle]
    nodes = [
        helper.make_node("Conv", ["image", "in"], ["a"], pads=[1, 1, 1, 1]),
        chosen,
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "low"], ["d"], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["d", "up"], ["e"], strides=[2, 2]),
        helper.make_node("Concat", ["b", "e"], ["f"], axis=1),
        helper.make_node("Conv", ["f", "out"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, *FRAME])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 2, *FRAME])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()],
        value_info=[helper.make_tensor_value_info("d", TensorProto.FLOAT, ["n", 4, 80, 64])] if value_info else [],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def run(model: bytes, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": batch})[0]


def test_a_local_network_says_the_same_of_a_part():
    fixed = network()
    image = np.random.default_rng(0).random((2, 1, *FRAME)).astype(np.float32)
    whole = run(fixed, image)
    model = freed(fixed, FRAME)
    assert len(model) == len(fixed)
    np.testing.assert_array_equal(run(model, image), whole)
    part = run(model, np.ascontiguousarray(image[:, :, 32:128, 16:96]))
    np.testing.assert_allclose(part[:, :, 8:-8, 8:-8], whole[:, :, 40:120, 24:88], atol=1e-6)
    assert np.abs(part - whole[:, :, 32:128, 16:96]).max() > 1e-3, "at the cut the answer differs"


def test_what_is_not_local_or_not_understood_is_left_alone():
    fixed = network()
    assert freed(network("InstanceNormalization"), FRAME) is None
    assert freed(network(value_info=True), FRAME) is None
    assert freed(fixed, (FRAME[1], FRAME[0])) is None
    for broken in (b"", b"no network", fixed[:-9], fixed[: len(fixed) // 2], b"\xff" * 40):
        assert freed(broken, FRAME) is None


def prepared(mask: np.ndarray, scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)) -> SimpleNamespace:
    count = len(mask)
    frame = Frame(np.full((count, 2), scale), np.tile(offset, (count, 1)), FRAME, mask.shape[1:])
    return SimpleNamespace(mask=mask, frame=frame)


def test_a_crop_holds_the_brain_and_its_margin_on_the_grid():
    config = PipelineConfig(crop_margin_px=10, brain_margin_mm=10.0)
    mask = np.zeros((7, 100, 90), bool)
    mask[2, 30:50, 20:40] = True  # frame rows (30 - 10) / 0.5 = 40 to 78, columns (20 - 5) / 0.5 = 30 to 68
    mask[3, 12:60, 6:70] = True
    found = crops(prepared(mask, 0.5, (10.0, 5.0)), config, slice_mm=6.0)
    assert found[2] == Crop((16, 96), (16, 80))
    assert found[3] == Crop((0, 112), (0, 128))  # cut off at the frame's right side
    assert found[1] == found[2]  # no brain itself, but one slice off
    assert found[4] == found[3]
    assert found[0] is found[5] is found[6] is None
    thin = crops(prepared(mask, 0.5, (10.0, 5.0)), config, slice_mm=3.0)
    assert [crop is None for crop in thin] == [False] * 7
    assert thin[5] == found[3]
    for crop in found[1:5]:
        assert not any(side % GRID_PX for side in (*crop.rows, *crop.columns))


def test_whole_frames_where_crops_make_no_sense():
    mask = np.ones((2, 40, 40), bool)
    asked = PipelineConfig(crop_margin_px=8)
    assert crops(prepared(mask), PipelineConfig(), 5.0) is None
    assert crops(prepared(np.zeros_like(mask)), asked, 5.0) is None
    odd = prepared(mask)
    odd.frame = replace(odd.frame, size=(100, 96))
    assert crops(odd, asked, 5.0) is None
    assert crops(prepared(mask), asked, 5.0) is not None


def test_a_brain_off_the_frame_still_has_a_crop():
    mask = np.zeros((1, 400, 400), bool)
    mask[0, 300:320, 380:400] = True
    [crop] = crops(prepared(mask), PipelineConfig(crop_margin_px=4), 5.0)
    assert crop == Crop((144, 160), (112, 128))


def test_crops_of_one_shape_run_together():
    a, b, moved = Crop((0, 32), (0, 16)), Crop((0, 16), (0, 16)), Crop((16, 48), (32, 48))
    assert batches([a, None, b, moved, a], 2) == [[0, 3], [4], [2]]
    assert batches([a, b, moved], 1) == [[0], [2], [1]]
    assert batches([None, None], 4) == []


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(1, (14, 160, 160), (1.4, 1.4, 9.0))


@pytest.mark.parametrize(
    ("model", "passes", "batch"), [(DEFAULT_MODEL, 1, 1), (DEFAULT_MODEL, 1, 3), ("flairseg2d-v1.0", 2, 3)]
)
def test_models_of_local_networks_compute_less_and_say_the_same(phantom, monkeypatch, model, passes, batch):
    """Pixels through the network, counted; labels against those of whole frames; batches change nothing."""
    card = find_model(model)
    assert card.pipeline.crop_margin_px > 0
    pixels: list[int] = []
    real = Generator.run
    monkeypatch.setattr(Generator, "run", lambda self, given: pixels.append(given.size) or real(self, given))
    monkeypatch.setattr("flairseg.segmentation.inference.BATCH_SIZE", {"cpu": batch, "cuda": batch})
    cropped = segment(phantom.volume, card, "cpu")
    seen, pixels[:] = sum(pixels), []
    whole = segment(phantom.volume, replace(card, pipeline=replace(card.pipeline, crop_margin_px=0)), "cpu")
    assert sum(pixels) == passes * len(phantom.labels) * np.prod(card.pipeline.frame_size)
    assert seen < 0.8 * sum(pixels)
    for one in CLASSES:
        assert dice(cropped.labels == one.value, whole.labels == one.value) > 0.99
    total = cropped.probabilities.astype(np.float32).sum(axis=0)
    np.testing.assert_allclose(total, 1, atol=2e-3)


def test_a_network_that_normalises_sees_whole_frames(tmp_path):
    """Whatever its card says."""
    path = Path(tmp_path) / "model.onnx"
    path.write_bytes(network("InstanceNormalization"))
    card = SimpleNamespace(
        id="normalises", path=path, sha256="n", verify=lambda: None,
        pipeline=PipelineConfig(
            crop_margin_px=16, frame_size=FRAME, input_slices=1, output="sigmoid", output_classes=(1, 3)
        ),
    )  # fmt: skip
    assert not Generator(card, "cpu").any_size
    path.write_bytes(network())
    card.sha256 = "local"
    assert Generator(card, "cpu").any_size
    card.pipeline = replace(card.pipeline, crop_margin_px=0)
    assert not Generator(card, "cpu").any_size
