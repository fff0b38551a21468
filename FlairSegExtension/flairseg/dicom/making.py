"""Common parts of all DICOM objects written: equipment, algorithm identification, saving."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from .._optional import missing_packages, require
from .._version import __version__
from ..errors import MissingDependencyError
from ..labels import CLASS_BY_VALUE
from ..privacy.deidentify import clean_dataset
from .text import quiet

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..privacy.pseudonyms import Pseudonymiser

MANUFACTURER = MODEL = "FlairSeg"
RESEARCH_USE = "Research use only - not a medical device"
#: Not a number of a device: the software's version is in SoftwareVersions.
SERIAL_NUMBER = "none"
#: Series numbers of what is written: high, so that they come last in a list of the study.
SERIES_NUMBERS = {"SEG": 9101, "SR": 9102, "PDF": 9103}
#: Python from which on highdicom cannot be installed: pyjpegls, which it needs, has no wheel for it.
NO_HIGHDICOM_FROM = (3, 14)
#: Texts that FlairSeg itself writes, which stay when an object is pseudonymised.
_OWN_TEXTS = ("SeriesDescription", "ContentDescription", "ContentLabel", "TrackingID", "DeviceSerialNumber")
_WORDS = ("SH", "LO", "ST", "LT", "UT", "CS", "UC")
#: Sequences that must be there, empty, in a structured report (type 2).
_EMPTY_SEQUENCES = ("ReferencedPerformedProcedureStepSequence", "PerformedProcedureCodeSequence")
#: The private coding scheme of the codes that could not be verified in SNOMED CT.
PRIVATE_SCHEME = "99FLAIRSEG"


@dataclass(frozen=True)
class Algorithm:
    """Origin of the labels.

    Attributes
    ----------
    name : str
        Model id.
    version : str
        Model version.
    sha256 : str
        Of its weights; empty where unknown.
    kind : str
        ``AUTOMATIC``, ``SEMIAUTOMATIC`` (corrected by a reader) or ``MANUAL``.
    classes : tuple of int
        Classes that it segments; other classes are not assessed.
    """

    name: str
    version: str
    sha256: str = ""
    kind: str = "AUTOMATIC"
    classes: tuple[int, ...] = tuple(CLASS_BY_VALUE)

    @classmethod
    def of(cls, model: Any, kind: str = "AUTOMATIC") -> Algorithm:
        """From a model card, or from ``summary["model"]``."""
        read = model.get if isinstance(model, dict) else lambda key, default="": getattr(model, key, default)
        return cls(
            str(read("id", "")) or "unknown",
            str(read("version", "")) or "unknown",
            str(read("sha256", "") or ""),
            kind,
            tuple(read("classes", None) or CLASS_BY_VALUE),
        )


def require_writers() -> None:
    """Raise an error if pydicom or highdicom is missing.

    Raises
    ------
    MissingDependencyError
    """
    if sys.version_info >= NO_HIGHDICOM_FROM and missing_packages(("highdicom",)):
        version = ".".join(map(str, sys.version_info[:2]))
        raise MissingDependencyError(
            f"Writing DICOM needs highdicom, a dependency of which has no build for Python {version} yet.",
            "Write DICOM objects with Python 3.10 to 3.13. Everything else works, including reading DICOM.",
            code="no-highdicom-for-this-python",
            python=version,
        )
    require(("pydicom", "highdicom"), "Writing DICOM", "dicom")


def new_uid() -> str:
    """A fresh UID (``2.25.`` and a random UUID; DICOM PS3.5, B.2)."""
    from pydicom.uid import generate_uid

    return str(generate_uid(None))


def device_uid() -> str:
    """UID of this software in this version: the same on every computer, since it is no device of anybody's."""
    return f"2.25.{uuid5(NAMESPACE_URL, f'flairseg/{__version__}').int}"


def coding_schemes() -> list[Dataset]:
    """Description of the private coding scheme."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [
        CodingSchemeIdentificationItem(
            PRIVATE_SCHEME, name="FlairSeg private codes", responsible_organization=MANUFACTURER
        )
    ]


def finished(data: Dataset, pseudonymiser: Pseudonymiser | None) -> Dataset:
    """A data set as it is saved: pseudonymised on request."""
    if pseudonymiser is None:
        return data
    cleaned = clean_dataset(data, pseudonymiser, keep=_OWN_TEXTS)
    _restore_own_words(data, cleaned, nested=False)
    for keyword in _EMPTY_SEQUENCES:
        if keyword in data and keyword not in cleaned:
            setattr(cleaned, keyword, [])
    cleaned.file_meta.MediaStorageSOPInstanceUID = cleaned.SOPInstanceUID
    return cleaned


def _restore_own_words(data: Dataset, cleaned: Dataset, nested: bool) -> None:
    """Put back the codes and words of FlairSeg's own, in which a study's ID ("1") may have been taken for a name.

    Attributes inherited from patient and study are at the object's root only.
    """
    for element in data:
        if element.tag not in cleaned:
            continue
        if element.VR == "SQ":
            for before, after in zip(element.value, cleaned[element.tag].value, strict=False):
                _restore_own_words(before, after, nested=True)
        elif element.VR in _WORDS and (nested or element.keyword in _OWN_TEXTS):
            cleaned[element.tag].value = element.value


def save(data: Dataset, path: Path) -> None:
    """Save a data set and read it back.

    Raises
    ------
    OSError
        If what is there afterwards is not what was written.
    """
    import pydicom

    with quiet():
        data.save_as(path, enforce_file_format=True)
        written = pydicom.dcmread(path)
        same = written.SOPInstanceUID == data.SOPInstanceUID and all(
            written.get(bulk) == data.get(bulk) for bulk in ("PixelData", "EncapsulatedDocument")
        )
    if not same:
        raise OSError(errno.EIO, "what was written does not read back as it was")
