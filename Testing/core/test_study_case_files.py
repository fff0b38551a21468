"""A case's files on one grid: which labels are the model's, which the reader's, and on which voxels they lie."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flairseg.errors import FlairSegError
from flairseg.files.nifti import write_nifti
from flairseg.image.volume import Volume
from flairseg.labels import LESION
from flairseg.models.lesion_confidence import LesionConfidence
from flairseg.review.cases import ACCEPTED_AFTER_EDITS, CaseArchive, Verdict
from flairseg.study.case_files import SceneGrid, read_case
from flairseg.study.queue import work_list

SHAPE = (6, 24, 20)
RIGHT_HANDED = np.array([[-2.0, 0, 0, 20], [0, -2, 0, 25], [0, 0, 5, -10], [0, 0, 0, 1]])
LEFT_HANDED = RIGHT_HANDED @ np.diag([-1.0, 1, 1, 1])


def labels_with(*places) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    for k, j, i in places:
        labels[k, j, i] = LESION
    return labels


A, B = (1, 5, 3), (4, 9, 16)


def write_case(folder, affine=RIGHT_HANDED, name="p1", probabilities=True):
    """The files of ``flairseg segment``: the image counts its voxels, so that none can pass for another."""
    folder.mkdir(exist_ok=True)
    image = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) + 1
    grid = Volume(image, affine)
    write_nifti(folder / f"{name}.nii.gz", image, grid, np.int16)
    write_nifti(folder / f"{name}_labels.nii.gz", labels_with(A), grid)
    if probabilities:
        stack = np.zeros((4, *SHAPE), np.float32)
        stack[LESION] = 0.8 * (labels_with(A) == LESION)
        stack[0] = 1 - stack[LESION]
        write_nifti(folder / f"{name}_probabilities.nii.gz", stack, grid, np.float32)
    summary = {
        "case": name,
        "input": str(folder / f"{name}.nii.gz"),
        "model": {"id": "flairseg2d-v1.0", "version": "1.0", "sha256": "cd" * 32},
        "software": {"flairseg": "0.9"},
        "volumes_ml": {"lesion": 0.02},
        "lesion_count": 1,
        "lesions": [],
        "warnings": ["Few slices."],
    }
    (folder / f"{name}_summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return grid


def test_lesion_confidence_is_that_of_the_model_in_the_summary(tmp_path):
    write_case(tmp_path)
    path = tmp_path / "p1_summary.json"
    summary = json.loads(path.read_text())
    assert read_case(work_list(tmp_path)[0]).confidence is None
    for entry, expected in (
        ({"intercept": -3.0, "logit_probability": 1.1, "ln_volume": 0.5}, LesionConfidence(-3.0, 1.1, 0.5)),
        ({"intercept": -3.0}, None),
        ("high", None),
    ):
        path.write_text(json.dumps(summary | {"model": {**summary["model"], "lesion_confidence": entry}}))
        assert read_case(work_list(tmp_path)[0]).confidence == expected


def test_a_class_that_the_summary_states_as_not_assessed_is_unknown(tmp_path):
    write_case(tmp_path)
    assert read_case(work_list(tmp_path)[0]).classes == {1, 2, 3}
    path = tmp_path / "p1_summary.json"
    summary = json.loads(path.read_text())
    summary["volumes_ml"] = {"ventricles": None, "normal_wmh": None, "lesion": 0.02}
    path.write_text(json.dumps(summary))
    assert read_case(work_list(tmp_path)[0]).classes == {LESION}


def write_segments(path, labels, grid, value=7):
    """As 3D Slicer saves a segmentation that was corrected: label values of its own."""
    import SimpleITK as sitk
    from flairseg.image.volume import volume_to_sitk

    image = volume_to_sitk(grid.with_array((value * (labels == LESION)).astype(np.uint8)))
    for key, text in (
        ("Segment0_ID", "lesion"),
        ("Segment0_LabelValue", str(value)),
        ("Segment0_Tags", "TerminologyEntry:a~b|FlairSeg.model:m-v2|FlairSeg.created:2026-01-02T03:04:05+00:00|"),
    ):
        image.SetMetaData(key, text)
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("affine", [RIGHT_HANDED, LEFT_HANDED], ids=["right-handed", "left-handed"])
def test_image_labels_and_probabilities_lie_on_one_right_handed_grid(tmp_path, affine):
    write_case(tmp_path, affine)
    files = read_case(work_list(tmp_path)[0])
    assert np.linalg.det(files.volume.ijk_to_ras[:3, :3]) > 0
    (kji,) = np.argwhere(files.original.full_labels() == LESION)
    # The voxel that is labelled has the gray value and the place that it has in the file.
    assert files.volume.array[tuple(kji)] == np.ravel_multi_index(A, SHAPE) + 1
    here = files.volume.ijk_to_ras @ [*kji[::-1], 1]
    assert here == pytest.approx(affine @ [*A[::-1], 1])
    assert files.original.full_probabilities()[LESION][tuple(kji)] == pytest.approx(0.8, abs=0.003)
    assert files.labels is None
    assert files.correction() is None
    assert files.tags[LESION] == {
        "FlairSeg.model": "flairseg2d-v1.0",
        "FlairSeg.model_sha256": "cd" * 32,
        "FlairSeg.version": "0.9",
        "FlairSeg.algorithm_type": "AUTOMATIC",
    }
    assert "Few slices." in files.warnings


@pytest.mark.parametrize("order", ["file", "scene"])
def test_a_corrected_seg_nrrd_is_gone_on_from_and_brings_its_provenance(tmp_path, order):
    grid = SceneGrid.of(write_case(tmp_path, LEFT_HANDED))
    corrected = labels_with(A, B)
    if order == "file":
        write_segments(tmp_path / "p1.seg.nrrd", corrected, grid.file)
    else:
        write_segments(tmp_path / "p1.seg.nrrd", grid.turn(corrected), grid.volume)
    files = read_case(work_list(tmp_path)[0])
    assert np.array_equal(files.labels, grid.turn(corrected))
    assert "p1.seg.nrrd" in files.going_on_from
    assert files.tags[LESION] == {"FlairSeg.model": "m-v2", "FlairSeg.created": "2026-01-02T03:04:05+00:00"}
    box, before, after = files.correction()
    assert (before.size, before.sum(), after.sum()) == (1, 0, LESION)
    assert np.array_equal(files.original.full_labels(), grid.turn(labels_with(A)))
    assert files.volume.array[box].item() == np.ravel_multi_index(B, SHAPE) + 1


def test_the_newest_version_of_the_archive_is_gone_on_from(tmp_path):
    grid = SceneGrid.of(write_case(tmp_path / "results", LEFT_HANDED))
    archive = CaseArchive(tmp_path / "cases")
    for places in ((A,), (B,)):
        archive.save("p1", grid.turn(labels_with(*places)), grid.volume, Verdict(ACCEPTED_AFTER_EDITS, reader="R01"))
    (item,) = work_list(tmp_path / "results", archive, done=True)
    files = read_case(item, archive)
    assert np.array_equal(files.labels, grid.turn(labels_with(B)))
    assert "version 2" in files.going_on_from
    (archive.path("p1") / "labels.nii.gz").write_bytes(b"cut")
    files = read_case(item, archive)
    assert files.labels is None
    assert any("archived version is left out" in warning for warning in files.warnings)


def test_what_is_merely_helpful_may_be_broken(tmp_path):
    write_case(tmp_path)
    (tmp_path / "p1_probabilities.nii.gz").write_bytes(b"cut")
    (tmp_path / "p1.seg.nrrd").write_bytes(b"NRRD0005\n")
    files = read_case(work_list(tmp_path)[0])
    assert files.original.levels is None
    assert files.labels is None
    assert sum("p1_probabilities.nii.gz" in w or "p1.seg.nrrd" in w for w in files.warnings) >= 2


def test_a_broken_image_or_label_map_is_told(tmp_path):
    write_case(tmp_path, probabilities=False)
    (item,) = work_list(tmp_path)
    (tmp_path / "p1_labels.nii.gz").write_bytes(b"cut")
    with pytest.raises(FlairSegError, match=r"p1_labels\.nii\.gz"):
        read_case(item)
    (tmp_path / "p1.nii.gz").write_bytes(b"cut")
    with pytest.raises(FlairSegError, match="p1"):
        read_case(item)


def test_a_case_without_segmentation_is_an_image(tmp_path):
    write_case(tmp_path)
    for name in ("p1_labels.nii.gz", "p1_summary.json", "p1_probabilities.nii.gz"):
        (tmp_path / name).unlink()
    files = read_case(work_list(tmp_path)[0])
    assert files.original is None
    assert files.volume.name == "p1"


def test_images_of_one_name_are_cases_of_their_own(tmp_path):
    for folder in ("sub-01", "sub-02"):
        write_case(tmp_path / folder, name="flair")
    assert sorted(item.case for item in work_list(tmp_path)) == ["sub-01", "sub-02"]
    assert read_case(work_list(tmp_path)[0]).volume.name.startswith("sub-0")
