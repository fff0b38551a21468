"""File names from names of nodes, and file names from a dialog."""

from __future__ import annotations

import re
from pathlib import Path

from flairseg.errors import OutputError
from slicer.i18n import tr as _

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 80


def file_stem(name: str) -> str:
    """File name stem from a node's name: letters, digits, dots, dashes and underscores, never empty."""
    return _UNSAFE.sub("_", name).strip("._")[:_LONGEST] or "flair"


def chosen_path(chosen: str, ending: str) -> Path:
    """A path from a dialog that asks before it replaces a file, with the ending that the file is to have.

    Raises
    ------
    OutputError
        With the ending it is another file, which exists and which the dialog did not ask about.
    """
    path = Path(chosen)
    if path.suffix.lower() == ending:
        return path
    path = path.with_name(f"{path.name}{ending}")
    if path.exists():
        raise OutputError(
            _("{name} already exists.").format(name=path.name), _("Choose it in the dialog to replace it.")
        )
    return path
