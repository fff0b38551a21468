"""The whole analysis: a realistic study, studies that lack something, hostile names, and files all or none."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")
pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'flairseg[study]'")
pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'flairseg[study]'")

from flairseg import _optional as needed
from flairseg.errors import Cancelled, MissingDependencyError, OutputError
from flairseg.files.csv_tables import cell
from flairseg.progress import CancelToken
from flairseg.reporting.page import plain
from flairseg.statistics.intervals import Estimate
from flairseg.study.analysis import dependencies, lesions
from flairseg.study.analysis.checklists import TO_COMPLETE, checklists
from flairseg.study.analysis.figures import draw_figures
from flairseg.study.analysis.inputs import AnalysisInputs, StudyDescription
from flairseg.study.analysis.lesions import (
    REFERENCE_HALF_MM,
    CaseFrame,
    brain_frame,
    common_places,
    map_points,
)
from flairseg.study.analysis.methods import methods_paragraph
from flairseg.study.analysis.report import REPORT, analyse, render
from flairseg.study.analysis.results import BETWEEN_ARMS, INTER, INTRA, RULE, compute
from flairseg.study.analysis.tables import TABLES
from flairseg.study.analysis.tidy import Exclusion, InvalidRatingsError, Question, likert_points, tabulate
from flairseg.study.records import (
    ACCEPTABILITY,
    ACCEPTABLE,
    CONFIDENCE_QUESTION,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    LIKERT_5,
    NUMERIC,
    TEXT,
    UNACCEPTABLE,
    YES_NO,
    MarkRow,
    Rating,
)

from Testing.core.html_page import Page
from Testing.core.simulated_study import simulate

DESCRIPTION = StudyDescription(
    title="A study", study_id="s-1", protocol_sha256="9f2c" * 16, models={"model A": "a-v1.0"}, chain_verified=True
)


@pytest.fixture(scope="module")
def study():
    ratings, marks = simulate()
    return compute(AnalysisInputs(ratings, DESCRIPTION, marks), seed=3)


@pytest.fixture(scope="module")
def report(study) -> str:
    return render(study)


def rating(case="c1", rater="R1", value=ACCEPTABLE, kind=ACCEPTABILITY, question="ok", **more) -> Rating:
    return Rating(case, more.pop("arm", ""), rater, more.pop("repeat", 0), question, value, kind, **more)


def everything(results) -> list[Estimate]:
    """Every estimate of an analysis."""
    found = [row.estimate for row in results.agreement]
    found += [x for row in results.rates for x in (row.wilson, row.clustered)]
    found += [x for row in results.limits for x in (row.limits.bias, row.limits.lower, row.limits.upper)]
    found += [row.repeatability for row in results.limits if row.repeatability]
    found += [row.difference for row in results.comparisons]
    found += [x for row in results.lesions for x in (row.precision, row.sensitivity)]
    found += [row.share for row in results.mark_agreement]
    return found


def test_figures_of_the_study_are_those_of_the_ratings(study):
    """Acceptance, majority and McNemar counted again by hand, without a table library."""
    ratings, _ = simulate()
    yes = [r for r in ratings if r.question == "ok" and r.arm == "model A" and r.rater == "R1" and r.value is not None]
    row = next(r for r in study.rates if (r.arm, r.rater, r.unit) == ("model A", "R1", "showing"))
    assert (row.positive, row.answered) == (sum(r.value == ACCEPTABLE for r in yes), len(yes))
    by_case: dict[str, list[bool]] = {}
    for r in ratings:
        if r.question == "ok" and r.arm == "model B" and r.value is not None:
            by_case.setdefault(r.case, []).append(r.value == ACCEPTABLE)
    row = next(r for r in study.rates if (r.arm, r.rater, r.unit) == ("model B", "majority of showings", "case"))
    assert row.positive == sum(sum(v) * 2 > len(v) for v in by_case.values())
    assert row.answered == 53
    first = {
        (r.case, r.arm): r.value == ACCEPTABLE
        for r in ratings
        if r.question == "ok" and r.rater == "R2" and r.repeat == 0 and r.value is not None
    }
    both = [
        (first[c, "model A"], first[c, "model B"]) for c in by_case if {(c, "model A"), (c, "model B")} <= set(first)
    ]
    row = next(r for r in study.comparisons if r.rater == "R2")
    assert (row.both, row.only_a, row.only_b, row.neither) == tuple(
        both.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
    )
    assert row.p <= row.p_holm


def test_the_study_tells_the_arms_apart(study):
    rates = {r.arm: r.wilson.value for r in study.rates if r.rater == "all raters"}
    assert rates["model A"] > rates["model B"] + 0.2
    slower = next(t for t in study.timing_tests if t.what == "model B against model A")
    assert slower.ratio.low < math.exp(0.25) < slower.ratio.high
    faster = next(t for t in study.timing_tests if t.what.startswith("each further"))
    assert faster.ratio.low < math.exp(-0.02) < faster.ratio.high
    assert {row.scope for row in study.agreement} == {INTRA, INTER, RULE, BETWEEN_ARMS}
    precise = {(r.arm, r.rater): r.precision.value for r in study.lesions}
    assert precise["model A", "all raters"] > precise["model B", "all raters"]


def test_missing_showings_and_answers_are_listed(study, report):
    assert len(study.table.absent) + study.table.missing_answers(study.table.primary) == 6
    for case, arm, *_ in study.table.absent:
        assert case in report
        assert arm in report


def test_no_figure_is_not_a_number_and_none_lacks_a_reason(study):
    for found in everything(study):
        for number in (found.value, found.low, found.high):
            assert number is None or math.isfinite(number)
        assert found.value is not None or found.note


def test_the_report_is_one_file_without_scripts_or_links_outside(report):
    page = Page(report)
    assert not [tag for tag, _ in page.elements if tag in ("script", "iframe", "object", "embed", "link", "form")]
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,")), attributes
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) >= 8
    assert all(image["alt"] for image in images)
    assert "Research use only" in page.text
    assert "not a medical device" in page.text
    assert "9f2c" * 16 in page.text


def test_figures_are_svg(study):
    import base64

    drawn = draw_figures(study)
    assert len({one.name for one in drawn}) == len(drawn)
    for one in drawn:
        assert ElementTree.fromstring(one.svg).tag.endswith("svg")
        assert one.caption
        assert one.alt
    again = draw_figures(study)
    assert [base64.b64encode(a.svg.encode()) for a in drawn] == [base64.b64encode(b.svg.encode()) for b in again]


def test_the_methods_paragraph_names_what_a_reviewer_asks_for(study):
    text = methods_paragraph(study)
    for wanted in ("Two raters", "53 cases", "seed 3", "2000 resamples", "Wilson", "McNemar", "AC1", "AC2", "ICC(2,1)",
                   "Bland-Altman", "9f2c" * 16, "statsmodels", "FlairSeg", "verified"):  # fmt: skip
        assert wanted in text
    assert "  " not in text


def test_the_methods_paragraph_claims_nothing_that_was_not_done():
    text = methods_paragraph(compute(AnalysisInputs([rating(active_seconds=20.0)])))
    assert "One rater rated 1 case" in text
    for absent in ("McNemar", "AC1", "AC2", "ICC", "Wilcoxon", "mixed model", "Spearman", "SHA-256", "hash", "by rule"):
        assert absent not in text


def test_checklists_are_complete_and_claim_nothing_unknown(study):
    grras, claim, decide = checklists(study)
    assert [item.number for item in grras.items] == [str(n) for n in range(1, 16)]
    assert [item.number for item in claim.items] == [str(n) for n in range(1, 45)]
    numbers = [item.number for item in decide.items]
    assert [n for n in numbers if n.isdigit()] == [str(n) for n in range(1, 18)]
    assert [n for n in numbers if not n.isdigit()] == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"]
    for checklist in (grras, claim, decide):
        assert 0 < checklist.filled < len(checklist.items)
        for item in checklist.items:
            assert item.known == (TO_COMPLETE not in item.answer)
    bare = compute(AnalysisInputs([rating(), rating("c2")]))
    for checklist in checklists(bare):
        assert not [i for i in checklist.items if i.known and ("hash" in i.answer or "SHA" in i.answer)]


def test_files(tmp_path, study):
    ratings, marks = simulate(cases=8)
    stages = []
    written = analyse(
        AnalysisInputs(ratings, DESCRIPTION, marks), tmp_path / "out", lambda f, s: stages.append((f, s)), seed=3
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {REPORT, *TABLES} == set(written)
    fractions = [f for f, _ in stages]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    for name in TABLES:
        with (tmp_path / "out" / name).open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert rows, name
        assert all(None not in row and None not in row.values() for row in rows), name
        assert not [value for row in rows for value in row.values() if value.lower() in ("nan", "none", "inf")], name
    kept = (tmp_path / "out" / REPORT).read_bytes()
    with pytest.raises(OutputError, match="Results of an analysis exist already"):
        analyse(AnalysisInputs(ratings), tmp_path / "out")
    assert (tmp_path / "out" / REPORT).read_bytes() == kept
    analyse(AnalysisInputs(ratings[: len(ratings) // 2]), tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / REPORT).read_bytes() != kept


def test_cancelled_or_failed_nothing_is_written(tmp_path, monkeypatch):
    ratings, _ = simulate(cases=6)
    token = CancelToken()

    def stop_at_the_report(fraction, stage):
        if stage == "report":
            token.cancel()

    with pytest.raises(Cancelled):
        analyse(AnalysisInputs(ratings), tmp_path / "out", stop_at_the_report, token)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="full"):
        analyse(AnalysisInputs(ratings), tmp_path / "out")
    assert not (tmp_path / "out").exists()


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}{0}$",
    '=HYPERLINK("http://example.org","x")',
    "name‮gnp.exe\u0000\x1b[31m",
    "{{ 7 * 7 }}{% raise %}",
    "王医生 ‏عربي é😀",
    "x" * 300,
]


def test_hostile_names_and_comments(tmp_path):
    ratings = [
        rating(
            f"case {n} {name}",
            rater=who,
            arm=arm,
            repeat=repeat,
            value=ACCEPTABLE if (n + repeat) % 3 else UNACCEPTABLE,
            question="q" + HOSTILE[0],
            question_text=HOSTILE[1],
            comment=name,
            active_seconds=30.0 + n,
            false_positives=n % 2,
            false_negatives=1,
            delineated=9,
            proposed=ACCEPTABLE,
        )
        for n, name in enumerate(HOSTILE)
        for who in (HOSTILE[0], HOSTILE[2], HOSTILE[6])
        for arm in (HOSTILE[1], HOSTILE[4])
        for repeat in (0, 1)
    ]
    description = StudyDescription(title=HOSTILE[0], models={HOSTILE[1]: HOSTILE[5]}, remarks=tuple(HOSTILE))
    excluded = [Exclusion("case 0 <script>alert(1)</script>", HOSTILE[1])]
    analyse(AnalysisInputs(ratings, description, exclusions=excluded, failures=HOSTILE), tmp_path)
    html = (tmp_path / REPORT).read_text(encoding="utf-8")
    page = Page(html)
    assert not [tag for tag, _ in page.elements if tag == "script"]
    assert not [a for tag, attributes in page.elements for a in attributes if a.startswith("on")]
    assert all(a["src"].startswith("data:image/svg") for tag, a in page.elements if tag == "img")
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert not set(html) & set("‮\x00\x1b‏")
    for name in TABLES:
        with (tmp_path / name).open(encoding="utf-8-sig", newline="") as stream:
            cells = [value for row in csv.reader(stream) for value in row]
        assert not [value for value in cells if re.match(r"[=@\t\r]", value)], name


def test_names_in_figures_are_text_and_not_markup():
    ratings = [rating(f"c{n}", rater="$\\frac{<b>&", value=ACCEPTABLE, active_seconds=3.0 + n) for n in range(6)]
    for one in draw_figures(compute(AnalysisInputs(ratings))):
        root = ElementTree.fromstring(one.svg)
        assert not [e for e in root.iter() if e.tag.endswith("}b") or e.tag.endswith("script")]


def test_plain_text():
    assert plain("a\nb\tc") == "a b c"
    assert plain("a‮b\x00") == "a\ufffdb\ufffd"


def test_cells():
    assert cell(None) == cell(math.nan) == ""
    assert cell("=1+1") == "'=1+1"
    assert cell("-x") == "'-x"
    assert cell(-1.5) == -1.5
    assert cell("a = b") == "a = b"


LESS = {
    "one rater": {"raters": ("R1",)},
    "no repeats": {"repeats": 1},
    "one arm": {"arms": ("",)},
    "one rater, one arm, no repeats": {"raters": ("R1",), "repeats": 1, "arms": ("",)},
    "one case": {"cases": 1, "missing": 0},
    "two cases": {"cases": 2, "missing": 0},
    "three raters, three showings, three arms": {
        "raters": ("A", "B", "C"),
        "repeats": 3,
        "arms": ("x", "y", "z"),
        "cases": 9,
    },
}


@pytest.mark.parametrize("design", LESS.values(), ids=list(LESS))
def test_studies_that_lack_something(design):
    ratings, marks = simulate(**{"cases": 12, **design})
    results = compute(AnalysisInputs(ratings, marks=marks))
    for found in everything(results):
        assert found.value is None or math.isfinite(found.value)
        assert found.value is not None or found.note
    text = Page(render(results)).text
    assert re.search(r"\bnan\b", text, re.IGNORECASE) is None
    scopes = {row.scope for row in results.agreement}
    assert (INTRA in scopes) == (len(results.table.repeats) > 1)
    assert (INTER in scopes) == (len(results.table.raters) > 1)
    assert bool(results.comparisons) == (len(results.table.arms) > 1)


def test_three_raters_are_compared_in_pairs_and_together():
    ratings, _ = simulate(cases=9, raters=("A", "B", "C"), repeats=1, arms=("",), missing=0)
    of_question = [
        row for row in compute(AnalysisInputs(ratings)).agreement if row.question == "ok" and row.scope == INTER
    ]
    assert {row.raters for row in of_question} == {"A and B", "A and C", "B and C", "all 3 raters"}
    assert not [row for row in of_question if row.raters == "all 3 raters" and row.coefficient == "Cohen kappa"]


@pytest.mark.parametrize("kind", [ACCEPTABILITY, YES_NO, LIKERT_5, "Likert_7", NUMERIC, TEXT])
@pytest.mark.parametrize("content", ["alike", "nothing"])
def test_degenerate_answers_of_every_type(kind, content):
    value = {ACCEPTABILITY: ACCEPTABLE, YES_NO: "yes", NUMERIC: 4.0, TEXT: "fine"}.get(kind, 4)
    value = None if content == "nothing" else value
    ratings = [
        rating(f"c{n}", rater=r, repeat=k, value=value, kind=kind) for n in range(8) for r in ("A", "B") for k in (0, 1)
    ]
    results = compute(AnalysisInputs(ratings))
    for found in everything(results):
        assert found.value is None or math.isfinite(found.value)
        assert found.value is not None or found.note
    assert re.search(r"\bnan\b", Page(render(results)).text, re.IGNORECASE) is None


def test_training_and_excluded_cases_do_not_count():
    ratings = [
        rating("c1"),
        rating("c2"),
        rating("t1", training=True, value=UNACCEPTABLE),
        rating("c3", value=UNACCEPTABLE),
    ]
    results = compute(AnalysisInputs(ratings, exclusions=[Exclusion("c3", "motion")]))
    assert results.table.cases == ("c1", "c2")
    assert results.table.training == 1
    row = next(r for r in results.rates if r.rater == "R1")
    assert (row.positive, row.answered) == (2, 2)
    assert "motion" in render(results)
    with pytest.raises(InvalidRatingsError, match="no ratings"):
        tabulate([rating(training=True)])
    with pytest.raises(InvalidRatingsError, match="no ratings"):
        compute(AnalysisInputs([]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([rating(value="maybe")], "does not suit its type Acceptability"),
        ([rating(value=6, kind=LIKERT_5)], "one of 1, 2, 3, 4, 5"),
        ([rating(value=2.5, kind=LIKERT_5)], "does not suit"),
        ([rating(value=True, kind=LIKERT_5)], "does not suit"),
        ([rating(value="many", kind=NUMERIC)], "a finite number"),
        ([rating(value=math.inf, kind=NUMERIC)], "a finite number"),
        ([rating(kind="Colour")], "unknown response type 'Colour'"),
        ([rating(), rating()], "twice"),
        ([rating(), rating("c2", value=3, kind=LIKERT_5)], "two response types"),
    ],
)
def test_ratings_that_contradict_are_refused(wrong, message):
    with pytest.raises(InvalidRatingsError, match=message):
        tabulate(wrong)


def test_expected_showings():
    design = [("c1", "", "R1", 0), ("c1", "", "R1", 1), ("c2", "", "R1", 0)]
    assert tabulate([rating()], design).absent == (("c1", "", "R1", 1), ("c2", "", "R1", 0))
    assert tabulate([rating()], design, [Exclusion("c2", "x")]).absent == (("c1", "", "R1", 1),)
    grid = tabulate([rating(), rating("c2", rater="R2")])
    assert set(grid.absent) == {("c1", "", "R2", 0), ("c2", "", "R1", 0)}


def test_questions():
    assert [likert_points(x) for x in ("Likert_5", "likert 7", "Likert-11", "Likert_1", "Likert_12", "Yes_No")] == [
        5, 7, 11, 0, 0, 0,
    ]  # fmt: skip
    assert Question("q", "", ACCEPTABILITY).categories == (UNACCEPTABLE, ACCEPTABLE)
    assert Question("q", "", "Likert_3").categories == (1, 2, 3)


def test_the_rule_is_compared_with_the_decision():
    ratings = [rating(f"c{n}", value=ACCEPTABLE, proposed=ACCEPTABLE if n < 15 else UNACCEPTABLE) for n in range(20)]
    row = next(
        r
        for r in compute(AnalysisInputs(ratings)).agreement
        if r.scope == RULE and r.coefficient == "Percent agreement"
    )
    assert row.estimate.value == 0.75


def test_confidence_of_a_study_becomes_a_scale():
    ratings = [rating(f"c{n}", rater=who, confidence=1 + n % 5) for n in range(10) for who in ("A", "B")]
    results = compute(AnalysisInputs(ratings))
    assert [q.id for q in results.table.questions] == ["ok", CONFIDENCE_QUESTION]
    answers = results.table.answers
    asked = answers[answers["question"] == CONFIDENCE_QUESTION]
    assert list(asked["value"]) == [1 + n % 5 for n in range(10) for _ in "AB"]
    assert f"scale-{CONFIDENCE_QUESTION}" in {one.name for one in draw_figures(results)}
    assert len(results.table.showings) == 20


def test_altered_records_are_shown():
    altered = StudyDescription(protocol_sha256="ab" * 32, chain_verified=False, remarks=("chain, R1: event 4 altered",))
    text = Page(render(compute(AnalysisInputs([rating(), rating("c2")], altered)))).text
    assert "event 4 altered" in text
    assert "NOT as locked" in text
    assert "found changes" in text


def test_p_values_are_adjusted_after_holm():
    """Four tests: the smallest p is multiplied by four, the next by three, and so on, never falling."""
    ratings, _ = simulate(cases=20, raters=("A", "B", "C"), seed=8)
    rows = sorted(compute(AnalysisInputs(ratings)).comparisons, key=lambda row: row.p)
    assert len(rows) == 4
    expected, so_far = [], 0.0
    for n, row in enumerate(rows):
        so_far = max(so_far, min(1.0, row.p * (4 - n)))
        expected.append(so_far)
    assert [row.p_holm for row in rows] == pytest.approx(expected)
    assert len({round(row.p, 9) for row in rows}) > 1


def test_common_places_takes_each_mark_once():
    one = [(0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (50.0, 0.0, 0.0)]
    assert common_places(one, one) == 3
    assert common_places(one, [(1.0, 0.0, 0.0)]) == 1
    assert common_places(one, [(-4.0, 0.0, 0.0), (4.0, 0.0, 0.0)]) == 2
    assert common_places(one, [(0.0, 30.0, 0.0)]) == 0
    # As many pairs as possible, even where one close pair and one distant pair were shorter together.
    assert common_places([(0.0, 0.0, 0.0), (5.0, 0.0, 0.0)], [(4.9, 0.0, 0.0), (5.0, 5.9, 0.0)]) == 2
    assert common_places([], one) == 0


def test_marks_are_placed_by_the_box_of_the_brain():
    frame = CaseFrame((10.0, -5.0, 20.0), (70.0, 90.0, 60.0))
    mark = MarkRow("c1", "", "R1", 0, FALSE_NEGATIVE, None, (10.0 + 70.0, -5.0 - 90.0, 20.0))
    (point,) = map_points([mark], {"c1": frame})
    assert point.point == pytest.approx((REFERENCE_HALF_MM[0], -REFERENCE_HALF_MM[1], 0.0))
    other = replace(mark, kind=FALSE_POSITIVE, lesion_centre_ras=(80.0, 85.0, 20.0))
    assert map_points([other], {"c1": frame})[0].point == pytest.approx(
        (REFERENCE_HALF_MM[0], REFERENCE_HALF_MM[1], 0.0)
    )
    loose = map_points([mark, replace(mark, ras=(-60.0, 85.0, 60.0))], {})
    assert np.mean([p.point for p in loose], axis=0) == pytest.approx([0, 0, 0])


def test_the_schematic_head_is_where_the_map_puts_it():
    head = json.loads(Path(lesions.__file__).with_name("schematic_head.json").read_text(encoding="utf-8"))
    assert tuple(head["half_mm"]) == REFERENCE_HALF_MM
    assert set(head["outlines"]) == {"axial", "coronal", "sagittal"}
    across = np.array(head["outlines"]["axial"]["brain"][0])[:, 0]
    assert across.max() == pytest.approx(-across.min(), abs=3)


def test_brain_frame_of_a_head(head):
    frame = brain_frame(head)
    assert all(40 < half < 110 for half in frame.half)


def test_without_the_libraries_the_user_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(needed, "find_spec", lambda name: None if name in ("statsmodels", "jinja2") else object())
    assert dependencies.missing_packages() == ["statsmodels", "jinja2"]
    with pytest.raises(MissingDependencyError, match="statsmodels") as refused:
        analyse(AnalysisInputs([rating()]), tmp_path)
    assert "flairseg[study]" in refused.value.advice
    with pytest.raises(MissingDependencyError, match="jinja2"):
        dependencies.require_report()
