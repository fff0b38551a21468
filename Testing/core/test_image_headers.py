"""One rule for what headers leave open or contradict: voxel size, unit, orientation, and foreign kinds of files."""

from __future__ import annotations

import gzip
import io
import re
import struct
import tarfile

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.errors import FlairSegError, InvalidGeometryError, UnreadableImageError
from flairseg.files.headers import header_warnings, placed_by_header
from flairseg.files.nifti import write_nifti
from flairseg.io.reader import read_components, read_volume
from scipy.spatial.transform import Rotation

AFFINE = np.diag([-0.9, 0.9, 6.8, 1.0])
AFFINE[:3, 3] = (30, -20, 10)


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 100, (20, 18, 6)).astype(np.int16)


def nifti(path, array, *changes, affine=AFFINE):
    """A NIfTI file with both placements, header bytes changed: (format, offset, values...)."""
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    raw = bytearray(image.to_bytes())
    for kind, offset, *values in changes:
        struct.pack_into("<" + kind, raw, offset, *values)
    path.write_bytes(gzip.compress(bytes(raw), mtime=0) if path.name.endswith("gz") else bytes(raw))
    return path


def codes(volume) -> set[str]:
    return {warning.code for warning in volume.warnings}


NO_SFORM, NO_QFORM = ("h", 254, 0), ("h", 252, 0)


def test_two_voxel_sizes_are_refused_and_both_named(tmp_path, array):
    path = nifti(tmp_path / "c.nii.gz", array, ("f", 88, 3.0))
    for read in (read_volume, header_warnings):
        with pytest.raises(InvalidGeometryError) as error:
            read(path)
        assert error.value.code == "voxel-size-conflict"
        assert "0.9 x 0.9 x 6.8 mm by its sform" in error.value.message
        assert "0.9 x 0.9 x 3 mm by its pixdim" in error.value.message
    # A mask is measured on its image's grid: told, and laid by its sform.
    grid, _ = read_components(path)
    assert codes(grid) == {"voxel-size-conflict", "placements-differ"}
    np.testing.assert_allclose(grid.ijk_to_ras, AFFINE, atol=1e-5)


def test_rounding_and_missing_sizes_are_no_conflict(tmp_path, array):
    for value in (6.8 * 1.005, 0.0):
        read = read_volume(nifti(tmp_path / "c.nii.gz", array, ("f", 88, value), NO_QFORM))
        assert read.warnings == ()
        assert read.spacing[2] == pytest.approx(6.8)


@pytest.mark.parametrize("absent", [NO_SFORM, NO_QFORM])
def test_negative_sizes_are_read_as_nibabel_reads_them_and_told(tmp_path, array, absent):
    path = nifti(tmp_path / "n.nii.gz", array, ("f", 80, -0.9), absent)
    read = read_volume(path)
    np.testing.assert_allclose(read.ijk_to_ras, nib.load(path).affine, atol=1e-4)
    assert codes(read) == {"negative-voxel-size"}
    assert "-0.9 x 0.9 x 6.8" in read.warnings[0]
    assert "0.9 x 0.9 x 6.8 mm is used" in read.warnings[0]
    assert [w.code for w in header_warnings(path)] == ["negative-voxel-size"]


def test_the_sform_goes_before_the_qform_whatever_their_codes(tmp_path, array):
    moved = AFFINE.copy()
    moved[0, 3] += 5
    for sform_code, qform_code in ((1, 1), (2, 1), (1, 2), (4, 1)):
        path = nifti(
            tmp_path / "m.nii.gz", array, ("12f", 280, *moved[:3].ravel()), ("2h", 252, qform_code, sform_code)
        )
        read = read_volume(path)
        np.testing.assert_allclose(read.ijk_to_ras, moved, atol=1e-4)
        np.testing.assert_allclose(read.ijk_to_ras, nib.load(path).affine, atol=1e-4)
        assert codes(read) == {"placements-differ"}
        assert "5.0 mm apart" in read.warnings[0]
        # A mask that nibabel saved with the image's affine lies on it.
        nib.save(nib.Nifti1Image(array, nib.load(path).affine), tmp_path / "mask.nii.gz")
        assert read_components(tmp_path / "mask.nii.gz")[0].geometry.matches(read.geometry)
        assert np.allclose(placed_by_header(path, np.eye(4)).ijk_to_ras, moved, atol=1e-4)


@pytest.mark.parametrize(("units", "factor"), [(1, 1e-3), (3, 1e3)])
def test_metres_and_micrometres_are_converted(tmp_path, array, units, factor):
    scaled = AFFINE.copy()
    scaled[:3] *= factor
    for absent in (NO_SFORM, NO_QFORM):
        read = read_volume(nifti(tmp_path / "u.nii.gz", array, ("B", 123, units), absent, affine=scaled))
        np.testing.assert_allclose(read.ijk_to_ras, AFFINE, atol=2e-3)
        assert codes(read) == {"unit-converted"}
        assert "0.9 x 0.9 x 6.8 mm" in read.warnings[0]
    # Time units in the same byte change nothing; an unknown unit is mm.
    for byte, written in ((0, 2), (8, 10), (10, 10), (24, 26)):
        read = read_volume(nifti(tmp_path / "t.nii.gz", array, ("B", 123, byte)))
        assert read.warnings == ()
        write_nifti(tmp_path / "out.nii.gz", np.zeros(read.array.shape, np.uint8), read, np.uint8)
        assert gzip.decompress((tmp_path / "out.nii.gz").read_bytes())[123] == written


def test_millimetres_called_micrometres_are_refused(tmp_path, array):
    with pytest.raises(InvalidGeometryError) as error:
        read_volume(nifti(tmp_path / "u.nii.gz", array, ("B", 123, 3)))
    assert error.value.code == "implausible-voxel-size"


def test_nrrd_without_size_or_space_is_told(tmp_path, array):
    spacings = {"spacings": [0.9, 0.9, 6.8]}
    directions = {"space directions": np.diag([0.9, 0.9, 6.8])}
    for header, expected in (
        (spacings, {"orientation-unknown"}),
        ({"spacings": [0.9, 0.9, np.nan]}, {"spacing-unknown", "orientation-unknown"}),
        ({**directions, "space dimension": 3}, {"orientation-unknown"}),
        ({**directions, "space": "scanner-xyz"}, {"orientation-unknown"}),
        ({**directions, "space": "left-posterior-superior"}, set()),
        ({**directions, "space": "RAS"}, set()),
        ({**directions, "space": "RAS", "space units": ["mm"] * 3}, set()),
        ({**directions, "space": "RAS", "space units": ["furlong"] * 3}, {"unit-unknown"}),
    ):
        nrrd.write(str(tmp_path / "n.nrrd"), array, header)
        read = read_volume(tmp_path / "n.nrrd")
        assert codes(read) == expected, header
        assert {w.code for w in header_warnings(tmp_path / "n.nrrd")} == expected
        assert {w.code for w in read_components(tmp_path / "n.nrrd")[0].warnings} == expected
        if "spacing-unknown" not in expected:
            np.testing.assert_allclose(read.spacing, (0.9, 0.9, 6.8))


def test_nrrd_in_centimetres_is_converted_and_axis_limits_are_a_size(tmp_path, array):
    nrrd.write(
        str(tmp_path / "cm.nrrd"),
        array,
        {"space": "RAS", "space directions": np.diag([0.09, 0.09, 0.68]), "space units": ["cm"] * 3},
    )
    read = read_volume(tmp_path / "cm.nrrd")
    np.testing.assert_allclose(read.spacing, (0.9, 0.9, 6.8))
    assert codes(read) == {"unit-converted"}
    nrrd.write(str(tmp_path / "a.nrrd"), array, {"axis mins": [0.0] * 3, "axis maxs": [18.0, 16.2, 40.8]})
    with pytest.raises(InvalidGeometryError, match=r"0.9 x 0.9 x 6.8 mm by its axis mins and maxs, 1 x 1 x 1"):
        read_volume(tmp_path / "a.nrrd")


def metaimage(path, array, *changes):
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(array.T)), str(path))
    raw = path.read_bytes()
    cut = raw.index(b"ElementDataFile")
    text = raw[:cut].decode()
    for pattern, new in changes:
        text = re.sub(pattern, new, text)
    path.write_bytes(text.encode() + raw[cut:])
    return path


def test_metaimage_without_size_or_direction_is_told(tmp_path, array):
    size = r"ElementSpacing[^\n]*\n"
    for changes, expected, spacing in (
        ((), set(), 1.0),
        (((size, "ElementSize = 2 2 2\n"),), set(), 2.0),
        (((size, "ElementSpacing = -2 2 2\n"),), {"negative-voxel-size"}, 2.0),
        (((size, "ElementSpacing = 200 200 200\nDistanceUnits = um\n"),), {"unit-converted"}, 0.2),
        (((r"TransformMatrix[^\n]*\n", ""),), {"orientation-unknown"}, 1.0),
    ):
        path = metaimage(tmp_path / "m.mha", array, *changes)
        read = read_volume(path)
        assert codes(read) == expected, changes
        assert read.spacing == pytest.approx((spacing,) * 3)
        assert {w.code for w in header_warnings(path)} == expected


def test_no_voxel_size_at_all_is_refused_and_a_mask_without_is_told(tmp_path, array):
    nrrd.write(str(tmp_path / "bare.nrrd"), array, {})
    paths = [metaimage(tmp_path / "bare.mha", array, (r"ElementSpacing[^\n]*\n", "")), tmp_path / "bare.nrrd"]
    for path in paths:
        for read in (read_volume, header_warnings):
            with pytest.raises(InvalidGeometryError, match="gives no voxel size") as error:
                read(path)
            assert error.value.code == "no-voxel-size"
        # Masks are placed on the grid of their image.
        assert "spacing-unknown" in codes(read_components(path)[0])


def archive(data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo("f.nii")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def foreign_files(array) -> dict[str, tuple[bytes, str]]:
    image = nib.Nifti1Image(array, AFFINE).to_bytes()
    pair = bytearray(image[:348])
    pair[344:348] = b"ni1\0"
    analyze = bytearray(pair)
    analyze[344:348] = bytes(4)
    mgh = nib.MGHImage(array.astype(np.float32), AFFINE).to_bytes()
    zipped = gzip.compress
    return {
        "a.mgz": (zipped(mgh), "FreeSurfer"),
        "a.mgh": (mgh, "FreeSurfer"),
        "mgh.nii.gz": (zipped(mgh), "FreeSurfer"),
        "a.hdr": (bytes(pair), "NIfTI pair"),
        "a.hdr.gz": (zipped(bytes(pair)), "NIfTI pair"),
        "pair.nii": (bytes(pair), "NIfTI pair"),
        "old.hdr": (bytes(analyze), "Analyze"),
        "a.img": (array.tobytes(), "pair"),
        "a.img.gz": (zipped(array.tobytes()), "pair"),
        "a.tar": (archive(image), "tar archive"),
        "a.tar.gz": (zipped(archive(image)), "tar archive"),
        "a.tgz": (zipped(archive(image)), "tar archive"),
        "tar.nii.gz": (zipped(archive(image)), "tar archive"),
        "a.mnc": (b"CDF\1" + bytes(600), "MINC"),
        "a.BRIK": (bytes(600), "AFNI"),
        "a.par": (b"# === DATA DESCRIPTION FILE ===" + bytes(600), "Philips"),
        "a.nii.xz": (b"\xfd7zXZ\0" + bytes(600), "xz"),
        "a.nii.bz2": (b"BZh9" + bytes(600), "bzip2"),
        "two.nii.gz": (zipped(nib.Nifti2Image(array, AFFINE).to_bytes()), "NIfTI-2"),
    }


def test_foreign_files_are_named_and_never_renamed(tmp_path, array):
    for name, (content, word) in foreign_files(array).items():
        (tmp_path / name).write_bytes(content)
        for read in (read_volume, read_components):
            with pytest.raises(UnreadableImageError) as error:
                read(tmp_path / name)
            assert word in error.value.message, name
            assert error.value.code == "foreign-format"
            assert "ename" not in str(error.value), name
            assert error.value.advice
        assert header_warnings(tmp_path / name) == ()


def test_a_misnamed_file_that_flairseg_reads_is_to_be_renamed(tmp_path, array):
    path = nifti(tmp_path / "a.nii.gz", array)
    path.rename(tmp_path / "a.txt")
    with pytest.raises(UnreadableImageError, match=r"Rename it so that it ends in .nii.gz") as error:
        read_volume(tmp_path / "a.txt")
    assert error.value.code == "misnamed-file"


def test_header_warnings_of_what_cannot_be_read(tmp_path):
    assert header_warnings(tmp_path / "nothing.nii.gz") == ()
    (tmp_path / "short.nii").write_bytes(b"abc")
    assert header_warnings(tmp_path / "short.nii") == ()


def test_every_refusal_of_geometry_has_a_code(tmp_path, array):
    expected = {
        "no-voxel-size": (("f", 88, 0.0), NO_SFORM),
        "implausible-voxel-size": (("f", 88, 90.0), NO_SFORM),
        "sheared-axes": (("f", 284, 0.5), NO_QFORM, ("f", 84, 1.03)),
        "invalid-affine": (("f", 256, 5.0), NO_SFORM),
    }
    for code, changes in expected.items():
        with pytest.raises(FlairSegError) as error:
            read_volume(nifti(tmp_path / "c.nii.gz", array, *changes))
        assert error.value.code == code


def test_masks_of_one_image_match_whichever_placement_their_programs_kept(tmp_path, array):
    """SPM and FLIRT move the sform; nibabel-made masks have the sform in both, ITK-made ones often the qform."""
    from flairseg.evaluation.masks import read_prediction, read_reference
    from flairseg.io.label_maps import read_label_map
    from flairseg.io.label_meanings import PRESETS

    moved = AFFINE.copy()
    moved[:3, 3] += (5, -3, 8)
    mask = (array > 50).astype(np.int16) * 3
    forms = ("12f", 280, *moved[:3].ravel()), ("2h", 252, 1, 2)
    files = {
        "both": nifti(tmp_path / "both.nii.gz", mask, *forms),
        "sform": nifti(tmp_path / "sform.nii.gz", mask, affine=moved),
        "qform": nifti(tmp_path / "qform.nii.gz", mask),
    }
    image = read_volume(nifti(tmp_path / "image.nii.gz", array, *forms))
    for name, path in files.items():
        read = read_label_map(path, image.geometry, PRESETS["flairseg"])
        np.testing.assert_array_equal(read.labels, mask.T)
        assert ("placements-reconciled" in {w.code for w in read.warnings}) == (name == "qform")
    for one, other in (("both", "qform"), ("qform", "both"), ("both", "sform"), ("sform", "both")):
        reference = read_reference(files[one])
        found = read_prediction(files[other], None, "M", reference)
        np.testing.assert_array_equal(found.array, reference.array)
        assert any("same voxels" in w for w in found.warnings) == ("qform" in (one, other))
    # Two masks that have nothing in common but their shape stay apart.
    lone = read_prediction(files["sform"], None, "M", read_reference(files["qform"]))
    assert not np.array_equal(lone.array, mask.T)
    assert lone.warnings


@pytest.mark.parametrize("spacing", [0.1, 20.0])
def test_the_limits_of_voxel_sizes_hold_in_single_precision(tmp_path, array, spacing):
    turn = Rotation.from_rotvec([0.05, -0.04, 0.1]).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    assert read_volume(nifti(tmp_path / "l.nii.gz", array, affine=affine)).spacing == pytest.approx((spacing,) * 3)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("suffix", ["_Eq_1", "_Eq"])
def test_what_dcm2niix_made_of_uneven_slices_is_told(tmp_path, array, ending, suffix):
    """It spaces the slices by their first distance, writes an interpolated image beside that, and exits with 0."""

    def write(stem):
        path = tmp_path / f"{stem}{ending}"
        if ending.startswith(".nii"):
            return nifti(path, array)
        image = sitk.GetImageFromArray(array.T)
        image.SetSpacing((0.9, 0.9, 6.8))
        sitk.WriteImage(image, str(path))
        return path

    def told(path):
        assert codes(read_volume(path)) == {w.code for w in header_warnings(path)}
        return codes(read_volume(path))

    first, other, named = write("FLAIR"), write("FLAIR_2"), write("FLAIR_Equal")
    assert not told(first)
    even = write(f"FLAIR{suffix}")
    assert told(even) == {"slices-interpolated"}
    assert told(first) == {"slices-spaced-by-the-first"}
    (text,) = (str(w) for w in read_volume(first).warnings)
    assert even.name in text
    assert "cannot be trusted" in text
    assert not told(other)
    assert not told(named)


@pytest.mark.parametrize(
    ("units", "mm"),
    [
        ("mm millimeter millimetre millimeters", 1.0),
        ("m meter metre", 1e3),
        ("cm centimeter", 10.0),
        ("um µm micron micrometer microns", 1e-3),
    ],
)
def test_every_name_of_a_unit_has_its_length(tmp_path, array, units, mm):
    for unit in units.split():
        header = {"space": "RAS", "space directions": np.diag([0.9, 0.9, 6.8]) / mm, "space units": ["UNIT"] * 3}
        nrrd.write(str(tmp_path / "u.nrrd"), array, header)
        raw = (tmp_path / "u.nrrd").read_bytes()
        (tmp_path / "u.nrrd").write_bytes(raw.replace(b"UNIT", unit.encode()))
        read = read_volume(tmp_path / "u.nrrd")
        np.testing.assert_allclose(read.spacing, (0.9, 0.9, 6.8), rtol=1e-9)
        assert codes(read) == (set() if mm == 1 else {"unit-converted"}), unit


def test_nifti_without_a_placement_lies_as_itk_reads_it(tmp_path, array):
    path = nifti(tmp_path / "p.nii.gz", array, NO_SFORM, NO_QFORM)
    read = read_volume(path)
    assert codes(read) == {"orientation-unknown"}
    image = sitk.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(read.ijk_to_ras, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps, atol=1e-6)


@pytest.mark.parametrize(
    ("handedness", "doubtful"), [(1.0, False), (-1.0, False), (0.0, False), (0.5, True), (2.0, True)]
)
def test_a_handedness_of_1_0_or_minus_1_is_no_doubt(tmp_path, array, handedness, doubtful):
    read = read_volume(nifti(tmp_path / "q.nii.gz", array, ("f", 76, handedness), NO_SFORM))
    assert codes(read) == ({"orientation-doubtful"} if doubtful else set())


def test_a_placement_that_is_switched_off_may_hold_anything(tmp_path, array):
    """A code below 1 says that the placement does not count, also a negative one."""
    for code in (0, -1):
        path = nifti(tmp_path / "s.nii.gz", array, ("f", 280, np.nan), ("h", 254, code))
        np.testing.assert_allclose(read_volume(path).ijk_to_ras, AFFINE, atol=1e-4)
        path = nifti(tmp_path / "q.nii.gz", array, ("f", 268, np.nan), ("h", 252, code))
        np.testing.assert_allclose(read_volume(path).ijk_to_ras, AFFINE, atol=1e-4)


def test_negative_spacings_of_nrrd_are_told(tmp_path, array):
    nrrd.write(str(tmp_path / "n.nrrd"), array, {"spacings": [0.9, 0.9, 6.8]})
    raw = (tmp_path / "n.nrrd").read_bytes().replace(b"spacings: 0.9", b"spacings: -0.9")
    (tmp_path / "n.nrrd").write_bytes(raw)
    (told, unoriented) = header_warnings(tmp_path / "n.nrrd")
    assert (told.code, unoriented.code) == ("negative-voxel-size", "orientation-unknown")
    assert "-0.9 x 0.9 x 6.8 mm" in told
    # Directions may point any way.
    header = {"space": "RAS", "space directions": np.diag([-0.9, 0.9, 6.8])}
    nrrd.write(str(tmp_path / "d.nrrd"), array, header)
    assert header_warnings(tmp_path / "d.nrrd") == ()


def test_a_foreign_kind_has_its_article(tmp_path, array):
    for name, expected in (("a.BRIK", "is an AFNI"), ("tar.nii.gz", "is a tar archive"), ("a.mnc", "is a MINC")):
        (tmp_path / name).write_bytes(foreign_files(array)[name][0])
        with pytest.raises(UnreadableImageError, match=expected):
            read_volume(tmp_path / name)


def test_a_single_slice_has_no_thickness_by_its_axis_limits(tmp_path, array):
    nrrd.write(str(tmp_path / "s.nrrd"), array[:, :, 0], {"axis mins": [0.0] * 2, "axis maxs": [18.0, 16.2]})
    with pytest.raises(InvalidGeometryError) as error:
        read_volume(tmp_path / "s.nrrd")
    assert error.value.code == "no-voxel-size"
