"""Requests and answers between Slicer and the worker process, as sent by :mod:`.codec`.

Arrays are K, J, I; affines IJK -> RAS, mm. Sequences may arrive as lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..comparison.figures import Failure, ModelFigures
from ..image.packed import CompactAnswer
from ..image.volume import Volume
from ..labels import CLASS_BY_VALUE
from ..report.case import Change, ChangedLesion, Grade, Review, Study
from ..segmentation.result import Segmentation


@dataclass(frozen=True)
class SegmentRequest:
    """Segment ``volume``; answered by a :class:`~flairseg.segmentation.result.Segmentation`.

    ``in_use``: ``model`` is the model in use, and was not chosen for this volume: see :mod:`flairseg.models.in_use`.
    ``regions``: a :class:`RegionsAnswer` follows as a second answer.
    """

    volume: Volume
    model: str | None
    device: str = "auto"
    in_use: bool = False
    regions: bool = False


@dataclass(frozen=True)
class RegionsRequest:
    """Find the regions of the brain on ``volume`` with its ``labels`` (uint8)."""

    volume: Volume
    labels: np.ndarray


@dataclass(frozen=True)
class RegionsAnswer:
    """``text``: see :func:`flairseg.anatomy.packing.pack_regions`; empty where none were found, see ``warnings``."""

    text: str
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class CompareRequest:
    """Segment ``volume`` with several models (ids or paths)."""

    volume: Volume
    models: Sequence[str]
    device: str = "auto"


@dataclass(frozen=True)
class CompareAnswer:
    """Result of several models.

    Attributes
    ----------
    rows : sequence of ModelFigures
    results : sequence of Segmentation or None
        In the same order; None for a model that failed.
    dice : dict
        Class id to a matrix, models x models; None where it is not known.
    """

    rows: Sequence[ModelFigures]
    results: Sequence[Segmentation | None]
    dice: Mapping[str, Sequence[Sequence[float | None]]]


@dataclass(frozen=True)
class FollowStudy:
    """A study of a patient: its ``date`` (ISO 8601) if known, its ``labels`` (uint8) if it is segmented already."""

    volume: Volume
    date: str | None = None
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class FollowRequest:
    """Find the changes between studies of one patient.

    Attributes
    ----------
    studies : sequence of FollowStudy
        The earliest first.
    model, device
        For those that are not segmented.
    regions : ndarray of uint8, optional
        Of the last study, see :mod:`flairseg.anatomy.packing`.
    in_use : bool
        As for :class:`SegmentRequest`.
    """

    studies: Sequence[FollowStudy]
    model: str | None
    device: str = "auto"
    regions: np.ndarray | None = None
    in_use: bool = False


@dataclass(frozen=True)
class FollowAnswer:
    """A follow-up.

    Attributes
    ----------
    changes : Change
        Studies and lesions, as in ``followup.json``.
    ijk_to_ras : ndarray, shape (4, 4)
        Of the half-way grid.
    difference : ndarray of float32
        On it.
    change : ndarray of uint8
        On it; :data:`flairseg.longitudinal.states.CODES`.
    to_halfway : sequence of ndarray, shape (4, 4)
        Rigid motion (RAS mm) from each study to the half-way space.
    """

    changes: Change
    ijk_to_ras: np.ndarray
    difference: np.ndarray
    change: np.ndarray
    to_halfway: Sequence[np.ndarray]


@dataclass(frozen=True)
class ExportRequest:
    """Write report and DICOM objects of a case; what exists is kept.

    Attributes
    ----------
    volume : Volume
        The FLAIR, as the scanner had it; its name is the case's.
    labels : ndarray of uint8
        As they are now, corrected or not.
    folder : str
        Created if need be.
    stem : str
        Begin of the files' names; where it is taken, a number is added. With pseudonyms, the case's takes its place.
    outputs : sequence of str
        Of :data:`flairseg.worker.export.OUTPUTS`; ``dicom`` is SEG, SR and the report's PDF.
    model_id, model_sha256 : str
        Origin of the labels.
    classes : sequence of int
        Classes that were assessed, where the model is unknown here.
    answer : CompactAnswer, optional
        The model's own, for its probabilities.
    thresholds : sequence of float, optional
        Probabilities (core voxel, outline) at which a reader had the lesions redrawn.
    regions : ndarray of uint8, optional
        See :mod:`flairseg.anatomy.packing`; found where None.
    created : str
        When the model made the labels, ISO 8601.
    algorithm_type : str
        ``AUTOMATIC``, ``SEMIAUTOMATIC`` or ``MANUAL``.
    warnings : sequence of str
        Of the run.
    review : Review
        A reader's decision.
    date : str, optional
        Of the study, ISO 8601.
    followup : Change, optional
        A follow-up to this study.
    source_files, source_folder
        The DICOM series that the volume was loaded from: its files, or the folder that holds them.
    pseudonymise : bool
        Put pseudonyms in place of names, UIDs and dates.
    key : str
        Path of the secret that makes them; made if it is not there. Empty: a random one, forgotten.
    """

    volume: Volume
    labels: np.ndarray
    folder: str
    stem: str
    outputs: Sequence[str]
    model_id: str = ""
    model_sha256: str = ""
    classes: Sequence[int] = tuple(CLASS_BY_VALUE)
    answer: CompactAnswer | None = None
    thresholds: Sequence[float] | None = None
    regions: np.ndarray | None = None
    created: str = ""
    algorithm_type: str = "MANUAL"
    warnings: Sequence[str] = ()
    review: Review = field(default_factory=Review)
    date: str | None = None
    followup: Change | None = None
    source_files: Sequence[str] = ()
    source_folder: str = ""
    pseudonymise: bool = False
    key: str = ""


@dataclass(frozen=True)
class ExportAnswer:
    """Paths of the ``files`` that were written, and ``warnings``."""

    files: Sequence[str]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class AdaptRequest:
    """Adapt the model in use to the reviewed cases of a site, and validate the result.

    Completed parts are kept in ``output``: if the process is ended, the next request resumes.

    Attributes
    ----------
    cases, output : str
        Folders.
    minutes : float
        That it may take.
    device : str
        As of :class:`flairseg.adapt.options.TrainingOptions`.
    """

    cases: str
    output: str
    minutes: float
    device: str = "auto"


@dataclass(frozen=True)
class AdaptAnswer:
    """``folder``: see :func:`flairseg.adapt.outcomes.read_outcome`; ``names``: case by its number in the proof."""

    folder: str
    names: Mapping[str, str]


Request = SegmentRequest | RegionsRequest | CompareRequest | FollowRequest | ExportRequest | AdaptRequest
#: Types sent field by field.
MESSAGES = (
    SegmentRequest, RegionsRequest, RegionsAnswer, CompareRequest, CompareAnswer, FollowStudy, FollowRequest,
    FollowAnswer, ExportRequest, ExportAnswer, AdaptRequest, AdaptAnswer, Review,
    Study, ChangedLesion, Grade, ModelFigures, Failure,
)  # fmt: skip
