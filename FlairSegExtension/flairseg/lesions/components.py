"""Single lesions: components, size, probability, distance to the ventricles.

A lesion is a 26-connected component of label 3; a region of normal white matter hyperintensity (WMH) is one of label 2.
Everything here takes arrays K, J, I, works slice by slice or within bounding boxes, and is fast enough to run again
after each stroke of a reader's brush. Numbers stay with their lesion while it is edited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..image.geometry import triple, voxel_volume_of
from ..image.pages import values_where
from ..labels import BACKGROUND, LESION, VENTRICLES
from ..models.lesion_confidence import LesionConfidence
from .boxes import Box, bounding_box, common, looked_up, through_plane_axis

#: S5's minimum lesion: 3 mm across.
SMALLEST_LESION_MM3 = 10.7
#: Regions that vanished and are remembered: more than an undo history holds.
_REMEMBERED = 200
#: Up to so many voxels of a region all are compared with the ventricles; of more, those of its surface.
_FEW_VOXELS = 500
#: Points whose distances are computed together.
_PIECE = 64
#: Up to so many points on the ventricles' surface, comparing pieces takes less time than importing SciPy's k-d tree.
_FEW_POINTS = 10_000
#: Of so many voxels of a surface one is checked first, to bound the distance of the nearest.
_SAMPLED = 50


@dataclass(frozen=True)
class Lesion:
    """One lesion, or one region of normal WMH.

    Attributes
    ----------
    number : int
        Its name in the list; stays with it while it is edited (see :func:`numbered_like`).
    value : int
        Class, as in :data:`flairseg.labels.CLASSES`.
    voxels : int
    volume_mm3 : float
    centre_ras : tuple of float
        Centre of mass, mm, RAS.
    anchor_ras : tuple of float
        The voxel of the region nearest to its centre of mass, mm, RAS: always inside, also in a ring or a band.
    slices : tuple of int
        First and last slice (from 0) along the through-plane axis.
    largest_slice : int
        Slice (from 0) in which its area is largest.
    box : Box
        Bounding box, K, J, I.
    probabilities : tuple of float
        Mean probability of the classes 0..3 over the region; empty where no probabilities are known.
    peak_probability : float or None
        Highest probability of the region's own class.
    ventricle_distance_mm : float or None
        Smallest distance between voxel centres of the region and of the ventricles; None without ventricles.
    touches_ventricles : bool
        Whether they share a face, an edge or a corner.
    disagreement : float or None
        Mean over the region of how much an ensemble's members disagree about lesions, 0..1 (see
        :mod:`flairseg.segmentation.ensemble`); None for a single model.
    drawn_share : float or None
        Share of such lesions that readers drew, 0..1 (:mod:`flairseg.models.lesion_confidence`); None where the model's
        card does not tell, and of normal WMH.
    """

    number: int
    value: int
    voxels: int
    volume_mm3: float
    centre_ras: tuple[float, float, float]
    anchor_ras: tuple[float, float, float]
    slices: tuple[int, int]
    largest_slice: int
    box: Box = field(compare=False)
    probabilities: tuple[float, ...] = ()
    peak_probability: float | None = None
    ventricle_distance_mm: float | None = None
    touches_ventricles: bool = False
    disagreement: float | None = None
    drawn_share: float | None = None

    @property
    def volume_ml(self) -> float:
        """Volume in millilitres."""
        return self.volume_mm3 / 1000

    @property
    def mean_probability(self) -> float | None:
        """Mean probability of its own class over the region, 0..1; None where no probabilities are known."""
        return self.probabilities[self.value] if self.probabilities else None

    @property
    def confidence(self) -> float | None:
        """:attr:`drawn_share` where it is known, else :attr:`mean_probability`."""
        return self.mean_probability if self.drawn_share is None else self.drawn_share

    @property
    def runner_up(self) -> int | None:
        """The class that the model held for the next likely, on average; None where no probabilities are known."""
        if not self.probabilities:
            return None
        return max((c for c in range(len(self.probabilities)) if c != self.value), key=self.probabilities.__getitem__)

    @property
    def margin(self) -> float | None:
        """Mean probability minus that of :attr:`runner_up`; negative where the model prefers another class."""
        second = self.runner_up
        return None if second is None else self.probabilities[self.value] - self.probabilities[second]


@dataclass(frozen=True)
class LesionMap:
    """The regions of a label map, and which voxel belongs to which.

    Attributes
    ----------
    lesions : tuple of Lesion
        Lesions first, then the other requested classes; each largest first.
    components : ndarray of int32
        :attr:`Lesion.number` of each voxel within ``box``; 0 elsewhere.
    box : Box
        Part of the grid that ``components`` covers, K, J, I.
    shape : tuple of int
        Of the whole grid, K, J, I.
    vanished : tuple of (int, Box, ndarray of bool)
        Number, bounding box and mask of regions that were there before an edit: they get their numbers back if the edit
        is undone.
    """

    lesions: tuple[Lesion, ...]
    components: np.ndarray
    box: Box
    shape: tuple[int, int, int]
    vanished: tuple[tuple[int, Box, np.ndarray], ...] = ()

    def get(self, number: int) -> Lesion | None:
        """The region of that number, if there is one."""
        return next((lesion for lesion in self.lesions if lesion.number == number), None)

    def mask(self, number: int) -> tuple[Box, np.ndarray]:
        """Bounding box (K, J, I) of a region and, within it, which voxels belong to it (bool).

        Raises
        ------
        KeyError
            If there is no region of that number.
        """
        lesion = self.get(number)
        if lesion is None:
            raise KeyError(number)
        within = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(lesion.box, self.box, strict=True))
        return lesion.box, self.components[within] == number

    def at(self, kji: Sequence[int]) -> Lesion | None:
        """The region that holds a voxel (K, J, I of the whole grid)."""
        if not all(s.start <= n < s.stop for n, s in zip(kji, self.box, strict=True)):
            return None
        return self.get(int(self.components[tuple(n - s.start for n, s in zip(kji, self.box, strict=True))]))


def find_lesions(
    labels: np.ndarray,
    ijk_to_ras: np.ndarray,
    probabilities: np.ndarray | None = None,
    values: Sequence[int] = (LESION,),
    previous: LesionMap | None = None,
    disagreement: np.ndarray | None = None,
    confidence: LesionConfidence | None = None,
) -> LesionMap:
    """Number and measure the 26-connected regions of some classes.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the grid, mm.
    probabilities : ndarray of float, shape (4, K, J, I), optional
        Or of uint8: 0..255 for 0..1.
    values : sequence of int
        Classes; 2 (normal WMH) and 3 (lesion) make sense.
    previous : LesionMap, optional
        The regions before an edit: numbers stay with their region (:func:`numbered_like`).
    disagreement : ndarray of float, shape (K, J, I), optional
        Of an ensemble's members, 0..1.
    confidence : LesionConfidence, optional
        Of the model's card: how probability and volume become :attr:`Lesion.drawn_share`.

    Returns
    -------
    LesionMap

    Raises
    ------
    ValueError
        If the probabilities or the disagreement are not on the labels' grid.
    """
    from scipy import ndimage

    if probabilities is not None and probabilities.shape[1:] != labels.shape:
        raise ValueError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")
    if disagreement is not None and disagreement.shape != labels.shape:
        raise ValueError(f"disagreement {disagreement.shape} does not fit labels {labels.shape}")
    box = bounding_box(labels, values)
    if box is None:
        empty = (slice(0, 0),) * 3
        nothing = LesionMap((), np.zeros((0, 0, 0), np.int32), empty, labels.shape)
        return nothing if previous is None else numbered_like(nothing, previous)
    part = labels[box]
    components = np.zeros(0, np.int32)
    classes = [BACKGROUND]
    for value in values:
        own, count = ndimage.label(part == value, structure=np.ones((3, 3, 3), bool))
        if len(classes) == 1:
            components = own
        else:
            np.add(own, len(classes) - 1, out=components, where=own > 0)
        classes += [value] * count
    regions = _measured(components, classes, box, ijk_to_ras, probabilities, disagreement)
    if confidence is not None:
        regions = [_with_drawn_share(region, confidence) for region in regions]
    regions = _with_ventricle_distance(regions, components, box, labels, ijk_to_ras)
    order = sorted(regions, key=lambda r: (-r.value, -r.voxels, r.number))
    lookup = np.zeros(len(classes), np.int32)
    for number, region in enumerate(order, start=1):
        lookup[region.number] = number
    numbered = tuple(replace(region, number=number) for number, region in enumerate(order, start=1))
    found = LesionMap(numbered, looked_up(lookup, components, out=components), box, labels.shape)
    return found if previous is None else numbered_like(found, previous)


def numbered_like(found: LesionMap, previous: LesionMap) -> LesionMap:
    """Give regions the numbers that they had before an edit.

    A region takes the number of the earlier one with which it shares most voxels; where several want the same one (a
    lesion cut in two), the largest share gets it. A region that vanished and returns gets its number again. New
    regions get numbers above all that were used.

    Parameters
    ----------
    found, previous : LesionMap
        Of the same grid, after and before.

    Returns
    -------
    LesionMap
        ``found`` with other numbers; the order of ``lesions`` is kept.
    """
    if found.shape != previous.shape:
        return found
    shares = [*_shares(found, previous), *_shares_of_vanished(found, previous)]
    new_number: dict[int, int] = {}
    taken = set()
    for _, now, before in sorted(shares, key=lambda share: (-share[0], *share[1:])):
        if now not in new_number and before not in taken:
            new_number[now] = before
            taken.add(before)
    gone = [x.number for x in previous.lesions if x.number not in taken]
    vanished = [v for v in previous.vanished if v[0] not in taken] + [(n, *previous.mask(n)) for n in gone]
    used = [x.number for x in previous.lesions] + [number for number, _, _ in previous.vanished]
    unused = max(used, default=0) + 1
    lookup = np.zeros(max((lesion.number for lesion in found.lesions), default=0) + 1, np.int32)
    lesions = []
    for lesion in found.lesions:
        if lesion.number not in new_number:
            new_number[lesion.number] = unused
            unused += 1
        lookup[lesion.number] = new_number[lesion.number]
        lesions.append(replace(lesion, number=new_number[lesion.number]))
    return replace(
        found,
        lesions=tuple(lesions),
        components=lookup[found.components],
        vanished=tuple(vanished[-_REMEMBERED:]),
    )


def _shares(found: LesionMap, previous: LesionMap) -> list[tuple[int, int, int]]:
    """(Voxels that two regions share, number now, number before) of all regions that overlap."""
    both = common(found.box, previous.box)
    if both is None:
        return []
    new, old = (_part(m, both) for m in (found, previous))
    shared = (new > 0) & (old > 0)
    # One number for each pair: sorting pairs of numbers would keep Python from all other threads.
    base = int(old.max(initial=0)) + 1
    pairs, voxels = np.unique(new[shared].astype(np.int64) * base + old[shared], return_counts=True)
    return [(int(n), *divmod(int(pair), base)) for n, pair in zip(voxels, pairs, strict=True)]


def _shares_of_vanished(found: LesionMap, previous: LesionMap) -> list[tuple[int, int, int]]:
    """The same for regions that had vanished; regions with half of the voxels or more count as returned."""
    out = []
    for number, box, mask in previous.vanished:
        both = common(box, found.box)
        if both is None:
            continue
        own = tuple(slice(b.start - s.start, b.stop - s.start) for b, s in zip(both, box, strict=True))
        numbers, voxels = np.unique(_part(found, both)[mask[own]], return_counts=True)
        out += [
            (int(n), int(now), number)
            for now, n in zip(numbers, voxels, strict=True)
            if now > 0 and 2 * n >= np.count_nonzero(mask)
        ]
    return out


def _part(lesion_map: LesionMap, box: Box) -> np.ndarray:
    return lesion_map.components[
        tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, lesion_map.box, strict=True))
    ]


def _measured(
    components: np.ndarray,
    classes: Sequence[int],
    box: Box,
    ijk_to_ras: np.ndarray,
    probabilities: np.ndarray | None,
    disagreement: np.ndarray | None = None,
) -> list[Lesion]:
    """Size, place and probabilities of each component; ``classes[n]`` is the class of component n."""
    offset = np.array([s.start for s in box])
    where = np.nonzero(components)
    numbers = components[where]
    kji = np.stack(where, axis=1) + offset
    voxels = np.bincount(numbers, minlength=len(classes))
    means = peaks = None
    if probabilities is not None:
        scale = 255.0 if probabilities.dtype == np.uint8 else 1.0
        inside = components > 0
        values = np.stack([values_where(plane[box], inside) for plane in probabilities])
        values = values.astype(np.float32) / np.float32(scale)
        means = np.stack([np.bincount(numbers, v, len(classes)) for v in values]) / np.maximum(voxels, 1)
        own = values[np.asarray(classes)[numbers], np.arange(numbers.size)]
        peaks = np.zeros(len(classes))
        np.maximum.at(peaks, numbers, own)
    apart = None
    if disagreement is not None:
        apart = np.bincount(numbers, disagreement[tuple(kji.T)], len(classes)) / np.maximum(voxels, 1)
    centres = (
        np.stack([np.bincount(numbers, axis, len(classes)) for axis in kji.T], axis=1) / np.maximum(voxels, 1)[:, None]
    )
    order = np.argsort(numbers, kind="stable")
    starts = np.concatenate([[0], np.cumsum(voxels[1:])])
    normal = through_plane_axis(ijk_to_ras)
    voxel_mm3 = voxel_volume_of(ijk_to_ras)
    out = []
    for n in range(1, len(classes)):
        own = kji[order[starts[n - 1] : starts[n]]]
        first, last = own.min(axis=0), own.max(axis=0)
        nearest = own[np.argmin(((own - centres[n]) ** 2).sum(axis=1))]
        area = np.bincount(own[:, normal])
        out.append(
            Lesion(
                number=n,
                value=classes[n],
                voxels=int(voxels[n]),
                volume_mm3=float(voxels[n]) * voxel_mm3,
                centre_ras=_to_ras(centres[n], ijk_to_ras),
                anchor_ras=_to_ras(nearest, ijk_to_ras),
                slices=(int(own[:, normal].min()), int(own[:, normal].max())),
                largest_slice=int(np.argmax(area)),
                box=triple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)),
                probabilities=() if means is None else tuple(round(float(p), 4) for p in means[:, n]),
                peak_probability=None if peaks is None else float(peaks[n]),
                disagreement=None if apart is None else round(float(apart[n]), 4),
            )
        )
    return out


def _with_drawn_share(region: Lesion, confidence: LesionConfidence) -> Lesion:
    """A lesion with the share of such lesions that readers drew; other classes as they are."""
    if region.value != LESION or region.mean_probability is None:
        return region
    return replace(region, drawn_share=confidence.drawn_share(region.mean_probability, region.volume_mm3))


def _to_ras(kji: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[float, float, float]:
    return triple(float(x) for x in ijk_to_ras[:3, :3] @ kji[::-1] + ijk_to_ras[:3, 3])


def _with_ventricle_distance(
    lesions: list[Lesion], components: np.ndarray, box: Box, labels: np.ndarray, ijk_to_ras: np.ndarray
) -> list[Lesion]:
    """Distances from the surface of each region to that of the ventricles."""
    ventricles = _surface(labels, VENTRICLES)
    if not lesions or ventricles.size == 0:
        return lesions
    matrix = ijk_to_ras[:3, :3][:, ::-1]  # columns K, J, I
    nearest = _nearest_to(ventricles @ matrix.T)
    found = []
    for lesion in lesions:
        within = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(lesion.box, box, strict=True))
        mask = components[within] == lesion.number
        points = np.argwhere(mask) if lesion.voxels <= _FEW_VOXELS else _surface(mask.view(np.uint8), 1)
        mm = nearest((points + [s.start for s in lesion.box]) @ matrix.T)
        found.append(replace(lesion, ventricle_distance_mm=mm, touches_ventricles=_touches(lesion.box, mask, labels)))
    return found


def _touches(box: Box, mask: np.ndarray, labels: np.ndarray) -> bool:
    """Whether a region (its box, its voxels in it) and the ventricles share a face, an edge or a corner."""
    from scipy import ndimage

    around = triple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    ventricles = labels[around] == VENTRICLES
    if not ventricles.any():
        return False
    grown = ndimage.maximum_filter(ventricles, 3, mode="constant")
    inner = triple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True))
    return bool((grown[inner] & mask).any())


@dataclass(frozen=True)
class _Blocks:
    """Points, in pieces of neighbours, and the box of each piece; ndarrays (pieces, 3)."""

    pieces: list[np.ndarray]
    low: np.ndarray
    high: np.ndarray


def _blocks(points: np.ndarray) -> _Blocks:
    """Points (n, 3) in the order in which they are given, so many to a piece."""
    pieces = [points[start : start + _PIECE] for start in range(0, len(points), _PIECE)]
    return _Blocks(
        pieces, np.stack([piece.min(axis=0) for piece in pieces]), np.stack([piece.max(axis=0) for piece in pieces])
    )


def _nearest_to(points: np.ndarray) -> Callable[[np.ndarray], float]:
    """Smallest distance of other points (n, 3) from these (m, 3), as a function of the others."""
    if len(points) <= _FEW_POINTS:
        blocks = _blocks(points)
        return lambda others: _nearest(_blocks(others), blocks)
    from scipy.spatial import cKDTree

    tree = cKDTree(points)

    def nearest(others: np.ndarray) -> float:
        # What is farther than the nearest of a few need not be found.
        bound = float(tree.query(others[::_SAMPLED])[0].min())
        return min(bound, float(tree.query(others, distance_upper_bound=bound)[0].min()))

    return nearest


def _nearest(these: _Blocks, those: _Blocks) -> float:
    """Smallest distance between two sets of points: of pieces those that may hold the pair, nearest boxes first."""
    gaps = np.maximum(these.low[:, None] - those.high, those.low - these.high[:, None])
    bounds = np.square(np.maximum(gaps, 0)).sum(axis=2)
    best = np.inf
    for at in np.argsort(bounds, axis=None, kind="stable"):
        n, m = divmod(int(at), len(those.pieces))
        if bounds[n, m] >= best:
            break
        apart = np.square(these.pieces[n][:, None] - those.pieces[m]).sum(axis=2)
        best = min(best, float(apart.min()))
    return float(np.sqrt(best))


def _surface(labels: np.ndarray, value: int) -> np.ndarray:
    """Voxels of a class (K, J, I, one per row) with a face neighbour that is of another class, or off the grid."""
    box = bounding_box(labels, (value,))
    if box is None:
        return np.zeros((0, 3), np.int64)
    first, last = box[0].start, box[0].stop
    empty = np.zeros(tuple(s.stop - s.start + 2 for s in box[1:]), bool)
    below, here = empty, np.pad(labels[first][box[1:]] == value, 1)
    found = []
    for k in range(first, last):
        above = np.pad(labels[k + 1][box[1:]] == value, 1) if k + 1 < last else empty
        inner = here[:-2, 1:-1] & here[2:, 1:-1] & here[1:-1, :-2] & here[1:-1, 2:]
        inner &= below[1:-1, 1:-1] & above[1:-1, 1:-1]
        rows, columns = np.nonzero(here[1:-1, 1:-1] & ~inner)
        found.append(np.stack([np.full(rows.size, k), rows + box[1].start, columns + box[2].start], axis=1))
        below, here = here, above
    return np.concatenate(found)
