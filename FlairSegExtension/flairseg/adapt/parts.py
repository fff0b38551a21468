"""Finished parts of a run, as :mod:`.work` keeps them: one dataclass each, with its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .json_forms import from_json, to_json
from .record import Harm


@dataclass(frozen=True)
class RunKey:
    """What a run is made of: work that was begun with another key is discarded.

    Attributes
    ----------
    cases : str
        :func:`.cases.fingerprint`.
    base : str
        sha256 of the base's weights.
    seed : int
    minutes : float
    settings : str
        Of the fine-tuning.
    software : str
        Version of FlairSeg.
    parts : int
        Layout of the parts.
    """

    cases: str
    base: str
    seed: int
    minutes: float
    settings: str
    software: str
    parts: int


@dataclass(frozen=True)
class Plan:
    """Steps and folds that fit the time.

    Attributes
    ----------
    steps : int
        Of each training, at most.
    folds : int
        At most, see :func:`.proof.folds_of`.
    step_seconds : float
        Of an optimiser step on ``device``.
    device : str
    """

    steps: int
    folds: int
    step_seconds: float
    device: str

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Plan:
        """Inverse of :meth:`to_json`."""
        return cls(**kept)


@dataclass(frozen=True)
class BaseCase:
    """A case by the base model: its figures, or why it is not used.

    Attributes
    ----------
    figures : mapping of str to float
        :func:`.proof.case_figures`.
    differs : mapping of str to sequence of int
        :func:`.conventions.differences` and :func:`.conventions.of_other_tissue`.
    code, reason : str
        Of the :class:`.record.LeftOut`; empty if the case is used.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    differs: Mapping[str, Sequence[int]] = field(default_factory=dict)
    code: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        if self.code:
            return {"code": self.code, "reason": self.reason}
        return {"figures": to_json(self.figures), "differs": dict(self.differs)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> BaseCase:
        """Inverse of :meth:`to_json`."""
        return cls(**kept) if "code" in kept else cls(from_json(kept["figures"]), kept["differs"])


@dataclass(frozen=True)
class FoldCase:
    """A case by the model of a fold, which never saw its patient.

    Attributes
    ----------
    figures, features : sequence of mapping of str to float
        :func:`.proof.case_figures` and :func:`.reference.case_features` at each of :func:`.lesion_limit.limits_of`.
    lesions : int
        Found before any was dropped.
    """

    figures: Sequence[Mapping[str, float]]
    features: Sequence[Mapping[str, float]]
    lesions: int

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        figures = [to_json(one) for one in self.figures]
        return {"figures": figures, "features": [dict(one) for one in self.features], "lesions": self.lesions}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> FoldCase:
        """Inverse of :meth:`to_json`."""
        return cls([from_json(one) for one in kept["figures"]], kept["features"], kept["lesions"])


@dataclass(frozen=True)
class Harms:
    """The check for forgetting."""

    found: tuple[Harm, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """As it is kept."""
        return [asdict(one) for one in self.found]

    @classmethod
    def from_json(cls, kept: Iterable[Mapping[str, Any]]) -> Harms:
        """Inverse of :meth:`to_json`."""
        return cls(tuple(Harm(**one) for one in kept))
