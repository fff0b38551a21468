"""The tab Queue: from a folder of results to verdicts, case after case, and nothing that a reader made is lost."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from flairseg.labels import CLASS_BY_VALUE, CLASSES, LESION
from flairseg.models.card import PipelineConfig
from flairseg.review.cases import ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED, CaseArchive

from Testing.harness.interaction import EventLoopProbe, click, press, run_event_loop, wait_until
from Testing.slicer.queue_driver import LEFT_HANDED, write_result

CASE, EXPECTED, LESIONS, ML, STATE = range(5)


@pytest.fixture
def results(tmp_path, head):
    """Three cases; the middle one is doubtful."""
    folder = tmp_path / "results"
    for case, doubt in (("case-a", 0.1), ("case-b", 0.4), ("case-c", 0.2)):
        write_result(folder, case, head, doubt)
    return folder


def labels_in_scene(slicer, current) -> np.ndarray:
    out = np.zeros(slicer.util.arrayFromVolume(current.volume).shape, np.uint8)
    for label_class in CLASSES:
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(current.segmentation, label_class.id, current.volume)
        out[mask > 0] = label_class.value
    return out


def tag(node, key: str) -> str:
    from FlairSegLib import segment_tags

    return segment_tags.first_tag(node, key)


def outside(head) -> tuple[float, float, float]:
    """A place in the brain without a label, RAS mm, in the left-handed image."""
    volume, labels = head
    kji = (13, 20, 44)
    assert labels[kji[0] - 1 : kji[0] + 2, kji[1] - 3 : kji[1] + 4, kji[2] - 3 : kji[2] + 4].max() == 0
    affine = volume.ijk_to_ras @ LEFT_HANDED
    return tuple((affine @ [kji[2], kji[1], kji[0], 1])[:3])


def test_the_most_uncertain_case_comes_first(queue, results):
    queue.list(results)
    assert queue.column(CASE) == ["case-b", "case-c", "case-a"]
    assert queue.column(STATE) == ["To do"] * 3
    assert [float(text) for text in queue.column(EXPECTED)] == sorted(map(float, queue.column(EXPECTED)))[::-1]
    assert set(queue.column(LESIONS)) == {"2"}
    assert "expected to be corrected" in queue.ui.queueDetailLabel.text
    assert queue.settings.queueSource == str(results)
    assert "0 of 3" in queue.ui.casesCollapsibleButton.text


def test_a_case_lies_in_the_scene_as_it_lies_in_its_files(queue, results, head):
    queue.list(results)
    queue.open("case-b")
    slicer, current = queue.slicer, queue.tab.loader.current
    assert queue.nodes("vtkMRMLScalarVolumeNode") == ["case-b"]
    # The file's image is left-handed; in the scene its slices are reversed, in image and labels alike.
    volume, labels = head
    assert np.array_equal(slicer.util.arrayFromVolume(current.volume), volume.array[::-1].astype(np.float32))
    assert np.array_equal(labels_in_scene(slicer, current), labels[::-1])
    assert 800 < current.volume.GetDisplayNode().GetWindowLevelMax() < 1000  # the lesions are the brightest
    contents = current.segmentation.GetSegmentation()
    for label_class in CLASSES:
        segment = contents.GetSegment(label_class.id)
        assert segment.GetName() == label_class.name
        assert segment.GetColor() == pytest.approx(label_class.rgb_unit, abs=1e-6)
        assert segment.GetTerminology() == label_class.terminology_entry
    # Provenance is that of the files, not of the moment of loading.
    assert tag(current.segmentation, "FlairSeg.model") == "intensity-v0.1"
    assert tag(current.segmentation, "FlairSeg.model_sha256") == "ab" * 32
    assert tag(current.segmentation, "FlairSeg.created") == "2026-05-04T03:02:01+00:00"
    assert tag(current.segmentation, "FlairSeg.algorithm_type") == "AUTOMATIC"
    from FlairSegLib import kept_answers

    assert np.array_equal(kept_answers.original_labels_of(current.segmentation), labels[::-1])
    assert kept_answers.probabilities_of(current.segmentation)[LESION].max() == pytest.approx(0.6, abs=0.003)
    assert queue.tab.result.segmentationNode is current.segmentation


def test_a_case_brings_what_its_model_drops_beyond_the_brain(queue, results, monkeypatch):
    """For lesions that are redrawn at a lower level; files hold no brain mask."""
    from flairseg.segmentation import redrawing
    from FlairSegLib import kept_answers
    from FlairSegLib.review_panel import case_loader

    config = PipelineConfig(brain_margin_mm=10.0)

    def all_beyond(answer, volume, of_model):
        assert of_model is config
        assert volume.array.shape == answer.shape
        return replace(answer, beyond=np.ones_like(answer.labels))

    monkeypatch.setattr(case_loader, "pipeline_of", lambda tags: config)
    monkeypatch.setattr(redrawing, "with_brain_margin", all_beyond)
    queue.list(results)
    queue.open("case-b")
    answer = kept_answers.kept_answer_of(queue.tab.loader.current.segmentation).answer()
    assert answer.full_beyond().sum() == answer.labels.size


def test_accept_next_correct_next_reject(queue, results, head):
    slicer = queue.slicer
    queue.list(results)
    click(queue.ui.nextButton)
    queue.settle()
    assert queue.tab.loader.current.item.case == "case-b"
    result = queue.tab.result
    click(result.ui.acceptButton)
    queue.settle()
    assert queue.column(CASE) == ["case-c", "case-a", "case-b"]
    assert queue.column(STATE) == ["To do", "To do", "Accepted"]
    assert "1 of 3" in queue.ui.casesCollapsibleButton.text
    press("Ctrl+Return")
    queue.settle()
    assert queue.nodes("vtkMRMLScalarVolumeNode") == ["case-c"]
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1
    assert queue.paint(outside(head)) > 0
    assert not result.ui.acceptButton.enabled
    click(result.ui.acceptEditedButton)
    queue.settle()
    press("Ctrl+Return")
    queue.settle()
    click(result.ui.rejectButton)
    result.ui.reasonSelector.setCurrentIndex(1)
    click(result.ui.confirmRejectButton)
    queue.settle()
    assert dict(zip(queue.column(CASE), queue.column(STATE), strict=True)) == {
        "case-a": "Rejected",
        "case-b": "Accepted",
        "case-c": "Corrected",
    }
    assert not queue.ui.nextButton.enabled
    archive = CaseArchive(queue.settings.casesFolder)
    verdicts = {case: archive.load(case) for case in archive.cases()}
    assert {case: v.verdict.verdict for case, v in verdicts.items()} == {
        "case-a": REJECTED,
        "case-b": ACCEPTED,
        "case-c": ACCEPTED_AFTER_EDITS,
    }
    corrected = verdicts["case-c"]
    assert corrected.verdict.edits[CLASS_BY_VALUE[LESION].id]["voxels_added"] > 0
    assert corrected.verdict.model["id"] == "intensity-v0.1"
    assert np.count_nonzero(corrected.labels == LESION) > np.count_nonzero(verdicts["case-b"].labels == LESION)


def test_a_case_that_is_left_comes_again_at_the_end(queue, results):
    queue.list(results)
    seen = []
    for _turn in range(4):
        click(queue.ui.nextButton)
        queue.settle()
        seen.append(queue.tab.loader.current.item.case)
    assert seen == ["case-b", "case-c", "case-a", "case-b"]


def test_what_another_reader_judged_meanwhile_is_opened_as_that_reader_left_it(queue, results, head):
    from flairseg.image.volume import Volume
    from flairseg.review.cases import Verdict
    from flairseg.study.case_files import SceneGrid

    queue.list(results)
    volume, labels = head
    corrected = labels.copy()
    corrected[13, 20, 44] = LESION
    grid = SceneGrid.of(Volume(volume.array, volume.ijk_to_ras @ LEFT_HANDED))
    archive = CaseArchive(queue.settings.casesFolder)
    archive.save("case-b", grid.turn(corrected), grid.volume, Verdict(ACCEPTED_AFTER_EDITS, reader="R02"))
    queue.open("case-b")
    assert np.array_equal(labels_in_scene(queue.slicer, queue.tab.loader.current), grid.turn(corrected))
    assert dict(zip(queue.column(CASE), queue.column(STATE), strict=True))["case-b"] == "Corrected"


def test_unsaved_edits_are_asked_for(queue, results, head):
    slicer = queue.slicer
    queue.list(results)
    queue.open("case-b")
    queue.paint(outside(head))
    queue.tab.cases.select("case-a")
    click(queue.ui.openButton)
    queue.settle()
    assert queue.ui.askRow.isVisible()
    assert "case-b" in queue.ui.askLabel.text
    assert not queue.ui.askRow.visibleRegion().isEmpty()
    click(queue.ui.stayButton)
    assert queue.tab.loader.current.item.case == "case-b"
    assert not queue.ui.askRow.isVisible()
    click(queue.ui.openButton)
    queue.settle()
    kept = queue.tab.loader.current.segmentation
    click(queue.ui.keepButton)
    queue.settle()
    assert queue.tab.loader.current.item.case == "case-a"
    assert queue.nodes("vtkMRMLScalarVolumeNode") == ["case-b", "case-a"]
    assert kept.GetScene() is slicer.mrmlScene
    assert not kept.GetDisplayNode().GetVisibility()
    queue.paint(outside(head))
    queue.tab.cases.select("case-c")
    click(queue.ui.openButton)
    queue.settle()
    click(queue.ui.discardButton)
    queue.settle()
    assert queue.nodes("vtkMRMLScalarVolumeNode") == ["case-b", "case-c"]


def test_what_the_user_has_in_the_scene_stays(queue, results):
    slicer = queue.slicer
    queue.list(results)
    queue.open("case-b")
    own = slicer.util.addVolumeFromArray(np.zeros((4, 4, 4), np.int16), name="own")
    second = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "second look")
    second.SetReferenceImageGeometryParameterFromVolumeNode(queue.tab.loader.current.volume)
    queue.tab.cases.select("case-a")
    click(queue.ui.openButton)
    queue.settle()
    assert "another segmentation" in queue.ui.askLabel.text
    slicer.mrmlScene.RemoveNode(second)
    click(queue.ui.discardButton)
    queue.settle()
    assert own.GetScene() is slicer.mrmlScene
    assert queue.nodes("vtkMRMLScalarVolumeNode") == ["own", "case-a"]
    # Nothing of the first case is left behind, display and hidden nodes included.
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLNode") if "case-b" in (n.GetName() or "")]


def test_a_judged_case_is_opened_as_the_reader_left_it(queue, results, head):
    queue.list(results)
    queue.open("case-b")
    queue.paint(outside(head))
    left = labels_in_scene(queue.slicer, queue.tab.loader.current)
    click(queue.tab.result.ui.acceptEditedButton)
    queue.settle()
    queue.open("case-a")
    queue.open("case-b")
    current = queue.tab.loader.current
    assert np.array_equal(labels_in_scene(queue.slicer, current), left)
    assert "version 1" in queue.ui.queueMessageLabel.text
    # The correction counts as the reader's, not as the model's.
    assert not queue.tab.result.ui.acceptButton.enabled
    assert int(tag(current.segmentation, "FlairSeg.voxels_added")) > 0
    # It was not edited since: nothing to ask.
    queue.open("case-c")
    assert queue.tab.loader.current.item.case == "case-c"


def test_one_unreadable_case_does_not_stop_the_others(queue, results):
    (results / "case-b.nii.gz").write_bytes((results / "case-b.nii.gz").read_bytes()[:3000])
    (results / "case-c.nii.gz").unlink()
    queue.list(results)
    assert dict(zip(queue.column(CASE), queue.column(STATE), strict=True)) == {
        "case-b": "To do",
        "case-c ⚠": "Unreadable",
        "case-a": "To do",
    }
    click(queue.ui.nextButton)
    queue.settle()
    assert queue.tab.loader.current is None
    assert "case-b cannot be opened" in queue.ui.queueMessageLabel.text
    assert queue.column(STATE).count("Unreadable") == 2
    assert queue.nodes("vtkMRMLScalarVolumeNode") == []
    click(queue.ui.nextButton)
    queue.settle()
    assert queue.tab.loader.current.item.case == "case-a"
    assert not queue.ui.queueMessageLabel.isVisible()


def test_a_case_without_result_is_segmented_in_the_other_module(queue, results, head):
    for path in results.glob("case-b?*"):
        if path.name != "case-b.nii.gz":
            path.unlink()
    queue.list(results)
    assert queue.column(STATE)[-1] == "No result"
    queue.open("case-b")
    assert queue.ui.segmentRow.isVisible()
    assert not queue.tab.result.widget.isVisible()
    # As a run in the module FLAIR Segmentation would leave it.
    from flairseg.segmentation.result import Segmentation
    from FlairSegLib import scene_bridge, volume_nodes

    volume_node = queue.tab.loader.current.volume
    volume = volume_nodes.volume_from_node(volume_node)
    from types import SimpleNamespace

    card = SimpleNamespace(id="m", sha256="cd" * 32, classes=(1, 2, 3), version="1", members=(), raw={})
    queue.tab.exit()
    made = scene_bridge.segmentation_to_node(
        Segmentation(volume, head[1][::-1].copy(), None, card, "auto", "cpu", "", "case-b"), volume_node
    )
    queue.tab.enter()
    queue.settle()
    assert queue.tab.result.segmentationNode is made
    assert not queue.ui.segmentRow.isVisible()
    click(queue.tab.result.ui.acceptButton)
    queue.settle()
    assert dict(zip(queue.column(CASE), queue.column(STATE), strict=True))["case-b"] == "Accepted"


def test_listing_shows_progress_and_can_be_cancelled(queue, results, monkeypatch):
    import time

    from flairseg.study import queue as module

    scored = module._scored

    def slow(found):
        time.sleep(0.3)
        return scored(found)

    monkeypatch.setattr(module, "_scored", slow)
    queue.ui.sourceEdit.setCurrentPath(str(results))
    click(queue.ui.listButton)
    assert queue.ui.listingRow.isVisible()
    wait_until(lambda: queue.ui.listingProgress.value > 0, 5)
    click(queue.ui.cancelListingButton)
    assert not queue.tab.busy
    assert queue.column(CASE) == []
    monkeypatch.undo()
    queue.list(results)
    assert len(queue.column(CASE)) == 3


def test_a_source_that_is_none_is_told(queue, tmp_path):
    queue.list(tmp_path / "nowhere")
    assert "nowhere" in queue.ui.queueMessageLabel.text
    (tmp_path / "empty").mkdir()
    queue.list(tmp_path / "empty")
    assert "no cases" in queue.ui.queueMessageLabel.text


def test_verdicts_of_others_show_when_the_tab_is_entered(queue, results, head):
    from flairseg.review.cases import Verdict

    queue.list(results)
    queue.tab.exit()
    volume, labels = head
    CaseArchive(queue.settings.casesFolder).save("case-a", labels, volume, Verdict(ACCEPTED, reader="R02"))
    queue.tab.enter()
    queue.settle()
    assert dict(zip(queue.column(CASE), queue.column(STATE), strict=True))["case-a"] == "Accepted"


def test_closing_the_scene_leaves_the_list(queue, results):
    queue.list(results)
    queue.open("case-b")
    queue.tab.sceneClosing()
    queue.slicer.mrmlScene.Clear(0)
    assert queue.tab.loader.current is None
    queue.open("case-b")
    assert queue.tab.loader.current.item.case == "case-b"


def test_the_window_stays_alive_while_a_case_is_loaded(queue, results):
    queue.list(results)
    queue.tab.cases.select("case-b")
    with EventLoopProbe() as probe:
        click(queue.ui.openButton)
        wait_until(lambda: queue.tab.loader.current is not None)
    assert probe.longest_busy_ms < 500  # processor time: other processes of a busy machine are not in it


def test_a_list_of_cases_names_files_anywhere(queue, results, tmp_path):
    path = tmp_path / "list.csv"
    rows = ["case,flair,labels", f"P01,{results / 'case-a.nii.gz'},{results / 'case-a_labels.nii.gz'}"]
    path.write_text("\n".join(rows), encoding="utf-8")
    queue.list(path)
    assert queue.column(CASE) == ["P01"]
    queue.open("P01")
    click(queue.tab.result.ui.acceptButton)
    queue.settle()
    assert CaseArchive(queue.settings.casesFolder).cases() == ["P01"]
    content = json.loads((CaseArchive(queue.settings.casesFolder).path("P01") / "verdict.json").read_text())
    assert content["verdict"] == ACCEPTED


def test_a_question_is_seen_wherever_the_panel_was_scrolled_to(queue, results, head):
    queue.list(results)
    queue.open("case-b")
    queue.paint(outside(head))
    bar = queue.ui.queueArea.verticalScrollBar()
    bar.setValue(bar.maximum)
    queue.slicer.app.processEvents()
    assert queue.ui.caseTable.visibleRegion().isEmpty()
    press("Ctrl+Return")
    queue.settle()
    assert not queue.ui.askRow.visibleRegion().isEmpty()


@pytest.mark.parametrize("width", [310, 380, 460])
def test_nothing_is_clipped_at_any_usual_width(queue, results, head, tmp_path, width):
    from Testing.slicer.test_module import _clipped
    from Testing.slicer.test_review_reference import begin, expand, ras, start

    def clipped() -> list[str]:
        import qt

        # How Slicer's own editor lays its effects out is Slicer's.
        effects = {f"{b.objectName}:" for b in queue.tab.result.ui.segmentEditor.findChildren(qt.QToolButton)}
        # What lies in a collapsed section is squeezed, not shown.
        ui = queue.ui
        result = queue.tab.result.ui
        sections = (
            (ui.newReferenceGroup, "new"),
            (ui.casesCollapsibleButton, "queue"),
            (result.displayGroupBox, "opacity"),
            (result.displayGroupBox, "outline"),
        )
        hidden = tuple(prefix for section, prefix in sections if section.collapsed)
        found = [text for text in _clipped(queue.tab.widget) if not (hidden and text.startswith(hidden))]
        return [text for text in found if text.split(" ")[0] not in effects]

    write_result(results, "sub-0147_ses-2026-02-11_acq-space_FLAIR", head, 0.3)
    (results / "case-c.nii.gz").unlink()
    queue.window.panel.parent().setFixedWidth(width)
    queue.list(results)
    queue.tab.cases.select("case-c")
    queue.slicer.app.processEvents()
    assert clipped() == []
    click(queue.ui.nextButton)
    queue.settle()
    queue.paint(outside(head))
    press("Ctrl+Return")
    queue.settle()
    assert queue.ui.askRow.isVisible()
    assert clipped() == []
    click(queue.ui.discardButton)
    queue.settle()
    expand(queue)
    queue.ui.newReferenceGroup.collapsed = False
    queue.settle()
    assert clipped() == []
    (tmp_path / "images").mkdir()
    (results / "case-a.nii.gz").rename(tmp_path / "images" / "case-a.nii.gz")
    start(queue, tmp_path / "reference", tmp_path / "images", method=1)
    assert clipped() == []
    begin(queue)
    queue.draw(ras(head, (13, 20, 44)), 8)
    click(queue.ui.closeTaskButton)
    assert clipped() == []
    assert queue.tab.widget.width <= width
    # The longest column of words is still read in full at the usual width.
    table = queue.ui.caseTable
    assert all(
        table.columnWidth(column) >= table.sizeHintForColumn(column) for column in (EXPECTED, LESIONS, ML, STATE)
    )


def test_the_tab_lives_in_the_module(slicer, main_window, load_module, results, tmp_path):
    """Entered, left, reloaded, unloaded: keys and observers go with it."""
    module = load_module("FlairSegReview")
    window = main_window("FlairSegReview")
    panel = module.widgetRepresentation().self()
    tab = panel.queue
    assert tab.shortcuts.bound
    panel.ui.reviewTabs.setCurrentIndex(1)
    assert not tab.shortcuts.bound
    panel.ui.reviewTabs.setCurrentIndex(0)
    tab.ui.sourceEdit.setCurrentPath(str(results))
    click(tab.ui.listButton)
    wait_until(lambda: not tab.busy)
    click(tab.ui.nextButton)
    wait_until(lambda: not tab.busy)
    assert tab.loader.current.item.case == "case-b"
    slicer.mrmlScene.Clear(0)
    assert tab.loader.current is None
    window.moduleSelector().selectModule("")
    assert not tab.shortcuts.bound


def test_segment_takes_the_case_along_whatever_was_chosen_there(slicer, main_window, load_module, results, no_worker):
    """The button's tooltip says "with this image"; a volume that was chosen before had stayed chosen."""
    for path in results.glob("case-b?*"):
        if path.name != "case-b.nii.gz":
            path.unlink()
    segmentation = load_module("FlairSeg").widgetRepresentation().self()
    tab = load_module("FlairSegReview").widgetRepresentation().self().queue
    window = main_window("FlairSeg")
    noise = np.random.default_rng(0).normal(500, 9, (9, 30, 30))
    other = slicer.util.addVolumeFromArray(noise, name="FLAIR of another")
    run_event_loop(0.4)
    segmentation.ui.inputSelector.setCurrentNode(None)
    segmentation.ui.inputSelector.setCurrentNode(other)
    window.moduleSelector().selectModule("FlairSegReview")
    tab.ui.sourceEdit.setCurrentPath(str(results))
    click(tab.ui.listButton)
    wait_until(lambda: not tab.busy)
    tab.open(tab.cases.find("case-b"))
    wait_until(lambda: not tab.busy)
    click(tab.ui.segmentButton)
    run_event_loop(0.4)
    assert slicer.util.selectedModule() == "FlairSeg"
    assert segmentation.case.volumeNode is tab.loader.current.volume
    assert segmentation.ui.caseReasonLabel.text.startswith("Your choice")


def test_what_fails_while_a_case_is_filled_in_is_told_once(queue, results, monkeypatch):
    """A slot that raised was called again at each turn of the event loop."""
    from FlairSegLib import scene_bridge

    def fails(*arguments, **keywords):
        yield 0.1
        raise KeyError("no such segment")

    queue.list(results)
    monkeypatch.setattr(scene_bridge, "segmentation_steps", fails)
    queue.tab.open(queue.tab.cases.find("case-a"))
    wait_until(lambda: not queue.tab.busy, 20)
    assert "case-a cannot be loaded" in queue.ui.queueMessageLabel.text
    assert queue.tab.loader.current is None
    assert not queue.slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_no_name_is_left_in_the_widgets_when_another_tab_is_shown(queue, results, tmp_path):
    """A blinded study may begin in the tab beside, on images that were listed here."""
    import qt

    from Testing.slicer.test_review_reference import start

    start(queue, tmp_path / "reference", results, method=1)
    queue.ui.casesCollapsibleButton.collapsed = False
    queue.list(results)
    queue.open("case-b")

    def texts() -> str:
        found = []
        for widget in queue.tab.widget.findChildren(qt.QWidget):
            found.append(widget.toolTip)
            for name in ("text", "plainText", "title", "currentText"):
                if hasattr(widget, name):
                    found.append(str(getattr(widget, name)))
        for name in ("caseTable", "referenceTable"):
            table = getattr(queue.ui, name)
            for row in range(table.rowCount):
                cells = (table.item(row, column) for column in range(table.columnCount))
                found += [part for cell in cells for part in (cell.text(), cell.toolTip())]
        return "\n".join(found)

    assert "case-b" in texts()
    assert str(tmp_path) in texts()
    queue.tab.sceneClosing()
    queue.slicer.mrmlScene.Clear(0)
    queue.tab.exit()
    queue.settle()
    for name in ("case-a", "case-b", "case-c", str(results), str(tmp_path / "reference")):
        assert name not in texts()
    queue.tab.enter()
    queue.settle()
    assert queue.column(CASE) == ["case-b", "case-c", "case-a"]
    assert queue.ui.sourceEdit.currentPath == str(results)
    assert queue.ui.referenceTable.rowCount == 3


def test_a_segmentation_that_slicer_saved_over_ours_is_gone_on_from(queue, results, head):
    """Corrected without a verdict, saved with Slicer's own Save, opened again on another day."""
    slicer = queue.slicer
    queue.list(results)
    queue.open("case-b")
    queue.paint(outside(head))
    left = labels_in_scene(slicer, queue.tab.loader.current)
    assert slicer.util.saveNode(queue.tab.loader.current.segmentation, str(results / "case-b.seg.nrrd"))
    press("Ctrl+Return")
    queue.settle()
    click(queue.ui.discardButton)
    queue.settle()
    queue.open("case-b")
    current = queue.tab.loader.current
    assert np.array_equal(labels_in_scene(slicer, current), left)
    assert "case-b.seg.nrrd" in queue.ui.queueMessageLabel.text
    assert tag(current.segmentation, "FlairSeg.created") == "2026-05-04T03:02:01+00:00"
    from FlairSegLib import segment_tags

    # Of the segment that was painted alone.
    assert tag(current.segmentation, "FlairSeg.algorithm_type") == "AUTOMATIC"
    lesion = current.segmentation.GetSegmentation().GetSegment(CLASS_BY_VALUE[LESION].id)
    assert segment_tags.tag(lesion, segment_tags.ALGORITHM_TYPE) == "SEMIAUTOMATIC"
    assert int(segment_tags.tag(lesion, segment_tags.VOXELS_ADDED)) > 0
    assert not queue.tab.result.ui.acceptButton.enabled
