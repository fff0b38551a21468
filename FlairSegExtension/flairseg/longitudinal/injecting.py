"""Injection of lesions of known size into a real scan: the ground truth for the self-grade of a follow-up.

An injected lesion is an ellipsoid in brain tissue. Each voxel gets the share of it that is inside, so that thick
slices show it as a scanner would, times the contrast that the scan's own lesions have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..image.geometry import triple
from ..image.volume import Volume
from ..labels import LESION
from ..lesions.boxes import through_plane_axis
from .parenchyma import parenchyma

#: Contrast of a lesion, shares of the brain's median: where the scan has too few of its own to measure, and the limits.
CONTRAST, CONTRAST_LIMITS = 0.35, (0.2, 0.6)
#: Fewest lesion voxels by which the scan's own contrast is measured.
FEWEST_VOXELS = 30
#: Free distance around an injected lesion: to lesions that are there, and to others, mm.
APART_MM = 6.0
#: Its centre is this deep in tissue, besides its own radius, mm.
DEPTH_MM = 1.0
#: Ratio of the longest to the shortest half axis of an ellipsoid, at most.
ELONGATION = 1.6
#: Samples along each voxel axis for the share of a voxel that is inside; through a slice.
SAMPLES, SLICE_SAMPLES = 3, 9


@dataclass(frozen=True)
class Injected:
    """A lesion injected into a scan.

    Attributes
    ----------
    volume_mm3 : float
        Of the ellipsoid.
    contrast : float
        Shares of the brain's median.
    centre_ras : tuple of float
        Millimetres, in the scan's space.
    voxels : ndarray of int, shape (n, 3)
        K, J, I that it fills by half and more; where it fills none by half, the fullest one.
    """

    volume_mm3: float
    contrast: float
    centre_ras: tuple[float, float, float]
    voxels: np.ndarray


def own_contrast(volume: Volume, labels: np.ndarray, mask: np.ndarray) -> float:
    """Contrast of a scan's lesions to their surroundings, shares of the brain's median.

    Parameters
    ----------
    volume : Volume
        (K, J, I).
    labels : ndarray, same shape
        Classes 0..3.
    mask : ndarray of bool, same shape
        Rough brain mask.
    """
    median = float(np.median(volume.array[mask])) if mask.any() else 0.0
    lesion = (labels == LESION) & mask
    if median <= 0 or np.count_nonzero(lesion) < FEWEST_VOXELS:
        return CONTRAST
    flat = np.where(np.array(volume.spacing[::-1]) < 1.5 * min(volume.spacing), 3, 1)
    ring = ndimage.binary_dilation(lesion, np.ones(flat), iterations=3) & ~ndimage.binary_dilation(
        lesion, np.ones(flat)
    )
    ring &= mask & (labels == 0)
    if not ring.any():
        return CONTRAST
    found = (np.median(volume.array[lesion]) - np.median(volume.array[ring])) / median
    return float(np.clip(found, *CONTRAST_LIMITS))


def inject(
    volume: Volume,
    mask: np.ndarray,
    avoid: np.ndarray,
    volumes_mm3: Sequence[float] | np.ndarray,
    contrasts: Sequence[float],
    rng: np.random.Generator,
) -> tuple[Volume, list[Injected]]:
    """Inject lesions into a scan.

    Parameters
    ----------
    volume : Volume
        (K, J, I), any unit.
    mask : ndarray of bool, same shape
        Rough brain mask.
    avoid : ndarray of bool, same shape
        Voxels to stay clear of: lesions of this study and the other, ventricles.
    volumes_mm3, contrasts : sequence of float
        One of each for every lesion; contrasts in shares of the brain's median.
    rng : numpy.random.Generator

    Returns
    -------
    Volume
        float32.
    list of Injected
        Fewer than requested where there is no room.
    """
    median = float(np.median(volume.array[mask]))
    spacing = volume.spacing[::-1]
    axis = through_plane_axis(volume.ijk_to_ras)
    tissue = parenchyma(volume.array / max(median, 1e-6), mask, spacing, axis)
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    room = ndimage.distance_transform_edt((tissue & mask)[box], sampling=spacing)
    nearby = avoid[box]
    away = ndimage.distance_transform_edt(~nearby, sampling=spacing) if nearby.any() else np.full(room.shape, np.inf)
    deep = room >= DEPTH_MM
    places, room, away = np.argwhere(deep) + [s.start for s in box], room[deep], away[deep]
    array, out = volume.array.astype(np.float32), []
    for size, contrast in zip(volumes_mm3, contrasts, strict=True):
        radius = (3 * size / (4 * np.pi)) ** (1 / 3)
        free = np.flatnonzero((room >= radius + DEPTH_MM) & (away >= radius + APART_MM))
        if not len(free):
            continue
        middle = places[free[rng.integers(len(free))]] + rng.uniform(-0.5, 0.5, 3)
        where, share = _ellipsoid(volume, middle, radius, rng)
        array[where] += contrast * median * share
        inside = share >= min(0.5, float(share.max()))
        voxels = np.argwhere(inside) + [s.start for s in where]
        centre = volume.ijk_to_ras[:3, :3] @ middle[::-1] + volume.ijk_to_ras[:3, 3]
        out.append(Injected(float(size), float(contrast), triple(float(x) for x in centre), voxels))
        away = np.minimum(away, np.linalg.norm((places - middle) * spacing, axis=1) - radius)
    return volume.with_array(array), out


def _ellipsoid(
    volume: Volume, middle: np.ndarray, radius: float, rng: np.random.Generator
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Box of a rotated ellipsoid of the volume of a ball of ``radius``, and the share of each of its voxels inside."""
    from scipy.spatial.transform import Rotation

    axes = np.exp(rng.uniform(-0.5, 0.5, 3) * np.log(ELONGATION))
    axes *= radius / np.prod(axes) ** (1 / 3)
    turn = Rotation.random(random_state=rng).as_matrix()
    spacing = np.array(volume.spacing[::-1])
    reach = np.ceil(axes.max() / spacing).astype(int) + 1
    low = np.clip(np.round(middle).astype(int) - reach, 0, None)
    high = np.minimum(np.round(middle).astype(int) + reach + 1, volume.array.shape)
    counts = np.where(spacing > 1.5 * spacing.min(), SLICE_SAMPLES, SAMPLES)
    points = [(np.arange((b - a) * n) + 0.5) / n - 0.5 + a for a, b, n in zip(low, high, counts, strict=True)]
    offsets = np.stack(np.meshgrid(*points, indexing="ij"), axis=-1) - middle
    millimetres = offsets[..., ::-1] @ volume.ijk_to_ras[:3, :3].T
    within = np.square(millimetres @ turn / axes).sum(axis=-1) <= 1
    shape = [n for a, b, count in zip(low, high, counts, strict=True) for n in (b - a, count)]
    share = within.reshape(shape).mean(axis=(1, 3, 5))
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), share.astype(np.float32)
