"""Sessions of a tree of DICOM studies: one study of one patient each, whatever folders and files are called.

Serves the exports of PACS, CDs with a DICOMDIR, and Orthanc's archives and storage alike: headers determine what
belongs together. One header per file is read, without its pixels; the FLAIR of each study is chosen as by
:func:`flairseg.dicom.find_flair`, from headers alone. A study of which no header names a FLAIR is examined
when it is segmented.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FlairSegError, NoFlairError
from ..files.dicom_identity import identifies
from ..files.dicom_marks import is_dicom_file
from .bids_labels import date_in, first_name
from .model import DICOM, ORTHANC, Session

if TYPE_CHECKING:
    from ..dicom.scan import Scan
    from ..dicom.series import Series

#: Orthanc's storage: two levels of two hexadecimal digits, then a UUID without an ending.
_ORTHANC_STORAGE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Maximum number of files of a folder checked for DICOM.
_LOOKED_AT = 20


@dataclass(frozen=True)
class _Person:
    """Patient and study attributes of one header."""

    patient: str
    date: str
    age: float | None
    sex: str
    institution: str


def is_dicom_folder(folder: Path) -> bool:
    """Whether one of the first files of a folder is DICOM by its preamble."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.path for e in entries if e.is_file())[:_LOOKED_AT]
    except OSError:
        return False
    return any(is_dicom_file(Path(name)) for name in names)


def holds_dicom(root: Path) -> bool:
    """Whether a tree contains DICOM files; the first few folders with files are checked."""
    looked = 0
    for folder, folders, names in os.walk(root):
        folders.sort()
        if names:
            looked += 1
            if is_dicom_folder(Path(folder)):
                return True
            if looked > _LOOKED_AT:
                return False
    return False


def dicom_sessions(root: Path, folders: Sequence[Path] | None = None) -> list[Session]:
    """The studies below a folder, or in some folders only, those without a FLAIR too.

    Raises
    ------
    MissingDependencyError
        If pydicom is not installed.
    """
    from .._optional import require

    require(("pydicom",), "Reading the headers of DICOM studies", "dicom")
    from ..dicom import list_series
    from ..dicom.patients import apart

    series, scan = list_series(root if folders is None else list(folders))
    kind = ORTHANC if _is_orthanc(root, series) else DICOM
    studies: dict[str, list[Series]] = {}
    for one in series:
        studies.setdefault(one.study_uid or str(_paths(one)[0].parent), []).append(one)
    # Some anonymisers give one StudyInstanceUID to several patients.
    owned = [own for members in studies.values() for own in apart([(one.patient, one) for one in members])]
    return [_session(root, members, scan, kind) for members in owned]


def _session(root: Path, members: Sequence[Series], scan: Scan, kind: str) -> Session:
    from ..dicom.find import choose_flair

    paths = [path for one in members for path in _paths(one)]
    person = _person(paths[0])
    folder = Path(os.path.commonpath([str(p.parent) for p in paths]))
    subject = first_name(person.patient, _by_folder(root, folder))
    visit = person.date.replace("-", "")
    more: dict[str, Any] = {"age": person.age, "sex": person.sex, "date": person.date, "site": person.institution}
    try:
        found = choose_flair(list(members), scan, folder)
    except NoFlairError as error:
        if any(one.modality in ("MR", "") for one in members):
            reason = "No header identifies the FLAIR: it is chosen by image content, if possible."
            files = _relative(folder, paths)
            return Session(subject, visit, str(folder), kind, reason, files=files, **more)
        return Session(subject, visit, "", kind, error.message, **more)
    except FlairSegError as error:
        # The series is there and cannot be read: the session fails with this error when its turn comes.
        return Session(subject, visit, str(folder), kind, error.message, files=_relative(folder, paths), **more)
    chosen = sorted({frame.path for frame in found.stack.frames} | set(_paths(found.series)))
    place = Path(os.path.commonpath([str(p.parent) for p in chosen]))
    files = _relative(place, chosen)
    return Session(subject, visit, str(place), kind, found.reason, series_uid=found.series.uid, files=files, **more)


def _relative(folder: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    """The files relative to their folder; nothing where they are all that is in it."""
    wanted = {p.relative_to(folder).as_posix() for p in paths}
    there = {Path(at, name).relative_to(folder).as_posix() for at, _, names in os.walk(folder) for name in names}
    return () if wanted >= there else tuple(sorted(wanted))


def _paths(series: Series) -> list[Path]:
    return sorted({frame.path for stack in series.stacks for frame in stack.frames})


def _by_folder(root: Path, folder: Path) -> str:
    parts = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
    return parts[0] if parts else folder.name


def _is_orthanc(root: Path, series: Sequence[Series]) -> bool:
    """Whether the files are as in Orthanc's storage, or in its archives: patient, study, ``MR`` and a description."""
    some = [path.relative_to(root) for one in series[:5] for path in _paths(one)[:1] if path.is_relative_to(root)]
    if not some:
        return False
    archive = all(len(p.parts) == 4 and p.parts[2].split(" ")[0].isupper() and p.suffix == ".dcm" for p in some)
    return archive or all(_ORTHANC_STORAGE.fullmatch(p.as_posix()) for p in some)


def _person(path: Path) -> _Person:
    from ..dicom.scan import read_header
    from ..dicom.text import bad_value, quiet, text

    keywords = ("PatientID", "StudyDate", "PatientAge", "PatientBirthDate", "PatientSex", "InstitutionName")
    with quiet():
        try:
            data = read_header(path, keywords, force=True)
            patient, day, age, born, sex, place = (text(data, keyword) for keyword in keywords)
        except bad_value():
            return _Person("", "", None, "", "")
    date, birth = date_in(day), date_in(born)
    return _Person(patient if identifies(patient) else "", date, _age(age, birth, date), sex.upper()[:1], place)


def _age(text: str, birth: str, date: str) -> float | None:
    """PatientAge (DICOM's age string, ``045Y``) in years; else by the dates."""
    unit = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}.get(text[-1:].upper())
    if unit and text[:-1].isdigit():
        return round(int(text[:-1]) * unit, 1)
    if not birth or not date:
        return None
    years = (int(date[:4]) - int(birth[:4])) + (int(date[5:7]) - int(birth[5:7])) / 12
    return round(years, 1) if 0 <= years < 130 else None
