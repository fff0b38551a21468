"""Qt's event loop that keeps the interpreter's lock, as PythonQt's does and PySide6's does not.

PySide6 gives the lock away whenever it calls Qt, so that Python threads run while the event loop waits; in Slicer they
stand still until Python code of the GUI thread gives the lock away. Times are comparable only with the lock held.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import PySide6

#: ``void QCoreApplication::processEvents(QFlags<QEventLoop::ProcessEventsFlag>)``
_SYMBOL = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"
ALL_EVENTS, WAIT_FOR_MORE_EVENTS = 0x00, 0x04
_held = False


@cache
def process_events() -> Callable[[int], None] | None:
    """Qt's own ``processEvents(flags)``, which keeps the lock; None where its library has another name (not Linux)."""
    libraries = sorted(Path(PySide6.__file__).parent.rglob("libQt6Core.so.6"))
    return ctypes.PyDLL(str(libraries[0]))[_SYMBOL] if libraries else None


def held() -> bool:
    """Whether the event loop keeps the interpreter's lock now."""
    return _held


@contextmanager
def python_lock_held() -> Iterator[bool]:
    """Keep the lock in ``slicer.app.processEvents`` and the waits of :mod:`.interaction`; False where it cannot be."""
    global _held
    before, _held = _held, process_events() is not None
    try:
        yield _held
    finally:
        _held = before
