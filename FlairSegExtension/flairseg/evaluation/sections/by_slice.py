"""Slices found or not (source: S2), and slices by the lesion volume in them (source: S4)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...reporting.drawing import Figure, Picture
from ...reporting.layout import Cell, Footnotes, Section, Table, cells, rest
from ...reporting.wording import UNDEFINED, figure, p_value
from ..figures.curves import SLICE_FIGURES
from ..figures.groups import GROUP_FIGURES, group_range
from ..results import EvaluationResult
from ..terms import CLASS_TITLES
from .phrases import LONGEST_LIST, classes, share, with_interval


def slice_level(result: EvaluationResult, figures: tuple[Figure | Picture, ...]) -> Section:
    """Slices right and wrong, with both kinds of interval, and the threshold curve (source: S2)."""
    tables = []
    for class_id in classes(result):
        notes, rows = Footnotes(), []
        for level in (s for s in result.slice_levels if s.class_id == class_id):
            rows.append(
                (
                    notes.cell(level.method, level.note),
                    Cell({"balanced": "as many as positive", "all": "all"}[level.negatives]),
                    *cells(*(str(n) for n in (level.tp, level.fn, level.tn, level.fp))),
                    *cells(*(share(level.figures[key]) for key in SLICE_FIGURES)),
                )
            )
        if rows:
            columns = ("Method", "Negatives", "TP", "FN", "TN", "FP", *(f"{t}, %" for t in SLICE_FIGURES.values()))
            tables.append(
                Table(
                    f"{CLASS_TITLES[class_id]}: slices, with 95 % Wilson intervals.",
                    columns,
                    tuple(rows),
                    notes.listed,
                    2,
                )
            )
            clustered = tuple(
                cells(s.method, {"balanced": "as many as positive", "all": "all"}[s.negatives],
                      *(share(s.clustered[key]) for key in SLICE_FIGURES))
                for s in result.slice_levels
                if s.class_id == class_id and s.clustered
            )  # fmt: skip
            if clustered:
                tables.append(
                    Table(f"{CLASS_TITLES[class_id]}: the same with 95 % bootstrap intervals over patients.",
                          ("Method", "Negatives", *(f"{t}, %" for t in SLICE_FIGURES.values())), clustered, (), 2)
                )  # fmt: skip
    text = (
        f"A slice with reference is correct if at least {figure(100 * result.conventions.slice_overlap, 0)} % of it is "
        "covered, a slice without if nothing was predicted in it (S2, by its definitions). Wilson intervals treat "
        "slices as independent, as the paper does; slices of one patient are not, so quote the bootstrap over "
        "patients.",
    )
    return Section("slices", "Slice level", text if tables else (), tuple(tables), figures)


def volume_groups(result: EvaluationResult, figures: tuple[Figure | Picture, ...]) -> Section:
    """Medians by lesion volume in the slice, and their tests (source: S4)."""
    tables = []
    for class_id in classes(result):
        groups = [g for g in result.volume_groups if g.class_id == class_id and g.slices]
        if groups:
            rows = tuple(
                cells(g.method, g.name, group_range(g), str(g.slices), str(g.cases),
                      *(with_interval(g.medians.get(key), 2) for key in GROUP_FIGURES))
                for g in groups
            )  # fmt: skip
            columns = (
                "Method",
                "Group",
                "ml in the slice",
                "Slices",
                "Patients",
                *(f"Median {t}" for t in GROUP_FIGURES.values()),
            )
            tables.append(
                Table(f"{CLASS_TITLES[class_id]}: slices by their reference volume, medians with 95 % bootstrap "
                      "intervals over patients.", columns, rows, (), 2)
            )  # fmt: skip
            tables += _group_tests(result, class_id)
    return Section("groups", "Volume groups", (), tuple(tables), figures)


def _group_tests(result: EvaluationResult, class_id: str) -> list[Table]:
    tests = [t for t in result.group_tests if t.class_id == class_id]
    groups = {(g.method, g.name): g for g in result.volume_groups if g.class_id == class_id}
    notes, rows, pairs = Footnotes(), [], []
    for test in tests:
        title = GROUP_FIGURES.get(test.figure, test.figure).capitalize()
        sizes = {name: _count(g.values[test.figure]) for (method, name), g in groups.items() if method == test.method}
        normal = [f"{name} {p_value(p)} (n = {sizes.get(name, 0)})" for name, (_, p) in test.shapiro.items() if p == p]
        rows.append(
            (
                notes.cell(test.method, test.note),
                *cells(title, str(sum(sizes.values())), "; ".join(normal) or UNDEFINED),
                *cells(figure(test.kruskal[0], 1), p_value(test.kruskal[1])),
            )
        )
        for pair in (p for p in test.pairs if math.isfinite(p.p)):
            compared = cells(f"{pair.first} against {pair.second}", f"{pair.n_first} and {pair.n_second}")
            found = cells(figure(pair.u, 1), p_value(pair.p), p_value(pair.p_bonferroni))
            pairs.append((*cells(test.method, title), *compared, *found))
    made = []
    if rows:
        caption = (
            f"{CLASS_TITLES[class_id]}: Shapiro-Wilk p of each group, Kruskal-Wallis over the groups (S4). Slices "
            "count as independent, as in the paper, so p is too small."
        )
        columns = ("Method", "Figure", "n slices", "Shapiro-Wilk p", "Kruskal-Wallis H", "p")
        made.append(Table(caption, columns, tuple(rows), notes.listed, 2))
    if pairs:
        caption = f"{CLASS_TITLES[class_id]}: Mann-Whitney between groups, p adjusted after Bonferroni."
        heads = ("Method", "Figure", "Groups", "n slices", "U", "p", "p (Bonferroni)")
        shown = tuple(pairs[:LONGEST_LIST])
        made.append(Table(caption, heads, shown, rest(pairs, LONGEST_LIST), 3, folded=len(pairs) > 12))
    return made


def _count(values: Iterable[float]) -> int:
    return sum(math.isfinite(value) for value in values)
