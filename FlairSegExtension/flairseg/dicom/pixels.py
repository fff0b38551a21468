"""Stored pixel values of DICOM files, frame by frame.

pydicom reads what is there uncompressed (either byte order) or run-length encoded, one frame at a time, so that
memory stays bounded. JPEG, JPEG 2000 and JPEG-LS go through SimpleITK's GDCM, which every installation has: it gets a
copy of the pixels alone, since it would apply one rescale slope to all frames.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnreadableImageError, UnsupportedImageError
from .gdcm import GdcmHeader, has_pydicom, stored_frame
from .scan import read_dataset
from .text import bad_value, number, quiet

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

    from .text import Header

#: Transfer syntaxes of video, which hold no measured values.
_VIDEO = "1.2.840.10008.1.2.4.10"
#: Elements of the pixel module, which is all that a decoder needs.
_PIXEL_MODULE = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "NumberOfFrames", "PixelData",
)  # fmt: skip
#: Share of the voxels that are not 0 above which lower bits in use are values, and not an overlay.
_IN_USE = 0.5
_DECOMPRESS = (
    "Export it uncompressed from the PACS (Explicit VR Little Endian), or decompress it, for instance with gdcmconv."
)


def stored_frames(path: Path, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Stored values (before any rescale) of some frames of a file.

    Parameters
    ----------
    path : Path
    numbers : sequence of int
        Frames, from 0.

    Yields
    ------
    ndarray, shape (rows, columns)

    Raises
    ------
    UnreadableImageError
        If the file is truncated or damaged.
    UnsupportedImageError
        If its compression cannot be decoded here, or it holds no integers.
    """
    if not has_pydicom():
        yield _without_pydicom(path)
        return
    with quiet():
        try:
            header = read_dataset(path, force=True)
            syntax = _syntax(header)
            if not syntax.is_compressed or syntax.name.startswith("RLE") or syntax.is_deflated:
                yield from _by_pydicom(path, header, numbers)
                return
        except bad_value() as error:
            raise _damaged(path) from error
    if str(syntax).startswith(_VIDEO):
        raise UnsupportedImageError(f"{path.name} is compressed as video ({syntax.name}).", _DECOMPRESS)
    yield from _by_gdcm(path, syntax, numbers)


def stored_bytes(path: Path) -> bytes | None:
    """The pixels of a file as stored, to compare two files; None if they cannot be read."""
    with quiet():
        try:
            if not has_pydicom():
                return _without_pydicom(path).tobytes()
            from pydicom import dcmread

            return bytes(dcmread(path, specific_tags=["PixelData"], force=True).PixelData)
        except bad_value():
            return None
        except UnsupportedImageError:
            return None


def _without_pydicom(path: Path) -> np.ndarray:
    """The one frame of a classic file, by GDCM."""
    try:
        header = GdcmHeader(path)
        if _bits_below(header):
            raise UnsupportedImageError(
                f"{path.name} may hold its pixels in the upper bits ({header.get('BitsStored')} bits stored, high bit "
                f"{header.get('HighBit')}), a retired form.",
                "Install pydicom, which reads it, or convert the series to NIfTI.",
                code="pixels-in-upper-bits", file=path.name,
            )  # fmt: skip
        return stored_frame(path, number(header, "RescaleSlope") or 1.0, number(header, "RescaleIntercept") or 0.0)
    except RuntimeError as error:
        raise UnsupportedImageError(
            f"{path.name} has a compression that cannot be decoded here, or damaged pixels.", _DECOMPRESS
        ) from error


def _syntax(data: Dataset) -> UID:
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little = data.original_encoding
    plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    out: UID = data.file_meta.get("TransferSyntaxUID", plain)
    return out


def _by_pydicom(path: Path, header: Dataset, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    from pydicom import dcmread
    from pydicom.pixels import iter_pixels

    if int(number(header, "NumberOfFrames") or 1) == 1 or _syntax(header).is_deflated:
        data = dcmread(path, force=True)
        # Files without a preamble do not state their encoding; pydicom has determined it.
        data.file_meta.TransferSyntaxUID = _syntax(data)
        if whole := _whole_bits(header):
            data.BitsStored = whole
        array = data.pixel_array
        array = array if array.ndim == 3 else array[None]
        yield from (_lowered(array[n], header) for n in numbers)
    else:
        bits: dict[str, Any] = {"bits_stored": whole} if (whole := _whole_bits(header)) else {}
        frames = iter_pixels(path, indices=list(numbers), raw=True, **bits)
        yield from (_lowered(frame, header) for frame in frames)


def _bits_below(header: Header) -> int:
    """Bits below the stored ones, which hold overlays or nothing: retired, as is a HighBit above BitsStored - 1."""
    stored, high, allocated = (number(header, key) for key in ("BitsStored", "HighBit", "BitsAllocated"))
    if not stored or high is None or not allocated or not stored <= high < allocated:
        return 0
    return int(high) + 1 - int(stored)


def _whole_bits(header: Header) -> int:
    """Stored bits with which pydicom reads the bits below, too; 0 where there are none."""
    below = _bits_below(header)
    return int(number(header, "BitsStored") or 0) + below if below else 0


def _lowered(frame: np.ndarray, header: Header) -> np.ndarray:
    """Stored values of a frame read with the bits below; as it is where the header is wrong and those hold values."""
    below = _bits_below(header)
    if not below:
        return frame
    half = 1 << (int(number(header, "BitsStored") or 0) - 1)
    low, high = (-half, half - 1) if number(header, "PixelRepresentation") else (0, 2 * half - 1)
    used = np.count_nonzero(frame & ((1 << below) - 1))
    if low <= int(frame.min()) and int(frame.max()) <= high and used > _IN_USE * np.count_nonzero(frame):
        return frame
    out: np.ndarray = frame >> below
    return out


def _by_gdcm(path: Path, syntax: UID, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    import SimpleITK as sitk
    from pydicom import Dataset, dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

    with tempfile.TemporaryDirectory(prefix="flairseg-") as folder:
        with quiet():
            try:
                whole = dcmread(path, force=True)
                bare = Dataset()
                for keyword in _PIXEL_MODULE:
                    if keyword in whole:
                        bare[keyword] = whole[keyword]
                bare.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
                bare.SOPInstanceUID = generate_uid()
                bare.file_meta = FileMetaDataset()
                bare.file_meta.TransferSyntaxUID = syntax
                bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
                bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID
                copy = Path(folder, "pixels.dcm")
                bare.save_as(copy, enforce_file_format=True)
            except bad_value() as error:
                raise _damaged(path) from error
        try:
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(copy), imageIO="GDCMImageIO"))
        except RuntimeError as error:
            raise UnsupportedImageError(
                f"{path.name} is compressed as {syntax.name}, which cannot be decoded here, or its pixels are damaged.",
                _DECOMPRESS,
            ) from error
    array = array if array.ndim == 3 else array[None]
    if max(numbers) >= len(array):
        raise _damaged(path)
    yield from (array[n] for n in numbers)


def _damaged(path: Path) -> UnreadableImageError:
    return UnreadableImageError(
        f"{path.name} cannot be read: it is truncated or damaged.", "Copy the complete series again."
    )
