"""Correct: Slicer's own Segment Editor, ready to paint on the right segment; the one place where voxels are changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.labels import LESION
from slicer.i18n import tr as _

from .. import drawing, keys, segment_voxels
from ..editor_guard import GuardedEditor
from . import messages

if TYPE_CHECKING:
    import numpy as np
    from flairseg.image.geometry import VolumeGeometry
    from flairseg.lesions.boxes import Box

#: Our own editor nodes, so that the Segment Editor module keeps its settings. Each panel has one of its own: an effect
#: that is active in a node is active in every widget that has the node.
EDITOR_TAG, REVIEW_TAG, REFERENCE_TAG = "FlairSegSegmentEditor", "FlairSegReviewEditor", "FlairSegReferenceEditor"
PAINT, ERASE = "Paint", "Erase"
_EFFECTS = [PAINT, "Draw", ERASE, "Islands", "Smoothing", "Margin", "Scissors", "Threshold"]


class EditorSection:
    """The embedded editor, and edits by command in the same undo history.

    The editor gets a segmentation when first needed, which takes a tenth of a second: a result is seen
    and counted before.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegResult.ui``.
    section : ctkCollapsibleButton, optional
        In which the editor is: while it is collapsed, nobody needs the editor before the first edit.
    tag : str
        Singleton tag of the editor node.
    """

    def __init__(self, ui, section=None, tag: str = EDITOR_TAG) -> None:
        self.ui = ui
        self._tag = tag
        self._section = section
        self._node = self._volume = None
        self._segment = ""
        self._locked = False
        editor = ui.segmentEditor
        self._guard = GuardedEditor(editor, _EFFECTS)
        # The panel's own table of segments has more columns than the editor's; its frame would stay as an empty area.
        for name in ("SegmentsTableResizableFrame", "SegmentsTableView"):
            for part in slicer.util.findChildren(editor, name=name):
                part.setVisible(False)
        self._history = [
            (getattr(ui, own), next(iter(slicer.util.findChildren(editor, name=name)), None))
            for own, name in (("undoButton", "UndoButton"), ("redoButton", "RedoButton"))
            if hasattr(ui, own)
        ]
        if self._history:
            # One pair of buttons for undo and redo: that of the panel, which stays in view. The editor's own, hidden
            # then, go on to know what can be undone.
            editor.setUndoEnabled(False)
        self._preparation = qt.QTimer()
        self._preparation.setSingleShot(True)
        self._preparation.setInterval(0)
        self._preparation.timeout.connect(self._bind)
        if section is not None:
            section.contentsCollapsed.connect(lambda collapsed=False: self.prepare())

    @property
    def editable(self) -> bool:
        """Whether voxels may be changed now."""
        return self._node is not None and not self._locked

    @property
    def effect(self) -> str:
        """Name of the active effect; empty if there is none."""
        node = self._guard.node
        return (node.GetActiveEffectName() or "") if node is not None else ""

    @property
    def waiting(self) -> bool:
        """Whether the editor is about to get the segmentation."""
        return self._preparation.isActive()

    def show(self, node, volume_node) -> None:
        """Edit a segmentation node (None: nothing) on its volume."""
        self._preparation.stop()
        self._node, self._volume = node, volume_node
        self._segment = ""
        if node is None or not self._bound:
            # The brush would continue in the previous segmentation.
            self._guard.let_go()
        if node is not None:
            # Every node that is added draws the views; here they are drawn anyway.
            self._editor_node()
            segments = segment_voxels.segments_by_class(node)
            self._segment = segments.get(LESION) or next(iter(segments.values()), "")
            if self._section is None or self._bound:
                self._bind()
        self._update()

    def prepare(self) -> None:
        """Set the editor's segmentation in the next cycle of the event loop, if it is visible."""
        seen = self._section is None or not self._section.collapsed
        if seen and self._node is not None and not self._bound:
            self._preparation.start()

    def forget(self) -> None:
        """The scene is closing."""
        self._preparation.stop()
        self._node = self._volume = None
        self._guard.let_go()
        self._update()

    def enter(self) -> None:
        """The module is shown."""
        self.prepare()

    def exit(self) -> None:
        """Another module is shown: put the brush away."""
        self._preparation.stop()
        self.use("")

    def cleanup(self) -> None:
        """Release the scene."""
        self._preparation.stop()
        self._node = self._volume = None
        self._guard.let_go()
        self._update()

    def lock(self, locked: bool) -> None:
        """Make the segmentation read-only, or editable again."""
        self._locked = locked
        if locked:
            self._guard.put_away()
        self.ui.segmentEditor.setReadOnly(locked)
        self._update()

    def select(self, segment_id: str) -> None:
        """Paint on that segment."""
        if self._node is not None:
            self._segment = segment_id
            if self._bound:
                self.ui.segmentEditor.setCurrentSegmentID(segment_id)
            self._update()

    def use(self, effect: str) -> None:
        """Take up a tool, or put it away (empty)."""
        if effect and self.editable and self._volume is not None:
            self._bind()
            self._ensure_painting_is_safe()
            self.ui.segmentEditor.setActiveEffectByName(effect)
        else:
            self._guard.put_away()
        self._update()

    def apply(self, grid: VolumeGeometry, box: Box, before: np.ndarray, after: np.ndarray) -> bool:
        """Change voxels, so that the editor's Undo takes it back; whether that was possible.

        Parameters as for :func:`FlairSegLib.segment_voxels.write`.
        """
        if not self.editable:
            return False
        with drawing.once():
            self._bind()
            self.ui.segmentEditor.saveStateForUndo()
            segment_voxels.write(self._node, grid, box, before, after)
        self.show_history()
        return True

    def undo(self) -> None:
        """Undo the last stroke or command."""
        if self.editable and self._bound:
            with drawing.once():
                self.ui.segmentEditor.undo()
        self.show_history()

    def redo(self) -> None:
        """Redo what was undone."""
        if self.editable and self._bound:
            with drawing.once():
                self.ui.segmentEditor.redo()
        self.show_history()

    def forget_history(self) -> None:
        """The segmentation's own grid has changed: what Undo would bring back was drawn in another place."""
        if self._bound:
            self._guard.forget_history()
            self._bind()

    def show_history(self) -> None:
        """Enable the panel's undo and redo where there is something to undo or redo."""
        usable = self.editable and self._bound
        for button, editors in self._history:
            # Enabled by itself: what the editor's is laid in is hidden, and may be disabled.
            button.setEnabled(usable and (editors is None or editors.isEnabledTo(editors.parentWidget())))

    @property
    def _bound(self) -> bool:
        """Whether the editor edits what is shown."""
        node = self._guard.node
        return node is not None and node.GetSegmentationNode() is self._node

    def _bind(self) -> None:
        """Set the editor's segmentation, unless it is set."""
        if self._node is None:
            return
        with drawing.once():
            if not self._bound:
                self._ensure_editor_node()
            self.ui.segmentEditor.setSourceVolumeNode(self._volume)
            if self._segment:
                self.ui.segmentEditor.setCurrentSegmentID(self._segment)
        self._update()

    def _editor_node(self):
        """Our node in the scene; made if there is none."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(self._tag, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(self._tag)
            node = scene.AddNode(node)
        return node

    def _ensure_editor_node(self) -> None:
        node = self._editor_node()
        self._guard.let_go()
        # Before the widget sees the node: it then follows once.
        with slicer.util.NodeModify(node):
            node.SetActiveEffectName("")
            node.SetAndObserveSegmentationNode(self._node)
            node.SetAndObserveSourceVolumeNode(self._volume)
        self._guard.set_node(node)
        self._ensure_painting_is_safe()

    def _ensure_painting_is_safe(self) -> None:
        """A class takes voxels from the others; no mask of an earlier use hides part of the image from the brush."""
        node = self._guard.node
        if node is None:
            return
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
        node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        node.SetSourceVolumeIntensityMask(False)

    def _update(self) -> None:
        usable = self.editable and self._volume is not None
        self.ui.segmentEditor.setEnabled(usable)
        self.show_history()
        if self._node is None:
            messages.hide(self.ui.editorMessageLabel)
        elif self._volume is None:
            messages.show(
                self.ui.editorMessageLabel,
                messages.INFO,
                _("Load the FLAIR that belongs to this segmentation, then it can be edited here."),
            )
        elif self._locked:
            messages.quiet(self.ui.editorMessageLabel, _("Read-only after the verdict. Reopen it to edit again."))
        else:
            chosen = self.ui.segmentEditor.currentSegmentID() if self._bound else self._segment
            segment = self._node.GetSegmentation().GetSegment(chosen or "")
            name = segment.GetName() if segment is not None else "–"
            messages.quiet(
                self.ui.editorMessageLabel,
                _("The brush draws: {name}. Keys: {paint} paint, {erase} erase, {look} close.").format(
                    name=name, paint=keys.PAINT, erase=keys.ERASE, look=keys.LOOK
                ),
            )
