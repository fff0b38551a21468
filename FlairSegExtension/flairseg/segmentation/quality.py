"""Warnings about an image that does not look like a brain FLAIR, and about a result that is not plausible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import CaseWarning
from ..image.checks import IMPLAUSIBLE_ML
from ..image.medians import median_of
from ..image.slice_stack import SliceStack
from ..labels import BACKGROUND, CLASS_BY_VALUE, VENTRICLES
from ..lesions.boxes import count_voxels
from ..preprocessing.image_quality import AREA_CM2, COVERAGE_MM, NOT_SURE, image_doubts, measure


def assess(
    stack: SliceStack,
    mask: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[int] = tuple(CLASS_BY_VALUE),
    level: float | None = None,
) -> list[CaseWarning]:
    """Warnings about an image that does not look like a brain FLAIR, or a result that cannot be right.

    Parameters
    ----------
    stack : SliceStack
        The image.
    mask : ndarray of bool, shape (slices, rows, columns)
        Rough brain mask.
    labels : ndarray of uint8, shape (slices, rows, columns)
        The result.
    classes : sequence of int
        Class values that the model knows: what it does not know it cannot have missed.
    level : float, optional
        :func:`unlabelled_level` of these, where it is known.

    Returns
    -------
    list of CaseWarning
        Empty for a plausible FLAIR and result.
    """
    doubts = image_doubts(measure(stack, mask))
    return doubts + result_doubts(stack, mask, labels, bool(doubts), VENTRICLES in classes, level)


def unlabelled_level(stack: SliceStack, mask: np.ndarray, labels: np.ndarray) -> float | None:
    """Median intensity of the brain without labels; None where there is none. Parameters as for :func:`assess`."""
    return median_of(lambda: _unlabelled(stack.array, labels, mask))


def result_doubts(
    stack: SliceStack,
    mask: np.ndarray,
    labels: np.ndarray,
    image_is_doubtful: bool = False,
    ventricles_are_known: bool = True,
    level: float | None = None,
) -> list[CaseWarning]:
    """Reasons to doubt the result: no ventricles in a whole brain, impossible volumes, bright ventricles."""
    doubts: list[CaseWarning] = []
    voxel_ml = float(np.prod(stack.spacing)) / 1000
    volumes = count_voxels(labels) * voxel_ml
    for value, limit in IMPLAUSIBLE_ML.items():
        if volumes[value] > limit:
            name = CLASS_BY_VALUE[value].name
            text = f"{name}: {volumes[value]:.0f} ml were found, more than is plausible. Check the result."
            doubts.append(CaseWarning(text, "volume-implausible"))
    if image_is_doubtful or not mask.any():
        return doubts
    covered = np.count_nonzero(mask.any(axis=(1, 2))) * stack.spacing[0] >= COVERAGE_MM
    if not volumes[1:].any() and ventricles_are_known and (covered or _shows_brain(stack, mask)):
        text = "Nothing was found, neither ventricles nor hyperintensities, although the image shows a brain."
        doubts.append(CaseWarning(f"{text} {NOT_SURE}", "nothing-found"))
    elif volumes[VENTRICLES] == 0 and covered and ventricles_are_known:
        text = "No ventricles were found although the image covers a whole brain. Check the result."
        doubts.append(CaseWarning(text, "no-ventricles"))
    elif volumes[VENTRICLES] > 0:
        brain = (unlabelled_level(stack, mask, labels) if level is None else level) or 0.0
        if brain > 0 and float(np.median(stack.array[labels == VENTRICLES])) > 0.9 * brain:
            text = "The segmented ventricles are not darker than the brain, as they are in a FLAIR. Check the result."
            doubts.append(CaseWarning(text, "ventricles-bright"))
    return doubts


def _unlabelled(array: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> Iterator[np.ndarray]:
    """Intensities of the brain without labels, slice by slice."""
    return (one[inside & (own == BACKGROUND)] for one, own, inside in zip(array, labels, mask, strict=True))


def _shows_brain(stack: SliceStack, mask: np.ndarray) -> bool:
    """Whether a slice shows a cross-section of the brain as large as at the level of the ventricles."""
    return float(mask.sum(axis=(1, 2)).max()) * stack.spacing[1] * stack.spacing[2] / 100 >= AREA_CM2[0]
