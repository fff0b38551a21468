"""Pseudonyms: consistent, not to be undone without the key, and no byte of a name in anything that is written."""

from __future__ import annotations

import base64
import gzip
import json
import re
import stat
import unicodedata
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from flairseg.cli import app
from flairseg.errors import FlairSegError, UnreadableImageError
from flairseg.privacy.deidentify import clean_dataset, clean_nifti
from flairseg.privacy.pseudonyms import InvalidKeyError, Pseudonymiser, pseudonymiser_for
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from Testing.core.tiny import make_head, to_dicom, to_nifti

KEY, OTHER_KEY = b"k" * 32, b"q" * 32
NAME = "Doe_Jane-19800531"


@pytest.fixture
def pseudonymiser() -> Pseudonymiser:
    return Pseudonymiser(KEY)


# --- names


def test_the_same_name_has_the_same_pseudonym_under_one_key_only(pseudonymiser):
    assert pseudonymiser.case(NAME) == Pseudonymiser(KEY).case(NAME) != Pseudonymiser(OTHER_KEY).case(NAME)
    assert pseudonymiser.case(NAME) != pseudonymiser.person(NAME).replace("person", "case")
    assert Pseudonymiser.fresh().case(NAME) != Pseudonymiser.fresh().case(NAME)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_a_pseudonym_is_a_safe_file_name_and_its_own_pseudonym(name):
    pseudonymiser = Pseudonymiser(KEY)
    made = pseudonymiser.case(name)
    assert re.fullmatch(r"case-[0-9a-z]{14}", made)
    assert pseudonymiser.case(made) == Pseudonymiser(KEY).case(made) == made


def test_what_only_looks_like_a_pseudonym_is_replaced(pseudonymiser):
    foreign = Pseudonymiser(OTHER_KEY).case(NAME)
    assert pseudonymiser.case(foreign) != foreign


def test_spellings_of_one_name_are_one(pseudonymiser):
    composed, decomposed = (unicodedata.normalize(form, "Zoë_Ångström") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert pseudonymiser.case(composed) == pseudonymiser.case(decomposed)
    assert composed not in pseudonymiser.text(f"{composed} {decomposed}")
    assert decomposed not in pseudonymiser.text(f"{composed} {decomposed}")


def test_uids_become_uuid_derived_ones(pseudonymiser):
    uid = "1.2.826.0.1.3680043.10.9999.1.5"
    new = pseudonymiser.uid(uid)
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", new)
    assert new == Pseudonymiser(KEY).uid(uid) == pseudonymiser.uid(new) != Pseudonymiser(OTHER_KEY).uid(uid)
    import uuid

    made = uuid.UUID(int=int(new[5:]))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    assert pseudonymiser.uid("1.2.840.10008.5.1.4.1.1.4") == "1.2.840.10008.5.1.4.1.1.4"
    assert pseudonymiser.uid("") == ""
    assert pseudonymiser.uid("2.25.7") != "2.25.7"


def test_dates_move_together_and_times_go(pseudonymiser):
    from datetime import date

    first, second = (date.fromisoformat(pseudonymiser.date(d)) for d in ("2024-02-28", "2024-03-01"))
    assert (second - first).days == 2
    assert 365 <= (date(2024, 2, 28) - first).days <= 3650
    assert pseudonymiser.date("20240228") == first.strftime("%Y%m%d")
    assert pseudonymiser.date("2024-02-28T10:11:12+02:00") == first.isoformat()
    assert pseudonymiser.date("20240228101112.5") == first.strftime("%Y%m%d")
    for nonsense in ("", "yesterday", "20241331", "0001-01-01", "2024-02-30", "1234567"):
        assert pseudonymiser.date(nonsense) == ""
    assert Pseudonymiser(OTHER_KEY).date("20240228") != pseudonymiser.date("20240228")


def test_texts_lose_learned_names_in_any_case_of_letters(pseudonymiser):
    case = pseudonymiser.learn_path("/ward 5/Doe_Jane/mr.nii.gz")
    line = pseudonymiser.text("/WARD 5/doe_jane/MR.nii.gz: mr.nii.gz is no primary volume; the MR was truncated.")
    assert line == f"{case}: {case} is no primary volume; the MR was truncated."
    assert pseudonymiser.text("nothing is known of this") == "nothing is known of this"


def test_messages_about_a_folder_do_not_name_what_lies_in_it(tmp_path, pseudonymiser):
    folder = tmp_path / "study"
    (folder / "Doe_Jane").mkdir(parents=True)
    pseudonymiser.learn_path(folder)
    assert "Doe" not in pseudonymiser.text("DICOM files must be directly in the folder: try study/Doe_Jane.")


def test_contents_are_cleaned_by_their_keys(pseudonymiser):
    content = {
        "case": NAME,
        "input": f"/srv/smith/{NAME}.nii.gz",
        "warnings": [f"{NAME}.nii.gz is 2-D.", "Series 1.2.840.113619.2.55.3.604688.1 was chosen."],
        "studies": [{"case": "other", "date": "2024-05-31", "input": ""}],
        "reader": "Dr Smith",
        "comment": "seen with Dr Jones",
        "software": {"flairseg": "0.1.0", "slicer": "5.12.4.0"},
        "volumes_ml": {"lesion": 3.5},
        "flag": None,
    }
    clean = pseudonymiser.content(content)
    text = json.dumps(clean)
    for secret in (NAME, "smith", "Smith", "Jones", "2024-05-31", "113619", "other"):
        assert secret not in text
    assert clean["case"] == clean["input"] == pseudonymiser.case(NAME)
    assert clean["warnings"][0] == f"{clean['case']} is 2-D."
    assert clean["software"] == content["software"]
    assert clean["volumes_ml"] == content["volumes_ml"]
    assert pseudonymiser.content(clean) == {**clean, "studies": [{**clean["studies"][0], "date": clean_date(clean)}]}
    assert content["reader"] == "Dr Smith"


def clean_date(content: dict) -> str:
    """Dates alone move again: nothing in a date tells whose it is."""
    return Pseudonymiser(KEY).date(content["studies"][0]["date"])


# --- keys and maps


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "keys" / "study.key"
    first = Pseudonymiser.from_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    raw = path.read_bytes()
    assert Pseudonymiser.from_key_file(path).case(NAME) == first.case(NAME)
    assert path.read_bytes() == raw
    path.write_bytes(b"  " + raw.strip() + b"\r\n")
    assert Pseudonymiser.from_key_file(path).case(NAME) == first.case(NAME)


def test_poor_keys_and_contradicting_options_are_refused(tmp_path):
    (tmp_path / "short").write_text("password")
    with pytest.raises(InvalidKeyError, match="8 bytes"):
        Pseudonymiser.from_key_file(tmp_path / "short")
    with pytest.raises(InvalidKeyError, match="cannot be read"):
        Pseudonymiser.from_key_file(tmp_path)
    with pytest.raises(FlairSegError, match="pseudonyms were not requested"):
        pseudonymiser_for(False, tmp_path / "key")
    assert pseudonymiser_for(False) is None
    assert pseudonymiser_for(True) is not None


def test_the_map_is_private_and_grows_under_its_own_key(tmp_path, pseudonymiser):
    path = tmp_path / "map.json"
    pseudonymiser.case(NAME)
    pseudonymiser.write_map(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Pseudonymiser(KEY)
    again.person("Smith")
    again.write_map(path)
    names = json.loads(path.read_text())["names"]
    assert names == {"case": {NAME: pseudonymiser.case(NAME)}, "person": {"Smith": again.person("Smith")}}
    before = path.read_bytes()
    with pytest.raises(InvalidKeyError, match="another key"):
        Pseudonymiser(OTHER_KEY).write_map(path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidKeyError, match="not a map"):
        pseudonymiser.write_map(tmp_path / "notes.txt")
    assert path.read_bytes() == before
    assert (tmp_path / "notes.txt").read_text() == "mine"


# --- DICOM


def canary(vr: str):
    """A value of a kind that can be found again."""
    return {
        "DA": "20240531",
        "DT": "20240531101112",
        "TM": "101112",
        "UI": "1.2.3.4.5.6.7",
        "AS": "045Y",
        "DS": "71",
        "IS": "71",
        "US": 71,
        "SS": 71,
        "UL": 71,
        "FD": 71.0,
        "FL": 71.0,
        "OB": b"CANARY",
        "OW": b"CANARY",
        "UN": b"CANARY",
    }.get(vr, "CANARY")


#: What of the profile's table is cleaned in its parts, or by who makes it.
IN_PARTS = {
    "ContentSequence",
    "EncapsulatedDocument",
    "ReferencedImageSequence",
    "SourceImageSequence",
    "VerifyingObserverSequence",
}


@pytest.mark.filterwarnings("ignore")
def test_nothing_of_the_basic_profile_is_left_as_it_was(pseudonymiser):
    """Another project's reading of PS3.15 table E.1-1: every attribute there changes or goes."""
    databases = pytest.importorskip("dicomanonymizer.dicom_anonymization_databases.dicomfields_2024b")
    from pydicom import DataElement, Dataset, Sequence
    from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag

    tags = {tag for name in dir(databases) if name.endswith("_TAGS") for tag in getattr(databases, name)}
    tags = [tag for tag in tags if len(tag) == 2 and dictionary_has_tag(tag)]
    assert len(tags) > 400
    left = set()
    for tag in tags:
        vr = dictionary_VR(tag).replace("OB or OW", "OW").split(" ")[0]
        data, inner = Dataset(), Dataset()
        inner.PatientName = "CANARY"
        data.StudyDate = "20240531"
        data[tag] = DataElement(tag, vr, Sequence([inner]) if vr == "SQ" else canary(vr))
        clean = clean_dataset(data, pseudonymiser)
        if tag in clean and (vr == "SQ" or clean[tag].value == data[tag].value):
            left.add(keyword_for_tag(tag))
    assert left == IN_PARTS


def test_a_data_set_keeps_what_is_technical_and_its_references_hold(pseudonymiser, tmp_path):
    import pydicom

    files = sorted(to_dicom(make_head()[0], tmp_path / "series").iterdir())[:2]
    first, second = (pydicom.dcmread(file) for file in files)
    first.add_new((0x0029, 0x1010), "LO", "private of Jane Doe")
    first.StudyDate, first.StudyTime = "20240531", "101500"
    first.SegmentLabel = "Lesion of Doe, Jane"
    first.SeriesDescription = "AX FLAIR DOE"
    first.ReferringPhysicianName = "Smith^Ann"
    reference = pydicom.Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = second.SOPClassUID, second.SOPInstanceUID
    first.ReferencedImageSequence = pydicom.Sequence([reference])
    first.preamble = b"Jane Doe".ljust(128, b"\0")
    one, two = clean_dataset(first, pseudonymiser), clean_dataset(second, pseudonymiser)
    assert one.PatientName == one.PatientID == two.PatientID == pseudonymiser.person("12345")
    assert one.ReferencedImageSequence[0].ReferencedSOPInstanceUID == two.SOPInstanceUID != second.SOPInstanceUID
    assert one.ReferencedImageSequence[0].ReferencedSOPClassUID == second.SOPClassUID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.PixelData == first.PixelData
    assert one.PixelSpacing == first.PixelSpacing
    assert (one.StudyDate, one.StudyTime) == (pseudonymiser.date("20240531"), "000000")
    assert "SeriesDescription" not in one
    assert clean_dataset(first, pseudonymiser, keep=["SeriesDescription"]).SeriesDescription.startswith(
        "AX FLAIR person-"
    )
    assert one.SegmentLabel.startswith("Lesion of ")
    assert one.PatientIdentityRemoved == "YES"
    assert clean_dataset(one, pseudonymiser) == one
    one.save_as(tmp_path / "clean.dcm", enforce_file_format=True)
    raw = (tmp_path / "clean.dcm").read_bytes().lower()
    for secret in (b"doe", b"jane", b"12345", b"smith", b"20240531", b"101500", first.StudyInstanceUID.encode()):
        assert secret not in raw
    assert first.PatientName == "Doe^Jane"


# --- NIfTI and NRRD


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_a_nifti_file_keeps_voxels_and_placement_but_no_text(packed, endian, tmp_path):
    import nibabel as nib

    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    header = nib.Nifti1Header(endianness=endian)
    header.set_data_dtype(np.int16)
    image = nib.Nifti1Image(array, affine, header)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Doe^Jane in an extension"))
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        image.header[field] = b"Doe Jane"
    path = tmp_path / ("Doe_Jane.nii.gz" if packed else "Doe_Jane.nii")
    nib.save(image, path)
    (tmp_path / path.name.replace("Doe_Jane", "clean")).write_bytes(clean_nifti(path.read_bytes()))
    clean = nib.load(tmp_path / path.name.replace("Doe_Jane", "clean"))
    raw = (tmp_path / path.name.replace("Doe_Jane", "clean")).read_bytes()
    assert np.array_equal(clean.get_fdata(), array)
    assert np.array_equal(clean.affine, affine)
    assert len(clean.header.extensions) == 0
    assert b"Doe" not in raw
    assert b"Doe" not in (gzip.decompress(raw) if packed else raw)
    with pytest.raises(UnreadableImageError):
        clean_nifti(path.read_bytes()[:90])
    with pytest.raises(UnreadableImageError):
        clean_nifti(raw[:-9])


# --- everything that a command writes


def every_byte(raw: bytes) -> bytes:
    """A file's bytes, and those that are packed in it: gzip (NIfTI, NRRD), streams of PDF, base64 in HTML.

    What is packed in text is taken out of it: a megabyte of base64 spells "smith" by chance once in thirty times.
    """
    found = []

    def unpacked(match: re.Match[bytes]) -> bytes:
        text = match[1].strip()
        if match[0].startswith(b"base64,"):
            found.append(every_byte(base64.b64decode(text)))
            return b""
        for packed in (text, ascii85(text)):
            with suppress(zlib.error):
                found.append(zlib.decompressobj().decompress(packed))
                return b""
        return match[0]

    packed = raw.find(b"\x1f\x8b\x08") if raw[:4] == b"NRRD" else 0 if raw[:2] == b"\x1f\x8b" else -1
    if packed >= 0:
        found.append(zlib.decompressobj(wbits=31).decompress(raw[packed:]))
    if raw[:5] == b"%PDF-":
        raw = re.sub(rb"stream\r?\n(.*?)endstream", unpacked, raw, flags=re.DOTALL)
    raw = re.sub(rb"base64,([A-Za-z0-9+/=]+)", unpacked, raw)
    return b"\n".join([raw, *found])


def ascii85(stream: bytes) -> bytes:
    try:
        return base64.a85decode(stream.removesuffix(b"~>"))
    except ValueError:
        return b""


def spelled(name: str) -> list[bytes]:
    """How a name can stand in a file: UTF-8, UTF-16, hexadecimal as PDF has it."""
    both = [name.encode(), name.encode("utf-16-be"), name.encode("utf-16-le")]
    return [*both, *(raw.hex().encode() for raw in both)]


def leaks(folder: Path, names: list[str], said: str = "") -> list[str]:
    found = [f"{name} in the output" for name in names if name.lower() in said.lower()]
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        raw = every_byte(path.read_bytes()).lower()
        found += [f"{name} in {path.name}" for name in names if any(s.lower() in raw for s in spelled(name))]
        found += [f"{name} in the name {path.name}" for name in names if name.lower() in str(path.name).lower()]
    return found


def test_no_byte_of_a_name_is_in_what_segment_writes(tmp_path, model):
    volume = make_head()[0]
    patient = tmp_path / "Doe_Jane_MRN-0012345"
    to_dicom(volume, patient)
    nifti = to_nifti(volume, tmp_path / "Roe_Richard.nii.gz")
    (tmp_path / "Poe_Edgarallan.nii.gz").write_bytes(nifti.read_bytes()[:5000])
    out, key, names = tmp_path / "out", tmp_path / "study.key", tmp_path / "map.json"
    arguments = [str(p) for p in (patient, nifti, tmp_path / "Poe_Edgarallan.nii.gz", tmp_path / "Never_There.nii.gz")]
    options = ["--model", str(model / "model.onnx"), "--output", str(out), "--probabilities", "--pseudonymise"]
    options += ["--pseudonym-key", str(key), "--pseudonym-map", str(names), "--no-regions"]
    result = CliRunner().invoke(app, ["segment", *arguments, *options], env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    secrets = ["Doe_Jane", "Doe^Jane", "0012345", "Richard", "Edgarallan", "Never_There", "1.2.826.0.1.3680043"]
    assert leaks(out, secrets, result.output) == []
    assert len(list(out.iterdir())) == 14
    cases = json.loads(names.read_text())["names"]["case"]
    assert {"12345_Doe_Jane_MRN-0012345", "Roe_Richard"} <= set(cases)
    summary = json.loads((out / f"{cases['Roe_Richard']}_summary.json").read_text())
    assert summary["case"] == summary["input"] == cases["Roe_Richard"]
    again = CliRunner().invoke(app, ["segment", str(nifti), *options])
    # The same key and image: it is known that the case is done.
    assert again.exit_code == 0, again.output
    assert "1 already done" in again.output
    assert leaks(out, secrets, again.output) == []
    # The test itself must be able to find a name.
    plain = CliRunner().invoke(app, ["segment", str(nifti), *options[:2], "--output", str(tmp_path / "plain")])
    assert plain.exit_code == 0
    assert any("summary.json" in leak for leak in leaks(tmp_path / "plain", ["Richard"]))
