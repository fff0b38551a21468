"""sha256 over contents and files. Contents go through the event store's canonical JSON: what a file looks like (line
ends, indentation, order of keys) does not change its hash, what it says does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..review.events import canonical_json

_CHUNK = 1 << 20


def content_sha256(content: Any) -> str:
    """sha256, hexadecimal, of the canonical JSON of a content."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256, hexadecimal, of a file's bytes; ``OSError`` if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
