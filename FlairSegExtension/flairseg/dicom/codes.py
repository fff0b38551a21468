"""Codes of the measurements: those of DICOM's own dictionaries where there is one, else the private scheme.

Codes of SNOMED CT, LOINC and DCM are taken by name from pydicom's copy of DICOM PS3.16, so none is typed here. Names
of the regions that the 2024 McDonald criteria know (Montalban et al., Lancet Neurology 2025) have no code there: they
stay in ``99FLAIRSEG``.
"""

from __future__ import annotations

from ..labels import CodedConcept
from .making import PRIVATE_SCHEME

#: Region of a lesion as the lesion table calls it.
REGIONS = {
    "periventricular": CodedConcept(PRIVATE_SCHEME, "REG-PV", "Periventricular white matter"),
    "juxtacortical": CodedConcept(PRIVATE_SCHEME, "REG-JC", "Juxtacortical white matter or cortex"),
    "infratentorial": CodedConcept(PRIVATE_SCHEME, "REG-IT", "Infratentorial brain"),
    "deep_white_matter": CodedConcept(PRIVATE_SCHEME, "REG-DWM", "Deep white matter"),
}
CONFIDENCE = CodedConcept(PRIVATE_SCHEME, "CONFIDENCE", "Mean probability of the class by the model")
DRAWN_SHARE = CodedConcept(PRIVATE_SCHEME, "DRAWN-SHARE", "Share of such lesions that readers drew")
PEAK = CodedConcept(PRIVATE_SCHEME, "PEAK-PROB", "Highest probability of the class by the model")
VENTRICLE_DISTANCE = CodedConcept(PRIVATE_SCHEME, "VENT-DIST", "Distance to the ventricles")
#: Coordinates of a lesion's centre, RAS: towards the patient's right, front and head.
CENTRE = (
    CodedConcept(PRIVATE_SCHEME, "CENTRE-R", "Centre of mass towards the patient's right"),
    CodedConcept(PRIVATE_SCHEME, "CENTRE-A", "Centre of mass towards the patient's front"),
    CodedConcept(PRIVATE_SCHEME, "CENTRE-S", "Centre of mass towards the patient's head"),
)
PARTS = CodedConcept(PRIVATE_SCHEME, "PARTS", "Number of parts of a confluent lesion")
