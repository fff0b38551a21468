"""Ensembles: a card without its own weights, whose members are other models and vote with a weight for each class.

A member that does not segment a class has no weight for it. An ensemble is identified, instead of by a file's sha256,
by a digest over its members' own sha256 and their weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..labels import CLASS_BY_ID, CLASS_BY_VALUE, LESION

#: Pipeline fields of an ensemble's own card; preprocessing is in its members' cards.
ENSEMBLE_STAGES = frozenset(
    {
        "plane",
        "thresholds",
        "fill_holes",
        "smooth_edges",
        "min_lesion_mm3",
        "min_normal_mm3",
        "min_ventricle_mm3",
        "min_lesion_probability",
        "lesion_probability_ratio",
        "lesion_growth",
        "brain_margin_mm",
    }
)


@dataclass(frozen=True)
class Member:
    """One model of an ensemble.

    Attributes
    ----------
    id : str
        Of the model.
    sha256 : str
        Of its weights.
    weights : mapping of int to float
        Class value (1, 2, 3) -> weight of its vote, not negative; a class that it does not know is missing.
    """

    id: str
    sha256: str
    weights: Mapping[int, float]


def members_of(raw: Mapping[str, Any]) -> tuple[Member, ...]:
    """The members listed in a card, in its order; none for a single model.

    Raises
    ------
    ValueError
        If the card's ``ensemble`` makes no sense.
    KeyError, TypeError, AttributeError
        If a field is missing or of another type.
    """
    if "ensemble" not in raw:
        return ()
    members = []
    for entry in raw["ensemble"]["members"]:
        weights = {}
        for name, weight in entry["weights"].items():
            if name not in CLASS_BY_ID:
                raise ValueError(f"ensemble: {entry['id']} votes for {name!r}, which is not a class")
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"ensemble: the weight of {entry['id']} for {name} is {weight!r}, not 0 or more")
            weights[CLASS_BY_ID[name].value] = float(weight)
        member = Member(str(entry["id"]), str(entry["sha256"]).lower(), MappingProxyType(weights))
        if Path(member.id).name != member.id:
            raise ValueError(f"ensemble: {member.id!r} is not the id of a model")
        members.append(member)
    if len(members) < 2:
        raise ValueError("ensemble: it needs two members or more")
    if len({member.id for member in members}) < len(members):
        raise ValueError("ensemble: a member is listed twice")
    if not any(member.weights.get(LESION, 0) > 0 for member in members):
        raise ValueError("ensemble: no member has a vote for lesions")
    return tuple(members)


def digest(members: Sequence[Member]) -> str:
    """Hex sha256 over the members' ids, sha256 and weights, in their order: what identifies an ensemble."""
    content = [
        [member.id, member.sha256, {CLASS_BY_VALUE[value].id: weight for value, weight in member.weights.items()}]
        for member in members
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
