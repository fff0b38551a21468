"""A case as the atlas is registered to it: intensities, outline and ventricles on one coarse grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..image.geometry import triple
from ..image.volume import Volume, volume_to_sitk
from ..labels import BACKGROUND, VENTRICLES
from ..lesions.boxes import bounding_box

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Grid of the affine fits, mm.
AFFINE_MM = 4.0
#: Weight of a ventricle against brain in the map that the search matches.
VENTRICLE_WEIGHT = 2.0
#: The image counts up to this far outside the rough brain mask, mm; its outline farther.
RIM_MM, SURROUNDINGS_MM = 6.0, 20.0
#: Normalised intensities beyond this are fat.
BRIGHTEST = 1.6
#: And around the rough brain mask, beyond this.
BRIGHTEST_AROUND = 1.3


@dataclass(frozen=True)
class Case:
    """Images of a case for atlas registration; ``SimpleITK`` images on one coarse grid.

    Attributes
    ----------
    image : SimpleITK.Image
        Intensities with the median brain at 1, lesions and normal WMH painted over, 0 away from the brain.
    outline : SimpleITK.Image
        1 in brain, 0 outside, less :data:`VENTRICLE_WEIGHT` in ventricles; smoothed.
    rim, surroundings : SimpleITK.Image
        uint8: where the image counts, and where the outline does.
    brain, ventricles : SimpleITK.Image
        Occupancy 0..1.
    has_ventricles : bool
    """

    image: sitk.Image
    outline: sitk.Image
    rim: sitk.Image
    surroundings: sitk.Image
    brain: sitk.Image
    ventricles: sitk.Image
    has_ventricles: bool


def prepare(volume: Volume, labels: np.ndarray, brain: np.ndarray, image: RelativeImage | None = None) -> Case:
    """Bring image, labels and rough brain mask (K, J, I of one grid) to the coarse grid of the affine fits.

    ``image`` is :class:`RelativeImage` of them, made if None.
    """
    import SimpleITK as sitk

    shrink = [max(1, round(AFFINE_MM / mm)) for mm in volume.spacing]
    shrink = [min(s, n) for s, n in zip(shrink, volume.array.shape[::-1], strict=True)]

    def coarse(array: np.ndarray) -> sitk.Image:
        return volume_to_sitk(shrunk(volume.with_array(array), shrink))

    def around(at: slice) -> np.ndarray:
        """Bright tissue around the brain: scalp and marrow."""
        slab = shown[at]
        return np.where(brain[at] | (rim[at] & (slab < BRIGHTEST_AROUND)), slab, np.float32(0))

    shown = RelativeImage(volume, labels, brain) if image is None else image
    rim = _dilated(brain, volume.spacing, RIM_MM)
    mask, cavities = coarse(brain), coarse(labels == VENTRICLES)
    # The rough mask may leave ventricles open to the outside; they are brain here.
    outline = sitk.Maximum(mask, cavities) - VENTRICLE_WEIGHT * cavities
    return Case(
        volume_to_sitk(shrunk(volume, shrink, around)),
        sitk.SmoothingRecursiveGaussian(outline, 3.0),
        sitk.Cast(coarse(rim) > 0.5, sitk.sitkUInt8),
        sitk.Cast(coarse(_dilated(brain, volume.spacing, SURROUNDINGS_MM)) > 0.5, sitk.sitkUInt8),
        mask,
        cavities,
        bool((labels == VENTRICLES).any()),
    )


def shrunk(volume: Volume, factors: Sequence[int], read: Callable[[slice], np.ndarray] | None = None) -> Volume:
    """Means of blocks of voxels, as ``SimpleITK.BinShrink`` makes them; what fills no block at the end is left out.

    Parameters
    ----------
    volume : Volume
    factors : sequence of int
        Voxels along I, J, K.
    read : callable, optional
        Gives some slices (along K) of what is averaged in place of the volume's voxels: a large volume need not be
        there whole.

    Returns
    -------
    Volume
        float32.
    """
    thick, *in_plane = factors[::-1]
    out = np.empty([n // factor for n, factor in zip(volume.array.shape, factors[::-1], strict=True)], np.float32)
    for number, target in enumerate(out):
        at = slice(number * thick, (number + 1) * thick)
        slab = np.asarray(volume.array[at] if read is None else read(at), np.float32)
        part = slab[0].copy()
        for other in slab[1:]:
            part += other
        for axis, factor in enumerate(in_plane):
            if factor == 1:
                continue
            whole = part.shape[axis] // factor * factor
            first, *others = (part[(slice(None),) * axis + (slice(n, whole, factor),)] for n in range(factor))
            part = first.copy()
            for other in others:
                part += other
        target[:] = part
    out *= np.float32(1 / np.prod(factors))
    blocks = np.diag([*factors, 1.0])
    blocks[:3, 3] = (np.asarray(factors) - 1) / 2
    return Volume(out, volume.ijk_to_ras @ blocks, volume.name)


class RelativeImage:
    """Intensities with air at 0 and the median of unlabelled brain at 1, hyperintensities painted over; float32.

    Computed slice by slice when asked for.

    Parameters
    ----------
    volume : Volume
    labels : ndarray of uint8, shape (K, J, I)
    brain : ndarray of bool, shape (K, J, I)
    """

    def __init__(self, volume: Volume, labels: np.ndarray, brain: np.ndarray) -> None:
        self._array, self._labels = volume.array, labels
        self._low = min(0.0, float(np.percentile(volume.array[:, ::4, ::4], 1)))
        parts = zip(volume.array, labels, brain, strict=True)
        healthy = np.concatenate([part[inside & (own == BACKGROUND)] for part, own, inside in parts])
        level = float(np.median(healthy, overwrite_input=True)) if healthy.size else float(volume.array.max())
        self._factor = np.float32(1 / max(level - self._low, 1e-6))

    def __getitem__(self, at: slice) -> np.ndarray:
        """Some slices, along K."""
        out = np.array(self._array[at], np.float32, order="C")
        out -= np.float32(self._low)
        out *= self._factor
        np.clip(out, 0, BRIGHTEST, out=out)
        out[self._labels[at] > VENTRICLES] = 1.0
        return out


def _dilated(mask: np.ndarray, spacing_ijk: tuple[float, float, float], reach_mm: float) -> np.ndarray:
    """Mask (K, J, I) grown by some millimetres, through slices that are thinner than that as well.

    Voxels are packed along another axis than that of growth, eight in a byte.
    """
    out = np.zeros(mask.shape, bool)
    reach = [int(reach_mm / mm) for mm in spacing_ijk[::-1]]
    box = bounding_box(mask, (True,))
    if box is None:
        return out
    near = triple(slice(max(s.start - by, 0), s.stop + by) for s, by in zip(box, reach, strict=True))
    part = mask[near]
    for packed_along, axes in ((1, (2, 0)), (2, (1,))):
        bits = np.packbits(part, axis=packed_along)
        for axis in axes:
            bits = grown_along(bits, axis, reach[axis])
        part = np.unpackbits(bits, axis=packed_along, count=part.shape[packed_along]).view(bool)
    out[near] = part
    return out


def grown_along(mask: np.ndarray, axis: int, reach: int) -> np.ndarray:
    """Mask, or its bits, grown by so many voxels along an axis; each round doubles what the one before reached."""
    out, reached = mask, 0
    while reached < reach:
        by = min(reached + 1, reach - reached, mask.shape[axis])
        ahead = (slice(None),) * axis + (slice(by, None),)
        behind = (slice(None),) * axis + (slice(None, mask.shape[axis] - by),)
        grown = out.copy()
        grown[ahead] |= out[behind]
        grown[behind] |= out[ahead]
        out, reached = grown, reached + by
    return out
