"""Do these slices make one volume? Order, distance and right angles of a stack, from positions alone (numpy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InvalidGeometryError, UnsupportedImageError

#: Neighbouring slices nearer than this (mm) are the same slice.
SAME_SLICE_MM = 0.01
#: A gap of this many usual distances is a missing slice.
GAP = 1.5
#: Distances that vary by more than this share are told.
UNEVEN = 0.1
#: Sideways shift from slice to slice, relative to their distance, above which a stack is sheared (a tilted gantry).
SHEAR = 0.01
#: Direction cosines that differ by more than this belong to different orientations.
TURNED = 1e-2

_RESAMPLE = "Resample the image to a regular grid, for instance with 3D Slicer's module Resample Scalar Volume."


@dataclass(frozen=True)
class Arrangement:
    """How slices follow each other.

    Attributes
    ----------
    order : ndarray of int, shape (K,)
        Indices of the slices along the normal of their plane, from lowest to highest.
    step : float
        Distance of neighbouring slices, mm; the median where it varies.
    warning : str or None
        That the distance varies.
    """

    order: np.ndarray
    step: float
    warning: str | None = None


def normal(orientation) -> np.ndarray:
    """Normal of a plane (3, LPS) from ImageOrientationPatient: cosines of a row, then of a column."""
    row, column = np.reshape(np.asarray(orientation, dtype=float), (2, 3))
    return np.cross(row, column)


def is_orientation(orientation) -> bool:
    """Whether six numbers are two directions at right angles."""
    row, column = np.reshape(np.asarray(orientation, dtype=float), (2, 3))
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(abs(np.subtract(lengths, 1)).max() < 0.02 and abs(row @ column) < 0.02)


def arrange(positions, orientation, where: str) -> Arrangement:
    """Order of parallel slices and their distance; refuses what is no stack.

    Parameters
    ----------
    positions : array_like, shape (K, 3)
        ImagePositionPatient of each slice, mm, LPS; at least two.
    orientation : array_like, shape (6,)
        ImageOrientationPatient of them all.
    where : str
        What the user knows the slices by; it stands in messages.

    Returns
    -------
    Arrangement

    Raises
    ------
    UnsupportedImageError
        If slices lie at the same place: echoes, b-values or time points.
    InvalidGeometryError
        If slices are missing, or shifted sideways (tilted gantry).
    """
    axis = normal(orientation)
    positions = np.asarray(positions, dtype=float)
    order = np.argsort(positions @ axis, kind="stable")
    steps = np.diff(positions[order], axis=0)
    along = steps @ axis
    step = float(np.median(along))
    if along.min() < SAME_SLICE_MM:
        raise UnsupportedImageError(
            f"{where} holds several images of the same slice (echoes or time points).",
            "Put the files of one FLAIR volume alone into a folder and give that.",
        )
    sideways = np.linalg.norm(steps - along[:, None] * axis, axis=1)
    if np.median(sideways) > SHEAR * step:
        raise InvalidGeometryError(f"The slices in {where} are shifted sideways (tilted gantry).", _RESAMPLE)
    if along.max() > GAP * step:
        raise InvalidGeometryError(
            f"Slices are missing in {where}: the gap between two neighbours reaches {along.max():.3g} mm "
            f"where {step:.3g} mm is usual.",
            "Copy the series again, whole.",
        )
    warning = None
    if along.max() - along.min() > UNEVEN * step:
        warning = (
            f"The distance between slices varies ({along.min():.3g} to {along.max():.3g} mm): volumes are approximate."
        )
    return Arrangement(order, step, warning)
