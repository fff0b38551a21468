"""References that cover a smaller region than the masks compared with them: extended with background.

3D Slicer saves a segmentation cropped to the bounding box of its segments. Outside the box is background, where
predictions are false positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import CaseWarning, FlairSegError
from ..image.checks import MAXIMUM_VOXELS
from ..image.geometry import VolumeGeometry
from ..image.volume import Volume
from ..io.dicom_segmentations import is_segmentation
from ..io.label_maps import read_label_map
from ..io.label_meanings import LabelMapping

#: A mask of a method: its file, what its values mean, the method.
Mask = tuple[Path, LabelMapping | None, str]
#: Rounding of an index, voxels.
_ROUNDING = 0.01


def grown(reference: Volume, path: Path, masks: Sequence[Mask]) -> Volume:
    """Extend the grid of a reference to include all marked voxels of the masks of its case.

    Parameters
    ----------
    reference : Volume
        Labels (K, J, I), RAS mm.
    path : Path
        Its file; segmentations of 3D Slicer and DICOM are expected to be cropped.
    masks : sequence of (Path, LabelMapping or None, str)
        Masks of all methods, so that all are compared on one grid. A mask that cannot be read is skipped here and
        reported when it is read for comparison.

    Returns
    -------
    Volume
        The reference itself if no mask extends beyond it; else extended with background, with a warning. Only masks on
        the same voxel lattice are considered, unless the reference is a segmentation of 3D Slicer or DICOM.
    """
    low, high = np.zeros(3, int), np.asarray(reference.array.shape, int)
    shares: list[float] = []
    for mask in masks:
        try:
            bounds = _beside(reference.geometry, mask, _is_cropped(path))
        except FlairSegError:
            continue
        if bounds is not None:
            low, high = np.minimum(low, bounds[0]), np.maximum(high, bounds[1])
            shares.append(bounds[2])
    size = high - low
    if not shares or float(np.prod(size.astype(float))) > MAXIMUM_VOXELS:
        return reference
    array = np.zeros(size, reference.array.dtype)
    array[tuple(slice(-a, -a + n) for a, n in zip(low, reference.array.shape, strict=True))] = reference.array
    affine = reference.ijk_to_ras.copy()
    affine[:3, 3] = (reference.ijk_to_ras @ [*low[::-1], 1.0])[:3]
    warning = CaseWarning(
        f"It covers a part of the image: up to {100 * max(shares):.2g} % of what is compared with it is outside, "
        "where it counts as background.",
        "reference-cropped",
    )
    return Volume(array, affine, reference.name, (*reference.warnings, warning))


def _is_cropped(path: Path) -> bool:
    """Whether such files are cropped to the segments: Slicer's segmentations, DICOM SEG without empty frames."""
    return path.name.lower().endswith(".seg.nrrd") or path.is_dir() or is_segmentation(path)


def _beside(reference: VolumeGeometry, mask: Mask, any_grid: bool) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Index range K, J, I (first, last + 1) of a mask on the reference's lattice, and its share outside."""
    path, mapping, method = mask
    found = read_label_map(path, None, mapping, doubtful="warn", subject=method)
    own = found.geometry
    if reference.matches(own) or (reference.locate(own) is None and not any_grid):
        return None
    marked = np.argwhere(found.labels)
    if not len(marked):
        return None
    to_reference = reference.index_map(own)
    points = (np.column_stack([marked[:, ::-1], np.ones(len(marked))]) @ to_reference.T)[:, 2::-1]
    shape = np.asarray(reference.shape)
    outside = ((points < -0.5) | (points > shape - 0.5)).any(axis=1)
    # A mask entirely outside an uncropped reference has a wrong header, and is refused later.
    if not outside.any() or (outside.all() and not any_grid):
        return None
    first = np.floor(points.min(axis=0) + _ROUNDING).astype(int)
    last = np.ceil(points.max(axis=0) - _ROUNDING).astype(int)
    return first, last + 1, float(outside.mean())
