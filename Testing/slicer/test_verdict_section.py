"""Accept, accept after edits, reject: saved before it is said, never overwritten, never lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from flairseg.labels import CLASS_BY_VALUE, LESION

from Testing.harness.interaction import click, press, run_event_loop, type_text
from Testing.slicer.panel_driver import shown
from Testing.slicer.result_driver import LARGE, segmented, tag


@pytest.fixture
def case(slicer, result, head):
    volume, node = segmented(slicer, head)
    result.show(node)
    return volume, node


def versions(result) -> list[str]:
    folder = Path(result.settings.casesFolder) / "FLAIR 042"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def verdict_of(result, version: str) -> dict:
    path = Path(result.settings.casesFolder) / "FLAIR 042" / version / "verdict.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_only_the_verdict_that_fits_can_be_given(result, case):
    ui = result.panel.ui
    assert ui.acceptButton.enabled
    assert not ui.acceptEditedButton.enabled
    assert "Nothing was edited" in ui.acceptEditedButton.toolTip
    press("N")
    press("Del")
    assert not ui.acceptButton.enabled, "not before the edit is counted either"
    result.settle()
    assert not ui.acceptButton.enabled
    assert "Accept after edits" in ui.acceptButton.toolTip
    assert ui.acceptEditedButton.enabled
    press("Ctrl+Z")
    result.settle()
    assert ui.acceptButton.enabled


def test_accepted_means_saved_noted_and_closed_for_editing(slicer, result, case):
    _, node = case
    before = result.labels()
    click(result.panel.ui.acceptButton)
    result.settle()
    assert versions(result) == ["v001"]
    assert verdict_of(result, "v001")["verdict"] == "accepted"
    assert "classes" not in verdict_of(result, "v001"), "all were reviewed"
    assert tag(node, LESION, "FlairSeg.verdict") == "accepted"
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = node.GetSegmentation().GetSegment(CLASS_BY_VALUE[LESION].id)
    assert logic.GetSegmentStatus(segment) == logic.Completed
    text = shown(result.panel.ui.verdictMessageLabel)
    assert "Accepted by R01" in text
    assert "FLAIR 042/v001" in text
    assert result.settings.casesFolder in text
    for key in ("N", "X", "Del", "1", "Ctrl+Z"):
        press(key)
    result.settle()
    assert np.array_equal(result.labels(), before)
    assert result.panel.editor.effect == ""
    assert "Reopen" in shown(result.panel.ui.editorMessageLabel)
    assert slicer.app.messages == [], "nothing pops up"


def test_a_class_without_a_segment_is_not_reviewed(slicer, result, head):
    """As of a model that segments lesions alone: adaptation must not take the rest for background."""
    _, node = segmented(slicer, head, classes=(LESION,))
    result.show(node)
    click(result.panel.ui.acceptButton)
    result.settle()
    assert verdict_of(result, "v001")["classes"] == ["lesion"]


def test_keys_alone_correct_and_accept(result, case):
    press("N")
    press("X")
    result.settle()
    assert result.panel.lesions.selected is None
    press("Ctrl+Z")
    result.settle()
    assert result.panel.lesions.selected.number == 1, "what an undo brings back is selected again"
    press("X")
    result.settle()
    press("Shift+A")
    result.settle()
    assert verdict_of(result, "v001")["verdict"] == "accepted_after_edits"


def test_keys_alone_reject_with_a_reason(result, case):
    ui = result.panel.ui
    press("Shift+R")
    assert ui.rejectRow.visible
    press("Shift+R")
    result.settle()
    assert versions(result) == [], "not without a reason"
    press("Down", ui.reasonSelector)
    press("Shift+R")
    result.settle()
    assert verdict_of(result, "v001")["verdict"] == "rejected"
    assert verdict_of(result, "v001")["reason"] == "Lesions missed"


def test_a_folder_chosen_here_is_told_to_the_settings(result, case, tmp_path):
    told = []
    result.panel.verdict.onFolder = lambda: told.append(result.settings.casesFolder)
    result.settings.casesFolder = ""
    press("Shift+A")
    assert result.panel.ui.folderRow.visible
    result.panel.ui.folderEdit.setCurrentPath(str(tmp_path / "chosen"))
    click(result.panel.ui.folderButton)
    result.settle()
    assert told == [str(tmp_path / "chosen")]


def test_a_panel_whose_widgets_are_gone_is_cleaned_up(slicer, result, case):
    from shiboken6 import Shiboken

    Shiboken.delete(result.panel.widget)
    result.panel.cleanup()
    assert not result.panel.busy
    slicer.mrmlScene.Clear(0)


def test_the_saved_labels_are_those_on_the_screen(result, case, tmp_path):
    import SimpleITK as sitk

    result.paint((8, 60, 60), 6.0)
    click(result.panel.ui.acceptEditedButton)
    result.settle()
    saved = sitk.ReadImage(str(Path(result.settings.casesFolder) / "FLAIR 042" / "v001" / "labels.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(saved), result.labels())


def test_a_second_verdict_makes_a_second_version(slicer, result, case):
    _, node = case
    click(result.panel.ui.acceptButton)
    result.settle()
    first = verdict_of(result, "v001")
    click(result.panel.ui.reopenButton)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = node.GetSegmentation().GetSegment(CLASS_BY_VALUE[LESION].id)
    assert logic.GetSegmentStatus(segment) == logic.NotStarted
    assert tag(node, LESION, "FlairSeg.verdict") == "pending"
    press("N")
    press("X")
    result.settle()
    click(result.panel.ui.acceptEditedButton)
    result.settle()
    assert versions(result) == ["v001", "v002"]
    assert verdict_of(result, "v001") == first
    assert verdict_of(result, "v002")["parent_version"] == 1
    assert "v002" in shown(result.panel.ui.verdictMessageLabel)


def can_undo_and_redo(result) -> tuple[bool, bool]:
    return result.panel.ui.undoButton.enabled, result.panel.ui.redoButton.enabled


def test_what_was_edited_before_a_verdict_can_be_undone_once_the_case_is_open_again(result, case):
    ui = result.panel.ui
    as_loaded = result.labels()
    assert can_undo_and_redo(result) == (False, False)
    result.paint((8, 60, 60), 6.0)
    painted = result.labels()
    press("N")
    press("Del")
    result.settle()
    deleted = result.labels()
    assert can_undo_and_redo(result) == (True, False)
    for version in ("v001", "v002"):
        click(ui.acceptEditedButton)
        assert can_undo_and_redo(result) == (False, False), "saved as it is"
        result.settle()
        assert versions(result)[-1] == version
        assert can_undo_and_redo(result) == (False, False), "the verdict stands"
        press("Ctrl+Z")
        assert np.array_equal(result.labels(), deleted)
        click(ui.reopenButton)
        result.settle()
        assert can_undo_and_redo(result) == (True, False)
    click(ui.undoButton)
    result.settle()
    assert np.array_equal(result.labels(), painted)
    assert can_undo_and_redo(result) == (True, True)
    click(ui.undoButton)
    result.settle()
    assert np.array_equal(result.labels(), as_loaded)
    assert can_undo_and_redo(result) == (False, True)
    assert ui.acceptButton.enabled
    click(ui.redoButton)
    click(ui.redoButton)
    result.settle()
    assert np.array_equal(result.labels(), deleted)
    assert can_undo_and_redo(result) == (True, False)


def test_undo_offers_nothing_where_another_version_is_shown(slicer, result, case, head):
    volume, node = case
    press("N")
    press("X")
    result.settle()
    assert can_undo_and_redo(result) == (True, False)
    before = result.labels(node)
    _, second = segmented(slicer, head, volume_node=volume)
    result.show(second)
    assert can_undo_and_redo(result) == (False, False)
    press("Ctrl+Z")
    result.settle()
    assert np.array_equal(result.labels(node), before)
    result.panel.setSegmentation(None)
    assert can_undo_and_redo(result) == (False, False)


def test_a_rejection_needs_a_reason(slicer, result, case):
    _, node = case
    ui = result.panel.ui
    click(ui.rejectButton)
    assert ui.rejectRow.isVisible()
    assert not ui.confirmRejectButton.enabled
    ui.reasonSelector.setCurrentIndex(ui.reasonSelector.count - 1)
    assert not ui.confirmRejectButton.enabled, "'Other' says nothing by itself"
    type_text(ui.reasonEdit, "wrong patient")
    assert ui.confirmRejectButton.enabled
    ui.reasonSelector.setCurrentIndex(1)
    click(ui.confirmRejectButton)
    result.settle()
    saved = verdict_of(result, "v001")
    assert saved["verdict"] == "rejected"
    assert saved["reason"] == f"{ui.reasonSelector.itemText(1)}: wrong patient"
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = node.GetSegmentation().GetSegment(CLASS_BY_VALUE[LESION].id)
    assert logic.GetSegmentStatus(segment) == logic.Flagged
    assert not ui.rejectRow.isVisible()


def test_one_reject_is_offered_at_a_time(result, case):
    ui = result.panel.ui
    buttons = (ui.acceptButton, ui.rejectButton, ui.confirmRejectButton, ui.cancelRejectButton)
    assert [button.isVisible() for button in buttons] == [True, True, False, False]
    click(ui.rejectButton)
    assert [button.isVisible() for button in buttons] == [False, False, True, True]
    assert ui.readerEdit.isVisible()
    click(ui.cancelRejectButton)
    assert [button.isVisible() for button in buttons] == [True, True, False, False]
    press("Shift+R")
    assert [button.isVisible() for button in buttons] == [False, False, True, True]


def test_typing_a_reason_does_not_press_the_panels_keys(result, case):
    ui = result.panel.ui
    click(ui.rejectButton)
    type_text(ui.reasonEdit, "no plan x 12 o")
    assert ui.reasonEdit.text == "no plan x 12 o"
    result.settle()
    assert not result.panel._measured.edited
    assert result.panel.lesions.selected is None


def test_the_folder_is_asked_for_once_in_the_panel(slicer, result, case, tmp_path):
    ui = result.panel.ui
    result.settings.casesFolder = ""
    click(ui.acceptButton)
    assert ui.folderRow.isVisible()
    assert result.panel.verdict.verdict == "pending"
    ui.folderEdit.setCurrentPath(str(tmp_path / "Fälle 2026"))
    click(ui.folderButton)
    result.settle()
    assert result.settings.casesFolder == str(tmp_path / "Fälle 2026")
    assert versions(result) == ["v001"]
    assert not ui.folderRow.isVisible()
    assert slicer.app.messages == []


def test_what_cannot_be_saved_is_said_and_can_be_tried_again(result, case, tmp_path):
    ui = result.panel.ui
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be", encoding="utf-8")
    result.settings.casesFolder = str(blocked)
    click(ui.acceptButton)
    result.settle()
    assert "Not saved." in shown(ui.verdictMessageLabel)
    assert "Traceback" not in ui.verdictMessageLabel.text
    assert result.panel.verdict.verdict == "pending"
    assert ui.acceptButton.enabled
    assert ui.folderRow.isVisible()
    ui.folderEdit.setCurrentPath(str(tmp_path / "other"))
    click(ui.folderButton)
    result.settle()
    assert result.panel.verdict.verdict == "accepted"
    assert versions(result) == ["v001"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, Linux's full disk")
def test_a_full_disk_loses_nothing(result, case, tmp_path, monkeypatch):
    import errno

    from flairseg.review import cases

    click(result.panel.ui.acceptButton)
    result.settle()
    click(result.panel.ui.reopenButton)

    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cases, "write_nifti", full)
    click(result.panel.ui.acceptButton)
    result.settle()
    assert "Not saved." in shown(result.panel.ui.verdictMessageLabel)
    assert versions(result) == ["v001"]
    monkeypatch.undo()
    click(result.panel.ui.acceptButton)
    result.settle()
    assert versions(result) == ["v001", "v002"]


def test_closing_the_scene_right_after_the_click_still_saves(slicer, result, case):
    from Testing.harness.interaction import wait_until

    click(result.panel.ui.acceptButton)
    result.panel.onSceneStartClose()
    slicer.mrmlScene.Clear(False)
    wait_until(lambda: versions(result) == ["v001"], 20)
    result.settle()
    assert result.panel.segmentationNode is None


def test_a_verdict_is_shown_again_from_a_segmentation_file(slicer, result, case, tmp_path):
    _, node = case
    click(result.panel.ui.acceptButton)
    result.settle()
    path = str(tmp_path / "accepted.seg.nrrd")
    assert slicer.util.saveNode(node, path)
    slicer.mrmlScene.RemoveNode(node)
    result.show(slicer.util.loadSegmentation(path))
    assert "Accepted" in shown(result.panel.ui.verdictMessageLabel)
    assert not result.panel.ui.acceptButton.enabled
    assert result.panel.ui.reopenButton.isVisible()
    shutil.rmtree(result.settings.casesFolder)
    click(result.panel.ui.reopenButton)
    result.settle()
    assert result.labels()[LARGE] == LESION
    assert result.panel.ui.acceptButton.enabled


def edit_elsewhere(slicer, node, volume) -> None:
    """Take the lesions out of the lower slices, as Slicer's own Segment Editor may at any time."""
    lesion = CLASS_BY_VALUE[LESION].id
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, lesion, volume).copy()
    mask[: mask.shape[0] // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, lesion, volume)


def test_a_verdict_does_not_outlive_an_edit_in_another_module(slicer, result, case):
    """Reports would call a segmentation accepted that nobody has judged."""
    from FlairSegLib.verdict_notes import noted

    volume, node = case
    click(result.panel.ui.acceptButton)
    result.settle()
    assert noted(node).state == "accepted"
    edit_elsewhere(slicer, node, volume)
    run_event_loop(0.3)
    result.settle()
    assert noted(node).state == "not_reviewed"
    assert tag(node, LESION, "FlairSeg.verdict") == "pending"
    assert shown(result.panel.ui.verdictMessageLabel).startswith("Edited since the verdict")
    assert versions(result) == ["v001"]
    assert result.panel.ui.acceptEditedButton.enabled
    click(result.panel.ui.acceptEditedButton)
    result.settle()
    assert versions(result) == ["v001", "v002"]
    assert noted(node).state == "accepted_after_edits"


def test_an_edit_between_two_sessions_is_noticed_and_saving_alone_is_none(slicer, result, case, tmp_path):
    volume, node = case
    click(result.panel.ui.acceptButton)
    result.settle()
    result.show(None)
    for name, edit, verdict in (("same", False, "accepted"), ("edited", True, "pending")):
        if edit:
            edit_elsewhere(slicer, node, volume)
        path = str(tmp_path / f"{name}.seg.nrrd")
        assert slicer.util.saveNode(node, path)
        loaded = slicer.util.loadSegmentation(path)
        result.show(loaded, volume)
        assert result.panel.verdict.verdict == verdict
        result.show(None)


def test_an_entry_that_a_crash_kept_from_the_store_is_made_up_for(slicer, result, case, monkeypatch):
    """Killed between the case and its entry: the case is whole, and the entry comes when the panel is next opened."""
    from flairseg.errors import OutputError
    from flairseg.review.recorder import VerdictRecorder, open_recorder

    from Testing.harness.interaction import wait_until

    def killed(*arguments):
        raise OutputError("The outbox is gone.", "")

    monkeypatch.setattr(VerdictRecorder, "_record", killed)
    click(result.panel.ui.acceptButton)
    result.settle()
    monkeypatch.undo()
    assert versions(result) == ["v001"]
    assert "is pending" in shown(result.panel.ui.verdictMessageLabel)

    def entries() -> int:
        recorder = open_recorder(result.settings.casesFolder)
        try:
            return len(list(recorder.outbox.recorded()))
        finally:
            recorder.close()

    assert entries() == 0
    result.panel.exit()
    result.panel.enter()
    wait_until(lambda: entries() == 1, 20)
