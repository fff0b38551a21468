"""Figures of the page of a cohort: distributions, comparison of groups, lesion volume by age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..reporting.drawing import COLOURS, FAINT, GRID, TEXT, Figure, canvas, finished, label, style
from ..reporting.wording import counted, figure
from .measures import RESULTS, Measure, quality_measures, with_result
from .model import SessionRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Panels of a row, bins of a histogram, groups of a figure.
_ACROSS, _BINS, _MOST_GROUPS = 3, 24, 15
#: More points than this are drawn as pixels.
_VECTOR_POINTS = 300
#: Ticks of the scale log(1 + x).
_TICKS = np.array([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])


def distribution_figures(rows: Sequence[SessionRow]) -> list[Figure]:
    """Histograms of results and of image quality over all sessions that have a result."""
    done = with_result(rows)
    with style():
        made = [
            _histograms(done, RESULTS, "results", "Results of all sessions; the line marks the median. The scale is "
                        "log(1 + x), so that sessions without lesions are shown."),
            _histograms(done, quality_measures(done), "quality", "Image quality before segmentation of all sessions; "
                        "the line marks the median."),
        ]  # fmt: skip
    return [one for one in made if one is not None]


def _histograms(rows: Sequence[SessionRow], measures: Sequence[Measure], name: str, caption: str) -> Figure | None:
    known = [(measure, values[np.isfinite(values)]) for measure in measures for values in [measure.values(rows)]]
    known = [(measure, values) for measure, values in known if len(values)]
    if not known:
        return None
    down = -(-len(known) // _ACROSS)
    sheet = canvas(0.3 + 1.45 * down)
    panels = sheet.subplots(down, _ACROSS, squeeze=False).ravel()
    told = []
    for axes, (measure, values) in zip(panels, known, strict=False):
        _histogram(axes, measure, values)
        quartiles = [figure(float(q), measure.digits) for q in np.quantile(values, (0.5, 0.25, 0.75))]
        told.append(f"{measure.label}: median {quartiles[0]}, quartiles {quartiles[1]} and {quartiles[2]}")
    for axes in panels[len(known) :]:
        axes.set_visible(False)
    return finished(sheet, name, caption, "; ".join(told))


def _histogram(axes: Axes, measure: Measure, values: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    if measure.skewed:
        bins = np.expm1(np.linspace(np.log1p(values.min()), np.log1p(max(values.max(), values.min() + 0.5)), _BINS + 1))
        # Rounding must not put the least and the largest value outside of the outer bins.
        bins[0], bins[-1] = min(bins[0], values.min()), max(bins[-1], values.max())
    else:
        bins = np.histogram_bin_edges(values, _BINS)
    axes.hist(values, bins=bins.tolist(), color=COLOURS[5], edgecolor="white", linewidth=0.4)
    if measure.skewed:
        _log_scale(axes, float(values.max()), "x")
    axes.axvline(float(np.median(values)), color=TEXT, lw=1.1)
    axes.set_title(measure.label)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=GRID, lw=0.6)
    axes.set_axisbelow(True)


def _log_scale(axes: Axes, largest: float, which: str) -> None:
    """Set the scale log(1 + x) with readable ticks."""
    set_scale = axes.set_xscale if which == "x" else axes.set_yscale
    set_ticks = axes.set_xticks if which == "x" else axes.set_yticks
    set_scale("function", functions=(lambda x: np.log1p(np.maximum(x, -0.999)), np.expm1))
    ticks = _TICKS[: max(2, int(np.searchsorted(_TICKS, largest, "right")))]
    ticks = ticks if len(ticks) <= 7 else np.r_[0, ticks[1::2]]
    set_ticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def group_figure(groups: Mapping[str, Sequence[SessionRow]], by: str) -> Figure | None:
    """Lesion volume by group: a point per subject, median and quartiles."""
    measure = RESULTS[0]
    known = {name: values[np.isfinite(values)] for name, rows in groups.items() for values in [measure.values(rows)]}
    known = {name: values for name, values in list(known.items())[:_MOST_GROUPS] if len(values)}
    if len(known) < 2:
        return None
    rng = np.random.default_rng(0)
    with style():
        sheet = canvas(0.8 + 0.34 * len(known))
        axes = sheet.subplots()
        heights = np.repeat(np.arange(len(known)), [len(values) for values in known.values()])
        axes.scatter(
            np.concatenate(list(known.values())), heights + rng.uniform(-0.28, 0.28, len(heights)), s=5, alpha=0.45,
            c=[COLOURS[y % len(COLOURS)] for y in heights], linewidths=0, rasterized=len(heights) > _VECTOR_POINTS,
        )  # fmt: skip
        for y, values in enumerate(known.values()):
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
            axes.plot([low, high], [y, y], color=TEXT, lw=2, solid_capstyle="butt")
            axes.plot([middle], [y], "D", color=TEXT, ms=5, mec="white", mew=0.7)
        _log_scale(axes, max(float(values.max()) for values in known.values()), "x")
        axes.set_yticks(range(len(known)), [f"{label(name, 28)} (n = {len(v)})" for name, v in known.items()])
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"{measure.label}, scale log(1 + x)")
        axes.grid(axis="x", color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        more = len(groups) - len(known)
        caption = f"{measure.title} by {by}: a point for each subject, median (diamond) and quartiles (line)."
        if more:
            caption += f" {counted(more, by)} more without a value or smaller than those shown."
        told = "; ".join(f"{name}: median {figure(float(np.median(v)))} (n = {len(v)})" for name, v in known.items())
        return finished(sheet, f"by-{by}", caption, told)


def age_figure(rows: Sequence[SessionRow]) -> Figure | None:
    """Lesion volume by age, a point per subject."""
    measure = RESULTS[0]
    aged = [row for row in rows if row.session.age is not None]
    values, age = measure.values(aged), np.array([float(row.session.age or 0) for row in aged])
    known = np.isfinite(values) & np.isfinite(age)
    if not known.any():
        return None
    with style():
        sheet = canvas(2.7, 4.6)
        axes = sheet.subplots()
        axes.plot(
            age[known], values[known], "o", ms=3.2, color=COLOURS[0], alpha=0.6, mew=0,
            rasterized=int(known.sum()) > _VECTOR_POINTS,
        )  # fmt: skip
        _log_scale(axes, float(values[known].max()), "y")
        axes.set_xlabel("Age (years)")
        axes.set_ylabel(measure.label)
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(color=FAINT)
        caption = f"{measure.title} along age, {counted(int(known.sum()), 'subject')}; scale log(1 + x)."
        return finished(sheet, "age", caption, caption)
