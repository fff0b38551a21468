"""The FLAIR of a DICOM folder, or one series of it, as a :class:`~flairseg.image.volume.Volume` that knows its
frames.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CaseWarning
from ..files.contrast_agent import agent_given, is_agent
from ..files.kinds import ENDINGS
from ..files.names import case_name
from ..image.checks import check_volume
from ..image.volume import Volume
from ..progress import CancelToken, ProgressCallback, Reporter
from .find import FoundFlair, directory_of, find_flair, find_without_pydicom
from .gdcm import has_pydicom
from .scan import read_header
from .series import Series, Stack
from .source import Source
from .stack_reading import read_stack
from .text import bad_value, number, quiet

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
        The reason for this series, and the others; None where the series was given.
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
        The volume's ``information`` states which of several series was taken and why, and how many of its images
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
    return replace(read, volume=_with_reason(read.volume, found, folder), found=found)


def read_found(found: FoundFlair, name: str) -> DicomVolume:
    """Read a FLAIR that :func:`flairseg.dicom.find.choose_flair` found, with the reason as :func:`read_flair` gives it.

    Parameters
    ----------
    found : FoundFlair
    name : str
        Name of the case.

    Raises
    ------
    FlairSegError
        As for :func:`read_series`.
    """
    read = read_series(found.series, found.stack, name)
    return replace(read, volume=_with_reason(read.volume, found), found=found)


def read_plainly(folder: str | Path) -> Volume:
    """The FLAIR of a folder for :func:`flairseg.read_volume`: by its headers alone, with or without pydicom.

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
    return _with_reason(read.volume, found, folder)


def _case_of(folder: str | Path, found: FoundFlair) -> str:
    """Name of the case, by the header of the series that was taken."""
    return case_name(directory_of(folder), found.stack.frames[0].path)


def _images_beside(folder: str | Path) -> int:
    """Number of image files other than DICOM directly in a folder."""
    try:
        return sum(name.lower().endswith(tuple(ENDINGS)) for name in os.listdir(folder))
    except OSError:
        return 0


def _with_reason(volume: Volume, found: FoundFlair, folder: str | Path | None = None) -> Volume:
    """The volume with the reason for the choice, doubts from its headers, and what else is in the folder."""
    warnings, information = list(volume.warnings), list(volume.information)
    beside = 0 if folder is None else _images_beside(folder)
    if beside:
        # Not by name: that may be a patient's.
        text = f"The DICOM images of the folder are used; {beside} other image file{'s' * (beside > 1)} in it "
        text += f"{'were' if beside > 1 else 'was'} not read."
        information.append(CaseWarning(text, "images-beside"))
    if len({entry.series.identity for entry in found.listing}) > 1:
        information.insert(0, CaseWarning(found.reason, "series-chosen"))
    doubts = next(e.verdict.doubts for e in found.listing if e.taken)
    modality = found.series.modality
    if modality not in ("MR", ""):
        text = f"The DICOM header says {modality}, not MR: the result cannot be trusted."
        warnings.append(CaseWarning(text, "not-mr"))
    elif doubts and found.reason:
        warnings.append(CaseWarning(doubts[0].message, "doubtful-flair"))
    if is_agent(found.stack.header.get("ContrastBolusAgent")):
        warnings.append(agent_given("The series"))
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
        Name of the case; default: by PatientID and StudyDate, see :mod:`flairseg.files.names`.
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


def is_whole(path: Path) -> bool:
    """Whether one DICOM file represents a volume or a tree: a multi-frame file, or a DICOMDIR."""
    if directory_of(path) != path:
        return True
    with quiet():
        try:
            return (number(read_header(path, ("NumberOfFrames",)), "NumberOfFrames") or 1) > 1
        except bad_value():
            return False
