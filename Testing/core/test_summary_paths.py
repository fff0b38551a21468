"""``input`` of a summary: found again from any working directory and after a move, and never another image."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from flairseg.files.nifti import write_nifti
from flairseg.files.summary_paths import absolute_source, find_input, grid_of, input_for_summary
from flairseg.image.volume import Volume
from flairseg.study.queue import work_list

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
GRID = {"shape_kji": [3, 4, 5], "ijk_to_ras": AFFINE.tolist()}


def image(path: Path, affine=AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((3, 4, 5), np.int16)
    write_nifti(path, array, Volume(array, affine), np.int16)
    return path


@pytest.mark.parametrize(
    ("source", "folder", "written"),
    [
        ("/d/study/p1/flair.nii.gz", "/d/study/results", "../p1/flair.nii.gz"),
        ("/d/study/flair.nii.gz", "/d/study", "flair.nii.gz"),
        ("/a/flair.nii.gz", "/b/results", "/a/flair.nii.gz"),
        ("FLAIR phantom", "/b/results", "FLAIR phantom"),
        ("case-3f2a", "/b", "case-3f2a"),
    ],
)
def test_relative_below_a_common_folder_else_as_it_is(source, folder, written):
    assert input_for_summary(source, folder) == written


def test_a_linked_output_folder_does_not_lead_astray(tmp_path):
    flair = image(tmp_path / "data" / "flair.nii.gz")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "deep" / "er", target_is_directory=True)
    named = input_for_summary(str(flair), tmp_path / "out")
    assert find_input(named, tmp_path / "out", grid_of(GRID)).samefile(flair)
    assert find_input(named, tmp_path / "deep" / "er", grid_of(GRID)).samefile(flair)


def test_a_linked_image_keeps_its_name(tmp_path):
    stored = image(tmp_path / "annex" / "ab12")
    (tmp_path / "bids").mkdir()
    (tmp_path / "bids" / "sub-1_FLAIR.nii.gz").symlink_to(stored)
    assert input_for_summary(str(tmp_path / "bids" / "sub-1_FLAIR.nii.gz"), tmp_path) == "bids/sub-1_FLAIR.nii.gz"


def test_typed_from_elsewhere_as_earlier_versions_wrote_it(tmp_path, monkeypatch):
    flair = image(tmp_path / "study" / "rel" / "flair.nii.gz")
    results = tmp_path / "study" / "out"
    results.mkdir()
    monkeypatch.chdir("/")
    assert find_input("rel/flair.nii.gz", results, grid_of(GRID)) == flair.resolve()
    monkeypatch.chdir(flair.parent)
    assert find_input("./flair.nii.gz", results, grid_of(GRID)) == flair.resolve()
    assert find_input("/gone/flair.nii.gz", results, grid_of(GRID)) is None
    beside = image(results / "flair.nii.gz")
    assert find_input("/gone/flair.nii.gz", results, grid_of(GRID)) == beside.resolve()
    assert find_input("C:\\gone\\flair.nii.gz", results, grid_of(GRID)) == beside.resolve()


def test_another_patients_image_of_the_same_name_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moved = AFFINE.copy()
    moved[2, 3] = 7.0
    image(tmp_path / "flair.nii.gz", moved)
    right = image(tmp_path / "other" / "flair.nii.gz")
    (tmp_path / "out").mkdir()
    assert find_input("flair.nii.gz", tmp_path / "out", grid_of(GRID)) is None
    assert find_input("flair.nii.gz", tmp_path / "out", grid_of({**GRID, "ijk_to_ras": moved.tolist()})) is not None
    assert find_input("../other/flair.nii.gz", tmp_path / "out", grid_of({**GRID, "shape_kji": [3, 4, 6]})) is None
    assert find_input("../other/flair.nii.gz", tmp_path / "out", grid_of(GRID)) == right.resolve()


@pytest.mark.parametrize("case", ["sform-moved", "metres", "nrrd-in-cm"])
def test_the_image_is_recognised_by_the_placement_that_it_was_read_with(tmp_path, case):
    """The summary holds the rule's grid: the sform of two placements, and mm; ITK's own reading is another."""
    import nibabel
    from flairseg.io.reader import read_components

    path = tmp_path / f"flair{'.nrrd' if 'nrrd' in case else '.nii.gz'}"
    array = np.zeros((24, 24, 20), np.int16)
    if case == "nrrd-in-cm":
        import nrrd

        directions = np.diag([-0.1, -0.1, 0.3])
        nrrd.write(str(path), array, {"space": "right-anterior-superior", "space directions": directions,
                                      "space origin": [1.0, 2.0, 3.0], "space units": ["cm"] * 3})  # fmt: skip
    else:
        scanner = np.diag([-1.0, -1.0, 3.0, 1.0]) if case == "sform-moved" else np.diag([-1e-3, -1e-3, 3e-3, 1])
        moved = scanner.copy()
        turn = np.radians(12)
        moved[:2, :2] = scanner[:2, :2] @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        moved[:3, 3] = (9, -7, 4) if case == "sform-moved" else 0
        made = nibabel.Nifti1Image(array, scanner)
        made.set_sform(moved if case == "sform-moved" else scanner, 2)
        made.set_qform(scanner, 1)
        made.header.set_xyzt_units("mm" if case == "sform-moved" else "meter")
        nibabel.save(made, path)
    read, _ = read_components(path)
    grid = {"shape_kji": list(read.array.shape), "ijk_to_ras": read.ijk_to_ras.tolist()}
    assert find_input("flair" + path.name[5:], tmp_path, grid_of(grid)) == path
    grid["ijk_to_ras"][0][3] += 30
    assert find_input("flair" + path.name[5:], tmp_path, grid_of(grid)) is None


def test_nothing_named_and_odd_names_are_not_found(tmp_path):
    for named in ("", "  ", "\0", "x" * 5000, ".", ".."):
        found = find_input(named, tmp_path, grid_of(GRID))
        assert found is None or found.is_dir()


def test_results_are_opened_from_any_folder_and_after_a_move(tmp_path, monkeypatch):
    flair = image(tmp_path / "study" / "p1" / "flair.nii.gz")
    results = tmp_path / "study" / "results"
    results.mkdir()
    summary = {"case": "p1", "input": "", "lesion_count": 0, "grid": GRID, "volumes_ml": {}}
    monkeypatch.chdir(flair.parent)
    summary["input"] = input_for_summary(absolute_source("flair.nii.gz"), results)
    (results / "flair_summary.json").write_text(json.dumps(summary))
    write_nifti(results / "flair_labels.nii.gz", np.zeros((3, 4, 5), np.uint8), Volume(np.zeros((3, 4, 5)), AFFINE))
    monkeypatch.chdir("/")
    assert [(item.problem, item.flair) for item in work_list(results)] == [("", flair.resolve())]
    os.rename(tmp_path / "study", tmp_path / "moved")
    (item,) = work_list(tmp_path / "moved" / "results")
    assert item.problem == ""
    assert item.flair.is_file()
    item.flair.unlink()
    (item,) = work_list(tmp_path / "moved" / "results")
    assert "is missing" in item.problem
    assert "flair.nii.gz" in item.problem
