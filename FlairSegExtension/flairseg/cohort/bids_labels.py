"""Subject and session labels by BIDS (letters and digits) from a source's names of subjects and visits.

https://bids-specification.readthedocs.io/en/stable/common-principles.html#entities
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date
from itertools import count

from ..files.names import is_common
from ..files.visits import DATE, is_visit, split_visit
from .model import Session, SessionRow

_PREFIX = {
    "sub": re.compile(r"^sub(?:ject)?[-_]", re.IGNORECASE),
    "ses": re.compile(r"^ses(?:sion)?[-_]", re.IGNORECASE),
}
#: Longest label that is kept; the stem with its endings must fit into a file name.
LONGEST_LABEL = 60
_HASH_DIGITS = 6
#: Characters that a label loses without a piece of a hash in their place.
_SEPARATORS = "-_. /"


def label_of(text: str, entity: str = "sub") -> str:
    """A BIDS label: letters and digits of ASCII alone.

    Other characters are left out; where nothing or other than separators would be lost, a piece of a hash keeps
    different names apart.

    Parameters
    ----------
    text : str
        As the source has it; a ``sub-`` or ``ses-`` in front is removed.
    entity : str
        ``sub`` or ``ses``.

    Returns
    -------
    str
        Empty for an empty text.
    """
    plain = _PREFIX[entity].sub("", plain_name(text))
    if not plain:
        return ""
    label = "".join(c for c in plain if c.isascii() and c.isalnum())
    lost = any(not (c in _SEPARATORS or (c.isascii() and c.isalnum())) for c in plain)
    return _with_hash(label, plain) if lost or not label or len(label) > LONGEST_LABEL else label


def _with_hash(label: str, name: str, digits: int = _HASH_DIGITS) -> str:
    """A label that ends in the first digits of a name's hash."""
    return label[: LONGEST_LABEL - digits] + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def plain_name(text: str) -> str:
    """A name in one Unicode form (NFC), without white space around it."""
    return unicodedata.normalize("NFC", str(text)).strip()


def first_name(*names: str) -> str:
    """The first name that a label can be made of; empty where there is none."""
    return next((name for name in names if label_of(name)), "")


def subject_labels(names: Iterable[str]) -> dict[str, str]:
    """A unique label for each subject of a source, also on case-insensitive disks.

    Where the labels of several names are the same (``1-12`` and ``11-2``), the name that is its own label keeps it, and
    part of its hash is appended to each other one: images of two subjects are never treated as visits of one.

    Parameters
    ----------
    names : iterable of str
        As the source has them.

    Returns
    -------
    dict of str to str
        By :func:`plain_name`; the same for the same names in any order.
    """
    alike: dict[str, list[str]] = {}
    for name in sorted({plain_name(name) for name in names}):
        alike.setdefault(label_of(name).lower(), []).append(name)
    labels: dict[str, str] = {}
    for same in alike.values():
        own = same if len(same) == 1 else [name for name in same if label_of(name) == name]
        if len(own) == 1:
            labels[own[0]] = label_of(own[0])
    taken = {label.lower() for label in labels.values()}
    for name in (name for same in alike.values() for name in same if name not in labels):
        digits = _HASH_DIGITS
        while (label := _with_hash(label_of(name), name, digits)).lower() in taken:
            digits += 1
        labels[name] = label
        taken.add(label.lower())
    return labels


def subjects_meant(names: Iterable[str], labels: Mapping[str, str]) -> dict[str, str]:
    """Match the names of another table to the subjects of a source.

    That of the same name; else that whose name has other separators (``1_12`` for ``1/12``); else that of the same
    label. A name that could mean several subjects, or several names that could mean one, mean none.

    Parameters
    ----------
    names : iterable of str
        As the table has them.
    labels : mapping of str to str
        Of :func:`subject_labels`, for the source.

    Returns
    -------
    dict of str to str
        By :func:`plain_name`, a key of ``labels``.
    """
    spelled: dict[str, list[str]] = {}
    for own in labels:
        spelled.setdefault(_spelled(own), []).append(own)
    by_spelling = {text: same[0] for text, same in spelled.items() if len(same) == 1}
    by_label = {label.lower(): own for own, label in labels.items()}
    finders: tuple[Callable[[str], str | None], ...] = (
        lambda name: name if name in labels else None,
        lambda name: by_spelling.get(_spelled(name)),
        lambda name: by_label.get(label_of(name).lower()),
    )
    wanted, meant = {plain_name(name) for name in names}, dict[str, str]()
    for find in finders:
        claims: dict[str, list[str]] = {}
        for name in wanted - meant.keys():
            if (found := find(name)) is not None:
                claims.setdefault(found, []).append(name)
        known = set(meant.values())
        meant |= {same[0]: own for own, same in claims.items() if len(same) == 1 and own not in known}
    return meant


def _spelled(name: str) -> str:
    """A name of a subject whatever its prefix, its separators and its case."""
    return re.sub(f"[{re.escape(_SEPARATORS)}]+", "-", _PREFIX["sub"].sub("", plain_name(name))).lower()


def date_in(text: str) -> str:
    """ISO 8601 date that a text is or begins with; empty if it does not, or if there is no such day."""
    found = DATE.match(text.strip())
    try:
        return date(int(found["y"]), int(found["m"]), int(found["d"])).isoformat() if found else ""
    except ValueError:
        return ""


def subject_and_session(parts: Iterable[str]) -> tuple[str, str]:
    """Subject and visit by the folders (outermost first) and the stem of a file.

    Names of visits are the visit, words that any folder could have (``anat``, ``nifti``) are left out, all the rest is
    the subject: two folders that are not known to be visits of one patient are never treated as such.

    Returns
    -------
    tuple of str
        As the source writes them, parts of the subject with slashes between them (``center1/12``); the subject is empty
        where no part identifies it.
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
    # No folder has a slash in its name: the parts stay apart.
    return "/".join(plain), "_".join(dict.fromkeys(visits))


def distinct(sessions: Iterable[Session]) -> list[Session]:
    """The sessions with labels that no two of them share, ordered by subject, date and label.

    Subjects are called as the source has them and get labels by :func:`subject_labels`. Of a subject with several
    sessions those without a label get numbers that no other has; of sessions of one label the later ones get a letter
    behind it.
    """
    found = list(sessions)
    labels = subject_labels(session.subject for session in found)
    labelled = [replace(session, subject=labels[plain_name(session.subject)]) for session in found]
    by_subject: dict[str, list[Session]] = {}
    for session in sorted(labelled, key=lambda s: (s.subject.lower(), s.path)):
        by_subject.setdefault(session.subject, []).append(session)
    out: list[Session] = []
    for members in map(in_order, by_subject.values()):
        said = {session.session.lower() for session in members}
        numbers = (str(n) for n in count(1) if str(n) not in said)
        taken: set[str] = set()
        for session in members:
            label = session.session or (next(numbers) if len(members) > 1 else "")
            final, letter = label, ord("b")
            while final.lower() in taken:
                final, letter = f"{label}{chr(letter)}", letter + 1
            taken.add(final.lower())
            out.append(replace(session, session=final))
    return out


def in_order(members: Iterable[Session]) -> list[Session]:
    """Sessions of one subject: by date where all have one, else by label."""
    found = list(members)
    dated = all(session.date for session in found)
    return sorted(found, key=lambda s: (s.date if dated else "", natural(s.session), s.path))


def rows_in_order(rows: Iterable[SessionRow]) -> list[SessionRow]:
    """Rows of one subject in the order of their sessions, see :func:`in_order`."""
    by_session = {row.session: row for row in rows}
    return [by_session[session] for session in in_order(by_session)]


def natural(label: str) -> list[tuple[int, str]]:
    """Sort key by which ``2`` comes before ``10``."""
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", label.lower()) if p]
