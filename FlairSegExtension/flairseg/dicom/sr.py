"""Measurements as a DICOM structured report: TID 1500 (DICOM PS3.16), a group per class and one per lesion.

highdicom writes it as a Comprehensive SR. A class refers to its segment in the DICOM SEG (TID 1411), a lesion to the
slice through its centre (TID 1501): lesions are parts of one segment and have none of their own. Nothing is verified.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..labels import CLASS_BY_ID, CLASSES, LESION, CodedConcept, LabelClass
from .codes import CENTRE, CONFIDENCE, PARTS, PEAK, REGIONS, VENTRICLE_DISTANCE
from .making import (
    MANUFACTURER,
    MODEL,
    RESEARCH_USE,
    SERIAL_NUMBER,
    SERIES_NUMBERS,
    Algorithm,
    coding_schemes,
    device_uid,
    finished,
    new_uid,
    require_writers,
    write,
)
from .seg import coded
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

    from ..privacy.pseudonyms import Pseudonymiser

#: Longest list of lesions in a report; more would be no reading matter, and the largest come first.
MAXIMUM_LESIONS = 500


def write_sr(
    path: str | Path,
    seg: Dataset,
    source: Source,
    volumes_ml: Mapping[str, float],
    lesions: Iterable[Mapping[str, Any]],
    algorithm: Algorithm,
    pseudonymiser: Pseudonymiser | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the measurements of a case as DICOM SR.

    Parameters
    ----------
    path : path
    seg, source, volumes_ml, lesions, algorithm
        As for :func:`make_sr`.
    pseudonymiser : Pseudonymiser, optional
        Cleans the object before it is saved; the one that cleaned the SEG, so that the references still fit.
    overwrite : bool

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    FlairSegError
        As for :func:`make_sr`.
    """
    made = make_sr(seg, source, volumes_ml, lesions, algorithm)
    return write(path, finished(made, pseudonymiser), overwrite)


def make_sr(
    seg: Dataset,
    source: Source,
    volumes_ml: Mapping[str, float],
    lesions: Iterable[Mapping[str, Any]],
    algorithm: Algorithm,
) -> Dataset:
    """The measurements of a case as a DICOM SR data set.

    Parameters
    ----------
    seg : pydicom.Dataset
        From :func:`flairseg.dicom.make_seg`; its tracking UIDs are repeated.
    source : Source
        The frames that were segmented.
    volumes_ml : mapping of str to float
        Volume of each class by its id, as in ``summary.json``.
    lesions : iterable of mapping
        Rows of the lesion table: ``number``, ``volume_mm3`` or ``volume_ml``, ``diameter_mm``, ``centre_ras_mm``,
        ``confidence``, ``peak_probability``, ``ventricle_distance_mm``, ``region``, ``parts``; what is missing or None
        is left out.
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

    lesions = list(lesions)
    # A model that does not know a class has nothing to say of it; lesions always have their number.
    told = [c for c in CLASSES if c.value == LESION or _number(volumes_ml.get(c.id)) is not None]
    groups: list[VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations] = [
        _class_group(c, seg, source, volumes_ml, len(lesions), algorithm) for c in told
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
    volumes_ml: Mapping[str, float],
    lesion_count: int,
    algorithm: Algorithm,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    segment = next(item for item in seg.SegmentSequence if item.SegmentNumber == label_class.value)
    volume = _number(volumes_ml.get(label_class.id))
    measurements = []
    if volume is not None:
        measurements.append(_measurement(codes.SCT.Volume, 1000 * volume, codes.UCUM.CubicMillimeter))
    if label_class.value == LESION:
        measurements.append(_measurement(codes.SCT.NumberOfLesions, lesion_count, codes.UCUM.NoUnits))
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(segment.TrackingUID, segment.TrackingID),
        referenced_segment=hd.sr.ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            label_class.value,
            source_series=hd.sr.SourceSeriesForSegmentation(source.series_uid),
        ),
        finding_category=coded(label_class.category),
        finding_type=coded(label_class.code),
        finding_sites=[hd.sr.FindingSite(codes.SCT.Brain)],
        algorithm_id=_algorithm(algorithm),
        measurements=measurements,
    )


def _lesion_group(
    row: Mapping[str, Any], source: Source, algorithm: Algorithm
) -> MeasurementsAndQualitativeEvaluations:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    millimetre = codes.UCUM.Millimeter
    label_class = CLASS_BY_ID[next(c.id for c in CLASSES if c.value == LESION)]
    volume, volume_ml = _number(row.get("volume_mm3")), _number(row.get("volume_ml"))
    if volume is None and volume_ml is not None:
        volume = 1000 * volume_ml
    centre = _centre(row.get("centre_ras_mm"))
    wanted = [
        (codes.SCT.Volume, volume, codes.UCUM.CubicMillimeter, None),
        (codes.SCT.Diameter, _number(row.get("diameter_mm")), millimetre, codes.SCT.Maximum),
        *((coded(code), c, millimetre, None) for code, c in zip(CENTRE, centre or (None,) * 3, strict=True)),
        (coded(VENTRICLE_DISTANCE), _number(row.get("ventricle_distance_mm")), millimetre, None),
        (coded(CONFIDENCE), _number(row.get("confidence")), codes.UCUM.NoUnits, None),
        (coded(PEAK), _number(row.get("peak_probability")), codes.UCUM.NoUnits, None),
        (coded(PARTS), _number(row.get("parts")), codes.UCUM.NoUnits, None),
    ]
    region = REGIONS.get(str(row.get("region")))
    site: CodedConcept | None = region
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(new_uid(), f"Lesion {int(_number(row.get('number')) or 0)}"),
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


def _number(value: object) -> float | None:
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _centre(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        return None
    found = [number for number in map(_number, value) if number is not None]
    return tuple(found) if len(found) == 3 else None
