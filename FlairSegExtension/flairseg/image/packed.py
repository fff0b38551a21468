"""The model's own answer in little space: labels and class probabilities, cut to where there is something.

Probabilities are kept in steps of 1/255. Background is what the three classes leave. Of a head of 200 slices of
512 x 512 voxels that is about a tenth of what float16 takes on the whole grid. An ensemble adds its disagreement.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from ..labels import NUMBER_OF_CLASSES
from .geometry import triple

_LEVELS = 255
#: Classes whose probability is kept; background is what they leave.
_CHANCES = NUMBER_OF_CLASSES - 1
#: Label maps unpacked from text may have so many voxels at the most: what is no label map shall not fill the memory.
_MAXIMUM_VOXELS = 2**31


@dataclass(frozen=True)
class CompactAnswer:
    """Labels and probabilities within their bounding box.

    Attributes
    ----------
    shape : tuple of int
        K, J, I of the whole grid.
    start : tuple of int
        K, J, I of the box's first voxel.
    labels : ndarray of uint8, shape (k, j, i)
        The model's labels 0..3 in the box; outside they are 0.
    levels : ndarray of uint8, shape (k, j, i, 3) or (k, j, i, 4), or None
        Probabilities of the classes 1, 2, 3 in steps of 1/255, classes last; outside the box they are 0. A fourth one
        is the disagreement of an ensemble's members (:mod:`flairseg.segmentation.ensemble`), in the same steps.
    beyond : ndarray of uint8, shape (k, j, i), or None
        1 where a voxel with a probability is farther from the brain than the model's card allows
        (``brain_margin_mm``); None where there is no such voxel.
    """

    shape: tuple[int, int, int]
    start: tuple[int, int, int]
    labels: np.ndarray
    levels: np.ndarray | None = None
    beyond: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises
        ------
        ValueError
            If they do not.
        """
        inside = all(a >= 0 and a + n <= m for a, n, m in zip(self.start, self.labels.shape, self.shape, strict=True))
        if not inside or self.labels.dtype != np.uint8 or self.labels.size == 0:
            raise ValueError("the box of labels is not on its grid")
        wanted = [(*self.labels.shape, _CHANCES), (*self.labels.shape, _CHANCES + 1)]
        if self.levels is not None and (self.levels.dtype != np.uint8 or self.levels.shape not in wanted):
            raise ValueError("probabilities and labels do not fit together")
        if self.beyond is not None and (self.beyond.dtype != np.uint8 or self.beyond.shape != self.labels.shape):
            raise ValueError("the brain's margin and the labels do not fit together")

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Position of the box on the grid, K, J, I."""
        return triple(slice(a, a + n) for a, n in zip(self.start, self.labels.shape, strict=True))

    @classmethod
    def pack(
        cls, labels: np.ndarray, probabilities: np.ndarray | None = None, disagreement: np.ndarray | None = None
    ) -> CompactAnswer:
        """Keep labels (uint8, K, J, I) and probabilities (float16, 4, K, J, I; optional), slice by slice.

        With probabilities also an ensemble's disagreement (float16, K, J, I; optional), where they are not 0. Without
        any class anywhere the box is one voxel of background.

        Raises
        ------
        ValueError
            If the two are not on one grid.
        """
        if probabilities is not None and probabilities.shape != (NUMBER_OF_CLASSES, *labels.shape):
            raise ValueError("probabilities and labels are not on one grid")
        if disagreement is not None and (probabilities is None or disagreement.shape != labels.shape):
            raise ValueError("disagreement and probabilities are not on one grid")
        table = _level_table()

        def levels_of(probabilities: np.ndarray, k: int) -> np.ndarray:
            part = np.asarray(probabilities[1:, k], np.float16)
            return table[part.view(np.uint16)]

        def disagreement_of(disagreement: np.ndarray, k: int) -> np.ndarray:
            return table[np.ascontiguousarray(disagreement[k], np.float16).view(np.uint16)]

        rows, columns = (np.zeros(n, bool) for n in labels.shape[1:])
        slices = []
        for k in range(len(labels)):
            something = labels[k] != 0
            if probabilities is not None:
                something |= levels_of(probabilities, k).any(axis=0)
            if something.any():
                slices.append(k)
                rows |= something.any(axis=1)
                columns |= something.any(axis=0)
        if not slices:
            slices, rows, columns = [0], np.array([True]), np.array([True])
        spans = [(found[0], found[-1] + 1) for found in (slices, np.nonzero(rows)[0], np.nonzero(columns)[0])]
        box = triple(slice(int(first), int(last)) for first, last in spans)
        kept = np.ascontiguousarray(labels[box], np.uint8)
        levels = None
        if probabilities is not None:
            levels = np.empty((*kept.shape, _CHANCES + (disagreement is not None)), np.uint8)
            for k in range(len(kept)):
                levels[k, ..., :_CHANCES] = np.moveaxis(
                    levels_of(probabilities, box[0].start + k)[:, box[1], box[2]], 0, -1
                )
                if disagreement is not None:
                    levels[k, ..., _CHANCES] = disagreement_of(disagreement, box[0].start + k)[box[1], box[2]]
        return cls(triple(labels.shape), triple(s.start for s in box), kept, levels)

    def full_labels(self) -> np.ndarray:
        """Labels on the whole grid, uint8, K, J, I."""
        out = np.zeros(self.shape, np.uint8)
        out[self.box] = self.labels
        return out

    def full_probabilities(self) -> np.ndarray | None:
        """Probabilities on the whole grid, float16, (4, K, J, I), background first, to within 1/510; None if not kept.

        Takes 8 bytes a voxel and, for a large volume, about a second: not for the GUI thread.
        """
        if self.levels is None:
            return None
        out = np.zeros((NUMBER_OF_CLASSES, *self.shape), np.float16)
        out[0] = 1
        unit = (np.arange(NUMBER_OF_CLASSES * _LEVELS, dtype=np.float32) / _LEVELS).astype(np.float16)
        background = np.clip(1 - np.arange(NUMBER_OF_CLASSES * _LEVELS, dtype=np.float32) / _LEVELS, 0, 1)
        background = background.astype(np.float16)
        rows, columns = self.box[1:]
        for k, part in enumerate(self.levels[..., :_CHANCES], self.start[0]):
            out[1:, k, rows, columns] = np.moveaxis(unit[part], -1, 0)
            out[0, k, rows, columns] = background[part.sum(axis=-1, dtype=np.uint16)]
        return out

    def full_beyond(self) -> np.ndarray | None:
        """:attr:`beyond` on the whole grid, bool, K, J, I; None where there is no such voxel."""
        if self.beyond is None:
            return None
        out = np.zeros(self.shape, bool)
        out[self.box] = self.beyond != 0
        return out

    def full_disagreement(self) -> np.ndarray | None:
        """Disagreement of an ensemble's members on the whole grid, float16, K, J, I, to within 1/510; None if not kept.

        0 outside the box.
        """
        if self.levels is None or self.levels.shape[-1] == _CHANCES:
            return None
        out = np.zeros(self.shape, np.float16)
        unit = (np.arange(_LEVELS + 1, dtype=np.float32) / _LEVELS).astype(np.float16)
        out[self.box] = unit[self.levels[..., _CHANCES]]
        return out

    @cached_property
    def labels_text(self) -> str:
        """The labels as ASCII text (deflated, base64), small enough for an attribute of a scene."""
        return self._text_of(self.labels)

    @cached_property
    def beyond_text(self) -> str:
        """:attr:`beyond` in the form of :attr:`labels_text`; empty where it is None."""
        return "" if self.beyond is None else self._text_of(self.beyond)

    def _text_of(self, voxels: np.ndarray) -> str:
        sizes = ";".join(",".join(map(str, part)) for part in (self.shape, self.start, voxels.shape))
        body = base64.b64encode(zlib.compress(np.ascontiguousarray(voxels).tobytes(), 6)).decode("ascii")
        return f"{sizes};{body}"

    @classmethod
    def from_labels_text(cls, text: str) -> CompactAnswer:
        """The labels that :attr:`labels_text` holds, without probabilities.

        Raises
        ------
        ValueError
            If the text is something else.
        """
        try:
            *sizes, body = text.split(";")
            shape, start, box = (tuple(int(n) for n in part.split(",")) for part in sizes)
            voxels = math.prod(box)
            if not len(shape) == len(start) == len(box) == 3 or not 0 < voxels <= _MAXIMUM_VOXELS:
                raise ValueError("sizes out of range")
            raw = zlib.decompressobj().decompress(base64.b64decode(body, validate=True), voxels + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError("this is no label map") from error
        if len(raw) != voxels:
            raise ValueError("the label map is cut short")
        return cls(shape, start, np.frombuffer(raw, np.uint8).reshape(box).copy())


@cache
def _level_table() -> np.ndarray:
    """Level of each float16 by its bits: rounded, clipped to 0..255, 0 for what is no number."""
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
        values = np.nan_to_num(values * _LEVELS, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(np.rint(values), 0, _LEVELS).astype(np.uint8)
