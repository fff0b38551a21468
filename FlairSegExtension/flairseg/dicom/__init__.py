"""DICOM input and output: selection and reading of a study's FLAIR; SEG, SR and encapsulated PDF of its series.

pydicom and highdicom (the extra ``dicom``) are imported when first needed. Without them :func:`flairseg.read_volume`
still reads a folder with one plain series, by SimpleITK alone.
"""

from __future__ import annotations

from .find import FoundFlair, Listed, find_flair
from .making import Algorithm
from .pdf import make_pdf
from .read import DicomVolume, read_flair, read_series
from .seg import make_seg
from .series import Series, Stack, list_series
from .source import Source
from .sr import make_sr

__all__ = [
    "Algorithm",
    "DicomVolume",
    "FoundFlair",
    "Listed",
    "Series",
    "Source",
    "Stack",
    "find_flair",
    "list_series",
    "make_pdf",
    "make_seg",
    "make_sr",
    "read_flair",
    "read_series",
]
