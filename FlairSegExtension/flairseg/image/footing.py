"""Intensities on a common footing: no signal is 0, tissue is positive.

What FlairSeg computes (tissue threshold, the brain's median as the unit) presumes a magnitude image, in which air is 0.
Files also hold z-scored, shifted and masked images: air at -0.6, at 1000, or at 0 amid tissue from -3 to 3. A shift
brings them back; scale does not matter.

The level of no signal is read off the outer faces of the volume: the value that most of them share exactly (a constant
background), else the 1st percentile of the volume where the faces are dark (air with noise). A constant background that
is within the range of tissue, or far below it, was filled in after tissue had been shifted; the level is then
estimated from the darkest tissue, which is fluid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CaseWarning, UnusableIntensitiesError

if TYPE_CHECKING:
    from .volume import Volume

#: Share of the outer faces that has one value exactly: a background that was filled in. Scanners give 0.64 and more
#: or nothing like it (23 real FLAIR volumes).
PLATEAU_SHARE = 0.5
#: A level of no signal this far from 0 (share of the range from it to the 95th percentile of tissue) is brought to 0:
#: for a constant background, and for noisy air (real ones: up to 0.005; 8-bit pictures from JPEG: 0.043).
PLATEAU_OFFSET, AIR_OFFSET = 0.01, 0.06
#: The outer faces show air if their median is this far (same unit) above the level at most.
AIR_LEVEL = 0.2
#: Share of the voxels other than the background that may be below it.
BELOW_SHARE = 0.02
#: The 1st percentile of masked tissue is at most this far (share of the median) above the background.
GAP = 0.3
#: The 1st percentile of masked brain, as a share of its median, in images with a true zero.
DARKEST = 0.12
#: Air of a CT, Hounsfield units: such images are left alone, since :mod:`flairseg.segmentation.quality` knows them
#: by it.
HOUNSFIELD_AIR = (-1100.0, -900.0)
_MOST_SAMPLES = 2_000_000
_FEWEST = 1000
#: Of every so many voxels one is checked first: air that is clearly at 0 needs no exact level.
_THINNED = 17


def common_footing(array: np.ndarray) -> tuple[np.ndarray, CaseWarning | None]:
    """Bring the level of no signal to 0.

    Parameters
    ----------
    array : ndarray of float32, shape (K, J, I)
        Non-finite values are kept.

    Returns
    -------
    ndarray of float32, shape (K, J, I)
        The array itself where the level is 0 already; else a copy, not below 0.
    CaseWarning or None
        Codes ``intensities-shifted`` and ``background-within-tissue``.

    Raises
    ------
    UnusableIntensitiesError
        If the background was filled in and too little tissue is left to estimate its level (code ``no-signal-level``).
    """
    step = max(1, int(np.ceil((array.size / _MOST_SAMPLES) ** (1 / 3))))
    sample = array[::step, ::step, ::step].ravel()
    faces = _faces(array)
    sample, faces = sample[np.isfinite(sample)], faces[np.isfinite(faces)]
    if not sample.size or not faces.size:
        return array, None
    plateau = _plateau(faces)
    if plateau is None:
        return _noisy(array, sample, float(np.median(faces)))
    tissue = sample[sample != np.float32(plateau)]
    if tissue.size < min(_FEWEST, 0.002 * sample.size):
        return array, None
    darkest, median, bright = (float(q) for q in np.percentile(tissue, [1, 50, 95]))
    below = float(np.mean(tissue < plateau))
    # Tissue far above a background of 0 may be another contrast, which the image's figures reveal.
    if below <= BELOW_SHARE and (plateau == 0 or darkest - plateau <= GAP * (median - plateau)):
        if abs(plateau) <= PLATEAU_OFFSET * (bright - plateau):
            return array, None
        return _shifted(array, plateau)
    return _filled(array, plateau, darkest, median)


def footed(volume: Volume) -> Volume:
    """A volume on the common footing, with a warning where something was changed; errors of :func:`common_footing`.

    Parameters
    ----------
    volume : Volume
        float32, finite.
    """
    array, told = common_footing(volume.array)
    return volume if told is None else replace(volume, array=array, warnings=(*volume.warnings, told))


def _faces(array: np.ndarray) -> np.ndarray:
    """Voxels of the outer faces; of a single slice its edges."""
    faces = []
    for axis, size in enumerate(array.shape):
        if size > 1:
            faces += [np.take(array, 0, axis).ravel(), np.take(array, -1, axis).ravel()]
    return np.concatenate(faces)


def _plateau(faces: np.ndarray) -> float | None:
    """The value that :data:`PLATEAU_SHARE` of the outer faces have exactly: half of them, so it is their median."""
    middle = (faces.size - 1) // 2, faces.size // 2
    candidates = np.partition(faces, middle)[list(middle)]
    return next((float(v) for v in candidates if np.count_nonzero(faces == v) >= PLATEAU_SHARE * faces.size), None)


def _noisy(array: np.ndarray, sample: np.ndarray, faces: float) -> tuple[np.ndarray, CaseWarning | None]:
    """An image whose background is noise, or that has none."""
    few = sample[::_THINNED] if sample.size > _FEWEST * _THINNED else sample
    level, bright = (float(q) for q in np.percentile(few, [1, 95]))
    if abs(level) <= AIR_OFFSET / 2 * (bright - level):
        return array, None
    level, bright = (float(q) for q in np.percentile(sample, [1, 95]))
    span = bright - level
    if not span > 0 or abs(level) <= AIR_OFFSET * span or HOUNSFIELD_AIR[0] <= level <= HOUNSFIELD_AIR[1]:
        return array, None
    if level > 0 and faces - level > AIR_LEVEL * span:
        # Cut so close that no air is left: the darkest voxels are tissue.
        return array, None
    return _shifted(array, level)


def _shifted(array: np.ndarray, level: float) -> tuple[np.ndarray, CaseWarning | None]:
    if HOUNSFIELD_AIR[0] <= level <= HOUNSFIELD_AIR[1]:
        return array, None
    return np.maximum(array - np.float32(level), np.float32(0)), CaseWarning(
        f"The image's background is at {level:.4g}, not at 0 (z-scored or shifted intensities): {level:.4g} was "
        "subtracted.",
        "intensities-shifted",
    )


def _filled(array: np.ndarray, plateau: float, darkest: float, median: float) -> tuple[np.ndarray, CaseWarning]:
    """Tissue that was shifted before its background was filled in."""
    if not median > darkest:
        raise UnusableIntensitiesError(
            f"The background ({plateau:.4g}) is within the range of the tissue, which has too few grey levels to "
            "determine the level without signal.",
            "Give the original image, before standardisation and masking.",
            code="no-signal-level",
        )
    level = darkest - DARKEST / (1 - DARKEST) * (median - darkest)
    out = np.maximum(array - np.float32(level), np.float32(0))
    out[array == np.float32(plateau)] = 0
    return out, CaseWarning(
        f"The background is {plateau:.4g} and the tissue is around {median:.4g}, from {darkest:.4g} on: the image "
        f"was standardised and masked. The level without signal was estimated as {level:.4g} from the darkest tissue.",
        "background-within-tissue",
    )
