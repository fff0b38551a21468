"""One picture of a comparison: rows are the slices in which the models differ most, columns are the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from .._version import __version__
from ..image.slice_stack import SliceStack
from ..labels import CLASSES, LESION
from ..rendering.slices import EDGES, FOOTER, draw_slice, draw_text, fitted_text, gray_window, head_box, slice_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .comparing import Compared, Comparison

#: Slices shown at the most.
ROWS = 6
#: Longer side of a tile, pixels, by the number of columns that it is meant for.
_TILE_PX = ((4, 300), (6, 250), (8, 200), (10**9, 160))
_BACKGROUND, _TEXT, _DIM, _WARNING = (14, 15, 18), (236, 238, 242), (150, 154, 162), (255, 190, 70)
_GAP, _PAD, _MARGIN, _HEAD, _LINE = 4, 16, 44, 40, 18
#: Shown where a model does not segment a class.
_UNKNOWN = "not known"


def render_comparison(comparison: Comparison) -> Image.Image:
    """Sheet of a comparison: the FLAIR, then each model's outlines on it, at one gray window, in radiological display.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    PIL.Image.Image
        RGB. Models that failed have no column; their errors are listed above.
    """
    stack = SliceStack.from_volume(comparison.volume)
    shown = [one for one in comparison.models if one.segmentation is not None]
    labels = [stack.arrange(one.segmentation.labels) for one in shown if one.segmentation is not None]
    everything = np.zeros(stack.array.shape, np.uint8)
    for part in labels:
        np.maximum(everything, part, out=everything)
    slices = choose_slices(labels, ROWS)
    box = head_box(stack, everything)
    tile = _tile_size(stack, box, len(shown) + 1)
    window = gray_window(stack.array)
    failures = [f"{one.card.id} failed: {one.error.message}" for one in comparison.models if one.error is not None]
    top = _PAD + 26 + 20 * len(failures) + 8
    first_row = top + _HEAD + _LINE * len(CLASSES)
    width = 2 * _PAD + _MARGIN + (len(shown) + 1) * (tile[1] + _GAP)
    sheet = Image.new("RGB", (max(width, 640), first_row + len(slices) * (tile[0] + _GAP) + 44), _BACKGROUND)
    draw_text(sheet, (_PAD, 11), fitted_text(comparison.volume.name, 18, sheet.width - 2 * _PAD), 18, _TEXT)
    for n, line in enumerate(failures):
        draw_text(sheet, (_PAD, 40 + 20 * n), fitted_text(line, 13, sheet.width - 2 * _PAD), 13, _WARNING)
    for column, one in enumerate([None, *shown]):
        x = _PAD + _MARGIN + column * (tile[1] + _GAP)
        _draw_head(sheet, (x, top), tile[1], one)
        for row, k in enumerate(slices):
            outlines = np.zeros_like(everything[k]) if one is None else labels[column - 1][k]
            picture = draw_slice(stack.array[k][box], outlines[box], stack.plane, tile, window)
            for edge, anchor in zip(EDGES[stack.plane], ("ls", "rs"), strict=True):
                # In the corners, where the head leaves room.
                place = (5 if anchor == "ls" else picture.width - 5, picture.height - 5)
                draw_text(picture, place, edge, 12, _DIM, anchor=anchor, shadow=True)
            sheet.paste(picture, (x, first_row + row * (tile[0] + _GAP)))
    for row, k in enumerate(slices):
        axis, index = stack.source_index(k)
        letter, mm = slice_position(comparison.volume, stack.plane, axis, index)
        y = first_row + row * (tile[0] + _GAP) + tile[0] // 2
        draw_text(sheet, (_PAD, y - 9), str(index + 1), 14, _TEXT, anchor="lm")
        draw_text(sheet, (_PAD, y + 9), f"{letter} {mm:.0f}", 12, _DIM, anchor="lm")
    draw_text(sheet, (_PAD, sheet.height - 30), FOOTER, 15, _WARNING)
    made = f"FlairSeg {__version__} · outlines: automatic, unreviewed"
    if sheet.width >= 800:
        draw_text(sheet, (sheet.width - _PAD, sheet.height - 28), made, 13, _DIM, anchor="ra")
    return sheet


def choose_slices(labels: Sequence[np.ndarray], count: int) -> list[int]:
    """The slices in which models differ most about lesions, some way apart; then those with most of anything.

    Parameters
    ----------
    labels : sequence of ndarray of uint8, shape (slices, rows, columns)
        One label map per model.
    count : int
        Maximum number.

    Returns
    -------
    list of int
        In ascending order; the middle slice where nothing was found.
    """
    if not labels:
        return []
    total = len(labels[0])
    scores = np.zeros(total)
    for k in range(total):
        lesions = np.stack([one[k] == LESION for one in labels])
        found = lesions.any(axis=0)
        differ = np.count_nonzero(found & ~lesions.all(axis=0))
        other = sum(np.count_nonzero(one[k]) for one in labels) / len(labels)
        scores[k] = differ + 1e-3 * np.count_nonzero(found) + 1e-6 * other
    apart = max(1, total // (3 * count))
    chosen: list[int] = []
    for k in np.argsort(-scores, kind="stable"):
        if len(chosen) == count or not scores[k] > 0:
            break
        if all(abs(int(k) - other) >= apart for other in chosen):
            chosen.append(int(k))
    return sorted(chosen) or [total // 2]


def _tile_size(stack: SliceStack, box: tuple[slice, slice], columns: int) -> tuple[int, int]:
    """(height, width) of a tile in pixels; square millimetres."""
    height_mm, width_mm = ((s.stop - s.start) * mm for s, mm in zip(box, stack.spacing[1:], strict=True))
    if stack.plane == "sagittal":
        height_mm, width_mm = width_mm, height_mm
    scale = next(px for limit, px in _TILE_PX if columns <= limit) / max(height_mm, width_mm)
    return max(8, round(height_mm * scale)), max(8, round(width_mm * scale))


def _draw_head(sheet: Image.Image, corner: tuple[int, int], width: int, one: Compared | None) -> None:
    """Heading of a column: the model, its seconds, and its volumes in the colours of the classes."""
    x, y = corner
    if one is None:
        draw_text(sheet, (x, y), "FLAIR", 14, _TEXT)
        return
    figures = one.figures
    draw_text(sheet, (x, y), fitted_text(one.card.id, 14, width - 6), 14, _TEXT)
    draw_text(sheet, (x, y + 19), f"{figures.seconds:.1f} s", 12, _DIM)
    draw = ImageDraw.Draw(sheet)
    for n, label_class in enumerate(CLASSES):
        line = y + _HEAD + n * _LINE
        volume = figures.volumes_ml[label_class.id]
        text = f"{label_class.short_name}  {_UNKNOWN if volume is None else f'{volume:.2f} ml'}"
        if label_class.value == LESION and volume is not None:
            text += f"  ({figures.lesion_count})"
        draw.rounded_rectangle((x, line, x + 9, line + 9), radius=2, fill=label_class.rgb)
        draw_text(sheet, (x + 14, line + 5), fitted_text(text, 12, width - 18), 12, _TEXT, anchor="lm")
