"""Software versions for the records: an answer must be traceable to the version that recorded it."""

from __future__ import annotations

import platform
import sys

from .._version import __version__


def software(application: str = "") -> dict[str, str]:
    """Software versions for the records; no name of a computer or a user."""
    return {
        "flairseg": __version__,
        "python": platform.python_version(),
        "system": sys.platform,
        **({"application": application} if application else {}),
    }
