"""The options ``--pseudonymise``, ``--pseudonym-key`` and ``--pseudonym-map``, the same on every command that writes.

>>> # in cli/app.py:  pseudonymise: Pseudonymise = False, pseudonym_key: PseudonymKey = None, ...
>>> # in the command: pseudonymiser = start(messages, *pseudonyms)   # the three options as a tuple
>>> #                 ... every result, name and message through it, if it is not None ...
>>> #                 finish(messages, pseudonymiser, pseudonym_map)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..errors import FlairSegError, typed
from ..files.names import is_common
from .console import show_error

if TYPE_CHECKING:
    from ..privacy.pseudonyms import Pseudonymiser

#: The three options as passed to a command: enabled, key file, map file.
PseudonymOptions = tuple[bool, Path | None, Path | None]
NO_PSEUDONYMS: PseudonymOptions = (False, None, None)
_PANEL = "Privacy"

Pseudonymise = Annotated[
    bool,
    typer.Option(
        "--pseudonymise",
        help="Replace names, IDs, UIDs and dates with pseudonyms in every file, file name and message.",
        rich_help_panel=_PANEL,
    ),
]
PseudonymKey = Annotated[
    Path | None,
    typer.Option(
        "--pseudonym-key",
        metavar="FILE",
        help="Secret key of the pseudonyms; created if it does not exist. Without one, a random key is discarded "
        "and no later run gives the same pseudonyms.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
PseudonymMap = Annotated[
    Path | None,
    typer.Option(
        "--pseudonym-map",
        metavar="FILE",
        help="Also write which name got which pseudonym, to a file that only you can read.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


def start(messages: Console, pseudonymise: bool, key: Path | None, names: Path | None) -> Pseudonymiser | None:
    """The pseudonymiser requested by the options, or None; prints where a new key was stored.

    Raises
    ------
    FlairSegError
        If the options contradict each other, the key cannot be used or the map cannot be written: all of it before any
        work is done.
    """
    from ..privacy.pseudonyms import pseudonymiser_for

    new = pseudonymise and key is not None and not os.path.lexists(key)
    pseudonymiser = pseudonymiser_for(pseudonymise, key, names)
    if new:
        messages.print(
            Text.assemble("A new key was created: ", (str(key), "bold"), ". Keep it, separate from the results."),
            soft_wrap=True,
        )
    if pseudonymiser is not None and names is not None:
        pseudonymiser.write_map(names)
    return pseudonymiser


def finish(messages: Console, pseudonymiser: Pseudonymiser | None, names: Path | None) -> bool:
    """Write the map of names if requested; report a failure and return False."""
    if pseudonymiser is None or names is None:
        return True
    try:
        pseudonymiser.write_map(names)
    except FlairSegError as error:
        show_error(messages, error)
        return False
    return True


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [text for text in values if isinstance(text, str) and text.strip()]


def told(error: FlairSegError, pseudonymiser: Pseudonymiser | None) -> FlairSegError:
    """The error without names, for the screen or a log.

    Cases and files that the error names in its fields (``case``, ``cases``, ``files``) are looked for, too: one that is
    raised before any case was taken up names what the pseudonymiser has not seen yet.
    """
    if pseudonymiser is None:
        return error
    for name in (*_texts(error.fields.get("case")), *_texts(error.fields.get("cases"))):
        if not is_common(name):
            pseudonymiser.case(name)
    for name in _texts(error.fields.get("files")):
        pseudonymiser.learn_path(name)
    return error.reworded(pseudonymiser.text)


@contextmanager
def nameless(pseudonymiser: Pseudonymiser | None) -> Iterator[None]:
    """Raise any error within as it may be shown, without names."""
    try:
        yield
    except Exception as error:
        raise told(typed(error), pseudonymiser) from error
