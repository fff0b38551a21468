"""Reference sessions in the tab Queue: S4's rule and S5's two steps, by the widgets and keys that readers use."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.labels import LESION
from flairseg.study.events import Delineated
from flairseg.study.images import read_neutral_labels
from flairseg.study.reference import ReferenceSession

from Testing.harness.interaction import click, press
from Testing.slicer.queue_driver import LEFT_HANDED, write_result

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[study]'")

CASE, TASK, ROUND, DICE = range(4)


@pytest.fixture
def images(tmp_path, head):
    folder = tmp_path / "images"
    write_result(folder, "p1", head, 0.2)
    return folder


def ras(head, kji) -> tuple[float, float, float]:
    """A voxel of the left-handed file in the world, mm."""
    affine = head[0].ijk_to_ras @ LEFT_HANDED
    return tuple((affine @ [kji[2], kji[1], kji[0], 1])[:3])


A, B = (13, 20, 44), (12, 80, 30)


def expand(queue) -> None:
    queue.ui.casesCollapsibleButton.collapsed = True
    queue.ui.referenceCollapsibleButton.collapsed = False
    queue.slicer.app.processEvents()


def start(queue, folder, images, method: int, readers="R01, R02", days=0) -> None:
    expand(queue)
    ui = queue.ui
    ui.newReferenceGroup.collapsed = False
    ui.newFolderEdit.setCurrentPath(str(folder))
    ui.newImagesEdit.setCurrentPath(str(images))
    ui.newReadersEdit.setText(readers)
    ui.newMethodSelector.setCurrentIndex(method)
    ui.newWaitSpinBox.setValue(days)
    queue.slicer.app.processEvents()
    click(ui.newStartButton)
    queue.settle()


def read_as(queue, reader: str) -> None:
    selector = queue.ui.referenceReaderSelector
    selector.setCurrentIndex(selector.findText(reader))
    queue.settle()


def begin(queue) -> None:
    click(queue.ui.referenceBeginButton)
    queue.settle()


def save(queue) -> None:
    click(queue.ui.saveMaskButton)
    queue.settle()


def drawn(queue) -> np.ndarray:
    task = queue.tab.reference.task
    return queue.slicer.util.arrayFromSegmentBinaryLabelmap(task._node, "lesion", task._volume)


def test_until_two_readers_agree(queue, images, tmp_path, head):
    folder = tmp_path / "reference"
    start(queue, folder, images, method=1)
    assert "0.85" in queue.ui.referenceMethodLabel.text
    # The reader's code is that of the settings.
    assert queue.tab.reference.reader == "R01"
    assert queue.column(TASK, "referenceTable") == ["Delineate independently"]
    begin(queue)
    assert queue.nodes("vtkMRMLScalarVolumeNode") == ["p1"]
    undo = queue.ui.segmentEditor.findChild("QToolButton", "UndoButton")
    assert (undo.isVisible(), undo.enabled) == (True, False), "the editor's own: there is no other here"
    assert queue.draw(ras(head, A), 8) > 0
    assert undo.enabled
    first = drawn(queue).copy()
    save(queue)
    assert queue.nodes("vtkMRMLScalarVolumeNode") == []
    assert queue.column(TASK, "referenceTable") == ["Wait for the others"]
    assert not queue.ui.referenceBeginButton.enabled
    assert "have not finished it" in queue.ui.referenceMessageLabel.text

    read_as(queue, "R02")
    begin(queue)
    assert not drawn(queue).any()  # nobody else's mask is shown
    queue.draw(ras(head, A), 8)
    queue.draw(ras(head, B), 8)
    second = drawn(queue).copy()
    save(queue)
    assert queue.column(TASK, "referenceTable") == ["Delineate again"]
    dice = 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))
    assert queue.column(DICE, "referenceTable") == [f"{dice:.2f}"]
    assert f"{dice:.2f} is below 0.85" in queue.ui.referenceMessageLabel.text

    read_as(queue, "R01")
    begin(queue)
    assert np.array_equal(drawn(queue), first)  # from the own mask of the round before
    queue.draw(ras(head, B), 8)
    save(queue)
    read_as(queue, "R02")
    begin(queue)
    save(queue)
    assert queue.column(TASK, "referenceTable") == ["Agreed"]
    assert queue.column(DICE, "referenceTable") == ["1.00"]
    with ReferenceSession(folder) as session:
        reference = session.reference("p1")
        assert reference.rounds == 2
        assert not session.problems()
        seconds = [event.active_seconds for event in reference.history if isinstance(event, Delineated)]
        assert len(seconds) == 4
    # On the grid of the file, whose slices Slicer shows the other way round.
    labels, affine = read_neutral_labels(reference.path)
    assert np.array_equal(labels == LESION, second[::-1] > 0)
    assert affine == pytest.approx(head[0].ijk_to_ras @ LEFT_HANDED)
    assert str(reference.path) in queue.ui.referenceMessageLabel.text


def test_two_steps_with_dots_by_keyboard(queue, images, tmp_path, head):
    folder = tmp_path / "reference"
    (images / "p1_labels.nii.gz").unlink()
    (images / "p1_summary.json").unlink()
    start(queue, folder, images, method=0)
    for reader, places in (("R01", [A]), ("R02", [A, B])):
        read_as(queue, reader)
        begin(queue)
        for place in places:
            queue.draw(ras(head, place), 8)
        save(queue)
    assert queue.column(TASK, "referenceTable") == ["Judge dots (0 of 2)"]
    for reader in ("R01", "R02"):
        read_as(queue, reader)
        begin(queue)
        task = queue.tab.reference.task
        assert task.judging
        assert not queue.ui.saveMaskButton.isVisible()
        # A dot says neither whose it was nor what the reader drew there.
        dots = queue.slicer.util.getNode("Dots")
        assert [dots.GetNthControlPointLabel(n) for n in range(2)] == ["", ""]
        assert not task._node.GetDisplayNode().GetVisibility()
        shown = [n for n in range(2) if dots.GetNthControlPointVisibility(n)]
        assert shown == [0]
        position = [0.0] * 3
        dots.GetNthControlPointPositionWorld(0, position)
        red = queue.slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceNode()
        matrix = red.GetSliceToRAS()
        assert matrix.GetElement(2, 3) == pytest.approx(position[2], abs=0.01)
        press("O")
        assert not dots.GetDisplayNode().GetVisibility()
        press("N")
        assert dots.GetDisplayNode().GetVisibility()
        press("B")
        assert "judged: no lesion" in queue.ui.dotLabel.text
        press("Y")
        press("Y")
        queue.settle()
        assert "2 of 2 dots accepted" in queue.ui.dotLabel.text
        if reader == "R01":
            queue.draw(ras(head, B), 8)
        save(queue)
    assert queue.column(TASK, "referenceTable") == ["Agreed"]
    with ReferenceSession(folder) as session:
        assert session.reference("p1").agreement == {"R01|R02": 1.0}
        assert all(
            session.judged("p1", reader) == {d.id: True for d in session.dots("p1")} for reader in ("R01", "R02")
        )
    assert queue.nodes("vtkMRMLMarkupsFiducialNode") == []


def test_the_wait_before_the_dots_is_told(queue, images, tmp_path, head):
    start(queue, tmp_path / "reference", images, method=0, days=180)
    for reader in ("R01", "R02"):
        read_as(queue, reader)
        begin(queue)
        queue.draw(ras(head, A), 8)
        save(queue)
    assert queue.column(TASK, "referenceTable")[0].startswith("Dots from 20")
    assert "can be judged from" in queue.ui.referenceMessageLabel.text


def test_a_drawing_is_never_lost_unasked(queue, images, tmp_path, head):
    start(queue, tmp_path / "reference", images, method=1)
    begin(queue)
    save(queue)
    assert "Nothing is drawn" in queue.ui.editorMessageLabel.text
    queue.draw(ras(head, A), 8)
    click(queue.ui.closeTaskButton)
    assert queue.ui.discardRow.isVisible()
    click(queue.ui.keepDrawingButton)
    assert drawn(queue).any()
    click(queue.ui.closeTaskButton)
    click(queue.ui.discardMaskButton)
    queue.settle()
    assert not queue.tab.reference.working
    assert queue.nodes("vtkMRMLScalarVolumeNode") == []
    assert queue.column(TASK, "referenceTable") == ["Delineate independently"]


def test_a_case_of_the_queue_makes_room(queue, images, tmp_path, head):
    queue.list(images)
    queue.open("p1")
    queue.paint(ras(head, A))
    start(queue, tmp_path / "reference", images, method=1)
    begin(queue)
    # The queue's case was edited: it is asked about before anything else is loaded.
    assert not queue.tab.reference.working
    assert queue.ui.askRow.isVisible()
    queue.slicer.app.processEvents()
    click(queue.ui.discardButton)
    queue.settle()
    assert queue.tab.reference.working
    assert queue.nodes("vtkMRMLScalarVolumeNode") == ["p1"]
    assert not queue.ui.nextButton.enabled
    assert not queue.tab.result.shortcuts.bound
    click(queue.ui.closeTaskButton)
    queue.settle()
    assert queue.tab.result.shortcuts.bound
    assert queue.ui.nextButton.enabled


def test_what_is_no_session_is_told(queue, images, tmp_path):
    expand(queue)
    queue.ui.referenceFolderEdit.setCurrentPath(str(images))
    click(queue.ui.referenceOpenButton)
    queue.settle()
    assert "no reference session" in queue.ui.referenceMessageLabel.text
    start(queue, tmp_path / "reference", images, method=1, readers="R01")
    assert "two or more" in queue.ui.referenceMessageLabel.text


def test_a_mask_that_cannot_be_saved_stays(queue, images, tmp_path, head):
    folder = tmp_path / "reference"
    start(queue, folder, images, method=1)
    begin(queue)
    queue.draw(ras(head, A), 8)
    before = drawn(queue).copy()
    (folder / "masks").write_text("in the way")
    save(queue)
    assert queue.tab.reference.working
    assert np.array_equal(drawn(queue), before)
    assert queue.ui.referenceMessageLabel.isVisible()
    (folder / "masks").unlink()
    save(queue)
    assert not queue.tab.reference.working
    assert queue.column(TASK, "referenceTable") == ["Wait for the others"]


def test_closing_the_scene_empties_the_desk(queue, images, tmp_path):
    start(queue, tmp_path / "reference", images, method=1)
    begin(queue)
    queue.tab.sceneClosing()
    queue.slicer.mrmlScene.Clear(0)
    queue.settle()
    assert not queue.tab.reference.working
    assert not queue.ui.taskFrame.isVisible()
    begin(queue)
    assert queue.tab.reference.working
