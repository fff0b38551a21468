"""Figures of a case that later cases are compared with: image statistics and model confidence.

Taken of every case at adaptation, kept in the card as mean and standard deviation, and taken again by
:mod:`.drift`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..labels import LESION, VENTRICLES
from ..preprocessing.scan_figures import image_features
from .framed import dequantise

if TYPE_CHECKING:
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


def reference_of(features: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Mean, standard deviation and count of the figures over cases, for the card."""
    return {
        "cases": len(features),
        "figures": {
            name: {
                "mean": round(float(np.mean([one[name] for one in features])), 5),
                "sd": round(float(np.std([one[name] for one in features], ddof=1)), 5) if len(features) > 1 else 0.0,
            }
            for name in FEATURES
        },
    }
