"""Overview: size, headline table, what was evaluated and by which conventions."""

from __future__ import annotations

from collections.abc import Sequence

from ...reporting.drawing import Figure, Picture
from ...reporting.layout import Cell, Footnotes, KeyFigure, Section, Table, cells, rest
from ...reporting.wording import between, counted, figure, listed, percent
from ...statistics.intervals import FEW_CASES
from ..results import EvaluationResult
from ..terms import ALL_WMH, CLASS_TITLES, FIGURES, LESION_ID, NORMAL_WMH_ID, VENTRICLES_ID
from .phrases import FEWEST_PAIRS_TESTED, LONGEST_LIST, classes, heading, interval, means, spread

#: Figures of the first table, beside Dice.
_HEADLINE = ("precision", "recall", "hd95_mm", "nsd")


def few_patients(result: EvaluationResult) -> str | None:
    """The caution shown on top when there are too few patients to conclude anything; None otherwise."""
    n = len(result.cases)
    if n >= FEW_CASES:
        return None
    if n < FEWEST_PAIRS_TESTED:
        return (
            f"{counted(n, 'patient')} only. These figures describe {'this patient' if n == 1 else 'these patients'} "
            "and nothing more: no test can distinguish methods, intervals are not to be trusted, and no conclusion "
            "about other patients follows."
        )
    return (
        f"Only {counted(n, 'patient')}: bootstrap intervals of so few are narrower than they should be, and tests have "
        "little power. Absence of significance is not absence of a difference."
    )


def key_figures(result: EvaluationResult) -> list[KeyFigure]:
    """Size, and the mean lesion Dice of the first methods."""
    found = [
        KeyFigure("Patients", str(len(result.cases)), counted(len(result.methods), "method")),
    ]
    class_id = next((c for c in (LESION_ID, ALL_WMH, VENTRICLES_ID, NORMAL_WMH_ID) if means(result, c, "dice")), None)
    if class_id is not None:
        for row in means(result, class_id, "dice")[:4]:
            detail = f"mean over {counted(row.mean.n, 'patient')}"
            if row.mean.low is not None:
                detail += f", 95 % interval {between(row.mean.low, row.mean.high)}"
            found.append(
                KeyFigure(f"Dice of {CLASS_TITLES[class_id].lower()}: {row.method}", figure(row.mean.value, 3), detail)
            )
    return found


def headline(result: EvaluationResult, figures: tuple[Figure | Picture, ...]) -> Section:
    """The table that answers most questions, and its figure."""
    summary = {(r.class_id, r.method, r.figure): r for r in result.summary if r.grouping == "all"}
    pooled = {(r.class_id, r.method, r.figure): r.estimate for r in result.pooled if r.grouping == "all"}
    notes, rows = Footnotes(), []
    columns = ("Class", "Method", "n", "Dice, mean ± SD", "95 % interval", "Dice, pooled",
               *(heading(k) for k in _HEADLINE), "Lesion F1")  # fmt: skip
    for class_id in classes(result):
        for method in result.methods:
            row = summary.get((class_id, method.name, "dice"))
            if row is None:
                continue
            undefined = f"Dice undefined for {counted(row.undefined, 'patient')}, left out." if row.undefined else ""
            whole = pooled.get((class_id, method.name, "dice"))
            made = [
                *cells(CLASS_TITLES[class_id], method.name, str(row.mean.n)),
                notes.cell(spread(row.mean.value, row.sd, 3, row.mean.n), undefined),
                notes.cell(interval(row.mean, 3), row.mean.note if len(result.cases) >= FEW_CASES else ""),
                Cell("–" if whole is None else figure(whole.value, 3)),
            ]
            for key in (*_HEADLINE, "lesion_f1"):
                other = summary.get((class_id, method.name, key))
                if other is None:
                    made.append(Cell("–"))
                    continue
                left_out = f"Of {other.mean.n} patients: undefined where a mask is empty." if other.undefined else ""
                made.append(notes.cell(spread(other.mean.value, other.sd, FIGURES[key].digits, other.mean.n), left_out))
            rows.append(tuple(made))
    if not rows:
        return Section("results", "Results at a glance", ("No case could be evaluated.",))
    if not any(row[-1].text != "–" for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    caption = (
        f"Mean ± standard deviation over n patients, the mean's {100 * result.conventions.confidence:g} % bootstrap "
        "interval over patients, and beside it the Dice of all patients' voxels pooled. Every figure with its "
        "interval: section “Figures by class”."
    )
    paragraphs = (
        "Mean over patients and pooled figures answer different questions: the mean counts every patient alike, the "
        "pooled figure every voxel, so that patients with a high lesion load dominate it.",
    )
    return Section("results", "Results at a glance", paragraphs,
                   (Table(caption, columns, tuple(rows), notes.listed, 2),), figures)  # fmt: skip


def evaluated(result: EvaluationResult) -> Section:
    """Methods, patients, empty masks, and what could not be evaluated."""
    rows = tuple(
        cells(
            method.name,
            str(method.cases),
            str(method.probabilities),
            listed([CLASS_TITLES[c] for c in method.classes]) or "none",
            listed([CLASS_TITLES[c] for c in method.missing]) or "none",
            method.mapping or "FlairSeg's own",
        )
        for method in result.methods
    )
    columns = ("Method", "Patients", "With probabilities", "Classes", "Classes it does not know", "Label values")
    tables = [Table("Methods.", columns, rows, (), 99)]
    notes = Footnotes()
    listing = tuple(
        (
            notes.cell(c.case, *c.warnings),
            *cells(c.site or "–", c.disease or "–", " × ".join(str(n) for n in reversed(c.shape_kji)),
                   " × ".join(f"{mm:.2f}" for mm in c.spacing_mm)),
        )
        for c in result.cases[:LONGEST_LIST]
    )  # fmt: skip
    tables.append(
        Table("Patients.", ("Patient", "Site", "Disease", "Voxels I × J × K", "Spacing, mm"), listing,
              (*notes.listed, *rest(result.cases, LONGEST_LIST)), 3, folded=len(result.cases) > 12)
    )  # fmt: skip
    empty = [e for e in result.empty if e.both or e.reference_only or e.prediction_only]
    if empty:
        tables.append(
            Table(
                "Empty masks: patients in whom the class is absent on one side or on both.",
                ("Method", "Class", "Both empty", "Reference empty", "Prediction empty"),
                tuple(
                    cells(
                        e.method,
                        CLASS_TITLES[e.class_id],
                        *(_names(x) for x in (e.both, e.reference_only, e.prediction_only)),
                    )
                    for e in empty
                ),
                (),
                99,
            )
        )
    if result.refusals:
        refused = tuple(cells(r.case, r.method, r.message, r.advice) for r in result.refusals)
        tables.append(
            Table("Not evaluated.", ("Patient", "Method", "What happened", "What to do"), refused[:LONGEST_LIST],
                  rest(refused, LONGEST_LIST), 99)
        )  # fmt: skip
    return Section("evaluated", "What was evaluated", tuple(result.notes), tuple(tables))


def _names(names: Sequence[str], most: int = 8) -> str:
    if not names:
        return "–"
    told = f"{len(names)}: {', '.join(names[:most])}"
    return f"{told} and {len(names) - most} more" if len(names) > most else told


def conventions(result: EvaluationResult) -> Section:
    """Conventions as text, and the definition of each figure."""
    rows = tuple(cells(head, text) for head, text in result.conventions.sentences)
    explained = tuple(
        cells(heading(f.key), f.explanation, {"higher": "higher", "lower": "lower", "zero": "nearer to 0"}[f.better])
        for f in FIGURES.values()
        if f.explanation
    )
    tables = (
        *([Table("Conventions behind the numbers.", ("What", "How"), rows, (), 99)] if rows else []),
        Table("Figures, from true positives TP, false positives FP and false negatives FN.",
              ("Figure", "Meaning", "Better"), explained, (), 99),
    )  # fmt: skip
    return Section("conventions", "Conventions", (), tables)


def coverage(result: EvaluationResult) -> str:
    """``10 patients, 8 methods``, and how many could not be evaluated."""
    told = f"{counted(len(result.cases), 'patient')}, {counted(len(result.methods), 'method')}"
    return f"{told}; {counted(len(result.refusals), 'case')} not evaluated" if result.refusals else told


def share_with_probabilities(result: EvaluationResult) -> str:
    """Describe the number of cases with probabilities."""
    total = sum(m.cases for m in result.methods)
    return percent(sum(m.probabilities for m in result.methods) / total if total else None, 0)
