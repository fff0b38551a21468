"""The list of cases: found in a thread, the most uncertain first, each with its state and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ctk
import qt
from flairseg.errors import Cancelled, FlairSegError
from flairseg.progress import CancelToken
from flairseg.review.cases import CaseArchive
from flairseg.review.verdict import ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED
from flairseg.study.queue import NOT_SEGMENTED, OPEN, QueueItem, next_case, ordered, with_states, work_list
from slicer.i18n import tr as _

from .. import background, phrasing
from ..panel import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..settings import FlairSegSettings

_CASE, _EXPECTED, _LESIONS, _VOLUME, _STATE = range(5)
#: Interval of updating the search progress, ms.
PROGRESS_MS = 100


class CaseList:
    """Source, table and details of the selected case.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegQueue.ui``.
    settings : FlairSegSettings
    on_open : callable
        Called with the QueueItem to open.
    on_changed : callable
        Called without arguments when other cases are listed or selected.
    """

    def __init__(
        self, ui, settings: FlairSegSettings, on_open: Callable[[QueueItem], None], on_changed: Callable[[], None]
    ) -> None:
        self.ui = ui
        self._settings = settings
        self._on_open, self._on_changed = on_open, on_changed
        self._items: list[QueueItem] = []
        self._opened = ""
        self._seen: set[str] = set()
        self._task = self._states_task = None
        self._token: CancelToken | None = None
        self._progress = (0.0, "")
        self._filling = False
        self._source: str | None = None
        table = ui.caseTable
        table.setColumnCount(5)
        table.setHorizontalHeaderLabels([_("Case"), _("Corr."), _("Les."), _("ml"), _("State")])
        for column, tip in (
            (_EXPECTED, _("Lesion volume expected to need correction, ml; largest first.")),
            (_LESIONS, _("Number of lesions that the model found.")),
            (_VOLUME, _("Volume of the lesions, ml.")),
            (_STATE, _("The last verdict in the folder of cases.")),
        ):
            table.horizontalHeaderItem(column).setToolTip(tip)
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(_CASE, qt.QHeaderView.Stretch)
        for column in (_EXPECTED, _LESIONS, _VOLUME, _STATE):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        ui.sourceEdit.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Files
        ui.sourceEdit.setCurrentPath(settings.queueSource)
        ui.listButton.clicked.connect(lambda checked=False: self.search())
        ui.cancelListingButton.clicked.connect(lambda checked=False: self.cancel())
        ui.openButton.clicked.connect(lambda checked=False: self._open_selected())
        table.cellDoubleClicked.connect(lambda row=0, column=0: self._open_selected())
        table.itemSelectionChanged.connect(self._selected)
        self._timer = qt.QTimer()
        self._timer.setInterval(PROGRESS_MS)
        self._timer.timeout.connect(self._show_progress)
        messages.quiet(
            ui.queueMessageLabel,
            _("A folder with results of flairseg segment, or a list of cases: those needing most correction first."),
        )

    @property
    def items(self) -> list[QueueItem]:
        """The cases as they are listed."""
        return list(self._items)

    @property
    def busy(self) -> bool:
        """Whether cases are being searched."""
        return self._task is not None or self._states_task is not None

    @property
    def selected(self) -> QueueItem | None:
        """The case that is selected in the table."""
        rows = self.ui.caseTable.selectionModel().selectedRows()
        return self._items[rows[0].row()] if rows and rows[0].row() < len(self._items) else None

    def next(self, after: str = "") -> QueueItem | None:
        """The case that should be read next; one that was opened and left without a verdict comes again at the end."""
        return next_case(item for item in self._items if item.case not in self._seen) or next_case(self._items, after)

    def search(self) -> None:
        """List the cases of the source that the user named."""
        source = self.ui.sourceEdit.currentPath.strip()
        self.cancel()
        if not source:
            messages.show(self.ui.queueMessageLabel, messages.WARNING, _("Choose a folder or a list of cases first."))
            return
        path = Path(source).expanduser()
        archive = CaseArchive(self._settings.casesFolder) if self._settings.casesFolder else None
        token = self._token = CancelToken()
        self._progress = (0.0, "")

        def tell(fraction: float, case: str) -> None:
            self._progress = (fraction, case)

        def found(items: list[QueueItem]) -> None:
            self._stop()
            self._settings.queueSource = source
            messages.hide(self.ui.queueMessageLabel)
            self._items = items
            self._seen = {self._opened}
            self._fill()

        def failed(error: Exception) -> None:
            self._stop()
            if isinstance(error, Cancelled):
                return
            text = phrasing.text(error)
            if not isinstance(error, FlairSegError):
                text = _("The cases cannot be listed: {error}.").format(error=text)
            messages.show(self.ui.queueMessageLabel, messages.ERROR, text)

        self._task = background.run(lambda: work_list(path, archive, True, tell, token), found, failed)
        messages.hide(self.ui.queueMessageLabel)
        self.ui.listButton.setEnabled(False)
        self.ui.listingRow.setVisible(True)
        self._show_progress()
        self._timer.start()

    def cancel(self) -> None:
        """Stop searching for cases; the list is unchanged."""
        if self._task is not None:
            self._token.cancel()
            self._task.cancel()
            self._stop()

    def refresh_states(self) -> None:
        """Look into the folder of cases again: verdicts may have been given in the other module, or by others."""
        folder = self._settings.casesFolder
        if not self._items or not folder or self.busy:
            return
        items = self._items

        def done(states: list[QueueItem]) -> None:
            self._states_task = None
            if self._items is items and states != items:
                self._items = ordered(states)
                self._fill()

        def failed(error: Exception) -> None:
            self._states_task = None
            messages.show(self.ui.queueMessageLabel, messages.WARNING, phrasing.text(error))

        self._states_task = background.run(lambda: with_states(items, CaseArchive(folder)), done, failed)

    def set_opened(self, case: str) -> None:
        """Show which case is in the scene; empty: none."""
        self._opened = case
        self._seen.add(case)
        self._fill()

    def set_state(self, case: str, state: str) -> None:
        """A verdict was saved."""
        self._change(case, lambda item: replace(item, state=state, versions=item.versions + 1))

    def set_problem(self, case: str, problem: str) -> None:
        """A case could not be opened, or can again (empty)."""
        self._change(case, lambda item: replace(item, problem=problem))

    def find(self, case: str) -> QueueItem | None:
        """The case of a name, as it is listed now."""
        return next((item for item in self._items if item.case == case), None)

    def select(self, case: str) -> None:
        """Select a case in the table."""
        for row, item in enumerate(self._items):
            if item.case == case:
                self.ui.caseTable.selectRow(row)

    def conceal(self) -> None:
        """Take every name out of the widgets: a blinded study may begin in the tab beside."""
        if self._source is None:
            self._source = self.ui.sourceEdit.currentPath
            self.ui.sourceEdit.setCurrentPath("")
            self.ui.listingProgress.setToolTip("")
            messages.hide(self.ui.queueMessageLabel)
            self._fill()

    def reveal(self) -> None:
        """Show the cases again."""
        if self._source is not None:
            self.ui.sourceEdit.setCurrentPath(self._source)
            self._source = None
            self._fill()

    def cleanup(self) -> None:
        """Clean up with the panel."""
        self.cancel()
        if self._states_task is not None:
            self._states_task.cancel()
            self._states_task = None

    def _change(self, case: str, change: Callable[[QueueItem], QueueItem]) -> None:
        self._items = ordered(change(item) if item.case == case else item for item in self._items)
        self._fill()

    def _stop(self) -> None:
        self._task = None
        self._timer.stop()
        self.ui.listButton.setEnabled(True)
        self.ui.listingRow.setVisible(False)

    def _show_progress(self) -> None:
        fraction, case = self._progress
        self.ui.listingProgress.setValue(round(100 * fraction))
        self.ui.listingProgress.setToolTip(case if self._source is None else "")

    def _open_selected(self) -> None:
        if self.selected is not None:
            self._on_open(self.selected)

    def _fill(self) -> None:
        table = self.ui.caseTable
        chosen = self.selected
        self._filling = True
        try:
            table.clearSelection()
            shown = self._items if self._source is None else []
            table.setRowCount(len(shown))
            for row, item in enumerate(shown):
                self._fill_row(row, item)
            wanted = self._opened or (chosen.case if chosen is not None else "")
            if self._items and self.find(wanted) is None:
                wanted = self._items[0].case
            self.select(wanted)
        finally:
            self._filling = False
        self._selected()

    def _fill_row(self, row: int, item: QueueItem) -> None:
        doubtful = bool(item.warnings or item.problem)
        texts = (
            f"{item.case} ⚠" if doubtful else item.case,
            "–" if item.expected_correction_ml is None else f"{item.expected_correction_ml:.2f}",
            "–" if item.lesion_count is None else str(item.lesion_count),
            "–" if item.lesion_ml is None else f"{item.lesion_ml:.2f}",
            _("Unreadable") if item.problem else state_name(item.state),
        )
        for column, text in enumerate(texts):
            cell = qt.QTableWidgetItem(text)
            if column in (_EXPECTED, _LESIONS, _VOLUME):
                cell.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            font = cell.font()
            font.setBold(item.case == self._opened)
            cell.setFont(font)
            cell.setToolTip(f"{item.case}\n{_details(item)}")
            self.ui.caseTable.setItem(row, column, cell)
        self.ui.caseTable.setRowHeight(row, 24)

    def _selected(self) -> None:
        if self._filling:
            return
        item = self.selected
        messages.quiet(self.ui.queueDetailLabel, _details(item) if item is not None else "")
        self._on_changed()


def state_name(state: str) -> str:
    """A state in the words of the table."""
    return {
        OPEN: _("To do"),
        NOT_SEGMENTED: _("No result"),
        REJECTED: _("Rejected"),
        ACCEPTED_AFTER_EDITS: _("Corrected"),
        ACCEPTED: _("Accepted"),
    }[state]


def _details(item: QueueItem) -> str:
    """Everything that is known about a case, a line each."""
    if item.problem:
        return item.problem
    lines = [item.why]
    if item.state == ACCEPTED_AFTER_EDITS:
        lines.append(_("Accepted after edits."))
    lines += [f"⚠ {warning}" for warning in item.warnings]
    return "\n".join(lines)
