"""Masks of several readers of one case: agreement, combined mask, and dots at all delineated lesions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .acceptance import LesionMap
from .reference_setup import INTERSECTION, MAJORITY, UNION

#: Dots nearer to each other than this are one, mm: S5's smallest lesion is 3 mm across.
DOT_DISTANCE_MM = 3.0


def dice_of(one: np.ndarray, other: np.ndarray) -> float:
    """Dice coefficient of two boolean masks of one shape; two empty masks agree: 1."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 1.0 if total == 0 else float(2 * np.count_nonzero(one & other) / total)


def combined(masks: Sequence[np.ndarray], how: str) -> np.ndarray:
    """Boolean masks of one shape made into one: ``union``, ``intersection`` or ``majority`` (more than half)."""
    votes = np.sum([np.asarray(mask, bool) for mask in masks], axis=0)
    needed = {UNION: 1, INTERSECTION: len(masks), MAJORITY: len(masks) // 2 + 1}[how]
    out: np.ndarray = votes >= needed
    return out


def dots_of(
    drawn: Mapping[str, np.ndarray], ijk_to_ras: np.ndarray, distance_mm: float = DOT_DISTANCE_MM
) -> list[tuple[tuple[float, float, float], list[str]]]:
    """Centres of mass of all delineated lesions; those nearer than ``distance_mm`` are one dot.

    The largest lesions come first, and smaller ones near an existing dot join it.

    Parameters
    ----------
    drawn : mapping of str to ndarray, shape (K, J, I)
        Reader -> class values.
    ijk_to_ras : ndarray, shape (4, 4)
        mm, RAS.
    distance_mm : float

    Returns
    -------
    list of (tuple of 3 float, list of str)
        RAS mm, and the readers who drew a lesion there.
    """
    lesions: Iterable[tuple[float, tuple[float, float, float], str]] = (
        (lesion.volume_ml, lesion.centre_ras, who)
        for who, labels in drawn.items()
        for lesion in LesionMap(labels, ijk_to_ras).lesions
    )
    dots: list[tuple[tuple[float, float, float], list[str]]] = []
    for _, centre, who in sorted(lesions, key=lambda found: (-found[0], found[1])):
        near = next((dot for dot in dots if np.linalg.norm(np.subtract(dot[0], centre)) < distance_mm), None)
        if near is None:
            dots.append((centre, [who]))
        elif who not in near[1]:
            near[1].append(who)
    return dots
