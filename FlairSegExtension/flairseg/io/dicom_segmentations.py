"""DICOM Segmentation objects (PS3.3, A.51): binary, fractional and label map, read by pydicom and placed in space.

Frames of empty slices may be missing, frames may come in any order, and segments may overlap; the grid is built from
the positions, so that a slice is where its header puts it. highdicom, which writes such objects, is not needed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MissingDependencyError, UnreadableImageError, UnsuitableMaskError
from ..files.dicom_marks import has_dicom_mark, is_dicom_file
from ..image.geometry import VolumeGeometry, lps_affine
from .raw_labels import RawLabels, Segment

if TYPE_CHECKING:
    from pydicom import Dataset

#: Storage classes: Segmentation, Label Map Segmentation.
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
#: Positions may be off a regular grid by this share of the distance between slices.
_OFF_GRID = 0.05
#: Direction cosines and pixel spacing (mm) of all frames agree this closely.
_SAME = 1e-3
#: Within these the file meta information names the class of the object.
_META_BYTES = 1024
#: Maximum number of files of a folder that are checked.
_MOST_FILES = 5000


def find(path: Path) -> Path | None:
    """The segmentation object that a path is, or that a folder holds; None if the path is no DICOM at all.

    Raises
    ------
    UnsuitableMaskError
        If the path is a DICOM file but no segmentation, or a folder with several segmentations.
    MissingDependencyError
        If pydicom is not installed.
    """
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_file())[:_MOST_FILES]
        found = [p for p in inside if is_dicom_file(p) and _storage_class(p) in _SEGMENTATIONS]
        if len(found) > 1:
            raise UnsuitableMaskError(
                f"The folder {path.name} holds {len(found)} DICOM segmentations "
                f"({', '.join(p.name for p in found[:3])}).",
                "Give the file of one of them.",
                code="several-segmentations",
                files=[p.name for p in found],
            )
        return found[0] if found else None
    if not is_dicom_file(path):
        return None
    if _storage_class(path) not in _SEGMENTATIONS:
        raise UnsuitableMaskError(
            f"{path.name} is a DICOM file, but not a segmentation (SEG).",
            "Give the SEG object, or the label map as .nii.gz or .nrrd.",
            code="not-a-segmentation",
            file=path.name,
        )
    return path


def read(path: Path) -> RawLabels:
    """Read a segmentation object.

    Returns
    -------
    RawLabels
        Values are segment numbers; overlapping segments are in separate layers. The grid spans the slices that
        the object has, in the orientation of its frames.

    Raises
    ------
    UnreadableImageError
        If it is truncated or damaged.
    UnsuitableMaskError
        If it holds fractions, or its frames are on no regular grid.
    """
    from pydicom import dcmread

    from ..dicom.text import bad_value, quiet

    with quiet():
        try:
            data = dcmread(path)
            groups = _groups(path, data)
            geometry, slices = _grid(path, data, groups)
            frames = _frames(path, data, len(groups))
            layers = _layers(path, data, groups, frames, geometry.shape, slices)
            segments = _segments(data, layers)
        except bad_value() as error:
            raise UnreadableImageError(
                f"{path.name} cannot be read: it is truncated, damaged, or lacks required attributes.",
                "Copy or export the file again.",
                code="damaged-segmentation",
                file=path.name,
            ) from error
    return RawLabels(
        path, "dicom-seg", layers, geometry, segments, signed="labels" if any(s.id for s in segments) else ""
    )


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM Segmentation object, by its file meta information; needs no pydicom."""
    try:
        with path.open("rb") as stream:
            meta = stream.read(_META_BYTES)
    except OSError:
        return False
    # Group 2 comes first and is never compressed; an odd UID is padded by a zero byte.
    found = re.search(rb"\x02\x00\x02\x00UI..([0-9.]+)", meta, re.DOTALL)
    return has_dicom_mark(meta) and found is not None and found[1].decode() in _SEGMENTATIONS


def _storage_class(path: Path) -> str:
    try:
        from pydicom import dcmread
    except ImportError as error:
        raise MissingDependencyError(
            "DICOM segmentations need pydicom, which is not installed.",
            "Install it, or give the label map as .nii.gz or .nrrd.",
            packages="pydicom",
        ) from error
    from ..dicom.text import bad_value

    try:
        return str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).get("SOPClassUID", ""))
    except bad_value():
        return ""


def _groups(path: Path, data: Dataset) -> list[Dataset]:
    """Functional groups of each frame."""
    groups = list(data.get("PerFrameFunctionalGroupsSequence") or ())
    if len(groups) != int(data.get("NumberOfFrames", 1)) or not groups:
        raise ValueError("frames without description")
    return groups


def _of(keyword: str, data: Dataset, group: Dataset | None) -> Dataset:
    """First item of a functional group: the frame's own, else the one shared by all frames; ValueError without."""
    shared = data.get("SharedFunctionalGroupsSequence") or [None]
    for place in (group, shared[0]):
        found = None if place is None else place.get(keyword)
        if found:
            out: Dataset = found[0]
            return out
    raise ValueError(f"no {keyword}")


def _grid(path: Path, data: Dataset, groups: list[Dataset]) -> tuple[VolumeGeometry, np.ndarray]:
    """Grid of all slices, and the slice (K) of each frame."""
    orientations = np.array(
        [_of("PlaneOrientationSequence", data, g).ImageOrientationPatient for g in groups], np.float64
    )
    positions = np.array([_of("PlanePositionSequence", data, g).ImagePositionPatient for g in groups], np.float64)
    measures = _of("PixelMeasuresSequence", data, groups[0])
    spacing = np.array([_of("PixelMeasuresSequence", data, g).PixelSpacing for g in groups], np.float64)
    if np.ptp(orientations, axis=0).max() > _SAME or np.ptp(spacing, axis=0).max() > _SAME:
        raise _irregular(path, "its frames have different orientations or pixel sizes")
    row, column = orientations[0].reshape(2, 3)
    normal = np.cross(row, column)
    along = (positions - positions[0]) @ normal
    sideways = positions - positions[0] - along[:, None] * normal
    if np.abs(sideways).max() > _OFF_GRID * spacing.min():
        raise _irregular(path, "its slices are shifted against each other")
    step = _step(path, np.unique(np.round(along - along.min(), 4)), measures)
    slices = np.rint((along - along.min()) / step).astype(int)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * spacing[0][1], column * spacing[0][0], normal * step
    affine[:3, 3] = positions[int(np.argmin(along))]
    shape = (int(slices.max()) + 1, int(data.Rows), int(data.Columns))
    return VolumeGeometry(shape, lps_affine(affine)), slices


def _step(path: Path, offsets: np.ndarray, measures: Dataset) -> float:
    """Distance of neighbouring slices in mm: the stated one if the positions agree, else what they have in common."""
    stated = [float(measures.get(key) or 0) for key in ("SpacingBetweenSlices", "SliceThickness")]
    if offsets.size == 1:
        return next((step for step in stated if step > 0), 1.0)
    gaps = np.diff(offsets)
    for step in (stated[0], float(gaps.min()), stated[1]):
        if step > 0:
            parts = offsets / step
            if np.abs(parts - np.rint(parts)).max() <= _OFF_GRID and np.rint(gaps / step).min() >= 1:
                # The mean over the whole stack: a rounded header adds up over many slices.
                return float(offsets[-1] / np.rint(parts[-1]))
    raise _irregular(path, "its slices are not at regular distances")


def _irregular(path: Path, why: str) -> UnsuitableMaskError:
    return UnsuitableMaskError(
        f"The segmentation {path.name} is not on a regular grid: {why}.",
        "Export it on the grid of its image, for instance from 3D Slicer.",
        code="irregular-segmentation",
        file=path.name,
    )


def _frames(path: Path, data: Dataset, count: int) -> np.ndarray:
    """Stored values (frames, rows, columns)."""
    syntax = data.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not syntax.name.startswith("RLE") and not syntax.is_deflated:
        from ..dicom.pixels import stored_frames

        frames = np.stack(list(stored_frames(path, range(count))))
    else:
        frames = data.pixel_array
        frames = frames if frames.ndim == 3 else frames[None]
    if len(frames) != count:
        raise ValueError("frames are missing")
    return frames


def _layers(
    path: Path,
    data: Dataset,
    groups: list[Dataset],
    frames: np.ndarray,
    shape: tuple[int, int, int],
    slices: np.ndarray,
) -> np.ndarray:
    """Segment numbers (layers, K, J, I); the fewest layers in which no two segments share a voxel."""
    if str(data.get("SegmentationType", "BINARY")).upper() == "LABELMAP":
        layer = np.zeros(shape, frames.dtype)
        layer[slices] = frames
        return layer[None]
    full = _full_value(path, data, frames)
    numbers = [int(_of("SegmentIdentificationSequence", data, g).ReferencedSegmentNumber) for g in groups]
    layers = [np.zeros(shape, np.uint16)]
    for number in sorted(set(numbers)):
        mask = np.zeros(shape, bool)
        for n in (n for n, other in enumerate(numbers) if other == number):
            mask[slices[n]] |= frames[n] == full
        free = next((layer for layer in layers if not layer[mask].any()), None)
        if free is None:
            layers.append(free := np.zeros(shape, np.uint16))
        free[mask] = number
    return np.stack(layers)


def _full_value(path: Path, data: Dataset, frames: np.ndarray) -> int:
    """The stored value of "inside"; raises for fractions."""
    if str(data.get("SegmentationType", "BINARY")).upper() != "FRACTIONAL":
        return 1
    full = int(data.get("MaximumFractionalValue") or 255)
    if np.isin(np.unique(frames), (0, full)).all():
        return full
    kind = str(data.get("SegmentationFractionalType", "")).lower() or "fractions"
    raise UnsuitableMaskError(
        f"{path.name} is a fractional DICOM segmentation ({kind} in {full} steps), not a label map.",
        "Give a binary segmentation, or a label map made with a threshold of your choice.",
        code="fractional-segmentation",
        file=path.name,
    )


def _segments(data: Dataset, layers: np.ndarray) -> tuple[Segment, ...]:
    from ..dicom.text import item, text

    found = []
    for segment in data.SegmentSequence:
        number = int(segment.SegmentNumber)
        if number == 0:
            continue
        layer = next((n for n, layer in enumerate(layers) if (layer == number).any()), 0)
        kind = item(segment, "SegmentedPropertyTypeCodeSequence")
        code = (text(kind, "CodingSchemeDesignator"), text(kind, "CodeValue"), text(kind, "CodeMeaning"))
        tracking = text(segment, "TrackingID")
        found.append(
            Segment(
                layer,
                number,
                tracking if tracking.startswith("FlairSeg ") else "",
                text(segment, "SegmentLabel"),
                code,
            )
        )
    return tuple(found)
