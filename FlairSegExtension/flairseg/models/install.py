"""Install a model from a file: verified in place, copied completely, then moved to the user's cache by one rename.

For hospitals without a network: a model travels as a folder, a zip of it, its ``model.onnx`` or its ``card.json``.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import InvalidModelError, ModelNotFoundError, OutputError
from ..files.atomic import sync
from ..files.shielding import shielded
from ..files.staging import Staging
from . import store
from .card import CARD_NAME, ModelCard, read_card
from .store import load_card, verify_model

#: Text beside the card that is also copied.
_DESCRIPTION = "card.md"
#: ``<name>-v<major>.<minor>``, as in ``card.schema.json``: also the name of a folder, so nothing else may pass.
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-v[0-9]+\.[0-9]+")
#: Maximum sizes of a card, and of a 2-D network's weights.
CARD_BYTES, WEIGHTS_BYTES = 2 * 2**20, 2 * 2**30
_CHUNK = 1 << 20
_AGAIN = "Get the model again from its source."

#: Opens one of a model's files, or returns None if it is not there.
_Opener = Callable[[str], "IO[bytes] | None"]


def install_model(source: str | Path, folder: str | Path | None = None) -> ModelCard:
    """Check a model and copy it to the user's models.

    Parameters
    ----------
    source : str or Path
        A folder with ``card.json``, a ``.zip`` that holds one, an ``.onnx`` file or a card with the other beside it.
    folder : str or Path, optional
        Folder of models; default :func:`flairseg.models.store.user_cache`.

    Returns
    -------
    ModelCard
        Of the installed model. If the very same model is there already, nothing is written.

    Raises
    ------
    ModelNotFoundError
        There is nothing at ``source``, or a part of the model, or a member of the ensemble, is missing.
    InvalidModelError
        Not a model: the card is not valid, the weights are not those of the card (sha256), the archive is damaged; or
        another model has that id.
    OutputError
        The user's folder cannot be written to.
    """
    source = Path(source).expanduser()
    target = Path(folder) if folder is not None else store.user_cache()
    with _opener(source) as opened, _staging(target) as staging:
        _copy(opened, CARD_NAME, staging, CARD_BYTES, source)
        # The card names the weights, so it is read first and checked again with them.
        card = read_card(staging / CARD_NAME)
        if not card.members:
            weights = card.path.name
            _copy(opened, weights, staging, WEIGHTS_BYTES, source)
            if not (staging / weights).stat().st_size:
                raise InvalidModelError(f"{weights} is empty.", _AGAIN)
        _copy(opened, _DESCRIPTION, staging, CARD_BYTES, source, optional=True)
        # The members of an ensemble are installed before it: beside its place, or where any model may be.
        verify_model(replace(card, path=target / card.id / card.path.name) if card.members else card)
        check_id(card.id)
        installed = _same_model(card, target)
        if installed is not None:
            return installed
        place = target / card.id
        try:
            target.mkdir(parents=True, exist_ok=True)
            for path in staging.iterdir():
                sync(path)
            with shielded():
                os.rename(staging, place)
            sync(target)
        except OSError as error:
            raise _cannot_write(target, error) from error
    return load_card(place, verify=True)


def check_id(model_id: str) -> None:
    """Check the form of an id.

    Raises
    ------
    InvalidModelError
        If it is not a name and a version: an id is also the name of a folder.
    """
    if not _ID.fullmatch(model_id):
        raise InvalidModelError(
            f"{model_id!r} is not the id of a model.", "An id is a name and a version, such as flairseg-v1.0."
        )


def _same_model(card: ModelCard, target: Path) -> ModelCard | None:
    """The installed card if this very model is there already; None if its id is free.

    Raises
    ------
    InvalidModelError
        Another model has that id. Nothing is replaced: results name a model by its id.
    """
    folders = [folder for _, folder in store.search_folders()]
    for folder in dict.fromkeys([target, *folders]):
        place = folder / card.id
        if not os.path.lexists(place):
            continue
        try:
            there = load_card(place, verify=True)
        except (InvalidModelError, ModelNotFoundError) as error:
            raise InvalidModelError(
                f"A damaged model {card.id} exists: {place}.",
                "Delete that folder, then install the model again.",
            ) from error
        if there.sha256 == card.sha256 and there.raw == card.raw:
            return there
        raise InvalidModelError(
            f"Another model is already named {card.id}; it was not replaced.",
            f"A changed model needs a new version in its card. To drop the old one, delete {place}.",
        )
    return None


@contextmanager
def _opener(source: Path) -> Iterator[_Opener]:
    """Access to a model's files by name, for a zip, a folder or a file."""
    try:
        mode = source.stat().st_mode
    except OSError as error:
        raise ModelNotFoundError(f"There is no model at {source}.", "Check the path.") from error
    suffix = source.suffix.lower()
    if stat.S_ISDIR(mode):
        yield _from_folder(_folder_of_card(source))
    elif suffix == ".zip":
        with _archive(source) as opener:
            yield opener
    elif suffix == ".onnx" or source.name == CARD_NAME:
        yield _from_folder(source.parent)
    else:
        raise InvalidModelError(
            f"{source.name} is not a model.", "Choose a model's folder, a zip of it, or its model.onnx or card.json."
        )


def _folder_of_card(folder: Path) -> Path:
    """The folder itself, or the one folder in it that holds a card."""
    if (folder / CARD_NAME).is_file():
        return folder
    inside = sorted(path.parent for path in folder.glob(f"*/{CARD_NAME}"))
    if len(inside) > 1:
        raise InvalidModelError(f"{folder} holds {len(inside)} models.", "Choose the folder of one of them.")
    return inside[0] if inside else folder


def _from_folder(folder: Path) -> _Opener:
    def opened(name: str) -> IO[bytes] | None:
        try:
            return (folder / name).open("rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidModelError(
                f"{folder / name} cannot be read: {error.strerror or error}.", "Check the permissions of the file."
            ) from error

    return opened


@contextmanager
def _archive(source: Path) -> Iterator[_Opener]:
    """Files of a zip by their plain name, beside the one card in it. Member paths are never used as paths on disk."""
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidModelError(f"{source.name} cannot be read as a zip file ({error}).", _AGAIN) from error
    with archive:
        cards = [info for info in archive.infolist() if PurePosixPath(info.filename).name == CARD_NAME]
        if len(cards) != 1:
            how_many = "no card.json" if not cards else f"{len(cards)} models"
            raise InvalidModelError(
                f"{source.name} holds {how_many}.", "A model's zip holds one folder with card.json and model.onnx."
            )
        beside = PurePosixPath(cards[0].filename).parent
        members = {
            PurePosixPath(info.filename).name: info
            for info in archive.infolist()
            if not info.is_dir() and PurePosixPath(info.filename).parent == beside
        }

        def opened(name: str) -> IO[bytes] | None:
            if name not in members:
                return None
            try:
                return archive.open(members[name])
            except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
                raise InvalidModelError(
                    f"{source.name} cannot be unpacked ({error}).", "Make a plain zip, without a password."
                ) from error

        yield opened


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A temporary folder on the target's disk, but outside it: half a model must never be found there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Staging(target.parent, "model")
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield staging.content
    finally:
        with shielded():
            staging.remove()


def _copy(opened: _Opener, name: str, staging: Path, limit: int, source: Path, optional: bool = False) -> None:
    """Copy one file, at most ``limit`` bytes of it: a zip's stated sizes are not trusted."""
    stream = opened(name)
    if stream is None:
        if optional:
            return
        raise ModelNotFoundError(
            f"{name} is missing in {source.name}.", "A model is card.json and the weights it names, side by side."
        )
    copied = 0
    with stream:
        try:
            with (staging / name).open("wb") as copy:
                while chunk := _read(stream, name):
                    copied += len(chunk)
                    if copied > limit:
                        raise InvalidModelError(f"{name} is larger than {limit / 2**20:.0f} MB: not a model.", _AGAIN)
                    copy.write(chunk)
        except OSError as error:
            raise _cannot_write(staging, error) from error


def _read(stream: IO[bytes], name: str) -> bytes:
    try:
        return stream.read(_CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise InvalidModelError(f"{name} is damaged or cannot be read ({error}).", _AGAIN) from error


def _cannot_write(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The model cannot be written to {folder}: {error.strerror or error}.",
        "Check the folder's permissions and the free space on its disk.",
    )
