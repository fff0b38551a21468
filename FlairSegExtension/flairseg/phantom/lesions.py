"""White matter hyperintensities: normal caps and rims, and MS lesions of several types, sizes and locations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .fields import FINE, Lattice, Noise, refine, sample, soft
from .tissues import SIGNAL, Tissue
from .ventricles import HORN_TIPS, Ventricles

#: Kinds of lesion and how often each is drawn.
PLACES: dict[str, float] = {
    "periventricular": 0.38,
    "deep white matter": 0.30,
    "juxtacortical": 0.22,
    "infratentorial": 0.10,
}

_RADIUS_MM = {
    "periventricular": (4.7, 0.32, 3.2, 8.0),
    "deep white matter": (3.7, 0.26, 2.9, 6.0),
    "juxtacortical": (3.6, 0.20, 2.9, 5.0),
    "infratentorial": (3.4, 0.18, 2.8, 4.6),
}
_TRIES = 4000


@dataclass(frozen=True)
class Lesion:
    """One MS lesion, in the canonical head frame.

    Attributes
    ----------
    place : str
        One of :data:`PLACES`.
    centre : ndarray, shape (3,)
        x, y, z in mm.
    axes : ndarray, shape (3, 3)
        Unit vectors of the ellipsoid, one per row (x, y, z).
    radii : ndarray, shape (3,)
        Semi-axes along them, mm.
    signal : float
        Brightness relative to white matter.
    """

    place: str
    centre: np.ndarray
    axes: np.ndarray
    radii: np.ndarray
    signal: float

    @property
    def radius(self) -> float:
        """Radius of the sphere of the same volume, mm."""
        return float(np.prod(self.radii) ** (1 / 3))

    @property
    def reach(self) -> float:
        """Longest semi-axis with its irregularity, mm."""
        return float(self.radii.max() * 1.35 + 1.5)


@dataclass
class Anatomy:
    """Head data for placing lesions; signed distances on boxes of the fine lattice, mm."""

    ventricles: Ventricles
    cerebrum_lattice: Lattice
    cortex_depth: np.ndarray
    hindbrain_lattice: Lattice
    hindbrain_depth: np.ndarray
    deep_gray: np.ndarray = field(repr=False)  # on the ventricle box

    def wall(self, points: np.ndarray) -> np.ndarray:
        """Distance from the ventricles (N,), positive outside; points outside the box count as far."""
        inside = np.all((points >= self.ventricles.lattice.low) & (points <= self.ventricles.lattice.high), axis=1)
        return np.where(inside, sample(self.ventricles.distance, self.ventricles.lattice, points), 30.0)

    def lateral_wall(self, points: np.ndarray) -> np.ndarray:
        """Distance from the lateral ventricles (N,)."""
        return sample(self.ventricles.lateral, self.ventricles.lattice, points)

    def gray(self, points: np.ndarray) -> np.ndarray:
        """Distance from deep gray matter (N,)."""
        inside = np.all((points >= self.ventricles.lattice.low) & (points <= self.ventricles.lattice.high), axis=1)
        return np.where(inside, sample(self.deep_gray, self.ventricles.lattice, points), 30.0)

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Depth below the pial surface of the cerebrum (N,)."""
        return sample(self.cortex_depth, self.cerebrum_lattice, points)


def normal_hyperintensity(rng: np.random.Generator, ventricles: Ventricles, deep_gray: np.ndarray) -> np.ndarray:
    """Signed distance (mm, negative inside) to the normal caps and rims, on the ventricles' box.

    A rim of varying thickness follows the lateral ventricles; caps sit on the frontal and occipital horns.
    """
    box = ventricles.lattice
    rough = box.coarser()
    patchy = Noise(rng, 22.0, 1.0).on(rough)
    strength = float(rng.uniform(0.65, 0.95))
    thickness = 2.6 * np.clip((patchy - 0.25) * 2, 0, 1)
    for frontal, (x, y, z) in zip((True, False), HORN_TIPS, strict=True):
        for sign in (-1.0, 1.0):
            height = float(rng.uniform(1.8, 3.0) if frontal else rng.uniform(1.2, 2.4))
            squared = (rough.x - sign * x) ** 2 + (rough.y - y) ** 2 + (rough.z - z) ** 2
            thickness += np.float32(height) * np.exp(squared * np.float32(-1 / (2 * 5.5**2)))
    # No rim on the septum and the midline, nor along the temporal horns' floor.
    medial = np.clip((np.abs(rough.x) - 3.0) / 3.0, 0, 1)
    low = np.clip((rough.z + 8.0) / 8.0, 0.25, 1)
    thickness = refine(thickness * medial * low) * np.float32(strength)
    rim = ventricles.lateral - thickness
    rim = np.where(thickness > 0.4, rim, np.maximum(rim, 0.6))
    return np.maximum(rim, 0.5 - deep_gray)


def draw_lesions(rng: np.random.Generator, anatomy: Anatomy, count: int) -> list[Lesion]:
    """Draw ``count`` lesions that do not touch each other.

    Positions are drawn by rejection from uniform boxes, so that they do not depend on rounding of a distance.

    Parameters
    ----------
    rng : numpy.random.Generator
    anatomy : Anatomy
    count : int
        Number wanted; fewer are returned only where the brain has no room left.

    Returns
    -------
    list of Lesion
    """
    names, weights = list(PLACES), np.array(list(PLACES.values()))
    quota = np.floor(weights * count).astype(int)
    for extra in np.argsort(-(weights * count - quota), kind="stable")[: count - int(quota.sum())]:
        quota[extra] += 1
    burden = float(np.clip(np.exp(rng.normal(0.12, 0.16)), 0.85, 1.45))
    lesions: list[Lesion] = []
    for name, wanted in zip(names, quota, strict=True):
        for _ in range(int(wanted)):
            lesion = _draw_one(rng, anatomy, name, lesions, burden)
            if lesion is not None:
                lesions.append(lesion)
    return lesions


def _draw_one(
    rng: np.random.Generator, anatomy: Anatomy, place: str, others: list[Lesion], burden: float
) -> Lesion | None:
    median, spread, smallest, largest = _RADIUS_MM[place]
    median, largest = median * burden, largest * burden
    for attempt in range(_TRIES // 200):
        radius = float(np.clip(median * np.exp(rng.normal(0.0, spread)), smallest, largest)) * 0.96**attempt
        points = _candidates(rng, place, 200)
        for point in points[_fits(anatomy, place, points, radius)]:
            axes, radii = _shape(rng, anatomy, place, point, radius)
            signal = SIGNAL[Tissue.LESION] + float(rng.normal(0.0, 0.06))
            lesion = Lesion(place, point, axes, radii, signal)
            clear = all(np.linalg.norm(point - o.centre) > 0.8 * (lesion.reach + o.reach) + 1.0 for o in others)
            if clear:
                return lesion
    return None


def _candidates(rng: np.random.Generator, place: str, number: int) -> np.ndarray:
    """Points (number, 3) drawn uniformly from the box of a type of lesion."""
    low, high = {
        "periventricular": ((-40, -72, -6), (40, 44, 33)),
        "deep white matter": ((-50, -78, 2), (50, 56, 56)),
        "juxtacortical": ((-62, -92, -20), (62, 64, 66)),
        "infratentorial": ((-32, -70, -48), (32, -14, -16)),
    }[place]
    return rng.uniform(low, high, (number, 3))


def _fits(anatomy: Anatomy, place: str, points: np.ndarray, radius: float) -> np.ndarray:
    """Which of the points (N, 3) can be the centre of a lesion of that kind and radius."""
    if place == "infratentorial":
        depth = sample(anatomy.hindbrain_depth, anatomy.hindbrain_lattice, points)
        return (depth > radius + 2.0) & (anatomy.wall(points) > radius + 1.0)
    depth, wall, gray = anatomy.depth(points), anatomy.wall(points), anatomy.gray(points)
    if place == "periventricular":
        lateral = anatomy.lateral_wall(points)
        near = (lateral > 0.35 * radius) & (lateral < 1.3 * radius + 0.5) & (np.abs(points[:, 0]) > 8)
        out: np.ndarray = near & (gray > 1.0 + 0.5 * radius) & (depth > radius + 3.0)
        return out
    if place == "juxtacortical":
        out = (np.abs(depth - 2.7 - 0.75 * radius) < 0.8) & (wall > 12.0) & (gray > 10.0) & (np.abs(points[:, 0]) > 12)
        return out
    out = (depth > 3.0 + radius) & (wall > 5.0 + radius) & (gray > 2.0 + radius) & (np.abs(points[:, 0]) > 10)
    return out


def _shape(
    rng: np.random.Generator, anatomy: Anatomy, place: str, point: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Axes (3, 3) and semi-axes (3,) of a lesion: Dawson's fingers perpendicular to the ventricle, else blobs."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    stretch = rng.uniform(0.8, 1.25, 3)
    if place == "periventricular":
        away = _gradient(anatomy.lateral_wall, point)
        away[2] *= 0.4
        away /= max(float(np.linalg.norm(away)), 1e-6)
        first = np.cross(away, (0.0, 0.0, 1.0))
        first /= max(float(np.linalg.norm(first)), 1e-6)
        turn = np.stack([away, first, np.cross(away, first)])
        stretch = np.array([rng.uniform(1.2, 1.9), rng.uniform(0.7, 1.1), rng.uniform(0.8, 1.3)])
    elif place == "juxtacortical":
        away = _gradient(anatomy.depth, point)
        away /= max(float(np.linalg.norm(away)), 1e-6)
        first = np.cross(away, turn[0])
        first /= max(float(np.linalg.norm(first)), 1e-6)
        turn = np.stack([away, first, np.cross(away, first)])
        stretch = np.array([0.75, rng.uniform(1.0, 1.4), rng.uniform(0.9, 1.2)])
    return turn, radius * stretch / np.prod(stretch) ** (1 / 3)


def _gradient(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray) -> np.ndarray:
    offsets = 1.5 * np.eye(3)
    out: np.ndarray = function(point + offsets) - function(point - offsets)
    return out


def lesion_distance(lesion: Lesion, box: Lattice, ragged: Noise) -> np.ndarray:
    """Signed distance (mm, negative inside) to a lesion with an irregular border, on a box."""
    offset = np.stack(
        np.broadcast_arrays(*(axis - o for axis, o in zip((box.x, box.y, box.z), lesion.centre, strict=True))), axis=-1
    ).astype(np.float32)
    local = (offset @ lesion.axes.T.astype(np.float32)) / lesion.radii.astype(np.float32)
    scaled = np.sqrt((local * local).sum(axis=-1))
    slope = np.sqrt(((local / lesion.radii.astype(np.float32)) ** 2).sum(axis=-1))
    distance = scaled * (scaled - 1) / np.maximum(slope, 1e-4)
    out: np.ndarray = distance + np.float32(min(0.17 * lesion.radius, 0.8)) * ragged.at(box.x, box.y, box.z)
    return out


def paint_box(lesion: Lesion) -> tuple[Lattice, tuple[slice, slice, slice]]:
    """Box of the fine lattice that holds a lesion and its border."""
    reach = lesion.reach + 2.0
    return FINE.box(lesion.centre - reach, lesion.centre + reach)


def lesion_share(distance: np.ndarray) -> np.ndarray:
    """Occupancy (0..1) from a lesion's signed distance: MS lesions fade over two millimetres."""
    return soft(distance, 2.0)
