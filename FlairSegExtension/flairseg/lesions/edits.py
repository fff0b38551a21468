"""Edits of whole lesions and of class labels: class, threshold, voxels gained and lost; arrays K, J, I."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..labels import BACKGROUND, LESION, NORMAL_WMH, NUMBER_OF_CLASSES, VENTRICLES
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
    """Redraw the lesions from the model's probabilities; the reader's edits are kept.

    A lesion has at least one voxel whose probability reaches ``seen_from`` and extends over all connected voxels that
    reach ``outlined_to`` (hysteresis thresholding, Canny 1986). The extension stops at the ventricles; as in
    :func:`flairseg.segmentation.decoding.classify`, a voxel that itself reaches ``seen_from`` is lesion whatever its
    other probabilities. A voxel that is no longer lesion becomes the most probable other class. The minimum mean
    probability of a lesion (``min_lesion_probability`` of a model card) is not applied: with equal levels, lesions
    are those of :func:`flairseg.models.card.with_lesion_threshold`, once they are cleaned by
    :func:`flairseg.segmentation.redrawing.cleaned_like_a_run`.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
        Not changed.
    probabilities : ndarray of float, shape (4, K, J, I)
        Or of uint8: 0..255 for 0..1.
    seen_from, outlined_to : float
        Probabilities, 0..1; an ``outlined_to`` above ``seen_from`` is taken as ``seen_from``.
    voxel_mm3 : float
        Volume of a voxel.
    original : ndarray of uint8, shape (K, J, I), optional
        The model's own labels: voxels where ``labels`` differs were edited and stay as they are. Without it, no voxel
        counts as edited.
    smallest_mm3 : float
        Smaller lesions are removed (``min_lesion_mm3`` of a model card).

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
        free = (labels[k] != VENTRICLES) | (chance[k] >= high)
        if original is not None:
            free &= labels[k] == original[k]
            # Voxels that the reader painted or kept are cores.
            candidate[k][(labels[k] == LESION) & (labels[k] != original[k])] = 1
        candidate[k][free & (chance[k] >= low)] = 1
        dropped = free & (labels[k] == LESION)
        if dropped.any():
            # Lesion is the highest class value: the argmax of the others is their class value.
            out[k][dropped] = probabilities[:LESION, k][:, dropped].argmax(axis=0)
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


def without_beyond(labels: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """Drop what does not come near the brain, as :func:`flairseg.segmentation.postprocessing.drop_outside_brain`.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
    beyond : ndarray of bool, same shape
        Voxels that are beyond the margin around the brain. A 26-connected component of the foreground becomes
        background where all its voxels are.

    Returns
    -------
    ndarray of uint8, same shape
    """
    from scipy import ndimage

    box = bounding_box(labels, range(1, NUMBER_OF_CLASSES))
    if box is None or not (beyond[box] & (labels[box] != BACKGROUND)).any():
        return labels
    components, count = ndimage.label(labels[box] != BACKGROUND, structure=np.ones((3, 3, 3), bool))
    keep = np.zeros(count + 1, bool)
    keep[components[~beyond[box]]] = True
    out = labels.copy()
    out[box][~keep[components]] = BACKGROUND
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
