"""The one table of classes: value, segment id, name, colour and terminology code.

All code that draws, writes or names a class uses it (principle 2 of the developer guide).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BACKGROUND = 0
VENTRICLES = 1
NORMAL_WMH = 2
LESION = 3


@dataclass(frozen=True)
class CodedConcept:
    """A DICOM coded concept: scheme designator, value and meaning."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class LabelClass:
    """One foreground class.

    Attributes
    ----------
    value : int
        Value in a label map (uint8).
    id : str
        Segment id in files and in Slicer; also the key in ``summary.json``.
    name : str
        Name shown to a reader.
    short_name : str
        The same as a column heading.
    rgb : tuple of int
        Colour, 0..255.
    code : CodedConcept
        Terminology code. ``99FLAIRSEG`` is the private scheme of this project: codes that could not be
        verified in SNOMED CT are never invented.
    category : CodedConcept
        Property category, as Slicer's own terminology lists name and code it.
    context : str
        Name of the terminology list that holds the code.
    """

    value: int
    id: str
    name: str
    short_name: str
    rgb: tuple[int, int, int]
    code: CodedConcept
    category: CodedConcept
    context: str

    @property
    def terminology_entry(self) -> str:
        """The class in Slicer's serialisation: context, category, type, modifier, region context, region, modifier.

        Used as the segment tag ``TerminologyEntry``, in a scene and in a ``.seg.nrrd`` alike.
        """
        coded = (f"{concept.scheme}^{concept.value}^{concept.meaning}" for concept in (self.category, self.code))
        return "~".join([self.context, *coded, "^^", _REGION_CONTEXT, "^^", "^^"])

    @property
    def rgb_unit(self) -> tuple[float, float, float]:
        """The colour as three floats in [0, 1], as VTK and MRML expect it."""
        red, green, blue = self.rgb
        return red / 255.0, green / 255.0, blue / 255.0


_SLICER_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_OWN_CONTEXT = "FlairSeg"
_REGION_CONTEXT = "Anatomic codes - DICOM master list"

_ANATOMICAL_STRUCTURE = CodedConcept("SCT", "123037004", "Anatomical Structure")
_TISSUE = CodedConcept("SCT", "85756007", "Tissue")
_ALTERED_STRUCTURE = CodedConcept("SCT", "49755003", "Morphologically Altered Structure")

CLASSES: tuple[LabelClass, ...] = (
    LabelClass(
        VENTRICLES,
        "ventricles",
        "Ventricles",
        "Ventricles",
        (51, 102, 255),
        CodedConcept("SCT", "35764002", "Brain ventricle"),
        _ANATOMICAL_STRUCTURE,
        _SLICER_CONTEXT,
    ),
    LabelClass(
        NORMAL_WMH,
        "normal_wmh",
        "Normal periventricular WMH",
        "Normal WMH",
        (51, 204, 77),
        CodedConcept("99FLAIRSEG", "NWMH", "Normal periventricular white matter hyperintensity"),
        _TISSUE,
        _OWN_CONTEXT,
    ),
    LabelClass(
        LESION,
        "lesion",
        "MS lesion (abnormal WMH)",
        "Lesions",
        (230, 41, 41),
        CodedConcept("99FLAIRSEG", "AWMH", "Multiple sclerosis lesion (abnormal white matter hyperintensity)"),
        _ALTERED_STRUCTURE,
        _OWN_CONTEXT,
    ),
)

CLASS_BY_VALUE: dict[int, LabelClass] = {c.value: c for c in CLASSES}
CLASS_BY_ID: dict[str, LabelClass] = {c.id: c for c in CLASSES}
NUMBER_OF_CLASSES = len(CLASSES) + 1


def assessed_classes(voxels: Sequence[int] | np.ndarray, looked_for: Collection[int]) -> tuple[LabelClass, ...]:
    """Assessed classes of a label map: the absence of any other is not a finding.

    Parameters
    ----------
    voxels : sequence of int
        Voxels of each value, 0..3.
    looked_for : collection of int
        Values of the classes that a model or a reader assessed.

    Returns
    -------
    tuple of LabelClass
        Those assessed, and any other that has a voxel; in the order of their values.
    """
    return tuple(c for c in CLASSES if voxels[c.value] or c.value in looked_for)
