"""The model in use, as it is run: where it was adapted to a site, scans unlike that site's get its parent.

Only the model in use does so. A model that was named for a run segments what it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import FlairSegError, InvalidModelError, ModelNotFoundError
from .card import ModelCard, with_lesion_threshold
from .store import find_model


@dataclass(frozen=True)
class InUse:
    """The model in use.

    Attributes
    ----------
    card : ModelCard
    threshold : float or None
        Probability from which on a voxel is lesion, where it was chosen: of the parent, too.
    known_parent : ModelCard or None
        The parent, where it was looked up already: a worker of a cluster finds it by its path.
    """

    card: ModelCard
    threshold: float | None = None
    known_parent: ModelCard | None = None

    def parent(self) -> ModelCard:
        """The model for scans unlike those that this one was adapted to.

        Raises
        ------
        ModelNotFoundError, InvalidModelError
            As :func:`parent_of`.
        """
        return self.known_parent or with_lesion_threshold(parent_of(self.card), self.threshold)


#: What segments: an id, a path or a card that was chosen for the run, or the model in use (None, too).
Model = str | Path | ModelCard | InUse | None


def in_use(model: str | None = None, threshold: float | None = None) -> InUse:
    """The model in use.

    Parameters
    ----------
    model : str, optional
        Its id, where it was looked up before; default as :func:`.store.find_model`.
    threshold : float, optional

    Raises
    ------
    ModelNotFoundError, InvalidModelError
        As :func:`.store.find_model` and :func:`.card.with_lesion_threshold`.
    """
    return InUse(with_lesion_threshold(find_model(model), threshold), threshold)


def chosen_model(model: str | Path | None, threshold: float | None = None) -> ModelCard | InUse:
    """The model of a run: the one that was named for it, else the one in use.

    Raises
    ------
    ModelNotFoundError, InvalidModelError
        As :func:`in_use`.
    """
    if model is None:
        return in_use(threshold=threshold)
    return with_lesion_threshold(find_model(model), threshold)


def resolved(model: Model) -> tuple[ModelCard, InUse | None]:
    """The card of a model, and the model in use if it is that."""
    if isinstance(model, ModelCard):
        return model, None
    found = model if isinstance(model, InUse) else chosen_model(model)
    return (found.card, found) if isinstance(found, InUse) else (found, None)


def parent_of(card: ModelCard) -> ModelCard:
    """The very model that a model was adapted from, its weights verified.

    Parameters
    ----------
    card : ModelCard
        Of an adapted model.

    Raises
    ------
    ModelNotFoundError
        Code ``parent-missing``: it is not installed.
    InvalidModelError
        Code ``parent-changed``: it is damaged, or another model has its id (sha256 differs).
    """
    parent = card.raw["adaptation"]["parent"]
    wanted = {"model": card.id, "parent": str(parent["id"]), "sha256": str(parent["sha256"])}
    again = f"Install {parent['id']} again (sha256 {str(parent['sha256'])[:16]})"
    try:
        found = find_model(parent["id"])
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"The model {parent['id']}, which {card.id} was adapted from, is not installed.",
            f"{again}, or choose a model for this run.",
            code="parent-missing",
            **wanted,
        ) from error
    except FlairSegError as error:
        raise InvalidModelError(
            f"The model {parent['id']}, which {card.id} was adapted from, cannot be used. {error.message}",
            f"{again}, or choose a model for this run.",
            code="parent-changed",
            **wanted,
        ) from error
    if found.sha256 != str(parent["sha256"]).lower():
        raise InvalidModelError(
            f"The model {parent['id']} is not the one that {card.id} was adapted from (sha256 differs).",
            f"{again}, or choose a model for this run.",
            code="parent-changed",
            **wanted,
        )
    return found
