"""Lesion-wise precision and sensitivity, and the positions of errors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ...image.geometry import ROUNDING_MM, triple
from ...statistics.intervals import Estimate, over_cases, ratio
from ..records import FALSE_NEGATIVE, FALSE_POSITIVE, MarkRow
from .tidy import RatingTable

if TYPE_CHECKING:
    from ...image.volume import Volume

#: RAS, mm.
Point = tuple[float, float, float]
#: Two marks within this distance, mm, are one place: about half the size of a usual lesion and a thick slice.
SAME_PLACE_MM = 6.0
#: Half the size of the reference brain of the error map (x, y, z), mm; a case's own brain box is scaled to it.
REFERENCE_HALF_MM = (62.6, 75.2, 57.8)


@dataclass(frozen=True)
class LesionRow:
    """Sums over the showings of one arm and rater, after S5: true positives = delineated - false positives.

    ``precision`` is the share of delineated lesions that are true, ``sensitivity`` the share of true lesions that are
    delineated.
    """

    arm: str
    rater: str
    showings: int
    delineated: int
    false_positives: int
    false_negatives: int
    precision: Estimate
    sensitivity: Estimate


def lesion_rows(table: RatingTable, seed: int) -> list[LesionRow]:
    """Lesion-level precision and sensitivity per arm and rater, with bootstrap intervals over cases."""
    rows = []
    counts = ["delineated", "false_positives", "false_negatives"]
    for arm in table.arms:
        for label, _, shown in table.groups(arm):
            shown = shown.dropna(subset=counts)
            if shown.empty:
                continue
            sums = shown.groupby("case", sort=False)[counts].sum().to_numpy(dtype=float)
            name = f"lesions/{arm}/{label}"
            precision = over_cases(sums, _precision, f"{name}/precision", seed)
            sensitivity = over_cases(sums, _sensitivity, f"{name}/sensitivity", seed)
            delineated, wrong, missed = (int(x) for x in sums.sum(axis=0))
            rows.append(
                LesionRow(arm, label, len(shown), delineated, wrong, missed, _said(precision), _said(sensitivity))
            )
    return rows


def _precision(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 0] - sums[..., 1], sums[..., 0])


def _sensitivity(sums: np.ndarray) -> np.ndarray:
    true = sums[..., 0] - sums[..., 1]
    return ratio(true, true + sums[..., 2])


def _said(figure: Estimate) -> Estimate:
    return figure if figure.defined else Estimate(None, n=figure.n, note="No lesion to count.")


@dataclass(frozen=True)
class MarkAgreementRow:
    """Agreement of mark positions: ``share`` = 2 * common / (marks of one + marks of the other)."""

    kind: str
    arm: str
    between: str
    marks: tuple[int, int]
    common: int
    share: Estimate


def mark_agreement(table: RatingTable, marks: Sequence[MarkRow], seed: int) -> list[MarkAgreementRow]:
    """Agreement on positions: each rater's first two showings, and each pair of raters at the first showing.

    Marks are paired one to one within :data:`SAME_PLACE_MM` so that the sum of distances is smallest; a false positive
    is at the centre of its lesion, which is the same for all raters.
    """
    found: dict[tuple[object, ...], list[Point]] = {}
    for mark in marks:
        key = (mark.kind, mark.arm, mark.rater, mark.repeat, mark.case)
        found.setdefault(key, []).append(mark.lesion_centre_ras or mark.ras)
    first, rows = table.repeats[0], []
    pairs = [
        ((r, first), (r, table.repeats[1]), f"{r}: 1st and 2nd showing") for r in table.raters if len(table.repeats) > 1
    ]
    pairs += [((a, first), (b, first), f"{a} and {b}") for a, b in combinations(table.raters, 2)]
    shown = set(zip(*(table.showings[name] for name in ("case", "arm", "rater", "repeat")), strict=True))
    for kind in (FALSE_POSITIVE, FALSE_NEGATIVE):
        for arm in table.arms:
            for one, other, label in pairs:
                sums = []
                for case in table.cases:
                    if (case, arm, *one) in shown and (case, arm, *other) in shown:
                        ours, theirs = (found.get((kind, arm, *who, case), []) for who in (one, other))
                        sums.append([common_places(ours, theirs), len(ours), len(theirs)])
                if sums:
                    rows.append(_mark_row(kind, arm, label, np.array(sums, dtype=float), seed))
    return rows


def _mark_row(kind: str, arm: str, label: str, sums: np.ndarray, seed: int) -> MarkAgreementRow:
    common, one, other = (int(x) for x in sums.sum(axis=0))
    figure = over_cases(
        sums, lambda s: ratio(2 * s[..., 0], s[..., 1] + s[..., 2]), f"marks/{kind}/{arm}/{label}", seed
    )
    if not figure.defined:
        figure = Estimate(None, n=len(sums), note="No marks, so no agreement of positions.")
    return MarkAgreementRow(kind, arm, label, (one, other), common, figure)


def common_places(one: Sequence[Point], other: Sequence[Point]) -> int:
    """Count the points of one set with a partner of their own in the other within :data:`SAME_PLACE_MM`."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if not one or not other:
        return 0
    distances = cdist(np.asarray(one, dtype=float), np.asarray(other, dtype=float))
    radius = SAME_PLACE_MM + ROUNDING_MM
    # A pair beyond the radius costs more than all others together, which maximises the number of near pairs.
    cost = np.where(distances <= radius, distances, radius * (min(distances.shape) + 1))
    pairs = linear_sum_assignment(cost)
    return int((distances[pairs] <= radius).sum())


@dataclass(frozen=True)
class CaseFrame:
    """Position of the brain in a case: middle and half size of its box along R, A and S, mm."""

    centre: Point
    half: Point


def brain_frame(volume: Volume) -> CaseFrame:
    """Box of the brain in RAS, for placing the marks of different patients on one schematic head.

    Parameters
    ----------
    volume : Volume
        A FLAIR.

    Returns
    -------
    CaseFrame

    Raises
    ------
    UnusableIntensitiesError
        If no brain is found.
    """
    from ...errors import UnusableIntensitiesError
    from ...image.slice_stack import SliceStack
    from ...preprocessing.brain_mask import brain_mask

    stack = SliceStack.from_volume(volume, "native")
    mask = stack.restore(brain_mask(stack.array, stack.spacing))
    places = np.argwhere(mask)
    if not len(places):
        raise UnusableIntensitiesError("No brain was found in the image.", "Leave the case out of the error map.")
    ras = places[:, ::-1] @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]
    # Percentiles: a few stray voxels do not stretch the box.
    low, high = np.percentile(ras, (0.5, 99.5), axis=0)
    return CaseFrame(tuple((low + high) / 2), tuple(np.maximum((high - low) / 2, 1.0)))


@dataclass(frozen=True)
class MapPoint:
    """A mark on the schematic head: reference mm from its middle along R, A and S (R positive)."""

    kind: str
    arm: str
    point: Point


def map_points(marks: Iterable[MarkRow], frames: Mapping[str, CaseFrame]) -> list[MapPoint]:
    """Marks brought from each patient's space to the schematic head.

    With a frame, the case's brain box is scaled to the reference box, axis by axis. Without one, only the middle of all
    marks without a frame is moved to the middle of the head; that is rough, and the report states it.
    """
    marks = list(marks)
    unframed = np.array([m.lesion_centre_ras or m.ras for m in marks if m.case not in frames], dtype=float)
    middle = (unframed.min(axis=0) + unframed.max(axis=0)) / 2 if len(unframed) else np.zeros(3)
    points = []
    for mark in marks:
        place = np.array(mark.lesion_centre_ras or mark.ras, dtype=float)
        frame = frames.get(mark.case)
        place = place - middle if frame is None else (place - frame.centre) / frame.half * REFERENCE_HALF_MM
        if all(math.isfinite(x) for x in place):
            points.append(MapPoint(mark.kind, mark.arm, triple(float(x) for x in place)))
    return points
