"""Packages that adaptation needs beside FlairSeg's own: PyTorch and onnx."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import MissingDependencyError

#: Packages, and what they are for; Slicer's panel shows size and reason before it installs anything.
PACKAGES = {
    "torch": "trains the network (CPU build: about 200 MB to download)",
    "onnx": "reads and writes models (20 MB)",
}


def missing_packages() -> list[str]:
    """Packages that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def require_torch() -> None:
    """Raise unless everything that adaptation needs is installed.

    Raises
    ------
    MissingDependencyError
        Naming what is missing and its size.
    """
    missing = missing_packages()
    if missing:
        told = "; ".join(f"{name} {PACKAGES[name]}" for name in missing)
        raise MissingDependencyError(
            f"Adaptation needs packages that are not installed: {told}.",
            "Install them with `pip install 'flairseg[adapt]'`.",
            code="adaptation-packages-missing",
            packages=missing,
        )
