"""Trainings of one adaptation: the cases as a bank, the speed on this computer, one training with its model written."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..models.card import ModelCard
from ..progress import Reporter
from .banks import Bank
from .cards import write_adapted
from .checks import Examined
from .device import TrainingDevice, on_cpu
from .partial import training_labels
from .parts import Plan
from .record import Training
from .replay import replay_bank
from .tuning import Control, Settings, Tuned, tune
from .weights import weights_of, write_weights
from .work import MODEL, OVERHEAD


@dataclass
class Trainer:
    """Trains on some of the cases.

    Attributes
    ----------
    card : ModelCard
        Of the base.
    network : Module
        The base.
    settings : Settings
    reporter : Reporter
    device : TrainingDevice
        The CPU from the training on in which a GPU's memory ran out.
    """

    card: ModelCard
    network: torch.nn.Module
    settings: Settings
    reporter: Reporter
    device: TrainingDevice

    def step_seconds(self, examined: Sequence[Examined]) -> float:
        """Seconds of an optimiser step, by a few of them."""
        ticks: list[float] = []

        def tick(done: float) -> None:
            self.reporter.check()
            ticks.append(time.monotonic())

        self.tuned(site_bank(examined), replace(self.settings, steps=6, check_every=6, patience=1), Control(tick))
        # The first steps also load what PyTorch loads late; a check costs about as much as a few steps.
        return float(np.median(np.diff(ticks)))

    def train(self, examined: Sequence[Examined], target: Path, plan: Plan) -> Training:
        """Train, and write weights and a card into a folder.

        Parameters
        ----------
        examined : sequence of Examined
        target : Path
        plan : Plan
            By its ``step_seconds`` a training on the same device is cut short.

        Returns
        -------
        Training
        """
        share = 3 * plan.steps * plan.step_seconds * OVERHEAD + 30
        # The plan's speed is that of another device.
        deadline = time.monotonic() + share if plan.device == self.device.name else math.inf
        control = Control(lambda done: self.reporter.update(0.9 * done), deadline)
        made = self.tuned(site_bank(examined), replace(self.settings, steps=plan.steps), control)
        target.mkdir(exist_ok=True)
        write_weights(self.card.path, weights_of(made.network), target / MODEL)
        write_adapted(self.card, "fold-v0.0", target / MODEL)
        checks = tuple((step, round(site, 4), round(replay, 4)) for step, site, replay in made.checks)
        return Training(made.steps, made.best_step, made.stopped, round(made.seconds, 1), self.device.name, checks)

    def tuned(self, site: Bank, settings: Settings, control: Control) -> Tuned:
        """Train on the device; on the CPU, from then on, where another program takes the GPU's memory."""
        known = (self.network, site, replay_bank(self.card.pipeline), self.card.pipeline, settings)
        try:
            return tune(*known, replace(control, device=self.device))
        except torch.OutOfMemoryError:
            self.device = on_cpu()
        return tune(*known, replace(control, device=self.device, deadline=math.inf))


def site_bank(examined: Sequence[Examined]) -> Bank:
    """Slices of some cases, with what is known of their pixels."""
    return Bank(
        np.concatenate([one.images for one in examined]),
        np.concatenate([training_labels(one.labels, one.case.reviewed) for one in examined]),
        np.concatenate([one.masks for one in examined]),
        np.concatenate([np.full(len(one.images), str(one.case.number)) for one in examined]),
        # Patients weigh the same, however many slices and scans they have.
        np.concatenate([np.full(len(one.images), _importance(one, examined)) for one in examined]),
        np.concatenate([one.corrected for one in examined]),
    )


def _importance(one: Examined, examined: Sequence[Examined]) -> float:
    own = sum(len(other.images) for other in examined if other.case.patient == one.case.patient)
    return one.case.weight / own
