"""Voxel size, unit and orientation in image headers, with missing or contradictory fields.

One rule for every front end, format and installation:

- **Voxel size.** Two statements that differ by more than :data:`SIZE_TOLERANCE` (NIfTI: sform against pixdim) are
  refused, and both are named. A header without any is refused (code ``no-voxel-size``); one that leaves out some (a
  NRRD's NaN, the pixel spacing of DICOM, the thickness of a single picture) is read with 1 mm for these, with a
  warning (code ``spacing-unknown``).
  Signs of NIfTI's pixdim are ignored, as nibabel does (code ``negative-voxel-size``).
- **Unit.** Metres and micrometres are converted, with a warning (code ``unit-converted``).
- **Orientation.** NIfTI: the sform, else the qform, as nibabel, FSL and SPM read them; a warning names two that
  differ (code ``placements-differ``). Without either there is a warning (code ``orientation-unknown``).

Formats: https://nifti.nimh.nih.gov/nifti-1, https://teem.sourceforge.net/nrrd/format.html,
https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CaseWarning, InvalidGeometryError
from ..image.geometry import VolumeGeometry, spacing_of, triple
from .converted import converter_warnings
from .metaimage import metaimage_fields
from .nifti import HEADER_BYTES, NiftiHeader, first_bytes, parse_header

#: Two statements of a voxel edge are one if they differ by no more than this (relative): 3 % of a volume.
SIZE_TOLERANCE = 0.01
#: sform and qform may differ by this without a warning, mm: a quaternion in single precision that turns by nearly 180
#: degrees (most axial images) is off by up to 0.4 mm at the far corner of a head.
PLACEMENT_TOLERANCE_MM = 0.5
#: Names of units of length in NRRD and MetaImage headers, in mm.
_UNITS = {
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "millimeters": 1.0, "m": 1000.0, "meter": 1000.0, "metre": 1000.0,
    "cm": 10.0, "centimeter": 10.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "micrometer": 1e-3, "microns": 1e-3,
}  # fmt: skip
#: Frames of NRRD that define left, front and top.
_NRRD_FRAME = re.compile(r"(right|left)-(anterior|posterior)-superior(-time)?|(ras|las|lps)t?", re.IGNORECASE)
_TEXT_HEADER_BYTES = 1 << 16
_EXPORT = "Correct the header, or export the image again, for instance from 3D Slicer."


@dataclass(frozen=True)
class Placed:
    """Placement of the voxels by a header.

    Attributes
    ----------
    ijk_to_ras : ndarray, shape (4, 4)
        mm, RAS.
    warnings : tuple of CaseWarning
        Doubts about it.
    alternatives : tuple of ndarray, shape (4, 4)
        The other placement of the same header, where it differs.
    """

    ijk_to_ras: np.ndarray
    warnings: tuple[CaseWarning, ...] = ()
    alternatives: tuple[np.ndarray, ...] = ()


def nifti_placement(header: NiftiHeader, name: str, strict: bool = True) -> Placed:
    """Determine the placement of the voxels by a NIfTI-1 header.

    Parameters
    ----------
    header : NiftiHeader
    name : str
        Of the file, for messages.
    strict : bool
        Whether contradicting voxel sizes are an error (images) or a warning (masks, which are measured on the image's
        grid).

    Returns
    -------
    Placed

    Raises
    ------
    InvalidGeometryError
        If the placement is no finite numbers, the voxels have no size, or the header gives two sizes (code
        ``voxel-size-conflict``).
    """
    geometry = header.geometry
    sform, qform = geometry.sform_affine(), geometry.qform_affine()
    _check_numbers(header, name)
    pixdim = np.abs(geometry.pixdim[1:]) * geometry.unit_mm
    if sform is not None:
        affine, source = sform, "sform"
    elif qform is not None:
        affine, source = qform, "qform"
    else:
        affine, source = np.diag([-pixdim[0], -pixdim[1], pixdim[2], 1.0]), "pixdim"
    warnings = [_unit_warning(name, geometry.unit_mm, spacing_of(affine))]
    if sform is not None:
        warnings.append(_size_conflict(header, name, spacing_of(sform), pixdim, strict))
    if min(geometry.pixdim[1 : 1 + min(3, len(header.shape))]) < 0:
        given = " x ".join(f"{s:.4g}" for s in geometry.pixdim[1:])
        warnings.append(
            CaseWarning(
                f"{name} gives a negative voxel size ({given} mm); {_size(spacing_of(affine))} mm is used and the sign "
                "ignored. 3D Slicer and other programs based on ITK show left and right exchanged.",
                "negative-voxel-size",
            )
        )
    if source == "qform" and geometry.pixdim[0] not in (-1.0, 0.0, 1.0):
        warnings.append(
            CaseWarning(
                f"{name} gives {geometry.pixdim[0]:g} for the handedness of its axes, which must be 1 or -1: left and "
                "right may be exchanged.",
                "orientation-doubtful",
            )
        )
    if source == "pixdim":
        warnings.append(orientation_unknown())
    alternatives: tuple[np.ndarray, ...] = ()
    if sform is not None and qform is not None and (apart := _apart(header, sform, qform)) is not None:
        warnings.append(apart)
        alternatives = (qform,)
    return Placed(affine, tuple(w for w in warnings if w is not None), alternatives)


def orientation_unknown() -> CaseWarning:
    """The warning about a header without orientation."""
    return CaseWarning(
        "The header does not state the image's orientation: left and right are uncertain.",
        "orientation-unknown",
    )


def reconciled(name: str) -> CaseWarning:
    """The warning about a mask and an image that agree in another placement than the first of their headers."""
    return CaseWarning(
        f"{name} and its image have two placements in their headers (sform and qform) and agree in one of them, which "
        "was taken: they are the same voxels.",
        "placements-reconciled",
    )


def spacing_unknown(name: str) -> CaseWarning:
    """The warning about a header without voxel size."""
    return CaseWarning(
        f"{name} does not give the whole voxel size: 1 mm is assumed, so volumes in ml and sizes in mm cannot be "
        "trusted.",
        "spacing-unknown",
    )


def text_placement(path: Path, ijk_to_ras: np.ndarray, strict: bool = True) -> Placed:
    """Determine the placement of the voxels by a NRRD or MetaImage header.

    Parameters
    ----------
    path : Path
    ijk_to_ras : ndarray, shape (4, 4)
        As ITK read it, which knows no unit and takes 1 for what is missing.
    strict : bool
        As for :func:`nifti_placement`.

    Returns
    -------
    Placed

    Raises
    ------
    InvalidGeometryError
        If the header gives two voxel sizes (code ``voxel-size-conflict``), or none (``no-voxel-size``).
    """
    text = _text_header(path)
    sized, oriented, unit, negative = (_nrrd if text.startswith("NRRD") else _metaimage)(text, path, ijk_to_ras)
    scale = _UNITS.get(unit.lower(), 1.0)
    affine = np.array(ijk_to_ras, float)
    affine[:3] *= scale
    warnings = [_unit_warning(path.name, scale, spacing_of(affine))]
    if unit and unit.lower() not in _UNITS:
        warnings.append(CaseWarning(f"{path.name} gives lengths in {unit!r}, which was taken for mm.", "unit-unknown"))
    if strict and sized == 0:
        raise InvalidGeometryError(
            f"{path.name} gives no voxel size, so nothing can be measured in mm or ml.",
            "Enter the voxel size in 3D Slicer's module Volumes and save the image as .nii.gz, or convert it again.",
            code="no-voxel-size",
            file=path.name,
        )
    if sized < 1:
        warnings.append(spacing_unknown(path.name))
    elif negative:
        warnings.append(
            CaseWarning(
                f"{path.name} gives a negative voxel size ({negative} mm): its axis is taken to run the other way, so "
                "that left and right may be exchanged.",
                "negative-voxel-size",
            )
        )
    if not oriented:
        warnings.append(orientation_unknown())
    return Placed(affine, tuple(w for w in warnings if w is not None))


def header_warnings(path: str | Path) -> tuple[CaseWarning, ...]:
    """Return warnings about the geometry of an image file, from its header and its name only.

    For front ends that get their voxels from another reader, such as 3D Slicer.

    Parameters
    ----------
    path : str or Path
        Formats without a rule here, and files that cannot be read, give no warnings.

    Raises
    ------
    InvalidGeometryError
        If the header contradicts itself, as for :func:`flairseg.io.reader.read_volume`.
    """
    path = Path(path)
    try:
        head = first_bytes(path, HEADER_BYTES)
        if head[:4] == b"NRRD" or b"NDims" in head or b"ObjectType" in head:
            return (*text_placement(path, np.eye(4)).warnings, *converter_warnings(path))
        if head[344:347] == b"n+1":
            return (*nifti_placement(parse_header(head, path.name), path.name).warnings, *converter_warnings(path))
    except InvalidGeometryError:
        raise
    except Exception:  # noqa: BLE001 - other faults are reported by the file's reader
        return ()
    return ()


def placed_by_header(path: Path, ijk_to_ras: np.ndarray) -> Placed:
    """Position of an image or label map by the rules of this module; two voxel sizes are a warning, no refusal.

    Parameters
    ----------
    path : Path
    ijk_to_ras : ndarray, shape (4, 4)
        As ITK read it, which knows no unit, and takes the qform of some NIfTI files that have two placements and the
        sform of others.

    Raises
    ------
    InvalidGeometryError
        As for :func:`nifti_placement`.
    """
    head = first_bytes(path, HEADER_BYTES)
    if head[344:347] == b"n+1":
        return nifti_placement(parse_header(head, path.name), path.name, strict=False)
    if head[:4] == b"NRRD" or b"NDims" in head or b"ObjectType" in head:
        return text_placement(path, ijk_to_ras, strict=False)
    return Placed(np.asarray(ijk_to_ras, float))


# --- NIfTI


def _check_numbers(header: NiftiHeader, name: str) -> None:
    """Refuse a placement that is not finite, or voxels without a size, for which ITK would quietly take 1 mm."""
    geometry = header.geometry
    numbers = list(geometry.pixdim[1:])
    numbers += geometry.sform if geometry.sform_code > 0 else ()
    numbers += geometry.qform if geometry.qform_code > 0 else ()
    if not np.isfinite(numbers).all():
        raise InvalidGeometryError(
            f"The header of {name} contains NaN or infinity in the image's position.", _EXPORT, code="invalid-affine"
        )
    sform = geometry.sform_affine()
    if sform is not None:
        singular = VolumeGeometry((1, 1, 1), sform).voxel_volume_mm3 <= 1e-12 * geometry.unit_mm**3
    else:
        singular = 0.0 in geometry.pixdim[1 : 1 + min(3, len(header.shape))]
    if singular:
        raise InvalidGeometryError(
            f"The header of {name} gives no valid voxel size (zero or singular affine).", _EXPORT, code="no-voxel-size"
        )
    if geometry.sform_code <= 0 < geometry.qform_code and sum(q * q for q in geometry.qform[:3]) > 1.001:
        raise InvalidGeometryError(
            f"The header of {name} gives an invalid rotation (quaternion longer than 1).",
            _EXPORT,
            code="invalid-affine",
        )


def _size_conflict(
    header: NiftiHeader, name: str, spacing: tuple[float, ...], pixdim: np.ndarray, strict: bool
) -> CaseWarning | None:
    axes = [n for n in range(min(3, len(header.shape))) if header.shape[n] > 1 and pixdim[n] > 0]
    if all(abs(spacing[n] / pixdim[n] - 1) <= SIZE_TOLERANCE for n in axes):
        return None
    told = f"{name} gives two voxel sizes: {_size(spacing)} mm by its sform, {_size(pixdim)} mm by its pixdim"
    if not strict:
        return CaseWarning(f"{told}; the sform is used.", "voxel-size-conflict")
    raise InvalidGeometryError(
        f"{told}. Volumes in ml would depend on which one is right.",
        _EXPORT,
        code="voxel-size-conflict",
        file=name,
        sform_mm=[float(s) for s in spacing],
        pixdim_mm=[float(s) for s in pixdim],
    )


def _apart(header: NiftiHeader, sform: np.ndarray, qform: np.ndarray) -> CaseWarning | None:
    shape = triple((*header.shape[:3], 1, 1)[:3][::-1])
    first, second = VolumeGeometry(shape, sform), VolumeGeometry(shape, qform)
    if first.matches(second, PLACEMENT_TOLERANCE_MM):
        return None
    return CaseWarning(
        f"The header's sform and qform place the image up to {first.displacement_mm(second):.1f} mm apart; the sform "
        "is used. The label map repeats both, so view it with the same program as the image.",
        "placements-differ",
    )


# --- NRRD and MetaImage


def _text_header(path: Path) -> str:
    with path.open("rb") as stream:
        raw = stream.read(_TEXT_HEADER_BYTES)
    if raw[:4] == b"NRRD":
        raw = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    else:
        raw = re.split(rb"ElementDataFile", raw, maxsplit=1)[0]
    return raw.decode("utf-8", "replace")


def _fields(text: str) -> dict[str, str]:
    """The fields of a NRRD header, in lower case; key/value pairs (``:=``) are none of them."""
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {key.strip().lower(): value.strip() for key, sign, value in lines if sign and not value.startswith("=")}


def _nrrd(text: str, path: Path, ijk_to_ras: np.ndarray) -> tuple[float, bool, str, str]:
    """Share of the axes whose size a NRRD header gives; whether it gives an orientation; unit; negative sizes."""
    fields = _fields(text)
    vectors = re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))
    spacings = fields.get("spacings", "").split()
    known = [value for value in spacings if value.lower().lstrip("+-") not in ("nan", "")]
    wanted = min(3, int(fields.get("dimension", "3")))
    sized = min(1.0, max(len(vectors), len(known)) / wanted)
    mins, maxs = fields.get("axis mins", "").split(), fields.get("axis maxs", "").split()
    if sized == 0 and len(mins) == len(maxs) >= 3:
        extent = [float(high) - float(low) for low, high in zip(mins, maxs, strict=True)]
        sizes = [int(n) for n in fields["sizes"].split()]
        nodes = "node" in fields.get("centers", fields.get("centerings", ""))
        edges = [e / max(n - nodes, 1) for e, n in zip(extent, sizes, strict=True)]
        used = spacing_of(ijk_to_ras)
        if np.isfinite(edges).all() and not np.allclose(edges[-3:], used, rtol=SIZE_TOLERANCE):
            raise InvalidGeometryError(
                f"{path.name} gives two voxel sizes: {_size(edges[-3:])} mm by its axis mins and maxs, {_size(used)} "
                "mm by default. Volumes in ml would depend on which one is right.",
                _EXPORT,
                code="voxel-size-conflict",
                file=path.name,
            )
        sized = float(np.isfinite(edges).all())
    units = re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))
    unit = next((u.strip() for u in units if u.strip() and u.strip() != "???"), "")
    oriented = bool(_NRRD_FRAME.fullmatch(fields.get("space", ""))) and bool(vectors)
    negative = _size(map(float, known)) if not vectors and any(v.startswith("-") for v in known) else ""
    return sized, oriented, unit, negative


def _metaimage(text: str, path: Path, ijk_to_ras: np.ndarray) -> tuple[float, bool, str, str]:
    """As :func:`_nrrd`, for MetaImage."""
    fields = metaimage_fields(text)
    sizes = fields.get("ElementSpacing", fields.get("ElementSize", "")).split()
    oriented = any(key in fields for key in ("TransformMatrix", "Rotation", "Orientation"))
    negative = _size(map(float, sizes)) if any(value.startswith("-") for value in sizes) else ""
    return float(bool(sizes)), oriented, fields.get("DistanceUnits", "").strip("?"), negative


# --- messages


def _unit_warning(name: str, unit_mm: float, spacing: tuple[float, ...]) -> CaseWarning | None:
    if unit_mm == 1.0:
        return None
    return CaseWarning(
        f"{name} gives lengths in units of {unit_mm:g} mm ({_size([s / unit_mm for s in spacing])}): converted to a "
        f"voxel size of {_size(spacing)} mm.",
        "unit-converted",
    )


def _size(values: Iterable[float]) -> str:
    return " x ".join(f"{float(v):.4g}" for v in values)
