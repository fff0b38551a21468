"""DICOM on the command line: a study in, objects of the study out, hostile headers only ever text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from flairseg.cli import app
from flairseg.image.volume import Volume
from typer.testing import CliRunner

from Testing.core.dicom_series import Study, write_localizer, write_series
from Testing.core.tiny import make_head

pytest.importorskip("highdicom", reason="highdicom is not installed: pip install 'flairseg[dicom]'")


def run(*arguments) -> object:
    return CliRunner(env={"COLUMNS": "200", "TERM": "xterm", "NO_COLOR": "1"}).invoke(app, [str(a) for a in arguments])


def whole(contrast: str = "flair") -> Volume:
    volume, _ = make_head(contrast=contrast)
    return Volume(np.clip(volume.array, 0, None), volume.ijk_to_ras, "head")


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    """Localiser, T1 and FLAIR of a patient with a telling name."""
    folder, study = tmp_path_factory.mktemp("dicom") / "exam", Study("Doemeier^Janine", "SECRET-77")
    write_localizer(whole(), folder / "1", "siemens", study)
    write_series(whole("t1"), folder / "2", "siemens", "t1", study, 2)
    write_series(whole(), folder / "3", "siemens", "flair", study, 3)
    return folder


def test_series_lists_a_study_and_says_which_is_taken(study_folder):
    result = run("series", study_folder)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if "│" in line]
    assert any("t2_tirm_tra_dark-fluid" in line and "taken: a FLAIR" in line and "axial" in line for line in lines)
    assert sum("localizer" in line for line in lines) == 3
    assert any("t1_se_tra" in line and "a T1, not a FLAIR" in line for line in lines)
    assert "was taken as the FLAIR because its inversion time nulls fluid (TI 2500 ms" in result.stdout
    assert "Doe" not in result.output
    result = run("series", study_folder / "2")
    assert result.exit_code == 0
    result = run("series", study_folder / "nowhere")
    assert result.exit_code == 2
    assert "What to do" in result.stderr


def test_series_without_a_flair_are_listed_and_refused(tmp_path):
    study = Study()
    write_localizer(whole(), tmp_path / "1", "ge", study)
    write_series(whole("t1"), tmp_path / "2", "ge", "t1", study, 2)
    (tmp_path / "2" / "cut").write_bytes(next((tmp_path / "2").iterdir()).read_bytes()[:300])
    result = run("series", tmp_path)
    assert result.exit_code == 2
    assert "Ax T1 SE" in result.stdout
    assert "none is identified as" in " ".join(result.stderr.split())
    assert "1 DICOM files cannot be read (cut)" in result.stderr


def test_a_study_in_and_its_objects_out(study_folder, model, tmp_path):
    out, pacs = tmp_path / "out", tmp_path / "pacs"
    arguments = ("segment", study_folder, "-o", out, "--dicom-out", pacs, "-m", model, "-d", "cpu", "--no-regions")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "DICOM objects are in" in result.stdout
    summary = json.loads((out / "SECRET-77_20200102_summary.json").read_text())
    assert summary["case"] == "SECRET-77_20200102"
    assert (out / summary["input"]).samefile(study_folder)
    told = {entry["code"]: entry["message"] for entry in summary["information"]}
    assert "was taken as the FLAIR because" in told["series-chosen"]
    assert told["series-chosen"] in result.stderr
    assert "Warning" not in next(line for line in result.stderr.splitlines() if "was taken as the FLAIR" in line)
    assert not [w for w in summary["warnings"] if "FLAIR because" in w["message"]]
    assert summary["images"] == {"used": 16, "found": 16}
    assert told["slices-used"] == "16 of 16 images of the series are used."
    made = {path.name: pydicom.dcmread(path) for path in pacs.iterdir()}
    assert (
        {"SECRET-77_20200102_seg.dcm", "SECRET-77_20200102_sr.dcm"}
        <= set(made)
        <= {"SECRET-77_20200102_seg.dcm", "SECRET-77_20200102_sr.dcm", "SECRET-77_20200102_report.dcm"}
    )
    source = pydicom.dcmread(next((study_folder / "3").iterdir()))
    for data in made.values():
        assert data.StudyInstanceUID == source.StudyInstanceUID
        assert data.PatientID == "SECRET-77"
    referred = made["SECRET-77_20200102_seg.dcm"].ReferencedSeriesSequence[0].SeriesInstanceUID
    assert referred == source.SeriesInstanceUID
    if "SECRET-77_20200102_report.dcm" in made:
        assert made["SECRET-77_20200102_report.dcm"].EncapsulatedDocument.startswith(b"%PDF-")
    if shutil.which("dciodvfy"):
        for name in made:
            done = subprocess.run(["dciodvfy", "-new", str(pacs / name)], capture_output=True, text=True)
            assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")], name
    # A second run keeps what is there, in both places.
    before = {p: p.read_bytes() for p in (*pacs.iterdir(), *out.iterdir())}
    assert run(*arguments).exit_code == 2
    shutil.rmtree(out)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "DICOM results of SECRET-77_20200102 exist already" in result.stderr
    assert not out.exists()
    assert {p: p.read_bytes() for p in pacs.iterdir()} == {p: raw for p, raw in before.items() if p.parent == pacs}


def test_pseudonymised_objects_name_nobody(study_folder, model, tmp_path):
    out, pacs = tmp_path / "out", tmp_path / "pacs"
    result = run(
        "segment", study_folder, "-o", out, "--dicom-out", pacs, "-m", model, "-d", "cpu", "--no-regions",
        "--pseudonymise",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    source = pydicom.dcmread(next((study_folder / "3").iterdir()))
    files = [*out.iterdir(), *pacs.iterdir()]
    assert len(files) >= 7
    secrets = ["Doemeier", "Janine", "SECRET-77", "exam", "20200102", source.StudyInstanceUID, source.SeriesInstanceUID]
    for path in files:
        assert path.name.startswith("case-")
        raw = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in raw, (path.name, secret)
    assert "Doe" not in result.output


def test_what_is_no_dicom_has_no_study_to_go_to(head_file, model, tmp_path):
    result = run("segment", head_file, "-o", tmp_path / "out", "--dicom-out", tmp_path / "pacs", "-m", model)
    assert result.exit_code == 2
    assert "is not DICOM" in result.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "pacs").exists()


def test_what_is_no_dicom_has_no_series_to_choose(head_file, study_folder, model, tmp_path):
    """The option was ignored without a word; of several inputs the DICOM one is segmented all the same."""
    arguments = ("-o", tmp_path / "out", "--series", "3", "-m", model, "-d", "cpu", "--no-regions")
    result = run("segment", head_file, *arguments)
    assert result.exit_code == 2
    assert "is not DICOM: there are no series to choose from" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()
    both = run("segment", head_file, study_folder, *arguments)
    assert both.exit_code == 2
    assert len(list((tmp_path / "out").glob("*_summary.json"))) == 1


def test_a_named_series_and_a_wrong_one(study_folder, model, tmp_path):
    arguments = ("segment", study_folder, "-m", model, "-d", "cpu", "--no-regions")
    result = run(*arguments, "-o", tmp_path / "a", "--series", "99")
    assert result.exit_code == 2
    assert "no series '99'" in result.stderr
    result = run(*arguments, "-o", tmp_path / "b", "--series", "2")
    assert result.exit_code == 0, result.output
    assert "T1" in result.stderr


def test_hostile_headers_reach_no_markup_and_no_path(model, tmp_path):
    words = "[bold red]x[/] <script>alert(1)</script> ../../up\x1b[2J"

    def alter(data, _k):
        data.SeriesDescription = data.ProtocolName = data.StudyDescription = words
        data.PatientName, data.PatientID = "../../../etc/cron.d/x^<b>", "$(reboot)"

    folder = write_series(whole(), tmp_path / "in" / "case one", "ge", change=alter)
    out, pacs = tmp_path / "deep" / "out", tmp_path / "deep" / "pacs"
    result = run("segment", folder, "-o", out, "--dicom-out", pacs, "-m", model, "-d", "cpu", "--no-regions")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    made = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    # The PatientID names the case, without what means something to a shell.
    ours = re.compile(r"deep/(out|pacs)/_reboot__20200102~[0-9a-f]{8}[_.a-z]+")
    assert all(name.startswith("in/case one/") or ours.fullmatch(name) for name in made)
    result = run("series", folder)
    assert "[bold red]x[/] <script>" in result.stdout
    assert "\x1b" not in result.output
