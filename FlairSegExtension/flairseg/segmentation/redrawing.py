"""Clean-up of lesions that were redrawn at other thresholds, as a run with that threshold cleans its labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from ..image.footing import footed
from ..image.packed import CompactAnswer
from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..lesions.edits import without_beyond
from ..models.card import PipelineConfig
from .postprocessing import BRAIN_STEP, CONNECTIVITY_26, fill_holes, near_brain


def with_brain_margin(answer: CompactAnswer, volume: Volume, config: PipelineConfig) -> CompactAnswer:
    """A result that was read from files, which hold no brain mask, with what a run of its model drops beyond the brain.

    Parameters
    ----------
    answer : CompactAnswer
        On the voxels of ``volume``; without probabilities, or where it knows already, it is returned as it is.
    volume : Volume
        The image.
    config : PipelineConfig
        Of the model's card.

    Returns
    -------
    CompactAnswer
    """
    from ..preprocessing import DENOISERS
    from ..preprocessing.brain_mask import shared_brain_mask

    if answer.levels is None or answer.beyond is not None or config.brain_margin_mm <= 0:
        return answer
    stack = SliceStack.from_volume(footed(volume), config.plane)
    brain = shared_brain_mask(DENOISERS[config.denoise](stack.array), stack.spacing)
    return replace(answer, beyond=beyond_margin(answer, stack, brain[:, ::BRAIN_STEP, ::BRAIN_STEP], config))


def beyond_margin(
    answer: CompactAnswer, stack: SliceStack, brain: np.ndarray, config: PipelineConfig
) -> np.ndarray | None:
    """Voxels of a result's box (uint8) that have a probability and are farther from the brain than the card's margin.

    Parameters
    ----------
    answer : CompactAnswer
    stack : SliceStack
        The image, or anything else on its grid, in the card's plane.
    brain : ndarray of bool, shape (slices, rows, columns)
        Rough brain mask on the stack, every :data:`~.postprocessing.BRAIN_STEP`-th pixel of each slice.
    config : PipelineConfig

    Returns
    -------
    ndarray of uint8 or None
        None where there is no such voxel, no margin or no brain.
    """
    if answer.levels is None or not brain.any() or config.brain_margin_mm <= 0:
        return None
    near = near_brain(brain, stack.spacing, config.brain_margin_mm)
    _, rows, columns = stack.array.shape
    whole = near.repeat(BRAIN_STEP, axis=1)[:, :rows].repeat(BRAIN_STEP, axis=2)[..., :columns]
    beyond = answer.levels.any(axis=-1) & ~stack.restore(whole)[answer.box]
    return beyond.astype(np.uint8) if beyond.any() else None


def cleaned_like_a_run(
    redrawn: np.ndarray,
    before: np.ndarray,
    original: np.ndarray | None,
    ijk_to_ras: np.ndarray,
    beyond: np.ndarray | None = None,
    fill_holes_in: str = "",
) -> np.ndarray:
    """Drop what is outside the brain, then fill holes; what a reader edited stays.

    Parameters
    ----------
    redrawn : ndarray of uint8, shape (K, J, I)
        From :func:`flairseg.lesions.edits.rethresholded`.
    before : ndarray of uint8, same shape
        The labels with the reader's edits.
    original : ndarray of uint8, same shape, optional
        The model's own labels; without them no voxel counts as edited.
    ijk_to_ras : ndarray, shape (4, 4)
        RAS, mm.
    beyond : ndarray of bool, same shape, optional
        See :attr:`flairseg.image.packed.CompactAnswer.beyond`.
    fill_holes_in : str
        Plane (``native``, ``axial``, ...) in whose slices holes are filled, as
        :func:`~flairseg.segmentation.postprocessing.fill_holes`; those beside an edited voxel are left. Empty: none.

    Returns
    -------
    ndarray of uint8, same shape
    """
    edited = np.zeros(before.shape, bool) if original is None else before != original
    out = redrawn if beyond is None else without_beyond(redrawn, beyond & ~edited)
    if fill_holes_in:
        stack = SliceStack.from_volume(Volume(out, ijk_to_ras, ""), fill_holes_in)
        filled = np.ascontiguousarray(stack.restore(fill_holes(stack.array, stack.spacing)))
        holes = filled != out
        if edited.any() and holes.any():
            numbers, count = ndimage.label(holes, structure=CONNECTIVITY_26)
            keep = np.ones(count + 1, bool)
            keep[np.unique(numbers[ndimage.binary_dilation(edited, CONNECTIVITY_26)])] = False
            holes = keep[numbers] & holes
        out = np.where(holes, filled, out)
    cleaned: np.ndarray = np.where(edited, before, out)
    return cleaned
