"""Rates of positive answers: acceptance per arm and rater, and the majority over all showings of a case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...statistics.intervals import Estimate, over_cases, ratio, wilson
from .agreement import MISSING
from .tidy import Question, RatingTable

MAJORITY = "majority of showings"
UNANIMOUS = "every showing"


@dataclass(frozen=True)
class RateRow:
    """One line of the table of acceptance.

    ``unit`` is ``showing`` or ``case``; ``wilson`` assumes independent units, ``clustered`` resamples whole cases.
    """

    question: str
    arm: str
    rater: str
    unit: str
    positive: int
    answered: int
    missing: int
    wilson: Estimate
    clustered: Estimate
    note: str = ""


def rates(table: RatingTable, question: Question, seed: int) -> list[RateRow]:
    """Share of positive answers per arm: each rater, all raters, and case by case.

    The majority of a case and arm is positive if more than half of the answers to all its showings are; a tie is not.

    Parameters
    ----------
    table : RatingTable
    question : Question
        A binary one.
    seed : int

    Returns
    -------
    list of RateRow

    References
    ----------
    S5 counted 101 and 99 of 106 showings acceptable, 50 of 53 cases on average.
    """
    rows: list[RateRow] = []
    for arm in table.arms:
        for label, raters, shown in table.groups(arm):
            columns = [(rater, repeat) for rater in raters for repeat in table.repeats]
            values, _ = table.matrix(question, [arm], columns)
            rows.append(_of_showings(question, arm, label, values, len(shown), seed))
        columns = [(rater, repeat) for rater in table.raters for repeat in table.repeats]
        if len(columns) > 1:
            values, _ = table.matrix(question, [arm], columns)
            rows += _of_cases(question, arm, values)
    return rows


def _of_showings(question: Question, arm: str, rater: str, values: np.ndarray, shown: int, seed: int) -> RateRow:
    answered, positive = (values != MISSING).sum(axis=1), (values == 1).sum(axis=1)
    sums = np.column_stack([positive, answered]).astype(float)
    total, yes = int(answered.sum()), int(positive.sum())
    of_showings = clustered = wilson(yes, total)
    if total:
        name = f"rate/{question.id}/{arm}/{rater}"
        clustered = over_cases(sums, lambda s: ratio(s[..., 0], s[..., 1]), name, seed)
    return RateRow(question.id, arm, rater, "showing", yes, total, shown - total, of_showings, clustered)


def _of_cases(question: Question, arm: str, values: np.ndarray) -> list[RateRow]:
    answered, positive = (values != MISSING).sum(axis=1), (values == 1).sum(axis=1)
    ties = int((2 * positive == answered).sum())
    notes = [f"Ties counted as not {question.categories[1]}: {ties}." if ties else "", ""]
    counts = [int((2 * positive > answered).sum()), int((positive == answered).sum())]
    cases = len(values)
    return [
        RateRow(
            question.id,
            arm,
            label,
            "case",
            count,
            cases,
            0,
            wilson(count, cases),
            Estimate(None, note="One value a case: Wilson's interval holds."),
            note,
        )
        for label, count, note in zip((MAJORITY, UNANIMOUS), counts, notes, strict=True)
    ]


def majority(table: RatingTable, question: Question, arm: str) -> dict[str, bool | None]:
    """Case -> whether the majority of its showings in an arm is positive; None for a tie.

    Cases without an answer are not in it.
    """
    columns = [(rater, repeat) for rater in table.raters for repeat in table.repeats]
    values, clusters = table.matrix(question, [arm], columns)
    decided: dict[str, bool | None] = {}
    for row, n in zip(values, clusters, strict=True):
        answered, positive = int((row != MISSING).sum()), int((row == 1).sum())
        decided[table.cases[n]] = None if 2 * positive == answered else 2 * positive > answered
    return decided
