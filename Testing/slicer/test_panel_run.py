"""The button that segments and cancels: a real run on a real scene, and everything that can be in its way."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from flairseg.labels import CLASSES

from Testing.harness.interaction import click, press, run_event_loop, wait_until
from Testing.slicer.panel_driver import add_volume, settle, shown

#: Generous: a worker starts Python and loads SciPy, on a computer that may be busy.
RUN_S = 120


@pytest.fixture
def panel(model, monkeypatch, open_panel):
    """The panel with the model that knows the head's gray levels."""
    monkeypatch.setenv("FLAIRSEG_MODELS", str(model.parent))
    widget = open_panel()
    index = widget.ui.modelComboBox.findData("intensity-v0.1")
    assert index >= 0
    widget.ui.modelComboBox.setCurrentIndex(index)
    widget.ui.deviceComboBox.setCurrentIndex(1)
    return widget


@pytest.fixture
def flair(panel, slicer, head):
    volume, _ = head
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "Müller^Anna FLAIR")
    settle(panel)
    return node


def segmentations(slicer) -> list:
    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_a_click_segments_and_says_what_it_does(panel, flair, slicer, head):
    ui = panel.ui
    said, fractions = [], []
    show = panel.run.controller._on_progress

    def progressed(fraction, stage):
        show(fraction, stage)
        said.append(ui.stageLabel.text)
        fractions.append(ui.progressBar.value)

    panel.run.controller._on_progress = progressed
    click(ui.segmentButton)
    assert panel.run.running
    assert ui.segmentButton.text == "Cancel"
    assert ui.progressBar.isVisible()
    wait_until(lambda: not panel.run.running, RUN_S)
    assert ui.segmentButton.text == "Segment"
    assert not ui.progressBar.isVisible()
    assert "Segmented in" in shown(ui.statusLabel)
    assert "on the CPU" in shown(ui.statusLabel)
    # The model is folded into one line, so that the result is in sight; opened, it says more.
    assert ui.modelCollapsibleButton.collapsed
    assert " – CPU – " in ui.modelCollapsibleButton.text
    click(ui.modelCollapsibleButton)
    assert ui.modelCollapsibleButton.text == "Model"
    assert shown(ui.deviceUsedLabel).startswith("The last run used the CPU.")
    words = list(dict.fromkeys(text.split(" slice ")[0] for text in said))
    assert words[-4:] == ["Preparing the brain", "Segmenting", "Cleaning up", "Filling the segments"]
    slices = panel.case.slices
    counted = [int(text.split()[2]) for text in said if text.startswith("Segmenting slice")]
    assert counted == sorted(counted)
    assert counted[0] >= 1
    assert counted[-1] <= slices
    assert all(text.endswith(f"of {slices}") for text in said if text.startswith("Segmenting slice"))
    assert fractions == sorted(fractions)
    (node,) = segmentations(slicer)
    assert panel.result.segmentationNode is node
    assert panel.logic.getParameterNode().segmentation is node
    assert node.GetSegmentation().GetNumberOfSegments() == len(CLASSES)
    # What was learnt: the time of the next run.
    assert shown(ui.modelTimeLabel).startswith("About")


def test_cancel_leaves_the_scene_as_it_was_and_the_next_run_works(slow_model, panel, flair, slicer):
    manager = slicer.app.layoutManager()
    before = manager.layout
    click(panel.ui.segmentButton)
    run_event_loop(0.3)
    assert manager.layout != before, "three slices"
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, 5)
    assert manager.layout == before
    assert "Cancelled" in shown(panel.ui.statusLabel)
    assert panel.ui.segmentButton.text == "Segment"
    assert segmentations(slicer) == []
    slow_model.unlink()
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, RUN_S)
    assert len(segmentations(slicer)) == 1


@pytest.mark.usefixtures("slow_model")  # before the panel, which starts the worker
def test_keys_segment_and_cancel_only_while_the_panel_is_shown(panel, flair, slicer):
    from FlairSegLib.keys import CANCEL, SEGMENT

    press(SEGMENT)
    assert panel.run.running
    press(CANCEL)
    wait_until(lambda: not panel.run.running, 5)
    slicer.util.mainWindow().moduleSelector().selectModule("Volumes")
    press(SEGMENT)
    run_event_loop(0.1)
    assert not panel.run.running
    slicer.util.mainWindow().moduleSelector().selectModule("FlairSeg")
    press(SEGMENT)
    assert panel.run.running
    press(CANCEL)


def test_an_error_is_told_with_advice_and_diagnostics_name_nobody(panel, slicer):
    add_volume(slicer, "Müller^Anna FLAIR", array=np.full((24, 64, 64), 7, np.int16))
    settle(panel)
    panel.ui.inputSelector.setCurrentNode(slicer.util.getNode("Müller^Anna FLAIR"))
    settle(panel)
    before = slicer.app.layoutManager().layout
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, RUN_S)
    assert slicer.app.layoutManager().layout == before
    assert "All voxels have the same value" in shown(panel.ui.statusLabel)
    assert "Export" in panel.ui.statusLabel.text or "again" in panel.ui.statusLabel.text
    assert slicer.app.messages == [], "nothing pops up"
    click(panel.ui.copyDiagnosticsButton)
    text = slicer.app.clipboard().text()
    assert "UnusableIntensitiesError" in text
    assert "All voxels have the same value" in text
    assert "intensity-v0.1" in text
    assert "Müller" not in text
    assert "Anna" not in text


def test_missing_packages_are_asked_for_once_then_the_run_begins(panel, flair, slicer, monkeypatch):
    from FlairSegLib import dependencies
    from slicer import packaging

    packaging.recorder.missing = {"onnxruntime"}
    real = dependencies.installedVersion
    monkeypatch.setattr(
        dependencies,
        "installedVersion",
        lambda name: None if name in packaging.recorder.missing else real(name),
    )
    click(panel.ui.segmentButton)
    assert packaging.recorder.installed == [["onnxruntime>=1.19"]]
    assert packaging.recorder.ensured[0]["requester"] == "FLAIR Segmentation"
    assert panel.run.running
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, 5)


def test_a_double_click_while_packages_are_installed_starts_one_run(panel, flair, slicer, monkeypatch):
    """Slicer handles events while pip runs: the second click came to a run that was not there yet."""
    from FlairSegLib import dependencies

    clicks = []

    def install(device, beforeChange=None):
        clicks.append(len(clicks))
        if len(clicks) == 1:
            click(panel.ui.segmentButton)

    monkeypatch.setattr(dependencies, "ensure", install)
    click(panel.ui.segmentButton)
    assert clicks == [0]
    assert panel.run.running
    assert panel.ui.segmentButton.text == "Cancel"
    assert shown(panel.ui.statusLabel) == "", "no error about a run that is under way"
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, 5)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("spacing"), "unexpected error (KeyError: 'spacing')"),
        (
            PermissionError(13, "Permission denied", "site-packages"),
            "refused (Permission denied: site-packages)",
        ),
        (OSError(28, "No space left on device", "site-packages"), "A disk is full"),
    ],
)
def test_an_error_that_nobody_expected_is_shown_with_advice(panel, flair, slicer, monkeypatch, error, said):
    """Qt only prints what leaves a slot: the button looked as if it did nothing."""
    from FlairSegLib import dependencies

    def fail(*_arguments, **_keywords):
        raise error

    monkeypatch.setattr(dependencies, "ensure", fail)
    click(panel.ui.segmentButton)
    assert not panel.run.running
    assert said in shown(panel.ui.statusLabel)
    advice = ("Try again", "Check the permissions", "Free some space")
    assert any(text in panel.ui.statusLabel.text for text in advice)
    assert panel.ui.copyDiagnosticsButton.isVisible()
    section = panel.further.compare
    monkeypatch.setattr(section, "_refusal", lambda: "")
    monkeypatch.setattr(section, "_begin", fail)
    section.start()
    assert said in section.ui.compareMessageLabel.text
    assert section.ui.compareButton.text == "Compare"


@pytest.mark.parametrize("why", ["declined", "offline"])
def test_packages_that_cannot_be_installed_are_explained(panel, flair, slicer, monkeypatch, why):
    from FlairSegLib import dependencies
    from slicer import packaging

    packaging.recorder.missing = {"onnxruntime"}
    real = dependencies.installedVersion
    monkeypatch.setattr(dependencies, "installedVersion", lambda name: None if name == "onnxruntime" else real(name))
    if why == "declined":
        packaging.recorder.user_agrees = False
    else:
        packaging.recorder.failure = subprocess.CalledProcessError(1, ["pip"], output="Network is unreachable")
    click(panel.ui.segmentButton)
    assert not panel.run.running
    message = shown(panel.ui.statusLabel)
    assert ("were not installed" if why == "declined" else "no connection") in message
    assert "--find-links" in message
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.copyDiagnosticsButton.isVisible()


@pytest.mark.usefixtures("slow_model")  # before the panel, which starts the worker
def test_the_scene_is_closed_during_a_run(panel, flair, slicer):
    click(panel.ui.segmentButton)
    run_event_loop(0.2)
    slicer.mrmlScene.Clear(False)
    run_event_loop(0.2)
    assert not panel.run.running
    assert panel.ui.segmentButton.text == "Segment"
    assert not panel.ui.segmentButton.enabled
    assert shown(panel.ui.statusLabel) == ""
    assert segmentations(slicer) == []


@pytest.mark.usefixtures("slow_model")  # before the panel, which starts the worker
def test_the_volume_is_deleted_during_a_run(panel, flair, slicer):
    click(panel.ui.segmentButton)
    run_event_loop(0.2)
    slicer.mrmlScene.RemoveNode(flair)
    wait_until(lambda: not panel.run.running, 10)
    assert "was deleted" in shown(panel.ui.statusLabel)
    assert segmentations(slicer) == []


@pytest.mark.usefixtures("slow_model")  # before the panel, which starts the worker
def test_the_panel_is_reloaded_and_unloaded_during_a_run(panel, flair, slicer):
    click(panel.ui.segmentButton)
    run_event_loop(0.1)
    controller = panel.run.controller
    panel.cleanup()
    assert not controller.running
    assert controller.workerPid is None


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("start", "Starting..."),
        ("send", "Reading the volume"),
        ("read", "Reading the volume"),
        ("preprocess", "Preparing the brain"),
        ("postprocess", "Cleaning up"),
        ("fill", "Filling the segments"),
        ("something new", "something new"),
    ],
)
def test_stages_in_plain_words(slicer, stage, words):
    from FlairSegLib.panel.run_section import stage_words

    assert stage_words(stage, 0.5, 20) == words


def test_slices_are_counted_from_the_first_to_the_last(slicer):
    from flairseg.progress import STAGES
    from FlairSegLib.panel.run_section import SENT, stage_words
    from FlairSegLib.task_controller import FILL

    def of_run(fraction):
        return SENT + (FILL - SENT) * fraction

    assert stage_words("inference", of_run(STAGES["preprocess"]), 24) == "Segmenting slice 1 of 24"
    middle = (STAGES["preprocess"] + STAGES["inference"]) / 2
    assert stage_words("inference", of_run(middle) + 1e-9, 24) == "Segmenting slice 13 of 24"
    assert stage_words("inference", of_run(STAGES["inference"]), 24) == "Segmenting slice 24 of 24"
    assert stage_words("inference", 0.5, 0) == "Segmenting slices"
