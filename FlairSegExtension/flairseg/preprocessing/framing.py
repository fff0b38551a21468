"""Framing: bring every brain to the size and position that a network expects, and its output back.

A frame is an axis-aligned scaling and shift per slice, so its inverse is exact: the output is on the grid
of the input.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .resampling import resample

# SciPy before 1.17 warns at each call that the meaning of a vector changed in 2016. Once and for all threads: the
# context manager for warnings is not safe where slices are worked on side by side.
warnings.filterwarnings("ignore", "The behavior of affine_transform", UserWarning)

#: Images whose pixels are this close to the frame's are cropped, not resampled: no blur, and faster.
SNAP = 0.03
#: Standard deviations at which the Gaussian that smooths before shrinking ends.
_TRUNCATE = 4.0
#: Free border around the brain in its frame, pixels.
BORDER_PX = 8


@dataclass(frozen=True)
class Frame:
    """Affine maps from frame pixels to slice pixels, ``slice = offset + scale * frame``, one per slice.

    Attributes
    ----------
    scale : ndarray, shape (slices, 2)
        Slice pixels per frame pixel, (rows, columns).
    offset : ndarray, shape (slices, 2)
        Slice coordinates of frame pixel (0, 0).
    size : tuple of int
        Frame (rows, columns).
    grid : tuple of int
        Slice (rows, columns).
    """

    scale: np.ndarray
    offset: np.ndarray
    size: tuple[int, int]
    grid: tuple[int, int]

    def apply(
        self,
        slices: np.ndarray,
        order: int = 1,
        fill: float = 0.0,
        change: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Resample slices into the frame.

        Parameters
        ----------
        slices : ndarray, shape (slices, rows, columns)
        order : int
            1 linear (with smoothing where the frame is coarser than the image), 0 nearest for label maps.
        fill : float
            Value outside the slice.
        change : callable, optional
            Applied to the pixels of each slice before, one by one, for order 1.

        Returns
        -------
        ndarray, shape (slices, *size)
            float32 for order 1, the input's type for order 0.
        """
        out = np.empty((len(slices), *self.size), dtype=np.float32 if order else slices.dtype)
        for k, image in enumerate(slices):
            if order:
                out[k] = self._linear(image, k, fill, change)
            else:
                ndimage.affine_transform(
                    image, self.scale[k], self.offset[k], output=out[k], output_shape=self.size, order=0, cval=fill
                )
        return out

    def _linear(
        self, image: np.ndarray, index: int, fill: float, change: Callable[[np.ndarray], np.ndarray] | None
    ) -> np.ndarray:
        """One slice in its frame: only what the frame shows of it is changed and smoothed."""
        scale, offset = self.scale[index], self.offset[index]
        # Half the variance of a box as wide as the new pixel: prevents aliasing, preserves small lesions.
        sigma = 0.4 * np.sqrt(np.maximum(scale**2 - 1, 0)) if scale.max() > 1.25 else np.zeros(2)
        reach = (_TRUNCATE * sigma + 0.5).astype(int)
        # A pixel more on each side: where a sample is between two pixels is computed in another order there.
        first = np.floor(offset).astype(int) - 1 - reach
        stop = np.floor(offset + scale * (np.asarray(self.size) - 1)).astype(int) + 3 + reach
        first, stop = np.maximum(first, 0), np.minimum(stop, image.shape)
        if (stop <= first).any():
            return np.full(self.size, fill, np.float32)
        part = image[first[0] : stop[0], first[1] : stop[1]]
        part = part.astype(np.float32) if change is None else change(part)
        if sigma.any():
            part = ndimage.gaussian_filter(part, sigma, truncate=_TRUNCATE)
        if (scale == 1).all() and (offset % 1 == 0).all():
            out = np.full(self.size, fill, np.float32)
            low = np.maximum(offset, 0).astype(int)
            high = np.maximum(np.minimum(offset + self.size, image.shape).astype(int), low)
            source, target = (
                tuple(slice(int(x), int(y)) for x, y in zip(low - start, high - start, strict=True))
                for start in (first, offset)
            )
            out[target] = part[source]
            return out
        rows, columns = (int(n) for n in first)
        return resample(part, scale, offset, self.size, fill, ((rows, image.shape[0]), (columns, image.shape[1])))

    def footprint(self, box: tuple[slice, slice], index: int) -> tuple[slice, slice]:
        """Pixels of slice ``index`` on which a box of its frame (rows, columns) has any influence."""
        first, stop = (np.array([getattr(s, end) for s in box]) for end in ("start", "stop"))
        low = np.ceil(self.offset[index] + (first - 1) * self.scale[index]).astype(int)
        high = np.floor(self.offset[index] + stop * self.scale[index]).astype(int) + 1
        ends = np.clip(np.stack([low, np.maximum(low, high)], axis=1), 0, np.array(self.grid)[:, None])
        rows, columns = (slice(int(a), int(b)) for a, b in ends)
        return rows, columns

    def invert(self, framed: np.ndarray, index: int, region: tuple[slice, slice] | None = None) -> np.ndarray:
        """Bring one framed image back to slice ``index``'s grid (linear; 0 outside the frame).

        Parameters
        ----------
        framed : ndarray of float, shape size
        index : int
            Number of the slice.
        region : tuple of slice, optional
            Rows and columns of the grid that are wanted, all of :meth:`footprint` among them; default: all.

        Returns
        -------
        ndarray of float32, shape of the region
        """
        region = (slice(0, self.grid[0]), slice(0, self.grid[1])) if region is None else region
        out = np.zeros([s.stop - s.start for s in region], dtype=np.float32)
        lines = [np.flatnonzero(framed.any(axis=axis)) for axis in (1, 0)]
        if not all(line.size for line in lines):
            return out
        # Only neighbours of non-zero pixels need to be computed.
        first = np.maximum([line[0] - 1 for line in lines], 0)
        last = np.minimum([line[-1] + 1 for line in lines], np.asarray(self.size) - 1)
        low = np.maximum(np.ceil(self.offset[index] + first * self.scale[index]), 0).astype(int)
        end = np.floor(self.offset[index] + last * self.scale[index])
        high = np.minimum(end, np.asarray(self.grid) - 1).astype(int)
        if (high < low).any():
            return out
        box = tuple(slice(lo - s.start, hi + 1 - s.start) for lo, hi, s in zip(low, high, region, strict=True))
        if (self.scale[index] == 1).all() and (self.offset[index] % 1 == 0).all():
            first = (low - self.offset[index]).astype(int)
            stop = first + high - low + 1
            out[box] = framed[first[0] : stop[0], first[1] : stop[1]]
            return out
        inverse = 1.0 / self.scale[index]
        rows, columns = (int(n) for n in high - low + 1)
        out[box] = resample(
            np.asarray(framed, dtype=np.float32), inverse, (low - self.offset[index]) * inverse, (rows, columns)
        )
        return out


def _extent(mask: np.ndarray, trim: float) -> tuple[np.ndarray, np.ndarray]:
    """Centre and side lengths (rows, columns) of a mask's bounding box, less ``trim`` of the area on each side."""
    centre, side = np.zeros(2), np.zeros(2)
    for axis in range(2):
        profile = mask.sum(axis=tuple(a for a in range(mask.ndim) if a != mask.ndim - 2 + axis)).astype(float)
        cumulative = np.cumsum(profile) / profile.sum()
        # "right" for the first: without trimming, empty rows ahead of the mask are no part of it.
        first, last = np.searchsorted(cumulative, trim, "right"), np.searchsorted(cumulative, 1.0 - trim)
        centre[axis], side[axis] = (first + last) / 2.0, last - first + 1.0
    return centre, side


def frame_brain_mm(mask: np.ndarray, spacing_mm: tuple[float, float], size: tuple[int, int], pixel_mm: float) -> Frame:
    """One frame of fixed physical pixel size for all slices, centred on the brain (the default model's framing).

    Lesion sizes in millimetres are preserved. Brains larger than the frame are shown at coarser pixels, so
    nothing is cut off.

    Parameters
    ----------
    mask : ndarray of bool, shape (slices, rows, columns)
        Rough brain mask; where empty, the whole slice is framed.
    spacing_mm : tuple of float
        Millimetres per (row, column).
    size : tuple of int
        Frame (rows, columns).
    pixel_mm : float
        Frame pixel size.

    Returns
    -------
    Frame
    """
    grid = mask.shape[1:]
    spacing = np.asarray(spacing_mm, dtype=float)
    if mask.any():
        centre, side = _extent(mask, trim=0.002)
    else:
        centre, side = (np.asarray(grid) - 1) / 2.0, np.asarray(grid, dtype=float)
    room = np.asarray(size) - 2 * BORDER_PX
    pixel = max(pixel_mm, float((side * spacing / room).max()))
    scale = pixel / spacing
    if np.abs(scale - 1.0).max() <= SNAP:
        scale = np.ones(2)
    offset = centre - scale * (np.asarray(size) - 1) / 2.0
    if (scale == 1.0).all():
        offset = np.round(offset)
    count = len(mask)
    return Frame(np.tile(scale, (count, 1)), np.tile(offset, (count, 1)), (size[0], size[1]), (grid[0], grid[1]))


def frame_brain_fill(mask: np.ndarray, spacing_mm: tuple[float, float], size: tuple[int, int]) -> Frame:
    """Scale each slice's brain to fill the frame, aspect kept (source: S1, 256 x 256).

    Slices without brain take the frame of the nearest slice that has one.

    Parameters
    ----------
    mask : ndarray of bool, shape (slices, rows, columns)
    spacing_mm : tuple of float
        Millimetres per (row, column).
    size : tuple of int
        Frame (rows, columns).

    Returns
    -------
    Frame
    """
    count, *grid = mask.shape
    spacing = np.asarray(spacing_mm, dtype=float)
    scale, offset = np.zeros((count, 2)), np.zeros((count, 2))
    present = np.flatnonzero(mask.any(axis=(1, 2)))
    if present.size == 0:
        return frame_brain_mm(mask, spacing_mm, size, 1e-6)
    room = np.asarray(size) - 2 * BORDER_PX
    for k in range(count):
        nearest = present[np.argmin(np.abs(present - k))]
        centre, side = _extent(mask[nearest][None], trim=0.0)
        # A rough mask of a small end slice must not be scaled to a whole brain.
        pixel = max(float((side * spacing / room).max()), 0.3)
        scale[k] = pixel / spacing
        offset[k] = centre - scale[k] * (np.asarray(size) - 1) / 2.0
    return Frame(scale, offset, (size[0], size[1]), (grid[0], grid[1]))


def frame_resample(grid: tuple[int, int, int], spacing_mm: tuple[float, float], size: tuple[int, int]) -> Frame:
    """Scale the whole slice, aspect kept, to fill a frame of ``size`` (source: S4, 256 x 256).

    Parameters
    ----------
    grid : tuple of int
        Slices, rows and columns of the stack.
    spacing_mm : tuple of float
        Millimetres per (row, column).
    size : tuple of int
        Frame (rows, columns).

    Returns
    -------
    Frame
        The same for all slices. Slices of the frame's shape are unchanged.
    """
    count, shape = grid[0], grid[1:]
    spacing = np.asarray(spacing_mm, dtype=float)
    pixel = float((np.asarray(shape) * spacing / np.asarray(size)).max())
    return _centred(count, shape, (np.asarray(shape) - 1) / 2.0, pixel / spacing, size)


def frame_resize(grid: tuple[int, int, int], size: tuple[int, int]) -> Frame:
    """Stretch the whole slice over the frame, rows and columns independently (source: S2, 512 x 512).

    Parameters
    ----------
    grid : tuple of int
        Slices, rows and columns of the stack.
    size : tuple of int
        Frame (rows, columns).

    Returns
    -------
    Frame
        The same for all slices.
    """
    count, shape = grid[0], grid[1:]
    return _centred(count, shape, (np.asarray(shape) - 1) / 2.0, np.asarray(shape) / np.asarray(size), size)


def frame_native(mask: np.ndarray, spacing_mm: tuple[float, float], size: tuple[int, int]) -> Frame:
    """Crop or pad the slices at their own resolution (source: S3, crop to 256 x 256; S5, crop or pad to 384 x 384).

    The papers do not mention images that exceed the frame by more than air. Here a slice that fits is centred,
    else the brain is; and a brain that would not fit is shown at coarser pixels, so that it is not cropped.

    Parameters
    ----------
    mask : ndarray of bool, shape (slices, rows, columns)
        Rough brain mask.
    spacing_mm : tuple of float
        Millimetres per (row, column).
    size : tuple of int
        Frame (rows, columns).

    Returns
    -------
    Frame
        The same for all slices.
    """
    count, *grid = mask.shape
    if (np.asarray(grid) <= np.asarray(size)).all():
        return _centred(count, tuple(grid), (np.asarray(grid) - 1) / 2.0, np.ones(2), size)
    if not mask.any():
        return frame_resample(mask.shape, spacing_mm, size)
    spacing = np.asarray(spacing_mm, dtype=float)
    centre, side = _extent(mask, trim=0.002)
    room = np.asarray(size) - 2 * BORDER_PX
    pixel = float((side * spacing / room).max())
    scale = np.ones(2) if (side <= room).all() else pixel / spacing
    return _centred(count, tuple(grid), centre, scale, size)


def _centred(count: int, grid: tuple[int, int], centre: np.ndarray, scale: np.ndarray, size: tuple[int, int]) -> Frame:
    """One frame for ``count`` slices around ``centre`` (slice pixels); whole pixels where nothing is scaled."""
    if np.abs(scale - 1.0).max() < 1e-3:  # a spacing that differs in its seventh digit is no reason to resample
        scale = np.ones(2)
    offset = centre - scale * (np.asarray(size) - 1) / 2.0
    if (scale == 1.0).all():
        offset = np.round(offset)
    return Frame(np.tile(scale, (count, 1)), np.tile(offset, (count, 1)), (size[0], size[1]), grid)
