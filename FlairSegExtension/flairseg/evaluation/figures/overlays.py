"""Overlays of the slices that matter: agreement green, false positives red, misses yellow (source: S1).

These are pictures of the user's own images, for the user's own report. They are bounded in number and size.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...errors import FlairSegError
from ...image.slice_stack import SliceStack
from ...image.volume import Volume
from ...rendering.slices import gray_window, head_box
from ...reporting.drawing import Picture
from ...reporting.wording import counted, figure
from ..results import CaseArrays, EvaluationResult
from ..terms import ALL_WMH, CLASS_TITLES, EVALUATED, LESION_ID, NORMAL_WMH_ID, VENTRICLES_ID

#: Tiles of one report: about 12 kB each.
MOST_TILES = 320
MOST_CASES = 24
MOST_METHODS = 6
#: Slices of a case: those with the largest disagreement first, then those with most lesion.
SLICES = 4
#: Longer side of a tile, pixels.
TILE = 190
_GAP = 3
_GRAYS = 60
#: Told apart by brightness as well: dark red, middle green, light yellow.
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = (40, 180, 92), (214, 32, 36), (255, 228, 40)
_WHITE = _GRAYS - 1
_TP, _FP, _FN = _GRAYS, _GRAYS + 1, _GRAYS + 2
_PALETTE = [
    *(channel for n in range(_GRAYS) for channel in (round(255 * n / (_GRAYS - 1)),) * 3),
    *TRUE_POSITIVE, *FALSE_POSITIVE, *FALSE_NEGATIVE,
]  # fmt: skip
#: Classes that an overlay can be about, in the order of choice.
_PREFERRED = (LESION_ID, ALL_WMH, NORMAL_WMH_ID, VENTRICLES_ID)
#: Edge letters of a tile, by plane.
_EDGES = {"axial": "RL", "coronal": "RL", "sagittal": "AP"}


@dataclass(frozen=True)
class Overlays:
    """The pictures, and remarks on their selection."""

    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()


def overlay_pictures(result: EvaluationResult, step: Callable[[float], None] | None = None) -> Overlays:
    """One picture per case: the bare slices above, a row per method below.

    Parameters
    ----------
    result : EvaluationResult
    step : callable, optional
        Called with the fraction done; may raise to cancel.
    """
    class_id = next((c for c in _PREFERRED if any(c in m.classes for m in result.methods)), None)
    if class_id is None:
        return Overlays()
    methods = [m.name for m in result.methods if class_id in m.classes]
    shown = methods[:MOST_METHODS]
    dice = {(r.case, r.method): r.dice for r in result.rows if r.class_id == class_id}
    cases = [c.case for c in result.cases if any((c.case, m) in dice for m in shown)]
    chosen = _spread(cases, dice, shown, min(MOST_CASES, max(1, MOST_TILES // (SLICES * (1 + len(shown))))))
    pictures, notes = [], []
    if len(chosen) < len(cases):
        notes.append(
            f"Overlays of {len(chosen)} of {len(cases)} cases, evenly from the lowest to the highest mean Dice, so "
            "that this file stays small."
        )
    if len(shown) < len(methods):
        notes.append(f"Overlays of the first {len(shown)} of {len(methods)} methods.")
    empty, gone = 0, 0
    for number, case in enumerate(chosen):
        try:
            arrays = {m: result.arrays(case, m) for m in shown if (case, m) in dice}
        except (KeyError, FlairSegError):
            gone += 1
            continue
        picture = _picture(case, class_id, arrays, dice)
        if picture is None:
            empty += 1
        else:
            pictures.append(picture)
        if step is not None:
            step((number + 1) / len(chosen))
    if gone:
        notes.append(f"{counted(gone, 'case')} could not be drawn: the images could not be read again.")
    if empty:
        notes.append(f"{counted(empty, 'case')} without a voxel of the class on either side: nothing to draw.")
    return Overlays(tuple(pictures), tuple(notes))


def _spread(cases: Sequence[str], dice: dict[tuple[str, str], float], methods: Sequence[str], most: int) -> list[str]:
    """At most ``most`` cases, evenly over the order of their mean Dice, worst and best among them; in given order."""
    if len(cases) <= most:
        return list(cases)

    def mean(case: str) -> float:
        found = [dice[case, m] for m in methods if math.isfinite(dice.get((case, m), math.nan))]
        return float(np.mean(found)) if found else math.inf

    ranked = sorted(cases, key=mean)
    kept = {ranked[round(n)] for n in np.linspace(0, len(ranked) - 1, most)}
    return [case for case in cases if case in kept]


def _picture(
    case: str, class_id: str, arrays: dict[str, CaseArrays], dice: dict[tuple[str, str], float]
) -> Picture | None:
    values = EVALUATED[class_id]
    first = next(iter(arrays.values()))
    stack, reference = _stack(first, first.reference)
    truth = np.isin(reference, values)
    masks = {name: np.isin(_stack(one, one.prediction)[1], values) for name, one in arrays.items()}
    slices = slices_that_matter(truth, list(masks.values()))
    if not slices:
        return None
    image = next((one.image for one in arrays.values() if one.image is not None), None)
    gray = None if image is None else _gray(_stack(first, image)[0])
    everything = np.any([truth, *masks.values()], axis=0)
    box = head_box(_stack(first, image)[0], everything) if image is not None else _box(everything, stack.spacing)
    rows = ([("", None)] if gray is not None else []) + list(masks.items())
    size = _tile_size(box, stack)
    sheet = Image.new("P", (len(slices) * (size[0] + _GAP) - _GAP, len(rows) * (size[1] + _GAP) - _GAP), 0)
    sheet.putpalette(_PALETTE)
    number = 0
    for y, (_, mask) in enumerate(rows):
        number += mask is not None
        for x, k in enumerate(slices):
            tile = _tile(None if gray is None else gray[k][box], truth[k][box], None if mask is None else mask[k][box],
                         stack.plane, size)  # fmt: skip
            _annotate(tile, str(number) if mask is not None and x == 0 else "", stack, k, first_row=y == 0)
            sheet.paste(tile, (x * (size[0] + _GAP), y * (size[1] + _GAP)))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    named = "; ".join(
        f"row {n}: {name} (Dice {figure(dice[case, name])}, {_counted_voxels(truth, mask)})"
        for n, (name, mask) in enumerate(masks.items(), 1)
    )
    bare = "above the bare image, then " if gray is not None else "no image was given, so masks alone; "
    caption = (
        f"{case}, {CLASS_TITLES[class_id]}: {bare}agreement green, false positives red, misses yellow. "
        f"{named[:1].upper()}{named[1:]}."
    )
    shown = ", ".join(str(stack.source_index(k)[1] + 1) for k in slices)
    return Picture(f"overlay-{case}", stream.getvalue(), caption, f"{case}, slices {shown}: {named}")


def _counted_voxels(truth: np.ndarray, mask: np.ndarray) -> str:
    both, extra, missed = (int(x.sum()) for x in (truth & mask, mask & ~truth, truth & ~mask))
    return f"{both:,} voxels agree, {extra:,} false, {missed:,} missed"


def _stack(arrays: CaseArrays, array: np.ndarray) -> tuple[SliceStack, np.ndarray]:
    stack = SliceStack.from_volume(Volume(array, arrays.ijk_to_ras, ""))
    return stack, stack.array


def slices_that_matter(truth: np.ndarray, masks: Sequence[np.ndarray], most: int = SLICES) -> list[int]:
    """Slices to show, in order: half of them by disagreement with the reference, the others by what is in them.

    Parameters
    ----------
    truth : ndarray of bool, shape (slices, rows, columns)
    masks : sequence of ndarray of bool
        The methods', of the same shape.
    most : int
    """
    wrong = np.sum([(truth ^ mask).sum(axis=(1, 2)) for mask in masks], axis=0)
    held = truth.sum(axis=(1, 2)) + np.max([mask.sum(axis=(1, 2)) for mask in masks], axis=0)
    chosen = [int(k) for k in np.argsort(-wrong, kind="stable")[: -(-most // 2)] if wrong[k] > 0]
    for k in np.argsort(-held, kind="stable"):
        if len(chosen) == most or held[k] == 0:
            break
        if int(k) not in chosen:
            chosen.append(int(k))
    return sorted(chosen)


def _gray(stack: SliceStack) -> np.ndarray:
    low, high = gray_window(stack.array)
    scaled = np.clip((stack.array - low) * ((_GRAYS - 1) / max(high - low, 1e-6)), 0, _GRAYS - 1)
    return np.nan_to_num(scaled).astype(np.uint8)


def _box(inside: np.ndarray, spacing: tuple[float, float, float], border_mm: float = 12.0) -> tuple[slice, slice]:
    """Rows and columns that hold any mask, with a border."""
    made = []
    for axis in (0, 1):
        found = np.flatnonzero(inside.any(axis=(0, 2 - axis)))
        border = math.ceil(border_mm / spacing[1 + axis])
        made.append(slice(max(int(found.min()) - border, 0), int(found.max()) + border + 1))
    return made[0], made[1]


def _tile_size(box: tuple[slice, slice], stack: SliceStack) -> tuple[int, int]:
    """(width, height) in pixels that keep millimetres square."""
    lengths = [len(range(*part.indices(n))) for part, n in zip(box, stack.array.shape[1:], strict=True)]
    height, width = (n * mm for n, mm in zip(lengths, stack.spacing[1:], strict=True))
    if stack.plane == "sagittal":
        height, width = width, height
    scale = TILE / max(height, width)
    return max(24, round(width * scale)), max(24, round(height * scale))


def _tile(
    gray: np.ndarray | None, truth: np.ndarray, mask: np.ndarray | None, plane: str, size: tuple[int, int]
) -> Image.Image:
    if plane == "sagittal":
        gray, truth, mask = None if gray is None else gray.T, truth.T, None if mask is None else mask.T
    if gray is None:
        pixels = np.full((size[1], size[0]), _GRAYS // 6, dtype=np.uint8)
    else:
        scaled = Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BILINEAR)
        pixels = np.minimum(np.array(scaled), _WHITE)
    if mask is not None:
        theirs, ours = _resized(truth, size), _resized(mask, size)
        pixels[theirs & ours], pixels[ours & ~theirs], pixels[theirs & ~ours] = _TP, _FP, _FN
    tile = Image.fromarray(pixels).convert("P")
    tile.putpalette(_PALETTE)
    return tile


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)) > 0


def _annotate(tile: Image.Image, row: str, stack: SliceStack, k: int, first_row: bool) -> None:
    draw = ImageDraw.Draw(tile)

    def write(xy: tuple[int, int], text: str, anchor: str = "la", size: int = 12) -> None:
        font = ImageFont.load_default(size)
        draw.text(xy, text, font=font, fill=_WHITE, anchor=anchor, stroke_width=1, stroke_fill=0)

    draw.fontmode = "1"  # no shades between: they would fall on the palette's colours
    if row:
        write((4, 2), row, size=14)
    if first_row:
        write((tile.width - 4, 2), str(stack.source_index(k)[1] + 1), "ra")
        left, right = _EDGES[stack.plane][0], _EDGES[stack.plane][1]
        write((3, tile.height // 2), left, "lm")
        write((tile.width - 3, tile.height // 2), right, "rm")
