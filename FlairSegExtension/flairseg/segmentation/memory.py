"""Memory of a process that segments case after case: how it is allocated, and giving back what is free."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from typing import Any

#: Parameters of glibc's mallopt(3), from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: Larger arrays are mapped by themselves and go back to the system as soon as they are let go. Smaller ones, for which
#: fresh pages would cost more time than their computation, are taken from the heap.
MAPPED_BYTES = 16_000_000
#: Free memory at the end of the heap that is kept.
KEPT_BYTES = 64_000_000


def limit_heap() -> None:
    """Let the C library of this process (glibc) keep little of what is freed; call it before threads start.

    By default glibc gives each thread a heap of its own and takes arrays of up to 32 MB from these heaps once the first
    such array was freed. Between what lives on, the gaps fit nothing: a batch of 20 x 256 x 256 takes 430 MB in its
    third case and 360 MB in its first, with one heap and a fixed threshold 335 MB in all. For processes of FlairSeg's
    own: a program that embeds it decides for itself. Where ``MALLOC_*`` variables are set the user has decided.
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
