"""Read weights of a model's ONNX file into the PyTorch network, and write them to a copy of that file.

No second file is needed to train a published model further: its exporter keeps PyTorch's names for the initialisers
(``training/export.py``; tensors stored in half precision end in ``_half`` and pass a Cast). An adapted model is its
parent's graph with other numbers in it, so that onnxruntime runs the same operations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import FlairSegError, InvalidModelError
from ..labels import CLASS_BY_VALUE
from ..models.card import ModelCard
from .networks import LightUNet, PlainUNet

#: Ending of the names of initialisers that are stored in half precision.
HALF = "_half"
#: Largest difference of the network's outputs between PyTorch and onnxruntime, relative to their spread.
TOLERANCE = 1e-3
_ELSEWHERE = "Adapt the default model, or one trained by the same recipe."


class NotTrainableError(FlairSegError):
    """The model cannot be trained further: its network or pipeline is not supported."""


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Initialisers of a model that are weights, under PyTorch's names, float32.

    Raises
    ------
    InvalidModelError
        If the file is not an ONNX model.
    """
    return {
        initializer.name.removesuffix(HALF): array.astype(np.float32)
        for initializer, array in _initializers(_load(path))
    }


def write_weights(parent: Path, weights: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a copy of an ONNX model with other weights, in the precision in which the parent stores them.

    Parameters
    ----------
    parent : Path
        The model whose graph is kept.
    weights : mapping of str to ndarray
        By PyTorch's names; every weight of the parent must be there in its shape.
    path : Path
        The new file.

    Raises
    ------
    InvalidModelError
        If weights are missing or have other shapes.
    """
    import onnx
    from onnx import numpy_helper

    model = _load(parent)
    for initializer, old in _initializers(model):
        new = weights.get(initializer.name.removesuffix(HALF))
        if new is None or new.shape != old.shape:
            raise InvalidModelError(f"The weights {initializer.name} do not fit the model {parent}.", _ELSEWHERE)
        initializer.CopyFrom(numpy_helper.from_array(new.astype(old.dtype), initializer.name))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def trainable_network(card: ModelCard) -> torch.nn.Module:
    """The PyTorch network of a model card with the weights of its ONNX file, compared with onnxruntime.

    Raises
    ------
    NotTrainableError
        If the network is none of :mod:`.networks`, its pipeline has stages that adaptation does not train for, or
        PyTorch and onnxruntime differ.
    InvalidModelError
        If the weights are not those of the card.
    """
    config = card.pipeline
    if card.members:
        raise NotTrainableError(f"{card.id} is an ensemble: its members are trained, not the vote.", _ELSEWHERE)
    suits = (
        config.input_slices == 1
        and config.normalisation == "brain-median"
        and config.output in ("softmax", "sigmoid")
        and config.logits
        and set(card.classes) == set(CLASS_BY_VALUE)
    )
    if not suits:
        raise NotTrainableError(
            f"{card.id} cannot be adapted: that requires single slices, brain-median normalisation and all classes.",
            _ELSEWHERE,
        )
    card.verify()
    weights = read_weights(card.path)
    network = _empty_network(weights, card)
    try:
        missing, unknown = network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    except RuntimeError as error:
        raise _other_kind(card) from error
    if unknown or [name for name in missing if not name.endswith("num_batches_tracked")]:
        raise _other_kind(card)
    if difference(network, card) > TOLERANCE:
        raise NotTrainableError(
            f"{card.id} gives different results in PyTorch and onnxruntime: its network is of another kind.", _ELSEWHERE
        )
    return network


def difference(network: torch.nn.Module, card: ModelCard) -> float:
    """Largest difference between PyTorch and onnxruntime on random slices, relative to the outputs' spread."""
    import onnxruntime

    rows, columns = card.pipeline.frame_size
    image = torch.randn(1, 1, rows, columns, generator=torch.Generator().manual_seed(1)) * 2
    session = onnxruntime.InferenceSession(str(card.path), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    training = network.training
    with torch.inference_mode():
        ours = network.eval()(image).numpy()
    network.train(training)
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).max() / max(float(theirs.std()), 1e-6))


def weights_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Weights and norm statistics of a network as arrays, under PyTorch's names."""
    return {
        name: value.detach().cpu().float().contiguous().numpy().copy()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _empty_network(weights: Mapping[str, np.ndarray], card: ModelCard) -> torch.nn.Module:
    """A network of the kind, depth and widths given by the weights' names and shapes."""
    names = [f"encoder.{level}.0.weight" for level in range(20) if f"encoder.{level}.0.weight" in weights]
    if len(names) < 2 or "last.weight" not in weights:
        raise _other_kind(card)
    widths = [weights[name].shape[0] for name in names]
    inputs, outputs = card.pipeline.input_slices, card.pipeline.output_channels
    if weights[names[0]].shape[1] == 4 * inputs and weights["last.weight"].shape[0] == 4 * outputs:
        return LightUNet(inputs, outputs, widths)
    norm = any(re.fullmatch(r"encoder\.0\.\d+\.running_mean", name) for name in weights)
    return PlainUNet(inputs, outputs, widths[0], len(names) - 1, batch_norm=norm)


def _other_kind(card: ModelCard) -> NotTrainableError:
    return NotTrainableError(f"The network of {card.id} is of a kind that cannot be adapted.", _ELSEWHERE)


def _load(path: Path) -> Any:
    import onnx

    try:
        return onnx.load(str(path))
    except Exception as error:
        raise InvalidModelError(f"{path} is not an ONNX model.", "Get the model again from its source.") from error


def _initializers(model: Any) -> list[tuple[Any, np.ndarray]]:
    """Floating-point initialisers with their arrays, in the file's order."""
    from onnx import numpy_helper

    pairs = [(one, numpy_helper.to_array(one)) for one in model.graph.initializer]
    return [(one, array) for one, array in pairs if array.dtype in (np.float16, np.float32)]
