"""Typed errors of an evaluation; see :mod:`flairseg.errors`."""

from __future__ import annotations

from ..errors import FlairSegError
from ..errors import InvalidMappingError as InvalidMappingError
from ..errors import UnsuitableMaskError as UnsuitableMaskError


class InvalidManifestError(FlairSegError):
    """The table of cases or the folders are invalid: missing columns, duplicate names, no matching files."""


class NothingToEvaluateError(FlairSegError):
    """No case could be evaluated."""
