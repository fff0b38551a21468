"""Label maps and probabilities from files onto the reference's grid: by the position in space, never by index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..labels import LESION, NUMBER_OF_CLASSES, VENTRICLES
from ..reading import read_components
from ..volume import Volume, volume_from_sitk, volume_to_sitk
from .errors import UnsuitableMaskError
from .foreign import LabelMapping

#: Voxel centres this near to each other, in parts of the smallest spacing, are the same.
GRID_TOLERANCE = 0.05
#: Rounding that a probability may have beyond 0 and 1.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Placed:
    """An array on the reference's grid, and what has to be said about how it came there.

    Attributes
    ----------
    array : ndarray, shape of the reference
    warnings : tuple of str
    scores : ndarray of float32 or None
        The probabilities that a probability mask was thresholded from.
    """

    array: np.ndarray
    warnings: tuple[str, ...] = ()
    scores: np.ndarray | None = None


def read_reference(path: Path, mapping: LabelMapping) -> Volume:
    """A reference on its own grid: labels uint8 (K, J, I), whose affine is everyone's frame.

    Raises
    ------
    UnsuitableMaskError, FlairSegError
        If the file cannot be read or is no label map.
    """
    grid, components = _read(path)
    return replace(grid, array=mapping.apply(_single(path, components), path.name, "reference"))


def read_prediction(path: Path, mapping: LabelMapping, method: str, reference: Volume) -> Placed:
    """A method's mask as class labels on the reference's grid, by nearest neighbour.

    Parameters
    ----------
    path : Path
    mapping : LabelMapping
        What the file's values mean.
    method : str
    reference : Volume
        Labels of the reference.

    Returns
    -------
    Placed
        uint8, shape of the reference.

    Raises
    ------
    UnsuitableMaskError, FlairSegError
        If the file cannot be read, is no label map, or lies wholly outside of the reference.
    """
    grid, components = _read(path)
    labels = mapping.apply(_single(path, components), path.name, method)
    warnings = list(grid.warnings)
    if mapping.own and np.array_equal(np.flatnonzero(np.bincount(labels.ravel(), minlength=2)[1:]) + 1, [VENTRICLES]):
        warnings.append(
            f"{path.name} holds the value 1 alone, which is read as ventricles. If it marks lesions, add "
            f"--labels {method}:binary."
        )
    placed = place(replace(grid, array=labels), reference, linear=False)
    scores = None
    if mapping.nonzero is not None and _holds_probabilities(components[0]):
        scores = place(replace(grid, array=components[0].astype(np.float32)), reference, linear=True).array
    return Placed(placed.array, (*warnings, *(f"{path.name} {text}" for text in placed.warnings)), scores)


def _holds_probabilities(array: np.ndarray) -> bool:
    """Whether a mask holds fractions between 0 and 1, not labels."""
    if array.dtype.kind != "f" or float(array.min(initial=0)) < 0 or float(array.max(initial=0)) > 1:
        return False
    return bool(((array > 0) & (array < 1)).any())


def read_probabilities(path: Path, mapping: LabelMapping, reference: Volume) -> tuple[dict[int, np.ndarray], list[str]]:
    """Probabilities of the classes on the reference's grid, by linear interpolation where the grids differ.

    Parameters
    ----------
    path : Path
        One volume: of the mapping's single class, else of lesions. Two volumes: background and that class. Four:
        classes 0 to 3, as ``flairseg segment --probabilities`` writes them.
    mapping : LabelMapping
    reference : Volume

    Returns
    -------
    dict of int to ndarray of float32, shape of the reference
        By class value.
    list of str
        Warnings.

    Raises
    ------
    UnsuitableMaskError, FlairSegError
        If the file cannot be read or holds no probabilities.
    """
    grid, components = _read(path)
    targets = mapping.targets
    single = next(iter(targets)) if len(targets) == 1 else LESION
    if len(components) == NUMBER_OF_CLASSES:
        wanted = {value: components[value] for value in range(1, NUMBER_OF_CLASSES)}
    elif len(components) in (1, 2):
        wanted = {single: components[-1]}
    else:
        raise UnsuitableMaskError(
            f"{path.name} holds {len(components)} volumes.",
            "Give probabilities as one volume (of lesions), two (background, lesions) or four (classes 0 to 3).",
        )
    found: dict[int, np.ndarray] = {}
    told: dict[str, None] = dict.fromkeys(grid.warnings)
    for value, part in wanted.items():
        low, high = float(part.min()), float(part.max())
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise UnsuitableMaskError(
                f"{path.name} holds values from {low:.4g} to {high:.4g}, so they are no probabilities.",
                "Give probabilities between 0 and 1 (divide percentages by 100), or leave the file out.",
            )
        placed = place(replace(grid, array=np.clip(part, 0, 1).astype(np.float32)), reference, linear=True)
        found[value] = placed.array
        # What lies outside of the reference was told with the mask.
        told |= dict.fromkeys(f"{path.name} {text}" for text in placed.warnings if "outside" not in text)
    return found, list(told)


def place(volume: Volume, reference: Volume, linear: bool) -> Placed:
    """Bring an array onto the reference's grid by where its voxels are in space.

    Parameters
    ----------
    volume : Volume
        uint8 labels or float32 probabilities.
    reference : Volume
        Its grid alone is looked at.
    linear : bool
        Interpolate linearly instead of taking the nearest voxel.

    Returns
    -------
    Placed
        The very array where the grids are one; the same voxels in another order where only the axes are stored
        differently; else resampled, which a warning tells. Outside of the volume there is background (0).

    Raises
    ------
    UnsuitableMaskError
        If the volume marks something, and nothing of it lies inside of the reference.
    """
    to_reference = np.linalg.inv(reference.ijk_to_ras) @ volume.ijk_to_ras
    if volume.array.shape == reference.array.shape and _apart(to_reference, np.eye(4), volume, reference):
        return Placed(volume.array)
    import SimpleITK as sitk

    image, grid = volume_to_sitk(volume), volume_to_sitk(reference)
    interpolator = sitk.sitkLinear if linear else sitk.sitkNearestNeighbor
    moved = volume_from_sitk(sitk.Resample(image, grid, sitk.Transform(), interpolator, 0.0, image.GetPixelID())).array
    warnings = []
    if not _same_lattice(to_reference, volume, reference):
        how = "linear interpolation" if linear else "the nearest voxel"
        sizes = (_grid_words(v) for v in (volume, reference))
        warnings.append("lies on another grid than its reference ({}; {}): brought onto it by {}.".format(*sizes, how))
        if volume.array.shape == reference.array.shape and np.allclose(volume.spacing, reference.spacing, rtol=1e-3):
            warnings.append(
                "has the size of its reference but another position or direction in its header, which was believed."
            )
    outside = _outside(volume.array, to_reference, reference.array.shape)
    if outside == 1:
        raise UnsuitableMaskError(
            f"{volume.name} marks nothing inside of its reference: the two lie apart in space.",
            "Check that they belong together and that both headers (origin, directions) are right.",
        )
    if outside > 0:
        warnings.append(
            f"has {100 * outside:.2g} % of its marked voxels outside of its reference; they are not counted."
        )
    return Placed(moved, tuple(warnings))


def read_image(path: Path, reference: Volume) -> np.ndarray:
    """The FLAIR behind an overlay on the reference's grid: float32 (K, J, I)."""
    grid, components = _read(path)
    placed = replace(grid, array=_single(path, components).astype(np.float32))
    return place(placed, reference, linear=True).array


def _read(path: Path) -> tuple[Volume, np.ndarray]:
    """Grid and voxels (N, K, J, I) of a file; what is no number is 0."""
    grid, components = read_components(path)
    if components.dtype.kind == "f":
        bad = ~np.isfinite(components)
        if bad.any():
            components = np.where(bad, 0, components)
            told = f"{path.name} holds {int(bad.sum())} voxels that are NaN or infinite; they count as 0."
            grid = replace(grid, warnings=(*grid.warnings, told))
    return grid, components


def _single(path: Path, components: np.ndarray) -> np.ndarray:
    if len(components) != 1:
        raise UnsuitableMaskError(
            f"{path.name} holds {len(components)} volumes or layers, not one label map.",
            "Export one label map, for instance from 3D Slicer's module Segmentations; give probabilities separately.",
        )
    return components[0]


def _corners(shape: tuple[int, ...]) -> np.ndarray:
    """Indices (I, J, K, 1) of the eight corner voxels of a shape (K, J, I): ndarray (4, 8)."""
    last = np.array(shape[::-1]) - 1
    return np.array([[*(np.array([i, j, k]) * last), 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float).T


def _apart(to_reference: np.ndarray, expected: np.ndarray, volume: Volume, reference: Volume) -> bool:
    """Whether a map between indices is the expected one, for all corners of the volume."""
    difference = ((to_reference - expected) @ _corners(volume.array.shape))[:3].T * reference.spacing
    return bool(np.linalg.norm(difference, axis=1).max() <= GRID_TOLERANCE * min(reference.spacing))


def _same_lattice(to_reference: np.ndarray, volume: Volume, reference: Volume) -> bool:
    """Whether every voxel centre falls on a voxel centre: axes exchanged, turned round or cut, nothing more."""
    whole = np.rint(to_reference)
    permutation = np.abs(whole[:3, :3])
    if not (permutation.sum(0) == 1).all() or not (permutation.sum(1) == 1).all():
        return False
    return _apart(to_reference, whole, volume, reference)


def _outside(array: np.ndarray, to_reference: np.ndarray, shape: tuple[int, ...]) -> float:
    """Share of the marked voxels whose centres lie outside of the reference; 0 if nothing is marked."""
    marked = np.argwhere(array > 0)
    if not marked.size:
        return 0.0
    where = to_reference[:3, :3] @ marked[:, ::-1].T + to_reference[:3, 3:]
    size = np.array(shape[::-1])[:, None]
    inside = ((where > -0.5 - GRID_TOLERANCE) & (where < size - 0.5 + GRID_TOLERANCE)).all(axis=0)
    return 1.0 if not inside.any() else float(np.count_nonzero(~inside)) / inside.size


def _grid_words(volume: Volume) -> str:
    size = " x ".join(map(str, volume.array.shape[::-1]))
    return f"{size} voxels of {' x '.join(f'{s:.4g}' for s in volume.spacing)} mm"
