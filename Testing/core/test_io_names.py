"""Names of cases: one input, one name, whatever else is in the call; and results that belong to one input."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from flairseg.errors import FlairSegError, OutputError
from flairseg.files import dicom_identity, names
from flairseg.files.names import (
    case_name,
    case_of_labels,
    distinct_paths,
    is_common,
    mask_case_name,
    mask_result_stem,
    name_inputs,
    result_stem,
)
from flairseg.files.safe_names import folded, safe_name
from flairseg.files.same_input import already_there, fingerprint, refuse_other_input
from flairseg.image.volume import Volume
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("path", "case"),
    [
        ("/d/sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz", "sub-01_ses-2"),
        ("/d/sub-01/ses-2/anat/flair.nii.gz", "sub-01_ses-2"),
        ("/d/sub-01/flair.nii.gz", "sub-01"),
        ("/d/sub-01/anat/sub-01_FLAIR.nii.gz", "sub-01"),
        ("/d/sub-01/ses-2/sub-01_FLAIR.nii", "sub-01_ses-2"),
        ("/d/sub-01_ses-2_acq-3D_run-1_FLAIR.nii.gz", "sub-01_ses-2_acq-3D_run-1"),
        ("/d/sub-01_ses-2_run-2_FLAIR.nii.gz", "sub-01_ses-2_run-2"),
        ("/d/sub-01/t2.nii.gz", "sub-01_t2"),
        ("/d/sub-01/ses-1/dicom", "sub-01_ses-1"),
        # "sub-projects" holds patients; it is none.
        ("/d/sub-projects/p1/flair.nii.gz", "p1_flair"),
        ("/d/p1/flair.nii.gz", "p1_flair"),
        ("/d/p1/study1/flair.nii.gz", "p1_study1_flair"),
        ("/d/p1/study1.nii.gz", "p1_study1"),
        ("/d/p1/image.nii", "p1_image"),
        ("/d/p1/T2.mha", "p1_T2"),
        ("/d/p1/brain.nrrd", "p1_brain"),
        ("/d/p1/volume.nii", "p1_volume"),
        ("/d/p1/2024-05-31/T2_FLAIR_3D.nii.gz", "p1_2024-05-31_T2_FLAIR_3D"),
        ("/d/p1/20240531/nifti/flair.nii.gz", "p1_20240531_nifti_flair"),
        ("/d/phantom-1_flair.nii.gz", "phantom-1_flair"),
        ("/d/p1/case7.nii.gz", "case7"),
        ("/d/p1/101228_FLAIR.nii.gz", "101228_FLAIR"),
        ("/d/p1/1.nii.gz", "1"),
    ],
)
def test_names_by_rule(path, case):
    assert case_name(path) == case


@pytest.mark.parametrize(
    "name", ["flair", "FLAIR", "t2_flair_3D", "image0001", "img", "volume", "brain", "t2", "study1", "series.7", "v002",
             "2024", "20240531_flair", "DICOM", "scan-3", "FLAIR_1mm", "IM_0001", "ses1", "brain_mask"],
)  # fmt: skip
def test_common_names_never_stand_alone(name):
    assert is_common(name)
    assert case_name(f"/srv/Müller/{name}.nii.gz") == f"Müller_{name}"


@pytest.mark.parametrize("name", ["phantom-1", "case7", "p3", "patient07", "101228_FLAIR", "1", "Doe", "flair_101228"])
def test_names_that_tell_cases_apart_stand_alone(name):
    assert not is_common(name)
    assert case_name(f"/srv/images/{name}.nii.gz") == name


def test_a_relative_path_has_the_name_of_the_absolute_one(tmp_path, monkeypatch):
    (tmp_path / "p1").mkdir()
    monkeypatch.chdir(tmp_path / "p1")
    assert case_name("flair.nii.gz") == case_name("../p1/flair.nii.gz") == "p1_flair"


def test_composed_and_decomposed_names_are_one():
    composed, decomposed = (unicodedata.normalize(form, "/d/Müller_flair.nii.gz") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert case_name(composed) == case_name(decomposed) == unicodedata.normalize("NFC", "Müller_flair")


@pytest.mark.parametrize(
    ("path", "case"),
    [
        ("/d/p3_flair_labels.nii.gz", "p3_flair"),
        ("/d/p1/labels.nii.gz", "p1"),
        ("/d/p1/v002/labels.nii.gz", "p1_v002"),
        ("/d/saved.seg.nrrd", "saved"),
        ("/d/sub-01_ses-2_desc-lesion_mask.nii.gz", "sub-01_ses-2"),
        ("/d/sub-01_dseg.nii.gz", "sub-01"),
    ],
)
def test_a_label_map_has_the_name_of_its_case(path, case):
    assert mask_case_name(path) == case


def test_the_summary_beside_a_label_map_says_the_case(tmp_path):
    (tmp_path / "padded_summary.json").write_text('{"case": "P0_20240102"}')
    assert case_of_labels(tmp_path / "padded_labels.nii.gz") == "P0_20240102"
    assert case_of_labels(tmp_path / "other_labels.nii.gz") == "other"


# --- DICOM


def dicom(path: Path, patient: str = "P0", day: str = "20240102") -> Path:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = pydicom.Dataset()
    header.file_meta = meta
    header.SOPClassUID, header.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    header.SpecificCharacterSet, header.PatientID, header.StudyDate = "ISO_IR 192", patient, day
    header.Rows = header.Columns = 2
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation, header.PixelData = 15, 0, bytes(8)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def test_patient_and_date_name_a_series(tmp_path):
    dicom(tmp_path / "disk" / "DICOM" / "IM1", "Ä12/7", "20240102")
    found = case_name(tmp_path / "disk")
    assert found.startswith("Ä12_7_20240102~")


@pytest.mark.parametrize("day", ["", "00000000", "20241341", "yesterday"])
def test_an_impossible_date_leaves_the_folder(tmp_path, day):
    dicom(tmp_path / "visit-b" / "1.dcm", "P0", day)
    assert case_name(tmp_path / "visit-b") == "P0_visit-b"


@pytest.mark.parametrize("patient", ["", "0000", "ANONYMOUS", "anonymized", "Unknown"])
def test_what_anonymisers_write_for_everyone_names_nobody(tmp_path, patient):
    dicom(tmp_path / "Meier" / "study1" / "1.dcm", patient)
    assert case_name(tmp_path / "Meier" / "study1") == "Meier_study1"


def test_of_several_studies_the_series_that_was_taken_names_the_case(tmp_path):
    dicom(tmp_path / "all" / "a.dcm", "P0", "20200101")
    second = dicom(tmp_path / "all" / "b.dcm", "P0", "20240102")
    assert case_name(tmp_path / "all") == "P0_20200101"
    assert case_name(tmp_path / "all", second) == "P0_20240102"


def test_pipes_and_empty_folders_are_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    assert dicom_identity.identity_in(tmp_path) == ""
    assert dicom_identity.identity_in(tmp_path / "pipe") == ""
    assert dicom_identity.identity_in(tmp_path / "missing") == ""


# --- several inputs


def test_a_case_has_one_name_whatever_else_is_in_the_call(tmp_path):
    paths = [f"/d/p{n}/flair.nii.gz" for n in range(3)]
    together = name_inputs(paths, tmp_path)
    assert [item.case for item in together] == [name_inputs([path], tmp_path)[0].case for path in paths]
    assert [item.stem for item in together] == ["p0_flair", "p1_flair", "p2_flair"]
    assert all(item.refusal is None for item in together)


@pytest.mark.parametrize(
    "pair",
    [
        ("/x/case1.nii.gz", "/y/case1.nii.gz"),
        ("/x/Case1.nii.gz", "/y/case1.mha"),
        (unicodedata.normalize("NFC", "/x/Zoë.nii"), unicodedata.normalize("NFD", "/y/Zoë.nii")),
    ],
)
def test_of_two_inputs_with_one_name_the_later_is_refused(tmp_path, pair):
    first, second = name_inputs(pair, tmp_path)
    assert first.refusal is None
    assert second.refusal.code == "case-name-taken"
    assert second.refusal.fields["case"] == second.case


def test_names_of_the_user_count(tmp_path):
    found = name_inputs(["/x/case1.nii.gz", "/y/case1.nii.gz"], tmp_path, ["a", "b/c"])
    assert [item.case for item in found] == ["a", safe_name("b/c")]
    assert all(item.refusal is None and item.given for item in found)
    for wrong in (["a"], ["a", " "], ["a", "b", "c"]):
        with pytest.raises(FlairSegError) as caught:
            name_inputs(["/x/case1.nii.gz", "/y/case1.nii.gz"], tmp_path, wrong)
        assert caught.value.code == "names-do-not-match"
        assert ("empty" in caught.value.message) == (len(wrong) == 2)


def test_results_in_the_inputs_own_folder_keep_its_name(tmp_path):
    inside, outside = tmp_path / "p1" / "results", tmp_path / "results"
    path = tmp_path / "p1" / "flair.nii.gz"
    assert result_stem(case_name(path), path, inside) == "flair"
    assert result_stem(case_name(path), path, path.parent) == "flair"
    assert result_stem(case_name(path), path, outside) == "p1_flair"
    # A name by BIDS is complete anywhere.
    bids = tmp_path / "sub-01" / "flair.nii.gz"
    assert result_stem(case_name(bids), bids, bids.parent) == "sub-01"


@pytest.mark.parametrize(("name", "stem"), [("mask.nii.gz", "mask"), ("flair_labels.nii.gz", "flair")])
def test_a_label_map_in_its_own_folder_keeps_its_name(tmp_path, name, stem):
    path = tmp_path / "p1" / name
    case = mask_case_name(path)
    assert mask_result_stem(case, path, tmp_path / "p1" / "out") == stem
    assert mask_result_stem(case, path, tmp_path / "out") == case
    assert case.startswith("p1")


def test_inputs_that_share_a_case_in_their_own_folder_are_told_apart_by_their_files(tmp_path):
    for series in ("a1x", "b2y"):
        dicom(tmp_path / series / "1.dcm")
    found = name_inputs([tmp_path / "a1x", tmp_path / "b2y"], tmp_path / "results")
    assert [(item.case, item.stem) for item in found] == [("P0_20240102", "a1x"), ("P0_20240102", "b2y")]
    assert all(item.refusal is None for item in found)
    under_pseudonyms = name_inputs([tmp_path / "a1x", tmp_path / "b2y"], tmp_path / "results", one_name_one_input=True)
    assert [item.refusal and item.refusal.code for item in under_pseudonyms] == [None, "case-name-taken"]


NAMES = st.text(st.sampled_from("aAbäé頭_. -:?1"), min_size=1, max_size=6).filter(lambda s: s.strip(". "))


@given(st.lists(st.tuples(NAMES, NAMES, NAMES, st.sampled_from([".nii", ".nii.gz", ".mha"])), max_size=8, unique=True))
@settings(max_examples=150, deadline=None)
def test_no_two_inputs_of_a_call_share_files(parts):
    paths = [f"/{a}/{b}/{c}{ending}" for a, b, c, ending in parts]
    found = name_inputs(paths, "/elsewhere")
    kept = [folded(item.stem) for item in found if item.refusal is None]
    assert len(set(kept)) == len(kept)
    assert {folded(item.stem) for item in found} == set(kept)
    for item in found:
        assert item.case == case_name(item.path)
        assert item.stem
        assert not set(item.stem) & set('<>:"/\\|?*')


# --- results belong to one input


def volume(value: float = 0.0) -> Volume:
    return Volume(np.full((3, 4, 5), value, np.float32), np.diag([1.0, 1.0, 3.0, 1.0]), "x")


def test_a_fingerprint_is_of_voxels_and_place():
    assert fingerprint(volume()) == fingerprint(volume())
    moved = volume()
    moved = Volume(moved.array, moved.ijk_to_ras + np.array([[0, 0, 0, 1.0]] + [[0] * 4] * 3), "x")
    nudged = Volume(volume().array, volume().ijk_to_ras + 1e-9, "other")
    assert len({fingerprint(volume()), fingerprint(volume(1.0)), fingerprint(moved)}) == 3
    assert fingerprint(nudged) == fingerprint(volume())


@pytest.mark.parametrize(
    ("kept", "source", "digest", "same"),
    [
        ({"input": "../p1/f.nii", "input_sha256": "A"}, "p1/f.nii", "A", True),
        # The same file, corrected.
        ({"input": "../p1/f.nii", "input_sha256": "A"}, "p1/f.nii", "B", True),
        # The same image, moved.
        ({"input": "../old/f.nii", "input_sha256": "A"}, "p1/f.nii", "A", True),
        ({"input": "../p2/f.nii", "input_sha256": "A"}, "p1/f.nii", "B", False),
        ({"input": "../p2/f.nii", "input_sha256": ""}, "p1/f.nii", "", False),
        # Of an earlier version: as it was typed.
        ({"input": "p1/f.nii"}, "p1/f.nii", "B", True),
        ({"input": "f.nii"}, "p1/f.nii", "B", False),
        ({"input": ""}, "p1/f.nii", "B", False),
        (None, "p1/f.nii", "B", False),
        # Pseudonyms: the content alone.
        ({"input": "case-1", "input_sha256": "A"}, "case-1", "A", True),
        ({"input": "case-1", "input_sha256": "A"}, "case-1", "B", False),
    ],
)
def test_whose_results_they_are(tmp_path, monkeypatch, kept, source, digest, same):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    summary = tmp_path / "out" / "f_summary.json"
    if kept is not None:
        summary.write_text(json.dumps(kept))
    source = source if source.startswith("case-") else str(tmp_path / source)
    if same:
        refuse_other_input(summary, "f", [(source, digest)])
        return
    with pytest.raises(OutputError) as caught:
        refuse_other_input(summary, "f", [(source, digest)])
    assert caught.value.code == "other-input"
    assert caught.value.fields["stem"] == "f"


def test_a_follow_up_belongs_to_all_its_studies_in_order(tmp_path):
    summary = tmp_path / "f_followup.json"
    a, b = (str(tmp_path / name) for name in ("a.nii", "b.nii"))
    summary.write_text(json.dumps({"studies": [{"input": a, "input_sha256": "A"}, {"input": b, "input_sha256": "B"}]}))
    refuse_other_input(summary, "f", [(a, "A"), (b, "B")], "studies")
    for other in ([(b, "B"), (a, "A")], [(a, "A")], [(a, "A"), (b, "B"), (a, "A")], [(a, "A"), ("/c.nii", "C")]):
        with pytest.raises(OutputError):
            refuse_other_input(summary, "f", other, "studies")


def test_files_are_there_in_any_case_of_letters(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "Zoë_labels.nii.gz")).touch()
    wanted = [unicodedata.normalize("NFC", "zoë_labels.nii.gz"), "zoe_labels.nii.gz"]
    assert already_there(tmp_path, wanted) == wanted[:1]
    assert already_there(tmp_path / "missing", wanted) == []


@pytest.mark.parametrize("name", ["CON", "a:b", "x ", ".hidden", "a/b", "ä" * 200])
def test_safe_names_are_handed_back_as_they_are(name):
    once = safe_name(name)
    assert safe_name(once) == once
    assert len(once.encode()) <= names.MAXIMUM_STEM_BYTES


def test_words_of_a_description_alone():
    from flairseg.privacy.descriptions import technical_words

    assert technical_words("Ax T2 FLAIR Doe^Jane 19800131") == "Ax T2 FLAIR"
    assert technical_words("t2_tirm_tra_dark-fluid_3mm") == "t2_tirm_tra_dark-fluid_3mm"
    assert technical_words("Meier Anna") == "removed"


@pytest.mark.parametrize(
    ("stem", "made"),
    [
        *((f"p1_flair{word}", True) for word in (
            "_labels", "_lesion_mask", "_lesions", "_probabilities", "_disagreement", "_change", "_subtraction",
            "_study1_registered", "_study2_labels", ".seg", "_dseg", "_desc-lesion_mask", "_probseg", "_truth",
        )),
        ("labels", True), ("mask", True),
        ("p1_flair", False), ("p1_registered", False),
        ("change", False), ("unlabelled", False), ("p1_maskless", False), ("lesions_p1", False),
    ],
)  # fmt: skip
def test_what_flairseg_makes_is_no_image_to_read(tmp_path, stem, made):
    """One rule for cohorts, work lists and studies: a folder with results has no more cases for them."""
    from flairseg.cohort.folder_source import folder_sessions
    from flairseg.files.names import is_made
    from flairseg.study.drafting import _images
    from flairseg.study.queue import _from_folder

    assert is_made(stem) is is_made(stem.upper()) is made
    for name in ("p1_flair", stem):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    found = {"p1_flair.nii.gz"} | (set() if made else {f"{stem}.nii.gz"})
    assert {case.flair.name for case in _from_folder(tmp_path)} == found
    assert {path.name for path in _images(tmp_path).values()} == found
    if made:
        assert [Path(s.path).name for s in folder_sessions(tmp_path)] == ["p1_flair.nii.gz"]


def test_a_file_that_is_given_twice_counts_once_however_it_is_spelled(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.nii.gz").touch()
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "a" / "x.nii.gz")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    given = ["x.nii.gz", "./x.nii.gz", "../a/x.nii.gz", str(tmp_path / "a/x.nii.gz"), "../b/x.nii.gz", "../link.nii.gz"]
    # A link of another name is another case to whoever made it.
    assert distinct_paths(given) == [Path("x.nii.gz"), Path("../link.nii.gz")]
    assert distinct_paths(["y.nii.gz", "x.nii.gz", "y.nii.gz", "z"]) == [Path("y.nii.gz"), Path("x.nii.gz"), Path("z")]
