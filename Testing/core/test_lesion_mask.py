"""The lesion mask of ``flairseg segment``: the lesions alone, 0 and 1, by its BIDS name where the input has one."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from flairseg.cli import app
from flairseg.errors import OutputError
from flairseg.io.label_maps import read_label_map
from flairseg.labels import LESION
from flairseg.segmentation.writing import file_names, write_segmentation
from typer.testing import CliRunner


def test_the_mask_holds_the_lesions_and_nothing_else(segmentation, tmp_path):
    written = write_segmentation(segmentation, tmp_path, "case", lesion_mask=True)
    assert written["lesion_mask"].name == "case_lesion_mask.nii.gz"
    image = nib.load(written["lesion_mask"])
    expected = (segmentation.labels == LESION).T
    assert expected.any()
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(image.dataobj), expected)
    np.testing.assert_array_equal(image.affine, nib.load(written["labels"]).affine)
    # It is read as what it is, though its value is 1.
    found = read_label_map(written["lesion_mask"], segmentation.volume.geometry)
    assert np.array_equal(found.labels, LESION * expected.T)
    assert found.warnings == ()


def test_it_is_written_on_request_and_kept_like_the_other_files(segmentation, tmp_path):
    write_segmentation(segmentation, tmp_path, "case")
    assert not (tmp_path / "case_lesion_mask.nii.gz").exists()
    write_segmentation(segmentation, tmp_path, "case", overwrite=True, lesion_mask=True)
    assert (tmp_path / "case_lesion_mask.nii.gz").exists()
    write_segmentation(segmentation, tmp_path, "case", overwrite=True)
    assert not (tmp_path / "case_lesion_mask.nii.gz").exists()
    (tmp_path / "other_lesion_mask.nii.gz").touch()
    with pytest.raises(OutputError, match="other_lesion_mask"):
        write_segmentation(segmentation, tmp_path, "other")


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("case", "case_lesion_mask.nii.gz"),
        ("sub-01_ses-2", "sub-01_ses-2_desc-lesion_mask.nii.gz"),
        ("sub-01_ses-2_acq-3D_run-1_FLAIR", "sub-01_ses-2_acq-3D_run-1_desc-lesion_mask.nii.gz"),
        ("sub-01", "sub-01_desc-lesion_mask.nii.gz"),
        ("sub-01_FLAIR_old", "sub-01_FLAIR_old_lesion_mask.nii.gz"),
        ("my_sub-01", "my_sub-01_lesion_mask.nii.gz"),
    ],
)
def test_bids_names_come_from_bids_names(stem, expected):
    assert file_names(stem)["lesion_mask"] == expected


def test_one_of_an_earlier_version_does_not_stay_beside_new_results(segmentation, tmp_path):
    former = tmp_path / "case_lesions.nii.gz"
    write_segmentation(segmentation, tmp_path, "case", lesion_mask=True)["lesion_mask"].rename(former)
    write_segmentation(segmentation, tmp_path, "case", overwrite=True, lesion_mask=True)
    assert not former.exists()
    assert (tmp_path / "case_lesion_mask.nii.gz").exists()
    (tmp_path / "other_lesions.nii.gz").touch()
    with pytest.raises(OutputError, match="other_lesions"):
        write_segmentation(segmentation, tmp_path, "other")


def test_results_without_the_mask_are_done_unless_it_is_asked_for(head_file, model, tmp_path):
    arguments = ["segment", str(head_file), "-o", str(tmp_path), "-m", str(model), "--no-regions"]
    assert CliRunner().invoke(app, [*arguments, "--no-lesion-mask"]).exit_code == 0
    assert not list(tmp_path.glob("*mask*"))
    again = CliRunner().invoke(app, arguments)
    assert (again.exit_code, "1 already done" in again.stderr) == (0, True)
    assert CliRunner().invoke(app, [*arguments, "--lesion-mask"]).exit_code == 2


def test_the_command_writes_it_without_being_asked(head_file, model, tmp_path):
    """Other programs count every value of a label map as lesion: the file that they need is always there."""
    result = CliRunner().invoke(app, ["segment", str(head_file), "-o", str(tmp_path), "-m", str(model), "--no-regions"])
    assert result.exit_code == 0, result.output
    (mask,) = tmp_path.glob("*_lesion_mask.nii.gz")
    labels = np.asarray(nib.load(next(tmp_path.glob("*_labels.nii.gz"))).dataobj)
    assert np.array_equal(np.asarray(nib.load(mask).dataobj), labels == LESION)


def test_who_asks_for_it_also_finds_it_under_its_former_name(head_file, model, segmentation, tmp_path):
    arguments = ["segment", str(head_file), "-o", str(tmp_path), "-m", str(model), "--no-regions", "--lesion-mask"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (mask,), (former,) = tmp_path.glob("*_lesion_mask.nii.gz"), tmp_path.glob("*_lesions.nii.gz")
    assert former.name == mask.name.replace("_lesion_mask", "_lesions")
    assert np.array_equal(np.asarray(nib.load(mask).dataobj), np.asarray(nib.load(former).dataobj))
    again = CliRunner().invoke(app, arguments)
    assert (again.exit_code, "1 already done" in again.stderr) == (0, True)
    written = write_segmentation(segmentation, tmp_path, "sub-01", lesion_mask=True, former_mask=True)
    assert [p.name for p in tmp_path.glob("sub-01*mask*")] == [written["lesion_mask"].name]
    assert not (tmp_path / "sub-01_lesions.nii.gz").exists()


def test_an_evaluation_of_results_takes_the_label_map(segmentation, tmp_path):
    from flairseg.evaluation.inputs import match_folders

    written = write_segmentation(segmentation, tmp_path / "ours", "sub-01", lesion_mask=True)
    write_segmentation(segmentation, tmp_path / "ours", "case", lesion_mask=True)
    (tmp_path / "truth").mkdir()
    for name in ("sub-01", "case"):
        (tmp_path / "truth" / f"{name}.nii.gz").write_bytes(written["labels"].read_bytes())
    cases, told = match_folders({"FlairSeg": tmp_path / "ours"}, tmp_path / "truth")
    assert [case.prediction.name for case in cases] == ["case_labels.nii.gz", "sub-01_labels.nii.gz"]
    assert told == []
