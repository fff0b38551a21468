"""Synthetic slices that come with the package: learnt again beside a site's cases, and kept apart to check forgetting.

Rehearsal (Robins 1995, Connection Science 7:123) keeps a network from losing what the new cases do not show. The slices
are drawn from label maps, not taken from patients (``training/make_replay.py``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from ..models.card import PipelineConfig
from .banks import Bank
from .framed import dequantise

PATH = Path(__file__).with_name("replay.npz")
#: Slices that are learnt again, and slices that check.
LEARNT, CHECKED = 90, 40
#: Pixel size of the stored slices, mm.
SPACING_MM = 0.9


def replay_bank(config: PipelineConfig, path: Path = PATH) -> Bank:
    """The slices that are learnt again, in a model's frame."""
    images, labels = _stored(config, path)
    masks = np.ones(labels[:LEARNT].shape, bool)
    return Bank(images[:LEARNT], labels[:LEARNT], masks, np.full(LEARNT, "synthetic", object))


def check_slices(config: PipelineConfig, path: Path = PATH) -> tuple[np.ndarray, np.ndarray]:
    """The slices that check, in a model's frame: images (n, rows, columns), float32, normalised, and labels 0..3."""
    images, labels = _stored(config, path)
    return dequantise(images[LEARNT:]), labels[LEARNT:]


def _stored(config: PipelineConfig, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels as bytes, at the frame's pixel size and cut or padded to its size around the middle."""
    with np.load(path) as stored:
        images, labels = stored["images"], stored["labels"]
    if images.shape[1:] == tuple(config.frame_size) and config.frame_spacing_mm == SPACING_MM:
        return images, labels
    matrix = np.full(2, config.frame_spacing_mm / SPACING_MM)
    offset = (np.array(images.shape[1:]) - 1) / 2 - matrix * (np.array(config.frame_size) - 1) / 2

    def resampled(slices: np.ndarray, order: int, fill: bool) -> np.ndarray:
        return np.stack(
            [
                ndimage.affine_transform(
                    one, matrix, offset, config.frame_size, order=order, cval=float(one.min()) if fill else 0
                )
                for one in slices
            ]
        )

    return resampled(images, 1, True), resampled(labels, 0, False)
