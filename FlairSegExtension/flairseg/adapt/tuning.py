"""Fine-tuning on few cases: norms, biases and the last layer first, then everything at a low rate, with rehearsal.

First only few parameters are trained (biases: Ben Zaken et al. 2022, ACL; last layers first: Kumar et al. 2022,
ICLR), then all weights follow at a low rate that falls to 0. Synthetic slices are rehearsed in every batch
(:mod:`.replay`). A few checks look at slices of the site and synthetic ones that are kept apart: what is returned is
the running average of the weights at the last check that was not worse than the base, or the base itself; where none
is, it stops early. The best check was no clear gain: it is the best for the same patients, and once it was the base
where the last one was better for others (docs/adaptation.md).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..labels import BACKGROUND, LESION, NUMBER_OF_CLASSES, VENTRICLES
from ..models.card import PipelineConfig
from .augment import Geometry
from .banks import Bank, draw_crops
from .device import TrainingDevice, deterministic, on_cpu
from .framed import dequantise
from .partial import MAY_BE, decides, partial_loss

#: Logit of a class that a network does not output.
_NEVER = -30.0
#: Held-out slices of a site: every n-th; and the maximum number evaluated.
HELD_EVERY, MOST_HELD = 6, 36
#: Loss of Dice on rehearsed synthetic slices that does not count against a check.
FORGIVEN = 0.01
#: What the score of a check may be behind the base's: so much is chance, and the proof on other patients decides.
TOLERATED = 0.02


_GEOMETRY = Geometry(rotation_deg=12, shear_deg=4, zoom=0.12, flip=True)
#: Images and labels of several batches.
_Batches = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Settings:
    """Settings of fine-tuning.

    Attributes
    ----------
    steps : int
        At most.
    site, replay : int
        Crops of each batch from the site's cases and from the synthetic slices.
    crop : tuple of int
        (rows, columns).
    first_share : float
        Share of the steps in which norms, biases and the last layer alone are trained.
    first_rate, rate : float
        Learning rates (Adam) of the first part and of all weights; the latter falls to 0 along a cosine.
    average : float
        Decay of the running average of the weights.
    check_every, patience : int
        Steps between checks; checks in a row that are worse than the base after which it stops.
    altered : float
        Share of the crops whose intensities are altered.
    geometry : Geometry
    seed : int
    """

    steps: int = 4800
    site: int = 4
    replay: int = 4
    crop: tuple[int, int] = (128, 128)
    first_share: float = 0.02
    first_rate: float = 1e-3
    rate: float = 1e-3
    average: float = 0.99
    check_every: int = 400
    patience: int = 3
    altered: float = 0.4
    geometry: Geometry = _GEOMETRY
    seed: int = 0


@dataclass(frozen=True)
class Control:
    """Progress, end and place of a training.

    Attributes
    ----------
    report : callable, optional
        Called with the share of the steps done after each; may raise to cancel.
    deadline : float
        :func:`time.monotonic` at which it stops with the best so far.
    device : TrainingDevice, optional
        Default the CPU. The result is on the CPU in any case.
    """

    report: Callable[[float], None] | None = None
    deadline: float = math.inf
    device: TrainingDevice | None = None


@dataclass
class Tuned:
    """A fine-tuned network.

    Attributes
    ----------
    network : Module
        The running average of the weights.
    best_step, steps : int
        Of the last check that was not worse than the base (0: the base), and steps run.
    checks : list of (int, float, float)
        Step, Dice on the site's kept slices, Dice on kept synthetic slices.
    stopped : str
        ``steps`` (all were run), ``patience`` or ``time``.
    seconds : float
    """

    network: nn.Module
    best_step: int
    steps: int
    checks: list[tuple[int, float, float]] = field(default_factory=list)
    stopped: str = "steps"
    seconds: float = 0.0


def class_logits(output: torch.Tensor, config: PipelineConfig) -> torch.Tensor:
    """Logits of the four exclusive classes, as :func:`flairseg.segmentation.decoding.decode` reads an output.

    Parameters
    ----------
    output : Tensor, shape (N, channels, H, W)
        Logits, by ``config.output`` and ``config.output_classes``.
    config : PipelineConfig

    Returns
    -------
    Tensor of float32, shape (N, 4, H, W)
    """
    output = output.float()
    if config.output == "softmax":
        classes, known = config.output_classes, output
    else:
        classes = (BACKGROUND, *config.output_classes)
        none = functional.logsigmoid(-output).sum(1, keepdim=True)
        known = torch.cat([none, functional.logsigmoid(output)], 1)
    if tuple(classes) == tuple(range(NUMBER_OF_CLASSES)):
        return known
    out = known.new_full((len(known), NUMBER_OF_CLASSES, *known.shape[2:]), _NEVER)
    out[:, list(classes)] = known
    return out


def hold_out(bank: Bank, seed: int) -> tuple[Bank, Bank]:
    """Split a bank into training slices and validation slices: each :data:`HELD_EVERY` th of a subject.

    A subject of fewer slices than that gives none.
    """
    held = np.zeros(len(bank.images), bool)
    for subject in np.unique(bank.subjects):
        places = np.flatnonzero(bank.subjects == subject)
        # Slices with lesions and those without are dealt out separately, or chance leaves the former out.
        places = places[np.argsort(~(bank.labels[places] == LESION).any(axis=(1, 2)), kind="stable")]
        held[places[seed % HELD_EVERY :: HELD_EVERY]] = len(places) >= HELD_EVERY
    if not held.any() or held.all():
        return bank, bank
    return bank.part(~held), bank.part(held)


def tune(
    base: nn.Module,
    site: Bank,
    replay: Bank,
    config: PipelineConfig,
    settings: Settings,
    control: Control | None = None,
) -> Tuned:
    """Fine-tune a network; the base is left as it is.

    Parameters
    ----------
    base : Module
    site, replay : Bank
    config : PipelineConfig
        Of the base's card.
    settings : Settings
    control : Control, optional

    Returns
    -------
    Tuned
    """
    began = time.monotonic()
    with deterministic():
        result = _tuned(base, site, replay, config, settings, control or Control())
    result.network = result.network.to("cpu").eval()
    result.seconds = time.monotonic() - began
    return result


def _tuned(
    base: nn.Module,
    site: Bank,
    replay: Bank,
    config: PipelineConfig,
    settings: Settings,
    control: Control,
) -> Tuned:
    """As :func:`tune`; the network stays on the device."""
    device = control.device or on_cpu()
    network = copy.deepcopy(base).to(device.place, memory_format=torch.channels_last).eval()
    average = copy.deepcopy(network)
    generator, rng = torch.Generator().manual_seed(settings.seed), np.random.default_rng(settings.seed)
    learnt, held = hold_out(site, settings.seed)
    rehearsed, rehearsed_held = hold_out(replay, settings.seed)
    looks = [_look(held, device), _look(rehearsed_held, device)]
    result = Tuned(base, 0, 0)
    of_base = _check(base if not device.is_gpu else network, looks, config, result, 0)
    optimiser = torch.optim.Adam(_first_parameters(network), lr=0.0)
    switched, bad = False, 0
    turn = settings.first_share * settings.steps
    for step in range(settings.steps):
        if step >= turn and not switched:
            optimiser = torch.optim.Adam(network.parameters(), lr=0.0)
            switched = True
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, turn, settings)
        banks = [learnt] * settings.site + [rehearsed] * settings.replay
        batch = draw_crops(banks, settings.crop, settings.geometry, settings.altered, rng, generator)
        _step(network, optimiser, batch, config, device)
        _follow(average, network, 1 - min(settings.average, step / (step + 9)))
        result.steps = step + 1
        if control.report is not None:
            control.report((step + 1) / settings.steps)
        late = time.monotonic() > control.deadline
        if (step + 1) % settings.check_every == 0 or step + 1 == settings.steps or late:
            score = _check(average, looks, config, result, step + 1)
            if score < of_base + TOLERATED:
                bad = 0
                result.network, result.best_step = copy.deepcopy(average), step + 1
            else:
                bad += 1
        if late or bad >= settings.patience:
            result.stopped = "time" if late else "patience"
            break
    return result


def _first_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Norms, biases and the last layer."""
    norms = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)
    of_norms = {id(p) for module in network.modules() if isinstance(module, norms) for p in module.parameters()}
    return [
        parameter
        for name, parameter in network.named_parameters()
        if id(parameter) in of_norms or name.endswith("bias") or name.startswith("last.")
    ]


def _rate(step: int, turn: float, settings: Settings) -> float:
    if step < turn:
        return settings.first_rate
    done = (step - turn) / max(1.0, settings.steps - turn)
    warm = min(1.0, (step - turn + 1) / 10)
    return settings.rate * warm * (1 + math.cos(math.pi * done)) / 2


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    config: PipelineConfig,
    device: TrainingDevice,
) -> None:
    images, labels, weights = (one.to(device.place) for one in batch)
    with torch.autocast(device.place.type, device.half or torch.bfloat16, enabled=device.half is not None):
        output = network(images.contiguous(memory_format=torch.channels_last))
    loss = partial_loss(class_logits(output, config), labels, weights)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(trained, 5.0)
    optimiser.step()


def _follow(average: nn.Module, network: nn.Module, share: float) -> None:
    """Move a running average of the weights by a share of its distance to the network."""
    with torch.no_grad():
        mine, theirs = list(average.parameters()), list(network.parameters())
        torch._foreach_lerp_([p.detach() for p in mine], [p.detach() for p in theirs], share)


def _look(bank: Bank, device: TrainingDevice) -> _Batches:
    """Whole slices in batches for a check, on the device: images, labels."""
    chosen = np.unique(np.linspace(0, len(bank.images) - 1, min(MOST_HELD, len(bank.images))).round().astype(int))
    batches = []
    for start in range(0, len(chosen), 6):
        part = chosen[start : start + 6]
        labels = bank.labels[part]
        images = torch.from_numpy(dequantise(bank.images[part]))[:, None]
        batches.append((images.to(device.place), torch.from_numpy(labels.astype(np.int64)).to(device.place)))
    return batches


@torch.inference_mode()
def _check(network: nn.Module, looks: Sequence[_Batches], config: PipelineConfig, result: Tuned, step: int) -> float:
    """Score of a network, less is better: minus the site's Dice, plus what the synthetic slices have lost of theirs.

    Dice and not the loss: cross entropy rises with confidence long before masks get worse (Guo et al. 2017, ICML).
    """
    network.eval()
    site, replay = (_dice(network, batches, config) for batches in looks)
    result.checks.append((step, site, replay))
    return max(0.0, result.checks[0][2] - replay - FORGIVEN) - site


def _dice(network: nn.Module, batches: _Batches, config: PipelineConfig) -> float:
    """Dice of lesions over all slices together, where they are known; of ventricles where no lesion was drawn."""
    overlap, size, drawn = (np.zeros(NUMBER_OF_CLASSES) for _ in range(3))
    for images, labels in batches:
        found = class_logits(network(images), config).argmax(1)
        for value in (LESION, VENTRICLES):
            known = reduce(torch.logical_or, [labels == one for one in MAY_BE if decides(one, value)])
            ours, theirs = (found == value) & known, labels == value
            overlap[value] += 2 * float((ours & theirs).sum())
            size[value] += float(ours.sum() + theirs.sum())
            drawn[value] += float(theirs.sum())
    value = LESION if drawn[LESION] else VENTRICLES
    return float(overlap[value] / max(size[value], 1.0))
