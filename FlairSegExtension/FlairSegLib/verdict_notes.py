"""The verdict that a segmentation node carries: in attributes of the node, tags and review status of its segments."""

from __future__ import annotations

import re

import slicer
from flairseg.report.case import Review
from flairseg.review.verdict import ACCEPTED, ACCEPTED_AFTER_EDITS, DECISIONS, PENDING, REJECTED

from . import segment_tags, segment_voxels

#: Attributes of the node in which a verdict is kept in the scene.
VERDICT, REASON, READER, SAVED_AT, SAVED_AS, FOLDER = (
    segment_tags.PREFIX + name
    for name in ("verdict", "reason", "verdict_reader", "decided", "saved_as", "cases_folder")
)


def verdict_of(node) -> str:
    """One of :data:`flairseg.review.verdict.DECISIONS`, or pending."""
    value = node.GetAttribute(VERDICT) or segment_tags.first_tag(node, segment_tags.VERDICT)
    return value if value in DECISIONS else PENDING


def noted(node) -> Review:
    """The verdict that a segmentation node carries; not reviewed where it carries none."""
    verdict = verdict_of(node)
    if verdict == PENDING:
        return Review()
    reader, decided_at, reason, saved = (node.GetAttribute(key) or "" for key in (READER, SAVED_AT, REASON, SAVED_AS))
    version = re.search(r"v(\d+)$", saved)
    return Review(verdict, reader, decided_at, reason, int(version[1]) if version else None)


def note(node, verdict: str, attributes: dict[str, str], contents: str = "") -> None:
    """Write a verdict into the scene: attributes, tags and review status of each class's segment."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    status = {ACCEPTED: logic.Completed, ACCEPTED_AFTER_EDITS: logic.Completed, REJECTED: logic.Flagged}
    modified = node.StartModify()
    node.SetAttribute(VERDICT, verdict)
    for key in (REASON, READER, SAVED_AT, SAVED_AS, FOLDER):
        node.SetAttribute(key, attributes.get(key) or None)
    for segment_id in segment_voxels.segments_by_class(node).values():
        segment = node.GetSegmentation().GetSegment(segment_id)
        segment_tags.set_tag(segment, segment_tags.VERDICT, verdict)
        segment_tags.set_tag(segment, segment_tags.VERDICT_CONTENTS, contents)
        logic.SetSegmentStatus(segment, status.get(verdict, logic.NotStarted))
    node.EndModify(modified)
