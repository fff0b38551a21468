"""Cerebrum with folded cortex, cerebellum, brain stem: signed distances in the canonical head frame.

The cerebrum starts as a smooth, unfolded hull (union of lobes). Sulci are the zero set of band-limited noise that is
constant along the hull's normal, so that they run inwards as sheets half a wavelength apart, meander like real ones and
end at a depth that varies from place to place. Everything within the cortex' thickness of the hull or of a sheet is
cortex. The Sylvian fissure, the insula and the interhemispheric fissure are separate sheets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import (
    COARSE,
    FINE,
    Lattice,
    Noise,
    coarse_part,
    cone,
    ellipsoid,
    refine,
    refine_box,
    smooth_max,
    smooth_min,
    soft,
    step_up,
    tube,
)
from .skull import Canvas
from .tissues import SIGNAL, Tissue

CORTEX_MM = 2.7
#: Box (x, y, z in mm) of the cerebrum.
CEREBRUM_LOW, CEREBRUM_HIGH = (-76, -110, -48), (76, 80, 86)
#: Box of cerebellum and brain stem.
HINDBRAIN_LOW, HINDBRAIN_HIGH = (-58, -98, -92), (58, 6, 14)

#: Half of it is the distance between neighbouring sulci.
_SULCUS_WAVELENGTH_MM = 21.0
_DIMPLE_WAVELENGTH_MM = 15.0
#: Fine grain of the parenchyma: relative amplitude and wavelength.
_GRAIN, _GRAIN_MM = 0.045, 4.5
#: Centre line of midbrain, pons, medulla and cord: (x, y, z, radius).
_STEM = (
    (0, -16, 0, 15.0),
    (0, -24, -12, 15.0),
    (0, -23, -29, 14.5),
    (0, -29, -40, 11.0),
    (0, -39, -57, 7.5),
    (0, -47, -95, 6.0),
)


@dataclass(frozen=True)
class BrainHull:
    """Smooth outer shapes on :data:`~flairseg.phantom.fields.COARSE` (signed distances, negative inside, mm)."""

    cerebrum: np.ndarray
    cerebellum: np.ndarray
    stem: np.ndarray
    core: np.ndarray
    cavity: np.ndarray


@dataclass(frozen=True)
class Cerebrum:
    """The folded cerebrum on a box of the fine lattice.

    Attributes
    ----------
    lattice, part :
        The box and its slices of :data:`~flairseg.phantom.fields.FINE`.
    depth : ndarray, float32
        Depth below the pial surface, mm: negative in CSF, 0..:data:`CORTEX_MM` in the cortex, more in white matter.
    """

    lattice: Lattice
    part: tuple[slice, slice, slice]
    depth: np.ndarray


def build_hull(rng: np.random.Generator) -> BrainHull:
    """Draw the unfolded shapes of one brain."""
    x, y, z = COARSE.x, COARSE.y, COARSE.z
    side = np.abs(x)
    uneven = Noise(rng, 130.0, 1.0).on(COARSE) * 1.1

    egg = _egg(x, y, z) + uneven
    cerebrum = smooth_max(egg, -24.0 + 0.1 * side - z, 8.0)
    temporal = ellipsoid(side, y, z, (44.5, -14.0, -19.0), (24.5, 39.0, 22.0), pitch_deg=-10.0)
    cerebrum = smooth_min(cerebrum, temporal + uneven, 7.0)
    # Tentorium: behind the petrous ridge the cerebrum rests on it.
    tent = tentorium(side, y)
    ridge = petrous_ridge(side, y) + 0.9 * np.maximum(z + 27.0, 0) * step_up(side, 10.0, 24.0)
    cerebrum = smooth_max(cerebrum, np.minimum(tent + 0.5 - z, -ridge), 4.0)
    lobes_whole = cerebrum
    # Medial walls, with the callosum, the deep gray and the midbrain as the bridge between the hemispheres.
    core = ellipsoid(x, y, z, (0.0, -4.0, 3.0), (30.0, 37.5, 25.5))
    core = smooth_max(core, -12.0 - z, 4.0)
    cistern = ellipsoid(x, y, z, (0.0, -46.0, -1.0), (9.0, 10.0, 11.0)) + 1.5 * uneven
    core = smooth_max(core, -cistern, 3.0)
    gap = 0.4 + 0.8 * step_up(np.abs(y + 15.0), 45.0, 90.0) - side
    cerebrum = smooth_max(cerebrum, gap, 1.5)
    cerebrum = smooth_max(cerebrum, -cistern, 4.0)
    suprasellar = ellipsoid(x, y, z, (0.0, 4.0, -21.0), (15.0, 14.0, 10.0))
    cerebrum = smooth_max(cerebrum, -suprasellar, 4.0)
    ambient = ellipsoid(x, y, z, (0.0, -24.0, -22.0), (20.0, 19.0, 26.0))
    cerebrum = smooth_max(cerebrum, -ambient, 4.0)
    cerebrum = smooth_min(cerebrum, core, 3.0)

    cerebellum = ellipsoid(side, y, z, (24.0, -62.0, -33.0), (28.5, 28.5, 25.5))
    cerebellum = smooth_min(cerebellum, ellipsoid(x, y, z, (0.0, -60.0, -26.0), (15.0, 25.0, 25.0)), 6.0)
    cerebellum = cerebellum + 0.8 * uneven
    cerebellum_whole = cerebellum
    cerebellum = smooth_max(cerebellum, z - tent + 0.6, 3.0)
    falx = 9.0 - 1.1 * side - 0.32 * (y + 108.0)
    cerebellum = smooth_max(cerebellum, falx, 4.0)

    stem = tube(x, y, z, _STEM, blend=5.0)
    notch = cone(x, y, z, (0, -8, -10), (0, -6, -18), 5.0, 5.0)
    stem = smooth_max(stem, -notch, 4.0)
    peduncle = cone(side, y, z, (11, -28, -32), (23, -52, -35), 8.0, 10.0)
    stem = smooth_min(stem, peduncle, 5.0)
    cavity = smooth_min(smooth_min(lobes_whole, cerebellum_whole, 10.0), stem, 6.0)
    fossa = ellipsoid(x, y, z, (0.0, -60.0, -33.0), (46.0, 34.0, 24.0))
    for space in (core, cistern, suprasellar, fossa):
        cavity = smooth_min(cavity, space, 4.0)
    return BrainHull(cerebrum, cerebellum, stem, core, cavity)


def _egg(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Signed distance to the outline of both hemispheres: a superellipsoid that narrows towards the front."""
    taper = 1 - np.where(y > -28.0, 1.7e-5, 0.4e-5) * (y + 28.0) ** 2
    power = 2.2
    radial = (
        np.abs(x / (69.0 * taper)) ** power + np.abs((y + 16.0) / 88.0) ** power + np.abs((z - 12.0) / 67.0) ** power
    ) ** np.float32(1 / power)
    slopes = np.gradient(radial, COARSE.step)
    out: np.ndarray = (radial - 1) / np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2 + 1e-6)
    return out


def tentorium(side: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height z (mm) of the tentorium: highest at the splenium, sloping backwards and sideways."""
    slope = 0.42 * np.minimum(y + 44.0, 0) - 0.38 * side
    return np.maximum(2.0 + slope, -27.0 + 0.06 * side)


def petrous_ridge(side: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance (mm) to the vertical plane of the petrous ridge: negative in the posterior fossa."""
    return (y + 12.0 + 0.62 * side) * 0.85


def fold_cerebrum(rng: np.random.Generator, hull: BrainHull, protected: np.ndarray) -> Cerebrum:
    """Fold the cortex of one brain.

    Parameters
    ----------
    rng : numpy.random.Generator
    hull : BrainHull
    protected : ndarray, shape of COARSE
        Signed distance (mm) to structures that no sulcus may reach: callosum, deep gray, ventricles.

    Returns
    -------
    Cerebrum
    """
    box, part = FINE.box(CEREBRUM_LOW, CEREBRUM_HIGH)
    rough, rough_part = box.coarser(), coarse_part(part)
    labyrinth = Noise(rng, _SULCUS_WAVELENGTH_MM, 0.22)
    dimples = Noise(rng, _DIMPLE_WAVELENGTH_MM, 0.25)
    wander = [Noise(rng, 60.0, 1.0) for _ in range(2)]
    bend = Noise(rng, 34.0, 1.0)
    width_of_sulci = float(rng.uniform(0.8, 1.25))

    distance = hull.cerebrum[rough_part]
    slopes = np.gradient(distance, rough.step)
    steepness = np.maximum(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2, 0.25)
    shift = np.clip(distance, -10.0, 30.0) / steepness
    # The sulcal pattern is read where the nearest hull point is; the hemispheres read it in different places.
    at_z, at_y, at_x = (
        axis - 0.92 * shift * slope for axis, slope in zip((rough.z, rough.y, rough.x), slopes, strict=True)
    )
    spread = sum(np.square(g) for at in (at_x, at_y, at_z) for g in np.gradient(at, rough.step))
    at_x = at_x + 41.0 * np.sign(rough.x)
    near = (distance < 4.0) & (distance > -34.0)
    bends = bend.on(rough)
    places = at_x[near], at_y[near], at_z[near]
    sheets = [
        _sheet(rough, near, noise.at(*places), np.float32(share) * bends)
        for noise, share in ((labyrinth, 0.30), (dimples, 0.15))
    ]
    del places, at_x, at_y, at_z

    # No sulcus in protected structures, nor where the nearest hull point jumps from one wall to the other.
    keep_out = np.maximum(7.0 - protected[rough_part], 0)
    keep_out += 4.0 * np.maximum(ndimage.maximum_filter(np.sqrt(spread), 3) - 3.5, 0)
    reach = np.clip(18.5 + 4.5 * wander[0].on(rough), 7.0, 28.0) - keep_out
    shallow = np.clip(5.5 + 3.5 * wander[1].on(rough), 0.0, 11.0) - keep_out
    opening = np.clip(0.9 + 0.45 * wander[1].on(rough), 0.25, 1.8) * np.float32(width_of_sulci)
    # Narrow at the medial wall and at the base, where the falx, the tentorium and the skull base press on the brain.
    free = 1 - 0.65 * step_up(-slopes[0], 0.35, 0.9)
    free *= 0.30 + 0.70 * step_up(np.abs(rough.x), 3.0, 16.0)
    opening *= free
    fissures = _fissures(rough, bends)
    inset = -distance

    depth = refine(inset)
    inwards = np.maximum(depth, 0)
    opening = refine(opening)
    rounding = 1.0 + 2.4 * refine(free)
    flare = np.exp(inwards / -4.5)
    pial = depth
    for sheet, ends, base, mouth in ((sheets[0], reach, 0.40, 1.15), (sheets[1], shallow, 0.10, 0.8)):
        ends = refine(ends)
        sulcus = refine(sheet)
        sulcus *= sulcus
        sulcus += np.maximum(depth - ends, 0) ** 2
        np.sqrt(sulcus, out=sulcus)
        sulcus -= opening * (np.float32(base) + np.float32(mouth) * flare) * step_up(ends, 1.0, 6.0)
        pial = smooth_min(pial, sulcus, rounding)
    depth = pial
    depth = np.minimum(depth, refine(fissures))
    return Cerebrum(box, part, depth)


def _sheet(box: Lattice, near: np.ndarray, pattern_near: np.ndarray, bends: np.ndarray) -> np.ndarray:
    """Signed distance (mm) to the sulci of a pattern: its values where it is read, and what bends it everywhere."""
    pattern = np.zeros(box.shape, np.float32)
    pattern[near] = pattern_near
    pattern += bends
    steep = np.gradient(pattern, box.step)
    steep = np.sqrt(steep[0] ** 2 + steep[1] ** 2 + steep[2] ** 2)
    sheet: np.ndarray = pattern / np.maximum(steep, 0.05)
    sheet[:, :, box.shape[2] // 2] = 0  # the pattern jumps across the midline, inside the fissure
    return sheet


def _fissures(box: Lattice, warp: np.ndarray) -> np.ndarray:
    """Distance (mm) to the deep fissures, less half their width.

    Sheets: the lateral fissure that rises backwards between temporal lobe and operculum, the cistern over the insula,
    the stem between the temporal pole and the frontal base, and the ambient cistern round the midbrain.
    """
    side, y, z = np.abs(box.x), box.y, box.z
    height = 2.0 - 0.55 * y + 3.5 * warp + 0.25 * (side - 50.0)
    beyond = np.maximum(np.abs(y + 6.0 + 3.0 * warp) - 29.0, 0)
    outside = np.maximum(41.0 + 4.0 * warp - side, 0) + beyond
    lateral = np.hypot(0.85 * (z - height), outside) - 1.5

    wall = 39.5 - 0.005 * (y - 2.0) ** 2 - 0.006 * (z - 3.0) ** 2
    rim = ellipsoid(0 * side, y, z, (0.0, 2.0, 2.0), (10.0, 23.0, 16.0)) + 2.0 * warp
    insular = np.hypot(side - wall - 1.3 * warp, np.maximum(rim, 0)) - 1.5

    plane = y - 9.0 - 0.40 * (side - 22.0) - 0.5 * (z + 14.0)
    ends = np.maximum(np.maximum(19.0 - side, np.abs(z + 17.0) - 13.0), 0)
    stem = np.hypot(0.8 * plane + 1.5 * warp, ends) - 1.3

    round_midbrain = np.abs(np.hypot(side, y + 22.0) - 19.0 - 1.5 * warp)
    ends = np.maximum(np.maximum(np.abs(z + 9.0) - 8.0, y + 20.0), 0)
    ambient = np.hypot(round_midbrain, ends) - 1.2
    out: np.ndarray = np.minimum(np.minimum(lateral, insular), np.minimum(stem, ambient)).astype(np.float32)
    return out


def paint_cerebrum(canvas: Canvas, rng: np.random.Generator, cerebrum: Cerebrum, hull: BrainHull) -> None:
    """Paint cortex and white matter, with slow and fine variations of their signal."""
    box, part, depth = cerebrum.lattice, cerebrum.part, cerebrum.depth
    rough = box.coarser()
    slow, fine = Noise(rng, 42.0, 1.0).on(rough), Noise(rng, 9.0, 0.6).on(rough)
    texture = refine(1 + 0.022 * slow + 0.015 * fine)
    texture += np.float32(_GRAIN) * Noise(rng, _GRAIN_MM, 0.4).on(box)
    canvas.paint(soft(-depth), Tissue.CORTEX, part, np.float32(SIGNAL[Tissue.CORTEX]) * texture)
    canvas.paint(soft(CORTEX_MM - depth, 1.4), Tissue.WHITE_MATTER, part, texture)
    core = refine_box(hull.core, part)
    canvas.paint(soft(core + 1.0, 2.0) * soft(-depth), Tissue.WHITE_MATTER, part, 0.97 * texture)


def paint_hindbrain(canvas: Canvas, rng: np.random.Generator, hull: BrainHull) -> np.ndarray:
    """Paint the cerebellum with its folia and the brain stem.

    Returns
    -------
    ndarray, shape of the hindbrain's box
        Depth (mm) below the surface of the hindbrain where lesions may be: white matter and brain stem.
    """
    box, part = FINE.box(HINDBRAIN_LOW, HINDBRAIN_HIGH)
    x, y, z = box.x, box.y, box.z
    depth, stem = -refine_box(hull.cerebellum, part), -refine_box(hull.stem, part)
    # Folia are sheets that fan out from the fourth ventricle.
    up, back = z + 28.0 - 0.004 * x * x, -(y + 42.0)
    pitch = 0.19
    turn = np.arctan2(up, back) / pitch + 0.35 * Noise(rng, 22.0, 1.0).on(box)
    sheet = np.abs(turn - np.round(turn)) * pitch * np.sqrt(up * up + back * back)
    sheet = np.sqrt(sheet * sheet + np.maximum(depth - 10.0, 0) ** 2)
    texture = 1 + 0.022 * Noise(rng, 8.0, 0.6).on(box) + np.float32(_GRAIN) * Noise(rng, _GRAIN_MM, 0.4).on(box)
    gray = np.float32(SIGNAL[Tissue.CEREBELLUM]) * texture
    canvas.paint(soft(-depth), Tissue.CEREBELLUM, part, gray)
    deep = soft(3.0 - np.minimum(sheet, depth), 3.0)
    canvas.paint(deep, Tissue.CEREBELLUM, part, 0.95 * gray)
    opening = 0.65 * np.clip(1 - depth / 14.0, 0, 1)
    canvas.paint(soft(sheet - opening) * soft(-depth) * 0.7, Tissue.CSF, part)
    canvas.paint(soft(-stem), Tissue.BRAIN_STEM, part, np.float32(SIGNAL[Tissue.BRAIN_STEM]) * texture)
    out: np.ndarray = np.maximum(depth - 3.0, stem)
    return out
