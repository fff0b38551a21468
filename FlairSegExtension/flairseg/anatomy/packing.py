"""A region map in one byte a voxel, as it is sent between processes and kept in a scene."""

from __future__ import annotations

import numpy as np

from ..image.geometry import spacing_of
from ..image.packed import CompactAnswer
from ..lesions.boxes import through_plane_axis
from .regions import RegionMap

#: Added to the code of a voxel where a ventricle would be a lateral one; codes are below it.
_LATERAL = 16


def pack_regions(regions: RegionMap) -> str:
    """A region map as ASCII text (deflated, base64), see :attr:`flairseg.image.packed.CompactAnswer.labels_text`.

    Empty where the atlas could not be registered: there is nothing to keep then.
    """
    if not regions.found:
        return ""
    voxels = np.where(regions.lateral, regions.codes + np.uint8(_LATERAL), regions.codes).astype(np.uint8)
    return CompactAnswer.pack(voxels).labels_text


def unpack_regions(voxels: np.ndarray, ijk_to_ras: np.ndarray) -> RegionMap:
    """The region map that was packed.

    Parameters
    ----------
    voxels : ndarray of uint8, shape (K, J, I)
        The labels of a :class:`~flairseg.image.packed.CompactAnswer` from the text of :func:`pack_regions`, on any
        grid.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the grid, mm, RAS.

    Returns
    -------
    RegionMap
        Without what is known of the atlas's fit.
    """
    return RegionMap(
        codes=voxels % _LATERAL,
        lateral=voxels >= _LATERAL,
        found=True,
        fit=None,
        matrix=np.eye(4),
        spacing=spacing_of(ijk_to_ras),
        normal=through_plane_axis(ijk_to_ras),
    )
