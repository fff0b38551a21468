"""From a closed study, rated through its own sessions, to its report: every figure comes from what raters did."""

from __future__ import annotations

import csv

import pytest
from typer.testing import CliRunner

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")
pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")
pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'flairseg[study]'")

from flairseg.cli import app
from flairseg.study import Study, lock
from flairseg.study.analysis import analyse_study
from flairseg.study.analysis.from_study import describe, study_inputs
from flairseg.study.analysis.inputs import AnalysisInputs, StudyDescription
from flairseg.study.analysis.methods import methods_paragraph
from flairseg.study.analysis.results import compute
from flairseg.study.errors import StudyStateError
from flairseg.study.records import FALSE_NEGATIVE, FALSE_POSITIVE
from flairseg.study.session import StudySession

from Testing.core.simulated_study import simulate
from Testing.core.study_data import ARMS, HOSPITAL, PATIENT, FakeClock, planned, write_protocol

EXTRA = [
    {"id": "acceptable", "text": "Is the mask acceptable?", "type": "Acceptability"},
    {"id": "outline", "text": "How good is the outline?", "type": "Likert_5"},
]


def rate(study: Study, rater: str, seconds: float, leave: int = 0) -> None:
    """Answer everything but the last ``leave`` showings: one false positive and one missed lesion in every mask."""
    clock = FakeClock()
    with StudySession.open(study.room_folder(rater), clock=clock) as session:
        while session.progress.total - session.progress.answered > leave:
            showing = session.next()
            lesion = showing.lesions.lesions[0]
            session.shown.mark_false_positive(lesion.centre_ras)
            corner = showing.ijk_to_ras @ [0, 0, 0, 1]
            session.shown.mark_false_negative(tuple(float(x) for x in corner[:3]))
            clock.go(seconds)
            session.shown.answer("acceptable", session.shown.acceptance.proposed)
            session.shown.answer("outline", 2)
            session.shown.submit()


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    protocol = write_protocol(folder / "source", 3, questions=EXTRA, mirror_repeats=True)
    study = lock(protocol, folder / "study")
    rate(study, "R1", 20.0)
    # More than the four showings of the case that is excluded below.
    rate(study, "R2", 25.0, leave=5)
    return study


@pytest.fixture(scope="module")
def closed(locked) -> Study:
    with pytest.raises(StudyStateError):
        study_inputs(locked)
    locked.exclude("secretcase2", "motion")
    locked.close(incomplete=True)
    return Study(locked.folder)


def test_an_open_study_is_refused_by_the_command(locked, tmp_path):
    if locked.status().closed_at is not None:
        pytest.skip("the study was closed by another test")
    refused = CliRunner().invoke(app, ["study", "analyse", str(locked.folder), "-o", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_what_was_rated_is_what_is_analysed(closed):
    inputs = study_inputs(closed)
    results = compute(inputs)
    assert set(results.table.cases) == {"secretcase1", "secretcase3"}
    assert set(results.table.arms) == set(ARMS)
    assert results.table.raters == ("R1", "R2")
    assert [e.reason for e in results.exclusions] == ["motion"]
    planned = 2 * 2 * 2 * 2
    assert len(results.table.showings) + len(results.table.absent) == planned
    times = {row.rater: row.median for row in results.timing if row.timed}
    assert (times["R1"], times["R2"]) == (20.0, 25.0)
    # One false positive of three (or two) lesions is far from 90 %: nothing is acceptable, and everybody agrees.
    assert {row.positive for row in results.rates} == {0}
    assert results.study.chain_verified is True
    assert results.study.protocol_sha256 == closed.protocol_sha256
    assert results.study.models == {arm: f"{arm}-v7.1" for arm in ARMS}


def test_marks_of_mirrored_showings_come_home(closed):
    """A false positive was clicked at its lesion's centre: in the source image's frame it still lies there."""
    inputs = study_inputs(closed)
    kinds = [mark.kind for mark in inputs.marks]
    assert kinds.count(FALSE_POSITIVE) == kinds.count(FALSE_NEGATIVE) == len(inputs.marks) // 2
    mirrored = {(r.case, r.arm, r.rater, r.repeat) for r in inputs.ratings if r.mirrored}
    assert mirrored
    for mark in inputs.marks:
        if mark.kind == FALSE_POSITIVE:
            assert mark.ras == pytest.approx(mark.lesion_centre_ras, abs=1e-3)


def test_the_protocol_in_words(closed):
    said = describe(closed.protocol)
    assert said.title == "Lesion masks"
    assert said.order_seed == "R1: 11, R2: 22"
    assert "new code" in said.blinding
    assert "1 showing of other cases" in said.washout
    assert said.mirrored
    assert said.chain_verified is None


def test_report_of_a_study_by_call(closed, tmp_path):
    stages = []
    written = analyse_study(closed, tmp_path / "out", lambda fraction, stage: stages.append(stage), seed=2)
    assert written["report.html"].exists()
    assert stages[-1] == "report"
    assert "Analysis seed</dt><dd>2" in written["report.html"].read_text(encoding="utf-8")


def test_report_of_a_study_by_command(closed, tmp_path):
    run = CliRunner().invoke(app, ["study", "analyse", str(closed.folder), "--output", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for wanted in (closed.protocol_sha256, "Lesion masks", "motion", "hash chain verified", "not answered", *ARMS):
        assert wanted in html
    assert PATIENT not in html
    assert HOSPITAL not in html
    with (tmp_path / "out" / "marks.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["kind"] for row in rows} == {FALSE_POSITIVE, FALSE_NEGATIVE}
    assert all(row["r"] and row["a"] and row["s"] for row in rows)


@pytest.mark.parametrize(
    ("threshold", "words"), [(0.8, "more than 80 %"), (0.9, "more than 90 %"), (None, "a rule on")]
)
def test_the_methods_paragraph_says_the_protocol_s_threshold(threshold, words):
    study = planned(3, questions=[{**EXTRA[0], **({} if threshold is None else {"threshold": threshold})}])
    described = describe(study)
    assert described.threshold == (threshold or 0.9)
    if threshold is None:
        described = StudyDescription()
    ratings, _ = simulate(cases=4)
    text = methods_paragraph(compute(AnalysisInputs(ratings, described)))
    assert words in text
    assert "overruled the rule" in text
