"""Names of cases, and of the files of their results: one rule for every command, the review archive and Slicer.

A case's name depends on its input alone, never on what else is processed with it:

1. the name that the user gave;
2. BIDS entities of file or folders (``sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz`` is ``sub-01_ses-2``;
   https://bids-specification.readthedocs.io/en/stable/common-principles.html#entities);
3. PatientID and StudyDate of DICOM (``P0_20240102``), where they identify anyone;
4. the file's or folder's own name; a name that any case could have (``flair``, ``image1``, ``study1``, a date) is
   preceded by the folders above it, up to the first that is more specific (``patient7/2024/flair.nii.gz`` is
   ``patient7_2024_flair``).

Names are composed (Unicode NFC), so that a name typed on a Mac is the same name elsewhere, and hold nothing that a file
system refuses.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ..errors import FlairSegError
from .dicom_identity import identity_in
from .safe_names import MAXIMUM_STEM_BYTES, folded, marked, safe_name

#: Endings of image files; the longest that fits counts.
IMAGE_ENDINGS = (
    ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".hdr", ".img.gz", ".img", ".dcm",
)  # fmt: skip
#: Slicer's segmentation files.
_SEGMENTATION = ".seg"
#: Parts of a label map's name besides the case.
MASK_WORDS = (
    "_desc-lesion_mask", "_lesion_mask", "_labels", "_label", "_truth", "_reference", "_gt", "_segmentation", "_seg",
    "_dseg", "_mask", "_lesions", "_lesion", "_wmh",
)  # fmt: skip
#: Parts of the name of a file that was computed from an image and is not a label map.
MADE_WORDS = (
    "_probabilities",
    "_disagreement",
    "_change",
    "_subtraction",
    "_overview",
    "_probseg",
    "_probability",
)
#: Images that ``flairseg follow`` brought to its half-way space; what another program registered is an image to read.
_REGISTERED = re.compile(r"_study\d+_registered$")
#: Entities that describe how a derivative was made, not its source.
_DERIVED_ENTITIES = frozenset({"desc", "label", "res", "den", "atlas", "seg"})
#: Words beside BIDS entities that only mark the FLAIR, or its DICOM folder.
_FLAIR_WORDS = frozenset({"flair", "t2flair", "dicom", "dicoms", "dcm"})
#: Words that describe an image or its position, not the patient.
_SEQUENCE_WORDS_TEXT = """
flair t2flair t1 t2 t1w t2w t2star pd dwi adc swi mprage space 2d 3d ax axial tra transversal sag sagittal cor
coronal fs fatsat tse fse ir dark fluid t
"""
_SEQUENCE_WORDS = frozenset(_SEQUENCE_WORDS_TEXT.split())
_COMMON_WORDS_TEXT = """
image images img imgs volume volumes vol scan scans series serie se study studies exam session sessions ses visit
visits v timepoint tp time baseline followup follow up fu input inputs output outputs data dataset dicom dicoms dcm
dcmdir dicomdir nifti niftis nii mri mr mrt irm head brain stripped skullstripped n4 bias corrected bet hdbet
preproc preprocessed raw source orig original anat native mask masks seg segmentation label labels lesion lesions
file files test case cases patient patients subject subjects sub unnamed unknown new untitled export exported
results result registered reg resampled warped crop cropped final copy im i p s
"""
_COMMON_WORDS = _SEQUENCE_WORDS | frozenset(_COMMON_WORDS_TEXT.split())
#: Of these, the ones that name a case when a number follows: ``case1``, ``patient07``, ``p3``.
_NUMBERED_NAMES = frozenset({"case", "patient", "subject", "sub", "p", "s"})
#: Suffixes of a number that make it a size: ``3D``, ``1mm``, ``3T``.
_UNITS = frozenset({"d", "mm", "t", "w"})
#: Digits from which on a number identifies a patient and does not count images, as in ``flair_101228``.
_IDENTIFIER_DIGITS = 3
_ENTITY = re.compile(r"([a-zA-Z]+)-([0-9a-zA-Z+.]+)")
_SUBJECT, _SESSION = (re.compile(rf"{word}-[0-9a-zA-Z+.]+", re.IGNORECASE) for word in ("sub", "ses"))
_UNPLAIN = re.compile(r"[^\w.+-]+")
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_DATE = re.compile(r"((?:19|20)\d\d)(?:[-_.]?(\d\d)(?:[-_.]?(\d\d))?)?")
_NOBODY = "volume"


@dataclass(frozen=True)
class NamedInput:
    """An input with the name of its case and of its files.

    Attributes
    ----------
    path : Path
    case : str
    stem : str
        Begin of the names of its result files.
    refusal : FlairSegError or None
        Why it cannot be processed in this call.
    given : bool
        Whether the name is the user's.
    """

    path: Path
    case: str
    stem: str
    refusal: FlairSegError | None = None
    given: bool = False


def stem_of(path: str | Path) -> str:
    """A file's name without a known ending, or a folder's name: what messages call it."""
    path = Path(path)
    name = path.name or path.resolve().name
    # Bytes that are not UTF-8 cannot be in JSON or on a screen.
    name = name.encode("utf-8", "replace").decode("utf-8")
    ending = next((e for e in IMAGE_ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] or _NOBODY


def case_name(path: str | Path, dicom_file: str | Path | None = None) -> str:
    """Name of the case that an image belongs to, see the module.

    Parameters
    ----------
    path : str or Path
        A file or a folder; it need not exist, but only headers of files that exist are read.
    dicom_file : str or Path, optional
        The DICOM file whose header counts, where the folder holds several studies; default: the first of the folder.

    Returns
    -------
    str
        Composed (NFC), safe as the begin of a file's name on every system.
    """
    path = Path(path)
    identity = identity_in(path, dicom_file, _fallback_stem(path))
    return safe_name(bids_name(path) or _plain_identifier(identity) or _by_folders(path))


def mask_case_name(path: str | Path) -> str:
    """Name of the case that a label map belongs to: its own name without the parts that mark a label map."""
    path = Path(path)
    bare, _ = without_mask_words(_plain(path))
    dicom_file = path if path.suffix.lower() == ".dcm" else None
    return case_name(path.with_name(bare), dicom_file) if bare else case_name(path.parent, dicom_file)


def case_of_labels(path: str | Path) -> str:
    """Name of the case of a label map: from the summary beside it, else :func:`mask_case_name`."""
    path = Path(path)
    bare, _ = without_mask_words(_plain(path))
    try:
        said = json.loads(path.with_name(f"{bare}_summary.json").read_text(encoding="utf-8"))["case"]
    except (OSError, ValueError, KeyError, TypeError):
        return mask_case_name(path)
    return safe_name(said) if isinstance(said, str) and said.strip() else mask_case_name(path)


def without_mask_words(stem: str) -> tuple[str, bool]:
    """A stem without ``_labels``, ``_mask`` and their like, and whether it had any of them."""
    said = f"_{stem}"
    word = next((w for w in MASK_WORDS if said.lower().endswith(w)), None)
    return (stem, False) if word is None else (said[1 : len(said) - len(word)], True)


def is_made(stem: str) -> bool:
    """Whether a stem is that of a label map or of another file computed from an image, and not of an image to read.

    Examples
    --------
    >>> is_made("p1_flair_lesion_mask"), is_made("p1_disagreement"), is_made("p1.seg"), is_made("p1_flair")
    (True, True, True, False)
    """
    lower = stem.lower()
    made = lower.endswith((*MADE_WORDS, _SEGMENTATION)) or _REGISTERED.search(lower) is not None
    return made or without_mask_words(stem)[1]


def case_in_text(text: str) -> str:
    """The case that a value of a JSON file names: a path's, or the very text where it is no path."""
    is_path = "/" in text or "\\" in text or any(text.lower().endswith(e) for e in IMAGE_ENDINGS)
    return case_name(text) if is_path else text


def result_stem(case: str, path: str | Path, folder: str | Path) -> str:
    """Begin of the names of a case's result files: the case's name.

    In a folder that is in the input's own folder the input's own name is enough, and is what is looked for beside an
    image; names by BIDS are complete anywhere.
    """
    path = Path(os.path.realpath(path))
    inside = Path(os.path.realpath(folder)).is_relative_to(path.parent)
    return safe_name(_plain(path)) if inside and not bids_name(path) else case


def mask_result_stem(case: str, path: str | Path, folder: str | Path) -> str:
    """The same of a label map, whose own name is the one without ``_labels``."""
    path = Path(path)
    bare, _ = without_mask_words(_plain(path))
    return result_stem(case, path.with_name(bare or _plain(path)), folder)


def name_inputs(
    inputs: Sequence[str | Path], folder: str | Path, names: Sequence[str] = (), one_name_one_input: bool = False
) -> list[NamedInput]:
    """Case and files of each input of a call; of inputs that would share them the later ones are refused.

    Parameters
    ----------
    inputs : sequence of path
    folder : path
        Output folder.
    names : sequence of str
        The user's names, one for each input, or none.
    one_name_one_input : bool
        Refuse also inputs that share the case's name alone, for pseudonyms.

    Raises
    ------
    FlairSegError
        Code ``names-do-not-match``: another number of names than of inputs, or an empty one.
    """
    if names and (len(names) != len(inputs) or not all(name.strip() for name in names)):
        raise FlairSegError(
            f"{len(names)} names were given for {len(inputs)} inputs."
            if len(names) != len(inputs)
            else "One of the names is empty.",
            "Give one name for each input, in the same order, or none.",
            code="names-do-not-match", names=len(names), inputs=len(inputs),
        )  # fmt: skip
    found: list[NamedInput] = []
    taken: dict[str, Path] = {}
    for n, path in enumerate(map(Path, inputs)):
        case = safe_name(names[n].strip()) if names else case_name(path)
        stem = case if names else result_stem(case, path, folder)
        key = folded(case if one_name_one_input else stem)
        other = taken.setdefault(key, path)
        refusal = None if other is path else _name_taken(path, other, case)
        found.append(NamedInput(path, case, stem, refusal, bool(names)))
    return found


def distinct_paths(paths: Sequence[str | Path]) -> list[Path]:
    """The paths without those that spell one file again (``./x``, ``../a/x``); a link of another name stays."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        found.setdefault(Path(os.path.realpath(path.parent), path.name), path)
    return list(found.values())


def _name_taken(path: Path, other: Path, case: str) -> FlairSegError:
    return FlairSegError(
        f"{path} is called {case}, as {other} is, which was given before it.",
        "Rename one of them, or process it separately into another folder.",
        code="case-name-taken", path=str(path), other=str(other), case=case,
    )  # fmt: skip


# --- the rules


def _plain(path: Path) -> str:
    """The file's name without its ending, Slicer's ``.seg.nrrd`` included; composed."""
    stem = stem_of(path)
    if stem.lower().endswith(_SEGMENTATION):
        stem = stem[: -len(_SEGMENTATION)] or stem
    return unicodedata.normalize("NFC", stem)


def _plain_identifier(text: str) -> str:
    """An identifier of a header without what means something to a shell or in markup; changed ones are marked."""
    plain = _UNPLAIN.sub("_", text)
    return plain if plain == text else marked(plain, text)


def _fallback_stem(path: Path) -> str:
    """Return the substitute for a study's date: the folder's name."""
    return _plain(path if path.is_dir() else path.parent)


def bids_name(path: str | Path, without: frozenset[str] = _DERIVED_ENTITIES) -> str:
    """Name by BIDS entities; empty where the path has no subject.

    Parameters
    ----------
    path : str or Path
    without : frozenset of str
        Keys of the entities that do not belong to the name.
    """
    path = Path(path)
    stem = _plain(path)
    parts = stem.split("_")
    subject, session = _bids_folders(path)
    if _SUBJECT.fullmatch(parts[0]):
        subject = parts[0]
    elif not subject:
        return ""
    kept = [part for part in parts if _ENTITY.fullmatch(part) and part.partition("-")[0] not in without]
    kept = [part for part in kept if part != subject]
    if session and not any(_SESSION.fullmatch(part) for part in kept):
        kept.insert(0, session)
    rest = [part for part in parts if not _ENTITY.fullmatch(part)]
    words = [] if {part.lower() for part in rest} <= _FLAIR_WORDS else rest
    return "_".join(part for part in (subject, *kept, *words) if part)


def _bids_folders(path: Path) -> tuple[str, str]:
    """Subject and session of the folders above a file: ``sub-01/ses-2/anat``; empty where they are not there."""
    session = ""
    for folder in Path(os.path.abspath(path)).parents:
        name = unicodedata.normalize("NFC", folder.name)
        if _SUBJECT.fullmatch(name):
            return name, session
        if _SESSION.fullmatch(name):
            session = session or name
        elif not is_common(name):
            break
    return "", session


def _by_folders(path: Path) -> str:
    return "_".join(telling_parts(path)) or _NOBODY


def telling_parts(path: str | Path) -> list[str]:
    """The path's own name, with the folders above it while the names are common ones, outermost first."""
    parts: list[str] = []
    for part in _upwards(Path(path)):
        parts.insert(0, part)
        if not is_common(part):
            break
    return parts


def _upwards(path: Path) -> Iterator[str]:
    absolute = Path(os.path.abspath(path))
    if absolute.name:
        yield _plain(absolute)
    for folder in absolute.parents:
        if folder.name:
            yield unicodedata.normalize("NFC", folder.name.encode("utf-8", "replace").decode("utf-8"))


def is_common(name: str) -> bool:
    """Whether a name could be that of any case: words for images, numbered ones, and dates.

    Examples
    --------
    >>> is_common("t2_flair_3D"), is_common("study1"), is_common("2024-05-31"), is_common("phantom-1_flair")
    (True, True, True, False)
    >>> is_common("101228_FLAIR"), is_common("image0001"), is_common("p3")
    (False, True, False)
    """
    if _is_date(name):
        return True
    tokens = _TOKEN.findall(name.lower())
    before = ""
    for token, after in zip(tokens, [*tokens[1:], ""], strict=False):
        if token.isdigit():
            counts = before in _COMMON_WORDS - _SEQUENCE_WORDS or (len(token) < _IDENTIFIER_DIGITS and bool(before))
            if not counts and after not in _UNITS and not _is_date(token):
                return False
        elif (token in _NUMBERED_NAMES and after.isdigit()) or not (
            token in _COMMON_WORDS or f"{token}{after}" in _COMMON_WORDS or token in _UNITS
        ):
            return False
        before = token
    return True


def _is_date(name: str) -> bool:
    match = _DATE.fullmatch(name.strip())
    if match is None:
        return False
    try:
        date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        return False
    return True


__all__ = [
    "IMAGE_ENDINGS",
    "MASK_WORDS",
    "MAXIMUM_STEM_BYTES",
    "NamedInput",
    "bids_name",
    "case_in_text",
    "case_name",
    "distinct_paths",
    "is_common",
    "is_made",
    "is_text",
    "mask_case_name",
    "name_inputs",
    "result_stem",
    "stem_of",
    "telling_parts",
    "without_mask_words",
]


def is_text(path: Path) -> bool:
    """Whether a path can be written as UTF-8; on Linux file names are bytes and need not be text."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
