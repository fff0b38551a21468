"""The card of an adapted model: its parent, training cases in counts, its proof, and a digest over all of that."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import InvalidModelError
from ..models.adaptation import card_digest
from ..models.card import CARD_NAME, ModelCard, file_sha256
from ..models.install import check_id
from ..models.lesion_confidence import FIELD as LESION_CONFIDENCE
from ..models.scope import KEY, Scope
from ..models.store import search_folders
from .conventions import Convention
from .record import Judgement, Limit, ProofRecord, accepted
from .reference import Reference

#: Between a base's name and the version of a model that was adapted from it.
SITE = "-site"


def free_id(base: ModelCard) -> str:
    """``<name>-site-v1.<n>`` with the first minor version that no model has."""
    name = base.id.rpartition("-v")[0].removesuffix(SITE) + SITE
    taken = _taken()
    minor = next(n for n in range(10**6) if f"{name}-v1.{n}" not in taken)
    return f"{name}-v1.{minor}"


def check_free(model_id: str) -> None:
    """Check an id for a new model, before anything is trained.

    Raises
    ------
    InvalidModelError
        If it is none, or an installed model has it.
    """
    check_id(model_id)
    if model_id in _taken():
        raise InvalidModelError(f"Another model is already named {model_id}.", "Give the new model another id.")


def _taken() -> set[str]:
    return {path.name for _, folder in search_folders() for path in folder.iterdir()}


@dataclass(frozen=True)
class CaseCounts:
    """Cases of an adaptation, in counts.

    Attributes
    ----------
    cases, patients : int
    accepted_unedited, corrected : int
        Cases accepted unchanged; corrected or drawn by hand.
    with_rejected_version : int
        Cases with an earlier version that was rejected.
    reviewed : mapping of str to int
        Class -> cases in which it was reviewed.
    lesion_ml : float
        Volume of all lesions drawn.
    left_out : mapping of str to int
        :func:`.record.by_code`.
    """

    cases: int
    patients: int
    accepted_unedited: int
    corrected: int
    with_rejected_version: int
    reviewed: Mapping[str, int]
    lesion_ml: float
    left_out: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """As in the card's ``adaptation.data``."""
        return asdict(self)

    @classmethod
    def of_card(cls, card: ModelCard) -> CaseCounts:
        """Those of an adapted model."""
        kept = {"left_out": {}, **card.raw["adaptation"]["data"]}
        return cls(**{one.name: kept[one.name] for one in fields(cls)})


@dataclass(frozen=True)
class AdaptationRecord:
    """Record of an adaptation in the model's card.

    Attributes
    ----------
    proof : ProofRecord
    counts : CaseCounts
    seed : int
    minutes : float
    reference : Reference
        Figures of the cases that later ones are compared with (:mod:`.drift`).
    scope : Scope
        Which scans are like those of the adaptation.
    limit : Limit
        Minimum mean probability of a lesion.
    """

    proof: ProofRecord
    counts: CaseCounts
    seed: int
    minutes: float
    reference: Reference
    scope: Scope
    limit: Limit

    def to_json(self) -> dict[str, Any]:
        """The card's ``adaptation``, without parent and digest."""
        proof = self.proof.to_json()
        return {
            "verdict": proof["verdict"],
            "reasons": proof["reasons"],
            # By the figures alone, and what the user has to state beside them (adapt/conventions.py).
            "by_figures": proof["by_figures"],
            "conventions": proof["conventions"],
            "seed": self.seed,
            "minutes": round(self.minutes, 1),
            "devices": sorted({one.device for one in self.proof.trainings}),
            "data": self.counts.to_json(),
            "no_harm": [
                {**one, "base": _rounded(one["base"]), "adapted": _rounded(one["adapted"])} for one in proof["no_harm"]
            ],
            "trainings": [one.to_json(checks=False) for one in self.proof.trainings],
            "reference": self.reference.to_json(),
            "lesion_limit": asdict(self.limit),
            KEY: self.scope.to_dict(),
        }


def _without_proof(base: ModelCard, model_id: str, weights: Path) -> dict[str, Any]:
    """The card of the base under another id, with other weights, without figures that were measured with its own."""
    raw = copy.deepcopy(base.raw)
    # Adapted weights give other probabilities: the base's lesion confidence was not fitted to them.
    for key in ("results", "training", LESION_CONFIDENCE):
        raw.pop(key, None)
    raw |= {
        "id": model_id,
        "version": model_id.rpartition("-v")[2],
        "title": f"{base.title.removesuffix(', adapted to a site')}, adapted to a site",
        "weights": {
            "file": weights.name,
            "sha256": file_sha256(weights),
            "bytes": weights.stat().st_size,
            **{k: v for k, v in base.raw["weights"].items() if k == "parameters"},
        },
        "results": [],
    }
    return raw


def write_adapted(base: ModelCard, model_id: str, weights: Path, record: AdaptationRecord | None = None) -> None:
    """Write ``card.json`` of an adapted model.

    Parameters
    ----------
    base : ModelCard
    model_id : str
    weights : Path
        Its ONNX file; the card is written beside it.
    record : AdaptationRecord, optional
        Without it the card is one of a fold, for the run itself.
    """
    raw = _without_proof(base, model_id, weights)
    if record is not None:
        _add_proof(raw, base, record)
    _write(raw, weights.parent)


def _add_proof(raw: dict[str, Any], base: ModelCard, record: AdaptationRecord) -> None:
    """Add what is known of the adapted model."""
    counts, word = record.counts, record.proof.judgement.verdict
    raw["summary"] = f"{base.id} adapted to {counts.patients} patients of one site; on left-out ones: {word}."
    raw["training_data"] = [
        *base.raw["training_data"],
        {
            "name": f"{counts.cases} reviewed cases of {counts.patients} patients of one site",
            "licence": "not distributed",
            "used_for": "local adaptation",
        },
    ]
    raw["results"] = [
        {
            "data": "The site's own cases, each segmented by a model adapted without its patient",
            "cases": counts.cases,
            "figures": {
                one.key: {
                    name: _rounded(getattr(one, name)) for name in ("base", "adapted", "gain", "low", "high", "p")
                }
                for one in record.proof.comparisons
            },
        }
    ]
    # Figures among the parent's limitations were measured with the parent's weights.
    raw["limitations"] = [
        *(f"Of {base.id}: {text}" for text in base.raw.get("limitations", [])),
        "Adapted to one site's scanner and readers: elsewhere use the base or a local adaptation. "
        "While it is the model in use, scans unlike the site's are segmented with the base.",
        f"Confidence of lesions is not calibrated: it is their mean probability. {record.limit.text(base.id)}",
    ]
    if record.limit.value or "min_lesion_probability" in raw["pipeline"]:
        raw["pipeline"]["min_lesion_probability"] = record.limit.value
    raw["adaptation"] = {"parent": {"id": base.id, "sha256": base.sha256}, **record.to_json()}
    raw["adaptation"]["digest"] = card_digest(raw)


def conventions_of(card: ModelCard) -> tuple[Convention, ...]:
    """Those of an adapted model's cases; none of other models and of earlier versions."""
    return tuple(Convention.from_dict(one) for one in card.raw.get("adaptation", {}).get("conventions", []))


def write_accepting(card: ModelCard, codes: Collection[str], folder: Path) -> ModelCard:
    """Write an adapted model's card with conventions accepted, and the verdict that then holds.

    Parameters
    ----------
    card : ModelCard
    codes : collection of str
        Keys of :data:`.terms.CONVENTIONS`.
    folder : Path

    Returns
    -------
    ModelCard
        As written.
    """
    raw = copy.deepcopy(dict(card.raw))
    made, before = raw["adaptation"], card.raw["adaptation"]["verdict"]
    conventions = accepted(conventions_of(card), codes)
    judged = Judgement.from_json(made["by_figures"]).holding(conventions)
    made |= {**judged.to_json(), "conventions": [one.to_dict() for one in conventions]}
    raw["summary"] = raw["summary"].removesuffix(f": {before}.") + f": {judged.verdict}."
    made["digest"] = card_digest(raw)
    _write(raw, folder)
    return replace(card, raw=raw)


def _write(raw: Mapping[str, Any], folder: Path) -> None:
    (folder / CARD_NAME).write_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 4)
