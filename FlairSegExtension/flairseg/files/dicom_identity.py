"""PatientID and StudyDate of a DICOM file or folder, read from one header."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from .dicom_marks import is_dicom_file

_PATIENT_ID, _STUDY_DATE = "0010|0020", "0008|0020"
#: Maximum number of files of a folder checked for DICOM.
_MOST_FILES = 200
#: Headers that are read until one can be: a structured report among the images cannot.
_MOST_HEADERS = 10
#: Placeholders of anonymisers and consoles for a missing identifier.
_NOBODY_TEXT = """
anon anonym anonymous anonymus anonymized anonymised anonymize anonymise deidentified de-identified removed unknown
none null na n/a no id noid noname patient test phantom default xxx xxxx
"""
_NOBODY = frozenset(_NOBODY_TEXT.split())


def identity_in(path: str | Path, file: str | Path | None = None, instead_of_date: str = "") -> str:
    """``PatientID_StudyDate`` of a DICOM file or folder; empty for other files, and without a usable identifier.

    Parameters
    ----------
    path : str or Path
    file : str or Path, optional
        The file whose header counts; default: the first one that is DICOM.
    instead_of_date : str
        Stands behind the PatientID where the header has no valid date.
    """
    files = islice(_dicom_files(Path(path)), _MOST_HEADERS) if file is None else [Path(file)]
    patient, day = next((found for found in map(_header, files) if found[0]), ("", ""))
    if not identifies(patient):
        return ""
    day = day if _is_date(day) else instead_of_date
    return f"{patient}_{day}" if day else patient


def identifies(patient: str) -> bool:
    """Whether a PatientID identifies a patient: not empty, not all zeros, not an anonymiser's constant."""
    plain = patient.strip().casefold()
    return bool(plain.strip("0-_. ")) and plain not in _NOBODY


def _is_date(text: str) -> bool:
    if len(text) != 8 or not text.isdigit():
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def _dicom_files(path: Path) -> Iterator[Path]:
    try:
        if path.is_file():
            candidates: Iterator[Path] = iter([path])
        elif path.is_dir():
            candidates = _walk(path)
        else:
            return
        for n, file in enumerate(candidates):
            if n >= _MOST_FILES:
                return
            if is_dicom_file(file):
                yield file
    except (OSError, ValueError):
        return


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name != "DICOMDIR":
                yield Path(root, name)


def _header(file: Path) -> tuple[str, str]:
    """PatientID and StudyDate; empty where absent or unreadable, which reading the image will report."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO("GDCMImageIO")
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
        patient, day = (_text(reader, tag) for tag in (_PATIENT_ID, _STUDY_DATE))
    except (RuntimeError, UnicodeDecodeError):
        return "", ""
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    return patient, day


def _text(reader: Any, tag: str) -> str:
    if not reader.HasMetaDataKey(tag):
        return ""
    out: str = reader.GetMetaData(tag).encode("utf-8", "replace").decode("utf-8").strip("\0 ")
    return out
