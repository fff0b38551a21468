"""A published model becomes a run again, from which training goes on."""

from __future__ import annotations

import dataclasses
import json

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[training]'")

from training.average import average  # noqa: E402
from training.config import CONFIGS, load_config  # noqa: E402
from training.export import load_average, write_model  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.restore import restore  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
CARD = {
    "id": "tiny-v0.1", "title": "Tiny", "version": "0.1", "licence": "CC0-1.0", "summary": "For a test.",
    "intended_use": "Tests.", "training_data": [], "results": [],
}  # fmt: skip


def small(name: str, width: int = 4, **changes):
    network = {"kind": "light", "inputs": 1, "outputs": 4, "widths": [width, 6]}
    return dataclasses.replace(load_config(CONFIGS / f"{name}.json"), network=network, **changes)


@pytest.fixture
def published(tmp_path):
    """Recipe, network and ONNX file of a published model; weights as in half precision."""
    config = small("flairseg2d-light")
    torch.manual_seed(0)
    network = build_network(config)
    # Random biases too: the exporter stores equal tensors, such as untrained biases, once.
    network.load_state_dict({k: (0.1 * torch.randn(v.shape)).half().float() for k, v in network.state_dict().items()})
    write_model(config, network, tmp_path / "tiny-v0.1", CARD)
    return config, network, tmp_path / "tiny-v0.1" / "model.onnx"


def test_the_run_has_the_weights_of_the_model(published, tmp_path):
    config, network, model = published
    path = restore(config, model, tmp_path / "runs")
    assert path == tmp_path / "runs" / "flairseg2d-light" / "last.pt"
    for name, value in load_average(config, path).state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    finished = json.loads((path.parent / "finished.json").read_text())
    assert finished["restored_from"] == "tiny-v0.1"
    assert finished["minutes"] is None


def test_a_member_of_a_mean_is_restored_and_averaged_again(published, tmp_path, monkeypatch):
    config, network, _ = published
    other = small("flairseg2d-full", width=8)
    recipes = {"flairseg2d-light.json": config, "flairseg2d-full.json": other}
    monkeypatch.setattr("training.average.load_config", lambda path: recipes[path.name])
    monkeypatch.setattr("training.networks.load_config", lambda path, **_: recipes[path.name], raising=False)
    mean = load_config(CONFIGS / "flairseg2d-teacher.json")
    both = torch.nn.Module()
    both.members = torch.nn.ModuleList([network, build_network(other)])
    monkeypatch.setattr(
        "training.restore.read_weights", lambda path: {k: v.numpy() for k, v in both.state_dict().items()}
    )
    for number, one in enumerate((config, other)):
        restore(one, tmp_path / "mean-v0.1" / "model.onnx", tmp_path / "runs", number)
    path = average(mean, tmp_path / "runs")
    weights = torch.load(path, weights_only=True)["ema"]
    assert all(torch.equal(weights[name], value) for name, value in both.state_dict().items())
    assert json.loads((path.parent / "finished.json").read_text())["minutes"] is None


def test_another_network_and_a_run_that_is_there_are_refused(published, tmp_path):
    config, _, model = published
    with pytest.raises(ValueError, match="does not hold the network of flairseg2d-light"):
        restore(small("flairseg2d-light", width=5), model, tmp_path / "runs")
    assert not (tmp_path / "runs" / "flairseg2d-light").exists()
    restore(config, model, tmp_path / "runs")
    with pytest.raises(FileExistsError, match="move it away"):
        restore(config, model, tmp_path / "runs")
