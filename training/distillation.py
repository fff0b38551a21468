"""A network that is trained learns from a better one as well (knowledge distillation; Hinton et al. 2015,
arXiv:1503.02531): the teacher's class probabilities also tell how near to each other the classes of a pixel are, and
those of pixels of which no reader has said anything.
"""

from __future__ import annotations

from pathlib import Path

import torch
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

    def divergence(self, logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Weighted mean over pixels of the Kullback-Leibler divergence of a network's classes from the teacher's.

        Parameters
        ----------
        logits : Tensor, shape (N, classes, H, W)
            The network's answer to ``images``.
        images : Tensor, shape (N, channels, H, W)
        """
        ours, theirs = (torch.log_softmax(answer.float(), 1) for answer in (logits, self(images).clone()))
        pixels = logits.numel() / logits.shape[1]
        return self.weight * functional.kl_div(ours, theirs, reduction="sum", log_target=True) / pixels
