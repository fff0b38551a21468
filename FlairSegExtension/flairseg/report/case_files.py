"""The files of a case for its report: found by one of them, read with limits, checked for belonging together."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FlairSegError, InputNotFoundError, UnreadableImageError, UnsuitableMaskError
from ..files.hashing import file_sha256
from ..files.kinds import ENDINGS as IMAGE_ENDINGS
from ..files.names import mask_case_name, stem_of, without_mask_words
from ..files.same_input import FINGERPRINT, fingerprint
from ..files.summary_paths import find_input
from ..image.footing import footed
from ..image.volume import Volume
from ..io.label_maps import read_label_map
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
    Provenance,
    Review,
    change_of,
)
from .json_values import mapping, sequence, text, whole
from .summary import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models.card import ModelCard
    from ..privacy.pseudonyms import Pseudonymiser

#: Longest JSON file that is read, bytes: a summary with thousands of lesions has one.
_MAXIMUM_JSON_BYTES = 50_000_000
#: Largest picture of a follow-up that is shown.
_MAXIMUM_PICTURE_BYTES, _MAXIMUM_PIXELS = 30_000_000, 60_000_000
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
_GIVE = (
    "Give <name>_labels.nii.gz or <name>_summary.json of flairseg segment, or the folder <case>/v<NNN> of a version."
)


@dataclass(frozen=True)
class CaseFiles:
    """Paths of a case's files."""

    name: str
    labels: Path
    summary: Path | None = None
    version: Path | None = None


def find_files(path: Path) -> CaseFiles:
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
        return CaseFiles(folder.absolute().parent.name, folder / LABELS, version=folder)
    for own, other in ((ENDINGS["labels"], ENDINGS["summary"]), (ENDINGS["summary"], ENDINGS["labels"])):
        if path.name.endswith(own):
            stem = path.name.removesuffix(own)
            sibling = path.with_name(stem + other)
            labels, summary = (path, sibling) if own == ENDINGS["labels"] else (sibling, path)
            if not labels.is_file():
                raise InputNotFoundError(
                    f"The label map {labels.name} is not beside {path.name}.", "Put the files together again."
                )
            if summary.is_file():
                return CaseFiles(stem, labels, summary)
            return CaseFiles(mask_case_name(labels), labels)
    if path.name == LABELS and (path.parent / VERDICT).is_file():
        return CaseFiles(path.absolute().parent.parent.name, path, version=path.parent)
    if path.name.lower().endswith((*IMAGE_ENDINGS, ".dcm")):
        return CaseFiles(mask_case_name(path), path)
    raise InputNotFoundError(f"{path.name} is neither a label map nor a summary.", _GIVE)


def find_flair(flair: Path | None, files: CaseFiles, summary: Summary) -> Path:
    """The FLAIR: the one named, of the version, or found by the summary or beside the labels."""
    if flair is not None:
        return flair
    if files.version is not None:
        return flair_file(files.version)
    folder = files.labels.absolute().parent
    own, _ = without_mask_words(stem_of(files.labels).removesuffix(".seg"))
    beside = (str(folder / f"{name}{ending}") for name in (files.name, own) if name for ending in IMAGE_ENDINGS)
    for named in (summary.provenance.input, *beside):
        found = find_input(named, folder, summary.grid)
        if found is not None and found != files.labels.absolute():
            return found
    _refuse_image(files.labels)
    raise InputNotFoundError(
        f"The FLAIR that {files.labels.name} was made from was not found.", "Name it.", code="flair-not-found"
    )


def _refuse_image(labels: Path) -> None:
    """Raise an error if what was given as a label map is an image, of which no FLAIR can be found."""
    try:
        read_label_map(labels)
    except UnsuitableMaskError as error:
        if error.code == "image-not-labels":
            raise UnsuitableMaskError(error.message, _GIVE, code="image-not-result") from error
    except FlairSegError:
        return


def sheet_beside(followup: Path) -> bytes:
    """The picture of a follow-up, PNG, re-encoded from its pixels; empty where there is none, or no usable one."""
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


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Raises
    ------
    InputNotFoundError, UnreadableImageError
    """
    try:
        if path.stat().st_size > _MAXIMUM_JSON_BYTES:
            raise ValueError("too long")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputNotFoundError(f"There is no file {path}.", "Check the path for typing errors.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableImageError(
            f"{path.name} cannot be read as JSON.", "Create it again, or restore it from a backup."
        ) from error
    if not isinstance(content, dict):
        raise UnreadableImageError(f"{path.name} holds no summary.", "Create it again, or restore it from a backup.")
    return content


def read_followup(path: Path) -> dict[str, Any]:
    """Content of a ``followup.json``; raises as :func:`read_json`, and where it has fewer than two studies."""
    content = read_json(path)
    if change_of(content) is None:
        raise UnreadableImageError(
            f"{path.name} is not a follow-up of two or more studies.", "Give the followup.json of flairseg follow."
        )
    return content


def shows_image(followup: Mapping[str, Any], image: Volume, pseudonymiser: Pseudonymiser | None) -> bool | None:
    """Whether a study of a ``followup.json`` is this image, by its fingerprint; None where a study has none."""
    stated = {text(mapping(study).get(FINGERPRINT)) for study in sequence(followup.get("studies"))}
    if "" in stated:
        return None
    own = {fingerprint(image), fingerprint(footed(image))}
    if pseudonymiser is not None:
        own |= {pseudonymiser.content_digest(digest) for digest in own}
    return not own.isdisjoint(stated)


def read_review(path: Path | None, files: CaseFiles) -> tuple[Review, dict[str, Any]]:
    """The content of a ``verdict.json`` and whether it refers to these labels; invalid content is no error.

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
        content = read_json(path)
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
        doubts = ("changed",) if problems_in(files.version, hashes) else ()
    elif hashes.get(LABELS) == file_sha256(files.labels):
        doubts = ()
    else:
        doubts = ("other_labels",) if verdict.verdict == ACCEPTED_AFTER_EDITS else ("unproven",)
        if _names_another_case(text(content.get("case")), files):
            return replace(review, doubts=("other_case", *doubts)), content
    return replace(review, doubts=doubts), content


def _names_another_case(named: str, files: CaseFiles) -> bool:
    """Whether a verdict names neither a case nor its image, as ``P7`` or ``P7_flair``."""
    known = {files.name, text(read_json(files.summary).get("case")) if files.summary is not None else ""} - {""}
    named = named.casefold()
    return bool(named) and not any(
        named.startswith(name.casefold()) or name.casefold().startswith(named) for name in known
    )


def card_of(provenance: Provenance) -> ModelCard | None:
    """Card of the model that made a segmentation, if the same one is on this computer."""
    from ..models.store import find_model

    try:
        card = find_model(provenance.model_id) if _MODEL_ID.fullmatch(provenance.model_id) else None
    except FlairSegError:
        return None
    return card if card is not None and card.sha256 == provenance.model_sha256 else None
