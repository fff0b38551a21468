"""The process that runs the model for Slicer: ``python -m flairseg.worker``, with messages on stdin and stdout.

It stays alive between runs, so that packages and network are loaded once, does one thing after another, and leaves when
its stdin closes - also in the middle of a run, also when Slicer crashed. A run is cancelled by ending the process, or,
where the process is to stay warm, by a message, which takes effect at the next check. The messages are those of
:mod:`.protocol`. What libraries print goes to stderr: file descriptor 1 is pointed there before any of them is loaded,
and the messages use a copy of the real one.
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

from .._lazy import postpone_numpy
from .._version import __version__
from ..errors import FlairSegError, WorkerError
from ..progress import CancelToken
from ..segmentation.memory import limit_heap, release_memory
from . import protocol as wire
from .codec import decode_value, encode_value

if TYPE_CHECKING:
    from typing import BinaryIO

    from ..progress import ProgressCallback

#: Progress is sent at most this often, and when a stage changes.
SECONDS_BETWEEN_PROGRESS = 0.1
#: Exit status when the other side sent no message of ours.
PROTOCOL_STATUS = 3


def main() -> None:
    """Listen and answer until stdin closes."""
    limit_heap()
    postpone_numpy()
    source, sink = _private_streams()
    with contextlib.suppress(ValueError, OSError):
        # The terminal's Ctrl+C is meant for Slicer, which then closes stdin.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: queue.Queue[tuple[dict[str, Any], list[np.ndarray]]] = queue.Queue(maxsize=2)
    tokens: dict[Any, CancelToken] = {}
    threading.Thread(target=_listen, args=(source, requests, tokens), name="flairseg-listen", daemon=True).start()
    ready = {"kind": "ready", "protocol": wire.PROTOCOL, "version": __version__, "pid": os.getpid()}
    wire.write_message(sink, ready)
    while True:
        header, blocks = requests.get()
        try:
            _answer(sink, header, blocks, tokens.get(header.get("run")))
        except OSError:
            # The parent no longer reads.
            os._exit(0)
        tokens.pop(header.get("run"), None)
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


def _listen(
    source: BinaryIO, requests: queue.Queue[tuple[dict[str, Any], list[np.ndarray]]], tokens: dict[Any, CancelToken]
) -> None:
    """Read requests in a separate thread: a closed stdin and a cancel are noticed in the middle of a run.

    ``tokens`` has one for each task that waits or is worked on, by its number.
    """
    try:
        while (message := wire.read_message(source)) is not None:
            kind, run = message[0]["kind"], message[0].get("run")
            if kind == "cancel":
                if (token := tokens.get(run)) is not None:
                    token.cancel()
                continue
            if kind == "task":
                tokens[run] = CancelToken()
            requests.put(message)
    except (wire.ProtocolError, MemoryError, OSError, TypeError):
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(PROTOCOL_STATUS)
    # Immediately: the run is no longer needed, and no library may delay the exit.
    os._exit(0)


def _answer(
    sink: BinaryIO, header: dict[str, Any], blocks: list[np.ndarray], cancel: CancelToken | None = None
) -> None:
    kind, run = header["kind"], header.get("run")
    try:
        if kind == "task":
            value = encode_value(_task(sink, header, blocks, cancel))
            wire.write_message(sink, {"kind": "done", "run": run}, value)
        elif kind == "warm":
            _warm(header)
        else:
            raise WorkerError(f"There is no request called {kind}.", "Restart Slicer after updating FlairSeg.")
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _send_error(sink, run, error)
    except (FlairSegError, Exception) as error:  # noqa: BLE001 - Slicer is notified of any error and the process continues
        _send_error(sink, run, error)


def _send_error(sink: BinaryIO, run: Any, error: Exception) -> None:
    if not isinstance(error, FlairSegError):
        traceback.print_exc()
    wire.write_message(sink, {"kind": "error", "run": run, **wire.encode_error(error)})


def _task(sink: BinaryIO, header: dict[str, Any], blocks: list[np.ndarray], cancel: CancelToken | None) -> Any:
    from . import handlers

    def deliver(value: Any) -> None:
        wire.write_message(sink, {"kind": "first", "run": header.get("run")}, encode_value(value))

    try:
        request = decode_value(blocks)
    except wire.ProtocolError as error:
        raise WorkerError("A request arrived incomplete.", "Restart Slicer after updating FlairSeg.") from error
    blocks.clear()
    return handlers.run(request, _progress(sink, header), cancel, deliver)


def _progress(sink: BinaryIO, header: dict[str, Any]) -> ProgressCallback:
    """Sends progress to Slicer, at limited rate."""
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
    """Load packages and network. Errors are reported by the run that needs them."""
    with contextlib.suppress(FlairSegError, ImportError):
        from ..models.store import find_model, networks
        from ..segmentation import pipeline  # noqa: F401 - loaded ahead
        from ..segmentation.inference import Generator, reserve_sessions

        cards = networks(find_model(_model(header)))
        reserve_sessions(len(cards))
        for card in cards:
            Generator(card, str(header.get("device", "auto")))


def _warm_regions() -> None:
    """Load the packages for regions as well. Errors are reported by the task that needs them."""
    # SimpleITK raises RuntimeError: in any case the worker continues.
    with contextlib.suppress(Exception):
        from ..anatomy.finding import prepare_atlas

        prepare_atlas()


def _model(header: dict[str, Any]) -> str | Path | None:
    model = header.get("model")
    return None if model is None else str(model)
