"""Figures of each model of a comparison, as tables, files and Slicer's panel have them; light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import CaseWarning, warnings_as_dicts
from ..labels import CLASSES


@dataclass(frozen=True)
class Failure:
    """The error of a model that failed."""

    type: str
    code: str
    message: str
    advice: str


@dataclass(frozen=True)
class ModelFigures:
    """Figures of one model; None where the model does not know the class, or failed.

    Attributes
    ----------
    model, title, version, sha256 : str
    volumes_ml : mapping of str to (float or None)
        By class id.
    lesion_count : int or None
    seconds : float or None
        In total.
    device : str or None
    warnings : tuple of CaseWarning
    failure : Failure or None
    """

    model: str
    title: str
    version: str
    sha256: str
    volumes_ml: Mapping[str, float | None] = field(default_factory=lambda: dict.fromkeys(c.id for c in CLASSES))
    lesion_count: int | None = None
    seconds: float | None = None
    device: str | None = None
    warnings: tuple[CaseWarning, ...] = ()
    failure: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        """As in ``comparison.json``; ``error`` only where the model failed."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "failure"}
        error = {} if self.failure is None else {"error": asdict(self.failure)}
        return {**content, "volumes_ml": dict(self.volumes_ml), "warnings": warnings_as_dicts(self.warnings), **error}
