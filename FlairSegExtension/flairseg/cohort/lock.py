"""One run per output folder: a lock that the operating system drops when its holder dies, and a heartbeat for shares.

``flock`` ends with the process that holds it, ``kill -9`` included. Some network file systems grant it to every
computer; there the file's time decides, which the holder renews: a lock of another computer counts while it is recent.
"""

from __future__ import annotations

import json
import os
import platform
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import RunInProgressError
from ..files.atomic import output_error
from ..files.os_locks import try_lock

#: Seconds between renewals, and after which a lock of another computer is stale.
RENEW_S, STALE_S = 20.0, 120.0


class RunLock:
    """The lock of an output folder, held from construction to :meth:`release`.

    Parameters
    ----------
    path : Path
        The lock file; its folder is created.
    about : dict
        Identity of the holder, stored in the file.

    Raises
    ------
    RunInProgressError
        Code ``cohort-in-progress``: another run writes into the folder.
    OutputError
        If the file cannot be written.
    """

    def __init__(self, path: Path, about: dict[str, Any] | None = None) -> None:
        self._path = path
        self._handle: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            holder, fresh = _holder(path), _is_fresh(path)
            elsewhere = bool(holder) and holder.get("host") != platform.node()
            if not try_lock(self._handle) or (elsewhere and fresh):
                self._close()
                raise _busy(path, holder)
            self._write({**(about or {}), "host": platform.node(), "pid": os.getpid()})
        except OSError as error:
            self._close()
            raise output_error(path.parent, error) from error
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="flairseg-lock", daemon=True)
        self._thread.start()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go; twice is once."""
        if self._handle is None:
            return
        self._stop.set()
        with suppress(OSError):
            os.ftruncate(self._handle, 0)
        self._close()

    def _write(self, content: dict[str, Any]) -> None:
        handle = self._handle
        if handle is not None:
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, json.dumps(content).encode())

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            with suppress(OSError):
                os.utime(self._path)

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _busy(path: Path, holder: dict[str, Any]) -> RunInProgressError:
    who = f" (process {holder['pid']} on {holder['host']})" if {"pid", "host"} <= holder.keys() else ""
    return RunInProgressError(
        f"Another run{who} is writing into {path.parent.parent}.",
        "Wait until it has ended, or choose another output folder.",
        code="cohort-in-progress",
        path=str(path.parent.parent),
    )


def _holder(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_fresh(path: Path) -> bool:
    """Whether the lock was renewed of late, by the clock of the file system that it is on."""
    probe = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime - path.stat().st_mtime < STALE_S
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
