"""Key figures at the top of the report: acceptance, agreement, time."""

from __future__ import annotations

from ....reporting.layout import KeyFigure
from ....statistics.intervals import Estimate
from ..results import ALL_ARMS, INTER, INTRA, AgreementRow, Results
from ..tidy import Question
from ..wording import counted, figure, percent


def key_figures(results: Results) -> list[KeyFigure]:
    """Return the key results: acceptance, agreement, time."""
    primary = results.table.primary
    of_question = [] if primary is None else [*_acceptance(results, primary), *_agreement(results, primary)]
    return [*of_question, *_times(results)]


def _acceptance(results: Results, primary: Question) -> list[KeyFigure]:
    """The last row of each arm: of all raters together."""
    rows = {r.arm: r for r in results.rates if r.question == primary.id and r.unit == "showing"}
    return [
        KeyFigure(
            f"{primary.categories[1]}{_of_arm(results, arm)}",
            percent(rows[arm].wilson.value),
            f"{rows[arm].positive} of {rows[arm].answered} showings{_limits(rows[arm].wilson)}",
        )
        for arm in results.table.arms[:3]
        if arm in rows
    ]


def _agreement(results: Results, primary: Question) -> list[KeyFigure]:
    found = []
    for scope, name in ((INTER, "between raters"), (INTRA, "with oneself")):
        rows = [r for r in results.agreement if _is_headline(r, scope, primary.id, len(results.table.arms) > 1)]
        if rows:
            row = rows[0] if scope == INTER else min(rows, key=lambda r: r.estimate.value or 0.0)
            value = row.estimate
            limits = f" ({figure(value.low)} to {figure(value.high)})" if value.low is not None else ""
            who = row.raters if scope == INTER else f"lowest of {counted(len(rows), 'rater')}"
            found.append(KeyFigure(f"Gwet AC1 {name}", figure(value.value), f"{who}{limits}"))
    return found


def _times(results: Results) -> list[KeyFigure]:
    rows = {row.arm: row for row in results.timing if row.median is not None}
    return [
        KeyFigure(
            f"median time{_of_arm(results, arm)}",
            f"{figure(rows[arm].median, 0)} s",
            f"quartiles {figure(rows[arm].lower_quartile, 0)} to {figure(rows[arm].upper_quartile, 0)} s",
        )
        for arm in results.table.arms[:2]
        if arm in rows
    ]


def _of_arm(results: Results, arm: str) -> str:
    return f": {arm}" if arm and len(results.table.arms) > 1 else ""


def _is_headline(row: AgreementRow, scope: str, question: str, many: bool) -> bool:
    shown = row.scope == scope and row.question == question and row.coefficient == "Gwet AC1"
    return shown and row.estimate.defined and row.arm in ((ALL_ARMS,) if many else (row.arm,))


def _limits(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" (95 % interval {figure(100 * estimate.low, 1)} to {figure(100 * estimate.high, 1)} %)"
