"""Reading of masks: a label map of any program, in FlairSeg's classes, on its image's grid.

Order of precedence. A meaning stated by the user comes first. Else a segmentation that describes its segments (3D
Slicer, MITK, DICOM SEG) is read by the segment's id, its name, then its terminology code - never by the number alone.
Else a file that FlairSeg signed is read as what it was written as. Else plain values 1, 2, 3 are taken for FlairSeg's
own, if they can be; whatever else is found is refused with the list of what was found.

Overlap. A voxel in segments of several classes is a lesion before it is normal WMH before it is ventricle; a warning
counts such voxels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import CaseWarning, GridMismatchError
from ..files.headers import reconciled
from ..image.checks import IMPLAUSIBLE_ML
from ..image.geometry import VolumeGeometry
from ..labels import CLASS_BY_VALUE
from .label_meanings import LabelMapping
from .label_reading import FoundLabel, LabelReading, class_of_segment
from .raw_labels import RawLabels
from .raw_reading import read_raw


@dataclass(frozen=True)
class LabelMap:
    """A label map in FlairSeg's classes.

    Attributes
    ----------
    labels : ndarray of uint8, shape (K, J, I)
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    geometry : VolumeGeometry
        The image's, if given, else the file's (the full grid where a cropped file records it).
    path : Path
    kind : str
        As in :class:`~flairseg.io.raw_labels.RawLabels`.
    found : tuple of FoundLabel
        Values of the file and what they were read as.
    classes : frozenset of int
        Classes that the file covers; one that is missing here was not assessed, rather than absent.
    mapping : str
        The given meaning, as text; empty for the file's own names and for FlairSeg's values.
    tags : mapping of int to mapping of str to str
        Class value -> FlairSeg's provenance (``FlairSeg.model``, ...), where the file keeps it.
    warnings : tuple of CaseWarning
    scores : ndarray of float32, shape (K, J, I), or None
        The probabilities that the labels were thresholded from, on the same grid.
    """

    labels: np.ndarray
    geometry: VolumeGeometry
    path: Path
    kind: str
    found: tuple[FoundLabel, ...]
    classes: frozenset[int]
    mapping: str = ""
    tags: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    warnings: tuple[CaseWarning, ...] = ()
    scores: np.ndarray | None = None


def read_label_map(
    path: str | Path,
    geometry: VolumeGeometry | None = None,
    mapping: LabelMapping | None = None,
    *,
    doubtful: Literal["ask", "refuse", "warn"] = "ask",
    subject: str = "",
) -> LabelMap:
    """Read a label map of any program into FlairSeg's classes.

    Parameters
    ----------
    path : str or Path
        NIfTI, NRRD, ``.seg.nrrd``, MetaImage, or a DICOM Segmentation object (or a folder with one).
    geometry : VolumeGeometry, optional
        Grid of the image that the map belongs to. A cropped or re-ordered map is put in its place; nothing is
        interpolated.
    mapping : LabelMapping, optional
        What the values mean (:func:`~flairseg.io.label_meanings.parse_meaning`). By default the file is asked.
    doubtful : {"ask", "refuse", "warn"}
        Plain files of unknown origin without the value 3: with ``ask`` a single value is refused (a binary mask?) and
        1 with 2 is reported; ``refuse`` refuses both, ``warn`` reports both.
    subject : str
        Whose map it is where several are read in one call (a method, ``reference``); stands before the meaning in
        advice: ``LST:binary``.

    Returns
    -------
    LabelMap

    Raises
    ------
    InputNotFoundError, UnreadableImageError, UnsupportedImageError, InvalidGeometryError
        If it cannot be read as a whole.
    UnsuitableMaskError
        Codes ``unnamed-labels`` (values that nothing names), ``probabilities-not-labels``, ``labels-not-in-mapping``,
        ``fractional-segmentation``, ``several-volumes``, ``implausible-labels``, ``ambiguous-label-value``,
        ``image-not-labels``.
    GridMismatchError
        If it is on another grid than ``geometry``, or marks voxels outside of it.
    """
    reading = LabelReading(_reconciled(read_raw(path), geometry), mapping, doubtful, subject)
    labels = reading.labels()
    raw = reading.raw
    placed, grid = _placed(raw, labels, geometry)
    tagged = ((class_of_segment(segment), segment.tags) for segment in raw.segments if segment.tags)
    tags = {class_value: dict(found) for class_value, found in tagged if class_value is not None}
    return LabelMap(
        placed,
        grid,
        raw.path,
        raw.kind,
        tuple(reading.found),
        reading.classes,
        str(mapping) if mapping is not None else "",
        tags,
        (*raw.warnings, *reading.warnings, *_implausible(raw.path.name, labels, raw.geometry)),
        None if reading.scores is None else _placed(raw, reading.scores, geometry)[0],
    )


def _implausible(name: str, labels: np.ndarray, geometry: VolumeGeometry) -> list[CaseWarning]:
    """Doubts about a map whose values were stated or named, and cover more of the head than their class can."""
    found = []
    for value, limit in IMPLAUSIBLE_ML.items():
        ml = np.count_nonzero(labels == value) * geometry.voxel_volume_ml
        if round(ml, 3) > limit:
            text = (
                f"{CLASS_BY_VALUE[value].name}: {ml:.0f} ml are marked in {name}, more than is plausible. Check what "
                "its values mean."
            )
            found.append(CaseWarning(text, "volume-implausible"))
    return found


def _reconciled(raw: RawLabels, geometry: VolumeGeometry | None) -> RawLabels:
    """The file's grid by the placement on which its header and the image's agree."""
    if geometry is None:
        return raw
    own, other = geometry.reconcile(raw.geometry)
    return replace(raw, geometry=own, warnings=(*raw.warnings, reconciled(raw.path.name))) if other else raw


def _placed(raw: RawLabels, labels: np.ndarray, geometry: VolumeGeometry | None) -> tuple[np.ndarray, VolumeGeometry]:
    """Labels on the image's grid, or on the file's own (the full one, where recorded)."""
    empty = raw.geometry.shape == (1, 1, 1) and not labels.any() and raw.kind == "slicer"
    target = geometry or raw.whole
    if target is None or target == raw.geometry:
        return labels, raw.geometry
    if empty:
        return np.zeros(target.shape, labels.dtype), target
    try:
        if geometry is not None and not _nested(geometry, raw.geometry):
            raise GridMismatchError("", differences=list(geometry.differences(raw.geometry)))
        return target.place(labels, raw.geometry), target
    except GridMismatchError as error:
        if geometry is None:
            return labels, raw.geometry
        outside = error.code == "outside-grid"
        where = "marks voxels outside of its image" if outside else "is not on the grid of its image"
        differences = "; ".join(geometry.differences(raw.geometry))
        raise GridMismatchError(
            f"{raw.path.name} {where} ({differences}).",
            "Check that they belong together."
            if outside
            else "Resample the label map to the image's grid with nearest-neighbour interpolation.",
            code="labels-outside-image" if outside else "labels-on-another-grid",
            **{**error.fields, "file": raw.path.name},
        ) from error


def _nested(image: VolumeGeometry, own: VolumeGeometry) -> bool:
    """Whether one grid is a part of the other along each axis; a map of the image's size elsewhere is misplaced."""
    placement = image.locate(own)
    if placement is None:
        return False
    return all(
        (first >= 0 and first + count <= size) or (first <= 0 and first + count >= size)
        for first, count, size in zip(placement.start, placement.shape, image.shape, strict=True)
    )
