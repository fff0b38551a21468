"""SQLite as the event store's database: one file, how it is opened, and what its errors mean.

Write-ahead log and ``synchronous=FULL``, so that what was committed is on the disk. On folders of a network, where a
write-ahead log cannot be shared, the rollback journal takes its place (https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import sqlalchemy as sa

from .errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from .network_folder import is_network_folder


class SqliteFile:
    """One SQLite file: how it is opened, and what its errors mean."""

    def __init__(self, path: Path, read_only: bool, patience_s: float) -> None:
        self.path = path.absolute()
        self.warnings: list[str] = []
        self._read_only, self._patience_s = read_only, patience_s
        self._network = is_network_folder(self.path.parent)
        if not read_only:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreReadOnlyError(
                    f"The folder {self.path.parent} cannot be created: {error.strerror or error}.",
                    "Choose another folder for the review store in the settings.",
                ) from error

    def engine(self) -> sa.Engine:
        """SQLAlchemy's engine; the file is opened with the first connection."""
        pool = {"poolclass": sa.pool.QueuePool, "pool_size": 4, "max_overflow": 12}
        return sa.create_engine("sqlite://", creator=self._connect, **pool)

    def _connect(self) -> sqlite3.Connection:
        if self._read_only:
            return self._connect_read_only()
        connection = sqlite3.connect(self.path, timeout=self._patience_s, isolation_level=None, check_same_thread=False)
        try:
            self._set_journal(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_read_only(self) -> sqlite3.Connection:
        def opened(options: str) -> sqlite3.Connection:
            uri = f"{self.path.as_uri()}?{options}"
            connection = sqlite3.connect(
                uri, uri=True, timeout=self._patience_s, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except BaseException:
                connection.close()
                raise
            return connection

        try:
            return opened("mode=ro")
        except sqlite3.OperationalError:
            # A write-ahead log cannot be opened where no index may be written beside it. With nothing in the log, the
            # file alone is complete.
            log = self.path.with_name(self.path.name + "-wal")
            if not self.path.exists() or (log.exists() and log.stat().st_size > 0):
                raise
            return opened("mode=ro&immutable=1")

    def _set_journal(self, connection: sqlite3.Connection) -> None:
        wanted = "delete" if self._network else "wal"
        mode = self._journal_mode(connection, wanted)
        if mode != "wal":
            mode = self._journal_mode(connection, "delete") if mode in ("off", "memory") else mode
            self._warn_of_journal()
        # With a rollback journal, EXTRA also makes sure that the journal's end has reached the disk.
        connection.execute("PRAGMA synchronous=FULL" if mode == "wal" else "PRAGMA synchronous=EXTRA")
        # macOS: make the disk itself write, not just take notice.
        connection.execute("PRAGMA fullfsync=ON")

    def _journal_mode(self, connection: sqlite3.Connection, wanted: str) -> str:
        """Ask for a journal mode; the one that there is now. Changing it needs the file for a moment alone."""
        until = time.monotonic() + self._patience_s
        while True:
            try:
                if connection.execute("PRAGMA journal_mode").fetchone()[0].lower() == wanted:
                    return wanted
                out: str = connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0].lower()
                return out
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.02)

    def _warn_of_journal(self) -> None:
        where = "on a network folder" if self._network else "where no write-ahead log can be kept"
        message = (
            f"The review store is {where}; it works with a rollback journal, slower. For several computers at once "
            "use PostgreSQL."
        )
        if message not in self.warnings:
            self.warnings.append(message)

    def typed_error(self, error: BaseException | None) -> StoreError:
        """The typed error, with advice, for SQLite's one."""
        text, name = str(error), str(self.path)
        if "database or disk is full" in text:
            return _disk_full(name)
        if "locked" in text or "busy" in text:
            return StoreUnavailableError(
                f"The review store {name} has been in use by another program for too long.",
                "Close other programs that have it open, or try again.",
            )
        if "readonly" in text or "read-only" in text:
            return StoreReadOnlyError(
                f"The review store {name} may not be written to.",
                "Ask for write permission, or choose another store in the settings.",
            )
        if "unable to open" in text:
            return StoreReadOnlyError(
                f"The review store {name} cannot be opened.",
                "Check that its folder exists and may be written to, or choose another store in the settings.",
            )
        if "not a database" in text or "malformed" in text:
            return StoreDamagedError(
                f"The review store {name} is damaged or not a database.",
                "Keep the file, restore it from a backup, and let FlairSeg replay the outbox into it.",
            )
        if "disk I/O error" in text:
            return self._not_written(name)
        return StoreError(f"The review store {name} refused: {text}.", "Keep the file and report this message.")

    def _not_written(self, name: str) -> StoreError:
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError:
            free = None
        if free is not None and free < 1 << 20:
            return _disk_full(name)
        return StoreUnavailableError(
            f"The disk rejects writes to the review store {name}; the event was not stored.",
            "Check the disk, its quota and its connection.",
        )


def _disk_full(name: str) -> StoreFullError:
    return StoreFullError(
        f"The disk of the review store {name} is full; the event was not stored.",
        "Free some space. Events in the outbox are stored then.",
    )
