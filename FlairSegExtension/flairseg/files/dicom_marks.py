"""Recognise a DICOM file by the four letters after its preamble (DICOM PS3.10, 7.1)."""

from __future__ import annotations

from pathlib import Path

_PREAMBLE, _MARK = 128, b"DICM"


def has_dicom_mark(content: bytes) -> bool:
    """Whether the first bytes of a file, at least 132, are those of a DICOM file."""
    return content[_PREAMBLE : _PREAMBLE + len(_MARK)] == _MARK


def is_dicom_file(path: Path) -> bool:
    """Whether a path is a regular file with DICOM's mark; False also for what cannot be opened.

    Devices and pipes are not opened: they would wait for what never comes.
    """
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return has_dicom_mark(stream.read(_PREAMBLE + len(_MARK)))
    except (OSError, ValueError):
        return False
