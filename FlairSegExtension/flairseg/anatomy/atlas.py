"""The head atlas shipped with FlairSeg: tissue probabilities in an average head.

Made by ``tools/build_atlas.py``; sources and licence are in ``README.md`` beside this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

#: Tissues in the order in which the atlas holds them.
TISSUES = (
    "fluid",
    "white_matter",
    "cortex",
    "deep_gray",
    "lateral_ventricles",
    "third_ventricle",
    "fourth_ventricle",
    "brain_stem",
    "cerebellum",
)
#: Brightness in FLAIR relative to white matter (medians of patients, as in :mod:`flairseg.phantom.tissues`).
SIGNAL = {
    "fluid": 0.14,
    "white_matter": 1.0,
    "cortex": 1.19,
    "deep_gray": 1.08,
    "lateral_ventricles": 0.15,
    "third_ventricle": 0.15,
    "fourth_ventricle": 0.15,
    "brain_stem": 1.0,
    "cerebellum": 1.06,
}
FILE = Path(__file__).with_name("atlas.npz")


@dataclass(frozen=True, eq=False)
class Atlas:
    """Probabilities of tissues in an average head.

    Attributes
    ----------
    levels : ndarray of uint8, shape (tissues, K, J, I)
        Probabilities times 255, in the order of :data:`TISSUES`; what is missing to 255 is bone, skin and air.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the grid, mm, RAS; the origin is the middle of the average brain.
    """

    levels: np.ndarray
    ijk_to_ras: np.ndarray

    def __getitem__(self, tissue: str) -> np.ndarray:
        """Probability of one tissue, float32 (K, J, I)."""
        return _probability(self.levels[TISSUES.index(tissue)])

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each tissue, float32 (tissues, K, J, I)."""
        return _probability(self.levels)

    def sum_of(self, *tissues: str) -> np.ndarray:
        """Sum of the levels of some tissues, int16 (K, J, I)."""
        out = np.zeros(self.levels.shape[1:], np.int16)
        for tissue in tissues:
            out += self.levels[TISSUES.index(tissue)]
        return out

    @cached_property
    def brain_levels(self) -> np.ndarray:
        """Probability of brain with its ventricles times 255, int16 (K, J, I)."""
        return self.sum_of(*TISSUES[1:])

    @cached_property
    def ventricle_levels(self) -> np.ndarray:
        """Probability of any ventricle times 255, int16 (K, J, I)."""
        return self.sum_of("lateral_ventricles", "third_ventricle", "fourth_ventricle")

    @property
    def brain(self) -> np.ndarray:
        """Probability of brain with its ventricles, float32 (K, J, I)."""
        return _probability(self.brain_levels)

    @property
    def ventricles(self) -> np.ndarray:
        """Probability of any ventricle, float32 (K, J, I)."""
        return _probability(self.ventricle_levels)

    def outline(self, ventricle_weight: float) -> np.ndarray:
        """Brain less ``ventricle_weight`` times the ventricles, (K, J, I)."""
        return self.brain - np.float32(ventricle_weight) * self.ventricles

    @property
    def contrast(self) -> np.ndarray:
        """The average head as FLAIR would show it, white matter at 1, (K, J, I)."""
        out = np.zeros(self.levels.shape[1:], np.float32)
        for name, levels in zip(TISSUES, self.levels, strict=True):
            out += np.float32(SIGNAL[name] / 255) * levels
        return out


def _probability(levels: np.ndarray) -> np.ndarray:
    """Levels 0..255 as float32 0..1."""
    return levels * np.float32(1 / 255)


@cache
def load_atlas() -> Atlas:
    """The atlas, read once."""
    with np.load(FILE, allow_pickle=False) as file:
        return Atlas(file["levels"], file["ijk_to_ras"])
