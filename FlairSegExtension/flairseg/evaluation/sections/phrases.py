"""Formats of the sections: spreads, intervals, headings; and the classes present."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...reporting.wording import UNDEFINED, between, figure
from ...statistics.intervals import Estimate
from ..results import EvaluationResult
from ..rows import SummaryRow
from ..terms import EVALUATED, FIGURES

#: Rows of one list that the report shows; the CSV files have all of them.
LONGEST_LIST = 400
#: Pairs from which a two-sided signed-rank test can give p < 0.05 at all (2 ** (1 - n)).
FEWEST_PAIRS_TESTED = 6


def means(result: EvaluationResult, class_id: str, key: str) -> list[SummaryRow]:
    """Rows over all patients of one class and figure, in the order of methods; only defined ones."""
    found = {r.method: r for r in result.summary if (r.grouping, r.class_id, r.figure) == ("all", class_id, key)}
    return [found[m.name] for m in result.methods if m.name in found and found[m.name].mean.defined]


def spread(value: float | None, sd: float, digits: int, n: int) -> str:
    """``0.689 ± 0.095``; without a standard deviation where there is one patient."""
    if n < 2 or value is None or not math.isfinite(sd):
        return figure(value, digits)
    return f"{figure(value, digits)} ± {figure(sd, digits)}"


def interval(estimate: Estimate, digits: int) -> str:
    """Limits of an interval; empty where there are none."""
    return "" if estimate.low is None else between(estimate.low, estimate.high, digits)


def with_interval(estimate: Estimate | None, digits: int) -> str:
    """``0.92 (0.80 to 0.97)``; without limits the figure alone; a dash for nothing."""
    if estimate is None:
        return "–"
    limits = interval(estimate, digits)
    return f"{figure(estimate.value, digits)} ({limits})" if limits else figure(estimate.value, digits)


def share(estimate: Estimate) -> str:
    """``95.3 (89.4 to 98.0)``, per cent."""
    if estimate.value is None:
        return UNDEFINED
    if estimate.low is None or estimate.high is None:
        return figure(100 * estimate.value, 1)
    return f"{figure(100 * estimate.value, 1)} ({between(100 * estimate.low, 100 * estimate.high, 1)})"


def heading(key: str) -> str:
    """A figure's title with its unit."""
    what = FIGURES[key]
    return f"{what.title}, {what.unit}" if what.unit else what.title


def classes(result: EvaluationResult, among: Iterable[str] = EVALUATED) -> list[str]:
    """Classes that any method has figures for."""
    known = {c for m in result.methods for c in m.classes}
    return [c for c in among if c in known]
