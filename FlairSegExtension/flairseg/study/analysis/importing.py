"""Ratings collected elsewhere: the contract's wide and long CSV forms, and the tidy ``ratings.csv`` that we write.

Wide: ``Case_ID, Question_ID, Question_Text, Response_Type, Response_Value_Expert_1, Notes_Expert_1, ...``, one row per
case and question. Long: ``case, question, rater, repeat, value``, with more columns of
:class:`~flairseg.study.records.Rating` where they are known. Commas, semicolons or tabs; UTF-8 (with or without BOM),
UTF-16 with BOM or Windows-1252; decimal points or commas.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ...errors import InputNotFoundError
from ..records import ACCEPTABILITY, ACCEPTABLE, NO, NUMERIC, TEXT, UNACCEPTABLE, YES, YES_NO, Answer, Rating
from .results import StudyDescription
from .tidy import InvalidRatingsError, likert_points

_DELIMITERS = (",", ";", "\t")
_EMPTY = {"", "na", "n/a", "nan", "none", "null", "-", "--", ".", "?", "missing", "not answered"}
_YES = {"yes", "y", "true", "1", "acceptable", "accepted", "accept", "ja", "oui", "si", "sí"}
_NO = {"no", "n", "false", "0", "unacceptable", "rejected", "reject", "not acceptable", "nein", "non"}
_EXPERT = re.compile(r"response_value_(.+)", re.IGNORECASE)
_WIDE = ("case_id", "question_id")
_LONG = ("case", "question", "rater", "value")
#: Longest file that is read: a rating study has thousands of rows, not millions.
MAXIMUM_BYTES = 64 * 2**20
_INTEGERS = {"delineated", "false_positives", "false_negatives", "confidence", "position"}
_NUMBERS = {"active_seconds", "idle_seconds", "delineated_ml"}
_FLAGS = {"mirrored", "training", "timed_out", "corrected"}


@dataclass(frozen=True)
class Imported:
    """Ratings from files, and what the report should say about where they come from."""

    ratings: tuple[Rating, ...]
    study: StudyDescription


@dataclass(frozen=True)
class _Cell:
    """A value with its place, for messages."""

    text: str
    file: str
    line: int
    column: str

    def refuse(self, what: str, advice: str) -> InvalidRatingsError:
        return InvalidRatingsError(f"{self.file}, line {self.line}, column {self.column!r}: {what}", advice)


def read_ratings(paths: Sequence[str | Path], types: Mapping[str, str] | None = None, title: str = "") -> Imported:
    """Read ratings from CSV files in the contract's forms.

    Parameters
    ----------
    paths : sequence of path
        Files, or folders whose ``*.csv`` are read in the order of their names. One file per case or one for all.
    types : mapping of str to str, optional
        Question id -> response type, where a file has none or a wrong one.
    title : str, optional
        Title of the report; without it the first file's name.

    Returns
    -------
    Imported
        Showings count from 0; a file that counts repeats from 1 is understood.

    Raises
    ------
    InputNotFoundError
        If a file is not there, or a folder has no CSV file.
    InvalidRatingsError
        If a file cannot be understood; the message names file, line and column.
    """
    types = dict(types or {})
    for question, kind in types.items():
        _known_type(_Cell(kind, "--type", 1, question))
    files = _files(paths)
    remarks: list[str] = []
    found: list[tuple[Rating, _Cell]] = []
    for path in files:
        found += _read_file(path, types, remarks)
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
    return Imported(tuple(ratings), study)


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


def _text_of(path: Path, remarks: list[str]) -> str:
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise InvalidRatingsError(f"{path.name} is larger than 64 MB.", "A table of ratings is smaller: is it one?")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRatingsError(f"{path.name} cannot be read: {error.strerror}.", "Check its permissions.") from error
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        # What Excel writes on a Western Windows; every byte means something.
        text = data.decode("cp1252", errors="replace")
        remarks.append(f"{path.name} is not UTF-8; it was read as Windows-1252.")
    if "\0" in text:
        raise InvalidRatingsError(f"{path.name} is not a text file.", "Save the table as CSV (UTF-8).")
    return text


def _read_file(path: Path, types: Mapping[str, str], remarks: list[str]) -> list[tuple[Rating, _Cell]]:
    """Ratings of one file, their values still text, each with the cell that it came from."""
    text = _text_of(path, remarks)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    take: Callable[[dict[str, _Cell]], list[tuple[Rating, _Cell]]] | None = None
    found: list[tuple[Rating, _Cell]] = []
    line = 1
    try:
        for row in reader:
            at, line = line, reader.line_num + 1
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
            found += take(cells)
    except csv.Error as error:
        raise InvalidRatingsError(
            f"{path.name}, line {reader.line_num}: the row cannot be read ({error}).", "Check its quotes."
        ) from error
    if header is None:
        raise InvalidRatingsError(f"{path.name} is empty.", "It should have a header and rows.")
    return found


def _form(header: Sequence[str], file: str, line: int) -> Callable[[dict[str, _Cell]], list[tuple[Rating, _Cell]]]:
    """What reads the rows below this header: the wide or the long form."""
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
    kind = _known_type(cells["response_type"]) if kind else ""
    rows = []
    for expert in experts:
        cell = cells[f"response_value_{expert}".lower()]
        comment = _optional(cells, f"notes_{expert}".lower())
        rater = expert.replace("_", " ")
        rows.append((Rating(case, "", rater, 0, question, cell.text, kind, text, comment=comment), cell))
    return rows


def _long_row(cells: dict[str, _Cell]) -> list[tuple[Rating, _Cell]]:
    case, question, rater = (_required(cells, name) for name in ("case", "question", "rater"))
    kind = _known_type(cells["response_type"]) if _optional(cells, "response_type") else ""
    repeat = _integer(cells["repeat"]) if _optional(cells, "repeat") else 0
    extra = {}
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
    return _plain(cell.text) if cell and cell.text.lower() not in _EMPTY else ""


def _plain(text: str) -> str:
    """Text without the apostrophe that keeps a spreadsheet from taking it for a formula (see ``tables``)."""
    return text[1:] if len(text) > 1 and text[0] == "'" and text[1] in "=+-@\t\r" else text


def _known_type(cell: _Cell) -> str:
    """The response type in our spelling."""
    plain = cell.text.strip().lower().replace("-", "_").replace(" ", "_").replace("/", "_")
    points = likert_points(plain)
    if points:
        return f"Likert_{points}"
    known = {kind.lower(): kind for kind in (ACCEPTABILITY, YES_NO, NUMERIC, TEXT)}
    known |= {"yesno": YES_NO, "boolean": YES_NO, "number": NUMERIC, "free_text": TEXT}
    if plain not in known:
        raise cell.refuse(
            f"the response type {cell.text!r} is unknown.",
            "Known are Likert_5 (2 to 11 points), Yes_No, Acceptability, Numeric and Text.",
        )
    return known[plain]


def _typed(found: Sequence[tuple[Rating, _Cell]], types: Mapping[str, str], remarks: list[str]) -> list[Rating]:
    """The ratings with values of their question's type; a question without one gets what its values look like."""
    declared: dict[str, str] = {}
    for rating, cell in found:
        kind = types.get(rating.question, rating.response_type)
        if kind and declared.setdefault(rating.question, kind) != kind:
            raise cell.refuse(
                f"question {rating.question!r} is {kind} here and {declared[rating.question]} above.",
                "A question has one response type.",
            )
    declared |= {question: _known_type(_Cell(kind, "--type", 1, question)) for question, kind in types.items()}
    values: dict[str, list[str]] = {}
    for rating, cell in found:
        values.setdefault(rating.question, []).append(cell.text)
    for question, texts in values.items():
        if question not in declared:
            declared[question] = _looks_like(texts)
            remarks.append(f"Question {question!r} has no response type; its answers look like {declared[question]}.")
    typed = []
    for rating, cell in found:
        kind = declared[rating.question]
        value = first = _value(cell, kind)
        if rating.first_value is not None:
            first = _value(replace(cell, text=str(rating.first_value), column="first_value"), kind)
        typed.append(replace(rating, value=value, first_value=first, response_type=kind))
    return typed


def _looks_like(texts: Iterable[str]) -> str:
    """Response type of answers without one. Numbers are never taken for a Likert scale: how many points has it?"""
    plain = {text.strip().lower() for text in texts} - _EMPTY
    if plain and plain <= {"acceptable", "unacceptable"}:
        return ACCEPTABILITY
    if plain and plain <= (_YES | _NO) - {"0", "1"}:
        return YES_NO
    try:
        for text in plain:
            float(_with_point(text))
    except ValueError:
        return TEXT
    return NUMERIC if plain else TEXT


def _value(cell: _Cell, kind: str) -> Answer:
    plain = cell.text.lower()
    if plain in _EMPTY and not (kind == TEXT and plain in {"?", "none"}):
        return None
    if kind == TEXT:
        return _plain(cell.text)
    if kind in (YES_NO, ACCEPTABILITY):
        positive, negative = (YES, NO) if kind == YES_NO else (ACCEPTABLE, UNACCEPTABLE)
        if plain in _YES:
            return positive
        if plain in _NO:
            return negative
        raise cell.refuse(
            f"{cell.text!r} is neither yes nor no.", f"Write {positive} or {negative}, or leave it empty."
        )
    if kind == NUMERIC:
        return _decimal(cell)
    points, number = likert_points(kind), _decimal(cell)
    if not number.is_integer() or not 1 <= number <= points:
        raise cell.refuse(f"{cell.text!r} is no point of {kind}.", f"Write a whole number from 1 to {points}.")
    return int(number)


def _with_point(text: str) -> str:
    """A number's text with a decimal point: ``3,5`` is 3.5; with both signs nobody can be sure."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def _decimal(cell: _Cell) -> float:
    try:
        number = float(_with_point(cell.text.replace("\u00a0", "").replace("−", "-")))
    except ValueError:
        raise cell.refuse(
            f"{cell.text!r} is no number.", "Write it without unit and thousands separator, such as 3.5 or 3,5."
        ) from None
    if number in (float("inf"), float("-inf")) or number != number:
        raise cell.refuse(f"{cell.text!r} is no finite number.", "Leave the cell empty where a value is missing.")
    return number


def _integer(cell: _Cell) -> int:
    number = _decimal(cell)
    if not number.is_integer() or number < 0:
        raise cell.refuse(f"{cell.text!r} is no count.", "Write a whole number, 0 or more.")
    return int(number)


def _flag(cell: _Cell) -> bool:
    plain = cell.text.lower()
    if plain in _YES | {"true"}:
        return True
    if plain in _NO | {"false"}:
        return False
    raise cell.refuse(f"{cell.text!r} is neither true nor false.", "Write True or False.")


def _repeats_from_zero(ratings: Sequence[Rating]) -> list[Rating]:
    """Showings counted from 0, as in a study; who counts from 1 has no 0."""
    if not ratings or min(r.repeat for r in ratings) == 0:
        return list(ratings)
    return [replace(rating, repeat=rating.repeat - 1) for rating in ratings]


def _refuse_double(found: Sequence[tuple[Rating, _Cell]], ratings: Sequence[Rating]) -> None:
    seen: dict[tuple, _Cell] = {}
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
