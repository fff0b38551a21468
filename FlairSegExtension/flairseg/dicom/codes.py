"""Codes of measurements: from the dictionaries of DICOM where they exist, else from the private scheme.

Codes of SNOMED CT, LOINC and DCM are taken by name from pydicom's copy of DICOM PS3.16. The regions of the 2024
McDonald criteria (Montalban et al., Lancet Neurology 2025) have no codes there and use ``99FLAIRSEG``.
"""

from __future__ import annotations

from ..labels import CodedConcept
from .making import PRIVATE_SCHEME

#: Region in the lesion table -> code.
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
#: Coordinates of a lesion's centre of mass, RAS.
CENTRE = (
    CodedConcept(PRIVATE_SCHEME, "CENTRE-R", "Centre of mass towards the patient's right"),
    CodedConcept(PRIVATE_SCHEME, "CENTRE-A", "Centre of mass towards the patient's front"),
    CodedConcept(PRIVATE_SCHEME, "CENTRE-S", "Centre of mass towards the patient's head"),
)
PARTS = CodedConcept(PRIVATE_SCHEME, "PARTS", "Number of parts of a confluent lesion")
