"""DICOM segmentations of highdicom, dcmqi and FlairSeg itself, read by pydicom and placed on their series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flairseg.dicom import Algorithm, make_seg, making, read_flair
from flairseg.errors import UnreadableImageError, UnsuitableMaskError
from flairseg.image.volume import Volume
from flairseg.io.label_maps import read_label_map
from flairseg.io.label_meanings import parse_meaning

from Testing.core.dicom_series import write_series

hd = pytest.importorskip("highdicom", reason="highdicom is not installed: pip install 'flairseg[dicom]'")
pydicom = pytest.importorskip("pydicom")

AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 30], [0, 0, 5.0, -20], [0, 0, 0, 1]])
SHAPE = (6, 32, 32)
#: Written by dcmqi 1.5.7 (itkimage2segimage --skip) from :func:`dcmqi_labels` on the series of :func:`series`.
DCMQI = Path(__file__).parent / "data" / "dcmqi_1.5.7_seg.dat"


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    array = np.random.default_rng(0).integers(100, 300, SHAPE).astype(np.float32)
    return write_series(Volume(array, AFFINE, "head"), tmp_path_factory.mktemp("dicom") / "flair", "siemens")


@pytest.fixture(scope="module")
def source(series):
    return read_flair(series)


def regions(*names: str) -> dict[str, np.ndarray]:
    masks = {name: np.zeros(SHAPE, bool) for name in ("lesion", "ventricles", "other")}
    masks["lesion"][1:3, 5:11, 20:25] = True
    masks["ventricles"][2:5, 14:22, 9:16] = True
    masks["other"][4, 25:28, 3:7] = True
    return {name: masks[name] for name in names or masks}


def code(meaning: str, scheme: str = "99TEST"):
    return hd.sr.CodedConcept(meaning[:10].upper().replace(" ", ""), scheme, meaning)


def segmentation(source, pixels: np.ndarray, labels: list[tuple[str, str]], kind: str, **more):
    """A SEG of highdicom; ``labels`` of (segment label, meaning of its type)."""
    files = sorted({frame.path for frame in source.source.frames})
    headers = [pydicom.dcmread(file) for file in files]
    headers.sort(key=lambda data: float(data.ImagePositionPatient[2]))
    described = [
        hd.seg.SegmentDescription(
            segment_number=n,
            segment_label=label,
            segmented_property_category=code("Tissue"),
            segmented_property_type=code(meaning),
            algorithm_type="MANUAL",
        )
        for n, (label, meaning) in enumerate(labels, start=1)
    ]
    return hd.seg.Segmentation(
        headers, pixels, kind, described, hd.UID(), 7, hd.UID(), 1, "maker", "model", "1", "1", **more
    )


def in_order(array: np.ndarray, source) -> np.ndarray:
    """An array of the volume in the order of rising z, in which :func:`segmentation` sorts the headers."""
    return array if source.volume.ijk_to_ras[2, 2] > 0 else array[::-1]


def saved(seg, path: Path) -> Path:
    seg.save_as(path)
    return path


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_highdicom_s_segments_are_read_by_label_and_placed(source, tmp_path, kind):
    masks = regions("ventricles", "lesion")
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[masks["ventricles"]], pixels[masks["lesion"]] = 1, 2
    seg = segmentation(source, in_order(pixels, source), [("Ventricles", "x"), ("MS lesion", "y")], kind)
    found = read_label_map(saved(seg, tmp_path / "seg.dcm"), source.volume.geometry)
    assert np.array_equal(found.labels, np.where(masks["lesion"], 3, masks["ventricles"]))
    assert (found.kind, found.classes, found.warnings) == ("dicom-seg", {1, 3}, ())
    # On its own grid it spans the slices that hold something.
    alone = read_label_map(tmp_path / "seg.dcm")
    assert alone.geometry.voxel_volume_mm3 == pytest.approx(source.volume.voxel_mm3)
    assert np.count_nonzero(alone.labels) == np.count_nonzero(found.labels)


def test_a_generic_label_is_read_by_the_words_of_its_type(source, tmp_path):
    mask = regions()["lesion"].astype(np.uint8)
    seg = segmentation(source, in_order(mask, source), [("Segment 1", "White matter lesion")], "BINARY")
    found = read_label_map(saved(seg, tmp_path / "seg.dcm"), source.volume.geometry)
    assert np.array_equal(found.labels, 3 * mask)
    seg = segmentation(source, in_order(mask, source), [("Segment 1", "Tissue")], "BINARY")
    with pytest.raises(UnsuitableMaskError, match="not stated") as caught:
        read_label_map(saved(seg, tmp_path / "other.dcm"), source.volume.geometry)
    assert caught.value.fields["values"] == [1]
    stated = read_label_map(tmp_path / "other.dcm", source.volume.geometry, parse_meaning("1=lesion"))
    assert np.array_equal(stated.labels, 3 * mask)


def test_overlapping_segments_keep_all_their_voxels(source, tmp_path):
    masks = regions("ventricles", "lesion")
    masks["lesion"][3, 15:18, 10:13] = True
    pixels = np.stack([masks["ventricles"], masks["lesion"]], axis=-1).astype(np.uint8)
    ordered = in_order(pixels, source)
    seg = segmentation(source, ordered, [("Ventricles", "x"), ("WMH", "y")], "BINARY")
    found = read_label_map(saved(seg, tmp_path / "seg.dcm"), source.volume.geometry)
    assert np.array_equal(found.labels, np.where(masks["lesion"], 3, masks["ventricles"]))
    assert [w.code for w in found.warnings] == ["overlapping-segments"]
    assert found.warnings[0].startswith("9 voxels")


def test_fractions_are_refused_and_whole_fractions_are_not(source, tmp_path):
    pixels = np.where(regions()["lesion"], 0.6, 0.0).astype(np.float32)
    more = {"fractional_type": "PROBABILITY", "max_fractional_value": 200}
    labels = [("Lesions", "x")]
    seg = segmentation(source, in_order(pixels, source)[..., None], labels, "FRACTIONAL", **more)
    with pytest.raises(UnsuitableMaskError) as caught:
        read_label_map(saved(seg, tmp_path / "seg.dcm"), source.volume.geometry)
    assert caught.value.code == "fractional-segmentation"
    seg = segmentation(source, in_order(pixels > 0, source)[..., None].astype(np.float32), labels, "FRACTIONAL", **more)
    found = read_label_map(saved(seg, tmp_path / "whole.dcm"), source.volume.geometry)
    assert np.array_equal(found.labels, 3 * regions()["lesion"])


def test_other_organs_are_refused(source, tmp_path):
    mask = regions()["other"].astype(np.uint8)
    seg = segmentation(source, in_order(mask, source), [("Liver", "Liver")], "BINARY")
    with pytest.raises(UnsuitableMaskError, match="'Liver' \\(12 voxels\\)"):
        read_label_map(saved(seg, tmp_path / "seg.dcm"), source.volume.geometry)


def test_our_own_objects_come_back_with_every_voxel(source, tmp_path):
    masks = regions()
    labels = (3 * masks["lesion"] + masks["ventricles"] + 2 * masks["other"]).astype(np.uint8)
    path = tmp_path / "seg.dcm"
    making.save(make_seg(labels, source.source, Algorithm("m", "1.0", "MANUAL")), path)
    assert np.array_equal(read_label_map(path, source.volume.geometry).labels, labels)
    # The folder of the object is as good, unless it holds several.
    assert np.array_equal(read_label_map(tmp_path, source.volume.geometry).labels, labels)
    (tmp_path / "again.dcm").write_bytes(path.read_bytes())
    with pytest.raises(UnsuitableMaskError, match="holds 2 DICOM segmentations"):
        read_label_map(tmp_path)


def dcmqi_labels() -> np.ndarray:
    """Ventricles, an MS lesion, and a WMH in a second image that overlaps the ventricles."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:3, 10:20, 12:18] = 1
    labels[4, 5:9, 5:9] = 3
    labels[2, 12:15, 12:15] = 3
    return labels


def test_dcmqi_s_objects_are_read(source):
    found = read_label_map(DCMQI, source.volume.geometry)
    assert np.array_equal(found.labels, dcmqi_labels())
    assert [label.name for label in found.found] == ["Ventricles", "MS lesion", "WMH"]
    assert [w.code for w in found.warnings] == ["overlapping-segments"]


def test_damaged_and_other_objects_are_refused(series, tmp_path):
    raw = DCMQI.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(raw[: len(raw) - 200])
    with pytest.raises(UnreadableImageError, match="truncated"):
        read_label_map(tmp_path / "cut.dcm")
    with pytest.raises(UnsuitableMaskError, match="not a segmentation"):
        read_label_map(next(series.iterdir()))


def test_frames_off_a_regular_grid_are_refused(tmp_path):
    data = pydicom.dcmread(DCMQI)
    data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[2] += 1.7
    data.save_as(tmp_path / "seg.dcm")
    with pytest.raises(UnsuitableMaskError, match="not on a regular grid"):
        read_label_map(tmp_path / "seg.dcm")


def test_without_pydicom_the_remedy_is_told(tmp_path, monkeypatch):
    import builtins

    from flairseg.errors import MissingDependencyError

    real = builtins.__import__

    def without(name, *arguments, **more):
        if name == "pydicom":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match="pydicom"):
        read_label_map(DCMQI)


# --- evaluation of folders


def test_segmentation_objects_are_matched_by_name_and_images_beside_them_are_not(source, series, tmp_path):
    """Predictions of FlairSeg as DICOM, references as SEG in a folder per case, with the series beside them."""
    import shutil

    from flairseg.evaluation import evaluate, match_folders

    masks = regions("lesion", "ventricles")
    pixels = (masks["lesion"] * 2 + masks["ventricles"]).astype(np.uint8)
    names = [("Ventricles", "Brain ventricle"), ("MS lesion", "Lesion")]
    (tmp_path / "theirs" / "p7").mkdir(parents=True)
    saved(segmentation(source, pixels, names, "BINARY", omit_empty_frames=True), tmp_path / "theirs" / "p7" / "seg.dcm")
    for file in sorted(Path(series).iterdir())[:3]:
        shutil.copy(file, tmp_path / "theirs" / "p7" / f"{file.stem}.dcm")
    wrong = pixels.copy()
    wrong[5, 2:5, 2:5] = 2  # on a slice that the reference, which has no empty frames, leaves out
    (tmp_path / "ours").mkdir()
    saved(segmentation(source, wrong, names, "LABELMAP"), tmp_path / "ours" / "p7_seg.dcm")
    cases, told = match_folders({"m": tmp_path / "ours"}, tmp_path / "theirs")
    assert [c.case for c in cases] == ["p7"]
    assert not told
    assert cases[0].reference.name == "seg.dcm"
    (lesions,) = [row for row in evaluate(cases).rows if row.class_id == "lesion"]
    true, false = 2 * 6 * 5, 9
    assert lesions.dice == pytest.approx(2 * true / (2 * true + false))


def test_false_positives_on_other_slices_of_a_coarser_grid_count_against_a_segmentation_object(source, tmp_path):
    import SimpleITK as sitk
    from flairseg.evaluation import evaluate
    from flairseg.evaluation.inputs import EvaluationCase
    from flairseg.image.volume import volume_to_sitk

    masks = regions("lesion")
    pixels = masks["lesion"].astype(np.uint8)
    reference = saved(segmentation(source, pixels, [("MS lesion", "Lesion")], "BINARY"), tmp_path / "seg.dcm")
    affine = AFFINE.copy()
    affine[:3, :2] /= 2
    affine[:2, 3] += 0.5
    fine = in_order(pixels, source).repeat(2, axis=1).repeat(2, axis=2) * 3
    fine[5 if source.volume.ijk_to_ras[2, 2] > 0 else 0, 4:10, 4:10] = 3
    prediction = tmp_path / "p.nii.gz"
    fine = fine if source.volume.ijk_to_ras[2, 2] > 0 else fine[::-1]
    sitk.WriteImage(volume_to_sitk(Volume(np.ascontiguousarray(fine), affine, "p")), str(prediction))
    result = evaluate([EvaluationCase("c", "m", prediction, reference)])
    (lesions,) = [row for row in result.rows if row.class_id == "lesion"]
    assert lesions.predicted_ml == pytest.approx((60 + 9) * 20 / 1000, rel=0.05)


def test_lesions_of_a_folder_with_one_segmentation_are_measured(source, series, tmp_path):
    from flairseg.cli import app
    from typer.testing import CliRunner

    labels = np.where(regions()["lesion"], np.uint8(3), np.uint8(0))
    (tmp_path / "seg").mkdir()
    make_seg(labels, source.source, Algorithm("m", "1", "0" * 64)).save_as(tmp_path / "seg" / "1.dcm")
    given = ["lesions", str(tmp_path / "seg"), "--flair", str(series), "-o", str(tmp_path / "out"), "--no-regions"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.stderr
    assert "1 lesion (" in done.stdout
    again = CliRunner().invoke(app, [*given, "--overwrite"])
    assert again.exit_code == 0, again.stderr
