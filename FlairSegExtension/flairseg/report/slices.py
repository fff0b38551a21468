"""Selection of the most informative slices, and their drawing: image, outlines, lesion numbers, side marks and scale.

A :class:`SliceView` is independent of paper and screen: lengths are in mm from the upper left corner of the picture, so
HTML and PDF draw the very same lines. Radiological display: the patient's right is on the left.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..image.slice_stack import SliceStack
from ..labels import CLASSES, VENTRICLES
from ..rendering.slices import EDGES, gray_window, head_box, slice_position
from .case import Case

#: Key slices: at least, at most.
FEWEST, MOST = 3, 6
#: A further slice must show this share of the information in all slices.
_WORTH = 0.03
#: Weight of the ventricles at their widest; a lesion's is the root of its volume in ml.
_VENTRICLES = 1.0
_CRITERIA = ("periventricular", "juxtacortical", "infratentorial")
#: A lesion of a follow-up is the nearest one here, up to this distance, mm.
_SAME_LESION_MM = 12.0
#: Slices of the gallery; a volume of more is shown in part.
MOST_SLICES = 96
#: Longer side of pictures, pixels.
KEY_PX, GALLERY_PX = 620, 300
#: Height of a lesion's number, its distance from the outline (shares of the picture's width); most numbers in a slice.
NUMBER_HEIGHT, _NUMBER_GAP, _MOST_NUMBERS = 0.036, 0.008, 14
#: Width of a digit as a share of its height.
DIGIT = 0.64

#: Left, top, right and bottom of a number beside a lesion.
_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Number:
    """A lesion's number in a picture: middle of the text, mm from the upper left corner."""

    text: str
    x: float
    y: float


@dataclass(frozen=True)
class SliceView:
    """One slice as it is drawn.

    Attributes
    ----------
    index : int
        In the stack.
    number : int
        In the file's own order, from 1.
    side, position_mm : str, float
        Its position: ``S``, 34.0.
    image : ndarray of uint8, shape (rows, columns)
        Gray levels, square pixels.
    width_mm, height_mm : float
        Of the picture.
    outlines : tuple of (int, ndarray)
        Class value and closed line, shape (n, 2): x, y in mm.
    numbers : tuple of Number
        Of lesions.
    edges : tuple of str
        Letters at the left and right edge.
    """

    index: int
    number: int
    side: str
    position_mm: float
    image: np.ndarray
    width_mm: float
    height_mm: float
    outlines: tuple[tuple[int, np.ndarray], ...]
    numbers: tuple[Number, ...]
    edges: tuple[str, str]

    def png(self) -> bytes:
        """The image without outlines, as PNG."""
        stream = io.BytesIO()
        Image.fromarray(self.image).save(stream, "PNG", compress_level=6)
        return stream.getvalue()


class Slices:
    """The slices of a case in canonical orientation.

    Parameters
    ----------
    case : Case
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        volume = case.volume
        stack = SliceStack.from_volume(volume)
        self.plane, self._stack = stack.plane, stack
        self._labels = SliceStack.from_volume(volume.with_array(case.labels), stack.plane).array
        self._lesions = SliceStack.from_volume(volume.with_array(case.components), stack.plane).array
        self._box = head_box(stack, self._labels)
        self._window = gray_window(stack.array)
        self._shapes: dict[int, list[tuple[int, np.ndarray]]] = {}

    def __len__(self) -> int:
        return len(self._stack.array)

    def key_slices(self) -> list[int]:
        """Three to six slices (fewer if there are no more), in the order of the stack.

        Each step takes the slice that adds most: a lesion counts by the root of its volume, shown in full in the slice
        where its area is largest; a new or growing one counts more than all that any slice shows otherwise; the largest
        of each region that the McDonald criteria name counts at least as much as the ventricles, once. Without lesions
        the widest ventricles and slices evenly spaced above and below are shown.
        """
        weights, shown = self._telling()
        chosen: list[int] = []
        covered = np.zeros(shown.shape[1])
        total = float(weights.sum())
        while len(chosen) < min(MOST, len(self)):
            gains = (np.maximum(shown - covered, 0) * weights).sum(axis=1)
            best = int(np.argmax(gains))
            if total <= 0 or gains[best] < _WORTH * total:
                break
            chosen.append(best)
            covered = np.maximum(covered, shown[best])
        return sorted(self._filled(chosen))

    def _telling(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight of each thing to show, shape (things,), and how much of it each slice shows, (slices, things)."""
        count = int(self._lesions.max()) if self._lesions.size else 0
        area = np.zeros((len(self), count + 2))
        for k in range(len(self)):
            area[k, : count + 1] = np.bincount(self._lesions[k].ravel(), minlength=count + 1)
            area[k, count + 1] = np.count_nonzero(self._labels[k] == VENTRICLES)
        area = area[:, 1:]
        volume = area.sum(axis=0)
        weights = np.sqrt(volume * self._case.volume.voxel_mm3 / 1000)
        for region in _CRITERIA:
            own = [row for row in self._case.rows if row.region == region and row.number <= count]
            if own:
                largest = max(own, key=lambda row: row.volume_ml).number - 1
                weights[largest] = max(weights[largest], _VENTRICLES)
        weights[count] = _VENTRICLES if volume[count] else 0.0
        shown = area / np.maximum(area.max(axis=0), 1)
        fullest = float((shown * weights).sum(axis=1).max())
        for n in self._changed_lesions():
            if n <= count:
                weights[n - 1] += fullest
        return weights, shown

    def _changed_lesions(self) -> set[int]:
        """Numbers of the lesions here that a follow-up calls new or enlarging, by number, else by their centres."""
        change = self._case.change
        rows = [row for row in self._case.rows if row.centre_ras_mm is not None]
        if change is None or not rows:
            return set()
        centres = np.array([row.centre_ras_mm for row in rows])
        own = change.studies[-1]
        same = own.case == self._case.name and own.lesion_count == len(self._case.rows)
        found: set[int] = set()
        for lesion in change.lesions:
            if lesion.state not in ("new", "enlarging"):
                continue
            if same and lesion.numbers:
                found.update(lesion.numbers)
            elif lesion.centre_ras_mm is not None:
                distance = np.linalg.norm(centres - lesion.centre_ras_mm, axis=1)
                if distance.min() <= _SAME_LESION_MM:
                    found.add(rows[int(np.argmin(distance))].number)
        return found

    def _filled(self, chosen: list[int]) -> list[int]:
        """At least three slices: further ones are in the head, as far as possible from the others."""
        tissue = self._stack.array[(slice(None), *self._box)] > self._window[0] + 0.25 * (
            self._window[1] - self._window[0]
        )
        share = tissue.mean(axis=(1, 2))
        inside = [k for k in range(len(self)) if share[k] >= 0.6 * float(share.max())]
        # Neither the neck nor the vertex is informative.
        inside = inside[len(inside) // 4 : max(len(inside) - len(inside) // 5, len(inside) // 4 + FEWEST)]
        while len(chosen) < min(FEWEST, len(inside)):
            apart = [min((abs(k - c) for c in chosen), default=-abs(k - len(self) // 2)) for k in inside]
            best = inside[int(np.argmax(apart))]
            if best in chosen:
                break
            chosen.append(best)
        return chosen or [len(self) // 2]

    def gallery(self) -> list[int]:
        """All slices; of a long stack those with labels and evenly spaced others, :data:`MOST_SLICES` at most."""
        if len(self) <= MOST_SLICES:
            return list(range(len(self)))
        marked = np.flatnonzero(self._labels.any(axis=(1, 2)))
        if len(marked) > MOST_SLICES or len(marked) == 0:
            marked = marked if len(marked) else np.arange(len(self))
            return sorted({int(marked[n]) for n in np.linspace(0, len(marked) - 1, MOST_SLICES).round().astype(int)})
        return [int(k) for k in marked]

    def view(self, k: int, long_side_px: int = KEY_PX, numbers: bool = True) -> SliceView:
        """Return the drawing of a slice."""
        image = self._stack.array[k][self._box]
        labels, lesions = self._labels[k][self._box], self._lesions[k][self._box]
        spacing = self._stack.spacing[1:]
        if self.plane == "sagittal":
            image, labels, lesions, spacing = image.T, labels.T, lesions.T, spacing[::-1]
        height, width = (n * mm for n, mm in zip(image.shape, spacing, strict=True))
        axis, index = self._stack.source_index(k)
        side, position = slice_position(self._case.volume, self.plane, axis, index)
        outlines = tuple(
            (c.value, line) for c in CLASSES for line in outlines_of(labels == c.value, (spacing[1], spacing[0]))
        )
        placed = tuple(self._placed(lesions, (spacing[1], spacing[0]), width, height)) if numbers else ()
        return SliceView(
            k, index + 1, side, position, self._gray(image, width, height, long_side_px), width, height, outlines,
            placed, EDGES[self.plane],
        )  # fmt: skip

    def _gray(self, image: np.ndarray, width: float, height: float, long_side_px: int) -> np.ndarray:
        low, high = self._window
        scale = long_side_px / max(width, height)
        gray = np.clip((image - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
        size = (max(8, round(width * scale)), max(8, round(height * scale)))
        return np.asarray(Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BICUBIC))

    def _placed(self, lesions: np.ndarray, mm: tuple[float, float], width: float, height: float) -> Iterator[Number]:
        """Numbers beside their lesions, largest first, where they cover no other lesion or number."""
        sizes = np.bincount(lesions.ravel())
        order = [n for n in np.argsort(-sizes[1:], kind="stable") + 1 if sizes[n]] if sizes.size > 1 else []
        taken: list[tuple[float, float, float, float]] = []
        text_height, gap = NUMBER_HEIGHT * width, _NUMBER_GAP * width
        for n in order[:_MOST_NUMBERS]:
            rows, columns = np.nonzero(lesions == n)
            x0, x1 = columns.min() * mm[0], (columns.max() + 1) * mm[0]
            y0, y1 = rows.min() * mm[1], (rows.max() + 1) * mm[1]
            half_width, half_height = DIGIT * text_height * len(str(n)) / 2, text_height / 2
            middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
            right, left = (x1 + gap + half_width, middle_y), (x0 - gap - half_width, middle_y)
            above, below = (middle_x, y0 - gap - half_height), (middle_x, y1 + gap + half_height)
            for x, y in (right, left) if middle_x > width / 2 else (left, right):
                box = (x - half_width, y - half_height, x + half_width, y + half_height)
                if self._free(box, taken, lesions, mm, width, height):
                    break
            else:
                for x, y in (above, below):
                    box = (x - half_width, y - half_height, x + half_width, y + half_height)
                    if self._free(box, taken, lesions, mm, width, height):
                        break
                else:
                    continue
            taken.append(box)
            yield Number(str(n), x, y)

    @staticmethod
    def _free(
        box: _Box, taken: Sequence[_Box], lesions: np.ndarray, mm: tuple[float, float], width: float, height: float
    ) -> bool:
        x0, y0, x1, y1 = box
        if x0 < 0.05 * width or x1 > 0.95 * width or y0 < 0 or y1 > 0.94 * height:
            return False
        if any(x0 < b[2] and x1 > b[0] and y0 < b[3] and y1 > b[1] for b in taken):
            return False
        under = lesions[int(y0 / mm[1]) : int(y1 / mm[1]) + 1, int(x0 / mm[0]) : int(x1 / mm[0]) + 1]
        return not under.any()


def outlines_of(mask: np.ndarray, mm: tuple[float, float]) -> list[np.ndarray]:
    """Closed lines around a mask, half-way between voxels inside and outside, corners cut once.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
    mm : tuple of float
        Size of a pixel along x (columns) and y (rows).

    Returns
    -------
    list of ndarray, shape (n, 2)
        x, y in mm from the upper left corner of the upper left pixel; the last point is not the first one again.

    References
    ----------
    Lorensen WE, Cline HE. Comput Graph 1987;21:163-169 (marching squares); Chaikin GM. Comput Graph Image Process
    1974;3:346-349 (corner cutting).
    """
    from skimage.measure import find_contours

    if not mask.any():
        return []
    lines = []
    for found in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        # Undo the padding; a voxel's value is at its centre.
        points = (found[:-1, ::-1] - 0.5) * mm
        following = np.roll(points, -1, axis=0)
        smooth = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1)
        lines.append(smooth.reshape(-1, 2))
    return lines


def scale_bar_mm(width_mm: float) -> int:
    """Length of the scale bar: a round number near a quarter of the picture's width."""
    return max((n for n in (1, 2, 5, 10, 20, 50) if n <= 0.36 * width_mm), default=1)
