"""The model that an adaptation starts from: a published one."""

from __future__ import annotations

from ..errors import FlairSegError, InvalidModelError
from ..models.card import ModelCard
from ..models.store import find_model


class AdaptedBaseError(FlairSegError):
    """The model to adapt was adapted to a site itself."""


def published_base(card: ModelCard, stated: bool) -> ModelCard:
    """The model to start from: never one that has learnt from a site's cases, or the proof would test it on them.

    Raises
    ------
    AdaptedBaseError
        If the user named an adapted model.
    InvalidModelError
        If the parent of the model in use is not the one that it was adapted from.
    """
    while (adaptation := card.raw.get("adaptation")) is not None:
        parent = adaptation["parent"]
        if stated:
            raise AdaptedBaseError(
                f"{card.id} was adapted to a site already: a proof on the same site's cases would flatter it.",
                f"Adapt its parent, {parent['id']}, to all cases.",
                code="base-is-adapted",
                parent=parent["id"],
            )
        card = find_model(parent["id"])
        if card.sha256 != parent["sha256"]:
            raise InvalidModelError(
                f"The model {card.id} is not the one that the model in use was adapted from (sha256 differs).",
                "Install the parent of the model in use again, or name the model to adapt.",
            )
    return card
