"""Bootstrap over patients, the unit of all intervals: voxels, lesions and slices of a patient are not independent.

Functions of sums over patients use :func:`flairseg.statistics.intervals.over_cases` (BCa). Areas under curves and
medians over slices are resampled here, with percentile intervals.
"""

from __future__ import annotations

import math

import numpy as np

from ..statistics.intervals import CONFIDENCE, FEW_CASES, FEW_CASES_NOTE, Estimate, estimate, over_cases, stream

PERCENTILE = "percentile bootstrap over patients"
#: Resamples for metrics that are costly to resample: limits are stable to a few per cent of the interval's width.
COSTLY_RESAMPLES = 1000
_ONE = "One patient: no interval."


def mean_over_patients(values: np.ndarray, name: str, seed: int) -> Estimate:
    """Mean of a metric over the patients for whom it is defined, with BCa interval.

    Parameters
    ----------
    values : ndarray of float, shape (patients,)
        NaN where undefined.
    name : str
        Name of the random number stream.
    seed : int

    Returns
    -------
    Estimate
        ``n``: patients with a defined value.
    """
    values = np.asarray(values, dtype=float)
    defined = values[np.isfinite(values)]
    if not defined.size:
        return Estimate(None, note="Not defined for any patient." if values.size else "No patient.")
    return ratio_over_patients(defined, np.ones(defined.size), name, seed)


def ratio_over_patients(numerators: np.ndarray, denominators: np.ndarray, name: str, seed: int) -> Estimate:
    """Ratio of sums over patients, with BCa interval; undefined if the denominators sum to 0.

    Parameters
    ----------
    numerators, denominators : ndarray, shape (patients,)
    name : str
    seed : int
    """

    def statistic(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(sums[..., 1] != 0, sums[..., 0] / sums[..., 1], np.nan)

    return in_patients(over_cases(np.column_stack([numerators, denominators]), statistic, name, seed))


def in_patients(found: Estimate) -> Estimate:
    """The estimate with "patients" instead of "cases" in its texts."""
    words = found.interval.replace("over cases", "over patients")
    note = found.note.replace("One case:", "One patient:")
    if note.startswith("Only") and " cases:" in note:
        note = note.replace(" cases:", " patients:", 1)
    return Estimate(found.value, found.low, found.high, found.n, words, note)


def patient_weights(patients: int, name: str, seed: int, resamples: int = COSTLY_RESAMPLES) -> np.ndarray:
    """Draw counts of each patient: ndarray of int64, shape (resamples, patients), rows summing to ``patients``."""
    return stream(seed, name).multinomial(patients, np.full(patients, 1 / patients), size=resamples)


def percentile_interval(value: float, resampled: np.ndarray, patients: int, note: str = "") -> Estimate:
    """Estimate with percentile interval from the resamples in which the metric is defined.

    Parameters
    ----------
    value : float
        Value for the original patients.
    resampled : ndarray of float, shape (resamples,)
    patients : int
    note : str
        Further remarks.
    """
    if patients < 2:
        return estimate(value, n=patients, note=_joined(_ONE, note))
    finite = resampled[np.isfinite(resampled)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(finite, (tail, 1 - tail)) if finite.size else (math.nan, math.nan)
    few = FEW_CASES_NOTE.format(patients).replace("cases", "patients") if patients < FEW_CASES else ""
    if low == high:
        few = _joined(few, "Every resample gave the same figure: no interval.")
        low = high = math.nan
    return estimate(value, float(low), float(high), patients, PERCENTILE, _joined(few, note))


def median_over_slices(values: np.ndarray, patients: np.ndarray, name: str, seed: int) -> Estimate:
    """Median over slices with percentile interval from a bootstrap over patients (all slices of a patient together).

    Parameters
    ----------
    values : ndarray of float, shape (slices,)
        NaN where undefined; such slices are excluded.
    patients : ndarray of int, shape (slices,)
        Patient of each slice.
    name : str
    seed : int

    Returns
    -------
    Estimate
        ``n``: slices with a defined value.
    """
    values, patients = np.asarray(values, dtype=float), np.asarray(patients)
    defined = np.isfinite(values)
    values, patients = values[defined], patients[defined]
    if not values.size:
        return Estimate(None, note="No slice.")
    order = np.argsort(values, kind="stable")
    distinct, whose = np.unique(patients[order], return_inverse=True)
    value = float(np.median(values))
    if len(distinct) < 2:
        found = percentile_interval(value, np.zeros(0), len(distinct))
    else:
        drawn = patient_weights(len(distinct), name, seed)
        medians = np.array([_weighted_median(values[order], row[whose]) for row in drawn])
        found = percentile_interval(value, medians, len(distinct))
    return Estimate(found.value, found.low, found.high, values.size, found.interval, found.note)


def _weighted_median(ascending: np.ndarray, counts: np.ndarray) -> float:
    """Median of ascending values, each repeated ``counts`` times."""
    below = np.cumsum(counts)
    total = below[-1]
    if total == 0:
        return math.nan
    low, high = np.searchsorted(below, [(total - 1) // 2 + 1, total // 2 + 1])
    return float(ascending[low] + ascending[high]) / 2


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
