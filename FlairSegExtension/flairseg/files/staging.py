"""Temporary folders beside the place of their files, and the removal of those that killed processes left.

The process that writes into a staging folder holds a lock on a file in it, which the operating system drops when the
process ends in any way. A folder whose lock is free was therefore abandoned and is removed when the next one is made
beside it. The lock counts on the computer that took it: some network file systems grant the same lock to several
computers. Folders of other computers, those without a lock, and temporary files are removed once nothing in them has
changed for :data:`ABANDONED_S`.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .os_locks import try_lock

#: Start of the names of temporary files and folders.
TEMPORARY = ".flairseg-"
#: No process writes for this long without changing a file, seconds.
ABANDONED_S = 7 * 86400.0
#: Names that :mod:`tempfile` makes; other names that begin alike, such as the work of an adaptation, are kept.
_NAME = re.compile(re.escape(TEMPORARY) + r"(?:[a-z]+-)?[a-z0-9_]{8}")
_LOCK, _CONTENT = "lock", "content"
#: Seconds after which a folder is searched again; a batch writes thousands of results into one.
_SEARCH_AGAIN_S = 3600.0
_searched: dict[Path, float] = {}


class Staging:
    """A temporary folder for files that are renamed to their place when they are whole.

    Abandoned ones beside it are removed first, at most once an hour and process.

    Parameters
    ----------
    folder : Path
        Where to create it: on the disk of the files' place.
    kind : str
        Lower-case letters, part of its name.

    Attributes
    ----------
    content : Path
        The folder to write into; may be renamed as a whole.

    Raises
    ------
    OSError
        If it cannot be created.
    """

    def __init__(self, folder: Path, kind: str = "") -> None:
        key, now = folder.absolute(), time.monotonic()
        if now - _searched.get(key, -_SEARCH_AGAIN_S) >= _SEARCH_AGAIN_S:
            _searched[key] = now
            remove_abandoned(folder)
        self._root = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{kind}{'-' if kind else ''}", dir=folder))
        self._handle: int | None = None
        try:
            self._handle = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            self._lock(self._handle)
            self.content = self._root / _CONTENT
            self.content.mkdir()
        except OSError:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove what has not been renamed; twice is once."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        shutil.rmtree(self._root, ignore_errors=True)

    def _lock(self, handle: int) -> None:
        """Lock the folder, then name the computer: a name without a lock would make it look abandoned."""
        try:
            locked = try_lock(handle)
        except OSError:
            # No locks on this file system: age decides.
            return
        if locked:
            os.write(handle, _this_computer())


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files and folders in a folder at which no process works any more.

    Parameters
    ----------
    folder : Path
        Need not exist. What cannot be removed stays.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            path = folder / name
            if _NAME.fullmatch(name) and not path.is_symlink():
                with suppress(OSError):
                    _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    if not path.is_dir():
        if _is_old(path):
            path.unlink()
        return
    try:
        handle = os.open(path / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        if _is_old(path):
            shutil.rmtree(path)
        return
    try:
        here = os.read(handle, 4096) == _this_computer()
        if not (here or _is_old(path)) or not _is_free(handle):
            return
        # Windows removes no open file: the lock is removed last.
        shutil.rmtree(path / _CONTENT, ignore_errors=True)
    finally:
        os.close(handle)
    shutil.rmtree(path, ignore_errors=True)


def _is_free(handle: int) -> bool:
    try:
        return try_lock(handle)
    except OSError:
        return True


def _this_computer() -> bytes:
    return f"host {platform.node()}".encode()


def _is_old(path: Path) -> bool:
    """Whether nothing in a file or folder has changed for :data:`ABANDONED_S`."""
    parts = [path, *path.rglob("*")] if path.is_dir() else [path]
    return time.time() - max(part.lstat().st_mtime for part in parts) > ABANDONED_S
