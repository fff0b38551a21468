"""Whether contrast agent was given, by what is written beside or in an image: enhancement looks like a lesion.

DICOM states it in Contrast/Bolus Agent (0018,0010), BIDS in the entity ``ce-`` or the sidecar's
``ContrastBolusIngredient``. Nobody can see it in a FLAIR alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..errors import CaseWarning
from .names import stem_of

#: Entries of scanners and people for "none".
_NONE = frozenset(
    {"", "0", "n", "no", "none", "nil", "na", "n/a", "without", "no contrast", "without contrast", "native"}
)
_ENTITY = re.compile(r"(?:^|_)ce-([0-9a-zA-Z]+)")


def is_agent(said: object) -> bool:
    """Whether a header's entry names a contrast agent.

    >>> is_agent("Gadovist"), is_agent(" NONE "), is_agent(None)
    (True, False, False)
    """
    return str(said if said is not None else "").strip().casefold() not in _NONE


def agent_warnings(path: Path) -> tuple[CaseWarning, ...]:
    """``contrast-agent`` if an image file's BIDS name or sidecar records one."""
    named = _ENTITY.search(stem_of(path))
    said = named[1] if named else sidecar(path).get("ContrastBolusIngredient", "")
    return (agent_given(path.name),) if is_agent(said) else ()


def agent_given(image: str) -> CaseWarning:
    """The warning about an image made with contrast agent.

    Parameters
    ----------
    image : str
        Name of the image in the message.
    """
    return CaseWarning(f"{image} was made with contrast agent: enhancement may resemble lesions.", "contrast-agent")


def sidecar(image: Path) -> dict[str, object]:
    """Content of the JSON file of an image's name beside it; empty where there is none to be read."""
    try:
        content = json.loads((image.parent / f"{stem_of(image)}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
