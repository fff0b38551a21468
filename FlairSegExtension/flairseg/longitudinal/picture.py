"""The picture of a follow-up: first study, last study and subtraction side by side, outlines in the states' colours."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from ..image.slice_stack import SliceStack
from ..rendering.slices import draw_text, fitted_text, text_width
from .result import FollowUp
from .states import GAINED, LOST, STATE_BY_ID, STATES

FOOTER = "Research use only - not a medical device"
#: Rows of slices, more only where changed lesions need them; those with the most change are chosen, in their order.
MOST_SLICES = 12
#: Height of a tile, pixels.
TILE_PX = 260
#: Shares of the brain's median shown white (FLAIR), and the differences shown black and white (subtraction).
WHITE, CONTRAST = 2.0, 0.5
#: Weight of a voxel of each state in the choice of slices.
_WEIGHT = {"new": 10.0, "resolved": 10.0, "enlarging": 6.0, "merged": 6.0, "shrinking": 6.0, "split": 6.0,
           "stable": 0.05}  # fmt: skip
_BACKGROUND, _TEXT, _DIM, _WARNING = (14, 15, 18), (236, 238, 242), (150, 154, 162), (255, 190, 70)
_GAP, _PAD = 4, 16
_EDGES = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}


def render_followup(result: FollowUp) -> Image.Image:
    """Contact sheet of a follow-up in radiological display (the patient's right on the left), square pixels.

    Rows are slices of the common grid, those that hold change first of all; columns are the first study, the last and
    their difference (grey: none; bright: brighter at the last study). Outlines are those of the first study's lesions
    on the first, of the last study's on the last, in the colour of what became of them; on the subtraction only
    changes are outlined.

    Parameters
    ----------
    result : FollowUp

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    grid = result.space.grid
    code = np.zeros(grid.array.shape, np.uint8)
    presence = [np.zeros(grid.array.shape, np.uint8) for _ in (0, 1)]
    for lesion in sorted(result.lesions, key=lambda f: f.state != "stable"):
        value = STATE_BY_ID[lesion.state].code
        code[tuple(lesion.track.voxels.T)] = value
        for mask, inside in zip(presence, (lesion.track.inside[0], lesion.track.inside[-1]), strict=True):
            mask[tuple(lesion.track.voxels[inside].T)] = value
    stacks = [SliceStack.from_volume(grid.with_array(a)) for a in (*result.images[:1], result.images[-1],
                                                                  result.subtraction, code, *presence)]  # fmt: skip
    first, last, apart, codes, before, after = (s.array for s in stacks)
    plane, spacing = stacks[0].plane, stacks[0].spacing
    shown = _slices(codes)
    # Outside a study's voxels it is shown as air.
    box = _box(first, last)
    height_mm, width_mm = ((s.stop - s.start) * mm for s, mm in zip(box, spacing[1:], strict=True))
    if plane == "sagittal":
        height_mm, width_mm = width_mm, height_mm
    tile = (TILE_PX, max(40, round(TILE_PX * width_mm / height_mm)))
    blocks = 2 if len(shown) > 4 else 1
    rows = -(-len(shown) // blocks)
    block_width = 3 * (tile[1] + _GAP)
    lines = _header(result)
    top = 96 + 19 * len(lines)
    width = max(blocks * block_width + (blocks - 1) * 3 * _GAP + 2 * _PAD, 980)
    sheet = Image.new("RGB", (width, top + 24 + rows * (tile[0] + _GAP) + 40), _BACKGROUND)
    _legend(sheet, result, lines)
    for block in range(blocks):
        left = _PAD + block * (block_width + 3 * _GAP)
        for column, title in enumerate((_title(result, 0), _title(result, -1), "Last less first")):
            draw_text(sheet, (left + column * (tile[1] + _GAP), top), fitted_text(title, 13, tile[1]), 13, _DIM)
    for n, k in enumerate(shown):
        block, row = divmod(n, rows)
        left = _PAD + block * (block_width + 3 * _GAP)
        y = top + 22 + row * (tile[0] + _GAP)
        views = (
            (first[k] / WHITE, before[k]),
            (last[k] / WHITE, after[k]),
            (0.5 + apart[k] / (2 * CONTRAST), np.where(codes[k] == STATE_BY_ID["stable"].code, 0, codes[k])),
        )
        for column, (gray, labels) in enumerate(views):
            picture = _tile(gray[box], labels[box], plane, tile)
            if column == 0:
                draw_text(picture, (5, 3), f"slice {k + 1}", 12, _TEXT, shadow=True)
                draw_text(picture, (4, tile[0] // 2), _EDGES[plane][0], 12, _DIM, shadow=True)
            sheet.paste(picture, (left + column * (tile[1] + _GAP), y))
    draw_text(sheet, (_PAD, sheet.height - 30), FOOTER, 15, _WARNING)
    source = "labels given by a reader" if result.card is None else result.card.id
    origin = f"{source} · {result.created[:10]}" + (" · outlines: automatic, unreviewed" if result.card else "")
    draw_text(sheet, (sheet.width - _PAD, sheet.height - 28), origin, 13, _DIM, anchor="ra")
    return sheet


def _slices(codes: np.ndarray) -> list[int]:
    """Choose the slices to show: those with the most change, spread so that each change is seen; the middle if none."""
    weights = np.zeros(256)
    for state in STATES:
        weights[state.code] = _WEIGHT[state.id]
    weights[[GAINED, LOST]] = 6.0
    scores = np.array([np.bincount(s.ravel(), minlength=256) @ weights for s in codes])
    components, _ = ndimage.label((codes > 0) & (codes != STATE_BY_ID["stable"].code), np.ones((3, 3, 3)))
    # Every changed lesion is in the picture, however many slices that takes.
    chosen = _covering(components)
    for k in np.argsort(-scores, kind="stable"):
        if len(chosen) >= MOST_SLICES or scores[k] <= 0:
            break
        if int(k) not in chosen:
            chosen.append(int(k))
    return sorted(chosen) or [len(codes) // 2]


def _covering(components: np.ndarray) -> list[int]:
    """Few slices that show every component in a slice with at least half of its largest area."""
    found = ndimage.find_objects(components)
    shown: list[set[int]] = [set() for _ in components]
    for n, where in enumerate(found, start=1):
        area = (components[where] == n).sum(axis=(1, 2))
        for k in np.flatnonzero(2 * area >= area.max()):
            shown[where[0].start + int(k)].add(n)
    missing, chosen = set(range(1, len(found) + 1)), []
    while missing:
        best = max(range(len(shown)), key=lambda k: len(shown[k] & missing))
        chosen.append(best)
        missing -= shown[best]
    return chosen


def _box(first: np.ndarray, last: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold something in either study."""
    bright = np.maximum(first.max(axis=0), last.max(axis=0)) > 0.15
    box = []
    for axis in (0, 1):
        found = np.flatnonzero(bright.sum(axis=1 - axis) > 0.03 * bright.shape[1 - axis])
        box.append(slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, bright.shape[axis]))
    return box[0], box[1]


def _tile(gray: np.ndarray, labels: np.ndarray, plane: str, size: tuple[int, int]) -> Image.Image:
    if plane == "sagittal":
        gray, labels = gray.T, labels.T
    target = (size[1], size[0])
    pixels = np.clip(np.nan_to_num(gray) * 255, 0, 255).astype(np.uint8)
    out = np.array(
        Image.fromarray(np.ascontiguousarray(pixels)).resize(target, Image.Resampling.BICUBIC).convert("RGB")
    )
    for state in sorted(STATES, key=lambda s: s.id != "stable"):
        mask = labels == state.code
        if mask.any():
            wide = np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize(target, Image.Resampling.BILINEAR))
            inside = wide >= min(128, int(wide.max()))
            out[ndimage.binary_dilation(inside) & ~inside] = state.rgb
    return Image.fromarray(out)


def _title(result: FollowUp, study: int) -> str:
    entry = result.studies[study]
    name = "First study" if study == 0 else "Last study"
    return f"{name}, {entry.date}" if entry.date else name


def _header(result: FollowUp) -> list[str]:
    lines = list(result.warnings[:4])
    if len(result.warnings) > 4:
        lines.append(f"... and {len(result.warnings) - 4} more warnings: see the summary.")
    return lines


def _legend(sheet: Image.Image, result: FollowUp, lines: list[str]) -> None:
    width = sheet.width - 2 * _PAD
    draw_text(sheet, (_PAD, 9), fitted_text(" > ".join(s.name for s in result.studies), 18, width), 18, _TEXT)
    draw, x = ImageDraw.Draw(sheet), _PAD
    for state in STATES:
        text = f"{state.name}  {result.counts[state.id]}"
        draw.rounded_rectangle((x, 39, x + 12, 51), radius=3, fill=state.rgb)
        draw_text(sheet, (x + 18, 37), text, 14, _TEXT)
        x += 18 + text_width(text, 14) + 24
    v = result.ventricles
    if v.change_percent is not None:
        verdict = "beyond" if v.beyond_noise else "within"
        volumes = " > ".join("-" if ml is None else f"{ml:.1f}" for ml in v.volumes_ml)
        text = (
            f"Ventricles {volumes} ml ({v.change_percent:+.1f} %, {verdict} the "
            f"noise of ±{v.noise_percent:g} %)   Rows: slices of the half-way grid"
        )
        draw_text(sheet, (_PAD, 62), fitted_text(text, 14, width), 14, _TEXT)
    for n, line in enumerate(lines):
        draw_text(sheet, (_PAD, 86 + 19 * n), fitted_text(line, 13, width), 13, _WARNING)
