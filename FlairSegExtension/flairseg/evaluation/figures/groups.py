"""Dice, sensitivity and precision of slices by the lesion volume in them (source: S4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...reporting.drawing import FAINT, GRID, TEXT, Figure, canvas, finished
from ...reporting.wording import counted, figure
from ..results import EvaluationResult
from ..rows import VolumeGroup
from ..terms import CLASS_TITLES, EVALUATED
from .distributions import FEWEST_FOR_DENSITY
from .methods import Look, column_label, looks, method_labels, portions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Figures of a group, with their titles; S4 calls recall sensitivity.
GROUP_FIGURES = {"dice": "Dice", "recall": "sensitivity", "precision": "precision"}
_VECTOR_POINTS = 300


def group_figures(result: EvaluationResult) -> list[Figure]:
    """For each class: a column per method, a row per figure, a box per volume group."""
    shown, made = looks([m.name for m in result.methods]), []
    for class_id in EVALUATED:
        of_class = [g for g in result.volume_groups if g.class_id == class_id]
        names = [m.name for m in result.methods if any(g.method == m.name and g.slices for g in of_class)]
        for number, some in enumerate(portions(names)):
            made.append(_groups(class_id, number, some, of_class, shown))
    return made


def group_range(group: VolumeGroup) -> str:
    """``< 0.2``, ``0.2-0.7``, ``≥ 5``."""
    if group.low_ml <= 0:
        return f"< {group.high_ml:g}"
    return f"≥ {group.low_ml:g}" if np.isinf(group.high_ml) else f"{group.low_ml:g}–{group.high_ml:g}"


def _groups(
    class_id: str, number: int, names: Sequence[str], groups: Sequence[VolumeGroup], shown: dict[str, Look]
) -> Figure:
    labels = method_labels(names, column_label(len(names)))
    sheet = canvas(4.9, min(7.1, 1.3 + 2.2 * len(names)))
    panels = sheet.subplots(len(GROUP_FIGURES), len(names), squeeze=False, sharex="col", sharey=True)
    generator = np.random.default_rng(0)
    for name, column in zip(names, panels.T, strict=True):
        of_method = [g for g in groups if g.method == name]
        for (key, title), axes in zip(GROUP_FIGURES.items(), column, strict=True):
            for x, group in enumerate(of_method):
                values = np.asarray(group.values[key], dtype=float)
                values = values[np.isfinite(values)]
                if values.size:
                    axes.scatter(x + generator.uniform(-0.24, 0.24, values.size), values, s=7, alpha=0.45, lw=0,
                                 color=shown[name].colour, rasterized=values.size > _VECTOR_POINTS)  # fmt: skip
                    _box(axes, x, values)
            axes.set_ylim(-0.03, 1.03)
            axes.grid(axis="y", color=GRID, lw=0.6)
            axes.set_axisbelow(True)
            if axes is panels[list(GROUP_FIGURES).index(key)][0]:
                axes.set_ylabel(title)
        column[0].set_title(labels[name], fontsize=8.5)
        ticks = [f"{g.name}\n{group_range(g)}\n({g.slices})" for g in of_method]
        column[-1].set_xticks(range(len(of_method)), ticks, fontsize=6.6)
        column[-1].set_xlim(-0.6, len(of_method) - 0.4)
    sheet.supxlabel("reference volume in the slice, ml (number of slices)", fontsize=8.5)
    some = [g for g in groups if g.method in names]
    cases = max((g.cases for g in some), default=0)
    slices = sum(g.slices for g in some if g.method == names[0])
    caption = (
        f"{CLASS_TITLES[class_id]}: every slice with reference lesions as a point ({counted(slices, 'slice')} of up to "
        f"{counted(cases, 'patient')} a group), median (bar) and, from {FEWEST_FOR_DENSITY} slices on, quartiles "
        "(box), by the reference volume in the slice. Slices of one patient are not independent of each other."
    )
    alt = "; ".join(
        f"{name}: median Dice "
        + ", ".join(f"{g.name} {figure(g.medians['dice'].value)}" for g in some if g.method == name and g.slices)
        for name in names
    )
    return finished(sheet, f"groups-{class_id}-{number}", caption, alt)


def _box(axes: Axes, x: int, values: np.ndarray) -> None:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    if values.size >= FEWEST_FOR_DENSITY:
        axes.bar(x, high - low, bottom=low, width=0.62, fill=False, ec=FAINT, lw=0.9, zorder=3)
    axes.plot([x - 0.31, x + 0.31], [middle, middle], color=TEXT, lw=1.8, solid_capstyle="butt", zorder=3)
