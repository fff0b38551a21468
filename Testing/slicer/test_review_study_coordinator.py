"""The coordinator at the Study tab: from folders of images and masks to a report, without the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flairseg.labels import LESION
from flairseg.study import Study, load_protocol

from Testing.harness.interaction import click, wait_until
from Testing.harness.small_case import make_head
from Testing.slicer.review_driver import lesion_labels, lock_study, write_study_files

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")


@pytest.fixture
def desk(rater):
    """The coordinator's section, open, with what it says at hand."""
    section = rater.tab.coordinator
    rater.ui.coordinatorSection.collapsed = False
    rater.slicer.app.processEvents()
    section.driver = rater
    return section


def press_and_wait(desk, name: str, file="") -> str:
    """Press a button, answer its file dialog, wait for the work; what the section says then."""
    if file:
        desk.driver.slicer.app.messages.files.append(str(file))
    click(getattr(desk.ui, name))
    wait_until(lambda: not desk.work.running, 60)
    desk.driver.slicer.app.processEvents()
    return desk.ui.coordinatorMessageLabel.text


def write_folders(folder, save_nifti, cases: int = 3):
    """A folder of images, and one of masks for each of two arms."""
    volume, _ = make_head()
    for name in ("images", "model A", "reader"):
        (folder / name).mkdir()
    for n in range(cases):
        save_nifti(folder / "images" / f"case{n}.nii.gz", volume.array, volume.ijk_to_ras)
        for arm, count in (("model A", 3), ("reader", 2)):
            labels = (lesion_labels(count) == LESION).astype(np.uint8)
            save_nifti(folder / arm / f"case{n}_mask.nii.gz", labels, volume.ijk_to_ras)
    return folder


def test_a_protocol_from_folders(desk, tmp_path, save_nifti):
    folder = write_folders(tmp_path, save_nifti)
    ui, files = desk.ui, desk.driver.slicer.app.messages.files
    click(ui.newProtocolButton)
    click(ui.saveProtocolButton)
    assert not ui.protocolEdit.text
    files += [str(folder / "protocol")]
    click(ui.saveProtocolButton)
    assert "Choose the folder of the images" in ui.editorMessageLabel.text
    files += [str(folder / "images"), str(folder / "model A"), str(folder / "reader"), str(folder / "protocol")]
    click(ui.imagesButton)
    click(ui.addArmButton)
    click(ui.addArmButton)
    ui.binaryCheck.setChecked(True)
    ui.ratersEdit.setText("R1, R2, R3")
    ui.studyTitleEdit.setText("Masks")
    ui.limitSpin.setValue(120)
    ui.windowSpin.setValue(900)
    ui.levelSpin.setValue(450)
    click(ui.addQuestionButton)
    click(ui.saveProtocolButton)
    assert "Saved" in ui.coordinatorMessageLabel.text
    assert not ui.protocolEditor.isVisible()
    protocol = load_protocol(folder / "protocol.json")
    assert [arm.id for arm in protocol.cases[0].arms] == ["model_A", "reader"]
    assert [rater.id for rater in protocol.raters] == ["R1", "R2", "R3"]
    assert [question.type for question in protocol.questions] == ["Acceptability", "Likert_5"]
    assert (protocol.time_limit_s, protocol.display.window, protocol.washout.days) == (120, 900, 14)
    assert protocol.cases[0].arms[0].classes == {1: LESION}
    assert press_and_wait(desk, "checkProtocolButton") == "The protocol can be locked."
    # A file that is there is kept.
    click(ui.newProtocolButton)
    files += [str(folder / "protocol.json")]
    click(ui.saveProtocolButton)
    assert "exists already" in ui.editorMessageLabel.text


def test_from_the_protocol_to_the_report(desk, tmp_path, monkeypatch):
    pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")
    import qt

    ui, rater = desk.ui, desk.driver
    rater.slicer.app.messages.files.append(str(write_study_files(tmp_path, 2, raters=[{"id": "R1", "seed": 1}])))
    click(ui.protocolButton)
    assert "Locked" in press_and_wait(desk, "lockButton", tmp_path / "study")
    assert [ui.statusTable.item(0, n).text() for n in range(4)] == ["R1", "0 of 4", "0.0", "–"]
    assert not ui.analyseButton.enabled, "nothing is analysed before the study is closed"

    rater.open(tmp_path / "study" / "rooms" / "R1")
    assert not rater.ui.coordinatorSection.isVisible(), "a rater sees no coordinator"
    rng = np.random.default_rng(2)
    rater.rate(rng)
    rater.keys("P")
    click(rater.ui.leavePausedButton)
    press_and_wait(desk, "refreshButton")
    assert ui.statusTable.item(0, 1).text() == "1 of 4"

    click(ui.closeButton)
    assert "not finished" in press_and_wait(desk, "closeNowButton")
    rater.open(tmp_path / "study" / "rooms" / "R1")
    while rater.tab.page != "done":
        rater.rate(rng)
    click(rater.ui.leaveDoneButton)
    assert "Closed" in press_and_wait(desk, "closeNowButton")
    assert "Closed 20" in ui.stateLabel.text
    assert press_and_wait(desk, "checkStudyButton") == "Nothing has changed since locking."
    assert "Written" in press_and_wait(desk, "exportButton", tmp_path / "tables")
    assert (tmp_path / "tables" / "ratings.csv").exists()
    assert "The report" in press_and_wait(desk, "analyseButton", tmp_path / "report")
    opened = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    click(ui.openResultButton)
    assert opened == [str(tmp_path / "report" / "report.html")]
    rater.choose(tmp_path / "study" / "rooms" / "R1")
    assert "closed" in rater.ui.startMessageLabel.text


def test_tampering_is_named(desk, tmp_path):
    study = lock_study(tmp_path, 2)
    path = study / "coordinator" / "protocol.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["title"] = "Another title"
    path.write_text(json.dumps(content), encoding="utf-8")
    desk.driver.slicer.app.messages.files.append(str(study))
    click(desk.ui.studyButton)
    wait_until(lambda: not desk.work.running, 30)
    said = press_and_wait(desk, "checkStudyButton")
    assert "protocol was changed" in said
    assert Study(study).folder == study


def test_a_lock_that_is_cancelled_leaves_nothing(desk, tmp_path):
    path = write_study_files(tmp_path, 6)
    desk.driver.slicer.app.messages.files += [str(path), str(tmp_path / "study")]
    click(desk.ui.protocolButton)
    click(desk.ui.lockButton)
    click(desk.ui.cancelButton)
    wait_until(lambda: not desk.work.running, 30)
    assert "Cancelled" in desk.ui.coordinatorMessageLabel.text
    assert not (tmp_path / "study").exists()
    assert not list(tmp_path.glob(".flairseg-study-*"))


def test_a_protocol_that_is_wrong_is_told_where(desk, tmp_path):
    path = write_study_files(tmp_path, 2, repeats=0)
    desk.driver.slicer.app.messages.files.append(str(path))
    click(desk.ui.protocolButton)
    assert "repeats" in press_and_wait(desk, "checkProtocolButton")
