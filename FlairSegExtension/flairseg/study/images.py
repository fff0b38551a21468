"""Image and mask for a rater: on one grid, mirrored or not, in files that do not reveal their source.

A neutral file is written from voxels and geometry only, with FlairSeg's own header: no description, intent,
history or original name. Its gzip stream carries neither name nor time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import FlairSegError
from ..files import hashing
from ..files.nifti import write_nifti
from ..image.geometry import triple
from ..image.volume import Volume
from ..io.label_maps import read_label_map
from ..io.label_meanings import OWN, LabelMapping, parse_meaning
from ..io.reader import read_volume
from ..labels import CLASS_BY_VALUE, LESION
from .acceptance import without_small_lesions
from .errors import BlindedImageError
from .protocol import Arm


@dataclass(frozen=True)
class Mirror:
    """A flip of the array along the axis closest to left-right; the geometry is kept.

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
        return cls(int(np.abs(axes[0]).argmax()), triple(int(n) for n in volume.array.shape), affine)

    def flip(self, array: np.ndarray) -> np.ndarray:
        """An array (K, J, I) seen in the mirror; twice gives the array."""
        return np.ascontiguousarray(np.flip(array, axis=2 - self.axis))

    def point(self, ras: tuple[float, float, float]) -> tuple[float, float, float]:
        """A point, RAS mm, seen in the mirror; twice gives the point."""
        affine = np.asarray(self.ijk_to_ras)
        ijk = np.linalg.solve(affine, np.append(np.asarray(ras, float), 1.0))
        ijk[self.axis] = self.shape[2 - self.axis] - 1 - ijk[self.axis]
        return triple(float(x) for x in (affine @ ijk)[:3])


def read_labels(
    path: Path, classes: Mapping[int, int], grid: Volume, mapping: LabelMapping | None = None
) -> np.ndarray:
    """A mask on the grid of its image, in the project's class values.

    Read as :func:`flairseg.io.label_maps.read_label_map` reads it; a cropped file is padded to the grid.

    Parameters
    ----------
    path : Path
    classes : mapping of int to int
        Value in the file -> class value; other values are background. Where every value is its own class, it lists
        which of the project's classes are wanted, and the file's own names count.
    grid : Volume
        The image.
    mapping : LabelMapping, optional
        Meaning of the values, instead of ``classes``.

    Returns
    -------
    ndarray of uint8, shape (K, J, I)

    Raises
    ------
    BlindedImageError
        If the file cannot be read as labels on that grid, or can hold none of the classes.
    """
    by_name = mapping is None and all(value == target for value, target in classes.items())
    if mapping is None and not by_name:
        mapping = LabelMapping("the protocol", classes, rest=True)
    try:
        found = read_label_map(path, grid.geometry, mapping, doubtful="refuse")
    except FlairSegError as error:
        raise BlindedImageError(
            f"The mask cannot be shown: {error.message}", error.advice, code=error.code, **error.fields
        ) from error
    if not by_name:
        return found.labels
    wanted = frozenset(classes.values())
    if not wanted & found.classes:
        titles = " or ".join(CLASS_BY_VALUE[value].short_name.lower() for value in sorted(wanted))
        raise BlindedImageError(
            f"The mask {path.name} has no segment of {titles}.",
            "List its classes under `classes` of this arm.",
            code="class-not-in-mask",
        )
    return np.where(np.isin(found.labels, sorted(wanted)), found.labels, 0).astype(np.uint8)


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
        With the reason.
    """
    try:
        return read_volume(flair)
    except FlairSegError as error:
        raise BlindedImageError(f"The image {flair} cannot be shown: {error.message}", error.advice) from error


def read_arm(arm: Arm, base: Path, image: Volume, minimum_lesion_mm3: float = 0.0) -> np.ndarray:
    """An arm's mask (K, J, I, uint8) on the image's grid, lesions below the protocol's minimum removed."""
    mapping = parse_meaning(arm.labels) if arm.labels else None
    labels = read_labels(resolve(base, arm.mask), arm.classes, image, mapping)
    return without_small_lesions(labels, image.voxel_mm3, minimum_lesion_mm3)


def resolve(base: Path, name: str) -> Path:
    """A path of the protocol: relative to the protocol's folder, or absolute."""
    path = Path(name)
    return path if path.is_absolute() else base / path


def read_tool(text: str, base: Path, image: Volume) -> np.ndarray:
    """Lesions (K, J, I, uint8) of a tool's mask, ``FILE`` or ``FILE:MEANING``; errors as for :func:`read_labels`."""
    name, sign, meaning = text.rpartition(":")
    if sign and not resolve(base, text).exists() and resolve(base, name).exists():
        labels = read_labels(resolve(base, name), {}, image, parse_meaning(meaning))
        return np.where(labels == LESION, labels, 0).astype(np.uint8)
    return read_labels(resolve(base, text), {LESION: LESION}, image)


def source_sha256(path: Path) -> str:
    """:func:`flairseg.files.hashing.source_sha256` with an error that the coordinator understands.

    Raises
    ------
    BlindedImageError
        If it cannot be read.
    """
    try:
        return hashing.source_sha256(path)
    except OSError as error:
        raise BlindedImageError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path and its permissions."
        ) from error


def write_neutral(path: Path, array: np.ndarray, grid: Volume) -> None:
    """Write voxels on a grid as ``.nii.gz`` with a neutral header.

    Labels become uint8, whole numbers int16, others float32. ``OSError`` if it cannot be written.
    """
    kind: type[np.number]
    if array.dtype == np.uint8:
        kind = np.uint8
    elif float(np.abs(array).max(initial=0)) <= 32767 and bool((array == np.rint(array)).all()):
        kind = np.int16
    else:
        kind = np.float32
    write_nifti(path, array, replace(grid, name="volume"), kind)


def read_neutral_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels (K, J, I, uint8) and ``ijk_to_ras`` of a neutral mask file, which FlairSeg wrote.

    Raises
    ------
    BlindedImageError
        If it cannot be read.
    """
    try:
        found = read_label_map(path, None, OWN)
    except FlairSegError as error:
        raise BlindedImageError(
            f"The mask cannot be read: {error.message}", error.advice, code=error.code, **error.fields
        ) from error
    return found.labels, found.geometry.ijk_to_ras.copy()
