"""Result: which version is shown, its segments with volume and review status, and how strongly the views show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.errors import FlairSegError
from flairseg.labels import CLASS_BY_VALUE, LESION, NORMAL_WMH
from flairseg.models import find_model
from flairseg.review.verdict import ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED
from slicer.i18n import tr as _

from .. import segment_tags, segment_voxels, views

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..measurement import Measurement

_NAME, _VOLUME, _COUNT, _STATUS = range(4)


class ResultSection:
    """Version chooser, segment table and display.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegResult.ui``.
    on_version : callable
        Called with the segmentation node that the user chose.
    on_segment : callable
        Called with the id of the segment that the user clicked.
    """

    def __init__(self, ui, on_version: Callable, on_segment: Callable[[str], None]) -> None:
        self.ui = ui
        self._on_version, self._on_segment = on_version, on_segment
        self._node = None
        self._measured = None
        self._known = tuple(CLASS_BY_VALUE)
        self._filling = False
        self._versions: list[str] = []
        #: Called with whether the surface is shown, when the reader shows or hides it.
        self.onSurface: Callable[[bool], None] = lambda shown: None
        table = ui.segmentTable
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Segment"), _("ml"), _("Count"), _("Review")])
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(_NAME, qt.QHeaderView.Stretch)
        for column in (_VOLUME, _COUNT, _STATUS):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setHighlightSections(False)
        table.itemChanged.connect(self._checked)
        table.cellClicked.connect(self._clicked)
        ui.versionSelector.currentIndexChanged.connect(self._version_chosen)
        ui.opacitySlider.valueChanged.connect(self._opacity_changed)
        ui.outlineSlider.valueChanged.connect(self._outline_changed)
        ui.overlayCheckBox.toggled.connect(self._overlay_changed)
        ui.surfaceCheckBox.toggled.connect(self._surface_changed)

    @property
    def known(self) -> tuple[int, ...]:
        """Values of the classes that the model segments."""
        return self._known

    def show(self, node, versions: list) -> None:
        """Show a segmentation node (None: nothing) among its versions, before it is measured."""
        self._node, self._measured, self._known = node, None, _known_classes(node)
        self.show_versions(versions)
        self.show_display()
        self.refresh()

    def show_versions(self, versions: list) -> None:
        """Offer the segmentations of the same FLAIR; nothing to choose where there is one."""
        self._filling = True
        try:
            self._versions = [node.GetID() for node in versions]
            selector = self.ui.versionSelector
            selector.clear()
            for node in versions:
                selector.addItem(_version_text(node))
            if self._node is not None and self._node.GetID() in self._versions:
                selector.setCurrentIndex(self._versions.index(self._node.GetID()))
        finally:
            self._filling = False
        several = len(versions) > 1
        self.ui.versionLabel.setVisible(several)
        self.ui.versionSelector.setVisible(several)

    def measured(self, measured: Measurement | None) -> None:
        """Show volumes and how many of each class there are."""
        self._measured = measured
        self.refresh()

    def refresh(self) -> None:
        """Show the segments as they are in the node."""
        self._filling = True
        try:
            self._fill()
        finally:
            self._filling = False

    def show_display(self) -> None:
        """Show opacity, outline and visibility as they are in the display node."""
        node = self._node
        self._filling = True
        try:
            if node is not None:
                display = views.display_of(node)
                self.ui.opacitySlider.setValue(100 * display.GetOpacity2DFill())
                self.ui.outlineSlider.setValue(100 * display.GetOpacity2DOutline())
                self.ui.overlayCheckBox.setChecked(bool(display.GetVisibility()))
                self.ui.surfaceCheckBox.setChecked(views.has_surface(node))
        finally:
            self._filling = False

    def toggle_overlay(self) -> None:
        """Hide the colours, or show them again."""
        if self._node is not None:
            views.toggle_overlay(self._node)
            self.show_display()

    def _fill(self) -> None:
        table, node = self.ui.segmentTable, self._node
        ids = list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []
        table.setRowCount(len(ids))
        values = {i: value for value, i in segment_voxels.segments_by_class(node).items()} if node is not None else {}
        for row, segment_id in enumerate(ids):
            segment = node.GetSegmentation().GetSegment(segment_id)
            name = qt.QTableWidgetItem(segment.GetName())
            name.setData(qt.Qt.UserRole, segment_id)
            name.setData(qt.Qt.DecorationRole, qt.QColor.fromRgbF(*segment.GetColor()))
            name.setToolTip(segment.GetName())
            shown = views.display_of(node).GetSegmentVisibility(segment_id)
            name.setCheckState(qt.Qt.Checked if shown else qt.Qt.Unchecked)
            table.setItem(row, _NAME, name)
            value = values.get(segment_id)
            volume, count = self._figures(value)
            for column, text in ((_VOLUME, volume), (_COUNT, count)):
                item = qt.QTableWidgetItem(text)
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(row, column, item)
            table.setItem(row, _STATUS, qt.QTableWidgetItem(_status_text(segment)))
            table.setRowHeight(row, 24)

    def _figures(self, value: int | None) -> tuple[str, str]:
        if value is None:
            return "–", "–"
        if self._measured is None:
            return "…", "…"
        volume = self._measured.volume_ml(value)
        if value not in self._known and not volume:
            return "–", "–"  # Not segmented by the model, and not drawn by a reader.
        count = str(self._measured.count(value)) if value in (LESION, NORMAL_WMH) else "–"
        return f"{volume:.2f}", count

    def _checked(self, item=None) -> None:
        if self._filling or item is None or self._node is None:
            return
        segment_id = item.data(qt.Qt.UserRole)
        if segment_id:
            views.set_segment_visible(self._node, segment_id, item.checkState() == qt.Qt.Checked)

    def _clicked(self, row: int = 0, column: int = 0) -> None:
        item = self.ui.segmentTable.item(row, _NAME)
        if item is not None and self._node is not None:
            self._on_segment(item.data(qt.Qt.UserRole))

    def _version_chosen(self, index: int = -1) -> None:
        if self._filling or not 0 <= index < len(self._versions):
            return
        node = slicer.mrmlScene.GetNodeByID(self._versions[index])
        if node is not None and node is not self._node:
            self._on_version(node)

    def _opacity_changed(self, value: float = 0.0) -> None:
        if not self._filling and self._node is not None:
            views.set_fill_opacity(self._node, value / 100)

    def _outline_changed(self, value: float = 0.0) -> None:
        if not self._filling and self._node is not None:
            views.set_outline_opacity(self._node, value / 100)

    def _overlay_changed(self, checked: bool = True) -> None:
        if not self._filling and self._node is not None:
            views.show_overlay(self._node, checked)

    def _surface_changed(self, checked: bool = False) -> None:
        if not self._filling and self._node is not None:
            views.show_surface(self._node, checked)
            self.onSurface(checked)


def _known_classes(node) -> tuple[int, ...]:
    """Class values segmented by the model; all if unknown."""
    name = segment_tags.first_tag(node, segment_tags.MODEL) if node is not None else ""
    if not name:
        return tuple(CLASS_BY_VALUE)
    try:
        return find_model(name, verify=False).classes
    except FlairSegError:
        return tuple(CLASS_BY_VALUE)


def _version_text(node) -> str:
    verdict = _verdict_names().get(node.GetAttribute(segment_tags.VERDICT) or "", "")
    return f"{node.GetName()} – {verdict}" if verdict else node.GetName()


def _verdict_names() -> dict[str, str]:
    return {ACCEPTED: _("accepted"), ACCEPTED_AFTER_EDITS: _("accepted after edits"), REJECTED: _("rejected")}


def _status_text(segment) -> str:
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    texts = {
        logic.NotStarted: _("To do"),
        logic.InProgress: _("Edited"),
        logic.Completed: _("Accepted"),
        logic.Flagged: _("Rejected"),
    }
    return texts.get(logic.GetSegmentStatus(segment), "")


def class_name(value: int) -> str:
    """Name of one region of a class, as the list shows it."""
    if value == LESION:
        return _("Lesion")
    return CLASS_BY_VALUE[value].short_name if value in CLASS_BY_VALUE else _("Background")
