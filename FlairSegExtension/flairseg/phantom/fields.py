"""Building blocks of the phantom: lattices, noise, signed distances and soft edges.

Every array in the phantom has axis order Z, Y, X (superior, anterior, right; the K, J, I of a RAS grid) and every
coordinate is in millimetres of the *canonical head frame*: RAS axes, origin near the anterior commissure, the adult
proportions of the MNI space. Signed distances are negative inside a shape, in approximate millimetres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np
from scipy import ndimage

from ..image.geometry import triple

#: Lower and upper end (x, y, z in mm) of the canonical head frame: both multiples of the coarse spacing.
FRAME_LOW = (-88, -126, -92)
FRAME_HIGH = (88, 108, 104)


#: Slices (z, y, x) of a lattice.
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Lattice:
    """A regular grid over a box of the canonical head frame.

    Attributes
    ----------
    low, high : tuple of float
        Coordinates (x, y, z) of the first and the last node, mm.
    step : float
        Distance between nodes, mm.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    step: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of nodes along (z, y, x)."""
        return triple(round((h - o) / self.step) + 1 for o, h in zip(self.low[::-1], self.high[::-1], strict=True))

    @property
    def x(self) -> np.ndarray:
        """Coordinates along x, shape (1, 1, X), float32: broadcasts against the other two."""
        return self._axis(0).reshape(1, 1, -1)

    @property
    def y(self) -> np.ndarray:
        """Coordinates along y, shape (1, Y, 1), float32."""
        return self._axis(1).reshape(1, -1, 1)

    @property
    def z(self) -> np.ndarray:
        """Coordinates along z, shape (Z, 1, 1), float32."""
        return self._axis(2).reshape(-1, 1, 1)

    def _axis(self, axis: int) -> np.ndarray:
        nodes = self.shape[2 - axis]
        return np.float32(self.low[axis]) + np.float32(self.step) * np.arange(nodes, dtype=np.float32)

    def box(
        self, low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray
    ) -> tuple[Lattice, tuple[slice, slice, slice]]:
        """The part of the lattice between two corners (x, y, z in mm), and its slices (z, y, x) in this one.

        The corners are widened to the next even node, so that the box of a fine lattice nests in a coarse one.
        """
        first, last = [], []
        for axis in range(3):
            nodes = self.shape[2 - axis]
            lower = 2 * int(np.floor((low[axis] - self.low[axis]) / self.step / 2))
            upper = 2 * int(np.ceil((high[axis] - self.low[axis]) / self.step / 2))
            first.append(min(max(lower, 0), nodes - 1))
            last.append(min(max(upper, first[-1]), nodes - 1))
        part = Lattice(
            triple(o + self.step * n for o, n in zip(self.low, first, strict=True)),
            triple(o + self.step * n for o, n in zip(self.low, last, strict=True)),
            self.step,
        )
        return part, triple(slice(a, b + 1) for a, b in zip(first[::-1], last[::-1], strict=True))

    def coarser(self) -> Lattice:
        """The lattice of every second node."""
        return Lattice(self.low, self.high, 2 * self.step)

    def index(self, points: np.ndarray) -> np.ndarray:
        """Fractional indices, shape (3, N) in order z, y, x, of points (N, 3) in order x, y, z (mm)."""
        return ((np.asarray(points, np.float64) - self.low) / self.step).T[::-1]


COARSE = Lattice(FRAME_LOW, FRAME_HIGH, 2.0)
FINE = Lattice(FRAME_LOW, FRAME_HIGH, 1.0)


def refine(coarse: np.ndarray) -> np.ndarray:
    """Linear interpolation to half the node distance: shape (n, m, k) becomes (2n-1, 2m-1, 2k-1), float32."""
    out = coarse
    for axis in (2, 1, 0):
        lead = (slice(None),) * axis
        finer = np.empty((*out.shape[:axis], 2 * out.shape[axis] - 1, *out.shape[axis + 1 :]), np.float32)
        finer[(*lead, slice(0, None, 2))] = out
        between = finer[(*lead, slice(1, None, 2))]
        np.add(out[(*lead, slice(None, -1))], out[(*lead, slice(1, None))], out=between)
        between *= np.float32(0.5)
        out = finer
    return out


def coarse_part(part: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
    """Slices of :data:`COARSE` that cover the box ``part`` (slices of :data:`FINE`, on even nodes)."""
    return triple(slice(s.start // 2, (s.stop - 1) // 2 + 1) for s in part)


def refine_box(coarse: np.ndarray, part: tuple[slice, slice, slice]) -> np.ndarray:
    """The box ``part`` (slices of :data:`FINE`, on even nodes) of a field given on :data:`COARSE`."""
    return refine(coarse[coarse_part(part)])


def sample(field: np.ndarray, lattice: Lattice, points: np.ndarray) -> np.ndarray:
    """Linear interpolation of a field at points (N, 3) in x, y, z mm; shape (N,)."""
    out: np.ndarray = ndimage.map_coordinates(field, lattice.index(points), order=1, mode="nearest")
    return out


class Noise:
    """Seeded, band-limited Gaussian noise that can be evaluated anywhere.

    White noise on a periodic lattice is filtered in the Fourier domain with a Gaussian ring around the wanted spatial
    frequency and scaled to unit variance: the zero set of such a field is a labyrinth of sheets half a wavelength
    apart.

    Parameters
    ----------
    rng : numpy.random.Generator
    wavelength_mm : float
        Centre of the pass band.
    bandwidth : float
        Relative width (standard deviation) of the pass band; a value of 1 or more gives low-pass noise.
    """

    _NODES = 48
    _NODES_PER_WAVE = 5.0

    def __init__(self, rng: np.random.Generator, wavelength_mm: float, bandwidth: float = 0.25) -> None:
        self.step = wavelength_mm / self._NODES_PER_WAVE
        n = self._NODES
        white = rng.standard_normal((n, n, n))
        full, half = np.fft.fftfreq(n), np.fft.rfftfreq(n)
        radius = np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2)
        centre = 1.0 / self._NODES_PER_WAVE
        if bandwidth >= 1.0:
            ring = np.exp(-0.5 * (radius / centre) ** 2)
        else:
            ring = np.exp(-0.5 * ((radius - centre) / (bandwidth * centre)) ** 2)
        ring[0, 0, 0] = 0.0
        values = np.fft.irfftn(np.fft.rfftn(white) * ring, s=(n, n, n), axes=(0, 1, 2))
        values /= values.std()
        self._spline = ndimage.spline_filter(values, order=3, mode="grid-wrap").astype(np.float32)

    def at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Noise at coordinates in mm (arrays that broadcast against each other), float32."""
        shape = np.broadcast_shapes(np.shape(x), np.shape(y), np.shape(z))
        index = np.empty((3, *shape), np.float32)
        for row, coordinate in zip(index, (z, y, x), strict=True):
            row[...] = coordinate
        index /= self.step
        out: np.ndarray = ndimage.map_coordinates(
            self._spline, index, order=3, mode="grid-wrap", prefilter=False, output=np.float32
        )
        return out

    def on(self, lattice: Lattice) -> np.ndarray:
        """Noise on every node of a lattice, shape of the lattice, float32: separable cubic B-spline interpolation."""
        out = self._spline
        for axis, coordinates in enumerate((lattice.z, lattice.y, lattice.x)):
            weights = _spline_weights(coordinates.ravel() / self.step, self._NODES)
            out = np.moveaxis(np.tensordot(weights, out, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(out)


def _spline_weights(positions: np.ndarray, nodes: int) -> np.ndarray:
    """Cubic B-spline weights (float32, shape (positions, nodes)) on a periodic lattice with unit spacing."""
    base = np.floor(positions).astype(int)
    t = positions - base
    basis = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((positions.size, nodes), np.float32)
    rows = np.arange(positions.size)
    for offset, values in enumerate(basis):
        np.add.at(weights, (rows, (base + offset - 1) % nodes), (values / 6).astype(np.float32))
    return weights


def ellipsoid(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    centre: Sequence[float],
    radii: Sequence[float],
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
) -> np.ndarray:
    """Approximate signed distance to an ellipsoid.

    Parameters
    ----------
    x, y, z : ndarray
        Coordinates that broadcast against each other, mm.
    centre, radii : sequence of float
        (x, y, z) in mm.
    yaw_deg : float
        Rotation about z that carries +y towards +x.
    pitch_deg : float
        Rotation about x that carries +y towards +z.
    """
    u, v, w = (np.float32(1) * c - np.float32(o) for c, o in zip((x, y, z), centre, strict=True))
    if yaw_deg:
        cosine, sine = np.float32(np.cos(np.radians(yaw_deg))), np.float32(np.sin(np.radians(yaw_deg)))
        u, v = cosine * u - sine * v, sine * u + cosine * v
    if pitch_deg:
        cosine, sine = np.float32(np.cos(np.radians(pitch_deg))), np.float32(np.sin(np.radians(pitch_deg)))
        v, w = cosine * v + sine * w, cosine * w - sine * v
    a, b, c = (np.float32(r) for r in radii)
    scaled = np.sqrt((u / a) ** 2 + (v / b) ** 2 + (w / c) ** 2)
    slope = np.sqrt((u / a**2) ** 2 + (v / b**2) ** 2 + (w / c**2) ** 2)
    out: np.ndarray = scaled * (scaled - 1) / np.maximum(slope, np.float32(1e-4))
    return out


def cone(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    start: Sequence[float],
    stop: Sequence[float],
    start_radius: float,
    stop_radius: float,
) -> np.ndarray:
    """Signed distance to a capsule whose radius runs linearly from one end (x, y, z in mm) to the other."""
    axis = np.subtract(stop, start).astype(np.float32)
    u, v, w = (np.float32(1) * c - np.float32(o) for c, o in zip((x, y, z), start, strict=True))
    along = np.clip((u * axis[0] + v * axis[1] + w * axis[2]) / np.float32(axis @ axis), 0, 1)
    distance = np.sqrt((u - along * axis[0]) ** 2 + (v - along * axis[1]) ** 2 + (w - along * axis[2]) ** 2)
    out: np.ndarray = distance - (np.float32(start_radius) + along * np.float32(stop_radius - start_radius))
    return out


def tube(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, nodes: Iterable[Sequence[float]], blend: float = 2.0
) -> np.ndarray:
    """Signed distance to a chain of cones through ``nodes``, each (x, y, z, radius) in mm."""
    parts = (cone(x, y, z, a[:3], b[:3], a[3], b[3]) for a, b in pairwise(nodes))
    return reduce(lambda whole, part: smooth_min(whole, part, blend), parts)


def smooth_min(a: np.ndarray, b: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Union of two signed distances whose crease is rounded over ``width`` mm (polynomial smooth minimum)."""
    width = np.asarray(width, np.float32)
    blend = a - b
    np.abs(blend, out=blend)
    blend = np.maximum(width - blend, 0, out=blend)
    blend *= blend
    blend *= np.float32(0.25) / width
    out: np.ndarray = np.minimum(a, b) - blend
    return out


def smooth_max(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Intersection of two signed distances whose crease is rounded over ``width`` mm."""
    return -smooth_min(-a, -b, width)


def soft(distance: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Occupancy 0..1 from a signed distance (negative inside): a linear ramp ``width`` mm wide centred on 0."""
    share = np.multiply(distance, np.float32(-1.0 / width), dtype=np.float32)
    share += np.float32(0.5)
    out: np.ndarray = np.clip(share, 0, 1, out=share)
    return out


def step_up(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step: 0 below ``low``, 1 above ``high``."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    out: np.ndarray = t * t * (3 - 2 * t)
    return out
