"""The process that runs the model for Slicer: ``python -m flairseg.worker``, with messages on stdin and stdout.

It stays alive between runs, so that packages and network are loaded once, does one thing after another, and leaves when
its stdin closes - also in the middle of a run, also when Slicer crashed. A run is cancelled by ending the process. The
messages are those of :mod:`.protocol`. What libraries print goes to stderr: file descriptor 1 is pointed there
before any
of them is loaded, and the messages use a copy of the real one.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..errors import FlairSegError, MissingDependencyError, WorkerError
from ..image.volume import Volume
from ..segmentation.memory import limit_heap, release_memory
from . import protocol as wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from ..progress import ProgressCallback
    from ..segmentation.result import Segmentation

#: Progress is sent at most this often, and when a stage changes.
SECONDS_BETWEEN_PROGRESS = 0.1
#: Exit status when the other side sent no message of ours.
PROTOCOL_STATUS = 3


def main() -> None:
    """Listen and answer until stdin closes."""
    limit_heap()
    source, sink = _private_streams()
    with contextlib.suppress(ValueError, OSError):
        # The terminal's Ctrl+C is meant for Slicer, which then closes stdin.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: queue.Queue[tuple[dict[str, Any], list[np.ndarray]]] = queue.Queue(maxsize=2)
    threading.Thread(target=_listen, args=(source, requests), name="flairseg-listen", daemon=True).start()
    ready = {"kind": "ready", "protocol": wire.PROTOCOL, "version": __version__, "pid": os.getpid()}
    wire.write_message(sink, ready)
    while True:
        header, blocks = requests.get()
        try:
            _answer(sink, header, blocks)
        except OSError:
            # Nobody reads any more.
            os._exit(0)
        if header["kind"] == "warm" and requests.empty():
            _warm_regions()
        release_memory()


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Binary streams on the real stdin and stdout; descriptors 0 and 1 then are an empty input and stderr."""
    inward, outward = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(inward, os.O_BINARY)
        msvcrt.setmode(outward, os.O_BINARY)
    return os.fdopen(inward, "rb", buffering=1 << 16), os.fdopen(outward, "wb", buffering=0)


def _listen(source: BinaryIO, requests: queue.Queue[tuple[dict[str, Any], list[np.ndarray]]]) -> None:
    """Read requests in a thread of its own, so that a closed stdin is noticed in the middle of a run."""
    try:
        while (message := wire.read_message(source)) is not None:
            requests.put(message)
    except (wire.ProtocolError, MemoryError, OSError):
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(PROTOCOL_STATUS)
    # At once: nobody waits for the run any more, and no library may hold the process up.
    os._exit(0)


def _answer(sink: BinaryIO, header: dict[str, Any], blocks: list[np.ndarray]) -> None:
    kind, run = header["kind"], header.get("run")
    try:
        if kind == "segment":
            fields, out = wire.encode_result(_segment(sink, header, blocks))
            wire.write_message(sink, {"kind": "result", "run": run, **fields}, out)
        elif kind == "task":
            wire.write_message(sink, {"kind": "done", "run": run}, wire.encode_value(_task(sink, header, blocks)))
        elif kind == "warm":
            _warm(header)
        else:
            raise WorkerError(f"There is no request called {kind}.", "Restart Slicer after updating FlairSeg.")
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _send_error(sink, run, error)
    except (FlairSegError, Exception) as error:  # noqa: BLE001 - whatever happened, Slicer is told and the process lives on
        _send_error(sink, run, error)


def _send_error(sink: BinaryIO, run: Any, error: Exception) -> None:
    if not isinstance(error, FlairSegError):
        traceback.print_exc()
    wire.write_message(sink, {"kind": "error", "run": run, **wire.encode_error(error)})


def _segment(sink: BinaryIO, header: dict[str, Any], blocks: list[np.ndarray]) -> Segmentation:
    if len(blocks) != 1:
        raise WorkerError("A request without voxels arrived.", "Restart Slicer after updating FlairSeg.")
    segment = _load()
    volume = Volume(blocks[0], np.array(header["ijk_to_ras"], float).reshape(4, 4), str(header["name"]))
    blocks.clear()
    progress = _progress(sink, header)
    return segment(volume, model=_model(header), device=str(header.get("device", "auto")), progress=progress)


def _task(sink: BinaryIO, header: dict[str, Any], blocks: list[np.ndarray]) -> dict[str, Any]:
    from . import handlers as tasks

    arguments = wire.decode_value(blocks)
    blocks.clear()
    return tasks.run(str(header.get("task")), arguments, _progress(sink, header))


def _progress(sink: BinaryIO, header: dict[str, Any]) -> ProgressCallback:
    """Tells Slicer how far a run is, now and then."""
    sent_at, sent_stage = 0.0, ""

    def progress(fraction: float, stage: str) -> None:
        nonlocal sent_at, sent_stage
        now = time.monotonic()
        if stage != sent_stage or now - sent_at >= SECONDS_BETWEEN_PROGRESS:
            sent_at, sent_stage = now, stage
            message = {"kind": "progress", "run": header.get("run"), "fraction": float(fraction), "stage": stage}
            wire.write_message(sink, message)

    return progress


def _warm(header: dict[str, Any]) -> None:
    """Load packages and network. What is in the way is told by the run that needs them."""
    with contextlib.suppress(FlairSegError):
        _load()
        from ..models.store import find_model, networks
        from ..segmentation.inference import Generator, reserve_sessions

        cards = networks(find_model(_model(header)))
        reserve_sessions(len(cards))
        for card in cards:
            Generator(card, str(header.get("device", "auto")))


def _warm_regions() -> None:
    """Load what finding regions needs as well. What is in the way is told by the task that needs it."""
    # SimpleITK raises RuntimeError: whatever it is, the worker goes on.
    with contextlib.suppress(Exception):
        from ..anatomy.finding import prepare_atlas

        prepare_atlas()


def _model(header: dict[str, Any]) -> str | Path | None:
    model = header.get("model")
    return None if model is None else str(model)


def _load() -> Callable[..., Segmentation]:
    """:func:`flairseg.segment`; a package that is missing becomes a typed error."""
    try:
        from ..segmentation.pipeline import segment
    except ImportError as error:
        raise MissingDependencyError(
            f"The Python package {error.name} is not installed.",
            "In Slicer's Python console: slicer.util.pip_install('onnxruntime scikit-image'), then try again.",
        ) from error
    return segment
