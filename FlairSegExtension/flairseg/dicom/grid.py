"""Labels drawn on another order of the same voxels (Slicer's, a NIfTI file's) back onto the frames of a series."""

from __future__ import annotations

import numpy as np

from ..errors import InvalidGeometryError

#: Grids whose corners differ by more than this share of a voxel are different grids.
TOLERANCE_VOXELS = 0.1


def onto(labels: np.ndarray, ijk_to_ras: np.ndarray, shape: tuple[int, int, int], target: np.ndarray) -> np.ndarray:
    """The same voxels in the order of another grid: axes permuted and flipped, never resampled.

    Parameters
    ----------
    labels : ndarray, shape (K, J, I)
    ijk_to_ras : ndarray, shape (4, 4)
        Their affine, RAS mm.
    shape : tuple of int
        The target's voxels along K, J, I.
    target : ndarray, shape (4, 4)
        The target's affine, RAS mm.

    Returns
    -------
    ndarray, shape ``shape``

    Raises
    ------
    InvalidGeometryError
        If the two grids are not made of the same voxels.
    """
    matrix = np.linalg.solve(np.asarray(target, dtype=float), np.asarray(ijk_to_ras, dtype=float))
    permutation = np.rint(matrix[:3, :3])
    same = all((abs(permutation).sum(axis=axis) == 1).all() for axis in (0, 1))
    size = np.array(labels.shape[::-1])
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (size - 1)
    if same:
        axes = [int(np.argmax(abs(permutation[a]))) for a in range(3)]
        signs = [int(permutation[a, axes[a]]) for a in range(3)]
        offset = [0 if s > 0 else size[b] - 1 for s, b in zip(signs, axes, strict=True)]
        wanted = corners @ permutation.T + offset
        reached = corners @ matrix[:3, :3].T + matrix[:3, 3]
        same = tuple(size[axes][::-1]) == tuple(shape) and abs(wanted - reached).max() <= TOLERANCE_VOXELS
    if not same:
        raise InvalidGeometryError(
            "The segmentation is not on the voxels of the DICOM series.",
            "Give the series that was segmented, and the segmentation on its own grid, not a resampled one.",
        )
    placed = labels.transpose(2, 1, 0).transpose(axes)
    placed = placed[tuple(slice(None, None, s) for s in signs)]
    return np.ascontiguousarray(placed.transpose(2, 1, 0))
