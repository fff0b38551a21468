"""The U-Nets that can be adapted where they are used; training has others besides (``networks.py`` there)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


class PlainUNet(nn.Module):
    """The U-Net of S3, S4, S5 and the default.

    Two 3 x 3 convolutions and ReLU a level, 2 x 2 max pool on the way down, transposed convolution on the way up.

    Parameters
    ----------
    inputs, outputs : int
        Input slices; logits.
    width : int
        Filters of the first level; they double from level to level.
    levels : int
        Number of downsampling steps.
    batch_norm : bool
        Batch norm before each ReLU (S3).
    dropout : float
        Share of features dropped (S3 0.1, S5 0.2); 0 for none (S4).
    dropout_at : str
        ``convolutions``: after each of them (S5); ``levels``: of what enters each level, on the way down and up (S3).
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        width: int = 16,
        levels: int = 4,
        batch_norm: bool = False,
        dropout: float = 0.0,
        dropout_at: str = "convolutions",
    ) -> None:
        super().__init__()
        if dropout_at not in ("convolutions", "levels"):
            raise ValueError(f"dropout_at is {dropout_at!r}, not convolutions or levels")
        after_each = dropout > 0 and dropout_at == "convolutions"
        widths = [width * 2**level for level in range(levels + 1)]

        def block(source: int, target: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (source, target):
                layers.append(nn.Conv2d(channels, target, 3, padding=1, bias=not batch_norm))
                layers += [nn.BatchNorm2d(target)] * batch_norm
                layers.append(nn.ReLU(inplace=True))
                layers += [nn.Dropout(dropout)] * after_each
            return nn.Sequential(*layers)

        self.encoder = nn.ModuleList(block(*pair) for pair in zip([inputs, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(deep, shallow, 2, 2) for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.decoder = nn.ModuleList(block(2 * channels, channels) for channels in widths[-2::-1])
        self.last = nn.Conv2d(width, outputs, 1)
        self.dropout = nn.Dropout(0.0 if after_each else dropout)
        self.apply(_he_init)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, outputs, H, W) of images (N, inputs, H, W); H and W are multiples of 2 ** levels."""
        skips, features = [], image
        for level, block in enumerate(self.encoder):
            if level:
                features = self.dropout(functional.max_pool2d(features, 2))
            features = block(features)
            skips.append(features)
        for up, block, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            features = block(self.dropout(torch.cat([up(features), skip], 1)))
        out: torch.Tensor = self.last(features)
        return out


class LightUNet(nn.Module):
    """A U-Net whose first level works at half resolution: four pixels come in, and four leave, as channels of one.

    Unlike pooling this loses nothing, and it removes a U-Net's most expensive level. Two 3 x 3
    convolutions and ReLU a level on the way down, one on the way up; no norm, so that it may learn from crops.

    Parameters
    ----------
    inputs, outputs : int
        Input slices; logits.
    widths : sequence of int
        Filters of each level, from half resolution down.
    """

    def __init__(self, inputs: int = 1, outputs: int = 4, widths: Sequence[int] = (32, 64, 96, 128)) -> None:
        super().__init__()

        def block(source: int, target: int, count: int) -> nn.Sequential:
            channels = [source, *[target] * count]
            convolutions = [nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels)]
            return nn.Sequential(*(layer for one in convolutions for layer in (one, nn.ReLU(inplace=True))))

        widths = list(widths)
        self.encoder = nn.ModuleList(block(a, b, 2) for a, b in pairwise([4 * inputs, *widths]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, wide, 2, 2) for wide, deep in reversed(list(pairwise(widths))))
        self.decoder = nn.ModuleList(block(2 * width, width, 1) for width in widths[-2::-1])
        self.last = nn.Conv2d(widths[0], 4 * outputs, 1)
        self.apply(_he_init)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, outputs, H, W) of images (N, inputs, H, W); H and W are multiples of 2 ** levels."""
        skips, features = [], functional.pixel_unshuffle(image, 2)
        for level, block in enumerate(self.encoder):
            features = block(functional.max_pool2d(features, 2) if level else features)
            skips.append(features)
        for up, block, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            features = block(torch.cat([up(features), skip], 1))
        return functional.pixel_shuffle(self.last(features), 2)


def _he_init(module: nn.Module) -> None:
    """He initialisation (S3 names it)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
