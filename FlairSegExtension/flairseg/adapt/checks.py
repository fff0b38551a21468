"""Checks before a case is used for training, alone and among the others; cases that fail are left out with a reason.

Codes of what is left out: ``rejected``, ``verdict-unknown``, ``verdict-damaged``, ``no-class-reviewed``
(:mod:`.cases`); ``surplus`` (:mod:`.running`); ``damaged``, ``another-contrast``, ``empty-mask``,
``mask-outside-brain``, ``mask-misplaced``, ``wrong-class``, ``duplicate`` (here).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from ..errors import FlairSegError
from ..image.slice_stack import SliceStack
from ..labels import BACKGROUND, CLASS_BY_VALUE, LESION, NORMAL_WMH, VENTRICLES
from ..models.card import PipelineConfig
from ..preprocessing.image_quality import image_doubts, measure
from ..preprocessing.scan_figures import scan_figures
from .cases import ReviewedCase, load
from .evidence import Evidence, weigh
from .framed import Case, dequantise, frame_case, quantise
from .record import LeftOut

#: A mask that fits its image so many times better elsewhere does not belong there. Right masks of seven Tabriz patients
#: and three MSLesSeg scans: 1.00 each. Moved by two pixels (1.8 mm): 1.5 and more with ventricles drawn, 1.2 to 1.4 for
#: large lesions alone, which are caught from three pixels on.
MISPLACED_GAIN = 1.25
#: Share of the drawn voxels that may be outside the rough brain mask.
OUTSIDE_SHARE = 0.35
#: Correlation of two brains' thumbnails from which they are one image, and one person. Visits of one person: 0.72 and
#: more (two persons, both with several scans); different persons: up to 0.61 in one space, 0.45 else.
SAME_IMAGE, SAME_PERSON = 0.997, 0.68
#: Grid of a thumbnail: slices, rows, columns.
THUMBNAIL = (10, 28, 24)
#: Lesion volume of the base in a case in which the reader drew none, ml: with more the case is left out.
UNSEEN_ML = 1.0
#: About how many slices of a thin-slice scan are checked for a displacement.
_LOOKED_AT = 60


@dataclass(frozen=True)
class Examined:
    """A case usable for training, in the model's frame.

    Attributes
    ----------
    case : ReviewedCase
    images : ndarray of uint8, shape (slices, rows, columns)
        Slices with brain, normalised, as bytes.
    labels : ndarray of uint8, same shape
        Classes 0..3.
    masks, corrected : ndarray of bool, same shape
        Brain; where a rejected version was wrong.
    volume_ml : dict of int to float
        Class value -> drawn volume.
    evidence : Evidence
    digest : str
        sha256 of the image's voxels.
    thumbnail : ndarray of float32, shape :data:`THUMBNAIL`
    spacing : tuple of float
        mm per (slice, row, column) of the scan.
    plane : str
        In which it is sliced.
    figures : dict of str to float
        Of grid and image, see :func:`flairseg.preprocessing.scan_figures.scan_figures`.
    """

    case: ReviewedCase
    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    corrected: np.ndarray
    volume_ml: dict[int, float]
    evidence: Evidence
    digest: str
    thumbnail: np.ndarray
    spacing: tuple[float, float, float]
    plane: str = "axial"
    figures: dict[str, float] = field(default_factory=dict)


def examine(case: ReviewedCase, config: PipelineConfig) -> Examined | LeftOut:
    """Read a case, check image and mask, and bring both into the model's frame."""
    try:
        loaded = load(case)
        framed = frame_case(Case(case.name, loaded.volume, loaded.labels), config)
    except FlairSegError as error:
        return LeftOut(case.number, "damaged", f"It cannot be read ({error.code}).")
    stack = SliceStack.from_volume(loaded.volume, config.plane)
    doubts = image_doubts(measure(stack, framed.prepared.mask))
    if doubts:
        return LeftOut(case.number, "another-contrast", f"{str(doubts[0]).split('.')[0]}.")
    drawn = np.isin(loaded.labels, case.reviewed)
    if not drawn.any():
        return LeftOut(case.number, "empty-mask", "Its mask is empty.")
    arranged = SliceStack.from_volume(loaded.volume.with_array(drawn), config.plane).array
    outside = float((arranged & ~framed.prepared.mask).sum() / arranged.sum())
    if outside > OUTSIDE_SHARE:
        return LeftOut(case.number, "mask-outside-brain", f"{100 * outside:.0f} % of the mask is outside the brain.")
    every = max(1, len(framed.labels) // _LOOKED_AT)
    known = np.where(np.isin(framed.labels, case.reviewed), framed.labels, BACKGROUND)
    evidence = weigh(framed.prepared.slices[::every], known[::every], framed.mask[::every])
    fault = _fault(case, evidence, config.frame_spacing_mm, every)
    if fault is not None:
        return fault
    corrected = SliceStack.from_volume(loaded.volume.with_array(loaded.corrected), config.plane).array
    kept = np.flatnonzero(framed.mask.any(axis=(1, 2)))
    return Examined(
        case,
        quantise(framed.prepared.slices[kept]),
        framed.labels[kept],
        framed.mask[kept],
        (framed.prepared.frame.apply(corrected.astype(np.float32)) > 0.5)[kept],
        {v: float((loaded.labels == v).sum()) * loaded.volume.geometry.voxel_volume_ml for v in CLASS_BY_VALUE},
        evidence,
        hashlib.sha256(np.ascontiguousarray(loaded.volume.array, np.float32).tobytes()).hexdigest(),
        thumbnail(framed.prepared.slices[kept], framed.mask[kept]),
        stack.spacing,
        stack.plane,
        scan_figures(stack, framed.prepared),
    )


def _fault(case: ReviewedCase, evidence: Evidence, pixel_mm: float, every: int) -> LeftOut | None:
    """Check a mask by its contrast, in every n-th slice."""
    for value, contrast in ((LESION, evidence.lesion_contrast), (VENTRICLES, -evidence.ventricle_contrast)):
        if contrast < 0 and evidence.gain == float("inf") and evidence.how == "shifted":
            wanted = "brighter" if value == LESION else "darker"
            drawn = CLASS_BY_VALUE[value].name
            return LeftOut(
                case.number, "wrong-class", f"What was drawn as {drawn} is not {wanted} than its surroundings."
            )
    if evidence.gain < MISPLACED_GAIN:
        return None
    slices, rows, columns = evidence.shift_px
    slices *= every
    if evidence.how != "shifted":
        return LeftOut(case.number, "mask-misplaced", f"The mask fits the image better {evidence.how}.")
    away = f"{pixel_mm * float(np.hypot(rows, columns)):.1f} mm"
    if slices:
        away += f" and {abs(slices)} slice{'s' * (abs(slices) > 1)}"
    return LeftOut(case.number, "mask-misplaced", f"The mask fits the image better {away} away.")


def thumbnail(slices: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The brain on a small grid, brain box to grid, mean 0 and norm 1 within the brain: what scans are compared by.

    Parameters
    ----------
    slices : ndarray of float32, shape (slices, rows, columns)
    masks : ndarray of bool, same shape
    """
    box = ndimage.find_objects(masks.astype(np.uint8))[0]
    image = np.where(masks, np.clip(slices, -4, 4), 0)[box].astype(np.float32)
    factors = [n / m for n, m in zip(THUMBNAIL, image.shape, strict=True)]
    # Averages what a coarse grid would miss.
    image = ndimage.gaussian_filter(image, [max(0.0, 0.4 * (1 / f - 1)) for f in factors])
    grid = [np.linspace(0, m - 1, n) for n, m in zip(THUMBNAIL, image.shape, strict=True)]
    small = ndimage.map_coordinates(image, np.meshgrid(*grid, indexing="ij"), order=1)
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def apart(examined: list[Examined]) -> tuple[list[Examined], list[LeftOut]]:
    """Leave out repeated images, and assign scans that appear to be of one person to the same patient.

    Of scans with the same voxels, or that look all but the same, the one that was judged last stays. Patients that the
    user stated stay apart.
    """
    kept: list[Examined] = []
    left_out = []
    joined: dict[str, str] = {}
    for one in sorted(examined, key=lambda e: (e.case.decided_at, e.case.number), reverse=True):
        twin = next((k for k in kept if k.digest == one.digest or _alike(k, one) > SAME_IMAGE), None)
        if twin is not None:
            left_out.append(
                LeftOut(one.case.number, "duplicate", f"Its image is that of case {twin.case.number}, judged later.")
            )
            continue
        alike = (k for k in kept if not (k.case.stated and one.case.stated) and _alike(k, one) > SAME_PERSON)
        own = joined.get(one.case.patient, one.case.patient)
        person = next((k.case.patient for k in alike), own)
        if person != own:
            # All scans of the patient go along: one of them elsewhere would be trained on and tested.
            joined = {name: person if into == own else into for name, into in joined.items()} | {own: person}
            kept = [_of_patient(k, person) if k.case.patient == own else k for k in kept]
        kept.append(_of_patient(one, person))
    return sorted(kept, key=lambda e: e.case.number), sorted(left_out, key=lambda e: e.number)


def _of_patient(one: Examined, patient: str) -> Examined:
    return replace(one, case=replace(one.case, patient=patient))


def _alike(a: Examined, b: Examined) -> float:
    return float((a.thumbnail * b.thumbnail).sum())


def against_base(examined: Examined, base: np.ndarray, reference: np.ndarray, voxel_ml: float) -> LeftOut | None:
    """Check a mask against the base model's result.

    Parameters
    ----------
    examined : Examined
    base, reference : ndarray of uint8, shape (K, J, I)
        Result of the base, and the reviewed labels.
    voxel_ml : float
    """
    case = examined.case
    found = base == LESION
    if LESION not in case.reviewed:
        return None
    drawn = reference == LESION
    if not drawn.any() and found.sum() * voxel_ml > UNSEEN_ML:
        return LeftOut(
            case.number,
            "empty-mask",
            f"No lesion was drawn in it; the base model finds {found.sum() * voxel_ml:.1f} ml. Draw them, or leave "
            "lesions out of the classes that were reviewed.",
        )
    for other in (VENTRICLES, NORMAL_WMH):
        if other in case.reviewed and found.sum() * voxel_ml > UNSEEN_ML / 2:
            here, there = (found & drawn).sum(), (found & (reference == other)).sum()
            if there > 2 * here and there > 0.3 * found.sum():
                return LeftOut(
                    case.number, "wrong-class", f"Lesions appear to be drawn as {CLASS_BY_VALUE[other].name}."
                )
    return None


def normalised(examined: Examined) -> np.ndarray:
    """Images of a case, float32, normalised."""
    return dequantise(examined.images)
