"""The oldest 3D Slicer that the modules are made for; README, documentation and CMakeLists.txt name the same."""

from __future__ import annotations

import slicer

#: Major and minor version.
OLDEST = (5, 12)


def oldest() -> str:
    """The oldest supported version, as text."""
    return ".".join(map(str, OLDEST))


def isSupported() -> bool:
    """Whether this Slicer is new enough."""
    return (slicer.app.majorVersion, slicer.app.minorVersion) >= OLDEST
