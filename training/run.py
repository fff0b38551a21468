"""Training runs that can be stopped and resumed: their state, the optimiser step and the training loop."""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flairseg.adapt.device import has_bf16
from flairseg.adapt.framed import FramedCase

from .checkpoint import FINISHED, STOPPED, Curve, StopRequest, mark_finished, save_checkpoint
from .config import TrainingConfig, dump_config, load_config
from .networks import build_network
from .optimisers import Schedule, build_optimiser
from .validation import FIGURES, validate

log = logging.getLogger("flairseg.training")
COLUMNS = ("step", "loss", "seconds", *FIGURES, "learning_rate", "slices")


def half_convolutions(config: TrainingConfig) -> bool:
    """Whether convolutions run in bf16: as the recipe says, else if the processor has instructions for it."""
    return has_bf16() if config.amp is None else config.amp


def run_folder(config: TrainingConfig, output: Path) -> Path:
    """Folder of a recipe's run, with checkpoint and log."""
    return output / (config.name if config.fold is None else f"{config.name}-fold{config.fold}")


def initial_weights(config: TrainingConfig, output: Path) -> Path:
    """Path of the checkpoint from which a recipe starts: as given, else in the output folder.

    Raises
    ------
    FileNotFoundError
        If neither exists.
    """
    named = Path(str(config.starts_from))
    for path in (named, output / named.parent.name / named.name):
        if path.exists():
            return path
    raise FileNotFoundError(f"{config.name} starts from {named}, which does not exist: train that recipe first")


class Run(ABC):
    """State that all runs have in common.

    Attributes
    ----------
    step : int
        Optimiser steps taken.
    losses : list
        Losses since the last validation.
    random : torch.Generator
        Source of randomness of augmentation.
    half : bool
        Run convolutions in bf16.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.step, self.losses = 0, []
        self.random = torch.Generator().manual_seed(config.seed)
        self.half = half_convolutions(config)
        self._began = time.time()

    @property
    def seconds(self) -> float:
        """Time spent, including earlier calls."""
        return time.time() - self._began

    def state(self) -> dict[str, Any]:
        """Everything on which the next step depends."""
        return {
            "generator": self.random.get_state(),
            "torch": torch.get_rng_state(),
            "step": self.step,
            "losses": self.losses,
            "seconds": self.seconds,
            "config": dump_config(self.config),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.random.set_state(state["generator"])
        if "torch" in state:
            torch.set_rng_state(state["torch"])
        self.step, self.losses, self._began = state["step"], state["losses"], time.time() - state["seconds"]

    @abstractmethod
    def validate(self, cases: list[FramedCase]) -> list[Any]:
        """Validate and return a row of the log."""

    def figures(self, network: torch.nn.Module, cases: list[FramedCase]) -> list[float]:
        """:data:`.validation.FIGURES` of a network; NaN without cases."""
        return validate(network, cases, self.config.preprocessing, self.half) or [float("nan")] * len(FIGURES)


class NetworkRun(Run):
    """Run of one network, with the exponential moving average (EMA) of its weights.

    Parameters
    ----------
    config : TrainingConfig
    output : Path
        Folder of the runs, searched for the recipe's initial weights.
    slices : int
        Slices of an epoch; a plateau of the loss is counted in epochs.
    """

    def __init__(self, config: TrainingConfig, output: Path, slices: int = 1) -> None:
        super().__init__(config)
        self.network = build_network(config).to(memory_format=torch.channels_last)
        if config.init:
            self.network.load_state_dict(torch.load(initial_weights(config, output), weights_only=True)["ema"])
        self.average = copy.deepcopy(self.network)
        self.optimiser = build_optimiser(config, self.network)
        self.rng = np.random.default_rng(config.seed)
        self.schedule = Schedule(config, round(slices / config.batch))
        self.rate = 0.0

    def state(self) -> dict[str, Any]:
        """Everything on which the next step depends."""
        self._copy_statistics()
        return super().state() | {
            "network": self.network.state_dict(),
            "ema": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state,
            "rng": self.rng.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().restore(state)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.state.update(state.get("schedule", {}))
        self.rng.bit_generator.state = state["rng"]

    def learn(self, images: torch.Tensor, loss_of: Callable[[Any], torch.Tensor]) -> None:
        """Take one optimiser step and update the moving average.

        Parameters
        ----------
        images : Tensor, shape (N, channels, H, W)
        loss_of : callable
            Loss of the network's output: logits (N, outputs, H, W), or a list of them.
        """
        self.rate = self.schedule.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.get("clip_norm", 5.0))
        self.optimiser.step()
        self.step += 1
        decay = min(self.config.ema, self.step / (self.step + 20))
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
        self.losses.append(loss.item())
        self.schedule.saw(self.losses[-1])

    def validate(self, cases: list[FramedCase]) -> list[Any]:
        """Validate the averaged weights: a row of :data:`COLUMNS`."""
        self._copy_statistics()
        figures = self.figures(self.average, cases)
        row = [self.step, round(float(np.mean(self.losses)), 5), round(self.seconds, 1), *figures]
        log.info("step %d loss %.4f %s s, %s", *row[:3], dict(zip(FIGURES, figures, strict=True)))
        return [*row, f"{self.rate:.3g}", self.step * self.config.batch]

    def _copy_statistics(self) -> None:
        """Give the averaged network the running statistics of the trained one, which are not averaged."""
        self.average.load_state_dict({**self.network.state_dict(), **dict(self.average.named_parameters())})


def resumed(run: Run, output: Path) -> Path:
    """Restore a run from its last checkpoint, if there is one; its folder, created if needed."""
    folder = run_folder(run.config, output)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "last.pt"
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
        log.info("resumed at step %d", run.step)
    return folder


def train_to_end(
    run: Run, folder: Path, step: Callable[[], None], cases: list[FramedCase], columns: tuple[str, ...] = COLUMNS
) -> Path:
    """Take steps until the recipe is complete, with validation, log and checkpoints.

    SIGTERM or Ctrl-C ends it after the current step, with everything saved; ``finished.json`` in the folder marks a
    complete run.

    Parameters
    ----------
    run : Run
    folder : Path
        From :func:`resumed`.
    step : callable
        Takes one step of the run.
    cases : list of FramedCase
        Validation cases.
    columns : tuple of str
        Of the log.

    Returns
    -------
    Path
        The last checkpoint.
    """
    config, checkpoint = run.config, folder / "last.pt"
    curve = Curve(folder / "log.csv", columns, run.step)
    with StopRequest() as stop:
        while run.step < config.steps and not stop.asked:
            step()
            validated = run.step % config.validate_every == 0 or run.step == config.steps
            if validated:
                curve.append(run.validate(cases))
                run.losses = []
            if validated or run.step % config.checkpoint_every == 0 or stop.asked:
                save_checkpoint(checkpoint, run.state())
    if run.step >= config.steps:
        mark_finished(folder, steps=run.step, batch=config.batch, minutes=round(run.seconds / 60, 1))
    return checkpoint


def command_line(description: str) -> argparse.ArgumentParser:
    """Options common to all trainers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, required=True, help="recipe (JSON)")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    parser.add_argument("--fold", type=int, help="fold left out (default: train on all patients)")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, help="threads of PyTorch")
    return parser


def run_command(parser: argparse.ArgumentParser, train: Callable[[TrainingConfig, Path, Path], Path]) -> None:
    """Train as the command line asks; exit with status :data:`STOPPED` if the run was stopped before its end."""
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments["threads"]:
        torch.set_num_threads(arguments["threads"])
    overrides = {name: arguments.get(name) for name in ("fold", "steps", "init", "seed")}
    config = load_config(arguments["config"], arguments.get("published", False), **overrides)
    output = arguments["output"]
    train(config, output, arguments.get("cache") or output / "cache")
    if not (run_folder(config, output) / FINISHED).exists():
        sys.exit(STOPPED)
