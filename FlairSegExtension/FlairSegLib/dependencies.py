"""What Slicer's Python lacks and FlairSeg needs: said in plain words when it is first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flairseg.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Packages of the package index that Slicer does not bring.
PACKAGES = ("onnxruntime", "scikit-image")


def load_segment() -> Callable:
    """The function :func:`flairseg.segment`, with everything it needs but onnxruntime, which it loads itself.

    Raises
    ------
    MissingDependencyError
        A Python package is not installed; the advice is a line for Slicer's Python console.
    """
    try:
        from flairseg import segment
    except ImportError as error:
        raise MissingDependencyError(
            f"The Python package {error.name} is not installed.",
            f"In Slicer's Python console: slicer.util.pip_install('{' '.join(PACKAGES)}'), then try again.",
        ) from error
    return segment
