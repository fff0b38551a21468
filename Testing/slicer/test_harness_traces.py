"""What the application did, step by step, and the harness does it too, in the same order.

The record is ``Testing/harness/data/event_traces_5.13.json``; a step is replayed by the function of its name in
:data:`STEPS`. What the harness does differently is in :data:`DIFFERENT`, with the reason.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

RECORD = json.loads(
    (Path(__file__).parents[1] / "harness" / "data" / "event_traces_5.13.json").read_text(encoding="utf-8")
)
EXPECTED = {step["step"]: step["events"] for step in RECORD["steps"]}
_SCENE_EVENTS = (
    *("NodeAboutToBeAddedEvent", "NodeAddedEvent", "NodeAboutToBeRemovedEvent", "NodeRemovedEvent"),
    *("StartCloseEvent", "EndCloseEvent", "StartImportEvent", "EndImportEvent", "NewSceneEvent"),
    *("StartBatchProcessEvent", "EndBatchProcessEvent"),
)
#: Nodes of the application's that the harness has none of, or makes at other times.
_HOUSEKEEPING = ("vtkMRMLColorTableStorageNode", "vtkMRMLSubjectHierarchyNode")
#: Steps that come out otherwise, and why.
DIFFERENT: dict[str, str] = {}


class Recorder:
    """Notes scene events and signals in the words of the record."""

    def __init__(self, slicer) -> None:
        import vtk

        self.events: list[str] = []
        self._tags = []
        scene = slicer.mrmlScene
        for name in _SCENE_EVENTS:

            @vtk.calldata_type(vtk.VTK_OBJECT)
            def note(caller, event, node=None, name=name):
                self._note_scene(name, node)

            self._tags.append(scene.AddObserver(getattr(scene, name), note))
        self._scene = scene

    def _note_scene(self, name, node) -> None:
        kind = f" {node.GetClassName()}" if name.startswith("Node") and node is not None else ""
        self.events.append(f"scene {name}{kind}")

    def listen(self, sender, label: str, **signals) -> None:
        """``listen(box, "QComboBox", currentIndexChanged="{0}")``: note a signal, its arguments formatted so."""
        for name, form in signals.items():
            signal = name.replace("_bool", "(bool)")

            def note(*arguments, signal=signal, form=form):
                text = form.format(*arguments) if isinstance(form, str) else form(*arguments)
                self.events.append(f"{label} {signal} {text}".rstrip())

            if signal != name:
                sender.connect(signal, note)
            else:
                getattr(sender, name).connect(note)

    def take(self) -> list[str]:
        events, self.events = self.events, []
        return events

    def stop(self) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)


def _named(node) -> str:
    return node.GetName() if node is not None else "None"


class Bench:
    """The objects of the record, and what was done to them."""

    def __init__(self, slicer, folder: Path) -> None:
        import ctk
        import qt

        self.slicer, self.folder, self.qt = slicer, folder, qt
        self.layout = slicer.app.layoutManager()
        self.layout.viewport()  # the application has its views from the beginning
        self.box = slicer.qMRMLNodeComboBox()
        self.box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.box.noneEnabled = True
        self.box.setMRMLScene(slicer.mrmlScene)
        self.button, self.group = ctk.ctkCollapsibleButton(), ctk.ctkCollapsibleGroupBox()
        self.combo, self.slider, self.path = qt.QComboBox(), ctk.ctkSliderWidget(), ctk.ctkPathLineEdit()
        self.table = qt.QTableWidget()
        self.table.setColumnCount(2)
        self.table.setRowCount(3)
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.editor.setMRMLScene(slicer.mrmlScene)
        self.volumes, self.segmentation = [], None
        slicer.app.processEvents()
        self.recorder = record = Recorder(slicer)
        named = {"currentNodeChanged": _named, "currentNodeChanged_bool": "{0}"}
        record.listen(self.box, "nodeComboBox(none enabled)", **named)
        record.listen(self.button, "ctkCollapsibleButton", contentsCollapsed="{0}", toggled="{0}")
        record.listen(self.group, "ctkCollapsibleGroupBox", toggled="{0}")
        record.listen(self.combo, "QComboBox", currentIndexChanged="{0}")
        record.listen(self.slider, "ctkSliderWidget", valueChanged="{0}")
        record.listen(self.path, "ctkPathLineEdit", currentPathChanged=self._path, validInputChanged="{0}")
        cells = "({0}, {1})"
        record.listen(self.table, "QTableWidget", cellChanged=cells, itemSelectionChanged="")
        record.listen(self.table, "QTableWidget", currentCellChanged="({0}, {1}, {2}, {3})")
        record.listen(self.editor, "segmentEditor", currentSegmentIDChanged="{0}")
        record.listen(self.editor, "segmentEditor", segmentationNodeChanged=_named, sourceVolumeNodeChanged=_named)
        record.listen(self.layout, "layoutManager", layoutChanged="{0}")

    def _path(self, path: str) -> str:
        return "(path)" if Path(path).exists() else Path(path).name

    def volume(self) -> None:
        array = np.zeros((4, 5, 6), np.int16)
        self.volumes.append(self.slicer.util.addVolumeFromArray(array, name="FLAIR"))

    def segments(self) -> None:
        slicer = self.slicer
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.volumes[0])
        for number, name in enumerate("abc"):
            node.GetSegmentation().AddEmptySegment(name, name)
            array = np.zeros((4, 5, 6), np.uint8)
            array[number] = 1
            slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, name, self.volumes[0])
        self.segmentation = node

    def edit(self) -> None:
        scene = self.slicer.mrmlScene
        self.editor.setMRMLSegmentEditorNode(scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volumes[0])

    def fill_table(self) -> None:
        for row in range(3):
            for column in range(2):
                self.table.setItem(row, column, self.qt.QTableWidgetItem("x"))

    def close_scene(self) -> None:
        self.editor.setMRMLSegmentEditorNode(None)
        self.slicer.mrmlScene.Clear(0)

    def remove_volume(self) -> None:
        self.slicer.mrmlScene.RemoveNode(self.volumes.pop())


STEPS = {
    "volume added from an array": Bench.volume,
    "second volume added": Bench.volume,
    "node combo box: setCurrentNode(volume)": lambda b: b.box.setCurrentNode(b.volumes[0]),
    "node combo box: setCurrentNode(same volume again)": lambda b: b.box.setCurrentNode(b.volumes[0]),
    "node combo box: setCurrentNode(None)": lambda b: b.box.setCurrentNode(None),
    "node combo box: setCurrentNode(volume) 2": lambda b: b.box.setCurrentNode(b.volumes[0]),
    "collapsible button: collapsed = True": lambda b: setattr(b.button, "collapsed", True),
    "collapsible button: collapsed = True again": lambda b: setattr(b.button, "collapsed", True),
    "collapsible button: checked = True": lambda b: setattr(b.button, "checked", True),
    "group box: collapsed = True": lambda b: setattr(b.group, "collapsed", True),
    "QComboBox: addItem to an empty box": lambda b: b.combo.addItem("first"),
    "QComboBox: addItem second": lambda b: b.combo.addItem("second"),
    "QComboBox: setCurrentIndex(1)": lambda b: b.combo.setCurrentIndex(1),
    "QComboBox: clear()": lambda b: b.combo.clear(),
    "ctkSliderWidget: value = 20": lambda b: setattr(b.slider, "value", 20),
    "ctkSliderWidget: maximum = 10 below value": lambda b: setattr(b.slider, "maximum", 10),
    "ctkPathLineEdit: setCurrentPath(existing folder)": lambda b: b.path.setCurrentPath(str(b.folder)),
    "ctkPathLineEdit: setCurrentPath(missing folder)": lambda b: b.path.setCurrentPath(
        str(b.folder / "no-such-folder")
    ),
    "ctkPathLineEdit: setCurrentPath('')": lambda b: b.path.setCurrentPath(""),
    "QTableWidget: setItem 6 times": Bench.fill_table,
    "QTableWidget: selectRow(1)": lambda b: b.table.selectRow(1),
    "QTableWidget: setRowCount(0)": lambda b: b.table.setRowCount(0),
    "segmentation made with three segments": Bench.segments,
    "segment editor: node, segmentation, source volume": Bench.edit,
    "segment editor: setCurrentSegmentID('b')": lambda b: b.editor.setCurrentSegmentID("b"),
    "segment editor: setActiveEffectByName('Paint')": lambda b: b.editor.setActiveEffectByName("Paint"),
    "segment editor: setActiveEffectByName('')": lambda b: b.editor.setActiveEffectByName(""),
    "segment removed": lambda b: b.segmentation.GetSegmentation().RemoveSegment("b"),
    "layout: red slice only": lambda b: b.layout.setLayout(6),
    "layout: the same again": lambda b: b.layout.setLayout(6),
    "layout: four up": lambda b: b.layout.setLayout(3),
    "scene saved as .mrb": lambda b: b.slicer.util.saveScene(str(b.folder / "scene.mrb")),
    "volume node removed": Bench.remove_volume,
    "segment editor: node taken away, then scene closed": Bench.close_scene,
    "scene loaded from .mrb": lambda b: b.slicer.util.loadScene(str(b.folder / "scene.mrb")),
    "scene closed": lambda b: b.slicer.mrmlScene.Clear(0),
}


def comparable(events: list[str]) -> list[str]:
    """Without the application's housekeeping, and with repetitions written out."""
    found = []
    for event in events:
        if event.startswith("returned") or event == "events processed" or event.endswith(_HOUSEKEEPING):
            continue
        text, repeated, times = event.partition("  x")
        found += [text] * (int(times) if repeated else 1)
    return found


def test_what_the_application_did_the_harness_does(slicer, tmp_path):
    bench = Bench(slicer, tmp_path)
    differences = {}
    for step, replay in STEPS.items():
        replay(bench)
        for _ in range(3):
            slicer.app.processEvents()
        done, expected = (comparable(events) for events in (bench.recorder.take(), EXPECTED[step]))
        if done != expected:
            differences[step] = (done, expected)
    bench.recorder.stop()
    bench.layout.close_views()
    assert {step: pair for step, pair in differences.items() if step not in DIFFERENT} == {}
    assert set(differences) == set(DIFFERENT), "a difference is gone: take it out of DIFFERENT"


def test_every_step_of_the_record_is_replayed_or_named():
    elsewhere = {"module selected: Data", "module selected: Welcome"}  # no other module is in the harness: test_module
    assert set(EXPECTED) == set(STEPS) | elsewhere


# What calls return


@pytest.fixture
def values(slicer, tmp_path):
    import qt

    settings = qt.QSettings(str(tmp_path / "a.ini"), qt.QSettings.IniFormat)
    for key, value in {"int": 3, "float": 1.5, "bool": True, "list": ["a", "b"], "one": ["a"], "empty": []}.items():
        settings.setValue(key, value)
    table, item, combo = qt.QTableWidget(), qt.QTableWidgetItem("x"), qt.QComboBox()
    table.setRowCount(1)
    table.setColumnCount(1)
    combo.addItem("One", "id-1")
    user = qt.Qt.UserRole

    def stored(value):
        item.setData(user, value)
        return item.data(user)

    return {
        "QSettings.value int (same object)": lambda: settings.value("int"),
        "QSettings.value float (same object)": lambda: settings.value("float"),
        "QSettings.value bool (same object)": lambda: settings.value("bool"),
        "QSettings.value list (same object)": lambda: settings.value("list"),
        "QSettings.value one (same object)": lambda: settings.value("one"),
        "QSettings.value empty (same object)": lambda: settings.value("empty"),
        "QSettings.value of a missing key": lambda: settings.value("nothing"),
        "QSettings.value missing, default 5": lambda: settings.value("nothing", 5),
        "QPushButton().text": lambda: qt.QPushButton("x").text,
        "QPushButton().text()": lambda: qt.QPushButton("x").text(),
        "QComboBox().itemData missing": lambda: combo.itemData(7),
        "QTableWidget.item of an empty cell": lambda: table.item(0, 0),
        "QTableWidgetItem.data(UserRole) unset": lambda: item.data(user),
        "QTableWidgetItem.data after setData(tuple)": lambda: stored((1, 2)),
        "QTableWidgetItem.data after setData(dict)": lambda: stored({"a": 1}),
        "QComboBox.itemData(str)": lambda: combo.itemData(0),
        "QComboBox.findData": lambda: combo.findData("id-1"),
        "QLabel.sizeHint()": lambda: qt.QLabel().sizeHint(),
        "QTimer.singleShot with a function": lambda: qt.QTimer.singleShot(0, list),
        "QTimer().interval": lambda: qt.QTimer().interval,
        "QHeaderView setSectionResizeMode(int,mode)": lambda: (
            qt.QTableWidget().horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        ),
        "QColor(1,2,3).getRgb()": lambda: qt.QColor(1, 2, 3).getRgb(),
        "QColor.name()": lambda: qt.QColor(1, 2, 3).name(),
    }


def answer(call) -> list[str]:
    try:
        value = call()
    except (AttributeError, TypeError, ValueError) as error:
        return [f"raises {type(error).__name__}", str(error).replace("PySide6.QtCore.", "")]
    return [type(value).__name__, repr(value)]


def test_calls_return_what_they_return_in_the_application(values):
    assert {name: answer(call) for name, call in values.items()} == {name: RECORD["values"][name] for name in values}


def test_an_attribute_of_ones_own_is_refused_in_the_same_words(slicer):
    import qt

    with pytest.raises(AttributeError) as refused:
        qt.QLabel().myAttribute = 1
    assert ["raises AttributeError", str(refused.value)] == RECORD["values"]["unknown attribute set"]
