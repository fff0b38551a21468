"""Text and numbers from DICOM headers, which are untrusted input."""

from __future__ import annotations

import math
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .gdcm import GdcmHeader, has_pydicom

if TYPE_CHECKING:
    from pydicom import Dataset

    #: Common to both readers; GDCM has no sequences.
    Header = Dataset | GdcmHeader

#: Longest text of a header that is shown.
SHOWN_CHARACTERS = 64


def bad_value() -> tuple[type[Exception], ...]:
    """Exceptions that pydicom, GDCM and their parsers raise for invalid data."""
    own: tuple[type[Exception], ...] = ()
    if has_pydicom():
        from pydicom.errors import BytesLengthException, InvalidDicomError

        own = (BytesLengthException, InvalidDicomError)
    return (
        ValueError, TypeError, AttributeError, LookupError, ArithmeticError, EOFError, OSError, RuntimeError,
        AssertionError, struct.error, zlib.error, *own,
    )  # fmt: skip


def plain(value: object, limit: int = SHOWN_CHARACTERS) -> str:
    """A header's text on one line of at most ``limit`` characters, without control, format and direction characters."""
    # A 10 kB name is not worth normalising whole.
    text = str(value)[: 16 * limit]
    text = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in unicodedata.normalize("NFC", text))
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def get(data: Header | None, keyword: str) -> Any:
    """An attribute's value; None if it is absent, empty or invalid."""
    if data is None:
        return None
    try:
        value = data.get(keyword)
        return None if value is None or (hasattr(value, "__len__") and len(value) == 0) else value
    except bad_value():
        return None


def text(data: Header | None, keyword: str, limit: int = SHOWN_CHARACTERS) -> str:
    """An attribute as one line; several values are parted by backslashes; empty where there is none."""
    value = get(data, keyword)
    if value is None:
        return ""
    try:
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        elif not isinstance(value, str) and isinstance(value, Sequence):
            value = "\\".join(str(part) for part in value)
        return plain(value, limit)
    except bad_value():
        return ""


def numbers(data: Header | None, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """An attribute as finite numbers; None if it is not numeric or their number is not ``count``."""
    value = get(data, keyword)
    if value is None:
        return None
    try:
        parts = value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]
        found = tuple(float(part) for part in parts)
    except bad_value():
        return None
    if not all(map(math.isfinite, found)) or (count is not None and len(found) != count):
        return None
    return found or None


def number(data: Header | None, keyword: str) -> float | None:
    """The first number of an attribute."""
    found = numbers(data, keyword)
    return found[0] if found else None


def item(data: Header | None, keyword: str) -> Dataset | None:
    """First item of a sequence; None if there is none."""
    value = get(data, keyword)
    try:
        return value[0] if value is not None else None
    except bad_value():
        return None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks about odd headers off the screen: they quote the headers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
