"""sha256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

#: Bytes that are read at once.
CHUNK = 1 << 20


def file_sha256(path: Path) -> str:
    """sha256, hexadecimal, of a file's bytes; ``OSError`` if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
