"""A network that learns from another one of the same fold: the divergence, who may teach, what the weights come to."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[training]'")

from flairseg.adapt.augment import Geometry  # noqa: E402
from flairseg.adapt.banks import Bank  # noqa: E402
from flairseg.adapt.partial import UNKNOWN  # noqa: E402

from training import distillation, queue, run, train_sites  # noqa: E402
from training.checkpoint import save_checkpoint  # noqa: E402
from training.config import CONFIGS, dump_config, load_config  # noqa: E402
from training.distillation import Teacher  # noqa: E402
from training.networks import build_network  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
STUDENT = CONFIGS / "flairseg2d-distilled.json"


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """A folder of recipes with a small teacher in it, and the recipe of its student on fold 1."""
    folder = tmp_path / "configs"
    folder.mkdir()
    values = json.loads((CONFIGS / "flairseg2d-light.json").read_text())
    values |= {
        "name": "teacher",
        "network": {"kind": "light", "inputs": 1, "outputs": 4, "widths": [4, 6]},
        "init": None,
    }
    (folder / "teacher.json").write_text(json.dumps(values))
    monkeypatch.setattr(distillation, "CONFIGS", folder)
    student = load_config(STUDENT, fold=1)
    student.teacher = {"recipe": "teacher", "weight": 3.0}
    return folder, student


def write_teacher(folder, runs, fold, said):
    """Checkpoint with random weights in the place of a fold, ``said``: the fold that it was trained for."""
    config = load_config(folder / "teacher.json", fold=fold)
    network = build_network(config)
    place = run.run_folder(config, runs)
    place.mkdir(parents=True)
    stored = dump_config(dataclasses.replace(config, fold=said))
    save_checkpoint(place / "last.pt", {"ema": network.state_dict(), "config": stored})
    return network.eval()


@pytest.mark.parametrize("annotated", [False, True])
def test_the_divergence_is_nil_for_the_teacher_itself_and_else_the_mean_over_pixels(recipes, tmp_path, annotated):
    folder, student = recipes
    torch.manual_seed(0)
    network = write_teacher(folder, tmp_path, 1, 1)
    student.amp = False
    teacher, images = Teacher(student, tmp_path), torch.randn(2, 1, 32, 48)
    labels = torch.full((2, 32, 48), UNKNOWN)
    if annotated:  # the second slice alone
        labels[1] = torch.randint(0, 4, (32, 48))
    logits = network(images).detach()
    assert teacher.divergence(logits + 5, images, labels).item() == pytest.approx(0, abs=1e-5)
    ours = torch.randn(2, 4, 32, 48, requires_grad=True)
    p, q = (torch.softmax(one, 1).detach().numpy().astype(float) for one in (logits, ours))
    divergence = teacher.divergence(ours, images, labels)
    divergence.backward()
    expected, gradient = p * np.log(p / q), q - p
    if annotated:  # of background and normal WMH, the sum alone counts
        either = [one[1, 0] + one[1, 2] for one in (p, q)]
        expected[1, 0], expected[1, 2] = either[0] * np.log(either[0] / either[1]), 0
        gradient[1, [0, 2]] = q[1, [0, 2]] / either[1] * (either[1] - either[0])
    assert divergence.item() == pytest.approx(3.0 * expected.sum(1).mean(), rel=1e-4)
    np.testing.assert_allclose(ours.grad.numpy(), 3.0 * gradient / (2 * 32 * 48), atol=1e-6)
    assert all(weight.grad is None for weight in teacher.network.parameters())


def test_a_teacher_that_saw_other_patients_is_refused(recipes, tmp_path):
    folder, student = recipes
    with pytest.raises(FileNotFoundError, match="train it first"):
        Teacher(student, tmp_path)
    write_teacher(folder, tmp_path, 1, said=2)
    with pytest.raises(ValueError, match="fold 2 of 3"):
        Teacher(student, tmp_path)
    student.folds = 5
    with pytest.raises(ValueError, match="has 3 folds"):
        Teacher(student, tmp_path)


def test_each_fold_starts_from_the_run_of_the_same_fold(tmp_path):
    starts = {job.config.fold: job.config.starts_from for job in queue.plan(tmp_path, ["flairseg2d-distilled"])}
    light = "runs/flairseg2d-light"
    assert starts == {n: f"{light}-fold{n}/last.pt" for n in range(3)} | {None: f"{light}/last.pt"}
    assert load_config(CONFIGS / "flairseg2d-light.json").starts_from == "runs/flairseg2d-light-pretrain/last.pt"
    with pytest.raises(FileNotFoundError, match="flairseg2d-light-fold2"):
        run.initial_weights(load_config(STUDENT, fold=2), tmp_path)


def test_where_readers_said_nothing_a_run_comes_nearer_to_its_teacher(recipes, tmp_path, monkeypatch):
    folder, student = recipes
    torch.manual_seed(1)
    network = write_teacher(folder, tmp_path, 1, 1)
    pixels = np.random.default_rng(0).integers(60, 200, (6, 64, 48)).astype(np.uint8)
    unread = Bank(pixels, np.full_like(pixels, UNKNOWN), np.ones(pixels.shape, bool), np.array(["x"] * 6))
    monkeypatch.setattr(train_sites, "load_banks", lambda *unused: {"tabriz": unread})
    monkeypatch.setattr(train_sites, "validation_cases", lambda config: [])
    small = {"kind": "light", "inputs": 1, "outputs": 4, "widths": [4, 6]}
    changes = {"network": small, "init": None, "amp": False, "self_training": {}, "crop": [32, 32], "ema": 0.0}
    images = torch.from_numpy(train_sites.draw_crops([unread] * 4, (32, 32), *augmentation(student))[0].numpy())

    def distance(steps):
        config = dataclasses.replace(student, **changes, mix={"tabriz": 2}, steps=steps, learning_rate=5e-3)
        config.name, config.validate_every = f"student-{steps}", steps
        trained = build_network(config)
        path = train_sites.train(config, tmp_path, tmp_path)
        trained.load_state_dict(torch.load(path, weights_only=True)["ema"])
        ours, theirs = (torch.log_softmax(one.eval()(images), 1).detach() for one in (trained, network))
        return torch.nn.functional.kl_div(ours, theirs, log_target=True, reduction="batchmean").item()

    assert distance(40) < 0.5 * distance(1)


def augmentation(config):
    """Arguments of ``draw_crops`` after the size of a crop: without any change."""
    return Geometry(**config.augmentation), 0.0, np.random.default_rng(0), torch.Generator().manual_seed(0)
