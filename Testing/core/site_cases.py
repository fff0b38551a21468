"""A small site for tests of adaptation: a tiny base, and reviewed cases of painted heads as the archive keeps them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from flairseg.files.nifti import write_nifti
from flairseg.image.volume import Volume

from Testing.core.tiny import PIPELINE, make_head

#: Pipeline of the tiny base: as the default's, at 2.4 mm pixels.
SITE_PIPELINE = {
    **{key: value for key, value in PIPELINE.items() if key != "neighbour_mm"},
    "input_slices": 1,
    "logits": True,
    "min_lesion_mm3": 11.0,
}


def knows_gray_levels(lesion_from: float):
    """A light network whose weights are set so that gray levels decide: fluid is ventricle, what is bright is lesion.

    Hinges of each pixel's intensity go through all layers; the last one adds them up to logits.
    """
    import torch
    from flairseg.adapt.networks import LightUNet

    torch.manual_seed(0)
    network = LightUNet(1, 4, (16, 8))
    hinges = (-4.6, -3.8, -3.0, lesion_from)
    with torch.no_grad():
        for parameter in network.parameters():
            # Tensors that are alike would be one initialiser of the exported file.
            parameter.mul_(0.02).add_(torch.randn(parameter.shape) * 1e-4)
        first, second = network.encoder[0][0], network.encoder[0][2]
        up, last = network.decoder[0][0], network.last
        for channel in range(16):
            pixel, hinge = channel % 4, channel // 4
            first.weight[channel, pixel, 1, 1] += 1.0
            first.bias[channel] = -hinges[hinge]
            second.weight[channel, channel, 1, 1] += 1.0
            up.weight[channel, 16 + channel, 1, 1] += 1.0
        for pixel in range(4):
            # Channels of the output: class * 4 + pixel. Ventricles are a tent between the first three hinges.
            for hinge, slope in enumerate((8.0, -16.0, 8.0)):
                last.weight[4 + pixel, 4 * hinge + pixel] += slope
            last.weight[12 + pixel, 12 + pixel] += 4.0
            last.bias[4 + pixel], last.bias[8 + pixel], last.bias[12 + pixel] = -4.0, -6.0, -3.0
    return network


def make_base(folder: Path, name: str = "tiny2d-v1.0", lesion_from: float = 1.6) -> Path:
    """A model folder of a light network that knows gray levels: lesions from ``lesion_from`` + 0.75 (normalised)."""
    from training.export import export_onnx, round_to_half

    (folder / name).mkdir(parents=True)
    model = folder / name / "model.onnx"
    network = round_to_half(knows_gray_levels(lesion_from))
    export_onnx(network, (1, *SITE_PIPELINE["frame_size"]), model, half=True, output="softmax")
    write_card(folder / name, name)
    return folder / name


def write_card(folder: Path, name: str) -> None:
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    card = {
        "id": name,
        "title": "A tiny light network",
        "version": name.rpartition("v")[2],
        "licence": "CC0-1.0",
        "summary": "Has learnt a painted head. For tests.",
        "weights": {"file": "model.onnx", "sha256": digest},
        "pipeline": SITE_PIPELINE,
        "intended_use": "Tests.",
        "training_data": [],
        "results": [],
    }
    (folder / "card.json").write_text(json.dumps(card))


def site_head(number: int, lesions: int = 4, gain: float = 1.0) -> tuple[Volume, np.ndarray]:
    """A head of the site: another one for each number (turned, scaled, noisy), lesions fainter by ``gain``."""
    rng = np.random.default_rng(number)
    spacing = tuple(np.array((2.4, 2.4, 8.0)) * rng.uniform(0.94, 1.08, 3))
    volume, labels = make_head((14, 92, 78), spacing, noise=2.0, name=f"head{number}")
    array = volume.array.astype(np.float32)
    rough = rng.normal(0, 1.5, array.shape)
    lesion = labels == 3
    array[lesion] = 100 + (array[lesion] - 100) * gain
    return volume.with_array(np.round(array * rng.uniform(0.8, 1.3) + rough).astype(np.int16)), labels


def write_case(
    folder: Path,
    name: str,
    volume: Volume,
    labels: np.ndarray,
    verdict: str = "accepted_after_edits",
    version: int = 1,
    **content,
) -> Path:
    """One version of a case, with what :mod:`flairseg.adapt.cases` requires of its verdict and ``content``."""
    path = folder / name / f"v{version:03d}"
    path.mkdir(parents=True)
    write_nifti(path / "flair.nii.gz", volume.array, volume, volume.array.dtype.type)
    write_nifti(path / "labels.nii.gz", labels.astype(np.uint8), volume)
    (path / "verdict.json").write_text(
        json.dumps(
            {"case": name, "version": version, "verdict": verdict, "classes": ["ventricles", "lesion"], **content}
        )
    )
    return path


def write_site(folder: Path, count: int = 5, gain: float = 0.5) -> Path:
    """Cases ``p1`` to ``p<count>``, one a patient."""
    for number in range(1, count + 1):
        write_case(folder, f"p{number}", *site_head(number, gain=gain))
    return folder
