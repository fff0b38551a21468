"""Text from outside - names, header fields, comments - as one bounded line that shows nothing but itself."""

from __future__ import annotations

import re
import unicodedata

#: Longest name, and longest sentence (a warning, a reason), characters.
NAME, SENTENCE = 80, 300
#: Marks allowed on one letter; some scripts stack two, more only cover adjacent lines.
_MARKS = 3
_JOINERS = "\u200c\u200d"  # Persian and Indic writing need them
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_REPLACEMENT = "\ufffd"


def safe(text: object, limit: int = NAME) -> str:
    """One line of at most ``limit`` characters, without what hides, reorders or covers the text around it.

    Control, formatting (bidirectional overrides), unassigned and private characters become U+FFFD, one for a run of
    them; white space becomes one space; marks beyond three on a letter are dropped; a long text ends in an ellipsis.
    Markup is left to those who write it: the template and the PDF escape.

    Parameters
    ----------
    text : object
        Anything; its ``str``.
    limit : int
        Characters.
    """
    # Composed forms are shorter by at most this; what is longer is cut anyway.
    text = unicodedata.normalize("NFC", str(text)[: 4 * limit])
    out: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MARKS:
            continue
        if character.isspace():
            character = " "
        elif category in _HIDDEN and character not in _JOINERS:
            character = _REPLACEMENT
        if character != _REPLACEMENT or out[-1:] != [_REPLACEMENT]:
            out.append(character)
    line = re.sub(" {2,}", " ", "".join(out)).strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def file_stem(name: str) -> str:
    """A name as the stem of a file: no separators, no reserved names, bounded; the rule of the case archive."""
    from ..files.safe_names import folder_name

    try:
        return folder_name(name)
    except ValueError:
        return "case"
