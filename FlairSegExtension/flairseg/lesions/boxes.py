"""Bounding boxes and voxel counts of label maps, slice by slice; arrays K, J, I."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..image.geometry import dominant_axes, spacing_of, triple
from ..image.packed_mask import PackedMask

#: Three slices, one for each array axis K, J, I.
Box = tuple[slice, slice, slice]


def count_voxels(labels: np.ndarray) -> np.ndarray:
    """Voxels of each class 0..3 of labels (uint8; K, J, I), slice by slice."""
    counts = np.zeros(4, np.int64)
    for part in labels:
        there = int(np.count_nonzero(part))
        counts[0] += part.size - there
        for value in range(1, 4) if there else ():
            counts[value] += np.count_nonzero(part == value)
    return counts


def changed_box(before: np.ndarray, after: np.ndarray) -> Box | None:
    """Smallest box (K, J, I) that holds all voxels in which two label maps differ; None if they are equal."""
    differs = np.zeros(after.shape[0], bool)
    rows, columns = np.zeros(after.shape[1], bool), np.zeros(after.shape[2], bool)
    for k, (a, b) in enumerate(zip(before, after, strict=True)):
        _note(a != b, k, differs, rows, columns)
    return _box_of(differs, rows, columns)


def bounding_box(labels: np.ndarray | PackedMask, values: Sequence[int]) -> Box | None:
    """Smallest box (K, J, I) around some classes; None where they have no voxel."""
    slices = np.zeros(labels.shape[0], bool)
    rows, columns = np.zeros(labels.shape[1], bool), np.zeros(labels.shape[2], bool)
    for k, part in enumerate(labels):
        mask = part == values[0]
        for value in values[1:]:
            mask |= part == value
        _note(mask, k, slices, rows, columns)
    return _box_of(slices, rows, columns)


def count_numbers(numbers: np.ndarray, most: int) -> np.ndarray:
    """Voxels of each number 0..``most`` in an array (K, J, I), slice by slice: counting takes eight bytes a voxel."""
    return sum((np.bincount(part.ravel(), minlength=most + 1) for part in numbers), np.zeros(most + 1, np.int64))


def looked_up(table: np.ndarray, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``table[numbers]`` for numbers (K, J, I), slice by slice: an index takes eight bytes a voxel."""
    found = np.empty(numbers.shape, table.dtype) if out is None else out
    for source, target in zip(numbers, found, strict=True):
        target[:] = table[source]
    return found


def through_plane_axis(ijk_to_ras: np.ndarray) -> int:
    """Array axis (0 K, 1 J, 2 I) that runs through the slices: the clearly largest spacing, else foot to head."""
    from ..image.slice_stack import thick_axis

    thick = thick_axis(spacing_of(ijk_to_ras))
    if thick is not None:
        return 2 - thick
    return 2 - int(np.flatnonzero(dominant_axes(ijk_to_ras) == 2)[0])


def _note(mask: np.ndarray, k: int, slices: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    in_columns = mask.any(axis=0)
    if in_columns.any():
        slices[k] = True
        columns |= in_columns
        rows |= mask.any(axis=1)


def _box_of(*axes: np.ndarray) -> Box | None:
    if not axes[0].any():
        return None
    found = [np.flatnonzero(axis) for axis in axes]
    return triple(slice(int(f[0]), int(f[-1]) + 1) for f in found)


def common(one: Box, other: Box) -> Box | None:
    """Intersection of two boxes; None if they do not overlap."""
    both = triple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return None if any(s.start >= s.stop for s in both) else both
