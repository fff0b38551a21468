"""Report and export: the clinician's page, DICOM objects that refer to the series, pseudonyms on request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ctk
import qt
import slicer
from flairseg.errors import InputNotFoundError, OutputError
from flairseg.worker.export import DICOM, HTML, OUTPUTS, PDF
from flairseg.worker.tasks import ExportAnswer, ExportRequest
from slicer.i18n import tr as _

from .. import dependencies, dicom_source, kept_answers, segment_tags, segment_voxels, verdict_notes, volume_nodes
from ..case_names import case_of
from ..task_controller import Steps, in_thread
from . import messages
from .file_names import file_stem
from .path_edits import onPathChanged
from .task_section import TaskSection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flairseg.report.case import Change

    from ..settings import FlairSegSettings
    from .result_panel import ResultPanel

UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "FlairSegExport.ui"


class ExportSection(TaskSection):
    """Selected outputs, their folder, and the result of an export.

    Parameters
    ----------
    placeholder : QWidget
        Its layout takes the section.
    preferences : FlairSegSettings
    result : ResultPanel
        The segmentation that is shown is the one that is written.
    followed : callable
        ``followed() -> (changes, present volume node) or None``: the follow-up that is shown, if there is one.
    """

    def __init__(
        self,
        placeholder,
        preferences: FlairSegSettings,
        result: ResultPanel,
        followed: Callable[[], tuple[Change, object] | None],
    ) -> None:
        widget = slicer.util.loadUI(str(UI_FILE))
        placeholder.layout().addWidget(widget)
        super().__init__(
            slicer.util.childWidgetVariables(widget), "export", _("Write the selected outputs to the folder")
        )
        self._settings, self._result, self._followed = preferences, result, followed
        self._written = ""
        ui = self.ui
        for edit in (ui.exportFolderEdit, ui.sourceEdit):
            edit.filters = ctk.ctkPathLineEdit.Dirs
        ui.keyEdit.filters = ctk.ctkPathLineEdit.Files
        ui.exportFolderEdit.setCurrentPath(preferences.exportFolder)
        ui.keyEdit.setCurrentPath(preferences.pseudonymKey)
        onPathChanged(ui.exportFolderEdit, self._folder_changed)
        onPathChanged(ui.keyEdit, self._key_changed)
        onPathChanged(ui.sourceEdit, lambda path: self.update())
        for box in (*self._boxes().values(), ui.pseudonymiseCheckBox):
            box.toggled.connect(lambda checked=False: self.update())
        ui.openFolderButton.clicked.connect(self._open_folder)
        ui.exportCollapsibleButton.collapsed = True
        ui.exportCollapsibleButton.contentsCollapsed.connect(lambda collapsed=False: self.update())
        self.update()

    @property
    def wanted(self) -> list[str]:
        """The ticked outputs, of :data:`flairseg.worker.export.OUTPUTS`."""
        return [name for name, box in self._boxes().items() if box.checked]

    def update(self) -> None:
        """Show the selected outputs; enable the button, or explain why it is disabled."""
        if self._closed:
            return
        ui = self.ui
        # Slicer's database is asked for each file of the series: not before it matters.
        asked = DICOM in self.wanted and not ui.exportCollapsibleButton.collapsed
        unknown = asked and not dicom_source.files(self._volume())
        for widget in (ui.sourceLabel, ui.sourceEdit):
            widget.setVisible(unknown)
        for widget in (ui.keyLabel, ui.keyEdit):
            widget.setVisible(bool(ui.pseudonymiseCheckBox.checked) and not ui.exportCollapsibleButton.collapsed)
        super().update()

    def onSceneStartClose(self) -> None:
        """The scene is closing."""
        super().onSceneStartClose()
        self.ui.sourceEdit.setCurrentPath("")
        self.ui.openFolderButton.setVisible(False)

    # The task

    def _refusal(self) -> str:
        node, volume = self._result.segmentationNode, self._volume()
        if node is None:
            return _("Segment a FLAIR first, or show a segmentation.")
        if volume is None:
            return _("Load the FLAIR that belongs to this segmentation.")
        if not segment_voxels.segments_by_class(node):
            return _("None of the segments is one of FlairSeg's classes; there is nothing to write.")
        if not self.wanted:
            return _("Tick the outputs.")
        if not self.ui.exportFolderEdit.currentPath.strip():
            return _("Choose the output folder.")
        unknown = DICOM in self.wanted and not dicom_source.files(volume)
        if unknown and not self.ui.sourceEdit.currentPath.strip():
            return _("Choose the folder of the DICOM series: the objects refer to it.")
        return ""

    def _begin(self) -> None:
        wanted, node, volume = self.wanted, self._result.segmentationNode, self._volume()
        self._install_for(wanted)
        grid = segment_voxels.grid_of(node, volume)
        snapshot = segment_voxels.snapshot(node, volume, grid)
        kept = kept_answers.kept_answer_of(node)
        regions = kept_answers.kept_regions_of(volume)
        files, series = self._source(volume)
        request = ExportRequest(
            # Both are copied out of the scene in the steps below.
            volume=None,
            labels=None,
            folder=self._folder(),
            stem=file_stem(case_of(volume)),
            outputs=wanted,
            source_files=files,
            source_folder=series,
            model_id=segment_tags.first_tag(node, segment_tags.MODEL),
            model_sha256=segment_tags.first_tag(node, segment_tags.MODEL_SHA256),
            classes=tuple(segment_voxels.segments_by_class(node)),
            created=segment_tags.first_tag(node, segment_tags.CREATED),
            algorithm_type=segment_tags.first_tag(node, segment_tags.ALGORITHM_TYPE),
            warnings=kept_answers.warnings_of(node),
            review=verdict_notes.noted(node),
            date=dicom_source.study_date(volume),
            thresholds=kept_answers.lesion_thresholds_of(node),
            followup=self._changes(volume),
            pseudonymise=bool(self.ui.pseudonymiseCheckBox.checked),
            key=absolute(self.ui.keyEdit.currentPath),
        )
        self._written = request.folder

        def take() -> Steps:
            taken = yield from volume_nodes.take_volume(volume)
            labels = yield from in_thread(snapshot.labels)
            answer = yield from in_thread(kept.answer) if kept is not None else _nothing()
            found = yield from in_thread(regions.answer) if regions is not None else _nothing()
            # As the scanner had it, wherever it was moved in the scene: what is written refers to the series.
            image = replace(taken.volume, ijk_to_ras=taken.local)
            codes = None if found is None else found.full_labels()
            return replace(request, volume=image, labels=labels, answer=answer, regions=codes)

        def receive(answer: ExportAnswer) -> Steps:
            yield 1.0
            return answer

        self.controller.perform(take, receive, [node, volume])

    def _done(self, result: ExportAnswer) -> None:
        names = [Path(path).name for path in result.files]
        lines = [_("Written to {folder}:").format(folder=self.ui.exportFolderEdit.currentPath.strip()), *names]
        kind = messages.SUCCESS
        if result.warnings:
            lines += result.warnings
            kind = messages.WARNING
        messages.show(self._message, kind, "\n".join(lines))
        self.ui.openFolderButton.setVisible(True)

    # Input

    def _boxes(self) -> dict[str, qt.QCheckBox]:
        ui = self.ui
        boxes = (ui.htmlCheckBox, ui.pdfCheckBox, ui.dicomCheckBox)
        return dict(zip(OUTPUTS, boxes, strict=True))

    def _volume(self):
        return self._result.volumeNode

    def _changes(self, volume) -> Change | None:
        """The follow-up that is shown, if this is its present study."""
        found = self._followed()
        return found[0] if found is not None and found[1] is volume else None

    def _folder(self) -> str:
        # The process that writes runs in another folder: paths are made absolute.
        folder = absolute(self.ui.exportFolderEdit.currentPath)
        if Path(folder).exists() and not Path(folder).is_dir():
            raise OutputError(_("{path} is a file.").format(path=folder), _("Choose a folder."))
        return folder

    def _source(self, volume) -> tuple[Sequence[str], str]:
        """Files of the DICOM series, or the folder that was typed for them."""
        source, typed = dicom_source.files(volume), self.ui.sourceEdit.currentPath.strip()
        if not source and typed and DICOM in self.wanted and not Path(absolute(typed)).is_dir():
            raise InputNotFoundError(
                _("There is no folder {path}.").format(path=typed),
                _("Choose the folder of the DICOM files from which this FLAIR was loaded."),
            )
        return source, "" if source or not typed else absolute(typed)

    def _install_for(self, wanted: list[str]) -> None:
        packages = list(dependencies.REPORT_PACKAGES) if HTML in wanted else []
        if PDF in wanted or DICOM in wanted:
            packages += dependencies.PDF_PACKAGES
        if DICOM in wanted:
            packages += dependencies.DICOM_PACKAGES
        # DICOM output includes the report as an encapsulated PDF.
        self._install([*packages, *dependencies.OUTLINE_PACKAGES])

    def _folder_changed(self, path: str = "") -> None:
        self._settings.exportFolder = path
        self.update()

    def _key_changed(self, path: str = "") -> None:
        self._settings.pseudonymKey = path

    def _open_folder(self, checked: bool = False) -> None:
        if not qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self._written)):
            messages.show(self._message, messages.INFO, _("The files are in {folder}.").format(folder=self._written))


def absolute(path: str) -> str:
    """A path as it was typed, made absolute; empty stays empty."""
    return str(Path(path.strip()).expanduser().absolute()) if path.strip() else ""


def _nothing() -> Steps:
    """Steps of what is not there."""
    yield 1.0
    return None
