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


def train(config: TrainingConfig, output: Path) -> Path:
    """Train, or go on training, and return the path of the last checkpoint (the generator's weights under ``ema``).

    Stops early, with everything saved, when the process gets SIGTERM or Ctrl-C; ``finished.json`` in the run's folder
    says that a run is complete. The last step's weights count: S1 chose its epoch by validation, which on ten patients
    would choose it on the very ones that are reported.
    """
    folder = run_folder(config, output)
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.pt"
    torch.manual_seed(config.seed)
    pipeline, half = config.preprocessing, half_convolutions(config)
    cases = load_tabriz(data_folder())
    left_out = folds([case.name for case in cases], config.folds)[config.fold] if config.fold is not None else []
    framed = [frame_case(case, pipeline) for case in cases]
    validation = [case for case in framed if case.name in left_out]
    slices = [(case, k) for case in framed if case.name not in left_out for k in range(len(case.labels))]
    arguments = {key: value for key, value in config.network.items() if key != "kind"}
    generator, discriminator = Pix2PixGenerator(**arguments), PatchDiscriminator(width=arguments["width"])
    optimisers = [
        torch.optim.Adam(network.parameters(), config.learning_rate, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    ]
    random = torch.Generator().manual_seed(config.seed)
    geometry = augment.Geometry(**config.augmentation)
    step, sums, spent = 0, [], 0.0
    if last.exists():
        state = torch.load(last, weights_only=True)
        generator.load_state_dict(state["ema"])
        discriminator.load_state_dict(state["discriminator"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        random.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        step, sums, spent = state["step"], state["losses"], state["seconds"]
        log.info("resumed at step %d", step)
    curve = Curve(folder / "log.csv", COLUMNS, step)
    began = time.time() - spent
    real_or_fake = functional.binary_cross_entropy_with_logits
    with StopRequest() as stop:
        while step < config.steps and not stop.asked:
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(config, step)
            case, k = slices[slice_order(step, len(slices), config.seed)]
            image = torch.from_numpy(case.prepared.channels(k))[None]
            labels = torch.from_numpy(case.labels[k]).long()[None]
            image, labels = augment.geometric(image, labels, geometry, random)
            target = gray_levels(labels, pipeline)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                fake = generator(image)
                scores = discriminator(image, target), discriminator(image, fake.detach().float())
            d_loss = 0.5 * sum(
                real_or_fake(s.float(), torch.full_like(s, truth, dtype=torch.float32))
                for s, truth in zip(scores, (1.0, 0.0), strict=True)
            )
            optimisers[1].zero_grad(set_to_none=True)
            d_loss.backward()
            optimisers[1].step()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                verdict = discriminator(image, fake.float()).float()
            distance = (fake.float() - target).abs()
            l1, weighted = distance.mean(), (distance * foreground_weights(labels, config, step)).mean()
            g_loss = real_or_fake(verdict, torch.ones_like(verdict)) + L1_WEIGHT * weighted
            optimisers[0].zero_grad(set_to_none=True)
            g_loss.backward()
            optimisers[0].step()
            sums.append([g_loss.item(), d_loss.item(), l1.item()])
            step += 1
            judged = step % config.validate_every == 0 or step == config.steps
            if judged:
                figures = validate(generator, validation, pipeline, half) or [float("nan")] * len(FIGURES)
                g_mean, d_mean, l1_mean = np.mean(sums, axis=0).round(5).tolist()
                log.info("step %d L1 %.4f, %s", step, l1_mean, dict(zip(FIGURES, figures, strict=True)))
                curve.append([step, g_mean, round(time.time() - began, 1), *figures, d_mean, l1_mean, step])
                sums = []
            if judged or step % config.checkpoint_every == 0 or stop.asked:
                save_checkpoint(
                    last,
                    {
                        "ema": generator.state_dict(),
                        "discriminator": discriminator.state_dict(),
                        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                        "generator": random.get_state(),
                        "torch": torch.get_rng_state(),
                        "step": step,
                        "losses": sums,
                        "seconds": time.time() - began,
                        "config": dump_config(config),
                    },
                )
    if step >= config.steps:
        mark_finished(folder, steps=step, batch=1, minutes=round((time.time() - began) / 60, 1))
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
