"""The tables of the event store on SQLite and PostgreSQL, their guards, and databases' errors in plain words.

The one module that imports SQLAlchemy; :mod:`.store` imports it when a store is opened.

SQLite: write-ahead log and ``synchronous=FULL``, so that what was committed is on the disk. On folders of a network, where
a write-ahead log cannot be shared, the rollback journal takes its place (https://www.sqlite.org/wal.html).
PostgreSQL: one advisory lock per stream for as long as a transaction appends to it, ``synchronous_commit`` never off.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from ..errors import MissingDependencyError
from .errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from .events import utc_now

#: Version of the tables. A store of a newer one is refused.
SCHEMA_VERSION = 1

_METADATA = sa.MetaData()
SCHEMA = sa.Table(
    "flairseg_schema",
    _METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created_at", sa.Text, nullable=False),
)
EVENTS = sa.Table(
    "flairseg_events",
    _METADATA,
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("recorded_at", sa.Text, nullable=False),
    sa.Column("stored_at", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.UniqueConstraint("stream", "sequence"),
    sqlite_autoincrement=True,
)
#: Names of the triggers that refuse what an append-only table does not do.
GUARDS = ("flairseg_events_no_update", "flairseg_events_no_delete", "flairseg_events_in_order")

_REFUSED = "flairseg_events is append-only"
_OUT_OF_ORDER = "flairseg_events takes the next event of a stream only"
_FOLLOWS = (
    "NEW.sequence = 1 + coalesce((SELECT max(sequence) FROM flairseg_events WHERE stream = NEW.stream), 0) "
    "AND NEW.previous_hash = coalesce((SELECT hash FROM flairseg_events WHERE stream = NEW.stream "
    "ORDER BY sequence DESC LIMIT 1), '{genesis}')"
).format(genesis="0" * 64)
# INSERT OR REPLACE would delete without a delete trigger; the order trigger fires before it can.
_SQLITE_GUARDS = (
    f"CREATE TRIGGER IF NOT EXISTS {GUARDS[0]} BEFORE UPDATE ON flairseg_events "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
    f"CREATE TRIGGER IF NOT EXISTS {GUARDS[1]} BEFORE DELETE ON flairseg_events "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
    f"CREATE TRIGGER IF NOT EXISTS {GUARDS[2]} BEFORE INSERT ON flairseg_events "
    f"WHEN NOT ({_FOLLOWS}) OR EXISTS (SELECT 1 FROM flairseg_events WHERE event_id = NEW.event_id) "
    f"BEGIN SELECT RAISE(ABORT, '{_OUT_OF_ORDER}'); END",
)
_POSTGRESQL_GUARDS = (
    "CREATE OR REPLACE FUNCTION flairseg_events_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    "CREATE OR REPLACE FUNCTION flairseg_events_order() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN IF NOT ({_FOLLOWS}) THEN RAISE EXCEPTION '{_OUT_OF_ORDER}' "
    "USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END $$",
    f"CREATE TRIGGER {GUARDS[0]} BEFORE UPDATE OR TRUNCATE ON flairseg_events "
    "FOR EACH STATEMENT EXECUTE FUNCTION flairseg_events_refuse()",
    f"CREATE TRIGGER {GUARDS[1]} BEFORE DELETE ON flairseg_events "
    "FOR EACH STATEMENT EXECUTE FUNCTION flairseg_events_refuse()",
    f"CREATE TRIGGER {GUARDS[2]} BEFORE INSERT ON flairseg_events "
    "FOR EACH ROW EXECUTE FUNCTION flairseg_events_order()",
)
#: Any number, the same in every FlairSeg: who creates the tables holds this lock.
_CREATION_LOCK = 0x464C414952
#: File systems that other computers write to as well.
_NETWORK_FILE_SYSTEMS = frozenset(
    "9p afs afpfs beegfs ceph cifs davfs fuse.sshfs fuse.glusterfs gpfs lustre ncpfs nfs nfs4 prl_fs smb2 smb3 smbfs "
    "vboxsf vmhgfs webdav fuse.vmhgfs-fuse fuse.rclone".split()
)
#: PostgreSQL's error classes after which the same transaction may well succeed: serialization failure, deadlock, lock
#: not available, shutting down, crashed, starting up, too many connections, lost connection.
_PASSING = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "08", "25006")
_LATER = "Nothing was lost: what waits in the outbox is delivered when the store is back. Check network and server."

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
        if self.is_sqlite:
            self.name = str(address) if url is None else str(url.database)
            self._file = _SqliteFile(Path(self.name), read_only, patience_s)
            self._engine = self._file.engine()
        else:
            self.name = url.render_as_string(hide_password=True)
            self._engine = _postgresql_engine(url, patience_s)
        try:
            self._prepare()
        except BaseException:
            self._engine.dispose()
            raise

    def read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Run ``work`` on one unchanging view of the store."""
        return self._persistently(work, None)

    def write(self, work: Callable[[sa.Connection], _T], streams: Iterable[str]) -> _T:
        """Run ``work`` in a transaction that alone may append to ``streams``; what it wrote is on the disk on return."""
        if self.read_only:
            raise StoreReadOnlyError(
                f"The review store {self.name} may not be written to.",
                "Ask for the permission, or choose another store in the settings.",
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
                    f"{self.name} holds no review events.", "Check the address of the store in the settings."
                )
            version = self.write(self._create, ["*"])
        if version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"The review store {self.name} was made by a newer FlairSeg (its version is {version}, this one knows "
                f"{SCHEMA_VERSION}).",
                "Update FlairSeg on this computer; the store was left as it is.",
            )
        if self.is_sqlite:
            self.warnings += self._file.warnings
        else:
            self.warnings += self.read(_server_warnings)

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
            _METADATA.create_all(connection)
            for statement in _SQLITE_GUARDS if self.is_sqlite else _POSTGRESQL_GUARDS:
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
                failure = self._in_words(error)
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
                connection.execute(_PROMISE, {"wait": f"{max(1, round(self.patience_s * 1000))}ms"})
                # Sorted, so that two writers to the same streams never wait for each other.
                for number in locks:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    def _in_words(self, error: DBAPIError) -> StoreError:
        """The typed error, with advice, for a database's one."""
        if self.is_sqlite:
            return self._file.in_words(error.orig)
        return _postgresql_in_words(self.name, error)


class _SqliteFile:
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
                    f"The folder {self.path.parent} cannot be made: {error.strerror or error}.",
                    "Choose another folder for the review store in the settings.",
                ) from error

    def engine(self) -> sa.Engine:
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
            # file alone says everything.
            log = self.path.with_name(self.path.name + "-wal")
            if not self.path.exists() or (log.exists() and log.stat().st_size > 0):
                raise
            return opened("mode=ro&immutable=1")

    def _set_journal(self, connection: sqlite3.Connection) -> None:
        wanted = "delete" if self._network else "wal"
        mode = self._journal_mode(connection, wanted)
        if mode != "wal":
            mode = self._journal_mode(connection, "delete") if mode == "off" or mode == "memory" else mode
            self._warn_of_journal()
        # With a rollback journal, EXTRA also makes sure that the journal's end has reached the disk.
        connection.execute("PRAGMA synchronous=FULL" if mode == "wal" else "PRAGMA synchronous=EXTRA")

    def _journal_mode(self, connection: sqlite3.Connection, wanted: str) -> str:
        """Ask for a journal mode; the one that there is now. Changing it needs the file for a moment alone."""
        until = time.monotonic() + self._patience_s
        while True:
            try:
                if connection.execute("PRAGMA journal_mode").fetchone()[0].lower() == wanted:
                    return wanted
                return connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0].lower()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.02)

    def _warn_of_journal(self) -> None:
        where = "on a network folder" if self._network else "where no write-ahead log can be kept"
        message = (
            f"The review store lies {where}; it works with a rollback journal, slower. For several computers at once use "
            "PostgreSQL."
        )
        if message not in self.warnings:
            self.warnings.append(message)

    def in_words(self, error: BaseException | None) -> StoreError:
        text, name = str(error), str(self.path)
        if "database or disk is full" in text:
            return StoreFullError(
                f"The disk of the review store {name} is full; the event was not stored.",
                "Free some space. What waits in the outbox is stored then.",
            )
        if "locked" in text or "busy" in text:
            return StoreUnavailableError(
                f"The review store {name} is in use by another program for too long.",
                "Close other programs that have it open, or try again.",
            )
        if "readonly" in text or "read-only" in text:
            return StoreReadOnlyError(
                f"The review store {name} may not be written to.",
                "Ask for the permission, or choose another store in the settings.",
            )
        if "unable to open" in text:
            return StoreReadOnlyError(
                f"The review store {name} cannot be opened.",
                "Check that its folder exists and may be written to, or choose another store in the settings.",
            )
        if "not a database" in text or "malformed" in text:
            return StoreDamagedError(
                f"The review store {name} is damaged or is no database.",
                "Keep the file, bring it back from a backup, and let FlairSeg replay the outbox into it.",
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
            return StoreFullError(
                f"The disk of the review store {name} is full; the event was not stored.",
                "Free some space. What waits in the outbox is stored then.",
            )
        return StoreUnavailableError(
            f"The disk does not take what is written to the review store {name}; the event was not stored.",
            "Check the disk, its quota and its connection.",
        )


# --- PostgreSQL

#: Nobody's setting takes the promise back that a committed event is on the disk; a stuck lock is an error, not a freeze.
_PROMISE = sa.text(
    "SELECT set_config('lock_timeout', :wait, true), "
    "CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END"
)


def _postgresql_engine(url: sa.URL, patience_s: float) -> sa.Engine:
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise StoreError(
            f"A review store cannot be kept in {url.get_backend_name()}.", "Use an SQLite file or a PostgreSQL address."
        )
    options = {
        "connect_timeout": max(2, min(10, round(patience_s))),
        "application_name": "flairseg",
        # A computer that vanished is noticed within half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        # Connection poolers of hospitals do not carry prepared statements.
        "prepare_threshold": None,
    }
    options = {key: value for key, value in options.items() if key not in url.query}
    try:
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=options,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=12,
        )
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "A review store on PostgreSQL needs the package psycopg.", "Install it: pip install 'psycopg[binary]'."
        ) from error


def _postgresql_in_words(name: str, error: DBAPIError) -> StoreError:
    state = getattr(error.orig, "sqlstate", None) or ""
    text = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    if state in ("53100",):
        return StoreFullError(
            f"The disk of the review store {name} is full; the event was not stored.",
            "Tell who runs the server. What waits in the outbox is stored when there is space.",
        )
    if state in ("42501",):
        return StoreReadOnlyError(
            f"The review store {name} may not be written to by this user.",
            "Ask who runs the server for SELECT and INSERT on flairseg_events (and CREATE for the first start).",
        )
    if state.startswith("28"):
        return StoreUnavailableError(
            f"The review store {name} refuses user or password.", "Correct the store's address in the settings."
        )
    if state in ("3D000",):
        return StoreUnavailableError(
            f"The server has no database for the review store {name}.", "Ask who runs the server to create it."
        )
    # psycopg has no state for a connection that never came about or broke.
    if error.connection_invalidated or not state or state.startswith(_PASSING):
        return StoreUnavailableError(f"The review store {name} cannot be reached ({text}).", _LATER)
    return StoreError(f"The review store {name} refused: {text}.", "Tell who runs the server this message.")


def _server_warnings(connection: sa.Connection) -> list[str]:
    settings = dict(
        connection.execute(
            sa.text(
                "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'server_encoding')"
            )
        ).all()
    )
    warnings = []
    if settings.get("server_encoding") != "UTF8":
        raise StoreError(
            f"The database of the review store is encoded in {settings.get('server_encoding')}.",
            "Ask who runs the server for a database with the encoding UTF8.",
        )
    if "off" in (settings.get("fsync"), settings.get("full_page_writes")):
        warnings.append(
            "The PostgreSQL server does not wait for its disk (fsync or full_page_writes is off): a power cut may lose "
            "answers. Tell who runs it."
        )
    return warnings


def _is_passing(failure: StoreError) -> bool:
    return isinstance(failure, StoreUnavailableError)


def _lock_number(stream: str) -> int:
    """The advisory lock of a stream: 64 bits of its hash, signed as PostgreSQL wants them."""
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


def is_network_folder(folder: Path) -> bool:
    """Whether a folder lies on another computer, as far as the operating system tells."""
    folder = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if sys.platform == "win32":
        return _is_windows_network(folder)
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return mount_type(mounts, folder.resolve()) in _NETWORK_FILE_SYSTEMS


def mount_type(mountinfo: str, folder: Path) -> str:
    """Type of the file system that holds a folder, from Linux's ``/proc/self/mountinfo`` (proc(5))."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        # Later lines lie on top of earlier ones.
        if (folder == point or point in folder.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def _is_windows_network(folder: Path) -> bool:
    import ctypes

    drive = folder.resolve().drive
    remote = 4
    return drive.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == remote
