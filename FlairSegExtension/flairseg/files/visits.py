"""Names of visits: ``ses-2``, ``T1``, ``baseline``, ``month12``, dates; and the patient of a case by its name."""

from __future__ import annotations

import re

from .names import is_common

#: Words that a number follows to name a visit: ``T1``, ``ses-2``, ``study1``, ``month12``, ``FU2``.
_VISIT = r"(?:ses|session|visit|v|t|tp|timepoint|time|study|exam|scan|fu|followup|m|month|y|year)[-_ ]?\d{1,4}"
_WHOLE_VISIT = re.compile(rf"(?:{_VISIT}|baseline|bl|follow[-_ ]?up)", re.IGNORECASE)
_AT_END = re.compile(rf"(?P<subject>.+?)[-_ ](?P<session>{_VISIT}|baseline|bl|follow[-_ ]?up)", re.IGNORECASE)
DATE = re.compile(r"(?P<y>(?:19|20)\d\d)[-_.]?(?P<m>0[1-9]|1[0-2])[-_.]?(?P<d>0[1-9]|[12]\d|3[01])")
_DATE_AT_END = re.compile(rf"(?P<subject>.+?)[-_ ](?P<session>{DATE.pattern})")
_SUBJECT = re.compile(r"sub-[^_]+")


def is_visit(name: str) -> bool:
    """Whether a name is that of a visit: ``ses-2``, ``T1``, ``baseline``, a date."""
    return bool(_WHOLE_VISIT.fullmatch(name) or DATE.fullmatch(name))


def split_visit(name: str) -> tuple[str, str]:
    """A name's subject and visit: ``P14_T1`` is ``P14``, ``T1``; the visit is empty where the name ends in none."""
    found = _AT_END.fullmatch(name) or _DATE_AT_END.fullmatch(name)
    return (found["subject"], found["session"]) if found else (name, "")


def patient_of(case: str) -> str:
    """The patient of a case by its name: what stands before the visit; the name itself where it has none.

    Examples
    --------
    >>> [patient_of(case) for case in ("sub-01_ses-2", "P14_T1", "P0_20240102", "scan_1", "101228_flair")]
    ['sub-01', 'P14', 'P0', 'scan_1', '101228_flair']
    """
    if subject := _SUBJECT.match(case):
        return subject[0]
    subject_name, visit = split_visit(case)
    return subject_name if visit and not is_common(subject_name) else case
