"""``--labels`` says the same in every command; without it another program's mask is refused with the option to give."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from flairseg.cli import app
from flairseg.cli.label_options import files_and_meanings, meanings_by_name
from flairseg.errors import FlairSegError, InvalidMappingError, UnsuitableMaskError
from flairseg.io.label_meanings import PRESETS
from flairseg.io.reader import read_volume
from flairseg.longitudinal.studies import StudyInput, load_study
from flairseg.report.gathering import Reading, from_files
from flairseg.study.images import read_arm, read_tool
from flairseg.study.protocol_reading import parse_protocol
from typer.testing import CliRunner

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
SHAPE = (64, 64, 20)


@pytest.fixture
def case(tmp_path):
    """An image, and a 0/1 lesion mask of one lesion of 1.2 ml, as another program writes it."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[20:30, 20:30, 8:12] = 1
    image = np.random.default_rng(0).random(SHAPE) * 100 + 100 * mask
    nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), tmp_path / "head.nii.gz")
    nib.save(nib.Nifti1Image(mask, AFFINE), tmp_path / "mask.nii.gz")
    return tmp_path


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400"})
    return result.exit_code, " ".join(result.output.split())


def test_lesions_refuses_a_mask_of_unknown_meaning_and_reads_a_stated_one(case):
    arguments = ("lesions", case / "mask.nii.gz", "-f", case / "head.nii.gz", "-o", case / "out", "--no-regions")
    code, text = run(*arguments)
    assert code == 2
    assert "holds 1 (400 voxels)" in text
    assert "--labels binary" in text
    assert not (case / "out").exists()
    for meaning in ("binary", "1=lesion", "lst"):
        code, text = run(*arguments, "--labels", meaning, "--overwrite")
        assert code == 0, text
        assert "1 lesion (" in text
        assert "1.20 ml" in text
    rows = list(csv.DictReader((case / "out" / "mask_lesions.csv").open(encoding="utf-8-sig")))
    assert len(rows) == 1
    code, text = run(*arguments, "--labels", "ventricles", "--overwrite")
    assert code == 2
    assert "no lesion class" in text
    code, text = run(*arguments, "--labels", "nonsense", "--overwrite")
    assert code == 2
    assert "VALUE=CLASS" in text


def test_a_study_of_a_follow_up_takes_a_stated_mask(case):
    volume = read_volume(case / "head.nii.gz")
    with pytest.raises(UnsuitableMaskError) as caught:
        load_study(StudyInput(volume, case / "mask.nii.gz"))
    assert caught.value.fields["suggestion"] == "binary"
    study = load_study(StudyInput(volume, case / "mask.nii.gz", PRESETS["binary"]))
    assert np.count_nonzero(study.labels == 3) == 400
    with pytest.raises(UnsuitableMaskError, match="no lesion class"):
        load_study(StudyInput(volume, case / "mask.nii.gz", PRESETS["ventricles"]))


def test_files_of_a_follow_up_and_their_meanings(case, monkeypatch):
    monkeypatch.chdir(case)
    files, meanings = files_and_meanings(["mask.nii.gz:1=lesion", "-", "mask.nii.gz"], "-")
    assert [f and f.name for f in files] == ["mask.nii.gz", None, "mask.nii.gz"]
    assert [m and m.name for m in meanings] == ["1=lesion", None, None]
    files, meanings = files_and_meanings(["mask.nii.gz", "mask.nii.gz:lst", "binary"], "-")
    assert [m.name for m in meanings] == ["binary", "lst"]
    files, meanings = files_and_meanings(["none.nii.gz"], "-")
    assert (files[0].name, meanings) == ("none.nii.gz", [None])
    with pytest.raises(InvalidMappingError):
        files_and_meanings(["mask.nii.gz:nonsense"], "-")


def test_meanings_of_methods():
    found = meanings_by_name(["binary", "b:samseg"], ["a", "b", "reference"], "reference")
    assert {name: mapping.name for name, mapping in found.items()} == {"a": "binary", "b": "samseg"}
    with pytest.raises(FlairSegError, match="no arm c"):
        meanings_by_name(["c:binary"], ["a"], what="arm")


def test_a_report_takes_a_stated_mask(case):
    with pytest.raises(UnsuitableMaskError):
        from_files(case / "mask.nii.gz", case / "head.nii.gz", how=Reading(regions=False))
    found = from_files(
        case / "mask.nii.gz", case / "head.nii.gz", how=Reading(regions=False, meaning=PRESETS["binary"])
    )
    assert len(found.rows) == 1
    assert found.rows[0].volume_ml == pytest.approx(1.2)


def test_an_arm_of_a_study_takes_a_stated_mask(case):
    arms = [{"id": "tool", "mask": "mask.nii.gz"}, {"id": "human", "mask": "mask.nii.gz", "labels": "binary"}]
    content = {
        "flairseg_study": 1, "id": "s", "version": "1", "title": "t",
        "cases": [{"id": "c", "flair": "head.nii.gz", "arms": arms}], "raters": [{"id": "R1", "seed": 1}],
        "questions": [{"id": "q", "text": "Good?", "type": "Yes_No"}],
    }  # fmt: skip
    protocol = parse_protocol(content)
    image = read_volume(case / "head.nii.gz")
    unnamed, stated = protocol.cases[0].arms
    with pytest.raises(FlairSegError, match="not stated"):
        read_arm(unnamed, case, image)
    assert np.count_nonzero(read_arm(stated, case, image) == 3) == 400
    content["cases"][0]["arms"][1]["labels"] = "nonsense"
    with pytest.raises(FlairSegError, match="labels"):
        parse_protocol(content)


def test_a_tool_s_mask_takes_a_stated_meaning(case):
    image = read_volume(case / "head.nii.gz")
    with pytest.raises(FlairSegError, match="not stated"):
        read_tool("mask.nii.gz", case, image)
    assert np.count_nonzero(read_tool("mask.nii.gz:binary", case, image) == 3) == 400
    assert np.count_nonzero(read_tool(f"{case / 'mask.nii.gz'}:1=lesion", case, image) == 3) == 400


def test_a_drafted_protocol_keeps_what_was_stated(case):
    (case / "images").mkdir()
    (case / "tool").mkdir()
    (case / "images" / "c1.nii.gz").write_bytes((case / "head.nii.gz").read_bytes())
    (case / "tool" / "c1.nii.gz").write_bytes((case / "mask.nii.gz").read_bytes())
    protocol = case / "protocol.json"
    arguments = (
        "study",
        "new",
        protocol,
        "--images",
        case / "images",
        "--arm",
        f"tool={case / 'tool'}",
        "--rater",
        "R1",
    )
    for meaning, expected in (("tool:1=lesion", {"classes": {"1": "lesion"}}), ("samseg", None), ("binary", None)):
        protocol.unlink(missing_ok=True)
        code, text = run(*arguments, "--labels", meaning)
        assert code == 0, text
        arm = json.loads(protocol.read_text())["cases"][0]["arms"][0]
        if expected:
            assert arm["classes"] == expected["classes"]
        elif meaning == "binary":
            assert arm["labels"] == "binary"
        else:
            assert arm["classes"]["99"] == "lesion"
            assert arm["classes"]["43"] == "ventricles"


def test_evaluate_says_which_option_a_refused_mask_needs(case):
    for name in ("ref", "pred"):
        (case / name).mkdir()
        (case / name / "c1.nii.gz").write_bytes((case / "mask.nii.gz").read_bytes())
    mask = nib.load(case / "mask.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj) * np.uint8(255), AFFINE), case / "pred" / "c1.nii.gz")
    arguments = ("evaluate", "--predictions", f"M={case / 'pred'}", "--references", case / "ref", "-o", case / "out")
    code, text = run(*arguments)
    assert code == 2
    assert "--labels M:binary" in text
    code, text = run(*arguments, "--labels", "binary", "--labels", "reference:binary")
    assert code == 0, text
    rows = {r["class"]: r for r in csv.DictReader((case / "out" / "cases.csv").open(encoding="utf-8-sig"))}
    assert float(rows["lesion"]["dice"]) == 1
