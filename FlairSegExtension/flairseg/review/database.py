"""Transactions on the event store's database: SQLite or PostgreSQL, tried again where that makes sense, errors typed.

Only this module and those it imports (tables, SQLite, PostgreSQL) need SQLAlchemy; :mod:`.store` imports it when a
store is opened. One writer at a time appends to a stream: SQLite locks the file, PostgreSQL one advisory lock a stream
for as long as the transaction lasts.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from . import postgresql_server
from .errors import (
    StoreAddressError,
    StoreDamagedError,
    StoreError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from .events import utc_now
from .sqlite_file import SqliteFile
from .tables import METADATA, POSTGRESQL_GUARDS, SCHEMA, SCHEMA_VERSION, SQLITE_GUARDS

#: Any number, the same in every FlairSeg: who creates the tables holds this lock.
_CREATION_LOCK = 0x464C414952

_T = TypeVar("_T")


class Database:
    """Connections to one store, transactions that are tried again where that makes sense, and typed errors.

    Parameters
    ----------
    address : str or Path
        Path of an SQLite file, or an address ``sqlite:///...`` or ``postgresql://user:password@host/name``.
    read_only : bool
        Open without writing anything, not even tables.
    patience_s : float
        For how long a locked or unreachable store is tried again.
    """

    def __init__(self, address: str | Path, read_only: bool, patience_s: float) -> None:
        self.patience_s = patience_s
        self.warnings: list[str] = []
        self.read_only = read_only
        url = _url(address)
        self.is_sqlite = url is None or url.get_backend_name() == "sqlite"
        if url is None or self.is_sqlite:
            self.name = str(address) if url is None else str(url.database)
            self._file = SqliteFile(Path(self.name), read_only, patience_s)
            self._engine = self._file.engine()
        else:
            self.name = url.render_as_string(hide_password=True)
            self._engine = postgresql_server.make_engine(url, patience_s)
        try:
            self._prepare()
        except BaseException:
            self._engine.dispose()
            raise

    def read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Run ``work`` on one unchanging view of the store."""
        return self._persistently(work, None)

    def write(self, work: Callable[[sa.Connection], _T], streams: Iterable[str]) -> _T:
        """Run ``work`` in a transaction that alone may append to ``streams``; on return its work is on the disk."""
        if self.read_only:
            raise StoreReadOnlyError(
                f"The review store {self.name} may not be written to.",
                "Ask for write permission, or choose another store in the settings.",
            )
        return self._persistently(work, sorted({_lock_number(stream) for stream in streams}))

    def guards(self) -> set[str]:
        """Names of the guarding triggers that are there and at work."""
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'flairseg_events'"
            if self.is_sqlite
            else "SELECT tgname FROM pg_trigger WHERE tgrelid = 'flairseg_events'::regclass AND tgenabled IN ('O', 'A')"
        )
        return set(self.read(lambda connection: connection.execute(sa.text(query)).scalars().all()))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # --- opening

    def _prepare(self) -> None:
        version = self.read(self._version)
        if version is None:
            if self.read_only:
                raise StoreDamagedError(
                    f"{self.name} contains no review events.", "Check the address of the store in the settings."
                )
            version = self.write(self._create, ["*"])
        if version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"The review store {self.name} was made by a newer FlairSeg (its version is {version}, this one knows "
                f"{SCHEMA_VERSION}).",
                "Update FlairSeg on this computer; the store is unchanged.",
            )
        if self.is_sqlite:
            self.warnings += self._file.warnings
        else:
            self.warnings += self.read(postgresql_server.server_warnings)

    def _version(self, connection: sa.Connection) -> int | None:
        if not sa.inspect(connection).has_table(SCHEMA.name):
            return None
        return connection.execute(sa.select(sa.func.max(SCHEMA.c.version))).scalar()

    def _create(self, connection: sa.Connection) -> int:
        if not self.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
        # Another process may have been quicker.
        version = self._version(connection)
        if version is None:
            METADATA.create_all(connection)
            for statement in SQLITE_GUARDS if self.is_sqlite else POSTGRESQL_GUARDS:
                connection.exec_driver_sql(statement)
            connection.execute(SCHEMA.insert().values(version=SCHEMA_VERSION, created_at=utc_now()))
            version = SCHEMA_VERSION
        return version

    # --- transactions

    def _persistently(self, work: Callable[[sa.Connection], _T], locks: list[int] | None) -> _T:
        """Try a transaction until it succeeds, fails for good, or patience ends."""
        until, wait, collisions = time.monotonic() + self.patience_s, 0.01, 0
        while True:
            try:
                with self._transaction(locks) as connection:
                    return work(connection)
            except DBAPIError as error:
                failure = self._typed_error(error)
                # Another process stored the same event or number between our look and our insert: look again.
                collisions += isinstance(error, IntegrityError)
                again = collisions < 20 if isinstance(error, IntegrityError) else _is_passing(failure)
                if not again or time.monotonic() + wait > until:
                    raise failure from error
            time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - spreads writers, keeps no secret
            wait = min(2 * wait, 1.0)

    @contextmanager
    def _transaction(self, locks: list[int] | None) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection, connection.begin():
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN" if locks is None else "BEGIN IMMEDIATE")
            elif locks is not None:
                connection.execute(postgresql_server.PROMISE, {"wait": f"{max(1, round(self.patience_s * 1000))}ms"})
                # Sorted, so that two writers to the same streams never wait for each other.
                for number in locks:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    def _typed_error(self, error: DBAPIError) -> StoreError:
        """The typed error, with advice, for a database's one."""
        if self.is_sqlite:
            return self._file.typed_error(error.orig)
        return postgresql_server.typed_error(self.name, error)


def _is_passing(failure: StoreError) -> bool:
    return isinstance(failure, StoreUnavailableError) and not isinstance(failure, StoreAddressError)


def _lock_number(stream: str) -> int:
    """The advisory lock of a stream: 64 bits of its hash, signed, as PostgreSQL requires."""
    digest = hashlib.sha256(b"flairseg " + stream.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


# --- addresses


def _url(address: str | Path) -> sa.URL | None:
    """The parsed address of a store; None for the path of a file."""
    if isinstance(address, Path) or "://" not in address:
        return None
    try:
        return sa.make_url(address)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(
            "The address of the review store cannot be read.",
            "Use a path, or postgresql://user:password@host/database (special characters of the password as %XX).",
        ) from error
