"""Geometry of a NIfTI-1 header: voxel size, units, sform and qform, and their affines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import directions_of, is_right_handed, spacing_of

UNITS_MM = 2
#: The bits of ``xyzt_units`` that hold the unit of length, and those that are not mm: metre, micrometre.
SPATIAL_UNITS = 0x07
_UNITS_IN_MM = {1: 1000.0, 3: 0.001}
_SCANNER = 1


@dataclass(frozen=True)
class NiftiGeometry:
    """Geometry fields of a NIfTI-1 header, in the units of the file.

    Precedence of the two placements, and doubts, are the subject of :mod:`flairseg.files.headers`.

    Attributes
    ----------
    pixdim : tuple of 4 float
        qfac, then the voxel size along I, J, K.
    units : int
        ``xyzt_units``.
    qform_code, sform_code : int
        0: absent.
    qform : tuple of 6 float
        Quaternion b, c, d and offset x, y, z.
    sform : tuple of 12 float
        Rows of the affine, RAS.
    """

    pixdim: tuple[float, ...]
    units: int
    qform_code: int
    sform_code: int
    qform: tuple[float, ...]
    sform: tuple[float, ...]

    @property
    def unit_mm(self) -> float:
        """The file's unit of length in mm; an unknown one is taken for mm."""
        return _UNITS_IN_MM.get(self.units & SPATIAL_UNITS, 1.0)

    def sform_affine(self) -> np.ndarray | None:
        """The sform as a 4 x 4 RAS affine in mm; None if absent."""
        if self.sform_code <= 0:
            return None
        return np.vstack([np.reshape(self.sform, (3, 4)) * self.unit_mm, [0, 0, 0, 1]])

    def qform_affine(self) -> np.ndarray | None:
        """The qform as a 4 x 4 RAS affine in mm; None if absent. Signs of voxel sizes are ignored."""
        if self.qform_code <= 0:
            return None
        b, c, d, *offset = self.qform
        a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
        affine = np.eye(4)
        qfac = -1.0 if self.pixdim[0] < 0 else 1.0
        scale = np.abs(self.pixdim[1:]) * (1.0, 1.0, qfac)
        affine[:3, :3] = _rotation(a, b, c, d) * scale
        affine[:3, 3] = offset
        affine[:3] *= self.unit_mm
        return affine

    @classmethod
    def from_affine(cls, ijk_to_ras: np.ndarray) -> NiftiGeometry:
        """Scanner sform and qform, both from one RAS affine (4 x 4, mm, without shear)."""
        from scipy.spatial.transform import Rotation

        spacing = spacing_of(ijk_to_ras)
        rotation = directions_of(ijk_to_ras)
        qfac = 1.0 if is_right_handed(ijk_to_ras) else -1.0
        quaternion = Rotation.from_matrix(rotation * (1.0, 1.0, qfac)).as_quat()
        b, c, d = quaternion[:3] * (-1.0 if quaternion[3] < 0 else 1.0)
        return cls(
            (qfac, *map(float, spacing)),
            UNITS_MM,
            _SCANNER,
            _SCANNER,
            (float(b), float(c), float(d), *map(float, ijk_to_ras[:3, 3])),
            tuple(map(float, ijk_to_ras[:3].ravel())),
        )


def _rotation(a: float, b: float, c: float, d: float) -> np.ndarray:
    """Matrix of a quaternion of any length but 0, by the formula of the standard (``nifti1.h``, method 2)."""
    a, b, c, d = np.array([a, b, c, d]) / np.sqrt(a * a + b * b + c * c + d * d)
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
