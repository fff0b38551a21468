"""NIfTI-1 details that SimpleITK hides: whether the file is complete, and the exact placement in its header.

A NIfTI header holds two placements, sform and qform. Programs disagree on which one counts, so results carry both,
exactly as the image has them: every program then lays the labels where it lays the image. ITK, asked to read a
truncated NIfTI, fills the rest with whatever is in memory, and it hides NaN and infinity: hence the checks here.

Format: https://nifti.nimh.nih.gov/nifti-1 (nifti1.h).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import UnreadableImageError, UnsupportedImageError
from ..image.nifti_geometry import SPATIAL_UNITS, UNITS_MM, NiftiGeometry
from ..image.volume import Volume

HEADER_BYTES = 348
_VOX_OFFSET = 352
_DATATYPES = {np.dtype(np.uint8): (2, 8), np.dtype(np.int16): (4, 16), np.dtype(np.float32): (16, 32)}
_FLOATS = {16: np.float32, 64: np.float64}
#: Types of voxels that are read here, by ``datatype``; ITK reads the others.
_PLAIN: dict[int, type[np.generic]] = {
    2: np.uint8, 4: np.int16, 8: np.int32, 16: np.float32, 64: np.float64, 256: np.int8, 512: np.uint16, 768: np.uint32
}  # fmt: skip
#: Bytes that one byte of a gzip file can become at the most (https://zlib.net/zlib_tech.html).
_MOST_INFLATED = 1032
#: Bits of a voxel by ``datatype``.
_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64, 1536: 128,
         1792: 128, 2048: 256, 2304: 32}  # fmt: skip
#: Bytes read at a time; a multiple of every voxel size.
_CHUNK = 1 << 20
_COPY_AGAIN = "Copy or export the file again: its end is missing or its content is damaged."


@dataclass(frozen=True)
class NiftiHeader:
    """The parts of a NIfTI-1 file that FlairSeg reads itself.

    Attributes
    ----------
    shape : tuple of int
        (I, J, K, ...).
    geometry : NiftiGeometry
        The placement.
    start, content_bytes : int
        Offset of the voxels, and required length of the file.
    float_type : numpy.dtype or None
        Type of the voxels if they are floating-point numbers.
    plain_type : numpy.dtype or None
        Type of the voxels if they are numbers of a common type that the header does not scale.
    not_finite : ndarray of int
        Flat indices, in the file's order, of voxels that are NaN or infinite.
    trailing : bool
        Whether anything but zeros follows the voxels: the header announces fewer than the file holds.
    """

    shape: tuple[int, ...]
    geometry: NiftiGeometry
    start: int
    content_bytes: int
    float_type: np.dtype | None
    not_finite: np.ndarray
    trailing: bool = False
    plain_type: np.dtype | None = None


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, after decompression where it is gzip; ``OSError`` if it cannot be read.

    For a damaged gzip stream, the part that can be decompressed.
    """
    with path.open("rb") as stream:
        raw = stream.read(count)
        if raw[:2] != b"\x1f\x8b":
            return raw
        unpacker = zlib.decompressobj(31)
        content = b""
        while raw and len(content) < count:
            try:
                content += unpacker.decompress(raw, count - len(content))
            except zlib.error:
                break
            raw = unpacker.unconsumed_tail or stream.read(count)
    return content


def read_header(path: Path) -> NiftiHeader:
    """Read a NIfTI-1 header, make sure that all the voxels it announces are there, and find those that are no numbers.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``.

    Raises
    ------
    UnreadableImageError
        If the file is truncated, damaged or no NIfTI-1 file.
    UnsupportedImageError
        If the header announces no voxels.
    """
    return _read(path, keep=False)[0]


def read_header_and_voxels(path: Path) -> tuple[NiftiHeader, np.ndarray | None]:
    """:func:`read_header`, with the voxels that it passes: nothing is decompressed twice.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``.

    Returns
    -------
    NiftiHeader
    ndarray of float32, shape (K, J, I), or None
        Not finite where the file is not. None where the voxels have other than three axes, are scaled by the header or
        are of a type that is left to ITK.

    Raises
    ------
    UnreadableImageError, UnsupportedImageError
        As for :func:`read_header`.
    """
    return _read(path, keep=True)


def _read(path: Path, keep: bool) -> tuple[NiftiHeader, np.ndarray | None]:
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    bad: list[np.ndarray] = []
    trailing = False
    try:
        with opener(path, "rb") as stream:
            header = parse_header(stream.read(HEADER_BYTES), path.name)
            voxels = _room(header, path) if keep else None
            found = HEADER_BYTES + len(stream.read(header.start - HEADER_BYTES))
            while chunk := stream.read(_CHUNK):
                bad.append(_not_finite(header, chunk, found - header.start))
                if voxels is not None:
                    _keep(header, chunk, found - header.start, voxels)
                trailing = trailing or any(chunk[max(0, header.content_bytes - found) :])
                found += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableImageError(f"{path.name} is truncated or damaged ({error}).", _COPY_AGAIN) from error
    except OSError as error:
        raise UnreadableImageError(
            f"{path.name} cannot be read: {error.strerror or error}.",
            "Check the permissions of the file and of its folder.",
        ) from error
    if found < header.content_bytes:
        raise UnreadableImageError(
            f"{path.name} is truncated: {found} of {header.content_bytes} bytes are present.", _COPY_AGAIN
        )
    header = replace(header, not_finite=np.concatenate([header.not_finite, *bad]), trailing=trailing)
    return header, None if voxels is None else voxels.reshape(header.shape[::-1])


def _room(header: NiftiHeader, path: Path) -> np.ndarray | None:
    """Memory for the voxels of a file, float32, flat; None where they are left to ITK or cannot all be there."""
    if header.plain_type is None or len(header.shape) != 3:
        return None
    if header.content_bytes > _MOST_INFLATED * path.stat().st_size:
        return None
    try:
        return np.empty(math.prod(header.shape), np.float32)
    except MemoryError:
        return None


def _keep(header: NiftiHeader, chunk: bytes, offset: int, voxels: np.ndarray) -> None:
    """Copy the voxels in a piece of the data to their place."""
    if header.plain_type is None:
        return
    size = header.plain_type.itemsize
    first = offset // size
    target = voxels[first : first + len(chunk) // size]
    if not target.size:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        target[:] = np.frombuffer(chunk, header.plain_type, count=len(target))


def _not_finite(header: NiftiHeader, chunk: bytes, offset: int) -> np.ndarray:
    """Flat indices of the voxels in a piece of the data that are NaN or infinite."""
    if header.float_type is None:
        return header.not_finite
    size = header.float_type.itemsize
    numbers = np.frombuffer(chunk, header.float_type, count=len(chunk) // size)
    return np.flatnonzero(~np.isfinite(numbers)) + offset // size


def parse_header(raw: bytes, name: str) -> NiftiHeader:
    """Parse the first 348 bytes of a NIfTI-1 file; errors as for :func:`read_header`."""
    if len(raw) < HEADER_BYTES:
        raise UnreadableImageError(f"{name} is truncated: its header is incomplete.", _COPY_AGAIN)
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    order = next((o for o in orders if struct.unpack(o + "i", raw[:4])[0] == HEADER_BYTES), None)
    if order is None or raw[344:347] != b"n+1":
        raise UnreadableImageError(
            f"{name} is not a NIfTI-1 file.",
            "Export the image again as .nii.gz, .nrrd or .mha, for instance from 3D Slicer.",
        )
    dim = struct.unpack(order + "8h", raw[40:56])
    if not 1 <= dim[0] <= 7 or any(n < 1 for n in dim[1 : dim[0] + 1]):
        raise UnsupportedImageError(f"{name} holds no voxels.", "Export the image again.")
    shape = dim[1 : dim[0] + 1]
    datatype, bits = struct.unpack(order + "2h", raw[70:74])
    # The type alone defines the size of a voxel; bitpix repeats it, not always correctly.
    bits = _BITS.get(datatype, bits)
    offset = struct.unpack(order + "f", raw[108:112])[0]
    qform_code, sform_code = struct.unpack(order + "2h", raw[252:256])
    geometry = NiftiGeometry(
        struct.unpack(order + "4f", raw[76:92]),
        raw[123],
        qform_code,
        sform_code,
        struct.unpack(order + "6f", raw[256:280]),
        struct.unpack(order + "12f", raw[280:328]),
    )
    voxels = int(np.prod([int(n) for n in shape], dtype=object))
    start = int(offset) if np.isfinite(offset) and offset >= HEADER_BYTES else _VOX_OFFSET
    float_type = np.dtype(_FLOATS[datatype]).newbyteorder(order) if datatype in _FLOATS else None
    slope, intercept = struct.unpack(order + "2f", raw[112:120])
    # ITK takes a slope of 0 for none.
    plain = datatype in _PLAIN and slope in (0.0, 1.0) and intercept == 0.0
    plain_type = np.dtype(_PLAIN[datatype]).newbyteorder(order) if plain else None
    return NiftiHeader(
        shape, geometry, start, start + voxels * bits // 8, float_type, np.zeros(0, dtype=np.int64),
        plain_type=plain_type,
    )  # fmt: skip


#: The header's description for files without their own kind; see :mod:`flairseg.io.raw_labels`.
DESCRIPTION = "FlairSeg, research use only"


def write_nifti(
    path: Path, array: np.ndarray, volume: Volume, dtype: type = np.uint8, description: str = DESCRIPTION
) -> None:
    """Write an array on a volume's grid as ``.nii.gz``; a leading axis becomes the file's fourth dimension.

    The placement is the volume's own, bit for bit where it came from a NIfTI file. The same arrays give the same bytes.

    Parameters
    ----------
    path : Path
        File to create.
    array : ndarray, shape (K, J, I) or (N, K, J, I)
        Converted slice by slice, so that a large float16 array needs no float32 copy.
    volume : Volume
        Gives the grid.
    dtype : type
        ``numpy.uint8``, ``numpy.int16`` or ``numpy.float32``.
    description : str
        The header's ``descrip``, at most 79 ASCII characters.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If the array does not fit the grid or the type is not supported.
    """
    if array.shape[-3:] != volume.array.shape or array.ndim not in (3, 4):
        raise ValueError(f"shape {array.shape} does not match the grid {volume.array.shape}")
    stack = array[None] if array.ndim == 3 else array
    kind = np.dtype(dtype).newbyteorder("<")
    # Of labels a higher level leaves half of the bytes, of intensities 99 %, and takes 1.6 times as long.
    level = 4 if kind.itemsize == 1 else 1
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=level, fileobj=raw, mtime=0) as stream:
        stream.write(_header(volume, np.dtype(dtype), len(stack), description))
        for block in stack:
            for plane in block:
                stream.write(np.ascontiguousarray(plane, dtype=kind).data)


def _header(volume: Volume, dtype: np.dtype, count: int, description: str) -> bytes:
    """Header and empty extension block, 352 bytes, little-endian."""
    if dtype not in _DATATYPES:
        raise ValueError(f"NIfTI output is uint8, int16 or float32, not {dtype}")
    geometry = volume.nifti or NiftiGeometry.from_affine(volume.ijk_to_ras)
    datatype, bits = _DATATYPES[dtype]
    k, j, i = volume.array.shape
    raw = bytearray(_VOX_OFFSET)
    struct.pack_into("<i", raw, 0, HEADER_BYTES)
    struct.pack_into("<8h", raw, 40, 3 if count == 1 else 4, i, j, k, count, 1, 1, 1)
    struct.pack_into("<2h", raw, 70, datatype, bits)
    struct.pack_into("<8f", raw, 76, *geometry.pixdim, 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<3f", raw, 108, _VOX_OFFSET, 1.0, 0.0)
    # A file that names no unit of length was read as mm; validators ask for one.
    raw[123] = geometry.units if geometry.units & SPATIAL_UNITS else geometry.units | UNITS_MM
    struct.pack_into("<80s", raw, 148, description.encode("ascii"))
    struct.pack_into("<2h", raw, 252, geometry.qform_code, geometry.sform_code)
    struct.pack_into("<6f", raw, 256, *geometry.qform)
    struct.pack_into("<12f", raw, 280, *geometry.sform)
    struct.pack_into("<4s", raw, 344, b"n+1\0")
    return bytes(raw)
