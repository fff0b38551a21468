"""Streams and ids of a study's events, values of answers and marks, and the tidy rows for analysis.

The events themselves are in :mod:`flairseg.study.events`. After the study is closed and the key unsealed,
:mod:`flairseg.study.ratings` joins the two to the rows below.

Imports the standard library only.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

#: Namespace of event ids that are derived from content (RFC 9562, version 5).
_NAMESPACE = uuid.UUID("6d1f7a52-6b0c-5b53-9d1e-0f3c5d1a2b47")

# --- streams ---------------------------------------------------------------------------------------------------------


def study_stream(study_id: str) -> str:
    """Stream of the coordinator's events of one study."""
    return f"study/{study_id}"


def rater_stream(study_id: str, rater: str) -> str:
    """Stream of one rater's events of one study."""
    return f"study/{study_id}/rater/{rater}"


def reference_stream(session_id: str) -> str:
    """Stream of one reference session (delineation, dots, agreement)."""
    return f"reference/{session_id}"


def answer_event_id(study_id: str, rater: str, code: str) -> str:
    """Id of the only event that answers a showing: derived from the showing, so that it can be stored only once."""
    return str(uuid.uuid5(_NAMESPACE, f"{study_id}\n{rater}\n{code}"))


def study_event_id(study_id: str, kind: str) -> str:
    """Id of an event that a study has only once (locked, closed, unsealed)."""
    return str(uuid.uuid5(_NAMESPACE, f"{study_id}\n{kind}"))


# --- vocabulary ------------------------------------------------------------------------------------------------------

#: Ids of the protocol's optional questions, beside those it lists.
CONFIDENCE_QUESTION = "confidence"
COMMENT_QUESTION = "comment"

#: Response types, named as in the contract's CSV where listed there.
ACCEPTABILITY = "Acceptability"
LIKERT_5 = "Likert_5"
YES_NO = "Yes_No"
NUMERIC = "Numeric"
TEXT = "Text"
RESPONSE_TYPES = (ACCEPTABILITY, LIKERT_5, YES_NO, NUMERIC, TEXT)

#: Values of an ``Acceptability`` answer.
ACCEPTABLE = "acceptable"
UNACCEPTABLE = "unacceptable"
#: Values of a ``Yes_No`` answer.
YES = "yes"
NO = "no"

FALSE_POSITIVE = "false_positive"
FALSE_NEGATIVE = "false_negative"

#: ``Likert_5`` is an int 1..5, ``Numeric`` a float, ``Text`` a str; None: not answered.
Answer = str | int | float | None


@dataclass(frozen=True)
class Mark:
    """One click of a rater.

    Attributes
    ----------
    id : str
        Unique; the event that removes a mark names it.
    kind : str
        ``FALSE_POSITIVE`` (tied to a delineated lesion) or ``FALSE_NEGATIVE`` (a place without one).
    ras : tuple of 3 float
        Position of the click, RAS mm, in the frame that was shown.
    lesion : int or None
        Number of the delineated lesion (1, 2, ... in the order of
        :func:`~flairseg.study.acceptance.delineated_lesions`); None for a false negative.
    """

    id: str
    kind: str
    ras: tuple[float, float, float]
    lesion: int | None = None

    def to_payload(self) -> dict[str, Any]:
        """The mark as JSON has it."""
        return {**asdict(self), "ras": [float(x) for x in self.ras]}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Mark:
        """The mark that a payload holds; unknown keys are left alone."""
        known = {f.name: payload[f.name] for f in fields(cls) if f.name in payload}
        return cls(**{**known, "ras": tuple(float(x) for x in known["ras"])})


@dataclass(frozen=True)
class Rating:
    """One answer of one rater to one question about one showing: a row of the tidy table.

    Fields unknown to an import are None.

    Attributes
    ----------
    case, arm : str
        Case of the protocol, and which of its segmentations (``""`` where a study has only one).
    rater : str
        The rater's code.
    repeat : int
        0 for the first showing of this case and arm to this rater, 1 for the second, ...
    question : str
        Question id.
    value : str, int, float or None
        The last valid value (a correction replaces the first answer); None: not answered.
    response_type : str
        One of ``RESPONSE_TYPES``.
    question_text : str
        As the rater read it.
    shown_at, answered_at : str or None
        ISO 8601, UTC.
    active_seconds, idle_seconds : float or None
        Time at work on the showing; time without activity within it. Pauses count in neither.
    delineated, false_positives, false_negatives : int or None
        Lesions in the mask; those called false; missed ones that were marked.
    delineated_ml : float or None
        Volume of all lesions in the mask, ml.
    proposed : str or None
        The proposal of S5's rule.
    confidence : int or None
        1 (guessing) to 5 (certain).
    comment : str
        Free text to the showing.
    position : int or None
        Place in the rater's order, from 0, training cases included.
    mirrored : bool
        Shown mirrored left to right.
    training : bool
        A training case: not for results.
    timed_out : bool
        The time limit ended the showing.
    corrected : bool
        ``value`` was changed after it was given (both are in the store).
    first_value : str, int, float or None
        The first answer; equal to ``value`` unless ``corrected``.
    model, reader : str
        Source of the mask: model id and version, or human reader; from the protocol.
    study_id, session_id, event_id, protocol_sha256 : str
        Source of the row.
    """

    case: str
    arm: str
    rater: str
    repeat: int
    question: str
    value: Answer
    response_type: str = TEXT
    question_text: str = ""
    shown_at: str | None = None
    answered_at: str | None = None
    active_seconds: float | None = None
    idle_seconds: float | None = None
    delineated: int | None = None
    false_positives: int | None = None
    false_negatives: int | None = None
    delineated_ml: float | None = None
    proposed: str | None = None
    confidence: int | None = None
    comment: str = ""
    position: int | None = None
    mirrored: bool = False
    training: bool = False
    timed_out: bool = False
    corrected: bool = False
    first_value: Answer = None
    model: str = ""
    reader: str = ""
    study_id: str = ""
    session_id: str = ""
    event_id: str = ""
    protocol_sha256: str = ""

    def to_row(self) -> dict[str, Any]:
        """Column name to value, in the order of the columns."""
        return asdict(self)


@dataclass(frozen=True)
class MarkRow:
    """One mark of one rater after the key was opened: a row of the lesion-level table.

    Attributes
    ----------
    case, arm, rater, repeat, training
        As in :class:`Rating`.
    kind : str
        ``FALSE_POSITIVE`` or ``FALSE_NEGATIVE``.
    lesion : int or None
        Number of the lesion **in the shown mask**; repeats that were mirrored number theirs differently.
    ras : tuple of 3 float
        RAS mm in the frame of the source image (a mirrored showing is turned back): comparable over raters and repeats.
    lesion_centre_ras : tuple of 3 float or None
        Centre of mass of the lesion called false, source frame; equal over repeats of one mask.
    lesion_ml : float or None
        Its volume, ml.
    """

    case: str
    arm: str
    rater: str
    repeat: int
    kind: str
    lesion: int | None
    ras: tuple[float, float, float]
    lesion_centre_ras: tuple[float, float, float] | None = None
    lesion_ml: float | None = None
    training: bool = False

    def to_row(self) -> dict[str, Any]:
        """Column name to value, points spread over three columns."""
        row = asdict(self)
        for name in ("ras", "lesion_centre_ras"):
            point = row.pop(name)
            for axis, letter in enumerate("ras"):
                row[f"{name}_{letter}" if name != "ras" else letter] = None if point is None else point[axis]
        return row


@dataclass(frozen=True)
class CorrectionRow:
    """One mask edited after its answer.

    Attributes
    ----------
    case, arm, rater, repeat
        As in :class:`Rating`.
    active_seconds : float
        Time at work on the edit.
    voxels_added, voxels_removed : mapping of str to int
        Class id -> voxels.
    before_sha256, after_sha256 : str
        Of the label arrays (see :func:`flairseg.study.images.labels_sha256`).
    file : str
        The edited mask, relative to the rater's room.
    """

    case: str
    arm: str
    rater: str
    repeat: int
    active_seconds: float
    voxels_added: Mapping[str, int] = field(default_factory=dict)
    voxels_removed: Mapping[str, int] = field(default_factory=dict)
    before_sha256: str = ""
    after_sha256: str = ""
    file: str = ""


#: Columns of the tidy table, in order.
RATING_COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Rating))
