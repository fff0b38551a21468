"""Names of visits: ``ses-2``, ``T1``, ``baseline``, ``month12``, dates; and the patient of a case by its name."""

from __future__ import annotations

import re

from .names import is_common

#: Words that a number follows to name a visit: ``T1``, ``ses-2``, ``study1``, ``month12``, ``FU2``.
_VISIT = r"(?:ses|session|visit|v|t|tp|timepoint|time|study|exam|scan|fu|followup|m|month|y|year)[-_ ]?\d{1,4}"
#: Words that name a visit without a number; BIDS labels sessions freely.
_NAMED_VISIT = r"ses-[a-z0-9]+|baseline|bl|follow[-_ ]?up"
_WHOLE_VISIT = re.compile(rf"(?:{_VISIT}|{_NAMED_VISIT})", re.IGNORECASE)
_AT_END = re.compile(rf"(?P<subject>.+?)[-_ .](?P<session>{_VISIT}|{_NAMED_VISIT})", re.IGNORECASE)
DATE = re.compile(r"(?P<y>(?:19|20)\d\d)[-_.]?(?P<m>0[1-9]|1[0-2])[-_.]?(?P<d>0[1-9]|[12]\d|3[01])")
_DATE_AT_END = re.compile(rf"(?P<subject>.+?)[-_ .](?P<session>{DATE.pattern})")
#: End of a name that only marks the FLAIR.
_FLAIR_AT_END = re.compile(r"(?P<subject>.+?)(?:[-_ .](?:t2|[23]d))*[-_ .](?:t2)?flair(?:[-_ .][23]d)?", re.IGNORECASE)
_SUBJECT = re.compile(r"sub-[^_]+")


def is_visit(name: str) -> bool:
    """Whether a name is that of a visit: ``ses-2``, ``T1``, ``baseline``, a date."""
    return bool(_WHOLE_VISIT.fullmatch(name) or DATE.fullmatch(name))


def split_visit(name: str) -> tuple[str, str]:
    """A name's subject and visit: ``P14_T1`` is ``P14``, ``T1``; the visit is empty where the name ends in none."""
    found = _AT_END.fullmatch(name) or _DATE_AT_END.fullmatch(name)
    return (found["subject"], found["session"]) if found else (name, "")


def patient_of(case: str) -> str:
    """The patient of a case by its name, the one rule for evaluation and adaptation.

    It is the BIDS subject, else what stands before visits, dates and the word FLAIR; the name itself where nothing is
    left that could name a patient (:func:`.names.is_common`).

    Examples
    --------
    >>> [patient_of(case) for case in ("sub-01_ses-2", "P14_T1", "P0_20240102", "scan_1", "101228_flair")]
    ['sub-01', 'P14', 'P0', 'scan_1', '101228']
    >>> [patient_of(case) for case in ("P14_T1_20240131_FLAIR", "P14_month12", "exam_v2", "flair_20240131")]
    ['P14', 'P14', 'exam_v2', 'flair_20240131']
    """
    if subject := _SUBJECT.match(case):
        return subject[0]
    while True:
        marked = _FLAIR_AT_END.fullmatch(case)
        shorter = marked["subject"] if marked else split_visit(case)[0]
        if shorter == case or is_common(shorter):
            return case
        case = shorter
