"""Lesions drawn anew at other thresholds, before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from flairseg.lesions.boxes import changed_box
from flairseg.lesions.components import find_lesions
from flairseg.lesions.edits import rethresholded

if TYPE_CHECKING:
    from flairseg.lesions.boxes import Box

    from ..measurement import Measurement


@dataclass(frozen=True)
class Proposal:
    """Lesions drawn anew, not applied yet."""

    box: Box | None
    before: np.ndarray | None
    after: np.ndarray | None
    count: int
    volume_ml: float


def propose(
    measured: Measurement,
    probabilities: np.ndarray,
    original: np.ndarray | None,
    seen_from: float,
    outlined_to: float,
) -> Proposal:
    """Lesions drawn anew by :func:`flairseg.lesions.edits.rethresholded`, and how many and large they would be."""
    grid, labels = measured.grid, measured.labels
    fitting = original if original is not None and original.shape == labels.shape else None
    after = rethresholded(labels, probabilities, seen_from, outlined_to, grid.voxel_volume_mm3, fitting)
    found = find_lesions(after, grid.ijk_to_ras)
    volume = sum(lesion.volume_ml for lesion in found.lesions)
    box = changed_box(labels, after)
    if box is None:
        return Proposal(None, None, None, len(found.lesions), volume)
    return Proposal(box, labels[box], after[box], len(found.lesions), volume)
