"""Number formats, in one place so that tables, sentences and figures agree."""

from __future__ import annotations

import math

UNDEFINED = "n/a"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def figure(value: float | None, digits: int = 2) -> str:
    """A number with a fixed number of decimals; a proper minus; ``n/a`` for None and NaN."""
    if value is None or math.isnan(value):
        return UNDEFINED
    text = f"{value:.{digits}f}"
    return f"{0.0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """A proportion as per cent."""
    return UNDEFINED if value is None or math.isnan(value) else f"{figure(100 * value, digits)} %"


def between(low: float | None, high: float | None, digits: int = 2) -> str:
    """``0.80 to 0.97``; ``n/a`` where a limit is missing."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return UNDEFINED
    return f"{figure(low, digits)} to {figure(high, digits)}"


def p_value(p: float | None) -> str:
    """``0.034``, ``< 0.001``; ``n/a`` for None and NaN."""
    if p is None or math.isnan(p):
        return UNDEFINED
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def listed(names: list[str] | tuple[str, ...]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
