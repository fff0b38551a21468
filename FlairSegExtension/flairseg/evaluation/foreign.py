"""Results of other tools: what the values of their masks mean in FlairSeg's classes.

A mapping is said as ``METHOD:1=3,2=2`` (value in the file = class, by number or id) or as ``METHOD:PRESET``. Values
that a mapping does not name are background. Without a mapping a file's values are FlairSeg's own, 0 to 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..labels import BACKGROUND, CLASS_BY_ID, CLASS_BY_VALUE, CLASSES, LESION, NORMAL_WMH, VENTRICLES
from .errors import InvalidMappingError, UnsuitableMaskError

#: The name under which a mapping of the references' values is given.
REFERENCE = "reference"
#: FreeSurfer's numbers of the ventricles: lateral, inferior horns, third, fourth.
_FREESURFER_VENTRICLES = (4, 43, 5, 44, 14, 15)
_FREESURFER_WMH = 77
#: The word for every value above the threshold.
_ANY = "nonzero"
_HOW = "Write METHOD:1=3,2=2 (value in the file = class 1, 2 or 3), or METHOD:PRESET with one of {}."


@dataclass(frozen=True)
class LabelMapping:
    """How the values of a method's masks are read.

    Attributes
    ----------
    name : str
        Preset, or the mapping as it was written.
    values : mapping of int to int
        Value in the file -> class value; other values are background.
    nonzero : int or None
        Class of everything at or above ``threshold``, for binary and probability masks; ``values`` is empty then.
    threshold : float
        Of ``nonzero``. In a mask with values above 1 (0 and 255, say) everything that is not 0 counts.
    own : bool
        Whether these are FlairSeg's own labels, of which every class may be there.
    """

    name: str
    values: Mapping[int, int] = field(default_factory=dict)
    nonzero: int | None = None
    threshold: float = 0.5
    own: bool = False

    @property
    def targets(self) -> frozenset[int]:
        """Classes that the method knows; empty for FlairSeg's own labels, which show it."""
        if self.own:
            return frozenset()
        return frozenset([self.nonzero] if self.nonzero is not None else self.values.values()) - {BACKGROUND}

    def __str__(self) -> str:
        if self.own:
            return ""
        if self.nonzero is not None:
            return f"{self.name}: values from {self.threshold:g} on are {_class_title(self.nonzero)}"
        by_class: dict[int, list[str]] = {}
        for value, target in self.values.items():
            by_class.setdefault(target, []).append(str(value))
        told = "; ".join(f"{', '.join(values)} = {_class_title(target)}" for target, values in by_class.items())
        return f"{self.name}: {told}"

    def apply(self, array: np.ndarray, name: str, method: str) -> np.ndarray:
        """Class labels of a mask.

        Parameters
        ----------
        array : ndarray, shape (K, J, I)
            Real numbers, finite.
        name, method : str
            File and method, for the error.

        Returns
        -------
        ndarray of uint8, shape (K, J, I)

        Raises
        ------
        UnsuitableMaskError
            If the values cannot be what the mapping says.
        """
        if self.nonzero is not None:
            threshold = self.threshold if float(array.max(initial=0)) <= 1 else np.nextafter(0, 1)
            return np.where(array >= threshold, self.nonzero, BACKGROUND).astype(np.uint8)
        whole = np.rint(array)
        if array.dtype.kind == "f" and float(np.abs(whole - array).max(initial=0)) > 1e-3:
            raise UnsuitableMaskError(
                f"{name} holds fractions, so it is a probability map and not a label map.",
                f"If it is one of lesions, add --labels {method}:probability (and --threshold {method}=0.5).",
            )
        whole = whole.astype(np.int64)
        if self.own:
            _refuse_foreign(whole, name, method)
            return whole.astype(np.uint8)
        labels = np.zeros(whole.shape, np.uint8)
        for value, target in self.values.items():
            labels[whole == value] = target
        return labels


OWN = LabelMapping("FlairSeg's own values", own=True)
_SYNTHSEG = dict.fromkeys(_FREESURFER_VENTRICLES, VENTRICLES)
#: Preset -> how it is read. Tools that find white matter hyperintensities are read as finding lesions (as S1 did).
PRESETS: dict[str, LabelMapping] = {
    "flairseg": OWN,
    "binary": LabelMapping("binary", nonzero=LESION),
    "probability": LabelMapping("probability", nonzero=LESION),
    "lst": LabelMapping("lst", nonzero=LESION),
    "bianca": LabelMapping("bianca", nonzero=LESION, threshold=0.9),
    **{c.id: LabelMapping(c.id, nonzero=c.value) for c in CLASSES},
    "synthseg": LabelMapping("synthseg", _SYNTHSEG),
    "wmh-synthseg": LabelMapping("wmh-synthseg", {**_SYNTHSEG, _FREESURFER_WMH: LESION}),
    "freesurfer": LabelMapping("freesurfer", {**_SYNTHSEG, _FREESURFER_WMH: LESION}),
    "wmh-challenge": LabelMapping("wmh-challenge", {1: LESION}),
    "nnunet": LabelMapping("nnunet", {1: VENTRICLES, 2: NORMAL_WMH, 3: LESION}),
}


def parse_mapping(text: str) -> tuple[str, LabelMapping]:
    """Method and mapping of ``METHOD:1=3,2=2`` or ``METHOD:PRESET``.

    Raises
    ------
    InvalidMappingError

    Examples
    --------
    >>> parse_mapping("LST:lst")[1].nonzero, parse_mapping("theirs:10=lesion")[1].values
    (3, {10: 3})
    """
    method, sign, meaning = text.rpartition(":")
    method, meaning = method.strip(), meaning.strip()
    if not sign or not method or not meaning:
        raise InvalidMappingError(f"--labels {text} cannot be understood.", _HOW.format(", ".join(PRESETS)))
    preset = PRESETS.get(meaning.lower())
    if preset is not None:
        return method, preset
    values: dict[int, int] = {}
    for part in meaning.split(","):
        value, sign, target = (piece.strip() for piece in part.partition("="))
        if value == _ANY and sign and len(meaning.split(",")) == 1:
            return method, LabelMapping(meaning, nonzero=_class_value(target, text))
        if not sign or not re.fullmatch(r"-?\d+", value):
            raise InvalidMappingError(
                f"--labels {text} cannot be understood: {part.strip() or 'nothing'} is no preset and no value=class.",
                _HOW.format(", ".join(PRESETS)),
            )
        if values.setdefault(int(value), _class_value(target, text)) != _class_value(target, text):
            raise InvalidMappingError(f"--labels {text} gives the value {value} two classes.", "Give it one.")
    return method, LabelMapping(meaning, values)


def with_threshold(mapping: LabelMapping, threshold: float, method: str) -> LabelMapping:
    """The mapping of a probability mask at another threshold.

    Raises
    ------
    InvalidMappingError
        If the method's masks are label maps, or the threshold is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise InvalidMappingError(f"{threshold:g} is no threshold for probabilities.", "Give one above 0, up to 1.")
    if mapping.nonzero is None:
        raise InvalidMappingError(
            f"--threshold {method}={threshold:g} needs a probability mask, but {method} has label values.",
            f"Add --labels {method}:probability if its masks are probabilities of lesions.",
        )
    return replace(mapping, threshold=threshold)


def _class_value(text: str, whole: str) -> int:
    if text in CLASS_BY_ID:
        return CLASS_BY_ID[text].value
    if text in {str(value) for value in (BACKGROUND, *CLASS_BY_VALUE)}:
        return int(text)
    known = ", ".join(f"{c.value} or {c.id}" for c in CLASS_BY_VALUE.values())
    raise InvalidMappingError(f"--labels {whole}: there is no class {text or '(nothing)'}.", f"Classes are {known}.")


def _class_title(value: int) -> str:
    return CLASS_BY_VALUE[value].short_name.lower() if value in CLASS_BY_VALUE else "background"


def _refuse_foreign(whole: np.ndarray, name: str, method: str) -> None:
    low, high = int(whole.min(initial=0)), int(whole.max(initial=0))
    if low >= BACKGROUND and high <= max(CLASS_BY_VALUE):
        return
    found = np.unique(whole)
    shown = ", ".join(map(str, found[:8])) + (", ..." if found.size > 8 else "")
    if found.size == 2 and low == 0:
        advice = f"If {high} marks lesions, add --labels {method}:binary."
    elif set(_FREESURFER_VENTRICLES) <= set(found.tolist()):
        advice = f"These are FreeSurfer's numbers: add --labels {method}:wmh-synthseg (or synthseg)."
    else:
        advice = f"Say what they mean, for instance --labels {method}:{high}=3."
    raise UnsuitableMaskError(f"{name} holds other values than 0 to 3 ({shown}).", advice)
