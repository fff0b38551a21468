"""Model and device: what there is, what it was measured to do, how long it takes here, and models from a file."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.errors import FlairSegError
from flairseg.labels import CLASSES
from flairseg.models.install import install_model
from flairseg.models.scope import scope_of
from flairseg.models.store import chosen_in_use, find_model, survey
from slicer.i18n import tr as _

from .. import dependencies, diagnostics, phrasing, settings
from . import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.models import ModelCard


class ModelSection:
    """The combo boxes of models and devices, with the model's card.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSeg.ui``.
    preferences : FlairSegSettings
    onChanged : callable
        Called without arguments when another model or device is chosen.
    """

    def __init__(self, ui, preferences: settings.FlairSegSettings, onChanged: Callable[[], None]) -> None:
        self.ui = ui
        self._settings = preferences
        self._on_changed = onChanged
        self._parameters = None
        self._cards: dict[str, ModelCard] = {}
        self._slices = 0
        self._last = ""
        self._filling = False
        #: The model in use, its mark, and its fault.
        self._in_use, self._mark, self._problem = "", "", ""
        for device in settings.DEVICES:
            ui.deviceComboBox.addItem(diagnostics.deviceName(device), device)
        ui.deviceComboBox.setCurrentIndex(settings.DEVICES.index(preferences.device))
        ui.modelCardButton.collapsed = True
        messages.hide(ui.deviceUsedLabel)
        #: After the first run one line says what ran, so that the result is in sight; opened again, it stays open.
        self._title, self._folded = ui.modelCollapsibleButton.text, False
        ui.modelCollapsibleButton.contentsCollapsed.connect(self._show_title)
        ui.modelComboBox.currentIndexChanged.connect(self._model_changed)
        ui.deviceComboBox.currentIndexChanged.connect(self._device_changed)
        ui.installModelButton.clicked.connect(self._choose_file)
        self.refresh()

    @property
    def modelId(self) -> str:
        """Id of the chosen model; empty if there is none."""
        index = self.ui.modelComboBox.currentIndex
        return str(self.ui.modelComboBox.itemData(index)) if index >= 0 else ""

    @property
    def card(self) -> ModelCard | None:
        """Card of the chosen model."""
        return self._cards.get(self.modelId)

    @property
    def cards(self) -> dict[str, ModelCard]:
        """Cards of all models that can be chosen, by id, in the order in which they are offered."""
        return dict(self._cards)

    @property
    def device(self) -> str:
        """``auto``, ``cpu`` or ``cuda``."""
        return settings.DEVICES[max(self.ui.deviceComboBox.currentIndex, 0)]

    @property
    def expectedSeconds(self) -> float | None:
        """Estimated duration of the run, from past runs on this computer; None before the first one."""
        if self.card is None:
            return None
        return self._settings.expectedSeconds(self.modelId, self.device, self._slices)

    @property
    def inUse(self) -> str:
        """Id of the model in use: selected unless the user or a scene chose another. Empty if it cannot be used."""
        return self._in_use

    @property
    def takenAsInUse(self) -> bool:
        """Whether the chosen model is the model in use, and may leave scans outside its scope to its parent.

        False if the user ticked that this model shall read any scan.
        """
        return (
            bool(self.modelId)
            and self.modelId == self._in_use
            and not (self._has_scope() and self.ui.anyScanCheckBox.checked)
        )

    def _has_scope(self) -> bool:
        return self.card is not None and scope_of(self.card) is not None

    @property
    def refusal(self) -> str:
        """Why nothing can be segmented; empty if a model is chosen."""
        if self.card is not None:
            return ""
        return _("Choose a model.") if self._cards else _("No model is installed.")

    def setParameterNode(self, parameters) -> None:
        """Follow a scene's parameters: the model that was chosen in it, else the user's."""
        self._parameters = parameters
        if parameters is not None:
            scene = parameters.modelId
            self._select(scene if scene in self._cards else self._wanted(), noted=False)

    def enter(self) -> None:
        """The panel is shown: another model may have been put in use elsewhere, by the command line."""
        if self._mark != _mark():
            self.refresh()

    def useInUse(self) -> None:
        """Another model was put in use: it is chosen, here and in this scene."""
        self._settings.modelId = ""
        if self._parameters is not None:
            self._parameters.modelId = ""
        self.refresh()

    def setSlices(self, slices: int) -> None:
        """Set the number of slices of the chosen volume."""
        self._slices = slices
        self._show_time()

    def setDeviceUsed(self, used: str, requested: str) -> None:
        """Show the device of the last run, and why it was not the GPU."""
        text = _("The last run used the {device}.").format(device=diagnostics.deviceName(used))
        if used == settings.CPU and requested == settings.AUTOMATIC:
            if dependencies.GPU_RUNTIME in dependencies.installedFlavours():
                text += " " + _("No working NVIDIA GPU was found.")
            elif dependencies.gpuPresent():
                text += " " + _("For the NVIDIA GPU choose the device GPU.")
        elif used == settings.CPU and requested == settings.GPU:
            text += " " + _("The GPU could not be used: see the message below.")
        messages.quiet(self.ui.deviceUsedLabel, text)

    def fold(self, used: str, seconds: float, modelId: str = "") -> None:
        """Make room for the result: what ran, where and for how long, in one line.

        Parameters
        ----------
        used : str
            Device.
        seconds : float
        modelId : str
            The model that read the scan, where it may be another than the chosen one.
        """
        card = self._cards.get(modelId) or self.card
        self._last = _("{model} – {device} – {time}").format(
            model=card.title if card is not None else self.modelId,
            device=diagnostics.deviceName(used),
            time=duration(seconds),
        )
        if not self._folded:
            self._folded = True
            self.ui.modelCollapsibleButton.collapsed = True
        self._show_title()

    def _show_title(self, collapsed: bool = False) -> None:
        shown = self._last if self._last and self.ui.modelCollapsibleButton.collapsed else self._title
        self.ui.modelCollapsibleButton.setText(shown)

    def refresh(self) -> None:
        """Search for models again: the one chosen in place of the model in use stays chosen, if it is still there."""
        found = survey()
        self._cards = {card.id: card for _where, card in found if not isinstance(card, FlairSegError)}
        self._look_for_the_model_in_use()
        marked = _("{title} (in use)") if self._mark else _("{title} (default)")
        self._filling = True
        try:
            self.ui.modelComboBox.clear()
            for model_id, card in self._cards.items():
                title = marked if model_id == self._in_use else "{title}"
                self.ui.modelComboBox.addItem(title.format(title=card.title), model_id)
                self.ui.modelComboBox.setItemData(self.ui.modelComboBox.count - 1, card.title, qt.Qt.ToolTipRole)
        finally:
            self._filling = False
        self._select(self._wanted(), noted=False)
        problems = [str(error) for _where, error in found if isinstance(error, FlairSegError)]
        if not self._cards:
            messages.show(
                self.ui.modelMessageLabel,
                messages.ERROR,
                _("No model is installed. Install one from a file, or reinstall the extension."),
            )
        elif self._problem:
            messages.show(self.ui.modelMessageLabel, messages.ERROR, self._problem)
        elif problems:
            messages.show(self.ui.modelMessageLabel, messages.WARNING, problems[0])
        else:
            messages.hide(self.ui.modelMessageLabel)

    def _look_for_the_model_in_use(self) -> None:
        """No other model replaces it: if it cannot be used, none is selected and the panel gives the reason."""
        before, self._mark = self._mark, _mark()
        if before != self._mark:
            # Ticked for the model that was in use.
            self.ui.anyScanCheckBox.setChecked(False)
        try:
            self._in_use, self._problem = find_model(verify=False).id, ""
        except FlairSegError as error:
            self._in_use, self._problem = "", phrasing.text(error)

    def _wanted(self) -> str:
        """The user's choice while the model in use is the one that it was made over, else the model in use."""
        kept = self._settings.modelId
        return kept if kept in self._cards and self._settings.modelInUse == self._mark else self._in_use

    def install(self, path: str | Path) -> bool:
        """Install a model from a file and select it; problems are shown in the panel.

        Returns
        -------
        bool
            Whether it was installed.
        """
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            card = install_model(path)
        except FlairSegError as error:
            messages.show(self.ui.modelMessageLabel, messages.ERROR, phrasing.text(error))
            return False
        finally:
            qt.QApplication.restoreOverrideCursor()
        messages.hide(self.ui.modelMessageLabel)
        self.refresh()
        self._select(card.id)
        messages.show(
            self.ui.modelMessageLabel,
            messages.SUCCESS,
            _("{title} is installed: its weights match its card.").format(title=card.title),
        )
        return True

    def _choose_file(self, checked: bool = False) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(),
            _("Install a model"),
            self._settings.lastModelFolder,
            _("Models (*.zip *.onnx card.json)"),
        )
        # PySide gives the filter along.
        path = path[0] if isinstance(path, tuple) else path
        if path:
            self._settings.lastModelFolder = Path(path).parent
            self.install(path)

    def _select(self, model_id: str, noted: bool = True) -> None:
        """Select a model; empty: none. A selection from the scene or the model in use is not stored as the user's."""
        self._filling = not noted
        try:
            self.ui.modelComboBox.setCurrentIndex(self.ui.modelComboBox.findData(model_id) if model_id else -1)
        finally:
            self._filling = False
        if not noted:
            self._show()
            self._on_changed()

    def _model_changed(self, index: int = -1) -> None:
        if self._filling:
            return
        if self.modelId:
            # Empty where it is the model in use: the list then follows what is put in use later.
            chosen = "" if self.modelId == self._in_use else self.modelId
            self._settings.modelId, self._settings.modelInUse = chosen, self._mark
            if self._parameters is not None:
                self._parameters.modelId = chosen
        self._show()
        self._on_changed()

    def _device_changed(self, index: int = -1) -> None:
        self._settings.device = self.device
        self._show_time()
        self._on_changed()

    def _show(self) -> None:
        card = self.card
        self.ui.modelCardButton.setVisible(card is not None)
        self.ui.modelComboBox.setToolTip(card.title if card is not None else "")
        if card is not None:
            self.ui.modelCardLabel.setText(card_html(card))
        self.ui.anyScanCheckBox.setVisible(self._has_scope() and self.modelId == self._in_use)
        messages.quiet(self.ui.modelSummaryLabel, card.summary if card is not None else "")
        self._show_time()

    def _show_time(self) -> None:
        messages.quiet(self.ui.modelTimeLabel, self._time() if self.card is not None else "")

    def _time(self) -> str:
        expected = self.expectedSeconds
        if expected is not None:
            return _("About {time} for this volume on this computer.").format(time=duration(expected))
        return _("Takes seconds to a minute on most computers; the first run shows how long on this one.")


def _mark() -> str:
    """Return the identity of the model in use: id and sha256, empty for FlairSeg's own."""
    try:
        choice = chosen_in_use()
    except FlairSegError:
        return "?"
    return "" if choice is None else f"{choice.id} {choice.sha256}"


def duration(seconds: float) -> str:
    """Text for a duration in seconds, rounded to what is known."""
    if seconds < 10:
        return _("{n} s").format(n=max(1, round(seconds)))
    if seconds < 90:
        return _("{n} s").format(n=5 * round(seconds / 5))
    return _("{n} min").format(n=round(seconds / 60))


def card_html(card: ModelCard) -> str:
    """A model's card for a reader: what it is for, what it was trained on, how well it measured, its licence.

    Parameters
    ----------
    card : ModelCard

    Returns
    -------
    str
        Rich text; everything from the card is escaped.
    """
    raw = card.raw
    parts = []
    measured = _measured(raw.get("results") or [])
    if measured:
        parts.append(measured)
    trained = [str(entry.get("name", "")) for entry in raw.get("training_data") or [] if isinstance(entry, dict)]
    if trained:
        items = "".join(f"<li>{html.escape(name)}</li>" for name in trained)
        parts.append(f"<p><b>{html.escape(_('Trained on'))}</b></p><ul style='margin-left: -24px'>{items}</ul>")
    limits = [str(text) for text in raw.get("limitations") or []]
    if limits:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in limits)
        parts.append(f"<p><b>{html.escape(_('Known limits'))}</b></p><ul style='margin-left: -24px'>{items}</ul>")
    if raw.get("intended_use"):
        parts.append(f"<p><b>{html.escape(_('Intended use'))}</b> {html.escape(str(raw['intended_use']))}</p>")
    parts.append("<p>" + html.escape(_("Licence {licence}; {id}").format(licence=card.licence, id=card.id)) + "</p>")
    return "".join(parts)


def _measured(results: list) -> str:
    """The first measurement of a card as a small table; empty without a figure of a known kind."""
    for result in results:
        figures = result.get("figures") if isinstance(result, dict) else None
        if not isinstance(figures, dict):
            continue
        rows = [(c.name, _figure(figures.get(f"{c.id}_dice"))) for c in CLASSES]
        rows = [
            f"<tr><td>{html.escape(name)}</td><td align='right'>&nbsp;&nbsp;{value}</td></tr>"
            for name, value in rows
            if value
        ]
        if rows:
            where = _("Dice on {data}, {cases} cases").format(
                data=result.get("data", ""), cases=result.get("cases", "?")
            )
            return f"<p><b>{html.escape(_('Measured'))}</b>: {html.escape(where)}</p><table>{''.join(rows)}</table>"
    return ""


def _figure(value: object) -> str:
    """A mean with its standard deviation, as a card writes them."""
    if isinstance(value, dict) and isinstance(value.get("mean"), (int, float)):
        sd = value.get("sd")
        spread = f" ± {sd:.2f}" if isinstance(sd, (int, float)) else ""
        return f"{value['mean']:.2f}{spread}"
    return f"{value:.2f}" if isinstance(value, (int, float)) else ""
