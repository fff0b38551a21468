"""Segmentation of cohorts: from a source of many sessions to a table, BIDS derivatives and an HTML page.

>>> import flairseg.cohort
>>> table = flairseg.cohort.run("study-bids", "derivatives/flairseg", jobs=4)   # doctest: +SKIP
>>> table.rows()[0].lesion_ml                                                   # doctest: +SKIP

Importing this package loads neither Dask nor pyarrow; modules are imported when a name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy

_LAZY = {
    "ChangeRow": "model",
    "ClusterOptions": "clusters",
    "CohortTable": "table",
    "Layout": "layout",
    "LesionRecord": "model",
    "Session": "model",
    "RunOptions": "running",
    "SessionRow": "model",
    "find_sessions": "discovery",
    "run": "running",
}

__all__ = sorted(_LAZY)

if TYPE_CHECKING:
    from .clusters import ClusterOptions as ClusterOptions
    from .discovery import find_sessions as find_sessions
    from .layout import Layout as Layout
    from .model import ChangeRow as ChangeRow
    from .model import LesionRecord as LesionRecord
    from .model import Session as Session
    from .model import SessionRow as SessionRow
    from .running import RunOptions as RunOptions
    from .running import run as run
    from .table import CohortTable as CohortTable

__getattr__, __dir__ = lazy(__name__, globals(), _LAZY)
