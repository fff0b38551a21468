"""Adapt to this scanner: what there is to learn from, an adaptation in the worker process, its proof, use, rollback."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.adapt import acceptance, outcomes
from flairseg.adapt.terms import BETTER, WORSE
from flairseg.errors import FlairSegError
from flairseg.models import choosing
from flairseg.models.install import install_model
from flairseg.models.store import find_model
from flairseg.worker.tasks import AdaptAnswer, AdaptRequest
from slicer.i18n import tr as _

from .. import background, phrasing, training_packages
from ..task_controller import Steps, in_thread
from . import adapt_words, messages
from .compare_section import ROW_PX, fit_height
from .export_section import absolute
from .model_section import duration
from .task_section import TaskSection

if TYPE_CHECKING:
    from ..settings import FlairSegSettings
    from .model_section import ModelSection

UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "FlairSegAdapt.ui"
#: Rows that the tables show at least and at most.
_FEWEST_ROWS, _MOST_FIGURES, _MOST_CASES = 1, 6, 6
_KINDS = {BETTER: messages.SUCCESS, WORSE: messages.WARNING}


class AdaptSection(TaskSection):
    """Cases that are ready, Start with a time, the proof, and which model is in use.

    Parameters
    ----------
    placeholder : QWidget
        Its layout takes the section.
    preferences : FlairSegSettings
    model : ModelSection
        Shows the model in use; notified when it changes.
    """

    def __init__(self, placeholder, preferences: FlairSegSettings, model: ModelSection) -> None:
        widget = slicer.util.loadUI(str(UI_FILE))
        placeholder.layout().addWidget(widget)
        super().__init__(
            slicer.util.childWidgetVariables(widget),
            "adapt",
            _("Adapt the model to your cases, and test the result on patients that it has not seen"),
        )
        self._settings, self._model = preferences, model
        self._ready: outcomes.Readiness | None = None
        self._looked_in = ""
        self._outcome: outcomes.Outcome | None = None
        self._names: dict[str, str] = {}
        self._look: background.Task | None = None
        self._began = 0.0
        ui = self.ui
        ui.adaptMinutesSpinBox.setValue(preferences.adaptMinutes)
        ui.adaptMinutesSpinBox.valueChanged.connect(self._minutes_changed)
        for table, heads in (
            (ui.proofTable, ["", _("Old"), _("New"), _("Gain (95 %)")]),
            (ui.proofCasesTable, [_("Case"), _("Dice"), _("new"), _("To edit"), _("new")]),
        ):
            _prepare(table, heads)
        ui.conventionsCheckBox.toggled.connect(lambda checked=False: self._show())
        ui.useButton.clicked.connect(lambda checked=False: self.use())
        ui.keepButton.clicked.connect(lambda checked=False: self.keep())
        ui.proofButton.clicked.connect(lambda checked=False: self.openReport())
        ui.rollbackButton.clicked.connect(lambda checked=False: self.rollback())
        ui.adaptCollapsibleButton.collapsed = True
        ui.adaptCollapsibleButton.contentsCollapsed.connect(lambda collapsed=False: self.look())
        self._show()

    @property
    def outcome(self) -> outcomes.Outcome | None:
        """The adaptation that is shown."""
        return self._outcome

    @property
    def looking(self) -> bool:
        """Whether the folder of cases is being looked through."""
        return self._look is not None and self._look.running

    def look(self) -> None:
        """Look through the folder of cases, in a thread, while the section is open."""
        if self._closed or self.running or self.ui.adaptCollapsibleButton.collapsed:
            return
        folder = absolute(self._settings.casesFolder)
        if folder != self._looked_in:
            # Messages about another folder do not apply to this one.
            self._looked_in, self._ready, self._outcome, self._names = folder, None, None, {}
            messages.hide(self._message)
        if self._look is not None:
            self._look.cancel()
        self._look = None
        if folder:
            self._look = background.run(
                lambda: (outcomes.readiness(folder), outcomes.newest_outcome(folder)), self._looked, self._look_failed
            )
        self._show()

    def enter(self) -> None:
        """The panel is shown."""
        self.look()
        self.update()

    def onSceneStartClose(self) -> None:
        """The scene is closing: an adaptation does not depend on it and continues."""

    def cleanup(self) -> None:
        """End the task; what is finished of it is kept. The widgets may be gone already."""
        if self._look is not None:
            self._look.cancel()
        super().cleanup()

    # The task

    def _refusal(self) -> str:
        if not self._settings.casesFolder:
            return _("Choose the folder of your cases under Settings; each accepted case is kept there.")
        if self._ready is None:
            return _("Checking the cases.")
        return adapt_words.lacks_patients(self._ready)

    def _begin(self) -> None:
        self._install_for_models(self._model.device)
        if training_packages.missing():
            self._installing(training_packages.ensure)
        output = str(outcomes.next_folder(self._looked_in))
        minutes = self.ui.adaptMinutesSpinBox.value
        request = AdaptRequest(self._looked_in, output, minutes, self._model.device)
        self._began = time.monotonic()

        def take() -> Steps:
            yield 1.0
            return request

        def receive(answer: AdaptAnswer) -> Steps:
            found = yield from in_thread(lambda: outcomes.read_outcome(answer.folder))
            return found, answer.names

        self.controller.perform(take, receive)
        self.ui.adaptMinutesSpinBox.setEnabled(False)
        self._outcome = None
        self._show()

    def _done(self, result: tuple[outcomes.Outcome, dict[str, str]]) -> None:
        self._set_outcome(result[0])
        self._names = result[1]
        self._settings.declinedModel = ""
        self.look()

    def _cancelled(self) -> None:
        super()._cancelled()
        if not self._closed:
            messages.show(
                self._message,
                messages.INFO,
                _("Cancelled. Completed parts are kept; Adapt resumes from them. The model in use is unchanged."),
            )
            self.look()

    def _failed(self, error: FlairSegError) -> None:
        super()._failed(error)
        if not self._closed:
            self.look()

    def _minutes_changed(self, minutes: int = 0) -> None:
        self._settings.adaptMinutes = minutes

    def _idle(self) -> None:
        super()._idle()
        self.ui.adaptMinutesSpinBox.setEnabled(True)

    def _words(self, stage: str) -> str:
        return _("{stage} ({time} of at most {most})").format(
            stage=adapt_words.stage_words(stage),
            time=duration(time.monotonic() - self._began),
            most=duration(60.0 * self.ui.adaptMinutesSpinBox.value),
        )

    # Decisions of the user

    def use(self) -> None:
        """Install the adapted model and put it in use; obstacles are shown in the panel."""
        outcome = self._outcome
        if outcome is None or not self._usable():
            return

        codes = adapt_words.asked(outcome.proof)

        def change() -> str:
            if codes:
                acceptance.accept(outcome.folder, codes)
                self._outcome = outcomes.read_outcome(outcome.folder)
            card = install_model(outcome.folder)
            choosing.use(card)
            return _("Now in use: {model}. Roll back restores the previous one.").format(model=card.id)

        self._change(change)

    def keep(self) -> None:
        """Keep the old model: the adapted one is not proposed again; its folder stays."""
        if self._outcome is not None:
            self._settings.declinedModel = self._outcome.card.sha256
            self._show()

    def rollback(self) -> None:
        """Put the model that was in use before in use again."""

        def change() -> str:
            choosing.rollback()
            return _("In use again: {model}.").format(model=find_model(verify=False).id)

        self._change(change)

    def openReport(self) -> None:
        """Open the proof's page in the browser."""
        outcome = self._outcome
        if outcome is None:
            return
        if not qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(outcome.page))):
            messages.show(self._message, messages.INFO, _("The report is {path}.").format(path=outcome.page))

    def _change(self, change) -> None:
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            kind, told = messages.SUCCESS, change()
        except Exception as error:  # noqa: BLE001 - a slot: Qt would only print it
            kind, told = messages.ERROR, phrasing.text(phrasing.typed(error))
        finally:
            qt.QApplication.restoreOverrideCursor()
        self._model.useInUse()
        messages.show(self._message, kind, told)
        self._show()

    # Display

    def _looked(self, found: tuple[outcomes.Readiness, outcomes.Outcome | None]) -> None:
        if self._closed:
            return
        self._ready, newest = found
        if not self.running and newest is not None:
            if self._outcome is None or newest.card.sha256 != self._outcome.card.sha256:
                self._names = {}
            self._set_outcome(newest)
        self._show()

    def _look_failed(self, error: Exception) -> None:
        if not self._closed:
            messages.show(self._message, messages.ERROR, phrasing.text(error))

    def _set_outcome(self, outcome: outcomes.Outcome) -> None:
        """Show an adaptation; what was stated of another one does not hold for it."""
        if self._outcome is None or self._outcome.folder != outcome.folder:
            self.ui.conventionsCheckBox.checked = False
        self._outcome = outcome

    def _usable(self) -> bool:
        outcome = self._outcome
        if outcome is None or self._used():
            return False
        stated = bool(adapt_words.asked(outcome.proof)) and self.ui.conventionsCheckBox.checked
        return outcome.verdict == BETTER or stated

    def _used(self) -> bool:
        return self._outcome is not None and self._outcome.card.id == self._model.inUse

    def _show(self) -> None:
        self.update()
        # What is shown within a collapsed section is outside it; expanded, it is visible.
        if self._closed or self.ui.adaptCollapsibleButton.collapsed:
            return
        ui, found = self.ui, self._ready
        refusal = self._refusal() if found is None else adapt_words.ready_line(found)
        messages.quiet(ui.adaptReadyLabel, refusal)
        messages.quiet(ui.adaptMissingLabel, "\n".join(adapt_words.missing_lines(found)) if found is not None else "")
        messages.quiet(ui.adaptPackagesLabel, training_packages.reason())
        self._show_proof()
        self._show_in_use()

    def _show_proof(self) -> None:
        ui, outcome = self.ui, self._outcome
        ui.proofBox.setVisible(outcome is not None)
        if outcome is None:
            return
        declined = self._settings.declinedModel == outcome.card.sha256
        heading = adapt_words.verdict_words(outcome.verdict)
        told = " ".join([f"{heading}.", *outcome.card.raw["adaptation"]["reasons"]])
        messages.show(ui.proofVerdictLabel, _KINDS.get(outcome.verdict, messages.INFO), told)
        if self._used():
            then = _("It is in use.")
        elif declined:
            then = _("You kept the old model.")
        else:
            then = adapt_words.next_words(outcome.verdict)
        messages.quiet(ui.proofTellsLabel, f"{adapt_words.learnt_line(outcome)} {then}")
        codes = adapt_words.asked(outcome.proof)
        messages.quiet(ui.conventionsLabel, "\n".join(adapt_words.convention_lines(outcome.proof)))
        ui.conventionsCheckBox.setVisible(bool(codes))
        ui.conventionsCheckBox.text = adapt_words.acceptance(codes) if codes else ""
        _fill(ui.proofTable, adapt_words.figure_rows(outcome.proof), _MOST_FIGURES)
        _fill(ui.proofCasesTable, adapt_words.case_rows(outcome.proof, self._names), _MOST_CASES)
        messages.quiet(ui.proofLeftOutLabel, "\n".join(adapt_words.left_out_lines(outcome.proof, self._names)))
        ui.useButton.setVisible(outcome.verdict == BETTER or bool(codes))
        ui.useButton.setEnabled(self._usable())
        ui.keepButton.setVisible(self._usable())
        ui.keepButton.setEnabled(not declined)

    def _show_in_use(self) -> None:
        ui = self.ui
        card = self._model.cards.get(self._model.inUse)
        if card is None:
            text = _("The model in use cannot be used; see Model.")
        else:
            text = _("Model in use: {title} ({id}).").format(title=card.title, id=card.id)
        messages.quiet(ui.inUseLabel, text)
        ui.rollbackButton.setVisible(choosing.can_roll_back())


def _prepare(table, heads: list[str]) -> None:
    table.setColumnCount(len(heads))
    table.setHorizontalHeaderLabels(heads)
    table.verticalHeader().setVisible(False)
    header = table.horizontalHeader()
    header.setHighlightSections(False)
    header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
    for column in range(1, len(heads)):
        header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)


def _fill(table, rows: list[tuple[list[str], str]], most: int) -> None:
    table.setRowCount(len(rows))
    for row, (cells, tip) in enumerate(rows):
        for column, text in enumerate(cells):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(tip)
            if column:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(row, column, item)
        table.setRowHeight(row, ROW_PX)
    fit_height(table, len(rows), _FEWEST_ROWS, most)
