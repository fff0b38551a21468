"""Train a network on slices: ``python -m training.train --config training/configs/....json``.

Seeded, logged to CSV, and resumable: stopped or killed at any time, it continues when started again with the same
arguments.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from flairseg.adapt import augment
from flairseg.adapt.framed import frame_case

from .config import TrainingConfig
from .data import data_folder, load_tabriz, load_verdicts, split_fold
from .losses import LOSSES, channel_targets, deeply_supervised
from .run import NetworkRun, command_line, resumed, run_command, train_to_end
from .sources import ArraySource, PoolSource, PseudoSource
from .synthetic import stored_pool

log = logging.getLogger("flairseg.training")


def build_sources(
    config: TrainingConfig, cache: Path
) -> tuple[dict[str, ArraySource | PoolSource | PseudoSource], list]:
    """Training sources named in ``config.mix``, and the framed validation cases of the fold."""
    sources: dict[str, ArraySource | PoolSource | PseudoSource] = {}
    validation: list = []
    wanted = {name for name, share in config.mix.items() if share > 0}
    if "tabriz" in wanted or config.fold is not None:
        framed = [frame_case(case, config.preprocessing) for case in load_tabriz(data_folder())]
        trained, validation = split_fold(framed, config.fold, config.folds)
        sources["tabriz"] = ArraySource(trained, config.slices, config.window)
    if "verdicts" in wanted:
        accepted = load_verdicts(data_folder() / "cases")
        framed = [frame_case(case, config.preprocessing) for case in accepted]
        sources["verdicts"] = ArraySource(framed, config.slices, config.window)
    if "synthetic" in wanted:
        count, seeds = config.synthetic["count"], config.synthetic["seeds"]
        pools = [stored_pool(cache / f"synthetic-{seed}-{count}.npz", count, seed) for seed in seeds]
        sources["synthetic"] = PoolSource(pools, config.pipeline["normalisation"], config.pipeline["input_slices"])
    if "pseudo" in wanted:
        sources["pseudo"] = PseudoSource(Path(config.pseudo))
    return {name: source for name, source in sources.items() if name in wanted}, validation


def draw_batch(
    config: TrainingConfig, sources: dict, rng: np.random.Generator, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw an augmented batch.

    Returns
    -------
    images : Tensor of float32, shape (N, channels, H, W)
    labels : Tensor of int64, shape (N, H, W)
    """
    samples = [sources[name].draw(rng) for name, share in config.mix.items() for _ in range(share)]
    images, labels, masks = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    geometry, layers = augment.Geometry(**config.augmentation), torch.cat([images, masks[:, None].float()], 1)
    layers, labels = augment.geometric(layers, labels.long(), geometry, generator)
    images, masks = layers[:, :-1], layers[:, -1:]
    if config.altered:
        changed = augment.intensity(images, masks, generator)
        chosen = torch.rand(len(images), generator=generator) < config.altered
        images = torch.where(chosen[:, None, None, None], changed, images)
    return augment.crop(images, labels, tuple(config.crop), generator) if config.crop else (images, labels)


def train(config: TrainingConfig, output: Path, cache: Path) -> Path:
    """Train, or resume training, and return the path of the last checkpoint.

    Parameters
    ----------
    config : TrainingConfig
    output : Path
        Folder of the runs.
    cache : Path
        Folder of stored synthetic slices.
    """
    torch.manual_seed(config.seed)
    sources, validation = build_sources(config, cache)
    slices = len(sources["tabriz"].index) if "tabriz" in sources else config.steps * config.batch
    run = NetworkRun(config, output, slices)
    folder = resumed(run, output)
    weights = torch.tensor(config.class_weights) if config.class_weights else None
    pipeline, loss_of = config.preprocessing, LOSSES[config.loss]

    def step() -> None:
        images, labels = draw_batch(config, sources, run.rng, run.random)
        target = channel_targets(labels, pipeline.output, pipeline.output_classes)
        run.learn(
            images,
            lambda logits: (
                deeply_supervised(loss_of, logits, target, weights)
                if isinstance(logits, list)
                else loss_of(logits, target, weights)
            ),
        )

    run.network.train()
    return train_to_end(run, folder, step, validation)


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--published", action="store_true", help="the published width and schedule (needs a GPU)")
    parser.add_argument("--cache", type=Path, help="folder of stored synthetic slices (default: OUTPUT/cache)")
    parser.add_argument("--init", help="checkpoint to start from, instead of the recipe's")
    run_command(parser, train)


if __name__ == "__main__":
    main()
