"""Slice spacing that dcm2niix records only in file names: the slices of a series were not evenly spaced.

It then writes two images: ``name.nii`` with the slices of the series, spaced evenly by the first of their distances,
and ``name_Eq_1.nii`` with slices interpolated at even distances. Neither header nor sidecar records it
(``findings/dcm2niix_lost_slice.sh``).
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import CaseWarning
from .names import IMAGE_ENDINGS, stem_of

_MADE_EVEN = re.compile(r"(?P<name>.+)_Eq(?:_\d+)?")


def converter_warnings(path: Path) -> tuple[CaseWarning, ...]:
    """Warn of uneven slice distances recorded in the names of an image file and its neighbours.

    Parameters
    ----------
    path : Path
        An image file; its folder is listed. A folder that cannot be listed gives no warning.

    Returns
    -------
    tuple of CaseWarning
        ``slices-interpolated`` for an image that dcm2niix made even, ``slices-spaced-by-the-first`` for the one beside.
    """
    if _MADE_EVEN.fullmatch(stem_of(path)):
        text = (
            f"{path.name} was evenly resampled by dcm2niix: the slices of its series have varying distances or one is "
            "missing, and some slices of this file are interpolated. Findings in those slices are interpolated, too."
        )
        return (CaseWarning(text, "slices-interpolated"),)
    even = _made_even(path)
    if even is None:
        return ()
    text = (
        f"{path.name} has wrong slice distances: they vary, but dcm2niix used the first one for all slices, and wrote "
        f"{even} with equal distances. Volumes cannot be trusted; segment {even} or the DICOM series."
    )
    return (CaseWarning(text, "slices-spaced-by-the-first"),)


def _made_even(path: Path) -> str | None:
    """Name of the image beside this one that dcm2niix made even from the same series."""
    stem = stem_of(path)
    try:
        names = sorted(other.name for other in path.absolute().parent.glob("*_Eq*"))
    except OSError:
        return None
    for name in names:
        match = _MADE_EVEN.fullmatch(stem_of(name)) if name.lower().endswith(IMAGE_ENDINGS) else None
        if match is not None and match["name"] == stem:
            return name
    return None
