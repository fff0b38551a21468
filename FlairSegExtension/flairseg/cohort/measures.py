"""Measures shown and compared on the pages of a cohort: volumes, counts, image quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..labels import CLASSES
from .image_quality import MEASURE_BY_NAME
from .model import DONE, SessionRow

#: Last words of the names of measures that are their units.
_UNITS = frozenset({"percent", "mm", "cm2"})


@dataclass(frozen=True)
class Measure:
    """One number of a session.

    Attributes
    ----------
    id : str
        Column of ``cohort.csv``.
    title, unit : str
    of : callable
        The number of a row, None where it is not known.
    skewed : bool
        Sizes and counts: many small, few large; shown and judged on the scale log(1 + x).
    digits : int
        Decimals that are shown.
    """

    id: str
    title: str
    unit: str
    of: Callable[[SessionRow], float | None]
    skewed: bool = True
    digits: int = 2

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def values(self, rows: Iterable[SessionRow]) -> np.ndarray:
        """The numbers of some rows; nan where one is not known or not finite."""
        found = [self.of(row) for row in rows]
        array = np.array([math.nan if value is None else float(value) for value in found], dtype=float)
        return np.where(np.isfinite(array), array, np.nan)


def _volume(class_id: str) -> Callable[[SessionRow], float | None]:
    return lambda row: row.volumes_ml.get(class_id)


def _quality(name: str) -> Callable[[SessionRow], float | None]:
    return lambda row: row.quality.get(name)


#: Measures of a segmentation, in page order.
RESULTS = (
    *(Measure(f"{c.id}_ml", c.short_name, "ml", _volume(c.id)) for c in reversed(CLASSES)),
    Measure("lesion_count", "Number of lesions", "", lambda row: row.lesion_count, digits=0),
    Measure("largest_lesion_ml", "Largest lesion", "ml", lambda row: row.largest_lesion_ml),
    Measure("expected_correction_ml", "Expected correction", "ml", lambda row: row.expected_correction_ml),
)


def quality_measures(rows: Iterable[SessionRow]) -> tuple[Measure, ...]:
    """The measures of image quality that any of the rows has, by name."""
    names = sorted({name for row in rows for name, value in row.quality.items() if value is not None})
    return tuple(_measure_of(name) for name in names)


def _measure_of(name: str) -> Measure:
    known = MEASURE_BY_NAME.get(name)
    unit = "" if known is None else known.unit.replace("cm2", "cm²")
    return Measure(f"quality_{name}", shown_name(name), unit, _quality(name), skewed=False, digits=2 if unit else 3)


def shown_name(name: str) -> str:
    """A measure of image quality as a page shows it, without its unit."""
    words = name.split("_")
    if len(words) > 1 and words[-1] in _UNITS:
        words.pop()
    return " ".join(words).capitalize()


def with_result(rows: Sequence[SessionRow]) -> list[SessionRow]:
    """The rows that have a segmentation."""
    return [row for row in rows if row.status == DONE]
