"""Stand-in for ``slicer.qMRMLSegmentEditorWidget``: its look is ours, the editing Slicer's own.

Undo history, overwrite modes and masks are those of ``vtkSlicerSegmentEditorLogic``; only the mouse is missing, for
which :func:`brush` paints or erases a sphere through the active effect.
"""

from __future__ import annotations

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal
from vtk.util.numpy_support import vtk_to_numpy

from .mrml_widgets import Observer, _SceneWidget, qMRMLNodeComboBox
from .standin import kept, kept_with_setter
from .strict import Guarded

_EFFECTS = ("Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Threshold", "Margin", "Islands", "Scissors")
_DEFAULT_PARAMETERS = {
    "BrushAbsoluteDiameter": "5",
    "BrushRelativeDiameter": "3",
    "BrushDiameterIsRelative": "1",
    "BrushSphere": "0",
}


class EditorWouldEndSlicer(RuntimeError):
    """What ends the application itself: views are observed, and there is no editor node."""


class Effect(Guarded):
    """A segment editor effect, with the parameters that Slicer keeps in the editor node.

    Parameters
    ----------
    editor : qMRMLSegmentEditorWidget
        The editor it belongs to.
    name : str
        Its name, as for ``setActiveEffectByName``.
    """

    STANDS_FOR = "qSlicerSegmentEditorAbstractEffect"

    def __init__(self, editor, name: str) -> None:
        self._editor = editor
        self.name = name

    def _attribute(self, name: str) -> str:
        return name if name in _DEFAULT_PARAMETERS else f"{self.name}.{name}"

    def parameter(self, name: str) -> str:
        node = self._editor.mrmlSegmentEditorNode()
        return node.GetAttribute(self._attribute(name)) or _DEFAULT_PARAMETERS.get(name, "")

    def setParameter(self, name: str, value) -> None:
        self._editor.mrmlSegmentEditorNode().SetAttribute(self._attribute(name), str(value))

    def setCommonParameter(self, name: str, value) -> None:
        self._editor.mrmlSegmentEditorNode().SetAttribute(name, str(value))

    def integerParameter(self, name: str) -> int:
        return int(self.parameter(name) or 0)

    def doubleParameter(self, name: str) -> float:
        return float(self.parameter(name) or 0)

    def saveStateForUndo(self) -> None:
        self._editor.editor_logic().SaveStateForUndo()

    def self(self):
        return self


class qMRMLSegmentEditorWidget(_SceneWidget, QtWidgets.QWidget):
    """Slicer's segment editor: selectors, table of segments, effects, undo and redo."""

    mrmlSceneChanged = Signal(object)
    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    currentSegmentIDChanged = Signal(str)
    HARNESS_NAMES = ("_view_observations", "editor_logic")

    unorderedEffectsVisible = kept(bool, "unorderedEffectsVisible", True, then="_redraw")
    autoShowSourceVolumeNode, setAutoShowSourceVolumeNode = kept_with_setter(bool, "autoShowSourceVolumeNode", True)
    switchToSegmentationsButtonVisible, setSwitchToSegmentationsButtonVisible = kept_with_setter(
        bool, "switchToSegmentationsButtonVisible", True, then="_redraw"
    )
    segmentationNodeSelectorVisible, setSegmentationNodeSelectorVisible = kept_with_setter(
        bool, "segmentationNodeSelectorVisible", True, then="_redraw"
    )
    sourceVolumeNodeSelectorVisible, setSourceVolumeNodeSelectorVisible = kept_with_setter(
        bool, "sourceVolumeNodeSelectorVisible", True, then="_redraw"
    )
    addRemoveSegmentButtonsVisible, setAddRemoveSegmentButtonsVisible = kept_with_setter(
        bool, "addRemoveSegmentButtonsVisible", True, then="_redraw"
    )
    effectButtonStyle, setEffectButtonStyle = kept_with_setter(int, "effectButtonStyle", 2)
    effectColumnCount, setEffectColumnCount = kept_with_setter(int, "effectColumnCount", 5, then="_redraw")
    readOnly, setReadOnly = kept_with_setter(bool, "readOnly", False, then="_locked")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._node = None
        self._order = []
        self._view_observations = False
        self._active = None
        self._shortcuts = []
        self._scene_observer = Observer(self)
        self._node_observer, self._segmentation_observer = Observer(self), Observer(self)
        self._logic_observer = Observer(self)
        self._logic_observer.observe(
            self._logic, slicer.vtkSlicerSegmentEditorLogic.SegmentationHistoryChangedEvent, self._history_changed
        )
        self._build()

    # What it looks like

    def _build(self):
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        form = QtWidgets.QGridLayout()
        self._segmentation_selector, self._volume_selector = qMRMLNodeComboBox(), qMRMLNodeComboBox()
        self._selector_labels = QtWidgets.QLabel("Segmentation:"), QtWidgets.QLabel("Source volume:")
        for row, (label, selector, kind, name) in enumerate(
            zip(
                self._selector_labels,
                (self._segmentation_selector, self._volume_selector),
                ("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode"),
                ("SegmentationNodeComboBox", "SourceVolumeNodeComboBox"),
                strict=True,
            )
        ):
            selector.setObjectName(name)
            selector.noneEnabled = True
            selector.nodeTypes = [kind]
            form.addWidget(label, row, 0)
            form.addWidget(selector, row, 1)
        self._segmentation_selector.currentNodeChanged.connect(self.setSegmentationNode)
        self._volume_selector.currentNodeChanged.connect(self.setSourceVolumeNode)
        column.addLayout(form)
        self._table = QtWidgets.QTableWidget(0, 3)
        self._table.setObjectName("SegmentsTableView")
        self._table.setHorizontalHeaderLabels(["", "", "Name"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.verticalHeader().hide()
        self._table.setColumnWidth(0, 26)
        self._table.setColumnWidth(1, 26)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setMaximumHeight(120)
        self._table.itemSelectionChanged.connect(self._row_chosen)
        column.addWidget(self._table)
        self._effects_box = QtWidgets.QGroupBox("Effects")
        self._effects_grid = QtWidgets.QGridLayout(self._effects_box)
        self._effects_grid.setSpacing(1)
        column.addWidget(self._effects_box)
        self._effects = {name: Effect(self, name) for name in _EFFECTS}
        self._buttons = {}
        for name in ("", *_EFFECTS):
            button = QtWidgets.QToolButton()
            button.setObjectName(name or "NullEffect")
            button.setText(name or "None")
            button.setCheckable(True)
            button.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextOnly)
            button.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda _checked=False, name=name: self.setActiveEffectByName(name))
            self._buttons[name] = button
        self._undo_redo_box = QtWidgets.QFrame()
        self._undo_redo_box.setObjectName("UndoRedoGroupBox")
        row = QtWidgets.QHBoxLayout(self._undo_redo_box)
        self._undo, self._redo = QtWidgets.QToolButton(), QtWidgets.QToolButton()
        for button, name, slot in ((self._undo, "Undo", self.undo), (self._redo, "Redo", self.redo)):
            button.setText(name)
            button.setObjectName(f"{name}Button")
            button.setEnabled(False)
            button.clicked.connect(lambda _checked=False, slot=slot: slot())
            row.addWidget(button)
        row.addStretch()
        column.addWidget(self._undo_redo_box)
        self._redraw()

    def _redraw(self, *_):
        for selector, label, visible in zip(
            (self._segmentation_selector, self._volume_selector),
            self._selector_labels,
            (self.segmentationNodeSelectorVisible, self.sourceVolumeNodeSelectorVisible),
            strict=True,
        ):
            selector.setVisible(visible)
            label.setVisible(visible)
        names = ["", *self._order]
        if self.unorderedEffectsVisible:
            names += [name for name in _EFFECTS if name not in self._order]
        for name, button in self._buttons.items():
            self._effects_grid.removeWidget(button)
            button.setVisible(name in names)
            button.setParent(self._effects_box)
        for place, name in enumerate(names):
            if name in self._buttons:
                self._effects_grid.addWidget(self._buttons[name], *divmod(place, max(self.effectColumnCount, 1)))
                self._buttons[name].show()
        editable = self.segmentationNode() is not None and self.sourceVolumeNode() is not None and not self.readOnly
        self._effects_box.setEnabled(editable)

    def updateWidgetFromMRML(self):
        """Shows what the editor node says; as in Slicer nothing while the scene closes or takes in many nodes."""
        if self._node is None or self._scene is None or self._scene.IsClosing() or self._scene.IsBatchProcessing():
            return
        for selector, node in (
            (self._segmentation_selector, self.segmentationNode()),
            (self._volume_selector, self.sourceVolumeNode()),
        ):
            blocked = selector.blockSignals(True)
            selector.setCurrentNode(node)
            selector.blockSignals(blocked)
        self._fill_table()
        active = self._node.GetActiveEffectName() or ""
        for name, button in self._buttons.items():
            button.setChecked(name == active)
        if active != self._active:
            self._active = active
            self.setupViewObservations() if active else self.removeViewObservations()
        self._history_changed()
        self._redraw()

    def _fill_table(self):
        node = self.segmentationNode()
        ids = list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []
        blocked = self._table.blockSignals(True)
        self._table.setRowCount(len(ids))
        current = self.currentSegmentID()
        for row, segment_id in enumerate(ids):
            segment = node.GetSegmentation().GetSegment(segment_id)
            display = node.GetDisplayNode()
            shown = display is None or display.GetSegmentVisibility(segment_id)
            cells = [QtWidgets.QTableWidgetItem(text) for text in ("", "", segment.GetName())]
            cells[0].setIcon(_eye(shown))
            cells[1].setData(QtCore.Qt.ItemDataRole.DecorationRole, QtGui.QColor.fromRgbF(*segment.GetColor()))
            for column, cell in enumerate(cells):
                cell.setData(QtCore.Qt.ItemDataRole.UserRole, segment_id)
                self._table.setItem(row, column, cell)
            self._table.setRowHeight(row, 22)
            if segment_id == current:
                self._table.selectRow(row)
        self._table.blockSignals(blocked)

    def _row_chosen(self):
        items = self._table.selectedItems()
        if items:
            self._select(items[0].data(QtCore.Qt.ItemDataRole.UserRole))

    # Nodes

    def mrmlScene(self):
        return self._scene

    def editor_logic(self):
        """Slicer's logic behind the widget, for tests."""
        return self._logic

    def _scene_set(self):
        self._logic.SetMRMLScene(self._scene)
        self._scene_observer.release()
        if self._scene is not None:
            self._scene_observer.observe(self._scene, self._scene.NodeRemovedEvent, self._node_removed)
            slicer.app.layoutManager().layoutChanged.connect(self._layout_changed)
        self._segmentation_selector.setMRMLScene(self._scene)
        self._volume_selector.setMRMLScene(self._scene)
        if self._scene is None:
            self.setMRMLSegmentEditorNode(None)

    def mrmlSegmentEditorNode(self):
        return self._node

    def setMRMLSegmentEditorNode(self, node):
        if node is self._node:
            return
        if node is None:
            self._check_views("the editor node is taken away")
        before = self.segmentationNode()
        self._node_observer.release()
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        if node is not None:
            self._node_observer.observe(node, vtk.vtkCommand.ModifiedEvent, self._node_modified)
        self._observe_segmentation()
        if before is not self.segmentationNode():
            self.segmentationNodeChanged.emit(self.segmentationNode())
        self.updateWidgetFromMRML()

    def _node_modified(self):
        self._observe_segmentation()
        self.updateWidgetFromMRML()

    def _observe_segmentation(self):
        self._segmentation_observer.release()
        node = self.segmentationNode()
        if node is None:
            return
        segmentation = node.GetSegmentation()
        events = slicer.vtkSegmentation
        for event in (events.SegmentAdded, events.SegmentModified):
            self._segmentation_observer.observe(segmentation, event, self._fill_table)
        self._segmentation_observer.observe(segmentation, events.SegmentRemoved, self._segment_removed)

    def _segment_removed(self):
        node = self.segmentationNode()
        if node is not None and node.GetSegmentation().GetSegment(self.currentSegmentID()) is None:
            self._select("")
        self._fill_table()

    def segmentationNode(self):
        return self._node.GetSegmentationNode() if self._node is not None else None

    def segmentationNodeID(self):
        node = self.segmentationNode()
        return node.GetID() if node is not None else ""

    def setSegmentationNode(self, node):
        if self._node is None or node is self.segmentationNode():
            return
        self._logic.SetSegmentationNode(node)
        if node is not None:
            role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
            self.setSourceVolumeNode(node.GetNodeReference(role) or self.sourceVolumeNode())
            segments = node.GetSegmentation()
            if segments.GetSegment(self.currentSegmentID()) is None:
                self._select(segments.GetNthSegmentID(0) if segments.GetNumberOfSegments() else "")
        self.segmentationNodeChanged.emit(node)
        self._node_modified()

    def setSegmentationNodeID(self, node_id):
        self.setSegmentationNode(slicer.mrmlScene.GetNodeByID(node_id))

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode() if self._node is not None else None

    def setSourceVolumeNode(self, node):
        if self._node is None or node is self.sourceVolumeNode():
            return
        self._logic.SetSourceVolumeNode(node)
        self.sourceVolumeNodeChanged.emit(node)
        self.updateWidgetFromMRML()

    def setSourceVolumeNodeID(self, node_id):
        self.setSourceVolumeNode(slicer.mrmlScene.GetNodeByID(node_id))

    def currentSegmentID(self):
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def setCurrentSegmentID(self, segment_id):
        if self._node is None or segment_id == self.currentSegmentID():
            return
        # The application says nothing where the segment is set by a program.
        self._logic.SetCurrentSegmentID(segment_id)
        self._node.SetSelectedSegmentID(segment_id)
        self.updateWidgetFromMRML()

    def setUndoEnabled(self, enabled):
        # As Slicer does: the buttons come and go, the history begins anew only when they come.
        if enabled:
            self._logic.ClearUndoState()
        self._undo_redo_box.setVisible(enabled)

    def _select(self, segment_id):
        """Select a segment as the widget does by itself, which it announces."""
        if segment_id != self.currentSegmentID():
            self.setCurrentSegmentID(segment_id)
            self.currentSegmentIDChanged.emit(segment_id)

    # Effects

    def availableEffectNames(self):
        return list(_EFFECTS)

    def effectByName(self, name):
        return self._effects.get(name)

    def effectNameOrder(self):
        return list(self._order)

    def setEffectNameOrder(self, names):
        self._order = list(names)
        self._redraw()

    def activeEffect(self):
        return self._effects.get(self._node.GetActiveEffectName()) if self._node is not None else None

    def setActiveEffect(self, effect):
        self.setActiveEffectByName(effect.name if effect is not None else "")

    def setActiveEffectByName(self, name):
        if self._node is None:
            return
        name = name or ""
        if name and name not in self._effects:
            raise ValueError(f"no such effect in the stand-in: {name}")
        self._node.SetActiveEffectName(name)
        self.updateWidgetFromMRML()

    # Undo

    def maximumNumberOfUndoStates(self):
        return self._logic.GetMaximumNumberOfUndoStates()

    def setMaximumNumberOfUndoStates(self, states):
        self._logic.SetMaximumNumberOfUndoStates(states)

    def saveStateForUndo(self):
        self._logic.SaveStateForUndo()

    def undo(self):
        self._logic.Undo()
        self._history_changed()

    def redo(self):
        self._logic.Redo()
        self._history_changed()

    def _history_changed(self):
        self._undo.setEnabled(bool(not self.readOnly and self._logic.CanUndo()))
        self._redo.setEnabled(bool(not self.readOnly and self._logic.CanRedo()))

    def _locked(self, locked):
        # As Slicer does: the widget is shown anew only where it has a node.
        if locked:
            self.setActiveEffect(None)
        self.updateWidgetFromMRML()
        self._redraw()

    # Views and keys

    def setupViewObservations(self):
        self._view_observations = True
        if self._node is None:
            self._check_views("observations are set up without an editor node")

    def removeViewObservations(self):
        self._view_observations = False

    def _check_views(self, what: str) -> None:
        if self._view_observations:
            raise EditorWouldEndSlicer(f"{what} while the editor observes views")

    def _layout_changed(self, _layout=0):
        if self._node is None:
            self._check_views("the layout changed without an editor node")

    def _node_removed(self):
        # Slicer's widget holds its node weakly.
        if self._node is not None and self._node.GetScene() is None:
            observed, self._view_observations = self._view_observations, False
            self.setMRMLSegmentEditorNode(None)
            if observed:
                raise EditorWouldEndSlicer("the editor node left the scene while the editor observes views")

    def installKeyboardShortcuts(self, parent=None):
        self.uninstallKeyboardShortcuts()
        parent = parent or slicer.util.mainWindow() or self.window()
        for key, slot in (("Ctrl+Z", self.undo), ("Ctrl+Y", self.redo), ("Escape", self._no_effect)):
            shortcut = QtGui.QShortcut(QtGui.QKeySequence(key), parent)
            shortcut.activated.connect(slot)
            self._shortcuts.append(shortcut)

    def _no_effect(self):
        self.setActiveEffectByName("")

    def uninstallKeyboardShortcuts(self):
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []

    undoEnabled = Property(bool, lambda self: self.maximumNumberOfUndoStates() > 0)


def _eye(open_: bool) -> QtGui.QIcon:
    """The mark of a visible or hidden segment."""
    pixmap = QtGui.QPixmap(16, 16)
    pixmap.fill(QtCore.Qt.GlobalColor.transparent)
    painter = QtGui.QPainter(pixmap)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    painter.setPen(QtGui.QColor(60, 60, 60))
    painter.drawEllipse(1, 4, 14, 8)
    if open_:
        painter.setBrush(QtGui.QColor(60, 60, 60))
        painter.drawEllipse(6, 6, 4, 4)
    painter.end()
    return QtGui.QIcon(pixmap)


def observes_views(editor) -> bool:
    """Whether the mouse in the views reaches an editor."""
    return editor._view_observations


def brush(editor, ras: tuple[float, float, float], radius_mm: float) -> int:
    """Press the mouse once with the active effect, Paint or Erase, in a sphere.

    Parameters
    ----------
    editor : qMRMLSegmentEditorWidget
        With segmentation, source volume, current segment and active effect set.
    ras : tuple of float
        Centre in world RAS, mm.
    radius_mm : float
        Radius.

    Returns
    -------
    int
        Voxels under the brush.

    Raises
    ------
    RuntimeError
        Where a user could not have painted: no effect, segment, segmentation or volume.
    """
    effect = editor.activeEffect()
    if effect is None or effect.name not in ("Paint", "Erase"):
        raise RuntimeError("neither Paint nor Erase is active")
    if editor.segmentationNode() is None or editor.sourceVolumeNode() is None or not editor.currentSegmentID():
        raise RuntimeError("nothing to paint on: no segmentation, source volume or segment is chosen")
    logic = editor.editor_logic()
    logic.UpdateReferenceGeometryImage()
    logic.ResetModifierLabelmapToDefault()
    modifier = logic.GetModifierLabelmap()
    voxels = _fill_sphere(modifier, _to_segmentation(editor.segmentationNode(), ras), radius_mm)
    effect.saveStateForUndo()
    mode = logic.ModificationModeAdd if effect.name == "Paint" else logic.ModificationModeRemove
    logic.ModifySegmentByLabelmap(editor.segmentationNode(), editor.currentSegmentID(), modifier, mode, False, False)
    return voxels


def _to_segmentation(node, ras):
    """A point of the world in the segmentation's own frame, which may be under a transform."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, node.GetParentTransformNode(), transform)
    return transform.TransformPoint(ras)


def _fill_sphere(labelmap, centre, radius_mm: float) -> int:
    import numpy as np

    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
    k, j, i = np.ogrid[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
    squared = sum(
        (affine[r, 0] * i + affine[r, 1] * j + affine[r, 2] * k + affine[r, 3] - centre[r]) ** 2 for r in range(3)
    )
    under = squared <= radius_mm**2
    scalars = labelmap.GetPointData().GetScalars()
    vtk_to_numpy(scalars)[:] = under.ravel()
    scalars.Modified()
    labelmap.Modified()
    return int(under.sum())
