"""SHA-256 of files and folders."""

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


def source_sha256(path: Path) -> str:
    """SHA-256 of a source, hexadecimal: of the file, or of a DICOM folder's files in the order of their names.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if not path.is_dir():
        return file_sha256(path)
    hashes = [file_sha256(file) for file in sorted(path.iterdir()) if file.is_file()]
    return hashlib.sha256("\n".join(hashes).encode("ascii")).hexdigest()
