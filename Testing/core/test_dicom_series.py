"""DICOM in: the FLAIR of a study is found and read, whatever the vendor; what is no volume is refused in words."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pydicom.fileset
import pytest
import SimpleITK as sitk
from flairseg import errors
from flairseg.cli.advice import advice
from flairseg.dicom import find_flair, list_series, read_flair, read_series
from flairseg.image.volume import Volume
from flairseg.io.reader import read_volume
from flairseg.progress import CancelToken
from pydicom.uid import generate_uid

from Testing.core import dicom_series
from Testing.core.dicom_series import VENDORS, Study, write_localizer, write_series
from Testing.core.tiny import affine, make_head


@pytest.fixture(scope="module")
def flair() -> Volume:
    """A head without negative values and with a K axis that GDCM's order follows."""
    return whole(make_head()[0])


@pytest.fixture(scope="module")
def others() -> dict[str, Volume]:
    return {contrast: whole(make_head(contrast=contrast)[0]) for contrast in ("t1", "t2")}


def whole(volume: Volume) -> Volume:
    return Volume(np.clip(volume.array, 0, None), volume.ijk_to_ras, "head")


def few(volume: Volume, count: int = 3) -> Volume:
    return Volume(volume.array[:count], volume.ijk_to_ras, "part")


def refused(folder, error, *words, **options):
    with pytest.raises(error) as caught:
        read_flair(folder, **options)
    assert caught.value.advice
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return caught.value


# --- series of every vendor


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_series_of_every_vendor_are_read_in_place(tmp_path, flair, vendor, enhanced):
    folder = write_series(flair, tmp_path / "s", vendor, enhanced=enhanced)
    read = read_flair(folder)
    np.testing.assert_allclose(read.volume.ijk_to_ras, flair.ijk_to_ras, atol=1e-5)
    slope = (VENDORS[vendor].rescale or (1.0, 0.0))[0]
    np.testing.assert_allclose(read.volume.array, np.round(flair.array / slope) * slope, atol=1e-3)
    assert read.volume.warnings == ()
    assert "only one" in read.found.reason
    # The plain entrance agrees.
    np.testing.assert_array_equal(read_volume(folder).array, read.volume.array)


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_every_slice_knows_its_frame(tmp_path, flair, enhanced):
    read = read_flair(write_series(flair, tmp_path / "s", "siemens", enhanced=enhanced))
    for k, frame in enumerate(read.source.frames):
        data = pydicom.dcmread(frame.path)
        pixels = data.pixel_array[frame.number] if enhanced else data.pixel_array
        np.testing.assert_array_equal(read.volume.array[k], pixels)
        assert data.SOPInstanceUID == frame.sop_instance_uid
    numbers = [f.number if enhanced else f.instance_number for f in read.source.frames]
    assert numbers != sorted(numbers), "the order of the frames is not that of their places"
    assert [numbers[k] for k in read.source.in_series_order()] == sorted(numbers)


@pytest.mark.parametrize("tilt", [0, 20])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_any_plane_is_read_as_simpleitk_reads_it(tmp_path, plane, tilt):
    axes = {
        "axial": np.diag([-1.0, -1.0, 1.0]),
        "sagittal": np.array([[0, 0, -1.0], [-1, 0, 0], [0, -1, 0]]),
        "coronal": np.array([[-1, 0, 0.0], [0, 0, 1], [0, -1, 0]]),
    }[plane]
    angle = np.deg2rad(tilt)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    shape = (9, 30, 28)
    matrix = affine(turn @ axes, (6.0, 6.1, 14.0), shape)
    array = np.random.default_rng(3).integers(0, 900, shape).astype(np.int16)
    folder = write_series(Volume(array, matrix, "head"), tmp_path / "s", "ge")
    read = read_flair(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    np.testing.assert_array_equal(read.volume.array, sitk.GetArrayFromImage(image))
    for index in ((0, 0, 0), (5, 7, 3), (27, 29, 8)):
        lps = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((read.volume.ijk_to_ras @ [*index, 1])[:3], np.multiply(lps, (-1, -1, 1)), atol=1e-3)
    assert read.found.stack.plane == plane


# --- finding it


def study_of(tmp_path: Path, vendor: str, flair: Volume, others: dict[str, Volume], enhanced: bool = False) -> Path:
    """Localiser, T1, T2 and FLAIR with a DICOMDIR and clutter, each series in a folder of its own."""
    study, folder = Study(), tmp_path / "study"
    write_localizer(flair, folder / "a", vendor, study)
    write_series(others["t1"], folder / "b", vendor, "t1", study, 2, enhanced)
    write_series(others["t2"], folder / "c" / "deep", vendor, "t2", study, 3, enhanced)
    write_series(flair, folder / "d", vendor, "flair", study, 4, enhanced)
    (folder / "notes.txt").write_text("hello")
    (folder / "d" / "thumbs.db").write_bytes(b"\x08\x00" + bytes(400))
    (folder / "empty").write_bytes(b"")
    directory = pydicom.fileset.FileSet()
    for path in (folder / "d").glob("[!t]*"):
        directory.add(path)
    directory.write(tmp_path / "made")
    shutil.copy(tmp_path / "made" / "DICOMDIR", folder / "DICOMDIR")
    return folder


@pytest.mark.parametrize(("vendor", "enhanced"), [("siemens", False), ("ge", False), ("philips", True)])
def test_the_flair_of_a_study_is_found_by_its_headers(tmp_path, flair, others, vendor, enhanced):
    folder = study_of(tmp_path, vendor, flair, others, enhanced)
    found = find_flair(folder)
    assert found.series.number == 4
    assert VENDORS[vendor].contrasts["flair"].description in found.reason
    assert "nulls fluid" in found.reason or "fluid is attenuated" in found.reason
    assert len({entry.series.uid for entry in found.listing}) == 4
    assert [entry.series.number for entry in found.listing if entry.taken] == [4]
    assert all(entry.remark for entry in found.listing)
    assert not found.scan.damaged
    volume = read_volume(folder)
    assert volume.name == "PHANTOM-1_20200102"
    assert any("was taken as the FLAIR because" in w for w in volume.information)
    assert not volume.warnings
    np.testing.assert_allclose(volume.array, flair.array, atol=1.3)
    # A DICOMDIR stands for its folder.
    np.testing.assert_array_equal(read_volume(folder / "DICOMDIR").array, volume.array)


def test_a_named_series_is_taken_whatever_it_is(tmp_path, flair, others):
    folder = study_of(tmp_path, "siemens", flair, others)
    read = read_flair(folder, series="2")
    np.testing.assert_array_equal(read.volume.array, others["t1"].array)
    assert "as requested" in read.found.reason
    assert any("T1" in w for w in read.volume.warnings)
    uid = read.source.series_uid
    assert find_flair(folder, series=uid).series.uid == uid
    refused(folder, errors.NoFlairError, "no series '77'", "t2_tse_tra", series="77")


@pytest.mark.parametrize("lie", ["silent", "wrong"])
def test_headers_that_are_silent_or_lie_give_way_to_the_look(tmp_path, flair, others, lie):
    """No inversion time anywhere; no descriptions, or FLAIR written on the T2 and T1 on the FLAIR."""
    study, folder = Study(), tmp_path / "study"

    def change(words: str):
        def alter(data, _k):
            for keyword in ("InversionTime", "ScanningSequence", "SequenceName", "ProtocolName", "SeriesDescription"):
                if keyword in data:
                    delattr(data, keyword)
            if lie == "wrong":
                data.SeriesDescription = words

        return alter

    write_series(others["t1"], folder / "1", "ge", "t1", study, 1, change=change("T1 axial"))
    write_series(others["t2"], folder / "2", "ge", "t2", study, 2, change=change("T2 FLAIR"))
    write_series(flair, folder / "3", "ge", "flair", study, 3, change=change("T1 post"))
    found = find_flair(folder)
    assert found.series.number == 3, found.reason
    assert "looks like one" in found.reason
    assert "check" in found.reason
    assert ("something else" in found.reason) == (lie == "wrong")
    looks = {entry.series.number: entry.look for entry in found.listing}
    assert any("T2" in doubt for doubt in looks[2])
    if lie == "silent":
        # Nothing is guessed where the caller cannot see the reason.
        error = refused(folder, errors.NoFlairError, "3 DICOM series", by_look=False)
        with pytest.raises(errors.NoFlairError, match="3 DICOM series"):
            read_volume(folder)
        assert "--series" in advice(error)


def test_scanner_times_are_believed_before_words(tmp_path, flair, others):
    """A T1 FLAIR and an MPRAGE have an inversion time too, and a STIR; the real one has an unhelpful name."""
    study, folder = Study(), tmp_path / "study"
    write_series(others["t1"], folder / "1", "ge", "t1flair", study, 1)
    write_series(others["t1"], folder / "2", "siemens", "mprage", study, 2)

    def stir(data, _k):
        data.InversionTime, data.EchoTime = "150", "40"

    def unhelpful(data, _k):
        data.SeriesDescription = data.ProtocolName = "AX 5MM"
        if "SequenceName" in data:
            del data.SequenceName

    write_series(others["t2"], folder / "3", "siemens", "flair", study, 3, change=stir)
    write_series(flair, folder / "4", "toshiba", "flair", study, 4, change=unhelpful)
    found = find_flair(folder)
    assert found.series.number == 4, found.reason
    assert all(entry.look is None for entry in found.listing), "clear headers need no look"


def test_of_several_flairs_the_best_is_chosen_with_the_reason(tmp_path, flair):
    study, folder = Study(), tmp_path / "study"

    def derived(data, _k):
        data.ImageType = ["DERIVED", "SECONDARY", "MPR"]

    def contrast(data, _k):
        data.ContrastBolusAgent = "Gd"

    write_series(flair, folder / "1", "siemens", "flair", study, 1)
    write_series(flair, folder / "2", "siemens", "flair", study, 2, change=derived)
    found = find_flair(folder)
    assert found.series.number == 1
    assert "Of 2 FLAIRs" in found.reason
    assert "an original" in found.reason
    assert "series 2" in found.reason
    write_series(flair, folder / "3", "siemens", "flair", study, 3, change=contrast)
    assert find_flair(folder).series.number == 1
    shutil.rmtree(folder / "2")
    assert "without contrast agent" in find_flair(folder).reason
    shutil.rmtree(folder / "3")
    write_series(few(flair, 8), folder / "4", "siemens", "flair", study, 4)
    assert "whole head" in find_flair(folder).reason
    shutil.rmtree(folder / "4")
    # The same again: the later one, which is usually the repeat after motion.
    write_series(flair, folder / "5", "siemens", "flair", study, 5)
    found = find_flair(folder)
    assert found.series.number == 5
    assert "acquired last" in found.reason


def test_thick_axial_slices_before_a_3d_flair(tmp_path, flair):
    study, folder = Study(), tmp_path / "study"
    sagittal = np.array([[0, 0, -1.0], [-1, 0, 0], [0, -1, 0]])
    space = whole(make_head((60, 60, 60), (3.0, 3.0, 3.0), sagittal)[0])
    write_series(flair, folder / "1", "siemens", "flair", study, 1)
    write_series(space, folder / "2", "siemens", "space", study, 2)
    found = find_flair(folder)
    assert found.series.number == 1
    assert "axial and thick" in found.reason
    shutil.rmtree(folder / "1")
    assert find_flair(folder).stack.plane == "sagittal"


def test_nothing_chooses_between_patients(tmp_path, flair):
    for n in (1, 2):
        write_series(flair, tmp_path / "all" / str(n), "ge", "flair", Study(patient_id=f"P{n}"), n)
    error = refused(tmp_path / "all", errors.UnsupportedImageError, "FLAIRs of several patients", "SeriesInstanceUID")
    assert "P1" not in str(error)
    with pytest.raises(errors.UnsupportedImageError, match="several patients"):
        read_volume(tmp_path / "all")
    assert find_flair(tmp_path / "all", series="2").series.number == 2


def test_a_flair_that_cannot_be_read_is_told_beside_the_one_that_is_taken(tmp_path, flair):
    study, folder = Study(), tmp_path / "study"
    write_series(flair, folder / "1", "siemens", "flair", study, 1)
    write_series(flair, folder / "2", "siemens", "flair", study, 2)
    for path in sorted((folder / "1").iterdir())[5:7]:
        path.unlink()
    found = find_flair(folder)
    assert found.series.number == 2
    assert "Series 1 (t2_tirm_tra_dark-fluid) cannot be read: Slices are missing" in found.reason


def test_no_flair_lists_what_there_is(tmp_path, flair, others):
    folder = study_of(tmp_path, "siemens", flair, others)
    shutil.rmtree(folder / "d")
    error = refused(
        folder,
        errors.NoFlairError,
        "3 DICOM series",
        "series 1 (localizer",
        "series 2 (t1_se_tra)",
        "a T2, not a FLAIR",
    )
    assert isinstance(error, errors.UnsupportedImageError)
    assert "Phantom" not in str(error)


def test_an_empty_tree_and_one_of_other_objects(tmp_path, flair):
    (tmp_path / "none" / "deep").mkdir(parents=True)
    refused(tmp_path / "none", errors.InputNotFoundError, "no DICOM image")
    folder = write_series(few(flair), tmp_path / "s", "ge")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        del data.PixelData, data.Rows, data.Columns
        data.SOPClassUID = pydicom.uid.BasicTextSRStorage
        data.save_as(path)
    refused(folder, errors.InputNotFoundError, "no DICOM image")


# --- what a series can be


def test_several_volumes_in_one_series(tmp_path, flair, others):
    """A dual echo: proton density and T2-FLAIR at the same places. The long echo is the FLAIR."""
    study, folder, uid = Study(), tmp_path / "s", generate_uid()

    def echo(te: str, number: int, ti: str | None):
        def alter(data, _k):
            data.EchoTime, data.EchoNumbers = te, number
            data.InstanceNumber += 100 * number
            if ti is None:
                del data.InversionTime

        return alter

    write_series(others["t1"], folder / "1", "ge", "flair", study, 5, change=echo("11", 1, "2000"), uid=uid)
    write_series(flair, folder / "2", "ge", "flair", study, 5, change=echo("120", 2, "2000"), uid=uid)
    read = read_flair(folder)
    np.testing.assert_array_equal(read.volume.array, flair.array)
    assert read.found.stack.what == "echo time 120 ms"
    assert any("16 more images of the series" in w for w in read.volume.warnings)
    # In one folder, as the plain entrance sees them.
    for path in (folder / "1").iterdir():
        path.rename(folder / f"first{path.name}")
    for path in (folder / "2").iterdir():
        path.rename(folder / f"second{path.name}")
    np.testing.assert_array_equal(read_volume(folder).array, flair.array)


def test_magnitude_before_phase(tmp_path, flair, others):
    study, folder, uid = Study(), tmp_path / "s", generate_uid()

    def phase(data, _k):
        data.ImageType = ["ORIGINAL", "PRIMARY", "P", "ND"]

    write_series(others["t2"], folder / "1", "siemens", "flair", study, 5, change=phase, uid=uid)
    write_series(flair, folder / "2", "siemens", "flair", study, 5, uid=uid)
    read = read_flair(folder)
    np.testing.assert_array_equal(read.volume.array, flair.array)
    assert read.found.stack.what == "magnitude"


def test_frames_that_nothing_tells_apart_are_refused(tmp_path, flair):
    study, folder, uid = Study(), tmp_path / "s", generate_uid()
    write_series(flair, folder / "1", "ge", "flair", study, 5, uid=uid)
    other = Volume(flair.array + 1, flair.ijk_to_ras, "head")
    write_series(other, folder / "2", "ge", "flair", study, 5, uid=uid)
    refused(folder, errors.UnsupportedImageError, "same slice")


def test_diffusion_is_no_flair(tmp_path, flair):
    def diffusion(data, _k):
        data.DiffusionBValue = 1000.0

    study, folder = Study(), tmp_path / "s"
    write_series(flair, folder / "1", "siemens", "t2", study, 1, change=diffusion)
    write_series(flair, folder / "2", "siemens", "t2", study, 2, change=diffusion)
    refused(folder, errors.NoFlairError, "diffusion")


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_stacks_that_are_no_volume(tmp_path, flair, enhanced):
    def places(data):
        if not enhanced:
            return [data]
        return [group.PlanePositionSequence[0] for group in data.PerFrameFunctionalGroupsSequence]

    def tilt(data, _k):
        for place in places(data):
            x, y, z = place.ImagePositionPatient
            place.ImagePositionPatient = [x, round(y + 0.3 * z, 4), z]

    def gap(data, _k):
        for place in places(data):
            x, y, z = place.ImagePositionPatient
            place.ImagePositionPatient = [x, y, z + (16 if z > 10 else 0)]

    def uneven(data, _k):
        for place in places(data):
            x, y, z = place.ImagePositionPatient
            place.ImagePositionPatient = [x, y, z + (2 if z > 10 else 0)]

    def mosaic(data, _k):
        data.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]

    def write(name, change):
        return write_series(flair, tmp_path / name, "siemens", enhanced=enhanced, change=change)

    refused(write("tilt", tilt), errors.InvalidGeometryError, "tilted gantry", "Series 5 (t2_tirm")
    refused(write("gap", gap), errors.InvalidGeometryError, "missing")
    refused(write("mosaic", mosaic), errors.UnsupportedImageError, "mosaic")
    with pytest.raises(errors.UnsupportedImageError, match="mosaic"):
        read_volume(tmp_path / "mosaic")
    warnings = read_flair(write("uneven", uneven)).volume.warnings
    assert any("varies" in w for w in warnings)


def test_copies_strays_and_missing_ends_are_told(tmp_path, flair):
    folder = write_series(flair, tmp_path / "s", "siemens", change=lambda d, _k: setattr(d, "ImagesInAcquisition", 18))
    for path in list(folder.iterdir())[:5]:
        shutil.copy(path, folder / f"copy of {path.name}")
    stray = pydicom.dcmread(next(folder.iterdir()))
    stray.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    stray.SOPInstanceUID = generate_uid()
    stray.save_as(folder / "stray")
    read = read_flair(folder)
    np.testing.assert_array_equal(read.volume.array, flair.array)
    told = " ".join(read.volume.warnings)
    assert "5 files are duplicates" in " ".join(read.volume.information)
    assert "16 of 22 images of the series are used." in read.volume.information
    assert "1 more images of the series" in told
    assert "announce 18 images" in told
    np.testing.assert_array_equal(read_volume(folder).array, flair.array)


def test_missing_positions_are_told_and_size_and_order_kept(tmp_path, flair):
    def drop(data, _k):
        del data.ImagePositionPatient, data.ImageOrientationPatient

    read = read_flair(write_series(flair, tmp_path / "s", "philips", change=drop))
    assert any("no slice positions" in w for w in read.volume.warnings)
    np.testing.assert_allclose(read.volume.array, flair.array, atol=1.3)
    with pytest.raises(errors.InvalidGeometryError, match="give no positions of its slices"):
        read.source.headers()


def test_missing_pixel_spacing_is_told_and_none_at_all_refused(tmp_path, flair):
    def unknown(data, _k):
        del data.PixelSpacing

    def nothing(data, _k):
        data.PixelSpacing = ["0", "0"]

    read = read_flair(write_series(flair, tmp_path / "unknown", "ge", change=unknown))
    assert any("no pixel spacing: 1 mm is assumed" in w for w in read.volume.warnings)
    refused(
        write_series(flair, tmp_path / "zero", "ge", change=nothing), errors.InvalidGeometryError, "no valid pixel size"
    )


# --- encodings


def compressed(syntax: str):
    """Compress by GDCM through SimpleITK is not offered: pydicom's plug-ins do it."""

    def alter(data, _k):
        data.compress(getattr(pydicom.uid, syntax))

    return alter


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLSLossless"])
@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_compressed_series(tmp_path, flair, syntax, enhanced):
    folder = write_series(flair, tmp_path / "s", "siemens", enhanced=enhanced, change=compressed(syntax))
    np.testing.assert_array_equal(read_flair(folder).volume.array, flair.array)


def test_jpeg_2000_written_by_another_library(tmp_path, flair):
    from io import BytesIO

    from PIL import Image

    def alter(data, _k):
        picture = Image.fromarray(data.pixel_array.astype(np.uint16))
        stream = BytesIO()
        picture.save(stream, format="JPEG2000", irreversible=False, no_jp2=True)
        data.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless

    folder = write_series(flair, tmp_path / "s", "ge", change=alter)
    np.testing.assert_array_equal(read_flair(folder).volume.array, flair.array)


def test_compression_that_nobody_here_knows_gets_advice(tmp_path, flair):
    def alter(syntax):
        def change(data, _k):
            data.PixelData = pydicom.encaps.encapsulate([b"no picture at all" * 20])
            data["PixelData"].is_undefined_length = True
            data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)

        return change

    for syntax in ("HTJ2KLossless", "MPEG4HP41", "JPEG2000"):
        folder = write_series(few(flair), tmp_path / syntax, "ge", change=alter(syntax))
        refused(folder, errors.UnsupportedImageError, "compressed", "Explicit VR Little Endian")


def test_byte_order_signs_rescaling_and_inversion(tmp_path, flair):
    big = write_series(flair, tmp_path / "big", "ge", change=dicom_series.big_endian)
    np.testing.assert_array_equal(read_flair(big).volume.array, flair.array)

    signed = Volume(flair.array - 500, flair.ijk_to_ras, "head")
    np.testing.assert_array_equal(
        read_flair(write_series(signed, tmp_path / "signed", "ge")).volume.array, signed.array
    )

    def own_slope(data, k):
        data.RescaleSlope, data.RescaleIntercept = str(1 + k / 4), str(-k)

    folder = write_series(flair, tmp_path / "slopes", "ge", change=own_slope)
    slopes, intercepts = 1 + np.arange(16) / 4, -np.arange(16)
    expected = flair.array * slopes[:, None, None] + intercepts[:, None, None]
    for read in (read_flair(folder).volume, read_volume(folder)):
        np.testing.assert_allclose(read.array, expected, rtol=1e-6)

    def frame_slopes(data, _k):
        shared = data.SharedFunctionalGroupsSequence[0]
        own = shared.PixelValueTransformationSequence[0]
        del shared.PixelValueTransformationSequence
        for n, group in enumerate(data.PerFrameFunctionalGroupsSequence):
            item = pydicom.Dataset()
            item.RescaleSlope, item.RescaleIntercept, item.RescaleType = str(1 + n / 4), "0", own.RescaleType
            group.PixelValueTransformationSequence = [item]

    folder = write_series(flair, tmp_path / "frames", "siemens", enhanced=True, change=frame_slopes)
    read = read_flair(folder)
    numbers = np.array([f.number for f in read.source.frames])
    np.testing.assert_allclose(read.volume.array, flair.array * (1 + numbers / 4)[:, None, None], rtol=1e-6)

    def invert(data, _k):
        data.PhotometricInterpretation = "MONOCHROME1"
        data.PixelData = (1000 - np.frombuffer(data.PixelData, "<i2")).astype("<i2").tobytes()

    folder = write_series(flair, tmp_path / "inverted", "ge", change=invert)
    for read in (read_flair(folder).volume, read_volume(folder)):
        np.testing.assert_array_equal(read.array, flair.array)
        assert any("MONOCHROME1" in w for w in read.warnings)


def test_colour_is_refused(tmp_path, flair, others):
    def colour(data, _k):
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit = 7
        data.PixelData = bytes(3 * data.Rows * data.Columns)

    study, folder = Study(), tmp_path / "s"
    write_series(flair, folder / "1", "ge", "flair", study, 1, change=colour)
    write_series(others["t1"], folder / "2", "ge", "t1", study, 2)
    refused(folder, errors.NoFlairError, "colour")


def test_files_without_preamble_are_read(tmp_path, flair):
    folder = write_series(flair, tmp_path / "s", "ge")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        del data.file_meta
        data.preamble = None
        data.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_flair(folder).volume.array, flair.array)


# --- damage and hostility


@pytest.mark.parametrize("cut", ["early", "after its UIDs", "in its pixels"])
def test_a_truncated_slice_is_named(tmp_path, flair, cut):
    folder = write_series(flair, tmp_path / "s", "siemens")
    path = sorted(folder.iterdir())[4]
    raw, uid = path.read_bytes(), pydicom.dcmread(path).SeriesInstanceUID
    keep = {"early": 200, "after its UIDs": raw.index(uid.encode()) + 80, "in its pixels": len(raw) - 5}[cut]
    path.write_bytes(raw[:keep])
    if cut == "early":
        # Too little is left to tell the series: what can be seen is that a slice is missing.
        refused(folder, errors.InvalidGeometryError, "missing")
    else:
        refused(folder, errors.UnreadableImageError, path.name, "truncated")


HOSTILE = (
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "C:\\Windows\\..\\system32",
    "a\x00b\x1b[31mred\x07\r\nnext",
    "\u202egnp.exe",
    "[bold red]markup[/]",
    "$(touch pwned); `id` %s %n {0}",
    "N" * 10_000,
)


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_text_is_only_text(tmp_path, flair, others, number):
    words = HOSTILE[number]

    def alter(data, _k):
        pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
        data.SpecificCharacterSet = "ISO_IR 192"
        for keyword in ("PatientName", "PatientID", "StudyDescription", "SeriesDescription", "ProtocolName"):
            data.add_new(keyword, pydicom.datadict.dictionary_VR(keyword), words)
        data.StationName = words[:16]

    before = pydicom.config.settings.writing_validation_mode
    try:
        folder = tmp_path / "study"
        study = Study()
        write_series(few(flair, 8), folder / "1", "ge", "flair", study, 1, change=alter)
        write_series(few(others["t1"], 8), folder / "2", "ge", "t1", study, 2, change=alter)
    finally:
        pydicom.config.settings.writing_validation_mode = before
    read = read_flair(folder)
    # The case is called by its PatientID and study date: fit for a file name, whatever is written there.
    assert re.fullmatch(r"[\w.~-]{1,230}", read.volume.name)
    assert not read.volume.name.startswith(".")
    assert "20200102" in read.volume.name or len(words) > 200
    shown = [read.found.reason, *read.volume.warnings, *(e.title + e.remark for e in read.found.listing)]
    for text in shown:
        assert text.isprintable()
        assert len(text) < 700
        assert "\u202e" not in text
    for header in read.source.headers():
        assert len(str(header.PatientName)) <= 64
        assert str(header.PatientName).isprintable()
        assert "\\" not in str(header.PatientID)


def test_bytes_of_another_charset_and_broken_numbers(tmp_path, flair):
    folder = write_series(flair, tmp_path / "s", "ge")
    for n, path in enumerate(sorted(folder.iterdir())):
        raw = path.read_bytes()
        raw = raw.replace(b"ISO_IR 100", b"ISO_IR 999" if n % 2 else b"ISO_IR 192")
        raw = raw.replace(b"Phantom^Head", b"Ph\xe4nt\xff\xfe^H\xc3ad")
        raw = raw.replace(b"8002.0", b"8x02.y")
        path.write_bytes(raw)
    read = read_flair(folder)
    np.testing.assert_array_equal(read.volume.array, flair.array)
    name = str(read.source.headers()[0].PatientName)
    name.encode("utf-8")
    assert name.startswith("Ph")


def test_damaged_bytes_anywhere_give_words_or_a_volume(tmp_path):
    """Random bytes in the headers of classic and enhanced files: whatever happens is a typed error, or nothing."""
    small = whole(make_head((6, 24, 22), (9.0, 9.0, 20.0))[0])
    made = [
        write_series(small, tmp_path / "c", "siemens"),
        write_series(small, tmp_path / "e", "philips", enhanced=True),
    ]
    rng, outcomes = np.random.default_rng(7), set()
    for n in range(60):
        folder = tmp_path / f"damaged{n}"
        shutil.copytree(made[n % 2], folder)
        for path in folder.iterdir():
            raw = bytearray(path.read_bytes())
            for place in rng.integers(132, min(len(raw), 1800 if n % 2 == 0 else 6000), size=rng.integers(0, 8)):
                raw[place] = rng.integers(256)
            path.write_bytes(raw)
        try:
            read_flair(folder).source.headers()
            outcomes.add("read")
        except errors.FlairSegError as error:
            outcomes.add(type(error).__name__ if error.advice else "without advice")
    assert {"read", "UnreadableImageError"} <= outcomes
    assert "without advice" not in outcomes


def test_absurd_promises_take_no_memory(tmp_path, flair):
    def alter(data, _k):
        data.Rows = data.Columns = 65535

    folder = write_series(flair, tmp_path / "s", "ge", change=alter)
    refused(folder, errors.UnsupportedImageError, "announce")


# --- running


def test_progress_runs_to_the_end_and_cancel_stops(tmp_path, flair):
    folder = write_series(flair, tmp_path / "s", "ge")
    seen = []
    read_flair(folder, progress=lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert {stage for _, stage in seen} == {"read"}
    token = CancelToken()
    token.cancel()
    with pytest.raises(errors.Cancelled):
        read_flair(folder, cancel=token)
    calls = iter(range(100))
    with pytest.raises(errors.Cancelled):
        read_flair(folder, cancel=lambda: next(calls) > 25)


def test_one_enhanced_file_can_be_given_itself(tmp_path, flair):
    folder = write_series(flair, tmp_path / "s", "philips", enhanced=True)
    file = next(folder.iterdir())
    np.testing.assert_array_equal(read_volume(file).array, read_flair(folder).volume.array)
    assert len(list_series(file)[0]) == 1


def test_without_pydicom_a_plain_series_still_reads(tmp_path, flair, monkeypatch):
    folder = write_series(flair, tmp_path / "s", "ge")
    monkeypatch.setattr("flairseg.dicom.gdcm.find_spec", lambda _name: None)
    np.testing.assert_array_equal(read_volume(folder).array, flair.array)
    study = Study()
    write_series(few(flair), tmp_path / "two", "ge", "flair", study, 1)
    for path in write_series(few(flair), tmp_path / "three", "ge", "t1", study, 2).iterdir():
        path.rename(tmp_path / "two" / f"b{path.name}")
    with pytest.raises(errors.UnsupportedImageError, match=r"2 DICOM series \(3, 3 files\)"):
        read_volume(tmp_path / "two")
    monkeypatch.setattr("flairseg._optional.find_spec", lambda _name: None)
    with pytest.raises(errors.MissingDependencyError, match="pydicom") as caught:
        find_flair(folder)
    assert "flairseg[dicom]" in caught.value.advice


def test_read_series_reads_any_stack(tmp_path, flair, others):
    folder = study_of(tmp_path, "siemens", flair, others)
    series, _ = list_series(folder)
    assert [s.number for s in series] == [1, 2, 3, 4]
    assert len(series[0].stacks) == 3
    np.testing.assert_array_equal(read_series(series[1]).volume.array, others["t1"].array)
