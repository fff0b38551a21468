"""Augmentation of training batches, on tensors, seeded by torch's generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

#: Share of cropped slices that are placed on a foreground pixel; nnU-Net takes a third, of larger patches.
ON_FOREGROUND = 2 / 3


def _uniform(generator: torch.Generator, count: int, low: float, high: float) -> torch.Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


@dataclass(frozen=True)
class Geometry:
    """Ranges of a recipe's augmentation; each is drawn evenly from minus to plus.

    Attributes
    ----------
    rotation_deg, shear_deg : float
    zoom, shift : float
        Shares of the picture's size.
    flip : bool
        Mirror left and right every other time.
    """

    rotation_deg: float = 0.0
    shear_deg: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    flip: bool = False


def geometric(
    images: torch.Tensor, labels: torch.Tensor, geometry: Geometry, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate, shear, zoom, shift and flip by a recipe, the same for image and label.

    Parameters
    ----------
    images : Tensor, shape (N, channels, H, W)
        Pixels from outside have the picture's lowest value: air.
    labels : Tensor of int64, shape (N, H, W)
        Class values 0..3.
    geometry : Geometry
    generator : torch.Generator

    Returns
    -------
    tuple of Tensor
        Images and labels.
    """
    count, _, height, width = images.shape
    turn = _uniform(generator, count, -1, 1) * math.radians(geometry.rotation_deg)
    shear = torch.tan(_uniform(generator, count, -1, 1) * math.radians(geometry.shear_deg))
    scale = 1 + _uniform(generator, count, -1, 1) * geometry.zoom
    shift = _uniform(generator, 2 * count, -2, 2).view(count, 2) * geometry.shift
    flip = torch.where(torch.rand(count, generator=generator) < 0.5 * geometry.flip, -1.0, 1.0)
    cos, sin, aspect = torch.cos(turn), torch.sin(turn), height / width
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = cos / scale * flip
    theta[:, 0, 1] = (cos * shear - sin) / scale * aspect
    theta[:, 1, 0] = sin / scale / aspect * flip
    theta[:, 1, 1] = (sin * shear + cos) / scale
    theta[:, :, 2] = shift
    grid = functional.affine_grid(theta, [count, 1, height, width], align_corners=False)
    air = images.amin((1, 2, 3), keepdim=True)
    moved = functional.grid_sample(images - air, grid, mode="bilinear", align_corners=False) + air
    onehot = functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()[:, 1:]
    soft = functional.grid_sample(onehot, grid, mode="bilinear", align_corners=False)
    return moved, torch.cat([1 - soft.sum(1, keepdim=True), soft], 1).argmax(1)


def crop(
    images: torch.Tensor, labels: torch.Tensor, size: tuple[int, int], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random part of each slice, two times in three around one of its foreground pixels.

    Parameters
    ----------
    images : Tensor, shape (N, channels, H, W)
    labels : Tensor of int64, shape (N, H, W)
    size : tuple of int
        (rows, columns) of the part; not larger than the slice.
    generator : torch.Generator

    Returns
    -------
    tuple of Tensor
        Images (N, channels, rows, columns) and labels (N, rows, columns).
    """
    count, _, height, width = images.shape
    rows, columns = size
    parts, targets = [], []
    for n in range(count):
        chance, *place = torch.rand(3, generator=generator).tolist()
        top, left = int(place[0] * (height - rows + 1)), int(place[1] * (width - columns + 1))
        foreground = labels[n].nonzero()
        if chance < ON_FOREGROUND and len(foreground):
            row, column = foreground[int(torch.randint(len(foreground), (1,), generator=generator))].tolist()
            top = min(max(row - int(place[0] * rows), 0), height - rows)
            left = min(max(column - int(place[1] * columns), 0), width - columns)
        parts.append(images[n, :, top : top + rows, left : left + columns])
        targets.append(labels[n, top : top + rows, left : left + columns])
    return torch.stack(parts), torch.stack(targets)


def intensity(images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random skull stripping, gain, gamma, bias field, blur, noise, slice gain, and replicated neighbours.

    Parameters
    ----------
    images : Tensor, shape (N, channels, H, W)
        Intensities normalised by the brain's median, ``(signal / median - 1) / 0.2``.
    masks : Tensor of float, shape (N, 1, H, W)
    """
    count, channels, height, width = images.shape
    shape = (count, 1, 1, 1)

    def chance(probability: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) < probability).float().view(shape)

    signal = (images * 0.2 + 1).clamp(min=0)
    stripped = chance(0.3)
    signal = signal * (1 - stripped * (masks < 0.5).float())
    gamma = torch.exp(_uniform(generator, count, math.log(0.7), math.log(1.45))).view(shape)
    signal = torch.where(chance(0.5) > 0, signal.clamp(min=1e-4) ** gamma, signal)
    rows = torch.linspace(-1, 1, height).view(1, 1, -1, 1)
    columns = torch.linspace(-1, 1, width).view(1, 1, 1, -1)
    weights = torch.randn(count, 5, generator=generator) * 0.1
    field = sum(
        weights[:, n].view(shape) * term
        for n, term in enumerate((rows, columns, rows * columns, rows**2 - 0.33, columns**2 - 0.33))
    )
    signal = signal * torch.exp(field * chance(0.6))
    signal = signal * torch.exp(_uniform(generator, count, -0.12, 0.12)).view(shape)
    signal = signal * (1 + 0.03 * torch.randn(count, channels, 1, 1, generator=generator))
    blurred = functional.avg_pool2d(functional.pad(signal, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = _uniform(generator, count, -0.6, 0.8).view(shape) * chance(0.4)
    signal = signal + amount * (blurred - signal)  # negative amounts sharpen
    sigma = _uniform(generator, count, 0.0, 0.09).view(shape) * chance(0.5)
    signal = signal + sigma * torch.randn(signal.shape, generator=generator)
    # Signal outside the skull-stripped brain stays exactly zero, as it is in such files.
    signal = signal.clamp(min=0) * (1 - stripped * (masks < 0.5).float())
    if channels == 3:
        alone = (torch.rand(count, generator=generator) < 0.08).view(shape)
        signal = torch.where(alone, signal[:, 1:2].expand_as(signal), signal)
    return ((signal - 1) / 0.2).clamp(-6, 8)
