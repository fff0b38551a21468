"""Meaning of a method's label values, written as ``METHOD:1=3,2=2`` or ``METHOD:PRESET``.

Meanings are defined in :mod:`flairseg.io.label_meanings` for all commands.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import InvalidMappingError
from ..io.label_meanings import OWN as OWN
from ..io.label_meanings import PRESETS as PRESETS
from ..io.label_meanings import LabelMapping as LabelMapping
from ..io.label_meanings import parse_meaning
from ..io.label_meanings import with_threshold as with_threshold

#: Name of the references in place of a method.
REFERENCE = "reference"


def parse_mapping(text: str) -> tuple[str, LabelMapping]:
    """Method and mapping of ``METHOD:1=3,2=2`` or ``METHOD:PRESET``; the method is empty where none is named.

    Raises
    ------
    InvalidMappingError
        If the text cannot be parsed.

    Examples
    --------
    >>> parse_mapping("LST:lst")[1].nonzero, parse_mapping("theirs:10=lesion")[1].values, parse_mapping("lst")[0]
    (3, {10: 3}, '')
    """
    if Path(text).is_file():
        return "", parse_meaning(text)
    # Both the path of a file of names (drive letters of Windows) and a method's name may contain a colon.
    cuts = (n for n, c in enumerate(text) if c == ":" and Path(text[n + 1 :]).is_file())
    cut = next(cuts, text.rfind(":"))
    method, sign, meaning = text[: max(cut, 0)].strip(), cut >= 0, text[cut + 1 :]
    if sign and not method:
        raise InvalidMappingError(
            f"{text} names no method before its colon.",
            "Write METHOD:1=3,2=2 or METHOD:PRESET; without a colon it is for every method.",
            code="mapping-without-method",
            text=text,
        )
    return method, parse_meaning(meaning)
