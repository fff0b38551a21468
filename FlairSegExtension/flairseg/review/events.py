"""Events: canonical JSON, and a sha256 that chains each to its predecessor in its stream.

Order is the sequence number that the store gives, never the time: clocks are set, and go back. The hash covers
the whole content of an event, so that changing, moving or removing one can be detected (:mod:`.chain`).

The idea is that of a linked time stamp: Haber S, Stornetta WS. How to time-stamp a digital document.
J Cryptology 1991;3:99-111, doi:10.1007/BF00196791.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .errors import InvalidEventError

#: Hash that the first event of a stream points back to.
GENESIS = "0" * 64
#: Version of what is hashed, and how; part of what is hashed.
HASH_FORMAT = 1
#: Longest names of streams and kinds, characters: databases index them.
MAXIMUM_NAME = 400
#: Largest payload, bytes of canonical JSON. Masks and images belong into the case archive, their hashes here.
MAXIMUM_PAYLOAD_BYTES = 4 * 2**20


@dataclass(frozen=True)
class NewEvent:
    """An event before the store has numbered it.

    Attributes
    ----------
    stream : str
        The stream: one case, or one rater in one study.
    kind : str
        Type of the event.
    payload : mapping
        JSON values: text, numbers, true, false, null, lists and mappings with text keys.
    event_id : str
        UUID. An event that is sent twice under one id is stored once.
    recorded_at : str
        When it happened, by the clock of who recorded it: ISO 8601, UTC, microseconds, ending in Z.
    """

    stream: str
    kind: str
    payload: Mapping[str, Any]
    event_id: str
    recorded_at: str


@dataclass(frozen=True)
class Event:
    """An event as the store keeps it.

    Attributes
    ----------
    sequence : int
        Place in its stream, from 1, without gaps.
    stream, kind, event_id, recorded_at, payload
        As in :class:`NewEvent`.
    stored_at : str
        When the store took it, by the clock of who brought it; later than ``recorded_at`` if it waited in an outbox.
    previous_hash : str
        ``hash`` of the event before it in its stream; :data:`GENESIS` for the first.
    hash : str
        sha256, hexadecimal, over all of the above (:func:`event_hash`).
    """

    sequence: int
    stream: str
    kind: str
    event_id: str
    recorded_at: str
    payload: dict[str, Any] = field(hash=False)
    previous_hash: str
    hash: str
    stored_at: str = ""

    @property
    def anchor(self) -> Anchor:
        """Return the receipt to keep elsewhere, so that a later loss of this event can be detected."""
        return Anchor(self.stream, self.sequence, self.hash, self.event_id)


@dataclass(frozen=True)
class Anchor:
    """Proof that a stream once had this event at this place; kept outside the store.

    A chain alone does not show that its last events were cut off, or that all of it was rewritten. An anchor does.
    """

    stream: str
    sequence: int
    hash: str
    event_id: str = ""


def new_event(
    stream: str,
    kind: str,
    payload: Mapping[str, Any],
    event_id: str | None = None,
    recorded_at: str | datetime | None = None,
) -> NewEvent:
    """An event that can be stored: checked, with an id and a time, its payload in the form in which it comes back.

    Raises
    ------
    InvalidEventError
        If the payload holds what JSON does not have (NaN, keys that are no text, objects), or is too large; if names
        are empty, too long or hold control characters; if id or time are not valid.
    """
    for what, name in (("stream", stream), ("kind", kind)):
        _check_name(what, name)
    if not isinstance(payload, Mapping):
        raise InvalidEventError(
            "The payload of an event must be a mapping.", "This is a program error; please report it."
        )
    raw = canonical_json(payload)
    if len(raw) > MAXIMUM_PAYLOAD_BYTES:
        raise InvalidEventError(
            f"The payload of an event of kind {kind} has {len(raw)} bytes; {MAXIMUM_PAYLOAD_BYTES} are allowed.",
            "Put images and masks into the case archive, and their sha256 into the event.",
        )
    return NewEvent(stream, kind, json.loads(raw), _valid_id(event_id), _valid_time(recorded_at))


def chained(event: NewEvent, previous: Event | None, stored_at: str) -> Event:
    """The event as it follows ``previous`` in its stream (None: it is the first)."""
    sequence, previous_hash = (1, GENESIS) if previous is None else (previous.sequence + 1, previous.hash)
    draft = Event(
        sequence,
        event.stream,
        event.kind,
        event.event_id,
        event.recorded_at,
        dict(event.payload),
        previous_hash,
        "",
        stored_at,
    )
    return Event(**{**vars(draft), "hash": event_hash(draft)})


def event_hash(event: Event) -> str:
    """sha256, hexadecimal, over the canonical JSON of an event's content (its own ``hash`` left out)."""
    content = {key: value for key, value in vars(event).items() if key != "hash"}
    return hashlib.sha256(canonical_json({"format": HASH_FORMAT, **content})).hexdigest()


def canonical_json(content: Any) -> bytes:
    """One spelling for one content: sorted keys, no spaces, ASCII with escapes, so that no database changes a byte.

    Raises
    ------
    InvalidEventError
        For what JSON does not have: NaN, infinity, keys that are no text, objects.
    """
    try:
        _check_keys(content)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEventError(
            f"An event contains a value that cannot be written as JSON: {error}.",
            "Use text, numbers, true, false, null, lists and mappings only.",
        ) from error
    return text.encode("ascii")


def utc_now() -> str:
    """The time now, as events carry it: ISO 8601, UTC, microseconds, ending in Z."""
    return _time_text(datetime.now(timezone.utc))


def _time_text(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _valid_time(time: str | datetime | None) -> str:
    if time is None:
        return utc_now()
    try:
        # Python 3.10 does not know the Z.
        parsed = time if isinstance(time, datetime) else datetime.fromisoformat(time.replace("Z", "+00:00"))
        if parsed.tzinfo is None:
            raise ValueError("it names no time zone")
        return _time_text(parsed)
    except (AttributeError, ValueError, OverflowError) as error:
        raise InvalidEventError(
            f"{time!r} is not a time of an event: {error}.",
            "Use ISO 8601 with a time zone, as in 2026-01-31T12:00:00Z.",
        ) from error


def _valid_id(event_id: str | None) -> str:
    if event_id is None:
        return str(uuid.uuid4())
    try:
        return str(uuid.UUID(event_id))
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidEventError(f"{event_id!r} is not a UUID.", "Omit the id, or use uuid.uuid4().") from error


def _check_name(what: str, name: str) -> None:
    usable = isinstance(name, str) and 0 < len(name) <= MAXIMUM_NAME
    if not usable or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise InvalidEventError(
            f"{name!r:.80} cannot be the {what} of an event.",
            f"Use 1 to {MAXIMUM_NAME} characters without control characters.",
        )


def _check_keys(content: Any) -> None:
    """Refuse keys that JSON would silently turn into text: 1 and "1" would become one."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not text")
            _check_keys(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            _check_keys(value)
