"""One digital head, complete: signal and ground truth as continuous fields in the canonical head frame.

The head does not know how it will be scanned: :mod:`~flairseg.phantom.acquisition` samples its fields in world
coordinates, so that one head can be acquired in any plane, spacing and orientation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..image.geometry import triple
from ..progress import Reporter
from .brain import HINDBRAIN_HIGH, HINDBRAIN_LOW, build_hull, fold_cerebrum, paint_cerebrum, paint_hindbrain
from .fields import COARSE, FINE, Lattice, Noise, coarse_part, soft
from .lesions import Anatomy, Lesion, draw_lesions, lesion_distance, lesion_share, normal_hyperintensity, paint_box
from .skull import Canvas, build_surroundings
from .tissues import Tissue
from .ventricles import Ventricles, build_ventricles, nuclei_distance, paint_nuclei

#: Box (x, y, z in mm) of everything that carries a label.
TRUTH_LOW, TRUTH_HIGH = (-72, -106, -66), (72, 76, 78)
#: World millimetres per canonical millimetre (x, y, z) of the average head.
_MEAN_SCALE = (0.965, 0.95, 0.95)


@dataclass(frozen=True)
class PlacedLesion:
    """A lesion placed in the head.

    Attributes
    ----------
    id : int
        1, 2, 3...
    shape : Lesion
        Place, centre and axes in the canonical head frame.
    volume_mm3 : float
        World volume of its share of the ground truth, before any scan.
    centre_ras : tuple of float
        Centre of mass of that share, RAS mm.
    """

    id: int
    shape: Lesion
    volume_mm3: float
    centre_ras: tuple[float, float, float]


@dataclass(frozen=True)
class Head:
    """Continuous fields of a head; arrays in order Z, Y, X, linear between nodes.

    Attributes
    ----------
    signal : ndarray, float32, shape of FINE
        FLAIR signal relative to white matter.
    tissue : ndarray, uint8, shape of FINE
        :class:`~flairseg.phantom.tissues.Tissue`.
    truth_lattice : Lattice
        Box of the shares.
    shares : tuple of three ndarray, float32, shape of the box
        Occupancy (0..1) by ventricles, normal WMH and lesions; their sum never exceeds 1.
    scale : ndarray, shape (3,)
        World millimetres (RAS) per canonical millimetre along x, y, z.
    lesions : tuple of PlacedLesion
    """

    signal: np.ndarray
    tissue: np.ndarray
    truth_lattice: Lattice
    shares: tuple[np.ndarray, np.ndarray, np.ndarray]
    scale: np.ndarray
    lesions: tuple[PlacedLesion, ...]


def build_head(seed: int, n_lesions: int | None = None, report: Reporter | None = None) -> Head:
    """Draw a head.

    Every part draws from its own random stream, so that for instance another number of lesions leaves the folding of
    the cortex as it is.

    Parameters
    ----------
    seed : int
        Not negative.
    n_lesions : int, optional
        Number of MS lesions; drawn between 18 and 32 if None.
    report : Reporter, optional
        Progress of the current stage and cancellation.

    Returns
    -------
    Head

    Raises
    ------
    flairseg.errors.Cancelled
        When the user cancelled.
    """
    report = report or Reporter()
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(8)]
    of_size, of_hull, of_ventricles, of_skull, of_folds, of_texture, of_rims, of_lesions = streams
    scale = np.array(_MEAN_SCALE) * of_size.normal(1.0, 0.010, 3) * of_size.normal(1.0, 0.012)

    hull = build_hull(of_hull)
    ventricles = build_ventricles(of_ventricles)
    report.update(0.15)
    canvas = build_surroundings(of_skull, hull.cavity)
    report.update(0.4)
    protected = np.full(COARSE.shape, 40.0, np.float32)
    protected[coarse_part(ventricles.part)] = ventricles.distance[::2, ::2, ::2]
    np.minimum(protected, hull.core + 4.0, out=protected)
    cerebrum = fold_cerebrum(of_folds, hull, protected)
    report.update(0.7)
    paint_cerebrum(canvas, of_texture, cerebrum, hull)
    hindbrain_depth = paint_hindbrain(canvas, of_texture, hull)
    report.update(0.85)
    gray = nuclei_distance(ventricles.lattice)
    paint_nuclei(canvas, ventricles)

    anatomy = Anatomy(
        ventricles, cerebrum.lattice, cerebrum.depth, FINE.box(HINDBRAIN_LOW, HINDBRAIN_HIGH)[0], hindbrain_depth, gray
    )
    count = int(of_lesions.integers(18, 33))
    drawn = draw_lesions(of_lesions, anatomy, count if n_lesions is None else n_lesions)
    shares, placed = _paint_hyperintensities(canvas, of_rims, ventricles, gray, drawn, scale)
    report.update(1.0)
    return Head(canvas.signal, canvas.tissue, FINE.box(TRUTH_LOW, TRUTH_HIGH)[0], shares, scale, placed)


def _paint_hyperintensities(
    canvas: Canvas,
    rng: np.random.Generator,
    ventricles: Ventricles,
    gray: np.ndarray,
    lesions: list[Lesion],
    scale: np.ndarray,
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], tuple[PlacedLesion, ...]]:
    """Paint normal WMH, lesions and ventricles, and store their occupancy."""
    box, part = FINE.box(TRUTH_LOW, TRUTH_HIGH)
    cavity, rim, abnormal = (np.zeros(box.shape, np.float32) for _ in range(3))
    inner = _nest(ventricles.part, part)
    cavity[inner] = soft(ventricles.distance)
    outline = normal_hyperintensity(rng, ventricles, gray)
    canvas.paint(soft(outline - 1.0, 4.0) * 0.3, Tissue.WHITE_MATTER, ventricles.part, 1.3)
    rim[inner] = soft(outline)
    canvas.paint(rim[inner], Tissue.NORMAL_WMH, ventricles.part)

    ragged = Noise(rng, 10.0, 0.6)
    placed = []
    for number, lesion in enumerate(lesions, start=1):
        local, local_part = paint_box(lesion)
        nested = _nest(local_part, part)
        distance = lesion_distance(lesion, local, ragged)
        tissue = canvas.tissue[local_part]
        allowed = (tissue >= Tissue.WHITE_MATTER) & (tissue != Tissue.EYE)
        share = lesion_share(distance) * allowed
        halo = soft(distance - 1.5, 4.5) * 0.16 * allowed
        canvas.paint(halo, Tissue.WHITE_MATTER, local_part, lesion.signal)
        canvas.paint(share, Tissue.LESION, local_part, lesion.signal)
        share *= 1 - cavity[nested]
        np.maximum(abnormal[nested], share, out=abnormal[nested])
        placed.append(_place(number, lesion, share, local, scale))
    canvas.paint(cavity[inner], Tissue.VENTRICLE, ventricles.part)
    plexus = soft(ventricles.plexus, 2.0) * cavity[inner]
    canvas.paint(plexus, Tissue.CHOROID_PLEXUS, ventricles.part)
    rim *= np.minimum(1 - abnormal, 1) * (1 - cavity)
    np.minimum(rim, 1 - cavity - abnormal, out=rim)
    return (cavity, np.maximum(rim, 0), abnormal), tuple(placed)


def _place(number: int, lesion: Lesion, share: np.ndarray, box: Lattice, scale: np.ndarray) -> PlacedLesion:
    """Volume and centre of mass (world) of a lesion from its share on a box."""
    total = float(share.sum(dtype=np.float64))
    if total > 0:
        centre = [float((share * axis).sum(dtype=np.float64)) / total for axis in (box.x, box.y, box.z)]
    else:
        centre = list(lesion.centre)
    volume = total * box.step**3 * float(np.prod(scale))
    return PlacedLesion(number, lesion, volume, triple(float(c) for c in scale * centre))


def _nest(inner: tuple[slice, slice, slice], outer: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
    """Slices of a box within another box that contains it."""
    return triple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
