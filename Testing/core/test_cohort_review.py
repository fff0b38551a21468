"""From a cohort to readers and back: the order of the work list, the stratified sample, verdicts in the table."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flairseg.anatomy.lesion_table import LesionRow
from flairseg.cli import app
from flairseg.cohort.layout import Layout
from flairseg.cohort.model import DONE, FAILED, Session, SessionRow
from flairseg.cohort.review import ReviewOptions, draft_study, priorities, read_verdicts, stratified_sample, write_queue
from flairseg.cohort.rows import read_lesions, read_row, write_row
from flairseg.errors import FlairSegError
from flairseg.image.volume import Volume
from flairseg.io.reader import read_volume
from flairseg.review.cases import ACCEPTED, REJECTED, CaseArchive, Verdict
from flairseg.study.case_files import read_case
from flairseg.study.protocol_reading import load_protocol
from flairseg.study.queue import OPEN, work_list
from typer.testing import CliRunner

from Testing.core.cohort_data import bids_dataset

LESION_ROW = LesionRow(7, 3, 40.0, 5.0, (1.0, 2.0, 3.0), (1, 2), 0.9, 0.95, 4.0, "unknown", 1)
MODEL = {"id": "m", "version": "1", "sha256": "a" * 64}


def row(subject: str, ml: float = 5.0, correction: float | None = 1.0, session: str = "", **more: Any) -> SessionRow:
    said = Session(subject, session, f"/images/{subject}{session}.nii.gz", "folders", "", more.pop("site", ""),
                   more.pop("group", ""))  # fmt: skip
    volumes = {"ventricles": more.pop("ventricles", 20.0), "normal_wmh": 1.0, "lesion": ml}
    known = {"lesion_count": 10, "model": MODEL, "finished": "2025-01-02T10:00:00+00:00", "files": {"dseg": "x"}}
    return SessionRow(said, DONE, volumes_ml=volumes, expected_correction_ml=correction, **{**known, **more})


def cohort(count: int = 20) -> list[SessionRow]:
    """Sessions whose loads spread evenly, at two sites, in two groups."""
    return [
        row(f"{n:02d}", 1.0 + n, 0.5 + 0.01 * n, site="AB"[n % 2], group="xy"[n % 4 // 2], ventricles=20.0 + n % 5)
        for n in range(count)
    ]


# --- the order


def test_doubtful_then_uncertain_and_outlying_sessions_come_first():
    rows = cohort()
    rows[3] = replace(rows[3], expected_correction_ml=9.0)
    rows[5] = replace(rows[5], volumes_ml={**rows[5].volumes_ml, "ventricles": 200.0})
    rows[7] = replace(rows[7], trusted=False)
    rows[9] = replace(rows[9], below_bar=("noise_percent",))
    order = priorities([*rows, replace(rows[0], session=replace(rows[0].session, subject="f"), status=FAILED)])
    assert len(order) == 20
    first = sorted(order, key=lambda case: -order[case].value)[:4]
    assert set(first[:2]) == {"sub-07", "sub-09"}
    assert set(first[2:]) == {"sub-03", "sub-05"}
    assert order["sub-05"].outlying_sd > 5
    assert "volume of the ventricles" in order["sub-05"].why
    assert "noise_percent" in order["sub-09"].why
    assert "9.00 ml" in order["sub-03"].why


def test_few_sessions_have_no_outliers():
    assert all(p.outlying_sd is None for p in priorities(cohort(7)).values())
    assert priorities([row("1", correction=None)])["sub-1"].value == 0.0


def test_an_outlier_among_equal_values():
    """Where more than half of the values are alike, the median deviation is 0 and the one that differs stands out."""
    rows = [replace(one, lesion_count=0 if n else 40) for n, one in enumerate(cohort(12))]
    order = priorities(rows)
    assert "number of lesions" in order["sub-00"].why
    assert order["sub-00"].outlying_sd == max(p.outlying_sd or 0.0 for p in order.values()) > 3.5


def test_flair_review_keeps_the_order_of_the_list(tmp_path):
    """The list's priority decides, not the score that the files give."""
    layout = Layout(tmp_path)
    rows = [row("1", correction=1.0), row("2", correction=3.0), row("3", correction=2.0), row("4", verdict=ACCEPTED),
            row("5", verdict=REJECTED)]  # fmt: skip
    sessions = {r.case: r.session for r in rows}
    assert write_queue(layout, rows, sessions) == (4, 0)
    listed = work_list(layout.queue_csv)
    assert [item.case for item in listed] == ["sub-2", "sub-3", "sub-1", "sub-5"]
    assert "3.00 ml" in next(item.why for item in listed if item.case == "sub-2")
    with layout.queue_csv.open() as stream:
        assert [line["case"] for line in csv.DictReader(stream)] == ["sub-2", "sub-3", "sub-1", "sub-5"]


def test_a_series_among_others_is_left_out(tmp_path):
    rows = [row("1"), row("2")]
    sessions = {"sub-1": replace(rows[0].session, files=("a.dcm",))}
    assert write_queue(Layout(tmp_path), rows, sessions) == (0, 2)
    with pytest.raises(FlairSegError, match="No session"):
        draft_study(Layout(tmp_path), rows, sessions, ReviewOptions(study=tmp_path / "p.json"))


# --- the sample


def test_a_sample_has_every_stratum_and_is_the_same_again():
    rows = cohort(60)
    sample = stratified_sample(rows, 24, 1)
    assert len(sample) == 24
    by_load = sorted(rows, key=lambda r: r.lesion_ml)
    tertile = {r.case: 3 * n // 60 for n, r in enumerate(by_load)}
    counts = Counter((r.session.site, r.session.group, tertile[r.case]) for r in sample)
    assert set(counts.values()) == {2}
    assert len(counts) == 12
    assert stratified_sample(rows[::-1], 24, 1) == sample
    assert stratified_sample(rows, 24, 2) != sample


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (5, 5), (12, 12), (20, 20), (99, 20)])
def test_a_sample_has_as_many_as_asked_for(count, expected):
    sample = stratified_sample(cohort(), count, 1)
    assert len({r.case for r in sample}) == len(sample) == expected


def test_a_rare_stratum_is_in_the_sample():
    rows = [*cohort(60), row("rare", 30.0, site="C")]
    assert "sub-rare" in {r.case for r in stratified_sample(rows, 20, 1)}


def test_a_subject_is_sampled_once():
    rows = [row(f"{n}", session=s) for n in range(6) for s in ("1", "2", "3")]
    sample = stratified_sample(rows, 18, 1)
    assert sorted(r.session.subject for r in sample) == [str(n) for n in range(6)]


def test_existing_studies_and_pseudonyms_are_refused_before_the_run(tmp_path):
    (tmp_path / "p.json").write_text("mine")
    with pytest.raises(FlairSegError) as error:
        ReviewOptions(study=tmp_path / "p.json").check(pseudonyms=False)
    assert error.value.code == "study-exists"
    with pytest.raises(FlairSegError) as error:
        ReviewOptions(queue=True).check(pseudonyms=True)
    assert error.value.code == "review-needs-images"
    ReviewOptions(archive=tmp_path).check(pseudonyms=True)


# --- verdicts


def judge(archive: CaseArchive, case: str, model: dict[str, str] = MODEL, at: str = "2025-01-03T00:00:00Z") -> Path:
    volume = Volume(np.zeros((4, 16, 16), np.float32), np.diag([-1.0, -1.0, 5.0, 1.0]))
    labels = np.zeros((4, 16, 16), np.uint8)
    return archive.save(case, labels, volume, Verdict(ACCEPTED, reader="R1", decided_at=at, model=model)).path


def test_verdicts_on_these_results_go_into_the_rows(tmp_path):
    layout, archive = Layout(tmp_path / "out"), CaseArchive(tmp_path / "archive")
    rows = {r.case: r for r in map(row, ("judged", "before", "other", "broken", "not"))}
    for one in rows.values():
        write_row(layout, one, [LESION_ROW])
    judge(archive, "sub-judged")
    judge(archive, "sub-before", at="2025-01-01T00:00:00Z")
    judge(archive, "sub-other", model={**MODEL, "sha256": "b" * 64})
    (judge(archive, "sub-broken") / "verdict.json").write_text('{"case": "sub-broken", "hashes": {}}')
    judge(archive, "sub-unknown")
    found, counts = read_verdicts(layout, rows, archive)
    assert {case: r.verdict for case, r in found.items() if r.verdict} == {"sub-judged": ACCEPTED}
    assert (counts.verdicts, counts.outdated, counts.damaged) == (1, 2, 1)
    kept = read_row(layout, "sub-judged")
    assert (kept.verdict, kept.reader) == (ACCEPTED, "R1")
    assert [(one.case, one.number) for one in read_lesions(layout) if one.case == "sub-judged"] == [("sub-judged", 7)]


def run(*arguments: Any) -> Any:
    quick = ("--device", "cpu", "--no-regions", "--no-overview", "--no-follow", "--no-page", "--jobs", "1")
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["cohort", *map(str, (*arguments, *quick))])


def test_from_the_cohort_to_the_reader_and_back(model, tmp_path):
    source, out = bids_dataset(tmp_path / "bids", {"01": 0, "02": 0}), tmp_path / "out"
    protocol, archive = tmp_path / "protocol.json", CaseArchive(tmp_path / "archive")
    first = run(source, "-o", out, "-m", model, "--queue", "--study", protocol, "--rater", "A")
    assert first.exit_code == 0, first.output
    assert "2 sessions in the work list" in first.output
    items = work_list(out / "queue.csv", archive)
    assert {(item.case, item.state, item.problem) for item in items} == {("sub-01", OPEN, ""), ("sub-02", OPEN, "")}
    case = read_case(items[0])
    assert case.original is not None
    assert not [w for w in case.warnings if w.code in ("labels-in-doubt", "binary-mask-in-doubt")]
    drafted = load_protocol(protocol)
    assert [c.id for c in drafted.cases] == ["sub-01", "sub-02"]
    assert [r.id for r in drafted.raters] == ["A"]
    assert all(Path(c.flair).is_file() and Path(c.arms[0].mask).is_file() for c in drafted.cases)

    content = json.loads((out / "work/rows/sub-01.json").read_text())
    verdict = Verdict(REJECTED, "bad", "A", model=content["model"])
    archive.save("sub-01", case.original.full_labels(), read_volume(items[0].flair), verdict)
    again = run(source, "-o", out, "-m", model, "--queue", "--cases", archive.folder)
    assert again.exit_code == 0, again.output
    assert "1 verdicts in the table" in again.output
    with (out / "cohort.csv").open() as stream:
        table = {line["case"]: (line["verdict"], line["reader"]) for line in csv.DictReader(stream)}
    assert table == {"sub-01": (REJECTED, "A"), "sub-02": ("", "")}
    assert [item.case for item in work_list(out / "queue.csv", archive)] == ["sub-02", "sub-01"]
    assert run(source, "-o", out, "-m", model, "--study", protocol).exit_code == 2
