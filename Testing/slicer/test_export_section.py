"""Report and DICOM from the panel: what is written says what the scene says, and refers to the series it came from."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from flairseg.anatomy.packing import pack_regions
from flairseg.anatomy.regions import WHITE_MATTER, RegionMap
from flairseg.image.volume import Volume
from flairseg.labels import CLASS_BY_VALUE, CLASSES, LESION
from flairseg.segmentation.result import Segmentation

from Testing.core import tiny
from Testing.harness.interaction import click, run_event_loop, wait_until
from Testing.slicer.panel_driver import settle, shown
from Testing.slicer.test_panel_run import RUN_S

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'flairseg[test]'")

PATIENT = "Doe^Jane"


@pytest.fixture
def panel(model, monkeypatch, open_panel):
    monkeypatch.setenv("FLAIRSEG_MODELS", str(model.parent.parent))
    return open_panel(height=1400)


class Database:
    """What the module asks Slicer's DICOM database."""

    def __init__(self, folder) -> None:
        self.files = {str(pydicom.dcmread(p).SOPInstanceUID): str(p) for p in folder.iterdir()}

    def fileForInstance(self, uid: str) -> str:
        return self.files.get(uid, "")

    def instanceValue(self, uid: str, tag: str) -> str:
        return "20260504" if tag == "0008,0020" else ""


@pytest.fixture
def series(tmp_path):
    """A series on the disk, as the volume that Slicer loads from it, and its labels."""
    volume, labels = tiny.make_head(shape_kji=(12, 64, 56), spacing_ijk=(3.0, 3.0, 10.0))
    return tiny.to_dicom(volume, tmp_path / "series"), volume, labels


@pytest.fixture
def section(panel, slicer, series):
    """The section, opened, with an accepted result whose volume was loaded from the series by the DICOM module."""
    from FlairSegLib import kept_answers, scene_bridge, verdict_notes

    _, volume, labels = series
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "5: FLAIR axial")
    probabilities = np.zeros((4, *labels.shape), np.float16)
    for value in range(4):
        probabilities[value][labels == value] = 0.75
    card = SimpleNamespace(id="gone-v9.9", sha256="ab" * 32, classes=(1, 2, 3), version="9.9", title="Not here")
    found = Segmentation(volume, labels, probabilities, card, "auto", "cpu", "CPUExecutionProvider", "x")
    segmentation = scene_bridge.segmentation_to_node(found, node)
    codes = np.full(labels.shape, WHITE_MATTER, np.uint8)
    regions = RegionMap(codes, codes > 0, True, None, np.eye(4), volume.spacing, 0)
    kept_answers.keep_regions(node, pack_regions(regions))
    verdict_notes.note(
        segmentation,
        "accepted_after_edits",
        {
            verdict_notes.READER: "Dr. R01",
            verdict_notes.SAVED_AT: "2026-05-06T07:08:09+00:00",
            verdict_notes.SAVED_AS: "5_FLAIR/v002",
        },
    )
    settle(panel)
    panel.result.setSegmentation(segmentation)
    wait_until(lambda: not panel.result.busy, 20)
    export = panel.further.export
    click(export.ui.exportCollapsibleButton)
    return export


def text_of(path) -> str:
    return re.sub(r"<[^>]*>", " ", path.read_text(encoding="utf-8"))


def written(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_report_and_dicom_say_what_the_scene_says(panel, section, series, slicer, tmp_path):
    folder, volume, labels = series
    out, ui = tmp_path / "out", section.ui
    click(ui.dicomCheckBox)
    ui.exportFolderEdit.setCurrentPath(str(out))
    assert ui.sourceEdit.isVisible(), "nobody knows from which files the volume was loaded"
    assert "Choose the folder of the DICOM series" in ui.exportButton.toolTip
    ui.sourceEdit.setCurrentPath(str(folder))
    click(ui.exportButton)
    assert ui.exportButton.text == "Cancel"
    wait_until(lambda: not section.running, RUN_S)
    stem = "5_FLAIR_axial"
    names = [f"{stem}_report.dcm", f"{stem}_report.html", f"{stem}_report.pdf", f"{stem}_seg.dcm", f"{stem}_sr.dcm"]
    assert written(out) == names, shown(ui.exportMessageLabel)
    assert all(name in shown(ui.exportMessageLabel) for name in names)
    assert ui.openFolderButton.isVisible()

    report = text_of(out / f"{stem}_report.html")
    for label_class in CLASSES:
        ml = (labels == label_class.value).sum() * volume.voxel_mm3 / 1000
        assert not ml or re.search(rf"(?<![\d.]){ml:.3g}(?!\d)", report), label_class.name
    assert "Dr. R01" in report
    assert "gone-v9.9" in report
    assert "not a medical device" in report.lower()
    assert (out / f"{stem}_report.pdf").read_bytes().startswith(b"%PDF")

    seg = pydicom.dcmread(out / f"{stem}_seg.dcm")
    source = {str(pydicom.dcmread(p).SOPInstanceUID) for p in folder.iterdir()}
    assert seg.StudyInstanceUID == pydicom.dcmread(next(folder.iterdir())).StudyInstanceUID
    referred = {
        str(i.ReferencedSOPInstanceUID) for s in seg.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence
    }
    assert referred == source
    own = [n for n, s in enumerate(seg.SegmentSequence, 1) if s.SegmentLabel == CLASS_BY_VALUE[LESION].name]
    frames = seg.pixel_array
    numbers = [f.SegmentIdentificationSequence[0].ReferencedSegmentNumber for f in seg.PerFrameFunctionalGroupsSequence]
    voxels = sum(int(frame.sum()) for frame, number in zip(frames, numbers, strict=True) if number in own)
    assert voxels == (labels == LESION).sum()
    assert {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {"AUTOMATIC"}

    # Again: nothing is overwritten.
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    click(ui.dicomCheckBox)
    click(ui.exportButton)
    wait_until(lambda: not section.running, RUN_S)
    assert written(out) == sorted([*names, f"{stem}_2_report.html", f"{stem}_2_report.pdf"])
    assert {name: (out / name).read_bytes() for name in before} == before


def test_what_slicers_database_knows_is_not_asked_for_and_pseudonyms_leave_no_name(
    panel, section, series, slicer, tmp_path, monkeypatch
):
    folder, _, _ = series
    database = Database(folder)
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node = panel.result.volumeNode
    node.SetAttribute("DICOM.instanceUIDs", " ".join(database.files))
    node.SetName(PATIENT)
    out, ui = tmp_path / "out", section.ui
    click(ui.dicomCheckBox)
    click(ui.pseudonymiseCheckBox)
    ui.exportFolderEdit.setCurrentPath(str(out))
    ui.keyEdit.setCurrentPath(str(tmp_path / "key"))
    assert not ui.sourceEdit.isVisible()
    assert ui.keyEdit.isVisible()
    click(ui.exportButton)
    wait_until(lambda: not section.running, RUN_S)
    names = written(out)
    assert len(names) == 5, shown(ui.exportMessageLabel)
    assert all(name.startswith("case-") for name in names)
    assert (tmp_path / "key").is_file()
    # Long enough not to turn up in a compressed stream by chance.
    names = [PATIENT.encode(), b"Doe Jane", b"Dr. R01", b"20260504", b"2026-05-04", b"2026-05-06"]
    secrets = [*names, *map(str.encode, database.files)]
    for path in out.iterdir():
        raw = path.read_bytes()
        if path.name.endswith(".html"):
            assert "Accepted after" in text_of(path)
        assert not [secret for secret in secrets if secret in raw], path.name
    assert PATIENT not in shown(ui.exportMessageLabel)


def test_what_is_in_the_way_is_said(panel, section, slicer, series, tmp_path):
    _, volume, _ = series
    ui = section.ui
    assert "Choose the output folder" in ui.exportButton.toolTip
    ui.exportFolderEdit.setCurrentPath(str(tmp_path / "out"))
    assert ui.exportButton.enabled
    for box in (ui.htmlCheckBox, ui.pdfCheckBox):
        click(box)
    assert ui.exportButton.toolTip == "Tick the outputs."
    click(ui.dicomCheckBox)
    ui.sourceEdit.setCurrentPath(str(tmp_path / "nowhere"))
    section.start()
    assert "There is no folder" in shown(ui.exportMessageLabel)
    # A series with other voxels: told in words, nothing is written.
    other = Volume(volume.array[:, :-4], volume.ijk_to_ras, "other")
    ui.sourceEdit.setCurrentPath(str(tiny.to_dicom(other, tmp_path / "other")))
    click(ui.exportButton)
    wait_until(lambda: not section.running, RUN_S)
    message = shown(ui.exportMessageLabel)
    assert message
    assert "Written" not in message
    assert not (tmp_path / "out").exists() or written(tmp_path / "out") == []
    (tmp_path / "file").write_text("x")
    ui.exportFolderEdit.setCurrentPath(str(tmp_path / "file"))
    section.start()
    assert "is a file" in shown(ui.exportMessageLabel)
    panel.result.setSegmentation(None)
    assert "Segment a FLAIR first" in ui.exportButton.toolTip


def test_packages_are_installed_when_first_used(panel, section, slicer, tmp_path, monkeypatch):
    from FlairSegLib import dependencies
    from slicer import packaging

    packaging.recorder.missing = {"reportlab"}
    packaging.recorder.user_agrees = False
    real = dependencies.installedVersion
    missing = packaging.recorder.missing
    monkeypatch.setattr(dependencies, "installedVersion", lambda name: None if name in missing else real(name))
    section.ui.exportFolderEdit.setCurrentPath(str(tmp_path / "out"))
    click(section.ui.exportButton)
    assert not section.running
    assert "were not installed" in shown(section.ui.exportMessageLabel)
    assert not (tmp_path / "out").exists()
    asked = []

    def install(packages):
        asked.append(packages)
        if len(asked) == 1:
            click(section.ui.exportButton)

    with monkeypatch.context() as patch:
        patch.setattr(dependencies, "ensurePackages", install)
        click(section.ui.exportButton)
    assert len(asked) == 1, "Slicer handles events while pip runs: a second click is no second start"
    assert section.running
    section.cancel()
    click(section.ui.pdfCheckBox)
    click(section.ui.exportButton)
    assert section.running, "the HTML report needs no such package"
    click(section.ui.exportButton)
    run_event_loop(0.1)
    assert "Cancelled" in shown(section.ui.exportMessageLabel)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("5: FLAIR axial", "5_FLAIR_axial"),
        ("../../etc/passwd", "etc_passwd"),
        ("Müller^Änne", "Müller_Änne"),
        ("...", "flair"),
        ("x" * 300, "x" * 80),
    ],
)
def test_a_nodes_name_is_a_safe_file_name(slicer, name, stem):
    from FlairSegLib.panel.file_names import file_stem

    assert file_stem(name) == stem
