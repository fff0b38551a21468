"""Clean-up of a label map: small components, holes, ragged edges, minimum lesion size (source: S1; S5 for the size).

All functions take label maps on the slice stack's grid (slices, rows, columns), return new ones, and measure in
millimetres, so that thick slices and fine pixels are treated alike. Holes and edges are processed within a slice:
clinical FLAIR has gaps between thick slices, so the neighbours say little about a lesion's outline.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..image.packed_mask import PackedMask
from ..image.pages import values_where
from ..labels import BACKGROUND, CLASSES, LESION, NORMAL_WMH, NUMBER_OF_CLASSES, VENTRICLES
from ..lesions.boxes import bounding_box, count_numbers, looked_up
from ..models.card import PipelineConfig
from ..preprocessing.brain_mask import without_holes

#: Lesions are 26-connected components (faces, edges and corners).
CONNECTIVITY_26 = np.ones((3, 3, 3), dtype=bool)
#: Holes up to this area are filled; larger ones are anatomy (choroid plexus, sulci between confluent lesions).
MAXIMUM_HOLE_MM2 = 60.0
#: Standard deviation of the Gaussian that smooths outlines, mm.
SMOOTHING_MM = 0.7
#: Lesions of at least this volume are kept by a probability near the highest one of the scan (four pixels of most
#: clinical scans): false lesions are mostly smaller.
SPARED_FROM_MM3 = 20.0
_MARGIN = 2
#: Every so many pixels of a rough brain mask are enough to measure a centimetre by.
BRAIN_STEP = 4


def clean_labels(
    labels: np.ndarray,
    probabilities: np.ndarray | None,
    spacing_mm: tuple[float, float, float],
    config: PipelineConfig,
    brain: np.ndarray | PackedMask | None = None,
    in_place: bool = False,
) -> np.ndarray:
    """Run the clean-up stages that a model's card asks for.

    Order: growth of lesions, what is outside the brain, small components of ventricles and normal WMH, holes, edges,
    minimum lesion size, minimum lesion confidence.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    probabilities : ndarray of float, shape (4, slices, rows, columns), optional
        Decides what removed voxels become; without it they become background.
    spacing_mm : tuple of float
        Millimetres per (slice, row, column).
    config : PipelineConfig
    brain : ndarray of bool or PackedMask, shape (slices, rows, columns), optional
        Rough brain mask, for ``config.brain_margin_mm``.
    in_place : bool
        Change ``labels`` itself.

    Returns
    -------
    ndarray of uint8, shape (slices, rows, columns)
    """
    if probabilities is not None and config.lesion_growth > 0:
        labels = grow_lesions(labels, probabilities[LESION], config.lesion_growth)
    if brain is not None and config.brain_margin_mm > 0:
        labels = drop_outside_brain(labels, brain, spacing_mm, config.brain_margin_mm, in_place)
    out = labels if in_place else labels.copy()
    box = _bounding_box(labels)
    if box is None:
        return out
    part = labels[box]
    chances = None if probabilities is None else probabilities[(slice(None), *box)]
    voxel_mm3 = float(np.prod(spacing_mm))
    part = remove_small_components(part, VENTRICLES, config.min_ventricle_mm3, voxel_mm3, chances)
    part = remove_small_components(part, NORMAL_WMH, config.min_normal_mm3, voxel_mm3, chances)
    if config.fill_holes:
        part = fill_holes(part, spacing_mm)
    if config.smooth_edges:
        part = smooth_edges(part, spacing_mm)
    part = remove_small_components(part, LESION, config.min_lesion_mm3, voxel_mm3, chances)
    if chances is not None and config.min_lesion_probability > 0:
        least, ratio = config.min_lesion_probability, config.lesion_probability_ratio
        part = remove_unsure_lesions(part, chances, least, ratio, voxel_mm3)
    out[box] = part
    return out


def grow_lesions(labels: np.ndarray, probability: np.ndarray, threshold: float) -> np.ndarray:
    """Let each lesion grow from its core to where its probability falls below ``threshold`` (hysteresis threshold).

    Readers outline lesions more widely than a network that hesitates at soft edges, above all on scanners it has not
    seen. A lower threshold alone would also add lesions where there is no core at all (source: S1 thresholds abnormal
    WMH at 0.3; Canny 1986 for the hysteresis).

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
        Label 3 is the core.
    probability : ndarray of float, same shape
        Of a lesion.
    threshold : float
        26-connected regions at or above it that hold a core voxel become lesion.

    Returns
    -------
    ndarray of uint8, same shape
    """
    candidate = (probability >= threshold) | (labels == LESION)
    box = _bounding_box(candidate)
    if box is None:
        return labels
    regions, count = ndimage.label(candidate[box], structure=CONNECTIVITY_26)
    keep = np.zeros(count + 1, dtype=bool)
    keep[regions[labels[box] == LESION]] = True
    keep[0] = False
    out = labels.copy()
    out[box][looked_up(keep, regions)] = LESION
    return out


def drop_outside_brain(
    labels: np.ndarray,
    brain: np.ndarray | PackedMask,
    spacing_mm: tuple[float, float, float],
    margin_mm: float,
    in_place: bool = False,
) -> np.ndarray:
    """Drop what is nowhere near the brain: bright fat, muscle and eyes (source: S1, which masks the brain first).

    A 26-connected component of the foreground stays whole if any voxel of it comes within ``margin_mm`` of the rough
    brain mask (as a box along the axes), so that the mask's own errors cost nothing. An empty mask drops nothing.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    brain : ndarray of bool or PackedMask, same shape
    spacing_mm : tuple of float
        Millimetres per (slice, row, column).
    margin_mm : float
    in_place : bool
        Change ``labels`` itself.

    Returns
    -------
    ndarray of uint8, same shape
    """
    if not brain.any():
        return labels
    near = near_brain(brain[:, ::BRAIN_STEP, ::BRAIN_STEP], spacing_mm, margin_mm)
    box = _bounding_box(labels)
    if box is None or _all_near(labels, near):
        return labels
    components, count = ndimage.label(labels[box] != BACKGROUND, structure=CONNECTIVITY_26)
    voxels = np.argwhere(components > 0) + [s.start for s in box]
    within = near[voxels[:, 0], voxels[:, 1] // BRAIN_STEP, voxels[:, 2] // BRAIN_STEP]
    keep = np.zeros(count + 1, dtype=bool)
    keep[components[components > 0][within]] = True
    out = labels if in_place else labels.copy()
    out[box][looked_up(~keep, components)] = BACKGROUND
    return out


def _all_near(labels: np.ndarray, near: np.ndarray) -> bool:
    """Whether every voxel of the foreground is in a coarse mask of :func:`near_brain`."""
    _, rows, columns = labels.shape
    for one, part in zip(labels, near, strict=True):
        there = one != BACKGROUND
        if there.any():
            whole = part.repeat(BRAIN_STEP, axis=0)[:rows].repeat(BRAIN_STEP, axis=1)[:, :columns]
            if (there > whole).any():
                return False
    return True


def near_brain(coarse: np.ndarray, spacing_mm: tuple[float, float, float], margin_mm: float) -> np.ndarray:
    """What is within a margin of the brain, as a box along the axes.

    Parameters
    ----------
    coarse : ndarray of bool, shape (slices, rows / BRAIN_STEP, columns / BRAIN_STEP)
        Every :data:`BRAIN_STEP`-th pixel of a rough brain mask.
    spacing_mm : tuple of float
        Millimetres per (slice, row, column) of the mask.
    margin_mm : float

    Returns
    -------
    ndarray of bool, same shape
    """
    near = coarse.astype(np.uint8)
    for axis, spacing in enumerate((spacing_mm[0], spacing_mm[1] * BRAIN_STEP, spacing_mm[2] * BRAIN_STEP)):
        near = ndimage.maximum_filter1d(near, 2 * int(margin_mm / spacing) + 1, axis=axis, mode="constant")
    return near.view(bool)


def lesion_components(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the lesions: 26-connected components of label 3.

    Parameters
    ----------
    labels : ndarray, shape (three axes in any order)

    Returns
    -------
    ndarray of int32, same shape
        0 outside lesions, else 1..count in the array's order.
    int
        Count.
    """
    out: tuple[np.ndarray, int] = ndimage.label(labels == LESION, structure=CONNECTIVITY_26)
    return out


def remove_small_components(
    labels: np.ndarray,
    value: int,
    minimum_mm3: float,
    voxel_mm3: float,
    probabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Drop the 26-connected components of a class that are smaller than ``minimum_mm3`` (source: S1, S5).

    S5 calls anything under 10.7 mm3 (3 mm across) no lesion. A dropped voxel becomes the most probable of the other
    classes - a speck inside a ventricle becomes ventricle - or background where no probabilities are given.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    value : int
        Class.
    minimum_mm3 : float
        A component of exactly this volume stays.
    voxel_mm3 : float
        Volume of a voxel.
    probabilities : ndarray of float, shape (4, slices, rows, columns), optional

    Returns
    -------
    ndarray of uint8, same shape
    """
    out = labels.copy()
    box = bounding_box(labels, (value,))
    if box is None or minimum_mm3 <= voxel_mm3:
        return out
    components, count = ndimage.label(labels[box] == value, structure=CONNECTIVITY_26)
    voxels = count_numbers(components, count)
    # Half a voxel's thousandth keeps rounding of the voxel volume from deciding.
    small = voxels * voxel_mm3 < minimum_mm3 - 1e-3 * voxel_mm3
    small[0] = False
    drop = looked_up(small, components)
    if probabilities is None:
        out[box][drop] = BACKGROUND
    else:
        out[box][drop] = _most_probable_other(probabilities[(slice(None), *box)], drop, value)
    return out


def remove_unsure_lesions(
    labels: np.ndarray, probabilities: np.ndarray, least: float, ratio: float = 0.0, voxel_mm3: float = 0.0
) -> np.ndarray:
    """Drop lesions of a low mean probability.

    A higher threshold of the voxels would drop them as well, but thin out the outlines of all others.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    probabilities : ndarray of float, shape (4, slices, rows, columns)
        Decides what dropped voxels become: the most probable of the other classes.
    least : float
        A lesion (26-connected) whose mean probability is exactly this stays.
    ratio : float
        So does a lesion of at least :data:`SPARED_FROM_MM3` whose mean probability is at least this share of the
        highest one of ``labels``; 0: none.
    voxel_mm3 : float
        Volume of a voxel, for ``ratio``.

    Returns
    -------
    ndarray of uint8, same shape
    """
    box = bounding_box(labels, (LESION,))
    if box is None:
        return labels
    chances = probabilities[(slice(None), *box)]
    components, count = lesion_components(labels[box])
    inside = components > 0
    places = components[inside]
    sums = np.bincount(places, values_where(chances[LESION], inside).astype(np.float64), count + 1)
    voxels = np.bincount(places, minlength=count + 1)
    means = sums / np.maximum(voxels, 1)
    # Means of half-precision values.
    unsure = means < least - 1e-6
    if ratio > 0:
        unsure &= (means < ratio * means.max() - 1e-6) | (voxels * voxel_mm3 < SPARED_FROM_MM3 - 1e-6)
    unsure[0] = False
    if not unsure.any():
        return labels
    out, drop = labels.copy(), looked_up(unsure, components)
    out[box][drop] = _most_probable_other(chances, drop, LESION)
    return out


def _most_probable_other(probabilities: np.ndarray, where: np.ndarray, value: int) -> np.ndarray:
    """The most probable class but one of the voxels ``where``, uint8, in the array's order."""
    others = [c for c in range(NUMBER_OF_CLASSES) if c != value]
    chances = np.stack([values_where(probabilities[c], where) for c in others])
    out: np.ndarray = np.asarray(others, dtype=np.uint8)[np.argmax(chances, axis=0)]
    return out


def fill_holes(
    labels: np.ndarray, spacing_mm: tuple[float, float, float], maximum_mm2: float = MAXIMUM_HOLE_MM2
) -> np.ndarray:
    """Fill background that one class encloses within a slice (source: S1), up to a size.

    A hole is a 4-connected region of background, no pixel of which touches the slice's border, surrounded by a single
    class. Voxels of other classes are never overwritten.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    spacing_mm : tuple of float
        Millimetres per (slice, row, column).
    maximum_mm2 : float
        Holes larger than this stay.

    Returns
    -------
    ndarray of uint8, same shape
    """
    out = labels.copy()
    pixel_mm2 = spacing_mm[1] * spacing_mm[2]
    for k in np.flatnonzero(labels.any(axis=(1, 2))):
        for label_class in CLASSES:
            mask = labels[k] == label_class.value
            if not mask.any():
                continue
            inside = without_holes(mask) & ~mask
            if not inside.any():
                continue
            regions, _ = ndimage.label(inside)
            # A region that holds another class is that class's surroundings, not a hole.
            foreign = np.bincount(regions.ravel(), weights=(labels[k] != BACKGROUND).ravel()) > 0
            fill = (np.bincount(regions.ravel()) * pixel_mm2 <= maximum_mm2) & ~foreign
            fill[0] = False
            out[k][fill[regions]] = label_class.value
    return out


def smooth_edges(
    labels: np.ndarray, spacing_mm: tuple[float, float, float], sigma_mm: float = SMOOTHING_MM
) -> np.ndarray:
    """Smooth the outlines of all classes at once (source: S1, edge smoothing).

    Each class's membership is blurred within the slice by a Gaussian of ``sigma_mm``, and every voxel goes to the class
    that then weighs most. A component that would vanish is kept unchanged: smoothing never loses a lesion.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    spacing_mm : tuple of float
        Millimetres per (slice, row, column).
    sigma_mm : float
        Standard deviation of the Gaussian.

    Returns
    -------
    ndarray of uint8, same shape
    """
    sigma = (sigma_mm / spacing_mm[1], sigma_mm / spacing_mm[2])
    out = np.zeros_like(labels)
    for k in np.flatnonzero(labels.any(axis=(1, 2))):
        best = ndimage.gaussian_filter((labels[k] == BACKGROUND).astype(np.float32), sigma, mode="nearest")
        for label_class in CLASSES:
            weight = ndimage.gaussian_filter((labels[k] == label_class.value).astype(np.float32), sigma, mode="nearest")
            # On a tie the class that was there stays.
            better = (weight > best) | ((weight == best) & (labels[k] == label_class.value))
            out[k][better] = label_class.value
            np.maximum(best, weight, out=best)
    for label_class in CLASSES:
        components, count = ndimage.label(labels == label_class.value, structure=CONNECTIVITY_26)
        left = np.bincount(components[out == label_class.value], minlength=count + 1)
        vanished = left == 0
        vanished[0] = False
        if vanished.any():
            out[looked_up(vanished, components)] = label_class.value
    return out


def _bounding_box(labels: np.ndarray) -> tuple[slice, ...] | None:
    """Smallest box around the foreground, a little wider in plane; None if there is none."""
    found = [np.zeros(n, dtype=bool) for n in labels.shape]
    for k, part in enumerate(labels):
        mask = part != BACKGROUND
        rows = mask.any(axis=1)
        if rows.any():
            found[0][k] = True
            found[1] |= rows
            found[2] |= mask.any(axis=0)
    if not found[0].any():
        return None
    ends = [(int(np.argmax(line)), len(line) - int(np.argmax(line[::-1]))) for line in found]
    return tuple(
        slice(max(start - _MARGIN, 0), min(stop + _MARGIN, n))
        for (start, stop), n in zip(ends, labels.shape, strict=True)
    )
