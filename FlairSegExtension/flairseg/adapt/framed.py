"""Annotated cases in the frame of a model: preprocessed slices, labels and brain mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..models.card import PipelineConfig
from ..preprocessing import Prepared, preprocess


@dataclass
class Case:
    """Annotated case.

    Attributes
    ----------
    name : str
        Patient.
    volume : Volume
        FLAIR on its own grid.
    labels : ndarray of uint8, shape (K, J, I)
        Classes 0..3 on that grid; class 2 by rule or annotated manually.
    """

    name: str
    volume: Volume
    labels: np.ndarray


@dataclass
class FramedCase:
    """Case in the frame of a model.

    Attributes
    ----------
    name : str
    prepared : Prepared
        Preprocessed slices.
    labels : ndarray of uint8, shape (slices, rows, columns)
    mask : ndarray of bool, shape (slices, rows, columns)
        Brain.
    """

    name: str
    prepared: Prepared
    labels: np.ndarray
    mask: np.ndarray


def frame_case(case: Case, config: PipelineConfig) -> FramedCase:
    """Preprocess a case by a card's pipeline, with labels and brain mask in the same frame."""
    stack = SliceStack.from_volume(case.volume, config.plane)
    prepared = preprocess(stack, config)
    labels = SliceStack.from_volume(case.volume.with_array(case.labels), config.plane).array
    memberships = np.stack([prepared.frame.apply((labels == c).astype(np.float32)) for c in range(1, 4)])
    background = 1 - memberships.sum(0, keepdims=True)
    framed = np.concatenate([background, memberships]).argmax(0).astype(np.uint8)
    mask = prepared.frame.apply(prepared.mask.astype(np.float32)) > 0.5
    return FramedCase(case.name, prepared, framed, mask)


def quantise(normalised: np.ndarray) -> np.ndarray:
    """Normalised intensities -6..8 as uint8 (a step is a quarter of a typical noise level)."""
    return np.clip((normalised + 6) / 14 * 255, 0, 255).round().astype(np.uint8)


def dequantise(stored: np.ndarray) -> np.ndarray:
    """Inverse of :func:`quantise`: float32."""
    return stored.astype(np.float32) * np.float32(14 / 255) - 6
