"""Tags of the contract on a node's segments: written by all code that changes it, kept by .mrml, .mrb and .seg.nrrd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
#: What a verdict was given on, see :attr:`FlairSegLib.measurement.Measurement.contents`.
VERDICT_CONTENTS = f"{PREFIX}verdict_contents"
#: Attribute of every node that a follow-up made of the studies: none of them is a study itself.
FOLLOWUP = f"{PREFIX}followup"
#: Priority of an observer that is called before all others.
_FIRST = 1e6
#: Algorithm types of a segmentation, as named in DICOM SEG.
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
    """Set a tag unless it has that value. Observers of the segmentation are not notified, see :func:`unannounced`."""
    if tag(segment, key) != value:
        with unannounced(segment):
            segment.SetTag(key, value)


def set_attribute(node, key: str, value: str) -> None:
    """Set an attribute of a node without telling anybody: views are drawn at each announced change."""
    before = node.GetDisableModifiedEvent()
    node.SetDisableModifiedEvent(1)
    node.SetAttribute(key, value)
    node.SetDisableModifiedEvent(before)


@contextmanager
def unannounced(segment) -> Iterator[None]:
    """Keep a change of a segment's tags from the observers of its segmentation.

    The editor's undo history takes any announced change for an edit: what could be done again is forgotten, and the
    next Undo after a Redo restores the state that is there. Views would be drawn again, too.
    """
    number = 0

    def stop(caller, event) -> None:
        caller.GetCommand(number).SetAbortFlag(1)

    # Before all others, which the flag then keeps from being called.
    number = segment.AddObserver(vtk.vtkCommand.ModifiedEvent, stop, _FIRST)
    try:
        yield
    finally:
        segment.RemoveObserver(number)


def number(node, key: str) -> float:
    """A tag that is a number; 0 if it is none."""
    try:
        return float(first_tag(node, key) or 0)
    except ValueError:
        return 0.0
