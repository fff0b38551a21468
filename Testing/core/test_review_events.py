"""Events: one spelling, one hash; what cannot be written down is refused before anything is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from flairseg.review.errors import InvalidEventError
from flairseg.review.events import GENESIS, canonical_json, chained, event_hash, new_event
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PAYLOADS = st.dictionaries(st.text(), JSON, max_size=5)


@given(PAYLOADS)
def test_a_payload_comes_back_as_it_was_and_has_one_spelling(payload):
    raw = canonical_json(payload)
    assert json.loads(raw) == payload
    assert canonical_json(json.loads(raw)) == raw
    assert canonical_json(dict(reversed(payload.items()))) == raw
    assert all(32 <= byte < 127 for byte in raw), "no database has anything to convert"


@given(PAYLOADS)
def test_the_hash_is_sha256_over_what_the_documentation_says(payload):
    """Computed here without the code under test."""
    event = chained(new_event("s", "k", payload), None, "2026-01-01T00:00:00.000000Z")
    content = {
        "format": 1,
        "sequence": 1,
        "stream": "s",
        "kind": "k",
        "event_id": event.event_id,
        "recorded_at": event.recorded_at,
        "stored_at": "2026-01-01T00:00:00.000000Z",
        "payload": payload,
        "previous_hash": "0" * 64,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert event.hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 2},
        {"stream": "t"},
        {"kind": "l"},
        {"event_id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
        {"recorded_at": "2020-01-01T00:00:00.000000Z"},
        {"stored_at": "2020-01-01T00:00:00.000000Z"},
        {"payload": {"a": 2}},
        {"payload": {"a": 1.0}},
        {"previous_hash": "1" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_hash_covers_everything(change):
    event = chained(new_event("s", "k", {"a": 1}), None, "2026-01-01T00:00:00.000000Z")
    assert event_hash(event) == event.hash
    assert event_hash(replace(event, **change)) != event.hash


def test_events_are_chained():
    first = chained(new_event("s", "k", {}), None, "-")
    second = chained(new_event("s", "k", {}), first, "-")
    assert (first.sequence, first.previous_hash) == (1, GENESIS)
    assert (second.sequence, second.previous_hash) == (2, first.hash)


@pytest.mark.parametrize(
    "payload",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {1: "a"},
        {"a": {2: "b"}},
        {"a": object},
        {"a": b"x"},
        ["a"],
        "a",
        None,
    ],
    ids=repr,
)
def test_what_json_does_not_have_is_refused(payload):
    with pytest.raises(InvalidEventError) as caught:
        new_event("s", "k", payload)
    assert caught.value.advice


def test_payloads_are_for_words_and_numbers_not_for_images():
    with pytest.raises(InvalidEventError, match="bytes"):
        new_event("s", "k", {"mask": "0" * (5 << 20)})


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "x" * 401, "\ud800", None, 3])
def test_names_that_no_database_should_see(name):
    with pytest.raises(InvalidEventError):
        new_event(name, "k", {})
    with pytest.raises(InvalidEventError):
        new_event("s", name, {})


@pytest.mark.parametrize("event_id", ["", "1", "not-a-uuid", 5])
def test_ids_are_uuids(event_id):
    with pytest.raises(InvalidEventError):
        new_event("s", "k", {}, event_id)


@pytest.mark.parametrize("time", ["yesterday", "2026-01-01T00:00:00", 5, datetime(2026, 1, 1)])
def test_times_have_a_zone(time):
    with pytest.raises(InvalidEventError):
        new_event("s", "k", {}, recorded_at=time)


def test_times_are_written_in_one_way():
    noon = datetime(2026, 1, 31, 15, 30, tzinfo=timezone(timedelta(hours=3, minutes=30)))
    for time in (noon, "2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00.000+00:00"):
        assert new_event("s", "k", {}, recorded_at=time).recorded_at == "2026-01-31T12:00:00.000000Z"
