"""Hebrew, Arabic and Persian words for a medium that only sets letters from left to right, as the PDF does.

Letters get their joined forms and words written from right to left are turned around; numbers inside them keep their
order. Enough for a name in a line of another script; whole paragraphs would need the Unicode bidirectional algorithm
(UAX #9) and a shaping library. The joined forms are Unicode's own: presentation forms whose decomposition names them.
"""

from __future__ import annotations

import unicodedata
from functools import cache

_PRESENTATION = (*range(0xFB50, 0xFC00), *range(0xFE70, 0xFEFD))
_RIGHT_TO_LEFT = frozenset({"R", "AL"})
_NUMBERS = frozenset({"EN", "AN"})
_ZERO_WIDTH_NON_JOINER, _ZERO_WIDTH_JOINER = "\u200c", "\u200d"
_OPENING = {")": "(", "]": "[", "}": "{", "»": "«"}
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")


def visual(text: str) -> str:
    """The text in the order in which its letters are set from left to right."""
    if not any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text):
        return text.replace(_ZERO_WIDTH_NON_JOINER, "").replace(_ZERO_WIDTH_JOINER, "")
    out: list[str] = []
    start = 0
    while start < len(text):
        if unicodedata.bidirectional(text[start]) not in _RIGHT_TO_LEFT:
            out.append(text[start])
            start += 1
            continue
        stop = _end_of_run(text, start)
        out.append(_turned(_joined(text[start:stop])))
        start = stop
    return "".join(out).replace(_ZERO_WIDTH_NON_JOINER, "").replace(_ZERO_WIDTH_JOINER, "")


def _end_of_run(text: str, start: int) -> int:
    """End of a right-to-left run: at its last letter or the closing bracket of one inside it."""
    end = start
    for n in range(start, len(text)):
        direction = unicodedata.bidirectional(text[n])
        closing = _OPENING.get(text[n])
        if (
            direction in _RIGHT_TO_LEFT
            or (direction == "NSM" and end == n)
            or (closing is not None and text[start:n].count(closing) > text[start:n].count(text[n]))
        ):
            end = n + 1
        elif direction == "L":
            break
    return end


def _turned(text: str) -> str:
    """A run turned around, its numbers and the marks on its letters in their own order."""
    pieces: list[str] = []
    for character in text:
        number = unicodedata.bidirectional(character) in _NUMBERS
        mark = unicodedata.combining(character) != 0
        if pieces and (mark or (number and unicodedata.bidirectional(pieces[-1][-1]) in _NUMBERS)):
            pieces[-1] += character
        else:
            pieces.append(character.translate(_MIRRORED))
    return "".join(reversed(pieces))


@cache
def _forms() -> dict[str, dict[str, str]]:
    """Letter (or pair that becomes one) -> ``isolated``, ``initial``, ``medial``, ``final`` -> form."""
    forms: dict[str, dict[str, str]] = {}
    for code in _PRESENTATION:
        kind, *codes = unicodedata.decomposition(chr(code)).split()[:4] or [""]
        letters = "".join(chr(int(letter, 16)) for letter in codes)
        if kind[1:-1] in ("isolated", "initial", "medial", "final") and " " not in letters and 1 <= len(letters) <= 2:
            forms.setdefault(letters, {}).setdefault(kind[1:-1], chr(code))
    return forms


def _joined(text: str) -> str:
    """Letters of Arabic in the forms that their neighbours give them."""
    forms = _forms()
    letters = _with_ligatures(text)
    out = []
    for n, letter in enumerate(letters):
        own = forms.get(letter)
        if own is None:
            out.append(letter)
            continue
        before = _joins_on(_neighbour(letters, n, -1), forms)
        after = "initial" in own and _joins_back(_neighbour(letters, n, +1), forms)
        kind = ("medial" if after else "final") if before else ("initial" if after else "isolated")
        out.append(own.get(kind) or own.get("isolated") or letter)
    return "".join(out)


def _with_ligatures(text: str) -> list[str]:
    """Letters, lam with a following alef as one, as the script demands."""
    out: list[str] = []
    for character in text:
        if out and out[-1] == "\u0644" and out[-1] + character in _forms():
            out[-1] += character
        else:
            out.append(character)
    return out


def _neighbour(letters: list[str], n: int, step: int) -> str:
    """The next letter in a direction; marks in between do not count."""
    n += step
    while 0 <= n < len(letters) and unicodedata.combining(letters[n][0]):
        n += step
    return letters[n] if 0 <= n < len(letters) else ""


def _joins_on(letter: str, forms: dict[str, dict[str, str]]) -> bool:
    """Whether a letter reaches for the one behind it."""
    return letter == _ZERO_WIDTH_JOINER or "initial" in forms.get(letter, {})


def _joins_back(letter: str, forms: dict[str, dict[str, str]]) -> bool:
    """Whether a letter can be reached by the one before it."""
    return letter == _ZERO_WIDTH_JOINER or "final" in forms.get(letter, {})
