"""The archive of judged cases: whole versions or none, never changed, readable by others, every damage noticed."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from flairseg.errors import InputNotFoundError, OutputError
from flairseg.files.hashing import file_sha256
from flairseg.image.volume import Volume
from flairseg.labels import CLASSES
from flairseg.review import cases, verdict
from flairseg.review.cases import ACCEPTED, ACCEPTED_AFTER_EDITS, PENDING, REJECTED, CaseArchive, Verdict
from flairseg.review.errors import CaseNotFoundError, DamagedCaseError, InvalidVerdictError
from flairseg.review.version_folder import flair_file
from jsonschema import Draft202012Validator

from Testing.core.tiny import to_nifti

OBLIQUE = np.array([[-0.9, 0.2, 0.5, 90.0], [-0.1, -0.95, 0.3, 110.0], [0.05, -0.1, 5.9, -60.0], [0, 0, 0, 1.0]])


@pytest.fixture
def archive(tmp_path) -> CaseArchive:
    return CaseArchive(tmp_path / "räume & fälle" / "قضاوت‌ها")


def orthogonal(matrix: np.ndarray) -> np.ndarray:
    """The nearest affine without shear."""
    u, _, vt = np.linalg.svd(matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0))
    out = matrix.copy()
    out[:3, :3] = (u @ vt) * np.linalg.norm(matrix[:3, :3], axis=0)
    return out


@pytest.fixture
def labels(head_labels) -> np.ndarray:
    return head_labels.astype(np.uint8)


def files(version: Path) -> set[str]:
    return {path.name for path in version.iterdir()}


def test_layout_and_content_of_a_version(archive, head, labels):
    decided = Verdict(
        ACCEPTED_AFTER_EDITS,
        reader="R1",
        comment="Rand · حاشیه",
        started_at="2026-01-01T10:00:00+01:00",
        decided_at="2026-01-01T09:05:00Z",
        active_seconds=61.5,
        edits={CLASSES[2].id: {"voxels_added": 12, "voxels_removed": 3}},
        model={"id": "m-v1.0", "version": "1.0", "sha256": "ab"},
        software={"flairseg": "0.1.0"},
    )
    saved = archive.save("sub 01", labels, head, decided)
    assert saved.path == archive.folder / "sub 01" / "v001"
    assert files(saved.path) == {"flair.nii.gz", "labels.nii.gz", "verdict.json"}
    content = json.loads((saved.path / "verdict.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(verdict.schema())
    Draft202012Validator(verdict.schema()).validate(content)
    assert content["times"]["started_at"] == "2026-01-01T09:00:00.000000Z"
    assert content["hashes"] == {name: file_sha256(saved.path / name) for name in ("labels.nii.gz", "flair.nii.gz")}
    assert (content["case"], content["version"], content["parent_version"]) == ("sub 01", 1, None)
    loaded = archive.load("sub 01")
    assert loaded.verdict == decided.checked()
    assert np.array_equal(loaded.labels, labels)
    assert np.array_equal(loaded.flair.array, head.array.astype(np.float32))
    assert not list(archive.folder.rglob(".*"))


@pytest.mark.parametrize("sign", [1, -1], ids=["right-handed", "left-handed"])
def test_an_independent_reader_finds_labels_and_image_on_one_grid(archive, head, labels, sign):
    affine = orthogonal(OBLIQUE @ np.diag([1.0, sign, 1.0, 1.0]))
    saved = archive.save("a", labels, Volume(head.array, affine), Verdict(ACCEPTED))
    for name, expected in (("labels.nii.gz", labels), ("flair.nii.gz", head.array)):
        image = nibabel.load(saved.path / name)
        assert np.allclose(image.affine, affine, atol=1e-3)
        assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), expected)
    assert nibabel.load(saved.path / "labels.nii.gz").get_data_dtype() == np.uint8


@pytest.mark.parametrize(
    ("array", "kept"),
    [
        (np.arange(27, dtype=np.int32), np.int16),
        (np.arange(27, dtype=np.float64), np.int16),
        (np.arange(27, dtype=np.uint16) + 40000, np.float32),
        (np.linspace(0, 1, 27), np.float32),
        (np.where(np.arange(27) == 3, np.nan, 1.0), np.float32),
    ],
    ids=["integers", "whole floats", "large", "fractions", "nan"],
)
def test_voxels_of_any_type_are_kept(archive, array, kept):
    volume = Volume(array.reshape(3, 3, 3), np.diag([1.0, 1.0, 3.0, 1.0]))
    saved = archive.save("a", np.zeros((3, 3, 3), np.uint8), volume, Verdict(ACCEPTED))
    image = nibabel.load(saved.path / "flair.nii.gz")
    assert image.get_data_dtype() == kept
    found = np.asarray(image.dataobj).transpose(2, 1, 0)
    assert np.allclose(found, volume.array, rtol=1e-6, equal_nan=True)


def test_versions_are_added_and_never_changed(archive, head, labels):
    first = archive.save("a", labels, head, Verdict(ACCEPTED))
    before = {path: path.read_bytes() for path in first.path.iterdir()}
    second = archive.save("a", np.zeros_like(labels), head, Verdict(REJECTED, "motion"))
    third = archive.save("a", labels, head, Verdict(ACCEPTED, parent_version=1))
    assert archive.versions("a") == [1, 2, 3]
    assert {path: path.read_bytes() for path in first.path.iterdir()} == before
    assert [archive.verdict_content("a", n)["parent_version"] for n in (1, 2, 3)] == [None, 1, 1]
    assert (archive.load("a", 2).labels == 0).all()
    assert archive.load("a").saved == third
    # The image of the first version is referred to, not written again.
    assert files(second.path) == {"flair.json", "labels.nii.gz", "verdict.json"}
    assert flair_file(second.path) == first.path / "flair.nii.gz"
    assert np.array_equal(archive.load("a", 2).flair.array, head.array.astype(np.float32))
    other = archive.save("a", labels, head.with_array(head.array + 1), Verdict(ACCEPTED))
    assert "flair.nii.gz" in files(other.path)


def test_version_numbers_beyond_999_sort_as_numbers(archive, head, labels):
    saved = archive.save("a", labels, head, Verdict(ACCEPTED))
    saved.path.rename(saved.path.with_name("v999"))
    assert archive.save("a", labels, head, Verdict(ACCEPTED)).path.name == "v1000"
    assert archive.versions("a") == [999, 1000]
    assert archive.load("a").saved.version == 1000


def test_an_image_on_the_disk_is_referred_to(archive, head, labels, tmp_path):
    path = to_nifti(head, tmp_path / "flair größe.nii.gz")
    saved = archive.save("a", labels, path, Verdict(ACCEPTED))
    assert files(saved.path) == {"flair.json", "labels.nii.gz", "verdict.json"}
    loaded = archive.load("a")
    assert np.array_equal(loaded.labels, labels)
    assert np.allclose(loaded.flair.ijk_to_ras, head.ijk_to_ras, atol=1e-3)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DamagedCaseError, match="is not what it was"):
        archive.load("a")
    path.unlink()
    with pytest.raises(DamagedCaseError, match="is missing"):
        archive.load("a")
    with pytest.raises(InputNotFoundError):
        archive.save("b", labels, path, Verdict(ACCEPTED))
    with pytest.raises(InvalidVerdictError, match="DICOM"):
        archive.save("b", labels, tmp_path, Verdict(ACCEPTED))
    assert archive.cases() == ["a"]


NAMES = ["a", "A", "../a", "CON", "x" * 300, "é", "بیمار ۷", "a/b", "a_b", ".hidden", "end.", "new\nline"]


def test_names_of_cases_lead_nowhere_else_and_are_not_lost(archive, head, labels):
    for name in NAMES:
        saved = archive.save(name, labels, head, Verdict(ACCEPTED))
        assert saved.path.parent.parent == archive.folder
        assert saved.version == 1, name
    assert archive.cases() == sorted(NAMES)
    for name in NAMES:
        assert archive.save(name, labels, head, Verdict(ACCEPTED)).version == 2
        assert archive.load(name).saved.case == name
    folders = [path.name for path in archive.folder.iterdir()]
    assert len({name.casefold() for name in folders}) == len(NAMES), "also on a disk that ignores case"
    assert {path.name for path in archive.folder.parent.iterdir()} == {archive.folder.name}


def test_one_case_in_two_unicode_forms_is_one(archive, head, labels):
    archive.save("é", labels, head, Verdict(ACCEPTED))
    assert archive.save("e\u0301", labels, head, Verdict(ACCEPTED)).version == 2
    # Some disks hand names back decomposed.
    (archive.folder / "é").rename(archive.folder / "e\u0301")
    assert archive.save("é", labels, head, Verdict(ACCEPTED)).version == 3


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (Verdict(PENDING), "not a verdict that can be saved"),
        (Verdict("fine"), "not a verdict that can be saved"),
        (Verdict(REJECTED), "reason"),
        (Verdict(REJECTED, "  "), "reason"),
        (Verdict(ACCEPTED, active_seconds=-1), "seconds"),
        (Verdict(ACCEPTED, active_seconds=float("nan")), "seconds"),
        (Verdict(ACCEPTED, edits={"tumour": {}}), "no segment"),
        (Verdict(ACCEPTED, edits={CLASSES[0].id: {"voxels_added": -1}}), "counts"),
        (Verdict(ACCEPTED, edits={CLASSES[0].id: {"voxels": 1}}), "counts"),
        (Verdict(ACCEPTED, decided_at="yesterday"), "decided_at"),
        (Verdict(ACCEPTED, event_id="1"), "UUID"),
        (Verdict(ACCEPTED, parent_version=0), "from 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_verdicts_that_are_not_valid_are_refused(archive, head, labels, wrong, what):
    with pytest.raises(InvalidVerdictError, match=what) as caught:
        archive.save("a", labels, head, wrong)
    assert caught.value.advice
    assert not archive.folder.exists()


@pytest.mark.parametrize("change", ["shape", "value", "fraction", "negative"])
def test_labels_that_are_none_are_refused(archive, head, labels, change):
    wrong = {
        "shape": labels[1:],
        "value": labels + 1,
        "fraction": labels + 0.5,
        "negative": -labels.astype(np.int16),
    }[change]
    with pytest.raises(InvalidVerdictError):
        archive.save("a", wrong, head, Verdict(ACCEPTED))
    assert archive.cases() == []


def test_a_case_needs_a_name(archive, head, labels):
    with pytest.raises(InvalidVerdictError, match="name"):
        archive.save("", labels, head, Verdict(ACCEPTED))


@pytest.mark.parametrize(
    ("file", "how"),
    [
        *((file, how) for file in ("labels.nii.gz", "flair.nii.gz") for how in ("cut", "changed", "gone")),
        # The event store holds the same content under its hash: a changed verdict shows there.
        *(("verdict.json", how) for how in ("cut", "gone")),
    ],
)
def test_damage_is_noticed(archive, head, labels, file, how):
    archive.save("a", labels, head, Verdict(ACCEPTED))
    path = archive.save("a", labels, head.with_array(head.array + 1), Verdict(ACCEPTED)).path / file
    raw = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    else:
        path.write_bytes(raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:])
    if file == "verdict.json" and how == "gone":
        assert archive.versions("a") == [1], "a folder without a verdict is no version"
        return
    assert archive.problems("a", 2)
    with pytest.raises(DamagedCaseError) as caught:
        archive.load("a", 2)
    assert "backup" in caught.value.advice
    assert archive.problems("a", 1) == []


def test_what_does_not_read_back_is_not_kept(archive, head, labels, monkeypatch):
    """A disk that swallows bytes: the earlier version stays, the new one never appears."""
    archive.save("a", labels, head, Verdict(ACCEPTED))
    honest = cases.write_nifti

    def swallow(path, array, volume, *rest, **named):
        honest(path, array, volume, *rest, **named)
        if path.name == "labels.nii.gz":
            honest(path, np.zeros_like(array), volume, *rest, **named)

    monkeypatch.setattr(cases, "write_nifti", swallow)
    with pytest.raises(OutputError):
        archive.save("a", labels, head, Verdict(ACCEPTED))
    with pytest.raises(OutputError):
        archive.save("b", labels, head, Verdict(ACCEPTED))
    assert archive.versions("a") == [1]
    assert [path.name for path in archive.folder.iterdir()] == ["a"], "no empty folder of a case is left behind"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.ENAMETOOLONG])
def test_a_disk_that_fails_at_the_last_step(archive, head, labels, monkeypatch, number):
    archive.save("a", labels, head, Verdict(ACCEPTED))

    def fail(source, target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OutputError) as caught:
        archive.save("a", labels, head, Verdict(ACCEPTED))
    assert "--output" not in caught.value.advice
    assert archive.versions("a") == [1]
    assert files(archive.folder / "a") == {"v001"}


def test_another_writer_is_quicker(archive, head, labels, monkeypatch):
    """The number is taken between looking and renaming: the next one is used, in the file as well."""
    archive.save("a", labels, head, Verdict(ACCEPTED))
    rename, other = os.rename, CaseArchive(archive.folder)

    def overtaken(source, target):
        monkeypatch.setattr(os, "rename", rename)
        other.save("a", labels, head, Verdict(REJECTED, "overtook"))
        rename(source, target)

    monkeypatch.setattr(os, "rename", overtaken)
    saved = archive.save("a", labels, head, Verdict(ACCEPTED))
    assert saved.version == 3
    assert [archive.verdict_content("a", n)["version"] for n in (1, 2, 3)] == [1, 2, 3]
    assert archive.verdict_content("a", 2)["reason"] == "overtook"
    assert archive.verdict_content("a", 3)["parent_version"] == 2
    assert archive.problems("a", 3) == []


def test_a_folder_that_cannot_be_used(tmp_path, head, labels):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError) as caught:
        CaseArchive(tmp_path / "file").save("a", labels, head, Verdict(ACCEPTED))
    assert "settings" in caught.value.advice


def test_what_a_killed_writer_left_goes_when_it_is_old(archive, head, labels):
    archive.save("a", labels, head, Verdict(ACCEPTED))
    for name in (".flairseg-old12345", ".flairseg-new12345"):
        (archive.folder / "a" / name).mkdir()
        (archive.folder / "a" / name / "labels.nii.gz").write_bytes(b"half")
    for path in (
        archive.folder / "a" / ".flairseg-old12345" / "labels.nii.gz",
        archive.folder / "a" / ".flairseg-old12345",
    ):
        os.utime(path, (0, 0))
    archive.save("a", labels, head, Verdict(ACCEPTED))
    assert files(archive.folder / "a") == {"v001", "v002", ".flairseg-new12345"}
    assert archive.cases() == ["a"]


def test_what_is_not_there(archive, head, labels):
    assert archive.cases() == []
    assert archive.versions("a") == []
    with pytest.raises(CaseNotFoundError):
        archive.load("a")
    archive.save("a", labels, head, Verdict(ACCEPTED))
    with pytest.raises(CaseNotFoundError, match="version 7"):
        archive.load("a", 7)


def test_the_classes_that_were_reviewed_are_kept_where_not_all_were(archive, head, labels):
    for classes, written in (((), None), (("lesion", "ventricles", "normal_wmh"), None), (("lesion",), ["lesion"])):
        saved = archive.save("a", labels, head, Verdict(ACCEPTED, classes=classes))
        assert archive.verdict_content("a", saved.version).get("classes") == written
        assert archive.load("a", saved.version).verdict.classes == tuple(written or ())
    with pytest.raises(InvalidVerdictError, match="lesions"):
        archive.save("a", labels, head, Verdict(ACCEPTED, classes=("lesions",)))


def test_a_verdict_of_a_newer_flairseg_is_refused(archive, head, labels):
    path = archive.save("a", labels, head, Verdict(ACCEPTED)).path / "verdict.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "format": 2}), encoding="utf-8")
    with pytest.raises(InvalidVerdictError, match="format 2") as caught:
        archive.load("a")
    assert "Update" in caught.value.advice


@pytest.mark.parametrize("key", ["verdict", "times", "hashes", "event_id", "edits"])
def test_verdicts_are_checked_without_jsonschema_as_well(archive, head, labels, monkeypatch, key):
    content = archive.verdict_content(archive.save("a", labels, head, Verdict(ACCEPTED)).case)
    wrong = {**content, key: {"nonsense": {"nonsense": 1}} if key != "verdict" else "perhaps"}
    assert verdict.schema_fault(wrong) is not None
    with pytest.raises(InvalidVerdictError):
        verdict.from_json(wrong)
    monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)
    assert verdict.schema_fault(wrong) is None
    if key != "hashes":
        with pytest.raises(InvalidVerdictError):
            verdict.from_json(wrong)
    assert verdict.from_json(content) == replace(verdict.from_json(content))
    assert archive.save("b", labels, head, Verdict(ACCEPTED)).version == 1
