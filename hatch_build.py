"""Build hook: every model of ``models/`` that has weights, or is an ensemble, goes into ``flairseg/data/models``.

A new model is a card and weights, no code: so no list of models stands in ``pyproject.toml``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE_WHEEL = "flairseg/data/models"


class EmbedModels(BuildHookInterface):
    """Add ``card.schema.json`` and each model's ``card.json``, ``card.md`` and, if it has one, ``model.onnx``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fill ``force_include``; an editable install finds ``models/`` in the source tree and needs no copy."""
        if version == "editable":
            return
        models = Path(self.root) / "models"
        include = {str(models / "card.schema.json"): f"{INSIDE_WHEEL}/card.schema.json"}
        for card in sorted(models.glob("*/card.json")):
            weights = card.with_name("model.onnx")
            if not weights.exists() and "ensemble" not in json.loads(card.read_text(encoding="utf-8")):
                continue
            for source in (card, card.with_name("card.md"), weights):
                if source.exists() or source.suffix != ".onnx":
                    include[str(source)] = f"{INSIDE_WHEEL}/{card.parent.name}/{source.name}"
        build_data["force_include"].update(include)
