"""The lower half of the panel: see, correct, accept or reject one segmentation."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.errors import FlairSegError
from flairseg.review.verdict import PENDING
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from .. import (
    background,
    drawing,
    following,
    kept_answers,
    keys,
    measurement,
    phrasing,
    segment_tags,
    segment_voxels,
    views,
)
from ..edit_tracker import EditTracker
from ..shortcuts import Shortcuts
from . import lesion_words, messages
from .editor_section import EDITOR_TAG, ERASE, PAINT, EditorSection
from .lesions_section import LesionsSection
from .regions_section import RegionsSection
from .result_section import ResultSection
from .verdict_section import VerdictSection
from .versions import seconds_of, versions_of, volume_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..run_controller import RegionsAhead
    from ..settings import FlairSegSettings
    from ..worker_holder import WorkerHolder

_UI = Path(__file__).resolve().parents[2] / "Resources" / "UI"
UI_FILE, BAR_FILE = _UI / "FlairSegResult.ui", _UI / "FlairSegVerdict.ui"
#: From the last stroke until everything is counted again, ms.
SETTLING_MS = 150
#: Interval of updating the working time, ms.
CLOCK_MS = 5000


class ResultPanel(VTKObservationMixin):
    """Joins the sections below the run: segments, lesions, editor, verdict.

    Parameters
    ----------
    placeholder : QWidget
        Its layout takes the panel.
    settings : FlairSegSettings
    clock : callable
        Seconds from any zero, for the time of work; for tests.
    onDecided : callable, optional
        Called without arguments after a verdict was saved or revoked.
    barPlaceholder : QWidget, optional
        Its layout takes summary, undo and verdict, so that they stay in view; default: below the panel.
    editorTag : str
        Singleton tag of the editor node: panels that share one would paint together.
    workers : WorkerHolder, optional
        Of the runs: their worker finds the regions. Default: its own process.
    """

    def __init__(
        self,
        placeholder,
        settings: FlairSegSettings,
        clock: Callable[[], float] = time.monotonic,
        onDecided: Callable[[], None] | None = None,
        barPlaceholder=None,
        editorTag: str = EDITOR_TAG,
        workers: WorkerHolder | None = None,
    ) -> None:
        super().__init__()
        self._on_decided = onDecided
        #: Called without arguments when another segmentation is shown, or none.
        self.onShown: Callable[[], None] = lambda: None
        self._node = self._volume = None
        self._grid = None
        self._kept = self._stored = None
        self._levels = kept_answers.LevelHistory()
        self._measured = None
        self._task = None
        self._again = False
        self._settings = settings
        self.widget = slicer.util.loadUI(str(UI_FILE))
        self.bar = slicer.util.loadUI(str(BAR_FILE))
        _layout_of(placeholder).addWidget(self.widget)
        _layout_of(barPlaceholder or placeholder).addWidget(self.bar)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        vars(self.ui).update(vars(slicer.util.childWidgetVariables(self.bar)))
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.tracker = EditTracker(self._edited, self._restyled, clock)
        self.editor = EditorSection(self.ui, self.ui.editorCollapsibleButton, editorTag)
        self.lesions = LesionsSection(self.ui, self._apply, self.tracker.touch)
        self.result = ResultSection(self.ui, self.setSegmentation, self.editor.select)
        self.verdict = VerdictSection(self.ui, settings, self._lock, self._decided)
        self.regions = RegionsSection(self.ui, settings, self._count, workers)
        self.ui.undoButton.clicked.connect(lambda checked=False: self.undo())
        self.ui.redoButton.clicked.connect(lambda checked=False: self.redo())
        self.shortcuts = Shortcuts(
            {
                keys.NEXT: lambda: self.lesions.step(1),
                keys.PREVIOUS: lambda: self.lesions.step(-1),
                keys.FLIP: self.lesions.flip,
                keys.DELETE: self.lesions.delete,
                keys.UNDO: self.undo,
                keys.REDO: self.redo,
                keys.OVERLAY: self.result.toggle_overlay,
                keys.PAINT: lambda: self.editor.use(PAINT),
                keys.ERASE: lambda: self.editor.use(ERASE),
                keys.LOOK: lambda: self.editor.use(""),
                keys.ACCEPT: self.verdict.accept,
                keys.REJECT: self.verdict.reject,
            },
            repeating=(keys.NEXT, keys.PREVIOUS),
        )
        self._settling = _timer(SETTLING_MS, self._count, single=True)
        # Copying the voxels is a separate step: the panel is drawn before it.
        self._first_count = _timer(0, self._count, single=True)
        self._style_timer = _timer(0, self.result.refresh, single=True)
        self._clock_timer = _timer(CLOCK_MS, self._tick)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.NodeAddedEvent, self._scene_changed)
        self.addObserver(scene, scene.NodeRemovedEvent, self._scene_changed)
        self._scene_timer = _timer(SETTLING_MS, self._follow_scene, single=True)
        self._reveal_timer = _timer(0, self._reveal, single=True)
        self._show_panel(False)

    @property
    def segmentationNode(self):
        """The segmentation that is shown; None if there is none."""
        return self._node

    @property
    def volumeNode(self):
        """Its FLAIR; None if it is not in the scene."""
        return self._volume

    @property
    def settings(self) -> FlairSegSettings:
        """The user's settings."""
        return self._settings

    @property
    def measured(self) -> measurement.Measurement | None:
        """The measurement of the segmentation shown; None before it was measured."""
        return self._measured

    @property
    def busy(self) -> bool:
        """Whether something is being counted or saved, or waits to be."""
        waits = self._settling.isActive() or self._first_count.isActive() or self.editor.waiting
        return self._task is not None or waits or self.verdict.saving

    def setSegmentation(self, node, volumeNode=None) -> None:
        """Show a segmentation of any origin, or none.

        Parameters
        ----------
        node : vtkMRMLSegmentationNode or None
        volumeNode : vtkMRMLScalarVolumeNode, optional
            Its FLAIR, for a segmentation that names none (a file that was loaded).
        """
        with drawing.once():
            self._set_segmentation(node, volumeNode)

    def _set_segmentation(self, node, volumeNode) -> None:
        if node is not None and node.GetScene() is None:
            node = None
        self._note_work()
        self._stop_counting()
        self._node = node
        self._volume = volumeNode or volume_of(node)
        self._measured = self._kept = self._stored = None
        self._grid, self._levels = None, kept_answers.LevelHistory()
        self.tracker.watch(None)
        if node is not None:
            following.follow(node)
            self._grid = segment_voxels.grid_of(node, self._volume)
            self._kept = kept_answers.kept_answer_of(node)
            self.tracker.watch(node, seconds_of(node))
            views.show_volume(self._volume)
        versions = versions_of(node, self._volume)
        for version in versions:
            # The version that is worked on is the one that is seen: two overlays on one image deceive.
            if version is not node:
                views.display_of(version).SetVisibility(False)
            elif len(versions) > 1:
                views.display_of(version).SetVisibility(True)
        self.result.show(node, versions)
        self.lesions.show(node, self._kept is not None and self._kept.levels is not None)
        self.editor.show(node, self._volume)
        self.verdict.show(node, self._volume)
        self.regions.show(node, self._volume)
        self.verdict.show_work(self.tracker.seconds)
        self._show_panel(node is not None)
        self._show_message()
        if node is not None:
            self._first_count.start()
        self.onShown()

    def begin(self, regions: RegionsAhead | None = None) -> None:
        """A run has just finished: the reader starts at the first lesion, without a click, regions follow."""
        self.lesions.start_at_first()
        self.regions.after_run(regions)
        self._reveal_timer.start()

    def enter(self) -> None:
        """The module is shown."""
        self.tracker.enter()
        self.editor.enter()
        self.verdict.enter()
        self.shortcuts.bind(self.widget)
        self._clock_timer.start()
        self._follow_scene()

    def exit(self) -> None:
        """Another module is shown."""
        self.tracker.exit()
        self._note_work(tags=True)
        self._clock_timer.stop()
        self.shortcuts.release()
        self.editor.exit()

    def cleanup(self) -> None:
        """Clean up with the panel: all observers of the scene are removed. The widgets may be deleted already."""
        self.removeObservers()
        self._scene_timer.stop()
        self._reveal_timer.stop()
        self._clock_timer.stop()
        self._stop_counting()
        self.shortcuts.release()
        self.tracker.exit()
        self.tracker.watch(None)
        self.lesions.cleanup()
        self.verdict.cleanup()
        self.regions.cleanup()
        self._node = self._volume = self._grid = None
        self._measured = self._kept = self._stored = None
        try:
            self.editor.cleanup()
        except (RuntimeError, ValueError):
            # PythonQt and PySide report a deleted editor in different ways; it releases itself.
            logging.debug("FlairSeg: the editor was gone before the panel")

    def onSceneStartClose(self) -> None:
        """The scene is closing."""
        self._scene_timer.stop()
        self._stop_counting()
        self._node = self._volume = self._grid = None
        self._measured = self._kept = self._stored = None
        self.tracker.watch(None)
        self.result.show(None, [])
        self.lesions.forget()
        self.verdict.forget()
        self.regions.onSceneStartClose()
        self.editor.forget()
        self._show_panel(False)

    def undo(self) -> None:
        """Undo the last stroke or command."""
        self.tracker.touch()
        self.editor.undo()

    def redo(self) -> None:
        """Redo what was undone."""
        self.tracker.touch()
        self.editor.redo()

    # Counting

    def _edited(self) -> None:
        if self._node is None:
            return
        self.verdict.measured(None)
        self.editor.show_history()
        self._settling.start()

    def _restyled(self) -> None:
        if self._node is not None:
            self._style_timer.start()

    def _count(self) -> None:
        self._settling.stop()
        self._first_count.stop()
        if self._node is None or self._grid is None:
            return
        if self._task is not None:
            self._again = True
            return
        # The volume may have been put under another transform since, or one was hardened.
        before, self._grid = self._grid, segment_voxels.grid_of(self._node, self._volume) or self._grid
        if not self._grid.matches(before):
            self.editor.forget_history()
        try:
            taken = segment_voxels.snapshot(self._node, self._volume, self._grid)
        except FlairSegError as error:
            self._failed(error)
            return
        kept, stored, thresholds = self._kept, self._stored, kept_answers.lesion_thresholds_of(self._node)
        kept_regions = kept_answers.kept_regions_of(self._volume)
        previous = self._measured.regions if self._measured is not None else None

        def count():
            known = (stored or measurement.Stored.of(kept)).with_regions(kept_regions)
            return measurement.measure_with(taken, replace(known, thresholds=thresholds), previous)

        self._task = background.run(count, self._counted, self._failed)

    def _counted(self, counted: tuple[measurement.Measurement, measurement.Stored]) -> None:
        self._task = None
        if self._node is None or self._node.GetScene() is None:
            return
        measured, stored = counted
        first, self._measured, self._stored = self._stored is None, measured, stored
        if first:
            self._kept = None
            self.lesions.set_stored(stored)
            self.verdict.set_original(stored.original)
        again, self._again = self._levels.corrected(self._node, measured.contents) or self._again, False
        with drawing.once():
            self._note_edits()
            self.result.measured(measured)
            self._show_summary()
            self._show_message()
            self.lesions.measured(measured)
        if again:
            self._first_count.start()
        elif not self._settling.isActive():
            self.verdict.measured(measured)
        self.verdict.show_work(self.tracker.seconds)
        self.editor.prepare()

    def _failed(self, error: Exception) -> None:
        self._task = None
        if self._node is None:
            return
        self.editor.prepare()
        text = (
            phrasing.text(error)
            if isinstance(error, FlairSegError)
            else _("It could not be measured: {error}.").format(error=phrasing.text(error))
        )
        messages.show(self.ui.resultMessageLabel, messages.ERROR, text)
        if self._measured is None:
            self.ui.summaryLabel.setText(_("Not counted."))
            messages.quiet(self.ui.lesionMessageLabel, "")

    def _stop_counting(self) -> None:
        self._settling.stop()
        self._first_count.stop()
        self._style_timer.stop()
        self._again = False
        if self._task is not None:
            self._task.cancel()
            self._task = None

    # Notes on the node

    def _note_edits(self) -> None:
        """Voxels added and removed, the reader, and AUTOMATIC -> SEMIAUTOMATIC, once something was edited."""
        node, measured = self._node, self._measured
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        changed = False
        for value, segment_id in segment_voxels.segments_by_class(node).items():
            segment = node.GetSegmentation().GetSegment(segment_id)
            added, removed = (str(count) for count in measured.edits[value])
            noted = [segment_tags.tag(segment, key) for key in (segment_tags.VOXELS_ADDED, segment_tags.VOXELS_REMOVED)]
            if noted == [added, removed] or (noted == ["", ""] and added == removed == "0"):
                continue
            changed = True
            segment_tags.set_tag(segment, segment_tags.VOXELS_ADDED, added)
            segment_tags.set_tag(segment, segment_tags.VOXELS_REMOVED, removed)
            segment_tags.set_tag(segment, segment_tags.ALGORITHM_TYPE, segment_tags.SEMIAUTOMATIC)
            if self._settings.readerName:
                segment_tags.set_tag(segment, segment_tags.READER, self._settings.readerName)
            if logic.GetSegmentStatus(segment) == logic.NotStarted:
                with segment_tags.unannounced(segment):
                    logic.SetSegmentStatus(segment, logic.InProgress)
        self._note_work(tags=changed)

    def _note_work(self, tags: bool = False) -> None:
        """Store the working time in the node, so that a saved scene has it; with ``tags`` on the segments as well."""
        node = self._node
        if node is None or node.GetScene() is None:
            return
        text = f"{self.tracker.seconds:.1f}"
        self.verdict.show_work(self.tracker.seconds)
        if self.tracker.seconds > 0:
            segment_tags.set_attribute(node, segment_tags.ACTIVE_SECONDS, text)
        if tags and self.tracker.seconds > 0:
            for segment_id in segment_voxels.segments_by_class(node).values():
                segment_tags.set_tag(node.GetSegmentation().GetSegment(segment_id), segment_tags.ACTIVE_SECONDS, text)

    def _tick(self) -> None:
        """Count working time. There is no event before a scene is saved, so its content is kept up to date."""
        self.verdict.show_work(self.tracker.seconds)
        if self._node is not None and self._node.GetScene() is not None and self.tracker.seconds > 0:
            segment_tags.set_attribute(self._node, segment_tags.ACTIVE_SECONDS, f"{self.tracker.seconds:.1f}")

    # Sections

    def _apply(self, grid, box, before, after) -> bool:
        return self.editor.apply(grid, box, before, after)

    def _lock(self, locked: bool) -> None:
        self.editor.lock(locked)
        self.lesions.lock(locked)

    def _decided(self) -> None:
        self._note_work(tags=True)
        if self.verdict.verdict == PENDING and self._measured is not None:
            self._note_edits()
        self.result.show(self._node, versions_of(self._node, self._volume))
        self.result.measured(self._measured)
        if self._on_decided is not None:
            self._on_decided()

    def _show_panel(self, shown: bool) -> None:
        self.widget.setVisible(shown)
        self.bar.setVisible(shown)
        self._show_summary()

    def _show_summary(self) -> None:
        text = "" if self._measured is None else lesion_words.summary_line(self._measured, self.result.known)
        self.ui.summaryLabel.setText(text or _("Counting …"))

    def _reveal(self) -> None:
        """Scroll as little as brings the list of lesions into view."""
        if self._node is None:
            return
        for area in slicer.util.findChildren(slicer.util.mainWindow(), className="QScrollArea"):
            if area.isAncestorOf(self.widget):
                area.ensureWidgetVisible(self.ui.lesionTable)

    def _show_message(self) -> None:
        node = self._node
        text = ""
        if node is not None and not segment_voxels.segments_by_class(node):
            text = _("None of the segments is one of FlairSeg's classes; there is nothing to count.")
        elif node is not None and self._grid is None:
            text = _("This segmentation has no grid. Load the FLAIR that it was drawn on.")
        elif node is not None and node.GetAttribute("FlairSeg.warnings"):
            text = node.GetAttribute("FlairSeg.warnings")
        further = segment_voxels.further_segments(node) if node is not None else []
        if further:
            told = _(
                "Not counted: {names}. Another segment is of the same class; merge them (effect Logical operators,"
                " Add)."
            )
            text = "\n".join([*([text] if text else []), told.format(names=", ".join(further))])
        messages.show(self.ui.resultMessageLabel, messages.WARNING, text)

    # The scene

    def _scene_changed(self, caller=None, event=None) -> None:
        self._scene_timer.start()

    def _follow_scene(self) -> None:
        """Nodes came or went: never show what is no longer there, and offer new versions."""
        if self._node is None:
            return
        if self._node.GetScene() is None:
            others = [n for n in versions_of(None, self._volume) if n.GetScene() is not None]
            self.setSegmentation(others[-1] if others else None)
        elif (self._volume is None) != (volume_of(self._node) is None) or (
            self._volume is not None and self._volume.GetScene() is None
        ):
            self.setSegmentation(self._node)
        else:
            self.result.show_versions(versions_of(self._node, self._volume))


def _layout_of(placeholder):
    """Layout of a placeholder; made if it has none."""
    layout = placeholder.layout()
    if layout is None:
        layout = qt.QVBoxLayout(placeholder)
        layout.setContentsMargins(0, 0, 0, 0)
    return layout


def _timer(milliseconds: int, slot, single: bool = False):
    timer = qt.QTimer()
    timer.setSingleShot(single)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer
