"""A virtual X server, so that the widgets also run on the platform that Linux users have (``xcb``)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


def why_not() -> str | None:
    """Why no virtual X server can be started here; None if one can."""
    return None if shutil.which("Xvfb") else "Xvfb is not installed: apt-get install xvfb"


@contextmanager
def display(width: int = 1600, height: int = 1200) -> Iterator[dict[str, str]]:
    """Run a virtual X server; yields the environment for a subprocess that is to show its windows there.

    Raises
    ------
    RuntimeError
        If the server is not installed or does not come up.
    """
    reason = why_not()
    if reason is not None:
        raise RuntimeError(reason)
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()  # the server says which display it took, once it is ready
        if not number:
            raise RuntimeError(f"Xvfb ended with {server.wait()}")
        yield {**os.environ, "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
    finally:
        server.terminate()
        server.wait()
