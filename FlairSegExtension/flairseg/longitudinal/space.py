"""The half-way space of the studies, and resampling of images and labels to it.

Every study is rotated and shifted by its share of the motion, so that all are interpolated alike: resampling only one
onto the other would blur it, and the blur would look like change (source: Reuter et al. 2012, NeuroImage 61:1402).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..image.geometry import directions_of, dominant_axes
from ..image.slice_stack import choose_plane
from ..image.volume import Volume, volume_to_sitk
from . import rigid

#: Smallest in-plane step of the common grid, mm: finer ones cost time and show nothing more.
FINEST_MM = 0.8
#: Thick slices are split into steps of at most this, mm.
THICKEST_MM = 4.0
#: Border around the brain, mm.
BORDER_MM = 12.0
#: Most voxels of the common grid; beyond it all steps grow alike.
MOST_VOXELS = 5_000_000


@dataclass(frozen=True)
class CommonSpace:
    """The common grid and the transforms to the studies.

    Attributes
    ----------
    grid : Volume
        An empty volume (uint8 zeros, K, J, I) that gives the grid; RAS mm of the half-way space.
    common_to_study : tuple of ndarray, each (4, 4)
        Rigid motions, RAS mm, from points of the common space to each study.
    plane : str
        ``axial``, ``sagittal``, ``coronal``: the plane of the studies' slices, ``mixed`` where they differ.
    """

    grid: Volume
    common_to_study: tuple[np.ndarray, ...]
    plane: str

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Steps of the common grid along I, J, K, mm."""
        return self.grid.spacing

    def carry(self, array: np.ndarray, volume: Volume, study: int) -> np.ndarray:
        """An array on a study's grid, interpolated linearly at the common grid's points; 0 where it has no voxels.

        Parameters
        ----------
        array : ndarray, shape (K, J, I)
            On the grid of ``volume``.
        volume : Volume
        study : int
            Index into :attr:`common_to_study`.

        Returns
        -------
        ndarray of float32, shape of the common grid
        """
        import SimpleITK as sitk

        image = volume_to_sitk(volume.with_array(np.ascontiguousarray(array, dtype=np.float32)))
        target = volume_to_sitk(self.grid)
        out = sitk.Resample(
            image, target, rigid.to_sitk(self.common_to_study[study]), sitk.sitkLinear, 0.0, sitk.sitkFloat32
        )
        return sitk.GetArrayFromImage(out)

    def covered(self, volume: Volume, study: int) -> np.ndarray:
        """Points of the common grid covered by a study, bool; half a slice beyond the outermost ones is covered."""
        points_to_voxels = np.linalg.inv(volume.ijk_to_ras) @ self.common_to_study[study] @ self.grid.ijk_to_ras
        k, j, i = (np.arange(n, dtype=np.float32) for n in self.grid.array.shape)
        out = np.ones(self.grid.array.shape, dtype=bool)
        for axis, size in enumerate(volume.array.shape[::-1]):
            a, b, c, d = points_to_voxels[axis].astype(np.float32)
            index = (a * i)[None, None, :] + (b * j)[None, :, None] + (c * k)[:, None, None] + d
            out &= (index >= -0.5) & (index <= size - 0.5)
        return out


def snapped_axes(ijk_to_ras: np.ndarray) -> np.ndarray:
    """The voxel axes of a volume as a rotation near identity: columns follow R, A, S, whatever the storage order.

    Parameters
    ----------
    ijk_to_ras : ndarray, shape (4, 4)

    Returns
    -------
    ndarray, shape (3, 3)
    """
    directions = directions_of(ijk_to_ras)
    out = np.empty((3, 3))
    for voxel, ras in enumerate(dominant_axes(ijk_to_ras)):
        out[:, ras] = directions[:, voxel] * (1.0 if directions[ras, voxel] > 0 else -1.0)
    return out


def common_space(
    volumes: Sequence[Volume], first_to_study: Sequence[np.ndarray], masks: Sequence[np.ndarray], centre: np.ndarray
) -> CommonSpace:
    """The half-way space of some studies, and a grid in it.

    The pose is the mean of the studies' poses. The grid's axes are the mean of the studies' slice axes, so that
    all studies are rotated by similar angles. Its steps are the finest in-plane pixel (at least
    :data:`FINEST_MM`) and the thinnest slice, split into steps of at most :data:`THICKEST_MM`.

    Parameters
    ----------
    volumes : sequence of Volume
    first_to_study : sequence of ndarray, shape (4, 4)
        Rigid motions, RAS mm; the first is the identity.
    masks : sequence of ndarray of bool
        Brain masks on the studies' grids (K, J, I): the grid covers all of them.
    centre : ndarray, shape (3,)
        Middle of the first study's brain, RAS mm.

    Returns
    -------
    CommonSpace
    """
    from scipy.spatial.transform import Rotation

    mean = rigid.mean_motion(first_to_study, centre)
    # From the common space to the first study and on to each.
    common_to_study = tuple(motion @ rigid.invert(mean) for motion in first_to_study)
    turned = [m[:3, :3].T @ snapped_axes(v.ijk_to_ras) for m, v in zip(common_to_study, volumes, strict=True)]
    turned = [u @ w for u, _, w in map(np.linalg.svd, turned)]
    axes = Rotation.from_matrix(np.stack(turned)).mean().as_matrix()
    planes = {choose_plane(v) for v in volumes}
    steps = _steps(volumes, planes)
    points = np.concatenate([_corners(m, v, c) for m, v, c in zip(masks, volumes, common_to_study, strict=True)])
    along = points @ axes
    low, high = along.min(axis=0) - BORDER_MM, along.max(axis=0) + BORDER_MM
    excess = float(np.prod((high - low) / steps)) / MOST_VOXELS
    if excess > 1:
        steps = steps * excess ** (1 / 3)
    size = np.ceil((high - low) / steps).astype(int) + 1
    # Stored as DICOM would: columns to the left, rows to the back, slices to the head.
    signs = np.array([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = axes * signs * steps
    affine[:3, 3] = axes @ np.where(signs < 0, low + (size - 1) * steps, low)
    grid = Volume(np.zeros(tuple(int(n) for n in size[::-1]), np.uint8), affine, "common")
    return CommonSpace(grid, common_to_study, planes.pop() if len(planes) == 1 else "mixed")


def _steps(volumes: Sequence[Volume], planes: set[str]) -> np.ndarray:
    """Steps along R, A, S, mm."""
    spacing = np.empty((len(volumes), 3))
    for n, volume in enumerate(volumes):
        spacing[n, dominant_axes(volume.ijk_to_ras)] = volume.spacing
    steps = np.maximum(spacing.min(axis=0), FINEST_MM)
    if len(planes) == 1:
        out: np.ndarray = steps / np.ceil(steps / THICKEST_MM - 1e-6)
        return out
    # Slices in different planes have no plane in common: nearly isotropic steps do justice to all of them.
    out = np.maximum(steps, 1.0)
    return out


def _corners(mask: np.ndarray, volume: Volume, common_to_study: np.ndarray) -> np.ndarray:
    """Corners of the box around a study's brain, in the common space (8, 3)."""
    along = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    low, high = [int(found[0]) for found in along], [int(found[-1]) for found in along]
    corners = np.array([[i, j, k, 1] for k in (low[0], high[0]) for j in (low[1], high[1]) for i in (low[2], high[2])])
    return rigid.apply(rigid.invert(common_to_study), (corners @ volume.ijk_to_ras.T)[:, :3])
