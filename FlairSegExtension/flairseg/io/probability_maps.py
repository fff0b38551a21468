"""Probability maps of other programs: brought to 0..1 where that is certain, refused where it is not."""

from __future__ import annotations

import numpy as np

from ..errors import UnsuitableMaskError

#: A largest value above this may be per cent; below, it is neither that nor a probability.
PER_CENT = 20.0


def probabilities(array: np.ndarray, name: str, slack: float = 0.05) -> np.ndarray:
    """Probabilities of one class, clipped to 0..1.

    Parameters
    ----------
    array : ndarray, shape (K, J, I)
        Finite values; splines may overshoot 0 and 1 a little.
    name : str
        File, for the error.
    slack : float
        How far beyond 0 and 1 values are clipped rather than refused.

    Returns
    -------
    ndarray of float32, shape (K, J, I)

    Raises
    ------
    UnsuitableMaskError
        If they reach farther (per cent, 0..255, scores): code ``not-probabilities``.
    """
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    if low < -slack or high > 1 + slack:
        per_cent = low >= -100 * slack and PER_CENT < high <= 100 + 100 * slack
        hint = "If they are per cent, divide them by 100." if per_cent else "Scale them to 0..1 (divide 0..255 by 255)."
        raise UnsuitableMaskError(
            f"{name} holds values from {low:.4g} to {high:.4g}, so they are not probabilities from 0 to 1.",
            hint,
            code="not-probabilities",
            file=name,
            low=low,
            high=high,
        )
    out: np.ndarray = np.clip(array, 0, 1).astype(np.float32)
    return out
