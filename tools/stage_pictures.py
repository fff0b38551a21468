"""Pictures for ``docs/stages.md``: effect of each stage on a slice of the digital phantom.

    python tools/stage_pictures.py                   all, to docs/pictures/stage_*.png
    python tools/stage_pictures.py --only framing    some

The pictures are made with the functions of the pipeline. No patient is shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "FlairSegExtension")]

from flairseg.image.slice_stack import SliceStack  # noqa: E402
from flairseg.labels import CLASSES, LESION, NORMAL_WMH, VENTRICLES  # noqa: E402
from flairseg.phantom import Scan, make_phantom  # noqa: E402
from flairseg.preprocessing import brain_mask, denoise_s1, neighbour_offset  # noqa: E402
from flairseg.preprocessing.brain_mask import (  # noqa: E402
    ELLIPSE_MARGIN,
    FAT_FACTOR,
    WORKING_SPACING_MM,
    brain_mask_slice,
    cut_bridges,
    moments_ellipse,
    refine_contour,
    tissue_threshold,
)
from flairseg.preprocessing.framing import frame_brain_fill, frame_brain_mm  # noqa: E402
from flairseg.preprocessing.normalisation import normalise_brain_median, normalise_periphery  # noqa: E402
from flairseg.segmentation.decoding import classify, gray_probabilities  # noqa: E402
from flairseg.segmentation.postprocessing import (  # noqa: E402
    drop_outside_brain,
    fill_holes,
    remove_small_components,
    smooth_edges,
)

SEED = 0
#: Gray levels of the classes in S1, and its threshold of abnormal WMH.
LEVELS, LESION_THRESHOLD = (0.0, 0.25, 0.75, 1.0), 0.3
YELLOW, CYAN, INK, PAPER = (255, 214, 10), (64, 200, 255), (225, 225, 230), (18, 18, 22)
PANEL, GAP, HEAD = 264, 6, 22
COLOURS = 96


@dataclass(frozen=True)
class Scene:
    """Phantom as a stack: slices and ground truth (slices, H, W), spacing (slice, row, column) in mm, index shown."""

    slices: np.ndarray
    truth: np.ndarray
    spacing: tuple[float, float, float]
    k: int


@lru_cache(maxsize=2)
def scene(noise: float = 0.022) -> Scene:
    """Axial scan of the phantom; the slice shown has the largest minimum area of a class."""
    phantom = make_phantom(SEED, scan=Scan(noise=noise))
    stack = SliceStack.from_volume(phantom.volume)
    truth = SliceStack.from_volume(phantom.volume.with_array(phantom.labels)).array
    counts = [min((truth[k] == c.value).sum() for c in CLASSES) for k in range(len(truth))]
    return Scene(stack.array.astype(np.float32), truth, stack.spacing, int(np.argmax(counts)))


@lru_cache(maxsize=2)
def mask_of(noise: float = 0.022) -> np.ndarray:
    """Rough brain mask of :func:`scene`."""
    shown = scene(noise)
    return brain_mask(shown.slices, shown.spacing)


# --- drawing ----------------------------------------------------------------------------------------------------------


def gray(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Intensity image as RGB, uint8."""
    scaled = np.clip((image - low) / (high - low), 0, 1) * 255
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, axis=2)


def paint(rgb: np.ndarray, mask: np.ndarray, colour, opacity: float = 1.0) -> np.ndarray:
    """Colour the pixels of a mask."""
    out = rgb.astype(float)
    out[mask] = (1 - opacity) * out[mask] + opacity * np.asarray(colour, float)
    return out.astype(np.uint8)


def outline(mask: np.ndarray) -> np.ndarray:
    """The inner border of a mask."""
    return mask & ~ndimage.binary_erosion(mask)


def classes(rgb: np.ndarray, labels: np.ndarray, opacity: float = 0.75) -> np.ndarray:
    """Paint a label map in the class colours."""
    for entry in CLASSES:
        rgb = paint(rgb, labels == entry.value, entry.rgb, opacity)
    return rgb


def crop_to(mask: np.ndarray, margin: int, aspect: float = 1.0) -> tuple[slice, slice]:
    """Box around a mask with ratio ``aspect`` of height to width."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    centre = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    half = max(np.ptp(rows) / aspect, np.ptp(columns)) / 2 + margin
    low = [max(int(c - h), 0) for c, h in zip(centre, (half * aspect, half), strict=True)]
    high = [min(int(c + h) + 1, n) for c, h, n in zip(centre, (half * aspect, half), mask.shape, strict=True)]
    return slice(low[0], high[0]), slice(low[1], high[1])


def head_box(image: np.ndarray) -> tuple[slice, slice]:
    """Box of the head with a margin."""
    return crop_to(image > 0.2 * np.percentile(image, 99), 4, 1.2)


def picture(panels: list[tuple[str, np.ndarray]], columns: int | None = None, smooth: bool = True) -> Image.Image:
    """Panels of equal width with captions, in rows of ``columns``; few colours for small files."""
    font = ImageFont.load_default(size=13)
    columns = columns or len(panels)
    tiles = []
    for caption, rgb in panels:
        height = round(rgb.shape[0] * PANEL / rgb.shape[1])
        how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
        tiles.append((caption, Image.fromarray(rgb).resize((PANEL, height), how)))
    tall = max(tile.height for _, tile in tiles)
    rows = -(-len(tiles) // columns)
    size = (columns * (PANEL + GAP) + GAP, rows * (tall + HEAD + GAP) + GAP)
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for n, (caption, tile) in enumerate(tiles):
        x, y = GAP + n % columns * (PANEL + GAP), GAP + n // columns * (tall + HEAD + GAP)
        draw.text((x + 2, y + 2), caption, font=font, fill=INK)
        canvas.paste(tile, (x, y + HEAD + (tall - tile.height) // 2))
    return canvas.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


# --- stages -----------------------------------------------------------------------------------------------------------


def denoise() -> Image.Image:
    """Detail of a noisy scan, after the median filter, and after the Gaussian filter."""
    noisy = scene(0.07)
    image = noisy.slices[noisy.k : noisy.k + 1]
    median = denoise_s1(image, gaussian_sigma=0)
    both = denoise_s1(image)
    parts, _ = ndimage.label(noisy.truth[noisy.k] > 0)
    box = crop_to(parts == int(np.argmax(np.bincount(parts.ravel())[1:])) + 1, 12)
    high = np.percentile(image, 99.5)
    return picture(
        [
            ("a noisy scan, detail", gray(image[0][box], 0, high)),
            ("median 3 x 3", gray(median[0][box], 0, high)),
            ("then Gaussian, sigma 1", gray(both[0][box], 0, high)),
        ],
        smooth=False,
    )


@lru_cache(maxsize=1)
def working_copy() -> tuple[np.ndarray, int, float]:
    """Stack at the pixel size of the brain mask, index of the slice shown, and pixel size in mm."""
    from skimage.transform import resize

    shown = scene()
    shape = tuple(
        round(n * s / WORKING_SPACING_MM) for n, s in zip(shown.slices.shape[1:], shown.spacing[1:], strict=True)
    )
    small = np.stack([resize(image, shape, order=1, anti_aliasing=True) for image in shown.slices])
    return small, shown.k - 2, WORKING_SPACING_MM


def threshold() -> Image.Image:
    """Tissue: pixels above the threshold."""
    small, k, _ = working_copy()
    image, level = small[k], tissue_threshold(small)
    box = head_box(image)
    high = np.percentile(small, 99.5)
    return picture(
        [
            ("slice at 1.8 mm", gray(image, 0, high)[box]),
            (f"brighter than {level:.0f}", paint(gray(image, 0, high), image > level, CYAN, 0.6)[box]),
        ],
        smooth=False,
    )


def opening() -> Image.Image:
    """Opening, which cuts bridges between brain and scalp and removes islands."""
    small, k, spacing = working_copy()
    image, high = small[k], np.percentile(small, 99.5)
    tissue = image > tissue_threshold(small)
    opened = cut_bridges(tissue, spacing)
    box = head_box(image)
    return picture(
        [
            ("tissue", paint(gray(image, 0, high), tissue, CYAN, 0.6)[box]),
            ("opened by a disk", paint(gray(image, 0, high), opened, CYAN, 0.6)[box]),
        ],
        smooth=False,
    )


def ellipse() -> Image.Image:
    """Ellipse with the second-order moments of the brain, and the enlarged ellipse that limits the brain mask."""
    small, k, spacing = working_copy()
    image, high = small[k], np.percentile(small, 99.5)
    labels, count = ndimage.label(cut_bridges(image > tissue_threshold(small), spacing))
    sizes = ndimage.sum_labels(labels > 0, labels, np.arange(1, count + 1))
    largest = labels == 1 + int(np.argmax(sizes))
    fitted = moments_ellipse(ndimage.binary_fill_holes(largest))
    rgb = paint(gray(image, 0, high), largest, CYAN, 0.45)
    rgb = paint(rgb, outline(fitted.contains(image.shape)), YELLOW)
    stretched = paint(gray(image, 0, high), outline(fitted.contains(image.shape, ELLIPSE_MARGIN)), YELLOW)
    box = head_box(image)
    return picture(
        [("largest piece, its moments ellipse", rgb[box]), (f"stretched by {ELLIPSE_MARGIN}", stretched[box])],
        smooth=False,
    )


def contour() -> Image.Image:
    """Largest contour, filled and smoothed, and the mask on the pixels of the image."""
    small, k, spacing = working_copy()
    image, high = small[k], np.percentile(small, 99.5)
    level = tissue_threshold(small)
    opened = cut_bridges((image > level) & (image < FAT_FACTOR * np.median(image[image > level])), spacing)
    refined = refine_contour(opened)
    whole = brain_mask_slice(image, level, spacing)
    shown = scene()
    full, fine = shown.slices[k], mask_of()[k]
    box, fine_box = head_box(image), head_box(full)
    return picture(
        [
            ("pieces", paint(gray(image, 0, high), opened, CYAN, 0.5)[box]),
            ("largest contour, filled, smoothed", paint(gray(image, 0, high), refined, CYAN, 0.5)[box]),
            ("brain mask of the slice", paint(gray(image, 0, high), outline(whole), YELLOW)[box]),
            ("on the image's own pixels", paint(gray(full, 0, high), outline(fine), YELLOW)[fine_box]),
        ],
        smooth=False,
    )


def normalisation() -> Image.Image:
    """Normalisation of a slice at two gains."""
    shown, mask = scene(), mask_of()
    image, brain = shown.slices[shown.k : shown.k + 1], mask[shown.k : shown.k + 1]
    box = head_box(image[0])
    high = np.percentile(image, 99)
    panels = []
    for name, gain in (("as scanned", 1.0), ("half the gain", 0.5)):
        scaled = image * np.float32(gain)
        panels += [
            (name, gray(scaled[0], 0, high)[box]),
            ("brain-median (-6 .. 8)", gray(normalise_brain_median(scaled, brain)[0], -6, 8)[box]),
            ("periphery, S1 (0 .. 1)", gray(normalise_periphery(scaled, brain)[0], 0, 1)[box]),
        ]
    return picture(panels, columns=3)


def framing() -> Image.Image:
    """Two framings of two slices, and their inverse."""
    shown, mask = scene(), mask_of()
    normalised = normalise_brain_median(shown.slices, mask)
    pixels = shown.spacing[1:]
    fill, fixed = frame_brain_fill(mask, pixels, (256, 256)), frame_brain_mm(mask, pixels, (224, 192), 0.9)
    panels = []
    for k in (shown.k, max(k for k in range(len(mask)) if mask[k].sum() > 0.25 * mask.sum((1, 2)).max())):
        panels.append((f"slice {k + 1} of {len(mask)}", gray(normalised[k], -6, 8)))
        for name, frame in (("brain-256", fill), ("brain-mm", fixed)):
            framed = frame.apply(normalised, fill=-5.0)[k]
            panels.append((f"{name}: {frame.size[0]} x {frame.size[1]}", gray(framed, -6, 8)))
            # The inverse gives 0 outside the frame: with an offset of 5 this looks like air.
            panels.append((f"{name}: back", gray(frame.invert(framed + 5, k) - 5, -6, 8)))
    return picture(panels, columns=5)


def neighbours() -> Image.Image:
    """Input channels of the 2.5D generator for one slice."""
    shown, mask = scene(), mask_of()
    framed = frame_brain_mm(mask, shown.spacing[1:], (224, 192), 0.9).apply(
        normalise_brain_median(shown.slices, mask), fill=-5.0
    )
    away = neighbour_offset(shown.spacing[0], 6.0)
    distance = f"{away * shown.spacing[0]:.1f} mm"
    names = {-away: f"{distance} below", 0: "the slice", away: f"{distance} above"}
    return picture([(name, gray(framed[shown.k + step], -6, 8)) for step, name in names.items()])


def gray_level_image() -> tuple[np.ndarray, np.ndarray]:
    """Simulated output of a gray-level generator (blurred, noisy levels of the ground truth), and the ground truth."""
    shown = scene()
    truth = shown.truth[shown.k]
    rng = np.random.default_rng(SEED)
    levels = ndimage.gaussian_filter(np.asarray(LEVELS)[truth], 0.55)
    return np.clip(levels + rng.normal(0, 0.03, truth.shape), 0, 1).astype(np.float32), truth


def decoding() -> Image.Image:
    """Probabilities from gray levels by distance softmax, and labels with and without the threshold of S1."""
    output, truth = gray_level_image()
    probabilities = gray_probabilities(output[None], LEVELS)[0]
    box = crop_to(truth > 0, 10)
    names = ("background", *(entry.short_name.lower() for entry in CLASSES))
    flat = np.zeros((*truth.shape, 3), np.uint8)
    panels = [("gray-level output", gray(output, 0, 1)[box])]
    panels += [(f"p({name})", gray(p, 0, 1)[box]) for name, p in zip(names, probabilities, strict=True)]
    panels += [
        ("most probable class", classes(flat, classify(probabilities), 1.0)[box]),
        (
            f"lesion from p = {LESION_THRESHOLD}",
            classes(flat, classify(probabilities, {LESION: LESION_THRESHOLD}), 1.0)[box],
        ),
        ("truth", classes(flat, truth, 1.0)[box]),
    ]
    return picture(panels, columns=4, smooth=False)


def before_and_after(
    before: np.ndarray, after: np.ndarray, k: int, box: tuple[slice, slice], names=("before", "after")
):
    """Two label maps over slice ``k``."""
    shown = scene()
    base = gray(shown.slices[k], 0, np.percentile(shown.slices[k], 99.5))
    return picture(
        [(name, classes(base, x[k])[box]) for name, x in zip(names, (before, after), strict=True)], smooth=False
    )


def components() -> Image.Image:
    """Removal of small false components of ventricle and normal WMH."""
    shown = scene()
    labels, rng = shown.truth.copy(), np.random.default_rng(SEED)
    inside = np.argwhere(ndimage.binary_erosion(mask_of()[shown.k], iterations=20) & (labels[shown.k] == 0))
    for n, (row, column) in enumerate(inside[rng.permutation(len(inside))[:24]]):
        size = 1 + n % 2
        labels[shown.k, row : row + size, column : column + 1] = (VENTRICLES, NORMAL_WMH)[n % 2]
    voxel = float(np.prod(shown.spacing))
    after = remove_small_components(labels, VENTRICLES, 30.0, voxel)
    after = remove_small_components(after, NORMAL_WMH, 30.0, voxel)
    return before_and_after(labels, after, shown.k, crop_to(shown.truth[shown.k] > 0, 8))


def largest_lesion() -> tuple[int, tuple[slice, slice]]:
    """Slice and box of the largest lesion cross-section."""
    shown = scene()
    best = (0, 0, None)
    for k, truth in enumerate(shown.truth):
        parts, count = ndimage.label(truth == LESION)
        for n in range(1, count + 1):
            best = max(best, (int((parts == n).sum()), k, n), key=lambda entry: entry[0])
    _, k, n = best
    return k, crop_to(ndimage.label(shown.truth[k] == LESION)[0] == n, 9)


def holes() -> Image.Image:
    """Filling of holes in a lesion."""
    shown = scene()
    k, box = largest_lesion()
    labels, rng = shown.truth.copy(), np.random.default_rng(SEED)
    core = np.zeros(shown.truth[k].shape, bool)
    core[box] = ndimage.binary_erosion(shown.truth[k] == LESION)[box]
    labels[k][core & (rng.random(core.shape) < 0.3)] = 0
    return before_and_after(labels, fill_holes(labels, shown.spacing), k, box)


def edges() -> Image.Image:
    """Smoothing of a ragged outline."""
    shown = scene()
    k, box = largest_lesion()
    labels, rng = shown.truth.copy(), np.random.default_rng(SEED)
    lesion = labels[k] == LESION
    rim = ndimage.binary_dilation(lesion) & (labels[k] == 0) & (rng.random(lesion.shape) < 0.35)
    worn = outline(lesion) & (rng.random(lesion.shape) < 0.3)
    labels[k][rim], labels[k][worn] = LESION, 0
    return before_and_after(labels, smooth_edges(labels, shown.spacing, 1.0), k, box)


def minimum() -> Image.Image:
    """Removal of lesions below the minimum volume."""
    shown = scene()
    labels, rng = shown.truth.copy(), np.random.default_rng(SEED + 1)
    inside = np.argwhere(ndimage.binary_erosion(mask_of()[shown.k], iterations=20) & (labels[shown.k] == 0))
    for n, (row, column) in enumerate(inside[rng.permutation(len(inside))[:24]]):
        labels[shown.k, row : row + 1, column : column + 1 + 2 * (n % 2)] = LESION
    after = remove_small_components(labels, LESION, 11.0, float(np.prod(shown.spacing)))
    return before_and_after(
        labels, after, shown.k, crop_to(shown.truth[shown.k] > 0, 8), ("before", "after: 11 mm3 and more")
    )


def outside() -> Image.Image:
    """Removal of false lesions in bright fat outside the brain."""
    shown, mask = scene(), mask_of()
    bright = shown.slices > 1.8 * np.median(shown.slices[mask])
    fat = ndimage.binary_opening(bright, np.ones((1, 3, 3)), iterations=2)
    labels = np.where(fat & (shown.truth == 0), LESION, shown.truth).astype(np.uint8)
    for k in range(len(labels)):  # split into pieces, as typical of a network
        labels[k, ::24], labels[k, :, ::24] = shown.truth[k, ::24], shown.truth[k, :, ::24]
    after = drop_outside_brain(labels, mask, shown.spacing, 15.0)
    k = int(np.argmax((labels != after).sum((1, 2))))
    return before_and_after(labels, after, k, head_box(shown.slices[k]))


STAGES: dict[str, Callable[[], Image.Image]] = {
    stage.__name__: stage
    for stage in (
        denoise, threshold, opening, ellipse, contour, normalisation, framing, neighbours, decoding, outside,
        components, holes, edges, minimum,
    )
}  # fmt: skip


def main() -> None:
    """Draw the pictures and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--only", choices=STAGES, action="append", help="this stage (may be repeated)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in options.only or STAGES:
        path = options.output / f"stage_{name}.png"
        STAGES[name]().save(path, optimize=True)
        total += path.stat().st_size
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")
    print(f"together {total / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
