"""The device on which an adaptation trains: an NVIDIA GPU if PyTorch can use one with enough free memory, else the CPU.

Weights are exported from the CPU, and every training begins and ends there, so that a run may be resumed on another
device. On a GPU cuDNN is set to its deterministic algorithms; a few other operations still sum in any order, so that
two runs may differ in the last digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..errors import CaseWarning, DeviceError
from ..segmentation.inference import DEVICES

#: Free GPU memory required, bytes: a batch of crops and a few whole slices of the largest default network.
MEMORY = 3 * 2**30


@dataclass(frozen=True)
class TrainingDevice:
    """Where and how precisely the network is trained.

    Attributes
    ----------
    place : torch.device
    name : str
        For the card: ``CPU``, or the GPU's model.
    half : torch.dtype or None
        Type of the convolutions; None for float32.
    warning : CaseWarning or None
        Why it is not the requested device.
    """

    place: torch.device
    name: str
    half: torch.dtype | None
    warning: CaseWarning | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether it is another device than the CPU."""
        return str(self.place.type) != "cpu"


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware; emulated it takes twice the time of float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def on_cpu(warning: CaseWarning | None = None) -> TrainingDevice:
    """The CPU."""
    return TrainingDevice(torch.device("cpu"), "CPU", torch.bfloat16 if has_bf16() else None, warning)


def choose_device(wanted: str = "auto") -> TrainingDevice:
    """The device of a training.

    bf16 on GPUs that have it; older ones train in float32, since fp16 would need scaled losses and gains little with
    networks of this size.

    Parameters
    ----------
    wanted : str
        ``auto``, ``cpu`` or ``cuda``. Where CUDA is requested and cannot be used, the CPU trains, with a warning.

    Raises
    ------
    DeviceError
        If there is no device of that name.
    """
    if wanted not in DEVICES:
        raise DeviceError(f"There is no device {wanted}.", f"Choose one of {', '.join(DEVICES)}.")
    if wanted == "cpu":
        return on_cpu()
    lacks = _lacks()
    if lacks:
        text = f"CUDA was requested for the training but is not available ({lacks}); the CPU was used."
        return on_cpu(CaseWarning(text, "device-fallback") if wanted == "cuda" else None)
    place = torch.device("cuda", torch.cuda.current_device())
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return TrainingDevice(place, torch.cuda.get_device_name(place), torch.bfloat16 if bf16 else None)


def _lacks() -> str:
    """Why CUDA cannot be used; empty if it can."""
    if not torch.cuda.is_available():
        return "this PyTorch is without CUDA, or found no GPU"
    try:
        free, _ = torch.cuda.mem_get_info()
    except RuntimeError as error:
        return str(error).splitlines()[0][:120]
    if free < MEMORY:
        return f"{free / 2**30:.1f} GB of GPU memory are free, {MEMORY / 2**30:.0f} GB are required"
    return ""


@contextmanager
def deterministic() -> Iterator[None]:
    """CuDNN's deterministic algorithms while a network is trained."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
