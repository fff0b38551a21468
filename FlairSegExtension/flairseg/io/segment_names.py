"""Names of segments to FlairSeg's classes: ids, terminology codes and the words that readers and programs use.

A name is recognised only if *all* of its words are known, so that "Lesions" is a lesion and "Lesion (not counted)",
"Black hole lesion" or "Kidney lesion" is not: ambiguous names are left to the user.
"""

from __future__ import annotations

import re
import unicodedata

from ..labels import CLASS_BY_ID, CLASSES, LESION, NORMAL_WMH, VENTRICLES


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Words of which one must be there for a name to be about white matter hyperintensity or lesions.
_LESION_WORDS = _set(
    "lesion lesions wmh wmhs wml wmls plaque plaques hyperintensity hyperintensities hyperintense hypersignal "
    "hypersignals flairlesion flairlesions mslesion mslesions lasion lasionen laesion laesionen lesione lesioni "
    "lesiones"
)
#: Words that may accompany them without changing the meaning.
_LESION_QUALIFIERS = _set(
    "ms multiple sclerosis demyelinating demyelinated inflammatory abnormal pathological white matter wm flair t2 "
    "brain cerebral periventricular juxtacortical cortical subcortical deep infratentorial supratentorial "
    "intracortical cerebellar brainstem "
    "new enlarging stable old confluent"
)
_VENTRICLE_WORDS = _set("ventricle ventricles ventricular ventrikel ventricule ventricules")
_VENTRICLE_QUALIFIERS = _set("brain cerebral lateral third fourth 3rd 4th inferior inf lat horn horns temporal system")
#: Words of any name.
_NEUTRAL = _set(
    "left right bilateral l r lh rh both all total of the a and in segmentation segment seg mask label labels map roi "
    "class final corrected accepted manual auto automatic reviewed edited"
)
_NORMAL_WORDS = _set("normal physiological")
_NOT_NORMAL = _set("abnormal pathological ms lesion lesions")
_NORMAL_QUALIFIERS = _set("rim rims cap caps halo band bands")
#: Uninformative default names of programs: Slicer, ITK-SNAP, MITK, dcmqi, nnU-Net.
_GENERIC = re.compile(
    r"(seg|segment|segmentation|label|labels|class|region|roi|foreground|object|new label|new segment|tissue|"
    r"structure|mask)?"
    r"[\s_#:-]*(id|value|no|number)?[\s_#:-]*\d*(\.\d+)?"
)


def class_of_id(identifier: str) -> int | None:
    """Class value of a segment id that FlairSeg writes (``lesion``, also ``FlairSeg lesion`` in DICOM); else None."""
    found = CLASS_BY_ID.get(identifier.removeprefix("FlairSeg ").strip())
    return None if found is None else found.value


def class_of_code(scheme: str, value: str) -> int | None:
    """Class value of a coded concept (coding scheme designator, code value) of FlairSeg's table; else None."""
    return next((c.value for c in CLASSES if (c.code.scheme, c.code.value) == (scheme, value)), None)


def class_of_name(name: str) -> int | None:
    """Class value of a name; None if it is another structure, generic, or not certain.

    Parameters
    ----------
    name : str
        As a reader or a program gave it; case, accents, punctuation and trailing numbers are ignored.

    Examples
    --------
    >>> class_of_name("MS lesion (abnormal WMH)"), class_of_name("Lateral ventricle - left"), class_of_name("liver")
    (3, 1, None)
    """
    words = set(_words(name))
    meaning = words - _NEUTRAL
    if words & _VENTRICLE_WORDS and meaning <= _VENTRICLE_WORDS | _VENTRICLE_QUALIFIERS:
        return VENTRICLES
    if words & _LESION_WORDS or {"hyper", "intensity"} <= words or {"hyper", "intensities"} <= words:
        meaning -= {"hyper", "intensity", "intensities"}
        if words & _NORMAL_WORDS:
            known = _LESION_WORDS | _LESION_QUALIFIERS | _NORMAL_WORDS | _NORMAL_QUALIFIERS
            return NORMAL_WMH if meaning <= known - _NOT_NORMAL else None
        return LESION if meaning <= _LESION_WORDS | _LESION_QUALIFIERS else None
    return None


def is_generic(name: str) -> bool:
    """Whether a name is uninformative (``Segment_1``, ``Label 3``, ``2``, empty)."""
    return bool(_GENERIC.fullmatch(_plain(name).strip()))


def may_be_lesions(name: str) -> bool:
    """Whether a name that :func:`class_of_name` does not know could still mean lesions."""
    words = _words(name)
    return any(word in _LESION_WORDS or "lesi" in word or "hyperint" in word or word == "ms" for word in words)


def _plain(name: str) -> str:
    """Lower case without accents."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


def _words(name: str) -> list[str]:
    """Words of a name; numbers that only count are left out."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", " ", name)
    parts = re.findall(r"\w+", _plain(spaced).replace("_", " "))
    words = (re.sub(r"(?<=[a-z])\d+$", "", word) if word not in ("t2",) else word for word in parts)
    return [word for word in words if word and not word.isdecimal()]
