"""Intensity normalisation: S1's periphery rule, the rules of S2 to S5, and the default model's brain median."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from ..image.medians import median_of

#: Typical robust spread of brain intensities in FLAIR as a fraction of their median; only sets the unit.
BRAIN_SPREAD = 0.2
#: Normalised intensities outside this range carry no information about the brain (air, fat, vessels).
BRAIN_MEDIAN_RANGE = (-6.0, 8.0)


def normalise_brain_median(slices: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``(x / median(brain) - 1) / 0.2``, one median for the whole volume (the default model's rule).

    The median of the brain is the most stable landmark of a FLAIR: relative to it lesions are at 1.5 +- 7 % over
    patients, and it is the same for a whole head and a skull-stripped one.

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
        Intensities, any unit.
    mask : ndarray of bool, same shape
        Rough brain mask; where it is empty the foreground (brighter than the volume's mean) takes its place.

    Returns
    -------
    ndarray of float32, same shape, clipped to [-6, 8]
    """
    return brain_median_rule(slices, mask)(slices)


def brain_median_rule(slices: np.ndarray, mask: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """:func:`normalise_brain_median` as a rule for parts of the same volume, to avoid copying it whole.

    Parameters
    ----------
    slices, mask : ndarray, shape (slices, rows, columns)

    Returns
    -------
    callable
        From intensities to normalised ones, float32; grows with the intensity, voxel by voxel.
    """
    slices = np.asarray(slices, dtype=np.float32)
    if mask.any():
        found = median_of(lambda: (one[inside] for one, inside in zip(slices, mask, strict=True)))
    else:
        mean = slices.mean()
        found = median_of(lambda: (one[one > mean] for one in slices))
    median = 1.0 if found is None else found
    if not median > 0:
        median = max(float(np.abs(slices).mean()), 1e-6)
    factor, shift = np.float32(1.0 / (median * BRAIN_SPREAD)), np.float32(1.0 / BRAIN_SPREAD)

    def rule(part: np.ndarray) -> np.ndarray:
        out = np.asarray(part, dtype=np.float32) * factor
        out -= shift
        return np.clip(out, *BRAIN_MEDIAN_RANGE, out=out)

    return rule


def normalise_periphery(slices: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Per slice ``(I - Imin) / (Imax - Imin)`` with landmarks outside the brain (source: S1).

    Imin is the mean intensity of the slice's background (air), Imax comes from the periphery (scalp and skull: the
    head less the brain mask), here its 95th percentile, which a few hot pixels cannot move. Where fat is suppressed the
    scalp is darker than the brain: Imax is never below the brain's 99.9th percentile, so that no lesion is clipped.

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
    mask : ndarray of bool, same shape
        Rough brain mask.

    Returns
    -------
    ndarray of float32, same shape
        About [0, 1]; brighter than Imax is clipped at 1, darker than Imin at 0. A slice without a periphery
        (skull-stripped) uses its own 99.5th percentile.
    """
    slices = np.asarray(slices, dtype=np.float32)
    out = np.zeros_like(slices)
    for k, image in enumerate(slices):
        low, high = float(image.min()), float(image.max())
        if not high > low:
            continue
        air_below = low + 0.08 * (float(np.percentile(image, 99.5)) - low)
        head = ndimage.binary_fill_holes(image > air_below) | mask[k]
        background = image[~head]
        i_min = float(background.mean()) if background.size else low
        periphery = image[head & ~mask[k] & (image > air_below)]
        enough = periphery.size >= 0.02 * image.size
        i_max = float(np.percentile(periphery if enough else image, 95.0 if enough else 99.5))
        if mask[k].any():
            i_max = max(i_max, float(np.percentile(image[mask[k]], 99.9)))
        out[k] = (image - i_min) / max(i_max - i_min, 1e-6)
    return np.clip(out, 0.0, 1.0, out=out)


def normalise_zscore(slices: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Zero mean and unit standard deviation over the brain of the whole volume (source: S5).

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
    mask : ndarray of bool, same shape
        Voxels that give mean and deviation; where empty, all voxels.

    Returns
    -------
    ndarray of float32, same shape
    """
    slices = np.asarray(slices, dtype=np.float32)
    brain = slices[mask] if mask.any() else slices
    return (slices - np.float32(brain.mean())) / np.float32(max(float(brain.std()), 1e-6))


def normalise_minmax(slices: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Volume-wise scaling to [0, 1] between the 0.1st and 99.9th percentile (source: S2, S4).

    ``mask`` is accepted for a common signature and not used.
    """
    slices = np.asarray(slices, dtype=np.float32)
    low, high = np.percentile(slices, [0.1, 99.9])
    out: np.ndarray = np.clip((slices - np.float32(low)) / np.float32(max(float(high - low), 1e-6)), 0.0, 1.0)
    return out


def normalise_divide_255(slices: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Gray levels 0..255 of an 8-bit copy of the volume, divided by 255 (source: S3).

    S3 starts from 8-bit pictures. Scanner units become such gray levels by the window of :func:`normalise_minmax`,
    rounded to whole levels as a picture's are. ``mask`` is accepted for a common signature and not used.
    """
    return np.round(normalise_minmax(slices) * np.float32(255)) / np.float32(255)


#: Variants that work per slice after analysis of the volume, called as ``rule(slices, mask)(slice)``.
RULES = {"brain-median": brain_median_rule}
#: Variants a model card may name, all called as ``normalise(slices, mask)``.
NORMALISATIONS = {
    "brain-median": normalise_brain_median,
    "periphery": normalise_periphery,
    "zscore": normalise_zscore,
    "minmax": normalise_minmax,
    "divide-255": normalise_divide_255,
}
