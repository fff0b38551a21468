"""SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

#: Bytes per read.
CHUNK = 1 << 20


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
