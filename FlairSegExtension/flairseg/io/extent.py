"""Size of an image from its header, to estimate memory before reading."""

from __future__ import annotations

import math
import os
from pathlib import Path

from ..errors import FlairSegError
from ..files.kinds import ENDINGS, ending_of
from ..files.nifti import HEADER_BYTES, first_bytes, parse_header

#: Bytes of a voxel where only the file size is known.
_BYTES_PER_VOXEL = 2


def voxels_in(path: Path) -> int:
    """Number of voxels of an image, or at most that many of a DICOM folder.

    Parameters
    ----------
    path : Path
        Whatever :func:`flairseg.read_volume` takes. What cannot be read is not refused here: the size of the file
        is used instead.

    Returns
    -------
    int
        Of a folder: files times pixels of the first image, as if all of them were one series.
    """
    try:
        if path.is_dir():
            return _in_folder(path)
        ending = ending_of(path)
        if ending is not None and ENDINGS[ending].startswith("NIfTI"):
            return math.prod(parse_header(first_bytes(path, HEADER_BYTES), path.name).shape[:3])
        return _by_itk(path)
    except (OSError, ValueError, RuntimeError, FlairSegError):
        return _by_size([path])


def _in_folder(folder: Path) -> int:
    files = [Path(place, name) for place, _, names in os.walk(folder) for name in sorted(names)]
    pixels = 0
    for file in files:
        try:
            pixels = _by_itk(file)
        except RuntimeError:
            continue
        break
    return pixels * len(files) if pixels else _by_size(files)


def _by_itk(path: Path) -> int:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return math.prod(reader.GetSize()[:3])


def _by_size(files: list[Path]) -> int:
    size = 0
    for file in files:
        try:
            size += file.stat().st_size
        except OSError:
            continue
    return size // _BYTES_PER_VOXEL
