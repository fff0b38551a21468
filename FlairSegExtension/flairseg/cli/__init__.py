"""The command line: ``flairseg segment``, ``flairseg models``, ``flairseg phantom``, ``flairseg study``."""

from __future__ import annotations

from .app import app

__all__ = ["app"]
