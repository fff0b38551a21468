"""The benchmark's yardstick: a generator of S1's size (pix2pix U-Net, about 54 million parameters) with random weights.

Built with onnx alone: no PyTorch, no download. Batch normalisation is left out because at run time it folds into the
convolutions, which makes the yardstick faster, never slower, than the published network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

DOWN_CHANNELS = (64, 128, 256, 512, 512, 512, 512, 512)
UP_CHANNELS = (512, 512, 512, 512, 256, 128, 64)
SIZE = 256


def build_reference(path: Path, seed: int = 0) -> int:
    """Write the network as fp32 ONNX; input and output are (1, 1, 256, 256).

    Parameters
    ----------
    path : Path
        File to write (about 220 MB).
    seed : int
        Seed of the random weights, scaled as He et al. so that activations neither vanish nor overflow: denormal
        numbers would slow it down unfairly.

    Returns
    -------
    int
        Number of parameters.
    """
    random = np.random.default_rng(seed)
    nodes, weights = [], []

    def convolution(kind: str, source: str, inputs: int, outputs: int, name: str) -> str:
        shape = (outputs, inputs, 4, 4) if kind == "Conv" else (inputs, outputs, 4, 4)
        kernel = random.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2.0 / (16 * inputs)))
        weights.append(numpy_helper.from_array(kernel, f"{name}.weight"))
        weights.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"{name}.bias"))
        names = [source, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node(kind, names, [name], name, strides=[2, 2], pads=[1, 1, 1, 1]))
        return name

    def activation(kind: str, source: str, **attributes: float) -> str:
        nodes.append(helper.make_node(kind, [source], [f"{source}.{kind}"], **attributes))
        return f"{source}.{kind}"

    current, channels, skips = "image", 1, []
    for level, outputs in enumerate(DOWN_CHANNELS):
        current = activation("LeakyRelu", convolution("Conv", current, channels, outputs, f"down{level}"), alpha=0.2)
        skips.append((current, outputs))
        channels = outputs
    skips.pop()
    for level, outputs in enumerate(UP_CHANNELS):
        current = activation("Relu", convolution("ConvTranspose", current, channels, outputs, f"up{level}"))
        skip, skip_channels = skips.pop()
        nodes.append(helper.make_node("Concat", [current, skip], [f"join{level}"], axis=1))
        current, channels = f"join{level}", outputs + skip_channels
    mask = activation("Tanh", convolution("ConvTranspose", current, channels, 1, "mask"))

    shape = [1, 1, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "s1-size-generator",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(mask, TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, path)
    return sum(int(np.prod(weight.dims)) for weight in weights)
