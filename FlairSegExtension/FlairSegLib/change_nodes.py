"""Changes between two studies as nodes: aligned volumes, difference, lesions coloured by state.

Nothing of the user's is moved or hardened. Each study gets a second volume node that shares the voxels of the first and
is under its own transform node, which maps it to the half-way space of the studies; what was computed is
in that space itself.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from flairseg.longitudinal.states import GAINED, LOST, STATES
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from . import drawing, scene_bridge, segment_tags, views, volume_nodes
from .task_controller import in_thread

#: Colours of what a lesion that is older than the last study gained and lost: between enlarging and new, and paler than
#: shrinking.
_GAINED_RGB, _LOST_RGB = (255, 95, 60), (150, 225, 225)
#: Attribute of every node made here; its value is the study's number, or what the node shows.
KIND = segment_tags.FOLLOWUP
#: The difference image is gray where nothing changed; this many standard deviations of it span the window.
_WINDOW_SPREADS = 8.0


@dataclass(frozen=True)
class ChangeNodes:
    """Nodes of one follow-up.

    Attributes
    ----------
    studies : list of vtkMRMLScalarVolumeNode
        Aligned copies, the earliest first; they share the voxels of the originals.
    transforms : list of vtkMRMLLinearTransformNode
        Study -> half-way space, one per study.
    difference : vtkMRMLScalarVolumeNode
        The last study minus the one before, evened out in brightness.
    change : vtkMRMLSegmentationNode
        A segment for each state that occurs.
    """

    studies: list
    transforms: list
    difference: object
    change: object

    @property
    def all(self) -> list:
        """Every node."""
        return [*self.studies, self.difference, self.change, *self.transforms]

    @property
    def alive(self) -> bool:
        """Whether all of them are still in the scene."""
        return all(node.GetScene() is not None for node in self.all)


def state_names() -> dict[str, str]:
    """States in the reader's words, by their id, in the order in which they matter."""
    return {state.id: _(state.name) for state in STATES}


def segments() -> list[tuple[int, str, str, tuple[float, float, float]]]:
    """Value in the change map, id, name and colour of every segment that a change can have."""
    found = [(state.code, f"change_{state.id}", _(state.name), state.rgb) for state in STATES]
    found.append((GAINED, "change_gained", _("Gained"), _GAINED_RGB))
    found.append((LOST, "change_lost", _("Lost"), _LOST_RGB))
    return [(value, key, name, tuple(part / 255 for part in rgb)) for value, key, name, rgb in found]


def add_nodes(
    volume_nodes: list,
    to_halfway: list[np.ndarray],
    ijk_to_ras: np.ndarray,
    difference: np.ndarray,
    change: np.ndarray,
    title: str,
) -> Generator[float, None, ChangeNodes]:
    """Steps that add the nodes of a follow-up: all of them, or none.

    Parameters
    ----------
    volume_nodes : list of vtkMRMLScalarVolumeNode
        The studies, the earliest first.
    to_halfway : list of ndarray, shape (4, 4)
        Rigid motion of each, world RAS -> half-way RAS, mm.
    ijk_to_ras : ndarray, shape (4, 4)
        Half-way grid of the arrays, mm.
    difference : ndarray of float32, shape (K, J, I)
    change : ndarray of uint8, shape (K, J, I)
        Values of :data:`flairseg.longitudinal.states.CODES`.
    title : str
        Begin of the nodes' names.

    Returns
    -------
    ChangeNodes
    """
    window, present = yield from in_thread(lambda: (_window(difference), np.bincount(change.reshape(-1))))
    layer = slicer.vtkOrientedImageData()
    layer.SetDimensions(*change.shape[::-1])
    layer.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    yield from _filled(layer, change, vtk.VTK_UNSIGNED_CHAR, 0.0)
    image = vtk.vtkImageData()
    image.SetDimensions(*difference.shape[::-1])
    yield from _filled(image, difference.astype(np.float32, copy=False), vtk.VTK_FLOAT, 0.5)
    scene, added = volume_nodes[0].GetScene(), []
    try:
        studies, transforms = [], []
        for number, (volume_node, motion) in enumerate(zip(volume_nodes, to_halfway, strict=True), start=1):
            with drawing.once():
                transforms.append(_transform(scene, volume_node, motion, number))
                added.append(transforms[-1])
                studies.append(_aligned(scene, volume_node, transforms[-1], number))
                added.append(studies[-1])
            yield 0.9
        with drawing.once():
            volume = _difference(scene, image, ijk_to_ras, window, title)
            added.append(volume)
            added.append(_change(scene, layer, set(np.flatnonzero(present)), volume, title))
    except BaseException:
        for node in reversed(added):
            scene_bridge.remove(node)
        raise
    return ChangeNodes(studies, transforms, volume, added[-1])


def _filled(image, array: np.ndarray, kind: int, start: float) -> Generator[float, None, None]:
    image.AllocateScalars(kind, 1)
    target, source = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(-1), array.reshape(-1)
    for part in volume_nodes.pieces(source):
        target[part] = source[part]
        yield start + 0.4 * part.stop / max(source.size, 1)


def _window(difference: np.ndarray) -> float:
    """Width of the gray window that shows a difference image."""
    known = difference[difference != 0]
    return _WINDOW_SPREADS * float(known.std()) if known.size and known.std() > 0 else 1.0


def _transform(scene, volume_node, motion: np.ndarray, number: int):
    name = _("{volume} to half-way space").format(volume=volume_node.GetName())
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(motion))
    node.SetAttribute(KIND, str(number))
    return node


def _aligned(scene, volume_node, transform, number: int):
    name = _("{volume} aligned").format(volume=volume_node.GetName())
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    own = volume_node.GetDisplayNode()
    if own is not None:
        _show_gray(scene, node, own.GetWindow(), own.GetLevel())
    node.SetAndObserveImageData(volume_node.GetImageData())
    # The world of the original: its own parent transform is part of where it was registered.
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(views.ijk_to_world(volume_node)))
    node.SetAndObserveTransformNodeID(transform.GetID())
    if own is None:
        node.CreateDefaultDisplayNodes()
    node.SetAttribute(KIND, str(number))
    return node


def _show_gray(scene, node, window: float, level: float) -> None:
    """Give a volume node its gray window before its voxels: Slicer would go through all of them to find one."""
    display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(window, level)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    node.SetAndObserveDisplayNodeID(display.GetID())


def _difference(scene, image, ijk_to_ras: np.ndarray, window: float, title: str):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", _("{title} difference").format(title=title))
    _show_gray(scene, node, window, 0.0)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    node.SetAndObserveImageData(image)
    node.SetAttribute(KIND, "difference")
    return node


def _change(scene, layer, present: set[int], volume_node, title: str):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", _("{title} change").format(title=title))
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    name_of = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    for value, key, text, colour in segments():
        if value not in present:
            continue
        segment = slicer.vtkSegment()
        segment.SetName(text)
        segment.SetColor(*colour)
        segment.SetNameAutoGenerated(False)
        segment.SetColorAutoGenerated(False)
        segment.SetLabelValue(value)
        segment.AddRepresentation(name_of, layer)
        node.GetSegmentation().AddSegment(segment, key)
    node.SetAttribute(KIND, "change")
    # It is in the half-way space: over the user's own volumes it would be misplaced.
    node.GetDisplayNode().SetVisibility(False)
    return node
