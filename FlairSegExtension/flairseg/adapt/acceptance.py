"""Acceptance of a site's conventions after an adaptation: the verdict that was held back, without another training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import FlairSegError, InvalidModelError
from ..files.atomic import all_or_none
from ..models.card import CARD_NAME, ModelCard
from ..models.store import load_card
from .cards import conventions_of, write_accepting
from .conventions import Convention
from .outcomes import PAGE, PROOF
from .record import ProofRecord


class NothingToAcceptError(FlairSegError):
    """The model's cases do not have the difference that the user accepts."""


def open_conventions(card: ModelCard) -> list[Convention]:
    """What the user has not accepted of an adapted model's cases; none of other models and of earlier versions."""
    return [one for one in conventions_of(card) if not one.accepted]


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
    folder, stated = Path(folder), set(codes)
    card = load_card(folder)
    known = [one.code for one in conventions_of(card)]
    for code in sorted(stated):
        if code not in known:
            told = f"it has {', '.join(known)}" if known else "there is nothing to accept"
            raise NothingToAcceptError(f"The cases of {card.id} do not have {code}: {told}.", "Use the model as it is.")
    proof = _proof(folder)
    names = [CARD_NAME]
    if proof is not None:
        names += [PROOF, PAGE]
    with all_or_none(folder, names, names) as temporary:
        card = write_accepting(card, stated, temporary)
        if proof is not None:
            from .page import write_page

            proof = proof.accepting(stated)
            proof.write(temporary / PROOF)
            write_page(temporary / PAGE, card, proof)
    return load_card(folder)


def _proof(folder: Path) -> ProofRecord | None:
    try:
        return ProofRecord.read(folder / PROOF)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidModelError(f"{folder / PROOF} cannot be read.", "Adapt the model again.") from error
