"""All results computed from a rating table, for report and CSV files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..._optional import package_versions
from ...progress import CancelToken, ProgressCallback, Reporter
from ...statistics.intervals import Estimate
from ...statistics.reliability import (
    LimitsOfAgreement,
    bland_altman,
    intraclass_correlations,
    repeatability_coefficient,
)
from ..records import ACCEPTABILITY, CorrectionRow, MarkRow
from .agreement import Coefficient, coefficients
from .comparison import ComparisonRow, compare_arms
from .inputs import AnalysisInputs, StudyDescription
from .lesions import LesionRow, MapPoint, MarkAgreementRow, lesion_rows, map_points, mark_agreement
from .rates import RateRow, rates
from .tidy import BINARY, NOMINAL, NUMBER, ORDERED, Exclusion, Question, RatingTable, tabulate
from .timing import TimingRow, TimingTest, timing_rows, timing_tests

INTRA, INTER, RULE, BETWEEN_ARMS = "intra-rater", "inter-rater", "decision and rule", "between arms"
ALL_ARMS = "all arms"
#: Numbers of every showing, beside numeric questions: column of the table, name, unit.
COUNTS = (("false_positives", "False positives", "lesions"), ("false_negatives", "False negatives", "lesions"))
MASK_NUMBERS = (("delineated", "Delineated lesions", "lesions"), ("delineated_ml", "Lesion volume", "ml"))
#: Packages whose versions belong in a methods section.
_PACKAGES = ("numpy", "scipy", "statsmodels", "pandas", "matplotlib")
#: Fractions at which each part of the computation starts and ends.
_PARTS = {"table": 0.1, "acceptance": 0.2, "agreement": 0.6, "numbers": 0.8, "time": 0.9, "lesions": 1.0}


@dataclass(frozen=True)
class AgreementRow:
    """One coefficient of agreement, with its raters and question."""

    scope: str
    question: str
    arm: str
    raters: str
    showing: str
    coefficient: str
    items: int
    estimate: Estimate


@dataclass(frozen=True)
class LimitsRow:
    """Bland-Altman analysis of one number, with the pairs shown in the figure."""

    scope: str
    variable: str
    unit: str
    arm: str
    raters: str
    limits: LimitsOfAgreement
    repeatability: Estimate | None
    first: tuple[float, ...]
    second: tuple[float, ...]


@dataclass(frozen=True)
class Results:
    """All figures of one analysis."""

    study: StudyDescription
    table: RatingTable
    seed: int
    exclusions: tuple[Exclusion, ...]
    failures: tuple[str, ...]
    rates: tuple[RateRow, ...]
    agreement: tuple[AgreementRow, ...]
    limits: tuple[LimitsRow, ...]
    comparisons: tuple[ComparisonRow, ...]
    timing: tuple[TimingRow, ...]
    timing_tests: tuple[TimingTest, ...]
    lesions: tuple[LesionRow, ...]
    mark_agreement: tuple[MarkAgreementRow, ...]
    marks: tuple[MarkRow, ...]
    map_points: tuple[MapPoint, ...]
    framed_cases: int
    corrections: tuple[CorrectionRow, ...]
    versions: Mapping[str, str]


def compute(
    inputs: AnalysisInputs,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> Results:
    """Compute every figure of a rating study.

    Parameters
    ----------
    inputs : AnalysisInputs
    seed : int
        Seed of the bootstrap, not negative.
    progress : callable, optional
        ``progress(fraction, stage)``.
    cancel : CancelToken or callable, optional

    Returns
    -------
    Results

    Raises
    ------
    InvalidRatingsError
        If there are no ratings or they contradict each other.
    MissingDependencyError
        If statsmodels is not installed.
    Cancelled
        When the user cancelled.
    """
    from .dependencies import require_statistics

    require_statistics()
    reporter = Reporter(progress, cancel)
    exclusions = tuple(inputs.exclusions)
    with reporter.stage("table", 0.0, _PARTS["table"]):
        table = tabulate(inputs.ratings, inputs.expected, exclusions)
        kept = set(zip(*(table.showings[n] for n in ("case", "arm", "rater", "repeat")), strict=True))
        shown_marks = tuple(m for m in inputs.marks if not m.training and (m.case, m.arm, m.rater, m.repeat) in kept)
    binary = table.of_kind(BINARY)
    with reporter.stage("acceptance", _PARTS["table"], _PARTS["acceptance"]):
        all_rates = [row for question in binary for row in rates(table, question, seed)]
        comparisons = [row for question in binary for row in compare_arms(table, question, seed)]
    with reporter.stage("agreement", _PARTS["acceptance"], _PARTS["agreement"]):
        agreement = _category_agreement(table, seed, reporter)
    with reporter.stage("numbers", _PARTS["agreement"], _PARTS["numbers"]):
        number_agreement, limits = _number_agreement(table)
    with reporter.stage("time", _PARTS["numbers"], _PARTS["time"]):
        times, tests = timing_rows(table), timing_tests(table)
    with reporter.stage("lesions", _PARTS["time"], _PARTS["lesions"]):
        lesions = lesion_rows(table, seed)
        agreed_marks = mark_agreement(table, shown_marks, seed) if shown_marks else []
        points = map_points(shown_marks, inputs.frames)
    return Results(
        inputs.study,
        table,
        seed,
        exclusions,
        tuple(inputs.failures),
        tuple(all_rates),
        (*agreement, *number_agreement),
        tuple(limits),
        tuple(comparisons),
        tuple(times),
        tuple(tests),
        tuple(lesions),
        tuple(agreed_marks),
        shown_marks,
        tuple(points),
        len({m.case for m in shown_marks} & set(inputs.frames)),
        tuple(inputs.corrections),
        package_versions(_PACKAGES),
    )


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ... of a number that counts from 0."""
    n = number + 1
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _arm_groups(table: RatingTable) -> list[tuple[str, tuple[str, ...]]]:
    """Each arm, and all of them where there are several."""
    groups: list[tuple[str, tuple[str, ...]]] = [(arm, (arm,)) for arm in table.arms]
    return [*groups, (ALL_ARMS, table.arms)] if len(table.arms) > 1 else groups


def _groups_of_raters(table: RatingTable) -> list[tuple[str, str, str, list[tuple[str, int]]]]:
    """(scope, raters, showing, columns) of every comparison: within raters, between pairs, and among all."""
    groups = []
    if len(table.repeats) > 1:
        label = "all showings" if len(table.repeats) > 2 else "1st and 2nd"
        groups += [(INTRA, rater, label, [(rater, repeat) for repeat in table.repeats]) for rater in table.raters]
    for repeat in table.repeats:
        for pair in combinations(table.raters, 2):
            groups.append((INTER, " and ".join(pair), ordinal(repeat), [(rater, repeat) for rater in pair]))
        if len(table.raters) > 2:
            label = f"all {len(table.raters)} raters"
            groups.append((INTER, label, ordinal(repeat), [(rater, repeat) for rater in table.raters]))
    return groups


def _category_agreement(table: RatingTable, seed: int, reporter: Reporter) -> list[AgreementRow]:
    rows: list[AgreementRow] = []
    questions = table.of_kind(BINARY, ORDERED, NOMINAL)
    groups = _groups_of_raters(table)
    for n, question in enumerate(questions):
        for m, (scope, raters, showing, columns) in enumerate(groups):
            reporter.update((n + m / len(groups)) / len(questions))
            for arm, arms in _arm_groups(table):
                ratings, clusters = table.matrix(question, arms, columns)
                name = f"{question.id}/{scope}/{arm}/{raters}/{showing}"
                found = coefficients(ratings, len(question.categories), question.kind == ORDERED, clusters, name, seed)
                rows += [_agreement_row(scope, question.id, arm, raters, showing, c) for c in found]
        if question.response_type == ACCEPTABILITY:
            rows += _rule_agreement(table, question, seed)
    return rows


def _agreement_row(scope: str, what: str, arm: str, raters: str, showing: str, found: Coefficient) -> AgreementRow:
    return AgreementRow(scope, what, arm, raters, showing, found.name, found.items, found.estimate)


def _rule_agreement(table: RatingTable, question: Question, seed: int) -> list[AgreementRow]:
    """Rate at which raters followed the proposal of S5's rule from their own counts."""
    proposals = table.showings.dropna(subset=["proposed"])
    if proposals.empty:
        return []
    index = {category: n for n, category in enumerate(question.categories)}
    cases = {case: n for n, case in enumerate(table.cases)}
    rows = []
    answers = table.answers[(table.answers["question"] == question.id) & table.answers["value"].notna()]
    merged = proposals.merge(
        answers[["case", "arm", "rater", "repeat", "value"]], on=["case", "arm", "rater", "repeat"]
    )
    merged = merged[merged["proposed"].isin(list(index))]
    for rater in table.raters:
        of_rater = merged[merged["rater"] == rater]
        if of_rater.empty:
            continue
        pairs = np.array([[index[p], index[v]] for p, v in zip(of_rater["proposed"], of_rater["value"], strict=True)])
        clusters = [cases[case] for case in of_rater["case"]]
        found = coefficients(pairs, 2, False, clusters, f"{question.id}/{RULE}/{rater}", seed)
        arm = ALL_ARMS if len(table.arms) > 1 else table.arms[0]
        rows += [_agreement_row(RULE, question.id, arm, rater, "all showings", c) for c in found]
    return rows


def _number_agreement(table: RatingTable) -> tuple[list[AgreementRow], list[LimitsRow]]:
    rows: list[AgreementRow] = []
    limits: list[LimitsRow] = []

    def add(scope: str, name: str, unit: str, arm: str, raters: str, showing: str, values: np.ndarray) -> None:
        for coefficient in ("ICC(2,1)", "ICC(3,1)"):
            figure = intraclass_correlations(values)[coefficient]
            rows.append(AgreementRow(scope, name, arm, raters, showing, coefficient, figure.n, figure))
        repeatability = repeatability_coefficient(values) if scope == INTRA else None
        if repeatability is not None:
            rows.append(
                AgreementRow(
                    scope,
                    name,
                    arm,
                    raters,
                    showing,
                    f"Repeatability coefficient ({unit})" if unit else "Repeatability coefficient",
                    repeatability.n,
                    repeatability,
                )
            )
        first, second = values[:, 0], values[:, 1]
        both = np.isfinite(first) & np.isfinite(second)
        pairs = (tuple(first[both].tolist()), tuple(second[both].tolist()))
        limits.append(LimitsRow(scope, name, unit, arm, raters, bland_altman(first, second), repeatability, *pairs))

    for arm in table.arms:
        for scope, raters, showing, columns in _groups_of_raters(table):
            if len(columns) > 2 and scope == INTER:
                continue
            for column, name, unit in COUNTS:
                values, _ = table.showing_matrix(column, [arm], columns)
                if len(values):
                    add(scope, name, unit, arm, raters, showing, values)
            for question in table.of_kind(NUMBER):
                values, _ = table.matrix(question, [arm], columns)
                if len(values):
                    add(scope, question.name, "", arm, raters, showing, values)
    for arm_a, arm_b in combinations(table.arms, 2):
        for column, name, unit in MASK_NUMBERS:
            of_mask = table.showings.dropna(subset=[column]).groupby(["case", "arm"])[column].first()
            pairs = [[of_mask.get((case, arm), np.nan) for arm in (arm_a, arm_b)] for case in table.cases]
            values = np.array(pairs, dtype=float)
            if np.isfinite(values).all(axis=1).any():
                add(BETWEEN_ARMS, name, unit, f"{arm_a} and {arm_b}", "", "", values)
    return rows, limits


def question_names(questions: Sequence[Question]) -> dict[str, str]:
    """Question id -> its name in tables."""
    return {question.id: question.name for question in questions}
