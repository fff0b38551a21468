"""PostgreSQL as the event store's database: how it is reached, what it promises, and what its errors mean.

Error codes: https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ..errors import MissingDependencyError
from .errors import StoreAddressError, StoreError, StoreFullError, StoreReadOnlyError, StoreUnavailableError

#: PostgreSQL's error classes after which the same transaction may well succeed: serialization failure, deadlock, lock
#: not available, shutting down, crashed, starting up, too many connections, lost connection.
_PASSING = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "08", "25006")
_LATER = "Nothing was lost: pending entries are delivered when the store is reachable. Check network and server."

#: No setting of the server takes the promise back that a committed event is on the disk; and a lock that another
#: program never gives back is an error, not a freeze.
PROMISE = sa.text(
    "SELECT set_config('lock_timeout', :wait, true), "
    "CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END"
)


def make_engine(url: sa.URL, patience_s: float) -> sa.Engine:
    """SQLAlchemy's engine for a server; nothing is connected yet.

    Raises
    ------
    StoreError
        If the address names another kind of database.
    MissingDependencyError
        If psycopg is not installed.
    """
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


def typed_error(name: str, error: DBAPIError) -> StoreError:
    """The typed error, with advice, for a server's one."""
    state = getattr(error.orig, "sqlstate", None) or ""
    text = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    if state == "53100":
        return StoreFullError(
            f"The disk of the review store {name} is full; the event was not stored.",
            "Inform the server's administrator. Pending entries are stored once there is space.",
        )
    if state == "42501":
        return StoreReadOnlyError(
            f"The review store {name} may not be written to by this user.",
            "Ask the server's administrator for SELECT and INSERT on flairseg_events (and CREATE for the first start).",
        )
    # A connection that is refused has no code, only the server's words.
    if state.startswith("28") or "authentication failed" in text or re.search(r'(role|user) ".*" does not exist', text):
        return StoreAddressError(
            f"The review store {name} rejects user or password.", "Correct the store's address in the settings."
        )
    if state == "3D000" or re.search(r'database ".*" does not exist', text):
        return StoreAddressError(
            f"The server has no database for the review store {name}.", "Ask the server's administrator to create it."
        )
    # psycopg has no state for a connection that never came about or broke.
    if error.connection_invalidated or not state or state.startswith(_PASSING):
        return StoreUnavailableError(f"The review store {name} cannot be reached ({text}).", _LATER)
    return StoreError(f"The review store {name} refused: {text}.", "Report this message to the server's administrator.")


def server_warnings(connection: sa.Connection) -> list[str]:
    """Return remarks on the server's settings for the user.

    Raises
    ------
    StoreError
        If the database cannot hold every text.
    """
    wanted = "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'server_encoding')"
    settings = {row.name: row.setting for row in connection.execute(sa.text(wanted))}
    warnings = []
    if settings.get("server_encoding") != "UTF8":
        raise StoreError(
            f"The database of the review store is encoded in {settings.get('server_encoding')}.",
            "Ask the server's administrator for a database with the encoding UTF8.",
        )
    if "off" in (settings.get("fsync"), settings.get("full_page_writes")):
        warnings.append(
            "The PostgreSQL server does not wait for its disk (fsync or full_page_writes is off): a power cut may lose "
            "answers. Inform its administrator."
        )
    return warnings
