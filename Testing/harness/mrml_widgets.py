"""Stand-ins for the qMRML widgets of the panels, on the real MRML scene.

Names, properties, signals and slots are those of Slicer (Libs/MRML/Widgets), as far as our modules use them.
"""

from __future__ import annotations

import weakref

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .ctk_widgets import ctkCollapsibleButton
from .standin import kept


class Observer:
    """Observations of VTK objects that neither keep the observing widget alive nor outlive it.

    Parameters
    ----------
    owner : QObject
        The widget that observes.
    """

    def __init__(self, owner: QtCore.QObject) -> None:
        self._tags = []
        owner.destroyed.connect(self.release)

    def observe(self, vtk_object, event, method, priority: float = 0.0) -> None:
        """Call a bound method at an event of a VTK object, as long as the method's object lives."""
        weak = weakref.WeakMethod(method)

        def call(caller, event_name):
            alive = weak()
            if alive is not None and shiboken6.isValid(alive.__self__):  # Qt may have deleted the widget already
                alive()

        self._tags.append((vtk_object, vtk_object.AddObserver(event, call, priority)))

    def release(self, *_) -> None:
        """End all observations."""
        for vtk_object, tag in self._tags:
            vtk_object.RemoveObserver(tag)
        self._tags = []

    def __del__(self) -> None:
        # Before the garbage collector empties the callbacks, which it finds through the objects' Python side although
        # the objects themselves may live on: their next event would crash.
        self.release()


class _SceneWidget:
    """What is common to widgets that have a scene (a mix-in, because their Qt base classes differ)."""

    STANDS_FOR_CPP = True
    _scene = None

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        self._scene = scene
        self._scene_set()
        self._scene_changed_to(scene)

    def _scene_changed_to(self, scene):
        self.mrmlSceneChanged.emit(scene)

    def _scene_set(self):
        """The scene is another one now."""


class qMRMLWidget(_SceneWidget, QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)

    def mrmlScene(self):
        return self._scene


class qSlicerWidget(qMRMLWidget):
    pass


class qMRMLCollapsibleButton(_SceneWidget, ctkCollapsibleButton):
    mrmlSceneChanged = Signal(object)


_SCENE_EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndBatchProcessEvent", "EndImportEvent")


class qMRMLNodeComboBox(_SceneWidget, QtWidgets.QWidget):
    """Chooses a node of the scene."""

    HARNESS_NAMES = ("inner_combo_box",)
    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    currentNodeRenamed = Signal(str)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeActivated = Signal(object)
    nodeAboutToBeRemoved = Signal(object)

    nodeTypes = kept("QStringList", "nodeTypes", (), then="_refresh")
    hideChildNodeTypes = kept("QStringList", "hideChildNodeTypes", (), then="_refresh")
    showChildNodeTypes = kept(bool, "showChildNodeTypes", True, then="_refresh")
    showHidden = kept(bool, "showHidden", False, then="_refresh")
    noneEnabled = kept(bool, "noneEnabled", False, then="_refresh")
    noneDisplay = kept(str, "noneDisplay", "None", then="_refresh")
    addEnabled = kept(bool, "addEnabled", True)
    removeEnabled = kept(bool, "removeEnabled", True)
    editEnabled = kept(bool, "editEnabled", False)
    renameEnabled = kept(bool, "renameEnabled", False)
    selectNodeUponCreation = kept(bool, "selectNodeUponCreation", True)
    baseName = kept(str, "baseName", "")
    interactionNodeSingletonTag = kept(str, "interactionNodeSingletonTag", "")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox()
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._current = None  # the node's ID
        self._attributes = []
        self._scene_observer, self._node_observer = Observer(self), Observer(self)
        self._combo.currentIndexChanged.connect(self._chosen)
        self._combo.activated.connect(lambda *_: self.nodeActivated.emit(self.currentNode()))

    def mrmlScene(self):
        return self._scene

    def _scene_changed_to(self, scene):
        """The application's node box has no signal for it."""

    # What the list holds

    def addAttribute(self, node_type, name, value=None):
        self._attributes.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type, name):
        self._attributes = [a for a in self._attributes if a[:2] != (node_type, name)]
        self._refresh()

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def _nodes(self):
        scene = self.mrmlScene()
        if scene is None:
            return []
        # Most nodes of a scene are colour tables, which need not come to Python.
        kinds = self.nodeTypes
        found = [scene.GetNthNodeByClass(i, kind) for kind in kinds for i in range(scene.GetNumberOfNodesByClass(kind))]
        if len(kinds) > 1:
            # A node may be of several of the classes; IsNodePresent is its place in the scene.
            found = sorted({node.GetID(): node for node in found}.values(), key=scene.IsNodePresent)
        return [node for node in found if self._is_listed(node)]

    def _is_listed(self, node) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if not any(
            node.IsA(kind) and (self.showChildNodeTypes or node.GetClassName() == kind) for kind in self.nodeTypes
        ):
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes):
            return False
        return all(
            node.GetAttribute(name) is not None and value in (None, "", node.GetAttribute(name))
            for kind, name, value in self._attributes
            if node.IsA(kind)
        )

    def _scene_set(self):
        self._scene_observer.release()
        if self._scene is not None:
            for event in _SCENE_EVENTS:
                self._scene_observer.observe(self._scene, getattr(slicer.vtkMRMLScene, event), self._scene_changed)
            # A scene that is being closed is followed once it is closed, and after all who observe that.
            closed = slicer.vtkMRMLScene.EndCloseEvent
            self._scene_observer.observe(self._scene, closed, self._scene_closed, priority=-1.0)
        self._refresh()

    def _scene_closed(self):
        self._refresh()

    def _scene_changed(self):
        if self._scene is not None and not self._scene.IsBatchProcessing():
            self._refresh()

    def _refresh(self, *_):
        nodes = self._nodes()
        entries = [(node.GetName() or "", node.GetID()) for node in nodes]
        if self.noneEnabled:
            entries.insert(0, (self.noneDisplay, None))
        shown = [(self._combo.itemText(i), self._combo.itemData(i)) for i in range(self._combo.count)]
        if entries != shown:
            blocked = self._combo.blockSignals(True)
            self._combo.clear()
            for text, node_id in entries:
                self._combo.addItem(text, node_id)
            self._combo.blockSignals(blocked)
            self._node_observer.release()
            for node in nodes:
                self._node_observer.observe(node, vtk.vtkCommand.ModifiedEvent, self._node_renamed)
        ids = [node_id for _, node_id in entries]
        self._become(self._current if self._current in ids else (ids[0] if ids else None))

    def _node_renamed(self):
        shown = {self._combo.itemData(i): self._combo.itemText(i) for i in range(self._combo.count)}
        if any(shown.get(node.GetID()) != node.GetName() for node in self._nodes()):
            self._refresh()

    # Which one is chosen

    def _chosen(self, index):
        self._become(self._combo.itemData(index) if index >= 0 else None)

    def _become(self, node_id):
        blocked = self._combo.blockSignals(True)
        index = next((i for i in range(self._combo.count) if self._combo.itemData(i) == node_id), -1)
        self._combo.setCurrentIndex(index)
        self._combo.blockSignals(blocked)
        if node_id == self._current:
            return
        self._current = node_id
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(node_id or "")

    def currentNode(self):
        scene = self.mrmlScene()
        return scene.GetNodeByID(self._current) if scene is not None and self._current else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None and not isinstance(node, str) else node)

    def setCurrentNodeID(self, node_id):
        self._refresh()
        listed = {self._combo.itemData(i) for i in range(self._combo.count)}
        self._become(node_id if node_id in listed else None)

    def setCurrentNodeIndex(self, index):
        node = self.nodeFromIndex(index)
        self._become(node.GetID() if node is not None else None)

    currentNodeID = Property(str, lambda self: self._current or "", setCurrentNodeID)

    def addNode(self, node_type=None):
        node = self.mrmlScene().AddNewNodeByClass(node_type or self.nodeTypes[0], self.baseName)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAdded.emit(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self):
        node = self.currentNode()
        if node is not None:
            self.nodeAboutToBeRemoved.emit(node)
            self.mrmlScene().RemoveNode(node)

    def inner_combo_box(self):
        """The combo box inside, for tests that choose as a user does."""
        return self._combo


def names() -> dict[str, type]:
    """What is to be found in the module ``slicer``."""
    return {cls.__name__: cls for cls in (qMRMLWidget, qSlicerWidget, qMRMLCollapsibleButton, qMRMLNodeComboBox)}
