"""Sections of the evaluation report: their tables and figures, as plain values that the template lays out.

Nothing here is markup: every text is escaped by the template. No p-value stands without its n and its correction.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...reporting.drawing import Figure, Picture
from ...reporting.layout import Section
from ..results import EvaluationResult
from .accuracy import by_class, by_group, confusions, curves, lesions, patients
from .by_slice import slice_level, volume_groups
from .comparison import loads, paired
from .overview import conventions, evaluated, headline


def sections(result: EvaluationResult, drawn: Sequence[Figure | Picture], notes: Sequence[str] = ()) -> list[Section]:
    """Every non-empty section, in order.

    Parameters
    ----------
    result : EvaluationResult
    drawn : sequence of Figure and Picture
        They find their section by name.
    notes : sequence of str
        About the overlays.
    """

    def named(*prefixes: str) -> tuple[Figure | Picture, ...]:
        return tuple(one for one in drawn if one.name.startswith(prefixes))

    made = [
        headline(result, named("overview")),
        evaluated(result),
        conventions(result),
        by_class(result, named("violins-")),
        lesions(result),
        confusions(result, named("confusion-")),
        curves(result, named("curves-")),
        slice_level(result, named("slices-")),
        volume_groups(result, named("groups-")),
        loads(result, named("load-")),
        paired(result),
        by_group(result),
        Section("overlays", "Overlays", tuple(notes), (), named("overlay-")),
        Section("training", "Training", _training_text(named("training")), (), named("training")),
        patients(result),
    ]
    return [one for one in made if not one.empty]


def _training_text(figures: tuple[Figure | Picture, ...]) -> tuple[str, ...]:
    if not figures:
        return ()
    return (
        "From the training logs that were given. Validation figures are those of the training run, in its frame and "
        "without clean-up, and differ from the figures above.",
    )
