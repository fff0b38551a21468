"""Running Python threads inside Slicer.

PythonQt holds the global interpreter lock while Qt's event loop runs, so that Python threads do not run until Python
code of the GUI thread releases it, even if Slicer is idle. Code that waits for a thread therefore runs a timer that
releases the lock for a short time.
"""

from __future__ import annotations

import time

#: Time for other threads per timer event, s: sufficient to copy megabytes, not noticeable for the user.
SHARE_S = 0.005


def share(seconds: float = SHARE_S) -> None:
    """Release the global interpreter lock for other Python threads; to be called by a timer."""
    time.sleep(seconds)
