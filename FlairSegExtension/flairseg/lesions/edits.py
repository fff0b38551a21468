"""Edits of whole lesions and of class labels: class, threshold, voxels gained and lost; arrays K, J, I."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES
from .boxes import bounding_box
from .components import SMALLEST_LESION_MM3


def other_wmh_class(value: int) -> int:
    """The class into which a region is flipped: lesion to normal WMH, everything else to lesion."""
    return NORMAL_WMH if value == LESION else LESION


def rethresholded(
    labels: np.ndarray,
    probabilities: np.ndarray,
    seen_from: float,
    outlined_to: float,
    voxel_mm3: float,
    original: np.ndarray | None = None,
    smallest_mm3: float = SMALLEST_LESION_MM3,
) -> np.ndarray:
    """Lesions drawn anew from the model's probabilities, with what the reader edited left alone.

    A lesion needs a voxel of at least ``seen_from``; it reaches out to where the probability falls below
    ``outlined_to`` (hysteresis threshold, Canny 1986). Ventricles are never touched. A voxel that is no lesion any more
    becomes normal WMH where the model holds that for more likely than background, else background.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
        Not changed.
    probabilities : ndarray of float, shape (4, K, J, I)
        Or of uint8: 0..255 for 0..1.
    seen_from, outlined_to : float
        0..1; an outline above the core is taken as the core.
    voxel_mm3 : float
    original : ndarray of uint8, shape (K, J, I), optional
        The model's own labels: where ``labels`` differ, the reader decided and nothing changes. Without it, all voxels
        are taken for the model's.
    smallest_mm3 : float
        Smaller new regions are dropped.

    Returns
    -------
    ndarray of uint8, shape (K, J, I)
    """
    from scipy import ndimage

    scale = 255.0 if probabilities.dtype == np.uint8 else 1.0
    low = min(outlined_to, seen_from) * scale
    high = seen_from * scale
    out = labels.copy()
    candidate = np.zeros(labels.shape, np.uint8)
    chance = probabilities[LESION]
    for k in range(labels.shape[0]):
        free = labels[k] != VENTRICLES
        if original is not None:
            free &= labels[k] == original[k]
            # What the reader painted or kept by hand is a core of its own.
            candidate[k][(labels[k] == LESION) & (labels[k] != original[k])] = 1
        candidate[k][free & (chance[k] >= low)] = 1
        dropped = free & (labels[k] == LESION)
        if dropped.any():
            instead = probabilities[NORMAL_WMH, k][dropped] > probabilities[BACKGROUND, k][dropped]
            out[k][dropped] = np.where(instead, NORMAL_WMH, BACKGROUND)
    box = bounding_box(candidate, (1,))
    if box is None:
        return out
    regions, count = ndimage.label(candidate[box], structure=np.ones((3, 3, 3), bool))
    inside = regions > 0
    numbers = regions[inside]
    edited = np.zeros(numbers.shape, bool)
    if original is not None:
        edited = (labels[box][inside] != original[box][inside]) & (labels[box][inside] == LESION)
    core = (chance[box][inside] >= high) | edited
    keep = np.bincount(numbers[core], minlength=count + 1) > 0
    keep &= np.bincount(numbers, minlength=count + 1) * voxel_mm3 >= smallest_mm3 - 1e-3 * voxel_mm3
    keep[numbers[edited]] = True
    keep[0] = False
    out[box][keep[regions]] = LESION
    return out


def count_edits(original: np.ndarray, current: np.ndarray, values: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Voxels that each class gained and lost.

    Parameters
    ----------
    original, current : ndarray of uint8, shape (K, J, I)
        Labels 0..3 before and after.
    values : iterable of int
        Classes.

    Returns
    -------
    dict of int to (int, int)
        Class to voxels (added, removed).
    """
    table = np.zeros(16, np.int64)
    for before, after in zip(original, current, strict=True):
        changed = before != after
        if changed.any():
            table += np.bincount(before[changed] * 4 + after[changed], minlength=16)
    matrix = table.reshape(4, 4)
    return {value: (int(matrix[:, value].sum()), int(matrix[value].sum())) for value in values}
