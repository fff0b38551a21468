"""Whose images: attributes of patient and examination, compared and never kept in clear."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from . import text as header_text

if TYPE_CHECKING:
    from .text import Header

#: What sets patients apart. PatientID alone does not: some anonymisers write one for everybody.
PATIENT = ("PatientID", "PatientBirthDate", "PatientSex")
#: What sets examinations of one patient apart, beside the StudyInstanceUID.
EXAMINATION = ("StudyDate",)
#: Digests mean nothing outside this process.
_KEY = secrets.token_bytes(16)

_Owned = TypeVar("_Owned")


def digests(data: Header, keywords: Sequence[str]) -> tuple[str, ...]:
    """Keyed digests of a header's values, one per keyword; empty where there is no value, or an uninformative one."""
    return tuple(_digest(_value(data, keyword)) for keyword in keywords)


def differ(marks: Iterable[tuple[str, ...]]) -> bool:
    """Whether two of these have different values of one attribute; an absent value differs from none."""
    return any(len({value for value in values if value}) > 1 for values in zip(*marks, strict=True))


def apart(owned: Sequence[tuple[tuple[str, ...], _Owned]]) -> list[list[_Owned]]:
    """Things by their owner, in their order; all together where no two of the owners differ.

    Parameters
    ----------
    owned : sequence of (tuple of str, object)
        Digests of :data:`PATIENT`, and what belongs to them.
    """
    if not differ(mark for mark, _ in owned):
        return [[thing for _, thing in owned]] if owned else []
    groups: dict[Hashable, list[_Owned]] = {}
    for mark, thing in owned:
        groups.setdefault(mark, []).append(thing)
    return list(groups.values())


def _value(data: Header, keyword: str) -> str:
    value = header_text.text(data, keyword).casefold()
    # "O" (other) is what anonymisers and consoles write for an unknown sex.
    return value if keyword != "PatientSex" or value[:1] in ("f", "m") else ""


def _digest(value: str) -> str:
    return hashlib.blake2b(value.encode(), key=_KEY, digest_size=16).hexdigest() if value else ""
