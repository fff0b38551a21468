"""Tables of a cohort from its rows, as CSV and Parquet; each is replaced atomically."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..files import csv_tables
from ..files.atomic import all_or_none, output_error, write_whole
from .layout import Layout
from .model import COLUMNS, DONE, ChangeRow, LesionRecord, SessionRow
from .rows import read_lesions

if TYPE_CHECKING:
    import pyarrow

#: Columns of whole numbers and of truth values; those that end in ``_ml`` and their like are decimals, others text.
_WHOLE = frozenset({"lesion_count", "lesion_parts", "regions_with_lesions", "attempts"})
_TRUTH = frozenset({"trusted"})
_DECIMAL = frozenset({"age", "seconds"})
_LESION_WHOLE = frozenset({"number", "parts", "first_slice", "last_slice"})
_LESION_TEXT = frozenset({"case", "subject", "session", "region"})
_FAILURE_COLUMNS = ("case", "subject", "session", "status", "code", "message", "advice", "attempts", "source")
#: Rows of a group of ``lesions.parquet``: so many are in memory.
_LESIONS_AT_ONCE = 50_000


def write_tables(layout: Layout, rows: Mapping[str, SessionRow], changes: Mapping[str, ChangeRow]) -> None:
    """Write ``cohort.csv``, ``cohort.parquet``, ``failures.csv`` and, where there is one, ``changes.csv``.

    Raises
    ------
    OutputError
        If they cannot be written; those of before are as they were.
    """
    ordered = sorted(rows.values(), key=lambda row: row.case)
    flat = [row.flat() for row in ordered]
    columns = list(dict.fromkeys([*COLUMNS, *(name for row in flat for name in row)]))
    write_whole(layout.table_csv, csv_text(columns, flat))
    _write_parquet(layout.table_parquet, _typed(flat, columns))
    failed = [row for row in ordered if row.status != DONE]
    write_whole(layout.failures_csv, csv_text(_FAILURE_COLUMNS, [_failure(row) for row in failed]))
    if changes:
        lines = [change.flat() for change in sorted(changes.values(), key=lambda c: c.name)]
        write_whole(layout.changes_csv, csv_text(list(lines[0]), lines))
    else:
        # Without comparisons, an existing table is outdated.
        try:
            layout.changes_csv.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(layout.root, error) from error


def _failure(row: SessionRow) -> dict[str, Any]:
    return {**row.flat(), "advice": row.advice}


def write_lesions(layout: Layout) -> None:
    """Write ``lesions.parquet``, a piece at a time.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    import pyarrow.parquet as pq

    schema = _lesion_schema()
    with (
        all_or_none(layout.root, [layout.lesions_parquet.name], [layout.lesions_parquet.name]) as folder,
        pq.ParquetWriter(folder / layout.lesions_parquet.name, schema, compression="zstd") as writer,
    ):
        for piece in _pieces(read_lesions(layout)):
            writer.write_table(_lesion_table(piece, schema))


def _pieces(records: Iterator[LesionRecord]) -> Iterator[list[LesionRecord]]:
    while piece := list(islice(records, _LESIONS_AT_ONCE)):
        yield piece


def _lesion_schema() -> pyarrow.Schema:
    import pyarrow as pa

    def kind(name: str) -> pyarrow.DataType:
        return pa.string() if name in _LESION_TEXT else pa.int64() if name in _LESION_WHOLE else pa.float64()

    return pa.schema([(field.name, kind(field.name)) for field in dataclasses.fields(LesionRecord)])


def _lesion_table(records: Sequence[LesionRecord], schema: pyarrow.Schema) -> pyarrow.Table:
    import pyarrow as pa

    return pa.Table.from_pylist([vars(record) for record in records], schema=schema)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV (RFC 4180, UTF-8, one header line); None is an empty cell, and no cell is a formula."""
    return csv_tables.csv_text(columns, rows, _cell)


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else csv_tables.cell(value)


def _typed(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pyarrow.Table:
    import pyarrow as pa

    schema = pa.schema([(name, _kind(name)) for name in columns])
    return pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows], schema=schema)


def _kind(name: str) -> pyarrow.DataType:
    import pyarrow as pa

    if name in _WHOLE or name.startswith("lesions_"):
        return pa.int64()
    if name in _TRUTH:
        return pa.bool_()
    if name in _DECIMAL or name.endswith(("_ml", "_mm")) or name.startswith(("quality_", "lesion_ml_")):
        return pa.float64()
    return pa.string()


def _write_parquet(path: Any, table: pyarrow.Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_whole(path, sink.getvalue().to_pybytes())
