"""From which DICOM files a volume node was loaded, as far as Slicer's DICOM database knows. Reads, never writes."""

from __future__ import annotations

from pathlib import Path

import slicer

STUDY_DATE = "0008,0020"
_DIGITS = 8


def instance_uids(node) -> list[str]:
    """SOP instance UIDs of a volume node, in the order of its slices; empty for a volume from another file."""
    return (node.GetAttribute("DICOM.instanceUIDs") or "").split() if node is not None else []


def files(node) -> list[str]:
    """Paths of a volume's DICOM files; empty unless the database knows all of them and they are there."""
    database, uids = getattr(slicer, "dicomDatabase", None), instance_uids(node)
    if database is None or not uids:
        return []
    # Of a multi-frame file every frame has the same UID.
    found = [str(database.fileForInstance(uid) or "") for uid in dict.fromkeys(uids)]
    return found if all(path and Path(path).is_file() for path in found) else []


def study_date(node) -> str | None:
    """Date of the study, ISO 8601; None where it is not known."""
    database, uids = getattr(slicer, "dicomDatabase", None), instance_uids(node)
    if database is None or not uids:
        return None
    text = str(database.instanceValue(uids[0], STUDY_DATE) or "").strip()
    if len(text) != _DIGITS or not text.isdecimal():
        return None
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"
