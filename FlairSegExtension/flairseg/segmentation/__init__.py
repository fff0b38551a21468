"""Segmentation of a FLAIR: stages from volume to labels, result, picture and files.

Modules are imported when first used: a process that only shows a result does not load the pipeline.
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
