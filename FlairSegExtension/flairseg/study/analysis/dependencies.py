"""What the analysis needs beyond the method's own libraries, and what to do where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

from ...errors import MissingDependencyError

#: Import names of the extra ``study``: statistics first, then what draws and writes the report.
STATISTICS = ("statsmodels", "pandas", "scipy")
REPORT = ("matplotlib", "jinja2")


def missing_packages() -> list[str]:
    """Names of the packages of the extra ``study`` that are not installed; nothing is imported."""
    return [name for name in (*STATISTICS, *REPORT) if find_spec(name) is None]


def require_statistics() -> None:
    """Refuse, in words, to compute without the statistics libraries.

    Raises
    ------
    MissingDependencyError
    """
    _require(STATISTICS)


def require_report() -> None:
    """Refuse, in words, to write a report without what draws it.

    Raises
    ------
    MissingDependencyError
    """
    _require(REPORT)


def _require(names: tuple[str, ...]) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"The analysis of a study needs {', '.join(missing)}, which Python here does not have.",
            'Install it with: pip install "flairseg[study]"',
        )
