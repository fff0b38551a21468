"""The annotated images beside the project, if they are there: ``$FLAIRSEG_DATA``, else ``../shared/data``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """Where the images would be."""
    configured = os.environ.get("FLAIRSEG_DATA")
    return Path(configured) if configured else ROOT.parent / "shared" / "data"


def cases(pattern: str) -> list:
    """Test parameters, one per file that matches ``pattern``; one that skips with the reason where there is none."""
    files = sorted(folder().glob(pattern))
    if not files:
        reason = f"no real images: {pattern} is neither in $FLAIRSEG_DATA nor in ../shared/data"
        return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(file, id=f"{file.parent.name}-{file.name.split('.')[0]}") for file in files]
