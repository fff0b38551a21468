"""The lesion table: measurements, region and parts of every lesion; the load by region.

Geometry comes from :mod:`flairseg.lesions`; this module adds diameter, parts and region. Volumes and probabilities are
those of SimpleITK's label statistics. Fast enough to be recomputed after each stroke of a reader's brush: regions are
found once (:func:`flairseg.anatomy.find_regions`), everything else here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..files.csv_tables import csv_text
from ..image.geometry import ROUNDING_MM, spacing_of, triple, voxel_volume_of
from ..image.slice_stack import thick_axis
from ..labels import CLASS_BY_VALUE, LESION
from ..lesions.components import SMALLEST_LESION_MM3, Lesion, LesionMap, find_lesions
from .dissemination import Dissemination, dissemination
from .regions import REGIONS, UNKNOWN, RegionMap, lesion_regions

#: Parts of a lesion must be parted by a waist this much narrower than either, as distances to the border, mm; at least
#: one voxel of the finest direction.
PROMINENCE_MM = 1.0
#: Up to this number of points all pairs are compared; more are reduced to the convex hull first.
_PAIRWISE_POINTS = 600
#: Up to this number of summits their passes are checked one by one before a lesion is flooded.
_FEW_SUMMITS = 8


@dataclass(frozen=True)
class LesionRow:
    """One lesion, or one region of normal WMH.

    Attributes
    ----------
    number : int
        As in :class:`flairseg.lesions.components.Lesion`.
    value : int
        Class: 3 lesion, 2 normal WMH.
    volume_mm3 : float
    diameter_mm : float
        Largest distance between two points of its surface, in three dimensions, see :func:`lesion_diameter`.
    centre_ras_mm : tuple of float
        Centre of mass, RAS.
    slices : tuple of int
        First and last along the through-plane axis, from 0.
    confidence : float or None
        Share of such lesions that readers drew, if the model's card allows; else the mean probability of its
        class. None where no probabilities are known.
    peak_probability : float or None
        Highest probability of its class.
    ventricle_distance_mm : float or None
        Smallest distance between voxel centres of the lesion and of the ventricles; None without ventricles.
    region : str
        One of :data:`flairseg.anatomy.REGIONS`.
    parts : int
        Number of lesions when confluent ones are split, see :func:`lesion_parts`.
    disagreement : float or None
        Of an ensemble's members, 0..1.
    mean_probability : float or None
        Of its class, where ``confidence`` is something else.
    """

    number: int
    value: int
    volume_mm3: float
    diameter_mm: float
    centre_ras_mm: tuple[float, float, float]
    slices: tuple[int, int]
    confidence: float | None
    peak_probability: float | None
    ventricle_distance_mm: float | None
    region: str
    parts: int
    disagreement: float | None = None
    mean_probability: float | None = None

    @property
    def volume_ml(self) -> float:
        """Volume in millilitres."""
        return self.volume_mm3 / 1000

    def rounded(self) -> LesionRow:
        """The row with the decimals that are written."""
        return replace(
            self,
            volume_mm3=round(self.volume_mm3, 2),
            diameter_mm=round(self.diameter_mm, 2),
            centre_ras_mm=triple(round(x, 1) for x in self.centre_ras_mm),
            confidence=_rounded(self.confidence, 3),
            peak_probability=_rounded(self.peak_probability, 3),
            ventricle_distance_mm=_rounded(self.ventricle_distance_mm, 1),
            disagreement=_rounded(self.disagreement, 3),
            mean_probability=_rounded(self.mean_probability, 3),
        )

    def as_dict(self) -> dict[str, Any]:
        """The row as in ``summary.json``: rounded, None where unknown; ``slices`` count from 1 there."""
        row = self.rounded()
        content = {
            "number": row.number,
            "volume_mm3": row.volume_mm3,
            "volume_ml": round(self.volume_ml, 4),
            "diameter_mm": row.diameter_mm,
            "centre_ras_mm": list(row.centre_ras_mm),
            "slices": [n + 1 for n in row.slices],
            "slices_index": list(row.slices),
            "confidence": row.confidence,
            "peak_probability": row.peak_probability,
            "ventricle_distance_mm": row.ventricle_distance_mm,
            "region": row.region,
            "parts": row.parts,
        }
        further = {"disagreement": row.disagreement, "mean_probability": row.mean_probability}
        return content | {name: value for name, value in further.items() if value is not None}


class Measured:
    """Cached diameters and parts: lesions not affected by an edit are not measured again.

    Keep one for each label map that is edited; :func:`lesion_table` fills it.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[float, int]] = {}

    def get(self, box: tuple[slice, slice, slice], mask: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[float, int]:
        """Diameter (mm) and number of parts of a lesion: its box (K, J, I) and, within it, its voxels (bool)."""
        key = (tuple(s.start for s in box), mask.shape, np.packbits(mask).tobytes(), ijk_to_ras.tobytes())
        found = self._known.get(key)
        if found is None:
            found = lesion_diameter(mask, ijk_to_ras), int(lesion_parts(mask, ijk_to_ras).max())
            if len(self._known) > 5000:
                self._known.clear()
            self._known[key] = found
        return found


def lesion_table(
    labels: np.ndarray,
    ijk_to_ras: np.ndarray,
    probabilities: np.ndarray | None = None,
    regions: RegionMap | None = None,
    values: Sequence[int] = (LESION,),
    lesions: LesionMap | None = None,
    measured: Measured | None = None,
) -> list[LesionRow]:
    """Every lesion with its figures, region and parts; largest first.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the grid, mm.
    probabilities : ndarray of float, shape (4, K, J, I), optional
        Or of uint8: 0..255 for 0..1.
    regions : RegionMap, optional
        Without it, all regions are ``unknown``.
    values : sequence of int
        Classes; 3 (lesion) and 2 (normal WMH). Rows of normal WMH count in no load.
    lesions : LesionMap, optional
        From :func:`flairseg.lesions.components.find_lesions` of these labels, with at least these classes; found
        here without the disagreement of an ensemble if None.
    measured : Measured, optional
        Measurements of earlier calls, for quick updates after edits.

    Returns
    -------
    list of LesionRow

    Raises
    ------
    ValueError
        If probabilities or regions are not on the labels' grid.
    """
    if regions is not None and regions.shape != labels.shape:
        raise ValueError(f"regions {regions.shape} do not fit labels {labels.shape}")
    if lesions is None:
        lesions = find_lesions(labels, ijk_to_ras, probabilities, values)
    measured = Measured() if measured is None else measured
    chosen = [lesion for lesion in lesions.lesions if lesion.value in values]
    where = {} if regions is None else lesion_regions(lesions, labels, regions)
    return [_row(lesion, lesions, ijk_to_ras, where.get(lesion.number, UNKNOWN), measured) for lesion in chosen]


def _row(lesion: Lesion, lesions: LesionMap, ijk_to_ras: np.ndarray, region: str, measured: Measured) -> LesionRow:
    diameter, parts = measured.get(*lesions.mask(lesion.number), np.asarray(ijk_to_ras, float))
    return LesionRow(
        lesion.number, lesion.value, lesion.volume_mm3, diameter, lesion.centre_ras, lesion.slices, lesion.confidence,
        lesion.peak_probability, lesion.ventricle_distance_mm, region, parts, lesion.disagreement,
        None if lesion.drawn_share is None else lesion.mean_probability,
    )  # fmt: skip


def lesion_diameter(mask: np.ndarray, ijk_to_ras: np.ndarray) -> float:
    """Largest distance between two points of a mask's surface, mm; of a single voxel, its longest side.

    The surface passes through the middles of the outer faces, as in the maximum 3D diameter of the Image Biomarker
    Standardisation Initiative (PyRadiomics) and, in a slice, in scikit-image's ``feret_diameter_max``. Thick slices
    (:func:`flairseg.image.slice_stack.thick_axis`) count at their centres: their thickness is not a length of the
    lesion. SimpleITK's and 3D Slicer's Feret diameter is measured from voxel centre to voxel centre: up to a voxel
    shorter, and 0 for a single voxel.

    Parameters
    ----------
    mask : ndarray of bool, shape (K, J, I)
    ijk_to_ras : ndarray, shape (4, 4)
    """
    if not mask.any():
        return 0.0
    axes = ijk_to_ras[:3, :3][:, ::-1].T
    thick = thick_axis(spacing_of(ijk_to_ras))
    faces = [sign * axis / 2 for n, axis in enumerate(axes) if thick is None or n != 2 - thick for sign in (-1, 1)]
    # Of the farthest pair each is an end of its lines along all axes.
    ends = mask.copy()
    for axis in range(3):
        ends &= ~(_shifted(mask, axis, 1) & _shifted(mask, axis, -1))
    points = ((np.argwhere(ends) @ axes)[:, None] + np.array(faces)).reshape(-1, 3)
    # A pair is no farther apart than both are from the middle together, and the farthest point has a far partner.
    away = np.linalg.norm(points - (points.max(axis=0) + points.min(axis=0)) / 2, axis=1)
    farthest = int(np.argmax(away))
    known = np.linalg.norm(points - points[farthest], axis=1).max()
    points = points[away + away[farthest] >= known - ROUNDING_MM]
    if len(points) > _PAIRWISE_POINTS:
        # Imported for the few that need it: it takes longer than all lesions of a case.
        from scipy.spatial import ConvexHull, QhullError

        # Joggled, so that lesions of one slice have a hull as well; it keeps every corner.
        with contextlib.suppress(QhullError):
            points = points[ConvexHull(points, qhull_options="QJ Pp").vertices]
    farthest_squared = 0.0
    for start in range(0, len(points), _PAIRWISE_POINTS):
        part = points[start : start + _PAIRWISE_POINTS]
        squared = np.square(part[:, None] - points[None, start:]).sum(axis=2)
        farthest_squared = max(farthest_squared, float(squared.max()))
    return float(np.sqrt(farthest_squared))


def _shifted(mask: np.ndarray, axis: int, by: int) -> np.ndarray:
    """A mask moved by one voxel along an axis, False where nothing comes from."""
    out = np.zeros_like(mask)
    to, source = [slice(None)] * 3, [slice(None)] * 3
    to[axis], source[axis] = (slice(1, None), slice(None, -1)) if by > 0 else (slice(None, -1), slice(1, None))
    out[tuple(to)] = mask[tuple(source)]
    return out


def lesion_parts(mask: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray:
    """The parts of a confluent lesion.

    The distance to the lesion's border (mm, voxel sizes taken into account) has a summit in each part. Summits that
    rise less than :data:`PROMINENCE_MM` (and less than one voxel of the finest direction) above the pass to a higher
    one are no parts of their own (h-maxima); the others are flooded from their summits (watershed by markers). Parts
    smaller than S5's smallest lesion (10.7 mm3) join their neighbour.

    Parameters
    ----------
    mask : ndarray of bool, shape (k, j, i)
        One lesion.
    ijk_to_ras : ndarray, shape (4, 4)

    Returns
    -------
    ndarray of int32, shape (k, j, i)
        1, 2, 3...; 0 outside. A lesion that is not confluent is one part.

    References
    ----------
    Soille P. Morphological Image Analysis. 2nd ed. Springer 2004 (doi:10.1007/978-3-662-05088-0): h-maxima, watershed.
    Counting by summits of a map rather than by connected components: Dworkin JD et al. AJNR 2018;39:626-633
    (doi:10.3174/ajnr.A5556).
    """
    from scipy import ndimage

    spacing = spacing_of(ijk_to_ras)[::-1]
    height = max(PROMINENCE_MM, min(spacing))
    # Every voxel is at least one from the border, hence every pass: two parts have two summits this high.
    summit = height + min(spacing) - 1e-6
    thickest = min(-(-n // 2) * mm for n, mm in zip(mask.shape, spacing, strict=True))
    voxel_mm3 = voxel_volume_of(ijk_to_ras)
    whole = mask.astype(np.int32)
    if thickest < summit or np.count_nonzero(mask) * voxel_mm3 < 2 * SMALLEST_LESION_MM3:
        return whole
    padded = np.zeros([n + 2 for n in mask.shape], bool)
    padded[1:-1, 1:-1, 1:-1] = mask
    depth = ndimage.distance_transform_edt(padded, sampling=spacing)
    near = np.ones((3, 3, 3), bool)
    high = depth >= summit
    high &= depth == ndimage.maximum_filter(depth, 3)
    if not _parted(depth, high, height):
        return whole
    import SimpleITK as sitk

    # Summits that rise by at least h above their pass keep a residue of h when floods rise from below them.
    filled = sitk.ReconstructionByDilation(
        sitk.GetImageFromArray(depth - height), sitk.GetImageFromArray(depth), fullyConnected=True
    )
    residue = depth - sitk.GetArrayViewFromImage(filled)
    candidates, count = ndimage.label(residue > 1e-6, structure=near)
    if count < 2:
        return whole
    rise = ndimage.maximum(residue, candidates, np.arange(1, count + 1))
    keep = np.concatenate([[False], rise >= height - 1e-6])
    markers, count = ndimage.label(keep[candidates], structure=near)
    if count < 2:
        return whole
    parts = _flooded(depth, markers)
    large = np.bincount(parts.ravel(), minlength=count + 1) * voxel_mm3 >= SMALLEST_LESION_MM3
    large[0] = False
    if large.sum() < 2:
        return whole
    if not large[1:].all():
        parts = _flooded(depth, np.where(large[markers], markers, 0))
    lookup = np.cumsum(large) * large
    out: np.ndarray = lookup[parts].astype(np.int32)[1:-1, 1:-1, 1:-1]
    return out


def _parted(depth: np.ndarray, high: np.ndarray, height: float) -> bool:
    """Whether two summits (bool) are parted by a pass so much lower than either; True, too, where there are many."""
    from scipy import ndimage

    near = np.ones((3, 3, 3), bool)
    summits, count = ndimage.label(high, structure=near)
    if not 1 < count <= _FEW_SUMMITS:
        return bool(count > 1)
    first = [np.argmax(summits == number) for number in range(1, count + 1)]
    first.sort(key=lambda at: -depth.flat[at])
    for n, at in enumerate(first[1:], start=1):
        # What is reached from this summit without going down so far.
        reached = ndimage.label(depth > depth.flat[at] - height + 1e-6, structure=near)[0]
        if not any(reached.flat[at] == reached.flat[higher] for higher in first[:n]):
            return True
    return False


def _flooded(depth: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Watershed of a lesion from its summits: number of the marker (int32) where ``depth`` (float64) is not 0."""
    import SimpleITK as sitk

    # Outside is as high as can be: it is flooded when all of the lesion is.
    parts = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(-depth), sitk.GetImageFromArray(markers.astype(np.uint32)), False, True
    )
    return np.where(depth > 0, sitk.GetArrayViewFromImage(parts), 0).astype(np.int32)


def split_count(rows: Iterable[LesionRow]) -> int:
    """Number of lesions when confluent ones are split."""
    return sum(row.parts for row in rows if row.value == LESION)


def load_by_region(rows: Iterable[LesionRow]) -> dict[str, dict[str, float]]:
    """Number and volume of the lesions in each region, ``{region: {"count": n, "volume_ml": v}}``, in order.

    Normal WMH is not a lesion and does not count.
    """
    load = {region: {"count": 0, "volume_ml": 0.0} for region in REGIONS}
    for row in rows:
        if row.value == LESION:
            load[row.region]["count"] += 1
            load[row.region]["volume_ml"] += row.volume_ml
    return {region: {"count": v["count"], "volume_ml": round(v["volume_ml"], 4)} for region, v in load.items()}


def dissemination_of_rows(rows: Iterable[LesionRow]) -> Dissemination:
    """:func:`flairseg.anatomy.dissemination.dissemination` of the lesions among some rows."""
    own = [row for row in rows if row.value == LESION]
    return dissemination([row.region for row in own], [row.diameter_mm for row in own])


def summary_entries(rows: Sequence[LesionRow], with_regions: bool = True) -> dict[str, Any]:
    """Lesion entries of ``summary.json``: ``lesions``, ``lesion_parts``, ``regions``, ``dissemination``.

    The last two only where regions were computed.
    """
    own = [row for row in rows if row.value == LESION]
    entries: dict[str, Any] = {"lesions": [row.as_dict() for row in own], "lesion_parts": split_count(own)}
    if with_regions:
        entries |= {"regions": load_by_region(own), "dissemination": dissemination_of_rows(own).as_dict()}
    return entries


#: Columns of the CSV file, in order; ``mean_probability`` comes after them where ``confidence`` is something else.
COLUMNS = (
    "case", "number", "class", "region", "volume_mm3", "volume_ml", "diameter_mm", "parts", "first_slice", "last_slice",
    "centre_r_mm", "centre_a_mm", "centre_s_mm", "ventricle_distance_mm", "confidence", "peak_probability",
    "disagreement",
)  # fmt: skip


def table_csv(rows: Iterable[LesionRow], case: str) -> str:
    """The table as CSV text (UTF-8, comma, one header line); columns as in :data:`COLUMNS`, empty where unknown.

    ``case`` is in each row, so that tables of several cases can be concatenated; ``class`` is ``lesion`` or
    ``normal_wmh``; slices count from 1; the centre is in RAS mm.
    """
    lines: list[dict[str, Any]] = []
    columns: tuple[str, ...] = COLUMNS
    for row in rows:
        values = row.as_dict()
        first, last = values.pop("slices")
        del values["slices_index"]
        r, a, s = values.pop("centre_ras_mm")
        values |= {
            "case": case,
            "class": CLASS_BY_VALUE[row.value].id,
            "first_slice": first,
            "last_slice": last,
            "centre_r_mm": r,
            "centre_a_mm": a,
            "centre_s_mm": s,
        }
        lines.append(values)
        if row.mean_probability is not None:
            columns = (*COLUMNS, "mean_probability")
    return csv_text(columns, lines)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
