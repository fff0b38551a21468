"""The processes that a run on several workers starts, for tests and measurements that kill them."""

from __future__ import annotations

import psutil

#: What a worker of Dask is called: its title, where setproctitle is installed, else how multiprocessing starts it.
_TITLES = ("dask worker", "spawn_main")


def dask_workers(process: psutil.Process) -> list[psutil.Process]:
    """The workers below a process; none where it has ended."""
    try:
        return [child for child in process.children(recursive=True) if _is_worker(child)]
    except psutil.Error:
        return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        told = " ".join(process.cmdline())
    except psutil.Error:
        return False
    # The command line ``dask worker``, with its nannies, is no worker itself.
    return any(title in told for title in _TITLES) and "dask_worker" not in told
