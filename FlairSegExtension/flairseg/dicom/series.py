"""Images to series, and series to the stacks of parallel slices in them: a localiser's planes, echoes, time points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from .. import proposal
from ..errors import FlairSegError, InvalidGeometryError, UnsupportedImageError
from ..reading import MAXIMUM_VOXELS
from .scan import TRAITS, Frame, Image, Scan, scan
from .stack import SAME_SLICE_MM, TURNED, arrange, normal
from .text import plain

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNPLACED = "The DICOM headers give no slice positions: order and distance of the slices may be wrong."
_UNSIZED = "The DICOM headers give no pixel spacing: 1 mm is assumed, so volumes in ml are wrong if it is another."
_UNIT_SPACING = (1.0, 1.0)


@dataclass(frozen=True)
class Stack:
    """Parallel slices of one series that make one volume.

    Attributes
    ----------
    frames : tuple of Frame
        By position along the slices' normal, lowest first: slice K of the volume is ``frames[K]``.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the volume in RAS mm: I along rows, J along columns, K through the slices.
    header : mapping of str to str
        What tells sequences apart; ``EchoTime`` is this stack's own.
    kind : str
        As in :mod:`flairseg.proposal`.
    what : str
        What sets it apart from the other stacks of its series, in words; empty where it is the only one.
    warnings : tuple of str
        What was noticed.
    problem : FlairSegError or None
        Why it cannot be read as one volume.
    placed : bool
        Whether the header says where the slices lie.
    """

    frames: tuple[Frame, ...]
    ijk_to_ras: np.ndarray = field(repr=False)
    header: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    kind: str = proposal.SCALAR
    what: str = ""
    warnings: tuple[str, ...] = ()
    problem: FlairSegError | None = None
    placed: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along K, J, I."""
        return (len(self.frames), *self.frames[0].shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along K, J, I, mm."""
        return tuple(float(x) for x in np.linalg.norm(self.ijk_to_ras[:3, 2::-1], axis=0))

    @property
    def plane(self) -> str:
        """``axial``, ``sagittal`` or ``coronal``: whichever the slices are nearest to."""
        axis = abs(self.ijk_to_ras[:3, 2] / np.linalg.norm(self.ijk_to_ras[:3, 2]))
        return ("sagittal", "coronal", "axial")[int(np.argmax(axis))]


@dataclass(frozen=True)
class Series:
    """One DICOM series.

    Attributes
    ----------
    number : int or None
        SeriesNumber.
    description : str
        SeriesDescription, else ProtocolName, on one line; empty where there is neither.
    modality : str
    uid, study_uid, frame_of_reference_uid : str
    files : int
        Image files.
    stacks : tuple of Stack
        Largest first.
    copies : int
        Files that repeat an instance and were left out.
    """

    number: int | None
    description: str
    modality: str
    uid: str
    study_uid: str
    frame_of_reference_uid: str
    files: int
    stacks: tuple[Stack, ...]
    copies: int = 0

    @property
    def title(self) -> str:
        """What a person would call it: number and description."""
        number = "" if self.number is None else f"{self.number} "
        return f"series {number}({self.description or 'without a description'})"


def list_series(
    folder: str | Path | Sequence[str | Path], step: Callable[[float], None] | None = None
) -> tuple[list[Series], Scan]:
    """All the image series in a folder and the folders below it.

    Parameters
    ----------
    folder : path or sequence of path
        Any tree: a series, a study, a CD with a DICOMDIR. Or one multi-frame file, or the files themselves.
    step : callable, optional
        Called with the fraction done; may raise to cancel.

    Returns
    -------
    series : list of Series
        By study, then series number.
    scan : Scan
        What else lies there.
    """
    found = scan(Path(folder) if isinstance(folder, str | Path) else [Path(one) for one in folder], step)
    return group(found.images), found


def group(images: Iterable[Image]) -> list[Series]:
    """Images grouped to series by their UIDs; those without a UID by folder."""
    groups: dict[tuple[str, ...], list[Image]] = {}
    for image in images:
        key = (image.study_uid, image.series_uid) if image.series_uid else ("", "", str(image.path.parent))
        groups.setdefault(key, []).append(image)
    made = [_series(members) for members in groups.values()]
    return sorted(made, key=lambda s: (s.study_uid, s.number is None, s.number or 0, s.uid))


def _series(images: list[Image]) -> Series:
    first = images[0]
    kept = {image.frames[0].sop_instance_uid or str(image.path): image for image in reversed(images)}
    copies = len(images) - len(kept)
    images = list(reversed(kept.values()))
    parts = _split([frame for image in images for frame in image.frames])
    stacks = [_stack(part, what, first) for part, what in parts]
    stacks.sort(key=lambda s: -len(s.frames))
    stacks = [_with_remarks(stack, stacks, copies, images) for stack in stacks]
    header = first.header
    return Series(
        first.series_number,
        header.get("SeriesDescription") or header.get("ProtocolName", ""),
        header.get("Modality", ""),
        first.series_uid,
        first.study_uid,
        first.frame_of_reference_uid,
        len(images),
        tuple(stacks),
        copies,
    )


def _with_remarks(stack: Stack, stacks: list[Stack], copies: int, images: list[Image]) -> Stack:
    """The stack with what its reader should know about the rest of the series."""
    warnings = list(stack.warnings)
    if copies:
        warnings.append(f"{copies} files lie there twice (the same instance); the copies were left out.")
    others = sum(len(s.frames) for s in stacks) - len(stack.frames)
    if others:
        warnings.append(f"{others} more images of the series do not belong to this volume and were left out.")
    expected = max((image.expected or 0 for image in images), default=0)
    if expected > sum(len(s.frames) for s in stacks) and not stack.problem and len(images) > 1:
        warnings.append(
            f"The headers speak of {expected} images, but {sum(len(s.frames) for s in stacks)} are here: slices may "
            "be missing at the ends."
        )
    return replace(stack, warnings=tuple(warnings))


# --- series to stacks


def _split(frames: list[Frame]) -> list[tuple[list[Frame], str]]:
    """Frames that belong together, with what sets each part apart."""
    parts: list[tuple[list[Frame], list[str]]] = [(frames, [])]
    parts = _split_by(parts, lambda fs: _alike(fs, lambda f: (f.shape, _rounded(f.spacing))), "matrix")
    parts = _split_by(parts, _by_orientation, "orientation")
    # Phase images lie where the magnitude lies, and are never part of one volume with it.
    parts = _split_by(parts, lambda fs: _alike(fs, lambda f: f.traits[0]), TRAITS[0])
    for n, trait in enumerate(TRAITS[1:], start=1):
        parts = _split_by(parts, lambda fs, n=n: _alike(fs, lambda f: f.traits[n]) if _overlap(fs) else [fs], trait)
    return [(members, ", ".join(words)) for members, words in parts]


def _split_by(
    parts: list[tuple[list[Frame], list[str]]], divide: Callable[[list[Frame]], list[list[Frame]]], trait: str
) -> list[tuple[list[Frame], list[str]]]:
    out = []
    for members, words in parts:
        divided = divide(members)
        for n, part in enumerate(divided):
            out.append((part, words if len(divided) == 1 else [*words, _in_words(trait, part[0], n)]))
    return out


def _in_words(trait: str, frame: Frame, number: int) -> str:
    if trait == "echo" and frame.echo_time is not None:
        return f"echo time {frame.echo_time:g} ms"
    if trait in ("component", "b-value", "echo", "time point", "acquisition"):
        value = plain(frame.traits[TRAITS.index(trait)], 16)
        return value.lower() if trait == "component" and value else f"{trait} {value or number + 1}"
    return f"{trait} {number + 1}"


def _alike(frames: list[Frame], key: Callable[[Frame], object]) -> list[list[Frame]]:
    groups: dict[object, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return list(groups.values())


def _rounded(spacing: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if spacing is None else tuple(round(s, 3) for s in spacing)


def _by_orientation(frames: list[Frame]) -> list[list[Frame]]:
    groups: list[tuple[np.ndarray | None, list[Frame]]] = []
    for frame in frames:
        own = None if frame.orientation is None else np.array(frame.orientation)
        for other, members in groups:
            if (own is None and other is None) or (
                own is not None and other is not None and abs(own - other).max() <= TURNED
            ):
                members.append(frame)
                break
        else:
            groups.append((own, [frame]))
    return [members for _, members in groups]


def _overlap(frames: list[Frame]) -> bool:
    """Whether some of these frames lie at the same place."""
    if len(frames) < 2 or any(f.position is None or f.orientation is None for f in frames):
        return False
    along = np.sort(np.array([f.position for f in frames]) @ normal(frames[0].orientation))
    return bool(np.diff(along).min() < SAME_SLICE_MM)


# --- one stack


def _stack(frames: list[Frame], what: str, image: Image) -> Stack:
    frames = sorted(frames, key=lambda f: (f.instance_number or 0, str(f.path), f.number))
    first = frames[0]
    header = dict(first.header)
    if first.echo_time is not None:
        header["EchoTime"] = f"{first.echo_time:g}"
    kind, problem, warnings = _kind(first, image), None, []
    placed = all(f.position is not None and f.orientation is not None for f in frames)
    if "MOSAIC" in header.get("ImageType", "").upper():
        problem = UnsupportedImageError(
            "This is a mosaic: all slices of a time point in one picture.",
            "Convert it to NIfTI with dcm2niix first; a FLAIR is not stored so, look for another series.",
        )
    try:
        _check_size(frames)
        affine, order, remarks = _place(frames, what, placed)
        frames, warnings = [frames[n] for n in order], remarks
    except FlairSegError as error:
        problem = problem or error
        affine = _affine(first, None, 1.0) if placed else np.eye(4)
    placed = placed and problem is None
    return Stack(tuple(frames), affine, MappingProxyType(header), kind, what, tuple(warnings), problem, placed)


def _kind(frame: Frame, image: Image) -> str:
    if image.samples != 1:
        return proposal.COLOUR
    if image.header.get("Modality", "") == "SEG":
        return proposal.LABEL_MAP
    if (frame.b_value or 0) > 0 or "DIFFUSION" in image.header.get("AcquisitionContrast", ""):
        return proposal.DIFFUSION
    return proposal.SCALAR


def _check_size(frames: list[Frame]) -> None:
    voxels = len(frames) * frames[0].shape[0] * frames[0].shape[1]
    if voxels > MAXIMUM_VOXELS:
        raise UnsupportedImageError(
            f"The headers promise {voxels} voxels, more than can be worked on.", "Give the FLAIR series alone."
        )


def _place(frames: list[Frame], what: str, placed: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Affine (RAS, mm), order of the frames along the normal, and remarks."""
    first = frames[0]
    remarks = [_UNSIZED] if first.spacing is None else []
    if first.spacing is not None and min(first.spacing) <= 0:
        raise InvalidGeometryError("The headers give its pixels no size.", "Take the series from the PACS again.")
    thickness = abs(first.between or first.thickness or 1.0)
    if not placed:
        return _affine(first, None, thickness), np.arange(len(frames)), [_UNPLACED, *remarks]
    if len(frames) == 1:
        return _affine(first, first, thickness), np.array([0]), remarks
    positions = np.array([f.position for f in frames])
    found = arrange(positions, first.orientation, "this series" + (f" ({what})" if what else ""))
    lowest, highest = positions[found.order[0]], positions[found.order[-1]]
    step = found.step
    if found.warning is None:
        # Positions are rounded decimals: their sum over the stack is the best measure of the distance.
        step = float((highest - lowest) @ normal(first.orientation)) / (len(frames) - 1)
    affine = _affine(first, frames[found.order[0]], step)
    return affine, found.order, remarks if found.warning is None else [found.warning, *remarks]


def _affine(first: Frame, lowest: Frame | None, step: float) -> np.ndarray:
    """RAS affine of a stack from its plane, its lowest slice and the distance of its slices."""
    between_rows, between_columns = first.spacing or _UNIT_SPACING
    orientation = np.array(first.orientation or (1, 0, 0, 0, 1, 0), dtype=float)
    row, column = (v / np.linalg.norm(v) for v in orientation.reshape(2, 3))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * between_columns, column * between_rows
    affine[:3, 2] = np.cross(row, column) * step
    if lowest is not None and lowest.position is not None:
        affine[:3, 3] = lowest.position
    return _LPS_TO_RAS @ affine
