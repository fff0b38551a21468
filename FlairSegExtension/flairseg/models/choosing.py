"""Management of the model in use: select, roll back, remove."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import FlairSegError, InvalidModelError, ModelNotFoundError, OutputError
from ..files.staging import Staging, remove_abandoned
from .card import CARD_NAME, ModelCard
from .in_use import parent_of
from .scope import scope_of
from .store import find_model, user_cache
from .switch import Choice, choice_of, chosen, read_state, write_state

#: Choices that are remembered.
_REMEMBERED = 50
_BY_ID = "Choose a model by its id."
#: Verdict of an adapted model that can be selected without ``anyway`` (:mod:`flairseg.adapt.terms`).
_BETTER = "better"


class ModelInUseError(FlairSegError):
    """The model cannot be removed or chosen: it is in use, comes with FlairSeg, or was not shown to be better."""


def check_better(card: ModelCard) -> None:
    """Raise an error for an adapted model not shown to be better than its parent.

    Raises
    ------
    ModelInUseError
        With the verdict.
    """
    proof = card.raw.get("adaptation")
    if proof is not None and proof["verdict"] != _BETTER and proof.get("by_figures", {}).get("verdict") == _BETTER:
        asked = [one for one in proof["conventions"] if not one["accepted"]]
        raise ModelInUseError(
            f"{card.id} is proposed only once it is stated: {'; '.join(one['statement'] for one in asked)}.",
            "If that is so, accept it; else correct the masks and adapt again.",
            code="convention-not-accepted",
            model=card.id,
            codes=", ".join(one["code"] for one in asked),
        )
    if proof is not None and proof["verdict"] != _BETTER:
        raise ModelInUseError(
            f"{card.id} was not shown to be better than {proof['parent']['id']}: {proof['verdict']}.",
            "Use it only for a specific reason.",
            code="model-not-better",
            model=card.id,
        )


def use(card: ModelCard, anyway: bool = False) -> None:
    """Put an installed model in use.

    Parameters
    ----------
    card : ModelCard
    anyway : bool
        Also an adapted model that was not shown to be better.

    Raises
    ------
    ModelInUseError
        See :func:`check_better`.
    ModelNotFoundError, InvalidModelError
        See :func:`.in_use.parent_of`: an adapted model leaves scans unlike its own to its parent.
    OutputError
        If the choice cannot be written; the old one stays in force.
    """
    # Beside the user's models :func:`.install.install_model` stages new ones.
    for folder in (user_cache(), user_cache().parent):
        remove_abandoned(folder)
    if not anyway:
        check_better(card)
    if scope_of(card) is not None:
        parent_of(card)
    state = read_state(user_cache())
    new = {"id": card.id, "sha256": card.sha256}
    if state["current"] != new:
        write_state(
            user_cache(), {**state, "current": new, "history": [*state["history"], state["current"]][-_REMEMBERED:]}
        )


def can_roll_back() -> bool:
    """Whether another model was in use before."""
    try:
        return bool(read_state(user_cache())["history"])
    except InvalidModelError:
        return False


def rollback() -> Choice | None:
    """Return to the previous model; return the choice then in force (None: FlairSeg's own).

    Raises
    ------
    ModelNotFoundError
        If there is nothing to go back to, or that model is not installed any more.
    """
    state = read_state(user_cache())
    if not state["history"]:
        raise ModelNotFoundError("There is no previous model.", _BY_ID, code="no-model-before")
    before = choice_of(state["history"][-1])
    if before is not None and find_model(before.id).sha256 != before.sha256:
        raise InvalidModelError(
            f"The model {before.id} is not the previous model (sha256 differs).",
            _BY_ID,
        )
    write_state(user_cache(), {**state, "current": state["history"][-1], "history": state["history"][:-1]})
    return before


def remove(model_id: str) -> Path:
    """Remove a model from the user's models; return its former folder.

    Raises
    ------
    ModelNotFoundError
        If no such model is among them.
    ModelInUseError
        If it is in use, or the parent of the model in use.
    OutputError
        If it cannot be removed.
    """
    current = chosen(user_cache())
    folder = user_cache() / model_id
    if Path(model_id).name != model_id or not model_id or not (folder / CARD_NAME).is_file():
        raise ModelNotFoundError(
            f"No model {model_id} is among the user's models.",
            "Models that come with FlairSeg cannot be removed.",
            code="not-users-model",
            model=model_id,
        )
    if current is not None and current.id == model_id:
        raise ModelInUseError(
            f"{model_id} is the model in use.", "Switch to another one first.", code="model-in-use", model=model_id
        )
    if current is not None and _is_parent_of(model_id, current):
        raise ModelInUseError(
            f"{current.id}, the model in use, was adapted from {model_id}, which is used for scans unlike the site's.",
            "Switch to another one first.",
            code="model-in-use",
            model=model_id,
        )
    try:
        staging = Staging(folder.parent, "removed")
        try:
            # One rename, so that after a kill the model is complete or absent.
            os.replace(folder, staging.content / model_id)
        finally:
            staging.remove()
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be removed: {error.strerror or error}.", "Check its permissions."
        ) from error
    return folder


def _is_parent_of(model_id: str, choice: Choice) -> bool:
    """Whether the model in use leaves scans unlike its own to a model."""
    try:
        card = find_model(choice.id, verify=False)
    except FlairSegError:
        return False
    return scope_of(card) is not None and card.raw["adaptation"]["parent"]["id"] == model_id
