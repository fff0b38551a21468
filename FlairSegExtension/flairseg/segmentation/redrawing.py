"""Clean-up of lesions that were redrawn at other thresholds, as a run with that threshold cleans its labels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..lesions.edits import without_beyond
from .postprocessing import CONNECTIVITY_26, fill_holes


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
