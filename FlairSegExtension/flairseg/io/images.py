"""The image that a command works on: any volume but a label map, which would be segmented as if it were one."""

from __future__ import annotations

import zlib
from pathlib import Path

from ..errors import UnsupportedImageError
from ..files.nifti import HEADER_BYTES, first_bytes
from ..image.volume import Volume
from .raw_reading import signature_of
from .reader import read_volume

#: A field that every segmentation of 3D Slicer has in its NRRD header.
_SEGMENTATION_FIELD = b"Segmentation_"
_HEADER_BYTES = 1 << 14
#: NIfTI's ``intent_code``, and NIFTI_INTENT_LABEL (nifti1.h).
_INTENT, _LABEL_INTENT = slice(68, 70), 1002


def read_image(path: str | Path) -> Volume:
    """:func:`flairseg.io.reader.read_volume`, without label maps.

    What FlairSeg wrote itself is known by its header (label map, lesion mask, map of changes), what 3D Slicer wrote by
    the fields of its segmentations, and NIfTI files of any program by the intent "label". A loop over a folder with
    results meets them.

    Raises
    ------
    UnsupportedImageError
        Code ``label-map-as-image``.
    FlairSegError
        As for :func:`flairseg.io.reader.read_volume`.
    """
    path = Path(path)
    if is_label_map(path):
        raise UnsupportedImageError(
            f"{path.name} is a label map, not an image.",
            "Give the FLAIR from which it was made.",
            code="label-map-as-image",
            file=path.name,
        )
    return read_volume(path)


def _has_label_intent(path: Path) -> bool:
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    code = first_bytes(path, HEADER_BYTES)[_INTENT]
    return code in (_LABEL_INTENT.to_bytes(2, "little"), _LABEL_INTENT.to_bytes(2, "big"))


def is_label_map(path: Path) -> bool:
    """Whether the header of a file marks a label map; False for folders and for unreadable files."""
    try:
        if not path.is_file():
            return False
        if path.name.lower().endswith((".nrrd", ".nhdr")):
            with path.open("rb") as stream:
                return _SEGMENTATION_FIELD in stream.read(_HEADER_BYTES).partition(b"\n\n")[0]
        return bool(signature_of(path)) or _has_label_intent(path)
    except (OSError, EOFError, ValueError, zlib.error):
        return False
