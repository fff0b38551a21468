"""From what a network puts out to probabilities of the four classes, and from those to labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..labels import BACKGROUND, NUMBER_OF_CLASSES
from ..models.card import PipelineConfig


def decode(output: np.ndarray, config: PipelineConfig) -> np.ndarray:
    """Class probabilities from a network's output.

    Parameters
    ----------
    output : ndarray of float32, shape (N, channels, rows, columns)
    config : PipelineConfig
        Says how to read it: ``output``, ``output_classes``, ``logits``, ``class_values``, ``temperature``.

    Returns
    -------
    ndarray of float32, shape (N, 4, rows, columns)
        Classes 0..3, sum 1. Classes that the network does not know have probability 0.
    """
    if config.output == "gray":
        known = gray_probabilities(output[:, 0], config.class_values, config.temperature)
    elif config.output == "sigmoid":
        known = exclusive_probabilities(sigmoid(output) if config.logits else output)
    else:
        known = softmax(output) if config.logits else output
    classes = (BACKGROUND, *config.output_classes) if config.output == "sigmoid" else config.output_classes
    if classes == tuple(range(NUMBER_OF_CLASSES)):
        return np.asarray(known, dtype=np.float32)
    out = np.zeros((len(known), NUMBER_OF_CLASSES, *known.shape[2:]), dtype=np.float32)
    out[:, list(classes)] = known
    return out


def gray_probabilities(gray: np.ndarray, class_values: tuple[float, ...], temperature: float = 0.1) -> np.ndarray:
    """Distance softmax: ``p_c = exp(-|g - v_c| / T) / sum`` over the classes' gray levels ``v_c`` (source: S1).

    S1 gives the levels (0, 0.25, 0.75 and 1 for background, ventricles, normal and abnormal WMH) and not the scale:
    with T = 0.1 a pixel exactly at a level keeps at least 0.91 for its class, and S1's threshold of 0.3 for abnormal
    WMH is at g = 0.83, just below the half-way level of 0.875.

    Parameters
    ----------
    gray : ndarray of float, shape (N, rows, columns)
        The network's gray levels.
    class_values : tuple of float
        Level of each class.
    temperature : float
        Scale of the distance, in gray levels.

    Returns
    -------
    ndarray of float32, shape (N, classes, rows, columns)
    """
    levels = np.asarray(class_values, dtype=np.float32)[None, :, None, None]
    return softmax(np.abs(np.asarray(gray, dtype=np.float32)[:, None] - levels) / np.float32(-temperature))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over axis 1, safe for large values; float32, same shape."""
    out = np.asarray(logits, dtype=np.float32)
    out = np.exp(out - out.max(axis=1, keepdims=True))
    out /= out.sum(axis=1, keepdims=True)
    result: np.ndarray = out
    return result


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logistic function, safe for large values; float32, same shape."""
    from scipy.special import expit

    out: np.ndarray = expit(np.asarray(logits, dtype=np.float32))
    return out


def exclusive_probabilities(independent: np.ndarray) -> np.ndarray:
    """Exclusive classes from independent ones: background is "none of them", then all are scaled to sum 1.

    With one class this is (1 - p, p), as in S3, S4 and S5.

    Parameters
    ----------
    independent : ndarray of float, shape (N, classes, rows, columns)
        Each in [0, 1].

    Returns
    -------
    ndarray of float32, shape (N, 1 + classes, rows, columns)
    """
    p = np.clip(np.asarray(independent, dtype=np.float32), 0.0, 1.0)
    out = np.concatenate([np.prod(1.0 - p, axis=1, keepdims=True), p], axis=1)
    out /= np.maximum(out.sum(axis=1, keepdims=True), np.float32(1e-12))
    return out


def classify(probabilities: np.ndarray, thresholds: Mapping[int, float] | None = None) -> np.ndarray:
    """Labels from probabilities.

    A class with a threshold takes every voxel where its probability reaches it, and no other; where several reach
    theirs, the highest class value wins (a lesion is never hidden). All other voxels go to the most probable of the
    classes without a threshold. S1 decodes abnormal WMH so, at 0.3.

    Parameters
    ----------
    probabilities : ndarray of float, shape (4, ...)
        Class axis first.
    thresholds : mapping of int to float, optional
        Class value -> probability.

    Returns
    -------
    ndarray of uint8, shape (...)
    """
    thresholds = thresholds or {}
    free = [c for c in range(len(probabilities)) if c not in thresholds]
    labels = np.full(probabilities.shape[1:], free[0], dtype=np.uint8)
    best = np.array(probabilities[free[0]])
    for c in free[1:]:
        better = probabilities[c] > best
        labels[better] = c
        np.maximum(best, probabilities[c], out=best)
    for c in sorted(thresholds):
        labels[probabilities[c] >= thresholds[c]] = c
    return labels
