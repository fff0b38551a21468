"""Check whether slices form one volume: order, distance and alignment, from positions only (numpy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import CaseWarning, InvalidGeometryError, UnsupportedImageError

#: Neighbouring slices nearer than this (mm), or than this share of the usual distance, are the same slice.
SAME_SLICE_MM = 0.01
REPEATED = 0.2
#: A gap of this many usual distances is a missing slice.
GAP = 1.5
#: Distances that vary by more than this share are reported.
UNEVEN = 0.1
#: Sideways drift per height (slope of the line through the slices) above which it is sheared (a tilted gantry).
SHEAR = 0.01
#: Direction cosines that differ by more than this belong to different orientations.
ROTATED = 1e-2
#: Corners of a slice farther than this from the regular grid are reported, and beyond the second value refused, mm.
MISALIGNED_MM = (0.5, 5.0)

_RESAMPLE = "Resample the image to a regular grid, for instance with 3D Slicer's module Resample Scalar Volume."


@dataclass(frozen=True)
class Arrangement:
    """Order and spacing of slices.

    Attributes
    ----------
    order : ndarray of int, shape (K,)
        Indices of the slices along the normal of their plane, from lowest to highest.
    step : float
        Mean distance of neighbouring slices, mm: what the volume of the whole stack rests on.
    warning : CaseWarning or None
        That the distance varies.
    """

    order: np.ndarray
    step: float
    warning: CaseWarning | None = None


def normal(orientation: Sequence[float] | np.ndarray) -> np.ndarray:
    """Normal of a plane (3, LPS) from ImageOrientationPatient: cosines of a row, then of a column."""
    row, column = np.reshape(np.asarray(orientation, dtype=float), (2, 3))
    return np.cross(row, column)


def is_orientation(orientation: Sequence[float] | np.ndarray) -> bool:
    """Whether six numbers are two directions at right angles."""
    row, column = np.reshape(np.asarray(orientation, dtype=float), (2, 3))
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(abs(np.subtract(lengths, 1)).max() < 0.02 and abs(row @ column) < 0.02)


def mean_orientation(orientations: np.ndarray) -> np.ndarray:
    """Two unit vectors at right angles, shape (6,), nearest to the mean of ImageOrientationPatient (K, 6)."""
    if np.ptp(orientations, axis=0).max() == 0:
        out: np.ndarray = orientations[0]
        return out
    row, column = orientations.mean(axis=0).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return np.concatenate([row, column / np.linalg.norm(column)])


def distances(positions: np.ndarray, orientation: Sequence[float] | np.ndarray) -> np.ndarray:
    """Distances of neighbouring slices along the normal, mm, from ImagePositionPatient (K, 3)."""
    return np.diff(np.sort(np.asarray(positions, dtype=float) @ normal(orientation)))


def repeats(along: np.ndarray) -> bool:
    """Whether some distances of neighbours (mm) are those of one slice acquired twice; decimals are rounded."""
    return bool(along.min() < max(SAME_SLICE_MM, REPEATED * float(np.percentile(along, 75))))


def is_regular(positions: np.ndarray, orientation: Sequence[float] | np.ndarray) -> bool:
    """Whether no slice repeats another, none is missing, and the distances are even."""
    if len(positions) < 2:
        return True
    along = distances(positions, orientation)
    step = float(np.median(along))
    return not repeats(along) and bool(along.max() - along.min() <= UNEVEN * step)


def arrange(positions: np.ndarray, orientation: Sequence[float] | np.ndarray, where: str) -> Arrangement:
    """Order of parallel slices and their distance; refuses what is no stack.

    Parameters
    ----------
    positions : array_like, shape (K, 3)
        A point of each slice (ImagePositionPatient, or the centre), mm, LPS; at least two.
    orientation : array_like, shape (6,)
        ImageOrientationPatient of them all.
    where : str
        Description of the slices for messages.

    Returns
    -------
    Arrangement

    Raises
    ------
    UnsupportedImageError
        If slices are at the same place: echoes, b-values or time points.
    InvalidGeometryError
        If slices are missing, or drift sideways (tilted gantry).
    """
    axis = normal(orientation)
    positions = np.asarray(positions, dtype=float)
    order = np.argsort(positions @ axis, kind="stable")
    steps = np.diff(positions[order], axis=0)
    along = steps @ axis
    step = float(np.median(along))
    if repeats(along):
        raise UnsupportedImageError(
            f"{where} holds several images of the same slice (echoes or time points).",
            "Put the files of one FLAIR volume alone into a folder and give that.",
            code="slices-repeated",
        )
    # Slices that jump to and fro (motion correction, interleaved stacks) are no tilted gantry: the drift is.
    places = positions - positions.mean(axis=0)
    heights = places @ axis
    drift = heights @ (places - heights[:, None] * axis) / (heights @ heights)
    if np.linalg.norm(drift) > SHEAR:
        raise InvalidGeometryError(
            f"The slices in {where} are shifted sideways (tilted gantry).", _RESAMPLE, code="slices-sheared"
        )
    if along.max() > GAP * step:
        missing = int(np.rint(along / step - 1).clip(0).sum())
        raise InvalidGeometryError(
            f"Slices are missing in {where}: the gap between two neighbours reaches {along.max():.3g} mm "
            f"where {step:.3g} mm is usual ({len(positions)} of about {len(positions) + missing} slices are here).",
            "Copy the complete series again.",
            code="slices-missing",
        )
    warning = None
    if along.max() - along.min() > UNEVEN * step:
        warning = CaseWarning(
            f"The distance between slices varies ({along.min():.3g} to {along.max():.3g} mm): volumes are approximate.",
            "slice-distance-varies",
        )
    return Arrangement(order, float(along.mean()), warning)
