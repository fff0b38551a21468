"""Tissue around the brain: skull with marrow, scalp, and a plausible face, skull base and neck.

Only the cranial vault is modelled in detail; orbits, sinuses, jaw, muscles and ears are included so that the lowest
slices resemble a head to readers and programs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .fields import COARSE, FINE, Box, Lattice, Noise, cone, ellipsoid, refine, smooth_min, soft, step_up
from .tissues import SIGNAL, Tissue

_SKULL_MM = 5.8
_SCALP_MM = 4.6
#: Boxes (low, high) that hold the muscles and the face, mm.
_MUSCLES = ((-84, -118, -92), (84, 92, 24))
_FACE = ((-74, -70, -92), (74, 106, 10))


class Canvas:
    """Signal and tissue map of a head on the fine lattice, painted from the outside in.

    Attributes
    ----------
    signal : ndarray, float32
        Signal relative to white matter.
    tissue : ndarray, uint8
        The :class:`~flairseg.phantom.tissues.Tissue` that last took at least half of a node.
    """

    def __init__(self) -> None:
        self.signal = np.zeros(FINE.shape, np.float32)
        self.tissue = np.zeros(FINE.shape, np.uint8)

    def paint(
        self,
        share: np.ndarray,
        tissue: Tissue,
        part: tuple[slice, ...] = (),
        signal: float | np.ndarray | None = None,
    ) -> None:
        """Paint a tissue over the existing ones.

        Parameters
        ----------
        share : ndarray
            Its occupancy (0..1) on the box ``part``.
        tissue : Tissue
        part : tuple of slice, optional
            Box of the fine lattice; all of it by default.
        signal : float or ndarray, optional
            Signal relative to white matter; the tissue's usual one by default.
        """
        target = self.signal[part]
        level = SIGNAL[tissue] if signal is None else signal
        change = np.subtract(level if isinstance(level, np.ndarray) else np.float32(level), target)
        change *= share
        target += change
        self.tissue[part][share >= 0.5] = tissue


def build_surroundings(rng: np.random.Generator, cavity: np.ndarray) -> Canvas:
    """Paint all tissue except the brain.

    Parameters
    ----------
    rng : numpy.random.Generator
    cavity : ndarray, shape of COARSE
        Signed distance (mm) to the smooth space that the brain fills.

    Returns
    -------
    Canvas
        With the cranial cavity filled with cerebrospinal fluid.
    """
    slow = Noise(rng, 110.0, 1.0).on(COARSE)
    patch = Noise(rng, 30.0, 1.0).on(COARSE)
    strands, planes = Noise(rng, 9.0, 0.5), Noise(rng, 26.0, 0.4)
    inner = cavity - 1.8 - 0.3 * slow
    outer = inner - np.float32(_SKULL_MM) - 0.25 * patch
    skin = refine(_skin(outer, slow))
    outer_fine = refine(outer)

    canvas = Canvas()
    grain = refine(planes.on(COARSE))
    canvas.paint(soft(skin), Tissue.SKIN)
    fat = np.float32(SIGNAL[Tissue.FAT]) * (1 + 0.07 * grain)
    canvas.paint(soft(skin + 1.6, 1.6), Tissue.FAT, signal=fat)
    del fat
    box, part = FINE.box(*_MUSCLES)
    _paint_muscles(canvas, box, part, strands.on(box), grain[part], skin[part])
    del grain, skin
    canvas.paint(soft(outer_fine - 1.0, 1.6), Tissue.MUSCLE, signal=1.0)  # galea and periosteum
    canvas.paint(soft(outer_fine, 1.2), Tissue.BONE)
    box, part = FINE.box(*_FACE)
    rough = strands.on(box)
    _paint_skull_base(canvas, box, part, rough)
    _paint_orbits(canvas, box, part)
    _paint_sinuses(canvas, box, part, rough)
    inner_fine = refine(inner)
    outer_fine += inner_fine
    outer_fine *= 0.5
    diploe = np.abs(outer_fine, out=outer_fine)
    thick = np.clip(0.55 + 0.5 * patch, 0, 1)
    canvas.paint(soft(diploe - 1.1, 1.6) * refine(thick), Tissue.MARROW)
    canvas.paint(soft(inner_fine), Tissue.CSF)
    return canvas


def _skin(outer: np.ndarray, slow: np.ndarray) -> np.ndarray:
    """Signed distance (on COARSE) to the skin: scalp over the skull, face, nose and neck."""
    x, y, z = COARSE.x, COARSE.y, COARSE.z
    side = np.abs(x)
    thickness = np.float32(_SCALP_MM) + 0.4 * slow
    thickness += 3.0 * step_up(-y, 60.0, 110.0) * step_up(-z, -10.0, 40.0)
    temple = np.exp(-(((y - 18) / 24) ** 2) - ((z + 16) / 24) ** 2) * step_up(side, 45.0, 62.0)
    scalp = outer - thickness - 7.0 * temple
    face = ellipsoid(x, y, z, (0, 34, -58), (66, 56, 74))
    face = smooth_min(face, ellipsoid(side, y, z, (36, 20, -60), (36, 50, 60)), 12.0)
    face = smooth_min(face, ellipsoid(side, y, z, (32.5, 64, -34), (15.0, 15.0, 15.0)), 6.0)
    face = smooth_min(face, cone(x, y, z, (0, 84, -42), (0, 98, -66), 5.0, 11.0), 12.0)
    neck = ellipsoid(x, y, z, (0, -40, -110), (66, 64, 90))
    low = smooth_min(face, neck, 20.0)
    return smooth_min(smooth_min(scalp, low, 14.0), outer - 4.5, 4.0)


def _union(shapes: Iterable[np.ndarray]) -> np.ndarray:
    """Union of signed distances, one at a time to save memory."""
    shapes = iter(shapes)
    out = next(shapes)
    for shape in shapes:
        np.minimum(out, shape, out=out)
    return out


def _paint_muscles(
    canvas: Canvas, box: Lattice, part: Box, strands: np.ndarray, grain: np.ndarray, skin: np.ndarray
) -> None:
    """Muscles crossed by fat planes, jaw, cheek bone, spinal canal and ears."""
    x, y, z = box.x, box.y, box.z
    side = np.abs(x)
    low = step_up(-z, 18.0, 34.0)
    level = np.float32(SIGNAL[Tissue.MUSCLE]) * (1 + 0.12 * strands)
    planes = soft((np.abs(grain) - 0.10) * 14, 2.0)
    deep = soft(skin + 6.5 + 1.5 * grain, 3.0)
    deep *= low
    planes *= 0.9
    planes += level
    canvas.paint(deep, Tissue.MUSCLE, part, planes)
    del deep, planes
    muscle = _union(
        ellipsoid(side, y, z, centre, radii)
        for centre, radii in (
            ((68, 20, -16), (9, 26, 34)),  # temporal
            ((55, 32, -72), (9, 20, 30)),  # masseter
            ((34, 18, -58), (12, 18, 18)),  # pterygoid
            ((22, -76, -84), (20, 24, 30)),  # nuchal
        )
    )
    muscle += 0.6 * strands
    np.maximum(muscle, skin + 4.0, out=muscle)
    canvas.paint(soft(muscle, 1.5), Tissue.MUSCLE, part, level)
    del muscle, level
    bone = _union(
        cone(side, y, z, *ends)
        for ends in (
            ((48, 16, -46), (46, 14, -92), 4.5, 5.0),  # ramus of the jaw
            ((60, 24, -44), (44, 62, -48), 3.0, 5.0),  # cheek bone
            ((14, 28, -46), (20, 28, -70), 2.0, 4.0),  # pterygoid plates
        )
    )
    canvas.paint(soft(bone), Tissue.BONE, part)
    canvas.paint(soft(bone + 2.6), Tissue.MARROW, part, 1.0)
    del bone
    canal = cone(x, y, z, (0, -40, -56), (0, -50, -95), 11.5, 11.0)
    vertebra = soft(np.maximum(canal - 7.0, -canal) + 1.5 * strands, 1.5)
    canvas.paint(vertebra * low, Tissue.BONE, part, 0.3)
    canvas.paint(soft(canal) * low, Tissue.CSF, part)
    del canal, vertebra
    pinna = -ellipsoid(side, y, z, (82, -22, -38), (5, 9, 16))
    np.maximum(pinna, ellipsoid(side, y, z, (80, -26, -36), (5, 15, 26)), out=pinna)
    pinna += 0.5 * strands
    canvas.paint(soft(pinna, 2.0) * soft(-1.0 - skin), Tissue.SKIN, part, 0.7)


def _paint_skull_base(canvas: Canvas, box: Lattice, part: Box, rough: np.ndarray) -> None:
    """Central skull base, clivus with its marrow, petrous bone and mastoid cells."""
    x, y, z = box.x, box.y, box.z
    side = np.abs(x)
    base = np.maximum(ellipsoid(x, y, z, (0, 6, -38), (46, 40, 15)), z + 24)
    canvas.paint(soft(base + 1.2 * rough, 3.0) * 0.6, Tissue.BONE, part)
    clivus = cone(x, y, z, (0, 2, -34), (0, -12, -62), 8.0, 7.0)
    canvas.paint(soft(clivus + rough, 2.0), Tissue.MARROW, part, 1.15)
    mastoid = cone(side, y, z, (24, -22, -40), (60, -48, -44), 8.0, 14.0)
    canvas.paint(soft(mastoid + 1.2 * rough, 2.0), Tissue.BONE, part)
    cells = np.maximum(mastoid + 3.0, 3.5 - 2.0 * np.abs(rough))
    canvas.paint(soft(cells, 2.0), Tissue.MARROW, part)


def _paint_orbits(canvas: Canvas, box: Lattice, part: Box) -> None:
    """Orbits: bony wall, fat, muscles and optic nerve, globe and lens."""
    x, y, z = box.x, box.y, box.z
    side = np.abs(x)
    orbit = cone(side, y, z, (31, 54, -34), (14, 24, -30), 15.5, 4.0)
    canvas.paint(soft(orbit - 2.0, 2.0), Tissue.BONE, part)
    canvas.paint(soft(orbit, 1.5), Tissue.FAT, part, 2.0)
    cords = _union(
        cone(side, y, z, start, stop, radius, 1.6)
        for start, stop, radius in (
            ((31, 52, -34), (14, 26, -30), 2.4),  # optic nerve
            ((42, 55, -34), (18, 26, -30), 2.2),
            ((22, 55, -34), (12, 26, -30), 2.0),
            ((32, 52, -23), (15, 26, -27), 2.2),
            ((32, 52, -45), (15, 26, -33), 2.2),
        )
    )
    canvas.paint(soft(cords), Tissue.MUSCLE, part, 0.85)
    globe = ellipsoid(side, y, z, (32.5, 64, -34), (12.2, 12.2, 12.2))
    canvas.paint(soft(globe - 1.2), Tissue.MUSCLE, part, 0.8)
    canvas.paint(soft(globe), Tissue.EYE, part)
    canvas.paint(soft(ellipsoid(side, y, z, (32.5, 73, -34), (4.5, 2.2, 4.5))), Tissue.EYE, part, 0.45)


def _paint_sinuses(canvas: Canvas, box: Lattice, part: Box, rough: np.ndarray) -> None:
    """Air of the nose and the sinuses, with septum, conchae and ethmoid cells."""
    x, y, z = box.x, box.y, box.z
    side = np.abs(x)
    nasal = ellipsoid(x, y, z, (0, 56, -56), (17, 34, 30))
    ethmoid = ellipsoid(x, y, z, (0, 46, -26), (12.5, 26, 13))
    air = np.minimum(nasal, ethmoid)
    for centre, radii in (
        ((0, 14, -34), (14, 12, 10)),  # sphenoid
        ((31, 54, -66), (14, 17, 16)),  # maxillary
        ((12, 74, -4), (13, 6, 10)),  # frontal
    ):
        np.minimum(air, ellipsoid(side, y, z, centre, radii), out=air)
    canvas.paint(soft(air - 1.0, 1.5), Tissue.BONE, part)
    canvas.paint(soft(air + 0.8 * rough, 1.5), Tissue.AIR, part)
    del air
    septum = np.maximum(np.abs(x) - 1.3, nasal)
    conchae = np.maximum(np.abs(side - 9.0 + rough) - 1.6, nasal + 4.0)
    canvas.paint(soft(np.minimum(septum, conchae), 1.5) * 0.9, Tissue.MUSCLE, part, 1.3)
    del septum, conchae
    cells = np.maximum(np.abs(rough) * 4.0 - 1.0, ethmoid + 1.0)
    canvas.paint(soft(cells, 1.5) * 0.5, Tissue.MUSCLE, part, 0.9)
