"""Reference sessions: which one, who reads, what is to be done, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ctk
import qt
from flairseg.errors import FlairSegError
from flairseg.study import reference_desk as desk
from flairseg.study.reference_setup import (
    DELINEATE,
    DELINEATE_ACCEPTED,
    DELINEATE_AGAIN,
    INTERSECTION,
    JUDGE_DOTS,
    MAJORITY,
    TWO_STEPS,
    UNION,
    UNTIL_AGREEMENT,
    WAIT,
)
from slicer.i18n import tr as _

from .. import background, dependencies, phrasing
from ..panel import messages
from .reference_form import ReferenceForm
from .reference_task import ReferenceTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.study.reference_desk import Overview, Row, Work

    from ..settings import FlairSegSettings

_CASE, _TASK, _ROUND, _DICE = range(4)


class ReferenceSection:
    """The collapsible section of reference sessions.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegQueue.ui``.
    settings : FlairSegSettings
    leave : callable
        Called with a callable that wants the scene free of the queue's case; asks the user if need be.
    on_changed : callable
        Called without arguments when a case was opened or closed.
    """

    def __init__(
        self,
        ui,
        settings: FlairSegSettings,
        leave: Callable[[Callable[[], None]], None],
        on_changed: Callable[[], None],
    ) -> None:
        self.ui = ui
        self._settings = settings
        self._leave, self._on_changed = leave, on_changed
        self._folder = ""
        self._seen: Overview | None = None
        self._task = None
        self._filling = False
        self._concealed: tuple[str, ...] | None = None
        self.task = ReferenceTask(ui, self._saved, self._closed, self._failed)
        self.form = ReferenceForm(ui, settings, self.open)
        table = ui.referenceTable
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Case"), _("To do"), _("Round"), _("Dice")])
        table.horizontalHeaderItem(_DICE).setToolTip(_("Lowest agreement of two readers at the last comparison."))
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(_TASK, qt.QHeaderView.Stretch)
        for column in (_CASE, _ROUND, _DICE):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        ui.referenceFolderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.referenceFolderEdit.setCurrentPath(settings.referenceFolder)
        ui.referenceOpenButton.clicked.connect(lambda checked=False: self.open())
        ui.referenceRefreshButton.clicked.connect(lambda checked=False: self.refresh())
        ui.referenceReaderSelector.currentIndexChanged.connect(self._reader_chosen)
        ui.referenceBeginButton.clicked.connect(lambda checked=False: self.begin())
        table.cellDoubleClicked.connect(lambda row=0, column=0: self.begin())
        table.itemSelectionChanged.connect(self._update)

    @property
    def working(self) -> bool:
        """Whether a case is open."""
        return self.task.working

    @property
    def busy(self) -> bool:
        """Whether something is being read or written."""
        return self._task is not None or self.task.busy or self.form.busy

    @property
    def reader(self) -> str:
        """Code of the reader; empty until one was chosen."""
        selector = self.ui.referenceReaderSelector
        return selector.currentText if selector.currentIndex > 0 else ""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Cases as they are listed."""
        return self._seen.rows if self._seen is not None else ()

    def open(self, folder: str = "") -> None:
        """Open the session of a folder; default: that of the path that the user typed."""
        if self.working:
            return
        if folder:
            self.ui.referenceFolderEdit.setCurrentPath(folder)
        folder = self.ui.referenceFolderEdit.currentPath.strip()
        if not folder:
            messages.show(
                self.ui.referenceMessageLabel, messages.WARNING, _("Choose the folder of a reference session first.")
            )
            return
        try:
            dependencies.ensureStore()
        except FlairSegError as error:
            self._failed(error)
            return
        self._folder = str(Path(folder).expanduser())
        self._run(lambda: desk.overview(self._folder), self._opened)

    def refresh(self) -> None:
        """Refresh the tasks: other readers may have finished some."""
        reader = self.reader
        if not self._folder or not reader or self.working:
            self._fill(())
            return
        self._run(lambda: desk.overview(self._folder, reader), self._listed)

    def begin(self) -> None:
        """Open the selected case."""
        row = self._selected()
        if row is None or self._refusal(row):
            return
        folder, reader, case = self._folder, self.reader, row.case
        self._leave(
            lambda: self._run(lambda: desk.begin(folder, case, reader), lambda work: self._begun(folder, reader, work))
        )

    def enter(self) -> None:
        """The tab is shown."""
        if self._concealed is not None:
            for edit, path in zip(self._paths(), self._concealed, strict=True):
                edit.setCurrentPath(path)
            self._concealed = None
            self._fill(self.rows)
        self.task.enter()

    def exit(self) -> None:
        """Another tab or module is shown; every name is removed from the widgets: a blinded study may begin there."""
        self.task.exit()
        if self._concealed is None:
            self._concealed = tuple(edit.currentPath for edit in self._paths())
            for edit in self._paths():
                edit.setCurrentPath("")
            messages.hide(self.ui.referenceMessageLabel)
            self._fill(self.rows)

    def sceneClosing(self) -> None:
        """The scene is being closed."""
        was_working = self.working
        self.task.forget()
        if was_working:
            self._on_changed()
        self._update()

    def cleanup(self) -> None:
        """Clean up with the panel."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.form.cleanup()
        self.task.cleanup()

    # Inside

    def _paths(self) -> tuple:
        return self.ui.referenceFolderEdit, self.ui.newFolderEdit, self.ui.newImagesEdit

    def _run(self, function: Callable[[], object], done: Callable) -> None:
        if self._task is not None:
            self._task.cancel()

        def finished(answer) -> None:
            self._task = None
            messages.hide(self.ui.referenceMessageLabel)
            done(answer)
            self._update()

        self._task = background.run(function, finished, self._failed)
        self._update()

    def _failed(self, error: Exception) -> None:
        self._task = None
        text = (
            phrasing.text(error)
            if isinstance(error, FlairSegError)
            else _("The step failed: {error}.").format(error=phrasing.text(error))
        )
        messages.show(self.ui.referenceMessageLabel, messages.ERROR, text)
        self._update()

    def _opened(self, seen: Overview) -> None:
        self._settings.referenceFolder = self._folder
        self._seen = seen
        self.ui.newReferenceGroup.collapsed = True
        self.ui.referenceMethodLabel.setText(_method_text(seen.setup))
        readers = list(seen.setup.readers)
        selector = self.ui.referenceReaderSelector
        self._filling = True
        try:
            selector.clear()
            selector.addItem(_("Choose your code …"))
            for reader in readers:
                selector.addItem(reader)
            known = self._settings.readerName
            selector.setCurrentIndex(1 + readers.index(known) if known in readers else 0)
        finally:
            self._filling = False
        self.refresh()

    def _reader_chosen(self, index: int = -1) -> None:
        if not self._filling:
            self.refresh()

    def _listed(self, seen: Overview) -> None:
        self._seen = seen
        self._fill(seen.rows)

    def _begun(self, folder: str, reader: str, work: Work) -> None:
        self._on_changed()
        self.task.begin(folder, reader, work)
        self._on_changed()

    def _closed(self) -> None:
        self._on_changed()
        self.refresh()

    def _saved(self, row: Row) -> None:
        kind, text = self._outcome(row)
        reader = self.reader

        def listed(seen: Overview) -> None:
            self._listed(seen)
            messages.show(self.ui.referenceMessageLabel, kind, text)

        self._run(lambda: desk.overview(self._folder, reader), listed)

    def _outcome(self, row: Row) -> tuple[str, str]:
        """Describe the state of a case after its mask was saved."""
        case, task = row.case, row.task
        if task is None:
            return messages.SUCCESS, _("{case} is agreed on: Dice {dice:.2f}. Reference: {path}").format(
                case=case, dice=1.0 if row.dice is None else row.dice, path=row.reference
            )
        if task.what == DELINEATE_AGAIN and row.dice is not None:
            return messages.WARNING, _(
                "{case}: saved. Dice {dice:.2f} is below {limit:.2f}, so it goes back to its readers."
            ).format(case=case, dice=row.dice, limit=self._seen.setup.dice)
        if task.until is not None:
            return messages.SUCCESS, _("{case}: saved. Its dots can be judged from {day}.").format(
                case=case, day=f"{task.until:%Y-%m-%d}"
            )
        if task.what == JUDGE_DOTS:
            return messages.SUCCESS, _("{case}: saved. Its dots can be judged now.").format(case=case)
        if task.what == WAIT:
            return messages.SUCCESS, _("{case}: saved. The other readers have not finished it.").format(case=case)
        return messages.SUCCESS, _("{case}: saved.").format(case=case)

    def _selected(self) -> Row | None:
        found = self.ui.referenceTable.selectionModel().selectedRows()
        return self.rows[found[0].row()] if found and found[0].row() < len(self.rows) else None

    def _refusal(self, row: Row | None) -> str:
        """Why a case cannot be begun now; empty if it can."""
        if self.working:
            return _("Close the open case first.")
        if row is None:
            return _("Choose a case.")
        if row.task is None:
            return _("This case is agreed on.")
        return _("There is no task for this case now.") if row.task.what == WAIT else ""

    def _fill(self, rows: tuple[Row, ...]) -> None:
        table = self.ui.referenceTable
        chosen = self._selected()
        if self._concealed is not None:
            rows = ()
        table.setRowCount(len(rows))
        for n, row in enumerate(rows):
            texts = (
                row.case,
                _task_text(row),
                str(row.task.round) if row.task is not None else "–",
                "–" if row.dice is None else f"{row.dice:.2f}",
            )
            for column, text in enumerate(texts):
                cell = qt.QTableWidgetItem(text)
                cell.setToolTip(str(row.reference) if row.reference is not None else text)
                table.setItem(n, column, cell)
            table.setRowHeight(n, 24)
        wanted = [row.case for row in rows].index(chosen.case) if chosen and chosen in rows else None
        if wanted is None:
            wanted = next((n for n, row in enumerate(rows) if row.task is not None and row.task.what != WAIT), None)
        if wanted is not None:
            table.selectRow(wanted)
        self._update()

    def _update(self) -> None:
        refusal = self._refusal(self._selected())
        self.ui.referenceBeginButton.setEnabled(not refusal and self._task is None)
        self.ui.referenceBeginButton.setToolTip(refusal or _("Open the selected case (double click)."))
        # Room for the open case.
        self.ui.referenceRow.setVisible(not self.working and self._seen is not None)
        self.ui.newReferenceGroup.setVisible(not self.working)
        self.ui.referenceFolderEdit.setEnabled(not self.working)
        self.ui.referenceOpenButton.setEnabled(not self.working)


def _task_text(row: Row) -> str:
    if row.task is None:
        return _("Agreed")
    if row.task.what == WAIT:
        if row.task.until is not None:
            return _("Dots from {day}").format(day=f"{row.task.until:%Y-%m-%d}")
        return _("Wait for the others")
    return {
        DELINEATE: _("Delineate independently"),
        DELINEATE_AGAIN: _("Delineate again"),
        DELINEATE_ACCEPTED: _("Delineate accepted"),
        JUDGE_DOTS: _("Judge dots ({judged} of {all})").format(judged=row.judged, all=row.dots),
    }[row.task.what]


def _method_text(setup) -> str:
    how = {
        UNION: _("union"),
        INTERSECTION: _("intersection"),
        MAJORITY: _("majority"),
    }[setup.combine]
    method = {
        TWO_STEPS: _("Two steps: delineate independently; later judge a dot at every lesion drawn by anyone."),
        UNTIL_AGREEMENT: _("Until agreement: masks below Dice {dice:.2f} go back to their readers.").format(
            dice=setup.dice
        ),
    }[setup.method]
    return _("{method} Reference: {how} of the last masks.").format(method=method, how=how)
