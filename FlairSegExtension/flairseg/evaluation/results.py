"""What an evaluation found: plain numbers and arrays, from which tables, figures and the report are made.

Everything is computed by :func:`flairseg.evaluation.evaluate`; nothing here computes. A figure that is not defined for
a case is NaN in arrays and rows, and None in an :class:`~flairseg.statistics.intervals.Estimate`; it is left out of
means and counted. Arrays have axis order K, J, I. Percentages are 0..100 only where the name says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import CaseWarning, FlairSegError
from ..labels import CLASS_BY_VALUE, CLASSES, LESION, NORMAL_WMH, VENTRICLES
from ..statistics.intervals import Estimate
from ..statistics.reliability import LimitsOfAgreement

#: Ids of the classes, as in :mod:`flairseg.labels`.
VENTRICLES_ID, NORMAL_WMH_ID, LESION_ID = (CLASS_BY_VALUE[value].id for value in (VENTRICLES, NORMAL_WMH, LESION))
#: Class "all WMH": normal and abnormal hyperintensity together.
ALL_WMH = "all_wmh"
#: What a confusion matrix counts.
VOXEL_LEVEL, LESION_LEVEL = "voxel", LESION_ID
#: Classes that figures are given for: id -> the label values it is made of, in the order of every table.
EVALUATED: dict[str, tuple[int, ...]] = {
    VENTRICLES_ID: (VENTRICLES,),
    NORMAL_WMH_ID: (NORMAL_WMH,),
    LESION_ID: (LESION,),
    ALL_WMH: (NORMAL_WMH, LESION),
}
#: The same -> what a reader calls it.
CLASS_TITLES: dict[str, str] = {c.id: c.short_name for c in CLASSES} | {ALL_WMH: "All WMH (2 + 3)"}
#: Classes whose 26-connected components are counted as lesions.
LESION_CLASSES = (LESION_ID, ALL_WMH)
#: Rows and columns of the voxel-level confusion matrix, in the order of the label values.
VOXEL_LABELS: tuple[str, ...] = ("Background", *(CLASS_BY_VALUE[v].short_name for v in (1, 2, 3)))
#: Rows and columns of the lesion-level confusion matrix: "nothing" holds what only the other side drew.
COMPONENT_LABELS: tuple[str, ...] = ("Nothing", "Normal WMH", "Lesions")
#: Groups that summaries are given for beside all cases.
GROUPINGS = ("all", "site", "disease")


@dataclass(frozen=True)
class Figure:
    """What is known of one figure: key in rows and files, title, unit, decimals, and which way is better."""

    key: str
    title: str
    unit: str = ""
    digits: int = 3
    better: Literal["higher", "lower", "zero"] = "higher"
    explanation: str = ""


#: Figures per case, method and class (attributes of :class:`CaseRow`), in the order of every table.
VOXEL_FIGURES: tuple[Figure, ...] = (
    Figure("dice", "Dice", explanation="2 TP / (2 TP + FP + FN)"),
    Figure("jaccard", "Jaccard", explanation="TP / (TP + FP + FN)"),
    Figure("precision", "Precision", explanation="TP / (TP + FP)"),
    Figure("recall", "Recall", explanation="TP / (TP + FN)"),
    Figure("hd95_mm", "HD95", "mm", 1, "lower", "95th percentile of surface distances, the larger of both directions"),
    Figure("nsd", "NSD", explanation="share of both surfaces within the tolerance of the other"),
    Figure("volume_error_ml", "Volume error", "ml", 2, "zero", "predicted minus reference"),
    Figure("volume_error_percent", "Volume error", "%", 1, "zero", "predicted minus reference, of the reference"),
    Figure("average_precision", "AUC-PR", explanation="average precision over the probabilities"),
    Figure("roc_auc", "ROC AUC", explanation="area under the receiver operating characteristic"),
)
#: Lesion-level figures per case, method and class of :data:`LESION_CLASSES` (attributes of :class:`LesionCaseRow`).
LESION_FIGURES: tuple[Figure, ...] = (
    Figure("lesion_recall", "Lesion recall", explanation="reference lesions that were found"),
    Figure("lesion_precision", "Lesion precision", explanation="predicted lesions that are right"),
    Figure("lesion_f1", "Lesion F1", explanation="harmonic mean of both"),
    Figure("detection_error_ml", "Detection error", "ml", 2, "lower", "volume of lesions that only one side has"),
    Figure("outline_error_ml", "Outline error", "ml", 2, "lower", "disagreement on lesions that both sides have"),
)
FIGURES: dict[str, Figure] = {f.key: f for f in (*VOXEL_FIGURES, *LESION_FIGURES)}


@dataclass(frozen=True)
class Conventions:
    """Every choice that the numbers depend on; :attr:`sentences` says them in words, for the report.

    Parameters
    ----------
    nsd_tolerance_mm : float
        Distance at which two surfaces still agree.
    overlap_rule : {"voxels", "fraction", "iou"}
        When a lesion counts as found: this many voxels shared; this fraction of it covered; intersection over union
        with one lesion of the other side.
    overlap_minimum : float
        The number that belongs to the rule.
    minimum_lesion_mm3 : float
        Lesions smaller than this are removed from prediction and reference alike before every lesion-level and
        voxel-level figure of the class; 0 keeps all (10.7 is S5's rule).
    slice_overlap : float
        Share of a positive slice's reference that must be covered (S2: 0.1).
    confidence : float
        Level of every interval.
    resamples, seed : int
        Of the bootstrap over patients; the seed also draws the negative slices.
    sentences : tuple of (str, str)
        Head and text of each convention, in order.
    """

    nsd_tolerance_mm: float = 1.0
    overlap_rule: Literal["voxels", "fraction", "iou"] = "voxels"
    overlap_minimum: float = 1.0
    minimum_lesion_mm3: float = 0.0
    slice_overlap: float = 0.1
    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0
    sentences: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CaseInfo:
    """A patient's reference.

    Parameters
    ----------
    case : str
    site, disease : str
        Empty where the manifest does not say.
    shape_kji : tuple of int
    spacing_mm : tuple of float
        Along I, J, K.
    warnings : tuple of CaseWarning
        Of its reference and of each method's files, these with the method's name in front.
    """

    case: str
    site: str = ""
    disease: str = ""
    shape_kji: tuple[int, int, int] = (0, 0, 0)
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    warnings: tuple[CaseWarning, ...] = ()


@dataclass(frozen=True)
class MethodInfo:
    """One method: which of the evaluated classes it and the reference both know.

    Parameters
    ----------
    name : str
    classes : tuple of str
        Keys of :data:`EVALUATED` that it has figures for.
    missing : tuple of str
        Keys that it has none for, because it (or the reference) does not know the class.
    mapping : str
        How its label values were read, in words; empty for FlairSeg's own.
    cases : int
        Patients that were evaluated.
    probabilities : int
        Of which with probabilities.
    """

    name: str
    classes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    mapping: str = ""
    cases: int = 0
    probabilities: int = 0


@dataclass(frozen=True)
class Refusal:
    """A case of a method that could not be evaluated, and why; ``error`` for front ends that phrase the advice."""

    case: str
    method: str
    message: str
    advice: str = ""
    error: FlairSegError | None = field(default=None, compare=False, repr=False)


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
        As :data:`VOXEL_FIGURES` explains them; NaN where undefined.
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
    """Lesion-level figures of one patient, method and class of :data:`LESION_CLASSES`.

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
        One of :data:`GROUPINGS`.
    group : str
        Name of the site or disease; empty for all.
    method, class_id, figure : str
        ``figure`` is a key of :data:`FIGURES`.
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
        :data:`VOXEL_LEVEL` or :data:`LESION_LEVEL`.
    labels : tuple of str
        :data:`VOXEL_LABELS` or :data:`COMPONENT_LABELS`.
    counts : ndarray of int64, shape (n, n)
        The lesion level has no cell (0, 0): it is 0 and stands for nothing.
    note : str
        How a component got its column.
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
        :data:`VOXEL_LEVEL` or :data:`LESION_LEVEL`.
    population : str
        Which voxels or components are counted, in words.
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
    """How often masks of a class are empty in one method's cases; names of the cases."""

    method: str
    class_id: str
    both: tuple[str, ...]
    reference_only: tuple[str, ...]
    prediction_only: tuple[str, ...]


@dataclass(frozen=True)
class TrainingLog:
    """One training log: columns by name, as many values each as epochs (or steps); NaN where the log has none."""

    name: str
    columns: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class CaseArrays:
    """What an overlay of one case and method needs, all on the reference's grid.

    Parameters
    ----------
    reference, prediction : ndarray of uint8, shape (K, J, I)
        Label maps, after the minimum lesion size.
    image : ndarray of float32 or None
        The FLAIR, where the manifest names one.
    ijk_to_ras : ndarray, shape (4, 4)
        mm, RAS.
    """

    reference: np.ndarray
    prediction: np.ndarray
    image: np.ndarray | None
    ijk_to_ras: np.ndarray


def _no_arrays(case: str, method: str) -> CaseArrays:
    raise KeyError((case, method))


@dataclass(frozen=True)
class EvaluationResult:
    """Everything one evaluation found.

    Parameters
    ----------
    conventions : Conventions
    cases : tuple of CaseInfo
    methods : tuple of MethodInfo
        In the order in which they were given.
    rows : tuple of CaseRow
    lesion_rows : tuple of LesionCaseRow
    summary : tuple of SummaryRow
    pooled : tuple of PooledRow
    confusions : tuple of ConfusionMatrix
    normal_abnormal : tuple of NormalAbnormalRow
        Empty where the reference has no normal WMH.
    curves : tuple of Curve
    slice_levels : tuple of SliceLevel
    slice_curves : tuple of SliceCurve
    volume_groups : tuple of VolumeGroup
    group_tests : tuple of GroupTests
    loads : tuple of LoadAgreement
    paired : tuple of PairedTest
        Empty with one method.
    empty : tuple of EmptyCases
    refusals : tuple of Refusal
    training : tuple of TrainingLog
    notes : tuple of str
        What a reader of the report must know: resampled masks, classes left out, empty cases, few patients.
    versions : mapping of str to str
        Software.
    created : str
        UTC, ISO 8601.
    arrays : callable
        ``arrays(case, method) -> CaseArrays`` reads the files again; raises ``KeyError`` for a pair without figures and
        a :class:`~flairseg.errors.FlairSegError` if a file has gone.
    """

    conventions: Conventions
    cases: tuple[CaseInfo, ...] = ()
    methods: tuple[MethodInfo, ...] = ()
    rows: tuple[CaseRow, ...] = ()
    lesion_rows: tuple[LesionCaseRow, ...] = ()
    summary: tuple[SummaryRow, ...] = ()
    pooled: tuple[PooledRow, ...] = ()
    confusions: tuple[ConfusionMatrix, ...] = ()
    normal_abnormal: tuple[NormalAbnormalRow, ...] = ()
    curves: tuple[Curve, ...] = ()
    slice_levels: tuple[SliceLevel, ...] = ()
    slice_curves: tuple[SliceCurve, ...] = ()
    volume_groups: tuple[VolumeGroup, ...] = ()
    group_tests: tuple[GroupTests, ...] = ()
    loads: tuple[LoadAgreement, ...] = ()
    paired: tuple[PairedTest, ...] = ()
    empty: tuple[EmptyCases, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    training: tuple[TrainingLog, ...] = ()
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    arrays: Callable[[str, str], CaseArrays] = field(default=_no_arrays, repr=False, compare=False)
