"""Options of a cohort run: those that change results, and those that do not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from .._version import __version__
from ..models.card import ModelCard
from ..models.in_use import InUse, resolved
from ..models.scope import scope_of
from ..models.store import pipeline_sha256

#: Version of what a row and the files of a case hold; a higher one invalidates earlier results.
FORMAT = 1


@dataclass(frozen=True)
class CaseOptions:
    """Processing options of each session.

    Attributes
    ----------
    model : str
        Path of the network or card, as every worker sees it.
    model_sha256 : str
        Its expected hash there.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threshold : float or None
        Probability from which on a voxel is lesion; None: the card's.
    regions, lesion_mask, probabilities, overview : bool
        Results to make.
    pipeline_sha256 : str
        :func:`.store.pipeline_sha256` of the model's card, which it must have there, too; empty: not compared.
    parent, parent_sha256 : str
        Of the model for sessions unlike those that the model in use was adapted to; empty: there is none.
    adaptation : str
        Digest of the adapted model's card: it defines which sessions are unlike.
    """

    model: str
    model_sha256: str
    device: str = "auto"
    threshold: float | None = None
    regions: bool = True
    lesion_mask: bool = True
    probabilities: bool = False
    overview: bool = True
    pipeline_sha256: str = ""
    parent: str = ""
    parent_sha256: str = ""
    adaptation: str = ""

    @classmethod
    def of(cls, model: ModelCard | InUse, **chosen: Any) -> CaseOptions:
        """Options for a model that was found here.

        Raises
        ------
        ModelNotFoundError, InvalidModelError
            As :meth:`.in_use.InUse.parent`: workers must find it where a session needs it.
        """
        card, in_use = resolved(model)
        if in_use is not None and scope_of(card) is not None:
            parent = in_use.parent()
            chosen |= {
                "parent": str(parent.path.absolute()),
                "parent_sha256": parent.sha256,
                "adaptation": str(card.raw["adaptation"]["digest"]),
            }
        return cls(str(card.path.absolute()), card.sha256, pipeline_sha256=pipeline_sha256(card), **chosen)

    @property
    def sha256(self) -> str:
        """Hash of everything that changes results: where the model is and what runs it do not."""
        said = {k: v for k, v in dataclasses.asdict(self).items() if k not in ("model", "device", "parent")}
        if not self.parent:
            # As before there were parents: results of other models stay current.
            said = {k: v for k, v in said.items() if k not in ("parent_sha256", "adaptation")}
        text = json.dumps({**said, "flairseg": __version__, "format": FORMAT}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        return dataclasses.asdict(self)
