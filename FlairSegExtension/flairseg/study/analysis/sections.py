"""The report's sections: which tables and figures stand where, in plain values that the template only lays out.

Nothing here is markup: every text is escaped by the template.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...reporting.drawing import Figure
from ...reporting.layout import Cell, Footnotes, KeyFigure, Section, Table, cells, rest
from ...statistics.intervals import FEW_CASES, FEW_CASES_NOTE, Estimate
from ..records import CONFIDENCE_QUESTION, FALSE_NEGATIVE, FALSE_POSITIVE
from .agreement import AC2, PERCENT, WEIGHTED
from .figures import ORDER
from .lesions import SAME_PLACE_MM
from .rates import MAJORITY
from .results import ALL_ARMS, BETWEEN_ARMS, INTER, INTRA, RULE, AgreementRow, Results, ordinal, question_names
from .tidy import BINARY, NOMINAL, ORDERED
from .timing import TimingRow
from .wording import UNDEFINED, counted, figure, p_value, percent, percent_with_interval, with_interval

#: Rows of long lists that the report shows; the CSV files have all of them.
LONGEST_LIST = 60
_SCOPE_TITLES = {
    INTRA: "Intra-rater agreement (one rater's repeated showings)",
    INTER: "Inter-rater agreement",
    RULE: "Raters' decisions against the rule applied to their own counts",
}
#: The section "Data" says so for the whole report.
_SAID_ONCE = re.compile(re.escape(FEW_CASES_NOTE).replace(r"\{\}", r"\d+") + r"\s*")
_KINDS = {FALSE_POSITIVE: "False positive", FALSE_NEGATIVE: "False negative"}


class _Footnotes(Footnotes):
    """Footnotes without what the section "Data" says for the whole report."""

    def cell(self, text: str, *notes: str) -> Cell:
        return super().cell(text, *(_SAID_ONCE.sub("", note) for note in notes))


def key_figures(results: Results) -> list[KeyFigure]:
    """What a reader wants to know first: acceptance, agreement, time."""
    table, found = results.table, []
    primary = table.primary
    if primary is not None:
        rows = [r for r in results.rates if r.question == primary.id and r.unit == "showing"]
        for arm in table.arms[:3]:
            last = [r for r in rows if r.arm == arm][-1:]
            for row in last:
                name = f"{primary.categories[1]}{f': {arm}' if arm and len(table.arms) > 1 else ''}"
                limits = _limits_percent(row.wilson)
                found.append(
                    KeyFigure(name, percent(row.wilson.value), f"{row.positive} of {row.answered} showings{limits}")
                )
        for scope, name in ((INTER, "between raters"), (INTRA, "with oneself")):
            rows_of = [r for r in results.agreement if _is_headline(r, scope, primary.id, len(table.arms) > 1)]
            if rows_of:
                best = rows_of[0] if scope == INTER else min(rows_of, key=lambda r: r.estimate.value or 0.0)
                value = best.estimate
                limits = f" ({figure(value.low)} to {figure(value.high)})" if value.low is not None else ""
                who = best.raters if scope == INTER else f"lowest of {counted(len(rows_of), 'rater')}"
                found.append(KeyFigure(f"Gwet AC1 {name}", figure(value.value), f"{who}{limits}"))
    timed = [row for row in results.timing if row.median is not None]
    if timed:
        for arm in table.arms[:2]:
            for taken in [row for row in timed if row.arm == arm][-1:]:
                name = f"median time{f': {arm}' if arm and len(table.arms) > 1 else ''}"
                quartiles = f"quartiles {figure(taken.lower_quartile, 0)} to {figure(taken.upper_quartile, 0)} s"
                found.append(KeyFigure(name, f"{figure(taken.median, 0)} s", quartiles))
    return found


def _is_headline(row: AgreementRow, scope: str, question: str, many: bool) -> bool:
    shown = row.scope == scope and row.question == question and row.coefficient == "Gwet AC1"
    return shown and row.estimate.defined and row.arm in ((ALL_ARMS,) if many else (row.arm,))


def _limits_percent(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" (95 % interval {figure(100 * estimate.low, 1)} to {figure(100 * estimate.high, 1)} %)"


def sections(results: Results, figures: Sequence[Figure]) -> list[Section]:
    """Every section that has something to say, in order."""
    drawn = {one.name: one for one in figures}

    def named(*prefixes: str) -> tuple[Figure, ...]:
        return tuple(one for name, one in drawn.items() if name.startswith(prefixes))

    made = [
        _data(results),
        _acceptance(results, named("acceptance")),
        _arms(results),
        _agreement(results, named("agreement")),
        _scales(results, named("scale-")),
        _lesions(results),
        _errors(results, named("error-map")),
        _numbers(results, named("bland-altman-")),
        _time(results, named("time", "learning")),
        _comments(results),
    ]
    return [one for one in made if one.tables or one.figures or one.paragraphs]


def _data(results: Results) -> Section:
    table, study = results.table, results.study
    paragraphs = []
    if len(table.cases) < FEW_CASES:
        paragraphs.append(
            f"There are only {counted(len(table.cases), 'case')}: bootstrap intervals of so few are narrower than they "
            "should be, and tests find little."
        )
    paragraphs += list(study.remarks)
    if study.chain_verified is False:
        paragraphs.append(
            "The check of the records found what is listed above: something is NOT as it was locked or written."
        )
    rows = []
    for arm in table.arms:
        for rater in table.raters:
            shown = table.showings[(table.showings["arm"] == arm) & (table.showings["rater"] == rater)]
            absent = sum(1 for key in table.absent if key[1] == arm and key[2] == rater)
            by_repeat = [str(int((shown["repeat"] == repeat).sum())) for repeat in table.repeats]
            rows.append(
                cells(
                    arm or "-",
                    rater,
                    study.raters.get(rater, ""),
                    str(shown["case"].nunique()),
                    *by_repeat,
                    str(absent),
                )
            )
    showings = tuple(f"{ordinal(n)} showing" for n in table.repeats)
    columns = ("Arm", "Rater", "Experience", "Cases", *showings, "Missing")
    if not any(study.raters.get(rater) for rater in table.raters):
        columns, rows = columns[:2] + columns[3:], [row[:2] + row[3:] for row in rows]
    tables = [Table("Showings analysed.", columns, tuple(rows), (), columns.index("Cases"))]
    unanswered = tuple(
        cells(
            q.name, q.response_type, str(len(table.showings) - table.missing_answers(q)), str(table.missing_answers(q))
        )
        for q in table.questions
    )
    tables.append(
        Table("Questions and missing answers.", ("Question", "Type", "Answers", "Missing"), unanswered, (), 2)
    )
    if results.exclusions:
        gone = tuple(cells(e.case, e.arm or "all", e.rater or "all", e.reason) for e in results.exclusions)
        tables.append(
            Table("Exclusions.", ("Case", "Arm", "Rater", "Reason"), gone[:LONGEST_LIST], rest(gone, LONGEST_LIST), 9)
        )
    if results.failures:
        failed = tuple(cells(text) for text in results.failures)
        tables.append(
            Table(
                "Failures during the study.", ("What happened",), failed[:LONGEST_LIST], rest(failed, LONGEST_LIST), 9
            )
        )
    if table.absent:
        missing = tuple(cells(c, a or "-", r, ordinal(n)) for c, a, r, n in table.absent)
        caption = "Showings that were planned or that other raters had, and that are missing."
        tables.append(
            Table(caption, ("Case", "Arm", "Rater", "Showing"), missing[:LONGEST_LIST], rest(missing, LONGEST_LIST), 9)
        )
    if results.corrections:
        tables.append(_corrections(results))
    return Section("data", "Data", tuple(paragraphs), tuple(tables))


def _corrections(results: Results) -> Table:
    rows = tuple(
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
    )
    columns = ("Case", "Arm", "Rater", "Showing", "Active s", "Voxels added", "Voxels removed")
    return Table("Masks corrected after the answer.", columns, rows[:LONGEST_LIST], rest(rows, LONGEST_LIST), 4)


def _acceptance(results: Results, figures: tuple[Figure, ...]) -> Section:
    tables = []
    for question in results.table.of_kind(BINARY):
        notes = _Footnotes()
        rows = []
        for row in (r for r in results.rates if r.question == question.id):
            showing = row.unit == "showing"
            bootstrap = row.clustered
            limits = "" if bootstrap.low is None else f"{percent(bootstrap.low)} to {percent(bootstrap.high)}"
            rows.append(
                (
                    Cell(row.arm or "-"),
                    Cell(row.rater if showing else f"Cases by {row.rater}"),
                    notes.cell(f"{row.positive} / {row.answered}", row.note),
                    Cell(str(row.missing) if showing else ""),
                    notes.cell(percent_with_interval(row.wilson), row.wilson.note),
                    notes.cell(limits, bootstrap.note if showing else ""),
                )
            )
        columns = (
            "Arm",
            "Rater",
            str(question.categories[1]).capitalize(),
            "Missing",
            "Rate (95 % Wilson)",
            "95 % bootstrap over cases",
        )
        tables.append(Table(f"“{question.name}”.", columns, tuple(rows), notes.listed, 2))
    paragraphs = (
        (
            "Wilson's intervals take every showing for independent; the bootstrap draws whole cases and is the one to "
            f"quote for rates over several raters or showings. “{MAJORITY.capitalize()}” gives each case one verdict: "
            "positive if more than half of all its answers are.",
        )
        if tables
        else ()
    )
    return Section("acceptance", "Acceptance", paragraphs, tuple(tables), figures)


def _arms(results: Results) -> Section:
    if not results.comparisons:
        return Section("arms", "Comparison of arms")
    tables = []
    for question in results.table.of_kind(BINARY):
        notes = _Footnotes()
        rows = [
            (
                Cell(f"{row.arm_a} against {row.arm_b}"),
                notes.cell(row.rater, row.note),
                *cells(str(row.both), str(row.only_a), str(row.only_b), str(row.neither)),
                notes.cell(_points(row.difference), row.difference.note),
                Cell(p_value(row.p)),
                Cell(p_value(row.p_holm)),
            )
            for row in results.comparisons
            if row.question == question.id
        ]
        columns = (
            "Arms (A against B)",
            "Rater",
            "Both",
            "Only A",
            "Only B",
            "Neither",
            "A − B, points",
            "p",
            "p (Holm)",
        )
        caption = f"“{question.name}”: cases by answer, McNemar's exact test, raters at their first showing."
        tables.append(Table(caption, columns, tuple(rows), notes.listed, 2))
    return Section("arms", "Comparison of arms", (), tuple(tables))


def _points(estimate: Estimate) -> str:
    value, low, high = (None if x is None else 100 * x for x in (estimate.value, estimate.low, estimate.high))
    return with_interval(Estimate(value, low, high), 1)


def _agreement(results: Results, figures: tuple[Figure, ...]) -> Section:
    tables = []
    names = question_names(results.table.questions)
    for question in results.table.of_kind(BINARY, ORDERED, NOMINAL):
        if question.id == CONFIDENCE_QUESTION:
            # How sure raters felt is no property of the mask that they could agree on; it is in the CSV.
            continue
        for scope, title in _SCOPE_TITLES.items():
            rows = [r for r in results.agreement if r.scope == scope and r.question == question.id]
            if rows:
                tables.append(_coefficients(f"{title}: “{names[question.id]}”.", rows))
    paragraphs = [
        "Each cell gives a coefficient with its 95 % interval. Kappa falls towards zero when almost all answers are "
        "alike, however well raters agree; Gwet's AC1 and AC2 do not (Gwet 2008)."
    ]
    if len(results.table.repeats) < 2:
        paragraphs.append("No case was shown twice to a rater, so intra-rater agreement cannot be told.")
    if len(results.table.raters) < 2:
        paragraphs.append("There is one rater, so inter-rater agreement cannot be told.")
    if not tables:
        paragraphs = paragraphs[1:]
    return Section("agreement", "Agreement", tuple(paragraphs), tuple(tables), figures)


def _coefficients(caption: str, rows: Sequence[AgreementRow]) -> Table:
    """One line per arm, raters and showing; one column per coefficient."""
    notes = _Footnotes()
    coefficients = [name for name in ORDER if any(row.coefficient == name for row in rows)]
    if WEIGHTED in coefficients or AC2 in coefficients:
        # On a scale, answers that are close agree in part: the coefficients that know no order are in the CSV.
        coefficients = [name for name in (PERCENT, WEIGHTED, AC2) if name in coefficients]
    lines = dict.fromkeys((row.arm, row.raters, row.showing) for row in rows)
    made = []
    for line in lines:
        of_line = {row.coefficient: row for row in rows if (row.arm, row.raters, row.showing) == line}
        found = []
        for name in coefficients:
            row = of_line.get(name)
            if row is None:
                found.append(Cell("-"))
            else:
                shown = percent_with_interval(row.estimate) if name == PERCENT else with_interval(row.estimate)
                found.append(notes.cell(shown, row.estimate.note))
        items = str(max(row.items for row in of_line.values()))
        made.append((*cells(line[0] or "-", line[1], line[2], items), *found))
    columns = ("Arm", "Rater", "Showing", "Items", *coefficients)
    return Table(caption, columns, tuple(made), notes.listed, 3)


def _scales(results: Results, figures: tuple[Figure, ...]) -> Section:
    return Section("scales", "Answers on scales", (), (), figures)


def _lesions(results: Results) -> Section:
    if not results.lesions:
        return Section("lesions", "Lesions")
    notes = _Footnotes()
    rows = tuple(
        (
            *cells(row.arm or "-", row.rater, str(row.showings), str(row.delineated), str(row.false_positives),
                    str(row.false_negatives)),
            notes.cell(percent_with_interval(row.precision), row.precision.note),
            notes.cell(percent_with_interval(row.sensitivity), row.sensitivity.note),
        )
        for row in results.lesions
    )  # fmt: skip
    columns = ("Arm", "Rater", "Showings", "Delineated", "False pos.", "False neg.", "Precision", "Sensitivity")
    paragraphs = (
        "Lesions summed over showings, as the raters marked them: precision is the share of delineated lesions that "
        "are true, sensitivity the share of true lesions that are delineated, with 95 % bootstrap intervals over "
        "cases. The raters are the reference here; no other was used.",
    )
    table = Table("Lesion-level figures.", columns, rows, notes.listed, 2)
    return Section("lesions", "Lesions", paragraphs, (table,))


def _errors(results: Results, figures: tuple[Figure, ...]) -> Section:
    tables = []
    if results.mark_agreement:
        notes = _Footnotes()
        rows = tuple(
            (
                *cells(_KINDS[row.kind], row.arm or "-", row.between),
                *cells(f"{row.marks[0]} and {row.marks[1]}", str(row.common)),
                notes.cell(percent_with_interval(row.share), row.share.note),
            )
            for row in results.mark_agreement
        )
        caption = (
            f"Do two readings mark the same places (within {SAME_PLACE_MM:g} mm)? Share: 2 × common / sum of marks, "
            "with a 95 % bootstrap interval over cases."
        )
        tables.append(Table(caption, ("Mark", "Arm", "Between", "Marks", "Common", "Share"), rows, notes.listed, 3))
    return Section("errors", "Error map", (), tuple(tables), figures)


def _numbers(results: Results, figures: tuple[Figure, ...]) -> Section:
    if not results.limits:
        return Section("numbers", "Counts and volumes")
    icc: dict[tuple[str, ...], dict[str, Estimate]] = {}
    for coefficient in results.agreement:
        if coefficient.coefficient.startswith("ICC"):
            key = (coefficient.scope, coefficient.question, coefficient.arm, coefficient.raters)
            icc.setdefault(key, {}).setdefault(coefficient.coefficient, coefficient.estimate)
    icc_notes, limit_notes, seen = _Footnotes(), _Footnotes(), set()
    icc_rows, limit_rows = [], []
    order = {variable: n for n, variable in enumerate(dict.fromkeys(row.variable for row in results.limits))}
    for row in sorted(results.limits, key=lambda row: order[row.variable]):
        key = (row.scope, row.variable, row.arm, row.raters)
        if key in seen:
            # Later showings of the same raters are in the CSV.
            continue
        seen.add(key)
        found = icc.get(key, {})
        first, second = (found.get(name, Estimate(None)) for name in ("ICC(2,1)", "ICC(3,1)"))
        named = cells(
            f"{row.variable}, {row.unit}" if row.unit not in ("", "lesions") else row.variable,
            row.arm or "-",
            row.raters or "-",
        )
        repeats = row.repeatability
        icc_rows.append(
            (
                *named,
                Cell(str(first.n)),
                icc_notes.cell(with_interval(first), first.note),
                icc_notes.cell(with_interval(second), second.note),
                icc_notes.cell(with_interval(repeats), repeats.note) if repeats else Cell("-"),
            )
        )
        limits = row.limits
        limit_rows.append(
            (
                *named,
                Cell(str(limits.n)),
                limit_notes.cell(with_interval(limits.bias), limits.note),
                Cell(with_interval(limits.lower)),
                Cell(with_interval(limits.upper)),
            )
        )
    tables = (
        Table(
            "Intraclass correlations, absolute agreement (2,1) and consistency (3,1); repeatability coefficient.",
            ("Number", "Arm", "Rater", "Items", "ICC(2,1)", "ICC(3,1)", "Repeatability"),
            tuple(icc_rows),
            icc_notes.listed,
            3,
        ),
        Table(
            "Bias and 95 % limits of agreement, each with its 95 % interval.",
            ("Number", "Arm", "Rater", "Pairs", "Bias", "Lower limit", "Upper limit"),
            tuple(limit_rows),
            limit_notes.listed,
            3,
        ),
    )
    paragraphs = [
        "One rater: first and second showing (difference: second minus first). Two raters: their first showings "
        "(second minus first rater). Repeatability is what 95 % of differences between two readings of one rater stay "
        "below. ICC intervals rest on the F distribution and are rough for small counts."
    ]
    if any(row.scope == BETWEEN_ARMS for row in results.limits):
        paragraphs.append("Between arms, numbers of the masks themselves are compared (second minus first arm).")
    return Section("numbers", "Counts and volumes", tuple(paragraphs), tables, figures)


def _time(results: Results, figures: tuple[Figure, ...]) -> Section:
    if not any(row.timed for row in results.timing):
        return Section("time", "Time")
    rows = tuple(
        cells(
            row.arm or "-",
            row.rater,
            str(row.timed),
            figure(row.median, 0),
            _quartiles(row),
            figure(row.total_minutes, 0),
            str(row.timed_out),
        )
        for row in results.timing
    )
    columns = ("Arm", "Rater", "Showings", "Median s", "Quartiles s", "Total min", "Timed out")
    tables = [Table("Active time per showing (pauses and idle time not counted).", columns, rows, (), 2)]
    if results.timing_tests:
        tests = tuple(
            cells(
                test.what,
                test.method,
                with_interval(test.ratio) if test.ratio.defined else "-",
                p_value(test.p),
                str(test.n),
                test.note,
            )
            for test in results.timing_tests
        )
        heads = ("What", "Method", "Ratio of times", "p", "n", "Remark")
        tables.append(Table("What time depends on.", heads, tests, (), 2))
    return Section("time", "Time", (), tuple(tables), figures)


def _quartiles(row: TimingRow) -> str:
    if row.median is None:
        return UNDEFINED
    return f"{figure(row.lower_quartile, 0)} to {figure(row.upper_quartile, 0)}"


def _comments(results: Results) -> Section:
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
    table = Table(
        "What raters wrote.",
        ("Case", "Arm", "Rater", "Showing", "Text"),
        tuple(rows[:LONGEST_LIST]),
        rest(rows, LONGEST_LIST),
        9,
    )
    return Section("comments", "Comments", (), (table,))
