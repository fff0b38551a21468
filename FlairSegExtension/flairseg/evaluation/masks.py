"""Reading of label maps and probabilities, and placement on the reference's grid by position in space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import CaseWarning, UnsuitableMaskError
from ..files.headers import reconciled
from ..files.names import stem_of
from ..image.geometry import GRID_TOLERANCE_VOXELS
from ..image.volume import Volume, volume_from_sitk, volume_to_sitk
from ..io.label_maps import LabelMap, read_label_map
from ..io.label_meanings import LabelMapping
from ..io.probability_maps import probabilities as checked_probabilities
from ..io.reader import read_components
from ..labels import LESION, NUMBER_OF_CLASSES
from .foreign import REFERENCE


@dataclass(frozen=True)
class Placed:
    """An array on the reference's grid, with warnings about its placement.

    Attributes
    ----------
    array : ndarray, shape of the reference
    warnings : tuple of CaseWarning
    scores : ndarray of float32 or None
        Probabilities, if the mask was made from them by a threshold.
    """

    array: np.ndarray
    warnings: tuple[CaseWarning, ...] = ()
    scores: np.ndarray | None = None


def read_reference(path: Path, mapping: LabelMapping | None = None) -> Volume:
    """Read a reference: labels, uint8, shape (K, J, I), on its own grid.

    Parameters
    ----------
    path : Path
    mapping : LabelMapping, optional
        Meaning of the file's values, if given.

    Raises
    ------
    FlairSegError
        As for :func:`~flairseg.io.label_maps.read_label_map`.
    """
    return _volume(read_label_map(path, None, mapping, doubtful="warn", subject=REFERENCE))


def read_prediction(path: Path, mapping: LabelMapping | None, method: str, reference: Volume) -> Placed:
    """Read a method's mask as class labels on the reference's grid, by nearest neighbour.

    Parameters
    ----------
    path : Path
    mapping : LabelMapping or None
        Meaning of the file's values, if given.
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
        If the file cannot be read, is not a label map, or does not overlap with the reference.
    """
    found = read_label_map(path, None, mapping, doubtful="warn", subject=method)
    volume = _volume(found)
    placed = place(volume, reference, linear=False, file=path.name)
    scores = None
    if found.scores is not None:
        scores = place(replace(volume, array=found.scores), reference, linear=True).array
    return Placed(placed.array, (*found.warnings, *placed.warnings), scores)


def _volume(found: LabelMap) -> Volume:
    geometry = found.geometry
    return Volume(
        found.labels,
        geometry.ijk_to_ras,
        stem_of(found.path),
        found.warnings,
        alternatives=geometry.alternatives,
    )


def read_probabilities(
    path: Path, mapping: LabelMapping | None, reference: Volume
) -> tuple[dict[int, np.ndarray], list[CaseWarning]]:
    """Read class probabilities on the reference's grid, with linear interpolation if the grids differ.

    Parameters
    ----------
    path : Path
        One volume: the single class of the mapping, else lesions. Two volumes: background and that class. Four:
        classes 0 to 3, as written by ``flairseg segment``.
    mapping : LabelMapping or None
    reference : Volume

    Returns
    -------
    dict of int to ndarray of float32, shape of the reference
        By class value.
    list of CaseWarning

    Raises
    ------
    UnsuitableMaskError, FlairSegError
        If the file cannot be read or contains no probabilities.
    """
    grid, components = _read(path)
    targets = frozenset() if mapping is None else mapping.targets
    single = next(iter(targets)) if len(targets) == 1 else LESION
    if len(components) == NUMBER_OF_CLASSES:
        wanted = {value: components[value] for value in range(1, NUMBER_OF_CLASSES)}
    elif len(components) in (1, 2):
        wanted = {single: components[-1]}
    else:
        raise UnsuitableMaskError(
            f"{path.name} holds {len(components)} volumes.",
            "Give probabilities as one volume (of lesions), two (background, lesions) or four (classes 0 to 3).",
            code="number-of-probabilities",
        )
    found: dict[int, np.ndarray] = {}
    told = dict.fromkeys(map(CaseWarning.of, grid.warnings))
    for value, part in wanted.items():
        placed = place(replace(grid, array=checked_probabilities(part, path.name)), reference, True, path.name)
        found[value] = placed.array
        # Voxels outside the reference were reported with the mask.
        told |= dict.fromkeys(warning for warning in placed.warnings if warning.code != "mask-outside-reference")
    return found, list(told)


def place(volume: Volume, reference: Volume, linear: bool, file: str = "") -> Placed:
    """Place an array on the reference's grid by the position of its voxels in space.

    Parameters
    ----------
    volume : Volume
        uint8 labels or float32 probabilities.
    reference : Volume
        Only its grid is used.
    linear : bool
        Linear interpolation instead of nearest neighbour.
    file : str
        Name in warnings; default: that of the volume.

    Returns
    -------
    Placed
        The array itself if the grids are equal; reordered if only the order or direction of the axes differs; else
        resampled, with a warning. Voxels outside the volume are 0.

    Raises
    ------
    UnsuitableMaskError
        If the volume has marked voxels, but none inside the reference.
    """
    target = reference.geometry
    own, other = target.reconcile(volume.geometry)
    file = file or volume.name
    if own.matches(target):
        return Placed(volume.array, (reconciled(file),) if other else ())
    outside = _outside(volume.array, target.index_map(own), target.shape)
    if outside == 1:
        raise UnsuitableMaskError(
            f"{volume.name} marks nothing inside its reference: they do not overlap in space.",
            "Check that they belong together and that both headers (origin, directions) are correct.",
            code="mask-apart-from-reference",
        )
    warnings = []
    if target.locate(own) is not None:
        moved = target.place(volume.array, own, clip=True)
    else:
        moved = _resampled(volume, reference, linear)
        how = "linear interpolation" if linear else "nearest neighbour"
        sizes = (_grid_words(v) for v in (volume, reference))
        text = "{} is on another grid than its reference ({}; {}): resampled onto it by {}.".format(file, *sizes, how)
        warnings.append(CaseWarning(text, "mask-resampled"))
        if target.same_size(own):
            text = "has the size of its reference but another position or direction in its header; the header was used."
            warnings.append(CaseWarning(f"{file} {text}", "mask-moved"))
    if outside > 0:
        text = f"has {100 * outside:.2g} % of its marked voxels outside of its reference; they are not counted."
        warnings.append(CaseWarning(f"{file} {text}", "mask-outside-reference"))
    return Placed(moved, tuple(warnings))


def _resampled(volume: Volume, reference: Volume, linear: bool) -> np.ndarray:
    import SimpleITK as sitk

    image, grid = volume_to_sitk(volume), volume_to_sitk(reference)
    interpolator = sitk.sitkLinear if linear else sitk.sitkNearestNeighbor
    return volume_from_sitk(sitk.Resample(image, grid, sitk.Transform(), interpolator, 0.0, image.GetPixelID())).array


def read_image(path: Path, reference: Volume) -> np.ndarray:
    """Read the FLAIR for an overlay on the reference's grid: ndarray of float32, shape (K, J, I)."""
    grid, components = _read(path)
    if len(components) != 1:
        raise UnsuitableMaskError(
            f"{path.name} holds {len(components)} volumes, not one image.",
            "Give the FLAIR as a 3-D file.",
            code="several-volumes",
        )
    return place(replace(grid, array=components[0].astype(np.float32)), reference, linear=True).array


def _read(path: Path) -> tuple[Volume, np.ndarray]:
    """Grid and voxels (N, K, J, I) of a file; NaN and infinite values become 0."""
    grid, components = read_components(path)
    if components.dtype.kind == "f":
        bad = ~np.isfinite(components)
        if bad.any():
            components = np.where(bad, 0, components)
            told = f"{path.name} holds {int(bad.sum())} voxels that are NaN or infinite; they count as 0."
            grid = replace(grid, warnings=(*grid.warnings, CaseWarning(told, "labels-not-finite")))
    return grid, components


def _outside(array: np.ndarray, to_reference: np.ndarray, shape: tuple[int, ...]) -> float:
    """Share of the marked voxels with centres outside the reference; 0 if nothing is marked."""
    marked = np.argwhere(array > 0)
    if not marked.size:
        return 0.0
    where = to_reference[:3, :3] @ marked[:, ::-1].T + to_reference[:3, 3:]
    size = np.array(shape[::-1])[:, None]
    half = 0.5 + GRID_TOLERANCE_VOXELS
    inside = ((where > -half) & (where < size - 1 + half)).all(axis=0)
    return 1.0 if not inside.any() else float(np.count_nonzero(~inside)) / inside.size


def _grid_words(volume: Volume) -> str:
    size = " x ".join(map(str, volume.array.shape[::-1]))
    return f"{size} voxels of {' x '.join(f'{s:.4g}' for s in volume.spacing)} mm"
