"""Anatomy of a case: atlas-to-subject registration, and the regions of its lesions.

>>> from flairseg.anatomy import find_regions
>>> regions = find_regions(volume, labels)               # doctest: +SKIP

Light to import: scipy and SimpleITK are loaded when regions are found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy
from .dissemination import Dissemination, dissemination
from .regions import CODE_NAMES, REGIONS, UNKNOWN, RegionMap, lesion_regions

if TYPE_CHECKING:
    from .finding import find_regions as find_regions

__all__ = [
    "CODE_NAMES",
    "REGIONS",
    "UNKNOWN",
    "Dissemination",
    "RegionMap",
    "dissemination",
    "find_regions",
    "lesion_regions",
]

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), {"find_regions": "finding"})
