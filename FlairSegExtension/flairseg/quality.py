"""Does it look like a brain FLAIR?"""

from __future__ import annotations

import numpy as np

from .slicestack import SliceStack


def assess(stack: SliceStack, mask: np.ndarray, labels: np.ndarray) -> list[str]:
    """Placeholder while being measured."""
    return []
