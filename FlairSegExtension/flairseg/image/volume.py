"""One scalar volume: voxels on a grid, from and to SimpleITK.

SimpleITK reads and writes; :mod:`flairseg.image.geometry` turns its LPS geometry into the RAS affine that the rest of
FlairSeg (and Slicer's MRML) uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .geometry import VolumeGeometry

if TYPE_CHECKING:
    import SimpleITK as sitk

    from .nifti_geometry import NiftiGeometry


@dataclass(frozen=True)
class Volume:
    """A scalar 3-D image.

    Attributes
    ----------
    array : ndarray, shape (K, J, I)
        Voxels, slice - row - column as Slicer gives them.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine from voxel indices (I, J, K) to RAS millimetres.
    name : str
        Name of the case (a file's stem); never a patient's name from a header.
    warnings : tuple of str
        Observations and corrections while reading.
    information : tuple of str
        Further information, without doubt: the DICOM series selected, the number of its images used.
    images : tuple of int, optional
        Of a DICOM series: how many of its images are used, and how many there are.
    nifti : NiftiGeometry, optional
        Placement in the NIfTI header that the volume came from, kept so that results repeat it bit for bit.
    alternatives : tuple of ndarray, shape (4, 4)
        Other placements that the same header gives, RAS mm.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    name: str = "volume"
    warnings: tuple[str, ...] = field(default=())
    nifti: NiftiGeometry | None = field(default=None, repr=False)
    information: tuple[str, ...] = field(default=())
    images: tuple[int, int] | None = None
    alternatives: tuple[np.ndarray, ...] = field(default=(), repr=False)

    @property
    def geometry(self) -> VolumeGeometry:
        """The voxel grid."""
        return VolumeGeometry(self.array.shape[-3:], self.ijk_to_ras, self.alternatives)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along I, J, K."""
        return self.geometry.spacing

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm3."""
        return self.geometry.voxel_volume_mm3

    def with_array(self, array: np.ndarray) -> Volume:
        """The same grid with other voxels (shape (K, J, I) must match)."""
        if array.shape != self.array.shape:
            raise ValueError(f"shape {array.shape} does not match the grid {self.array.shape}")
        return replace(self, array=array)


def volume_from_sitk(image: sitk.Image, name: str = "volume", warnings: tuple[str, ...] = ()) -> Volume:
    """A :class:`Volume` from a scalar 3-D ``SimpleITK.Image``."""
    import SimpleITK as sitk

    geometry = VolumeGeometry.from_sitk(image)
    return Volume(sitk.GetArrayFromImage(image), geometry.ijk_to_ras.copy(), name, warnings)


def volume_to_sitk(volume: Volume) -> sitk.Image:
    """A ``SimpleITK.Image`` with the volume's voxels and grid."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.array)
    spacing, direction, origin = volume.geometry.to_itk()
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    return image
