"""Typed errors of case archive and event store; each carries advice, as all of FlairSeg's do."""

from __future__ import annotations

from ..errors import FlairSegError


class ReviewError(FlairSegError):
    """Base of the errors of case archive, event store and outbox."""


class InvalidEventError(ReviewError):
    """The event cannot be written down (content that JSON does not have, no stream, no valid id or time)."""


class EventConflictError(ReviewError):
    """An event of that id is stored already, with another content."""


class StoreError(ReviewError):
    """The store cannot do what was asked. Nothing half-written is left."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached now (server down, connection lost, locked for too long). Trying later makes sense."""


class StoreAddressError(StoreUnavailableError):
    """The server answers, but refuses user or password, or has no such database: trying again does not help."""


class StoreFullError(StoreError):
    """The disk of the store is full."""


class StoreReadOnlyError(StoreError):
    """The store may be read but not written to."""


class StoreDamagedError(StoreError):
    """The store's file is no database, or what it holds cannot be read."""


class StoreVersionError(StoreError):
    """The store was made by a newer FlairSeg."""


class OutboxError(ReviewError):
    """The event could not be put down safely, not even in the outbox: it counts as not recorded."""


class InvalidVerdictError(ReviewError):
    """The verdict is not complete or not valid (no reason for a rejection, unknown segment, labels off the grid)."""


class CaseNotFoundError(ReviewError):
    """The archive has no such case or version."""


class DamagedCaseError(ReviewError):
    """A file of a version is missing, or is not what it was when it was saved."""
