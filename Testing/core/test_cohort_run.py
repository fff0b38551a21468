"""A cohort from its source to its tables: files, rows, resumption, failures, comparisons, pseudonyms."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from flairseg import cohort, segment
from flairseg.cohort import begun, case, follow, inputs, tables
from flairseg.cohort.bids_dataset import write_participants
from flairseg.cohort.case import Work
from flairseg.cohort.clusters import ClusterOptions, Share, batch_cluster, bytes_of, share_of
from flairseg.cohort.events import Event
from flairseg.cohort.lock import RunLock
from flairseg.cohort.model import (
    DONE,
    FAILED,
    NO_FLAIR,
    QUARANTINED,
    Answer,
    ChangeRow,
    Grid,
    LesionRecord,
    Session,
    SessionRow,
)
from flairseg.cohort.options import CaseOptions
from flairseg.cohort.running import RunOptions, prepare_run
from flairseg.cohort.tables import write_tables
from flairseg.errors import CaseWarning, FlairSegError, OutputError, RunInProgressError
from flairseg.io.label_maps import read_label_map

from Testing.core.cohort_data import BREAKAGES, bids_dataset, bids_image, head

COLUMNS = ("case", "status", "ventricles_ml", "lesion_ml", "lesion_count")


class Events(list):
    """Listens, and keeps what it hears."""

    def __call__(self, event: Event) -> None:
        json.dumps(event.to_dict())
        self.append(event.to_dict())

    def cases(self) -> list[str]:
        return [e["case"] for e in self if e["event"] == "session"]


def run(source: Path, output: Path, model: Path, **options: Any) -> tuple[cohort.CohortTable, Events]:
    events = Events()
    defaults = {"jobs": 1, "device": "cpu", "regions": False, "overview": False, "follow": False, "page": False}
    table = cohort.run(source, output, model=model, listener=events, **{**defaults, **options})
    return table, events


@pytest.fixture(scope="module")
def study(tmp_path_factory, model) -> tuple[Path, Path, cohort.CohortTable]:
    """Source and output of a cohort of four sessions: one subject followed, one without a FLAIR. Read-only."""
    root = bids_dataset(tmp_path_factory.mktemp("study") / "bids", {"01": 2, "02": 0})
    bids_image(root, "03", name="T1w")
    output = root / "derivatives" / "flairseg"
    table, _ = run(root, output, model, follow=True, overview=True, probabilities=True)
    return root, output, table


# --- what is written


def test_a_share_that_is_lost_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    image = tmp_path / "a.nii.gz"
    image.write_bytes(b"voxels")
    session = Session("01", "1", str(image), "table", "")
    waits: list[float] = []
    monkeypatch.setattr(inputs.time, "sleep", waits.append)
    opened, failures = Path.open, [errno.ESTALE, errno.EIO]

    def flaky(path, *arguments, **keywords):
        if path == image and failures:
            raise OSError(failures.pop(0), "lost")
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", flaky)
    assert inputs.content_sha256(session) == hashlib.sha256(b"voxels").hexdigest()
    assert waits == [1.0, 5.0]
    failures.append(errno.EACCES)
    with pytest.raises(FlairSegError) as refused:
        inputs.content_sha256(session)
    assert (refused.value.code, len(waits)) == ("input-not-readable", 2)


def test_every_session_has_a_row(study):
    _, output, table = study
    assert {row.case: row.status for row in table} == {
        "sub-01_ses-1": DONE, "sub-01_ses-2": DONE, "sub-02": DONE, "sub-03": NO_FLAIR,
    }  # fmt: skip
    with (output / "cohort.csv").open() as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream)}
    frame = pq.read_table(output / "cohort.parquet").to_pylist()
    assert [row["case"] for row in frame] == sorted(rows)
    for row in frame:
        text = rows[row["case"]]
        assert text["lesion_ml"] == ("" if row["lesion_ml"] is None else repr(row["lesion_ml"]))
        assert text["status"] == row["status"]
    assert rows["sub-03"]["lesion_ml"] == ""
    assert "T1w" in rows["sub-03"]["message"]
    assert (output / "failures.csv").read_text().count("\n") == 2


def test_rows_are_those_of_single_runs(study, model):
    root, output, table = study
    row = next(row for row in table if row.case == "sub-01_ses-2")
    alone = segment(root / "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz", model, "cpu")
    volumes = alone.summary()["volumes_ml"]
    assert row.volumes_ml == volumes
    assert row.lesion_count == alone.lesion_count
    written = read_label_map(output / row.files["dseg"])
    assert (written.labels == alone.labels).all()
    assert sum(r["case"] == row.case for r in pq.read_table(output / "lesions.parquet").to_pylist()) == row.lesion_count


def test_changes_of_a_subject_are_followed(study):
    _, output, table = study
    (change,) = table.changes()
    assert (change.first, change.last, change.status) == ("sub-01_ses-1", "sub-01_ses-2", DONE)
    assert sum(change.counts.values()) > 0
    assert all((output / name).is_file() for name in change.files.values())
    assert change.name in (output / change.files["summary"]).name
    assert "sub-01_ses-2" in (output / "changes.csv").read_text()


def test_comparisons_that_are_missing_are_made_by_the_next_run(study, model, tmp_path, monkeypatch):
    root, output, _ = study
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    options = cohort.RunOptions(model=model, device="cpu", regions=False, probabilities=True)
    assert prepare_run(root, copy, options).plan.comparisons == 0
    next((copy / "work" / "changes").iterdir()).unlink()
    assert prepare_run(root, copy, options).plan.comparisons == 1
    made: list[tuple[str, str]] = []
    monkeypatch.setattr(follow, "compare", lambda first, last, work: made.append((first, last)) or Answer())
    _, events = run(root, copy, model, follow=True, overview=True, probabilities=True)
    assert (made, events.cases()) == ([("sub-01_ses-1", "sub-01_ses-2")], [])


def test_nothing_to_do_starts_nothing(study, model, monkeypatch):
    """Neither a model is loaded nor a cluster started, batch jobs least of all."""
    root, output, _ = study
    monkeypatch.setattr("flairseg.cohort.running.make_executor", lambda *a: pytest.fail("started"))
    monkeypatch.setattr("flairseg.cohort.executors.prepare", lambda *a: pytest.fail("loaded"))
    cluster = ClusterOptions(batch="slurm", jobs=9)
    table, _ = run(root, output, model, follow=True, overview=True, probabilities=True, cluster=cluster)
    assert table.counts() == {DONE: 3, NO_FLAIR: 1}


def test_methods_and_run_say_what_was_run(study, model):
    _, output, _ = study
    run_json = json.loads((output / "run.json").read_text())
    assert run_json["sessions"] == {"done": 3, "no-flair": 1}
    text = (output / "methods.md").read_text()
    for word in ("3 sessions of 2 subjects", run_json["software"]["SimpleITK"], run_json["model"]["sha256"][:12]):
        assert word in text


def test_official_validator(study):
    """The derivatives are BIDS by the validator of the BIDS community."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    if not program.exists():
        pytest.skip("bids-validator-deno has no wheel for this platform")
    _, output, _ = study
    done = subprocess.run([program, output, "--format", "json"], capture_output=True, text=True, timeout=120)
    if not done.stdout.strip():
        pytest.skip(f"bids-validator-deno does not run here: {done.stderr[:200]}")
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert sorted(json.loads(done.stdout)["summary"]["subjects"]) == ["01", "02"]


def test_the_table_is_lazy(study):
    _, output, _ = study
    table = cohort.CohortTable.open(output)
    assert table.counts() == {DONE: 3, NO_FLAIR: 1}
    assert table.dataset().to_table(columns=["case"]).num_rows == 4
    assert [row.case for row in table.failures()] == ["sub-03"]
    assert len(table.to_pandas()) == 4


# --- resumption


@pytest.fixture
def small(tmp_path, model) -> tuple[Path, Path, Path]:
    """Source, output and model of two sessions that were run."""
    root = bids_dataset(tmp_path / "bids", {"01": 0, "02": 0})
    run(root, tmp_path / "out", model)
    return root, tmp_path / "out", model


def test_a_second_run_does_nothing(small):
    root, output, model = small
    before = {p: p.stat().st_mtime_ns for p in output.rglob("*.nii.gz")}
    table, events = run(root, output, model)
    assert events.cases() == []
    assert table.counts() == {DONE: 2}
    assert {p: p.stat().st_mtime_ns for p in output.rglob("*.nii.gz")} == before


def test_a_session_that_lost_its_image_loses_its_files(small):
    root, output, model = small
    path = root / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz"
    path.rename(path.with_name("sub-01_T1w.nii.gz"))
    table, _ = run(root, output, model)
    assert table.rows()[0].status == NO_FLAIR
    assert not (output / "sub-01").exists()


def test_what_is_missing_is_made(small):
    root, output, model = small
    (output / "sub-01" / "anat" / "sub-01_dseg.nii.gz").unlink()
    (output / "work" / "rows" / "sub-02.json").write_text("{ half")
    bids_image(root, "03")
    _, events = run(root, output, model)
    assert events.cases() == ["sub-01", "sub-02", "sub-03"]


def test_what_changed_is_made_anew(small):
    root, output, model = small
    bids_image(root, "01", seed=99)
    before = cohort.CohortTable.open(output).rows()[0]
    table, events = run(root, output, model)
    assert events.cases() == ["sub-01"]
    assert table.rows()[0].input_sha256 != before.input_sha256


def test_a_file_of_the_same_content_is_not_segmented_again(small, monkeypatch):
    root, output, model = small
    path = root / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz"
    os.utime(path, (1e9, 1e9))
    monkeypatch.setattr(case, "segment", lambda *a, **k: pytest.fail("segmented again"))
    table, _ = run(root, output, model)
    assert table.counts() == {DONE: 2}
    monkeypatch.setattr(case, "work_on", lambda *a: pytest.fail("looked at again"))
    _, events = run(root, output, model)
    assert events.cases() == []


def test_another_threshold_makes_all_anew(small):
    root, output, model = small
    table, events = run(root, output, model, threshold=0.2)
    assert events.cases() == ["sub-01", "sub-02"]
    assert json.loads((output / table.rows()[0].files["summary"]).read_text())["model"]["thresholds"]["lesion"] == 0.2
    with pytest.raises(FlairSegError) as caught:
        run(root, output, model, threshold=1.5)
    assert caught.value.code == "threshold-out-of-range"


def test_failures_are_tried_again_when_asked(small):
    root, output, model = small
    path = bids_image(root, "03")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    table, events = run(root, output, model)
    assert events.cases() == ["sub-03"]
    assert (table.rows()[2].status, bool(table.rows()[2].advice)) == (FAILED, True)
    assert run(root, output, model)[1].cases() == []
    assert run(root, output, model, retry_failed=True)[1].cases() == ["sub-03"]
    path.write_bytes(whole)
    table, events = run(root, output, model)
    assert (events.cases(), table.rows()[2].status) == (["sub-03"], DONE)


def test_what_a_killed_process_left_is_taken_away(small):
    """A temporary folder of a case that was not finished, and of a table."""
    root, output, model = small
    (output / "work" / "rows" / "sub-01.json").unlink()
    for folder in (output / "sub-01" / "anat", output / "cases" / "sub-01", output):
        (folder / ".flairseg-x1").mkdir()
        (folder / ".flairseg-x1" / "sub-01_dseg.nii.gz").write_bytes(b"half")
    (output / "work" / "rows" / ".flairseg-x2").write_text("half")
    _, events = run(root, output, model)
    assert events.cases() == ["sub-01"]
    assert list(output.rglob(".flairseg-*")) == []


def test_files_of_a_session_that_fails_now_are_gone(small):
    root, output, model = small
    (root / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz").write_bytes(b"")
    table, _ = run(root, output, model)
    assert table.rows()[0].status == FAILED
    assert not (output / "sub-01").exists()
    assert not (output / "cases" / "sub-01").exists()


# --- what can go wrong


def test_twenty_broken_sessions(tmp_path, model):
    """Every broken session is a row with code and advice; whole ones beside them are done."""
    root = bids_dataset(tmp_path / "bids", {"whole": 0})
    for n, (name, write) in enumerate(BREAKAGES.items()):
        folder = root / f"sub-broken{n:02d}" / "anat"
        folder.mkdir(parents=True)
        write(folder / f"sub-broken{n:02d}_FLAIR.nii.gz", head(n))
        assert name
    table, _ = run(root, tmp_path / "out", model)
    rows = {row.case: row for row in table}
    assert len(rows) == len(BREAKAGES) + 1
    assert rows.pop("sub-whole").status == DONE
    for row in rows.values():
        assert row.status in (FAILED, NO_FLAIR), row
        assert row.message
        assert row.code != "unexpected-error", row.message
        assert row.advice or row.status == NO_FLAIR


def test_two_runs_in_one_folder(small):
    root, output, model = small
    held = (
        "import sys, time; from pathlib import Path; from flairseg.cohort.lock import RunLock\n"
        "lock = RunLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    path = output / "work" / "run.lock"
    with subprocess.Popen([sys.executable, "-c", held, path], stdout=subprocess.PIPE, env=_environment()) as other:
        try:
            assert other.stdout.readline().strip() == b"held"
            with pytest.raises(RunInProgressError) as caught:
                run(root, output, model)
            assert str(other.pid) in caught.value.message
        finally:
            other.kill()
            other.wait()
    # The lock of a dead process is none.
    assert run(root, output, model)[0].counts() == {DONE: 2}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def test_a_lock_of_another_computer_counts_while_it_is_fresh(tmp_path):
    path = tmp_path / "run.lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    with pytest.raises(RunInProgressError):
        RunLock(path)
    os.utime(path, (1e9, 1e9))
    RunLock(path).release()
    assert path.read_text() == ""


def test_a_full_disk_ends_the_run(tmp_path, model, monkeypatch):
    root = bids_dataset(tmp_path / "bids", {"01": 0, "02": 0})

    def full(*arguments, **named):
        raise OutputError("The disk is full.", "Free some space.", code="disk-full")

    monkeypatch.setattr(case.case_files, "write", full)
    with pytest.raises(FlairSegError) as caught:
        run(root, tmp_path / "out", model)
    assert caught.value.code == "disk-full"
    assert cohort.CohortTable.open(tmp_path / "out").rows() == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_source(small):
    root, output, model = small
    bids_image(root, "03")
    shutil.copytree(root, root.with_name("copy"))
    for path in root.with_name("copy").rglob("*"):
        path.chmod(path.stat().st_mode & 0o555)
    assert run(root.with_name("copy"), output, model)[0].counts() == {DONE: 3}


def test_an_interrupt_keeps_what_is_finished(tmp_path, model):
    root = bids_dataset(tmp_path / "bids", {"01": 0, "02": 0, "03": 0})

    def interrupt(event):
        if event.name == "session":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cohort.run(root, tmp_path / "out", model=model, jobs=1, device="cpu", regions=False, listener=interrupt)
    assert cohort.CohortTable.open(tmp_path / "out").counts() == {DONE: 1}
    assert (tmp_path / "out" / "cohort.csv").read_text().count("\n") == 2
    _, events = run(root, tmp_path / "out", model, overview=True)
    assert events.cases() == ["sub-02", "sub-03"]


def test_a_session_that_kills_its_process_is_left_alone(small):
    root, output, model = small
    bids_image(root, "03")
    layout = cohort.Layout(output)
    for _ in range(2):
        # What a process leaves behind that is killed while it works on a session.
        begun.begin(layout, "sub-03", begun.IN_PROCESS)
    table, _ = run(root, output, model)
    row = table.rows()[2]
    assert (row.status, row.code) == (QUARANTINED, "quarantined")
    assert run(root, output, model)[1].cases() == []
    assert run(root, output, model, retry_failed=True)[0].rows()[2].status == DONE


def test_workers_that_ended_with_their_run_are_not_counted(small):
    root, output, model = small
    bids_image(root, "03")
    layout = cohort.Layout(output)
    for _ in range(3):
        begun.begin(layout, "sub-03", begun.WORKERS)
    assert run(root, output, model)[0].rows()[2].status == DONE


# --- pseudonyms


def test_pseudonyms_end_to_end(tmp_path, model):
    root = tmp_path / "Hospital-Doe" / "sub-DoeJane"
    for day in ("2023-01-02", "2024-03-04"):
        bids_image(root.parent, "DoeJane", day.replace("-", ""), seed=int(day[:4]))
    broken = bids_image(root.parent, "RoeRichard", "20240505")
    broken.write_bytes(broken.read_bytes()[:100])
    (root.parent / "participants.tsv").write_text(
        "participant_id\tage\tsite\nsub-DoeJane\t94\tStMary\nsub-RoeRichard\t50\tStMary\n"
    )
    output, key = tmp_path / "out", tmp_path / "apart" / "key"
    names = tmp_path / "apart" / "names.json"
    hidden = {"pseudonymise": True, "pseudonym_key": key, "follow": True, "overview": True}
    table, events = run(root.parent, output, model, pseudonym_map=names, **hidden)
    assert table.counts() == {DONE: 2, FAILED: 1}
    assert len(table.changes()) == 1
    words = ("doejane", "hospital", "jane", "roerichard", "stmary", "20230102", "20240304", "2024-03-04", "20240505")
    texts = [json.dumps(e) for e in events] + [str(p.relative_to(output)) for p in output.rglob("*")]
    texts += [
        p.read_text(errors="replace")
        for p in output.rglob("*")
        if p.is_file() and p.suffix not in (".gz", ".jpg", ".png")
    ]
    for word in words:
        assert not [text[:200] for text in texts if word in text.lower()], word
    assert {row.session.session for row in table if row.status == DONE} == {"1", "2"}
    assert next(row for row in table if row.status == DONE).session.age == 90
    assert "DoeJane" in names.read_text()
    # The same key goes on with the same names.
    again, events = run(root.parent, output, model, **hidden)
    assert events.cases() == []
    assert again.counts() == table.counts()


@pytest.mark.parametrize(("key", "code"), [(None, "pseudonym-key-needed"), ("out/key", "pseudonym-key-inside")])
def test_a_key_is_needed_and_lies_apart(tmp_path, model, key, code):
    root = bids_dataset(tmp_path / "bids", {"01": 0})
    with pytest.raises(FlairSegError) as caught:
        run(root, tmp_path / "out", model, pseudonymise=True, pseudonym_key=key and tmp_path / key)
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


# --- the data model


def test_rows_survive_json():
    session = Session("01", "2", "/data/a.nii.gz", "bids", "", age=40.0, files=("a", "b"))
    row = SessionRow(
        session, DONE, volumes_ml={"lesion": 1.5}, warnings=(CaseWarning("odd", "looks-like-t1"),), trusted=False,
        quality={"noise": 0.1}, below_bar=("noise",), grid=Grid((20, 8, 8), (1, 1, 3)),
    )  # fmt: skip
    assert SessionRow.from_dict(json.loads(json.dumps(row.to_dict()))) == row
    assert row.flat()["quality_noise"] == 0.1
    assert row.flat()["warnings"] == "looks-like-t1"
    change = ChangeRow("01", "sub-01_ses-1", "sub-01_ses-2", DONE, counts={"new": 1})
    assert ChangeRow.from_dict(json.loads(json.dumps(change.to_dict()))) == change


def test_which_sessions_are_compared():
    def row(label: str, status: str = DONE, date: str = "") -> SessionRow:
        return SessionRow(Session("1", label, "/x", "bids", "", date=date), status, file_sha256=label)

    def names(rows: list[SessionRow]) -> list[str]:
        return [f"{a.session.session}-{b.session.session}" for a, b in follow.pairs(rows)]

    assert names([row("10"), row("2"), row("1")]) == ["1-2", "2-10", "1-10"]
    assert names([row("a", date="2024-01-01"), row("b", date="2023-01-01")]) == ["b-a"]
    assert names([row("1"), row("2", FAILED)]) == []
    plan = follow.planned(row("1", date="2024-01-01"), row("2", date="2024-03-01"))
    assert plan.days == 60
    made = replace(plan, status=DONE)
    assert follow.is_current(cohort.Layout(Path("/x")), made, plan, False)
    corrected = follow.planned(row("1", date="2024-01-01"), row("2", date="2024-04-01"))
    assert not follow.is_current(cohort.Layout(Path("/x")), made, corrected, False)
    assert plan.key != follow.planned(replace(row("1"), file_sha256="other"), row("2")).key


def test_the_time_of_a_plan_has_the_comparisons(tmp_path, model):
    """Three sessions are compared in three pairs, two in one; before any of them is segmented."""
    root = bids_dataset(tmp_path / "bids", {"01": 3, "02": 2, "03": 0})
    options = cohort.RunOptions(model=model, device="cpu", regions=False)
    plan = prepare_run(root, tmp_path / "out", options).plan
    assert (len(plan.todo), plan.comparisons) == (6, 4)
    assert plan.seconds(1) == 6 * plan.seconds_each + 4 * plan.seconds_comparison
    assert prepare_run(root, tmp_path / "out", replace(options, follow=False)).plan.comparisons == 0


def test_the_lesion_table_tells_calibrated_confidence_from_mean_probability(tmp_path, monkeypatch):
    rows = [{"number": 1, "confidence": 0.41, "mean_probability": 0.83}, {"number": 2, "confidence": 0.7}]
    monkeypatch.setattr(tables, "read_lesions", lambda layout: iter(LesionRecord("c", "1", "", **r) for r in rows))
    tables.write_lesions(cohort.Layout(tmp_path))
    written = pq.read_table(tmp_path / "lesions.parquet").to_pylist()
    assert [(row["confidence"], row["mean_probability"]) for row in written] == [(0.41, 0.83), (0.7, None)]


def test_covariates_that_come_later_reach_the_table(small, tmp_path):
    """Nothing is segmented anew for them."""
    root, output, model = small
    lesions = pq.read_table(output / "lesions.parquet").num_rows
    table = tmp_path / "more.csv"
    table.write_text("subject,site,age\n01,Graz,41\n02,Basel,\n")
    _, events = run(root, output, model, covariates=table)
    with (output / "cohort.csv").open() as stream:
        assert [(row["site"], row["age"]) for row in csv.DictReader(stream)] == [("Graz", "41.0"), ("Basel", "")]
    assert events.cases() == []
    assert pq.read_table(output / "lesions.parquet").num_rows == lesions > 0


def test_participants_have_the_age_of_their_first_session(tmp_path):
    def row(label: str, age: float, date: str = "") -> SessionRow:
        return SessionRow(Session("01", label, "/x", "bids", "", age=age, date=date), DONE)

    def age(rows: list[SessionRow]) -> str:
        write_participants(cohort.Layout(tmp_path), rows)
        (person,) = csv.DictReader((tmp_path / "participants.tsv").open(), delimiter="\t")
        return person["age"]

    assert age([row("10", 41.0), row("2", 33.0)]) == "33.0"
    assert age([row("a", 50.0, "2024-01-01"), row("b", 49.0, "2023-01-01")]) == "49.0"


def test_the_table_of_changes_goes_with_the_last_comparison(tmp_path):
    layout = cohort.Layout(tmp_path)
    change = ChangeRow("01", "sub-01_ses-1", "sub-01_ses-2", DONE)
    write_tables(layout, {}, {change.name: change})
    assert "sub-01_ses-2" in layout.changes_csv.read_text()
    write_tables(layout, {}, {})
    assert not layout.changes_csv.exists()


def test_results_of_earlier_options_are_not_credited_to_these(small):
    """A session that left the source keeps its result, which the paragraph about the present model leaves out."""
    root, output, model = small
    shutil.rmtree(root / "sub-02")
    run(root, output, model, threshold=0.3)
    said = json.loads((output / "run.json").read_text())
    assert (said["sessions"], said["of_earlier_options"], said["subjects"]) == ({DONE: 2}, 1, 1)
    text = (output / "methods.md").read_text()
    assert "FLAIR images of 1 session of 1 subject" in text
    assert "1 further session" in text


def test_another_pipeline_of_the_same_weights_is_another_model(small, tmp_path):
    """A card whose pipeline was changed gives other results, which are not mixed with those before."""
    root, output, model = small
    changed = tmp_path / "changed" / model.name
    shutil.copytree(model, changed)
    raw = json.loads((changed / "card.json").read_text())
    raw["pipeline"]["min_lesion_mm3"] = 500.0
    (changed / "card.json").write_text(json.dumps(raw))
    options = {"device": "cpu", "regions": False, "overview": False, "follow": False, "page": False}
    plans = [prepare_run(root, output, RunOptions(model=str(one), **options)) for one in (model, changed)]
    assert [set(one.plan.todo.values()) for one in plans] == [set(), {"options changed"}]
    sessions = {"sub-01": Session("01", "", "/x", "bids", "")}
    here = replace(plans[0].case_options, model=str(changed / "model.onnx"))
    with pytest.raises(FlairSegError, match="pipeline differs") as told:
        case.prepare(Work(cohort.Layout(output), here, sessions, sessions))
    assert told.value.code == "other-model"


def test_a_marker_that_cannot_be_written_ends_the_run_with_its_reason(small, monkeypatch):
    """In a worker an error outside of the task's answer would read as a lost worker."""
    root, output, model = small
    bids_image(root, "03")
    work = Work(
        cohort.Layout(output), CaseOptions(str(model), "0"), *[{"sub-03": Session("03", "", "/x", "bids", "")}] * 2
    )

    def full(*_: Any) -> int:
        raise OutputError("Full.", "Free some.", code="disk-full")

    monkeypatch.setattr(begun, "begin", full)
    assert case.work_on("sub-03", work).fatal.code == "disk-full"


def test_a_day_that_there_is_not_does_not_end_the_run(small):
    """A mistyped date of one session is no date; all others are compared."""
    root, output, model = small
    for session in ("1", "2"):
        bids_image(root, "03", session, seed=int(session))
        scans = root / "sub-03" / f"ses-{session}" / f"sub-03_ses-{session}_scans.tsv"
        scans.write_text(f"filename\tacq_time\nanat/sub-03_ses-{session}_FLAIR.nii.gz\t2023-02-3{int(session) - 1}\n")
    table, _ = run(root, output, model, follow=True)
    (change,) = table.changes()
    assert (change.status, change.days, table.counts()) == (DONE, None, {DONE: 4})


# --- where it runs


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * 10**9), ("3.5 GiB", int(3.5 * 2**30)), ("800m", 8 * 10**8), ("1024", 1024)]
)
def test_sizes(text, size):
    assert bytes_of(text) == size


def test_a_size_is_refused():
    with pytest.raises(FlairSegError, match="not a memory size"):
        bytes_of("much")


def test_shares_of_a_machine():
    giga = 1 << 30
    assert share_of(ClusterOptions(), 100, 64 * giga, 8).workers == 8
    # Memory for two only.
    assert share_of(ClusterOptions(), 100, 8 * giga, 8).workers == 2
    assert share_of(ClusterOptions(), 1, 64 * giga, 8) == Share(1, 8, int(0.85 * 64 * giga))
    assert share_of(ClusterOptions(jobs=4), 100, 64 * giga, 8).cores == 2
    assert share_of(ClusterOptions(jobs=2, memory="4GiB"), 100, 64 * giga, 8).memory_bytes == 4 * giga


def test_without_dask_sessions_are_worked_on_one_after_another(monkeypatch):
    monkeypatch.setattr("flairseg.cohort.clusters.find_spec", lambda name: None)
    assert share_of(ClusterOptions(), 100, 64 << 30, 8).workers == 1


def test_too_little_memory_is_refused():
    with pytest.raises(FlairSegError) as caught:
        share_of(ClusterOptions(jobs=2, memory="100MB"), 10)
    assert caught.value.code == "memory-too-small"
    # Shared by so many that none could load the model.
    with pytest.raises(FlairSegError) as caught:
        share_of(ClusterOptions(jobs=64), 100, 16 << 30, 64)
    assert caught.value.code == "memory-too-small"


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ("slurm", ("#SBATCH --cpus-per-task=4", "#SBATCH -p short", "#SBATCH --gres=gpu:1", "module load python")),
        ("pbs", ("#PBS -l select=1:ncpus=4:mem=6000MB", "#PBS -q short")),
        ("lsf", ("#BSUB -n 4", "#BSUB -q short")),
    ],
)
def test_job_scripts(tmp_path, batch, words):
    pytest.importorskip("dask_jobqueue")
    options = ClusterOptions(
        jobs=3, batch=batch, memory="6GB", cores=4, queue="short", job_options=("--gres=gpu:1",),
        prologue=("module load python",),
    )  # fmt: skip
    cluster = batch_cluster(options, tmp_path)
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    for word in (*words, "dask_worker", "--nthreads 1"):
        assert word in script
