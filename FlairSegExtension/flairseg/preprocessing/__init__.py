"""Preprocessing: from a stack of slices to the generator's input, and its output back.

``preprocess`` runs the variants named in a model card; training calls the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import ndimage

from ..image.slice_stack import SliceStack
from .brain_mask import brain_mask, shared_brain_mask
from .denoise import denoise_s1
from .framing import Frame, frame_brain_fill, frame_brain_mm, frame_native, frame_resample, frame_resize
from .normalisation import NORMALISATIONS, RULES

__all__ = ["Frame", "Prepared", "PreprocessingConfig", "brain_mask", "denoise_s1", "preprocess", "strip_skull"]

DENOISERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"none": np.asarray, "s1": denoise_s1}
#: Called as ``frame(mask, stack spacing in mm (slice, row, column), config)``.
FRAMINGS: dict[str, Callable[[np.ndarray, tuple[float, float, float], PreprocessingConfig], Frame]] = {
    "brain-mm": lambda mask, mm, config: frame_brain_mm(mask, mm[1:], config.frame_size, config.frame_spacing_mm),
    "brain-256": lambda mask, mm, config: frame_brain_fill(mask, mm[1:], config.frame_size),
    "crop-256": lambda mask, mm, config: frame_native(mask, mm[1:], config.frame_size),
    "resample-256": lambda mask, mm, config: frame_resample(mask.shape, mm[1:], config.frame_size),
    "resize-512": lambda mask, mm, config: frame_resize(mask.shape, config.frame_size),
    "pad-384": lambda mask, mm, config: frame_native(mask, mm[1:], config.frame_size),
}


class PreprocessingConfig(Protocol):
    """Fields of a model card's pipeline used by :func:`preprocess`."""

    @property
    def denoise(self) -> str:
        """Name of the denoiser."""

    @property
    def brain_mask(self) -> str:
        """Name of the brain mask."""

    @property
    def normalisation(self) -> str:
        """Name of the normalisation."""

    @property
    def skull_strip(self) -> bool:
        """Whether what is outside of the brain is set to 0."""

    @property
    def framing(self) -> str:
        """Name of the framing."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """Rows and columns of a frame."""

    @property
    def frame_spacing_mm(self) -> float:
        """Pixel size of a frame, mm."""

    @property
    def input_slices(self) -> int:
        """Neighbouring slices that the network sees together."""

    @property
    def neighbour_mm(self) -> float:
        """Distance of these slices, mm."""

    @property
    def slab_mm(self) -> float:
        """Thickness over which thin slices are averaged, mm; 0: not at all."""


@dataclass(frozen=True)
class Prepared:
    """A stack ready for the generator.

    Attributes
    ----------
    slices : ndarray of float32, shape (slices, frame rows, frame columns)
        Normalised and framed.
    mask : ndarray of bool, shape (slices, rows, columns)
        Rough brain mask on the stack's grid.
    frame : Frame
        Transform into the frame and back.
    neighbour : int
        Distance of a slice's input neighbours, in slices; 0 when the generator sees one slice.
    """

    slices: np.ndarray
    mask: np.ndarray
    frame: Frame
    neighbour: int

    def channels(self, index: int) -> np.ndarray:
        """Generator input of one slice, float32 (channels, rows, columns): below, itself, above (2.5D, source: S5)."""
        if self.neighbour == 0:
            out: np.ndarray = self.slices[index][None]
            return out
        last = len(self.slices) - 1
        below, above = max(index - self.neighbour, 0), min(index + self.neighbour, last)
        return self.slices[[below, index, above]]

    def batch(self, start: int, stop: int) -> np.ndarray:
        """Generator inputs of slices ``start`` to ``stop`` (not included), float32 (N, channels, rows, columns)."""
        return np.stack([self.channels(k) for k in range(start, stop)])

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """Generator inputs of all slices in order, float32 (<= size, channels, rows, columns)."""
        for start in range(0, len(self.slices), size):
            yield self.batch(start, min(start + size, len(self.slices)))

    def restore(
        self, probabilities: np.ndarray, start: int = 0, region: tuple[slice, slice] | None = None
    ) -> np.ndarray:
        """Bring class probabilities back to the stack's own grid.

        Parameters
        ----------
        probabilities : ndarray of float, shape (n, classes, frame rows, frame columns)
            Class 0 is background; the classes sum to 1.
        start : int
            Number of the first slice.
        region : tuple of slice, optional
            Rows and columns that are wanted, see :meth:`.Frame.invert`; default: all.

        Returns
        -------
        ndarray of float32, shape (classes, n, rows, columns)
            Of the region. Outside the frame background is 1.
        """
        count, classes = probabilities.shape[:2]
        grid = self.frame.grid if region is None else [s.stop - s.start for s in region]
        out = np.empty((classes, count, *grid), dtype=np.float32)
        for n in range(count):
            for c in range(1, classes):
                out[c, n] = self.frame.invert(probabilities[n, c], start + n, region)
            np.subtract(1.0, out[1:, n].sum(axis=0), out=out[0, n])
        return out


def neighbour_offset(slice_mm: float, neighbour_mm: float) -> int:
    """Offset of the neighbouring input slices: about ``neighbour_mm``, at least one slice."""
    return max(1, round(neighbour_mm / slice_mm))


def slab_width(slice_mm: float, slab_mm: float) -> int:
    """Number of thin slices (odd) averaged to a slab of about ``slab_mm``."""
    if slab_mm <= 0 or slice_mm >= slab_mm:
        return 1
    return 2 * int(slab_mm / slice_mm / 2) + 1


def strip_skull(slices: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Everything outside the brain mask takes the darkest value of the brain (source: S2).

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
        Intensities, any unit.
    mask : ndarray of bool, same shape
        Rough brain mask; where no slice has brain, the image is unchanged.

    Returns
    -------
    ndarray, same shape and type
    """
    return np.where(mask, slices, slices[mask].min()) if mask.any() else slices


def preprocess(
    stack: SliceStack,
    config: PreprocessingConfig,
    check: Callable[[float], None] | None = None,
    masks: dict[tuple[str, str], np.ndarray] | None = None,
) -> Prepared:
    """Denoise, find the brain, strip the skull or not, normalise, frame: the variants named in ``config``.

    Parameters
    ----------
    stack : SliceStack
    config : PreprocessingConfig
        A model card's pipeline.
    check : callable, optional
        Called with the fraction done (0..1) between steps; may raise to cancel.
    masks : dict, optional
        Brain masks of this image, by plane and denoising, shared by several models (the slowest step). A new one is
        added.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError
        If the config names an unknown variant.
    """
    step = check or (lambda fraction: None)
    if config.framing not in FRAMINGS or config.denoise not in DENOISERS or config.normalisation not in NORMALISATIONS:
        raise ValueError(f"unknown variant: {config.denoise}, {config.normalisation}, {config.framing}")
    slices = DENOISERS[config.denoise](stack.array)
    step(0.1)
    known = {} if masks is None else masks
    if (stack.plane, config.denoise) not in known:
        known[stack.plane, config.denoise] = shared_brain_mask(slices, stack.spacing)
    mask = known[stack.plane, config.denoise]
    step(0.5)
    if config.skull_strip:
        slices = strip_skull(slices, mask)
    frame = FRAMINGS[config.framing](mask, stack.spacing, config)
    if config.normalisation in RULES:
        # Slice by slice: a volume of thin slices would take its own size once more.
        rule = RULES[config.normalisation](slices, mask)
        step(0.7)
        framed = frame.apply(slices, fill=float(rule(slices.min(keepdims=True)).item()), change=rule)
    else:
        normalised = NORMALISATIONS[config.normalisation](slices, mask)
        step(0.7)
        framed = frame.apply(normalised, fill=float(normalised.min()))
        del normalised
    width = slab_width(stack.spacing[0], config.slab_mm)
    if width > 1:
        ndimage.uniform_filter1d(framed, width, axis=0, mode="nearest", output=framed)
    step(1.0)
    neighbour = neighbour_offset(stack.spacing[0], config.neighbour_mm) if config.input_slices == 3 else 0
    return Prepared(framed, mask, frame, neighbour)
