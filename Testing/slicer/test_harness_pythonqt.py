"""The stand-in for PythonQt against what PythonQt does: Slicer's script repository and a real PythonQt build."""

from __future__ import annotations

import pytest


@pytest.fixture
def qt(slicer):
    import qt

    return qt


def test_properties_read_as_attributes_and_are_written_by_setters(qt):
    button = qt.QPushButton("Segment")
    assert (button.text, button.enabled, button.checkable) == ("Segment", True, False)
    button.setText("Cancel")
    button.setEnabled(False)
    assert (button.text, button.enabled) == ("Cancel", False)
    with pytest.raises(TypeError, match="not callable"):
        button.text()


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda qt: qt.QSpinBox(), "value", 7),
        (lambda qt: qt.QCheckBox(), "checked", True),
        (lambda qt: qt.QLineEdit(), "text", "SE-12"),
        (lambda qt: qt.QProgressBar(), "value", 40),
        (lambda qt: qt.QLabel(), "toolTip", "why"),
        (lambda qt: qt.QTableWidget(), "rowCount", 3),
        (lambda qt: qt.QTimer(), "interval", 20),
    ],
)
def test_properties_can_be_assigned(qt, make, name, value):
    thing = make(qt)
    assert getattr(thing, name) != value
    setattr(thing, name, value)
    assert getattr(thing, name) == value


def test_combo_box_reads_like_in_slicer(qt):
    combo = qt.QComboBox()
    combo.addItems(["auto", "cpu", "cuda"])
    combo.setCurrentIndex(2)
    assert (combo.count, combo.currentIndex, combo.currentText) == (3, 2, "cuda")
    assert combo.itemText(1) == "cpu"


def test_geometry_is_a_property_and_sizes_keep_their_methods(qt):
    widget = qt.QWidget()
    widget.resize(120, 80)
    assert (widget.width, widget.height, widget.size.width()) == (120, 80, 120)


def test_methods_that_are_no_properties_stay_methods(qt):
    timer = qt.QTimer()
    timer.setSingleShot(True)
    assert timer.isSingleShot() is True
    assert timer.isActive() is timer.active is False
    box = qt.QGroupBox()
    layout = qt.QVBoxLayout(box)
    assert box.layout() is layout
    assert layout.count() == 0


def test_static_single_shot(qt, slicer):
    heard = []
    qt.QTimer.singleShot(0, lambda: heard.append(1))
    slicer.app.processEvents()
    assert heard == [1]


def test_read_only_property_cannot_be_assigned(qt):
    with pytest.raises(AttributeError, match="not writable"):
        qt.QWidget().width = 5


@pytest.mark.parametrize("make", [lambda qt, ctk: qt.QLabel(), lambda qt, ctk: ctk.ctkCollapsibleButton()])
def test_unknown_attribute_cannot_be_assigned(qt, make):
    import ctk

    with pytest.raises(AttributeError, match="not allowed"):
        make(qt, ctk).segmentation = 1


def test_python_subclasses_of_qobject_may_have_attributes(qt):
    class Keeper(qt.QObject):
        pass

    keeper = Keeper()
    keeper.anything = 3
    assert keeper.anything == 3


def test_name_is_the_object_name_and_class_name_a_method(qt):
    import ctk

    button = qt.QPushButton()
    button.name = "segmentButton"
    assert button.objectName == "segmentButton"
    assert button.className() == "QPushButton"
    assert ctk.ctkSliderWidget().className() == "ctkSliderWidget"


def test_connect_and_disconnect_by_signal_and_by_signature(qt):
    button = qt.QPushButton()
    button.setCheckable(True)
    heard = []

    def by_signal(checked):
        heard.append(("signal", checked))

    def by_signature(checked):
        heard.append(("signature", checked))

    button.toggled.connect(by_signal)
    button.connect("toggled(bool)", by_signature)
    button.click()
    assert heard == [("signal", True), ("signature", True)]
    button.toggled.disconnect(by_signal)
    button.disconnect("toggled(bool)", by_signature)
    button.click()
    assert len(heard) == 2


def test_slot_without_argument_is_called_without(qt):
    button = qt.QPushButton()
    heard = []
    button.connect("clicked()", lambda: heard.append(1))
    button.clicked.connect(lambda checked=False: heard.append(checked))
    button.click()
    assert heard == [1, False]


def test_unknown_signal_is_an_error(qt):
    with pytest.raises(ValueError, match="no such signal"):
        qt.QPushButton().connect("pushed()", print)


def test_signatures_with_mrml_types(slicer):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    heard = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    selector.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert heard == [node]


def test_settings_are_isolated_and_lists_come_back_as_tuples(qt, slicer):
    from pathlib import Path

    settings = qt.QSettings()
    assert Path(slicer.app.temporaryPath) in Path(settings.fileName()).parents
    settings.setValue("FlairSeg/folders", ["a", "b"])
    settings.setValue("FlairSeg/opacity", 0.4)
    assert settings.value("FlairSeg/folders") == ("a", "b")
    assert slicer.util.settingsValue("FlairSeg/opacity", 1.0, converter=float) == 0.4
    assert slicer.util.settingsValue("FlairSeg/other", 1.0, converter=float) == 1.0


@pytest.mark.parametrize("written", [True, False])
def test_settings_keep_booleans_the_way_slicer_reads_them(qt, slicer, written):
    settings = qt.QSettings()
    settings.setValue("FlairSeg/on", written)
    settings.sync()
    assert slicer.util.settingsValue("FlairSeg/on", not written, converter=slicer.util.toBool) is written


def test_find_children_by_class_name(qt):
    parent = qt.QWidget()
    first, second = qt.QPushButton(parent), qt.QLabel(parent)
    second.setObjectName("status")
    assert parent.findChildren("QPushButton") == (first,)
    assert parent.findChild("QLabel", "status") is second


def test_file_dialogs_answer_a_path_and_do_not_wait(qt, slicer):
    slicer.app.messages.files = ["/data/model.onnx"]
    assert qt.QFileDialog.getOpenFileName(None, "Model") == "/data/model.onnx"
    assert qt.QFileDialog.getExistingDirectory(None, "Cases") == ""
    assert slicer.app.messages == [("file", "Model"), ("file", "Cases")]


def test_exception_in_a_slot_is_noted(qt, slicer):
    button = qt.QPushButton()
    button.clicked.connect(lambda: 1 / 0)
    button.click()
    assert [type(error) for error in slicer.app.escaped] == [ZeroDivisionError]
    slicer.app.escaped.clear()


def test_exception_in_a_guarded_slot_is_shown_to_the_user(qt, slicer):
    def slot():
        with slicer.util.tryWithErrorDisplay("Could not segment."):
            raise ValueError("too dark")

    button = qt.QPushButton()
    button.clicked.connect(slot)
    button.click()
    assert slicer.app.messages == [("error", "Could not segment.\n\ntoo dark")]
    slicer.app.escaped.clear()


def test_message_boxes_are_noted_and_answered(slicer):
    slicer.app.messages.answers = [False]
    assert slicer.util.confirmOkCancelDisplay("Overwrite?") is False
    assert slicer.util.confirmYesNoDisplay("Sure?") is True
    slicer.util.errorDisplay("No FLAIR")
    assert slicer.app.messages == [("confirm", "Overwrite?"), ("confirm", "Sure?"), ("error", "No FLAIR")]


def test_enumerators_of_one_value_keep_their_enumerations():
    """PySide6's IntEnums compare equal across enumerations: a widget has to get the one that was meant."""
    from PySide6.QtCore import Qt

    from Testing.harness.values import of_member, take

    members = (Qt.FocusPolicy.NoFocus, Qt.KeyboardModifier.NoModifier, Qt.CheckState.Unchecked, Qt.ItemFlag.NoItemFlags)
    for member in (*members, *reversed(members)):
        assert type(take(of_member(member))) is type(member)
