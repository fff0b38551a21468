"""Who made a segmentation, with what, and what was done to it since: tags on its segments, kept wherever it goes.

Tags survive ``.seg.nrrd``, ``.mrml`` and ``.mrb``. ``AUTOMATIC`` becomes ``SEMIAUTOMATIC`` once a reader
changed voxels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import vtk
from flairseg.labels import CLASS_BY_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "FlairSeg."
MODEL, MODEL_SHA256, SOFTWARE, CREATED = (f"{PREFIX}{key}" for key in ("model", "model_sha256", "version", "created"))
ALGORITHM_TYPE, VERDICT, READER = (f"{PREFIX}{key}" for key in ("algorithm_type", "verdict", "reader"))
ACTIVE_SECONDS, ADDED, REMOVED = (f"{PREFIX}{key}" for key in ("active_seconds", "voxels_added", "voxels_removed"))
#: Every tag that a segment may carry.
KEYS = (MODEL, MODEL_SHA256, SOFTWARE, CREATED, ALGORITHM_TYPE, VERDICT, READER, ACTIVE_SECONDS, ADDED, REMOVED)
AUTOMATIC, SEMIAUTOMATIC, MANUAL = "AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"
PENDING = "pending"
#: Attribute of the node: number of this result among those of its volume, from 1.
VERSION_NUMBER = f"{PREFIX}version_number"
_NAMED_VERSION = re.compile(r" segmentation v(\d+)$")


def tags(node, segment_id: str) -> dict[str, str]:
    """FlairSeg's tags of a segment; empty if there is no such segment."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        return {}
    return {key: value for key in KEYS if (value := tag(segment, key)) is not None}


def tag(segment, key: str) -> str | None:
    """A tag's value; None if the segment has not got it."""
    value = vtk.reference("")
    return str(value.get()) if segment.GetTag(key, value) else None


def set_tags(node, values: Mapping[str, str]) -> None:
    """Give every segment of a node the same tags; those that it has already by that value are not touched."""
    for segment in _segments(node):
        for key, value in values.items():
            if tag(segment, key) != value:
                segment.SetTag(key, value)


def record_edits(node, reader: str, active_seconds: float, edits: Mapping[int, tuple[int, int]]) -> None:
    """Note who edited, for how long, and how many voxels were added to and removed from each class.

    Parameters
    ----------
    node : vtkMRMLSegmentationNode
    reader : str
        Name or code.
    active_seconds : float
        Work on the whole segmentation so far, not since the last call.
    edits : mapping
        Class value -> (voxels added, voxels removed), measured against the model's own labels
        (:func:`FlairSegLib.scene_bridge.original_labels_of`). A class without changes stays what it was.
    """
    set_tags(node, {READER: reader, ACTIVE_SECONDS: f"{active_seconds:.1f}"})
    for value, (added, removed) in edits.items():
        segment = node.GetSegmentation().GetSegment(CLASS_BY_VALUE[value].id)
        if segment is None:
            continue
        segment.SetTag(ADDED, str(int(added)))
        segment.SetTag(REMOVED, str(int(removed)))
        if (added or removed) and tag(segment, ALGORITHM_TYPE) == AUTOMATIC:
            segment.SetTag(ALGORITHM_TYPE, SEMIAUTOMATIC)


def algorithm_type(node) -> str | None:
    """Of the whole segmentation: SEMIAUTOMATIC if any segment is, MANUAL if all are; None if it has no such tags."""
    kinds = {kind for segment in _segments(node) if (kind := tag(segment, ALGORITHM_TYPE))}
    if len(kinds) > 1:
        return SEMIAUTOMATIC
    return kinds.pop() if kinds else None


def set_verdict(node, verdict: str) -> None:
    """Note what the reader decided, with the words of :mod:`flairseg.review.verdict`."""
    set_tags(node, {VERDICT: verdict})


def verdict(node) -> str | None:
    """What the reader decided; None if the segmentation is none of FlairSeg's."""
    return next((value for segment in _segments(node) if (value := tag(segment, VERDICT))), None)


def version_number(node) -> int | None:
    """Number of this result among those of its volume; None if it has none."""
    text = node.GetAttribute(VERSION_NUMBER)
    if text and text.isdecimal():
        return int(text)
    named = _NAMED_VERSION.search(node.GetName() or "")
    return int(named[1]) if named else None


def _segments(node) -> list:
    contents = node.GetSegmentation()
    return [contents.GetNthSegment(n) for n in range(contents.GetNumberOfSegments())]
