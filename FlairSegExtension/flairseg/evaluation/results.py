"""Results of an evaluation: numbers and arrays for tables, figures and the report.

They are computed by :func:`flairseg.evaluation.evaluate`. A metric that is undefined for a case is NaN in arrays and
rows, and None in an :class:`~flairseg.statistics.intervals.Estimate`; it is excluded from means and counted. Arrays
have axis order K, J, I. Only fields with "percent" in their name have the range 0..100.
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
    """Conventions of an evaluation; :attr:`sentences` is their text for the report.

    Parameters
    ----------
    nsd_tolerance_mm : float
        Maximum distance at which surfaces agree.
    overlap_rule : {"voxels", "fraction", "iou"}
        Criterion of detection: shared voxels, covered fraction of the lesion, or intersection over union with one
        lesion of the other mask; see :class:`.components.OverlapRule`.
    overlap_minimum : float
        Minimum of this criterion.
    minimum_lesion_mm3 : float
        Smaller lesions are removed from prediction and reference before all lesion-level and voxel-level metrics; 0
        keeps all (S5: 10.7).
    slice_overlap : float
        Share of a positive slice's reference that must be covered (S2: 0.1).
    confidence : float
        Level of the intervals.
    resamples, seed : int
        Bootstrap over patients; the seed is also used to sample negative slices.
    sentences : tuple of (str, str)
        Heading and text of each convention, in order.
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
        Warnings about its reference and, with the method's name as prefix, about each method's files.
    """

    case: str
    site: str = ""
    disease: str = ""
    shape_kji: tuple[int, int, int] = (0, 0, 0)
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    warnings: tuple[CaseWarning, ...] = ()


@dataclass(frozen=True)
class MethodInfo:
    """A method and its evaluated classes.

    Parameters
    ----------
    name : str
    classes : tuple of str
        Keys of :data:`~.terms.EVALUATED` with metrics.
    missing : tuple of str
        Keys without metrics, since the method or the reference does not contain the class.
    mapping : str
        Meaning of its label values, as text; empty for FlairSeg's own.
    cases : int
        Evaluated patients.
    probabilities : int
        Evaluated patients with probabilities.
    """

    name: str
    classes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    mapping: str = ""
    cases: int = 0
    probabilities: int = 0


@dataclass(frozen=True)
class Refusal:
    """A case of a method that could not be evaluated, with the reason; ``error`` for the advice of front ends."""

    case: str
    method: str
    message: str
    advice: str = ""
    error: FlairSegError | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class TrainingLog:
    """A training log: columns by name with one value per row; NaN where the log has none."""

    name: str
    columns: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class CaseArrays:
    """Arrays for the overlay of a case and method, on the reference's grid.

    Parameters
    ----------
    reference, prediction : ndarray of uint8, shape (K, J, I)
        Label maps, without lesions below the minimum volume.
    image : ndarray of float32 or None
        The FLAIR, if given.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine, RAS mm.
    """

    reference: np.ndarray
    prediction: np.ndarray
    image: np.ndarray | None
    ijk_to_ras: np.ndarray


def _no_arrays(case: str, method: str) -> CaseArrays:
    raise KeyError((case, method))


@dataclass(frozen=True)
class EvaluationResult:
    """Complete result of an evaluation.

    Parameters
    ----------
    conventions : Conventions
    cases : tuple of CaseInfo
    methods : tuple of MethodInfo
        In the order of the input.
    rows : tuple of CaseRow
    lesion_rows : tuple of LesionCaseRow
    summary : tuple of SummaryRow
    pooled : tuple of PooledRow
    confusions : tuple of ConfusionMatrix
    normal_abnormal : tuple of NormalAbnormalRow
        Empty if the reference has no normal WMH.
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
        Notes for the report: resampled masks, excluded classes, empty cases, few patients.
    versions : mapping of str to str
        Software versions.
    created : str
        UTC, ISO 8601.
    arrays : callable
        ``arrays(case, method) -> CaseArrays`` reads the files again; raises ``KeyError`` for a pair without metrics and
        a :class:`~flairseg.errors.FlairSegError` if a file no longer exists.
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
        """The result with training logs, and notes that precede its own."""
        return replace(self, training=tuple(training), notes=(*notes, *self.notes))
