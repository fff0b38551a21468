"""Measurements as a DICOM structured report: TID 1500 (DICOM PS3.16), a group per class and one per lesion.

highdicom writes it as a Comprehensive SR. A class refers to its segment in the DICOM SEG (TID 1411), a lesion to the
slice through its centre (TID 1501): lesions are parts of one segment, without their own. Nothing is verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._version import __version__
from ..labels import CLASS_BY_ID, CLASSES, LESION, CodedConcept, LabelClass
from .codes import CENTRE, CONFIDENCE, DRAWN_SHARE, PARTS, PEAK, REGIONS, VENTRICLE_DISTANCE
from .making import (
    MANUFACTURER,
    MODEL,
    RESEARCH_USE,
    SERIAL_NUMBER,
    SERIES_NUMBERS,
    Algorithm,
    coding_schemes,
    device_uid,
    new_uid,
    require_writers,
)
from .seg import coded, tracking_id
from .source import Source
from .text import quiet

if TYPE_CHECKING:
    from highdicom.sr import (
        AlgorithmIdentification,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        SourceImageForMeasurementGroup,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom import Dataset
    from pydicom.sr.coding import Code


#: Longest list of lesions in a report; more would be no reading matter, and the largest come first.
MAXIMUM_LESIONS = 500


@dataclass(frozen=True)
class LesionMeasurements:
    """Measurements of a lesion; None if unknown.

    Attributes
    ----------
    number : int
    volume_mm3, diameter_mm, ventricle_distance_mm : float or None
    mean_probability, peak_probability, drawn_share : float or None
        0..1; the last is the share of such lesions that readers drew.
    centre_ras_mm : tuple of float or None
        Centre of mass, RAS.
    parts : float or None
        Number of lesions when confluent ones are split.
    region : str
        One of :data:`flairseg.anatomy.REGIONS`.
    """

    number: int
    volume_mm3: float | None = None
    diameter_mm: float | None = None
    centre_ras_mm: tuple[float, ...] | None = None
    ventricle_distance_mm: float | None = None
    mean_probability: float | None = None
    peak_probability: float | None = None
    parts: float | None = None
    region: str = ""
    drawn_share: float | None = None


@dataclass(frozen=True)
class CaseMeasurements:
    """Measurements of a case.

    Attributes
    ----------
    volumes_ml : mapping of str to float
        Volume of each class that the model knows, by its id.
    lesions : tuple of LesionMeasurements
        Largest first.
    """

    volumes_ml: Mapping[str, float]
    lesions: tuple[LesionMeasurements, ...]


def make_sr(
    seg: Dataset,
    source: Source,
    measurements: CaseMeasurements,
    algorithm: Algorithm,
) -> Dataset:
    """The measurements of a case as a DICOM SR data set.

    Parameters
    ----------
    seg : pydicom.Dataset
        From :func:`flairseg.dicom.make_seg`; its tracking UIDs are repeated.
    source : Source
        The frames that were segmented.
    measurements : CaseMeasurements
    algorithm : Algorithm

    Returns
    -------
    pydicom.Dataset
        Complete, unverified, preliminary.

    Raises
    ------
    UnsupportedImageError, InvalidGeometryError, UnreadableImageError
        If no DICOM object can refer to the source.
    MissingDependencyError
        If pydicom or highdicom is not installed.
    """
    require_writers()
    import highdicom as hd
    from pydicom.sr.codedict import codes

    lesions = measurements.lesions
    # A model that does not segment a class has no measurement of it; lesions, if assessed, have their number.
    segments = {item.TrackingID for item in seg.SegmentSequence}
    told = [c for c in CLASSES if tracking_id(c) in segments and (c.value == LESION or c.id in measurements.volumes_ml)]
    groups: list[VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations] = [
        _class_group(c, seg, source, measurements, algorithm) for c in told
    ]
    groups += [_lesion_group(row, source, algorithm) for row in lesions[:MAXIMUM_LESIONS]]
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(),
        name=MODEL,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL,
        serial_number=SERIAL_NUMBER,
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=hd.sr.ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=codes.LN.BrainMRI,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    with quiet():
        return hd.sr.ComprehensiveSR(
            evidence=[*source.headers(), seg],
            content=report,
            series_instance_uid=new_uid(),
            series_number=SERIES_NUMBERS["SR"],
            sop_instance_uid=new_uid(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL,
            software_versions=__version__,
            device_serial_number=SERIAL_NUMBER,
            is_complete=True,
            is_final=False,
            is_verified=False,
            series_description=f"FlairSeg measurements. {RESEARCH_USE}"[:64],
            specific_character_set="ISO_IR 192",
            coding_schemes=coding_schemes(),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
        )


# --- groups


def _class_group(
    label_class: LabelClass,
    seg: Dataset,
    source: Source,
    measured: CaseMeasurements,
    algorithm: Algorithm,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    segment = next(item for item in seg.SegmentSequence if item.TrackingID == tracking_id(label_class))
    volume = measured.volumes_ml.get(label_class.id)
    measurements = []
    if volume is not None:
        measurements.append(_measurement(codes.SCT.Volume, 1000 * volume, codes.UCUM.CubicMillimeter))
    if label_class.value == LESION:
        measurements.append(_measurement(codes.SCT.NumberOfLesions, len(measured.lesions), codes.UCUM.NoUnits))
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(segment.TrackingUID, segment.TrackingID),
        referenced_segment=hd.sr.ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            int(segment.SegmentNumber),
            source_series=hd.sr.SourceSeriesForSegmentation(source.series_uid),
        ),
        finding_category=coded(label_class.category),
        finding_type=coded(label_class.code),
        finding_sites=[hd.sr.FindingSite(codes.SCT.Brain)],
        algorithm_id=_algorithm(algorithm),
        measurements=measurements,
    )


def _lesion_group(
    lesion: LesionMeasurements, source: Source, algorithm: Algorithm
) -> MeasurementsAndQualitativeEvaluations:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    millimetre = codes.UCUM.Millimeter
    label_class = CLASS_BY_ID[next(c.id for c in CLASSES if c.value == LESION)]
    centre = lesion.centre_ras_mm
    wanted = [
        (codes.SCT.Volume, lesion.volume_mm3, codes.UCUM.CubicMillimeter, None),
        (codes.SCT.Diameter, lesion.diameter_mm, millimetre, codes.SCT.Maximum),
        *((coded(code), c, millimetre, None) for code, c in zip(CENTRE, centre or (None,) * 3, strict=True)),
        (coded(VENTRICLE_DISTANCE), lesion.ventricle_distance_mm, millimetre, None),
        (coded(CONFIDENCE), lesion.mean_probability, codes.UCUM.NoUnits, None),
        (coded(DRAWN_SHARE), lesion.drawn_share, codes.UCUM.NoUnits, None),
        (coded(PEAK), lesion.peak_probability, codes.UCUM.NoUnits, None),
        (coded(PARTS), lesion.parts, codes.UCUM.NoUnits, None),
    ]
    region = REGIONS.get(lesion.region)
    site: CodedConcept | None = region
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(new_uid(), f"Lesion {lesion.number}"),
        finding_category=coded(label_class.category),
        finding_type=coded(label_class.code),
        finding_sites=[hd.sr.FindingSite(codes.SCT.Brain if site is None else coded(site))],
        algorithm_id=_algorithm(algorithm),
        measurements=[
            _measurement(name, value, unit, derivation) for name, value, unit, derivation in wanted if value is not None
        ],
        source_images=None if centre is None else [_slice_of(centre, source)],
    )


def _slice_of(centre: Sequence[float], source: Source) -> SourceImageForMeasurementGroup:
    """The source image through a point (RAS, mm)."""
    import highdicom as hd

    k = round(float(np.linalg.solve(source.ijk_to_ras, [*centre, 1.0])[2]))
    frame = source.frames[min(max(k, 0), len(source.frames) - 1)]
    return hd.sr.SourceImageForMeasurementGroup(
        frame.sop_class_uid,
        frame.sop_instance_uid,
        [frame.number + 1] if source.is_multiframe else None,
    )


def _measurement(name: Code, value: float, unit: Code, derivation: Code | None = None) -> Measurement:
    import highdicom as hd

    # A decimal string has 16 characters; six figures are more than any of these is known to.
    return hd.sr.Measurement(name, float(f"{value:.6g}"), unit, derivation=derivation)


def _algorithm(algorithm: Algorithm) -> AlgorithmIdentification:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    parameters = [RESEARCH_USE, *([f"weights sha256 {algorithm.sha256}"] if algorithm.sha256 else [])]
    return hd.sr.AlgorithmIdentification(
        name=f"FlairSeg {algorithm.name}"[:64],
        version=algorithm.version[:64],
        parameters=parameters,
        family=codes.cid7162.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )
