"""One picture of a case: every slice with a finding, outlined in the class colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..image.slice_stack import SliceStack
from ..labels import CLASSES, LESION
from ..rendering.slices import (
    EDGES,
    FOOTER,
    draw_slice,
    draw_text,
    fitted_text,
    gray_window,
    head_box,
    slice_position,
    text_width,
)

if TYPE_CHECKING:
    from .result import Segmentation

#: Longer side of a tile in pixels, by the number of tiles that it is meant for.
TILE_PX = ((12, 320), (30, 256), (60, 192), (120, 144), (10**9, 104))
#: Shape that the sheet of tiles aims at (width / height).
SHEET_ASPECT = 1.5
_BACKGROUND, _TEXT, _DIM, _WARNING = (14, 15, 18), (236, 238, 242), (150, 154, 162), (255, 190, 70)
_GAP, _PAD = 4, 16


@dataclass(frozen=True)
class _Layout:
    """Sizes of the sheet, pixels."""

    columns: int
    rows: int
    tile: tuple[int, int]
    long_side: int


def render_overview(segmentation: Segmentation) -> Image.Image:
    """Contact sheet of a case in radiological display (the patient's right on the left), square pixels.

    Shown are the slices that hold a label, or the middle one if none does; the grey levels run from air to twice the
    brain's median.

    Parameters
    ----------
    segmentation : Segmentation

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    plane = segmentation.card.pipeline.plane
    stack = SliceStack.from_volume(segmentation.volume, plane)
    labels = SliceStack.from_volume(segmentation.volume.with_array(segmentation.labels), plane).array
    shown = [int(k) for k in np.flatnonzero(labels.any(axis=(1, 2)))] or [len(labels) // 2]
    box = head_box(stack, labels)
    height_mm, width_mm = ((s.stop - s.start) * mm for s, mm in zip(box, stack.spacing[1:], strict=True))
    if stack.plane == "sagittal":
        height_mm, width_mm = width_mm, height_mm
    layout = _layout(len(shown), height_mm, width_mm)
    low, high = gray_window(stack.array)
    header, footer = _header_lines(segmentation, bool(labels.any())), _footer_line(segmentation)
    width = layout.columns * (layout.tile[1] + _GAP) - _GAP + 2 * _PAD
    header_height = 64 + 20 * len(header)
    height = header_height + layout.rows * (layout.tile[0] + _GAP) - _GAP + 44
    sheet = Image.new("RGB", (max(width, 900), height), _BACKGROUND)
    left = (sheet.width - (width - 2 * _PAD)) // 2
    for n, k in enumerate(shown):
        row, column = divmod(n, layout.columns)
        tile = draw_slice(stack.array[k][box], labels[k][box], stack.plane, layout.tile, (low, high))
        _annotate(tile, segmentation, stack, k, layout)
        sheet.paste(tile, (left + column * (layout.tile[1] + _GAP), header_height + row * (layout.tile[0] + _GAP)))
    _draw_header(sheet, segmentation, header)
    draw_text(sheet, (_PAD, sheet.height - 30), FOOTER, 15, _WARNING)
    draw_text(sheet, (sheet.width - _PAD, sheet.height - 28), footer, 13, _DIM, anchor="ra")
    return sheet


def _layout(count: int, height_mm: float, width_mm: float) -> _Layout:
    long_side = next(px for limit, px in TILE_PX if count <= limit)
    scale = long_side / max(height_mm, width_mm)
    tile = (max(8, round(height_mm * scale)), max(8, round(width_mm * scale)))
    columns = max(1, min(count, round(math.sqrt(count * SHEET_ASPECT * tile[0] / tile[1]))))
    rows = math.ceil(count / columns)
    return _Layout(math.ceil(count / rows), rows, tile, long_side)


def _annotate(tile: Image.Image, segmentation: Segmentation, stack: SliceStack, k: int, layout: _Layout) -> None:
    """Slice number (counted from 1 in the file's own order), its position, and the edges' letters."""
    axis, index = stack.source_index(k)
    size = 13 if layout.long_side >= 192 else 11
    text = str(index + 1)
    if layout.long_side >= 192:
        letter, mm = slice_position(segmentation.volume, stack.plane, axis, index)
        text += f"   {letter} {mm:.0f} mm"
    draw_text(tile, (5, 3), text, size, _TEXT, shadow=True)
    if layout.long_side >= 144:
        left, right = EDGES[stack.plane]
        middle = tile.height // 2
        draw_text(tile, (4, middle), left, size, _DIM, anchor="lm", shadow=True)
        draw_text(tile, (tile.width - 4, middle), right, size, _DIM, anchor="rm", shadow=True)


def _header_lines(segmentation: Segmentation, found: bool) -> list[str]:
    """Lines below the legend: nothing found, and the warnings."""
    lines = [] if found else ["Nothing was found in this image; one slice is shown."]
    lines += segmentation.warnings[:4]
    if len(segmentation.warnings) > 4:
        lines.append(f"... and {len(segmentation.warnings) - 4} more warnings: see the summary.")
    return lines


def _footer_line(segmentation: Segmentation) -> str:
    from .._version import __version__

    made = f"FlairSeg {__version__} · {segmentation.card.id} · {segmentation.created[:10]}"
    return f"{made} · outlines: automatic, unreviewed"


def _draw_header(sheet: Image.Image, segmentation: Segmentation, lines: list[str]) -> None:
    """Case name, legend with volumes, warnings."""
    volumes = segmentation.known_volumes_ml()
    draw_text(sheet, (_PAD, 9), fitted_text(segmentation.volume.name, 18, sheet.width - 2 * _PAD), 18, _TEXT)
    x = _PAD
    draw = ImageDraw.Draw(sheet)
    for label_class in CLASSES:
        volume = volumes[label_class.value]
        if volume is None:
            continue
        text = f"{label_class.name}  {volume:.2f} ml"
        if label_class.value == LESION:
            count = segmentation.lesion_count
            text += f"  ({count} lesion{'' if count == 1 else 's'})"
        draw.rounded_rectangle((x, 39, x + 12, 51), radius=3, fill=label_class.rgb)
        draw_text(sheet, (x + 19, 45), text, 14, _TEXT, anchor="lm")
        x += 19 + text_width(text, 14) + 28
    for n, line in enumerate(lines):
        draw_text(sheet, (_PAD, 62 + 20 * n), fitted_text(line, 13, sheet.width - 2 * _PAD), 13, _WARNING)
