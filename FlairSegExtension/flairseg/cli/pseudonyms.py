"""The options ``--pseudonymise``, ``--pseudonym-key`` and ``--pseudonym-map``, alike on every command that writes.

>>> # in cli/app.py:  pseudonymise: Pseudonymise = False, pseudonym_key: PseudonymKey = None, ...
>>> # in the command: pseudonymiser = start(messages, pseudonymise, pseudonym_key, pseudonym_map)
>>> #                 ... every result, name and message through it, if it is not None ...
>>> #                 finish(pseudonymiser, pseudonym_map)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..errors import FlairSegError

if TYPE_CHECKING:
    from ..privacy import Pseudonymiser

_PANEL = "Privacy"

Pseudonymise = Annotated[
    bool,
    typer.Option(
        "--pseudonymise",
        help="Put pseudonyms in place of names, IDs, UIDs and dates in every file, file name and message.",
        rich_help_panel=_PANEL,
    ),
]
PseudonymKey = Annotated[
    Path | None,
    typer.Option(
        "--pseudonym-key",
        metavar="FILE",
        help="Secret that makes the pseudonyms; made if it is not there. Without one, a random secret is forgotten "
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
    """The pseudonymiser that the options ask for, or None; tells where a new key was kept.

    Raises
    ------
    FlairSegError
        If the options contradict each other or the key cannot be used.
    """
    from ..privacy import pseudonymiser_for

    new = pseudonymise and key is not None and not os.path.lexists(key)
    pseudonymiser = pseudonymiser_for(pseudonymise, key, names)
    if new:
        messages.print(
            Text.assemble("A new key was made: ", (str(key), "bold"), ". Keep it, and keep it apart from the results."),
            soft_wrap=True,
        )
    return pseudonymiser


def finish(pseudonymiser: Pseudonymiser | None, names: Path | None) -> None:
    """Write the map of names, if one was asked for."""
    if pseudonymiser is not None and names is not None:
        pseudonymiser.write_map(names)


def told(error: FlairSegError, pseudonymiser: Pseudonymiser | None) -> FlairSegError:
    """The error without names, for the screen or a log."""
    if pseudonymiser is None:
        return error
    return FlairSegError(pseudonymiser.text(error.message), pseudonymiser.text(error.advice))
