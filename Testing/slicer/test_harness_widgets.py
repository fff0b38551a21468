"""The stand-ins for ctk and qMRML widgets, .ui files with them, and the host of scripted modules."""

from __future__ import annotations

import sys

import numpy as np
import pytest

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Example</class>
 <widget class="qMRMLWidget" name="Example">
  <layout class="QVBoxLayout">
   <item>
    <widget class="ctkCollapsibleButton" name="caseButton">
     <property name="text"><string>Case</string></property>
     <property name="collapsed"><bool>false</bool></property>
     <layout class="QFormLayout">
      <item row="0" column="1">
       <widget class="qMRMLNodeComboBox" name="volumeSelector">
        <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
        <property name="hideChildNodeTypes">
         <stringlist><string>vtkMRMLLabelMapVolumeNode</string></stringlist>
        </property>
        <property name="noneEnabled"><bool>true</bool></property>
        <property name="addEnabled"><bool>false</bool></property>
        <property name="SlicerParameterName" stdset="0"><string>volume</string></property>
       </widget>
      </item>
     </layout>
    </widget>
   </item>
   <item>
    <widget class="ctkSliderWidget" name="opacitySlider">
     <property name="maximum"><double>1.0</double></property>
     <property name="singleStep"><double>0.05</double></property>
     <property name="value"><double>0.5</double></property>
    </widget>
   </item>
   <item><widget class="QPushButton" name="segmentButton"><property name="text"><string>Segment</string></property></widget></item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header><container>1</container></customwidget>
  <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>qMRMLNodeComboBox.h</header></customwidget>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>ctkCollapsibleButton.h</header><container>1</container></customwidget>
  <customwidget><class>ctkSliderWidget</class><extends>QWidget</extends><header>ctkSliderWidget.h</header></customwidget>
 </customwidgets>
 <resources/>
 <connections>
  <connection>
   <sender>Example</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>volumeSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
 </connections>
</ui>
"""  # noqa: E501

MODULE = """
import qt, slicer
from slicer.ScriptedLoadableModule import *

calls = []

class HarnessExample(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "Example"
        slicer.app.connect("startupCompleted()", lambda: calls.append("startup"))

class HarnessExampleWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        super().setup()
        self.label = qt.QLabel("VERSION")
        self.layout.addWidget(self.label)
        calls.append("setup")
    def enter(self): calls.append("enter")
    def exit(self): calls.append("exit")
    def cleanup(self): calls.append("cleanup")

class HarnessExampleLogic(ScriptedLoadableModuleLogic):
    pass
"""


@pytest.fixture
def ui(slicer, tmp_path):
    path = tmp_path / "Example.ui"
    path.write_text(UI)
    widget = slicer.util.loadUI(str(path))
    return widget, slicer.util.childWidgetVariables(widget)


def test_ui_file_with_promoted_widgets(ui):
    widget, variables = ui
    assert widget.className() == "qMRMLWidget"
    assert variables.caseButton.text == "Case"
    assert variables.volumeSelector.noneEnabled is True
    assert variables.volumeSelector.addEnabled is False
    assert list(variables.volumeSelector.hideChildNodeTypes) == ["vtkMRMLLabelMapVolumeNode"]
    assert variables.volumeSelector.property("SlicerParameterName") == "volume"
    assert (variables.opacitySlider.value, variables.opacitySlider.singleStep) == (0.5, 0.05)
    assert variables.segmentButton.text == "Segment"


def test_connections_of_the_ui_file(slicer, ui):
    widget, variables = ui
    widget.setMRMLScene(slicer.mrmlScene)
    assert variables.volumeSelector.mrmlScene() is slicer.mrmlScene


def test_missing_ui_file(slicer, tmp_path):
    with pytest.raises(RuntimeError, match="file not found"):
        slicer.util.loadUI(str(tmp_path / "none.ui"))


@pytest.fixture
def selector(slicer):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    return selector


def shown(selector) -> list[str]:
    combo = selector.inner_combo_box()
    return [combo.itemText(i) for i in range(combo.count)]


def test_node_selector_lists_what_it_is_told(slicer, selector):
    for name, kind in (("FLAIR", "Scalar"), ("labels", "LabelMap"), ("T1", "Scalar"), ("hidden", "Scalar")):
        node = slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{kind}VolumeNode", name)
        if name == "hidden":
            node.SetHideFromEditors(True)
    selector.showHidden = True
    assert shown(selector) == ["None", "FLAIR", "T1", "hidden"]
    selector.showHidden = False
    assert shown(selector) == ["None", "FLAIR", "T1"]


def test_node_selector_follows_the_scene(slicer, selector):
    first, second = (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in ("A", "B"))
    heard = []
    selector.currentNodeChanged.connect(heard.append)
    assert selector.currentNode() is None
    selector.setCurrentNode(second)
    assert selector.currentNodeID == second.GetID()
    second.SetName("renamed")
    assert shown(selector) == ["None", "A", "renamed"]
    slicer.mrmlScene.RemoveNode(first)
    assert selector.currentNode() is second
    slicer.mrmlScene.RemoveNode(second)
    assert selector.currentNode() is None
    assert heard == [second, None]


def test_node_selector_without_none_takes_the_first(slicer, selector):
    selector.noneEnabled = False
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert selector.currentNode() is node


def test_node_selector_is_chosen_from_by_hand(slicer, selector):
    nodes = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode") for _ in range(2)]
    selector.inner_combo_box().setCurrentIndex(2)
    assert selector.currentNode() is nodes[1]
    selector.setCurrentNodeID("")
    assert selector.currentNode() is None


def test_node_selector_empties_with_the_scene(slicer, selector):
    selector.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    slicer.mrmlScene.Clear(False)
    assert selector.currentNode() is None
    assert shown(selector) == ["None"]


def test_collapsible_button_hides_its_contents(slicer):
    import ctk
    import qt

    panel = qt.QWidget()
    column = qt.QVBoxLayout(panel)
    button = ctk.ctkCollapsibleButton("Model")
    column.addWidget(button)
    column.addStretch(1)
    layout = qt.QVBoxLayout(button)
    label = qt.QLabel("card")
    layout.addWidget(label)
    heard = []
    button.contentsCollapsed.connect(heard.append)
    panel.show()
    slicer.app.processEvents()
    assert button.height > 40
    button.collapsed = True
    slicer.app.processEvents()
    assert label.visible is False
    assert button.height == 22
    button.collapsed = False
    assert label.visible is True
    assert heard == [True, False]


def test_collapsible_button_is_collapsed_by_a_click_on_its_title_only(slicer):
    import ctk
    import qt

    from Testing.harness.interaction import click

    button = ctk.ctkCollapsibleButton("Model")
    layout = qt.QVBoxLayout(button)
    label = qt.QLabel("card")
    layout.addWidget(label)
    button.show()
    click(label)
    assert button.collapsed is False
    click(button)
    assert button.collapsed is True


def test_slider_widget_keeps_to_its_range_and_decimals(slicer):
    import ctk

    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum = 0, 1
    slider.setDecimals(2)
    heard = []
    slider.valueChanged.connect(heard.append)
    slider.setValue(0.333)
    slider.setValue(7)
    assert heard == [0.33, 1.0]


@pytest.fixture
def example(slicer, tmp_path):
    path = tmp_path / "HarnessExample.py"
    path.write_text(MODULE.replace("VERSION", "one"))
    manager = slicer.app.moduleManager()
    manager.load(path)
    yield path
    if slicer.app.moduleManager().module("HarnessExample") is not None:
        manager.unload("HarnessExample")
    sys.modules.pop("HarnessExample")
    sys.path.remove(str(tmp_path))


def test_module_is_found_where_slicer_puts_it(slicer, example):
    assert slicer.util.getModule("HarnessExample").title == "Example"
    assert slicer.util.modulePath("HarnessExample") == str(example)
    assert "HarnessExample" in slicer.util.moduleNames()
    assert sys.modules["HarnessExample"].calls == ["startup"]
    widget = slicer.util.getModuleWidget("HarnessExample")
    assert widget is slicer.modules.HarnessExampleWidget
    assert widget.resourcePath("UI/X.ui") == str(example.parent / "Resources" / "UI" / "X.ui")


def test_module_is_entered_left_and_unloaded(slicer, example, main_window):
    main_window("HarnessExample")
    calls = sys.modules["HarnessExample"].calls
    assert slicer.util.selectedModule() == "HarnessExample"
    slicer.util.selectModule("Data")
    slicer.util.selectModule("HarnessExample")
    slicer.util.selectModule("Data")
    slicer.app.moduleManager().unload("HarnessExample")
    assert calls == ["startup", "setup", "enter", "exit", "enter", "exit", "cleanup"]


def test_reload_makes_a_new_panel_from_the_new_source(slicer, example, main_window):
    main_window("HarnessExample")
    old = slicer.modules.HarnessExampleWidget
    calls = sys.modules["HarnessExample"].calls
    example.write_text(MODULE.replace("VERSION", "two"))
    slicer.util.reloadScriptedModule("HarnessExample")
    new = slicer.modules.HarnessExampleWidget
    slicer.app.processEvents()
    assert new is not old
    assert (new.label.text, new.label.visible, old.label.visible) == ("two", True, False)
    assert calls[-1] == "cleanup"
    # As in Slicer, the reloaded panel is not entered: modules that need that do it themselves.
    assert sys.modules["HarnessExample"].calls == ["setup"]


def test_pip_is_recorded_and_fails_when_told_to(slicer, tmp_path):
    import subprocess

    from slicer import packaging

    path = tmp_path / "requirements.txt"
    path.write_text("# runtime\nnumpy>=1\n-c x\nnot-there-at-all>=1\n")
    requirements = packaging.load_requirements(path)
    assert [r.name for r in requirements] == ["numpy", "not-there-at-all"]
    packaging.pip_ensure(requirements, requester="FlairSeg")
    assert packaging.recorder.installed == [["not-there-at-all>=1"]]
    packaging.recorder.user_agrees = False
    with pytest.raises(RuntimeError, match="declined"):
        packaging.pip_ensure(requirements)
    packaging.recorder.failure = packaging.failed_install()
    with pytest.raises(subprocess.CalledProcessError):
        slicer.util.pip_install("scipy")


def test_status_bar_and_views_are_slicers(slicer, main_window):
    window = main_window()
    assert slicer.util.mainWindow() is window
    slicer.util.showStatusMessage("Segmenting")
    assert window.statusBar().currentMessage() == "Segmenting"
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16))
    slicer.util.setSliceViewerLayers(background=volume)
    logic = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    assert logic.GetSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()
