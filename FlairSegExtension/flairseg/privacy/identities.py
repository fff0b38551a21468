"""Texts of a DICOM data set that identify a person: names, numbers, and the parts of names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

#: Attributes that identify a patient or staff in a source series and could occur in a text made from it.
_IDENTITIES = (
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "OtherPatientIDs",
    "PatientBirthName",
    "PatientMotherBirthName",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansOfRecord",
    "OperatorsName",
    "RequestingPhysician",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "DeviceSerialNumber",
    "PatientAddress",
    "PatientTelephoneNumbers",
)
#: Parts of a person's name shorter than this are too common to be replaced.
_NAME_PART = 3


def identities(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Texts that identify someone in a data set, each with the name of which it is a part.

    Parameters
    ----------
    dataset : pydicom.Dataset

    Yields
    ------
    tuple of str
        Text to search for, and the full value that contains it: ``("Jane", "Doe^Jane")``.
    """
    for keyword in _IDENTITIES:
        element = dataset.get_item(keyword) if keyword in dataset else None
        if element is None:
            continue
        element = dataset[keyword]
        values = [element.value] if element.VM <= 1 else list(element.value)
        for value in values:
            whole = str(value or "").strip("\0 ")
            if not whole:
                continue
            yield whole, whole
            if element.VR == "PN":
                parts = [part for part in re.split(r"[\^=\s,]+", whole) if len(part) >= _NAME_PART]
                yield from ((part, whole) for part in parts)
