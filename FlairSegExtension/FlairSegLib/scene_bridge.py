"""Volume node -> :class:`flairseg.volume.Volume`, and :class:`flairseg.pipeline.Segmentation` -> segmentation node.

MRML and FlairSeg speak the same frame: arrays K, J, I as ``slicer.util`` gives them, affines I, J, K -> RAS in mm. So
the voxels are handed over as they lie in the node, never as they lie in a file (Slicer re-orders the slices of
left-handed NIfTI files when it loads them), and nothing is flipped or resampled in either direction.
"""

from __future__ import annotations

import re

import numpy as np
import slicer
import vtk
from flairseg.errors import InputNotFoundError, InvalidGeometryError, UnsupportedImageError
from flairseg.labels import CLASSES
from flairseg.volume import Volume


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
    _check_volume_node(volume_node)
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return Volume(
        slicer.util.arrayFromVolume(volume_node).copy(),
        _world_matrix(volume_node) @ slicer.util.arrayFromVTKMatrix(matrix),
        volume_node.GetName(),
    )


def segmentation_to_node(segmentation, volume_node):
    """A new segmentation node that lies on a volume node, with one segment per class.

    Ids, names, colours and terminology are those of :data:`flairseg.labels.CLASSES`; a class without a voxel becomes an
    empty segment. The volume's grid is the node's reference geometry, and the node gets the volume's parent transform,
    so that it stays on the image wherever that goes. Nothing is overwritten: every call makes a node of its own, named
    ``<volume> segmentation v<N>`` with the next free N.

    Parameters
    ----------
    segmentation : flairseg.pipeline.Segmentation
        Its ``labels``: uint8, (K, J, I), on the volume node's grid. Where they come from, the device that was used and
        the warnings are noted on the node.
    volume_node : vtkMRMLScalarVolumeNode
        The node that was segmented.

    Returns
    -------
    vtkMRMLSegmentationNode
        Segments carry the tags ``FlairSeg.model``, ``.model_sha256``, ``.version``, ``.created`` (UTC, ISO 8601),
        ``.algorithm_type`` and ``.verdict``; the node carries the attributes ``FlairSeg.device`` and
        ``FlairSeg.warnings`` (one per line).

    Raises
    ------
    InputNotFoundError, UnsupportedImageError, InvalidGeometryError
        As :func:`volume_from_node`, for a volume that was changed or deleted while it was being segmented.
    InvalidGeometryError
        The labels are not on the volume node's grid.
    """
    from flairseg.writing import provenance_tags  # loads the pipeline, which has run by now

    _check_volume_node(volume_node)
    labels = segmentation.labels
    grid = slicer.util.arrayFromVolume(volume_node).shape
    if labels.shape != grid:
        # Slicer would accept any shape, and show it in the wrong place.
        raise InvalidGeometryError(
            f"The labels have {labels.shape} voxels (K, J, I), the volume has {grid}.",
            "Segment the volume again: its grid has changed since.",
        )
    scene = volume_node.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", _next_version_name(scene, volume_node.GetName()))
    try:
        _fill(node, labels, volume_node, {**provenance_tags(segmentation), "FlairSeg.verdict": "pending"})
        node.SetAttribute("FlairSeg.device", segmentation.device_used)
        node.SetAttribute("FlairSeg.warnings", "\n".join(segmentation.warnings))
    except BaseException:
        scene.RemoveNode(node.GetDisplayNode())
        scene.RemoveNode(node)
        raise
    _file_beside(node, volume_node)
    return node


def _check_volume_node(node) -> None:
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


def _world_matrix(node) -> np.ndarray:
    """Parent transforms of a node as one 4 x 4 matrix, local RAS -> world RAS."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise InvalidGeometryError(
            f"'{node.GetName()}' is under a transform that bends it (non-linear).",
            "Harden the transform in the module Transforms, then segment the hardened volume.",
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _next_version_name(scene, volume_name: str) -> str:
    """``<volume> segmentation v<N>``, N one above the highest in the scene, so that no version's name is used again."""
    pattern = re.compile(re.escape(volume_name) + r" segmentation v(\d+)")
    names = (node.GetName() or "" for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene))
    versions = [int(match[1]) for match in map(pattern.fullmatch, names) if match]
    return f"{volume_name} segmentation v{max(versions, default=0) + 1}"


def _fill(node, labels: np.ndarray, volume_node, tags: dict[str, str]) -> None:
    node.CreateDefaultDisplayNodes()
    # First of all: Slicer moves the grid and the voxels that follow from the volume's frame into the segmentation's. A
    # grid set earlier would be another one, to which Slicer resamples the voxels when it saves them.
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    contents = node.GetSegmentation()
    for label_class in CLASSES:
        contents.AddEmptySegment(label_class.id, label_class.name, label_class.rgb_unit)
        segment = contents.GetSegment(label_class.id)
        segment.SetTerminology(label_class.terminology_entry)
        # Ours: Slicer shall not replace them by those of the terminology.
        segment.SetNameAutoGenerated(False)
        segment.SetColorAutoGenerated(False)
        for key, value in tags.items():
            segment.SetTag(key, value)
        mask = (labels == label_class.value).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, label_class.id, volume_node)
    # The classes exclude each other: one shared layer is what Slicer's editor would keep, and a third of the file.
    contents.CollapseBinaryLabelmaps(False)


def _file_beside(node, volume_node) -> None:
    """Put the node beside its volume in the subject hierarchy (patient, study), where DICOM export looks for it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    if hierarchy is None:
        return
    item, sibling = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volume_node)
    if item and sibling:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(sibling))
