"""A label map as in its file: layers of values on a grid, and the file's metadata of those values.

Read here: NIfTI, NRRD and MetaImage by SimpleITK, with the segment fields of 3D Slicer's ``.seg.nrrd``
(https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html) and the label groups of MITK's
multi-label ``.nrrd``; DICOM Segmentation objects by :mod:`flairseg.io.dicom_segmentations`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import CaseWarning
from ..image.geometry import VolumeGeometry
from ..labels import CLASS_BY_VALUE, CLASSES, assessed_classes

#: Start of the tags that keep FlairSeg's provenance with a segment.
PROVENANCE = "FlairSeg."
#: Descriptions to write.
LABELS_DESCRIPTION = "FlairSeg labels, research use only"
LESION_MASK_DESCRIPTION = "FlairSeg lesion mask, research use only"
CHANGE_MAP_DESCRIPTION = "FlairSeg change map, research use only"


def labels_description(labels: np.ndarray, classes: Collection[int] = tuple(CLASS_BY_VALUE)) -> str:
    """Header text of a label map: its kind, and the voxels of each class, ``-`` for one that was not assessed.

    Programs copy headers to derived files: a mask of 0 and 1 with the header of a label map is recognised by its
    other number of voxels.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
    classes : collection of int
        Classes that the labels cover.
    """
    shown = [part for part in labels if part.any()]
    counts = np.zeros(len(CLASSES) + 1, np.int64)
    for c in CLASSES:
        counts[c.value] = sum(int(np.count_nonzero(part == c.value)) for part in shown)
    assessed = assessed_classes(counts, classes)
    said = [str(counts[c.value]) if c in assessed else "-" for c in CLASSES]
    return f"{LABELS_DESCRIPTION}; voxels {' '.join(said)}"


@dataclass(frozen=True)
class Segment:
    """Metadata of one value in a file.

    Attributes
    ----------
    layer : int
        Index of the layer in which it is.
    value : int
        Its value there.
    id, name : str
        As the file gives them; may be empty.
    code : tuple of 3 str
        Coding scheme, value and meaning of its type; empty strings where none is given.
    tags : mapping of str to str
        FlairSeg's provenance.
    """

    layer: int
    value: int
    id: str = ""
    name: str = ""
    code: tuple[str, str, str] = ("", "", "")
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Display name."""
        return self.name or self.code[2] or self.id or f"value {self.value}"


@dataclass(frozen=True)
class RawLabels:
    """The content of a file of labels.

    Attributes
    ----------
    path : Path
    kind : str
        ``nifti``, ``nrrd``, ``slicer``, ``mitk``, ``metaimage`` or ``dicom-seg``.
    layers : ndarray, shape (N, K, J, I)
        In the file's own type; may hold fractions or NaN.
    geometry : VolumeGeometry
    segments : tuple of Segment
        The file's metadata of its values; empty if it has none.
    whole : VolumeGeometry or None
        Grid of the segmented image, where the file records it and it differs from its own.
    signed : str
        What FlairSeg wrote the file as: ``labels``, ``lesion-mask``, ``change-map``; empty for files of other programs.
    warnings : tuple of CaseWarning
    noted : tuple of (int or None), or None
        Voxels of each class that FlairSeg noted in the header (:func:`labels_description`); None for a class that
        nobody looked for.
    """

    path: Path
    kind: str
    layers: np.ndarray
    geometry: VolumeGeometry
    segments: tuple[Segment, ...] = ()
    whole: VolumeGeometry | None = None
    signed: str = ""
    warnings: tuple[CaseWarning, ...] = ()
    noted: tuple[int | None, ...] | None = None
