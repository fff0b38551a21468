"""Atlas-to-subject registration: the position in the average head of each voxel of a FLAIR.

Thick slices and partial heads contain little information for registration. Three features are reliable: the case's own
ventricles, the rough outline of its brain, and that fluid is dark. So the atlas is registered first by ventricles and
brain (many starting angles, affine), then by the image itself within the brain (affine, correlation), then by a smooth
deformation (demons; Thirion 1998, doi:10.1016/S1361-8415(98)80022-4; Vercauteren et al. 2009,
doi:10.1016/j.neuroimage.2008.10.040). Single-threaded and with a fixed seed: the same case gives the same answer. For
the quality of the fit see :class:`Fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ..image.geometry import VolumeGeometry, flip_lps, flip_lps_points, triple
from ..image.volume import Volume
from ..lesions.boxes import Box
from .atlas import Atlas
from .atlas_maps import brain_extent, contrast_image, outline_image
from .case_images import Case, Mask, RelativeImage, prepare
from .regions import Fit

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Grid of the coarse search, mm.
SEARCH_MM = 6.0
#: Starting angles of the search, degrees about the left-right, front-back and foot-head axis.
PITCHES, ROLLS, YAWS = (-24, -16, -8, 0, 8, 16, 24), (-8, 0, 8), (-8, 0, 8)
#: Starting shifts from where the ventricles' (or the brain's) middle suggests, mm along foot-head and front-back.
SHIFTS_Z, SHIFTS_Y = (-14, 0, 14), (-8, 0, 8)
#: All starts are compared at every so many voxels, so many of the best at all of them.
SCORED_STEP, RESCORED = 4, 12
#: How many starts are followed to their end; the next one only if the outlines fit worse than this (Dice of the brain,
#: mm of the ventricles) or there are no ventricles for comparison.
FOLLOWED = 2
GOOD_DICE, GOOD_MM = 0.88, 4.0
#: Voxels of the images of the fits along each axis that are averaged for the bending.
BENDING_SHRINK = 2
#: Sigma that smooths the bending, mm; rounds.
BENDING_MM, BENDING_ROUNDS = 10.0, 10
#: Share of the voxels at which the affine fits compare the images, evenly spread.
SAMPLED, SAMPLING_SEED = 0.1, 1
#: Probabilities above which the atlas has brain, and a ventricle, where the fit is measured.
BRAIN_LEVEL, VENTRICLE_LEVEL = 0.5, 0.4
#: The fit by intensities replaces the one by outlines unless it is worse by this: Dice of the brain, mm of ventricles.
WORSE_DICE, WORSE_MM = 0.03, 1.0


@dataclass(frozen=True)
class Alignment:
    """The way from a case into the atlas.

    Attributes
    ----------
    matrix : ndarray, shape (4, 4)
        Affine map from the case's RAS mm to the atlas's.
    atlas : Atlas
    bending : ndarray of float32, shape (3, K, J, I), optional
        Displacement added to a point after that, RAS mm, on a coarse grid over the atlas; None for an affine alignment.
    bending_ijk_to_ras : ndarray, shape (4, 4), optional
        Affine of that grid, in the atlas's RAS mm.
    """

    matrix: np.ndarray
    atlas: Atlas
    bending: np.ndarray | None = None
    bending_ijk_to_ras: np.ndarray | None = None

    @property
    def farthest_mm(self) -> float:
        """Largest component of the bending, mm."""
        return 0.0 if self.bending is None else float(np.abs(self.bending).max())

    def atlas_kji(
        self, ijk_to_ras: np.ndarray, box: tuple[slice, slice, slice], where: np.ndarray | None = None
    ) -> np.ndarray:
        """Position in the atlas of the voxels of a box of a grid.

        Parameters
        ----------
        ijk_to_ras : ndarray, shape (4, 4)
            Of the grid, RAS mm.
        box : tuple of slice
            K, J, I; steps are allowed.
        where : ndarray of bool, shape of the box, optional
            The voxels that are wanted.

        Returns
        -------
        ndarray of float32, shape (3, K, J, I), or (3, voxels) with ``where``
            K, J, I of the atlas.
        """
        in_atlas = self.matrix @ ijk_to_ras
        points = affine_points(np.linalg.inv(self.atlas.ijk_to_ras) @ in_atlas, box, where)
        if self.bending is None or self.bending_ijk_to_ras is None:
            return points
        at = affine_points(np.linalg.inv(self.bending_ijk_to_ras) @ in_atlas, box, where)
        shifts_mm = [ndimage.map_coordinates(one, at, order=1, mode="nearest", prefilter=False) for one in self.bending]
        to_index = np.linalg.inv(self.atlas.ijk_to_ras[:3, :3]).astype(np.float32)
        for axis, row in enumerate(to_index[::-1]):
            points[axis] += sum(weight * shift for weight, shift in zip(row, shifts_mm, strict=True) if weight)
        return points

    def reach(self, extent: np.ndarray, ijk_to_ras: np.ndarray, shape: tuple[int, ...]) -> Box:
        """Box of the voxels of a grid that may be in a part of the atlas.

        Parameters
        ----------
        extent : ndarray, shape (3, 2)
            First and last voxel (K, J, I) of the atlas. Voxels of the grid between them and their neighbours count.
        ijk_to_ras : ndarray, shape (4, 4)
            Of the grid, RAS mm.
        shape : tuple of int
            K, J, I of the grid.

        Returns
        -------
        tuple of slice
            At least one voxel along each axis.
        """
        first, last = extent[::-1, 0] - 1, extent[::-1, 1] + 1
        in_atlas = _corners(first, last, self.atlas.ijk_to_ras)
        low, high = in_atlas.min(axis=1) - self.farthest_mm, in_atlas.max(axis=1) + self.farthest_mm
        ijk = _corners(low, high, np.linalg.inv(self.matrix @ ijk_to_ras))
        return triple(
            slice(int(np.clip(np.floor(a.min()), 0, n - 1)), int(np.clip(np.ceil(a.max()) + 1, 1, n)))
            for a, n in zip(ijk[::-1], shape, strict=True)
        )


def _corners(first: np.ndarray, last: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The eight corners of a box (I, J, K or x, y, z) where a matrix takes them, (3, 8)."""
    ends = np.array(np.meshgrid(*zip(first, last, strict=True), indexing="ij")).reshape(3, -1)
    moved: np.ndarray = matrix[:3, :3] @ ends + matrix[:3, 3:]
    return moved


def affine_points(matrix: np.ndarray, box: tuple[slice, slice, slice], where: np.ndarray | None = None) -> np.ndarray:
    """K, J, I that a matrix on (I, J, K) gives for the voxels of a box: float32, (3, K, J, I) or (3, voxels)."""
    k, j, i = (np.arange(s.start, s.stop, s.step or 1, dtype=np.float32) for s in box)
    if where is None:
        k, j, i = k[:, None, None], j[None, :, None], i[None, None, :]
    else:
        k, j, i = (axis[index] for axis, index in zip((k, j, i), np.nonzero(where), strict=True))
    rows = [np.float32(r[0]) * i + np.float32(r[1]) * j + np.float32(r[2]) * k + np.float32(r[3]) for r in matrix[:3]]
    return np.stack(rows[::-1])


# --- affine


def align(
    volume: Volume,
    labels: np.ndarray,
    brain: Mask,
    atlas: Atlas,
    step: Callable[[float], None] = lambda _: None,
    image: RelativeImage | None = None,
) -> tuple[Alignment, Fit]:
    """Register the atlas to a case.

    Parameters
    ----------
    volume : Volume
        FLAIR, any orientation, RAS mm.
    labels : ndarray of uint8, shape (K, J, I)
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    brain : ndarray of bool, shape (K, J, I), or PackedMask
        Rough brain mask; not empty.
    atlas : Atlas
    step : callable
        Called with the fraction done; may raise to cancel.
    image : RelativeImage, optional
        :class:`RelativeImage` of these, made if None.

    Returns
    -------
    Alignment
    Fit
    """
    case = prepare(volume, labels, brain, image)
    outline = outline_image(atlas, case.has_ventricles)
    step(0.1)
    starts = _search(case, outline)
    step(0.25)
    results = []
    for number, start in enumerate(starts):
        transform, value = _affine(case.outline, case.surroundings, outline, start, "squares", 30)
        fit = _measure(case, Alignment(_ras_matrix(transform), atlas))
        results.append((value, number, transform, fit))
        step(0.25 + 0.1 * (number + 1))
        if fit.brain_dice >= GOOD_DICE and fit.ventricles_mm <= GOOD_MM:
            break
    _, _, by_outline, before = min(results, key=lambda result: result[:2])
    contrast = contrast_image(atlas)
    transform, _ = _affine(case.image, case.rim, contrast, by_outline, "correlation", 30)
    step(0.7)
    after = _measure(case, Alignment(_ras_matrix(transform), atlas))
    if after.brain_dice < before.brain_dice - WORSE_DICE or after.ventricles_mm > before.ventricles_mm + WORSE_MM:
        transform = by_outline
    step(0.75)
    bending, grid, correlation = _bend(case, contrast, transform)
    step(0.95)
    alignment = Alignment(_ras_matrix(transform), atlas, bending, grid)
    return alignment, _measure(case, alignment, correlation)


def _search(case: Case, outline: sitk.Image) -> list[sitk.AffineTransform]:
    """The best starts of a grid of angles and shifts, best first, separated from each other."""
    from itertools import product

    import SimpleITK as sitk

    stride = [max(1, round(SEARCH_MM / mm)) for mm in case.outline.GetSpacing()]
    small = case.outline[:: stride[0], :: stride[1], :: stride[2]]
    values = sitk.GetArrayFromImage(small).ravel()
    # From voxels to LPS millimetres.
    to_lps = VolumeGeometry.from_sitk(small).ijk_to_lps
    kji = np.indices(small.GetSize()[::-1]).reshape(3, -1)
    points = to_lps[:3, :3] @ kji[::-1] + to_lps[:3, 3:]
    near = sitk.GetArrayFromImage(_grown(case.brain, small, 14.0)).ravel() > 0
    points, values = points[:, near], values[near]
    sampled = points[:, ::SCORED_STEP].copy(), values[::SCORED_STEP].copy()
    of_ventricles = case.has_ventricles
    here = _middle(case.ventricles if of_ventricles else case.brain)
    there = _middle(outline, negative=of_ventricles)
    target = sitk.GetArrayFromImage(outline)
    outline_to_lps = VolumeGeometry.from_sitk(outline).ijk_to_lps
    to_index = np.linalg.inv(outline_to_lps[:3, :3])
    origin = outline_to_lps[:3, 3:]
    shifts = [(0.0, 0.0)] if of_ventricles else list(product(SHIFTS_Y, SHIFTS_Z))

    def score(start: Sequence[float], points: np.ndarray, values: np.ndarray) -> float:
        """Mean square of what the outlines differ by at some points."""
        *angles, dy, dz = start
        shift = there + np.array([0.0, dy, dz])
        to_outline = to_index @ _turn(*angles)
        index = to_outline @ points + (to_index @ (shift[:, None] - origin) - to_outline @ here[:, None])
        found = ndimage.map_coordinates(target, index[::-1], order=1, mode="constant")
        return float(np.square(found - values).mean())

    starts = [(*angles, *shift) for angles in product(PITCHES, ROLLS, YAWS) for shift in shifts]
    scored = sorted((score(start, *sampled), *start) for start in starts)
    scored = sorted((score(start, points, values), *start) for _, *start in scored[:RESCORED]) + scored[RESCORED:]
    chosen: list[tuple[float, ...]] = []
    for one in scored:
        if all(max(abs(a - b) for a, b in zip(one[1:4], other[1:4], strict=True)) > 8 for other in chosen):
            chosen.append(one)
        if len(chosen) == FOLLOWED:
            break
    transforms = []
    for _, *angles, dy, dz in chosen:
        start = sitk.AffineTransform(3)
        start.SetCenter(here.tolist())
        start.SetMatrix(_turn(*angles).ravel().tolist())
        start.SetTranslation((there + np.array([0.0, dy, dz]) - here).tolist())
        transforms.append(start)
    return transforms


@lru_cache(maxsize=128)
def _turn(pitch: float, roll: float, yaw: float) -> np.ndarray:
    """Rotation about the fixed axes x, y and z in turn, degrees."""
    import SimpleITK as sitk

    turn = sitk.Euler3DTransform((0.0, 0.0, 0.0), *np.deg2rad((pitch, roll, yaw)).tolist())
    turn.SetComputeZYX(True)
    return np.reshape(turn.GetMatrix(), (3, 3))


def _grown(image: sitk.Image, like: sitk.Image, reach_mm: float) -> sitk.Image:
    """Dilate an occupancy image by a reach, on another image's grid."""
    import SimpleITK as sitk

    near = sitk.SmoothingRecursiveGaussian(image, reach_mm / 2) > 0.02
    return sitk.Resample(near, like, sitk.Transform(), sitk.sitkNearestNeighbor, 0)


def _middle(image: sitk.Image, negative: bool = False) -> np.ndarray:
    """Centre of mass (LPS mm) of an image, or of what is negative in it."""
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image)
    array = np.maximum(-array if negative else array, 0)
    kji = ndimage.center_of_mass(array)
    return np.array(image.TransformContinuousIndexToPhysicalPoint([float(x) for x in kji[::-1]]))


def _affine(
    fixed: sitk.Image,
    mask: sitk.Image | None,
    moving: sitk.Image,
    start: sitk.Transform,
    metric: str,
    rounds: int,
) -> tuple[sitk.AffineTransform, float]:
    """Affine map (LPS) that makes two images agree, and the metric's final value (smaller is better)."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    if metric == "squares":
        method.SetMetricAsMeanSquares()
    else:
        method.SetMetricAsCorrelation()
    if mask is not None:
        method.SetMetricFixedMask(mask)
    method.SetMetricSamplingStrategy(method.REGULAR)
    # Evenly spread samples are still moved at random within their voxels, by default with the time as seed.
    method.SetMetricSamplingPercentage(SAMPLED, SAMPLING_SEED)
    # Gradients at the samples alone, not of the whole images.
    method.MetricUseFixedImageGradientFilterOff()
    method.MetricUseMovingImageGradientFilterOff()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(3.0, 0.02, rounds, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetNumberOfThreads(1)
    method.SetInitialTransform(sitk.AffineTransform(start), inPlace=False)
    result = sitk.AffineTransform(sitk.CompositeTransform(method.Execute(fixed, moving)).GetNthTransform(0))
    return result, method.GetMetricValue()


def _ras_matrix(transform: sitk.Transform) -> np.ndarray:
    """The RAS matrix (4 x 4) of a linear ITK transform (LPS)."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(tuple(row))) - origin for row in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(columns, axis=1)
    matrix[:3, 3] = origin
    return flip_lps(matrix)


# --- bending


def _bend(case: Case, contrast: sitk.Image, transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray, float]:
    """Smooth displacement: where in the atlas a point of the affinely moved case belongs.

    Returns the displacement (3, K, J, I; RAS mm), the affine of its grid and the correlation that it reaches.
    """
    import SimpleITK as sitk

    grid = sitk.BinShrink(contrast, [BENDING_SHRINK] * 3)
    expected = sitk.GetArrayFromImage(grid)
    seen = sitk.GetArrayFromImage(sitk.Resample(case.image, grid, transform.GetInverse(), sitk.sitkLinear, -1.0))
    unseen = seen < 0
    seen = np.where(unseen, expected, seen)
    # Slow shading carries no shape: the image is matched to the atlas's local brightness.
    tissue = ((seen > 0.5) & (expected > 0.5)).astype(np.float32)
    sigma = 20.0 / grid.GetSpacing()[0]
    ratio = ndimage.gaussian_filter(tissue * expected, sigma) / np.maximum(
        ndimage.gaussian_filter(tissue * seen, sigma), 1e-3
    )
    seen = seen * np.clip(ratio, 0.7, 1.4)
    seen[unseen] = expected[unseen]
    fixed = sitk.GetImageFromArray(seen.astype(np.float32))
    fixed.CopyInformation(grid)
    method = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    method.SetNumberOfIterations(BENDING_ROUNDS)
    method.SetSmoothDisplacementField(True)
    method.SetStandardDeviations(BENDING_MM / grid.GetSpacing()[0])
    method.SetNumberOfThreads(1)
    field = method.Execute(fixed, grid)
    warp = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    bent = sitk.GetArrayFromImage(sitk.Resample(grid, grid, warp, sitk.sitkLinear, 0.0))
    inside = ~unseen & ((seen > 0) | (expected > 0))
    varied = inside.any() and min(bent[inside].std(), seen[inside].std()) > 0
    correlation = float(np.corrcoef(bent[inside], seen[inside])[0, 1]) if varied else 0.0
    shifts = sitk.GetArrayFromImage(sitk.Cast(field, sitk.sitkVectorFloat32))
    bending = np.ascontiguousarray(np.moveaxis(flip_lps_points(shifts), -1, 0), np.float32)
    return bending, VolumeGeometry.from_sitk(grid).ijk_to_ras, correlation


def _measure(case: Case, alignment: Alignment, correlation: float = float("nan")) -> Fit:
    """Quality of a registration."""
    import SimpleITK as sitk

    atlas = alignment.atlas
    brain = sitk.GetArrayFromImage(case.brain) > 0.5
    ras = VolumeGeometry.from_sitk(case.brain).ijk_to_ras
    # Elsewhere the atlas has no brain.
    box = alignment.reach(brain_extent(atlas, VENTRICLE_LEVEL), ras, brain.shape)
    kji = alignment.atlas_kji(ras, box)
    levels = ndimage.map_coordinates(atlas.brain_levels, kji, order=1, output=np.float32)
    inside = levels > BRAIN_LEVEL * 255
    both = int(np.count_nonzero(inside)) + int(np.count_nonzero(brain))
    dice = 2 * int(np.count_nonzero(inside & brain[box])) / max(both, 1)
    apart = float("nan")
    if case.has_ventricles:
        # Ventricles are part of the brain.
        near = levels > VENTRICLE_LEVEL * 255
        levels = ndimage.map_coordinates(atlas.ventricle_levels, kji[:, near], order=1, output=np.float32)
        near[near] = levels > VENTRICLE_LEVEL * 255
        expected = np.zeros(brain.shape, bool)
        expected[box] = near
        ventricles = sitk.GetArrayFromImage(case.ventricles) > 0.4
        apart = _apart(ventricles, expected, case.brain.GetSpacing()[::-1])
    sizes = np.linalg.svd(alignment.matrix[:3, :3], compute_uv=False)
    return Fit(float(dice), apart, correlation, (float(sizes[0]), float(sizes[-1])))


def _apart(one: np.ndarray, other: np.ndarray, spacing_kji: Sequence[float]) -> float:
    """Mean distance between two masks, the worse of both ways, mm; infinite if one is empty."""
    if not (one.any() and other.any()):
        return float("inf")
    box = ndimage.find_objects((one | other).astype(np.uint8))[0]
    one, other = one[box], other[box]
    ways = [ndimage.distance_transform_edt(~a, sampling=spacing_kji)[b].mean() for a, b in ((one, other), (other, one))]
    return float(max(ways))
