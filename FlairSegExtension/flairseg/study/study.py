"""The coordinator's side of a study: lock, watch, close, unseal.

::

    <study>/
      study.json              what was locked: hashes, the commitment to the key, the store's address
      coordinator/            protocol and sealed key; keep it away from the raters, it may lie elsewhere
      rooms/<rater>/          see room.py; may be copied to the rater's computer and back
      events.sqlite           the event store, unless a PostgreSQL address was given
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from ..files.atomic import check_folder, output_error, sync
from ..review.errors import StoreUnavailableError
from .blinding import make_images
from .canonical import content_sha256
from .errors import ProtocolError, StudyStateError, TamperedError
from .key import KEY_NAME, SealedKey, code_of, new_secret, open_key, write_key
from .log import EventLog, create_store
from .protocol import Protocol
from .protocol_reading import load_protocol
from .records import (
    AT,
    CASE_EXCLUDED,
    FORMAT,
    FORMAT_VERSION,
    KEY_COMMITMENT,
    KEY_WAS_OPEN,
    PROTOCOL_SHA256,
    REASON,
    SOFTWARE,
    STUDY_CLOSED,
    STUDY_ID,
    STUDY_LOCKED,
    STUDY_UNSEALED,
    rater_stream,
    study_event_id,
    study_stream,
)
from .room import EVENTS, ROOM_NAME, Room, room_content
from .schedule import PlannedShowing, order_sha256, plan, rounds_of
from .software import software
from .state import RaterState, Recorded, replay
from .timing import timestamp

STUDY_NAME = "study.json"
STUDY_FORMAT = 1
COORDINATOR = "coordinator"
ROOMS = "rooms"
PROTOCOL_NAME = "protocol.json"
SQLITE_NAME = "events.sqlite"

#: Added to the reason of a case that was left out when its results could be known.
AFTER_UNSEALING = "decided after the key was opened"

_PASSWORD = re.compile(r"://[^/@:]*:[^/@]+@")


def _no_study(folder: Path, error: OSError) -> StudyStateError:
    """The error for a folder that is no study; often it is a part of one."""
    message = f"{folder} is not a locked study: {STUDY_NAME} cannot be read ({error.strerror or error})."
    above = next((p for p in folder.absolute().parents if (p / STUDY_NAME).is_file()), None)
    if above is not None:
        advice = f"It is inside of the study {above}: name that folder."
        return StudyStateError(message, advice, code="part-of-a-study", path=above)
    return StudyStateError(message, "Lock a protocol first.", code="no-study", path=folder)


@dataclass(frozen=True)
class RaterStatus:
    """How far one rater is.

    Attributes
    ----------
    rater : str
    answered, total : int
        Showings that count; training not among them.
    failed : int
        Given up as not ratable, among the answered.
    training_answered, training_total : int
    active_seconds : float
        On all showings.
    last_answered_at : str or None
        ISO 8601, UTC.
    pending : int
        Events in the room's outbox that are not in the store yet.
    """

    rater: str
    answered: int
    total: int
    failed: int
    training_answered: int
    training_total: int
    active_seconds: float
    last_answered_at: str | None
    pending: int

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return self.answered == self.total and self.training_answered == self.training_total


@dataclass(frozen=True)
class StudyStatus:
    """The state of a study.

    Attributes
    ----------
    locked_at, closed_at, unsealed_at : str or None
        ISO 8601, UTC.
    raters : tuple of RaterStatus
    """

    locked_at: str | None
    closed_at: str | None
    unsealed_at: str | None
    raters: tuple[RaterStatus, ...]


class Study:
    """A locked study, as its coordinator holds it.

    Parameters
    ----------
    folder : path
        The study's folder.
    coordinator : path, optional
        The folder with protocol and key, if it was moved; default ``<folder>/coordinator``.

    Raises
    ------
    StudyStateError
        If the folder is no locked study.
    """

    def __init__(self, folder: str | Path, coordinator: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.coordinator = Path(coordinator) if coordinator is not None else self.folder / COORDINATOR
        try:
            content = json.loads((self.folder / STUDY_NAME).read_text(encoding="utf-8"))
            if content["flairseg_study_folder"] != STUDY_FORMAT:
                raise ValueError("another format")
            self.id: str = content["study_id"]
            self.protocol_sha256: str = content[PROTOCOL_SHA256]
            self.commitment: str = content[KEY_COMMITMENT]
            self.store: str = content["store"]
            self.raters: tuple[str, ...] = tuple(content["rooms"])
        except OSError as error:
            raise _no_study(self.folder, error) from error
        except (KeyError, TypeError, ValueError) as error:
            raise TamperedError(
                f"{STUDY_NAME} was changed after the study was locked ({error}).", "Put it back from a backup."
            ) from error
        self.content: dict[str, Any] = content

    @property
    def key_lies_in_study(self) -> bool:
        """Whether the sealed key lies inside of the study's folder, where a rater who is let in might look."""
        key = self.coordinator / KEY_NAME
        return key.is_file() and key.resolve().is_relative_to(self.folder.resolve())

    @cached_property
    def protocol(self) -> Protocol:
        """The locked protocol.

        Raises
        ------
        ProtocolError
            If it cannot be read.
        TamperedError
            If it is not the one that was locked.
        """
        protocol = load_protocol(self.coordinator / PROTOCOL_NAME)
        if protocol.sha256 != self.protocol_sha256:
            raise TamperedError(
                "The protocol was changed after the study was locked: its sha256 is not the one in the records.",
                "Put the locked protocol back, or lock the changed one as a new study.",
            )
        return protocol

    def room_folder(self, rater: str) -> Path:
        """A rater's room."""
        return self.folder / ROOMS / rater

    def store_address(self) -> str:
        """The store as a PostgreSQL address or a path."""
        return self.store if "://" in self.store else str(self.folder / self.store)

    @contextmanager
    def log(self) -> Iterator[EventLog]:
        """The coordinator's own way into the store."""
        log = EventLog(self.folder / EVENTS, self.store_address())
        try:
            yield log
            log.flush()
        finally:
            log.close()

    def plan(self, rater: str) -> tuple[PlannedShowing, ...]:
        """A rater's order, worked out again from the protocol."""
        return plan(self.protocol, rater)

    def events(self, rater: str) -> list[Recorded]:
        """All of a rater's events: the store's, and those that wait in the room's outbox (delivered if possible)."""
        folder = self.room_folder(rater)
        if not folder.is_dir():
            with self.log() as log:
                return log.events(rater_stream(self.id, rater), complete=True)
        log = EventLog(folder / EVENTS, self.store_address())
        try:
            log.flush()
            return log.events(rater_stream(self.id, rater), complete=True)
        finally:
            log.close()

    def own_events(self) -> list[Recorded]:
        """The coordinator's events: locked, excluded, closed, unsealed."""
        with self.log() as log:
            log.flush()
            return log.events(study_stream(self.id), complete=True)

    def state(self, rater: str) -> RaterState:
        """What a rater has done so far."""
        return replay(self.events(rater))

    def status(self) -> StudyStatus:
        """How far everybody is; errors as :class:`~flairseg.study.room.Room` raises them."""
        when = {event.kind: event.payload.get(AT) for event in self.own_events()}
        raters = tuple(self._rater_status(rater) for rater in self.raters)
        return StudyStatus(when.get(STUDY_LOCKED), when.get(STUDY_CLOSED), when.get(STUDY_UNSEALED), raters)

    def exclude(self, case: str, reason: str) -> None:
        """Leave a case out of the results; the answers stay in the records, and so does the reason.

        Who knows the key can choose the cases by their results, so whether it was open then is recorded and reported.

        Raises
        ------
        StudyStateError
            If the protocol has no such case, or no reason is given.
        """
        if case not in {c.id for c in self.protocol.cases}:
            raise StudyStateError(f"The protocol has no case {case!r}.", "Check its spelling.")
        if not reason.strip():
            raise StudyStateError("A case is not left out without a reason.", "Say why; reports list it.")
        opened = any(event.kind == STUDY_UNSEALED for event in self.own_events())
        with self.log() as log:
            log.record(
                study_stream(self.id),
                CASE_EXCLUDED,
                self._payload(case=case, **{REASON: reason, KEY_WAS_OPEN: opened}),
            )

    def excluded(self) -> dict[str, str]:
        """Cases left out, with the reason; it says so if the key was open already."""
        return {
            event.payload["case"]: event.payload[REASON]
            + (f" ({AFTER_UNSEALING})" if event.payload.get(KEY_WAS_OPEN) else "")
            for event in self.own_events()
            if event.kind == CASE_EXCLUDED
        }

    def close(self, incomplete: bool = False) -> SealedKey:
        """End the study and open the key. No session can add to it afterwards.

        Parameters
        ----------
        incomplete : bool
            Close although showings are unanswered.

        Returns
        -------
        SealedKey

        Raises
        ------
        StudyStateError
            If showings are unanswered, or a rater is at it.
        TamperedError
            If the key is not the one that was committed to.
        """
        status = self.status()
        if status.closed_at is None:
            waiting = [f"{r.rater} ({r.total - r.answered} left)" for r in status.raters if not r.finished]
            if waiting and not incomplete:
                raise StudyStateError(
                    f"The study is not finished: {', '.join(waiting)}.",
                    "Wait for them, or close it as incomplete; the report says so.",
                )
            pending = [f"{r.rater} ({r.pending})" for r in status.raters if r.pending]
            if pending:
                raise StudyStateError(
                    f"Answers wait outside of the store: {', '.join(pending)}.",
                    "Bring the event store back, then close the study again.",
                )
        # The key is compared before anything is written: a study with a wrong key stays open.
        key = open_key(self.coordinator / KEY_NAME, self.commitment)
        if status.closed_at is None:
            with self.log() as log:
                heads = {rater: log.head(rater_stream(self.id, rater)) for rater in self.raters}
                progress = {r.rater: [r.answered, r.total] for r in status.raters}
                log.record(
                    study_stream(self.id),
                    STUDY_CLOSED,
                    self._payload(heads=heads, answered=progress, incomplete=bool(waiting)),
                    study_event_id(self.id, STUDY_CLOSED),
                )
        if status.unsealed_at is None:
            with self.log() as log:
                log.record(
                    study_stream(self.id), STUDY_UNSEALED, self._payload(), study_event_id(self.id, STUDY_UNSEALED)
                )
        return key

    def key(self) -> SealedKey:
        """The key of a closed study.

        Raises
        ------
        StudyStateError
            While the study is open.
        TamperedError
            If it is not the key that was committed to.
        """
        if not any(event.kind == STUDY_CLOSED for event in self.own_events()):
            raise StudyStateError(
                "The study is still open, so its key stays sealed.",
                "Close it first. Nobody can answer afterwards.",
                code="study-still-open",
            )
        return open_key(self.coordinator / KEY_NAME, self.commitment)

    def record_lock(self) -> None:
        """Write the lock record; written already: nothing happens."""
        with self.log() as log:
            log.record(
                study_stream(self.id),
                STUDY_LOCKED,
                self._payload(
                    rooms=self.content["rooms"],
                    plans=self.content["plans"],
                    title=self.content["title"],
                    **{SOFTWARE: software()},
                ),
                study_event_id(self.id, STUDY_LOCKED),
            )

    def _rater_status(self, rater: str) -> RaterStatus:
        room = Room.open(self.room_folder(rater))
        state = self.state(rater)
        counts = [s for s in room.showings if not s.training]
        training = [s for s in room.showings if s.training]
        log = EventLog(room.folder / EVENTS, self.store_address())
        try:
            pending = log.pending
        finally:
            log.close()
        return RaterStatus(
            rater=rater,
            answered=sum(state.is_answered(s.code) for s in counts),
            total=len(counts),
            failed=sum(state.showings[s.code].failed for s in counts if state.is_answered(s.code)),
            training_answered=sum(state.is_answered(s.code) for s in training),
            training_total=len(training),
            active_seconds=sum(s.seconds.active for s in state.showings.values()),
            last_answered_at=state.last_answered_at,
            pending=pending,
        )

    def _payload(self, **content: Any) -> dict[str, Any]:
        return {
            FORMAT: FORMAT_VERSION,
            STUDY_ID: self.id,
            PROTOCOL_SHA256: self.protocol_sha256,
            KEY_COMMITMENT: self.commitment,
            AT: timestamp(datetime.now(timezone.utc)),
            **content,
        }


def lock(
    protocol: str | Path,
    folder: str | Path,
    store: str = "",
    progress: Callable[[float, str], None] | None = None,
    coordinator: str | Path | None = None,
) -> Study:
    """Lock a protocol: orders, neutral images, sealed key and the lock record. Nothing can be changed afterwards.

    Parameters
    ----------
    protocol : path
        The JSON file.
    folder : path
        The study's folder; must not exist, or be empty.
    store : str
        PostgreSQL address without a password (``postgresql://user@host/database``; the password comes from
        ``~/.pgpass`` or the environment); default: an SQLite file in the folder.
    progress : callable, optional
        Told (fraction, sentence); may raise to cancel. Nothing is left then.
    coordinator : path, optional
        New folder for protocol and sealed key, away from the raters; default ``<folder>/coordinator``. Only its owner
        may read either (mode 0700).

    Raises
    ------
    ProtocolError, ScheduleError, BlindedImageError
        If the protocol, its order or an image will not do.
    StudyStateError
        If there is a study already.
    OutputError
        If the folder cannot be written to.
    """
    source, folder = Path(protocol), Path(os.path.abspath(folder))
    if _PASSWORD.search(store):
        raise ProtocolError("store", "the address holds a password", "Leave it out and keep it in ~/.pgpass.")
    checked = load_protocol(source)
    apart = None if coordinator is None else Path(os.path.abspath(coordinator))
    if (folder / STUDY_NAME).exists():
        return _locked_already(folder, checked, apart)
    check_folder(folder)
    if apart is not None:
        check_folder(apart)
        if apart.exists() and any(apart.iterdir()):
            raise StudyStateError(f"{apart} is not empty.", "Name a new folder for protocol and key.")
        if apart == folder:
            raise StudyStateError(
                f"{apart} is the study's own folder.", "Name a folder where no rater looks, for protocol and key."
            )
    if folder.exists() and any(folder.iterdir()):
        raise StudyStateError(f"{folder} is not empty.", "Name a new folder for the study.")
    plans = {rater.id: plan(checked, rater) for rater in checked.raters}
    if store:
        # Before anything is made: a server that cannot be reached must not leave half a study.
        _try_store(store)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".flairseg-study-", dir=folder.parent))
        try:
            _make(checked, source, draft, plans, store or SQLITE_NAME, progress)
            draft.chmod(0o777 & ~_umask())
            if apart is not None:
                _put_apart(draft / COORDINATOR, apart)
            if folder.exists():
                folder.rmdir()
            os.rename(draft, folder)
            sync(folder.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise output_error(folder, error) from error
    study = Study(folder, apart)
    create_store(study.store_address())
    study.record_lock()
    return study


def _put_apart(source: Path, target: Path) -> None:
    """Move the coordinator's folder, perhaps to another disk. What is there stays until the copy is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(prefix=".flairseg-coordinator-", dir=target.parent))
    try:
        for file in source.iterdir():
            shutil.copy2(file, copy / file.name)
            sync(copy / file.name)
        if target.exists():
            target.rmdir()
        os.rename(copy, target)
        sync(target.parent)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    shutil.rmtree(source)


def _try_store(store: str) -> None:
    """Reach a server, or refuse what is no server's address.

    Raises
    ------
    ProtocolError
        If the text is no address.
    StoreError
        If the server cannot be reached or refuses.
    """
    if "://" not in store:
        raise ProtocolError(
            "store", f"{store!r} is no address", "Write postgresql://user@host/database, or leave it out for SQLite."
        )
    try:
        create_store(store)
    except StoreUnavailableError as error:
        raise type(error)(
            error.message, "Nothing was locked. Check server, address and ~/.pgpass, then lock again."
        ) from error


def _locked_already(folder: Path, protocol: Protocol, coordinator: Path | None) -> Study:
    """The study that is there, if it is this protocol's: a lock that was interrupted before its record is completed."""
    study = Study(folder, coordinator)
    if study.protocol_sha256 == protocol.sha256 and not study.own_events():
        create_store(study.store_address())
        study.record_lock()
        return study
    raise StudyStateError(
        f"{folder} holds a locked study already ({study.id}).",
        "A locked study cannot be changed. Name another folder for a new one.",
    )


def _make(
    protocol: Protocol,
    source: Path,
    draft: Path,
    plans: dict[str, tuple[PlannedShowing, ...]],
    store: str,
    progress: Callable[[float, str], None] | None,
) -> None:
    """Fill the study's folder."""
    secret = _secret_without_collisions(protocol, plans)
    showings, entries = make_images(
        protocol, Path(os.path.abspath(source)).parent, draft / ROOMS, plans, secret, progress
    )
    key = SealedKey(protocol.id, protocol.sha256, secret, entries)
    inner = draft / COORDINATOR
    inner.mkdir(mode=0o700)
    shutil.copyfile(source, inner / PROTOCOL_NAME)
    write_key(key, inner / KEY_NAME)
    hashes = {}
    for rater, planned in plans.items():
        content = room_content(
            protocol.id,
            rater,
            protocol.sha256,
            key.commitment,
            protocol.rules,
            showings[rater],
            rounds_of(planned),
            protocol.washout.days,
            store if "://" in store else f"../../{store}",
        )
        _write_json(draft / ROOMS / rater / ROOM_NAME, content)
        hashes[rater] = content_sha256(content)
    _write_json(
        draft / STUDY_NAME,
        {
            "flairseg_study_folder": STUDY_FORMAT,
            STUDY_ID: protocol.id,
            "title": protocol.title,
            PROTOCOL_SHA256: protocol.sha256,
            KEY_COMMITMENT: key.commitment,
            "rooms": hashes,
            "plans": {rater: order_sha256(planned) for rater, planned in plans.items()},
            "store": store,
        },
    )
    for path in draft.rglob("*"):
        sync(path)


def _secret_without_collisions(protocol: Protocol, plans: dict[str, tuple[PlannedShowing, ...]]) -> str:
    """A secret under which no two codes of the study are alike (one in 2**40 pairs would be)."""
    while True:
        secret = new_secret()
        codes = [code_of(secret, protocol.id, rater, s.position) for rater, order in plans.items() for s in order]
        if len(set(codes)) == len(codes):
            return secret


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
