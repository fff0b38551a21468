"""Compare models: each result a segmentation of its own, figures that equal the voxels, two of them side by side."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flairseg.comparison.figures import ModelFigures
from flairseg.labels import CLASS_BY_VALUE, CLASSES, LESION

from Testing.harness.interaction import click, run_event_loop, wait_until
from Testing.slicer.panel_driver import settle, shown
from Testing.slicer.test_panel_run import RUN_S

FIRST, STRICT = "intensity-v0.1", "strict-v0.1"


@pytest.fixture(scope="module")
def models(model, tmp_path_factory) -> Path:
    """The model that knows gray levels, and one that drops lesions of less than 5 ml: the smaller of the two."""
    folder = tmp_path_factory.mktemp("two models")
    shutil.copytree(model.parent if model.is_file() else model, folder / FIRST)
    shutil.copytree(folder / FIRST, folder / STRICT)
    card = json.loads((folder / FIRST / "card.json").read_text(encoding="utf-8"))
    card |= {"id": STRICT, "title": "Large lesions only"}
    card["pipeline"]["min_lesion_mm3"] = 5000
    (folder / STRICT / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


@pytest.fixture
def panel(models, monkeypatch, open_panel):
    monkeypatch.setenv("FLAIRSEG_MODELS", str(models))
    widget = open_panel(height=1400)
    widget.ui.deviceComboBox.setCurrentIndex(1)
    return widget


@pytest.fixture
def section(panel, slicer, head):
    """The section, opened, with a volume to compare on and both models ticked."""
    volume, _ = head
    slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR 042")
    settle(panel)
    click(panel.further.compare.ui.compareCollapsibleButton)
    panel.further.compare.tick([FIRST, STRICT])
    return panel.further.compare


def table(widget) -> list[list[str]]:
    return [[widget.item(r, c).text() for c in range(widget.columnCount)] for r in range(widget.rowCount)]


def lesions_of(slicer, node, volume) -> np.ndarray:
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, CLASS_BY_VALUE[LESION].id, volume) > 0


def test_two_models_are_compared_and_nothing_else_is_touched(panel, section, slicer, head):
    from Testing.slicer.result_driver import segmented

    volume = panel.case.volumeNode
    _, own = segmented(slicer, head, volume_node=volume)
    panel.result.setSegmentation(own)
    wait_until(lambda: not panel.result.busy, 20)
    before = lesions_of(slicer, own, volume)
    ui = section.ui
    click(ui.compareButton)
    assert ui.compareButton.text == "Cancel"
    wait_until(lambda: not section.running, RUN_S)
    assert "2 models compared" in shown(ui.compareMessageLabel)
    first, strict = section.compared.nodes
    assert [first.GetName(), strict.GetName()] == [f"FLAIR 042 – {FIRST}", f"FLAIR 042 – {STRICT}"]
    masks = [lesions_of(slicer, node, volume) for node in (first, strict)]
    assert masks[0].sum() > masks[1].sum() > 0
    ml = np.prod(volume.GetSpacing()) / 1000
    rows = table(ui.comparisonTable)
    assert [row[0] for row in rows] == ["A  Intensity bands", "B  Large lesions only"]
    assert [row[1] for row in rows] == ["2", "1"]
    assert [row[-1] for row in rows] == [f"{mask.sum() * ml:.2f}" for mask in masks]
    dice = 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum())
    assert table(ui.diceTable) == [[rows[0][0], "1.00", f"{dice:.2f}"], [rows[1][0], f"{dice:.2f}", "1.00"]]
    ui.diceSelector.setCurrentIndex(0)
    assert table(ui.diceTable)[0][2] == "1.00", "both find the same ventricles"
    # What the reader has is as it was, and is what is shown.
    assert np.array_equal(lesions_of(slicer, own, volume), before)
    assert panel.result.segmentationNode is own
    assert own.GetDisplayNode().GetVisibility()
    assert not first.GetDisplayNode().GetVisibility()
    wait_until(lambda: panel.result.ui.versionSelector.count == 3, 20)

    # A click takes a result up, to be looked at, corrected and accepted.
    ui.comparisonTable.cellClicked.emit(1, 0)
    assert panel.result.segmentationNode is strict
    assert strict.GetDisplayNode().GetVisibility()
    assert not own.GetDisplayNode().GetVisibility()
    wait_until(lambda: not panel.result.busy, 20)

    # Side by side.
    click(ui.sideBySideButton)
    manager = slicer.app.layoutManager()
    ids = [node.GetDisplayNode().GetNthViewNodeID(0) for node in (first, strict)]
    nodes = [slicer.mrmlScene.GetNodeByID(i) for i in ids]
    assert [node.GetLayoutLabel() for node in nodes] == ["A", "B"]
    assert not own.GetDisplayNode().GetVisibility()
    ui.rightSelector.setCurrentIndex(0)
    assert first.GetDisplayNode().GetNumberOfViewNodeIDs() == 2
    click(ui.sideBySideButton)
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert strict.GetDisplayNode().GetNumberOfViewNodeIDs() == 0
    # A result that was deleted is told, not raised.
    slicer.mrmlScene.RemoveNode(first)
    click(ui.sideBySideButton)
    assert "no longer exists" in shown(ui.compareMessageLabel)
    assert not ui.sideBySideButton.checked
    slicer.mrmlScene.Clear(False)
    assert not ui.comparisonBox.isVisible()
    run_event_loop(0.1)


def test_cancel_adds_nothing(slow_model, panel, section, slicer):
    before = {n.GetID() for n in slicer.util.getNodesByClass("vtkMRMLNode")}
    click(section.ui.compareButton)
    run_event_loop(0.5)
    click(section.ui.compareButton)
    wait_until(lambda: not section.running, 5)
    assert "Cancelled" in shown(section.ui.compareMessageLabel)
    assert section.compared is None
    assert {n.GetID() for n in slicer.util.getNodesByClass("vtkMRMLNode")} == before
    assert section.ui.compareButton.text == "Compare"


def test_a_model_that_fails_costs_the_others_nothing(panel, section, models, slicer):
    card = models / STRICT / "card.json"
    kept = card.read_text(encoding="utf-8")
    altered = json.loads(kept)
    altered["weights"]["sha256"] = "0" * 64
    card.write_text(json.dumps(altered), encoding="utf-8")
    try:
        click(section.ui.compareButton)
        wait_until(lambda: not section.running, RUN_S)
    finally:
        card.write_text(kept, encoding="utf-8")
    message = shown(section.ui.compareMessageLabel)
    assert "1 models compared" in message
    assert "Large lesions only: The weights of model strict-v0.1" in message
    assert [row[1] for row in table(section.ui.comparisonTable)] == ["2", "–"]
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1
    section.ui.comparisonTable.cellClicked.emit(1, 0)
    assert "no longer exists" in shown(section.ui.compareMessageLabel)


def test_what_is_in_the_way_is_said_on_the_button(panel, section):
    section.tick([FIRST])
    assert not section.ui.compareButton.enabled
    assert section.ui.compareButton.toolTip == "Tick two or more models."
    section.tick([FIRST, STRICT])
    assert section.ui.compareButton.enabled
    panel.ui.inputSelector.setCurrentNode(None)
    settle(panel)
    assert not section.ui.compareButton.enabled
    assert "Load a brain FLAIR" in section.ui.compareButton.toolTip


def test_the_volumes_of_every_class_have_a_column(section):
    from FlairSegLib.panel.compare_section import Compared

    row = ModelFigures("x-v1.0", "X", "1.0", "", {c.id: float(c.value) for c in CLASSES}, None, 1.0)
    section._show(Compared(None, [row, replace(row, title="Y")], [None, None], {"lesion": [[None, None]] * 2}))
    assert table(section.ui.comparisonTable)[0] == ["A  X", "–", *(f"{c.value:.2f}" for c in CLASSES)]
    section._show(None)
