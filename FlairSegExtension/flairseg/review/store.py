"""The event store: append-only, in SQLite or PostgreSQL, each stream chained by sha256.

Nothing is ever updated or deleted, and triggers in the database refuse it. An event that :meth:`ReviewStore.append`
returned is on the disk; an event sent again under its id is returned as stored. Order is the sequence number
within a stream, independent of clocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError
from .chain import GUARD_REMOVED, Problem, problems_of
from .errors import EventConflictError, StoreDamagedError
from .events import Anchor, Event, NewEvent, canonical_json, chained, new_event, utc_now

if TYPE_CHECKING:
    import sqlalchemy as sa

#: For how long a locked or unreachable store is tried again, seconds.
PATIENCE_S = 20.0
#: Ids per query: SQLite allows 999 parameters in old versions.
_IDS_PER_QUERY = 500


class ReviewStore:
    """Append-only, hash-chained events.

    Parameters
    ----------
    address : str or Path
        Path of an SQLite file (made if need be, with its folder), or ``postgresql://user:password@host/database``.
    read_only : bool
        Open for reading only; works in folders that may not be written to.
    patience_s : float
        For how long a locked or unreachable store is tried again, seconds.

    Attributes
    ----------
    warnings : tuple of str
        Remarks on the store's location for the user (a network folder, a server that does not sync).

    Raises
    ------
    MissingDependencyError
        If SQLAlchemy (or psycopg, for PostgreSQL) is not installed.
    StoreUnavailableError, StoreReadOnlyError, StoreDamagedError, StoreVersionError, StoreError
        If it cannot be opened.
    """

    def __init__(self, address: str | Path, read_only: bool = False, patience_s: float = PATIENCE_S) -> None:
        try:
            from .database import Database
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"The review store needs the package SQLAlchemy ({error.name} is not installed).",
                "Install it: pip install SQLAlchemy. Until then, verdicts and answers wait safely in the outbox.",
            ) from error
        self._database = Database(address, read_only, patience_s)
        self.warnings = tuple(self._database.warnings)

    @property
    def name(self) -> str:
        """Path, or address without its password."""
        return self._database.name

    def append(
        self,
        stream: str,
        kind: str,
        payload: Mapping[str, Any],
        event_id: str | None = None,
        recorded_at: str | datetime | None = None,
    ) -> Event:
        """Add one event; once this returns, it is on the disk.

        Parameters
        ----------
        stream, kind, payload
            See :class:`~flairseg.review.events.NewEvent`.
        event_id : str, optional
            UUID. If an event of that id is stored already, that one is given back and nothing is added.
        recorded_at : str or datetime, optional
            When it happened; default: now.

        Raises
        ------
        InvalidEventError
            If the event cannot be written down.
        EventConflictError
            If another event has that id.
        StoreUnavailableError, StoreFullError, StoreReadOnlyError, StoreError
            If it was not stored.
        """
        return self.append_many([new_event(stream, kind, payload, event_id, recorded_at)])[0]

    def append_many(self, events: Iterable[NewEvent]) -> list[Event]:
        """Add several events, all or none, in their order; errors as for :meth:`append`.

        Parameters
        ----------
        events : iterable of NewEvent
            Made by :func:`~flairseg.review.events.new_event`.

        Returns
        -------
        list of Event
            One for each, in the same order.
        """
        events = list(events)
        if not events:
            return []
        return self._database.write(lambda connection: _append(connection, events), {e.stream for e in events})

    def events(self, stream: str | None = None, kind: str | None = None, after: int = 0) -> list[Event]:
        """Events in the order in which they were stored.

        Parameters
        ----------
        stream : str, optional
            Of this stream only.
        kind : str, optional
            Of this kind only.
        after : int
            With sequence numbers above this one; needs ``stream``.

        Raises
        ------
        StoreDamagedError
            If an event cannot be read; :meth:`verify` names it.
        """
        if after and stream is None:
            raise ValueError("sequence numbers count within one stream: name it")
        return [_readable(event) for event in self._rows(stream, kind, after)]

    def streams(self) -> list[str]:
        """Names of all streams, sorted."""
        import sqlalchemy as sa

        from .tables import EVENTS

        query = sa.select(EVENTS.c.stream).distinct()
        return sorted(self._database.read(lambda connection: connection.execute(query).scalars().all()))

    def head(self, stream: str) -> Event | None:
        """The last event of a stream; None if it has none."""
        event = self._database.read(lambda connection: _head(connection, stream))
        return None if event is None else _readable(event)

    def anchors(self) -> list[Anchor]:
        """The anchor of each stream's last event: to be kept elsewhere, for a later :meth:`verify`."""
        return [head.anchor for stream in self.streams() if (head := self.head(stream)) is not None]

    def verify(self, stream: str | None = None, anchors: Iterable[Anchor] | None = None) -> list[Problem]:
        """Recompute the chain, and name everything that was tampered with or lost.

        Parameters
        ----------
        stream : str, optional
            This stream only; default: all of them, and those that only anchors know of.
        anchors : iterable of Anchor, optional
            Acknowledged earlier and kept elsewhere (:meth:`Outbox.anchors`): only they show a tail that was cut off or
            a chain that was rewritten as a whole.

        Returns
        -------
        list of Problem
            Empty if the store is intact.
        """
        anchors = list(anchors or ())
        streams = [stream] if stream is not None else sorted({*self.streams(), *(a.stream for a in anchors)})
        problems = [
            Problem(
                GUARD_REMOVED, "", 0, "", f"The guard {guard}, which prevents changes of stored events, is missing."
            )
            for guard in self._missing_guards()
        ]
        for name in streams:
            problems += problems_of(name, self._rows(name), anchors)
        return problems

    def close(self) -> None:
        """Close all connections to the database."""
        self._database.close()

    def __enter__(self) -> ReviewStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _missing_guards(self) -> list[str]:
        from .tables import GUARDS

        there = self._database.guards()
        return [guard for guard in GUARDS if guard not in there]

    def _rows(self, stream: str | None = None, kind: str | None = None, after: int = 0) -> list[Event]:
        from .tables import EVENTS

        query = EVENTS.select().order_by(EVENTS.c.position if stream is None else EVENTS.c.sequence)
        if stream is not None:
            query = query.where(EVENTS.c.stream == stream, EVENTS.c.sequence > after)
        if kind is not None:
            query = query.where(EVENTS.c.kind == kind)
        return self._database.read(lambda connection: [_event(row) for row in connection.execute(query)])


def _append(connection: sa.Connection, events: Sequence[NewEvent]) -> list[Event]:
    from .tables import EVENTS

    known = _by_id(connection, [event.event_id for event in events])
    heads: dict[str, Event | None] = {}
    stored_at, stored, rows = utc_now(), [], []
    for event in events:
        found = known.get(event.event_id)
        if found is None:
            if event.stream not in heads:
                heads[event.stream] = _head(connection, event.stream)
            found = chained(event, heads[event.stream], stored_at)
            heads[event.stream] = known[event.event_id] = found
            rows.append({**vars(found), "payload": canonical_json(found.payload).decode("ascii")})
        elif _content(found) != _content(event):
            raise EventConflictError(
                f"The store holds another event of the id {event.event_id}.",
                "Nothing was changed. This is an error of the program that sent it; please report it.",
            )
        stored.append(found)
    if rows:
        connection.execute(EVENTS.insert(), rows)
    return stored


def _content(event: Event | NewEvent) -> tuple[str, str, bytes]:
    """Key by which two events of one id are the same; the time may differ if one was sent again without it."""
    return event.stream, event.kind, canonical_json(event.payload)


def _by_id(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Event]:
    from .tables import EVENTS

    found: dict[str, Event] = {}
    for n in range(0, len(ids), _IDS_PER_QUERY):
        query = EVENTS.select().where(EVENTS.c.event_id.in_(ids[n : n + _IDS_PER_QUERY]))
        found |= {row.event_id: _event(row) for row in connection.execute(query)}
    return found


def _head(connection: sa.Connection, stream: str) -> Event | None:
    from .tables import EVENTS

    query = EVENTS.select().where(EVENTS.c.stream == stream).order_by(EVENTS.c.sequence.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _event(row)


class _Unreadable(dict[str, Any]):
    """Payload of an event whose text is not what :func:`canonical_json` writes: its hash cannot fit."""


def _event(row: sa.Row[Any]) -> Event:
    try:
        payload = json.loads(row.payload)
        if not isinstance(payload, dict) or canonical_json(payload).decode("ascii") != row.payload:
            payload = _Unreadable(text=row.payload)
    except ValueError:
        payload = _Unreadable(text=row.payload)
    return Event(
        int(row.sequence),
        row.stream,
        row.kind,
        row.event_id,
        row.recorded_at,
        payload,
        row.previous_hash,
        row.hash,
        row.stored_at,
    )


def _readable(event: Event) -> Event:
    if isinstance(event.payload, _Unreadable):
        raise StoreDamagedError(
            f"Event {event.sequence} of {event.stream} cannot be read: its content was changed after it was stored.",
            "Do not change the store; verify it, and restore it from a backup or the outbox.",
        )
    return event
