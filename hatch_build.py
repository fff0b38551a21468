"""Build hook: every model that has weights in ``models/`` goes into the wheel as ``flairseg/data/models``.

A new model is a card and weights, no code: so no list of models stands in ``pyproject.toml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE_WHEEL = "flairseg/data/models"


class EmbedModels(BuildHookInterface):
    """Add ``card.schema.json`` and each model's ``card.json``, ``card.md`` and ``model.onnx`` to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fill ``force_include``; an editable install finds ``models/`` in the source tree and needs no copy."""
        if version == "editable":
            return
        models = Path(self.root) / "models"
        include = {str(models / "card.schema.json"): f"{INSIDE_WHEEL}/card.schema.json"}
        for weights in sorted(models.glob("*/model.onnx")):
            for name in ("card.json", "card.md", "model.onnx"):
                source = weights.with_name(name)
                include[str(source)] = f"{INSIDE_WHEEL}/{weights.parent.name}/{name}"
        build_data["force_include"].update(include)
