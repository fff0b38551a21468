"""A protocol made in the panel: cases and arms from folders, and everything that is asked and shown.

What is written is checked by the same code that reads it; details beyond this form are a text editor's work on the
JSON file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from flairseg.errors import FlairSegError
from flairseg.study.drafting import Draft, StudyDesign, draft_protocol, write_draft
from flairseg.study.protocol import BLIND_FULL, BLIND_NONE, BLIND_SOURCE, LAYOUTS
from flairseg.study.protocol_reading import parse_protocol
from flairseg.study.records import ACCEPTABILITY, LIKERT_5, NUMERIC, TEXT, YES_NO
from slicer.i18n import tr as _

from .. import phrasing
from ..panel import messages


class ProtocolEditor:
    """The form between "New …" and the file.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegStudyCoordinator.ui``.
    on_saved : callable
        Called with the path that was written, and sentences about the cases that were left out.
    """

    def __init__(self, ui, on_saved: Callable[[Path, tuple[str, ...]], None]) -> None:
        self.ui = ui
        self._on_saved = on_saved
        self._kinds = {
            ACCEPTABILITY: _("Acceptable / unacceptable"),
            LIKERT_5: _("Scale 1 to 5"),
            YES_NO: _("Yes / no"),
            NUMERIC: _("Number"),
            TEXT: _("Free text"),
        }
        for combo, choices in (
            (ui.blindingCombo, self._blindings()),
            (ui.layoutCombo, self._layouts()),
            (ui.overlayCombo, {"outline": _("Outline"), "fill": _("Filled")}),
            (ui.questionTypeCombo, self._kinds),
        ):
            for value, text in choices.items():
                combo.addItem(text, value)
        ui.questionTypeCombo.setCurrentIndex(1)
        for table, headers in (
            (ui.armsTable, [_("Arm"), _("Folder of masks")]),
            (ui.questionsTable, [_("Kind"), _("Question")]),
        ):
            table.setColumnCount(2)
            table.setHorizontalHeaderLabels(headers)
            table.verticalHeader().setVisible(False)
            table.horizontalHeader().setStretchLastSection(True)
            table.setEditTriggers(qt.QAbstractItemView.DoubleClicked)
        self._add_question(ACCEPTABILITY, _("Is this mask clinically acceptable?"))
        ui.imagesButton.clicked.connect(lambda checked=False: self._choose_images())
        ui.addArmButton.clicked.connect(lambda checked=False: self._choose_arm())
        ui.removeArmButton.clicked.connect(lambda checked=False: _remove_row(ui.armsTable))
        ui.addQuestionButton.clicked.connect(
            lambda checked=False: self._add_question(ui.questionTypeCombo.currentData, _("New question"))
        )
        ui.removeQuestionButton.clicked.connect(lambda checked=False: _remove_row(ui.questionsTable))
        ui.saveProtocolButton.clicked.connect(lambda checked=False: self._choose_and_save())
        messages.hide(ui.editorMessageLabel)

    def show(self, shown: bool) -> None:
        """Open the form, or put it away; what is in it stays."""
        self.ui.protocolEditor.setVisible(shown)

    def add_arm(self, folder: str | Path) -> None:
        """Add a folder of masks; its name becomes the arm's id."""
        table = self.ui.armsTable
        row = table.rowCount
        table.setRowCount(row + 1)
        table.setItem(row, 0, qt.QTableWidgetItem(Path(folder).name.replace(" ", "_")))
        table.setItem(row, 1, qt.QTableWidgetItem(str(folder)))

    def save(self, path: str | Path) -> None:
        """Check the form and write it as a new file; errors are shown in the form."""
        path = Path(path)
        if path.suffix.lower() != ".json":
            path = path.with_name(path.name + ".json")
        try:
            draft = self._draft(path)
            written = write_draft(draft, path)
        except FlairSegError as error:
            messages.show(self.ui.editorMessageLabel, messages.ERROR, phrasing.text(error))
            return
        messages.hide(self.ui.editorMessageLabel)
        self._on_saved(written, draft.left_out)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _draft(self, path: Path) -> Draft:
        ui = self.ui
        arms = {_text(ui.armsTable, row, 0): Path(_text(ui.armsTable, row, 1)) for row in range(ui.armsTable.rowCount)}
        raters = [code.strip() for code in ui.ratersEdit.text.split(",") if code.strip()]
        for given, advice in (
            (ui.imagesEdit.text, _("Choose the folder of the images.")),
            (arms, _("Add a folder of masks.")),
            (raters, _("Enter the raters' codes, separated by commas.")),
        ):
            if not given:
                raise FlairSegError(_("Something is missing."), advice)
        study_id = ui.studyIdEdit.text.strip() or ui.studyIdEdit.placeholderText
        design = StudyDesign(study_id, tuple(raters), ui.repeatsSpin.value)
        draft = draft_protocol(design, Path(ui.imagesEdit.text), arms, path.absolute().parent, ui.binaryCheck.checked)
        content = {**draft.content, **self._rules(draft.content)}
        parse_protocol(content)
        return Draft(content, draft.left_out)

    def _rules(self, drafted: dict[str, Any]) -> dict[str, Any]:
        ui = self.ui
        rules: dict[str, Any] = {
            "questions": self._questions(),
            "blinding": ui.blindingCombo.currentData,
            "mirror_repeats": ui.mirrorCheck.checked,
            "confidence": ui.confidenceCheck.checked,
            "comment": ui.commentCheck.checked,
            "correction": ui.correctionCheck.checked,
            "washout": {**drafted["washout"], "days": ui.washoutSpin.value if ui.repeatsSpin.value > 1 else 0},
            "display": {
                **drafted["display"],
                "layout": ui.layoutCombo.currentData,
                "overlay": ui.overlayCombo.currentData,
                "overlay_opacity": 1.0 if ui.overlayCombo.currentData == "outline" else 0.5,
            },
        }
        if ui.windowSpin.value > 0:
            rules["display"].update(window=ui.windowSpin.value, level=ui.levelSpin.value)
        if ui.limitSpin.value > 0:
            rules["time_limit_s"] = ui.limitSpin.value
        for key, edit in (("title", ui.studyTitleEdit), ("instructions", ui.studyInstructionsEdit)):
            if edit.text.strip():
                rules[key] = edit.text.strip()
        return rules

    def _questions(self) -> list[dict[str, Any]]:
        table = self.ui.questionsTable
        questions = []
        for row in range(table.rowCount):
            kind = table.item(row, 0).data(qt.Qt.UserRole)
            name = "acceptable" if kind == ACCEPTABILITY else f"q{row + 1}"
            questions.append({"id": name, "text": _text(table, row, 1), "type": kind})
        return questions

    def _add_question(self, kind: str, text: str) -> None:
        table = self.ui.questionsTable
        row = table.rowCount
        table.setRowCount(row + 1)
        item = qt.QTableWidgetItem(self._kinds[kind])
        item.setData(qt.Qt.UserRole, kind)
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
        table.setItem(row, 0, item)
        table.setItem(row, 1, qt.QTableWidgetItem(text))
        table.resizeColumnToContents(0)

    def _choose_images(self) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Folder of the FLAIR images"), self.ui.imagesEdit.text
        )
        if chosen:
            self.ui.imagesEdit.setText(chosen)

    def _choose_arm(self) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Folder of masks"), self.ui.imagesEdit.text
        )
        if chosen:
            self.add_arm(chosen)

    def _choose_and_save(self) -> None:
        chosen = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save the protocol"), "protocol.json", "JSON (*.json)"
        )
        chosen = chosen[0] if isinstance(chosen, tuple) else chosen
        if chosen:
            self.save(chosen)

    @staticmethod
    def _blindings() -> dict[str, str]:
        return {
            BLIND_FULL: _("Full: a new code for each showing"),
            BLIND_SOURCE: _("Source: the case is named, the mask's source is not"),
            BLIND_NONE: _("None: case and arm are named"),
        }

    @staticmethod
    def _layouts() -> dict[str, str]:
        names = (_("Plane of acquisition"), _("Axial"), _("Sagittal"), _("Coronal"), _("Four views"))
        return dict(zip(LAYOUTS, names, strict=True))


def _text(table, row: int, column: int) -> str:
    return table.item(row, column).text().strip()


def _remove_row(table) -> None:
    if table.currentRow() >= 0:
        table.removeRow(table.currentRow())
