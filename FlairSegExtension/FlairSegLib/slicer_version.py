"""Oldest supported version of 3D Slicer; the same as in README, documentation and CMakeLists.txt."""

from __future__ import annotations

import slicer

#: Major and minor version.
OLDEST = (5, 12)


def oldest() -> str:
    """Oldest supported version as text."""
    return ".".join(map(str, OLDEST))


def isSupported() -> bool:
    """Whether this version of Slicer is supported."""
    return (slicer.app.majorVersion, slicer.app.minorVersion) >= OLDEST
