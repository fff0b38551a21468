"""Average the networks of several recipes into one: ``python -m training.average --config CONFIG --runs runs``.

For recipes with ``kind`` "mean": the runs of its ``recipes`` of one fold are combined in a checkpoint
(``<runs>/<name>/last.pt``) with the mean of their probabilities. It is evaluated, calibrated and published like others.
Only networks of the same fold are averaged, so that its held-out patients remain held out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from .checkpoint import FINISHED, mark_finished, save_checkpoint
from .config import CONFIGS, TrainingConfig, dump_config, load_config
from .networks import build_network
from .run import run_folder

#: Pipeline fields for stages after the network, in which the members may differ from the average.
DECODING = (
    "thresholds",
    "flip_average",
    "min_lesion_mm3",
    "min_lesion_probability",
    "lesion_probability_ratio",
    "crop_margin_px",
)


def member_recipes(config: TrainingConfig) -> list[TrainingConfig]:
    """Recipes of the networks that are averaged, of the same fold.

    Raises
    ------
    ValueError
        If a recipe differs in preprocessing, output or number of folds.
    """
    members = [replace(load_config(CONFIGS / f"{name}.json"), fold=config.fold) for name in config.network["recipes"]]
    for member in members:
        for key in (config.pipeline.keys() | member.pipeline.keys()) - set(DECODING):
            if config.pipeline.get(key) != member.pipeline.get(key):
                raise ValueError(f"{member.name} cannot be averaged in {config.name}: its {key} differs")
        if member.folds != config.folds:
            raise ValueError(f"{member.name} cannot be averaged in {config.name}: it has {member.folds} folds")
    return members


def average(config: TrainingConfig, runs: Path) -> Path:
    """Write the checkpoint of a recipe of ``kind`` "mean" and return its path.

    Parameters
    ----------
    config : TrainingConfig
    runs : Path
        Folder of the runs.

    Raises
    ------
    FileNotFoundError
        If a member's run is not complete.
    ValueError
        If a member's checkpoint is of another fold, or its recipe cannot be averaged with the others.
    """
    network, spent = build_network(config), []
    weights: dict[str, torch.Tensor] = {}
    for number, member in enumerate(member_recipes(config)):
        source = run_folder(member, runs)
        if not (source / FINISHED).exists():
            raise FileNotFoundError(f"{source} is not a complete run: train {member.name} first")
        state = torch.load(source / "last.pt", weights_only=True)
        trained = state["config"]
        if (trained["fold"], trained["folds"]) != (config.fold, config.folds):
            raise ValueError(f"{source} is fold {trained['fold']} of {trained['folds']}, not {config.fold}")
        weights |= {f"members.{number}.{name}": value for name, value in state["ema"].items()}
        spent.append(json.loads((source / FINISHED).read_text(encoding="utf-8")))
    network.load_state_dict(weights)
    folder = run_folder(config, runs)
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "last.pt", {"ema": network.state_dict(), "config": dump_config(config)})
    batches = {one["batch"] for one in spent}
    steps, times = sum(one["steps"] for one in spent), [one["minutes"] for one in spent]
    # Nobody knows the time of a run that was restored from a published model.
    minutes = None if None in times else round(sum(times), 1)
    mark_finished(folder, steps=steps, batch=batches.pop() if len(batches) == 1 else sorted(batches), minutes=minutes)
    return folder / "last.pt"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    for fold in (*range(config.folds), None):
        print(average(replace(config, fold=fold), arguments.runs))


if __name__ == "__main__":
    main()
