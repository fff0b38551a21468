"""Review order of a cohort's sessions: a sum of points, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..reporting.wording import counted, figure
from ..segmentation.warning_codes import untrusted
from .measures import RESULTS, Measure, quality_measures, shown_name, with_result
from .model import SessionRow

#: Points of a result that cannot be trusted; of each quality measure beyond its threshold, and at most; of each other
#: warning.
UNTRUSTED, BELOW_BAR, MOST_BELOW_BAR, WARNING, MOST_WARNINGS = 4.0, 2.0, 4.0, 0.5, 1.5
#: Points of the session whose expected correction is the largest; others by their rank.
CORRECTION = 2.0
#: From this robust z score on a value is an outlier (Iglewicz and Hoaglin 1993): a point, more with the distance.
OUTLIER_Z, OUTLIER, OUTLIER_PER_Z, MOST_OUTLIER = 3.5, 1.0, 0.25, 3.0
#: Fewest sessions for a search of outliers.
FEWEST = 8
#: Medians of absolute, and means of absolute deviations to standard deviations of a normal distribution.
_MAD_SD, _MEAN_SD = 1.4826, 1.2533

EXPLANATION = (
    f"Points: {UNTRUSTED:g} where the result cannot be trusted; {BELOW_BAR:g} for each measure of image quality below "
    f"its bar (at most {MOST_BELOW_BAR:g}); {WARNING:g} for each other warning (at most {MOST_WARNINGS:g}); 0 to "
    f"{CORRECTION:g} by the rank of the expected correction; {OUTLIER:g} and more (at most {MOST_OUTLIER:g}) where a "
    f"value is an outlier of this cohort (robust z above {OUTLIER_Z:g}). Sessions with a verdict come last."
)


@dataclass(frozen=True)
class Outlier:
    """A value far from those of the cohort.

    Attributes
    ----------
    row : SessionRow
    measure : Measure
    value, median : float
        In the measure's unit; the median is the cohort's.
    z : float
        Robust z score: distance from the median in standard deviations estimated by the median absolute deviation; of
        log(1 + x) for skewed measures.
    """

    row: SessionRow
    measure: Measure
    value: float
    median: float
    z: float


@dataclass(frozen=True)
class Priority:
    """A session in review order; ``reasons`` explain its points."""

    row: SessionRow
    points: float
    reasons: tuple[str, ...]


def robust_z(values: np.ndarray) -> np.ndarray:
    """Robust z scores, shape of ``values``; nan where a value is nan, where there are few, or where all are alike."""
    known = values[np.isfinite(values)]
    if len(known) < FEWEST:
        return np.full(values.shape, np.nan)
    away = np.abs(known - np.median(known))
    # More than half of the values alike (no lesion, for instance): use the mean deviation instead of the median's.
    spread = _MAD_SD * float(np.median(away)) or _MEAN_SD * float(away.mean())
    return (values - np.median(known)) / spread if spread > 0 else np.full(values.shape, np.nan)


def find_outliers(rows: Sequence[SessionRow]) -> list[Outlier]:
    """Values of results and image quality with a robust z score beyond :data:`OUTLIER_Z`, the farthest first.

    Parameters
    ----------
    rows : sequence of SessionRow
        Rows without a result are left out.
    """
    done, found = with_result(rows), list[Outlier]()
    for measure in (*RESULTS, *quality_measures(done)):
        values = measure.values(done)
        scale = np.log1p(np.maximum(values, 0)) if measure.skewed else values
        scores = robust_z(scale)
        if not np.isfinite(scores).any():
            continue
        median = float(np.nanmedian(values))
        found += [
            Outlier(done[i], measure, float(values[i]), median, float(scores[i]))
            for i in np.flatnonzero(np.abs(np.nan_to_num(scores)) > OUTLIER_Z)
        ]
    return sorted(found, key=lambda one: (-abs(one.z), one.row.case, one.measure.id))


def in_order(rows: Sequence[SessionRow], outliers: Sequence[Outlier] | None = None) -> list[Priority]:
    """The sessions that have a result, in review order.

    Parameters
    ----------
    rows : sequence of SessionRow
    outliers : sequence of Outlier, optional
        Of :func:`find_outliers`, where they are there already.

    Returns
    -------
    list of Priority
        By verdict (none first), points, case.
    """
    done = with_result(rows)
    by_case: dict[str, list[Outlier]] = {}
    for one in find_outliers(done) if outliers is None else outliers:
        by_case.setdefault(one.row.case, []).append(one)
    shares = _rank_shares(np.array([_number(row.expected_correction_ml) for row in done], dtype=float))
    ranked = [_priority(row, float(share), by_case.get(row.case, [])) for row, share in zip(done, shares, strict=True)]
    return sorted(ranked, key=lambda one: (bool(one.row.verdict), -one.points, one.row.case))


def _priority(row: SessionRow, share: float, outliers: Sequence[Outlier]) -> Priority:
    points, reasons = 0.0, list[str]()
    doubts = untrusted(row.warnings)
    if not row.trusted or doubts:
        points += UNTRUSTED
        codes = ", ".join(dict.fromkeys(w.code for w in doubts))
        reasons.append(f"result cannot be trusted{f' ({codes})' if codes else ''}")
    if row.below_bar:
        points += min(BELOW_BAR * len(row.below_bar), MOST_BELOW_BAR)
        reasons.append(f"image quality below bar: {', '.join(shown_name(name).lower() for name in row.below_bar)}")
    others = list(dict.fromkeys(w.code for w in row.warnings if w not in doubts))
    if others:
        points += min(WARNING * len(others), MOST_WARNINGS)
        reasons.append(f"{counted(len(others), 'warning')}: {', '.join(others)}")
    if outliers:
        far = max(outliers, key=lambda one: abs(one.z))
        points += min(OUTLIER + OUTLIER_PER_Z * (abs(far.z) - OUTLIER_Z), MOST_OUTLIER)
        reasons.append(
            "outlier: "
            + ", ".join(
                f"{one.measure.title.lower()} {figure(one.value, one.measure.digits)}"
                f"{f' {one.measure.unit}' if one.measure.unit else ''} (z {figure(one.z, 1)})"
                for one in outliers[:3]
            )
        )
    if math.isfinite(share):
        points += CORRECTION * share
        reasons.append(
            f"expected correction {figure(row.expected_correction_ml)} ml (above {100 * share:.0f} % of the others)"
        )
    return Priority(row, round(points, 2), tuple(reasons))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _rank_shares(values: np.ndarray) -> np.ndarray:
    """Share of the other values that each one is above (ties count half), shape (n,); nan where it is nan."""
    from scipy.stats import rankdata

    shares, known = np.full(values.shape, np.nan), np.isfinite(values)
    if known.sum() == 1:
        shares[known] = 0.0
    elif known.any():
        shares[known] = (rankdata(values[known]) - 1) / (known.sum() - 1)
    return shares
