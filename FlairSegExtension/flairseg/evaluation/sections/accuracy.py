"""Figures by class, lesion level, confusion, curves, sites and diseases, and every patient's rows."""

from __future__ import annotations

from collections.abc import Sequence

from ...reporting.drawing import Figure, Picture
from ...reporting.layout import Cell, Footnotes, Section, Table, cells, rest
from ...reporting.wording import between, counted, figure, listed
from ...statistics.intervals import FEW_CASES, Estimate
from ..figures.matrices import short_count
from ..results import EvaluationResult
from ..terms import CLASS_TITLES, EVALUATED, FIGURES, LESION_CLASSES, LESION_FIGURES, VOXEL_FIGURES
from .phrases import LONGEST_LIST, classes, heading, interval, spread, with_interval

#: Rows per patient that the whole report shows: beyond, it would be slow to open.
MOST_PATIENT_ROWS = 4000
#: Figures of a table per patient.
_PATIENT = tuple(f for f in VOXEL_FIGURES if f.key not in ("volume_error_percent",))


def by_class(result: EvaluationResult, figures: tuple[Figure | Picture, ...]) -> Section:
    """Every voxel-level figure of every class, and the violins (source: S1)."""
    tables = []
    for class_id in classes(result):
        table = _summary_table(result, class_id, [f.key for f in VOXEL_FIGURES], f"{CLASS_TITLES[class_id]}.")
        if table is not None:
            tables.append(table)
    return Section("classes", "Figures by class", (), tuple(tables), figures)


def _summary_table(result: EvaluationResult, class_id: str, keys: Sequence[str], caption: str) -> Table | None:
    """One line per figure and method: mean ± SD, interval, median, range, pooled."""
    summary = {(r.method, r.figure): r for r in result.summary if r.grouping == "all" and r.class_id == class_id}
    pooled = {(r.method, r.figure): r.estimate for r in result.pooled if r.grouping == "all" and r.class_id == class_id}
    notes, rows = Footnotes(), []
    for key in keys:
        digits = FIGURES[key].digits
        for method in result.methods:
            row = summary.get((method.name, key))
            if row is None or (not row.mean.defined and key in ("average_precision", "roc_auc")):
                continue
            whole = pooled.get((method.name, key))
            rows.append(
                (
                    *cells(heading(key), method.name, str(row.mean.n), str(row.undefined)),
                    Cell(spread(row.mean.value, row.sd, digits, row.mean.n)),
                    Cell(interval(row.mean, digits)),
                    Cell(figure(row.median, digits)),
                    Cell(between(row.lower_quartile, row.upper_quartile, digits)),
                    Cell(between(row.minimum, row.maximum, digits)),
                    notes.cell(with_interval(whole, digits), _pooled_note(whole, result)),
                )
            )
    if not rows:
        return None
    columns = ("Figure", "Method", "n", "Undefined", "Mean ± SD", "95 % interval", "Median", "Quartiles", "Range",
               "Pooled (95 % interval)")  # fmt: skip
    return Table(caption, columns, tuple(rows), notes.listed, 2)


def _pooled_note(estimate: Estimate | None, result: EvaluationResult) -> str:
    """Remarks on a pooled figure."""
    if estimate is None or len(result.cases) < FEW_CASES:
        return ""
    return estimate.note


def lesions(result: EvaluationResult) -> Section:
    """Lesions found and missed, and how far off their outlines are."""
    tables = []
    for class_id in classes(result, LESION_CLASSES):
        rows = [r for r in result.lesion_rows if r.class_id == class_id]
        if not rows:
            continue
        counts = []
        for method in result.methods:
            of_method = [r for r in rows if r.method == method.name]
            if of_method:
                sums = [sum(getattr(r, key) for r in of_method)
                        for key in ("reference_lesions", "found", "predicted_lesions", "right")]  # fmt: skip
                counts.append(
                    cells(method.name, str(len(of_method)), *(str(n) for n in sums), str(sums[0] - sums[1]),
                          str(sums[2] - sums[3]))
                )  # fmt: skip
        tables.append(
            Table(
                f"{CLASS_TITLES[class_id]}: lesions of all patients together (26-connected components).",
                ("Method", "n", "In the reference", "Found", "Predicted", "Right", "Missed", "False"),
                tuple(counts),
            )
        )
        table = _summary_table(
            result, class_id, [f.key for f in LESION_FIGURES], f"{CLASS_TITLES[class_id]}: lesion-level figures."
        )
        if table is not None:
            tables.append(table)
    text = (
        "Detection error is the volume of lesions that only one side has, outline error the volume on which both "
        "disagree about lesions that both have: the two add up to all disagreement.",
    )
    return Section("lesions", "Lesion level", text if tables else (), tuple(tables))


def confusions(result: EvaluationResult, figures: tuple[Figure | Picture, ...]) -> Section:
    """Matrices, and normal against abnormal WMH (source: S1)."""
    tables, texts = [], []
    if result.normal_abnormal:
        rows = tuple(
            cells(r.method, r.level, r.population, *(short_count(x) for x in (r.tp, r.fp, r.fn, r.tn)),
                  *(with_interval(x, 3) for x in (r.sensitivity, r.specificity, r.precision, r.dice)))
            for r in result.normal_abnormal
        )  # fmt: skip
        columns = (
            "Method",
            "Level",
            "Counted",
            "TP",
            "FP",
            "FN",
            "TN",
            "Sensitivity",
            "Specificity",
            "Precision",
            "Dice",
        )
        tables.append(
            Table("Normal against abnormal WMH, abnormal being positive (S1), with 95 % bootstrap intervals over "
                  f"patients (n = {len(result.cases)}).", columns, rows, (), 3)
        )  # fmt: skip
    texts += list(dict.fromkeys(c.note for c in result.confusions if c.note))
    return Section("confusion", "Confusion", tuple(texts) if tables or figures else (), tuple(tables), figures)


def curves(result: EvaluationResult, figures: tuple[Figure | Picture, ...]) -> Section:
    """Precision-recall and ROC curves, and who has none."""
    without = [m.name for m in result.methods if not m.probabilities]
    text = [f"Without probabilities, and so without curves: {listed(without)}."] if without and figures else []
    if not figures:
        text = ["No method provided probabilities, so there are no precision-recall and ROC curves."]
    return Section("curves", "Precision-recall and ROC", tuple(text), (), figures)


def by_group(result: EvaluationResult) -> Section:
    """Dice by site and disease (source: S4)."""
    tables = []
    for grouping, column in (("site", "Site"), ("disease", "Disease")):
        rows = [r for r in result.summary if r.grouping == grouping and r.figure == "dice" and r.group]
        if len({r.group for r in rows}) < 2:
            continue
        made = tuple(
            cells(CLASS_TITLES[r.class_id], r.group, r.method, str(r.mean.n),
                  spread(r.mean.value, r.sd, 3, r.mean.n), interval(r.mean, 3), figure(r.median, 3),
                  between(r.lower_quartile, r.upper_quartile, 3))
            for r in sorted(rows, key=lambda r: list(EVALUATED).index(r.class_id))
        )  # fmt: skip
        columns = ("Class", column, "Method", "n", "Dice, mean ± SD", "95 % interval", "Median", "Quartiles")
        tables.append(Table(f"Dice by {grouping} (S4 reports medians).", columns, made[:LONGEST_LIST],
                            rest(made, LONGEST_LIST), 3))  # fmt: skip
    return Section("by-group", "By site and disease", (), tuple(tables))


def patients(result: EvaluationResult) -> Section:
    """Every row per patient, up to a bound; folded, since there are many."""
    tables, left, cut = [], MOST_PATIENT_ROWS, 0
    for class_id in classes(result):
        rows = [r for r in result.rows if r.class_id == class_id]
        shown, notes = rows[:left], Footnotes()
        left, cut = left - len(shown), cut + len(rows) - len(shown)
        made = tuple(
            (
                notes.cell(r.case, r.note),
                *cells(r.method, figure(r.reference_ml, 2), figure(r.predicted_ml, 2)),
                *cells(*(figure(getattr(r, f.key), f.digits) for f in _PATIENT)),
            )
            for r in shown
        )
        if made:
            columns = ("Patient", "Method", "Reference, ml", "Predicted, ml", *(heading(f.key) for f in _PATIENT))
            tables.append(Table(f"{CLASS_TITLES[class_id]}, per patient.", columns, made, notes.listed, 2, folded=True))
    for class_id in classes(result, LESION_CLASSES):
        lesion_rows = [r for r in result.lesion_rows if r.class_id == class_id]
        some, notes = lesion_rows[:left], Footnotes()
        left, cut = left - len(some), cut + len(lesion_rows) - len(some)
        made = tuple(
            (
                notes.cell(r.case, r.note),
                *cells(r.method, str(r.reference_lesions), str(r.found), str(r.predicted_lesions), str(r.right)),
                *cells(*(figure(getattr(r, f.key), f.digits) for f in LESION_FIGURES)),
            )
            for r in some
        )
        if made:
            columns = ("Patient", "Method", "In the reference", "Found", "Predicted", "Right",
                       *(heading(f.key) for f in LESION_FIGURES))  # fmt: skip
            tables.append(
                Table(f"{CLASS_TITLES[class_id]}: lesions, per patient.", columns, made, notes.listed, 2, folded=True)
            )
    text = ["Expand a table to see its rows; print shows all."] if tables else []
    if cut:
        text.append(
            f"{counted(cut, 'row')} more {'is' if cut == 1 else 'are'} only in the CSV files, so that this page opens "
            "quickly."
        )
    return Section("patients", "Every patient", tuple(text), tuple(tables))
