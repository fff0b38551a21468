"""Files of a phantom, and its picture."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.atomic import all_or_none
from ..files.nifti import write_nifti
from ..image.slice_stack import SliceStack
from ..io.raw_labels import labels_description
from ..labels import CLASSES
from .acquisition import WHITE_MATTER_UNITS
from .phantom import Phantom

if TYPE_CHECKING:
    from PIL import Image

FOOTER = "Digital phantom, no patient data. Research use only - not a medical device"
#: Ending of each file of a phantom, after its name.
ENDINGS = {
    "flair": "_flair.nii.gz",
    "truth": "_truth.nii.gz",
    "lesions": "_lesions.json",
    "picture": "_picture.png",
}
_MAXIMUM_TILES = 24
_BRIGHTEST = 2.1  # of white matter, shown as white


def write_phantom(phantom: Phantom, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Write a phantom: image, ground truth, lesion table and picture.

    The files are ``phantom-<seed>_flair.nii.gz``, ``phantom-<seed>_truth.nii.gz``, ``phantom-<seed>_lesions.json`` and
    ``phantom-<seed>_picture.png``. All are written atomically and replace older ones of
    the same names.

    Parameters
    ----------
    phantom : Phantom
    folder : path
        Made if missing.

    Returns
    -------
    dict of str to Path
        Keys ``flair``, ``truth``, ``lesions``, ``picture``.

    Raises
    ------
    flairseg.errors.OutputError
        The folder cannot be made or written to.
    """
    folder = Path(folder)
    stem = phantom.volume.name
    names = {key: f"{stem}{ending}" for key, ending in ENDINGS.items()}
    with all_or_none(folder, names.values()) as drafts:
        write_nifti(drafts / names["flair"], phantom.volume.array, phantom.volume, np.int16)
        write_nifti(
            drafts / names["truth"], phantom.labels, phantom.volume, np.uint8, labels_description(phantom.labels)
        )
        table = json.dumps(lesion_table(phantom), indent=2)
        (drafts / names["lesions"]).write_text(table + "\n", encoding="utf-8")
        draw_phantom(phantom).save(drafts / names["picture"])
    return {key: folder / name for key, name in names.items()}


def lesion_table(phantom: Phantom) -> dict[str, Any]:
    """The lesion table with the phantom's parameters, ready for JSON; lengths in mm, volumes in cubic mm, RAS."""
    return {
        "phantom": phantom.parameters,
        "frame": "RAS",
        "lesions": [asdict(lesion) for lesion in phantom.lesions],
    }


def draw_phantom(
    phantom: Phantom,
    outlines: bool = True,
    columns: int | None = None,
    slices: Sequence[int] | None = None,
    tile_pixels: int = 256,
) -> Image.Image:
    """Contact sheet of a phantom's slices.

    Parameters
    ----------
    phantom : Phantom
    outlines : bool
        Draw the ground truth's outlines in the class colours.
    columns : int, optional
        Slices in a row; a few more than rows if None.
    slices : sequence of int, optional
        Slices, counted from 0 (inferior, right or posterior); at most 24, evenly spread, if None.
    tile_pixels : int
        Longer side of a slice in the picture.

    Returns
    -------
    PIL.Image.Image
    """
    from PIL import Image, ImageDraw

    image = SliceStack.from_volume(phantom.volume)
    truth = SliceStack.from_volume(phantom.volume.with_array(phantom.labels))
    pixels, classes, pixel_mm = image.array, truth.array, np.array(image.spacing[1:])
    if image.plane == "sagittal":  # its rows run backwards: turn the head upright, face to the left
        pixels, classes, pixel_mm = pixels.transpose(0, 2, 1), classes.transpose(0, 2, 1), pixel_mm[::-1]
    count = len(pixels)
    spread = np.unique(np.linspace(0, count - 1, min(count, _MAXIMUM_TILES)).round().astype(int))
    chosen = [int(n) for n in spread] if slices is None else list(slices)
    columns = columns or min(len(chosen), math.ceil(math.sqrt(1.25 * len(chosen))))
    rows = math.ceil(len(chosen) / columns)
    extent = np.array(pixels.shape[1:]) * pixel_mm
    height, width = (int(v) for v in np.maximum(np.round(extent / extent.max() * tile_pixels), 1))
    band = 20
    sheet = Image.new("RGB", (columns * width, rows * height + band))
    draw = ImageDraw.Draw(sheet)
    for place, k in enumerate(chosen):
        corner = (place % columns * width, place // columns * height)
        gray = np.clip(pixels[k] * (255 / (_BRIGHTEST * WHITE_MATTER_UNITS)), 0, 255).astype(np.uint8)
        tile = np.asarray(Image.fromarray(gray).resize((width, height), Image.Resampling.BICUBIC).convert("RGB")).copy()
        if outlines:
            _draw_outlines(tile, classes[k])
        sheet.paste(Image.fromarray(tile), corner)
        draw.text((corner[0] + 4, corner[1] + 2), str(k + 1), fill=(150, 150, 150))
    left = 6
    if outlines:
        for item in CLASSES:
            draw.text((left, rows * height + 4), item.name, fill=item.rgb)
            left += int(draw.textlength(item.name)) + 16
    draw.text((columns * width - draw.textlength(FOOTER) - 6, rows * height + 4), FOOTER, fill=(150, 150, 150))
    return sheet


def _draw_outlines(tile: np.ndarray, truth: np.ndarray) -> None:
    """Colour the one-pixel border, inside each class, on an RGB tile (rows, columns, 3) in place."""
    rows = (np.arange(tile.shape[0]) + 0.5) * truth.shape[0] / tile.shape[0]
    columns = (np.arange(tile.shape[1]) + 0.5) * truth.shape[1] / tile.shape[1]
    shown = truth[rows.astype(int)][:, columns.astype(int)]
    padded = np.pad(shown, 1)
    same = (
        (padded[:-2, 1:-1] == shown)
        & (padded[2:, 1:-1] == shown)
        & (padded[1:-1, :-2] == shown)
        & (padded[1:-1, 2:] == shown)
    )
    for item in CLASSES:
        tile[(shown == item.value) & ~same] = item.rgb
