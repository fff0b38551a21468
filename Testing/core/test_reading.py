"""Reading: every format and storage order gives nibabel's voxels and affine; every bad input gives a typed error."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg import errors
from flairseg.files.names import case_name
from flairseg.image.checks import check_volume
from flairseg.image.volume import Volume
from flairseg.io.reader import read_volume
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.core.tiny import AXIAL, affine, make_head, to_dicom, to_nifti, to_sitk

ORIENTATIONS = {
    "RAS": np.diag([1.0, 1, 1]),
    "LAS": np.diag([-1.0, 1, 1]),
    "LPS": np.diag([-1.0, -1, 1]),
    "LPI": np.diag([-1.0, -1, -1]),
    "sagittal": np.array([[0, 0, -1.0], [-1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


def rotation(angles) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", angles, degrees=True).as_matrix()


def same_as_nibabel(volume: Volume, path: Path) -> None:
    image = nib.load(path)
    np.testing.assert_array_equal(np.transpose(volume.array, (2, 1, 0)), np.asarray(image.dataobj, dtype=np.float32))
    np.testing.assert_allclose(volume.ijk_to_ras, image.affine, atol=1e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("oblique", [(0, 0, 0), (12, -7, 20)])
def test_nifti_is_read_as_nibabel_reads_it(tmp_path, orientation, oblique):
    volume, _ = make_head((10, 40, 36), (5.0, 5.0, 12.0), orientation=rotation(oblique) @ ORIENTATIONS[orientation])
    path = to_nifti(volume, tmp_path / "head-a.nii.gz")
    read = read_volume(path)
    same_as_nibabel(read, path)
    assert read.array.dtype == np.float32
    assert read.name == "head-a"
    assert read.warnings == ()


@given(
    axes=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    angles=st.tuples(*[st.floats(-44, 44)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 9.0)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
)
@settings(max_examples=40, deadline=None)
def test_any_right_angled_affine_survives(tmp_path_factory, axes, signs, angles, spacing, origin):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(angles) @ np.diag(signs)[:, axes] @ np.diag(spacing)
    matrix[:3, 3] = origin
    array = np.random.default_rng(0).integers(0, 99, (3, 17, 16)).astype(np.int16)
    path = to_nifti(Volume(array, matrix), tmp_path_factory.getbasetemp() / "any.nii")
    same_as_nibabel(read_volume(path), path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_every_format_gives_the_same_volume(tmp_path, head, ending):
    writer = to_nifti if ending.startswith(".nii") else to_sitk
    read = read_volume(writer(head, tmp_path / f"a.b{ending}"))
    np.testing.assert_array_equal(read.array, head.array)
    np.testing.assert_allclose(read.ijk_to_ras, head.ijk_to_ras, atol=1e-4)
    assert read.name == "a.b"


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_voxel_types(tmp_path, head, kind):
    array = np.clip(head.array, 0, 200).astype(kind)
    path = tmp_path / "typed.nii.gz"
    nib.save(nib.Nifti1Image(array.T, head.ijk_to_ras), path)
    np.testing.assert_array_equal(read_volume(path).array, array)


def test_scaled_and_big_endian_files(tmp_path, head):
    image = nib.Nifti1Image(head.array.T, head.ijk_to_ras)
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "scaled.nii.gz")
    np.testing.assert_allclose(
        read_volume(tmp_path / "scaled.nii.gz").array, nib.load(tmp_path / "scaled.nii.gz").get_fdata().T
    )
    big = nib.Nifti1Image(head.array.T, head.ijk_to_ras, nib.Nifti1Header(endianness=">"))
    nib.save(big, tmp_path / "big.nii")
    same_as_nibabel(read_volume(tmp_path / "big.nii"), tmp_path / "big.nii")


def test_a_dicom_series_is_ordered_by_position(tmp_path):
    for name, orientation in ORIENTATIONS.items():
        volume, _ = make_head((9, 30, 28), (6.0, 6.0, 14.0), orientation=rotation((8, 5, -9)) @ orientation)
        read = read_volume(to_dicom(volume, tmp_path / name))
        assert read.name == f"12345_{name}"
        # GDCM may turn the slice order round: compare where each voxel lies in space.
        if np.dot(read.ijk_to_ras[:3, 2], volume.ijk_to_ras[:3, 2]) < 0:
            volume = Volume(volume.array[::-1], flipped(volume.ijk_to_ras, len(volume.array)), name)
        np.testing.assert_array_equal(read.array, volume.array)
        np.testing.assert_allclose(read.ijk_to_ras, volume.ijk_to_ras, atol=1e-3)
        assert read.warnings == ()


def flipped(matrix: np.ndarray, count: int) -> np.ndarray:
    out = matrix.copy()
    out[:3, 3] += out[:3, 2] * (count - 1)
    out[:3, 2] *= -1
    return out


def test_no_name_of_a_patient_is_kept(tmp_path, head):
    read = read_volume(to_dicom(head, tmp_path / "series7"))
    assert "Doe" not in repr(read)
    # Her number is: it tells the case from others.
    assert read.name.startswith("12345")


# --- what is mended or told


def test_one_volume_4d_is_squeezed(tmp_path, head):
    nib.save(nib.Nifti1Image(head.array.T[..., None], head.ijk_to_ras), tmp_path / "one.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "one.nii.gz").array, head.array)
    image = sitk.JoinSeries([sitk.GetImageFromArray(head.array)])
    sitk.WriteImage(image, str(tmp_path / "one.nrrd"))
    np.testing.assert_array_equal(read_volume(tmp_path / "one.nrrd").array, head.array)


@pytest.mark.parametrize(("slices", "told"), [(2, True), (5, True), (6, False)])
def test_a_few_slices_are_read_with_a_warning(tmp_path, head, slices, told):
    """Volumes of a part of a head looked like those of the whole, also with ``--strict``."""
    nib.save(nib.Nifti1Image(head.array[5 : 5 + slices].T, head.ijk_to_ras), tmp_path / "part.nii.gz")
    found = [w for w in read_volume(tmp_path / "part.nii.gz").warnings if w.code == "few-slices"]
    assert len(found) == told
    assert all(f"{slices} slices" in w for w in found)


def test_single_slices_are_read_with_a_warning(tmp_path, head):
    middle = head.array[8:9]
    nib.save(nib.Nifti1Image(middle.T, head.ijk_to_ras), tmp_path / "slice.nii.gz")
    read = read_volume(tmp_path / "slice.nii.gz")
    assert read.array.shape == (1, 88, 76)
    assert any("single slice" in w for w in read.warnings)
    nib.save(nib.Nifti1Image(middle[0].T, head.ijk_to_ras), tmp_path / "flat.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(middle[0]), str(tmp_path / "flat.mha"))
    for name in ("flat.nii.gz", "flat.mha"):
        read = read_volume(tmp_path / name)
        np.testing.assert_array_equal(read.array, middle)
        assert any("assume 1 mm" in w for w in read.warnings)


def test_nan_and_infinity_become_zero_with_a_warning(tmp_path, head):
    array = head.array.astype(np.float32)
    array[3, 4, 5:8] = np.nan, np.inf, -np.inf
    nib.save(nib.Nifti1Image(array.T, head.ijk_to_ras), tmp_path / "nan.nii.gz")
    read = read_volume(tmp_path / "nan.nii.gz")
    assert (read.array[3, 4, 5:8] == 0).all()
    assert any("3 voxels" in w and "NaN" in w for w in read.warnings)
    array[3, 4, 5:8] = 0
    np.testing.assert_array_equal(read.array, array)


def test_placements_that_disagree_are_told_and_kept(tmp_path, head):
    image = nib.Nifti1Image(head.array.T, head.ijk_to_ras)
    moved = head.ijk_to_ras.copy()
    moved[:3, 3] += (0, 0, 25)
    image.set_sform(moved, 2)
    image.set_qform(head.ijk_to_ras, 1)
    nib.save(image, tmp_path / "two.nii.gz")
    read = read_volume(tmp_path / "two.nii.gz")
    assert any("25.0 mm apart" in w for w in read.warnings)
    np.testing.assert_allclose(read.nifti.sform_affine(), moved, atol=1e-4)
    np.testing.assert_allclose(read.nifti.qform_affine(), head.ijk_to_ras, atol=1e-3)


def test_a_file_without_placement_is_told(tmp_path, head):
    image = nib.Nifti1Image(head.array.T, head.ijk_to_ras)
    image.set_sform(head.ijk_to_ras, 0)
    image.set_qform(head.ijk_to_ras, 0)
    nib.save(image, tmp_path / "lost.nii.gz")
    assert any("left and right" in w for w in read_volume(tmp_path / "lost.nii.gz").warnings)


def test_other_modalities_and_uneven_slices_are_told(tmp_path, head):
    assert any("CT" in w for w in read_volume(to_dicom(head, tmp_path / "ct", "CT")).warnings)
    folder = to_dicom(head, tmp_path / "uneven")
    import pydicom

    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        if data.InstanceNumber == 9:
            data.ImagePositionPatient[2] += 1.5
            data.save_as(path)
    assert any("varies" in w for w in read_volume(folder).warnings)


def test_dicom_without_positions_is_told(tmp_path, head):
    import pydicom

    folder = to_dicom(head, tmp_path / "old")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        del data.ImagePositionPatient
        data.save_as(path)
    assert any("no slice positions" in w for w in read_volume(folder).warnings)


# --- what is refused


def refused(path, error, *words):
    with pytest.raises(error) as caught:
        read_volume(path)
    assert caught.value.advice
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return caught.value


def header_bytes(head, tmp_path) -> bytearray:
    return bytearray(to_nifti(head, tmp_path / "whole.nii").read_bytes())


def test_missing_files_and_empty_folders(tmp_path):
    refused(tmp_path / "none.nii.gz", errors.InputNotFoundError, "no file or folder")
    refused("a" * 300, errors.InputNotFoundError)
    refused("nul\0byte.nii", errors.InputNotFoundError)
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", errors.InputNotFoundError, "no DICOM")


def test_a_folder_without_dicom_names_the_likely_input(tmp_path, head_file):
    (tmp_path / "study" / "series1").mkdir(parents=True)
    (tmp_path / "study" / "notes.txt").write_text("hello")
    refused(tmp_path / "study", errors.InputNotFoundError, "study/series1")
    shutil.copy(head_file, tmp_path / "study" / "head.nii.gz")
    refused(tmp_path / "study", errors.InputNotFoundError, "study/head.nii.gz")


def test_names_that_are_no_text_are_refused(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda _: True)
    refused("bad\udcff.nii", errors.UnreadableImageError, "UTF-8")


@pytest.mark.parametrize("name", ["ReadImageInformation", "ReadImage"])
def test_what_gdcm_cannot_read_is_told(tmp_path, head, monkeypatch, name):
    def fail(*_args, **_more):
        raise RuntimeError("GDCM: unsupported transfer syntax")

    folder = to_dicom(head, tmp_path / "odd")
    monkeypatch.setattr("flairseg.dicom.gdcm.find_spec", lambda _name: None)
    monkeypatch.setattr(sitk if name == "ReadImage" else sitk.ImageFileReader, name, fail)
    kind = errors.UnsupportedImageError if name == "ReadImage" else errors.UnreadableImageError
    refused(folder, kind, "decoded" if name == "ReadImage" else "cannot be read")


@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "ImplicitVRLittleEndian"])
@pytest.mark.parametrize("missing", [2, 4000, 13000])
def test_truncated_dicom(tmp_path, head, missing, syntax):
    import pydicom

    folder = to_dicom(head, tmp_path / "cut")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        data.save_as(path, implicit_vr=syntax.startswith("Implicit"), little_endian=True)
    np.testing.assert_allclose(read_volume(folder).ijk_to_ras, head.ijk_to_ras, atol=1e-3)
    path = sorted(folder.iterdir())[3]
    path.write_bytes(path.read_bytes()[:-missing])
    refused(folder, errors.UnreadableImageError, "truncated", path.name)


def test_compressed_dicom(tmp_path, head):
    import pydicom

    folder = to_dicom(head, tmp_path / "packed")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom")
        data.save_as(path)
    np.testing.assert_array_equal(read_volume(folder).array, head.array)


def test_one_multi_frame_file(tmp_path, head):
    """An enhanced DICOM file holds all slices in one."""
    image = sitk.GetImageFromArray(np.clip(head.array, 0, 255).astype(np.uint8))
    (tmp_path / "enhanced").mkdir()
    sitk.WriteImage(image, str(tmp_path / "enhanced" / "all.dcm"))
    np.testing.assert_array_equal(read_volume(tmp_path / "enhanced").array, np.clip(head.array, 0, 255))


def test_several_series_are_counted_not_described(tmp_path, head):
    to_dicom(head, tmp_path / "two", series=1)
    other = Volume(head.array[:4], head.ijk_to_ras)
    for path in to_dicom(other, tmp_path / "other", series=2).iterdir():
        path.rename(tmp_path / "two" / f"b{path.name}")
    error = refused(tmp_path / "two", errors.UnsupportedImageError, "2 DICOM series", "16, 4 files")
    assert "Doe" not in str(error)


def test_dicom_folders_that_are_no_stack(tmp_path, head):
    import pydicom

    def changed(name, change):
        folder = to_dicom(head, tmp_path / name)
        for path in folder.iterdir():
            data = pydicom.dcmread(path)
            if change(data):
                data.save_as(path)
            else:
                path.unlink()
        return folder

    refused(changed("gap", lambda d: d.InstanceNumber not in (7, 8)), errors.InvalidGeometryError, "missing")

    def tilt(data):
        data.ImagePositionPatient[1] += 2.0 * data.InstanceNumber
        return True

    refused(changed("tilt", tilt), errors.InvalidGeometryError, "sideways")

    def turn(data):
        if data.InstanceNumber == 5:
            data.ImageOrientationPatient = [1, 0, 0, 0, 0.8, 0.6]
        return True

    refused(changed("turn", turn), errors.UnsupportedImageError, "parallel")
    to_dicom(head, tmp_path / "echo")
    for path in to_dicom(head.with_array(head.array + 1), tmp_path / "echo2", first=50).iterdir():
        path.rename(tmp_path / "echo" / f"e{path.name}")
    refused(tmp_path / "echo", errors.UnsupportedImageError, "same slice")


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_truncated_files(tmp_path, head, ending, keep):
    writer = to_nifti if ending.startswith(".nii") else to_sitk
    path = writer(head, tmp_path / f"cut{ending}")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    refused(path, errors.UnreadableImageError)


def test_damaged_gzip(tmp_path, head):
    path = to_nifti(head, tmp_path / "bad.nii.gz")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 40] = bytes(40)
    path.write_bytes(raw)
    refused(path, errors.UnreadableImageError, "damaged")


def test_names_that_lie_about_the_content(tmp_path, head):
    gz = to_nifti(head, tmp_path / "head.nii.gz")
    nrrd = to_sitk(head, tmp_path / "head.nrrd")
    for source, name, words in (
        (gz, "head.mha", ("NIfTI", ".nii.gz")),
        (gz, "head.nii", ("gzip", ".nii.gz")),
        (gz, "head.txt", ("NIfTI", ".nii.gz")),
        (nrrd, "lie.nii.gz", ("NRRD", ".nrrd")),
        (nrrd, "head", ("NRRD", ".nrrd")),
    ):
        shutil.copy(source, tmp_path / name)
        refused(tmp_path / name, errors.UnreadableImageError, *words)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("zero.nii.gz", b"", ("0 bytes",)),
        ("text.nii", b"not an image at all" * 40, ("not NIfTI",)),
        ("report.pdf", b"%PDF-1.4" + bytes(600), ("PDF document", "Export")),
        ("picture.png", b"\x89PNG\r\n" + bytes(600), ("PNG picture", "Export")),
        ("photo.nii", b"\xff\xd8\xff" + bytes(600), ("JPEG picture", "NIfTI")),
        ("archive.mha", b"PK\x03\x04" + bytes(600), ("zip",)),
        ("text.nii.gz", gzip.compress(b"hello" * 1000, mtime=0), ("not a NIfTI-1",)),
        ("short.nii.gz", gzip.compress(b"hello", mtime=0), ("header",)),
        ("broken.mha", b"ObjectType = Image\nNDims = 3\n", ("cannot be read",)),
    ],
)
def test_files_of_other_kinds(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, errors.UnreadableImageError, *words)


def test_one_dicom_file_is_not_a_series(tmp_path, head):
    refused(next(to_dicom(head, tmp_path / "s").iterdir()), errors.UnreadableImageError, "one DICOM file", "folder")


def test_nifti_2_is_told(tmp_path, head):
    nib.save(nib.Nifti2Image(head.array.T, head.ijk_to_ras), tmp_path / "two.nii")
    refused(tmp_path / "two.nii", errors.UnreadableImageError, "NIfTI-2", "Convert it to NIfTI-1")


def test_several_volumes_colour_and_complex(tmp_path, head):
    nib.save(nib.Nifti1Image(np.stack([head.array.T] * 2, -1), head.ijk_to_ras), tmp_path / "4d.nii.gz")
    refused(tmp_path / "4d.nii.gz", errors.UnsupportedImageError, "several volumes", "76 x 88 x 16 x 2")
    nib.save(nib.Nifti1Image(np.stack([head.array.T[..., None]] * 3, -1), head.ijk_to_ras), tmp_path / "5d.nii.gz")
    refused(tmp_path / "5d.nii.gz", errors.UnsupportedImageError, "vector")
    nib.save(nib.Nifti1Image(head.array.T.astype(np.complex64), head.ijk_to_ras), tmp_path / "c.nii.gz")
    refused(tmp_path / "c.nii.gz", errors.UnsupportedImageError, "complex")
    rgb = np.zeros(head.array.T.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, head.ijk_to_ras), tmp_path / "rgb.nii.gz")
    refused(tmp_path / "rgb.nii.gz", errors.UnsupportedImageError, "colour")
    sitk.WriteImage(
        sitk.GetImageFromArray(np.zeros((4, 20, 20, 3), np.uint8), isVector=True), str(tmp_path / "rgb.mha")
    )
    refused(tmp_path / "rgb.mha", errors.UnsupportedImageError, "colour")
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(head.array)] * 2), str(tmp_path / "4d.mha"))
    refused(tmp_path / "4d.mha", errors.UnsupportedImageError, "several volumes")


@pytest.mark.parametrize("spacing", [(0.001, 0.001, 0.005), (1000.0, 1000.0, 5000.0), (1.0, 1.0, 90.0)])
def test_absurd_spacing(tmp_path, spacing):
    volume = Volume(make_head()[0].array, affine(AXIAL, spacing, (16, 88, 76)))
    refused(to_nifti(volume, tmp_path / "a.nii.gz"), errors.InvalidGeometryError, "mm")
    refused(to_sitk(volume, tmp_path / "a.nrrd"), errors.InvalidGeometryError, "mm")


@pytest.mark.parametrize("shear", [0.02, 0.3])
def test_sheared_affines(tmp_path, head, shear):
    matrix = head.ijk_to_ras.copy()
    matrix[0, 1] = shear * 2.5
    nib.save(nib.Nifti1Image(head.array.T, matrix), tmp_path / "sheared.nii.gz")
    refused(tmp_path / "sheared.nii.gz", errors.InvalidGeometryError, "sheared")
    sheared = sitk.GetImageFromArray(head.array)
    sheared.SetDirection((1, shear, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(sheared, str(tmp_path / "sheared.mha"))
    refused(tmp_path / "sheared.mha", errors.InvalidGeometryError, "right angles")


def test_affines_that_are_no_numbers(tmp_path, head):
    for name, values, word in (("zero", [0.0] * 12, "no valid voxel size"), ("nan", [float("nan")] * 12, "NaN")):
        raw = header_bytes(head, tmp_path)
        raw[252:256] = struct.pack("<2h", 0, 2)
        raw[280:328] = struct.pack("<12f", *values)
        (tmp_path / f"{name}.nii").write_bytes(raw)
        refused(tmp_path / f"{name}.nii", errors.InvalidGeometryError, word)
    raw = header_bytes(head, tmp_path)
    raw[252:256] = struct.pack("<2h", 0, 0)
    raw[80:92] = bytes(12)
    (tmp_path / "sizeless.nii").write_bytes(raw)
    refused(tmp_path / "sizeless.nii", errors.InvalidGeometryError, "no valid voxel size")
    mha = to_sitk(head, tmp_path / "zero.mha").read_bytes()
    assert b"TransformMatrix = 1 0 0 0 1 0 0 0 1" in mha
    (tmp_path / "zero.mha").write_bytes(
        mha.replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1", b"TransformMatrix = 0 0 0 0 0 0 0 0 0")
    )
    refused(tmp_path / "zero.mha", errors.InvalidGeometryError, "impossible")


def test_headers_without_voxels(tmp_path, head):
    raw = header_bytes(head, tmp_path)
    raw[42:44] = struct.pack("<h", 0)
    (tmp_path / "none.nii").write_bytes(raw)
    refused(tmp_path / "none.nii", errors.UnsupportedImageError, "no voxels")


@pytest.mark.parametrize(
    ("array", "error", "word"),
    [
        (np.zeros((8, 32, 32), np.int16), errors.UnusableIntensitiesError, "same value"),
        (np.full((8, 32, 32), 7.5, np.float32), errors.UnusableIntensitiesError, "7.5"),
        (np.full((8, 32, 32), np.nan, np.float32), errors.UnusableIntensitiesError, "NaN"),
        (np.zeros((0, 32, 32), np.float32), errors.UnusableIntensitiesError, "empty"),
        (np.zeros((8, 8, 8), np.float32), errors.UnsupportedImageError, "too small"),
        (np.zeros((1, 1, 64), np.float32), errors.UnsupportedImageError, "too small"),
        (np.zeros((2, 8, 32, 32), np.float32), errors.UnsupportedImageError, "4 dimensions"),
        (np.zeros((8, 32, 32), np.complex64), errors.UnsupportedImageError, "real"),
        (np.broadcast_to(np.float32(1), (1100, 1000, 1000)), errors.UnsupportedImageError, "too large"),
    ],
)
def test_arrays_that_hold_no_image(array, error, word):
    with pytest.raises(error, match=word):
        check_volume(Volume(array, np.diag([1.0, 1, 5, 1])))


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_affines_that_place_nothing(matrix):
    with pytest.raises(errors.InvalidGeometryError):
        check_volume(Volume(np.zeros((8, 32, 32)), matrix))


def test_numbers_too_large_for_float32_are_mended():
    array = np.random.default_rng(0).normal(size=(4, 20, 20))
    array[0, 0, 0] = 1e300
    checked = check_volume(Volume(array, np.eye(4)))
    assert checked.array[0, 0, 0] == 0
    assert checked.warnings


def test_unreadable_files_and_folders(tmp_path, head_file, monkeypatch):
    path = tmp_path / "locked.nii.gz"
    shutil.copy(head_file, path)
    folder = tmp_path / "locked"
    folder.mkdir()
    denied = PermissionError(13, "Permission denied")

    def deny(*_args, **_more):
        raise denied

    with monkeypatch.context() as later:
        # The file is opened twice: it may be locked in between.
        later.setattr("gzip.open", deny)
        refused(path, errors.UnreadableImageError, "Permission denied", "permissions")
    monkeypatch.setattr(Path, "open", deny)
    refused(path, errors.UnreadableImageError, "Permission denied", "permissions")
    monkeypatch.setattr("os.listdir", deny)
    refused(folder, errors.UnreadableImageError, "Permission denied", "permissions")


def test_a_device_is_no_image():
    if not Path("/dev/null").exists():
        pytest.skip("no /dev/null on this system")
    refused("/dev/null", errors.UnreadableImageError, "neither")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/flair.nii.gz", "a_flair"),
        ("a/FLAIR.NII.GZ", "a_FLAIR"),
        ("a/x.y.nrrd", "x.y"),
        ("a/dicom.folder", "dicom.folder"),
        ("a/.nii.gz", "a_volume"),
        ("a/Ärztin 頭部.mha", "Ärztin 頭部"),
        ("a/bad\udcffbyte.nii", "bad_byte~3dc93ab3"),
        ("/", "volume"),
    ],
)
def test_case_names(path, name):
    assert case_name(path) == name


def test_unicode_and_long_paths(tmp_path, head):
    folder = tmp_path / "Universitätsklinikum 頭部 δ" / ("long" * 50)
    folder.mkdir(parents=True)
    for ending, writer in ((".nii.gz", to_nifti), (".nrrd", to_sitk), (".mha", to_sitk)):
        path = writer(head, folder / f"{'Ä' * 60}{ending}")
        assert len(str(path)) > 250
        np.testing.assert_array_equal(read_volume(path).array, head.array)
    np.testing.assert_array_equal(read_volume(to_dicom(head, folder / "série")).array, head.array)
