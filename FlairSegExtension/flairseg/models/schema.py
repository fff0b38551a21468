"""The JSON schema of model cards, and where it is."""

from __future__ import annotations

from pathlib import Path

#: File name of the schema, beside the models.
SCHEMA_NAME = "card.schema.json"
_PACKAGE = Path(__file__).resolve().parents[1]


def schema_path() -> Path | None:
    """``card.schema.json`` of the installed package or the repository."""
    for folder in (_PACKAGE / "data" / "models", _PACKAGE.parents[1] / "models"):
        if (folder / SCHEMA_NAME).is_file():
            return folder / SCHEMA_NAME
    return None
