"""Train a network on slices: ``python -m training.train --config training/configs/....json``.

Resumable (stop or kill it at any moment and start it again with the same arguments), seeded, logged to CSV.
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import time
from pathlib import Path

import numpy as np
import torch
from flairseg.adapt import augment
from flairseg.adapt.framed import frame_case
from flairseg.adapt.networks import LightUNet, PlainUNet

from .checkpoint import FINISHED, STOPPED, Curve, StopRequest, mark_finished, save_checkpoint
from .config import CONFIGS, TrainingConfig, dump_config, load_config
from .data import data_folder, folds, load_tabriz, load_verdicts
from .losses import LOSSES, channel_targets, deeply_supervised
from .networks import MeanNetwork, NnUNet2D, Pix2PixGenerator
from .optimisers import Schedule, build_optimiser
from .sources import ArraySource, PoolSource, PseudoSource
from .synthetic import make_pool
from .validation import FIGURES, validate

log = logging.getLogger("flairseg.training")
COLUMNS = ("step", "loss", "seconds", *FIGURES, "learning_rate", "slices")


def half_convolutions(config: TrainingConfig) -> bool:
    """Whether to convolve in bf16: by the recipe, else if the processor has instructions for it."""
    return has_bf16() if config.amp is None else config.amp


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware; emulated it takes twice the time of float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def build_network(config: TrainingConfig) -> torch.nn.Module:
    """Network of a recipe."""
    if config.network["kind"] == "mean":
        return MeanNetwork(build_network(load_config(CONFIGS / f"{name}.json")) for name in config.network["recipes"])
    arguments = {key: value for key, value in config.network.items() if key != "kind"}
    kinds = {"pix2pix": Pix2PixGenerator, "unet": PlainUNet, "nnunet2d": NnUNet2D, "light": LightUNet}
    return kinds[config.network["kind"]](**arguments)


def run_folder(config: TrainingConfig, output: Path) -> Path:
    """Folder of a recipe's run, with checkpoint and log."""
    return output / (config.name if config.fold is None else f"{config.name}-fold{config.fold}")


def initial_weights(config: TrainingConfig, output: Path) -> Path:
    """The checkpoint that a recipe starts from: as it is named, or under the output folder.

    Raises
    ------
    FileNotFoundError
        If it is at neither place.
    """
    named = Path(config.init)
    for path in (named, output / named.parent.name / named.name):
        if path.exists():
            return path
    raise FileNotFoundError(f"{config.name} starts from {named}, which is not there: train that recipe first")


def build_sources(
    config: TrainingConfig, cache: Path
) -> tuple[dict[str, ArraySource | PoolSource | PseudoSource], list]:
    """Training sources named in ``config.mix`` and the framed validation cases of the fold."""
    sources: dict[str, ArraySource | PoolSource | PseudoSource] = {}
    validation: list = []
    wanted = {name for name, share in config.mix.items() if share > 0}
    if "tabriz" in wanted or config.fold is not None:
        cases = load_tabriz(data_folder())
        left_out = folds([case.name for case in cases], config.folds)[config.fold] if config.fold is not None else []
        framed = [frame_case(case, config.preprocessing) for case in cases]
        validation = [case for case in framed if case.name in left_out]
        trained = [case for case in framed if case.name not in left_out]
        sources["tabriz"] = ArraySource(trained, config.slices, config.window)
    if "verdicts" in wanted:
        accepted = load_verdicts(data_folder() / "cases")
        framed = [frame_case(case, config.preprocessing) for case in accepted]
        sources["verdicts"] = ArraySource(framed, config.slices, config.window)
    if "synthetic" in wanted:
        pools = [_pool(cache, config.synthetic["count"], seed) for seed in config.synthetic["seeds"]]
        sources["synthetic"] = PoolSource(pools, config.pipeline["normalisation"], config.pipeline["input_slices"])
    if "pseudo" in wanted:
        sources["pseudo"] = PseudoSource(Path(config.pseudo))
    return {name: source for name, source in sources.items() if name in wanted}, validation


def _pool(cache: Path, count: int, seed: int) -> Path:
    """The stored pool of synthetic slices of a seed, drawn if it is not there yet."""
    path = cache / f"synthetic-{seed}-{count}.npz"
    if not path.exists():
        log.info("drawing %d synthetic slices", count)
        make_pool(data_folder(), path, count, seed)
    return path


def draw_batch(
    config: TrainingConfig, sources: dict, rng: np.random.Generator, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """An augmented batch: images (N, channels, H, W) and labels (N, H, W)."""
    samples = [sources[name].draw(rng) for name, share in config.mix.items() for _ in range(share)]
    images, labels, masks = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    geometry, layers = augment.Geometry(**config.augmentation), torch.cat([images, masks[:, None].float()], 1)
    layers, labels = augment.geometric(layers, labels.long(), geometry, generator)
    images, masks = layers[:, :-1], layers[:, -1:]
    if config.altered:
        changed = augment.intensity(images, masks, generator)
        chosen = torch.rand(len(images), generator=generator) < config.altered
        images = torch.where(chosen[:, None, None, None], changed, images)
    return augment.crop(images, labels, tuple(config.crop), generator) if config.crop else (images, labels)


class Run:
    """Networks and counters of a run that can be stopped and gone on with.

    Parameters
    ----------
    config : TrainingConfig
    output : Path
        Where initial weights are looked for.
    slices : int
        Of an epoch.
    """

    def __init__(self, config: TrainingConfig, output: Path, slices: int) -> None:
        self.config = config
        self.network = build_network(config).to(memory_format=torch.channels_last)
        if config.init:
            self.network.load_state_dict(torch.load(initial_weights(config, output), weights_only=True)["ema"])
        self.average = copy.deepcopy(self.network)
        self.optimiser = build_optimiser(config, self.network)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        self.schedule = Schedule(config, round(slices / config.batch))
        self.step, self.losses, self.began = 0, [], time.time()
        self.half = half_convolutions(config)
        self.weights = torch.tensor(config.class_weights) if config.class_weights else None

    @property
    def seconds(self) -> float:
        """Time spent, earlier calls included."""
        return time.time() - self.began

    def resume(self, checkpoint: Path) -> None:
        """Go on where :meth:`save` left off."""
        state = torch.load(checkpoint, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.state.update(state["schedule"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        self.rng.bit_generator.state = state["rng"]
        self.step, self.losses, self.began = state["step"], state["losses"], time.time() - state["seconds"]
        log.info("resumed at step %d", self.step)

    def save(self, checkpoint: Path) -> None:
        """Keep all that the next step depends on."""
        save_checkpoint(
            checkpoint,
            {
                "network": self.network.state_dict(),
                "ema": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state,
                "generator": self.generator.get_state(),
                "torch": torch.get_rng_state(),
                "rng": self.rng.bit_generator.state,
                "step": self.step,
                "losses": self.losses,
                "seconds": self.seconds,
                "config": dump_config(self.config),
            },
        )

    def learn(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """One optimiser step and one of the running average; the learning rate that it had."""
        rate = self.schedule.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        pipeline, loss_of = self.config.preprocessing, LOSSES[self.config.loss]
        target = channel_targets(labels, pipeline.output, pipeline.output_classes)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        if isinstance(logits, list):
            loss = deeply_supervised(loss_of, logits, target, self.weights)
        else:
            loss = loss_of(logits, target, self.weights)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.get("clip_norm", 5.0))
        self.optimiser.step()
        self.step += 1
        decay = min(self.config.ema, self.step / (self.step + 20))
        with torch.no_grad():
            for mine, theirs in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mine.lerp_(theirs, 1 - decay)
        self.losses.append(loss.item())
        self.schedule.saw(self.losses[-1])
        return rate


def train(config: TrainingConfig, output: Path, cache: Path) -> Path:
    """Train, or resume training, and return the path of the last checkpoint.

    Stops early, with everything saved, when the process gets SIGTERM or Ctrl-C; ``finished.json`` in the run's folder
    marks a run as complete.
    """
    folder = run_folder(config, output)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "last.pt"
    torch.manual_seed(config.seed)
    sources, validation = build_sources(config, cache)
    slices = len(sources["tabriz"].index) if "tabriz" in sources else config.steps * config.batch
    run = Run(config, output, slices)
    if checkpoint.exists():
        run.resume(checkpoint)
    curve = Curve(folder / "log.csv", COLUMNS, run.step)
    run.network.train()
    with StopRequest() as stop:
        while run.step < config.steps and not stop.asked:
            rate = run.learn(*draw_batch(config, sources, run.rng, run.generator))
            judged = run.step % config.validate_every == 0 or run.step == config.steps
            kept = judged or run.step % config.checkpoint_every == 0 or stop.asked
            if kept:
                # Running statistics are the network's own, at every checkpoint.
                run.average.load_state_dict({**run.network.state_dict(), **dict(run.average.named_parameters())})
            if judged:
                figures = validate(run.average, validation, config.preprocessing, run.half)
                figures = figures or [float("nan")] * len(FIGURES)
                row = [run.step, round(float(np.mean(run.losses)), 5), round(run.seconds, 1), *figures]
                log.info("step %d loss %.4f %s s, %s", *row[:3], dict(zip(FIGURES, figures, strict=True)))
                curve.append([*row, f"{rate:.3g}", run.step * config.batch])
                run.losses = []
            if kept or stop.asked:
                run.save(checkpoint)
    if run.step >= config.steps:
        mark_finished(folder, steps=run.step, batch=config.batch, minutes=round(run.seconds / 60, 1))
    return checkpoint


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--published", action="store_true", help="the published width and schedule (needs a GPU)")
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--cache", type=Path, help="where synthetic slices are kept (default: OUTPUT/cache)")
    parser.add_argument("--fold", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--init")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config = load_config(
        arguments.config, arguments.published, fold=arguments.fold, steps=arguments.steps, init=arguments.init
    )
    train(config, arguments.output, arguments.cache or arguments.output / "cache")
    if not (run_folder(config, arguments.output) / FINISHED).exists():
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
