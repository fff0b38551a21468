"""Response types of other questionnaires: their names, and conversion of their answers.

A question is read as one of the types that can be analysed (``Yes_No``, ``Acceptability``, ``Likert_<n>``,
``Category: a | b | c``, ``Numeric``, ``Text``). Changes by the conversion (an order of words, a scale from 0, a check
mark that is absent) are stated in a remark, so that every number can be traced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

from ...files.csv_tables import is_ambiguous_number
from ..records import ACCEPTABILITY, ACCEPTABLE, NO, NUMERIC, TEXT, UNACCEPTABLE, YES, YES_NO, Answer
from .tidy import LIKERT_POINTS, category_type, likert_points

#: Cells without an answer.
EMPTY = {"", "na", "n/a", "nan", "none", "null", "-", "--", ".", "?", "missing", "not answered"}
#: The same where "none" is an answer: a degree, a category, a remark.
_NOT_NONE = frozenset(EMPTY - {"none"})
_MARKED = {"x", "✓", "✔", "☑", "☒", "✅", "[x]", "(x)", "checked", "ticked", "marked", "selected", "on", "v"}
_UNMARKED = {"☐", "□", "✗", "✘", "❌", "[ ]", "( )", "[]", "unchecked", "unticked", "off"}
_YES_WORDS = {
    "yes", "y", "true", "t", "1", "1.0", "ja", "j", "oui", "o", "si", "sí", "s", "sim", "present", "positive", "agree",
    "acceptable", "accepted", "accept", "correct", "pass", "+",
}  # fmt: skip
_NO_WORDS = {
    "no", "n", "false", "f", "0", "0.0", "nein", "non", "nao", "não", "absent", "negative", "disagree", "unacceptable",
    "rejected", "reject", "not acceptable", "incorrect", "fail",
}  # fmt: skip
#: Verbal scales, worst or least first.
WORD_SCALES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("strongly disagree", "totally disagree", "completely disagree"), ("disagree",),
     ("neutral", "neither agree nor disagree", "undecided", "neither"), ("agree",),
     ("strongly agree", "totally agree", "completely agree")),
    (("strongly disagree", "totally disagree", "completely disagree"), ("disagree",),
     ("somewhat disagree", "slightly disagree", "rather disagree"),
     ("neutral", "neither agree nor disagree", "undecided", "neither"),
     ("somewhat agree", "slightly agree", "rather agree"), ("agree",),
     ("strongly agree", "totally agree", "completely agree")),
    (("strongly disagree",), ("disagree",), ("agree",), ("strongly agree",)),
    (("very poor", "very bad"), ("poor", "bad"), ("fair", "average", "acceptable", "moderate"), ("good",),
     ("very good", "excellent")),
    (("poor",), ("fair",), ("good",), ("very good",), ("excellent",)),
    (("poor",), ("moderate", "fair"), ("good",), ("excellent",)),
    (("none", "no", "absent"), ("mild", "minimal", "slight"), ("moderate",), ("severe", "marked")),
    (("low",), ("medium", "moderate"), ("high",)),
    (("never",), ("rarely", "seldom"), ("sometimes",), ("often",), ("always",)),
    (("very low",), ("low",), ("medium", "moderate"), ("high",), ("very high",)),
    (("not at all",), ("slightly",), ("moderately",), ("very",), ("extremely",)),
)  # fmt: skip
_ALIASES: dict[str, tuple[str, ...]] = {
    "yes_no": ("yes_no", "yesno", "y_n", "yn", "boolean", "bool", "true_false", "binary", "dichotomous", "logical",
               "present_absent", "ja_nein", "oui_non"),
    "mark": ("check", "checkbox", "check_box", "check_mark", "checkmark", "tick", "tick_box", "tickbox", "tick_mark",
             "binary_check", "binary_check_mark", "binary_checkmark", "binary_checkbox", "binary_mark", "mark"),
    "acceptability": ("acceptability", "acceptable_unacceptable", "accept_reject"),
    "numeric": ("numeric", "number", "numerical", "integer", "int", "count", "float", "real", "double", "decimal",
                "free_number", "free_numeric", "number_free", "open_number", "continuous", "quantity", "volume", "ml",
                "mm", "mm3", "minutes", "seconds", "min", "sec", "duration", "vas", "nrs", "visual_analog_scale",
                "visual_analogue_scale"),
    "percent": ("percent", "percentage", "%", "percentage_value", "pct"),
    "range": ("range", "percentage_range", "percent_range", "percentage_bin", "percent_bin", "interval", "bin",
              "bracket", "numeric_range", "number_range", "range_percent", "range_percentage"),
    "date": ("date", "datetime", "timestamp", "day"),
    "scale": ("agreement", "agreement_scale", "agree_scale", "likert", "likert_scale", "scale", "rating_scale",
              "quality", "quality_scale", "ordinal", "ordered", "frequency", "frequency_scale", "severity", "grade",
              "confidence", "confidence_scale", "satisfaction"),
    "rank": ("rank", "ranking", "rank_order", "order"),
    "category": ("category", "categories", "categorical", "nominal", "choice", "single_choice", "multiple_choice",
                 "multi_choice", "mc", "select", "select_one", "dropdown", "drop_down", "radio", "option", "options"),
    "text": ("text", "free_text", "freetext", "string", "comment", "comments", "open", "open_ended", "notes", "note",
             "remark", "multi_select", "multiselect", "select_all", "checkboxes"),
}  # fmt: skip
_FAMILY = {name: family for family, names in _ALIASES.items() for name in names}
_POINTS = re.compile(r"(\d{1,3})[-_]?(?:point|points|pt|pts|step|steps|level|levels)(?:_.*)?")
_FROM_TO = re.compile(r"(?:(.*?)_)?\(?(\d{1,3})_?(?:-|–|—|to|\.\.)_?(\d{1,3})\)?(?:_.*)?")
_NUMBERED = re.compile(r"(?:agreement|likert|scale|ordinal|quality|rating|grade|confidence)_?(\d{1,3})")
_LEADING = re.compile(r"(\d{1,3})\s*(?:[-–—:=.)/]|\()?\s*(\D.*)")
_OF = re.compile(r"(\d{1,3})\s*/\s*(\d{1,3})")
_RANGE = re.compile(r"(\d+(?:[.,]\d+)?)\s*%?\s*(?:-|–|—|to|bis|\.\.|…)\s*(\d+(?:[.,]\d+)?)\s*%?")
_OPEN = re.compile(r"(<=|≤|<|>=|≥|>|under|below|less than|up to|over|above|more than)\s*(\d+(?:[.,]\d+)?)\s*%?|"
                   r"(\d+(?:[.,]\d+)?)\s*%?\s*(\+|or more|and more|and above)")  # fmt: skip
_RANK = re.compile(r"(?:#|no\.?|rank)?\s*(\d{1,3})\s*(?:st|nd|rd|th|\.|º|°)?", re.IGNORECASE)
_UNIT = re.compile(
    r"(.*?\d)\s*(ml|cm3|cm³|mm3|mm³|mm|cm|cc|s|sec|seconds|min|minutes|h|lesions?|points?)", re.IGNORECASE
)
#: Largest number of ranks treated as an ordered scale; more are numbers.
_MOST = LIKERT_POINTS[-1]


@dataclass(frozen=True)
class Reading:
    """How the answers to a question are parsed.

    Attributes
    ----------
    kind : str
        Response type in our spelling.
    value : callable
        Answer of a cell's text (not empty); raises ValueError with the problem and advice.
    remark : str
        Changes made by the conversion.
    when_empty : Answer
        Meaning of an empty cell; None: missing.
    empty : frozenset of str
        Texts, in lower case, of cells without an answer.
    """

    kind: str
    value: Callable[[str], Answer]
    remark: str = ""
    when_empty: Answer = None
    empty: frozenset[str] = frozenset(EMPTY)


def reading_of(type_text: str, answers: Sequence[str]) -> Reading | None:
    """Determine how a question is parsed.

    Parameters
    ----------
    type_text : str
        The type as named in the file.
    answers : sequence of str
        All answers to the question; empty ones may be among them.

    Returns
    -------
    Reading or None
        None: the type is not known.
    """
    head, options = _options(type_text)
    name = re.sub(r"[\s_/()\[\]]+", "_", head.strip().lower()).strip("_")
    given = [text.strip() for text in answers if text.strip().lower() not in EMPTY]
    points = likert_points(name.replace("-", "_"))
    scale = _scale_of(name, points)
    if scale is not None:
        return _points(*scale, given)
    family = _FAMILY.get(name) or _FAMILY.get(name.replace("-", "_"))
    if family is None:
        return None
    if options and family in ("scale", "range"):
        return _ordered(options)
    if options and family == "category":
        return _category(options)
    return _FAMILIES[family]([text.strip() for text in answers])


def looks_like(answers: Sequence[str]) -> Reading:
    """Infer the type of answers without a (known) type. Numbers are never interpreted as a scale of unknown length."""
    plain = {text.strip().lower() for text in answers} - EMPTY
    if plain and plain <= {"acceptable", "unacceptable"}:
        return _acceptability([])
    if plain and plain <= (_YES_WORDS | _NO_WORDS) - {"0", "1", "0.0", "1.0"}:
        return _yes_no([])
    try:
        for text in plain:
            float(_with_point(text))
    except ValueError:
        return _text([])
    return _numeric(list(answers)) if plain else _text([])


# --- scales of points


def _options(text: str) -> tuple[str, list[str]]:
    """A type and the options that it names: ``Category: a | b``, ``Choice (a; b; c)``, ``Ordinal [none < mild]``."""
    match = re.fullmatch(r"\s*([^:(\[]+?)\s*(?::\s*(.+)|[(\[](.+)[)\]])\s*", text, re.DOTALL)
    inside = (match[2] or match[3]) if match else ""
    separator = next((s for s in ("|", ";", "<", ",", " / ") if s in inside), None)
    if match is None or separator is None:
        return text, []
    options = [part.strip() for part in inside.split(separator)]
    if not all(options) or len({o.casefold() for o in options}) < max(2, len(options)):
        return text, []
    return match[1], options


def _scale_of(name: str, points: int) -> tuple[int, int] | None:
    """Lowest and highest point of a scale by its type's name."""
    if points:
        return 1, points
    for pattern in (_POINTS, _NUMBERED):
        match = pattern.fullmatch(name)
        if match and int(match[1]) in LIKERT_POINTS:
            return 1, int(match[1])
    match = _FROM_TO.fullmatch(name)
    if match is None or (match[1] and _FAMILY.get(match[1]) not in ("scale", "numeric", None)):
        return None
    if match[1] and match[1] not in _FAMILY and match[1] not in ("rating", "score", "points", "nrs", "vas"):
        return None
    low, high = int(match[2]), int(match[3])
    if low in (0, 1) and high - low + 1 in LIKERT_POINTS:
        return low, high
    return (low, high) if low < high else None


def _points(low: int, high: int, given: Sequence[str]) -> Reading:
    count = high - low + 1
    if low not in (0, 1) or count not in LIKERT_POINTS:
        return _between(low, high)
    kind, words = f"Likert_{count}", _word_scale(given, count)
    remark = f"its points {low} to {high} became 1 to {count}" if low != 1 else ""

    def value(text: str) -> Answer:
        place = words.get(text.strip().lower())
        if place is not None:
            return place
        number = _point(text, high)
        if not low <= number <= high or number != int(number):
            raise ValueError(f"{text!r} is not a point of {kind}.|Write a whole number from {low} to {high}.")
        return int(number) - low + 1

    return Reading(kind, value, remark)


def _point(text: str, high: int) -> float:
    """The number of an answer such as ``4``, ``4 - good``, ``4/5``."""
    of = _OF.fullmatch(text.strip())
    if of and int(of[2]) == high:
        return float(of[1])
    labelled = _LEADING.fullmatch(text.strip())
    if labelled and re.search(r"[-–—:=.)(]", text) and re.search(r"[^\W\d_]{2}", labelled[2]):
        return float(labelled[1])
    return number_of(text)


def _between(low: float, high: float) -> Reading:
    def value(text: str) -> Answer:
        number = number_of(text)
        if not low <= number <= high:
            raise ValueError(f"{text!r} is not from {low:g} to {high:g}.|Write a number of that range.")
        return number

    return Reading(NUMERIC, value, f"its scale from {low:g} to {high:g} was read as numbers")


def _word_scale(given: Sequence[str], count: int | None = None) -> dict[str, int]:
    """Word -> point of the shortest known scale (of this length) that contains all words of the answers."""
    words = {text.strip().lower() for text in given if not re.search(r"\d", text)}
    if not words:
        return {}
    for scale in sorted(WORD_SCALES, key=len):
        places = {word: n for n, same in enumerate(scale, 1) for word in same}
        if words <= places.keys() and count in (None, len(scale)):
            return places
    return {}


def _ordered(options: Sequence[str]) -> Reading:
    """A scale whose points are named by the type, lowest first."""
    if len(options) > _MOST:
        return _category(options)
    places = {option.casefold(): n for n, option in enumerate(options, 1)}
    told = ", ".join(f"{n} {option}" for n, option in enumerate(options, 1))

    def value(text: str) -> Answer:
        place = places.get(text.strip().casefold())
        if place is None:
            number = _number_or_none(text)
            if number is None or not number.is_integer() or not 1 <= number <= len(options):
                raise ValueError(f"{text!r} is none of its options.|Options are {', '.join(options)}.")
            place = int(number)
        return place

    return Reading(f"Likert_{len(options)}", value, f"its options became points: {told}")


def _scale(answers: Sequence[str]) -> Reading:
    """A scale without a number of points: known words, else numbers."""
    given = [text for text in answers if text.lower() not in _NOT_NONE]
    words = _word_scale(given)
    if words:
        count = max(words.values())
        reading = _points(1, count, given)
        named = {n: word for word, n in reversed(words.items())}
        told = ", ".join(f"{n} {named[n]}" for n in sorted(named))
        # "none" is an answer if the scale contains it.
        return replace(reading, remark=f"its words were converted to points: {told}", empty=_NOT_NONE)
    if given and all(_number_or_none(text) is not None for text in given):
        numbers = _numeric(answers)
        return Reading(NUMERIC, numbers.value, "the number of points of its scale is not given: read as numbers")
    return _category(list(dict.fromkeys(text.strip() for text in given))) if given else _text(answers)


def _rank(answers: Sequence[str]) -> Reading:
    def place(text: str) -> int:
        match = _RANK.fullmatch(text.strip())
        if match is None or int(match[1]) < 1:
            raise ValueError(f"{text!r} is not a rank.|Write 1, 2, 3 or 1st, 2nd, 3rd.")
        return int(match[1])

    places = [int(m[1]) for text in answers if (m := _RANK.fullmatch(text.strip()))]
    highest = max(places, default=2)
    if highest > _MOST:
        return Reading(NUMERIC, lambda text: float(place(text)), "its ranks were read as numbers")
    return Reading(f"Likert_{max(2, highest)}", place, f"its ranks became points 1 to {max(2, highest)}, 1 being first")


def _range(answers: Sequence[str]) -> Reading:
    """Ranges such as ``0-25 %``, ``> 75 %``: points in their order, if consecutive."""
    given = [text for text in dict.fromkeys(answers) if text.lower() not in EMPTY]
    found: dict[str, tuple[float, float]] = {}
    for text in given:
        ends = _ends(text)
        if ends is not None:
            found[_squeezed(text)] = ends
    order = sorted(set(found.values()))
    apart = all(a[1] <= b[0] for a, b in pairwise(order))
    if not order or not apart or len(order) > _MOST:
        why = "its ranges overlap" if order and not apart else "its ranges do not form a scale"
        return Reading(TEXT, lambda text: text, f"{why}: kept as text")
    places = {text: order.index(ends) + 1 for text, ends in found.items()}
    names = {n: text for text, n in reversed(places.items())}
    told = ", ".join(f"{n} {names[n]}" for n in sorted(names))

    def value(text: str) -> Answer:
        if _squeezed(text) not in places:
            raise ValueError(f"{text!r} is not a range.|Write it as 0-25 %, or > 75 %.")
        return places[_squeezed(text)]

    return Reading(f"Likert_{max(2, len(order))}", value, f"its ranges became points: {told}")


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text.strip().lower())


def _ends(text: str) -> tuple[float, float] | None:
    match = _RANGE.fullmatch(text.strip())
    if match:
        low, high = (float(_with_point(part)) for part in match.groups())
        return (low, high) if low <= high else None
    match = _OPEN.fullmatch(text.strip().lower())
    if match:
        number = float(_with_point(match[2] or match[3]))
        upper = match[4] or match[1] in (">", ">=", "≥", "over", "above", "more than")
        return (number, float("inf")) if upper else (float("-inf"), number)
    alone = _number_or_none(text.strip().rstrip("%"))
    return None if alone is None else (alone, alone)


# --- the others


def _yes_no(answers: Sequence[str]) -> Reading:
    return Reading(YES_NO, _binary(YES, NO))


def _mark(answers: Sequence[str]) -> Reading:
    """Check marks: if no cell contains a no, an empty cell is one."""
    plain = {text.lower() for text in answers}
    if not plain & (_NO_WORDS | _UNMARKED) and plain & (_MARKED | _YES_WORDS):
        return Reading(YES_NO, _binary(YES, NO), "an empty cell means not checked", NO)
    return Reading(YES_NO, _binary(YES, NO))


def _acceptability(answers: Sequence[str]) -> Reading:
    return Reading(ACCEPTABILITY, _binary(ACCEPTABLE, UNACCEPTABLE))


def _binary(positive: str, negative: str) -> Callable[[str], Answer]:
    def value(text: str) -> Answer:
        plain = text.strip().lower()
        if plain in _YES_WORDS | _MARKED:
            return positive
        if plain in _NO_WORDS | _UNMARKED:
            return negative
        raise ValueError(f"{text!r} is neither yes nor no.|Write {positive} or {negative}, or leave it empty.")

    return value


def _numeric(answers: Sequence[str]) -> Reading:
    comma = any(re.fullmatch(r"[+-]?\d+,\d+", t.strip()) and not is_ambiguous_number(t) for t in answers)
    units = {match[2].lower() for text in answers if (match := _UNIT.fullmatch(text.strip()))}
    unit = next(iter(units)) if len(units) == 1 else ""
    return Reading(
        NUMERIC, lambda text: number_of(_without(text, unit), comma), f"its unit {unit} was removed" if unit else ""
    )


def _without(text: str, unit: str) -> str:
    match = _UNIT.fullmatch(text.strip()) if unit else None
    return match[1] if match else text


def _percent(answers: Sequence[str]) -> Reading:
    numbers = [n for text in answers if (n := _number_or_none(text.strip().rstrip("%"))) is not None]
    signed = any("%" in text for text in answers)
    shares = bool(numbers) and not signed and max(numbers) <= 1 and any(0 < n < 1 for n in numbers)

    def value(text: str) -> Answer:
        number = number_of(text.strip().rstrip("%").strip())
        number = 100 * number if shares else number
        if not 0 <= number <= 100:
            raise ValueError(f"{text!r} is not a percentage.|Write a number from 0 to 100.")
        return number

    return Reading(NUMERIC, value, "its shares from 0 to 1 became per cent" if shares else "")


def _date(answers: Sequence[str]) -> Reading:
    def value(text: str) -> Answer:
        try:
            return date.fromisoformat(text.strip()[:10]).isoformat()
        except ValueError:
            return text.strip()

    return Reading(TEXT, value, "dates are listed, not analysed")


def _category(options: Sequence[str]) -> Reading:
    spelled: dict[str, str] = {}
    for option in options:
        plain = option.strip()
        if plain.lower() not in _NOT_NONE:
            spelled.setdefault(plain.casefold(), plain)
    if len(spelled) < 2:
        return _text([])

    def value(text: str) -> Answer:
        found = spelled.get(text.strip().casefold())
        if found is None:
            raise ValueError(f"{text!r} is none of the categories.|Categories are {', '.join(spelled.values())}.")
        return found

    return Reading(category_type(spelled.values()), value, empty=_NOT_NONE)


def _categories(answers: Sequence[str]) -> Reading:
    return _category(sorted(dict.fromkeys(answers), key=str.casefold))


def _text(answers: Sequence[str]) -> Reading:
    return Reading(TEXT, lambda text: text, empty=_NOT_NONE - {"?"})


_FAMILIES: dict[str, Callable[[Sequence[str]], Reading]] = {
    "yes_no": _yes_no, "mark": _mark, "acceptability": _acceptability, "numeric": _numeric, "percent": _percent,
    "range": _range, "date": _date, "scale": _scale, "rank": _rank, "category": _categories, "text": _text,
}  # fmt: skip


# --- numbers


def _with_point(text: str) -> str:
    """A number's text with a decimal point: ``3,5`` is 3.5; with both signs it is ambiguous."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def _number_or_none(text: str) -> float | None:
    try:
        number = float(_with_point(text.strip()))
    except ValueError:
        return None
    return number if abs(number) != float("inf") and number == number else None


def number_of(text: str, decimal_comma: bool = False) -> float:
    """A finite number.

    Raises
    ------
    ValueError
        The error, ``|``, and the advice.
    """
    plain = text.strip().replace("−", "-")
    if is_ambiguous_number(plain, decimal_comma):
        raise ValueError(
            f"{text!r} is ambiguous as a number: its separator may stand for thousands.|Write it "
            "without thousands separator and with a decimal point, such as 1234 or 1.234."
        )
    try:
        number = float(_with_point(plain))
    except ValueError:
        raise ValueError(
            f"{text!r} is not a number.|Write it without unit and thousands separator, such as 3.5 or 3,5."
        ) from None
    if number in (float("inf"), float("-inf")) or number != number:
        raise ValueError(f"{text!r} is not a finite number.|Leave the cell empty where a value is missing.")
    return number
