"""Lesions: the list, from lesion to lesion by click or key, flip and delete, more or fewer of them by probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.anatomy.lesion_table import dissemination_of_rows, load_by_region
from flairseg.errors import FlairSegError
from flairseg.files.atomic import all_or_none
from flairseg.labels import BACKGROUND, CLASS_BY_VALUE, LESION, NORMAL_WMH
from flairseg.lesions.edits import other_wmh_class
from slicer.i18n import tr as _

from .. import background, drawing, kept_answers, phrasing, views
from ..case_names import case_of
from . import information, lesion_list, lesion_words, messages
from .file_names import chosen_path, file_stem
from .proposals import Proposal, propose
from .result_section import class_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.anatomy.lesion_table import LesionRow
    from flairseg.lesions.components import Lesion

    from ..measurement import Measurement, Stored

#: A slider that is being moved is waited for, ms.
SETTLING_MS = 200
_ANY, _BELOW, _ABOVE = range(3)
_CLASS_FILTERS = ((LESION,), (NORMAL_WMH,), (LESION, NORMAL_WMH))


class LesionsSection:
    """The list of lesions and what is done with it.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegResult.ui``.
    apply : callable
        ``apply(grid, box, before, after) -> bool`` changes voxels in the editor's undo history.
    on_activity : callable
        Called without arguments when the reader does something.
    """

    def __init__(self, ui, apply: Callable[..., bool], on_activity: Callable[[], None]) -> None:
        self.ui = ui
        self._apply, self._on_activity = apply, on_activity
        self._node = None
        self._measured: Measurement | None = None
        self._stored: Stored | None = None
        self._rows: list[Lesion] = []
        self._selected: int | None = None
        self._next_row = 0
        #: The region that a key has just taken out of the list: an undo selects it again.
        self._taken: int | None = None
        #: Lesions that a key has changed since they were counted.
        self._changed: set[int] = set()
        self._starting = False
        self._sort, self._descending = lesion_list.NUMBER, False
        self._filling = False
        self._locked = False
        self._proposal: Proposal | None = None
        self._proposing = False
        self._task = None
        lesion_list.build(ui.lesionTable)
        ui.lesionTable.horizontalHeader().sectionClicked.connect(self._sort_by)
        ui.lesionTable.itemSelectionChanged.connect(self._row_selected)
        information.attach(ui.keysInfoButton, ui.keysLabel)
        information.attach(ui.disseminationInfoButton, ui.disseminationLabel)
        information.tell(ui.keysInfoButton, ui.keysLabel, lesion_words.key_line())
        for text in (_("Lesions"), _("Normal WMH"), _("Both")):
            ui.classFilter.addItem(text)
        for text in (_("any"), _("below"), _("from")):
            ui.confidenceFilter.addItem(text)
        ui.confidenceSpinBox.setVisible(False)
        ui.thresholdGroupBox.collapsed = True
        ui.classFilter.currentIndexChanged.connect(self._filter_changed)
        ui.confidenceFilter.currentIndexChanged.connect(self._filter_changed)
        ui.confidenceSpinBox.valueChanged.connect(self._filter_changed)
        ui.previousButton.clicked.connect(lambda checked=False: self.step(-1))
        ui.nextButton.clicked.connect(lambda checked=False: self.step(1))
        ui.flipButton.clicked.connect(lambda checked=False: self.flip())
        ui.deleteButton.clicked.connect(lambda checked=False: self.delete())
        ui.zoomCheckBox.toggled.connect(self._zoom_changed)
        ui.saveTableButton.clicked.connect(lambda checked=False: self.save_table())
        self._settling = qt.QTimer()
        self._settling.setSingleShot(True)
        self._settling.setInterval(SETTLING_MS)
        self._settling.timeout.connect(self._propose)
        ui.seenFromSlider.valueChanged.connect(self._threshold_moved)
        ui.outlinedToSlider.valueChanged.connect(self._threshold_moved)
        ui.applyThresholdButton.clicked.connect(lambda checked=False: self.apply_proposal())
        ui.resetThresholdButton.clicked.connect(lambda checked=False: self.forget_proposal())

    @property
    def selected(self) -> Lesion | None:
        """The lesion that is selected in the list."""
        return next((lesion for lesion in self._rows if lesion.number == self._selected), None)

    @property
    def rows(self) -> list[Lesion]:
        """The lesions as they are listed."""
        return list(self._rows)

    @property
    def proposal(self) -> Proposal | None:
        """The thresholds proposed by the sliders; None while nothing is proposed."""
        return self._proposal

    @property
    def _with_probabilities(self) -> bool:
        return self._stored is not None and self._stored.probabilities is not None

    def show(self, node, known: bool) -> None:
        """Show a segmentation node (None: nothing) before it is measured; ``known``: its probabilities were kept."""
        self._node = node
        self._stored = None
        self._measured, self._selected, self._next_row = None, None, 0
        self._taken, self._starting = None, False
        self._rows = []
        self.forget_proposal()
        self.ui.thresholdGroupBox.setEnabled(known)
        self.ui.thresholdGroupBox.setToolTip("" if known else _("No probabilities are stored with this segmentation."))
        for widget in (self.ui.confidenceLabel, self.ui.confidenceFilter):
            widget.setEnabled(known)
        self._fill()

    def set_stored(self, stored: Stored) -> None:
        """The model's result, on the grid of what is measured."""
        self._stored = stored

    def measured(self, measured: Measurement | None) -> None:
        """Show what was measured; the selected lesion stays selected, or the next one takes its place."""
        self._measured, self._changed = measured, set()
        self._fill()
        if self._starting and self._rows:
            self._starting = False
            self.select(self._rows[0].number)
        if self._proposing:
            self._settling.start()

    def start_at_first(self) -> None:
        """Select the first lesion, as soon as they are counted."""
        self._starting = True

    def lock(self, locked: bool) -> None:
        """Allow looking only, or editing again."""
        self._locked = locked
        if locked:
            self.forget_proposal()
        self._update_buttons()

    def forget(self) -> None:
        """The scene is closing."""
        self.show(None, False)

    def cleanup(self) -> None:
        """Count and propose nothing any more. The widgets may be gone already."""
        self._settling.stop()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._node = self._measured = None
        self._stored = None

    def step(self, by: int) -> None:
        """Go to the next (+1) or previous (-1) lesion of the list; past the end it starts again."""
        self._on_activity()
        if not self._rows:
            return
        row = self._row_of(self._selected)
        if row is None:
            row = self._next_row if by > 0 else self._next_row - 1
        else:
            row += by
        self.select(self._rows[row % len(self._rows)].number)

    def select(self, number: int) -> None:
        """Select a lesion and show it in all views."""
        row = self._row_of(number)
        if row is None:
            return
        self._selected = number
        self._filling = True
        try:
            self.ui.lesionTable.selectRow(row)
            self.ui.lesionTable.scrollToItem(self.ui.lesionTable.item(row, lesion_list.NUMBER))
        finally:
            self._filling = False
        self._look()

    def flip(self) -> None:
        """Make the selected lesion normal WMH, or the other way round."""
        lesion = self.selected
        if lesion is None:
            return
        value = other_wmh_class(lesion.value)
        text = _("No. {number} is now {name}. Ctrl+Z undoes.")
        self._reclassify(lesion, value, text.format(number=lesion.number, name=class_name(value)))

    def delete(self) -> None:
        """Remove the selected lesion."""
        lesion = self.selected
        if lesion is not None:
            text = _("No. {number} is removed. Ctrl+Z undoes.").format(number=lesion.number)
            self._reclassify(lesion, BACKGROUND, text)

    def apply_proposal(self) -> None:
        """Draw the lesions as proposed."""
        proposal, measured = self._proposal, self._measured
        if proposal is None or proposal.box is None or measured is None or self._locked:
            return
        self._on_activity()
        if self._apply(measured.grid, proposal.box, proposal.before, proposal.after):
            kept_answers.keep_lesion_thresholds(self._node, *proposal.thresholds)
            self.forget_proposal()
            self._say(_("Lesions are redrawn. Ctrl+Z undoes."))

    def forget_proposal(self) -> None:
        """Propose nothing."""
        self._settling.stop()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._proposal, self._proposing = None, False
        self.ui.applyThresholdButton.setEnabled(False)
        self.ui.resetThresholdButton.setEnabled(False)
        self.ui.thresholdLabel.setText(_("Move a slider to preview the change. Your edits are kept."))

    # The list

    def _fill(self) -> None:
        table = self.ui.lesionTable
        self._rows = self._wanted()
        self._filling = True
        try:
            table.setRowCount(min(len(self._rows), lesion_list.MAXIMUM_ROWS))
            for row, lesion in enumerate(self._rows[: lesion_list.MAXIMUM_ROWS]):
                figures = self._figures(lesion)
                texts = (
                    str(lesion.number),
                    lesion_words.volume(lesion.volume_ml),
                    "–" if figures is None else f"{figures.diameter_mm:.1f}",
                    str(lesion.largest_slice + 1),
                    lesion_words.confidence(lesion),
                    self._place(lesion, short=True),
                )
                tip = f"{self._place(lesion)}\n{lesion_words.sheet(lesion, figures)}"
                lesion_list.set_row(table, row, texts, tip, CLASS_BY_VALUE[lesion.value].rgb_unit)
            self._rows = self._rows[: lesion_list.MAXIMUM_ROWS]
            if self._selected is None and self._row_of(self._taken) is not None:
                self._selected, self._taken = self._taken, None
            row = self._row_of(self._selected)
            if row is None:
                if self._selected is not None:
                    # It was flipped, deleted or filtered away: the next lesion takes its place.
                    self._selected, self._taken = None, self._selected
                table.clearSelection()
                table.setCurrentItem(None)
            else:
                table.selectRow(row)
                self._next_row = row
        finally:
            self._filling = False
        lesion_list.mark_sorted(table, self._sort, self._descending)
        self._tell_confidence()
        if self._measured is None:
            self._quiet(_("Counting …") if self._node is not None else "")
        elif not self._rows:
            self._quiet(_("Nothing to list.") if self._measured.regions.lesions else _("No lesion was found."))
        elif len(self._wanted()) > lesion_list.MAXIMUM_ROWS:
            self._quiet(_("The first {count} are listed; filter to see more.").format(count=lesion_list.MAXIMUM_ROWS))
        elif not self.ui.lesionMessageLabel.property("kept"):
            self._quiet("")
        self.ui.lesionMessageLabel.setProperty("kept", False)
        self._explain()
        self._show_load()
        self._update_buttons()

    def _tell_confidence(self) -> None:
        """Tooltips: what confidence means of the lesions that are listed."""
        lesions = () if self._measured is None else self._measured.regions.lesions
        tip = lesion_words.confidence_tip(any(lesion.drawn_share is not None for lesion in lesions))
        self.ui.lesionTable.horizontalHeaderItem(lesion_list.CONFIDENCE).setToolTip(tip)
        self.ui.confidenceFilter.setToolTip(tip)

    def _wanted(self) -> list[Lesion]:
        if self._measured is None:
            return []
        values = _CLASS_FILTERS[max(0, self.ui.classFilter.currentIndex)]
        kind, limit = self.ui.confidenceFilter.currentIndex, self.ui.confidenceSpinBox.value / 100
        rows = [lesion for lesion in self._measured.regions.lesions if lesion.value in values]
        if kind != _ANY and self._with_probabilities:
            sure = {x.number: lesion_words.certainty(x) for x in rows}
            rows = [x for x in rows if sure[x.number] is not None and (sure[x.number] >= limit) == (kind == _ABOVE)]
        keys = {
            lesion_list.NUMBER: lambda x: x.number,
            lesion_list.VOLUME: lambda x: x.voxels,
            lesion_list.DIAMETER: lambda x: -1.0 if self._figures(x) is None else self._figures(x).diameter_mm,
            lesion_list.SLICE: lambda x: x.largest_slice,
            lesion_list.CONFIDENCE: lambda x: -1.0 if lesion_words.certainty(x) is None else lesion_words.certainty(x),
            lesion_list.REGION: self._place,
        }
        return sorted(rows, key=lambda x: (keys[self._sort](x), x.number), reverse=self._descending)

    def _figures(self, lesion: Lesion) -> LesionRow | None:
        return None if self._measured is None else self._measured.table.get(lesion.number)

    def _place(self, lesion: Lesion, short: bool = False) -> str:
        """Region of a lesion; normal WMH is named as what it is, and is part of no region's load."""
        if lesion.value != LESION:
            return class_name(lesion.value)
        figures = self._figures(lesion)
        located = figures is not None and self._measured.located
        name = lesion_words.short_region_name if short else lesion_words.region_name
        return name(figures.region if located else None)

    def _show_load(self) -> None:
        measured = self._measured
        rows = [] if measured is None else measured.lesion_rows
        lines = [lesion_words.count_line(rows)] if rows else []
        evidence = ""
        if rows and measured.located:
            lines.append(lesion_words.load_line(load_by_region(rows)))
            evidence = dissemination_of_rows(rows).text
        messages.quiet(self.ui.loadLabel, "\n".join(lines))
        information.tell(self.ui.disseminationInfoButton, self.ui.disseminationLabel, evidence)
        self.ui.saveTableButton.setEnabled(measured is not None and bool(measured.table))

    def _case(self) -> str:
        """The case by the image that was segmented; by the segmentation itself where that is no longer in the scene."""
        volume = kept_answers.input_of(self._node)
        return self._node.GetName() if volume is None else case_of(volume)

    def save_table(self) -> None:
        """Ask for a file and write the whole table, as it is now, whatever the filters show."""
        measured = self._measured
        if measured is None or not measured.table:
            return
        self._on_activity()
        name = f"{file_stem(self._node.GetName())}_lesions.csv"
        chosen = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save the table of lesions"), name, _("Comma separated values (*.csv)")
        )
        if not chosen:
            return
        try:
            path = chosen_path(chosen, ".csv")
            with all_or_none(path.parent, [path.name], replace=[path.name]) as folder:
                (folder / path.name).write_text(measured.table_text(self._case()), encoding="utf-8", newline="")
        except FlairSegError as error:
            text = _("Not saved. {what}").format(what=phrasing.text(error))
            messages.show(self.ui.lesionMessageLabel, messages.ERROR, text)
            return
        self._quiet(_("Saved as {path}.").format(path=path))

    def _row_of(self, number: int | None) -> int | None:
        return next((row for row, lesion in enumerate(self._rows) if lesion.number == number), None)

    def _sort_by(self, column: int = 0) -> None:
        self._on_activity()
        # Large and doubtful lesions first, for the first click.
        self._descending = (
            not self._descending if column == self._sort else column in (lesion_list.VOLUME, lesion_list.DIAMETER)
        )
        self._sort = column
        self._fill()

    def _filter_changed(self, *_arguments) -> None:
        self.ui.confidenceSpinBox.setVisible(self.ui.confidenceFilter.currentIndex != _ANY)
        self._on_activity()
        self._fill()

    def _row_selected(self) -> None:
        if self._filling:
            return
        row = self.ui.lesionTable.currentRow()
        if not 0 <= row < len(self._rows) or not self.ui.lesionTable.selectedItems():
            return
        self._on_activity()
        self._selected = self._rows[row].number
        self._look()

    def _look(self) -> None:
        lesion = self.selected
        if lesion is None or self._node is None:
            return
        self._next_row = self._row_of(lesion.number)
        with drawing.once():
            if self.ui.zoomCheckBox.checked:
                self._zoom(lesion)
            views.center_on(views.to_world(self._node, lesion.anchor_ras))
        self._quiet("")
        self._explain()
        self._update_buttons()

    def _zoom(self, lesion: Lesion) -> None:
        spacing = self._measured.grid.spacing_kji
        views.zoom_to(max((s.stop - s.start) * float(mm) for s, mm in zip(lesion.box, spacing, strict=True)))

    def _zoom_changed(self, checked: bool = False) -> None:
        self._on_activity()
        with drawing.once():
            if not checked:
                views.fit()
            self._look()

    def _explain(self) -> None:
        lesion = self.selected
        text = ""
        if lesion is not None:
            found = lesion_words.finding(lesion, self._figures(lesion), self._measured.located)
            text = f"{found} {lesion_words.explanation(lesion)}".strip()
        messages.quiet(self.ui.whyLabel, text)

    # Editing

    def _reclassify(self, lesion: Lesion, value: int, text: str) -> None:
        measured = self._measured
        if lesion.number in self._changed:
            return  # The next key came before the count: what was removed would return as the other class.
        if measured is None or self._locked:
            self._quiet(_("Read-only after the verdict. Reopen it to edit again.") if self._locked else "")
            return
        self._on_activity()
        box, mask = measured.regions.mask(lesion.number)
        before = measured.labels[box]
        after = before.copy()
        after[mask] = value
        self._next_row = self._row_of(lesion.number) or 0
        if self._apply(measured.grid, box, before, after):
            self._changed.add(lesion.number)
            self._say(text)

    def _update_buttons(self) -> None:
        lesion = self.selected
        editable = lesion is not None and not self._locked
        self.ui.flipButton.setEnabled(editable)
        self.ui.deleteButton.setEnabled(editable)
        for button in (self.ui.previousButton, self.ui.nextButton):
            button.setEnabled(bool(self._rows))
        to_lesion = lesion is not None and other_wmh_class(lesion.value) == LESION
        self.ui.flipButton.setText(_("To lesion (X)") if to_lesion else _("To normal (X)"))

    def _say(self, text: str) -> None:
        messages.quiet(self.ui.lesionMessageLabel, text)
        # The list is refilled after each edit; the message about the edit must remain readable.
        self.ui.lesionMessageLabel.setProperty("kept", True)

    def _quiet(self, text: str) -> None:
        messages.quiet(self.ui.lesionMessageLabel, text)

    # Thresholds

    def _threshold_moved(self, value: float = 0.0) -> None:
        if self._locked or not self._with_probabilities or self._measured is None:
            return
        self._on_activity()
        self._proposing = True
        self._proposal = None
        self.ui.applyThresholdButton.setEnabled(False)
        self.ui.resetThresholdButton.setEnabled(True)
        self._settling.start()

    def _propose(self) -> None:
        measured, stored = self._measured, self._stored
        if measured is None or not self._with_probabilities or not self._proposing:
            return
        if self._task is not None:
            self._task.cancel()
        seen_from, outlined_to = self.ui.seenFromSlider.value / 100, self.ui.outlinedToSlider.value / 100
        self.ui.thresholdLabel.setText(_("Counting …"))
        self._task = background.run(
            lambda: propose(measured, stored, seen_from, outlined_to), self._proposed, self._failed
        )

    def _proposed(self, proposal: Proposal) -> None:
        self._task = None
        measured = self._measured
        if measured is None or not self._proposing:
            return
        self._proposal = proposal
        self.ui.applyThresholdButton.setEnabled(proposal.box is not None and not self._locked)
        now = measured.count(LESION), measured.volume_ml(LESION)
        text = _("Lesions: {now} → {then} ({now_ml:.2f} → {then_ml:.2f} ml)")
        if proposal.box is None:
            text = _("Nothing would change: {now} lesions ({now_ml:.2f} ml).")
        self.ui.thresholdLabel.setText(
            text.format(now=now[0], then=proposal.count, now_ml=now[1], then_ml=proposal.volume_ml)
        )

    def _failed(self, error: Exception) -> None:
        self._task = None
        messages.show(self.ui.thresholdLabel, messages.ERROR, phrasing.text(error))
