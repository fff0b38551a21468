"""The part of a cohort's page that compares sites, groups and ages."""

from __future__ import annotations

from collections.abc import Sequence

from ..reporting.layout import Footnotes, Section, Table, cells
from ..reporting.wording import between, counted, figure, listed, p_value
from ..statistics.intervals import Estimate
from .groups import (
    ALL_OTHERS,
    GROUP,
    MOST_GROUPS,
    MOST_IN_PAIRS,
    SITE,
    Comparison,
    along_age,
    compare_groups,
)
from .model import SessionRow
from .page_figures import age_figure, group_figure

_TITLES = {SITE: "Sites", GROUP: "Groups"}
_DELTA = (
    "Cliff's delta: the probability that a subject of the second group has the larger value, minus that of having "
    "the smaller one (-1 to 1; 0: no difference). Differences are second minus first."
)
#: Groups named as too small.
_MOST_NAMED = 12


def group_sections(rows: Sequence[SessionRow]) -> list[Section]:
    """Comparisons by site and by group.

    Parameters
    ----------
    rows : sequence of SessionRow
        One for each subject, see :func:`flairseg.cohort.groups.first_usable`.
    """
    return [_section(compare_groups(rows, by)) for by in (SITE, GROUP)]


def _section(found: Comparison) -> Section:
    by = found.by
    title = f"{_TITLES[by]} compared"
    told = [found.refused] if found.refused else _said(found)
    if found.too_small:
        named = [f"{name} ({n})" for name, n in list(found.too_small.items())[:_MOST_NAMED]]
        more = len(found.too_small) - len(named)
        told.append(
            f"Not compared, with fewer than three subjects: {listed(named)}{f', and {more} more' if more else ''}."
        )
    if found.refused:
        return Section(f"by-{by}", title, tuple(told))
    drawn = group_figure(found.groups, by)
    tables = (_summary_table(found), *([_omnibus_table(found)] if found.omnibus else []), _contrast_table(found))
    return Section(f"by-{by}", title, tuple(told), tables, () if drawn is None else (drawn,))


def _said(found: Comparison) -> list[str]:
    subjects = sum(map(len, found.groups.values()))
    told = [
        f"{counted(subjects, 'subject')} of {counted(len(found.groups), found.by)}, each with the first session whose "
        "result can be trusted. The groups are as they were recruited: age, disease and scanner may differ between "
        "them, and nothing is adjusted for it."
    ]
    if found.unnamed:
        told.append(f"{counted(found.unnamed, 'subject')} without a {found.by} {_is(found.unnamed)} left out.")
    if len(found.groups) > MOST_IN_PAIRS:
        which = f"the {MOST_GROUPS} largest are" if len(found.groups) > MOST_GROUPS else "each is"
        told.append(f"With more than {MOST_IN_PAIRS}, {which} compared with {ALL_OTHERS} together.")
    return [*told, _DELTA]


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _summary_table(found: Comparison) -> Table:
    lines = tuple(
        cells(s.measure.label, s.group, str(s.n), figure(s.median, s.measure.digits),
              between(s.low, s.high, s.measure.digits))
        for s in found.summaries
    )  # fmt: skip
    columns = ("Measure", found.by.capitalize(), "n", "Median", "Quartiles")
    return Table(f"Medians by {found.by}", columns, lines, numbers_from=2, folded=len(lines) > 40)


def _omnibus_table(found: Comparison) -> Table:
    notes = Footnotes()
    lines = tuple(
        (
            *cells(one.measure.label, str(one.groups), str(one.effect.n)),
            notes.cell(figure(one.effect.value), one.effect.note),
            *cells(_limits(one.effect), p_value(one.p_holm)),
        )
        for one in found.omnibus
    )
    columns = ("Measure", f"{found.by.capitalize()}s", "n", "Eta-squared of ranks", "95 % interval", "p (Holm)")
    return Table(f"Over all {found.by}s: share of the ranks' variance between them", columns, lines, notes.listed)


def _contrast_table(found: Comparison) -> Table:
    notes = Footnotes()
    lines = tuple(
        (
            *cells(c.measure.label, c.first, c.second, f"{c.n_first}, {c.n_second}"),
            notes.cell(figure(c.difference.value, _digits(c.measure.digits)), c.difference.note),
            *cells(_limits(c.difference, _digits(c.measure.digits))),
            notes.cell(figure(c.delta.value), c.delta.note),
            *cells(_limits(c.delta), p_value(c.p_holm)),
        )
        for c in found.contrasts
    )
    columns = ("Measure", "First", "Second", "n", "Difference of medians", "95 % interval", "Cliff's delta",
               "95 % interval", "p (Holm)")  # fmt: skip
    caption = f"Differences between {found.by}s"
    return Table(caption, columns, lines, notes.listed, numbers_from=3, folded=len(lines) > 60)


def _digits(digits: int) -> int:
    """Medians of counts may end in a half."""
    return max(digits, 1)


def _limits(one: Estimate, digits: int = 2) -> str:
    return between(one.low, one.high, digits)


def age_section(rows: Sequence[SessionRow]) -> Section:
    """Correlations with age; ``rows`` as of :func:`group_sections`."""
    found, refused = along_age(rows)
    title = "Along age"
    if refused:
        return Section("by-age", title, (refused,))
    notes = Footnotes()
    lines = tuple(
        (
            *cells(one.measure.label, str(one.rho.n)),
            notes.cell(figure(one.rho.value), one.rho.note),
            *cells(_limits(one.rho), p_value(one.p_holm)),
        )
        for one in found
    )
    columns = ("Measure", "n", "Spearman's rho", "95 % interval", "p (Holm)")
    drawn = age_figure(rows)
    said = "Rank correlations over subjects, each with the first session whose result can be trusted."
    table = Table("Results along age", columns, lines, notes.listed)
    return Section("by-age", title, (said,), (table,), () if drawn is None else (drawn,))
