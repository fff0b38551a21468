"""A whole study through the real widgets: two raters, six cases, two arms, two repeats, pauses, a kill -9, a report."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flairseg.study import Study, check_study
from flairseg.study.events import Answered

from Testing.harness.interaction import click
from Testing.slicer import review_driver
from Testing.slicer.review_driver import lock_study

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")
pytest.importorskip("nibabel", reason="nibabel is not installed: pip install 'flairseg[test]'")

ROOT = Path(__file__).resolve().parents[2]
CASES, REPEATS, ARMS, RATERS = 6, 2, 2, 2
SHOWINGS = CASES * REPEATS * ARMS


@pytest.fixture
def study(tmp_path):
    return lock_study(
        tmp_path, CASES, repeats=REPEATS, mirror_repeats=False, washout={"cases": 1, "arms": 1}, confidence=True
    )


def read_until_killed(room: Path, answers: int) -> dict:
    """A rater in a process of its own answers some cases and marks half of one; killed without warning."""
    reader = subprocess.Popen(
        [sys.executable, review_driver.__file__, str(room), str(answers)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "FlairSegExtension")])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = reader.stdout.readline()
    finally:
        reader.send_signal(signal.SIGKILL)
        reader.wait()
        reader.stdout.close()
    return json.loads(line)


@pytest.mark.slow
def test_two_raters_with_pauses_and_a_kill_to_the_report(rater, study, tmp_path):
    pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")
    rng = np.random.default_rng(5)

    # The first rater pauses and leaves in between.
    rater.open(study / "rooms" / "R1")
    for n in range(SHOWINGS):
        if n == 5:
            rater.keys("P", "Return")
        if n == 11:
            rater.keys("P")
            click(rater.ui.leavePausedButton)
            click(rater.ui.openButton)
            click(rater.ui.showButton)
        rater.rate(rng)
    assert rater.tab.page == "done"
    rater.keys("Return")

    # The second is killed in the middle of a case, and takes it up with its mark and answer.
    before = read_until_killed(study / "rooms" / "R2", 5)
    assert before["answered"] == 5
    rater.open(study / "rooms" / "R2")
    assert rater.session.current.code == before["code"]
    assert [list(mark.ras) for mark in rater.session.shown.marks] == before["marks"]
    assert rater.session.shown.answers == {"acceptable": "unacceptable"}
    assert rater.session.progress.answered == 5
    while rater.tab.page != "done":
        rater.rate(rng)
    rater.keys("Return")

    # Nothing is lost, nothing is there twice, and everything fits together.
    whole = Study(study)
    for name in ("R1", "R2"):
        answers = [event.payload["showing"] for event in whole.events(name) if event.kind == Answered.kind]
        assert len(answers) == len(set(answers)) == SHOWINGS
    assert check_study(whole) == []
    assert all(status.finished and status.pending == 0 for status in whole.status().raters)

    whole.close()
    from flairseg.study.analysis.from_study import analyse_study

    written = analyse_study(whole, tmp_path / "report")
    report = next(path for path in written.values() if path.suffix == ".html")
    text = report.read_text(encoding="utf-8")
    assert "secretmodel" in text
    assert "humanreader" in text
    rows = list(csv.DictReader((tmp_path / "report" / "ratings.csv").open(encoding="utf-8")))
    assert sum(row["question"] == "acceptable" for row in rows) == RATERS * SHOWINGS
