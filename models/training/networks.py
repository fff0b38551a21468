"""Network architectures of the recipes."""

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
        How often the picture is halved.
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
        return self.last(features)


class LightUNet(nn.Module):
    """A U-Net whose first level works at half resolution: four pixels come in, and four leave, as channels of one.

    Nothing is lost by that (unlike by pooling), and the level that costs most in a U-Net is gone. Two 3 x 3
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


class NnUNet2D(nn.Module):
    """S2's network, built by nnU-Net's own library (``dynamic-network-architectures``) from nnU-Net's own plan.

    Parameters
    ----------
    inputs, outputs : int
        Input slices; logits.
    features : sequence of int
        Features of each stage, finest first.
    strides : sequence of int
        Stride into each stage.
    kernel : int
        Side of the kernels.
    convolutions : int
        Convolutions a stage, on the way down and up alike.
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 2,
        features: Sequence[int] = (32, 64),
        strides: Sequence[int] = (1, 2),
        kernel: int = 3,
        convolutions: int = 2,
    ) -> None:
        super().__init__()
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
        from dynamic_network_architectures.initialization.weight_init import InitWeights_He

        self.body = PlainConvUNet(
            inputs, len(features), list(features), nn.Conv2d, kernel, list(strides), convolutions, outputs,
            convolutions, conv_bias=True, norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=True,
        )  # fmt: skip
        self.body.apply(InitWeights_He(1e-2))

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Logits (N, outputs, H, W); in training those of every resolution, finest first."""
        self.body.decoder.deep_supervision = self.training
        return self.body(image)


class Pix2PixGenerator(nn.Module):
    """S1's generator: U-Net of 8 down and 7 + 1 up blocks, one gray-level output in [0, 1].

    Down: 4 x 4 stride-2 convolution, batch norm, leaky ReLU; up: transposed convolution, batch norm, dropout on the
    first three, ReLU; skips. Pix2pix trains and runs with the statistics of its batch of one image, so its batch norm
    is written here as the instance norm that it amounts to. Channels are ``width`` times 1, 2, 4, 8, 8, 8, 8, 8 (width
    64 as published).
    """

    def __init__(self, inputs: int = 1, outputs: int = 1, width: int = 64) -> None:
        super().__init__()
        channels = [width * m for m in (1, 2, 4, 8, 8, 8, 8, 8)]
        self.down = nn.ModuleList()
        for level, (source, target) in enumerate(zip([inputs, *channels[:-1]], channels, strict=True)):
            normalise = 0 < level < 7
            layers: list[nn.Module] = [nn.Conv2d(source, target, 4, 2, 1, bias=not normalise)]
            if normalise:
                layers.append(nn.InstanceNorm2d(target, affine=True))
            self.down.append(nn.Sequential(*layers, nn.LeakyReLU(0.2)))
        self.up = nn.ModuleList()
        source = channels[-1]
        for level, target in enumerate(channels[-2::-1]):
            layers = [nn.ConvTranspose2d(source, target, 4, 2, 1, bias=False), nn.InstanceNorm2d(target, affine=True)]
            if level < 3:
                layers.append(nn.Dropout(0.5))
            self.up.append(nn.Sequential(*layers, nn.ReLU()))
            source = 2 * target
        self.last = nn.ConvTranspose2d(source, outputs, 4, 2, 1)
        _pix2pix_init(self, width)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Gray levels (N, 1, 256, 256) in [0, 1] of images (N, inputs, 256, 256)."""
        skips, features = [], image
        for block in self.down:
            features = block(features)
            skips.append(features)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            features = torch.cat([block(features), skip], 1)
        return torch.sigmoid(self.last(features))


class PatchDiscriminator(nn.Module):
    """S1's PatchGAN on (image, mask): logits of overlapping 70 x 70 patches."""

    def __init__(self, inputs: int = 2, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for source, target, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [
                nn.Conv2d(width * source, width * target, 4, stride, 1, bias=False),
                nn.InstanceNorm2d(width * target, affine=True),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*layers, nn.Conv2d(width * 8, 1, 4, 1, 1))
        _pix2pix_init(self, width)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Patch logits of image-mask pairs, each (N, 1, H, W)."""
        return self.body(torch.cat([image, mask], 1))


def _he_init(module: nn.Module) -> None:
    """He initialisation (S3 names it)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _pix2pix_init(network: nn.Module, width: int) -> None:
    """Normal initialisation with deviation 0.02, as pix2pix (Isola et al. 2017) does at 64 first filters.

    A narrower network sums over fewer channels: its weights start larger, so that signals do not.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02 * (64 / width) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
