"""``flairseg study``: from folders to a closed study, by command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from flairseg.cli import app
from flairseg.study import Study, StudySession, locking
from typer.testing import CliRunner

from Testing.core.study_data import LESIONS, SHAPE_KJI, answer_all, write_nifti

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[study]'")


def run(*arguments, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["study", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def folders(tmp_path) -> Path:
    """Three images; masks of a tool beside summaries, and of a human in folders, one of them missing."""
    rng = np.random.default_rng(0)
    for n in range(3):
        write_nifti(rng.integers(1, 900, SHAPE_KJI).astype(np.int16), tmp_path / "images" / f"sub-{n}.nii.gz")
        mask = np.zeros(SHAPE_KJI, np.uint8)
        mask[LESIONS[0]] = 3
        write_nifti(mask, tmp_path / "tool" / f"sub-{n}_labels.nii.gz")
        summary = {"model": {"id": "flairseg2d-v1.0", "sha256": "ab" * 32}}
        (tmp_path / "tool" / f"sub-{n}_summary.json").write_text(json.dumps(summary))
        if n < 2:
            write_nifti(mask, tmp_path / "human" / f"sub-{n}" / "labels.nii.gz")
    return tmp_path


def draft(folders: Path, *more, code: int = 0) -> str:
    return run(
        "new", folders / "p.json", "--images", folders / "images", "--arm", f"tool={folders / 'tool'}",
        "--arm", f"human={folders / 'human'}", "--rater", "R1", "--rater", "R2", *more, code=code,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("there", "added"),
    [
        ("images/sub-1.nii.gz", "images/sub-1_flair.nii.gz"),
        ("images/sub-1.nii.gz", "images/sub-1.nii"),
        ("images/sub-1.nii.gz", "images/sub-1/flair.nii.gz"),
        ("tool/sub-1_labels.nii.gz", "tool/sub-1_flair_labels.nii.gz"),
        ("human/sub-1/labels.nii.gz", "human/sub-1_mask.nii.gz"),
    ],
)
def test_two_files_of_one_case_are_refused(folders, there, added):
    """One of them would be left out without a word, whichever is sorted first."""
    (folders / added).parent.mkdir(exist_ok=True)
    shutil.copy(folders / there, folders / added)
    output = " ".join(draft(folders, code=2).split())
    assert all(str(folders / name) in output.replace(" ", "") for name in (there, added))
    assert "Rename one of them" in output
    assert not (folders / "p.json").exists()


def test_results_in_two_forms_are_one_mask(folders):
    """FlairSeg writes a label map and a ``.seg.nrrd`` of each case: the label map is taken."""
    shutil.copy(folders / "tool" / "sub-1_labels.nii.gz", folders / "tool" / "sub-1.seg.nrrd")
    draft(folders)
    content = json.loads((folders / "p.json").read_text())
    assert content["cases"][1]["arms"][0]["mask"] == "tool/sub-1_labels.nii.gz"


def test_from_folders_to_tables(folders):
    assert "sub-2: no mask of human" in draft(folders).replace("\n", " ")
    content = json.loads((folders / "p.json").read_text())
    assert [case["id"] for case in content["cases"]] == ["sub-0", "sub-1"]
    tool, human = content["cases"][0]["arms"]
    assert tool == {
        "id": "tool", "mask": "tool/sub-0_labels.nii.gz", "model": "flairseg2d-v1.0", "model_sha256": "ab" * 32
    }  # fmt: skip
    assert human == {"id": "human", "mask": "human/sub-0/labels.nii.gz"}
    assert "can be locked" in run("check", folders / "p.json")
    study = folders / "study"
    output = run("lock", folders / "p.json", "--study", study)
    assert "the room of R2" in output
    assert "0 of 8" in run("status", study)
    assert "still open" in run("export", study, "-o", folders / "out", code=2)
    unfinished = run("close", study, code=2)
    assert "not finished" in unfinished
    assert "--incomplete" in unfinished
    for rater in ("R1", "R2"):
        with StudySession.open(study / "rooms" / rater) as session:
            while session.next() is not None:
                session.shown.answer("acceptable", "acceptable")
                session.shown.set_confidence(3)
                session.shown.submit()
    assert "8 of 8" in run("status", study)
    run("exclude", study, "sub-1", "--reason", "motion")
    run("close", study)
    assert "Nothing was changed" in run("check", study)
    run("export", study, "--output", folders / "out")
    rows = (folders / "out" / "ratings.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2 * 2
    assert "exist already" in run("export", study, "--output", folders / "out", code=2)
    run("export", study, "--output", folders / "out", "--overwrite")


def test_findings_are_exit_code_2(folders):
    draft(folders)
    path = folders / "p.json"
    content = json.loads(path.read_text())
    content["repeats"] = 0
    (folders / "wrong.json").write_text(json.dumps(content))
    assert "not valid at repeats" in run("check", folders / "wrong.json", code=2)
    run("lock", path, "--study", folders / "study")
    key = folders / "study" / "coordinator" / "key.sealed.json"
    key.write_text(key.read_text().replace('"repeat": 0', '"repeat": 1'))
    assert "not the key" in run("check", folders / "study", code=2).replace("\n", " ")
    assert "not the key" in run("close", folders / "study", "--incomplete", code=2).replace("\n", " ")


def test_an_existing_protocol_is_kept(folders):
    draft(folders)
    before = (folders / "p.json").read_bytes()
    assert "exists already" in draft(folders, code=2).replace("\n", " ")
    assert (folders / "p.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arms", "words"),
    [(["tool"], "cannot be understood"), (["a=x", "a=y"], "given twice"), (["a=nowhere"], "mask of every arm")],
)
def test_arms_that_will_not_do(folders, arms, words):
    options = [option for arm in arms for option in ("--arm", arm)]
    output = run("new", folders / "q.json", "--images", folders / "images", *options, "--rater", "R1", code=2)
    assert words in output.replace("\n", " ")
    assert not (folders / "q.json").exists()


def test_binary_masks(folders):
    draft(folders, "--binary", "--repeats", 1)
    content = json.loads((folders / "p.json").read_text())
    assert content["cases"][0]["arms"][0]["classes"] == {"1": "lesion"}
    assert content["repeats"] == 1


def test_what_is_no_study(tmp_path):
    for command in ("status", "close", "check"):
        assert "not a locked study" in run(command, tmp_path, code=2).replace("\n", " ")


def test_a_moved_coordinator_s_folder(folders):
    draft(folders)
    run("lock", folders / "p.json", "--study", folders / "study")
    shutil.move(folders / "study" / "coordinator", folders / "safe")
    run("check", folders / "study", code=2)
    run("check", folders / "study", "--coordinator", folders / "safe")
    with StudySession.open(folders / "study" / "rooms" / "R1") as session:
        session.next()
        session.shown.set_confidence(1)
        session.shown.answer("acceptable", "acceptable")
        session.shown.submit()
    run("close", folders / "study", "--incomplete", "--coordinator", folders / "safe")
    assert Study(folders / "study", folders / "safe").key().entries


def test_answer_all_is_a_helper_that_answers(folders):
    """The helper of other tests ends a room; were it to stop early, they would test nothing."""
    draft(folders)
    content = json.loads((folders / "p.json").read_text())
    content["confidence"] = False
    (folders / "p.json").write_text(json.dumps(content))
    run("lock", folders / "p.json", "--study", folders / "study")
    with StudySession.open(folders / "study" / "rooms" / "R1") as session:
        assert len(answer_all(session)) == 8
        assert session.finished


def test_protocol_and_key_may_be_locked_away_at_once(folders):
    draft(folders)
    safe = folders / "kept away"
    output = run("lock", folders / "p.json", "--study", folders / "study", "--coordinator", safe)
    assert "Warning" not in output
    assert not (folders / "study" / "coordinator").exists()
    assert sorted(p.name for p in safe.iterdir()) == ["key.sealed.json", "protocol.json"]
    assert safe.stat().st_mode & 0o077 == 0
    run("check", folders / "study", "--coordinator", safe)
    assert "inside the study" not in run("status", folders / "study")
    with StudySession.open(folders / "study" / "rooms" / "R1") as session:
        session.next()
        session.shown.set_confidence(2)
        session.shown.answer("acceptable", "unacceptable")
        session.shown.submit()
    run("close", folders / "study", "--incomplete", "--coordinator", safe)
    run("export", folders / "study", "-o", folders / "out", "--coordinator", safe)
    assert len((folders / "out" / "ratings.csv").read_text().splitlines()) == 2


def test_a_key_within_raters_reach_is_told(folders):
    draft(folders)
    assert "move it out of their reach" in run("lock", folders / "p.json", "--study", folders / "study")
    assert "move it out of their reach" in run("status", folders / "study")
    run("close", folders / "study", "--incomplete")
    assert "move it out of their reach" not in run("status", folders / "study")


@pytest.mark.parametrize("place", ["study", "full", "file"])
def test_no_place_for_the_key_leaves_nothing(folders, place):
    draft(folders)
    (folders / "full").mkdir()
    (folders / "full" / "x").write_text("x")
    (folders / "file").write_text("x")
    before = sorted(folders.rglob("*"))
    run("lock", folders / "p.json", "--study", folders / "study", "--coordinator", folders / place, code=2)
    assert sorted(folders.rglob("*")) == before


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("postgresql://u@127.0.0.1:1/none", "Nothing was locked"),
        ("mysql://u@h/d", "PostgreSQL address"),
        ("events.db", "is not an address"),
        ("postgresql://u:secret@h/d", "contains a password"),
    ],
)
def test_a_store_that_will_not_do_leaves_nothing(folders, store, words):
    draft(folders)
    if store.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'flairseg[postgres]'")
    output = run("lock", folders / "p.json", "--study", folders / "study", "--store", store, code=2)
    assert words in output.replace("\n", " ")
    assert not (folders / "study").exists()


def test_a_file_in_the_place_of_a_study(folders):
    draft(folders)
    (folders / "taken").write_text("mine")
    assert "is not a folder" in run("lock", folders / "p.json", "--study", folders / "taken", code=2)
    assert (folders / "taken").read_text() == "mine"


def test_a_part_of_a_study_is_told_from_no_study(folders):
    draft(folders)
    run("lock", folders / "p.json", "--study", folders / "study")
    output = run("status", folders / "study" / "rooms" / "R1", code=2).replace("\n", " ")
    assert "inside the study" in output


def test_a_case_left_out_with_the_key_open_is_told(folders):
    draft(folders)
    run("lock", folders / "p.json", "--study", folders / "study")
    assert "Warning" not in run("exclude", folders / "study", "sub-0", "--reason", "motion")
    run("close", folders / "study", "--incomplete")
    assert "The key was already open" in run("exclude", folders / "study", "sub-1", "--reason", "odd")
    excluded = Study(folders / "study").excluded()
    assert excluded == {"sub-0": "motion", "sub-1": "odd (decided after the key was opened)"}


def test_a_fault_of_the_whole_store_is_told_once(folders):
    draft(folders)
    run("lock", folders / "p.json", "--study", folders / "study")
    (folders / "study" / "events.sqlite").unlink()
    output = run("check", folders / "study", code=2)
    assert output.count("is missing") == 1


@pytest.mark.parametrize("own_key", [True, False], ids=["two folders of keys", "one folder of keys"])
def test_of_two_locks_at_once_one_is_refused_and_leaves_no_key(folders, monkeypatch, own_key):
    """The slower one said "Directory not empty. Check the disk", and its key lay there for a study that was not."""
    draft(folders)
    keys = [folders / "key-1", folders / ("key-2" if own_key else "key-1")]
    real, codes = locking._make, iter(["first"])

    def overtaken(*given, **keywords):
        real(*given, **keywords)
        if next(codes, None):
            run("lock", folders / "p.json", "--study", folders / "study", "--coordinator", keys[1])

    monkeypatch.setattr(locking, "_make", overtaken)
    told = run("lock", folders / "p.json", "--study", folders / "study", "--coordinator", keys[0], code=2)
    assert "Another call has meanwhile filled" in " ".join(told.split())
    assert keys[1].is_dir()
    assert keys[0].exists() == (not own_key)
    run("check", folders / "study", "--coordinator", keys[1])
    assert not [path.name for path in folders.iterdir() if path.name.startswith(".")]
