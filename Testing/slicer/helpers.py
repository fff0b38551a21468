"""Geometry by other means than ours: nibabel re-orders, Slicer transforms, the comparison is made in world space."""

from __future__ import annotations

import numpy as np
from flairseg.labels import CLASSES

#: How scanners and converters store the same head: I, J, K run towards these; axial, sagittal and coronal stacks.
STORAGE_ORDERS = ("RAS", "LAS", "LPI", "LPS", "ASR", "PIL", "RSA", "LIP", "oblique")


def stored_as(array: np.ndarray, ijk_to_ras: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same image with its I, J, K axes running towards ``codes`` (e.g. LAS), by nibabel's orientation tools.

    ``oblique`` instead turns the head under the scanner; the voxels stay as they are.
    """
    from nibabel import orientations

    if codes == "oblique":
        return array, rigid((20, -8, 12), (3, -7, 11)) @ ijk_to_ras
    change = orientations.ornt_transform(orientations.io_orientation(ijk_to_ras), orientations.axcodes2ornt(codes))
    ijk = np.transpose(array)
    moved = orientations.apply_orientation(ijk, change)
    return np.transpose(moved), ijk_to_ras @ orientations.inv_ornt_aff(change, ijk.shape)


def rigid(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    """4 x 4 matrix that turns about the R, A and S axes and then shifts."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def on_grid(array: np.ndarray, ijk_to_ras: np.ndarray, shape: tuple[int, int, int], onto: np.ndarray) -> np.ndarray:
    """An array (K, J, I) re-ordered onto another storage of the same grid, voxel by voxel through the world.

    Fails where the two are not the same grid: where a voxel centre would lie between those of the other.
    """
    change = np.linalg.inv(onto) @ ijk_to_ras
    np.testing.assert_allclose(change, np.rint(change), atol=1e-3)
    assert array.size == np.prod(shape)
    ijk = np.indices(array.shape).reshape(3, -1)[::-1]
    i, j, k = np.rint(change[:3, :3] @ ijk + change[:3, 3:]).astype(int)
    moved = np.empty(shape, array.dtype)
    moved[k, j, i] = array.ravel()
    return moved


def labels_of(slicer, node, volume_node) -> np.ndarray:
    """Labels (uint8, K, J, I of the volume) from a segmentation node's segments; overlapping segments are an error."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume_node).shape, np.uint8)
    for label_class in CLASSES:
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, label_class.id, volume_node) > 0
        assert not labels[mask].any()
        labels[mask] = label_class.value
    return labels


def world_affine(slicer, volume_node) -> np.ndarray:
    """IJK -> world RAS of a volume node, parent transforms included, by Slicer's own point transform."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume_node.GetParentTransformNode(), None, to_world)
    corners = [to_world.TransformPoint(matrix.MultiplyPoint((*ijk, 1))[:3]) for ijk in [(0, 0, 0), *np.eye(3)]]
    affine = np.eye(4)
    affine[:3, 3] = corners[0]
    affine[:3, :3] = (np.array(corners[1:]) - corners[0]).T
    return affine
