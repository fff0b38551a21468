"""Sessions of a table: one row per session with ``path``, and subject, session, site, age, group as far as known."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from io import StringIO
from pathlib import Path

from ..errors import InputNotFoundError, UnreadableImageError
from ..files.csv_tables import on_disk, table_text
from ..files.names import IMAGE_ENDINGS, stem_of
from .bids_labels import date_in, first_name, label_of, plain_name, subject_and_session, subject_labels, subjects_meant
from .model import TABLE, Session

#: Accepted column names, lower case, by content.
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "subject": ("subject", "participant_id", "participant", "subject_id", "patient", "patient_id", "id", "case"),
    "session": ("session", "session_id", "ses", "visit", "timepoint", "time_point"),
    "path": ("path", "flair", "file", "filename", "image", "folder"),
    "site": ("site", "center", "centre", "scanner", "institution", "hospital"),
    "age": ("age", "age_years", "age_at_scan"),
    "group": ("group", "diagnosis", "dx", "phenotype", "arm", "cohort"),
    "sex": ("sex", "gender"),
    "date": ("date", "scan_date", "acq_time", "study_date", "acquisition_date"),
}
_WRITTEN = re.compile(r"(?P<a>\d{1,2})(?P<mark>[./-])(?P<b>\d{1,2})(?P=mark)(?P<y>(?:19|20)\d\d)(?!\d)")
#: An age, also as DICOM has it: ``45``, ``45.5``, ``045Y``, ``45 years``.
_YEARS = re.compile(r"(\d+(?:\.\d*)?)\s*(?:y|yr|yrs|years?)?\.?", re.IGNORECASE)
_SHIFTED = re.compile(r"(?P<y>18\d\d)-(?P<a>\d\d)-(?P<b>\d\d)(?!\d)")
#: Missing-value markers of tables; ``n/a`` is BIDS'.
_MISSING = frozenset({"", "n/a", "na", "nan", "none", "null", "-", "unknown"})


def read_rows(path: Path, given: bool = True) -> list[dict[str, str]]:
    """The rows of a CSV, TSV or plain list, by the names of :data:`COLUMN_NAMES`; other columns are left out.

    Of several columns with one content (``subject``, ``id``) the one counts whose name comes first there, in each row
    that has an entry in it. Dates become ISO 8601.

    Parameters
    ----------
    path : Path
    given : bool
        Whether the user named the table: a date that cannot be read is an error then, since the order of the sessions
        rests on it, and no date otherwise.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    UnreadableImageError
        Code ``unreadable-table``: not a table, without rows, or with a date that cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputNotFoundError(f"There is no table {path}.", "Check the path for typing errors.") from error
    except OSError as error:
        raise UnreadableImageError(
            f"The table {path.name} cannot be read: {error.strerror or error}.", "Check its permissions."
        ) from error
    text = table_text(data)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else text.delimiter
    lines = [line for line in csv.reader(StringIO(text.body), delimiter=delimiter) if any(c.strip() for c in line)]
    if not lines:
        raise _unreadable(path, "it holds no rows")
    names = [_meaning(cell) for cell in lines[0]]
    if not any(names):
        if all(len(line) == 1 for line in lines):
            # A list of files, without a head.
            return [{"path": line[0].strip()} for line in lines]
        raise _unreadable(path, f"none of its columns ({', '.join(lines[0][:8])}) has a known name")
    heads = [cell.strip().lower().replace(" ", "_") for cell in lines[0]]
    # The most telling name last: its entries replace those of the others.
    columns = sorted((n for n, name in enumerate(names) if name), key=lambda n: -COLUMN_NAMES[names[n]].index(heads[n]))
    rows = [{names[n]: line[n].strip() for n in columns if n < len(line) and _known(line[n])} for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if "date" not in row:
            continue
        row["date"] = date_in(row["date"]) or _other_date(said := row["date"])
        if not row["date"] and given:
            raise _unreadable(path, f"the date {said!r} of row {number} cannot be read; write dates as YYYY-MM-DD")
    return rows


def _other_date(text: str) -> str:
    """A date as people write it, in ISO 8601: ``3.2.2021`` (day first), ``13/2/2021``; empty where either could be.

    BIDS shifts dates to before 1925 to remove identity; those of the 19th century are dates here alone.
    """
    found = _WRITTEN.match(text) or _SHIFTED.match(text)
    if found is None:
        return ""
    first, second = int(found["a"]), int(found["b"])
    if found.re is _SHIFTED or (found["mark"] != "." and second > 12):
        first, second = second, first
    elif found["mark"] != "." and first <= 12 and first != second:
        return ""
    try:
        return date(int(found["y"]), second, first).isoformat()
    except ValueError:
        return ""


def _unreadable(path: Path, why: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"The table {path.name} cannot be used: {why}.",
        "Give a CSV or TSV file with a column path, and subject, session, site, age, group as far as known.",
        code="unreadable-table",
        file=path.name,
    )


def _meaning(cell: str) -> str:
    plain = cell.strip().lower().replace(" ", "_")
    return next((name for name, said in COLUMN_NAMES.items() if plain in said), "")


def _known(cell: str) -> bool:
    return cell.strip().lower() not in _MISSING


def table_sessions(path: Path) -> list[Session]:
    """Sessions of a table or list; relative paths start at the table's folder.

    Raises
    ------
    InputNotFoundError, UnreadableImageError
        As for :func:`read_rows`; code ``unreadable-table`` also where there is no column of paths.
    """
    rows = read_rows(path)
    if not any("path" in row for row in rows):
        raise _unreadable(path, "it has no column of paths")
    found = []
    for number, row in enumerate(rows, start=2):
        if "path" not in row:
            found.append(_without_path(row, number, path))
            continue
        image = on_disk(Path(path.parent, row["path"]).absolute())
        named, visit = subject_and_session(_parts(Path(row["path"])))
        subject = first_name(row.get("subject", ""), named, stem_of(image))
        session = label_of(row.get("session", "") or visit, "ses")
        plain = Session(subject, session, str(image), TABLE, f"Named in row {number} of {path.name}.")
        found.append(with_covariates(plain, row))
    return found


def _without_path(row: Mapping[str, str], number: int, path: Path) -> Session:
    subject = first_name(row.get("subject", ""), f"row{number}")
    reason = f"Row {number} of {path.name} names no file."
    return with_covariates(Session(subject, label_of(row.get("session", ""), "ses"), "", TABLE, reason), row)


def _parts(path: Path) -> list[str]:
    folders = [p for p in path.parts[:-1] if p not in ("..", ".", path.anchor)]
    last = stem_of(path) if path.name.lower().endswith(IMAGE_ENDINGS) else path.name
    return [*folders[-2:], last]


def with_covariates(session: Session, row: Mapping[str, str]) -> Session:
    """The session with a row's entries; known values are kept where the row has none."""
    return replace(
        session,
        site=row.get("site", session.site),
        group=row.get("group", session.group),
        sex=row.get("sex", session.sex),
        age=_number(row.get("age", ""), session.age),
        date=row.get("date") or session.date or date_in(row.get("session", "")),
    )


def _number(text: str, otherwise: float | None) -> float | None:
    years = _YEARS.fullmatch(text.replace(",", "."))
    if years is None:
        return otherwise
    value = float(years[1])
    return value if 0 <= value < 130 else otherwise


def join_covariates(sessions: Iterable[Session], rows: Sequence[Mapping[str, str]]) -> list[Session]:
    """Sessions with the covariates of a table: by subject and session where it names sessions, else by subject.

    Parameters
    ----------
    sessions : iterable of Session
        Of a source, their subjects called as it has them.
    rows : sequence of mapping
        Of :func:`read_rows`.
    """
    found = list(sessions)
    labels = subject_labels(session.subject for session in found)
    meant = subjects_meant((row.get("subject", "") for row in rows), labels)
    by_subject: dict[tuple[str | None, str], Mapping[str, str]] = {}
    for row in rows:
        named = meant.get(plain_name(row.get("subject", "")))
        by_subject.setdefault((named, label_of(row.get("session", ""), "ses").lower()), row)
    out = []
    for session in found:
        subject = plain_name(session.subject)
        row = by_subject.get((subject, session.session.lower())) or by_subject.get((subject, "")) or {}
        out.append(with_covariates(session, row))
    return out
