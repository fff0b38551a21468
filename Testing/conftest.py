"""Databases for the tests of the event store; PostgreSQL where a server can be had."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from flairseg.review.store import ReviewStore

from Testing.faults import postgresql

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server that runs; who stops it starts it again."""
    reason = postgresql.why_not()
    if reason is not None:
        pytest.skip(reason)
    made = postgresql.Server()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path) -> str:
    """An empty store of each kind; on the server a schema, which is quicker to make than a database."""
    if request.param == "sqlite":
        return str(tmp_path / "store" / "review.sqlite")
    name = f"case_{next(_numbers)}"
    running = request.getfixturevalue("server")
    running.execute(f"CREATE SCHEMA {name}")
    return f"{running.address}&options=-csearch_path%3D{name}"


@pytest.fixture
def store(address) -> Iterator[ReviewStore]:
    """An empty store of each kind, open."""
    with ReviewStore(address) as made:
        yield made
