"""Fixtures of the fault tests: writers to be killed, and the two databases."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from Testing.faults import postgresql
from Testing.faults.campaign import Nursery

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A process whose children write until they are killed."""
    made = Nursery()
    yield made
    made.close()


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


@pytest.fixture
def new_database(server) -> Callable[[], str]:
    """Makes an empty PostgreSQL database and gives its address."""

    def make() -> str:
        name = f"case_{next(_numbers)}"
        server.execute(f"CREATE DATABASE {name}")
        return server.address.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "store" / "review.sqlite")
    return request.getfixturevalue("new_database")()
