"""Training with PyTorch on painted patients: augmentation, losses, resuming, export, and S1's adversarial recipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from Testing.core.small_data import PATIENTS

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[training]'")

from flairseg.adapt import augment  # noqa: E402
from flairseg.adapt.networks import PlainUNet  # noqa: E402
from flairseg.models.store import load_card  # noqa: E402

from training import checkpoint, train, train_pix2pix  # noqa: E402
from training import run as running  # noqa: E402
from training.config import TrainingConfig, dump_config, load_config  # noqa: E402
from training.evaluate import markdown, summarise  # noqa: E402
from training.export import export_onnx, load_average, write_model  # noqa: E402
from training.losses import dice_cross_entropy  # noqa: E402
from training.networks import PatchDiscriminator, Pix2PixGenerator, build_network  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread", "prepared_once")
ROOT = Path(__file__).resolve().parents[2]
PIPELINE = {
    "plane": "native", "denoise": "none", "brain_mask": "s1", "normalisation": "brain-median", "framing": "brain-mm",
    "frame_size": [64, 48], "frame_spacing_mm": 3.6, "input_slices": 3, "neighbour_mm": 14.0,
    "output": "softmax", "output_classes": [0, 1, 2, 3], "min_lesion_mm3": 0.0,
}  # fmt: skip
NETWORK = {"kind": "unet", "inputs": 3, "outputs": 4, "width": 4, "levels": 2}
#: Signal of nothing in the default's normalisation, ``(0 / median - 1) / 0.2``.
ZERO_SIGNAL = -5.0


def tiny(**changes) -> TrainingConfig:
    values = {
        "name": "tiny", "pipeline": PIPELINE, "network": NETWORK, "steps": 6, "batch": 2, "mix": {"tabriz": 2},
        "fold": 1, "folds": 3, "seed": 7, "validate_every": 2, "class_weights": [1.0, 1.0, 2.0, 2.0],
        "augmentation": {"rotation_deg": 15, "zoom": 0.15, "flip": True}, "altered": 0.5,
    }  # fmt: skip
    return TrainingConfig(**{**values, **changes})


# --- augmentation ---------------------------------------------------------------------------------------------------


#: More than any recipe asks for.
WIDE = augment.Geometry(rotation_deg=20, shear_deg=5, zoom=0.2, shift=0.03, flip=True)


def test_movements_are_rotation_scale_shear_and_flip_without_distortion():
    rows, columns = np.mgrid[:112, :64]
    disc = (np.hypot(rows - 55.5, columns - 31.5) <= 18).astype(np.int64) * 3
    dot = ((rows - 55.5) ** 2 + (columns - 21.5) ** 2 <= 16).astype(np.int64)
    count = 300
    labels = torch.from_numpy(np.where(dot, 1, disc))[None].repeat(count, 1, 1)
    images = torch.zeros(count, 1, 112, 64)
    _, moved = augment.geometric(images, labels, WIDE, torch.Generator().manual_seed(0))
    lefts, areas, ratios = [], [], []
    for one in moved.numpy():
        disc_pixels, dot_pixels = np.argwhere(one > 0), np.argwhere(one == 1)
        areas.append(len(disc_pixels) / (disc > 0).sum())
        axes = np.sqrt(np.linalg.eigvalsh(np.cov(disc_pixels.T)))
        ratios.append(axes[1] / axes[0])
        lefts.append(dot_pixels[:, 1].mean() < disc_pixels[:, 1].mean())
    assert 0.4 < np.mean(lefts) < 0.6  # flipped every other time
    assert 0.8**2 * 0.85 < min(areas) < 0.75
    assert 1.3 < max(areas) < 1.25**2 * 1.15
    assert max(ratios) < 1.35  # rotations stay rigid although the frame is oblong


def test_augmentation_repeats_with_its_seed():
    labels = torch.zeros(6, 32, 24, dtype=torch.int64)
    labels[:, 8:20, 2:9] = 3
    images = (labels[:, None] - 5.0).repeat(1, 3, 1, 1)

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        moved, new_labels = augment.geometric(images, labels, WIDE, generator)
        return augment.intensity(moved, (new_labels == 3)[:, None].float(), generator), new_labels

    first, again, other = run(1), run(1), run(2)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_intensities_keep_their_range_and_their_order():
    generator = torch.Generator().manual_seed(0)
    count = 64
    images = torch.full((count, 3, 32, 24), -4.0)  # fluid
    images[:, :, 8:24, 6:18] = 0.0  # brain
    images[:, :, 12:16, 10:14] = 4.0  # lesion
    masks = torch.zeros(count, 1, 32, 24)
    masks[:, :, 4:28, 4:20] = 1
    out = augment.intensity(images, masks, generator)
    assert out.shape == images.shape
    assert torch.isfinite(out).all()
    assert out.min() >= -6
    assert out.max() <= 8
    lesion, brain, fluid = (out[:, 1, r, c].mean((1, 2)) for r, c in (
        (slice(13, 15), slice(11, 13)), (slice(18, 22), slice(8, 16)), (slice(5, 7), slice(5, 19))
    ))  # fmt: skip
    assert (lesion > brain).all()
    assert (brain > fluid).all()
    corner = out[:, 1, :3, :3]
    stripped = (corner == ZERO_SIGNAL).flatten(1).all(1)
    assert 0.15 < stripped.float().mean() < 0.5  # three in ten
    same = (out[:, 0] == out[:, 2]).flatten(1).all(1)
    assert 0 < same.float().mean() < 0.3  # neighbours replicated now and then


# --- losses ---------------------------------------------------------------------------------------------------------


def test_loss_of_a_certain_right_answer_is_zero():
    target = torch.randint(0, 4, (2, 16, 12), generator=torch.Generator().manual_seed(0))
    logits = 40 * torch.nn.functional.one_hot(target, 4).permute(0, 3, 1, 2).float()
    assert dice_cross_entropy(logits, target) < 1e-5


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0, 4.0]])
def test_loss_of_ignorance_has_its_closed_form(weights):
    target = torch.randint(0, 4, (3, 10, 8), generator=torch.Generator().manual_seed(1))
    count = [int((target == c).sum()) for c in range(4)]
    total = target.numel()
    dice = np.mean([1 - (2 * count[c] / 4 + 1) / (total / 4 + count[c] + 1) for c in (1, 2, 3)])
    found = dice_cross_entropy(torch.zeros(3, 4, 10, 8), target, torch.tensor(weights) if weights else None)
    assert np.isclose(float(found), np.log(4) + dice, atol=1e-5)


def test_weights_weigh_the_cross_entropy():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(2, 4, 6, 5)), rng.integers(0, 4, (2, 6, 5))
    weights = np.array([1.0, 1.0, 2.0, 5.0])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    picked = np.take_along_axis(log_p, target[:, None], 1)[:, 0]
    cross_entropy = -(weights[target] * picked).sum() / weights[target].sum()
    p = np.exp(log_p)
    dice = np.mean([
        1 - (2 * (p[:, c] * (target == c)).sum() + 1) / (p[:, c].sum() + (target == c).sum() + 1) for c in (1, 2, 3)
    ])  # fmt: skip
    found = dice_cross_entropy(torch.tensor(logits), torch.tensor(target), torch.tensor(weights, dtype=torch.float32))
    assert np.isclose(float(found), cross_entropy + dice, atol=1e-5)


def test_a_class_that_is_absent_and_not_predicted_costs_nothing():
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    logits = torch.zeros(1, 4, 8, 8)
    logits[:, 0] = 40
    assert dice_cross_entropy(logits, target) < 1e-5
    logits.requires_grad_(True)
    dice_cross_entropy(logits, target).backward()
    assert torch.isfinite(logits.grad).all()


# --- networks and export --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3, 64, 48), (3, 3, 32, 96)])
def test_unet_keeps_the_size(shape):
    assert PlainUNet(inputs=3, outputs=4, width=4, levels=3)(torch.zeros(shape)).shape == (shape[0], 4, *shape[2:])


def test_slices_of_a_batch_do_not_mix():
    network = PlainUNet(inputs=3, outputs=4, width=4, levels=2).eval()
    batch = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, alone = network(batch), torch.cat([network(one[None]) for one in batch])
    assert torch.allclose(together, alone, atol=1e-5)


def test_onnx_equals_pytorch_at_every_batch_size(tmp_path):
    import onnxruntime

    torch.manual_seed(0)
    network = PlainUNet(inputs=3, outputs=4, width=4, levels=2)
    assert export_onnx(network, (3, 32, 48), tmp_path / "model.onnx") < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 2, 5):
        batch = torch.randn(count, 3, 32, 48, generator=torch.Generator().manual_seed(count)) * 3
        with torch.inference_mode():
            ours = network(batch)
        theirs = session.run(None, {session.get_inputs()[0].name: batch.numpy()})[0]
        assert np.allclose(ours.numpy(), theirs, atol=1e-4)


def test_an_export_that_differs_is_refused(tmp_path):
    class Restless(torch.nn.Module):
        calls = 0.0

        def forward(self, image):
            self.calls += 1.0  # traced as a constant: the file cannot follow
            return image * self.calls

    with pytest.raises(RuntimeError, match="differs from PyTorch"):
        export_onnx(Restless(), (2, 8, 8), tmp_path / "model.onnx")


def test_written_models_load_by_their_card(tmp_path):
    config = tiny()
    fields = {
        "id": "tiny-v0.1", "title": "Tiny", "version": "0.1", "licence": "CC0-1.0", "summary": "For a test.",
        "intended_use": "Tests.", "training_data": [], "results": [],
    }  # fmt: skip
    network = build_network(config)
    write_model(config, network, tmp_path / "tiny-v0.1", fields)
    card = load_card(tmp_path / "tiny-v0.1")
    assert card.pipeline == config.preprocessing
    assert card.raw["weights"]["parameters"] == sum(p.numel() for p in network.parameters())


# --- training and resuming ------------------------------------------------------------------------------------------


def checkpoint_of(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def assert_same_weights(a: dict, b: dict, keys=("network", "ema")) -> None:
    for key in keys:
        assert a[key].keys() == b[key].keys()
        for name, value in a[key].items():
            assert torch.equal(value, b[key][name]), (key, name)


def test_no_patient_is_trained_and_validated_on(data):
    seen = set()
    for fold in range(3):
        sources, validation = train.build_sources(tiny(fold=fold), data / "cache")
        trained, checked = {case.name for case in sources["tabriz"].cases}, {case.name for case in validation}
        assert trained.isdisjoint(checked)
        assert trained | checked == set(PATIENTS)
        seen |= checked
    assert seen == set(PATIENTS)


def test_batches_mix_their_sources_as_the_recipe_says(data, tmp_path):
    config = tiny(pipeline={**PIPELINE, "frame_size": [224, 192]}, mix={"tabriz": 1, "synthetic": 2},
                  synthetic={"count": 2, "seeds": [3]})  # fmt: skip
    sources, _ = train.build_sources(config, tmp_path)
    assert (tmp_path / "synthetic-3-2.npz").exists()
    drawn = []
    for name, source in sources.items():
        original = source.draw
        source.draw = lambda rng, name=name, original=original: drawn.append(name) or original(rng)
    images, labels = train.draw_batch(config, sources, np.random.default_rng(0), torch.Generator().manual_seed(0))
    assert drawn == ["tabriz", "synthetic", "synthetic"]
    assert images.shape == (3, 3, 224, 192)
    assert labels.shape == (3, 224, 192)


KILLED = """
import os, signal, sys
import torch
from pathlib import Path
from training import train
from training.config import load_config

torch.set_num_threads(1)
draw, calls = train.draw_batch, []

def draw_and_die(*arguments):
    calls.append(1)
    if len(calls) == 4:  # in the middle of step 4: steps 1 to 3 are done, 1 and 2 are saved
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(*arguments)

train.draw_batch = draw_and_die
train.train(load_config(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[2]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_run_resumes_to_the_same_weights(data, tmp_path):
    config = tiny()
    (tmp_path / "tiny.json").write_text(json.dumps(dump_config(config)))
    whole = checkpoint_of(train.train(config, tmp_path / "whole", tmp_path))
    assert whole["step"] == 6
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "tiny.json"), str(tmp_path / "killed")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "FlairSegExtension")])},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = tmp_path / "killed" / "tiny-fold1"
    assert checkpoint_of(left / "last.pt")["step"] == 2
    resumed = checkpoint_of(train.train(config, tmp_path / "killed", tmp_path))
    assert resumed["step"] == 6
    assert_same_weights(whole, resumed)
    rows = [line.split(",")[0] for line in (left / "log.csv").read_text().splitlines()]
    assert rows == ["step", "2", "4", "6"]


def test_training_repeats_with_its_seed_and_learns(data, tmp_path):
    config = tiny(steps=4, validate_every=4)
    first, again = (checkpoint_of(train.train(config, tmp_path / name, tmp_path)) for name in "ab")
    assert_same_weights(first, again)
    other = checkpoint_of(train.train(tiny(steps=4, validate_every=4, seed=8), tmp_path / "c", tmp_path))
    assert any(not torch.equal(value, other["network"][name]) for name, value in first["network"].items())
    longer = tiny(steps=60, validate_every=20, learning_rate=0.01, name="longer")
    folder = train.train(longer, tmp_path, tmp_path).parent
    losses = [float(line.split(",")[1]) for line in (folder / "log.csv").read_text().splitlines()[1:]]
    assert losses[-1] < 0.85 * losses[0]
    network = load_average(longer, folder / "last.pt")
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_another_run_starts_from_given_weights(data, tmp_path):
    first = train.train(tiny(steps=2, validate_every=2), tmp_path / "a", tmp_path)
    config = tiny(steps=1, validate_every=1, learning_rate=0.0, ema=0.0, init=str(first))
    second = checkpoint_of(train.train(config, tmp_path / "b", tmp_path))
    for name, value in checkpoint_of(first)["ema"].items():
        assert torch.equal(second["network"][name], value)


def test_a_checkpoint_is_whole_or_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save_checkpoint(path, {"step": 1})

    def full_disk(state, file):
        Path(file).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert checkpoint_of(path)["step"] == 1


@pytest.mark.parametrize("path", sorted((ROOT / "training" / "configs").glob("*.json")), ids=lambda p: p.stem)
def test_every_recipe_can_be_read_and_built(path):
    config = load_config(path, steps=3)
    assert config.steps == 3
    network = build_network(config)
    rows, columns = config.preprocessing.frame_size
    network.eval()
    with torch.inference_mode():
        out = network(torch.zeros(1, config.preprocessing.input_slices, rows, columns))
    assert out.shape == (1, config.preprocessing.output_channels, rows, columns)


# --- S1's recipe ----------------------------------------------------------------------------------------------------

S1_PIPELINE = {
    "denoise": "s1", "normalisation": "periphery", "framing": "brain-256", "frame_size": [256, 256], "input_slices": 1,
    "output": "gray", "output_classes": [0, 1, 2, 3], "class_values": [0.0, 0.25, 0.75, 1.0], "thresholds": {"3": 0.3},
}  # fmt: skip


def test_gray_levels_are_those_of_the_classes():
    config = tiny(pipeline=S1_PIPELINE).preprocessing
    gray = train_pix2pix.gray_levels(torch.tensor([[[0, 1], [2, 3]]]), config)
    assert gray.tolist() == [[[[0.0, 0.25], [0.75, 1.0]]]]


def test_generator_and_discriminator_have_s1s_shapes():
    generator = Pix2PixGenerator(width=64)
    assert [block[0].out_channels for block in generator.down] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert len(generator.up) == 7
    assert 53e6 < sum(p.numel() for p in generator.parameters()) < 56e6
    small = Pix2PixGenerator(width=2).eval()
    with torch.inference_mode():
        gray = small(torch.randn(1, 1, 256, 256))
    assert gray.shape == (1, 1, 256, 256)
    assert gray.min() >= 0
    assert gray.max() <= 1
    patches = PatchDiscriminator(width=2)(torch.zeros(1, 1, 256, 256), torch.zeros(1, 1, 256, 256))
    assert patches.shape == (1, 1, 30, 30)


def test_one_patch_sees_seventy_pixels():
    network = PatchDiscriminator(width=2)
    # Normalisation looks at the whole picture: leave it out to see what the convolutions see.
    norms = (torch.nn.InstanceNorm2d, torch.nn.BatchNorm2d)
    network.body = torch.nn.Sequential(*(layer for layer in network.body if not isinstance(layer, norms)))
    image = torch.zeros(1, 1, 256, 256, requires_grad=True)
    network(image, torch.zeros(1, 1, 256, 256))[0, 0, 15, 15].backward()
    rows = torch.nonzero(image.grad[0, 0].abs().sum(1))
    assert int(rows.max() - rows.min()) + 1 == 70


def test_s1s_recipe_resumes_to_the_same_weights(data, tmp_path, monkeypatch):
    monkeypatch.setattr(train_pix2pix, "load_tabriz", lambda folder, load=train_pix2pix.load_tabriz: load(folder)[:3])
    config = tiny(name="s1", pipeline=S1_PIPELINE, network={"kind": "pix2pix", "width": 1}, steps=5, fold=0, batch=1,
                  learning_rate=2e-4, class_weights=None)  # fmt: skip
    train_pix2pix.train(config, tmp_path / "whole")

    class AskedInStepThree(checkpoint.StopRequest):
        looks = 0

        @property
        def asked(self):
            self.looks += 1
            return self.looks > 4

        @asked.setter
        def asked(self, value):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(running, "StopRequest", AskedInStepThree)
        stopped = checkpoint_of(train_pix2pix.train(config, tmp_path / "resumed"))
    assert stopped["step"] == 3
    train_pix2pix.train(config, tmp_path / "resumed")
    whole, resumed = (checkpoint_of(tmp_path / name / "s1-fold0" / "last.pt") for name in ("whole", "resumed"))
    assert whole["step"] == resumed["step"] == 5
    assert_same_weights(whole, resumed, ("ema", "discriminator"))
    rows = [(tmp_path / name / "s1-fold0" / "log.csv").read_text().splitlines() for name in ("whole", "resumed")]
    assert [row.split(",")[0] for row in rows[0]] == [row.split(",")[0] for row in rows[1]] == ["step", "2", "4", "5"]


def test_weights_of_s1s_foreground_fade_to_a_third_of_their_excess():
    labels = torch.tensor([[[0, 1], [2, 3]]])
    config = tiny(steps=10, class_weights=[1.0, 4.0, 7.0, 13.0])
    weights = [train_pix2pix.foreground_weights(labels, config, step).flatten().tolist() for step in (0, 5, 10)]
    assert np.allclose(weights, [[1, 4, 7, 13], [1, 3, 5, 9], [1, 2, 3, 5]])
    assert train_pix2pix.foreground_weights(labels, tiny(class_weights=None), 0) == 1


def test_an_epoch_of_s1_shows_every_slice_once_and_each_in_its_own_order():
    epochs = [[train_pix2pix.slice_order(step, 9, 4) for step in range(9 * n, 9 * n + 9)] for n in range(3)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert epochs[0] != [train_pix2pix.slice_order(step, 9, 5) for step in range(9)]


# --- tables ---------------------------------------------------------------------------------------------------------


def test_summary_is_mean_and_sample_deviation_without_the_undefined():
    figures = {"a": {"x": 1.0, "y": 2.0}, "b": {"x": 3.0, "y": float("nan")}, "c": {"x": 5.0, "y": 4.0}}
    summary = summarise(figures)
    assert summary["x"] == [3.0, 2.0]
    assert np.allclose(summary["y"], [3.0, np.std([2, 4], ddof=1)])
    assert summarise({"a": {"x": 1.0}})["x"] == [1.0, 0.0]


def test_table_names_every_class_and_figure():
    names = ("ventricles", "normal_wmh", "lesion", "all_wmh")
    summary = {f"{n}_{f}": [0.5, 0.25] for n in names for f in ("dice", "precision", "recall", "hd95")}
    summary.update({f"lesion_{f}": [0.75, 0.125] for f in ("f1", "recall_by_lesion", "precision_by_lesion")})
    table = markdown(summary)
    assert table.count("0.500 ± 0.250") == 12
    assert "| Lesions |" in table
    assert "0.750 ± 0.125" in table
