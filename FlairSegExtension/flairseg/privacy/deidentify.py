"""Headers without names: DICOM data sets after the basic profile of PS3.15, NIfTI headers.

A list of identifying attributes is never complete: vendors and hospitals write names wherever there is room. The rule
for DICOM is therefore the reverse. Texts are kept only if on a short list of technical ones; codes and numbers are kept
unless the profile names them; all private elements are removed. ``Testing/core/test_privacy.py`` tests the rule against
the whole of table E.1-1 as another project (dicom-anonymizer) reads it.

Reference: DICOM PS3.15, Annex E, "Attribute Confidentiality Profiles", Basic Application Level Confidentiality Profile.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import TYPE_CHECKING

from ..errors import MissingDependencyError, UnreadableImageError
from ..files.nifti import HEADER_BYTES, parse_header

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

    from .pseudonyms import Pseudonymiser

#: ``DeidentificationMethod`` of cleaned data sets; also how they are known again.
METHOD = "FlairSeg pseudonyms: PS3.15 basic profile"
_METHOD_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)

#: Technical texts that stay, with learned names taken out.
_KEPT_TEXT = frozenset(
    {
        "AlgorithmName",
        "AlgorithmParameters",
        "AlgorithmSource",
        "AlgorithmVersion",
        "CodeMeaning",
        "CodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeName",
        "CodingSchemeResponsibleOrganization",
        "CodingSchemeVersion",
        "DimensionDescriptionLabel",
        "DocumentTitle",
        "EquivalentCodeValue",
        "ImagedNucleus",
        "LUTExplanation",
        "LongCodeValue",
        "MIMETypeOfEncapsulatedDocument",
        "Manufacturer",
        "ManufacturerModelName",
        "PresentationLUTShape",
        "SegmentAlgorithmName",
        "SegmentDescription",
        "SegmentLabel",
        "SequenceName",
        "SoftwareVersions",
        "TextValue",
        "WindowCenterWidthExplanation",
    }
)
#: Attributes that must be present but may be empty (type 2 in some module): emptied, not removed.
_EMPTIED = frozenset(
    {
        "AccessionNumber",
        "ContentCreatorName",
        "ContentDescription",
        "Laterality",
        "PatientBirthDate",
        "PatientSex",
        "PositionReferenceIndicator",
        "ReferringPhysicianName",
        "StudyID",
    }
)
#: Codes, numbers and sequences removed by the profile.
_REMOVED = frozenset(
    {
        "AcquisitionContextSequence",
        "ActualHumanPerformersSequence",
        "AdmittingDiagnosesCodeSequence",
        "AuthorObserverSequence",
        "ConsultingPhysicianIdentificationSequence",
        "ContentCreatorIdentificationCodeSequence",
        "CustodialOrganizationSequence",
        "DataSetTrailingPadding",
        "DigitalSignaturesSequence",
        "EthnicGroupCodeSequence",
        "FlowIdentifierSequence",
        "GraphicAnnotationSequence",
        "HumanPerformerCodeSequence",
        "IconImageSequence",
        "InstitutionCodeSequence",
        "InstitutionalDepartmentTypeCodeSequence",
        "IntendedRecipientsOfResultsIdentificationSequence",
        "InterpretationApproverSequence",
        "IssuerOfAccessionNumberSequence",
        "IssuerOfAdmissionIDSequence",
        "IssuerOfPatientIDQualifiersSequence",
        "IssuerOfServiceEpisodeIDSequence",
        "IssuerOfTheContainerIdentifierSequence",
        "IssuerOfTheSpecimenIdentifierSequence",
        "LensSpecification",
        "MAC",
        "ModifiedAttributesSequence",
        "ModifyingDeviceID",
        "OperatorIdentificationSequence",
        "OriginalAttributesSequence",
        "OtherClinicalTrialProtocolIDsSequence",
        "OtherPatientIDsSequence",
        "ParticipantSequence",
        "PatientInsurancePlanCodeSequence",
        "PatientPrimaryLanguageCodeSequence",
        "PatientPrimaryLanguageModifierCodeSequence",
        "PatientSexNeutered",
        "PatientSize",
        "PatientWeight",
        "PerformedProtocolCodeSequence",
        "PerformedStationGeographicLocationCodeSequence",
        "PerformedStationNameCodeSequence",
        "PerformingPhysicianIdentificationSequence",
        "PersonIdentificationCodeSequence",
        "PhysiciansOfRecordIdentificationSequence",
        "PhysiciansReadingStudyIdentificationSequence",
        "PregnancyStatus",
        "PrescriptionNotesSequence",
        "ROICreatorSequence",
        "ROIInterpreterSequence",
        "ReasonForRequestedProcedureCodeSequence",
        "ReasonForVisitCodeSequence",
        "ReferencedPatientAliasSequence",
        "ReferencedPatientPhotoSequence",
        "ReferencedPatientSequence",
        "ReferencedPerformedProcedureStepSequence",
        "ReferencedStudySequence",
        "ReferringPhysicianIdentificationSequence",
        "RequestAttributesSequence",
        "ResultsDistributionListSequence",
        "ScheduledHumanPerformersSequence",
        "ScheduledPerformingPhysicianIdentificationSequence",
        "ScheduledProtocolCodeSequence",
        "ScheduledStationGeographicLocationCodeSequence",
        "ScheduledStationNameCodeSequence",
        "ScheduledStepAttributesSequence",
        "SmokingStatus",
        "SourcePatientGroupIdentificationSequence",
        "SpecimenPreparationSequence",
        "TransducerIdentificationSequence",
        "UDISequence",
        "VerbalSourceIdentifierCodeSequenceTrial",
        "VerifyingObserverIdentificationCodeSequence",
        "WaveformAnnotationSequence",
    }
)
_TEXT_VRS = frozenset({"AE", "AS", "LO", "LT", "SH", "ST", "UC", "UN", "UR", "UT"})
_BYTES_VRS = frozenset({"OB", "UN"})
_KEPT_BYTES = frozenset({"EncapsulatedDocument", "FileMetaInformationVersion", "ICCProfile", "PixelData"})
_STUDY_DATES = frozenset({"AcquisitionDate", "StudyDate"})
_KEPT_UIDS = frozenset({"CodingSchemeUID", "ContextUID", "ImplementationClassUID", "MappingResourceUID"})
#: Serial numbers that some modules require.
_DEVICES = frozenset({"DeviceSerialNumber"})
_SIGNATURES, _CURVES, _OVERLAYS = 0x0400, range(0x5000, 0x5100), range(0x6000, 0x6100)
#: Location of a picture.
_WHERE = "GPS"
_NO_DATE = "19000101"
_MIDNIGHT = "000000"


def clean_dataset(dataset: Dataset, pseudonymiser: Pseudonymiser, keep: Iterable[str] = ()) -> Dataset:
    """A copy of a DICOM data set without what identifies the patient, staff, hospital or device.

    The patient gets a pseudonym made from the patient's ID (else from the name); UIDs are mapped consistently, also in
    references; the study's date is moved by the key's shift and replaces every other date; times are
    midnight; private elements, overlays, curves, signatures and free text are gone. Pixels are left as they are.

    Parameters
    ----------
    dataset : pydicom.Dataset
        With ``file_meta`` if it is to be written. A data set that this function has cleaned before is only copied.
    pseudonymiser : Pseudonymiser
    keep : iterable of str
        Keywords of further texts that FlairSeg wrote itself, for instance ``SeriesDescription``; learned names are
        taken out of them.

    Returns
    -------
    pydicom.Dataset
        ``PatientIdentityRemoved`` is YES, and the method and its codes are stated.

    Raises
    ------
    MissingDependencyError
        If pydicom is not installed.
    """
    try:
        from pydicom import Dataset as NewDataset
        from pydicom import Sequence
    except ImportError as error:
        raise MissingDependencyError(
            "Cleaning DICOM objects needs pydicom, which is not installed.",
            "Install it with: pip install pydicom",
        ) from error
    clean = deepcopy(dataset)
    if str(clean.get("DeidentificationMethod", "")).startswith(METHOD):
        return clean
    pseudonymiser.learn_dataset(dataset)
    patient = str(dataset.get("PatientID", "") or dataset.get("PatientName", "") or "").strip()
    date = pseudonymiser.date(str(dataset.get("StudyDate", "") or "")) or _NO_DATE
    _clean_level(clean, pseudonymiser, _KEPT_TEXT | frozenset(keep), date)
    if getattr(clean, "file_meta", None) is not None:
        _clean_level(clean.file_meta, pseudonymiser, _KEPT_TEXT, date)
    clean.PatientName = clean.PatientID = pseudonymiser.person(patient or "unnamed")
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = METHOD
    codes = []
    for value, meaning in _METHOD_CODES:
        code = NewDataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    clean.DeidentificationMethodCodeSequence = Sequence(codes)
    clean.LongitudinalTemporalInformationModified = "MODIFIED"
    # The 128 bytes before "DICM" can hold anything.
    if getattr(clean, "preamble", None) is not None:
        clean.preamble = bytes(128)
    return clean


def _clean_level(dataset: Dataset, pseudonymiser: Pseudonymiser, kept: frozenset[str], date: str) -> None:
    for element in list(dataset):
        group = element.tag.group
        foreign = element.tag.is_private or group == _SIGNATURES or group in _CURVES or group in _OVERLAYS
        named = element.keyword in _REMOVED or element.keyword.startswith(_WHERE)
        if foreign or named or not element.keyword:
            del dataset[element.tag]
        elif element.VR == "SQ":
            for item in element.value:
                _clean_level(item, pseudonymiser, kept, date)
        else:
            _clean_element(dataset, element, pseudonymiser, kept, date)


def _clean_element(
    dataset: Dataset, element: DataElement, pseudonymiser: Pseudonymiser, kept: frozenset[str], date: str
) -> None:
    """Change, empty or remove one element that is no sequence."""
    keyword, vr = element.keyword, element.VR
    if keyword in _EMPTIED:
        element.value = None if vr != "PN" else ""
    elif vr == "UI":
        if keyword not in _KEPT_UIDS:
            element.value = _each(element, pseudonymiser.uid)
    elif vr == "PN":
        element.value = _each(element, lambda name: pseudonymiser.person(str(name)))
    elif vr in ("DA", "DT", "TM"):
        _clean_time(dataset, element, date)
    elif keyword in _DEVICES:
        element.value = _each(element, pseudonymiser.device)
    elif vr in _BYTES_VRS and keyword not in _KEPT_BYTES:
        del dataset[element.tag]
    elif vr in _TEXT_VRS:
        if keyword in kept:
            element.value = _each(element, pseudonymiser.text)
        else:
            del dataset[element.tag]


def _clean_time(dataset: Dataset, element: DataElement, date: str) -> None:
    if element.is_empty:
        return
    if element.VR == "TM":
        element.value = _MIDNIGHT
    elif element.VR == "DT":
        element.value = date + _MIDNIGHT
    elif element.keyword in _STUDY_DATES or element.keyword in ("ContentDate", "SeriesDate"):
        element.value = date
    else:
        del dataset[element.tag]


def _each(element: DataElement, change: Callable[[str], str]) -> object:
    if element.is_empty:
        return element.value
    if element.VM > 1:
        return [change(str(value)) for value in element.value]
    return change(str(element.value))


# --- NIfTI

#: Texts of a NIfTI-1 header: name -> (offset, bytes). ``data_type`` and ``db_name`` come from ANALYZE 7.5.
_NIFTI_TEXTS = {
    "data_type": (4, 10),
    "db_name": (14, 18),
    "descrip": (148, 80),
    "aux_file": (228, 24),
    "intent_name": (328, 16),
}


def clean_nifti(raw: bytes, name: str = "the image") -> bytes:
    """A NIfTI-1 file without the texts of its header and without extensions (which may hold a whole DICOM header).

    Parameters
    ----------
    raw : bytes
        The file, gzip-compressed or not; the output has the same compression.
    name : str
        For error messages.

    Raises
    ------
    UnreadableImageError, UnsupportedImageError
        If it is no whole NIfTI-1 file.
    """
    if raw[:2] == b"\x1f\x8b":
        try:
            plain = gzip.decompress(raw)
        except (EOFError, OSError) as error:
            raise UnreadableImageError(f"{name} is truncated or damaged.", "Copy the file again.") from error
        # Neither the file's old name nor its time stay in the gzip header.
        return gzip.compress(clean_nifti(plain, name), compresslevel=6, mtime=0)
    header = parse_header(raw, name)
    if len(raw) < header.content_bytes:
        raise UnreadableImageError(f"{name} is truncated.", "Copy the file again.")
    order = "<" if struct.unpack("<i", raw[:4])[0] == HEADER_BYTES else ">"
    head = bytearray(raw[:HEADER_BYTES] + bytes(4))
    for offset, size in _NIFTI_TEXTS.values():
        head[offset : offset + size] = bytes(size)
    struct.pack_into(order + "f", head, 108, float(len(head)))
    return bytes(head) + raw[header.start : header.content_bytes]
