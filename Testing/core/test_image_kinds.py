"""What a file is, whatever it is called, the commands that convert it, and files that are damaged in a part."""

from __future__ import annotations

import gzip
import shlex
import shutil
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.errors import FlairSegError, InvalidGeometryError, UnreadableImageError
from flairseg.io.reader import read_components, read_volume
from nibabel.cmdline.convert import main as nib_convert

AFFINE = np.array([[-0.9, 0, 0, 28.0], [0, 0.9, 0, -28], [0, 0, 3.0, -30], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def array() -> np.ndarray:
    """Voxels (I, J, K)."""
    return np.random.default_rng(1).uniform(0, 500, (24, 26, 12)).astype(np.float32)


def refused(path: Path, kind: type[FlairSegError] = UnreadableImageError) -> FlairSegError:
    """The error, which is the same for images and for masks."""
    with pytest.raises(kind) as caught:
        read_volume(path)
    with pytest.raises(kind) as again:
        read_components(path)
    assert again.value.code == caught.value.code
    assert "ename" not in caught.value.advice or caught.value.code == "misnamed-file"
    return caught.value


def write_foreign(folder: Path, name: str, array: np.ndarray) -> Path:
    path = folder / name
    if name.endswith((".mgz", ".mgh", ".mgh.gz")):
        made = folder / f"made.{'mgh' if name.endswith('.mgh') else 'mgz'}"
        nib.save(nib.MGHImage(array, AFFINE), made)
        made.rename(path)
    elif name.endswith("2.nii.gz"):
        nib.save(nib.Nifti2Image(array, AFFINE), path)
    else:
        stem = name.split(".")[0]
        nib.save(nib.Nifti1Pair(array, AFFINE), folder / f"{stem}.hdr")
        if name.endswith(".gz"):
            for ending in (".hdr", ".img"):
                plain = folder / (stem + ending)
                Path(f"{plain}.gz").write_bytes(gzip.compress(plain.read_bytes()))
                plain.unlink()
    return path


@pytest.mark.parametrize("name", ["a.mgz", "a b.mgh", "c.hdr", "c.img", "d.hdr.gz", "d.img.gz", "n2.nii.gz"])
def test_the_command_of_the_advice_makes_a_file_that_is_read(tmp_path, monkeypatch, array, name):
    error = refused(write_foreign(tmp_path, name, array))
    assert error.code == "foreign-format"
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    if "python -c" in error.advice:
        program = shlex.split(error.advice[error.advice.index("python -c") :].rstrip("."))[2]
        exec(program, {})
    else:
        command = error.advice[error.advice.index("nib-convert") :].split(", or with")[0]
        nib_convert(shlex.split(command)[1:])
    (made,) = set(tmp_path.iterdir()) - before
    read = read_volume(made)
    np.testing.assert_allclose(read.array, array.T, rtol=1e-5)
    assert np.allclose(read.ijk_to_ras, AFFINE, atol=1e-4)


def test_a_freesurfer_volume_under_another_name_is_not_written_onto_itself(tmp_path, array):
    made = write_foreign(tmp_path, "a.mgz", array).rename(tmp_path / "seg.nii.gz")
    error = refused(made)
    assert error.fields["kind"] == "FreeSurfer volume"
    assert "mri_convert -it mgz seg.nii.gz seg_1.nii.gz" in error.advice


def test_voxel_files_are_what_the_header_beside_them_says(tmp_path, array):
    nib.save(nib.Spm99AnalyzeImage(array.astype(np.int16), AFFINE), tmp_path / "spm.img")
    for name in ("spm.hdr", "spm.img"):
        assert "which side is left" in refused(tmp_path / name).advice
    alone = write_foreign(tmp_path, "lost.img", array)
    (tmp_path / "lost.hdr").unlink()
    error = refused(alone)
    assert "without its header" in error.message
    assert ".hdr" in error.advice


def test_archives_and_other_formats_are_called_what_they_are(tmp_path, array):
    image = sitk.GetImageFromArray(array)
    sitk.WriteImage(image, str(tmp_path / "i.h5"))
    assert refused(tmp_path / "i.h5").fields["kind"] == "HDF5 file"
    shutil.copy(tmp_path / "i.h5", tmp_path / "i.mnc")
    assert "mnc2nii i.mnc i.nii" in refused(tmp_path / "i.mnc").advice
    shutil.make_archive(str(tmp_path / "head"), "gztar", tmp_path, "i.h5")
    assert "tar -xf head.tar.gz" in refused(tmp_path / "head.tar.gz").advice


# --- files of which a part is damaged, hidden or not what it says


@pytest.fixture
def metaimage(tmp_path, array) -> Path:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing((0.9, 0.9, 3.0))
    sitk.WriteImage(image, str(tmp_path / "m.mha"), True)
    sitk.WriteImage(image, str(tmp_path / "d.mhd"), True)
    return tmp_path / "m.mha"


def test_compressed_metaimages_are_read_whole(metaimage, array):
    for name in ("m.mha", "d.mhd"):
        np.testing.assert_array_equal(read_volume(metaimage.with_name(name)).array, array.T)


@pytest.mark.parametrize("damage", ["flipped", "cut", "size left out", "size too small", "fewer voxels"])
def test_damaged_compressed_voxels_are_no_image(metaimage, damage):
    """ITK tells of it on stderr, and goes on with what lies in memory."""
    raw = bytearray(metaimage.read_bytes())
    if damage == "flipped":
        raw[-4000] ^= 0xFF
    elif damage == "cut":
        raw = raw[:-3000]
    elif damage == "size left out":
        raw = raw.replace(b"CompressedDataSize = ", b"Comment = ")
    elif damage == "size too small":
        raw = raw.replace(b"CompressedDataSize = 2", b"CompressedDataSize = 1")
    else:
        raw = raw.replace(b"DimSize = 24 26 12", b"DimSize = 24 26 20")
    metaimage.write_bytes(raw)
    assert refused(metaimage).code == "damaged-voxels"


def test_damaged_voxels_beside_their_header_are_no_image(metaimage):
    data = metaimage.with_name("d.zraw")
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    data.write_bytes(raw)
    assert refused(metaimage.with_name("d.mhd")).code == "damaged-voxels"
    data.unlink()
    assert refused(metaimage.with_name("d.mhd")).code == "damaged-voxels"


def test_compressed_voxels_may_lie_elsewhere_or_in_many_files(metaimage, array):
    """What ITK reads is not refused: a folder below, an absolute path, a list, a pattern, a size with a point."""
    header, folder = metaimage.with_name("d.mhd"), metaimage.with_name("sub")
    folder.mkdir()
    metaimage.with_name("d.zraw").rename(folder / "d.zraw")
    text = header.read_text()
    for place in ("sub/d.zraw", folder / "d.zraw"):
        header.write_text(text.replace("= d.zraw", f"= {place}"))
        np.testing.assert_array_equal(read_volume(header).array, array.T)
    header.write_text(header.read_text().replace("24 26 12", "24 26 12.0"))
    np.testing.assert_array_equal(read_volume(header).array, array.T)
    slices = array.T
    for n, one in enumerate(slices):
        metaimage.with_name(f"s{n:02d}.zraw").write_bytes(zlib.compress(np.ascontiguousarray(one).tobytes()))
    bare = "".join(
        line for line in text.splitlines(True) if not line.startswith(("ElementDataFile", "CompressedDataS"))
    )
    listed = "LIST\n" + "\n".join(f"s{n:02d}.zraw" for n in range(len(slices))) + "\n"
    for place in (listed, f"s%02d.zraw 0 {len(slices) - 1} 1\n"):
        header.write_text(f"{bare}ElementDataFile = {place}")
        np.testing.assert_array_equal(read_volume(header).array, array.T)


def test_a_damaged_file_in_another_folder_is_no_image(metaimage):
    folder = metaimage.with_name("sub")
    folder.mkdir()
    raw = metaimage.with_name("d.zraw").read_bytes()
    (folder / "d.zraw").write_bytes(raw[: len(raw) // 2])
    header = metaimage.with_name("d.mhd")
    header.write_text(header.read_text().replace("= d.zraw", "= sub/d.zraw"))
    assert refused(header).code == "damaged-voxels"


def test_names_of_metaimage_fields_count_by_their_case(tmp_path, array):
    """ITK ignores ``elementspacing`` and takes 1 mm."""
    path = tmp_path / "m.mha"
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing((0.9, 0.9, 3.0))
    sitk.WriteImage(image, str(path))
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing", b"elementspacing"))
    assert np.allclose(sitk.ReadImage(str(path)).GetSpacing(), 1.0)
    with pytest.raises(InvalidGeometryError) as caught:
        read_volume(path)
    assert caught.value.code == "no-voxel-size"


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_announces_half_the_head_is_refused_for_images_too(tmp_path, array, zipped):
    nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / "n.nii")
    raw = bytearray((tmp_path / "n.nii").read_bytes())
    struct.pack_into("<h", raw, 46, 6)
    path = tmp_path / ("half.nii.gz" if zipped else "half.nii")
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    assert refused(path).code == "trailing-data"


@pytest.mark.parametrize("bits", [0, 8, 64])
def test_the_data_type_says_how_long_the_file_must_be(tmp_path, array, bits):
    """``bitpix`` repeats the type; readers go by the type."""
    nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / "n.nii")
    raw = bytearray((tmp_path / "n.nii").read_bytes())
    struct.pack_into("<h", raw, 72, bits)
    path = tmp_path / "b.nii"
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_volume(path).array, array.T)
    path.write_bytes(raw[:-5000])
    with pytest.raises(UnreadableImageError, match="truncated"):
        read_volume(path)
