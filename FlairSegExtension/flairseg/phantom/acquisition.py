"""The scanner: a head sampled on any grid, with slice profile, in-plane blur, receive bias and Rician noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from .. import labels as classes
from ..image.geometry import VolumeGeometry, triple
from .fields import Lattice
from .head import Head

#: Scanner units of white matter.
WHITE_MATTER_UNITS = 4300.0
#: Storage order of the axes I, J, K by plane (the direction in which each index grows): what DICOM gives.
PLANES: dict[str, str] = {"axial": "LPS", "sagittal": "PIR", "coronal": "LIP"}
#: Point of the canonical head frame (mm) at the centre of the field of view.
_CENTRE = np.array([0.0, -11.0, 6.0])
_DIRECTIONS = {
    "R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1),
}  # fmt: skip
#: Part of the slice distance that is excited in a thick-slice stack; the rest is the gap.
_FILL = 0.92
_THICK_MM = 2.0
_SHARPEN = 0.45
_CHUNK_SAMPLES = 4_000_000


def make_grid(
    head: Head,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    orientation: str,
    tilt_deg: float,
    tilt_axis: np.ndarray,
) -> VolumeGeometry:
    """Place a grid on a head.

    Parameters
    ----------
    head : Head
    shape : tuple of int
        Voxels along K, J, I.
    spacing_mm : tuple of float
        Spacing along I, J, K.
    orientation : str
        Three letters of R L A P S I: where I, J and K point before the tilt.
    tilt_deg : float
        Angle by which the grid is rotated against the head.
    tilt_axis : ndarray, shape (3,)
        Axis of that rotation, RAS, any length.
    """
    directions = np.array([_DIRECTIONS[letter] for letter in orientation], float).T
    axis = np.asarray(tilt_axis, float) / np.linalg.norm(tilt_axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.radians(tilt_deg)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    affine = np.eye(4)
    affine[:3, :3] = turn @ directions @ np.diag(spacing_mm)
    middle = (np.array(shape[::-1]) - 1) / 2
    affine[:3, 3] = head.scale * _CENTRE - affine[:3, :3] @ middle
    return VolumeGeometry(shape, affine)


def average(
    field: np.ndarray, lattice: Lattice, head: Head, grid: VolumeGeometry, check: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Mean of a continuous field over every voxel: slice profile across the slice, box within it.

    Parameters
    ----------
    field : ndarray
        Values on the nodes of ``lattice``; linear between them, 0 outside.
    lattice : Lattice
        A box of the canonical head frame.
    head : Head
        For its scale.
    grid : VolumeGeometry
    check : callable
        Called between chunks; raises when the user has cancelled.

    Returns
    -------
    ndarray, shape of the grid (K, J, I), float32
    """
    out = np.zeros(grid.shape, np.float32)
    window = _window(lattice, head, grid)
    if window is None:
        return out
    to_node = _voxel_to_node(lattice, head, grid)
    offsets, weights = _slice_profile(float(grid.spacing[2]))
    splits = [max(1, round(float(s))) for s in grid.spacing[:2]]
    within = [(np.arange(n) + 0.5) / n - 0.5 for n in splits]
    matrix = to_node[:3, :3][::-1, ::-1]
    plane = int(np.prod([s.stop - s.start for s in window[1:]]))
    chunk = max(1, _CHUNK_SAMPLES // plane)
    for first in range(window[0].start, window[0].stop, chunk):
        part = (slice(first, min(first + chunk, window[0].stop)), *window[1:])
        start = np.array([s.start for s in part], float)
        shape = tuple(s.stop - s.start for s in part)
        total = np.zeros(shape, np.float32)
        sampled = np.empty(shape, np.float32)
        for offset, weight in zip(offsets, weights, strict=True):
            check()
            for along_j in within[1]:
                for along_i in within[0]:
                    origin = matrix @ (start + np.array([offset, along_j, along_i])) + to_node[:3, 3][::-1]
                    ndimage.affine_transform(
                        field, matrix, origin, output_shape=shape, output=sampled, order=1, mode="constant"
                    )
                    total += sampled * np.float32(weight / (splits[0] * splits[1]))
        out[part] = total
    return out


def nearest(field: np.ndarray, lattice: Lattice, head: Head, grid: VolumeGeometry) -> np.ndarray:
    """Value of a field at the node nearest to each voxel's centre, shape (K, J, I), 0 outside."""
    to_node = _voxel_to_node(lattice, head, grid)
    out: np.ndarray = ndimage.affine_transform(
        field, to_node[:3, :3][::-1, ::-1], to_node[:3, 3][::-1], output_shape=grid.shape, order=0, mode="constant"
    )
    return out


def _voxel_to_node(lattice: Lattice, head: Head, grid: VolumeGeometry) -> np.ndarray:
    """Affine (4, 4) from (I, J, K) to node indices (x, y, z) of a lattice."""
    to_node = np.eye(4)
    to_node[:3, :3] = np.diag(1 / (head.scale * lattice.step))
    to_node[:3, 3] = -np.asarray(lattice.low, float) / lattice.step
    out: np.ndarray = to_node @ grid.ijk_to_ras
    return out


def _window(lattice: Lattice, head: Head, grid: VolumeGeometry) -> tuple[slice, slice, slice] | None:
    """Slices (K, J, I) of the grid that can touch a lattice's box, or None."""
    ends = np.array(np.meshgrid(*zip(lattice.low, lattice.high, strict=True), indexing="ij")).reshape(3, -1)
    corners = np.linalg.solve(grid.ijk_to_ras, np.vstack([head.scale[:, None] * ends, np.ones(ends.shape[1])]))[:3]
    window = []
    for axis, size in zip((2, 1, 0), grid.shape, strict=True):
        first = max(int(np.floor(corners[axis].min())) - 1, 0)
        stop = min(int(np.ceil(corners[axis].max())) + 2, size)
        if first >= stop:
            return None
        window.append(slice(first, stop))
    return triple(window)


def _slice_profile(distance_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (in slices) and weights of the samples across a slice: flat top, cosine flanks."""
    thickness = distance_mm * (_FILL if distance_mm >= _THICK_MM else 1.0)
    count = max(1, round(thickness))
    if count == 1:
        return np.zeros(1), np.ones(1)
    offsets = ((np.arange(count) + 0.5) / count - 0.5) * thickness / distance_mm
    edge = np.clip((0.5 * thickness / distance_mm - np.abs(offsets)) / 0.18, 0, 1)
    weights = 0.5 - 0.5 * np.cos(np.pi * np.maximum(edge, 0.15))
    return offsets, weights / weights.sum()


def receive(
    signal: np.ndarray, grid: VolumeGeometry, rng: np.random.Generator, noise: float, bias: float
) -> np.ndarray:
    """Magnitude image in scanner units from the noise-free signal.

    Parameters
    ----------
    signal : ndarray, shape (K, J, I), float32
        Signal relative to white matter.
    grid : VolumeGeometry
    rng : numpy.random.Generator
    noise : float
        Standard deviation of each of the two receive channels (real, imaginary) relative to white matter: the
        magnitude is Rician, in air Rayleigh (Gudbjartsson and Patz 1995).
    bias : float
        Strength of the smooth receive field: 0.2 makes it vary by roughly plus or minus 20 % across the head.

    Returns
    -------
    ndarray, shape (K, J, I), int16
    """
    coefficients = rng.normal(size=9) * np.array([0.30, 0.30, 0.45, 0.35, 0.35, 0.35, 0.25, 0.25, 0.25])
    out = np.empty(grid.shape, np.int16)
    i, j = np.arange(grid.shape[2])[None, :], np.arange(grid.shape[1])[:, None]
    for k in range(grid.shape[0]):
        # Sharpen fine detail lost by linear interpolation of the head, as a scanner's k-space filter does.
        image = signal[k] + np.float32(_SHARPEN) * (signal[k] - ndimage.gaussian_filter(signal[k], 1.0, mode="nearest"))
        if bias:
            x, y, z = (
                (row[0] * i + row[1] * j + row[2] * k + row[3] - centre) / 95.0
                for row, centre in zip(grid.ijk_to_ras[:3], _CENTRE, strict=True)
            )
            terms = (x, y, z, x * x - 0.3, y * y - 0.3, z * z - 0.3, x * y, y * z, z * x)
            field = sum(c * np.clip(t, -1.5, 1.5) for c, t in zip(coefficients, terms, strict=True))
            image = image * np.exp(bias * np.clip(field, -2.0, 2.0))
        if noise:
            real, imaginary = rng.normal(0.0, noise, (2, *image.shape))
            image = np.hypot(image + real, imaginary)
        out[k] = np.clip(np.rint(image * WHITE_MATTER_UNITS), 0, 16383)
    return out


def label(shares: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Ground truth from the shares of ventricle, normal WMH and lesion in every voxel.

    A voxel is labelled where the three together fill at least half of it, with the class that fills most of it: so a
    thin rim between ventricle and tissue is kept, while background never loses a voxel of which it has more than half.
    """
    background = shares[0] + shares[1] + shares[2] < 0.5
    values = np.array([classes.VENTRICLES, classes.NORMAL_WMH, classes.LESION], np.uint8)
    out = values[np.argmax(np.stack(shares), axis=0)]
    out[background] = classes.BACKGROUND
    result: np.ndarray = out
    return result
