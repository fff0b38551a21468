"""From the atlas's priors and a FLAIR to the tissue of each voxel, by blocks of slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy import ndimage

from ..image.geometry import triple
from ..labels import BACKGROUND, VENTRICLES
from ..lesions.boxes import bounding_box, count_numbers, looked_up
from .regions import (
    BRAIN_STEM,
    CEREBELLUM,
    CORTEX,
    DEEP_GRAY,
    FLUID,
    OUTSIDE,
    VENTRICLE,
    WHITE_MATTER,
)

#: Probability of head, fluid included, below which all is outside.
LEAST_HEAD = 0.25
#: Brightness relative to local white matter below which tissue is fluid.
FLUID_LEVEL = 0.62
#: And above which voxels off the approximate brain mask are scalp or marrow.
SCALP_LEVEL = 1.45
#: Thickness of the cortex, mm: voxels nearer to sulcal fluid or to the outer surface.
CORTEX_MM = 3.2
#: Bright tissue is cortex up to so many times that depth.
NEAR_CORTEX = 2.2
#: Slices thinner than this show the cortex from slice to slice.
THIN_MM = 1.6
#: Cerebral cortex and white matter in FLAIR: mean and standard deviation relative to local white matter.
GRAY, WHITE = (1.17, 0.10), (1.0, 0.06)
#: Probability of brain from which a lesion amid fluid is one of the cortex, not one of scalp or neck.
TISSUE_PRIOR = 0.2
#: Probability of the deep gray nuclei within the cerebrum from which tissue counts as theirs.
DEEP_GRAY_PRIOR = 0.6
#: Pieces of fewer voxels than this in a slice that are outside are filled.
SPECK = 4
#: Voxels whose priors are processed together.
BLOCK_VOXELS = 250_000
#: What is noted of a voxel before its distance to the surface is known: cortex within a cortical thickness of it, or
#: within reach of it; fluid where it is outside; off the head; tissue even amid fluid.
_RIBBON, _BRIGHT, _FLUID, _OFF, _TISSUE = (1 << n for n in range(5))


class Priors(Protocol):
    """Probabilities of the atlas's tissues on a box of voxels."""

    def at(self, block: slice, least: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Of some slices: flat numbers of the voxels near the head at which the probabilities sum to more than this.

        And each tissue's probabilities there.
        """


def tissue_codes(
    image: np.ndarray,
    labels: np.ndarray,
    rough: np.ndarray,
    priors: Priors,
    spacing_ijk: tuple[float, float, float],
    normal: int,
) -> np.ndarray:
    """Tissue of each voxel of a box.

    Parameters
    ----------
    image : ndarray of float32, shape (K, J, I)
        Relative to local white matter.
    labels : ndarray of uint8, same shape
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    rough : ndarray of bool, same shape
        Rough brain mask.
    priors : Priors
        Of the box.
    spacing_ijk : tuple of float
        Voxel size along I, J, K, mm.
    normal : int
        Array axis through the slices.

    Returns
    -------
    ndarray of uint8, same shape
        :data:`.regions.OUTSIDE`, :data:`.regions.WHITE_MATTER`...
    """
    spacing = spacing_ijk[::-1]
    smooth = np.where(labels == BACKGROUND, image, np.float32(1))
    sigma = [0.0 if axis == normal else 0.6 / mm for axis, mm in enumerate(spacing)]
    ndimage.gaussian_filter(smooth, sigma, output=smooth)
    codes, traits, outside = (np.zeros(image.shape, kind) for kind in (np.uint8, np.uint8, bool))
    thick = max(1, BLOCK_VOXELS // max(1, image[0].size))
    for start in range(0, len(image), thick):
        at = slice(start, start + thick)
        # Voxels farther out are outside.
        there = priors.at(at, LEAST_HEAD)
        codes[at], traits[at], outside[at] = _evidence(image[at], smooth[at], labels[at], rough[at], *there)
    del smooth
    surface = np.zeros(image.shape, np.float32)
    box = bounding_box(outside, (False,))
    if box is not None:
        # With so much around it that pieces cut at its edge are no specks.
        box = triple(slice(max(s.start - SPECK, 0), s.stop + SPECK) for s in box)
        # Single dark voxels are noise or vessels.
        outside[box] = _without_specks(outside[box], normal, SPECK)
        surface[box] = depth(~outside[box], spacing, normal, NEAR_CORTEX * CORTEX_MM)
    for k in range(len(image)):
        _decide(codes[k], traits[k], outside[k], surface[k])
    codes[labels == VENTRICLES] = VENTRICLE
    return codes


def _evidence(
    image: np.ndarray,
    smooth: np.ndarray,
    labels: np.ndarray,
    rough: np.ndarray,
    at: np.ndarray,
    prior: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What voxels of some slices show, whatever their surroundings; ``prior`` is that of the voxels ``at``.

    Returns
    -------
    codes : ndarray of uint8
        Tissue, where the distance to the surface does not matter for it.
    traits : ndarray of uint8
        :data:`_RIBBON`...
    outside : ndarray of bool
        Whether a voxel is off the brain or dark at its surface.
    """
    own, relative, smooth = labels.ravel()[at], image.ravel()[at], smooth.ravel()[at]
    head = sum(prior.values())
    brain = head - prior["fluid"]
    bare = own == BACKGROUND
    dark = (relative < FLUID_LEVEL) & bare
    cavities = prior["lateral_ventricles"] + prior["third_ventricle"] + prior["fourth_ventricle"]
    # Bright voxels off the approximate brain mask are scalp.
    inside = (brain > 0.25) & (head > 0.5) & (rough.ravel()[at] | (relative < SCALP_LEVEL))
    gray_prior = np.clip(prior["cortex"] / np.maximum(prior["cortex"] + prior["white_matter"], 1e-3), 0.02, 0.98)
    brighter = gray_prior * _gauss(smooth, GRAY) > (1 - gray_prior) * _gauss(smooth, WHITE)
    cerebrum = prior["white_matter"] + prior["cortex"] + prior["deep_gray"]
    hind = prior["brain_stem"] + prior["cerebellum"] + prior["fourth_ventricle"] > np.maximum(cerebrum, 0.3)
    tissue = np.full(at.shape, WHITE_MATTER, np.uint8)
    tissue[prior["deep_gray"] > DEEP_GRAY_PRIOR * cerebrum] = DEEP_GRAY
    tissue[hind] = np.where(prior["brain_stem"] > prior["cerebellum"], BRAIN_STEM, CEREBELLUM)[hind]
    tissue[dark & inside & (cavities > 0.3)] = VENTRICLE
    found = {
        _RIBBON: gray_prior > 0.12,
        _BRIGHT: brighter & bare & (smooth < 1.45) & (gray_prior > 0.3),
        _FLUID: head > 0.3,
        _OFF: ~inside & ((head <= 0.3) | (relative >= SCALP_LEVEL)),
        _TISSUE: (own > VENTRICLES) & (brain > TISSUE_PRIOR),
    }
    codes, traits, outside = (
        np.full(image.shape, OUTSIDE, np.uint8),
        np.zeros(image.shape, np.uint8),
        np.ones(image.shape, bool),
    )
    codes.ravel()[at] = tissue
    traits.ravel()[at] = sum(np.where(those, np.uint8(trait), np.uint8(0)) for trait, those in found.items())
    outside.ravel()[at] = ~inside | (dark & (cavities < 0.3 * (prior["fluid"] + prior["cortex"] + cavities)))
    return codes, traits, outside


def _decide(codes: np.ndarray, traits: np.ndarray, outside: np.ndarray, surface: np.ndarray) -> None:
    """Complete the codes of a slice, in place, by the distance to the surface (mm, infinite where it is far)."""
    ribbon = (surface <= CORTEX_MM) & (traits & _RIBBON > 0)
    bright = np.isfinite(surface) & (traits & _BRIGHT > 0)
    codes[(codes == WHITE_MATTER) & (ribbon | bright)] = CORTEX
    codes[outside & (traits & _FLUID > 0)] = FLUID
    codes[traits & _OFF > 0] = OUTSIDE
    codes[(codes == FLUID) & (traits & _TISSUE > 0)] = CORTEX  # lesions are tissue


def depth(inside: np.ndarray, spacing_kji: Sequence[float], normal: int, deepest_mm: float) -> np.ndarray:
    """Distance to the nearest voxel that is not inside, where that is near; several times faster than to any.

    Parameters
    ----------
    inside : ndarray of bool, shape (K, J, I)
    spacing_kji : sequence of float
        Voxel size, mm.
    normal : int
        Array axis through the slices. Thick slices are too far apart for a ribbon of 3 mm: distance
        is then measured within the slice.
    deepest_mm : float
        Deeper voxels are infinite.

    Returns
    -------
    ndarray of float32, shape (K, J, I)
        Centre to centre, mm; 0 outside.
    """
    axes = [axis for axis, mm in enumerate(spacing_kji) if axis != normal or mm < THIN_MM]
    nearest = np.where(inside, np.float32(np.inf), np.float32(0))
    farther = np.empty_like(nearest)
    for axis in axes:
        mm, squared = spacing_kji[axis], nearest
        nearest = squared.copy()
        for by in range(1, min(int(deepest_mm / mm), inside.shape[axis] - 1) + 1):
            ahead, behind = ((slice(None),) * axis + (part,) for part in (slice(by, None), slice(None, -by)))
            np.add(squared, np.float32((by * mm) ** 2), out=farther)
            np.minimum(nearest[ahead], farther[behind], out=nearest[ahead])
            np.minimum(nearest[behind], farther[ahead], out=nearest[behind])
    out: np.ndarray = np.sqrt(nearest, out=nearest)
    out[out > deepest_mm] = np.inf
    return out


def _gauss(values: np.ndarray, mean_and_sd: tuple[float, float]) -> np.ndarray:
    mean, sd = mean_and_sd
    return np.exp(-0.5 * ((values - mean) / sd) ** 2) / sd


def _without_specks(mask: np.ndarray, normal: int, least: int) -> np.ndarray:
    """A mask less its in-slice pieces of fewer voxels."""
    structure = ndimage.generate_binary_structure(3, 1)
    for end in (0, 2):
        structure[tuple(end if axis == normal else slice(None) for axis in range(3))] = False
    pieces, count = ndimage.label(mask, structure=structure)
    large = count_numbers(pieces, count) >= least
    large[0] = False
    return looked_up(large, pieces)
