"""Labels of partly annotated data sets: unknown is not background.

Beside the four classes a pixel may be "no lesion" (of a set that draws lesions alone: background, ventricle or normal
hyperintensity), "no hyperintensity" (where ventricles were not drawn: background or ventricle), and so on for every set
of classes that a reader may have reviewed, or unknown. The losses sum the probabilities of a pixel's possible classes
(marginal loss, Fang and Yan 2020, IEEE TMI 39:3619; Shi et al. 2021, Medical Image Analysis 70:101979) and leave out
what is not known.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ..labels import BACKGROUND, LESION, NORMAL_WMH, NUMBER_OF_CLASSES, VENTRICLES

#: Label values of training maps beyond the classes 0 to 3.
NO_LESION, NO_HYPERINTENSITY, UNKNOWN = 4, 5, 6
NO_VENTRICLE, NO_NORMAL, BACKGROUND_OR_NORMAL, BACKGROUND_OR_LESION = 7, 8, 9, 10
#: Classes that a pixel with a training label may be of.
MAY_BE: dict[int, tuple[int, ...]] = {
    **{value: (value,) for value in range(NUMBER_OF_CLASSES)},
    NO_LESION: (BACKGROUND, VENTRICLES, NORMAL_WMH),
    NO_HYPERINTENSITY: (BACKGROUND, VENTRICLES),
    UNKNOWN: (BACKGROUND, VENTRICLES, NORMAL_WMH, LESION),
    NO_VENTRICLE: (BACKGROUND, NORMAL_WMH, LESION),
    NO_NORMAL: (BACKGROUND, VENTRICLES, LESION),
    BACKGROUND_OR_NORMAL: (BACKGROUND, NORMAL_WMH),
    BACKGROUND_OR_LESION: (BACKGROUND, LESION),
}
#: Training label of a pixel that is none of the classes that were reviewed.
_LABEL_OF = {classes: label for label, classes in MAY_BE.items()}
#: Lesions of fewer pixels than this in the slice weigh more, by the square root, up to so many times.
FULL_SIZE_PIXELS = 40
LARGEST_WEIGHT = 2.5


def decides(label: int, value: int) -> bool:
    """Whether a training label states that a pixel is, or is not, of a class."""
    return MAY_BE[label] == (value,) or value not in MAY_BE[label]


def training_labels(labels: np.ndarray, reviewed: Collection[int]) -> np.ndarray:
    """Training labels of a label map of which only some classes were reviewed; the others are unknown, not background.

    Parameters
    ----------
    labels : ndarray of uint8, any shape
        Classes 0..3; values of classes that were not reviewed are disregarded.
    reviewed : collection of int
        Class values 1..3.

    Returns
    -------
    ndarray of uint8, same shape
        Keys of :data:`MAY_BE`.
    """
    others = tuple(value for value in range(NUMBER_OF_CLASSES) if value == BACKGROUND or value not in reviewed)
    return np.where(np.isin(labels, list(reviewed)), labels, _LABEL_OF[others]).astype(np.uint8)


def lesions_only(lesions: np.ndarray) -> np.ndarray:
    """Training labels, uint8, same shape, of a set that draws lesions (bool) and nothing else."""
    return np.where(lesions, LESION, NO_LESION).astype(np.uint8)


def lesion_weights(labels: np.ndarray) -> np.ndarray:
    """Weight of each pixel in the cross entropy, float32: 1, and more in small lesions of the slice.

    Parameters
    ----------
    labels : ndarray of uint8, shape (rows, columns)
        Training labels.
    """
    lesions = labels == LESION
    if not lesions.any():
        return np.ones(labels.shape, np.float32)
    components, _ = ndimage.label(lesions, np.ones((3, 3)))
    sizes = np.bincount(components.ravel())
    weights = np.clip(np.sqrt(FULL_SIZE_PIXELS / np.maximum(sizes, 1)), 1.0, LARGEST_WEIGHT)
    weights[0] = 1.0
    out: np.ndarray = weights[components].astype(np.float32)
    return out


def marginal_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross entropy of what each pixel may be, weighted, averaged over the pixels of which anything is known.

    Parameters
    ----------
    logits : Tensor of float32, shape (N, 4, H, W)
    labels : Tensor of int64, shape (N, H, W)
        Training labels, see :data:`MAY_BE`.
    weights : Tensor, shape (N, H, W)
    """
    log_probabilities = functional.log_softmax(logits, 1)
    likelihood = log_probabilities.gather(1, labels.clamp(max=LESION)[:, None])[:, 0]
    for value, classes in MAY_BE.items():
        those = labels == value
        if len(classes) > 1 and value != UNKNOWN and those.any():
            summed = torch.logsumexp(log_probabilities[:, list(classes)], 1)
            likelihood = torch.where(those, summed, likelihood)
    known = labels != UNKNOWN
    return -(likelihood * weights)[known].sum() / known.sum().clamp(min=1)


def partial_dice(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice of each foreground class over the pixels that are known to be or not to be of it, averaged.

    Pooled over the batch, smoothed by one pixel; arguments as :func:`marginal_cross_entropy`.
    """
    probabilities = torch.softmax(logits, 1)
    partial = bool((labels > LESION).any())
    total = logits.new_zeros(())
    for value in range(1, NUMBER_OF_CLASSES):
        truth, ours = (labels == value).float(), probabilities[:, value]
        if partial:
            ours = ours * sum((labels == other).float() for other in MAY_BE if decides(other, value))
        total = total + 1 - (2 * (ours * truth).sum() + 1) / (ours.sum() + truth.sum() + 1)
    return total / (NUMBER_OF_CLASSES - 1)


def partial_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Marginal cross entropy plus soft Dice, in equal parts; arguments as :func:`marginal_cross_entropy`."""
    logits = logits.float()
    return marginal_cross_entropy(logits, labels, weights) + partial_dice(logits, labels)
