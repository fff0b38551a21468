"""The upper part of the panel: the volume that is proposed, why, and what is said of one that looks wrong."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from flairseg.labels import LESION

from Testing.harness.interaction import click, wait_until
from Testing.slicer.helpers import stored_as
from Testing.slicer.panel_driver import add_volume, settle, shown
from Testing.slicer.result_driver import segmented


@pytest.fixture
def panel(no_worker, open_panel):
    return open_panel()


@pytest.fixture
def phantom(slicer):
    """A scan of the phantom under a name that says nothing."""
    from FlairSegLib import sample_data

    def make(name: str):
        node = sample_data.loadPhantom(shape=(16, 96, 96), spacing_mm=(2.4, 2.4, 8.0))
        node.SetName(name)
        return node

    return make


def name_of(panel) -> str:
    node = panel.case.volumeNode
    return node.GetName() if node is not None else ""


def test_without_a_volume_the_button_says_why_it_is_disabled(panel):
    assert not panel.ui.segmentButton.enabled
    assert "Load a brain FLAIR" in panel.ui.segmentButton.toolTip
    assert shown(panel.ui.caseReasonLabel) == "No volume is loaded yet."


def test_the_flair_of_a_study_is_proposed_with_the_reason(panel, slicer):
    for name in ("localizer", "t1_mprage_sag", "t2_tirm_tra_dark-fluid", "ADC"):
        add_volume(slicer, name)
    settle(panel)
    assert name_of(panel) == "t2_tirm_tra_dark-fluid"
    assert shown(panel.ui.caseReasonLabel) == "Proposed because its name says FLAIR."
    assert panel.ui.segmentButton.enabled
    assert not panel.ui.proposeButton.isVisible()


def test_a_flair_that_is_loaded_later_takes_the_place_of_a_proposal(panel, slicer):
    add_volume(slicer, "image")
    settle(panel)
    assert name_of(panel) == "image"
    add_volume(slicer, "FLAIR")
    settle(panel)
    assert name_of(panel) == "FLAIR"


def test_a_choice_is_never_overridden(panel, slicer):
    chosen = add_volume(slicer, "T1")
    add_volume(slicer, "FLAIR")
    settle(panel)
    panel.ui.inputSelector.setCurrentNode(chosen)
    settle(panel)
    assert name_of(panel) == "T1"
    add_volume(slicer, "FLAIR follow-up")
    settle(panel)
    assert name_of(panel) == "T1"
    assert shown(panel.ui.caseReasonLabel) == "Your choice."
    assert "says that this is a T1" in shown(panel.ui.caseWarningLabel)
    assert panel.ui.segmentButton.enabled, "a warning is no refusal"
    click(panel.ui.proposeButton)
    settle(panel)
    assert name_of(panel) == "FLAIR follow-up"


def test_a_deleted_choice_gives_way_to_a_proposal(panel, slicer):
    chosen = add_volume(slicer, "T1")
    add_volume(slicer, "FLAIR")
    settle(panel)
    panel.ui.inputSelector.setCurrentNode(chosen)
    settle(panel)
    slicer.mrmlScene.RemoveNode(chosen)
    settle(panel)
    assert name_of(panel) == "FLAIR"


def test_hidden_volumes_are_not_considered(panel, slicer):
    node = add_volume(slicer, "FLAIR")
    node.SetHideFromEditors(True)
    settle(panel)
    assert name_of(panel) == ""
    assert shown(panel.ui.caseReasonLabel) == "No volume is loaded yet."


def test_the_dicom_header_speaks_before_names(panel, slicer, monkeypatch):
    class Database:
        values: ClassVar = {
            "uid.t1": {"0008,0060": "MR", "0018,0082": "900", "0018,0081": "3.1", "0008,103E": "series 2"},
            "uid.flair": {"0008,0060": "MR", "0018,0082": "2500", "0018,0081": "119", "0008,103E": "series 3"},
        }

        def instanceValue(self, uid, tag):
            return self.values[uid].get(tag, "")

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    for uid, name in (("uid.flair", "3: series 3"), ("uid.t1", "2: series 2 FLAIR?")):
        add_volume(slicer, name).SetAttribute("DICOM.instanceUIDs", f"{uid} other")
    settle(panel)
    assert name_of(panel) == "3: series 3"
    assert "TI 2500 ms, echo time 119 ms" in shown(panel.ui.caseReasonLabel)


WRONG = {
    "head": ({"array": np.linspace(-1000, 1500, 24 * 64 * 64).reshape(24, 64, 64).astype(np.int16)}, "Hounsfield"),
    "ADC map": ({}, "an ADC map"),
    "one": ({"shape": (1, 64, 64)}, "single slice"),
    "few": ({"shape": (3, 64, 64)}, "3 slices"),
    "small": ({"spacing": (0.5, 0.5, 0.5)}, "less than a brain"),
    "values": ({"array": np.arange(24 * 64 * 64).reshape(24, 64, 64).astype(np.uint8) % 4}, "looks like a mask"),
}


@pytest.mark.parametrize("name", WRONG)
def test_volumes_that_look_wrong_are_warned_about_with_advice(panel, slicer, name):
    more, says = WRONG[name]
    node = add_volume(slicer, name, **more)
    settle(panel)
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    assert says in shown(panel.ui.caseWarningLabel)
    assert panel.ui.caseWarningLabel.text.count(".") >= 2, "what is wrong, and what to do"
    assert panel.ui.segmentButton.enabled


@pytest.mark.parametrize(
    ("kind", "shape", "says"),
    [
        ("vtkMRMLLabelMapVolumeNode", (24, 64, 64), "label map"),
        ("vtkMRMLVectorVolumeNode", (24, 64, 64, 3), "colour image"),
    ],
)
def test_what_cannot_be_segmented_is_refused_before_the_run(panel, slicer, kind, shape, says):
    node = add_volume(slicer, "FLAIR", array=np.zeros(shape, np.uint8), kind=kind)
    settle(panel)
    assert name_of(panel) == ""
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    assert says in shown(panel.ui.caseWarningLabel)
    assert not panel.ui.segmentButton.enabled
    assert says in panel.ui.segmentButton.toolTip


def test_a_sequence_frame_is_a_4d_series(panel, slicer):
    browser = slicer.mrmlScene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
    sequence = slicer.mrmlScene.AddNode(slicer.vtkMRMLSequenceNode())
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    frame = add_volume(slicer, "FLAIR dynamic")
    for n in range(3):
        sequence.SetDataNodeAtValue(frame, str(n))
    browser.AddProxyNode(frame, sequence, False)
    settle(panel)
    assert name_of(panel) != "FLAIR dynamic"


def test_a_closer_look_warns_of_what_the_name_hides(panel, slicer, phantom):
    noise = add_volume(slicer, "FLAIR", seed=3)
    settle(panel)
    assert name_of(panel) == "FLAIR"
    wait_until(lambda: "noise" in shown(panel.ui.caseWarningLabel), 20)
    good = phantom("image")
    panel.ui.inputSelector.setCurrentNode(good)
    settle(panel)
    assert shown(panel.ui.caseWarningLabel) == ""
    panel.ui.inputSelector.setCurrentNode(noise)
    assert "noise" in shown(panel.ui.caseWarningLabel), "known from before, said at once"


def test_the_scene_is_closed_and_another_one_is_worked_on(panel, slicer):
    add_volume(slicer, "FLAIR")
    settle(panel)
    slicer.mrmlScene.Clear(False)
    settle(panel)
    assert name_of(panel) == ""
    assert not panel.ui.segmentButton.enabled
    assert shown(panel.ui.caseWarningLabel) == ""
    add_volume(slicer, "FLAIR of the next patient")
    settle(panel)
    assert name_of(panel) == "FLAIR of the next patient"
    assert panel.ui.segmentButton.enabled


def test_a_saved_scene_remembers_the_choice(panel, slicer, tmp_path):
    chosen = add_volume(slicer, "chosen")
    add_volume(slicer, "FLAIR")
    settle(panel)
    panel.ui.inputSelector.setCurrentNode(chosen)
    settle(panel)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    settle(panel)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    settle(panel)
    assert name_of(panel) == "chosen"
    assert "Your choice" in shown(panel.ui.caseReasonLabel)


def test_a_proposal_that_was_saved_is_not_taken_for_a_choice(panel, slicer, tmp_path):
    add_volume(slicer, "FLAIR")
    settle(panel)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    settle(panel)
    assert name_of(panel) == "FLAIR"
    add_volume(slicer, "FLAIR follow-up")
    settle(panel)
    assert name_of(panel) == "FLAIR follow-up"


@pytest.mark.parametrize("chosen", [False, True])
def test_what_the_selector_does_while_a_scene_is_read_is_nobodys_choice(panel, slicer, tmp_path, chosen):
    """In the application it follows late, and by way of no volume at all: the panel said "Your choice"."""
    other = add_volume(slicer, "chosen")
    add_volume(slicer, "FLAIR")
    settle(panel)
    if chosen:
        panel.ui.inputSelector.setCurrentNode(other)
        settle(panel)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    settle(panel)

    def follow(caller=None, event=None) -> None:
        for name in (None, "FLAIR", None, "chosen" if chosen else "FLAIR"):
            panel.ui.inputSelector.setCurrentNode(slicer.util.getNode(name) if name else None)

    scene = slicer.mrmlScene
    tags = [scene.AddObserver(event, follow, 100.0) for event in (scene.EndImportEvent, scene.EndBatchProcessEvent)]
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    for tag in tags:
        scene.RemoveObserver(tag)
    settle(panel)
    assert name_of(panel) == ("chosen" if chosen else "FLAIR")
    assert ("Your choice" in shown(panel.ui.caseReasonLabel)) == chosen
    if not chosen:
        assert "says FLAIR" in shown(panel.ui.caseReasonLabel)


def test_a_warning_about_a_transform_comes_and_goes_with_it(panel, slicer):
    """It had stayed until another volume was chosen, and never came to a volume that was moved later."""
    import vtk

    node = add_volume(slicer, "FLAIR")
    settle(panel)
    assert "non-linear" not in shown(panel.ui.caseWarningLabel)
    bent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    warp = vtk.vtkThinPlateSplineTransform()
    for points in (vtk.vtkPoints(), vtk.vtkPoints()):
        for n in range(5):
            points.InsertNextPoint(n, n * n, (n * 7) % 5)
        (warp.SetSourceLandmarks if warp.GetSourceLandmarks() is None else warp.SetTargetLandmarks)(points)
    warp.GetTargetLandmarks().SetPoint(2, 9, 9, 9)
    bent.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(bent.GetID())
    settle(panel)
    assert "non-linear transform" in shown(panel.ui.caseWarningLabel)
    node.SetAndObserveTransformNodeID(None)
    settle(panel)
    assert "non-linear" not in shown(panel.ui.caseWarningLabel)


@pytest.mark.parametrize(("codes", "first"), [("RAS", "image"), ("LAS", "segmentation")])
def test_a_segmentation_of_the_command_line_is_picked_up(panel, slicer, head, model, tmp_path, codes, first):
    """As documented: drag it into Slicer, load the FLAIR. There had been no way to get it into the panel."""
    import SimpleITK as sitk
    from flairseg.image.volume import Volume, volume_to_sitk
    from flairseg.lesions.components import find_lesions
    from flairseg.segmentation.pipeline import segment
    from flairseg.segmentation.writing import write_segmentation

    array, matrix = stored_as(head[0].array, head[0].ijk_to_ras, codes)
    path = tmp_path / "p1_flair.nii.gz"
    sitk.WriteImage(volume_to_sitk(Volume(np.ascontiguousarray(array), matrix)), str(path))
    case = segment(path, model, "cpu")
    written = write_segmentation(case, tmp_path / "out")["segmentation"]
    # Another image, on a grid of its own, and a segmentation of something else.
    add_volume(slicer, "T1")
    kidney = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "kidney")
    kidney.CreateDefaultDisplayNodes()
    kidney.GetSegmentation().AddEmptySegment("", "Kidney")
    settle(panel)
    assert panel.result.segmentationNode is None
    loaders = {
        "image": lambda: slicer.util.loadVolume(str(path)),
        "segmentation": lambda: slicer.util.loadSegmentation(str(written)),
    }
    order = sorted(loaders, key=lambda name: name != first)
    loaded = {name: loaders[name]() for name in order}
    settle(panel)
    wait_until(lambda: not panel.result.busy, 30)
    assert panel.case.volumeNode is loaded["image"]
    assert panel.result.segmentationNode is loaded["segmentation"]
    assert panel.result.volumeNode is loaded["image"]
    lesions = find_lesions(case.labels, case.volume.ijk_to_ras).lesions
    assert panel.result.measured.count(LESION) == len(lesions) > 0
    assert panel.result.ui.acceptButton.enabled
    # What is shown stays, whatever is loaded afterwards.
    again = slicer.util.loadSegmentation(str(written))
    settle(panel)
    assert panel.result.segmentationNode is loaded["segmentation"]
    assert again.GetDisplayNode().GetVisibility()


def test_hidden_results_and_those_of_another_image_are_not_picked_up(panel, slicer, head):
    volume, node = segmented(slicer, head)
    node.GetDisplayNode().SetVisibility(False)
    settle(panel)
    assert panel.case.volumeNode is volume
    assert panel.result.segmentationNode is None, "one of several that were compared"
    node.GetDisplayNode().SetVisibility(True)
    panel.exit()
    panel._selectionChanged()
    settle(panel)
    assert panel.result.segmentationNode is None, "another module is shown"
    panel.enter()
    settle(panel)
    assert panel.result.segmentationNode is node
