"""The segmentations of a volume, and the volume of a segmentation."""

from __future__ import annotations

import slicer

from .. import segment_tags, segment_voxels


def volume_of(node):
    """The FLAIR of a segmentation: the one it names, else the one loaded volume on the same grid; None if unknown."""
    if node is None:
        return None
    for role in (segment_voxels.INPUT_ROLE, node.GetReferenceImageGeometryReferenceRole()):
        volume = node.GetNodeReference(role)
        if volume is not None and volume.IsA("vtkMRMLScalarVolumeNode") and volume.GetImageData() is not None:
            return volume
    grid = segment_voxels.grid_of(node)
    if grid is None:
        return None
    for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if volume.GetClassName() != "vtkMRMLScalarVolumeNode" or volume.GetHideFromEditors():
            continue
        if volume.GetAttribute(segment_tags.FOLLOWUP):
            continue
        own = segment_voxels.grid_of(node, volume)
        if own is not None and own.matches(grid):
            return volume
    return None


def versions_of(node, volume) -> list:
    """All segmentations of the same FLAIR, oldest first; the one that is shown is always among them."""
    found = []
    for other in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if other is node or (volume is not None and _names(other, volume)):
            found.append(other)
    return found


def seconds_of(node) -> float:
    """Working time that was noted on a node: its own attribute knows more than the tags on its segments."""
    try:
        own = float(node.GetAttribute(segment_tags.ACTIVE_SECONDS) or 0)
    except ValueError:
        own = 0.0
    return max(own, segment_tags.number(node, segment_tags.ACTIVE_SECONDS))


def _names(node, volume) -> bool:
    roles = (segment_voxels.INPUT_ROLE, node.GetReferenceImageGeometryReferenceRole())
    return any(node.GetNodeReferenceID(role) == volume.GetID() for role in roles)
