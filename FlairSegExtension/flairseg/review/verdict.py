"""The verdict on one case, as ``verdict.json`` holds it.

Checked in two ways: against ``verdict.schema.json`` with jsonschema where that is installed, and by the checks below,
which hold everywhere (Slicer's Python has no jsonschema).
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..labels import CLASSES
from .errors import InvalidEventError, InvalidVerdictError
from .events import canonical_json, new_event, utc_now

#: Possible decisions of a reader. ``PENDING`` is for display only: nothing pending is saved.
ACCEPTED = "accepted"
ACCEPTED_AFTER_EDITS = "accepted_after_edits"
REJECTED = "rejected"
PENDING = "pending"
DECISIONS = (ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED)

#: Version of ``verdict.json``.
FORMAT_VERSION = 1
SCHEMA_NAME = "verdict.schema.json"

_SEGMENT_IDS = tuple(c.id for c in CLASSES)
_ADDED, _REMOVED = "voxels_added", "voxels_removed"


@dataclass(frozen=True)
class Verdict:
    """A reader's decision on one segmentation, with its history.

    Attributes
    ----------
    verdict : str
        :data:`ACCEPTED`, :data:`ACCEPTED_AFTER_EDITS` or :data:`REJECTED`.
    reason : str
        Why; needed for a rejection.
    reader : str
        Code or name of the reader.
    comment : str
        Free comment of the reader.
    started_at, decided_at : str
        When the reader saw the case first, and when the decision fell: ISO 8601 with a time zone. ``decided_at`` is set
        when the verdict is saved, if it is empty.
    active_seconds : float
        Time of active editing and looking, without pauses.
    edits : mapping
        Segment id -> ``{"voxels_added": n, "voxels_removed": n}``.
    model : mapping
        ``{"id", "version", "sha256"}`` of the model whose segmentation was judged; empty if a human drew it.
    classes : tuple of str
        Segment ids that were reviewed; adaptation takes the others as unknown, not as background. Empty: all.
    software : mapping
        Name -> version.
    parent_version : int, optional
        Version of the case that this one is based on. Default when saving: the newest.
    event_id : str
        UUID under which the same verdict goes to the event store: once, however often it is sent.
    """

    verdict: str
    reason: str = ""
    reader: str = ""
    comment: str = ""
    started_at: str = ""
    decided_at: str = ""
    active_seconds: float = 0.0
    edits: Mapping[str, Mapping[str, int]] = field(default_factory=dict, hash=False)
    model: Mapping[str, str] = field(default_factory=dict, hash=False)
    software: Mapping[str, str] = field(default_factory=dict, hash=False)
    parent_version: int | None = None
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    classes: tuple[str, ...] = ()

    def checked(self) -> Verdict:
        """The same verdict with its times and numbers in one spelling.

        Raises
        ------
        InvalidVerdictError
            If it is not complete or not valid.
        """
        if self.verdict not in DECISIONS:
            raise InvalidVerdictError(
                f"{self.verdict!r} is not a verdict that can be saved.", f"Choose one of: {', '.join(DECISIONS)}."
            )
        if self.verdict == REJECTED and not self.reason.strip():
            raise InvalidVerdictError("A rejection needs a reason.", "Choose or enter the reason for rejection.")
        if not (math.isfinite(self.active_seconds) and self.active_seconds >= 0):
            raise InvalidVerdictError(
                f"{self.active_seconds} seconds of editing are not possible.",
                "This is a program error; please report it.",
            )
        if unknown := set(self.classes) - set(_SEGMENT_IDS):
            raise InvalidVerdictError(
                f"Unknown classes: {', '.join(sorted(unknown))}.", "Use the ids of FlairSeg's classes."
            )
        if self.parent_version is not None and self.parent_version < 1:
            raise InvalidVerdictError("Versions count from 1.", "Omit the parent version.")
        times = {name: _time(name, getattr(self, name)) for name in ("started_at", "decided_at")}
        times["decided_at"] = times["decided_at"] or utc_now()
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        checked = Verdict(
            **{
                **content,
                **times,
                "active_seconds": float(self.active_seconds),
                "edits": _edits(self.edits),
                "model": {str(k): str(v) for k, v in self.model.items() if v is not None},
                "software": {str(k): str(v) for k, v in self.software.items() if v is not None},
                "event_id": _event_id(self.event_id),
                "classes": tuple(i for i in _SEGMENT_IDS if i in self.classes),
            }
        )
        try:
            canonical_json({f.name: getattr(checked, f.name) for f in fields(checked)})
        except InvalidEventError as error:
            raise InvalidVerdictError(error.message, error.advice) from error
        return checked


def to_json(verdict: Verdict, case: str, version: int, saved_at: str, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Content of ``verdict.json``.

    Parameters
    ----------
    verdict : Verdict
        :meth:`Verdict.checked`.
    case, version
        Original name of the case, and the version that is saved.
    saved_at : str
        ISO 8601, UTC.
    hashes : mapping
        File name -> sha256, hexadecimal.
    """
    return {
        "format": FORMAT_VERSION,
        "case": case,
        "version": version,
        "parent_version": verdict.parent_version,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "comment": verdict.comment,
        "reader": verdict.reader,
        "times": {
            "started_at": verdict.started_at or None,
            "decided_at": verdict.decided_at,
            "saved_at": saved_at,
        },
        "active_seconds": verdict.active_seconds,
        "edits": {segment: dict(counts) for segment, counts in verdict.edits.items()},
        "model": dict(verdict.model),
        **({"classes": list(verdict.classes)} if verdict.classes not in ((), _SEGMENT_IDS) else {}),
        "software": dict(verdict.software),
        "hashes": dict(hashes),
        "event_id": verdict.event_id,
    }


def from_json(content: Mapping[str, Any]) -> Verdict:
    """The verdict in ``verdict.json``.

    Raises
    ------
    InvalidVerdictError
        If the content is not one.
    """
    fault = schema_fault(content)
    if fault is not None:
        raise InvalidVerdictError(f"verdict.json is not valid: {fault}.", "Restore the file from a backup.")
    try:
        if content["format"] > FORMAT_VERSION:
            raise InvalidVerdictError(
                f"verdict.json has the format {content['format']}; this FlairSeg knows {FORMAT_VERSION}.",
                "Update FlairSeg on this computer.",
            )
        times = content["times"]
        return Verdict(
            content["verdict"],
            content["reason"],
            content["reader"],
            content["comment"],
            times["started_at"] or "",
            times["decided_at"],
            content["active_seconds"],
            content["edits"],
            content["model"],
            content["software"],
            content["parent_version"],
            content["event_id"],
            tuple(content.get("classes", ())),
        ).checked()
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidVerdictError(
            f"verdict.json lacks {error}, or it is misspelt.", "Restore the file from a backup."
        ) from error


def schema() -> dict[str, Any]:
    """``verdict.schema.json``."""
    out: dict[str, Any] = json.loads(Path(__file__).with_name(SCHEMA_NAME).read_text(encoding="utf-8"))
    return out


def schema_fault(content: Mapping[str, Any]) -> str | None:
    """The first violation of ``verdict.schema.json``, as a sentence.

    None if it does not, or if jsonschema is not installed.
    """
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        return None
    error = next(iter(Draft202012Validator(schema()).iter_errors(content)), None)
    if error is None:
        return None
    return f"{'.'.join(map(str, error.absolute_path)) or 'the top level'}: {error.message}"


def _edits(edits: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    unknown = [segment for segment in edits if segment not in _SEGMENT_IDS]
    if unknown:
        raise InvalidVerdictError(
            f"There is no segment {unknown[0]!r}.", f"The segments are: {', '.join(_SEGMENT_IDS)}."
        )
    counted = {}
    for segment, counts in edits.items():
        counted[segment] = {_ADDED: int(counts.get(_ADDED, 0)), _REMOVED: int(counts.get(_REMOVED, 0))}
        if set(counts) - {_ADDED, _REMOVED} or min(counted[segment].values()) < 0:
            raise InvalidVerdictError(
                f"The edits of {segment} are not counts of voxels.", "This is a program error; please report it."
            )
    return counted


def _time(name: str, time: str) -> str:
    if not time:
        return ""
    try:
        return new_event("-", "-", {}, recorded_at=time).recorded_at
    except InvalidEventError as error:
        raise InvalidVerdictError(f"{name}: {error.message}", error.advice) from error


def _event_id(event_id: str) -> str:
    try:
        return new_event("-", "-", {}, event_id=event_id).event_id
    except InvalidEventError as error:
        raise InvalidVerdictError(error.message, error.advice) from error
