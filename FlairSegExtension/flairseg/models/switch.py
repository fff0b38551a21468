"""The default model: the file that holds the user's choice and its history.

The choice is one small file beside the user's models, replaced by a rename: a process that is killed leaves the old
choice in force. Models are never changed, so that going back gives the same results, bit by bit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidModelError
from ..files.atomic import all_or_none

FILE = "in-use.json"
#: Format of :data:`FILE`.
_FORMAT = 1


@dataclass(frozen=True)
class Choice:
    """A model that was chosen: its id and the sha256 that it had then."""

    id: str
    sha256: str


def chosen(folder: Path) -> Choice | None:
    """The model that the user chose; None where it is the one that comes with FlairSeg.

    Parameters
    ----------
    folder : Path
        The user's models (:func:`.store.user_cache`).

    Raises
    ------
    InvalidModelError
        If the file cannot be read.
    """
    return choice_of(read_state(folder)["current"])


def read_state(folder: Path) -> dict[str, Any]:
    """``current`` and ``history``: entries as :func:`choice_of` reads them, None for the model of FlairSeg."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        state = {"format": content["format"], "current": content["current"], "history": list(content["history"])}
        for entry in (state["current"], *state["history"]):
            choice_of(entry)
        return state
    except FileNotFoundError:
        return {"format": _FORMAT, "current": None, "history": []}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidModelError(
            f"Which model is in use cannot be read from {path}.",
            "Choose a model by its id for now, and remove the file.",
        ) from error


def choice_of(entry: Any) -> Choice | None:
    """The choice described by an entry."""
    return None if entry is None else Choice(str(entry["id"]), str(entry["sha256"]))


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace the state by a rename.

    Raises
    ------
    OutputError
        If it cannot be written; the old one stays in force.
    """
    with all_or_none(folder, [FILE], [FILE], newer=True) as drafts:
        (drafts / FILE).write_text(json.dumps(state, indent=2), encoding="utf-8")
