"""Optimisers and learning-rate schedules of the recipes."""

from __future__ import annotations

import math
from typing import Any

import torch

from .config import TrainingConfig


def build_optimiser(config: TrainingConfig, network: torch.nn.Module) -> torch.optim.Optimizer:
    """Optimiser of a recipe for all weights.

    Raises
    ------
    ValueError
        If its kind is not adamw, adam or sgd.
    """
    arguments = {key: value for key, value in config.optimiser.items() if key not in ("kind", "clip_norm")}
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    kind = config.optimiser["kind"]
    if kind not in kinds:
        raise ValueError(f"optimiser is {kind!r}, not one of {', '.join(kinds)}")
    return kinds[kind](network.parameters(), config.learning_rate, weight_decay=config.weight_decay, **arguments)


class Schedule:
    """Learning-rate schedule; its state is part of the checkpoint.

    Parameters
    ----------
    config : TrainingConfig
    steps_per_epoch : int
        Steps in which as many slices are drawn as the training set contains.

    Raises
    ------
    ValueError
        If its kind is not poly or plateau.
    """

    def __init__(self, config: TrainingConfig, steps_per_epoch: int) -> None:
        self.config, self.settings, self.steps_per_epoch = config, config.schedule, max(1, steps_per_epoch)
        if self.settings["kind"] not in ("poly", "plateau"):
            raise ValueError(f"schedule is {self.settings['kind']!r}, not poly or plateau")
        self.state: dict[str, Any] = {"rate": config.learning_rate, "best": math.inf, "bad": 0, "sum": 0.0, "count": 0}

    def rate(self, step: int) -> float:
        """Learning rate of step number ``step`` (from 0)."""
        warm = min(1.0, (step + 1) / max(1, self.settings.get("warmup", 0)))
        if self.settings["kind"] == "poly":
            return self.config.learning_rate * (1 - step / self.config.steps) ** 0.9 * warm
        return self.state["rate"] * warm

    def saw(self, loss: float) -> None:
        """Record the loss of a step; on a plateau, lower the rate at the end of an epoch."""
        state, settings = self.state, self.settings
        if settings["kind"] != "plateau":
            return
        state["sum"] += loss
        state["count"] += 1
        if state["count"] < self.steps_per_epoch:
            return
        mean = state["sum"] / state["count"]
        state["sum"], state["count"] = 0.0, 0
        if mean < state["best"]:
            state["best"], state["bad"] = mean, 0
            return
        state["bad"] += 1
        if state["bad"] >= settings["patience"]:
            state["rate"], state["bad"] = max(state["rate"] * settings["factor"], settings["lowest"]), 0
