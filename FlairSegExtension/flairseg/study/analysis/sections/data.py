"""The sections "Data" and "Comments": ratings, missing data, comments."""

from __future__ import annotations

from collections.abc import Iterator

from ....reporting.layout import Section, Table, cells
from ....statistics.intervals import FEW_CASES
from ..results import Results, ordinal, question_names
from ..wording import counted, figure
from .common import long_list


def data(results: Results) -> Section:
    """Return the ratings by arm and rater, and the missing ones."""
    table, study = results.table, results.study
    paragraphs = []
    if len(table.cases) < FEW_CASES:
        paragraphs.append(
            f"There are only {counted(len(table.cases), 'case')}: bootstrap intervals are too narrow, and tests "
            "have little power."
        )
    paragraphs += list(study.remarks)
    if study.chain_verified is False:
        paragraphs.append(
            "The check of the records found the differences listed above: the study is NOT as locked or recorded."
        )
    return Section("data", "Data", tuple(paragraphs), (_showings(results), _questions(results), *_lists(results)))


def _showings(results: Results) -> Table:
    table, experience = results.table, results.study.raters
    rows = []
    for arm in table.arms:
        for rater in table.raters:
            shown = table.showings[(table.showings["arm"] == arm) & (table.showings["rater"] == rater)]
            absent = sum(1 for key in table.absent if key[1] == arm and key[2] == rater)
            by_repeat = [str(int((shown["repeat"] == repeat).sum())) for repeat in table.repeats]
            count = str(shown["case"].nunique())
            rows.append(cells(arm or "-", rater, experience.get(rater, ""), count, *by_repeat, str(absent)))
    showings = tuple(f"{ordinal(n)} showing" for n in table.repeats)
    columns = ("Arm", "Rater", "Experience", "Cases", *showings, "Missing")
    if not any(experience.get(rater) for rater in table.raters):
        columns, rows = columns[:2] + columns[3:], [row[:2] + row[3:] for row in rows]
    return Table("Showings analysed.", columns, tuple(rows), (), columns.index("Cases"))


def _questions(results: Results) -> Table:
    table = results.table
    rows = []
    for question in table.questions:
        missing = table.missing_answers(question)
        rows.append(cells(question.name, question.response_type, str(len(table.showings) - missing), str(missing)))
    return Table("Questions and missing answers.", ("Question", "Type", "Answers", "Missing"), tuple(rows), (), 2)


def _lists(results: Results) -> Iterator[Table]:
    """Return exclusions and changes: excluded cases, failures, missing showings, corrected masks."""
    if results.exclusions:
        gone = [cells(e.case, e.arm or "all", e.rater or "all", e.reason) for e in results.exclusions]
        yield long_list("Exclusions.", ("Case", "Arm", "Rater", "Reason"), gone)
    if results.failures:
        yield long_list("Failures during the study.", ("What happened",), [cells(text) for text in results.failures])
    if results.table.absent:
        missing = [cells(c, a or "-", r, ordinal(n)) for c, a, r, n in results.table.absent]
        caption = "Missing showings: planned, or had by other raters."
        yield long_list(caption, ("Case", "Arm", "Rater", "Showing"), missing)
    if results.corrections:
        yield _corrections(results)


def _corrections(results: Results) -> Table:
    rows = [
        cells(
            c.case,
            c.arm or "-",
            c.rater,
            ordinal(c.repeat),
            figure(c.active_seconds, 0),
            ", ".join(f"{name} +{n}" for name, n in c.voxels_added.items()) or "0",
            ", ".join(f"{name} −{n}" for name, n in c.voxels_removed.items()) or "0",
        )
        for c in results.corrections
    ]
    columns = ("Case", "Arm", "Rater", "Showing", "Active s", "Voxels added", "Voxels removed")
    return long_list("Masks corrected after the answer.", columns, rows, 4)


def comments(results: Results) -> Section:
    """Free text of the raters."""
    answers = results.table.answers
    texts = answers[answers["comment"].fillna("").str.strip() != ""]
    texts = texts.drop_duplicates(["case", "arm", "rater", "repeat", "comment"])
    rows = [
        cells(r["case"], r["arm"] or "-", r["rater"], ordinal(int(r["repeat"])), r["comment"])
        for r in texts.to_dict("records")
    ]
    names = question_names(results.table.questions)
    free = answers[(answers["response_type"] == "Text") & answers["value"].notna()]
    rows += [
        cells(
            r["case"], r["arm"] or "-", r["rater"], ordinal(int(r["repeat"])), f"{names[r['question']]}: {r['value']}"
        )
        for r in free.to_dict("records")
    ]
    if not rows:
        return Section("comments", "Comments")
    table = long_list("What raters wrote.", ("Case", "Arm", "Rater", "Showing", "Text"), rows)
    return Section("comments", "Comments", (), (table,))
