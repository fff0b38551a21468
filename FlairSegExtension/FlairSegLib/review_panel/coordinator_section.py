"""The coordinator's section: a protocol is made, checked and locked; the study watched, checked, closed and analysed.

All of it can be done with ``flairseg study`` as well; both call the same functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.errors import FlairSegError
from slicer.i18n import tr as _

from .. import dependencies, phrasing
from ..panel import messages
from .protocol_editor import ProtocolEditor
from .work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.study.checking import Finding
    from flairseg.study.study import StudyStatus

    from ..settings import FlairSegSettings

UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "FlairSegStudyCoordinator.ui"
REPORT = "report.html"
#: Maximum number of findings shown; the command line lists all.
_FINDINGS = 8


class CoordinatorSection:
    """Section for the coordinator, who holds the key.

    Parameters
    ----------
    holder : QWidget
        With a layout.
    settings : FlairSegSettings
        Remembers protocol and study.
    """

    def __init__(self, holder, settings: FlairSegSettings) -> None:
        self._settings = settings
        widget = slicer.util.loadUI(str(UI_FILE))
        holder.layout().addWidget(widget)
        self.ui = ui = slicer.util.childWidgetVariables(widget)
        self.work = Work(ui, self._update)
        self.editor = ProtocolEditor(ui, self._protocol_saved)
        self._status: StudyStatus | None = None
        self._report: Path | None = None
        self._tips: dict[str, str] = {}
        _set_up_table(ui.statusTable, [_("Rater"), _("Answered"), _("Active min"), _("Last answer (UTC)")])
        slots = {
            "protocolButton": self._choose_protocol,
            "checkProtocolButton": self.check_protocol,
            "lockButton": self._choose_and_lock,
            "studyButton": self._choose_study,
            "refreshButton": self.refresh,
            "checkStudyButton": self.check_study,
            "closeNowButton": self.close,
            "analyseButton": self._choose_and_analyse,
            "exportButton": self._choose_and_export,
            "openResultButton": self._open_report,
        }
        for name, slot in slots.items():
            getattr(ui, name).clicked.connect(lambda checked=False, slot=slot: slot())
        ui.newProtocolButton.toggled.connect(self.editor.show)
        ui.closeEditorButton.clicked.connect(lambda checked=False: ui.newProtocolButton.setChecked(False))
        ui.closeButton.toggled.connect(lambda checked=False: ui.closeBox.setVisible(checked))
        ui.closeBox.setVisible(False)
        self.editor.show(False)
        messages.hide(ui.coordinatorMessageLabel)
        self._update()

    def cleanup(self) -> None:
        """Clean up with the panel."""
        self.work.cleanup()

    # --- the protocol ------------------------------------------------------------------------------------------------

    def check_protocol(self) -> None:
        """Say everything that would stop the protocol from being locked."""
        from flairseg.study.checking import check_protocol

        path = self._settings.studyProtocol
        self.work.start(
            lambda progress, cancel: check_protocol(path),
            lambda findings: self._show_findings(findings, _("The protocol can be locked.")),
            _("Reading the protocol, its images and masks …"),
        )

    def lock(self, folder: str | Path) -> None:
        """Lock the protocol into a new folder."""
        from flairseg.study.locking import lock

        path = self._settings.studyProtocol

        def locked(study) -> None:
            self._settings.studyFolder = str(study.folder)
            self.refresh(
                _(
                    "Locked. Give each rater his or her folder in “rooms”; keep “coordinator” from them: it contains"
                    " the key."
                )
            )

        store = self.ui.storeEdit.text.strip()
        if self._store_is_there(store):
            self.work.start(
                lambda progress, cancel: lock(path, folder, store, progress), locked, _("Making the reading rooms …")
            )

    # --- the study ---------------------------------------------------------------------------------------------------

    def refresh(self, said: str = "") -> None:
        """Read all raters' progress; ``said`` is shown below."""

        def read(status: StudyStatus) -> None:
            self._show_status(status)
            self._say(messages.SUCCESS, said)

        if self._settings.studyFolder and self._store_is_there():
            self.work.start(lambda progress, cancel: self._study().status(), read, _("Reading …"))

    def check_study(self) -> None:
        """Show every difference from the locked state."""
        from flairseg.study.checking import check_study

        if self._store_is_there():
            self.work.start(
                lambda progress, cancel: check_study(self._study()),
                lambda findings: self._show_findings(findings, _("Nothing has changed since locking.")),
                _("Comparing protocol, key, orders, images and records …"),
            )

    def close(self) -> None:
        """End the study and open the key."""
        incomplete = self.ui.incompleteCheck.checked

        def closed(key) -> None:
            self.ui.closeButton.setChecked(False)
            self.refresh(_("Closed. The key matches its seal; the study can be analysed."))

        if self._store_is_there():
            self.work.start(lambda progress, cancel: self._study().close(incomplete), closed, _("Closing …"))

    def analyse(self, folder: str | Path) -> None:
        """Write the report into a folder."""
        try:
            dependencies.ensureStatistics()
        except FlairSegError as error:
            self._say(messages.ERROR, phrasing.text(error))
            return
        from flairseg.study.analysis.from_study import analyse_study

        def written(files: dict[str, Path]) -> None:
            self._report = files[REPORT]
            self._say(messages.SUCCESS, _("The report and its tables are in {folder}.").format(folder=folder))

        self.work.start(
            lambda progress, cancel: analyse_study(self._study(), folder, progress, cancel, overwrite=True),
            written,
            _("Analysing …"),
        )

    def export(self, folder: str | Path) -> None:
        """Write the tables into a folder."""
        from flairseg.study.ratings import tables, write_tables

        if self._store_is_there():
            self.work.start(
                lambda progress, cancel: write_tables(tables(self._study()), folder),
                lambda files: self._say(messages.SUCCESS, _("Written to {folder}.").format(folder=folder)),
                _("Writing …"),
            )

    # --- inside ------------------------------------------------------------------------------------------------------

    def _study(self):
        from flairseg.study.study import Study

        return Study(self._settings.studyFolder)

    def _store_is_there(self, address: str | None = None) -> bool:
        try:
            dependencies.ensureStore(self._study().store_address() if address is None else address)
        except FlairSegError as error:
            self._say(messages.ERROR, phrasing.text(error))
            return False
        return True

    def _show_findings(self, findings: list[Finding], good: str) -> None:
        if not findings:
            self._say(messages.SUCCESS, good)
            return
        lines = [str(finding) for finding in findings[:_FINDINGS]]
        if len(findings) > _FINDINGS:
            lines.append(_("… and {count} more.").format(count=len(findings) - _FINDINGS))
        self._say(messages.ERROR, "\n".join(lines))

    def _show_status(self, status: StudyStatus) -> None:
        self._status = status
        table = self.ui.statusTable
        table.setRowCount(len(status.raters))
        for row, rater in enumerate(status.raters):
            answered = _("{answered} of {total}").format(answered=rater.answered, total=rater.total)
            if rater.pending:
                answered += " " + _("({count} waiting)").format(count=rater.pending)
            last = (rater.last_answered_at or "–")[:16].replace("T", " ")
            for column, text in enumerate((rater.rater, answered, f"{rater.active_seconds / 60:.1f}", last)):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        _fit_columns(table)

    def _say(self, kind: str, text: str) -> None:
        messages.show(self.ui.coordinatorMessageLabel, kind, text)

    def _protocol_saved(self, path: Path, left_out: tuple[str, ...]) -> None:
        self._settings.studyProtocol = str(path)
        self.ui.newProtocolButton.setChecked(False)
        self._update()
        if left_out:
            self._say(messages.WARNING, _("Left out: {cases}").format(cases="; ".join(left_out[:_FINDINGS])))
        else:
            self._say(messages.SUCCESS, _("Saved. Check it, then lock it."))

    def _choose_protocol(self) -> None:
        chosen = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Protocol"), self._settings.studyProtocol, "JSON (*.json)"
        )
        if _path(chosen):
            self._settings.studyProtocol = _path(chosen)
            self._update()

    def _choose_study(self) -> None:
        chosen = _folder(_("Study"), self._settings.studyFolder)
        if chosen:
            self._settings.studyFolder = chosen
            self._status = self._report = None
            self.ui.statusTable.setRowCount(0)
            self._update()
            self.refresh()

    def _choose_and(self, title: str, step: Callable[[str], None]) -> None:
        chosen = _folder(title, str(Path(self._settings.studyFolder or self._settings.studyProtocol).parent))
        if chosen:
            step(chosen)

    def _choose_and_lock(self) -> None:
        self._choose_and(_("New, empty folder for the study"), self.lock)

    def _choose_and_analyse(self) -> None:
        self._choose_and(_("Folder for the report"), self.analyse)

    def _choose_and_export(self) -> None:
        self._choose_and(_("Folder for the tables"), self.export)

    def _open_report(self) -> None:
        if self._report is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._report)))

    def _update(self) -> None:
        """Paths, what can be pressed now, and why something cannot."""
        ui, settings, status = self.ui, self._settings, self._status
        ui.protocolEdit.setText(settings.studyProtocol)
        ui.studyEdit.setText(settings.studyFolder)
        idle = not self.work.running
        has_study = bool(settings.studyFolder)
        closed = status is not None and status.closed_at is not None
        for button in (ui.protocolButton, ui.studyButton, ui.newProtocolButton):
            button.setEnabled(idle)
        for button in (ui.checkProtocolButton, ui.lockButton):
            button.setEnabled(idle and bool(settings.studyProtocol))
        for button in (ui.refreshButton, ui.checkStudyButton):
            button.setEnabled(idle and has_study)
        ui.closeButton.setEnabled(idle and has_study and not closed)
        ui.closeNowButton.setEnabled(idle and has_study and not closed)
        for button in (ui.analyseButton, ui.exportButton):
            button.setEnabled(idle and closed)
        self._explain(ui.analyseButton, closed, _("First choose a study and close it."))
        self._explain(ui.exportButton, closed, _("First choose a study and close it."))
        for button in (ui.checkProtocolButton, ui.lockButton):
            self._explain(button, bool(settings.studyProtocol), _("First choose a protocol, or make a new one."))
        for button in (ui.refreshButton, ui.checkStudyButton):
            self._explain(button, has_study, _("First choose a study."))
        self._explain(ui.closeButton, has_study and not closed, _("First choose a study that is open."))
        ui.openResultButton.setVisible(self._report is not None)
        ui.statusTable.setVisible(status is not None)
        if status is None:
            messages.hide(ui.stateLabel)
        elif closed:
            messages.quiet(ui.stateLabel, _("Closed {when}.").format(when=status.closed_at[:16].replace("T", " ")))
        else:
            messages.quiet(ui.stateLabel, _("Open. It can be analysed once it is closed."))

    def _explain(self, button, usable: bool, why_not: str) -> None:
        """Set the tooltip to a button's action, or to why it is disabled."""
        does = self._tips.setdefault(button.objectName, button.toolTip)
        button.setToolTip(does if usable else why_not)


def _folder(title: str, start: str) -> str:
    return qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, start)


def _path(chosen) -> str:
    """PythonQt gives a path; other bindings a path and its filter."""
    return chosen[0] if isinstance(chosen, tuple) else chosen


def _set_up_table(table, headers: list[str]) -> None:
    table.setColumnCount(len(headers))
    table.setHorizontalHeaderLabels(headers)
    table.verticalHeader().setVisible(False)
    table.horizontalHeader().setStretchLastSection(True)


def _fit_columns(table) -> None:
    for column in range(table.columnCount - 1):
        table.resizeColumnToContents(column)
