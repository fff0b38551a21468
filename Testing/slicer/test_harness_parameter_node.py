"""The stand-in for ``slicer.parameterNodeWrapper``: values, references, scenes, widgets."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest


class Device(enum.Enum):
    AUTO = "auto"
    GPU = "cuda"


@pytest.fixture
def logic(slicer):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    class ExampleLogic(ScriptedLoadableModuleLogic):
        pass

    return ExampleLogic()


@pytest.fixture
def wrapper(slicer):
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    class Parameters:
        model = "flairseg2d-v1.0"
        outline = True
        opacity = 0.5
        device = Device.AUTO
        runs = 0
        folder = Path("cases")

    # Not in the class, where they would be strings about names that only this function knows.
    Parameters.__annotations__ = {
        "volume": slicer.vtkMRMLScalarVolumeNode,
        "segmentation": slicer.vtkMRMLSegmentationNode | None,
        "model": str,
        "outline": bool,
        "opacity": Annotated[float, WithinRange(0, 1)],
        "shown": Annotated[str, Choice(["fill", "outline"]), Default("outline")],
        "device": Device,
        "runs": int,
        "folder": Path,
    }
    return parameterNodeWrapper(Parameters)


VALUES = {
    "model": "unet-v2.0",
    "outline": False,
    "opacity": 0.25,
    "shown": "fill",
    "device": Device.GPU,
    "runs": 3,
    "folder": Path("other"),
}


def test_defaults(logic, wrapper):
    parameters = wrapper(logic.getParameterNode())
    assert parameters.volume is None
    assert parameters.segmentation is None
    assert (parameters.model, parameters.outline, parameters.opacity) == ("flairseg2d-v1.0", True, 0.5)
    assert (parameters.shown, parameters.device, parameters.runs) == ("outline", Device.AUTO, 0)
    assert parameters.default("opacity").value == 0.5


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_as_their_type(logic, wrapper, name):
    setattr(wrapper(logic.getParameterNode()), name, VALUES[name])
    read = getattr(wrapper(logic.getParameterNode()), name)
    assert read == VALUES[name]
    assert type(read) is type(VALUES[name])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("opacity", 1.5), ("shown", "both"), ("runs", "many"), ("model", None), ("device", "cuda"), ("outline", 1)],
)
def test_wrong_values_are_refused(logic, wrapper, name, wrong):
    parameters = wrapper(logic.getParameterNode())
    before = getattr(parameters, name)
    with pytest.raises(ValueError, match=r"."):
        setattr(parameters, name, wrong)
    assert getattr(parameters, name) == before


def test_node_of_another_class_is_refused(slicer, logic, wrapper):
    with pytest.raises(ValueError, match="must be of type"):
        wrapper(logic.getParameterNode()).volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")


def test_node_references(slicer, logic, wrapper):
    parameters = wrapper(logic.getParameterNode())
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters.volume = volume
    assert logic.getParameterNode().GetNodeReference("volume") is volume
    slicer.mrmlScene.RemoveNode(volume)
    assert parameters.volume is None


@pytest.mark.parametrize("ending", ["mrml", "mrb"])
def test_survives_saving_and_loading_the_scene(slicer, logic, wrapper, tmp_path, ending):
    parameters = wrapper(logic.getParameterNode())
    volume = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name="FLAIR")
    parameters.volume = volume
    for name, value in VALUES.items():
        setattr(parameters, name, value)
    if ending == "mrml":
        slicer.util.saveNode(volume, str(tmp_path / "FLAIR.nrrd"))
    assert slicer.util.saveScene(str(tmp_path / f"scene.{ending}"))
    slicer.mrmlScene.Clear(False)
    assert wrapper(logic.getParameterNode()).volume is None
    slicer.util.loadScene(str(tmp_path / f"scene.{ending}"))
    again = wrapper(logic.getParameterNode())
    assert again.volume.GetName() == "FLAIR"
    assert {name: getattr(again, name) for name in VALUES} == VALUES


@pytest.fixture
def gui(slicer):
    import ctk
    import qt

    root = slicer.qMRMLWidget()
    widgets = {
        "volume": slicer.qMRMLNodeComboBox(root),
        "model": qt.QLineEdit(root),
        "outline": qt.QCheckBox(root),
        "opacity": ctk.ctkSliderWidget(root),
        "shown": qt.QComboBox(root),
        "device": qt.QComboBox(root),
        "runs": qt.QSpinBox(root),
        "folder": ctk.ctkPathLineEdit(root),
    }
    for name, widget in widgets.items():
        widget.setObjectName(f"{name}Widget")
        widget.setProperty("SlicerParameterName", name)
    widgets["volume"].nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widgets["volume"].noneEnabled = True
    widgets["volume"].setMRMLScene(slicer.mrmlScene)
    return root, widgets


@pytest.fixture
def parameters(logic, wrapper, gui):
    """The parameters; they let go of the widgets before these go."""
    parameters = wrapper(logic.getParameterNode())
    yield parameters
    for tag in list(parameters._guis):
        parameters.disconnectGui(tag)


def test_widgets_show_the_parameters(slicer, parameters, gui):
    root, widgets = gui
    parameters.connectGui(slicer.util.childWidgetVariables(root))
    assert widgets["model"].text == "flairseg2d-v1.0"
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters.volume = volume
    for name, value in VALUES.items():
        setattr(parameters, name, value)
    assert widgets["volume"].currentNode() is volume
    assert widgets["model"].text == "unet-v2.0"
    assert widgets["outline"].checked is False
    assert widgets["opacity"].value == 0.25
    assert widgets["shown"].currentText == "fill"
    assert widgets["device"].currentText == "GPU"
    assert widgets["runs"].value == 3
    assert widgets["folder"].currentPath == "other"


def test_parameters_follow_the_widgets(slicer, parameters, gui):
    root, widgets = gui
    tag = parameters.connectGui(root)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    widgets["volume"].setCurrentNode(volume)
    widgets["model"].setText("unet-v2.0")
    widgets["outline"].click()
    widgets["opacity"].setValue(0.25)
    widgets["shown"].setCurrentIndex(0)
    widgets["device"].setCurrentIndex(1)
    widgets["runs"].setValue(3)
    widgets["folder"].setCurrentPath("other")
    assert parameters.volume is volume
    assert {name: getattr(parameters, name) for name in VALUES} == VALUES
    parameters.disconnectGui(tag)
    widgets["runs"].setValue(8)
    parameters.model = "third"
    assert (parameters.runs, widgets["model"].text) == (3, "unet-v2.0")


def test_range_of_the_annotation_becomes_the_widgets(parameters, gui):
    root, widgets = gui
    parameters.connectGui(root)
    assert (widgets["opacity"].minimum, widgets["opacity"].maximum) == (0, 1)


def test_observers_hear_of_changes(logic, wrapper):
    import vtk

    parameters = wrapper(logic.getParameterNode())
    heard = []
    tag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: heard.append(parameters.runs))
    parameters.runs = 5
    assert heard[-1] == 5
    parameters.RemoveObserver(tag)
    count = len(heard)
    parameters.runs = 6
    assert len(heard) == count


def test_a_wrong_widget_is_an_error(slicer, logic, wrapper):
    import qt

    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        wrapper(logic.getParameterNode()).connectParametersToGui({"model": qt.QSpinBox()})
    with pytest.raises(ValueError, match="Cannot find a param"):
        wrapper(logic.getParameterNode()).connectParametersToGui({"modell": qt.QLineEdit()})
