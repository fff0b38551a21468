"""Files and DICOM folders to a :class:`~flairseg.image.volume.Volume`. Failures raise typed errors with advice.

SimpleITK reads. What it would not notice (truncated NIfTI files, disagreeing or missing placements, uneven DICOM
slices) is checked here; what makes no sense for a brain (absurd spacing, no contrast) in
:func:`flairseg.image.checks.check_volume`, which callers that bring their own arrays (Python, Slicer) pass through
as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import (
    CaseWarning,
    InputNotFoundError,
    InvalidGeometryError,
    UnreadableImageError,
    UnsupportedImageError,
)
from ..files.contrast_agent import agent_warnings
from ..files.converted import converter_warnings
from ..files.headers import nifti_placement, text_placement
from ..files.kinds import ENDINGS, ending_of, kind_of, wrong_kind
from ..files.metaimage import check_whole
from ..files.names import case_name, is_text, stem_of
from ..files.nifti import NiftiHeader, first_bytes, read_header, read_header_and_voxels
from ..image.checks import EXPORT_AGAIN, RESAMPLE, check_grid, check_volume
from ..image.volume import Volume, volume_from_sitk

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Enough of a file to identify its kind.
_FIRST_BYTES = 512
#: What NumPy calls the types of voxels of SimpleITK.
_NUMPY_TYPES = {
    "8-bit signed integer": "int8", "8-bit unsigned integer": "uint8", "16-bit signed integer": "int16",
    "16-bit unsigned integer": "uint16", "32-bit signed integer": "int32", "32-bit unsigned integer": "uint32",
    "32-bit float": "float32", "64-bit float": "float64",
}  # fmt: skip
#: Folders below one without an image that are searched for an example.
_FOLDERS_LOOKED_AT = 200


def read_volume(path: str | Path) -> Volume:
    """Read one FLAIR volume and check that it can be segmented.

    Parameters
    ----------
    path : str or Path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha`` (also ``.nhdr``, ``.mhd``), or a folder with DICOM series. Of several
        series the one is taken that its headers call a FLAIR (needs pydicom; see :mod:`flairseg.dicom`).

    Returns
    -------
    Volume
        float32 voxels (K, J, I); ``warnings`` states what was noticed or mended.

    Raises
    ------
    InputNotFoundError
        If the path does not exist or the folder holds no DICOM image.
    UnreadableImageError
        If the file is damaged, truncated, of another format or may not be read.
    UnsupportedImageError
        If it is not one scalar 3-D volume.
    InvalidGeometryError
        If spacing or direction make no physical sense.
    UnusableIntensitiesError
        If the voxels hold nothing to segment.
    """
    path = Path(path)
    try:
        is_folder = path.is_dir()
        exists = is_folder or path.exists()
    except (OSError, ValueError):
        is_folder = exists = False
    if not exists:
        raise InputNotFoundError(f"There is no file or folder {path}.", "Check the path for typing errors.")
    if not is_text(path):
        # SimpleITK would end the whole process.
        raise UnreadableImageError(
            f"The name of {stem_of(path)} is not UTF-8 text.", "Rename the file and its folders."
        )
    with _quiet_itk():
        volume = _read_dicom(path) if is_folder else _read_file(path)
    if not is_folder:
        volume = replace(volume, warnings=(*volume.warnings, *converter_warnings(path), *agent_warnings(path)))
    return check_volume(volume)


def read_components(path: str | Path) -> tuple[Volume, np.ndarray]:
    """Read a label map, or probabilities of several classes: what :func:`read_volume` would refuse as no brain image.

    Parameters
    ----------
    path : str or Path
        As for :func:`read_volume`, but no folder; also several volumes in one file (4-D, or several values per voxel).

    Returns
    -------
    Volume
        The grid, with the first of the volumes; ``warnings`` states what is doubtful about its place.
    ndarray, shape (N, K, J, I)
        The voxels in the file's own type; not checked, may be empty of labels or hold NaN.

    Raises
    ------
    InputNotFoundError, UnreadableImageError, UnsupportedImageError, InvalidGeometryError
        As for :func:`read_volume`.
    """
    import SimpleITK as sitk

    path = Path(path)
    if not path.exists() or path.is_dir():
        raise InputNotFoundError(f"There is no file {path}.", "Check the path for typing errors.")
    if not is_text(path):
        raise UnreadableImageError(
            f"The name of {stem_of(path)} is not UTF-8 text.", "Rename the file and its folders."
        )
    ending = ending_of(path)
    head = _first_bytes(path)
    if ending is None or _kind(path, head) != ENDINGS[ending]:
        raise wrong_kind(path, ending, _kind(path, head), empty=not head)
    header = read_header(path) if ENDINGS[ending].startswith("NIfTI") else None
    if header is not None:
        _check_trailing(path, header)
    placed = None
    if header is not None:
        # Masks are measured on the grid of their image: their own voxel sizes are no reason to refuse them.
        placed = nifti_placement(header, path.name, strict=False)
        check_grid(placed.ijk_to_ras)
    with _quiet_itk():
        image = _execute(path)
    if "complex" in image.GetPixelIDTypeAsString() or image.GetDimension() > 4:
        _check_scalar(path, image.GetDimension(), image.GetSize(), image)
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    elif image.GetDimension() < 4:
        array = array[None]
    flat = image.GetDimension() == 2
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    elif image.GetDimension() == 2:
        array, image = array[:, None], sitk.JoinSeries(image)
    if header is not None and header.not_finite.size:
        array = array.astype(np.float32)
        array.ravel()[header.not_finite[header.not_finite < array.size]] = np.nan
    grid = replace(volume_from_sitk(image, stem_of(path)), array=array[0])
    if placed is None:
        placed = text_placement(path, grid.ijk_to_ras, strict=False)
    nifti = None if header is None else header.geometry
    warnings = (*placed.warnings, *((_thickness_warning(path),) if flat else ()))
    affine = grid.ijk_to_ras if flat else placed.ijk_to_ras
    alternatives = () if flat else placed.alternatives
    grid = replace(grid, ijk_to_ras=affine, nifti=nifti, warnings=warnings, alternatives=alternatives)
    check_grid(grid.ijk_to_ras)
    return grid, array


# --- files


def _read_file(path: Path) -> Volume:
    ending = ending_of(path)
    head = _first_bytes(path)
    kind = _kind(path, head)
    if kind == "DICOM":
        from ..dicom.read import is_whole, read_plainly

        if is_whole(path):
            return read_plainly(path)
    if ending is None or kind != ENDINGS[ending]:
        raise wrong_kind(path, ending, kind, empty=not head)
    if kind.startswith("NIfTI"):
        return _read_nifti(path)
    image = _execute(path)
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    _check_scalar(path, image.GetDimension(), image.GetSize(), image)
    volume = _single_slice(path, image) if image.GetDimension() == 2 else volume_from_sitk(image, case_name(path))
    placed = text_placement(path, volume.ijk_to_ras)
    return replace(volume, ijk_to_ras=placed.ijk_to_ras, warnings=(*volume.warnings, *placed.warnings))


def _first_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UnreadableImageError(
                f"{path.name} is neither a file nor a folder.", "Give an image file or a DICOM folder."
            )
        with path.open("rb") as stream:
            return stream.read(_FIRST_BYTES)
    except OSError as error:
        raise UnreadableImageError(
            f"{path.name} cannot be read: {error.strerror or error}.",
            "Check the permissions of the file and of its folder.",
        ) from error


def _kind(path: Path, head: bytes) -> str | None:
    """Kind of file by its first 512 bytes, decompressed where they are gzip, and its name."""
    try:
        return kind_of(path, head, first_bytes(path, _FIRST_BYTES))
    except OSError:
        return kind_of(path, head, head)


def _execute(path: Path) -> sitk.Image:
    """The image, or a typed error in place of ITK's."""
    import SimpleITK as sitk

    if ending_of(path) in (".mha", ".mhd"):
        check_whole(path)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _itk_error(path, error) from error


def _itk_error(path: Path, error: RuntimeError) -> Exception:
    text = str(error)
    if any(word in text for word in ("orthonormal", "determinant", "spacing is not supported", "direction")):
        return InvalidGeometryError(
            f"{path.name} has an impossible geometry: its axes are sheared, or one has no length.", RESAMPLE
        )
    return UnreadableImageError(
        f"{path.name} cannot be read: it is truncated, damaged or of a kind that SimpleITK does not know.", EXPORT_AGAIN
    )


def _check_scalar(path: Path, dimension: int, size: tuple[int, ...], image: sitk.Image) -> None:
    """Refuse time series, colour and complex images."""
    import SimpleITK as sitk

    if dimension > 3:
        shape = " x ".join(map(str, size))
        raise UnsupportedImageError(
            f"{path.name} holds several volumes ({shape}).", "Save the one that is the FLAIR as its own 3-D file."
        )
    if "complex" in image.GetPixelIDTypeAsString():
        raise UnsupportedImageError(f"{path.name} holds complex numbers.", "Save the magnitude image.")
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetPixelID() == sitk.sitkUnknown:
        raise UnsupportedImageError(
            f"{path.name} is a colour or vector image ({image.GetNumberOfComponentsPerPixel()} values per voxel).",
            "Give the original scalar FLAIR, not a rendered or exported picture of it.",
        )


def _single_slice(path: Path, image: sitk.Image) -> Volume:
    """A 2-D image as a volume of one slice of 1 mm."""
    import SimpleITK as sitk

    return volume_from_sitk(sitk.JoinSeries(image), case_name(path), (_thickness_warning(path),))


def _thickness_warning(path: Path) -> CaseWarning:
    return CaseWarning(
        f"{path.name} is 2-D without slice thickness: volumes in ml assume 1 mm and cannot be trusted.",
        "spacing-unknown",
    )


def _check_trailing(path: Path, header: NiftiHeader) -> None:
    """Refuse a file with more voxels than its header states: a part of the head, or of the lesions, is there."""
    if header.trailing:
        raise UnreadableImageError(
            f"{path.name} holds more voxels than its header announces ({' x '.join(map(str, header.shape))}).",
            "Its header is damaged, or several files were joined: export it again.",
            code="trailing-data",
        )


def _read_nifti(path: Path) -> Volume:
    header, voxels = read_header_and_voxels(path)
    _check_trailing(path, header)
    if any(n > 1 for n in header.shape[3:]):
        _raise_several(path, header)
    placed = nifti_placement(header, path.name)
    check_grid(placed.ijk_to_ras)
    if voxels is not None and _itk_agrees(path, header):
        return Volume(
            voxels, placed.ijk_to_ras, case_name(path), placed.warnings, nifti=header.geometry,
            alternatives=placed.alternatives,
        )  # fmt: skip
    del voxels
    image = _execute(path)
    if image.GetDimension() > 3:
        image = image[(slice(None),) * 3 + (0,) * (image.GetDimension() - 3)]
    _check_scalar(path, 3, image.GetSize(), image)
    if image.GetDimension() == 2:
        volume = _single_slice(path, image)
    else:
        volume = replace(
            volume_from_sitk(image, case_name(path)), ijk_to_ras=placed.ijk_to_ras, alternatives=placed.alternatives
        )
    if header.not_finite.size:
        array = volume.array.astype(np.float32)
        array.ravel()[header.not_finite[header.not_finite < array.size]] = np.nan
        volume = volume.with_array(array)
    warnings = (*volume.warnings, *placed.warnings)
    return replace(volume, nifti=header.geometry, warnings=warnings)


def _itk_agrees(path: Path, header: NiftiHeader) -> bool:
    """Whether ITK, by the header alone, would give the same voxels; its errors where it would refuse the file."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        grid = sitk.Image([1, 1, 1], sitk.sitkUInt8)
        if reader.GetDimension() == 3:
            # A negative size is a flip to ITK.
            grid.SetSpacing([abs(mm) for mm in reader.GetSpacing()])
            grid.SetDirection(reader.GetDirection())
    except RuntimeError as error:
        raise _itk_error(path, error) from error
    kind = _NUMPY_TYPES.get(sitk.GetPixelIDValueAsString(reader.GetPixelIDValue()))
    return (
        reader.GetSize() == header.shape
        and reader.GetNumberOfComponents() == 1
        and kind is not None
        and header.plain_type is not None
        and np.dtype(kind) == header.plain_type.newbyteorder("=")
    )


def _raise_several(path: Path, header: NiftiHeader) -> None:
    shape = " x ".join(map(str, header.shape))
    if len(header.shape) > 4 and header.shape[3] == 1:
        raise UnsupportedImageError(f"{path.name} is a vector image ({shape}).", "Give the original scalar FLAIR.")
    raise UnsupportedImageError(
        f"{path.name} holds several volumes ({shape}).", "Save the one that is the FLAIR as its own 3-D file."
    )


# --- DICOM


def _read_dicom(folder: Path) -> Volume:
    """The FLAIR of a folder by :mod:`flairseg.dicom`; what no header calls a FLAIR is not guessed here."""
    from ..dicom.read import read_plainly

    _check_folder(folder)
    try:
        return read_plainly(folder)
    except InputNotFoundError:
        raise _no_dicom(folder) from None


def _check_folder(folder: Path) -> None:
    try:
        os.listdir(folder)
    except OSError as error:
        raise UnreadableImageError(
            f"The folder {folder.name} cannot be read: {error.strerror or error}.",
            "Check the permissions of the folder.",
        ) from error


def _no_dicom(folder: Path) -> InputNotFoundError:
    """Error for a folder without DICOM files, with the likeliest remedy."""
    inside = sorted(folder.iterdir())
    images = [p.name for p in inside if any(p.name.lower().endswith(e) for e in ENDINGS)]
    folders = [p.name for p in inside if p.is_dir()]
    below = "" if images else _image_below(folder)
    if images or below:
        example = f"{folder.name}/{images[0] if images else below}"
        return InputNotFoundError(
            f"The folder {folder.name} holds no DICOM image.",
            f"Give the image file itself, for instance {example}.",
            code="folder-of-images",
            example=example,
        )
    if folders:
        advice = f"DICOM files must be directly in the folder: try {folder.name}/{folders[0]}."
    else:
        advice = "Give an image file, or a folder with the files of one DICOM series."
    return InputNotFoundError(f"The folder {folder.name} holds no DICOM image.", advice)


def _image_below(folder: Path) -> str:
    """Path (POSIX, relative) of the first image in the folders of a folder, as in a BIDS data set; empty if none."""
    for place, folders, names in islice(os.walk(folder), _FOLDERS_LOOKED_AT):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(tuple(ENDINGS)):
                return (Path(place) / name).relative_to(folder).as_posix()
    return ""


@contextmanager
def _quiet_itk() -> Iterator[None]:
    """Keep ITK's own warnings off the screen: what matters of them is reported as a warning or an error of ours."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
