"""The protocol of a reader study: one JSON file with everything a methods section needs.

:mod:`.protocol_reading` reads it from its file and checks it.

Once the study is locked (:mod:`.study`), the sha256 of the protocol's canonical JSON is part of every record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..labels import LESION
from .canonical import content_sha256
from .errors import AnswerRefusedError, ProtocolError
from .records import (
    ACCEPTABILITY,
    ACCEPTABLE,
    LIKERT_5,
    NO,
    NUMERIC,
    TEXT,
    UNACCEPTABLE,
    YES,
    Answer,
)

#: Version of the file format: the value of the key ``flairseg_study``.
PROTOCOL_FORMAT = 1

#: Blinding. ``full``: a new code for every showing. ``source``: the case's id is shown, the source of
#: the mask is not. ``open``: case and arm are shown.
BLIND_FULL = "full"
BLIND_SOURCE = "source"
BLIND_NONE = "open"
BLINDING = (BLIND_FULL, BLIND_SOURCE, BLIND_NONE)

LAYOUTS = ("acquisition-plane", "axial", "sagittal", "coronal", "four-up")
OVERLAYS = ("outline", "fill")


@dataclass(frozen=True)
class Arm:
    """One segmentation of a case.

    Attributes
    ----------
    id : str
        The arm: the same id in every case (a model, another model, a human).
    mask : str
        Label file, relative to the protocol's folder or absolute.
    classes : mapping of int to int
        Value in the file -> class value shown (see :mod:`flairseg.labels`); all other values are background.
    labels : str
        Meaning of the values instead of ``classes``, as :func:`flairseg.io.label_meanings.parse_meaning` takes it
        (``binary``, ``samseg``, ``1=lesion``).
    model, model_sha256, reader : str
        Source of the mask.
    """

    id: str
    mask: str
    classes: Mapping[int, int] = field(default_factory=lambda: {LESION: LESION})
    model: str = ""
    model_sha256: str = ""
    reader: str = ""
    labels: str = ""


@dataclass(frozen=True)
class StudyCase:
    """One patient's image and its segmentations.

    Attributes
    ----------
    id : str
        Unique in the study. Seen by a rater only where the blinding level allows.
    flair : str
        Image file or DICOM folder, relative to the protocol's folder or absolute.
    arms : tuple of Arm
        One or more.
    feedback : str
        Training cases only: shown after the answer.
    """

    id: str
    flair: str
    arms: tuple[Arm, ...]
    feedback: str = ""


@dataclass(frozen=True)
class Rater:
    """A rater: a code, never a name.

    Attributes
    ----------
    id : str
        The rater's code.
    seed : int
        Of the rater's order.
    experience_years : float or None
        To be reported; not used.
    """

    id: str
    seed: int
    experience_years: float | None = None


@dataclass(frozen=True)
class Question:
    """One question of a showing.

    Attributes
    ----------
    id, text : str
    type : str
        One of :data:`~flairseg.study.records.RESPONSE_TYPES`.
    required : bool
        Whether a showing can be submitted without its answer.
    threshold : float
        ``Acceptability``: the fraction of S5's rule, 0.9 (more than, not at least).
    labels : tuple of str
        ``Likert_5``: five words for 1 to 5, or none.
    minimum, maximum : float or None
        ``Numeric``: the range.
    """

    id: str
    text: str
    type: str
    required: bool = True
    threshold: float = 0.9
    labels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def check(self, value: Answer) -> Answer:
        """The value as it is stored.

        Raises
        ------
        ValueError
            Describing a valid answer.
        """
        if self.type == LIKERT_5:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 5:
                raise ValueError("the answer is a whole number from 1 to 5")
            return value
        if self.type == NUMERIC:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
                raise ValueError("the answer is a number")
            if self.minimum is not None and value < self.minimum:
                raise ValueError(f"the answer is at least {self.minimum:g}")
            if self.maximum is not None and value > self.maximum:
                raise ValueError(f"the answer is at most {self.maximum:g}")
            if abs(value) == float("inf"):
                raise ValueError("the answer is a finite number")
            return float(value)
        if self.type == TEXT:
            if not isinstance(value, str):
                raise ValueError("the answer is text")
            return value
        allowed = (ACCEPTABLE, UNACCEPTABLE) if self.type == ACCEPTABILITY else (YES, NO)
        if value not in allowed:
            raise ValueError(f"the answer is {allowed[0]} or {allowed[1]}")
        return value

    def accepted(self, value: Answer) -> Answer:
        """The value as it is stored; ``AnswerRefusedError`` if it is not an answer to this question."""
        try:
            return self.check(value)
        except ValueError as error:
            raise AnswerRefusedError(
                f"{value!r} is not an answer to “{self.text}”: {error}.", "Choose one of its answers."
            ) from error


@dataclass(frozen=True)
class Washout:
    """Minimal distance between two showings of the same mask or case.

    Attributes
    ----------
    cases : int
        Showings of other cases between two showings of the same case and arm, at least.
    arms : int
        Showings of other cases between two showings of one case, whatever the arm, at least; 1: never side by side.
    days : float
        Days between the last answer of one round of repeats and the first showing of the next, at least.
    """

    cases: int = 0
    arms: int = 1
    days: float = 0.0


@dataclass(frozen=True)
class Display:
    """Initial display of a showing; the rater's changes are logged.

    Attributes
    ----------
    layout : str
        One of ``LAYOUTS``; ``acquisition-plane`` is the plane of thick slices.
    window, level : float or None
        Gray values of the image; None: from the image.
    overlay : str
        ``outline`` or ``fill``.
    overlay_opacity : float
        0..1.
    """

    layout: str = "acquisition-plane"
    window: float | None = None
    level: float | None = None
    overlay: str = "outline"
    overlay_opacity: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The part of a protocol known to a reading room: questions and display, not the comparison.

    Attributes
    ----------
    title : str
        Shown to the raters: must not name what is compared.
    questions : tuple of Question
    instructions : str
        Shown before the first case.
    blinding : str
        One of ``BLINDING``.
    time_limit_s : float or None
        Seconds for one showing, pauses not counted.
    idle_after_s : float
        Time without activity after which the rater counts as idle.
    confidence, comment, correction : bool
        Ask for confidence 1..5; offer a comment; offer the mask for correction after the answer.
    display : Display
    """

    title: str
    questions: tuple[Question, ...]
    instructions: str = ""
    blinding: str = BLIND_FULL
    time_limit_s: float | None = None
    idle_after_s: float = 30.0
    confidence: bool = False
    comment: bool = True
    correction: bool = False
    display: Display = field(default_factory=Display)

    def question(self, question_id: str) -> Question | None:
        """The question of that id."""
        return next((q for q in self.questions if q.id == question_id), None)

    @property
    def acceptability(self) -> Question | None:
        """The question that S5's rule proposes an answer to."""
        return next((q for q in self.questions if q.type == ACCEPTABILITY), None)


#: Keys of the protocol's JSON that make its :class:`Rules`.
RULE_KEYS = (
    "title",
    "instructions",
    "questions",
    "blinding",
    "time_limit_s",
    "idle_after_s",
    "confidence",
    "comment",
    "correction",
    "display",
)


@dataclass(frozen=True, kw_only=True)
class Protocol(Rules):
    """A reader study, as defined by its JSON file.

    Attributes
    ----------
    id, version : str
    cases, training_cases : tuple of StudyCase
        Training cases come first, once per arm, and count in no result.
    raters : tuple of Rater
    repeats : int
        Showings of every case and arm to every rater.
    mirror_repeats : bool
        Show every other repeat mirrored left to right (which first is random).
    washout : Washout
    minimum_lesion_mm3 : float
        Smaller lesions are removed from every mask before it is shown (S5: 10.7); 0 keeps all.
    raw : mapping
        The JSON content, over which :attr:`sha256` is taken.
    """

    id: str
    version: str
    cases: tuple[StudyCase, ...]
    raters: tuple[Rater, ...]
    training_cases: tuple[StudyCase, ...] = ()
    repeats: int = 1
    mirror_repeats: bool = False
    washout: Washout = field(default_factory=Washout)
    minimum_lesion_mm3: float = 0.0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """sha256, hexadecimal, of the canonical JSON (RFC 8259; sorted keys, no spaces, UTF-8)."""
        return content_sha256(self.raw)

    @property
    def rules(self) -> dict[str, Any]:
        """The JSON of :class:`Rules` alone, for a reading room."""
        return {key: self.raw[key] for key in RULE_KEYS if key in self.raw}

    def case(self, case_id: str) -> StudyCase:
        """The case (or training case) of that id; ``KeyError`` if there is none."""
        return next(c for c in (*self.cases, *self.training_cases) if c.id == case_id)

    def rater(self, rater_id: str) -> Rater:
        """The rater of that code.

        Raises
        ------
        ProtocolError
            If there is none.
        """
        for rater in self.raters:
            if rater.id == rater_id:
                return rater
        raise ProtocolError("raters", f"there is no rater {rater_id!r}", "Name one of the protocol's raters.")
