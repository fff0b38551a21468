"""A case as the atlas is registered to it: intensities, outline and ventricles on one coarse grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..image.geometry import triple
from ..image.medians import median_of
from ..image.packed_mask import PackedMask
from ..image.volume import Volume, volume_to_sitk
from ..labels import BACKGROUND, VENTRICLES
from ..lesions.boxes import Box, bounding_box
from .regions import has_ventricles

if TYPE_CHECKING:
    import SimpleITK as sitk

#: A rough brain mask (K, J, I).
Mask = np.ndarray | PackedMask
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


def prepare(volume: Volume, labels: np.ndarray, brain: Mask, image: RelativeImage | None = None) -> Case:
    """Bring image, labels and rough brain mask (K, J, I of one grid) to the coarse grid of the affine fits.

    ``image`` is :class:`RelativeImage` of them, made if None.
    """
    import SimpleITK as sitk

    shrink = [max(1, round(AFFINE_MM / mm)) for mm in volume.spacing]
    shrink = [min(s, n) for s, n in zip(shrink, volume.array.shape[::-1], strict=True)]

    def coarse(read: Callable[[slice], np.ndarray], within: Box | None = None) -> sitk.Image:
        return volume_to_sitk(shrunk(volume, shrink, read, within))

    def around(at: slice) -> np.ndarray:
        """The brain and what is around it, without bright tissue: scalp and marrow."""
        near = rim[at]
        out = np.zeros(near.shape, np.float32)
        within = (slice(None), *rim.box[1:])
        slab = shown.part((at, *rim.box[1:]))
        np.copyto(out[within], slab, where=brain[at][within] | (near[within] & (slab < BRIGHTEST_AROUND)))
        return out

    shown = RelativeImage(volume, labels, brain) if image is None else image
    rim, surroundings = (_dilated(brain, volume.spacing, reach) for reach in (RIM_MM, SURROUNDINGS_MM))
    mask, cavities = coarse(brain.__getitem__, rim.box), coarse(lambda at: labels[at] == VENTRICLES)
    # The rough mask may leave ventricles open to the outside; they are brain here.
    outline = sitk.Maximum(mask, cavities) - VENTRICLE_WEIGHT * cavities
    return Case(
        coarse(around, rim.box),
        sitk.SmoothingRecursiveGaussian(outline, 3.0),
        sitk.Cast(coarse(rim.__getitem__, rim.box) > 0.5, sitk.sitkUInt8),
        sitk.Cast(coarse(surroundings.__getitem__, surroundings.box) > 0.5, sitk.sitkUInt8),
        mask,
        cavities,
        has_ventricles(labels),
    )


def shrunk(
    volume: Volume,
    factors: Sequence[int],
    read: Callable[[slice], np.ndarray] | None = None,
    within: Box | None = None,
) -> Volume:
    """Means of blocks of voxels, as ``SimpleITK.BinShrink`` makes them; what fills no block at the end is left out.

    Parameters
    ----------
    volume : Volume
    factors : sequence of int
        Voxels along I, J, K.
    read : callable, optional
        Gives some slices (along K) of what is averaged in place of the volume's voxels: a large volume need not be
        there whole.
    within : tuple of slice, optional
        Box (K, J, I) outside of which all that is averaged is 0.

    Returns
    -------
    Volume
        float32.
    """
    thick, *in_plane = factors[::-1]
    out = np.zeros([n // factor for n, factor in zip(volume.array.shape, factors[::-1], strict=True)], np.float32)
    box = triple(slice(0, n) for n in volume.array.shape) if within is None else within
    blocks = [slice(s.start // by, -(-s.stop // by)) for s, by in zip(box, factors[::-1], strict=True)]
    rows, columns = (slice(s.start * by, s.stop * by) for s, by in zip(blocks[1:], in_plane, strict=True))
    most = np.prod(factors)
    for number in range(blocks[0].start, min(blocks[0].stop, len(out))):
        at, target = slice(number * thick, (number + 1) * thick), out[number, blocks[1], blocks[2]]
        slab = (volume.array[at] if read is None else read(at))[:, rows, columns]
        # Voxels of a mask are counted: whole numbers of one or two bytes, where there is room in them.
        counted = slab.dtype == bool and most < 1 << 16
        slab = slab.view(np.uint8) if counted else np.asarray(slab, np.float32)
        part = slab[0].astype((np.uint8 if most < 1 << 8 else np.uint16) if counted else np.float32)
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
    out *= np.float32(1 / most)
    to_voxels = np.diag([*factors, 1.0])
    to_voxels[:3, 3] = (np.asarray(factors) - 1) / 2
    return Volume(out, volume.ijk_to_ras @ to_voxels, volume.name)


class RelativeImage:
    """Intensities with air at 0 and the median of unlabelled brain at 1, hyperintensities painted over; float32.

    Computed slice by slice on demand.

    Parameters
    ----------
    volume : Volume
    labels : ndarray of uint8, shape (K, J, I)
    brain : ndarray of bool, shape (K, J, I), or PackedMask
    level : float, optional
        Median of unlabelled brain, where it is known.
    """

    def __init__(self, volume: Volume, labels: np.ndarray, brain: Mask, level: float | None = None) -> None:
        self._array, self._labels = volume.array, labels
        self._low = min(0.0, float(np.percentile(volume.array[:, ::4, ::4], 1)))

        def healthy() -> Iterator[np.ndarray]:
            parts = zip(volume.array, labels, brain, strict=True)
            return (part[inside & (own == BACKGROUND)] for part, own, inside in parts)

        median = median_of(healthy) if level is None else level
        level = float(volume.array.max()) if median is None else median
        self._factor = np.float32(1 / max(level - self._low, 1e-6))

    def __getitem__(self, at: slice) -> np.ndarray:
        """Some slices, along K."""
        return self.part((at,))

    def part(self, at: tuple[slice, ...]) -> np.ndarray:
        """A part of them: slices along K, and perhaps J and I."""
        out = np.array(self._array[at], np.float32, order="C")
        out -= np.float32(self._low)
        out *= self._factor
        np.clip(out, 0, BRIGHTEST, out=out)
        out[self._labels[at] > VENTRICLES] = 1.0
        return out


class _Grown:
    """A mask within a box, in one bit a voxel, read by slices.

    Parameters
    ----------
    shape : tuple of int
        Of the grid (K, J, I).
    box : tuple of slice
        The mask is False outside.
    bits : ndarray of uint8, shape (k, j, i / 8)
        Of the box, packed along I.
    """

    def __init__(self, shape: tuple[int, int, int], box: tuple[slice, slice, slice], bits: np.ndarray) -> None:
        self.shape, self.box, self._bits = shape, box, bits

    def __getitem__(self, at: slice) -> np.ndarray:
        """Some slices (K), bool."""
        first, stop, _ = at.indices(self.shape[0])
        out = np.zeros((max(stop - first, 0), *self.shape[1:]), bool)
        along, *within = self.box
        low, high = max(first, along.start), min(stop, along.start + len(self._bits))
        if low < high:
            part = out[(slice(low - first, high - first), *within)]
            bits = self._bits[low - along.start : high - along.start]
            part[:] = np.unpackbits(bits, axis=2, count=part.shape[2]).view(bool)
        return out


def _dilated(mask: Mask, spacing_ijk: tuple[float, float, float], reach_mm: float) -> _Grown:
    """Mask (K, J, I) grown by some millimetres, through slices that are thinner than that as well.

    Voxels are packed along another axis than that of growth, eight in a byte.
    """
    reach = [int(reach_mm / mm) for mm in spacing_ijk[::-1]]
    box = bounding_box(mask, (True,))
    if box is None:
        return _Grown(mask.shape, (slice(0, 0),) * 3, np.zeros((0, 0, 0), np.uint8))
    near = triple(
        slice(max(s.start - by, 0), min(s.stop + by, n)) for s, by, n in zip(box, reach, mask.shape, strict=True)
    )
    rows = near[1].stop - near[1].start
    bits = np.stack([np.packbits(mask[k : k + 1][0][near[1:]], axis=0) for k in range(near[0].start, near[0].stop)])
    for axis in (2, 0):
        bits = grown_along(bits, axis, reach[axis])
    bits = np.stack([np.packbits(np.unpackbits(part, axis=0, count=rows), axis=1) for part in bits])
    return _Grown(mask.shape, near, grown_along(bits, 1, reach[1]))


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
