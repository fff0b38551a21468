"""Ratings collected elsewhere: the contract's wide and long CSV forms, and the tidy ``ratings.csv`` of FlairSeg.

Wide: ``Case_ID, Question_ID, Question_Text, Response_Type, Response_Value_Expert_1, Notes_Expert_1, ...``, one row per
case and question. Long: ``case, question, rater, repeat, value``, with more columns of
:class:`~flairseg.study.records.Rating` where they are known. Commas, semicolons or tabs, also set by Excel's
``sep=`` line; UTF-8 (with or without BOM), UTF-16 with BOM or Windows-1252; decimal points or commas, no thousands
separators. Response types of other questionnaires: :mod:`.response_types`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...errors import CaseWarning, InputNotFoundError
from ...files.csv_tables import TableText, table_text
from ..records import Answer, Rating
from .inputs import AnalysisInputs, StudyDescription
from .response_types import EMPTY, Reading, looks_like, number_of, reading_of
from .tidy import InvalidRatingsError

#: Words for yes or no in columns (``training``, ``timed_out``).
_YES, _NO = {"yes", "y", "true", "1"}, {"no", "n", "false", "0"}
#: Number of cells listed in one error.
_LISTED = 10
_KNOWN = (
    "Known are Yes_No, check marks, Acceptability, Likert_5 (2 to 11 points), verbal scales such as agreement, "
    "Rank, Range, Percentage, Category, Numeric, Date and Text."
)
_EXPERT = re.compile(r"response_value_(.+)", re.IGNORECASE)
_WIDE = ("case_id", "question_id")
_LONG = ("case", "question", "rater", "value")
#: Longest file that is read: a rating study has thousands of rows, not millions.
MAXIMUM_BYTES = 64 * 2**20
_INTEGERS = {"delineated", "false_positives", "false_negatives", "confidence", "position"}
_NUMBERS = {"active_seconds", "idle_seconds", "delineated_ml"}
_FLAGS = {"mirrored", "training", "timed_out", "corrected"}


@dataclass(frozen=True)
class _Cell:
    """A value with its place, for messages."""

    text: str
    file: str
    line: int
    column: str

    def refuse(self, what: str, advice: str) -> InvalidRatingsError:
        return InvalidRatingsError(f"{self.file}, line {self.line}, column {self.column!r}: {what}", advice)


def read_ratings(
    paths: Sequence[str | Path], types: Mapping[str, str] | None = None, title: str = ""
) -> AnalysisInputs:
    """Read ratings from CSV files in the contract's forms.

    Parameters
    ----------
    paths : sequence of path
        Files, or folders whose ``*.csv`` are read in the order of their names. One file per case or one for all.
    types : mapping of str to str, optional
        Question id, or a type as named in the files -> response type, if a file has none or an unknown one.
    title : str, optional
        Title of the report; without it the first file's name.

    Returns
    -------
    AnalysisInputs
        Showings count from 0; a file that counts repeats from 1 is understood.

    Raises
    ------
    InputNotFoundError
        If a file is not there, or a folder has no CSV file.
    InvalidRatingsError
        If a file is invalid; the message names file, line and column.
    """
    types = {key.strip(): kind for key, kind in (types or {}).items()}
    files = _files(paths)
    remarks: list[CaseWarning] = []
    found: list[tuple[Rating, _Cell]] = []
    for path in files:
        found += _read_file(path, remarks)
    ratings = _repeats_from_zero(_typed(found, types, remarks))
    _refuse_double(found, ratings)
    if not ratings:
        raise InvalidRatingsError(
            f"{files[0].name} has no rating.", "Each row after the header should hold a case, a question and a value."
        )
    names = ", ".join(dict.fromkeys(path.name for path in files[:5])) + (" ..." if len(files) > 5 else "")
    hashes = sorted({rating.protocol_sha256 for rating in ratings} - {""})
    study = StudyDescription(
        title=title or files[0].stem,
        study_id=next((r.study_id for r in ratings if r.study_id), ""),
        protocol_sha256=hashes[0] if len(hashes) == 1 else "",
        source=f"imported from {names}",
        models={r.arm: r.model or r.reader for r in ratings if r.model or r.reader},
        remarks=tuple(dict.fromkeys(remarks)),
    )
    return AnalysisInputs(tuple(ratings), study)


def _files(paths: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() == ".csv")
            if not inside:
                raise InputNotFoundError(f"{path} has no CSV file.", "Name the files, or another folder.")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise InputNotFoundError(f"{path} does not exist.", "Check the path.")
    if not files:
        raise InputNotFoundError("No file was named.", "Name at least one CSV file.")
    return files


def _table_of(path: Path, remarks: list[CaseWarning]) -> TableText:
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise InvalidRatingsError(f"{path.name} is larger than 64 MB.", "This is too large for a table of ratings.")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRatingsError(f"{path.name} cannot be read: {error.strerror}.", "Check its permissions.") from error
    table = table_text(data)
    if table.encoding == "cp1252":
        # Excel's encoding on a Western Windows; every byte is valid.
        text = f"{path.name} is not UTF-8; it was read as Windows-1252."
        remarks.append(CaseWarning(text, "table-encoding-guessed"))
    if "\0" in table.body:
        raise InvalidRatingsError(f"{path.name} is not a text file.", "Save the table as CSV (UTF-8).")
    return table


def _read_file(path: Path, remarks: list[CaseWarning]) -> list[tuple[Rating, _Cell]]:
    """Ratings of one file, their values still text, each with the cell that it came from."""
    table = _table_of(path, remarks)
    reader = csv.reader(io.StringIO(table.body, newline=""), delimiter=table.delimiter, strict=True)
    header: list[str] | None = None
    take: Callable[[dict[str, _Cell]], list[tuple[Rating, _Cell]]] | None = None
    found: list[tuple[Rating, _Cell]] = []
    line = 1 + table.skipped_lines
    try:
        for row in reader:
            at, line = line, reader.line_num + 1 + table.skipped_lines
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = [name.strip() for name in row]
                take = _form(header, path.name, at)
                continue
            if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
                raise InvalidRatingsError(
                    f"{path.name}, line {at}: there are {len(row)} cells below {len(header)} columns.",
                    "Put text that holds the separator in double quotes.",
                )
            row = [*row, *[""] * (len(header) - len(row))]
            cells = {
                name.lower(): _Cell(cell.strip(), path.name, at, name)
                for name, cell in zip(header, row, strict=False)
                if name
            }
            if take is not None:
                found += take(cells)
    except csv.Error as error:
        raise InvalidRatingsError(
            f"{path.name}, line {reader.line_num + table.skipped_lines}: the row cannot be read ({error}).",
            "Check its quotes.",
        ) from error
    if header is None:
        raise InvalidRatingsError(f"{path.name} is empty.", "It should have a header and rows.")
    return found


def _form(header: Sequence[str], file: str, line: int) -> Callable[[dict[str, _Cell]], list[tuple[Rating, _Cell]]]:
    """Return the reader of the rows below this header: the wide or the long form."""
    names = [name.lower() for name in header]
    double = {name for name in names if name and names.count(name) > 1}
    if double:
        raise InvalidRatingsError(
            f"{file}, line {line}: the column {sorted(double)[0]!r} is there twice.", "Rename or remove one of them."
        )
    if all(name in names for name in _WIDE):
        experts = [match[1] for name in header if (match := _EXPERT.fullmatch(name))]
        if not experts:
            raise InvalidRatingsError(
                f"{file}, line {line}: there is no column Response_Value_Expert_1.",
                "The wide form has one such column for each expert.",
            )
        return lambda cells: _wide_row(cells, experts)
    if all(name in names for name in _LONG):
        return _long_row
    missing = [name for name in _LONG if name not in names]
    raise InvalidRatingsError(
        f"{file}, line {line}: the header is neither the wide form (no Case_ID and Question_ID) nor the long form "
        f"(no {', '.join(missing)}).",
        "Long: case, question, rater, repeat, value. Wide: Case_ID, Question_ID, Question_Text, Response_Type, "
        "Response_Value_Expert_1, Notes_Expert_1, ...",
    )


def _wide_row(cells: dict[str, _Cell], experts: Sequence[str]) -> list[tuple[Rating, _Cell]]:
    case, question = _required(cells, "case_id"), _required(cells, "question_id")
    text, kind = _optional(cells, "question_text"), _optional(cells, "response_type")
    rows = []
    for expert in experts:
        cell = cells[f"response_value_{expert}".lower()]
        comment = _optional(cells, f"notes_{expert}".lower())
        rater = expert.replace("_", " ")
        rows.append((Rating(case, "", rater, 0, question, cell.text, kind, text, comment=comment), cell))
    return rows


def _long_row(cells: dict[str, _Cell]) -> list[tuple[Rating, _Cell]]:
    case, question, rater = (_required(cells, name) for name in ("case", "question", "rater"))
    kind = _optional(cells, "response_type")
    repeat = _integer(cells["repeat"]) if _optional(cells, "repeat") else 0
    extra: dict[str, Any] = {}
    for name in (f.name for f in fields(Rating)):
        if name in ("case", "arm", "rater", "repeat", "question", "value", "response_type", "first_value"):
            continue
        if not _optional(cells, name):
            continue
        cell = cells[name]
        extra[name] = (
            _integer(cell)
            if name in _INTEGERS
            else _decimal(cell)
            if name in _NUMBERS
            else _flag(cell)
            if name in _FLAGS
            else _plain(cell.text)
        )
    if "first_value" in cells:
        extra["first_value"] = cells["first_value"].text
    rating = Rating(case, _optional(cells, "arm"), rater, repeat, question, cells["value"].text, kind, **extra)
    return [(rating, cells["value"])]


def _required(cells: dict[str, _Cell], name: str) -> str:
    cell = cells[name]
    if not cell.text:
        raise cell.refuse("the cell is empty.", "Every row needs it.")
    return _plain(cell.text)


def _optional(cells: dict[str, _Cell], name: str) -> str:
    cell = cells.get(name)
    return _plain(cell.text) if cell and cell.text.lower() not in EMPTY else ""


def _plain(text: str) -> str:
    """Text without the apostrophe that keeps a spreadsheet from taking it for a formula (see ``tables``)."""
    return text[1:] if len(text) > 1 and text[0] == "'" and text[1] in "=+-@\t\r" else text


def _typed(found: Sequence[tuple[Rating, _Cell]], types: Mapping[str, str], remarks: list[CaseWarning]) -> list[Rating]:
    """The ratings with values of their question's type.

    A missing or unknown type of a question is inferred from its answers: one remark lists all such questions,
    and the rest is read.
    """
    answers: dict[str, list[str]] = {}
    for rating, cell in found:
        answers.setdefault(rating.question, []).append(cell.text)
    readings = _readings(found, answers, types, remarks)
    typed: list[Rating] = []
    wrong: list[InvalidRatingsError] = []
    for rating, cell in found:
        reading = readings[rating.question]
        try:
            value = first = _value(cell, reading)
            if rating.first_value is not None:
                first = _value(replace(cell, text=str(rating.first_value), column="first_value"), reading)
        except InvalidRatingsError as error:
            wrong.append(error)
            continue
        typed.append(replace(rating, value=value, first_value=first, response_type=reading.kind))
    if wrong:
        raise _all_of(wrong)
    return typed


def _readings(
    found: Sequence[tuple[Rating, _Cell]],
    answers: Mapping[str, Sequence[str]],
    types: Mapping[str, str],
    remarks: list[CaseWarning],
) -> dict[str, Reading]:
    """Determine the type of each question; unknown, contradictory or unused types are reported together."""
    declared = _declared(found, types)
    readings: dict[str, Reading] = {}
    unknown: dict[str, list[str]] = {}
    for question, texts in answers.items():
        said = declared.get(question, "")
        reading = reading_of(said, texts) if said else None
        if reading is None:
            reading = looks_like(texts)
            unknown.setdefault(said, []).append(f"{question!r} ({reading.kind})")
        elif reading.remark:
            remarks.append(CaseWarning(f"Question {question!r} ({said}): {reading.remark}.", "answers-read-with-care"))
        readings[question] = reading
    named = [kind for kind in types.values() if kind in unknown]
    if named:
        raise InvalidRatingsError(
            f"The response {'types' if len(named) > 1 else 'type'} {', '.join(map(repr, named))} that "
            f"{'were' if len(named) > 1 else 'was'} stated {'are' if len(named) > 1 else 'is'} unknown.",
            _KNOWN,
            code="unknown-response-type",
            types=named,
        )
    untyped = unknown.pop("", [])
    if untyped:
        plural = "s have" if len(untyped) > 1 else " has"
        text = f"Question{plural} no response type; the answers look like: {', '.join(untyped)}."
        remarks.append(CaseWarning(text, "response-type-guessed"))
    if unknown:
        listed = "; ".join(f"{kind!r} of {', '.join(questions)}" for kind, questions in unknown.items())
        text = (
            f"Unknown response types were inferred from the answers: {listed}. State each once, by "
            "its name or by a question, such as Stars=Likert_5."
        )
        remarks.append(CaseWarning(text, "response-type-guessed"))
    used = answers.keys() | {rating.response_type for rating, _ in found}
    for key in types.keys() - used:
        text = f"The type that was stated for {key!r} is unused: no such question or type."
        remarks.append(CaseWarning(text, "stated-type-unused"))
    return readings


def _declared(found: Sequence[tuple[Rating, _Cell]], types: Mapping[str, str]) -> dict[str, str]:
    """Question -> stated type: for the question, for its type's name, or in the file."""
    declared: dict[str, str] = {}
    for rating, cell in found:
        own = rating.response_type
        kind = types.get(rating.question) or types.get(own) or own
        if kind and declared.setdefault(rating.question, kind).casefold() != kind.casefold():
            raise cell.refuse(
                f"question {rating.question!r} is {kind} here and {declared[rating.question]} above.",
                "A question has one response type.",
            )
    return declared | dict(types)


def _all_of(wrong: Sequence[InvalidRatingsError]) -> InvalidRatingsError:
    """One error for all answers that cannot be read."""
    if len(wrong) == 1:
        return wrong[0]
    more = f" And {len(wrong) - _LISTED} more." if len(wrong) > _LISTED else ""
    advice = dict.fromkeys(error.advice for error in wrong)
    return InvalidRatingsError(
        f"{len(wrong)} answers cannot be read. {' '.join(error.message for error in wrong[:_LISTED])}{more}",
        " ".join(list(advice)[:3]),
        code="unreadable-answers",
        answers=[error.message for error in wrong],
    )


def _value(cell: _Cell, reading: Reading) -> Answer:
    if cell.text.lower() in reading.empty:
        return reading.when_empty
    try:
        return reading.value(_plain(cell.text))
    except ValueError as error:
        what, _, advice = str(error).partition("|")
        raise cell.refuse(what, advice or _KNOWN) from None


def _decimal(cell: _Cell) -> float:
    try:
        return number_of(cell.text)
    except ValueError as error:
        what, _, advice = str(error).partition("|")
        raise cell.refuse(what, advice) from None


def _integer(cell: _Cell) -> int:
    number = _decimal(cell)
    if not number.is_integer() or number < 0:
        raise cell.refuse(f"{cell.text!r} is not a count.", "Write a whole number, 0 or more.")
    return int(number)


def _flag(cell: _Cell) -> bool:
    plain = cell.text.lower()
    if plain in _YES | {"true"}:
        return True
    if plain in _NO | {"false"}:
        return False
    raise cell.refuse(f"{cell.text!r} is neither true nor false.", "Write True or False.")


def _repeats_from_zero(ratings: Sequence[Rating]) -> list[Rating]:
    """Showings counted from 0, as in a study; counts from 1 are shifted."""
    if not ratings or min(r.repeat for r in ratings) == 0:
        return list(ratings)
    return [replace(rating, repeat=rating.repeat - 1) for rating in ratings]


def _refuse_double(found: Sequence[tuple[Rating, _Cell]], ratings: Sequence[Rating]) -> None:
    seen: dict[tuple[object, ...], _Cell] = {}
    for rating, (_, cell) in zip(ratings, found, strict=True):
        key = (rating.case, rating.arm, rating.rater, rating.repeat, rating.question)
        if key in seen:
            other = seen[key]
            raise cell.refuse(
                f"rater {rating.rater} answered question {rating.question!r} of case {rating.case} already in "
                f"{other.file}, line {other.line}.",
                "Number the showings in a column 'repeat', or remove one of the answers.",
            )
        seen[key] = cell
