"""A rater's reading room: a folder with the images in order under neutral names, without their source.

::

    rooms/<rater>/
      room.json                     rules, order of codes, sha256 of every file, the study's commitments
      images/<code>_flair.nii.gz    image, mirrored according to the schedule
      images/<code>_labels.nii.gz   mask to be judged
      events/                       outbox: every click, before it is acknowledged
      corrections/                  masks that the rater corrected

The room can be copied to another computer; it holds no case id (unless the blinding level shows it), arm, model, path
or key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.hashing import file_sha256
from .canonical import content_sha256
from .errors import StudyStateError, TamperedError
from .protocol import Protocol, Rules
from .protocol_reading import parse_rules

ROOM_NAME = "room.json"
ROOM_FORMAT = 1
IMAGES = "images"
EVENTS = "events"
CORRECTIONS = "corrections"


@dataclass(frozen=True)
class RoomShowing:
    """One showing as the room knows it.

    Attributes
    ----------
    code : str
    position : int
        From 0.
    caption : str
        Heading shown to the rater: the code, or what the blinding level allows.
    training : bool
    feedback : str
        After a training case's answer.
    flair_sha256, labels_sha256 : str
        Of the neutral files.
    """

    code: str
    position: int
    caption: str
    training: bool
    feedback: str
    flair_sha256: str
    labels_sha256: str

    @property
    def flair_name(self) -> str:
        """Name of the image in the room's folder ``images``."""
        return f"{self.code}_flair.nii.gz"

    @property
    def labels_name(self) -> str:
        """Name of the mask in the room's folder ``images``."""
        return f"{self.code}_labels.nii.gz"


@dataclass(frozen=True)
class Room:
    """A rater's room.

    Attributes
    ----------
    folder : Path
    study_id, rater : str
    protocol_sha256, key_commitment, order_sha256 : str
        In every record.
    rules : Rules
    showings : tuple of RoomShowing
    rounds : tuple of int
        Positions at which rounds of repeats begin.
    washout_days : float
        Between the last answer of a round and the next round.
    store : str
        Address of the event store: a path relative to the room, or a PostgreSQL address without a password.
    content : mapping
        ``room.json``.
    """

    folder: Path
    study_id: str
    rater: str
    protocol_sha256: str
    key_commitment: str
    order_sha256: str
    rules: Rules
    showings: tuple[RoomShowing, ...]
    rounds: tuple[int, ...]
    washout_days: float
    store: str
    content: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """sha256 of ``room.json``'s content."""
        return content_sha256(self.content)

    @classmethod
    def open(cls, folder: str | Path) -> Room:
        """Read a room and check that its order is the locked one.

        Raises
        ------
        StudyStateError
            If the folder is not a room.
        TamperedError
            If the order is not the one that the room was made with.
        """
        folder = Path(folder)
        path = folder / ROOM_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise StudyStateError(
                f"{folder} is not a reading room: {ROOM_NAME} cannot be read ({error.strerror or error}).",
                "Choose the folder of one rater, inside the folder `rooms` of a locked study.",
            ) from error
        except ValueError as error:
            raise _altered(path, "it is no longer JSON") from error
        try:
            if content["flairseg_room"] != ROOM_FORMAT:
                raise _altered(path, f"its format is {content['flairseg_room']!r}, not {ROOM_FORMAT}")
            room = cls(
                folder=folder,
                study_id=content["study_id"],
                rater=content["rater"],
                protocol_sha256=content["protocol_sha256"],
                key_commitment=content["key_commitment"],
                order_sha256=content["order_sha256"],
                rules=parse_rules(content["rules"]),
                showings=tuple(RoomShowing(**item) for item in content["showings"]),
                rounds=tuple(content["rounds"]),
                washout_days=float(content["washout_days"]),
                store=content["store"],
                content=content,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _altered(path, f"{error} is wrong or missing") from error
        if room_order_sha256(room.showings) != room.order_sha256:
            raise _altered(path, "the order of its showings is not the one that was locked")
        return room

    def image(self, showing: RoomShowing) -> Path:
        """The neutral image of a showing, checked.

        Raises
        ------
        TamperedError
            If the file is missing or not the one that was locked.
        StudyStateError
            Code ``room-unreachable``: the room's folder, perhaps on a network drive, is not there at the moment.
        """
        return self._checked(showing.flair_name, showing.flair_sha256)

    def labels(self, showing: RoomShowing) -> Path:
        """The neutral mask of a showing, checked; errors as for :meth:`image`."""
        return self._checked(showing.labels_name, showing.labels_sha256)

    def store_address(self) -> str:
        """The store as a PostgreSQL address or an absolute path."""
        if "://" in self.store:
            return self.store
        return os.path.normpath(os.path.join(os.path.abspath(self.folder), self.store))

    def _checked(self, name: str, expected: str) -> Path:
        path = self.folder / IMAGES / name
        try:
            found = file_sha256(path)
        except OSError as error:
            problem = f"it cannot be read ({error.strerror or error})"
            if not isinstance(error, FileNotFoundError) or not (self.folder / ROOM_NAME).is_file():
                raise _unreachable(self.folder, path, problem) from error
            raise _altered(path, problem) from error
        if found != expected:
            raise _altered(path, "it is not the file that was locked")
        return path


def room_order_sha256(showings: Iterable[RoomShowing]) -> str:
    """sha256 over codes, positions and files in order: moving, exchanging or omitting a showing changes it."""
    return content_sha256([[s.position, s.code, s.training, s.flair_sha256, s.labels_sha256] for s in showings])


def room_content(
    protocol: Protocol,
    rater: str,
    key_commitment: str,
    showings: Iterable[RoomShowing],
    rounds: Iterable[int],
    store: str,
) -> dict[str, Any]:
    """Content of ``room.json``; ``store``: address, or path relative to the room."""
    showings = list(showings)
    return {
        "flairseg_room": ROOM_FORMAT,
        "study_id": protocol.id,
        "rater": rater,
        "protocol_sha256": protocol.sha256,
        "key_commitment": key_commitment,
        "order_sha256": room_order_sha256(showings),
        "rules": dict(protocol.rules),
        "showings": [vars(s) for s in showings],
        "rounds": list(rounds),
        "washout_days": protocol.washout.days,
        "store": store,
    }


def _altered(path: Path, problem: str) -> TamperedError:
    return TamperedError(
        f"{path.name} was changed after the study was locked: {problem}.",
        "Stop rating, keep the folder as it is, and ask the coordinator to check the study.",
        code="room-altered",
    )


def _unreachable(folder: Path, path: Path, problem: str) -> StudyStateError:
    return StudyStateError(
        f"The reading room {folder} cannot be reached at the moment; {path.name}: {problem}.",
        "Connect its drive again, then open the room again. Answers that were given are kept.",
        code="room-unreachable",
        room=str(folder),
    )
