"""Images of slices: bounding box of the head, gray window, class outlines, slice positions and text."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..labels import CLASSES

FOOTER = "Research use only - not a medical device"
#: Tissue brighter than this many times the brain's median is shown white; lesions are about 1.5.
WHITE_LEVEL = 2.0
#: Of larger volumes a part of the voxels gives the gray window.
_WINDOW_VOXELS = 16_000_000
#: Free border around the head, mm.
BORDER_MM = 4.0
#: Letters at the left and right edge of a tile, and the RAS letters of the slice position, by plane.
EDGES = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}
_POSITION = {"axial": (2, "IS"), "coronal": (1, "PA"), "sagittal": (0, "LR")}


def head_box(stack: SliceStack, labels: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold the head in any slice, with a border."""
    brightest = stack.array.max(axis=0)
    threshold = 0.15 * float(np.percentile(brightest, 98)) + 0.85 * float(brightest.min())
    inside = (brightest > threshold) | labels.any(axis=0)
    box = []
    for axis, mm in enumerate(stack.spacing[1:]):
        # A line of the head holds more than a few hot pixels.
        profile = inside.sum(axis=1 - axis)
        found = np.flatnonzero(profile > 0.03 * inside.shape[1 - axis])
        held = np.flatnonzero(labels.any(axis=(0, 2 - axis)))
        found = np.concatenate([found, held])
        border = math.ceil(BORDER_MM / mm)
        if found.size == 0:
            box.append(slice(0, inside.shape[axis]))
        else:
            box.append(slice(max(int(found.min()) - border, 0), min(int(found.max()) + border + 1, inside.shape[axis])))
    return box[0], box[1]


def gray_window(array: np.ndarray) -> tuple[float, float]:
    """Gray window: from air to :data:`WHITE_LEVEL` times the median of the tissue in the middle of the slices."""
    low = min(0.0, float(np.percentile(array[:, ::4, ::4], 1)))
    step = max(1, math.ceil((array.size / _WINDOW_VOXELS) ** (1 / 3)))
    middle = array[tuple(slice(n // 4, max(n - n // 4, n // 4 + 1), step) for n in array.shape)]
    tissue = middle[middle > 0.5 * float(np.percentile(middle, 90))]
    median = float(np.median(tissue)) if tissue.size else float(array.max())
    high = low + WHITE_LEVEL * (median - low)
    return (low, high) if high > low else (float(array.min()), float(array.max()))


def draw_slice(
    image: np.ndarray, labels: np.ndarray, plane: str, tile: tuple[int, int], window: tuple[float, float]
) -> Image.Image:
    """One slice at the size of its tile, with the outlines of the classes.

    Parameters
    ----------
    image, labels : ndarray, shape (rows, columns)
        Part of a slice in canonical orientation.
    plane : str
        ``axial``, ``sagittal`` or ``coronal``; sagittal slices are rotated upright.
    tile : tuple of int
        (height, width), pixels.
    window : tuple of float
        Gray values shown as black and white.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    if plane == "sagittal":
        image, labels = image.T, labels.T
    size, (low, high) = (tile[1], tile[0]), window
    gray = np.clip((image - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    pixels = np.array(Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BICUBIC).convert("RGB"))
    for label_class in CLASSES:
        mask = labels == label_class.value
        if mask.any():
            pixels[_outline(mask, size)] = label_class.rgb
    return Image.fromarray(pixels)


def _outline(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Outline, one pixel wide, of a mask brought to ``size`` (width, height); never empty for a mask that is not."""
    resized = np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR))
    inside = resized >= min(128, int(resized.max()))
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def slice_position(volume: Volume, plane: str, axis: int, index: int) -> tuple[str, float]:
    """Position of the middle of a slice in RAS: letter of the direction and distance in mm, for instance ``S``, 34.

    Parameters
    ----------
    volume : Volume
    plane : str
        ``axial``, ``sagittal`` or ``coronal``.
    axis, index : int
        Array axis (0 K, 1 J, 2 I) through the slices, and the slice along it, from 0.
    """
    centre = (np.asarray(volume.array.shape) - 1) / 2.0
    centre[axis] = index
    ras = volume.ijk_to_ras @ [*centre[::-1], 1.0]
    ras_axis, letters = _POSITION[plane]
    return letters[int(ras[ras_axis] >= 0)], abs(float(ras[ras_axis]))


def fitted_text(text: str, size: int, width: int) -> str:
    """Text cut so that it fits into ``width`` pixels."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_fonts: dict[int, _Font] = {}


def text_width(text: str, size: int) -> int:
    """Width of one line of text, pixels."""
    return int(_font(size).getlength(text))


def _font(size: int) -> _Font:
    if size not in _fonts:
        _fonts[size] = ImageFont.load_default(size)
    return _fonts[size]


def draw_text(
    image: Image.Image,
    xy: tuple[int, int],
    text: str,
    size: int,
    fill: tuple[int, int, int],
    anchor: str = "la",
    shadow: bool = False,
) -> None:
    """Draw one line of text; a shadow keeps it legible on bright tissue."""
    stroke, width = ((0, 0, 0), 1) if shadow else (None, 0)
    ImageDraw.Draw(image).text(
        xy, text, font=_font(size), fill=fill, anchor=anchor, stroke_width=width, stroke_fill=stroke
    )
