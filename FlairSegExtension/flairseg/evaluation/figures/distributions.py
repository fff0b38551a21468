"""Distributions over patients: means at a glance, and violin plots with every patient as a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...reporting.drawing import FAINT, GRID, TEXT, WIDTH, Figure, canvas, finished
from ...reporting.wording import counted, figure
from ..results import EvaluationResult
from ..terms import CLASS_TITLES, EVALUATED, FIGURES
from .methods import Look, looks, method_axis, method_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Figures of a violin plot, in the papers' order (source: S1).
VIOLINS = ("precision", "recall", "dice", "jaccard", "hd95_mm")
#: From this many patients on a density is more informative than points.
FEWEST_FOR_DENSITY = 8
#: More points than this are drawn as pixels.
_VECTOR_POINTS = 300
_LABEL = 22


def overview_figure(result: EvaluationResult) -> Figure | None:
    """Mean Dice of every method and class with its interval, the pooled Dice beside it."""
    means = {(r.class_id, r.method): r for r in result.summary if r.grouping == "all" and r.figure == "dice"}
    pooled = {(r.class_id, r.method): r.estimate for r in result.pooled if r.grouping == "all" and r.figure == "dice"}
    classes = [c for c in EVALUATED if any(key[0] == c and row.mean.defined for key, row in means.items())]
    names = [m.name for m in result.methods]
    if not classes:
        return None
    shown, labels = looks(names), method_labels(names, _LABEL)
    sheet = canvas(0.95 + 0.27 * len(names), WIDTH if len(classes) > 2 else 0.45 * WIDTH * len(classes) + 1.0)
    panels = sheet.subplots(1, len(classes), sharey=True, squeeze=False)[0]
    told = []
    for class_id, axes in zip(classes, panels, strict=True):
        for y, name in enumerate(names):
            row = means.get((class_id, name))
            if row is None or not row.mean.defined:
                axes.text(
                    0.02, y, "not segmented" if row is None else "undefined", va="center", fontsize=7, color=FAINT
                )
                continue
            look = shown[name]
            if row.mean.low is not None and row.mean.high is not None:
                axes.plot([row.mean.low, row.mean.high], [y, y], color=look.colour, lw=1.8, solid_capstyle="butt")
            axes.plot([row.mean.value], [y], look.marker, color=look.colour, ms=6, mec="white", mew=0.6)
            whole = pooled.get((class_id, name))
            if whole is not None and whole.defined:
                axes.plot([whole.value], [y], "|", color=look.colour, ms=11, mew=1.6)
            told.append(f"{CLASS_TITLES[class_id]}, {name}: {figure(row.mean.value)} (n = {row.mean.n})")
        axes.set_xlim(0, 1)
        axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.set_xticks(np.arange(0.1, 1.0, 0.1), minor=True)
        axes.set_title(CLASS_TITLES[class_id])
        axes.grid(axis="x", which="both", color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("Dice")
        method_axis(axes, names, labels)
    caption = (
        "Dice at a glance: mean over patients (symbol) with its 95 % bootstrap interval over patients (line), and the "
        "Dice of all patients' voxels pooled (upright stroke). Higher is better."
    )
    return finished(sheet, "overview", caption, "; ".join(told))


def violin_figures(result: EvaluationResult) -> list[Figure]:
    """Precision, recall, Dice, Jaccard and HD95 of each class: a violin per method, a point per patient (S1)."""
    made = []
    for class_id in EVALUATED:
        rows = [row for row in result.rows if row.class_id == class_id]
        if rows:
            made.append(_violins(result, class_id))
    return made


def _violins(result: EvaluationResult, class_id: str) -> Figure:
    rows = [row for row in result.rows if row.class_id == class_id]
    names = [m.name for m in result.methods if any(row.method == m.name for row in rows)]
    shown, labels = looks([m.name for m in result.methods]), method_labels(names, _LABEL)
    sheet = canvas(0.85 + 0.46 * len(names))
    panels = sheet.subplots(1, len(VIOLINS), sharey=True)
    smallest = math.inf
    for key, axes in zip(VIOLINS, panels, strict=True):
        what = FIGURES[key]
        groups = [np.array([getattr(r, key) for r in rows if r.method == name], dtype=float) for name in names]
        smallest = min(smallest, *(int(np.isfinite(g).sum()) for g in groups))
        violins(axes, groups, [shown[name] for name in names])
        if what.unit:
            axes.set_xlim(left=0)
        else:
            axes.set_xlim(-0.03, 1.03)
            axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.set_title(f"{what.title}, {what.unit}" if what.unit else what.title)
        method_axis(axes, names, labels)
    cases = len({row.case for row in rows})
    few = " A violin is drawn from eight defined patients on; below that, points only."
    caption = (
        f"{CLASS_TITLES[class_id]}: every patient as a point (n = {cases}), the median as a bar, the quartiles as a "
        f"thin line{', the density as a violin' if smallest >= FEWEST_FOR_DENSITY else ''}. Undefined figures are left "
        f"out; the tables count them.{few if smallest < FEWEST_FOR_DENSITY else ''}"
    )
    alt = "; ".join(
        f"{name}: median Dice {figure(_median([r.dice for r in rows if r.method == name]))} of "
        f"{counted(sum(r.method == name for r in rows), 'patient')}"
        for name in names
    )
    return finished(sheet, f"violins-{class_id}", caption, alt)


def _median(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return float(np.median(finite)) if finite else math.nan


def violins(axes: Axes, groups: Sequence[np.ndarray], shown: Sequence[Look]) -> None:
    """Sideways violins below each other: density (where there are enough values), points, quartiles, median.

    Parameters
    ----------
    axes : Axes
    groups : sequence of ndarray
        Values of each violin; NaN is left out.
    shown : sequence of Look
    """
    total = sum(len(group) for group in groups)
    generator = np.random.default_rng(0)
    for y, (group, look) in enumerate(zip(groups, shown, strict=True)):
        values = group[np.isfinite(group)]
        if not values.size:
            axes.text(0.02, y, "undefined", va="center", fontsize=7, color=FAINT, transform=axes.get_yaxis_transform())
            continue
        if values.size >= FEWEST_FOR_DENSITY and np.ptp(values) > 0:
            violin = axes.violinplot([values], [y], orientation="horizontal", widths=0.84, showextrema=False)
            bodies: Any = violin["bodies"]
            bodies[0].set(facecolor=look.colour, alpha=0.22, edgecolor=look.colour, linewidth=0.8)
        jitter = generator.uniform(-0.17, 0.17, values.size)
        axes.scatter(values, y + jitter, s=11 if total < 200 else 5, color=look.colour, alpha=0.7, lw=0,
                     rasterized=total > _VECTOR_POINTS)  # fmt: skip
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        axes.plot([low, high], [y, y], color=TEXT, lw=0.9, solid_capstyle="butt", zorder=3)
        axes.plot([middle, middle], [y - 0.27, y + 0.27], color=TEXT, lw=2.0, solid_capstyle="butt", zorder=3)
    axes.grid(axis="x", color=GRID, lw=0.6)
    axes.set_axisbelow(True)
