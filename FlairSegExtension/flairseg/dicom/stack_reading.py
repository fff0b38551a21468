"""The voxels of one DICOM stack: rescaled slice by slice, padding blanked, in the order of its positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ..errors import CaseWarning, MissingDependencyError, UnreadableImageError, UnusableIntensitiesError
from ..image.volume import Volume
from .gdcm import has_pydicom
from .pixels import stored_frames
from .scan import Frame, read_header
from .series import Stack
from .text import bad_value, get, item, number, quiet, text

if TYPE_CHECKING:
    from pydicom import Dataset

    from .text import Header

_PIXEL_KEYWORDS = (
    "ModalityLUTSequence",
    "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelRepresentation",
    "BitsAllocated",
)  # fmt: skip


def read_stack(stack: Stack, name: str, step: Callable[[float], None] | None = None) -> Volume:
    """The voxels of a stack: stored values, rescaled frame by frame by the headers.

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
                    f"{path.name} cannot be read: its pixel count does not match its header.",
                    "Copy the complete series again.",
                )
            array[k] = _values(stored, header, stack.frames[k])
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
        # Air is white in MONOCHROME1; the methods expect it dark.
        np.subtract(array.max(), array, out=array)
        text_ = "The image is stored inverted (MONOCHROME1); it was inverted back."
        warnings.append(CaseWarning(text_, "stored-inverted"))
    images = (len(stack.frames), stack.images or len(stack.frames))
    return Volume(array, stack.ijk_to_ras, name, tuple(warnings), information=tuple(information), images=images)


def _read_pixel_header(path: Path) -> Header:
    try:
        return read_header(path, _PIXEL_KEYWORDS, force=True)
    except bad_value() as error:
        raise UnreadableImageError(
            f"{path.name} cannot be read: it is truncated or damaged.", "Copy the complete series again."
        ) from error


def is_padding(stored: np.ndarray, header: Header) -> np.ndarray | None:
    """Mark the pixels without image: PixelPaddingValue to PixelPaddingRangeLimit (DICOM PS3.3, C.7.5.1.1.2).

    Parameters
    ----------
    stored : ndarray
        Stored values, before any rescale.
    header : pydicom.Dataset or GdcmHeader

    Returns
    -------
    ndarray of bool or None
        None if the header has no such value.
    """
    first = number(header, "PixelPaddingValue")
    if first is None:
        return None
    last = number(header, "PixelPaddingRangeLimit")
    low, high = sorted(_as_stored(v, header) for v in (first, first if last is None else last))
    return (stored >= low) & (stored <= high)


def _as_stored(value: float, header: Header) -> float:
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


def _values(stored: np.ndarray, header: Header, frame: Frame) -> np.ndarray:
    """Values of a frame by the header's Modality LUT (DICOM PS3.3, C.11.1), a table or a line: float64."""
    if item(header, "ModalityLUTSequence") is None or number(header, "RescaleSlope"):
        slope, intercept = _rescale(header, frame)
        return stored.astype(np.float64) * slope + intercept
    if not has_pydicom():
        raise MissingDependencyError(
            "The pixels of the DICOM series use a Modality LUT, which needs pydicom.",
            "Install it with: pip install 'flairseg[dicom]'.",
            packages=["pydicom"],
        )
    from pydicom.pixels import apply_modality_lut

    try:
        return apply_modality_lut(stored, cast("Dataset", header)).astype(np.float64)
    except bad_value() as error:
        raise UnreadableImageError(
            f"{frame.path.name} cannot be read: its Modality LUT is damaged.", "Take the series from the PACS again."
        ) from error


def _rescale(header: Header, frame: Frame) -> tuple[float, float]:
    """Slope and intercept of one frame; 1 and 0 where none are given or they make no sense."""
    groups = get(header, "PerFrameFunctionalGroupsSequence")
    own = groups[frame.number] if groups is not None and frame.number < len(groups) else None
    places: Iterator[Header | None] = iter(
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
