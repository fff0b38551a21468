"""Names of files that are made from names of nodes."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 80


def file_stem(name: str) -> str:
    """A node's name as the begin of a file's name: letters, digits, dots and dashes, never empty."""
    return _UNSAFE.sub("_", name).strip("._")[:_LONGEST] or "flair"
