"""Per-patient figures of a label map against its reference, in physical units."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

CONNECTIVITY_26 = np.ones((3, 3, 3))


def overlap(predicted: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Dice, precision and recall of two binary volumes; NaN where undefined (both empty gives Dice 1).

    Parameters
    ----------
    predicted, reference : ndarray of bool, shape (K, J, I)
    """
    both, ours, theirs = (int(x.sum()) for x in (predicted & reference, predicted, reference))
    return {
        "dice": 2 * both / (ours + theirs) if ours + theirs else 1.0,
        "precision": both / ours if ours else float("nan"),
        "recall": both / theirs if theirs else float("nan"),
    }


def class_dice(predicted: np.ndarray, reference: np.ndarray) -> list[float]:
    """Dice of classes 1, 2 and 3 of two label maps."""
    return [overlap(predicted == c, reference == c)["dice"] for c in (1, 2, 3)]


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the precision-recall curve as a sum over its steps; NaN without positives.

    The average precision of scikit-learn: equal scores make one step.

    Parameters
    ----------
    scores : ndarray of float, shape (n,)
    truth : ndarray of bool, shape (n,)
    """
    positives = int(truth.sum())
    if positives == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(truth[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last one of each run of equal scores
    precision, recall = found[last] / (last + 1), found[last] / positives
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask with a face neighbour outside it."""
    return mask & ~ndimage.binary_erosion(mask, border_value=0)


def hd95(predicted: np.ndarray, reference: np.ndarray, spacing_kji: tuple[float, float, float]) -> float:
    """95th percentile of the symmetric surface distances in mm (the larger of both directions); NaN if one is empty.

    Parameters
    ----------
    predicted, reference : ndarray of bool, shape (K, J, I)
    spacing_kji : tuple of float
        Voxel spacing in mm along K, J, I.
    """
    if not predicted.any() or not reference.any():
        return float("nan")
    ours, theirs = _surface(predicted), _surface(reference)
    to_theirs = ndimage.distance_transform_edt(~theirs, sampling=spacing_kji)[ours]
    to_ours = ndimage.distance_transform_edt(~ours, sampling=spacing_kji)[theirs]
    return float(max(np.percentile(to_theirs, 95), np.percentile(to_ours, 95)))


def lesion_f1(predicted: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Lesion-level recall, precision and F1, 26-connected, found if one voxel overlaps (source: S5).

    F1 is 0 where no lesion was found or none was there to find, and NaN where both maps are empty.
    """
    ours, our_count = ndimage.label(predicted, CONNECTIVITY_26)
    theirs, their_count = ndimage.label(reference, CONNECTIVITY_26)
    found = len(np.unique(theirs[predicted & (theirs > 0)]))
    right = len(np.unique(ours[reference & (ours > 0)]))
    recall = found / their_count if their_count else float("nan")
    precision = right / our_count if our_count else float("nan")
    nothing = 0.0 if our_count or their_count else float("nan")
    return {
        "lesion_recall_by_lesion": recall,
        "lesion_precision_by_lesion": precision,
        "lesion_f1": 2 * recall * precision / (recall + precision) if recall + precision > 0 else nothing,
    }


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
        ``<class>_<figure>`` with classes ventricles, normal_wmh, lesion and all_wmh (2 and 3 together), and the
        lesion-level figures.
    """
    figures: dict[str, float] = {}
    groups = {"ventricles": (1,), "normal_wmh": (2,), "lesion": (3,), "all_wmh": (2, 3)}
    for name, values in groups.items():
        ours, theirs = np.isin(predicted, values), np.isin(reference, values)
        figures.update({f"{name}_{key}": value for key, value in overlap(ours, theirs).items()})
        figures[f"{name}_hd95"] = hd95(ours, theirs, spacing_kji)
    figures.update(lesion_f1(predicted == 3, reference == 3))
    return figures
