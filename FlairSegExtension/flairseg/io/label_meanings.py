"""Meaning of label values in FlairSeg's classes: presets of other programs, and mappings given by a user.

A mapping is written ``VALUE=CLASS,...`` (``1=lesion``, ``10=3,4=1``; a segment's name may stand for its value), as the
name of a preset (``binary``, ``samseg``), or as the path of a file that names the values: nnU-Net's ``dataset.json``,
ITK-SNAP's label descriptions, FreeSurfer's colour table, a BIDS ``dseg.tsv``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import InvalidMappingError
from ..labels import BACKGROUND, CLASS_BY_ID, CLASS_BY_VALUE, CLASSES, LESION, NORMAL_WMH, VENTRICLES
from .segment_names import class_of_name

#: FreeSurfer's numbers of the ventricles: lateral, inferior horns, third, fourth.
FREESURFER_VENTRICLES = (4, 43, 5, 44, 14, 15)
#: FreeSurfer's white matter hypointensities (77, by side 78 and 79), and its lesions (99, by side 25 and 57).
FREESURFER_LESIONS = (77, 78, 79, 99, 25, 57)
#: The word for every value that is not background.
_ANY = "nonzero"
#: Words for values that shall count as background.
_BACKGROUND_WORDS = ("0", "background", "none", "ignore")
#: Longest file of names that is read.
_MAXIMUM_NAMES_BYTES = 5_000_000


@dataclass(frozen=True)
class LabelMapping:
    """Mapping of label values to classes.

    Attributes
    ----------
    name : str
        Preset, or the mapping as written.
    values : mapping of int to int
        Value in the file -> class value (0: background).
    names : mapping of str to int
        Name or id of a segment in the file -> class value.
    nonzero : int or None
        Class of everything at or above ``threshold``, for binary and probability masks; ``values`` is empty then.
    threshold : float
        Of ``nonzero``, for probabilities; in a binary mask (0 and 1, 0 and 255) everything that is not 0 counts.
    own : bool
        Whether these are FlairSeg's own values, of which every class may be there.
    rest : bool
        Whether the program that made the map marks other structures as well, so that values without a class are
        expected. Otherwise a warning names them.
    """

    name: str
    values: Mapping[int, int] = field(default_factory=dict)
    nonzero: int | None = None
    threshold: float = 0.5
    own: bool = False
    names: Mapping[str, int] = field(default_factory=dict)
    rest: bool = False

    @property
    def targets(self) -> frozenset[int]:
        """Classes that a map read so can hold; empty for FlairSeg's own values, which show it."""
        if self.own:
            return frozenset()
        if self.nonzero is not None:
            return frozenset([self.nonzero])
        return frozenset((*self.values.values(), *self.names.values())) - {BACKGROUND}

    def __str__(self) -> str:
        if self.own:
            return ""
        if self.nonzero is not None:
            return f"{self.name}: values from {self.threshold:g} on are {_class_title(self.nonzero)}"
        by_class: dict[int, list[str]] = {}
        for value, target in (*self.values.items(), *self.names.items()):
            by_class.setdefault(target, []).append(str(value))
        said = "; ".join(f"{', '.join(values)} = {_class_title(target)}" for target, values in by_class.items())
        return f"{self.name}: {said}"


#: FlairSeg's own values, stated by the user: 1 ventricles, 2 normal WMH, 3 lesions.
OWN = LabelMapping("flairseg", own=True)
_VENTRICLES = dict.fromkeys(FREESURFER_VENTRICLES, VENTRICLES)
_FREESURFER = {**_VENTRICLES, **dict.fromkeys(FREESURFER_LESIONS, LESION)}
#: Preset -> how it is read. Programs that find white matter hyperintensities are read as finding lesions (as S1 did).
PRESETS: dict[str, LabelMapping] = {
    "flairseg": OWN,
    "binary": LabelMapping("binary", nonzero=LESION),
    "probability": LabelMapping("probability", nonzero=LESION),
    "lst": LabelMapping("lst", nonzero=LESION),
    # Annotated maps hold the place: 1 periventricular, 2 juxtacortical, 3 subcortical, 4 infratentorial.
    "lst-ai": LabelMapping("lst-ai", dict.fromkeys((1, 2, 3, 4), LESION)),
    "bianca": LabelMapping("bianca", nonzero=LESION, threshold=0.9),
    **{c.id: LabelMapping(c.id, nonzero=c.value) for c in CLASSES},
    "synthseg": LabelMapping("synthseg", _VENTRICLES, rest=True),
    "wmh-synthseg": LabelMapping("wmh-synthseg", {**_VENTRICLES, 77: LESION}, rest=True),
    "freesurfer": LabelMapping("freesurfer", _FREESURFER, rest=True),
    "samseg": LabelMapping("samseg", _FREESURFER, rest=True),
    "wmh-challenge": LabelMapping("wmh-challenge", {1: LESION, 2: BACKGROUND}),
    "nnunet": LabelMapping("nnunet", {1: VENTRICLES, 2: NORMAL_WMH, 3: LESION}),
}


def parse_meaning(text: str) -> LabelMapping:
    """A mapping as a user writes it: ``VALUE=CLASS,...``, a preset, or a file that names the values.

    Raises
    ------
    InvalidMappingError
        Codes ``unknown-label-mapping``, ``unknown-class``, ``label-with-two-classes``, ``label-names-unreadable``.

    Examples
    --------
    >>> parse_meaning("lst").nonzero, parse_meaning("10=lesion,MS lesion=3").names
    (3, {'MS lesion': 3})
    """
    meaning = text.strip()
    preset = PRESETS.get(meaning.lower())
    if preset is not None:
        return preset
    if "=" not in meaning:
        if meaning and Path(meaning).is_file():
            return read_names(Path(meaning))
        raise _not_understood(text, meaning or "nothing")
    values: dict[int, int] = {}
    names: dict[str, int] = {}
    parts = meaning.split(",")
    for part in parts:
        key, sign, target = (piece.strip() for piece in part.rpartition("="))
        if not sign or not key:
            raise _not_understood(text, part.strip() or "nothing")
        class_value = _class_value(target, text)
        if key == _ANY and len(parts) == 1:
            return LabelMapping(meaning, nonzero=class_value)
        if re.fullmatch(r"-?\d+", key):
            kept = values.setdefault(int(key), class_value)
        else:
            kept = names.setdefault(key, class_value)
        if kept != class_value:
            raise InvalidMappingError(
                f"{text} gives {key} two classes.", "Give it one.", code="label-with-two-classes", text=text
            )
    if _ANY in names:
        raise _not_understood(text, _ANY)
    return LabelMapping(meaning, values, names=names)


def with_threshold(mapping: LabelMapping, threshold: float, method: str) -> LabelMapping:
    """The mapping of a probability mask at another threshold.

    Raises
    ------
    InvalidMappingError
        If the method's masks are label maps, or the threshold is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise InvalidMappingError(f"{threshold:g} is not a threshold for probabilities.", "Give one above 0, up to 1.")
    if mapping.nonzero is None:
        raise InvalidMappingError(
            f"The threshold {threshold:g} of {method} needs probabilities, but {method} has label values.",
            f"State {method}:probability if its masks are probabilities of lesions.",
            code="threshold-without-probabilities",
            method=method,
        )
    return replace(mapping, threshold=threshold)


# --- files that name values


def read_names(path: Path) -> LabelMapping:
    """The mapping that a file of names gives: each named value gets the class of its name, other names background.

    Parameters
    ----------
    path : Path
        nnU-Net's ``dataset.json`` (``labels``: name -> value), a BIDS ``dseg.tsv`` (columns ``index``, ``name``),
        ITK-SNAP's label descriptions (``IDX R G B A VIS MSH "LABEL"``) or FreeSurfer's colour table
        (``No. name R G B A``).

    Raises
    ------
    InvalidMappingError
        If it cannot be read, names no value, or none of its names is one of FlairSeg's classes.
    """
    try:
        if path.stat().st_size > _MAXIMUM_NAMES_BYTES:
            raise ValueError("too long")
        content = path.read_text(encoding="utf-8-sig")
        named = _named(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidMappingError(
            f"{path.name} does not say what label values mean.",
            "Give nnU-Net's dataset.json, ITK-SNAP's label descriptions, a FreeSurfer colour table or a dseg.tsv.",
            code="label-names-unreadable",
            file=str(path),
        ) from error
    values = {value: class_of_name(name) or BACKGROUND for value, name in named.items() if value != BACKGROUND}
    if not any(values.values()):
        shown = ", ".join(f"{value} {name}" for value, name in list(named.items())[:8])
        raise InvalidMappingError(
            f"{path.name} names no lesions, normal hyperintensities or ventricles ({shown or 'nothing'}).",
            "State the meaning of each value, for instance 1=lesion.",
            code="label-names-unreadable",
            file=str(path),
        )
    return LabelMapping(path.name, values)


def _named(content: str) -> dict[int, str]:
    """Value -> name of a file of names."""
    if content.lstrip().startswith("{"):
        labels = json.loads(content)["labels"]
        # nnU-Net v2 writes name -> value, v1 value -> name.
        pairs = ((v, k) if not str(k).isdecimal() else (k, v) for k, v in labels.items())
        return {int(value): str(name) for value, name in pairs if not isinstance(value, (list, tuple))}
    lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and "\t" in lines[0] and "index" in lines[0].lower():
        rows = csv.DictReader(lines, delimiter="\t")
        return {int(row["index"]): row["name"] for row in rows}
    found = {}
    for line in lines:
        itk_snap = re.fullmatch(r'\s*(\d+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+\d\s+\d\s+"(.*)"\s*', line)
        freesurfer = re.fullmatch(r"\s*(\d+)\s+(\S+)\s+\d+\s+\d+\s+\d+\s+\d+\s*", line)
        match = itk_snap or freesurfer
        if match is None:
            raise ValueError(line)
        found[int(match[1])] = match[2]
    if not found:
        raise ValueError("empty")
    return found


def _not_understood(text: str, part: str) -> InvalidMappingError:
    return InvalidMappingError(
        f"{text or 'An empty text'} is not a meaning of label values: {part} is neither a preset nor value=class.",
        f"Write value=class pairs such as 1=lesion,2=normal_wmh, or one of {', '.join(PRESETS)}.",
        code="unknown-label-mapping",
        text=text,
        presets=", ".join(PRESETS),
    )


def _class_value(text: str, whole: str) -> int:
    lower = text.lower()
    if lower in _BACKGROUND_WORDS:
        return BACKGROUND
    if lower in CLASS_BY_ID:
        return CLASS_BY_ID[lower].value
    if lower.isdecimal() and int(lower) in CLASS_BY_VALUE:
        return int(lower)
    known = ", ".join(f"{c.value} or {c.id}" for c in CLASSES)
    raise InvalidMappingError(
        f"{whole}: there is no class {text or '(nothing)'}.",
        f"Classes are {known}, and 0 for background.",
        code="unknown-class",
        text=whole,
    )


def _class_title(value: int) -> str:
    return CLASS_BY_VALUE[value].short_name.lower() if value in CLASS_BY_VALUE else "background"
