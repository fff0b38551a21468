"""What a rater gets to see: image and mask on one grid, mirrored or not, in files that say nothing about their source.

A neutral file is written from voxels and placement alone, with FlairSeg's own header: no description, no intent, no
history, no name of the original inside or outside. Its gzip stream carries neither a name nor a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import FlairSegError
from ..image.geometry import VolumeGeometry
from ..image.headers import placed_by_header
from ..nifti import read_header, write_nifti
from ..reading import case_name, read_volume
from ..volume import Volume
from .acceptance import without_small_lesions
from .canonical import file_sha256
from .errors import BlindedImageError
from .protocol import Arm

#: Two grids are one if no corner lies farther apart than this fraction of the smallest spacing.
GRID_TOLERANCE = 0.1


@dataclass(frozen=True)
class Mirror:
    """A flip of the array along the axis that runs most nearly left to right; the placement stays.

    Attributes
    ----------
    axis : int
        0, 1, 2 = I, J, K.
    shape : tuple of 3 int
        Of the array, (K, J, I).
    ijk_to_ras : tuple of tuple of float
        4 x 4, mm, RAS.
    """

    axis: int
    shape: tuple[int, int, int]
    ijk_to_ras: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, volume: Volume) -> Mirror:
        """The mirror of a volume's grid."""
        axes = volume.geometry.directions
        affine = tuple(tuple(float(x) for x in row) for row in volume.ijk_to_ras)
        return cls(int(np.abs(axes[0]).argmax()), tuple(int(n) for n in volume.array.shape), affine)

    def flip(self, array: np.ndarray) -> np.ndarray:
        """An array (K, J, I) seen in the mirror; twice gives the array."""
        return np.ascontiguousarray(np.flip(array, axis=2 - self.axis))

    def point(self, ras: tuple[float, float, float]) -> tuple[float, float, float]:
        """A point, RAS mm, seen in the mirror; twice gives the point."""
        affine = np.asarray(self.ijk_to_ras)
        ijk = np.linalg.solve(affine, np.append(np.asarray(ras, float), 1.0))
        ijk[self.axis] = self.shape[2 - self.axis] - 1 - ijk[self.axis]
        return tuple(float(x) for x in (affine @ ijk)[:3])


def read_labels(path: Path, classes: Mapping[int, int], grid: Volume) -> np.ndarray:
    """A mask on the grid of its image, in the project's class values.

    A file that holds only a part of the grid (as 3D Slicer crops ``.seg.nrrd``) is put in its place; nothing is
    interpolated.

    Parameters
    ----------
    path : Path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.seg.nrrd``, ``.mha``.
    classes : mapping of int to int
        Value in the file -> class value; other values are background.
    grid : Volume
        The image.

    Returns
    -------
    ndarray of uint8, shape (K, J, I)

    Raises
    ------
    BlindedImageError
        If the file cannot be read as labels on that grid, or has values but none of ``classes``.
    """
    array, affine = _read_integers(path)
    values = np.unique(array)
    foreground = [int(v) for v in values if v != 0]
    if foreground and not set(foreground) & set(classes):
        raise BlindedImageError(
            f"The mask {path.name} holds the values {', '.join(map(str, foreground[:8]))}, and the protocol names "
            f"{', '.join(map(str, classes))}.",
            "Name the mask's own values under `classes` of this arm.",
        )
    labels = np.zeros(array.shape, np.uint8)
    for value, class_value in classes.items():
        labels[array == value] = class_value
    return _on_grid(path, labels, affine, grid)


def labels_sha256(labels: np.ndarray) -> str:
    """sha256, hexadecimal, of a label map's shape (K, J, I) and voxels as uint8 in C order."""
    digest = hashlib.sha256(repr(tuple(int(n) for n in labels.shape)).encode("ascii"))
    digest.update(np.ascontiguousarray(labels, np.uint8).data)
    return digest.hexdigest()


def read_source(flair: Path) -> Volume:
    """A case's image as it will be shown.

    Raises
    ------
    BlindedImageError
        With the reason why it cannot be read.
    """
    try:
        return read_volume(flair)
    except FlairSegError as error:
        raise BlindedImageError(f"The image {flair} cannot be shown: {error.message}", error.advice) from error


def read_arm(arm: Arm, base: Path, image: Volume, minimum_lesion_mm3: float = 0.0) -> np.ndarray:
    """An arm's mask (K, J, I, uint8) on the image's grid, lesions below the protocol's minimum removed."""
    labels = read_labels(resolve(base, arm.mask), arm.classes, image)
    return without_small_lesions(labels, image.voxel_mm3, minimum_lesion_mm3)


def resolve(base: Path, name: str) -> Path:
    """A path of the protocol: relative to the protocol's folder, or absolute."""
    path = Path(name)
    return path if path.is_absolute() else base / path


def source_sha256(path: Path) -> str:
    """sha256 of a source: of the file, or of a DICOM folder's files in the order of their names.

    Raises
    ------
    BlindedImageError
        If it cannot be read.
    """
    try:
        if path.is_dir():
            hashes = [file_sha256(file) for file in sorted(path.iterdir()) if file.is_file()]
            return hashlib.sha256("\n".join(hashes).encode("ascii")).hexdigest()
        return file_sha256(path)
    except OSError as error:
        raise BlindedImageError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path and its permissions."
        ) from error


def write_neutral(path: Path, array: np.ndarray, grid: Volume) -> None:
    """Write voxels on a grid as ``.nii.gz`` with a header that tells nothing else.

    Labels become uint8, whole numbers int16, others float32. ``OSError`` if it cannot be written.
    """
    if array.dtype == np.uint8:
        kind = np.uint8
    elif float(np.abs(array).max(initial=0)) <= 32767 and bool((array == np.rint(array)).all()):
        kind = np.int16
    else:
        kind = np.float32
    write_nifti(path, array, replace(grid, name="volume"), kind)


def read_neutral_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels (K, J, I, uint8) and ``ijk_to_ras`` of a neutral mask file; errors as for :func:`read_labels`."""
    array, affine = _read_integers(path)
    return array.astype(np.uint8), affine


def _read_integers(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (K, J, I) of a label file as integers of any size, and its RAS affine."""
    import SimpleITK as sitk

    if not path.is_file():
        raise BlindedImageError(f"There is no mask {path}.", "Check the path in the protocol for typing errors.")
    try:
        if path.name.lower().endswith((".nii", ".nii.gz")):
            read_header(path)
        image = sitk.ReadImage(str(path))
    except FlairSegError as error:
        raise BlindedImageError(f"The mask cannot be read: {error.message}", error.advice) from error
    except RuntimeError as error:
        raise BlindedImageError(
            f"The mask {path.name} cannot be read as an image.", "Save it again as .nii.gz or .nrrd."
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise BlindedImageError(
            f"The mask {path.name} is not one 3-D label map (overlapping segments, or a fourth dimension).",
            "Export it as a label map, for instance from 3D Slicer's Segmentations module.",
        )
    array = whole = sitk.GetArrayFromImage(image)
    if array.dtype.kind == "f":
        whole = np.where(np.isfinite(array), np.rint(array), -1)
        fractional = bool((np.abs(whole - array) > 1e-3).any())
    else:
        fractional = False
    if fractional or whole.min(initial=0) < 0:
        raise BlindedImageError(
            f"The mask {path.name} does not hold labels: not all its voxels are whole numbers from 0.",
            "Give the label map, not probabilities.",
        )
    affine = placed_by_header(path, VolumeGeometry.from_sitk(image).ijk_to_ras)
    return whole if whole.dtype.kind in "iu" else whole.astype(np.int32), affine


def _on_grid(path: Path, labels: np.ndarray, affine: np.ndarray, grid: Volume) -> np.ndarray:
    """Labels of a grid that is the image's own, or a part of it, on the image's grid."""
    to_image = np.linalg.inv(grid.ijk_to_ras) @ affine
    offset = np.rint(to_image[:3, 3]).astype(int)
    size = np.array(labels.shape[::-1])
    corners = np.array([[i, j, k, 1] for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)])
    expected = corners[:, :3] + offset
    apart = np.linalg.norm(((to_image @ corners.T).T[:, :3] - expected) * grid.spacing, axis=1)
    if apart.max() > GRID_TOLERANCE * min(grid.spacing):
        raise BlindedImageError(
            f"The mask {path.name} does not lie on the grid of its image ({case_name(path)}: "
            f"{apart.max():.2f} mm apart).",
            "Resample the mask to the image's grid with nearest-neighbour interpolation.",
        )
    if tuple(labels.shape) == tuple(grid.array.shape) and not offset.any():
        return labels
    whole = np.zeros(grid.array.shape, np.uint8)
    low = np.maximum(offset, 0)
    high = np.minimum(offset + size, np.array(grid.array.shape[::-1]))
    if (low < high).all():
        here = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        there = tuple(slice(a, b) for a, b in zip((low - offset)[::-1], (high - offset)[::-1], strict=True))
        whole[here] = labels[there]
    if np.count_nonzero(whole) != np.count_nonzero(labels):
        raise BlindedImageError(
            f"A part of the mask {path.name} lies outside of its image.", "Check that the two belong together."
        )
    return whole
