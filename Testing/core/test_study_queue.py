"""The work list: what probably needs most correction comes first."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flairseg.errors import Cancelled, InputNotFoundError, UnreadableImageError
from flairseg.files.nifti import write_nifti
from flairseg.image.volume import Volume
from flairseg.progress import CancelToken
from flairseg.review.cases import ACCEPTED, REJECTED, CaseArchive, Verdict
from flairseg.study.queue import (
    FLOOR,
    NOT_SEGMENTED,
    OPEN,
    expected_correction_ml,
    next_case,
    ordered,
    with_states,
    work_list,
)

SHAPE = (4, 16, 16)
AFFINE = np.diag([-1.0, -1.0, 5.0, 1.0])  # voxels of 0.005 ml
GRID = Volume(np.zeros(SHAPE, np.float32), AFFINE)


def write_result(folder, case, doubt, lesions=None, probabilities=True, flair=True):
    """Ten lesion voxels of probability ``1 - doubt``, and one missed voxel of probability ``doubt``."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 5, :10] = 3
    lesion = np.where(labels == 3, 1 - doubt, 0.01).astype(np.float32)
    lesion[2, 2, 2] = doubt
    stack = np.zeros((4, *SHAPE), np.float32)
    stack[3], stack[0] = lesion, 1 - lesion
    image = folder / f"{case}.nii.gz"
    if flair:
        write_nifti(image, np.random.default_rng(0).integers(1, 900, SHAPE), GRID, np.int16)
    write_nifti(folder / f"{case}_labels.nii.gz", labels, GRID)
    if probabilities:
        write_nifti(folder / f"{case}_probabilities.nii.gz", stack, GRID, np.float32)
    summary = {
        "case": case,
        "input": str(image),
        "model": {"id": "flairseg2d-v1.0"},
        "volumes_ml": {"lesion": 0.05},
        "lesion_count": 1,
        "lesions": lesions if lesions is not None else [{"volume_ml": 0.05}],
        "warnings": [],
    }
    (folder / f"{case}_summary.json").write_text(json.dumps(summary), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    write_result(tmp_path / "a", "sure", 0.06)
    write_result(tmp_path / "a", "doubtful", 0.45)
    write_result(tmp_path / "b", "middling", 0.2)
    write_result(tmp_path / "b", "unknown", 0.5, probabilities=False)
    return tmp_path


def test_most_uncertain_first(folder):
    items = work_list(folder)
    assert [item.case for item in items] == ["doubtful", "middling", "sure", "unknown"]
    assert items[0].expected_correction_ml == pytest.approx((10 * 0.45 + 0.45) * 0.005, rel=1e-3)
    assert "0.02 ml" in items[0].why
    assert items[-1].expected_correction_ml is None
    assert items[-1].why
    assert (items[0].lesion_count, items[0].lesion_ml, items[0].model) == (1, 0.05, "flairseg2d-v1.0")
    assert all(item.state == OPEN for item in items)


def test_background_below_the_floor_does_not_count(tmp_path):
    write_result(tmp_path, "c", FLOOR - 0.001)
    found = expected_correction_ml(tmp_path / "c_labels.nii.gz", tmp_path / "c_probabilities.nii.gz")
    assert found == pytest.approx(10 * (FLOOR - 0.001) * 0.005, rel=1e-3)


def test_a_lesion_table_with_probabilities_will_do(tmp_path):
    table = [{"volume_ml": 2.0, "confidence": 0.6}, {"volume_ml": 1.0, "confidence": 0.9}]
    write_result(tmp_path, "c", 0.1, lesions=table, probabilities=False)
    (item,) = work_list(tmp_path)
    assert item.expected_correction_ml == pytest.approx(0.9)
    assert "removed" in item.why


def test_images_without_results_are_listed_last(folder):
    write_nifti(folder / "new-patient-9.nii.gz", np.ones(SHAPE), GRID, np.int16)
    items = work_list(folder)
    assert items[-1].case == "new-patient-9"
    assert items[-1].state == NOT_SEGMENTED
    assert [i.case for i in items].count("sure") == 1


def test_verdicts_of_the_archive(folder, tmp_path):
    archive = CaseArchive(tmp_path / "archive")
    labels = np.zeros(SHAPE, np.uint8)
    archive.save("doubtful", labels, GRID, Verdict(ACCEPTED))
    archive.save("sure", labels, GRID, Verdict(REJECTED, reason="motion"))
    archive.save("sure", labels, GRID, Verdict(REJECTED, reason="motion again"))
    sources = [folder / "a", folder / "b"]
    items = [item for source in sources for item in work_list(source, archive)]
    assert [i.case for i in items] == ["sure", "middling", "unknown"]
    assert (items[0].state, items[0].versions) == (REJECTED, 2)
    everything = work_list(folder / "a", archive, done=True)
    assert [(i.case, i.state) for i in everything] == [("sure", REJECTED), ("doubtful", ACCEPTED)]


def test_next_case(folder):
    items = work_list(folder)
    assert next_case(items).case == "doubtful"
    assert next_case(items, after="doubtful").case == "middling"
    assert next_case([]) is None


def test_a_list(folder):
    path = folder / "list.csv"
    path.write_text("case,flair,labels\nP1,a/sure.nii.gz,\nP2,b/middling.nii.gz,b/middling_labels.nii.gz\n")
    items = work_list(path)
    assert [item.case for item in items] == ["P2", "P1"]
    assert work_list([folder / "a" / "sure.nii.gz"])[0].expected_correction_ml is not None


def test_a_list_s_own_score_counts_where_no_probabilities_are_written(tmp_path):
    """queue.csv of a cohort said 2.14 ml, ``flairseg queue`` 0.72 for the same case, and ordered them otherwise."""
    table = [{"volume_ml": 2.0, "confidence": 0.6}]
    for case, probabilities in (("without", False), ("with", True)):
        write_result(tmp_path, case, 0.2, lesions=table, probabilities=probabilities)
    path = tmp_path / "queue.csv"
    lines = [f"{case},{case}.nii.gz,{score}" for case, score in (("without", 2.1393), ("with", 9))]
    path.write_text("\n".join(["case,flair,expected_correction_ml", *lines]))
    without, known = work_list(path)
    assert (without.case, without.expected_correction_ml) == ("without", 2.1393)
    assert "2.14 ml" in without.why
    assert known.expected_correction_ml == pytest.approx((10 * 0.2 + 0.2) * 0.005, rel=1e-3), "that of the files"


def test_a_moved_result_finds_its_image(folder, tmp_path):
    (folder / "a").rename(folder / "moved")
    items = {item.case: item for item in work_list(folder / "moved")}
    assert items["sure"].flair == folder / "moved" / "sure.nii.gz"
    assert len(items) == 2


@pytest.mark.parametrize("text", ["case,flair\nx,\n", "nothing\n1\n"])
def test_lists_that_will_not_do(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(UnreadableImageError, match=r"Line 2 of list\.csv"):
        work_list(path)


def test_nothing_there(tmp_path):
    with pytest.raises(InputNotFoundError):
        work_list(tmp_path / "none")
    with pytest.raises(InputNotFoundError):
        work_list(tmp_path)


def test_a_file_that_is_no_image(tmp_path):
    for name in ("note.txt", "bad.nii.gz"):
        path = tmp_path / name
        path.write_text("not an image")
        with pytest.raises(UnreadableImageError, match=name) as caught:
            work_list(path)
        assert caught.value.advice


def test_probabilities_of_another_case_are_told(tmp_path):
    write_result(tmp_path, "c", 0.2)
    other = Volume(np.zeros((4, 16, 17), np.float32), AFFINE)
    write_nifti(tmp_path / "c_probabilities.nii.gz", np.zeros((4, 4, 16, 17), np.float32), other, np.float32)
    (item,) = work_list(tmp_path)
    assert item.expected_correction_ml is None
    assert "do not belong together" in item.warnings[0]


def test_one_bad_case_does_not_stop_the_list(folder):
    (folder / "b" / "unknown_summary.json").write_text(
        json.dumps({"input": str(folder / "b" / "unknown.nii.gz"), "lesion_count": "many", "lesions": 3})
    )
    (folder / "a" / "sure.nii.gz").unlink()
    (folder / "a" / "doubtful_probabilities.nii.gz").write_bytes(b"cut")
    items = {item.case: item for item in work_list(folder)}
    assert set(items) == {"doubtful", "middling", "sure", "unknown"}
    assert "unknown_summary.json" in items["unknown"].warnings[0]
    assert "sure.nii.gz" in items["sure"].problem
    assert "cannot be read" in items["doubtful"].warnings[0]
    assert not items["middling"].problem
    assert next_case([items["sure"], items["middling"]]) is items["middling"]


def test_progress_is_told_and_cancel_heeded(folder):
    told = []
    work_list(folder, progress=lambda fraction, case: told.append((fraction, case)))
    assert [fraction for fraction, _ in told] == [0.25, 0.5, 0.75, 1.0]
    assert {case for _, case in told} == {"doubtful", "middling", "sure", "unknown"}
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        work_list(folder, cancel=token)


def test_states_follow_the_archive(folder):
    items = work_list(folder)
    archive = CaseArchive(folder / "cases")
    image = np.random.default_rng(0).integers(1, 900, SHAPE)
    archive.save("middling", np.zeros(SHAPE, np.uint8), Volume(image, AFFINE), Verdict(ACCEPTED, reader="R01"))
    later = with_states(items, archive)
    assert [item.case for item in later] == [item.case for item in items]
    assert [item.state for item in later] == [OPEN, ACCEPTED, OPEN, OPEN]
    assert ordered(later)[-1].case == "middling"
