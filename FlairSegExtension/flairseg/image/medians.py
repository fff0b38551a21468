"""The median of many voxels without a copy of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

#: Fewer values are copied and sorted: that is quicker.
FEW_VALUES = 4_000_000
#: Bits of a float32 that are counted first: sign, exponent and seven of its fraction.
_COARSE_BITS = 16


def median_of(parts: Callable[[], Iterable[np.ndarray]]) -> float | None:
    """Median of values that are given part by part, as ``numpy.median`` of all of them together.

    Many values are counted by their leading bits first; only those that share these bits with the median are sorted.

    Parameters
    ----------
    parts : callable
        Yields the parts at each call: arrays of float32, finite.

    Returns
    -------
    float or None
        None where there is no value.
    """
    few: list[np.ndarray] = []
    counts = np.zeros(1 << _COARSE_BITS, np.int64)
    count = 0
    for part in parts():
        few.append(part.ravel())
        count += part.size
        if count > FEW_VALUES:
            counts += _counted(few)
            few.clear()
    if count == 0:
        return None
    if count <= FEW_VALUES:
        return float(np.median(np.concatenate(few), overwrite_input=True))
    counts += _counted(few)
    few.clear()
    ends = np.cumsum(counts)
    ranks = [(count - 1) // 2, count // 2]
    first, last = (int(np.searchsorted(ends, rank, "right")) for rank in ranks)
    near = np.concatenate([_between(part.ravel(), first, last) for part in parts()])
    within = [rank - int(ends[first] - counts[first]) for rank in ranks]
    return float(np.mean(np.partition(near, within)[within]))


def _counted(parts: list[np.ndarray]) -> np.ndarray:
    """How many values are in each bin."""
    out = np.zeros(1 << _COARSE_BITS, np.int64)
    for part in parts:
        out += np.bincount(_bins(part), minlength=out.size)
    return out


def _between(values: np.ndarray, first: int, last: int) -> np.ndarray:
    """The values of some bins."""
    bins = _bins(values)
    out: np.ndarray = values[(bins >= first) & (bins <= last)]
    return out


def _bins(values: np.ndarray) -> np.ndarray:
    """The leading bits of each value as a number that grows with the value; int32, flat."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32).ravel()
    # Negative numbers grow the other way.
    ordered = np.where(bits < 0, ~bits | np.int32(-(1 << 31)), bits)
    out: np.ndarray = (ordered >> (32 - _COARSE_BITS)) + (1 << (_COARSE_BITS - 1))
    return out
