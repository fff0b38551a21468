"""The recipes of S1 to S5: networks, losses, augmentation, schedules, resuming, and the queue that trains them."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flairseg.evaluation.curves import average_precision
from flairseg.labels import LESION
from flairseg.models.card import PipelineConfig
from flairseg.segmentation.decoding import decode
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from Testing.core import real_data

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[training]'")

from flairseg.adapt import augment  # noqa: E402
from flairseg.adapt.framed import FramedCase  # noqa: E402
from flairseg.adapt.networks import PlainUNet  # noqa: E402
from flairseg.preprocessing import Prepared  # noqa: E402

from training import (  # noqa: E402
    checkpoint,
    export,
    plan_nnunet,
    pseudo,
    publish,
    queue,
    sources,
    train,
    train_pix2pix,
)
from training import run as running  # noqa: E402
from training.config import TrainingConfig, dump_config, load_config, shared_budget  # noqa: E402
from training.losses import (  # noqa: E402
    LOSSES,
    binary_cross_entropy,
    binary_cross_entropy_dice,
    channel_targets,
    deeply_supervised,
    dice_cross_entropy,
    dice_of_sigmoids,
)
from training.networks import NnUNet2D, build_network  # noqa: E402
from training.optimisers import Schedule, build_optimiser  # noqa: E402
from training.validation import FIGURES, validate  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread", "prepared_once")
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "training" / "configs"
#: Each system as small as it gets: what its recipe says, but for size and length.
SMALL = {
    "s1-pix2pix": {"network": {"kind": "pix2pix", "width": 1}},
    "s2-nnunet": {
        "network": {"kind": "nnunet2d", "inputs": 1, "outputs": 2, "features": [2, 4], "strides": [1, 2]},
        "frame_size": [64, 64],
    },
    "s3-unet": {
        "network": {"width": 2, "levels": 2},
        "frame_size": [64, 64],
        "window": [48, 48],
        "crop": [32, 40],
    },
    "s4-deepwml": {
        "network": {"width": 2, "levels": 2},
        "frame_size": [64, 64],
        "window": [48, 48],
        "crop": [32, 40],
    },
    "s5-unet25d": {
        "network": {"width": 2, "levels": 2},
        "frame_size": [96, 96],
        "window": [48, 48],
        "crop": [32, 40],
        "init": None,
    },
}


def small(name: str, **changes) -> TrainingConfig:
    """A system's own recipe on a small network and frame."""
    if name == "s2-nnunet":
        pytest.importorskip("dynamic_network_architectures", reason="nnU-Net's architecture library is not installed")
    config = load_config(CONFIGS / f"{name}.json")
    values = dict(SMALL[name])
    config.network = {**config.network, **values.pop("network")}
    if "frame_size" in values:
        config.pipeline = {**config.pipeline, "frame_size": values.pop("frame_size")}
    for key, value in {**values, "steps": 4, "fold": 1, "folds": 3, "validate_every": 4, **changes}.items():
        setattr(config, key, value)
    if config.network["kind"] != "pix2pix":
        config.batch, config.mix = 2, {"tabriz": 2}
    return config


def run(config: TrainingConfig, output: Path) -> Path:
    if config.network["kind"] == "pix2pix":
        return train_pix2pix.train(config, output)
    return train.train(config, output, output / "cache")


def state_of(path: Path) -> dict:
    return torch.load(path, weights_only=True)


# --- networks -------------------------------------------------------------------------------------------------------


def test_s3s_network_has_the_published_filters():
    network = PlainUNet(width=16, levels=4, batch_norm=True, dropout=0.1, dropout_at="levels")
    assert [block[0].out_channels for block in network.encoder] == [16, 32, 64, 128, 256]
    kernels = sum(9 * (a * b + b * b) for a, b in zip((1, 16, 32, 64, 128), (16, 32, 64, 128, 256), strict=True))
    kernels += sum(4 * 2 * b * b + 9 * (2 * b * b + b * b) + b for b in (128, 64, 32, 16))  # up, two convolutions, bias
    norms = 2 * 2 * (16 + 32 + 64 + 128 + 256 + 128 + 64 + 32 + 16)
    assert sum(p.numel() for p in network.parameters()) == kernels + norms + 17 == 1_942_289
    kinds = [type(layer).__name__ for layer in network.encoder[0]]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 2


def test_s5_drops_after_every_convolution_and_s4_never():
    s5 = PlainUNet(inputs=3, width=2, dropout=0.2)
    drops = [m for m in s5.modules() if isinstance(m, torch.nn.Dropout) and m.p > 0]
    assert len(drops) == 2 * 9
    assert {m.p for m in drops} == {0.2}
    assert not [m for m in PlainUNet(width=2).modules() if isinstance(m, torch.nn.Dropout) and m.p > 0]
    with pytest.raises(ValueError, match="nowhere"):
        PlainUNet(dropout_at="nowhere")


@pytest.mark.parametrize("dropout_at", ["convolutions", "levels"])
def test_dropout_acts_in_training_only(dropout_at):
    torch.manual_seed(0)
    network = PlainUNet(width=4, levels=2, dropout=0.2, dropout_at=dropout_at)
    image = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        assert not torch.equal(network.train()(image), network(image))
        assert torch.equal(network.eval()(image), network(image))


def test_nnunets_network_is_nnunets_and_answers_at_every_level_while_it_learns():
    pytest.importorskip("dynamic_network_architectures", reason="nnU-Net's architecture library is not installed")
    network = NnUNet2D(features=(4, 8, 16), strides=(1, 2, 2))
    assert type(network.body).__module__.startswith("dynamic_network_architectures")
    image = torch.zeros(1, 1, 32, 48)
    assert [tuple(one.shape) for one in network.train()(image)] == [(1, 2, 32, 48), (1, 2, 16, 24)]
    assert network.eval()(image).shape == (1, 2, 32, 48)
    published = load_config(CONFIGS / "s2-nnunet.json", published=True)
    assert published.network["features"][:3] == [32, 64, 128]
    assert published.pipeline["frame_size"] == [512, 512]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_system_becomes_onnx(name, tmp_path):
    config = small(name)
    torch.manual_seed(0)
    network = build_network(config)
    shape = (config.pipeline["input_slices"], *config.pipeline["frame_size"])
    assert export.export_onnx(network, shape, tmp_path / "model.onnx") < 1e-4


def test_half_precision_halves_the_file_and_is_what_pytorch_computes_with_it(tmp_path):
    import onnxruntime

    torch.manual_seed(0)
    network = export.round_to_half(PlainUNet(width=16, levels=2))
    shape, image = (1, 32, 32), torch.randn(2, 1, 32, 32)
    assert export.export_onnx(network, shape, tmp_path / "half.onnx", half=True) < 1e-4
    assert export.export_onnx(network, shape, tmp_path / "full.onnx") < 1e-4
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("half", "full")]
    assert 0.48 < sizes[0] / sizes[1] < 0.56
    answers = []
    for name in ("half", "full"):
        session = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {"image": image.numpy()})[0])
    assert np.allclose(*answers, atol=1e-5)
    config = small("s1-pix2pix")
    assert config.half_weights
    card = {"id": "s1-v0.1"}
    export.write_model(config, build_network(config), tmp_path / "s1", card)
    assert json.loads((tmp_path / "s1" / "card.json").read_text())["weights"]["bytes"] > 0


# --- losses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "nothing", "something"), [("s1-pix2pix", 0.0, 1.0), ("s4-deepwml", -9.0, 9.0)])
def test_a_network_that_draws_nothing_is_not_published(name, nothing, something):
    class Constant(torch.nn.Module):
        def __init__(self, level):
            super().__init__()
            self.level = level

        def forward(self, image):
            return torch.full_like(image, self.level)

    config, slices = load_config(CONFIGS / f"{name}.json"), torch.zeros(2, 1, 8, 8)
    assert not publish.draws(Constant(nothing), slices, config)
    assert publish.draws(Constant(something), slices, config)


def test_instance_norms_are_centred_for_onnxruntime_and_compute_the_same(tmp_path):
    torch.manual_seed(0)
    norm = torch.nn.InstanceNorm2d(4, affine=True)
    torch.nn.init.normal_(norm.weight)
    body = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), norm, torch.nn.Sequential(norm))
    held_twice = torch.nn.ModuleDict({"first": body, "again": body})
    image = 1 + 1e-4 * torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        before = body(image)
        centred = export.centre_instance_norms(held_twice)["first"]
        after = centred(image)
    norms = [m for m in centred.modules() if isinstance(m, export.CentredInstanceNorm)]
    assert len(norms) == 2
    assert all(isinstance(m.norm, torch.nn.InstanceNorm2d) for m in norms)
    assert torch.allclose(before, after, atol=1e-3)
    path = tmp_path / "model.onnx"
    network = NnUNet2D(features=[2, 4])
    export.export_onnx(network, (1, 64, 64), path, unit_range=True)
    assert not any(isinstance(m, export.CentredInstanceNorm) for m in network.modules())
    hardly_anything = torch.zeros(2, 1, 64, 64)
    hardly_anything[1, 0, 30:34, 30:34] = 0.6
    for output in ("softmax", "sigmoid"):
        assert export.largest_difference(network, path, hardly_anything, export.TOLERANCE_ON_SLICES, output) < 5e-4
        with pytest.raises(RuntimeError, match="differs"):
            export.largest_difference(network, path, hardly_anything, -1.0, output)


@pytest.mark.parametrize(("output", "largest"), [("gray", 4.0), ("sigmoid", 0.482), ("softmax", 0.482)])
def test_a_difference_is_one_of_probabilities_as_the_card_reads_them(output, largest, tmp_path):
    class Shift(torch.nn.Module):
        by = 0.0

        def forward(self, image):
            return torch.cat([image * 0, image * 0 + self.by], 1)

    network = Shift()
    path = tmp_path / "model.onnx"
    export.export_onnx(network, (1, 4, 4), path)
    network.by = 4.0
    assert abs(export.largest_difference(network, path, torch.zeros(1, 1, 4, 4), 9.0, output) - largest) < 1e-3


def test_channels_show_their_classes():
    labels = torch.tensor([[[0, 1], [2, 3]]])
    assert channel_targets(labels, "softmax", (0, 3)).tolist() == [[[0, 0], [0, 1]]]
    assert channel_targets(labels, "softmax", (0, 1, 2, 3)).tolist() == labels.tolist()
    one = channel_targets(labels, "sigmoid", (3,))
    assert one.dtype == torch.float32
    assert one.tolist() == [[[[0, 0], [0, 1]]]]
    assert channel_targets(labels, "sigmoid", (1, 3)).tolist() == [[[[0, 1], [0, 0]], [[0, 0], [0, 1]]]]


def test_losses_of_sigmoids_have_their_closed_form():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(2, 1, 6, 5)), (rng.random((2, 1, 6, 5)) < 0.3).astype(float)
    p = 1 / (1 + np.exp(-logits))
    entropy = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    arguments = torch.tensor(logits, dtype=torch.float32), torch.tensor(target, dtype=torch.float32)
    assert np.isclose(float(binary_cross_entropy(*arguments)), entropy, atol=1e-5)
    assert np.isclose(float(dice_of_sigmoids(*arguments)), dice, atol=1e-5)
    assert np.isclose(float(binary_cross_entropy_dice(*arguments)), entropy + dice, atol=1e-5)
    heavier = -(3 * target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    assert np.isclose(float(binary_cross_entropy(*arguments, torch.tensor([3.0]))), heavier, atol=1e-5)


def test_levels_count_half_as_much_each_and_the_coarsest_not_at_all():
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 2, (2, 16, 16), generator=generator)
    logits = [torch.randn(2, 2, n, n, generator=generator) for n in (16, 8, 4)]
    expected = 2 / 3 * dice_cross_entropy(logits[0], target) + 1 / 3 * dice_cross_entropy(
        logits[1], target[:, ::2, ::2]
    )
    assert torch.isclose(deeply_supervised(LOSSES["dice-ce"], logits, target), expected)


# --- augmentation, sampling, figures --------------------------------------------------------------------------------

S2_RANGES = augment.Geometry(rotation_deg=40, shift=0.2, shear_deg=20, zoom=0.2, flip=True)


def blobs(seed, count=6, size=(64, 48)):
    rng = np.random.default_rng(seed)
    drawn = np.stack([ndimage.gaussian_filter(rng.normal(size=size), 4) > 0.03 for _ in range(count)])
    labels = torch.from_numpy(drawn.astype(np.int64) * LESION)
    return labels[:, None].float().repeat(1, 3, 1, 1) * 2 - 5, labels


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_image_and_label_move_together_by_the_papers_ranges(seed):
    images, labels = blobs(seed)
    moved, drawn = augment.geometric(images, labels, S2_RANGES, torch.Generator().manual_seed(seed))
    assert not torch.equal(drawn, labels)
    assert ((moved[:, 1] > -2) == (drawn == LESION)).float().mean() > 0.995
    assert moved.min() >= -5 - 1e-4  # what comes in from outside is air


def test_a_crop_is_a_part_of_its_slice_mostly_around_foreground():
    labels = torch.zeros(300, 64, 48, dtype=torch.int64)
    labels[::2, 60, 2] = LESION  # in a corner, where an even draw of the place would hardly ever find it
    images = torch.arange(64 * 48).view(1, 1, 64, 48).float().repeat(300, 1, 1, 1) + labels[:, None] * 10_000
    part, drawn = augment.crop(images, labels, (16, 20), torch.Generator().manual_seed(0))
    assert part.shape == (300, 1, 16, 20)
    assert torch.equal(drawn, (part[:, 0] >= 10_000) * LESION)
    plain = part[:, 0] - drawn * 10_000
    assert torch.equal(plain[:, 1:] - plain[:, :-1], torch.full((300, 15, 20), 48.0))
    hits = drawn.flatten(1).any(1)[::2].float().mean()
    assert abs(hits - augment.ON_FOREGROUND) < 0.12
    corners = plain[1::2, 0, 0]  # no foreground: anywhere
    assert (corners // 48).min() < 5
    assert (corners // 48).max() > 43


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_recipe_alters_as_many_slices_as_it_says_and_where_the_moved_mask_is(share, monkeypatch):
    """The mask must have turned with its slice: elsewhere the scalp would be stripped off the brain."""
    seen = []

    def brighten(images, masks, generator):
        seen.append(masks)
        return images + 100 * (masks > 0.5)

    class Drawn:
        def draw(self, rng):
            mask = np.zeros((32, 24), bool)
            mask[8:20, 2:9] = True
            return np.where(mask, 1.0, -5.0)[None].astype(np.float32), mask * np.uint8(LESION), mask

    monkeypatch.setattr(augment, "intensity", brighten)
    config = TrainingConfig("x", {}, {}, mix={"tabriz": 60}, altered=share)
    config.augmentation = {"rotation_deg": 30, "shift": 0.05, "flip": True}
    images, labels = train.draw_batch(
        config, {"tabriz": Drawn()}, np.random.default_rng(0), torch.Generator().manual_seed(0)
    )
    altered = (images > 50).flatten(1).any(1)
    assert abs(altered.float().mean() - share) < 0.2
    assert images.shape == (60, 1, 32, 24)
    if share:
        assert seen[0].shape == (60, 1, 32, 24)
        assert ((images[altered, 0] > 50) == (labels[altered] == LESION)).float().mean() > 0.98
    else:
        assert not seen


def test_half_precision_where_the_recipe_or_the_processor_wants_it(monkeypatch):
    for wanted in (True, False):
        assert running.half_convolutions(TrainingConfig("x", {}, {}, amp=wanted)) is wanted
        monkeypatch.setattr(running, "has_bf16", lambda wanted=wanted: wanted)
        assert running.half_convolutions(TrainingConfig("x", {}, {})) is wanted


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_teachers_are_averaged_with_their_mirror_images_as_the_recipe_reads_them(output):
    class Ramp(torch.nn.Module):
        """Logits that grow from left to right, whatever the picture."""

        def __init__(self, channels, slope):
            super().__init__()
            self.channels, self.slope = channels, slope

        def forward(self, image):
            across = torch.linspace(-1, 1, image.shape[3]) * self.slope
            channel = torch.arange(self.channels).view(1, -1, 1, 1)
            return (across * channel).expand(len(image), self.channels, *image.shape[2:])

    class Slices:
        def batches(self, size):
            yield np.zeros((5, 3, 4, 6), np.float32)

    classes = (0, 1, 2, 3) if output == "softmax" else (1, 2, 3)
    read = PipelineConfig(output=output, output_classes=classes)
    networks = [Ramp(len(classes), slope) for slope in (1.0, 2.5)]
    found = pseudo.ensemble(networks, Slices(), read)
    assert found.shape == (5, 4, 4, 6)
    assert np.allclose(found.sum(1), 1, atol=1e-6)
    assert np.allclose(found, found[..., ::-1], atol=1e-6)
    alone = [decode(network(torch.zeros(1, 3, 4, 6)).numpy(), read) for network in networks]
    expected = sum(one + one[..., ::-1] for one in alone) / 4
    assert np.allclose(found, expected, atol=1e-6)


def test_no_ranges_move_nothing():
    images, labels = blobs(0)
    moved, drawn = augment.geometric(images, labels, augment.Geometry(), torch.Generator().manual_seed(0))
    assert torch.allclose(moved, images, atol=1e-3)
    assert torch.equal(drawn, labels)


@pytest.mark.parametrize("degrees", [10.0, 40.0])
def test_a_turn_keeps_within_its_range(degrees):
    rows, columns = np.mgrid[:96, :64]
    bar = (np.abs(columns - 31.5) < 3) & (np.abs(rows - 47.5) < 22)
    labels = torch.from_numpy(bar.astype(np.int64) * LESION)[None].repeat(200, 1, 1)
    _, drawn = augment.geometric(labels[:, None].float(), labels, augment.Geometry(rotation_deg=degrees),
                                 torch.Generator().manual_seed(0))  # fmt: skip
    angles, areas = [], []
    for one in drawn.numpy():
        pixels = np.argwhere(one > 0)
        axes = np.linalg.eigh(np.cov(pixels.T))[1][:, 1]
        angles.append(math.degrees(math.atan2(axes[1], axes[0]) % math.pi))
        areas.append(len(pixels) / bar.sum())
    turned = (np.array(angles) + 90) % 180 - 90
    assert 0.9 * degrees < np.abs(turned).max() < degrees + 1
    assert abs(turned.mean()) < degrees / 6
    assert 0.93 < min(areas) < max(areas) < 1.07  # turned, not stretched, in an oblong frame


def test_zoom_and_flip_stay_in_their_ranges():
    rows, columns = np.mgrid[:64, :64]
    disc = (np.hypot(rows - 31.5, columns - 31.5) < 16).astype(np.int64)
    disc[28:36, 18:24] = LESION  # to the left
    labels = torch.from_numpy(disc)[None].repeat(200, 1, 1)
    _, drawn = augment.geometric(labels[:, None].float(), labels, augment.Geometry(zoom=0.2, flip=True),
                                 torch.Generator().manual_seed(0))  # fmt: skip
    sides = np.sqrt([(one > 0).sum() / (disc > 0).sum() for one in drawn.numpy()])
    assert 0.78 < sides.min() < 0.85
    assert 1.15 < sides.max() < 1.22
    left = [np.argwhere(one == LESION)[:, 1].mean() < 31.5 for one in drawn.numpy()]
    assert 0.4 < np.mean(left) < 0.6


def framed_case(labels: np.ndarray) -> FramedCase:
    slices = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    mask = np.zeros(labels.shape, bool)
    mask[:, 10:30, 20:36] = True
    return FramedCase("a", Prepared(slices, mask, None, 0), labels, mask)


def test_s2_draws_only_slices_whose_masks_say_something():
    labels = np.zeros((4, 64, 64), np.uint8)
    labels[1, :2, :2] = LESION  # 4 of 4096 pixels: 0.011 bits
    labels[2, 0, 0] = LESION  # 1 of 4096 pixels: 0.003 bits
    labels[3] = 1  # ventricles are no lesions
    share = 4 / 4096
    assert np.isclose(
        sources.mask_entropy(labels[1] == LESION), -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    )
    assert sources.mask_entropy(np.zeros(9, bool)) == sources.mask_entropy(np.ones(9, bool)) == 0
    assert sources.ArraySource([framed_case(labels)], "entropy").index == [(0, 1)]
    all_of_them = sources.ArraySource([framed_case(labels)], "entropy-thrice")
    assert all_of_them.index == [(0, k) for k in range(len(labels))]
    assert all_of_them.weights[1] == pytest.approx(3 / (len(labels) + 2))
    assert set(np.delete(all_of_them.weights, 1)) == {all_of_them.weights[1] / 3}
    assert len(sources.ArraySource([framed_case(labels)]).index) == 4
    with pytest.raises(ValueError, match="no slice"):
        sources.ArraySource([framed_case(np.zeros_like(labels))], "entropy")
    with pytest.raises(ValueError, match="some"):
        sources.ArraySource([framed_case(labels)], "some")


def test_the_window_lies_around_the_head_and_in_the_frame():
    labels = np.zeros((3, 64, 64), np.uint8)
    labels[:, 20, 28] = LESION
    source = sources.ArraySource([framed_case(labels)], window=[32, 24])
    image, label, mask = source.draw(np.random.default_rng(0))
    assert image.shape == (1, 32, 24)
    assert label.shape == mask.shape == (32, 24)
    assert mask.sum() == 20 * 16
    assert label[16, 12] == LESION
    assert (image[0, 0, 0] % 64, image[0, 0, 0] // 64 % 64) == (16, 4)
    assert sources.head_window(np.ones((1, 16, 64), bool), [32, 32]) == (slice(0, 16), slice(16, 48))
    assert sources.head_window(np.zeros((1, 64, 64), bool), [32, 32]) == (slice(16, 48), slice(16, 48))


def test_synthetic_slices_come_in_the_recipes_unit(tmp_path):
    stored = np.full((1, 3, 8, 8), 200, np.uint8)
    np.savez(tmp_path / "pool.npz", images=stored, labels=np.zeros((1, 8, 8), np.uint8))
    plain, scaled = (
        sources.PoolSource([tmp_path / "pool.npz"], unit).draw(np.random.default_rng(0))[0][0, 0, 0]
        for unit in ("brain-median", "zscore")
    )
    assert np.isclose(plain, 200 * 14 / 255 - 6)
    mean, deviation = sources.POOL_UNITS["zscore"]
    assert np.isclose(scaled, (plain - mean) / deviation)
    with pytest.raises(ValueError, match="minmax"):
        sources.PoolSource([tmp_path / "pool.npz"], "minmax")


def test_a_network_of_one_slice_gets_the_middle_one_of_the_stored_three(tmp_path):
    images = np.arange(3, dtype=np.uint8)[None, :, None, None] * np.ones((2, 1, 4, 4), np.uint8)
    np.savez(tmp_path / "pool.npz", images=images, labels=np.zeros((2, 4, 4), np.uint8))
    drawn = [
        sources.PoolSource([tmp_path / "pool.npz"], input_slices=count).draw(np.random.default_rng(0))[0]
        for count in (3, 1)
    ]
    assert [len(image) for image in drawn] == [3, 1]
    assert np.array_equal(drawn[1], drawn[0][1:2])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10**6))
def test_average_precision_is_the_area_under_its_own_steps(count, seed):
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, 8, count) / 8, rng.random(count) < 0.4
    if not truth.any():
        assert math.isnan(average_precision(scores, truth))
        return
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        said = scores >= threshold
        recall = (said & truth).sum() / truth.sum()
        area += (recall - before) * (said & truth).sum() / said.sum()
        before = recall
    assert np.isclose(average_precision(scores, truth), area)


def test_average_precision_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    scores, truth = np.round(rng.random(5000), 2), rng.random(5000) < 0.05
    assert np.isclose(average_precision(scores, truth), metrics.average_precision_score(truth, scores), atol=1e-9)


def test_validation_leaves_out_classes_that_the_network_does_not_know(data):
    config = small("s3-unet")
    _, cases = train.build_sources(config, data)

    class Oracle(torch.nn.Module):
        truth = iter(torch.cat([torch.from_numpy(case.labels == LESION) for case in cases]).float().split(6))

        def forward(self, image):
            return 20 * next(self.truth)[:, None] - 10

    figures = dict(zip(FIGURES, validate(Oracle(), cases, config.preprocessing, False), strict=True))
    assert figures["dice_lesion"] == figures["auc_pr_lesion"] == 1
    assert math.isnan(figures["dice_ventricles"])
    assert math.isnan(figures["dice_normal_wmh"])
    assert validate(Oracle(), [], config.preprocessing) == []


# --- optimisers and schedules ---------------------------------------------------------------------------------------


def test_optimisers_are_those_of_the_papers():
    network = PlainUNet(width=2, levels=2)
    s2 = build_optimiser(load_config(CONFIGS / "s2-nnunet.json"), network)
    assert isinstance(s2, torch.optim.SGD)
    group = s2.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.01, 0.99, True, 3e-5)
    for name in ("s3-unet", "s4-deepwml", "s5-unet25d"):
        assert type(build_optimiser(load_config(CONFIGS / f"{name}.json"), network)) is torch.optim.Adam
    with pytest.raises(ValueError, match="guess"):
        build_optimiser(TrainingConfig("x", {}, {}, optimiser={"kind": "guess"}), network)


def test_polynomial_decay_ends_at_zero():
    schedule = Schedule(TrainingConfig("x", {}, {}, steps=100, learning_rate=0.01, schedule={"kind": "poly"}), 10)
    rates = [schedule.rate(step) for step in range(101)]
    assert rates[0] == 0.01
    assert rates[100] == 0
    assert np.allclose(rates, 0.01 * (1 - np.arange(101) / 100) ** 0.9)
    warm = Schedule(TrainingConfig("x", {}, {}, steps=100, learning_rate=0.01), 10)
    assert np.isclose(warm.rate(0), 0.01 / 50)


def test_a_plateau_lowers_the_rate_after_its_epochs_and_not_below_the_lowest():
    settings_ = {"kind": "plateau", "patience": 2, "factor": 0.1, "lowest": 1e-5}
    schedule = Schedule(TrainingConfig("x", {}, {}, learning_rate=1e-3, schedule=settings_), 3)

    def epoch(loss):
        for part in (loss - 0.1, loss, loss + 0.1):
            schedule.saw(part)
        return schedule.rate(0)

    assert np.allclose([epoch(loss) for loss in (1.0, 0.9, 0.95, 0.8)], 1e-3)  # one bad epoch, then a better one
    assert np.allclose([epoch(0.8) for _ in range(6)], [1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-5])
    with pytest.raises(ValueError, match="cosine"):
        Schedule(TrainingConfig("x", {}, {}, schedule={"kind": "cosine"}), 1)


# --- the recipes ----------------------------------------------------------------------------------------------------


def test_all_systems_get_the_same_budget():
    budget = shared_budget()
    systems = [load_config(CONFIGS / f"{name}.json") for name in budget["order"] if name != "s5-pretrain"]
    assert {config.steps * config.batch for config in systems} == {budget["slices"]}
    assert "tabriz" not in load_config(CONFIGS / "s5-pretrain.json").mix  # synthetic slices are no part of the budget
    assert {config.folds for config in systems} == {budget["folds"]}
    default = load_config(CONFIGS / "flairseg2d-shared.json")
    assert (default.steps * default.batch, default.folds) == (budget["slices"], budget["folds"])
    as_shipped = load_config(CONFIGS / "flairseg2d.json")
    assert (default.pipeline, default.network, default.loss) == (
        as_shipped.pipeline, as_shipped.network, as_shipped.loss,
    )  # fmt: skip
    assert set(SMALL) == {config.name for config in systems}


def test_more_steps_leave_a_systems_folds_as_they_are():
    """Other folds would train on the patients that the recipe's fold leaves out (found on S4: Dice 0.79)."""
    longer = load_config(CONFIGS / "s4-deepwml.json", steps=2000)
    assert (longer.steps, longer.folds) == (2000, shared_budget()["folds"])


def test_the_queue_trains_the_compared_systems_with_another_budget(tmp_path):
    jobs = {job.folder.name: job for job in queue.plan(tmp_path, slices=9600)}
    systems = [job for job in jobs.values() if not job.once]
    assert {job.config.steps * job.config.batch for job in systems} == {9600}
    assert {job.config.folds for job in systems} == {shared_budget()["folds"]}
    assert "--steps 1600" in " ".join(jobs["s4-deepwml-fold1"].command(tmp_path))
    # Synthetic slices are no part of the budget.
    assert jobs["s5-pretrain"].config.steps == load_config(CONFIGS / "s5-pretrain.json").steps


def test_recipes_say_what_the_papers_say():
    s1, s2, s3, s4, s5 = (load_config(CONFIGS / f"{name}.json") for name in sorted(SMALL))
    assert (s1.batch, s1.pipeline["output"], s1.pipeline["framing"]) == (1, "gray", "brain-256")
    assert s2.pipeline["skull_strip"]
    assert not any(config.pipeline["skull_strip"] for config in (s3, s4, s5))
    assert (s2.loss, s3.loss, s4.loss, s5.loss) == ("dice-ce", "bce", "bce-dice", "dice")
    assert [config.pipeline["framing"] for config in (s2, s3, s4, s5)] == [
        "resize-512", "crop-256", "resample-256", "pad-384",
    ]  # fmt: skip
    assert s5.pipeline["input_slices"] == 3
    assert s5.pipeline["min_lesion_mm3"] == 10.7
    assert s5.pipeline == load_config(CONFIGS / "s5-pretrain.json").pipeline
    with pytest.raises(ValueError, match="no published variant"):
        load_config(CONFIGS / "flairseg2d.json", published=True)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_stopped_run_goes_on_to_the_same_weights(name, data, tmp_path, monkeypatch):
    config = small(name)
    module = train_pix2pix if name.startswith("s1") else train
    whole = state_of(run(config, tmp_path / "whole"))
    assert whole["step"] == 4
    stopping = checkpoint.StopRequest()
    calls = []
    patched = "foreground_weights" if module is train_pix2pix else "draw_batch"
    original = getattr(module, patched)

    def in_the_second_step(*arguments):
        calls.append(1)
        stopping.asked = stopping.asked or len(calls) == 2
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(running, "StopRequest", lambda: stopping)
        patch.setattr(module, patched, in_the_second_step)
        path = run(config, tmp_path / "stopped")
    assert state_of(path)["step"] == 2
    assert not (path.parent / checkpoint.FINISHED).exists()
    resumed = state_of(run(config, tmp_path / "stopped"))
    for key, value in whole["ema"].items():
        assert torch.equal(value, resumed["ema"][key]), key
    finished = json.loads((path.parent / checkpoint.FINISHED).read_text())
    assert (finished["steps"], finished["batch"]) == (4, config.batch)
    logs = [(tmp_path / one / path.parent.name / "log.csv").open(newline="") for one in ("whole", "stopped")]
    first, second = (list(csv.DictReader(log)) for log in logs)
    for log in logs:
        log.close()
    assert [row["step"] for row in first] == ["4"]
    assert float(first[0]["auc_pr_lesion"]) >= 0
    for row in (*first, *second):
        del row["seconds"]
    assert first == second


def test_s5_starts_from_its_own_pre_training(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the recipe names a folder under the working directory
    before = load_config(CONFIGS / "s5-pretrain.json")
    before.network = {**before.network, "width": 2, "levels": 2}
    before.steps, before.batch, before.mix, before.synthetic = 1, 1, {"synthetic": 1}, {"count": 2, "seeds": [3]}
    config = small("s5-unet25d", steps=1, learning_rate=0.0, init="runs/s5-pretrain/last.pt")
    with pytest.raises(FileNotFoundError, match="train that recipe first"):
        run(config, tmp_path)
    first, second = state_of(run(before, tmp_path)), state_of(run(config, tmp_path))
    for key, value in first["ema"].items():
        assert torch.equal(value, second["network"][key])


# --- checkpoints, logs and stopping ---------------------------------------------------------------------------------


def test_a_log_is_as_if_the_run_had_never_been_killed(tmp_path):
    path, columns = tmp_path / "log.csv", ("step", "loss")
    curve = checkpoint.Curve(path, columns)
    for step in (2, 4, 6):
        curve.append([step, float("nan") if step == 2 else step / 10])
    checkpoint.Curve(path, columns, resumed_at=4).append([6, 0.7])
    assert path.read_text().split() == ["step,loss", "2,", "4,0.4", "6,0.7"]
    path.write_text("500,0.5\n")  # as the first recipes wrote it, without a head
    checkpoint.Curve(path, columns, resumed_at=500)
    assert path.read_text().split() == ["step,loss", "500,0.5"]


def test_a_stop_is_heard_once_and_then_the_signals_are_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with checkpoint.StopRequest() as stop:
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert stop.asked
        assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before


# --- the queue ------------------------------------------------------------------------------------------------------


def test_fold_zero_of_every_system_comes_first_and_all_patients_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no run lies that a recipe could start from
    jobs = queue.plan(tmp_path)
    systems = [name for name in shared_budget()["order"] if name != "s5-pretrain"]
    names = [job.folder.name for job in jobs]
    assert sorted(names[: len(systems) + 1]) == sorted([*(f"{name}-fold0" for name in systems), "s5-pretrain"])
    assert names[-len(systems) :] == systems
    assert len(names) == len(set(names)) == (shared_budget()["folds"] + 1) * len(systems) + 1
    modules = {job.folder.name: job.command(tmp_path)[2] for job in jobs}
    assert modules["s1-pix2pix-fold0"] == "training.train_pix2pix"
    assert modules["s4-deepwml"] == "training.train"
    waiting = next(job for job in jobs if job.folder.name == "s5-unet25d-fold0")
    assert not waiting.ready(tmp_path)
    (tmp_path / "s5-pretrain").mkdir()
    (tmp_path / "s5-pretrain" / checkpoint.FINISHED).write_text("{}")
    assert waiting.ready(tmp_path)
    assert next(job for job in jobs if job.once).finished


def tiny_recipes(folder: Path) -> list[str]:
    names = []
    for name, steps in (("s3-unet", 3), ("s4-deepwml", 2000)):
        config = small(name, fold=None, folds=2, steps=steps, validate_every=1000, checkpoint_every=1)
        (folder / f"{name}.json").write_text(json.dumps(dump_config(config)))
        names.append(name)
    (folder / "broken.json").write_text(json.dumps({**dump_config(config), "name": "broken", "loss": "none"}))
    return [*names, "broken"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of other processes are a POSIX matter")
def test_the_queue_stops_and_goes_on_and_no_failure_stops_the_rest(data, tmp_path):
    names = tiny_recipes(tmp_path)
    jobs = [job for job in queue.plan(tmp_path, names, tmp_path) if job.config.fold == 0]
    assert [job.folder.name for job in jobs] == ["s3-unet-fold0", "s4-deepwml-fold0", "broken-fold0"]
    script = (
        "import sys; from pathlib import Path; from training import queue; p = Path(sys.argv[1]);"
        "jobs = [j for j in queue.plan(p, sys.argv[2:], p) if j.config.fold == 0];"
        "sys.exit(len(queue.run(jobs, p, 3, 0, 0.05)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "FlairSegExtension")])}
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), *names], cwd=ROOT, env=environment)
    long = tmp_path / "s4-deepwml-fold0" / "last.pt"
    deadline = time.time() + 180
    while time.time() < deadline and not (
        long.exists() and jobs[0].finished and "KeyError" in _read(tmp_path / "broken-fold0" / "output.txt")
    ):
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1  # the broken one
    assert jobs[0].finished
    assert not jobs[1].finished
    step = state_of(long)["step"]
    assert 0 < step < 2000
    recipe = json.loads((tmp_path / "s4-deepwml.json").read_text())
    (tmp_path / "s4-deepwml.json").write_text(json.dumps({**recipe, "steps": step + 2}))
    jobs = [job for job in queue.plan(tmp_path, names[:2], tmp_path) if job.config.fold == 0]
    assert queue.run(jobs, tmp_path, 2, 0, 0.05) == []
    assert state_of(long)["step"] == step + 2
    assert f"resumed at step {step}" in _read(tmp_path / "s4-deepwml-fold0" / "output.txt")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# --- nnU-Net's plan -------------------------------------------------------------------------------------------------


def test_patients_are_written_as_nnunet_reads_them(tmp_path):
    import nibabel as nib

    labels = np.zeros((3, 64, 64), np.uint8)
    labels[1, 5, 6], labels[2, 7, 8] = LESION, 1
    plan_nnunet.write_dataset([framed_case(labels)], (0, LESION), tmp_path / "raw", 6.8)
    written = nib.load(tmp_path / "raw" / "labelsTr" / "a.nii.gz")
    assert np.argwhere(np.asarray(written.dataobj) > 0).tolist() == [[6, 5, 1]]
    assert np.asarray(written.dataobj).max() == 1
    assert np.allclose(written.header.get_zooms(), (1, 1, 6.8))
    described = json.loads((tmp_path / "raw" / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "class3": 1}
    assert described["numTraining"] == 1


@pytest.mark.slow
def test_the_recipe_is_nnunets_own_plan(monkeypatch):
    pytest.importorskip("nnunetv2", reason="nnU-Net is not installed: it plans, it does not train here")
    if not (real_data.folder() / "tabriz").exists():
        pytest.skip("no real images: nnU-Net planned for those in $FLAIRSEG_DATA or ../shared/data")
    config = load_config(CONFIGS / "s2-nnunet.json")
    found = plan_nnunet.plan(config, config.network["features"][0])
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in found["network"].items()} == {
        "kernel": 3, "convolutions": 2, **config.network,
    }  # fmt: skip
