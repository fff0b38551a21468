"""Inputs of an evaluation: a table of cases, or folders with files matched by case name."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CaseWarning
from ..files.csv_tables import on_disk, table_text
from ..files.kinds import ENDINGS
from ..files.names import MASK_WORDS, bids_name, is_common, stem_of
from ..io.dicom_segmentations import is_segmentation
from ..io.raw_reading import signature_of
from .errors import InvalidManifestError
from .foreign import REFERENCE

#: Columns of the table of cases.
REQUIRED = ("case", "prediction", "reference")
OPTIONAL = ("method", "probabilities", "site", "disease", "image")
#: Name of the method if the table gives none.
DEFAULT_METHOD = "prediction"
#: Name endings of probability maps, like :data:`~flairseg.files.names.MASK_WORDS` of masks; the rest is the case.
_PROBABILITIES = ("_probabilities", "_probability", "_prob", "_probs", "_pmap")
#: Depth of subfolders that are searched: subject, session, kind.
_DEPTH = 3
#: BIDS entities of masks that their image does not have.
_LIKE_IMAGES = frozenset({"desc", "label", "res", "den", "atlas", "seg", "space"})
#: Fixed file names of tools, equal for every case: ``space-flair_seg-lst``, ``space-flair_desc-annotated_seg-lst``.
_ENTITIES_ONLY = re.compile(r"(?!sub-)[a-z]+-[0-9a-z+.]+(_[a-z]+-[0-9a-z+.]+)*", re.IGNORECASE)
_SEGMENTED = re.compile(r"(^|_)(seg|label)-", re.IGNORECASE)
#: Part of the names of masks with locations, of which a case may have one besides its plain mask.
_ANNOTATED = ("desc-annotated",)
_LABELS = "labels"
_IMAGE_ENDINGS = ("_flair", "-flair")
_COLUMNS_ADVICE = f"The first line names the columns: {', '.join(REQUIRED)}, and optionally {', '.join(OPTIONAL)}."


@dataclass(frozen=True)
class EvaluationCase:
    """A mask of a method and its reference.

    Attributes
    ----------
    case, method : str
    prediction, reference : Path
    probabilities : Path or None
        Class probabilities, see :func:`~.masks.read_probabilities`.
    image : Path or None
        The FLAIR, for overlays.
    site, disease : str
        Groups for statistics; may be empty.
    """

    case: str
    method: str
    prediction: Path
    reference: Path
    probabilities: Path | None = None
    image: Path | None = None
    site: str = ""
    disease: str = ""


def read_manifest(path: str | Path) -> list[EvaluationCase]:
    """Read the cases of a CSV table (comma, semicolon or tab; UTF-8 or UTF-16; with or without Excel's ``sep=`` line).

    Parameters
    ----------
    path : str or Path
        Columns :data:`REQUIRED` and any of :data:`OPTIONAL`; others are ignored. Paths are relative to the folder of
        the table. The files are not read here.

    Returns
    -------
    list of EvaluationCase

    Raises
    ------
    InvalidManifestError
        If the table is invalid; with the line number.
    """
    path = Path(path)
    try:
        table = table_text(path.read_bytes())
    except OSError as error:
        raise InvalidManifestError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path of the table and its permissions."
        ) from error
    if table.encoding == "cp1252" or "\0" in table.body:
        # Guessing the code page could change names.
        raise InvalidManifestError(f"{path.name} is not UTF-8 text.", "Save it as CSV in UTF-8.")
    rows = csv.reader(io.StringIO(table.body), delimiter=table.delimiter)
    columns = [name.strip().lower() for name in next(rows, [])]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InvalidManifestError(f"{path.name} has no column {', '.join(missing)}.", _COLUMNS_ADVICE)
    doubled = sorted({name for name in (*REQUIRED, *OPTIONAL) if columns.count(name) > 1})
    if doubled:
        raise InvalidManifestError(f"{path.name} has the column {', '.join(doubled)} twice.", _COLUMNS_ADVICE)
    cases = []
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                fields = {name: cell.strip() for name, cell in zip(columns, row, strict=False)}
                cases.append(_case(path, rows.line_num + table.skipped_lines, fields))
    except csv.Error as error:
        raise InvalidManifestError(
            f"{path.name}, line {rows.line_num + table.skipped_lines}, is not CSV: {error}.",
            "Save the table as CSV again.",
        ) from error
    if not cases:
        raise InvalidManifestError(f"{path.name} lists no case.", _COLUMNS_ADVICE)
    return checked(cases, path.name)


def _case(path: Path, line: int, fields: Mapping[str, str]) -> EvaluationCase:
    empty = [name for name in REQUIRED if not fields.get(name)]
    if empty:
        raise InvalidManifestError(f"{path.name}, line {line}, has no {', '.join(empty)}.", _COLUMNS_ADVICE)

    def file(name: str) -> Path | None:
        text = fields.get(name, "")
        return on_disk(path.parent / text) if text else None

    return EvaluationCase(
        unicodedata.normalize("NFC", fields["case"]),
        fields.get("method") or DEFAULT_METHOD,
        on_disk(path.parent / fields["prediction"]),
        on_disk(path.parent / fields["reference"]),
        file("probabilities"),
        file("image"),
        fields.get("site", ""),
        fields.get("disease", ""),
    )


def checked(cases: Sequence[EvaluationCase], where: str) -> list[EvaluationCase]:
    """Return the cases if they are consistent.

    Raises
    ------
    InvalidManifestError
        If a method has a case twice, or a case has several references, sites or diseases.
    """
    if any(case.method == REFERENCE for case in cases):
        raise InvalidManifestError(
            f"No method can be named {REFERENCE}: that name denotes the references.", "Choose another name."
        )
    seen: set[tuple[str, str]] = set()
    first: dict[str, EvaluationCase] = {}
    for case in cases:
        if (case.case, case.method) in seen:
            raise InvalidManifestError(
                f"{where} has the case {case.case} of {case.method} twice.",
                "Give each case of a method one line; distinguish methods in the column method.",
                case=case.case,
            )
        seen.add((case.case, case.method))
        other = first.setdefault(case.case, case)
        for name in ("reference", "site", "disease"):
            if getattr(other, name) != getattr(case, name):
                raise InvalidManifestError(
                    f"{where} gives the case {case.case} two different entries of {name}.",
                    "A case is one patient with one reference: use another case name for the other one.",
                    case=case.case,
                )
    return list(cases)


def match_folders(
    predictions: Mapping[str, str | Path], references: str | Path, images: str | Path | None = None
) -> tuple[list[EvaluationCase], list[CaseWarning]]:
    """Match predictions with references by case name.

    Files are images of the supported formats and DICOM Segmentation objects (``.dcm``). The case name is formed from
    BIDS entities, else from the file name without format (``.nii.gz`` etc.) and kind (``_labels``, ``_truth``,
    ``_flair_labels`` etc.). If nothing remains (``sub-01/labels.nii.gz``), for fixed names of tools
    (``space-flair_seg-lst.nii.gz``), and if files in several folders have the same name, it is formed from the
    folders.
    Names are compared in Unicode NFC. ``<stem>_probabilities`` beside a prediction is used.

    Parameters
    ----------
    predictions : mapping of str to path
        Method -> folder of its masks.
    references : path
        Folder of the references.
    images : path, optional
        Folder of the FLAIR volumes, for overlays; default: those beside the references.

    Returns
    -------
    list of EvaluationCase
        Sorted by case, then in the order of methods.
    list of CaseWarning
        Files that could not be matched.

    Raises
    ------
    InvalidManifestError
        If a folder cannot be read, two files have the same case name, or nothing matches.
    """
    truth, _, pictures = _files(Path(references), "the references")
    if images is not None:
        _, _, more = _files(Path(images), "the images", images_only=True)
        pictures = {**pictures, **more}
    cases, told = [], []
    matched: set[str] = set()
    for method, folder in predictions.items():
        masks, probabilities, _ = _files(Path(folder), f"the predictions of {method}")
        both = sorted(masks.keys() & truth.keys())
        if not both:
            raise InvalidManifestError(
                f"No file of {method} has the name of a reference ({_some(masks)}; references: {_some(truth)}).",
                "Rename the files so that their case names agree, or list the pairs in a table.",
                code="no-common-case",
                cases=sorted(masks.keys() | truth.keys()),
            )
        alone = sorted(masks.keys() - truth.keys())
        if alone:
            text = f"{method} has {len(alone)} masks without a reference, left out: {_some(alone)}."
            told.append(CaseWarning(text, "mask-without-reference"))
        lacking = sorted(truth.keys() - masks.keys())
        if lacking:
            text = f"{method} has no mask of {len(lacking)} references: {_some(lacking)}."
            told.append(CaseWarning(text, "reference-without-mask"))
        for case in both:
            matched.add(case)
            cases.append(
                EvaluationCase(case, method, masks[case], truth[case], probabilities.get(case), pictures.get(case))
            )
    order = list(predictions)
    cases.sort(key=lambda c: (c.case, order.index(c.method)))
    return checked(cases, "The folders"), told


def _files(
    folder: Path, holding: str, images_only: bool = False
) -> tuple[dict[str, Path], dict[str, Path], dict[str, Path]]:
    """Label maps, probabilities and images in a folder and its subfolders, by case name."""
    try:
        found = sorted(_images_in(folder, _DEPTH))
    except OSError as error:
        raise InvalidManifestError(
            f"The folder {folder} of {holding} cannot be read: {error.strerror or error}.",
            "Check the path for typing errors.",
        ) from error
    places: dict[str, set[Path]] = {}
    for path in found:
        places.setdefault(unicodedata.normalize("NFC", path.name), set()).add(path.parent)
    labels: dict[str, list[tuple[bool, Path]]] = {}
    probabilities: dict[str, Path] = {}
    images: dict[str, Path] = {}
    for path in found:
        repeated = len(places[unicodedata.normalize("NFC", path.name)]) > 1
        case, kind = _name_of(path, folder, repeated)
        if kind == "image" or (images_only and kind == "other"):
            images[case] = path
        elif kind == "probabilities":
            probabilities[case] = path
        else:
            labels.setdefault(case, []).append((kind == "labels", path))
    return {case: _one(case, paths, holding) for case, paths in labels.items()}, probabilities, images


def _images_in(folder: Path, depth: int) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if depth:
                yield from _images_in(entry, depth - 1)
        elif any(entry.name.lower().endswith(e) for e in ENDINGS) or _is_dicom_seg(entry):
            yield entry


def _is_dicom_seg(path: Path) -> bool:
    """Whether a file is a DICOM Segmentation object, unlike images and reports in the same folder."""
    return path.suffix.lower() == ".dcm" and is_segmentation(path)


def _name_of(path: Path, top: Path, repeated: bool = False) -> tuple[str, str]:
    """Case name of a file, and its kind: ``labels``, ``probabilities``, ``image``, or ``other`` where unknown."""
    # Segmentations of Slicer have the ending .seg.nrrd.
    name = unicodedata.normalize("NFC", re.sub(r"\.seg$", "_seg", stem_of(path), flags=re.IGNORECASE))
    lower, kind = "_" + name.lower(), "other"
    ending = next((e for e in _PROBABILITIES if lower.endswith(e)), None)
    if ending is not None:
        lower, kind = lower.removesuffix(ending), "probabilities"
    else:
        ending = next((e for e in MASK_WORDS if lower.endswith(e)), None)
        if ending is not None:
            lower, kind = lower.removesuffix(ending), "labels"
    for ending in _IMAGE_ENDINGS:
        if lower.endswith(ending):
            lower = lower.removesuffix(ending)
            kind = "image" if kind == "other" else kind
            break
    case = name[: max(0, len(lower) - 1)]
    if kind == "other" and _ENTITIES_ONLY.fullmatch(case) and _SEGMENTED.search(case):
        kind = "labels"
    by_bids = bids_name(path.with_name(case or _LABELS), _LIKE_IMAGES)
    if by_bids:
        return by_bids, kind
    inside = path.parent != top
    if inside and (not case or repeated or _ENTITIES_ONLY.fullmatch(case) or is_common(case)):
        return _folder_case(path, top), kind
    return case or name, kind


def _folder_case(path: Path, top: Path) -> str:
    """Case name from the folders between the top and a file, without generic last names (``p1/anat/seg``)."""
    parts = [unicodedata.normalize("NFC", part) for part in path.parent.relative_to(top).parts]
    while len(parts) > 1 and is_common(parts[-1]) and not any(c.isdigit() for c in parts[-1]):
        parts.pop()
    return "_".join(parts)


def _one(case: str, found: Sequence[tuple[bool, Path]], holding: str) -> Path:
    """Select the label map of a case: names with a known kind first, ``_labels`` before ``.seg.nrrd``.

    If several remain, the one that FlairSeg wrote as label map is used: a cohort has lesion masks
    (``_desc-lesion_mask``) beside its label maps (``_dseg``).
    """
    said = [path for is_labels, path in found if is_labels] or [path for _, path in found]
    own = [path for path in said if stem_of(path).lower().endswith(("_labels", "labels"))]
    plain = [path for path in said if not any(word in path.name.lower() for word in _ANNOTATED)]
    candidates = own or plain or said
    if len(candidates) > 1:
        signed = [path for path in candidates if _is_own_label_map(path)]
        candidates = signed if len(signed) == 1 else candidates
    if len(candidates) > 1:
        names = ", ".join(os.path.join(p.parent.name, p.name) for p in candidates[:3])
        raise InvalidManifestError(
            f"The folder of {holding} has several masks of the case {case} ({names}).",
            "Keep one of them there, or list the pairs in a table.",
            code="several-masks-of-a-case", case=case, files=[str(path) for path in candidates],
        )  # fmt: skip
    return candidates[0]


def _is_own_label_map(path: Path) -> bool:
    try:
        return signature_of(path) == "labels"
    except (OSError, EOFError):
        return False


def _some(names: Iterable[str]) -> str:
    known = sorted(names)
    return ", ".join(known[:5]) + (", ..." if len(known) > 5 else "") if known else "none"
