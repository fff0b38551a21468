"""How numbers are said: one place, so that tables, sentences and figures agree."""

from __future__ import annotations

from .intervals import Estimate

UNDEFINED = "n/a"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def figure(value: float | None, digits: int = 2) -> str:
    """A number with a fixed number of decimals; a proper minus; ``n/a`` for None."""
    if value is None:
        return UNDEFINED
    text = f"{value:.{digits}f}"
    return f"{0.0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent."""
    return UNDEFINED if value is None else f"{figure(100 * value, digits)} %"


def with_interval(estimate: Estimate, digits: int = 2) -> str:
    """``0.92 (0.80 to 0.97)``; without limits the figure alone."""
    if estimate.low is None or estimate.high is None:
        return figure(estimate.value, digits)
    return f"{figure(estimate.value, digits)} ({figure(estimate.low, digits)} to {figure(estimate.high, digits)})"


def percent_with_interval(estimate: Estimate) -> str:
    """``95.3 % (89.4 to 98.0)``."""
    if estimate.low is None or estimate.high is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} ({figure(100 * estimate.low, 1)} to {figure(100 * estimate.high, 1)})"


def p_value(p: float | None) -> str:
    """``0.034``, ``< 0.001``; ``n/a`` for None."""
    if p is None:
        return UNDEFINED
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
