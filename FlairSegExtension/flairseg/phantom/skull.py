"""What surrounds the brain: skull with its marrow, scalp, and a plausible face, skull base and neck."""

from __future__ import annotations

import numpy as np

from .fields import COARSE, FINE, Noise, cone, ellipsoid, refine, smooth_max, smooth_min, soft, step_up
from .tissues import SIGNAL, Tissue


class Canvas:
    """Signal and tissue map of a head on the fine lattice, painted from the outside in.

    Attributes
    ----------
    signal : ndarray, float32
        Signal relative to white matter.
    tissue : ndarray, uint8
        :class:`~flairseg.phantom.tissues.Tissue` with the largest share, painter's order.
    """

    def __init__(self) -> None:
        self.signal = np.zeros(FINE.shape, np.float32)
        self.tissue = np.zeros(FINE.shape, np.uint8)

    def paint(self, share: np.ndarray, tissue: Tissue, part=..., signal=None) -> None:
        """Lay a tissue over what is there: ``share`` is its occupancy (0..1) on the box ``part``."""
        level = SIGNAL[tissue] if signal is None else signal
        target = self.signal[part]
        target += share * (np.float32(level) - target) if np.isscalar(level) else share * (level - target)
        self.tissue[part][share >= 0.5] = tissue


def build_surroundings(rng: np.random.Generator, cavity: np.ndarray) -> Canvas:
    """Paint everything but the brain.

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
    x, y, z = COARSE.x, COARSE.y, COARSE.z
    side = np.abs(x)
    slow = Noise(rng, 70.0, 1.0).on(COARSE)
    patch = Noise(rng, 30.0, 1.0).on(COARSE)
    inner = cavity - np.float32(1.8) - np.float32(0.5) * slow
    outer = inner - (np.float32(5.8) + np.float32(0.5) * patch)
    scalp = outer - (np.float32(4.6) + np.float32(0.6) * slow + np.float32(3.0) * step_up(-y, 60.0, 110.0) * step_up(-z, -10.0, 40.0)
        + np.float32(7.0) * np.exp(-((y - 18) / 24) ** 2 - ((z + 16) / 24) ** 2) * step_up(side, 45.0, 62.0))
    face = ellipsoid(x, y, z, (0, 34, -58), (66, 56, 74))
    face = smooth_min(face, ellipsoid(side, y, z, (36, 20, -60), (36, 50, 60)), 12.0)
    face = smooth_min(face, ellipsoid(side, y, z, (32.5, 64, -34), (15.0, 15.0, 15.0)), 6.0)
    nose = cone(x, y, z, (0, 84, -42), (0, 98, -66), 5.0, 11.0)
    face = smooth_min(face, nose, 12.0)
    neck = ellipsoid(x, y, z, (0, -40, -110), (66, 64, 90))
    skin = smooth_min(smooth_min(scalp, smooth_min(face, neck, 20.0), 14.0), outer - np.float32(4.5), 4.0)

    canvas = Canvas()
    texture = Noise(rng, 9.0, 0.5)
    streaks = Noise(rng, 16.0, 0.5)
    skin_fine = refine(skin)
    outer_fine, inner_fine = refine(outer), refine(inner)
    grain = refine(streaks.on(COARSE))
    fat = np.float32(SIGNAL[Tissue.FAT]) * (1 + np.float32(0.07) * grain)
    canvas.paint(soft(skin_fine), Tissue.SKIN)
    canvas.paint(soft(skin_fine + np.float32(1.6), 1.6), Tissue.FAT, signal=fat)
    _soft_parts(canvas, texture, grain, outer_fine, skin_fine)
    canvas.paint(soft(outer_fine - np.float32(1.0), 1.6), Tissue.MUSCLE, signal=1.0)
    canvas.paint(soft(outer_fine, 1.2), Tissue.BONE)
    _orbits_and_sinuses(canvas, texture)
    middle = np.abs(outer_fine + inner_fine) * np.float32(0.5)
    thick = np.clip(np.float32(0.55) + np.float32(0.5) * refine(patch), 0, 1)
    canvas.paint(soft(middle - np.float32(1.1), 1.6) * thick, Tissue.MARROW)
    canvas.paint(soft(inner_fine, 1.0), Tissue.CSF)
    return canvas


def _soft_parts(canvas: Canvas, texture: Noise, grain: np.ndarray, outer: np.ndarray, skin: np.ndarray) -> None:
    """Muscles with fat between them and the jaw, below the skull and in the temporal fossa."""
    box, part = FINE.box((-84, -118, -92), (84, 92, 24))
    x, y, z = box.x, box.y, box.z
    side = np.abs(x)
    strands = texture.on(box)
    coarse_grain, skin = grain[part], skin[part]
    # Deep soft tissue: muscle crossed by fat planes, under a layer of fat below the skin.
    low = step_up(np.broadcast_to(-z, skin.shape), 18.0, 34.0)
    deep = soft(skin + np.float32(6.5) + np.float32(1.5) * coarse_grain, 3.0) * low
    level = np.float32(SIGNAL[Tissue.MUSCLE]) * (1 + np.float32(0.18) * strands)
    planes = soft((np.abs(coarse_grain) - np.float32(0.22)) * 8, 2.0)
    canvas.paint(deep, Tissue.MUSCLE, part, np.maximum(level + np.float32(1.1) * planes, np.float32(0.15)))
    temporal = ellipsoid(side, y, z, (68, 20, -16), (9, 26, 34))
    masseter = ellipsoid(side, y, z, (55, 32, -72), (9, 20, 30))
    pterygoid = ellipsoid(side, y, z, (34, 18, -58), (12, 18, 18))
    nuchal = ellipsoid(side, y, z, (22, -76, -84), (20, 24, 30))
    muscle = np.minimum(np.minimum(temporal, masseter), np.minimum(pterygoid, nuchal))
    muscle = np.maximum(muscle + np.float32(0.6) * strands, skin + np.float32(4.0))
    canvas.paint(soft(muscle, 1.5), Tissue.MUSCLE, part, level)
    jaw = cone(side, y, z, (48, 16, -46), (46, 14, -92), 4.5, 5.0)
    zygoma = cone(side, y, z, (60, 24, -44), (44, 62, -48), 3.0, 5.0)
    plates = cone(side, y, z, (14, 28, -46), (20, 28, -70), 2.0, 4.0)
    bone = np.minimum(np.minimum(jaw, zygoma), plates)
    canvas.paint(soft(bone), Tissue.BONE, part)
    canvas.paint(soft(bone + np.float32(2.6)), Tissue.MARROW, part, 1.0)
    canal = cone(x, y, z, (0, -40, -56), (0, -50, -95), 11.5, 11.0)
    atlas = np.maximum(canal - np.float32(7.0), -canal)
    canvas.paint(soft(atlas + np.float32(1.5) * strands, 1.5) * low, Tissue.BONE, part, 0.3)
    canvas.paint(soft(canal) * low, Tissue.CSF, part)
    pinna = np.maximum(ellipsoid(side, y, z, (80, -26, -36), (5, 15, 26)), -ellipsoid(side, y, z, (82, -22, -38), (5, 9, 16)))
    canvas.paint(soft(pinna + np.float32(0.5) * strands, 2.0) * soft(-skin - np.float32(1.0)), Tissue.SKIN, part, 0.7)


def _orbits_and_sinuses(canvas: Canvas, texture: Noise) -> None:
    """Air spaces, orbits with globes, petrous bone and clivus."""
    box, part = FINE.box((-74, -70, -92), (74, 106, 10))
    x, y, z = box.x, box.y, box.z
    side = np.abs(x)
    rough = texture.on(box)

    base = smooth_max(ellipsoid(x, y, z, (0, 10, -40), (62, 66, 26)), np.float32(0) * x + z + np.float32(24), 4.0)
    canvas.paint(soft(base + np.float32(2.5) * rough, 3.0) * np.float32(0.75), Tissue.BONE, part)
    clivus = cone(x, y, z, (0, 2, -34), (0, -12, -62), 8.0, 7.0)
    canvas.paint(soft(clivus + rough, 2.0), Tissue.MARROW, part, 1.15)
    mastoid = cone(side, y, z, (24, -22, -40), (60, -48, -44), 8.0, 14.0)
    canvas.paint(soft(mastoid + np.float32(1.2) * rough, 2.0), Tissue.BONE, part)
    canal = np.float32(3.5) - np.abs(rough) * 2
    canvas.paint(soft(np.maximum(mastoid + 3, canal), 2.0), Tissue.MARROW, part)

    orbit = cone(side, y, z, (31, 54, -34), (14, 24, -30), 15.5, 4.0)
    canvas.paint(soft(orbit - np.float32(2.0), 2.0), Tissue.BONE, part)
    canvas.paint(soft(orbit, 1.5), Tissue.FAT, part, 2.0)
    for start, stop, radius in (
        ((31, 52, -34), (14, 26, -30), 2.4),
        ((42, 55, -34), (18, 26, -30), 2.2),
        ((22, 55, -34), (12, 26, -30), 2.0),
        ((32, 52, -23), (15, 26, -27), 2.2),
        ((32, 52, -45), (15, 26, -33), 2.2),
    ):
        canvas.paint(soft(cone(side, y, z, start, stop, radius, 1.6)), Tissue.MUSCLE, part, 0.85)
    globe = ellipsoid(side, y, z, (32.5, 64, -34), (12.2, 12.2, 12.2))
    canvas.paint(soft(globe - np.float32(1.2)), Tissue.MUSCLE, part, 0.8)
    canvas.paint(soft(globe), Tissue.EYE, part)
    lens = ellipsoid(side, y, z, (32.5, 73, -34), (4.5, 2.2, 4.5))
    canvas.paint(soft(lens), Tissue.EYE, part, 0.45)

    nasal = ellipsoid(x, y, z, (0, 56, -56), (17, 34, 30))
    ethmoid = ellipsoid(x, y, z, (0, 46, -26), (12.5, 26, 13))
    sphenoid = ellipsoid(x, y, z, (0, 14, -34), (14, 12, 10))
    maxillary = ellipsoid(side, y, z, (31, 54, -66), (14, 17, 16))
    frontal = ellipsoid(side, y, z, (12, 74, -4), (13, 6, 10))
    air = np.minimum(np.minimum(nasal, ethmoid), np.minimum(sphenoid, np.minimum(maxillary, frontal)))
    canvas.paint(soft(air - np.float32(1.0), 1.5), Tissue.BONE, part)
    canvas.paint(soft(air + np.float32(0.8) * rough, 1.5), Tissue.AIR, part)
    septum = np.maximum(np.abs(x) - np.float32(1.3), nasal)
    conchae = np.maximum(np.abs(side - np.float32(9.0) + rough) - np.float32(1.6), nasal + np.float32(4.0))
    cells = np.maximum(np.abs(rough) * np.float32(4.0) - np.float32(1.0), ethmoid + np.float32(1.0))
    canvas.paint(soft(np.minimum(septum, conchae), 1.5) * np.float32(0.9), Tissue.MUSCLE, part, 1.3)
    canvas.paint(soft(cells, 1.5) * np.float32(0.5), Tissue.MUSCLE, part, 0.9)
