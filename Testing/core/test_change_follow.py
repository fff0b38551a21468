"""What became of each lesion: painted heads whose truth is known, with labels given, so that no model is in the way."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.anatomy import RegionMap
from flairseg.cli.app import app
from flairseg.errors import (
    Cancelled,
    FlairSegError,
    GridMismatchError,
    InvalidGeometryError,
    OutputError,
    UnsupportedImageError,
)
from flairseg.files.nifti import write_nifti
from flairseg.io.label_maps import read_label_map
from flairseg.io.raw_labels import LABELS_DESCRIPTION
from flairseg.lesions.components import find_lesions
from flairseg.longitudinal import CODES, STATES, follow, render_followup, write_followup
from flairseg.longitudinal.judging import OFF_BRAIN
from flairseg.longitudinal.parenchyma import parenchyma
from flairseg.longitudinal.result import FollowUp
from flairseg.longitudinal.studies import Study, StudyInput, load_study, open_study
from flairseg.longitudinal.writing import ENDINGS, followup_csv, followup_files
from flairseg.progress import CancelToken
from flairseg.segmentation.postprocessing import lesion_components
from flairseg.segmentation.warning_codes import WARNINGS
from scipy import ndimage
from typer.testing import CliRunner

from Testing.core.change_heads import LEFT_HANDED, scan, turned
from Testing.core.dicom_series import Study as DicomStudy
from Testing.core.dicom_series import write_series
from Testing.core.tiny import grid

MOTION = turned((5.0, -3.0, 4.0), (3.0, -5.0, 4.0))
NEW, GONE, GROWS, SHRINKS, SAME = (20, -42, 30), (-18, 44, 12), (-32, 12, -14), (30, 8, -18), (28, -22, 0)
FIRST = ((*GONE, 6.0), (*GROWS, 4.5), (*SHRINKS, 7.5), (*SAME, 6.0), (-26, -34, 20, 5.0), (-26, -14, 20, 5.0))
LAST = ((*NEW, 6.0), (*GROWS, 8.0), (*SHRINKS, 4.5), (*SAME, 6.0), (-26, -24, 20, 13.0))


@pytest.fixture(scope="module")
def pair():
    """Two studies of one head: (volume, labels) each."""
    return scan(lesions=FIRST, name="first"), scan(MOTION, lesions=LAST, seed=1, gain=3.0, name="last")


@pytest.fixture(scope="module")
def seen() -> list[tuple[float, str]]:
    """The progress that :func:`followed` reported."""
    return []


@pytest.fixture(scope="module")
def followed(pair, seen) -> FollowUp:
    """What became of the lesions between the two."""
    (first, drawn), (last, later) = pair
    return follow(
        [StudyInput(first, drawn, date="2024-01-31"), StudyInput(last, later, date="2025-02-01")],
        progress=lambda fraction, stage: seen.append((fraction, stage)),
    )


def turned_place(place) -> np.ndarray:
    """Where a place of the first study's head lies in the last study, RAS mm."""
    return (MOTION @ [*place, 1.0])[:3]


def state_at(result: FollowUp, place) -> str:
    """State of the lesion nearest to a place, RAS mm of the first study."""
    to_study = result.space.common_to_study[0]

    def distance(lesion) -> float:
        centre = to_study[:3, :3] @ result.centre_common(lesion) + to_study[:3, 3]
        return float(np.linalg.norm(centre - place))

    nearest = min(result.lesions, key=distance)
    assert distance(nearest) < 6
    return nearest.state


@pytest.mark.parametrize(
    ("place", "state"),
    [(NEW, "new"), (GONE, "resolved"), (GROWS, "enlarging"), (SHRINKS, "shrinking"), (SAME, "stable"),
     ((-26, -24, 20), "merged")],
)  # fmt: skip
def test_each_lesion_gets_the_state_that_it_has(followed, place, state):
    assert state_at(followed, place) == state
    assert sum(followed.counts.values()) == len(followed.lesions) == 6


def test_volumes_are_those_of_the_lesion_tables(followed, pair):
    for n, (volume, labels) in enumerate(pair):
        total = sum(lesion.track.volumes_mm3[n] for lesion in followed.lesions)
        assert total == pytest.approx(np.count_nonzero(labels == 3) * volume.voxel_mm3)
        numbers = sorted(k for lesion in followed.lesions for k in lesion.track.presences[n].numbers)
        assert numbers == list(range(1, lesion_components(labels)[1] + 1))


def test_the_change_map_says_the_same_as_the_list(followed):
    new = next(lesion for lesion in followed.lesions if lesion.state == "new")
    assert set(np.unique(followed.change_map[tuple(new.track.voxels.T)])) == {1}
    assert set(np.unique(followed.change_map)) <= set(CODES)
    grown = next(lesion for lesion in followed.lesions if lesion.state == "enlarging")
    assert set(np.unique(followed.change_map[tuple(grown.track.voxels.T)])) == {2, 8}
    volume = np.count_nonzero(followed.change_map == 1) * followed.space.grid.voxel_mm3
    assert volume == pytest.approx(new.track.volumes_mm3[-1], rel=0.25)


def test_the_reverse_order_gives_the_reverse_states_left_handed_or_not(pair):
    (first, drawn), _ = pair
    last, later = scan(MOTION, lesions=LAST, seed=1, orientation=LEFT_HANDED, name="left-handed")

    result = follow([StudyInput(last, later), StudyInput(first, drawn)])

    assert result.counts == {s.id: 0 if s.id == "merged" else 1 for s in STATES}


def test_three_studies_have_states_between_each_two(pair):
    (first, drawn), (last, later) = pair
    middle, between = scan(turned((-3, 2, 1), (1, 1, -4)), lesions=(*FIRST, (*NEW, 6.0)), seed=2, name="middle")

    result = follow([StudyInput(*one) for one in ((first, drawn), (middle, between), (last, later))])

    new = next(lesion for lesion in result.lesions if lesion.state == "new")
    assert new.intervals == ("new", "stable")
    gone = next(lesion for lesion in result.lesions if lesion.state == "resolved")
    assert gone.intervals == ("stable", "resolved")
    assert len(result.summary()["registration"]) == 2
    assert len(new.track.volumes_mm3) == 3


def test_what_the_images_do_not_support_is_no_change(pair):
    (first, drawn), _ = pair
    same, truth = scan(MOTION, lesions=FIRST, seed=4, name="same")
    # A reader who drew two lesions more and left one out the second time; the head is as it was.
    careless = truth.copy()
    careless[scan(MOTION, lesions=((*NEW, 6.0),), seed=4)[1] == 3] = 3
    forgotten = scan(MOTION, lesions=((*GONE, 6.0),), seed=4)[1] == 3
    careless[forgotten] = 0

    result = follow([StudyInput(first, drawn), StudyInput(same, careless)])

    assert result.counts["new"] == result.counts["resolved"] == 0
    notes = {lesion.judgement.note for lesion in result.lesions}
    assert "the subtraction does not support a change" in notes


@pytest.mark.parametrize("drawn", ["nothing", "wider"])
def test_volumes_that_differ_in_stable_lesions_are_told(drawn):
    """One head, masks of two readers: 100 % or 80 % between the volumes, every lesion stable, and not a word."""
    (first, labels), (last, truth) = (scan(lesions=FIRST, name=f"s{n}", seed=n) for n in (0, 1))
    lesion = ndimage.binary_dilation(truth == 3, np.ones((1, 3, 3))) & (truth == 0) | (truth == 3)
    other = np.where(lesion if drawn == "wider" else truth == 3, 3 if drawn == "wider" else 0, truth)
    result = follow([StudyInput(first, labels), StudyInput(last, other.astype(np.uint8))])
    assert result.counts["stable"] == len(result.lesions) == 6
    (doubt,) = (w for w in result.warnings if getattr(w, "code", "") == "stable-lesions-differ")
    volumes = [float((m == 3).sum() * first.voxel_mm3 / 1000) for m in (labels, other)]
    assert [doubt.fields["first_ml"], doubt.fields["last_ml"]] == pytest.approx(volumes, abs=1e-3)
    assert doubt.fields["stable_ml"] == pytest.approx(volumes[1] - volumes[0], abs=1e-3)
    assert f"{volumes[0]:.2f} ml in the first and {volumes[1]:.2f} ml" in doubt
    assert {"code": doubt.code, "message": str(doubt), **doubt.fields} in result.summary()["warnings"]


def test_volumes_that_agree_or_that_called_changes_explain_are_not_remarked_on(followed):
    assert "stable-lesions-differ" not in [getattr(w, "code", "") for w in followed.warnings]
    volumes = [sum(lesion.track.volumes_mm3[n] for lesion in followed.lesions) for n in (0, 1)]
    assert volumes[1] > 1.5 * volumes[0], "the difference is large, and called"
    same = follow([StudyInput(*scan(lesions=FIRST, name=f"s{n}", seed=n)) for n in (0, 1)])
    assert not same.warnings


def test_studies_of_two_patients_by_their_headers_are_told(tmp_path):
    """Two folders of a batch mixed up: of similar heads nothing else tells."""
    pytest.importorskip("pydicom", reason="pydicom is not installed")
    opened, labels = {}, {}
    for n, patient in enumerate(("P1", "p1 ", "P2")):
        volume, drawn = scan(lesions=FIRST, name="s", seed=n)
        volume = replace(volume, array=np.clip(volume.array, 0, None))
        folder = write_series(volume, tmp_path / str(n), study=DicomStudy(patient_id=patient))
        opened[n] = open_study(folder)
        labels[n] = opened[n].volume.geometry.place(drawn, volume.geometry)
    told = {m: [w.code for w in follow([StudyInput(opened[n], labels[n]) for n in (0, m)]).warnings] for m in (1, 2)}
    assert "patients-differ" not in told[1]
    assert "patients-differ" in told[2]
    assert WARNINGS["patients-differ"].trusted is False


def test_what_lights_up_off_the_brain_tissue_is_no_new_lesion(pair):
    (first, drawn), _ = pair
    last, _ = scan(lesions=FIRST, seed=7, name="last")
    points = grid(first.array.shape, first.ijk_to_ras)
    x, y, z = points - np.reshape(NEW, (3, 1, 1, 1))
    # A cistern with a vessel in it, as at the skull base: the vessel is as bright as brain, and brighter later.
    cistern, vessel = np.sqrt(x**2 + y**2 + z**2) < 15, (np.abs(x) < 1.2) & (np.abs(y) < 8) & (np.abs(z) < 4)
    dark, bright = (np.where(cistern & ~vessel, 22, v.array) for v in (first, last))
    before = first.with_array(np.where(vessel, 100, dark).astype(np.float32))
    after = last.with_array(np.where(vessel, 165, bright).astype(np.float32))
    later = np.where(vessel, 3, drawn).astype(np.uint8)

    result = follow([StudyInput(before, drawn), StudyInput(after, later)])

    assert result.counts["new"] == result.counts["resolved"] == 0
    assert OFF_BRAIN in {lesion.judgement.note for lesion in result.lesions}


def test_brain_tissue_is_thick_and_not_dark():
    image = np.full((3, 80, 80), 0.2, np.float32)
    image[:, 10:40, 10:70] = 1.0
    image[:, 55, 10:70] = 1.0  # a nerve amid the fluid
    image[:, 20:24, 20:24] = 0.3  # a hole

    found = parenchyma(image, np.ones(image.shape, bool), (4.0, 0.9, 0.9), 0)

    assert found[:, 26:38, 12:68].all()
    assert not found[:, 50:60].any()
    assert not found[:, 20:24, 20:24].any()
    assert not parenchyma(image, np.zeros(image.shape, bool), (4.0, 0.9, 0.9), 0).any()


def test_ventricles_are_measured_with_their_noise(followed, pair):
    for ml, (volume, labels) in zip(followed.ventricles.volumes_ml, pair, strict=True):
        assert ml == pytest.approx(np.count_nonzero(labels == 1) * volume.voxel_mm3 / 1000)
    assert not followed.ventricles.beyond_noise
    assert followed.ventricles.noise_percent > 0


def test_grey_levels_are_brought_together(followed):
    tissue = (followed.change_map == 0) & (np.minimum(*followed.images) > 0.8) & (np.maximum(*followed.images) < 1.3)
    assert np.median(followed.images[0][tissue]) == pytest.approx(np.median(followed.images[1][tissue]), rel=0.02)
    assert abs(np.median(followed.subtraction[tissue])) < 0.02
    new = next(lesion for lesion in followed.lesions if lesion.state == "new")
    assert new.judgement.evidence.contrast > 0.2


def test_all_files_are_written_and_read_back(followed, tmp_path):
    files = write_followup(followed, tmp_path, "case")

    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(followup_files("case", 2).values())
    summary = json.loads(files["summary"].read_text(encoding="utf-8"))
    assert summary["counts"] == followed.counts
    assert [s["date"] for s in summary["studies"]] == ["2024-01-31", "2025-02-01"]
    assert {"number", "state", "region", "volumes_mm3", "change_mm3", "change_percent", "beyond_noise",
            "centre_ras_mm", "slices"} <= set(summary["lesions"][0])  # fmt: skip
    assert summary["model"] is None
    change = sitk.ReadImage(str(files["change"]))
    assert np.array_equal(sitk.GetArrayFromImage(change), followed.change_map)
    rows = list(csv.DictReader(io.StringIO(files["table"].read_text(encoding="utf-8"))))
    assert {row["case"] for row in rows} == {summary["case"]} == {"case"}
    assert [row["state"] for row in rows] == [lesion.state for lesion in followed.lesions]


def test_its_label_maps_are_read_back_without_a_doubt(followed, pair, tmp_path):
    """Also those without a lesion: only the file's description tells FlairSeg's 1 from a mask of lesions."""
    bare = [replace(study, labels=(study.labels == 1).astype(np.uint8)) for study in followed.studies]
    files = write_followup(replace(followed, studies=tuple(bare)), tmp_path, "case")
    for n, (volume, labels) in enumerate(pair, start=1):
        found = read_label_map(files[f"labels_{n}"], volume.geometry)
        assert np.array_equal(found.labels, labels == 1)
        assert found.warnings == ()
        assert sitk.ReadImage(str(files[f"labels_{n}"])).GetMetaData("descrip").startswith(LABELS_DESCRIPTION)


def test_the_written_transform_lays_a_study_on_the_grid(followed, pair, tmp_path):
    files = write_followup(followed, tmp_path, "case")
    registered = sitk.ReadImage(str(files["flair_2"]))
    study = sitk.GetImageFromArray(pair[1][0].array)
    from flairseg.image.geometry import VolumeGeometry

    spacing, direction, origin = VolumeGeometry((1, 1, 1), pair[1][0].ijk_to_ras).to_itk()
    study.SetSpacing(spacing), study.SetDirection(direction), study.SetOrigin(origin)

    ours = sitk.Resample(study, registered, sitk.ReadTransform(str(files["transform_2"])), sitk.sitkLinear, 0.0)

    a, b = sitk.GetArrayFromImage(ours).ravel(), sitk.GetArrayFromImage(registered).ravel()
    inside = followed.images[1].ravel() > 0.5
    assert np.corrcoef(a[inside], b[inside])[0, 1] > 0.98


def test_an_existing_follow_up_is_kept_unless_told_otherwise(followed, tmp_path):
    write_followup(followed, tmp_path, "case")
    before = (tmp_path / "case_followup.json").read_bytes()

    with pytest.raises(OutputError, match="exist already"):
        write_followup(followed, tmp_path, "case")

    assert (tmp_path / "case_followup.json").read_bytes() == before
    write_followup(followed, tmp_path, "case", overwrite=True)


def test_after_a_failure_there_is_no_file(followed, tmp_path):
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        write_followup(followed, tmp_path / "new", "case", check=stop)

    assert not (tmp_path / "new").exists()


def test_a_case_named_like_a_formula_stays_a_text(followed):
    table = followup_csv(followed, "=case")
    assert not any(cell.startswith("=") for row in csv.reader(io.StringIO(table)) for cell in row)


def test_the_picture_shows_every_changed_lesion(followed):
    picture = np.asarray(render_followup(followed))
    for state in ("new", "resolved", "enlarging"):
        rgb = next(s.rgb for s in STATES if s.id == state)
        drawn = (np.abs(picture[96:].astype(int) - rgb).max(axis=2) < 8).sum()
        assert drawn > 40, state


def test_table_map_and_picture_say_the_same(followed):
    """What is called anything but stable is beyond the noise, in the labels of its study, and in the change map."""
    summary = followed.summary()
    assert summary["counts"] == {s.id: sum(row["state"] == s.id for row in summary["lesions"]) for s in STATES}
    for row, lesion in zip(summary["lesions"], followed.lesions, strict=True):
        assert row["beyond_noise"] is (row["state"] != "stable")
        assert any(row["lesion_numbers"]), "it is in a lesion table"
        codes = set(np.unique(followed.change_map[tuple(lesion.track.voxels.T)]))
        assert codes <= {next(s.code for s in STATES if s.id == row["state"]), 8, 9}
        assert row["slices"] == [n + 1 for n in row["slices_index"]]
    assert [study["lesions_added"] for study in summary["studies"]] == [0, 0]


def test_a_lesion_that_two_studies_show_together_is_in_every_file(pair, tmp_path, monkeypatch):
    """The model's labels lack it, its probability is low: it is called new, and then it is in the label map as well."""
    (first, drawn), (last, later) = pair
    truth = later == 3
    place = find_lesions(later, last.ijk_to_ras)
    (new,) = [lesion for lesion in place.lesions if np.allclose(lesion.centre_ras, turned_place(NEW), atol=4)]
    box, mask = place.mask(new.number)
    unseen = later.copy()
    unseen[box][mask] = 0
    studies = []
    for volume, labels, faint in ((first, drawn, False), (last, unseen, True)):
        lesion = (labels == 3).astype(np.float32)
        if faint:
            lesion[truth & (unseen != 3)] = 0.3
        probabilities = np.stack([1 - lesion, 0 * lesion, 0 * lesion, lesion])
        studies.append(Study(volume, labels, probabilities, None, False, volume.name))
    queue = iter(studies)
    monkeypatch.setattr("flairseg.longitudinal.followup.load_study", lambda *_: next(queue))

    result = follow([first, last])

    assert result.counts["new"] == 1
    assert [study.added for study in result.studies] == [0, 1]
    (row,) = [r for r in result.summary()["lesions"] if r["state"] == "new"]
    assert row["beyond_noise"]
    assert len(row["lesion_numbers"][1]) == 1
    assert np.allclose(row["centre_ras_mm"], new.centre_ras, atol=4)
    files = write_followup(result, tmp_path, "case")
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(files["labels_2"])))
    found = (written == 3) & (unseen != 3)
    assert 0.6 < found.sum() / mask.sum() < 1.4
    assert (found & truth).sum() > 0.6 * found.sum()
    assert row["volumes_mm3"][1] == pytest.approx(found.sum() * last.voxel_mm3, abs=0.1)
    assert (result.change_map == 1).any()
    assert np.array_equal(unseen, studies[1].labels), "what was given is as it was"


def test_cancelling_ends_it(pair):
    token = CancelToken()

    def tell(fraction: float, stage: str) -> None:
        if stage == "register":
            token.cancel()

    with pytest.raises(Cancelled):
        follow([StudyInput(*one) for one in pair], progress=tell, cancel=token)


def test_regions_are_found_beside_the_rest_on_the_last_study(pair, monkeypatch):
    (first, drawn), (last, later) = pair
    asked = []

    def nothing(volume, labels, progress=None, cancel=None):
        asked.append(volume.name)
        return RegionMap.nothing(labels.shape, volume.ijk_to_ras, "The atlas was left at home.")

    monkeypatch.setattr("flairseg.anatomy.find_regions", nothing)
    result = follow([StudyInput(first, drawn), StudyInput(last, later)], regions=True)
    assert asked == ["last"]
    assert {lesion.region for lesion in result.lesions} == {"unknown"}
    assert "The atlas was left at home." in result.warnings


def test_a_cancel_reaches_the_search_for_regions(pair, monkeypatch):
    (first, drawn), (last, later) = pair
    token, heard = CancelToken(), []

    def endless(volume, labels, progress=None, cancel=None):
        while not cancel.cancelled:
            time.sleep(0.01)
        heard.append(True)
        raise Cancelled()

    monkeypatch.setattr("flairseg.anatomy.find_regions", endless)
    with pytest.raises(Cancelled):
        follow([StudyInput(first, drawn), StudyInput(last, later)], regions=True, cancel=token,
               progress=lambda fraction, stage: token.cancel() if stage == "regions" else None)  # fmt: skip
    assert heard == [True]


def test_progress_goes_up_through_all_stages(followed, seen):
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert list(dict.fromkeys(stage for _, stage in seen)) == ["segment", "register", "compare"]
    assert set(followed.seconds) >= {"segment", "register", "compare", "total"}


def test_one_study_cannot_be_followed(pair):
    with pytest.raises(FlairSegError, match="two or more"):
        follow([pair[0][0]])


@pytest.mark.parametrize("order", ["as it is", "left-handed", "axes exchanged"])
def test_labels_are_read_whatever_their_storage_order(pair, tmp_path, order):
    (volume, labels), _ = pair
    image = sitk.GetImageFromArray(labels)
    from flairseg.image.geometry import VolumeGeometry

    spacing, direction, origin = VolumeGeometry((1, 1, 1), volume.ijk_to_ras).to_itk()
    image.SetSpacing(spacing), image.SetDirection(direction), image.SetOrigin(origin)
    if order == "left-handed":
        image = sitk.Flip(image, (True, False, False))
    elif order == "axes exchanged":
        image = sitk.PermuteAxes(image, (2, 0, 1))
    path = tmp_path / "labels.nrrd"
    sitk.WriteImage(image, str(path))

    study = load_study(StudyInput(volume, path))

    assert np.array_equal(study.labels, labels)
    assert study.given


def test_labels_of_another_grid_or_kind_are_refused(pair, tmp_path):
    (volume, labels), (last, _) = pair
    write_nifti(tmp_path / "other.nii.gz", labels, last.with_array(labels))
    shifted = volume.ijk_to_ras.copy()
    shifted[0, 3] += 3.0
    from flairseg.image.volume import Volume

    write_nifti(tmp_path / "shifted.nii.gz", labels, Volume(labels, shifted))
    with pytest.raises(GridMismatchError, match="is not on the grid"):
        load_study(StudyInput(volume, tmp_path / "shifted.nii.gz"))
    with pytest.raises(InvalidGeometryError, match="own grid"):
        load_study(StudyInput(volume, labels[1:]))
    with pytest.raises(UnsupportedImageError, match="values other than"):
        load_study(StudyInput(volume, np.full(labels.shape, 7, np.uint8)))


def test_the_command_writes_and_tells(pair, tmp_path):
    arguments = []
    for volume, labels in pair:
        for kind, array, dtype in (("flair", volume.array, np.float32), ("labels", labels, np.uint8)):
            write_nifti(tmp_path / f"{volume.name}_{kind}.nii.gz", array, volume, dtype)
        arguments += ["--labels", str(tmp_path / f"{volume.name}_labels.nii.gz")]
    studies = [str(tmp_path / f"{v.name}_flair.nii.gz") for v, _ in pair]

    result = CliRunner().invoke(app, ["follow", *studies, *arguments, "--no-regions", "-o", str(tmp_path / "out")])

    assert result.exit_code == 0, result.output
    assert "Ventricles" in result.output
    assert "Research use only" in result.output
    assert (tmp_path / "out" / f"last_flair{ENDINGS['summary']}").exists()
    again = CliRunner().invoke(app, ["follow", *studies, *arguments, "--no-regions", "-o", str(tmp_path / "out")])
    assert again.exit_code == 2
    assert "--overwrite" in again.output


def test_the_command_refuses_two_patients(pair, tmp_path):
    (volume, labels), _ = pair
    other, theirs = scan(another_head=True, seed=9, name="other")
    arguments = []
    for one, drawn in ((volume, labels), (other, theirs)):
        write_nifti(tmp_path / f"{one.name}.nii.gz", one.array, one, np.float32)
        write_nifti(tmp_path / f"{one.name}_labels.nii.gz", drawn, one)
        arguments += ["--labels", str(tmp_path / f"{one.name}_labels.nii.gz")]

    result = CliRunner().invoke(
        app,
        [
            "follow",
            str(tmp_path / "first.nii.gz"),
            str(tmp_path / "other.nii.gz"),
            *arguments,
            "-o",
            str(tmp_path / "o"),
        ],
    )

    assert result.exit_code == 2
    assert "different patients" in " ".join(result.output.split())
    assert not (tmp_path / "o").exists()
