"""A label map as DICOM SEG: one binary segment per class, on the frames of the series that it was drawn on.

DICOM PS3.3, A.51; highdicom writes it. Each frame names the source frame that it was derived from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._version import __version__
from ..errors import InvalidGeometryError
from ..labels import NUMBER_OF_CLASSES, LabelClass, assessed_classes
from .grid import onto
from .making import (
    MANUFACTURER,
    MODEL,
    RESEARCH_USE,
    SERIAL_NUMBER,
    SERIES_NUMBERS,
    Algorithm,
    coding_schemes,
    new_uid,
    require_writers,
)
from .source import Source
from .text import quiet

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept as DicomCode
    from pydicom import Dataset

    from ..labels import CodedConcept


def make_seg(labels: np.ndarray, source: Source, algorithm: Algorithm, ijk_to_ras: np.ndarray | None = None) -> Dataset:
    """A label map as a DICOM SEG data set.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    source : Source
        The frames that were segmented.
    algorithm : Algorithm
        Origin of the labels.
    ijk_to_ras : ndarray, shape (4, 4), optional
        Affine of the labels, RAS mm, if their axes run otherwise than the source's (Slicer, NIfTI).

    Returns
    -------
    pydicom.Dataset
        One segment for each class that the algorithm segments or that has a voxel, numbered from 1 in the order of
        the classes' values, as the standard demands. Frames without a voxel are left out.

    Raises
    ------
    InvalidGeometryError
        If the labels are not on the source's voxels.
    UnsupportedImageError
        If no DICOM object can refer to the source.
    UnreadableImageError
        If the source's files can no longer be read.
    MissingDependencyError
        If pydicom or highdicom is not installed.
    """
    require_writers()
    import highdicom as hd

    labels = np.asarray(labels, dtype=np.uint8)
    if ijk_to_ras is not None:
        labels = onto(labels, ijk_to_ras, source.shape, source.ijk_to_ras)
    if labels.shape != source.shape:
        raise InvalidGeometryError(
            f"The labels ({_size(labels.shape)} voxels) are not those of the series ({_size(source.shape)}).",
            "Give the series that was segmented.",
        )
    headers, order = source.headers(), source.in_series_order()
    classes = assessed_classes(np.bincount(labels.ravel(), minlength=NUMBER_OF_CLASSES), algorithm.classes)
    numbers = np.arange(256, dtype=np.uint8)
    numbers[[c.value for c in classes]] = range(1, len(classes) + 1)
    with quiet():
        made = hd.seg.Segmentation(
            headers,
            numbers[labels[order]],
            hd.seg.SegmentationTypeValues.BINARY,
            [_segment(c, number, algorithm) for number, c in enumerate(classes, 1)],
            series_instance_uid=new_uid(),
            series_number=SERIES_NUMBERS["SEG"],
            sop_instance_uid=new_uid(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL,
            software_versions=__version__,
            device_serial_number=SERIAL_NUMBER,
            content_label="RESEARCH_USE",
            content_description=f"FlairSeg {__version__}. {RESEARCH_USE}",
            series_description=f"FlairSeg segmentation. {RESEARCH_USE}"[:64],
            specific_character_set="ISO_IR 192",
            coding_schemes=coding_schemes(),
        )
    if source.is_multiframe:
        _name_frames(made, [source.frames[k].number + 1 for k in order])
    return made


def _segment(label_class: LabelClass, number: int, algorithm: Algorithm) -> SegmentDescription:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    automatic = algorithm.kind != "MANUAL"
    identification = hd.AlgorithmIdentificationSequence(
        name=f"FlairSeg {algorithm.name}"[:64],
        family=codes.cid7162.ArtificialIntelligence,
        version=algorithm.version[:64],
        source=MANUFACTURER,
        parameters={"weights sha256": algorithm.sha256} if algorithm.sha256 else None,
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label_class.name,
        segmented_property_category=coded(label_class.category),
        segmented_property_type=coded(label_class.code),
        algorithm_type=algorithm.kind,
        algorithm_identification=identification if automatic else None,
        tracking_uid=new_uid(),
        tracking_id=tracking_id(label_class),
        anatomic_regions=[codes.SCT.Brain],
        display_color=hd.color.CIELabColor.from_rgb(*label_class.rgb),
    )


def tracking_id(label_class: LabelClass) -> str:
    """Tracking identifier of a class's segment."""
    return f"FlairSeg {label_class.id}"


def coded(concept: CodedConcept) -> DicomCode:
    """A code of the table of classes as DICOM writes it."""
    from highdicom.sr import CodedConcept as DicomCode

    return DicomCode(concept.value, concept.scheme, concept.meaning)


def _name_frames(made: Dataset, numbers: Sequence[int]) -> None:
    """Name the frames of the file where highdicom counted those that this volume was read from."""
    # Frames of several segments at one place may share one item.
    references = {
        id(reference): reference
        for group in made.PerFrameFunctionalGroupsSequence
        for derivation in group.get("DerivationImageSequence", ())
        for reference in derivation.SourceImageSequence
    }
    for reference in references.values():
        reference.ReferencedFrameNumber = numbers[int(reference.ReferencedFrameNumber) - 1]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[::-1]))
