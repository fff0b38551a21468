"""Correct: Slicer's own Segment Editor, ready to paint on the right segment; the one place where voxels are changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
from flairseg.labels import LESION
from slicer.i18n import tr as _

from .. import keys, segment_voxels
from . import messages

if TYPE_CHECKING:
    import numpy as np
    from flairseg.image.geometry import VolumeGeometry
    from flairseg.lesions import Box

#: Our own editor node, so that the Segment Editor module keeps its settings.
EDITOR_TAG = "FlairSegSegmentEditor"
UNDO_STATES = 10
PAINT, ERASE = "Paint", "Erase"
_EFFECTS = [PAINT, "Draw", ERASE, "Islands", "Smoothing", "Margin", "Scissors", "Threshold"]


class EditorSection:
    """The embedded editor, and edits by command in the same undo history.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegResult.ui``.
    """

    def __init__(self, ui) -> None:
        self.ui = ui
        self._node = self._volume = None
        self._locked = False
        self._entered = False
        editor = ui.segmentEditor
        editor.setMRMLScene(slicer.mrmlScene)
        editor.setSegmentationNodeSelectorVisible(False)
        editor.setSourceVolumeNodeSelectorVisible(False)
        editor.setSwitchToSegmentationsButtonVisible(False)
        editor.setAddRemoveSegmentButtonsVisible(False)
        editor.setEffectNameOrder(_EFFECTS)
        editor.unorderedEffectsVisible = False
        editor.setMaximumNumberOfUndoStates(UNDO_STATES)
        # The panel's own table of segments says more than the editor's; its frame would stay as an empty area.
        for name in ("SegmentsTableResizableFrame", "SegmentsTableView"):
            for part in slicer.util.findChildren(editor, name=name):
                part.setVisible(False)
        # One pair of buttons for undo and redo: that of the panel, which stays in view.
        editor.setUndoEnabled(False)

    @property
    def editable(self) -> bool:
        """Whether voxels may be changed now."""
        return self._node is not None and not self._locked

    @property
    def effect(self) -> str:
        """Name of the active effect; empty if there is none."""
        node = self.ui.segmentEditor.mrmlSegmentEditorNode()
        return (node.GetActiveEffectName() or "") if node is not None else ""

    def show(self, node, volume_node) -> None:
        """Edit a segmentation node (None: nothing) on its volume."""
        self._node, self._volume = node, volume_node
        editor = self.ui.segmentEditor
        if node is None:
            editor.setActiveEffectByName("")
            editor.setSegmentationNode(None)
            editor.setSourceVolumeNode(None)
            self._update()
            return
        self._ensure_editor_node()
        editor.setSegmentationNode(node)
        editor.setSourceVolumeNode(volume_node)
        segments = segment_voxels.segments_by_class(node)
        if segments:
            self.select(segments.get(LESION) or next(iter(segments.values())))
        self._update()

    def forget(self) -> None:
        """The scene is closing."""
        self._node = self._volume = None
        self.ui.segmentEditor.setActiveEffectByName("")
        self.ui.segmentEditor.setMRMLSegmentEditorNode(None)
        self._update()

    def enter(self) -> None:
        """The module is shown: the mouse belongs to the brush again."""
        self._entered = True
        self.ui.segmentEditor.setupViewObservations()

    def exit(self) -> None:
        """Another module is shown: put the brush away."""
        self._entered = False
        self.use("")
        self.ui.segmentEditor.removeViewObservations()

    def cleanup(self) -> None:
        """Let go of the scene."""
        self.exit()
        self.show(None, None)
        self.ui.segmentEditor.setMRMLSegmentEditorNode(None)

    def lock(self, locked: bool) -> None:
        """Make the segmentation read-only, or editable again."""
        self._locked = locked
        if locked:
            self.ui.segmentEditor.setActiveEffectByName("")
        self.ui.segmentEditor.setReadOnly(locked)
        self._update()

    def select(self, segment_id: str) -> None:
        """Paint on that segment."""
        if self._node is not None:
            self.ui.segmentEditor.setCurrentSegmentID(segment_id)
            self._update()

    def use(self, effect: str) -> None:
        """Take up a tool, or put it away (empty)."""
        self._ensure_painting_is_safe()
        self.ui.segmentEditor.setActiveEffectByName(effect if self.editable and self._volume is not None else "")
        self._update()

    def apply(self, grid: VolumeGeometry, box: Box, before: np.ndarray, after: np.ndarray) -> bool:
        """Change voxels, so that the editor's Undo takes it back; whether that was possible.

        Parameters as for :func:`FlairSegLib.segment_voxels.write`.
        """
        if not self.editable:
            return False
        self.ui.segmentEditor.saveStateForUndo()
        segment_voxels.write(self._node, grid, box, before, after)
        return True

    def undo(self) -> None:
        """Take back the last stroke or command."""
        if self.editable:
            self.ui.segmentEditor.undo()

    def redo(self) -> None:
        """Do again what was taken back."""
        if self.editable:
            self.ui.segmentEditor.redo()

    def _ensure_editor_node(self) -> None:
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(EDITOR_TAG)
            node = scene.AddNode(node)
        if self.ui.segmentEditor.mrmlSegmentEditorNode() is not node:
            self.ui.segmentEditor.setMRMLSegmentEditorNode(node)
        self._ensure_painting_is_safe()

    def _ensure_painting_is_safe(self) -> None:
        """A class takes voxels from the others; no mask of an earlier use hides part of the image from the brush."""
        node = self.ui.segmentEditor.mrmlSegmentEditorNode()
        if node is None:
            return
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
        node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        node.SetSourceVolumeIntensityMask(False)

    def _update(self) -> None:
        usable = self.editable and self._volume is not None
        self.ui.segmentEditor.setEnabled(usable)
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
            segment = self._node.GetSegmentation().GetSegment(self.ui.segmentEditor.currentSegmentID() or "")
            name = segment.GetName() if segment is not None else "–"
            messages.quiet(
                self.ui.editorMessageLabel,
                _("The brush draws: {name}. Keys: {paint} paint, {erase} erase, {look} put it away.").format(
                    name=name, paint=keys.PAINT, erase=keys.ERASE, look=keys.LOOK
                ),
            )
