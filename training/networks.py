"""Network architectures of the recipes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from flairseg.adapt.networks import LightUNet, PlainUNet
from torch import nn

from .config import CONFIGS, TrainingConfig, load_config


def build_network(config: TrainingConfig) -> nn.Module:
    """Untrained network of a recipe."""
    if config.network["kind"] == "mean":
        return MeanNetwork(build_network(load_config(CONFIGS / f"{name}.json")) for name in config.network["recipes"])
    arguments = {key: value for key, value in config.network.items() if key != "kind"}
    kinds = {"pix2pix": Pix2PixGenerator, "unet": PlainUNet, "nnunet2d": NnUNet2D, "light": LightUNet}
    return kinds[config.network["kind"]](**arguments)


class MeanNetwork(nn.Module):
    """Mean of the class probabilities (softmax) of several networks.

    Parameters
    ----------
    members : iterable of Module
        Each returns logits (N, classes, H, W) for images (N, inputs, H, W).
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logarithm of the mean probabilities, as logits: Tensor, shape (N, classes, H, W)."""
        answers = torch.stack([torch.log_softmax(member(image), 1) for member in self.members])
        return torch.logsumexp(answers, 0) - math.log(len(self.members))


class NnUNet2D(nn.Module):
    """Network of S2, built by nnU-Net's library (``dynamic-network-architectures``) from a plan of nnU-Net.

    Parameters
    ----------
    inputs, outputs : int
        Input slices; output channels.
    features : sequence of int
        Features of each stage, finest resolution first.
    strides : sequence of int
        Stride at the start of each stage.
    kernel : int
        Kernel size.
    convolutions : int
        Convolutions per stage of encoder and decoder.
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
        """Logits (N, outputs, H, W); in training a list over resolutions, finest first."""
        self.body.decoder.deep_supervision = self.training
        return self.body(image)


class Pix2PixGenerator(nn.Module):
    """Generator of S1: U-Net with 8 encoder and 7 + 1 decoder blocks and one gray-level output in [0, 1].

    Encoder: 4 x 4 convolution with stride 2, batch norm, leaky ReLU; decoder: transposed convolution, batch norm,
    dropout in the first three blocks, ReLU; skip connections. Pix2pix uses the statistics of a batch of one image in
    training and inference: its batch norm is equivalent to the instance norm used here.

    Parameters
    ----------
    inputs, outputs : int
        Input slices; output channels.
    width : int
        Channels are ``width`` times 1, 2, 4, 8, 8, 8, 8, 8; 64 as published.
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
    """PatchGAN discriminator of S1 on image and mask: logits of overlapping 70 x 70 patches."""

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


def _pix2pix_init(network: nn.Module, width: int) -> None:
    """Normal initialisation with standard deviation 0.02 as in pix2pix (Isola et al. 2017), for 64 first filters.

    Narrower networks sum over fewer channels: larger initial weights keep the variance of the signal.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02 * (64 / width) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
