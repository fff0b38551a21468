"""Slicer's segment editor widget, kept from observing views while it has no editor node.

The widget assumes that it has an editor node while it observes views: when the layout changes, for instance when the
scene is closed, it asks the node for the source volume, and Slicer crashes if there is none. It starts to observe views
when an effect becomes active, and stops when none is. This class sets the node first, and removes it only after effect
and observations. All editors of FlairSeg are used through it.
"""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk
from slicer.util import VTKObservationMixin

UNDO_STATES = 10


class GuardedEditor(VTKObservationMixin):
    """Sets and removes node and effect of a segment editor in a safe order.

    Parameters
    ----------
    widget : qMRMLSegmentEditorWidget
        Its node and view observations are set by this class alone; selectors and segment buttons are hidden.
    effects : sequence of str
        Names of the effects to show, in order.
    """

    def __init__(self, widget, effects: Sequence[str]) -> None:
        super().__init__()
        self.widget = widget
        widget.setMRMLScene(slicer.mrmlScene)
        # The panels show the volume without fitting the views; and it would ask a node that may no longer exist.
        widget.setAutoShowSourceVolumeNode(False)
        widget.setSegmentationNodeSelectorVisible(False)
        widget.setSourceVolumeNodeSelectorVisible(False)
        widget.setSwitchToSegmentationsButtonVisible(False)
        widget.setAddRemoveSegmentButtonsVisible(False)
        widget.setEffectNameOrder(list(effects))
        widget.unorderedEffectsVisible = False
        widget.setMaximumNumberOfUndoStates(UNDO_STATES)

    @property
    def node(self):
        """The editor node; None if there is none."""
        return self.widget.mrmlSegmentEditorNode()

    def set_node(self, node) -> None:
        """Give the widget an editor node of the scene."""
        if node is self.node:
            return
        self.let_go()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._scene_closes)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._node_goes)
        self.widget.setMRMLSegmentEditorNode(node)

    def put_away(self) -> None:
        """Deactivate the effect, which ends the observation of views."""
        if self.node is not None:
            self.widget.setActiveEffectByName("")

    def forget_history(self) -> None:
        """Drop all states of undo: Slicer does so for another segmentation only, not for none."""
        node = self.node
        if node is None:
            return
        self.put_away()
        scene, segmentation = node.GetScene(), node.GetSegmentationNode()
        other = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
        other.UnRegister(None)
        other.SetHideFromEditors(True)
        scene.AddNode(other)
        try:
            node.SetAndObserveSegmentationNode(other)
            node.SetAndObserveSegmentationNode(segmentation)
        finally:
            scene.RemoveNode(other)

    def let_go(self) -> None:
        """Deactivate the effect, end the observation of views, then remove the node."""
        self.removeObservers()
        self.put_away()
        # While the scene is closed, the widget does not follow changes of its node.
        self.widget.removeViewObservations()
        self.widget.setMRMLSegmentEditorNode(None)

    def _scene_closes(self, caller=None, event=None) -> None:
        self.let_go()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_goes(self, caller=None, event=None, node=None) -> None:
        if node is not None and node is self.node:
            self.let_go()
