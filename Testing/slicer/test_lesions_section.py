"""The list of lesions: order, filter, walking through it, centring the views, flipping, more or fewer lesions."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH
from flairseg.models.lesion_confidence import LesionConfidence

from Testing.harness.interaction import click, press, wait_until
from Testing.slicer.result_driver import LARGE, SMALL, segmented


@pytest.fixture
def case(slicer, result, head):
    volume, node = segmented(slicer, head)
    result.show(node)
    return volume, node


def centres(slicer) -> np.ndarray:
    matrices = [n.GetSliceToRAS() for n in slicer.util.getNodesByClass("vtkMRMLSliceNode")]
    return np.array([[m.GetElement(row, 3) for row in range(3)] for m in matrices])


def test_the_list_tells_volume_slice_and_confidence(result, case):
    volume, _ = case
    labels = result.labels()
    assert result.numbers() == [1, 2, 3]
    total = sum(float(text) for text in result.column(1))
    assert total == pytest.approx((labels == LESION).sum() * np.prod(volume.GetSpacing()) / 1000, abs=0.002)
    assert result.column(4) == ["90", "90", "55"]
    assert result.column(5) == ["–"] * 3, "no region before one was looked for"
    slices = [int(text) - 1 for text in result.column(3)]
    assert slices[0] == LARGE[0]
    assert slices[2] in range(20, 23)


def test_a_click_and_the_arrow_keys_centre_all_views(slicer, result, case):
    table = result.panel.ui.lesionTable
    table.setFocus()
    table.selectRow(2)
    third = result.panel.lesions.selected
    assert third.number == 3
    assert len(centres(slicer)) >= 3
    assert np.allclose(centres(slicer), third.anchor_ras, atol=0.01)
    press("Up", table)
    second = result.panel.lesions.selected
    assert second.number == 2
    assert np.allclose(centres(slicer), second.anchor_ras, atol=0.01)


def test_next_and_previous_run_in_a_circle(result, case):
    seen = []
    for key in "NNNNPP":
        press(key)
        seen.append(result.panel.lesions.selected.number)
    assert seen == [1, 2, 3, 1, 3, 2]
    click(result.panel.ui.nextButton)
    assert result.panel.lesions.selected.number == 3


def test_a_heading_sorts_and_sorts_back(result, case):
    header = result.panel.ui.lesionTable.horizontalHeader()
    header.sectionClicked.emit(4)
    assert result.numbers() == [3, 1, 2]
    header.sectionClicked.emit(4)
    assert result.numbers() == [2, 1, 3]
    header.sectionClicked.emit(1)
    assert result.numbers() == [1, 2, 3], "large ones first"
    header.sectionClicked.emit(1)
    assert result.numbers() == [3, 2, 1]


def test_only_the_doubtful_ones(result, case):
    ui = result.panel.ui
    assert not ui.confidenceSpinBox.isVisible()
    ui.confidenceFilter.setCurrentIndex(1)
    assert ui.confidenceSpinBox.isVisible()
    ui.confidenceSpinBox.setValue(60)
    assert result.numbers() == [3]
    ui.confidenceFilter.setCurrentIndex(2)
    assert result.numbers() == [1, 2]
    ui.confidenceFilter.setCurrentIndex(0)
    ui.classFilter.setCurrentIndex(2)
    assert sorted(set(result.column(5))) == ["Normal WMH", "–"]
    ui.classFilter.setCurrentIndex(1)
    assert set(result.column(5)) == {"Normal WMH"}


def test_why_is_answered_from_probabilities_and_distance(result, case):
    result.panel.lesions.select(3)
    text = result.panel.ui.whyLabel.text
    assert text.endswith("Model: 55 % lesion, 40 % Normal WMH.")
    lesion = result.panel.lesions.selected
    assert f"{lesion.ventricle_distance_mm:.1f} mm from the ventricle, " in text


def test_flip_there_and_back_keeps_the_number(result, case):
    before = result.labels()
    ui = result.panel.ui
    ui.classFilter.setCurrentIndex(2)
    result.panel.lesions.select(1)
    assert ui.flipButton.text.startswith("To normal")
    click(ui.flipButton)
    result.settle()
    assert result.panel.lesions.selected.number == 1
    assert result.panel.lesions.selected.value == NORMAL_WMH
    assert ui.flipButton.text.startswith("To lesion")
    press("X")
    result.settle()
    assert np.array_equal(result.labels(), before)
    assert not result.panel._measured.edited


def test_after_a_deletion_next_goes_to_the_one_that_followed(result, case):
    result.panel.lesions.select(2)
    click(result.panel.ui.deleteButton)
    result.settle()
    assert result.numbers() == [1, 3]
    assert result.panel.lesions.selected is None
    assert "No. 2 is removed" in result.panel.ui.lesionMessageLabel.text
    press("N")
    assert result.panel.lesions.selected.number == 3
    click(result.panel.ui.undoButton)
    result.settle()
    assert result.numbers() == [1, 2, 3]


def test_the_sliders_propose_and_apply_is_undoable(result, case):
    ui = result.panel.ui
    before = result.labels()
    ui.thresholdGroupBox.collapsed = False
    ui.outlinedToSlider.setValue(25)
    wait_until(lambda: result.panel.lesions.proposal is not None)
    assert np.array_equal(result.labels(), before), "a proposal changes nothing"
    assert ui.thresholdLabel.text.startswith("Lesions: 3 → 3")
    ui.seenFromSlider.setValue(70)
    wait_until(lambda: result.panel.lesions.proposal is not None and "→ 2" in ui.thresholdLabel.text)
    click(ui.applyThresholdButton)
    result.settle()
    after = result.labels()
    assert after[SMALL] == NORMAL_WMH
    assert (after == LESION).sum() < (before == LESION).sum()
    assert len(result.numbers()) == 2
    assert result.panel.lesions.proposal is None
    press("Ctrl+Z")
    result.settle()
    assert np.array_equal(result.labels(), before)
    ui.seenFromSlider.setValue(30)
    wait_until(lambda: result.panel.lesions.proposal is not None)
    click(ui.resetThresholdButton)
    assert result.panel.lesions.proposal is None
    assert not ui.applyThresholdButton.enabled


def test_redrawn_lesions_have_the_card_s_minimum_and_no_calibrated_confidence(slicer, result, head, tmp_path):
    """As a run with a threshold: the calibration holds for lesions as the card decodes them."""
    calibration = LesionConfidence(-3.0, 1.1, 0.5)
    _, node = segmented(slicer, head, lesion_confidence=calibration, min_lesion_mm3=65 * head[0].voxel_mm3)
    result.show(node)
    ui, calibrated = result.panel.ui, result.column(4)
    assert calibrated != ["90", "90", "55"]
    ui.thresholdGroupBox.collapsed = False
    ui.outlinedToSlider.setValue(25)
    wait_until(lambda: result.panel.lesions.proposal is not None)
    click(ui.applyThresholdButton)
    result.settle()
    assert result.numbers() == [1, 2], "the third has 64 voxels with its rim"
    assert result.column(4) == ["90", "90"]
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    press("Ctrl+Z")
    result.settle()
    assert result.column(4) == calibrated
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(path)
    result.show(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0])
    assert result.column(4) == ["90", "90"], "a saved scene remembers"


def test_a_key_before_the_count_does_not_bring_a_removed_lesion_back(result, case):
    """Del and X in quick succession: the removed lesion came back as normal WMH, since it was still selected."""
    before = result.labels()
    result.panel.lesions.select(1)
    # Not counted before both keys, however busy the computer is.
    waits = result.panel._settling.interval
    result.panel._settling.setInterval(600_000)
    press("Del")
    press("X")
    result.panel._settling.setInterval(waits)
    result.panel._count()
    result.settle()
    after = result.labels()
    assert after[LARGE] == BACKGROUND
    assert np.array_equal(np.unique(before[before != after]), [LESION])
    assert np.array_equal(np.unique(after[before != after]), [BACKGROUND])
    result.panel.lesions.select(2)
    press("X")
    result.settle()
    assert (result.labels()[before == LESION] == NORMAL_WMH).any(), "the next one is changed as ever"


def test_undone_thresholds_are_not_those_of_later_edits(slicer, result, head):
    """Undone and then edited by hand, the lesions had been taken for redrawn ones, in the report as well."""
    from FlairSegLib.kept_answers import lesion_thresholds_of

    _, node = segmented(slicer, head, lesion_confidence=LesionConfidence(-3.0, 1.1, 0.5))
    result.show(node)
    ui, calibrated = result.panel.ui, result.column(4)
    ui.thresholdGroupBox.collapsed = False
    ui.outlinedToSlider.setValue(25)
    wait_until(lambda: result.panel.lesions.proposal is not None)
    click(ui.applyThresholdButton)
    result.settle()
    redrawn, drawn = lesion_thresholds_of(node), result.column(4)
    assert redrawn[1] == 0.25
    assert drawn[:2] == ["90", "90"]
    for key, levels, confidences in (
        ("Ctrl+Z", None, calibrated),
        ("Ctrl+Y", redrawn, drawn),
        ("Ctrl+Z", None, calibrated),
    ):
        press(key)
        result.settle()
        assert lesion_thresholds_of(node) == levels
        assert result.column(4) == confidences
    result.panel.lesions.select(1)
    press("Del")
    result.settle()
    assert result.column(4) == calibrated[1:]
    assert lesion_thresholds_of(node) is None


def test_a_proposal_leaves_what_the_reader_drew(result, case):
    ui = result.panel.ui
    result.paint((8, 60, 60), 6.0)
    drawn = result.labels()[8, 60, 60]
    assert drawn == LESION
    result.panel.lesions.select(1)
    press("Del")
    result.settle()
    ui.seenFromSlider.setValue(45)
    wait_until(lambda: result.panel.lesions.proposal is not None)
    if ui.applyThresholdButton.enabled:
        click(ui.applyThresholdButton)
        result.settle()
    after = result.labels()
    assert after[8, 60, 60] == LESION
    assert after[LARGE] == BACKGROUND


def test_without_probabilities_there_is_no_confidence_and_no_threshold(slicer, result, case, tmp_path):
    _, node = case
    path = str(tmp_path / "labels.seg.nrrd")
    assert slicer.util.saveNode(node, path)
    result.show(slicer.util.loadSegmentation(path))
    assert set(result.column(4)) == {"–"}
    assert not result.panel.ui.thresholdGroupBox.enabled
    assert result.panel.ui.whyLabel.text.count("%") == 0


def test_thousands_of_specks_do_not_drown_the_panel(slicer, result, head):
    volume = slicer.util.addVolumeFromArray(np.zeros((20, 90, 90), np.int16))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    labels = np.zeros((20, 90, 90), np.uint8)
    labels[::2, ::2, ::2] = 1
    from flairseg.labels import CLASS_BY_VALUE

    label_class = CLASS_BY_VALUE[LESION]
    node.GetSegmentation().AddEmptySegment(label_class.id, label_class.name, label_class.rgb_unit)
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, label_class.id, volume)
    result.show(node)
    assert result.column(2, "segmentTable") == [str(int(labels.sum()))]
    assert len(result.numbers()) == 400
    assert "first 400" in result.panel.ui.lesionMessageLabel.text
