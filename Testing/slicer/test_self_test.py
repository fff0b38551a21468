"""The self-test that a user runs in Slicer: every step here too, its lines and report, and what a broken panel does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from Testing.harness.segment_editor import brush

FIRST, SECOND = "intensity-v0.1", "strict-v0.1"
STEPS = (
    "panel of FLAIR Segmentation",
    "load",
    "cancel",
    "close the scene while a run is under way",
    "segment",
    "flip",
    "delete",
    "undo",
    "paint",
    "accept",
    "save and reload",
    "second version",
    "compare",
    "follow-up",
    "export",
    "panel of FLAIR Review",
    "queue",
    "small study",
)


@pytest.fixture(scope="module")
def models(model, tmp_path_factory) -> Path:
    """Two models that know gray levels; the second drops lesions of less than 5 ml."""
    folder = tmp_path_factory.mktemp("two models")
    for name in (FIRST, SECOND):
        shutil.copytree(model.parent if model.is_file() else model, folder / name)
    card = json.loads((folder / SECOND / "card.json").read_text(encoding="utf-8"))
    card |= {"id": SECOND, "title": "Large lesions only"}
    card["pipeline"]["min_lesion_mm3"] = 5000
    (folder / SECOND / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


@pytest.fixture
def options(models, head, monkeypatch, main_window, load_module, tmp_path):
    """Both modules in a window, and what the self-test takes here: the small head, the brush of the stand-in."""
    from FlairSegLib.self_test import Case, Options

    monkeypatch.setenv("FLAIRSEG_MODELS", str(models))
    for name in ("FlairSeg", "FlairSegReview"):
        load_module(name)
    main_window("FlairSeg")
    return Options(case=Case(*head), models=(FIRST, SECOND), painter=brush, report=tmp_path / "report.txt")


def lines_of(options) -> tuple[bool, list[str]]:
    from FlairSegLib import self_test

    lines = []
    return self_test.run(options, lines.append), lines


@pytest.mark.slow
def test_every_step_passes_and_is_told_in_a_line(options, slicer):
    from FlairSegLib.settings import FlairSegSettings

    settings = FlairSegSettings()
    settings.casesFolder, settings.readerName = "/data/cases of Dr. Roe", "Dr. Roe"
    passed, lines = lines_of(options)
    assert passed, "\n".join(lines)
    assert [line.split("  ")[-1] for line in lines[:-1]] == list(STEPS)
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1].startswith("18 ok, 0 failed, 0 skipped in ")
    assert (settings.casesFolder, settings.readerName) == ("/data/cases of Dr. Roe", "Dr. Roe")
    report = options.report.read_text(encoding="utf-8")
    for word in ("3D Slicer", "numpy", "onnxruntime", *STEPS):
        assert word in report
    assert "Roe" not in report
    assert not slicer.app.messages, "something popped up"


def test_a_broken_panel_fails_at_once(options, slicer, monkeypatch):
    from FlairSegLib import self_test

    slicer.modules.flairseg.widgetRepresentation().self().buildError = AttributeError(
        "ctkCollapsibleButton has no attribute named 'setCollapsed'"
    )
    codes, waits = [], []
    monkeypatch.setattr(slicer.util, "exit", codes.append)
    monkeypatch.setattr(self_test.segmentation, "wait", lambda *arguments, **keywords: waits.append(arguments))
    self_test.main(options.__class__(**{**vars(options), "modules": (self_test.SEGMENTATION,)}))
    assert codes == [1]
    assert not waits, "nothing is waited for that cannot come"
    report = options.report.read_text(encoding="utf-8")
    assert "failed" in report
    assert "was not built: AttributeError: ctkCollapsibleButton has no attribute named" in report
    assert report.count("skipped") == 14


def test_half_a_panel_knows_what_broke_it_and_can_be_left(slicer, load_module, monkeypatch):
    """Slicer prints what ``setup`` raises and goes on with half a panel: it has to be entered, left and taken away."""
    import FlairSeg
    import qt
    from FlairSegLib.panel import model_section

    def broken(*_arguments):
        raise AttributeError("ctkPathLineEdit has no attribute named 'setFilters'")

    monkeypatch.setattr(model_section.ModelSection, "__init__", broken)
    load_module("FlairSeg")
    parent = slicer.qMRMLWidget()
    qt.QVBoxLayout(parent)
    widget = FlairSeg.FlairSegWidget(parent)
    with pytest.raises(AttributeError):
        widget.setup()
    assert "setFilters" in str(widget.buildError)
    assert not widget.built
    widget.enter()
    slicer.mrmlScene.Clear(0)
    widget.exit()
    widget.cleanup()


def test_a_step_that_waits_in_vain_ends(slicer):
    from FlairSegLib.self_test.recorder import Recorder, wait

    lines = []
    recorder = Recorder(lines.append)
    slow = ("never ends", lambda: wait(lambda: False, "nothing happens", 0.05))
    assert not recorder.run([slow, ("next", lambda: None)])
    assert "nothing happens within 0 s" in lines[0]
    assert lines[1].startswith("skipped")
    assert "after 'never ends'" in lines[1]


def test_an_exception_in_a_slot_fails_the_step(slicer):
    import qt
    from FlairSegLib.self_test.recorder import Recorder

    def slot():
        raise ValueError("in a slot")

    def action():
        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.timeout.connect(slot)
        timer.start(0)
        slicer.app.processEvents()

    lines = []
    assert not Recorder(lines.append).run([("slot", action)])
    assert "ValueError: in a slot" in lines[0]
    slicer.app.escaped.clear()


def test_the_report_names_no_folder(slicer, tmp_path):
    from FlairSegLib.self_test import Recorder, write_report

    def action():
        raise OSError("cannot read /srv/jane.roe/Doe^John/flair.nii.gz of 'Doe^John'")

    recorder = Recorder(lambda line: None)
    recorder.run([("read", action)])
    text = write_report(recorder, tmp_path / "report.txt").read_text(encoding="utf-8")
    assert "OSError: cannot read <path>" in text
    assert "Doe" not in text
    assert "roe" not in text
    assert str(Path(__file__).parent) not in text
    assert f"{Path(__file__).name}:" in text


def test_labels_that_are_wrong_are_noticed(slicer):
    from FlairSegLib import self_test

    truth = np.zeros((4, 8, 8), np.uint8)
    truth[1, 2:4, 2:4], truth[2, 2:4, 2:4] = 1, 3
    self_test.check_labels(truth, truth)
    with pytest.raises(AssertionError, match=r"Dice 0\.000"):
        self_test.check_labels(truth[:, :, ::-1], truth)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    with pytest.raises(AssertionError, match="is missing"):
        self_test.check_segments(node)
