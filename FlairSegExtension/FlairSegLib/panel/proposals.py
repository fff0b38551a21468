"""Lesions redrawn at other thresholds: counted before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from flairseg.lesions.boxes import changed_box
from flairseg.lesions.components import SMALLEST_LESION_MM3, find_lesions
from flairseg.lesions.edits import rethresholded

if TYPE_CHECKING:
    from flairseg.lesions.boxes import Box

    from ..measurement import Measurement, Stored


@dataclass(frozen=True)
class Proposal:
    """Redrawn lesions, not applied yet.

    Attributes
    ----------
    box : Box or None
        Voxels that would change; None where none would.
    before, after : ndarray of uint8 or None
        Labels in the box.
    count : int
        Lesions afterwards.
    volume_ml : float
        Their volume.
    thresholds : tuple of float
        Probabilities: of a core voxel, of the outline.
    """

    box: Box | None
    before: np.ndarray | None
    after: np.ndarray | None
    count: int
    volume_ml: float
    thresholds: tuple[float, float]


def propose(measured: Measurement, stored: Stored, seen_from: float, outlined_to: float) -> Proposal:
    """Redraw the lesions and count them: those of a run with that threshold, and the reader's edits.

    Parameters
    ----------
    measured : Measurement
    stored : Stored
        With probabilities, on the grid of ``measured``.
    seen_from, outlined_to : float
        Probabilities, 0..1.
    """
    # In the thread, not when the panel opens: it loads SciPy.
    from flairseg.segmentation.redrawing import cleaned_like_a_run

    grid, labels, original = measured.grid, measured.labels, stored.original
    fitting = original if original is not None and original.shape == labels.shape else None
    smallest = SMALLEST_LESION_MM3 if stored.min_lesion_mm3 is None else stored.min_lesion_mm3
    after = rethresholded(
        labels, stored.probabilities, seen_from, outlined_to, grid.voxel_volume_mm3, fitting, smallest
    )
    after = cleaned_like_a_run(after, labels, fitting, grid.ijk_to_ras, stored.beyond, stored.fill_holes_in)
    found = find_lesions(after, grid.ijk_to_ras)
    volume = sum(lesion.volume_ml for lesion in found.lesions)
    box = changed_box(labels, after)
    if box is None:
        return Proposal(None, None, None, len(found.lesions), volume, (seen_from, outlined_to))
    return Proposal(box, labels[box], after[box], len(found.lesions), volume, (seen_from, outlined_to))
