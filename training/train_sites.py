"""Train on several sites, each with its annotated classes: ``python -m training.train_sites``.

As :mod:`training.train` (seeded, resumable, logged to CSV), for recipes with ``"loss": "partial"``: random crops of
slices from the sets in ``mix``, marginal loss over unannotated classes, and self-training on scans without annotations,
with labels by the run's own averaged weights or by its teacher (:mod:`.distillation`). Weights of other folds are not
used, since these were trained on held-out patients of the fold.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from flairseg.adapt.augment import Geometry
from flairseg.adapt.banks import Bank, bank_of, draw_crops
from flairseg.adapt.framed import FramedCase, frame_case
from flairseg.adapt.partial import UNKNOWN, partial_loss
from flairseg.models.card import PipelineConfig

from .config import TrainingConfig
from .data import data_folder, load_tabriz, split_fold
from .distillation import Teacher
from .pseudo import ensemble
from .run import NetworkRun, command_line, resumed, run_command, train_to_end
from .sites import left_out, load_site, read_bank, slices_of, store_bank, unlabelled
from .sources import pool_bank
from .synthetic import stored_pool
from .synthetic_wide import WideFlair

log = logging.getLogger("flairseg.training")
SYNTHETIC, OWN_LABELS = "synthetic", "self"


def load_banks(config: TrainingConfig, cache: Path) -> dict[str, Bank]:
    """Banks of the available sets in ``mix`` of a recipe, without the held-out subjects of the fold."""
    banks = {}
    for name in {**config.mix, **config.self_training.get("mix", {})}:
        if name == SYNTHETIC:
            count, seeds = config.synthetic["count"], config.synthetic["seeds"]
            paths = {seed: cache / f"synthetic-wide-{seed}-{count}.npz" for seed in seeds}
            banks[name] = pool_bank(
                [stored_pool(path, count, seed, WideFlair, neighbours=False) for seed, path in paths.items()]
            )
        elif name != OWN_LABELS:
            bank = load_site(name, data_folder(), config.preprocessing, cache)
            if bank is not None:
                away = left_out(bank, config.fold, config.folds)
                log.info("%s: %d slices, left out: %s", name, len(bank.images), ", ".join(away) or "nobody")
                banks[name] = bank.without(away)
    return banks


def batch_of(mix: dict[str, int], banks: dict[str, Bank]) -> list[Bank]:
    """Bank of each slice of a batch; the share of a missing set goes to the first available one."""
    names = [name if name in banks else next(iter(banks)) for name, share in mix.items() for _ in range(share)]
    return [banks[name] for name in names]


def own_labels(network: torch.nn.Module, cases: list[FramedCase], config: PipelineConfig, confidence: float) -> Bank:
    """Slices of unannotated scans with a network's labels; pixels less probable than ``confidence`` are unknown."""
    training = network.training
    network.eval()
    parts = []
    for case in cases:
        probabilities = ensemble([network], case.prepared, config)
        sure = probabilities.max(1) >= confidence
        parts.append(slices_of(case, np.where(sure, probabilities.argmax(1), UNKNOWN).astype(np.uint8)))
    network.train(training)
    return bank_of(parts)


def train(config: TrainingConfig, output: Path, cache: Path) -> Path:
    """Train, or resume training, and return the path of the last checkpoint.

    Parameters
    ----------
    config : TrainingConfig
    output : Path
        Folder of the runs.
    cache : Path
        Folder of stored slices.

    Raises
    ------
    ValueError
        If the recipe has another loss than ``partial``.
    """
    if config.loss != "partial":
        raise ValueError(f"{config.name} has the loss {config.loss!r}: training.train is for it")
    torch.manual_seed(config.seed)
    run = NetworkRun(config, output)
    folder = resumed(run, output)
    teacher = Teacher(config, output) if config.teacher else None
    banks, geometry = load_banks(config, cache), Geometry(**config.augmentation)
    labels_from = config.steps * config.self_training["at"] if config.self_training else float("inf")

    def step() -> None:
        itself = run.step >= labels_from
        if itself and OWN_LABELS not in banks:
            labeller = teacher.network if teacher else run.average
            banks[OWN_LABELS] = stored_labels(run, labeller, folder / "self.npz")
        mix = config.self_training["mix"] if itself else config.mix
        images, labels, weights = draw_crops(
            batch_of(mix, banks), tuple(config.crop), geometry, config.altered, run.rng, run.random
        )

        def loss_of(logits: torch.Tensor) -> torch.Tensor:
            loss = partial_loss(logits, labels, weights)
            return loss + teacher.divergence(logits, images, labels) if teacher else loss

        run.learn(images, loss_of)

    run.network.train()
    return train_to_end(run, folder, step, validation_cases(config))


def stored_labels(run: NetworkRun, labeller: torch.nn.Module, path: Path) -> Bank:
    """Labels of the scans without annotations by a network, made once and stored beside the run's checkpoint."""
    if not path.exists():
        config = run.config
        cases = unlabelled(data_folder(), config.preprocessing)
        bank = own_labels(labeller, cases, config.preprocessing, config.self_training["confidence"])
        store_bank(bank, path)
        log.info("labelled %d slices at step %d", len(bank.images), run.step)
    return read_bank(path)


def validation_cases(config: TrainingConfig) -> list[FramedCase]:
    """Framed Tabriz patients that the fold leaves out; none without a fold."""
    if config.fold is None or "tabriz" not in config.mix:
        return []
    _, held = split_fold(load_tabriz(data_folder()), config.fold, config.folds)
    return [frame_case(case, config.preprocessing) for case in held]


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--cache", type=Path, help="folder of stored slices (default: OUTPUT/cache)")
    parser.add_argument("--init", help="checkpoint to start from, instead of the recipe's")
    parser.set_defaults(threads=1)
    run_command(parser, train)


if __name__ == "__main__":
    main()
