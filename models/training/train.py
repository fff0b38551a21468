"""Train a four-class model: ``python -m models.training.train --config models/training/configs/....json``.

Resumable (kill it at any moment and start it again with the same arguments), seeded, logged to CSV.
"""

from __future__ import annotations

import argparse
import copy
import csv
import logging
import os
import time
from pathlib import Path

import numpy as np
import torch

from . import augment
from .config import TrainingConfig, dump_config, load_config
from .data import data_folder, folds, frame_case, load_tabriz, load_verdicts
from .losses import dice_cross_entropy
from .metrics import class_dice
from .networks import Pix2PixGenerator, UNet25D
from .sources import ArraySource, PoolSource, PseudoSource
from .synthetic import make_pool

log = logging.getLogger("flairseg.training")


def build_network(config: TrainingConfig) -> torch.nn.Module:
    """Network of a recipe."""
    arguments = {key: value for key, value in config.network.items() if key != "kind"}
    kinds = {"unet25d": UNet25D, "pix2pix": Pix2PixGenerator}
    return kinds[config.network["kind"]](**arguments)


def build_sources(config: TrainingConfig, cache: Path) -> tuple[dict[str, ArraySource | PoolSource], list]:
    """Training sources named in ``config.mix`` and the framed validation cases of the fold."""
    sources: dict[str, ArraySource | PoolSource] = {}
    validation: list = []
    wanted = {name for name, share in config.mix.items() if share > 0}
    if "tabriz" in wanted or config.fold is not None:
        cases = load_tabriz(data_folder())
        left_out = folds([case.name for case in cases], config.folds)[config.fold] if config.fold is not None else []
        framed = [frame_case(case, config.preprocessing) for case in cases]
        validation = [case for case in framed if case.name in left_out]
        sources["tabriz"] = ArraySource([case for case in framed if case.name not in left_out])
    if "verdicts" in wanted:
        accepted = load_verdicts(data_folder() / "cases")
        sources["verdicts"] = ArraySource([frame_case(case, config.preprocessing) for case in accepted])
    if "synthetic" in wanted:
        sources["synthetic"] = PoolSource(
            [_pool(cache, config.synthetic["count"], s) for s in config.synthetic["seeds"]]
        )
    if "pseudo" in wanted:
        sources["pseudo"] = PseudoSource(Path(config.pseudo))
    return {name: source for name, source in sources.items() if name in wanted}, validation


def _pool(cache: Path, count: int, seed: int) -> Path:
    """The stored pool of synthetic slices of a seed, drawn if it is not there yet."""
    path = cache / f"synthetic-{seed}-{count}.npz"
    if not path.exists():
        log.info("drawing %d synthetic slices", count)
        make_pool(data_folder(), path, count, seed)
    return path


def draw_batch(
    config: TrainingConfig, sources: dict, rng: np.random.Generator, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """An augmented batch: images (N, channels, H, W) and labels (N, H, W)."""
    samples = [sources[name].draw(rng) for name, share in config.mix.items() for _ in range(share)]
    images, labels, masks = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    images, labels, masks = augment.spatial(images, labels.long(), masks[:, None].float(), generator)
    return augment.intensity(images, masks, generator), labels


@torch.inference_mode()
def validate(network: torch.nn.Module, cases: list) -> list[float]:
    """Mean per-patient Dice of ventricles, normal WMH and lesions in the frame (no clean-up, no flips)."""
    network.eval()
    scores = []
    for case in cases:
        predicted = []
        for batch in case.prepared.batches(8):
            with torch.autocast("cpu", torch.bfloat16):
                predicted.append(network(torch.from_numpy(batch)).float().argmax(1).numpy())
        predicted = np.concatenate(predicted)
        scores.append(class_dice(predicted, case.labels))
    network.train()
    return np.mean(scores, axis=0).round(4).tolist() if scores else []


def save_checkpoint(path: Path, state: dict) -> None:
    """Write a checkpoint whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def train(config: TrainingConfig, output: Path, cache: Path) -> Path:
    """Train, or go on training, and return the path of the last checkpoint."""
    folder = output / (config.name if config.fold is None else f"{config.name}-fold{config.fold}")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, curve = folder / "last.pt", folder / "log.csv"
    torch.manual_seed(config.seed)
    network = build_network(config).to(memory_format=torch.channels_last)
    if config.init:
        network.load_state_dict(torch.load(config.init, weights_only=True)["ema"])
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    step = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"])
        rng.bit_generator.state = state["rng"]
        step = state["step"]
        log.info("resumed at step %d", step)
    sources, validation = build_sources(config, cache)
    weights = torch.tensor(config.class_weights) if config.class_weights else None
    network.train()
    losses, began = [], time.time()
    while step < config.steps:
        rate = config.learning_rate * (1 - step / config.steps) ** 0.9 * min(1.0, (step + 1) / 50)
        for group in optimiser.param_groups:
            group["lr"] = rate
        images, labels = draw_batch(config, sources, rng, generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = dice_cross_entropy(logits, labels, weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        step += 1
        decay = min(config.ema, step / (step + 20))
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
                mine.lerp_(theirs, 1 - decay)
        losses.append(loss.item())
        if step % config.validate_every == 0 or step == config.steps:
            average.load_state_dict({**network.state_dict(), **dict(average.named_parameters())})
            row = [
                step,
                round(float(np.mean(losses)), 4),
                round(time.time() - began, 1),
                *validate(average, validation),
            ]
            log.info("step %d loss %.4f %s s, Dice %s", *row[:3], row[3:])
            with curve.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(row)
            losses = []
            save_checkpoint(
                checkpoint,
                {
                    "network": network.state_dict(),
                    "ema": average.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "generator": generator.get_state(),
                    "rng": rng.bit_generator.state,
                    "step": step,
                    "config": dump_config(config),
                },
            )
    return checkpoint


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--fold", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--init")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config = load_config(arguments.config, fold=arguments.fold, steps=arguments.steps, init=arguments.init)
    train(config, arguments.output, arguments.cache)


if __name__ == "__main__":
    main()
