"""The head atlas that is shipped with FlairSeg: how likely each tissue is where, in an average head.

Made by ``tools/build_atlas.py``; what it is made from, and its licence, is in ``README.md`` beside this file.
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
    probabilities : ndarray of float32, shape (tissues, K, J, I)
        0..1, in the order of :data:`TISSUES`; what is missing to 1 is bone, skin and air.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the grid, mm, RAS; the origin is the middle of the average brain.
    """

    probabilities: np.ndarray
    ijk_to_ras: np.ndarray

    def __getitem__(self, tissue: str) -> np.ndarray:
        """Probability of one tissue, (K, J, I)."""
        out: np.ndarray = self.probabilities[TISSUES.index(tissue)]
        return out

    @cached_property
    def brain(self) -> np.ndarray:
        """Probability of brain with its ventricles, (K, J, I)."""
        out: np.ndarray = self.probabilities[1:].sum(axis=0)
        return out

    @cached_property
    def ventricles(self) -> np.ndarray:
        """Probability of any ventricle, (K, J, I)."""
        out: np.ndarray = self["lateral_ventricles"] + self["third_ventricle"] + self["fourth_ventricle"]
        return out

    def outline(self, ventricle_weight: float) -> np.ndarray:
        """Brain less ``ventricle_weight`` times the ventricles, (K, J, I)."""
        return self.brain - np.float32(ventricle_weight) * self.ventricles

    @cached_property
    def contrast(self) -> np.ndarray:
        """The average head as FLAIR would show it, white matter at 1, (K, J, I)."""
        weights = np.array([SIGNAL[name] for name in TISSUES], np.float32)
        return np.tensordot(weights, self.probabilities, axes=1)


@cache
def load_atlas() -> Atlas:
    """The atlas, read once."""
    with np.load(FILE, allow_pickle=False) as file:
        return Atlas(file["levels"].astype(np.float32) / 255, file["ijk_to_ras"])
