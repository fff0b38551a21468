"""Check whether an image is a brain FLAIR. Doubts are reported as warnings; nothing is refused.

The rules compare a few features of the image with those of FLAIR. The margins come from 17 real FLAIR volumes of
several scanners and from heads painted as CT, T1, T2 and PD; each constant below names both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import CaseWarning
from ..image.checks import check_volume
from ..image.footing import footed
from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from .brain_mask import brain_mask, tissue_threshold
from .resampling import resample

#: Pixel size at which the figures are measured, mm, and the largest number of slices used.
WORKING_MM, WORKING_SLICES = 1.5, 32
#: Slices of these in which white matter is looked for, and slices in which neighbouring pixels are compared.
WHITE_SLICES, CORRELATED_SLICES = 6, 6
#: Slow shading is blurred on blocks of so many of these pixels.
BLOCK = 4
#: Share of voxels below -300 (Hounsfield air). FLAIR: at most 0.001 (reconstruction filters); CT: 0.4 and more.
CT_SHARE = 0.05
#: Correlation of neighbouring pixels. FLAIR: 0.9 and more; noise: 0.
NOISE_CORRELATION = 0.5
#: Largest cross-section of the brain, cm2. Heads: 130 to 200 in axial slices, less in sagittal ones.
AREA_CM2 = (70.0, 330.0)
#: Share of the inner brain darker than 0.55 times the median: ventricles. FLAIR: 0.03 and more; PD, T2: under 0.01.
DARK_LEVEL, DARK_SHARE = 0.55, 0.008
#: Share of the inner brain brighter than 1.5 times the median. FLAIR: at most 0.05; T2 (bright fluid): 0.11 and more.
BRIGHT_LEVEL, BRIGHT_SHARE = 1.5, 0.08
#: Bright superficial tissue relative to deep white matter that only bright fluid gives. FLAIR: to 1.35; T2: from 1.49.
FLUID_RATIO = 1.42
#: Share of tissue darker than homogeneous deep tissue (white matter). FLAIR: 0.34 to 0.47; T1: 0.72 and more.
WHITE_MATTER_RANK = 0.58
#: Bright superficial tissue (its 85th percentile) relative to deep white matter. FLAIR: from 1.12; T1: to 1.01.
CORTEX_RATIO = 1.05
#: Share of the brain's area between 0.6 and 1.5 times its median. FLAIR: 0.84 and more; a knee (marrow, bone): 0.59.
TISSUE_RANGE, TISSUE_SHARE = (0.6, 1.5), 0.65
#: Slices that cover less than this (mm) may show no ventricles or little brain.
COVERAGE_MM = 60.0
#: Share of the head's extent across the slices that the brain mask covers at least. Heads with the neck: 0.5 and more.
MASK_SHARE = 0.35
#: A slice shows the head if it has this share of the tissue of the slice that has most.
HEAD_SLICE_SHARE = 0.25
NOT_SURE = "The result cannot be trusted."


@dataclass(frozen=True)
class Figures:
    """Features used by the rules; NaN where not measurable.

    Attributes
    ----------
    air_share : float
        Share of voxels below -300.
    correlation : float
        Correlation of neighbouring pixels.
    area_cm2, coverage_mm : float
        Largest cross-section and extent of the rough brain mask.
    dark_share, bright_share : float
        Share of the inner brain much darker or brighter than its median.
    tissue_share : float
        Share of the brain, less its outline, that is about as bright as its median.
    white_matter_rank, cortex_ratio : float
        Rank of deep homogeneous tissue among all tissue; bright superficial tissue relative to it.
    head_mm : float
        Extent of the head across the slices.
    """

    air_share: float
    correlation: float
    area_cm2: float
    coverage_mm: float
    dark_share: float
    bright_share: float
    tissue_share: float
    white_matter_rank: float
    cortex_ratio: float
    head_mm: float = float("nan")


def image_doubts(figures: Figures) -> list[CaseWarning]:
    """Return the evidence against a brain FLAIR, strongest first; at most one alternative modality is named."""
    if figures.correlation < NOISE_CORRELATION:
        return _doubt("The image looks like noise: neighbouring pixels hardly resemble each other.", "looks-like-noise")
    if figures.air_share > CT_SHARE:
        return _doubt("The image looks like a CT (Hounsfield units), not a FLAIR MRI.", "looks-like-ct")
    if not figures.area_cm2 > 0:
        return _doubt("No brain was found in the image: is it a FLAIR of the head?", "no-brain-found")
    covered = figures.coverage_mm >= COVERAGE_MM
    if figures.area_cm2 > AREA_CM2[1] or (covered and figures.area_cm2 < AREA_CM2[0]):
        return _doubt(
            f"What looks like brain has an implausible size (largest cross-section {figures.area_cm2:.0f} cm2): is it "
            f"a FLAIR of the head, with the right voxel spacing?",
            "brain-size-implausible",
        )
    fluid_is_bright = figures.dark_share < 2 * DARK_SHARE or figures.cortex_ratio > FLUID_RATIO
    if figures.bright_share > BRIGHT_SHARE and fluid_is_bright:
        return _doubt("The image looks like a T2, not a FLAIR: fluid is bright.", "looks-like-t2")
    if figures.white_matter_rank > WHITE_MATTER_RANK and figures.cortex_ratio < CORTEX_RATIO:
        return _doubt(
            "The image looks like a T1, not a FLAIR: white matter is brighter than grey matter.", "looks-like-t1"
        )
    if covered and figures.dark_share < DARK_SHARE:
        return _doubt(
            "The image does not look like a brain FLAIR: there are no dark ventricles in its middle.",
            "no-dark-ventricles",
        )
    if figures.tissue_share < TISSUE_SHARE:
        return _doubt(
            "The image does not look like a brain FLAIR: the presumed brain is far from homogeneous.", "tissue-uneven"
        )
    if figures.head_mm >= COVERAGE_MM and figures.coverage_mm < MASK_SHARE * figures.head_mm:
        return _doubt(
            f"Only {figures.coverage_mm:.0f} of {figures.head_mm:.0f} mm of the head were recognised as brain.",
            "brain-mask-small",
        )
    return []


def _doubt(text: str, code: str) -> list[CaseWarning]:
    return [CaseWarning(f"{text} {NOT_SURE}", code)]


def _head_mm(stack: SliceStack) -> float:
    """Extent of the head across the slices, mm."""
    small = stack.array[:, ::4, ::4]
    tissue = np.count_nonzero(small > tissue_threshold(small), axis=(1, 2))
    return float(np.count_nonzero(tissue >= HEAD_SLICE_SHARE * max(int(tissue.max()), 1))) * stack.spacing[0]


def measure(stack: SliceStack, mask: np.ndarray) -> Figures:
    """Measure the features of an image on about 1.5 mm pixels.

    Parameters
    ----------
    stack : SliceStack
    mask : ndarray of bool, shape (slices, rows, columns)
        Rough brain mask.

    Returns
    -------
    Figures
    """
    air = float(np.mean(stack.array[:, ::4, ::4] < -300))
    correlation = _pixel_correlation(stack.array)
    pixel_cm2 = stack.spacing[1] * stack.spacing[2] / 100
    areas = mask.sum(axis=(1, 2)) * pixel_cm2
    coverage = float(np.count_nonzero(areas) * stack.spacing[0])
    nothing = float("nan")
    if not mask.any():
        return Figures(air, correlation, 0.0, 0.0, nothing, nothing, nothing, nothing, nothing)
    # Slices that show most brain, at a coarse pixel size.
    chosen = np.flatnonzero(areas > 0.6 * areas.max())
    chosen = chosen[:: max(1, -(-len(chosen) // WORKING_SLICES))]
    steps = [max(1, round(WORKING_MM / mm)) for mm in stack.spacing[1:]]
    grid = (chosen, slice(None, None, steps[0]), slice(None, None, steps[1]))
    pixel = (stack.spacing[1] * steps[0], stack.spacing[2] * steps[1])
    image, brain = stack.array[grid].astype(np.float32), mask[grid]
    relative = _relative(image, brain, stack.array)
    depth = np.stack([ndimage.distance_transform_edt(one, sampling=pixel) for one in brain])
    inner = depth > 20.0
    if not inner.any():
        return Figures(
            air, correlation, float(areas.max()), coverage, nothing, nothing, nothing, nothing, nothing, _head_mm(stack)
        )
    dark = float(np.mean(relative[inner] < DARK_LEVEL))
    bright = float(np.mean(relative[inner] > BRIGHT_LEVEL))
    inside = relative[depth > 4.0]
    tissue = float(np.mean((inside > TISSUE_RANGE[0]) & (inside < TISSUE_RANGE[1])))
    few = slice(None, None, -(-len(chosen) // WHITE_SLICES))
    rank, ratio = _white_matter(relative[few], depth[few], pixel)
    return Figures(air, correlation, float(areas.max()), coverage, dark, bright, tissue, rank, ratio, _head_mm(stack))


def _pixel_correlation(array: np.ndarray) -> float:
    """Correlation of neighbouring pixels in a few slices; NaN where they are constant."""
    pixels = np.asarray(array[:: -(-len(array) // CORRELATED_SLICES)], dtype=np.float32)
    pixels = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    total = float(np.square(pixels).sum(dtype=np.float64))
    if total <= 0:
        return float("nan")
    along_rows = float((pixels[:, 1:] * pixels[:, :-1]).sum(dtype=np.float64))
    along_columns = float((pixels[:, :, 1:] * pixels[:, :, :-1]).sum(dtype=np.float64))
    return max(along_rows, along_columns) / total


def _relative(image: np.ndarray, brain: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Intensities with air at 0 and the brain's median at 1."""
    low = min(0.0, float(np.percentile(array[:, ::4, ::4], 1)))
    median = float(np.median(image[brain])) if brain.any() else float(image.max())
    return (image - np.float32(low)) / np.float32(max(median - low, 1e-6))


def _white_matter(relative: np.ndarray, depth: np.ndarray, pixel_mm: tuple[float, float]) -> tuple[float, float]:
    """Rank of deep homogeneous tissue among all tissue, and bright superficial tissue relative to it.

    White matter is the homogeneous tissue deep in the brain; slow shading is divided out first.
    """
    tissue = (depth > 4.0) & (relative > TISSUE_RANGE[0]) & (relative < TISSUE_RANGE[1])
    flat, gradient = np.empty_like(relative), np.empty_like(relative)
    for k, (image, inside) in enumerate(zip(relative, tissue, strict=True)):
        flat[k] = image / _local_mean(image, inside, [30.0 / mm for mm in pixel_mm])
        gradient[k] = ndimage.gaussian_gradient_magnitude(flat[k], 1.0)
    deep = tissue & (depth > 12.0)
    surface = (depth > 4.0) & (depth < 12.0) & (flat > 0.6) & (flat < 1.5)
    if np.count_nonzero(deep) < 50 or np.count_nonzero(surface) < 50:
        return float("nan"), float("nan")
    homogeneous = deep & (gradient <= np.percentile(gradient[deep], 25))
    white = float(np.median(flat[homogeneous]))
    return float(np.mean(flat[tissue] < white)), float(np.percentile(flat[surface], 85)) / white


def _local_mean(image: np.ndarray, inside: np.ndarray, sigma: list[float]) -> np.ndarray:
    """Gaussian mean of the pixels inside a mask, never below a tenth of the brain's median.

    Blurred on blocks of pixels and interpolated in between.
    """
    sums = [_block_sums(part) for part in (inside.astype(np.float32), np.where(inside, image, np.float32(0)))]
    weight, total = (ndimage.gaussian_filter(part, [s / BLOCK for s in sigma]) for part in sums)
    mean = np.maximum(total / np.maximum(weight, 1e-3 * BLOCK**2), 0.1)
    middle = (BLOCK - 1) / 2
    rows, columns = image.shape
    return resample(mean, np.full(2, 1 / BLOCK), np.full(2, -middle / BLOCK), (rows, columns))


def _block_sums(image: np.ndarray) -> np.ndarray:
    """Sums of blocks of pixels, (rows / BLOCK, columns / BLOCK) rounded up."""
    padded = np.pad(image, [(0, -n % BLOCK) for n in image.shape])
    out: np.ndarray = padded.reshape(len(padded) // BLOCK, BLOCK, -1, BLOCK).sum(axis=(1, 3))
    return out


def look(volume: Volume) -> list[CaseWarning]:
    """Assess from the voxels whether this is a brain FLAIR: T1, T2, CT, noise, no brain.

    Takes half a second, so call it outside the thread that draws; it uses SciPy.

    Parameters
    ----------
    volume : flairseg.image.volume.Volume
        The whole volume, K, J, I, with its affine (RAS, mm).

    Returns
    -------
    list of CaseWarning
        At most one statement of :func:`image_doubts`.

    Raises
    ------
    FlairSegError
        If the volume cannot be segmented at all.
    ImportError
        If SciPy is not installed.
    """
    stack = SliceStack.from_volume(footed(check_volume(volume)), "native")
    return image_doubts(measure(stack, brain_mask(stack.array, stack.spacing)))
