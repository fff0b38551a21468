"""DICOM out: SEG, SR and PDF are valid, go back to the frames that they came from, and read back equal elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from flairseg import __version__, errors
from flairseg.anatomy.lesion_table import LesionRow
from flairseg.dicom import Algorithm, make_pdf, make_seg, make_sr, making, read_flair
from flairseg.dicom.find import find_flair
from flairseg.dicom.grid import onto
from flairseg.dicom.sr import CaseMeasurements, LesionMeasurements
from flairseg.image.volume import Volume
from flairseg.io.label_maps import read_label_map
from flairseg.labels import CLASS_BY_VALUE, CLASSES, LESION
from flairseg.privacy.pseudonyms import Pseudonymiser
from flairseg.segmentation.dicom_results import (
    DicomTarget,
    export_labels,
    lesion_measurements,
    source_of,
    write_results,
)

from Testing.core.dicom_series import Study, write_series
from Testing.core.tiny import AXIAL, affine, make_head, to_nifti

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed: pip install 'flairseg[dicom]'")

ALGORITHM = Algorithm("flairseg2d-v1.0", "1.0", "5" * 64)
ROWS = (
    LesionMeasurements(1, 1234.5, 14.25, (25.0, 30.0, 22.0), 4.5, 0.83, 0.99, 2, "periventricular"),
    LesionMeasurements(2, 50.0, centre_ras_mm=(-27.0, -20.0, 26.0), region="unknown"),
    LesionMeasurements(3, region="juxtacortical"),
)
#: The first as a row of the lesion table.
ROW = LesionRow(1, 3, 1234.5, 14.25, (25.0, 30.0, 22.0), (8, 10), 0.83, 0.99, 4.5, "periventricular", 2)
VOLUMES = {"ventricles": 25.5, "normal_wmh": 0.0, "lesion": 1.2845}
MEASURED = CaseMeasurements(VOLUMES, ROWS)


@pytest.fixture(scope="module")
def drawn() -> tuple[Volume, np.ndarray]:
    volume, labels = make_head()
    labels[7:9, 40:44, 30:33] = 2
    return Volume(np.clip(volume.array, 0, None), volume.ijk_to_ras, "head"), labels


@pytest.fixture(scope="module", params=[("siemens", False), ("ge", False), ("philips", True)], ids=str)
def case(request, tmp_path_factory, drawn):
    """A series that was read, and its labels in the source's order."""
    vendor, enhanced = request.param
    folder = write_series(drawn[0], tmp_path_factory.mktemp("case"), vendor, enhanced=enhanced)
    return read_flair(folder), drawn[1]


def saved(path: Path, make, *arguments, **named) -> Path:
    """The file of an object."""
    making.save(make(*arguments, **named), path)
    return path


def verified(path: Path) -> None:
    """Hold an object against the standard with dciodvfy (Debian: dicom3tools)."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian, Ubuntu: sudo apt-get install dicom3tools)")
    done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, errors="replace")
    lines = (done.stdout + done.stderr).splitlines()
    assert lines
    assert not [line for line in lines if line.startswith("Error")], path


def read_masks(path: Path) -> dict[int, dict[tuple[float, ...], np.ndarray]]:
    """Segment -> position -> mask, by pydicom alone."""
    data = pydicom.dcmread(path)
    pixels = data.pixel_array
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    out: dict[int, dict[tuple[float, ...], np.ndarray]] = {}
    for group, mask in zip(data.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        # Of a single segment the sequence is shared by all frames.
        described = group if "SegmentIdentificationSequence" in group else data.SharedFunctionalGroupsSequence[0]
        segment = described.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = tuple(round(float(x), 3) for x in group.PlanePositionSequence[0].ImagePositionPatient)
        out.setdefault(segment, {})[place] = mask
    return out


# --- the three objects, valid


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("vendor", ["siemens", "ge", "philips", "toshiba"])
def test_the_generated_series_are_valid_themselves(tmp_path, drawn, vendor, enhanced):
    few = Volume(drawn[0].array[:2], drawn[0].ijk_to_ras)
    for path in write_series(few, tmp_path / "s", vendor, enhanced=enhanced).iterdir():
        verified(path)


def test_objects_of_a_case_pass_dciodvfy(tmp_path, case):
    read, labels = case
    seg = make_seg(labels, read.source, ALGORITHM)
    paths = [
        saved(tmp_path / "seg.dcm", make_seg, labels, read.source, ALGORITHM),
        saved(tmp_path / "sr.dcm", make_sr, seg, read.source, MEASURED, ALGORITHM),
        saved(tmp_path / "pdf.dcm", make_pdf, b"%PDF-1.7 odd", read.source, based_on=[seg]),
    ]
    for path in paths:
        verified(path)


@pytest.mark.parametrize("classes", [(1, 2, 3), (3,)], ids=["all", "lesions alone"])
def test_a_segmentation_given_as_an_image_is_named_as_such(tmp_path, case, classes):
    """One of a single segment has one frame per slice: without a word it would be read as an image."""
    read, labels = case
    kept = np.where(np.isin(labels, classes), labels, 0).astype(np.uint8)
    (tmp_path / "alone").mkdir()
    saved(tmp_path / "alone" / "seg.dcm", make_seg, kept, read.source, ALGORITHM)
    with pytest.raises(errors.NoFlairError, match="this is a DICOM segmentation, not an image"):
        find_flair(tmp_path / "alone")
    shutil.copytree(read.source.frames[0].path.parent, tmp_path / "both")
    shutil.copy(tmp_path / "alone" / "seg.dcm", tmp_path / "both" / "seg.dcm")
    assert find_flair(tmp_path / "both").stack.frames[0].path.name != "seg.dcm"


def test_pseudonymised_objects_are_valid_consistent_and_nameless(tmp_path, drawn):
    study = Study("Doe^Jane", "MRN-12345")  # not of digits alone: random UIDs hold those
    folder = write_series(drawn[0], tmp_path / "s", "siemens", study=study)
    read = read_flair(folder)
    pseudonymiser = Pseudonymiser(b"k" * 32)
    made = export_labels(
        drawn[1],
        drawn[0].ijk_to_ras,
        folder,
        DicomTarget(tmp_path / "out", "case", pseudonymiser=pseudonymiser),
        ALGORITHM,
        ROWS,
        b"%PDF-1.7",
    )
    seg, sr, pdf = (pydicom.dcmread(made[name]) for name in ("seg", "sr", "pdf"))
    for name, data in (("seg", seg), ("sr", sr), ("pdf", pdf)):
        raw = made[name].read_bytes()
        for secret in (b"Doe", b"MRN-12345", study.uid.encode(), read.source.series_uid.encode()):
            assert secret not in raw
        assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        assert data.StudyInstanceUID == pseudonymiser.uid(study.uid)
        verified(made[name])
    assert seg.SOPInstanceUID in made["sr"].read_bytes().decode("latin-1")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == pseudonymiser.uid(read.source.series_uid)


# --- SEG


def test_segments_are_coded_coloured_and_named(case):
    read, labels = case
    seg = make_seg(labels, read.source, ALGORITHM)
    assert [s.SegmentNumber for s in seg.SegmentSequence] == [c.value for c in CLASSES]
    for item in seg.SegmentSequence:
        wanted = CLASS_BY_VALUE[item.SegmentNumber]
        code, category = item.SegmentedPropertyTypeCodeSequence[0], item.SegmentedPropertyCategoryCodeSequence[0]
        assert (code.CodingSchemeDesignator, code.CodeValue) == (wanted.code.scheme, wanted.code.value)
        assert category.CodeValue == wanted.category.value
        assert item.SegmentLabel == wanted.name
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        identification = item.SegmentationAlgorithmIdentificationSequence[0]
        assert "flairseg2d-v1.0" in identification.AlgorithmName
        assert "5" * 64 in identification.AlgorithmParameters
        assert item.TrackingUID
        rgb = cielab_to_rgb(item.RecommendedDisplayCIELabValue)
        assert np.abs(np.array(rgb) - wanted.rgb).max() <= 1
    schemes = {s.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator for s in seg.SegmentSequence}
    assert schemes == {"SCT", "99FLAIRSEG"}
    assert seg.SegmentationType == "BINARY"
    assert seg.SoftwareVersions == __version__
    for text in (seg.SeriesDescription, seg.ContentDescription):
        assert "Research use only" in text
    assert "RESEARCH" in seg.ContentLabel


def cielab_to_rgb(scaled) -> list[float]:
    """DICOM's scaled CIELab (PS3.3, C.10.7.1.1) to sRGB by scikit-image; D65, as dcmqi, Slicer and OHIF take it."""
    from skimage.color import lab2rgb

    lab = np.array(scaled, dtype=float) / 65535 * (100, 255, 255) - (0, 128, 128)
    return list(lab2rgb(lab.reshape(1, 1, 3), illuminant="D65").ravel() * 255)


def test_study_is_inherited_and_ids_are_fresh(case):
    read, labels = case
    source = pydicom.dcmread(read.source.frames[0].path, stop_before_pixels=True)
    seg = make_seg(labels, read.source, ALGORITHM)
    sr = make_sr(seg, read.source, MEASURED, ALGORITHM)
    pdf = make_pdf(b"%PDF-1.7", read.source, based_on=[seg, sr])
    for made in (seg, sr, pdf):
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
                        "StudyTime", "StudyID", "StudyDescription", "PatientAge"):  # fmt: skip
            assert made.get(keyword) == source.get(keyword), keyword
        assert made.SpecificCharacterSet == "ISO_IR 192"
        assert made.SoftwareVersions == __version__
    uids = [data.get(k) for data in (source, seg, sr, pdf) for k in ("SOPInstanceUID", "SeriesInstanceUID")]
    assert len(set(uids)) == len(uids)
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert make_seg(labels, read.source, ALGORITHM).SOPInstanceUID != seg.SOPInstanceUID


def test_each_frame_names_the_source_frame_at_its_place(case):
    read, labels = case
    seg = make_seg(labels, read.source, ALGORITHM)
    places = {}
    for frame in read.source.frames:
        places[frame.sop_instance_uid, frame.number + 1 if read.source.is_multiframe else None] = frame.position
    seen = set()
    for group in seg.PerFrameFunctionalGroupsSequence:
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        number = reference.get("ReferencedFrameNumber")
        key = (reference.ReferencedSOPInstanceUID, None if number is None else int(number))
        np.testing.assert_allclose(group.PlanePositionSequence[0].ImagePositionPatient, places[key], atol=1e-3)
        seen.add(key)
    used = {k for k in range(len(labels)) if labels[k].any()}
    assert len(seen) == len(used)
    listed = [i.ReferencedSOPInstanceUID for s in seg.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence]
    assert set(listed) == {f.sop_instance_uid for f in read.source.frames}


def test_three_readers_read_the_same_masks(tmp_path, case):
    read, labels = case
    path = saved(tmp_path / "seg.dcm", make_seg, labels, read.source, ALGORITHM)
    by_pydicom = read_masks(path)
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    uids = [f.sop_instance_uid for f in read.source.frames]
    by_highdicom = highdicom.seg.segread(path)
    numbers = [f.number + 1 for f in read.source.frames]
    empty = {"assert_missing_frames_are_empty": True}
    for c in CLASSES:
        expected = labels == c.value
        if read.source.is_multiframe:
            pixels = by_highdicom.get_pixels_by_source_frame(
                uids[0], numbers, [c.value], assert_missing_frames_are_empty=True
            )
        else:
            pixels = by_highdicom.get_pixels_by_source_instance(uids, [c.value], **empty)
        np.testing.assert_array_equal(pixels[..., 0].astype(bool), expected)
        for k, frame in enumerate(read.source.frames):
            place = tuple(round(x, 3) for x in frame.position)
            mask = by_pydicom[c.value].get(place)
            assert (mask is not None) == expected[k].any()
            if mask is not None:
                np.testing.assert_array_equal(mask.astype(bool), expected[k])
    for group, slice_ in zip(groups, image, strict=True):
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = tuple(round(float(x), 3) for x in group.PlanePositionSequence[0].ImagePositionPatient)
        np.testing.assert_array_equal(slice_ != 0, by_pydicom[segment][place] != 0)


ORIENTATIONS = {
    "LAS": np.diag([-1.0, 1, 1]),
    "RAS": np.eye(3),
    "LPS": AXIAL,
    "sagittal": np.array([[0, 0, -1.0], [-1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1, 0, 0.0], [0, 0, -1], [0, 1, 0]]),
}


@pytest.mark.parametrize(
    ("orientation", "oblique"),
    [
        ("LAS", False),
        ("RAS", False),
        ("LPS", True),
        ("LAS", True),
        ("sagittal", False),
        ("sagittal", True),
        ("coronal", True),
    ],
)
def test_nifti_to_dicom_to_seg_to_nifti_is_voxel_exact(tmp_path, orientation, oblique):
    """Every orientation of the NIfTI, left-handed ones too, whose slices DICOM has to count the other way."""
    import nibabel as nib

    matrix = ORIENTATIONS[orientation]
    if oblique:
        angle = np.deg2rad(17)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        matrix = turn @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]) @ matrix
    shape, rng = (11, 33, 29), np.random.default_rng(5)
    grid = affine(matrix, (2.1, 2.3, 6.5), shape)
    labels = rng.integers(0, 4, shape).astype(np.uint8)
    labels[[0, 6]] = 0
    volume = Volume(rng.integers(1, 900, shape).astype(np.int16), grid, "head")
    to_nifti(volume, tmp_path / "flair.nii.gz")
    to_nifti(Volume(labels, grid), tmp_path / "labels.nii.gz")
    folder = write_series(volume, tmp_path / "s", "siemens", enhanced=oblique)
    label_file = nib.load(tmp_path / "labels.nii.gz")
    # Slicer's or NIfTI's order of the voxels: the affine takes them to their frames.
    made = export_labels(
        np.asarray(label_file.dataobj).T,
        label_file.affine,
        folder,
        DicomTarget(tmp_path / "out", "case"),
        ALGORITHM,
        pdf=None,
    )
    volume_back = highdicom.seg.segread(made["seg"]).get_volume(combine_segments=True)
    # highdicom's array is (slice, row, column) in LPS; put each voxel where nibabel says that it lies.
    to_ras = np.diag([-1.0, -1, 1, 1]) @ volume_back.affine
    back = np.zeros(shape[::-1], np.uint8)
    index = np.argwhere(np.ones(volume_back.array.shape, bool))
    world = index @ to_ras[:3, :3].T + to_ras[:3, 3]
    inverse = np.linalg.inv(label_file.affine)
    ijk = world @ inverse[:3, :3].T + inverse[:3, 3]
    assert abs(ijk - np.rint(ijk)).max() < 0.01
    back[tuple(np.rint(ijk).astype(int).T)] = volume_back.array[tuple(index.T)]
    nib.save(nib.Nifti1Image(back, label_file.affine), tmp_path / "back.nii.gz")
    np.testing.assert_array_equal(
        np.asarray(nib.load(tmp_path / "back.nii.gz").dataobj), np.asarray(label_file.dataobj)
    )


def test_empty_labels_and_missing_classes_are_written(tmp_path, drawn):
    read = read_flair(write_series(drawn[0], tmp_path / "s", "ge"))
    nothing = np.zeros_like(drawn[1])
    path = saved(tmp_path / "empty.dcm", make_seg, nothing, read.source, ALGORITHM)
    verified(path)
    assert not pydicom.dcmread(path).pixel_array.any()
    ventricles = np.where(drawn[1] == 1, drawn[1], 0)
    path = saved(tmp_path / "some.dcm", make_seg, ventricles, read.source, ALGORITHM)
    verified(path)
    assert len(pydicom.dcmread(path).SegmentSequence) == 3
    assert set(read_masks(path)) == {1}
    seg = make_seg(ventricles, read.source, ALGORITHM)
    verified(
        saved(tmp_path / "sr.dcm", make_sr, seg, read.source, CaseMeasurements({"ventricles": 1.0}, ()), ALGORITHM)
    )


def test_one_volume_of_several_in_an_enhanced_file_goes_back_to_its_own_frames(tmp_path, drawn):
    """Two echoes in one file, frame by frame in turn: the references must name the frames of the echo that was used."""
    volume, labels = drawn
    other = Volume(np.clip(make_head(contrast="t1")[0].array, 0, None), volume.ijk_to_ras)

    def two_echoes(data, _k):
        groups, first = [], np.frombuffer(data.PixelData, "<i2").reshape(-1, data.Rows, data.Columns)
        order = [
            int(g.FrameContentSequence[0].InStackPositionNumber) - 1 for g in data.PerFrameFunctionalGroupsSequence
        ]
        pixels = np.empty((2 * len(order), data.Rows, data.Columns), "<i2")
        echo = data.SharedFunctionalGroupsSequence[0].MREchoSequence
        del data.SharedFunctionalGroupsSequence[0].MREchoSequence
        for n, group in enumerate(data.PerFrameFunctionalGroupsSequence):
            short, long = pydicom.Dataset(), pydicom.Dataset()
            for item, te in ((short, 11.0), (long, 120.0)):
                item.update(group)
                item.MREchoSequence = [deepcopy(echo[0])]
                item.MREchoSequence[0].EffectiveEchoTime = te
                groups.append(item)
            pixels[2 * n], pixels[2 * n + 1] = other.array[order[n]], first[n]
        data.PerFrameFunctionalGroupsSequence, data.NumberOfFrames = groups, len(groups)
        data.PixelData = pixels.tobytes()

    read = read_flair(write_series(volume, tmp_path / "s", "siemens", enhanced=True, change=two_echoes))
    np.testing.assert_array_equal(read.volume.array, volume.array)
    assert read.found.stack.what == "echo time 120 ms"
    assert all(f.number % 2 == 1 for f in read.source.frames)
    seg = make_seg(labels, read.source, ALGORITHM)
    for group in seg.PerFrameFunctionalGroupsSequence:
        number = int(group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        k = [f.number + 1 for f in read.source.frames].index(number)
        np.testing.assert_allclose(
            group.PlanePositionSequence[0].ImagePositionPatient, read.source.frames[k].position, atol=1e-3
        )


# --- SR


def items(container, *names):
    """Content items below a container by the meaning of their concept."""
    for item in container.ContentSequence:
        meaning = item.ConceptNameCodeSequence[0].CodeMeaning
        if not names or meaning in names:
            yield item


def groups_of(sr) -> list:
    measurements = next(items(sr, "Imaging Measurements"))
    return list(items(measurements, "Measurement Group"))


def measured(group) -> dict[str, tuple[float, str]]:
    out = {}
    for item in group.ContentSequence:
        if item.ValueType == "NUM":
            value = item.MeasuredValueSequence[0]
            name = item.ConceptNameCodeSequence[0].CodeMeaning
            out[name] = (float(value.NumericValue), value.MeasurementUnitsCodeSequence[0].CodeValue)
    return out


def test_the_report_holds_every_measurement_once(tmp_path, case):
    read, labels = case
    seg = make_seg(labels, read.source, ALGORITHM)
    path = saved(tmp_path / "sr.dcm", make_sr, seg, read.source, MEASURED, ALGORITHM)
    sr = pydicom.dcmread(path)
    assert sr.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (sr.VerificationFlag, sr.CompletionFlag, sr.PreliminaryFlag) == ("UNVERIFIED", "COMPLETE", "PRELIMINARY")
    assert "Research use only" in sr.SeriesDescription
    text = str(sr)
    assert "Research use only - not a medical device" in text
    assert [i.TextValue for i in items(sr, "Device Observer Name")] == ["FlairSeg"]
    groups = groups_of(sr)
    assert len(groups) == len(CLASSES) + len(ROWS)
    volumes = [measured(g)["Volume"] for g in groups[:3]]
    np.testing.assert_allclose([v for v, _ in volumes], [25500.0, 0.0, 1284.5])
    assert {unit for _, unit in volumes} == {"mm3"}
    assert next(v for k, v in measured(groups[2]).items() if "Number of lesions" in k)[0] == 3
    for group, segment in zip(groups, seg.SegmentSequence, strict=False):
        reference = next(items(group, "Referenced Segment")).ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == seg.SOPInstanceUID
        assert reference.ReferencedSegmentNumber == segment.SegmentNumber
        assert segment.TrackingUID == next(items(group, "Tracking Unique Identifier")).UID
    first = measured(groups[3])
    assert first["Volume"] == (1234.5, "mm3")
    assert first["Diameter"] == (14.25, "mm")
    assert [first[k][0] for k in sorted(first) if k.startswith("Centre of mass")] == [30.0, 22.0, 25.0]
    assert first["Distance to the ventricles"][0] == 4.5
    assert [v for k, (v, _) in first.items() if "probability" in k] == [0.83, 0.99]
    assert not [k for k in first if "readers drew" in k]
    assert measured(groups[4])["Volume"] == (50.0, "mm3")
    assert "Volume" not in measured(groups[5])
    sites = [next(items(g, "Finding Site")).ConceptCodeSequence[0] for g in groups[3:]]
    assert [(s.CodingSchemeDesignator, s.CodeValue) for s in sites] == [
        ("99FLAIRSEG", "REG-PV"), ("SCT", "12738006"), ("99FLAIRSEG", "REG-JC"),
    ]  # fmt: skip
    tracking = [next(items(g, "Tracking Unique Identifier")).UID for g in groups]
    assert len(set(tracking)) == len(tracking)
    # highdicom finds its own groups again.
    again = highdicom.sr.srread(path)
    assert len(again.content.get_volumetric_roi_measurement_groups()) == 3
    assert len(again.content.get_image_measurement_groups()) == 3


def test_a_calibrated_confidence_stands_beside_the_mean_probability(case):
    read, labels = case
    seg = make_seg(labels, read.source, ALGORITHM)
    rows = lesion_measurements([replace(ROW, confidence=0.41), replace(ROW, confidence=0.41, mean_probability=0.83)])
    assert [(row.mean_probability, row.drawn_share) for row in rows] == [(0.41, None), (0.83, 0.41)]
    sr = make_sr(seg, read.source, CaseMeasurements(VOLUMES, rows[1:]), ALGORITHM)
    first = measured(groups_of(sr)[3])
    assert [v for k, (v, _) in first.items() if "probability" in k] == [0.83, 0.99]
    assert [v for k, (v, _) in first.items() if "readers drew" in k] == [0.41]


def test_a_class_that_the_model_does_not_know_is_not_reported_as_none_there(tmp_path, case):
    read, labels = case
    seg = make_seg(np.where(labels == LESION, labels, 0).astype(np.uint8), read.source, ALGORITHM)
    measurements = CaseMeasurements({"lesion": 1.2845}, ROWS)
    path = saved(tmp_path / "sr.dcm", make_sr, seg, read.source, measurements, ALGORITHM)
    groups = groups_of(pydicom.dcmread(path))
    assert len(groups) == 1 + len(ROWS)
    assert measured(groups[0])["Volume"] == (1284.5, "mm3")
    assert next(items(groups[0], "Referenced Segment")).ReferencedSOPSequence[0].ReferencedSegmentNumber == LESION
    verified(path)


def test_a_lesion_names_the_slice_through_its_centre(case):
    read, labels = case
    seg = make_seg(labels, read.source, ALGORITHM)
    sr = make_sr(seg, read.source, CaseMeasurements(VOLUMES, ROWS[:2]), ALGORITHM)
    for group, row in zip(groups_of(sr)[3:], ROWS, strict=False):
        reference = next(i for i in group.ContentSequence if i.ValueType == "IMAGE").ReferencedSOPSequence[0]
        number = reference.get("ReferencedFrameNumber")
        frame = next(
            f
            for f in read.source.frames
            if f.sop_instance_uid == reference.ReferencedSOPInstanceUID and (number is None or f.number + 1 == number)
        )
        # Axial slices of 8 mm: the centre lies within half of that.
        assert abs(frame.position[2] - row.centre_ras_mm[2]) <= 4.0


def test_no_code_is_invented(case):
    """Every code that is not private stands in pydicom's copy of DICOM's dictionaries."""
    from pydicom.sr._concepts_dict import concepts

    known = {(scheme, value) for scheme, words in concepts.items() for codes in words.values() for value in codes}
    read, labels = case
    seg = make_seg(labels, read.source, ALGORITHM)
    sr = make_sr(seg, read.source, MEASURED, ALGORITHM)
    pdf = make_pdf(b"%PDF-1.7", read.source)
    used = set()

    def collect(_data, element):
        if element.keyword == "CodeValue":
            used.add((_data.CodingSchemeDesignator, element.value))

    for data in (seg, sr, pdf):
        data.walk(collect)
    assert len(used) > 25
    unknown = {code for code in used if code not in known and code[0] not in ("99FLAIRSEG", "RFC5646")}
    assert not unknown


# --- PDF


def test_the_pdf_comes_out_as_it_went_in(tmp_path, case):
    read, labels = case
    seg = make_seg(labels, read.source, ALGORITHM)
    content = b"%PDF-1.7\n" + bytes(range(256)) * 4
    (tmp_path / "report.pdf").write_bytes(content)
    path = saved(tmp_path / "pdf.dcm", make_pdf, tmp_path / "report.pdf", read.source, "Follow-up <b>1</b>\n", [seg])
    data = pydicom.dcmread(path)
    assert data.EncapsulatedDocument[: data.EncapsulatedDocumentLength] == content
    assert data.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert data.VerificationFlag == "UNVERIFIED"
    assert data.DocumentTitle == "Follow-up <b>1</b> - Research use only - not a medical device"
    named = {i.ReferencedSOPInstanceUID for i in data.SourceInstanceSequence}
    assert named == {f.sop_instance_uid for f in read.source.frames} | {seg.SOPInstanceUID}
    with pytest.raises(errors.UnreadableImageError, match="not a PDF"):
        make_pdf(b"<html>", read.source)
    with pytest.raises(errors.UnreadableImageError, match="cannot be read"):
        make_pdf(tmp_path / "none.pdf", read.source)


# --- refused, and nothing half-written


def test_labels_of_another_grid_are_refused(tmp_path, drawn):
    volume, labels = drawn
    folder = write_series(volume, tmp_path / "s", "ge")
    read = read_flair(folder)
    with pytest.raises(errors.InvalidGeometryError, match="are not those of the series") as caught:
        make_seg(labels[:-1], read.source, ALGORITHM)
    assert caught.value.advice
    moved = volume.ijk_to_ras.copy()
    moved[:3, 3] += (0, 0, 3.0)
    turned = volume.ijk_to_ras.copy()
    turned[:3, :3] = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]) @ turned[:3, :3]
    for matrix in (moved, turned, np.eye(4)):
        with pytest.raises(errors.InvalidGeometryError, match="is not on the voxels"):
            export_labels(labels, matrix, folder, DicomTarget(tmp_path / "out", "case"), ALGORITHM)
    assert not (tmp_path / "out").exists()
    (tmp_path / "none").mkdir()
    with pytest.raises(errors.NoFlairError, match="no DICOM image"):
        source_of(labels, volume.ijk_to_ras, tmp_path / "none")


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, 1), (-1, -1, -1)])
def test_labels_find_their_voxels_from_any_order(axes, signs):
    shape = (5, 6, 7)
    matrix = affine(AXIAL, (1.0, 2.0, 3.0), shape)
    labels = np.random.default_rng(1).integers(0, 4, shape).astype(np.uint8)
    turned = labels.transpose(2, 1, 0).transpose(axes)[tuple(slice(None, None, s) for s in signs)].transpose(2, 1, 0)
    turn = np.eye(4)
    turn[:3, :3] = 0
    size = turned.shape[::-1]
    for new, (old, sign) in enumerate(zip(axes, signs, strict=True)):
        turn[old, new] = sign
        turn[old, 3] = 0 if sign > 0 else size[new] - 1
    np.testing.assert_array_equal(onto(turned, matrix @ turn, shape, matrix), labels)


def test_the_right_series_of_a_study_is_taken_as_the_source(tmp_path, drawn):
    volume, labels = drawn
    study = Study()
    other = Volume(volume.array[2:12], affine(AXIAL, (2.5, 2.5, 6.0), (10, 88, 76)))
    write_series(other, tmp_path / "study" / "1", "ge", "flair", study, 1)
    write_series(volume, tmp_path / "study" / "2", "ge", "t2", study, 2)
    write_series(volume, tmp_path / "study" / "3", "ge", "flair", study, 3)
    source, turned = source_of(labels, volume.ijk_to_ras, tmp_path / "study")
    assert "series 3" in source.title
    np.testing.assert_array_equal(turned, labels)
    files = list((tmp_path / "study" / "2").iterdir())
    assert "series 2" in source_of(labels, volume.ijk_to_ras, files)[0].title


def test_sources_that_nothing_can_refer_to_are_refused(tmp_path, drawn):
    def no_uid(data, _k):
        data.StudyInstanceUID = "not.a.uid"

    read = read_flair(write_series(drawn[0], tmp_path / "s", "ge", change=no_uid))
    with pytest.raises(errors.UnsupportedImageError, match="lack valid UIDs"):
        make_seg(drawn[1], read.source, ALGORITHM)
    read = read_flair(write_series(drawn[0], tmp_path / "t", "ge"))
    shutil.rmtree(tmp_path / "t")
    with pytest.raises(errors.UnreadableImageError, match="no longer"):
        make_seg(drawn[1], read.source, ALGORITHM)


def test_poor_headers_still_give_valid_objects(tmp_path, drawn):
    """What anonymisers leave: no patient, no dates, no study description, no frame of reference."""

    def strip(data, _k):
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight",
                        "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
                        "StudyDescription", "FrameOfReferenceUID", "SliceThickness", "SpacingBetweenSlices",
                        "SpecificCharacterSet"):  # fmt: skip
            delattr(data, keyword)

    folder = write_series(drawn[0], tmp_path / "s", "ge", change=strip)
    made = export_labels(
        drawn[1], drawn[0].ijk_to_ras, folder, DicomTarget(tmp_path / "out", "case"), ALGORITHM, ROWS, b"%PDF-1.7"
    )
    assert set(made) == {"seg", "sr", "pdf"}
    for path in made.values():
        verified(path)


def test_odd_patients_are_repeated_as_dicom_allows(tmp_path, drawn):
    def odd(data, _k):
        data.SpecificCharacterSet = "ISO_IR 192"
        data.PatientName = "Ünsal^Çiğdem=山田^太郎"
        data.PatientID = "<script>alert('x')</script>"
        data.PatientSex = "F"
        data.StudyDescription = "x\ty\x1b"

    folder = write_series(drawn[0], tmp_path / "s", "ge", change=odd)
    made = export_labels(
        drawn[1], drawn[0].ijk_to_ras, folder, DicomTarget(tmp_path / "out", "case"), ALGORITHM, pdf=b"%PDF-1.7"
    )
    for path in made.values():
        verified(path)
        data = pydicom.dcmread(path)
        assert str(data.PatientName) == "Ünsal^Çiğdem=山田^太郎"
        assert data.PatientID == "<script>alert('x')</script>"
        assert data.StudyDescription == "x y"


def test_all_objects_or_none_and_nothing_is_replaced_unasked(tmp_path, drawn, segmentation, monkeypatch):
    read = read_flair(write_series(drawn[0], tmp_path / "s", "ge", enhanced=True))
    result = with_labels(segmentation, read, drawn[1])
    out = tmp_path / "out"
    made = write_results(result, read.source, DicomTarget(out, "a"), pdf=b"%PDF-1.7")
    assert (
        {p.name for p in out.iterdir()} == {"a_seg.dcm", "a_sr.dcm", "a_report.dcm"} == {p.name for p in made.values()}
    )
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(errors.OutputError, match="exist already"):
        write_results(result, read.source, DicomTarget(out, "a"))
    # Without a report this time: the old one does not stay behind.
    write_results(result, read.source, DicomTarget(out, "a", True))
    assert {p.name for p in out.iterdir()} == {"a_seg.dcm", "a_sr.dcm"}
    assert (out / "a_seg.dcm").read_bytes() != before["a_seg.dcm"]
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    # Objects of another study are never replaced.
    other = read_flair(write_series(drawn[0], tmp_path / "other", "ge", enhanced=True))
    with pytest.raises(errors.OutputError, match="belong to another study") as refused:
        write_results(result, other.source, DicomTarget(out, "a", True))
    assert refused.value.code == "other-input"
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before

    def full_disk(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("flairseg.dicom.making.finished", lambda data, _p: data)
        patch.setattr("flairseg.segmentation.dicom_results.save", full_disk)
        with pytest.raises(errors.OutputError, match="full"):
            write_results(result, read.source, DicomTarget(out, "a", True))
        with pytest.raises(errors.OutputError, match="full"):
            write_results(result, read.source, DicomTarget(tmp_path / "new", "a"))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert not (tmp_path / "new").exists()
    left = iter([True])

    def cancelled(data, path):
        if next(left, None) is None:
            raise errors.Cancelled()
        data.save_as(path)

    monkeypatch.setattr("flairseg.segmentation.dicom_results.save", cancelled)
    with pytest.raises(errors.Cancelled):
        write_results(result, read.source, DicomTarget(tmp_path / "new", "a"))
    assert not (tmp_path / "new").exists()


def with_labels(segmentation, read, labels):
    return replace(segmentation, volume=read.volume, labels=labels, probabilities=None, **_emptied(segmentation))


def _emptied(segmentation) -> dict:
    """Whatever else a result may carry about its voxels."""
    from dataclasses import fields

    return {
        f.name: None
        for f in fields(segmentation)
        if f.name in ("compact", "disagreement", "regions", "region_map") and getattr(segmentation, f.name) is not None
    }


def test_without_highdicom_writing_is_refused_with_the_remedy(tmp_path, drawn, monkeypatch):
    read = read_flair(write_series(drawn[0], tmp_path / "s", "ge"))
    monkeypatch.setattr("flairseg._optional.find_spec", lambda _name: None)
    with pytest.raises(errors.MissingDependencyError, match="highdicom") as caught:
        make_seg(drawn[1], read.source, ALGORITHM)
    assert "flairseg[dicom]" in caught.value.advice


def test_a_reader_s_corrections_are_told(tmp_path, drawn):
    folder = write_series(drawn[0], tmp_path / "s", "ge")
    for kind in ("SEMIAUTOMATIC", "MANUAL"):
        algorithm = Algorithm("flairseg2d-v1.0", "1.0", "", kind)
        made = export_labels(drawn[1], drawn[0].ijk_to_ras, folder, DicomTarget(tmp_path / kind, "case"), algorithm)
        data = pydicom.dcmread(made["seg"])
        assert {s.SegmentAlgorithmType for s in data.SegmentSequence} == {kind}
        verified(made["seg"])
    rows = groups_of(pydicom.dcmread(made["sr"]))[3:]
    assert len(rows) == 4, "lesions are measured where no table was given"


@pytest.mark.parametrize(("classes", "told"), [((1, 2, 3), 3), ((LESION,), 1)])
def test_labels_of_a_model_for_lesions_alone_report_no_0_ml_of_ventricles(tmp_path, drawn, classes, told):
    """As Slicer exports them."""
    folder = write_series(drawn[0], tmp_path / "s", "ge")
    labels = np.where(drawn[1] == LESION, drawn[1], 0).astype(np.uint8)
    algorithm = Algorithm.of(SimpleNamespace(id="eager-v1.0", version="1.0", sha256="", classes=classes))
    made = export_labels(labels, drawn[0].ijk_to_ras, folder, DicomTarget(tmp_path / "out", "case"), algorithm)
    groups = groups_of(pydicom.dcmread(made["sr"]))
    assert len(groups) == told + 4
    seg = pydicom.dcmread(made["seg"])
    assert [s.SegmentNumber for s in seg.SegmentSequence] == list(range(1, told + 1))
    assert [s.SegmentLabel for s in seg.SegmentSequence] == [CLASS_BY_VALUE[c].name for c in classes]
    last = next(items(groups[told - 1], "Referenced Segment")).ReferencedSOPSequence[0]
    assert last.ReferencedSegmentNumber == told
    assert sum(int(m.sum()) for m in read_masks(made["seg"])[told].values()) == int(np.count_nonzero(labels))
    verified(made["seg"])
    again = read_label_map(made["seg"])
    assert again.classes == set(classes)
    assert np.count_nonzero(again.labels == LESION) == np.count_nonzero(labels)


@pytest.mark.parametrize("values", [(1,), ()], ids=["drawn", "none"])
def test_a_model_without_lesions_has_no_lesion_segment(tmp_path, drawn, values):
    read = read_flair(write_series(drawn[0], tmp_path / "s", "ge"))
    labels = np.where(np.isin(drawn[1], values), drawn[1], 0).astype(np.uint8)
    algorithm = Algorithm("ventricles-v1.0", "1.0", classes=(1,))
    seg = make_seg(labels, read.source, algorithm)
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["Ventricles"]
    sr = make_sr(seg, read.source, CaseMeasurements({"ventricles": 1.5}, ()), algorithm)
    assert [measured(g)["Volume"][0] for g in groups_of(sr)] == [1500.0]


def test_a_python_that_highdicom_has_no_build_for_is_named(monkeypatch):
    from flairseg.dicom import making
    from flairseg.errors import MissingDependencyError

    monkeypatch.setattr(making, "missing_packages", list)
    monkeypatch.setattr(making.sys, "version_info", (3, 14, 0))
    with pytest.raises(MissingDependencyError, match=r"no build for Python 3\.14") as refused:
        making.require_writers()
    assert refused.value.code == "no-highdicom-for-this-python"
    assert "including reading DICOM" in refused.value.advice
    # Where it is there, it is used, whatever the version.
    monkeypatch.setattr(making, "missing_packages", lambda names: [])
    making.require_writers()
