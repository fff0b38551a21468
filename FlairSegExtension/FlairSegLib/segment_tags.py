"""Tags of the contract on the segments of a node: written by whoever changes it, kept by .mrml, .mrb and .seg.nrrd."""

from __future__ import annotations

import vtk

PREFIX = "FlairSeg."
MODEL, MODEL_SHA256, CREATED, ALGORITHM_TYPE, VERDICT, READER, ACTIVE_SECONDS, VOXELS_ADDED, VOXELS_REMOVED = (
    PREFIX + name
    for name in (
        "model",
        "model_sha256",
        "created",
        "algorithm_type",
        "verdict",
        "reader",
        "active_seconds",
        "voxels_added",
        "voxels_removed",
    )
)
#: Attribute of every node that a follow-up made of the studies: none of them is a study itself.
FOLLOWUP = f"{PREFIX}followup"
#: How a segmentation came about, as DICOM SEG names it.
AUTOMATIC, SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"


def tag(segment, key: str) -> str:
    """A tag of a segment; empty if it has none of that name."""
    value = vtk.mutable("")
    return str(value) if segment is not None and segment.GetTag(key, value) else ""


def first_tag(node, key: str) -> str:
    """The tag of the first segment of a node that has it; empty if none does."""
    contents = node.GetSegmentation()
    return next((text for i in contents.GetSegmentIDs() if (text := tag(contents.GetSegment(i), key))), "")


def set_tag(segment, key: str, value: str) -> None:
    """Set a tag, unless it says so already: each change would redraw what shows the segment."""
    if tag(segment, key) != value:
        segment.SetTag(key, value)


def number(node, key: str) -> float:
    """A tag that is a number; 0 if it is none."""
    try:
        return float(first_tag(node, key) or 0)
    except ValueError:
        return 0.0
