"""The whole result half: see, correct by key and brush, undo, accept, save the scene, find all of it again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flairseg.labels import BACKGROUND, CLASS_BY_VALUE, CLASSES, LESION, NORMAL_WMH, VENTRICLES
from flairseg.models import load_card
from flairseg.segmentation.result import Segmentation

from Testing.harness.interaction import click, press, run_event_loop, wait_until
from Testing.slicer.result_driver import LARGE, segmented, tag

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_segments_are_listed_with_their_volume_and_status(slicer, result, head):
    volume, node = segmented(slicer, head)
    result.show(node)
    labels = result.labels()
    spacing_ml = np.prod(volume.GetSpacing()) / 1000
    assert result.column(0, "segmentTable") == [c.name for c in CLASSES]
    assert result.column(1, "segmentTable") == [f"{(labels == c.value).sum() * spacing_ml:.2f}" for c in CLASSES]
    assert result.column(2, "segmentTable") == ["–", "2", "3"]
    assert result.column(3, "segmentTable") == ["To do"] * 3
    assert result.panel.ui.segmentEditor.currentSegmentID() == CLASS_BY_VALUE[LESION].id
    assert not result.panel.ui.versionSelector.isVisible()


def test_what_the_model_never_looks_for_is_not_said_to_be_none(slicer, result, head):
    from FlairSegLib import kept_answers, scene_bridge

    volume, node = segmented(slicer, head)
    answer = kept_answers.answer_of(node)
    lesions = np.where(answer.full_labels() == LESION, LESION, BACKGROUND).astype(np.uint8)
    card = load_card(REPOSITORY / "models" / "s4-deepwml-v1.0")
    found = Segmentation(head[0], lesions, None, card, "auto", "cpu", "CPUExecutionProvider", "FLAIR 042")
    result.show(scene_bridge.segmentation_to_node(found, volume))
    spacing_ml = np.prod(volume.GetSpacing()) / 1000
    assert result.column(0, "segmentTable") == [CLASS_BY_VALUE[LESION].name]
    assert result.column(1, "segmentTable") == [f"{(lesions == LESION).sum() * spacing_ml:.2f}"]
    press("N")
    press("X")
    result.settle()
    assert result.column(0, "segmentTable") == [CLASS_BY_VALUE[value].name for value in (LESION, NORMAL_WMH)]


def test_from_looking_to_acceptance_and_back_after_a_reload(slicer, result, head, tmp_path):
    _, node = segmented(slicer, head)
    result.show(node)
    before = result.labels()
    press("N")
    assert result.panel.lesions.selected.number == 1
    press("X")
    result.settle()
    flipped = result.labels()
    large = before == LESION
    assert flipped[LARGE] == NORMAL_WMH
    assert result.numbers() == [2, 3]
    press("Ctrl+Z")
    result.settle()
    assert np.array_equal(result.labels(), before)
    assert result.numbers() == [1, 2, 3]
    press("Ctrl+Y")
    result.settle()
    assert np.array_equal(result.labels(), flipped)
    press("Ctrl+Z")
    result.settle()
    result.paint((8, 60, 60), 6.0)
    painted = result.labels()
    added = int(((painted == LESION) & ~large).sum())
    assert added > 0
    assert (painted[before != BACKGROUND] == before[before != BACKGROUND]).all()
    # The two regions of normal WMH have the numbers 4 and 5.
    assert result.numbers() == [1, 2, 3, 6]
    assert tag(node, LESION, "FlairSeg.algorithm_type") == "SEMIAUTOMATIC"
    assert tag(node, LESION, "FlairSeg.voxels_added") == str(added)
    assert tag(node, LESION, "FlairSeg.reader") == "R01"
    assert result.column(3, "segmentTable") == ["To do", "To do", "Edited"]

    click(result.panel.ui.acceptEditedButton)
    result.settle()
    saved = tmp_path / "cases" / "FLAIR 042" / "v001" / "verdict.json"
    verdict = json.loads(saved.read_text(encoding="utf-8"))
    assert verdict["verdict"] == "accepted_after_edits"
    assert verdict["edits"][CLASS_BY_VALUE[LESION].id] == {"voxels_added": added, "voxels_removed": 0}
    assert verdict["reader"] == "R01"
    assert verdict["model"]["id"] == "intensity-v0.1"
    assert result.column(3, "segmentTable") == ["Accepted"] * 3

    for ending in ("mrb", "mrml"):
        folder = tmp_path / ending
        folder.mkdir()
        if ending == "mrml":
            # A .mrml names the files of its nodes, which are saved on their own.
            for saved_node in slicer.util.getNodesByClass("vtkMRMLVolumeNode"):
                assert slicer.util.saveNode(saved_node, str(folder / f"{saved_node.GetID()}.nrrd"))
            assert slicer.util.saveNode(node, str(folder / "segmentation.seg.nrrd"))
        assert slicer.util.saveScene(str(folder / f"scene.{ending}"))
        result.panel.onSceneStartClose()
        slicer.mrmlScene.Clear(False)
        slicer.util.loadScene(str(folder / f"scene.{ending}"))
        (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        result.show(node)
        assert np.array_equal(result.labels(), painted)
        assert len(result.numbers()) == 4
        assert result.column(4, "lesionTable")[0] == "90"
        assert "Accepted after edits by R01" in result.panel.ui.verdictMessageLabel.text
        assert "v001" in result.panel.ui.verdictMessageLabel.text
        assert result.panel._measured.edits[LESION] == (added, 0)
        assert not result.panel.ui.flipButton.enabled
        assert result.panel.tracker.seconds == pytest.approx(verdict["active_seconds"], abs=6)


def test_the_time_of_work_is_in_a_scene_that_is_saved_while_the_panel_is_shown(slicer, result, head, tmp_path):
    """Nothing is told before a scene is saved: neither ``StartSaveEvent`` nor any other event comes."""
    _, node = segmented(slicer, head)
    result.show(node)
    told = []
    node.AddObserver("ModifiedEvent", lambda caller, event: told.append(event))
    now = [100.0]
    result.panel.tracker._clock = lambda: now[0]
    for _ in range(3):
        result.panel.tracker.touch()
        now[0] += 11.0
    result.panel._clock_timer.timeout.emit()
    assert not told, "each change that is told draws the views"
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    result.show(node)
    assert result.panel.tracker.seconds == pytest.approx(22.0, abs=0.1)


def test_painting_takes_voxels_from_the_other_classes_and_erasing_gives_them_to_none(slicer, result, head):
    _, node = segmented(slicer, head)
    result.show(node)
    before = result.labels()
    inside = tuple(int(n) for n in np.argwhere(before == VENTRICLES).mean(axis=0).round())
    # In the middle between the two ventricles' halves lies none of them: start from a voxel that is one.
    inside = tuple(np.argwhere(before == VENTRICLES)[(before == VENTRICLES).sum() // 3]) or inside
    result.paint(inside, 5.0)
    after = result.labels()
    stroke = (after == LESION) & (before != LESION)
    assert (before[stroke] == VENTRICLES).any()
    assert np.array_equal(after[~stroke], before[~stroke])
    result.paint(inside, 5.0, "Erase")
    assert (result.labels()[stroke] == BACKGROUND).all()


def test_runs_make_versions_and_the_chosen_one_is_the_one_that_is_seen(slicer, result, head):
    volume, first = segmented(slicer, head)
    _, second = segmented(slicer, head, volume_node=volume)
    result.show(second)
    selector = result.panel.ui.versionSelector
    assert selector.isVisible()
    assert [selector.itemText(n) for n in range(selector.count)] == [first.GetName(), second.GetName()]
    assert selector.currentIndex == 1
    selector.setCurrentIndex(0)
    result.settle()
    assert result.panel.segmentationNode is first
    assert first.GetDisplayNode().GetVisibility()
    assert not second.GetDisplayNode().GetVisibility()
    slicer.mrmlScene.RemoveNode(second)
    run_event_loop(0.4)
    assert not selector.isVisible()


def test_a_segmentation_from_a_file_finds_its_flair(slicer, result, head, tmp_path):
    volume, node = segmented(slicer, head)
    path = str(tmp_path / "cli.seg.nrrd")
    assert slicer.util.saveNode(node, path)
    expected = {c.id: int(slicer.util.arrayFromSegmentBinaryLabelmap(node, c.id, volume).sum()) for c in CLASSES}
    slicer.mrmlScene.RemoveNode(node)
    loaded = slicer.util.loadSegmentation(path)
    result.show(loaded)
    assert result.panel._volume is volume
    assert {c.id: int((result.labels() == c.value).sum()) for c in CLASSES} == expected
    assert result.numbers() == [1, 2, 3]
    press("N")
    press("Del")
    result.settle()
    assert result.numbers() == [2, 3]
    assert result.panel.ui.acceptEditedButton.enabled
    assert tag(loaded, LESION, "FlairSeg.algorithm_type") == "SEMIAUTOMATIC"


def test_without_its_flair_a_segmentation_is_listed_but_not_edited(slicer, result, head, tmp_path):
    _, node = segmented(slicer, head)
    path = str(tmp_path / "alone.seg.nrrd")
    assert slicer.util.saveNode(node, path)
    slicer.mrmlScene.Clear(False)
    result.show(slicer.util.loadSegmentation(path))
    assert result.numbers() == [1, 2, 3]
    assert "Load the FLAIR" in result.panel.ui.editorMessageLabel.text
    assert not result.panel.ui.segmentEditor.enabled
    assert "Load the FLAIR" in result.panel.ui.acceptButton.toolTip


def test_missing_and_extra_segments_do_no_harm(slicer, result, head):
    _, node = segmented(slicer, head)
    contents = node.GetSegmentation()
    contents.RemoveSegment(CLASS_BY_VALUE[NORMAL_WMH].id)
    contents.AddEmptySegment("tumour", "Something else", (1.0, 1.0, 0.0))
    result.show(node)
    assert result.column(0, "segmentTable")[-1] == "Something else"
    assert result.column(1, "segmentTable")[-1] == "–"
    press("N")
    press("X")
    result.settle()
    assert contents.GetSegment(CLASS_BY_VALUE[NORMAL_WMH].id) is not None, "flipping brings the class back"
    assert result.labels()[LARGE] == NORMAL_WMH
    # A segmentation of something else altogether.
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    other.GetSegmentation().AddEmptySegment("kidney", "Kidney", (0.0, 1.0, 0.0))
    result.show(other)
    assert "None of the segments" in result.panel.ui.resultMessageLabel.text
    assert result.numbers() == []


def test_deleting_what_is_shown_leaves_a_tidy_panel(slicer, result, head):
    volume, first = segmented(slicer, head)
    _, second = segmented(slicer, head, volume_node=volume)
    result.show(second)
    slicer.mrmlScene.RemoveNode(second)
    run_event_loop(0.4)
    result.settle()
    assert result.panel.segmentationNode is first
    slicer.mrmlScene.RemoveNode(volume)
    run_event_loop(0.4)
    result.settle()
    assert not result.panel.ui.segmentEditor.enabled
    slicer.mrmlScene.RemoveNode(first)
    run_event_loop(0.4)
    result.settle()
    assert result.panel.segmentationNode is None
    assert not result.panel.widget.isVisible()
    press("N")
    press("X")
    press("Ctrl+Z")


def test_closing_the_scene_while_counting(slicer, result, head):
    _, node = segmented(slicer, head)
    result.panel.setSegmentation(node)
    result.panel.onSceneStartClose()
    slicer.mrmlScene.Clear(False)
    run_event_loop(0.5)
    assert not result.panel.busy
    assert result.numbers() == []
    _, node = segmented(slicer, head)
    result.show(node)
    assert result.numbers() == [1, 2, 3]


def test_a_moved_volume_takes_the_views_along(slicer, result, head):
    volume, node = segmented(slicer, head)
    result.show(node)
    press("N")
    place = np.array(result.panel.lesions.selected.anchor_ras)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = 30.0, -20.0, 15.0
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    for moved in (volume, node):
        moved.SetAndObserveTransformNodeID(transform.GetID())
    press("N")
    press("P")
    offsets = {n.GetName(): n.GetSliceToRAS() for n in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    shown = [[m.GetElement(row, 3) for row in range(3)] for m in offsets.values()]
    assert np.abs(np.array(shown) - (place + matrix[:3, 3])).max() < 0.01


def test_colours_visibility_and_names_changed_elsewhere_show(slicer, result, head):
    _, node = segmented(slicer, head)
    result.show(node)
    node.GetSegmentation().GetSegment(CLASS_BY_VALUE[LESION].id).SetName("Plaques")
    wait_until(lambda: result.column(0, "segmentTable")[2] == "Plaques", 5)
    assert not result.panel.busy, "a name is no edit"
    assert tag(node, LESION, "FlairSeg.algorithm_type") == "AUTOMATIC"
