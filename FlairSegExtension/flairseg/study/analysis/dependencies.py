"""Optional packages of the analysis, and the error if they are not installed."""

from __future__ import annotations

from ... import _optional as dependencies
from ..._optional import REPORT

#: Import names of the extra ``study``: statistics first, then what draws and writes the report.
STATISTICS = ("statsmodels", "pandas", "scipy")
_TASK, _EXTRA = "The analysis of a study", "study"


def missing_packages() -> list[str]:
    """Names of the packages of the extra ``study`` that are not installed; nothing is imported."""
    return dependencies.missing_packages((*STATISTICS, *REPORT))


def require_statistics() -> None:
    """Refuse to compute without the statistics libraries.

    Raises
    ------
    MissingDependencyError
    """
    dependencies.require(STATISTICS, _TASK, _EXTRA)


def require_report() -> None:
    """Refuse to write a report without the libraries that draw it.

    Raises
    ------
    MissingDependencyError
    """
    dependencies.require(REPORT, _TASK, _EXTRA)
