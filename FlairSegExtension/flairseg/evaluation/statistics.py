"""Statistics over cases from the measures of single cases: rows, means, intervals, curves and tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..statistics.intervals import Estimate, over_cases
from .agreement import load_agreement, paired_tests
from .components import lesion_f1
from .curves import ScoreCounts, pooled, resampled_areas
from .measures import CaseMeasures
from .overlap import Overlap, ratio
from .resampling import (
    COSTLY_RESAMPLES,
    in_patients,
    mean_over_patients,
    patient_weights,
    percentile_interval,
    ratio_over_patients,
)
from .results import CaseInfo, Conventions
from .rows import (
    CaseRow,
    ConfusionMatrix,
    Curve,
    EmptyCases,
    GroupTests,
    LesionCaseRow,
    LoadAgreement,
    NormalAbnormalRow,
    PairedTest,
    PooledRow,
    SliceCurve,
    SliceLevel,
    SummaryRow,
    VolumeGroup,
)
from .slices import slice_level, volume_groups
from .terms import (
    COMPONENT_LABELS,
    EVALUATED,
    FIGURES,
    LESION_CLASSES,
    LESION_FIGURES,
    LESION_ID,
    LESION_LEVEL,
    NORMAL_WMH_ID,
    VOXEL_FIGURES,
    VOXEL_LABELS,
    VOXEL_LEVEL,
)

#: Metrics that need probabilities.
_FROM_SCORES = ("average_precision", "roc_auc")
#: Voxel-level metrics of pooled voxels: numerator and denominator from sums of TP, FP and FN.
_POOLED_VOXELS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "dice": lambda c: (2 * c[0], 2 * c[0] + c[1] + c[2]),
    "jaccard": lambda c: (c[0], c[0] + c[1] + c[2]),
    "precision": lambda c: (c[0], c[0] + c[1]),
    "recall": lambda c: (c[0], c[0] + c[2]),
    "volume_error_percent": lambda c: (100 * (c[1] - c[2]), c[0] + c[2]),
}
BOTH_CALL = "what reference and method both call WMH"
REFERENCE_CALLS = "what the reference calls WMH"
_RESAMPLED_LEVELS = "The interval is of the curve on 961 levels of score."


@dataclass
class Measured:
    """All measures of one method.

    Attributes
    ----------
    name : str
    cases : dict of str to CaseMeasures
        Without score counts, which are pooled in :attr:`scores`.
    classes : tuple of str
        Keys of :data:`~.terms.EVALUATED` that both method and reference contain.
    areas : dict of (str, str) to (float, float)
        (case, class) -> average precision and ROC AUC.
    levels : dict of str to dict of str to ndarray
        Class -> case -> counts on score levels.
    scores : dict of str to ScoreCounts
        Class -> voxels of all cases.
    """

    name: str
    cases: dict[str, CaseMeasures] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    areas: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    levels: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    scores: dict[str, ScoreCounts] = field(default_factory=dict)

    def add(self, case: str, measures: CaseMeasures) -> None:
        """Add a case; its scores are pooled."""
        for class_id, counts in measures.scores.items():
            self.areas[case, class_id] = counts.average_precision(), counts.roc_auc()
            self.levels.setdefault(class_id, {})[case] = counts.on_levels()
            before = [self.scores[class_id]] if class_id in self.scores else []
            self.scores[class_id] = pooled([*before, counts])
        self.cases[case] = CaseMeasures(**{**vars(measures), "scores": {}})


Groups = Sequence[tuple[str, str, frozenset[str]]]


def groups_of(cases: Sequence[CaseInfo]) -> Groups:
    """(grouping, group, cases) of all cases, and of each site and disease if there are at least two."""
    found = [("all", "", frozenset(c.case for c in cases))]
    for grouping in ("site", "disease"):
        names = sorted({getattr(c, grouping) for c in cases} - {""})
        if len(names) > 1:
            found += [
                (grouping, name, frozenset(c.case for c in cases if getattr(c, grouping) == name)) for name in names
            ]
    return found


# --- rows


def case_rows(method: Measured, infos: Mapping[str, CaseInfo]) -> list[CaseRow]:
    """Voxel-level metrics of every case and evaluated class."""
    rows = []
    for case, measures in method.cases.items():
        for class_id in method.classes:
            counts = measures.overlap(class_id)
            reference = (counts.tp + counts.fn) * measures.voxel_ml
            predicted = (counts.tp + counts.fp) * measures.voxel_ml
            hd95, nsd = measures.surfaces[class_id]
            area, roc = method.areas.get((case, class_id), (math.nan, math.nan))
            rows.append(
                CaseRow(
                    case,
                    method.name,
                    class_id,
                    infos[case].site,
                    infos[case].disease,
                    counts.tp,
                    counts.fp,
                    counts.fn,
                    counts.tn,
                    reference,
                    predicted,
                    counts.dice,
                    counts.jaccard,
                    counts.precision,
                    counts.recall,
                    hd95,
                    nsd,
                    predicted - reference,
                    100 * ratio(predicted - reference, reference),
                    area,
                    roc,
                    _emptiness(counts),
                )
            )
    return rows


def _emptiness(counts: Overlap) -> str:
    reference, prediction = counts.tp + counts.fn, counts.tp + counts.fp
    if not reference and not prediction:
        return "Reference and prediction are empty."
    if not reference:
        return "The reference is empty."
    return "" if prediction else "The prediction is empty."


def lesion_case_rows(method: Measured, infos: Mapping[str, CaseInfo]) -> list[LesionCaseRow]:
    """Lesion-level metrics of every case and evaluated class of lesions."""
    rows = []
    for case, measures in method.cases.items():
        for class_id in (c for c in method.classes if c in LESION_CLASSES):
            match = measures.lesions[class_id]
            rows.append(
                LesionCaseRow(
                    case,
                    method.name,
                    class_id,
                    infos[case].site,
                    infos[case].disease,
                    match.reference,
                    match.prediction,
                    match.found,
                    match.right,
                    match.recall,
                    match.precision,
                    match.f1,
                    match.detection_error_mm3 / 1000,
                    match.outline_error_mm3 / 1000,
                    _lesion_emptiness(match.reference, match.prediction),
                )
            )
    return rows


def _lesion_emptiness(reference: int, prediction: int) -> str:
    if not reference and not prediction:
        return "Neither side has a lesion."
    if not reference:
        return "The reference has no lesion."
    return "" if prediction else "The prediction has no lesion."


def empty_cases(method: Measured) -> list[EmptyCases]:
    """Cases in which an evaluated class is empty in one or both masks; only classes with such cases."""
    found = []
    for class_id in method.classes:
        empty: dict[tuple[bool, bool], list[str]] = {}
        for case, measures in method.cases.items():
            counts = measures.overlap(class_id)
            empty.setdefault((counts.tp + counts.fn == 0, counts.tp + counts.fp == 0), []).append(case)
        sides = [tuple(empty.get(key, ())) for key in ((True, True), (True, False), (False, True))]
        if any(sides):
            found.append(EmptyCases(method.name, class_id, *sides))
    return found


# --- over patients

_Row = CaseRow | LesionCaseRow


def _figures(rows: Sequence[CaseRow], lesion_rows: Sequence[LesionCaseRow]) -> Iterator[tuple[str, Sequence[_Row]]]:
    for figure in VOXEL_FIGURES:
        yield figure.key, rows
    for figure in LESION_FIGURES:
        yield figure.key, lesion_rows


def summary(
    method: Measured, rows: Sequence[CaseRow], lesion_rows: Sequence[LesionCaseRow], groups: Groups, seed: int
) -> list[SummaryRow]:
    """Mean with interval, standard deviation and quartiles of every metric over the patients of each group."""
    found = []
    for grouping, group, members in groups:
        for class_id in method.classes:
            for figure, source in _figures(rows, lesion_rows):
                values = np.array(
                    [getattr(row, figure) for row in source if row.class_id == class_id and row.case in members]
                )
                if values.size and not (figure in _FROM_SCORES and class_id not in method.scores):
                    found.append(_summary_row((grouping, group, method.name, class_id, figure), values, seed))
    return found


def _summary_row(what: tuple[str, str, str, str, str], values: np.ndarray, seed: int) -> SummaryRow:
    """Row of a grouping, group, method, class and metric (``what``)."""
    defined = values[np.isfinite(values)]
    mean = mean_over_patients(values, "/".join(("mean", *what)), seed)
    sd = float(defined.std(ddof=1)) if defined.size > 1 else math.nan
    known = defined if defined.size else [math.nan]
    least, low, median, high, most = (float(q) for q in np.percentile(known, (0, 25, 50, 75, 100)))
    undefined = int(values.size - defined.size)
    return SummaryRow(*what, mean, sd, median, low, high, least, most, undefined)


def pooled_rows(
    method: Measured, lesion_rows: Sequence[LesionCaseRow], curves: Sequence[Curve], groups: Groups, seed: int
) -> list[PooledRow]:
    """Metrics of the pooled voxels and lesions of the patients of each group."""
    found = []
    for grouping, group, members in groups:
        cases = [case for case in method.cases if case in members]
        if not cases:
            continue
        for class_id in method.classes:

            def row(
                figure: str, estimate: Estimate, class_id: str = class_id, where: tuple[str, str] = (grouping, group)
            ) -> None:
                found.append(PooledRow(where[0], where[1], method.name, class_id, figure, estimate))

            counts = np.array(
                [(o.tp, o.fp, o.fn) for o in (method.cases[case].overlap(class_id) for case in cases)], dtype=float
            ).T
            where = f"pooled/{grouping}/{group}/{method.name}/{class_id}"
            for figure, parts in _POOLED_VOXELS.items():
                row(figure, ratio_over_patients(*parts(counts), f"{where}/{figure}", seed))
            if grouping == "all":
                for curve in curves:
                    if curve.class_id == class_id:
                        row("average_precision" if curve.kind == "pr" else "roc_auc", curve.area)
            lesions = [r for r in lesion_rows if r.class_id == class_id and r.case in members]
            for figure, estimate in _pooled_lesions(lesions, where, seed):
                row(figure, estimate)
    return found


def _pooled_lesions(rows: Sequence[LesionCaseRow], where: str, seed: int) -> Iterator[tuple[str, Estimate]]:
    if not rows:
        return
    counts = np.array([(r.found, r.reference_lesions, r.right, r.predicted_lesions) for r in rows], dtype=float)
    yield "lesion_recall", ratio_over_patients(counts[:, 0], counts[:, 1], f"{where}/lesion_recall", seed)
    yield "lesion_precision", ratio_over_patients(counts[:, 2], counts[:, 3], f"{where}/lesion_precision", seed)
    f1 = np.vectorize(lesion_f1, otypes=[float])
    found = over_cases(counts, lambda s: f1(*np.moveaxis(s, -1, 0)), f"{where}/lesion_f1", seed)
    yield "lesion_f1", in_patients(found)


# --- confusion


def confusion_matrices(method: Measured) -> list[ConfusionMatrix]:
    """Confusion matrices of voxels and of components over all cases of a method."""
    voxels = np.sum([m.confusion for m in method.cases.values()], axis=0)
    components = np.sum([m.components for m in method.cases.values()], axis=0)
    note = (
        "Components of each class apart (26-connected). One of the reference goes to the class that marks most of its "
        "marked voxels (lesion in a tie); “nothing” holds predicted ones that share no voxel with WMH of the reference."
    )
    found = [ConfusionMatrix(method.name, VOXEL_LEVEL, VOXEL_LABELS, voxels)]
    if any(class_id in method.classes for class_id in (NORMAL_WMH_ID, LESION_ID)):
        found.append(ConfusionMatrix(method.name, LESION_LEVEL, COMPONENT_LABELS, components, note))
    return found


def normal_abnormal(method: Measured, seed: int) -> list[NormalAbnormalRow]:
    """Classification of normal and abnormal WMH (source: S1); empty unless both masks contain both classes."""
    if not {NORMAL_WMH_ID, LESION_ID} <= set(method.classes):
        return []
    found = []
    for level, rows in (
        (VOXEL_LEVEL, [m.confusion[2:] for m in method.cases.values()]),
        (LESION_LEVEL, [m.components[1:] for m in method.cases.values()]),
    ):
        # Rows: normal, abnormal. Columns: anything else, normal, abnormal.
        blocks = [np.column_stack([row[:, :-2].sum(axis=1), row[:, -2:]]) for row in rows]
        for population, first in ((BOTH_CALL, 1), (REFERENCE_CALLS, 0)):
            counts = np.array(
                [(b[1, 2], b[0, 2], b[1, first:2].sum(), b[0, first:2].sum()) for b in blocks], dtype=float
            )
            tp, fp, fn, tn = counts.T
            parts = {
                "sensitivity": (tp, tp + fn),
                "specificity": (tn, tn + fp),
                "precision": (tp, tp + fp),
                "dice": (2 * tp, 2 * tp + fp + fn),
            }
            found_of = {
                name: ratio_over_patients(*part, f"normal-abnormal/{level}/{first}/{method.name}/{name}", seed)
                for name, part in parts.items()
            }
            sums = [int(x) for x in counts.sum(axis=0)]
            found.append(
                NormalAbnormalRow(
                    method.name, level, population, sums[0], sums[1], sums[2], sums[3],
                    found_of["sensitivity"], found_of["specificity"], found_of["precision"], found_of["dice"],
                )
            )  # fmt: skip
    return found


# --- curves, slices, loads, pairs


def curves(method: Measured, seed: int) -> list[Curve]:
    """Precision-recall and ROC curves of every evaluated class with probabilities, from pooled voxels."""
    found = []
    for class_id in method.classes:
        if class_id not in method.scores:
            continue
        counts, levels = method.scores[class_id], method.levels[class_id]
        cases = list(levels)
        weights = patient_weights(len(cases), f"curves/{class_id}/{method.name}", seed, COSTLY_RESAMPLES)
        resampled = resampled_areas(np.stack([levels[case] for case in cases]), weights)
        labelled = [method.cases[case].overlap(class_id) for case in cases]
        total = sum(labelled[1:], labelled[0])
        note = _RESAMPLED_LEVELS + (" Scores were rounded to half precision." if counts.rounded else "")
        kinds: tuple[tuple[Literal["pr", "roc"], float, np.ndarray], ...] = (
            ("pr", counts.average_precision(), resampled[0]),
            ("roc", counts.roc_auc(), resampled[1]),
        )
        for kind, area, drawn in kinds:
            x, y, thresholds = counts.precision_recall_curve() if kind == "pr" else counts.roc_curve()
            point = (total.recall, total.precision) if kind == "pr" else (1 - total.specificity, total.recall)
            found.append(
                Curve(
                    method.name,
                    class_id,
                    kind,
                    x,
                    y,
                    thresholds,
                    percentile_interval(area, drawn, len(cases), note),
                    point if np.isfinite(point).all() else None,
                    counts.total_positives,
                    counts.total_negatives,
                    len(cases),
                )
            )
    return found


def slice_rows(method: Measured, conventions: Conventions) -> tuple[list[SliceLevel], list[SliceCurve]]:
    """Slice-level metrics of every evaluated class of lesions, with sampled and with all negative slices."""
    levels, moved = [], []
    for class_id in (c for c in method.classes if c in LESION_CLASSES):
        cases = {case: m.slices[class_id] for case, m in method.cases.items()}
        for negatives in ("balanced", "all"):
            level, curve = slice_level(
                method.name, class_id, cases, conventions.slice_overlap, conventions.seed, negatives
            )
            levels.append(level)
            moved.append(curve)
    return levels, moved


def group_rows(method: Measured, seed: int) -> tuple[list[VolumeGroup], list[GroupTests]]:
    """Volume groups of lesions and tests between them; see :func:`~.slices.volume_groups`."""
    if LESION_ID not in method.classes:
        return [], []
    return volume_groups(method.name, LESION_ID, {case: m.slices[LESION_ID] for case, m in method.cases.items()}, seed)


def loads(rows: Sequence[CaseRow], method: Measured, seed: int) -> list[LoadAgreement]:
    """Agreement of the volume per patient with the reference, for every evaluated class."""
    found = []
    for class_id in method.classes:
        own = [row for row in rows if row.class_id == class_id]
        found.append(
            load_agreement(
                method.name,
                class_id,
                [row.case for row in own],
                [row.reference_ml for row in own],
                [row.predicted_ml for row in own],
                seed,
            )
        )
    return found


def paired(
    rows: Sequence[CaseRow], lesion_rows: Sequence[LesionCaseRow], methods: Sequence[str], seed: int
) -> list[PairedTest]:
    """Paired tests of every metric between every pair of methods; of volume errors, absolute values are compared."""
    values: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for figure, source in _figures(rows, lesion_rows):
        for row in source:
            value = getattr(row, figure)
            value = abs(value) if FIGURES[figure].better == "zero" else value
            values.setdefault((figure, row.class_id), {}).setdefault(row.method, {})[row.case] = value
    several = {
        key: by_method
        for key, by_method in values.items()
        if len(by_method) > 1 and any(math.isfinite(v) for column in by_method.values() for v in column.values())
    }
    order = {class_id: n for n, class_id in enumerate(EVALUATED)}
    keys = sorted(several, key=lambda key: (list(FIGURES).index(key[0]), order[key[1]]))
    return paired_tests({key: several[key] for key in keys}, methods, seed)
