"""Agreement of raters: coefficients for categories, intraclass correlations and limits of agreement for numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....reporting.drawing import Figure
from ....reporting.layout import Cell, Section, Table, cells
from ....statistics.intervals import Estimate
from ...records import CONFIDENCE_QUESTION
from ..agreement import AC2, PERCENT, WEIGHTED
from ..figures import ORDER
from ..results import BETWEEN_ARMS, INTER, INTRA, RULE, AgreementRow, LimitsRow, Results, question_names
from ..tidy import BINARY, NOMINAL, ORDERED
from ..wording import percent_with_interval, with_interval
from .common import Notes

_SCOPE_TITLES = {
    INTRA: "Intra-rater agreement (one rater's repeated showings)",
    INTER: "Inter-rater agreement",
    RULE: "Raters' decisions against the rule applied to their own counts",
}


def agreement(results: Results, figures: tuple[Figure, ...]) -> Section:
    """Coefficients of agreement within and between raters, and with the rule."""
    tables = []
    names = question_names(results.table.questions)
    for question in results.table.of_kind(BINARY, ORDERED, NOMINAL):
        if question.id == CONFIDENCE_QUESTION:
            # The raters' confidence is not a property of the mask to agree on; it is in the CSV.
            continue
        for scope, title in _SCOPE_TITLES.items():
            rows = [r for r in results.agreement if r.scope == scope and r.question == question.id]
            if rows:
                tables.append(_coefficients(f"{title}: “{names[question.id]}”.", rows))
    paragraphs = [
        "Each cell gives a coefficient with its 95 % interval. Kappa approaches zero when almost all answers are "
        "alike, however well raters agree; Gwet's AC1 and AC2 do not (Gwet 2008)."
    ]
    if len(results.table.repeats) < 2:
        paragraphs.append("No case was shown twice to a rater, so intra-rater agreement cannot be estimated.")
    if len(results.table.raters) < 2:
        paragraphs.append("There is one rater, so inter-rater agreement cannot be estimated.")
    if not tables:
        paragraphs = paragraphs[1:]
    return Section("agreement", "Agreement", tuple(paragraphs), tuple(tables), figures)


def _coefficients(caption: str, rows: Sequence[AgreementRow]) -> Table:
    """One line per arm, raters and showing; one column per coefficient."""
    notes = Notes()
    coefficients = [name for name in ORDER if any(row.coefficient == name for row in rows)]
    if WEIGHTED in coefficients or AC2 in coefficients:
        # On a scale, close answers agree in part: coefficients without weights are in the CSV.
        coefficients = [name for name in (PERCENT, WEIGHTED, AC2) if name in coefficients]
    lines = dict.fromkeys((row.arm, row.raters, row.showing) for row in rows)
    made = []
    for line in lines:
        of_line = {row.coefficient: row for row in rows if (row.arm, row.raters, row.showing) == line}
        found = []
        for name in coefficients:
            row = of_line.get(name)
            if row is None:
                found.append(Cell("-"))
            else:
                shown = percent_with_interval(row.estimate) if name == PERCENT else with_interval(row.estimate)
                found.append(notes.cell(shown, row.estimate.note))
        items = str(max(row.items for row in of_line.values()))
        made.append((*cells(line[0] or "-", line[1], line[2], items), *found))
    columns = ("Arm", "Rater", "Showing", "Items", *coefficients)
    return Table(caption, columns, tuple(made), notes.listed, 3)


def numbers(results: Results, figures: tuple[Figure, ...]) -> Section:
    """ICC, repeatability and limits of agreement of counts and volumes."""
    if not results.limits:
        return Section("numbers", "Counts and volumes")
    order = {variable: n for n, variable in enumerate(dict.fromkeys(row.variable for row in results.limits))}
    first: dict[tuple[str, ...], LimitsRow] = {}
    for row in sorted(results.limits, key=lambda row: order[row.variable]):
        # Later showings of the same raters are in the CSV.
        first.setdefault((row.scope, row.variable, row.arm, row.raters), row)
    paragraphs = [
        "One rater: first and second showing (difference: second minus first). Two raters: their first showings "
        "(second minus first rater). Repeatability: bound of 95 % of differences between two readings of one rater. "
        "ICC intervals are based on the F distribution and approximate for small counts."
    ]
    if any(row.scope == BETWEEN_ARMS for row in results.limits):
        paragraphs.append("Between arms, numbers of the masks themselves are compared (second minus first arm).")
    tables = (_intraclass(results, first), _limits(first))
    return Section("numbers", "Counts and volumes", tuple(paragraphs), tables, figures)


def _intraclass(results: Results, rows: Mapping[tuple[str, ...], LimitsRow]) -> Table:
    icc: dict[tuple[str, ...], dict[str, Estimate]] = {}
    for found in results.agreement:
        if found.coefficient.startswith("ICC"):
            key = (found.scope, found.question, found.arm, found.raters)
            icc.setdefault(key, {}).setdefault(found.coefficient, found.estimate)
    notes, made = Notes(), []
    for of_row, row in rows.items():
        single, consistency = (icc.get(of_row, {}).get(name, Estimate(None)) for name in ("ICC(2,1)", "ICC(3,1)"))
        repeats = row.repeatability
        made.append(
            (
                *_named(row),
                Cell(str(single.n)),
                notes.cell(with_interval(single), single.note),
                notes.cell(with_interval(consistency), consistency.note),
                notes.cell(with_interval(repeats), repeats.note) if repeats else Cell("-"),
            )
        )
    caption = "Intraclass correlations, absolute agreement (2,1) and consistency (3,1); repeatability coefficient."
    columns = ("Number", "Arm", "Rater", "Items", "ICC(2,1)", "ICC(3,1)", "Repeatability")
    return Table(caption, columns, tuple(made), notes.listed, 3)


def _limits(rows: Mapping[tuple[str, ...], LimitsRow]) -> Table:
    notes = Notes()
    made = tuple(
        (
            *_named(row),
            Cell(str(row.limits.n)),
            notes.cell(with_interval(row.limits.bias), row.limits.note),
            Cell(with_interval(row.limits.lower)),
            Cell(with_interval(row.limits.upper)),
        )
        for row in rows.values()
    )
    caption = "Bias and 95 % limits of agreement, each with its 95 % interval."
    columns = ("Number", "Arm", "Rater", "Pairs", "Bias", "Lower limit", "Upper limit")
    return Table(caption, columns, made, notes.listed, 3)


def _named(row: LimitsRow) -> tuple[Cell, ...]:
    name = f"{row.variable}, {row.unit}" if row.unit not in ("", "lesions") else row.variable
    return cells(name, row.arm or "-", row.raters or "-")
