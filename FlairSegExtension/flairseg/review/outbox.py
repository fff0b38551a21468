"""Records events while the store is unreachable, and delivers them later: none lost, none twice.

An event is written to a journal of this process and synced to the disk first; from then on it counts as recorded.
Delivery to the store follows at once if it can, or later: by this process, or by the next one that opens the same
folder. The store recognises an event by its id, so that delivering twice stores once.

``<folder>/<process>.jsonl`` holds one line for each event; ``<process>.delivered.jsonl`` says up to where they were
delivered, with the hash that the store gave back. These anchors show, later, what was cut off or rewritten in the
store. The standard library only: events are safe although SQLAlchemy is not installed yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import FlairSegError
from ..files.atomic import sync
from .errors import EventConflictError, InvalidEventError, OutboxError
from .events import Anchor, Event, NewEvent, canonical_json, new_event

if TYPE_CHECKING:
    from .store import ReviewStore

#: After a failed delivery the store is not retried for this long, seconds: no click waits for an unreachable server.
REST_S = 15.0
#: Interval at which :meth:`Outbox.record` also looks for entries left behind by other processes, seconds.
LOOK_AROUND_S = 300.0

_JOURNAL, _DELIVERED = ".jsonl", ".delivered.jsonl"
_BATCH = 200
_CHECK_DIGITS = 16


@dataclass(frozen=True)
class Receipt:
    """Delivery state of a recorded event.

    Attributes
    ----------
    event_id : str
        Its id.
    event : Event, optional
        As the store holds it; None while it waits in the outbox.
    problem : FlairSegError, optional
        Why it is pending.
    """

    event_id: str
    event: Event | None = None
    problem: FlairSegError | None = None

    @property
    def delivered(self) -> bool:
        """Whether the store has it."""
        return self.event is not None


@dataclass(frozen=True)
class Refusal:
    """An event that the store will never take, for instance because another one has its id. Its line stays."""

    event: NewEvent
    message: str


class Outbox:
    """Records events durably and delivers them to the store; may be used from several threads.

    Parameters
    ----------
    folder : str or Path
        Made if need be. Several processes may share it.
    store_factory : callable, optional
        Opens the store when something is to be delivered; may raise any :class:`~flairseg.errors.FlairSegError`. The
        outbox closes what it opened. None: everything waits.
    rest_s : float
        For how long :meth:`record` leaves the store alone after a failed delivery; :meth:`flush` always tries.

    Raises
    ------
    OutboxError
        If the folder cannot be written to.
    """

    def __init__(
        self, folder: str | Path, store_factory: Callable[[], ReviewStore] | None = None, rest_s: float = REST_S
    ) -> None:
        self.folder = Path(folder)
        self.problem: FlairSegError | None = None
        self._factory, self._rest_s = store_factory, rest_s
        self._store: ReviewStore | None = None
        self._quiet_until = 0.0
        # Recording never waits for a delivery that another thread is busy with.
        self._writing, self._delivering = threading.Lock(), threading.Lock()
        self._journal: _Journal | None = None
        self._known: dict[str, _Journal] = {}
        self._look_around_at = 0.0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _outbox_error(self.folder, error) from error

    def record(
        self,
        stream: str,
        kind: str,
        payload: Mapping[str, Any],
        event_id: str | None = None,
        recorded_at: str | datetime | None = None,
    ) -> Receipt:
        """Record an event; once this returns, it is on the disk, whatever the store does.

        Parameters
        ----------
        stream, kind, payload, event_id, recorded_at
            See :meth:`ReviewStore.append`.

        Raises
        ------
        InvalidEventError
            If the event cannot be written down.
        OutboxError
            If it could not be put on the disk: it is not recorded, and nothing half-written is left.
        """
        event = new_event(stream, kind, payload, event_id, recorded_at)
        with self._writing:
            self._put_down(event)
        stored: dict[str, Event] = {}
        if time.monotonic() >= self._quiet_until and self._delivering.acquire(blocking=False):
            try:
                stored = self._deliver(everything=time.monotonic() >= self._look_around_at)
            finally:
                self._delivering.release()
        return Receipt(event.event_id, stored.get(event.event_id), self.problem)

    def flush(self) -> int:
        """Deliver everything that waits, of this process and of earlier ones.

        Returns
        -------
        int
            Number of pending events; :attr:`problem` gives the reason.
        """
        with self._delivering:
            self._deliver(everything=True)
        return len(self.pending)

    @property
    def pending(self) -> list[NewEvent]:
        """Events that the store has not acknowledged yet, in the order in which they were recorded."""
        return [event for journal in self._journals() for event, _ in journal.waiting()]

    @property
    def refused(self) -> list[Refusal]:
        """Events that the store refused permanently; they need manual inspection."""
        return [refusal for journal in self._journals() for refusal in journal.refusals()]

    @property
    def damaged(self) -> list[str]:
        """Lines of journals that a failing disk damaged: file and number."""
        return [place for journal in self._journals() for place in journal.damaged()]

    def recorded(self) -> list[NewEvent]:
        """Every event that was ever recorded in this folder, delivered or not."""
        return [event for journal in self._journals() for event, _ in journal.events()]

    def anchors(self) -> list[Anchor]:
        """Hashes that the store acknowledged: for :meth:`ReviewStore.verify`."""
        return [anchor for journal in self._journals() for anchor in journal.anchors()]

    def replay(self, store: ReviewStore) -> list[Event]:
        """Bring every event ever recorded here to a store again; those that it has are not stored twice.

        After a store was lost or restored from an old backup, this gives back what this outbox knows.
        """
        return [store.append_many([event])[0] for event in self.recorded()]

    def close(self) -> None:
        """Close files and store; what is pending is delivered by the next program that opens the folder."""
        with self._delivering, self._writing:
            self._drop_store()
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    # --- recording

    def _put_down(self, event: NewEvent) -> None:
        try:
            if self._journal is None:
                self._journal = _Journal.create(self.folder)
            self._journal.append(event)
            self._known[self._journal.path.name] = self._journal
        except OSError as error:
            if self._journal is not None and not self._journal.usable:
                self._journal.close()
                self._journal = None
            raise _outbox_error(self.folder, error) from error

    # --- delivery

    def _deliver(self, everything: bool) -> dict[str, Event]:
        """Bring what waits to the store, in order; stop at the first failure. What was stored, by id."""
        stored: dict[str, Event] = {}
        self.problem = None
        if self._factory is None:
            return stored
        if everything:
            self._look_around_at = time.monotonic() + LOOK_AROUND_S
        try:
            own = [] if self._journal is None else [self._journal]
            for journal in self._journals() if everything else own:
                while batch := journal.waiting(_BATCH):
                    if self._store is None:
                        self._store = self._factory()
                    stored |= self._deliver_batch(journal, batch)
        except FlairSegError as error:
            self.problem = error
            self._quiet_until = time.monotonic() + self._rest_s
            # Reopened next time: the server may be another one then, or SQLAlchemy installed.
            self._drop_store()
        except OSError as error:
            self.problem = _outbox_error(self.folder, error)
            self._quiet_until = time.monotonic() + self._rest_s
        return stored

    def _deliver_batch(self, journal: _Journal, batch: list[tuple[NewEvent, int]]) -> dict[str, Event]:
        assert self._store is not None  # noqa: S101 - for the type checker
        try:
            events = self._store.append_many([event for event, _ in batch])
        except (EventConflictError, InvalidEventError) as error:
            if len(batch) > 1:
                stored: dict[str, Event] = {}
                for one in batch:
                    stored |= self._deliver_batch(journal, [one])
                return stored
            journal.refuse(*batch[0], error.message)
            return {}
        journal.delivered([(event, end) for event, (_, end) in zip(events, batch, strict=True)])
        return {event.event_id: event for event in events}

    def _drop_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _journals(self) -> list[_Journal]:
        try:
            names = sorted(name for name in os.listdir(self.folder) if name.endswith(_JOURNAL))
        except OSError as error:
            raise _outbox_error(self.folder, error) from error
        names = [name for name in names if not name.endswith(_DELIVERED)]
        return [self._known.setdefault(name, _Journal(self.folder / name)) for name in names]


class _Journal:
    """The events of one process, one JSON line each, and how far they were delivered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.usable = True
        self._stream: IO[bytes] | None = None
        # How far the notes were read, and what they said: a session's thousandth click reads no thousand lines.
        self._notes_read, self._end = 0, 0

    @classmethod
    def create(cls, folder: Path) -> _Journal:
        """A new, empty journal; names sort by the time of their making."""
        journal = cls(folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{_JOURNAL}")
        journal._stream = journal.path.open("xb", buffering=0)
        sync(folder)
        return journal

    def append(self, event: NewEvent) -> None:
        """Put a line on the disk; after an ``OSError`` it is not there."""
        assert self._stream is not None  # noqa: S101 - only made by create()
        line = _line({"event": vars(event)})
        before = self._stream.tell()
        try:
            written = 0
            while written < len(line):
                written += self._stream.write(line[written:])
            os.fsync(self._stream.fileno())
        except OSError:
            # After a failed fsync the content on disk is unknown: withdraw the line and begin a new file.
            self.usable = False
            self._stream.truncate(before)
            raise

    def events(self, start: int = 0) -> Iterator[tuple[NewEvent, int]]:
        """(event, where its line ends) from a place in the file on; damaged lines are passed over."""
        for content, end in self._lines(self.path, start):
            if content is not None:
                yield NewEvent(**content["event"]), end

    def waiting(self, count: int | None = None) -> list[tuple[NewEvent, int]]:
        """The first events that were not delivered yet."""
        found = []
        for pair in self.events(self._delivered_to()):
            found.append(pair)
            if len(found) == count:
                break
        return found

    def delivered(self, events: list[tuple[Event, int]]) -> None:
        """Note what the store acknowledged. Not synced: what is lost here is delivered again and stored once."""
        self._note(
            {"end": end, "event_id": e.event_id, "stream": e.stream, "sequence": e.sequence, "hash": e.hash}
            for e, end in events
        )

    def refuse(self, event: NewEvent, end: int, message: str) -> None:
        """Note that the store will not take an event."""
        self._note([{"end": end, "event_id": event.event_id, "refused": message}])

    def refusals(self) -> list[Refusal]:
        """Events that the store refused."""
        refused = {note["event_id"]: note["refused"] for note in self._notes() if "refused" in note}
        return [Refusal(event, refused[event.event_id]) for event, _ in self.events() if event.event_id in refused]

    def anchors(self) -> list[Anchor]:
        """Return the events acknowledged by the store."""
        return [
            Anchor(note["stream"], note["sequence"], note["hash"], note["event_id"])
            for note in self._notes()
            if "hash" in note
        ]

    def damaged(self) -> list[str]:
        """Lines that cannot be read, an unfinished last one (never acknowledged) left out."""
        lines = self._lines(self.path, 0)
        return [f"{self.path.name}, line {n}" for n, (content, _) in enumerate(lines, 1) if content is None]

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    @property
    def _notes_path(self) -> Path:
        return self.path.with_name(self.path.name.removesuffix(_JOURNAL) + _DELIVERED)

    def _note(self, notes: Iterable[Mapping[str, Any]]) -> None:
        content = b"".join(_line(note) for note in notes)
        with self._notes_path.open("ab") as stream:
            # An unfinished line of a killed process must not swallow the next one.
            stream.write(b"\n" + content if stream.tell() else content)

    def _notes(self) -> Iterator[dict[str, Any]]:
        return (content for content, _ in self._lines(self._notes_path, 0) if content is not None)

    def _delivered_to(self) -> int:
        for note, place in self._lines(self._notes_path, self._notes_read):
            self._notes_read = place
            if note is not None:
                self._end = max(self._end, note["end"])
        return self._end

    @staticmethod
    def _lines(path: Path, start: int) -> Iterator[tuple[dict[str, Any] | None, int]]:
        """(content, where it ends) of each whole line; None for one that its checksum does not fit."""
        try:
            with path.open("rb") as stream:
                end = stream.seek(start)
                for line in stream:
                    if not line.endswith(b"\n"):
                        return
                    end += len(line)
                    if line != b"\n":
                        yield _content(line), end
        except FileNotFoundError:
            return


def _line(content: Mapping[str, Any]) -> bytes:
    raw = canonical_json(content)
    return hashlib.sha256(raw).hexdigest()[:_CHECK_DIGITS].encode() + b" " + raw + b"\n"


def _content(line: bytes) -> dict[str, Any] | None:
    check, _, raw = line.rstrip(b"\n").partition(b" ")
    if hashlib.sha256(raw).hexdigest()[:_CHECK_DIGITS].encode() != check:
        return None
    out: dict[str, Any] | None = json.loads(raw)
    return out


def _outbox_error(folder: Path, error: OSError) -> OutboxError:
    if not folder.is_dir():
        return OutboxError(
            f"The folder {folder} cannot be reached at the moment: {error.strerror or error}.",
            "Connect its drive again. What was saved is kept; repeat the last entry if it was not.",
            code="outbox-unreachable",
        )
    return OutboxError(
        f"Nothing can be recorded in {folder}: {error.strerror or error}. The last entry was not saved.",
        "Free some space on this disk or check the permission of the folder, then repeat the last entry.",
    )
