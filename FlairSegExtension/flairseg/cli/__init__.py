"""The command line: ``flairseg segment``, ``flairseg models``, ``flairseg phantom``."""

from __future__ import annotations

from .app import app

__all__ = ["app"]
