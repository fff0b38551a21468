"""S1's rough brain extraction, slice by slice: threshold, morphology, moments ellipse, contour refinement.

It is fast rather than exact: its mask frames the brain and gives the intensity statistics for normalisation. The steps
run on a copy of about 1.8 mm per pixel and, where slices are thin, slabs of up to 3 mm, which costs nothing in a rough
mask and makes 0.4 mm images as fast as 1 mm.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage, sparse

from ..image.packed_mask import PackedMask

#: Pixel size at which the mask is computed, mm.
WORKING_SPACING_MM = 1.8
#: Thin slices are averaged to slabs at most this thick.
WORKING_SLAB_MM = 3.0
#: Approximate number of slices of the middle half tried as the starting slice.
CANDIDATES = 6
#: Number of times the threshold is lowered when nothing but fat is above it.
FAT_RETRIES = 2
#: Diameter that the opening disk must exceed to cut the bridges between brain and scalp, mm.
OPENING_MM = 5.4
#: A piece with this share of the best piece's score is its partner: a hemisphere separated by a wide fissure.
PARTNER_SHARE = 0.65
#: Factor by which the semi-axes of the moments ellipse are scaled; pixels outside are dropped.
ELLIPSE_MARGIN = 1.15
#: Fat is brighter than this many times the median brain; lesions hardly ever are.
FAT_FACTOR = 1.8
#: Maximum growth of the brain's outline from one slice to the next, mm per mm of slice distance (and at least 4 mm).
GROWTH = 0.8
#: A piece that the image's border cuts along more than this many times the square root of its area is the body below a
#: head, not brain: half a disk, cut through its centre, has 1.6.
CUT_OFF = 2.0
#: Smallest cross-section that can be brain, mm2.
MINIMUM_AREA_MM2 = 400.0
#: Pixels by which a point may be off the hull that it is on.
_ROUNDING = 1e-9
#: Masks that :func:`shared_brain_mask` keeps: the studies of a follow-up.
KEPT_MASKS = 4
_recent: OrderedDict[tuple[object, ...], PackedMask] = OrderedDict()
_recent_lock = threading.Lock()


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
        Angle from the row axis to the major axis, radians in [-pi/2, pi/2], as in ``skimage.measure.regionprops``.
    """

    centre: tuple[float, float]
    semi_axes: tuple[float, float]
    orientation: float

    def contains(self, shape: tuple[int, int], margin: float = 1.0) -> np.ndarray:
        """Boolean image of ``shape``: True inside the ellipse with its semi-axes scaled by ``margin``."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        dr, dc = rows - self.centre[0], columns - self.centre[1]
        along = dr * np.cos(self.orientation) + dc * np.sin(self.orientation)
        across = -dr * np.sin(self.orientation) + dc * np.cos(self.orientation)
        major, minor = (max(axis * margin, 1e-6) for axis in self.semi_axes)
        out: np.ndarray = (along / major) ** 2 + (across / minor) ** 2 <= 1.0
        return out


def tissue_threshold(slices: np.ndarray) -> float:
    """Intensity between dark (air, skull, CSF) and tissue, for a whole stack.

    Otsu's threshold separates air from head; half the median of what is above it separates bone and fluid from
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
    head = clipped > otsu_threshold(clipped)
    if not head.any():
        return float(high)
    return float(low + 0.5 * (np.median(clipped[head]) - low))


def otsu_threshold(values: np.ndarray) -> float:
    """Otsu's threshold: the centre of the bin that separates two classes best (as ``skimage.filters.threshold_otsu``).

    scikit-image takes longer to import than the mask takes.

    Parameters
    ----------
    values : ndarray
        Not all the same.

    References
    ----------
    Otsu N. IEEE Trans Syst Man Cybern 1979;9:62-66 (doi:10.1109/TSMC.1979.4310076).
    """
    counts, edges = np.histogram(values, 128)
    counts, centres = counts.astype(np.float32), (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / below
    mean_above = (np.cumsum((counts * centres)[::-1]) / above[::-1])[::-1]
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(centres[np.argmax(between)])


def cut_bridges(tissue: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Opening that separates brain from scalp and removes small islands (source: S1, morphology).

    The two touch through vessels and dura only: a disk two pixels of 1.8 mm in radius does not pass there, nor does it
    fit into the scalp.

    Parameters
    ----------
    tissue : ndarray of bool, shape (rows, columns)
        Pixels above the threshold.
    spacing_mm : float
        Pixel size.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    radius = _opening_radius(spacing_mm)
    return _dilate(_erode(tissue, radius), radius)


def _opening_radius(spacing_mm: float) -> int:
    """Radius of the opening's disk, pixels; rounded up from below a half, robust to small differences of spacing."""
    return max(1, round(OPENING_MM / spacing_mm / 2 + 0.1))


def moments_ellipse(mask: np.ndarray) -> Ellipse | None:
    """Ellipse that has the same second-order moments as a binary image (source: S1); None for an empty mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
    """
    pixels = np.stack(np.nonzero(mask)).astype(float)
    if pixels.shape[1] == 0:
        return None
    centre = pixels.mean(axis=1, keepdims=True)
    (rr, rc), (_, cc) = (pixels - centre) @ (pixels - centre).T / pixels.shape[1]
    # Eigenvalues of the covariance; a filled ellipse with semi-axis a has variance a^2 / 4 along it.
    mean, spread = (rr + cc) / 2, np.hypot((rr - cc) / 2, rc)
    semi_axes = 2 * np.sqrt(mean + spread), 2 * np.sqrt(max(mean - spread, 0.0))
    orientation = np.arctan2(2 * rc, rr - cc) / 2
    middle, sizes = (float(centre[0, 0]), float(centre[1, 0])), (float(semi_axes[0]), float(semi_axes[1]))
    return Ellipse(middle, sizes, float(orientation))


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
    filled = without_holes(mask)
    if smoothing_px > 0:
        filled = ndimage.gaussian_filter(filled.astype(np.float32), smoothing_px) > 0.5
    labels, count = ndimage.label(filled)
    if count > 1:
        filled = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return filled


def convex_area(mask: np.ndarray) -> int:
    """Pixels within the convex hull of a binary image, as ``area_convex`` of ``skimage.measure.regionprops``.

    The hull is that of the midpoints of the pixels' edges.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
        Not empty.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    lines = np.arange(rows[0], rows[-1] + 1)
    left = np.ceil(_lower_hull(rows, first, lines) - _ROUNDING)
    right = np.floor(_ROUNDING - _lower_hull(rows, -last, lines))
    return int(np.maximum(right - left + 1, 0).sum())


def _lower_hull(rows: np.ndarray, columns: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Column of the convex hull's lower side in some rows; pixels (row, column) in the order of their rows."""
    halves = np.stack([rows - 0.5, columns, rows, columns - 0.5, rows + 0.5, columns], axis=1).reshape(-1, 2)
    hull: list[tuple[float, float]] = []
    # Ends of two neighbouring pixels share a row: of these the lower one counts, which comes first.
    for row, column in sorted(map(tuple, halves.tolist())):
        if hull and hull[-1][0] == row:
            continue
        while len(hull) > 1:
            (r0, c0), (r1, c1) = hull[-2:]
            if (c1 - c0) * (row - r0) < (column - c0) * (r1 - r0):
                break
            hull.pop()
        hull.append((row, column))
    found: np.ndarray = np.interp(at, *np.transpose(hull))
    return found


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
        Region in which brain is possible, from the neighbouring slice.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        All False where the slice holds no plausible brain.
    """
    tissue = image > threshold
    head = without_holes(tissue)
    empty = np.zeros(image.shape, dtype=bool)
    if head.sum() * spacing_mm**2 < MINIMUM_AREA_MM2:
        return empty
    tissue &= image < ceiling
    if allowed is not None:
        tissue &= allowed
    radius = _opening_radius(spacing_mm)
    inner = cut_bridges(tissue, spacing_mm)
    labels, count = ndimage.label(inner)
    if count == 0:
        return empty
    # Several pieces (hemispheres, cerebellum) may be brain: weigh size against distance from the head's outline, keep
    # the best one, its equals, and every other that is inside the stretched ellipse of these.
    area = np.bincount(labels.ravel(), minlength=count + 1).astype(float)
    depth = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1]
    mean_depth = np.bincount(labels.ravel(), weights=depth.ravel()) / np.maximum(area, 1)
    score = area * (mean_depth / max(depth.max(), 1e-6)) ** 2
    score[_border_pixels(labels, count) > CUT_OFF * np.sqrt(area)] = 0.0
    score[0] = 0.0  # outside all pieces
    if not score.any():
        return empty
    main = (score >= PARTNER_SHARE * score.max())[labels]
    ellipse = moments_ellipse(without_holes(main))
    if ellipse is None:
        return empty
    inside = ellipse.contains(image.shape, ELLIPSE_MARGIN)
    share = np.bincount(labels.ravel(), weights=inside.ravel()) / np.maximum(area, 1)
    keep = (share > 0.8) & (mean_depth > 2 * radius)
    keep[0] = False
    mask = (keep[labels] | main) & inside
    mask = _erode(_dilate(mask, 2 * radius), 2 * radius)
    mask = refine_contour(mask, smoothing_px=2.0)
    return mask if mask.sum() * spacing_mm**2 >= MINIMUM_AREA_MM2 else empty


def _border_pixels(labels: np.ndarray, count: int) -> np.ndarray:
    """Pixels of each piece 0..count along the four sides of the image."""
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    return np.bincount(np.concatenate(sides), minlength=count + 1)


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
    # An absurd spacing must not inflate the working copy.
    target = tuple(min(t, 384) for t in target)
    working = rows * spacing_mm[1] / target[0]
    slab = min(max(1, int(WORKING_SLAB_MM / spacing_mm[0] + 1e-6)), count)
    small = _resize(_average_slabs(slices, slab), target)
    threshold = tissue_threshold(small)
    masks = _grow_from_middle(small, threshold, working, spacing_mm[0] * slab)
    for _ in range(FAT_RETRIES):
        if masks.any() or not _is_shell(small > threshold):
            break
        # Fat several times brighter than brain raises the threshold above the brain: search among darker tissue.
        threshold = tissue_threshold(np.minimum(small, threshold))
        masks = _grow_from_middle(small, threshold, working, spacing_mm[0] * slab)
    out = np.zeros(slices.shape, dtype=bool)
    for k in np.flatnonzero(masks.any(axis=(1, 2))):
        out[k * slab : (k + 1) * slab] = _resize(masks[k : k + 1], (rows, columns)) > 0.5
    return out


def shared_brain_mask(slices: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """:func:`packed_brain_mask` as an array.

    Returns
    -------
    ndarray of bool, shape (slices, rows, columns)
    """
    return packed_brain_mask(slices, spacing_mm)[:]


def packed_brain_mask(slices: np.ndarray, spacing_mm: tuple[float, float, float]) -> PackedMask:
    """:func:`brain_mask`, computed once for segmentation, regions and follow-up of a case.

    Masks of the last images are cached, eight voxels per byte, keyed by the voxels.

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
        Intensities, any unit.
    spacing_mm : tuple of float
        Millimetres per (slice, row, column).

    Returns
    -------
    PackedMask
    """
    digest = hashlib.sha256()
    for one in slices:
        digest.update(np.ascontiguousarray(one, dtype=np.float32).data)
    key = (slices.shape, tuple(round(float(mm), 6) for mm in spacing_mm), digest.digest())
    with _recent_lock:
        known = _recent.get(key)
        if known is not None:
            _recent.move_to_end(key)
            return known
    mask = PackedMask(brain_mask(slices, spacing_mm))
    with _recent_lock:
        _recent[key] = mask
        while len(_recent) > KEPT_MASKS:
            _recent.popitem(last=False)
    return mask


def _is_shell(mask: np.ndarray) -> bool:
    """Whether the slices of a mask enclose more than they cover, as scalp does and noise does not."""
    return sum(int(without_holes(one).sum()) for one in mask) > 2 * int(mask.sum())


def _average_slabs(slices: np.ndarray, width: int) -> np.ndarray:
    """Means of ``width`` neighbouring slices, float32; the last slab may be thinner."""
    if width == 1:
        return slices
    return np.stack([slices[k : k + width].mean(axis=0, dtype=np.float32) for k in range(0, len(slices), width)])


def _resize(slices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize slices linearly, smoothed before shrinking; float32.

    Resizing is linear and separable: a matrix for the rows and one for the columns, each found by resizing the
    identity, do a stack in a fraction of the time. They are sparse, and a sparse product takes one thread.
    """
    of_rows, of_columns = (_resizing_matrix(old, new) for old, new in zip(slices.shape[1:], shape, strict=True))
    out = np.empty((len(slices), *shape), dtype=np.float32)
    for image, resized in zip(slices, out, strict=True):
        resized[:] = (of_columns @ (of_rows @ image.astype(np.float32)).T).T
    return out


@lru_cache(maxsize=8)
def _resizing_matrix(old: int, new: int) -> sparse.csr_array:
    """Matrix (new, old) that resizes a line of pixels as ``skimage.transform.resize`` does."""
    lines = np.eye(old, dtype=np.float32)
    if new < old:
        ndimage.gaussian_filter1d(lines, (old / new - 1) / 2, axis=0, mode="mirror", output=lines)
    return sparse.csr_array(ndimage.zoom(lines, (1 / (old / new), 1), order=1, mode="mirror", grid_mode=True))


def without_holes(mask: np.ndarray) -> np.ndarray:
    """Fill the holes of one slice (rows, columns): as ``scipy.ndimage.binary_fill_holes``, several times faster."""
    background, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    out: np.ndarray = (background != background[0, 0])[1:-1, 1:-1]
    return out


def _erode(mask: np.ndarray, radius: int) -> np.ndarray:
    """Binary erosion by a disk; the border of the image does not erode."""
    return ~_dilate(~mask, radius)


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Binary dilation by a disk, row by row of it: several times as fast as ``scipy.ndimage.binary_dilation``."""
    rows, columns = mask.shape
    out = np.zeros((rows + 2 * radius, columns), bool)
    wide, reach = mask.copy(), 0
    # The farthest rows of the disk are the shortest.
    for row in range(radius, -1, -1):
        while (reach + 1) ** 2 + row**2 <= radius**2:
            reach += 1
            wide[:, reach:] |= mask[:, :-reach]
            wide[:, :-reach] |= mask[:, reach:]
        for start in {radius - row, radius + row}:
            out[start : start + rows] |= wide
    return out[radius : radius + rows]


def _grow_from_middle(slices: np.ndarray, threshold: float, spacing_mm: float, slice_mm: float) -> np.ndarray:
    """Masks of all slices, from the one that shows most brain outwards.

    The first slice gives the brightness of brain, hence of fat; each further slice may extend only slightly beyond its
    neighbour, which excludes scalp at the vertex and neck muscle at the base.
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
    reach = max(1, round(max(4.0, GROWTH * slice_mm) / spacing_mm))
    for step in (1, -1):
        previous = masks[start]
        k = start + step
        while 0 <= k < len(slices) and previous.any():
            allowed = _dilate(previous, reach)
            masks[k] = previous = brain_mask_slice(slices[k], threshold, spacing_mm, ceiling, allowed)
            k += step
    return masks


def _middle_slice(slices: np.ndarray, threshold: float, spacing_mm: float) -> tuple[int, np.ndarray] | None:
    """Index and rough mask of a slice through the middle of the brain: the roundest large one of the middle half."""
    count = len(slices)
    first, last = (0, count) if count < 4 else (count // 4, count - count // 4)
    best, best_score = None, 0.0
    for k in range(first, last, max(1, round((last - first) / CANDIDATES))):
        mask = brain_mask_slice(slices[k], threshold, spacing_mm)
        area = float(mask.sum())
        if area <= best_score:  # neither factor below exceeds 1
            continue
        score = area * (area / convex_area(mask)) ** 4
        # Components that touch the head's outline have leaked into the scalp.
        head = without_holes(slices[k] > threshold)
        rim = head & ~ndimage.binary_erosion(head, iterations=2)
        score *= 1.0 - float((mask & rim).sum() / area) * 4
        if score > best_score:
            best, best_score = (k, mask), score
    return best
