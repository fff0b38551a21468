"""Anatomy of a case: an atlas laid over it, and the regions of its lesions.

>>> from flairseg.anatomy import find_regions
>>> regions = find_regions(volume, labels)               # doctest: +SKIP

Light to import: scipy and SimpleITK are loaded when regions are found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dissemination import dissemination
from .regions import CODE_NAMES, REGIONS, UNKNOWN, RegionMap, lesion_regions

if TYPE_CHECKING:
    from .finding import find_regions as find_regions

__all__ = ["CODE_NAMES", "REGIONS", "UNKNOWN", "RegionMap", "dissemination", "find_regions", "lesion_regions"]


def __getattr__(name: str):
    """``find_regions`` with its libraries, when it is first asked for."""
    if name != "find_regions":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .finding import find_regions

    globals()[name] = find_regions
    return find_regions
