"""One open case of a reference session: its image, the reader's own mask, dots to judge, the brush."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import slicer
from flairseg.labels import BACKGROUND, CLASS_BY_VALUE, LESION
from flairseg.study import reference_desk as desk
from flairseg.study.reference_setup import DELINEATE_ACCEPTED, JUDGE_DOTS
from slicer.i18n import tr as _

from .. import background, drawing, segment_voxels, views
from ..edit_tracker import EditTracker
from ..panel import messages
from ..panel.editor_section import ERASE, PAINT, REFERENCE_TAG, EditorSection
from ..shortcuts import Shortcuts
from .case_loader import add_volume, remove_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.study.reference_desk import Row, Work

#: Colours of the dot that is judged now, and of those that were accepted.
_CURRENT_RGB, _ACCEPTED_RGB = (1.0, 0.9, 0.1), (0.2, 0.9, 0.9)

#: Size of a dot's mark, percent of the view.
_GLYPH_SCALE = 5.0


class ReferenceTask:
    """The reader's task between "Begin" and "Save mask".

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegQueue.ui``.
    on_saved : callable
        Called with the case's :class:`~flairseg.study.reference_desk.Row` once the mask is on the disk.
    on_closed : callable
        Called without arguments when the case is closed.
    on_failed : callable
        Called with an exception; the drawing is unchanged.
    """

    def __init__(
        self,
        ui,
        on_saved: Callable[[Row], None],
        on_closed: Callable[[], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self.ui = ui
        self._on_saved, self._on_closed, self._on_failed = on_saved, on_closed, on_failed
        self._folder = self._reader = ""
        self._work: Work | None = None
        self._volume = self._node = self._dots = None
        self._state: tuple = ()
        self._judged: dict[str, bool] = {}
        self._place = 0
        self._to_judge: list[tuple[str, bool]] = []
        self._task = None
        self._warned = False
        self.editor = EditorSection(ui, tag=REFERENCE_TAG)
        self.tracker = EditTracker(self._edited, lambda: None)
        ui.dotYesButton.clicked.connect(lambda checked=False: self.judge(True))
        ui.dotNoButton.clicked.connect(lambda checked=False: self.judge(False))
        ui.dotBackButton.clicked.connect(lambda checked=False: self.back())
        ui.saveMaskButton.clicked.connect(lambda checked=False: self.save())
        ui.closeTaskButton.clicked.connect(lambda checked=False: self.close())
        ui.discardMaskButton.clicked.connect(lambda checked=False: self._lay_down())
        ui.keepDrawingButton.clicked.connect(lambda checked=False: ui.discardRow.setVisible(False))
        self.shortcuts = Shortcuts(
            {
                "Y": lambda: self.judge(True),
                "N": lambda: self.judge(False),
                "B": self.back,
                "O": self.toggle_overlay,
                "1": lambda: self._use(PAINT),
                "2": lambda: self._use(ERASE),
                "Esc": lambda: self._use(""),
                "Ctrl+Z": self.editor.undo,
                "Ctrl+Y": self.editor.redo,
            }
        )

    @property
    def working(self) -> bool:
        """Whether a case is open."""
        return self._work is not None

    @property
    def busy(self) -> bool:
        """Whether something is on its way to the disk."""
        return self._task is not None

    @property
    def unsaved(self) -> bool:
        """Whether the reader drew something that is not kept yet."""
        node = self._node
        return node is not None and node.GetScene() is not None and segment_voxels.voxel_state(node) != self._state

    @property
    def judging(self) -> bool:
        """Whether dots are judged now."""
        return self._work is not None and self._work.task.what == JUDGE_DOTS

    def begin(self, folder: str, reader: str, work: Work) -> None:
        """Open a case."""
        self._folder, self._reader, self._work = folder, reader, work
        self._judged = dict(work.judged)
        self._to_judge = []
        self._warned = False
        with drawing.once():
            self._put_into_the_scene(work, reader)
        self._place = next((n for n, dot in enumerate(work.dots) if dot.id not in self._judged), 0)
        self.editor.lock(False)
        self.editor.show(self._node, self._volume)
        self.tracker.watch(self._node)
        self.ui.discardRow.setVisible(False)
        self.ui.taskFrame.setVisible(True)
        self.enter()
        self._show()

    def _put_into_the_scene(self, work: Work, reader: str) -> None:
        self._volume = add_volume(work.grid.volume, work.shown, work.task.case)
        self._node = _drawing(self._volume, f"{work.task.case} {reader}", work.mask)
        self._state = segment_voxels.voxel_state(self._node)
        if work.dots:
            self._dots = _markers(work.dots)
        views.show_volume(self._volume)

    def enter(self) -> None:
        """The tab is shown."""
        if self.working:
            self.editor.enter()
            self.tracker.enter()
            self.shortcuts.bind(self.ui.taskFrame)

    def exit(self) -> None:
        """Another tab or module is shown."""
        self.shortcuts.release()
        if self.working:
            self.tracker.exit()
            self.editor.exit()

    def judge(self, accepted: bool) -> None:
        """Accept or refuse the dot that is shown, and go to the next."""
        if not self.judging:
            return
        self.tracker.touch()
        dot = self._work.dots[self._place]
        self._judged[dot.id] = accepted
        self._to_judge.append((dot.id, accepted))
        self._deliver()
        following = next((n for n, d in enumerate(self._work.dots) if d.id not in self._judged), None)
        if following is None:
            self._set_step(DELINEATE_ACCEPTED)
        else:
            self._place = following
        self._show()

    def back(self) -> None:
        """Back to the dot before, to judge it again."""
        if self._work is None or not self._work.dots:
            return
        if self._work.task.what == DELINEATE_ACCEPTED:
            self._set_step(JUDGE_DOTS)
            self._place = len(self._work.dots) - 1
        elif self.judging:
            self._place = max(0, self._place - 1)
        self._show()

    def toggle_overlay(self) -> None:
        """Hide marks and mask, or show them again, to see what is under them."""
        if self._work is None:
            return
        shown = not (self._dots if self.judging else self._node).GetDisplayNode().GetVisibility()
        for node in (self._dots, self._node):
            if node is not None and (node is self._dots or not self.judging):
                node.GetDisplayNode().SetVisibility(shown)

    def save(self) -> None:
        """Keep the mask; nothing is drawn on it any more then."""
        if self._work is None or self.judging or self.busy:
            return
        grid = segment_voxels.grid_of(self._node, self._volume)
        taken = segment_voxels.snapshot(self._node, self._volume, grid)
        if not self._warned and not any(voxels.any() for voxels, _place, _classes in taken.layers):
            self._warned = True
            messages.show(
                self.ui.editorMessageLabel,
                messages.WARNING,
                _("Nothing is drawn. If there is no lesion, press Save mask again."),
            )
            return
        folder, reader, work, seconds = self._folder, self._reader, self._work, self.tracker.seconds
        self.editor.lock(True)
        self._task = background.run(
            lambda: desk.save_mask(folder, work, reader, taken.labels(), round(seconds, 1)), self._saved, self._failed
        )
        self._show()

    def close(self) -> None:
        """Leave the case; asks first if a drawing would be lost."""
        if self.busy:
            return
        if self.unsaved:
            messages.show(self.ui.discardLabel, messages.WARNING, _("Your drawing is not saved yet."))
            self.ui.discardRow.setVisible(True)
            return
        self._lay_down()

    def forget(self) -> None:
        """The scene is closing: its nodes are not touched any more."""
        self.exit()
        self._work = self._volume = self._node = self._dots = None
        self._to_judge = []
        self.tracker.watch(None)
        self.editor.forget()
        self.ui.taskFrame.setVisible(False)

    def cleanup(self) -> None:
        """Clean up with the panel."""
        self.forget()
        self.editor.cleanup()

    # Inside

    def _edited(self) -> None:
        self._warned = False

    def _use(self, effect: str) -> None:
        if self.working and not self.judging:
            self.tracker.touch()
            self.editor.use(effect)

    def _set_step(self, what: str) -> None:
        self._work = replace(self._work, task=replace(self._work.task, what=what))

    def _deliver(self) -> None:
        """Write judgements down one after the other, in the order in which they were given."""
        if self._task is not None or not self._to_judge:
            return
        folder, case, reader = self._folder, self._work.task.case, self._reader
        dot, accepted = self._to_judge[0]

        def done(judged: dict[str, bool]) -> None:
            self._task = None
            self._to_judge = self._to_judge[1:]
            self._deliver()
            self._show()

        def failed(error: Exception) -> None:
            # Judgements that could not be saved count as not judged.
            lost = {wanted for wanted, _accepted in self._to_judge}
            self._judged = {known: yes for known, yes in self._judged.items() if known not in lost}
            self._to_judge = []
            if self._work is not None:
                self._set_step(JUDGE_DOTS)
                self._place = next((n for n, d in enumerate(self._work.dots) if d.id in lost), 0)
            self._failed(error)

        self._task = background.run(lambda: desk.judge(folder, case, reader, dot, accepted), done, failed)

    def _saved(self, row: Row) -> None:
        self._task = None
        self._lay_down()
        self._on_saved(row)

    def _failed(self, error: Exception) -> None:
        self._task = None
        self.editor.lock(False)
        self._show()
        self._on_failed(error)

    def _lay_down(self) -> None:
        nodes = self._dots, self._node, self._volume
        self.exit()
        self.editor.show(None, None)
        self.tracker.watch(None)
        self._work = self._volume = self._node = self._dots = None
        for node in nodes:
            remove_node(node)
        self.ui.taskFrame.setVisible(False)
        self._on_closed()

    def _show(self) -> None:
        work = self._work
        if work is None:
            return
        judging = self.judging
        steps = {
            JUDGE_DOTS: _("{case}: is there a lesion at the dot?"),
            DELINEATE_ACCEPTED: _("{case}: delineate the lesions that you accepted."),
        }
        self.ui.taskLabel.setText(
            steps.get(work.task.what, _("{case}: delineate all lesions independently.")).format(case=work.task.case)
        )
        self.ui.dotRow.setVisible(bool(work.dots))
        self.ui.drawRow.setVisible(not judging)
        self.ui.saveMaskButton.setVisible(not judging)
        self.ui.saveMaskButton.setEnabled(not self.busy)
        self.ui.saveMaskButton.setText(_("Saving …") if self.busy and not judging else _("Save mask"))
        self.ui.closeTaskButton.setEnabled(not self.busy)
        for button in (self.ui.dotYesButton, self.ui.dotNoButton):
            button.setVisible(judging)
        self.ui.dotBackButton.setEnabled(bool(work.dots) and (not judging or self._place > 0))
        # In the judging step no outlines are shown, not even the reader's own.
        views.display_of(self._node).SetVisibility(not judging)
        if work.dots:
            self._show_dots()

    def _show_dots(self) -> None:
        work, judging = self._work, self.judging
        accepted = sum(self._judged.values())
        if judging:
            text = _("Dot {number} of {all}").format(number=self._place + 1, all=len(work.dots))
            known = self._judged.get(work.dots[self._place].id)
            if known is not None:
                text += " – " + (_("judged: lesion") if known else _("judged: no lesion"))
        else:
            text = _("{accepted} of {all} dots accepted; they are marked.").format(
                accepted=accepted, all=len(work.dots)
            )
        self.ui.dotLabel.setText(text)
        modified = self._dots.StartModify()
        for n, dot in enumerate(work.dots):
            current = judging and n == self._place
            self._dots.SetNthControlPointSelected(n, current)
            self._dots.SetNthControlPointVisibility(n, current or (not judging and self._judged.get(dot.id, False)))
        self._dots.EndModify(modified)
        self._dots.GetDisplayNode().SetVisibility(True)
        if judging:
            views.center_on(work.dots[self._place].ras)


def _drawing(volume_node, name: str, mask: np.ndarray | None):
    """A segmentation node with the one class that references have, on the grid of a volume."""
    lesion = CLASS_BY_VALUE[LESION]
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    if mask is not None and (mask == LESION).any():
        segment_voxels.add_segments(node, np.where(mask == LESION, LESION, BACKGROUND).astype(np.uint8), volume_node)
        return node
    contents = node.GetSegmentation()
    contents.AddEmptySegment(lesion.id, lesion.name, lesion.rgb_unit)
    segment = contents.GetSegment(lesion.id)
    segment.SetTerminology(lesion.terminology_entry)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    return node


def _markers(dots):
    """Points without names: a dot reveals only its position."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Dots")
    node.SetControlPointLabelFormat("")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*_CURRENT_RGB)
    display.SetColor(*_ACCEPTED_RGB)
    display.SetPointLabelsVisibility(False)
    # The judged voxels remain visible in the middle of the mark.
    display.SetGlyphType(display.CrossDot2D)
    display.SetGlyphScale(_GLYPH_SCALE)
    for dot in dots:
        node.AddControlPoint(list(dot.ras), "")
    node.SetLocked(True)
    return node
