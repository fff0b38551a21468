"""Arguments that contradict each other or the inputs: refused before any work, with what is wrong with which."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from flairseg.cli import app
from flairseg.files.atomic import results_exist
from typer.testing import CliRunner

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def refused(*arguments: object) -> str:
    """What a call says that is refused."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400"})
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A smooth image with thousands of grey levels."""
    rows, columns, slices = np.ogrid[:40, :40, :8]
    array = 500 + 40 * rows + 7 * columns + slices
    nib.save(nib.Nifti1Image(array.astype(np.int16), AFFINE), tmp_path / "flair.nii.gz")
    return tmp_path / "flair.nii.gz"


@pytest.mark.parametrize(
    "arguments",
    [("segment", "", "-o", "out"), ("segment", "flair.nii.gz", "-o", ""), ("segment", "flair.nii.gz", "--output="),
     ("cohort", "", "-o", "out"), ("series", ""), ("study", "check", ""), ("adapt", "", "-o", "out"),
     ("follow", "flair.nii.gz", "", "-o", "out"), ("lesions", "a.nii.gz", "--flair", "", "-o", "out")],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_argument_is_not_the_current_folder(tmp_path, image, monkeypatch, arguments):
    """``flairseg segment "$SCAN"`` with a misspelt variable segmented whatever was in the folder."""
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert "is empty: a variable of the shell that is not set?" in refused(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_seed_is_refused_as_an_option_and_no_defect(tmp_path):
    said = refused("phantom", "--output", tmp_path / "out", "--seed", 2**32)
    assert "--seed" in said
    assert "defect" not in said
    assert not (tmp_path / "out").exists()


def test_one_file_exists_and_several_exist():
    assert str(results_exist("A model", Path("card.json"))).startswith("A model exists already: card.json.")
    assert str(results_exist("Reports", Path("a.pdf"))).startswith("Reports exist already: a.pdf.")


def test_a_report_of_the_image_itself_is_told_what_it_needs(tmp_path, image):
    """It asked for the FLAIR that the FLAIR was made from, to be named with --flair."""
    said = refused("report", image, "--output", tmp_path / "out")
    assert "it is an image, not a label map" in said
    assert "_summary.json" in said
    assert "--flair" not in said


def test_a_follow_up_names_what_is_missing_alone(tmp_path, image):
    studies = ("follow", image, image, "--output", tmp_path / "out")
    said = refused(*studies, "--date", "2020-01-01")
    assert "There are 2 studies, but 1 date." in said
    assert "label map" not in said
    said = refused(*studies, "--labels", image)
    assert "There are 2 studies, but 1 label map." in said
    assert "date" not in said


@pytest.mark.parametrize("date", ["31.12.2020", "2020-13-01", "2020-02-30", "yesterday"])
def test_dates_are_dates(tmp_path, image, date):
    assert f"'{date}' is not a date" in refused("follow", image, image, "-o", tmp_path, "--date", date, "--date", "-")
    assert f"'{date}' is not a date" in refused("report", image, "-o", tmp_path / "out", "--study-date", date)
    assert not (tmp_path / "out").exists()


def test_one_action_on_models_at_a_time():
    assert "--use and --rollback" in refused("models", "--use", "flairseg2d-v1.0", "--rollback")
    assert "--remove and --export" in refused("models", "--remove", "a-v1.0", "--export", "a-v1.0")


def test_an_image_in_place_of_a_label_map_is_called_one(tmp_path, image):
    """It had been asked for the meaning of its 2,000 values."""
    said = refused("lesions", image, "--flair", image, "-o", tmp_path / "out")
    assert "it is an image, not a label map" in said
    numbers = np.zeros((40, 40, 8), np.int16)
    numbers[::2, ::2, ::2] = np.arange(20 * 20 * 4).reshape(20, 20, 4)
    nib.save(nib.Nifti1Image(numbers, AFFINE), tmp_path / "components.nii.gz")
    assert "their meaning is not stated" in refused(
        "lesions", tmp_path / "components.nii.gz", "--flair", image, "-o", tmp_path / "out"
    )
