"""Export a checkpoint to ONNX with its card, and compare it with PyTorch.

``python -m training.export --config CONFIG --checkpoint last.pt --output models/<id> --card card-fields.json``
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.onnx import symbolic_helper

from .config import TrainingConfig, load_config
from .networks import build_network

#: Version of the ONNX operator set.
OPSET = 17
#: Maximum accepted difference of class probabilities between PyTorch and ONNX.
TOLERANCE = 1e-4
#: The same for real slices: where skull stripping leaves few pixels, channels are nearly constant and instance norm
#: amplifies rounding errors of single precision three hundred times.
TOLERANCE_ON_SLICES = 5e-4
#: Smaller tensors (norms, biases) stay in single precision: they take little space and matter for accuracy.
SMALLEST_HALVED = 1024
#: Normalisations to the range 0..1; the others are centred on 0 with a standard deviation of about 2 at most.
UNIT_RANGE = ("divide-255", "minmax", "periphery")
#: ``output`` of a card -> probabilities from the network's output; gray levels are compared unchanged.
READINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": partial(torch.softmax, dim=1),
    "sigmoid": torch.sigmoid,
    "gray": torch.clone,
}


def export_onnx(
    network: torch.nn.Module,
    shape: tuple[int, int, int],
    path: Path,
    half: bool = False,
    unit_range: bool = False,
    output: str = "sigmoid",
) -> float:
    """Export a network with a dynamic batch axis; return the largest difference of its probabilities from PyTorch's.

    Parameters
    ----------
    network : Module
    shape : tuple of int
        (channels, rows, columns) of the input.
    path : Path
    half : bool
        Store the weights in half precision.
    unit_range : bool
        Compare on input values 0..1 instead of values around 0. With input outside the range of training, batch norm
        gives values too large for a comparison to four decimals in single precision.
    output : str
        A key of :data:`READINGS`.

    Raises
    ------
    RuntimeError
        If probabilities of ONNX and PyTorch differ by more than :data:`TOLERANCE`.
    """
    network = network.eval().float().to(memory_format=torch.contiguous_format)
    shipped = centre_instance_norms(copy.deepcopy(network))
    example = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    torch.onnx.register_custom_op_symbolic("aten::pixel_unshuffle", space_to_depth, OPSET)
    torch.onnx.export(
        shipped,
        (example,),
        str(path),
        input_names=["image"],
        output_names=["output"],
        dynamic_axes={"image": {0: "batch"}, "output": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
        # Keep batch norm as a node: folded into a convolution, its weights would be rounded once more.
        do_constant_folding=not half,
        training=torch.onnx.TrainingMode.PRESERVE if half else torch.onnx.TrainingMode.EVAL,
    )
    if half:
        store_half(path)
    generator = torch.Generator().manual_seed(1)
    probe = (
        torch.rand(3, *shape, generator=generator) if unit_range else torch.randn(3, *shape, generator=generator) * 2
    )
    return largest_difference(network, path, probe, output=output)


def space_to_depth(graph: Any, image: Any, factor: Any) -> Any:
    """ONNX operator for ``pixel_unshuffle``, instead of reshapes that fix the size of the frame.

    Raises
    ------
    ValueError
        For several input channels, which ONNX and PyTorch order differently.
    """
    if symbolic_helper._get_tensor_dim_size(image, 1) != 1:
        raise ValueError("pixel_unshuffle is exported for one channel alone")
    return graph.op("SpaceToDepth", image, blocksize_i=symbolic_helper._parse_arg(factor, "i"))


class CentredInstanceNorm(nn.Module):
    """Instance norm of centred features: mathematically the same, more accurate in onnxruntime's single precision.

    On skull-stripped slices, the difference of probabilities from PyTorch is 0.0003 instead of 0.003.
    """

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised features (N, channels, H, W)."""
        return self.norm(image - image.mean((2, 3), keepdim=True))


def centre_instance_norms(network: nn.Module) -> nn.Module:
    """Replace every instance norm of a network by a :class:`CentredInstanceNorm`, in place."""
    for name, child in network.named_children():
        if isinstance(child, nn.InstanceNorm2d):
            setattr(network, name, CentredInstanceNorm(child))
        elif not isinstance(child, CentredInstanceNorm):  # A module may occur twice.
            centre_instance_norms(child)
    return network


def largest_difference(
    network: torch.nn.Module,
    path: Path,
    images: torch.Tensor,
    tolerance: float = TOLERANCE,
    output: str = "sigmoid",
) -> float:
    """Largest difference of probabilities (or gray levels) between PyTorch and an exported model.

    Parameters
    ----------
    network : Module
        In single precision.
    path : Path
        The ``.onnx`` file.
    images : Tensor, shape (N, channels, rows, columns)
    tolerance : float
        Maximum accepted difference.
    output : str
        A key of :data:`READINGS`.

    Raises
    ------
    RuntimeError
        If the difference exceeds ``tolerance``.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    read, largest = READINGS[output], 0.0
    for image in images:
        with torch.inference_mode():
            ours = network.eval()(image[None])
        theirs = torch.from_numpy(session.run(None, {"image": image[None].numpy()})[0])
        largest = max(largest, float((read(ours) - read(theirs)).abs().max()))
    if largest > tolerance:
        raise RuntimeError(f"ONNX differs from PyTorch by {largest:.2g}")
    return largest


def store_half(path: Path) -> None:
    """Store the weights of an ONNX file in half precision, with a cast to float32 when the model is loaded.

    Exact only for weights rounded by :func:`round_to_half`; computation stays in float32.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALLEST_HALVED:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@torch.no_grad()
def round_to_half(network: torch.nn.Module) -> torch.nn.Module:
    """Round the weights that :func:`store_half` converts to half precision, in place."""
    for parameter in network.parameters():
        if parameter.numel() >= SMALLEST_HALVED:
            parameter.copy_(parameter.half().float())
    return network


def write_model(config: TrainingConfig, network: torch.nn.Module, folder: Path, card: dict) -> float:
    """Write ``model.onnx`` and ``card.json`` to a folder.

    Parameters
    ----------
    config : TrainingConfig
    network : Module
        Rounded in place if the recipe asks for half precision.
    folder : Path
    card : dict
        Fields of the card; weights (with sha256) and pipeline are added.

    Returns
    -------
    float
        Largest difference of probabilities from PyTorch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.onnx"
    rows, columns = config.pipeline["frame_size"]
    if config.half_weights:
        round_to_half(network)
    shape = (config.pipeline["input_slices"], rows, columns)
    unit_range = config.pipeline["normalisation"] in UNIT_RANGE
    difference = export_onnx(network, shape, model, config.half_weights, unit_range, config.pipeline["output"])
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    parameters = int(np.sum([p.numel() for p in network.parameters()]))
    weights = {"file": model.name, "sha256": digest, "bytes": model.stat().st_size, "parameters": parameters}
    card = {**card, "weights": weights, "pipeline": config.pipeline}
    (folder / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return difference


def load_average(config: TrainingConfig, checkpoint: Path) -> torch.nn.Module:
    """Network with the averaged weights of a checkpoint."""
    network = build_network(config)
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["ema"])
    return network


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--card", type=Path, required=True, help="JSON with the fields of the card except weights and pipeline"
    )
    parser.add_argument("--result", type=Path, action="append", default=[], help="measured results (JSON), repeatable")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    card = json.loads(arguments.card.read_text(encoding="utf-8"))
    card["results"] = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.result]
    difference = write_model(config, load_average(config, arguments.checkpoint), arguments.output, card)
    print(f"{arguments.output}: largest difference from PyTorch {difference:.2g}")


if __name__ == "__main__":
    main()
