"""Two hundred files with odd headers: the same geometry and voxels as an independent reader, a warning, or a refusal.

Header fields are drawn at random within what readers accept. None of the files may be read differently without a word.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.errors import FlairSegError
from flairseg.image.geometry import VolumeGeometry
from flairseg.io.reader import read_components, read_volume
from scipy.spatial.transform import Rotation

#: Warnings that say that a header leaves its geometry open, or that readers differ about it.
OPEN = {"spacing-unknown", "orientation-unknown", "orientation-doubtful", "unit-converted"}
#: Warnings that tell of something odd, where the geometry must still be the independent reader's.
ODD = {"negative-voxel-size", "unit-unknown", "placements-differ"}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass
class Odd:
    """A file and what an independent reader makes of it: voxels (I, J, K), affine (RAS, mm); None: not accepted."""

    path: Path
    voxels: np.ndarray | None
    affine: np.ndarray | None


def draw_affine(rng: np.random.Generator) -> np.ndarray:
    axes = np.eye(3)[:, rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    turn = Rotation.from_rotvec(rng.normal(size=3) * rng.choice([0, 0.02, 0.3])).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * rng.uniform(0.4, 6.0, 3)
    affine[:3, 3] = rng.uniform(-150, 150, 3)
    return affine


def draw_voxels(rng: np.random.Generator) -> np.ndarray:
    kind = rng.choice(["u1", "i1", "i2", "u2", "i4", "f4", "f8"])
    shape = tuple(rng.permutation([*rng.integers(16, 20, 2), rng.integers(1, 6)]))
    array = rng.integers(0, 100, shape).astype(kind)
    return array + np.array(rng.uniform(0, 1, shape), kind) if array.dtype.kind == "f" else array


def odd_nifti(rng: np.random.Generator, folder: Path, name: str) -> Odd:
    affine, array = draw_affine(rng), draw_voxels(rng)
    image = nib.Nifti1Image(array, None, nib.Nifti1Header(endianness=str(rng.choice(["<", "<", ">"]))))
    image.header.set_data_dtype(array.dtype)
    image.header.set_qform(affine, 1)
    image.header.set_sform(affine, 1)
    ending = str(rng.choice([".nii"] * 3 + [".nii.gz"] * 4 + [".hdr"]))
    path = folder / (name + ending)
    if ending == ".hdr":
        image = nib.Nifti1Pair(array, None, image.header)
    header = image.header
    header["qform_code"], header["sform_code"] = rng.choice([0, 1, 1, 2, 4]), rng.choice([0, 1, 1, 2, 4])
    header["xyzt_units"] = rng.choice([0, 2, 2, 2, 10, 1, 3, 58])
    for _ in range(rng.integers(0, 3)):
        trick = rng.integers(0, 9)
        if trick == 0:
            header["pixdim"][1 + rng.integers(3)] *= -1
        elif trick == 1:
            header["pixdim"][0] = rng.choice([0.0, -1.0, 1.0])
        elif trick == 2:
            header["pixdim"][1 + rng.integers(3)] *= rng.choice([1.005, 1.5, 3.0])
        elif trick == 3:
            header["srow_x"][3] += rng.choice([0.2, 5.0])
        elif trick == 4:
            header["quatern_b"] = rng.uniform(-1, 1)
        elif trick == 5:
            header["scl_slope"], header["scl_inter"] = rng.choice([0.0, 1.0, 0.5, 3.0]), rng.choice([0.0, 7.0])
        elif trick == 6:
            header["pixdim"][1 + rng.integers(3)] = 0
        elif trick == 7:
            header["srow_y"][:3] += rng.choice([0.001, 0.4]) * header["srow_x"][:3]
        else:
            header["magic"] = rng.choice([b"n+1", header["magic"].item()])
            header["dim"][0], header["dim"][4] = rng.choice([3, 4]), 1
    if header["xyzt_units"] in (1, 3) and rng.random() < 0.7:
        factor = 1e-3 if header["xyzt_units"] == 1 else 1e3
        for key in ("srow_x", "srow_y", "srow_z"):
            header[key] *= factor
        header["pixdim"][1:4] *= factor
    header["vox_offset"] = 0 if ending == ".hdr" else 352
    data = np.asfortranarray(array.astype(header.get_data_dtype())).tobytes(order="F")
    raw = header.binaryblock
    if ending == ".hdr":
        path.write_bytes(raw)
        path.with_suffix(".img").write_bytes(data)
    else:
        import gzip

        content = raw + bytes(4) + data
        path.write_bytes(gzip.compress(content, mtime=0) if ending.endswith("gz") else content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = nib.load(path)
            voxels = np.asarray(found.dataobj, np.float64)
            while voxels.ndim > 3 and voxels.shape[-1] == 1:
                voxels = voxels[..., 0]
            return Odd(path, voxels, found.affine)
    except (ValueError, nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError):
        return Odd(path, None, None)


def odd_nrrd(rng: np.random.Generator, folder: Path, name: str) -> Odd:
    affine, array = draw_affine(rng), draw_voxels(rng)
    frames = {
        "left-posterior-superior": LPS,
        "right-anterior-superior": np.eye(4),
        "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]),
        "LPS": LPS,
        "RAS": np.eye(4),
        "scanner-xyz": None,
        "": None,
    }
    space = str(rng.choice(list(frames)))
    to_frame = frames[space] if frames[space] is not None else LPS
    placed = to_frame @ affine
    header: dict = {"encoding": str(rng.choice(["raw", "gzip"]))}
    sort = rng.integers(0, 6)
    if space and sort:
        header |= {"space": space, "space directions": placed[:3, :3].T}
        if rng.random() < 0.8:
            header["space origin"] = placed[:3, 3]
        else:
            affine = affine.copy()
            affine[:3, 3] = 0
        if rng.random() < 0.3:
            unit = str(rng.choice(["mm", "um", "m", "cm", "furlong"]))
            header["space units"] = [unit] * 3
            affine = affine.copy()
            affine[:3] *= {"um": 1e-3, "m": 1000.0, "cm": 10.0}.get(unit, 1.0)
    elif sort < 4:
        header["spacings"] = [float(s) for s in VolumeGeometry((1, 1, 1), affine).spacing]
        if rng.random() < 0.3:
            header["spacings"][rng.integers(3)] = float("nan")
        affine = None
    else:
        affine = None
    if frames[space] is None:
        affine = None
    ending = str(rng.choice([".nrrd", ".nhdr"]))
    path = folder / (name + ending)
    nrrd.write(str(path), array, header, detached_header=ending == ".nhdr", relative_data_path=True)
    voxels, read = nrrd.read(str(path))
    assert "space directions" not in read or np.allclose(read["space directions"], placed[:3, :3].T)
    return Odd(path, voxels, affine)


def odd_metaimage(rng: np.random.Generator, folder: Path, name: str) -> Odd:
    affine, array = draw_affine(rng), draw_voxels(rng)
    if array.dtype == np.int8:
        array = array.astype(np.uint8)
    geometry = VolumeGeometry(array.shape[::-1], affine)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    spacing, direction, origin = geometry.to_itk()
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    ending = str(rng.choice([".mha", ".mhd"]))
    path = folder / (name + ending)
    sitk.WriteImage(image, str(path), bool(rng.random() < 0.5))
    raw = path.read_bytes()
    cut = raw.index(b"ElementDataFile")
    text, expected = raw[:cut].decode(), affine
    trick = rng.integers(0, 7)
    if trick == 0:
        text = re.sub(r"ElementSpacing[^\n]*\n", "", text)
        expected = None
    elif trick == 1:
        text = re.sub("ElementSpacing", "ElementSize", text)
    elif trick == 2:
        text = re.sub(r"TransformMatrix[^\n]*\n", "", text)
        expected = None
    elif trick == 3:
        # A step backwards along I, as ITK has it.
        text = re.sub(r"ElementSpacing = ", "ElementSpacing = -", text)
        expected = affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
    elif trick == 4:
        text += "DistanceUnits = um\n"
        expected = np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ affine
    elif trick == 5:
        text = re.sub(r"Offset", str(rng.choice(["Position", "Origin"])), text)
    path.write_bytes(text.encode() + raw[cut:])
    return Odd(path, array, expected)


#: Format -> how a file is made, and how many.
FORMATS = {"nifti": (odd_nifti, 90), "nrrd": (odd_nrrd, 65), "metaimage": (odd_metaimage, 55)}


def outcome(odd: Odd, as_mask: bool = False) -> str:
    """``same``, ``told: codes`` or ``refused: code``; fails where a difference is silent."""
    try:
        if as_mask:
            found, layers = read_components(odd.path)
            array = layers[0]
        else:
            found = read_volume(odd.path)
            array = found.array
    except FlairSegError as error:
        return f"refused: {error.code}" if error.advice else "refused without advice"
    codes = {getattr(warning, "code", "note") for warning in found.warnings} & (OPEN | ODD)
    if odd.voxels is None:
        assert codes, f"{odd.path.name} is read, though an independent reader refuses it"
    else:
        np.testing.assert_allclose(array, np.transpose(odd.voxels), rtol=1e-5, atol=1e-4, err_msg=odd.path.name)
    same = odd.affine is not None and found.geometry.matches(VolumeGeometry(found.array.shape, odd.affine))
    assert same or codes & OPEN, f"{odd.path.name}: {found.ijk_to_ras} without a word, not {odd.affine}"
    return "same" if same and not codes else "told: " + ", ".join(sorted(codes))


@pytest.mark.parametrize("kind", FORMATS)
def test_odd_files_are_read_as_others_read_them_or_not_at_all(tmp_path, kind):
    found = Counter()
    make, count = FORMATS[kind]
    for seed in range(count):
        odd = make(np.random.default_rng([seed, list(FORMATS).index(kind)]), tmp_path, f"{kind}{seed}")
        found[outcome(odd)] += 1
        outcome(odd, as_mask=True)
    print(kind, dict(found))
    assert "refused without advice" not in found
    assert found["same"] >= count // 4
    assert len(found) >= 4
