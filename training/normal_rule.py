"""Rule of S1 for normal periventricular WMH, calibrated on manually annotated slices.

S1 dilates the ventricles, selects the bright pixels of this rim and removes lesions. Width of the rim and brightness
threshold were fitted to the manual annotation of one patient (``tabriz_normal_abnormal``, 101228): Dice 0.75, compared
with 0.45 for a threshold at the brain's median. For the other annotated patient (110497, with ventricles of the fold
models) the fitted rule reaches Dice 0.54, precision 0.85 and recall 0.40, and the models trained with it 0.56: the
manual annotation is more extensive there (:mod:`.evaluate_normal`).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RIM_MM = 3.7
#: Threshold in robust standard deviations above the median of the brain; limited to a range of the median's multiples.
DEVIATIONS = 1.9
THRESHOLD_RANGE = (1.2, 1.42)


def brightness_threshold(slices: np.ndarray, brain: np.ndarray) -> float:
    """Intensity above which periventricular tissue is hyperintense, in the unit of the image.

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
        Intensities.
    brain : ndarray of bool, same shape
        Rough brain mask.
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
        In-plane pixel size in mm.

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
