"""Follow-up: two studies of one patient; which lesions are new or changed, the ventricles, linked views on both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.anatomy.regions import UNKNOWN
from flairseg.errors import InputNotFoundError
from flairseg.longitudinal.states import STATE_BY_ID
from flairseg.worker.tasks import FollowAnswer, FollowRequest, FollowStudy
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from .. import change_nodes, dicom_source, kept_answers, segment_voxels, views, volume_nodes
from ..linked_views import LinkedViews, Shown
from ..task_controller import Steps, in_thread
from . import information, messages
from .compare_section import ROW_PX, fit_height
from .lesion_words import short_region_name
from .task_section import TaskSection
from .versions import volume_of

if TYPE_CHECKING:
    from flairseg.image.volume import Volume
    from flairseg.report.case import Change, ChangedLesion

    from .case_section import CaseSection
    from .model_section import ModelSection

UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "FlairSegFollow.ui"
#: The scene is looked through for studies once it has settled, ms.
SETTLING_MS = 250
_NUMBER, _STATE, _BEFORE, _NOW, _CHANGE, _REGION = range(6)
#: Order of states for the reader.
_ORDER = ("new", "enlarging", "merged", "split", "shrinking", "resolved", "stable")


@dataclass(frozen=True)
class Followed:
    """Result of a follow-up.

    Attributes
    ----------
    changes : Change
    nodes : ChangeNodes
    present : vtkMRMLScalarVolumeNode
        The last study, as the user chose it.
    """

    changes: Change
    nodes: change_nodes.ChangeNodes
    present: object


class FollowSection(TaskSection, VTKObservationMixin):
    """Selection of studies, the table of lesions with their state, the linked views.

    Parameters
    ----------
    placeholder : QWidget
        Its layout takes the section.
    case : CaseSection
        The volume that is proposed as the present study.
    model : ModelSection
        The model for studies that are not segmented yet, and the device.
    """

    def __init__(self, placeholder, case: CaseSection, model: ModelSection) -> None:
        VTKObservationMixin.__init__(self)
        widget = slicer.util.loadUI(str(UI_FILE))
        placeholder.layout().addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        TaskSection.__init__(
            self, slicer.util.childWidgetVariables(widget), "follow", _("Align both studies and compare their lesions")
        )
        self._case, self._model = case, model
        self._followed: Followed | None = None
        self._rows: list[ChangedLesion] = []
        self._filling = self._proposing = self._chosen = False
        self._views = LinkedViews(lambda: self.ui.linkedViewsButton.setChecked(False))
        ui = self.ui
        ui.changeBox.setVisible(False)
        information.attach(ui.noiseInfoButton, ui.noiseLabel)
        table = ui.changeTable
        table.setColumnCount(6)
        table.setHorizontalHeaderLabels([_("No."), _("State"), _("Before"), _("Now"), _("%"), _("Region")])
        for column, tip in (
            (_BEFORE, _("Volume in the previous study, ml")),
            (_NOW, _("Volume in the present study, ml")),
            (_CHANGE, _("Change of the volume, %")),
        ):
            table.horizontalHeaderItem(column).setToolTip(tip)
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        for column in (_NUMBER, _STATE, _BEFORE, _NOW, _CHANGE):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(_REGION, qt.QHeaderView.Stretch)
        table.itemSelectionChanged.connect(self._row_selected)
        ui.linkedViewsButton.toggled.connect(self._linked_views)
        for selector in (ui.previousSelector, ui.presentSelector):
            # Volumes made by a follow-up are not studies.
            selector.currentNodeChanged.connect(self._study_chosen)
        ui.followCollapsibleButton.collapsed = True
        ui.followCollapsibleButton.contentsCollapsed.connect(lambda collapsed=False: self.propose())

    @property
    def followed(self) -> Followed | None:
        """The follow-up shown; None before the first one."""
        return self._followed

    @property
    def present(self) -> tuple[Change, object] | None:
        """The changes that are shown and the volume node of the last study; None before the first follow-up."""
        return None if self._followed is None else (self._followed.changes, self._followed.present)

    @property
    def rows(self) -> list[ChangedLesion]:
        """Lesions as they are listed."""
        return list(self._rows)

    def propose(self) -> None:
        """Preselect the present study: what the panel works on; the user's own choice stays."""
        if self._closed:
            return
        present = self.ui.presentSelector.currentNode()
        if not self._chosen or present is None:
            self._proposing = True
            try:
                self.ui.presentSelector.setCurrentNode(self._case.volumeNode)
                if _same(self.ui.previousSelector.currentNode(), self._case.volumeNode):
                    self.ui.previousSelector.setCurrentNode(None)
            finally:
                self._proposing = False
        self.update()

    def enter(self) -> None:
        """The panel is shown."""
        self.propose()

    def onSceneStartClose(self) -> None:
        """The scene is closing: no studies, no result."""
        super().onSceneStartClose()
        self._views.forget()
        self._chosen = False
        self._show(None)

    def cleanup(self) -> None:
        """End the task. The widgets may be gone already."""
        self.removeObservers()
        self._followed = None
        self._views.cleanup()
        super().cleanup()

    # The task

    def _refusal(self) -> str:
        previous, present = self.ui.previousSelector.currentNode(), self.ui.presentSelector.currentNode()
        if previous is None:
            return _("Choose the previous study: load its FLAIR, or a segmentation of it.")
        if present is None:
            return _("Choose the present study.")
        if any(node.GetAttribute(change_nodes.KIND) for node in (previous, present)):
            return _("Choose the original studies, not the volumes of an earlier follow-up.")
        volumes = [_volume(node) for node in (previous, present)]
        for node, volume in zip((previous, present), volumes, strict=True):
            if volume is None:
                return _("Load the FLAIR that belongs to '{name}'.").format(name=node.GetName())
        if volumes[0] is volumes[1]:
            return _("Both are the same study. Choose the earlier one as the previous.")
        return ""

    def _begin(self) -> None:
        self._install_for_models(self._model.device)
        chosen = [self.ui.previousSelector.currentNode(), self.ui.presentSelector.currentNode()]
        volumes = [_volume(node) for node in chosen]
        model, device, in_use = self._model.modelId, self._model.device, self._model.takenAsInUse
        kept = kept_answers.kept_regions_of(volumes[-1])
        title = _("{previous} to {present}").format(previous=volumes[0].GetName(), present=volumes[1].GetName())

        taken = []

        def take() -> Steps:
            studies = []
            for node, volume in zip(chosen, volumes, strict=True):
                taken.append((yield from volume_nodes.take_volume(volume)))
                studies.append((yield from study_of(node, volume, taken[-1].volume)))
            found = (yield from in_thread(kept.answer)) if kept is not None else None
            regions = None if found is None else found.full_labels()
            return FollowRequest(studies, model, device, regions, in_use)

        def receive(answer: FollowAnswer) -> Steps:
            # The aligned copies share the voxels of the studies, and start from where these are.
            for one, volume in zip(taken, volumes, strict=True):
                yield from volume_nodes.check_in_place(one, volume)
            nodes = yield from change_nodes.add_nodes(
                volumes, answer.to_halfway, answer.ijk_to_ras, answer.difference, answer.change, title
            )
            return Followed(answer.changes, nodes, volumes[-1])

        self.controller.perform(take, receive, list({*chosen, *volumes}))

    def _done(self, result: Followed) -> None:
        self._show(result)
        warnings = result.changes.warnings
        kind = messages.WARNING if warnings else messages.SUCCESS
        messages.show(self._message, kind, "\n".join([headline(result.changes), *warnings]))
        self.ui.linkedViewsButton.setChecked(True)

    # Display

    def _show(self, followed: Followed | None) -> None:
        self._followed = followed
        ui = self.ui
        ui.linkedViewsButton.setChecked(False)
        ui.changeBox.setVisible(followed is not None)
        changes = followed.changes if followed is not None else None
        lesions = changes.lesions if changes is not None else ()
        self._rows = sorted(lesions, key=lambda row: (_ORDER.index(row.state), row.number))
        self._filling = True
        try:
            self._fill()
        finally:
            self._filling = False
        messages.quiet(ui.changeDetailLabel, "")
        messages.quiet(ui.ventriclesLabel, ventricles_line(changes) if changes is not None else "")
        information.tell(ui.noiseInfoButton, ui.noiseLabel, noise_line(changes) if changes is not None else "")

    def _fill(self) -> None:
        table = self.ui.changeTable
        table.setRowCount(len(self._rows))
        names = change_nodes.state_names()
        located = any(lesion.region not in (None, UNKNOWN) for lesion in self._rows)
        for row, lesion in enumerate(self._rows):
            before, *_between, now = lesion.volumes_mm3
            texts = (
                str(lesion.number),
                names[lesion.state],
                _ml(before),
                _ml(now),
                _percent(lesion.change_percent),
                short_region_name(lesion.region if located else None),
            )
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(detail(lesion))
                if column == _STATE:
                    item.setData(qt.Qt.DecorationRole, qt.QColor(*STATE_BY_ID[lesion.state].rgb))
                elif column in (_NUMBER, _BEFORE, _NOW, _CHANGE):
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(row, column, item)
            table.setRowHeight(row, ROW_PX)
        fit_height(table, len(self._rows), 3, 10)
        table.clearSelection()
        table.setCurrentItem(None)

    def _row_selected(self) -> None:
        row = self.ui.changeTable.currentRow()
        if self._filling or not 0 <= row < len(self._rows) or not self.ui.changeTable.selectedItems():
            return
        lesion = self._rows[row]
        messages.quiet(self.ui.changeDetailLabel, detail(lesion))
        if not self.ui.linkedViewsButton.checked:
            self.ui.linkedViewsButton.setChecked(True)
        _center_on(lesion)

    def _linked_views(self, checked: bool = False) -> None:
        followed = self._followed
        if not checked or followed is None:
            self._views.close()
            return
        if not followed.nodes.alive:
            self.ui.linkedViewsButton.setChecked(False)
            messages.show(self._message, messages.WARNING, _("Parts of this follow-up were deleted. Run it again."))
            return
        nodes = followed.nodes
        shown = [
            Shown(_("Previous"), nodes.studies[0]),
            Shown(_("Present"), nodes.studies[-1]),
            Shown(_("Difference"), nodes.difference),
        ]
        self._views.show(shown, visible=[nodes.change])
        row = self.ui.changeTable.currentRow()
        if 0 <= row < len(self._rows) and self.ui.changeTable.selectedItems():
            _center_on(self._rows[row])

    def _study_chosen(self, node=None) -> None:
        if not self._proposing and self.ui.presentSelector.currentNode() is not None:
            self._chosen = not _same(self.ui.presentSelector.currentNode(), self._case.volumeNode)
        self.update()


def study_of(node, volume_node, volume: Volume) -> Steps:
    """Steps that copy the labels of a study out of the scene.

    Parameters
    ----------
    node : vtkMRMLScalarVolumeNode or vtkMRMLSegmentationNode
        A segmentation is taken as it is: corrected, accepted, or the model's own.
    volume_node : vtkMRMLScalarVolumeNode
        Its FLAIR.
    volume : Volume
        Its voxels.

    Returns
    -------
    FollowStudy
    """
    date, labels = dicom_source.study_date(volume_node), None
    if node is not volume_node:
        grid = segment_voxels.grid_of(node, volume_node)
        if grid is None or not segment_voxels.segments_by_class(node):
            raise InputNotFoundError(
                _("'{name}' contains none of FlairSeg's classes.").format(name=node.GetName()),
                _("Choose the FLAIR itself, or a segmentation with lesions."),
            )
        snapshot = segment_voxels.snapshot(node, volume_node, grid)
        labels = yield from in_thread(snapshot.labels)
    return FollowStudy(volume, date, labels)


def headline(changes: Change) -> str:
    """Describe the number of lesions in each state, in one sentence."""
    names, counts = change_nodes.state_names(), changes.counts
    parts = [f"{counts[state]} {names[state].lower()}" for state in _ORDER if counts.get(state)]
    return _("Lesions: {parts}.").format(parts=", ".join(parts)) if parts else _("No lesion in either study.")


def ventricles_line(changes: Change) -> str:
    """Volumes of the ventricles and whether their change is more than noise."""
    if changes.ventricles_change_percent is None:
        return ""
    verdict = _("more than measurement noise") if changes.ventricles_beyond_noise else _("within measurement noise")
    return _("Ventricles: {before:.1f} → {now:.1f} ml ({change:+.1f} %; noise ±{noise:.1f} %): {verdict}.").format(
        before=changes.studies[0].ventricles_ml,
        now=changes.studies[-1].ventricles_ml,
        change=changes.ventricles_change_percent,
        noise=changes.ventricles_noise_percent or 0.0,
        verdict=verdict,
    )


def noise_line(changes: Change) -> str:
    """Return the criterion of change, and its limits."""
    return f"{changes.noise.get('text', '')} {_('Research use only - not a medical device.')}".strip()


def detail(lesion: ChangedLesion) -> str:
    """One lesion in a sentence."""
    before, *_between, now = lesion.volumes_mm3
    text = _("No. {number}, {state}: {before} → {now} ml").format(
        number=lesion.number,
        state=change_nodes.state_names()[lesion.state].lower(),
        before=_ml(before),
        now=_ml(now),
    )
    if lesion.beyond_noise is False:
        text += _("; the difference is within measurement noise")
    return f"{text}. {lesion.note}".strip()


def _center_on(lesion: ChangedLesion) -> None:
    if lesion.centre_common_ras_mm is not None:
        views.center_on(lesion.centre_common_ras_mm)


def _volume(node):
    """The FLAIR of what was chosen; None if it is not in the scene."""
    return volume_of(node) if node.IsA("vtkMRMLSegmentationNode") else node


def _same(one, other) -> bool:
    return (one.GetID() if one is not None else None) == (other.GetID() if other is not None else None)


def _ml(mm3: float | None) -> str:
    return "–" if not mm3 else f"{mm3 / 1000:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{round(value):+d}"
