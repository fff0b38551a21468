"""Slice and 3D views of a segmentation: position, opacity, surface on demand."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from . import drawing

#: Width of what is shown when zoomed to a lesion: the lesion with its surroundings, mm.
ZOOM_MINIMUM_MM = 45.0
ZOOM_FACTOR = 3.0


def center_on(point_world: tuple[float, float, float]) -> None:
    """Show a point (world RAS, mm) in the middle of all slice views."""
    node = slicer.vtkMRMLSliceNode
    with drawing.once():
        node.JumpAllSlices(slicer.mrmlScene, *point_world, node.CenteredJumpSlice)


def to_world(node, point) -> tuple[float, float, float]:
    """A point in the frame of a node, in the world: parent transforms applied."""
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(list(point), world)
    return tuple(world)


def ijk_to_world(volume_node) -> np.ndarray:
    """Voxel indices (I, J, K) of a volume node to world RAS in mm, 4 x 4, linear parent transforms applied."""
    local, parent = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(local)
    transform = volume_node.GetParentTransformNode()
    if transform is not None:
        transform.GetMatrixTransformToWorld(parent)
    return slicer.util.arrayFromVTKMatrix(parent) @ slicer.util.arrayFromVTKMatrix(local)


def zoom_to(extent_mm: float) -> None:
    """Enlarge all slice views so that something of that size fills about a third of them; their centres stay."""
    width = max(ZOOM_MINIMUM_MM, ZOOM_FACTOR * extent_mm)
    with drawing.once():
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            x, y, z = node.GetFieldOfView()
            if min(x, y) > 0:
                scale = width / min(x, y)
                node.SetFieldOfView(x * scale, y * scale, z)


def fit() -> None:
    """Show whole slices again."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    with drawing.once():
        for name in manager.sliceViewNames():
            manager.sliceWidget(name).sliceController().fitSliceToBackground()


def display_of(node):
    """The display node of a segmentation; made if it has none."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node.GetDisplayNode()


def set_fill_opacity(node, opacity: float) -> None:
    """Strength of the coloured areas in slices, 0..1."""
    with drawing.once():
        display_of(node).SetOpacity2DFill(opacity)


def set_outline_opacity(node, opacity: float) -> None:
    """Strength of the outlines in slices, 0..1."""
    with drawing.once():
        display_of(node).SetOpacity2DOutline(opacity)


def toggle_overlay(node) -> bool:
    """Hide the colours, or show them again; whether they are shown now."""
    show_overlay(node, not display_of(node).GetVisibility())
    return bool(display_of(node).GetVisibility())


def show_overlay(node, shown: bool) -> None:
    """Show the colours, or hide them."""
    with drawing.once():
        display_of(node).SetVisibility(shown)


def set_segment_visible(node, segment_id: str, visible: bool) -> None:
    """Show or hide one segment, in slices and in 3D."""
    with drawing.once():
        display_of(node).SetSegmentVisibility(segment_id, visible)


def has_surface(node) -> bool:
    """Whether the segmentation has a closed surface to show in 3D."""
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    return bool(node.GetSegmentation().ContainsRepresentation(name))


def show_surface(node, shown: bool) -> None:
    """Make the closed surface and show it in 3D, or take it away, so that editing stays fast without it."""
    if shown:
        node.CreateClosedSurfaceRepresentation()
        display_of(node).SetVisibility3D(True)
    else:
        node.RemoveClosedSurfaceRepresentation()


def show_volume(volume_node) -> None:
    """Show a volume behind the colours, unless it is shown already."""
    if volume_node is None:
        return
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    if any(c.GetBackgroundVolumeID() == volume_node.GetID() for c in composites):
        return
    with drawing.once():
        slicer.util.setSliceViewerLayers(background=volume_node, fit=True)
