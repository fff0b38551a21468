"""Figures and records of an adaptation as JSON (without NaN)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_json(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Replace NaN by None."""
    return {key: None if value != value else float(value) for key, value in figures.items()}


def from_json(kept: Mapping[str, float | None]) -> dict[str, float]:
    """Inverse of :func:`to_json`."""
    return {key: float("nan") if value is None else value for key, value in kept.items()}


def json_text(content: Any) -> str:
    """JSON with null for NaN, indented."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and content != content else content
