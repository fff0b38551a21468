"""S1's rule for normal periventricular WMH, calibrated on hand-drawn slices.

S1 dilates the ventricles, takes the bright pixels of that rim and removes lesions. How wide the rim is and how bright
"bright" is were fitted to the hand-drawn normal class of one patient (``tabriz_normal_abnormal``, 101228): Dice 0.75
against the hand, where a threshold at the brain's median gives 0.45. On the other hand-drawn patient (110497, whose
ventricles had to come from the fold models) the fitted rule reaches Dice 0.54, precision 0.85, recall 0.40, and the
models trained with it 0.56: the hand draws more there than the rule does (``evaluate_normal.py``).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RIM_MM = 3.7
#: The threshold is this many robust standard deviations above the median of the brain.
DEVIATIONS = 1.9
THRESHOLD_RANGE = (1.2, 1.42)


def brightness_threshold(slices: np.ndarray, brain: np.ndarray) -> float:
    """Intensity above which periventricular tissue is hyperintense, in the image's unit.

    Parameters
    ----------
    slices, brain : ndarray, shape (slices, rows, columns)
        Intensities and rough brain mask.
    """
    values = slices[brain].astype(np.float32)
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median))) / median
    return median * float(np.clip(1 + DEVIATIONS * spread, *THRESHOLD_RANGE))


def normal_rim(
    slices: np.ndarray, ventricles: np.ndarray, lesions: np.ndarray, brain: np.ndarray, pixel_mm: float
) -> np.ndarray:
    """Normal periventricular WMH by rule (source: S1).

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
        Intensities.
    ventricles, lesions, brain : ndarray of bool, same shape
    pixel_mm : float
        In-plane pixel size.

    Returns
    -------
    ndarray of bool, same shape
    """
    bright = slices > brightness_threshold(slices, brain)
    out = np.zeros(slices.shape, dtype=bool)
    for k in np.flatnonzero(ventricles.any(axis=(1, 2))):
        distance = ndimage.distance_transform_edt(~ventricles[k], sampling=pixel_mm)
        out[k] = (distance > 0) & (distance <= RIM_MM) & bright[k] & ~lesions[k]
    return out
