"""Model lookup: a path, ``$FLAIRSEG_MODELS``, the user's cache, the package, the repository."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from ..errors import FlairSegError, InvalidModelError, ModelNotFoundError
from .card import CARD_NAME, NO_SUCH_PATH, ModelCard, read_card
from .members import Member
from .switch import Choice, chosen

DEFAULT_MODEL = "flairseg2d-distilled-v1.1"
ENVIRONMENT = "FLAIRSEG_MODELS"
_PACKAGE = Path(__file__).resolve().parents[1]


def load_card(path: str | Path, verify: bool = True) -> ModelCard:
    """Read and check a model card.

    Parameters
    ----------
    path : str or Path
        The card, a folder that holds ``card.json``, or an ``.onnx`` file with ``card.json`` beside it.
    verify : bool
        Also compare the weights with the card's sha256, those of an ensemble's members too.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelNotFoundError
        If the card or the weights do not exist.
    InvalidModelError
        If the card is not valid or the weights are not those it describes.
    """
    card = read_card(path)
    if verify:
        verify_model(card)
    return card


def verify_model(card: ModelCard) -> None:
    """:meth:`ModelCard.verify`, and the same for each member of an ensemble.

    Raises
    ------
    ModelNotFoundError, InvalidModelError
        As :meth:`ModelCard.verify` and :func:`networks`.
    """
    card.verify()
    if card.members:
        networks(card)


def default_model() -> str:
    """Id of the model that is used when none is named: the user's choice, else :data:`DEFAULT_MODEL`.

    A choice that cannot be read counts as none here; :func:`find_model` reports it.
    """
    try:
        choice = chosen_in_use()
    except InvalidModelError:
        choice = None
    return DEFAULT_MODEL if choice is None else choice.id


def chosen_in_use() -> Choice | None:
    """Return the model that the user put in use; None for FlairSeg's own.

    Raises
    ------
    InvalidModelError
        If the choice cannot be read.
    """
    return chosen(user_cache())


def search_folders() -> list[tuple[str, Path]]:
    """Folders that may hold ``<model id>/card.json``, first hit wins.

    Returns
    -------
    list of (str, Path)
        The location, as text, and the folder; missing folders are left out.
    """
    folders = [(f"${ENVIRONMENT}", Path(entry)) for entry in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if entry]
    folders.append(("user's cache", user_cache()))
    folders.append(("installed", _PACKAGE / "data" / "models"))
    folders.append(("repository", _PACKAGE.parents[1] / "models"))
    return [(where, folder) for where, folder in folders if _is_folder(folder)]


def user_cache() -> Path:
    """The user's own folder for models; the same with and without platformdirs, which Slicer has not."""
    try:
        import platformdirs
    except ImportError:
        return _cache_home() / "models"
    return Path(platformdirs.user_cache_dir("flairseg", appauthor=False)) / "models"


def _cache_home() -> Path:
    """Equivalent of platformdirs' ``user_cache_dir("flairseg", appauthor=False)`` in the standard library."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "flairseg" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "flairseg"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "flairseg"


def find_model(model: str | Path | None = None, verify: bool = True) -> ModelCard:
    """The card of a model.

    Parameters
    ----------
    model : str or Path, optional
        Id (``name-v1.0``), or a path to an ``.onnx`` file, a card or a model folder. Default: the user's choice
        (:mod:`.switch`), else :data:`DEFAULT_MODEL`.
    verify : bool
        Also compare the weights with the card's sha256.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelNotFoundError
        If nothing by that id or path is there.
    InvalidModelError
        If the card is not valid or the weights are not those it describes.
    """
    choice = chosen_in_use() if model is None else None
    if choice is not None:
        return _chosen_model(choice, verify)
    name = DEFAULT_MODEL if model is None else model
    if isinstance(name, Path) or _looks_like_path(str(name)):
        path = Path(name).expanduser()
        if not _exists(path):
            raise ModelNotFoundError(
                f"There is no model at {path}.", NO_SUCH_PATH, code="model-path-not-found", path=path
            )
        return load_card(path, verify)
    for _, folder in search_folders():
        for card_path in _cards(folder):
            if card_path.parent.name == name:
                return _installed(card_path, verify)
    if _exists(Path(name)):
        return load_card(name, verify)
    raise ModelNotFoundError(
        f"No model is named {name}.",
        f"Choose one of the installed models; ${ENVIRONMENT} names further folders of models.",
        code="unknown-model",
        model=name,
    )


def _chosen_model(choice: Choice, verify: bool) -> ModelCard:
    """The model that the user chose, unchanged since: another one is never substituted."""
    try:
        card = find_model(choice.id, verify)
    except FlairSegError as error:
        raise type(error)(
            f"The model in use, {choice.id}, cannot be used. {error.message}",
            "Install it again, or go back to the previous model.",
            code="model-in-use-missing",
            model=choice.id,
        ) from error
    if card.sha256 != choice.sha256:
        raise InvalidModelError(
            f"The model {choice.id} is not the one that was selected (sha256 differs).",
            "Select it again to use it, or go back to the previous model.",
            code="model-in-use-changed",
            model=choice.id,
        )
    return card


def list_models() -> list[ModelCard]:
    """Every model that :func:`find_model` would find by id, first hit per id, weights not yet verified.

    Invalid cards are left out; ``flairseg models`` lists them, see :func:`survey`.
    """
    return [card for _, card in survey() if isinstance(card, ModelCard)]


def survey() -> list[tuple[str, ModelCard | FlairSegError]]:
    """Every model folder found, with where it is and its card, or the error that its card gives."""
    seen: set[str] = set()
    out: list[tuple[str, ModelCard | FlairSegError]] = []
    for where, folder in search_folders():
        for card_path in _cards(folder):
            if card_path.parent.name in seen:
                continue
            seen.add(card_path.parent.name)
            try:
                out.append((where, _installed(card_path, verify=False)))
            except FlairSegError as error:
                out.append((where, error))
    return out


def _installed(card_path: Path, verify: bool) -> ModelCard:
    """The card in a folder of models, whose folder must be named as it is."""
    card = load_card(card_path, verify)
    if card.id != card_path.parent.name:
        raise InvalidModelError(
            f"The folder {card_path.parent} holds the model {card.id}.", "Rename the folder to the model's id."
        )
    return card


def _cards(folder: Path) -> list[Path]:
    """The cards in a folder of models, or of a folder that is itself one model."""
    direct = folder / CARD_NAME
    return [direct] if direct.is_file() else sorted(folder.glob(f"*/{CARD_NAME}"))


def _looks_like_path(name: str) -> bool:
    """Whether a model was named by a path rather than by its id."""
    separators = {os.sep, os.altsep or os.sep}
    return any(s in name for s in separators) or name.lower().endswith((".onnx", ".json")) or name in (".", "..")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def networks(card: ModelCard, verify: bool = True) -> list[ModelCard]:
    """The cards of what a model runs: the model itself or, of an ensemble, its members in their order.

    A member is searched beside the ensemble's own folder, then as any model (:func:`find_model`).

    Parameters
    ----------
    card : ModelCard
    verify : bool
        Also compare each one's weights with its sha256.

    Returns
    -------
    list of ModelCard

    Raises
    ------
    ModelNotFoundError
        A member, or its weights, is not there; the message names it.
    InvalidModelError
        A member is damaged, is not the one that the ensemble was made with, or is an ensemble itself.
    """
    members = card.members
    if not members:
        if verify:
            card.verify()
        return [card]
    return [_member_card(member, card, verify) for member in members]


def pipeline_sha256(card: ModelCard) -> str:
    """SHA-256 of the pipelines in the cards of a model and of its members.

    The same weights give other results with another pipeline.

    Raises
    ------
    ModelNotFoundError, InvalidModelError
        As :func:`networks` for the members of an ensemble.
    """
    pipelines = [one.raw.get("pipeline") for one in ([card, *networks(card, verify=False)] if card.members else [card])]
    return hashlib.sha256(json.dumps(pipelines, sort_keys=True).encode()).hexdigest()


def _member_card(member: Member, ensemble: ModelCard, verify: bool) -> ModelCard:
    beside = ensemble.path.parent.parent / member.id / CARD_NAME
    try:
        found = load_card(beside, verify) if beside.is_file() else find_model(member.id, verify)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"The model {member.id} is missing, a member of {ensemble.id}.",
            f"Install {member.id} first.",
            code="model-member-missing",
            model=member.id,
        ) from error
    except InvalidModelError as error:
        raise InvalidModelError(
            f"The model {member.id}, a member of {ensemble.id}, cannot be used. {error.message}", error.advice
        ) from error
    if found.members:
        raise InvalidModelError(
            f"The model {member.id}, a member of {ensemble.id}, is an ensemble itself.",
            "Get the ensemble's card again from its source.",
        )
    if found.id != member.id or found.sha256 != member.sha256:
        raise InvalidModelError(
            f"The model {member.id} is not the one that {ensemble.id} was made with (sha256 differs).",
            f"Install the {member.id} that belongs to this ensemble, or use a member alone.",
        )
    return found
