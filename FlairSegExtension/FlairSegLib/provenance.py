"""Provenance of a segmentation: its initial tags and version number.

Tags are on the segments and survive ``.seg.nrrd``, ``.mrml`` and ``.mrb``; what a reader adds to them is in
:mod:`.segment_tags`' words, and written by the panel.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import slicer
from flairseg.segmentation.result import provenance_tags

from . import segment_tags

if TYPE_CHECKING:
    from flairseg.segmentation.result import Segmentation

PENDING = "pending"
#: Attribute of the node: number of this result among those of its volume, from 1.
VERSION_NUMBER = f"{segment_tags.PREFIX}version_number"


def first_tags(segmentation: Segmentation) -> dict[str, str]:
    """Tags of every segment of a fresh result: model, software, time, AUTOMATIC, and no verdict yet."""
    return {**provenance_tags(segmentation), segment_tags.VERDICT: PENDING}


def next_version(scene, volume_name: str) -> tuple[str, int]:
    """Name and number of the next result of a volume.

    Returns
    -------
    (str, int)
        ``<volume> segmentation v<N>``, N one above the highest in the scene, so that no version's name is used again.
    """
    pattern = re.compile(re.escape(volume_name) + r" segmentation v(\d+)")
    names = (node.GetName() or "" for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene))
    versions = [int(match[1]) for match in map(pattern.fullmatch, names) if match]
    number = max(versions, default=0) + 1
    return f"{volume_name} segmentation v{number}", number


def free_name(scene, name: str) -> str:
    """A name that no segmentation has yet: the name itself, else with the next free number."""
    taken = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)}
    numbered = (f"{name} ({number})" for number in itertools.count(2))
    return next(text for text in itertools.chain([name], numbered) if text not in taken)


def version_number(node) -> int | None:
    """Number of a result among those of its volume, also once it was renamed; None if it is none of FlairSeg's."""
    text = node.GetAttribute(VERSION_NUMBER)
    return int(text) if text and text.isdecimal() else None
