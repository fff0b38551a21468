"""Measures of one case and method, computed while its arrays are in memory; only numbers per slice are kept.

Statistics over cases are computed from them by :mod:`~.statistics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..image.geometry import triple
from ..image.volume import Volume
from ..labels import LESION, NORMAL_WMH
from ..lesions.boxes import through_plane_axis
from ..segmentation.postprocessing import remove_small_components
from .components import LesionMatch, OverlapRule, component_confusion, match_lesions
from .curves import ScoreCounts
from .overlap import Overlap, confusion
from .results import Conventions
from .slices import SliceCounts
from .surface import surface_distances
from .terms import EVALUATED, LESION_CLASSES

#: A class counts as segmented by a network if its probability reaches this value in some voxel of some case.
_KNOWN_PROBABILITY = 0.5


@dataclass(frozen=True)
class CaseMeasures:
    """Measures of one case and method, for every class of :data:`~.terms.EVALUATED`.

    Attributes
    ----------
    confusion : ndarray of int64, shape (4, 4)
        Voxels; rows: reference, columns: prediction.
    surfaces : mapping of str to (float, float)
        HD95 in mm and NSD.
    lesions : mapping of str to LesionMatch
        Classes of :data:`~.terms.LESION_CLASSES`.
    components : ndarray of int64, shape (3, 3)
        :func:`~.components.component_confusion`.
    slices : mapping of str to SliceCounts
        Classes of :data:`~.terms.LESION_CLASSES`.
    scores : mapping of str to ScoreCounts
        Classes with probabilities.
    voxel_ml : float
        Volume of a voxel in ml.
    predicted, referenced : frozenset of int
        Label values present; ``predicted`` includes classes by their probabilities.
    """

    confusion: np.ndarray
    surfaces: Mapping[str, tuple[float, float]]
    lesions: Mapping[str, LesionMatch]
    components: np.ndarray
    slices: Mapping[str, SliceCounts]
    scores: Mapping[str, ScoreCounts]
    voxel_ml: float
    predicted: frozenset[int]
    referenced: frozenset[int]

    def overlap(self, class_id: str) -> Overlap:
        """Voxel counts of one class."""
        return Overlap.from_confusion(self.confusion, EVALUATED[class_id])


def without_small_lesions(labels: Volume, minimum_mm3: float) -> Volume:
    """Replace lesions (label 3) below a volume by background (source: S5)."""
    if minimum_mm3 <= 0:
        return labels
    return labels.with_array(remove_small_components(labels.array, LESION, minimum_mm3, labels.voxel_mm3))


def measure(
    prediction: np.ndarray, reference: Volume, conventions: Conventions, probabilities: Mapping[int, np.ndarray]
) -> CaseMeasures:
    """Measure one prediction.

    Parameters
    ----------
    prediction : ndarray of uint8, shape (K, J, I)
        Labels on the reference's grid, after :func:`without_small_lesions`.
    reference : Volume
        Labels, after :func:`without_small_lesions`.
    conventions : Conventions
    probabilities : mapping of int to ndarray of float32, shape (K, J, I)
        By class value; may be empty.
    """
    spacing_kji = triple(reversed(reference.spacing))
    voxel_mm3, axis = reference.voxel_mm3, through_plane_axis(reference.ijk_to_ras)
    rule = OverlapRule(conventions.overlap_rule, conventions.overlap_minimum)
    surfaces, lesions, slices, scores = {}, {}, {}, {}
    for class_id, values in EVALUATED.items():
        ours, theirs = _mask(prediction, values), _mask(reference.array, values)
        distances = surface_distances(ours, theirs, spacing_kji)
        surfaces[class_id] = distances.hd95, distances.nsd(conventions.nsd_tolerance_mm)
        if class_id in LESION_CLASSES:
            lesions[class_id] = match_lesions(ours, theirs, voxel_mm3, rule, conventions.minimum_lesion_mm3)
            slices[class_id] = SliceCounts.of(ours, theirs, voxel_mm3 / 1000, axis)
        score = _score(probabilities, values)
        if score is not None:
            scores[class_id] = ScoreCounts.of(score, theirs)
    known = {value for value, part in probabilities.items() if float(part.max(initial=0)) >= _KNOWN_PROBABILITY}
    return CaseMeasures(
        confusion(reference.array, prediction),
        surfaces,
        lesions,
        component_confusion(prediction, reference.array),
        slices,
        scores,
        voxel_mm3 / 1000,
        _there(prediction) | known,
        _there(reference.array),
    )


def _mask(labels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    mask = labels == values[0]
    for value in values[1:]:
        mask |= labels == value
    out: np.ndarray = mask
    return out


def _there(labels: np.ndarray) -> frozenset[int]:
    return frozenset(np.flatnonzero(np.bincount(labels.ravel())).tolist()) - {0}


def _score(probabilities: Mapping[int, np.ndarray], values: tuple[int, ...]) -> np.ndarray | None:
    """Probability of a class; for all WMH the sum of both classes, or lesions if only these have probabilities."""
    parts = [probabilities[value] for value in values if value in probabilities]
    if not parts or (len(parts) < len(values) and values != (NORMAL_WMH, LESION)):
        return None
    return parts[0] if len(parts) == 1 else np.minimum(np.sum(parts, axis=0, dtype=np.float32), np.float32(1))
