"""Subject and session labels by BIDS (letters and digits) out of whatever a source calls its subjects and visits.

https://bids-specification.readthedocs.io/en/stable/common-principles.html#entities
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from ..files.names import is_common
from .model import Session

#: Words that a number follows to name a visit: ``T1``, ``ses-2``, ``study1``, ``month12``, ``FU2``.
_VISIT = r"(?:ses|session|visit|v|t|tp|timepoint|time|study|exam|scan|fu|followup|m|month|y|year)[-_ ]?\d{1,4}"
_WHOLE_VISIT = re.compile(rf"(?:{_VISIT}|baseline|bl|follow[-_ ]?up)", re.IGNORECASE)
_AT_END = re.compile(rf"(?P<subject>.+?)[-_ ](?P<session>{_VISIT}|baseline|bl|follow[-_ ]?up)", re.IGNORECASE)
_DATE = re.compile(r"(?P<y>(?:19|20)\d\d)[-_.]?(?P<m>0[1-9]|1[0-2])[-_.]?(?P<d>0[1-9]|[12]\d|3[01])")
_DATE_AT_END = re.compile(rf"(?P<subject>.+?)[-_ ](?P<session>{_DATE.pattern})")
_PREFIX = {
    "sub": re.compile(r"^sub(?:ject)?[-_]", re.IGNORECASE),
    "ses": re.compile(r"^ses(?:sion)?[-_]", re.IGNORECASE),
}
#: Longest label that is kept; the stem with its endings must fit into a file name.
LONGEST_LABEL = 60
_HASH_DIGITS = 6


def label_of(text: str, entity: str = "sub") -> str:
    """A BIDS label: letters and digits of ASCII alone.

    Other characters are left out; where nothing or other than separators would be lost, a piece of a hash keeps
    different names apart.

    Parameters
    ----------
    text : str
        As the source has it; a ``sub-`` or ``ses-`` in front goes.
    entity : str
        ``sub`` or ``ses``.

    Returns
    -------
    str
        Empty for an empty text.
    """
    plain = _PREFIX[entity].sub("", unicodedata.normalize("NFC", str(text)).strip())
    if not plain:
        return ""
    label = "".join(c for c in plain if c.isascii() and c.isalnum())
    lost = any(not (c in "-_. " or (c.isascii() and c.isalnum())) for c in plain)
    if lost or not label or len(label) > LONGEST_LABEL:
        label = label[: LONGEST_LABEL - _HASH_DIGITS] + hashlib.sha256(plain.encode()).hexdigest()[:_HASH_DIGITS]
    return label


def date_in(text: str) -> str:
    """ISO 8601 date that a text is or begins with; empty if it does not."""
    found = _DATE.match(text.strip())
    return f"{found['y']}-{found['m']}-{found['d']}" if found else ""


def is_visit(name: str) -> bool:
    """Whether a name is that of a visit: ``ses-2``, ``T1``, ``baseline``, a date."""
    return bool(_WHOLE_VISIT.fullmatch(name) or _DATE.fullmatch(name))


def split_visit(name: str) -> tuple[str, str]:
    """A name's subject and visit: ``P14_T1`` is ``P14``, ``T1``; the visit is empty where the name ends in none."""
    found = _AT_END.fullmatch(name) or _DATE_AT_END.fullmatch(name)
    return (found["subject"], found["session"]) if found else (name, "")


def subject_and_session(parts: Iterable[str]) -> tuple[str, str]:
    """Subject and visit by the folders (outermost first) and the stem of a file.

    Names of visits are the visit, words that any folder could have (``anat``, ``nifti``) are left out, all the rest is
    the subject: two folders that are not known to be visits of one patient are never taken for that.

    Returns
    -------
    tuple of str
        As the source writes them; the subject is empty where no part tells.
    """
    subjects: list[str] = []
    visits: list[str] = []
    for part in parts:
        if is_visit(part):
            visits.append(part)
            continue
        name, visit = split_visit(part)
        if visit and (subjects or not is_common(name)):
            visits.append(visit)
        elif visit:
            name = part
        if not is_common(name):
            subjects.append(name)
    plain = list(dict.fromkeys(subjects))
    return "_".join(plain), "_".join(dict.fromkeys(visits))


def distinct(sessions: Iterable[Session]) -> list[Session]:
    """The sessions with labels that no two of them share, ordered by subject, date and label.

    Of a subject with several sessions those without a label get numbers that no other has; of sessions of one label the
    later ones get a letter behind it.
    """
    by_subject: dict[str, list[Session]] = {}
    for session in sorted(sessions, key=lambda s: (s.subject.lower(), s.path)):
        by_subject.setdefault(session.subject.lower(), []).append(session)
    out: list[Session] = []
    for members in map(in_order, by_subject.values()):
        # Names that differ in case alone would share folders on some disks.
        spelled = members[0].subject
        said = {session.session.lower() for session in members}
        numbers = (str(n) for n in count(1) if str(n) not in said)
        taken: set[str] = set()
        for session in members:
            label = session.session or (next(numbers) if len(members) > 1 else "")
            final, letter = label, ord("b")
            while final.lower() in taken:
                final, letter = f"{label}{chr(letter)}", letter + 1
            taken.add(final.lower())
            out.append(replace(session, subject=spelled, session=final))
    return out


def in_order(members: Iterable[Session]) -> list[Session]:
    """Sessions of one subject: by date where all have one, else by label."""
    found = list(members)
    dated = all(session.date for session in found)
    return sorted(found, key=lambda s: (s.date if dated else "", natural(s.session), s.path))


def natural(label: str) -> list[tuple[int, str]]:
    """Sort key by which ``2`` comes before ``10``."""
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", label.lower()) if p]
