"""Tables as people save them: separators, encodings, Excel's ``sep=`` line, and paths in either Unicode form."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Separators that are recognised, in the order of preference.
DELIMITERS = (",", ";", "\t")
_SEP_LINE = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)
#: ``1,234`` and ``1.234``: a decimal number for some, a thousand and more for others.
_GROUPED = re.compile(r"[+-]?(?!0)\d{1,3}([.,'\u2019\u00a0\u202f ])\d{3}(?:\1\d{3})*(?:[.,]\d+)?")


@dataclass(frozen=True)
class TableText:
    """The text of a table.

    Attributes
    ----------
    body : str
        Header and rows, without Excel's ``sep=`` line.
    delimiter : str
    skipped_lines : int
        Lines before the body, so that messages name the file's own line numbers.
    encoding : str
    """

    body: str
    delimiter: str
    skipped_lines: int = 0
    encoding: str = "utf-8"


def table_text(data: bytes) -> TableText:
    """Decode a table and find its separator.

    UTF-8 (with or without BOM), UTF-16 with BOM, else Windows-1252, which every byte sequence is. A first line
    ``sep=;``, which Excel writes and reads, names the separator; else the one that is most frequent in the header.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    TableText
    """
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"
        text = data.decode(encoding, errors="replace")
    lines = text.splitlines(keepends=True)
    said = _SEP_LINE.fullmatch(lines[0].rstrip("\r\n")) if lines else None
    if said is None and lines and lines[0].strip("\r\n").lower() == "sep=\t":
        said = re.fullmatch(r"(?i)sep=(\t)", lines[0].strip("\r\n"))
    if said is not None:
        return TableText("".join(lines[1:]), said[1], 1, encoding)
    head = next((line for line in lines if line.strip()), "")
    return TableText(text, max(DELIMITERS, key=head.count), 0, encoding)


def is_ambiguous_number(text: str, decimal_comma: bool = False) -> bool:
    """Whether a number has a separator that may stand for thousands: ``1,234`` is 1.234 or 1234.

    Parameters
    ----------
    text : str
    decimal_comma : bool
        Whether the table writes decimals with a comma, so that a point may stand for thousands. Without it ``1.234`` is
        a decimal number.
    """
    match = _GROUPED.fullmatch(text.strip())
    if match is None:
        return False
    separator, plain = match[1], text.strip()
    # A second kind of separator behind it, or several groups: thousands for certain, but not in one notation only.
    single = plain.count(separator) == 1 and not re.search(r"[.,]", plain.replace(separator, "", 1))
    return separator != "." or decimal_comma or not single


def on_disk(path: Path) -> Path:
    """The path as the file system spells it, where it differs in its Unicode form alone; else the path as it is."""
    if os.path.lexists(path):
        return path
    found = Path(path.anchor) if path.is_absolute() else Path()
    for part in path.parts[1:] if path.is_absolute() else path.parts:
        step = found / part
        if not os.path.lexists(step):
            wanted = unicodedata.normalize("NFC", part)
            try:
                same = [name for name in os.listdir(found) if unicodedata.normalize("NFC", name) == wanted]
            except OSError:
                return path
            if len(same) != 1:
                return path
            step = found / same[0]
        found = step
    return found


#: A cell that starts so would be run by a spreadsheet as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> Any:
    """A value as a cell: nothing for what is missing, and an apostrophe before text that a spreadsheet would run."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], as_cell: Callable[[Any], Any] = cell) -> str:
    """Rows as CSV: commas, one header line, lines that end with a line feed; what a row lacks is an empty cell."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([as_cell(row.get(column)) for column in columns])
    return stream.getvalue()
