"""``find_regions``: from a FLAIR and its labels to a map of its anatomy.

The atlas gives each voxel a prior; the image decides between fluid, cortex and white matter where it can. Cortex is
tissue within a cortical thickness of sulcal fluid, or as bright as gray matter where the atlas expects cortex
(after Van Leemput et al. 1999, doi:10.1109/42.811270, and Ashburner and Friston 2005,
doi:10.1016/j.neuroimage.2005.02.018, who also combine atlas priors with intensities).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from ..errors import CaseWarning
from ..image.footing import footed
from ..image.geometry import spacing_of, triple
from ..image.packed_mask import PlaneMask
from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..labels import BACKGROUND
from ..lesions.boxes import Box, bounding_box, through_plane_axis
from ..preprocessing.brain_mask import packed_brain_mask
from ..progress import CancelToken, ProgressCallback, Reporter
from .atlas import TISSUES, Atlas, load_atlas
from .atlas_maps import PRIOR_MM, around_head, contrast_image, lateral_side, outline_image, tissue_extents
from .case_images import Mask, RelativeImage, grown_along, shrunk
from .regions import CoarseRegionMap, Fit, RegionMap, has_ventricles
from .registration import Alignment, affine_points, align
from .tissue_codes import tissue_codes

#: Voxels finer than this are averaged: the atlas has no finer detail.
FINEST_MM = 1.1
#: Most voxels of the brain's box at which anatomy is worked out; finer grids are averaged.
MOST_VOXELS = 1_500_000
#: Slow shading is removed with this sigma, mm.
SHADING_MM = 22.0
#: What a good fit keeps to; see :class:`Fit`. On 17 FLAIRs of 15 patients and on phantoms: Dice from 0.90, ventricles
#: to 6.0 mm, correlation from 0.87. Heads upside down or back to front: Dice to 0.89, ventricles from 6.9 mm,
#: correlation to 0.88. Well-placed ventricles excuse a poor outline; distant or unknown ones do not.
LEAST_BRAIN_DICE, LEAST_BRAIN_DICE_ALONE, LEAST_CORRELATION = 0.80, 0.895, 0.6
SURE_VENTRICLES_MM, MOST_VENTRICLES_MM, SCALES = 4.0, 6.5, (0.72, 1.38)

_ADVICE = "Regions of lesions are given as unknown."
_NO_VENTRICLES = (
    "The label map has no ventricles: lesions are called periventricular by contact with dark voxels where the atlas "
    "expects the ventricles; some contacts are missed."
)


def find_regions(
    volume: Volume,
    labels: np.ndarray,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
    is_footed: bool = False,
    mask: PlaneMask | None = None,
) -> RegionMap:
    """Find the anatomy needed for the regions of lesions: once per case, independent of later edits.

    Parameters
    ----------
    volume : Volume
        FLAIR (K, J, I), any orientation and spacing, RAS mm.
    labels : ndarray of uint8, shape (K, J, I)
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    progress : callable, optional
        ``progress(fraction, "regions")``.
    cancel : CancelToken or callable, optional
    is_footed : bool
        Whether the intensities are known to be on the common footing (:mod:`flairseg.image.footing`).
    mask : PlaneMask, optional
        Rough brain mask of this volume, if it is known: used where it is of the plane in which its slices are thick.

    Returns
    -------
    RegionMap
        With ``found`` False and a warning where the atlas does not fit: never a guess.

    Raises
    ------
    ValueError
        If the labels are not on the volume's grid.
    flairseg.errors.Cancelled
        When the user cancelled.
    """
    if labels.shape != volume.array.shape:
        raise ValueError(f"labels {labels.shape} do not fit the volume {volume.array.shape}")
    report = Reporter(progress, cancel)
    with report.stage("regions", 0.0, 1.0):
        return _find(volume if is_footed else footed(volume), labels, report.update, mask)


def prepare_atlas() -> None:
    """Load the atlas and make what the fits need of it: once in a process, here ahead of its first case."""
    atlas = load_atlas()
    outline_image(atlas, True)
    contrast_image(atlas)
    around_head(atlas)
    lateral_side(atlas)


def _find(
    volume: Volume, labels: np.ndarray, step: Callable[[float], None], mask: PlaneMask | None = None
) -> RegionMap:
    if min(volume.array.shape) < 2:
        return RegionMap.nothing(
            labels.shape, volume.ijk_to_ras, f"Regions cannot be found in a single slice. {_ADVICE}"
        )
    # In one orientation, so that the order in which a scan is stored changes nothing.
    stack = SliceStack.from_volume(volume)
    scan = Volume(stack.array, stack.ijk_to_ras(volume.ijk_to_ras), volume.name)
    own_labels = stack.arrange(labels)
    if abs(own_labels.strides[-1]) > 1:
        # Slices across memory would be read slowly, and more than once.
        own_labels = np.ascontiguousarray(own_labels)
    if mask is None or mask.plane != stack.plane:
        mask = PlaneMask(stack.plane, packed_brain_mask(scan.array, stack.spacing))
    brain = mask.mask
    if not brain.any():
        return RegionMap.nothing(
            labels.shape, volume.ijk_to_ras, f"No brain was found to register the atlas to. {_ADVICE}"
        )
    step(0.1)
    atlas = load_atlas()
    image = RelativeImage(scan, own_labels, brain, mask.level)
    alignment, fit = align(scan, own_labels, brain, atlas, lambda done: step(0.1 + 0.6 * done), image)
    doubt = doubts(fit)
    if doubt:
        return RegionMap.nothing(labels.shape, volume.ijk_to_ras, f"{doubt} {_ADVICE}", fit)
    codes, lateral, shrink = _anatomy(scan, image, own_labels, brain, alignment, lambda done: step(0.7 + 0.3 * done))
    told = () if has_ventricles(labels) else (CaseWarning(_NO_VENTRICLES, "ventricles-not-labelled"),)
    normal = through_plane_axis(volume.ijk_to_ras)
    if max(shrink) == 1:
        codes, lateral = (np.ascontiguousarray(stack.restore(part)) for part in (codes, lateral))
        return RegionMap(codes, lateral, True, fit, alignment.matrix, volume.spacing, normal, told)
    # What fills no coarse voxel at the end of an axis belongs to the last one.
    sizes = zip(scan.array.shape, shrink, codes.shape, strict=True)
    numbers = [np.minimum(np.arange(size) // times, most - 1) for size, times, most in sizes]
    codes, lateral = (np.transpose(part, stack.volume_axes) for part in (codes, lateral))
    coarse = RegionMap(codes, lateral, True, fit, alignment.matrix, volume.spacing, normal, told)
    return CoarseRegionMap(coarse, stack.along_volume(numbers))


def doubts(fit: Fit) -> str:
    """Return the reasons to doubt a fit; empty for a good one."""
    least = LEAST_BRAIN_DICE if fit.ventricles_mm <= SURE_VENTRICLES_MM else LEAST_BRAIN_DICE_ALONE
    if fit.brain_dice < least or not SCALES[0] <= fit.scales[1] <= fit.scales[0] <= SCALES[1]:
        return "The atlas of regions does not fit the outline of this brain."
    if fit.ventricles_mm > MOST_VENTRICLES_MM:
        return "The atlas of regions does not fit the ventricles of this brain."
    if fit.correlation < LEAST_CORRELATION:
        return "The atlas of regions does not resemble this image."
    return ""


def _anatomy(
    scan: Volume,
    image: RelativeImage,
    labels: np.ndarray,
    brain: Mask,
    alignment: Alignment,
    step: Callable[[float], None],
) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int]]:
    """Codes and the side of the lateral ventricles, and of how many voxels (K, J, I) one of theirs is made."""
    shrink = _shrink(scan, brain)
    coarse = shrunk(scan, shrink, image.__getitem__) if max(shrink) > 1 else scan.with_array(image[:])
    at = triple(slice(s // 2, None, s) for s in shrink[::-1])
    own = triple(slice(0, n) for n in coarse.array.shape)
    labels_small, brain_small = (a[at][own] for a in (labels, brain))
    step(0.1)
    atlas = alignment.atlas
    # The atlas is smooth: it is sampled at every second or third voxel and interpolated in between.
    steps = triple(max(1, int(PRIOR_MM / mm + 0.5)) for mm in coarse.spacing[::-1])
    box, sparse_box, near = _head(alignment, coarse, steps)
    kji = alignment.atlas_kji(coarse.ijk_to_ras, sparse_box, near)
    within = ndimage.map_coordinates(around_head(atlas), kji, order=0, prefilter=False) > 0
    near[near], kji = within, kji[:, within]
    size = _size(box)
    lateral = interpolated(_samples(lateral_side(atlas), kji, near, "nearest"), steps, size) > 0
    priors = _Priors(atlas, kji, near, steps, size)
    step(0.5)
    own_labels = labels_small[box]
    level = _white_level(
        coarse.array[box], priors.whole("white_matter"), own_labels == BACKGROUND, coarse.spacing[::-1]
    )
    np.divide(coarse.array[box], level, out=level)
    part = tissue_codes(
        level, own_labels, brain_small[box], priors, coarse.spacing, through_plane_axis(coarse.ijk_to_ras)
    )
    step(0.9)
    codes_small, lateral_small = np.zeros(_size(own), np.uint8), np.zeros(_size(own), bool)
    codes_small[box], lateral_small[box] = part, lateral
    return codes_small, lateral_small, triple(shrink[::-1])


class _Priors:
    """The atlas's probabilities on a box of voxels, interpolated from samples for some slices at a time.

    All of them at once would be the most memory that a case takes.

    Parameters
    ----------
    atlas : Atlas
    kji : ndarray of float32, shape (3, samples near the head)
        Position in the atlas of these samples.
    near : ndarray of bool, shape (k, j, i)
        Which of the samples they are.
    steps, size : tuple of int
        Voxels from sample to sample, and voxels of the box, along (K, J, I).
    """

    def __init__(
        self, atlas: Atlas, kji: np.ndarray, near: np.ndarray, steps: tuple[int, int, int], size: tuple[int, int, int]
    ) -> None:
        self._steps, self._size = steps, size
        self._near = between(near, steps, size)
        self._tissues = {}
        for name, levels, extent in zip(TISSUES, atlas.levels, tissue_extents(atlas), strict=True):
            part, wanted, points = _within(extent, kji, near)
            self._tissues[name] = self._along_slices(_samples(levels, points, wanted), part)

    def at(self, block: slice, least: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Of some slices: flat numbers of the voxels near the head at which the probabilities sum to more than this.

        And each tissue's probabilities there.
        """
        parts = {name: self._read(one, block) for name, one in self._tissues.items()}
        first, *others = parts.values()
        total = first.copy()
        for other in others:
            total += other
        places = np.flatnonzero(self._near[block] & (total > least))
        return places, {name: part.ravel().take(places) for name, part in parts.items()}

    def whole(self, tissue: str) -> np.ndarray:
        """One tissue's probability in the whole box, float32."""
        return self._read(self._tissues[tissue], slice(0, self._size[0]))

    def _along_slices(self, samples: np.ndarray, part: Box) -> tuple[Box, np.ndarray]:
        """Voxels of the box between samples of a part of it, and these samples on each of their slices."""
        inner = triple(
            slice(s.start * step, min((s.stop - 1) * step + 1, n))
            for s, step, n in zip(part, self._steps, self._size, strict=True)
        )
        return inner, interpolated(samples, (self._steps[0], 1, 1), (_size(inner)[0], *samples.shape[1:]))

    def _read(self, kept: tuple[Box, np.ndarray], block: slice) -> np.ndarray:
        inner, samples = kept
        start, stop, _ = block.indices(self._size[0])
        first, last = max(start, inner[0].start), min(stop, inner[0].stop)
        out = np.zeros((stop - start, *self._size[1:]), np.float32)
        if first < last:
            part = samples[first - inner[0].start : last - inner[0].start]
            size = (last - first, *_size(inner)[1:])
            out[(slice(first - start, last - start), *inner[1:])] = interpolated(part, (1, *self._steps[1:]), size)
        return out


def _samples(levels: np.ndarray, kji: np.ndarray, near: np.ndarray, beyond: str = "constant") -> np.ndarray:
    """Levels (0..255) of the atlas as 0..1 at positions ``kji`` of the samples that are ``near``; float32."""
    samples = np.zeros(near.shape, np.float32)
    samples[near] = ndimage.map_coordinates(
        levels, kji, order=1, mode=beyond, prefilter=False, output=np.float32
    ) * np.float32(1 / 255)
    return samples


def _within(
    extent: np.ndarray | None, kji: np.ndarray, near: np.ndarray
) -> tuple[tuple[slice, slice, slice], np.ndarray, np.ndarray]:
    """The samples at which something may be: their box, which of it (bool), and their positions.

    Parameters
    ----------
    extent : ndarray, shape (3, 2), optional
        First and last voxel (K, J, I) of the atlas that has something; None: all of them.
    kji : ndarray, shape (3, samples)
        Positions in the atlas.
    near : ndarray of bool, shape (k, j, i)
        The samples that have a position.

    Returns
    -------
    tuple of slice
        Includes the samples around, where there is nothing.
    ndarray of bool
    ndarray, shape (3, samples)
    """
    whole = triple(slice(0, n) for n in near.shape)
    if extent is None:
        return whole, near, kji
    inside = np.ones(kji.shape[1], bool)
    for position, (first, last) in zip(kji, extent, strict=True):
        inside &= (position > first - 1) & (position < last + 1)
    wanted = np.zeros(near.shape, bool)
    wanted[near] = inside
    box = bounding_box(wanted, (True,))
    if box is None:
        return triple(slice(0, 1) for _ in whole), np.zeros((1, 1, 1), bool), kji[:, :0]
    part = triple(slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(box, near.shape, strict=True))
    return part, wanted[part], kji[:, inside]


def _head(
    alignment: Alignment, volume: Volume, steps: tuple[int, int, int]
) -> tuple[tuple[slice, slice, slice], tuple[slice, slice, slice], np.ndarray]:
    """Possible extent of the atlas's head, however it is warped.

    Returns the box of voxels, the same with ``steps`` (its last sample at or beyond the last voxel), and which of the
    samples are near the head (bool).
    """
    box = _box(alignment, volume)
    samples = triple(slice(s.start, s.stop + step - 1, step) for s, step in zip(box, steps, strict=True))
    to_atlas = np.linalg.inv(alignment.atlas.ijk_to_ras) @ alignment.matrix @ volume.ijk_to_ras
    head = around_head(alignment.atlas) > 0
    for axis, mm in enumerate(spacing_of(alignment.atlas.ijk_to_ras)[::-1]):
        head = grown_along(head, axis, int(alignment.farthest_mm / mm))
    near = ndimage.map_coordinates(head.astype(np.uint8), affine_points(to_atlas, samples), order=0, prefilter=False)
    found = ndimage.find_objects(near)
    inner = found[0] if found else triple(slice(0, min(n, 2)) for n in near.shape)
    first = [s.start + part.start * step for s, part, step in zip(box, inner, steps, strict=True)]
    last = [s.start + (part.stop - 1) * step + 1 for s, part, step in zip(box, inner, steps, strict=True)]
    samples = triple(slice(a, b, step) for a, b, step in zip(first, last, steps, strict=True))
    box = triple(slice(a, min(b, s.stop)) for a, b, s in zip(first, last, box, strict=True))
    return box, samples, near[inner] > 0


def interpolated(array: np.ndarray, steps: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
    """Values of every voxel from those of every ``steps``-th voxel along each axis, linearly in between.

    Parameters
    ----------
    array : ndarray of float32, shape (k, j, i)
        Sample ``n`` along an axis is at voxel ``n * step``; the last one at or beyond the last voxel.
    steps, size : tuple of int
        Voxels from sample to sample, and voxels wanted, along (K, J, I).

    Returns
    -------
    ndarray of float32, shape ``size``
    """
    for axis, (step, wanted) in enumerate(zip(steps, size, strict=True)):
        if step == 1:
            continue
        at = (slice(None),) * axis
        out = np.empty((*array.shape[:axis], wanted, *array.shape[axis + 1 :]), np.float32)
        rise = np.diff(array, axis=axis)
        for offset in range(min(step, wanted)):
            count = len(range(offset, wanted, step))
            low = array[(*at, slice(0, count))]
            if offset:
                low = low + np.float32(offset / step) * rise[(*at, slice(0, count))]
            out[(*at, slice(offset, None, step))] = low
        array = out
    return array


def between(mask: np.ndarray, steps: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
    """Where :func:`interpolated` would make more than 0 of a mask (bool); same parameters, bool."""
    for axis, (step, wanted) in enumerate(zip(steps, size, strict=True)):
        if step == 1:
            continue
        at = (slice(None),) * axis
        out = np.empty((*mask.shape[:axis], wanted, *mask.shape[axis + 1 :]), bool)
        either = mask[(*at, slice(0, -1))] | mask[(*at, slice(1, None))]
        for offset in range(min(step, wanted)):
            count = len(range(offset, wanted, step))
            out[(*at, slice(offset, None, step))] = (either if offset else mask)[(*at, slice(0, count))]
        mask = out
    return mask


def _size(box: tuple[slice, slice, slice]) -> tuple[int, int, int]:
    """Voxels of a box along each axis."""
    return triple(s.stop - s.start for s in box)


def _shrink(volume: Volume, brain: Mask) -> list[int]:
    """Number of voxels (I, J, K) averaged into one."""
    shrink = [max(1, int(FINEST_MM / mm + 0.5)) for mm in volume.spacing]
    box = bounding_box(brain, (True,))
    voxels = 0.0 if box is None else float(np.prod(_size(box)))
    while voxels / np.prod(shrink) > MOST_VOXELS:
        finest = int(np.argmin(np.array(volume.spacing) * shrink))
        shrink[finest] += 1
    return [min(s, n) for s, n in zip(shrink, volume.array.shape[::-1], strict=True)]


def _enlarged(array: np.ndarray, shrink: list[int], shape: tuple[int, ...]) -> np.ndarray:
    """Each voxel repeated, and the last ones up to the edge of the grid."""
    for axis, (times, size) in enumerate(zip(shrink, shape, strict=True)):
        if times > 1 or size != array.shape[axis]:
            array = np.take(array, np.minimum(np.arange(size) // times, array.shape[axis] - 1), axis=axis)
    return np.ascontiguousarray(array)


def _box(alignment: Alignment, volume: Volume) -> tuple[slice, slice, slice]:
    """Part of the grid that the atlas covers."""
    size = np.array(alignment.atlas.levels.shape[1:])
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in size[::-1]], indexing="ij")).reshape(3, -1)
    to_grid = np.linalg.inv(volume.ijk_to_ras) @ np.linalg.inv(alignment.matrix) @ alignment.atlas.ijk_to_ras
    ijk = to_grid[:3, :3] @ ends + to_grid[:3, 3:]
    return triple(
        slice(int(np.clip(np.floor(a.min()), 0, n - 1)), int(np.clip(np.ceil(a.max()) + 1, 1, n)))
        for a, n in zip(ijk[::-1], volume.array.shape, strict=True)
    )


def _white_level(image: np.ndarray, white: np.ndarray, unlabelled: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Brightness of white matter around each voxel."""
    # Shading is slow: every 5 mm will do.
    steps = [max(1, int(5.0 / mm)) for mm in spacing]
    shape, coarse = image.shape, tuple(slice(None, None, step) for step in steps)
    image, white, unlabelled = image[coarse], white[coarse], unlabelled[coarse]
    sigma = [SHADING_MM / (mm * step) for mm, step in zip(spacing, steps, strict=True)]
    weight = np.where(unlabelled, np.maximum(white - 0.5, 0), 0).astype(np.float32)
    first = float(np.median(image[weight > 0.2])) if (weight > 0.2).any() else 1.0
    level = np.full_like(image, first, dtype=np.float32)
    for _ in range(2):
        sound = weight * (np.abs(image / level - 1) < 0.2)
        total = ndimage.gaussian_filter(sound, sigma, truncate=2.5)
        level = ndimage.gaussian_filter(sound * image, sigma, truncate=2.5) / np.maximum(total, 1e-5)
        steady = float(np.median(level[total > 1e-3])) if (total > 1e-3).any() else 1.0
        level = np.where(total > 1e-3, level, steady)
    return _enlarged(np.maximum(level, 0.2).astype(np.float32), steps, shape)
