"""Interrupts that wait: Ctrl-C and SIGTERM take effect at the end of a block."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def shielded() -> Iterator[None]:
    """Hold Ctrl-C (SIGINT) and SIGTERM back until the block has ended; then they take effect.

    Signals reach Python's main thread only; elsewhere the block just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    previous = {s: signal.getsignal(s) for s in _SIGNALS}
    # None: a handler that was not set from Python and could not be restored.
    previous = {s: handler for s, handler in previous.items() if handler is not None}
    for caught in previous:
        signal.signal(caught, lambda n, frame: held.append((n, frame)))
    try:
        yield
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
    for number, frame in held:
        handler = previous[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            os.kill(os.getpid(), number)
