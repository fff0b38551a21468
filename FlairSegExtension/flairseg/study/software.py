"""What ran, for the records: a version that made an answer possible must be known when the answer is read."""

from __future__ import annotations

import platform
import sys

from .._version import __version__


def software(application: str = "") -> dict[str, str]:
    """What ran, for the records; no name of a computer or a user."""
    return {
        "flairseg": __version__,
        "python": platform.python_version(),
        "system": sys.platform,
        **({"application": application} if application else {}),
    }
