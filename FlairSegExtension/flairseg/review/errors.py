"""Typed errors of case archive and event store, with advice."""

from __future__ import annotations

from ..errors import FlairSegError


class ReviewError(FlairSegError):
    """Base of the errors of case archive, event store and outbox."""


class InvalidEventError(ReviewError):
    """The event cannot be recorded (content without JSON form, no stream, invalid id or time)."""


class EventConflictError(ReviewError):
    """An event with this id is already stored with other content."""


class StoreError(ReviewError):
    """The store cannot carry out the request. Nothing was written partially."""


class StoreUnavailableError(StoreError):
    """The store is temporarily unavailable (server down, connection lost, locked for too long)."""


class StoreAddressError(StoreUnavailableError):
    """The server refuses user or password, or has no such database; repeating does not help."""


class StoreFullError(StoreError):
    """The disk of the store is full."""


class StoreReadOnlyError(StoreError):
    """The store may be read but not written to."""


class StoreDamagedError(StoreError):
    """The file of the store is not a database, or its content cannot be read."""


class StoreVersionError(StoreError):
    """The store was made by a newer FlairSeg."""


class OutboxError(ReviewError):
    """The event could not be saved even in the outbox: it is not recorded."""


class InvalidVerdictError(ReviewError):
    """The verdict is not complete or not valid (no reason for a rejection, unknown segment, labels off the grid)."""


class CaseNotFoundError(ReviewError):
    """The archive has no such case or version."""


class DamagedCaseError(ReviewError):
    """A file of a version is missing or was changed after it was saved."""
