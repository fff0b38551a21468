"""A stack of DICOM slices to a :class:`~flairseg.volume.Volume`, slice by slice, with the way back to its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CaseWarning, UnreadableImageError, UnusableIntensitiesError
from ..io.names import case_name
from ..progress import CancelToken, ProgressCallback, Reporter
from ..reading import check_volume
from ..volume import Volume
from .find import FoundFlair, directory_of, find_flair, find_without_pydicom
from .gdcm import has_pydicom
from .pixels import stored_frames
from .scan import Frame, read_header
from .series import Series, Stack
from .source import Source
from .text import bad_value, get, item, number, quiet, text

if TYPE_CHECKING:
    from pydicom import Dataset

#: Share of the reading that finding the series takes.
_FINDING = 0.4


@dataclass(frozen=True)
class DicomVolume:
    """A FLAIR that came as DICOM.

    Attributes
    ----------
    volume : Volume
        float32 (K, J, I), RAS mm. ``volume.array[k]`` is the source's frame ``source.frames[k]``, rows and columns as
        stored. Its name is the folder's, never a patient's.
    source : Source
        The frames that it came from: what SEG, SR and PDF refer to.
    found : FoundFlair or None
        Why this series, and what else there was; None where the series was given.
    """

    volume: Volume
    source: Source
    found: FoundFlair | None = None


def read_flair(
    folder: str | Path,
    series: str | None = None,
    by_look: bool = True,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> DicomVolume:
    """Find the FLAIR in a folder (:func:`find_flair`) and read it.

    Parameters
    ----------
    folder, series, by_look
        As for :func:`find_flair`.
    progress : callable, optional
        ``progress(fraction, stage)`` with the stage ``read``.
    cancel : CancelToken or callable, optional

    Returns
    -------
    DicomVolume
        The volume's ``information`` tells which of several series was taken and why, and how many of its images
        are used.

    Raises
    ------
    FlairSegError
        As for :func:`find_flair` and :func:`read_series`.
    """
    part = None if progress is None else lambda fraction, stage: progress(_FINDING * fraction, stage)
    rest = None if progress is None else lambda fraction, stage: progress(_FINDING + (1 - _FINDING) * fraction, stage)
    found = find_flair(folder, series, by_look, part, cancel)
    read = read_series(found.series, found.stack, _case_of(folder, found), rest, cancel)
    return replace(read, volume=_with_reason(read.volume, found), found=found)


def read_plainly(folder: str | Path) -> Volume:
    """The FLAIR of a folder as :func:`flairseg.read_volume` wants it: by its headers alone, with or without pydicom.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Volume
        The same with pydicom and without it.

    Raises
    ------
    MissingDependencyError
        If the folder holds what only pydicom can read (enhanced multi-frame files).
    FlairSegError
        As for :func:`read_flair`.
    """
    if has_pydicom():
        return read_flair(folder, by_look=False).volume
    found = find_without_pydicom(folder)
    read = read_series(found.series, found.stack, _case_of(folder, found))
    return _with_reason(read.volume, found)


def _case_of(folder: str | Path, found: FoundFlair) -> str:
    """Name of the case, by the header of the series that was taken."""
    return case_name(directory_of(folder), found.stack.frames[0].path)


def _with_reason(volume: Volume, found: FoundFlair) -> Volume:
    """The volume with why it was taken, and with what its headers say against a FLAIR."""
    warnings, information = list(volume.warnings), list(volume.information)
    if len({entry.series.uid for entry in found.listing}) > 1:
        information.insert(0, CaseWarning(found.reason, "series-chosen"))
    doubts = next(e.verdict.doubts for e in found.listing if e.taken)
    modality = found.series.modality
    if modality not in ("MR", ""):
        text = f"The DICOM header says {modality}, not MR: the result cannot be trusted."
        warnings.append(CaseWarning(text, "not-mr"))
    elif doubts and found.reason:
        warnings.append(CaseWarning(doubts[0].message, "doubtful-flair"))
    return replace(volume, warnings=tuple(warnings), information=tuple(information))


def read_series(
    series: Series,
    stack: Stack | None = None,
    name: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> DicomVolume:
    """Read one stack of a series.

    Parameters
    ----------
    series : Series
        From :func:`list_series` or :func:`find_flair`.
    stack : Stack, optional
        Default: the largest.
    name : str, optional
        Name of the case; default: by PatientID and StudyDate, see :mod:`flairseg.io.names`.
    progress : callable, optional
        ``progress(fraction, stage)`` with the stage ``read``.
    cancel : CancelToken or callable, optional
        Checked after each slice.

    Returns
    -------
    DicomVolume

    Raises
    ------
    UnsupportedImageError, InvalidGeometryError
        If the slices make no volume, or their compression cannot be decoded here.
    UnreadableImageError
        If a file is truncated or damaged.
    UnusableIntensitiesError
        If the voxels hold nothing to segment.
    """
    stack = series.stacks[0] if stack is None else stack
    if stack.problem is not None:
        raise stack.problem
    first = stack.frames[0].path
    name = case_name(first.parent, first) if name is None else name
    reporter = Reporter(progress, cancel)
    with reporter.stage("read", 0.0, 1.0):
        volume = check_volume(read_stack(stack, name, reporter.update))
    return DicomVolume(volume, Source.of(series, stack))


def read_stack(stack: Stack, name: str, step: Callable[[float], None] | None = None) -> Volume:
    """The voxels of a stack: stored values, rescaled frame by frame as the headers say.

    Parameters
    ----------
    stack : Stack
        Without a problem.
    name : str
        Name of the volume.
    step : callable, optional
        Called with the fraction done after each slice; may raise to cancel.

    Returns
    -------
    Volume
        float32 (K, J, I), not yet checked.
    """
    array = np.empty(stack.shape, dtype=np.float32)
    warnings = list(stack.warnings)
    inverted = False
    padding: list[tuple[int, np.ndarray]] = []
    # All frames of a file at once, so that no file is opened twice.
    order = sorted(range(len(stack.frames)), key=lambda k: (str(stack.frames[k].path), stack.frames[k].number))
    done = 0
    for path, members in groupby(order, key=lambda k: stack.frames[k].path):
        ks = list(members)
        with quiet():
            header = _read_pixel_header(path)
        inverted |= text(header, "PhotometricInterpretation") == "MONOCHROME1"
        frames = stored_frames(path, [stack.frames[k].number for k in ks])
        for k, stored in zip(ks, frames, strict=True):
            if stored.shape != array.shape[1:]:
                raise UnreadableImageError(
                    f"{path.name} cannot be read: its pixels are not as many as its header says.",
                    "Copy the series again, whole.",
                )
            slope, intercept = _rescale(header, stack.frames[k])
            array[k] = stored.astype(np.float64) * slope + intercept
            outside = is_padding(stored, header)
            if outside is not None and outside.any():
                padding.append((k, outside))
            done += 1
            if step is not None:
                step(done / len(order))
    information = list(stack.information)
    if padding:
        information.append(_blank(array, padding, inverted))
    if inverted:
        # Air is white in MONOCHROME1; the methods want it dark.
        np.subtract(array.max(), array, out=array)
        text_ = "The image is stored inverted (MONOCHROME1); it was turned round."
        warnings.append(CaseWarning(text_, "stored-inverted"))
    images = (len(stack.frames), stack.images or len(stack.frames))
    return Volume(array, stack.ijk_to_ras, name, tuple(warnings), information=tuple(information), images=images)


def _read_pixel_header(path: Path) -> Dataset:
    try:
        return read_header(path, _PIXEL_KEYWORDS, force=True)
    except bad_value() as error:
        raise UnreadableImageError(
            f"{path.name} cannot be read: it is truncated or damaged.", "Copy the series again, whole."
        ) from error


def is_padding(stored: np.ndarray, header: Dataset) -> np.ndarray | None:
    """Where a frame holds no image: PixelPaddingValue to PixelPaddingRangeLimit (DICOM PS3.3, C.7.5.1.1.2).

    Parameters
    ----------
    stored : ndarray
        Stored values, before any rescale.
    header : Dataset

    Returns
    -------
    ndarray of bool or None
        None where the header names no such value.
    """
    first = number(header, "PixelPaddingValue")
    if first is None:
        return None
    last = number(header, "PixelPaddingRangeLimit")
    low, high = sorted(_as_stored(v, header) for v in (first, first if last is None else last))
    return (stored >= low) & (stored <= high)


def _as_stored(value: float, header: Dataset) -> float:
    """A padding value as a pixel would hold it: some writers give a negative one as its unsigned twin."""
    bits = int(number(header, "BitsAllocated") or 16)
    if number(header, "PixelRepresentation") == 1:
        return value - 2**bits if value >= 2 ** (bits - 1) else value
    return value + 2**bits if value < 0 else value


def _blank(array: np.ndarray, padding: list[tuple[int, np.ndarray]], inverted: bool) -> CaseWarning:
    """Give padding the darkest value of the image proper, in place; what was done in one line."""
    inside = np.ones(array.shape, dtype=bool)
    for k, outside in padding:
        inside[k] &= ~outside
    count = array.size - int(np.count_nonzero(inside))
    if not inside.any():
        raise UnusableIntensitiesError(
            "The image is empty: every pixel holds the header's PixelPaddingValue.", "Take the series from the PACS."
        )
    array[~inside] = array[inside].max() if inverted else array[inside].min()
    text_ = f"{100 * count / array.size:.2g} % of the image is padding (PixelPaddingValue) and counts as background."
    return CaseWarning(text_, "padding")


def is_whole(path: Path) -> bool:
    """Whether one DICOM file stands for a volume or a tree: a multi-frame file, or a DICOMDIR."""
    if directory_of(path) != path:
        return True
    with quiet():
        try:
            return (number(read_header(path, ("NumberOfFrames",)), "NumberOfFrames") or 1) > 1
        except bad_value():
            return False


_PIXEL_KEYWORDS = (
    "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelRepresentation",
    "BitsAllocated",
)  # fmt: skip


def _rescale(header: Dataset, frame: Frame) -> tuple[float, float]:
    """Slope and intercept of one frame; 1 and 0 where none are given or they make no sense."""
    groups = get(header, "PerFrameFunctionalGroupsSequence")
    own = groups[frame.number] if groups is not None and frame.number < len(groups) else None
    places: Iterator[Dataset | None] = iter(
        (
            item(own, "PixelValueTransformationSequence"),
            item(item(header, "SharedFunctionalGroupsSequence"), "PixelValueTransformationSequence"),
            header,
        )
    )
    for place in places:
        slope = number(place, "RescaleSlope")
        if slope:
            return slope, number(place, "RescaleIntercept") or 0.0
    return 1.0, 0.0
