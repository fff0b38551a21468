"""A head that is segmented in a fraction of a second, and a model whose answer on it is known.

Neither looks like a real image or network: they are there to follow voxels through every frame they pass.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from flairseg.image.volume import Volume


def make_head() -> tuple[Volume, np.ndarray]:
    """A coarse head, RAS, 2 x 2 x 5 mm, of gray levels that the model tells apart, and its labels.

    No left-right, front-back or up-down symmetry: a flipped or shifted mask cannot pass for the right one.
    """
    shape = (26, 104, 88)
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[:3, 3] = -87.0, -103.0, -62.5
    z, y, x = np.ix_(*(affine[r, r] * np.arange(n) + affine[r, 3] for r, n in zip((2, 1, 0), shape, strict=True)))

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


def write_intensity_model(folder: Path) -> Path:
    """A model that labels the middle slice by intensity alone: each class is a gray level, and the nearest wins.

    The levels are those of :func:`make_head` as ``brain-median`` normalises them; air and brain are both background.
    """
    import onnx
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
    folder = folder / "intensity-v0.1"
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
