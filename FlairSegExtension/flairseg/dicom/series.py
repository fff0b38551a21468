"""Images to series, and series to the stacks of parallel slices in them, with what of a series each stack uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ..errors import CaseWarning, FlairSegError, UnsupportedImageError
from ..image import flair_selection as proposal
from ..image.checks import MAXIMUM_VOXELS
from ..image.geometry import directions_of, spacing_of
from .copies import without_copies
from .joining import joined, joined_warning, studies_of, uids_of
from .patients import apart
from .placing import affine_of, place
from .scan import TRAITS, Frame, Image, Scan, scan
from .splitting import SLAB_TRAITS, split
from .stack import REPEATED, normal

#: Images left out that show this share of a stack's height and more, where the stack has none, are a part of the head.
_BEYOND = 0.1


@dataclass(frozen=True)
class Stack:
    """Parallel slices of one series that form one volume.

    Attributes
    ----------
    frames : tuple of Frame
        By position along the slices' normal, lowest first: slice K of the volume is ``frames[K]``.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the volume in RAS mm: I along rows, J along columns, K through the slices.
    header : mapping of str to str
        Attributes that distinguish sequences; ``EchoTime`` is this stack's own.
    kind : str
        As in :mod:`flairseg.image.flair_selection`.
    what : str
        Description that distinguishes it from the other stacks of its series; empty where it is the only one.
    warnings, information : tuple of CaseWarning
        Doubts about the result, and other remarks.
    images : int
        Images of the whole series, copies among them: so many of which ``frames`` are used.
    problem : FlairSegError or None
        Why it cannot be read as one volume.
    placed : bool
        Whether the header gives slice positions.
    """

    frames: tuple[Frame, ...]
    ijk_to_ras: np.ndarray = field(repr=False)
    header: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    kind: str = proposal.SCALAR
    what: str = ""
    warnings: tuple[CaseWarning, ...] = ()
    information: tuple[CaseWarning, ...] = ()
    images: int = 0
    problem: FlairSegError | None = None
    placed: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along K, J, I."""
        return (len(self.frames), *self.frames[0].shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along K, J, I, mm."""
        return spacing_of(self.ijk_to_ras)[::-1]

    @property
    def plane(self) -> str:
        """``axial``, ``sagittal`` or ``coronal``: whichever the slices are nearest to."""
        axis = abs(directions_of(self.ijk_to_ras)[:, 2])
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
    uids : tuple of str
        All SeriesInstanceUIDs of its images: one, unless a series was broken up.
    studies : int
        Number of their StudyInstanceUIDs: likewise.
    patient : tuple of str
        Digests that set patients apart, see :mod:`.patients`.
    """

    number: int | None
    description: str
    modality: str
    uid: str
    study_uid: str
    frame_of_reference_uid: str
    files: int
    stacks: tuple[Stack, ...]
    uids: tuple[str, ...] = ()
    studies: int = 1
    patient: tuple[str, ...] = field(default=(), repr=False)

    @property
    def identity(self) -> tuple[str, ...]:
        """UIDs of study and series, and the patient: anonymisers give one UID to several, or each file its own."""
        return self.study_uid, self.uid, *self.patient

    @property
    def title(self) -> str:
        """Display name: number and description."""
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
        Other images of the folder.
    """
    found = scan(Path(folder) if isinstance(folder, str | Path) else [Path(one) for one in folder], step)
    return group(found.images), found


def group(images: Iterable[Image]) -> list[Series]:
    """Images grouped to series by their UIDs; those without a UID by folder; parts of one series are joined.

    Images of different patients are never in one series, even with the same UIDs.
    """
    groups: dict[tuple[str, ...], list[Image]] = {}
    for image in images:
        key = (image.study_uid, image.series_uid) if image.series_uid else ("", "", str(image.path.parent))
        groups.setdefault(key, []).append(image)
    owned = [own for members in groups.values() for own in apart([(image.patient, image) for image in members])]
    made = [_series(members) for members in joined(owned)]
    return sorted(made, key=lambda s: (s.study_uid, s.number is None, s.number or 0, s.uid))


def _series(images: list[Image]) -> Series:
    first = next((image for image in images if not image.frames[0].role), images[0])
    total = sum(len(image.frames) for image in images)
    images, repeated = without_copies(images)
    doubts = [doubt for doubt in (repeated, joined_warning(images)) if doubt is not None]
    numbers = {f.instance_number for image in images for f in image.frames if f.instance_number is not None}
    parts = split([frame for image in images for frame in image.frames])
    stacks = [_stack(part, what, first, numbers) for part, what in parts]
    stacks.sort(key=lambda s: (bool(s.frames[0].role), -len(s.frames)))
    stacks = [_with_remarks(stack, stacks, total, images, doubts) for stack in stacks]
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
        uids_of(images),
        studies_of(images),
        first.patient,
    )


def _with_remarks(
    stack: Stack, stacks: list[Stack], total: int, images: list[Image], doubts: list[CaseWarning]
) -> Stack:
    """The stack with remarks on the rest of the series."""
    warnings, information = list(stack.warnings), []
    used, kept = len(stack.frames), sum(len(s.frames) for s in stacks)
    text = f"{used} of {total} images of the series are used."
    information.append(CaseWarning(text, "slices-used", used=used, found=total))
    if total > kept:
        text = f"{total - kept} files are duplicates (the same image); the copies were left out."
        information.append(CaseWarning(text, "copies-left-out"))
    warnings += doubts
    if any(frame.header.get("BurnedInAnnotation", "").upper() == "YES" for frame in stack.frames):
        text = (
            "The headers say that text is burned into the pixels (BurnedInAnnotation): pictures may show the patient's "
            "name, and pseudonyms do not remove it."
        )
        warnings.append(CaseWarning(text, "text-in-pixels"))
    if any(frame.header.get("LossyImageCompression") == "01" for frame in stack.frames):
        text = (
            "The images were compressed with loss (LossyImageCompression): detail and intensities are not those of the "
            "scanner; use the original images if they exist."
        )
        warnings.append(CaseWarning(text, "lossy-compression"))
    strays = sum(len(s.frames) for s in stacks if s.frames[0].role and s is not stack)
    if strays:
        text = f"{strays} more images of the series are screen captures or localisers and were left out."
        information.append(CaseWarning(text, "captures-left-out"))
    others = [s for s in stacks if s is not stack and not s.frames[0].role]
    doubled = _doubled(stack, others)
    slabs = _slabs(stack)
    if slabs > 1:
        text = f"The series consists of {slabs} slabs that together cover {used} slices"
        text += f"; of the {doubled} slices that two slabs share, one image was used" if doubled else ""
        text += ": the head may have moved between them, and their intensities may differ."
        warnings.append(CaseWarning(text, "slabs-merged", used=used, missing=0, slabs=slabs))
    left = sum(len(s.frames) for s in others) - doubled
    if left:
        warnings.append(_left_out(stack, others, used, used + left))
    expected = max((image.expected or 0 for image in images), default=0)
    if expected > kept and not stack.problem and len(images) > 1:
        text = f"The headers announce {expected} images, but {kept} are present: slices may be missing at the ends."
        warnings.append(CaseWarning(text, "fewer-images-than-announced", used=used, missing=expected - kept))
    problem = stack.problem
    if problem is not None and problem.code == "slices-missing" and _rotated_between(stack, others):
        problem = UnsupportedImageError(
            f"The slices of the series are not parallel: {left} of {used + left} are rotated.",
            "Give a series of parallel slices, or convert it to NIfTI first.",
            code="slices-not-parallel",
        )
    return replace(stack, warnings=tuple(warnings), information=tuple(information), images=total, problem=problem)


def _rotated_between(stack: Stack, others: list[Stack]) -> bool:
    """Whether a slice of another plane is at a position where this stack lacks one."""
    along = _along_normal(stack)
    if along is None or len(stack.frames) < 2:
        return False
    axis, own = along
    step = float(np.median(np.diff(own)))
    places = [float(np.dot(f.position, axis)) for o in others for f in o.frames if f.position is not None]
    return any(own[0] < x < own[-1] and abs(own - x).min() > 0.4 * step for x in places)


def _along_normal(stack: Stack) -> tuple[np.ndarray, np.ndarray] | None:
    """Normal of the slices (3, LPS) and their positions along it in mm, ascending; None where headers lack one."""
    positions = [f.position for f in stack.frames if f.position is not None and f.orientation is not None]
    orientation = stack.frames[0].orientation
    if orientation is None or len(positions) < len(stack.frames):
        return None
    axis = normal(orientation)
    return axis, np.sort(np.asarray(positions, float) @ axis)


def _slabs(stack: Stack) -> int:
    """Number of acquisitions above one another in the stack; 1 where there is one, or where they interleave."""
    most = 1
    for n in (TRAITS.index(trait) for trait in SLAB_TRAITS):
        runs = [(value, len(list(run))) for value, run in groupby(f.traits[n] for f in stack.frames)]
        values = {value for value, _ in runs}
        if len(values) == len(runs) and min(length for _, length in runs) > 1:
            most = max(most, len(runs))
    return most


def _doubled(stack: Stack, others: list[Stack]) -> int:
    """Number of images left out because another slab of the same acquisition has their slice."""
    along = _along_normal(stack)
    if not stack.placed or along is None:
        return 0
    axis, own = along
    near = REPEATED * float(np.median(np.diff(own))) if len(own) > 1 else 0.0
    merged = {}
    for n in (TRAITS.index(trait) for trait in SLAB_TRAITS):
        values = {f.traits[n] for f in stack.frames}
        if len(values) > 1:
            merged[n] = values
    return sum(
        any(frame.traits[n] in values for n, values in merged.items())
        and frame.position is not None
        and bool(abs(own - float(np.dot(frame.position, axis))).min() < near)
        for other in others
        for frame in other.frames
    )


def _left_out(stack: Stack, others: list[Stack], used: int, total: int) -> CaseWarning:
    """Note on images that are not part of the volume: do they show a part of the head that it lacks?"""
    left = total - used
    if _reach_beyond(stack, others):
        return CaseWarning(
            f"Only {used} of {total} slices are used: {left} more images of the series are above, below or between "
            "them but do not fit into one volume, so a part of the head is missing.",
            "part-of-the-head", used=used, missing=left,
        )  # fmt: skip
    text = f"{left} more images of the series do not belong to this volume and were left out ({used} of {total} used)."
    return CaseWarning(text, "images-left-out", used=used, missing=0)


def _reach_beyond(stack: Stack, others: list[Stack]) -> bool:
    """Whether images like those of the stack show slices that it has not: beyond its ends, or between its slices."""
    along = _along_normal(stack)
    if not stack.placed or along is None or len(stack.frames) < 2:
        return False
    axis, own = along
    step, high = float(np.median(np.diff(own))), float(own[-1] - own[0])
    new = 0
    for other in others:
        for frame in other.frames:
            if frame.position is None or frame.orientation is None or frame.traits[0] != stack.frames[0].traits[0]:
                continue
            parallel = abs(float(np.dot(normal(frame.orientation), axis))) > 0.95
            nearest = abs(own - float(np.dot(frame.position, axis))).min()
            new += parallel and nearest > 0.4 * step
    return new * step > _BEYOND * high


# --- one stack


def _stack(frames: list[Frame], what: str, image: Image, numbers: Collection[int]) -> Stack:
    frames = sorted(frames, key=lambda f: (f.instance_number or 0, str(f.path), f.number))
    first = frames[0]
    header = dict(first.header)
    if first.echo_time is not None:
        header["EchoTime"] = f"{first.echo_time:g}"
    kind, warnings = _kind(first, image), []
    placed = all(f.position is not None and f.orientation is not None for f in frames)
    problem: FlairSegError | None = None
    if "MOSAIC" in header.get("ImageType", "").upper():
        problem = UnsupportedImageError(
            "This is a mosaic: all slices of a time point in one picture.",
            "Convert it to NIfTI with dcm2niix first; a FLAIR is not stored this way, so choose another series.",
        )
    if first.samples != 1:
        problem = UnsupportedImageError(
            "This is a colour image (several values per pixel).",
            "Give the original FLAIR, not a screenshot or fusion.",
            code="colour-image",
        )
    try:
        _check_size(frames)
        affine, order, remarks = place(frames, what, placed, numbers)
        frames, warnings = [frames[n] for n in order], remarks
    except FlairSegError as error:
        problem = problem or error
        affine = affine_of(first, None, 1.0) if placed else np.eye(4)
    placed = placed and problem is None
    return Stack(
        tuple(frames), affine, MappingProxyType(header), kind, what, tuple(warnings), problem=problem, placed=placed
    )


def _kind(frame: Frame, image: Image) -> str:
    if frame.samples != 1:
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
            f"The headers announce {voxels} voxels, more than can be processed.", "Give the FLAIR series alone."
        )
