"""Train on several sites at once, each with the classes that it knows: ``python -m training.train_sites``.

As :mod:`training.train` (resumable, seeded, logged to CSV), for recipes with ``"loss": "partial"``: banks of
slices of every set named in ``mix``, crops of them, the marginal loss, and self-training from a step on, with the
labels that the run's own averaged weights give the scans without labels. No other run's weights take part in a fold,
so that nothing of the patients who were left out gets in by its teachers.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flairseg.adapt.augment import Geometry
from flairseg.adapt.banks import Bank, bank_of, draw_crops
from flairseg.adapt.framed import FramedCase, frame_case
from flairseg.adapt.partial import UNKNOWN, partial_loss
from flairseg.models.card import PipelineConfig

from .checkpoint import FINISHED, STOPPED, Curve, StopRequest, mark_finished, save_checkpoint
from .config import TrainingConfig, dump_config, load_config
from .data import data_folder, folds, load_tabriz
from .optimisers import Schedule, build_optimiser
from .pools import pool_bank
from .pseudo import ensemble
from .sites import left_out, load_site, slices_of, unlabelled
from .synthetic import make_pool
from .synthetic_wide import WideFlair
from .train import COLUMNS, build_network, half_convolutions, initial_weights, run_folder
from .validation import FIGURES, validate

log = logging.getLogger("flairseg.training")
SYNTHETIC, OWN_LABELS = "synthetic", "self"


def load_banks(config: TrainingConfig, cache: Path) -> dict[str, Bank]:
    """Banks of the sets that a recipe's ``mix`` names and that are there, without what the fold leaves out."""
    banks = {}
    for name in {**config.mix, **config.self_training.get("mix", {})}:
        if name == SYNTHETIC:
            banks[name] = pool_bank([_pool(cache, config.synthetic["count"], s) for s in config.synthetic["seeds"]])
        elif name != OWN_LABELS:
            bank = load_site(name, data_folder(), config.preprocessing, cache)
            if bank is not None:
                away = left_out(bank, config.fold, config.folds)
                log.info("%s: %d slices, left out: %s", name, len(bank.images), ", ".join(away) or "nobody")
                banks[name] = bank.without(away)
    return banks


def _pool(cache: Path, count: int, seed: int) -> Path:
    path = cache / f"synthetic-wide-{seed}-{count}.npz"
    if not path.exists():
        log.info("drawing %d synthetic slices", count)
        make_pool(data_folder(), path, count, seed, WideFlair, neighbours=False)
    return path


def batch_of(mix: dict[str, int], banks: dict[str, Bank]) -> list[Bank]:
    """The bank of each slice of a batch; the share of a set that is not there goes to the first one that is."""
    names = [name if name in banks else next(iter(banks)) for name, share in mix.items() for _ in range(share)]
    return [banks[name] for name in names]


def own_labels(network: torch.nn.Module, cases: list[FramedCase], config: PipelineConfig, confidence: float) -> Bank:
    """Slices of unlabelled scans with a network's labels; pixels below ``confidence`` are unknown."""
    training = network.training
    network.eval()
    parts = []
    for case in cases:
        probabilities = ensemble([network], case.prepared, config)
        sure = probabilities.max(1) >= confidence
        parts.append(slices_of(case, np.where(sure, probabilities.argmax(1), UNKNOWN).astype(np.uint8)))
    network.train(training)
    return bank_of(parts)


@dataclass
class Run:
    """A run's state: what a checkpoint holds."""

    config: TrainingConfig
    network: torch.nn.Module
    average: torch.nn.Module
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, config: TrainingConfig, output: Path) -> Run:
        """A new run, from the recipe's initial weights if it names some."""
        torch.manual_seed(config.seed)
        network = build_network(config).to(memory_format=torch.channels_last)
        if config.init:
            network.load_state_dict(torch.load(initial_weights(config, output), weights_only=True)["ema"])
        generator, rng = torch.Generator().manual_seed(config.seed), np.random.default_rng(config.seed)
        return cls(config, network, copy.deepcopy(network), build_optimiser(config, network), rng, generator)

    def save(self, path: Path) -> None:
        """Write a checkpoint whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "ema": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "rng": self.rng.bit_generator.state,
            "step": self.step,
            "losses": self.losses,
            "seconds": self.seconds,
            "config": dump_config(self.config),
        }
        save_checkpoint(path, state)

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint was written."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.rng.bit_generator.state = state["rng"]
        self.step, self.losses, self.seconds = state["step"], state["losses"], state["seconds"]
        log.info("resumed at step %d", self.step)

    def learn(self, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, half: bool) -> None:
        """One step of the optimiser and of the running average."""
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = partial_loss(logits, labels, weights)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.get("clip_norm", 5.0))
        self.optimiser.step()
        self.step += 1
        decay = min(self.config.ema, self.step / (self.step + 20))
        with torch.no_grad():
            mine = [one.detach() for one in self.average.parameters()]
            torch._foreach_lerp_(mine, [one.detach() for one in self.network.parameters()], 1 - decay)
        self.losses.append(loss.item())


def train(config: TrainingConfig, output: Path, cache: Path) -> Path:
    """Train, or go on training, and return the path of the last checkpoint; stops after the current step on SIGTERM."""
    if config.loss != "partial":
        raise ValueError(f"{config.name} has the loss {config.loss!r}: training.train is for it")
    folder = run_folder(config, output)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "last.pt"
    run = Run.start(config, output)
    if checkpoint.exists():
        run.resume(checkpoint)
    banks, judged_on = load_banks(config, cache), validation_cases(config)
    schedule, curve = Schedule(config, 1), Curve(folder / "log.csv", COLUMNS, run.step)
    half, pipeline, mix = half_convolutions(config), config.preprocessing, config.mix
    geometry, size = Geometry(**config.augmentation), tuple(config.crop)
    alone_from = config.steps * config.self_training["at"] if config.self_training else float("inf")
    began = time.time() - run.seconds
    run.network.train()
    with StopRequest() as stop:
        while run.step < config.steps and not stop.asked:
            if run.step >= alone_from and OWN_LABELS not in banks:
                banks[OWN_LABELS] = stored_labels(run, folder / "self.npz")
                mix = config.self_training["mix"]
            rate = schedule.rate(run.step)
            for group in run.optimiser.param_groups:
                group["lr"] = rate
            batch = draw_crops(batch_of(mix, banks), size, geometry, config.altered, run.rng, run.generator)
            run.learn(*batch, half)
            run.seconds = time.time() - began
            judge = run.step % config.validate_every == 0 or run.step == config.steps
            if judge:
                figures = validate(run.average, judged_on, pipeline, half) or [float("nan")] * len(FIGURES)
                row = [run.step, round(float(np.mean(run.losses)), 5), round(run.seconds, 1), *figures]
                log.info("step %d loss %.4f %s s, %s", *row[:3], dict(zip(FIGURES, figures, strict=True)))
                curve.append([*row, f"{rate:.3g}", run.step * config.batch])
                run.losses = []
            if judge or run.step % config.checkpoint_every == 0 or stop.asked:
                run.save(checkpoint)
    if run.step >= config.steps:
        mark_finished(folder, steps=run.step, batch=config.batch, minutes=round(run.seconds / 60, 1))
    return checkpoint


def stored_labels(run: Run, path: Path) -> Bank:
    """The run's own labels of the scans without any, made once and kept beside its checkpoint."""
    if not path.exists():
        config = run.config
        cases = unlabelled(data_folder(), config.preprocessing)
        bank = own_labels(run.average, cases, config.preprocessing, config.self_training["confidence"])
        part = path.with_suffix(".part.npz")
        np.savez(part, images=bank.images, labels=bank.labels, masks=bank.masks, subjects=bank.subjects)
        os.replace(part, path)
        log.info("labelled %d slices by itself at step %d", len(bank.images), run.step)
    with np.load(path) as stored:
        return Bank(stored["images"], stored["labels"], stored["masks"], stored["subjects"])


def validation_cases(config: TrainingConfig) -> list[FramedCase]:
    """Framed Tabriz patients that the fold leaves out; none without a fold."""
    if config.fold is None or "tabriz" not in config.mix:
        return []
    cases = load_tabriz(data_folder())
    names = folds([case.name for case in cases], config.folds)[config.fold]
    return [frame_case(case, config.preprocessing) for case in cases if case.name in names]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--cache", type=Path, help="where slices are kept (default: OUTPUT/cache)")
    parser.add_argument("--fold", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--init")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    config = load_config(arguments.config, fold=arguments.fold, steps=arguments.steps, init=arguments.init)
    train(config, arguments.output, arguments.cache or arguments.output / "cache")
    if not (run_folder(config, arguments.output) / FINISHED).exists():
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
