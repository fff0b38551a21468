"""Rule of S1 for normal periventricular WMH, calibrated on manually annotated slices.

S1 dilates the ventricles, selects the bright pixels of this rim and removes lesions. Width of the rim, brightness and
smallest piece were fitted to the manual annotation of both patients of ``tabriz_normal_abnormal`` (101228, and 110497
with ventricles of a model): Dice 0.76 and 0.71 (:mod:`.calibrate_normal`).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RIM_MM = 3.7
#: Threshold as a multiple of the median of the brain.
BRIGHTNESS = 1.27
#: Smallest piece within a slice (8-connected), pixels.
SMALLEST_PIXELS = 4


def normal_rim(
    slices: np.ndarray,
    ventricles: np.ndarray,
    lesions: np.ndarray,
    brain: np.ndarray,
    pixel_mm: float,
    rim_mm: float = RIM_MM,
    brightness: float = BRIGHTNESS,
) -> np.ndarray:
    """Normal periventricular WMH by rule (source: S1).

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
        Intensities, any unit in which air is about 0.
    ventricles, lesions, brain : ndarray of bool, same shape
    pixel_mm : float
        In-plane pixel size in mm.
    rim_mm : float
        Largest in-plane distance from a ventricle.
    brightness : float
        Intensity above which tissue is hyperintense, as a multiple of the median of the brain.

    Returns
    -------
    ndarray of bool, same shape
    """
    bright = slices > brightness * float(np.median(slices[brain].astype(np.float32)))
    out = np.zeros(slices.shape, dtype=bool)
    for k in np.flatnonzero(ventricles.any(axis=(1, 2))):
        distance = ndimage.distance_transform_edt(~ventricles[k], sampling=pixel_mm)
        out[k] = _without_specks((distance > 0) & (distance <= rim_mm) & bright[k] & ~lesions[k])
    return out


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Remove pieces of fewer than :data:`SMALLEST_PIXELS` pixels from a mask (bool, shape (rows, columns))."""
    pieces, _ = ndimage.label(mask, np.ones((3, 3)))
    out: np.ndarray = mask & (np.bincount(pieces.ravel()) >= SMALLEST_PIXELS)[pieces]
    return out
