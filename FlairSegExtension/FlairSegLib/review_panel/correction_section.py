"""After the answer: the judged mask in Slicer's Segment Editor, kept as a new version with the time it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
from flairseg.errors import FlairSegError
from flairseg.labels import CLASS_BY_VALUE, LESION
from slicer.i18n import tr as _

from .. import phrasing, segment_voxels
from ..editor_guard import GuardedEditor
from ..panel import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.study.session import StudySession

    from .showing_view import ShowingView

_EFFECTS = ["Paint", "Draw", "Erase", "Islands", "Scissors"]


class CorrectionSection:
    """Offered where the protocol has it; nothing is edited before the rater asks for it.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegStudy.ui``.
    on_life : callable
        Called when the mask was touched.
    """

    def __init__(self, ui, on_life: Callable[[], None]) -> None:
        self.ui = ui
        self._on_life = on_life
        self._session: StudySession | None = None
        self._view: ShowingView | None = None
        self._editor_node = None
        self._observed: tuple | None = None
        self._edited = False
        self._guard = GuardedEditor(ui.correctionEditor, _EFFECTS)
        ui.correctButton.clicked.connect(lambda checked=False: self.begin())
        ui.saveCorrectionButton.clicked.connect(lambda checked=False: self.save())
        ui.dropCorrectionButton.clicked.connect(lambda checked=False: self._discard())

    @property
    def editing(self) -> bool:
        """Whether the mask is being corrected."""
        return self._editor_node is not None

    def offer(self, session: StudySession, view: ShowingView) -> None:
        """A case was answered; show the button if the protocol has the correction."""
        self._session, self._view = session, view
        self.ui.correctionBox.setVisible(session.rules.correction)
        self._show_editor(False)

    def begin(self) -> None:
        """Open the editor on the judged mask; the clock of the edit starts."""
        try:
            self._session.begin_correction()
        except FlairSegError as error:
            messages.show(self.ui.answeredMessageLabel, messages.ERROR, phrasing.text(error))
            return
        messages.hide(self.ui.answeredMessageLabel)
        mask, volume = self._view.mask_node, self._view.volume_node
        if LESION not in segment_voxels.segments_by_class(mask):
            lesion = CLASS_BY_VALUE[LESION]
            mask.GetSegmentation().AddEmptySegment(lesion.id, lesion.name, lesion.rgb_unit)
        self._editor_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode", _("Editor"))
        self._editor_node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
        editor = self.ui.correctionEditor
        self._guard.set_node(self._editor_node)
        editor.setSegmentationNode(mask)
        editor.setSourceVolumeNode(volume)
        editor.setCurrentSegmentID(segment_voxels.segments_by_class(mask)[LESION])
        contents = mask.GetSegmentation()
        tag = contents.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, self._changed)
        self._observed = contents, tag
        self._edited = False
        self._show_editor(True)

    def save(self) -> bool:
        """Keep the corrected mask; whether that was possible."""
        mask, volume = self._view.mask_node, self._view.volume_node
        labels = segment_voxels.snapshot(mask, volume, segment_voxels.grid_of(mask, volume)).labels()
        try:
            self._session.save_correction(labels)
        except FlairSegError as error:
            messages.show(self.ui.answeredMessageLabel, messages.ERROR, phrasing.text(error))
            return False
        self._close_editor()
        messages.show(self.ui.answeredMessageLabel, messages.SUCCESS, _("The corrected mask is kept."))
        return True

    def settle(self) -> bool:
        """Before the next case: edits are saved, an untouched editor is closed; False if saving failed."""
        if self.editing and self._edited:
            return self.save()
        self.drop()
        return True

    def keep(self) -> str:
        """Save the current correction before the case leaves the screen; the message for the rater, empty if none."""
        edited = self.editing and self._edited
        kept = self.settle()
        problem = "" if kept else self.ui.answeredMessageLabel.text
        self.drop()
        if not kept:
            return _("The correction was not kept. {problem}").format(problem=problem)
        return _("The mask is kept as corrected so far.") if edited else ""

    def drop(self) -> None:
        """Close the editor without keeping anything."""
        self._close_editor()

    def _discard(self) -> None:
        self._close_editor()
        # The mask on screen is not the judged one any more.
        self.ui.correctButton.setEnabled(not self._edited)
        messages.show(self.ui.answeredMessageLabel, messages.INFO, _("The edits were discarded."))

    def _changed(self, caller=None, event=None) -> None:
        self._edited = True
        self._on_life()

    def _close_editor(self) -> None:
        if self._editor_node is None:
            return
        if self._observed is not None:
            self._observed[0].RemoveObserver(self._observed[1])
            self._observed = None
        self._guard.let_go()
        node, self._editor_node = self._editor_node, None
        if node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(node)
        self._show_editor(False)

    def _show_editor(self, shown: bool) -> None:
        self.ui.correctionEditorBox.setVisible(shown)
        self.ui.correctButton.setVisible(not shown)
        self.ui.correctButton.setEnabled(True)
