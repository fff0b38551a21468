"""The segmentations of a volume, and the volume of a segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer

from .. import segment_tags, segment_voxels

if TYPE_CHECKING:
    from flairseg.image.geometry import VolumeGeometry


def volume_of(node):
    """The FLAIR of a segmentation: the one it names, else the one loaded volume on the same grid; None if unknown."""
    if node is None:
        return None
    for role in _roles(node):
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
        if _same_voxels(segment_voxels.grid_of(node, volume), grid):
            return volume
    return None


def newest_of(volume):
    """The segmentation of a FLAIR that was loaded or made last, of those that are seen; None if there is none.

    By its reference to the volume, else by its grid: one that came from a file names no volume.
    """
    for node in reversed(slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if volume is not None else []):
        if node.GetHideFromEditors() or node.GetAttribute(segment_tags.FOLLOWUP) or not _seen(node):
            continue
        if not segment_voxels.segments_by_class(node):
            continue
        named = next((v for v in map(node.GetNodeReference, _roles(node)) if v is not None), None)
        fits = _same_voxels(segment_voxels.grid_of(node, volume), segment_voxels.grid_of(node))
        if named is volume or (named is None and fits):
            return node
    return None


def versions_of(node, volume) -> list:
    """All segmentations of the same FLAIR, oldest first; the one that is shown is always among them."""
    found = []
    for other in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if other is node or (volume is not None and _names(other, volume)):
            found.append(other)
    return found


def seconds_of(node) -> float:
    """Working time that was noted on a node: its own attribute is more complete than the tags on its segments."""
    try:
        own = float(node.GetAttribute(segment_tags.ACTIVE_SECONDS) or 0)
    except ValueError:
        own = 0.0
    return max(own, segment_tags.number(node, segment_tags.ACTIVE_SECONDS))


def _names(node, volume) -> bool:
    return any(node.GetNodeReferenceID(role) == volume.GetID() for role in _roles(node))


def _roles(node) -> tuple[str, str]:
    """References of a segmentation to its volume, the most certain first."""
    return segment_voxels.INPUT_ROLE, node.GetReferenceImageGeometryReferenceRole()


def _seen(node) -> bool:
    display = node.GetDisplayNode()
    return display is not None and bool(display.GetVisibility())


def _same_voxels(one: VolumeGeometry | None, other: VolumeGeometry | None) -> bool:
    """Whether two grids have the same voxels, in whatever order their files store them."""
    if one is None or other is None or not one.voxel_volume_mm3:
        return False
    placed = one.locate(other)
    return placed is not None and placed.start == (0, 0, 0) and placed.shape == one.shape
