"""Typed errors of an evaluation; see :mod:`flairseg.errors`."""

from __future__ import annotations

from ..errors import FlairSegError
from ..errors import InvalidMappingError as InvalidMappingError
from ..errors import UnsuitableMaskError as UnsuitableMaskError


class InvalidManifestError(FlairSegError):
    """The table of cases, or the folders, cannot be understood: columns missing, names doubled, nothing matches."""


class NothingToEvaluateError(FlairSegError):
    """No case could be evaluated."""
