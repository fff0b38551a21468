"""Headers and pixels of classic DICOM files by SimpleITK's GDCM, for installations without pydicom.

Only what GDCM reports is there: no sequences, hence no enhanced multi-frame files. What is read goes through the same
grouping and the same checks as with pydicom (:mod:`.series`), so that both give one answer.
"""

from __future__ import annotations

import re
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

#: Tags of the attributes that :mod:`.scan` and :mod:`.read` use, as GDCM names them.
_TAGS = {
    "PatientID": "0010|0020", "PatientBirthDate": "0010|0030", "PatientSex": "0010|0040", "StudyDate": "0008|0020",
    "SOPClassUID": "0008|0016", "SOPInstanceUID": "0008|0018", "StudyInstanceUID": "0020|000d",
    "SeriesInstanceUID": "0020|000e", "FrameOfReferenceUID": "0020|0052", "Modality": "0008|0060",
    "SeriesNumber": "0020|0011", "SeriesDescription": "0008|103e", "ProtocolName": "0018|1030",
    "SequenceName": "0018|0024", "ImageType": "0008|0008", "ScanningSequence": "0018|0020",
    "SequenceVariant": "0018|0021", "MRAcquisitionType": "0018|0023", "RepetitionTime": "0018|0080",
    "EchoTime": "0018|0081", "InversionTime": "0018|0082", "EchoNumbers": "0018|0086",
    "ContrastBolusAgent": "0018|0010", "Manufacturer": "0008|0070", "InstanceNumber": "0020|0013",
    "AcquisitionNumber": "0020|0012", "TemporalPositionIdentifier": "0020|0100", "TriggerTime": "0018|1060",
    "DiffusionBValue": "0018|9087", "ImagesInAcquisition": "0020|1002", "NumberOfFrames": "0028|0008",
    "Rows": "0028|0010", "Columns": "0028|0011", "SamplesPerPixel": "0028|0002",
    "PhotometricInterpretation": "0028|0004", "BitsAllocated": "0028|0100", "BitsStored": "0028|0101",
    "HighBit": "0028|0102", "PixelRepresentation": "0028|0103", "PixelSpacing": "0028|0030",
    "SliceThickness": "0018|0050", "SpacingBetweenSlices": "0018|0088",
    "ImagePositionPatient": "0020|0032", "ImageOrientationPatient": "0020|0037", "RescaleSlope": "0028|1053",
    "RescaleIntercept": "0028|1052", "BurnedInAnnotation": "0028|0301", "LossyImageCompression": "0028|2110",
    "PixelPaddingValue": "0028|0120",
    "PixelPaddingRangeLimit": "0028|0121",
}  # fmt: skip
#: Transfer syntax whose data set is compressed as a whole.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
#: PixelData, in either byte order; and bytes that are read at a time.
_PIXELS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
_BLOCK = 1 << 16
#: A Modality LUT Sequence and its first item, implicit and explicit, in either byte order.
_TABLE = re.compile(rb"\x28\x00\x00\x30(SQ..)?.{4}\xfe\xff\x00\xe0|\x00\x28\x30\x00SQ...{4}\xff\xfe\xe0\x00", re.DOTALL)
#: Attributes of one value in which a backslash is no separator.
_SINGLE = frozenset(("SeriesDescription", "ProtocolName", "Manufacturer", "PatientID"))


def has_pydicom() -> bool:
    """Whether pydicom is installed."""
    return find_spec("pydicom") is not None


class GdcmHeader:
    """The header of one classic file, with the ``get`` of a pydicom data set.

    Parameters
    ----------
    path : Path

    Raises
    ------
    RuntimeError
        If GDCM cannot read the file as an image.
    """

    def __init__(self, path: Path) -> None:
        import SimpleITK as sitk

        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        keys = set(reader.GetMetaDataKeys())
        found = {name: reader.GetMetaData(tag).strip("\0 ") for name, tag in _TAGS.items() if tag in keys}
        size = reader.GetSize()
        if _has_modality_table(path):
            found["ModalityLUTSequence"] = "present"
        # GDCM keeps the size out of its dictionary for some files.
        self._values = {"Columns": str(size[0]), "Rows": str(size[1]), **{k: v for k, v in found.items() if v}}

    def get(self, keyword: str) -> Any:
        """Text, or a list of texts; None if it is absent or empty."""
        text = self._values.get(keyword)
        if text is None or "\\" not in text or keyword in _SINGLE:
            return text
        return text.split("\\")


def _has_modality_table(path: Path) -> bool:
    """Whether a Modality LUT precedes the pixels of a file; GDCM reports no sequences."""
    return _TABLE.search(_before_pixels(path)) is not None


def _before_pixels(path: Path) -> bytes:
    """The bytes of a file up to its PixelData, inflated where need be; no more of it is read than these."""
    head = bytearray()
    inflater = None
    with path.open("rb") as stream:
        block = stream.read(_BLOCK)
        if _DEFLATED in block[:1024]:
            # The file meta information ends where its first element (0002,0000) states.
            block = block[144 + int.from_bytes(block[140:144], "little") :]
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        while block:
            # The tag may begin in one block and end in the next.
            seen = max(0, len(head) - 3)
            head += block if inflater is None else inflater.decompress(block)
            found = [at for at in (head.find(tag, seen) for tag in _PIXELS) if at >= 0]
            if found:
                return bytes(head[: min(found)])
            block = stream.read(_BLOCK)
    return bytes(head)


def stored_frame(path: Path, slope: float, intercept: float) -> np.ndarray:
    """Stored values of a classic file, shape (rows, columns); GDCM's rescaling is undone.

    Raises
    ------
    RuntimeError
        If the file is damaged or its compression unknown.
    """
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    array = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    return np.rint((array.astype(np.float64) - intercept) / slope)
