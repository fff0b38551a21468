"""sha256 of JSON contents, through the event store's canonical JSON: layout and order of keys do not change it."""

from __future__ import annotations

import hashlib
from typing import Any

from ..review.events import canonical_json


def content_sha256(content: Any) -> str:
    """sha256, hexadecimal, of the canonical JSON of a content."""
    return hashlib.sha256(canonical_json(content)).hexdigest()
