"""A rater in front of the Study tab: clicks, keys, pauses, and what is kept of it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from flairseg.labels import LESION
from flairseg.study import Study
from flairseg.study.records import ACCEPTABLE, FALSE_NEGATIVE, FALSE_POSITIVE, UNACCEPTABLE

from Testing.core.study_data import FakeClock
from Testing.harness.interaction import click, run_event_loop, type_text, wait_until
from Testing.harness.segment_editor import brush
from Testing.slicer.review_driver import ELSEWHERE, LESIONS, lock_study, ras_of

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")
pytest.importorskip("nibabel", reason="nibabel is not installed: pip install 'flairseg[test]'")

LESION_RAS = tuple(ras_of(centre) for centre, _ in LESIONS)
ELSEWHERE_RAS = ras_of(ELSEWHERE)
QUESTIONS = [
    {"id": "acceptable", "text": "Acceptable?", "type": "Acceptability"},
    {"id": "quality", "text": "Borders?", "type": "Likert_5"},
    {"id": "artefact", "text": "Artefact?", "type": "Yes_No"},
    {"id": "ml", "text": "Volume?", "type": "Numeric", "minimum": 0, "maximum": 50, "required": False},
]


def room_of(study, rater: str = "R1"):
    return study / "rooms" / rater


def answered(study, rater: str = "R1") -> list:
    return [s for s in Study(study).state(rater).showings.values() if s.answer is not None]


def test_clicks_in_the_view_make_marks(rater, tmp_path):
    rater.open(room_of(lock_study(tmp_path, 1)))
    delineated = rater.counts()[0]
    assert delineated in (2, 3)
    rater.click_at(LESION_RAS[0])
    assert rater.counts() == (delineated, 1, 0)
    rater.click_at(ELSEWHERE_RAS)
    assert rater.counts() == (delineated, 1, 1)
    rater.click_at(LESION_RAS[1], drag=9)
    assert rater.counts() == (delineated, 1, 1), "dragging is no click"
    rater.click_at(LESION_RAS[0])
    assert rater.counts() == (delineated, 0, 1), "a second click takes the mark back"
    mark = rater.session.shown.marks[0]
    assert mark.ras == pytest.approx(ELSEWHERE_RAS, abs=1.5)
    points = rater.slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    drawn = [node.GetNthControlPointPosition(n) for node in points for n in range(node.GetNumberOfControlPoints())]
    assert [tuple(point) for point in drawn] == [mark.ras]


def test_a_study_by_keys_alone(rater, tmp_path):
    """From the introduction to the last case without the mouse."""
    study = lock_study(tmp_path, 2, questions=QUESTIONS, confidence=True)
    rater.choose(room_of(study))
    rater.keys("Return")
    assert rater.tab.page == "rating"
    first = rater.session.current.code
    rater.keys("N", "F")
    assert [m.kind for m in rater.session.shown.marks] == [FALSE_POSITIVE]
    # From the lesion to a place beside it, 18 mm away.
    rater.keys(*["Shift+Down"] * 9, "M")
    assert [m.kind for m in rater.session.shown.marks] == [FALSE_POSITIVE, FALSE_NEGATIVE]
    rater.keys("N", "F", "Backspace")
    assert len(rater.session.shown.marks) == 2
    before = rater.picture().view.logic.GetSliceOffset()
    rater.keys("Up", "PgUp", "Down")
    assert rater.picture().view.logic.GetSliceOffset() == pytest.approx(before + 5.0)
    rater.keys("O")
    assert not rater.tab.view.overlay_visible
    rater.keys("O", "Return")
    assert rater.session.current.code == first, "nothing is answered yet"
    assert "Acceptable?" in rater.ui.ratingMessageLabel.text
    rater.keys("U", "4", "1", "5", "Return")
    assert rater.session.current.code != first
    for _ in range(3):
        rater.keys("A", "3", "2", "4", "Space")
    assert rater.tab.page == "done"
    rater.keys("Return")
    assert rater.session is None
    done = answered(study)
    assert len(done) == 4
    answer = next(s for s in done if s.code == first).answer
    assert answer.answers == {"acceptable": UNACCEPTABLE, "quality": 4, "artefact": "yes"}
    assert answer.confidence == 5
    assert len(answer.marks) == 2


def test_the_rule_proposes_and_the_rater_decides(rater, tmp_path):
    rater.open(room_of(lock_study(tmp_path, 1)))
    assert "acceptable. " in rater.ui.proposalLabel.text
    rater.click_at(LESION_RAS[0])
    assert "unacceptable" in rater.ui.proposalLabel.text
    assert rater.session.shown.answers == {}, "a proposal is no answer"
    click(rater.button("acceptable", ACCEPTABLE))
    assert rater.session.shown.answers == {"acceptable": ACCEPTABLE}
    assert rater.button("acceptable", ACCEPTABLE).checked
    click(rater.button("acceptable", ACCEPTABLE))
    assert rater.session.shown.answers == {}, "pressed again, it is taken back"


def test_what_is_typed_is_kept_without_being_told_to(rater, tmp_path):
    rater.open(room_of(lock_study(tmp_path, 1, questions=QUESTIONS)))
    line = rater.slicer.util.findChild(rater.ui.questionsHolder, "answer_ml")
    type_text(line, "3,5")
    type_text(rater.ui.commentEdit, "fan of 5 lesions")
    run_event_loop(0.7)
    assert rater.session.shown.answers == {"ml": 3.5}, "letters in a comment are no keys"
    assert rater.session.shown.comment == "fan of 5 lesions"
    rater.keys("Return")
    line.setText("")
    type_text(line, "77")
    run_event_loop(0.7)
    assert "at most 50" in rater.ui.ratingMessageLabel.text
    assert rater.session.shown.answers == {"ml": 3.5}
    line.setText("")
    type_text(line, "1,234")
    run_event_loop(0.7)
    assert rater.session.shown.answers == {}, "neither 1.234 nor 1234 before the rater says which"
    note = [label.text for label in rater.slicer.util.findChildren(rater.ui.questionsHolder, className="QLabel")]
    assert "The separator may stand for thousands. Write 1234 or 1.234." in note
    line.setText("")
    type_text(line, "1.234")
    run_event_loop(0.7)
    assert rater.session.shown.answers == {"ml": 1.234}


def test_a_pause_hides_the_image_and_keeps_the_marks(rater, tmp_path):
    rater.open(room_of(lock_study(tmp_path, 1)))
    rater.click_at(LESION_RAS[0])
    rater.click_at(ELSEWHERE_RAS)
    code, counts = rater.session.current.code, rater.counts()
    rater.keys("P")
    assert rater.session.shown.paused
    assert not rater.ui.ratingPage.isVisible()
    assert not rater.slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert not rater.slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    assert len(np.unique(rater.picture().view.render())) == 1, "nothing is drawn"
    rater.keys("Return")
    assert (rater.session.current.code, rater.counts()) == (code, counts)
    assert rater.tab.view.shown
    assert not rater.session.shown.paused


@pytest.mark.parametrize("how", ["scene closed", "module left"])
def test_leaving_the_case_in_any_way_is_a_pause(rater, tmp_path, how):
    rater.open(room_of(lock_study(tmp_path, 1)))
    rater.click_at(ELSEWHERE_RAS)
    title = rater.window.windowTitle
    if how == "scene closed":
        scene = rater.slicer.mrmlScene
        tag = scene.AddObserver(scene.StartCloseEvent, lambda *_: rater.tab.sceneClosing())
        scene.Clear(0)
        scene.RemoveObserver(tag)
    else:
        rater.tab.exit()
        assert rater.window.windowTitle != title, "Slicer's own title is back"
        rater.keys("A")
        rater.tab.enter()
    assert rater.tab.page == "paused"
    assert rater.session.shown.paused
    click(rater.ui.resumeButton)
    assert rater.window.windowTitle == title
    assert rater.counts()[2] == 1
    assert rater.session.shown.answers == {}


def test_the_room_is_taken_up_where_it_was_left(rater, tmp_path):
    study = lock_study(tmp_path, 2)
    rater.open(room_of(study))
    rater.click_at(LESION_RAS[0])
    click(rater.button("acceptable", UNACCEPTABLE))
    display = rater.tab.view.volume_node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(555, 444)
    code, counts = rater.session.current.code, rater.counts()
    rater.keys("P")
    click(rater.ui.leavePausedButton)
    assert rater.ui.roomEdit.text == str(room_of(study))
    click(rater.ui.openButton)
    click(rater.ui.showButton)
    assert (rater.session.current.code, rater.counts()) == (code, counts)
    assert rater.button("acceptable", UNACCEPTABLE).checked
    assert rater.tab.view.volume_node.GetDisplayNode().GetWindow() == pytest.approx(555)


def test_time_is_up(rater, tmp_path):
    study = lock_study(tmp_path, 1, time_limit_s=60)
    rater.tab._clock = clock = FakeClock()
    rater.open(room_of(study))
    clock.go(18)
    run_event_loop(0.6)
    assert rater.ui.timeLabel.text == "0:42 left"
    rater.keys("P")
    clock.go(500)
    rater.keys("Return")
    run_event_loop(0.6)
    assert rater.ui.timeLabel.text == "0:42 left", "a pause does not count"
    rater.click_at(LESION_RAS[0])
    clock.go(50)
    run_event_loop(0.6)
    assert "time for this case is over" in rater.ui.ratingMessageLabel.text
    rater.click_at(ELSEWHERE_RAS)
    assert rater.counts()[1:] == (1, 0), "nothing more is taken"
    first = rater.session.current.code
    rater.keys("Return")
    assert rater.session.current.code != first
    answer = next(s for s in answered(study) if s.code == first).answer
    assert answer.timed_out is True
    assert len(answer.marks) == 1


def test_not_ratable_needs_a_reason(rater, tmp_path):
    study = lock_study(tmp_path, 1)
    rater.open(room_of(study))
    first = rater.session.current.code
    click(rater.ui.notRatableButton)
    click(rater.ui.giveUpButton)
    assert "needs a reason" in rater.ui.ratingMessageLabel.text
    type_text(rater.ui.giveUpEdit, "motion")
    click(rater.ui.giveUpButton)
    assert rater.session.current.code != first
    assert not rater.ui.giveUpEdit.isVisible()
    assert [(s.code, s.failed) for s in answered(study)] == [(first, True)]


def test_a_double_click_submits_one_case(rater, tmp_path):
    """Where no answer is required, the second click submitted the next case before anybody had seen it."""
    optional = [{"id": "quality", "text": "Borders?", "type": "Likert_5", "required": False}]
    rater.open(room_of(lock_study(tmp_path, 3, questions=optional)))
    wait_until(lambda: rater.ui.submitButton.enabled, 10)
    # Longer than a busy computer takes for a click.
    rater.tab._rating._arrival.setInterval(600_000)
    click(rater.ui.submitButton)
    assert rater.session.progress.answered == 1
    assert not rater.ui.submitButton.enabled, "the second click of a double click finds nothing to press"
    rater.tab._rating._arrival.timeout.emit()
    click(rater.ui.submitButton)
    assert rater.session.progress.answered == 2


def test_what_is_loaded_is_not_closed_unasked(rater, tmp_path):
    rater.slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="my work")
    rater.choose(room_of(lock_study(tmp_path, 1)))
    assert "1 other item" in rater.ui.sceneLabel.text
    click(rater.ui.leaveReadyButton)
    assert rater.slicer.util.getNode("my work")
    click(rater.ui.openButton)
    click(rater.ui.showButton)
    names = {node.GetName() for node in rater.slicer.util.getNodesByClass("vtkMRMLVolumeNode")}
    assert names == {"Image"}


def test_errors_are_said_in_the_panel(rater, tmp_path):
    study = lock_study(tmp_path, 2)
    rater.choose(tmp_path)
    assert "not a reading room" in rater.ui.startMessageLabel.text
    from flairseg.study import StudySession

    with StudySession.open(room_of(study)):
        rater.choose(room_of(study))
        assert rater.tab.page == "start"
        assert rater.ui.startMessageLabel.text
    rater.choose(room_of(study))
    first = rater.session.room.showings[0]
    image = room_of(study) / "images" / first.flair_name
    image.unlink()
    image.write_bytes(b"another")
    click(rater.ui.showButton)
    assert "changed after the study was locked" in rater.ui.doneDetailLabel.text
    assert not rater.tab.view.shown
    assert {kind for kind, _ in rater.slicer.app.messages} == {"file"}, "nothing pops up"


def test_a_store_that_is_away_holds_nobody_up(rater, tmp_path):
    study = lock_study(tmp_path, 1)
    away = tmp_path / "away"
    away.mkdir()
    for file in study.glob("events.sqlite*"):
        shutil.move(file, away / file.name)
    rater.open(room_of(study))
    rater.click_at(LESION_RAS[0])
    rater.keys("U", "Return")
    for _ in range(2):
        rater.tab._delivery.look(rater.session, rater.ui.storeLabel)
    assert "Saved on this computer" in rater.ui.storeLabel.text
    rater.keys("P")
    click(rater.ui.leavePausedButton)
    for file in away.iterdir():
        shutil.move(file, study / file.name)
    assert len(answered(study)) == 1


def test_the_washout_is_told_with_its_day(rater, tmp_path):
    study = lock_study(tmp_path, 2, repeats=2, washout={"cases": 1, "arms": 1, "days": 14})
    rater.open(room_of(study))
    for _ in range(4):
        rater.keys("A", "Return")
    assert rater.tab.page == "done"
    assert "after the washout, on 20" in rater.ui.doneDetailLabel.text
    rater.keys("Return")
    rater.choose(room_of(study))
    assert rater.tab.page == "done"


def test_training_gives_feedback_and_corrections_are_kept(rater, tmp_path):
    study = lock_study(
        tmp_path, 2, correction=True, training_cases=[{"id": "secretcase-t", "feedback": "Two lesions are real."}]
    )
    rater.open(room_of(study))
    assert rater.ui.positionLabel.text == "training 1 of 2"
    rater.keys("A", "Return")
    assert rater.tab.page == "answered"
    assert rater.ui.feedbackLabel.text == "Two lesions are real."
    code = rater.session.current.code
    before = np.count_nonzero(rater.session.current.label_array == LESION)
    click(rater.ui.correctButton)
    editor = rater.ui.correctionEditor
    editor.setActiveEffectByName("Paint")
    painted = brush(editor, ELSEWHERE_RAS, 6.0)
    assert painted > 0
    click(rater.ui.saveCorrectionButton)
    (kept,) = (room_of(study) / "corrections").glob(f"{code}_v001_labels.nii.gz")
    import nibabel

    assert np.count_nonzero(np.asarray(nibabel.load(kept).dataobj) == LESION) == before + painted
    rater.keys("Return")
    assert rater.session.current.code != code
    # The editor node of FLAIR Segmentation is a singleton: it stays when a scene is cleared.
    editors = rater.slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode")
    assert [node.GetName() for node in editors if not node.GetSingletonTag()] == []
    event = Study(study).state("R1").showings[code].mask_corrections[0]
    assert event.voxels_added["lesion"] == painted


@pytest.mark.parametrize("how", ["pause", "module", "scene", "leave"])
def test_a_correction_under_way_is_kept_whatever_ends_it(rater, tmp_path, how):
    """A glance at another module threw the strokes away without a word."""
    study = lock_study(tmp_path, 2, correction=True)
    rater.open(room_of(study))
    rater.keys("A", "Return")
    code = rater.session.current.code
    before = np.count_nonzero(rater.session.current.label_array == LESION)
    click(rater.ui.correctButton)
    rater.ui.correctionEditor.setActiveEffectByName("Paint")
    painted = brush(rater.ui.correctionEditor, ELSEWHERE_RAS, 6.0)
    {
        "pause": rater.tab.pause,
        "module": rater.tab.exit,
        "scene": rater.tab.sceneClosing,
        "leave": rater.tab.leave,
    }[how]()
    (kept,) = (room_of(study) / "corrections").glob(f"{code}_v001_labels.nii.gz")
    import nibabel

    assert np.count_nonzero(np.asarray(nibabel.load(kept).dataobj) == LESION) == before + painted
    if how != "leave":
        assert "kept" in rater.ui.pausedMessageLabel.text
        assert not rater.tab.correction.editing


def test_without_sqlalchemy_answers_wait_on_this_computer(rater, tmp_path, monkeypatch):
    from flairseg.errors import MissingDependencyError
    from FlairSegLib import dependencies

    asked = []

    def decline(address=""):
        asked.append(address)
        raise MissingDependencyError("SQLAlchemy was not installed.", "Agree next time.")

    study = lock_study(tmp_path, 1)
    monkeypatch.setattr(dependencies, "ensureStore", decline)
    rater.choose(room_of(study))
    assert asked == [str(study / "events.sqlite")]
    assert "stored on this computer" in rater.ui.sceneLabel.text
    rater.keys("Return", "A", "Return")
    assert rater.session.progress.answered == 1
