"""The slice of a case for a contact sheet: that with the largest lesion area, with the outlines of all classes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from ..image.slice_stack import SliceStack
from ..labels import LESION
from ..rendering.slices import draw_slice, gray_window, head_box

if TYPE_CHECKING:
    from PIL import Image

    from ..segmentation.result import Segmentation

#: Longer side, pixels, and JPEG quality: about 12 kB a case.
SIDE_PX = 256
QUALITY = 82


def render_key_slice(segmentation: Segmentation) -> Image.Image:
    """The slice with the largest area of lesion, else of any class, else the middle one.

    Parameters
    ----------
    segmentation : Segmentation

    Returns
    -------
    PIL.Image.Image
        RGB, radiological display, square pixels, without text.
    """
    plane = segmentation.card.pipeline.plane
    stack = SliceStack.from_volume(segmentation.volume, plane)
    labels = SliceStack.from_volume(segmentation.volume.with_array(segmentation.labels), plane).array
    area = (labels == LESION).sum(axis=(1, 2))
    if not area.any():
        area = (labels > 0).sum(axis=(1, 2))
    k = int(np.argmax(area)) if area.any() else len(labels) // 2
    box = head_box(stack, labels)
    height, width = ((s.stop - s.start) * mm for s, mm in zip(box, stack.spacing[1:], strict=True))
    if stack.plane == "sagittal":
        height, width = width, height
    scale = SIDE_PX / max(height, width)
    tile = (max(8, round(height * scale)), max(8, round(width * scale)))
    return draw_slice(stack.array[k][box], labels[k][box], stack.plane, tile, gray_window(stack.array))


def jpeg(picture: Image.Image) -> bytes:
    """A picture as JPEG."""
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()
