"""Agreement on categories: percent, Cohen's, weighted and Fleiss' kappa, Gwet's AC1 and AC2.

Ratings are arrays of shape (items, raters): the index of the category that a rater gave, -1 where there is no answer.
For intra-rater agreement the "raters" are one rater's repeats. statsmodels computes the kappas. Gwet's coefficients
have no maintained, compatible library in Python (irrCAC pins SciPy 1.12, which excludes NumPy 2), so they are
implemented here after Gwet 2008 and 2014, and checked against his published tables.

Every coefficient is a function of sums over items; :mod:`.intervals` draws whole cases of these sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...statistics.intervals import Estimate, estimate, over_cases, ratio, wilson
from .wording import counted

MISSING = -1
#: Names of the coefficients, as tables and CSV show them.
PERCENT, COHEN, WEIGHTED, FLEISS, AC1, AC2 = (
    "Percent agreement",
    "Cohen kappa",
    "Weighted kappa (quadratic)",
    "Fleiss kappa",
    "Gwet AC1",
    "Gwet AC2 (quadratic)",
)
_ONE_CATEGORY = (
    "All answers are in one category, so chance agreement is complete and this coefficient is 0/0: "
    "see percent agreement and Gwet's coefficient."
)
_NO_ITEMS = "No item has two answers to compare."


def quadratic_weights(categories: int) -> np.ndarray:
    """Agreement weights 1 - (k - l)^2 / (q - 1)^2, shape (q, q).

    References
    ----------
    Fleiss JL, Cohen J. The equivalence of weighted kappa and the intraclass correlation coefficient as measures of
    reliability. Educ Psychol Meas 1973;33:613-619.
    """
    if categories < 2:
        return np.ones((categories, categories))
    k = np.arange(categories)
    return 1.0 - (k[:, None] - k[None, :]) ** 2 / (categories - 1) ** 2


def category_counts(ratings: np.ndarray, categories: int) -> np.ndarray:
    """Count the raters who put each item into each category.

    Parameters
    ----------
    ratings : ndarray of int, shape (items, raters)
        Category indices, -1 where missing.
    categories : int
        Number of categories that the question offers, used or not.

    Returns
    -------
    ndarray of float, shape (items, categories)
    """
    ratings = np.asarray(ratings, dtype=int)
    out: np.ndarray = (ratings[:, :, None] == np.arange(categories)).sum(axis=1).astype(float)
    return out


def percent_agreement(counts: np.ndarray) -> float:
    """Mean over items of the share of pairs of raters that agree, in [0, 1]; nan if no item has two answers."""
    counts = np.asarray(counts, dtype=float)
    return float(_percent(_count_sums(counts, np.eye(counts.shape[1])).sum(axis=0)))


def cohen_kappa(table: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Cohen's kappa of a table of two raters; with agreement weights, weighted kappa. nan where it is 0/0.

    Parameters
    ----------
    table : ndarray, shape (q, q)
        Counts or proportions.
    weights : ndarray, shape (q, q), optional
        Agreement weights with 1 on the diagonal, for instance :func:`quadratic_weights`.

    References
    ----------
    Cohen J. A coefficient of agreement for nominal scales. Educ Psychol Meas 1960;20:37-46.
    Cohen J. Weighted kappa. Psychol Bull 1968;70:213-220.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    table = np.asarray(table, dtype=float)
    if not _kappa_defined(table):
        return math.nan
    if weights is None:
        return float(cohens_kappa(table, return_results=False))
    # statsmodels wants disagreement weights.
    return float(cohens_kappa(table, weights=1.0 - np.asarray(weights, dtype=float), return_results=False))


def fleiss_kappa(counts: np.ndarray) -> float:
    """Fleiss' kappa of counts per item and category, every item rated by the same number; nan where it is 0/0.

    References
    ----------
    Fleiss JL. Measuring nominal scale agreement among many raters. Psychol Bull 1971;76:378-382.
    """
    from statsmodels.stats.inter_rater import fleiss_kappa as library

    counts = np.asarray(counts, dtype=float)
    if not len(counts) or counts.sum(axis=1).max() < 2 or np.count_nonzero(counts.sum(axis=0)) < 2:
        return math.nan
    return float(library(counts))


def gwet_ac(counts: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Gwet's AC1; with agreement weights, AC2. Items may lack answers.

    Parameters
    ----------
    counts : ndarray, shape (items, q)
        Raters per item and category. Items with one answer contribute to category prevalence, after Gwet.
    weights : ndarray, shape (q, q), optional
        Agreement weights with 1 on the diagonal.

    Returns
    -------
    float
        nan if no item has two answers.

    References
    ----------
    Gwet KL. Computing inter-rater reliability and its variance in the presence of high agreement. Br J Math Stat
    Psychol 2008;61:29-48.
    Gwet KL. Handbook of Inter-Rater Reliability, 4th ed. Advanced Analytics, 2014.
    """
    counts = np.asarray(counts, dtype=float)
    weights = np.eye(counts.shape[1]) if weights is None else np.asarray(weights, dtype=float)
    return float(_gwet(_count_sums(counts, weights).sum(axis=0), weights))


@dataclass(frozen=True)
class Coefficient:
    """One agreement coefficient of one set of ratings."""

    name: str
    estimate: Estimate
    #: Items (case and arm) with at least two answers.
    items: int


def coefficients(
    ratings: np.ndarray, categories: int, ordered: bool, clusters: Sequence[int] | np.ndarray, name: str, seed: int
) -> list[Coefficient]:
    """Every coefficient applicable to a question, with bootstrap intervals over cases.

    Parameters
    ----------
    ratings : ndarray of int, shape (items, raters)
        Category indices, -1 where missing.
    categories : int
        Number of categories that the question offers.
    ordered : bool
        Whether they are ordered: adds weighted kappa and AC2.
    clusters : sequence of int, one per item
        Index of the case that the item belongs to.
    name, seed
        Name and seed of the random numbers, see :func:`~.intervals.over_cases`.

    Returns
    -------
    list of Coefficient
        Cohen's kappas only for two raters; Fleiss' kappa on the items that all raters answered.
    """
    ratings = np.asarray(ratings, dtype=int)
    counts = category_counts(ratings, categories)
    answered = counts.sum(axis=1)
    two = answered >= 2
    cluster_of = np.asarray(clusters, dtype=int)
    plain, quadratic = np.eye(categories), quadratic_weights(categories)
    items = int(two.sum())
    one_category = items > 0 and np.count_nonzero(counts[two].sum(axis=0)) == 1
    undefined = _NO_ITEMS if items == 0 else _ONE_CATEGORY if one_category else ""
    found: list[Coefficient] = []

    def add(
        what: str,
        rows: np.ndarray,
        kept: np.ndarray,
        statistic: Callable[[np.ndarray], np.ndarray],
        point: float,
        note: str = "",
    ) -> None:
        sums = _by_cluster(rows, cluster_of[kept])
        figure = over_cases(sums, statistic, f"{name}/{what}", seed, point) if items else estimate(math.nan)
        if not figure.defined:
            note = undefined or _NO_ITEMS
        figure = replace(figure, note=" ".join(part for part in (figure.note, note) if part))
        found.append(Coefficient(what, figure, int(np.count_nonzero(kept & two))))

    everything = np.ones(len(ratings), dtype=bool)
    if items and ratings.shape[1] == 2 and len(np.unique(cluster_of[two])) == items:
        # One pair a case: the pairs are independent, and Wilson's interval keeps its width when all agree.
        found.append(Coefficient(PERCENT, wilson(int(counts[two].max(axis=1).sum() - items), items), items))
    else:
        add(PERCENT, _count_sums(counts, plain), everything, _percent, percent_agreement(counts))
    if ratings.shape[1] == 2:
        tables = _pair_tables(ratings, categories)
        table = tables.sum(axis=0)
        add(COHEN, tables[two], two, lambda s: _kappa(s, plain), cohen_kappa(table.reshape(categories, -1)))
        if ordered:
            weighted = cohen_kappa(table.reshape(categories, -1), quadratic)
            add(WEIGHTED, tables[two], two, lambda s: _kappa(s, quadratic), weighted)
    complete = two & (answered == ratings.shape[1])
    left_out = int(two.sum() - complete.sum())
    note = f"Left out: {counted(left_out, 'item')} that not all raters answered." if left_out else ""
    add(FLEISS, _count_sums(counts[complete], plain), complete, _fleiss, fleiss_kappa(counts[complete]), note)
    add(AC1, _count_sums(counts, plain), everything, lambda s: _gwet(s, plain), gwet_ac(counts))
    if ordered:
        add(AC2, _count_sums(counts, quadratic), everything, lambda s: _gwet(s, quadratic), gwet_ac(counts, quadratic))
    return found


def _by_cluster(rows: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sums of the rows of each case, shape (cases, m)."""
    labels, inverse = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(labels), rows.shape[1]))
    np.add.at(sums, inverse, rows)
    return sums


def _pair_tables(ratings: np.ndarray, categories: int) -> np.ndarray:
    """Contingency table of each item, flattened, shape (items, q * q); zeros where an answer is missing."""
    both = (ratings != MISSING).all(axis=1)
    tables = np.zeros((len(ratings), categories * categories))
    tables[np.flatnonzero(both), ratings[both, 0] * categories + ratings[both, 1]] = 1.0
    return tables


def _count_sums(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Per item: 1 and its share of agreeing pairs if two rated it; 1 and its shares of categories if one did.

    Shape (items, 3 + q): [items with two, pairs that agree, items with one, shares of categories...].
    """
    raters = counts.sum(axis=1)
    two, one = raters >= 2, raters >= 1
    with np.errstate(invalid="ignore", divide="ignore"):
        agreeing = (counts * (counts @ weights.T - 1.0)).sum(axis=1) / (raters * (raters - 1.0))
        shares = counts / raters[:, None]
    return np.column_stack([two, np.where(two, agreeing, 0.0), one, np.where(one[:, None], shares, 0.0)]).astype(float)


def _percent(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 1], sums[..., 0])


def _fleiss(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        by_chance = ((sums[..., 3:] / sums[..., 2:3]) ** 2).sum(axis=-1)
        return _corrected(_percent(sums), by_chance)


def _gwet(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    categories = len(weights)
    if categories < 2:
        return np.full(np.shape(sums)[:-1], math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = sums[..., 3:] / sums[..., 2:3]
        by_chance = weights.sum() / (categories * (categories - 1)) * (shares * (1.0 - shares)).sum(axis=-1)
        return _corrected(_percent(sums), by_chance)


def _kappa(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    q = len(weights)
    tables = sums.reshape(*sums.shape[:-1], q, q)
    with np.errstate(invalid="ignore", divide="ignore"):
        tables = tables / tables.sum(axis=(-1, -2), keepdims=True)
        expected = tables.sum(axis=-1)[..., :, None] * tables.sum(axis=-2)[..., None, :]
        return _corrected((tables * weights).sum(axis=(-1, -2)), (expected * weights).sum(axis=(-1, -2)))


def _corrected(observed: np.ndarray, by_chance: np.ndarray) -> np.ndarray:
    """Agreement beyond chance; nan if chance agreement is complete (to rounding)."""
    room = 1.0 - by_chance
    return np.where(room > 1e-12, (observed - by_chance) / np.where(room > 1e-12, room, 1.0), math.nan)


def _kappa_defined(table: np.ndarray) -> bool:
    """Whether the raters together used two categories or more."""
    return bool(table.sum() > 0 and np.count_nonzero(table.sum(axis=0) + table.sum(axis=1)) > 1)
