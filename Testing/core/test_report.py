"""The report of a case: it says what the label map says; one page, then details; harmless; whole or not at all."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from flairseg.cli import app
from flairseg.errors import (
    CaseWarning,
    FlairSegError,
    GridMismatchError,
    InputNotFoundError,
    MissingDependencyError,
    OutputError,
    UnreadableImageError,
    UnsuitableMaskError,
)
from flairseg.files.nifti import write_nifti
from flairseg.files.same_input import fingerprint
from flairseg.io.images import read_image
from flairseg.rendering.slices import FOOTER
from flairseg.report import CaseReport
from flairseg.report.case import REGIONS, Review, change_of, rows_of
from flairseg.report.gathering import Reading, from_files
from flairseg.review.cases import ACCEPTED, ACCEPTED_AFTER_EDITS, CaseArchive, Verdict
from flairseg.segmentation.result import MeasuredLesions
from flairseg.segmentation.writing import write_segmentation
from PIL import Image
from pypdfium2 import PdfDocument
from typer.testing import CliRunner

from Testing.core.report_data import HOSTILE, case_with, followup, spots
from Testing.core.test_privacy import leaks


class Page(HTMLParser):
    """Texts, tags and attributes of an HTML file."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._hidden = tag == "style"
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        if not self._hidden and data.strip():
            self.words.append(data.strip())
            if self.rows:
                self.rows[-1].append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.words)


def pages(pdf: bytes) -> list[str]:
    return [" ".join(page.get_textpage().get_text_range().split()) for page in PdfDocument(pdf)]


@pytest.fixture(scope="module")
def files(segmentation, head_file, tmp_path_factory):
    """What ``flairseg segment`` writes for the small head, beside the image."""
    folder = tmp_path_factory.mktemp("results")
    written = write_segmentation(replace(segmentation, seconds=dict(segmentation.seconds)), folder, "head")
    return written | {"flair": head_file}


@pytest.fixture
def many(segmentation):
    return case_with(segmentation, spots(segmentation.labels, 150))


def checked(case, **options) -> tuple[str, list[str]]:
    """HTML and pages of a report, after what every report must be was looked at."""
    report = CaseReport(case, **options)
    html, sheets = report.html(), pages(report.pdf())
    assert len(sheets) >= 3
    for sheet in sheets:
        assert FOOTER in sheet
        assert len(sheet) > 250, "no page is empty"
    assert "Limits" in sheets[0], "page one holds all of page one"
    assert "Lesion table" not in sheets[0]
    assert sheets[1].index("Lesion table") < 250
    assert f"Page 1 of {len(sheets)}" in sheets[0]
    page = Page(html)
    assert FOOTER in page.text
    assert "not a diagnosis" in sheets[0]
    assert "Spinal cord, optic nerve: not assessed" in sheets[0]
    assert not {"script", "iframe", "object", "link", "img", "a", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for name, value in page.attributes:
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("data:image/png;base64,")
    assert "http" not in re.sub(r"http-equiv", "", html)
    return html, sheets


def test_the_figures_are_those_of_the_label_map(segmentation):
    case = case_with(segmentation, segmentation.labels)
    html, sheets = checked(case)
    voxels = np.bincount(segmentation.labels.ravel(), minlength=4)
    ml = voxels * segmentation.volume.voxel_mm3 / 1000
    rows = {row[0]: row[1:] for row in Page(html).rows if row}
    for name, value in (("Ventricles", 1), ("Normal periventricular WMH", 2), ("Lesions (abnormal WMH)", 3)):
        assert float(rows[name][0]) == pytest.approx(ml[value], rel=0.01, abs=0.006)
    assert int(rows["Lesions (abnormal WMH)"][1]) == segmentation.lesion_count
    table = [row for row in Page(html).rows if len(row) >= 7 and row[0].isdigit()]
    assert len(table) == segmentation.lesion_count
    assert sum(float(row[1]) for row in table) == pytest.approx(ml[3], rel=0.02)
    assert "Not reviewed" in sheets[0]
    assert segmentation.card.id in sheets[0]


def test_regions_and_dissemination_are_counted_from_the_rows(segmentation):
    case = case_with(segmentation, segmentation.labels)
    given = ["periventricular", "infratentorial", "unknown", "periventricular"]
    rows = tuple(replace(row, region=given[n % 4], volume_ml=1.0 if n else 0.05) for n, row in enumerate(case.rows))
    from flairseg.report.case import dissemination_of

    told = dissemination_of({"regions_with_lesions": ["periventricular", "infratentorial"], "not_assessed": []})
    assert len(rows) >= 4
    html, sheets = checked(replace(case, rows=rows, dissemination=told, has_regions=True))
    load = {row[0]: row[1:] for row in Page(html).rows if row}
    counted = [sum(row.region == region for row in rows) for region in REGIONS]
    names = ("Periventricular", "Juxtacortical or cortical", "Infratentorial", "Deep white matter", "Unknown")
    assert [int(load[name][0]) for name in names] == counted
    assert int(load["All"][0]) == len(rows)
    assert f"2 of the 3 regions visible on brain FLAIR: periventricular ({counted[0]}; " in sheets[0]
    assert "could not be determined" in sheets[0]
    assert "often false positives" not in sheets[0]
    small = tuple(replace(row, volume_ml=0.02) if row.region == "infratentorial" else row for row in rows)
    _, sheets = checked(replace(case, rows=small, dissemination=told, has_regions=True))
    assert "Only lesions below 0.1 ml, often false positives: infratentorial." in sheets[0]


def test_lesions_below_3_mm_are_named_and_not_counted(segmentation):
    case = case_with(segmentation, segmentation.labels)
    rows = tuple(
        replace(row, region="infratentorial" if n else "periventricular", diameter_mm=2.9 if n else 5.0)
        for n, row in enumerate(case.rows)
    )
    from flairseg.report.case import dissemination_of

    # As a summary of an earlier version says it, which counted lesions of any size.
    told = dissemination_of({"regions_with_lesions": ["periventricular", "infratentorial"], "not_assessed": []})
    _, sheets = checked(replace(case, rows=rows, dissemination=told, has_regions=True))
    assert "Lesions of 3 mm or more in 1 of the 3 regions" in sheets[0]
    assert f"Not counted, as below 3 mm: infratentorial ({len(rows) - 1})." in sheets[0]
    none = tuple(replace(row, diameter_mm=1.0) for row in rows)
    _, sheets = checked(replace(case, rows=none, dissemination=told, has_regions=True))
    assert "No lesion of 3 mm or more in the 3 regions" in sheets[0]


def test_slices_of_old_and_new_summaries_are_the_same_slices():
    old = {"number": 1, "volume_ml": 1.0, "slices": [4, 6]}
    new = {**old, "slices": [5, 7], "slices_index": [4, 6]}
    assert [row.slices for row in rows_of([old, new])] == [(4, 6), (4, 6)]


def test_a_report_numbers_its_lesions_once(segmentation):
    """A follow-up numbers its lesions in its own order: the report shows those of its lesion table."""
    case = case_with(segmentation, segmentation.labels)
    content = followup(case.name, 2)
    second = case.rows[1]
    new, gone, other = content["lesions"][0], content["lesions"][4], content["lesions"][1]
    assert (new["state"], gone["state"]) == ("new", "resolved")
    new |= {"lesion_numbers": [[], [2]], "volumes_mm3": [0.0, 1000 * second.volume_ml]}
    other |= {"lesion_numbers": [[1], [1]], "volumes_mm3": [1.0, 2.0]}
    gone |= {"lesion_numbers": [[3], []]}
    html, _ = checked(case_with(segmentation, segmentation.labels, followup=content))
    listed = {row[1]: row[0] for row in Page(html).rows if len(row) > 6 and row[1] in ("new", "resolved", "enlarging")}
    assert listed["new"] == "2"
    assert listed["resolved"] == "–"
    assert listed["enlarging"] == "–", "its volume is not that of lesion 1 here: another label map"


def test_without_regions_that_is_said(segmentation):
    _, sheets = checked(case_with(segmentation, segmentation.labels))
    assert "The regions of the lesions are unknown" in sheets[0]
    assert "Not listed" in sheets[0]


def test_no_lesions(segmentation):
    _, sheets = checked(case_with(segmentation, np.where(segmentation.labels == 3, 0, segmentation.labels)))
    assert "No lesion found" in sheets[0]
    assert "No lesion found" in sheets[1]


def test_a_hundred_and_fifty_lesions(many):
    html, sheets = checked(many, paper="letter")
    assert len(many.rows) == 150
    repeated = [sheet for sheet in sheets if "To ventricles" in sheet]
    assert len(repeated) >= 3, "the head of the table is on each of its pages"
    numbers = [row[0] for row in Page(html).rows if len(row) > 4]
    assert [str(n) for n in range(1, 151)] == [n for n in numbers if n.isdigit()]


def test_three_studies(segmentation):
    content = followup("head")
    case = case_with(segmentation, segmentation.labels, followup=content)
    html, sheets = checked(case)
    assert "Change since 2023-02-11, the first of 3 studies" in sheets[0]
    assert "new 1, enlarging 1, stable 1, shrinking 1, resolved 1, split 1, merged 1" in sheets[0]
    assert "Since the previous study (2024-03-12): new 1" in sheets[0]
    assert "+2.0 ml (+10.0 %), within measurement noise (± 8.0 %)" in sheets[0]
    assert "The slices of the first study are thicker." in sheets[0]
    assert "Study date 2025-04-13" in sheets[0]
    assert "A change is called only beyond the noise." in " ".join(sheets)
    rows = [row for row in Page(html).rows if len(row) > 2 and row[1] in ("new", "resolved")]
    assert [row[3:6] for row in rows] == [["0.000", "0.000", "0.15"], ["0.15", "0.000", "0.000"]]
    assert rows[0][6] == "+0.150*"
    assert rows[1][-1] == "–", "where a lesion was in another study's slices is not told as here"
    other = case_with(segmentation, segmentation.labels, followup=followup("somebody else"))
    assert "does not include this image" in checked(other)[1][0]


def test_a_follow_up_of_two_studies_without_dates(segmentation):
    content = followup("head", 2)
    for study in content["studies"]:
        study["date"] = None
    _, sheets = checked(case_with(segmentation, segmentation.labels, followup=content))
    assert "Change since the last study" in sheets[0]
    assert "Study date unknown" in sheets[0]


@pytest.mark.parametrize(
    ("review", "said"),
    [
        (Review(ACCEPTED, "R1", "2026-11-20T14:05:00+01:00", version=2), "edits by R1 on 2026-11-20 13:05"),
        (Review(ACCEPTED_AFTER_EDITS, "R1", "2026-11-20T14:05:00Z", version=12), "Corrected, then accepted, by R1"),
        (
            Review("rejected", "", "", "motion"),
            "REJECTED by an unnamed reader. Do not use its measurements. Reason: motion",
        ),
        (Review("unreadable"), "treat this result as not reviewed"),
        (Review(ACCEPTED, "R1", doubts=("changed",)), "the verdict may not apply"),
    ],
)
def test_who_accepted_it_and_when(segmentation, review, said):
    html, sheets = checked(case_with(segmentation, segmentation.labels, review))
    assert said in sheets[0]
    assert said in Page(html).text
    if review.version:
        assert f"v{review.version:03d} of the case" in sheets[0]


# --- text from outside


def test_hostile_text_is_shown_as_text_and_bounded(segmentation):
    content = followup(HOSTILE)
    content["noise_floor"] = {HOSTILE: HOSTILE, "text": HOSTILE}
    content["warnings"] = [f"{n} {HOSTILE}" for n in range(40)]
    for study in content["studies"]:
        study["date"] = HOSTILE
    hostile = replace(
        segmentation,
        volume=replace(segmentation.volume, name=HOSTILE),
        source=HOSTILE,
        warnings=[f"{n} {HOSTILE}" for n in range(300)],
        device_used=HOSTILE,
    )
    review = Review("rejected", HOSTILE, HOSTILE, HOSTILE, 3, 2, ("changed", "other_labels", "edited", "unproven"))
    case = case_with(hostile, segmentation.labels, review, followup=content, study_date=HOSTILE)
    html, sheets = checked(case)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "alert(1)" in " ".join(sheets)
    for raw in (html, *sheets):
        assert not set(raw) & set("\u202e\x07\x00")
        assert "W" * 700 not in raw
        assert "49" not in re.findall(r"\{\{.*?\}\}|49WW", raw)
    assert len(html) < 4_000_000
    assert len(sheets) < 30
    stem = CaseReport(case).stem
    assert len(stem.encode()) <= 96
    assert not set(stem) & set('/\\<>"\n\x00')


def test_names_of_other_scripts_are_set(segmentation):
    name = "Şükrü Çağlar Ώμέγα Юлия 张伟"
    case = replace(case_with(segmentation, segmentation.labels, Review(ACCEPTED, "دکتر رضایی")), name=name)
    html, sheets = checked(case)
    assert name in Page(html).text
    for word in ("Şükrü", "Çağlar", "Ώμέγα", "Юлия"):
        assert word in sheets[0]
    assert "دکتر رضایی" in Page(html).text


def test_content_of_any_type_is_survived():
    for nonsense in (
        None,
        3,
        "text",
        [],
        {},
        {"studies": 5},
        {"studies": [1, "a"]},
        {"studies": [{}, {}], "lesions": 7},
    ):
        change_of(nonsense)
        rows_of(nonsense)
    assert rows_of([{"number": True, "volume_ml": 1}, {"number": 1, "volume_ml": float("nan")}, {"number": -1}]) == ()
    assert rows_of([{"number": 1, "volume_ml": 10**400}]) == ()
    (row,) = rows_of(
        [{"number": 1, "volume_ml": 2, "region": ["x"], "slices": [3, 1], "centre_ras_mm": [1, 2], "parts": 1.5}]
    )
    assert (row.region, row.slices, row.centre_ras_mm, row.parts) == (None, None, None, None)
    found = change_of({"studies": [{"volumes_ml": {"lesion": "many"}}, {"date": 5}], "counts": {"new": "two"}})
    assert found.counts["new"] == 0
    assert found.studies[1].date == ""


# --- files


def test_summary_and_labels_find_each_other_and_the_image(files):
    by_summary = from_files(files["summary"], files["flair"], how=Reading(regions=False))
    by_labels = from_files(files["labels"], files["flair"], how=Reading(regions=False))
    assert by_summary.rows == by_labels.rows
    assert by_summary.name == "head"
    assert by_summary.review.doubts == ()
    assert all(row.confidence is not None for row in by_summary.rows)
    assert len(by_summary.labels_sha256) == 64
    (files["labels"].parent / "head.nii.gz").write_bytes(files["flair"].read_bytes())
    assert from_files(files["summary"], how=Reading(regions=False)).volumes_ml == by_summary.volumes_ml
    checked(by_summary)


def test_the_image_is_found_from_any_working_directory(tmp_path, segmentation, head_file, monkeypatch):
    """``input`` is meant from the summary; an image of that name in the working directory is another patient's."""
    (tmp_path / "study").mkdir()
    flair = tmp_path / "study" / "head.nii.gz"
    flair.write_bytes(head_file.read_bytes())
    written = write_segmentation(replace(segmentation, source=str(flair)), tmp_path / "study" / "results", "case")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = replace(segmentation.volume, array=segmentation.volume.array[::-1].copy())
    write_nifti(elsewhere / "head.nii.gz", other.array, other)
    monkeypatch.chdir(elsewhere)
    case = from_files(written["summary"], how=Reading(regions=False))
    assert np.array_equal(case.volume.array, segmentation.volume.array)
    # Results and image are moved together.
    (tmp_path / "study").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "results" / "case_summary.json"
    assert np.array_equal(from_files(moved, how=Reading(regions=False)).volume.array, segmentation.volume.array)
    # Without its image no other one is taken.
    (tmp_path / "moved" / "head.nii.gz").unlink()
    (elsewhere / "head.nii.gz").unlink()
    with pytest.raises(InputNotFoundError, match="was not found"):
        from_files(moved, how=Reading(regions=False))


def test_how_many_images_were_used_is_in_the_report(segmentation):
    told = (CaseWarning("Series 4 was taken.", "series-chosen"),)
    volume = replace(segmentation.volume, images=(19, 21), information=told)
    case = CaseReport.from_segmentation(replace(segmentation, volume=volume), regions=False).case
    html, _ = checked(case)
    assert "19 of 21 are used" in html
    assert "Series 4 was taken." in html
    assert "are used" not in checked(CaseReport.from_segmentation(segmentation, regions=False).case)[0]


def test_a_calibrated_confidence_is_told_beside_the_mean_probability(files, tmp_path, segmentation):
    plain, _ = checked(from_files(files["summary"], files["flair"], how=Reading(regions=False)))
    assert "readers drew" not in plain
    entry = {"intercept": -30.0, "logit_probability": 1.1, "ln_volume": 0.5, "fitted_on": "x"}
    card = replace(segmentation.card, raw={**segmentation.card.raw, "lesion_confidence": entry})
    told = replace(segmentation, card=card, measured=MeasuredLesions())
    written = write_segmentation(told, tmp_path, "told")
    case = from_files(written["summary"], files["flair"], how=Reading(regions=False))
    assert all(row.confidence < 0.01 < 0.3 < row.mean_probability for row in case.rows)
    html, _ = checked(case)
    for words in (
        "share of lesions of such probability and volume that readers drew",
        "a confidence below 0.5",
        "Conf.",
    ):
        assert words in html
    assert "a mean probability below" not in html
    direct = CaseReport.from_segmentation(told, regions=False).case
    assert [row.mean_probability is None for row in direct.rows] == [False] * segmentation.lesion_count


def test_an_old_summary_or_none_gives_a_report(files, tmp_path, segmentation):
    labels = tmp_path / "old_labels.nii.gz"
    labels.write_bytes(files["labels"].read_bytes())
    alone = from_files(labels, files["flair"], how=Reading(regions=False))
    assert len(alone.rows) == segmentation.lesion_count
    checked(alone)
    old = json.loads(files["summary"].read_text())
    for key in ("regions", "dissemination", "lesion_parts"):
        old.pop(key, None)
    for row in old["lesions"]:
        for key in ("diameter_mm", "region", "volume_mm3", "peak_probability", "parts"):
            row.pop(key, None)
    (tmp_path / "old_summary.json").write_text(json.dumps(old))
    aged = from_files(labels, files["flair"], how=Reading(regions=False))
    assert [row.confidence for row in aged.rows] == [row["confidence"] for row in old["lesions"]]
    assert all(row.diameter_mm is not None for row in aged.rows)
    _, sheets = checked(aged)
    assert "The regions of the lesions are unknown" in sheets[0]


def test_labels_that_were_edited_are_measured_anew(files, tmp_path, segmentation):
    edited = segmentation.labels.copy()
    edited[segmentation.labels == 3] = 0
    write_nifti(tmp_path / "head_labels.nii.gz", edited, segmentation.volume)
    (tmp_path / "head_summary.json").write_bytes(files["summary"].read_bytes())
    case = from_files(tmp_path / "head_summary.json", files["flair"], how=Reading(regions=False))
    assert case.rows == ()
    assert "edited" in case.review.doubts
    assert "changed after the summary" in checked(case)[1][0]


def archive(folder, segmentation, verdict=ACCEPTED_AFTER_EDITS, case="Doe_Jane"):
    labels = segmentation.labels.copy()
    labels[labels == 2] = 0
    saved = CaseArchive(folder).save(
        case, labels, segmentation.volume, Verdict(verdict, reader="Dr Smith", model={"id": "tiny-v1.0"})
    )
    return saved.path, labels


def test_a_version_of_the_archive_says_who_accepted_it(tmp_path, segmentation):
    path, labels = archive(tmp_path, segmentation)
    for given in (path, path.parent, path / "labels.nii.gz"):
        case = from_files(given, how=Reading(regions=False))
        assert (case.review.state, case.review.reader, case.review.version) == (ACCEPTED_AFTER_EDITS, "Dr Smith", 1)
        assert case.review.doubts == ()
        assert np.array_equal(case.labels, labels)
        assert case.name == "Doe_Jane"
    report = CaseReport(case)
    assert report.stem == "Doe_Jane_v001"
    assert "tiny-v1.0" in checked(case)[1][0]
    labels[0, 0, 0] = 3
    write_nifti(path / "labels.nii.gz", labels, segmentation.volume)
    assert from_files(path, how=Reading(regions=False)).review.doubts == ("changed",)
    (path / "verdict.json").write_text('{"verdict": "accepted"')
    broken = from_files(path / "labels.nii.gz", how=Reading(regions=False))
    assert broken.review.state == "unreadable"
    assert "treat this result as not reviewed" in checked(broken)[1][0]


def test_a_verdict_on_other_labels_is_told_apart(files, tmp_path, segmentation):
    path, _ = archive(tmp_path, segmentation, case="head_flair")
    case = from_files(files["summary"], files["flair"], path / "verdict.json", how=Reading(regions=False))
    assert case.review.doubts == ("other_labels",)
    plain, _ = archive(tmp_path / "plain", segmentation, ACCEPTED, case="head")
    other = from_files(files["summary"], files["flair"], plain / "verdict.json", how=Reading(regions=False))
    assert other.review.doubts == ("unproven",)
    content = json.loads((plain / "verdict.json").read_text(encoding="utf-8")) | {"case": "somebody_else"}
    (tmp_path / "verdict.json").write_text(json.dumps(content), encoding="utf-8")
    mixed = from_files(files["summary"], files["flair"], tmp_path / "verdict.json", how=Reading(regions=False))
    assert mixed.review.doubts == ("other_case", "unproven")
    assert "The verdict names another case" in checked(mixed)[1][0]
    (tmp_path / "verdict.json").write_text("no json")
    unreadable = from_files(files["summary"], files["flair"], tmp_path / "verdict.json", how=Reading(regions=False))
    assert unreadable.review.state == "unreadable"


def test_what_cannot_be_reported_is_refused_with_advice(files, tmp_path, segmentation):
    flair = files["flair"]
    with pytest.raises(InputNotFoundError, match="no file or folder"):
        from_files(tmp_path / "absent_summary.json")
    with pytest.raises(InputNotFoundError, match="neither a label map nor a summary"):
        from_files(files["overview"])
    with pytest.raises(InputNotFoundError, match="holds no version"):
        from_files(tmp_path)
    alone = tmp_path / "alone_labels.nii.gz"
    alone.write_bytes(files["labels"].read_bytes())
    with pytest.raises(InputNotFoundError, match=r"was not found. Name it"):
        from_files(alone)
    summary = tmp_path / "lonely_summary.json"
    summary.write_bytes(files["summary"].read_bytes())
    with pytest.raises(InputNotFoundError, match="is not beside"):
        from_files(summary)
    with pytest.raises(InputNotFoundError, match="no file"):
        from_files(files["labels"], flair, tmp_path / "verdict.json")
    shifted = replace(segmentation.volume, ijk_to_ras=segmentation.volume.ijk_to_ras + np.eye(4, k=3) * 5, nifti=None)
    write_nifti(alone, segmentation.labels, shifted)
    with pytest.raises(GridMismatchError, match="grid"):
        from_files(alone, flair)
    write_nifti(alone, segmentation.labels + np.uint8(4), segmentation.volume)
    with pytest.raises(UnsuitableMaskError, match="their meaning is not stated"):
        from_files(alone, flair)
    for text in ("[1, 2]", "{", '{"studies": []}', "[" * 100_000):
        (tmp_path / "followup.json").write_text(text)
        with pytest.raises(UnreadableImageError):
            from_files(files["labels"], flair, followup=tmp_path / "followup.json")


@pytest.mark.parametrize(
    ("hashes", "name", "shown"),
    [(("x" * 64, "own"), "another name", True), (("x" * 64, "y" * 64), "head", False), (("x" * 64, ""), "head", None)],
)
def test_a_follow_up_of_other_images_is_told(files, tmp_path, hashes, name, shown):
    """A report of one patient held the lesions of another, and the command did not say so."""
    own = fingerprint(read_image(files["flair"]))
    content = followup(name, 2)
    for study, digest in zip(content["studies"], hashes, strict=True):
        study["input_sha256"] = own if digest == "own" else digest
    path = tmp_path / "followup.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    case = from_files(files["summary"], files["flair"], followup=path, how=Reading(regions=False))
    assert case.change.shows_image is shown
    assert ("followup-of-other-images" in [w.code for w in case.warnings]) == (shown is False)
    assert ("does not include this image" in checked(case)[1][0]) == (shown is False)


def test_the_picture_of_a_follow_up_is_shown_whole(files, tmp_path, segmentation):
    path = tmp_path / "head_followup.json"
    path.write_text(json.dumps(followup("head")), encoding="utf-8")
    plain = from_files(files["summary"], files["flair"], followup=path, how=Reading(regions=False))
    assert plain.change.sheet == b""
    beside = tmp_path / "head_followup.png"
    beside.write_bytes(b"no picture")
    assert from_files(files["summary"], files["flair"], followup=path, how=Reading(regions=False)).change.sheet == b""
    pixels = np.zeros((1500, 900, 3), np.uint8)
    pixels[40:60, 80:100] = (230, 41, 41)
    Image.fromarray(pixels).save(beside)

    case = from_files(files["summary"], files["flair"], followup=path, how=Reading(regions=False))

    html, sheets = checked(case)
    shown = [value.partition(",")[2] for name, value in Page(html).attributes if name == "href"]
    pictures = [Image.open(BytesIO(base64.b64decode(content))) for content in shown]
    (whole,) = [picture for picture in pictures if picture.size == (900, 1500)]
    assert np.array_equal(np.asarray(whole), pixels)
    assert 'viewBox="0 0 900 1500"' in html
    assert any("outlined completely" in sheet for sheet in sheets)
    assert len(sheets) > len(checked(plain)[1])


# --- writing


def written_report(segmentation, folder, labels=None, **which):
    return CaseReport.from_segmentation(segmentation, labels=labels, regions=False).write(folder, **which)


def test_both_files_or_none_and_nothing_is_overwritten(segmentation, tmp_path, monkeypatch):
    written = written_report(segmentation, tmp_path / "a")
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"head_report.html", "head_report.pdf"}
    before = written["pdf"].read_bytes()
    with pytest.raises(OutputError, match="already"):
        written_report(segmentation, tmp_path / "a", pdf=False)
    report = CaseReport.from_segmentation(segmentation, regions=False)
    with pytest.raises(OutputError, match="already"):
        report.write_pdf(written["pdf"])
    assert report.write_html(tmp_path / "b" / "own.html").is_file()
    monkeypatch.setattr("flairseg.report.pdf.render_pdf", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert written["pdf"].read_bytes() == before


@pytest.mark.parametrize("kind", ["html", "pdf"])
def test_overwriting_replaces_the_report_of_the_same_image_only(segmentation, tmp_path, kind):
    only = {"html": kind == "html", "pdf": kind == "pdf", "overwrite": True}
    (path,) = written_report(segmentation, tmp_path, **only).values()
    before = path.read_bytes()
    brighter = replace(segmentation.volume, array=segmentation.volume.array + 1)
    with pytest.raises(OutputError, match="another image") as caught:
        written_report(replace(segmentation, volume=brighter), tmp_path, **only)
    assert caught.value.code == "other-report"
    assert path.read_bytes() == before
    edited = np.where(segmentation.labels == 3, 0, segmentation.labels)
    written_report(segmentation, tmp_path, labels=edited, **only)
    assert path.read_bytes() != before, "of the same image, after edits of its labels"
    path.write_bytes(b"something else")
    with pytest.raises(OutputError, match="does not identify its image"):
        written_report(segmentation, tmp_path, **only)


def test_a_report_of_files_and_of_the_result_in_memory_are_of_one_image(files, segmentation, tmp_path):
    written_report(segmentation, tmp_path)
    code, said = run(files["summary"], "-o", tmp_path, "--flair", files["flair"], "--no-regions", "--overwrite")
    assert code == 0, said


def test_the_same_case_gives_the_same_files_on_either_paper(segmentation):
    from flairseg.report.content import content_of
    from flairseg.report.html import render_html
    from flairseg.report.pdf import render_pdf
    from flairseg.report.texts import load_texts

    case = case_with(segmentation, segmentation.labels)
    one, two = (content_of(case, load_texts(), made="2026-01-01") for _ in range(2))
    pdf = render_pdf(one)
    assert pdf == render_pdf(two)
    assert render_html(one) == render_html(two)
    assert tuple(map(round, PdfDocument(pdf)[0].get_size())) == (595, 842)
    assert tuple(map(round, PdfDocument(render_pdf(one, "letter"))[0].get_size())) == (612, 792)


@pytest.mark.parametrize(("package", "kind"), [("jinja2", "html"), ("reportlab", "pdf")])
def test_a_missing_package_is_named(segmentation, monkeypatch, package, kind):
    import importlib.util

    real = importlib.util.find_spec
    hide = lambda name, *rest: None if name == package else real(name, *rest)  # noqa: E731
    monkeypatch.setattr("flairseg._optional.find_spec", hide)
    report = CaseReport.from_segmentation(segmentation, regions=False)
    with pytest.raises(MissingDependencyError, match=package) as caught:
        getattr(report, kind)()
    assert "flairseg[report]" in caught.value.advice


# --- the command


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)], env={"COLUMNS": "300"})
    return result.exit_code, result.output


def test_the_command_writes_what_it_is_asked_for(files, tmp_path):
    common = ("--flair", files["flair"], "--no-regions")
    code, said = run(files["summary"], "--output", tmp_path / "both", *common)
    assert (code, {p.name for p in (tmp_path / "both").iterdir()}) == (0, {"head_report.html", "head_report.pdf"}), said
    assert FOOTER in said
    code, said = run(files["summary"], "--output", tmp_path / "both", *common)
    assert code == 2
    assert "--overwrite" in said
    code, _ = run(
        files["summary"], "-o", tmp_path / "pdf", "--pdf", "--paper", "letter", "--study-date", "2024-01-02", *common
    )
    assert [p.name for p in (tmp_path / "pdf").iterdir()] == ["head_report.pdf"]
    assert "Study date 2024-01-02" in pages((tmp_path / "pdf" / "head_report.pdf").read_bytes())[0]
    code, said = run(
        files["summary"], tmp_path / "absent_summary.json", "-o", tmp_path / "html", "--html", "--no-regions"
    )
    assert code == 2
    assert "absent_summary.json" in said
    for wrong in (("--language", "tlh"), ("--flair", "a", "--flair", "b"), ("--pseudonym-map", tmp_path / "map.json")):
        code, said = run(files["summary"], "-o", tmp_path / "none", *wrong)
        assert code == 2, wrong
        assert "What to do" in said
    code, said = run(files["summary"], files["labels"], "-o", tmp_path / "none", "--study-date", "2024-01-02")
    assert (code, "one case" in said) == (2, True)
    assert not (tmp_path / "none").exists()


def test_no_byte_of_a_name_is_in_a_pseudonymised_report(tmp_path, segmentation):
    path, _ = archive(tmp_path / "cases", segmentation)
    content = followup("Doe_Jane")
    content["warnings"] = ["earlier-1.nii.gz and Doe_Jane.nii.gz differ in slice thickness."]
    (tmp_path / "Doe_Jane_followup.json").write_text(json.dumps(content))
    key = tmp_path / "study.key"
    out = tmp_path / "out"
    code, said = run(
        path, "-o", out, "--followup", tmp_path / "Doe_Jane_followup.json", "--study-date", "2025-04-13",
        "--no-regions", "--pseudonymise", "--pseudonym-key", key,
    )  # fmt: skip
    assert code == 0, said
    secrets = ["Doe_Jane", "Doe", "Smith", "earlier-1", "2025-04-13", "2025-04", "2024-03-12", "2023-02-11"]
    said = said.replace(str(key), "").replace(str(out), "")
    assert leaks(out, secrets[:1] + secrets[2:], said) == []
    (pdf,) = out.glob("*.pdf")
    text = " ".join(pages(pdf.read_bytes()))
    assert not [secret for secret in secrets if secret.lower() in text.lower()]
    from flairseg.privacy.pseudonyms import Pseudonymiser

    pseudonymiser = Pseudonymiser.from_key_file(key)
    assert pdf.name == f"{pseudonymiser.case('Doe_Jane')}_v001_report.pdf"
    assert pseudonymiser.person("Dr Smith") in text
    assert f"Study date {pseudonymiser.date('2025-04-13')} (shifted" in text
    assert "Report made" not in text
    plain = tmp_path / "plain"
    assert run(path, "-o", plain, "--no-regions")[0] == 0
    assert leaks(plain, ["Doe_Jane"])


def test_errors_of_a_report_are_typed():
    with pytest.raises(FlairSegError):
        CaseReport.from_files("nowhere")
    with pytest.raises(ValueError, match="paper"):
        CaseReport(None, paper="a5")
