"""The proof of an adaptation as a record: what a run finds, what the page shows, and the content of ``proof.json``.

Undefined figures are NaN here and null in the file. Nothing here needs PyTorch or reads images.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .conventions import Convention, held_back
from .json_forms import from_json, json_text, to_json

#: Most that a figure of the check for forgetting may lose.
LARGEST_LOSS = 0.01


@dataclass(frozen=True)
class LeftOut:
    """A case that is not used, with the reason.

    Attributes
    ----------
    number : int
        Of the case, from 1, in the order of names.
    code : str
        Stable identifier in kebab case, see :mod:`.checks`.
    reason : str
        One sentence without names.
    """

    number: int
    code: str
    reason: str


def by_code(left_out: Iterable[LeftOut]) -> dict[str, int]:
    """Code -> number of excluded cases."""
    codes = [one.code for one in left_out]
    return {code: codes.count(code) for code in sorted(set(codes))}


def told(left_out: Iterable[LeftOut]) -> str:
    """Numbers of excluded cases by code, as text for a message."""
    counted = ", ".join(f"{count} {code}" for code, count in by_code(left_out).items())
    return f"left out: {counted}" if counted else "none was left out"


@dataclass(frozen=True)
class Comparison:
    """One figure, base against adapted, over the patients for whom it is defined.

    Attributes
    ----------
    key : str
        Of :data:`.terms.FIGURES`.
    base, adapted : float
        Means over patients.
    gain, low, high : float
        Mean difference and its 95 % interval, positive where the adapted model is better; NaN where there is none.
    p : float
        One-sided, of a gain.
    patients : int
    improved : int
        Patients for whom the adapted model is better.
    """

    key: str
    base: float
    adapted: float
    gain: float
    low: float
    high: float
    p: float
    patients: int
    improved: int


@dataclass(frozen=True)
class Harm:
    """One figure of the check for forgetting.

    Attributes
    ----------
    what : str
        Images, and figure.
    base, adapted : float
    """

    what: str
    base: float
    adapted: float

    @property
    def harmed(self) -> bool:
        """Whether more than :data:`LARGEST_LOSS` was lost."""
        return self.base - self.adapted > LARGEST_LOSS


@dataclass(frozen=True)
class Training:
    """One training: of a fold, or on all cases.

    Attributes
    ----------
    steps, best_step : int
        Optimiser steps; the one whose weights were kept, 0 for the base's.
    stopped : str
        ``steps`` (all were run), ``patience`` or ``time``.
    seconds : float
    device : str
    checks : tuple of (step, Dice on the site's held-out slices, Dice on held-out synthetic slices)
    """

    steps: int
    best_step: int
    stopped: str
    seconds: float = 0.0
    device: str = ""
    checks: tuple[tuple[int, float, float], ...] = ()

    def to_json(self, checks: bool = True) -> dict[str, Any]:
        """As in ``proof.json``; in a card without the checks on the way."""
        values = asdict(self)
        values.pop("checks")
        return values | {"checks": [list(check) for check in self.checks]} if checks else values

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Training:
        """Inverse of :meth:`to_json`."""
        return cls(**{**kept, "checks": tuple((step, site, replay) for step, site, replay in kept.get("checks", ()))})


@dataclass(frozen=True)
class ProvenCase:
    """Figures of one case, by the base and by a model that never saw its patient.

    Attributes
    ----------
    case : int
        Its number.
    fold : int
        From 1.
    base, adapted : mapping of str to float
        Keys of :data:`.terms.FIGURES`.
    """

    case: int
    fold: int
    base: Mapping[str, float]
    adapted: Mapping[str, float]


@dataclass(frozen=True)
class Judgement:
    """A verdict (:data:`.terms.WORDS`) and its reasons, one sentence each."""

    verdict: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As in ``proof.json`` and the card."""
        return {"verdict": self.verdict, "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Judgement:
        """Inverse of :meth:`to_json`."""
        return cls(kept["verdict"], tuple(kept["reasons"]))

    def holding(self, conventions: Sequence[Convention]) -> Judgement:
        """The judgement that holds: better is held back until all conventions are accepted."""
        word, reasons = held_back(self.verdict, list(self.reasons), conventions)
        return Judgement(word, tuple(reasons))


@dataclass(frozen=True)
class Limit:
    """Minimum mean probability of a lesion of an adapted model (:mod:`.lesion_limit`).

    Attributes
    ----------
    value, parent : float
        Of the adapted model, and of its parent.
    lesions : int
        Found in left-out cases before any was dropped.
    fitted : bool
        Whether there were enough patients and lesions to choose; else ``value`` is the parent's.
    """

    value: float
    parent: float
    lesions: int
    fitted: bool

    def text(self, parent: str) -> str:
        """A sentence or two for the card, with the id of the parent."""
        told = f"Lesions of a mean probability below {self.value:g} are dropped." if self.value else "None is dropped."
        if self.fitted:
            return f"{told} Chosen on {self.lesions} lesions of left-out patients; {self.parent:g} in {parent}."
        return f"{told} As in {parent}: {self.lesions} lesions of left-out patients were too few to choose."


@dataclass(frozen=True)
class ProofRecord:
    """What is known of an adapted model.

    Attributes
    ----------
    by_figures : Judgement
        By the figures alone.
    conventions : tuple of Convention
        What most patients' masks share that the figures cannot judge.
    comparisons : tuple of Comparison
    harms : tuple of Harm
        The check for forgetting.
    cases : tuple of ProvenCase
    left_out : tuple of LeftOut
    trainings : tuple of Training
        Of the folds, in order, then on all cases.
    limit : Limit or None
        None in files of versions that did not choose it.
    """

    by_figures: Judgement
    conventions: tuple[Convention, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    harms: tuple[Harm, ...] = ()
    cases: tuple[ProvenCase, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    trainings: tuple[Training, ...] = ()
    limit: Limit | None = None

    @property
    def judgement(self) -> Judgement:
        """The verdict that holds: a better model is held back until its conventions are accepted."""
        return self.by_figures.holding(self.conventions)

    def accepting(self, codes: Collection[str]) -> ProofRecord:
        """The record once the user has stated these conventions."""
        return replace(self, conventions=accepted(self.conventions, codes))

    def to_json(self) -> dict[str, Any]:
        """Content of ``proof.json``."""
        content = {
            **self.judgement.to_json(),
            "by_figures": self.by_figures.to_json(),
            "conventions": [one.to_dict() for one in self.conventions],
            "comparisons": [_nullable(asdict(one)) for one in self.comparisons],
            "no_harm": [{**_nullable(asdict(one)), "harmed": one.harmed} for one in self.harms],
            "cases": [
                {"case": one.case, "fold": one.fold, "base": to_json(one.base), "adapted": to_json(one.adapted)}
                for one in self.cases
            ],
            "left_out": [asdict(one) for one in self.left_out],
            "trainings": [one.to_json() for one in self.trainings],
        }
        return content if self.limit is None else content | {"lesion_limit": asdict(self.limit)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> ProofRecord:
        """Inverse of :meth:`to_json`; files of earlier versions lack conventions, the limit, and devices.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is no such content, or its verdict is not the one that follows from it.
        """
        limit = kept.get("lesion_limit")
        found = cls(
            Judgement.from_json(kept.get("by_figures", kept)),
            tuple(Convention.from_dict(one) for one in kept.get("conventions", ())),
            tuple(Comparison(**{**one, **_undefined(one, ("low", "high"))}) for one in kept["comparisons"]),
            tuple(Harm(one["what"], one["base"], one["adapted"]) for one in kept["no_harm"]),
            tuple(
                ProvenCase(one["case"], one["fold"], from_json(one["base"]), from_json(one["adapted"]))
                for one in kept["cases"]
            ),
            tuple(LeftOut(**one) for one in kept["left_out"]),
            tuple(Training.from_json(one) for one in kept["trainings"]),
            None if limit is None else Limit(**limit),
        )
        if found.judgement.verdict != kept["verdict"]:
            raise ValueError("the verdict does not follow from figures and conventions")
        return found

    def write(self, path: Path) -> None:
        """Write ``proof.json``."""
        path.write_text(json_text(self.to_json()), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ProofRecord:
        """Read ``proof.json``.

        Raises
        ------
        OSError, KeyError, TypeError, ValueError
            If it cannot be read, or is no proof.
        """
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))


def accepted(conventions: Sequence[Convention], codes: Collection[str]) -> tuple[Convention, ...]:
    """Conventions of which some are now accepted; accepted ones stay so."""
    return tuple(replace(one, accepted=one.accepted or one.code in codes) for one in conventions)


def _nullable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace NaN by None."""
    return {key: None if value != value else value for key, value in values.items()}


def _undefined(values: Mapping[str, Any], keys: Sequence[str]) -> dict[str, float]:
    """NaN for those of the keys whose value is None."""
    return {key: float("nan") for key in keys if values[key] is None}
