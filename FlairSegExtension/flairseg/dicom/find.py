"""Find the FLAIR among the series of a DICOM folder: from headers, falling back to image content.

One series is judged by :mod:`flairseg.image.flair_selection`, its voxels by
:func:`flairseg.preprocessing.image_quality.look`; this module chooses among several.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import (
    FlairSegError,
    InputNotFoundError,
    MissingDependencyError,
    NoFlairError,
    UnreadableImageError,
    UnsupportedImageError,
)
from ..files.contrast_agent import is_agent
from ..files.names import stem_of
from ..image import flair_selection as proposal
from ..image.geometry import ROUNDING_MM
from ..progress import CancelToken, ProgressCallback, Reporter
from .patients import differ
from .scan import Scan
from .series import Series, Stack, list_series
from .stack_reading import read_stack

#: From this score on, acquisition parameters identify a FLAIR; below it, only text entered by people.
CERTAIN = 6.0
#: Extent across the slices from which a stack covers a whole head, mm.
WHOLE_HEAD_MM = 100.0
#: Slices are thick where their distance is at least this many times their pixels' size.
THICK = 2.0
#: Maximum number of stacks whose voxels are examined, largest first: each costs a second or two.
LOOKS = 8
#: Series that an error lists.
LISTED = 12

_MADE = re.compile(r"(?<![a-z])(mask|seg|segmentation|label|lesion|prob|diff|sub|subtract\w*|map)(?![a-z])")
_DERIVED = "This is a derived image (a reformat or a map), not an original."
#: What headers may be wrong about: other sequences are not mistaken for a FLAIR by their name.
_DOUBTED = ("a T1", "a T2", "a proton density image")


@dataclass(frozen=True)
class Listed:
    """One stack of a folder and what is thought of it.

    Attributes
    ----------
    series : Series
    stack : Stack
    verdict : flairseg.image.flair_selection.Verdict
        From its headers.
    look : tuple of str or None
        Evidence from its voxels against a FLAIR; None if not examined.
    taken : bool
    """

    series: Series
    stack: Stack
    verdict: proposal.Verdict
    look: tuple[str, ...] | None = None
    taken: bool = False

    @property
    def title(self) -> str:
        """Number, description and what sets it apart within its series."""
        return self.series.title[:-1] + (f", {self.stack.what})" if self.stack.what else ")")

    @property
    def remark(self) -> str:
        """One line: why it can be the FLAIR, or why not."""
        if self.stack.problem is not None:
            return self.stack.problem.message
        if self.look:
            return self.look[0]
        if self.verdict.score > 0 and self.verdict.reasons:
            return f"a FLAIR: {self.verdict.reasons[0]}"
        if self.verdict.doubts:
            return self.verdict.doubts[0].message
        return "looks like a FLAIR" if self.look == () else "its header does not identify it"


@dataclass(frozen=True)
class FoundFlair:
    """The FLAIR of a folder.

    Attributes
    ----------
    series : Series
    stack : Stack
        The part of the series that is read.
    reason : str
        One or two sentences: why this one, and what else there was.
    listing : tuple of Listed
        Every stack of the folder.
    scan : Scan
        Other series in the folder.
    """

    series: Series
    stack: Stack
    reason: str
    listing: tuple[Listed, ...]
    scan: Scan


def find_flair(
    folder: str | Path,
    series: str | None = None,
    by_look: bool = True,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> FoundFlair:
    """Find the FLAIR among the series of a folder.

    Headers come first: inversion, echo and repetition time, acquisition contrast, then free text. A FLAIR identified by
    free text alone is examined, and so is every other likely series if no header identifies a FLAIR. Of several FLAIRs
    the one is taken that is an original, without contrast agent, of the whole head, axial with thick slices, clearest
    by its headers, finest, last; the first difference is the reason that is given.

    Parameters
    ----------
    folder : path
        A folder with a series, a study or many, or a DICOMDIR file, or one multi-frame file.
    series : str, optional
        SeriesNumber or SeriesInstanceUID of the one to take, of any kind.
    by_look : bool
        Whether a series not identified as FLAIR by its header may be chosen by its voxels.
    progress : callable, optional
        ``progress(fraction, stage)`` with the stage ``read``.
    cancel : CancelToken or callable, optional

    Returns
    -------
    FoundFlair

    Raises
    ------
    InputNotFoundError
        If there is no DICOM image.
    NoFlairError
        If none of the series is a FLAIR; the message lists what there is.
    UnsupportedImageError, InvalidGeometryError, UnreadableImageError
        If the FLAIR cannot be read as one volume (missing slices, tilted gantry, mosaic, echoes), or FLAIRs of several
        patients or studies are there.
    MissingDependencyError
        If pydicom is not installed.
    """
    from .._optional import require

    require(("pydicom",), "Reading the headers of DICOM series", "dicom")
    return _find(directory_of(folder), series, by_look, Reporter(progress, cancel))


def find_without_pydicom(folder: str | Path) -> FoundFlair:
    """The one series of a folder, from what GDCM reports of classic files; for installations without pydicom.

    Parameters
    ----------
    folder : path

    Returns
    -------
    FoundFlair
        The same stack of slices that :func:`find_flair` takes.

    Raises
    ------
    MissingDependencyError
        If there are multi-frame files, which GDCM's dictionary does not describe.
    UnsupportedImageError
        If there are several series.
    FlairSegError
        As for :func:`find_flair`.
    """
    folder = directory_of(folder)
    series, other = list_series(folder)
    frames = [frame for s in series for stack in s.stacks for frame in stack.frames]
    multiframe = any(frame.frames_in_file > 1 for frame in frames)
    # GDCM inverts such images by itself, but not all of them.
    inverted = any(frame.header.get("PhotometricInterpretation") == "MONOCHROME1" for frame in frames)
    if multiframe or inverted:
        kind = "multi-frame DICOM" if multiframe else "inverted DICOM images (MONOCHROME1)"
        raise MissingDependencyError(
            f"The folder {stem_of(folder)} holds {kind}, which needs the Python package pydicom.",
            "Install it with: pip install 'flairseg[dicom]'.",
            packages=["pydicom"],
        )
    if len(series) > 1:
        counts = ", ".join(str(n) for n in sorted((s.files for s in series), reverse=True))
        raise UnsupportedImageError(
            f"The folder {stem_of(folder)} holds {len(series)} DICOM series ({counts} files).",
            "Put the files of the FLAIR series alone into a folder and give that.",
            code="several-series",
        )
    return _choice(folder, series, other, None, False, Reporter(None, None))


def _find(folder: Path, series: str | None, by_look: bool, reporter: Reporter) -> FoundFlair:
    with reporter.stage("read", 0.0, 0.5):
        found, other = list_series(folder, reporter.update)
    return _choice(folder, found, other, series, by_look, reporter)


def _choice(
    folder: Path, found: list[Series], other: Scan, series: str | None, by_look: bool, reporter: Reporter
) -> FoundFlair:
    listing = [listed(s, stack) for s in found for stack in s.stacks]
    if not listing:
        raise _nothing(folder, other)
    with reporter.stage("read", 0.5, 1.0):
        chosen, reason = _named(listing, series) if series else _choose(listing, folder, by_look, reporter)
    listing = [replace(e, taken=True) if e.stack is chosen.stack else e for e in listing]
    _check_left_out(chosen.series, other)
    if chosen.stack.kind == proposal.LABEL_MAP:
        raise NoFlairError(
            f"{_upper(chosen.title)}: this is a DICOM segmentation, not an image.",
            "Give the FLAIR series that it was drawn on.",
        )
    if chosen.stack.problem is not None:
        problem = chosen.stack.problem
        raise type(problem)(
            f"{_upper(chosen.title)}: {problem.message}", problem.advice, code=problem.code, **problem.fields
        )
    return FoundFlair(chosen.series, chosen.stack, reason, tuple(listing), other)


def choose_flair(
    found: list[Series], scan: Scan, folder: str | Path, series: str | None = None, by_look: bool = False
) -> FoundFlair:
    """The FLAIR among series that were listed already, see :func:`find_flair`.

    Parameters
    ----------
    found : list of Series
    scan : Scan
        From the same :func:`list_series`.
    folder : path
        Their location, for messages.
    series, by_look
        As for :func:`find_flair`.

    Raises
    ------
    FlairSegError
        As for :func:`find_flair`.
    """
    return _choice(Path(folder), found, scan, series, by_look, Reporter(None, None))


def directory_of(path: str | Path) -> Path:
    """The folder whose tree is meant: that of a DICOMDIR file, or the path itself."""
    path = Path(path)
    return path.parent if path.name.upper() == "DICOMDIR" and path.is_file() else path


def listed(series: Series, stack: Stack) -> Listed:
    """Assess a stack by its headers."""
    verdict = proposal.examine(
        proposal.Candidate(
            f"{series.uid} {stack.what}", "", "", stack.header, stack.kind, stack.shape, stack.spacing, None
        )
    )
    if _is_derived(stack) and verdict.score > 0 and _MADE.search(stack.header.get("SeriesDescription", "").lower()):
        doubt = proposal.Doubt(_DERIVED, "Choose the FLAIR itself.")
        verdict = replace(verdict, score=-3.0, doubts=(doubt, *verdict.doubts))
    if stack.header.get("ScanningSequence", "") == "EP":
        verdict = replace(verdict, score=verdict.score - 2.0)
    component = stack.frames[0].traits[0]
    if component in ("PHASE", "REAL", "IMAGINARY"):
        doubt = proposal.Doubt(f"This is the {component.lower()} part of a complex image.", "Choose the magnitude.")
        verdict = replace(verdict, score=-6.0, doubts=(doubt, *verdict.doubts))
    return Listed(series, stack, verdict)


def _named(listing: Sequence[Listed], wanted: str) -> tuple[Listed, str]:
    wanted = wanted.strip()
    hits = [e for e in listing if wanted in (*e.series.uids, str(e.series.number))]
    if not hits:
        raise NoFlairError(f"There is no series {wanted!r} here: {_enumerated(listing)}.", "Name one of these.")
    if len({e.series.identity for e in hits}) > 1:
        raise NoFlairError(
            f"Several series have the number or UID {wanted}.",
            "Name its SeriesInstanceUID, or give the folder of one study of one patient.",
        )
    best = max(hits, key=lambda e: (e.stack.problem is None, e.verdict.score, len(e.stack.frames)))
    return best, f"{_upper(best.title)} was taken as requested."


def _choose(listing: list[Listed], folder: Path, by_look: bool, reporter: Reporter) -> tuple[Listed, str]:
    """The stack to read and the reason; ``listing`` gets what the looks saw."""
    if len({e.series.identity for e in listing}) == 1:
        only = _only(listing)
        if only is not None:
            return only, f"{_upper(only.title)} was taken because it is the only one."
    flairs = _ranked([e for e in listing if _usable(e) and e.verdict.score > 0])
    broken = _ranked([e for e in listing if e.stack.problem is not None and e.verdict.score > 0])
    if flairs and (flairs[0].verdict.score >= CERTAIN or not by_look):
        return flairs[0], _reason(flairs, folder, broken)
    if by_look:
        for group in (flairs, _ranked(_silent(listing)), _ranked(_doubted(listing))):
            seen = _look(group[:LOOKS], listing, reporter)
            good = [e for e in seen if e.look == ()]
            if good:
                return good[0], _reason(good, folder, broken, by_look=good[0].verdict.score <= 0)
        if flairs:
            flairs = [next(e for e in listing if e.stack is f.stack) for f in flairs]
            return flairs[0], _reason(flairs, folder, broken)
    if broken:
        return broken[0], ""
    raise _none(listing, folder)


def _only(listing: Sequence[Listed]) -> Listed | None:
    """The stack of the only series, unless it has several of equal standing."""
    usable = [e for e in listing if _usable(e)]
    if not usable:
        return max(listing, key=lambda e: (len(e.stack.frames), e.verdict.score))
    best = _ranked(usable)
    if len(best) > 1 and len(best[1].stack.frames) == len(best[0].stack.frames) and best[0].verdict.score <= 0:
        return None
    return best[0]


def _usable(entry: Listed) -> bool:
    """Whether a stack can be read, and is not a few stray slices of a series."""
    main = len(entry.series.stacks[0].frames)
    return entry.stack.problem is None and entry.verdict.usable and 2 * len(entry.stack.frames) >= main


def _silent(listing: Sequence[Listed]) -> list[Listed]:
    """Stacks whose header does not identify them, of more than a few slices."""
    return [e for e in listing if _usable(e) and e.verdict.score == 0 and not e.verdict.doubts and _is_mr(e)]


def _doubted(listing: Sequence[Listed]) -> list[Listed]:
    """Stacks labelled T1, T2 or PD, possibly by mistake; acquisition times take precedence."""
    out = []
    for e in listing:
        words = [d.message for d in e.verdict.doubts]
        if _usable(e) and _is_mr(e) and len(words) == 1 and any(f"this is {w}," in words[0] for w in _DOUBTED):
            out.append(e)
    return out


def _is_mr(entry: Listed) -> bool:
    return entry.series.modality in ("MR", "") and len(entry.stack.frames) >= proposal.FEW_SLICES


def _look(entries: Sequence[Listed], listing: list[Listed], reporter: Reporter) -> list[Listed]:
    """The entries with the evidence from their voxels, also in ``listing``."""
    from ..preprocessing.image_quality import look

    seen = []
    for n, entry in enumerate(entries):
        reporter.update(n / max(1, len(entries)))
        try:
            doubts: tuple[str, ...] = tuple(look(read_stack(entry.stack, stem_of(entry.stack.frames[0].path.parent))))
        except FlairSegError as error:
            doubts = (error.message,)
        looked = replace(entry, look=doubts)
        listing[next(k for k, e in enumerate(listing) if e.stack is entry.stack)] = looked
        seen.append(looked)
    return seen


# --- several FLAIRs


def _is_derived(stack: Stack) -> bool:
    return stack.header.get("ImageType", "").upper().startswith("DERIVED")


def _is_thick(stack: Stack) -> bool:
    k, j, i = stack.spacing
    return stack.plane == "axial" and k >= THICK * max(i, j) - ROUNDING_MM


def _voxel(stack: Stack) -> float:
    k, j, i = stack.spacing
    return round(k * j * i, 2)


#: Preferences between two FLAIRs, with their wording; the first difference decides.
_PREFERENCES: tuple[tuple[str, Callable[[Listed], object]], ...] = (
    ("it is an original, not a reformat", lambda e: not _is_derived(e.stack)),
    ("it was made without contrast agent", lambda e: not is_agent(e.stack.header.get("ContrastBolusAgent"))),
    (
        "it covers the whole head",
        lambda e: len(e.stack.frames) * e.stack.spacing[0] >= WHOLE_HEAD_MM - ROUNDING_MM,
    ),
    ("its slices are axial and thick, as preferred here", lambda e: _is_thick(e.stack)),
    ("its headers say so most clearly", lambda e: e.verdict.score >= CERTAIN),
    ("its voxels are the smallest", lambda e: -_voxel(e.stack)),
    ("it was acquired last", lambda e: e.series.number or 0),
)


def _preference(entry: Listed) -> tuple[Any, ...]:
    return tuple(rule(entry) for _, rule in _PREFERENCES)


def _ranked(entries: Sequence[Listed]) -> list[Listed]:
    return sorted(entries, key=lambda e: (_preference(e), e.series.uid, e.stack.what), reverse=True)


def _reason(ranked: Sequence[Listed], folder: Path, broken: Sequence[Listed], by_look: bool = False) -> str:
    """Why the first of these FLAIRs is taken; refuses to choose between patients and between studies."""
    best = ranked[0]
    if differ(e.series.patient for e in ranked):
        raise UnsupportedImageError(
            f"The folder {stem_of(folder)} holds FLAIRs of several patients, whose PatientIDs, birth dates or sexes "
            f"differ: {_enumerated(ranked)}.",
            "Give the folder of one patient, or choose a series by its SeriesInstanceUID; correct wrong headers.",
            code="several-patients",
        )
    studies = len({e.series.study_uid for e in ranked})
    if studies > 1:
        raise UnsupportedImageError(
            f"The folder {stem_of(folder)} holds FLAIRs of {studies} studies: {_enumerated(ranked)}.",
            "Give the folder of one study, or choose a series by its SeriesInstanceUID.",
            code="several-studies",
        )
    if by_look:
        because = "it looks like one; its header says something else" if best.verdict.doubts else "it looks like one"
        why = f"{because}, so check that it is a FLAIR"
    else:
        why = best.verdict.reasons[0]
    text = f"{_upper(best.title)} was taken as the FLAIR because {why}."
    if len(ranked) > 1:
        deciding = next(
            (words for words, rule in _PREFERENCES if rule(best) != rule(ranked[1])), "it comes first in its folder"
        )
        others = "; ".join(e.title for e in ranked[1:4]) + ("; ..." if len(ranked) > 4 else "")
        text += f" Of {len(ranked)} FLAIRs it was preferred because {deciding}; not taken: {others}."
    if broken:
        text += f" {_upper(broken[0].title)} cannot be read: {broken[0].remark}"
    return text


# --- none


def _check_left_out(series: Series, scan: Scan) -> None:
    """Refuse a series of which a file could not be read: the volume would lack a slice."""
    for path in scan.damaged:
        try:
            raw = path.read_bytes()
        except OSError:
            continue
        if any(uid and uid.encode() in raw for uid in series.uids):
            raise UnreadableImageError(
                f"{path.name} belongs to the series in {path.parent.name} but is truncated or damaged.",
                "Copy the complete series again.",
            )


def _nothing(folder: Path, other: Scan) -> FlairSegError:
    if other.damaged:
        return UnreadableImageError(
            f"{other.damaged[0].name} in {folder.name} says that it is DICOM but cannot be read: it is truncated or "
            "damaged.",
            "Copy the complete series again.",
        )
    return InputNotFoundError(
        f"The folder {folder.name} holds no DICOM image.",
        "Give an image file, or a folder with DICOM files in it or below it.",
    )


def _none(listing: Sequence[Listed], folder: Path) -> NoFlairError:
    files = {e.series.identity: e.series.files for e in listing}
    counts = ", ".join(str(n) for n in sorted(files.values(), reverse=True)[:LISTED])
    return NoFlairError(
        f"The folder {stem_of(folder)} holds {len(files)} DICOM series ({counts} files), and none is identified as "
        f"a FLAIR: {_enumerated(listing)}.",
        "Put the files of the FLAIR series alone into a folder and give that, or choose the series yourself.",
        code="no-series-looks-like-flair",
    )


def _enumerated(listing: Sequence[Listed]) -> str:
    lines = Counter(f"{e.title}: {e.remark.rstrip('.')}" for e in listing)
    shown = [line if count == 1 else f"{line} ({count} times)" for line, count in lines.items()]
    more = sum(list(lines.values())[LISTED:])
    return "; ".join(shown[:LISTED]) + (f"; and {more} more" if more else "")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
