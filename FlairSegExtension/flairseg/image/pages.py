"""Large arrays whose pages take memory only while they are used."""

from __future__ import annotations

import math
import mmap
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

#: From this size on an array's zeros have their own pages.
_PAGED_BYTES = 32_000_000
#: From this size on they are, where possible, pages of a file.
FILED_BYTES = 400_000_000
#: File systems that are on a disk and can reserve room, and how often the file must fit into what is free there.
DISK_SYSTEMS, ROOM = frozenset({"ext4", "xfs", "btrfs", "f2fs", "overlay"}), 4
#: Slices that are read before their pages are released.
_READ_SLICES = 8


def untouched_zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Zeros of which only the pages take memory that something is written to.

    NumPy asks Linux for pages of 2 MB, of which a slice of one class touches all; here they have the system's own size.
    From :data:`FILED_BYTES` on they are, on Linux, pages of a nameless file in the folder for temporary files, so that
    :func:`let_go` can give their memory back; the file ends with the array or the process, whatever ends it.

    Parameters
    ----------
    shape : tuple of int
    dtype : type

    Returns
    -------
    ndarray
        C-contiguous and writable.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < _PAGED_BYTES:
        return np.zeros(shape, dtype)
    pages = _file_pages(size) if size >= FILED_BYTES else None
    if pages is None and sys.platform == "win32":
        pages = mmap.mmap(-1, size)
    elif pages is None:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype).reshape(shape)


class _FilePages(mmap.mmap):
    """Pages of a file: they may be evicted from memory and read again."""


def _file_pages(size: int) -> mmap.mmap | None:
    """Pages of a nameless file on a disk that has room for it; None where there is none."""
    if sys.platform != "linux":
        return None
    folder = Path(tempfile.gettempdir())
    try:
        if _file_system(folder) not in DISK_SYSTEMS or shutil.disk_usage(folder).free < ROOM * size:
            return None
        with tempfile.TemporaryFile(dir=folder, prefix="flairseg-") as file:
            # Reserved, so that a disk that fills up later cannot end the process.
            os.posix_fallocate(file.fileno(), 0, size)
            return _FilePages(file.fileno(), size)
    except OSError:
        return None


def _file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Type of the file system that a folder is on, as Linux calls it; empty where it is not known."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        about, _, source = line.partition(" - ")
        if about.split()[2] == wanted:
            return source.split()[0]
    return ""


def let_go(array: np.ndarray) -> None:
    """Take the pages of an array of :func:`untouched_zeros` (or of a view of it) out of memory, if it is in a file.

    What they hold stays; whoever reads it brings it back. Nothing happens to other arrays.
    """
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, _FilePages):
        owner.madvise(mmap.MADV_DONTNEED)


def values_where(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``array[mask]``, slice by slice, so that few pages of a large array are in memory at a time.

    Parameters
    ----------
    array : ndarray, shape (K, J, I)
    mask : ndarray of bool, same shape

    Returns
    -------
    ndarray, shape (voxels,)
    """
    parts = [np.empty(0, array.dtype)]
    for part, inside in zip(array, mask, strict=True):
        if inside.any():
            parts.append(part[inside])
            if len(parts) % _READ_SLICES == 0:
                let_go(array)
    let_go(array)
    return np.concatenate(parts)
