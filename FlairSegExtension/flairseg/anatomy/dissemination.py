"""Evidence for dissemination in space: the regions with lesions, as evidence and never as a diagnosis.

Reports, panel and DICOM objects use this wording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .regions import INFRATENTORIAL, JUXTACORTICAL, PERIVENTRICULAR

#: The regions of the criteria that a brain FLAIR shows, in the criteria's order, and how they are called in a sentence.
ASSESSED = {
    PERIVENTRICULAR: "periventricular",
    JUXTACORTICAL: "juxtacortical or cortical",
    INFRATENTORIAL: "infratentorial",
}
#: The two that it does not cover.
NOT_ASSESSED = ("spinal cord", "optic nerve")
#: Lesions smaller than this along their largest diameter do not count (MAGNIMS: Filippi et al. 2019, Brain 142:1858).
SMALLEST_MM = 3.0
REFERENCE = (
    "Montalban X et al. Diagnosis of multiple sclerosis: 2024 revisions of the McDonald criteria. Lancet Neurol "
    "2025;24:850-865. doi:10.1016/S1474-4422(25)00270-4"
)
#: Appended to every statement.
CAVEAT = (
    "Spinal cord and optic nerve: not assessed. This lists where hyperintensities were found; it is not a diagnosis, "
    "and a reader must confirm each lesion and region. Research use only."
)


@dataclass(frozen=True)
class Dissemination:
    """Regions of the McDonald criteria with lesions.

    Attributes
    ----------
    regions_with_lesions : tuple of str
        Of periventricular, juxtacortical, infratentorial.
    lesions_below_3_mm : mapping of str to int
        Number in each of these regions that has some.
    text : str
        The same in sentences.
    not_assessed : tuple of str
    reference : str
    """

    regions_with_lesions: tuple[str, ...]
    lesions_below_3_mm: Mapping[str, int] = field(default_factory=dict)
    text: str = ""
    not_assessed: tuple[str, ...] = NOT_ASSESSED
    reference: str = REFERENCE

    def as_dict(self) -> dict[str, Any]:
        """Content for ``summary.json``."""
        return {
            "regions_with_lesions": list(self.regions_with_lesions),
            "lesions_below_3_mm": dict(self.lesions_below_3_mm),
            "smallest_mm": SMALLEST_MM,
            "text": self.text,
            "not_assessed": list(self.not_assessed),
            "reference": self.reference,
        }


def large_enough(diameter_mm: float | None) -> bool:
    """Whether a lesion counts: its diameter as tables state it, to 0.01 mm; one that is not known does.

    Before rounding, 3 voxels of 1 mm of an oblique grid measure 2.9999999 mm.
    """
    return diameter_mm is None or round(diameter_mm, 2) >= SMALLEST_MM


def dissemination(regions: Sequence[str], diameters_mm: Sequence[float | None]) -> Dissemination:
    """Regions of the McDonald criteria in which lesions of 3 mm and more were found.

    Parameters
    ----------
    regions : sequence of str
        Region of each lesion (:data:`flairseg.anatomy.REGIONS`).
    diameters_mm : sequence of float or None
        Largest diameter of each; None, where it is not known, counts as large enough.
    """
    large = [region for region, mm in zip(regions, diameters_mm, strict=True) if large_enough(mm)]
    found = [region for region in ASSESSED if region in large]
    small = {region: list(regions).count(region) - large.count(region) for region in ASSESSED}
    small = {region: count for region, count in small.items() if count}
    unknown = large.count("unknown")
    names = [ASSESSED[region] for region in found]
    if names:
        text = f"Lesions of 3 mm or more in {len(names)} of the 3 regions visible on brain FLAIR: "
        text += f"{_listed(names)}."
    elif unknown:
        text = "The regions of the lesions could not be determined."
    else:
        text = "No lesions of 3 mm or more in the 3 regions visible on brain FLAIR."
    if names and unknown:
        text += f" The region of {unknown} lesion{'s' if unknown > 1 else ''} could not be determined."
    if small:
        counted = [f"{ASSESSED[region]} ({count})" for region, count in small.items()]
        text += f" Not counted, as below 3 mm: {_listed(counted)}."
    return Dissemination(tuple(found), small, f"{text} {CAVEAT}")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
