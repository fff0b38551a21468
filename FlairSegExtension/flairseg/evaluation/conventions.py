"""The conventions behind the numbers, as text for the report's section "conventions"."""

from __future__ import annotations

import math
from dataclasses import replace

from ..statistics.intervals import CONFIDENCE, RESAMPLES
from .components import OverlapRule
from .errors import InvalidMappingError
from .results import Conventions
from .slices import VOLUME_GROUPS

#: Head and text of each convention.
_SENTENCES = (
    (
        "Empty masks",
        "A figure that is 0/0 is undefined: it is left out of means and tests, and its frequency stated. "
        "Reference and prediction both empty: everything but the volumes is undefined. Only the reference "
        "empty: Dice, Jaccard, precision, NSD and lesion F1 are 0, recall, HD95 and the relative volume "
        "error undefined. Only the prediction empty: Dice, Jaccard, recall, NSD and lesion F1 are 0, "
        "precision and HD95 undefined; a method that finds nothing is therefore penalised in the other "
        "metrics, but not in HD95 (Metrics Reloaded, 2024).",
    ),
    (
        "Classes",
        "Metrics are given for the classes that both method and reference contain. “All WMH” is normal and "
        "abnormal hyperintensity together. Methods that do not distinguish normal from abnormal "
        "hyperintensity are compared with the abnormal as “lesions” (as S1 did) and with both as “all WMH”, which is "
        "evaluated where the references contain both.",
    ),
    (
        "Surfaces",
        "The surface of a mask is its voxels with a face neighbour outside; distances run between voxel "
        "centres in mm. HD95 is the larger of the two directions' 95th percentiles. NSD is the share of "
        "both surfaces within {tolerance:g} mm of the other.",
    ),
    (
        "Lesions",
        "26-connected components. A lesion counts as found if {rule}. {small}",
    ),
    (
        "Kinds of error",
        "Detection error: volume of connected regions of both masks together that only one side has. "
        "Outline error: volume of the disagreement in regions that both have (Wack et al. 2012).",
    ),
    (
        "Probabilities",
        "AUC-PR is average precision, a sum over steps without interpolation. Both areas use every voxel "
        "of the image, so ROC AUC is inflated by the many obvious background voxels. Means over "
        "patients are in the tables, curves pool the voxels of all.",
    ),
    (
        "Slices",
        "A slice is positive if the reference has any voxel in it; a true positive has at least "
        "{overlap:g} % of the reference covered. Negative slices are sampled at "
        "random (by the seed), as many as positive ones, the same for all methods of the same cases; a true "
        "negative has no predicted voxel (S2, whose printed figures have the classes swapped; here they "
        "are named by the usual definitions).",
    ),
    (
        "Volume groups",
        "Slices with reference lesions by their volume: {groups} (S4). S4's tests treat slices as "
        "independent, which those of one patient are not.",
    ),
    (
        "Lesion load",
        "Bland-Altman limits of predicted minus reference; R² is the squared Pearson correlation (S5).",
    ),
    (
        "Intervals",
        "{confidence:g} %, by bootstrap over patients ({resamples} resamples, BCa; "
        "percentile limits for areas under curves and medians over slices), seed {seed}; Wilson's "
        "where slices are counted as S2 does.",
    ),
    (
        "Between methods",
        "Wilcoxon's signed-rank test on the same patients, p values adjusted after Holm over all pairs of "
        "methods and classes of a figure. Signed volume errors are compared by absolute value.",
    ),
    (
        "Normal against abnormal",
        "Abnormal is positive. Counted over the voxels that reference and method both label hyperintense "
        "and, more strictly, over all that the reference labels so, where missed voxels count as not abnormal.",
    ),
)


def choose_conventions(
    nsd_tolerance_mm: float = 1.0,
    overlap_rule: str = "voxels",
    overlap_minimum: float | None = None,
    minimum_lesion_mm3: float = 0.0,
    slice_overlap: float = 0.1,
    seed: int = 0,
) -> Conventions:
    """Checked conventions with their sentences.

    Parameters
    ----------
    nsd_tolerance_mm : float
        Not negative.
    overlap_rule : {"voxels", "fraction", "iou"}
    overlap_minimum : float, optional
        Default: 1 voxel, or a share of 0.1 (``fraction``) or 0.25 (``iou``).
    minimum_lesion_mm3 : float
        Not negative; 10.7 is S5's rule.
    slice_overlap : float
        In [0, 1].
    seed : int
        Not negative.

    Raises
    ------
    InvalidMappingError
        With what may be given instead.
    """
    if overlap_minimum is None:
        overlap_minimum = {"voxels": 1.0, "fraction": 0.1, "iou": 0.25}.get(overlap_rule, 1.0)
    try:
        rule = OverlapRule(overlap_rule, overlap_minimum)  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidMappingError(
            f"The overlap rule cannot be used: {error}.",
            "Rules are voxels (from 1 on), fraction and iou (above 0, up to 1).",
        ) from error
    for what, value, high in (
        ("tolerance of NSD", nsd_tolerance_mm, math.inf),
        ("smallest lesion volume", minimum_lesion_mm3, math.inf),
        ("overlap of a slice", slice_overlap, 1.0),
        ("seed", float(seed), math.inf),
    ):
        if not 0 <= value <= high:
            limit = "." if math.isinf(high) else f", up to {high:g}."
            raise InvalidMappingError(f"{value:g} cannot be the {what}.", f"Give a number from 0 on{limit}")
    chosen = Conventions(
        nsd_tolerance_mm,
        rule.kind,
        rule.minimum,
        minimum_lesion_mm3,
        slice_overlap,
        CONFIDENCE,
        RESAMPLES,
        seed,
    )
    return replace(chosen, sentences=sentences(chosen))


def sentences(chosen: Conventions) -> tuple[tuple[str, str], ...]:
    """Head and text of each convention, for the report."""
    said = {
        "tolerance": chosen.nsd_tolerance_mm,
        "rule": _rule_words(OverlapRule(chosen.overlap_rule, chosen.overlap_minimum)),
        "groups": ", ".join(f"{name} {_range_words(low, high)}" for name, low, high in VOLUME_GROUPS),
        "small": (
            f"Lesions (26-connected) below {chosen.minimum_lesion_mm3:g} mm³ are removed from both sides alike "
            "before anything is computed (S5)."
            if chosen.minimum_lesion_mm3 > 0
            else "All lesions count, whatever their size."
        ),
        "overlap": 100 * chosen.slice_overlap,
        "confidence": 100 * chosen.confidence,
        "resamples": chosen.resamples,
        "seed": chosen.seed,
    }
    return tuple((head, text.format(**said)) for head, text in _SENTENCES)


def _range_words(low: float, high: float) -> str:
    if low == 0:
        return f"below {high:g} ml"
    return f"from {low:g} ml on" if math.isinf(high) else f"{low:g} to below {high:g} ml"


def _rule_words(rule: OverlapRule) -> str:
    if rule.kind == "voxels":
        plural = "voxel of it is" if rule.minimum == 1 else "voxels of it are"
        return f"at least {rule.minimum:g} {plural} marked by the other side"
    if rule.kind == "fraction":
        return f"at least {100 * rule.minimum:g} % of it is marked by the other side"
    return f"its intersection over union with one lesion of the other side is at least {rule.minimum:g}"
