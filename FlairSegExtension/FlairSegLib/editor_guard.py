"""Slicer's segment editor widget, kept from observing views while it has no editor node.

The widget takes for granted that it has a node whenever it observes views: when the layout changes, which closing the
scene does, it asks the node for the source volume, and Slicer ends if there is none. It begins to observe views itself
when an effect becomes active, so nobody else has to, and ends it when no effect is. Here the node comes first, and goes
only after effect and observations, whoever removes it. All of FlairSeg's editors are used through this class.
"""

from __future__ import annotations

import slicer
import vtk
from slicer.util import VTKObservationMixin


class GuardedEditor(VTKObservationMixin):
    """The order in which a segment editor gets its node, an effect, and loses them again.

    Parameters
    ----------
    widget : qMRMLSegmentEditorWidget
        Nobody else sets its node or its view observations.
    """

    def __init__(self, widget) -> None:
        super().__init__()
        self.widget = widget
        widget.setMRMLScene(slicer.mrmlScene)
        # The panels show the volume, without fitting the views anew; and this is what asks a node that may be gone.
        widget.setAutoShowSourceVolumeNode(False)

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
        """No effect is active any more, no view is observed."""
        if self.node is not None:
            self.widget.setActiveEffectByName("")

    def let_go(self) -> None:
        """Put the effect away, end the observations of views, then take the node away."""
        self.removeObservers()
        self.put_away()
        # While the scene closes, the widget does not follow its node.
        self.widget.removeViewObservations()
        self.widget.setMRMLSegmentEditorNode(None)

    def _scene_closes(self, caller=None, event=None) -> None:
        self.let_go()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_goes(self, caller=None, event=None, node=None) -> None:
        if node is not None and node is self.node:
            self.let_go()
