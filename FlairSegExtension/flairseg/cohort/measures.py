"""What pages and comparisons of a cohort look at in a row: volumes, counts, image quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..labels import CLASSES
from .model import DONE, SessionRow


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


#: What a segmentation says, in the order of pages.
RESULTS = (
    *(Measure(f"{c.id}_ml", c.short_name, "ml", _volume(c.id)) for c in reversed(CLASSES)),
    Measure("lesion_count", "Number of lesions", "", lambda row: row.lesion_count, digits=0),
    Measure("largest_lesion_ml", "Largest lesion", "ml", lambda row: row.largest_lesion_ml),
    Measure("expected_correction_ml", "Expected correction", "ml", lambda row: row.expected_correction_ml),
)


def quality_measures(rows: Iterable[SessionRow]) -> tuple[Measure, ...]:
    """The measures of image quality that any of the rows has, by name."""
    names = sorted({name for row in rows for name, value in row.quality.items() if value is not None})
    return tuple(
        Measure(f"quality_{name}", shown_name(name), "", _quality(name), skewed=False, digits=3) for name in names
    )


def shown_name(name: str) -> str:
    """A column's name as a page shows it."""
    return name.replace("_", " ").capitalize()


def with_result(rows: Sequence[SessionRow]) -> list[SessionRow]:
    """The rows that have a segmentation."""
    return [row for row in rows if row.status == DONE]
