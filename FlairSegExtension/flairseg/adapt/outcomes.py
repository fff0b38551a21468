"""State of a folder of reviewed cases: cases ready for training, and adaptations made.

For graphical front ends. Reads verdicts, cards and proofs, no image, and needs no PyTorch. Adaptations are kept
beside their cases in :data:`FOLDER`, one folder each, numbered; a stopped one is resumed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FlairSegError, InputNotFoundError, InvalidModelError
from ..models.card import CARD_NAME, ModelCard
from ..models.store import load_card
from .work import FOLDER as WORK

if TYPE_CHECKING:
    from .record import ProofRecord

#: Within a folder of cases; no case has such a folder's name, and none has its layout.
FOLDER = "flairseg-adapted-models"
PAGE, PROOF = "proof.html", "proof.json"
_NUMBERED = re.compile(r"adaptation-(\d+)")


@dataclass(frozen=True)
class Readiness:
    """Cases of a folder by their verdicts; images are read when an adaptation begins.

    Attributes
    ----------
    corrected, confirmed : int
        Usable cases: accepted after edits or drawn manually, and accepted unchanged.
    patients : int
        Number of patients, as far as names identify them.
    left_out : dict of str to int
        Code (:class:`.cases.LeftOut`) -> cases that cannot be used as they are.
    """

    corrected: int = 0
    confirmed: int = 0
    patients: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """Usable cases."""
        return self.corrected + self.confirmed


@dataclass(frozen=True)
class Outcome:
    """A finished adaptation.

    Attributes
    ----------
    folder : Path
    card : ModelCard
        Of the adapted model; its digest has been checked.
    proof : ProofRecord
    """

    folder: Path
    card: ModelCard
    proof: ProofRecord

    @property
    def verdict(self) -> str:
        """One of :data:`.terms.WORDS`."""
        return str(self.card.raw["adaptation"]["verdict"])

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / PAGE


def readiness(cases: str | Path) -> Readiness:
    """Return the cases of a folder available for training; none if it is missing or empty."""
    # So that showing the state needs no modules that read images.
    from .cases import read_cases

    try:
        found, left_out = read_cases(cases)
    except InputNotFoundError:
        return Readiness()
    corrected = sum(one.weight >= 1 for one in found)
    codes = Counter(one.code for one in left_out)
    return Readiness(
        corrected, len(found) - corrected, len({one.patient for one in found}), dict(sorted(codes.items()))
    )


def next_folder(cases: str | Path) -> Path:
    """Folder of the next adaptation: the newest one while it is unfinished, else a new one."""
    numbered = _numbered(cases)
    if numbered:
        number, newest = numbered[-1]
        if (newest / WORK).is_dir() and not (newest / CARD_NAME).exists():
            return newest
        return newest.with_name(f"adaptation-{number + 1}")
    return Path(cases) / FOLDER / "adaptation-1"


def newest_outcome(cases: str | Path) -> Outcome | None:
    """The newest complete adaptation; None without any."""
    for _, folder in reversed(_numbered(cases)):
        try:
            return read_outcome(folder)
        except FlairSegError:
            continue
    return None


def read_outcome(folder: str | Path) -> Outcome:
    """Read a finished adaptation.

    Raises
    ------
    ModelNotFoundError, InvalidModelError
        It is unfinished, damaged, was altered, or is no adaptation.
    """
    from .record import ProofRecord

    folder = Path(folder)
    card = load_card(folder)
    try:
        proof = ProofRecord.read(folder / PROOF)
        if proof.judgement.verdict != card.raw["adaptation"]["verdict"]:
            raise ValueError("the proof is another model's")
        return Outcome(folder, card, proof)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidModelError(
            f"{folder} holds no adaptation that can be read.", "Adapt the model again, into another folder."
        ) from error


def _numbered(cases: str | Path) -> list[tuple[int, Path]]:
    """Folders of adaptations with their numbers, in order."""
    try:
        found = [
            (match, path) for path in (Path(cases) / FOLDER).iterdir() if (match := _NUMBERED.fullmatch(path.name))
        ]
    except OSError:
        return []
    return sorted((int(match[1]), path) for match, path in found)
