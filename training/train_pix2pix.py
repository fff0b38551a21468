"""Train the system S1 as published: gray-level pix2pix with adversarial loss.

``python -m training.train_pix2pix --config training/configs/s1-pix2pix.json --fold 0``

Batch size 1, Adam 2e-4 (0.5, 0.999), adversarial cross entropy + 100 L1; width of the generator by the recipe (64 first
filters as published). Seeded, resumable, logged to CSV.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flairseg.adapt import augment
from flairseg.adapt.framed import FramedCase, frame_case
from flairseg.models.card import PipelineConfig
from torch.nn import functional

from .config import TrainingConfig
from .data import data_folder, load_tabriz, split_fold
from .networks import PatchDiscriminator, Pix2PixGenerator
from .run import Run, command_line, resumed, run_command, train_to_end
from .validation import FIGURES

log = logging.getLogger("flairseg.training")
L1_WEIGHT = 100.0
#: Share of the additional foreground weight that remains at the end of a run.
LAST_EXCESS = 1 / 3
COLUMNS = ("step", "generator_loss", "seconds", *FIGURES, "discriminator_loss", "l1", "slices")


def gray_levels(labels: torch.Tensor, config: PipelineConfig) -> torch.Tensor:
    """Gray-level target (N, 1, H, W) of label maps (N, H, W) (source: S1)."""
    levels = torch.tensor(config.class_values, dtype=torch.float32)
    return levels[labels][:, None]


def foreground_weights(labels: torch.Tensor, config: TrainingConfig, step: int) -> torch.Tensor:
    """Weights of the L1 distance of each pixel, shape (N, 1, H, W): class weights of the recipe, decreasing with time.

    With 1 to 2 % foreground, "all background" is a local optimum of L1, which the generator does not leave in the few
    steps of this project's budget. Weights that decrease to the published loss lose detected foreground again (lesion
    Dice of the first fold: 0.42 at half of the run, 0.28 at its end).
    """
    if config.class_weights is None:
        return torch.ones(())
    left = 1 - (1 - LAST_EXCESS) * step / config.steps
    return (1 + left * (torch.tensor(config.class_weights) - 1))[labels][:, None]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Schedule of pix2pix: constant for half of the run, then linear decay to zero (Isola et al. 2017)."""
    return config.learning_rate * min(1.0, 2 * (1 - step / config.steps))


def slice_order(step: int, count: int, seed: int) -> int:
    """Index of the slice of a step: each slice once per epoch, in a new random order."""
    epoch, place = divmod(step, count)
    return int(np.random.default_rng((seed, epoch)).permutation(count)[place])


class Pix2PixRun(Run):
    """Run of generator and discriminator."""

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__(config)
        arguments = {key: value for key, value in config.network.items() if key != "kind"}
        self.generator = Pix2PixGenerator(**arguments)
        self.discriminator = PatchDiscriminator(width=arguments["width"])
        self.optimisers = [
            torch.optim.Adam(network.parameters(), config.learning_rate, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        ]
        self.geometry = augment.Geometry(**config.augmentation)

    def state(self) -> dict[str, Any]:
        """Everything on which the next step depends; the generator's weights under ``ema``."""
        return super().state() | {
            "ema": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().restore(state)
        self.generator.load_state_dict(state["ema"])
        self.discriminator.load_state_dict(state["discriminator"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def validate(self, cases: list[FramedCase]) -> list[Any]:
        """Validate the generator: a row of :data:`COLUMNS`."""
        figures = self.figures(self.generator, cases)
        g_mean, d_mean, l1_mean = np.mean(self.losses, axis=0).round(5).tolist()
        log.info("step %d L1 %.4f, %s", self.step, l1_mean, dict(zip(FIGURES, figures, strict=True)))
        return [self.step, g_mean, round(self.seconds, 1), *figures, d_mean, l1_mean, self.step]

    def learn(self, image: torch.Tensor, labels: torch.Tensor) -> None:
        """Take a step of the discriminator, then of the generator.

        Parameters
        ----------
        image : Tensor, shape (1, channels, H, W)
        labels : Tensor of int64, shape (1, H, W)
        """
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

    The last step's weights are final: S1 chose its epoch by validation, which with ten patients would be the patients
    reported on.
    """
    torch.manual_seed(config.seed)
    framed = [frame_case(case, config.preprocessing) for case in load_tabriz(data_folder())]
    trained, validation = split_fold(framed, config.fold, config.folds)
    slices = [(case, k) for case in trained for k in range(len(case.labels))]
    run = Pix2PixRun(config)
    folder = resumed(run, output)

    def step() -> None:
        case, k = slices[slice_order(run.step, len(slices), config.seed)]
        run.learn(torch.from_numpy(case.prepared.channels(k))[None], torch.from_numpy(case.labels[k]).long()[None])

    return train_to_end(run, folder, step, validation, COLUMNS)


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--published", action="store_true", help="the published width and schedule (needs a GPU)")
    parser.add_argument("--seed", type=int, help="instead of the recipe's, for a run that stays at 'all background'")
    run_command(parser, lambda config, output, cache: train(config, output))


if __name__ == "__main__":
    main()
