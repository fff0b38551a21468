"""Lesions: connected components, measurements, and edits of their class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy

_NAMES = {
    "Lesion": "components",
    "LesionMap": "components",
    "find_lesions": "components",
    "through_plane_axis": "boxes",
}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .boxes import through_plane_axis as through_plane_axis
    from .components import Lesion as Lesion
    from .components import LesionMap as LesionMap
    from .components import find_lesions as find_lesions

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
