"""Segmentation of one FLAIR: stages from volume to labels, the result, its picture and its files.

Light to import: a process that only shows a result loads none of what made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy

_NAMES = {
    "segment": "pipeline",
    "Segmentation": "result",
    "render_overview": "overview",
    "write_segmentation": "writing",
}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .overview import render_overview as render_overview
    from .pipeline import segment as segment
    from .result import Segmentation as Segmentation
    from .writing import write_segmentation as write_segmentation

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
