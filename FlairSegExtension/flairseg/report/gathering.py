"""From a result in memory, or from files of ``flairseg segment`` or the review archive, to a :class:`~.case.Case`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..anatomy import UNKNOWN
from ..anatomy import dissemination as disseminated
from ..anatomy.lesion_table import lesion_table
from ..errors import CaseWarning, FlairSegError, InputNotFoundError, UnreadableImageError, warnings_from
from ..files.kinds import ENDINGS as IMAGE_ENDINGS
from ..files.names import case_name, mask_case_name, stem_of, without_mask_words
from ..files.same_input import fingerprint
from ..files.summary_paths import find_input
from ..image.volume import Volume
from ..io.images import read_image
from ..io.label_maps import read_label_map
from ..io.label_meanings import OWN, LabelMapping
from ..lesions.components import LesionMap, find_lesions
from ..review.verdict import ACCEPTED_AFTER_EDITS, from_json
from ..review.version_folder import (
    LABELS,
    VERDICT,
    file_sha256,
    flair_file,
    problems_in,
    version_name,
    versions_in,
)
from ..segmentation.writing import ENDINGS
from .case import (
    UNREADABLE,
    Case,
    Change,
    Dissemination,
    Review,
    Row,
    change_of,
    describes,
    dissemination_of,
    mapping,
    rows_of,
    text,
    whole,
)

if TYPE_CHECKING:
    from ..anatomy.regions import RegionMap
    from ..models.card import ModelCard
    from ..privacy.pseudonyms import Pseudonymiser
    from ..segmentation.result import Segmentation

#: Longest JSON file that is read, bytes: a summary with thousands of lesions has one.
_MAXIMUM_JSON_BYTES = 50_000_000
#: Largest picture of a follow-up that is shown.
_MAXIMUM_PICTURE_BYTES, _MAXIMUM_PIXELS = 30_000_000, 60_000_000
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
_GIVE = (
    "Give <name>_labels.nii.gz or <name>_summary.json of flairseg segment, or the folder <case>/v<NNN> of a version."
)


@dataclass(frozen=True)
class _Files:
    """Where a case's files lie."""

    name: str
    labels: Path
    summary: Path | None = None
    version: Path | None = None


def from_segmentation(
    segmentation: Segmentation,
    review: Review | None = None,
    followup: Mapping[str, Any] | None = None,
    study_date: str = "",
    labels: np.ndarray | None = None,
    regions: bool = True,
) -> Case:
    """The case of a result in memory.

    Parameters
    ----------
    segmentation : Segmentation
    review : Review, optional
        What a reader decided; default: not reviewed.
    followup : mapping, optional
        Content of ``followup.json``.
    study_date : str
        ISO date, if known.
    labels : ndarray, shape (K, J, I), optional
        The labels as they were corrected, on the same grid; the lesions are measured anew then.
    regions : bool
        Find the regions of the lesions where they are not known (some seconds).
    """
    changed = labels is not None and not np.array_equal(labels, segmentation.labels)
    shown = replace(segmentation, labels=np.asarray(labels, np.uint8), compact=None) if changed else segmentation
    summary = shown.summary()
    case = _case(
        segmentation.volume.name,
        shown.volume,
        shown.labels,
        summary,
        review or Review(),
        followup,
        study_date,
        segmentation.card,
        tuple(segmentation.warnings),
        regions,
    )
    return replace(case, image_sha256=segmentation.input_sha256)


def from_files(
    path: Path,
    flair: Path | None = None,
    verdict: Path | None = None,
    followup: Path | None = None,
    study_date: str = "",
    pseudonymiser: Pseudonymiser | None = None,
    regions: bool = True,
    meaning: LabelMapping | None = None,
) -> Case:
    """The case of files.

    Parameters
    ----------
    path : Path
        ``<stem>_summary.json``, ``<stem>_labels.nii.gz`` (either finds the other), any other label map that
        :func:`flairseg.io.label_maps.read_label_map` reads, or a version's folder
        ``<case>/v<NNN>`` of the review archive (of ``<case>``: the newest).
    flair : Path, optional
        The image; default: what the summary names as input, or lies beside the labels, or is kept with the version.
    verdict : Path, optional
        ``verdict.json``; default: that of the version.
    followup : Path, optional
        ``followup.json`` of ``flairseg follow``.
    study_date : str
        ISO date, if known; default: what summary or follow-up say.
    pseudonymiser : Pseudonymiser, optional
        Names, dates and texts go through it.
    regions : bool
        Find the regions of the lesions where the files do not tell them (some seconds).
    meaning : LabelMapping, optional
        What the values of the label map mean, where it is another program's.

    Raises
    ------
    InputNotFoundError
        If a file is not there, or the FLAIR cannot be found.
    UnreadableImageError
        If labels, summary or follow-up cannot be understood.
    GridMismatchError
        If the labels are not on the FLAIR's grid.
    UnsuitableMaskError
        If nothing says what the labels mean.
    FlairSegError
        As :func:`~flairseg.io.reader.read_volume` for the FLAIR.
    """
    files = _find(path)
    summary = {} if files.summary is None else _read_json(files.summary)
    judged = verdict if verdict is not None else files.version / VERDICT if files.version is not None else None
    review, verdict_content = _read_review(judged, files)
    if not summary:
        summary = {key: verdict_content[key] for key in ("model", "software", "case") if key in verdict_content}
    change = None if followup is None else _read_json(followup)
    if followup is not None and change is not None and change_of(change) is None:
        raise UnreadableImageError(
            f"{followup.name} is no follow-up of two or more studies.", "Give the followup.json of flairseg follow."
        )
    image = read_image(_find_flair(flair, files, summary))
    ours = files.version is not None or files.summary is not None
    found = read_label_map(files.labels, image.geometry, meaning or (OWN if ours else None))
    labels = found.labels
    name = text(summary.get("case")) or files.name
    warnings = (*warnings_from(summary.get("warnings")), *image.warnings, *found.warnings)
    digest, image_digest = file_sha256(files.labels), fingerprint(image)
    if pseudonymiser is not None:
        image_digest = pseudonymiser.content_digest(image_digest)
        pseudonym = pseudonymiser.learn_path(path, name)
        for other in (files.labels, image.name, text(summary.get("input"))):
            if str(other).strip():
                pseudonymiser.learn_path(other, name)
        name, study_date = pseudonym, pseudonymiser.date(study_date)
        summary = pseudonymiser.content(summary)
        change = None if change is None else pseudonymiser.content(change)
        warnings = pseudonymiser.warnings(warnings)
        review = replace(
            review,
            reader=pseudonymiser.person(review.reader),
            decided_at="",
            reason="",
        )
        # The sha256 of a file tells whoever has the file that it is this one.
        digest = ""
        image = replace(image, name=pseudonym)
    case = _case(name, image, labels, summary, review, change, study_date, _card(summary), tuple(warnings), regions)
    # Names and dates are written into the picture.
    if case.change is not None and followup is not None and pseudonymiser is None:
        case = replace(case, change=replace(case.change, sheet=_sheet_beside(followup)))
    return replace(case, labels_sha256=digest, dates_moved=pseudonymiser is not None, image_sha256=image_digest)


def case_named(path: Path) -> str:
    """Name of the case that results belong to, by their files; by the path where these do not tell it."""
    try:
        files = _find(path)
        said = {} if files.summary is None else _read_json(files.summary)
        if not said and files.version is not None:
            _, said = _read_review(files.version / VERDICT, files)
    except FlairSegError:
        return case_name(path)
    return text(said.get("case")) or files.name


# --- the case


def _case(
    name: str,
    volume: Volume,
    labels: np.ndarray,
    summary: Mapping[str, Any],
    review: Review,
    followup: Mapping[str, Any] | None,
    study_date: str,
    card: ModelCard | None,
    warnings: tuple[str, ...],
    regions: bool,
) -> Case:
    found = find_lesions(labels, volume.ijk_to_ras)
    change = None if followup is None else change_of(followup)
    rows, dissemination = rows_of(summary.get("lesions")), dissemination_of(summary.get("dissemination"))
    doubts: list[str] = []
    if not _fits(summary, rows, found, labels, volume):
        if summary.get("lesions") is not None:
            doubts.append("edited")
        rows, dissemination = (), None
    rows, dissemination = _unless_unknown(rows, dissemination)
    if len(rows) != len(found.lesions) or any(row.diameter_mm is None or row.region is None for row in rows):
        rows, measured, region_warnings = _measured(found, labels, volume, rows, regions)
        rows, dissemination = _unless_unknown(rows, measured or dissemination)
        warnings = (*warnings, *region_warnings)
    if dissemination is None and rows and all(row.region is not None for row in rows):
        dissemination = dissemination_of(
            disseminated([r.region or UNKNOWN for r in rows], [r.diameter_mm for r in rows])
        )
    date = study_date or text(summary.get("study_date")) or text(summary.get("date")) or _date_in(change, name)
    return Case(
        name,
        volume,
        labels,
        rows,
        _numbered(found, labels.shape),
        date,
        replace(review, doubts=(*review.doubts, *doubts)),
        summary,
        card,
        dissemination,
        change,
        dissemination is not None,
        tuple(dict.fromkeys(warnings)),
    )


def _unless_unknown(
    rows: tuple[Row, ...], dissemination: Dissemination | None
) -> tuple[tuple[Row, ...], Dissemination | None]:
    """Regions that are unknown for every lesion were not looked for, or not found: that is no region at all."""
    if any(row.region not in (None, UNKNOWN) for row in rows) or not rows:
        return rows, dissemination
    return tuple(replace(row, region=None) for row in rows), None


def _fits(
    summary: Mapping[str, Any], rows: tuple[Row, ...], found: LesionMap, labels: np.ndarray, volume: Volume
) -> bool:
    """Whether the summary's rows are the lesions of the label map, number by number."""
    if not describes(summary, labels, volume, len(found.lesions)) or len(rows) != len(found.lesions):
        return False
    true = {lesion.number: lesion.volume_mm3 / 1000 for lesion in found.lesions}
    return all(abs(true.get(row.number, -1.0) - row.volume_ml) <= 0.002 for row in rows)


def _measured(
    found: LesionMap, labels: np.ndarray, volume: Volume, known: tuple[Row, ...], regions: bool
) -> tuple[tuple[Row, ...], Dissemination | None, tuple[str, ...]]:
    """The lesions measured here; probabilities are kept from the rows that are known."""
    from ..anatomy import find_regions

    region_map: RegionMap | None = None
    warnings: tuple[str, ...] = ()
    if regions and found.lesions:
        try:
            region_map = find_regions(volume, labels)
            warnings = tuple(region_map.warnings)
        except FlairSegError as error:
            text_of = f"The regions of the lesions could not be found: {error.message}"
            warnings = (CaseWarning(text_of, "regions-unknown"),)
    table = lesion_table(labels, volume.ijk_to_ras, regions=region_map, lesions=found)
    before = {row.number: row for row in known}
    rows = []
    for entry in table:
        row = rows_of([entry.as_dict()])[0]
        old = before.get(row.number)
        if old is not None:
            row = replace(
                row,
                confidence=old.confidence,
                peak_probability=old.peak_probability,
                disagreement=old.disagreement,
                region=row.region if region_map is not None else old.region,
            )
        rows.append(row)
    told: Dissemination | None = None
    if region_map is not None:
        told = dissemination_of(disseminated([r.region for r in table], [r.diameter_mm for r in table]))
    return tuple(rows), told, warnings


def _numbered(found: LesionMap, shape: tuple[int, ...]) -> np.ndarray:
    """Lesion numbers on the whole grid, int32 (K, J, I)."""
    out = np.zeros(shape, np.int32)
    out[found.box] = found.components
    return out


def _date_in(change: Change | None, name: str) -> str:
    """The date of this case among a follow-up's studies; empty if it is not told."""
    own = [study.date for study in (change.studies if change is not None else ()) if study.case == name]
    return own[-1] if own else ""


# --- files


def _find(path: Path) -> _Files:
    """The files of a case, by one of them or by the folder of a version."""
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):
        is_folder = exists = False
    if not exists:
        raise InputNotFoundError(f"There is no file or folder {path}.", "Check the path for typing errors.")
    if is_folder:
        versions = versions_in(path)
        folder = path / version_name(versions[-1]) if versions else path
        if not (folder / LABELS).is_file():
            raise InputNotFoundError(f"The folder {path.name} holds no version of a case.", _GIVE)
        return _Files(folder.absolute().parent.name, folder / LABELS, version=folder)
    for own, other in ((ENDINGS["labels"], ENDINGS["summary"]), (ENDINGS["summary"], ENDINGS["labels"])):
        if path.name.endswith(own):
            stem = path.name.removesuffix(own)
            sibling = path.with_name(stem + other)
            labels, summary = (path, sibling) if own == ENDINGS["labels"] else (sibling, path)
            if not labels.is_file():
                raise InputNotFoundError(
                    f"The label map {labels.name} does not lie beside {path.name}.", "Put the files together again."
                )
            if summary.is_file():
                return _Files(stem, labels, summary)
            return _Files(mask_case_name(labels), labels)
    if path.name == LABELS and (path.parent / VERDICT).is_file():
        return _Files(path.absolute().parent.parent.name, path, version=path.parent)
    if path.name.lower().endswith((*IMAGE_ENDINGS, ".dcm")):
        return _Files(mask_case_name(path), path)
    raise InputNotFoundError(f"{path.name} is neither a label map nor a summary.", _GIVE)


def _find_flair(flair: Path | None, files: _Files, summary: Mapping[str, Any]) -> Path:
    if flair is not None:
        return flair
    if files.version is not None:
        return flair_file(files.version)
    folder, grid = files.labels.absolute().parent, mapping(summary.get("grid"))
    own, _ = without_mask_words(stem_of(files.labels).removesuffix(".seg"))
    beside = (str(folder / f"{name}{ending}") for name in (files.name, own) if name for ending in IMAGE_ENDINGS)
    for named in (text(summary.get("input")), *beside):
        found = find_input(named, folder, grid)
        if found is not None and found != files.labels.absolute():
            return found
    raise InputNotFoundError(
        f"The FLAIR that {files.labels.name} was made from was not found.", "Name it.", code="flair-not-found"
    )


def _sheet_beside(followup: Path) -> bytes:
    """The picture of a follow-up, PNG, made anew from its pixels; empty where there is none, or no usable one."""
    from PIL import Image

    path = followup.with_name(followup.name.removesuffix(".json") + ".png")
    try:
        if path.stat().st_size > _MAXIMUM_PICTURE_BYTES:
            return b""
        with Image.open(path, formats=("PNG",)) as picture:
            if picture.width * picture.height > _MAXIMUM_PIXELS:
                return b""
            stream = io.BytesIO()
            picture.convert("RGB").save(stream, "PNG", compress_level=6)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return b""
    return stream.getvalue()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAXIMUM_JSON_BYTES:
            raise ValueError("too long")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputNotFoundError(f"There is no file {path}.", "Check the path for typing errors.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableImageError(
            f"{path.name} cannot be read as JSON.", "Make it again, or bring it back from a backup."
        ) from error
    if not isinstance(content, dict):
        raise UnreadableImageError(f"{path.name} holds no summary.", "Make it again, or bring it back from a backup.")
    return content


def _read_review(path: Path | None, files: _Files) -> tuple[Review, dict[str, Any]]:
    """What a ``verdict.json`` says, and how sure it is that it is about these labels; never an error of its content.

    Raises
    ------
    InputNotFoundError
        If a verdict was named that is not there.
    """
    if path is None:
        return Review(), {}
    if not path.is_file():
        if files.version is not None and path.parent == files.version:
            return Review(UNREADABLE), {}
        raise InputNotFoundError(f"There is no file {path}.", "Check the path for typing errors.")
    try:
        content = _read_json(path)
        verdict = from_json(content)
    except FlairSegError:
        return Review(UNREADABLE), {}
    review = Review(
        verdict.verdict,
        verdict.reader,
        verdict.decided_at,
        verdict.reason,
        whole(content.get("version")),
        verdict.parent_version,
    )
    hashes = mapping(content.get("hashes"))
    if files.version is not None and path.parent.absolute() == files.version.absolute():
        doubts = ("changed",) if problems_in(files.version, {"hashes": hashes}) else ()
    elif hashes.get(LABELS) == file_sha256(files.labels):
        doubts = ()
    else:
        doubts = ("other_labels",) if verdict.verdict == ACCEPTED_AFTER_EDITS else ("unproven",)
    return replace(review, doubts=doubts), content


def _card(summary: Mapping[str, Any]) -> ModelCard | None:
    """Card of the model that a summary names, if the same one is on this computer."""
    from ..models.store import find_model

    model = mapping(summary.get("model"))
    try:
        card = find_model(text(model.get("id"))) if _MODEL_ID.fullmatch(text(model.get("id"))) else None
    except FlairSegError:
        return None
    return card if card is not None and card.sha256 == model.get("sha256") else None
