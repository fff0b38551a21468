"""``flairseg cohort``: plan, exit codes, JSON lines, progress, options in a file; DICOM sources end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flairseg import cohort
from flairseg.cli import app
from flairseg.cli.cohort_progress import Told, clock
from flairseg.cohort import case
from flairseg.cohort.events import Ended, Planned, SessionFinished, Started
from flairseg.cohort.model import BIDS, DONE, FAILED, QUARANTINED, Session, SessionRow
from flairseg.cohort.plan import Plan
from rich.console import Console
from typer.testing import CliRunner

from Testing.core.cohort_data import bids_dataset, bids_image, head
from Testing.core.dicom_series import Study, write_series

QUICK = ("--device", "cpu", "--no-regions", "--no-overview", "--no-follow", "--no-page", "--jobs", "1")


def run(*arguments: Any) -> Any:
    given = ["cohort", *map(str, arguments)]
    return CliRunner(env={"COLUMNS": "200", "TERM": "xterm", "NO_COLOR": "1"}).invoke(app, given)


@pytest.fixture
def source(tmp_path) -> Path:
    root = bids_dataset(tmp_path / "bids", {"01": 0, "02": 0})
    bids_image(root, "03", name="T1w")
    return root


def test_a_dry_run_writes_nothing(source, model, tmp_path):
    result = run(source, "-o", tmp_path / "out", "-m", model, "--dry-run", *QUICK)
    assert result.exit_code == 0, result.output
    for word in ("3 sessions of 3 subjects", "1 without a FLAIR", "2 to segment", "The only FLAIR", "a default"):
        assert word in result.stdout, word
    assert not (tmp_path / "out").exists()
    lines = [json.loads(x) for x in run(source, "-o", tmp_path / "out", "-m", model, "--dry-run", "--json",
                                        *QUICK).stdout.splitlines()]  # fmt: skip
    assert lines[0]["todo"] == 2
    assert {line["case"]: line["state"] for line in lines[1:]} == {
        "sub-01": "new", "sub-02": "new", "sub-03": "no FLAIR",
    }  # fmt: skip


def test_json_lines_and_exit_codes(source, model, tmp_path):
    out = tmp_path / "out"
    result = run(source, "-o", out, "-m", model, "--json", "--quiet", *QUICK)
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [e["event"] for e in events] == ["plan", "start", "session", "session", "end"]
    assert events[2]["lesion_ml"] > 0
    assert result.stderr == ""
    again = run(source, "-o", out, "-m", model, *QUICK)
    assert again.exit_code == 0
    assert "2 already done" in again.output
    bids_image(source, "02").write_bytes(b"")
    broken = run(source, "-o", out, "-m", model, *QUICK)
    assert broken.exit_code == 2
    assert "Failed (sub-02)" in broken.stderr
    assert "--retry-failed" in broken.stderr
    assert run(source, "-o", out, "-m", model, *QUICK).exit_code == 2


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (("--model", "nowhere-v1.0"), "nowhere"),
        (("--threshold", "7"), "probability"),
        (("--pseudonymise",), "--pseudonym-key"),
        (("--slurm", "--pbs"), "Choose one"),
        (("--memory", "much", "--jobs", "2"), "size"),
    ],
)
def test_what_cannot_be_run_is_said(source, model, tmp_path, more, word):
    result = run(source, "-o", tmp_path / "out", "-m", model, "--no-page", *more)
    assert result.exit_code == 2
    assert word in result.output
    assert "Traceback" not in result.output


def test_options_out_of_a_file(source, model, tmp_path):
    config = tmp_path / "study.json"
    options = {"model": str(model), "output": str(tmp_path / "out"), "jobs": 1, "regions": False, "follow": False}
    config.write_text(json.dumps({"cohort": {**options, "page": False, "overview": False, "device": "cpu"}}))
    assert run(source, "--config", config, "--quiet").exit_code == 0
    assert cohort.CohortTable.open(tmp_path / "out").counts()["done"] == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"queue": True}, (True, "")),
        ({"partition": "short"}, (False, "short")),
        ({"queue": True, "partition": "short"}, (True, "short")),
    ],
)
def test_an_option_s_own_name_goes_before_another_one_s_variable(tmp_path, monkeypatch, content, expected):
    """``--partition`` is called ``queue`` in the program; in a file, ``queue`` is ``--queue``."""
    given: list[Any] = []
    monkeypatch.setattr("flairseg.cli.cohort.run_cohort", lambda *arguments: given.append(arguments[2]) or 0)
    config = tmp_path / "study.json"
    config.write_text(json.dumps(content))
    result = run(tmp_path, "-o", tmp_path / "out", "--config", config)
    assert result.exit_code == 0, result.output
    (options,) = given
    assert (options.review.queue, options.cluster.queue) == expected


@pytest.mark.parametrize("as_json", [False, True])
def test_a_defect_is_told_without_a_traceback(source, model, tmp_path, monkeypatch, as_json):
    def broken(*arguments):
        raise ValueError("day is out of range for month")

    monkeypatch.setattr("flairseg.cohort.running.execute", broken)
    result = run(source, "-o", tmp_path / "out", "-m", model, *QUICK, *(["--json"] if as_json else []))
    assert result.exit_code == 2, result.output
    assert "(ValueError: day is out of range for month)" in result.stderr
    assert "Traceback" not in result.output
    if as_json:
        assert json.loads(result.stdout.splitlines()[-1])["event"] == "error"


def session(n: int) -> Session:
    return Session(str(n), "", "", BIDS, "")


def planned(count: int) -> Planned:
    return Planned(Plan({}, {f"sub-{n}": "new" for n in range(count)}), 1)


def test_progress_on_narrow_and_wide_terminals(tmp_path):
    for width in (20, 40, 200):
        path = tmp_path / f"screen{width}"
        with path.open("w+", encoding="utf-8") as stream:
            console = Console(force_terminal=True, width=width, file=stream)
            with Told(console) as told:
                told(planned(5000))
                told(Started(1, ""))
                for n in range(100):
                    told(SessionFinished(SessionRow(session(n), DONE)))
                told(Ended({}, 1.0))
        text = path.read_text(encoding="utf-8")
        assert "100/5000" in text
        # One live line: cases are not listed.
        assert "sub-99" not in text


def test_a_log_gets_plain_lines_now_and_then(tmp_path):
    with (tmp_path / "log").open("w+") as stream:
        with Told(Console(file=stream, width=80)) as told:
            told(planned(3))
            told(Started(1, "http://127.0.0.1:8787/status"))
            for n in range(3):
                told(SessionFinished(SessionRow(session(n), FAILED, "not-an-image", "Broken.", "Mend.")))
            told(Ended({}, 1.0))
        stream.seek(0)
        text = stream.read()
    assert "Dashboard: http://127.0.0.1:8787/status" in text
    assert text.count("3/3 sessions") == 1
    assert "Failed (sub-1): Broken. Mend." in text


def test_a_failure_is_told_with_the_options_that_help(tmp_path):
    error = case.quarantined(2)
    row = SessionRow(session(1), QUARANTINED, error.code, error.message, error.advice)
    with (tmp_path / "log").open("w+") as stream:
        with Told(Console(file=stream, width=80)) as told:
            told(planned(1))
            told(SessionFinished(row))
        stream.seek(0)
        text = stream.read()
    assert "--memory" in text
    assert "--retry-failed" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 s"), (600, "10 min"), (7200, "2 h"), (12000, "3 h 20 min"), (201600, "2 d 8 h")],
)
def test_durations(seconds, text):
    assert clock(seconds) == text


def test_dicom_studies_end_to_end(tmp_path, model):
    """Two studies in one heap of files: each is read from its own files, named by its headers."""
    heap = tmp_path / "heap"
    heap.mkdir()
    for n, (patient, day) in enumerate((("P1", "20240102"), ("P2", "20240203"))):
        folder = tmp_path / f"made{n}"
        study = Study(patient_id=patient)
        for contrast, number in (("flair", 5), ("t1", 6)):
            write_series(head(n), folder / contrast, "toshiba", contrast, study, number,
                         change=lambda data, k, day=day: setattr(data, "StudyDate", day))  # fmt: skip
            for file in (folder / contrast).iterdir():
                file.rename(heap / f"{n}-{contrast}-{file.name}")
    out = tmp_path / "out"
    table = cohort.run(heap, out, model=model, jobs=1, device="cpu", regions=False, overview=False, page=False)
    rows = {row.case: row for row in table}
    assert list(rows) == ["sub-P1_ses-20240102", "sub-P2_ses-20240203"]
    assert [row.status for row in rows.values()] == ["done", "done"], [row.message for row in rows.values()]
    assert rows["sub-P1_ses-20240102"].volumes_ml["lesion"] > 0
    assert rows["sub-P1_ses-20240102"].input_sha256 != rows["sub-P2_ses-20240203"].input_sha256


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ("one", None, "have pseudonyms, and new ones would have none"),
        (None, "one", "have no pseudonyms, and new ones would"),
        ("one", "two", "have pseudonyms of another key"),
    ],
)
def test_results_are_not_mixed_with_those_of_other_names(source, model, tmp_path, first, then, told):
    """Side by side, plain and pseudonymised results of one image tell who is behind the pseudonym."""

    def options(key):
        return () if key is None else ("--pseudonymise", "--pseudonym-key", tmp_path / key)

    out = tmp_path / "out"
    assert run(source, "-o", out, "-m", model, *QUICK, *options(first)).exit_code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    refused = run(source, "-o", out, "-m", model, *QUICK, *options(then))
    assert (refused.exit_code, told in refused.output) == (2, True), refused.output
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run(source, "-o", out, "-m", model, *QUICK, *options(first)).exit_code == 0
