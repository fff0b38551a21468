"""Sources of training samples: framed cases in memory, or a pool of stored slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flairseg.adapt.framed import FramedCase, dequantise
from flairseg.labels import LESION

#: Mean and deviation of a brain in the stored unit (brain-median) over the annotated patients, by normalisation.
POOL_UNITS = {"brain-median": (0.0, 1.0), "zscore": (-0.2, 1.4)}

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


#: S2 leaves out slices whose mask has less information than this (bits).
LOWEST_ENTROPY = 0.01


def mask_entropy(mask: np.ndarray) -> float:
    """Shannon entropy of a binary mask in bits (source: S2)."""
    share = float(mask.mean())
    return -sum(p * float(np.log2(p)) for p in (share, 1 - share) if p > 0)


class ArraySource:
    """Slices of framed cases.

    Parameters
    ----------
    cases : list of FramedCase
    slices : str
        ``all``: those that show any class are drawn three times as often; ``entropy``: only those with lesions enough
        for a Shannon entropy of 0.01 bits (S2); ``entropy-thrice``: those three times as often as the others.
    window : sequence of int, optional
        (rows, columns) around the head that are kept of the frame.
    """

    def __init__(self, cases: list[FramedCase], slices: str = "all", window: Sequence[int] | None = None) -> None:
        if not cases:
            raise ValueError("no cases to train on")
        self.cases = cases
        self.index = [(c, k) for c, case in enumerate(cases) for k in range(len(case.labels))]
        if slices not in ("all", "entropy", "entropy-thrice"):
            raise ValueError(f"slices is {slices!r}, not all, entropy or entropy-thrice")

        def matters(c: int, k: int) -> bool:
            if slices == "all":
                return bool(cases[c].labels[k].any())
            return mask_entropy(cases[c].labels[k] == LESION) >= LOWEST_ENTROPY

        if slices == "entropy":
            self.index = [place for place in self.index if matters(*place)]
        if not self.index:
            raise ValueError("no slice shows lesions enough to train on")
        weights = np.array([3.0 if matters(*place) else 1.0 for place in self.index])
        self.weights = weights / weights.sum()
        self.boxes = [head_window(case.mask, window) for case in cases]

    def draw(self, rng: np.random.Generator) -> Sample:
        """Image (channels, H, W), labels (H, W) and brain mask (H, W) of a random slice."""
        c, k = self.index[rng.choice(len(self.index), p=self.weights)]
        case, box = self.cases[c], self.boxes[c]
        return case.prepared.channels(k)[(slice(None), *box)], case.labels[k][box], case.mask[k][box]


def head_window(mask: np.ndarray, size: Sequence[int] | None) -> tuple[slice, slice]:
    """Rows and columns of a window of ``size`` around the brain, within the frame; all of it without a size.

    Parameters
    ----------
    mask : ndarray of bool, shape (slices, rows, columns)
    size : sequence of int or None
    """
    if size is None:
        return slice(None), slice(None)
    box = []
    for axis in (1, 2):
        length, wanted = mask.shape[axis], size[axis - 1]
        inside = np.flatnonzero(mask.any(axis=(0, 3 - axis)))
        centre = (inside[0] + inside[-1]) / 2 if inside.size else length / 2
        first = int(np.clip(round(centre - wanted / 2), 0, max(length - wanted, 0)))
        box.append(slice(first, min(first + wanted, length)))
    return tuple(box)


class PoolSource:
    """Slices stored as bytes by :func:`~training.synthetic.make_pool`.

    Parameters
    ----------
    paths : list of Path
    normalisation : str
        ``brain-median``, as they are stored, or ``zscore``, which differs from it by a factor and a shift.
    input_slices : int
        3, as they are stored, or 1: the middle one alone.
    """

    def __init__(self, paths: list[Path], normalisation: str = "brain-median", input_slices: int = 3) -> None:
        if normalisation not in POOL_UNITS:
            raise ValueError(f"synthetic slices come in {', '.join(POOL_UNITS)}, not {normalisation}")
        self.channels = slice(None) if input_slices == 3 else slice(1, 2)
        self.mean, self.deviation = POOL_UNITS[normalisation]
        images, labels = [], []
        for path in paths:
            with np.load(path) as stored:
                images.append(stored["images"])
                labels.append(stored["labels"])
        self.images, self.labels = np.concatenate(images), np.concatenate(labels)

    def draw(self, rng: np.random.Generator) -> Sample:
        """Image (channels, H, W), labels (H, W) and a full mask (synthetic heads are stripped when drawn)."""
        n = rng.integers(len(self.images))
        image = (dequantise(self.images[n, self.channels]) - np.float32(self.mean)) / np.float32(self.deviation)
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
