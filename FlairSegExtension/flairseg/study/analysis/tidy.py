"""The table of an analysis: checked ratings, questions, design, and missing showings.

Takes the rows of :mod:`flairseg.study.records`, from a study or from an import. Training cases are set apart. pandas
holds the rows; it comes with statsmodels and is imported when an analysis runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ...errors import FlairSegError
from ..records import (
    ACCEPTABILITY,
    ACCEPTABLE,
    CONFIDENCE_QUESTION,
    LIKERT_5,
    NO,
    NUMERIC,
    TEXT,
    UNACCEPTABLE,
    YES,
    YES_NO,
    Answer,
    Rating,
)
from .agreement import MISSING

if TYPE_CHECKING:
    import pandas as pd

ALL_RATERS = "all raters"
#: Kinds of questions, by the applicable statistics.
BINARY, ORDERED, NOMINAL, NUMBER, WORDS = "binary", "ordered", "nominal", "number", "words"
#: Response type of a choice among categories without an order, before the categories: ``Category: a | b``.
CATEGORY = "Category"
_BETWEEN = " | "
_LIKERT = re.compile(r"likert[ _-]?(\d{1,2})", re.IGNORECASE)
#: Valid numbers of points of a Likert scale.
LIKERT_POINTS = range(2, 12)
#: Columns that describe a showing and not one of its answers.
_SHOWING_COLUMNS = (
    "shown_at",
    "active_seconds",
    "idle_seconds",
    "delineated",
    "false_positives",
    "false_negatives",
    "delineated_ml",
    "proposed",
    "confidence",
    "comment",
    "position",
    "mirrored",
    "timed_out",
)
_KEY = ["case", "arm", "rater", "repeat"]


class InvalidRatingsError(FlairSegError):
    """Ratings that cannot be analysed: a wrong value, two answers to one question, nothing at all."""


@dataclass(frozen=True)
class Question:
    """A question and its possible answers.

    Parameters
    ----------
    id, text : str
    response_type : str
        As in the contract: ``Acceptability``, ``Yes_No``, ``Likert_5`` (any number of points), ``Category: a | b`` (any
        categories), ``Numeric``, ``Text``.
    """

    id: str
    text: str
    response_type: str

    @property
    def kind(self) -> str:
        """``BINARY``, ``ORDERED``, ``NOMINAL``, ``NUMBER`` or ``WORDS``."""
        if self.response_type in (ACCEPTABILITY, YES_NO):
            return BINARY
        if likert_points(self.response_type):
            return ORDERED
        if offered_categories(self.response_type):
            return NOMINAL
        return NUMBER if self.response_type == NUMERIC else WORDS

    @property
    def categories(self) -> tuple[str | int, ...]:
        """The answers offered, the positive one of a binary question last; empty for numbers and words."""
        if self.response_type == ACCEPTABILITY:
            return (UNACCEPTABLE, ACCEPTABLE)
        if self.response_type == YES_NO:
            return (NO, YES)
        if self.kind == NOMINAL:
            return offered_categories(self.response_type)
        return tuple(range(1, likert_points(self.response_type) + 1))

    @property
    def name(self) -> str:
        """Name in tables: its text, else its id."""
        return self.text or self.id


def likert_points(response_type: str) -> int:
    """Number of points of a Likert type such as ``Likert_5``; 0 if it is none."""
    match = _LIKERT.fullmatch(response_type.strip())
    return int(match[1]) if match and int(match[1]) in LIKERT_POINTS else 0


def category_type(categories: Iterable[str]) -> str:
    """The response type of a choice among these categories."""
    return f"{CATEGORY}: {_BETWEEN.join(category.replace('|', '/') for category in categories)}"


def offered_categories(response_type: str) -> tuple[str, ...]:
    """The categories of a type of :func:`category_type`; empty if it is none."""
    head, _, listed = response_type.partition(": ")
    found = tuple(part.strip() for part in listed.split(_BETWEEN))
    return found if head == CATEGORY and len(found) > 1 and all(found) else ()


@dataclass(frozen=True)
class Exclusion:
    """A planned rating that is not in the results."""

    case: str
    reason: str
    arm: str = ""
    rater: str = ""


@dataclass(frozen=True)
class RatingTable:
    """Checked ratings.

    Parameters
    ----------
    answers : DataFrame
        One row per answer: ``case, arm, rater, repeat, question, value`` and the rest of
        :class:`~flairseg.study.records.Rating`; without training cases.
    showings : DataFrame
        One row per showing (case, arm, rater, repeat): time, counts, proposal of S5's rule, comment.
    questions : tuple of Question
    cases, arms, raters : tuple of str
        In order of appearance.
    repeats : tuple of int
    training : int
        Showings of training cases, which are not in the results.
    absent : tuple of tuple
        (case, arm, rater, repeat) of showings of the design that are missing in the table.
    """

    answers: pd.DataFrame
    showings: pd.DataFrame
    questions: tuple[Question, ...]
    cases: tuple[str, ...]
    arms: tuple[str, ...]
    raters: tuple[str, ...]
    repeats: tuple[int, ...]
    training: int
    absent: tuple[tuple[str, str, str, int], ...]

    def of_kind(self, *kinds: str) -> list[Question]:
        """Questions of these kinds."""
        return [q for q in self.questions if q.kind in kinds]

    @property
    def primary(self) -> Question | None:
        """The question of acceptability: the first of that type, else the first yes-no question, else None."""
        binary = self.of_kind(BINARY)
        return next((q for q in binary if q.response_type == ACCEPTABILITY), binary[0] if binary else None)

    def missing_answers(self, question: Question) -> int:
        """Showings without an answer to a question."""
        answered = self.answers[(self.answers["question"] == question.id) & self.answers["value"].notna()]
        return len(self.showings) - len(answered)

    def groups(self, arm: str) -> Iterator[tuple[str, tuple[str, ...], pd.DataFrame]]:
        """(label, raters, their showings in an arm): each rater, then all where there are several; none without."""
        for label, raters in (*((rater, (rater,)) for rater in self.raters), (ALL_RATERS, self.raters)):
            shown = self.showings[(self.showings["arm"] == arm) & self.showings["rater"].isin(raters)]
            if not shown.empty and (label != ALL_RATERS or len(raters) > 1):
                yield label, raters, shown

    def matrix(
        self,
        question: Question,
        arms: Sequence[str],
        columns: Sequence[tuple[str, int]],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answers to a question as items by raters.

        Parameters
        ----------
        question : Question
            Binary, ordered or nominal: category indices, -1 where missing; a number: values, nan where missing.
        arms : sequence of str
            An item is a case in one of these arms.
        columns : sequence of (rater, repeat)

        Returns
        -------
        ndarray, shape (items, columns)
            Items of which no column has an answer are left out.
        ndarray of int, shape (items,)
            Index of each item's case in ``cases``.
        """
        rows = self.answers[self.answers["question"] == question.id]
        if question.kind == NUMBER:
            return self._spread(dict(zip(_keys(rows), rows["value"], strict=True)), arms, columns)
        index = {category: n for n, category in enumerate(question.categories)}
        known = {key: index[v] for key, v in zip(_keys(rows), rows["value"], strict=True) if v is not None}
        values, clusters = self._spread(known, arms, columns)
        return np.where(np.isnan(values), MISSING, values).astype(int), clusters

    def showing_matrix(
        self, column: str, arms: Sequence[str], columns: Sequence[tuple[str, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A number of the showings (``false_positives``, ...) as items by raters, like :meth:`matrix`."""
        return self._spread(dict(zip(_keys(self.showings), self.showings[column], strict=True)), arms, columns)

    def _spread(
        self, known: Mapping[tuple[str, str, str, int], float], arms: Sequence[str], columns: Sequence[tuple[str, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, clusters = [], []
        for arm, (n, case) in product(arms, enumerate(self.cases)):
            row = [_number(known.get((case, arm, rater, repeat))) for rater, repeat in columns]
            if not all(math.isnan(x) for x in row):
                rows.append(row)
                clusters.append(n)
        return np.array(rows, dtype=float).reshape(-1, len(columns)), np.array(clusters, dtype=int)


def tabulate(
    ratings: Iterable[Rating],
    expected: Iterable[tuple[str, str, str, int]] | None = None,
    excluded: Iterable[Exclusion] = (),
) -> RatingTable:
    """Check ratings and tabulate them for analysis.

    Parameters
    ----------
    ratings : iterable of Rating
    expected : iterable of (case, arm, rater, repeat), optional
        The design; without it every rater is expected to rate every case in every arm as often as the
        maximum in the table.
    excluded : iterable of Exclusion
        Deliberate exclusions: their rows are dropped, and their showings do not count as missing.

    Returns
    -------
    RatingTable

    Raises
    ------
    InvalidRatingsError
        If there is no rating, a value does not suit its question, or a question was answered twice in one showing.
    """
    import pandas as pd

    gone = list(excluded)
    every = list(ratings)
    training = len({(r.case, r.arm, r.rater, r.repeat) for r in every if r.training})
    kept = [_checked(r) for r in every if not r.training and not _is_excluded(gone, r.case, r.arm, r.rater)]
    if not kept:
        raise InvalidRatingsError(
            "There are no ratings to analyse.",
            "Rate some cases first; training cases and excluded cases do not count.",
        )
    kept += _confidences(kept)
    _refuse_double(kept)
    questions = _questions(kept)
    answers = pd.DataFrame([r.to_row() for r in kept])
    # Objects throughout: pandas would turn an answer of 4 into 4.0 and None into nan.
    answers["value"] = pd.Series([r.value for r in kept], dtype=object)
    showings = _showings(answers)
    cases, arms, raters = (tuple(dict.fromkeys(answers[name])) for name in ("case", "arm", "rater"))
    repeats = tuple(sorted({int(n) for n in answers["repeat"]}))
    present = set(_keys(showings))
    design = product(cases, arms, raters, repeats) if expected is None else expected
    absent = tuple(key for key in dict.fromkeys(design) if key not in present and not _is_excluded(gone, *key[:3]))
    return RatingTable(answers, showings, questions, cases, arms, raters, repeats, training, absent)


def _checked(rating: Rating) -> Rating:
    """A rating whose value has the form of its question, or an error."""
    value, kind = rating.value, rating.response_type
    if kind in (ACCEPTABILITY, YES_NO) or likert_points(kind) or offered_categories(kind):
        offered = Question("", "", kind).categories
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is not None and (isinstance(value, bool) or value not in offered):
            raise _unsuitable(rating, f"one of {', '.join(map(str, offered))}")
    elif kind == NUMERIC:
        if value is not None:
            if isinstance(value, (bool, str)) or not math.isfinite(value):
                raise _unsuitable(rating, "a finite number")
            value = float(value)
    elif kind == TEXT:
        value = value if value is None or isinstance(value, str) else str(value)
        value = value or None
    else:
        raise InvalidRatingsError(
            f"Question {rating.question!r} has the unknown response type {kind!r}.",
            "Known are Acceptability, Yes_No, Likert_5 (2 to 11 points), Category: a | b, Numeric and Text.",
        )
    return replace(rating, value=value)


def _confidences(ratings: Sequence[Rating]) -> list[Rating]:
    """Confidence, recorded with each showing, as answers to a separate question."""
    if any(r.question == CONFIDENCE_QUESTION for r in ratings) or all(r.confidence is None for r in ratings):
        return []
    showings = {(r.case, r.arm, r.rater, r.repeat): r for r in reversed(ratings)}
    text = "How certain are you? (1 guessing, 5 certain)"
    return [
        _checked(
            replace(
                r,
                question=CONFIDENCE_QUESTION,
                question_text=text,
                response_type=LIKERT_5,
                value=r.confidence,
                first_value=r.confidence,
                corrected=False,
            )
        )
        for r in reversed(showings.values())
    ]


def _unsuitable(rating: Rating, wanted: str) -> InvalidRatingsError:
    return InvalidRatingsError(
        f"The answer {rating.value!r} to question {rating.question!r} (case {rating.case}, rater {rating.rater}) "
        f"does not suit its type {rating.response_type}.",
        f"It should be {wanted}, or missing.",
    )


def _refuse_double(ratings: Sequence[Rating]) -> None:
    seen: set[tuple[object, ...]] = set()
    for r in ratings:
        key = (r.case, r.arm, r.rater, r.repeat, r.question)
        if key in seen:
            raise InvalidRatingsError(
                f"Rater {r.rater} answered question {r.question!r} twice for case {r.case}"
                f"{f', arm {r.arm}' if r.arm else ''}, showing {r.repeat + 1}.",
                "Number the showings in the column 'repeat', or remove one of the answers.",
            )
        seen.add(key)


def _questions(ratings: Sequence[Rating]) -> tuple[Question, ...]:
    found: dict[str, Question] = {}
    for r in ratings:
        question = found.setdefault(r.question, Question(r.question, r.question_text, r.response_type))
        if question.response_type != r.response_type:
            raise InvalidRatingsError(
                f"Question {r.question!r} has two response types: {question.response_type} and {r.response_type}.",
                "Give every row of a question the same type.",
            )
    return tuple(found.values())


def _showings(answers: pd.DataFrame) -> pd.DataFrame:
    """The first answer's row of each showing, reduced to the columns of the showing; latest time of answering."""
    rows = answers.drop_duplicates(_KEY)[[*_KEY, *_SHOWING_COLUMNS]].reset_index(drop=True)
    for name in (
        "active_seconds",
        "idle_seconds",
        "delineated",
        "false_positives",
        "false_negatives",
        "delineated_ml",
        "position",
    ):
        rows[name] = [_number(value) for value in rows[name]]
    return rows


def _is_excluded(gone: Sequence[Exclusion], case: str, arm: str, rater: str) -> bool:
    return any(e.case == case and e.arm in ("", arm) and e.rater in ("", rater) for e in gone)


def _keys(frame: pd.DataFrame) -> list[tuple[str, str, str, int]]:
    return list(zip(frame["case"], frame["arm"], frame["rater"], frame["repeat"], strict=True))


def _number(value: Answer) -> float:
    return math.nan if value is None or value != value else float(value)
