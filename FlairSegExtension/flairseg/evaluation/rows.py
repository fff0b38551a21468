"""Rows, matrices, curves and tests of an evaluation, as its tables hold them; NaN and None as in :mod:`.results`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..statistics.intervals import Estimate
from ..statistics.reliability import LimitsOfAgreement


@dataclass(frozen=True)
class CaseRow:
    """Voxel-level figures of one patient, method and class.

    Parameters
    ----------
    case, method, class_id, site, disease : str
    tp, fp, fn, tn : int
        Voxels.
    reference_ml, predicted_ml : float
    dice, jaccard, precision, recall, hd95_mm, nsd, volume_error_ml, volume_error_percent, average_precision, roc_auc
        : float
        As :data:`~.terms.VOXEL_FIGURES` explains them; NaN where undefined.
    note : str
        Why something is undefined.
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
    """Lesion-level figures of one patient, method and class of :data:`~.terms.LESION_CLASSES`.

    Parameters
    ----------
    case, method, class_id, site, disease : str
    reference_lesions, predicted_lesions : int
        26-connected components.
    found : int
        Reference lesions that were found.
    right : int
        Predicted lesions that are right.
    lesion_recall, lesion_precision, lesion_f1 : float
        NaN where undefined.
    detection_error_ml, outline_error_ml : float
        Volume of lesions that only one side has; volume of the disagreement on those that both have.
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
    """One figure of one method and class over the patients of a group.

    Parameters
    ----------
    grouping : str
        One of :data:`~.terms.GROUPINGS`.
    group : str
        Name of the site or disease; empty for all.
    method, class_id, figure : str
        ``figure`` is a key of :data:`~.terms.FIGURES`.
    mean : Estimate
        Mean over patients with a bootstrap interval over patients; its ``n`` counts patients with a defined figure.
    sd, median, lower_quartile, upper_quartile, minimum, maximum : float
        NaN where undefined.
    undefined : int
        Patients left out because the figure is not defined for them.
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
    """One figure of one method and class over the voxels (or lesions) of all patients together.

    ``estimate`` has a bootstrap interval over patients, its ``n`` counts patients. Figures: ``dice``, ``jaccard``,
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
    """Counts; rows are the reference, columns the prediction.

    Parameters
    ----------
    method : str
    level : str
        :data:`~.terms.VOXEL_LEVEL` or :data:`LESION_LEVEL`.
    labels : tuple of str
        :data:`~.terms.VOXEL_LABELS` or :data:`COMPONENT_LABELS`.
    counts : ndarray of int64, shape (n, n)
        The lesion level has no cell (0, 0): it is 0 and means nothing.
    note : str
        How a component is assigned to its column.
    """

    method: str
    level: str
    labels: tuple[str, ...]
    counts: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class NormalAbnormalRow:
    """Normal against abnormal WMH, abnormal being positive (source: S1).

    Parameters
    ----------
    method : str
    level : str
        :data:`~.terms.VOXEL_LEVEL` or :data:`LESION_LEVEL`.
    population : str
        Which voxels or components are counted, as text.
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
    """Precision-recall or ROC curve of one method and class, voxels of all patients pooled.

    Parameters
    ----------
    method, class_id : str
    kind : {"pr", "roc"}
    x, y : ndarray of float64, shape (n,)
        Recall and precision, or false-positive rate and true-positive rate; thinned to at most 500 points, x ascending.
        A PR curve is drawn as steps (``where="pre"`` in matplotlib, precision of the point to the right).
    thresholds : ndarray of float64, shape (n,)
        Probability at or above which a voxel is positive at that point.
    area : Estimate
        Average precision or ROC AUC of the unthinned curve, with an interval over patients.
    operating_point : tuple of float or None
        (x, y) of the method's label maps.
    positives, negatives : int
        Voxels; positives / (positives + negatives) is the precision of a coin.
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
    """Slices of class ``class_id`` found or not (source: S2).

    Parameters
    ----------
    method, class_id : str
    negatives : {"balanced", "all"}
        As many negative slices as positive ones, drawn with the seed (S2), or all of them.
    threshold : float
        Share of the reference that must be covered.
    tp, fn, tn, fp : int
        Slices.
    available_negatives : int
        Negative slices there are.
    figures : mapping of str to Estimate
        ``accuracy, sensitivity, specificity, ppv, npv`` with Wilson intervals (slices as if independent, as S2 has it).
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
    """The figures of :class:`SliceLevel` as the overlap threshold moves; NaN where undefined.

    ``figures`` maps ``accuracy, sensitivity, specificity, ppv, npv`` to arrays as long as ``thresholds`` (0..1; at 0
    one shared voxel is enough).
    """

    method: str
    class_id: str
    negatives: Literal["balanced", "all"]
    thresholds: np.ndarray
    figures: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class VolumeGroup:
    """Slices of one group of reference lesion volume (source: S4).

    Parameters
    ----------
    method, class_id : str
    name : str
        G1..G5.
    low_ml, high_ml : float
        Lower limit included, upper not; the last is infinite.
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
    """Mann-Whitney U test of one figure between two volume groups, p adjusted after Bonferroni."""

    first: str
    second: str
    n_first: int
    n_second: int
    u: float
    p: float
    p_bonferroni: float


@dataclass(frozen=True)
class GroupTests:
    """Tests of one figure over the volume groups of one method (source: S4).

    Parameters
    ----------
    method, class_id, figure : str
    shapiro : mapping of str to (float, float)
        Group -> W and p of the Shapiro-Wilk test; NaN with fewer than three values or without spread.
    kruskal : tuple of (float, float)
        H and p of the Kruskal-Wallis test; NaN where fewer than two groups have values.
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
    """Volume per patient against the reference: Bland-Altman and R2 (source: S5).

    Parameters
    ----------
    method, class_id : str
    cases : tuple of str
    reference_ml, predicted_ml : ndarray of float64, shape (cases,)
    limits : LimitsOfAgreement
        Of predicted minus reference, ml.
    r2 : Estimate
        Squared Pearson correlation (S5's R2 of the regression), interval over patients.
    slope, intercept : float
        Of the least-squares line predicted = slope * reference + intercept.
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
    """Wilcoxon's signed-rank test of one figure between two methods on the same patients.

    ``difference`` is the mean of second minus first with a bootstrap interval over patients, its ``n`` counts pairs;
    ``p_holm`` is adjusted over all pairs of methods and classes of the same figure. NaN where untestable.
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
    """Cases with empty masks of a class, of one method."""

    method: str
    class_id: str
    both: tuple[str, ...]
    reference_only: tuple[str, ...]
    prediction_only: tuple[str, ...]
