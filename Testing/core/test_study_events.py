"""Events of studies and reference sessions: the JSON of every kind is what it was when studies were first recorded.

``data/study_events.jsonl`` was written by the version before events were dataclasses, from ``study_scenario.py``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flairseg.review.events import canonical_json
from flairseg.study import events
from flairseg.study.errors import TamperedError

from Testing.core import study_scenario

LINES = (Path(__file__).parent / "data" / "study_events.jsonl").read_bytes().splitlines()
KINDS = {json.loads(line)["kind"]: json.loads(line)["payload"] for line in LINES}


@dataclass
class Row:
    """An event as a store returns it."""

    kind: str
    payload: dict[str, Any]
    event_id: str = "6b0a3f0e-5d0c-4a53-a3f7-1a2b3c4d5e6f"


def test_every_kind_is_among_the_recorded_ones():
    assert set(KINDS) == set(events._CLASSES)


def test_recorded_events_are_read_and_written_to_the_same_bytes():
    for line in LINES:
        content = json.loads(line)
        event = events.read_event(Row(content["kind"], content["payload"]))
        assert event.kind == content["kind"]
        assert not event.extra
        assert canonical_json({**content, "payload": event.to_payload()}) == line


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_fields_of_a_newer_version_are_kept(kind):
    payload = {**KINDS[kind], "added": {"later": [1, 2.0]}, "event_id": "7", "extra": None}
    event = events.read_event(Row(kind, payload))
    assert event.event_id == Row.event_id
    assert canonical_json(event.to_payload()) == canonical_json(payload)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_record_that_lacks_a_field_is_refused(kind):
    for name in KINDS[kind].keys() - {"format", "key_was_open"}:
        payload = {key: value for key, value in KINDS[kind].items() if key != name}
        with pytest.raises(TamperedError, match=name) as refused:
            events.read_event(Row(kind, payload))
        assert refused.value.code == "record-altered"


def test_marks_and_dots_that_are_damaged_are_refused():
    for kind, name in (("showing.mark_placed", "mark"), ("showing.answered", "marks"), ("reference.dots_made", "dots")):
        for wrong in ([{"id": "x"}], None, 3):
            with pytest.raises(TamperedError, match=kind):
                events.read_event(Row(kind, {**KINDS[kind], name: wrong}))


def test_an_exclusion_from_before_it_said_whether_the_key_was_open():
    payload = {key: value for key, value in KINDS["study.case_excluded"].items() if key != "key_was_open"}
    event = events.read_event(Row("study.case_excluded", payload))
    assert event.key_was_open is None
    assert event.to_payload() == payload


def test_unknown_kinds_are_left_alone():
    assert events.read_event(Row("showing.dreamt", {"at": "now"})) is None
    assert events.read_events([Row("showing.dreamt", {})]) == []


def test_the_same_study_is_recorded_as_before(tmp_path):
    """Hashes, ids, times of the coordinator and versions aside, byte for byte, in the same order."""
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[study]'")
    now = [
        {"stream": stream, "kind": kind, "payload": payload} for stream, kind, payload in study_scenario.run(tmp_path)
    ]
    before = [json.loads(line) for line in LINES]
    assert [one["kind"] for one in now] == [one["kind"] for one in before]
    for a, b in zip(_masked(now), _masked(before), strict=True):
        assert canonical_json(a) == canonical_json(b)


def _masked(content: list) -> list:
    """Random and machine-dependent values replaced by the order in which they appear first."""
    seen: dict[str, str] = {}
    random = re.compile(
        r"^(?:[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{64}|[0-9a-f-]{36}|[0-9A-Z]{4}-[0-9A-Z]{4}|(?!2026-03).*T.*Z)$"
    )

    def mask(value):
        if isinstance(value, dict):
            return {key: mask(one) if key != "software" else sorted(one) for key, one in value.items()}
        if isinstance(value, list):
            return [mask(one) for one in value]
        if isinstance(value, float):
            return round(value, 6)
        if isinstance(value, str) and value.startswith("corrections/"):
            return "corrections/" + value[21:]
        if isinstance(value, str) and random.match(value):
            return seen.setdefault(value, f"#{len(seen)}")
        return value

    return mask(content)
