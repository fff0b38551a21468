"""DICOM series with faults: the right volume comes out, or a typed refusal, with pydicom or without."""

from __future__ import annotations

import locale

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from flairseg import errors
from flairseg.cohort.dicom_source import dicom_sessions
from flairseg.dicom import read_flair
from flairseg.dicom.making import Algorithm
from flairseg.dicom.series import list_series
from flairseg.dicom.source import valid_date, valid_time
from flairseg.errors import CaseWarning
from flairseg.image.volume import Volume
from flairseg.io.reader import read_volume
from flairseg.segmentation.dicom_results import DicomTarget, export_labels
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from Testing.core.dicom_series import Study, write_series
from Testing.core.test_dicom_objects import verified
from Testing.core.tiny import make_head

ALGORITHM = Algorithm("any-v1.0", "1.0", "ab" * 32)


@pytest.fixture(scope="module")
def drawn() -> tuple[Volume, np.ndarray]:
    """A head of 16 slices, 8 mm apart, and its labels."""
    volume, labels = make_head()
    return Volume(np.clip(volume.array, 0, None), volume.ijk_to_ras, "head"), labels


@pytest.fixture(scope="module")
def flair(drawn) -> Volume:
    return drawn[0]


@pytest.fixture(params=["pydicom", "GDCM"])
def backend(request, monkeypatch) -> str:
    """Once with pydicom, once as in an installation without the extra."""
    if request.param == "GDCM":
        monkeypatch.setattr("flairseg.dicom.gdcm.find_spec", lambda _name: None)
    return request.param


def codes(messages) -> list[str]:
    assert all(isinstance(message, CaseWarning) for message in messages)
    return [message.code for message in messages]


def edited(folder, change):
    """Change every file that is there already; ``change(data)`` False removes it."""
    for path in sorted(folder.iterdir()):
        data = pydicom.dcmread(path)
        if change(data) is False:
            path.unlink()
        else:
            data.save_as(path)
    return folder


def capture(folder, name: str, colour: bool, whole: bool = True) -> None:
    """A secondary capture under the series' own UIDs."""
    data = pydicom.dcmread(sorted(folder.iterdir())[0])
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.ImageType, data.InstanceNumber = ["DERIVED", "SECONDARY"], 0
    shape = (data.Rows, data.Columns)
    if whole:
        del data.ImagePositionPatient, data.ImageOrientationPatient
    if colour:
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.PixelData = bytes(3 * shape[0] * shape[1] + 3 * shape[0] * shape[1] % 2)
    else:
        data.PixelData = np.full(shape, 50, "<i2").tobytes()
    data.save_as(folder / name, enforce_file_format=True)


# --- dates


@pytest.mark.parametrize(
    ("written", "read"),
    [("20240531", "20240531"), ("2024.05.31", "20240531"), ("2024-05-31", "20240531"), ("20240229", "20240229"),
     ("20230229", ""), ("20241345", ""), ("00000000", ""), ("20240100", ""), ("2024.0531", ""), ("yesterday", ""),
     ("202405", "")],
)  # fmt: skip
def test_only_days_of_the_calendar_are_dates(written, read):
    assert valid_date(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [("101112", "101112"), ("10", "10"), ("1011", "1011"), ("101112.5", "101112.5"), ("10:11:12", "101112"),
     ("235959.999999", "235959.999999"), ("250000", ""), ("106100", ""), ("101160", ""), ("1011:12", ""),
     ("101112.1234567", ""), ("noon", "")],
)  # fmt: skip
def test_only_times_of_the_day_are_times(written, read):
    assert valid_time(written) == read


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize(
    ("date", "time"), [("20241345", "256199"), ("00000000", "99"), ("2024.05.31", "10:11:12"), ("soon", "later")]
)
def test_impossible_dates_cost_no_result(tmp_path, drawn, date, time, enhanced):
    def odd(data, _k):
        for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "PatientBirthDate"):
            data[keyword] = pydicom.DataElement(
                pydicom.datadict.tag_for_keyword(keyword), "DA", date, validation_mode=pydicom.config.IGNORE
            )
        for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
            data[keyword] = pydicom.DataElement(
                pydicom.datadict.tag_for_keyword(keyword), "TM", time, validation_mode=pydicom.config.IGNORE
            )

    folder = write_series(drawn[0], tmp_path / "s", "siemens", enhanced=enhanced, change=odd)
    read = read_flair(folder)
    np.testing.assert_array_equal(read.volume.array, drawn[0].array)
    legacy = date.startswith("2024.")
    assert read.source.study_date == ("2024-05-31" if legacy else "")
    made = export_labels(
        drawn[1], drawn[0].ijk_to_ras, folder, DicomTarget(tmp_path / "out", "case"), ALGORITHM, pdf=b"%PDF-1.7"
    )
    assert set(made) == {"seg", "sr", "pdf"}
    for path in made.values():
        data = pydicom.dcmread(path)
        assert (data.StudyDate, data.StudyTime) == (("20240531", "101112") if legacy else ("", ""))
        verified(path)


# --- padding


@pytest.mark.parametrize(
    ("stored", "named", "limit", "representation"),
    [(-32768, -32768, None, 1), (-2000, -2000, -1000, 1), (-1500, -1000, -2000, 1), (-32768, 32768, None, 1),
     (65535, 65535, None, 0), (4095, 4000, 4095, 0)],
)  # fmt: skip
def test_padding_is_background(tmp_path, flair, backend, stored, named, limit, representation):
    corner = np.zeros(flair.array.shape[1:], bool)
    corner[:6, :9] = True

    def pad(data, k):
        kind = "<i2" if representation else "<u2"
        pixels = np.clip(flair.array[k], 0, 3999).astype(kind)
        pixels[corner] = np.array(stored).astype(kind)
        data.PixelRepresentation = representation
        vr = "SS" if representation and named < 32768 else "US"
        data.add_new("PixelPaddingValue", vr, named)
        if limit is not None:
            data.add_new("PixelPaddingRangeLimit", "SS" if representation else "US", limit)
        data.PixelData = pixels.tobytes()

    volume = read_volume(write_series(flair, tmp_path / "s", "siemens", change=pad))
    expected = np.clip(flair.array, 0, 3999)
    expected[:, corner] = expected[:, ~corner].min()
    np.testing.assert_array_equal(volume.array, expected)
    assert "padding" in codes(volume.information)
    assert not volume.warnings


def test_padding_is_dark_in_inverted_and_rescaled_images_too(tmp_path, flair, monkeypatch):
    corner = np.zeros(flair.array.shape[1:], bool)
    corner[:6, :9] = True

    def pad(data, k):
        pixels = (1000 - np.clip(flair.array[k], 0, 900)).astype("<i2")
        pixels[corner] = -1
        data.PhotometricInterpretation, data.RescaleSlope, data.RescaleIntercept = "MONOCHROME1", "2", "-5"
        data.add_new("PixelPaddingValue", "SS", -1)
        data.PixelData = pixels.tobytes()

    folder = write_series(flair, tmp_path / "s", "siemens", change=pad)
    expected = 2 * np.clip(flair.array, 0, 900)
    expected -= expected[:, ~corner].min()
    expected[:, corner] = 0
    np.testing.assert_array_equal(read_volume(folder).array, expected)
    # GDCM inverts some of these images by itself: without pydicom they are refused.
    monkeypatch.setattr("flairseg.dicom.gdcm.find_spec", lambda _name: None)
    with pytest.raises(errors.MissingDependencyError, match="MONOCHROME1"):
        read_volume(folder)


def test_padding_of_enhanced_files_and_a_padding_of_everything(tmp_path, flair):
    def pad(data, _k):
        data.add_new("PixelPaddingValue", "SS", -7)
        pixels = np.frombuffer(data.PixelData, "<i2").reshape(flair.array.shape).copy()
        pixels[:, :5] = -7
        data.PixelData = pixels.tobytes()

    volume = read_volume(write_series(flair, tmp_path / "e", "siemens", enhanced=True, change=pad))
    assert volume.array.min() == flair.array[:, 5:].min()
    np.testing.assert_array_equal(volume.array[:, 5:], flair.array[:, 5:])

    def all_padding(data, _k):
        data.add_new("PixelPaddingValue", "SS", 3)
        data.PixelData = np.full(flair.array.shape[1:], 3, "<i2").tobytes()

    with pytest.raises(errors.UnusableIntensitiesError, match="PixelPaddingValue"):
        read_volume(write_series(flair, tmp_path / "all", "siemens", change=all_padding))


# --- what tells size and place


def test_without_positions_the_header_s_distance_counts(tmp_path, flair, backend):
    def drop(data, _k):
        del data.ImagePositionPatient, data.ImageOrientationPatient

    volume = read_volume(write_series(flair, tmp_path / "s", "siemens", change=drop))
    assert volume.spacing[2] == pytest.approx(flair.spacing[2])
    assert codes(volume.warnings) == ["positions-missing"]
    assert "SpacingBetweenSlices 8 mm, SliceThickness 6.8 mm" in volume.warnings[0]

    def thickness_alone(data):
        del data.SpacingBetweenSlices

    volume = read_volume(edited(tmp_path / "s", thickness_alone))
    assert volume.spacing[2] == pytest.approx(6.8)
    assert "no SpacingBetweenSlices" in volume.warnings[0]

    def nothing(data):
        del data.SliceThickness

    with pytest.raises(errors.InvalidGeometryError, match="neither SpacingBetweenSlices nor SliceThickness") as caught:
        read_volume(edited(tmp_path / "s", nothing))
    assert caught.value.code == "slice-distance-unknown"


def test_without_positions_and_numbers_no_order_is_invented(tmp_path, flair, backend):
    def drop(data, _k):
        del data.ImagePositionPatient, data.ImageOrientationPatient
        data.InstanceNumber = None

    with pytest.raises(errors.InvalidGeometryError, match="order of the slices") as caught:
        read_volume(write_series(flair, tmp_path / "s", "siemens", change=drop))
    assert caught.value.code == "slice-order-unknown"


def test_without_pixel_spacing_one_warning_everywhere(tmp_path, flair, backend):
    def drop(data, _k):
        del data.PixelSpacing

    volume = read_volume(write_series(flair, tmp_path / "s", "siemens", change=drop))
    # At 1 mm the head is smaller than a brain, which is told as well.
    assert codes(volume.warnings) == ["spacing-unknown", "doubtful-flair"]
    assert volume.spacing == pytest.approx((1, 1, 8))


# --- UIDs and copies


def test_one_uid_for_all_slices_keeps_them_all(tmp_path, drawn, backend):
    flair = drawn[0]

    def same(data, _k):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"

    folder = write_series(flair, tmp_path / "s", "siemens", change=same)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert codes(volume.warnings) == ["uid-shared"]
    assert "16 of 16 images of the series are used." in volume.information
    if backend == "pydicom":
        with pytest.raises(errors.UnsupportedImageError, match="share one SOPInstanceUID") as caught:
            read_flair(folder).source.headers()
        assert caught.value.code == "dicom-uid-shared"


def test_text_burned_into_the_pixels_is_told(tmp_path, flair, backend):
    def burn(data, k):
        data.BurnedInAnnotation = "YES" if k == 5 else "NO"

    volume = read_volume(write_series(flair, tmp_path / "s", "siemens", change=burn))
    assert codes(volume.warnings) == ["text-in-pixels"]
    assert "pseudonyms do not remove it" in volume.warnings[0]


@pytest.mark.parametrize("lossy", ["00", "01"])
def test_images_compressed_with_loss_are_told(tmp_path, flair, backend, lossy):
    """Values were up to 20 off, and nobody was told."""

    def state(data, _k):
        data.LossyImageCompression = lossy

    volume = read_volume(write_series(flair, tmp_path / "s", "siemens", change=state))
    assert codes(volume.warnings) == (["lossy-compression"] if lossy == "01" else [])


def compressed(path, tool: str, syntax: str) -> None:
    """The file with its pixels compressed without loss, by pydicom's encoders or GDCM's."""
    if tool == "pydicom":
        data = pydicom.dcmread(path)
        data.compress(getattr(pydicom.uid, syntax), generate_instance_uid=False)
        data.save_as(path)
        return
    reader, writer = sitk.ImageFileReader(), sitk.ImageFileWriter()
    reader.SetImageIO("GDCMImageIO")
    reader.LoadPrivateTagsOn()
    reader.SetFileName(str(path))
    image = reader.Execute()
    path.unlink()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetCompressor(syntax)
    writer.SetFileName(f"{path}.dcm")
    # GDCM's writer leaves the process in the locale "C": from then on text files would be read as ASCII.
    before = locale.setlocale(locale.LC_ALL)
    writer.Execute(image)
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.parametrize(
    ("tool", "syntax", "uid"),
    [("pydicom", "JPEGLSLossless", "4.80"), ("pydicom", "RLELossless", "5"), ("GDCM", "JPEG2000", "4.90"),
     ("GDCM", "JPEG", "4.70")],
)  # fmt: skip
def test_compressed_without_loss_the_voxels_are_the_same(tmp_path, flair, backend, tool, syntax, uid):
    if syntax == "JPEGLSLossless":
        pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    folder = write_series(flair, tmp_path / "s", "siemens")
    for path in sorted(folder.iterdir()):
        compressed(path, tool, syntax)
    found = {pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in folder.iterdir()}
    assert found == {f"1.2.840.10008.1.2.{uid}"}
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert not volume.warnings


@pytest.mark.parametrize(
    ("uid_of", "count"), [(lambda k: k, 16), (lambda k: k % 2, 2), (lambda k: k // 8, 2)], ids=["each", "odd", "slabs"]
)
def test_a_series_broken_up_by_new_series_uids_is_one_volume(tmp_path, drawn, backend, uid_of, count):
    """Anonymisers that give each file a new SeriesInstanceUID: a single slice, or half of the head, would be taken."""
    flair = drawn[0]

    def other(data, k):
        data.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.{uid_of(k) + 1}"
        if count == 16:
            data.SeriesNumber = None

    folder = write_series(flair, tmp_path / "s", "siemens", change=other)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert codes(volume.warnings) == ["series-uids-differ"]
    assert volume.warnings[0].fields == {"used": 16, "uids": count}
    assert "16 of 16 images of the series are used." in volume.information
    if backend == "pydicom":
        again = read_flair(folder, series=f"1.2.826.0.1.3680043.8.498.{uid_of(15) + 1}")
        assert again.volume.array.shape == flair.array.shape
        with pytest.raises(errors.UnsupportedImageError, match="different SeriesInstanceUIDs") as caught:
            again.source.headers()
        assert caught.value.code == "dicom-series-broken-up"


def test_image_files_beside_the_dicom_images_are_told(tmp_path, flair, backend):
    """A folder with a NIfTI FLAIR and a DICOM folder: the latter was segmented, the former left out without a word."""
    write_series(flair, tmp_path / "s" / "dicom", "siemens")
    assert "images-beside" not in codes(read_volume(tmp_path / "s").information)
    for name in ("b_flair.nii.gz", "a.NRRD", "notes.txt"):
        (tmp_path / "s" / name).write_text("any")
    (note,) = (n for n in read_volume(tmp_path / "s").information if n.code == "images-beside")
    assert "2 other image files" in note
    assert "b_flair" not in note, "a file's name may be a patient's"


def new_study(data, k, also_series):
    """What an anonymiser does that makes the UIDs of each file anew."""
    data.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.7.{k + 1}"
    if also_series:
        data.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.8.{k + 1}"
        data.FrameOfReferenceUID = f"1.2.826.0.1.3680043.8.498.9.{k + 1}"


@pytest.mark.parametrize("also_series", [False, True])
def test_a_study_of_its_own_for_each_file_is_one_volume(tmp_path, drawn, backend, also_series):
    """With one SeriesInstanceUID a single slice of them was taken: "1 of 1 images of the series are used"."""
    flair = drawn[0]
    folder = write_series(flair, tmp_path / "s", "siemens", change=lambda data, k: new_study(data, k, also_series))
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert codes(volume.warnings) == ["series-uids-differ"]
    assert "16 different StudyInstanceUIDs" in volume.warnings[0]
    assert "16 of 16 images of the series are used." in volume.information
    if backend == "pydicom":
        with pytest.raises(errors.UnsupportedImageError, match="StudyInstanceUIDs") as caught:
            read_flair(folder).source.headers()
        assert caught.value.code == "dicom-series-broken-up"


@pytest.mark.parametrize("also_series", [False, True])
@pytest.mark.parametrize("missing", [range(4, 5), range(5, 16)], ids=["one slice missing", "five slices only"])
def test_single_slices_of_several_studies_that_are_no_volume_are_refused(tmp_path, flair, also_series, missing):
    """They may be of several patients; none of them is taken for the whole."""
    folder = write_series(flair, tmp_path / "s", "siemens", change=lambda data, k: new_study(data, k, also_series))
    by_height = sorted(folder.iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
    for n in missing:
        by_height[n].unlink()
    with pytest.raises(errors.UnsupportedImageError) as caught:
        read_flair(folder)
    assert caught.value.code == "several-studies"
    assert f"FLAIRs of {16 - len(missing)} studies" in caught.value.message
    assert caught.value.message.count("dark-fluid") == 1


def of_patient(data, which):
    """Header of one of several patients, whom an anonymiser left an attribute that sets them apart."""
    data.PatientID, data.PatientBirthDate, data.PatientSex = which


TWO_PATIENTS = [
    (("P1", "19700101", "F"), ("P2", "19700101", "F")),
    (("ANON", "19700101", "F"), ("ANON", "19810101", "F")),
    (("ANON", "", "F"), ("ANON", "", "M")),
]


@pytest.mark.parametrize("uids", ["of each file", "of each series", "of all"])
@pytest.mark.parametrize("patients", TWO_PATIENTS, ids=["ids", "birth dates", "sexes"])
def test_slices_of_two_patients_are_never_one_volume(tmp_path, flair, backend, uids, patients):
    """Lower half of one head, upper half of another: joined with a warning, whatever their PatientIDs."""

    def two(data, k):
        of_patient(data, patients[k // 8])
        data.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.6"
        if uids == "of each file":
            new_study(data, k, True)
        elif uids == "of each series":
            data.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.8.{k + 1}"

    folder = write_series(flair, tmp_path / "s", "siemens", change=two)
    with pytest.raises(errors.UnsupportedImageError) as caught:
        read_volume(folder)
    assert caught.value.code == ("several-patients" if backend == "pydicom" else "several-series")
    assert not any(f"{value} " in str(caught.value) for value in ("P1", "P2", "19700101", "19810101"))
    assert {s.files for s in list_series(folder)[0]} <= {8, 1}


@pytest.mark.parametrize("own_uids", [False, True])
def test_a_patient_id_of_its_own_for_each_file_is_refused(tmp_path, flair, own_uids):
    """An anonymiser may write them, but single slices of as many patients look the same."""

    def own(data, k):
        data.PatientID = f"P{k + 1}"
        if own_uids:
            new_study(data, k, True)

    with pytest.raises(errors.UnsupportedImageError) as caught:
        read_flair(write_series(flair, tmp_path / "s", "siemens", change=own))
    assert caught.value.code == "several-patients"


def test_slices_of_two_dates_are_not_joined(tmp_path, flair):
    def later(data, k):
        new_study(data, k, True)
        data.StudyDate = "20240101" if k < 8 else "20250101"

    with pytest.raises(errors.UnsupportedImageError) as caught:
        read_flair(write_series(flair, tmp_path / "s", "siemens", change=later))
    assert caught.value.code == "several-studies"


def test_a_patient_whose_headers_are_incomplete_is_one(tmp_path, flair, backend):
    """An absent value, another case and spaces, or the sex O (unknown) set nobody apart."""

    def some(data, k):
        of_patient(data, [("P1", "19700101", "F"), ("", "", "O"), ("p1 ", "19700101", "")][k % 3])

    volume = read_volume(write_series(flair, tmp_path / "s", "siemens", change=some))
    np.testing.assert_array_equal(volume.array, flair.array)
    assert not volume.warnings


def test_two_patients_of_one_study_uid_are_two_sessions_of_a_cohort(tmp_path, flair):
    for patient in ("P1", "P2"):
        write_series(
            flair, tmp_path / "all" / patient, "siemens", uid="1.2.826.0.1.3680043.8.498.6",
            study=Study(patient_id=patient, uid="1.2.826.0.1.3680043.8.498.5"),
        )  # fmt: skip
    sessions = dicom_sessions(tmp_path / "all")
    assert sorted(session.subject for session in sessions) == ["P1", "P2"]
    assert len({session.path for session in sessions}) == 2
    with pytest.raises(errors.UnsupportedImageError) as caught:
        read_flair(tmp_path / "all")
    assert caught.value.code == "several-patients"


def test_halves_of_a_head_from_two_studies_stay_apart(tmp_path, flair):
    """A second examination of a patient can continue the slices of the first."""
    folder = write_series(flair, tmp_path / "s", "siemens", change=lambda data, k: new_study(data, k // 8, True))
    assert [s.files for s in list_series(folder)[0]] == [8, 8]
    with pytest.raises(errors.UnsupportedImageError) as caught:
        read_flair(folder)
    assert caught.value.code == "several-studies"


@pytest.mark.parametrize(
    ("keyword", "value"), [("SeriesNumber", 9), ("InversionTime", "1900"), ("SeriesDescription", "t2_flair_repeat")]
)
def test_series_that_differ_in_more_than_their_uid_stay_apart(tmp_path, flair, keyword, value):
    def other(data, k):
        if k >= 8:
            data.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2"
            setattr(data, keyword, value)

    assert [s.files for s in list_series(write_series(flair, tmp_path / "s", "siemens", change=other))[0]] == [8, 8]


def test_a_repeated_series_of_one_number_stays_apart(tmp_path, flair):
    """The same places twice are two volumes, whatever their number."""
    folder = write_series(flair, tmp_path / "s", "siemens")
    for path in sorted(folder.iterdir()):
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.save_as(folder / f"again{path.name}")
    assert [s.files for s in list_series(folder)[0]] == [16, 16]


def test_copies_under_new_uids_are_copies(tmp_path, flair, backend):
    folder = write_series(flair, tmp_path / "s", "siemens")
    for path in sorted(folder.iterdir())[:4]:
        data = pydicom.dcmread(path)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.InstanceNumber += 100
        data.save_as(folder / f"again{path.name}")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert "16 of 20 images of the series are used." in volume.information
    assert "copies-left-out" in codes(volume.information)
    assert not volume.warnings


def test_a_compressed_copy_of_the_same_instance_is_a_copy(tmp_path, flair):
    folder = write_series(flair, tmp_path / "s", "siemens")
    for path in sorted(folder.iterdir())[:4]:
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        data.save_as(folder / f"rle{path.name}")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert "16 of 20 images of the series are used." in volume.information


def test_other_pixels_at_the_same_place_are_no_copy(tmp_path, flair, backend):
    folder = write_series(flair, tmp_path / "s", "siemens")
    data = pydicom.dcmread(sorted(folder.iterdir())[3])
    data.PixelData = (np.frombuffer(data.PixelData, "<i2") + 1).astype("<i2").tobytes()
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.save_as(folder / "other")
    with pytest.raises(errors.UnsupportedImageError, match="same slice"):
        read_volume(folder)


# --- other images within the series


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("whole", [False, True], ids=["placed", "without a place"])
def test_captures_within_a_series_are_left_out(tmp_path, flair, backend, colour, whole):
    folder = write_series(flair, tmp_path / "s", "siemens")
    capture(folder, "0capture", colour, whole)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert volume.spacing == pytest.approx(flair.spacing)
    assert not volume.warnings
    assert "captures-left-out" in codes(volume.information)
    assert "16 of 17 images of the series are used." in volume.information


def test_a_series_of_nothing_but_captures_is_refused(tmp_path, flair, backend):
    def colour(data, _k):
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.PixelData = bytes(3 * data.Rows * data.Columns)

    with pytest.raises(errors.UnsupportedImageError, match="colour"):
        read_volume(write_series(flair, tmp_path / "s", "siemens", change=colour))


@pytest.mark.parametrize("kind", [["DERIVED", "PRIMARY", "LOCALIZER"], ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]])
def test_a_localizer_or_projection_beside_the_slices_is_left_out(tmp_path, flair, backend, kind):
    folder = write_series(flair, tmp_path / "s", "siemens")
    data = pydicom.dcmread(sorted(folder.iterdir())[8])
    data.ImageType = kind
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.ImagePositionPatient[2] += 3.0
    data.save_as(folder / "scout")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert "captures-left-out" in codes(volume.information)


@pytest.mark.parametrize("off", [0.0, 3.0], ids=["on a slice", "between slices"])
def test_derived_images_among_the_originals_are_left_out(tmp_path, flair, backend, off):
    folder = write_series(flair, tmp_path / "s", "siemens")
    for path in sorted(folder.iterdir())[4:7]:
        data = pydicom.dcmread(path)
        data.ImageType = ["DERIVED", "PRIMARY", "M", "ND", "NORM"]
        data.PixelData = (np.frombuffer(data.PixelData, "<i2") + 7).astype("<i2").tobytes()
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.ImagePositionPatient[2] += off
        data.save_as(folder / f"derived{path.name}")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert [c for c in codes(volume.warnings) if c not in ("images-left-out", "part-of-the-head")] == []
    assert any("16 of 19" in text for text in (*volume.warnings, *volume.information))


def test_images_that_differ_in_their_processing_alone_are_not_mixed(tmp_path, flair, backend):
    """Siemens writes a series once with and once without its intensity filter; both under one UID in some archives."""
    uid, study, folder = generate_uid(), Study(), tmp_path / "s"

    def kind(last, add):
        def change(data, _k):
            data.ImageType = ["ORIGINAL", "PRIMARY", "M", *last]
            data.PixelData = (np.frombuffer(data.PixelData, "<i2") + add).astype("<i2").tobytes()

        return change

    write_series(flair, folder, "siemens", study=study, uid=uid, change=kind(["ND", "NORM"], 0))
    for path in write_series(flair, tmp_path / "t", "siemens", study=study, uid=uid, change=kind(["ND"], 9)).iterdir():
        path.rename(folder / f"other{path.name}")
    volume = read_volume(folder)
    first = volume.array - flair.array
    assert np.ptp(first) == 0
    assert any("16 of 32" in text for text in (*volume.warnings, *volume.information))


# --- slabs


def slabs(flair, folder, trait: str, first: range, second: range, add: int = 3):
    """Two slabs of one series; the second a little brighter, so that it is seen which slices come from where."""
    uid, study = generate_uid(), Study()

    def part(number, kept, brighter):
        def change(data, k):
            setattr(data, trait, number)
            data.InstanceNumber += 100 * number
            data.PixelData = (np.frombuffer(data.PixelData, "<i2") + brighter).astype("<i2").tobytes()
            if k not in kept:
                data.ImageComments = "drop"

        return change

    for number, kept, brighter in ((1, first, 0), (2, second, add)):
        made = write_series(
            flair, folder / str(number), "siemens", study=study, uid=uid, change=part(number, kept, brighter)
        )
        edited(made, lambda data: "ImageComments" not in data)
    return folder


def test_objects_of_merged_slabs_and_of_series_with_captures_are_valid(tmp_path, drawn):
    """SEG and SR refer to the images that were used, to one per slice, and to nothing else."""
    flair, labels = drawn
    folder = slabs(flair, tmp_path / "s", "AcquisitionNumber", range(0, 9), range(7, 16))
    capture(folder / "1", "0capture", colour=True)
    used = {f.sop_instance_uid for f in read_flair(folder).source.frames}
    assert len(used) == 16
    made = export_labels(labels, flair.ijk_to_ras, folder, DicomTarget(tmp_path / "out", "case"), ALGORITHM)
    for path in made.values():
        verified(path)
    seg = pydicom.dcmread(made["seg"])
    referred = {
        item.ReferencedSOPInstanceUID
        for group in seg.PerFrameFunctionalGroupsSequence
        for image in group.DerivationImageSequence
        for item in image.SourceImageSequence
    }
    assert referred <= used


@pytest.mark.parametrize("trait", ["AcquisitionNumber", "TemporalPositionIdentifier"])
def test_slabs_that_share_slices_make_one_head(tmp_path, flair, backend, trait):
    volume = read_volume(slabs(flair, tmp_path / "s", trait, range(0, 9), range(7, 16)))
    assert volume.array.shape == flair.array.shape
    assert volume.spacing == pytest.approx(flair.spacing)
    added = volume.array - flair.array
    assert [float(a.mean()) for a in added] == [0.0] * 8 + [3.0] * 8
    assert codes(volume.warnings) == ["slabs-merged"]
    assert volume.warnings[0].fields == {"used": 16, "missing": 0, "slabs": 2}
    assert "of the 2 slices that two slabs share" in volume.warnings[0]
    assert "16 of 18 images of the series are used." in volume.information


def test_a_repeat_of_a_part_does_not_enter_the_volume(tmp_path, flair, backend):
    volume = read_volume(slabs(flair, tmp_path / "s", "AcquisitionNumber", range(0, 16), range(3, 8)))
    np.testing.assert_array_equal(volume.array, flair.array)
    assert codes(volume.warnings) == ["images-left-out"]
    assert "16 of 21 used" in volume.warnings[0]


def test_slabs_that_do_not_fit_are_told_as_a_part_of_the_head(tmp_path, flair, backend):
    folder = slabs(flair, tmp_path / "s", "AcquisitionNumber", range(0, 9), range(7, 16))

    def shift(data):
        if data.AcquisitionNumber == 2:
            data.ImagePositionPatient[2] += 3.1

    for part in folder.iterdir():
        edited(part, shift)
    # Neither on the other's slices nor in between them: both cannot be one grid.
    volume = read_volume(folder)
    assert volume.array.shape[0] == 9
    assert volume.spacing == pytest.approx(flair.spacing)
    assert codes(volume.warnings) == ["part-of-the-head"]
    assert "Only 9 of 18 slices are used" in volume.warnings[0]


def test_interleaved_acquisitions_are_no_slabs(tmp_path, flair, backend):
    volume = read_volume(slabs(flair, tmp_path / "s", "AcquisitionNumber", range(0, 16, 2), range(1, 16, 2), 0))
    np.testing.assert_array_equal(volume.array, flair.array)
    assert not volume.warnings


# --- planes


def turned(angle_deg: float, which, axis: int = 2):
    """Turn some slices about their own centre (in their plane for ``axis`` 2), as motion correction does."""

    def change(data, k):
        if not which(k):
            return
        row, column = np.reshape(np.array(data.ImageOrientationPatient, float), (2, 3))
        size = np.array([data.Columns - 1, data.Rows - 1]) * np.array(data.PixelSpacing[::-1], float) / 2
        centre = np.array(data.ImagePositionPatient, float) + size[0] * row + size[1] * column
        normal = np.cross(row, column)
        cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
        if axis == 2:
            new = (cosine * row + sine * column, cosine * column - sine * row)
        else:
            new = (row, cosine * column + sine * normal)
        place = centre - size[0] * new[0] - size[1] * new[1]
        data.ImageOrientationPatient = [f"{x:.10f}" for x in np.concatenate(new)]
        data.ImagePositionPatient = [f"{x:.6f}" for x in place]

    return change


@pytest.mark.parametrize("axis", [2, 0], ids=["in plane", "out of plane"])
def test_slices_turned_a_little_stay_one_stack(tmp_path, flair, backend, axis):
    folder = write_series(flair, tmp_path / "s", "siemens", change=turned(1.0, lambda k: k % 2, axis))
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, flair.array)
    assert volume.spacing == pytest.approx(flair.spacing, rel=1e-3)
    assert codes(volume.warnings) == ["slices-turned"]
    # Half a degree to either side of the mean, half a diagonal (or half a height) from the centre.
    rows, columns = (n * s for n, s in zip(flair.array.shape[1:], flair.spacing[:2], strict=True))
    arm = np.hypot(rows, columns) / 2 if axis == 2 else rows / 2
    told = float(volume.warnings[0].split("up to ")[1].split(" mm")[0])
    assert told == pytest.approx(np.radians(0.5) * arm, abs=0.15)
    figures = {"used": 16, "missing": 0, "displacement_mm": np.radians(0.5) * arm}
    assert volume.warnings[0].fields == pytest.approx(figures, abs=0.15)
    if backend == "pydicom" and axis == 2:
        with pytest.raises(errors.InvalidGeometryError, match="rotated against each other"):
            read_flair(folder).source.headers()


@pytest.mark.parametrize("angle", [8.0, 20.0])
def test_every_other_slice_turned_far_is_no_whole_head(tmp_path, flair, backend, angle):
    folder = write_series(flair, tmp_path / "s", "siemens", change=turned(angle, lambda k: k % 2))
    volume = read_volume(folder)
    assert codes(volume.warnings)[0] == "part-of-the-head"
    assert volume.warnings[0].fields == {"used": 8, "missing": 8}
    assert "Only 8 of 16 slices are used" in " ".join(volume.warnings)


def test_one_turned_slice_is_named_as_the_reason(tmp_path, flair, backend):
    folder = write_series(flair, tmp_path / "s", "siemens", change=turned(25.0, lambda k: k == 6))
    with pytest.raises(errors.UnsupportedImageError, match="1 of 16 are rotated") as caught:
        read_volume(folder)
    assert caught.value.code == "slices-not-parallel"


def test_slices_that_jump_to_and_fro_are_no_tilted_gantry(tmp_path, flair, backend):
    def jump(data, k):
        data.ImagePositionPatient[0] += 0.7 * (-1) ** k

    volume = read_volume(write_series(flair, tmp_path / "s", "siemens", change=jump))
    np.testing.assert_array_equal(volume.array, flair.array)
    assert codes(volume.warnings) == ["slices-turned"]
    assert "up to 0.7 mm" in volume.warnings[0]


# --- missing slices


def keep(kept):
    return lambda data: (data.InstanceNumber - 1) in kept


def numbered_up(data, k):
    data.InstanceNumber = k + 1


def test_every_other_file_lost_is_told(tmp_path, flair, backend):
    folder = edited(write_series(flair, tmp_path / "s", "siemens", change=numbered_up), keep(range(0, 16, 2)))
    volume = read_volume(folder)
    assert volume.spacing[2] == pytest.approx(16)
    assert codes(volume.warnings) == ["slices-missing"]
    assert "SpacingBetweenSlices says 8 mm" in volume.warnings[0]
    assert volume.warnings[0].fields == {"used": 8, "missing": 7}
    assert "InstanceNumber counts 1, 3, 5, ..." in volume.warnings[0]


@pytest.mark.parametrize("renumbered", [False, True], ids=["numbers kept", "renumbered"])
def test_every_other_file_lost_without_spacing_between_slices(tmp_path, flair, backend, renumbered):
    def change(data, k):
        numbered_up(data, k)
        del data.SpacingBetweenSlices

    def renumber(data):
        data.InstanceNumber = data.InstanceNumber // 2 + 1

    folder = edited(write_series(flair, tmp_path / "s", "siemens", change=change), keep(range(0, 16, 2)))
    if renumbered:
        edited(folder, renumber)
    # Without a number that is missing, a gap of more than a slice may be a gap.
    assert codes(read_volume(folder).warnings) == ["wide-slice-gap" if renumbered else "slices-missing"]


@pytest.mark.parametrize(("between", "thickness"), [("8", "4"), ("3.9", "4.1"), ("8", "8"), ("8.5", "5")])
def test_real_gaps_are_not_taken_for_missing_slices(tmp_path, flair, backend, between, thickness):
    """A gap acquired as one: the header's distance agrees, or holds the gap alone, as some scanners write it."""

    def change(data, k):
        numbered_up(data, k)
        data.SpacingBetweenSlices, data.SliceThickness = between, thickness

    assert not read_volume(write_series(flair, tmp_path / "s", "siemens", change=change)).warnings


def test_the_mean_distance_counts_where_distances_vary(tmp_path, flair, backend):
    def uneven(data, k):
        data.ImagePositionPatient[2] += 1.2 * (k % 2)

    volume = read_volume(write_series(flair, tmp_path / "s", "siemens", change=uneven))
    assert codes(volume.warnings) == ["slice-distance-varies"]
    assert volume.spacing[2] == pytest.approx((15 * 8 + 1.2) / 15)


@pytest.mark.parametrize("lost", [[7], [5, 6], [3, 11]])
def test_a_gap_names_how_many_slices_are_here(tmp_path, flair, backend, lost):
    kept = [k for k in range(16) if k not in lost]
    folder = edited(write_series(flair, tmp_path / "s", "siemens", change=numbered_up), keep(kept))
    with pytest.raises(errors.InvalidGeometryError, match=rf"\({len(kept)} of about 16 slices are here\)") as caught:
        read_volume(folder)
    assert caught.value.code == "slices-missing"


def test_enhanced_files_without_pydicom_are_refused_with_the_remedy(tmp_path, flair, monkeypatch):
    folder = write_series(flair, tmp_path / "s", "philips", enhanced=True)
    monkeypatch.setattr("flairseg.dicom.gdcm.find_spec", lambda _name: None)
    with pytest.raises(errors.MissingDependencyError, match="multi-frame"):
        read_volume(folder)


@pytest.mark.parametrize("vendor", ["siemens", "ge", "philips", "toshiba"])
def test_with_and_without_pydicom_one_answer(tmp_path, flair, vendor, monkeypatch):
    folder = write_series(flair, tmp_path / "s", vendor)
    one = read_volume(folder)
    monkeypatch.setattr("flairseg.dicom.gdcm.find_spec", lambda _name: None)
    two = read_volume(folder)
    np.testing.assert_array_equal(one.array, two.array)
    np.testing.assert_array_equal(one.ijk_to_ras, two.ijk_to_ras)
    assert (one.name, one.warnings, one.information) == (two.name, two.warnings, two.information)
