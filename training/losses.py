"""Losses of the recipes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional


def soft_dice_loss(probabilities: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice, pooled over the batch and averaged over channels; smoothed by one pixel.

    Parameters
    ----------
    probabilities, target : Tensor, shape (N, channels, H, W)
    """
    overlap = (probabilities * target).sum((0, 2, 3))
    size = probabilities.sum((0, 2, 3)) + target.sum((0, 2, 3))
    return (1 - (2 * overlap + 1) / (size + 1)).mean()


def dice_cross_entropy(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Cross entropy plus soft Dice loss of the foreground classes, pooled over the batch (source: S2).

    Parameters
    ----------
    logits : Tensor, shape (N, classes, H, W)
    target : Tensor of int64, shape (N, H, W)
        Channel indices.
    weights : Tensor, shape (classes,), optional
        Class weights of the cross entropy.
    """
    logits = logits.float()
    cross_entropy = functional.cross_entropy(logits, target, weight=weights)
    probabilities = torch.softmax(logits, 1)[:, 1:]
    onehot = functional.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].to(probabilities.dtype)
    return cross_entropy + soft_dice_loss(probabilities, onehot)


def binary_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross entropy of sigmoid channels (source: S3).

    Parameters
    ----------
    logits, target : Tensor, shape (N, channels, H, W)
    weights : Tensor, shape (channels,), optional
        Weight of each channel's foreground.
    """
    positive = None if weights is None else weights[:, None, None]
    return functional.binary_cross_entropy_with_logits(logits.float(), target, pos_weight=positive)


def dice_of_sigmoids(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Soft Dice loss of sigmoid channels (source: S5); as :func:`binary_cross_entropy`, ``weights`` unused."""
    return soft_dice_loss(torch.sigmoid(logits.float()), target)


def binary_cross_entropy_dice(
    logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross entropy plus soft Dice of sigmoid channels (source: S4); as :func:`binary_cross_entropy`."""
    return binary_cross_entropy(logits, target, weights) + dice_of_sigmoids(logits, target)


Loss = Callable[[torch.Tensor, torch.Tensor, "torch.Tensor | None"], torch.Tensor]

#: Losses by name in a recipe. ``dice-ce`` is for softmax outputs, the others for sigmoid outputs.
LOSSES: dict[str, Loss] = {
    "dice-ce": dice_cross_entropy,
    "bce": binary_cross_entropy,
    "bce-dice": binary_cross_entropy_dice,
    "dice": dice_of_sigmoids,
}


def channel_targets(labels: torch.Tensor, output: str, classes: tuple[int, ...]) -> torch.Tensor:
    """Target channels of a network for a label map.

    Parameters
    ----------
    labels : Tensor of int64, shape (N, H, W)
        Class values 0..3.
    output : str
        The card's ``output``.
    classes : tuple of int
        Class value of each channel; other classes are background.

    Returns
    -------
    Tensor
        ``softmax``: channel indices, int64, shape (N, H, W). ``sigmoid``: float 0 or 1, shape (N, channels, H, W).
    """
    masks = torch.stack([labels == value for value in classes], 1)
    if output == "sigmoid":
        return masks.float()
    return masks.int().argmax(1)


def deeply_supervised(
    loss: Loss, logits: list[torch.Tensor], target: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Weighted loss over the resolutions of a deeply supervised network (source: nnU-Net).

    Weights are halved from level to level; the coarsest level is not used. Targets are downsampled by nearest
    neighbour.

    Parameters
    ----------
    loss : callable
    logits : list of Tensor
        Finest resolution first.
    target : Tensor
        Target of ``loss`` at the finest resolution.
    weights : Tensor, optional
    """
    levels = logits[:-1] if len(logits) > 1 else logits
    shares = [0.5**n for n in range(len(levels))]
    total = torch.zeros(())
    for share, one in zip(shares, levels, strict=True):
        step = target.shape[-1] // one.shape[-1]
        total = total + share / sum(shares) * loss(one, target[..., ::step, ::step], weights)
    return total
