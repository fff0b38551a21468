"""S1 as published: gray-level pix2pix, trained adversarially.

``python -m models.training.train_pix2pix --config models/training/configs/s1-pix2pix16.json --fold 0``

Batch 1, Adam 2e-4 (0.5, 0.999), loss = adversarial cross entropy + 100 L1, the epoch chosen by validation; the
generator's width is the recipe's (16 first filters here, 64 as published). Resumable between epochs, seeded.
"""

from __future__ import annotations

import argparse
import csv
import logging
import time
from pathlib import Path

import numpy as np
import torch
from flairseg.decoding import classify, decode
from flairseg.models.card import PipelineConfig
from torch.nn import functional

from .config import TrainingConfig, dump_config, load_config
from .data import FramedCase, data_folder, folds, frame_case, load_tabriz
from .metrics import class_dice
from .networks import PatchDiscriminator, Pix2PixGenerator
from .train import save_checkpoint

log = logging.getLogger("flairseg.training")
L1_WEIGHT = 100.0


def gray_levels(labels: torch.Tensor, config: PipelineConfig) -> torch.Tensor:
    """Gray-level target (N, 1, H, W) of label maps (N, H, W) (source: S1)."""
    levels = torch.tensor(config.class_values, dtype=torch.float32)
    return levels[labels][:, None]


@torch.inference_mode()
def validate(generator: torch.nn.Module, cases: list[FramedCase], config: PipelineConfig) -> list[float]:
    """Mean per-patient Dice of the three classes in the frame, decoded as the card says."""
    generator.eval()
    scores = []
    for case in cases:
        gray = np.concatenate([generator(torch.from_numpy(batch)).numpy() for batch in case.prepared.batches(8)])
        predicted = classify(decode(gray, config).transpose(1, 0, 2, 3), config.thresholds)
        scores.append(class_dice(predicted, case.labels))
    generator.train()
    return np.mean(scores, axis=0).round(4).tolist()


def train(config: TrainingConfig, output: Path) -> Path:
    """Train on all folds but one, and return the path of the best epoch's checkpoint.

    ``config.steps`` counts epochs; ``best.pt`` holds the epoch with the highest mean validation Dice under the key
    ``ema``, as the export reads it.
    """
    folder = output / f"{config.name}-fold{config.fold}"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    pipeline = config.preprocessing
    cases = load_tabriz(data_folder())
    left_out = folds([case.name for case in cases], config.folds)[config.fold]
    framed = [frame_case(case, pipeline) for case in cases]
    validation = [case for case in framed if case.name in left_out]
    slices = [(case, k) for case in framed if case.name not in left_out for k in range(len(case.labels))]
    width = config.network["width"]
    generator, discriminator = Pix2PixGenerator(width=width), PatchDiscriminator(width=width)
    optimisers = [
        torch.optim.Adam(network.parameters(), config.learning_rate, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    ]
    random = torch.Generator().manual_seed(config.seed)
    epoch, best = 0, -1.0
    last = folder / "last.pt"
    if last.exists():
        state = torch.load(last, weights_only=True)
        generator.load_state_dict(state["network"])
        discriminator.load_state_dict(state["discriminator"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        random.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        epoch, best = state["epoch"], state["best"]
        log.info("resumed after epoch %d", epoch)
    real_or_fake = functional.binary_cross_entropy_with_logits
    while epoch < config.steps:
        began, sums = time.time(), np.zeros(3)
        for n in torch.randperm(len(slices), generator=random).tolist():
            case, k = slices[n]
            image = torch.from_numpy(case.prepared.channels(k))[None]
            labels = torch.from_numpy(case.labels[k]).long()[None]
            if torch.rand(1, generator=random) < 0.5:
                image, labels = image.flip(3), labels.flip(2)
            target = gray_levels(labels, pipeline)
            with torch.autocast("cpu", torch.bfloat16):
                fake = generator(image)
                scores = discriminator(image, target), discriminator(image, fake.detach().float())
            d_loss = 0.5 * sum(
                real_or_fake(s.float(), torch.full_like(s, truth, dtype=torch.float32))
                for s, truth in zip(scores, (1.0, 0.0), strict=True)
            )
            optimisers[1].zero_grad(set_to_none=True)
            d_loss.backward()
            optimisers[1].step()
            with torch.autocast("cpu", torch.bfloat16):
                verdict = discriminator(image, fake.float()).float()
            l1 = (fake.float() - target).abs().mean()
            g_loss = real_or_fake(verdict, torch.ones_like(verdict)) + L1_WEIGHT * l1
            optimisers[0].zero_grad(set_to_none=True)
            g_loss.backward()
            optimisers[0].step()
            sums += [float(d_loss), float(g_loss), float(l1)]
        epoch += 1
        scores = validate(generator, validation, pipeline)
        row = [epoch, *(sums / len(slices)).round(5).tolist(), *scores, round(time.time() - began, 1)]
        log.info("epoch %d: discriminator %.3f, generator %.3f, L1 %.4f, Dice %s", *row[:4], scores)
        with (folder / "log.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
        if float(np.mean(scores)) > best:
            best = float(np.mean(scores))
            state = {"ema": generator.state_dict(), "epoch": epoch, "config": dump_config(config)}
            save_checkpoint(folder / "best.pt", state)
        save_checkpoint(
            last,
            {
                "network": generator.state_dict(),
                "discriminator": discriminator.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                "generator": random.get_state(),
                "torch": torch.get_rng_state(),
                "epoch": epoch,
                "best": best,
            },
        )
    return folder / "best.pt"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(load_config(arguments.config, fold=arguments.fold, steps=arguments.steps), arguments.output)


if __name__ == "__main__":
    main()
