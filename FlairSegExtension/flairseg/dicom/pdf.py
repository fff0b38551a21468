"""A report's PDF inside a DICOM object of the study (Encapsulated PDF, DICOM PS3.3, A.45.1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .._version import __version__
from ..errors import UnreadableImageError
from .making import (
    MANUFACTURER,
    MODEL,
    RESEARCH_USE,
    SERIAL_NUMBER,
    SERIES_NUMBERS,
    new_uid,
)
from .source import Source
from .text import plain

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.sr.coding import Code


def make_pdf(
    pdf: bytes | str | Path, source: Source, title: str = "FlairSeg report", based_on: Sequence[Dataset] = ()
) -> Dataset:
    """A PDF as a DICOM data set.

    Parameters
    ----------
    pdf : bytes or path
        The document, or its file.
    source : Source
        The series that it is about.
    title : str
    based_on : sequence of pydicom.Dataset
        Other objects that it was made from (SEG, SR).

    Returns
    -------
    pydicom.Dataset
        Unverified.

    Raises
    ------
    UnreadableImageError
        If it is no PDF, or cannot be read.
    UnsupportedImageError, InvalidGeometryError
        If no DICOM object can refer to the source.
    MissingDependencyError
        If pydicom is not installed.
    """
    from .._optional import require

    require(("pydicom",), "Writing DICOM", "dicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sr.codedict import codes
    from pydicom.uid import UID, EncapsulatedPDFStorage, ExplicitVRLittleEndian

    content = _content(pdf)
    headers = source.headers()
    made = Dataset()
    for keyword in _STUDY:
        if keyword in headers[0]:
            made[keyword] = headers[0][keyword]
    now = datetime.now()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = UID(new_uid())
    made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = new_uid(), SERIES_NUMBERS["PDF"], 1
    made.Modality, made.ConversionType = "DOC", "WSD"
    made.SeriesDescription = f"FlairSeg report. {RESEARCH_USE}"[:64]
    made.Manufacturer, made.ManufacturerModelName, made.DeviceSerialNumber = MANUFACTURER, MODEL, SERIAL_NUMBER
    made.SoftwareVersions = __version__
    made.ContentDate = made.InstanceCreationDate = now.strftime("%Y%m%d")
    made.ContentTime = made.InstanceCreationTime = now.strftime("%H%M%S")
    made.AcquisitionDateTime = ""
    made.BurnedInAnnotation = "YES"
    made.VerificationFlag = "UNVERIFIED"
    made.DocumentTitle = f"{plain(title, 200)} - {RESEARCH_USE}"
    made.ConceptNameCodeSequence = [_code(codes.DCM.ImagingMeasurementReport)]
    made.SourceInstanceSequence = [_reference(d) for d in (*headers, *based_on)]
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(content)
    # Values have an even length.
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return made


_STUDY = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription",
    "ReferringPhysicianName",
)  # fmt: skip


def _content(pdf: bytes | str | Path) -> bytes:
    try:
        content = pdf if isinstance(pdf, bytes) else Path(pdf).read_bytes()
    except OSError as error:
        name = "" if isinstance(pdf, bytes) else Path(pdf).name
        raise UnreadableImageError(
            f"The report {name} cannot be read: {error.strerror or error}.", "Make the report again."
        ) from error
    if not content.startswith(b"%PDF-"):
        raise UnreadableImageError("The report to encapsulate is not a PDF.", "Make the report again, as PDF.")
    return content


def _code(code: Code) -> Dataset:
    from pydicom import Dataset

    out = Dataset()
    out.CodeValue, out.CodingSchemeDesignator, out.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return out


def _reference(data: Dataset) -> Dataset:
    from pydicom import Dataset

    out = Dataset()
    out.ReferencedSOPClassUID, out.ReferencedSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    return out
