"""Files of a phantom, and its picture."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..errors import OutputError
from ..labels import CLASSES
from ..slicestack import SliceStack
from ..volume import volume_to_sitk
from .acquisition import WHITE_MATTER_UNITS
from .phantom import Phantom

FOOTER = "Digital phantom, no patient data. Research use only - not a medical device"
_TILE_PIXELS = 256
_MAXIMUM_TILES = 24
_BRIGHTEST = 2.1  # of white matter, shown as white


def write_phantom(phantom: Phantom, folder: str | os.PathLike) -> dict[str, Path]:
    """Write a phantom: image, ground truth, lesion table and picture.

    The files are ``phantom-<seed>_flair.nii.gz``, ``phantom-<seed>_truth.nii.gz``, ``phantom-<seed>_lesions.json`` and
    ``phantom-<seed>_picture.png``. All are written under temporary names beside their places and renamed only when
    all of them are whole; older files of the same names are replaced.

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
    paths = {
        "flair": folder / f"{stem}_flair.nii.gz",
        "truth": folder / f"{stem}_truth.nii.gz",
        "lesions": folder / f"{stem}_lesions.json",
        "picture": folder / f"{stem}_picture.png",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".phantom-", dir=folder) as scratch:
            drafts = {key: Path(scratch) / path.name for key, path in paths.items()}
            _write_image(phantom, phantom.volume.array, drafts["flair"])
            _write_image(phantom, phantom.labels, drafts["truth"])
            drafts["lesions"].write_text(json.dumps(lesion_table(phantom), indent=2) + "\n", encoding="utf-8")
            draw_phantom(phantom).save(drafts["picture"], optimize=True)
            for key, draft in drafts.items():
                os.replace(draft, paths[key])
    except (OSError, RuntimeError) as error:  # SimpleITK reports a full disk as RuntimeError
        raise OutputError(
            f"The phantom cannot be written to {folder} ({error}).",
            "Choose a folder that you may write to, on a disk with room.",
        ) from error
    return paths


def lesion_table(phantom: Phantom) -> dict:
    """The lesion table with the phantom's parameters, ready for JSON; lengths in mm, volumes in cubic mm, RAS."""
    return {
        "phantom": phantom.parameters,
        "frame": "RAS",
        "lesions": [asdict(lesion) for lesion in phantom.lesions],
    }


def draw_phantom(phantom: Phantom, outlines: bool = True, columns: int | None = None):
    """Contact sheet of a phantom's slices.

    Parameters
    ----------
    phantom : Phantom
    outlines : bool
        Draw the ground truth's outlines in the class colours.
    columns : int, optional
        Slices in a row; about as many as rows if None.

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
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MAXIMUM_TILES)).round().astype(int))
    columns = columns or min(len(chosen), math.ceil(math.sqrt(1.25 * len(chosen))))
    rows = math.ceil(len(chosen) / columns)
    extent = np.array(pixels.shape[1:]) * pixel_mm
    height, width = (int(v) for v in np.maximum(np.round(extent / extent.max() * _TILE_PIXELS), 1))
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


def _write_image(phantom: Phantom, array: np.ndarray, path: Path) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(volume_to_sitk(phantom.volume.with_array(array)), str(path), useCompression=True)
