"""Image quality before segmentation: measures, and those beyond their threshold.

Every figure is cheap (together about a second for a clinical stack) and is kept in the cohort's table as
``quality_<name>``; a session beyond a threshold is marked, gets a warning with a code, and is still segmented.
What the image shows (FLAIR, T1, T2, CT) is judged by the rules of :mod:`flairseg.preprocessing.image_quality`.
A figure that cannot be measured in an image (noise where there is no brain) is None, and never beyond a threshold.

Contrast agent is known from header, sidecar or name alone: by intensity, enhancing sinuses and vessels look like bright
fat. Ghosts of motion in the air are not among the figures: no measure tried was low in all clean images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import CaseWarning
from ..image.checks import check_volume
from ..image.footing import footed
from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..preprocessing import image_quality as contrast
from ..preprocessing.brain_mask import shared_brain_mask, tissue_threshold


@dataclass(frozen=True)
class Measure:
    """One figure of image quality.

    Attributes
    ----------
    unit : str
        As shown behind the value; empty for shares and counts.
    meaning : str
        The measure, one line.
    bar : float or None
        Values above it are marked; None: judged together with others by
        :func:`flairseg.preprocessing.image_quality.image_doubts`.
    source : str
        Source of the method.
    """

    unit: str
    meaning: str
    bar: float | None
    source: str


#: The bars are beyond what clean real volumes and phantoms give, see ``docs/cohorts.md``.
MEASURE_BY_NAME: dict[str, Measure] = {
    "noise_percent": Measure(
        "%", "Noise in the brain, of its median.", 8.0, "Immerkaer 1996, with the median of the Laplacian differences"
    ),
    "slice_shift_mm": Measure(
        "mm", "Alternating displacement of slices: motion between interleaved slices.", 2.0, "FlairSeg"
    ),
    "slice_step_percent": Measure("%", "Largest intensity step of a slice against its neighbours.", 20.0, "FlairSeg"),
    "top_cut_cm2": Measure("cm2", "Cross-section of the brain in the uppermost layer.", 60.0, "FlairSeg"),
    "bottom_cut_cm2": Measure("cm2", "Cross-section of the brain in the lowest layer.", 80.0, "FlairSeg"),
    "empty_slices": Measure("", "Slices without signal within the head.", 0.0, "FlairSeg"),
    "slice_mm": Measure("mm", "Distance of the slices.", 10.0, "header"),
    "contrast_agent": Measure("", "Contrast agent was given: 1, by header, sidecar or name.", 0.0, "header"),
    "fluid_dark_percent": Measure("%", "Inner brain much darker than its median: fluid.", None, "FlairSeg"),
    "fluid_bright_percent": Measure("%", "Inner brain much brighter than its median.", None, "FlairSeg"),
    "white_matter_rank": Measure("", "Share of tissue darker than white matter.", None, "FlairSeg"),
    "tissue_percent": Measure("%", "Brain about as bright as its median.", None, "FlairSeg"),
    "pixel_correlation": Measure("", "Correlation of neighbouring pixels.", None, "FlairSeg"),
    "brain_cm2": Measure("cm2", "Largest cross-section of the brain.", None, "FlairSeg"),
}
MEASURES = tuple(MEASURE_BY_NAME)

#: Figure behind each doubt about the contrast.
_DOUBTED = {
    "looks-like-noise": "pixel_correlation", "looks-like-ct": "tissue_percent", "no-brain-found": "brain_cm2",
    "brain-size-implausible": "brain_cm2", "looks-like-t2": "fluid_bright_percent",
    "looks-like-t1": "white_matter_rank", "no-dark-ventricles": "fluid_dark_percent",
    "tissue-uneven": "tissue_percent", "brain-mask-small": "brain_cm2",
}  # fmt: skip
#: Slices that show so much of the largest cross-section of brain or head are compared with each other.
_LARGE_SHARE = 0.6
_MOST_SLICES = 24
#: Kernel of Immerkaer: the difference of two Laplacians, whose response to noise has 6 times its deviation.
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_GAUSSIAN_MAD = 0.6745
#: Share of the typical slice's tissue below which a slice within the head counts as empty.
_EMPTY_SHARE = 0.02


def measure(volume: Volume) -> tuple[dict[str, float | None], tuple[CaseWarning, ...], tuple[str, ...]]:
    """Measure the quality of an image and compare it with the thresholds.

    Parameters
    ----------
    volume : Volume
        As read.

    Returns
    -------
    figures : dict of str to (float or None)
        One for each of :data:`MEASURES`.
    warnings : tuple of CaseWarning
    beyond : tuple of str
        Names of the figures that are beyond their bar.

    Raises
    ------
    FlairSegError
        If the volume cannot be segmented at all.
    """
    stack = SliceStack.from_volume(footed(check_volume(volume)), "native")
    mask = shared_brain_mask(stack.array, stack.spacing)
    look = contrast.measure(stack, mask)
    doubts = [CaseWarning.of(text) for text in contrast.image_doubts(look)]
    values: dict[str, float | None] = {
        **_within_slices(stack, mask),
        **_between_slices(stack, mask),
        **_cuts(stack, mask),
        "slice_mm": stack.spacing[0],
        "contrast_agent": float(any(getattr(w, "code", "") == "contrast-agent" for w in volume.warnings)),
        "fluid_dark_percent": 100 * look.dark_share,
        "fluid_bright_percent": 100 * look.bright_share,
        "white_matter_rank": look.white_matter_rank,
        "tissue_percent": 100 * look.tissue_share,
        "pixel_correlation": look.correlation,
        "brain_cm2": look.area_cm2,
    }
    figures = {name: _rounded(values[name]) for name in MEASURES}
    beyond = [
        name
        for name, kind in MEASURE_BY_NAME.items()
        if kind.bar is not None and (value := figures[name]) is not None and value > kind.bar
    ]
    warnings = [*doubts, *_warnings(figures, beyond)]
    beyond += [_DOUBTED[doubt.code] for doubt in doubts if doubt.code in _DOUBTED]
    return figures, tuple(warnings), tuple(dict.fromkeys(beyond))


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 3)


def _warnings(figures: dict[str, float | None], beyond: list[str]) -> list[CaseWarning]:
    """A warning for each kind of fault."""
    found = []
    if "noise_percent" in beyond:
        text = f"The image is noisy: {figures['noise_percent']:.1f} % of the brain's intensity."
        found.append(CaseWarning(text, "image-noisy"))
    if "slice_shift_mm" in beyond:
        text = f"Neighbouring slices are displaced by {figures['slice_shift_mm']:.1f} mm: motion between slices?"
        found.append(CaseWarning(text, "slices-displaced"))
    if "slice_step_percent" in beyond:
        text = f"A slice differs from its neighbours by {figures['slice_step_percent']:.0f} % in brightness."
        found.append(CaseWarning(text, "slice-brightness-uneven"))
    ends = [end for end in ("top", "bottom") if f"{end}_cut_cm2" in beyond]
    if ends:
        areas = " and ".join(f"{figures[f'{end}_cut_cm2']:.0f} cm2 at the {end}" for end in ends)
        text = f"The image ends within the brain ({areas}): a part is missing, and volumes are too small."
        found.append(CaseWarning(text, "brain-cut-off"))
    if "empty_slices" in beyond:
        text = f"Slices without signal within the head: {figures['empty_slices']:.0f}. The result cannot be trusted."
        found.append(CaseWarning(text, "slices-empty"))
    if "slice_mm" in beyond:
        text = f"The slices are {figures['slice_mm']:.1f} mm apart: small lesions are lost between them."
        found.append(CaseWarning(text, "slices-thick"))
    return found


def _chosen(areas: np.ndarray) -> np.ndarray:
    """Indices of up to :data:`_MOST_SLICES` slices with large areas."""
    large = np.flatnonzero(areas > _LARGE_SHARE * areas.max()) if areas.any() else np.zeros(0, int)
    return large[:: max(1, -(-len(large) // _MOST_SLICES))]


def _within_slices(stack: SliceStack, mask: np.ndarray) -> dict[str, float | None]:
    """Noise in the brain, of slices with much of it."""
    chosen = _chosen(mask.sum(axis=(1, 2)))
    if not len(chosen):
        return {"noise_percent": None}
    image, brain = stack.array[chosen].astype(np.float32), mask[chosen]
    median = float(np.median(image[brain]))
    if median <= 0:
        return {"noise_percent": None}
    noise = _noise(image, brain)
    return {"noise_percent": 100 * noise / median}


def _noise(image: np.ndarray, brain: np.ndarray) -> float:
    """Standard deviation of the noise in the brain, in the image's unit.

    The response of the kernel to an even or sloping background is 0; its median is taken, so that edges do not count.
    Too low for images whose noise is smooth (interpolated in k-space).
    """
    responses = [
        np.abs(ndimage.convolve(one, _IMMERKAER, mode="nearest"))[ndimage.binary_erosion(inside, iterations=3)]
        for one, inside in zip(image, brain, strict=True)
    ]
    every = np.concatenate(responses)
    return float(np.median(every)) / (6 * _GAUSSIAN_MAD) if every.size else float("nan")


def _between_slices(stack: SliceStack, mask: np.ndarray) -> dict[str, float | None]:
    """Displacement, brightness and gaps from slice to slice."""
    steps = [max(1, round(1.0 / mm)) for mm in stack.spacing[1:]]
    small = stack.array[:, :: steps[0], :: steps[1]].astype(np.float32)
    threshold = tissue_threshold(small)
    tissue = small > threshold
    areas = tissue.sum(axis=(1, 2)).astype(float)
    shown = np.flatnonzero(areas >= 0.25 * max(areas.max(), 1))
    within = areas[shown[0] : shown[-1] + 1] if len(shown) else areas[:0]
    empty = int(np.count_nonzero(within < _EMPTY_SHARE * np.median(within))) if len(within) else 0
    brain = mask[:, :: steps[0], :: steps[1]]
    brain_areas = brain.sum(axis=(1, 2))
    large = (brain_areas > _LARGE_SHARE * brain_areas.max()) if brain_areas.any() else np.zeros(len(small), bool)
    inner = np.flatnonzero(large[:-2] & large[1:-1] & large[2:]) + 1
    if not len(inner):
        return {"slice_shift_mm": None, "slice_step_percent": None, "empty_slices": empty}
    return {
        "slice_shift_mm": _zigzag_mm(tissue, inner, [mm * s for mm, s in zip(stack.spacing[1:], steps, strict=True)]),
        "slice_step_percent": _largest_step(small, tissue, large),
        "empty_slices": empty,
    }


def _largest_step(image: np.ndarray, tissue: np.ndarray, large: np.ndarray) -> float:
    """Largest difference of a slice's brightness from its neighbours', %, where both neighbours show tissue.

    One neighbour has to show much of the brain (``large``): below it, the skull base differs from slice to slice by
    itself. Not both, and not the slice itself: one that lost its signal has no tissue, and the brain mask, which grows
    from slice to slice, may end at it.
    """
    steps = [0.0]
    for index in np.flatnonzero(large[:-2] | large[2:]) + 1:
        where = tissue[index - 1] & tissue[index + 1]
        if where.any():
            before, own, after = (float(np.median(image[i][where])) for i in (index - 1, index, index + 1))
            steps.append(abs(2 * own / max(before + after, 1e-6) - 1))
    return 100 * max(steps)


def _zigzag_mm(tissue: np.ndarray, inner: np.ndarray, pixel_mm: list[float]) -> float:
    """Median distance of a head's middle from the middle of its neighbours', mm; the larger of rows and columns.

    The middle is that of the outermost tissue of each row and column, of which the median is taken.
    """
    found = []
    for axis in (1, 2):
        lines = np.moveaxis(tissue, axis, 2)
        first = lines.argmax(axis=2).astype(float)
        last = lines.shape[2] - 1 - lines[:, :, ::-1].argmax(axis=2)
        middle = np.where(lines.any(axis=2), (first + last) / 2, np.nan)
        off = middle[inner] - (middle[inner - 1] + middle[inner + 1]) / 2
        known = [line[np.isfinite(line)] for line in off]
        moved = [abs(float(np.median(line))) for line in known if line.size]
        found.append(float(np.median(moved)) * pixel_mm[axis - 1] if moved else 0.0)
    return max(found)


def _cuts(stack: SliceStack, mask: np.ndarray) -> dict[str, float | None]:
    """Cross-section of the brain in the outermost layers of the image, up and down, cm2."""
    if not mask.any():
        return {"top_cut_cm2": None, "bottom_cut_cm2": None}
    axis, up_last = {"axial": (0, True), "sagittal": (2, False), "coronal": (1, False)}[stack.plane]
    layer_cm2 = float(np.prod([mm for n, mm in enumerate(stack.spacing) if n != axis])) / 100
    first, last = (float(mask.take(n, axis).sum()) * layer_cm2 for n in (0, -1))
    top, bottom = (last, first) if up_last else (first, last)
    return {"top_cut_cm2": top, "bottom_cut_cm2": bottom}
