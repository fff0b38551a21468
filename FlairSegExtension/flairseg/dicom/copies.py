"""Files of a series that repeat an image, and slices to which an anonymiser gave one UID."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import CaseWarning
from .pixels import stored_bytes
from .scan import TRAITS, Frame, Image


def without_copies(images: Sequence[Image]) -> tuple[list[Image], CaseWarning | None]:
    """The images of a series without those that are there twice.

    Two files are copies if position, kind and pixels agree, even with different UIDs: some archives give a copy a new
    one, and some anonymisers give one UID to all slices.

    Parameters
    ----------
    images : sequence of Image

    Returns
    -------
    kept : list of Image
        In their order.
    repeated : CaseWarning or None
        That different images share a SOPInstanceUID.
    """
    seen: dict[tuple[object, ...], list[Image]] = {}
    digests: dict[Path, bytes | None] = {}
    kept: list[Image] = []
    for image in images:
        alike = seen.setdefault(_place(image), [])
        if any(_one_instance(image, other) or _same_pixels(image, other, digests) for other in alike):
            continue
        alike.append(image)
        kept.append(image)
    uids = [image.frames[0].sop_instance_uid for image in kept if image.frames[0].sop_instance_uid]
    shared = len(uids) - len(set(uids))
    if not shared:
        return kept, None
    text = (
        f"{shared + 1} images of the series share one SOPInstanceUID although they differ: all were used, but no DICOM "
        "object can refer to them."
    )
    return kept, CaseWarning(text, "uid-shared")


def _place(image: Image) -> tuple[object, ...]:
    """Key that distinguishes an image from other slices or kinds, without pixels and attributes that copies change."""
    first = image.frames[0]
    return tuple(_frame_place(frame) for frame in image.frames) if first.frames_in_file > 1 else _frame_place(first)


def _frame_place(frame: Frame) -> tuple[object, ...]:
    number = frame.instance_number if frame.position is None else None
    # The file's name is a trait of multi-frame files, and no difference between copies.
    return frame.position, frame.orientation, frame.shape, number, frame.echo_time, frame.b_value, frame.traits[0]


def _one_instance(image: Image, other: Image) -> bool:
    """Whether two files are one instance, perhaps encoded otherwise: UID, number and the whole header agree."""
    one, two = image.frames[0], other.frames[0]
    if not one.sop_instance_uid or one.sop_instance_uid != two.sop_instance_uid:
        return False
    file = TRAITS.index("file")
    traits = [t[:file] + t[file + 1 :] for t in (one.traits, two.traits)]
    numbered = one.instance_number is not None and one.instance_number == two.instance_number
    return numbered and one.position is not None and traits[0] == traits[1]


def _same_pixels(image: Image, other: Image, digests: dict[Path, bytes | None]) -> bool:
    for path in (image.path, other.path):
        if path not in digests:
            raw = stored_bytes(path)
            digests[path] = None if raw is None else hashlib.sha256(raw).digest()
    return digests[image.path] is not None and digests[image.path] == digests[other.path]
