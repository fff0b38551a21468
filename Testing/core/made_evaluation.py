"""An evaluation made up of plausible numbers, of any size: what the report does with it, not what is computed."""

from __future__ import annotations

import math

import numpy as np
from flairseg.evaluation.results import (
    CaseArrays,
    CaseInfo,
    Conventions,
    EvaluationResult,
    MethodInfo,
    Refusal,
    TrainingLog,
)
from flairseg.evaluation.rows import (
    CaseRow,
    ConfusionMatrix,
    Curve,
    EmptyCases,
    GroupPair,
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
from flairseg.evaluation.terms import (
    CLASS_TITLES,
    COMPONENT_LABELS,
    EVALUATED,
    LESION_CLASSES,
    LESION_FIGURES,
    VOXEL_FIGURES,
    VOXEL_LABELS,
)
from flairseg.statistics.intervals import Estimate
from flairseg.statistics.reliability import bland_altman

from Testing.core.tiny import AXIAL, make_head

SLICE_FIGURES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
GROUPS = (("G1", 0.0, 0.2), ("G2", 0.2, 0.7), ("G3", 0.7, 2.0), ("G4", 2.0, 5.0), ("G5", 5.0, math.inf))
UNDEFINED = ("average_precision", "roc_auc")


def about(value: float, n: int, width: float = 0.05) -> Estimate:
    """An estimate with an interval where n allows one."""
    if not math.isfinite(value):
        return Estimate(None, n=n, note="Undefined.")
    return Estimate(value, value - width, value + width, n, "made") if n > 1 else Estimate(value, n=n, note="One case.")


def made_evaluation(
    cases=10, methods=("Method A", "Method B"), known=None, probabilities=True, logs=2, images=True, names=None
) -> EvaluationResult:
    """An evaluation of so many cases and methods.

    Parameters
    ----------
    cases : int
    methods : sequence of str
    known : mapping of str to tuple of str, optional
        Classes of a method; default all.
    probabilities : bool
    logs : int
        Training logs.
    images : bool
        Whether the overlays have a FLAIR beneath.
    names : sequence of str, optional
        Names of the cases.
    """
    rng = np.random.default_rng(3)
    names = list(names or (f"patient-{n:03d}" for n in range(cases)))
    known = {m: (known or {}).get(m, tuple(EVALUATED)) for m in methods}
    classes = [c for c in EVALUATED if any(c in known[m] for m in methods)]
    infos = tuple(
        CaseInfo(
            name, ("North", "South")[n % 2], "MS", (16, 88, 76), (2.5, 2.5, 8.0), ("A warning.",) if n == 1 else ()
        )
        for n, name in enumerate(names)
    )
    rows, lesion_rows = [], []
    loads = rng.gamma(2.0, 6.0, len(names))
    for m, method in enumerate(methods):
        for class_id in known[method]:
            for n, info in enumerate(infos):
                empty = class_id == "normal_wmh" and n == 2
                dice = float(np.clip(rng.normal(0.7 - 0.03 * m, 0.1), 0.05, 0.98))
                figures = {
                    "dice": dice, "jaccard": dice / (2 - dice), "precision": math.nan if empty else min(dice + 0.1, 1),
                    "recall": math.nan if empty else dice - 0.04, "hd95_mm": math.nan if empty else rng.gamma(3, 4),
                    "nsd": dice, "volume_error_ml": rng.normal(0, 2), "volume_error_percent": rng.normal(0, 20),
                    "average_precision": dice if probabilities else math.nan,
                    "roc_auc": 0.98 if probabilities else math.nan,
                }  # fmt: skip
                tp = int(1000 * dice)
                rows.append(
                    CaseRow(info.case, method, class_id, info.site, info.disease, tp, 300, 250, 90_000,
                            float(loads[n]), float(loads[n] * rng.normal(1 - 0.05 * m, 0.15)), **figures,
                            note="Both masks are empty." if empty else "")
                )  # fmt: skip
                if class_id in LESION_CLASSES:
                    lesion_rows.append(
                        LesionCaseRow(info.case, method, class_id, info.site, info.disease, 12, 10, 9, 8, 0.75, 0.8,
                                      dice, 0.5, 1.2)
                    )  # fmt: skip
    summary, pooled = [], []
    for class_id in classes:
        for method in (m for m in methods if class_id in known[m]):
            for figure in (*VOXEL_FIGURES, *(LESION_FIGURES if class_id in LESION_CLASSES else ())):
                source = rows if figure in VOXEL_FIGURES else lesion_rows
                for grouping, group in (("all", ""), ("site", "North"), ("site", "South")):
                    all_of = [getattr(r, figure.key) for r in source if (r.method, r.class_id) == (method, class_id)
                              and group in ("", r.site)]  # fmt: skip
                    values = np.array([v for v in all_of if math.isfinite(v)])
                    n = len(values)
                    q = np.quantile(values, (0.25, 0.5, 0.75)) if n else np.full(3, np.nan)
                    mean = float(values.mean()) if n else math.nan
                    summary.append(
                        SummaryRow(grouping, group, method, class_id, figure.key, about(mean, n),
                                   float(values.std(ddof=1)) if n > 1 else math.nan, float(q[1]), float(q[0]),
                                   float(q[2]), float(values.min()) if n else math.nan,
                                   float(values.max()) if n else math.nan, len(all_of) - n)
                    )  # fmt: skip
                if figure.key not in ("hd95_mm", "nsd", "volume_error_ml", "detection_error_ml", "outline_error_ml"):
                    value = math.nan if figure.key in UNDEFINED and not probabilities else 0.7
                    pooled.append(PooledRow("all", "", method, class_id, figure.key, about(value, len(names))))
    counts = np.array([[900_000, 300, 200, 400], [500, 20_000, 150, 40], [250, 90, 6000, 700], [300, 20, 800, 9000]])
    confusions = [ConfusionMatrix(m, "voxel", VOXEL_LABELS, counts) for m in methods]
    confusions += [
        ConfusionMatrix(m, "lesion", COMPONENT_LABELS, np.array([[0, 12, 30], [10, 40, 6], [22, 5, 70]]), "By overlap.")
        for m in methods
    ]
    x = np.linspace(0, 1, 400)
    curves, levels, slice_curves, groups, tests, agreements = [], [], [], [], [], []
    for m, method in enumerate(methods):
        for class_id in known[method]:
            if probabilities:
                drop = 6 - 0.4 * m
                for kind, y, area, point in (("pr", 1 - x**drop, 0.8 - 0.02 * m, (0.7, 0.75)),
                                             ("roc", x ** (0.03 + 0.01 * m), 0.97, (0.01, 0.8))):  # fmt: skip
                    found = about(area, len(names)), point, 10_000, 990_000, len(names)
                    curves.append(Curve(method, class_id, kind, x, y, x[::-1], *found))
            load = loads * rng.normal(1 - 0.04 * m, 0.1, len(names))
            agreements.append(
                LoadAgreement(method, class_id, tuple(names), loads, load, bland_altman(loads, load),
                              about(0.9, len(names)), 0.95, 0.3, about(0.88, len(names)))
            )  # fmt: skip
            if class_id not in LESION_CLASSES:
                continue
            found = {key: about(0.8, 200, 0.04) for key in SLICE_FIGURES}
            for negatives in ("balanced", "all"):
                levels.append(SliceLevel(method, class_id, negatives, 0.1, 90, 10, 70, 30, 150, found, found))
            thresholds = np.linspace(0, 1, 21)
            slice_curves.append(
                SliceCurve(method, class_id, "balanced", thresholds,
                           dict.fromkeys(SLICE_FIGURES, 0.95 - (0.3 + 0.05 * m) * thresholds))
            )  # fmt: skip
            for n, (name, low, high) in enumerate(GROUPS):
                values = {k: np.clip(rng.normal(0.55 + 0.07 * n, 0.15, 24 - 4 * n), 0, 1)
                          for k in ("dice", "recall", "precision")}  # fmt: skip
                medians = {k: about(float(np.median(v)), len(names)) for k, v in values.items()}
                groups.append(
                    VolumeGroup(method, class_id, name, low, high, 24 - 4 * n, min(len(names), 9), values, medians)
                )
            tests.append(
                GroupTests(method, class_id, "dice", {g[0]: (0.97, 0.2) for g in GROUPS}, (20.1, 0.0005),
                           (GroupPair("G1", "G5", 24, 8, 12.0, 0.0004, 0.004),), "")
            )  # fmt: skip
    paired = [
        PairedTest(key, class_id, a, b, about(-0.02, len(names)), -0.015, 20.0, 0.04, 0.12)
        for key in ("dice", "hd95_mm")
        for class_id in classes
        for i, a in enumerate(methods)
        for b in methods[i + 1 :]
        if class_id in known[a] and class_id in known[b]
    ]
    normal = [
        NormalAbnormalRow(m, level, "what both sides call WMH", 900, 200, 300, 700, *(about(0.7, len(names)),) * 4)
        for m in methods if {"normal_wmh", "lesion"} <= set(known[m]) for level in ("voxel", "lesion")
    ]  # fmt: skip
    steps = np.arange(1, 9) * 240.0
    training = tuple(
        TrainingLog(f"fold {n}", {"step": steps, "loss": 1.2 * np.exp(-steps / 700) + 0.1 + 0.02 * n,
                                  "dice_lesion": 0.7 - 0.5 * np.exp(-steps / 500), "dice_ventricles": steps * np.nan,
                                  "auc_pr_lesion": 0.75 - 0.5 * np.exp(-steps / 600)})
        for n in range(logs)
    )  # fmt: skip

    def arrays(case: str, method: str) -> CaseArrays:
        head, labels = make_head(orientation=AXIAL)
        prediction = np.roll(labels, 1 + methods.index(method), axis=2)
        return CaseArrays(labels, prediction, head.array.astype(np.float32) if images else None, head.ijk_to_ras)

    return EvaluationResult(
        Conventions(sentences=(("Lesions", "26-connected components."), ("Empty masks", "Both empty: Dice is 1."))),
        infos,
        tuple(
            MethodInfo(m, known[m], tuple(c for c in EVALUATED if c not in known[m]), "", len(names),
                       len(names) if probabilities else 0)
            for m in methods
        ),
        tuple(rows), tuple(lesion_rows), tuple(summary), tuple(pooled), tuple(confusions), tuple(normal), tuple(curves),
        tuple(levels), tuple(slice_curves), tuple(groups), tuple(tests), tuple(agreements), tuple(paired),
        (EmptyCases(methods[0], "normal_wmh", (names[2],), (), ()),) if len(names) > 2 else (),
        (Refusal("broken", methods[0], "The file cannot be read.", "Write it again."),),
        training, ("A note for the reader.",), {"flairseg": "1.0"}, "2026-01-01T00:00:00+00:00", arrays,
    )  # fmt: skip


assert set(CLASS_TITLES) == set(EVALUATED)
