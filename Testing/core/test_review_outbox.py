"""The outbox: on the disk first, delivered in order, once; and the recorder that Slicer's panels call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from flairseg.errors import MissingDependencyError
from flairseg.review import chain
from flairseg.review.cases import ACCEPTED, REJECTED, CaseArchive, Verdict
from flairseg.review.errors import InvalidEventError, OutboxError, StoreUnavailableError
from flairseg.review.outbox import Outbox
from flairseg.review.recorder import VERDICT_RECORDED, VerdictRecorder, open_recorder, verdict_stream
from flairseg.review.store import ReviewStore

from Testing.core.review_tampering import tamper

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """A store that can be away; opens :class:`ReviewStore` when it is there."""

    def __init__(self, path: Path) -> None:
        self.path, self.away, self.opened = path, False, 0

    def __call__(self) -> ReviewStore:
        self.opened += 1
        if self.away:
            raise StoreUnavailableError("The server is away.", "Wait.")
        return ReviewStore(self.path, patience_s=0.2)

    def numbers(self) -> list[int]:
        with ReviewStore(self.path) as store:
            return [event.payload["n"] for event in store.events()]


@pytest.fixture
def server(tmp_path) -> Server:
    return Server(tmp_path / "store" / "review.sqlite")


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "post fach" / "صندوق"


def record(outbox: Outbox, *numbers: int):
    return [outbox.record("s", "k", {"n": n}) for n in numbers]


def test_what_is_recorded_is_delivered_at_once(folder, server):
    outbox = Outbox(folder, server)
    receipts = record(outbox, 0, 1, 2)
    assert all(receipt.delivered for receipt in receipts)
    assert [receipt.event.sequence for receipt in receipts] == [1, 2, 3]
    assert server.numbers() == [0, 1, 2]
    assert outbox.pending == []
    assert server.opened == 1, "the store is opened once, not for each click"
    assert [a.sequence for a in outbox.anchors()] == [1, 2, 3]


def test_what_waits_is_delivered_in_order_when_the_store_is_back(folder, server):
    outbox = Outbox(folder, server, rest_s=60)
    server.away = True
    receipts = record(outbox, 0, 1, 2)
    assert not any(receipt.delivered for receipt in receipts)
    assert receipts[0].problem.message == "The server is away."
    assert server.opened == 1, "no click waits for a dead server again and again"
    assert [event.payload["n"] for event in outbox.pending] == [0, 1, 2]
    server.away = False
    record(outbox, 3)
    assert outbox.flush() == 0
    assert outbox.problem is None
    assert server.numbers() == [0, 1, 2, 3]
    assert outbox.flush() == 0
    assert server.numbers() == [0, 1, 2, 3]


def test_another_process_delivers_what_a_killed_one_left(folder, server):
    server.away = True
    record(Outbox(folder, server), 0, 1)
    record(Outbox(folder, server), 2)
    server.away = False
    heir = Outbox(folder, server)
    assert len(heir.pending) == 3
    record(heir, 3)
    assert heir.pending == []
    assert server.numbers() == [0, 1, 2, 3]


def test_nothing_is_stored_twice_when_the_notes_are_lost(folder, server):
    """A power cut may take what was not synced: deliveries are noted, not synced."""
    outbox = Outbox(folder, server)
    record(outbox, 0, 1, 2)
    outbox.close()
    for path in folder.glob("*.delivered.jsonl"):
        path.unlink()
    again = Outbox(folder, server)
    assert len(again.pending) == 3
    assert again.flush() == 0
    assert server.numbers() == [0, 1, 2]
    assert len(again.anchors()) == 3


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_an_unfinished_line_is_no_event(folder, server, cut):
    server.away = True
    outbox = Outbox(folder, server)
    record(outbox, 0, 1)
    outbox.close()
    journal = next(folder.glob("*.jsonl"))
    journal.write_bytes(journal.read_bytes()[:-cut])
    server.away = False
    heir = Outbox(folder, server)
    record(heir, 2)
    assert heir.flush() == 0
    assert server.numbers() == [0, 2]
    assert heir.damaged == []


def test_a_damaged_line_is_told_and_holds_up_nothing(folder, server):
    server.away = True
    outbox = Outbox(folder, server)
    record(outbox, 0, 1, 2)
    outbox.close()
    journal = next(folder.glob("*.jsonl"))
    journal.write_bytes(journal.read_bytes().replace(b'{"n":1}', b'{"n":9}'))
    server.away = False
    heir = Outbox(folder, server)
    assert heir.flush() == 0
    assert server.numbers() == [0, 2]
    assert heir.damaged == [f"{journal.name}, line 2"]


def test_an_event_that_the_store_refuses_is_kept_and_holds_up_nothing(folder, server):
    event_id = str(uuid.uuid4())
    with server() as store:
        store.append("s", "k", {"n": 100}, event_id)
    outbox = Outbox(folder, server)
    server.away = True
    record(outbox, 0)
    outbox.record("s", "k", {"n": 1}, event_id)
    record(outbox, 2)
    server.away = False
    assert outbox.flush() == 0
    assert server.numbers() == [100, 0, 2]
    assert [(refusal.event.payload["n"], event_id in refusal.message) for refusal in outbox.refused] == [(1, True)]


def test_a_failed_write_leaves_nothing_half_written(folder, server, monkeypatch):
    outbox = Outbox(folder, server)
    record(outbox, 0)
    honest = os.fsync

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutboxError, match="not saved") as caught:
        record(outbox, 1)
    assert caught.value.advice
    monkeypatch.setattr(os, "fsync", honest)
    record(outbox, 2)
    assert server.numbers() == [0, 2]
    assert [event.payload["n"] for event in outbox.recorded()] == [0, 2]


def test_what_cannot_be_written_down_is_refused_first(folder, server):
    outbox = Outbox(folder, server)
    with pytest.raises(InvalidEventError):
        outbox.record("s", "k", {"n": float("nan")})
    assert outbox.recorded() == []


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError) as caught:
        Outbox(tmp_path / "file" / "outbox")
    assert caught.value.advice


def test_threads_share_an_outbox(folder, server):
    outbox = Outbox(folder, server)
    threads = [threading.Thread(target=record, args=(outbox, *range(10 * n, 10 * n + 10))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outbox.flush() == 0
    assert sorted(server.numbers()) == list(range(60))
    for n in range(6):
        own = [number for number in server.numbers() if number // 10 == n]
        assert own == sorted(own)


def test_replay_gives_a_lost_store_its_events_back(folder, server):
    outbox = Outbox(folder, server)
    record(outbox, *range(5))
    with ReviewStore(server.path) as store:
        tamper(store, "DELETE FROM flairseg_events WHERE sequence > 2")
        assert [p.code for p in store.verify(anchors=outbox.anchors())] == [chain.CUT_TAIL]
        outbox.replay(store)
        assert [event.payload["n"] for event in store.events()] == [0, 1, 2, 3, 4]
        outbox.replay(store)
        assert len(store.events()) == 5


def test_anchors_show_a_store_that_was_made_anew(folder, server):
    outbox = Outbox(folder, server)
    record(outbox, 0, 1, 2)
    outbox.close()
    server.path.unlink()
    with ReviewStore(server.path) as store:
        for n in (0, 5, 2):
            store.append("s", "k", {"n": n})
        assert store.verify() == []
        assert [p.code for p in store.verify(anchors=Outbox(folder).anchors())] == [chain.REWRITTEN]


def test_the_standard_library_is_enough(folder):
    """Slicer brings no SQLAlchemy; the outbox imports nothing that is not there."""
    code = (
        "import sys\n"
        "for name in ('sqlalchemy', 'psycopg', 'numpy', 'SimpleITK', 'jsonschema'): sys.modules[name] = None\n"
        "from flairseg.review.outbox import Outbox\n"
        "def factory():\n"
        "    from flairseg.review.store import ReviewStore\n"
        "    return ReviewStore('nowhere.sqlite')\n"
        "receipt = Outbox(sys.argv[1], factory).record('s', 'k', {'n': 0})\n"
        "print(receipt.delivered, type(receipt.problem).__name__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "FlairSegExtension"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["False", "MissingDependencyError"], done.stderr
    assert len(Outbox(folder).pending) == 1


# --- recorder


@pytest.fixture
def labels(head_labels) -> np.ndarray:
    return head_labels.astype(np.uint8)


def test_a_verdict_goes_to_archive_and_store(tmp_path, head, labels):
    recorder = open_recorder(tmp_path / "cases")
    done = recorder.record("Case/1", labels, head, Verdict(REJECTED, "motion", "R1"))
    assert done.delivered
    assert done.problem is None
    with ReviewStore(tmp_path / "cases" / ".review" / "review.sqlite") as store:
        event = store.head(verdict_stream("Case/1"))
        assert event.kind == VERDICT_RECORDED
        assert event.payload == json.loads((done.saved.path / "verdict.json").read_text(encoding="utf-8"))
        assert event.recorded_at == event.payload["times"]["saved_at"]
        assert store.verify(anchors=recorder.outbox.anchors()) == []
    assert recorder.archive.cases() == ["Case/1"], "the store's folder is no case"
    assert recorder.reconcile() == 0
    recorder.close()


def test_without_a_store_the_verdict_is_saved_and_its_event_waits(tmp_path, head, labels):
    def missing() -> ReviewStore:
        raise MissingDependencyError("The review store needs SQLAlchemy.", "Install it.")

    recorder = VerdictRecorder(CaseArchive(tmp_path / "cases"), Outbox(tmp_path / "outbox", missing))
    done = recorder.record("a", labels, head, Verdict(ACCEPTED))
    assert not done.delivered
    assert isinstance(done.problem, MissingDependencyError)
    assert recorder.archive.problems("a") == []
    recorder.close()
    later = Outbox(tmp_path / "outbox", lambda: ReviewStore(tmp_path / "review.sqlite"))
    assert later.flush() == 0
    with ReviewStore(tmp_path / "review.sqlite") as store:
        assert store.head("case/a").payload["version"] == 1


def test_killed_between_case_and_event(tmp_path, head, labels):
    """The event is made up for, once, with the time and id that the verdict has."""
    CaseArchive(tmp_path).save("a", labels, head, Verdict(ACCEPTED))
    for expected in (1, 0):
        recorder = open_recorder(tmp_path)
        assert recorder.reconcile() == expected
        recorder.close()
    # Another computer's outbox knows nothing of it; the store does.
    other = VerdictRecorder(
        CaseArchive(tmp_path), Outbox(tmp_path / "other", lambda: ReviewStore(tmp_path / ".review" / "review.sqlite"))
    )
    assert other.reconcile() == 1
    assert other.outbox.refused == []
    with ReviewStore(tmp_path / ".review" / "review.sqlite") as store:
        assert len(store.events()) == 1
    other.close()


def test_a_full_outbox_does_not_undo_the_saved_case(tmp_path, head, labels, monkeypatch):
    recorder = open_recorder(tmp_path)

    def full(*_):
        raise OutboxError("Nothing can be recorded.", "Free some space.")

    with monkeypatch.context() as patched:
        patched.setattr(recorder.outbox, "record", full)
        done = recorder.record("a", labels, head, Verdict(ACCEPTED))
    assert not done.delivered
    assert isinstance(done.problem, OutboxError)
    assert recorder.archive.versions("a") == [1]
    assert recorder.reconcile() == 1


def test_a_verdict_changed_in_the_archive_differs_from_its_event(tmp_path, head, labels):
    recorder = open_recorder(tmp_path)
    path = recorder.record("a", labels, head, Verdict(REJECTED, "motion")).saved.path / "verdict.json"
    path.write_text(path.read_text(encoding="utf-8").replace("motion", "nothing"), encoding="utf-8")
    with ReviewStore(tmp_path / ".review" / "review.sqlite") as store:
        assert store.head("case/a").payload != recorder.archive.verdict_content("a")
        assert store.verify() == []
