"""The event store on SQLite and PostgreSQL: append-only, idempotent, chained; tampering is found and named."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from flairseg.errors import MissingDependencyError
from flairseg.review import chain, events, sqlite_file
from flairseg.review.errors import (
    EventConflictError,
    StoreDamagedError,
    StoreError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from flairseg.review.events import canonical_json, event_hash, new_event
from flairseg.review.network_folder import mount_type
from flairseg.review.store import ReviewStore
from sqlalchemy.exc import DBAPIError

from Testing.core.review_tampering import tamper

ROOT = Path(__file__).resolve().parents[2]


def fill(store, count: int = 8, stream: str = "s"):
    return [store.append(stream, "answer", {"n": n, "text": f"answer {n}"}) for n in range(count)]


def values(event) -> str:
    """An event as SQL values."""
    payload = canonical_json(event.payload).decode().replace("'", "''")
    return (
        f"('{event.stream}', {event.sequence}, '{event.kind}', '{event.event_id}', '{event.recorded_at}', "
        f"'{event.stored_at}', '{payload}', '{event.previous_hash}', '{event.hash}')"
    )


INSERT = (
    "INSERT INTO flairseg_events "
    "(stream, sequence, kind, event_id, recorded_at, stored_at, payload, previous_hash, hash) VALUES "
)

# --- what a store is for


def test_what_was_stored_comes_back(store):
    payload = {"نام": "بیمار ۷", "n": 1.5, "list": [None, True, "a\u0000b", "\U0001f600", -0.0, 1e300, 10**30]}
    event = store.append("study/s/rater/R1", "answer", payload)
    assert event.payload == payload
    assert store.events() == [event]
    assert store.events("study/s/rater/R1", "answer") == [event]
    assert store.events("study/s/rater/R1", "other") == []
    assert store.head("study/s/rater/R1") == event
    assert store.head("another") is None
    assert store.streams() == ["study/s/rater/R1"]


def test_numbers_count_within_a_stream(store):
    for n in range(3):
        for stream in ("a", "b"):
            assert store.append(stream, "k", {}).sequence == n + 1
    assert [e.sequence for e in store.events("a", after=1)] == [2, 3]
    assert [e.stream for e in store.events()] == ["a", "b"] * 3
    with pytest.raises(ValueError, match="stream"):
        store.events(after=1)


def test_an_event_sent_twice_is_stored_once(store):
    event_id = str(uuid.uuid4())
    first = store.append("s", "k", {"a": 1}, event_id)
    store.append("s", "k", {"a": 2})
    assert store.append("s", "k", {"a": 1}, event_id.upper()) == first
    assert len(store.events()) == 2
    twice = new_event("s", "k", {"a": 3})
    assert len({e.sequence for e in store.append_many([twice, twice])}) == 1
    assert len(store.events()) == 3


@pytest.mark.parametrize("change", [{"stream": "t"}, {"kind": "l"}, {"payload": {"a": 2}}])
def test_another_event_of_the_same_id_is_refused(store, change):
    event = store.append("s", "k", {"a": 1})
    other = {"stream": "s", "kind": "k", "payload": {"a": 1}, **change}
    with pytest.raises(EventConflictError) as caught:
        store.append(**other, event_id=event.event_id)
    assert caught.value.advice
    assert store.events() == [event]


def test_several_events_all_or_none(store):
    first = store.append("s", "k", {})
    clash = replace(new_event("s", "k", {"other": 1}), event_id=first.event_id)
    with pytest.raises(EventConflictError):
        store.append_many([new_event("s", "k", {}), new_event("t", "k", {}), clash])
    assert store.events() == [first]
    made = store.append_many([new_event("t", "k", {"n": 0}), new_event("s", "k", {}), new_event("t", "k", {"n": 1})])
    assert [(e.stream, e.sequence) for e in made] == [("t", 1), ("s", 2), ("t", 2)]
    assert store.append_many([]) == []
    assert store.verify() == []


def test_clocks_that_are_set_back_do_not_disturb_the_order(store, monkeypatch):
    made = []
    for n, hour in enumerate(("2026-06-01T12", "2026-06-01T10", "1970-01-01T00")):
        for module in ("flairseg.review.events", "flairseg.review.store"):
            monkeypatch.setattr(f"{module}.utc_now", lambda hour=hour: f"{hour}:00:00.000000Z")
        made.append(store.append("s", "k", {"n": n}))
    assert [e.payload["n"] for e in store.events("s")] == [0, 1, 2]
    assert [e.recorded_at for e in made] == sorted((e.recorded_at for e in made), reverse=True)
    assert store.verify(anchors=[e.anchor for e in made]) == []


def test_a_store_can_be_opened_again(address):
    with ReviewStore(address) as first:
        made = fill(first, 3)
    with ReviewStore(address) as second, ReviewStore(address, read_only=True) as reader:
        assert second.append("s", "k", {}).sequence == 4
        assert reader.events("s")[:3] == made
        assert reader.verify() == []
        with pytest.raises(StoreReadOnlyError):
            reader.append("s", "k", {})


# --- append-only


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE flairseg_events SET payload = '{}'",
        "UPDATE flairseg_events SET sequence = sequence + 10",
        "DELETE FROM flairseg_events",
        "DELETE FROM flairseg_events WHERE sequence = 3",
        "TRUNCATE flairseg_events",
        "INSERT OR REPLACE INTO flairseg_events SELECT * FROM flairseg_events WHERE sequence = 2",
        "REPLACE INTO flairseg_events SELECT * FROM flairseg_events WHERE sequence = 3",
    ],
)
def test_the_database_itself_refuses_changes(store, statement):
    made = fill(store, 3)
    with pytest.raises(DBAPIError), store._database._engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert store.events() == made


@pytest.mark.parametrize("change", [{"sequence": 9}, {"sequence": 2}, {"previous_hash": "1" * 64}])
def test_the_database_itself_refuses_events_that_do_not_follow(store, change):
    made = fill(store, 3)
    follower = events.chained(new_event("s", "k", {}), made[-1], events.utc_now())
    with pytest.raises(DBAPIError), store._database._engine.begin() as connection:
        connection.exec_driver_sql(INSERT + values(replace(follower, **change)))
    with store._database._engine.begin() as connection:
        connection.exec_driver_sql(INSERT + values(follower))
    assert store.verify() == []


def test_no_statement_of_ours_changes_or_deletes():
    for path in (ROOT / "FlairSegExtension/flairseg/review").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"\.(update|delete)\(\)|EVENTS\.(update|delete)|\bsa\.(update|delete)\b", source), path
        statements = re.findall(r'"(?:UPDATE|DELETE|DROP|TRUNCATE|ALTER) ', source)
        assert not statements, path


# --- tampering


def problems(store, made, anchors=()):
    return [(p.code, p.sequence) for p in store.verify(anchors=[made[n].anchor for n in anchors])]


def test_an_untouched_store_has_no_problem(store):
    made = fill(store) + fill(store, 3, "t")
    assert store.verify() == []
    assert store.verify(anchors=[e.anchor for e in made]) == []
    assert store.verify("t", anchors=store.anchors()) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload", '{"n":3,"text":"another answer"}'),
        ("payload", '{"n": 3, "text": "answer 3"}'),
        ("payload", "no json"),
        ("payload", "[]"),
        ("kind", "other"),
        ("recorded_at", "2020-01-01T00:00:00.000000Z"),
        ("stored_at", "2020-01-01T00:00:00.000000Z"),
        ("event_id", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        ("previous_hash", "0" * 64),
    ],
)
@pytest.mark.parametrize("sequence", [1, 4, 8], ids=["first", "middle", "last"])
def test_a_changed_event_is_named(store, column, value, sequence):
    if column == "previous_hash" and sequence == 1:
        value = "1" * 64
    made = fill(store)
    tamper(store, f"UPDATE flairseg_events SET {column} = '{value}' WHERE sequence = {sequence}")
    found = store.verify()
    assert [(p.code, p.stream, p.sequence) for p in found] == [(chain.CHANGED, "s", sequence)]
    if column != "event_id":
        assert found[0].event_id == made[sequence - 1].event_id
        assert made[sequence - 1].event_id in str(found[0])


def test_an_event_that_cannot_be_read_is_an_error_not_a_wrong_answer(store):
    fill(store, 2)
    tamper(store, "UPDATE flairseg_events SET payload = 'no json' WHERE sequence = 2")
    with pytest.raises(StoreDamagedError, match="Event 2 of s"):
        store.events("s")


@pytest.mark.parametrize("sequence", [1, 4])
def test_a_forged_hash_is_named(store, sequence):
    made = fill(store)
    tamper(store, f"UPDATE flairseg_events SET hash = '{'a' * 64}' WHERE sequence = {sequence}")
    assert problems(store, made) == [(chain.FORGED_HASH, sequence)]


@pytest.mark.parametrize("sequence", [1, 4, 7])
def test_an_event_written_anew_with_its_own_hash_is_named(store, sequence):
    made = fill(store)
    forged = replace(made[sequence - 1], payload={"n": 99})
    forged = replace(forged, hash=event_hash(forged))
    tamper(
        store,
        f"UPDATE flairseg_events SET payload = '{{\"n\":99}}', hash = '{forged.hash}' WHERE sequence = {sequence}",
    )
    assert problems(store, made) == [(chain.FORGED_HASH, sequence)]


def test_the_last_event_written_anew_shows_by_its_anchor(store):
    made = fill(store)
    forged = replace(made[-1], payload={"n": 99})
    tamper(
        store,
        f"UPDATE flairseg_events SET payload = '{{\"n\":99}}', hash = '{event_hash(forged)}' WHERE sequence = 8",
    )
    assert problems(store, made) == []
    assert problems(store, made, anchors=[3, 7]) == [(chain.REWRITTEN, 8)]


def test_two_events_that_changed_places_are_named(store):
    made = fill(store)
    tamper(
        store,
        "UPDATE flairseg_events SET sequence = 100 WHERE sequence = 3",
        "UPDATE flairseg_events SET sequence = 3 WHERE sequence = 6",
        "UPDATE flairseg_events SET sequence = 6 WHERE sequence = 100",
    )
    found = store.verify()
    assert [(p.code, p.sequence) for p in found] == [(chain.REORDERED, 3), (chain.REORDERED, 6)]
    assert "as number 6" in str(found[0])
    assert problems(store, made, anchors=range(8)) == [(chain.REORDERED, 3), (chain.REORDERED, 6)]


def test_missing_events_are_named(store):
    made = fill(store)
    tamper(store, "DELETE FROM flairseg_events WHERE sequence IN (1, 4, 5)")
    found = store.verify()
    assert [(p.code, p.sequence) for p in found] == [(chain.MISSING, 1), (chain.MISSING, 4)]
    assert "numbers 4 to 5" in str(found[1])
    assert len(made) == 8


def test_a_missing_event_shows_when_the_others_closed_up(store):
    made = fill(store)
    moves = [f"UPDATE flairseg_events SET sequence = {n - 1} WHERE sequence = {n}" for n in range(5, 9)]
    tamper(store, "DELETE FROM flairseg_events WHERE sequence = 4", *moves)
    found = problems(store, made)
    assert (chain.MISSING, 4) in found
    assert found.count((chain.REORDERED, 4)) == 1
    assert {code for code, _ in found} == {chain.MISSING, chain.REORDERED}


def test_an_inserted_event_is_named(store):
    made = fill(store, 4)
    moves = [f"UPDATE flairseg_events SET sequence = {n + 1} WHERE sequence = {n}" for n in (4, 3)]
    inserted = events.chained(new_event("s", "answer", {"n": "new"}), made[1], made[1].stored_at)
    tamper(store, *moves, INSERT + values(inserted))
    found = [(p.code, p.event_id) for p in store.verify()]
    assert (chain.INSERTED, inserted.event_id) in found
    assert not [p for p in found if p[0] == chain.MISSING]


def test_a_cut_tail_shows_by_its_anchor(store):
    made = fill(store)
    tamper(store, "DELETE FROM flairseg_events WHERE sequence > 5")
    assert problems(store, made) == []
    found = store.verify(anchors=[made[1].anchor, made[7].anchor])
    assert [(p.code, p.sequence, p.event_id) for p in found] == [(chain.CUT_TAIL, 6, made[7].event_id)]
    assert "numbers 6 to 8" in str(found[0])


def test_a_stream_that_is_gone_shows_by_its_anchor(store):
    made = fill(store, 3)
    fill(store, 2, "t")
    tamper(store, "DELETE FROM flairseg_events WHERE stream = 's'")
    assert problems(store, made, anchors=[2]) == [(chain.CUT_TAIL, 1)]


def test_a_chain_written_anew_shows_by_its_anchors(store):
    made = fill(store)
    rewritten, previous = [], made[1]
    for event in made[2:]:
        draft = new_event("s", event.kind, {**event.payload, "n": -1}, event.event_id, event.recorded_at)
        previous = events.chained(draft, previous, event.stored_at)
        rewritten.append(values(previous))
    tamper(store, "DELETE FROM flairseg_events WHERE sequence > 2", INSERT + ", ".join(rewritten))
    assert problems(store, made) == []
    assert problems(store, made, anchors=range(8)) == [(chain.REWRITTEN, 3)]


def test_an_event_moved_to_another_stream_is_named(store):
    fill(store, 3)
    fill(store, 1, "t")
    tamper(store, "UPDATE flairseg_events SET stream = 't', sequence = 2 WHERE stream = 's' AND sequence = 3")
    assert (chain.CHANGED, "t", 2) in [(p.code, p.stream, p.sequence) for p in store.verify()]


def test_a_guard_that_was_removed_is_named(store):
    engine = store._database._engine
    table = "" if engine.dialect.name == "sqlite" else " ON flairseg_events"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER flairseg_events_no_delete{table}")
    found = store.verify()
    assert [p.code for p in found] == [chain.GUARD_REMOVED]
    assert "flairseg_events_no_delete" in str(found[0])


# --- versions


def test_a_newer_store_is_refused_with_advice(store, address):
    with store._database._engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO flairseg_schema (version, created_at) VALUES (2, 'later')")
    with pytest.raises(StoreVersionError, match="newer") as caught:
        ReviewStore(address)
    assert "Update" in caught.value.advice


# --- SQLite's file


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "räume & fälle" / "50% #1?" / "بازبینی.sqlite"


def test_paths_with_spaces_and_signs(path):
    with ReviewStore(path) as store:
        made = fill(store, 2)
        assert store.name == str(path)
    with ReviewStore(path, read_only=True) as store:
        assert store.events() == made


def test_write_ahead_log_and_full_synchronisation(path):
    with ReviewStore(path) as store, store._database._engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2}
        assert store.warnings == ()


def test_network_folders_get_a_rollback_journal_and_a_warning(path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "is_network_folder", lambda folder: True)
    with ReviewStore(path) as store:
        fill(store, 2)
        assert "network" in store.warnings[0]
        assert "PostgreSQL" in store.warnings[0]
        with store._database._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3
        assert not path.with_name(path.name + "-wal").exists()
        assert store.verify() == []


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/disk/a", "ext4"),
        ("/mnt/reading room/x", "cifs"),
        ("/mnt/reading rooms", "ext4"),
        ("/data/y", "nfs4"),
    ],
)
def test_network_folders_are_known_by_their_mount(folder, kind):
    mounts = (
        "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /mnt/reading\\040room rw - cifs //server/share rw\n"
        "31 22 0:41 / /data rw shared:2 master:3 - ext4 /dev/sdb1 rw\n"
        "32 31 0:42 / /data rw - nfs4 server:/data rw\n"
        "broken line\n"
    )
    assert mount_type(mounts, Path(folder)) == kind


def test_a_read_only_folder():
    """Read-only media, and shares of a study: reading works, also without a place for SQLite's own files."""
    code = (
        "import os, sys\n"
        "from flairseg.review import database\n"
        "from flairseg.review.errors import StoreReadOnlyError\n"
        "from flairseg.review.store import ReviewStore\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "with ReviewStore(sys.argv[1], read_only=True) as store:\n"
        "    assert len(store.events()) == 2 and store.verify() == []\n"
        "try:\n"
        "    ReviewStore(sys.argv[1], patience_s=0.1).append('s', 'k', {})\n"
        "except StoreReadOnlyError as error:\n"
        "    sys.exit(0 if error.advice else 2)\n"
        "sys.exit(3)\n"
    )
    # pytest's own folders are closed to the unprivileged user that root's child becomes.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ReviewStore(folder / "review.sqlite") as store:
            fill(store, 2)
        (folder / "review.sqlite").chmod(0o444)
        folder.chmod(0o555)
        command = [sys.executable, "-c", code, str(folder / "review.sqlite")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment())
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "FlairSegExtension"), "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_file_that_is_no_database(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreDamagedError) as caught:
        ReviewStore(path)
    assert "backup" in caught.value.advice
    assert path.read_bytes() == b"not a database at all" * 500


def test_reading_a_store_that_is_not_there_makes_none(path):
    path.parent.mkdir(parents=True)
    with pytest.raises(StoreError):
        ReviewStore(path, read_only=True)
    assert not path.exists()


def test_a_store_that_another_program_holds(path):
    with ReviewStore(path, patience_s=0.2) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="in use") as caught:
            store.append("s", "k", {})
        assert caught.value.advice
        assert store.events() == [], "reading goes on"
        other.execute("ROLLBACK")
        other.close()
        assert store.append("s", "k", {}).sequence == 1


@pytest.mark.parametrize("address", ["mysql://a@b/c", "oracle://a@b/c", "postgresql://a:b@c:port/d", "://"])
def test_addresses_that_make_no_store(address):
    with pytest.raises(StoreError) as caught:
        ReviewStore(address, patience_s=0.1)
    assert caught.value.advice


def test_without_sqlalchemy_it_says_what_to_install(path, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("flairseg.review.database")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingDependencyError, match="SQLAlchemy") as caught:
        ReviewStore(path)
    assert "outbox" in caught.value.advice
