"""A segmentation follows the volume that it was made from: below transforms, out of them, and when they are hardened.

Slicer moves the node that the user moves. A result that stays behind is seen beside its lesions, and so is one that
stays below a transform that was hardened on its volume, once the transform changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from slicer.util import VTKObservationMixin

from .kept_answers import PROBABILITIES_ROLE, input_of
from .segment_voxels import INPUT_ROLE, grid_of
from .volume_nodes import local_matrix

#: Where Slicer keeps the one follower of a session: it outlives a reload of the module.
_PLACE = "flairSegFollower"
_MOVED = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
#: Affines that differ by less are the same, mm.
_SAME_MM = 1e-3


@dataclass(frozen=True)
class _Place:
    """Parent transform of a volume: node ID (empty for none), and its matrix to the world where it is linear."""

    transform: str
    to_world: np.ndarray | None


def start() -> Follower:
    """Follow all volumes of the scene and those of scenes that are loaded; does nothing if that is being done."""
    follower = getattr(slicer.modules, _PLACE, None)
    if follower is None:
        follower = Follower(slicer.mrmlScene)
        setattr(slicer.modules, _PLACE, follower)
    return follower


def stop() -> None:
    """Stop following."""
    follower = getattr(slicer.modules, _PLACE, None)
    if follower is not None:
        follower.removeObservers()
        delattr(slicer.modules, _PLACE)


def follow(segmentation_node) -> None:
    """Have a segmentation follow its volume from now on, and put it where the volume is."""
    start().follow(segmentation_node)


class Follower(VTKObservationMixin):
    """Watches the volumes that segmentations of FlairSeg name as their input.

    Parameters
    ----------
    scene : vtkMRMLScene
    """

    def __init__(self, scene) -> None:
        super().__init__()
        self._scene = scene
        self._places: dict[str, _Place] = {}
        self.addObserver(scene, scene.EndImportEvent, self._imported)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._node_goes)
        self._imported()

    def follow(self, segmentation_node) -> None:
        """See :func:`follow`."""
        volume = input_of(segmentation_node)
        if volume is None or not volume.IsA("vtkMRMLScalarVolumeNode"):
            return
        if not self.hasObserver(volume, _MOVED, self._moved):
            self.addObserver(volume, _MOVED, self._moved)
        self._places[volume.GetID()] = _place_of(volume)
        if _left_behind(segmentation_node, volume):
            _move(segmentation_node, volume.GetTransformNodeID())

    def _imported(self, caller=None, event=None) -> None:
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", self._scene):
            self.follow(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_goes(self, caller=None, event=None, node=None) -> None:
        """Release a volume: an observation keeps it, with its voxels, in memory."""
        if node is not None and self.hasObserver(node, _MOVED, self._moved):
            self.removeObserver(node, _MOVED, self._moved)
            self._places.pop(node.GetID(), None)

    def _moved(self, volume, event=None) -> None:
        before, now = self._places.get(volume.GetID()), _place_of(volume)
        self._places[volume.GetID()] = now
        if before is None or before.transform == now.transform or volume.GetScene() is None:
            return
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", self._scene):
            moved_with_it = (node.GetTransformNodeID() or "") == before.transform
            if not moved_with_it or node.GetNodeReferenceID(INPUT_ROLE) != volume.GetID():
                continue
            if not now.transform and _hardened(node, volume, before):
                _harden(node)
            elif now.transform or before.to_world is not None:
                _move(node, volume.GetTransformNodeID())


def _place_of(volume) -> _Place:
    transform = volume.GetParentTransformNode()
    if transform is None:
        return _Place("", np.eye(4))
    if not transform.IsTransformToWorldLinear():
        return _Place(transform.GetID(), None)
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return _Place(transform.GetID(), slicer.util.arrayFromVTKMatrix(matrix))


def _own_affine(node) -> np.ndarray | None:
    """Affine of a segmentation's own grid below its transform."""
    grid = grid_of(node)
    return None if grid is None else grid.ijk_to_ras


def _left_behind(node, volume) -> bool:
    """Whether a segmentation on the volume's voxels is not below the volume's transform, nor where the volume is."""
    own = _own_affine(node)
    if own is None or node.GetParentTransformNode() is volume.GetParentTransformNode():
        return False
    return np.allclose(own, local_matrix(volume), rtol=0, atol=_SAME_MM)


def _hardened(node, volume, before: _Place) -> bool:
    """Whether the transform that a volume was below is part of its grid now."""
    own = _own_affine(node)
    if own is None or before.to_world is None:
        return False
    return np.allclose(before.to_world @ own, local_matrix(volume), rtol=0, atol=_SAME_MM)


def _move(node, transform_id: str | None) -> None:
    for part in (node, node.GetNodeReference(PROBABILITIES_ROLE)):
        if part is not None:
            part.SetAndObserveTransformNodeID(transform_id)


def _harden(node) -> None:
    """Harden the transform of a segmentation. Its probabilities are read in the frame that they were made in."""
    hidden = node.GetNodeReference(PROBABILITIES_ROLE)
    node.HardenTransform()
    if hidden is not None:
        hidden.SetAndObserveTransformNodeID(None)
