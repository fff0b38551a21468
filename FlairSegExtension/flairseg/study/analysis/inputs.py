"""Input of an analysis: the rows of a study or of imported files, and metadata of the study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..records import CorrectionRow, MarkRow, Rating
from .lesions import CaseFrame
from .tidy import Exclusion


@dataclass(frozen=True)
class StudyDescription:
    """Study metadata from the protocol; all may be unknown (empty) for ratings from elsewhere.

    Parameters
    ----------
    title, study_id, protocol_sha256 : str
    order_seed : str
        Seed (or seeds) of the raters' orders, as the protocol has them.
    blinding, layout, washout : str
        Sentences.
    software : str
        Software that collected the ratings, and its version.
    models : mapping of str to str
        Arm -> source of its masks.
    raters : mapping of str to str
        Rater code -> experience, for instance ``5 years``.
    repeats : int or None
        Planned showings of each case and arm to each rater.
    mirrored : bool
        Whether repeats were mirrored.
    threshold : float or None
        Of the rule that proposed whether a mask is acceptable; None: not known, or no such question.
    chain_verified : bool or None
        Whether the store's hash chain was checked and holds; None: not checked.
    source : str
        Source of the ratings, for instance ``imported from ratings.csv``.
    remarks : tuple of str
        Further remarks (inferred types, guessed encodings).
    """

    title: str = "Rating study"
    study_id: str = ""
    protocol_sha256: str = ""
    order_seed: str = ""
    blinding: str = ""
    layout: str = ""
    washout: str = ""
    software: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    raters: Mapping[str, str] = field(default_factory=dict)
    repeats: int | None = None
    mirrored: bool = False
    threshold: float | None = None
    chain_verified: bool | None = None
    source: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnalysisInputs:
    """All inputs of an analysis.

    Parameters
    ----------
    ratings : sequence of Rating
        Training cases are set apart.
    study : StudyDescription
    marks, corrections : iterable
        Rows of the lesion-level table and of edited masks.
    exclusions : iterable of Exclusion
        Cases left out, with reasons; their rows are dropped.
    failures : iterable of str
        Failures during the study, as sentences.
    expected : iterable of (case, arm, rater, repeat), optional
        The design: defines what is missing.
    frames : mapping of str to CaseFrame
        Case -> box of its brain, for the error map.
    """

    ratings: Sequence[Rating]
    study: StudyDescription = StudyDescription()
    marks: Iterable[MarkRow] = ()
    corrections: Iterable[CorrectionRow] = ()
    exclusions: Iterable[Exclusion] = ()
    failures: Iterable[str] = ()
    expected: Iterable[tuple[str, str, str, int]] | None = None
    frames: Mapping[str, CaseFrame] = field(default_factory=dict)
