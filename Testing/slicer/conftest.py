"""Fixtures of the tests on real MRML: Slicer's environment, a small head, and a model whose answer is known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from flairseg.volume import Volume


@pytest.fixture(scope="session")
def application():
    """Slicer's scene and logics; the tests that need them skip, with the reason, where slicer-core is not installed."""
    pytest.importorskip("slicer", reason="slicer-core is not installed: pip install 'flairseg[slicer]'")
    from Testing.harness.application import start

    return start()


@pytest.fixture
def slicer(application):
    """The module ``slicer``, with a scene that is emptied after the test."""
    import slicer

    from Testing.harness.application import close_scene

    yield slicer
    close_scene()


@pytest.fixture
def bridge(slicer):
    from FlairSegLib import scene_bridge

    return scene_bridge


@pytest.fixture
def logic(slicer):
    from FlairSeg import FlairSegLogic

    return FlairSegLogic()


@pytest.fixture(scope="session")
def head() -> tuple[Volume, np.ndarray]:
    """A coarse head, RAS, 2 x 2 x 5 mm, of four gray levels that :func:`model` tells apart, and its labels.

    No left-right, front-back or up-down symmetry: a flipped or shifted mask cannot pass for the right one.
    """
    shape = (26, 104, 88)
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[:3, 3] = -87.0, -103.0, -62.5
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    x, y, z = (affine[:3, :3] @ np.stack([i, j, k], axis=-1)[..., None])[..., 0].transpose(3, 0, 1, 2) + affine[
        :3, 3, None, None, None
    ]

    def ellipsoid(centre, half_axes):
        return sum(((a - c) / h) ** 2 for a, c, h in zip((x, y, z), centre, half_axes, strict=True)) <= 1

    brain = ellipsoid((0, 0, 0), (62, 78, 50))
    labels = np.zeros(shape, np.uint8)
    labels[ellipsoid((-12, 2, 5), (11, 30, 18)) | ellipsoid((14, 6, 5), (9, 26, 16))] = 1
    labels[ellipsoid((-14, 38, 6), (10, 8, 13)) | ellipsoid((16, -26, 6), (8, 9, 13))] = 2
    labels[ellipsoid((36, 24, 20), (12, 9, 12)) | ellipsoid((-38, -22, -8), (8, 12, 11))] = 3
    levels = np.array([420, 170, 640, 860])
    image = np.where(brain, levels[labels], 30)
    image[ellipsoid((0, 0, 0), (80, 96, 60)) & ~ellipsoid((0, 0, 0), (73, 89, 56))] = 400
    noise = np.random.default_rng(7).normal(0, 8, shape)
    return Volume(np.clip(image + noise, 0, None).astype(np.int16), affine, "head"), labels


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A model that labels the middle slice by intensity alone: each class is a gray level, and the nearest wins.

    The levels are those of :func:`head` as ``brain-median`` normalises them; air and brain are both background.
    """
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'flairseg[test]'")
    from onnx import TensorProto, helper, numpy_helper

    levels = np.array([-4.6, 0.0, -3.0, 2.6, 5.2], np.float32)  # air, brain, ventricles, normal, lesion
    middle = np.zeros((levels.size, 3, 1, 1), np.float32)
    middle[:, 1] = 1
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["slices", "middle", "minus_levels"], ["difference"]),
            helper.make_node("Abs", ["difference"], ["distance"]),
            helper.make_node("Mul", ["distance", "steepness"], ["scores"]),
            helper.make_node("Split", ["scores", "sizes"], ["air", "brain", "classes"], axis=1),
            helper.make_node("Max", ["air", "brain"], ["background"]),
            helper.make_node("Concat", ["background", "classes"], ["logits"], axis=1),
        ],
        "by_intensity",
        [helper.make_tensor_value_info("slices", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4, "h", "w"])],
        [
            numpy_helper.from_array(middle, "middle"),
            numpy_helper.from_array(-levels, "minus_levels"),
            numpy_helper.from_array(np.array(-8, np.float32), "steepness"),
            numpy_helper.from_array(np.array([1, 1, 3]), "sizes"),
        ],
    )
    folder = tmp_path_factory.mktemp("models") / "intensity-v0.1"
    folder.mkdir()
    path = folder / "model.onnx"
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(network, path)
    card = {
        "id": "intensity-v0.1",
        "title": "Intensity bands",
        "version": "0.1",
        "licence": "Apache-2.0",
        "summary": "Labels by intensity alone; for tests.",
        "weights": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "pipeline": {
            "plane": "native",
            "denoise": "none",
            "brain_mask": "s1",
            "normalisation": "brain-median",
            "framing": "brain-mm",
            "frame_size": [128, 112],
            "frame_spacing_mm": 2.0,
            "input_slices": 3,
            "output": "softmax",
            "output_classes": [0, 1, 2, 3],
            "min_lesion_mm3": 0,
        },
        "intended_use": "Tests.",
        "training_data": [],
        "results": [],
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def save_nifti():
    """``save_nifti(path, array_kji, ijk_to_ras)`` by nibabel, which shares no code with ours or Slicer's readers."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed: pip install 'flairseg[test]'")

    def save(path: Path, array: np.ndarray, ijk_to_ras: np.ndarray) -> Path:
        image = nibabel.Nifti1Image(np.transpose(array), ijk_to_ras)
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, path)
        return path

    return save
