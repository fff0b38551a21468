"""Export a checkpoint to ONNX beside its card, and check it against PyTorch.

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
from .train import build_network

#: Version of the ONNX operators.
OPSET = 17
#: Largest difference of class probabilities between PyTorch and ONNX that is accepted.
TOLERANCE = 1e-4
#: The same on real slices. Where skull stripping leaves hardly anything, channels are all but constant, and instance
#: norm magnifies the rounding of single precision three hundred times.
TOLERANCE_ON_SLICES = 5e-4
#: Tensors of fewer weights than this stay as they are: norms and biases weigh nothing and matter.
SMALLEST_HALVED = 1024
#: Normalisations that give values from 0 to 1; the others give values around 0, of a spread of about 2 at most.
UNIT_RANGE = ("divide-255", "minmax", "periphery")
#: A card's ``output`` -> probabilities of its logits; gray levels are compared as they are.
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
    """Write ``network`` with a dynamic batch axis and return the largest difference of its probabilities.

    Parameters
    ----------
    network : Module
    shape : tuple of int
        (channels, rows, columns) of the input.
    path : Path
    half : bool
        Store the weights in half precision.
    unit_range : bool
        Compare on values from 0 to 1, which is what the network sees, in place of values around 0. Batch norm that has
        learned the one makes numbers of the other that single precision cannot hold to four places.
    output : str
        How probabilities are read from the network's output (:data:`READINGS`).

    Raises
    ------
    RuntimeError
        If ONNX and PyTorch differ by more than 1e-4 in probability.
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
        # Batch norm stays a node of its own: folded into a convolution, its weights would be rounded once more.
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
    """ONNX's operator for ``pixel_unshuffle`` in place of reshapes, which hold the frame's size.

    Raises
    ------
    ValueError
        For several input channels: ONNX and PyTorch put them in another order.
    """
    if symbolic_helper._get_tensor_dim_size(image, 1) != 1:
        raise ValueError("pixel_unshuffle is exported for one channel alone")
    return graph.op("SpaceToDepth", image, blocksize_i=symbolic_helper._parse_arg(factor, "i"))


class CentredInstanceNorm(nn.Module):
    """Instance norm of what has been centred: the same, but that onnxruntime's single-precision sums do no harm.

    Its instance norm was 0.003 off PyTorch's in probability on skull-stripped slices; so it is 0.0003.
    """

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised features (N, channels, H, W)."""
        return self.norm(image - image.mean((2, 3), keepdim=True))


def centre_instance_norms(network: nn.Module) -> nn.Module:
    """Put a :class:`CentredInstanceNorm` in place of every instance norm, in place."""
    for name, child in network.named_children():
        if isinstance(child, nn.InstanceNorm2d):
            setattr(network, name, CentredInstanceNorm(child))
        elif not isinstance(child, CentredInstanceNorm):  # Modules may be held in two places.
            centre_instance_norms(child)
    return network


def largest_difference(
    network: torch.nn.Module,
    path: Path,
    images: torch.Tensor,
    tolerance: float = TOLERANCE,
    output: str = "sigmoid",
) -> float:
    """Largest difference of probabilities (or gray levels) between PyTorch and an exported model on some slices.

    Parameters
    ----------
    network : Module
        In single precision.
    path : Path
        The ``.onnx`` file.
    images : Tensor, shape (N, channels, rows, columns)
    tolerance : float
    output : str
        How probabilities are read from the network's output (:data:`READINGS`).

    Raises
    ------
    RuntimeError
        If they differ by more than that.
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
    """Keep a model's weights in half precision: half the file; they are cast back when the model is loaded.

    Only exact where the weights are representable so, see :func:`round_to_half`; the arithmetic stays float32.
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
    """Round the weights that :func:`store_half` stores to half precision, in place."""
    for parameter in network.parameters():
        if parameter.numel() >= SMALLEST_HALVED:
            parameter.copy_(parameter.half().float())
    return network


def write_model(config: TrainingConfig, network: torch.nn.Module, folder: Path, card: dict) -> float:
    """Write ``model.onnx`` and ``card.json`` (with its sha256 and pipeline) to ``folder``; return the difference."""
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
    """The network with the running average of a checkpoint's weights."""
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
        "--card", type=Path, required=True, help="JSON with the card's fields other than sha256 and pipeline"
    )
    parser.add_argument("--result", type=Path, action="append", default=[], help="measured results (JSON), repeatable")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    card = json.loads(arguments.card.read_text(encoding="utf-8"))
    card["results"] = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.result]
    difference = write_model(config, load_average(config, arguments.checkpoint), arguments.output, card)
    print(f"{arguments.output}: largest difference to PyTorch {difference:.2g}")


if __name__ == "__main__":
    main()
