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

from ..anatomy import UNKNOWN, Dissemination
from ..anatomy import dissemination as disseminated
from ..anatomy.lesion_table import lesion_table
from ..errors import CaseWarning, FlairSegError, InputNotFoundError, UnreadableImageError, warnings_from
from ..files.hashing import file_sha256
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
    Provenance,
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


@dataclass(frozen=True)
class Reading:
    """How files of a case are read.

    Attributes
    ----------
    study_date : str
        ISO date, if known; default: what summary or follow-up say.
    pseudonymiser : Pseudonymiser, optional
        Names, dates and texts go through it.
    regions : bool
        Find the regions of the lesions where the files do not tell them (some seconds).
    meaning : LabelMapping, optional
        What the values of the label map mean, where it is another program's.
    """

    study_date: str = ""
    pseudonymiser: Pseudonymiser | None = None
    regions: bool = True
    meaning: LabelMapping | None = None


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
    warnings: tuple[str, ...] = tuple(segmentation.warnings)
    if regions and shown.regions is None:
        located, told = _located(shown.volume, shown.labels, bool(shown.lesion_map().lesions))
        shown, warnings = replace(shown, regions=located), (*warnings, *told)
    rows = tuple(map(Row.of, shown.lesion_rows()))
    dissemination = None if shown.regions is None else _disseminated(rows)
    rows, dissemination = _unless_unknown(rows, dissemination)
    change = None if followup is None else change_of(followup)
    return Case(
        segmentation.volume.name,
        shown.volume,
        shown.labels,
        rows,
        _numbered(shown.lesion_map(), shown.labels.shape),
        study_date or _date_in(change, segmentation.volume.name),
        review or Review(),
        Provenance.of_result(segmentation),
        segmentation.card,
        dissemination,
        change,
        dissemination is not None,
        tuple(dict.fromkeys(warnings)),
        image_sha256=segmentation.input_sha256,
    )


def from_files(
    path: Path,
    flair: Path | None = None,
    verdict: Path | None = None,
    followup: Path | None = None,
    how: Reading | None = None,
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
    how : Reading, optional

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
    how = how or Reading()
    study_date, pseudonymiser = how.study_date, how.pseudonymiser
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
    found = read_label_map(files.labels, image.geometry, how.meaning or (OWN if ours else None))
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
    lesions = _lesions_of(summary, labels, image, how.regions)
    changed = None if change is None else change_of(change)
    # Names and dates are written into the picture.
    if changed is not None and followup is not None and pseudonymiser is None:
        changed = replace(changed, sheet=_sheet_beside(followup))
    return Case(
        name,
        image,
        labels,
        lesions.rows,
        _numbered(lesions.found, labels.shape),
        study_date or text(summary.get("study_date")) or text(summary.get("date")) or _date_in(changed, name),
        replace(review, doubts=(*review.doubts, *(["edited"] if lesions.edited else []))),
        Provenance.of(summary),
        _card(summary),
        lesions.dissemination,
        changed,
        lesions.dissemination is not None,
        tuple(dict.fromkeys((*warnings, *lesions.warnings))),
        digest,
        pseudonymiser is not None,
        image_digest,
    )


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


@dataclass(frozen=True)
class _Lesions:
    """What is known of the lesions of a label map that was read."""

    found: LesionMap
    rows: tuple[Row, ...]
    dissemination: Dissemination | None
    warnings: tuple[str, ...] = ()
    #: Whether the summary has other lesions: the map was edited.
    edited: bool = False


def _lesions_of(summary: Mapping[str, Any], labels: np.ndarray, volume: Volume, regions: bool) -> _Lesions:
    """The lesions as the summary has them where it describes these labels; measured here where it does not."""
    found = find_lesions(labels, volume.ijk_to_ras)
    rows, dissemination = rows_of(summary.get("lesions")), dissemination_of(summary.get("dissemination"))
    warnings: tuple[str, ...] = ()
    edited = False
    if not _fits(summary, rows, found, labels, volume):
        edited = summary.get("lesions") is not None
        rows, dissemination = (), None
    rows, dissemination = _unless_unknown(rows, dissemination)
    if len(rows) != len(found.lesions) or any(row.diameter_mm is None or row.region is None for row in rows):
        located, warnings = _located(volume, labels, bool(found.lesions)) if regions else (None, ())
        rows = _measured(found, labels, volume, rows, located)
        dissemination = dissemination if located is None else _disseminated(rows)
        rows, dissemination = _unless_unknown(rows, dissemination)
    if dissemination is None and rows and all(row.region is not None for row in rows):
        dissemination = _disseminated(rows)
    return _Lesions(found, rows, dissemination, warnings, edited)


def _disseminated(rows: tuple[Row, ...]) -> Dissemination:
    return disseminated([row.region or UNKNOWN for row in rows], [row.diameter_mm for row in rows])


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


def _located(volume: Volume, labels: np.ndarray, has_lesions: bool) -> tuple[RegionMap | None, tuple[str, ...]]:
    """The regions of the brain, if there are lesions that need them, and what is to be known about them."""
    from ..anatomy import find_regions

    if not has_lesions:
        return None, ()
    try:
        found = find_regions(volume, labels)
    except FlairSegError as error:
        message = f"The regions of the lesions could not be found: {error.message}"
        return None, (CaseWarning(message, "regions-unknown"),)
    return found, tuple(found.warnings)


def _measured(
    found: LesionMap, labels: np.ndarray, volume: Volume, known: tuple[Row, ...], regions: RegionMap | None
) -> tuple[Row, ...]:
    """The lesions measured here; probabilities are kept from the rows that are known."""
    before = {row.number: row for row in known}
    rows = []
    for row in map(Row.of, lesion_table(labels, volume.ijk_to_ras, regions=regions, lesions=found)):
        old = before.get(row.number)
        if old is not None:
            row = replace(
                row,
                confidence=old.confidence,
                peak_probability=old.peak_probability,
                disagreement=old.disagreement,
                region=row.region if regions is not None else old.region,
            )
        rows.append(row)
    return tuple(rows)


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
