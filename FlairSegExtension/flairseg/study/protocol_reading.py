"""Read protocols of studies from JSON; errors name the invalid place.

Checked against ``protocol.schema.json`` with jsonschema where installed, and key by key here, which works
everywhere (Slicer's Python has no jsonschema). An unknown key is an error: a mistyped ``repeat`` must not
silently mean one showing instead of two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

from ..labels import CLASS_BY_ID, CLASS_BY_VALUE, LESION
from .errors import ProtocolError
from .protocol import (
    BLIND_FULL,
    BLINDING,
    LAYOUTS,
    OVERLAYS,
    PROTOCOL_FORMAT,
    Arm,
    Display,
    Protocol,
    Question,
    Rater,
    Rules,
    StudyCase,
    Washout,
)
from .records import (
    ACCEPTABILITY,
    COMMENT_QUESTION,
    CONFIDENCE_QUESTION,
    LIKERT_5,
    NUMERIC,
    RESPONSE_TYPES,
    TEXT,
)

SCHEMA_NAME = "protocol.schema.json"

_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_T = TypeVar("_T")


def load_protocol(path: str | Path) -> Protocol:
    """Read and check a protocol.

    Parameters
    ----------
    path : path
        The JSON file.

    Raises
    ------
    ProtocolError
        Naming the first invalid place; also if the file cannot be read.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_duplicates)
    except OSError as error:
        raise ProtocolError(
            path.name, f"the file cannot be read ({error.strerror or error})", "Check the path and its permissions."
        ) from error
    except ValueError as error:
        raise ProtocolError(
            path.name, f"it is not JSON ({error})", "Check commas, quotes and brackets there."
        ) from error
    return parse_protocol(raw)


def parse_protocol(raw: Any) -> Protocol:
    """Parse and check a protocol's JSON content; errors as for :func:`load_protocol`."""
    protocol = _protocol(_Reader(raw, ""), raw)
    problem = _schema_problem(raw)
    if problem is not None:
        raise ProtocolError(*problem)
    return protocol


def parse_rules(raw: Any) -> Rules:
    """The rules that a reading room was given; ``ProtocolError`` if they are not valid."""
    reader = _Reader(raw, "rules")
    rules = _rules(reader)
    reader.finish()
    return rules


def _schema_problem(raw: Any) -> tuple[str, str] | None:
    """(place, problem) of the first breach of the schema; None where there is none or jsonschema is not installed."""
    try:
        import jsonschema
    except ImportError:
        return None
    schema = json.loads(Path(__file__).with_name(SCHEMA_NAME).read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(raw))
    if error is None:
        return None
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
    return place, error.message


class _Reader:
    """One JSON object that is read key by key and knows its position in the file."""

    def __init__(self, content: Any, place: str) -> None:
        if not isinstance(content, dict):
            raise ProtocolError(place, "it is not a JSON object")
        self._content = content
        self._place = place
        self._read: set[str] = set()

    def place(self, key: str) -> str:
        return f"{self._place}.{key}".lstrip(".")

    def fail(self, key: str, problem: str) -> ProtocolError:
        return ProtocolError(self.place(key), problem)

    def get(self, key: str, default: Any = None) -> Any:
        self._read.add(key)
        return self._content.get(key, default)

    def text(self, key: str, default: str | None = None, filled: bool = False) -> str:
        value = self._required(key, default)
        if not isinstance(value, str):
            raise self.fail(key, "it is not text")
        if (filled or default is None) and not value.strip():
            raise self.fail(key, "it is empty")
        return value

    def identifier(self, key: str) -> str:
        value = self.text(key)
        if not _IDENTIFIER.fullmatch(value):
            raise self.fail(key, "an id has 1 to 64 of the letters A-Z, a-z, digits, dot, dash and underscore")
        return value

    def truth(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, "it is neither true nor false")
        return value

    def whole(self, key: str, default: int | None, least: int, most: int) -> int:
        value = self._required(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.fail(key, f"it is not a whole number from {least} to {most}")
        return value

    @overload
    def number(self, key: str, default: float, least: float, most: float, above: bool = False) -> float: ...

    @overload
    def number(self, key: str, default: None, least: float, most: float, above: bool = False) -> float | None: ...

    def number(self, key: str, default: float | None, least: float, most: float, above: bool = False) -> float | None:
        """A number, or the default (None included) where the key is missing or null."""
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.fail(key, "it is not a number")
        if not least <= value <= most or (above and value == least):
            raise self.fail(key, f"it is not {'above' if above else 'at least'} {least:g} and at most {most:g}")
        return float(value)

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self._required(key, default)
        if value not in allowed:
            raise self.fail(key, f"it is {value!r}, not one of {', '.join(allowed)}")
        out: str = value
        return out

    def items(self, key: str, make: Callable[[_Reader], _T], least: int = 1) -> tuple[_T, ...]:
        value = self._required(key, [] if least == 0 else None)
        if not isinstance(value, list):
            raise self.fail(key, "it is not a list")
        if len(value) < least:
            raise self.fail(key, "it is empty")
        return tuple(make(_Reader(item, f"{self.place(key)}[{n}]")) for n, item in enumerate(value))

    def inner(self, key: str) -> _Reader:
        return _Reader(self.get(key, {}), self.place(key))

    def finish(self) -> None:
        """Refuse unknown keys."""
        unknown = sorted(set(self._content) - self._read)
        if unknown:
            raise self.fail(unknown[0], f"there is no such key; here belong {', '.join(sorted(self._read))}")

    def _required(self, key: str, default: Any) -> Any:
        value = self.get(key, default)
        if value is None:
            raise self.fail(key, "it is missing")
        return value


def _protocol(reader: _Reader, raw: dict[str, Any]) -> Protocol:
    version = reader.get("flairseg_study")
    if version != PROTOCOL_FORMAT or isinstance(version, bool):
        raise reader.fail("flairseg_study", f"it is {version!r}; this FlairSeg reads version {PROTOCOL_FORMAT}")
    reader.get("$schema")
    protocol = Protocol(
        **vars(_rules(reader)),
        id=reader.identifier("id"),
        version=reader.text("version"),
        cases=reader.items("cases", _case),
        training_cases=reader.items("training_cases", _case, least=0),
        raters=reader.items("raters", _rater),
        repeats=reader.whole("repeats", 1, 1, 20),
        mirror_repeats=reader.truth("mirror_repeats", False),
        washout=_washout(reader.inner("washout")),
        minimum_lesion_mm3=reader.number("minimum_lesion_mm3", 0.0, 0, 1e6),
        raw=raw,
    )
    reader.finish()
    _unique([c.id for c in (*protocol.cases, *protocol.training_cases)], "cases", "case")
    _unique([r.id for r in protocol.raters], "raters", "rater")
    return protocol


def _rules(reader: _Reader) -> Rules:
    questions = reader.items("questions", _question)
    _unique([q.id for q in questions], reader.place("questions"), "question")
    for n, question in enumerate(questions):
        if question.id in (CONFIDENCE_QUESTION, COMMENT_QUESTION):
            raise reader.fail(f"questions[{n}].id", f"{question.id!r} is set by the option of that name")
    if sum(question.type == ACCEPTABILITY for question in questions) > 1:
        raise reader.fail("questions", f"more than one is of type {ACCEPTABILITY}; a showing has one set of marks")
    return Rules(
        title=reader.text("title"),
        questions=questions,
        instructions=reader.text("instructions", ""),
        blinding=reader.choice("blinding", BLINDING, BLIND_FULL),
        time_limit_s=reader.number("time_limit_s", None, 0, 86400, above=True),
        idle_after_s=reader.number("idle_after_s", 30.0, 1, 3600),
        confidence=reader.truth("confidence", False),
        comment=reader.truth("comment", True),
        correction=reader.truth("correction", False),
        display=_display(reader.inner("display")),
    )


def _case(reader: _Reader) -> StudyCase:
    case = StudyCase(
        reader.identifier("id"), reader.text("flair"), reader.items("arms", _arm), reader.text("feedback", "")
    )
    reader.finish()
    _unique([arm.id for arm in case.arms], reader.place("arms"), "arm")
    return case


def _arm(reader: _Reader) -> Arm:
    arm = Arm(
        id=reader.identifier("id"),
        mask=reader.text("mask"),
        classes=_classes(reader),
        model=reader.text("model", ""),
        model_sha256=reader.text("model_sha256", ""),
        reader=reader.text("reader", ""),
        labels=_meaning(reader),
    )
    reader.finish()
    return arm


def _meaning(reader: _Reader) -> str:
    text = reader.text("labels", "")
    if text:
        from ..errors import InvalidMappingError
        from ..io.label_meanings import parse_meaning

        try:
            parse_meaning(text)
        except InvalidMappingError as error:
            raise reader.fail("labels", error.message) from error
    return text


def _classes(reader: _Reader) -> dict[int, int]:
    named = reader.get("classes")
    if named is None:
        return {LESION: LESION}
    if not isinstance(named, dict) or not named:
        raise reader.fail("classes", 'it is not an object like {"1": "' + CLASS_BY_VALUE[LESION].id + '"}')
    classes = {}
    for value, name in named.items():
        if not re.fullmatch("[1-9][0-9]{0,4}", value):
            raise reader.fail(f"classes.{value}", "a value in the file is a whole number from 1 to 99999")
        if name not in CLASS_BY_ID:
            raise reader.fail(f"classes.{value}", f"it is {name!r}, not one of {', '.join(CLASS_BY_ID)}")
        classes[int(value)] = CLASS_BY_ID[name].value
    return classes


def _rater(reader: _Reader) -> Rater:
    rater = Rater(
        reader.identifier("id"),
        reader.whole("seed", None, 0, 2**63 - 1),
        reader.number("experience_years", None, 0, 80),
    )
    reader.finish()
    return rater


def _question(reader: _Reader) -> Question:
    kind = reader.choice("type", RESPONSE_TYPES)
    question = Question(
        id=reader.identifier("id"),
        text=reader.text("text"),
        type=kind,
        required=reader.truth("required", kind != TEXT),
        threshold=reader.number("threshold", 0.9, 0, 1),
        labels=_labels(reader, kind),
        minimum=reader.number("minimum", None, -1e12, 1e12),
        maximum=reader.number("maximum", None, -1e12, 1e12),
    )
    for key, owner in (("threshold", ACCEPTABILITY), ("minimum", NUMERIC), ("maximum", NUMERIC)):
        if kind != owner and reader.get(key) is not None:
            raise reader.fail(key, f"only questions of type {owner} have it")
    if question.minimum is not None and question.maximum is not None and question.minimum > question.maximum:
        raise reader.fail("minimum", "it is greater than the maximum")
    reader.finish()
    return question


def _labels(reader: _Reader, kind: str) -> tuple[str, ...]:
    labels = reader.get("labels")
    if labels is None:
        return ()
    if kind != LIKERT_5:
        raise reader.fail("labels", f"only questions of type {LIKERT_5} have them")
    if not isinstance(labels, list) or len(labels) != 5 or not all(isinstance(text, str) for text in labels):
        raise reader.fail("labels", "it is not a list of five texts")
    return tuple(labels)


def _washout(reader: _Reader) -> Washout:
    washout = Washout(
        reader.whole("cases", 0, 0, 100000), reader.whole("arms", 1, 0, 100000), reader.number("days", 0.0, 0, 3650)
    )
    reader.finish()
    return washout


def _display(reader: _Reader) -> Display:
    display = Display(
        layout=reader.choice("layout", LAYOUTS, LAYOUTS[0]),
        window=reader.number("window", None, 0, 1e9, above=True),
        level=reader.number("level", None, -1e9, 1e9),
        overlay=reader.choice("overlay", OVERLAYS, OVERLAYS[0]),
        overlay_opacity=reader.number("overlay_opacity", 1.0, 0, 1),
    )
    if (display.window is None) != (display.level is None):
        raise reader.fail("window", "window and level are given together or not at all")
    reader.finish()
    return display


def _unique(ids: list[str], place: str, what: str) -> None:
    """Ids must be unique regardless of case: they become folder names, and some file systems ignore case."""
    seen: set[str] = set()
    for name in ids:
        if name.casefold() in seen:
            raise ProtocolError(place, f"the {what} {name!r} occurs twice")
        seen.add(name.casefold())


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate keys, which would silently lose a value."""
    content = dict(pairs)
    if len(content) != len(pairs):
        twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise ValueError(f"the key {twice!r} occurs twice")
    return content
