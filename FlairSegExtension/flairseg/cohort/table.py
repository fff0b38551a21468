"""The result of a run: a table that is read on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import Layout
from .model import DONE, ChangeRow, SessionRow
from .rows import read_changes, read_rows

if TYPE_CHECKING:
    import pyarrow.dataset


@dataclass(frozen=True)
class CohortTable:
    """The rows of a cohort; loaded on demand.

    Attributes
    ----------
    layout : Layout
        Paths.
    """

    layout: Layout

    @classmethod
    def open(cls, output: str | Path) -> CohortTable:
        """The table of an output folder."""
        return cls(Layout(Path(output).absolute()))

    def rows(self) -> list[SessionRow]:
        """A row for each session, by case."""
        return list(read_rows(self.layout).values())

    def __iter__(self) -> Iterator[SessionRow]:
        return iter(self.rows())

    def changes(self) -> list[ChangeRow]:
        """A row for each comparison of two sessions."""
        return list(read_changes(self.layout).values())

    def failures(self) -> list[SessionRow]:
        """The sessions without a result."""
        return [row for row in self.rows() if row.status != DONE]

    def counts(self) -> dict[str, int]:
        """Number of sessions by status."""
        return dict(Counter(row.status for row in self.rows()))

    def dataset(self) -> pyarrow.dataset.Dataset:
        """``cohort.parquet`` as an Arrow data set: columns and rows are read as far as they are used."""
        from pyarrow import dataset

        return dataset.dataset(self.layout.table_parquet)

    def lesions(self) -> pyarrow.dataset.Dataset:
        """``lesions.parquet``, one row per lesion, as an Arrow data set."""
        from pyarrow import dataset

        return dataset.dataset(self.layout.lesions_parquet)

    def to_pandas(self) -> Any:
        """``cohort.parquet`` as a pandas data frame; needs pandas."""
        return self.dataset().to_table().to_pandas()
