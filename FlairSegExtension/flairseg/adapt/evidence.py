"""Check of a mask's position: contrast of the drawn classes against their surroundings.

FLAIR lesions are brighter than the tissue around them and ventricles are darker: the sum of both contrasts falls where
the mask is moved. A mask whose contrast is clearly higher at another place, mirrored, or in reversed order of slices,
belongs to another image or grid; one with the wrong sign names the wrong class. This is a matched filter: the
displacement of the highest correlation, by FFT (Turin 1960, IRE Trans Inf Theory 6:311).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from ..labels import LESION, NORMAL_WMH, VENTRICLES

#: Largest displacement searched, pixels of the frame and slices.
REACH_PX, REACH_SLICES = 14, 2
#: Width of the surroundings, pixels.
RING_PX = 4
#: Classes of fewer pixels than this give no evidence of a displacement.
FEWEST_PX = 30
#: Intensities beyond this (normalised) count as this: the scalp must not decide.
BRIGHTEST, DARKEST = 4.0, -4.0


@dataclass(frozen=True)
class Evidence:
    """Displacement at which a mask fits its image best.

    Attributes
    ----------
    lesion_contrast, ventricle_contrast : float
        Mean inside minus mean of the surroundings, in normalised intensity (0.2 of the brain's median); NaN if the
        class is too small.
    gain : float
        Contrast at the best place over that at the mask's own place: 1 where it is right. Infinite where the mask's
        own contrast is not positive.
    shift_px : tuple of float
        (slices, rows, columns) to the best place.
    how : str
        ``shifted``, ``mirrored`` or ``reversed``: what makes it fit best.
    """

    lesion_contrast: float
    ventricle_contrast: float
    gain: float
    shift_px: tuple[int, int, int]
    how: str = "shifted"


def weigh(image: np.ndarray, labels: np.ndarray, inside: np.ndarray) -> Evidence:
    """The evidence for a mask.

    Parameters
    ----------
    image : ndarray of float32, shape (slices, rows, columns)
        Normalised by the brain's median, in the model's frame (centred on the brain).
    labels : ndarray of uint8, shape (slices, rows, columns)
        Classes 0..3.
    inside : ndarray of bool, shape (slices, rows, columns)
        Brain: surroundings outside of it do not count.
    """
    image = np.where(inside, np.clip(image, DARKEST, BRIGHTEST), 0).astype(np.float32)
    template, contrasts = _template(image, labels, inside)
    if template is None:
        return Evidence(*contrasts, 1.0, (0, 0, 0))
    here = float((image * template).sum())
    seen = fft.rfft2(image)
    variants = {"shifted": template, "mirrored": template[:, :, ::-1], "reversed": template[::-1]}
    best, where, how = here, (0, 0, 0), "shifted"
    # A mask moved by the number of slices, or more, would wrap around to the other side: a single slice stays.
    reach = min(REACH_SLICES, len(image) - 1)
    for name, one in variants.items():
        pattern = fft.rfft2(np.ascontiguousarray(one))
        for slices in range(-reach, reach + 1) if name == "shifted" else (0,):
            score, rows, columns = _best_in_plane(seen, np.roll(pattern, slices, 0), image.shape[1:])
            if score > best * (1 + 1e-4):
                best, where, how = score, (slices, rows, columns), name
    return Evidence(*contrasts, best / here if here > 0 else float("inf"), where, how)


def _template(
    image: np.ndarray, labels: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray | None, tuple[float, float]]:
    """Weights whose product with the image is the sum of the classes' contrasts; and each contrast."""
    template, contrasts, used = np.zeros(image.shape, np.float32), [], False
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), RING_PX)[None]
    for value, sign in ((LESION, 1.0), (VENTRICLES, -1.0)):
        mask = labels == value
        if np.count_nonzero(mask) < FEWEST_PX:
            contrasts.append(float("nan"))
            continue
        other = (labels == VENTRICLES) if value == LESION else np.isin(labels, (LESION, NORMAL_WMH))
        ring = ndimage.binary_dilation(mask, disc) & ~mask & ~other & inside
        one = mask / np.count_nonzero(mask) - ring / max(1, np.count_nonzero(ring))
        contrasts.append(float((image * one).sum()))
        template += (sign * one).astype(np.float32)
        used = True
    return (template if used else None), (contrasts[0], contrasts[1])


def _best_in_plane(seen: np.ndarray, pattern: np.ndarray, grid: tuple[int, int]) -> tuple[float, int, int]:
    """Highest correlation over in-plane displacements up to :data:`REACH_PX`: its value, rows and columns.

    Parameters
    ----------
    seen, pattern : ndarray of complex, shape (slices, rows, columns / 2 + 1)
        Transforms of image and template. The image is 0 at its border, so what wraps around adds nothing.
    grid : tuple of int
    """
    total = fft.irfft2((seen * pattern.conj()).sum(0), s=grid)
    total = np.roll(total, (REACH_PX, REACH_PX), (0, 1))[: 2 * REACH_PX + 1, : 2 * REACH_PX + 1]
    rows, columns = np.unravel_index(int(total.argmax()), total.shape)
    return float(total.max()), int(rows) - REACH_PX, int(columns) - REACH_PX
