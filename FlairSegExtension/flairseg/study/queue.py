"""The work list of a reading room: which case next? The one that probably needs most correction.

Score: the *expected correction* in ml of lesion, if the model's probabilities are right about themselves,

    sum over lesion voxels of (1 - p)  +  sum over all other voxels with p >= 0.05 of p,     p = probability of lesion,

in other words, the volume that a reader is expected to remove and to add. The floor of 0.05 keeps the sum over millions
of background voxels from drowning the rest. Where there are no probabilities but a lesion table with each lesion's mean
probability, the first half alone is known; where there is neither, the case has no score and comes after those that do.

The score orders work; it is no measure of quality, and nothing is accepted because of it.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlairSegError, InputNotFoundError, UnreadableImageError
from ..labels import CLASS_BY_VALUE, LESION
from ..reading import ENDINGS, case_name
from ..review.cases import ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED, CaseArchive

#: State of a case that nobody has judged yet, and of one that has no segmentation.
OPEN = "open"
NOT_SEGMENTED = "not segmented"
STATES = (OPEN, NOT_SEGMENTED, REJECTED, ACCEPTED_AFTER_EDITS, ACCEPTED)
#: Probability of lesion below which a background voxel does not count.
FLOOR = 0.05

_SUMMARY = "_summary.json"
_LABELS = "_labels.nii.gz"
_PROBABILITIES = "_probabilities.nii.gz"
#: Endings of what a folder holds beside images.
_DERIVED = ("_labels", "_probabilities", "_truth", "_mask", ".seg")
_COLUMNS = ("case", "flair", "labels", "probabilities")


@dataclass(frozen=True)
class QueueItem:
    """One case of the work list.

    Attributes
    ----------
    case : str
    flair, labels, probabilities, summary : Path or None
        Its files, as far as they are there.
    expected_correction_ml : float or None
        The score; None: not known.
    why : str
        The score in words.
    lesion_count : int or None
    lesion_ml : float or None
    model : str
    state : str
        ``OPEN``, ``NOT_SEGMENTED``, or the last verdict in the archive.
    versions : int
        How many versions the archive holds.
    warnings : tuple of str
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


def work_list(
    source: str | Path | Iterable[str | Path], archive: CaseArchive | None = None, done: bool = False
) -> list[QueueItem]:
    """The cases of a folder or list, the most uncertain first.

    Parameters
    ----------
    source : path or iterable of paths
        A folder (searched with its subfolders for ``*_summary.json`` and for images without results); a CSV file with
        the columns ``case, flair, labels, probabilities`` (``flair`` suffices); or images.
    archive : CaseArchive, optional
        Where verdicts are kept: gives each case its state.
    done : bool
        Also list cases that were accepted.

    Returns
    -------
    list of QueueItem
        Open cases by falling score, then those without one, then the judged ones; alike ones by name.

    Raises
    ------
    InputNotFoundError
        If the source does not exist or holds no case.
    UnreadableImageError
        If the list cannot be read.
    """
    items = list(_items(source))
    if not items:
        raise InputNotFoundError(
            "There are no cases there.", "Choose a folder with FLAIR images, or with results of `flairseg segment`."
        )
    judged = [_with_state(item, archive) for item in items]
    wanted = [i for i in judged if done or i.state not in (ACCEPTED, ACCEPTED_AFTER_EDITS)]
    return sorted(wanted, key=_order)


def next_case(items: Iterable[QueueItem], after: str = "") -> QueueItem | None:
    """The first case that is still to be judged, other than ``after``; None if there is none."""
    return next((item for item in items if item.state in (OPEN, NOT_SEGMENTED) and item.case != after), None)


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
        image = sitk.ReadImage(str(labels))
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(probabilities))
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) != 4 or size[3] <= LESION or tuple(size[:3]) != image.GetSize():
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
    drawn = sitk.GetArrayViewFromImage(image) == LESION
    voxels = float((1.0 - lesion[drawn]).sum() + lesion[~drawn & (lesion >= FLOOR)].sum())
    return voxels * float(np.prod(image.GetSpacing())) / 1000.0


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
        yield _from_image(path)


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
        if ending is None or name.removesuffix(ending).endswith(_DERIVED) or _resolved(path) in segmented:
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
        files = {
            key: path.absolute().parent / value.strip() for key in _COLUMNS[1:] if (value := row.get(key) or "").strip()
        }
        item = _from_image(files["flair"])
        yield _scored(
            (row.get("case") or "").strip() or item.case,
            files["flair"],
            files.get("labels", item.labels),
            files.get("probabilities", item.probabilities),
            item.summary,
        )


def _from_image(path: Path) -> QueueItem:
    """An image, with the results that lie beside it."""
    stem = case_name(path)
    beside = {ending: path.absolute().parent / f"{stem}{ending}" for ending in (_LABELS, _PROBABILITIES, _SUMMARY)}
    found = {ending: file if file.is_file() else None for ending, file in beside.items()}
    return _scored(stem, path, found[_LABELS], found[_PROBABILITIES], found[_SUMMARY])


def _from_summary(path: Path) -> QueueItem | None:
    """A case that ``flairseg segment`` wrote; None if the file is another program's."""
    content = _json(path)
    if not isinstance(content, dict) or "input" not in content or "lesion_count" not in content:
        return None
    stem = path.name.removesuffix(_SUMMARY)
    flair = Path(str(content["input"])) if content["input"] else None
    if flair is not None and not flair.exists():
        beside = path.parent / flair.name
        flair = beside if beside.exists() else flair
    labels, probabilities = (path.with_name(f"{stem}{e}") for e in (_LABELS, _PROBABILITIES))
    return _scored(
        str(content.get("case") or stem),
        flair,
        labels if labels.is_file() else None,
        probabilities if probabilities.is_file() else None,
        path,
    )


# --- scores and states -----------------------------------------------------------------------------------------------


def _scored(
    case: str, flair: Path | None, labels: Path | None, probabilities: Path | None, summary: Path | None
) -> QueueItem:
    content = _json(summary) if summary is not None else None
    content = content if isinstance(content, dict) else {}
    score, why, warnings = None, "No probabilities and no lesion table: not known.", list(content.get("warnings", ()))
    if labels is None:
        why = "Not segmented yet."
    elif probabilities is not None:
        try:
            score = expected_correction_ml(labels, probabilities)
            why = f"{score:.2f} ml of lesion are expected to be corrected (from the class probabilities)."
        except FlairSegError as error:
            warnings.append(str(error))
    if score is None and labels is not None:
        score = _from_lesions(content.get("lesions"))
        if score is not None:
            why = f"{score:.2f} ml of lesion are expected to be removed (from each lesion's mean probability)."
    volumes = content.get("volumes_ml", {})
    return QueueItem(
        case=case,
        flair=flair,
        labels=labels,
        probabilities=probabilities,
        summary=summary,
        expected_correction_ml=score,
        why=why,
        lesion_count=content.get("lesion_count"),
        lesion_ml=volumes.get(CLASS_BY_VALUE[LESION].id),
        model=str(content.get("model", {}).get("id", "")),
        state=OPEN if labels is not None else NOT_SEGMENTED,
        warnings=tuple(str(w) for w in warnings),
    )


def _from_lesions(table: Any) -> float | None:
    """Expected false-positive volume, ml, from a lesion table; None if it has no probabilities."""
    if not isinstance(table, list):
        return None
    rows = [row for row in table if isinstance(row, dict) and row.get("mean_probability") is not None]
    if len(rows) < len(table):
        return None
    return float(sum(row["volume_ml"] * (1.0 - row["mean_probability"]) for row in rows))


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
    return QueueItem(**{**vars(item), "state": verdict, "versions": len(versions)})


def _order(item: QueueItem) -> tuple[int, bool, float, str]:
    score = item.expected_correction_ml
    return STATES.index(item.state), score is None, -(score or 0.0), item.case


def _json(path: Path) -> Any:
    """A JSON file's content; None if it cannot be read: a case without its summary is still a case."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _has_results(path: Path) -> bool:
    return path.with_name(f"{case_name(path)}{_SUMMARY}").is_file()


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))
