"""``--labels``: the meaning of label values, the same in every command that reads a label map.

``VALUE=CLASS,...``, a preset, or a file that names the values (:func:`flairseg.io.label_meanings.parse_meaning`). Where
a command reads several maps, the map's name precedes a colon: ``LST:binary``, ``mask.nii.gz:1=lesion``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..io.label_meanings import LabelMapping

MEANING = "VALUE=CLASS,...|PRESET"
_HELP = (
    "What the values of {} mean: 1=lesion,2=normal_wmh, a preset (binary, probability, lst, lst-ai, bianca, samseg, "
    "freesurfer, synthseg, wmh-synthseg, wmh-challenge, nnunet, flairseg) or a file that names them (dataset.json, "
    "ITK-SNAP labels). Default: the file's own definition."
)

#: One label map.
LabelMeaning = Annotated[
    str | None,
    typer.Option("--labels", "-l", metavar=MEANING, help=_HELP.format("the label map"), show_default=False),
]
#: Several methods, ``METHOD:`` before the meaning.
MethodMeanings = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        "-l",
        metavar=f"[NAME:]{MEANING}",
        help=_HELP.format("the masks of a method or arm (NAME; reference for the references; without it, of all)")
        + " May be repeated.",
        show_default=False,
    ),
]
#: Label maps in the order of the studies, and what their values mean.
StudyLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        "-l",
        metavar=f"FILE[:{MEANING}]",
        help="Accepted or corrected label map of a study, of FlairSeg or of another program; once for each study, in "
        "their order, - to run the model. " + _HELP.format("a file (after a colon), or of all of them (alone)"),
        show_default=False,
    ),
]


def meaning_of(text: str | None) -> LabelMapping | None:
    """The given meaning; None if none was given.

    Raises
    ------
    InvalidMappingError
    """
    if text is None:
        return None
    from ..io.label_meanings import parse_meaning

    return parse_meaning(text)


def meanings_by_name(
    texts: Sequence[str], known: Iterable[str], apart: str = "", what: str = "method", places: str = "cases"
) -> dict[str, LabelMapping]:
    """Method or arm -> meaning of its values.

    Parameters
    ----------
    texts : sequence of str
        ``NAME:MEANING``, or ``MEANING`` for all of ``known`` without their own.
    known : iterable of str
    apart : str
        A name among them that must be given explicitly.
    what, places : str
        Kind of the names, for the error.

    Raises
    ------
    InvalidMappingError
        If one is not a valid meaning.
    FlairSegError
        If a name is not known.
    """
    from ..errors import FlairSegError
    from ..evaluation.foreign import parse_mapping

    names = sorted(known)
    found = dict(parse_mapping(text) for text in texts)
    general = found.pop("", None)
    unknown = sorted(found.keys() - set(names))
    if unknown:
        raise FlairSegError(f"There is no {what} {unknown[0]} among the {places}.", f"There is: {', '.join(names)}.")
    if general is not None:
        found = {**{name: general for name in names if name != apart}, **found}
    return found


def files_and_meanings(texts: Sequence[str], nothing: str) -> tuple[list[Path | None], list[LabelMapping | None]]:
    """Files and the meaning of each from ``FILE``, ``FILE:MEANING``, a meaning for all files, or ``nothing``.

    Raises
    ------
    InvalidMappingError
        If the text after a file's colon is not a valid meaning.
    """
    from ..errors import InvalidMappingError
    from ..io.label_meanings import parse_meaning

    files: list[Path | None] = []
    meanings: list[LabelMapping | None] = []
    general: LabelMapping | None = None
    for text in texts:
        if text == nothing or Path(text).exists():
            files.append(None if text == nothing else Path(text))
            meanings.append(None)
            continue
        cut = next((n for n in range(len(text) - 1, 0, -1) if text[n] == ":" and Path(text[:n]).exists()), None)
        if cut is not None:
            files.append(Path(text[:cut]))
            meanings.append(parse_meaning(text[cut + 1 :]))
            continue
        try:
            general = parse_meaning(text)
        except InvalidMappingError:
            # A missing file: the reader raises the error.
            files.append(Path(text))
            meanings.append(None)
    return files, [general if own is None else own for own in meanings]
