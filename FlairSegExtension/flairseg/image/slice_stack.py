"""From a volume in any storage order to a stack of slices in one canonical orientation, and the way back.

The slice axis comes from the voxel spacing and the direction cosines, never from "K is axial": sagittal, coronal and
oblique acquisitions are routine, and half of all clinical NIfTI files are left-handed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .geometry import ROUNDING_MM, dominant_axes, triple
from .volume import Volume

#: RAS sign of each canonical in-plane axis, by plane: (rows, columns) as (RAS axis, sign of increasing index).
#: Axial: rows run anterior -> posterior, columns right -> left. Sagittal: rows anterior -> posterior, columns
#: superior -> inferior. Coronal: rows superior -> inferior, columns right -> left. Slices run inferior -> superior,
#: right -> left and posterior -> anterior.
_CANONICAL: dict[str, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "axial": ((2, +1), (1, -1), (0, -1)),
    "sagittal": ((0, -1), (1, -1), (2, -1)),
    "coronal": ((1, +1), (2, -1), (0, -1)),
}
_PLANE_BY_NORMAL = {2: "axial", 0: "sagittal", 1: "coronal"}

#: A through-plane spacing counts as "clearly the largest" from this thickness and this ratio to the next one on.
THICK_SLICE_MM = 2.0
THICK_SLICE_RATIO = 1.5


def choose_plane(volume: Volume, plane: str = "native") -> str:
    """Plane in which a volume is to be sliced: ``axial``, ``sagittal`` or ``coronal``.

    ``native`` keeps the acquisition plane of thick-slice stacks (largest spacing at least 2 mm and 1.5 times the next
    one) and slices near-isotropic volumes axially; any other name is returned as it is. A single slice has no choice.
    """
    if volume.array.shape.count(1) == 1:
        return _PLANE_BY_NORMAL[int(dominant_axes(volume.ijk_to_ras)[2 - volume.array.shape.index(1)])]
    if plane != "native":
        return plane
    thick = thick_axis(volume.spacing)
    return "axial" if thick is None else _PLANE_BY_NORMAL[int(dominant_axes(volume.ijk_to_ras)[thick])]


def thick_axis(spacing: Sequence[float]) -> int | None:
    """The axis of a spacing that is clearly the largest: :data:`THICK_SLICE_MM`, :data:`THICK_SLICE_RATIO`; else None.

    Parameters
    ----------
    spacing : sequence of 3 float
        Voxel size in mm, in any order of axes.
    """
    _, second, largest = sorted(spacing)
    if largest + ROUNDING_MM < max(THICK_SLICE_MM, THICK_SLICE_RATIO * second):
        return None
    return int(np.argmax(spacing))


@dataclass(frozen=True)
class SliceStack:
    """Slices of a volume in canonical orientation.

    Attributes
    ----------
    array : ndarray, shape (slices, rows, columns)
        A view (never a resampled copy) of the volume's voxels.
    spacing : tuple of float
        Millimetres per (slice, row, column).
    plane : str
        ``axial``, ``sagittal`` or ``coronal``.
    """

    array: np.ndarray
    spacing: tuple[float, float, float]
    plane: str
    _order: tuple[int, int, int]
    _flips: tuple[bool, bool, bool]

    @classmethod
    def from_volume(cls, volume: Volume, plane: str = "native") -> SliceStack:
        """Re-order the axes of ``volume`` (array K, J, I) so that slices run along the chosen plane's normal."""
        plane = choose_plane(volume, plane)
        axes = dominant_axes(volume.ijk_to_ras)
        order, flips, spacing = [], [], []
        for ras_axis, sign in _CANONICAL[plane]:
            voxel_axis = int(np.flatnonzero(axes == ras_axis)[0])
            order.append(2 - voxel_axis)  # array axes are K, J, I
            flips.append(bool(np.sign(volume.ijk_to_ras[ras_axis, voxel_axis]) != sign))
            spacing.append(volume.spacing[voxel_axis])
        array = np.transpose(volume.array, order)
        array = array[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
        return cls(array, triple(spacing), plane, triple(order), triple(flips))

    def source_index(self, index: int) -> tuple[int, int]:
        """Origin of slice ``index``: the volume's array axis (0 K, 1 J, 2 I) and the index along it."""
        return self._order[0], len(self.array) - 1 - index if self._flips[0] else index

    def ijk_to_ras(self, of_volume: np.ndarray) -> np.ndarray:
        """Affine (4 x 4, RAS mm) of this stack's array, from that of the volume whose slices it holds.

        Column, row and slice of the stack are its I, J, K.
        """
        affine = np.array(of_volume, float)
        for axis, (source, flip) in enumerate(zip(self._order, self._flips, strict=True)):
            column = of_volume[:3, 2 - source]
            affine[:3, 2 - axis] = -column if flip else column
            if flip:
                affine[:3, 3] += column * (self.array.shape[axis] - 1)
        return affine

    def arrange(self, array: np.ndarray) -> np.ndarray:
        """Bring an array on the volume's own grid (..., K, J, I) into this stack's order: a view.

        Leading axes are kept, as by :meth:`restore`, of which this is the inverse.
        """
        lead = array.ndim - 3
        index = (slice(None),) * lead + tuple(slice(None, None, -1) if flip else slice(None) for flip in self._flips)
        return np.transpose(array, (*range(lead), *(lead + n for n in self._order)))[index]

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Bring an array of this stack's shape back to the volume's own K, J, I order (the exact inverse).

        Leading axes (for instance a class axis) are kept: ``array`` has shape (..., slices, rows, columns).
        """
        lead = array.ndim - 3
        index = (slice(None),) * lead + tuple(slice(None, None, -1) if flip else slice(None) for flip in self._flips)
        inverse = np.argsort(self._order)
        return np.transpose(array[index], (*range(lead), *(lead + inverse)))

    @property
    def volume_axes(self) -> tuple[int, int, int]:
        """Axes of the stack in the order of the volume's K, J, I."""
        return triple(int(axis) for axis in np.argsort(self._order))

    def along_volume(self, lines: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bring what is known of each index along the stack's axes, one array each, to the volume's K, J, I."""
        out = [np.empty(0)] * 3
        for source, flip, line in zip(self._order, self._flips, lines, strict=True):
            out[source] = line[::-1] if flip else line
        return triple(out)
