"""S1 as published: gray-level pix2pix, trained adversarially.

``python -m training.train_pix2pix --config training/configs/s1-pix2pix.json --fold 0``

Batch 1, Adam 2e-4 (0.5, 0.999), loss = adversarial cross entropy + 100 L1; the generator's width is the recipe's (64
first filters as published). Resumable at any moment, seeded, logged to CSV.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

import numpy as np
import torch
from flairseg.adapt import augment
from flairseg.adapt.framed import frame_case
from flairseg.models.card import PipelineConfig
from torch.nn import functional

from .checkpoint import FINISHED, STOPPED, Curve, StopRequest, mark_finished, save_checkpoint
from .config import TrainingConfig, dump_config, load_config
from .data import data_folder, folds, load_tabriz
from .networks import PatchDiscriminator, Pix2PixGenerator
from .train import half_convolutions, run_folder
from .validation import FIGURES, validate

log = logging.getLogger("flairseg.training")
L1_WEIGHT = 100.0
#: Share of the foreground's extra weight that is left at the end of a run.
LAST_EXCESS = 1 / 3
COLUMNS = ("step", "generator_loss", "seconds", *FIGURES, "discriminator_loss", "l1", "slices")


def gray_levels(labels: torch.Tensor, config: PipelineConfig) -> torch.Tensor:
    """Gray-level target (N, 1, H, W) of label maps (N, H, W) (source: S1)."""
    levels = torch.tensor(config.class_values, dtype=torch.float32)
    return levels[labels][:, None]


def foreground_weights(labels: torch.Tensor, config: TrainingConfig, step: int) -> torch.Tensor:
    """Weight of each pixel's L1 distance, shape (N, 1, H, W): the recipe's class weights, which fade.

    With foreground in one or two pixels of a hundred, L1 is content with "all background" (its optimum is the median),
    and in the few steps that this project can afford the generator does not get away from there. The weights start it
    off. Faded to the published loss altogether, what had been found went again (lesion Dice 0.42 half way, 0.28 at the
    end of the first fold).
    """
    if config.class_weights is None:
        return torch.ones(())
    left = 1 - (1 - LAST_EXCESS) * step / config.steps
    return (1 + left * (torch.tensor(config.class_weights) - 1))[labels][:, None]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Pix2pix's own schedule: constant for half the run, then straight down to zero (Isola et al. 2017)."""
    return config.learning_rate * min(1.0, 2 * (1 - step / config.steps))


def slice_order(step: int, count: int, seed: int) -> int:
    """Number of the slice that step ``step`` trains on: all of them once an epoch, in an order of its own."""
    epoch, place = divmod(step, count)
    return int(np.random.default_rng((seed, epoch)).permutation(count)[place])


class Run:
    """Networks and counters of a run that can be stopped and gone on with."""

    def __init__(self, config: TrainingConfig) -> None:
        arguments = {key: value for key, value in config.network.items() if key != "kind"}
        self.config = config
        self.generator = Pix2PixGenerator(**arguments)
        self.discriminator = PatchDiscriminator(width=arguments["width"])
        self.optimisers = [
            torch.optim.Adam(network.parameters(), config.learning_rate, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        ]
        self.random = torch.Generator().manual_seed(config.seed)
        self.geometry = augment.Geometry(**config.augmentation)
        self.half = half_convolutions(config)
        self.step, self.losses, self.began = 0, [], time.time()

    @property
    def seconds(self) -> float:
        """Time spent, earlier calls included."""
        return time.time() - self.began

    def resume(self, checkpoint: Path) -> None:
        """Go on where :meth:`save` left off."""
        state = torch.load(checkpoint, weights_only=True)
        self.generator.load_state_dict(state["ema"])
        self.discriminator.load_state_dict(state["discriminator"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.random.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        self.step, self.losses, self.began = state["step"], state["losses"], time.time() - state["seconds"]
        log.info("resumed at step %d", self.step)

    def save(self, checkpoint: Path) -> None:
        """Keep all that the next step depends on."""
        save_checkpoint(
            checkpoint,
            {
                "ema": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "generator": self.random.get_state(),
                "torch": torch.get_rng_state(),
                "step": self.step,
                "losses": self.losses,
                "seconds": self.seconds,
                "config": dump_config(self.config),
            },
        )

    def learn(self, image: torch.Tensor, labels: torch.Tensor) -> None:
        """One step of the discriminator, then one of the generator, on an image (1, C, H, W) and its labels."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(self.config, self.step)
        image, labels = augment.geometric(image, labels, self.geometry, self.random)
        target = gray_levels(labels, self.config.preprocessing)
        real_or_fake = functional.binary_cross_entropy_with_logits
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            fake = self.generator(image)
            scores = self.discriminator(image, target), self.discriminator(image, fake.detach().float())
        d_loss = 0.5 * sum(
            real_or_fake(s.float(), torch.full_like(s, truth, dtype=torch.float32))
            for s, truth in zip(scores, (1.0, 0.0), strict=True)
        )
        self.optimisers[1].zero_grad(set_to_none=True)
        d_loss.backward()
        self.optimisers[1].step()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            verdict = self.discriminator(image, fake.float()).float()
        distance = (fake.float() - target).abs()
        l1, weighted = distance.mean(), (distance * foreground_weights(labels, self.config, self.step)).mean()
        g_loss = real_or_fake(verdict, torch.ones_like(verdict)) + L1_WEIGHT * weighted
        self.optimisers[0].zero_grad(set_to_none=True)
        g_loss.backward()
        self.optimisers[0].step()
        self.losses.append([g_loss.item(), d_loss.item(), l1.item()])
        self.step += 1


def train(config: TrainingConfig, output: Path) -> Path:
    """Train, or resume training, and return the path of the last checkpoint (the generator's weights under ``ema``).

    Stops early, with everything saved, when the process gets SIGTERM or Ctrl-C; ``finished.json`` in the run's folder
    marks a run as complete. The last step's weights count: S1 chose its epoch by validation, which on ten patients
    would choose it on the very ones that are reported.
    """
    folder = run_folder(config, output)
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.pt"
    torch.manual_seed(config.seed)
    cases = load_tabriz(data_folder())
    left_out = folds([case.name for case in cases], config.folds)[config.fold] if config.fold is not None else []
    framed = [frame_case(case, config.preprocessing) for case in cases]
    validation = [case for case in framed if case.name in left_out]
    slices = [(case, k) for case in framed if case.name not in left_out for k in range(len(case.labels))]
    run = Run(config)
    if last.exists():
        run.resume(last)
    curve = Curve(folder / "log.csv", COLUMNS, run.step)
    with StopRequest() as stop:
        while run.step < config.steps and not stop.asked:
            case, k = slices[slice_order(run.step, len(slices), config.seed)]
            run.learn(torch.from_numpy(case.prepared.channels(k))[None], torch.from_numpy(case.labels[k]).long()[None])
            judged = run.step % config.validate_every == 0 or run.step == config.steps
            if judged:
                figures = validate(run.generator, validation, config.preprocessing, run.half)
                figures = figures or [float("nan")] * len(FIGURES)
                g_mean, d_mean, l1_mean = np.mean(run.losses, axis=0).round(5).tolist()
                log.info("step %d L1 %.4f, %s", run.step, l1_mean, dict(zip(FIGURES, figures, strict=True)))
                curve.append([run.step, g_mean, round(run.seconds, 1), *figures, d_mean, l1_mean, run.step])
                run.losses = []
            if judged or run.step % config.checkpoint_every == 0 or stop.asked:
                run.save(last)
    if run.step >= config.steps:
        mark_finished(folder, steps=run.step, batch=1, minutes=round(run.seconds / 60, 1))
    return last


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--published", action="store_true", help="the published width and schedule (needs a GPU)")
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--fold", type=int, help="leave out this fold (default: train on all)")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, help="another than the recipe's, for a run that stays at 'all background'")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config = load_config(
        arguments.config, arguments.published, fold=arguments.fold, steps=arguments.steps, seed=arguments.seed
    )
    train(config, arguments.output)
    if not (run_folder(config, arguments.output) / FINISHED).exists():
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
