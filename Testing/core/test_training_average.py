"""Several networks in one: a mean of probabilities, made of runs of the same fold alone."""

import json

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from flairseg.adapt.networks import LightUNet, PlainUNet  # noqa: E402

from training import average as averaging  # noqa: E402
from training import calibrate, export  # noqa: E402
from training.checkpoint import mark_finished, save_checkpoint  # noqa: E402
from training.config import CONFIGS, dump_config, load_config  # noqa: E402
from training.networks import MeanNetwork, build_network  # noqa: E402
from training.run import run_folder  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(name, fold=0):
    config = load_config(CONFIGS / f"{name}.json")
    config.fold = fold
    return config


def write_run(runs, name, fold, finished=True, said=None):
    """A member's run with random weights; ``said``: the fold that its checkpoint holds."""
    config = recipe(name, fold)
    network, folder = build_network(config), run_folder(config, runs)
    folder.mkdir(parents=True)
    config.fold = fold if said is None else said
    save_checkpoint(folder / "last.pt", {"ema": network.state_dict(), "config": dump_config(config)})
    if finished:
        mark_finished(folder, steps=config.steps, batch=config.batch, minutes=1.5)
    return network


def test_a_mean_of_networks_has_the_mean_of_their_probabilities_in_onnx_as_well(tmp_path):
    torch.manual_seed(0)
    members = [LightUNet(1, 4, (8, 8)).eval(), PlainUNet(1, 4, 4, 2).eval()]
    mean, image = MeanNetwork(members), torch.randn(2, 1, 32, 48)
    with torch.inference_mode():
        expected = sum(torch.softmax(member(image), 1) for member in members) / 2
        assert torch.allclose(torch.softmax(mean(image), 1), expected, atol=1e-6)
        assert torch.allclose(mean(image).exp().sum(1), torch.ones(2, 32, 48), atol=1e-5)
    path = tmp_path / "mean.onnx"
    export.round_to_half(mean)
    assert export.export_onnx(mean, (1, 32, 48), path, half=True, output="softmax") < 1e-4
    answer = onnxruntime.InferenceSession(str(path)).run(None, {"image": image.numpy()})[0]
    np.testing.assert_allclose(np.exp(answer), expected.numpy(), atol=1e-2)
    with pytest.raises(ValueError, match="--untempered"):
        calibrate.temper(mean, 2.0)
    assert calibrate.temper(mean, 1.0) is mean


def test_runs_of_a_fold_become_one_checkpoint(tmp_path):
    members = [write_run(tmp_path, name, 0) for name in ("flairseg2d-light", "flairseg2d-full")]
    config = recipe("flairseg2d-teacher")
    path = averaging.average(config, tmp_path)
    assert path == tmp_path / "flairseg2d-teacher-fold0" / "last.pt"
    network, image = export.load_average(config, path).eval(), torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        expected = sum(torch.softmax(member.eval()(image), 1) for member in members) / 2
        assert torch.allclose(torch.softmax(network(image), 1), expected, atol=1e-5)
    spent = json.loads((path.parent / "finished.json").read_text())
    assert (spent["steps"], spent["batch"], spent["minutes"]) == (18000, 8, 3.0)
    assert torch.load(path, weights_only=True)["config"]["fold"] == 0


def test_a_run_that_is_not_complete_or_of_another_fold_is_not_averaged(tmp_path):
    config = recipe("flairseg2d-teacher")
    write_run(tmp_path, "flairseg2d-light", 0)
    with pytest.raises(FileNotFoundError, match="train flairseg2d-full first"):
        averaging.average(config, tmp_path)
    write_run(tmp_path, "flairseg2d-full", 0, said=1)
    with pytest.raises(ValueError, match="fold 1 of 3"):
        averaging.average(config, tmp_path)
    assert not (tmp_path / "flairseg2d-teacher-fold0").exists()


@pytest.mark.parametrize(("key", "value"), [("frame_spacing_mm", 1.0), ("normalisation", "robust-z"), ("slab_mm", 5.0)])
def test_recipes_that_see_other_images_are_not_averaged(key, value):
    config = recipe("flairseg2d-teacher")
    config.pipeline = {**config.pipeline, key: value}
    with pytest.raises(ValueError, match=f"its {key} differs"):
        averaging.member_recipes(config)
    config = recipe("flairseg2d-teacher")
    config.folds = 5
    with pytest.raises(ValueError, match="3 folds"):
        averaging.member_recipes(config)
