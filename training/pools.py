"""Stored synthetic slices as a bank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flairseg.adapt.banks import Bank


def pool_bank(paths: list[Path]) -> Bank:
    """Synthetic slices stored by :func:`~training.synthetic.make_pool`; of three neighbours the middle one."""
    images, labels = [], []
    for path in paths:
        with np.load(path) as stored:
            images.append(stored["images"][:, stored["images"].shape[1] // 2])
            labels.append(stored["labels"])
    images, labels = np.concatenate(images), np.concatenate(labels)
    return Bank(images, labels, np.ones(labels.shape, bool), np.full(len(images), "synthetic"))
