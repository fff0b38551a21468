"""Locks of the operating system on open files: they end with the process that holds them, ``kill -9`` included."""

from __future__ import annotations

import os
import sys

#: Byte that Windows locks: far behind the content, which other processes may read.
_BYTE = 1 << 20


def try_lock(handle: int) -> bool:
    """Lock an open file for this process alone, without waiting; False if another handle has it locked.

    Parameters
    ----------
    handle : int
        Descriptor of the file, open for reading and writing, position 0; closing it releases the lock.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, _BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except PermissionError:
        if sys.platform == "win32":
            return False
        raise
    return True
