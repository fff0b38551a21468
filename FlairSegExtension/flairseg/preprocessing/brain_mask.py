"""S1's rough brain extraction, slice by slice: threshold, morphology, moments ellipse, contour refinement.

It is fast rather than exact: its mask frames the brain and gives the intensity statistics for normalisation. The steps
run on a copy of about 1.8 mm per pixel, which costs nothing in a rough mask and makes 0.4 mm images as quick as 1 mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage import filters, measure, morphology, transform

#: Pixel size at which the mask is computed, mm.
WORKING_SPACING_MM = 1.8
#: Radius of the opening that cuts the bridges between brain and scalp, mm.
OPENING_MM = 5.4
#: Half axes of the moments ellipse are stretched by this before anything outside is dropped.
ELLIPSE_MARGIN = 1.15
#: Fat is brighter than this many times the median brain; lesions hardly ever are.
FAT_FACTOR = 1.8
#: How far the outline of the brain may grow from one slice to the next, mm per mm of slice distance (and at least 4 mm).
GROWTH = 0.8
#: Smallest cross-section that can be brain, mm2.
MINIMUM_AREA_MM2 = 400.0


@dataclass(frozen=True)
class Ellipse:
    """Ellipse with the second-order moments of a binary image, in pixels.

    Attributes
    ----------
    centre : tuple of float
        (row, column).
    semi_axes : tuple of float
        (major, minor).
    orientation : float
        Angle between the row axis and the major axis, radians, as in ``skimage.measure.regionprops``.
    """

    centre: tuple[float, float]
    semi_axes: tuple[float, float]
    orientation: float

    def contains(self, shape: tuple[int, int], margin: float = 1.0) -> np.ndarray:
        """Boolean image of ``shape``: True inside the ellipse with its half axes stretched by ``margin``."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        dr, dc = rows - self.centre[0], columns - self.centre[1]
        along = dr * np.cos(self.orientation) + dc * np.sin(self.orientation)
        across = -dr * np.sin(self.orientation) + dc * np.cos(self.orientation)
        major, minor = (max(axis * margin, 1e-6) for axis in self.semi_axes)
        return (along / major) ** 2 + (across / minor) ** 2 <= 1.0


def tissue_threshold(slices: np.ndarray) -> float:
    """Intensity between dark (air, skull, CSF) and tissue, for a whole stack.

    Otsu's threshold separates air from head; half the median of what lies above it separates bone and fluid from
    brain and is steadier than Otsu alone when fat is very bright (source of the threshold step: S1; Otsu 1979).

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)

    Returns
    -------
    float
        Threshold in the image's unit. For a constant stack, its value.
    """
    sample = np.asarray(slices, dtype=np.float32)[:, ::2, ::2]
    low, high = np.percentile(sample, [0.5, 99.5])
    if not high > low:
        return float(high)
    clipped = np.clip(sample, low, high)
    head = clipped > filters.threshold_otsu(clipped, nbins=128)
    if not head.any():
        return float(high)
    return float(low + 0.5 * (np.median(clipped[head]) - low))


def moments_ellipse(mask: np.ndarray) -> Ellipse | None:
    """Ellipse that has the same second-order moments as a binary image (source: S1); None for an empty mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
    """
    if not mask.any():
        return None
    region = measure.regionprops(mask.astype(np.uint8))[0]
    return Ellipse(
        tuple(map(float, region.centroid)), (region.axis_major_length / 2, region.axis_minor_length / 2), float(region.orientation)
    )


def refine_contour(mask: np.ndarray, smoothing_px: float = 2.0) -> np.ndarray:
    """Largest contour of a mask, filled and smoothed (source: S1, contour analysis).

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
    smoothing_px : float
        Sigma of the Gaussian that rounds the outline, pixels.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    filled = ndimage.binary_fill_holes(mask)
    if smoothing_px > 0:
        filled = ndimage.gaussian_filter(filled.astype(np.float32), smoothing_px) > 0.5
    labels, count = ndimage.label(filled)
    if count > 1:
        filled = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return filled


def brain_mask_slice(
    image: np.ndarray, threshold: float, spacing_mm: float, ceiling: float = np.inf, allowed: np.ndarray | None = None
) -> np.ndarray:
    """Rough brain mask of one slice (source: S1).

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Intensities.
    threshold : float
        Tissue threshold in the same unit, see :func:`tissue_threshold`.
    spacing_mm : float
        Pixel size.
    ceiling : float
        Brighter pixels are fat, not brain.
    allowed : ndarray of bool, shape (rows, columns), optional
        Where brain may be at all, from the neighbouring slice.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        All False where the slice holds no plausible brain.
    """
    tissue = image > threshold
    head = ndimage.binary_fill_holes(tissue)
    empty = np.zeros(image.shape, dtype=bool)
    if head.sum() * spacing_mm**2 < MINIMUM_AREA_MM2:
        return empty
    tissue &= image < ceiling
    if allowed is not None:
        tissue &= allowed
    # The scalp touches the brain through vessels and dura only: an opening by a disk wider than those parts them.
    radius = max(1, round(OPENING_MM / spacing_mm / 2))
    inner = morphology.opening(tissue, morphology.disk(radius))
    labels, count = ndimage.label(inner)
    if count == 0:
        return empty
    # Several pieces (hemispheres, cerebellum) may be brain: weigh size against distance from the centre, keep the best
    # one and every other that lies inside its stretched ellipse.
    index = np.arange(1, count + 1)
    area = ndimage.sum_labels(inner, labels, index)
    depth = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1]
    score = area * (ndimage.mean(depth, labels, index) / max(depth.max(), 1e-6)) ** 2
    main = labels == index[int(np.argmax(score))]
    ellipse = moments_ellipse(ndimage.binary_fill_holes(main))
    inside = ellipse.contains(image.shape, ELLIPSE_MARGIN)
    share = ndimage.mean(inside, labels, index)
    mean_depth = ndimage.mean(depth, labels, index)
    keep = index[(share > 0.8) & (mean_depth > 2 * radius)]
    mask = (np.isin(labels, keep) | main) & inside
    mask = morphology.closing(mask, morphology.disk(2 * radius))
    mask = refine_contour(mask, smoothing_px=2.0)
    return mask if mask.sum() * spacing_mm**2 >= MINIMUM_AREA_MM2 else empty


def brain_mask(slices: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Rough brain mask of a stack of slices (source: S1).

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
        Intensities, any unit; whole head or skull-stripped.
    spacing_mm : tuple of float
        Millimetres per (slice, row, column).

    Returns
    -------
    ndarray of bool, shape (slices, rows, columns)
        May be all False (not a head): callers fall back to the foreground.
    """
    slices = np.asarray(slices)
    count, rows, columns = slices.shape
    target = (
        max(8, round(rows * spacing_mm[1] / WORKING_SPACING_MM)),
        max(8, round(columns * spacing_mm[2] / WORKING_SPACING_MM)),
    )
    # An absurd spacing must not blow the working copy up.
    target = tuple(min(t, 384) for t in target)
    working = rows * spacing_mm[1] / target[0]
    small = np.empty((count, *target), dtype=np.float32)
    for k in range(count):
        small[k] = transform.resize(slices[k].astype(np.float32), target, order=1, anti_aliasing=True, preserve_range=True)
    threshold = tissue_threshold(small)
    masks = _grow_from_middle(small, threshold, working, spacing_mm[0])
    out = np.zeros(slices.shape, dtype=bool)
    for k in np.flatnonzero(masks.any(axis=(1, 2))):
        out[k] = transform.resize(masks[k].astype(np.float32), (rows, columns), order=1) > 0.5
    return out


def _grow_from_middle(slices: np.ndarray, threshold: float, spacing_mm: float, slice_mm: float) -> np.ndarray:
    """Masks of all slices, from the one that shows most brain outwards.

    The first slice tells how bright brain is, hence what is fat; each further slice may reach only a little beyond its
    neighbour, which keeps scalp at the vertex and neck muscle at the base out.
    """
    masks = np.zeros(slices.shape, dtype=bool)
    middle = _middle_slice(slices, threshold, spacing_mm)
    if middle is None:
        return masks
    start, rough = middle
    ceiling = FAT_FACTOR * float(np.median(slices[start][rough & (slices[start] > threshold)]))
    masks[start] = brain_mask_slice(slices[start], threshold, spacing_mm, ceiling)
    if not masks[start].any():
        masks[start] = rough
    reach = morphology.disk(max(1, round(max(4.0, GROWTH * slice_mm) / spacing_mm)))
    for step in (1, -1):
        previous = masks[start]
        k = start + step
        while 0 <= k < len(slices) and previous.any():
            allowed = morphology.dilation(previous, reach)
            masks[k] = previous = brain_mask_slice(slices[k], threshold, spacing_mm, ceiling, allowed)
            k += step
    return masks


def _middle_slice(slices: np.ndarray, threshold: float, spacing_mm: float) -> tuple[int, np.ndarray] | None:
    """Index and rough mask of a slice through the middle of the brain: the roundest large one of the middle half."""
    count = len(slices)
    first, last = (0, count) if count < 4 else (count // 4, count - count // 4)
    best, best_score = None, 0.0
    for k in range(first, last, max(1, (last - first) // 12)):
        mask = brain_mask_slice(slices[k], threshold, spacing_mm)
        if mask.any():
            score = float(mask.sum()) * measure.regionprops(mask.astype(np.uint8))[0].solidity ** 4
            # What touches the head's outline has leaked into the scalp.
            head = ndimage.binary_fill_holes(slices[k] > threshold)
            rim = head & ~ndimage.binary_erosion(head, iterations=2)
            score *= 1.0 - float((mask & rim).sum() / max(mask.sum(), 1)) * 4
            if score > best_score:
                best, best_score = (k, mask), score
    return best
