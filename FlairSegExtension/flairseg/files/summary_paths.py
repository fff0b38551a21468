"""Path of the image in a ``summary.json``: written relative to the summary, resolved from any working directory.

Results are moved and copied together with their images, and 3D Slicer runs in another working directory than the
command line. So ``input`` is written relative to the summary's folder where both share a folder, else absolute.
Summaries of earlier versions hold the path as it was typed; :func:`find_input` opens those too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ..errors import InvalidGeometryError
from ..image.geometry import VolumeGeometry, triple
from .headers import placed_by_header

#: Tolerance of an image's corners against the summary's grid, mm.
PLACEMENT_TOLERANCE_MM = 0.5


def absolute_source(path: str | Path) -> str:
    """An input's path, absolute, as text that can be written as UTF-8."""
    return os.path.abspath(path).encode("utf-8", "replace").decode("utf-8")


def input_for_summary(source: str, folder: str | Path) -> str:
    """Return ``input`` for a summary in ``folder``.

    Parameters
    ----------
    source : str
        Absolute path of the image, or any other text (the name of a volume, a pseudonym), which is kept.
    folder : path
        Final folder of the summary, not the temporary one that it is written in.

    Returns
    -------
    str
        Relative to ``folder``, with forward slashes, where both are below a common folder other than the root;
        else ``source``.
    """
    if not os.path.isabs(source):
        return source
    # Links in the folder's path are resolved, since the system resolves them before it follows "..".
    parent = os.path.realpath(folder)
    image = os.path.join(os.path.realpath(os.path.dirname(source)), os.path.basename(source))
    try:
        common = os.path.commonpath([parent, image])
    except ValueError:
        # Another drive of Windows.
        return source
    if common == os.path.dirname(common):
        return source
    return Path(os.path.relpath(image, parent)).as_posix()


def find_input(named: str, folder: str | Path, grid: VolumeGeometry | None = None) -> Path | None:
    """The image that a summary names.

    An absolute path is tried as it is; a relative one from the summary's folder and then, for summaries of earlier
    versions, from each folder above it and from the working directory; at last the image's name beside the summary.

    Parameters
    ----------
    named : str
        ``input`` of the summary.
    folder : path
        The summary's folder.
    grid : VolumeGeometry, optional
        :func:`grid_of` the summary. A file on another grid is not the image, whatever its name; a folder of DICOM
        files is not looked into.

    Returns
    -------
    Path or None
        Absolute; None if it is gone.
    """
    for candidate in _candidates(named, Path(os.path.realpath(folder))):
        try:
            if candidate.exists() and _on_grid(candidate, grid):
                return candidate
        except (OSError, ValueError):
            continue
    return None


def grid_of(content: object) -> VolumeGeometry | None:
    """``grid`` of a summary (``shape_kji``, ``ijk_to_ras``); None where it is missing or cannot be understood."""
    try:
        found: Any = content
        shape = triple(int(n) for n in found["shape_kji"])
        return VolumeGeometry(shape, np.asarray(found["ijk_to_ras"], np.float64).reshape(4, 4))
    except (KeyError, TypeError, ValueError, InvalidGeometryError):
        return None


def _candidates(named: str, folder: Path) -> Iterator[Path]:
    if not named.strip():
        return
    # A summary may have been written on Windows.
    name = PurePath(named.replace("\\", "/")).name
    if os.path.isabs(named):
        yield Path(named)
    else:
        for parent in (folder, *folder.parents, Path.cwd()):
            yield Path(os.path.normpath(parent / named))
    if name:
        yield folder / name


def _on_grid(path: Path, grid: VolumeGeometry | None) -> bool:
    """Whether the header of an image has the summary's grid; True if either is unknown."""
    found = _header_grid(path) if grid is not None else None
    if grid is None or found is None:
        return True
    return any(
        VolumeGeometry(found.shape, affine).matches(grid, PLACEMENT_TOLERANCE_MM)
        for affine in (found.ijk_to_ras, *found.alternatives)
    )


def _header_grid(path: Path) -> VolumeGeometry | None:
    """Grid of an image file by its header; None for a folder, a header in error and what is no 3-D image."""
    import SimpleITK as sitk

    if path.is_dir():
        return None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    if reader.GetDimension() != 3:
        return None
    geometry = VolumeGeometry.from_itk(reader.GetSize(), reader.GetSpacing(), reader.GetDirection(), reader.GetOrigin())
    try:
        placed = placed_by_header(path, geometry.ijk_to_ras)
    except InvalidGeometryError:
        return None
    return VolumeGeometry(geometry.shape, placed.ijk_to_ras, placed.alternatives)
