"""SHA-256 of JSON content in canonical form, independent of layout and order of keys."""

from __future__ import annotations

import hashlib
from typing import Any

from ..review.events import canonical_json


def content_sha256(content: Any) -> str:
    """SHA-256 of the canonical JSON of some content, hexadecimal."""
    return hashlib.sha256(canonical_json(content)).hexdigest()
