"""Slices of any source in memory, as bytes, with the known classes of their pixels; random crops of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ..labels import LESION, NORMAL_WMH, VENTRICLES
from .augment import Geometry, intensity
from .framed import dequantise, quantise
from .partial import NO_LESION, UNKNOWN, lesion_weights

#: Sampling weight of a slice relative to an empty one: with any class, and with a lesion of few pixels.
CHANCE_OF_FOREGROUND, CHANCE_OF_SMALL_LESIONS = 3.0, 4.5
SMALL_LESION_PIXELS = 15
#: Share of crops that are placed on a foreground pixel, and how far from their middle, as a share of their size.
ON_FOREGROUND, OFF_CENTRE = 0.7, 0.4
#: Weight in the cross entropy of pixels where the model is known to have been wrong.
EMPHASIS = 2.0
_WEIGHT_STEP = 0.1


@dataclass
class Bank:
    """Slices of one source.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, rows, columns)
        Normalised intensities, see :func:`~flairseg.adapt.framed.quantise`.
    labels : ndarray of uint8, same shape
        Training labels, see :mod:`flairseg.adapt.partial`.
    masks : ndarray of bool, same shape
        Brain.
    subjects : ndarray of str, shape (n,)
        Patient of the slice, for folds.
    importance : ndarray of float, shape (n,), optional
        Sampling weight of a slice, relative to the others of its kind; default 1.
    emphasis : ndarray of bool, shape (n, rows, columns), optional
        Pixels that weigh :data:`EMPHASIS` times as much: where a model is known to have been wrong.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    subjects: np.ndarray
    importance: np.ndarray | None = None
    emphasis: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not len(self.images):
            raise ValueError("no slices to train on")
        weights = np.stack([lesion_weights(one) for one in self.labels])
        if self.emphasis is not None:
            weights = np.where(self.emphasis, EMPHASIS * weights, weights)
        self._weights = np.round(weights / _WEIGHT_STEP).astype(np.uint8)
        chances = np.array([_chance(one) for one in self.labels])
        if self.importance is not None:
            chances = chances * self.importance
        self.chances = chances / np.sum(chances)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Image (float32), labels, mask and cross-entropy weights (float32) of a random slice, each (rows, columns)."""
        n = int(rng.choice(len(self.images), p=self.chances))
        weights = self._weights[n] * np.float32(_WEIGHT_STEP)
        return dequantise(self.images[n]), self.labels[n], self.masks[n], weights

    def without(self, subjects: list[str]) -> Bank:
        """The bank without some subjects."""
        return self.part(~np.isin(self.subjects, subjects))

    def part(self, kept: np.ndarray) -> Bank:
        """The bank with some of its slices: indices, or bool of shape (n,)."""
        optional = (None if one is None else one[kept] for one in (self.importance, self.emphasis))
        return Bank(self.images[kept], self.labels[kept], self.masks[kept], self.subjects[kept], *optional)


def _chance(labels: np.ndarray) -> float:
    """Sampling weight of a slice, relative to one without any class."""
    lesions = labels == LESION
    if lesions.any():
        components, _ = ndimage.label(lesions, np.ones((3, 3)))
        small = (np.bincount(components.ravel())[1:] <= SMALL_LESION_PIXELS).any()
        return CHANCE_OF_SMALL_LESIONS if small else CHANCE_OF_FOREGROUND
    return CHANCE_OF_FOREGROUND if np.isin(labels, (VENTRICLES, NORMAL_WMH)).any() else 1.0


def bank_of(cases: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> Bank:
    """A bank of framed cases: (subject, images, labels, masks), the arrays of shape (slices, rows, columns)."""
    subjects = np.concatenate([[name] * len(images) for name, images, *_ in cases])
    images, labels, masks = (np.concatenate([case[n] for case in cases]) for n in (1, 2, 3))
    return Bank(quantise(images), labels.astype(np.uint8), masks.astype(bool), subjects)


def place_crop(
    rng: np.random.Generator, labels: np.ndarray, mask: np.ndarray, weights: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Middle (row, column) of a crop: near a foreground pixel, small lesions first, else anywhere in the brain."""
    foreground = np.flatnonzero(np.isin(labels, (VENTRICLES, NORMAL_WMH, LESION)))
    if len(foreground) and rng.random() < ON_FOREGROUND:
        chances = np.where(labels.ravel()[foreground] == LESION, 2.0, 1.0) * weights.ravel()[foreground] ** 2
        chosen = rng.choice(foreground, p=chances / chances.sum())
    else:
        inside = np.flatnonzero(mask)
        chosen = rng.choice(inside) if len(inside) else labels.size // 2
    place = np.array(np.unravel_index(chosen, labels.shape), float)
    return place + rng.uniform(-OFF_CENTRE, OFF_CENTRE, 2) * size


def crops(
    images: torch.Tensor, centres: torch.Tensor, size: tuple[int, int], geometry: Geometry, rng: torch.Generator
) -> torch.Tensor:
    """Sampling grids of rotated, sheared, zoomed and mirrored crops.

    Parameters
    ----------
    images : Tensor, shape (N, channels, H, W)
    centres : Tensor, shape (N, 2)
        Middle (row, column) of each crop; moved so that at most a quarter of the crop is outside the picture.
    size : tuple of int
        (rows, columns) of the crop.

    Returns
    -------
    Tensor, shape (N, rows, columns, 2)
        For ``grid_sample`` with ``align_corners=False``.
    """
    count, (height, width), (rows, columns) = len(images), images.shape[2:], size

    def draw(limit: float) -> torch.Tensor:
        return (torch.rand(count, generator=rng) * 2 - 1) * limit

    turn, shear = draw(math.radians(geometry.rotation_deg)), torch.tan(draw(math.radians(geometry.shear_deg)))
    scale = torch.exp(draw(math.log1p(geometry.zoom)))
    flip = torch.where(torch.rand(count, generator=rng) < 0.5 * geometry.flip, -1.0, 1.0)
    cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
    row = torch.maximum(torch.minimum(centres[:, 0], torch.tensor(height - rows / 4)), torch.tensor(rows / 4))
    column = torch.maximum(torch.minimum(centres[:, 1], torch.tensor(width - columns / 4)), torch.tensor(columns / 4))
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = cos * flip * columns / width
    theta[:, 0, 1] = (cos * shear - sin) * rows / width
    theta[:, 1, 0] = sin * flip * columns / height
    theta[:, 1, 1] = (sin * shear + cos) * rows / height
    theta[:, 0, 2] = 2 * (column + 0.5) / width - 1
    theta[:, 1, 2] = 2 * (row + 0.5) / height - 1
    return functional.affine_grid(theta, [count, 1, rows, columns], align_corners=False)


def draw_crops(
    banks: list[Bank],
    size: tuple[int, int],
    geometry: Geometry,
    altered: float,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A batch of one augmented crop of a random slice of each bank.

    Pixels from outside have the slice's lowest value and are of unknown class where the slice's own air is.

    Returns
    -------
    images : Tensor of float32, shape (N, 1, rows, columns)
    labels : Tensor of int64, shape (N, rows, columns)
    weights : Tensor of float32, shape (N, rows, columns)
    """
    drawn = [bank.draw(rng) for bank in banks]
    centres = torch.from_numpy(
        np.stack([place_crop(rng, labels, mask, weights, size) for _, labels, mask, weights in drawn])
    ).float()
    parts = [torch.from_numpy(np.stack(part)).float()[:, None] for part in zip(*drawn, strict=True)]
    images, labels, masks, weights = parts
    grid = crops(images, centres, size, geometry, generator)
    air = images.amin((1, 2, 3), keepdim=True)
    moved = functional.grid_sample(images - air, grid, align_corners=False) + air
    # One is added so that pixels from outside, 0, differ from class 0.
    layers = torch.cat([labels + 1, masks, weights], 1)
    labels, masks, weights = torch.split(
        functional.grid_sample(layers, grid, mode="nearest", align_corners=False), 1, 1
    )
    outside = labels < 0.5
    labels = torch.where(outside, torch.zeros(()), labels - 1).long()[:, 0]
    whole_unknown = torch.tensor([bool((one[1] >= NO_LESION).any()) for one in drawn])
    labels[whole_unknown] = torch.where(outside[whole_unknown, 0], UNKNOWN, labels[whole_unknown])
    weights = torch.where(outside, torch.ones(()), weights)[:, 0]
    if altered:
        changed = intensity(moved, masks, generator)
        chosen = torch.rand(len(moved), generator=generator) < altered
        moved = torch.where(chosen[:, None, None, None], changed, moved)
    return moved, labels, weights
