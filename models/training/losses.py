"""Losses of the recipes."""

from __future__ import annotations

import torch
from torch.nn import functional


def dice_cross_entropy(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Soft Dice over the foreground classes, pooled over the batch, plus cross entropy, in equal parts (source: S2).

    Parameters
    ----------
    logits : Tensor, shape (N, classes, H, W)
    target : Tensor of int64, shape (N, H, W)
    weights : Tensor, shape (classes,), optional
        Class weights of the cross entropy.
    """
    logits = logits.float()
    cross_entropy = functional.cross_entropy(logits, target, weight=weights)
    probabilities = torch.softmax(logits, 1)[:, 1:]
    onehot = functional.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].to(probabilities.dtype)
    overlap = (probabilities * onehot).sum((0, 2, 3))
    size = probabilities.sum((0, 2, 3)) + onehot.sum((0, 2, 3))
    return cross_entropy + (1 - (2 * overlap + 1) / (size + 1)).mean()
