"""A mask of a volume in one bit a voxel, read by slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

#: Index of slices, and perhaps of rows and columns.
_Index = slice | np.ndarray | tuple[slice | np.ndarray, ...]


class PackedMask:
    """A boolean array (slices, rows, columns) that takes an eighth of the memory.

    Parameters
    ----------
    mask : ndarray of bool, shape (slices, rows, columns)
        Copied.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.shape: tuple[int, int, int] = mask.shape
        self._bits = np.zeros((len(mask), -(-mask[0].size // 8) if len(mask) else 0), np.uint8)
        for bits, part in zip(self._bits, mask, strict=True):
            bits[:] = np.packbits(part)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        """The slices, bool (rows, columns)."""
        return (self._unpacked(bits) for bits in self._bits)

    def __getitem__(self, index: _Index) -> np.ndarray:
        """Some slices, or a part of them: bool, by slices or arrays as those of NumPy."""
        slices, *within = index if isinstance(index, tuple) else (index,)
        chosen = self._bits[slices]
        parts = [self._unpacked(bits)[tuple(within)] for bits in chosen]
        empty = np.zeros((0, *self.shape[1:]), bool)
        return np.stack(parts) if parts else empty[(slice(None), *within)]

    def __array__(self, dtype: type | None = None, copy: bool | None = None) -> np.ndarray:
        """The whole mask."""
        return self[:] if dtype is None else self[:].astype(dtype)

    def any(self) -> bool:
        """Whether any voxel is set."""
        return bool(self._bits.any())

    def _unpacked(self, bits: np.ndarray) -> np.ndarray:
        rows, columns = self.shape[1:]
        return np.unpackbits(bits, count=rows * columns).view(bool).reshape(rows, columns)


@dataclass(frozen=True)
class PlaneMask:
    """A rough brain mask of a volume's slices in one plane.

    Attributes
    ----------
    plane : str
        ``axial``, ``sagittal`` or ``coronal``, of the :class:`~flairseg.image.slice_stack.SliceStack`.
    mask : PackedMask
        On the stack's grid.
    level : float, optional
        Median intensity of its voxels without labels, where it is known.
    """

    plane: str
    mask: PackedMask
    level: float | None = None
