"""The evaluation's page: everything is on it, foreign text does no harm, little data claim little, much stays small."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'flairseg[study]'")
pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'flairseg[study]'")

from flairseg import _optional as dependencies
from flairseg.errors import Cancelled, InputNotFoundError, MissingDependencyError, OutputError
from flairseg.evaluation import report
from flairseg.evaluation.figures import overlays
from flairseg.evaluation.figures.distributions import violin_figures
from flairseg.evaluation.figures.loads import load_figures
from flairseg.evaluation.figures.methods import looks, method_labels, portions
from flairseg.evaluation.figures.training import training_figure
from flairseg.evaluation.results import EvaluationResult, TrainingLog
from flairseg.evaluation.sections import sections
from flairseg.evaluation.sections.accuracy import MOST_PATIENT_ROWS
from flairseg.evaluation.sections.overview import few_patients
from flairseg.evaluation.terms import CLASS_TITLES, EVALUATED
from flairseg.evaluation.writing import FILES, write_evaluation
from flairseg.reporting.drawing import Picture, style

from Testing.core.html_page import Page
from Testing.core.made_evaluation import made_evaluation

HOSTILE = ("<script>alert(1)</script>", "$x_{1}$ & <b>", "بیمار-۱", "a\u202eb\x07c", "Jürgen 𝛼 " + "long " * 30)


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    """Two methods of which one knows lesions alone."""
    return made_evaluation(known={"Method B": ("lesion",)})


@pytest.fixture(scope="module")
def drawn(result):
    return report.draw_figures(result)


@pytest.fixture(scope="module")
def html(result, drawn) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "draw_figures", lambda result: drawn)
        return report.render(result, "A title", {"cases.csv": "every figure"})


def lesions_only(cases, methods=("A", "B"), **more) -> EvaluationResult:
    return made_evaluation(cases, methods, dict.fromkeys(methods, ("lesion",)), **more)


def by_id(result) -> dict:
    return {one.id: one for one in sections(result, [])}


def cell_texts(table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


# --- the page


def test_the_page_is_one_file_without_scripts_or_links_outside(html):
    page = Page(html)
    assert not [tag for tag, _ in page.elements if tag in ("script", "iframe", "object", "embed", "link", "form")]
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,", "data:image/png;base64,"))
    assert "default-src 'none'" in html
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) > 20
    assert all(image["alt"] for image in images)
    assert "Research use only" in page.text
    assert "not a medical device" in page.text
    assert "cases.csv" in page.text


def test_every_section_that_the_papers_ask_for_is_there(html):
    links = [a["href"] for tag, a in Page(html).elements if tag == "a"]
    expected = ["results", "evaluated", "conventions", "classes", "lesions", "confusion", "curves", "slices", "groups",
                "load", "paired", "by-group", "overlays", "training", "patients", "references"]  # fmt: skip
    assert links == [f"#{name}" for name in expected]
    ids = [a["id"] for _, a in Page(html).elements if "id" in a]
    assert sorted(ids) == sorted(expected)


def test_figures_are_svg_and_the_same_every_time(result, drawn):
    names = [one.name for one in drawn]
    assert len(set(names)) == len(names)
    for begin in ("overview", "violins-lesion", "confusion-", "curves-lesion", "slices-lesion", "groups-lesion",
                  "load-lesion", "training"):  # fmt: skip
        assert [n for n in names if n.startswith(begin)], begin
    for one in drawn:
        assert ElementTree.fromstring(one.svg).tag.endswith("svg")
        assert one.caption
        assert one.alt
    with style():
        again = violin_figures(result)
    assert [one.svg for one in again] == [one.svg for one in drawn if one.name.startswith("violins")]


def test_foreign_text_is_shown_as_text_and_nothing_else(monkeypatch):
    made = lesions_only(3, HOSTILE[:2], names=HOSTILE[:3])
    cases = tuple(replace(c, site="<img src=x onerror=1>", warnings=(HOSTILE[0],)) for c in made.cases)
    made = replace(made, cases=cases, notes=(HOSTILE[3],), refusals=(replace(made.refusals[0], message=HOSTILE[4]),))
    figures = report.draw_figures(made)
    monkeypatch.setattr(report, "draw_figures", lambda result: figures)
    html = report.render(made, "<i>title</i>", {"<u>.csv": HOSTILE[0]})
    page = Page(html)
    assert not [tag for tag, _ in page.elements if tag in ("script", "u", "i")]
    assert not [a for tag, a in page.elements if tag == "img" and a["src"] == "x"]
    assert HOSTILE[0] in page.text
    assert HOSTILE[2] in page.text
    assert "\u202e" not in html
    assert "\x07" not in html
    assert any("&lt;script&gt;" in one.svg for one in figures)
    assert not any("<script" in one.svg for one in figures)


# --- what it says


def test_the_first_table_has_every_method_and_class_with_n_interval_and_pooled(result):
    table = by_id(result)["results"].tables[0]
    rows = cell_texts(table)
    expected = [(CLASS_TITLES[c], m.name) for c in EVALUATED for m in result.methods if c in m.classes]
    assert [tuple(row[:2]) for row in rows] == expected
    dice = {(r.class_id, r.method): r for r in result.summary if (r.grouping, r.figure) == ("all", "dice")}
    first = dice["ventricles", "Method A"]
    assert rows[0][2:6] == ["10", f"{first.mean.value:.3f} ± {first.sd:.3f}",
                            f"{first.mean.low:.3f} to {first.mean.high:.3f}", "0.700"]  # fmt: skip
    assert "–" in rows[0]  # no lesion F1 of ventricles


def test_every_patient_has_its_row_and_what_is_undefined_says_why(result):
    tables = by_id(result)["patients"].tables
    assert sum(len(t.rows) for t in tables) == len(result.rows) + len(result.lesion_rows)
    normal = next(t for t in tables if t.caption.startswith("Normal WMH"))
    row = next(r for r in normal.rows if r[0].text == "patient-002")
    assert "n/a" in [cell.text for cell in row]
    assert row[0].marks == "a"
    assert normal.notes == (("a", "Both masks are empty."),)


def test_no_p_value_stands_without_its_n_and_correction(result):
    for section in sections(result, []):
        for table in section.tables:
            for column in table.columns:
                if column == "p":
                    assert any(c.startswith("n ") or c == "n" for c in table.columns), table.caption
            if "p" in table.columns and section.id != "groups":
                assert "p (Holm)" in table.columns
    pairs = [t for t in by_id(result)["groups"].tables if "Mann-Whitney" in t.caption]
    assert pairs
    assert all("p (Bonferroni)" in t.columns for t in pairs)


def test_two_patients_claim_nothing():
    made = lesions_only(2)
    assert few_patients(made).startswith("2 patients only")
    assert "no conclusion about" in few_patients(made)
    for table in by_id(made)["paired"].tables:
        for row in cell_texts(table):
            assert row[-2:] == ["–", "–"]
            assert row[3] == "2"
    for row in cell_texts(by_id(made)["load"].tables[0]):
        assert row[3] == "–", "R2 of two points is 1 whatever they are"
    with style():
        assert "R2 =" not in load_figures(made)[0].svg
        assert "R2 =" in load_figures(lesions_only(3))[0].svg


def test_ten_patients_are_told_to_be_few_and_thirty_are_not(html):
    assert "Only 10 patients" in html
    assert few_patients(lesions_only(30)) is None


def test_one_patient_one_method_no_probabilities_no_images():
    made = lesions_only(1, ("Solo",), probabilities=False, logs=0, images=False)
    text = Page(report.render(made)).text
    assert "1 patient only" in text
    assert "±" not in " ".join(c for row in cell_texts(by_id(made)["results"].tables[0]) for c in row)
    assert "No method provided probabilities" in text
    assert "paired" not in by_id(made)
    assert "training" not in by_id(made)
    assert "no image was given" in text


def test_ten_methods_keep_apart_in_colour_dash_and_marker():
    names = [f"method {n}" for n in range(10)]
    shown = looks(names)
    assert len({(look.colour, look.dash) for look in shown.values()}) == 10
    assert len({look.marker for look in shown.values()}) == 10
    assert portions(names, 4) == [names[:3], names[3:7], names[7:]]
    assert portions([], 4) == []
    alike = method_labels(["x" * 40, "x" * 41, "y"], 12)
    assert [text[-3:] for text in alike.values()] == ["(1)", "(2)", "y"]
    assert all(len(text) <= 12 for text in alike.values())


def test_many_patients_stay_one_page_that_opens(monkeypatch):
    made = lesions_only(400, ("A", "B", "C"))
    monkeypatch.setattr("flairseg.evaluation.sections.accuracy.MOST_PATIENT_ROWS", 900)
    tables = by_id(made)["patients"].tables
    assert sum(len(t.rows) for t in tables) == 900
    assert "1500 rows more are only in the CSV files" in by_id(made)["patients"].paragraphs[-1]
    assert MOST_PATIENT_ROWS == 4000
    with style():
        for one in violin_figures(made) + load_figures(made):
            assert len(one.svg) < 400_000, one.name


# --- overlays


def indices(picture: Picture):
    from PIL import Image

    return np.array(Image.open(io.BytesIO(picture.png)))


def test_overlays_show_agreement_green_false_positives_red_and_misses_yellow(result):
    small = replace(result, cases=result.cases[:1])
    made = overlays.overlay_pictures(small)
    assert len(made.pictures) == 1
    pixels = indices(made.pictures[0])
    found = {n: int((pixels == n).sum()) for n in (overlays._TP, overlays._FP, overlays._FN)}
    assert min(found.values()) > 0
    rows = pixels.shape[0] // 3
    assert not (pixels[:rows] >= overlays._TP).any(), "the first row is the bare image"
    arrays = result.arrays("patient-000", "Method A")
    truth, mask = arrays.reference == 3, arrays.prediction == 3
    expected = (
        f"{(truth & mask).sum():,} voxels agree, {(mask & ~truth).sum():,} false, {(truth & ~mask).sum():,} missed"
    )
    assert expected in made.pictures[0].caption


def test_overlays_are_bounded_and_say_so(result):
    many = made_evaluation(200, tuple("ABCDEFGH"), logs=0)
    drawn: list[str] = []

    def arrays(case, method):
        drawn.append(case)
        raise InputNotFoundError("gone")

    found = overlays.overlay_pictures(replace(many, arrays=arrays))
    assert len(set(drawn)) <= overlays.MOST_CASES
    assert not found.pictures
    told = " ".join(found.notes)
    assert re.search(r"Overlays of \d+ of 200 cases", told)
    assert "first 6 of 8 methods" in told
    assert "could not be drawn" in told
    dice = {case.case: np.mean([r.dice for r in many.rows if r.case == case.case and r.class_id == "lesion"
                                and r.method in "ABCDEF"]) for case in many.cases}  # fmt: skip
    assert {min(dice, key=dice.get), max(dice, key=dice.get)} <= set(drawn)


def test_slices_that_matter_are_those_with_errors_then_those_with_lesions():
    truth = np.zeros((8, 10, 10), bool)
    mask = np.zeros_like(truth)
    truth[2, :3, :3] = mask[2, :3, :3] = True
    truth[5, :2, :2] = True  # missed
    mask[7, :5, :5] = True  # false
    assert overlays.slices_that_matter(truth, [mask]) == [2, 5, 7]
    assert overlays.slices_that_matter(truth, [mask], most=2) == [2, 7]
    assert overlays.slices_that_matter(truth, [mask], most=1) == [7]
    assert overlays.slices_that_matter(np.zeros_like(truth), [np.zeros_like(truth)]) == []


def test_a_case_without_anything_is_left_out_and_counted(result):
    def empty(case, method):
        arrays = result.arrays(case, method)
        return replace(arrays, reference=0 * arrays.reference, prediction=0 * arrays.prediction)

    found = overlays.overlay_pictures(replace(result, cases=result.cases[:2], arrays=empty))
    assert not found.pictures
    assert "2 cases without a voxel" in found.notes[0]


# --- training curves


def test_training_curves_take_any_log_with_progress_and_figures():
    steps = np.arange(5.0)
    plain = TrainingLog("a", {"epoch": steps, "loss": steps, "auc_pr_lesion": steps / 5})
    gan = TrainingLog("b", {"step": steps, "generator_loss": steps, "discriminator_loss": steps, "l1": steps})
    with style():
        both = training_figure([plain, gan], heading="S1")
        assert both is not None
        for word in ("Training loss", "Discriminator loss", "L1 distance", "AUC-PR, Lesions", "S1"):
            assert word in both.svg
        assert "Dice, Ventricles" not in both.svg
        assert training_figure([TrainingLog("c", {"step": steps, "loss": steps * math.nan})]) is None
        assert training_figure([TrainingLog("d", {"loss": steps})]) is None, "nothing says how far the run had come"
        assert training_figure([]) is None


# --- the file


def test_the_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "draw_figures", lambda result: [])
    small = lesions_only(1, ("A",))
    path = write_evaluation(small, tmp_path / "out")[report.REPORT]
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="Results of an evaluation exist already"):
        write_evaluation(small, tmp_path / "out")
    with pytest.raises(Cancelled):
        write_evaluation(small, tmp_path / "out", overwrite=True, cancel=lambda: True)
    assert path.read_bytes() == before
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(FILES)


def test_without_its_libraries_the_report_says_what_to_install(result, tmp_path, monkeypatch):
    monkeypatch.setattr(dependencies, "find_spec", lambda name: None if name == "jinja2" else object())
    with pytest.raises(MissingDependencyError, match=r"flairseg\[study\]"):
        write_evaluation(result, tmp_path)
    assert not list(tmp_path.iterdir())


def test_overlays_can_be_left_out_of_a_report_that_is_passed_on(html, monkeypatch):
    monkeypatch.setattr(report, "draw_figures", lambda result: [])
    assert "data:image/png" in html
    assert "data:image/png" not in report.render(lesions_only(2), overlays=False)
