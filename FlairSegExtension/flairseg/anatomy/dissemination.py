"""Evidence for dissemination in space: the regions with lesions, told as evidence and never as a diagnosis.

The one place of the wording; reports, panel and DICOM objects print it from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .regions import INFRATENTORIAL, JUXTACORTICAL, PERIVENTRICULAR

#: The regions of the criteria that a brain FLAIR shows, in the criteria's order, and how they are called in a sentence.
ASSESSED = {
    PERIVENTRICULAR: "periventricular",
    JUXTACORTICAL: "juxtacortical or cortical",
    INFRATENTORIAL: "infratentorial",
}
#: The two that it does not show.
NOT_ASSESSED = ("spinal cord", "optic nerve")
REFERENCE = (
    "Montalban X et al. Diagnosis of multiple sclerosis: 2024 revisions of the McDonald criteria. Lancet Neurol "
    "2025;24:850-865. doi:10.1016/S1474-4422(25)00270-4"
)
#: What is printed after every statement.
CAVEAT = (
    "Spinal cord and optic nerve: not assessed. This lists where hyperintensities were found; it is no diagnosis, and "
    "a reader must confirm each lesion and region. Research use only."
)


def dissemination(regions: Iterable[str]) -> dict[str, Any]:
    """Regions of the McDonald criteria in which lesions were found.

    Parameters
    ----------
    regions : iterable of str
        Region of each lesion (:data:`flairseg.anatomy.REGIONS`).

    Returns
    -------
    dict
        ``regions_with_lesions`` (of periventricular, juxtacortical, infratentorial), ``text``, ``not_assessed``,
        ``reference``.
    """
    given = list(regions)
    found = [region for region in ASSESSED if region in given]
    unknown = given.count("unknown")
    names = [ASSESSED[region] for region in found]
    if names:
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        text = f"Lesions were found in {len(names)} of the 3 regions that a brain FLAIR shows: {listed}."
    elif unknown:
        text = "The regions of the lesions could not be told."
    else:
        text = "No lesions were found in the 3 regions that a brain FLAIR shows."
    if names and unknown:
        text += f" The region of {unknown} lesion{'s' if unknown > 1 else ''} could not be told."
    return {
        "regions_with_lesions": found,
        "text": f"{text} {CAVEAT}",
        "not_assessed": list(NOT_ASSESSED),
        "reference": REFERENCE,
    }
