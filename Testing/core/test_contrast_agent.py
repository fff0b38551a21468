"""Contrast agent that a header, a BIDS name or a sidecar tells of is told; nothing is made of "none"."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import pytest
from flairseg.cohort.image_quality import measure
from flairseg.dicom.read import read_plainly
from flairseg.files.contrast_agent import agent_given
from flairseg.io.reader import read_volume

from Testing.core.dicom_series import write_series
from Testing.core.tiny import make_head


def codes(volume) -> list[str]:
    return [warning.code for warning in volume.warnings if warning.code == "contrast-agent"]


@pytest.mark.parametrize(
    ("name", "sidecar", "expected"),
    [
        ("sub-01_FLAIR", None, []),
        ("sub-01_FLAIR", {"ContrastBolusIngredient": "GADOLINIUM"}, ["contrast-agent"]),
        ("sub-01_FLAIR", {"ContrastBolusIngredient": "None"}, []),
        ("sub-01_FLAIR", {"ContrastBolusIngredient": None}, []),
        ("sub-01_FLAIR", ["no object"], []),
        ("sub-01_ce-gadolinium_FLAIR", None, ["contrast-agent"]),
        ("sub-01_ce-none_FLAIR", {"ContrastBolusIngredient": "GADOLINIUM"}, []),
        ("sub-01_space-x_FLAIR", None, []),
    ],
)
def test_what_a_name_or_a_sidecar_says(tmp_path, name, sidecar, expected):
    head, _ = make_head()
    path = tmp_path / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(head.array.T, head.ijk_to_ras), path)
    if sidecar is not None:
        (tmp_path / f"{name}.json").write_text(json.dumps(sidecar))
    assert codes(read_volume(path)) == expected


@pytest.mark.parametrize(("said", "expected"), [("Gadovist", ["contrast-agent"]), ("NONE", []), (None, [])])
@pytest.mark.parametrize("without", [False, True])
def test_what_dicom_says_with_and_without_pydicom(tmp_path, monkeypatch, said, expected, without):
    head, _ = make_head()

    def change(data, _k):
        if said is not None:
            data.ContrastBolusAgent = said

    write_series(head, tmp_path / "series", change=change)
    if without:
        monkeypatch.setattr("flairseg.dicom.read.has_pydicom", lambda: False)
    assert codes(read_plainly(tmp_path / "series")) == expected


def test_a_cohort_marks_it():
    head, _ = make_head()
    figures, _, beyond = measure(head)
    assert (figures["contrast_agent"], "contrast_agent" in beyond) == (0.0, False)
    figures, _, beyond = measure(replace(head, warnings=(agent_given("The series"),)))
    assert (figures["contrast_agent"], "contrast_agent" in beyond) == (1.0, True)
