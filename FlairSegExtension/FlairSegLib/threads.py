"""Time for Python threads inside Slicer.

PythonQt keeps the interpreter's lock while Qt's event loop runs, so a Python thread stands still until Python code of
the GUI thread gives the lock away, however idle Slicer is. Whoever waits for a thread therefore lets a timer tick, and
gives the threads a share of each tick.
"""

from __future__ import annotations

import time

#: Share of a tick, seconds: long enough for a thread to move megabytes, too short for a user to notice.
SHARE_S = 0.005


def share(seconds: float = SHARE_S) -> None:
    """Give the interpreter's lock to the other Python threads for a moment; for the ticks of a timer."""
    time.sleep(seconds)
