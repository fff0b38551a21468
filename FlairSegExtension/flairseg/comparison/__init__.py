"""Comparison of several models on one case: label maps, volumes and lesion counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy

_NAMES = {
    "Compared": "comparing",
    "Comparison": "comparing",
    "choose_models": "comparing",
    "compare": "comparing",
    "render_comparison": "picture",
    "check_comparison": "writing",
    "write_comparison": "writing",
}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .comparing import Compared as Compared
    from .comparing import Comparison as Comparison
    from .comparing import choose_models as choose_models
    from .comparing import compare as compare
    from .picture import render_comparison as render_comparison
    from .writing import check_comparison as check_comparison
    from .writing import write_comparison as write_comparison

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
