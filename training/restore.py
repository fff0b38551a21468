"""Checkpoint of a published model: ``python -m training.restore --config CONFIG --model models/ID --runs runs``.

Training goes on from a model whose checkpoints are lost: its weights become the run on all patients of a recipe
(``<runs>/<recipe>/last.pt``), which other recipes start from, average or learn from. Of a recipe whose network is a
member of the published mean, ``--member`` is its number. Weights were published in half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from flairseg.adapt.weights import read_weights

from .checkpoint import mark_finished, save_checkpoint
from .config import TrainingConfig, dump_config, load_config
from .networks import build_network
from .run import run_folder


def restore(config: TrainingConfig, model: Path, runs: Path, member: int | None = None) -> Path:
    """Write the checkpoint and return its path.

    Parameters
    ----------
    config : TrainingConfig
        Without a fold.
    model : Path
        ONNX file.
    runs : Path
        Folder of the runs.
    member : int, optional
        Number of a member of a mean of networks.

    Raises
    ------
    FileExistsError
        If there is a run already.
    ValueError
        If the weights are not those of the recipe's network.
    """
    folder = run_folder(config, runs)
    if folder.exists():
        raise FileExistsError(f"{folder} exists: move it away, or choose another folder with --runs")
    prefix = "" if member is None else f"members.{member}."
    weights = {
        name.removeprefix(prefix): torch.from_numpy(array)
        for name, array in read_weights(model).items()
        if name.startswith(prefix)
    }
    network = build_network(config)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{model} does not hold the network of {config.name}: {error}") from error
    folder.mkdir(parents=True)
    save_checkpoint(folder / "last.pt", {"ema": network.state_dict(), "config": dump_config(config)})
    mark_finished(folder, steps=config.steps, batch=config.batch, minutes=None, restored_from=model.parent.name)
    return folder / "last.pt"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--member", type=int, help="number of the network in a mean of networks, from 0")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    model = arguments.model / "model.onnx"
    print(restore(load_config(arguments.config), model, arguments.runs, arguments.member))


if __name__ == "__main__":
    main()
