"""One name for a case in every command, results that belong to one input, pseudonyms of the case alone: end to end."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from flairseg.cli import app
from flairseg.image.volume import Volume
from typer.testing import CliRunner

from Testing.core.tiny import make_head, to_nifti


def run(*arguments) -> object:
    given = [str(a) for a in arguments]
    return CliRunner(env={"COLUMNS": "300", "NO_COLOR": "1"}).invoke(app, given)


@pytest.fixture
def segment(model):
    """``flairseg segment`` with the tiny model, without regions."""

    def call(*arguments):
        return run("segment", *arguments, "--model", model, "--device", "cpu", "--no-regions")

    return call


def summaries(folder) -> dict[str, dict]:
    return {p.name: json.loads(p.read_text()) for p in sorted(folder.glob("*_summary.json"))}


def test_the_shell_loop_over_subjects_loses_nobody(tmp_path, head, head_file, segment):
    out = tmp_path / "out"
    for subject in ("sub-01", "sub-02", "patient-x"):
        (tmp_path / subject).mkdir()
        shutil.copy(head_file, tmp_path / subject / "flair.nii.gz")
        result = segment(tmp_path / subject / "flair.nii.gz", "-o", out)
        assert result.exit_code == 0, result.output
    assert {name: s["case"] for name, s in summaries(out).items()} == {
        "patient-x_flair_summary.json": "patient-x_flair",
        "sub-01_summary.json": "sub-01",
        "sub-02_summary.json": "sub-02",
    }
    assert all((out / s["input"]).is_file() for s in summaries(out).values())


def test_overwrite_replaces_results_of_the_same_input_only(tmp_path, head, head_file, segment):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first = shutil.copy(head_file, tmp_path / "a" / "case1.nii.gz")
    other = to_nifti(type(head)(head.array * 1.01, head.ijk_to_ras), tmp_path / "b" / "case1.nii.gz")
    out = tmp_path / "out"
    assert segment(first, "-o", out).exit_code == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    refused = segment(other, "-o", out, "--overwrite")
    assert refused.exit_code == 2
    assert "belong to another input (../a/case1.nii.gz)" in refused.stderr
    assert "--name" in refused.stderr
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    # Under a name of its own it has its place; in one call the second of the name is refused.
    assert segment(other, "-o", out, "--name", "case1-b").exit_code == 0
    both = segment(first, other, "-o", tmp_path / "two")
    assert both.exit_code == 2
    assert "is called case1, as" in both.stderr
    assert list(summaries(tmp_path / "two")) == ["case1_summary.json"]
    # The same image from another place, and the same file with new content, are the same input.
    (tmp_path / "moved").mkdir()
    moved = shutil.copy(first, tmp_path / "moved" / "case1.nii.gz")
    assert segment(moved, "-o", out, "--overwrite").exit_code == 0
    shutil.copy(other, moved)
    assert segment(moved, "-o", out, "--overwrite").exit_code == 0


def test_names_that_differ_in_case_only_share_no_files(tmp_path, head_file, segment):
    for folder, name in (("a", "Case1"), ("b", "case1")):
        (tmp_path / folder).mkdir()
        shutil.copy(head_file, tmp_path / folder / f"{name}.nii.gz")
    out = tmp_path / "out"
    assert segment(tmp_path / "a" / "Case1.nii.gz", "-o", out).exit_code == 0
    refused = segment(tmp_path / "b" / "case1.nii.gz", "-o", out)
    assert refused.exit_code == 2
    assert "exist already" in refused.stderr


def test_pseudonyms_depend_on_the_case_and_the_key_alone(tmp_path, head, head_file, segment):
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    one = shutil.copy(head_file, tmp_path / "a" / "flair.nii.gz")
    two = shutil.copy(head_file, tmp_path / "b" / "flair.nii.gz")
    key = ("--pseudonymise", "--pseudonym-key", tmp_path / "key")
    assert segment(one, two, "-o", tmp_path / "together", *key).exit_code == 0
    assert segment(two, "-o", tmp_path / "alone", *key).exit_code == 0
    together, alone = summaries(tmp_path / "together"), summaries(tmp_path / "alone")
    assert len(together) == 2
    assert set(alone) < set(together)
    (name,) = alone
    # The digest is keyed: who has the image cannot look it up.
    from flairseg.files.same_input import fingerprint
    from flairseg.io.reader import read_volume

    assert alone[name]["input_sha256"] == together[name]["input_sha256"] != fingerprint(read_volume(two))
    assert segment(two, "-o", tmp_path / "alone", *key, "--overwrite").exit_code == 0
    changed = to_nifti(type(head)(head.array * 1.01, head.ijk_to_ras), tmp_path / "b" / "flair.nii.gz")
    refused = segment(changed, "-o", tmp_path / "alone", *key, "--overwrite")
    assert refused.exit_code == 2
    assert "another input" in refused.stderr


def test_names_in_series_descriptions_reach_no_pseudonymised_output(tmp_path, segment):
    pytest.importorskip("pydicom")
    from Testing.core.dicom_series import Study, write_series

    def whole(contrast: str = "flair") -> Volume:
        volume = make_head(contrast=contrast)[0]
        return Volume(np.clip(volume.array, 0, None), volume.ijk_to_ras, "head")

    study = Study("Doemeier^Janine", "SECRET-77")

    def described(words):
        def alter(data, _k):
            data.SeriesDescription = data.ProtocolName = words

        return alter

    folder = tmp_path / "exam"
    write_series(whole(), folder / "1", "siemens", "flair", study, 1, change=described("t2_flair Roe Richard 19800131"))
    write_series(whole("t1"), folder / "2", "siemens", "t1", study, 2, change=described("T1 for Dr Poe"))
    result = segment(folder, "-o", tmp_path / "out", "--pseudonymise")
    assert result.exit_code == 0, result.output
    written = b"".join(p.read_bytes() for p in (tmp_path / "out").glob("*.json")) + result.output.encode()
    for secret in (b"Roe", b"Richard", b"19800131", b"Poe", b"Doemeier", b"SECRET", b"exam"):
        assert secret not in written, secret
    assert b"t2_flair" in written
    # A refusal lists the series, and names nobody either.
    shutil.rmtree(folder / "1")
    write_series(whole("t1"), folder / "3", "siemens", "t1", study, 3, change=described("T1 Poe^Edgar"))
    refused = segment(folder, "-o", tmp_path / "two", "--pseudonymise")
    assert refused.exit_code == 2
    assert not [s for s in ("Poe", "Doemeier", "SECRET", "exam") if s in refused.output]


def test_lesions_and_report_have_the_cases_name(tmp_path, head_file, segment):
    (tmp_path / "p1").mkdir()
    flair = shutil.copy(head_file, tmp_path / "p1" / "flair.nii.gz")
    # Results in the input's own folder keep its short name; the case keeps its own.
    assert segment(flair, "-o", tmp_path / "p1" / "results").exit_code == 0
    (name,) = summaries(tmp_path / "p1" / "results")
    assert name == "flair_summary.json"
    assert summaries(tmp_path / "p1" / "results")[name]["case"] == "p1_flair"
    labels = tmp_path / "p1" / "results" / "flair_labels.nii.gz"
    result = run("lesions", labels, "--flair", flair, "-o", tmp_path / "out", "--no-regions")
    assert result.exit_code == 0, result.output
    assert "p1_flair:" in result.stdout
    content = json.loads((tmp_path / "out" / "p1_flair_lesions.json").read_text())
    # Files of several cases can be put together: each row says whose it is.
    for table in (tmp_path / "out" / "p1_flair_lesions.csv", tmp_path / "p1" / "results" / "flair_lesions.csv"):
        rows = list(csv.DictReader(table.open(encoding="utf-8")))
        assert rows
        assert {row["case"] for row in rows} == {"p1_flair"}, table
    assert (content["case"], content["input"]) == ("p1_flair", "../p1/results/flair_labels.nii.gz")
    other = tmp_path / "p1_flair_labels.nii.gz"
    import nibabel as nib

    image = nib.load(labels)
    nib.save(nib.Nifti1Image(np.where(np.asarray(image.dataobj) == 1, 3, 0).astype(np.uint8), image.affine), other)
    again = run("lesions", other, "--flair", flair, "-o", tmp_path / "out", "--no-regions", "--overwrite")
    assert again.exit_code == 2
    assert "another input" in again.stderr


def test_a_label_map_that_is_not_there_is_told(tmp_path, head_file):
    result = run("lesions", tmp_path / "gone.nii.gz", "--flair", head_file, "-o", tmp_path / "out", "--no-regions")
    assert result.exit_code == 2
    assert "There is no file" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["no common case", "two masks", "twice in a table", "two references in a table"])
def test_an_evaluation_that_is_refused_names_nobody(tmp_path, head_file, fault):
    """Names of files are not known to the pseudonymiser before the cases are matched."""
    (tmp_path / "key").write_text("a secret of more than thirty-two letters", encoding="utf-8")
    rows = []
    for folder, name in (("pred", "Doemeier_A_labels"), ("ref", "Doemeier_A"), ("ref", "Doemeier_B")):
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(head_file, tmp_path / folder / f"{name}.nii.gz")
    rows = [("Doemeier_A", "pred/Doemeier_A_labels.nii.gz", f"ref/Doemeier_{x}.nii.gz") for x in "AB"]
    given = ["--predictions", f"M={tmp_path / 'pred'}", "--references", tmp_path / "ref"]
    if fault == "no common case":
        (tmp_path / "pred" / "Doemeier_A_labels.nii.gz").rename(tmp_path / "pred" / "Roemer_Jo.nii.gz")
    elif fault == "two masks":
        shutil.copy(head_file, tmp_path / "ref" / "Doemeier_A.nii")
    else:
        second = rows[0] if fault == "twice in a table" else (*rows[1], "N")
        table = (("case", "prediction", "reference", "method"), (*rows[0], ""), second)
        text = "\n".join(map(",".join, table))
        (tmp_path / "cases.csv").write_text(text, encoding="utf-8")
        given = ["--manifest", tmp_path / "cases.csv"]
    key = ("--pseudonymise", "--pseudonym-key", tmp_path / "key")
    plain = run("evaluate", *given, "-o", tmp_path / "out")
    assert (plain.exit_code, "Doemeier" in plain.stderr) == (2, True), plain.output
    refused = run("evaluate", *given, "-o", tmp_path / "out", *key)
    assert refused.exit_code == 2
    assert "case-" in refused.stderr
    assert [name for name in ("doemeier", "roemer") if name in refused.output.lower()] == []


def test_a_report_s_warnings_name_the_case_and_its_one_pseudonym(tmp_path, head, segment):
    (tmp_path / "Karlsson").mkdir()
    flair = to_nifti(head, tmp_path / "Karlsson" / "flair.nii.gz", sform=0, qform=0)
    assert segment(flair, "-o", tmp_path / "out").exit_code == 0
    summary = tmp_path / "out" / "Karlsson_flair_summary.json"
    result = run("report", summary, "-o", tmp_path / "report", "--html", "--no-regions")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, "Karlsson_flair")
    assert "Warning (Karlsson_flair): The header does not state the image's orientation" in result.stderr
    key = ("--pseudonymise", "--pseudonym-key", tmp_path / "key", "--pseudonym-map", tmp_path / "map.json")
    result = run("report", summary, "-o", tmp_path / "moved", "--html", "--no-regions", *key)
    assert result.exit_code == 0, result.output
    (page,) = (tmp_path / "moved").iterdir()
    pseudonym = page.name.removesuffix("_report.html")
    assert f"Warning ({pseudonym}): The header does not state the image's orientation" in result.stderr
    assert "Karlsson" not in result.output
    # The map has one entry for the case, and segment gives it the same pseudonym.
    assert json.loads((tmp_path / "map.json").read_text())["names"]["case"] == {"Karlsson_flair": pseudonym}
    assert segment(flair, "-o", tmp_path / "again", *key).exit_code == 0
    assert (tmp_path / "again" / f"{pseudonym}_summary.json").is_file()
