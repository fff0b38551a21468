"""One spelling for one content: canonical JSON, and the sha256 over it.

Keys sorted, no spaces, UTF-8, numbers as Python's ``json`` writes them, NaN refused: what a file looks like (line ends,
indentation, order of keys) does not change its hash, what it says does.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def canonical_json(content: Any) -> bytes:
    """The canonical JSON of a content.

    Raises
    ------
    ValueError
        For NaN and infinity, which JSON does not have.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


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
