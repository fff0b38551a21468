"""Groups of a cohort side by side: by site, by group, and along age, with effect sizes and their intervals.

The unit is the subject: several sessions of one subject are not independent, so each subject counts with its first
session whose result can be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ..reporting.wording import counted
from ..review.verdict import REJECTED
from ..statistics.effects import (
    FEWEST,
    FEWEST_PAIRS,
    cliffs_delta,
    holm,
    mann_whitney_p,
    median_difference,
    rank_eta_squared,
    resampled_medians,
    spearman,
)
from ..statistics.intervals import Estimate
from .bids_labels import rows_in_order
from .measures import RESULTS, Measure, quality_measures, with_result
from .model import SessionRow

#: Up to so many groups are compared in pairs; more are compared each with all others together.
MOST_IN_PAIRS = 5
#: More groups than this are not compared one by one: the largest are.
MOST_GROUPS = 20
#: Grouping variables of a page.
SITE, GROUP = "site", "group"
ALL_OTHERS = "all others"
SEED = 18


@dataclass(frozen=True)
class Summary:
    """One measure in one group: n, median and quartiles."""

    measure: Measure
    group: str
    n: int
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """One measure between two groups; differences are second minus first."""

    measure: Measure
    first: str
    second: str
    n_first: int
    n_second: int
    difference: Estimate
    delta: Estimate
    p: float
    p_holm: float = float("nan")


@dataclass(frozen=True)
class Omnibus:
    """One measure over all groups."""

    measure: Measure
    groups: int
    effect: Estimate
    p: float
    p_holm: float = float("nan")


@dataclass(frozen=True)
class Association:
    """One measure along age."""

    measure: Measure
    rho: Estimate
    p: float
    p_holm: float = float("nan")


@dataclass(frozen=True)
class Comparison:
    """All measures by one grouping.

    Attributes
    ----------
    by : str
        ``site`` or ``group``.
    groups : dict of str to list of SessionRow
        Those that are compared, the largest first.
    too_small : dict of str to int
        Groups that are not, with their number of subjects.
    unnamed : int
        Subjects of no group.
    refused : str
        Why there is no comparison; empty otherwise.
    """

    by: str
    groups: Mapping[str, Sequence[SessionRow]]
    too_small: Mapping[str, int]
    unnamed: int
    refused: str = ""
    summaries: tuple[Summary, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    omnibus: tuple[Omnibus, ...] = ()


def first_usable(rows: Sequence[SessionRow]) -> list[SessionRow]:
    """One row a subject: of the sessions whose result can be used, the first by date where all have one, else by name.

    Left out are results that cannot be trusted and those that a reader rejected; sessions below a bar of image quality
    stay.
    """
    usable: dict[str, list[SessionRow]] = {}
    for row in with_result(rows):
        if row.trusted and row.verdict != REJECTED:
            usable.setdefault(row.session.subject, []).append(row)
    return [rows_in_order(usable[subject])[0] for subject in sorted(usable)]


def compare_groups(rows: Sequence[SessionRow], by: str) -> Comparison:
    """Compare all measures between the sites or groups of subjects.

    Parameters
    ----------
    rows : sequence of SessionRow
        One for each subject, see :func:`first_usable`.
    by : str
        ``site`` or ``group``. Image quality is compared between sites only.

    Returns
    -------
    Comparison
        Groups under three subjects are named and not compared.
    """
    named: dict[str, list[SessionRow]] = {}
    for row in rows:
        named.setdefault(str(getattr(row.session, by)), []).append(row)
    unnamed = len(named.pop("", ()))
    ordered = dict(sorted(named.items(), key=lambda item: (-len(item[1]), item[0])))
    groups = {name: members for name, members in ordered.items() if len(members) >= FEWEST}
    small = {name: len(members) for name, members in ordered.items() if len(members) < FEWEST}
    made = Comparison(by, groups, small, unnamed)
    if len(groups) < 2:
        return replace(made, refused=_refusal(by, ordered, groups))
    results = [_compare(groups, measure) for measure in (*RESULTS, *(quality_measures(rows) if by == SITE else ()))]
    adjusted = holm([c.p for _, contrasts, _ in results for c in contrasts])
    contrasts = [c for _, found, _ in results for c in found]
    omnibus = [one for _, _, one in results if one is not None]
    return replace(
        made,
        summaries=tuple(s for summaries, _, _ in results for s in summaries),
        contrasts=tuple(replace(c, p_holm=p) for c, p in zip(contrasts, adjusted, strict=True)),
        omnibus=tuple(
            replace(one, p_holm=p) for one, p in zip(omnibus, holm([o.p for o in omnibus]), strict=True)
        ),
    )  # fmt: skip


def _refusal(by: str, named: Mapping[str, Sequence[SessionRow]], groups: Mapping[str, Sequence[SessionRow]]) -> str:
    if not named:
        return f"No subject has a {by}: nothing to compare. A table of covariates can provide it."
    if len(named) == 1:
        return f"All subjects are of one {by}: nothing to compare."
    return (
        f"Of {counted(len(named), by)}, {len(groups) or 'none'} has {FEWEST} or more subjects "
        "with a result that can be used: nothing is compared, since differences between so few are not informative."
    )


def _compare(
    groups: Mapping[str, Sequence[SessionRow]], measure: Measure
) -> tuple[list[Summary], list[Contrast], Omnibus | None]:
    values = {name: _known(measure, members) for name, members in groups.items()}
    summaries = [
        Summary(measure, name, len(v), *(float(q) for q in np.quantile(v, (0.5, 0.25, 0.75))))
        for name, v in values.items()
        if len(v)
    ]
    values = {name: v for name, v in values.items() if len(v) >= FEWEST}
    if len(values) < 2:
        return summaries, [], None
    contrasts = [
        Contrast(
            measure, first, second, len(a), len(b), median_difference(a, b, *medians), cliffs_delta(a, b),
            mann_whitney_p(a, b),
        )
        for first, second, a, b, medians in _pairs(values, measure)
    ]  # fmt: skip
    omnibus = Omnibus(measure, len(values), *rank_eta_squared(list(values.values()))) if len(values) > 2 else None
    return summaries, contrasts, omnibus


Pair = tuple[str, str, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]


def _pairs(values: Mapping[str, np.ndarray], measure: Measure) -> list[Pair]:
    """Pairs of groups with their resampled medians: all pairs, or each group with all others together."""

    def medians(name: str, of: np.ndarray) -> np.ndarray:
        return resampled_medians(of, f"{measure.id}/{name}", SEED)

    drawn = {name: medians(name, v) for name, v in list(values.items())[:MOST_GROUPS]}
    if len(values) <= MOST_IN_PAIRS:
        return [(a, b, values[a], values[b], (drawn[a], drawn[b])) for a, b in combinations(values, 2)]
    pairs: list[Pair] = []
    for name in drawn:
        others = np.concatenate([v for other, v in values.items() if other != name])
        pairs.append(
            (ALL_OTHERS, name, others, values[name], (medians(f"not {name}", others), drawn[name]))
        )  # fmt: skip
    return pairs


def along_age(rows: Sequence[SessionRow]) -> tuple[tuple[Association, ...], str]:
    """Rank correlations of all results with age, and why there are none.

    Parameters
    ----------
    rows : sequence of SessionRow
        One for each subject, see :func:`first_usable`.
    """
    aged = [row for row in rows if row.session.age is not None and np.isfinite(row.session.age)]
    if len(aged) < FEWEST_PAIRS:
        told = f"{counted(len(aged), 'subject')} with a result that can be used and an age" if aged else "No ages"
        return (), f"{told}: nothing is correlated; {FEWEST_PAIRS} are needed."
    age = np.array([float(row.session.age or 0) for row in aged])
    found = []
    for measure in RESULTS:
        values = measure.values(aged)
        known = np.isfinite(values)
        if known.any():
            found.append(Association(measure, *spearman(age[known], values[known])))
    adjusted = holm([one.p for one in found])
    return tuple(replace(one, p_holm=p) for one, p in zip(found, adjusted, strict=True)), ""


def _known(measure: Measure, rows: Sequence[SessionRow]) -> np.ndarray:
    values = measure.values(rows)
    known: np.ndarray = values[np.isfinite(values)]
    return known
