"""Linear resampling of slices along their rows and columns, as SciPy does it, in a fraction of the time.

``scipy.ndimage.affine_transform`` works pixel by pixel. Scaling and shift along the axes need each row's weights once.
"""

from __future__ import annotations

import numpy as np

#: Rows of the result that are worked on together.
_ROWS = 32


def resample(
    image: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    shape: tuple[int, int],
    fill: float | None = None,
    part_of: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> np.ndarray:
    """Sample an image at ``offset + scale * (row, column)``, linearly in between.

    In double precision and in the order of ``scipy.ndimage.affine_transform(image, scale, offset, shape, order=1)``, so
    that the values are the same to the last bit (where the compiler of SciPy fuses no multiplications and additions:
    x86-64).

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns)
    scale : ndarray, shape (2,)
        Image pixels per pixel of the result, (rows, columns).
    offset : ndarray, shape (2,)
        Image coordinates of the result's first pixel.
    shape : tuple of int
        Of the result.
    fill : float, optional
        Value outside the image (SciPy's mode ``constant``); None: that of the nearest pixel.
    part_of : tuple, optional
        Of ``image`` a part is given, in which every pixel that is needed is: its first row and the number of rows of
        the whole, and the same of the columns. ``offset`` is that of the whole.

    Returns
    -------
    ndarray of float32, shape ``shape``
    """
    known = part_of or ((0, image.shape[0]), (0, image.shape[1]))
    rows, columns = (
        _Line(size, float(step), float(start), count, fill is None, first)
        for (first, size), step, start, count in zip(known, scale, offset, shape, strict=True)
    )
    out = np.full(shape, 0.0 if fill is None else fill, np.float32)
    if not (rows.inside.size and columns.inside.size):
        return out
    within = out[_span(rows.inside), _span(columns.inside)]
    # A few rows at a time stay in the processor's cache.
    for start in range(0, len(within), _ROWS):
        part = slice(start, start + _ROWS)
        low = image[rows.first[part]] * rows.low[part, None]
        total = low.take(columns.first, axis=1)
        total *= columns.low
        term = low.take(columns.second, axis=1)
        term *= columns.high
        total += term
        high = image[rows.second[part]] * rows.high[part, None]
        high.take(columns.first, axis=1, out=term, mode="clip")
        term *= columns.low
        total += term
        high.take(columns.second, axis=1, out=term, mode="clip")
        term *= columns.high
        total += term
        within[part] = total
    return out


class _Line:
    """Where the pixels of a line of the result are between those of a line of the image.

    Attributes
    ----------
    inside : ndarray of int
        Numbers of the pixels of the result that have a value.
    first, second : ndarray of int
        Of these: the pixels of the image before and after, counted from the first that is given.
    low, high : ndarray of float
        Their weights.
    """

    def __init__(self, size: int, scale: float, offset: float, count: int, beyond: bool, given: int) -> None:
        at = (np.arange(count) + offset / scale) * scale
        self.inside = np.arange(count) if beyond else np.flatnonzero((at >= 0) & (at <= size - 1))
        at = at[self.inside]
        before = np.floor(at)
        self.first, self.second = (np.clip(before + n, 0, size - 1).astype(np.intp) - given for n in range(2))
        self.low = 1.0 - (at - before)
        self.high = 1.0 - self.low


def _span(numbers: np.ndarray) -> slice:
    """Consecutive numbers as a slice."""
    return slice(int(numbers[0]), int(numbers[-1]) + 1)
