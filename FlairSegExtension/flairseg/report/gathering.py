"""From a result in memory, or from files of ``flairseg segment`` or the review archive, to a :class:`~.case.Case`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..anatomy import UNKNOWN, Dissemination
from ..anatomy import dissemination as disseminated
from ..anatomy.lesion_table import lesion_table
from ..errors import CaseWarning, FlairSegError
from ..files.hashing import file_sha256
from ..files.names import case_name
from ..files.same_input import fingerprint
from ..image.volume import Volume
from ..io.images import read_image
from ..io.label_maps import read_label_map
from ..io.label_meanings import OWN, LabelMapping
from ..lesions.components import LesionMap, find_lesions
from ..review.version_folder import (
    VERDICT,
)
from .case import (
    Case,
    Change,
    Provenance,
    Review,
    Row,
    change_of,
)
from .case_files import (
    card_of,
    find_files,
    find_flair,
    read_followup,
    read_json,
    read_review,
    sheet_beside,
    shows_image,
)
from .json_values import text
from .summary import Summary

if TYPE_CHECKING:
    from ..anatomy.regions import RegionMap
    from ..privacy.pseudonyms import Pseudonymiser
    from ..segmentation.result import Segmentation


_OTHER_IMAGES = (
    CaseWarning(
        "None of the follow-up's studies is the image of this report: check that both are of one patient.",
        "followup-of-other-images",
    ),
)


@dataclass(frozen=True)
class Reading:
    """Options for reading the files of a case.

    Attributes
    ----------
    study_date : str
        ISO date, if known; default: from summary or follow-up.
    pseudonymiser : Pseudonymiser, optional
        Names, dates and texts go through it.
    regions : bool
        Find the regions of the lesions where the files lack them (some seconds).
    meaning : LabelMapping, optional
        Meaning of the label map's values, if it is another program's.
    """

    study_date: str = ""
    pseudonymiser: Pseudonymiser | None = None
    regions: bool = True
    meaning: LabelMapping | None = None


def from_segmentation(
    segmentation: Segmentation,
    review: Review | None = None,
    followup: Change | None = None,
    study_date: str = "",
    labels: np.ndarray | None = None,
    regions: bool = True,
) -> Case:
    """The case of a result in memory.

    Parameters
    ----------
    segmentation : Segmentation
    review : Review, optional
        A reader's decision; default: not reviewed.
    followup : Change, optional
        A follow-up to this study.
    study_date : str
        ISO date, if known.
    labels : ndarray, shape (K, J, I), optional
        The labels as they were corrected, on the same grid; the lesions are then measured again.
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
    return Case(
        segmentation.volume.name,
        shown.volume,
        shown.labels,
        rows,
        _numbered(shown.lesion_map(), shown.labels.shape),
        study_date or _date_in(followup, segmentation.volume.name),
        review or Review(),
        Provenance.of_result(segmentation),
        segmentation.card,
        dissemination,
        followup,
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
        The image; default: the summary's input, an image beside the labels, or the one of the version.
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
        If the meaning of the labels is unknown.
    FlairSegError
        As :func:`~flairseg.io.reader.read_volume` for the FLAIR.
    """
    how = how or Reading()
    study_date, pseudonymiser = how.study_date, how.pseudonymiser
    files = find_files(path)
    judged = verdict if verdict is not None else files.version / VERDICT if files.version is not None else None
    review, verdict_content = read_review(judged, files)
    content = {} if files.summary is None else read_json(files.summary)
    if not content:
        content = {key: verdict_content[key] for key in ("model", "software", "case") if key in verdict_content}
    summary = Summary.from_json(content)
    change = None if followup is None else read_followup(followup)
    image = read_image(find_flair(flair, files, summary))
    ours = files.version is not None or files.summary is not None
    found = read_label_map(files.labels, image.geometry, how.meaning or (OWN if ours else None))
    labels = found.labels
    name = summary.case or files.name
    warnings = (*summary.warnings, *image.warnings, *found.warnings)
    digest, image_digest = file_sha256(files.labels), fingerprint(image)
    shown = None if change is None else shows_image(change, image, pseudonymiser)
    warnings += _OTHER_IMAGES if shown is False else ()
    if pseudonymiser is not None:
        image_digest = pseudonymiser.content_digest(image_digest)
        pseudonym = pseudonymiser.learn_path(path, name)
        for other in (files.labels, image.name, summary.provenance.input):
            if str(other).strip():
                pseudonymiser.learn_path(other, name)
        name, study_date = pseudonym, pseudonymiser.date(study_date)
        summary = Summary.from_json(pseudonymiser.content(content))
        change = None if change is None else pseudonymiser.content(change)
        warnings = pseudonymiser.warnings(warnings)
        review = replace(review, reader=pseudonymiser.person(review.reader), decided_at="", reason="")
        # The sha256 of a file would identify it to its holder.
        digest = ""
        image = replace(image, name=pseudonym)
    lesions = _lesions_of(summary, labels, image, how.regions)
    changed = None if change is None else change_of(change)
    if changed is not None and followup is not None:
        # Names and dates are written into the picture.
        sheet = sheet_beside(followup) if pseudonymiser is None else b""
        changed = replace(changed, shows_image=shown, sheet=sheet)
    return Case(
        name,
        image,
        labels,
        lesions.rows,
        _numbered(lesions.found, labels.shape),
        study_date or summary.study_date or _date_in(changed, name),
        replace(review, doubts=(*review.doubts, *(["edited"] if lesions.edited else []))),
        summary.provenance,
        card_of(summary.provenance),
        lesions.dissemination,
        changed,
        lesions.dissemination is not None,
        tuple(dict.fromkeys((*warnings, *lesions.warnings))),
        digest,
        pseudonymiser is not None,
        image_digest,
        found.classes - summary.not_assessed,
    )


def case_named(path: Path) -> str:
    """Name of the case that results belong to, from their files, else from the path."""
    try:
        files = find_files(path)
        content = {} if files.summary is None else read_json(files.summary)
        if not content and files.version is not None:
            _, content = read_review(files.version / VERDICT, files)
    except FlairSegError:
        return case_name(path)
    return text(content.get("case")) or files.name


# --- the case


@dataclass(frozen=True)
class _Lesions:
    """Lesions of a label map that was read."""

    found: LesionMap
    rows: tuple[Row, ...]
    dissemination: Dissemination | None
    warnings: tuple[str, ...] = ()
    #: Whether the summary has other lesions: the map was edited.
    edited: bool = False


def _lesions_of(summary: Summary, labels: np.ndarray, volume: Volume, regions: bool) -> _Lesions:
    """The lesions as the summary has them where it describes these labels; measured here where it does not."""
    found = find_lesions(labels, volume.ijk_to_ras)
    rows, dissemination = summary.lesions or (), summary.dissemination
    warnings: tuple[str, ...] = ()
    edited = False
    if not summary.lists(found, labels, volume):
        edited = summary.lesions is not None
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
    """Regions that are unknown for every lesion were not computed, or not found: then there are none."""
    if any(row.region not in (None, UNKNOWN) for row in rows) or not rows:
        return rows, dissemination
    return tuple(replace(row, region=None) for row in rows), None


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
                mean_probability=old.mean_probability,
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
    """The date of this case among a follow-up's studies; empty if unknown."""
    own = [study.date for study in (change.studies if change is not None else ()) if study.case == name]
    return own[-1] if own else ""
