"""A rater's sitting: marks, answers, time, pauses, and that nothing is lost or doubled whatever happens."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from flairseg.errors import MissingDependencyError
from flairseg.review.errors import OutboxError
from flairseg.review.outbox import Outbox
from flairseg.study import Study, StudySession, check_study, lock, log, tables
from flairseg.study.errors import AnswerRefusedError, RoomBusyError, StudyStateError, TamperedError
from flairseg.study.events import Answered, DisplayChanged, MarkPlaced, SessionStarted, Shown
from flairseg.study.records import FALSE_NEGATIVE, FALSE_POSITIVE
from flairseg.study.timing import ActivityTimer, Seconds, from_timestamp, timestamp

from Testing.core.study_data import LESIONS, SHAPE_KJI, FakeClock, answer_all, ras_of, write_case, write_protocol

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[study]'")

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = [
    {"id": "acceptable", "text": "Acceptable?", "type": "Acceptability"},
    {"id": "quality", "text": "How good?", "type": "Likert_5", "required": False},
    {"id": "count", "text": "How many?", "type": "Numeric", "required": False, "maximum": 50},
]


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A locked study of three cases, two arms, two repeats; copied for each test."""
    folder = tmp_path_factory.mktemp("template")
    path = write_protocol(folder / "src", questions=QUESTIONS, confidence=True, correction=True)
    lock(path, folder / "study")
    return folder / "study"


@pytest.fixture
def study(template, tmp_path) -> Study:
    shutil.copytree(template, tmp_path / "study")
    return Study(tmp_path / "study")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def session(study, clock):
    with StudySession.open(study.room_folder("R1"), clock, "Slicer 5.12") as opened:
        opened.next()
        yield opened


def lesion(number: int = 0) -> tuple[float, float, float]:
    return ras_of(LESIONS[number])


FREE = ras_of((0, 1, 1))


def finish(session, **changes) -> str:
    """Answer the current showing."""
    session.shown.answer("acceptable", changes.get("acceptable", "acceptable"))
    session.shown.set_confidence(4)
    return session.shown.submit()


def kinds(study, rater="R1") -> list[str]:
    return [event.kind for event in study.events(rater)]


# --- marks and answers -----------------------------------------------------------------------------------------------


def test_marks_fill_the_rule(session):
    number = len(session.current.lesions.lesions)
    assert session.shown.acceptance.delineated == number
    assert session.shown.acceptance.proposed == "acceptable"
    mark = session.shown.mark_false_positive(lesion())
    assert (mark.kind, mark.lesion, mark.ras) == (FALSE_POSITIVE, 1, pytest.approx(lesion()))
    missed = session.shown.mark_false_negative(FREE)
    assert (missed.kind, missed.lesion) == (FALSE_NEGATIVE, None)
    assert session.shown.marks == (mark, missed)
    assert (session.shown.acceptance.false_positives, session.shown.acceptance.false_negatives) == (1, 1)
    assert session.shown.acceptance.proposed == "unacceptable"
    assert session.shown.mark_false_positive(lesion()) == mark
    session.shown.remove_mark(mark.id)
    assert session.shown.marks == (missed,)
    assert session.shown.undo_mark() == missed
    assert session.shown.undo_mark() is None


def test_one_click_does_what_is_meant(session):
    mark = session.shown.click(lesion())
    assert mark.kind == FALSE_POSITIVE
    assert session.shown.click(lesion()) is None
    missed = session.shown.click(FREE)
    assert missed.kind == FALSE_NEGATIVE
    beside = tuple(np.add(FREE, (0, 1.0, 0)))
    assert session.shown.click(beside) is None
    assert session.shown.marks == ()


@pytest.mark.parametrize("where", [FREE, (1e4, 0, 0), (float("nan"), 0, 0)])
def test_a_false_positive_needs_a_lesion(session, where):
    with pytest.raises(AnswerRefusedError, match="no delineated lesion"):
        session.shown.mark_false_positive(where)


def test_a_false_negative_needs_a_free_place(session):
    with pytest.raises(AnswerRefusedError, match="is a delineated lesion"):
        session.shown.mark_false_negative(lesion())
    with pytest.raises(AnswerRefusedError, match="outside"):
        session.shown.mark_false_negative((1e4, 0, 0))
    assert session.shown.marks == ()


def test_answers_are_checked(session):
    session.shown.answer("quality", 4)
    session.shown.answer("count", 7)
    assert session.shown.answers == {"quality": 4, "count": 7.0}
    session.shown.answer("quality", None)
    assert session.shown.answers == {"count": 7.0}
    for question, value in (("quality", 6), ("count", 51), ("acceptable", "yes"), ("other", 1)):
        with pytest.raises(AnswerRefusedError):
            session.shown.answer(question, value)
    for confidence in (0, 6, 2.5, True):
        with pytest.raises(AnswerRefusedError):
            session.shown.set_confidence(confidence)


def test_submit_needs_what_is_required(session):
    assert session.shown.missing == ("acceptable", "confidence")
    with pytest.raises(AnswerRefusedError, match="acceptable, confidence"):
        session.shown.submit()
    session.shown.answer("acceptable", "unacceptable")
    session.shown.set_confidence(2)
    assert session.shown.missing == ()
    session.shown.submit()


def test_what_is_answered_is_answered(session):
    finish(session)
    code = session.current.code
    for call in (
        session.shown.submit,
        lambda: session.shown.answer("quality", 1),
        lambda: session.shown.click(lesion()),
        lambda: session.shown.give_up("blurred"),
    ):
        with pytest.raises(AnswerRefusedError, match="already answered"):
            call()
    assert session.next().code != code


def test_the_answer_s_record_is_complete(study, session, clock):
    first = session.current
    session.shown.mark_false_positive(lesion())
    clock.go(12)
    session.shown.log_display(window=900, level=400, overlay_visible=False)
    session.shown.answer("quality", 2)
    session.shown.set_comment("choroid plexus")
    event_id = finish(session, acceptable="unacceptable")
    session.deliver()
    event = next(e for e in study.events("R1") if e.kind == Answered.kind)
    payload = event.payload
    assert event.event_id == event_id
    assert payload["answers"] == {"acceptable": "unacceptable", "quality": 2}
    assert payload["showing"] == first.code
    assert (payload["position"], payload["rater"], payload["confidence"]) == (0, "R1", 4)
    assert payload["comment"] == "choroid plexus"
    assert payload["protocol_sha256"] == study.protocol_sha256
    assert payload["key_commitment"] == study.commitment
    assert payload["software"]["application"] == "Slicer 5.12"
    assert payload["shown_at"] == "2026-03-01T09:00:00.000000Z"
    assert payload["answered_at"] == "2026-03-01T09:00:12.000000Z"
    assert payload["active_seconds"] == 12
    assert payload["display"] == {"window": 900, "level": 400, "overlay_visible": False}
    assert payload["counts"]["false_positives"] == 1
    assert [m["lesion"] for m in payload["marks"]] == [1]
    assert not payload["timed_out"]


def test_giving_up_needs_a_reason(study, session):
    with pytest.raises(AnswerRefusedError, match="reason"):
        session.shown.give_up(" ")
    session.shown.give_up("motion")
    session.next()
    session.deliver()
    assert study.status().raters[0].failed == 1


def test_a_correction_names_what_it_corrects(study, session):
    event_id = finish(session)
    code = session.current.code
    session.next()
    with pytest.raises(AnswerRefusedError, match="reason"):
        session.correct(code, "acceptable", "unacceptable", "")
    with pytest.raises(AnswerRefusedError, match="no answer"):
        session.correct(session.current.code, "acceptable", "unacceptable", "slip")
    with pytest.raises(AnswerRefusedError):
        session.correct(code, "acceptable", "perhaps", "slip")
    first = session.correct(code, "acceptable", "unacceptable", "slip of the mouse")
    session.correct(code, "acceptable", "acceptable", "no, it was right")
    session.deliver()
    answer, one, two = [e for e in study.events("R1") if e.kind in (Answered.kind, "showing.answer_corrected")]
    assert answer.payload["answers"] == {"acceptable": "acceptable"}
    assert (one.payload["old_value"], one.payload["value"]) == ("acceptable", "unacceptable")
    assert one.payload["corrects_event_id"] == event_id
    assert two.payload["corrects_event_id"] == first
    assert study.state("R1").showings[code].answers() == {"acceptable": "acceptable"}


# --- time ------------------------------------------------------------------------------------------------------------


def test_active_idle_and_paused_time():
    clock = FakeClock()
    timer = ActivityTimer(clock, 30)
    clock.go(20)
    assert timer.touch() == Seconds(20, 0, 0)
    clock.go(100)
    assert timer.touch() == Seconds(50, 70, 0)
    timer.pause()
    clock.go(500)
    assert timer.seconds() == Seconds(50, 70, 500)
    timer.pause()
    timer.resume()
    timer.resume()
    clock.go(5)
    assert timer.seconds() == Seconds(55, 70, 500)
    assert timer.seconds().shown == 125


def test_a_clock_that_is_set_back_changes_no_duration(study, session, clock):
    clock.go(10)
    session.shown.touch()
    clock.moment -= timedelta(days=400)
    clock.go(10)
    finish(session)
    session.deliver()
    payload = next(e.payload for e in study.events("R1") if e.kind == Answered.kind)
    assert payload["active_seconds"] == 20


def test_pause_stops_the_clock_and_hides(study, session, clock):
    clock.go(10)
    session.shown.pause()
    session.shown.pause()
    assert session.shown.paused
    clock.go(3600)
    for call in (
        session.shown.submit,
        lambda: session.shown.click(lesion()),
        lambda: session.shown.answer("quality", 1),
    ):
        with pytest.raises(AnswerRefusedError, match="paused"):
            call()
    session.shown.resume()
    session.shown.resume()
    clock.go(10)
    assert session.shown.seconds == Seconds(20, 0, 3600)
    session.deliver()
    assert kinds(study).count("session.paused") == kinds(study).count("session.resumed") == 1


def test_time_limit(tmp_path, clock):
    study = lock(write_protocol(tmp_path / "src", 2, time_limit_s=60), tmp_path / "study")
    with StudySession.open(study.room_folder("R1"), clock) as session:
        session.next()
        assert session.shown.remaining_s == 60
        session.shown.click(lesion())
        clock.go(25)
        session.shown.pause()
        clock.go(1000)
        session.shown.resume()
        assert session.shown.remaining_s == 35
        clock.go(36)
        assert session.shown.expired
        with pytest.raises(AnswerRefusedError, match="time for this case is over"):
            session.shown.answer("acceptable", "acceptable")
        session.shown.submit()
        session.deliver()
        payload = next(e.payload for e in study.events("R1") if e.kind == Answered.kind)
        assert payload["timed_out"]
        assert payload["answers"] == {}
        assert len(payload["marks"]) == 1
        assert session.next() is not None
        assert session.shown.remaining_s == 60
    study.close(incomplete=True)
    (row,) = tables(study).ratings
    assert (row.value, row.timed_out, row.false_positives) == (None, True, 1)


def test_dragging_window_and_level_is_recorded_once_a_second(study, session, clock):
    for n in range(100):
        clock.go(0.05)
        session.shown.log_display(window=900 + n, level=400)
    session.shown.log_display(window=999, level=400)
    session.shown.log_display(overlay_visible=False)
    session.deliver()
    found = [e.payload["display"] for e in study.events("R1") if e.kind == DisplayChanged.kind]
    assert 4 <= len(found) <= 8
    assert found[-1] == {"window": 999, "overlay_visible": False}
    assert session.shown.display == {"window": 999, "level": 400, "overlay_visible": False}


def test_a_washout_in_days_is_waited_for(tmp_path, clock):
    study = lock(write_protocol(tmp_path / "src", 2, arms=("a",), washout={"days": 14}), tmp_path / "study")
    room = study.room_folder("R1")
    with StudySession.open(room, clock) as session:
        assert len(answer_all(session, clock)) == 2
        ended = clock.moment
        assert session.next() is None
        assert not session.finished
        assert session.waiting_until == ended + timedelta(days=14)
    clock.moment += timedelta(days=13, hours=23)
    with StudySession.open(room, clock) as session:
        assert session.next() is None
    clock.moment += timedelta(hours=2)
    with StudySession.open(room, clock) as session:
        assert len(answer_all(session, clock)) == 2
        assert session.finished


def test_timestamps_round_trip():
    clock = FakeClock()
    assert from_timestamp(timestamp(clock.now())) == clock.now()


# --- sittings --------------------------------------------------------------------------------------------------------


def test_a_showing_is_taken_up_again_with_everything_on_it(study, clock):
    room = study.room_folder("R1")
    with StudySession.open(room, clock) as session:
        session.next()
        finish(session)
        code = session.next().code
        mark = session.shown.click(lesion())
        gone = session.shown.click(FREE)
        session.shown.remove_mark(gone.id)
        session.shown.answer("quality", 3)
        session.shown.set_confidence(5)
        session.shown.set_comment("halfway")
        session.shown.log_display(window=900, level=100)
        clock.go(21)
    clock.go(9999)
    with StudySession.open(room, clock) as session:
        showing = session.next()
        assert showing.code == code
        assert session.shown.marks == (mark,)
        assert session.shown.answers == {"quality": 3}
        assert (session.shown.confidence, session.shown.comment) == (5, "halfway")
        assert session.shown.display == {"window": 900, "level": 100}
        assert session.shown.seconds.shown == pytest.approx(21)
        assert session.progress.answered == 1


def test_two_programs_do_not_share_a_room(study, session):
    with pytest.raises(RoomBusyError) as caught:
        StudySession.open(study.room_folder("R1"))
    assert caught.value.advice
    with StudySession.open(study.room_folder("R2")) as other:
        assert other.next() is not None


def test_a_closed_session_takes_nothing(study, session):
    session.close()
    session.close()
    with pytest.raises(StudyStateError):
        session.next()
    with StudySession.open(study.room_folder("R1")) as again:
        assert again.next() is not None


def test_the_cache_is_gone_after_the_session(study):
    with StudySession.open(study.room_folder("R1")) as session:
        first = session.next().flair
        assert first.exists()
        finish(session)
        second = session.next().flair
        assert second.exists()
        assert not first.exists()
        assert first.name == second.name
    assert not second.parent.exists()


def test_a_closed_study_takes_no_answers(study):
    with StudySession.open(study.room_folder("R1")) as session:
        answer_one = session.next().code
        finish(session)
    with pytest.raises(StudyStateError, match=r"R1 \(11 left\), R2 \(12 left\)"):
        study.close()
    study.close(incomplete=True)
    study.close()
    with pytest.raises(StudyStateError, match="closed"):
        StudySession.open(study.room_folder("R1"))
    found = tables(study)
    assert {r.question for r in found.ratings} == {"acceptable", "quality", "count"}
    assert len({r.event_id for r in found.ratings}) == 1
    assert len(found.failures) == 23
    assert answer_one not in {f.case for f in found.failures}


def test_an_exchanged_image_is_not_shown(study):
    room = study.room_folder("R1")
    with StudySession.open(room) as session:
        path = room / "images" / session.room.showings[0].labels_name
        raw = path.read_bytes()
        path.unlink()
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        with pytest.raises(TamperedError, match="labels"):
            session.next()
        assert session.current is None


def test_a_room_whose_drive_is_gone_is_not_called_altered(study):
    room = study.room_folder("R1")
    with StudySession.open(room) as session:
        away = room.rename(room.with_name("away"))
        with pytest.raises(StudyStateError, match="cannot be reached") as caught:
            session.next()
        assert caught.value.code == "room-unreachable"
        assert "Connect its drive" in caught.value.advice
        away.rename(room)
        assert session.next() is not None
        # A file that alone is not there was taken away.
        (room / "images" / session.room.showings[1].labels_name).unlink()
        with pytest.raises(TamperedError, match="labels"):
            session.room.labels(session.room.showings[1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows renames no folder with open files")
def test_delivery_goes_on_once_the_drive_of_the_room_is_back(study, monkeypatch):
    """The thread that delivers had ended when the folder was away: answers waited until the next session."""
    monkeypatch.setattr(log, "_REST_S", 0.05)
    failed, flush = threading.Event(), Outbox.flush

    def flushed(outbox):
        try:
            return flush(outbox)
        except OutboxError:
            failed.set()
            raise

    monkeypatch.setattr(Outbox, "flush", flushed)
    room = study.room_folder("R1")
    with StudySession.open(room) as session:
        session.next()
        away = room.rename(room.with_name("away"))
        session.shown.click(lesion())
        assert failed.wait(60)
        with pytest.raises(OutboxError, match="cannot be reached"):
            _ = session.pending
        away.rename(room)
        deadline = time.monotonic() + 60
        while session.pending and time.monotonic() < deadline:
            time.sleep(0.05)
        assert session.pending == 0
    assert not check_study(study)


def test_a_reordered_room_is_not_opened(study):
    path = study.room_folder("R1") / "room.json"
    content = json.loads(path.read_text())
    content["showings"][0], content["showings"][1] = content["showings"][1], content["showings"][0]
    path.write_text(json.dumps(content))
    with pytest.raises(TamperedError, match="order"):
        StudySession.open(study.room_folder("R1"))


def test_changed_rules_are_noticed(study):
    path = study.room_folder("R1") / "room.json"
    content = json.loads(path.read_text())
    content["rules"]["questions"][0]["threshold"] = 0.5
    path.write_text(json.dumps(content))
    with pytest.raises(TamperedError, match="locked"):
        StudySession.open(study.room_folder("R1"))


def test_correction_of_a_mask(study, session, clock):
    with pytest.raises(AnswerRefusedError, match="not answered"):
        session.begin_correction()
    finish(session)
    code = session.current.code
    showing = session.begin_correction()
    edited = showing.label_array.copy()
    edited[LESIONS[0]] = 0
    edited[1, 5:7, 5] = 3
    clock.go(17)
    path = session.save_correction(edited)
    assert path.name == f"{code}_v001_labels.nii.gz"
    with pytest.raises(AnswerRefusedError, match="begun"):
        session.save_correction(edited)
    session.begin_correction()
    assert session.save_correction(edited).name == f"{code}_v002_labels.nii.gz"
    session.begin_correction()
    with pytest.raises(AnswerRefusedError, match="grid"):
        session.save_correction(np.zeros((2, 2, 2), np.uint8))
    session.deliver()
    event = next(e for e in study.events("R1") if e.kind == "showing.mask_corrected")
    assert event.payload["voxels_added"]["lesion"] == 2
    assert event.payload["voxels_removed"]["lesion"] == 1
    assert event.payload["correction_active_seconds"] == 17
    assert event.payload["before_sha256"] != event.payload["after_sha256"]
    session.close()
    study.close(incomplete=True)
    rows = tables(study).corrections
    assert [row.file for row in rows] == [f"corrections/{code}_v00{n}_labels.nii.gz" for n in (1, 2)]


def test_training_comes_first_and_is_marked(tmp_path):
    training = write_case(tmp_path / "src", "train", 9, lesions=1, arms=("a",)) | {"feedback": "That was choroid."}
    path = write_protocol(tmp_path / "src", 2, arms=("a",), training_cases=[training], repeats=1, washout=None)
    study = lock(path, tmp_path / "study")
    with StudySession.open(study.room_folder("R1")) as session:
        first = session.next()
        assert (first.training, first.feedback) == (True, "That was choroid.")
        assert session.progress.training_total == 1
        answer_all(session)
        assert session.progress.finished
    study.close(incomplete=True)
    assert [r.training for r in tables(study).ratings] == [True, False, False]


# --- when things go wrong --------------------------------------------------------------------------------------------


def test_a_store_that_is_away_holds_nobody_up(study, tmp_path):
    store = study.folder / "events.sqlite"
    hidden = tmp_path / "elsewhere.sqlite"
    os.rename(store, hidden)
    with StudySession.open(study.room_folder("R1")) as session:
        began = time.monotonic()
        codes = answer_three(session)
        assert time.monotonic() - began < 5
        assert session.pending > 0
    assert not store.exists(), "an empty store in its place would look like a study without answers"
    with StudySession.open(study.room_folder("R1")) as session:
        assert session.progress.answered == 3
        assert session.next().code not in codes
    os.rename(hidden, store)
    with StudySession.open(study.room_folder("R1")) as session:
        assert session.progress.answered == 3
    status = study.status().raters[0]
    assert (status.answered, status.pending) == (3, 0)
    assert not check_study(study)


def answer_three(session) -> list[str]:
    codes = []
    for _ in range(3):
        codes.append(session.next().code)
        session.shown.click(lesion())
        finish(session)
    return codes


def test_without_sqlalchemy_answers_wait(study, monkeypatch):
    def missing(address):
        raise MissingDependencyError("SQLAlchemy is not installed.", "Install it.")

    with monkeypatch.context() as patch:
        patch.setattr("flairseg.study.log.open_store", missing)
        with StudySession.open(study.room_folder("R1")) as session:
            answer_three(session)
        with StudySession.open(study.room_folder("R1")) as session:
            assert session.progress.answered == 3
            assert session.pending > 0
    with StudySession.open(study.room_folder("R1")) as session:
        assert session.deliver() == 0
    assert study.status().raters[0].answered == 3


def test_a_click_that_cannot_be_written_is_not_shown_as_taken(study, session, monkeypatch):
    from flairseg.review.errors import OutboxError

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OutboxError):
            session.shown.click(lesion())
        assert session.shown.marks == ()
    mark = session.shown.click(lesion())
    assert session.shown.marks == (mark,)
    session.deliver()
    assert [e.payload["mark"]["id"] for e in study.events("R1") if e.kind == MarkPlaced.kind] == [mark.id]


def test_the_same_room_on_two_computers_gives_one_answer(study, tmp_path):
    """A copied room answers the same showing again: the store takes the first, and the check names the other."""
    copy = tmp_path / "copy" / "rooms" / "R1"
    shutil.copytree(study.room_folder("R1"), copy)
    with StudySession.open(study.room_folder("R1")) as session:
        session.next()
        finish(session, acceptable="acceptable")
    with StudySession.open(copy) as session:  # its store is not there
        session.next()
        finish(session, acceptable="unacceptable")
    for path in (copy / "events").iterdir():
        shutil.copy(path, study.room_folder("R1") / "events")
    state = study.state("R1")
    (answered,) = [s for s in state.showings.values() if s.answer is not None]
    assert answered.answers() == {"acceptable": "acceptable"}
    assert [f for f in check_study(study) if "Refused by the store" in f.message]


WORKER = """
import sys
sys.path[:0] = [{extension!r}, {root!r}]
from flairseg.study import StudySession
from Testing.core.study_data import LESIONS, ras_of

with StudySession.open({room!r}) as session:
    while (showing := session.next()) is not None:
        print("shown", showing.code, flush=True)
        mark = session.shown.click(ras_of(LESIONS[0]))
        print("mark", showing.code, mark.id if mark else "-", flush=True)
        session.shown.answer("quality", 1 + showing.position % 5)
        print("draft", showing.code, 1 + showing.position % 5, flush=True)
        session.shown.answer("acceptable", "unacceptable")
        session.shown.set_confidence(3)
        session.shown.submit()
        print("answered", showing.code, flush=True)
"""


def run_and_kill(study: Study, lines: int) -> list[list[str]]:
    """Run a rater's program, and kill -9 it after it has said so many things; what it had said."""
    code = WORKER.format(extension=str(ROOT / "FlairSegExtension"), root=str(ROOT), room=str(study.room_folder("R1")))
    said = []
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            said.append(line.split())
            if len(said) == lines:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        process.wait()
    return said


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_kill_9_loses_nothing_and_doubles_nothing(study, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    order = [s.code for s in showings_of(study)]
    rng = random.Random(7)
    acknowledged: list[str] = []
    for _ in range(3):
        said = run_and_kill(study, rng.randint(2, 11))
        acknowledged += [words[1] for words in said if words[0] == "answered"]
        last = said[-1]
        with StudySession.open(study.room_folder("R1")) as session:
            showing = session.next()
            assert showing.code == order[session.progress.answered]
            assert session.progress.answered >= len(acknowledged)
            if last[0] in ("mark", "draft") and showing.code == last[1]:
                assert len(session.shown.marks) <= 1
                if last[0] == "draft":
                    assert session.shown.answers["quality"] == int(last[2])
            # The next program toggles the mark that is there; so that it places one again:
            session.shown.undo_mark()
    assert len(list(tmp_path.glob("reading-*"))) == 0
    run_and_kill(study, 10**6)
    events = study.events("R1")
    answered = [e.payload["showing"] for e in events if e.kind == Answered.kind]
    assert answered == order
    assert set(acknowledged) <= set(answered)
    assert kinds(study).count(SessionStarted.kind) == 7
    assert not check_study(study)


def showings_of(study):
    from flairseg.study import Room

    return Room.open(study.room_folder("R1")).showings


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_a_killed_showing_comes_back_with_its_marks(study):
    said = run_and_kill(study, 3)
    assert [words[0] for words in said] == ["shown", "mark", "draft"]
    with StudySession.open(study.room_folder("R1")) as session:
        showing = session.next()
        assert showing.code == said[0][1]
        assert [mark.id for mark in session.shown.marks] == [said[1][2]]
        assert session.shown.answers["quality"] == int(said[2][2])
        finish(session)
    assert kinds(study).count(Shown.kind) == 2
    assert kinds(study).count(Answered.kind) == 1


def test_shapes(session):
    assert session.current.label_array.shape == SHAPE_KJI
    assert session.current.delineated_ml == pytest.approx(len(session.current.lesions.lesions) * 0.02)
