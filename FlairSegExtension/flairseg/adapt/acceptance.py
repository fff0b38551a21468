"""Acceptance of a site's conventions after an adaptation: the verdict that was held back, without another training."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import FlairSegError, InvalidModelError
from ..files.atomic import all_or_none
from ..models.adaptation import card_digest
from ..models.card import CARD_NAME, ModelCard
from ..models.store import load_card
from .cards import write_card
from .conventions import Convention, held_back
from .outcomes import PAGE, PROOF
from .record import ProofRecord, accepted


class NothingToAcceptError(FlairSegError):
    """The model's cases do not have the difference that the user accepts."""


def open_conventions(card: ModelCard) -> list[Convention]:
    """What the user has not accepted of an adapted model's cases; none of other models and of earlier versions."""
    found = [Convention.of(one) for one in card.raw.get("adaptation", {}).get("conventions", [])]
    return [one for one in found if not one.accepted]


def accept(folder: str | Path, codes: Iterable[str]) -> ModelCard:
    """State that differences of an adapted model's cases are the readers' convention; its weights stay.

    Card, proof and report are replaced together. What is accepted already stays so.

    Parameters
    ----------
    folder : str or Path
        Of the adapted model; without proof and report (an installed model), the card alone is replaced.
    codes : iterable of str
        Keys of :data:`.terms.CONVENTIONS`.

    Returns
    -------
    ModelCard
        With the verdict that then holds.

    Raises
    ------
    NothingToAcceptError
        If the cases do not have such a difference.
    ModelNotFoundError, InvalidModelError
        If the model is none, or was altered.
    OutputError
        If the folder cannot be written to.
    """
    folder = Path(folder)
    card = load_card(folder)
    made = card.raw.get("adaptation", {})
    known = [one["code"] for one in made.get("conventions", [])]
    for code in codes:
        if code not in known:
            told = f"it has {', '.join(known)}" if known else "there is nothing to accept"
            raise NothingToAcceptError(f"The cases of {card.id} do not have {code}: {told}.", "Use the model as it is.")
    raw = copy.deepcopy(dict(card.raw))
    _accept(raw["adaptation"], set(codes))
    proof = _proof(folder)
    names = [CARD_NAME]
    if proof is not None:
        proof = proof.accepting(set(codes))
        names += [PROOF, PAGE]
    data, word = raw["adaptation"]["data"], raw["adaptation"]["verdict"]
    raw["summary"] = raw["summary"].removesuffix(f": {made['verdict']}.") + f": {word}."
    raw["adaptation"]["digest"] = card_digest(raw)
    with all_or_none(folder, names, names) as temporary:
        write_card(raw, temporary)
        if proof is not None:
            from .page import write_page

            proof.write(temporary / PROOF)
            write_page(temporary / PAGE, replace(card, raw=raw), proof, data)
    return load_card(folder)


def _accept(made: dict[str, Any], codes: set[str]) -> None:
    """Mark codes as accepted in the adaptation's part of a card, and set the verdict that then holds."""
    conventions = accepted([Convention.of(one) for one in made["conventions"]], codes)
    made["conventions"] = [one.to_dict() for one in conventions]
    figures = made["by_figures"]
    made["verdict"], made["reasons"] = held_back(figures["verdict"], figures["reasons"], conventions)


def _proof(folder: Path) -> ProofRecord | None:
    try:
        return ProofRecord.read(folder / PROOF)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidModelError(f"{folder / PROOF} cannot be read.", "Adapt the model again.") from error
