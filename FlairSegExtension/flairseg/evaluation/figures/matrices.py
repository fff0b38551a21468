"""Confusion matrices: voxels, lesions, and normal against abnormal hyperintensity, one row per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...image.geometry import triple
from ...labels import CLASSES
from ...reporting.drawing import FAINT, TEXT, Figure, canvas, finished
from ...reporting.wording import figure
from ..results import EvaluationResult
from ..terms import LESION_LEVEL, VOXEL_LEVEL
from .methods import method_labels, portions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NORMAL, _ABNORMAL = "Normal WMH", "Lesions"
#: Methods in one figure.
_ROWS = 3
_RGB = {c.short_name: c.rgb_unit for c in CLASSES}


def confusion_figures(result: EvaluationResult) -> list[Figure]:
    """Voxel, lesion and normal-against-abnormal matrices; shares of each row as shades, counts as numbers."""
    names = [m.name for m in result.methods if any(c.method == m.name for c in result.confusions)]
    if not names:
        return []
    labels, made = method_labels(names, 48), []
    for number, some in enumerate(portions(names, _ROWS)):
        rows = [[(title, *_content(result, name, title)) for title in ("voxels", "lesions", "normal-abnormal")]
                for name in some]  # fmt: skip
        kinds = [n for n in range(3) if any(row[n][1] is not None for row in rows)]
        sheet = canvas(0.1 + 2.35 * len(some))
        parts = sheet.subfigures(len(some), 1, squeeze=False)[:, 0]
        told = []
        for name, row, part in zip(some, rows, parts, strict=True):
            part.suptitle(labels[name], fontsize=9, fontweight="bold", x=0.005, ha="left")
            widths = [1.25, 1.05, 0.85]
            panels = part.subplots(1, len(kinds), squeeze=False, width_ratios=[widths[n] for n in kinds])[0]
            for n, axes in zip(kinds, panels, strict=True):
                title, counts, ticks, heading = row[n]
                if counts is None:
                    axes.set_axis_off()
                    continue
                matrix(axes, counts, ticks, heading)
                told.append(f"{name}, {title}: {counts.tolist()}")
        caption = (
            "Confusion matrices, all patients together: rows are the reference, columns the method. Numbers are "
            "counts, shades and percentages the share of the row. Voxels with background; lesions as connected "
            "components, “nothing” being what only one side drew; normal against abnormal WMH among what both sides "
            "call either."
        )
        made.append(finished(sheet, f"confusion-{number}", caption, "; ".join(told)))
    return made


def _content(result: EvaluationResult, method: str, kind: str) -> tuple[np.ndarray | None, Sequence[str], str]:
    """Counts, labels and heading of one matrix; None for counts that do not exist."""
    if kind == "normal-abnormal":
        rows = [r for r in result.normal_abnormal if r.method == method and r.level == VOXEL_LEVEL]
        if not rows:
            return None, (), ""
        row = rows[0]
        return np.array([[row.tn, row.fp], [row.fn, row.tp]]), (_NORMAL, _ABNORMAL), "Normal or abnormal"
    level = VOXEL_LEVEL if kind == "voxels" else LESION_LEVEL
    found = [c for c in result.confusions if c.method == method and c.level == level]
    if not found:
        return None, (), ""
    return np.asarray(found[0].counts), found[0].labels, "Voxels" if level == VOXEL_LEVEL else "Lesions"


def matrix(axes: Axes, counts: np.ndarray, ticks: Sequence[str], heading: str) -> None:
    """One confusion matrix, shape (reference, prediction); the ticks carry the colour of their class."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    impossible = heading == "Lesions"
    for row, column in np.ndindex(*counts.shape):
        if impossible and row == column == 0:
            axes.text(column, row, "–", ha="center", va="center", fontsize=7, color=FAINT)
            continue
        colour = "white" if shares[row, column] > 0.75 else TEXT
        axes.text(column, row - 0.13, short_count(int(counts[row, column])), ha="center", va="center", fontsize=7.2,
                  color=colour)  # fmt: skip
        if totals[row, 0]:
            axes.text(column, row + 0.22, f"{figure(100 * shares[row, column], 1)} %", ha="center", va="center",
                      fontsize=6, color=colour)  # fmt: skip
    shown = [_broken(t) for t in ticks]
    axes.set_xticks(range(len(ticks)), shown, fontsize=5.8)
    axes.set_yticks(range(len(ticks)), shown, fontsize=6.4)
    for tick, name in zip([*axes.get_xticklabels(), *axes.get_yticklabels()], [*ticks, *ticks], strict=True):
        rgb = _RGB.get(name)
        if rgb is not None:
            # Darker than the class's own colour, so that it can be read as text.
            tick.set_color(triple(0.72 * channel for channel in rgb))
            tick.set_fontweight("bold")
    axes.tick_params(length=0)
    axes.set_title(heading, fontsize=8, fontweight="normal")
    axes.set_xlabel("method", fontsize=7.5)
    axes.set_ylabel("reference", fontsize=7.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _broken(name: str) -> str:
    return name.replace(" ", "\n", 1)


def short_count(count: int) -> str:
    """``12``, ``3,210``, ``12.3 k``, ``4.56 M``."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1000:.1f} k" if count < 1_000_000 else f"{count / 1e6:.2f} M"
