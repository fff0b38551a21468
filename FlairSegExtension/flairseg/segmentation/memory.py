"""Memory of a process that segments case after case: how it is allocated, and giving back what is free."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

#: Parameters of glibc's mallopt(3), from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: Larger arrays are mapped by themselves and returned to the system on release. Smaller ones, for which
#: fresh pages would cost more time than their computation, are taken from the heap.
MAPPED_BYTES = 4_000_000
#: Free memory at the end of the heap that is kept.
KEPT_BYTES = 16_000_000
#: A process with a loaded model, and what a voxel adds. Peaks with regions: 20 x 256 x 256 took 351 MB, 138 x 230 x 230
#: 430 MB, 320 x 512 x 512 864 MB, and 220 MB more where its probabilities are not in a file.
IDLE_BYTES, BYTES_PER_VOXEL = 450_000_000, 10
#: Additional memory of an ensemble: for each network, and for each voxel.
MEMBER_BYTES, ENSEMBLE_BYTES_PER_VOXEL = 150_000_000, 24
#: Host memory taken by CUDA.
CUDA_BYTES = 2_500_000_000
#: Share of the free memory that cases may take together.
SHARE = 0.85
#: For systems that report nothing.
_UNKNOWN_BYTES = 4 << 30


def limit_heap() -> None:
    """Let the C library of this process (glibc) keep little of what is freed; call it before threads start.

    By default glibc gives each thread its own heap and takes arrays of up to 32 MB from these heaps once the first
    such array was freed. Between what lives on, the gaps fit nothing: of a batch of 20 x 256 x 256 without regions the
    third case takes 430 MB where the first takes 360, with one heap and a fixed threshold both take 320; fresh pages
    cost 0.3 s of a case's processor time. For processes of FlairSeg's own: a program that embeds it decides for itself.
    Where ``MALLOC_*`` variables are set the user has decided.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ:
        return
    option = _function("mallopt")
    if option is not None:
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, MAPPED_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES)):
            option(parameter, value)


def release_memory() -> None:
    """Hand free memory back to the system; call it when a case has ended.

    Uses malloc_trim(3) of glibc; elsewhere nothing happens.
    """
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


@lru_cache(maxsize=2)
def _function(name: str) -> Any | None:
    """A function of the C library; None where it is not glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return getattr(library, name, None) if hasattr(library, "gnu_get_libc_version") else None


# --- what a case needs, and what there is


def needed_bytes(voxels: int, members: int = 0, device: str = "cpu") -> int:
    """Memory that a case takes at its peak in a separate process, measured with the default model and a margin.

    Parameters
    ----------
    voxels : int
    members : int
        Networks of an ensemble; 0 for a single model.
    device : str
        ``cuda`` takes memory of the host, too.

    Returns
    -------
    int
        Bytes.
    """
    ensemble = members * MEMBER_BYTES + (ENSEMBLE_BYTES_PER_VOXEL * voxels if members else 0)
    return IDLE_BYTES + voxels * BYTES_PER_VOXEL + ensemble + (CUDA_BYTES if device == "cuda" else 0)


def budget_bytes() -> int:
    """Memory that cases may take together: a share of what is free, leaving the rest for other programs."""
    return int(SHARE * available_bytes())


def available_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that can be taken now: of the machine, or what the limits of a container or batch job leave.

    Parameters
    ----------
    proc, groups : Path
        Where Linux reports memory and control groups.
    """
    found = [_machine_bytes(proc), *_group_bytes(proc, groups)]
    return min(n for n in found if n is not None)


def _machine_bytes(proc: Path) -> int:
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    if sys.platform == "win32":
        return _windows_bytes()
    try:
        # macOS does not report free memory this way: half of all.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError):
        return _UNKNOWN_BYTES


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in (
            "total", "available", "total_page", "available_page", "total_virtual", "available_virtual", "extended",
        )),
    )  # fmt: skip


def _windows_bytes() -> int:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    library: Any = getattr(ctypes, "windll", None)
    if library is None or not library.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return _UNKNOWN_BYTES
    return int(status.available)


def _group_bytes(proc: Path, groups: Path) -> list[int]:
    """Memory available within the limits of this process's control groups (version 1 and 2) and their parents."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            root, names = groups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, names = groups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = root / place.lstrip("/")
        # Within a container the place may be that of the host: then the root is the container's.
        for folder in (own, *(above for above in own.parents if above.is_relative_to(root)), root):
            left += _left_in(folder, *names)
    return left


def _left_in(folder: Path, limit: str, usage: str, inactive: str) -> list[int]:
    try:
        allowed = int((folder / limit).read_text(encoding="ascii"))
        taken = int((folder / usage).read_text(encoding="ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        # No such group here, or "max": no limit.
        return []
    return [max(0, allowed - taken + int(stat.get(inactive, 0)))]
