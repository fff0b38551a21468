"""Rows, matrices, curves and tests in the tables of an evaluation; NaN and None as in :mod:`.results`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..statistics.intervals import Estimate
from ..statistics.reliability import LimitsOfAgreement


@dataclass(frozen=True)
class CaseRow:
    """Voxel-level metrics of a patient, method and class.

    Parameters
    ----------
    case, method, class_id, site, disease : str
    tp, fp, fn, tn : int
        Voxels.
    reference_ml, predicted_ml : float
    dice, jaccard, precision, recall, hd95_mm, nsd, volume_error_ml, volume_error_percent, average_precision, roc_auc
        : float
        See :data:`~.terms.VOXEL_FIGURES`; NaN where undefined.
    note : str
        Reason why metrics are undefined.
    """

    case: str
    method: str
    class_id: str
    site: str
    disease: str
    tp: int
    fp: int
    fn: int
    tn: int
    reference_ml: float
    predicted_ml: float
    dice: float
    jaccard: float
    precision: float
    recall: float
    hd95_mm: float
    nsd: float
    volume_error_ml: float
    volume_error_percent: float
    average_precision: float
    roc_auc: float
    note: str = ""


@dataclass(frozen=True)
class LesionCaseRow:
    """Lesion-level metrics of a patient, method and class of :data:`~.terms.LESION_CLASSES`.

    Parameters
    ----------
    case, method, class_id, site, disease : str
    reference_lesions, predicted_lesions : int
        26-connected components.
    found : int
        Detected reference lesions.
    right : int
        True positive predicted lesions.
    lesion_recall, lesion_precision, lesion_f1 : float
        NaN where undefined.
    detection_error_ml, outline_error_ml : float
        Volume of lesions in one mask only; volume of disagreement on lesions in both masks.
    """

    case: str
    method: str
    class_id: str
    site: str
    disease: str
    reference_lesions: int
    predicted_lesions: int
    found: int
    right: int
    lesion_recall: float
    lesion_precision: float
    lesion_f1: float
    detection_error_ml: float
    outline_error_ml: float
    note: str = ""


@dataclass(frozen=True)
class SummaryRow:
    """A metric of a method and class over the patients of a group.

    Parameters
    ----------
    grouping : str
        One of :data:`~.terms.GROUPINGS`.
    group : str
        Site or disease; empty for all patients.
    method, class_id, figure : str
        ``figure`` is a key of :data:`~.terms.FIGURES`.
    mean : Estimate
        Mean with bootstrap interval over patients; ``n``: patients with a defined value.
    sd, median, lower_quartile, upper_quartile, minimum, maximum : float
        NaN where undefined.
    undefined : int
        Patients excluded because the metric is undefined for them.
    """

    grouping: str
    group: str
    method: str
    class_id: str
    figure: str
    mean: Estimate
    sd: float
    median: float
    lower_quartile: float
    upper_quartile: float
    minimum: float
    maximum: float
    undefined: int = 0


@dataclass(frozen=True)
class PooledRow:
    """A metric of a method and class over the pooled voxels (or lesions) of all patients.

    ``estimate`` has a bootstrap interval over patients; ``n``: patients. Metrics: ``dice``, ``jaccard``,
    ``precision``, ``recall``, ``volume_error_percent``, ``average_precision``, ``roc_auc``, ``lesion_recall``,
    ``lesion_precision``, ``lesion_f1``.
    """

    grouping: str
    group: str
    method: str
    class_id: str
    figure: str
    estimate: Estimate


@dataclass(frozen=True)
class ConfusionMatrix:
    """Confusion matrix; rows: reference, columns: prediction.

    Parameters
    ----------
    method : str
    level : str
        :data:`~.terms.VOXEL_LEVEL` or :data:`LESION_LEVEL`.
    labels : tuple of str
        :data:`~.terms.VOXEL_LABELS` or :data:`COMPONENT_LABELS`.
    counts : ndarray of int64, shape (n, n)
        At lesion level, cell (0, 0) is not defined and 0.
    note : str
        Assignment of components to columns.
    """

    method: str
    level: str
    labels: tuple[str, ...]
    counts: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class NormalAbnormalRow:
    """Classification of normal and abnormal WMH, abnormal as positive (source: S1).

    Parameters
    ----------
    method : str
    level : str
        :data:`~.terms.VOXEL_LEVEL` or :data:`LESION_LEVEL`.
    population : str
        Voxels or components that are counted, as text.
    tp, fp, fn, tn : int
    sensitivity, specificity, precision, dice : Estimate
        With bootstrap intervals over patients.
    """

    method: str
    level: str
    population: str
    tp: int
    fp: int
    fn: int
    tn: int
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    dice: Estimate


@dataclass(frozen=True)
class Curve:
    """Precision-recall or ROC curve of a method and class over the pooled voxels of all patients.

    Parameters
    ----------
    method, class_id : str
    kind : {"pr", "roc"}
    x, y : ndarray of float64, shape (n,)
        Recall and precision, or false-positive rate and true-positive rate; thinned to at most 500 points, x ascending.
        PR curves are step functions (``where="pre"`` in matplotlib: precision of the point to the right).
    thresholds : ndarray of float64, shape (n,)
        Threshold of each point; a voxel at the threshold is positive.
    area : Estimate
        Average precision or ROC AUC of the complete curve, with bootstrap interval over patients.
    operating_point : tuple of float or None
        (x, y) of the method's label maps.
    positives, negatives : int
        Voxels; positives / (positives + negatives) is the precision of random scores.
    cases : int
        Patients with probabilities.
    """

    method: str
    class_id: str
    kind: Literal["pr", "roc"]
    x: np.ndarray
    y: np.ndarray
    thresholds: np.ndarray
    area: Estimate
    operating_point: tuple[float, float] | None
    positives: int
    negatives: int
    cases: int


@dataclass(frozen=True)
class SliceLevel:
    """Slice-level detection of a class (source: S2).

    Parameters
    ----------
    method, class_id : str
    negatives : {"balanced", "all"}
        A random sample of as many negative as positive slices (S2), or all negative slices.
    threshold : float
        Share of the reference that must be covered in a positive slice.
    tp, fn, tn, fp : int
        Slices.
    available_negatives : int
        All negative slices.
    figures : mapping of str to Estimate
        ``accuracy, sensitivity, specificity, ppv, npv`` with Wilson intervals (slices taken as independent, as in S2).
    clustered : mapping of str to Estimate
        The same with bootstrap intervals over patients.
    note : str
    """

    method: str
    class_id: str
    negatives: Literal["balanced", "all"]
    threshold: float
    tp: int
    fn: int
    tn: int
    fp: int
    available_negatives: int
    figures: Mapping[str, Estimate]
    clustered: Mapping[str, Estimate]
    note: str = ""


@dataclass(frozen=True)
class SliceCurve:
    """Metrics of :class:`SliceLevel` as functions of the overlap threshold; NaN where undefined.

    ``figures`` maps ``accuracy, sensitivity, specificity, ppv, npv`` to arrays of the length of ``thresholds`` (0..1;
    at 0, one shared voxel is sufficient).
    """

    method: str
    class_id: str
    negatives: Literal["balanced", "all"]
    thresholds: np.ndarray
    figures: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class VolumeGroup:
    """Slices in a range of reference lesion volume (source: S4).

    Parameters
    ----------
    method, class_id : str
    name : str
        G1..G5.
    low_ml, high_ml : float
        Range, lower limit included; the last upper limit is infinite.
    slices, cases : int
    values : mapping of str to ndarray
        ``dice``, ``recall`` (S4: sensitivity) and ``precision`` of each slice, NaN where undefined.
    medians : mapping of str to Estimate
        Median over slices with a bootstrap interval over patients.
    """

    method: str
    class_id: str
    name: str
    low_ml: float
    high_ml: float
    slices: int
    cases: int
    values: Mapping[str, np.ndarray]
    medians: Mapping[str, Estimate]


@dataclass(frozen=True)
class GroupPair:
    """Mann-Whitney U test of a metric between two volume groups, with Bonferroni-adjusted p."""

    first: str
    second: str
    n_first: int
    n_second: int
    u: float
    p: float
    p_bonferroni: float


@dataclass(frozen=True)
class GroupTests:
    """Tests of a metric over the volume groups of a method (source: S4).

    Parameters
    ----------
    method, class_id, figure : str
    shapiro : mapping of str to (float, float)
        Group -> W and p of the Shapiro-Wilk test; NaN with fewer than three values or without spread.
    kruskal : tuple of (float, float)
        H and p of the Kruskal-Wallis test; NaN if fewer than two groups have values.
    pairs : tuple of GroupPair
    note : str
    """

    method: str
    class_id: str
    figure: str
    shapiro: Mapping[str, tuple[float, float]]
    kruskal: tuple[float, float]
    pairs: tuple[GroupPair, ...]
    note: str = ""


@dataclass(frozen=True)
class LoadAgreement:
    """Agreement of the volume per patient with the reference: Bland-Altman analysis and R2 (source: S5).

    Parameters
    ----------
    method, class_id : str
    cases : tuple of str
    reference_ml, predicted_ml : ndarray of float64, shape (cases,)
    limits : LimitsOfAgreement
        Limits of agreement of predicted minus reference, ml.
    r2 : Estimate
        Squared Pearson correlation (R2 of the regression in S5), with bootstrap interval over patients.
    slope, intercept : float
        Least-squares line: predicted = slope * reference + intercept.
    icc : Estimate
        ICC(2,1), absolute agreement.
    note : str
    """

    method: str
    class_id: str
    cases: tuple[str, ...]
    reference_ml: np.ndarray
    predicted_ml: np.ndarray
    limits: LimitsOfAgreement
    r2: Estimate
    slope: float
    intercept: float
    icc: Estimate
    note: str = ""


@dataclass(frozen=True)
class PairedTest:
    """Wilcoxon's signed-rank test of a metric between two methods on the same patients.

    ``difference``: mean of second minus first with bootstrap interval over patients; ``n``: pairs. ``p_holm``: p
    adjusted over all pairs of methods and classes of the metric. NaN if a test is not possible.
    """

    figure: str
    class_id: str
    first: str
    second: str
    difference: Estimate
    median_difference: float
    statistic: float
    p: float
    p_holm: float
    note: str = ""


@dataclass(frozen=True)
class EmptyCases:
    """Cases of a method with empty masks of a class: in both, in the reference only, in the prediction only."""

    method: str
    class_id: str
    both: tuple[str, ...]
    reference_only: tuple[str, ...]
    prediction_only: tuple[str, ...]
