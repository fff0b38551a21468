"""Whether a volume can be a head scan: shape, voxel size, axes, and intensities with something to segment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import CaseWarning, InvalidGeometryError, UnsupportedImageError, UnusableIntensitiesError
from ..labels import LESION, NORMAL_WMH, VENTRICLES
from .flair_selection import FEW_SLICES
from .geometry import VolumeGeometry
from .volume import Volume

#: Voxel spacing that a head scan can have, mm.
SPACING_MM = (0.1, 20.0)
#: Smallest number of voxels along the two longer sides.
MINIMUM_SIDE = 16
#: Largest number of voxels: beyond it a workstation's memory ends.
MAXIMUM_VOXELS = 1_000_000_000
#: Volumes of the classes beyond which labels cannot be right, ml.
IMPLAUSIBLE_ML = {VENTRICLES: 300.0, NORMAL_WMH: 100.0, LESION: 200.0}
#: Cosine of the angle between two axes above which a grid counts as sheared.
SHEAR_TOLERANCE = 0.01
#: Relative error of a length in a header of single precision.
_ROUNDING = 1e-5
EXPORT_AGAIN = "Export the image again as .nii.gz, .nrrd or .mha, for instance from 3D Slicer."
RESAMPLE = "Resample the image to a regular grid, for instance with 3D Slicer's module Resample Scalar Volume."


def check_volume(volume: Volume) -> Volume:
    """Make sure that a volume can be segmented, and mend what can be mended.

    Parameters
    ----------
    volume : Volume
        Any real type.

    Returns
    -------
    Volume
        float32, finite, C-contiguous; ``warnings`` states what was mended.

    Raises
    ------
    UnsupportedImageError, InvalidGeometryError, UnusableIntensitiesError
        As for :func:`read_volume`.
    """
    _check_shape(volume.array)
    check_grid(volume.ijk_to_ras)
    warnings = list(volume.warnings)
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.ascontiguousarray(volume.array, dtype=np.float32)
    bad = 0 if volume.array.dtype.kind in "biu" else sum(int(np.count_nonzero(~np.isfinite(part))) for part in array)
    if bad == array.size:
        raise UnusableIntensitiesError(
            "The image contains no finite values: every voxel is NaN or infinite.", EXPORT_AGAIN
        )
    if bad:
        array = np.where(np.isfinite(array), array, np.float32(0))
        text = f"{bad} voxels ({100 * bad / array.size:.2g} %) are NaN or infinite; they were set to 0."
        warnings.append(CaseWarning(text, "voxels-not-finite"))
    first = array.flat[0]
    if all(bool((part == first).all()) for part in array):
        raise UnusableIntensitiesError(
            f"All voxels have the same value ({float(array.flat[0]):g}): there is nothing to segment.", EXPORT_AGAIN
        )
    if 1 in array.shape:
        text = "The image is a single slice: adjacent slices are missing, so expect more errors."
        warnings.append(CaseWarning(text, "single-slice"))
    elif min(array.shape) < FEW_SLICES:
        slices = min(array.shape)
        text = f"The image has {slices} slices only, a part of a head: volumes and counts are those of this part."
        warnings.append(CaseWarning(text, "few-slices"))
    return replace(volume, array=array, warnings=tuple(dict.fromkeys(warnings)))


def _check_shape(array: np.ndarray) -> None:
    if array.dtype.kind not in "biuf":
        raise UnsupportedImageError(f"The voxels are not real numbers ({array.dtype}).", EXPORT_AGAIN)
    if array.ndim != 3:
        raise UnsupportedImageError(f"The image has {array.ndim} dimensions, not 3.", "Give one 3-D volume.")
    if array.size == 0:
        raise UnusableIntensitiesError("The image is empty: it has no voxels.", EXPORT_AGAIN)
    if sorted(array.shape)[1] < MINIMUM_SIDE:
        size = " x ".join(map(str, array.shape[::-1]))
        raise UnsupportedImageError(
            f"The image is too small for a head: {size} voxels.",
            f"Slices of at least {MINIMUM_SIDE} x {MINIMUM_SIDE} are needed.",
        )
    if array.size > MAXIMUM_VOXELS:
        raise UnsupportedImageError(f"The image is too large: {array.size} voxels.", RESAMPLE)


def check_grid(ijk_to_ras: np.ndarray) -> None:
    """Refuse what cannot be the grid of a head scan."""
    geometry = VolumeGeometry((1, 1, 1), ijk_to_ras)
    shown = " x ".join(f"{s:.4g}" for s in geometry.spacing)
    # An affine in single precision is not exact: 20 mm may come as 20.000001.
    low, high = SPACING_MM[0] * (1 - _ROUNDING), SPACING_MM[1] * (1 + _ROUNDING)
    if min(geometry.spacing) < low or max(geometry.spacing) > high:
        raise InvalidGeometryError(
            f"A voxel of {shown} mm cannot be a head scan ({SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm expected).",
            "Correct spacing and unit in the header, for instance in 3D Slicer's module Volumes.",
            code="implausible-voxel-size",
        )
    if geometry.shear > SHEAR_TOLERANCE:
        raise InvalidGeometryError(
            "The image's axes are not at right angles (sheared or degenerate affine).",
            RESAMPLE,
            code="sheared-axes",
        )
