"""Features of a scan from its grid and intensities alone, to characterise the scans of a site and detect drift.

Used by :mod:`flairseg.adapt` (scope of an adaptation, drift watch) and by segmentation (comparison of a scan with the
scope of the model in use).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..image.slice_stack import SliceStack

if TYPE_CHECKING:
    from . import Prepared


def scan_figures(stack: SliceStack, prepared: Prepared) -> dict[str, float]:
    """Features of the grid and of the image.

    Parameters
    ----------
    stack : SliceStack
    prepared : Prepared
        The same slices, see :func:`flairseg.preprocessing.preprocess`.

    Returns
    -------
    dict of str to float
        ``in_plane_mm`` (geometric mean of row and column spacing), ``slice_mm`` (distance of slices), ``extent_mm``
        (number of slices times their distance), and those of :func:`image_features`.
    """
    slice_mm, *in_plane = stack.spacing
    brain = np.flatnonzero(prepared.mask.any(axis=(1, 2)))
    masks = prepared.frame.apply(prepared.mask.astype(np.float32))[brain] > 0.5
    return {
        "in_plane_mm": math.sqrt(math.prod(in_plane)),
        "slice_mm": float(slice_mm),
        "extent_mm": float(len(stack.array) * slice_mm),
        **image_features(prepared.slices[brain], masks),
    }


def image_features(slices: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Features of the image intensities.

    Parameters
    ----------
    slices : ndarray of float32, shape (slices, rows, columns)
        Normalised, in the model's frame.
    masks : ndarray of bool, same shape
        Brain.

    Returns
    -------
    dict of str to float
        For the normalised intensity of the brain: ``image_spread`` (standard deviation), ``image_dark`` and
        ``image_bright`` (5th and 95th percentile), ``image_texture`` (mean absolute difference of neighbouring pixels).
    """
    brain = slices[masks]
    beside = masks[:, :, 1:] & masks[:, :, :-1]
    dark, bright = np.percentile(brain, (5, 95)) if brain.size else (0.0, 0.0)
    return {
        "image_spread": float(brain.std()) if brain.size else 0.0,
        "image_dark": float(dark),
        "image_bright": float(bright),
        "image_texture": float(np.abs(np.diff(slices, axis=2))[beside].mean()) if beside.any() else 0.0,
    }
