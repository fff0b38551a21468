"""NIfTI headers and volumes at the limits of what is read: pieces of data, offsets, dimensions, sizes, shear."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.errors import InvalidGeometryError, UnreadableImageError, UnsupportedImageError
from flairseg.files import nifti
from flairseg.image.checks import check_grid, check_volume
from flairseg.image.volume import Volume
from flairseg.io import reader
from flairseg.io.reader import read_components, read_volume
from scipy.spatial.transform import Rotation


def save(path: Path, array: np.ndarray, **fields: int) -> Path:
    """As nibabel writes it; fields of the header by name."""
    image = nib.Nifti1Image(array, np.diag([2.0, 2.0, 4.0, 1.0]))
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_that_are_no_numbers_are_found_in_every_piece(tmp_path, monkeypatch, kind, name):
    """Pieces of 64 bytes, and an offset that is no multiple of them."""
    monkeypatch.setattr(nifti, "_CHUNK", 64)
    array = np.random.default_rng(0).random((5, 6, 7)).astype(kind)
    flat = array.ravel(order="F")
    bad = [0, 15, 16, 17, 100, 209]
    flat[bad] = [np.nan, np.inf, -np.inf, np.nan, np.nan, np.inf]
    path = save(tmp_path / name, flat.reshape(array.shape, order="F"), vox_offset=400)
    header = nifti.read_header(path)
    assert header.not_finite.tolist() == bad
    assert header.start == 400
    assert header.content_bytes == 400 + 210 * np.dtype(kind).itemsize
    assert (header.shape, header.trailing) == ((5, 6, 7), False)
    # FlairSeg's own reader of masks puts them where nibabel has them.
    _, read = read_components(path)
    assert np.array_equal(np.isnan(read[0]).T, ~np.isfinite(nib.load(path).get_fdata()))


@pytest.mark.parametrize(("more", "trailing"), [(b"", False), (bytes(50), False), (bytes(49) + b"x", True)])
@pytest.mark.parametrize("piece", [64, 1000, 1 << 20])
def test_what_follows_the_voxels_counts_unless_it_is_zeros(tmp_path, monkeypatch, more, trailing, piece):
    monkeypatch.setattr(nifti, "_CHUNK", piece)
    path = save(tmp_path / "a.nii", np.full((5, 6, 7), 200, np.uint8))
    path.write_bytes(path.read_bytes() + more)
    assert nifti.read_header(path).trailing is trailing
    path.write_bytes(path.read_bytes()[: 352 + 209])
    with pytest.raises(UnreadableImageError, match="561 of 562 bytes"):
        nifti.read_header(path)


@pytest.mark.parametrize(
    ("at", "form", "values", "error"),
    [
        (40, "h", [0], UnsupportedImageError),
        (40, "h", [8], UnsupportedImageError),
        (40, "h", [7], None),
        (40, "h", [1], None),
        (40, "4h", [3, 5, 0, 7], UnsupportedImageError),
        (40, "4h", [3, 5, 6, -7], UnsupportedImageError),
        (40, "5h", [3, 5, 6, 7, 0], None),  # what is beyond the dimensions says nothing
        (0, "i", [347], UnreadableImageError),
        (344, "4s", [b"ni1\0"], UnreadableImageError),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_dimensions_and_marks_of_a_header(at, form, values, error, order):
    header = nib.Nifti1Header(endianness=order)
    header.set_data_shape((5, 6, 7))
    header["magic"] = b"n+1"
    raw = bytearray(header.binaryblock)
    struct.pack_into(order + form, raw, at, *values)
    if error is None:
        assert nifti.parse_header(bytes(raw), "a.nii").shape[0] == 5
        return
    with pytest.raises(error):
        nifti.parse_header(bytes(raw), "a.nii")
    with pytest.raises(UnreadableImageError, match="header"):
        nifti.parse_header(bytes(raw[:347]), "a.nii")


@pytest.mark.parametrize(("offset", "start"), [(0, 352), (347, 352), (348, 348), (1000, 1000), (np.nan, 352)])
def test_voxels_begin_where_the_header_says_or_right_after_it(offset, start):
    header = nib.Nifti1Header()
    header.set_data_shape((5, 6, 7))
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", offset
    found = nifti.parse_header(header.binaryblock, "a.nii")
    assert (found.start, found.content_bytes, found.float_type) == (start, start + 5 * 6 * 7 * 2, None)


def test_first_bytes_are_those_of_the_content(tmp_path):
    content = np.random.default_rng(1).bytes(4000)
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed").write_bytes(gzip.compress(content))
    for count in (2, 512, 4000, 5000):
        assert nifti.first_bytes(tmp_path / "plain", count) == content[:count]
        assert nifti.first_bytes(tmp_path / "packed", count) == content[:count]
    packed = gzip.compress(bytes(4000) + content)
    (tmp_path / "broken").write_bytes(packed[:-2000] + b"\0" * 2000)
    whole = zlib.decompressobj(31).decompress(packed[:600])
    assert nifti.first_bytes(tmp_path / "broken", 500) == whole[:500] == bytes(500)
    (tmp_path / "cut").write_bytes(packed[:300])
    assert len(nifti.first_bytes(tmp_path / "cut", 9000)) < 9000


def test_what_is_written_is_what_nibabel_reads(tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (12, -7, 20), degrees=True).as_matrix() * (0.9, 1.1, -3.0)
    affine[:3, 3] = 10, -20, 30
    volume = Volume(np.zeros((4, 5, 6), np.float32), affine)
    array = np.random.default_rng(2).random((3, 4, 5, 6))
    nifti.write_nifti(tmp_path / "p.nii.gz", array, volume, np.float32, "three classes")
    image = nib.load(tmp_path / "p.nii.gz")
    assert image.shape == (6, 5, 4, 3)
    np.testing.assert_array_equal(image.get_fdata().T, array.astype(np.float32))
    for placement, code in (image.header.get_sform(coded=True), image.header.get_qform(coded=True)):
        np.testing.assert_allclose(placement, affine, atol=1e-5)
        assert code == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["descrip"].item() == b"three classes"
    np.testing.assert_allclose(image.header["pixdim"], [-1, 0.9, 1.1, 3.0, 1, 1, 1, 1], rtol=1e-6)
    nifti.write_nifti(tmp_path / "l.nii.gz", array[0] > 0.5, volume)
    labels = nib.load(tmp_path / "l.nii.gz")
    assert (labels.shape, labels.get_data_dtype()) == ((6, 5, 4), np.uint8)
    for wrong in (array[0, 0], array[:, :, :, 1:], array[None]):
        with pytest.raises(ValueError, match="grid"):
            nifti.write_nifti(tmp_path / "w.nii.gz", wrong, volume)
    with pytest.raises(ValueError, match="float64"):
        nifti.write_nifti(tmp_path / "w.nii.gz", array[0], volume, np.float64)


# --- what can be a head


@pytest.mark.parametrize(
    ("shape", "fits"), [((1, 16, 16), True), ((16, 16, 1), True), ((16, 15, 15), False), ((40, 15, 1), False)]
)
def test_sixteen_voxels_along_two_sides_make_a_slice(shape, fits):
    volume = Volume(np.random.default_rng(0).random(shape).astype(np.float32), np.eye(4))
    if fits:
        assert check_volume(volume).array.shape == shape
    else:
        with pytest.raises(UnsupportedImageError, match="too small"):
            check_volume(volume)


@pytest.mark.parametrize(("cosine", "sheared"), [(0.0099, False), (0.0101, True), (-0.0101, True)])
def test_axes_are_at_right_angles_within_a_hundredth(cosine, sheared):
    affine = np.eye(4)
    affine[:3, 1] = cosine, np.sqrt(1 - cosine**2), 0
    if sheared:
        with pytest.raises(InvalidGeometryError) as error:
            check_grid(affine)
        assert error.value.code == "sheared-axes"
    else:
        check_grid(affine)


def numbers(kind: str, count: int) -> np.ndarray:
    """Numbers of a type (as NumPy calls it), its extremes and, of floating point, what is no number among them."""
    rng = np.random.default_rng(1)
    if kind[1] == "f":
        out = rng.normal(0, 1e3, count).astype(kind)
        out[[3, 70, 71]] = [np.nan, np.inf, -np.inf]
        # Beyond what float32 holds.
        out[100] = 1e300 if kind.endswith("8") else 3e38
        return out
    limits = np.iinfo(kind)
    out = rng.integers(limits.min, limits.max, count, dtype=kind[1:], endpoint=True).astype(kind)
    out[[0, -1]] = limits.min, limits.max
    return out


@pytest.mark.parametrize(
    "kind", [f"{order}{kind}" for order in "<>" for kind in ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]]
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_are_kept_while_the_file_is_checked(tmp_path, monkeypatch, kind, name):
    """They are those that ITK reads, and ITK reads none of them."""
    shape = (17, 18, 6)
    array = numbers(kind, 17 * 18 * 6).reshape(shape, order="F")
    image = nib.Nifti1Image(array, np.diag([2.0, 2.0, 4.0, 1.0]), nib.Nifti1Header(endianness=kind[0]))
    image.set_data_dtype(kind)
    path = tmp_path / name
    nib.save(image, path)
    with monkeypatch.context() as patch:
        patch.setattr(reader, "_itk_agrees", lambda path, header: False)
        by_itk = read_volume(path)
    monkeypatch.setattr(nifti, "_CHUNK", 64)
    header, voxels = nifti.read_header_and_voxels(path)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(voxels, array.T.astype(np.float32))
    assert header.plain_type == np.dtype(kind)
    assert voxels.dtype == np.float32
    monkeypatch.setattr(sitk, "ReadImage", None)
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, by_itk.array)
    assert read.warnings == by_itk.warnings
    assert bool(read.warnings) is (kind[1] == "f")
    np.testing.assert_array_equal(read.ijk_to_ras, by_itk.ijk_to_ras)
    assert (read.name, read.nifti, read.array.dtype) == (by_itk.name, by_itk.nifti, by_itk.array.dtype)


@pytest.mark.parametrize(
    ("fields", "kind", "shape"),
    [
        ({"scl_slope": 2.0}, "<i2", (17, 18, 5)),
        ({"scl_slope": 1.0, "scl_inter": -4.0}, "<i2", (17, 18, 5)),
        ({"scl_slope": 0.0, "scl_inter": 3.0}, "<i2", (17, 18, 5)),
        ({"scl_slope": float("nan")}, "<i2", (17, 18, 5)),
        ({}, "<i8", (17, 18, 5)),
        ({}, "<i2", (17, 18)),
        ({}, "<i2", (17, 18, 5, 1)),
    ],
)
def test_other_voxels_are_left_to_itk(tmp_path, fields, kind, shape):
    path = tmp_path / "a.nii"
    array = np.random.default_rng(0).integers(-300, 3000, shape).astype(kind)
    nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 4.0, 1.0]), dtype=kind), path)
    raw = bytearray(path.read_bytes())
    for name, value in fields.items():
        struct.pack_into("<f", raw, {"scl_slope": 112, "scl_inter": 116}[name], value)
    path.write_bytes(raw)
    assert nifti.read_header_and_voxels(path)[1] is None
    expected = array.astype(np.float32).T.reshape(array.T.shape[-3:] if array.ndim > 2 else (1, *array.T.shape))
    slope = fields.get("scl_slope", 1.0)
    if slope in (1.0, 2.0):
        expected = expected * np.float32(slope) + np.float32(fields.get("scl_inter", 0.0))
        np.testing.assert_array_equal(read_volume(path).array, expected)


def test_a_header_that_announces_too_much_takes_no_memory(tmp_path):
    """Room for the voxels is not taken before the file is known to be able to hold them."""
    path = save(tmp_path / "a.nii.gz", np.full((5, 6, 7), 200, np.int16))
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3h", raw, 42, 32767, 32767, 32767)
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(UnreadableImageError, match="truncated"):
        nifti.read_header_and_voxels(path)
