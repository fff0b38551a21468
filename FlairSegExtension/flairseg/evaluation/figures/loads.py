"""Load (volume per patient) against the reference: scatter with R2, and Bland and Altman's plot (source: S5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...reporting.drawing import COLOURS, FAINT, GRID, Figure, canvas, finished
from ...reporting.wording import figure
from ..results import EvaluationResult
from ..rows import LoadAgreement
from ..terms import CLASS_TITLES, EVALUATED
from .methods import Look, column_label, looks, method_labels, portions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More points than this are drawn as pixels.
_VECTOR_POINTS = 300
#: Pairs below which neither R2 nor limits of agreement are drawn: two points always fall on a line.
FEWEST_PAIRS = 3


def load_figures(result: EvaluationResult) -> list[Figure]:
    """For each class: a column per method, scatter above, Bland-Altman below."""
    shown, made = looks([m.name for m in result.methods]), []
    for class_id in EVALUATED:
        of_class = [load for load in result.loads if load.class_id == class_id and len(load.reference_ml)]
        for number, some in enumerate(portions(of_class)):
            made.append(_loads(class_id, number, some, of_class, shown))
    return made


def _loads(
    class_id: str,
    number: int,
    loads: Sequence[LoadAgreement],
    of_class: Sequence[LoadAgreement],
    shown: dict[str, Look],
) -> Figure:
    labels = method_labels([load.method for load in loads], column_label(len(loads)))
    columns = len(loads)
    sheet = canvas(4.3, min(7.1, 0.6 + 2.15 * columns))
    panels = sheet.subplots(2, columns, squeeze=False)
    everything = np.concatenate([part for load in of_class for part in (load.reference_ml, load.predicted_ml)])
    most = 1.06 * max(float(np.nanmax(everything)), 1e-3)
    widest = max(_extent(load) for load in of_class)
    for load, column in zip(loads, panels.T, strict=True):
        look = shown[load.method]
        _scatter(column[0], load, look, most)
        _bland_altman(column[1], load, look, 1.08 * widest)
        column[0].set_title(labels[load.method], fontsize=8.5)
    panels[0][0].set_ylabel("method, ml")
    panels[1][0].set_ylabel("method − reference, ml")
    n = sorted({len(load.reference_ml) for load in loads})
    size = str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
    caption = (
        f"{CLASS_TITLES[class_id]}: volume per patient (n = {size}) against the reference, with the line of identity "
        "(dotted), the regression line and its R2; below, Bland and Altman's plot with bias (solid) and 95 % limits of "
        f"agreement (dashed), their intervals shaded. R2 and limits are drawn from {FEWEST_PAIRS} patients on."
    )
    alt = "; ".join(
        f"{load.method}: R2 {figure(load.r2.value)}, bias {figure(load.limits.bias.value)} ml" for load in loads
    )
    return finished(sheet, f"load-{class_id}-{number}", caption, alt)


def _extent(load: LoadAgreement) -> float:
    found = [1e-3, *np.abs(load.predicted_ml - load.reference_ml).tolist()]
    if len(load.reference_ml) >= FEWEST_PAIRS:
        found += [abs(part.value) for part in (load.limits.lower, load.limits.upper) if part.value is not None]
    return float(np.nanmax(found))


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, look: Look) -> None:
    many = len(x) > _VECTOR_POINTS
    axes.scatter(x, y, s=18, color=look.colour, alpha=0.75, lw=0, marker=look.marker, rasterized=many)


def _scatter(axes: Axes, load: LoadAgreement, look: Look, most: float) -> None:
    axes.plot([0, most], [0, most], color=FAINT, lw=0.8, ls=":")
    _points(axes, load.reference_ml, load.predicted_ml, look)
    if len(load.reference_ml) >= FEWEST_PAIRS and load.r2.defined and np.isfinite(load.slope):
        ends = np.array([float(np.min(load.reference_ml)), float(np.max(load.reference_ml))])
        axes.plot(ends, load.slope * ends + load.intercept, color=look.colour, lw=1.3)
        axes.text(0.04, 0.95, f"R2 = {figure(load.r2.value, 2)}", transform=axes.transAxes, va="top", fontsize=7.5)
    axes.set_xlim(0, most)
    axes.set_ylim(0, most)
    axes.set_aspect("equal")
    axes.set_xlabel("reference, ml")
    axes.grid(color=GRID, lw=0.6)
    axes.set_axisbelow(True)


def _bland_altman(axes: Axes, load: LoadAgreement, look: Look, extent: float) -> None:
    middle, difference = (load.reference_ml + load.predicted_ml) / 2, load.predicted_ml - load.reference_ml
    axes.axhline(0, color="#8a919c", lw=0.7)
    limits = load.limits
    if len(middle) >= FEWEST_PAIRS:
        for part, dash in ((limits.bias, "-"), (limits.lower, (0, (4, 3))), (limits.upper, (0, (4, 3)))):
            if part.low is not None and part.high is not None:
                axes.axhspan(part.low, part.high, color=COLOURS[4], alpha=0.13, lw=0)
            if part.value is not None:
                axes.axhline(part.value, color=FAINT, lw=1.2, ls=dash)
    _points(axes, middle, difference, look)
    axes.set_ylim(-1.1 * extent, 1.1 * extent)
    axes.set_xlim(left=0)
    if np.ptp(middle) == 0:
        axes.set_xlim(0, 2 * float(middle[0]) + 1)
    axes.set_xlabel("mean of both, ml")
    axes.grid(color=GRID, lw=0.6)
    axes.set_axisbelow(True)
