"""A file of labels to its raw values: NIfTI, NRRD, MetaImage and DICOM Segmentation objects.

SimpleITK reads images; read beside them are the segment fields of 3D Slicer's ``.seg.nrrd``
(https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html) and the label groups of MITK's
multi-label ``.nrrd``. DICOM Segmentation objects are read by :mod:`flairseg.io.dicom_segmentations`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from ..errors import CaseWarning, InputNotFoundError, UnsuitableMaskError
from ..files.dicom_marks import is_dicom_file
from ..image.geometry import VolumeGeometry, triple
from .raw_labels import PROVENANCE, RawLabels, Segment

#: Key of MITK's description of labels in a NRRD header.
_MITK_GROUPS = "org.mitk.multilabel.segmentation.labelgroups"
#: Position of the NIfTI field ``descrip``, and FlairSeg's text for each kind of file.
_DESCRIPTION_BYTES = slice(148, 228)
_SIGNATURES = {
    b"FlairSeg labels": "labels",
    b"FlairSeg lesion mask": "lesion-mask",
    b"FlairSeg change map": "change-map",
}
#: Voxels of each class behind it, see :func:`.raw_labels.labels_description`.
_NOTED = re.compile(rb"; voxels ((?:\d+|-) (?:\d+|-) (?:\d+|-))")
#: Names of label maps that FlairSeg wrote before it signed them by kind.
_OWN_NAME = re.compile(r"(.*_)?labels\.nii(\.gz)?", re.IGNORECASE)
_OWN_CHANGE = re.compile(r"(.*_)?change\.nii(\.gz)?", re.IGNORECASE)


def read_raw(path: str | Path) -> RawLabels:
    """Read a file of labels, whole or not at all.

    Parameters
    ----------
    path : str or Path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.seg.nrrd``, ``.mha``, ``.mhd``; a DICOM Segmentation object, or a folder
        that holds one.

    Raises
    ------
    InputNotFoundError, UnreadableImageError, UnsupportedImageError, InvalidGeometryError
        As for :func:`flairseg.io.reader.read_components`.
    UnsuitableMaskError
        If it holds fractional segments (code ``fractional-segmentation``), or segments that no label describes.
    """
    path = Path(path)
    if path.is_dir() or is_dicom_file(path):
        from . import dicom_segmentations

        found = dicom_segmentations.find(path)
        if found is not None:
            return dicom_segmentations.read(found)
    if path.is_dir():
        raise InputNotFoundError(
            f"The folder {path} holds no DICOM segmentation.",
            "Give the file of the label map, or a folder with one DICOM Segmentation object.",
            code="label-map-not-found",
            path=str(path),
        )
    return _read_image(path)


def _read_image(path: Path) -> RawLabels:
    from .reader import read_components

    fields = _fields(path)
    if _is_single_voxel(path, fields):
        return _empty_segmentation(path, fields)
    grid, layers = read_components(path)
    geometry = grid.geometry
    told = tuple(CaseWarning.of(text) for text in grid.warnings)
    segments, kind = _described(path, fields, len(layers))
    return RawLabels(
        path,
        kind,
        layers,
        geometry,
        segments,
        _reference_geometry(fields, geometry),
        "labels" if any(segment.tags for segment in segments) else signature_of(path),
        told,
        _noted(path),
    )


def _fields(path: Path) -> dict[str, str]:
    """Key-value fields of a NRRD header; empty for other files."""
    if not path.name.lower().endswith((".nrrd", ".nhdr")):
        return {}
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        # Reading the voxels reports the error.
        return {}
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def _described(path: Path, fields: dict[str, str], layers: int) -> tuple[tuple[Segment, ...], str]:
    """Segments of a file and its kind."""
    if _MITK_GROUPS in fields:
        return _mitk_segments(path, fields[_MITK_GROUPS], layers), "mitk"
    if "Segment0_ID" in fields or "Segment0_Name" in fields or "Segmentation_ContainedRepresentationNames" in fields:
        return _slicer_segments(path, fields, layers), "slicer"
    endings = {".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "metaimage", ".mhd": "metaimage"}
    return (), endings.get(path.suffix.lower(), "nifti")


def _slicer_segments(path: Path, fields: dict[str, str], layers: int) -> tuple[Segment, ...]:
    representation = fields.get("Segmentation_SourceRepresentation") or fields.get(
        "Segmentation_MasterRepresentation", ""
    )
    if "fractional" in representation.lower():
        raise UnsuitableMaskError(
            f"{path.name} holds fractional segments ({representation}), not labels.",
            "Turn it into a binary label map, in 3D Slicer's module Segmentations under Representations.",
            code="fractional-segmentation",
            file=path.name,
        )
    numbers = sorted({int(m[1]) for key in fields if (m := re.match(r"Segment(\d+)_", key))})
    found = []
    for number in numbers:
        text = {key: fields.get(f"Segment{number}_{key}", "") for key in ("ID", "Name", "LabelValue", "Layer", "Tags")}
        # Files of before 5.0 hold one segment a layer, and neither layer nor value.
        layer, value = text["Layer"] or str(number if layers > 1 else 0), text["LabelValue"] or "1"
        if not layer.isdecimal() or not value.isdecimal() or int(layer) >= layers:
            raise UnsuitableMaskError(
                f"{path.name} is not a consistent segmentation: its segment {text['Name'] or text['ID']} is in layer "
                f"{layer} with the value {value}, and the file has {layers} layers.",
                "Save it again in 3D Slicer.",
                code="inconsistent-segmentation",
                file=path.name,
            )
        tags = dict(part.partition(":")[::2] for part in text["Tags"].split("|") if ":" in part)
        found.append(
            Segment(
                int(layer),
                int(value),
                text["ID"],
                text["Name"],
                _terminology_type(tags.get("TerminologyEntry", "")),
                {key: content for key, content in tags.items() if key.startswith(PROVENANCE) and content},
            )
        )
    return tuple(found)


def _terminology_type(entry: str) -> tuple[str, str, str]:
    """Scheme, value and meaning of the type in Slicer's terminology entry (context ~ category ~ type ~ ...)."""
    parts = entry.split("~")
    code = parts[2].split("^") if len(parts) > 2 else []
    return (code[0], code[1], code[2]) if len(code) == 3 else ("", "", "")


def _is_single_voxel(path: Path, fields: dict[str, str]) -> bool:
    """Whether Slicer saved a segmentation without a voxel: an image of 1 x 1 x 1 whose place means nothing."""
    if "Segmentation_ContainedRepresentationNames" not in fields:
        return False
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    out: bool = max(reader.GetSize()) == 1
    return out


def _empty_segmentation(path: Path, fields: dict[str, str]) -> RawLabels:
    geometry = VolumeGeometry((1, 1, 1), np.eye(4))
    segments = tuple(_slicer_segments(path, fields, 2**16))
    return RawLabels(
        path,
        "slicer",
        np.zeros((1, 1, 1, 1), np.uint8),
        geometry,
        segments,
        # Any grid will do: nothing is marked.
        _reference_geometry(fields, None) or geometry,
    )


def _reference_geometry(fields: dict[str, str], own: VolumeGeometry | None) -> VolumeGeometry | None:
    """Grid of the segmented image from Slicer's conversion parameter, if the file's own is another part of space."""
    for parameter in fields.get("Segmentation_ConversionParameters", "").split("&"):
        name, _, rest = parameter.partition("|")
        if name != "Reference image geometry":
            continue
        try:
            numbers = [float(text) for text in rest.split("|")[0].split(";") if text.strip()]
            affine, extent = np.array(numbers[:16]).reshape(4, 4), [int(n) for n in numbers[16:22]]
            affine[:3, 3] += affine[:3, :3] @ extent[::2]
            shape = triple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
            whole = VolumeGeometry(shape, affine)
        except (ValueError, IndexError, TypeError):
            return None
        if min(whole.shape) < 1 or (own is not None and whole.matches(own)):
            return None
        return whole
    return None


def _mitk_segments(path: Path, text: str, layers: int) -> tuple[Segment, ...]:
    try:
        groups = json.loads(text)
        found = [
            Segment(n, int(label["value"]), name=str(label.get("name", "")))
            for n, group in enumerate(groups)
            for label in group.get("labels") or ()
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnsuitableMaskError(
            f"{path.name} describes its labels in a form that cannot be read.",
            "Save it again in MITK, or export it as a NIfTI label map.",
            code="inconsistent-segmentation",
            file=path.name,
        ) from error
    if any(segment.layer >= layers for segment in found):
        raise UnsuitableMaskError(
            f"{path.name} describes more label groups than it holds ({layers}).",
            "Save it again in MITK, or export it as a NIfTI label map.",
            code="inconsistent-segmentation",
            file=path.name,
        )
    return tuple(found)


def _description(path: Path) -> bytes:
    """The field ``descrip`` of a NIfTI file; empty for other files."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return b""
    import gzip

    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        return stream.read(_DESCRIPTION_BYTES.stop)[_DESCRIPTION_BYTES]


def _noted(path: Path) -> tuple[int | None, ...] | None:
    """Voxels of each class that FlairSeg noted when it wrote a label map; None where it did not."""
    found = _NOTED.search(_description(path))
    return None if found is None else tuple(None if n == b"-" else int(n) for n in found[1].split())


def signature_of(path: Path) -> str:
    """Return FlairSeg's file type of a NIfTI file: ``labels``, ``lesion-mask`` or ``change-map``; empty for others.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    description = _description(path)
    for start, kind in _SIGNATURES.items():
        if description.startswith(start):
            return kind
    if not description.startswith(b"FlairSeg,"):
        return ""
    # Files of earlier versions: by their names.
    if _OWN_CHANGE.fullmatch(path.name):
        return "change-map"
    return "labels" if _OWN_NAME.fullmatch(path.name) else ""
