"""What a rater gets to see tells nothing about where it comes from."""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.image.volume import Volume
from flairseg.io.reader import read_volume
from flairseg.study import Room, Study, StudySession, lock
from flairseg.study.errors import BlindedImageError, ProtocolError, StudyStateError, TamperedError
from flairseg.study.images import Mirror, read_labels
from flairseg.study.key import KEY_NAME, code_of, open_key
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.core.study_data import (
    ARMS,
    DESCRIPTION,
    HOSPITAL,
    INTENT,
    LESIONS,
    PATIENT,
    SHAPE_KJI,
    affine,
    ras_of,
    write_case,
    write_nifti,
    write_protocol,
)

#: None of these may be found in anything that a reading room holds.
TELLING = [PATIENT, DESCRIPTION, INTENT, HOSPITAL, *ARMS, "secret", "protocol.json", "coordinator"]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_protocol(folder, mirror_repeats=True)
    return folder


@pytest.fixture(scope="module")
def study(source, tmp_path_factory) -> Study:
    return lock(source / "protocol.json", tmp_path_factory.mktemp("locked") / "study")


def contents(path: Path) -> bytes:
    """A file's bytes, unpacked as well where they are packed."""
    raw = path.read_bytes()
    return raw + gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


def telling(folder: Path, words) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*")):
        texts = [str(path.relative_to(folder)).encode()] + ([contents(path)] if path.is_file() else [])
        for word in words:
            if any(word.lower().encode() in text.lower() for text in texts):
                found.append(f"{path.name}: {word}")
    return found


def test_the_search_finds_what_is_there(source):
    """The words are in the sources: in names, headers and extensions."""
    for word in (PATIENT, DESCRIPTION, INTENT, HOSPITAL, *ARMS):
        assert telling(source, [word]), word


def test_a_room_holds_no_source_name_path_or_patient(study, source, tmp_path):
    assert not telling(study.room_folder("R1"), [*TELLING, str(source), source.name])


def test_no_record_of_a_session_holds_a_source_name(study, source, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with StudySession.open(study.room_folder("R2"), application="test") as session:
        for _ in range(2):
            showing = session.next()
            words = [*TELLING, str(source), str(study.folder), showing.code]
            assert not telling(showing.flair.parent, words)
            assert not [w for w in words if w in str(showing.flair.relative_to(tmp_path))]
            session.shown.click(ras_of(LESIONS[0]))
            session.shown.answer("acceptable", "acceptable")
            session.shown.submit()
        assert not telling(tmp_path, [*TELLING, str(source)])
    assert not list(tmp_path.iterdir())
    room = study.room_folder("R2")
    assert not telling(room, [*TELLING, str(source)])
    stored = study.folder / "events.sqlite"
    with_wal = b"".join(p.read_bytes() for p in stored.parent.glob("events.sqlite*"))
    assert showing.code.encode() in with_wal
    for word in (PATIENT, HOSPITAL, *ARMS, "secretcase"):
        assert word.encode() not in with_wal, word


def test_showings_are_alike_from_outside(study):
    """Names are codes, and modification times do not tell which files were made together."""
    images = list((study.room_folder("R1") / "images").iterdir())
    assert all(
        re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}_(flair|labels)\.nii\.gz", p.name) for p in images
    )
    assert {int(p.stat().st_mtime) for p in images} == {946684800}


def test_codes_are_of_one_rater_and_one_showing(study):
    rooms = [Room.open(study.room_folder(rater)) for rater in study.raters]
    codes = [s.code for room in rooms for s in room.showings]
    assert len(codes) == len(set(codes)) == 24
    assert all(s.caption == s.code for room in rooms for s in room.showings)


def test_codes_follow_from_the_secret_alone():
    secret = "00" * 32
    assert code_of(secret, "s", "R1", 0) == code_of(secret, "s", "R1", 0)
    others = {code_of(secret, "s", "R1", 1), code_of(secret, "s", "R2", 0), code_of("11" * 32, "s", "R1", 0)}
    assert code_of(secret, "s", "R1", 0) not in others
    assert len(others) == 3


@pytest.mark.parametrize(("level", "caption"), [("source", "secretcase"), ("open", "secretmodel")])
def test_blinding_levels(tmp_path, level, caption):
    path = write_protocol(tmp_path / "src", 2, arms=ARMS[:1], blinding=level)
    room = Room.open(lock(path, tmp_path / "study").room_folder("R1"))
    assert all(caption in s.caption for s in room.showings)
    assert any(ARMS[0] in s.caption for s in room.showings) is (level == "open")


def test_voxels_and_placement_are_those_of_the_source(study, source):
    key = open_key(study.coordinator / KEY_NAME, study.commitment)
    room = Room.open(study.room_folder("R1"))
    seen = set()
    for entry, showing in zip(key.entries["R1"], room.showings, strict=True):
        case = study.protocol.case(entry.case)
        original, shown = read_volume(source / case.flair), read_volume(room.image(showing))
        mask = next(a.mask for a in case.arms if a.id == entry.arm)
        drawn = sitk.GetArrayFromImage(sitk.ReadImage(str(source / mask)))
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(room.labels(showing))))
        assert np.allclose(shown.ijk_to_ras, original.ijk_to_ras, atol=1e-5)
        turned = (lambda a: a[:, :, ::-1]) if entry.mirror is not None else (lambda a: a)
        assert (shown.array == turned(original.array)).all()
        assert (labels == turned(drawn)).all()
        seen.add(entry.mirror is not None)
    assert seen == {True, False}


def test_independent_readers_see_neutral_headers(study):
    for path in (study.room_folder("R1") / "images").iterdir():
        header = nibabel.load(path).header
        texts = {name: header[name].item().decode().strip("\0") for name in ("db_name", "aux_file", "intent_name")}
        assert set(texts.values()) == {""}
        assert header["descrip"].item().decode().strip("\0") == "FlairSeg, research use only"
        assert len(header.extensions) == 0
        assert path.read_bytes()[3] & 0b1000 == 0  # gzip: no name
        assert path.read_bytes()[4:8] == b"\0\0\0\0"  # gzip: no time


@settings(max_examples=40, deadline=None)
@given(
    axes=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    data=st.data(),
)
def test_mirror_turns_voxels_and_points_alike(axes, signs, shape, data):
    """A voxel at a point is, in the mirror, at the mirrored point; the axis is the one nearest to left-right."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, list(axes)] * np.array(signs) * (0.9, 1.1, 4.0)
    matrix[:3, 3] = (3.0, -7.0, 11.0)
    rng = np.random.default_rng(0)
    array = rng.random(shape)
    mirror = Mirror.of(Volume(array, matrix))
    assert axes[mirror.axis] == 0
    k, j, i = (data.draw(st.integers(0, n - 1)) for n in shape)
    here = tuple((matrix @ [i, j, k, 1])[:3])
    there = np.linalg.solve(matrix, [*mirror.point(here), 1.0])[:3]
    i2, j2, k2 = np.rint(there).astype(int)
    assert mirror.flip(array)[k2, j2, i2] == array[k, j, i]
    assert mirror.point(mirror.point(here)) == pytest.approx(here)
    assert mirror.point(here)[1:] == pytest.approx(here[1:])
    assert (mirror.flip(mirror.flip(array)) == array).all()


def test_the_key_is_the_coordinator_s(study):
    path = study.coordinator / KEY_NAME
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(study.coordinator.stat().st_mode) == 0o700
    with pytest.raises(StudyStateError, match="sealed"):
        study.key()


def test_another_key_is_not_taken(study, tmp_path):
    raw = json.loads((study.coordinator / KEY_NAME).read_text())
    assert open_key(study.coordinator / KEY_NAME, study.commitment).to_json() == raw
    raw["raters"]["R1"][0]["arm"], raw["raters"]["R1"][1]["arm"] = "humanreader", "humanreader"
    other = tmp_path / KEY_NAME
    other.write_text(json.dumps(raw))
    with pytest.raises(TamperedError, match="not the key"):
        open_key(other, study.commitment)
    other.write_text("{}")
    with pytest.raises(TamperedError):
        open_key(other, study.commitment)
    with pytest.raises(StudyStateError):
        open_key(tmp_path / "none", study.commitment)


# --- sources that will not do ----------------------------------------------------------------------------------------


def grid() -> Volume:
    return Volume(np.zeros(SHAPE_KJI, np.float32), affine())


def test_a_cropped_mask_is_put_in_its_place(tmp_path):
    whole = np.zeros(SHAPE_KJI, np.uint8)
    whole[2:4, 5:9, 6:12] = 3
    part = whole[1:5, 4:12, 5:15]
    image = sitk.GetImageFromArray(part)
    matrix = affine()
    lps = np.diag([-1, -1, 1, 1]) @ matrix
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((lps @ [5, 4, 1, 1])[:3].tolist())
    sitk.WriteImage(image, str(tmp_path / "part.seg.nrrd"))
    assert (read_labels(tmp_path / "part.seg.nrrd", {3: 3}, grid()) == whole).all()


def test_classes_are_named_by_the_protocol(tmp_path):
    mask = np.zeros(SHAPE_KJI, np.uint8)
    mask[2, 2, 2], mask[3, 3, 3] = 1, 7
    write_nifti(mask, tmp_path / "m.nii.gz")
    labels = read_labels(tmp_path / "m.nii.gz", {7: 3}, grid())
    assert (labels[3, 3, 3], labels.sum()) == (3, 3)
    with pytest.raises(BlindedImageError, match=r"1 \(1 voxel\), 7 \(1 voxel\)"):
        read_labels(tmp_path / "m.nii.gz", {3: 3}, grid())


def test_an_empty_mask_is_a_mask(tmp_path):
    write_nifti(np.zeros(SHAPE_KJI, np.uint8), tmp_path / "m.nii.gz")
    assert not read_labels(tmp_path / "m.nii.gz", {3: 3}, grid()).any()


@pytest.mark.parametrize("kind", ["shifted", "probabilities", "truncated", "text", "missing", "outside", "4d"])
def test_masks_that_will_not_do(tmp_path, kind):
    path = tmp_path / "m.nii.gz"
    mask = np.zeros(SHAPE_KJI, np.uint8)
    mask[2, 6, 5] = 3
    if kind == "shifted":
        write_nifti(mask, path, seed=1)  # one millimetre
    elif kind == "probabilities":
        write_nifti(mask / 7.0, path)
    elif kind == "truncated":
        write_nifti(mask, path)
        raw = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(raw[:-500]))
    elif kind == "text":
        path.write_text("no image")
    elif kind == "outside":
        mask[:, :, -1] = 3
        write_nifti(np.pad(mask, ((0, 0), (0, 0), (0, 4)), constant_values=3), path)
    elif kind == "4d":
        write_nifti(np.stack([mask, mask]), path)
    with pytest.raises(BlindedImageError) as caught:
        read_labels(path, {3: 3}, grid())
    assert caught.value.advice


def test_locking_leaves_nothing_behind_when_it_fails(tmp_path):
    path = write_protocol(tmp_path / "src", 3)
    content = json.loads(path.read_text())
    (tmp_path / "src" / content["cases"][2]["arms"][1]["mask"]).write_bytes(b"")
    with pytest.raises(BlindedImageError):
        lock(path, tmp_path / "deep" / "study")
    assert not (tmp_path / "deep" / "study").exists()
    assert not list((tmp_path / "deep").iterdir())


def test_a_locked_study_is_not_locked_again(study, source):
    with pytest.raises(StudyStateError, match="locked"):
        lock(source / "protocol.json", study.folder)


def test_passwords_do_not_get_into_a_study(source, tmp_path):
    with pytest.raises(ProtocolError, match="password"):
        lock(source / "protocol.json", tmp_path / "x", "postgresql://me:pw@host/db")


def test_small_lesions_are_removed_before_anybody_sees_them(tmp_path):
    path = write_protocol(tmp_path / "src", 2, minimum_lesion_mm3=20.5)
    study = lock(path, tmp_path / "study")
    with StudySession.open(study.room_folder("R1")) as session:
        assert session.next().lesions.lesions == ()


def test_floating_point_images_keep_their_values(tmp_path):
    case = write_case(tmp_path, "c1", 0)
    values = np.random.default_rng(1).random(SHAPE_KJI).astype(np.float32)
    write_nifti(values, tmp_path / case["flair"])
    from Testing.core.study_data import protocol_json

    path = tmp_path / "protocol.json"
    path.write_text(json.dumps(protocol_json([case, write_case(tmp_path, "c2", 1)])))
    study = lock(path, tmp_path / "study")
    room = Room.open(study.room_folder("R1"))
    shown = [read_volume(room.image(s)).array for s in room.showings]
    assert any((array == values).all() for array in shown)
