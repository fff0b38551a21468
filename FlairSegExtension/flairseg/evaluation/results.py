"""Results of an evaluation: plain numbers and arrays, from which tables, figures and the report are made.

Everything is computed by :func:`flairseg.evaluation.evaluate`; nothing here computes. A figure that is not defined for
a case is NaN in arrays and rows, and None in an :class:`~flairseg.statistics.intervals.Estimate`; it is left out of
means and counted. Arrays have axis order K, J, I. Percentages are 0..100 only where the name says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ..errors import CaseWarning, FlairSegError
from .rows import (
    CaseRow,
    ConfusionMatrix,
    Curve,
    EmptyCases,
    GroupTests,
    LesionCaseRow,
    LoadAgreement,
    NormalAbnormalRow,
    PairedTest,
    PooledRow,
    SliceCurve,
    SliceLevel,
    SummaryRow,
    VolumeGroup,
)


@dataclass(frozen=True)
class Conventions:
    """All conventions behind the numbers; :attr:`sentences` states them as text for the report.

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
        Empty if not in the manifest.
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
        Keys of :data:`~.terms.EVALUATED` that it has figures for.
    missing : tuple of str
        Keys that it has none for, because it (or the reference) does not know the class.
    mapping : str
        Meaning of its label values, as text; empty for FlairSeg's own.
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
class TrainingLog:
    """One training log: columns by name, as many values each as epochs (or steps); NaN where the log has none."""

    name: str
    columns: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class CaseArrays:
    """Data of an overlay of one case and method, all on the reference's grid.

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
        Remarks for the report's reader: resampled masks, classes left out, empty cases, few patients.
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

    def with_context(self, training: Sequence[TrainingLog] = (), notes: Sequence[str] = ()) -> EvaluationResult:
        """The result with what the masks do not tell: logs of the trainings, and notes that precede its own."""
        return replace(self, training=tuple(training), notes=(*notes, *self.notes))
