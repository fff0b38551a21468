"""Compare models: several models on one FLAIR, each result a separate segmentation; figures, and two side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.labels import CLASSES, LESION, NORMAL_WMH, VENTRICLES
from flairseg.worker.tasks import CompareAnswer, CompareRequest
from slicer.i18n import tr as _

from .. import scene_bridge, volume_nodes
from ..linked_views import LinkedViews, Shown
from ..task_controller import Steps
from . import messages
from .result_section import class_name
from .task_section import TaskSection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flairseg.comparison.figures import ModelFigures

    from .case_section import CaseSection
    from .model_section import ModelSection

UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "FlairSegCompare.ui"
_FEWEST = 2
#: Height of a row, and how many rows a table shows at least and at most.
ROW_PX, FEWEST_ROWS, MOST_ROWS = 20, 2, 7
#: Column of names; all others hold figures.
_MODEL = 0


@dataclass(frozen=True)
class Compared:
    """Result of comparing models on one volume.

    Attributes
    ----------
    volume : vtkMRMLScalarVolumeNode
    rows : sequence of ModelFigures
        One per model.
    nodes : list of vtkMRMLSegmentationNode or None
        In the same order; None for a model that failed.
    dice : dict of str to list of list of float or None
        By class id (and ``all_wmh``): models x models; None where one of the two does not know the class.
    """

    volume: object
    rows: Sequence[ModelFigures]
    nodes: list
    dice: dict[str, list[list[float | None]]]

    @property
    def failures(self) -> list[str]:
        """Why models failed, a sentence each."""
        failed = [(row.title, row.failure) for row in self.rows if row.failure is not None]
        return [f"{title}: {failure.message} {failure.advice}".strip() for title, failure in failed]

    @property
    def names(self) -> list[str]:
        """The models as they are named in every table: a letter, and the title."""
        return [f"{chr(ord('A') + n)}  {row.title}" for n, row in enumerate(self.rows)]


class CompareSection(TaskSection):
    """The list of models, the tables, and the two views.

    Parameters
    ----------
    placeholder : QWidget
        Its layout takes the section.
    case : CaseSection
        The volume.
    model : ModelSection
        Available models, and their device.
    onChosen : callable
        Called with a segmentation node whose model the user clicked.
    """

    def __init__(self, placeholder, case: CaseSection, model: ModelSection, onChosen: Callable[[object], None]) -> None:
        widget = slicer.util.loadUI(str(UI_FILE))
        placeholder.layout().addWidget(widget)
        super().__init__(
            slicer.util.childWidgetVariables(widget), "compare", _("Run the ticked models on the chosen FLAIR")
        )
        self._case, self._model, self._on_chosen = case, model, onChosen
        self._offered: list[str] = []
        self._compared: Compared | None = None
        self._filling = False
        self._views = LinkedViews(lambda: self.ui.sideBySideButton.setChecked(False))
        ui = self.ui
        ui.comparisonBox.setVisible(False)
        for table in (ui.comparisonTable, ui.diceTable):
            table.verticalHeader().setVisible(False)
            table.horizontalHeader().setHighlightSections(False)
        ui.comparisonTable.cellClicked.connect(self._row_clicked)
        ui.modelList.itemChanged.connect(lambda item=None: self._filling or self.update())
        ui.diceSelector.currentIndexChanged.connect(lambda index=-1: self._show_dice())
        for selector in (ui.leftSelector, ui.rightSelector):
            selector.currentIndexChanged.connect(lambda index=-1: self._pair_changed())
        ui.sideBySideButton.toggled.connect(self._side_by_side)
        ui.compareCollapsibleButton.collapsed = True
        ui.compareCollapsibleButton.contentsCollapsed.connect(lambda collapsed=False: self.update())

    @property
    def ticked(self) -> list[str]:
        """Ids of the models that are to be compared, in the order of the list."""
        entries = (self.ui.modelList.item(row) for row in range(self.ui.modelList.count))
        return [str(item.data(qt.Qt.UserRole)) for item in entries if item.checkState() == qt.Qt.Checked]

    @property
    def compared(self) -> Compared | None:
        """The comparison shown in the tables; None before the first one."""
        return self._compared

    def tick(self, ids: Sequence[str]) -> None:
        """Tick these models and no others."""
        for row in range(self.ui.modelList.count):
            item = self.ui.modelList.item(row)
            wanted = str(item.data(qt.Qt.UserRole)) in ids
            item.setCheckState(qt.Qt.Checked if wanted else qt.Qt.Unchecked)

    def update(self) -> None:
        """Offer the available models; enable the button, or explain why it is disabled."""
        if self._closed:
            return
        self._offer()
        super().update()

    def onSceneStartClose(self) -> None:
        """The scene is closing: nothing is compared any more."""
        super().onSceneStartClose()
        self._views.forget()
        self._show(None)

    def cleanup(self) -> None:
        """End the task. The widgets may be gone already."""
        self._compared = None
        self._views.cleanup()
        super().cleanup()

    # The task

    def _refusal(self) -> str:
        if self._case.refusal:
            return self._case.refusal
        if len(self.ticked) < _FEWEST:
            return _("Tick two or more models.")
        return ""

    def _begin(self) -> None:
        self._install_for_models(self._model.device)
        volume, models, device = self._case.volumeNode, self.ticked, self._model.device
        taken = []

        def take() -> Steps:
            taken.append((yield from volume_nodes.take_volume(volume)))
            return CompareRequest(taken[0].volume, models, device)

        def receive(answer: CompareAnswer) -> Steps:
            yield from volume_nodes.check_unchanged(taken[0], volume)
            return (yield from received(answer, volume))

        self.controller.perform(take, receive, [volume])

    def _done(self, result: Compared) -> None:
        self._show(result)
        text = _("{count} models compared. Each result is a separate segmentation; nothing else was changed.")
        done = text.format(count=sum(node is not None for node in result.nodes))
        kind = messages.WARNING if result.failures else messages.SUCCESS
        messages.show(self._message, kind, "\n".join([done, *result.failures]))

    def _words(self, stage: str) -> str:
        card = self._model.cards.get(stage.split(":")[0])
        return super()._words(stage) if card is None else _("Segmenting with {model}").format(model=card.title)

    # Display

    def _offer(self) -> None:
        cards = self._model.cards
        if list(cards) == self._offered:
            return
        ticked = self.ticked or [self._model.modelId]
        self._filling = True
        try:
            self.ui.modelList.clear()
            for model_id, card in cards.items():
                item = qt.QListWidgetItem(card.title)
                item.setData(qt.Qt.UserRole, model_id)
                item.setToolTip(f"{card.summary}\n{model_id}")
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
                item.setCheckState(qt.Qt.Checked if model_id in ticked else qt.Qt.Unchecked)
                self.ui.modelList.addItem(item)
        finally:
            self._filling = False
        self._offered = list(cards)
        self.ui.modelList.setFixedHeight(8 + ROW_PX * min(max(len(cards), FEWEST_ROWS), MOST_ROWS))

    def _show(self, compared: Compared | None) -> None:
        self._compared = compared
        ui = self.ui
        ui.sideBySideButton.setChecked(False)
        ui.comparisonBox.setVisible(compared is not None)
        if compared is None:
            return
        _fill(
            ui.comparisonTable,
            [_("Model"), _("No."), *(_short(c.value) for c in CLASSES)],
            [
                [name, _figure(row.lesion_count, 0), *(_figure(row.volumes_ml[c.id], 2) for c in CLASSES)]
                for name, row in zip(compared.names, compared.rows, strict=True)
            ],
            [_tip(row) for row in compared.rows],
        )
        # The units are in the tooltips: the names of the models need the room.
        tips = [_("Number of lesions"), *(_("{name}, ml").format(name=c.name) for c in CLASSES)]
        for column, tip in enumerate(tips, start=1):
            ui.comparisonTable.horizontalHeaderItem(column).setToolTip(tip)
        self._filling = True
        try:
            ui.diceSelector.clear()
            for key in compared.dice:
                ui.diceSelector.addItem(_dice_name(key), key)
            ui.diceSelector.setCurrentIndex(list(compared.dice).index(CLASS_ID))
            for place, selector in enumerate((ui.leftSelector, ui.rightSelector)):
                selector.clear()
                for name in compared.names:
                    selector.addItem(name)
                selector.setCurrentIndex(place)
        finally:
            self._filling = False
        self._show_dice()

    def _show_dice(self) -> None:
        compared = self._compared
        if compared is None or self._filling:
            return
        matrix = compared.dice[str(self.ui.diceSelector.itemData(self.ui.diceSelector.currentIndex))]
        figures = [[_figure(value, 2) for value in row] for row in matrix]
        rows = [[name, *row] for name, row in zip(compared.names, figures, strict=True)]
        letters = [name[0] for name in compared.names]
        _fill(self.ui.diceTable, ["", *letters], rows, [row.model for row in compared.rows])

    def _row_clicked(self, row: int = 0, column: int = 0) -> None:
        compared = self._compared
        if compared is None or not 0 <= row < len(compared.nodes):
            return
        node = compared.nodes[row]
        if _gone(node):
            self._say_gone()
            return
        self.ui.sideBySideButton.setChecked(False)
        self._on_chosen(node)

    def _pair_changed(self) -> None:
        if not self._filling and self.ui.sideBySideButton.checked:
            self._side_by_side(True)

    def _side_by_side(self, checked: bool = False) -> None:
        compared = self._compared
        if not checked or compared is None:
            self._views.close()
            return
        pair = [selector.currentIndex for selector in (self.ui.leftSelector, self.ui.rightSelector)]
        nodes = [compared.nodes[n] for n in pair]
        if any(map(_gone, (*nodes, compared.volume))):
            self.ui.sideBySideButton.setChecked(False)
            self._say_gone()
            return
        self._views.show(
            [Shown(compared.names[n][0], compared.volume, node) for n, node in zip(pair, nodes, strict=True)]
        )

    def _say_gone(self) -> None:
        messages.show(self._message, messages.WARNING, _("This result no longer exists. Compare again to see it."))


#: The class that matters most is shown first.
CLASS_ID = next(c.id for c in CLASSES if c.value == LESION)


def received(answer: CompareAnswer, volume_node) -> Steps:
    """Steps that make the segmentation nodes of a comparison on a volume node; all of them, or none."""
    nodes = []
    try:
        for number, (row, segmentation) in enumerate(zip(answer.rows, answer.results, strict=True)):
            if segmentation is None:
                nodes.append(None)
                continue
            name = f"{volume_node.GetName()} – {row.model}"
            # Several colours on one image deceive: the one that is chosen is shown.
            nodes.append((yield from scene_bridge.segmentation_steps(segmentation, volume_node, name, shown=False)))
            yield number / len(answer.rows)
    except BaseException:
        for node in nodes:
            if node is not None:
                scene_bridge.remove(node)
        raise
    return Compared(volume_node, answer.rows, nodes, answer.dice)


def fit_height(table, rows: int, fewest: int, most: int) -> None:
    """Make a table as high as its rows, within bounds; beyond them it scrolls."""
    table.setFixedHeight(table.horizontalHeader().sizeHint.height() + 4 + ROW_PX * min(max(rows, fewest), most))


def _gone(node) -> bool:
    return node is None or node.GetScene() is None


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _tip(row: ModelFigures) -> str:
    if row.failure is not None:
        return f"{row.model}\n{row.failure.message}"
    return _("{model}\n{seconds} s").format(model=row.model, seconds=_figure(row.seconds, 1))


def _short(value: int) -> str:
    """Name of a class in the head of a narrow column."""
    return {VENTRICLES: _("Ventr."), NORMAL_WMH: _("Normal"), LESION: _("Lesion")}[value]


def _dice_name(key: str) -> str:
    by_id = {c.id: class_name(c.value) for c in CLASSES}
    return by_id.get(key, _("All WMH (normal and lesions)"))


def _fill(table, headings: Sequence[str], rows: Sequence[Sequence[str]], tips: Sequence[str]) -> None:
    """Fill a table whose first column is names and takes the room that is left; as high as its rows."""
    table.setColumnCount(len(headings))
    table.setHorizontalHeaderLabels(list(headings))
    header = table.horizontalHeader()
    header.setSectionResizeMode(_MODEL, qt.QHeaderView.Stretch)
    for column in range(1, len(headings)):
        header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
    table.setRowCount(len(rows))
    for row, (texts, tip) in enumerate(zip(rows, tips, strict=True)):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(f"{texts[0]}\n{tip}")
            if column != _MODEL:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(row, column, item)
        table.setRowHeight(row, ROW_PX)
    fit_height(table, len(rows), FEWEST_ROWS, MOST_ROWS)
