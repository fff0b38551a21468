"""Synthetic slices of the package: rehearsed together with a site's cases, and held out to check for forgetting.

Rehearsal (Robins 1995, Connection Science 7:123) keeps a network from losing what the new cases do not show. The slices
are drawn from label maps, not taken from patients (``training/make_replay.py``). With several hundred more was
gained on patients who were left out than with 90 (docs/adaptation.md).

They are stored without noise, which is added when they are read: noise does not compress.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..models.card import PipelineConfig
from .banks import Bank
from .framed import dequantise, quantise

PATH = Path(__file__).with_name("replay.npz")
#: Slices for rehearsal, and slices for the check.
LEARNT, CHECKED = 500, 40
#: Pixel size of the stored slices, mm.
SPACING_MM = 0.9
#: Gray levels are stored in steps of so many bytes, less than typical noise, as differences of neighbouring rows.
STEP = 3
#: Standard deviation of the noise relative to the brain's median, as :mod:`training.synthetic_wide` draws it: uniform,
#: and the width of a normal distribution beside it.
NOISE, MORE_NOISE = (0.005, 0.05), 0.03
#: Stored value of stripped voxels; air is brighter.
STRIPPED = 0


def replay_bank(config: PipelineConfig) -> Bank:
    """The rehearsed slices, in a model's frame; cached per process, so not to be changed."""
    return _bank((config.frame_size[0], config.frame_size[1]), config.frame_spacing_mm)


@lru_cache(maxsize=2)
def _bank(size: tuple[int, int], pixel_mm: float) -> Bank:
    images, labels = _stored(size, pixel_mm)
    masks = np.ones(labels[:LEARNT].shape, bool)
    return Bank(images[:LEARNT], labels[:LEARNT], masks, np.full(LEARNT, "synthetic", object))


def check_slices(config: PipelineConfig) -> tuple[np.ndarray, np.ndarray]:
    """The slices that check, in a model's frame: images (n, rows, columns), float32, normalised, and labels 0..3."""
    images, labels = _stored((config.frame_size[0], config.frame_size[1]), config.frame_spacing_mm)
    return dequantise(images[LEARNT:]), labels[LEARNT:]


def packed(images: np.ndarray) -> np.ndarray:
    """Slices as they are stored, uint8 of the same shape; see :func:`unpacked`."""
    steps = np.minimum(np.round(images / STEP), 255 // STEP).astype(np.uint8)
    return np.diff(steps, axis=1, prepend=np.uint8(0))


def unpacked(stored: np.ndarray) -> np.ndarray:
    """Slices (n, rows, columns), uint8, in steps of :data:`STEP`."""
    out: np.ndarray = np.cumsum(stored, axis=1, dtype=np.uint8) * np.uint8(STEP)
    return out


def noisy(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Slices with Rician noise, the same ones every time; what was stripped has none.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, rows, columns)
        See :func:`~.framed.quantise`.
    seed : int

    Returns
    -------
    ndarray of uint8, same shape
    """
    rng = np.random.default_rng(seed)
    out = np.empty_like(images)
    for image, result in zip(images, out, strict=True):
        sigma = np.float32(np.hypot(rng.uniform(*NOISE), rng.normal(0, MORE_NOISE)))
        signal = np.maximum(dequantise(image) * np.float32(0.2) + 1, 0)
        real, imaginary = rng.standard_normal((2, *image.shape), np.float32) * sigma
        shown = np.where(image == STRIPPED, 0, np.hypot(signal + real, imaginary))
        result[:] = quantise((shown - 1) / np.float32(0.2))
    return out


def _stored(size: tuple[int, int], pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels as bytes, at the frame's pixel size and cut or padded to its size around the middle."""
    with np.load(PATH) as stored:
        images, labels = noisy(unpacked(stored["images"])), stored["labels"]
    if images.shape[1:] == size and pixel_mm == SPACING_MM:
        return images, labels
    matrix = np.full(2, pixel_mm / SPACING_MM)
    offset = (np.array(images.shape[1:]) - 1) / 2 - matrix * (np.array(size) - 1) / 2

    def resampled(slices: np.ndarray, order: int, fill: bool) -> np.ndarray:
        return np.stack(
            [
                ndimage.affine_transform(one, matrix, offset, size, order=order, cval=float(one.min()) if fill else 0)
                for one in slices
            ]
        )

    return resampled(images, 1, True), resampled(labels, 0, False)
