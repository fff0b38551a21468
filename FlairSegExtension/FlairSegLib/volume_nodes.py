"""Volume nodes to :class:`flairseg.image.volume.Volume`: checked, copied in short steps, compared later."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from flairseg.errors import (
    CaseWarning,
    InputChangedError,
    InputNotFoundError,
    InvalidGeometryError,
    UnsupportedImageError,
)
from flairseg.files.headers import header_warnings
from flairseg.image.volume import Volume
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

#: Bytes copied in one step of the GUI thread: a few milliseconds.
PIECE_BYTES = 1 << 22


def volume_from_node(volume_node) -> Volume:
    """The voxels of a scalar volume node and its place in the world.

    Parameters
    ----------
    volume_node : vtkMRMLScalarVolumeNode
        A node of the scene. Linear parent transforms, hardened or not, are part of ``ijk_to_ras``: the axis that runs
        through the slices and the side of the head are those that Slicer's views show.

    Returns
    -------
    Volume
        ``array`` (K, J, I) is a copy: what happens to the node during a run does not touch the run.
        ``ijk_to_ras`` in mm, RAS, world. ``name`` is the node's.

    Raises
    ------
    InputNotFoundError
        No node, a node that is no longer in a scene, or a node without voxels.
    UnsupportedImageError
        Not a scalar volume: label map, vector (RGB), diffusion or tensor volume.
    InvalidGeometryError
        The volume is under a non-linear transform.
    """
    affine = _affine_of(volume_node)
    return Volume(slicer.util.arrayFromVolume(volume_node).copy(), affine, volume_node.GetName())


@dataclass(frozen=True)
class TakenVolume:
    """A volume as it was when a run began; can check later whether it is unchanged.

    ``header_warnings``: what the file that it came from leaves open about its geometry.
    """

    volume: Volume
    local: np.ndarray
    mtime: int
    header_warnings: tuple[CaseWarning, ...] = ()


def take_volume(volume_node) -> Generator[float, None, TakenVolume]:
    """:func:`volume_from_node` in short steps, for the GUI thread; yields the fraction done.

    Raises
    ------
    FlairSegError
        As :func:`volume_from_node`, at the first step; :class:`InputChangedError` if the voxels change between steps.
    """
    affine = _affine_of(volume_node)
    told = header_warnings_of(volume_node)
    local, mtime = local_matrix(volume_node), _voxels_mtime(volume_node)
    source = _flat_voxels(volume_node)
    copy = np.empty(source.shape, source.dtype)
    for part in pieces(source):
        # Asked for again at each step: between two of them Slicer may have moved or freed the voxels.
        check_volume_node(volume_node)
        source = _flat_voxels(volume_node)
        if _voxels_mtime(volume_node) != mtime or source.shape != copy.shape or source.dtype != copy.dtype:
            raise _changed(volume_node)
        copy[part] = source[part]
        yield part.stop / max(copy.size, 1)
    volume = Volume(copy.reshape(shape_of(volume_node)), affine, volume_node.GetName())
    return TakenVolume(volume, local, mtime, told)


def check_unchanged(taken: TakenVolume, volume_node) -> Generator[float, None, None]:
    """Refuse a volume whose voxels or grid changed since it was taken; in short steps, yields the fraction done.

    A parent transform may have changed: labels stay on the voxels, wherever these go. Voxels that were only
    touched, and are what they were, are fine.

    Raises
    ------
    InputChangedError
        Something changed.
    InputNotFoundError, UnsupportedImageError
        As :func:`volume_from_node`.
    """
    check_volume_node(volume_node)
    if not np.allclose(local_matrix(volume_node), taken.local, rtol=0, atol=1e-6):
        raise _changed(volume_node)
    if _voxels_mtime(volume_node) == taken.mtime:
        return
    then = taken.volume.array.reshape(-1)
    for part in pieces(then):
        check_volume_node(volume_node)
        now = _flat_voxels(volume_node)
        # As bytes: what is no number equals itself.
        if now.shape != then.shape or now.dtype != then.dtype or now[part].tobytes() != then[part].tobytes():
            raise _changed(volume_node)
        yield part.stop / max(then.size, 1)


def check_in_place(taken: TakenVolume, volume_node) -> Generator[float, None, None]:
    """:func:`check_unchanged` for results in world coordinates: transforms above the volume are the same, too.

    Raises
    ------
    InputChangedError
        Voxels, grid or place changed.
    FlairSegError
        As :func:`volume_from_node`.
    """
    yield from check_unchanged(taken, volume_node)
    if not np.allclose(_affine_of(volume_node), taken.volume.ijk_to_ras, rtol=0, atol=1e-6):
        raise InputChangedError(
            _("The volume '{name}' was moved during the run.").format(name=volume_node.GetName()), _("Run it again.")
        )


def check_volume_node(node) -> None:
    """Refuse what is no volume with one value per voxel; raises as :func:`volume_from_node`, transforms aside."""
    if node is None or node.GetScene() is None:
        raise InputNotFoundError("There is no volume to segment.", "Load a FLAIR and choose it in the volume selector.")
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise UnsupportedImageError(f"'{node.GetName()}' is not a volume.", "Choose a FLAIR volume.")
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise InputNotFoundError(f"The volume '{node.GetName()}' has no voxels.", "Load the FLAIR again.")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise UnsupportedImageError(
            f"'{node.GetName()}' is a label map.",
            "Choose the FLAIR itself, or load it again without the option LabelMap.",
        )
    if node.GetClassName() != "vtkMRMLScalarVolumeNode" or image.GetNumberOfScalarComponents() != 1:
        raise UnsupportedImageError(
            f"'{node.GetName()}' has several values per voxel (colour, vector or diffusion).",
            "Choose a volume with one value per voxel.",
        )


def header_warnings_of(node) -> tuple[CaseWarning, ...]:
    """Return missing or contradictory voxel size and orientation in a volume's file, by the core's rule.

    Slicer reads such files without a warning. Of a volume that was changed since it was read, its spacing corrected for
    instance, there is no warning.

    Raises
    ------
    InvalidGeometryError
        The file gives two voxel sizes, or none that is possible.
    """
    storage = node.GetStorageNode()
    if storage is None or not storage.GetFileName() or node.GetModifiedSinceRead():
        return ()
    return header_warnings(storage.GetFileName())


def _world_matrix(node) -> np.ndarray:
    """Parent transforms of a node as one 4 x 4 matrix, local RAS -> world RAS."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise InvalidGeometryError(
            f"'{node.GetName()}' is under a non-linear transform.",
            "Harden the transform in the module Transforms, then segment the hardened volume.",
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def pieces(flat: np.ndarray) -> Iterator[slice]:
    """A flat array in parts that are copied within a few milliseconds."""
    step = max(1, PIECE_BYTES // flat.itemsize)
    for first in range(0, flat.size, step):
        yield slice(first, min(first + step, flat.size))


def _changed(node) -> InputChangedError:
    return InputChangedError(
        _("The volume '{name}' changed while it was being segmented.").format(name=node.GetName()),
        _("Segment it again."),
    )


def shape_of(node) -> tuple[int, int, int]:
    """Voxels of a volume node, K, J, I."""
    return tuple(reversed(node.GetImageData().GetDimensions()))


def _flat_voxels(node) -> np.ndarray:
    return vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(-1)


def _voxels_mtime(node) -> int:
    return node.GetImageData().GetMTime()


def local_matrix(node) -> np.ndarray:
    """Affine of a volume node before parent transforms, IJK -> RAS mm."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _affine_of(node) -> np.ndarray:
    """Voxel indices to world RAS, once the node is known to be a volume that can be segmented."""
    check_volume_node(node)
    return _world_matrix(node) @ local_matrix(node)
