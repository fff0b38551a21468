"""Rigid registration of two FLAIR studies of one head, thick slices or thin, any plane, any scanner.

Both studies are brought to isotropic voxels and masked to the brain, which moves as one piece (jaw, neck, eyes and a
defaced forehead do not). A search over starting angles is refined from coarse to fine, forwards and backwards; the two
answers are compared, and the motion half-way between them is kept, so that it does not matter which study comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CaseWarning, RegistrationError
from ..image.geometry import flip_lps_points
from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..preprocessing.brain_mask import shared_brain_mask
from . import rigid

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Voxel of the levels, mm: where the starting angles are tried, and the two steps of refinement.
SEARCH_MM, COARSE_MM, FINE_MM = 8.0, 5.0, 3.0
#: Starting angles about the axes left-right, front-back and foot-head, degrees: mostly nodding.
NOD_DEG, TILT_DEG, TURN_DEG = (-36.0, -18.0, 0.0, 18.0, 36.0), (-15.0, 0.0, 15.0), (-20.0, 0.0, 20.0)
#: Number of starting poses refined at the coarse level.
STARTS = 3
#: Share of the fine level's voxels that correlation is computed at, evenly spread: all of them move the answer by
#: 0.13 mm at most, and take twice as long (the phantom, two Ljubljana pairs).
SAMPLED, SAMPLING_SEED = 0.25, 1
#: The registration's mask reaches this far beyond the brain, mm: the brain's edge is what it aligns best.
MARGIN_MM = 5.0
#: Refused when forward and backward answers differ by more than this in the brain, mm; a warning at the second.
#: Twenty scans against re-positioned ones: at most 0.5 mm, and 0.7 mm off the truth (training.measure_follow).
INCONSISTENT_MM, DOUBTFUL_MM = 6.0, 1.5
#: Refused below this correlation of the aligned brains' detail; a warning below the second. One head on other days and
#: scanners (two Ljubljana pairs, Tabriz 107130 and 112776): 0.88 and more; two heads (8 pairs): 0.5 and less.
DIFFERENT_CORRELATION, DOUBTFUL_CORRELATION = 0.66, 0.78
#: Heads are mostly positioned alike: where the pose of the headers, centred and refined, reaches the second
#: correlation at the coarse level, no other is tried (7 pairs of one head 0.82 and more, 6 of two heads 0.59 and less).
#: Change of scale that gives a warning: two calibrated scanners agree to half a percent.
SCALE_DRIFT_PERCENT = 1.0
#: Scale over which brightness and contrast are evened out before correlation, mm; spread that counts as flat (of the
#: brain's median intensity).
DETAIL_MM, SMALLEST_SPREAD = 9.0, 0.03
#: Uniform scales that are tried, about one.
SCALES = tuple(float(s) for s in np.linspace(0.955, 1.045, 7))
_BINS = 32
#: Size in voxels, origin (LPS mm) and spacing of an axial grid.
_Grid = tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]
#: Fewer brain voxels than this (of the fine level; 0.16 litres) are no brain to align.
_FEWEST = 6_000


@dataclass(frozen=True)
class Registration:
    """The rigid motion between two studies.

    Attributes
    ----------
    a_to_b : ndarray, shape (4, 4)
        Rigid motion, RAS mm, from points of the first study to the same anatomy in the second.
    correlation : float
        Of the aligned brains' intensities, -1..1.
    consistency_mm : float
        Largest distance, over the brain, between the forward answer and the inverse of the backward one.
    scale_percent : float
        Apparent enlargement of the second brain (uniform scale), percent: drift of a scanner's gradients, or swelling.
    angle_deg, shift_mm : float
        Rotation, and how far the middle of the brain moves, in world coordinates.
    centre_ras : ndarray, shape (3,)
        Middle of the first study's brain, mm.
    warnings : tuple of str
    """

    a_to_b: np.ndarray
    correlation: float
    consistency_mm: float
    scale_percent: float
    angle_deg: float
    shift_mm: float
    centre_ras: np.ndarray
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Level:
    """One level of a study's pyramid: FLAIR, brain (0..1), and the FLAIR's local detail."""

    flair: sitk.Image
    brain: sitk.Image
    detail: sitk.Image


@dataclass(frozen=True)
class Prepared:
    """A study ready to be registered: isotropic images by voxel size in mm; other fields: see :func:`prepare`."""

    volume: Volume
    mask: np.ndarray
    levels: dict[float, Level]
    centre_ras: np.ndarray
    median: float
    points_ras: np.ndarray


def prepare(volume: Volume) -> Prepared:
    """Brain mask and isotropic pyramid of one study.

    Parameters
    ----------
    volume : Volume
        float32 (K, J, I), checked.

    Returns
    -------
    Prepared
        ``mask`` is bool (K, J, I) on the volume's own grid; ``median`` the brain's median intensity; ``points_ras``
        some thousand points (N, 3) spread over the brain.

    Raises
    ------
    RegistrationError
        If no brain is found.
    """
    import SimpleITK as sitk

    mask = head_mask(volume)
    found = np.argwhere(mask)
    if len(found) * volume.voxel_mm3 < _FEWEST * FINE_MM**3:
        raise RegistrationError(
            f"No brain was found in {volume.name}, so it cannot be registered to the other study.",
            "Check in a viewer that it is a FLAIR of a whole head; give the studies that show the brain.",
        )
    centre = volume.ijk_to_ras[:3, :3] @ found.mean(axis=0)[::-1] + volume.ijk_to_ras[:3, 3]
    median = float(np.median(volume.array[mask]))
    image = _image(volume, np.clip(volume.array / max(median, 1e-6), 0.0, 2.5).astype(np.float32))
    inside = _image(volume, mask.astype(np.float32))
    low, high = _bounds(found, volume.ijk_to_ras)
    levels = {}
    spacing = volume.spacing
    shrink = [max(1, int(FINE_MM / 2 / mm)) for mm in spacing]
    image, inside = (sitk.BinShrink(part, shrink) for part in (image, inside))
    spacing = image.GetSpacing()
    for mm in (FINE_MM, COARSE_MM, SEARCH_MM):
        size = np.maximum(np.ceil((high - low + 6 * MARGIN_MM) / mm).astype(int), 8)
        origin = (low + high) / 2 - (size - 1) / 2 * mm
        grid = (tuple(int(n) for n in size), tuple(origin), (mm,) * 3)
        image, inside = (_onto(_smoothed(part, spacing, mm), grid) for part in (image, inside))
        levels[mm], spacing = Level(image, inside, _detail(image, inside, mm)), (mm,) * 3
    some = found[:: max(1, len(found) // 4000)]
    points = some[:, ::-1] @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]
    return Prepared(volume, mask, levels, centre, median, points)


def head_mask(volume: Volume) -> np.ndarray:
    """Rough brain mask on the volume's own grid, bool (K, J, I) (source: S1, see ``preprocessing.brain_mask``)."""
    stack = SliceStack.from_volume(volume)
    return np.ascontiguousarray(stack.restore(shared_brain_mask(stack.array, stack.spacing)))


def register(a: Prepared, b: Prepared, step: Callable[[float], None] | None = None) -> Registration:
    """Find the rigid motion between two studies of one head.

    Mutual information decides among the starting poses and between scanners (its measure is blind to how grey levels
    correspond), correlation refines and judges: both are FLAIR.

    Parameters
    ----------
    a, b : Prepared
    step : callable, optional
        Called with the fraction done; may raise to cancel.

    Returns
    -------
    Registration

    Raises
    ------
    RegistrationError
        If the brains do not match: different patients, another contrast, or most of the brain missing in one.

    References
    ----------
    Mattes et al. 2003, IEEE TMI 22:120 (mutual information); Reuter et al. 2010, NeuroImage 53:1181 (inverse-consistent
    robust registration and the half-way space).
    """
    tell = step or (lambda fraction: None)
    forward = _search(a, b, lambda f: tell(0.45 * f))
    backward = _search(b, a, lambda f: tell(0.45 + 0.4 * f), start=rigid.invert(forward))
    points = a.points_ras
    apart = np.linalg.norm(rigid.apply(forward, points) - rigid.apply(rigid.invert(backward), points), axis=1)
    motion = rigid.mean_motion([forward, rigid.invert(backward)], a.centre_ras)
    correlation = aligned_correlation(a, b, motion)
    tell(0.9)
    consistency = float(apart.max())
    _refuse(a, b, correlation, consistency)
    scale = _scale_percent(a, b, motion)
    tell(1.0)
    moved = rigid.apply(motion, a.centre_ras) - a.centre_ras
    warnings = _doubts(correlation, consistency, scale)
    return Registration(
        motion, correlation, consistency, scale, rigid.angle_deg(motion), float(np.linalg.norm(moved)), a.centre_ras,
        warnings,
    )  # fmt: skip


def aligned_correlation(a: Prepared, b: Prepared, a_to_b: np.ndarray, mm: float = FINE_MM) -> float:
    """Pearson correlation of two studies' local detail over the brain of both, aligned.

    Detail distinguishes one brain from another; coils, contrast and brightness do not change it. ``mm`` is the level.
    """
    import SimpleITK as sitk

    fixed, moving, transform = a.levels[mm], b.levels[mm], rigid.to_sitk(a_to_b)
    detail, brain = (
        sitk.GetArrayFromImage(sitk.Resample(image, fixed.flair, transform, sitk.sitkLinear, 0.0))
        for image in (moving.detail, moving.brain)
    )
    both = (sitk.GetArrayFromImage(fixed.brain) > 0.5) & (brain > 0.5)
    if np.count_nonzero(both) * mm**3 < _FEWEST * FINE_MM**3:
        return 0.0
    return float(np.corrcoef(sitk.GetArrayFromImage(fixed.detail)[both], detail[both])[0, 1])


# --- search


def _search(
    fixed: Prepared, moving: Prepared, tell: Callable[[float], None], start: np.ndarray | None = None
) -> np.ndarray:
    """From many starting poses to one motion (RAS), coarse to fine; ``start`` skips the search for one."""
    import SimpleITK as sitk

    centre = flip_lps_points(fixed.centre_ras)
    if start is None:
        shift = flip_lps_points(moving.centre_ras) - centre
        straight = _euler(centre, (0.0, 0.0, 0.0, *shift))
        transform, _ = _optimise(fixed, moving, COARSE_MM, straight, "mutual information")
        tell(0.1)
        if aligned_correlation(fixed, moving, rigid.from_sitk(transform), COARSE_MM) < DOUBTFUL_CORRELATION:
            transform = _best_of_poses(fixed, moving, shift, tell)
    else:
        transform = sitk.Euler3DTransform()
        transform.SetCenter(tuple(centre))
        given = rigid.to_sitk(start)
        transform.SetMatrix(given.GetMatrix())
        transform.SetTranslation(tuple(np.array(given.TransformPoint(tuple(centre))) - centre))
        # Away from the forward answer, so that finding it again means something.
        nudged = np.add(transform.GetParameters(), (0.03, -0.03, 0.03, 2.0, -2.0, 2.0))
        transform.SetParameters(tuple(nudged))
        transform = _optimise(fixed, moving, COARSE_MM, transform, "mutual information")[0]
    tell(0.6)
    transform = _optimise(fixed, moving, FINE_MM, transform, "correlation")[0]
    tell(1.0)
    return rigid.from_sitk(transform)


def _best_of_poses(
    fixed: Prepared, moving: Prepared, shift: np.ndarray, tell: Callable[[float], None]
) -> sitk.Euler3DTransform:
    """The transform that fits best after the coarse level, from many starting angles."""
    centre = flip_lps_points(fixed.centre_ras)
    poses = [(*np.radians(angles), *shift) for angles in product(NOD_DEG, TILT_DEG, TURN_DEG)]
    method = _method(fixed, SEARCH_MM, "mutual information")
    scored = []
    for pose in poses:
        method.SetInitialTransform(_euler(centre, pose), inPlace=False)
        scored.append((_evaluate(method, fixed, moving, SEARCH_MM), pose))
        tell(0.1 + 0.2 * len(scored) / len(poses))
    scored.sort(key=lambda pair: pair[0])
    refined = [
        _optimise(fixed, moving, COARSE_MM, _euler(centre, pose), "mutual information") for _, pose in scored[:STARTS]
    ]
    return min(refined, key=lambda pair: pair[1])[0]


def _method(fixed: Prepared, mm: float, metric: str) -> sitk.ImageRegistrationMethod:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    if metric == "correlation":
        method.SetMetricAsCorrelation()
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(SAMPLED, SAMPLING_SEED)
    else:
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(_around_brain(fixed, mm))
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _evaluate(method: sitk.ImageRegistrationMethod, fixed: Prepared, moving: Prepared, mm: float) -> float:
    try:
        return float(method.MetricEvaluate(fixed.levels[mm].flair, moving.levels[mm].flair))
    except RuntimeError:
        return np.inf  # the images do not overlap in this pose


def _optimise(
    fixed: Prepared, moving: Prepared, mm: float, transform: sitk.Euler3DTransform, metric: str
) -> tuple[sitk.Euler3DTransform, float]:
    """(transform, metric value) after gradient descent at one level."""
    import SimpleITK as sitk

    method = _method(fixed, mm, metric)
    # Steps in mm of the image: an angle counts as far as it moves the brain's surface.
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=mm / 2, minStep=mm / 200, numberOfIterations=60, relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-7,
    )  # fmt: skip
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=False)
    try:
        if metric == "correlation":
            found = method.Execute(fixed.levels[mm].detail, moving.levels[mm].detail)
        else:
            found = method.Execute(fixed.levels[mm].flair, moving.levels[mm].flair)
    except RuntimeError:
        return transform, np.inf
    out = type(transform)(found.GetNthTransform(0) if isinstance(found, sitk.CompositeTransform) else found)
    return out, float(method.GetMetricValue())


def _scale_percent(a: Prepared, b: Prepared, motion: np.ndarray) -> float:
    """Scale of the second brain relative to the first: best fit in both directions, which cancels the bias of blur."""
    import SimpleITK as sitk

    logs = []
    for fixed, moving, start, sign in ((a, b, motion, 1), (b, a, rigid.invert(motion), -1)):
        level, other = fixed.levels[COARSE_MM].detail, moving.levels[COARSE_MM].detail
        near = sitk.GetArrayViewFromImage(_around_brain(fixed, COARSE_MM)) > 0
        own = sitk.GetArrayViewFromImage(level)[near]
        centre = tuple(flip_lps_points(fixed.centre_ras))
        given = rigid.to_sitk(start)
        values = []
        for scale in SCALES:
            transform = sitk.AffineTransform(3)
            transform.SetCenter(centre)
            transform.SetMatrix([scale * m for m in given.GetMatrix()])
            transform.SetTranslation(tuple(np.array(given.TransformPoint(centre)) - centre))
            scaled = sitk.GetArrayFromImage(sitk.Resample(other, level, transform, sitk.sitkLinear, 0.0))
            values.append(-(float(np.corrcoef(own, scaled[near])[0, 1]) ** 2))
        # The minimum of a parabola through the best scale and its neighbours.
        n = int(np.clip(np.argmin(values), 1, len(SCALES) - 2))
        left, middle, right = values[n - 1 : n + 2]
        bend = left - 2 * middle + right
        offset = 0.0 if bend <= 0 else float(np.clip(0.5 * (left - right) / bend, -1, 1))
        logs.append(sign * np.log(SCALES[n] + offset * (SCALES[1] - SCALES[0])))
    return float(100 * np.expm1(np.mean(logs)))


# --- verdicts


def _refuse(a: Prepared, b: Prepared, correlation: float, consistency: float) -> None:
    names = f"{a.volume.name} and {b.volume.name}"
    if correlation < DIFFERENT_CORRELATION:
        raise RegistrationError(
            f"The brains of {names} do not match (correlation {correlation:.2f} after the best alignment).",
            "They may show different patients, or one is not a FLAIR of the whole brain: check both in a viewer, "
            "then give the right studies.",
        )
    if consistency > INCONSISTENT_MM:
        raise RegistrationError(
            f"{names} could not be registered: two registrations differ by {consistency:.1f} mm.",
            "Check that both show most of the same brain without strong motion; a study that does not cannot be "
            "followed.",
        )


def _doubts(correlation: float, consistency: float, scale: float) -> tuple[str, ...]:
    out = []
    if correlation < DOUBTFUL_CORRELATION:
        text = (
            f"The aligned brains agree only moderately (correlation {correlation:.2f}): make sure that both studies "
            "show the same patient, and look at the subtraction before trusting a change."
        )
        out.append(CaseWarning(text, "studies-agree-poorly"))
    if consistency > DOUBTFUL_MM:
        text = f"The alignment of the studies is uncertain by {consistency:.1f} mm: small changes are unreliable."
        out.append(CaseWarning(text, "alignment-uncertain"))
    if abs(scale) > SCALE_DRIFT_PERCENT:
        text = (
            f"The brain appears {abs(scale):.1f} % {'larger' if scale > 0 else 'smaller'} in the later study: "
            "a scanner's scale may have drifted, and every volume changes by three times as much."
        )
        out.append(CaseWarning(text, "scale-drifts"))
    return tuple(out)


# --- images


def _euler(centre: np.ndarray, pose: Sequence[float]) -> sitk.Euler3DTransform:
    import SimpleITK as sitk

    transform = sitk.Euler3DTransform()
    transform.SetCenter(tuple(centre))
    transform.SetParameters(tuple(float(p) for p in pose))
    return transform


def _image(volume: Volume, array: np.ndarray) -> sitk.Image:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    spacing, direction, origin = volume.geometry.to_itk()
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    return image


def _bounds(found: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (LPS mm) of the box around voxels (K, J, I)."""
    low, high = found.min(axis=0), found.max(axis=0)
    corners = np.array([[i, j, k, 1] for k in (low[0], high[0]) for j in (low[1], high[1]) for i in (low[2], high[2])])
    points = flip_lps_points((corners @ ijk_to_ras.T)[:, :3])
    return points.min(axis=0), points.max(axis=0)


def _smoothed(image: sitk.Image, spacing: Sequence[float], mm: float) -> sitk.Image:
    """Blurred along the axes that are finer than ``mm``, so that resampling there does not alias."""
    import SimpleITK as sitk

    sigma = [float(np.sqrt(max((mm / 2) ** 2 - (s / 2) ** 2, 0.0))) for s in spacing]
    for axis, value in enumerate(sigma):
        if value > 0.1 * spacing[axis] and image.GetSize()[axis] >= 4:
            image = sitk.RecursiveGaussian(image, value, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis)
    return image


def _onto(image: sitk.Image, grid: _Grid) -> sitk.Image:
    import SimpleITK as sitk

    size, origin, spacing = grid
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, (1, 0, 0, 0, 1, 0, 0, 0, 1), 0.0,
        sitk.sitkFloat32,
    )  # fmt: skip


def _detail(image: sitk.Image, brain: sitk.Image, mm: float) -> sitk.Image:
    """Intensities less their local mean, divided by their local spread (Gaussian of :data:`DETAIL_MM`, brain only)."""
    import SimpleITK as sitk
    from scipy import ndimage

    array = sitk.GetArrayFromImage(image)
    inside = np.clip(sitk.GetArrayFromImage(brain), 0.0, 1.0)
    weight = ndimage.gaussian_filter(inside, DETAIL_MM / mm) + 1e-3

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(values * inside, DETAIL_MM / mm) / weight)

    away = array - local(array)
    even = away / np.sqrt(local(away**2) + SMALLEST_SPREAD**2) * np.minimum(weight, 1)
    out = sitk.GetImageFromArray(even.astype(np.float32))
    out.CopyInformation(image)
    return out


def _around_brain(study: Prepared, mm: float) -> sitk.Image:
    """The brain and a margin around it, as a mask image of one level."""
    import SimpleITK as sitk

    inside: sitk.Image = study.levels[mm].brain > 0.3
    radius = max(1, round(MARGIN_MM / mm))
    around: sitk.Image = sitk.BinaryDilate(inside, (radius,) * 3, sitk.sitkBall)
    return around
