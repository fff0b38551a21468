"""A model that knows lesions alone: what it never looks for is "not assessed" for every reader, and never 0 ml."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from flairseg.cli.app import app
from flairseg.io.label_maps import read_label_map
from flairseg.io.label_meanings import parse_meaning
from flairseg.labels import CLASS_BY_VALUE, LESION, NORMAL_WMH, VENTRICLES
from flairseg.longitudinal import StudyInput, follow
from flairseg.longitudinal.studies import load_study
from flairseg.models import load_card
from flairseg.report import CaseReport
from flairseg.report.content import content_of
from flairseg.report.gathering import from_segmentation
from flairseg.report.summary import Summary
from flairseg.report.texts import load_texts
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.writing import write_segmentation
from typer.testing import CliRunner

from Testing.core.test_report import Page
from Testing.core.tiny import LESION_ONLY, make_head, make_model, to_nifti

UNKNOWN = {CLASS_BY_VALUE[value].id for value in (VENTRICLES, NORMAL_WMH)}


@pytest.fixture
def eager(tmp_path):
    return make_model(tmp_path, "eager-v1.0", {**LESION_ONLY, "input_slices": 1}, classes=(3,), lesion_bias=1.5)


def test_volumes_of_classes_that_a_model_does_not_know_are_null(eager):
    found = segment(make_head()[0], load_card(eager), device="cpu")
    volumes = found.summary()["volumes_ml"]
    assert {name for name, ml in volumes.items() if ml is None} == UNKNOWN
    assert volumes["lesion"] == pytest.approx(found.volumes_ml()[LESION], abs=1e-4)
    assert volumes["lesion"] > 0
    assert Summary.from_json(found.summary()).describes(found.labels, found.volume, found.lesion_count)
    drawn = found.labels.copy()
    drawn[0, :5, :5] = VENTRICLES
    assert not Summary.from_json(found.summary()).describes(drawn, found.volume, found.lesion_count)
    assert replace(found, labels=drawn).summary()["volumes_ml"]["ventricles"] > 0, "a reader drew them"


def test_a_reader_is_told_so(eager, tmp_path):
    head = to_nifti(make_head()[0], tmp_path / "head.nii.gz")
    out = tmp_path / "out"
    arguments = ["segment", str(head), "--model", str(eager), "--output", str(out), "--no-regions"]
    said = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert said.exit_code == 0, said.output
    row = next(line for line in said.output.splitlines() if "_head " in line)
    cells = row.split()
    assert cells[1:3] == ["-", "-"]
    assert float(cells[3]) > 0
    assert json.loads((out / "head_summary.json").read_text())["volumes_ml"]["ventricles"] is None


def test_its_files_say_so_to_whatever_reads_them(eager, tmp_path):
    """Sessions of a cohort are compared by their label maps: 0 ml of ventricles had become 0 ml, a change of 0.0."""
    head, _ = make_head()
    image = to_nifti(head, tmp_path / "head.nii.gz")
    files = write_segmentation(segment(head, load_card(eager), device="cpu"), tmp_path / "out", "head")
    found = read_label_map(files["labels"])
    assert (found.classes, found.warnings) == ({LESION}, ())
    assert read_label_map(files["segmentation"]).classes == {LESION}
    study = load_study(StudyInput(image, files["labels"]))
    assert (study.volume_ml(VENTRICLES, 0), study.volume_ml(LESION, 0)) == (None, 0.0)
    shutil.rmtree(eager)
    for given in (files["summary"], files["labels"]):
        rows = {row[0]: row[1:] for row in Page(CaseReport.from_files(given, image, regions=False).html()).rows if row}
        assert rows["Ventricles"][0] == "not assessed"
        assert float(rows["Lesions (abnormal WMH)"][0]) > 0


def test_the_report_says_not_assessed(eager):
    found = segment(make_head()[0], load_card(eager), device="cpu")
    rows = {row[0]: row[1:] for row in Page(CaseReport.from_segmentation(found, regions=False).html()).rows if row}
    assert rows["Ventricles"][0] == rows["Normal periventricular WMH"][0] == "not assessed"
    assert float(rows["Lesions (abnormal WMH)"][0]) > 0
    legend = content_of(from_segmentation(found, regions=False), load_texts()).legend
    assert [name for name, _ in legend] == ["Lesions (abnormal WMH)"], "an outline that is not there was not looked for"


def test_a_follow_up_compares_no_ventricles_that_nobody_looked_for(eager):
    card = load_card(eager)
    first, last = (make_head()[0] for _ in range(2))
    studies = follow([first, last], model=card).summary()
    assert all({n for n, ml in study["volumes_ml"].items() if ml is None} == UNKNOWN for study in studies["studies"])
    assert studies["ventricles"]["change_percent"] is None


@pytest.fixture
def masked(tmp_path):
    """A head, its whole label map, and another program's mask of its lesions alone."""
    head, truth = make_head()[:2]
    image = to_nifti(head, tmp_path / "head.nii.gz")
    return image, truth, to_nifti(head.with_array((truth == LESION).astype("uint8")), tmp_path / "mask.nii.gz")


def test_a_mask_of_lesions_alone_has_no_ventricles_that_could_have_shrunk(masked):
    image, truth, mask = masked
    given = [StudyInput(image, truth), StudyInput(image, mask, parse_meaning("binary"))]
    found = follow(given).summary()
    assert found["studies"][0]["volumes_ml"]["ventricles"] > 0
    assert {n for n, ml in found["studies"][1]["volumes_ml"].items() if ml is None} == UNKNOWN
    assert found["ventricles"]["volumes_ml"][1] is found["ventricles"]["change_ml"] is None
    assert found["ventricles"]["change_percent"] is None
    assert not found["ventricles"]["beyond_noise"]


def test_the_report_of_a_mask_says_not_assessed(masked):
    image, _, mask = masked
    report = CaseReport.from_files(mask, flair=image, regions=False, meaning=parse_meaning("binary"))
    rows = {row[0]: row[1:] for row in Page(report.html()).rows if row}
    assert rows["Ventricles"][0] == rows["Normal periventricular WMH"][0] == "not assessed"
    assert float(rows["Lesions (abnormal WMH)"][0]) > 0
    assert "What made this label map is not recorded" in report.html()
    assert not [said for said in ("neural network assigns", "automatic result") if said in report.html()]
