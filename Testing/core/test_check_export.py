"""What half precision costs, measured through the shipped pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from Testing.core.tiny import make_head

torch = pytest.importorskip("torch", reason="PyTorch is not installed: flairseg[training]")
from training import check_export  # noqa: E402
from training.check_export import Check, check  # noqa: E402
from training.config import load_config  # noqa: E402
from training.networks import build_network  # noqa: E402


@pytest.fixture
def recipe(tmp_path):
    """A small recipe and a checkpoint of it, untrained."""
    values = json.loads((Path(check_export.__file__).with_name("configs") / "s3-unet.json").read_text())
    values["network"] = {**values["network"], "width": 8, "levels": 2}
    values["pipeline"] = {**values["pipeline"], "frame_size": [64, 64]}
    path = tmp_path / "s3-unet.json"
    path.write_text(json.dumps(values))
    torch.manual_seed(0)
    torch.save({"ema": build_network(load_config(path)).state_dict()}, tmp_path / "last.pt")
    return path, tmp_path / "last.pt"


def test_both_exports_are_pytorchs_and_half_is_smaller(recipe):
    path, checkpoint = recipe
    head, truth = make_head((8, 44, 38), (5, 5, 16))
    found = check(load_config(path), checkpoint, [(head, truth)])
    assert found.classes == (3,)
    assert max(found.differences) < 1e-4
    assert found.megabytes[1] < found.megabytes[0]
    assert found.dice.shape == (2, 1, 3)
    assert 0 <= found.voxels < 0.05 * truth.size


def test_what_moves_too_far_is_not_embedded():
    dice = np.full((2, 3, 3), 0.7)
    dice[1, :, 1] -= 0.02
    dice[1, :, 2] -= 0.0049
    lesions = Check((0, 0), (2, 1), dice, (3,), 5)
    assert lesions.fit_to_embed
    assert lesions.change[3] == pytest.approx(-0.0049)
    assert not Check((0, 0), (2, 1), dice, (1, 2, 3), 5).fit_to_embed


def test_the_command_ends_with_an_error_where_dice_moves(monkeypatch, recipe, capsys):
    path, checkpoint = recipe
    dice = np.full((2, 1, 3), 0.7)
    monkeypatch.setattr(check_export, "check", lambda *_: Check((1e-6, 2e-6), (2.0, 1.0), dice, (1, 3), 0))
    monkeypatch.setattr("sys.argv", ["check", "--config", str(path), "--checkpoint", str(checkpoint), "--seeds", "0"])
    check_export.main()
    assert "half: 1.00 MB" in capsys.readouterr().out
    dice[1, 0, 2] = 0.6
    with pytest.raises(SystemExit, match="keep single precision"):
        check_export.main()
