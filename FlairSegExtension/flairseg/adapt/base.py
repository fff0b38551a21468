"""The model that an adaptation starts from: a published one."""

from __future__ import annotations

from ..errors import FlairSegError
from ..models.card import ModelCard
from ..models.in_use import parent_of


class AdaptedBaseError(FlairSegError):
    """The model to adapt was adapted to a site itself."""


def published_base(card: ModelCard, stated: bool) -> ModelCard:
    """Return the model to start from: never one trained on a site's cases, which the proof would then test on them.

    Raises
    ------
    AdaptedBaseError
        If the user named an adapted model.
    ModelNotFoundError, InvalidModelError
        As :func:`.in_use.parent_of` for the parent of the model in use.
    """
    while (adaptation := card.raw.get("adaptation")) is not None:
        parent = adaptation["parent"]
        if stated:
            raise AdaptedBaseError(
                f"{card.id} is already adapted to a site: validation on the same site's cases would be biased.",
                f"Adapt its parent, {parent['id']}, to all cases.",
                code="base-is-adapted",
                parent=parent["id"],
            )
        card = parent_of(card)
    return card
