"""Models: the card that defines a network's input, and the lookup of cards and weights."""

from __future__ import annotations

from .card import ModelCard, PipelineConfig
from .store import DEFAULT_MODEL, default_model, find_model, list_models, load_card

__all__ = ["DEFAULT_MODEL", "ModelCard", "PipelineConfig", "default_model", "find_model", "list_models", "load_card"]
