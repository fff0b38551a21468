"""Where training samples come from: framed cases in memory, or a pool of stored slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .data import FramedCase
from .synthetic import dequantise

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


class ArraySource:
    """Slices of framed cases; slices that show any class are drawn three times as often.

    Parameters
    ----------
    cases : list of FramedCase
    """

    def __init__(self, cases: list[FramedCase]) -> None:
        if not cases:
            raise ValueError("no cases to train on")
        self.cases = cases
        self.index = [(c, k) for c, case in enumerate(cases) for k in range(len(case.labels))]
        weights = np.array([3.0 if cases[c].labels[k].any() else 1.0 for c, k in self.index])
        self.weights = weights / weights.sum()

    def draw(self, rng: np.random.Generator) -> Sample:
        """Image (channels, H, W), labels (H, W) and brain mask (H, W) of a random slice."""
        c, k = self.index[rng.choice(len(self.index), p=self.weights)]
        case = self.cases[c]
        return case.prepared.channels(k), case.labels[k], case.mask[k]


class PoolSource:
    """Slices stored as bytes by :func:`~models.training.synthetic.make_pool`."""

    def __init__(self, paths: list[Path]) -> None:
        images, labels = [], []
        for path in paths:
            with np.load(path) as stored:
                images.append(stored["images"])
                labels.append(stored["labels"])
        self.images, self.labels = np.concatenate(images), np.concatenate(labels)

    def draw(self, rng: np.random.Generator) -> Sample:
        """Image (channels, H, W), labels (H, W) and a full mask (synthetic heads are stripped when drawn)."""
        n = rng.integers(len(self.images))
        image = dequantise(self.images[n])
        return image, self.labels[n], np.ones(self.labels[n].shape, dtype=bool)


class PseudoSource:
    """Slices of unlabelled scanners with the labels of an ensemble of fold models, see ``pseudo.py``."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self.images, self.labels, self.masks = stored["images"], stored["labels"], stored["masks"]

    def draw(self, rng: np.random.Generator) -> Sample:
        """Image (channels, H, W), labels (H, W) and brain mask (H, W) of a random slice."""
        n = rng.integers(len(self.images))
        return dequantise(self.images[n]), self.labels[n], self.masks[n]
