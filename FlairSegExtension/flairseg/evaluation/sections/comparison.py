"""Lesion load against the reference (source: S5), and methods against each other."""

from __future__ import annotations

import math

from ...reporting.drawing import Figure, Picture
from ...reporting.layout import Cell, Footnotes, Section, Table, cells, rest
from ...reporting.wording import counted, figure, p_value
from ..figures.loads import FEWEST_PAIRS
from ..results import EvaluationResult
from ..rows import PairedTest
from ..terms import CLASS_TITLES, FIGURES
from .phrases import FEWEST_PAIRS_TESTED, LONGEST_LIST, heading, with_interval


def loads(result: EvaluationResult, figures: tuple[Figure | Picture, ...]) -> Section:
    """R2, regression, intraclass correlation and limits of agreement of volumes (source: S5)."""
    notes, rows = Footnotes(), []
    for load in result.loads:
        n, limits = len(load.reference_ml), load.limits
        few = n < FEWEST_PAIRS
        said = f"Fewer than {FEWEST_PAIRS} patients: not given, since two points always fall on a line." if few else ""
        rows.append(
            (
                Cell(CLASS_TITLES[load.class_id]),
                notes.cell(load.method, load.note),
                Cell(str(n)),
                notes.cell("–" if few else with_interval(load.r2, 3), said or load.r2.note),
                Cell("–" if few or not math.isfinite(load.slope) else _line(load.slope, load.intercept)),
                notes.cell("–" if few else with_interval(load.icc, 3), said or load.icc.note),
                Cell(with_interval(limits.bias, 2)),
                *(Cell("–" if few else with_interval(part, 2)) for part in (limits.lower, limits.upper)),
            )
        )
    if not rows:
        return Section("load", "Load")
    columns = (
        "Class",
        "Method",
        "n",
        "R2",
        "Regression line",
        "ICC(2,1)",
        "Bias, ml",
        "Lower limit, ml",
        "Upper limit, ml",
    )
    table = Table("Volume per patient against the reference (S5), with 95 % intervals; differences are method minus "
                  "reference.", columns, tuple(rows), notes.listed, 2)  # fmt: skip
    text = (
        "R2 shows whether larger loads are measured as larger, not whether they are correct: a method that finds half "
        "of every lesion has R2 = 1. Bias and limits of agreement quantify its error.",
    )
    return Section("load", "Lesion load", text, (table,), figures)


def _line(slope: float, intercept: float) -> str:
    sign = "−" if intercept < 0 else "+"
    return f"{figure(slope)} × reference {sign} {figure(abs(intercept))} ml"


def paired(result: EvaluationResult) -> Section:
    """Wilcoxon's signed-rank test between methods, a table per figure."""
    if len(result.methods) < 2:
        return Section("paired", "Comparison of methods")
    if not result.paired:
        return Section("paired", "Comparison of methods",
                       ("No two methods were evaluated on the same patients: nothing can be paired.",))  # fmt: skip
    tables = []
    order = list(dict.fromkeys(test.figure for test in result.paired))
    for key in order:
        notes = Footnotes()
        tests = [t for t in result.paired if t.figure == key]
        rows = tuple(_pair(test, key, notes) for test in tests[:LONGEST_LIST])
        columns = (
            "Class",
            "First",
            "Second",
            "n pairs",
            "Mean difference (95 % interval)",
            "Median difference",
            "W",
            "p",
            "p (Holm)",
        )
        tables.append(
            Table(f"{heading(key)}: second minus first method on the same patients; p adjusted after Holm over the "
                  f"{counted(len(tests), 'comparison')} of this table.", columns, rows,
                  (*notes.listed, *rest(tests, LONGEST_LIST)), 3, folded=key != order[0])
        )  # fmt: skip
    text = (
        "Wilcoxon's signed-rank test on figures of the same patients, two-sided. With fewer than "
        f"{FEWEST_PAIRS_TESTED} pairs it cannot give p < 0.05 whatever the data, so no p is shown. Methods that were "
        "trained or tuned on these patients have an advantage that no test detects.",
    )
    return Section("paired", "Comparison of methods", text, tuple(tables))


def _pair(test: PairedTest, key: str, notes: Footnotes) -> tuple[Cell, ...]:
    digits = FIGURES[key].digits
    n = test.difference.n
    few = n < FEWEST_PAIRS_TESTED
    said = "Too few pairs for a test." if few else test.note
    return (
        *cells(CLASS_TITLES[test.class_id], test.first, test.second, str(n)),
        Cell(with_interval(test.difference, digits)),
        Cell(figure(test.median_difference, digits)),
        Cell("–" if few else figure(test.statistic, 1)),
        notes.cell("–" if few else p_value(test.p), said),
        Cell("–" if few else p_value(test.p_holm)),
    )
