"""The ventricles: lateral with frontal, occipital and temporal horns, third, aqueduct and fourth.

Centre lines and radii follow an adult atlas (canonical head frame, mm); size, asymmetry and fine shape are drawn per
head. The shapes are tubes around centre lines, cut by the septum and dented by the caudate nucleus and the thalamus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .fields import FINE, Lattice, Noise, cone, ellipsoid, smooth_max, smooth_min, soft, tube
from .skull import Canvas
from .tissues import Tissue

#: Box (x, y, z in mm) that holds all ventricles and their walls.
BOX_LOW, BOX_HIGH = (-52, -92, -62), (52, 54, 44)

#: Centre lines (x, y, z, radius) of the left-right symmetric atlas, for positive x.
_BODY = (
    (12.0, 35.0, 3.0, 2.2),
    (10.0, 28.0, 9.0, 4.9),
    (7.0, 16.0, 15.0, 5.8),
    (7.0, 0.0, 20.0, 5.6),
    (9.5, -16.0, 21.0, 5.5),
    (15.0, -28.0, 19.5, 5.8),
    (21.5, -37.0, 12.5, 6.2),
    (24.5, -43.0, 7.0, 6.0),
)
#: The body is flat: it reaches sideways under the callosum.
_WING = (
    (12.0, 26.0, 12.5, 2.4),
    (11.5, 14.0, 19.0, 2.8),
    (12.0, 0.0, 22.5, 3.0),
    (15.0, -15.0, 23.0, 3.0),
    (19.0, -28.0, 20.0, 3.4),
)
_FRONTAL_FLOOR = ((12.0, 33.0, 2.0, 2.2), (9.0, 25.0, 2.0, 2.8), (5.5, 14.0, 6.0, 2.6), (4.0, 6.0, 10.0, 2.2))
_OCCIPITAL = ((24.5, -43.0, 7.0, 6.2), (26.0, -55.0, 5.0, 4.2), (24.0, -67.0, 4.0, 2.2))
_TEMPORAL = (
    (25.5, -41.0, 5.0, 5.6),
    (31.0, -34.0, -4.0, 3.4),
    (34.0, -23.0, -12.0, 2.5),
    (32.0, -12.0, -17.5, 2.6),
)
#: Positions of normal caps: (x, y, z) of the frontal and the occipital horn tips, for positive x.
HORN_TIPS = ((12.5, 35.5, 6.0), (25.5, -60.0, 6.0))

#: Deep gray nuclei: name -> (centre, radii, yaw, pitch) for positive x. They indent the ventricles and are drawn as
#: gray matter.
NUCLEI = {
    "caudate": ((14.5, 13.0, 7.0), (5.0, 11.0, 9.5), -12.0, 0.0),
    "thalamus": ((11.5, -18.0, 7.0), (9.3, 14.5, 9.0), -22.0, 0.0),
    "putamen": ((26.0, 3.0, 0.5), (5.2, 15.5, 10.5), -14.0, 0.0),
    "pallidum": ((19.5, -3.5, -1.0), (4.2, 8.5, 6.0), -24.0, 0.0),
}

#: Their signal relative to white matter: the pallidum is dark with iron.
NUCLEI_SIGNAL = {"caudate": 1.12, "thalamus": 1.06, "putamen": 1.06, "pallidum": 0.91}


@dataclass(frozen=True)
class Ventricles:
    """Signed distances (negative inside, mm) on a box of the fine lattice, arrays in order Z, Y, X.

    Attributes
    ----------
    lattice : Lattice
        The box.
    part : tuple of slice
        The box's slices of :data:`~flairseg.phantom.fields.FINE`.
    lateral : ndarray
        Both lateral ventricles.
    midline : ndarray
        Third ventricle, aqueduct and fourth ventricle.
    plexus : ndarray
        Choroid plexus in the atria (inside ``lateral``).
    """

    lattice: Lattice
    part: tuple[slice, slice, slice]
    lateral: np.ndarray
    midline: np.ndarray
    plexus: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """Signed distance to all ventricles."""
        out: np.ndarray = np.minimum(self.lateral, self.midline)
        return out


def build_ventricles(rng: np.random.Generator) -> Ventricles:
    """Draw the ventricles of one head.

    Parameters
    ----------
    rng : numpy.random.Generator
        Consumed by a fixed number of draws.

    Returns
    -------
    Ventricles
    """
    box, part = FINE.box(BOX_LOW, BOX_HIGH)
    size = float(np.clip(np.exp(rng.normal(-0.03, 0.09)), 0.84, 1.18))
    sides = size * np.exp(rng.normal(0.0, 0.035, 2))
    third_width = float(rng.uniform(2.0, 3.2)) * size
    wobble = Noise(rng, 26.0, 1.0).on(box) * 0.35
    plexus_shift = rng.normal(0.0, 1.0, (2, 3))

    middle = box.shape[2] // 2
    lateral = np.empty(box.shape, np.float32)
    plexus = np.empty(box.shape, np.float32)
    for side, (sign, radius_scale) in enumerate(zip((-1.0, 1.0), sides, strict=True)):
        columns = slice(0, middle + 1) if sign < 0 else slice(middle, None)
        x, y, z = box.x[..., columns] * np.float32(sign), box.y, box.z
        lateral[..., columns] = _lateral(x, y, z, float(radius_scale))
        glomus = np.add((23.5, -40.5, 9.0), plexus_shift[side])
        plexus[..., columns] = ellipsoid(x, y, z, glomus, (2.2, 4.6, 4.0), yaw_deg=-35.0)
    lateral += wobble
    return Ventricles(box, part, lateral, _midline(box, third_width, size) + 0.5 * wobble, plexus)


def _lateral(x: np.ndarray, y: np.ndarray, z: np.ndarray, scale: float) -> np.ndarray:
    """Signed distance to the lateral ventricle of one side (x positive towards its own side)."""

    def sized(nodes: Iterable[Sequence[float]], floor: float = 0.0) -> list[tuple[float, ...]]:
        return [(*node[:3], max(node[3] * scale, floor)) for node in nodes]

    cavity = tube(x, y, z, sized(_BODY), blend=3.0)
    cavity = smooth_min(cavity, tube(x, y, z, sized(_WING)), 4.0)
    cavity = smooth_min(cavity, tube(x, y, z, sized(_FRONTAL_FLOOR)), 3.0)
    cavity = smooth_min(cavity, tube(x, y, z, sized(_OCCIPITAL)), 3.0)
    cavity = smooth_min(cavity, tube(x, y, z, sized(_TEMPORAL, 1.5)), 3.0)
    septum = 0.9 + 0.02 * np.abs(y - 10.0) - x
    cavity = smooth_max(cavity, septum, 1.0)
    for name in ("caudate", "thalamus"):
        centre, radii, yaw, pitch = NUCLEI[name]
        cavity = smooth_max(cavity, -ellipsoid(x, y, z, centre, radii, yaw, pitch), 2.0)
    return cavity


def _midline(box: Lattice, third_width: float, size: float) -> np.ndarray:
    """Signed distance to third ventricle, aqueduct and fourth ventricle."""
    x, y, z = box.x, box.y, box.z
    third = ellipsoid(x, y, z, (0, -11, -1), (40.0, 15.5, 11.0))
    slab = np.abs(x) - np.float32(0.5 * third_width) * (1 + 0.015 * (-4 - y))
    third = smooth_max(third, slab, 1.5)
    foramen = np.full((1, 1, 1), np.inf, np.float32)
    for sign in (-1, 1):
        foramen = np.minimum(foramen, cone(x, y, z, (0, 2, 6), (sign * 5.0, 4, 13), 1.3, 1.6))
    aqueduct = tube(x, y, z, [(0, -25, -3, 1.3), (0, -33, -13, 1.1), (0, -38, -22, 1.5)])
    fourth = ellipsoid(x, y, z, (0, -42.5, -33.5), (8.5 * size, 5.2 * size, 12.0), pitch_deg=0.0)
    roof = ellipsoid(x, y, z, (0, -47.0, -33.0), (5.0 * size, 5.0 * size, 5.5))
    fourth = smooth_min(fourth, roof, 3.0)
    floor = y + 39.5 - 0.10 * (z + 33.0) - 0.1 * np.abs(x)
    fourth = smooth_max(fourth, floor, 1.5)
    out: np.ndarray = np.minimum(smooth_min(third, foramen, 1.5), smooth_min(aqueduct, fourth, 2.0))
    return out


def nuclei_distance(box: Lattice) -> np.ndarray:
    """Signed distance (mm, negative inside) to the deep gray nuclei of both sides."""
    side = np.abs(box.x)
    out: np.ndarray = np.minimum.reduce([ellipsoid(side, box.y, box.z, *shape) for shape in NUCLEI.values()])
    return out


def paint_nuclei(canvas: Canvas, ventricles: Ventricles) -> None:
    """Paint deep gray nuclei and hippocampi on the ventricles' box."""
    box, part = ventricles.lattice, ventricles.part
    side = np.abs(box.x)
    for name, shape in NUCLEI.items():
        canvas.paint(soft(ellipsoid(side, box.y, box.z, *shape), 2.0), Tissue.DEEP_GRAY, part, NUCLEI_SIGNAL[name])
    hippocampus = ellipsoid(side, box.y, box.z, (26.0, -22.0, -15.0), (6.0, 15.0, 5.0), yaw_deg=-15.0)
    canvas.paint(soft(hippocampus, 2.0), Tissue.DEEP_GRAY, part, 1.15)
