"""Number formats with intervals, in one place so that tables, sentences and figures agree."""

from __future__ import annotations

from ...reporting.wording import UNDEFINED, counted, figure, p_value, percent
from ...statistics.intervals import Estimate

__all__ = ["UNDEFINED", "counted", "figure", "p_value", "percent", "percent_with_interval", "with_interval"]


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
