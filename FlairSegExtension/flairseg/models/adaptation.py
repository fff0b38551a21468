"""Digest of an adapted model's card, so that its verdict cannot be changed afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def card_digest(raw: Mapping[str, Any]) -> str:
    """Hex sha256 over a card's content without the digest itself, as canonical JSON."""
    content = {**raw, "adaptation": {k: v for k, v in raw["adaptation"].items() if k != "digest"}}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode("utf-8")).hexdigest()
