"""One series under several SeriesInstanceUIDs: what an anonymiser, or an export of slabs, broke up is put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import CaseWarning
from .scan import TELLING, Image
from .stack import distances, is_regular, mean_orientation, repeats


def joined(groups: Iterable[list[Image]]) -> list[list[Image]]:
    """Groups of images of one SeriesInstanceUID each, those put together that are parts of one volume.

    Parts are classic images of one study, one SeriesNumber and one acquisition that differ in nothing but their places:
    together they are evenly spaced slices, or each is a single slice at a place of its own.

    Parameters
    ----------
    groups : iterable of list of Image

    Returns
    -------
    list of list of Image
        In the order of the first of their parts.
    """
    alike: dict[object, list[list[Image]]] = {}
    for n, members in enumerate(groups):
        alike.setdefault(_acquisition(members) or n, []).append(members)
    out: list[list[Image]] = []
    for parts in alike.values():
        whole = [image for part in parts for image in part]
        out += [whole] if len(parts) > 1 and _one_volume(parts, whole) else parts
    return out


def joined_warning(images: Sequence[Image]) -> CaseWarning | None:
    """Remark that images have several SeriesInstanceUIDs; None where they have one."""
    count = len(uids_of(images))
    if count < 2:
        return None
    text = (
        f"The {len(images)} images of the series have {count} different SeriesInstanceUIDs although they form one "
        "volume: all were used, but no DICOM object can refer to them."
    )
    return CaseWarning(text, "series-uids-differ", used=len(images), uids=count)


def uids_of(images: Iterable[Image]) -> tuple[str, ...]:
    """SeriesInstanceUIDs of images, each once."""
    return tuple(dict.fromkeys(image.series_uid for image in images))


def _acquisition(members: Sequence[Image]) -> tuple[object, ...] | None:
    """Attributes that parts of one volume have in common; None for images that cannot be such a part."""
    keys = set()
    for image in members:
        frame = image.frames[0]
        placed = frame.position is not None and frame.orientation is not None and frame.spacing is not None
        if not image.series_uid or len(image.frames) > 1 or frame.role or not placed:
            return None
        keys.add(
            (
                image.study_uid, image.series_number, tuple(image.header.get(name, "") for name in TELLING),
                frame.shape, _rounded(frame.spacing), _rounded(frame.orientation), frame.echo_time, frame.b_value,
                frame.traits[0],
            )
        )  # fmt: skip
    return keys.pop() if len(keys) == 1 else None


def _one_volume(parts: Sequence[Sequence[Image]], whole: Sequence[Image]) -> bool:
    positions = np.array([image.frames[0].position for image in whole])
    orientation = mean_orientation(np.array([image.frames[0].orientation for image in whole]))
    if is_regular(positions, orientation):
        return True
    return max(map(len, parts)) == 1 and not repeats(distances(positions, orientation))


def _rounded(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(value, 3) for value in values)
