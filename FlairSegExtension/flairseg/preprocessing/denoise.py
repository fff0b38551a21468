"""S1's denoising: a small median, then a Gaussian, slice by slice."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def denoise_s1(slices: np.ndarray, median_size: int = 3, gaussian_sigma: float = 1.0) -> np.ndarray:
    """Median 3 x 3, then a Gaussian of sigma 1 pixel, in plane (source: S1).

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
        Intensities in any unit.
    median_size : int
        Side of the median window in pixels; 1 switches it off.
    gaussian_sigma : float
        Standard deviation of the Gaussian in pixels; 0 switches it off (S1 applies it selectively).

    Returns
    -------
    ndarray of float32, shape (slices, rows, columns)
    """
    out = np.asarray(slices, dtype=np.float32)
    if median_size > 1:
        out = ndimage.median_filter(out, size=(1, median_size, median_size), mode="nearest")
    if gaussian_sigma > 0:
        out = ndimage.gaussian_filter(out, sigma=(0, gaussian_sigma, gaussian_sigma), mode="nearest")
    return out
