"""Every sentence of a report, by key. A language is a file in ``texts/``: ``en.json`` copied and translated.

Placeholders stand in braces (``{reader}``); a file that lacks a key or a placeholder is refused when it is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ..errors import FlairSegError
from ..labels import CLASSES

FOLDER = Path(__file__).with_name("texts")
DEFAULT = "en"
#: Keys that are put together: prefix -> what follows it.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "class": tuple(c.id for c in CLASSES),
    "region": ("periventricular", "juxtacortical", "infratentorial", "deep_white_matter", "unknown"),
    "state": ("new", "enlarging", "stable", "shrinking", "resolved", "split", "merged"),
    "plane": ("axial", "sagittal", "coronal"),
    "stage": ("read", "preprocess", "inference", "postprocess", "write", "total"),
    "not_assessed": ("spinal_cord", "optic_nerve"),
    "review": ("not_reviewed", "unreadable", "accepted", "accepted_after_edits", "rejected"),
    "doubt": ("edited", "changed", "other_case", "other_labels", "unproven"),
    "side": ("R", "L", "A", "P", "S", "I"),
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,8})*")


class UnknownLanguageError(FlairSegError):
    """The language does not exist, or its file is incomplete."""


class Texts:
    """Texts of one language.

    Parameters
    ----------
    language : str
        Name of the language's file, for instance ``en``; also what HTML and PDF are marked with.
    entries : mapping of str to str
        Key -> text.
    """

    def __init__(self, language: str, entries: Mapping[str, str]) -> None:
        self.language = language
        self._entries = entries

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key with its placeholders filled."""
        return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), self._entries[key])

    def count(self, key: str, n: int, **values: object) -> str:
        """The text for a number of things: ``<key>.one`` or ``<key>.other``, with the number as ``{n}``."""
        return self(f"{key}.one" if n == 1 else f"{key}.other", n=n, **values)

    def member(self, family: str, name: str) -> str:
        """The text of one of a family (:data:`FAMILIES`); the name itself if the family has no such member."""
        return self(f"{family}.{name}") if name in FAMILIES[family] else name.replace("_", " ")

    def number(self, value: float | None, digits: int = 2, sign: bool = False) -> str:
        """A number with the language's decimal mark and a proper minus; a dash for None."""
        if value is None:
            return self("format.nothing")
        text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
        if float(text) == 0:
            text = f"{0:.{digits}f}"
        return text.replace("-", "−").replace(".", self("format.decimal"))

    def small(self, value: float) -> str:
        """A number with about two significant figures below one: 12.3, 0.45, 0.012."""
        return self.number(value, 1 if abs(value) >= 10 else 2 if abs(value) >= 0.095 or value == 0 else 3)


def languages() -> list[str]:
    """Available languages."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def load_texts(language: str = DEFAULT) -> Texts:
    """The texts of a language.

    Raises
    ------
    UnknownLanguageError
        If there is no such file, or it lacks keys or placeholders that ``en.json`` has.
    """
    if not _LANGUAGE.fullmatch(language) or language not in languages():
        raise UnknownLanguageError(
            f"There are no texts for the language {language!r}.", f"Choose one of: {', '.join(languages())}."
        )
    entries = _read(language)
    wanted = entries if language == DEFAULT else _read(DEFAULT)
    for key in sorted({*wanted, *entries}):
        if key not in entries or key not in wanted or _holes(entries[key]) != _holes(wanted[key]):
            raise UnknownLanguageError(
                f"The texts of {language!r} do not match those of {DEFAULT!r} at {key!r}.",
                f"Make {language}.json hold the same keys and the same words in braces as {DEFAULT}.json.",
            )
    return Texts(language, entries)


def _read(language: str) -> dict[str, str]:
    try:
        content = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
        return {str(key): str(text) for key, text in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UnknownLanguageError(
            f"The texts of the language {language!r} cannot be read.", "Repair the file, or choose another language."
        ) from error


def _holes(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))
