"""Figures per patient with the keys of model cards, computed by :mod:`flairseg.evaluation`."""

from __future__ import annotations

import numpy as np
from flairseg.evaluation.components import match_lesions
from flairseg.evaluation.overlap import Overlap
from flairseg.evaluation.surface import surface_distances
from flairseg.evaluation.terms import EVALUATED


def class_dice(predicted: np.ndarray, reference: np.ndarray) -> list[float]:
    """Dice of classes 1, 2 and 3 of two label maps; NaN if a class is absent from both."""
    return [Overlap.of(predicted == c, reference == c).dice for c in (1, 2, 3)]


def compare(predicted: np.ndarray, reference: np.ndarray, spacing_kji: tuple[float, float, float]) -> dict[str, float]:
    """All figures of one patient.

    Parameters
    ----------
    predicted, reference : ndarray of uint8, shape (K, J, I)
        Label maps, classes 0..3.
    spacing_kji : tuple of float
        Voxel spacing in mm along K, J, I.

    Returns
    -------
    dict
        ``<class>_<figure>`` for ventricles, normal_wmh, lesion and all_wmh (2 and 3 together), and lesion-level
        figures (detected if one voxel overlaps: S5). NaN where undefined.
    """
    figures: dict[str, float] = {}
    for name, values in EVALUATED.items():
        ours, theirs = np.isin(predicted, values), np.isin(reference, values)
        counts = Overlap.of(ours, theirs)
        figures |= {f"{name}_{key}": getattr(counts, key) for key in ("dice", "precision", "recall")}
        figures[f"{name}_hd95"] = surface_distances(ours, theirs, spacing_kji).hd95
    match = match_lesions(predicted == 3, reference == 3)
    return figures | {
        "lesion_recall_by_lesion": match.recall,
        "lesion_precision_by_lesion": match.precision,
        "lesion_f1": match.f1,
    }
