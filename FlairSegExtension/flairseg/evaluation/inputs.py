"""Which files are compared with which: a table of cases, or folders whose files are matched by case name."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..reading import ENDINGS, case_name
from .errors import InvalidManifestError
from .foreign import REFERENCE

#: Columns of the table of cases.
REQUIRED = ("case", "prediction", "reference")
OPTIONAL = ("method", "probabilities", "site", "disease", "image")
#: The method's name where the table does not give one.
DEFAULT_METHOD = "prediction"
#: What a file is, by the end of its name; the rest of the name is the case.
_LABEL_ENDINGS = (
    "_desc-lesion_mask", "_labels", "_label", "_truth", "_reference", "_gt", "_seg", "_segmentation", "_mask",
    "_lesions", "_lesion", "_wmh",
)  # fmt: skip
_PROBABILITIES = "_probabilities"
_IMAGE_ENDINGS = ("_flair", "-flair")
_COLUMNS_ADVICE = f"The first line names the columns: {', '.join(REQUIRED)}, and perhaps {', '.join(OPTIONAL)}."


@dataclass(frozen=True)
class EvaluationCase:
    """One mask of one method to be compared with its reference.

    Attributes
    ----------
    case, method : str
    prediction, reference : Path
    probabilities : Path or None
        Of the classes, see :func:`~.masks.read_probabilities`.
    image : Path or None
        The FLAIR, for overlays.
    site, disease : str
        Groups; may be empty.
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
    """The cases of a CSV table (comma, semicolon or tab; UTF-8).

    Parameters
    ----------
    path : str or Path
        Columns :data:`REQUIRED` and any of :data:`OPTIONAL`; others are left alone. Relative paths start at the table's
        folder. Files are not looked at yet.

    Returns
    -------
    list of EvaluationCase

    Raises
    ------
    InvalidManifestError
        With the number of the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidManifestError(f"{path.name} is no UTF-8 text.", "Save it as CSV in UTF-8.") from error
    except OSError as error:
        raise InvalidManifestError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path of the table and its permissions."
        ) from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
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
                cases.append(_case(path, rows.line_num, fields))
    except csv.Error as error:
        raise InvalidManifestError(
            f"{path.name}, line {rows.line_num}, is no CSV: {error}.", "Save the table as CSV again."
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
        return (path.parent / text) if text else None

    return EvaluationCase(
        fields["case"],
        fields.get("method") or DEFAULT_METHOD,
        path.parent / fields["prediction"],
        path.parent / fields["reference"],
        file("probabilities"),
        file("image"),
        fields.get("site", ""),
        fields.get("disease", ""),
    )


def checked(cases: Sequence[EvaluationCase], where: str) -> list[EvaluationCase]:
    """The cases, if no method has a case twice and a case has one reference, site and disease.

    Raises
    ------
    InvalidManifestError
    """
    if any(case.method == REFERENCE for case in cases):
        raise InvalidManifestError(
            f"No method can be called {REFERENCE}: that name stands for the references.", "Choose another name."
        )
    seen: set[tuple[str, str]] = set()
    first: dict[str, EvaluationCase] = {}
    for case in cases:
        if (case.case, case.method) in seen:
            raise InvalidManifestError(
                f"{where} has the case {case.case} of {case.method} twice.",
                "Give each case of a method one line; tell methods apart in the column method.",
            )
        seen.add((case.case, case.method))
        other = first.setdefault(case.case, case)
        for name in ("reference", "site", "disease"):
            if getattr(other, name) != getattr(case, name):
                raise InvalidManifestError(
                    f"{where} gives the case {case.case} two different entries of {name}.",
                    "A case is one patient with one reference: use another case name for the other one.",
                )
    return list(cases)


def match_folders(
    predictions: Mapping[str, str | Path], references: str | Path, images: str | Path | None = None
) -> tuple[list[EvaluationCase], list[str]]:
    """Cases of folders whose files have the same case name.

    A case's name is its file's name without the known endings (``.nii.gz``, ...) and without what says what it is
    (``_labels``, ``_truth``, ``_flair_labels``, ...); a file that is called nothing else (``sub-01/labels.nii.gz``) has
    the name of its folder. ``<stem>_probabilities`` beside a prediction is used.

    Parameters
    ----------
    predictions : mapping of str to path
        Method -> its folder.
    references : path
    images : path, optional
        Folder of the FLAIR volumes, for overlays; without it those beside the references.

    Returns
    -------
    list of EvaluationCase
        Sorted by case, then in the order of the methods.
    list of str
        What could not be matched, in words.

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
            )
        alone = sorted(masks.keys() - truth.keys())
        if alone:
            told.append(f"{method} has {len(alone)} masks without a reference, left out: {_some(alone)}.")
        lacking = sorted(truth.keys() - masks.keys())
        if lacking:
            told.append(f"{method} has no mask of {len(lacking)} references: {_some(lacking)}.")
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
    """Label maps, probabilities and images of a folder (and the folders in it), by case name."""
    try:
        found = sorted(
            p
            for p in (*folder.iterdir(), *(f for d in folder.iterdir() if d.is_dir() for f in d.iterdir()))
            if p.is_file() and any(p.name.lower().endswith(e) for e in ENDINGS) and not p.name.startswith(".")
        )
    except OSError as error:
        raise InvalidManifestError(
            f"The folder {folder} of {holding} cannot be read: {error.strerror or error}.",
            "Check the path for typing errors.",
        ) from error
    labels: dict[str, list[tuple[bool, Path]]] = {}
    probabilities: dict[str, Path] = {}
    images: dict[str, Path] = {}
    for path in found:
        case, kind = _name_of(path, folder)
        if kind == "image" or (images_only and kind == "other"):
            images[case] = path
        elif kind == "probabilities":
            probabilities[case] = path
        else:
            labels.setdefault(case, []).append((kind == "labels", path))
    return {case: _one(case, paths, holding) for case, paths in labels.items()}, probabilities, images


def _name_of(path: Path, top: Path) -> tuple[str, str]:
    """Case name of a file, and whether it is ``labels``, ``probabilities``, ``image``, or does not say: ``other``."""
    # Slicer's segmentations end in .seg.nrrd.
    name = re.sub(r"\.seg$", "_seg", case_name(path), flags=re.IGNORECASE)
    lower, kind = "_" + name.lower(), "other"
    if lower.endswith(_PROBABILITIES):
        lower, kind = lower.removesuffix(_PROBABILITIES), "probabilities"
    else:
        ending = next((e for e in _LABEL_ENDINGS if lower.endswith(e)), None)
        if ending is not None:
            lower, kind = lower.removesuffix(ending), "labels"
    for ending in _IMAGE_ENDINGS:
        if lower.endswith(ending):
            lower = lower.removesuffix(ending)
            kind = "image" if kind == "other" else kind
            break
    case = name[: max(0, len(lower) - 1)]
    if case:
        return case, kind
    return (path.parent.name if path.parent != top else name), kind


def _one(case: str, found: Sequence[tuple[bool, Path]], holding: str) -> Path:
    """The label map of a case; files that say what they are go before others, ``_labels`` before ``.seg.nrrd``."""
    said = [path for is_labels, path in found if is_labels] or [path for _, path in found]
    own = [path for path in said if case_name(path).lower().endswith(("_labels", "labels"))]
    candidates = own or said
    if len(candidates) > 1:
        names = ", ".join(os.path.join(p.parent.name, p.name) for p in candidates[:3])
        raise InvalidManifestError(
            f"The folder of {holding} has several masks of the case {case} ({names}).",
            "Keep one of them there, or list the pairs in a table.",
            code="several-masks-of-a-case",
        )
    return candidates[0]


def _some(names) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none"
