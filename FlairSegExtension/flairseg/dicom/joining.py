"""One series under several UIDs of series or study: what an anonymiser, or an export of slabs, broke up is joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import CaseWarning
from ..image.flair_selection import FEW_SLICES
from .patients import differ
from .scan import TELLING, Image
from .stack import distances, is_regular, mean_orientation, repeats


def joined(groups: Iterable[list[Image]]) -> list[list[Image]]:
    """Groups of images of one study and series each, those put together that are parts of one volume.

    Parts are classic images of one patient, one SeriesNumber and one acquisition that differ in nothing but their
    places. Of one study, they are together evenly spaced slices, or each is a single slice at its own position. Of
    several studies, each is a single slice of one date, and together they are six or more, evenly spaced. Images with
    different PatientIDs, birth dates or sexes are never joined, not even where each file has its own PatientID:
    single slices of several patients look the same.

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
    return [group for parts in alike.values() for group in _joined(parts)]


def _joined(parts: list[list[Image]]) -> list[list[Image]]:
    """Parts of one acquisition: all as one, or those of each study, or as they are."""
    whole = [image for part in parts for image in part]
    studies: dict[str, list[list[Image]]] = {}
    for part in parts:
        studies.setdefault(part[0].study_uid, []).append(part)
    one_patient = not differ(image.patient for image in whole)
    if len(studies) == 1:
        return [whole] if len(parts) > 1 and one_patient and _one_volume(parts, whole) else parts
    one_day = one_patient and not differ(image.examination for image in whole)
    if one_day and len(studies) == len(whole) >= FEW_SLICES and is_regular(*_places(whole)):
        return [whole]
    return [group for own in studies.values() for group in _joined(own)]


def joined_warning(images: Sequence[Image]) -> CaseWarning | None:
    """Remark that images have several UIDs of series or study; None where they have one of each."""
    count, studies = len(uids_of(images)), studies_of(images)
    if max(count, studies) < 2:
        return None
    what = f"{studies} different StudyInstanceUIDs" if studies > 1 else f"{count} different SeriesInstanceUIDs"
    text = (
        f"The {len(images)} images of the series have {what} although they form one volume: all were used, but no "
        "DICOM object can refer to them."
    )
    return CaseWarning(text, "series-uids-differ", used=len(images), uids=max(count, studies))


def uids_of(images: Iterable[Image]) -> tuple[str, ...]:
    """SeriesInstanceUIDs of images, each once."""
    return tuple(dict.fromkeys(image.series_uid for image in images))


def studies_of(images: Iterable[Image]) -> int:
    """Number of StudyInstanceUIDs of images."""
    return len({image.study_uid for image in images})


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
                image.series_number, tuple(image.header.get(name, "") for name in TELLING),
                frame.shape, _rounded(frame.spacing), _rounded(frame.orientation), frame.echo_time, frame.b_value,
                frame.traits[0],
            )
        )  # fmt: skip
    return keys.pop() if len(keys) == 1 else None


def _places(whole: Sequence[Image]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 3) and the mean orientation (6,) of images that have both."""
    positions = np.array([image.frames[0].position for image in whole])
    return positions, mean_orientation(np.array([image.frames[0].orientation for image in whole]))


def _one_volume(parts: Sequence[Sequence[Image]], whole: Sequence[Image]) -> bool:
    positions, orientation = _places(whole)
    if is_regular(positions, orientation):
        return True
    return max(map(len, parts)) == 1 and not repeats(distances(positions, orientation))


def _rounded(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(value, 3) for value in values)
