"""DICOM files of a volume node according to Slicer's DICOM database, which is never changed."""

from __future__ import annotations

from pathlib import Path

import slicer

STUDY_DATE = "0008,0020"
_DIGITS = 8


def instance_uids(node) -> list[str]:
    """SOP instance UIDs of a volume node, in the order of its slices; empty for a volume from another file."""
    return (node.GetAttribute("DICOM.instanceUIDs") or "").split() if node is not None else []


def files(node) -> list[str]:
    """Paths of a volume's DICOM files; empty unless all are in the database and exist."""
    database, uids = getattr(slicer, "dicomDatabase", None), instance_uids(node)
    if database is None or not uids:
        return []
    # All frames of a multi-frame file have the same UID.
    found = [str(database.fileForInstance(uid) or "") for uid in dict.fromkeys(uids)]
    return found if all(path and Path(path).is_file() for path in found) else []


def study_date(node) -> str | None:
    """Date of the study, ISO 8601; None if unknown."""
    database, uids = getattr(slicer, "dicomDatabase", None), instance_uids(node)
    if database is None or not uids:
        return None
    text = str(database.instanceValue(uids[0], STUDY_DATE) or "").strip()
    if len(text) != _DIGITS or not text.isdecimal():
        return None
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"
