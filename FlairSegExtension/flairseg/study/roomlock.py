"""One program per room: a lock that the operating system releases when the program ends or crashes."""

from __future__ import annotations

import os
from pathlib import Path

from ..files.os_locks import try_lock
from .errors import RoomBusyError

LOCK_NAME = "room.lock"


class RoomLock:
    """The room's lock, held from construction to :meth:`release`.

    Raises
    ------
    RoomBusyError
        If another program holds it.
    OSError
        If the room's folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = try_lock(self._handle)
        except OSError as error:
            self.release()
            raise _busy() from error
        if not locked:
            self.release()
            raise _busy()

    def release(self) -> None:
        """Release the lock; no effect the second time."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _busy() -> RoomBusyError:
    return RoomBusyError(
        "This rater's room is open in another window or on another computer.",
        "Finish or close it there; no answers are lost.",
    )
