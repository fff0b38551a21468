"""The report's figures: SVG drawn by matplotlib, each with a caption and a description.

Matplotlib's figure objects are used directly, without pyplot: no window, no global state, and any thread may draw.
Names of raters, arms and questions are untrusted; they are not interpreted as mathematics or markup.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...reporting.drawing import COLOURS, FAINT, GRID, TEXT, WIDTH, Figure, canvas, cycle, finished, label, style
from ...statistics.intervals import Estimate
from ..records import FALSE_NEGATIVE, FALSE_POSITIVE
from .agreement import AC1, AC2, COHEN, FLEISS, PERCENT, WEIGHTED
from .lesions import MapPoint
from .rates import RateRow
from .results import ALL_ARMS, BETWEEN_ARMS, INTER, INTRA, RULE, AgreementRow, LimitsRow, Results
from .tidy import ALL_RATERS, ORDERED, Question, RatingTable
from .timing import order_of
from .wording import counted, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ERROR_COLOURS = {FALSE_POSITIVE: COLOURS[1], FALSE_NEGATIVE: COLOURS[0]}
_ERROR_MARKERS = {FALSE_POSITIVE: "x", FALSE_NEGATIVE: "o"}
_SCHEMATIC = Path(__file__).with_name("schematic_head.json")
#: Projection -> (axis across, axis up, letters left, right, bottom, top); radiological: the patient's right is left.
_VIEWS = {
    "axial": (0, 1, "RLPA"),
    "coronal": (0, 2, "RLIS"),
    "sagittal": (1, 2, "APIS"),
}
_OUTLINES: dict[str, dict[str, Any]] = {
    "brain": {"fc": "#f2f4f7", "ec": "#9aa2ad", "lw": 1.1},
    "inside": {"fc": "#dfe4ea", "lw": 0},
}
#: More marks than this are drawn as pixels: thousands of them would make the report slow to open.
_VECTOR_MARKS = 400
_VECTOR_POINTS = 1500


def draw_figures(results: Results) -> list[Figure]:
    """Every figure that the data allow, in the order of the report."""
    with style():
        made = [
            _acceptance(results),
            _agreement(results),
            *_scales(results.table),
            *_bland_altman(results),
            _times(results),
            _learning(results),
            _error_map(results),
        ]
    return [one for one in made if one is not None]


def _bars(axes: Axes, rows: Sequence[tuple[str, Estimate, str, str]], xlabel: str, limits: tuple[float, float]) -> None:
    """Points with intervals below each other: (label, estimate, colour, marker), first row on top."""
    for y, (_, estimate, colour, marker) in enumerate(rows):
        if estimate.value is None:
            axes.text(limits[0], y, " not defined, see the table", va="center", fontsize=7.5, color=FAINT)
            continue
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [y, y], color=colour, lw=1.6, solid_capstyle="butt")
        axes.plot([estimate.value], [y], marker, color=colour, ms=5.5, mec="white", mew=0.6)
    axes.set_yticks(range(len(rows)), [label(row[0], 48) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*limits)
    axes.set_xlabel(xlabel)
    axes.grid(axis="x", color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _acceptance(results: Results) -> Figure | None:
    question = results.table.primary
    if question is None:
        return None
    rows = [row for row in results.rates if row.question == question.id]
    if not rows:
        return None
    colours = dict(zip(results.table.arms, cycle(len(results.table.arms)), strict=True))
    sheet = canvas(0.75 + 0.27 * len(rows))
    axes = sheet.subplots()
    many = len(results.table.arms) > 1
    lines = [(_rate_label(row, many), row.wilson, colours[row.arm], _rate_marker(row)) for row in rows]
    low = min([row.wilson.low for row in rows if row.wilson.low is not None], default=0.0)
    start = max(0.0, math.floor(10 * low - 0.5) / 10)
    scaled = [(name, _times_hundred(e), c, m) for name, e, c, m in lines]
    _bars(axes, scaled, f"{question.categories[1]} (%)", (100 * start, 101))
    caption = (
        f"Share answered “{question.categories[1]}” to “{question.name}”, with 95 % Wilson intervals. Circles: "
        "showings of one rater; diamonds: all raters; squares: one verdict per case."
    )
    alt = "; ".join(f"{name}: {figure(e.value and 100 * e.value, 1)} %" for name, e, _, _ in lines)
    return finished(sheet, "acceptance", caption, alt)


def _rate_label(row: RateRow, arms: bool) -> str:
    who = row.rater if row.unit == "showing" else f"case: {row.rater}"
    return f"{label(row.arm, 18)} · {label(who, 30)}" if arms and row.arm else who


def _rate_marker(row: RateRow) -> str:
    return "s" if row.unit == "case" else "D" if row.rater == ALL_RATERS else "o"


def _times_hundred(e: Estimate) -> Estimate:
    value, low, high = (None if x is None else 100 * x for x in (e.value, e.low, e.high))
    return Estimate(value, low, high, n=e.n)


def _agreement(results: Results) -> Figure | None:
    question = results.table.primary
    if question is None:
        return None
    many = len(results.table.arms) > 1
    rows = [
        row
        for row in results.agreement
        if row.question == question.id
        and row.scope in (INTRA, INTER, RULE)
        and not (many and row.arm != ALL_ARMS)
        and (row.scope != INTER or row.showing == "1st")
        and row.coefficient in (PERCENT, COHEN, FLEISS, AC1)
    ]
    # With two raters Fleiss' kappa nearly equals Cohen's.
    rows = [row for row in rows if row.coefficient != FLEISS or not _has_cohen(row, rows)]
    if not rows:
        return None
    colours = {PERCENT: FAINT, COHEN: COLOURS[0], FLEISS: COLOURS[0], AC1: COLOURS[1]}
    lines = [(f"{_scope_label(row)}: {row.coefficient}", row.estimate, colours[row.coefficient], "o") for row in rows]
    sheet = canvas(0.7 + 0.215 * len(lines))
    axes = sheet.subplots()
    low = min([e.low for _, e, _, _ in lines if e.low is not None], default=0.0)
    _bars(axes, lines, "agreement (1 = perfect, 0 = as by chance for the coefficients)", (min(0.0, low - 0.05), 1.02))
    axes.set_yticks(range(len(lines)), [label(name, 60) for name, *_ in lines])
    for y in range(1, len(lines)):
        if _scope_label(rows[y]) != _scope_label(rows[y - 1]):
            axes.axhline(y - 0.5, color=GRID, lw=0.8)
    arms = " over all arms" if many else ""
    caption = (
        f"Agreement on “{question.name}”{arms}, with 95 % intervals. Gwet's AC1 remains meaningful when almost all "
        "answers are alike; kappa does not (the kappa paradox)."
    )
    alt = "; ".join(f"{name} {figure(e.value)}" for name, e, _, _ in lines)
    return finished(sheet, "agreement", caption, alt)


def _has_cohen(row: AgreementRow, rows: Sequence[AgreementRow]) -> bool:
    return any(r.coefficient == COHEN and (r.scope, r.raters, r.arm) == (row.scope, row.raters, row.arm) for r in rows)


def _scope_label(row: AgreementRow) -> str:
    said = {INTRA: f"{row.raters} with self", INTER: row.raters, RULE: f"{row.raters} with rule"}
    return label(said[row.scope], 40)


def _scales(table: RatingTable) -> list[Figure]:
    """Answers on Likert scales, stacked to 100 % per arm and rater."""
    made = []
    for question in table.of_kind(ORDERED):
        answers = table.answers[(table.answers["question"] == question.id) & table.answers["value"].notna()]
        groups = [(a, r) for a in table.arms for r in table.raters]
        counts = {
            group: np.array(
                [((answers["arm"] == group[0]) & (answers["rater"] == group[1]) & (answers["value"] == c)).sum()
                 for c in question.categories], dtype=float
            )
            for group in groups
        }  # fmt: skip
        counts = {group: n for group, n in counts.items() if n.sum()}
        if counts:
            made.append(_scale(question, counts, len(table.arms) > 1))
    return made


def _scale(question: Question, counts: dict[tuple[str, str], np.ndarray], arms: bool) -> Figure:
    from matplotlib import colormaps

    shades = colormaps["cividis"](np.linspace(0.05, 0.98, len(question.categories)))
    sheet = canvas(0.95 + 0.3 * len(counts))
    axes = sheet.subplots()
    for y, n in enumerate(counts.values()):
        shares = 100 * n / n.sum()
        starts = np.concatenate([[0], np.cumsum(shares)[:-1]])
        for category, share, start, shade in zip(question.categories, shares, starts, shades, strict=True):
            name = str(category) if y == 0 else None
            axes.barh(y, share, left=start, color=shade, height=0.68, ec="white", lw=0.7, label=name)
            if share >= 6:
                dark = np.dot(shade[:3], (0.299, 0.587, 0.114)) < 0.5
                tint = "white" if dark else TEXT
                axes.text(start + share / 2, y, f"{share:.0f}", ha="center", va="center", fontsize=7.5, color=tint)
    names = [f"{label(a, 20)} · {label(r, 20)}" if arms and a else label(r) for a, r in counts]
    axes.set_yticks(range(len(counts)), names)
    axes.set_ylim(len(counts) - 0.45, -0.55)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of answers")
    axes.tick_params(axis="y", length=0)
    handles = axes.get_legend_handles_labels()
    sheet.legend(*handles, loc="outside upper center", ncols=min(11, len(shades)), handlelength=1)
    alt = "; ".join(
        f"{name}: " + ", ".join(f"{c}: {int(k)}" for c, k in zip(question.categories, n, strict=True))
        for name, n in zip(names, counts.values(), strict=True)
    )
    return finished(sheet, f"scale-{question.id}", f"Answers to “{question.name}”, 1 lowest, per cent.", alt)


def _bland_altman(results: Results) -> list[Figure]:
    """Difference against mean of false-positive and false-negative counts, numbers entered, and arms' volumes."""
    made = []
    rows = [row for row in results.limits if row.limits.n >= 2]
    variables = dict.fromkeys(row.variable for row in rows)
    for variable in variables:
        of_variable = [row for row in rows if row.variable == variable and (row.scope != INTER or _is_first(row, rows))]
        made.append(_bland_altman_panels(variable, of_variable[:8], len(results.table.arms) > 1))
    return made


def _is_first(row: LimitsRow, rows: Sequence[LimitsRow]) -> bool:
    """Whether this is the first showing's row of its pair of raters."""
    same = [r for r in rows if (r.scope, r.variable, r.arm, r.raters) == (row.scope, row.variable, row.arm, row.raters)]
    return same[0] is row


def _bland_altman_panels(variable: str, rows: Sequence[LimitsRow], arms: bool) -> Figure:
    from matplotlib.ticker import MaxNLocator

    columns = min(3, len(rows))
    lines = math.ceil(len(rows) / columns)
    sheet = canvas(0.25 + 2.05 * lines, WIDTH if columns == 3 else WIDTH * (0.62 if columns == 1 else 0.86))
    panels = sheet.subplots(lines, columns, squeeze=False)
    extent = max([abs(b - a) for row in rows for a, b in zip(row.first, row.second, strict=True)] + [1.0])
    extent = max(extent, *(abs(x) for row in rows for x in (row.limits.lower.low or 0.0, row.limits.upper.high or 0.0)))
    for n, axes in enumerate(panels.flat):
        if n >= len(rows):
            axes.set_visible(False)
            continue
        row = rows[n]
        first, second = np.array(row.first), np.array(row.second)
        _sized_points(axes, (first + second) / 2, second - first)
        axes.axhline(0, color="#8a919c", lw=0.7)
        for part, dashes in ((row.limits.bias, (None, None)), (row.limits.lower, (4, 3)), (row.limits.upper, (4, 3))):
            if part.low is not None and part.high is not None:
                axes.axhspan(part.low, part.high, color=COLOURS[1], alpha=0.11, lw=0)
            axes.axhline(part.value, color=COLOURS[1], lw=1.2, dashes=dashes)
        axes.set_ylim(-1.12 * extent, 1.12 * extent)
        if np.ptp(first + second) == 0:
            # Common limits: automatic ones would have ticks of thousandths.
            middle = float(first[0] + second[0]) / 2
            axes.set_xlim(middle - 1, middle + 1)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        who = row.arm if row.scope == BETWEEN_ARMS else row.raters + (" (1st, 2nd)" if row.scope == INTRA else "")
        title = label(who, 30) if not arms or row.scope == BETWEEN_ARMS else f"{label(who, 24)}\n{label(row.arm, 30)}"
        axes.set_title(title, fontsize=8)
        unit = f" ({row.unit})" if row.unit else ""
        if n % columns == 0:
            axes.set_ylabel(f"difference{unit}")
        if n >= len(rows) - columns:
            axes.set_xlabel(f"mean{unit}")
    caption = (
        f"Bland–Altman plots of {_lower(variable)} (second minus first): bias (solid) and 95 % limits of agreement "
        "(dashed) with their 95 % intervals (shaded). Larger points stand for several showings."
    )
    alt = "; ".join(
        f"{row.arm} {row.raters}: bias {figure(row.limits.bias.value)}, limits {figure(row.limits.lower.value)} to "
        f"{figure(row.limits.upper.value)}"
        for row in rows
    )
    return finished(sheet, f"bland-altman-{_lower(variable)}", caption, alt)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _sized_points(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Points; equal ones are drawn once, larger."""
    places, counts = np.unique(np.column_stack([x, y]).round(6), axis=0, return_counts=True)
    axes.scatter(places[:, 0], places[:, 1], s=7 + 3.2 * (counts - 1), color=COLOURS[0], alpha=0.65, lw=0)


def _times(results: Results) -> Figure | None:
    """Active seconds per arm and rater: every showing, box of the quartiles, on a logarithmic scale."""
    table = results.table
    timed = table.showings[table.showings["active_seconds"] > 0]
    groups = [(a, r) for a in table.arms for r in table.raters]
    values = [
        timed[(timed["arm"] == a) & (timed["rater"] == r)]["active_seconds"].to_numpy(dtype=float) for a, r in groups
    ]
    shown = [(g, v) for g, v in zip(groups, values, strict=True) if v.size]
    if not shown:
        return None
    colours = dict(zip(table.raters, cycle(len(table.raters)), strict=True))
    sheet = canvas(0.75 + 0.42 * len(shown))
    axes = sheet.subplots()
    generator = np.random.default_rng(0)
    for y, ((_, rater), seconds) in enumerate(shown):
        jitter = generator.uniform(-0.26, 0.26, seconds.size)
        axes.scatter(
            seconds, y + jitter, s=7, color=colours[rater], alpha=0.38, lw=0, rasterized=len(timed) > _VECTOR_POINTS
        )
        q1, median, q3 = np.quantile(seconds, (0.25, 0.5, 0.75))
        axes.barh(y, q3 - q1, left=q1, height=0.6, fill=False, ec=TEXT, lw=1.0)
        axes.plot([median, median], [y - 0.3, y + 0.3], color=TEXT, lw=2.2, solid_capstyle="butt")
    axes.set_xscale("log")
    _plain_log_ticks(axes, np.concatenate([v for _, v in shown]))
    many = len(table.arms) > 1
    names = [f"{label(a, 20)} · {label(r, 20)}" if many else label(r) for (a, r), _ in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(len(shown) - 0.45, -0.55)
    axes.set_xlabel("active seconds per showing (logarithmic)")
    axes.grid(axis="x", color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    alt = "; ".join(f"{a} {r}: median {np.median(v):.0f} s" for (a, r), v in shown)
    caption = "Active time per showing: each showing (point), quartiles (box) and median (bar)."
    return finished(sheet, "time", caption, alt)


def _plain_log_ticks(axes: Axes, seconds: np.ndarray) -> None:
    from matplotlib.ticker import NullLocator

    low, high = float(seconds.min()) * 0.9, float(seconds.max()) * 1.1
    ticks = [t for t in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600) if low <= t <= high]
    axes.set_xlim(low, high)
    axes.xaxis.set_minor_locator(NullLocator())
    if ticks:
        axes.set_xticks(ticks, [str(t) for t in ticks])


def _learning(results: Results) -> Figure | None:
    """Time along each rater's order, with a running median."""
    table = results.table
    sheet = canvas(2.5)
    axes = sheet.subplots()
    drawn = []
    for rater, colour in zip(table.raters, cycle(len(table.raters)), strict=True):
        rows = table.showings[(table.showings["rater"] == rater) & (table.showings["active_seconds"] > 0)]
        order, seconds = order_of(rows), rows["active_seconds"].to_numpy(dtype=float)
        known = np.isfinite(order)
        if known.sum() < 4:
            continue
        ranked = np.argsort(order[known])
        order, seconds = order[known][ranked] + 1, seconds[known][ranked]
        width = max(3, len(order) // 10 * 2 + 1)
        running = [np.median(seconds[max(0, n - width // 2) : n + width // 2 + 1]) for n in range(len(order))]
        axes.scatter(order, seconds, s=7, color=colour, alpha=0.32, lw=0, rasterized=len(order) > _VECTOR_POINTS)
        axes.plot(order, running, color=colour, lw=1.8, label=label(rater))
        drawn.append(f"{rater}: running median {running[0]:.0f} s at the start, {running[-1]:.0f} s at the end")
    if not drawn:
        return None
    axes.set_xlabel("showing, in the rater's own order")
    axes.set_ylabel("active seconds")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.legend(loc="upper right", ncols=min(4, len(drawn)))
    return finished(sheet, "learning", "Time along the order of showings, with running medians.", "; ".join(drawn))


def _error_map(results: Results) -> Figure | None:
    """Marks of all raters on a schematic head, in three projections, one row for each arm."""
    if not results.map_points:
        return None
    head = json.loads(_SCHEMATIC.read_text(encoding="utf-8"))["outlines"]
    arms = [arm for arm in results.table.arms if any(p.arm == arm for p in results.map_points)][:6]
    sheet = canvas(0.35 + 2.35 * len(arms))
    layout: Any = sheet.get_layout_engine()
    layout.set(hspace=0.06)
    panels = sheet.subplots(len(arms), 3, squeeze=False)
    for arm, row in zip(arms, panels, strict=True):
        points = [p for p in results.map_points if p.arm == arm]
        for axes, view in zip(row, _VIEWS, strict=True):
            _projection(axes, view, head[view], points)
        if len(results.table.arms) > 1:
            row[0].set_title(label(arm), fontsize=8.5, pad=9)
    handles = [
        panels[0][0].plot([], [], _ERROR_MARKERS[kind], color=_ERROR_COLOURS[kind], ms=4.5, ls="", label=name)[0]
        for kind, name in ((FALSE_POSITIVE, "false positive"), (FALSE_NEGATIVE, "false negative (missed)"))
    ]
    sheet.legend(handles=handles, loc="outside lower center", ncols=2)
    kinds = (FALSE_POSITIVE, FALSE_NEGATIVE)
    counts = {arm: tuple(_count(results.map_points, arm, kind) for kind in kinds) for arm in arms}
    cases = len({m.case for m in results.marks})
    placed = (
        f"Of {counted(cases, 'case')} with marks, {results.framed_cases} were fitted by the box of their brain"
        if results.framed_cases
        else "No image was available to fit the patients to the head, so marks are in scanner millimetres about their "
        "common centre"
    )
    caption = (
        "Where the errors are: marks of all raters and showings, projected onto a schematic head (outlines of "
        f"a digital phantom, not of a patient). {placed}; nothing was registered, so read this map for patterns, not "
        "for structures."
    )
    alt = "; ".join(f"{arm}: {fp} false-positive and {fn} false-negative marks" for arm, (fp, fn) in counts.items())
    return finished(sheet, "error-map", caption, alt)


def _count(points: Sequence[MapPoint], arm: str, kind: str) -> int:
    return sum(p.arm == arm and p.kind == kind for p in points)


def _projection(axes: Axes, view: str, outlines: dict[str, list[Any]], points: Sequence[MapPoint]) -> None:
    across, up, letters = _VIEWS[view]
    for name, drawn_as in _OUTLINES.items():
        for outline in outlines[name]:
            axes.fill(*np.array(outline, dtype=float).T, **drawn_as)
    for kind in (FALSE_NEGATIVE, FALSE_POSITIVE):
        places = np.array([p.point for p in points if p.kind == kind], dtype=float)
        if len(places):
            colour = _ERROR_COLOURS[kind]
            rings: dict[str, Any] = {"facecolors": "none", "edgecolors": colour}
            look: dict[str, Any] = {"c": colour, "marker": "x"} if kind == FALSE_POSITIVE else rings
            drawn = axes.scatter(places[:, across], places[:, up], s=9, lw=0.7, alpha=0.6, **look)
            drawn.set_rasterized(len(points) > _VECTOR_MARKS)
    axes.set_aspect("equal")
    axes.set_xlim(*((88, -88) if across == 0 else (100, -100)))
    axes.set_ylim(*((-98, 98) if up == 1 else (-98, 84)))
    axes.set_axis_off()
    for letter, place in zip(letters, ((0.01, 0.5), (0.99, 0.5), (0.5, 0.01), (0.5, 0.99)), strict=True):
        axes.text(*place, letter, transform=axes.transAxes, ha="center", va="center", fontsize=7.5, color=FAINT)


#: Coefficients in the order of tables.
ORDER = (PERCENT, COHEN, WEIGHTED, FLEISS, AC1, AC2)
