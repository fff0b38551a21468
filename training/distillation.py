"""A network that is trained learns from a better one as well (knowledge distillation; Hinton et al. 2015,
arXiv:1503.02531): the teacher's class probabilities also tell how near to each other the classes of a pixel are, and
those of pixels of which no reader has said anything.
"""

from __future__ import annotations

from pathlib import Path

import torch
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES
from torch.nn import functional

from .config import CONFIGS, TrainingConfig, load_config
from .evaluate import fold_network
from .run import half_convolutions, run_folder


class Teacher:
    """The network of another recipe, trained on the same patients as the run that learns from it.

    Parameters
    ----------
    config : TrainingConfig
        Of the network that learns; its ``teacher`` names the ``recipe``, and the ``weight`` of the divergence from it.
    runs : Path
        Folder of the runs, the teacher's among them.

    Raises
    ------
    FileNotFoundError
        If the teacher has no run of this fold.
    ValueError
        If its run left out other patients: it may have seen those that this fold holds out.
    """

    def __init__(self, config: TrainingConfig, runs: Path) -> None:
        recipe = load_config(CONFIGS / f"{config.teacher['recipe']}.json", fold=config.fold)
        checkpoint = run_folder(recipe, runs) / "last.pt"
        if recipe.folds != config.folds:
            raise ValueError(f"{recipe.name} has {recipe.folds} folds and cannot teach {config.name} of {config.folds}")
        if not checkpoint.exists():
            raise FileNotFoundError(f"{config.name} learns from {checkpoint}, which does not exist: train it first")
        self.network = fold_network(recipe, checkpoint).eval().to(memory_format=torch.channels_last)
        self.weight = float(config.teacher["weight"])
        self._half = half_convolutions(config)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, float32, shape (N, classes, H, W), of images (N, channels, H, W)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            return self.network(images.contiguous(memory_format=torch.channels_last)).float()

    def divergence(self, logits: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted mean over pixels of the Kullback-Leibler divergence of a network's classes from the teacher's.

        In slices of which all four classes are annotated, background and normal WMH count as one class: the border
        between them is that of the annotation, not the teacher's.

        Parameters
        ----------
        logits : Tensor, shape (N, classes, H, W)
            The network's answer to ``images``.
        images : Tensor, shape (N, channels, H, W)
        labels : Tensor of int64, shape (N, H, W)
            Training labels (:data:`flairseg.adapt.partial.MAY_BE`).
        """
        ours, theirs = (torch.log_softmax(answer.float(), 1) for answer in (logits, self(images).clone()))
        known = (labels <= LESION).flatten(1).all(1)[:, None, None]
        per_pixel = torch.where(known, _divergence(_joined(ours), _joined(theirs)), _divergence(ours, theirs))
        return self.weight * per_pixel.mean()


def _divergence(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of each pixel, shape (N, H, W), of log probabilities (N, classes, H, W)."""
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)


def _joined(answer: torch.Tensor) -> torch.Tensor:
    """Log probabilities (N, 3, H, W) of background or normal WMH, ventricles, lesion, of (N, 4, H, W)."""
    either = torch.logsumexp(answer[:, [BACKGROUND, NORMAL_WMH]], 1, keepdim=True)
    return torch.cat([either, answer[:, [VENTRICLES, LESION]]], 1)
