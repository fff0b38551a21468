"""Precision-recall and ROC curves with their areas, and slice-level figures as the overlap threshold moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...reporting.drawing import FAINT, GRID, Figure, canvas, finished
from ...reporting.wording import between, counted, figure
from ..results import EvaluationResult
from ..rows import Curve
from ..terms import CLASS_TITLES, EVALUATED
from .methods import looks, method_labels

_LABEL = 26
#: Points of a drawn curve: more cannot be distinguished in print, and make the report large.
_POINTS = 160
#: Slice-level figures, in the order of panels, with their titles (source: S2).
SLICE_FIGURES = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
}


def curve_figures(result: EvaluationResult) -> list[Figure]:
    """PR and ROC curves of each class side by side, voxels of all patients pooled (source: S1)."""
    made = []
    for class_id in EVALUATED:
        of_class = [curve for curve in result.curves if curve.class_id == class_id and len(curve.x)]
        if of_class:
            made.append(_curves(result, class_id, of_class))
    return made


def _curves(result: EvaluationResult, class_id: str, curves: Sequence[Curve]) -> Figure:
    names = [m.name for m in result.methods if any(c.method == m.name for c in curves)]
    shown, labels = looks([m.name for m in result.methods]), method_labels(names, _LABEL)
    sheet = canvas(3.05 + 0.16 * len(names))
    panels = dict(zip(("pr", "roc"), sheet.subplots(1, 2), strict=True))
    told = []
    for kind, axes in panels.items():
        for curve in (c for name in names for c in curves if c.method == name and c.kind == kind):
            look, x, y = shown[curve.method], *_thinned(curve)
            said = f"{labels[curve.method]}: {figure(curve.area.value, 3)}"
            if curve.area.low is not None:
                said += f" ({between(curve.area.low, curve.area.high, 3)})"
            style = {"color": look.colour, "ls": look.dash, "lw": 1.5, "label": said}
            if kind == "pr":
                axes.step(x, y, where="pre", **style)
            else:
                axes.plot(x, y, **style)
            if curve.operating_point is not None:
                axes.plot(*curve.operating_point, look.marker, color=look.colour, ms=6, mec="white", mew=0.7, zorder=4)
            told.append(f"{'AUC-PR' if kind == 'pr' else 'ROC AUC'} of {curve.method}: {figure(curve.area.value, 3)}")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
        axes.set_aspect("equal")
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
    base = max((c.positives / max(c.positives + c.negatives, 1) for c in curves), default=0.0)
    panels["pr"].axhline(base, color=FAINT, lw=0.8, ls=":")
    panels["pr"].set(title="Precision-recall", xlabel="recall", ylabel="precision")
    panels["roc"].plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
    panels["roc"].set(title="ROC", xlabel="false-positive rate", ylabel="true-positive rate")
    for kind, title in (("pr", "AUC-PR (95 % interval)"), ("roc", "ROC AUC (95 % interval)")):
        # Below the axes: ten methods would hide the curves.
        panels[kind].legend(title=title, loc="upper left", bbox_to_anchor=(0, -0.2), fontsize=7.5, title_fontsize=7.5,
                            borderaxespad=0, handlelength=2.4, alignment="left")  # fmt: skip
    cases = sorted({curve.cases for curve in curves})
    n = str(cases[0]) if len(cases) == 1 else f"{cases[0]} to {cases[-1]}, by method"
    caption = (
        f"{CLASS_TITLES[class_id]}: voxels of all patients with probabilities pooled (n = {n} patients). Symbols: the "
        f"label maps as they are. Dotted: chance, for precision the share of such voxels ({figure(100 * base, 2)} %). "
        "Voxels of air and skull count as negatives, which makes ROC areas of rare classes look high: judge by AUC-PR."
    )
    return finished(sheet, f"curves-{class_id}", caption, "; ".join(told))


def _thinned(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """At most :data:`_POINTS` points, evenly spaced along the drawn curve."""
    x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) <= _POINTS:
        return x, y
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    kept = np.searchsorted(along, np.linspace(0, along[-1], _POINTS - 1))
    kept = np.unique(np.concatenate([[0], kept, [len(x) - 1]]))
    return x[kept], y[kept]


def slice_figures(result: EvaluationResult) -> list[Figure]:
    """Accuracy, sensitivity, specificity, PPV and NPV of slices as the overlap threshold moves (source: S2)."""
    made = []
    for class_id in EVALUATED:
        of_class = [c for c in result.slice_curves if c.class_id == class_id and c.negatives == "balanced"]
        if not of_class:
            continue
        names = [m.name for m in result.methods if any(c.method == m.name for c in of_class)]
        shown, labels = looks([m.name for m in result.methods]), method_labels(names, _LABEL)
        sheet = canvas(1.9 + 0.14 * -(-len(names) // 3))
        panels = sheet.subplots(1, len(SLICE_FIGURES), sharey=True)
        for (key, title), axes in zip(SLICE_FIGURES.items(), panels, strict=True):
            for curve in (c for name in names for c in of_class if c.method == name):
                look = shown[curve.method]
                axes.plot(curve.thresholds, curve.figures[key], color=look.colour, ls=look.dash, lw=1.4,
                          label=labels[curve.method] if key == "accuracy" else None)  # fmt: skip
            axes.axvline(result.conventions.slice_overlap, color=FAINT, lw=0.8, ls=":")
            axes.set_title(title)
            axes.set_xlim(0, 1)
            axes.set_ylim(-0.02, 1.03)
            axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
            axes.grid(color=GRID, lw=0.6)
            axes.set_axisbelow(True)
        panels[len(panels) // 2].set_xlabel("share of the slice's reference that must be covered")
        handles = panels[0].get_legend_handles_labels()
        sheet.legend(*handles, loc="outside lower center", ncols=min(3, len(names)), handlelength=2.4)
        slices = {(c.tp + c.fn, c.tn + c.fp) for c in result.slice_levels
                  if c.class_id == class_id and c.negatives == "balanced"}  # fmt: skip
        told = "; ".join(f"{counted(a, 'positive slice')} and {counted(b, 'negative one')}" for a, b in sorted(slices))
        caption = (
            f"{CLASS_TITLES[class_id]}: slice-level figures as the overlap threshold moves, as many negative slices as "
            f"positive ones ({told}). Dotted: the threshold of the table "
            f"({figure(100 * result.conventions.slice_overlap, 0)} %)."
        )
        alt = "; ".join(
            f"{c.method}: sensitivity {figure(float(c.figures['sensitivity'][0]))} with any overlap, "
            f"{figure(float(c.figures['sensitivity'][-1]))} with all of it"
            for c in of_class
        )
        made.append(finished(sheet, f"slices-{class_id}", caption, alt))
    return made
