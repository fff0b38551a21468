"""Typed errors of an evaluation; see :mod:`flairseg.errors`."""

from __future__ import annotations

from ..errors import FlairSegError


class InvalidManifestError(FlairSegError):
    """The table of cases, or the folders, cannot be understood: columns missing, names doubled, nothing matches."""


class InvalidMappingError(FlairSegError):
    """What a method's label values mean was not said in a way that can be understood."""


class UnsuitableMaskError(FlairSegError):
    """A mask or probability file holds something else, or lies outside of its reference."""


class NothingToEvaluateError(FlairSegError):
    """No case could be evaluated."""
