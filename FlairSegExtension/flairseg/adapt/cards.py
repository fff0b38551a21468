"""The card of an adapted model: its parent, training cases in counts, its proof, and a digest over all of that."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidModelError
from ..models.adaptation import card_digest
from ..models.card import CARD_NAME, ModelCard, file_sha256
from ..models.install import check_id
from ..models.lesion_confidence import FIELD as LESION_CONFIDENCE
from ..models.scope import KEY, Scope
from ..models.store import search_folders
from .record import Limit, ProofRecord, training_json

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
class AdaptationRecord:
    """Record of an adaptation in the model's card.

    Attributes
    ----------
    proof : ProofRecord
    counts : mapping
        Description of the cases; never names.
    seed : int
    minutes : float
    reference : mapping
        Figures of the cases that later ones are compared with (:mod:`.drift`).
    scope : Scope
        Which scans are like those of the adaptation.
    limit : Limit
        Minimum mean probability of a lesion.
    """

    proof: ProofRecord
    counts: Mapping[str, Any]
    seed: int
    minutes: float
    reference: Mapping[str, Any]
    scope: Scope
    limit: Limit


def _without_proof(base: ModelCard, model_id: str, weights: Path) -> dict[str, Any]:
    """The card of the base under another id, with other weights, without figures that were measured with its own."""
    raw = copy.deepcopy(base.raw)
    # Probabilities of adapted weights are others: what the base's lesion confidence was fitted on says nothing of them.
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


def adapted_card(
    base: ModelCard,
    model_id: str,
    weights: Path,
    record: AdaptationRecord | None = None,
) -> dict[str, Any]:
    """Content of ``card.json`` for an adapted model.

    Parameters
    ----------
    base : ModelCard
    model_id : str
    weights : Path
        Its ONNX file.
    record : AdaptationRecord, optional
        Without it the card is one of a fold, for the run itself.
    """
    raw = _without_proof(base, model_id, weights)
    if record is None:
        return raw
    proof, counts = record.proof.to_json(), record.counts
    word = record.proof.judgement.verdict
    raw["summary"] = f"{base.id} adapted to {counts.get('patients')} patients of one site; on left-out ones: {word}."
    raw["training_data"] = [
        *base.raw["training_data"],
        {
            "name": f"{counts.get('cases')} reviewed cases of {counts.get('patients')} patients of one site",
            "licence": "not distributed",
            "used_for": "local adaptation",
        },
    ]
    raw["results"] = [
        {
            "data": "The site's own cases, each by a model that was adapted without its patient",
            "cases": counts.get("cases"),
            "figures": {
                one["key"]: {name: _rounded(one[name]) for name in ("base", "adapted", "gain", "low", "high", "p")}
                for one in proof["comparisons"]
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
    raw["adaptation"] = {
        "parent": {"id": base.id, "sha256": base.sha256},
        "verdict": word,
        "reasons": list(proof["reasons"]),
        # By the figures alone, and what the user has to state beside them (adapt/conventions.py).
        "by_figures": dict(proof["by_figures"]),
        "conventions": list(proof["conventions"]),
        "seed": record.seed,
        "minutes": round(record.minutes, 1),
        "devices": sorted({one.device for one in record.proof.trainings}),
        "data": dict(counts),
        "no_harm": [
            {**one, "base": _rounded(one["base"]), "adapted": _rounded(one["adapted"])} for one in proof["no_harm"]
        ],
        "trainings": [training_json(one, checks=False) for one in record.proof.trainings],
        "reference": dict(record.reference),
        "lesion_limit": asdict(record.limit),
        KEY: record.scope.to_dict(),
    }
    raw["adaptation"]["digest"] = card_digest(raw)
    return raw


def write_card(raw: Mapping[str, Any], folder: Path) -> Path:
    """Write ``card.json`` into a folder."""
    path = folder / CARD_NAME
    path.write_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 4)
