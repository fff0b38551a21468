"""Comparison of acceptance between arms: McNemar's test on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ...statistics.intervals import Estimate, over_cases
from .rates import MAJORITY, majority
from .tidy import Question, RatingTable
from .wording import counted


@dataclass(frozen=True)
class ComparisonRow:
    """Paired 2 x 2 table of one question in two arms, the difference of their rates (a minus b), and its test."""

    question: str
    arm_a: str
    arm_b: str
    rater: str
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: Estimate
    p: float | None
    p_holm: float | None = None
    note: str = ""


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's exact (binomial) test; 1 if no pair is discordant.

    Parameters
    ----------
    only_a, only_b : int
        Pairs that are positive in one arm only.

    References
    ----------
    McNemar Q. Note on the sampling error of the difference between correlated proportions or percentages.
    Psychometrika 1947;12:153-157.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    if only_a + only_b == 0:
        return 1.0
    return min(1.0, float(mcnemar(np.array([[0, only_a], [only_b, 0]]), exact=True).pvalue))


def compare_arms(table: RatingTable, question: Question, seed: int) -> list[ComparisonRow]:
    """McNemar's test for each pair of arms: per rater at the first showing, and for the majority of showings.

    Returns
    -------
    list of ComparisonRow
        p values adjusted after Holm over all rows; empty with fewer than two arms.
    """
    rows: list[ComparisonRow] = []
    for arm_a, arm_b in combinations(table.arms, 2):
        for rater in table.raters:
            answers = [_first_showing(table, question, arm, rater) for arm in (arm_a, arm_b)]
            rows.append(_compare(table, question, arm_a, arm_b, rater, answers, seed))
        if len(table.raters) * len(table.repeats) > 1:
            answers = [majority(table, question, arm) for arm in (arm_a, arm_b)]
            rows.append(_compare(table, question, arm_a, arm_b, MAJORITY, answers, seed))
    return _holm(rows)


def _first_showing(table: RatingTable, question: Question, arm: str, rater: str) -> dict[str, bool | None]:
    values, clusters = table.matrix(question, [arm], [(rater, table.repeats[0])])
    return {table.cases[n]: bool(value == 1) for n, (value,) in zip(clusters, values, strict=True)}


def _compare(
    table: RatingTable,
    question: Question,
    arm_a: str,
    arm_b: str,
    rater: str,
    answers: Sequence[Mapping[str, bool | None]],
    seed: int,
) -> ComparisonRow:
    in_a, in_b = answers
    cases = [c for c in table.cases if in_a.get(c) is not None and in_b.get(c) is not None]
    pairs = np.array([(in_a[c], in_b[c]) for c in cases], dtype=bool).reshape(-1, 2)
    a, b = pairs[:, 0], pairs[:, 1]
    both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum())
    neither = len(pairs) - both - only_a - only_b
    if not cases:
        nothing = Estimate(None, note="No case has an answer in both arms.")
        return ComparisonRow(question.id, arm_a, arm_b, rater, 0, 0, 0, 0, nothing, None, None, nothing.note)
    sums = np.column_stack([a.astype(float) - b, np.ones(len(a))])
    name = f"mcnemar/{question.id}/{arm_a}/{arm_b}/{rater}"
    difference = over_cases(sums, lambda s: s[..., 0] / s[..., 1], name, seed)
    notes = []
    left_out = len(set(in_a) | set(in_b)) - len(cases)
    if left_out:
        notes.append(f"Left out: {counted(left_out, 'case')} without a decision in both arms.")
    if only_a + only_b == 0:
        notes.append("No case was decided differently in the two arms: p is 1 by definition.")
        difference = replace(difference, note="")
    p = mcnemar_exact(only_a, only_b)
    return ComparisonRow(
        question.id, arm_a, arm_b, rater, both, only_a, only_b, neither, difference, p, None, " ".join(notes)
    )


def _holm(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """The rows with p values adjusted for their number (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    tested = [row.p for row in rows if row.p is not None]
    adjusted = iter(multipletests(tested, method="holm")[1] if tested else ())
    return [row if row.p is None else replace(row, p_holm=float(next(adjusted))) for row in rows]
