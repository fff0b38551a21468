"""Public function of the phantom: generate a head and scan it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..image.geometry import triple
from ..image.volume import Volume
from ..progress import CancelToken, ProgressCallback, Reporter
from .acquisition import PLANES, average, label, make_grid, nearest, receive
from .fields import FINE
from .head import build_head

#: Most voxels that one call makes.
MAXIMUM_VOXELS = 200_000_000
MAXIMUM_LESIONS = 60
_AXIS_OF = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


@dataclass(frozen=True)
class LesionRecord:
    """One row of the lesion table.

    Attributes
    ----------
    id : int
        1, 2, 3...
    place : str
        ``periventricular``, ``deep white matter``, ``juxtacortical`` or ``infratentorial``.
    centre_ras : tuple of float
        Centre of mass, RAS mm.
    volume_mm3 : float
        True volume in the head, before the scanner's voxels.
    radius_mm : float
        Radius of the sphere of that volume.
    """

    id: int
    place: str
    centre_ras: tuple[float, float, float]
    volume_mm3: float
    radius_mm: float


@dataclass(frozen=True)
class Phantom:
    """A scanned digital head with its ground truth; all arrays have axis order K, J, I on one grid.

    Attributes
    ----------
    volume : Volume
        int16 voxels in scanner-like units (white matter about 4300), name ``phantom-<seed>``.
    labels : ndarray, uint8
        Ground truth with the values of :mod:`flairseg.labels`. A voxel is labelled where ventricles, normal WMH and
        lesions together fill at least half of it, with the one that fills most.
    tissue : ndarray, uint8
        :class:`~flairseg.phantom.tissues.Tissue` at the centre of every voxel.
    lesions : tuple of LesionRecord
        The lesions in the head; in thick slices the smallest may fill no voxel by half.
    parameters : mapping of str to object
        Parameters of the phantom.
    """

    volume: Volume
    labels: np.ndarray
    tissue: np.ndarray
    lesions: tuple[LesionRecord, ...]
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class Scan:
    """How a head is scanned, beside matrix and spacing.

    Attributes
    ----------
    noise : float
        Standard deviation of the noise in each receive channel relative to white matter (0..0.5); the magnitude
        image has Rician noise.
    bias : float
        Strength of the smooth receive field (0..1); 0.15 makes it vary by roughly 15 % either way.
    tilt_deg : float
        Angle (-45..45) by which the grid is rotated against the head, about an axis drawn from the seed.
    plane : str
        ``axial``, ``sagittal`` or ``coronal``: the plane of the slices.
    orientation : str, optional
        Storage order: three letters of R L A P S I, where I, J and K point (before the tilt). None takes DICOM's
        usual one for the plane: axial LPS, sagittal PIR, coronal LIP. The third letter must be the plane's normal.

    Raises
    ------
    ValueError
        A value is out of its range; the message names it.
    """

    noise: float = 0.022
    bias: float = 0.15
    tilt_deg: float = 4.0
    plane: str = "axial"
    orientation: str | None = None

    def __post_init__(self) -> None:
        checked = {
            "noise": _real("noise", self.noise, 0.0, 0.5),
            "bias": _real("bias", self.bias, 0.0, 1.0),
            "tilt_deg": _real("tilt_deg", self.tilt_deg, -45.0, 45.0),
            "orientation": _orientation(self.plane, self.orientation),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def make_phantom(
    seed: int = 0,
    shape: Sequence[int] = (20, 256, 256),
    spacing_mm: Sequence[float] = (0.9, 0.9, 6.8),
    n_lesions: int | None = None,
    scan: Scan | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> Phantom:
    """Draw the head of a seed and scan it.

    The head depends only on ``seed`` and ``n_lesions`` and has a fixed position (RAS, mm); the other parameters
    define the scan. Two scans of one head therefore agree in world space.

    Parameters
    ----------
    seed : int
        Seed of head and noise; not negative.
    shape : sequence of int
        Voxels along K (slices), J (rows), I (columns).
    spacing_mm : sequence of float
        Spacing along I, J, K in mm; K is the slice distance.
    n_lesions : int, optional
        Number of MS lesions (0..60). None draws it from the seed, between 18 and 32.
    scan : Scan, optional
        Default: an axial clinical one.
    progress : callable, optional
        ``progress(fraction, stage)``.
    cancel : CancelToken or callable, optional

    Returns
    -------
    Phantom

    Raises
    ------
    ValueError
        A parameter is out of its range; the message names it.
    flairseg.errors.Cancelled
        When the user cancelled.

    Notes
    -----
    Equal parameters give equal voxels on one machine; between machines single voxels may differ by one unit, where a
    mathematical library rounds the last bit differently.
    """
    seed = _whole("seed", seed, 0, 2**32 - 1)
    shape = _shape(shape)
    spacing = _spacing(spacing_mm)
    if n_lesions is not None:
        n_lesions = _whole("n_lesions", n_lesions, 0, MAXIMUM_LESIONS)
    scan = Scan() if scan is None else scan

    report = Reporter(progress, cancel)
    with report.stage("head", 0.0, 0.6):
        head = build_head(seed, n_lesions, report)
    of_tilt, of_receiver = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, 1]).spawn(2))
    grid = make_grid(head, shape, spacing, str(scan.orientation), scan.tilt_deg, of_tilt.normal(size=3))
    with report.stage("scan", 0.6, 0.9):
        signal = average(head.signal, FINE, head, grid, report.check)
        report.update(0.6)
        shares = triple(average(share, head.truth_lattice, head, grid, report.check) for share in head.shares)
        labels = label(shares)
        del shares
        tissue = nearest(head.tissue, FINE, head, grid)
    with report.stage("receive", 0.9, 1.0):
        image = receive(signal, grid, of_receiver, scan.noise, scan.bias)
    lesions = tuple(
        LesionRecord(
            lesion.id,
            lesion.shape.place,
            lesion.centre_ras,
            lesion.volume_mm3,
            (3 * lesion.volume_mm3 / (4 * math.pi)) ** (1 / 3),
        )
        for lesion in head.lesions
    )
    parameters = {
        "seed": seed,
        "shape_kji": list(shape),
        "spacing_mm_ijk": list(spacing),
        "n_lesions": len(lesions),
        **asdict(scan),
    }
    return Phantom(Volume(image, grid.ijk_to_ras, f"phantom-{seed}"), labels, tissue, lesions, parameters)


def _whole(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return int(value)


def _real(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
    return float(value)


def _three(name: str, values: Any) -> tuple[Any, Any, Any]:
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != 3:
        raise ValueError(f"{name} must hold three numbers, not {values!r}")
    return triple(values)


def _shape(shape: Any) -> tuple[int, int, int]:
    sizes = triple(_whole("shape", int(s) if isinstance(s, np.integer) else s, 2, 2048) for s in _three("shape", shape))
    if math.prod(sizes) > MAXIMUM_VOXELS:
        raise ValueError(f"shape {sizes} has more than {MAXIMUM_VOXELS} voxels")
    return sizes


def _spacing(spacing_mm: Any) -> tuple[float, float, float]:
    return triple(_real("spacing_mm", s, 0.2, 20.0) for s in _three("spacing_mm", spacing_mm))


def _orientation(plane: str, orientation: str | None) -> str:
    if plane not in PLANES:
        raise ValueError(f"plane must be one of {', '.join(PLANES)}, not {plane!r}")
    usual = PLANES[plane]
    if orientation is None:
        return usual
    letters = orientation.upper() if isinstance(orientation, str) else ""
    if len(letters) != 3 or {_AXIS_OF.get(letter) for letter in letters} != {0, 1, 2}:
        raise ValueError(f"orientation must be three letters such as LPS or RAS, not {orientation!r}")
    if _AXIS_OF[letters[2]] != _AXIS_OF[usual[2]]:
        raise ValueError(f"orientation {letters} does not stack {plane} slices: its third letter names another axis")
    return letters
