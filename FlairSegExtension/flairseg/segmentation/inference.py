"""Run a model's ONNX network through onnxruntime, on the device that is really there.

onnxruntime is imported when a network is first needed: everything else of FlairSeg works without it. Sessions are kept,
so that the second case of a run finds the network warm.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CaseWarning, DeviceError, InvalidModelError, MissingDependencyError
from .cropping import GRID_PX
from .local_network import freed

if TYPE_CHECKING:
    from ..models.card import ModelCard

DEVICES = ("auto", "cpu", "cuda")
CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
#: Slices per call of the network. One on the CPU, where cores work on slices side by side: more only costs memory.
BATCH_SIZE = {"cpu": 1, "cuda": 16}
#: Cores that work side by side at the most; each needs memory for its slice.
MOST_WORKERS = 8
#: Sessions kept, unless more are reserved; the least recently used is dropped first.
KEPT_SESSIONS = 2
#: TF32 off and a fixed choice of algorithms, so that the GPU's labels are the CPU's.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


@dataclass(frozen=True)
class _Session:
    """An onnxruntime session with the provider that it really got and its input's name."""

    runtime: Any
    provider: str
    input_name: str
    output_name: str
    batch: int | None
    any_size: bool = False


_sessions: OrderedDict[tuple[str, str, bool], _Session] = OrderedDict()
_reserved = 0
_limit: int | None = None
_lock = threading.Lock()


class Generator:
    """A model ready to run.

    Parameters
    ----------
    card : ModelCard
        The model card, which defines network, input and output.
    device : str
        ``auto`` (CUDA if it works, else the CPU), ``cpu`` or ``cuda``.
    threads : int, optional
        Batches to run side by side on the CPU; default all cores that this process may use. The labels do not depend on
        it: every batch runs in one thread.

    Attributes
    ----------
    used : str
        ``cpu`` or ``cuda``: what really runs.
    provider : str
        onnxruntime's name of it.
    warnings : list of str
        Why it is not the requested device, if so.

    Raises
    ------
    DeviceError
        If the device's name is unknown, or not even the CPU can run the network.
    InvalidModelError
        If the file is not the network its card describes, or not ONNX.
    MissingDependencyError
        If onnxruntime is not installed.
    """

    def __init__(self, card: ModelCard, device: str = "auto", threads: int | None = None) -> None:
        if device not in DEVICES:
            raise DeviceError(f"There is no device {device}.", f"Choose one of {', '.join(DEVICES)}.")
        self.card = card
        self.warnings: list[str] = []
        runtime = _import_onnxruntime()
        session = None
        if device != "cpu":
            session, reason = _try_cuda(runtime, card)
            if session is None and device == "cuda":
                text = f"CUDA was requested but is not available ({reason}); the CPU was used."
                self.warnings.append(CaseWarning(text, "device-fallback"))
        if session is None:
            session = _open(runtime, card, CPU_PROVIDER)
        self._session = session
        self.provider = session.provider
        self.used = "cuda" if session.provider == CUDA_PROVIDER else "cpu"
        #: Batches that may run side by side.
        self.workers = 1 if self.used == "cuda" else min(threads or available_cores(), MOST_WORKERS)

    @property
    def any_size(self) -> bool:
        """Whether it takes parts of frames: the card allows it, and so does the network."""
        return self._session.any_size

    @property
    def batch_size(self) -> int:
        """Slices per call that suit the device and the network."""
        return self._session.batch or BATCH_SIZE[self.used]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run the network on a batch of slices.

        Parameters
        ----------
        batch : ndarray of float32, shape (N, channels, rows, columns)

        Returns
        -------
        ndarray of float32, shape (N, output channels, rows, columns)

        Raises
        ------
        InvalidModelError
            If the network does not accept the batch or its output shape differs from its card.
        """
        session = self._session
        try:
            output = session.runtime.run([session.output_name], {session.input_name: batch})[0]
        except Exception as error:
            raise InvalidModelError(
                f"The network of model {self.card.id} failed: {_first_line(error)}.",
                "Try the CPU as device; if that fails too, the model does not fit its card.",
                code="network-failed",
            ) from error
        expected = (len(batch), self.card.pipeline.output_channels, *batch.shape[2:])
        if output.shape != expected:
            raise InvalidModelError(
                f"The network of model {self.card.id} returned {output.shape} where its card says {expected}.",
                "Get model and card again from their source.",
            )
        return np.asarray(output, dtype=np.float32)

    def release(self) -> None:
        """Hand back the memory in which the network worked: what comes after it needs it more."""
        session = self._session
        if not session.any_size or session.provider != CPU_PROVIDER:
            return
        options = _import_onnxruntime().RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        smallest = np.zeros((session.batch or 1, self.card.pipeline.input_slices, GRID_PX, GRID_PX), np.float32)
        session.runtime.run([session.output_name], {session.input_name: smallest}, options)


def available_cores() -> int:
    """Cores that this process may use: a cluster, a container or :func:`limit_cores` may allow fewer than there are."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return there if _limit is None else max(1, min(there, _limit))


def limit_cores(count: int | None) -> None:
    """Use at most so many cores from now on: several processes share a machine. None: all that are there."""
    global _limit
    _limit = count


def onnxruntime_version() -> str:
    """Version of the installed onnxruntime, empty if there is none."""
    try:
        return str(_import_onnxruntime().__version__)
    except MissingDependencyError:
        return ""


def reserve_sessions(count: int) -> None:
    """Keep at least so many sessions from now on: an ensemble's next case finds all its members warm."""
    global _reserved
    with _lock:
        _reserved = max(_reserved, count)


def clear_sessions() -> None:
    """Forget all kept sessions, and what was reserved, and free their memory."""
    global _reserved
    with _lock:
        _reserved = 0
        _sessions.clear()


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            f"The Python package onnxruntime cannot be loaded ({_first_line(error)}).",
            "Install it with `pip install onnxruntime` (for an NVIDIA GPU: onnxruntime-gpu, and only one of the two).",
        ) from error
    return onnxruntime


def _try_cuda(runtime: Any, card: ModelCard) -> tuple[_Session | None, str]:
    """A CUDA session, or None and why there is none."""
    if CUDA_PROVIDER not in runtime.get_available_providers():
        return None, "this onnxruntime has no CUDA provider: install onnxruntime-gpu in its place"
    if hasattr(runtime, "preload_dlls"):
        # Finds CUDA and cuDNN of the nvidia-* pip packages where the system has none.
        runtime.preload_dlls()
    try:
        session = _open(runtime, card, CUDA_PROVIDER)
    except DeviceError as error:
        return None, error.message
    if session.provider != CUDA_PROVIDER:
        return None, "onnxruntime could not start CUDA: driver, CUDA or cuDNN libraries are missing or do not match"
    return session, ""


def _open(runtime: Any, card: ModelCard, provider: str) -> _Session:
    """The kept session for a model on a provider, or a new one (which may have got another provider)."""
    key = (card.sha256, provider, card.pipeline.crop_margin_px > 0)
    with _lock:
        if key in _sessions:
            _sessions.move_to_end(key)
            return _sessions[key]
        card.verify()
        session = _create(runtime, card, provider)
        _sessions[key] = session
        while len(_sessions) > max(KEPT_SESSIONS, _reserved):
            _sessions.popitem(last=False)
        return session


def _create(runtime: Any, card: ModelCard, provider: str) -> _Session:
    options = runtime.SessionOptions()
    # Cores share the work slice by slice, see Generator.workers.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4
    # Between two batches the other stages need the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = (
        [(CUDA_PROVIDER, CUDA_OPTIONS), CPU_PROVIDER] if provider == CUDA_PROVIDER else [CPU_PROVIDER]
    )
    config = card.pipeline
    open_size = freed(card.path.read_bytes(), config.frame_size) if config.crop_margin_px > 0 else None
    # An arena saves a sixth of the time, the cost of fresh pages at every batch, but it keeps what it took until
    # a run is told to shrink it; see Generator.release, for which a network of any size needs next to no time.
    options.enable_cpu_mem_arena = open_size is not None
    try:
        session = runtime.InferenceSession(open_size or str(card.path), sess_options=options, providers=providers)
    except Exception as error:
        if provider == CUDA_PROVIDER:
            raise DeviceError(_first_line(error)) from error
        raise InvalidModelError(
            f"The file of model {card.id} cannot be run: {_first_line(error)}.",
            "It is not an ONNX network, or needs a newer version of the package onnxruntime.",
            code="onnx-not-loaded",
        ) from error
    batch = _check_interface(session, card)
    return _Session(
        session, session.get_providers()[0], session.get_inputs()[0].name, session.get_outputs()[0].name, batch,
        open_size is not None,
    )  # fmt: skip


def _check_interface(session: Any, card: ModelCard) -> int | None:
    """Compare the network's input and output with its card; the batch size if the network fixes it."""
    config = card.pipeline
    inputs, outputs = session.get_inputs(), session.get_outputs()
    problem = None
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        problem = "it does not take one float32 batch (N, channels, rows, columns)"
    elif not _fits(inputs[0].shape[1], config.input_slices):
        problem = f"it takes {inputs[0].shape[1]} channels where the card says {config.input_slices}"
    elif not all(_fits(n, side) for n, side in zip(inputs[0].shape[2:], config.frame_size, strict=True)):
        problem = f"it takes {inputs[0].shape[2]} x {inputs[0].shape[3]} pixels where the card says {config.frame_size}"
    elif len(outputs[0].shape) != 4 or not _fits(outputs[0].shape[1], config.output_channels):
        problem = f"it puts out {outputs[0].shape} where the card says {config.output_channels} channels"
    if problem:
        raise InvalidModelError(
            f"The network of model {card.id} does not fit its card: {problem}.",
            "Get model and card again from their source.",
        )
    batch = inputs[0].shape[0]
    return batch if isinstance(batch, int) else None


def _fits(dimension: Any, expected: int) -> bool:
    """Whether a dimension of the network (a number, or a name where it is free) allows a size."""
    return not isinstance(dimension, int) or dimension == expected


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
