"""Record a study's events: on the local disk before a click returns, in the store in the background.

Two outboxes share one folder. The first only writes; the second, in its own thread, delivers to
the store. So neither a slow nor an unreachable server delays a reader, and a killed program leaves events that the
store lacks to the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import FlairSegError
from ..review.errors import StoreError, StoreUnavailableError
from ..review.outbox import Outbox
from .events import Recorded, StreamHead, StudyEvent

if TYPE_CHECKING:
    from ..review.store import ReviewStore

#: Name of the SQLite store of a study, beside its rooms, and of a reference session.
SQLITE_NAME = "events.sqlite"
#: For how long a locked or unreachable store is tried again by the carrier, seconds.
_PATIENCE_S = 5.0
#: After a failed delivery the store is left alone for this long, seconds.
_REST_S = 10.0
#: For how long closing waits for a delivery that is under way, seconds.
_CLOSING_S = 15.0


E = TypeVar("E", bound=StudyEvent)


@dataclass(frozen=True)
class WrittenEvent:
    """An event in the local journal."""

    event_id: str
    kind: str
    payload: Mapping[str, Any]


class EventLog:
    """Events of a study in a folder of this computer and in the study's store.

    Parameters
    ----------
    folder : Path
        Of the outbox; made if need be.
    address : str
        Path of an SQLite store that exists, or a PostgreSQL address.

    Raises
    ------
    OutboxError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self._address = address
        self._writer = Outbox(folder)
        self._carrier = Outbox(folder, lambda: open_store(address))
        self._wanted, self._ending = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> FlairSegError | None:
        """Why the last delivery failed; None if it did not."""
        return self._carrier.problem

    @property
    def pending(self) -> int:
        """Events that the store has not acknowledged."""
        return len(self._carrier.pending)

    def record(self, stream: str, event: E) -> E:
        """Record an event; it is on the disk when this returns.

        Returns
        -------
        StudyEvent
            The event with its id (a new one, unless it had one).

        Raises
        ------
        OutboxError
            If it could not be written: it is not recorded then.
        """
        receipt = self._writer.record(stream, event.kind, event.to_payload(), event.event_id or None, event.at)
        if self._thread is None:
            self._thread = threading.Thread(target=self._carry, name="flairseg-study-delivery", daemon=True)
            self._thread.start()
        self._wanted.set()
        return replace(event, event_id=receipt.event_id)

    def flush(self) -> int:
        """Deliver now, and wait for it; return the number of pending events (:attr:`problem` gives the reason)."""
        return self._carrier.flush()

    def events(self, stream: str, complete: bool = False) -> list[Recorded]:
        """Events of a stream: those of the store in its order, then those that only this computer has.

        Parameters
        ----------
        stream : str
        complete : bool
            Raise if the store cannot be reached, instead of returning part of the events.

        Raises
        ------
        StoreError
            With ``complete``, if the store cannot be read. A damaged store always raises.
        """
        found: list[Recorded] = []
        try:
            with self._store() as store:
                found += store.events(stream)
        except StoreUnavailableError:
            if complete:
                raise
        except StoreError:
            raise
        except FlairSegError:
            # SQLAlchemy is not installed (yet): local records are still available.
            if complete:
                raise
        known = {event.event_id for event in found}
        own = (e for e in self._writer.recorded() if e.stream == stream and e.event_id not in known)
        refused = {refusal.event.event_id for refusal in self._carrier.refused}
        return found + [WrittenEvent(e.event_id, e.kind, e.payload) for e in own if e.event_id not in refused]

    def head(self, stream: str) -> StreamHead | None:
        """The last event of a stream in the store; None if it has none. May raise ``StoreError``."""
        with self._store() as store:
            head = store.head(stream)
        return None if head is None else StreamHead(head.sequence, head.hash)

    def verify(self, stream: str) -> list[str]:
        """Problems of a stream, as sentences: its chain, and local records missing in the store.

        Raises
        ------
        StoreError
            If the store cannot be reached.
        """
        # In this order: an event delivered meanwhile must not appear lost.
        recorded = [event for event in self._writer.recorded() if event.stream == stream]
        pending = {event.event_id for event in self._carrier.pending}
        with self._store() as store:
            found = [str(problem) for problem in store.verify(stream, self._carrier.anchors())]
            rows = {event.event_id: event for event in store.events(stream)} if not found else None
        found += [
            f"Refused by the store: {refusal.event.kind} {refusal.event.event_id}: {refusal.message}"
            for refusal in self._carrier.refused
            if refusal.event.stream == stream
        ]
        found += [f"The journal {place} is damaged." for place in self._carrier.damaged]
        if rows is None:
            return found
        away = pending | {refusal.event.event_id for refusal in self._carrier.refused}
        for event in recorded:
            if event.event_id in away:
                continue
            stored = rows.get(event.event_id)
            if stored is None:
                found.append(f"{event.kind} {event.event_id} was acknowledged and is no longer in the store.")
            elif (stored.kind, stored.payload) != (event.kind, event.payload):
                found.append(f"{event.kind} {event.event_id} differs in the store from what was recorded here.")
        return found

    def close(self) -> None:
        """Stop delivering, and close files and store. Pending events stay on the disk. No effect the second time."""
        self._ending.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_CLOSING_S)
            self._thread = None
        self._writer.close()
        self._carrier.close()

    def _carry(self) -> None:
        """Deliver events to the store as they come."""
        while not self._ending.is_set():
            self._wanted.wait()
            self._wanted.clear()
            if self._ending.is_set():
                return
            try:
                waiting = self._carrier.flush() > 0
            except FlairSegError:
                # The room's folder is away (a network drive): without this thread nothing is delivered once it is back.
                waiting = True
            if waiting:
                # An unreachable store is not retried for a while; pending events need no further click.
                self._ending.wait(_REST_S)
                self._wanted.set()

    @contextmanager
    def _store(self) -> Iterator[ReviewStore]:
        store = open_store(self._address)
        try:
            yield store
        finally:
            store.close()


def open_store(address: str) -> ReviewStore:
    """The store of a study that is locked already.

    Raises
    ------
    StoreUnavailableError
        If an SQLite file is not where it should be: a new, empty one in its place would look like a study without
        answers.
    StoreError, MissingDependencyError
        As :class:`~flairseg.review.store.ReviewStore` raises them.
    """
    from ..review.store import ReviewStore

    if "://" not in address and not Path(address).is_file():
        raise StoreUnavailableError(
            f"The event store {Path(address).name} is missing.",
            "Answers are kept in the room; connect the study's folder again, or return the room to the coordinator.",
        )
    return ReviewStore(address, patience_s=_PATIENCE_S)


def create_store(address: str) -> None:
    """Make the store of a new study; errors as :class:`~flairseg.review.store.ReviewStore` raises them."""
    from ..review.store import ReviewStore

    ReviewStore(address).close()
