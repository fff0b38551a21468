"""The protocol of a rating study: one JSON file that says everything the methods section of a paper has to say.

It is checked in two ways: against ``protocol.schema.json`` with jsonschema where that is installed, and by the
dataclasses below, whose checks hold everywhere (Slicer's Python has no jsonschema). A key that is not known is an
error: a mistyped ``repeat`` must not silently mean one showing instead of two.

Once the study is locked (:mod:`.study`), the sha256 over the protocol's canonical JSON stands in every record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload

from ..labels import CLASS_BY_ID, CLASS_BY_VALUE, LESION
from .canonical import content_sha256
from .errors import ProtocolError
from .records import (
    ACCEPTABILITY,
    ACCEPTABLE,
    COMMENT_QUESTION,
    CONFIDENCE_QUESTION,
    LIKERT_5,
    NO,
    NUMERIC,
    RESPONSE_TYPES,
    TEXT,
    UNACCEPTABLE,
    YES,
    Answer,
)

#: Version of the file format: the value of the key ``flairseg_study``.
PROTOCOL_FORMAT = 1
SCHEMA_NAME = "protocol.schema.json"

#: How much a rater may know. ``full``: a fresh code for every showing. ``source``: the case's id is shown, what made
#: the mask is not. ``open``: case and arm are shown.
BLIND_FULL = "full"
BLIND_SOURCE = "source"
BLIND_NONE = "open"
BLINDING = (BLIND_FULL, BLIND_SOURCE, BLIND_NONE)

LAYOUTS = ("acquisition-plane", "axial", "sagittal", "coronal", "four-up")
OVERLAYS = ("outline", "fill")

_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Arm:
    """One segmentation of a case.

    Attributes
    ----------
    id : str
        What is compared: the same id in every case (a model, another model, a human).
    mask : str
        Label file, relative to the protocol's folder or absolute.
    classes : mapping of int to int
        Value in the file -> class value shown (see :mod:`flairseg.labels`); all other values are background.
    labels : str
        Meaning of the values instead of ``classes``, as :func:`flairseg.io.label_meanings.parse_meaning` takes it
        (``binary``, ``samseg``, ``1=lesion``).
    model, model_sha256, reader : str
        Who made it.
    """

    id: str
    mask: str
    classes: Mapping[int, int] = field(default_factory=lambda: {LESION: LESION})
    model: str = ""
    model_sha256: str = ""
    reader: str = ""
    labels: str = ""


@dataclass(frozen=True)
class StudyCase:
    """One patient's image and its segmentations.

    Attributes
    ----------
    id : str
        Unique in the study. Seen by a rater only where the blinding level allows.
    flair : str
        Image file or DICOM folder, relative to the protocol's folder or absolute.
    arms : tuple of Arm
        One or more.
    feedback : str
        Training cases only: shown after the answer.
    """

    id: str
    flair: str
    arms: tuple[Arm, ...]
    feedback: str = ""


@dataclass(frozen=True)
class Rater:
    """Who rates: a code, never a name.

    Attributes
    ----------
    id : str
        The rater's code.
    seed : int
        Of the rater's order.
    experience_years : float or None
        To be reported; not used.
    """

    id: str
    seed: int
    experience_years: float | None = None


@dataclass(frozen=True)
class Question:
    """One question of a showing.

    Attributes
    ----------
    id, text : str
    type : str
        One of :data:`~flairseg.study.records.RESPONSE_TYPES`.
    required : bool
        Whether a showing can be submitted without its answer.
    threshold : float
        ``Acceptability``: the fraction of S5's rule, 0.9 (more than, not at least).
    labels : tuple of str
        ``Likert_5``: five words for 1 to 5, or none.
    minimum, maximum : float or None
        ``Numeric``: the range.
    """

    id: str
    text: str
    type: str
    required: bool = True
    threshold: float = 0.9
    labels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def check(self, value: Answer) -> Answer:
        """The value as it is stored.

        Raises
        ------
        ValueError
            Saying what an answer to this question looks like.
        """
        if self.type == LIKERT_5:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 5:
                raise ValueError("the answer is a whole number from 1 to 5")
            return value
        if self.type == NUMERIC:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
                raise ValueError("the answer is a number")
            if self.minimum is not None and value < self.minimum:
                raise ValueError(f"the answer is at least {self.minimum:g}")
            if self.maximum is not None and value > self.maximum:
                raise ValueError(f"the answer is at most {self.maximum:g}")
            if abs(value) == float("inf"):
                raise ValueError("the answer is a finite number")
            return float(value)
        if self.type == TEXT:
            if not isinstance(value, str):
                raise ValueError("the answer is text")
            return value
        allowed = (ACCEPTABLE, UNACCEPTABLE) if self.type == ACCEPTABILITY else (YES, NO)
        if value not in allowed:
            raise ValueError(f"the answer is {allowed[0]} or {allowed[1]}")
        return value


@dataclass(frozen=True)
class Washout:
    """What lies between two showings of the same thing.

    Attributes
    ----------
    cases : int
        Showings of other cases between two showings of the same case and arm, at least.
    arms : int
        Showings of other cases between two showings of one case, whatever the arm, at least; 1: never side by side.
    days : float
        Days between the last answer of one round of repeats and the first showing of the next, at least.
    """

    cases: int = 0
    arms: int = 1
    days: float = 0.0


@dataclass(frozen=True)
class Display:
    """How a showing looks when it opens; what the rater changes is logged.

    Attributes
    ----------
    layout : str
        One of ``LAYOUTS``; ``acquisition-plane`` is the plane of thick slices.
    window, level : float or None
        Gray values of the image; None: from the image.
    overlay : str
        ``outline`` or ``fill``.
    overlay_opacity : float
        0..1.
    """

    layout: str = "acquisition-plane"
    window: float | None = None
    level: float | None = None
    overlay: str = "outline"
    overlay_opacity: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The part of a protocol that a reading room knows: what is asked and how it is shown, not what is compared.

    Attributes
    ----------
    title : str
        Shown to the raters: it must not name what is compared.
    questions : tuple of Question
    instructions : str
        Shown before the first case.
    blinding : str
        One of ``BLINDING``.
    time_limit_s : float or None
        Seconds for one showing, pauses not counted.
    idle_after_s : float
        Without a sign of life for so long, the rater counts as idle.
    confidence, comment, correction : bool
        Ask for confidence 1..5; offer a comment; offer the mask for correction after the answer.
    display : Display
    """

    title: str
    questions: tuple[Question, ...]
    instructions: str = ""
    blinding: str = BLIND_FULL
    time_limit_s: float | None = None
    idle_after_s: float = 30.0
    confidence: bool = False
    comment: bool = True
    correction: bool = False
    display: Display = field(default_factory=Display)

    def question(self, question_id: str) -> Question | None:
        """The question of that id."""
        return next((q for q in self.questions if q.id == question_id), None)

    @property
    def acceptability(self) -> Question | None:
        """The question that S5's rule proposes an answer to."""
        return next((q for q in self.questions if q.type == ACCEPTABILITY), None)


#: Keys of the protocol's JSON that make its :class:`Rules`.
RULE_KEYS = (
    "title",
    "instructions",
    "questions",
    "blinding",
    "time_limit_s",
    "idle_after_s",
    "confidence",
    "comment",
    "correction",
    "display",
)


@dataclass(frozen=True, kw_only=True)
class Protocol(Rules):
    """A rating study, as its JSON file says it.

    Attributes
    ----------
    id, version : str
    cases, training_cases : tuple of StudyCase
        Training cases come first, once per arm, and count in no result.
    raters : tuple of Rater
    repeats : int
        How often every case and arm is shown to every rater.
    mirror_repeats : bool
        Show every other repeat mirrored left to right (which of them first is drawn by lot).
    washout : Washout
    minimum_lesion_mm3 : float
        Smaller lesions are removed from every mask before it is shown (S5: 10.7); 0 keeps all.
    raw : mapping
        The JSON content, over which :attr:`sha256` is taken.
    """

    id: str
    version: str
    cases: tuple[StudyCase, ...]
    raters: tuple[Rater, ...]
    training_cases: tuple[StudyCase, ...] = ()
    repeats: int = 1
    mirror_repeats: bool = False
    washout: Washout = field(default_factory=Washout)
    minimum_lesion_mm3: float = 0.0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """sha256, hexadecimal, of the canonical JSON (RFC 8259; sorted keys, no spaces, UTF-8)."""
        return content_sha256(self.raw)

    @property
    def rules(self) -> dict[str, Any]:
        """The JSON of :class:`Rules` alone, for a reading room."""
        return {key: self.raw[key] for key in RULE_KEYS if key in self.raw}

    def case(self, case_id: str) -> StudyCase:
        """The case (or training case) of that id; ``KeyError`` if there is none."""
        return next(c for c in (*self.cases, *self.training_cases) if c.id == case_id)

    def rater(self, rater_id: str) -> Rater:
        """The rater of that code.

        Raises
        ------
        ProtocolError
            If there is none.
        """
        for rater in self.raters:
            if rater.id == rater_id:
                return rater
        raise ProtocolError("raters", f"there is no rater {rater_id!r}", "Name one of the protocol's raters.")


def load_protocol(path: str | Path) -> Protocol:
    """Read and check a protocol.

    Parameters
    ----------
    path : path
        The JSON file.

    Raises
    ------
    ProtocolError
        Naming the first place that is wrong; also if the file cannot be read.
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
    """Check a protocol's JSON content and give it its form; errors as for :func:`load_protocol`."""
    protocol = _protocol(_Reader(raw, ""), raw)
    problem = _schema_problem(raw)
    if problem is not None:
        raise ProtocolError(*problem)
    return protocol


def parse_rules(raw: Any, place: str = "rules") -> Rules:
    """The rules that a reading room was given; ``ProtocolError`` if they are not valid."""
    reader = _Reader(raw, place)
    rules = Rules(**_rules(reader))
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


# --- from JSON to the dataclasses ------------------------------------------------------------------------------------


class _Reader:
    """One JSON object that is read key by key and knows where it stands in the file."""

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
        """Refuse what nobody asked for."""
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
        **_rules(reader),
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


def _rules(reader: _Reader) -> dict[str, Any]:
    """What :class:`Rules` is made of."""
    questions = reader.items("questions", _question)
    _unique([q.id for q in questions], reader.place("questions"), "question")
    for n, question in enumerate(questions):
        if question.id in (CONFIDENCE_QUESTION, COMMENT_QUESTION):
            raise reader.fail(f"questions[{n}].id", f"{question.id!r} is asked for by the switch of that name")
    if sum(question.type == ACCEPTABILITY for question in questions) > 1:
        raise reader.fail("questions", f"more than one is of type {ACCEPTABILITY}; a showing has one set of marks")
    return {
        "title": reader.text("title"),
        "questions": questions,
        "instructions": reader.text("instructions", ""),
        "blinding": reader.choice("blinding", BLINDING, BLIND_FULL),
        "time_limit_s": reader.number("time_limit_s", None, 0, 86400, above=True),
        "idle_after_s": reader.number("idle_after_s", 30.0, 1, 3600),
        "confidence": reader.truth("confidence", False),
        "comment": reader.truth("comment", True),
        "correction": reader.truth("correction", False),
        "display": _display(reader.inner("display")),
    }


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
    """Ids are kept apart without regard to case: they become folder names, and some file systems ignore case."""
    seen: set[str] = set()
    for name in ids:
        if name.casefold() in seen:
            raise ProtocolError(place, f"the {what} {name!r} stands there twice")
        seen.add(name.casefold())


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that stands there twice would silently lose one of its values."""
    content = dict(pairs)
    if len(content) != len(pairs):
        twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise ValueError(f"the key {twice!r} stands there twice")
    return content
