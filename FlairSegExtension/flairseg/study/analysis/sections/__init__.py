"""Sections of the report: their tables and figures, as plain values for the template.

Nothing here is markup: every text is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....reporting.drawing import Figure
from ....reporting.layout import Section
from ..results import Results
from .agreement import agreement, numbers
from .data import comments, data
from .judgements import acceptance, arms, errors, lesions
from .summary import key_figures
from .timing import timing

__all__ = ["key_figures", "sections"]


def sections(results: Results, figures: Sequence[Figure]) -> list[Section]:
    """Every non-empty section, in order."""
    drawn = {one.name: one for one in figures}

    def named(*prefixes: str) -> tuple[Figure, ...]:
        return tuple(one for name, one in drawn.items() if name.startswith(prefixes))

    made = [
        data(results),
        acceptance(results, named("acceptance")),
        arms(results),
        agreement(results, named("agreement")),
        Section("scales", "Answers on scales", figures=named("scale-")),
        lesions(results),
        errors(results, named("error-map")),
        numbers(results, named("bland-altman-")),
        timing(results, named("time", "learning")),
        comments(results),
    ]
    return [one for one in made if not one.empty]
