"""Sessions in progress: markers left behind by killed processes.

A marker file exists from the start of a session to its end and grows by one byte for each start. If it is not empty at
a start, earlier processes died at the session. This distinguishes the session that kills its process from those that
only ran on the same computer, whatever runs the workers.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ..files.atomic import output_error
from .layout import Layout

#: Sessions are processed in the main process, or in workers.
IN_PROCESS, WORKERS = "in-process", "workers"
_BYTES = {IN_PROCESS: b"p", WORKERS: b"w"}


def begin(layout: Layout, case: str, mode: str) -> int:
    """Mark a session as begun.

    Returns
    -------
    int
        Number of processes that died at it before.

    Raises
    ------
    OutputError
        If the marker cannot be written.
    """
    path = layout.begun(case)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            before = stream.tell()
            stream.write(_BYTES[mode])
    except OSError as error:
        raise output_error(layout.root, error) from error
    return before


def end(layout: Layout, case: str) -> None:
    """The session is over, one way or another."""
    with suppress(OSError):
        layout.begun(case).unlink()


def forget_interrupted(layout: Layout) -> None:
    """Take the markers away that the workers of an earlier run left when that run itself was ended.

    Those of sessions that the run worked on in its own process stay: its end may have been their doing.
    """
    with suppress(OSError):
        for name in os.listdir(layout.begun("x").parent):
            path = layout.begun(name)
            with suppress(OSError):
                if _BYTES[IN_PROCESS] not in path.read_bytes():
                    path.unlink()
