"""Floating-point operations of a recipe's network per case: ``python -m training.flops --config CONFIG``.

Multiplications and additions of convolutions (two per weight and output pixel) for slices of the card's frame, twice if
the card averages with the mirror image. Activations and pooling, about 1 %, are not counted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from .config import TrainingConfig, load_config
from .networks import build_network

#: Slices of a case, as of the Tabriz scanner and the digital phantom.
SLICES = 20


@torch.inference_mode()
def multiplications(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiplications in all convolutions for one slice.

    Parameters
    ----------
    network : Module
    shape : tuple of int
        (channels, rows, columns) of the input.
    """
    total = 0

    def count(layer: nn.Module, given: tuple[torch.Tensor], answer: torch.Tensor) -> None:
        nonlocal total
        # Weights of a transposed convolution are applied once per input pixel, those of others once per output pixel.
        pixels = given[0] if isinstance(layer, nn.ConvTranspose2d) else answer
        total += pixels[0].numel() * layer.weight[0].numel()

    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    network.eval()(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return total


def gflop_of_case(config: TrainingConfig, slices: int = SLICES) -> float:
    """Operations for a case of ``slices`` slices, in GFLOP."""
    shape = (config.pipeline["input_slices"], *config.pipeline["frame_size"])
    passes = 2 if config.pipeline.get("flip_average") else 1
    return 2 * multiplications(build_network(config), shape) * passes * slices / 1e9


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, action="append", required=True, help="may be repeated")
    arguments = parser.parse_args()
    for path in arguments.config:
        config = load_config(path)
        print(f"{config.name}: {gflop_of_case(config):.1f} GFLOP for {SLICES} slices")


if __name__ == "__main__":
    main()
