"""Figures of a case that later cases are compared with: image statistics and model confidence.

Taken of every case at adaptation, kept in the card as mean and standard deviation, and taken again by
:mod:`.drift`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..labels import LESION, VENTRICLES
from ..preprocessing.scan_figures import image_features
from .framed import dequantise

if TYPE_CHECKING:
    from ..models.card import ModelCard
    from ..segmentation.result import Segmentation

#: Figures of a case -> what they are.
FEATURES: dict[str, str] = {
    "confidence": "mean probability of lesion voxels",
    "lesion_log_ml": "logarithm of 1 + lesion volume in ml",
    "ventricle_log_ml": "logarithm of 1 + ventricle volume in ml",
    "image_spread": "standard deviation of the brain's normalised intensity",
    "image_dark": "5th percentile of the brain's normalised intensity",
    "image_bright": "95th percentile of the brain's normalised intensity",
    "image_texture": "mean absolute difference of neighbouring pixels in the brain, normalised",
}


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a figure over cases."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Reference:
    """Figures of the cases of an adaptation.

    Attributes
    ----------
    cases : int
    figures : mapping of str to Spread
        Keys of :data:`FEATURES`.
    """

    cases: int
    figures: Mapping[str, Spread]

    def to_json(self) -> dict[str, Any]:
        """As it is in a card."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Reference:
        """Inverse of :meth:`to_json`."""
        return cls(kept["cases"], {name: Spread(one["mean"], one["sd"]) for name, one in kept["figures"].items()})

    @classmethod
    def of_card(cls, card: ModelCard) -> Reference | None:
        """That of an adapted model; None of others, and of earlier versions."""
        kept = (card.raw.get("adaptation") or {}).get("reference")
        return cls.from_json(kept) if kept else None


def case_features(result: Segmentation, images: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Figures of one case.

    Parameters
    ----------
    result : Segmentation
        By the model in use.
    images : ndarray of uint8, shape (slices, rows, columns)
        Framed slices, normalised, as bytes.
    masks : ndarray of bool, same shape
        Brain.
    """
    lesion = result.labels == LESION
    assert result.probabilities is not None  # noqa: S101 - a model's result has them
    sure = float(result.probabilities[LESION][lesion].astype(np.float32).mean()) if lesion.any() else 1.0
    voxel_ml = result.volume.geometry.voxel_volume_ml
    return {
        "confidence": sure,
        "lesion_log_ml": float(np.log1p(lesion.sum() * voxel_ml)),
        "ventricle_log_ml": float(np.log1p((result.labels == VENTRICLES).sum() * voxel_ml)),
        **image_features(dequantise(images), masks),
    }


def reference_of(features: Sequence[Mapping[str, float]]) -> Reference:
    """Mean and standard deviation of the figures over cases, for the card."""
    spreads = {}
    for name in FEATURES:
        values = [one[name] for one in features]
        sd = round(float(np.std(values, ddof=1)), 5) if len(values) > 1 else 0.0
        spreads[name] = Spread(round(float(np.mean(values)), 5), sd)
    return Reference(len(features), spreads)
