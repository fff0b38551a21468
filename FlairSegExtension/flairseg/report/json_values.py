"""Values of JSON files that may be old, edited or made by others: a value of the wrong type counts as missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..image.geometry import triple


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def number(value: object) -> float | None:
    """The value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer of JSON can be longer than any float.
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e12 else None


def whole(value: object) -> int | None:
    """The value if it is a whole number that can be a count, else None."""
    found = number(value)
    return int(found) if found is not None and found == int(found) and found >= 0 else None


def text(value: object) -> str:
    """The value if it is text, else empty."""
    return value if isinstance(value, str) else ""


def point(value: object) -> tuple[float, float, float] | None:
    """Three finite numbers, else None."""
    found = [number(v) for v in sequence(value)]
    known = [v for v in found if v is not None]
    return triple(known) if len(found) == len(known) == 3 else None


def span(value: object) -> tuple[int, int] | None:
    """First and last of a range of slices, else None."""
    found = [whole(v) for v in sequence(value)]
    known = [v for v in found if v is not None]
    return (known[0], known[-1]) if len(found) == len(known) >= 2 and known[0] <= known[-1] else None


def slices_of(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Slices of a lesion, from 0: ``slices_index``, or ``slices`` of files that had it alone, and from 0."""
    return span(entry.get("slices_index", entry.get("slices")))
