"""Time spent on showings."""

from __future__ import annotations

from ....reporting.drawing import Figure
from ....reporting.layout import Section, Table, cells
from ..results import Results
from ..timing import TimingRow
from ..wording import UNDEFINED, figure, p_value, with_interval


def timing(results: Results, figures: tuple[Figure, ...]) -> Section:
    """Active time per showing."""
    if not any(row.timed for row in results.timing):
        return Section("time", "Time")
    rows = tuple(
        cells(
            row.arm or "-",
            row.rater,
            str(row.timed),
            figure(row.median, 0),
            _quartiles(row),
            figure(row.total_minutes, 0),
            str(row.timed_out),
        )
        for row in results.timing
    )
    columns = ("Arm", "Rater", "Showings", "Median s", "Quartiles s", "Total min", "Timed out")
    tables = [Table("Active time per showing (pauses and idle time not counted).", columns, rows, (), 2)]
    if results.timing_tests:
        tests = tuple(
            cells(
                test.what,
                test.method,
                with_interval(test.ratio) if test.ratio.defined else "-",
                p_value(test.p),
                str(test.n),
                test.note,
            )
            for test in results.timing_tests
        )
        heads = ("What", "Method", "Ratio of times", "p", "n", "Remark")
        tables.append(Table("Determinants of time.", heads, tests, (), 2))
    return Section("time", "Time", (), tuple(tables), figures)


def _quartiles(row: TimingRow) -> str:
    if row.median is None:
        return UNDEFINED
    return f"{figure(row.lower_quartile, 0)} to {figure(row.upper_quartile, 0)}"
