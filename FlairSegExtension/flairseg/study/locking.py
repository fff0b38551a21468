"""Lock a protocol: protocol, order, images and key are fixed by their hashes."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files.atomic import check_folder, output_error, sync
from ..files.shielding import shielded
from ..files.staging import Staging
from ..review.errors import StoreUnavailableError
from .blinding import make_images
from .canonical import content_sha256
from .errors import ProtocolError, StudyStateError
from .key import KEY_NAME, SealedKey, code_of, new_secret, write_key
from .log import SQLITE_NAME, create_store
from .protocol import Protocol
from .protocol_reading import load_protocol
from .room import ROOM_NAME, room_content
from .schedule import PlannedShowing, order_sha256, plan, rounds_of
from .study import COORDINATOR, PROTOCOL_NAME, ROOMS, STUDY_FORMAT, STUDY_NAME, Study

#: A password in an address.
_PASSWORD = re.compile(r"://[^/@:]*:[^/@]+@")


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
        Called with (fraction, sentence); may raise to cancel. Nothing is written then.
    coordinator : path, optional
        New folder for protocol and sealed key, away from the raters; default ``<folder>/coordinator``. Only its owner
        may read either (mode 0700).

    Raises
    ------
    ProtocolError, ScheduleError, BlindedImageError
        If the protocol, its order or an image cannot be used.
    StudyStateError
        If there is a study already.
    OutputError
        If the folder cannot be written to.
    """
    source, folder = Path(protocol), Path(os.path.abspath(folder))
    if _PASSWORD.search(store):
        raise ProtocolError("store", "the address contains a password", "Remove it and keep it in ~/.pgpass.")
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
                f"{apart} is the study's own folder.", "Name a folder inaccessible to raters, for protocol and key."
            )
    if folder.exists() and any(folder.iterdir()):
        raise StudyStateError(f"{folder} is not empty.", "Name a new folder for the study.")
    plans = {rater.id: plan(checked, rater) for rater in checked.raters}
    if store:
        # Before anything is made: a server that cannot be reached must not leave half a study.
        _try_store(store)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Staging(folder.parent, "study")
        try:
            draft = staging.content
            _make(checked, source, draft, plans, store or SQLITE_NAME, progress)
            with shielded():
                _put_in_place(draft, folder, apart)
            sync(folder.parent)
        finally:
            staging.remove()
    except OSError as error:
        raise output_error(folder, error) from error
    study = Study(folder, apart)
    create_store(study.store_address())
    study.record_lock()
    return study


def _put_in_place(draft: Path, folder: Path, apart: Path | None) -> None:
    """Move a finished study to its folder, and before it the coordinator's folder where it belongs."""
    placed = False
    try:
        if apart is not None:
            _put_apart(draft / COORDINATOR, apart)
            placed = True
        if folder.exists():
            folder.rmdir()
        os.rename(draft, folder)
    except OSError as error:
        if apart is not None and placed:
            # The key of a study that is not there would be taken for that of the one that is.
            shutil.rmtree(apart, ignore_errors=True)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise StudyStateError(
                f"Another call has meanwhile filled {folder} or the folder for protocol and key; nothing was locked.",
                "Check whether the study that is there is the one wanted, or name other folders.",
            ) from error
        raise


def _put_apart(source: Path, target: Path) -> None:
    """Move the coordinator's folder, perhaps to another disk. What is there stays until the copy is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Staging(target.parent, "coordinator")
    try:
        copy = staging.content
        # Protocol and key are for the coordinator alone.
        copy.chmod(0o700)
        for file in source.iterdir():
            shutil.copy2(file, copy / file.name)
            sync(copy / file.name)
        if target.exists():
            target.rmdir()
        os.rename(copy, target)
        sync(target.parent)
    finally:
        staging.remove()
    shutil.rmtree(source)


def _try_store(store: str) -> None:
    """Connect to a server, or refuse an invalid address.

    Raises
    ------
    ProtocolError
        If the text is not an address.
    StoreError
        If the server cannot be reached or refuses.
    """
    if "://" not in store:
        raise ProtocolError(
            "store",
            f"{store!r} is not an address",
            "Write postgresql://user@host/database, or leave it out for SQLite.",
        )
    try:
        create_store(store)
    except StoreUnavailableError as error:
        raise type(error)(
            error.message, "Nothing was locked. Check server, address and ~/.pgpass, then lock again."
        ) from error


def _locked_already(folder: Path, protocol: Protocol, coordinator: Path | None) -> Study:
    """The existing study, if it is of this protocol; a lock interrupted before its record is completed."""
    study = Study(folder, coordinator)
    if study.protocol_sha256 == protocol.sha256 and not study.own_events():
        create_store(study.store_address())
        study.record_lock()
        return study
    raise StudyStateError(
        f"{folder} already contains a locked study ({study.id}).",
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
    """Write the study's folder."""
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
            protocol,
            rater,
            key.commitment,
            showings[rater],
            rounds_of(planned),
            store if "://" in store else f"../../{store}",
        )
        _write_json(draft / ROOMS / rater / ROOM_NAME, content)
        hashes[rater] = content_sha256(content)
    _write_json(
        draft / STUDY_NAME,
        {
            "flairseg_study_folder": STUDY_FORMAT,
            "study_id": protocol.id,
            "title": protocol.title,
            "protocol_sha256": protocol.sha256,
            "key_commitment": key.commitment,
            "rooms": hashes,
            "plans": {rater: order_sha256(planned) for rater, planned in plans.items()},
            "store": store,
        },
    )
    for path in draft.rglob("*"):
        sync(path)


def _secret_without_collisions(protocol: Protocol, plans: dict[str, tuple[PlannedShowing, ...]]) -> str:
    """A secret without equal codes in the study (expected in one of 2**40 pairs)."""
    while True:
        secret = new_secret()
        codes = [code_of(secret, protocol.id, rater, s.position) for rater, order in plans.items() for s in order]
        if len(set(codes)) == len(codes):
            return secret


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
