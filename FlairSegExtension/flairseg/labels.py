"""The one table of classes: value, segment id, name, colour and terminology code.

Everything that draws, writes or names a class reads it from here (law 2 of the house).
"""

from __future__ import annotations

from dataclasses import dataclass

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
    rgb : tuple of int
        Colour, 0..255.
    code : CodedConcept
        Terminology code. ``99FLAIRSEG`` is the private scheme of this project: codes that could not be
        verified in SNOMED CT are never invented.
    """

    value: int
    id: str
    name: str
    rgb: tuple[int, int, int]
    code: CodedConcept

    @property
    def rgb_unit(self) -> tuple[float, float, float]:
        """The colour as three floats in [0, 1], as VTK and MRML want it."""
        return tuple(channel / 255.0 for channel in self.rgb)


CLASSES: tuple[LabelClass, ...] = (
    LabelClass(VENTRICLES, "ventricles", "Ventricles", (51, 102, 255), CodedConcept("SCT", "35764002", "Brain ventricle")),
    LabelClass(
        NORMAL_WMH,
        "normal_wmh",
        "Normal periventricular WMH",
        (51, 204, 77),
        CodedConcept("99FLAIRSEG", "NWMH", "Normal periventricular white matter hyperintensity"),
    ),
    LabelClass(
        LESION,
        "lesion",
        "MS lesion (abnormal WMH)",
        (230, 41, 41),
        CodedConcept("99FLAIRSEG", "AWMH", "Multiple sclerosis lesion (abnormal white matter hyperintensity)"),
    ),
)

CLASS_BY_VALUE: dict[int, LabelClass] = {c.value: c for c in CLASSES}
CLASS_BY_ID: dict[str, LabelClass] = {c.id: c for c in CLASSES}
NUMBER_OF_CLASSES = len(CLASSES) + 1
