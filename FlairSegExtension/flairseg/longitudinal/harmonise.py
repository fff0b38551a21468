"""Intensity harmonisation of several studies, their difference, and its noise.

Scanners differ in brightness, contrast and coil sensitivity. On the common grid a brain is in the same voxels,
so both can be evened out: grey levels by quantiles of tissue that is no lesion in any study, sensitivity by the smooth
part of the ratio. What remains between the studies in normal tissue is noise: it is measured, and grows with the local
gradient, because half a millimetre of misalignment or another slice position changes nothing in flat tissue and much
at an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

#: Quantiles that are matched. Beyond the outer ones the line through them is extrapolated.
QUANTILES = (5.0, 20.0, 40.0, 60.0, 80.0, 95.0)
#: Scale of coil sensitivities, mm: lesions are far smaller.
SENSITIVITY_MM = 25.0
#: The studies are blurred in plane to this standard deviation before they are subtracted, mm: sharper images of one
#: study would otherwise stand out at every edge.
BLUR_MM = 0.8
#: A difference is taken against its surroundings: their mean (Gaussian of this scale, mm, normal tissue only) is
#: subtracted, so that what remains of coils and tissue contrast does not look like change.
SURROUND_MM = 8.0
#: Scale over which noise is measured a second time, mm: it differs between places as well.
LOCAL_MM = 12.0
#: Classes of edge strength in which noise is measured.
EDGE_CLASSES = 12
#: Fewest voxels in which noise can be measured.
FEWEST = 500
#: Noise is never assumed to be smaller than this share of the brain's median: quantisation, and what no model knows.
SMALLEST_NOISE = 0.02
#: Standard deviation of a normal distribution by its median absolute deviation.
_MAD = 1.4826


@dataclass(frozen=True)
class Difference:
    """A later study less an earlier one, on the common grid.

    Attributes
    ----------
    array : ndarray of float32, shape (K, J, I)
        In shares of the brain's median intensity, less the mean of its surroundings.
    noise : ndarray of float32, same shape
        Its standard deviation where nothing changes.
    reliefs : tuple of two ndarray of float32
        Each study less the mean of its surroundings.
    flat_noise, edge_noise : float
        Noise in flat tissue, and what each unit of gradient (share of the median per step) adds in quadrature.
    """

    array: np.ndarray
    noise: np.ndarray
    flat_noise: float
    edge_noise: float
    reliefs: tuple[np.ndarray, np.ndarray]

    @property
    def score(self) -> np.ndarray:
        """The difference in standard deviations of its noise."""
        return np.asarray(self.array / self.noise)


def harmonise(
    images: Sequence[np.ndarray], tissue: np.ndarray, spacing: tuple[float, float, float]
) -> tuple[np.ndarray, ...]:
    """Bring the grey levels of several studies together, each to their mean: none is the reference.

    Parameters
    ----------
    images : sequence of ndarray, shape (K, J, I)
        On one grid, any unit.
    tissue : ndarray of bool, same shape
        Brain that every study covers, without lesions.
    spacing : tuple of float
        Millimetres along K, J, I.

    Returns
    -------
    tuple of ndarray of float32
        In shares of the brain's median intensity.

    References
    ----------
    Nyul and Udupa 1999, MRM 42:1072 (landmarks of the histogram); Lewis and Fox 2004, NeuroImage 23:75 (differential
    bias between serial scans).
    """
    images = [np.asarray(image, dtype=np.float32) / max(float(np.median(image[tissue])), 1e-6) for image in images]
    landmarks = np.stack([np.percentile(image[tissue], QUANTILES) for image in images])
    target = landmarks.mean(axis=0)
    images = [_mapped(image, own, target) for image, own in zip(images, landmarks, strict=True)]
    mean = sum(images) / len(images)
    sigma = [SENSITIVITY_MM / s for s in spacing]
    weight = _smooth(tissue.astype(np.float32), sigma)
    base = _smooth(np.where(tissue, mean, 0), sigma) + 1e-3 * weight + 1e-6
    out = []
    for image in images:
        sensitivity = (_smooth(np.where(tissue, image, 0), sigma) + 1e-3 * weight + 1e-6) / base
        # Far from the brain there is nothing to measure sensitivity by.
        trust = np.clip(weight / 0.05, 0, 1)
        out.append((image / (1 + trust * (np.clip(sensitivity, 0.5, 2.0) - 1))).astype(np.float32))
    return tuple(out)


def slice_blur_mm(thickness_mm: Sequence[float]) -> tuple[float, ...]:
    """Standard deviations by which slices are blurred through plane to be as thick as the thickest, mm.

    A slice profile is taken for a box: its variance is a twelfth of the squared thickness, and variances add up. What
    thinner slices show more sharply would otherwise look like change.

    Parameters
    ----------
    thickness_mm : sequence of float
        Distance of the slices of each study.
    """
    thickest = max(thickness_mm)
    return tuple(float(np.sqrt((thickest**2 - own**2) / 12)) for own in thickness_mm)


def difference(
    earlier: np.ndarray,
    later: np.ndarray,
    tissue: np.ndarray,
    spacing: tuple[float, float, float],
    axis: int,
    thickness_mm: tuple[float, float] = (1.0, 1.0),
) -> Difference:
    """Subtract two harmonised studies and measure the noise of the result in normal tissue.

    Parameters
    ----------
    earlier, later : ndarray, shape (K, J, I)
        From :func:`harmonise`.
    tissue : ndarray of bool, same shape
        Brain that both cover, without lesions.
    spacing : tuple of float
        Millimetres along K, J, I.
    axis : int
        Array axis that runs through the slices; only the study with the thinner slices is blurred along it.
    thickness_mm : tuple of float
        Distance of the slices of each study.

    Returns
    -------
    Difference
    """
    first, second = (
        ndimage.gaussian_filter(image, [(through if n == axis else BLUR_MM) / s for n, s in enumerate(spacing)])
        for image, through in zip((earlier, later), slice_blur_mm(thickness_mm), strict=True)
    )
    wide = [SURROUND_MM / s for s in spacing]
    # Far from normal tissue there are no surroundings to go by.
    weight = np.maximum(_smooth(tissue.astype(np.float32), wide), 0.05)
    reliefs = tuple(image - _smooth(np.where(tissue, image, 0), wide) / weight for image in (first, second))
    array = reliefs[1] - reliefs[0]
    strength = _edges((first + second) / 2)
    flat, edge = _noise_of(array[tissue], strength[tissue])
    noise = np.sqrt(flat**2 + (edge * strength) ** 2).astype(np.float32)
    noise *= _local_excess(array, noise, tissue, spacing)
    return Difference(array, noise, flat, edge, reliefs)


def _mapped(image: np.ndarray, own: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Grey levels moved from their landmarks to the common ones; a straight line beyond the outermost."""
    if (np.diff(own) <= 0).any():
        return image
    out, piece = np.full(image.shape, target[0], np.float32), np.empty(image.shape, np.float32)
    whole = (target[-1] - target[0]) / (own[-1] - own[0])
    # Each stretch adds what of the image is in it.
    edges = [-np.inf, *own, np.inf]
    for n, slope in enumerate([whole, *(np.diff(target) / np.diff(own)), whole]):
        np.clip(image, np.float32(edges[n]), np.float32(edges[n + 1]), out=piece)
        piece -= np.float32(own[max(n - 1, 0)])
        piece *= np.float32(slope)
        out += piece
    return out


def _smooth(array: np.ndarray, sigma: Sequence[float]) -> np.ndarray:
    """Gaussian of a large sigma, on every n-th voxel and back: sensitivities need no more."""
    steps = [max(1, int(s / 3)) for s in sigma]
    # A last block counts if more than half of it is within.
    counts = [max(1, -(-(n - step // 2) // step)) for n, step in zip(array.shape, steps, strict=True)]
    lengths = [count * step for count, step in zip(counts, steps, strict=True)]
    padded = array[tuple(slice(length) for length in lengths)]
    missing = [(0, length - n) for length, n in zip(lengths, padded.shape, strict=True)]
    padded = np.pad(padded, missing, mode="symmetric") if any(m for _, m in missing) else padded
    blocks = [size for count, step in zip(counts, steps, strict=True) for size in (count, step)]
    block = padded.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)
    block = ndimage.gaussian_filter(block, [s / step for s, step in zip(sigma, steps, strict=True)])
    axes = [
        np.clip((np.arange(n) - step // 2) / step, 0, size - 1)
        for n, step, size in zip(array.shape, steps, block.shape, strict=True)
    ]
    for axis, positions in enumerate(axes):
        low = np.minimum(positions.astype(int), max(block.shape[axis] - 2, 0))
        share = (positions - low).astype(np.float32).reshape([-1 if n == axis else 1 for n in range(3)])
        high = np.minimum(low + 1, block.shape[axis] - 1)
        block = np.take(block, low, axis) * (1 - share) + np.take(block, high, axis) * share
    return np.asarray(block)


def _edges(image: np.ndarray) -> np.ndarray:
    """Gradient magnitude per step of the grid: a step is what slices and pixels can be apart."""
    squared = sum(np.square(np.gradient(image, axis=n)) for n in range(3) if image.shape[n] > 1)
    return np.asarray(np.sqrt(squared), np.float32)


def _local_excess(
    array: np.ndarray, noise: np.ndarray, tissue: np.ndarray, spacing: tuple[float, float, float]
) -> np.ndarray:
    """Factor by which the noise around each voxel exceeds what holds for the whole brain; 1 and more.

    Pulsation and susceptibility make some places noisier than others. Single outliers count as three standard
    deviations at most: what changed is not noise.
    """
    wide = [LOCAL_MM / mm for mm in spacing]
    squared = np.square(noise)
    found = _smooth(np.where(tissue, np.minimum(np.square(array), 9 * squared), 0), wide)
    expected = _smooth(np.where(tissue, squared, 0), wide)
    return np.asarray(np.sqrt(np.maximum(found / np.maximum(expected, 1e-9), 1.0)), np.float32)


def _noise_of(values: np.ndarray, strength: np.ndarray) -> tuple[float, float]:
    """(Noise without edges, noise per gradient), by the robust spread in classes of edge strength."""
    if values.size < FEWEST:
        return 0.1, 1.0
    values, strength = values[:: max(1, values.size // 400_000)], strength[:: max(1, values.size // 400_000)]
    limits = np.quantile(strength, np.linspace(0, 0.98, EDGE_CLASSES + 1))
    x, y = [], []
    for low, high in pairwise(limits):
        own = values[(strength >= low) & (strength < high)]
        if own.size >= FEWEST // EDGE_CLASSES:
            x.append(float(((low + high) / 2) ** 2))
            y.append(float((_MAD * np.median(np.abs(own - np.median(own)))) ** 2))
    if len(x) < 2:
        return max(float(_MAD * np.median(np.abs(values))), SMALLEST_NOISE), 0.0
    slope = max(float(np.polyfit(x, y, 1)[0]), 0.0)
    flat = np.sqrt(max(float(np.mean(y) - slope * np.mean(x)), SMALLEST_NOISE**2))
    return float(flat), float(np.sqrt(slope))
