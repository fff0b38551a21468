"""The work list of a review: cases that probably need most correction first.

Score: the *expected correction* in ml of lesion, if the model's probabilities are calibrated,

    sum over lesion voxels of (1 - p)  +  sum over all other voxels with p >= 0.05 of p,     p = probability of lesion,

i.e. the volume that a reader is expected to remove and add. The floor of 0.05 keeps the sum over millions of background
voxels from dominating. Where there are no probabilities but a lesion table with each lesion's confidence (mean
probability, or the share of such lesions that readers drew), only the first sum is known; where there is neither, the
case has no score and comes after the others.

The score orders the work list; it is no measure of quality and leads to no acceptance.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CaseWarning, FlairSegError, InputNotFoundError, UnreadableImageError, warnings_from
from ..files.kinds import ENDINGS
from ..files.names import case_name, is_common, is_made, stem_of
from ..files.safe_names import folded, marked
from ..files.summary_paths import find_input, grid_of
from ..io.label_maps import read_label_map
from ..io.reader import read_volume
from ..labels import CLASS_BY_VALUE, LESION
from ..progress import CancelToken, ProgressCallback
from ..review.cases import ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED, CaseArchive

#: State of a case not judged yet, and of one without a segmentation.
OPEN = "open"
NOT_SEGMENTED = "not segmented"
STATES = (OPEN, NOT_SEGMENTED, REJECTED, ACCEPTED_AFTER_EDITS, ACCEPTED)
#: Probability of lesion below which a background voxel does not count.
FLOOR = 0.05

_SUMMARY = "_summary.json"
_LABELS = "_labels.nii.gz"
_PROBABILITIES = "_probabilities.nii.gz"
_COLUMNS = ("case", "flair", "labels", "probabilities", "summary")


@dataclass(frozen=True)
class QueueItem:
    """One case of the work list.

    Attributes
    ----------
    case : str
    flair, labels, probabilities, summary : Path or None
        Its files, as far as they exist.
    expected_correction_ml : float or None
        The score; None: not known.
    why : str
        The score as text.
    lesion_count : int or None
    lesion_ml : float or None
    model : str
    state : str
        ``OPEN``, ``NOT_SEGMENTED``, or the last verdict in the archive.
    versions : int
        Number of versions in the archive.
    warnings : tuple of str
    problem : str
        Why the case cannot be opened; empty if no reason is known.
    priority : float or None
        Of a list that orders its cases itself: higher comes first. None: ordered by the score.
    """

    case: str
    flair: Path | None
    labels: Path | None = None
    probabilities: Path | None = None
    summary: Path | None = None
    expected_correction_ml: float | None = None
    why: str = ""
    lesion_count: int | None = None
    lesion_ml: float | None = None
    model: str = ""
    state: str = OPEN
    versions: int = 0
    warnings: tuple[str, ...] = ()
    problem: str = ""
    priority: float | None = None


def work_list(
    source: str | Path | Iterable[str | Path],
    archive: CaseArchive | None = None,
    done: bool = False,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> list[QueueItem]:
    """The cases of a folder or list, the most uncertain first.

    Parameters
    ----------
    source : path or iterable of paths
        A folder (searched with its subfolders for ``*_summary.json`` and for images without results); a CSV file with
        the columns ``case, flair, labels, probabilities, summary`` (``flair`` suffices), where the list knows it,
        ``expected_correction_ml``, and where it orders its cases itself, ``priority`` and ``why``; or images.
    archive : CaseArchive, optional
        Archive of verdicts, for the state of each case.
    done : bool
        Also list cases that were accepted.
    progress : callable, optional
        ``progress(fraction, case)`` after each case: fraction of all in [0, 1], name of the case.
    cancel : CancelToken, optional
        Checked between cases.

    Returns
    -------
    list of QueueItem
        Open cases by falling priority and score, then those without one, then the judged ones; equal ones by name. A
        faulty case is listed, with the reason in ``problem`` or ``warnings``.

    Raises
    ------
    InputNotFoundError
        If the source does not exist or holds no case.
    UnreadableImageError, UnsupportedImageError
        If the list cannot be read; of a single image, if it cannot.
    Cancelled
        If ``cancel`` was set.
    """
    found = _named_apart(list(_items(source)))
    if not found:
        raise InputNotFoundError(
            "There are no cases there.", "Choose a folder with FLAIR images, or with results of a segmentation."
        )
    items = []
    for n, files in enumerate(found, 1):
        if cancel is not None:
            cancel.check()
        items.append(_with_state(_scored(files), archive))
        if progress is not None:
            progress(n / len(found), files.case)
    return ordered(i for i in items if done or i.state not in (ACCEPTED, ACCEPTED_AFTER_EDITS))


def ordered(items: Iterable[QueueItem]) -> list[QueueItem]:
    """Cases as a work list has them: open ones by falling score, then the judged ones."""
    return sorted(items, key=_order)


def with_states(items: Iterable[QueueItem], archive: CaseArchive) -> list[QueueItem]:
    """The same cases in the same order, with the state that the archive gives them now; no image is read."""
    return [_with_state(item, archive) for item in items]


def next_case(items: Iterable[QueueItem], after: str = "") -> QueueItem | None:
    """The first case that is still to be judged, other than ``after``; None if there is none."""
    waiting = (item for item in items if item.state in (OPEN, NOT_SEGMENTED) and not item.problem)
    return next((item for item in waiting if item.case != after), None)


def summary_of(item: QueueItem) -> dict[str, Any]:
    """Read ``<stem>_summary.json`` of a case; empty if missing or unreadable."""
    content = _json(item.summary) if item.summary is not None else None
    return content if isinstance(content, dict) else {}


def expected_correction_ml(labels: Path, probabilities: Path) -> float:
    """The score of a case from its files.

    Parameters
    ----------
    labels : Path
        Label map.
    probabilities : Path
        4-D NIfTI, classes 0..3 last.

    Raises
    ------
    UnreadableImageError
        If they cannot be read or do not belong together.
    """
    import SimpleITK as sitk

    try:
        found = read_label_map(labels)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(probabilities))
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) != 4 or size[3] <= LESION or tuple(size[:3]) != found.geometry.shape[::-1]:
            raise UnreadableImageError(
                f"{probabilities.name} and {labels.name} do not belong together.", "Segment the case again."
            )
        reader.SetExtractIndex((0, 0, 0, LESION))
        reader.SetExtractSize((*size[:3], 0))
        lesion = np.asarray(sitk.GetArrayFromImage(reader.Execute()), np.float32)
    except RuntimeError as error:
        raise UnreadableImageError(
            f"{probabilities.name} or {labels.name} cannot be read.", "Segment the case again."
        ) from error
    return expected_correction(found.labels, lesion) * found.geometry.voxel_volume_ml


def expected_correction(labels: np.ndarray, lesion: np.ndarray) -> float:
    """The score in voxels.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
    lesion : ndarray of float, same shape
        Probability of lesion.
    """
    drawn = np.asarray(labels) == LESION
    removed = float((1.0 - lesion[drawn].astype(np.float32)).sum())
    return removed + float(lesion[~drawn & (lesion >= FLOOR)].astype(np.float32).sum())


# --- finding cases ---------------------------------------------------------------------------------------------------


def _items(source: str | Path | Iterable[str | Path]) -> Iterator[QueueItem]:
    if not isinstance(source, (str, Path)):
        for path in source:
            yield _from_image(Path(path))
        return
    path = Path(source)
    if not path.exists():
        raise InputNotFoundError(f"There is no file or folder {path}.", "Check the path for typing errors.")
    if path.is_dir():
        yield from _from_folder(path)
    elif path.suffix.lower() == ".csv":
        yield from _from_csv(path)
    else:
        read_volume(path)  # The only case: of a file that is no image there is nothing to list.
        yield _from_image(path)


def _named_apart(found: list[QueueItem]) -> list[QueueItem]:
    """Make case names unique, as verdicts are stored by name: by a part of the path, else by a hash."""
    names = [folded(files.case) for files in found]
    for n, files in enumerate(found):
        place = files.flair or files.summary
        if names.count(names[n]) > 1 and is_common(files.case) and place is not None:
            # Written before generic names were qualified by the folder.
            found[n] = replace(files, case=case_name(place))
    names = [folded(files.case) for files in found]
    for n, files in enumerate(found):
        if names.count(names[n]) > 1:
            place = files.flair or files.summary
            found[n] = replace(
                files, case=marked(files.case, f"{files.case} {n if place is None else _resolved(place)}")
            )
    return found


def _from_folder(folder: Path) -> Iterator[QueueItem]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p, folder))
    segmented: set[Path] = set()
    for path in files:
        if path.name.endswith(_SUMMARY):
            item = _from_summary(path)
            if item is not None:
                if item.flair is not None:
                    segmented.add(_resolved(item.flair))
                yield item
    for path in files:
        name = path.name.lower()
        ending = next((e for e in ENDINGS if name.endswith(e)), None)
        if ending is None or is_made(name.removesuffix(ending)) or _resolved(path) in segmented:
            continue
        if not _has_results(path):
            yield _from_image(path)


def _from_csv(path: Path) -> Iterator[QueueItem]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableImageError(
            f"{path.name} cannot be read as a list of cases.", "Save it as CSV, UTF-8."
        ) from error
    for number, row in enumerate(rows, 2):
        if not (row.get("flair") or "").strip():
            raise UnreadableImageError(
                f"Line {number} of {path.name} names no FLAIR.", f"The list's columns are {', '.join(_COLUMNS)}."
            )
        files: dict[str, Any] = {
            key: path.absolute().parent / value.strip() for key in _COLUMNS[1:] if (value := row.get(key) or "").strip()
        }
        beside = _from_image(files["flair"])
        name = (row.get("case") or "").strip() or beside.case
        priority, why = _number(row.get("priority")), (row.get("why") or "").strip()
        score = _number(row.get("expected_correction_ml"))
        yield replace(beside, case=name, priority=priority, why=why, expected_correction_ml=score, **files)


def _number(text: str | None) -> float | None:
    """A finite number of a list's cell; None if there is none."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _from_image(path: Path) -> QueueItem:
    """An image, with the results beside it."""
    stem = stem_of(path)
    beside = {ending: path.absolute().parent / f"{stem}{ending}" for ending in (_LABELS, _PROBABILITIES, _SUMMARY)}
    found = {ending: file if file.is_file() else None for ending, file in beside.items()}
    return QueueItem(case_name(path), path, found[_LABELS], found[_PROBABILITIES], found[_SUMMARY])


def _from_summary(path: Path) -> QueueItem | None:
    """A case written by ``flairseg segment``; None if the file is of another program."""
    content = _json(path)
    if not isinstance(content, dict) or "input" not in content or "lesion_count" not in content:
        return None
    stem = path.name.removesuffix(_SUMMARY)
    named = str(content["input"] or "")
    flair = find_input(named, path.parent, grid_of(content.get("grid")))
    if flair is None and named:
        # Kept, so that the list shows what is missing.
        flair = Path(named)
    labels, probabilities = (path.with_name(f"{stem}{e}") for e in (_LABELS, _PROBABILITIES))
    return QueueItem(
        str(content.get("case") or stem),
        flair,
        labels if labels.is_file() else None,
        probabilities if probabilities.is_file() else None,
        path,
    )


# --- scores and states -----------------------------------------------------------------------------------------------


def _scored(found: QueueItem) -> QueueItem:
    """The case whose files were found, with its summary and score."""
    warnings: list[str] = []
    item = found
    by_lesions = None
    if found.summary is not None:
        content = _json(found.summary)
        try:
            item, by_lesions = _with_summary(found, content), _from_lesions(content.get("lesions"))
            warnings += warnings_from(content.get("warnings"))
        except (AttributeError, KeyError, TypeError, ValueError):
            text = f"{found.summary.name} is not in FlairSeg's format; the case is listed without it."
            warnings.append(CaseWarning(text, "summary-left-out"))
    score, why = None, "No probabilities and no lesion table: unknown."
    if found.labels is None:
        why = "Not segmented yet."
    elif found.probabilities is not None:
        try:
            score = expected_correction_ml(found.labels, found.probabilities)
            why = f"{score:.2f} ml of lesion are expected to be corrected (from the class probabilities)."
        except FlairSegError as error:
            warnings.append(CaseWarning(str(error), "probabilities-left-out"))
    if score is None and found.labels is not None and found.expected_correction_ml is not None:
        # A cohort knew the probabilities without writing them: the table of lesions tells less.
        score = found.expected_correction_ml
        why = f"{score:.2f} ml of lesion are expected to be corrected (stated in the list of cases)."
    if score is None and found.labels is not None and by_lesions is not None:
        score = by_lesions
        why = f"{score:.2f} ml of lesion are expected to be removed (from each lesion's confidence)."
    return replace(
        item,
        expected_correction_ml=score,
        why=found.why or why,
        state=OPEN if found.labels is not None else NOT_SEGMENTED,
        warnings=tuple(warnings),
        problem=_problem(found),
    )


def _with_summary(found: QueueItem, summary: Mapping[str, Any]) -> QueueItem:
    """The case with the data of its summary."""
    count, ml = summary.get("lesion_count"), summary.get("volumes_ml", {}).get(CLASS_BY_VALUE[LESION].id)
    return replace(
        found,
        lesion_count=None if count is None else int(count),
        lesion_ml=None if ml is None else float(ml),
        model=str(summary.get("model", {}).get("id", "")),
    )


def _problem(found: QueueItem) -> str:
    """Why a case cannot be opened, determined without reading an image; empty if it can."""
    if found.flair is None:
        return "Its FLAIR is unknown: the summary names none."
    if not found.flair.exists() and found.summary is not None:
        return f"The FLAIR named in its summary is missing ({found.flair}): restore it, or name it in a list of cases."
    missing = next((p for p in (found.flair, found.labels) if p is not None and not p.exists()), None)
    return "" if missing is None else f"There is no file or folder {missing}."


def _from_lesions(table: Any) -> float | None:
    """Expected false-positive volume, ml, from a lesion table; None if it has no probabilities."""
    if not isinstance(table, list) or any(row.get("confidence") is None for row in table):
        return None
    return float(sum(row["volume_ml"] * (1.0 - row["confidence"]) for row in table))


def _with_state(item: QueueItem, archive: CaseArchive | None) -> QueueItem:
    if archive is None:
        return item
    versions = archive.versions(item.case)
    if not versions:
        return item
    content = _json(archive.path(item.case) / "verdict.json")
    verdict = content.get("verdict") if isinstance(content, dict) else None
    if verdict not in (ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED):
        return item
    return replace(item, state=verdict, versions=len(versions))


def _order(item: QueueItem) -> tuple[int, bool, float, bool, float, str]:
    score, priority = item.expected_correction_ml, item.priority
    place = STATES.index(item.state), priority is None, -(priority or 0.0)
    return *place, score is None, -(score or 0.0), item.case


def _json(path: Path) -> Any:
    """A JSON file's content; None if it cannot be read: the case is listed without its summary."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _has_results(path: Path) -> bool:
    return path.with_name(f"{stem_of(path)}{_SUMMARY}").is_file()


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))
