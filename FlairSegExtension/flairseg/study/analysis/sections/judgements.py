"""Raters' judgements: acceptance, differences between arms, lesions, marks."""

from __future__ import annotations

from ....reporting.drawing import Figure
from ....reporting.layout import Cell, Section, Table, cells
from ....statistics.intervals import Estimate
from ...records import FALSE_NEGATIVE, FALSE_POSITIVE
from ..lesions import SAME_PLACE_MM
from ..rates import MAJORITY
from ..results import Results
from ..tidy import BINARY
from ..wording import p_value, percent, percent_with_interval, with_interval
from .common import Notes

_KINDS = {FALSE_POSITIVE: "False positive", FALSE_NEGATIVE: "False negative"}


def acceptance(results: Results, figures: tuple[Figure, ...]) -> Section:
    """Rates of positive answers to each binary question."""
    tables = []
    for question in results.table.of_kind(BINARY):
        notes = Notes()
        rows = []
        for row in (r for r in results.rates if r.question == question.id):
            showing = row.unit == "showing"
            bootstrap = row.clustered
            limits = "" if bootstrap.low is None else f"{percent(bootstrap.low)} to {percent(bootstrap.high)}"
            rows.append(
                (
                    Cell(row.arm or "-"),
                    Cell(row.rater if showing else f"Cases by {row.rater}"),
                    notes.cell(f"{row.positive} / {row.answered}", row.note),
                    Cell(str(row.missing) if showing else ""),
                    notes.cell(percent_with_interval(row.wilson), row.wilson.note),
                    notes.cell(limits, bootstrap.note if showing else ""),
                )
            )
        columns = (
            "Arm",
            "Rater",
            str(question.categories[1]).capitalize(),
            "Missing",
            "Rate (95 % Wilson)",
            "95 % bootstrap over cases",
        )
        tables.append(Table(f"“{question.name}”.", columns, tuple(rows), notes.listed, 2))
    paragraphs = (
        (
            "Wilson's intervals assume independent showings; the bootstrap resamples whole cases and should be quoted "
            f"for rates over several raters or showings. “{MAJORITY.capitalize()}” gives each case one verdict: "
            "positive if more than half of all its answers are.",
        )
        if tables
        else ()
    )
    return Section("acceptance", "Acceptance", paragraphs, tuple(tables), figures)


def arms(results: Results) -> Section:
    """McNemar's test between arms."""
    if not results.comparisons:
        return Section("arms", "Comparison of arms")
    tables = []
    for question in results.table.of_kind(BINARY):
        notes = Notes()
        rows = [
            (
                Cell(f"{row.arm_a} against {row.arm_b}"),
                notes.cell(row.rater, row.note),
                *cells(str(row.both), str(row.only_a), str(row.only_b), str(row.neither)),
                notes.cell(_points(row.difference), row.difference.note),
                Cell(p_value(row.p)),
                Cell(p_value(row.p_holm)),
            )
            for row in results.comparisons
            if row.question == question.id
        ]
        columns = (
            "Arms (A against B)",
            "Rater",
            "Both",
            "Only A",
            "Only B",
            "Neither",
            "A − B, points",
            "p",
            "p (Holm)",
        )
        caption = f"“{question.name}”: cases by answer, McNemar's exact test, raters at their first showing."
        tables.append(Table(caption, columns, tuple(rows), notes.listed, 2))
    return Section("arms", "Comparison of arms", (), tuple(tables))


def _points(estimate: Estimate) -> str:
    value, low, high = (None if x is None else 100 * x for x in (estimate.value, estimate.low, estimate.high))
    return with_interval(Estimate(value, low, high), 1)


def lesions(results: Results) -> Section:
    """Lesion-wise precision and sensitivity by the raters' marks."""
    if not results.lesions:
        return Section("lesions", "Lesions")
    notes = Notes()
    rows = tuple(
        (
            *cells(row.arm or "-", row.rater, str(row.showings), str(row.delineated), str(row.false_positives),
                    str(row.false_negatives)),
            notes.cell(percent_with_interval(row.precision), row.precision.note),
            notes.cell(percent_with_interval(row.sensitivity), row.sensitivity.note),
        )
        for row in results.lesions
    )  # fmt: skip
    columns = ("Arm", "Rater", "Showings", "Delineated", "False pos.", "False neg.", "Precision", "Sensitivity")
    paragraphs = (
        "Lesions summed over showings, as the raters marked them: precision is the share of delineated lesions that "
        "are true, sensitivity the share of true lesions that are delineated, with 95 % bootstrap intervals over "
        "cases. The raters are the reference here; no other was used.",
    )
    table = Table("Lesion-level figures.", columns, rows, notes.listed, 2)
    return Section("lesions", "Lesions", paragraphs, (table,))


def errors(results: Results, figures: tuple[Figure, ...]) -> Section:
    """Agreement of mark positions between readings."""
    tables = []
    if results.mark_agreement:
        notes = Notes()
        rows = tuple(
            (
                *cells(_KINDS[row.kind], row.arm or "-", row.between),
                *cells(f"{row.marks[0]} and {row.marks[1]}", str(row.common)),
                notes.cell(percent_with_interval(row.share), row.share.note),
            )
            for row in results.mark_agreement
        )
        caption = (
            f"Agreement of mark positions (within {SAME_PLACE_MM:g} mm). Share: 2 × common / sum of marks, "
            "with a 95 % bootstrap interval over cases."
        )
        tables.append(Table(caption, ("Mark", "Arm", "Between", "Marks", "Common", "Share"), rows, notes.listed, 3))
    return Section("errors", "Error map", (), tuple(tables), figures)
