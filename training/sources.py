"""Sources of training samples: framed cases in memory, pools of stored synthetic slices, pseudo-labelled slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flairseg.adapt.banks import Bank
from flairseg.adapt.framed import FramedCase, dequantise
from flairseg.labels import LESION

#: Normalisation -> mean and standard deviation of the brain in the unit of stored slices (brain-median), averaged over
#: the annotated patients.
POOL_UNITS = {"brain-median": (0.0, 1.0), "zscore": (-0.2, 1.4)}

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]
#: S2 excludes slices whose lesion mask has a lower entropy (bits).
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
        ``all``: those with any class are drawn three times as often; ``entropy``: only those whose lesion mask has a
        Shannon entropy of at least 0.01 bits (S2); ``entropy-thrice``: such slices three times as often as others.
    window : sequence of int, optional
        (rows, columns) of the window around the head that is used.

    Raises
    ------
    ValueError
        Without cases or usable slices, or for another value of ``slices``.
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
            raise ValueError("no slice has enough lesion pixels for training")
        weights = np.array([3.0 if matters(*place) else 1.0 for place in self.index])
        self.weights = weights / weights.sum()
        self.boxes = [head_window(case.mask, window) for case in cases]

    def draw(self, rng: np.random.Generator) -> Sample:
        """Draw a random slice: image (channels, H, W), labels (H, W) and brain mask (H, W)."""
        c, k = self.index[rng.choice(len(self.index), p=self.weights)]
        case, box = self.cases[c], self.boxes[c]
        return case.prepared.channels(k)[(slice(None), *box)], case.labels[k][box], case.mask[k][box]


def head_window(mask: np.ndarray, size: Sequence[int] | None) -> tuple[slice, slice]:
    """Rows and columns of a window around the brain, within the frame; the whole frame without a size.

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


def read_pools(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Slices stored by :func:`~training.synthetic.make_pool`.

    Returns
    -------
    images : ndarray of uint8, shape (n, 3 or 1, rows, columns)
        Quantised (:func:`flairseg.adapt.framed.quantise`); with neighbours the slice itself is the middle one.
    labels : ndarray of uint8, shape (n, rows, columns)
    """
    parts = []
    for path in paths:
        with np.load(path) as stored:
            parts.append((stored["images"], stored["labels"]))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def pool_bank(paths: list[Path]) -> Bank:
    """Stored synthetic slices as a bank, without their neighbours."""
    images, labels = read_pools(paths)
    return Bank(images[:, images.shape[1] // 2], labels, np.ones(labels.shape, bool), np.full(len(images), "synthetic"))


class PoolSource:
    """Slices stored by :func:`~training.synthetic.make_pool`.

    Parameters
    ----------
    paths : list of Path
    normalisation : {"brain-median", "zscore"}
        ``brain-median`` as stored, or ``zscore``, approximated by a linear transform.
    input_slices : {3, 1}
        3 as stored, or the middle slice alone.
    """

    def __init__(self, paths: list[Path], normalisation: str = "brain-median", input_slices: int = 3) -> None:
        if normalisation not in POOL_UNITS:
            raise ValueError(f"synthetic slices are normalised by {' or '.join(POOL_UNITS)}, not {normalisation}")
        self.channels = slice(None) if input_slices == 3 else slice(1, 2)
        self.mean, self.deviation = POOL_UNITS[normalisation]
        self.images, self.labels = read_pools(paths)

    def draw(self, rng: np.random.Generator) -> Sample:
        """Draw a random slice: image (channels, H, W), labels (H, W), and a mask of the whole frame (H, W)."""
        n = rng.integers(len(self.images))
        image = (dequantise(self.images[n, self.channels]) - np.float32(self.mean)) / np.float32(self.deviation)
        return image, self.labels[n], np.ones(self.labels[n].shape, dtype=bool)


class PseudoSource:
    """Slices of unlabelled scans with pseudo-labels of the fold models, see :mod:`.pseudo`."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self.images, self.labels, self.masks = stored["images"], stored["labels"], stored["masks"]

    def draw(self, rng: np.random.Generator) -> Sample:
        """Draw a random slice: image (channels, H, W), labels (H, W) and brain mask (H, W)."""
        n = rng.integers(len(self.images))
        return dequantise(self.images[n]), self.labels[n], self.masks[n]
