"""The part of each frame that a network is shown: the brain and a margin around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.card import PipelineConfig
from ..preprocessing import Prepared

#: Crops start and end at multiples of this: the grid of four poolings, so that each sees the pixels that it would see
#: of the whole frame.
GRID_PX = 16


@dataclass(frozen=True)
class Crop:
    """Rows and columns of a frame, pixels: first, and behind the last."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def box(self) -> tuple[slice, slice]:
        """As an index of a frame."""
        return slice(*self.rows), slice(*self.columns)


def crops(prepared: Prepared, config: PipelineConfig, slice_mm: float) -> list[Crop | None] | None:
    """Return the part of each slice's frame that the network receives.

    Parameters
    ----------
    prepared : Prepared
    config : PipelineConfig
        Its ``crop_margin_px`` and ``brain_margin_mm``.
    slice_mm : float
        Distance of the slices.

    Returns
    -------
    list of (Crop or None), or None
        For each slice; None for one that shows no brain and has no slice beside it, within ``brain_margin_mm``, that
        does: the clean-up keeps nothing there. None for the whole: whole frames, because the card asks for them, no
        brain was found, or frames do not keep to the grid.
    """
    size = prepared.frame.size
    if config.crop_margin_px <= 0 or not prepared.mask.any() or any(side % GRID_PX for side in size):
        return None
    boxes = [_brain_box(prepared, index) for index in range(len(prepared.mask))]
    reach = int(config.brain_margin_mm / slice_mm) if config.brain_margin_mm > 0 else len(boxes)
    out: list[Crop | None] = []
    for index, box in enumerate(boxes):
        near = [box] if box is not None else boxes[max(index - reach, 0) : index + reach + 1]
        found = [one for one in near if one is not None]
        out.append(_around(np.stack(found), config.crop_margin_px, size) if found else None)
    return out


def batches(wanted: list[Crop | None], most: int) -> list[list[int]]:
    """Numbers of the slices that run together: crops of one shape, wherever they are; at most ``most``."""
    by_shape: dict[tuple[int, int], list[int]] = {}
    for index, crop in enumerate(wanted):
        if crop is not None:
            by_shape.setdefault(crop.shape, []).append(index)
    return [same[n : n + most] for same in by_shape.values() for n in range(0, len(same), most)]


def _brain_box(prepared: Prepared, index: int) -> np.ndarray | None:
    """First and last row and column of a slice's brain, frame pixels, shape (2, 2); None without brain."""
    mask, frame = prepared.mask[index], prepared.frame
    if not mask.any():
        return None
    lines = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    ends = np.array([[line[0], line[-1]] for line in lines], dtype=float)
    box: np.ndarray = (ends - frame.offset[index][:, None]) / frame.scale[index][:, None]
    return box


def _around(boxes: np.ndarray, margin: int, size: tuple[int, int]) -> Crop:
    """Smallest crop on the grid that holds boxes (n, 2, 2) and a margin, as far as the frame goes."""
    low = np.floor((boxes[:, :, 0].min(axis=0) - margin) / GRID_PX) * GRID_PX
    high = np.ceil((boxes[:, :, 1].max(axis=0) + 1 + margin) / GRID_PX) * GRID_PX
    low = np.clip(low, 0, np.asarray(size) - GRID_PX).astype(int)
    high = np.maximum(np.minimum(high, size).astype(int), low + GRID_PX)
    return Crop((int(low[0]), int(high[0])), (int(low[1]), int(high[1])))
