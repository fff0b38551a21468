"""``flairseg study check`` finds what was tampered with, and names it; and what a whole study gives."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from flairseg.study import Study, StudySession, check_protocol, check_study, lock, tables, write_tables
from flairseg.study.checking import CHAIN, IMAGE, KEY, ORDER, PROTOCOL, RECORD, SOURCE
from flairseg.study.errors import StudyStateError, TamperedError
from flairseg.study.events import Answered
from flairseg.study.key import KEY_NAME

from Testing.core.study_data import LESIONS, answer_all, ras_of, write_protocol

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[study]'")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """3 cases, 2 arms, 2 repeats and 2 raters, all answered, not closed; R1 marks a false positive on all."""
    folder = tmp_path_factory.mktemp("whole")
    study = lock(write_protocol(folder / "src", mirror_repeats=True), folder / "study")
    for rater in study.raters:
        with StudySession.open(study.room_folder(rater)) as session:
            while (showing := session.next()) is not None:
                if rater == "R1":
                    session.shown.mark_false_positive(showing.lesions.lesions[0].centre_ras)
                    session.shown.mark_false_negative(ras_of((0, 1, 1)))
                session.shown.answer("acceptable", session.shown.acceptance.proposed)
                session.shown.submit()
    return folder


@pytest.fixture
def study(whole, tmp_path) -> Study:
    shutil.copytree(whole / "study", tmp_path / "study")
    return Study(tmp_path / "study")


def abouts(study: Study) -> set[str]:
    return {finding.about for finding in check_study(study)}


def rewrite(path: Path, change) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def sql(study: Study, statement: str, *values) -> None:
    """As somebody with the database's file can: the guards are dropped first."""
    with sqlite3.connect(study.folder / "events.sqlite") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def test_an_intact_study_has_no_findings(study):
    assert check_study(study) == []
    study.close()
    assert check_study(study) == []


def test_a_changed_protocol_is_named(study):
    rewrite(study.coordinator / "protocol.json", lambda c: c["raters"][0].update(seed=12))
    (finding, *_) = check_study(study)
    assert finding.about == PROTOCOL
    assert "protocol was changed" in finding.message
    with pytest.raises(TamperedError):
        study.plan("R1")


def test_spaces_in_the_protocol_change_nothing(study):
    path = study.coordinator / "protocol.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=8))
    assert check_study(study) == []


def test_a_protocol_exchanged_together_with_its_hash_is_named(study):
    """The hash in study.json is brought into line with a changed protocol: the lock record still says another."""
    from flairseg.study.protocol_reading import load_protocol

    path = study.coordinator / "protocol.json"
    rewrite(path, lambda c: c["questions"][0].update(threshold=0.5))
    rewrite(study.folder / "study.json", lambda c: c.update(protocol_sha256=load_protocol(path).sha256))
    found = check_study(Study(study.folder))
    assert any(f.about == PROTOCOL and "protocol_sha256" in f.message for f in found)


def test_a_changed_order_is_named(study):
    def swap(content):
        content["showings"][2], content["showings"][3] = content["showings"][3], content["showings"][2]

    rewrite(study.room_folder("R2") / "room.json", swap)
    found = check_study(study)
    assert {f.about for f in found} == {ORDER}
    assert found[0].where == "R2/room.json"


def test_a_changed_order_with_a_hash_to_fit_is_named(study):
    from flairseg.study.room import RoomShowing, room_order_sha256

    def swap(content):
        first, second = content["showings"][:2]
        first["code"], second["code"] = second["code"], first["code"]
        content["order_sha256"] = room_order_sha256(RoomShowing(**s) for s in content["showings"])

    rewrite(study.room_folder("R1") / "room.json", swap)
    found = check_study(study)
    assert any(f.about == ORDER and "not those that were locked" in f.message for f in found)
    assert any(f.about == ORDER and "departs from the key's at position 1" in f.message for f in found)


def test_an_exchanged_key_is_named(study):
    def swap(content):
        first, second = content["raters"]["R1"][:2]
        first["code"], second["code"] = second["code"], first["code"]

    rewrite(study.coordinator / KEY_NAME, swap)
    assert KEY in abouts(study)
    with pytest.raises(TamperedError):
        study.close()
    assert study.status().closed_at is None


def test_an_exchanged_mask_is_named(study):
    images = sorted((study.room_folder("R1") / "images").glob("*_labels.nii.gz"))
    images[0].unlink()
    shutil.copy(images[1], images[0])
    images[2].unlink()
    found = [f for f in check_study(study) if f.about == IMAGE]
    assert {f.where for f in found} <= {f"R1/{images[n].name}" for n in (0, 2)}
    assert f"R1/{images[2].name}" in {f.where for f in found}


def test_a_changed_answer_is_named(study):
    sql(
        study,
        'UPDATE flairseg_events SET payload = replace(payload, \'"acceptable":"unacceptable"\', '
        "'\"acceptable\":\"acceptable\"') WHERE kind = ? AND stream LIKE '%R1' AND sequence = "
        "(SELECT min(sequence) FROM flairseg_events WHERE kind = ? AND stream LIKE '%R1')",
        Answered.kind,
        Answered.kind,
    )
    found = [f for f in check_study(study) if f.about == CHAIN and Answered.kind in f.message]
    assert found
    assert "differs from its content" in found[0].message


def test_a_removed_answer_is_named(study):
    sql(
        study,
        "DELETE FROM flairseg_events WHERE kind = ? AND stream LIKE '%R2' AND sequence = "
        "(SELECT max(sequence) FROM flairseg_events WHERE kind = ? AND stream LIKE '%R2')",
        Answered.kind,
        Answered.kind,
    )
    assert any("missing" in f.message for f in check_study(study) if f.about == CHAIN)


def test_a_cut_tail_is_named(study):
    sql(study, "DELETE FROM flairseg_events WHERE stream LIKE '%R2' AND sequence > 20")
    assert any("cut off" in f.message for f in check_study(study) if f.about == CHAIN)


def test_a_chain_written_anew_is_named(study):
    """Whoever can compute hashes changes an answer and the whole chain after it: the room's anchors tell."""
    from flairseg.review.events import Event, canonical_json, event_hash

    stream = "study/trial-1/rater/R1"
    with sqlite3.connect(study.folder / "events.sqlite") as connection:
        connection.row_factory = sqlite3.Row
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        rows = connection.execute(
            "SELECT * FROM flairseg_events WHERE stream = ? ORDER BY sequence", (stream,)
        ).fetchall()
        previous = rows[0]["previous_hash"]
        for row in rows:
            text = row["payload"]
            if row["kind"] in (Answered.kind, "showing.answer_drafted"):
                text = text.replace('"unacceptable"', '"acceptable"')
            payload = json.loads(text)
            draft = Event(
                row["sequence"], stream, row["kind"], row["event_id"], row["recorded_at"], payload, previous, "",
                row["stored_at"],
            )  # fmt: skip
            previous_hash, previous = previous, event_hash(draft)
            connection.execute(
                "UPDATE flairseg_events SET payload = ?, previous_hash = ?, hash = ? WHERE event_id = ?",
                (canonical_json(payload).decode(), previous_hash, previous, row["event_id"]),
            )
    connection.close()
    found = check_study(study)
    assert any(f.about == CHAIN and "rewritten" in f.message for f in found)
    assert any(f.about == RECORD and "counts do not follow" in f.message for f in found)


def test_an_answer_put_in_by_hand_is_named(study):
    """Through the store itself, so that the chain is whole: it contradicts what was autosaved, or comes twice."""
    from flairseg.review.store import ReviewStore

    event = next(e for e in study.events("R1") if e.kind == Answered.kind)
    with ReviewStore(study.folder / "events.sqlite") as store:
        store.append(event.stream, Answered.kind, {**event.payload, "answers": {"acceptable": "acceptable"}})
    found = check_study(study)
    assert any(f.about == RECORD and "more than once" in f.message for f in found)


def test_an_answer_after_closing_is_named(study):
    from flairseg.review.store import ReviewStore

    study.close()
    with ReviewStore(study.folder / "events.sqlite") as store:
        store.append("study/trial-1/rater/R1", "session.ended", {})
    found = check_study(study)
    assert any(f.about == CHAIN and "after the study was closed" in f.message for f in found)


def test_a_missing_store_is_no_intact_study(study):
    (study.folder / "events.sqlite").unlink()
    assert check_study(study)


# --- before locking --------------------------------------------------------------------------------------------------


def test_a_protocol_is_checked_before_it_is_locked(tmp_path):
    path = write_protocol(tmp_path, 2, washout={"cases": 0})
    assert check_protocol(path) == []
    content = json.loads(path.read_text())
    (tmp_path / content["cases"][0]["arms"][0]["mask"]).unlink()
    (tmp_path / content["cases"][1]["flair"]).write_bytes(b"nothing")
    content["washout"] = {"cases": 50}
    content["title"] = "Is SecretModel better?"
    content["questions"][0]["text"] = "Better than humanreader?"
    path.write_text(json.dumps(content))
    found = {(f.about, f.where) for f in check_protocol(path)}
    assert found == {
        (ORDER, "washout"),
        (PROTOCOL, "title"),
        (PROTOCOL, "questions, acceptable"),
        (SOURCE, "secretcase1, secretmodel"),
        (SOURCE, "secretcase2"),
    }


# --- what comes of it ------------------------------------------------------------------------------------------------


def test_tables_stay_shut_while_the_study_is_open(study):
    with pytest.raises(StudyStateError, match="still open"):
        tables(study)


def test_tables(study):
    study.close()
    found = tables(study)
    assert len(found.ratings) == 2 * 3 * 2 * 2
    assert {(r.case, r.arm, r.rater, r.repeat) for r in found.ratings} == {
        (f"secretcase{n}", arm, rater, repeat)
        for n in (1, 2, 3)
        for arm in ("secretmodel", "humanreader")
        for rater in ("R1", "R2")
        for repeat in (0, 1)
    }
    for row in found.ratings:
        assert row.delineated == (3 if row.arm == "secretmodel" else 2)
        assert row.model == f"{row.arm}-v7.1"
        assert row.protocol_sha256 == study.protocol_sha256
        assert (row.value == "acceptable") is (row.rater == "R2")
        assert row.value == row.first_value == row.proposed
        assert row.delineated_ml == pytest.approx(row.delineated * 0.02)
    assert found.failures == ()


def test_marks_of_mirrored_showings_are_turned_back(study):
    """R1 marked the first lesion of each showing and one free place, mirrored or not."""
    study.close()
    rows = [m for m in tables(study).marks if m.kind == "false_positive"]
    key = study.key()
    mirrored = {(e.case, e.arm, e.repeat): e.mirror is not None for e in key.entries["R1"]}
    assert len(rows) == 12
    seeds = {f"secretcase{n + 1}": n for n in range(3)}
    for row in rows:
        # Lesions 0 and 1 share a slice and differ in their row: the first in the array is lesion 0, mirrored or not.
        expected = ras_of(LESIONS[0], seeds[row.case])
        assert row.lesion_centre_ras == pytest.approx(expected, abs=1e-4)
        assert row.ras == pytest.approx(expected, abs=1e-4)
        assert row.lesion == 1
    assert set(mirrored.values()) == {True, False}
    missed = {(m.case, m.arm, m.repeat): m.ras for m in tables(study).marks if m.kind == "false_negative"}
    for (case, arm, _), point in missed.items():
        apart = abs(point[0] - ras_of((0, 1, 1))[0])
        assert (apart > 10) is mirrored[case, arm, _]


def test_excluded_cases_are_left_out_with_their_reason(study):
    with pytest.raises(StudyStateError, match="no case"):
        study.exclude("secretcase9", "motion")
    with pytest.raises(StudyStateError, match="reason"):
        study.exclude("secretcase2", "")
    study.exclude("secretcase2", "motion")
    study.close()
    found = tables(study)
    assert {r.case for r in found.ratings} == {"secretcase1", "secretcase3"}
    assert [(f.case, f.reason) for f in found.failures] == [("secretcase2", "motion")]
    assert check_study(study) == []


def test_csv(study, tmp_path):
    study.close()
    paths = write_tables(tables(study), tmp_path / "out")
    with paths["ratings.csv"].open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 24
    assert list(rows[0])[:6] == ["case", "arm", "rater", "repeat", "question", "value"]
    from flairseg.errors import OutputError

    with pytest.raises(OutputError):
        write_tables(tables(study), tmp_path / "out")
    write_tables(tables(study), tmp_path / "out", replace=True)


def test_the_coordinator_s_folder_may_lie_elsewhere(study, tmp_path):
    shutil.move(study.coordinator, tmp_path / "safe")
    assert KEY in abouts(Study(study.folder))
    moved = Study(study.folder, tmp_path / "safe")
    assert check_study(moved) == []
    moved.close()
    assert tables(moved).ratings


def test_two_raters_at_once(tmp_path):
    """Turn by turn in one store: each stream has its own order."""
    study = lock(write_protocol(tmp_path / "src", 2, arms=("a",)), tmp_path / "study")
    with StudySession.open(study.room_folder("R1")) as one, StudySession.open(study.room_folder("R2")) as two:
        for _ in range(4):
            answer_all(one, limit=1)
            answer_all(two, limit=1)
        assert one.finished
        assert two.finished
    study.close()
    assert len(tables(study).ratings) == 8
    assert check_study(study) == []


def test_an_interrupted_lock_is_completed(tmp_path, monkeypatch):
    path = write_protocol(tmp_path / "src", 2, arms=("a",))

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "record_lock", killed)
        with pytest.raises(KeyboardInterrupt):
            lock(path, tmp_path / "study")
    assert any(f.where == "study.locked" for f in check_study(Study(tmp_path / "study")))
    assert check_study(lock(path, tmp_path / "study")) == []
