"""Geometry of a stack: its affine, the order of its frames, and warnings about both."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..errors import CaseWarning, InvalidGeometryError
from ..image.geometry import directions_of, flip_lps_points, lps_affine, spacing_of
from .scan import Frame
from .stack import GAP, MISALIGNED_MM, ROTATED, arrange, mean_orientation, normal

_UNSIZED = CaseWarning(
    "The DICOM headers give no pixel spacing: 1 mm is assumed, so volumes in ml and sizes in mm cannot be trusted.",
    "spacing-unknown",
)
_UNIT_SPACING = (1.0, 1.0)
#: Slices this many times their thickness apart are reported where the header does not mention a gap.
WIDE_GAP = 1.9
_EXPORT = "Take the series from the PACS again, or convert it with dcm2niix and check the voxel size."


def place(
    frames: Sequence[Frame], what: str, placed: bool, numbers: Collection[int]
) -> tuple[np.ndarray, np.ndarray, list[CaseWarning]]:
    """Affine of a stack, order of its frames along the normal, and warnings.

    Parameters
    ----------
    frames : sequence of Frame
        By instance number.
    what : str
        Description that distinguishes the stack within its series, for messages.
    placed : bool
        Whether every frame has a position and an orientation.
    numbers : collection of int
        Every InstanceNumber of the series.

    Returns
    -------
    affine : ndarray, shape (4, 4)
        RAS, mm.
    order : ndarray of int, shape (K,)
    remarks : list of CaseWarning

    Raises
    ------
    UnsupportedImageError, InvalidGeometryError
        As for :func:`.stack.arrange`; if the pixel size is invalid; if the distance or order of the slices is unknown;
        if they are rotated or shifted against each other by more than :data:`.stack.MISALIGNED_MM`.
    """
    first = frames[0]
    remarks = [_UNSIZED] if first.spacing is None else []
    if first.spacing is not None and min(first.spacing) <= 0:
        raise InvalidGeometryError(
            "The headers give no valid pixel size.", "Take the series from the PACS again.", code="spacing-unknown"
        )
    if not placed:
        step, assumed = _unplaced(frames)
        return affine_of(first, None, step), np.arange(len(frames)), [assumed, *remarks]
    if len(frames) == 1:
        return affine_of(first, first, abs(first.between or first.thickness or 1.0)), np.array([0]), remarks
    where = "this series" + (f" ({what})" if what else "")
    orientation = mean_orientation(np.array([f.orientation for f in frames]))
    affine, order, told = _aligned(frames, orientation, where)
    step = spacing_of(affine)[2]
    return affine, order, [*told, *_distance_remarks(step, frames, numbers), *remarks]


def affine_of(
    first: Frame, lowest: Frame | None, step: float, orientation: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """RAS affine of a stack from its plane, its lowest slice and the slice distance in mm."""
    between_rows, between_columns = first.spacing or _UNIT_SPACING
    orientation = orientation if orientation is not None else first.orientation or (1, 0, 0, 0, 1, 0)
    row, column = (v / np.linalg.norm(v) for v in np.array(orientation, dtype=float).reshape(2, 3))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * between_columns, column * between_rows
    affine[:3, 2] = np.cross(row, column) * step
    if lowest is not None and lowest.position is not None:
        affine[:3, 3] = lowest.position
    return lps_affine(affine)


def is_rotated(frames: Sequence[Frame]) -> bool:
    """Whether slices are rotated against each other by more than rounding in the headers."""
    orientations = np.array([f.orientation for f in frames if f.orientation is not None])
    return len(orientations) > 1 and bool(np.ptp(orientations, axis=0).max() > ROTATED)


def _unplaced(frames: Sequence[Frame]) -> tuple[float, CaseWarning]:
    """Distance of slices without positions, and a warning about it."""
    first = frames[0]
    step = abs(first.between or 0.0) or abs(first.thickness or 0.0)
    if not step and len(frames) > 1:
        raise InvalidGeometryError(
            "The DICOM headers give no slice positions, and neither SpacingBetweenSlices nor SliceThickness: the "
            "slice distance is unknown.",
            _EXPORT,
            code="slice-distance-unknown",
        )
    if len({(f.instance_number, f.number) for f in frames}) < len(frames):
        raise InvalidGeometryError(
            "The DICOM headers give no slice positions, and InstanceNumber does not give the order of the slices.",
            _EXPORT,
            code="slice-order-unknown",
        )
    said = [f"SpacingBetweenSlices {abs(first.between):g} mm"] if first.between else ["no SpacingBetweenSlices"]
    said.append(f"SliceThickness {first.thickness:g} mm" if first.thickness else "no SliceThickness")
    return step or 1.0, CaseWarning(
        f"The DICOM headers give no slice positions: the slices are taken in the order of their numbers, {step:g} mm "
        f"apart ({', '.join(said)}). Order, distance, and left and right may be wrong.",
        "positions-missing",
    )


def _aligned(
    frames: Sequence[Frame], orientation: np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray, list[CaseWarning]]:
    """Affine, order and warnings of slices with positions; ordered by their centres, which a rotation leaves fixed."""
    first = frames[0]
    rows, columns = first.shape
    down, along = first.spacing or _UNIT_SPACING
    own = np.array([f.orientation for f in frames])
    positions = np.array([f.position for f in frames])
    half = 0.5 * ((columns - 1) * along * own[:, :3] + (rows - 1) * down * own[:, 3:])
    centres = positions + half
    found = arrange(positions if np.ptp(own, axis=0).max() <= 1e-6 else centres, orientation, where)
    order = found.order
    told = [] if found.warning is None else [found.warning]
    affine = affine_of(first, frames[order[0]], found.step, orientation)
    apart = _displacement(affine, positions[order], own[order], first.shape, (down, along), bool(told))
    if apart <= MISALIGNED_MM[0]:
        return affine, order, told
    # The lowest slice may be misaligned like any other: fit the grid to all centres.
    axis = normal(orientation)
    heights = np.arange(len(frames)) - (len(frames) - 1) / 2
    middle = centres.mean(axis=0) - 0.5 * (
        (columns - 1) * along * orientation[:3] + (rows - 1) * down * orientation[3:]
    )
    origin = middle + heights[0] * found.step * axis
    affine[:3, 3] = flip_lps_points(origin)
    apart = _displacement(affine, positions[order], own[order], first.shape, (down, along), bool(told))
    if apart > MISALIGNED_MM[1]:
        raise InvalidGeometryError(
            f"The slices in {where} are rotated or shifted against each other by up to {apart:.1f} mm: they do not "
            "form a volume.",
            "Take another reconstruction of the series, without retrospective motion correction.",
            code="slices-turned",
        )
    if apart > MISALIGNED_MM[0]:
        text = (
            f"The slices are rotated or shifted against each other by up to {apart:.1f} mm. They were stacked as if "
            "they were parallel, so tissue between them may be missing or counted twice."
        )
        told.append(CaseWarning(text, "slices-turned", used=len(frames), missing=0, displacement_mm=round(apart, 2)))
    return affine, order, told


def _displacement(
    affine: np.ndarray,
    positions: np.ndarray,
    own: np.ndarray,
    shape: tuple[int, int],
    spacing: tuple[float, float],
    uneven: bool,
) -> float:
    """Largest distance (mm) of slice corners from their positions by the affine; in-plane only if ``uneven``."""
    to_lps = lps_affine(affine)
    axis = directions_of(to_lps)[:, 2]
    worst = 0.0
    for row in (0, shape[0] - 1):
        for column in (0, shape[1] - 1):
            real = positions + column * spacing[1] * own[:, :3] + row * spacing[0] * own[:, 3:]
            k = np.arange(len(positions))
            grid = np.stack([np.full(len(k), column), np.full(len(k), row), k, np.ones(len(k))])
            off = real - (to_lps @ grid)[:3].T
            if uneven:
                off = off - (off @ axis)[:, None] * axis
            worst = max(worst, float(np.linalg.norm(off, axis=1).max()))
    return worst


def _distance_remarks(step: float, frames: Sequence[Frame], numbers: Collection[int]) -> list[CaseWarning]:
    """Warn of slices farther apart than the header states: every other one may be missing."""
    between, thickness = abs(frames[0].between or 0.0), abs(frames[0].thickness or 0.0)
    said = max(between, thickness)
    own = sorted(f.instance_number for f in frames if f.instance_number is not None)
    skipped = bool(own) and any(n not in numbers for n in range(own[0], own[-1]))
    # Some scanners write the gap itself as SpacingBetweenSlices.
    is_gap = bool(between) and not skipped and abs(step - (between + thickness)) < 0.1 * step
    if not said or step < GAP * said or is_gap:
        return []
    words = [f"SpacingBetweenSlices says {between:.4g} mm"] if between else []
    words += [f"SliceThickness says {thickness:.4g} mm"] if thickness else []
    words += [f"InstanceNumber counts {', '.join(map(str, own[:3]))}, ..."] if skipped else []
    if between or skipped:
        missing = max(1, round(step / said) - 1)
        part = "every other slice" if missing == 1 else f"{missing} of {missing + 1} slices"
        text = f"The slices are {step:.4g} mm apart, but {', '.join(words)}: {part} seems to be missing."
        figures = {"used": len(frames), "missing": missing * (len(frames) - 1)}
        return [CaseWarning(text, "slices-missing", **figures)]
    if step >= WIDE_GAP * thickness:
        text = (
            f"The slices are {thickness:.4g} mm thick and {step:.4g} mm apart: more than half of the head is between "
            "them, or every other slice is missing."
        )
        return [CaseWarning(text, "wide-slice-gap")]
    return []
