"""Tables and key figures of a cohort's page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..longitudinal.states import STATES
from ..reporting.layout import KeyFigure, Table, cells, rest
from ..reporting.wording import UNDEFINED, between, counted, figure, percent
from ..segmentation.warning_codes import WARNINGS
from .image_quality import MEASURE_BY_NAME
from .measures import quality_measures, shown_name, with_result
from .model import DONE, FAILED, NO_FLAIR, QUARANTINED, ChangeRow, SessionRow
from .priority import Outlier, Priority
from .run_record import RunRecord

#: Longest tables; all rows are in the CSV files beside the page.
MOST_FAILURES, MOST_CHANGES, MOST_OUTLIERS, MOST_SESSIONS = 500, 300, 200, 2000
_ENDED = (FAILED, QUARANTINED)
_CHANGED = ("new", "enlarging")


def key_figures(rows: Sequence[SessionRow], changes: Sequence[ChangeRow]) -> list[KeyFigure]:
    """The page's summary."""
    done = with_result(rows)
    failed = sum(row.status in _ENDED for row in rows)
    none = sum(row.status == NO_FLAIR for row in rows)
    marked, doubted = sum(bool(row.below_bar) for row in done), sum(not row.trusted for row in done)
    volumes = np.array([row.lesion_ml for row in done if row.lesion_ml is not None], dtype=float)
    made = [
        KeyFigure("sessions", str(len(rows)), counted(len({row.session.subject for row in rows}), "subject")),
        KeyFigure("with a result", str(len(done)), _share(len(done), len(rows), "of all sessions")),
        KeyFigure("without a result", str(failed + none), f"{failed} failed, {none} without a FLAIR"),
        KeyFigure("marked: image quality", str(marked), _share(marked, len(done), "below a bar; kept")),
        KeyFigure("not to be trusted", str(doubted), _share(doubted, len(done), "with such a warning")),
    ]
    if len(volumes):
        low, median, high = (float(q) for q in np.quantile(volumes, (0.25, 0.5, 0.75)))
        made.append(KeyFigure("median lesion volume", f"{figure(median)} ml", f"quartiles {between(low, high)} ml"))
    if changes:
        compared = sum(change.status == DONE for change in changes)
        made.append(KeyFigure("comparisons", str(compared), f"{len(changes) - compared} failed"))
    return made


def _share(part: int, whole: int, told: str) -> str:
    return f"{percent(part / whole) if whole else UNDEFINED} {told}"


def failure_tables(rows: Sequence[SessionRow]) -> tuple[Table, ...]:
    """Sessions without a result by code, and each with its advice."""
    failed = sorted((row for row in rows if row.status != DONE), key=lambda row: (row.code, row.case))
    if not failed:
        return ()
    codes = Counter((row.status, row.code) for row in failed)
    by_code = Table(
        "Reasons",
        ("Status", "Code", "Sessions", "Of all sessions"),
        tuple(
            cells(status, code, str(n), percent(n / len(rows)))
            for (status, code), n in sorted(codes.items(), key=lambda item: (-item[1], item[0]))
        ),
        numbers_from=2,
    )
    each = Table(
        "Each session without a result (failures.csv)",
        ("Case", "Code", "What happened", "What helps"),
        tuple(cells(row.case, row.code, row.message, row.advice) for row in failed[:MOST_FAILURES]),
        rest(failed, MOST_FAILURES),
        numbers_from=4,
        folded=len(failed) > 20,
    )
    return by_code, each


def warning_table(rows: Sequence[SessionRow]) -> tuple[Table, ...]:
    """Count the sessions with each warning."""
    done = with_result(rows)
    codes = Counter(code for row in done for code in {w.code for w in row.warnings})
    if not codes:
        return ()
    lines = []
    for code, n in sorted(codes.items(), key=lambda item: (-item[1], item[0])):
        known = WARNINGS.get(code)
        trusted = "" if known is None or known.trusted else "no"
        lines.append(cells(code, known.meaning if known else "", trusted, str(n), percent(n / len(done))))
    columns = ("Code", "Meaning", "Trusted", "Sessions", "Share")
    return (Table("Warnings of image and result", columns, tuple(lines), numbers_from=3),)


def quality_table(rows: Sequence[SessionRow]) -> tuple[Table, ...]:
    """Each measure of image quality: its spread, and the sessions beyond its bar."""
    done = with_result(rows)
    measures = {measure.id.removeprefix("quality_"): measure for measure in quality_measures(done)}
    below = Counter(name for row in done for name in set(row.below_bar))
    names = sorted(set(measures) | set(below))
    if not names:
        return ()
    lines = []
    for name in names:
        values = measures[name].values(done) if name in measures else np.full(len(done), np.nan)
        known = values[np.isfinite(values)]
        low, median, high = (float(q) for q in np.quantile(known, (0.25, 0.5, 0.75))) if len(known) else (np.nan,) * 3
        label, digits = (measures[name].label, measures[name].digits) if name in measures else (shown_name(name), 3)
        told = MEASURE_BY_NAME.get(name)
        bar = "" if told is None or told.bar is None else f"{told.bar:g}"
        lines.append(
            cells(label, "" if told is None else told.meaning, str(len(known)), figure(median, digits),
                  between(low, high, digits), bar, str(below[name]), percent(below[name] / len(done)))
        )  # fmt: skip
    columns = ("Measure", "What it is", "Measured", "Median", "Quartiles", "Bar", "Beyond it", "Share")
    return (Table("Image quality before segmentation", columns, tuple(lines), numbers_from=2),)


def outlier_table(outliers: Sequence[Outlier]) -> tuple[Table, ...]:
    """Each value that is an outlier."""
    if not outliers:
        return ()
    lines = tuple(
        cells(
            one.row.case, one.measure.label, figure(one.value, one.measure.digits),
            figure(one.median, one.measure.digits), figure(one.z, 1),
        )
        for one in outliers[:MOST_OUTLIERS]
    )  # fmt: skip
    columns = ("Case", "Measure", "Value", "Median of the cohort", "Robust z")
    return (
        Table(
            "Outliers, largest first",
            columns,
            lines,
            rest(outliers, MOST_OUTLIERS),
            numbers_from=2,
            folded=len(outliers) > 25,
        ),
    )


def change_tables(changes: Sequence[ChangeRow]) -> tuple[Table, ...]:
    """Comparisons, those with most new and enlarging lesions first; and those that failed."""
    made = []
    done = sorted((one for one in changes if one.status == DONE), key=_activity)
    if done:
        states = [state for state in STATES if any(one.counts.get(state.id) for one in done)]
        columns = ("First", "Last", "Days", *(state.name for state in states), "Lesions (ml)", "Ventricles (%)",
                   "Beyond noise", "Warnings")  # fmt: skip
        made.append(
            Table(
                "Changes, most new and enlarging lesions first (changes.csv)",
                columns,
                tuple(_change(one, [state.id for state in states]) for one in done[:MOST_CHANGES]),
                rest(done, MOST_CHANGES),
                numbers_from=2,
                folded=len(done) > 30,
            )
        )
    failed = [one for one in changes if one.status != DONE]
    if failed:
        lines = tuple(cells(one.first, one.last, one.code, one.message, one.advice) for one in failed[:MOST_FAILURES])
        columns = ("First", "Last", "Code", "What happened", "What helps")
        note = rest(failed, MOST_FAILURES)
        made.append(Table("Comparisons that failed", columns, lines, note, numbers_from=5, folded=len(failed) > 20))
    return tuple(made)


def _activity(one: ChangeRow) -> tuple[int, float, str]:
    return -sum(one.counts.get(state, 0) for state in _CHANGED), -abs(one.lesion_change_ml or 0.0), one.name


def _change(one: ChangeRow, states: Sequence[str]) -> tuple[Any, ...]:
    noise = {True: "yes", False: "no", None: UNDEFINED}[one.ventricles_beyond_noise]
    return cells(
        one.first,
        one.last,
        UNDEFINED if one.days is None else str(one.days),
        *(str(one.counts.get(state, 0)) for state in states),
        figure(one.lesion_change_ml),
        figure(one.ventricles_change_percent, 1),
        noise,
        ", ".join(dict.fromkeys(w.code for w in one.warnings)),
    )


def order_table(ordered: Sequence[Priority]) -> tuple[Table, ...]:
    """All sessions in the order of looking at them."""
    if not ordered:
        return ()
    lines = tuple(
        cells(str(n), one.row.case, figure(one.row.lesion_ml),
              UNDEFINED if one.row.lesion_count is None else str(one.row.lesion_count), figure(one.points, 1),
              one.row.verdict, "; ".join(one.reasons))
        for n, one in enumerate(ordered[:MOST_SESSIONS], 1)
    )  # fmt: skip
    columns = ("Rank", "Case", "Lesions (ml)", "Number", "Points", "Verdict", "Why")
    caption = "Review first"
    return (Table(caption, columns, lines, rest(ordered, MOST_SESSIONS), numbers_from=7, folded=True),)


def software_table(run: RunRecord) -> tuple[Table, ...]:
    """Versions of what made the results."""
    lines = tuple(cells(name, version) for name, version in run.software.items())
    return (Table("Software", ("Package", "Version"), lines, numbers_from=2),)
