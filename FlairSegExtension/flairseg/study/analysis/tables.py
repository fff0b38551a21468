"""The tidy CSV files: one row per rating, rate, coefficient, comparison, time and mark, names in plain columns."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ...files.csv_tables import csv_text
from ...statistics.intervals import Estimate
from ..records import RATING_COLUMNS, MarkRow
from .results import Results

#: File name -> content.
TABLES = {
    "ratings.csv": "every answer, as analysed (can be read again by flairseg study analyse)",
    "acceptance.csv": "positive answers per arm and rater, with intervals",
    "agreement.csv": "every coefficient of agreement and reliability, limits of agreement",
    "comparison.csv": "arms compared on the same cases",
    "timing.csv": "time per showing, and its tests",
    "marks.csv": "every false-positive and false-negative mark",
}
_MARK_COLUMNS = tuple(MarkRow("", "", "", 0, "", None, (0.0, 0.0, 0.0)).to_row())


def csv_tables(results: Results) -> dict[str, str]:
    """File name -> CSV text (comma, LF, UTF-8), for each of :data:`TABLES`."""
    return {
        "ratings.csv": csv_text(RATING_COLUMNS, results.table.answers[list(RATING_COLUMNS)].to_dict("records")),
        "acceptance.csv": _rates(results),
        "agreement.csv": _agreement(results),
        "comparison.csv": _comparison(results),
        "timing.csv": _timing(results),
        "marks.csv": csv_text(_MARK_COLUMNS, [mark.to_row() for mark in results.marks]),
    }


def _rates(results: Results) -> str:
    rows = [
        {
            **{
                name: getattr(row, name)
                for name in ("question", "arm", "rater", "unit", "positive", "answered", "missing")
            },
            **_estimate(row.wilson, "wilson_"),
            **_estimate(row.clustered, "bootstrap_"),
            "note": _joined(row.note, row.clustered.note if row.unit == "showing" else ""),
        }
        for row in results.rates
    ]
    columns = ("question", "arm", "rater", "unit", "positive", "answered", "missing", "wilson_value", "wilson_low",
               "wilson_high", "bootstrap_low", "bootstrap_high", "note")  # fmt: skip
    return csv_text(columns, rows)


def _agreement(results: Results) -> str:
    columns = ("scope", "question", "arm", "raters", "showing", "coefficient", "items", "value", "low", "high",
               "interval", "note")  # fmt: skip
    rows: list[dict[str, Any]] = [
        {
            **{f.name: getattr(row, f.name) for f in fields(row) if f.name != "estimate"},
            **_estimate(row.estimate),
            "interval": row.estimate.interval,
            "note": row.estimate.note,
        }
        for row in results.agreement
    ]
    for row in results.limits:
        for name in ("bias", "lower", "upper"):
            part: Estimate = getattr(row.limits, name)
            told = name if name == "bias" else f"{name} limit of agreement"
            rows.append(
                {
                    "scope": row.scope,
                    "question": row.variable,
                    "arm": row.arm,
                    "raters": row.raters,
                    "showing": "",
                    "coefficient": f"Bland-Altman {told}{f' ({row.unit})' if row.unit else ''}",
                    "items": row.limits.n,
                    **_estimate(part),
                    "interval": part.interval,
                    "note": _joined(part.note, row.limits.note if name == "bias" else ""),
                }
            )
    for shared in results.mark_agreement:
        rows.append(
            {
                "scope": "marks",
                "question": shared.kind,
                "arm": shared.arm,
                "raters": shared.between,
                "showing": "",
                "coefficient": "Share of common places",
                "items": sum(shared.marks),
                **_estimate(shared.share),
                "interval": shared.share.interval,
                "note": shared.share.note,
            }
        )
    return csv_text(columns, rows)


def _comparison(results: Results) -> str:
    columns = ("question", "arm_a", "arm_b", "rater", "both", "only_a", "only_b", "neither", "difference",
               "difference_low", "difference_high", "p", "p_holm", "note")  # fmt: skip
    rows = [
        {
            **{f.name: getattr(row, f.name) for f in fields(row) if f.name != "difference"},
            "difference": row.difference.value,
            "difference_low": row.difference.low,
            "difference_high": row.difference.high,
            "note": _joined(row.note, row.difference.note),
        }
        for row in results.comparisons
    ]
    return csv_text(columns, rows)


def _timing(results: Results) -> str:
    columns = ("what", "arm", "rater", "method", "n", "median_s", "lower_quartile_s", "upper_quartile_s",
               "total_minutes", "timed_out", "ratio", "ratio_low", "ratio_high", "p", "note")  # fmt: skip
    rows: list[dict[str, Any]] = [
        {
            "what": "active seconds per showing",
            "arm": row.arm,
            "rater": row.rater,
            "n": row.timed,
            "median_s": row.median,
            "lower_quartile_s": row.lower_quartile,
            "upper_quartile_s": row.upper_quartile,
            "total_minutes": row.total_minutes,
            "timed_out": row.timed_out,
            "note": "" if row.timed == row.showings else f"{row.showings - row.timed} showings without a time",
        }
        for row in results.timing
    ]
    rows += [
        {
            "what": test.what,
            "method": test.method,
            "n": test.n,
            "ratio": test.ratio.value,
            "ratio_low": test.ratio.low,
            "ratio_high": test.ratio.high,
            "p": test.p,
            "note": test.note,
        }
        for test in results.timing_tests
    ]
    return csv_text(columns, rows)


def _estimate(estimate: Estimate, prefix: str = "") -> dict[str, float | None]:
    return {f"{prefix}{name}": getattr(estimate, name) for name in ("value", "low", "high")}


def _joined(*notes: str) -> str:
    return " ".join(note for note in notes if note)
