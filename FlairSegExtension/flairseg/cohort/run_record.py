"""Record of a cohort run: options, versions, hashes, counts; written as ``run.json``, stated on the page."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._version import __version__
from ..models.card import ModelCard
from .clusters import ClusterOptions
from .model import SessionRow
from .options import CaseOptions


@dataclass(frozen=True)
class RunModel:
    """A model and, of those that segmented sessions, the number of these."""

    id: str
    version: str
    sha256: str
    sessions: int | None = None

    @classmethod
    def of(cls, card: ModelCard) -> RunModel:
        """The model of a run."""
        return cls(card.id, card.version, card.sha256)

    @classmethod
    def used(cls, rows: Iterable[SessionRow]) -> tuple[RunModel, ...]:
        """The models that segmented some sessions, most sessions first."""
        counted = Counter(tuple(row.model.get(key, "") for key in ("id", "sha256", "version")) for row in rows)
        return tuple(cls(own_id, version, sha256, count) for (own_id, sha256, version), count in counted.most_common())


@dataclass(frozen=True)
class RunRecord:
    """A run, as it is written. No names and no dates under pseudonyms.

    Attributes
    ----------
    source, source_kind : str
        Path and kind of the source.
    model : RunModel
        The model of the run.
    models : tuple of RunModel
        Those that segmented the sessions: beside the model in use its parent, for sessions unlike those that it was
        adapted to.
    thresholds : mapping of int to float
        Of the model's card, by class value.
    options : CaseOptions
    follow : bool
        Sessions of a subject were compared.
    pseudonyms : bool
    pseudonym_check : str
        Of the key; empty without pseudonyms.
    cluster : ClusterOptions
    workers : int
    software : mapping of str to str
        Versions by package.
    sessions : mapping of str to int
        All rows by status.
    of_earlier_options : int
        Those of them whose result another model, other options or another version made.
    subjects, comparisons : int
        Of the present options.
    seconds : float
    finished : str
        UTC time, ISO 8601; empty under pseudonyms.
    """

    source: str
    source_kind: str
    model: RunModel
    options: CaseOptions
    models: tuple[RunModel, ...] = ()
    thresholds: Mapping[int, float] = field(default_factory=dict)
    follow: bool = True
    pseudonyms: bool = False
    pseudonym_check: str = ""
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    workers: int = 1
    software: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[str, int] = field(default_factory=dict)
    of_earlier_options: int = 0
    subjects: int = 0
    comparisons: int = 0
    seconds: float = 0.0
    finished: str = ""

    @property
    def other_models(self) -> tuple[RunModel, ...]:
        """Models other than that of the run."""
        return tuple(one for one in self.models if one.sha256 != self.model.sha256)

    def to_json(self) -> dict[str, Any]:
        """Content of ``run.json``."""
        paths = ("model", "parent") if self.pseudonyms else ()
        return {
            "flairseg_cohort": 1,
            "source": self.source,
            "source_kind": self.source_kind,
            "model": {"id": self.model.id, "version": self.model.version, "sha256": self.model.sha256},
            "models": [
                {"id": one.id, "sha256": one.sha256, "version": one.version, "sessions": one.sessions}
                for one in self.models
            ],
            "thresholds": {str(value): level for value, level in self.thresholds.items()},
            "options": {k: v for k, v in self.options.to_dict().items() if k not in paths},
            "options_sha256": self.options.sha256,
            "follow": self.follow,
            "pseudonyms": self.pseudonyms,
            **({"pseudonym_check": self.pseudonym_check} if self.pseudonym_check else {}),
            "cluster": dataclasses.asdict(self.cluster) | {"workers": self.workers},
            "software": dict(self.software),
            "sessions": dict(self.sessions),
            "of_earlier_options": self.of_earlier_options,
            "subjects": self.subjects,
            "comparisons": self.comparisons,
            "seconds": self.seconds,
            "finished": self.finished,
            "notice": "Research use only - not a medical device.",
        }


def versions() -> dict[str, str]:
    """Versions of what made the results."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"flairseg": __version__, "python": platform.python_version()}
    for package in ("onnxruntime", "numpy", "scipy", "scikit-image", "SimpleITK", "dask", "distributed", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
