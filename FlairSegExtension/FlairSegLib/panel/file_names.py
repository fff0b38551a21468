"""File names from names of nodes."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 80


def file_stem(name: str) -> str:
    """File name stem from a node's name: letters, digits, dots, dashes and underscores, never empty."""
    return _UNSAFE.sub("_", name).strip("._")[:_LONGEST] or "flair"
