"""A first protocol from folders: images and masks matched by case name, for review and completion."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputNotFoundError, OutputError
from ..files.atomic import all_or_none
from ..files.kinds import ENDINGS
from ..files.names import is_made, stem_of
from ..io.label_meanings import LabelMapping
from ..labels import CLASS_BY_VALUE, LESION
from .protocol import PROTOCOL_FORMAT
from .protocol_reading import parse_protocol
from .records import ACCEPTABILITY

#: Endings of a mask's name after the case's; results of `flairseg segment` come first.
_MASK_ENDINGS = ("_labels", "_mask", "_truth", "_seg", "")
_INSIDE = ("labels", "mask", "truth", "seg")


@dataclass(frozen=True)
class Draft:
    """A protocol that was drafted.

    Attributes
    ----------
    content : dict
        The JSON.
    left_out : tuple of str
        Cases without a mask of every arm, as sentences.
    """

    content: dict[str, Any]
    left_out: tuple[str, ...]


def draft_protocol(
    design: StudyDesign,
    images: Path,
    arms: Mapping[str, Path],
    folder: Path | None = None,
    binary: bool = False,
    labels: Mapping[str, LabelMapping] | None = None,
) -> Draft:
    """Draft a protocol: S5's question, every case with every arm, each rater with an individual seed.

    Parameters
    ----------
    design : StudyDesign
    images : Path
        Folder of FLAIR images (``<case>.nii.gz``, or ``<case>/flair.nii.gz``).
    arms : mapping of str to Path
        Arm -> folder of its masks: ``<case>_labels.nii.gz``, ``<case>.seg.nrrd``, ``<case>.nii.gz``,
        ``<case>/labels.nii.gz`` and similar.
    folder : Path, optional
        The protocol's own folder: paths below it are written relative to it.
    binary : bool
        Lesions have value 1, not the project's own numbering.
    labels : mapping of str to LabelMapping, optional
        Arm -> meaning of the values of its masks, if made by another program.

    Raises
    ------
    InputNotFoundError
        If no case has an image and a mask of every arm; code ``two-files-of-a-case`` if a case has two images, or two
        masks of an arm that could belong to different images.
    ProtocolError
        If the result is not valid (an arm's or rater's name that is no id).
    """
    cases, left_out = [], []
    for name, flair in _images(images).items():
        listed = []
        for arm, masks in arms.items():
            mask = _mask(masks, name)
            if mask is None:
                left_out.append(f"{name}: no mask of {arm}")
                continue
            meaning = _classes(binary, (labels or {}).get(arm))
            listed.append({"id": arm, "mask": _relative(mask, folder), **_model(mask), **meaning})
        if len(listed) == len(arms):
            cases.append({"id": name, "flair": _relative(flair, folder), "arms": listed})
    if not cases:
        raise InputNotFoundError(
            f"No image in {images} has a mask of every arm.",
            "Name images and masks consistently: <case>.nii.gz and <case>_labels.nii.gz.",
        )
    return draft_of(design, cases, left_out)


@dataclass(frozen=True)
class StudyDesign:
    """Settings of a draft, besides its cases.

    Attributes
    ----------
    study_id : str
    raters : tuple of str
        Codes.
    repeats : int
        Showings of each mask to each rater.
    """

    study_id: str
    raters: tuple[str, ...]
    repeats: int = 2


def draft_of(design: StudyDesign, cases: Sequence[Mapping[str, Any]], left_out: Sequence[str] = ()) -> Draft:
    """Draft a protocol of cases that are known already.

    Parameters
    ----------
    design : StudyDesign
    cases : sequence of mapping
        As in the protocol: ``id``, ``flair``, ``arms`` with ``id``, ``mask`` and further known fields.
    left_out : sequence of str
        Cases left out of the draft.

    Raises
    ------
    ProtocolError
        If the result is not valid (an arm's, case's or rater's name that is no id).
    """
    repeats = design.repeats
    content = {
        "flairseg_study": PROTOCOL_FORMAT,
        "id": design.study_id,
        "version": "1.0",
        "title": "Are these lesion masks acceptable?",
        "instructions": "Click on every false-positive lesion, and on every missed lesion.",
        "cases": [dict(case) for case in cases],
        "raters": [{"id": rater, "seed": 1000 + n} for n, rater in enumerate(design.raters, 1)],
        "repeats": repeats,
        "mirror_repeats": False,
        "washout": {"cases": min(5, len(cases) - 1) if repeats > 1 else 0, "arms": min(1, len(cases) - 1), "days": 0},
        "blinding": "full",
        "questions": [
            {"id": "acceptable", "text": "Is this mask clinically acceptable?", "type": ACCEPTABILITY, "threshold": 0.9}
        ],
        "confidence": True,
        "comment": True,
        "display": {"layout": "acquisition-plane", "overlay": "outline", "overlay_opacity": 1.0},
    }
    parse_protocol(content)
    return Draft(content, tuple(left_out))


def write_draft(draft: Draft, path: Path) -> Path:
    """Write a draft as JSON; an existing file is kept.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    path = Path(os.path.abspath(path))
    if path.exists():
        raise OutputError(f"{path} exists already.", "It was kept. Name another file.")
    with all_or_none(path.parent, [path.name]) as drafts:
        text = json.dumps(draft.content, indent=2, ensure_ascii=False)
        (drafts / path.name).write_text(text + "\n", encoding="utf-8")
    return path


def _images(folder: Path) -> dict[str, Path]:
    """Case -> image, by name."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputNotFoundError(
            f"The folder {folder} cannot be read: {error.strerror or error}.", "Check the path for typing errors."
        ) from error
    found: dict[str, Path] = {}
    for entry in entries:
        if entry.is_dir():
            inside = next((entry / f"flair{e}" for e in ENDINGS if (entry / f"flair{e}").is_file()), None)
            if inside is not None:
                _add(found, entry.name, inside)
        elif any(entry.name.lower().endswith(e) for e in ENDINGS):
            stem = stem_of(entry)
            if not is_made(stem):
                _add(found, stem.removesuffix("_flair"), entry)
    return found


def _add(found: dict[str, Path], case: str, path: Path) -> None:
    """Note the image of a case; a second one is refused."""
    if (other := found.setdefault(case, path)) is not path:
        raise _two_files(case, other, path)


def _mask(folder: Path, case: str) -> Path | None:
    """The mask of a case: one of the names of its image, with the first of the known endings."""
    places = {
        case: [folder / f"{case}{ending}" for ending in _MASK_ENDINGS],
        f"{case}_flair": [folder / f"{case}_flair{ending}" for ending in _MASK_ENDINGS],
        "folder": [folder / case / stem for stem in _INSIDE],
    }
    found = [
        next((path for stem in stems for e in (*ENDINGS, ".seg.nrrd") if (path := Path(f"{stem}{e}")).is_file()), None)
        for stems in places.values()
    ]
    masks = [path for path in found if path is not None]
    if len(masks) > 1:
        raise _two_files(case, *masks[:2])
    return masks[0] if masks else None


def _two_files(case: str, one: Path, other: Path) -> InputNotFoundError:
    return InputNotFoundError(
        f"{one} and {other} are both named as the case {case}: it is unclear which of them belongs to it.",
        "Rename one of them, or move it out of the folder.",
        code="two-files-of-a-case", case=case, file=str(one), other=str(other),
    )  # fmt: skip


def _model(mask: Path) -> dict[str, str]:
    """Model of a mask that `flairseg segment` wrote, from the summary beside it."""
    summary = mask.with_name(f"{stem_of(mask).removesuffix('_labels')}_summary.json")
    try:
        model = json.loads(summary.read_text(encoding="utf-8"))["model"]
        return {"model": str(model["id"]), "model_sha256": str(model["sha256"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _classes(binary: bool, mapping: LabelMapping | None) -> dict[str, Any]:
    if mapping is not None:
        named = {str(value): CLASS_BY_VALUE[c].id for value, c in mapping.values.items() if value > 0 and c}
        # Presets and names of segments have no values to list.
        return {"classes": named} if named and not mapping.names else {"labels": mapping.name}
    return {"classes": {"1": CLASS_BY_VALUE[LESION].id}} if binary else {}


def _relative(path: Path, folder: Path | None) -> str:
    path = Path(os.path.abspath(path))
    if folder is None:
        return path.as_posix()
    base = Path(os.path.abspath(folder))
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()
