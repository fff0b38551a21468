"""Optional dependencies, and the error if they are not installed."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.util import find_spec

from ._version import __version__
from .errors import MissingDependencyError

#: Import names of the packages that draw and write a report.
REPORT = ("matplotlib", "jinja2")


def missing_packages(names: Iterable[str]) -> list[str]:
    """Those of the packages (import names) that are not installed; nothing is imported."""
    return [name for name in names if find_spec(name) is None]


def require(names: Iterable[str], task: str, extra: str) -> None:
    """Raise an error if packages that a task needs are not installed.

    Parameters
    ----------
    names : iterable of str
        Import names.
    task : str
        What needs them, as the beginning of a sentence.
    extra : str
        The extra of the ``flairseg`` package that includes them.

    Raises
    ------
    MissingDependencyError
    """
    missing = missing_packages(names)
    if missing:
        raise MissingDependencyError(
            f"{task} needs {', '.join(missing)}, which is not installed.",
            f'Install it with: pip install "flairseg[{extra}]"',
        )


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of FlairSeg, of Python and of packages (as they are installed)."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"FlairSeg": __version__, "Python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            # In an application's own Python a package may have no metadata.
            found[name] = "unknown version"
    return found
